-- From a batch of events to state (schema/05_state.sql). Whichever way events come, ab_match gets a row for each event that a
-- user's metric counts, ab_unit_change what becomes of that user's row, and statistics the difference this makes.
--
-- What grows is reached by one probe of an index after the other: LATERAL with OFFSET 0, and no sequential scans or nested
-- loops but those (see the settings of ab_rollup()). A plan made while tables were small must not read large ones whole.
create or replace function ab_internal.prepare_work_tables()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set client_min_messages = warning
    as $$
declare
    work_tables constant text[] := array['ab_batch', 'ab_exposed', 'ab_recount', 'ab_part', 'ab_match', 'ab_unit_change'];
    member text;
    is_used boolean;
begin
    -- Kept for the session, because making tables each second would swell the catalogues. A table that somebody else
    -- made under our name could carry triggers that would run with our rights.
    foreach member in array work_tables loop
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
        variant text,
        properties jsonb
    ) on commit delete rows;
    create temporary table if not exists ab_exposed (
        workspace_id integer,
        experiment_id integer,
        user_id text collate "C",
        variant text,
        first_exposed_at timestamptz,
        event_id uuid,
        other_exposed_at timestamptz,
        old_variant text,
        old_other_exposed_at timestamptz,
        is_moved boolean,
        properties jsonb,
        phase integer,
        old_phase integer
    ) on commit delete rows;
    create temporary table if not exists ab_recount (
        workspace_id integer,
        experiment_id integer,
        user_id text collate "C",
        old_variant text,
        variant text,
        first_exposed_at timestamptz,
        -- What is known of the time before first exposure stays where events of before this have expired.
        keeps_covariate_before timestamptz
    ) on commit delete rows;
    create temporary table if not exists ab_part (like ab_internal.metric_part) on commit delete rows;
    create temporary table if not exists ab_match (
        experiment_id integer,
        metric_id integer,
        user_id text collate "C",
        old_variant text,
        variant text,
        is_recount boolean,
        keeps_covariate boolean,
        is_activity boolean,
        is_denominator boolean,
        is_after boolean,
        aggregate text,
        -- -1 for an event that is taken back.
        weight integer,
        amount numeric,
        event_time timestamptz,
        event_id uuid
    ) on commit delete rows;
    create temporary table if not exists ab_unit_change (
        experiment_id integer,
        metric_id integer,
        user_id text collate "C",
        old_variant text,
        old_event_count bigint,
        old_total numeric,
        old_denominator numeric,
        old_covariate numeric,
        old_covariate_denominator numeric,
        variant text,
        event_count bigint,
        total numeric,
        denominator numeric,
        covariate numeric,
        covariate_denominator numeric,
        days date[],
        covariate_days date[],
        decided_at timestamptz,
        covariate_decided_at timestamptz,
        decided_by uuid,
        covariate_decided_by uuid,
        latest_event_at timestamptz,
        -- Whether the user has anything that is worth a row.
        is_something boolean generated always as (event_count > 0 or num_nonnulls(denominator, covariate, covariate_denominator) > 0) stored
    ) on commit delete rows;
    -- Usually empty since the last commit; truncating what is empty would still write to the catalogues.
    foreach member in array work_tables loop
        execute format('select exists (select from pg_temp.%I)', member) into is_used;
        if is_used then
            execute format('truncate pg_temp.%I', member);
        end if;
    end loop;
end
$$;

comment on function ab_internal.prepare_work_tables() is 'makes or empties the session''s temporary tables of the roll-up';

create or replace function ab_internal.delete_units(experiment_id integer, metric_ids integer[], exposed_from timestamptz default '-infinity')
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    -- From user to user by their keys, never the whole table.
    set enable_nestloop = on
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_seqscan = off
    as $$
begin
    delete from ab.unit_metric u
    using ab.exposure x
    where x.experiment_id = delete_units.experiment_id
        and x.first_exposed_at >= delete_units.exposed_from
        and u.user_id = x.user_id
        and u.experiment_id = delete_units.experiment_id
        and (delete_units.metric_ids is null or u.metric_id = any (delete_units.metric_ids));
end
$$;

comment on function ab_internal.delete_units(integer, integer[], timestamptz) is 'deletes the rows of these metrics, or of all, of an experiment''s users exposed since then; while they still are in ab.exposure';

create or replace function ab_internal.forget_experiment(experiment_id integer)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.delete_units(forget_experiment.experiment_id, null);
    delete from ab.exposure s where s.experiment_id = forget_experiment.experiment_id;
    delete from ab.variant_statistic s where s.experiment_id = forget_experiment.experiment_id;
    delete from ab.phase_statistic s where s.experiment_id = forget_experiment.experiment_id;
    delete from ab.metric_statistic s where s.experiment_id = forget_experiment.experiment_id;
    delete from ab.activity s where s.experiment_id = forget_experiment.experiment_id;
    delete from ab_internal.expired_daily_result s where s.experiment_id = forget_experiment.experiment_id;
    delete from ab_internal.rollup_progress s where s.experiment_id = forget_experiment.experiment_id;
end
$$;

comment on function ab_internal.forget_experiment(integer) is 'deletes everything that was counted for an experiment';

create or replace function ab_internal.property_number(properties jsonb, property text)
    returns numeric
    language sql
    immutable
    parallel safe
    as $$
    select case
        when jsonb_typeof(properties -> property) <> 'number' then null
        -- As a value would be read that was sent in the event's own field, and not what no double can hold.
        when abs((properties -> property)::numeric) between 1e-300 and 1e300 then (properties -> property)::double precision::numeric
        when (properties -> property)::numeric = 0 then 0
    end
$$;

comment on function ab_internal.property_number(jsonb, text) is 'a property as an amount, with 15 digits as every value has; NULL where it is no number';

create or replace function ab_internal.dimensions_with(chosen text[])
    returns text[]
    language sql
    immutable
    parallel safe
    as $$
    select '{country,platform,device}'::text[] || chosen
$$;

comment on function ab_internal.dimensions_with(text[]) is 'the attributes that exposures record: those of every experiment, and those it chose';

create or replace function ab_internal.event_dimensions(properties jsonb, chosen text[])
    returns jsonb
    language sql
    immutable
    parallel safe
    as $$
    select jsonb_object_agg(k.key, left(properties ->> k.key, 256))
    from unnest(ab_internal.dimensions_with(chosen)) k (key)
    where jsonb_typeof(properties -> k.key) in ('string', 'number', 'boolean')
$$;

comment on function ab_internal.event_dimensions(jsonb, text[]) is 'what results break down by, of an exposure''s properties';

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
    select t.*
    from (
        select
            f.workspace_id,
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
            ) as other_exposed_at,
            f.old_variant,
            f.old_other_exposed_at,
            f.is_earlier,
            f.properties,
            case
                when f.is_earlier then coalesce((
                    select p.phase
                    from ab.phase p
                    where p.experiment_id = f.experiment_id
                        and p.started_at <= f.first_exposed_at
                    order by p.phase desc
                    limit 1
                ), 1)
                else f.old_phase
            end as phase,
            f.old_phase
        from (
            select
                b.workspace_id,
                b.experiment_id,
                b.user_id,
                b.variants,
                b.exposed_at,
                b.properties,
                case when n.is_earlier then b.variants[1] else x.variant end as variant,
                case when n.is_earlier then b.exposed_at[1] else x.first_exposed_at end as first_exposed_at,
                case when n.is_earlier then b.event_ids[1] else x.event_id end as event_id,
                x.variant as old_variant,
                x.first_exposed_at as old_first_exposed_at,
                x.other_exposed_at as old_other_exposed_at,
                x.phase as old_phase,
                n.is_earlier
            from (
                select
                    min(e.workspace_id) as workspace_id,
                    e.experiment_id,
                    e.user_id,
                    array_agg(e.variant order by e.event_time, e.event_id) as variants,
                    array_agg(e.event_time order by e.event_time, e.event_id) as exposed_at,
                    array_agg(e.event_id order by e.event_time, e.event_id) as event_ids,
                    (array_agg(e.properties order by e.event_time, e.event_id))[1] as properties
                from (
                    -- Most exposures are of users who have seen the same before, and change nothing.
                    select e.*
                    from pg_temp.ab_batch e
                    left join lateral (
                        select s.* from ab.exposure s where s.user_id = e.user_id and s.experiment_id = e.experiment_id offset 0
                    ) x on true
                    where e.event_type = 'exposure'
                        and ((e.variant = x.variant or e.event_time >= x.other_exposed_at) and (e.event_time, e.event_id) >= (x.first_exposed_at, x.event_id)) is not true
                    offset 0
                ) e
                join ab.experiment using (experiment_id)
                left join ab_internal.rollup_progress p using (experiment_id)
                where e.event_time < coalesce(p.stopped_at, 'infinity')
                    and p.units_expired_at is null
                group by e.user_id, e.experiment_id
            ) b
            left join lateral (
                select s.* from ab.exposure s where s.user_id = b.user_id and s.experiment_id = b.experiment_id offset 0
            ) x on true
            cross join lateral (
                select x.user_id is null or (b.exposed_at[1], b.event_ids[1]) < (x.first_exposed_at, x.event_id) as is_earlier
            ) n
        ) f
    ) t
    where t.is_earlier
        or t.other_exposed_at is distinct from t.old_other_exposed_at;
    insert into ab.exposure as x (experiment_id, user_id, variant, first_exposed_at, event_id, other_exposed_at, dimensions, phase)
    select e.experiment_id, e.user_id, e.variant, e.first_exposed_at, e.event_id, e.other_exposed_at, ab_internal.event_dimensions(e.properties, d.dimensions), e.phase
    from pg_temp.ab_exposed e
    join ab.experiment d using (experiment_id)
    on conflict (user_id, experiment_id) do update
        set variant = excluded.variant,
            first_exposed_at = excluded.first_exposed_at,
            other_exposed_at = excluded.other_exposed_at,
            dimensions = case when x.event_id = excluded.event_id then x.dimensions else excluded.dimensions end,
            event_id = excluded.event_id,
            phase = excluded.phase;
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
    insert into ab.phase_statistic as s (experiment_id, phase, variant, units)
    select d.experiment_id, d.phase, d.variant, sum(d.units)
    from (
        select e.experiment_id, e.phase, e.variant, 1 as units from pg_temp.ab_exposed e
        union all
        select e.experiment_id, e.old_phase, e.old_variant, -1 from pg_temp.ab_exposed e where e.old_variant is not null
    ) d
    group by d.experiment_id, d.phase, d.variant
    having sum(d.units) <> 0
    on conflict (experiment_id, phase, variant) do update
        set units = s.units + excluded.units;
    delete from ab.phase_statistic s
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

comment on function ab_internal.count_exposures() is 'takes the exposures in ab_batch into exposure, variant_statistic and phase_statistic, and leaves in ab_exposed whom they changed';

create or replace function ab_internal.match_events(horizon bigint, in_progress bigint[], are_activity boolean)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    -- No event lies further ahead; without an end, partitions of days to come would be looked into for every user.
    no_later_than constant timestamptz := clock_timestamp() + interval '2 days';
begin
    insert into pg_temp.ab_match
    select
        p.experiment_id,
        p.metric_id,
        b.user_id,
        b.old_variant,
        b.variant,
        b.is_recount,
        coalesce(b.first_exposed_at - p.covariate_window < b.keeps_covariate_before, false),
        match_events.are_activity and (b.old_variant is null or not b.is_recount),
        p.is_denominator,
        b.event_time >= b.first_exposed_at,
        p.aggregate,
        1,
        a.amount,
        b.event_time,
        b.event_id
    from (
        -- Of users who are counted anew, all events there are;
        (
            select r.workspace_id, r.experiment_id, r.user_id, r.old_variant, r.variant, r.first_exposed_at, r.keeps_covariate_before, true as is_recount,
                e.event_name, e.event_time, e.event_id, e.value, e.properties
            from pg_temp.ab_recount r
            join (select p.experiment_id, max(p.covariate_window) as longest from pg_temp.ab_part p group by p.experiment_id) c using (experiment_id)
            cross join lateral (
                select m.event_name, m.event_time, m.event_id, m.value, m.properties
                from ab_internal.metric_event m
                where m.workspace_id = r.workspace_id
                    and m.user_id = r.user_id
                    and m.event_time >= r.first_exposed_at - c.longest
                    and m.event_time < no_later_than
                    and (m.experiment_id is null or m.experiment_id = r.experiment_id)
                    and m.transaction_id < match_events.horizon
                    and m.transaction_id <> all (match_events.in_progress)
                offset 0
            ) e
            offset 0
        )
        union all
        -- of everybody else those of the batch.
        (
            select e.workspace_id, x.experiment_id, e.user_id, x.variant, x.variant, x.first_exposed_at, null, false,
                e.event_name, e.event_time, e.event_id, e.value, e.properties
            from pg_temp.ab_batch e
            cross join lateral (select s.experiment_id, s.variant, s.first_exposed_at from ab.exposure s where s.user_id = e.user_id offset 0) x
            where e.event_type <> 'exposure'
                and (e.experiment_id is null or e.experiment_id = x.experiment_id)
                and not exists (select from pg_temp.ab_recount r where r.experiment_id = x.experiment_id and r.user_id = e.user_id)
            offset 0
        )
    ) b
    join pg_temp.ab_part p on p.workspace_id = b.workspace_id and p.experiment_id = b.experiment_id and p.event_name = b.event_name
    cross join lateral (
        select case when p.value_property is null then b.value::numeric else ab_internal.property_number(b.properties, p.value_property) end as given
    ) v
    cross join lateral (
        select case when p.aggregate in ('first', 'last') then v.given when p.aggregate = 'sum' then coalesce(v.given, 0) else 1 end as amount
    ) a
    where case
            when b.event_time < b.first_exposed_at then b.event_time >= b.first_exposed_at - p.covariate_window
            else b.event_time >= b.first_exposed_at + p.window_start
                and (p.window_end is null or b.event_time < b.first_exposed_at + p.window_end)
                and b.event_time < p.closes_at
        end
        and a.amount is not null
        and (p.filter is null or ab_internal.matches(p.filter, b.properties));
end
$$;

comment on function ab_internal.match_events(bigint, bigint[], boolean) is 'finds what the metrics in ab_part count: of ab_batch, and for the users in ab_recount of the raw events up to that cursor';

create or replace function ab_internal.union_of_days(days date[], more date[])
    returns date[]
    language sql
    immutable
    parallel safe
    as $$
    select array_agg(distinct d.day order by d.day) from unnest(days || more) d (day)
$$;

comment on function ab_internal.union_of_days(date[], date[]) is 'the days of both, each once and in order';

create or replace function ab_internal.change_units()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into pg_temp.ab_unit_change (
        experiment_id, metric_id, user_id, old_variant, old_event_count, old_total, old_denominator, old_covariate, old_covariate_denominator,
        variant, event_count, total, denominator, covariate, covariate_denominator, days, covariate_days,
        decided_at, covariate_decided_at, decided_by, covariate_decided_by, latest_event_at
    )
    select
        c.experiment_id,
        c.metric_id,
        c.user_id,
        c.old_variant,
        u.event_count,
        u.total,
        u.denominator,
        u.covariate,
        u.covariate_denominator,
        c.variant,
        n.event_count,
        case
            when d.kind in ('conversion', 'retention') then least(n.event_count, 1)
            when d.kind = 'unique_days' then coalesce(cardinality(n.days), 0)
            when d.kind in ('first', 'last') then case when w.is_after_decided then coalesce(o.total, 0) else coalesce(c.total, 0) end
            else coalesce(o.total, 0) + coalesce(c.total, 0)
        end,
        case when o.denominator is not null or c.denominator is not null then coalesce(o.denominator, 0) + coalesce(c.denominator, 0) end,
        case
            when c.keeps_covariate then u.covariate
            when d.kind in ('conversion', 'retention') then case when o.covariate is not null or c.covariate_count > 0 then 1 end
            when d.kind = 'unique_days' then cardinality(n.covariate_days)
            when d.kind in ('first', 'last') then case when w.is_before_decided then o.covariate else c.covariate end
            when o.covariate is not null or c.covariate is not null then coalesce(o.covariate, 0) + coalesce(c.covariate, 0)
        end,
        case
            when c.keeps_covariate then u.covariate_denominator
            when o.covariate_denominator is not null or c.covariate_denominator is not null then coalesce(o.covariate_denominator, 0) + coalesce(c.covariate_denominator, 0)
        end,
        n.days,
        case when c.keeps_covariate then u.covariate_days else n.covariate_days end,
        case when w.is_after_decided then o.decided_at else c.decided_at end,
        case when c.keeps_covariate then u.covariate_decided_at when w.is_before_decided then o.covariate_decided_at else c.covariate_decided_at end,
        case when w.is_after_decided then o.decided_by else c.decided_by end,
        case when c.keeps_covariate then u.covariate_decided_by when w.is_before_decided then o.covariate_decided_by else c.covariate_decided_by end,
        c.latest_event_at
    from (
        select
            m.experiment_id,
            m.metric_id,
            m.user_id,
            min(m.old_variant) as old_variant,
            min(m.variant) as variant,
            bool_or(m.is_recount) as is_recount,
            bool_or(m.keeps_covariate) as keeps_covariate,
            coalesce(sum(m.weight) filter (where m.is_after and not m.is_denominator), 0) as event_count,
            sum(m.amount) filter (where m.is_after and not m.is_denominator) as total,
            sum(m.amount) filter (where m.is_after and m.is_denominator) as denominator,
            count(*) filter (where not m.is_after and not m.is_denominator) as covariate_count,
            sum(m.amount) filter (where not m.is_after and not m.is_denominator) as covariate,
            sum(m.amount) filter (where not m.is_after and m.is_denominator) as covariate_denominator,
            array_agg((m.event_time at time zone 'UTC')::date) filter (where m.aggregate = 'days' and m.is_after) as days,
            array_agg((m.event_time at time zone 'UTC')::date) filter (where m.aggregate = 'days' and not m.is_after) as covariate_days,
            null::timestamptz as decided_at,
            null::timestamptz as covariate_decided_at,
            null::uuid as decided_by,
            null::uuid as covariate_decided_by,
            max(m.event_time) filter (where m.is_after) as latest_event_at
        from pg_temp.ab_match m
        where m.aggregate not in ('first', 'last')
        group by m.user_id, m.experiment_id, m.metric_id
        union all
        -- Decided by one event, and of two at the same instant by their ids.
        select
            m.experiment_id,
            m.metric_id,
            m.user_id,
            min(m.old_variant),
            min(m.variant),
            bool_or(m.is_recount),
            bool_or(m.keeps_covariate),
            coalesce(max(m.events) filter (where m.is_after), 0),
            max(m.amount) filter (where m.is_after),
            null,
            coalesce(max(m.events) filter (where not m.is_after), 0),
            max(m.amount) filter (where not m.is_after),
            null,
            null,
            null,
            max(m.event_time) filter (where m.is_after),
            max(m.event_time) filter (where not m.is_after),
            max(m.event_id::text) filter (where m.is_after)::uuid,
            max(m.event_id::text) filter (where not m.is_after)::uuid,
            max(m.latest_event_at) filter (where m.is_after)
        from (
            select distinct on (e.user_id, e.experiment_id, e.metric_id, e.is_after)
                e.*,
                count(*) over (partition by e.user_id, e.experiment_id, e.metric_id, e.is_after) as events,
                max(e.event_time) over (partition by e.user_id, e.experiment_id, e.metric_id, e.is_after) as latest_event_at
            from pg_temp.ab_match e
            where e.aggregate in ('first', 'last')
            order by e.user_id, e.experiment_id, e.metric_id, e.is_after,
                case e.aggregate when 'last' then e.event_time end desc, case e.aggregate when 'last' then e.event_id end desc, e.event_time, e.event_id
        ) m
        group by m.user_id, m.experiment_id, m.metric_id
    ) c
    join ab.metric d using (metric_id)
    left join lateral (
        select s.* from ab.unit_metric s where s.user_id = c.user_id and s.experiment_id = c.experiment_id and s.metric_id = c.metric_id offset 0
    ) u on true
    -- What is counted anew starts from nothing.
    left join lateral (select u.* where not c.is_recount) o on true
    cross join lateral (
        select
            coalesce(o.event_count, 0) + c.event_count as event_count,
            case when c.days is null then o.days else ab_internal.union_of_days(o.days, c.days) end as days,
            case when c.covariate_days is null then o.covariate_days else ab_internal.union_of_days(o.covariate_days, c.covariate_days) end as covariate_days
    ) n
    cross join lateral (
        select
            c.decided_at is null or coalesce(case d.kind when 'first' then (o.decided_at, o.decided_by) < (c.decided_at, c.decided_by) else (o.decided_at, o.decided_by) > (c.decided_at, c.decided_by) end, false) as is_after_decided,
            c.covariate_decided_at is null or coalesce(
                case d.kind
                    when 'first' then (o.covariate_decided_at, o.covariate_decided_by) < (c.covariate_decided_at, c.covariate_decided_by)
                    else (o.covariate_decided_at, o.covariate_decided_by) > (c.covariate_decided_at, c.covariate_decided_by)
                end, false
            ) as is_before_decided
    ) w;
end
$$;

comment on function ab_internal.change_units() is 'works out from ab_match what becomes of users'' rows, into ab_unit_change';

create or replace function ab_internal.add_statistics()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into ab.metric_statistic as s (
        experiment_id, metric_id, variant, conversions, covariate_units, capped_units,
        uncapped_total, total, denominator, covariate, covariate_denominator,
        total_of_squares, denominator_of_squares, covariate_of_squares, covariate_denominator_of_squares,
        total_denominator, total_covariate, total_covariate_denominator, denominator_covariate, denominator_covariate_denominator, covariate_covariate_denominator
    )
    select
        c.experiment_id,
        c.metric_id,
        c.variant,
        coalesce(sum(c.unit) filter (where c.event_count > 0), 0),
        coalesce(sum(c.unit) filter (where c.covariate is not null or c.covariate_denominator is not null), 0),
        coalesce(sum(c.unit) filter (where c.total > d.cap), 0),
        coalesce(sum(case when d.cap is null then v.signed_y else c.unit * c.total end), 0),
        coalesce(sum(v.signed_y), 0),
        coalesce(sum(v.signed_z), 0),
        coalesce(sum(v.signed_u), 0),
        coalesce(sum(v.signed_w), 0),
        coalesce(sum(v.signed_y * v.y), 0),
        coalesce(sum(v.signed_z * v.z), 0),
        coalesce(sum(v.signed_u * v.u), 0),
        coalesce(sum(v.signed_w * v.w), 0),
        coalesce(sum(v.signed_y * v.z), 0),
        coalesce(sum(v.signed_y * v.u), 0),
        coalesce(sum(v.signed_y * v.w), 0),
        coalesce(sum(v.signed_z * v.u), 0),
        coalesce(sum(v.signed_z * v.w), 0),
        coalesce(sum(v.signed_u * v.w), 0)
    from (
        select n.experiment_id, n.metric_id, n.variant, 1 as unit, n.event_count, n.total, n.denominator, n.covariate, n.covariate_denominator
        from pg_temp.ab_unit_change n
        where n.is_something
        union all
        select o.experiment_id, o.metric_id, o.old_variant, -1, o.old_event_count, o.old_total, o.old_denominator, o.old_covariate, o.old_covariate_denominator
        from pg_temp.ab_unit_change o
        where o.old_total is not null
    ) c
    join ab.metric d using (metric_id)
    cross join lateral (
        select p.*, c.unit * p.y as signed_y, c.unit * p.z as signed_z, c.unit * p.u as signed_u, c.unit * p.w as signed_w
        from (
            select least(c.total, d.cap) as y, c.denominator as z, case when c.covariate is not null then least(c.covariate, d.cap) end as u, c.covariate_denominator as w
        ) p
    ) v
    group by c.experiment_id, c.metric_id, c.variant
    on conflict (experiment_id, metric_id, variant) do update
        set (
            conversions, covariate_units, capped_units, uncapped_total, total, denominator, covariate, covariate_denominator,
            total_of_squares, denominator_of_squares, covariate_of_squares, covariate_denominator_of_squares,
            total_denominator, total_covariate, total_covariate_denominator, denominator_covariate, denominator_covariate_denominator, covariate_covariate_denominator
        ) = row(
            s.conversions + excluded.conversions,
            s.covariate_units + excluded.covariate_units,
            s.capped_units + excluded.capped_units,
            s.uncapped_total + excluded.uncapped_total,
            s.total + excluded.total,
            s.denominator + excluded.denominator,
            s.covariate + excluded.covariate,
            s.covariate_denominator + excluded.covariate_denominator,
            s.total_of_squares + excluded.total_of_squares,
            s.denominator_of_squares + excluded.denominator_of_squares,
            s.covariate_of_squares + excluded.covariate_of_squares,
            s.covariate_denominator_of_squares + excluded.covariate_denominator_of_squares,
            s.total_denominator + excluded.total_denominator,
            s.total_covariate + excluded.total_covariate,
            s.total_covariate_denominator + excluded.total_covariate_denominator,
            s.denominator_covariate + excluded.denominator_covariate,
            s.denominator_covariate_denominator + excluded.denominator_covariate_denominator,
            s.covariate_covariate_denominator + excluded.covariate_covariate_denominator
        );
end
$$;

comment on function ab_internal.add_statistics() is 'adds to metric_statistic the difference that ab_unit_change makes';

create or replace function ab_internal.apply_unit_changes()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    gone record;
begin
    perform ab_internal.change_units();
    -- Who was counted anew and has nothing left to count.
    insert into pg_temp.ab_unit_change (
        experiment_id, metric_id, user_id, old_variant, old_event_count, old_total, old_denominator, old_covariate, old_covariate_denominator,
        variant, event_count, total, covariate, covariate_denominator, covariate_days, covariate_decided_at, covariate_decided_by
    )
    select
        u.experiment_id, u.metric_id, u.user_id, u.old_variant, u.event_count, u.total, u.denominator, u.covariate, u.covariate_denominator,
        u.variant, 0, 0,
        case when k.is_kept then u.covariate end,
        case when k.is_kept then u.covariate_denominator end,
        case when k.is_kept then u.covariate_days end,
        case when k.is_kept then u.covariate_decided_at end,
        case when k.is_kept then u.covariate_decided_by end
    from (
        select s.*, r.old_variant, r.variant, r.first_exposed_at, r.keeps_covariate_before
        from pg_temp.ab_recount r
        cross join lateral (select m.* from ab.unit_metric m where m.user_id = r.user_id and m.experiment_id = r.experiment_id offset 0) s
        where r.old_variant is not null
        offset 0
    ) u
    join ab.metric d using (metric_id)
    cross join lateral (select u.first_exposed_at - d.covariate_window < u.keeps_covariate_before as is_kept) k
    where (u.experiment_id, u.metric_id) in (select p.experiment_id, p.metric_id from pg_temp.ab_part p)
        and not exists (
            select
            from pg_temp.ab_unit_change c
            where c.user_id = u.user_id
                and c.experiment_id = u.experiment_id
                and c.metric_id = u.metric_id
        );
    -- Nobody else makes rows, so those that were not there are inserted without asking again.
    insert into ab.unit_metric (
        experiment_id, metric_id, user_id, event_count, total, denominator, covariate, covariate_denominator,
        days, covariate_days, decided_at, covariate_decided_at, decided_by, covariate_decided_by
    )
    select
        c.experiment_id, c.metric_id, c.user_id, c.event_count, c.total, c.denominator, c.covariate, c.covariate_denominator,
        c.days, c.covariate_days, c.decided_at, c.covariate_decided_at, c.decided_by, c.covariate_decided_by
    from pg_temp.ab_unit_change c
    where c.old_total is null
        and c.is_something;
    insert into ab.unit_metric as u (
        experiment_id, metric_id, user_id, event_count, total, denominator, covariate, covariate_denominator,
        days, covariate_days, decided_at, covariate_decided_at, decided_by, covariate_decided_by
    )
    select
        c.experiment_id, c.metric_id, c.user_id, c.event_count, c.total, c.denominator, c.covariate, c.covariate_denominator,
        c.days, c.covariate_days, c.decided_at, c.covariate_decided_at, c.decided_by, c.covariate_decided_by
    from pg_temp.ab_unit_change c
    where c.old_total is not null
        and c.is_something
    on conflict (user_id, experiment_id, metric_id) do update
        set event_count = excluded.event_count,
            total = excluded.total,
            denominator = excluded.denominator,
            covariate = excluded.covariate,
            covariate_denominator = excluded.covariate_denominator,
            days = excluded.days,
            covariate_days = excluded.covariate_days,
            decided_at = excluded.decided_at,
            covariate_decided_at = excluded.covariate_decided_at,
            decided_by = excluded.decided_by,
            covariate_decided_by = excluded.covariate_decided_by;
    -- Few, and each by its key: joined with so few rows the table might be read whole.
    for gone in
        select c.experiment_id, c.metric_id, c.user_id
        from pg_temp.ab_unit_change c
        where c.old_total is not null
            and not c.is_something
    loop
        delete from ab.unit_metric u where u.user_id = gone.user_id and u.experiment_id = gone.experiment_id and u.metric_id = gone.metric_id;
    end loop;
    perform ab_internal.add_statistics();
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

comment on function ab_internal.apply_unit_changes() is 'takes what is in ab_match and ab_recount into unit_metric, and the difference it makes into metric_statistic';

create or replace function ab_internal.count_activity()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into ab.activity as a (experiment_id, variant, metric_id, resolution, began_at, events, total)
    select m.experiment_id, m.variant, m.metric_id, k.resolution, b.began_at, sum(m.events), sum(m.total)
    from (
        select c.experiment_id, c.variant, c.metric_id, date_bin('1 minute', c.event_time, 'epoch') as minute, count(*) as events, sum(c.amount) as total
        from (
            select e.experiment_id, e.variant, e.metric_id, e.event_time, e.amount
            from pg_temp.ab_match e
            where e.is_activity
                and e.is_after
                and not e.is_denominator
            union all
            select e.experiment_id, e.variant, 0, e.event_time, 1
            from pg_temp.ab_batch e
            where e.event_type = 'exposure'
                and exists (select from ab.experiment x where x.experiment_id = e.experiment_id)
        ) c
        group by c.experiment_id, c.variant, c.metric_id, date_bin('1 minute', c.event_time, 'epoch')
    ) m
    join ab_internal.activity_resolution k on m.minute >= k.kept_from
    cross join lateral (select date_trunc(k.resolution, m.minute at time zone 'UTC') at time zone 'UTC' as began_at) b
    group by m.experiment_id, m.variant, m.metric_id, k.resolution, b.began_at
    on conflict (experiment_id, resolution, began_at, metric_id, variant) do update
        set events = a.events + excluded.events, total = a.total + excluded.total;
end
$$;

comment on function ab_internal.count_activity() is 'adds the exposures in ab_batch and the new events in ab_match to activity';

create or replace function ab_internal.count_batch(horizon bigint, in_progress bigint[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.count_exposures();
    -- Whoever was exposed just now, or earlier than was known, is counted from the raw events: some may have come before.
    insert into pg_temp.ab_recount
    select e.workspace_id, e.experiment_id, e.user_id, e.old_variant, e.variant, e.first_exposed_at, null
    from pg_temp.ab_exposed e
    where e.is_moved;
    insert into pg_temp.ab_part
    select p.*
    from ab_internal.metric_part p
    where p.is_counted
        and (p.experiment_id in (select r.experiment_id from pg_temp.ab_recount r) or (p.workspace_id, p.event_name) in (select b.workspace_id, b.event_name from pg_temp.ab_batch b where b.event_type <> 'exposure'));
    perform ab_internal.match_events(count_batch.horizon, count_batch.in_progress, true);
    perform ab_internal.apply_unit_changes();
    perform ab_internal.count_activity();
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

create or replace function ab_internal.check_units(experiment_id integer)
    returns void
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    expired record;
begin
    select x.experiment, p.units_expired_at into expired
    from ab_internal.rollup_progress p
    join ab.experiment x using (experiment_id)
    where p.experiment_id = check_units.experiment_id
        and p.units_expired_at is not null;
    if found then
        perform ab_internal.raise('units_expired',
            format('what was known of each user of experiment "%s" expired on %s (UTC)', expired.experiment, (expired.units_expired_at at time zone 'UTC')::date),
            'its results stay as they are; instead of changing a metric create another one, and for later experiments let ab.event_retention keep unit_metric for longer');
    end if;
end
$$;

comment on function ab_internal.check_units(integer) is 'raises where an experiment''s users can no longer be asked, because their rows have expired';

create or replace function ab_internal.count_added_metrics(horizon bigint, in_progress bigint[], all_experiments boolean default true)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    added record;
    locked bigint;
begin
    -- Changed in a snapshot that did not see yet that its users were gone: it stays as it was counted.
    update ab.experiment_metric m
    set is_counted = true
    where (m.experiment_id, m.metric_id) in (
        select u.experiment_id, u.metric_id
        from ab.experiment_metric u
        join ab_internal.rollup_progress p using (experiment_id)
        where p.units_expired_at is not null
            and not u.is_counted
        for update of u skip locked
    );
    for added in
        select m.experiment_id, array_agg(m.metric_id) as metric_ids
        from ab.experiment_metric m
        where not m.is_counted
        group by m.experiment_id
        order by m.experiment_id
    loop
        perform ab_internal.prepare_work_tables();
        -- Nobody may change what is being counted until it is.
        select count(*) into locked from (select from ab.metric d where d.metric_id = any (added.metric_ids) for share skip locked) d;
        -- Somebody is about to; nobody else waits for that.
        continue when locked < cardinality(added.metric_ids);
        select count(*)
        into locked
        from (
            select from ab.experiment_metric m where m.experiment_id = added.experiment_id and m.metric_id = any (added.metric_ids) for update skip locked
        ) m;
        continue when locked < cardinality(added.metric_ids);
        -- Only what was counted before, as something else.
        if exists (select from ab.metric_statistic s where s.experiment_id = added.experiment_id and s.metric_id = any (added.metric_ids)) then
            perform ab_internal.delete_units(added.experiment_id, added.metric_ids);
            delete from ab.metric_statistic s where s.experiment_id = added.experiment_id and s.metric_id = any (added.metric_ids);
        end if;
        insert into pg_temp.ab_recount
        select e.workspace_id, x.experiment_id, x.user_id, null, x.variant, x.first_exposed_at, null
        from ab.exposure x
        join ab.experiment e using (experiment_id)
        where x.experiment_id = added.experiment_id;
        insert into pg_temp.ab_part
        select p.*
        from ab_internal.metric_part p
        where p.experiment_id = added.experiment_id
            and p.metric_id = any (added.metric_ids);
        perform ab_internal.match_events(count_added_metrics.horizon, count_added_metrics.in_progress, false);
        perform ab_internal.apply_unit_changes();
        update ab.experiment_metric m
        set is_counted = true, complete_from = ab_internal.first_complete_time(added.experiment_id)
        where m.experiment_id = added.experiment_id
            and m.metric_id = any (added.metric_ids);
        exit when not all_experiments;
    end loop;
end
$$;

comment on function ab_internal.count_added_metrics(bigint, bigint[], boolean) is 'counts metrics added or changed since the last time, of all experiments or of the first that has one, from the raw events up to that cursor';

create or replace function ab_internal.sum_units(experiment_id integer)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    delete from ab.variant_statistic s where s.experiment_id = sum_units.experiment_id;
    delete from ab.phase_statistic s where s.experiment_id = sum_units.experiment_id;
    delete from ab.metric_statistic s where s.experiment_id = sum_units.experiment_id;
    insert into ab.variant_statistic (experiment_id, variant, units, multiple_units)
    select x.experiment_id, x.variant, count(*), count(*) filter (where x.is_multiple)
    from ab.exposure x
    where x.experiment_id = sum_units.experiment_id
    group by x.experiment_id, x.variant;
    insert into ab.phase_statistic (experiment_id, phase, variant, units)
    select x.experiment_id, x.phase, x.variant, count(*)
    from ab.exposure x
    where x.experiment_id = sum_units.experiment_id
    group by x.experiment_id, x.phase, x.variant;
    truncate pg_temp.ab_unit_change;
    insert into pg_temp.ab_unit_change (experiment_id, metric_id, user_id, variant, event_count, total, denominator, covariate, covariate_denominator)
    select u.experiment_id, u.metric_id, u.user_id, x.variant, u.event_count, u.total, u.denominator, u.covariate, u.covariate_denominator
    from ab.exposure x
    cross join lateral (select m.* from ab.unit_metric m where m.user_id = x.user_id and m.experiment_id = x.experiment_id offset 0) u
    where x.experiment_id = sum_units.experiment_id;
    perform ab_internal.add_statistics();
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
    perform ab_internal.prepare_work_tables();
    perform ab_internal.delete_units(take_back.experiment_id, null, take_back.stopped_at);
    delete from ab.exposure x
    where x.experiment_id = take_back.experiment_id
        and x.first_exposed_at >= take_back.stopped_at;
    update ab.exposure x
    set other_exposed_at = null
    where x.experiment_id = take_back.experiment_id
        and x.other_exposed_at >= take_back.stopped_at;
    -- A metric with an end to its window goes on counting until then. Of the others, what came later is found as if the
    -- experiment went on, by users' rows;
    insert into pg_temp.ab_part
    select p.*
    from ab_internal.metric_part p
    where p.experiment_id = take_back.experiment_id
        and p.is_counted
        and p.window_end is null;
    update pg_temp.ab_part p set closes_at = 'infinity';
    insert into pg_temp.ab_batch
    select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, take_back.experiment_id, null, e.properties
    from ab_internal.metric_event e
    join ab.experiment x using (workspace_id)
    where x.experiment_id = take_back.experiment_id
        and e.event_time >= take_back.stopped_at
        and e.event_name in (select p.event_name from pg_temp.ab_part p)
        and (e.experiment_id is null or e.experiment_id = take_back.experiment_id)
        and e.transaction_id < take_back.horizon
        and e.transaction_id <> all (take_back.in_progress);
    perform ab_internal.match_events(take_back.horizon, take_back.in_progress, false);
    -- and taken off where that can be done: events of before the stop may have expired, those of after it are still there.
    -- What counts days or keeps one of many events is counted anew.
    insert into pg_temp.ab_recount
    select distinct b.workspace_id, x.experiment_id, x.user_id, x.variant, x.variant, x.first_exposed_at, 'infinity'::timestamptz
    from pg_temp.ab_match m
    join ab.exposure x on x.user_id = m.user_id and x.experiment_id = m.experiment_id
    join ab.experiment b on b.experiment_id = x.experiment_id
    where m.aggregate in ('days', 'first', 'last')
        and x.experiment_id = take_back.experiment_id;
    delete from pg_temp.ab_match m where m.aggregate in ('days', 'first', 'last') or not m.is_after;
    update pg_temp.ab_match m set weight = -1, amount = -m.amount;
    update pg_temp.ab_part p set closes_at = take_back.stopped_at;
    delete from pg_temp.ab_part p where p.aggregate not in ('days', 'first', 'last');
    truncate pg_temp.ab_batch;
    perform ab_internal.match_events(take_back.horizon, take_back.in_progress, false);
    perform ab_internal.apply_unit_changes();
    perform ab_internal.sum_units(take_back.experiment_id);
    -- Some of what would have to be taken off or counted anew is gone: that stays as it was, or is lost.
    update ab.experiment_metric m
    set complete_from = greatest(m.complete_from, g.expired_before)
    from (
        select max(g.expired_before) as expired_before
        from ab.experiment x
        join ab_internal.event_expired g using (workspace_id)
        where x.experiment_id = take_back.experiment_id
            and g.event_table <> 'event_exposure'
    ) g
    join ab.metric d on true
    where m.experiment_id = take_back.experiment_id
        and m.is_counted
        and d.metric_id = m.metric_id
        and d.window_end is null
        and g.expired_before > case
            when d.kind in ('unique_days', 'first', 'last') then (select min(r.first_exposed_at) from pg_temp.ab_recount r)
            else take_back.stopped_at
        end;
    perform ab_internal.prepare_work_tables();
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
declare
    expired_before timestamptz;
begin
    perform ab_internal.check_units(rebuild.experiment_id);
    perform ab_internal.prepare_work_tables();
    insert into pg_temp.ab_batch
    select e.workspace_id, e.user_id, e.event_id, e.event_time, e.event_type, e.event_name, e.value, e.experiment_id, e.variant, e.properties
    from ab_internal.exposure_event e
    where e.experiment_id = rebuild.experiment_id
        and e.transaction_id < rebuild.horizon
        and e.transaction_id <> all (rebuild.in_progress);
    perform ab_internal.count_exposures();
    truncate pg_temp.ab_batch;
    -- Of the time before first exposure more was known, perhaps, than is still stored.
    select max(g.expired_before) into expired_before
    from ab.experiment x
    join ab_internal.event_expired g using (workspace_id)
    where x.experiment_id = rebuild.experiment_id
        and g.event_table <> 'event_exposure';
    insert into pg_temp.ab_recount
    select e.workspace_id, x.experiment_id, x.user_id, x.variant, x.variant, x.first_exposed_at, expired_before
    from ab.exposure x
    join ab.experiment e using (experiment_id)
    where x.experiment_id = rebuild.experiment_id;
    insert into pg_temp.ab_part
    select p.*
    from ab_internal.metric_part p
    where p.experiment_id = rebuild.experiment_id
        and p.is_counted;
    perform ab_internal.match_events(rebuild.horizon, rebuild.in_progress, false);
    perform ab_internal.apply_unit_changes();
    perform ab_internal.sum_units(rebuild.experiment_id);
    perform ab_internal.count_added_metrics(rebuild.horizon, rebuild.in_progress);
end
$$;

comment on function ab_internal.rebuild(integer, bigint, bigint[]) is 'makes an experiment''s state anew from exposures and raw events up to that cursor';
