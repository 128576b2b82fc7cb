-- What keeps the tables of events as large as they should be, and never larger: partitions are made ahead and dropped.
--
-- Results must not change by it. So a day goes only once all of it is counted; from then on store_events() refuses events of
-- that day, because whether they had been counted cannot be known any more; and what would have to be counted from
-- events that are gone is refused by ab_rebuild(), or marked (experiment_metric.complete_from).
create or replace function @extschema@.ab_refresh_results(unless_since interval default null)
    returns table (action text, object text, reason text)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '500ms'
    -- Compiling these queries takes longer than running them until there are very many users.
    set jit = off
    set work_mem = '32MB'
    as $$
#variable_conflict use_column
declare
    result record;
begin
    for result in
        select c.relname, c.relispopulated
        from pg_class c
        where c.oid in ('ab.daily_result'::regclass, 'ab.hourly_result'::regclass)
        order by c.relname
    loop
        begin
            -- Whoever comes while another one refreshes finds here that it is done; and whoever comes soon after one that failed.
            insert into ab_internal.result_refresh as r (result, refreshed_at)
            values (result.relname, clock_timestamp())
            on conflict (result) do update
                set refreshed_at = excluded.refreshed_at
                -- With very many users a refresh takes its time, and shall not take all of it.
                where unless_since is null or r.refreshed_at <= clock_timestamp() - greatest(unless_since, r.duration * 20);
            continue when not found;
        exception
            when lock_not_available then
                return query select 'kept', format('ab.%s', result.relname), 'somebody is refreshing or changing it';
                continue;
        end;
        begin
            execute format('refresh materialized view %s ab.%I', case when result.relispopulated then 'concurrently' end, result.relname);
            return query select 'refreshed', format('ab.%s', result.relname), null::text;
        exception
            when lock_not_available then
                return query select 'kept', format('ab.%s', result.relname), 'somebody is refreshing or changing it';
            -- The rest of maintenance does not depend on it.
            when others then
                return query select 'kept', format('ab.%s', result.relname), sqlerrm;
        end;
        update ab_internal.result_refresh r set duration = clock_timestamp() - r.refreshed_at where r.result = result.relname;
    end loop;
end
$$;

comment on function @extschema@.ab_refresh_results(interval) is $$Refreshes ab.daily_result and ab.hourly_result, beside readers, senders and roll-ups, and returns what it did. It reads the rows of all users that there are.

unless_since: leaves alone what has been refreshed within this time, so that each of many gateways may call it; and what would take more than a twentieth of all the time.
Gateways and the background worker do so each hour, and so does ab_maintain() unless it is told not to.

Example: SELECT * FROM ab_refresh_results(unless_since => '1 hour');$$;

create or replace function ab_internal.delete_expired_units()
    returns table (experiment text, users bigint)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- From user to user by their keys, never the whole table.
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_seqscan = off
    as $$
declare
    expired record;
    user_ids text[];
    began constant timestamptz := clock_timestamp();
begin
    -- Nobody counts for these experiments any more, so no roll-up need be kept out.
    for expired in
        select x.experiment_id, x.experiment
        from ab_internal.rollup_progress p
        join ab.experiment x using (experiment_id)
        where p.units_expired_at is not null
            and exists (select from ab.exposure u where u.experiment_id = p.experiment_id)
        order by x.experiment_id
    loop
        experiment := expired.experiment;
        users := 0;
        user_ids := '{""}';
        loop
            user_ids := array(
                select u.user_id
                from ab.exposure u
                where u.experiment_id = expired.experiment_id
                    and u.user_id > user_ids[cardinality(user_ids)] collate "C"
                order by u.user_id
                limit 10000
            );
            exit when user_ids = '{}';
            delete from ab.unit_metric u using unnest(user_ids) g (user_id) where u.user_id = g.user_id and u.experiment_id = expired.experiment_id;
            delete from ab.exposure u using unnest(user_ids) g (user_id) where u.user_id = g.user_id and u.experiment_id = expired.experiment_id;
            users := users + cardinality(user_ids);
            exit when clock_timestamp() > began + interval '30 seconds';
        end loop;
        return next;
        exit when clock_timestamp() > began + interval '30 seconds';
    end loop;
end
$$;

comment on function ab_internal.delete_expired_units() is 'deletes the rows of users that no result needs any more, as many as half a minute allows; returns how many users of which experiments';

create or replace function @extschema@.ab_maintain(refresh boolean default true)
    returns table (action text, object text, reason text)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    -- Below deadlock_timeout: whoever is in the way is waited for another time, and who queues behind us waits no longer.
    set lock_timeout = '500ms'
    set datestyle = 'ISO'
    as $$
#variable_conflict use_column
declare
    existing name[];
    counted_to bigint;
    uncounted bigint[];
    retained record;
    part record;
    is_counted boolean;
    awaited boolean;
    expired record;
    made_any boolean;
    why_kept text;
begin
    -- Not by an older snapshot, which would not see what is still to be counted.
    if current_setting('transaction_isolation') <> 'read committed' then
        return query select 'kept', 'everything', 'the transaction is not READ COMMITTED';
        return;
    end if;
    -- First, while nothing is locked: it reads all users' rows, and meanwhile others go on storing and counting.
    if coalesce(ab_maintain.refresh, true) then
        return query select r.action, r.object, r.reason from @extschema@.ab_refresh_results() r;
    end if;
    return query select 'deleted', format('users of experiment "%s"', d.experiment), format('%s of them, because it stopped long enough ago; its results stay', d.users) from ab_internal.delete_expired_units() d;
    existing := array(select b.partition from ab_internal.partition_bound b);
    made_any := ab_internal.make_partitions() > 0;
    return query
    select 'made', format('ab.%s', b.partition), null::text
    from ab_internal.partition_bound b
    where b.partition <> all (existing)
    order by b.partition;
    return query
    with gone as (
        delete from ab.event_rejected r
        where r.rejected_id in (select o.rejected_id from ab.event_rejected o where o.received_at < now() - interval '30 days' for update skip locked)
        returning r.rejected_id
    )
    select 'deleted', 'ab.event_rejected', format('%s events rejected more than 30 days ago', count(*))
    from gone
    having count(*) > 0;
    begin
        -- In the order of ab_rollup(), and for its reasons.
        lock table ab.event_overflow in row exclusive mode;
        perform pg_advisory_xact_lock('ab_internal.rollup_cursor'::regclass::oid::integer, 0);
    exception
        when lock_not_available then
            return query select 'kept', 'everything', 'a roll-up is running';
            return;
    end;
    return query
    with gone as (
        delete from ab.activity a
        using ab_internal.activity_resolution k
        where k.resolution = a.resolution
            and a.began_at < k.kept_from
        returning a.resolution
    )
    select 'deleted', 'ab.activity', format('%s rows of earlier minutes and hours', count(*))
    from gone
    having count(*) > 0;
    select c.horizon, c.in_progress into counted_to, uncounted from ab_internal.rollup_cursor c;
    why_kept := case
        -- Whoever made one holds up all who write into the overflow until the end of the transaction: not for as long as this takes.
        when made_any then 'partitions had to be made first'
        when not found
            or exists (
                select
                from ab.event e
                where e.event_time < now() - (select r.keep from ab.event_retention r where r.event_table = 'unit_metric')
                    and (e.transaction_id >= counted_to or e.transaction_id = any (uncounted))
            )
        then 'ab_rollup() has not counted all events of that time yet'
    end;
    for expired in
        select p.experiment_id, format('users of experiment "%s"', x.experiment) as whose
        from ab_internal.rollup_progress p
        join ab.experiment x using (experiment_id)
        join ab.event_retention r on r.event_table = 'unit_metric'
        where p.units_expired_at is null
            -- A window goes on after the stop.
            and p.stopped_at + coalesce((select max(d.window_end) from ab.experiment_metric m join ab.metric d using (metric_id) where m.experiment_id = p.experiment_id), '0') < now() - r.keep
        order by p.experiment_id
    loop
        if why_kept is not null then
            return query select 'kept', expired.whose, why_kept;
            continue;
        end if;
        begin
            -- Nobody adds a metric or changes one while what it would be counted from goes.
            perform from ab.experiment x where x.experiment_id = expired.experiment_id for update;
            perform from ab.metric d where d.metric_id in (select m.metric_id from ab.experiment_metric m where m.experiment_id = expired.experiment_id) order by d.metric_id for share;
        exception
            when lock_not_available then
                return query select 'kept', expired.whose, 'somebody is changing the experiment or its metrics';
                continue;
        end;
        if exists (select from ab.experiment_metric m where m.experiment_id = expired.experiment_id and not m.is_counted) then
            return query select 'kept', expired.whose, 'ab_rollup() has not counted all its metrics yet';
            continue;
        end if;
        insert into ab_internal.expired_daily_result (
            experiment_id, metric_id, variant, dimension, value, day, units, conversions, total,
            denominator, total_of_squares, denominator_of_squares, total_denominator
        )
        select
            r.experiment_id, r.metric_id, r.variant, r.dimension, r.value, r.day, r.units, r.conversions, r.total,
            r.denominator, r.total_of_squares, r.denominator_of_squares, r.total_denominator
        from ab_internal.daily_unit_result r
        where r.experiment_id = expired.experiment_id;
        update ab_internal.rollup_progress p set units_expired_at = clock_timestamp() where p.experiment_id = expired.experiment_id;
        return query select 'expired', expired.whose, 'it stopped long enough ago; its results stay, and the rows go with the next calls';
        -- Nothing is counted meanwhile.
        exit;
    end loop;
    for retained in
        select r.event_table, r.keep, d.end_of_day
        from ab.event_retention r
        cross join lateral (select date_trunc('day', (now() - r.keep) at time zone 'UTC') at time zone 'UTC' as end_of_day) d
        where exists (select from ab_internal.partition_bound b where b.event_table = r.event_table and b.upper_bound <= d.end_of_day)
            or exists (select from ab.event_overflow e where e.event_time < d.end_of_day and e.received_at < now() - r.keep and ab_internal.event_table(e.event_type) = r.event_table)
        order by r.event_table
    loop
        begin
            -- Behind this lock nobody is storing an event and nobody begins to.
            lock table ab_internal.event_expired in access exclusive mode;
            execute format('lock table only ab.%I in access exclusive mode', retained.event_table);
        exception
            when lock_not_available then
                return query select 'kept', format('ab.%s', retained.event_table), 'somebody is using it';
                continue;
        end;
        select c.horizon, c.in_progress into counted_to, uncounted from ab_internal.rollup_cursor c;
        if not found or exists (select from ab.experiment_metric m where not m.is_counted) then
            return query select 'kept', format('ab.%s', retained.event_table), 'ab_rollup() has not counted its events for all metrics yet';
            continue;
        end if;
        -- An exposure is counted together with what its user did afterwards.
        select exists (
            select
            from ab_internal.exposure_event e
            where e.event_time < retained.end_of_day
                and (e.transaction_id >= counted_to or e.transaction_id = any (uncounted))
        )
        into awaited;
        if awaited then
            return query select 'kept', format('ab.%s', retained.event_table), 'ab_rollup() has not counted exposures of its days yet';
            continue;
        end if;
        for part in
            select b.partition, b.upper_bound
            from ab_internal.partition_bound b
            where b.event_table = retained.event_table
                and b.upper_bound <= retained.end_of_day
            order by b.upper_bound
        loop
            begin
                execute format('lock table ab.%I in access exclusive mode nowait', part.partition);
                execute format('select not exists (select from ab.%I e where e.transaction_id >= $1 or e.transaction_id = any ($2))', part.partition)
                into is_counted
                using counted_to, uncounted;
                if not is_counted then
                    return query select 'kept', format('ab.%s', part.partition), 'ab_rollup() has not counted all its events yet';
                    continue;
                end if;
                execute format(
                    'insert into ab_internal.event_expired as g (workspace_id, event_table, expired_before)
                    select w.workspace_id, $1, $2
                    from ab.workspace w
                    where exists (select from ab.%I e where e.workspace_id = w.workspace_id)
                    on conflict (workspace_id, event_table) do update
                        set expired_before = greatest(g.expired_before, excluded.expired_before)', part.partition)
                using retained.event_table, part.upper_bound;
                execute format('drop table ab.%I', part.partition);
                return query select 'dropped', format('ab.%s', part.partition), null::text;
            exception
                when lock_not_available or object_in_use then
                    return query select 'kept', format('ab.%s', part.partition), 'somebody is using it';
                when dependent_objects_still_exist then
                    return query select 'kept', format('ab.%s', part.partition), sqlerrm;
            end;
        end loop;
        update ab.event_retention r set dropped_at = clock_timestamp() where r.event_table = retained.event_table;
        return query
        with gone as (
            delete from ab.event_overflow e
            where e.event_time < retained.end_of_day
                -- What was filled in late is kept as long as if it had just happened: the rest of it may still be on its way.
                and e.received_at < now() - retained.keep
                and ab_internal.event_table(e.event_type) = retained.event_table
                and e.transaction_id < counted_to
                and e.transaction_id <> all (uncounted)
            returning e.workspace_id, e.event_time
        ),
        noted as (
            insert into ab_internal.event_expired as g (workspace_id, event_table, expired_before)
            select gone.workspace_id, retained.event_table, (date_trunc('day', max(gone.event_time) at time zone 'UTC') + interval '1 day') at time zone 'UTC'
            from gone
            group by gone.workspace_id
            on conflict (workspace_id, event_table) do update
                set expired_before = greatest(g.expired_before, excluded.expired_before)
        )
        select 'deleted', 'ab.event_overflow', format('%s events of ab.%s', count(*), retained.event_table)
        from gone
        having count(*) > 0;
    end loop;
end
$$;

comment on function @extschema@.ab_maintain(boolean) is $$Makes the partitions of the days to come and drops those whose events are older than ab.event_retention says; deletes the state of users whose experiment stopped longer ago than it says (as unit_metric), one experiment and half a minute at a time, minutes and hours of ab.activity that are too old, and what has been in ab.event_rejected for 30 days; refreshes views as ab_refresh_results() does. Returns what it made, dropped, deleted, refreshed and kept, and why it kept it.

Gateways call it each hour; without one, call it from any scheduler. Results never change by it: a day goes once ab_rollup() has counted all of it, and events of that day are refused from then on. What somebody is using, or has not been counted, is left to the next call.
refresh: whether to refresh the views; false where ab_refresh_results() is called apart, as gateways do.

Example: SELECT * FROM ab_maintain();$$;

create or replace function ab_internal.work_in_background(job text)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    case job
        when 'roll up' then
            perform @extschema@.ab_rollup(false);
        when 'maintain' then
            perform from @extschema@.ab_maintain(refresh => false);
        when 'refresh' then
            perform from @extschema@.ab_refresh_results(unless_since => '1 hour');
    end case;
    return '';
exception
    when others then
        if job = 'roll up' then
            perform @extschema@.ab_rollup_failed(sqlerrm);
            -- Tables from before an upgrade must not be what fails every second from now on.
            discard temp;
        end if;
        return sqlerrm;
end
$$;

comment on function ab_internal.work_in_background(text) is 'what background workers call: does one of "roll up", "maintain" and "refresh", and returns why that failed, or an empty text';
