-- From events to state. A batch is what this snapshot sees and the one before did not: by transaction ids, never by time,
-- so that nothing is missed however late it commits. State and the new cursor are written in one transaction.
--
-- Visible "up to the cursor" means: transaction_id < horizon and transaction_id <> all (in_progress).
create or replace function ab_internal.incarnation()
    returns bigint
    language c
    volatile
    parallel unsafe
    as 'MODULE_PATHNAME',
    'incarnation_wrapper';

comment on function ab_internal.incarnation() is 'what event_transaction() adds to transaction ids of this cluster';

create or replace function ab_internal.add_incarnation(origin text)
    returns smallint
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    added smallint;
begin
    -- One at a time, so that two first events after a restore do not take the same number.
    lock table ab_internal.incarnation in share row exclusive mode;
    select i.incarnation into added from ab_internal.incarnation i where i.origin = add_incarnation.origin;
    if not found then
        -- A conflict means a snapshot from before another's first event: a serialization failure, which senders repeat.
        insert into ab_internal.incarnation (incarnation, origin)
        select coalesce(max(i.incarnation), 0) + 1, add_incarnation.origin
        from ab_internal.incarnation i
        on conflict do nothing
        returning incarnation into added;
    end if;
    return added;
end
$$;

comment on function ab_internal.add_incarnation(text) is 'notes that the database lives in this cluster now';

create or replace function ab_internal.prepare_work_tables()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set client_min_messages = warning
    as $$
declare
    member text;
begin
    -- Kept for the session, because making tables each second would swell the catalogues. A table that somebody else
    -- made under our name could carry triggers that would run with our rights.
    foreach member in array array['ab_batch', 'ab_exposed', 'ab_recount', 'ab_unit_change'] loop
        if exists (
            select from pg_class c
            where c.relnamespace = pg_my_temp_schema()
                and c.relname = member
                and c.relowner <> (select r.oid from pg_roles r where r.rolname = current_user)
        ) then
            execute format('drop table pg_temp.%I cascade', member);
        end if;
    end loop;
    create temporary table if not exists ab_batch (
        workspace_id integer,
        user_id text collate "C",
        event_id uuid,
        event_time timestamptz,
        event_type text,
        event_name text,
        value double precision,
        experiment_id integer,
        variant text
    ) on commit delete rows;
    create temporary table if not exists ab_exposed (
        experiment_id integer,
        user_id text collate "C",
        variant text,
        first_exposed_at timestamptz,
        event_id uuid,
        other_exposed_at timestamptz,
        old_variant text,
        old_other_exposed_at timestamptz,
        is_moved boolean
    ) on commit delete rows;
    create temporary table if not exists ab_recount (
        experiment_id integer,
        metric_id integer,
        user_id text collate "C",
        old_variant text,
        variant text,
        first_exposed_at timestamptz
    ) on commit delete rows;
    create temporary table if not exists ab_unit_change (
        experiment_id integer,
        metric_id integer,
        user_id text collate "C",
        old_variant text,
        old_count bigint,
        old_total numeric,
        variant text,
        event_count bigint,
        total numeric,
        latest_event_at timestamptz
    ) on commit delete rows;
    -- Usually empty since the last commit; truncating what is empty would still write to the catalogues.
    if exists (select from pg_temp.ab_batch) or exists (select from pg_temp.ab_exposed)
        or exists (select from pg_temp.ab_recount) or exists (select from pg_temp.ab_unit_change) then
        truncate pg_temp.ab_batch, pg_temp.ab_exposed, pg_temp.ab_recount, pg_temp.ab_unit_change;
    end if;
end
$$;

comment on function ab_internal.prepare_work_tables() is 'makes or empties the session''s temporary tables of the roll-up';

create or replace function ab_internal.count_exposures()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- The earliest exposure decides, and of two at the same instant the smaller id, so that order of arrival does not.
    -- What is stored stands for all exposures before: the earliest, and the earliest to any other variant.
    insert into pg_temp.ab_exposed
    select
        f.experiment_id,
        f.user_id,
        f.variant,
        f.first_exposed_at,
        f.event_id,
        (
            select min(o.exposed_at)
            from (
                select unnest(f.variants) as variant, unnest(f.exposed_at) as exposed_at
                union all
                select f.old_variant, f.old_first_exposed_at
                union all
                -- It is to some other variant than the old one; where the new one is that, the old one is earlier still.
                select null, f.old_other_exposed_at where f.variant = f.old_variant
            ) o
            where o.variant is distinct from f.variant
                and o.exposed_at is not null
        ),
        f.old_variant,
        f.old_other_exposed_at,
        f.is_earlier
    from (
        select
            b.experiment_id,
            b.user_id,
            b.variants,
            b.exposed_at,
            case when n.is_earlier then b.variants[1] else x.variant end as variant,
            case when n.is_earlier then b.exposed_at[1] else x.first_exposed_at end as first_exposed_at,
            case when n.is_earlier then b.event_ids[1] else x.event_id end as event_id,
            x.variant as old_variant,
            x.first_exposed_at as old_first_exposed_at,
            x.other_exposed_at as old_other_exposed_at,
            n.is_earlier
        from (
            select
                e.experiment_id,
                e.user_id,
                array_agg(e.variant order by e.event_time, e.event_id) as variants,
                array_agg(e.event_time order by e.event_time, e.event_id) as exposed_at,
                array_agg(e.event_id order by e.event_time, e.event_id) as event_ids
            from pg_temp.ab_batch e
            join ab.experiment using (experiment_id)
            left join ab_internal.rollup_progress p using (experiment_id)
            where e.event_type = 'exposure'
                and e.event_time < coalesce(p.stopped_at, 'infinity')
            group by e.experiment_id, e.user_id
        ) b
        left join ab.exposure x using (experiment_id, user_id)
        cross join lateral (
            select x.user_id is null or (b.exposed_at[1], b.event_ids[1]) < (x.first_exposed_at, x.event_id) as is_earlier
        ) n
    ) f;
    insert into ab.exposure as x (experiment_id, user_id, variant, first_exposed_at, event_id, other_exposed_at)
    select e.experiment_id, e.user_id, e.variant, e.first_exposed_at, e.event_id, e.other_exposed_at
    from pg_temp.ab_exposed e
    where e.is_moved or e.other_exposed_at is distinct from e.old_other_exposed_at
    on conflict (user_id, experiment_id) do update
        set variant = excluded.variant, first_exposed_at = excluded.first_exposed_at, event_id = excluded.event_id, other_exposed_at = excluded.other_exposed_at;
    insert into ab.variant_statistic as s (experiment_id, variant, units, multiple_units)
    select d.experiment_id, d.variant, sum(d.units), sum(d.multiple_units)
    from (
        select e.experiment_id, e.variant, 1 as units, (e.other_exposed_at is not null)::integer as multiple_units from pg_temp.ab_exposed e
        union all
        select e.experiment_id, e.old_variant, -1, -(e.old_other_exposed_at is not null)::integer from pg_temp.ab_exposed e where e.old_variant is not null
    ) d
    group by d.experiment_id, d.variant
    having sum(d.units) <> 0 or sum(d.multiple_units) <> 0
    on conflict (experiment_id, variant) do update
        set units = s.units + excluded.units, multiple_units = s.multiple_units + excluded.multiple_units;
    delete from ab.variant_statistic s
    using (select distinct e.experiment_id from pg_temp.ab_exposed e) e
    where s.experiment_id = e.experiment_id
        and s.units = 0;
    insert into ab_internal.rollup_progress as p (experiment_id, latest_event_at)
    select e.experiment_id, max(greatest(e.first_exposed_at, e.other_exposed_at))
    from pg_temp.ab_exposed e
    group by e.experiment_id
    on conflict (experiment_id) do update
        set latest_event_at = excluded.latest_event_at
        where p.latest_event_at < excluded.latest_event_at;
end
$$;

comment on function ab_internal.count_exposures() is 'takes the exposures in ab_batch into exposure and variant_statistic, and leaves in ab_exposed whom they touched';

create or replace function ab_internal.recount_units(horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into pg_temp.ab_unit_change
    select
        r.experiment_id,
        r.metric_id,
        r.user_id,
        r.old_variant,
        coalesce(u.event_count, 0),
        coalesce(u.total, 0),
        r.variant,
        coalesce(c.event_count, 0),
        coalesce(c.total, 0),
        c.latest_event_at
    from pg_temp.ab_recount r
    left join ab.unit_metric u using (user_id, experiment_id, metric_id)
    left join (
        select
            w.experiment_id,
            w.metric_id,
            w.user_id,
            count(*) as event_count,
            case d.kind when 'conversion' then 1 when 'count' then count(*) else sum(coalesce(e.value, 0)::numeric) end as total,
            max(e.event_time) as latest_event_at
        from pg_temp.ab_recount w
        join ab.experiment x on x.experiment_id = w.experiment_id
        join ab.metric d on d.metric_id = w.metric_id
        left join ab_internal.rollup_progress p on p.experiment_id = w.experiment_id
        join ab_internal.metric_event e on e.workspace_id = x.workspace_id
            and e.user_id = w.user_id
            and e.event_name = d.event_name
            and e.event_time >= w.first_exposed_at
            and e.event_time < coalesce(p.stopped_at, 'infinity')
            and (e.experiment_id is null or e.experiment_id = w.experiment_id)
            and e.transaction_id < recount_units.horizon
            and e.transaction_id <> all (recount_units.in_progress)
        group by w.experiment_id, w.metric_id, w.user_id, d.kind
    ) c using (experiment_id, metric_id, user_id)
    where u.user_id is not null
        or c.user_id is not null;
end
$$;

comment on function ab_internal.recount_units(bigint, bigint[]) is 'counts the metrics in ab_recount from the raw events up to that cursor, into ab_unit_change';

create or replace function ab_internal.apply_unit_changes()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into ab.unit_metric as u (experiment_id, metric_id, user_id, event_count, total)
    select c.experiment_id, c.metric_id, c.user_id, c.event_count, c.total
    from pg_temp.ab_unit_change c
    where c.event_count > 0
    on conflict (user_id, experiment_id, metric_id) do update
        set event_count = excluded.event_count, total = excluded.total;
    delete from ab.unit_metric u
    using pg_temp.ab_unit_change c
    where c.event_count = 0
        and (u.user_id, u.experiment_id, u.metric_id) = (c.user_id, c.experiment_id, c.metric_id);
    insert into ab.metric_statistic as s (experiment_id, metric_id, variant, conversions, total, total_of_squares)
    select d.experiment_id, d.metric_id, d.variant, sum(d.units), sum(d.units * d.total), sum(d.units * d.total * d.total)
    from (
        select c.experiment_id, c.metric_id, c.variant, 1 as units, c.total from pg_temp.ab_unit_change c where c.event_count > 0
        union all
        select c.experiment_id, c.metric_id, c.old_variant, -1, c.old_total from pg_temp.ab_unit_change c where c.old_count > 0
    ) d
    group by d.experiment_id, d.metric_id, d.variant
    on conflict (experiment_id, metric_id, variant) do update
        set conversions = s.conversions + excluded.conversions, total = s.total + excluded.total, total_of_squares = s.total_of_squares + excluded.total_of_squares;
    delete from ab.metric_statistic s
    using (select distinct c.experiment_id, c.metric_id from pg_temp.ab_unit_change c) c
    where s.experiment_id = c.experiment_id
        and s.metric_id = c.metric_id
        and s.conversions = 0;
    insert into ab_internal.rollup_progress as p (experiment_id, latest_event_at)
    select c.experiment_id, max(c.latest_event_at)
    from pg_temp.ab_unit_change c
    where c.latest_event_at is not null
    group by c.experiment_id
    on conflict (experiment_id) do update
        set latest_event_at = excluded.latest_event_at
        where p.latest_event_at < excluded.latest_event_at;
end
$$;

comment on function ab_internal.apply_unit_changes() is 'writes ab_unit_change to unit_metric, and the difference it makes to metric_statistic';

create or replace function ab_internal.count_batch(horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    analyze pg_temp.ab_batch;
    perform ab_internal.count_exposures();
    analyze pg_temp.ab_exposed;
    -- Whoever was exposed just now, or earlier than was known, is counted from the raw events: some may have come before.
    insert into pg_temp.ab_recount
    select e.experiment_id, m.metric_id, e.user_id, e.old_variant, e.variant, e.first_exposed_at
    from pg_temp.ab_exposed e
    join ab.experiment_metric m on m.experiment_id = e.experiment_id and m.is_counted
    where e.is_moved;
    analyze pg_temp.ab_recount;
    perform ab_internal.recount_units(count_batch.horizon, count_batch.in_progress);
    -- For everybody else the events of the batch are added.
    insert into pg_temp.ab_unit_change
    select
        c.experiment_id,
        c.metric_id,
        c.user_id,
        c.variant,
        coalesce(u.event_count, 0),
        coalesce(u.total, 0),
        c.variant,
        coalesce(u.event_count, 0) + c.event_count,
        case c.kind when 'conversion' then 1 when 'count' then coalesce(u.event_count, 0) + c.event_count else coalesce(u.total, 0) + c.total end,
        c.latest_event_at
    from (
        select
            m.experiment_id,
            m.metric_id,
            b.user_id,
            x.variant,
            d.kind,
            count(*) as event_count,
            sum(coalesce(b.value, 0)::numeric) as total,
            max(b.event_time) as latest_event_at
        from pg_temp.ab_batch b
        join ab.metric d on d.workspace_id = b.workspace_id and d.event_name = b.event_name
        join ab.exposure x on x.user_id = b.user_id
        join ab.experiment_metric m on m.metric_id = d.metric_id and m.experiment_id = x.experiment_id and m.is_counted
        left join ab_internal.rollup_progress p on p.experiment_id = x.experiment_id
        where b.event_type <> 'exposure'
            and b.event_time >= x.first_exposed_at
            and b.event_time < coalesce(p.stopped_at, 'infinity')
            and (b.experiment_id is null or b.experiment_id = x.experiment_id)
            and not exists (
                select from pg_temp.ab_exposed moved
                where moved.experiment_id = x.experiment_id
                    and moved.user_id = x.user_id
                    and moved.is_moved
            )
        group by m.experiment_id, m.metric_id, b.user_id, x.variant, d.kind
    ) c
    left join ab.unit_metric u using (user_id, experiment_id, metric_id);
    analyze pg_temp.ab_unit_change;
    perform ab_internal.apply_unit_changes();
end
$$;

comment on function ab_internal.count_batch(bigint, bigint[]) is 'takes ab_batch into the state, whose cursor will then be the one given';

create or replace function ab_internal.first_complete_time(experiment_id integer)
    returns timestamptz
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select max(g.expired_before)
    from ab.experiment x
    join ab_internal.event_expired g using (workspace_id)
    where x.experiment_id = first_complete_time.experiment_id
        and g.event_table <> 'event_exposure'
        and g.expired_before > (select min(s.first_exposed_at) from ab.exposure s where s.experiment_id = first_complete_time.experiment_id)
$$;

comment on function ab_internal.first_complete_time(integer) is 'from when the raw events of an experiment''s users are all there; NULL where they are so from the first exposure on';

create or replace function ab_internal.count_added_metrics(horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    added record;
begin
    for added in
        select m.experiment_id, m.metric_id
        from ab.experiment_metric m
        where not m.is_counted
        order by m.experiment_id, m.metric_id
    loop
        truncate pg_temp.ab_recount, pg_temp.ab_unit_change;
        delete from ab.unit_metric u where u.experiment_id = added.experiment_id and u.metric_id = added.metric_id;
        delete from ab.metric_statistic s where s.experiment_id = added.experiment_id and s.metric_id = added.metric_id;
        insert into pg_temp.ab_recount
        select x.experiment_id, added.metric_id, x.user_id, null, x.variant, x.first_exposed_at
        from ab.exposure x
        where x.experiment_id = added.experiment_id;
        analyze pg_temp.ab_recount;
        perform ab_internal.recount_units(count_added_metrics.horizon, count_added_metrics.in_progress);
        perform ab_internal.apply_unit_changes();
        update ab.experiment_metric m
        set is_counted = true, complete_from = ab_internal.first_complete_time(added.experiment_id)
        where m.experiment_id = added.experiment_id
            and m.metric_id = added.metric_id;
    end loop;
end
$$;

comment on function ab_internal.count_added_metrics(bigint, bigint[]) is 'counts metrics added since the last time from the raw events up to that cursor';

create or replace function ab_internal.sum_units(experiment_id integer)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    delete from ab.variant_statistic s where s.experiment_id = sum_units.experiment_id;
    delete from ab.metric_statistic s where s.experiment_id = sum_units.experiment_id;
    insert into ab.variant_statistic (experiment_id, variant, units, multiple_units)
    select x.experiment_id, x.variant, count(*), count(*) filter (where x.is_multiple)
    from ab.exposure x
    where x.experiment_id = sum_units.experiment_id
    group by x.experiment_id, x.variant;
    insert into ab.metric_statistic (experiment_id, metric_id, variant, conversions, total, total_of_squares)
    select u.experiment_id, u.metric_id, x.variant, count(*), sum(u.total), sum(u.total * u.total)
    from ab.unit_metric u
    join ab.exposure x using (user_id, experiment_id)
    where u.experiment_id = sum_units.experiment_id
    group by u.experiment_id, u.metric_id, x.variant;
end
$$;

comment on function ab_internal.sum_units(integer) is 'makes an experiment''s statistics anew from the state of its users';

create or replace function ab_internal.close_stopped(horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    stopped record;
begin
    -- Counting heeds only stops noted here, and all that was counted before heeded none: so what is taken back is just
    -- what had been counted, although others stop experiments while a batch is under way.
    for stopped in
        select x.experiment_id, x.stopped_at, p.latest_event_at
        from ab.experiment x
        left join ab_internal.rollup_progress p using (experiment_id)
        where x.stopped_at is not null
            and p.stopped_at is null
        order by x.experiment_id
    loop
        insert into ab_internal.rollup_progress as p (experiment_id, latest_event_at, stopped_at)
        values (stopped.experiment_id, '-infinity', stopped.stopped_at)
        on conflict (experiment_id) do update
            set stopped_at = excluded.stopped_at;
        -- Later than the stop, because a clock ran ahead or the stop took its time to commit.
        if stopped.latest_event_at >= stopped.stopped_at then
            perform ab_internal.take_back(stopped.experiment_id, stopped.stopped_at, close_stopped.horizon, close_stopped.in_progress);
        end if;
    end loop;
end
$$;

comment on function ab_internal.close_stopped(bigint, bigint[]) is 'makes the stops that have been seen since hold for what is counted up to that cursor, and from now on';

create or replace function ab_internal.take_back(experiment_id integer, stopped_at timestamptz, horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    delete from ab.unit_metric u
    using ab.exposure x
    where u.experiment_id = take_back.experiment_id
        and x.experiment_id = take_back.experiment_id
        and x.user_id = u.user_id
        and x.first_exposed_at >= take_back.stopped_at;
    delete from ab.exposure x
    where x.experiment_id = take_back.experiment_id
        and x.first_exposed_at >= take_back.stopped_at;
    update ab.exposure x
    set other_exposed_at = null
    where x.experiment_id = take_back.experiment_id
        and x.other_exposed_at >= take_back.stopped_at;
    -- Taken off rather than counted anew: events of before the stop may have expired, those of after it are still there.
    update ab.unit_metric u
    set event_count = u.event_count - late.event_count,
        total = case late.kind when 'conversion' then 1 when 'count' then u.event_count - late.event_count else u.total - late.total end
    from (
        select m.metric_id, s.user_id, d.kind, count(*) as event_count, sum(coalesce(e.value, 0)::numeric) as total
        from ab.experiment_metric m
        join ab.metric d on d.metric_id = m.metric_id
        join ab_internal.metric_event e on e.workspace_id = m.workspace_id and e.event_name = d.event_name
        join ab.exposure s on s.user_id = e.user_id and s.experiment_id = m.experiment_id
        where m.experiment_id = take_back.experiment_id
            and m.is_counted
            and e.event_time >= take_back.stopped_at
            and (e.experiment_id is null or e.experiment_id = m.experiment_id)
            and e.transaction_id < take_back.horizon
            and e.transaction_id <> all (take_back.in_progress)
        group by m.metric_id, s.user_id, d.kind
    ) late
    where u.experiment_id = take_back.experiment_id
        and u.metric_id = late.metric_id
        and u.user_id = late.user_id;
    delete from ab.unit_metric u where u.experiment_id = take_back.experiment_id and u.event_count = 0;
    perform ab_internal.sum_units(take_back.experiment_id);
    -- A stop that took longer to commit than events are kept: some of what it forbids is gone and stays counted.
    update ab.experiment_metric m
    set complete_from = greatest(m.complete_from, g.expired_before)
    from (
        select max(g.expired_before) as expired_before
        from ab.experiment x
        join ab_internal.event_expired g using (workspace_id)
        where x.experiment_id = take_back.experiment_id
            and g.event_table <> 'event_exposure'
    ) g
    where m.experiment_id = take_back.experiment_id
        and m.is_counted
        and g.expired_before > take_back.stopped_at;
end
$$;

comment on function ab_internal.take_back(integer, timestamptz, bigint, bigint[]) is 'takes out of an experiment''s state what happened at that time or later and is counted up to that cursor';

create or replace function ab_internal.rebuild(experiment_id integer, horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    truncate pg_temp.ab_batch, pg_temp.ab_exposed;
    delete from ab.unit_metric s where s.experiment_id = rebuild.experiment_id;
    delete from ab.metric_statistic s where s.experiment_id = rebuild.experiment_id;
    insert into pg_temp.ab_batch
    select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, e.experiment_id, e.variant
    from ab_internal.exposure_event e
    where e.experiment_id = rebuild.experiment_id
        and e.transaction_id < rebuild.horizon
        and e.transaction_id <> all (rebuild.in_progress);
    analyze pg_temp.ab_batch;
    perform ab_internal.count_exposures();
    perform ab_internal.sum_units(rebuild.experiment_id);
    update ab.experiment_metric m set is_counted = false where m.experiment_id = rebuild.experiment_id;
    perform ab_internal.count_added_metrics(rebuild.horizon, rebuild.in_progress);
end
$$;

comment on function ab_internal.rebuild(integer, bigint, bigint[]) is 'makes an experiment''s state anew from exposures and raw events up to that cursor';

create or replace function @extschema@.ab_rollup(wait boolean default true)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    lock_class constant integer := 'ab_internal.rollup_cursor'::regclass::oid::integer;
    -- A slice that reads less than this makes the next one wider, one that reads ten times more makes it narrower.
    wanted_rows constant bigint := 20000;
    base bigint;
    snapshot pg_snapshot;
    newest bigint;
    running bigint[];
    lower_bound bigint;
    upper_bound bigint;
    before bigint[];
    after bigint[];
    width bigint := 1000;
    rows_read bigint;
    late_rows bigint;
    counted bigint := 0;
    began constant timestamptz := clock_timestamp();
begin
    -- First the lock, then the cursor, then the snapshot: a snapshot taken while waiting would be older than the cursor.
    -- And before all of them the overflow, against whoever would move events out of it meanwhile: a query that was
    -- planned before the move and looks after it finds them in neither place.
    if coalesce(ab_rollup.wait, true) then
        perform ab_internal.make_partitions();
        lock table ab.event_overflow in row exclusive mode;
        perform pg_advisory_xact_lock(lock_class, 0);
    else
        if not pg_try_advisory_xact_lock(lock_class, 0) then
            return null;
        end if;
        perform ab_internal.make_partitions();
        begin
            lock table ab.event_overflow in row exclusive mode nowait;
        exception
            when lock_not_available then
                return null;
        end;
    end if;
    insert into ab_internal.rollup_cursor (horizon, in_progress, ran_at)
    values (0, '{}', clock_timestamp())
    on conflict do nothing;
    select c.horizon, c.in_progress into lower_bound, before from ab_internal.rollup_cursor c for update;
    base := ab_internal.incarnation();
    snapshot := pg_current_snapshot();
    newest := base + pg_snapshot_xmax(snapshot)::text::bigint;
    -- This very transaction counts as running: what it writes after this call belongs to a later batch.
    running := array(select base + x::text::bigint from pg_snapshot_xip(snapshot) x) || (base + pg_current_xact_id()::text::bigint);
    perform ab_internal.prepare_work_tables();
    perform ab_internal.close_stopped(lower_bound, before);
    -- Once at least, even where no id is new: one that was in progress may have ended.
    loop
        -- Below base: the rest of what came from another cluster by dump and restore; all of it is committed.
        upper_bound := case when lower_bound < base then base else greatest(lower_bound, least(lower_bound + width, newest)) end;
        after := array(select r from unnest(running) r where r < upper_bound);
        insert into pg_temp.ab_batch
        select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, e.experiment_id, e.variant
        from ab.event e
        where e.transaction_id >= lower_bound
            and e.transaction_id < upper_bound
            and e.transaction_id <> all (after)
            and (e.event_type = 'exposure' or exists (select from ab.metric m where m.workspace_id = e.workspace_id and m.event_name = e.event_name));
        get diagnostics rows_read = row_count;
        if cardinality(before) > 0 then
            insert into pg_temp.ab_batch
            select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, e.experiment_id, e.variant
            from ab.event e
            where e.transaction_id = any (before)
                and e.transaction_id <> all (after)
                and (e.event_type = 'exposure' or exists (select from ab.metric m where m.workspace_id = e.workspace_id and m.event_name = e.event_name));
            get diagnostics late_rows = row_count;
            rows_read := rows_read + late_rows;
        end if;
        if rows_read > 0 then
            perform ab_internal.count_batch(upper_bound, after);
            perform ab_internal.prepare_work_tables();
            counted := counted + rows_read;
        end if;
        width := case when rows_read < wanted_rows then width * 8 when rows_read > wanted_rows * 10 then greatest(width / 8, 1) else width end;
        lower_bound := upper_bound;
        before := after;
        -- Of a long backlog a part at a time is kept, for a caller that comes back: a whole one could outlast every timeout.
        exit when lower_bound >= newest or (not coalesce(ab_rollup.wait, true) and clock_timestamp() > began + interval '30 seconds');
    end loop;
    update ab_internal.rollup_cursor
    set horizon = lower_bound, in_progress = before, ran_at = clock_timestamp(), events = counted, duration = clock_timestamp() - began;
    perform ab_internal.count_added_metrics(lower_bound, before);
    return counted;
end
$$;

comment on function @extschema@.ab_rollup(boolean) is $$Brings results up to date with every committed event and returns how many it read; NULL when wait is false and another roll-up is running.

Gateways call it each second; without one, call it from any scheduler. It costs by the new events, and a little by the number of days kept. Events of the calling transaction itself are left to the next call.
With wait => false it also returns after about 30 seconds of a long backlog, what it counted being kept.

Example: SELECT ab_rollup();$$;

create or replace function @extschema@.ab_rebuild(experiment text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted integer;
    reached record;
    complete_from timestamptz;
begin
    wanted := ab_internal.experiment_id(ab_rebuild.experiment);
    -- In the order of ab_rollup(), and for its reasons.
    lock table ab.event_overflow in row exclusive mode;
    perform pg_advisory_xact_lock('ab_internal.rollup_cursor'::regclass::oid::integer, 0);
    select c.horizon, c.in_progress into reached from ab_internal.rollup_cursor c for update;
    if found then
        perform ab_internal.close_stopped(reached.horizon, reached.in_progress);
        complete_from := ab_internal.first_complete_time(wanted);
        if complete_from is not null and exists (select from ab.experiment_metric m where m.experiment_id = wanted) then
            perform ab_internal.raise('events_incomplete',
                format('experiment "%s" has users from before %s (UTC), the first day of which all raw events are still there', ab_rebuild.experiment, (complete_from at time zone 'UTC')::date),
                'its results stay as they are; to be able to rebuild, let ab.event_retention keep events for longer than experiments run');
        end if;
        perform ab_internal.prepare_work_tables();
        perform ab_internal.rebuild(wanted, reached.horizon, reached.in_progress);
    end if;
end
$$;

comment on function @extschema@.ab_rebuild(text) is $$Makes the results of an experiment anew from its exposures and raw events, up to where ab_rollup() has come. The outcome is the same: run it to convince yourself.

Errors: experiment_not_found (42704), events_incomplete (55000) where raw events that it would count have expired.

Example: SELECT ab_rebuild('checkout_button');$$;

create or replace function @extschema@.ab_rollup_failed(message text)
    returns void
    language sql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    insert into ab_internal.rollup_error (failed_at, message)
    values (clock_timestamp(), left(coalesce(ab_rollup_failed.message, 'unknown'), 2000))
    on conflict (only_row) do update
        set failed_at = excluded.failed_at, message = excluded.message
$$;

comment on function @extschema@.ab_rollup_failed(text) is $$Notes for ab_rollup_status() that a roll-up failed. Whoever calls ab_rollup() says so, in a transaction of its own: the failed one can write nothing.

Example: SELECT ab_rollup_failed('canceling statement due to statement timeout');$$;

create or replace function @extschema@.ab_rollup_status()
    returns table (
        ran_at timestamptz,
        lag interval,
        horizon bigint,
        in_progress integer,
        events bigint,
        duration interval,
        failed_at timestamptz,
        error text
    )
    language sql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select c.ran_at, clock_timestamp() - c.ran_at, c.horizon, cardinality(c.in_progress), c.events, c.duration, e.failed_at, e.message
    from (select true as only_row) o
    left join ab_internal.rollup_cursor c using (only_row)
    left join ab_internal.rollup_error e using (only_row)
$$;

comment on function @extschema@.ab_rollup_status() is $$How far results are: one row about the last ab_rollup().

ran_at, lag: when it ended, and how long ago; NULL before the first. horizon: transactions below this are counted, but for in_progress many that were open. events, duration: what it read and how long it took. failed_at, error: the last one that failed, whether or not others went through since.

Example: SELECT lag, events, duration, error FROM ab_rollup_status();$$;
