-- Holdouts: users who are kept out of whole programmes, so that the effect of all experiments together can be measured.
create or replace function @extschema@.ab_create_holdout(
    holdout text,
    percent numeric,
    layer text default null,
    unit text default null,
    starts_at timestamptz default null,
    ends_at timestamptz default null,
    primary_metric text default null,
    description text default null,
    salt text default null
)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    workspace constant integer := ab_internal.workspace_id();
    created integer;
begin
    perform ab_internal.lock_configuration(workspace);
    if ab_create_holdout.percent is null or not (round(ab_create_holdout.percent, 4) > 0 and round(ab_create_holdout.percent, 4) < 100) then
        perform ab_internal.raise('invalid_argument', format('holdout "%s" would hold out %s percent', left(ab_create_holdout.holdout, 64), coalesce(ab_create_holdout.percent::text, 'NULL')),
            'give a percentage above 0 and below 100');
    end if;
    created := ab_internal.insert_experiment(
        workspace, ab_create_holdout.holdout, 'holdout', ab_create_holdout.unit, coalesce(ab_create_holdout.salt, ab_create_holdout.holdout),
        ab_create_holdout.starts_at, ab_create_holdout.ends_at, 100);
    update ab.experiment x
    set description = ab_create_holdout.description,
        layer_id = case when ab_create_holdout.layer is not null then ab_internal.layer_id(ab_create_holdout.layer) end
    where x.experiment_id = created;
    insert into ab.variant (experiment_id, variant, weight, is_control)
    values (created, 'holdout', round(ab_create_holdout.percent, 4), true), (created, 'programme', 100 - round(ab_create_holdout.percent, 4), false);
    if ab_create_holdout.primary_metric is not null then
        insert into ab.experiment_metric (experiment_id, metric_id, role)
        values (created, ab_internal.metric_id(ab_create_holdout.primary_metric), 'primary');
    end if;
    update ab.experiment x set status = 'running' where x.experiment_id = created;
    perform ab_internal.make_partitions();
    return ab_create_holdout.holdout;
end
$$;

comment on function @extschema@.ab_create_holdout(text, numeric, text, text, timestamptz, timestamptz, text, text, text) is $$Keeps a percentage of users out of every experiment that starts while the holdout is in force, and returns its key.

It is an experiment of kind holdout with the variants holdout, the control, and programme; exposing somebody to an experiment it binds exposes them to the holdout too, and ab_results() shows what the programme did as a whole.
layer: binds only the experiments of that layer. unit: binds only experiments of the same unit. starts_at, ends_at: when it is in force. ab_stop() ends it.
Errors: invalid_key, invalid_argument, unit_mismatch (22023), experiment_exists (23505), layer_not_found, metric_not_found (42704).

Example: SELECT ab_create_holdout('year', 5, ends_at => '2037-01-01');$$;
