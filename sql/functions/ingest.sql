-- Many events at once, as JSON or as rows of a table. One that cannot be stored never holds up the others: it goes to
-- ab.event_rejected with the reason, from where it can be tried again.
create or replace function ab_internal.ingest(workspace integer, events text[], received timestamptz[] default null)
    returns table (accepted bigint, duplicate bigint, refused integer[], codes text[], messages text[])
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- A plan for arrays of any length takes them for short, and then each event is compared with each other one.
    set plan_cache_mode = force_custom_plan
    -- For some thousand rows it takes longer than it saves.
    set jit = off
    as $$
declare
    readable record;
    found_wrong record;
    middle constant integer := cardinality(events) / 2;
    first_half record;
    second_half record;
begin
    begin
        select * into readable from ab_internal.read_events(events, received);
        select
            count(*) filter (where s.code = 'duplicate') as duplicates,
            array_agg(readable.items[s.item]) filter (where s.code <> 'duplicate') as refused,
            array_agg(s.code) filter (where s.code <> 'duplicate') as codes,
            array_agg(s.message) filter (where s.code <> 'duplicate') as messages
        into found_wrong
        from ab_internal.store_events(workspace, readable.user_ids, readable.event_ids, readable.event_times, readable.event_types, readable.event_names,
            readable.amounts, readable.properties, readable.experiments, readable.variants, readable.session_ids) s
        where cardinality(readable.items) > 0;
        duplicate := found_wrong.duplicates;
        refused := readable.refused || found_wrong.refused;
        codes := readable.codes || found_wrong.codes;
        messages := readable.messages || found_wrong.messages;
        accepted := cardinality(events) - cardinality(refused) - duplicate;
        return next;
        return;
    exception
        -- What PostgreSQL cannot store though the engine can read it, as JSON nested too deeply, or what a rule forbids that
        -- somebody added to the tables. Everything else is no event's fault.
        when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
            if middle = 0 then
                accepted := 0;
                duplicate := 0;
                refused := '{1}';
                codes := '{invalid_event}';
                messages := array[left(sqlerrm, 1000)];
                return next;
                return;
            end if;
    end;
    -- Whose fault it is, is found by halves.
    select * into first_half from ab_internal.ingest(workspace, events[:middle], received[:middle]);
    select * into second_half from ab_internal.ingest(workspace, events[middle + 1:], received[middle + 1:]);
    accepted := first_half.accepted + second_half.accepted;
    duplicate := first_half.duplicate + second_half.duplicate;
    refused := first_half.refused || array(select r.item + middle from unnest(second_half.refused) with ordinality r (item, place) order by r.place);
    codes := first_half.codes || second_half.codes;
    messages := first_half.messages || second_half.messages;
    return next;
end
$$;

comment on function ab_internal.ingest(integer, text[], timestamptz[]) is 'stores the events of this JSON, and says how many, and which it refused, from 1, and why; received says when each came, of those that come again';

create or replace function ab_internal.reject_events(workspace integer, events text[], items integer[], codes text[], messages text[])
    returns void
    language sql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
    insert into ab.event_rejected (workspace_id, event, code, message)
    select reject_events.workspace, e.event, r.code, r.message
    from unnest(reject_events.items, reject_events.codes, reject_events.messages) r (item, code, message)
    join unnest(reject_events.events) with ordinality e (event, item) using (item)
    order by e.item
$$;

comment on function ab_internal.reject_events(integer, text[], integer[], text[], text[]) is 'keeps those of the events whose items are named, from 1, as rejected';

create or replace function @extschema@.ab_ingest(events jsonb, workspace text default null)
    returns table (accepted bigint, duplicate bigint, rejected bigint)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    into_workspace constant integer := ab_internal.workspace_id(ab_ingest.workspace);
    part record;
    done record;
begin
    if jsonb_typeof(events) is distinct from 'array' then
        perform ab_internal.raise('invalid_argument', format('events are %s, not a JSON array', coalesce('a JSON ' || jsonb_typeof(events), 'NULL')),
            'give an array of objects with the fields of POST /api/v1/track');
    end if;
    accepted := 0;
    duplicate := 0;
    rejected := 0;
    for part in
        select array_agg(e.event::text order by e.item) as events
        from jsonb_array_elements(ab_ingest.events) with ordinality e (event, item)
        group by (e.item - 1) / 10000
        order by (e.item - 1) / 10000
    loop
        select * into done from ab_internal.ingest(into_workspace, part.events);
        if cardinality(done.refused) > 0 then
            perform ab_internal.reject_events(into_workspace, part.events, done.refused, done.codes, done.messages);
        end if;
        accepted := accepted + done.accepted;
        duplicate := duplicate + done.duplicate;
        rejected := rejected + cardinality(done.refused);
    end loop;
    return next;
end
$$;

comment on function @extschema@.ab_ingest(jsonb, text) is $$Stores a JSON array of events in the caller's transaction and returns how many it accepted, how many were stored before, and how many it rejected.

Each event has the fields of POST /api/v1/track: user_id and event_name, and as far as they are known event_type, experiment_id, variant_id, value, properties, timestamp (with an offset), event_id, session_id. Without a timestamp an event_id must be a UUIDv7; give both where the events may come again.
No event makes the call fail: what cannot be stored goes to ab.event_rejected with code and message, and ab_replay_rejected() tries it again.
Errors: invalid_argument (22023) unless it is an array, workspace_not_found (42704).

Example: SELECT * FROM ab_ingest('[{"user_id": "user_123", "event_name": "purchase", "event_type": "purchase", "value": 49.90}]');$$;

create or replace function @extschema@.ab_ingest_staged(max integer default 100000)
    returns table (accepted bigint, duplicate bigint, rejected bigint)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    last_taken bigint := 0;
    slice record;
    part record;
    into_workspace integer;
    done record;
    taken bigint := 0;
    -- "default" makes itself.
    known constant text[] := array(select w.workspace from ab.workspace w) || 'default'::text;
    unknown record;
begin
    accepted := 0;
    duplicate := 0;
    rejected := 0;
    -- One after the other, or the second would find that its rows are gone and take nothing.
    perform pg_advisory_xact_lock('ab.event_staging'::regclass::oid::integer, 0);
    loop
        select max(c.staging_id) as last, count(*) as rows
        into slice
        from (
            select s.staging_id
            from ab.event_staging s
            where s.staging_id > last_taken
                and (s.workspace is null or s.workspace = any (known))
            order by s.staging_id
            limit greatest(least(ab_ingest_staged.max - taken, 10000), 0)
        ) c;
        exit when slice.rows = 0;
        for part in
            with gone as (
                delete from ab.event_staging s
                where s.staging_id > last_taken
                    and s.staging_id <= slice.last
                    and (s.workspace is null or s.workspace = any (known))
                returning s.*
            )
            select g.workspace, array_agg(row_to_json(e)::text) as events
            from gone g
            cross join lateral (
                select g.user_id, g.event_name, g.event_type, g.experiment_id, g.variant_id, g.value, g.properties, g."timestamp", g.event_id, g.session_id
            ) e
            -- By table, too: what goes to several is gone through for each of them.
            group by g.workspace, ab_internal.event_table(g.event_type)
        loop
            into_workspace := ab_internal.workspace_id(part.workspace);
            select * into done from ab_internal.ingest(into_workspace, part.events);
            if cardinality(done.refused) > 0 then
                perform ab_internal.reject_events(into_workspace, part.events, done.refused, done.codes, done.messages);
            end if;
            accepted := accepted + done.accepted;
            duplicate := duplicate + done.duplicate;
            rejected := rejected + cardinality(done.refused);
        end loop;
        last_taken := slice.last;
        taken := taken + slice.rows;
    end loop;
    -- Everything else has been taken.
    if taken < ab_ingest_staged.max then
        select count(*) as rows, min(s.workspace) as workspace into unknown from ab.event_staging s where s.workspace <> all (known);
        if unknown.rows > 0 then
            raise warning '% rows stay in ab.event_staging, of workspaces that do not exist: "%"', unknown.rows, unknown.workspace
                using hint = 'insert the workspace into ab.workspace, or correct the rows, and call this again';
        end if;
    end if;
    return next;
end
$$;

comment on function @extschema@.ab_ingest_staged(integer) is $$Takes up to max rows out of ab.event_staging, oldest first, stores them as events and returns how many it accepted, how many were stored before, and how many it rejected.

Fill the table with COPY or INSERT; its columns are the fields of POST /api/v1/track. Rows leave it in the transaction in which their events are stored, so that each is stored once. Who calls it while another does waits.
What cannot be stored goes to ab.event_rejected with code and message. CALL ab_ingest_all_staged() takes all rows, in several transactions.
Rows whose workspace does not exist stay, with a warning.
Errors: workspace_not_found (42704) where the session's own does not exist, which rows without one belong to.

Example: INSERT INTO ab.event_staging (user_id, event_name, value, "timestamp", event_id) VALUES ('user_123', 'purchase', 49.90, now(), 'order-1001'); SELECT * FROM ab_ingest_staged();$$;

-- No SET and no SECURITY DEFINER, with which it could not commit.
create or replace procedure @extschema@.ab_ingest_all_staged(chunk integer default 100000)
    language plpgsql
    as $$
declare
    done record;
    accepted bigint := 0;
    duplicate bigint := 0;
    rejected bigint := 0;
begin
    loop
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        select * into done from @extschema@.ab_ingest_staged(greatest(chunk, 1));
        exit when done.accepted + done.duplicate + done.rejected = 0;
        accepted := accepted + done.accepted;
        duplicate := duplicate + done.duplicate;
        rejected := rejected + done.rejected;
        commit;
        raise notice '% accepted, % duplicate, % rejected', accepted, duplicate, rejected;
    end loop;
end
$$;

comment on procedure @extschema@.ab_ingest_all_staged(integer) is $$Stores everything in ab.event_staging as ab_ingest_staged() does, commits after each chunk of rows, and says in a NOTICE how many it has accepted, how many were stored before, and how many it rejected.

When it is interrupted, what was committed is stored and the rest is still in the table: call it again. Rows whose workspace does not exist stay, with a warning.
Errors: workspace_not_found (42704) where the session's own does not exist, which rows without one belong to.

Example: CALL ab_ingest_all_staged();$$;

create or replace function @extschema@.ab_reject_events(events text[], codes text[], messages text[], workspace text default null)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    into_workspace constant integer := ab_internal.workspace_id(ab_reject_events.workspace);
begin
    if (cardinality(events) = cardinality(codes) and cardinality(events) = cardinality(messages)) is not true or array_position(events || codes || messages, null) is not null then
        perform ab_internal.raise('invalid_argument', 'the arrays of rejected events differ in length, are missing or hold a NULL', 'give each event its code and its message');
    end if;
    perform ab_internal.reject_events(into_workspace, events, array(select i from generate_series(1, cardinality(events)) i), codes, messages);
    return cardinality(events);
end
$$;

comment on function @extschema@.ab_reject_events(text[], text[], text[], text) is $$Keeps events that could not be stored in ab.event_rejected, each with a code and a message, and returns how many.

Gateways put there what the database refused after they had answered. An event is JSON with the fields of POST /api/v1/track; what is none is kept too.
Errors: invalid_argument (22023), workspace_not_found (42704).

Example: SELECT ab_reject_events('{"{\"user_id\": \"user_123\", \"event_name\": \"clicked\", \"experiment_id\": \"not_yet\"}"}', '{experiment_not_found}', '{"experiment \"not_yet\" does not exist"}');$$;

create or replace function @extschema@.ab_replay_rejected(since timestamptz default null, workspace text default null)
    returns table (accepted bigint, duplicate bigint, rejected bigint)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    -- As in ab_internal.ingest().
    set plan_cache_mode = force_custom_plan
    as $$
declare
    of_workspace constant integer := ab_internal.workspace_id(ab_replay_rejected.workspace);
    tried_to bigint := 0;
    part record;
    done record;
begin
    accepted := 0;
    duplicate := 0;
    rejected := 0;
    loop
        with chosen as (
            select r.rejected_id, r.event, r.received_at
            from ab.event_rejected r
            where r.workspace_id = of_workspace
                and r.rejected_id > tried_to
                and r.received_at >= coalesce(ab_replay_rejected.since, '-infinity')
            order by r.rejected_id
            limit 10000
            for update skip locked
        )
        select array_agg(c.rejected_id order by c.rejected_id) as ids, array_agg(c.event order by c.rejected_id) as events, array_agg(c.received_at order by c.rejected_id) as received
        into part
        from chosen c;
        exit when part.ids is null;
        select * into done from ab_internal.ingest(of_workspace, part.events, part.received);
        with failed as (
            select i.rejected_id, f.code, f.message
            from unnest(done.refused, done.codes, done.messages) f (item, code, message)
            join unnest(part.ids) with ordinality i (rejected_id, item) using (item)
        ),
        updated as (
            update ab.event_rejected r
            set code = f.code, message = f.message
            from failed f
            where r.rejected_id = f.rejected_id
        )
        delete from ab.event_rejected r
        where r.rejected_id = any (part.ids)
            and not exists (select from failed f where f.rejected_id = r.rejected_id);
        accepted := accepted + done.accepted;
        duplicate := duplicate + done.duplicate;
        rejected := rejected + cardinality(done.refused);
        tried_to := part.ids[cardinality(part.ids)];
    end loop;
    return next;
end
$$;

comment on function @extschema@.ab_replay_rejected(timestamptz, text) is $$Tries again to store the events of ab.event_rejected, of the workspace, that came at or after since; returns how many are stored now, how many were stored before, and how many are still rejected.

An event that does not say when it happened is dated when it first came. Those that are stored leave the table; the others stay with the reason of this time. Do it once what was wrong is right: the experiment exists, the event can be read since you have corrected it by UPDATE.
Errors: workspace_not_found (42704).

Example: SELECT * FROM ab_replay_rejected(now() - interval '1 day');$$;
