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

create or replace function ab_internal.combine_factors(given json)
    returns table (variant text, weight numeric, name text, config jsonb, factors jsonb)
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    hint constant text := 'write {"colour": ["red", "blue"], "size": ["s", "l"]}, with one level or more for each factor';
    combinations bigint;
    wrong text;
begin
    if json_typeof(combine_factors.given) <> 'object' then
        perform ab_internal.raise('invalid_variants', format('factors are a JSON %s', json_typeof(combine_factors.given)), hint);
    end if;
    select
        min(case
            when f.written > 1 then format('factor "%s" is written twice', left(f.factor, 64))
            when json_typeof(f.levels) <> 'array' then format('levels of factor "%s" are a JSON %s', left(f.factor, 64), json_typeof(f.levels))
            when json_array_length(f.levels) = 0 then format('factor "%s" has no levels', left(f.factor, 64))
            when exists (select from json_array_elements(f.levels) l where json_typeof(l.value) <> 'string') then format('a level of factor "%s" is no text', left(f.factor, 64))
            when exists (select from json_array_elements_text(f.levels) l group by l.value having count(*) > 1) then format('factor "%s" has a level twice', left(f.factor, 64))
        end)
    into wrong
    from (
        select e.key as factor, e.value as levels, count(*) over (partition by e.key) as written
        from json_each(combine_factors.given) e
    ) f;
    if wrong is not null then
        perform ab_internal.raise('invalid_variants', wrong, hint);
    end if;
    select round(exp(coalesce(sum(ln(json_array_length(e.value))), 0))) into combinations from json_each(combine_factors.given) e;
    if combinations not between 2 and 1000 then
        perform ab_internal.raise('invalid_variants', format('the factors make %s combination(s)', combinations), 'let them make 2 to 1000');
    end if;
    -- Levels may hold what joins them.
    with recursive factor as (
        select e.value as levels, e.position
        from json_each(combine_factors.given) with ordinality e (key, value, position)
    ),
    combination (position, variant) as (
        select 0::bigint, null::text
        union all
        select f.position, concat_ws('.', c.variant, l.level)
        from combination c
        join factor f on f.position = c.position + 1
        cross join lateral json_array_elements_text(f.levels) l (level)
    )
    select min(d.variant) into wrong
    from (
        select c.variant
        from combination c
        where c.position = (select max(f.position) from factor f)
        group by c.variant
        having count(*) > 1
    ) d;
    if wrong is not null then
        perform ab_internal.raise('invalid_variants', format('two combinations of the factors are both called "%s"', left(wrong, 64)),
            'levels are joined by ".": write them without it');
    end if;
    return query
    with recursive factor as (
        select e.key, e.value as levels, e.position
        from json_each(combine_factors.given) with ordinality e (key, value, position)
    ),
    combination (position, variant, factors, places) as (
        select 0::bigint, null::text, '{}'::jsonb, '{}'::bigint[]
        union all
        select f.position, concat_ws('.', c.variant, l.level), c.factors || jsonb_build_object(f.key, l.level), c.places || l.place
        from combination c
        join factor f on f.position = c.position + 1
        cross join lateral json_array_elements_text(f.levels) with ordinality l (level, place)
    )
    select c.variant, 1::numeric, null::text, null::jsonb, c.factors
    from combination c
    where c.position = (select max(f.position) from factor f)
    order by c.places;
end
$$;

comment on function ab_internal.combine_factors(json) is 'the combinations of the levels of all factors, in written order, as variants of equal weight';

create or replace function ab_internal.check_traffic(percent numeric)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if check_traffic.percent is null or not check_traffic.percent between 0 and 100 or (check_traffic.percent > 0 and round(check_traffic.percent, 4) = 0) then
        perform ab_internal.raise('invalid_argument', format('traffic is %s', coalesce(left(check_traffic.percent::text, 64), 'NULL')), 'give a percentage from 0 to 100; the smallest share is 0.0001');
    end if;
end
$$;

comment on function ab_internal.check_traffic(numeric) is 'raises unless that can be the percentage of users who take part';

create or replace function ab_internal.insert_experiment(
    workspace_id integer,
    experiment text,
    kind text,
    unit text,
    salt text,
    starts_at timestamptz,
    ends_at timestamptz,
    traffic numeric
)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    created integer;
begin
    perform ab_internal.check_key('experiment', insert_experiment.experiment);
    perform ab_internal.check_key('salt', insert_experiment.salt);
    perform ab_internal.check_unit(insert_experiment.unit);
    perform ab_internal.check_traffic(insert_experiment.traffic);
    if insert_experiment.starts_at >= insert_experiment.ends_at then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" would end before it starts', insert_experiment.experiment), 'give starts_at before ends_at');
    end if;
    if not (isfinite(coalesce(insert_experiment.starts_at, now())) and isfinite(coalesce(insert_experiment.ends_at, now()))) then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" has an infinite date', insert_experiment.experiment), 'leave the date out');
    end if;
    insert into ab.experiment (workspace_id, experiment, kind, unit, owner, salt, traffic, starts_at, ends_at)
    values (
        insert_experiment.workspace_id, insert_experiment.experiment, insert_experiment.kind, insert_experiment.unit, session_user,
        insert_experiment.salt, insert_experiment.traffic, insert_experiment.starts_at, insert_experiment.ends_at)
    on conflict on constraint experiment_workspace_id_experiment_key do nothing
    returning experiment_id into created;
    if created is null then
        perform ab_internal.raise('experiment_exists', format('experiment "%s" exists already', insert_experiment.experiment), 'choose another key');
    end if;
    return created;
end
$$;

comment on function ab_internal.insert_experiment(integer, text, text, text, text, timestamptz, timestamptz, numeric) is 'a new draft, checked; returns its id';

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
    name text default null,
    kind text default 'experiment',
    unit text default null,
    targeting jsonb default null,
    sticky boolean default false,
    prerequisites jsonb default '[]',
    schedule jsonb default '[]',
    layer text default null,
    layer_percent numeric default null,
    factors json default null,
    minimum_share numeric default 5,
    dimensions text[] default '{}',
    analysis jsonb default '{}'
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
    perform ab_internal.check_key('experiment', ab_create_experiment.experiment);
    perform ab_internal.lock_configuration(workspace);
    if ab_create_experiment.kind is null or ab_create_experiment.kind not in ('experiment', 'bandit') then
        perform ab_internal.raise('invalid_argument', format('experiment kind "%s" cannot be created here', coalesce(left(ab_create_experiment.kind, 64), 'NULL')),
            'use experiment or bandit; a holdout is made by ab_create_holdout()');
    end if;
    if ab_create_experiment.minimum_share is null or not ab_create_experiment.minimum_share between 0 and 50 then
        perform ab_internal.raise('invalid_argument', format('minimum share is %s', coalesce(ab_create_experiment.minimum_share::text, 'NULL')), 'give a percentage from 0 to 50');
    end if;
    if cardinality(ab_create_experiment.dimensions) > 5 or array_position(ab_create_experiment.dimensions, null) is not null
        or exists (select from unnest(ab_create_experiment.dimensions) d (dimension) where octet_length(d.dimension) not between 1 and 64) then
        perform ab_internal.raise('invalid_argument', format('dimensions of experiment "%s" are %s', ab_create_experiment.experiment, ab_create_experiment.dimensions), 'name at most five attributes of the context, each of 1 to 64 bytes');
    end if;
    if (ab_create_experiment.layer is null) <> (ab_create_experiment.layer_percent is null) then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" has a layer without a percentage or the reverse', ab_create_experiment.experiment), 'give layer and layer_percent together');
    end if;
    if ab_create_experiment.factors is not null and ab_create_experiment.variants::text <> '{"control":50,"treatment":50}' then
        perform ab_internal.raise('invalid_variants', format('experiment "%s" has both variants and factors', ab_create_experiment.experiment), 'give one of them');
    end if;
    created := ab_internal.insert_experiment(
        workspace, ab_create_experiment.experiment, ab_create_experiment.kind, ab_create_experiment.unit, coalesce(ab_create_experiment.salt, ab_create_experiment.experiment),
        ab_create_experiment.starts_at, ab_create_experiment.ends_at, ab_create_experiment.traffic);
    update ab.experiment x
    set
        name = ab_create_experiment.name,
        description = ab_create_experiment.description,
        hypothesis = ab_create_experiment.hypothesis,
        owner = coalesce(ab_create_experiment.owner, session_user),
        targeting = nullif(ab_create_experiment.targeting, 'null'),
        is_sticky = coalesce(ab_create_experiment.sticky, false),
        prerequisites = coalesce(ab_create_experiment.prerequisites, '[]'),
        schedule = coalesce(ab_create_experiment.schedule, '[]'),
        minimum_share = ab_create_experiment.minimum_share,
        dimensions = coalesce(ab_create_experiment.dimensions, '{}'),
        analysis = coalesce(ab_create_experiment.analysis, '{}')
    where x.experiment_id = created
        -- Spares the many that have none of this another version of their row.
        and (num_nonnulls(ab_create_experiment.name, ab_create_experiment.description, ab_create_experiment.hypothesis, ab_create_experiment.owner, ab_create_experiment.targeting) > 0
            or ab_create_experiment.sticky
            or ab_create_experiment.prerequisites <> '[]'
            or ab_create_experiment.schedule <> '[]'
            or ab_create_experiment.minimum_share <> 5
            or ab_create_experiment.dimensions <> '{}'
            or ab_create_experiment.analysis <> '{}');
    if ab_create_experiment.factors is null then
        perform ab_internal.check_key('variant', v.variant) from ab_internal.parse_variants(ab_create_experiment.variants) v;
    else
        perform ab_internal.check_key('variant', v.variant) from ab_internal.combine_factors(ab_create_experiment.factors) v;
    end if;
    insert into ab.variant (experiment_id, variant, weight, name, config, factors, is_control)
    select created, v.variant, v.weight, v.name, v.config, v.factors,
        v.variant = coalesce(ab_create_experiment.control, case when bool_or(v.variant = 'control') over () then 'control' else first_value(v.variant) over (order by v.position) end)
    from (
        select p.variant, p.weight, p.name, p.config, null::jsonb as factors, p.position
        from ab_internal.parse_variants(case when ab_create_experiment.factors is null then ab_create_experiment.variants else '{"a":1,"b":1}' end)
            with ordinality as p (variant, weight, name, config, position)
        where ab_create_experiment.factors is null
        union all
        select c.variant, c.weight, c.name, c.config, c.factors, c.position
        from ab_internal.combine_factors(coalesce(ab_create_experiment.factors, '{"a":["b","c"]}'))
            with ordinality as c (variant, weight, name, config, factors, position)
        where ab_create_experiment.factors is not null
    ) v
    order by v.position;
    if not exists (select from ab.variant v where v.experiment_id = created and v.is_control) then
        perform ab_internal.raise('variant_not_found', format('control "%s" is not one of the variants', left(ab_create_experiment.control, 64)), 'name one of the variants');
    end if;
    if ab_create_experiment.primary_metric is not null then
        insert into ab.experiment_metric (experiment_id, metric_id, role)
        values (created, ab_internal.metric_id(ab_create_experiment.primary_metric), 'primary');
    end if;
    if ab_create_experiment.layer is not null then
        perform @extschema@.ab_join_layer(ab_create_experiment.experiment, ab_create_experiment.layer, ab_create_experiment.layer_percent);
    end if;
    perform ab_internal.make_partitions();
    return ab_create_experiment.experiment;
end
$$;

comment on function @extschema@.ab_create_experiment(text, json, text, text, text, text, text, timestamptz, timestamptz, numeric, text, text, text, text, jsonb, boolean, jsonb, jsonb, text, numeric, json, numeric, text[], jsonb) is $$Creates an experiment as a draft and returns its key.

variants: {"key": weight, …} in order, weights on any scale, or [{"key", "weight", "name", "config"}, …]. factors, instead: {"colour": ["red", "blue"], "size": ["s", "l"]} makes the variants red.s, red.l, blue.s and blue.l of equal weight.
control: the named variant, else "control", else the first. traffic: percent of users who take part.
kind: experiment, or bandit, whose weights ab_rebalance() moves, never below minimum_share percent. unit: the attribute of the context that is assigned by, instead of the user's id.
targeting: the rule of whom it is for. sticky: users keep the variant they were first exposed to. schedule: dated steps of traffic, [{"at": "2030-01-01T00:00:00Z", "percent": 5}, …].
prerequisites: what must hold in others, [{"experiment": "k", "variants": ["a"]}, {"experiment": "k", "assigned": false}, {"flag": "k", "values": [true]}]. layer, layer_percent: as ab_join_layer() does.
analysis: how its results will be judged, as ab_set_analysis() does.
Errors: invalid_key, invalid_variants, invalid_argument, invalid_analysis, invalid_rule, invalid_prerequisite, prerequisite_cycle, invalid_schedule, unit_mismatch (22023), experiment_exists (23505), metric_not_found, variant_not_found, segment_not_found, experiment_not_found, flag_not_found, layer_not_found (42704), slice_taken (55000).

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

create or replace function ab_internal.parse_denominator(metric text, denominator json)
    returns table (aggregate text, event_name text, filter jsonb, value_property text)
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    given constant jsonb := parse_denominator.denominator::jsonb;
    unknown text;
begin
    if given is null then
        return query select null::text, null::text, null::jsonb, null::text;
        return;
    end if;
    if jsonb_typeof(given) = 'object' then
        select k.key into unknown from jsonb_object_keys(given) k (key) where k.key not in ('event_name', 'kind', 'filter', 'value_property') limit 1;
    end if;
    if jsonb_typeof(given) <> 'object' or unknown is not null or jsonb_typeof(given -> 'event_name') is distinct from 'string'
        or octet_length(given ->> 'event_name') not between 1 and 256 or coalesce(given ->> 'kind', 'count') not in ('count', 'sum')
        or coalesce(jsonb_typeof(given -> 'value_property'), 'string') <> 'string' or octet_length(given ->> 'value_property') not between 1 and 256 then
        perform ab_internal.raise('invalid_argument', format('denominator of metric "%s" cannot be read%s', parse_denominator.metric, coalesce(format(': there is no field "%s"', left(unknown, 64)), '')),
            'write an object such as {"event_name": "visit", "kind": "count", "filter": {…}, "value_property": "amount"}, of which only event_name must be there');
    end if;
    if given ? 'filter' then
        perform ab_internal.check_filter(format('filter in the denominator of metric "%s"', parse_denominator.metric), given -> 'filter');
    end if;
    return query select coalesce(given ->> 'kind', 'count'), given ->> 'event_name', given -> 'filter', given ->> 'value_property';
end
$$;

comment on function ab_internal.parse_denominator(text, json) is 'the other half of a ratio, checked; all NULL where there is none';

create or replace function ab_internal.check_interval(what text, given interval)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if check_interval.given not between '0' and interval '3650 days' or extract(month from check_interval.given) <> 0 or extract(year from check_interval.given) <> 0 then
        perform ab_internal.raise('invalid_argument', format('%s is %s', check_interval.what, check_interval.given), 'give days, hours or less, up to 3650 days and not negative; months are of different lengths');
    end if;
end
$$;

comment on function ab_internal.check_interval(text, interval) is 'raises unless it is a length of time that is the same for every user';

create or replace function @extschema@.ab_create_metric(
    metric text,
    event_name text,
    kind text default 'conversion',
    description text default null,
    filter jsonb default null,
    value_property text default null,
    "window" interval default null,
    delay interval default '0',
    day integer default null,
    cap numeric default null,
    numerator text default null,
    denominator json default null,
    covariate_window interval default '14 days',
    lower_is_better boolean default false
)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    kinds constant text[] := '{conversion,count,sum,ratio,retention,unique_days,first,last}';
    begins constant interval := coalesce(case when ab_create_metric.day is null then ab_create_metric.delay else make_interval(days => ab_create_metric.day) end, '0');
    ends constant interval := begins + case when ab_create_metric.kind = 'retention' then coalesce(ab_create_metric."window", '1 day') else ab_create_metric."window" end;
    per record;
begin
    perform ab_internal.check_key('metric', ab_create_metric.metric);
    if ab_create_metric.event_name is null or octet_length(ab_create_metric.event_name) not between 1 and 256 then
        perform ab_internal.raise('invalid_argument', format('event name of metric "%s" is missing or too long', ab_create_metric.metric), 'use 1 to 256 bytes');
    end if;
    if ab_create_metric.kind is null or ab_create_metric.kind <> all (kinds) then
        perform ab_internal.raise('invalid_argument', format('metric kind "%s" does not exist', coalesce(left(ab_create_metric.kind, 64), 'NULL')), format('use one of %s', array_to_string(kinds, ', ')));
    end if;
    if (ab_create_metric.day is not null) <> (ab_create_metric.kind = 'retention') or ab_create_metric.day not between 0 and 3650 then
        perform ab_internal.raise('invalid_argument', format('metric "%s" is of kind %s and its day is %s', ab_create_metric.metric, ab_create_metric.kind, coalesce(ab_create_metric.day::text, 'missing')),
            'give retention, and nothing else, the day, from 0, on which users are to come back');
    end if;
    perform ab_internal.check_interval(format('%s of metric "%s"', i.what, ab_create_metric.metric), i.given)
    from (values ('delay', begins), ('window', ab_create_metric."window"), ('covariate window', ab_create_metric.covariate_window)) i (what, given);
    if ab_create_metric."window" = '0' then
        perform ab_internal.raise('invalid_argument', format('window of metric "%s" is empty', ab_create_metric.metric), 'leave it out to count without end');
    end if;
    if ab_create_metric.covariate_window > interval '90 days' then
        perform ab_internal.raise('invalid_argument', format('covariate window of metric "%s" is %s', ab_create_metric.metric, ab_create_metric.covariate_window), 'give at most 90 days');
    end if;
    if ab_create_metric.cap is not null and (ab_create_metric.kind not in ('count', 'sum', 'unique_days', 'first', 'last') or ab_create_metric.cap = 'NaN' or abs(ab_create_metric.cap) >= 1e300) then
        perform ab_internal.raise('invalid_argument', format('metric "%s" of kind %s cannot be capped at %s', ab_create_metric.metric, ab_create_metric.kind, ab_create_metric.cap),
            'give a number, and only to count, sum, unique_days, first or last');
    end if;
    if octet_length(ab_create_metric.value_property) not between 1 and 256 or (ab_create_metric.value_property is not null and ab_create_metric.kind not in ('sum', 'ratio', 'first', 'last')) then
        perform ab_internal.raise('invalid_argument', format('metric "%s" of kind %s cannot take a value from that property', ab_create_metric.metric, ab_create_metric.kind),
            'name a property of at most 256 bytes, and only for sum, ratio, first or last');
    end if;
    if (ab_create_metric.kind = 'ratio') <> (ab_create_metric.denominator is not null) or (ab_create_metric.kind <> 'ratio' and ab_create_metric.numerator is not null)
        or ab_create_metric.numerator not in ('count', 'sum') then
        perform ab_internal.raise('invalid_argument', format('metric "%s" of kind %s has an unsuitable numerator or denominator', ab_create_metric.metric, ab_create_metric.kind),
            'give a ratio, and nothing else, a denominator such as {"event_name": "visit"}, and if need be the numerator count or sum');
    end if;
    select * into per from ab_internal.parse_denominator(ab_create_metric.metric, ab_create_metric.denominator);
    perform ab_internal.check_filter(format('filter of metric "%s"', ab_create_metric.metric), ab_create_metric.filter) where ab_create_metric.filter is not null;
    insert into ab.metric (workspace_id, metric, event_name, kind, description, filter, value_property, window_start, window_end, cap, covariate_window, lower_is_better,
        numerator, denominator, denominator_event_name, denominator_filter, denominator_value_property)
    values (ab_internal.workspace_id(), ab_create_metric.metric, ab_create_metric.event_name, ab_create_metric.kind, ab_create_metric.description,
        ab_create_metric.filter, ab_create_metric.value_property, begins, ends, ab_create_metric.cap, coalesce(ab_create_metric.covariate_window, '0'), coalesce(ab_create_metric.lower_is_better, false),
        case when ab_create_metric.kind = 'ratio' then coalesce(ab_create_metric.numerator, 'sum') end, per.aggregate, per.event_name, per.filter, per.value_property)
    on conflict on constraint metric_workspace_id_metric_key do nothing;
    if not found then
        perform ab_internal.raise('metric_exists', format('metric "%s" exists already', ab_create_metric.metric), 'choose another key');
    end if;
    return ab_create_metric.metric;
end
$$;

comment on function @extschema@.ab_create_metric(text, text, text, text, jsonb, text, interval, interval, integer, numeric, text, json, interval, boolean) is $$Creates a metric over the events of one name and returns its key. docs/metrics.md has all of it.

kind: conversion (did the user do it), count (how often), sum (of the events' values), ratio (of the sums or counts of two sorts of events, per user), retention (did the user come back on that day after first exposure), unique_days (on how many days, UTC), first or last (the value of that event).
filter: a rule that an event's properties must match. value_property: read the value from this property. delay, window: count only events so long after first exposure, and for so long. cap: no user counts for more. numerator: sum (default) or count. denominator: {"event_name", "kind": "count" (default) or "sum", "filter", "value_property"}. covariate_window: how much of the time before first exposure is kept to reduce variance by; 0 for none. lower_is_better: as of latency or refunds. While an experiment runs that the metric judges, cap, covariate_window and lower_is_better are fixed.
Errors: invalid_key, invalid_argument, invalid_rule (22023), metric_exists (23505).

Example: SELECT ab_create_metric('order_value', 'purchase', 'sum', filter => '{"attribute": "country", "operator": "equals", "values": ["US"]}', "window" => '7 days', cap => 500);$$;

create or replace function @extschema@.ab_add_metric(experiment text, metric text, role text default null, margin double precision default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant integer := ab_internal.experiment_id(ab_add_metric.experiment);
    has_role text := ab_add_metric.role;
begin
    if has_role is null then
        select case when x.started_at is null then 'secondary' else 'exploratory' end into has_role from ab.experiment x where x.experiment_id = wanted;
    end if;
    if has_role not in ('primary', 'secondary', 'guardrail', 'exploratory') then
        perform ab_internal.raise('invalid_argument', format('metric role "%s" does not exist', left(has_role, 64)), 'use primary, secondary, guardrail or exploratory');
    end if;
    if (has_role = 'guardrail') <> (ab_add_metric.margin is not null) or not (ab_add_metric.margin > 0 and ab_add_metric.margin < 1) then
        perform ab_internal.raise('invalid_argument', format('margin of metric "%s" in the role %s is %s', left(ab_add_metric.metric, 64), has_role, coalesce(ab_add_metric.margin::text, 'missing')),
            'give a guardrail, and nothing else, the fraction of the control''s mean by which it may get worse, such as 0.02');
    end if;
    if has_role = 'primary' then
        update ab.experiment_metric m set role = 'secondary' where m.experiment_id = wanted and m.role = 'primary';
    end if;
    insert into ab.experiment_metric (experiment_id, metric_id, role, margin)
    values (wanted, ab_internal.metric_id(ab_add_metric.metric), has_role, ab_add_metric.margin)
    on conflict on constraint experiment_metric_pkey do nothing;
    if not found then
        perform ab_internal.raise('metric_attached', format('experiment "%s" has metric "%s" already', ab_add_metric.experiment, ab_add_metric.metric),
            'nothing is left to do; update ab.experiment_metric to change what it is for');
    end if;
end
$$;

comment on function @extschema@.ab_add_metric(text, text, text, double precision) is $$Judges an experiment by a metric: ab_rollup() then counts earlier events too, as far as they are still stored.

role: primary, which decides and of which there is one; secondary (the default of a draft), corrected for being several; guardrail, which must be shown not to get worse by more than margin, a fraction of the control''s mean; exploratory (the default once started), which decides nothing. A started experiment takes only guardrails and exploratory metrics: error rates hold for what was decided before.
Errors: experiment_not_found, metric_not_found (42704), invalid_argument (22023), metric_attached (23505), units_expired, wrong_status (55000).

Example: SELECT ab_add_metric('checkout_button', 'order_value');$$;

create or replace function @extschema@.ab_set_analysis(experiment text, analysis jsonb)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_set_analysis.experiment);
    merged jsonb;
begin
    if ab_set_analysis.analysis is null or jsonb_typeof(ab_set_analysis.analysis) <> 'object' then
        perform ab_internal.raise('invalid_analysis', format('analysis of experiment "%s" is no JSON object', changed.experiment), 'give an object such as {"mode": "sequential", "alpha": 0.01}');
    end if;
    -- JSON null gives a setting its default back.
    select coalesce(jsonb_object_agg(s.key, s.value), '{}') into merged
    from jsonb_each(changed.analysis || ab_set_analysis.analysis) s
    where s.value <> 'null';
    update ab.experiment x set analysis = merged where x.experiment_id = changed.experiment_id;
    return ab_internal.complete_analysis(format('experiment "%s"', changed.experiment), merged);
end
$$;

comment on function @extschema@.ab_set_analysis(text, jsonb) is $$Decides how the results of a draft will be judged, and returns all settings. Those not named stay; null gives one its default back. Once the experiment starts they are fixed, and every row of its results carries their version. docs/statistics.md says when to choose what.

mode: fixed (default), decided once at its planned end; sequential, at any time; group_sequential, at planned looks; bayesian, by expected loss. alpha: error rate (0.05). power (0.8), minimum_effect: the relative effect to find, and how surely. planned_units: users of all variants.
looks: shares of planned_units for group_sequential ([0.2, 0.4, 0.6, 0.8, 1]). spending: obf (default), pocock or power, with spending_power (3). prior_mean (0), prior_sd: what was believed of the lift before; flat without prior_sd. accepted_loss: expected loss, as a fraction of the control's mean, below which bayesian ships (0.0025).
correction: of secondary metrics and of several treatments: none, bonferroni, holm (default), hochberg, bh or by. exploratory_correction (bh). cuped: whether estimates adjusted for the time before first exposure decide (false). minimum_days (7) and minimum_units per variant (100): what a decision waits for. sample_ratio_threshold (0.001).
Errors: experiment_not_found (42704), invalid_analysis (22023), wrong_status (55000) once started.

Example: SELECT ab_create_experiment('planned'); SELECT ab_set_analysis('planned', '{"mode": "sequential", "planned_units": 20000}');$$;

create or replace function ab_internal.locked_experiment(experiment text)
    returns ab.experiment
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    result ab.experiment;
begin
    perform ab_internal.lock_configuration(w.workspace_id)
    from ab.workspace w
    where w.workspace = coalesce(nullif(current_setting('ab.workspace', true), ''), 'default');
    -- In another statement, which sees what those have done whom the lock waited for.
    select x.* into result
    from ab.experiment x
    where x.experiment_id = ab_internal.experiment_id(locked_experiment.experiment)
    for no key update;
    return result;
end
$$;

comment on function ab_internal.locked_experiment(text) is 'an experiment of the session''s workspace, which nobody else changes until the end of the transaction';

create or replace function ab_internal.check_variant(experiment_id integer, variant text)
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if not exists (select from ab.variant v where v.experiment_id = check_variant.experiment_id and v.variant = check_variant.variant) then
        perform ab_internal.raise('variant_not_found', format('experiment "%s" has no variant "%s"', x.experiment, coalesce(left(check_variant.variant, 64), 'NULL')), 'name one of its variants')
        from ab.experiment x
        where x.experiment_id = check_variant.experiment_id;
    end if;
end
$$;

comment on function ab_internal.check_variant(integer, text) is 'raises unless the experiment has that variant';

create or replace function ab_internal.change_status(experiment text, from_status text[], to_status text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(change_status.experiment);
begin
    if changed.status <> all (from_status) then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is %s', change_status.experiment, changed.status),
            format('only an experiment that is %s can become %s', array_to_string(from_status, ' or '), to_status));
    end if;
    update ab.experiment x set status = to_status where x.experiment_id = changed.experiment_id;
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

create or replace function @extschema@.ab_stop(experiment text, ship text default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    stopped constant ab.experiment := ab_internal.locked_experiment(ab_stop.experiment);
begin
    if ab_stop.ship is not null and stopped.kind = 'holdout' then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" is a holdout and ships nothing', stopped.experiment), 'leave out ship');
    end if;
    perform ab_internal.change_status(ab_stop.experiment, array['running', 'paused'], 'stopped');
    if ab_stop.ship is not null then
        perform ab_internal.check_variant(stopped.experiment_id, ab_stop.ship);
        update ab.experiment x set shipped_variant = ab_stop.ship where x.experiment_id = stopped.experiment_id;
    end if;
end
$$;

comment on function @extschema@.ab_stop(text, text) is $$Stops an experiment for good: nobody is assigned, and events from now on do not count; earlier ones that arrive late still do.

ship: the variant that everybody is given from now on. Updating ab.experiment.shipped_variant changes that later.
Errors: experiment_not_found, variant_not_found (42704), invalid_argument (22023), wrong_status (55000).

Example: SELECT ab_stop('checkout_button', ship => 'green');$$;

create or replace function ab_internal.check_not_stopped(changed ab.experiment)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if changed.status = 'stopped' then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is stopped', changed.experiment), 'create another experiment');
    end if;
end
$$;

comment on function ab_internal.check_not_stopped(ab.experiment) is 'raises where a change would come too late';

create or replace function ab_internal.check_no_holdout(changed ab.experiment)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.check_not_stopped(changed);
    if changed.kind = 'holdout' then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" is a holdout: it has neither traffic nor targeting, schedule or prerequisites', changed.experiment),
            'change its weights, its dates, or stop it');
    end if;
end
$$;

comment on function ab_internal.check_no_holdout(ab.experiment) is 'raises where a change has no meaning for a holdout, or would come too late';

create or replace function @extschema@.ab_set_traffic(experiment text, percent numeric, reason text default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_set_traffic.experiment);
begin
    perform ab_internal.check_no_holdout(changed);
    perform ab_internal.check_traffic(ab_set_traffic.percent);
    perform set_config('ab_internal.reason', coalesce(ab_set_traffic.reason, ''), true);
    update ab.experiment x set traffic = ab_set_traffic.percent where x.experiment_id = changed.experiment_id;
    perform set_config('ab_internal.reason', '', true);
end
$$;

comment on function @extschema@.ab_set_traffic(text, numeric, text) is $$Changes the percentage of users who take part, and why. Raising it changes nobody's variant and takes nobody out.

In a running experiment this begins a phase. The steps of a schedule take over from their times on.
Errors: experiment_not_found (42704), invalid_argument (22023), wrong_status (55000).

Example: SELECT ab_set_traffic('checkout_button', 80, reason => 'no complaints');$$;

create or replace function @extschema@.ab_set_weights(experiment text, weights jsonb, reason text default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_set_weights.experiment);
    wrong text;
begin
    perform ab_internal.check_not_stopped(changed);
    if ab_set_weights.weights is null or jsonb_typeof(ab_set_weights.weights) <> 'object' then
        wrong := 'weights are no JSON object';
    else
        select min(
            case
                when v.variant is null then format('experiment "%s" has no variant "%s"', changed.experiment, left(w.key, 64))
                when w.key is null then format('weight of variant "%s" is missing', v.variant)
                when jsonb_typeof(w.value) <> 'number' then format('weight of variant "%s" is a JSON %s', v.variant, jsonb_typeof(w.value))
                -- Beyond these the column would round to nothing or overflow.
                when not (w.value::numeric >= 0.000000001 and w.value::numeric < 999999999.9) then format('weight of variant "%s" is %s', v.variant, left(w.value::text, 64))
            end)
        into wrong
        from (select a.variant::text from ab.variant a where a.experiment_id = changed.experiment_id) v
        full join jsonb_each(ab_set_weights.weights) w on w.key = v.variant;
    end if;
    if wrong is not null then
        perform ab_internal.raise('invalid_weights', wrong, 'give each variant once, with a number above zero and below 1,000,000,000: {"control": 50, "treatment": 50}');
    end if;
    perform set_config('ab_internal.reason', coalesce(ab_set_weights.reason, ''), true);
    update ab.variant v
    set weight = (ab_set_weights.weights -> v.variant::text)::numeric
    where v.experiment_id = changed.experiment_id;
    -- A variant that was inserted with just the weight that it is given now.
    if changed.status in ('running', 'paused') and exists (
        select
        from ab.variant v
        where v.experiment_id = changed.experiment_id
            and not exists (
                select
                from ab.variant_range r
                where r.experiment_id = changed.experiment_id
                    and r.variant = v.variant
                    and r.phase = (select max(p.phase) from ab.phase p where p.experiment_id = changed.experiment_id)
            )
    ) then
        perform ab_internal.open_phases(array[changed.experiment_id], true);
    end if;
    perform set_config('ab_internal.reason', '', true);
end
$$;

comment on function @extschema@.ab_set_weights(text, jsonb, text) is $$Changes the weights of all variants of an experiment, and why. In a running one this begins a phase and moves as few users as the new weights require.

weights: {"control": 70, "treatment": 30}, on any scale.
Errors: experiment_not_found (42704), invalid_weights (22023), wrong_status (55000).

Example: SELECT ab_set_weights('checkout_button', '{"control": 30, "green": 70}', reason => 'promising');$$;

create or replace function @extschema@.ab_set_targeting(experiment text, rule jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_set_targeting.experiment);
begin
    perform ab_internal.check_no_holdout(changed);
    update ab.experiment x set targeting = nullif(ab_set_targeting.rule, 'null') where x.experiment_id = changed.experiment_id;
end
$$;

comment on function @extschema@.ab_set_targeting(text, jsonb) is $$Changes whom an experiment is for; NULL lets everybody in.

rule: {"all": [rule, …]}, {"any": [rule, …]}, {"not": rule} or {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}.
Errors: invalid_rule (22023), experiment_not_found, segment_not_found (42704), invalid_argument (22023), wrong_status (55000).

Example: SELECT ab_create_experiment('dach'); SELECT ab_set_targeting('dach', '{"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]}');$$;

create or replace function @extschema@.ab_set_prerequisites(experiment text, prerequisites jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_set_prerequisites.experiment);
begin
    perform ab_internal.check_no_holdout(changed);
    update ab.experiment x set prerequisites = coalesce(ab_set_prerequisites.prerequisites, '[]') where x.experiment_id = changed.experiment_id;
end
$$;

comment on function @extschema@.ab_set_prerequisites(text, jsonb) is $$Changes what must hold in other experiments and flags before a user takes part; all of it must.

[{"experiment": "k", "variants": ["a"]}, {"experiment": "k", "assigned": true}, {"flag": "k", "values": [true]}]; "assigned": false keeps the users of that experiment out.
Errors: invalid_prerequisite, prerequisite_cycle, invalid_argument (22023), experiment_not_found, variant_not_found, flag_not_found (42704), wrong_status (55000).

Example: SELECT ab_create_experiment('follow_up'); SELECT ab_set_prerequisites('follow_up', '[{"experiment": "checkout_button", "variants": ["green"]}]');$$;

create or replace function @extschema@.ab_schedule(experiment text, steps jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_schedule.experiment);
begin
    perform ab_internal.check_no_holdout(changed);
    update ab.experiment x set schedule = coalesce(ab_schedule.steps, '[]') where x.experiment_id = changed.experiment_id;
end
$$;

comment on function @extschema@.ab_schedule(text, jsonb) is $$Plans the percentage of users who take part: each step takes effect at its time, everywhere and by itself. Before the first the experiment's traffic holds; '[]' ends the plan.

Errors: invalid_schedule, invalid_argument (22023), experiment_not_found (42704), wrong_status (55000).

Example: SELECT ab_create_experiment('ramp', traffic => 1); SELECT ab_schedule('ramp', '[{"at": "2030-01-01T08:00:00Z", "percent": 5}, {"at": "2030-01-02T08:00:00Z", "percent": 50}]');$$;
