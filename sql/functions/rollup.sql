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

create or replace function ab_internal.summarize_events()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- VACUUM and ANALYZE may hold what this needs, for long; then it is done another time.
    set lock_timeout = '20ms'
    as $$
declare
    part record;
    range_start bigint;
begin
    for part in
        select to_regclass('ab.' || n.name || '_transaction_id_idx') as summary, pg_relation_size(to_regclass('ab.' || n.name)) / current_setting('block_size')::bigint as pages
        from unnest(array['event_exposure', 'event_conversion', 'event_other']) t (event_table)
        cross join unnest(array[now(), now() - interval '1 day']) d (day)
        cross join lateral (select ab_internal.partition_name(t.event_table, d.day) as name) n
        where to_regclass('ab.' || n.name || '_transaction_id_idx') is not null
    loop
        -- From the last range that is full back to one that is known.
        range_start := (part.pages / 32 - 1) * 32;
        while range_start >= 0 and brin_summarize_range(part.summary, range_start) > 0 loop
            range_start := range_start - 32;
        end loop;
    end loop;
exception
    when lock_not_available then
        return;
end
$$;

comment on function ab_internal.summarize_events() is 'notes which transactions are where in what has been written of today''s events and yesterday''s, which would otherwise be read again until VACUUM does it';

create or replace function @extschema@.ab_rollup(wait boolean default true)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    -- Days and hours of windows are those of UTC. The rest as functions/count.sql says.
    set timezone = 'UTC'
    set enable_seqscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
    set work_mem = '32MB'
    set jit = off
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
        -- Who made one holds up all who write into the overflow until the end of the transaction: not for the length of a backlog.
        if ab_internal.make_partitions() > 0 then
            return 0;
        end if;
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
    -- Deleted while the roll-up before was counting for them.
    perform ab_internal.forget_experiment(p.experiment_id)
    from ab_internal.rollup_progress p
    where p.experiment_id not in (select x.experiment_id from ab.experiment x);
    perform ab_internal.close_stopped(lower_bound, before);
    -- Once at least, even where no id is new: one that was in progress may have ended.
    loop
        -- Below base: the rest of what came from another cluster by dump and restore; all of it is committed.
        upper_bound := case when lower_bound < base then base else greatest(lower_bound, least(lower_bound + width, newest)) end;
        after := array(select r from unnest(running) r where r < upper_bound);
        insert into pg_temp.ab_batch
        select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, e.experiment_id, e.variant, e.properties
        from ab.event e
        where e.transaction_id >= lower_bound
            and e.transaction_id < upper_bound
            and e.transaction_id <> all (after)
            and (e.event_type = 'exposure' or (e.workspace_id, e.event_name) in (select p.workspace_id, p.event_name from ab_internal.metric_part p));
        get diagnostics rows_read = row_count;
        if cardinality(before) > 0 then
            insert into pg_temp.ab_batch
            select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, e.experiment_id, e.variant, e.properties
            from ab.event e
            where e.transaction_id = any (before)
                and e.transaction_id <> all (after)
                and (e.event_type = 'exposure' or (e.workspace_id, e.event_name) in (select p.workspace_id, p.event_name from ab_internal.metric_part p));
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
    -- Not on top of a backlog, for a caller that comes back: whatever would interrupt the one would undo the other.
    if coalesce(ab_rollup.wait, true) or clock_timestamp() < began + interval '10 seconds' then
        perform ab_internal.count_added_metrics(lower_bound, before, coalesce(ab_rollup.wait, true));
    end if;
    perform ab_internal.summarize_events();
    if lower_bound >= newest then
        perform ab_internal.take_looks();
    end if;
    update ab_internal.rollup_cursor
    set horizon = lower_bound, in_progress = before, ran_at = clock_timestamp(), events = counted, duration = clock_timestamp() - began;
    return counted;
end
$$;

comment on function @extschema@.ab_rollup(boolean) is $$Brings results up to date with every committed event and returns how many it read; NULL when wait is false and another roll-up is running.

Gateways call it each second; without one, call it from any scheduler. It costs by the new events, and a little by the number of days kept. Events of the calling transaction itself are left to the next call.
With wait => false it also returns after about 30 seconds of a long backlog, what it counted being kept, and after one experiment whose metrics were added or changed, which it counts from its raw events; and with 0 after it has made partitions. Call it again.

Example: SELECT ab_rollup();$$;

create or replace function @extschema@.ab_rebuild(experiment text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    -- Days and hours of windows are those of UTC. The rest as functions/count.sql says.
    set timezone = 'UTC'
    set enable_seqscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
    set work_mem = '32MB'
    set jit = off
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

Errors: experiment_not_found (42704), events_incomplete (55000) where raw events that it would count have expired, units_expired (55000) where the state of users has, some time after the stop.

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
