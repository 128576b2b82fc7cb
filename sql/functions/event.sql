-- Events on their way into the tables. One mechanism stores them, whether they come one by one or in batches.
create or replace function ab_internal.event_table(event_type text)
    returns text
    language sql
    immutable
    parallel safe
    as $$
    select case event_type when 'exposure' then 'event_exposure' when 'conversion' then 'event_conversion' when 'purchase' then 'event_conversion' else 'event_other' end
$$;

comment on function ab_internal.event_table(text) is 'the table whose retention suits this type of event';

create or replace function ab_internal.partition_name(event_table text, event_time timestamptz)
    returns text
    language sql
    immutable
    parallel safe
    as $$
    select event_table || to_char(event_time at time zone 'UTC', '"_"YYYYMMDD')
$$;

comment on function ab_internal.partition_name(text, timestamptz) is 'the partition in schema ab for that day in UTC, whether it exists or not';

create or replace function ab_internal.has_partition(event_table text, event_time timestamptz)
    returns boolean
    language sql
    stable
    parallel safe
    as $$
    select exists (
        select
        from pg_catalog.pg_inherits i
        where i.inhrelid = pg_catalog.to_regclass('ab.' || ab_internal.partition_name(has_partition.event_table, has_partition.event_time))
            and not i.inhdetachpending
    )
$$;

comment on function ab_internal.has_partition(text, timestamptz) is 'whether events of that day have a partition of their table, one that is attached';

create or replace function ab_internal.make_partitions(first_day date default (now() at time zone 'UTC')::date - 1, last_day date default (now() at time zone 'UTC')::date + 7)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- Below deadlock_timeout: whoever is in the way is waited for another time; until then the overflow takes the events.
    set lock_timeout = '500ms'
    -- Bounds pass through text: other styles write names of time zones, which are ambiguous.
    set datestyle = 'ISO'
    as $$
declare
    wanted record;
    made integer := 0;
begin
    -- Long before the first event, if it can be: whoever notes a new cluster holds up all other first events until the end
    -- of the transaction.
    perform ab_internal.incarnation();
    -- Asked first: who inserts what is there already still takes locks and writes.
    if (select count(*) from ab.event_retention) < 4 then
        insert into ab.event_retention (event_table, keep)
        values ('event_exposure', '7 days'), ('event_conversion', '30 days'), ('event_other', '14 days'), ('unit_metric', '90 days')
        on conflict do nothing;
    end if;
    -- An older snapshot would not see what has come into the overflow since, and leave it there to be stored twice.
    if current_setting('transaction_isolation') <> 'read committed' then
        return 0;
    end if;
    for wanted in
        select p.event_table, p.day, p.day at time zone 'UTC' as lower_bound, (p.day + interval '1 day') at time zone 'UTC' as upper_bound, n.name
        from (
            select t.event_table, d.day::timestamp as day
            from unnest(array['event_exposure', 'event_conversion', 'event_other']) t (event_table)
            cross join generate_series(first_day::timestamp, last_day::timestamp, '1 day') d (day)
        ) p
        cross join lateral (select ab_internal.partition_name(p.event_table, p.day at time zone 'UTC') as name) n
        where to_regclass('ab.' || n.name) is null
        order by p.day, p.event_table
    loop
        if made = 0 then
            if not pg_try_advisory_xact_lock('ab.event_overflow'::regclass::oid::integer, 0) then
                return 0;
            end if;
            lock table ab.event_overflow in share row exclusive mode;
        end if;
        continue when to_regclass('ab.' || wanted.name) is not null;
        -- Rows only come, and the table goes before they would have to be frozen: nothing for VACUUM to do.
        execute format('create table ab.%1$I (like ab.%2$I including defaults including constraints) with (autovacuum_vacuum_insert_threshold = -1)', wanted.name, wanted.event_table);
        execute format('create unique index %1$I on ab.%2$I (workspace_id, user_id, event_id, event_time)', wanted.name || '_identity_idx', wanted.name);
        execute format('create index %1$I on ab.%2$I using brin (transaction_id) with (pages_per_range = 32)', wanted.name || '_transaction_id_idx', wanted.name);
        -- Before it is attached: from then on what comes in is published, and these events have been.
        execute format('with moved as (delete from ab.event_overflow where event_time >= %3$L and event_time < %4$L and ab_internal.event_table(event_type) = %1$L returning *) insert into ab.%2$I select * from moved',
            wanted.event_table, wanted.name, wanted.lower_bound, wanted.upper_bound);
        execute format('alter table ab.%1$I attach partition ab.%2$I for values from (%3$L) to (%4$L)', wanted.event_table, wanted.name, wanted.lower_bound, wanted.upper_bound);
        made := made + 1;
    end loop;
    return made;
exception
    when lock_not_available then
        return 0;
end
$$;

comment on function ab_internal.make_partitions(date, date) is 'makes the missing partitions of those days and moves into them what the overflow held; returns how many it made, 0 also when somebody is in the way';

-- One function for each table, so that each has its own plan: made by this text, which names the table only.
do $make$
declare
    event_table text;
    insertion constant text := $insertion$
        insert into ab.%1$s (workspace_id, user_id, event_id, event_time, event_type, event_name, value, properties, experiment_id, variant, session_id, received_at)
        select workspace, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.amount, e.properties::jsonb, n.experiment_id, e.variant, e.session_id, received
        from unnest(user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, tables)
            e (user_id, event_id, event_time, event_type, event_name, amount, properties, experiment, variant, session_id, chosen)
        left join unnest(named, named_ids) n (experiment, experiment_id) on n.experiment = e.experiment
        where coalesce(e.chosen, ab_internal.event_table(e.event_type)) = '%1$s'
        order by e.user_id, e.event_id, e.event_time
    $insertion$;
begin
    foreach event_table in array array['event_exposure', 'event_conversion', 'event_other', 'event_overflow'] loop
        execute format($function$
            create or replace function ab_internal.insert_into_%1$s(
                workspace integer,
                user_ids text[],
                event_ids uuid[],
                event_times timestamptz[],
                event_types text[],
                event_names text[],
                amounts double precision[],
                properties text[],
                experiments text[],
                variants text[],
                session_ids text[],
                tables text[],
                named text[],
                named_ids integer[],
                received timestamptz,
                all_new boolean
            )
                returns bigint
                language plpgsql
                volatile
                parallel unsafe
                set search_path = pg_catalog, pg_temp
                as $body$
            declare
                inserted bigint;
            begin
                -- In the order of the key, so that two senders of the same events wait for each other and never in a circle.
                if all_new then
                    %2$s;
                else
                    %2$s on conflict do nothing;
                end if;
                get diagnostics inserted = row_count;
                return inserted;
            end
            $body$
        $function$, event_table, format(insertion, event_table));
        execute format('comment on function ab_internal.insert_into_%1$s is %2$L', event_table, format('stores those of the events whose table is ab.%s and returns how many were not there; all_new raises where one was', event_table));
    end loop;
end
$make$;

create or replace function ab_internal.insert_events(
    workspace integer,
    user_ids text[],
    event_ids uuid[],
    event_times timestamptz[],
    event_types text[],
    event_names text[],
    amounts double precision[],
    properties text[],
    experiments text[],
    variants text[],
    session_ids text[],
    used text[],
    tables text[],
    named text[],
    named_ids integer[],
    received timestamptz,
    all_new boolean
)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    stored bigint := 0;
begin
    if 'event_exposure' = any (used) then
        stored := stored + ab_internal.insert_into_event_exposure(workspace, user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, tables, named, named_ids, received, all_new);
    end if;
    if 'event_conversion' = any (used) then
        stored := stored + ab_internal.insert_into_event_conversion(workspace, user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, tables, named, named_ids, received, all_new);
    end if;
    if 'event_other' = any (used) then
        stored := stored + ab_internal.insert_into_event_other(workspace, user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, tables, named, named_ids, received, all_new);
    end if;
    if 'event_overflow' = any (used) then
        stored := stored + ab_internal.insert_into_event_overflow(workspace, user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, tables, named, named_ids, received, all_new);
    end if;
    return stored;
end
$$;

comment on function ab_internal.insert_events(integer, text[], uuid[], timestamptz[], text[], text[], double precision[], text[], text[], text[], text[], text[], text[], text[], integer[], timestamptz, boolean) is 'stores events in the tables used, each in the one that tables names for it or else in that of its type; returns how many were not there';

create or replace function ab_internal.store_events(
    workspace integer,
    user_ids text[],
    event_ids uuid[],
    event_times timestamptz[],
    event_types text[],
    event_names text[],
    amounts double precision[],
    properties text[],
    experiments text[],
    variants text[],
    session_ids text[]
)
    returns table (item integer, code text, message text)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    -- For each event, where some need a look: its experiment, where it goes to (refused is nowhere), whether that is kept.
    experiment_ids integer[];
    tables text[];
    sticky boolean[];
    foreign_to integer[];
    received constant timestamptz := clock_timestamp();
    used text[];
    earliest timestamptz;
    latest timestamptz;
    has_partitions boolean;
    missing_tables text[];
    missing_days timestamptz[];
    named text[];
    named_ids integer[];
    are_known boolean;
    is_any_sticky boolean;
    stored bigint;
    expected bigint;
    -- By class of event: nothing before this may be stored any more.
    expired_conversion timestamptz;
    expired_other timestamptz;
begin
    -- An older snapshot does not see what has expired since: where that matters it must fail, and be tried again.
    if current_setting('transaction_isolation') <> 'read committed' and exists (select from unnest(event_times) t (event_time) where t.event_time < clock_timestamp() - interval '1 day') then
        perform from ab.event_retention r order by r.event_table for share;
    end if;
    select
        coalesce(max(g.expired_before) filter (where g.event_table = 'event_conversion'), '-infinity'),
        coalesce(max(g.expired_before) filter (where g.event_table = 'event_other'), '-infinity')
    into expired_conversion, expired_other
    from ab_internal.event_expired g
    where g.workspace_id = workspace;
    -- What is asked of a few days and experiments here need not be asked of each event.
    select array_agg(distinct d.event_table), min(d.earliest), max(d.latest), coalesce(bool_and(ab_internal.has_partition(d.event_table, d.earliest)), true)
    into used, earliest, latest, has_partitions
    from (
        select ab_internal.event_table(e.event_type) as event_table, min(e.event_time) as earliest, max(e.event_time) as latest
        from unnest(event_types, event_times) e (event_type, event_time)
        group by 1, date_bin('1 day', e.event_time, '2000-01-01 00:00Z')
    ) d;
    select array_agg(k.experiment), array_agg(k.experiment_id), coalesce(bool_and(k.are_known), true), coalesce(bool_or(k.is_sticky), false)
    into named, named_ids, are_known, is_any_sticky
    from (
        select n.experiment, x.experiment_id, x.is_sticky, bool_and(x.experiment_id is not null and (n.variant is null or v.variant_id is not null)) as are_known
        from (select distinct e.experiment, e.variant from unnest(experiments, variants) e (experiment, variant) where e.experiment is not null) n
        left join ab.experiment x on x.workspace_id = workspace and x.experiment = n.experiment
        left join ab.variant v on v.experiment_id = x.experiment_id and v.variant = n.variant
        group by n.experiment, x.experiment_id, x.is_sticky
    ) k;
    if not has_partitions then
        -- Whoever makes a partition locks the overflow against us first: behind this lock the answer stays true.
        lock table ab.event_overflow in row exclusive mode;
        select array_agg(d.event_table), array_agg(d.day)
        into missing_tables, missing_days
        from (
            select distinct ab_internal.event_table(e.event_type) as event_table, date_bin('1 day', e.event_time, '2000-01-01 00:00Z') as day
            from unnest(event_types, event_times) e (event_type, event_time)
            -- Or each event would be asked for, before the days are made distinct.
            offset 0
        ) d
        where not ab_internal.has_partition(d.event_table, d.day);
    end if;
    if not has_partitions or not are_known or is_any_sticky or earliest < greatest(expired_conversion, expired_other, '2000-01-01 00:00Z') or latest > received + interval '1 day 5 minutes' then
        select array_agg(r.experiment_id), array_agg(r.chosen), array_agg(r.is_sticky)
        into experiment_ids, tables, sticky
        from (
            select
                x.experiment_id,
                case
                    when e.experiment is not null and (x.experiment_id is null or (e.variant is not null and v.variant_id is null)) then 'refused'
                    -- Checked by whoever calls, against another clock perhaps: an event of the year 9999 would never be dropped.
                    when not e.event_time between '2000-01-01 00:00Z' and received + interval '1 day 5 minutes' then 'refused'
                    -- It may have been counted and dropped. An exposure counts once however often it comes, but the events that
                    -- its user caused after it must be there to be counted with it.
                    when e.event_time < case t.event_table
                        when 'event_conversion' then expired_conversion
                        when 'event_other' then expired_other
                        else greatest(expired_conversion, expired_other)
                    end then 'refused'
                    when m.day is not null then 'event_overflow'
                    else t.event_table
                end as chosen,
                x.is_sticky and e.event_type = 'exposure' and v.variant_id is not null as is_sticky
            from unnest(experiments, variants, event_types, event_times) with ordinality e (experiment, variant, event_type, event_time, item)
            cross join lateral (select ab_internal.event_table(e.event_type) as event_table) t
            left join unnest(missing_tables, missing_days) m (event_table, day) on m.event_table = t.event_table and m.day = date_bin('1 day', e.event_time, '2000-01-01 00:00Z')
            left join ab.experiment x on x.workspace_id = workspace and x.experiment = e.experiment
            left join ab.variant v on v.experiment_id = x.experiment_id and v.variant = e.variant
            order by e.item
        ) r;
    end if;
    if 'refused' = any (tables) then
        return query
        select
            e.item::integer,
            case
                when e.experiment is not null and e.experiment_id is null then 'experiment_not_found'
                when e.variant is not null and not exists (select from ab.variant v where v.experiment_id = e.experiment_id and v.variant = e.variant) then 'variant_not_found'
                when e.event_time between '2000-01-01 00:00Z' and clock_timestamp() then 'event_expired'
                else 'invalid_event_time'
            end,
            case
                when e.experiment is not null and e.experiment_id is null then format('experiment "%s" does not exist', left(e.experiment, 64))
                when e.variant is not null and not exists (select from ab.variant v where v.experiment_id = e.experiment_id and v.variant = e.variant) then format('experiment "%s" has no variant "%s"', e.experiment, left(e.variant, 64))
                when e.event_time between '2000-01-01 00:00Z' and clock_timestamp() then format('event time is %s, and events of that time have expired', to_char(e.event_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
                else 'event time is before the year 2000 or in the future'
            end
        from unnest(experiments, variants, experiment_ids, tables, event_times) with ordinality e (experiment, variant, experiment_id, chosen, event_time, item)
        where e.chosen = 'refused';
    end if;
    -- In the order of the key here too.
    if true = any (sticky) then
        with given as (
            insert into ab.sticky_assignment (experiment_id, user_id, variant)
            select distinct on (e.user_id, e.experiment_id) e.experiment_id, e.user_id, e.variant
            from unnest(user_ids, experiment_ids, variants, event_times, tables, sticky) with ordinality e (user_id, experiment_id, variant, event_time, chosen, is_sticky, item)
            where e.is_sticky
                and e.chosen <> 'refused'
            order by e.user_id, e.experiment_id, e.event_time, e.item
            on conflict do nothing
            returning experiment_id, user_id, variant
        )
        -- An assignment made elsewhere can be one that this experiment never gave: then what is stored must be asked for by everybody.
        select array_agg(distinct x.experiment_id)
        into foreign_to
        from given g
        join ab.experiment x on x.experiment_id = g.experiment_id
        where not x.has_foreign_assignments
            and not (
                @extschema@.ab_bucket(x.salt || ':traffic', g.user_id) < x.widest_traffic * 10000
                and exists (
                    select
                    from ab.variant_range r
                    where r.experiment_id = x.experiment_id
                        and r.variant = g.variant
                        and @extschema@.ab_bucket(x.salt || ':variant', g.user_id) >= r.from_bucket
                        and @extschema@.ab_bucket(x.salt || ':variant', g.user_id) < r.to_bucket
                )
                and not exists (
                    select
                    from ab.layer_slice s
                    join ab.layer l on l.layer_id = s.layer_id
                    where s.experiment_id = x.experiment_id
                    having count(*) > 0
                        and count(*) filter (where @extschema@.ab_bucket(l.salt || ':layer', g.user_id) >= s.from_bucket and @extschema@.ab_bucket(l.salt || ':layer', g.user_id) < s.to_bucket) = 0
                )
            );
        if foreign_to is not null then
            update ab.experiment x set has_foreign_assignments = true where x.experiment_id = any (foreign_to);
        end if;
    end if;
    if tables is not null then
        used := array(select distinct t.chosen from unnest(tables) t (chosen));
    end if;
    expected := cardinality(user_ids) - coalesce(cardinality(array_positions(tables, 'refused')), 0);
    -- Most batches hold nothing that was sent before. To find that out with each row is what costs less than to ask before each; a
    -- short one does without the subtransaction, of which a transaction should not have many.
    if cardinality(user_ids) >= 50 then
        begin
            stored := ab_internal.insert_events(workspace, user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, used, tables, named, named_ids, received, true);
        exception
            when unique_violation then
                stored := null;
        end;
    end if;
    if stored is null then
        stored := ab_internal.insert_events(workspace, user_ids, event_ids, event_times, event_types, event_names, amounts, properties, experiments, variants, session_ids, used, tables, named, named_ids, received, false);
    end if;
    if stored < expected then
        -- What this call stored has its time of receipt; of what was sent twice within it the first is what was stored.
        return query
        select i.item::integer, 'duplicate', null::text
        from (
            select e.*, t.event_table, row_number() over (partition by e.user_id, e.event_id, e.event_time, t.event_table order by e.item) > 1 as is_repeated
            from unnest(user_ids, event_ids, event_times, event_types, tables) with ordinality e (user_id, event_id, event_time, event_type, chosen, item)
            cross join lateral (select ab_internal.event_table(e.event_type) as event_table) t
            where e.chosen is distinct from 'refused'
        ) i
        left join lateral (
            select v.received_at
            from ab.event v
            where v.workspace_id = workspace
                and v.user_id = i.user_id
                and v.event_id = i.event_id
                and v.event_time = i.event_time
                and ab_internal.event_table(v.event_type) = i.event_table
            offset 0
        ) v on true
        where i.is_repeated
            or v.received_at is distinct from received;
    end if;
end
$$;

comment on function ab_internal.store_events(integer, text[], uuid[], timestamptz[], text[], text[], double precision[], text[], text[], text[], text[]) is 'stores events, and returns those it refused, and with code duplicate those that were stored already; items count from 1';

create or replace function @extschema@.ab_track(
    user_id text,
    event_name text,
    value double precision default null,
    properties jsonb default '{}',
    event_type text default 'custom',
    experiment text default null,
    variant text default null,
    event_time timestamptz default null,
    event_id uuid default null
)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    workspace constant integer := ab_internal.workspace_id();
    stored_type constant text := coalesce(event_type, 'custom');
    stored_properties constant text := coalesce(properties, '{}')::text;
    stored_id constant uuid := coalesce(event_id, ab_internal.new_event_id());
    stored_time constant timestamptz := ab_internal.identify_event_time(stored_id, event_time);
    refused record;
begin
    perform ab_internal.check_event(user_id, event_name, stored_type, value, stored_properties, experiment, variant);
    select * into refused
    from ab_internal.store_events(workspace, array[user_id], array[stored_id], array[stored_time], array[stored_type], array[event_name],
        array[value], array[stored_properties], array[experiment], array[variant], array[null::text]) s
    where s.code <> 'duplicate';
    if found then
        perform ab_internal.raise(refused.code, refused.message,
            case when refused.code = 'event_expired' then 'it may have been counted already; keep events longer in ab.event_retention to take later ones' else 'create it first, or leave it out' end);
    end if;
    return stored_id;
end
$$;

comment on function @extschema@.ab_track(text, text, double precision, jsonb, text, text, text, timestamptz, uuid) is $$Records an event in the caller's transaction and returns its id.

event_type exposure with experiment and variant records an assignment made elsewhere. An event that names an experiment counts only there; others count in every experiment the user was exposed to.
The same user_id, event_id and event_time is the same event: sending it again with its type changes nothing. An event_id without a time must be a UUIDv7.
Errors (22023): invalid_user_id, invalid_event, invalid_key, variant_required, event_time_required; invalid_event_time, event_expired (22008); experiment_not_found, variant_not_found (42704).

Example: SELECT ab_track('user_123', 'purchase', 49.90, '{"currency": "EUR"}', event_type => 'purchase');$$;

create or replace function @extschema@.ab_track_batch(
    user_ids text[],
    event_ids uuid[],
    event_times timestamptz[],
    event_types text[],
    event_names text[],
    amounts double precision[],
    properties text[],
    experiments text[],
    variants text[],
    session_ids text[],
    workspace text default null
)
    returns table (item integer, code text, message text)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if user_ids is null or exists (
        select
        from unnest(array[
            cardinality(event_ids), cardinality(event_times), cardinality(event_types), cardinality(event_names), cardinality(amounts),
            cardinality(ab_track_batch.properties), cardinality(experiments), cardinality(variants), cardinality(session_ids)
        ]) n (length)
        where n.length is distinct from cardinality(user_ids)
    ) then
        perform ab_internal.raise('invalid_argument', 'the arrays of a batch differ in length or are missing', 'give each array one element for each event, NULL where there is nothing to say');
    end if;
    if array_position(event_ids, null) is not null or array_position(event_times, null) is not null or array_position(ab_track_batch.properties, null) is not null then
        perform ab_internal.raise('invalid_argument', 'an event of the batch has no id, time or properties', 'use ab_track() to have them filled in');
    end if;
    perform ab_internal.check_event(e.user_id, e.event_name, e.event_type, e.amount, e.properties, e.experiment, e.variant)
    from unnest(user_ids, event_names, event_types, amounts, ab_track_batch.properties, experiments, variants)
        e (user_id, event_name, event_type, amount, properties, experiment, variant);
    return query
    select * from ab_internal.store_events(ab_internal.workspace_id(ab_track_batch.workspace), user_ids, event_ids, event_times, event_types, event_names,
        amounts, ab_track_batch.properties, experiments, variants, session_ids);
end
$$;

comment on function @extschema@.ab_track_batch(text[], uuid[], timestamptz[], text[], text[], double precision[], text[], text[], text[], text[], text) is $$Records many events in one statement and returns those it refused, each with its place in the arrays from 1, and with code duplicate and no message those that were stored already; all others are stored now.

The arrays are parallel; properties are JSON texts. Ids, times, types, names and properties must be there: use ab_track() to have them filled in.
Refused are experiments and variants that do not exist, and times before 2000, more than a day ahead or of which events have expired. Anything else that ab_track() would not take fails the whole statement.
Errors (22023): invalid_argument, invalid_user_id, invalid_event, invalid_key, variant_required; 22P02 for malformed JSON; workspace_not_found (42704).

Example: SELECT * FROM ab_track_batch('{u1,u2}', ARRAY['0190163d-8694-739b-aea5-966c26f8ad91', '0190163d-8694-739b-aea5-966c26f8ad92']::uuid[], ARRAY[now(), now()], '{custom,custom}', '{clicked,clicked}', '{NULL,NULL}', '{"{}","{}"}', '{NULL,NULL}', '{NULL,NULL}', '{NULL,NULL}');$$;
