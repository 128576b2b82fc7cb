-- Rules that need more than one row. They bind functions and plain INSERT, UPDATE and DELETE alike, because both
-- pass through these triggers. Insertion is checked by constraints alone: a restore inserts rows table by table, and
-- no rule on other tables can hold half-way.
create or replace function ab_internal.open_phase(experiment_id integer)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    last_phase integer;
begin
    -- One at a time: whoever waits here sees the phase and the weights of whoever came first.
    perform from ab.experiment x where x.experiment_id = open_phase.experiment_id for no key update;
    select max(p.phase) into last_phase from ab.phase p where p.experiment_id = open_phase.experiment_id;
    insert into ab.phase (experiment_id, phase, traffic)
    select x.experiment_id, coalesce(last_phase, 0) + 1, x.traffic
    from ab.experiment x
    where x.experiment_id = open_phase.experiment_id;
    insert into ab.variant_range (experiment_id, phase, from_bucket, to_bucket, variant)
    with arm as (
        select
            v.variant,
            v.weight,
            row_number() over (order by v.variant_id)::integer - 1 as index
        from ab.variant v
        where v.experiment_id = open_phase.experiment_id
    ),
    before as (
        select
            coalesce(array_agg(r.from_bucket order by r.from_bucket), '{}') as from_buckets,
            coalesce(array_agg(r.to_bucket order by r.from_bucket), '{}') as to_buckets,
            coalesce(array_agg(arm.index order by r.from_bucket), '{}') as variants
        from ab.variant_range r
        join arm using (variant)
        where r.experiment_id = open_phase.experiment_id
            and r.phase = last_phase
    )
    select open_phase.experiment_id, coalesce(last_phase, 0) + 1, l.from_bucket, l.to_bucket, arm.variant
    from before
    cross join ab_internal.layout(before.from_buckets, before.to_buckets, before.variants,
        (select array_agg((arm.weight * 1000000000)::bigint order by arm.index) from arm)) l
    join arm on arm.index = l.variant;
end
$$;

comment on function ab_internal.open_phase(integer) is 'begins a phase with the experiment''s traffic and weights as they are now';

create or replace function ab_internal.experiment_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    variants integer;
begin
    if tg_op = 'DELETE' then
        if old.status in ('running', 'paused') then
            perform ab_internal.raise('wrong_status', format('experiment "%s" is %s and cannot be deleted', old.experiment, old.status),
                'stop it first with ab_stop()');
        end if;
        return old;
    end if;
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
        new.salt := coalesce(new.salt, new.experiment);
        return new;
    end if;
    if (new.experiment_id, new.workspace_id, new.experiment) is distinct from (old.experiment_id, old.workspace_id, old.experiment)
        or (old.started_at is not null and (new.salt, new.started_at) is distinct from (old.salt, old.started_at))
        or (old.stopped_at is not null and new.stopped_at is distinct from old.stopped_at) then
        perform ab_internal.raise('immutable', format('experiment "%s" cannot change its key, nor its salt and dates of start and stop once they are past', old.experiment),
            'create another experiment');
    end if;
    if new.status is distinct from old.status then
        if (old.status, new.status) not in (('draft', 'running'), ('running', 'paused'), ('paused', 'running'), ('running', 'stopped'), ('paused', 'stopped')) then
            perform ab_internal.raise('wrong_status', format('experiment "%s" is %s and cannot become %s', old.experiment, old.status, new.status),
                'a draft can be started, a running experiment paused or stopped, a paused one resumed or stopped');
        end if;
        if old.status = 'draft' then
            select count(*) into variants from ab.variant v where v.experiment_id = new.experiment_id;
            if variants < 2 then
                perform ab_internal.raise('invalid_variants', format('experiment "%s" has %s variant(s) and cannot start', old.experiment, variants),
                    'insert at least two rows into ab.variant');
            end if;
            new.started_at := clock_timestamp();
        elsif new.status = 'stopped' then
            new.stopped_at := clock_timestamp();
        end if;
    end if;
    return new;
end
$$;

comment on function ab_internal.experiment_before() is 'completes a new experiment, and holds changes to the life an experiment can have';

create or replace trigger experiment_before
    before insert or update or delete on ab.experiment
    for each row
    execute function ab_internal.experiment_before();

create or replace function ab_internal.experiment_after()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'DELETE' then
        delete from ab.exposure s where s.experiment_id = old.experiment_id;
        delete from ab.unit_metric s where s.experiment_id = old.experiment_id;
        delete from ab.variant_statistic s where s.experiment_id = old.experiment_id;
        delete from ab.metric_statistic s where s.experiment_id = old.experiment_id;
        delete from ab_internal.rollup_progress s where s.experiment_id = old.experiment_id;
    elsif (old.status = 'draft' and new.status = 'running')
        or (new.status in ('running', 'paused') and new.traffic <> old.traffic) then
        perform ab_internal.open_phase(new.experiment_id);
    end if;
    return null;
end
$$;

comment on function ab_internal.experiment_after() is 'dates every change of allocation, and clears up after a deleted experiment';

create or replace trigger experiment_after
    after update or delete on ab.experiment
    for each row
    execute function ab_internal.experiment_after();

create or replace function ab_internal.variant_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    owner_row record;
begin
    if tg_op = 'DELETE' then
        -- Before its status is looked at: a start that is under way counts the variants first.
        perform from ab.experiment x where x.experiment_id = old.experiment_id for no key update;
    end if;
    select x.experiment, x.status into owner_row from ab.experiment x where x.experiment_id = old.experiment_id;
    -- No row: the experiment itself is being deleted.
    if found and owner_row.status <> 'draft' and (tg_op = 'DELETE'
        or (new.variant_id, new.experiment_id, new.variant) is distinct from (old.variant_id, old.experiment_id, old.variant)) then
        perform ab_internal.raise('immutable', format('variant "%s" of experiment "%s" is fixed because the experiment has started', old.variant, owner_row.experiment),
            'give it a small weight, or create another experiment');
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function ab_internal.variant_before() is 'keeps the variants that users have been given';

create or replace trigger variant_before
    before update or delete on ab.variant
    for each row
    execute function ab_internal.variant_before();

create or replace function ab_internal.variant_weight_after()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.open_phase(changed.experiment_id)
    from (
        select distinct n.experiment_id
        from new_row n
        join old_row o using (variant_id)
        join ab.experiment x on x.experiment_id = n.experiment_id
        where n.weight <> o.weight
            and x.status in ('running', 'paused')
    ) changed;
    return null;
end
$$;

comment on function ab_internal.variant_weight_after() is 'opens one phase for all weights that a statement changes';

create or replace trigger variant_weight_after
    after update on ab.variant
    referencing old table as old_row new table as new_row
    for each statement
    execute function ab_internal.variant_weight_after();

create or replace function ab_internal.metric_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
    elsif (new.metric_id, new.workspace_id, new.event_name, new.kind) is distinct from (old.metric_id, old.workspace_id, old.event_name, old.kind)
        and exists (select from ab.experiment_metric m where m.metric_id = old.metric_id) then
        perform ab_internal.raise('immutable', format('metric "%s" cannot change what it counts because experiments use it', old.metric),
            'create another metric and add that');
    end if;
    return new;
end
$$;

comment on function ab_internal.metric_before() is 'completes a new metric, and keeps the meaning of numbers already shown';

create or replace trigger metric_before
    before insert or update on ab.metric
    for each row
    execute function ab_internal.metric_before();

create or replace function ab_internal.experiment_metric_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, (select x.workspace_id from ab.experiment x where x.experiment_id = new.experiment_id));
        return new;
    elsif tg_op = 'UPDATE' then
        if (new.workspace_id, new.experiment_id, new.metric_id) is distinct from (old.workspace_id, old.experiment_id, old.metric_id) then
            perform ab_internal.raise('immutable', 'a metric that an experiment has cannot be exchanged for another', 'delete the row and insert another');
        end if;
        return new;
    end if;
    delete from ab.unit_metric s where s.experiment_id = old.experiment_id and s.metric_id = old.metric_id;
    delete from ab.metric_statistic s where s.experiment_id = old.experiment_id and s.metric_id = old.metric_id;
    return old;
end
$$;

comment on function ab_internal.experiment_metric_before() is 'completes a new row, keeps what it joins, and clears up after a deleted one';

create or replace trigger experiment_metric_before
    before insert or update or delete on ab.experiment_metric
    for each row
    execute function ab_internal.experiment_metric_before();

create or replace function ab_internal.workspace_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if (new.workspace_id, new.workspace) is distinct from (old.workspace_id, old.workspace) then
        perform ab_internal.raise('immutable', format('workspace "%s" cannot change its name, by which gateways and sessions know it', old.workspace),
            'create another workspace');
    end if;
    return new;
end
$$;

comment on function ab_internal.workspace_before() is 'keeps the name by which others know a workspace';

create or replace trigger workspace_before
    before update on ab.workspace
    for each row
    execute function ab_internal.workspace_before();
