-- Managing experiments and metrics. Each function does with checks and messages what plain DML on the tables does.
create or replace function ab_internal.parse_variants(variants json)
    returns table (variant text, weight numeric, name text, config jsonb)
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    pair record;
    seen text[] := '{}';
    hint constant text := 'write {"control": 50, "treatment": 50}, or [{"key": "control", "weight": 50, "name": "…", "config": {…}}, …]';
    form constant text := json_typeof(variants);
begin
    if form is null or form not in ('object', 'array') then
        perform ab_internal.raise('invalid_variants', format('variants are %s', coalesce('a JSON ' || form, 'NULL')), hint);
    end if;
    for pair in
        select e.key as variant, e.value as weight, null::text as name, null::json as config, null::text as wrong, 'object' as form
        from json_each(case form when 'object' then variants else '{}' end) e
        union all
        select o.value ->> 'key', o.value -> 'weight', o.value ->> 'name', o.value -> 'config', f.wrong, json_typeof(o.value)
        from json_array_elements(case form when 'array' then variants else '[]' end) o
        left join lateral (
            select min(
                case
                    when k.key not in ('key', 'weight', 'name', 'config') then format('variant "%s" has the unknown field "%s"', left(o.value ->> 'key', 64), left(k.key, 64))
                    when k.written > 1 then format('variant "%s" has the field "%s" twice', left(o.value ->> 'key', 64), k.key)
                    when k.key = 'key' and k.form not in ('string', 'null') then format('a variant''s key is a JSON %s', k.form)
                    when k.key = 'name' and k.form not in ('string', 'null') then format('name of variant "%s" is a JSON %s', left(o.value ->> 'key', 64), k.form)
                end
            ) as wrong
            from (
                select e.key, count(*) as written, min(json_typeof(e.value)) as form
                from json_each(case json_typeof(o.value) when 'object' then o.value else '{}' end) e
                group by e.key
            ) k
        ) f on true
    loop
        if pair.form <> 'object' or pair.wrong is not null or pair.variant is null then
            perform ab_internal.raise('invalid_variants',
                coalesce(pair.wrong, case when pair.form <> 'object' then format('a variant is a JSON %s', pair.form) else 'a variant has no key' end),
                hint);
        end if;
        variant := pair.variant;
        name := pair.name;
        config := nullif(pair.config::jsonb, 'null');
        if variant = any (seen) then
            perform ab_internal.raise('invalid_variants', format('variant "%s" is written twice', left(variant, 64)), 'give each variant another key');
        end if;
        seen := seen || variant;
        if json_typeof(pair.weight) is distinct from 'number' then
            perform ab_internal.raise('invalid_variants', format('weight of variant "%s" is %s', left(variant, 64), coalesce(left(pair.weight::text, 64), 'missing')),
                'give each variant a number above zero');
        end if;
        begin
            weight := pair.weight::text::numeric(18, 9);
        exception when numeric_value_out_of_range then
            weight := 0;
        end;
        if weight <= 0 then
            perform ab_internal.raise('invalid_variants', format('weight of variant "%s" is %s', left(variant, 64), left(pair.weight::text, 64)),
                'give each variant a number above zero and below 1,000,000,000');
        end if;
        return next;
    end loop;
    if cardinality(seen) < 2 then
        perform ab_internal.raise('invalid_variants', format('an experiment needs two variants and was given %s', cardinality(seen)), hint);
    end if;
end
$$;

comment on function ab_internal.parse_variants(json) is 'the variants of a definition in written order, checked';

create or replace function ab_internal.check_key(role text, key text)
    returns void
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'check_key_wrapper';

comment on function ab_internal.check_key(text, text) is 'raises unless the text can be a key; role says what it was meant for';

create or replace function @extschema@.ab_create_experiment(
    experiment text,
    variants json default '{"control":50,"treatment":50}',
    control text default null,
    description text default null,
    hypothesis text default null,
    primary_metric text default null,
    owner text default null,
    starts_at timestamptz default null,
    ends_at timestamptz default null,
    traffic numeric default 100,
    salt text default null,
    name text default null
)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    created integer;
begin
    perform ab_internal.check_key('experiment', ab_create_experiment.experiment);
    perform ab_internal.check_key('salt', coalesce(ab_create_experiment.salt, ab_create_experiment.experiment));
    if ab_create_experiment.traffic is null or not ab_create_experiment.traffic between 0 and 100 then
        perform ab_internal.raise('invalid_argument', format('traffic is %s', coalesce(ab_create_experiment.traffic::text, 'NULL')), 'give a percentage from 0 to 100');
    end if;
    if ab_create_experiment.starts_at >= ab_create_experiment.ends_at then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" would end before it starts', ab_create_experiment.experiment), 'give starts_at before ends_at');
    end if;
    if not (isfinite(coalesce(ab_create_experiment.starts_at, now())) and isfinite(coalesce(ab_create_experiment.ends_at, now()))) then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" has an infinite date', ab_create_experiment.experiment), 'leave the date out');
    end if;
    insert into ab.experiment (workspace_id, experiment, name, description, hypothesis, owner, salt, traffic, starts_at, ends_at)
    values (
        ab_internal.workspace_id(), ab_create_experiment.experiment, ab_create_experiment.name, ab_create_experiment.description,
        ab_create_experiment.hypothesis, coalesce(ab_create_experiment.owner, session_user),
        coalesce(ab_create_experiment.salt, ab_create_experiment.experiment), ab_create_experiment.traffic,
        ab_create_experiment.starts_at, ab_create_experiment.ends_at)
    on conflict on constraint experiment_workspace_id_experiment_key do nothing
    returning experiment_id into created;
    if created is null then
        perform ab_internal.raise('experiment_exists', format('experiment "%s" exists already', ab_create_experiment.experiment), 'choose another key');
    end if;
    perform ab_internal.check_key('variant', v.variant) from ab_internal.parse_variants(ab_create_experiment.variants) v;
    insert into ab.variant (experiment_id, variant, weight, name, config, is_control)
    select created, v.variant, v.weight, v.name, v.config,
        v.variant = coalesce(ab_create_experiment.control, case when bool_or(v.variant = 'control') over () then 'control' else first_value(v.variant) over (order by v.position) end)
    from ab_internal.parse_variants(ab_create_experiment.variants)
        with ordinality as v (variant, weight, name, config, position)
    order by v.position;
    if not exists (select from ab.variant v where v.experiment_id = created and v.is_control) then
        perform ab_internal.raise('variant_not_found', format('control "%s" is not one of the variants', left(ab_create_experiment.control, 64)), 'name one of the variants');
    end if;
    if ab_create_experiment.primary_metric is not null then
        insert into ab.experiment_metric (experiment_id, metric_id, is_primary)
        values (created, ab_internal.metric_id(ab_create_experiment.primary_metric), true);
    end if;
    perform ab_internal.make_partitions();
    return ab_create_experiment.experiment;
end
$$;

comment on function @extschema@.ab_create_experiment(text, json, text, text, text, text, text, timestamptz, timestamptz, numeric, text, text) is $$Creates an experiment as a draft and returns its key.

variants: {"key": weight, …} in order, weights on any scale, or [{"key", "weight", "name", "config"}, …].
control: the named variant, else "control", else the first. traffic: percent of users who take part.
Errors: invalid_key, invalid_variants, invalid_argument (22023), experiment_exists (23505), metric_not_found, variant_not_found (42704).

Example: SELECT ab_create_experiment('checkout_button', '{"control": 50, "green": 50}');$$;

create or replace function ab_internal.metric_id(metric text)
    returns integer
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted text := coalesce(nullif(current_setting('ab.workspace', true), ''), 'default');
    found_id integer;
begin
    select m.metric_id into found_id
    from ab.metric m
    join ab.workspace w using (workspace_id)
    where w.workspace = wanted
        and m.metric = metric_id.metric;
    if found_id is null then
        perform ab_internal.raise('metric_not_found',
            format('metric "%s" does not exist in workspace "%s"', coalesce(left(metric_id.metric, 64), 'NULL'), wanted),
            'create it first with ab_create_metric()');
    end if;
    return found_id;
end
$$;

comment on function ab_internal.metric_id(text) is 'id of a metric of the session''s workspace';

create or replace function @extschema@.ab_create_metric(metric text, event_name text, kind text default 'conversion', description text default null)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.check_key('metric', ab_create_metric.metric);
    if ab_create_metric.event_name is null or octet_length(ab_create_metric.event_name) not between 1 and 256 then
        perform ab_internal.raise('invalid_argument', format('event name of metric "%s" is missing or too long', ab_create_metric.metric), 'use 1 to 256 bytes');
    end if;
    if ab_create_metric.kind is null or ab_create_metric.kind not in ('conversion', 'count', 'sum') then
        perform ab_internal.raise('invalid_argument', format('metric kind "%s" does not exist', coalesce(left(ab_create_metric.kind, 64), 'NULL')), 'use conversion, count or sum');
    end if;
    insert into ab.metric (workspace_id, metric, event_name, kind, description)
    values (ab_internal.workspace_id(), ab_create_metric.metric, ab_create_metric.event_name, ab_create_metric.kind, ab_create_metric.description)
    on conflict on constraint metric_workspace_id_metric_key do nothing;
    if not found then
        perform ab_internal.raise('metric_exists', format('metric "%s" exists already', ab_create_metric.metric), 'choose another key');
    end if;
    return ab_create_metric.metric;
end
$$;

comment on function @extschema@.ab_create_metric(text, text, text, text) is $$Creates a metric over the events of one name and returns its key.

kind: conversion (did the user do it), count (how often), sum (of the events' values); each per user. Exposures are never counted.
Errors: invalid_key, invalid_argument (22023), metric_exists (23505).

Example: SELECT ab_create_metric('order_value', 'purchase', 'sum');$$;

create or replace function @extschema@.ab_add_metric(experiment text, metric text, is_primary boolean default false)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted integer := ab_internal.experiment_id(ab_add_metric.experiment);
begin
    if coalesce(ab_add_metric.is_primary, false) then
        update ab.experiment_metric m set is_primary = false where m.experiment_id = wanted and m.is_primary;
    end if;
    insert into ab.experiment_metric (experiment_id, metric_id, is_primary)
    values (wanted, ab_internal.metric_id(ab_add_metric.metric), coalesce(ab_add_metric.is_primary, false))
    on conflict on constraint experiment_metric_pkey do nothing;
    if not found then
        perform ab_internal.raise('metric_attached', format('experiment "%s" has metric "%s" already', ab_add_metric.experiment, ab_add_metric.metric),
            'nothing is left to do; update ab.experiment_metric to make it the primary one');
    end if;
end
$$;

comment on function @extschema@.ab_add_metric(text, text, boolean) is $$Judges an experiment by a metric, at any time: ab_rollup() then counts earlier events too, as far as they are still stored.

Errors: experiment_not_found, metric_not_found (42704), metric_attached (23505).

Example: SELECT ab_add_metric('checkout_button', 'order_value');$$;

create or replace function ab_internal.change_status(experiment text, from_status text[], to_status text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted integer := ab_internal.experiment_id(change_status.experiment);
    current_status text;
begin
    select x.status into current_status from ab.experiment x where x.experiment_id = wanted for no key update;
    if current_status <> all (from_status) then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is %s', change_status.experiment, current_status),
            format('only an experiment that is %s can become %s', array_to_string(from_status, ' or '), to_status));
    end if;
    update ab.experiment x set status = to_status where x.experiment_id = wanted;
end
$$;

comment on function ab_internal.change_status(text, text[], text) is 'moves an experiment along its life, refusing what is no step of it';

create or replace function @extschema@.ab_start(experiment text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.change_status(ab_start.experiment, array['draft'], 'running');
    perform ab_internal.make_partitions();
end
$$;

comment on function @extschema@.ab_start(text) is $$Starts a draft: users are assigned from the commit on, subject to its start and end dates.

Errors: experiment_not_found (42704), wrong_status (55000), invalid_variants (22023).

Example: SELECT ab_start('checkout_button');$$;

create or replace function @extschema@.ab_pause(experiment text)
    returns void
    language sql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select ab_internal.change_status(ab_pause.experiment, array['running'], 'paused')
$$;

comment on function @extschema@.ab_pause(text) is $$Pauses a running experiment: nobody is assigned, so the treatment is off for everybody; events still count.

Errors: experiment_not_found (42704), wrong_status (55000).

Example: SELECT ab_pause('checkout_button');$$;

create or replace function @extschema@.ab_resume(experiment text)
    returns void
    language sql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select ab_internal.change_status(ab_resume.experiment, array['paused'], 'running')
$$;

comment on function @extschema@.ab_resume(text) is $$Resumes a paused experiment; everybody is in the variant they were in before.

Errors: experiment_not_found (42704), wrong_status (55000).

Example: SELECT ab_resume('checkout_button');$$;

create or replace function @extschema@.ab_stop(experiment text)
    returns void
    language sql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select ab_internal.change_status(ab_stop.experiment, array['running', 'paused'], 'stopped')
$$;

comment on function @extschema@.ab_stop(text) is $$Stops an experiment for good: nobody is assigned, and events from now on do not count; earlier ones that arrive late still do.

Errors: experiment_not_found (42704), wrong_status (55000).

Example: SELECT ab_stop('checkout_button');$$;
