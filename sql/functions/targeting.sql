-- What rules and prerequisites name, and that it exists and does not wait for itself.
create or replace function ab_internal.rule_segments(rule jsonb)
    returns setof text
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select distinct v.value #>> '{}'
    from jsonb_path_query(rule, 'strict $.** ? (@.operator == "in_segment")') c (condition)
    cross join lateral jsonb_array_elements(case jsonb_typeof(c.condition -> 'values') when 'array' then c.condition -> 'values' else '[]' end) v
$$;

comment on function ab_internal.rule_segments(jsonb) is 'keys of the segments that a rule names';

create or replace function ab_internal.check_segments(workspace_id integer, what text, rule jsonb)
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.raise('segment_not_found', format('segment "%s" in the %s does not exist', left(n.segment, 64), check_segments.what),
        'create it first with ab_create_segment()')
    from ab_internal.rule_segments(check_segments.rule) n (segment)
    where not exists (
        select from ab.segment s where s.workspace_id = check_segments.workspace_id and s.segment = n.segment
    );
end
$$;

comment on function ab_internal.check_segments(integer, text, jsonb) is 'raises unless every segment that a rule names exists';

create or replace function ab_internal.check_filter(what text, rule jsonb)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.check_rule(check_filter.what, check_filter.rule::text);
    if exists (select from ab_internal.rule_segments(check_filter.rule)) then
        perform ab_internal.raise('invalid_rule', format('%s names a segment, of which events know nothing', check_filter.what), 'filter by properties of the event');
    end if;
end
$$;

comment on function ab_internal.check_filter(text, jsonb) is 'raises unless the rule can be evaluated for an event''s properties';

create or replace function ab_internal.required_keys(prerequisites jsonb, rules jsonb)
    returns table (kind text, key text)
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select case when p.value ? 'flag' then 'flag' else 'experiment' end, coalesce(p.value ->> 'flag', p.value ->> 'experiment')
    from jsonb_array_elements(case jsonb_typeof(prerequisites) when 'array' then prerequisites else '[]' end) p
    union
    select 'experiment', r.value ->> 'experiment'
    from jsonb_array_elements(case jsonb_typeof(rules) when 'array' then rules else '[]' end) r
    where r.value ? 'experiment'
$$;

comment on function ab_internal.required_keys(jsonb, jsonb) is 'the experiments and flags that prerequisites, and the rules of a flag, wait for';

create or replace function ab_internal.check_required(workspace_id integer, what text, prerequisites jsonb, rules jsonb)
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.raise(r.kind || '_not_found', format('%s "%s", which %s waits for, does not exist', r.kind, left(r.key, 64), check_required.what),
        format('create it first with ab_create_%s()', r.kind))
    from ab_internal.required_keys(check_required.prerequisites, check_required.rules) r
    where not exists (
        select from ab.experiment x where r.kind = 'experiment' and x.workspace_id = check_required.workspace_id and x.experiment = r.key
        union all
        select from ab.flag f where r.kind = 'flag' and f.workspace_id = check_required.workspace_id and f.flag = r.key
    );
end
$$;

comment on function ab_internal.check_required(integer, text, jsonb, jsonb) is 'raises unless everything that prerequisites and a flag''s rules name exists';

create or replace function ab_internal.named_in(workspace_id integer, kind text, key text)
    returns text
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select min(n.place)
    from (
        select format('the targeting of experiment "%s"', x.experiment) as place
        from ab.experiment x
        where named_in.kind = 'segment'
            and x.workspace_id = named_in.workspace_id
            and x.status <> 'stopped'
            and named_in.key in (select ab_internal.rule_segments(x.targeting))
        union all
        select format('the rules of flag "%s"', f.flag)
        from ab.flag f
        where named_in.kind = 'segment'
            and f.workspace_id = named_in.workspace_id
            and named_in.key in (select ab_internal.rule_segments(f.rules))
        union all
        select format('the rule of segment "%s"', s.segment)
        from ab.segment s
        where named_in.kind = 'segment'
            and s.workspace_id = named_in.workspace_id
            and named_in.key in (select ab_internal.rule_segments(s.rule))
        union all
        select format('the exclusions of workspace "%s"', w.workspace)
        from ab.workspace w
        where named_in.kind = 'segment'
            and w.workspace_id = named_in.workspace_id
            and named_in.key in (select ab_internal.rule_segments(w.excluded))
        union all
        select format('the prerequisites of experiment "%s"', x.experiment)
        from ab.experiment x
        where x.workspace_id = named_in.workspace_id
            and x.status <> 'stopped'
            and (named_in.kind, named_in.key) in (select r.kind, r.key from ab_internal.required_keys(x.prerequisites, '[]') r)
        union all
        select format('the prerequisites or rules of flag "%s"', f.flag)
        from ab.flag f
        where f.workspace_id = named_in.workspace_id
            and (named_in.kind, named_in.key) in (select r.kind, r.key from ab_internal.required_keys(f.prerequisites, f.rules) r)
    ) n
$$;

comment on function ab_internal.named_in(integer, text, text) is 'where something that still decides names that segment, flag or experiment; null where nothing does';

-- What names nothing holds for nobody, and for everybody where it is negated: so what is named must stay. By statement, so
-- that things that name each other can go together.
create or replace function ab_internal.named_deleted()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.raise('in_use', format('%s "%s" is named in %s', tg_argv[0], n.key, n.place), 'change that first')
    from (
        select d.key, ab_internal.named_in(d.workspace_id, tg_argv[0], d.key) as place
        from (select c.workspace_id, to_jsonb(c) ->> tg_argv[0] as key from deleted c) d
    ) n
    where n.place is not null;
    return null;
end
$$;

comment on function ab_internal.named_deleted() is 'raises where what is being deleted is named by something that still decides';

do $$
declare
    member text;
begin
    foreach member in array array['segment', 'flag', 'experiment'] loop
        execute format('create or replace trigger %1$s_named after delete on ab.%1$s referencing old table as deleted for each statement execute function ab_internal.named_deleted(%1$L)', member);
    end loop;
end
$$;

create or replace function ab_internal.segment_overrides()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.raise('in_use', format('segment "%s" is named in an override of experiment "%s"', old.segment, x.experiment), 'call ab_remove_override() first')
    from ab.override o
    join ab.experiment x using (experiment_id)
    where o.segment_id = old.segment_id
    limit 1;
    return old;
end
$$;

comment on function ab_internal.segment_overrides() is 'raises where an override names the segment that is being deleted';

create or replace trigger segment_overrides
    before delete on ab.segment
    for each row
    execute function ab_internal.segment_overrides();

create or replace function ab_internal.required_by(workspace_id integer, kind text, key text)
    returns table (kind text, key text)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select r.kind, r.key
    from ab.experiment x
    cross join lateral ab_internal.required_keys(x.prerequisites, '[]') r
    where $2 = 'experiment'
        and x.workspace_id = $1
        and x.experiment = $3
    union all
    select r.kind, r.key
    from ab.flag f
    cross join lateral ab_internal.required_keys(f.prerequisites, f.rules) r
    where $2 = 'flag'
        and f.workspace_id = $1
        and f.flag = $3
$$;

comment on function ab_internal.required_by(integer, text, text) is 'what an experiment or a flag waits for';

-- Without JIT, here and below: nobody knows how far a circle goes, so it is reckoned with millions of rows, and compiling
-- for those takes longer than any circle there is.
create or replace function ab_internal.check_prerequisite_cycle(workspace_id integer, kind text, keys text[])
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
begin
    perform ab_internal.raise('prerequisite_cycle', format('%s "%s" would wait for itself', check_prerequisite_cycle.kind, c.key),
        'take it out of the prerequisites that lead back to it')
    from (
        with recursive reached (start_key, kind, key) as (
            select k.key, r.kind, r.key
            from unnest(check_prerequisite_cycle.keys) k (key)
            cross join lateral ab_internal.required_by(check_prerequisite_cycle.workspace_id, check_prerequisite_cycle.kind, k.key) r
            union
            select e.start_key, r.kind, r.key
            from reached e
            cross join lateral ab_internal.required_by(check_prerequisite_cycle.workspace_id, e.kind, e.key) r
        )
        select e.key
        from reached e
        where e.kind = check_prerequisite_cycle.kind
            and e.key = e.start_key
        limit 1
    ) c;
end
$$;

comment on function ab_internal.check_prerequisite_cycle(integer, text, text[]) is 'raises if one of these waits for itself, however indirectly';

create or replace function ab_internal.check_segment_cycle(workspace_id integer, keys text[])
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
begin
    perform ab_internal.raise('segment_cycle', format('segment "%s" would contain itself', c.key), 'take it out of the rules that lead back to it')
    from (
        with recursive reached (start_key, key) as (
            select k.key, n.segment
            from unnest(check_segment_cycle.keys) k (key)
            join ab.segment s on s.workspace_id = check_segment_cycle.workspace_id and s.segment = k.key
            cross join lateral ab_internal.rule_segments(s.rule) n (segment)
            union
            select e.start_key, n.segment
            from reached e
            join ab.segment s on s.workspace_id = check_segment_cycle.workspace_id and s.segment = e.key
            cross join lateral ab_internal.rule_segments(s.rule) n (segment)
        )
        select e.key
        from reached e
        where e.key = e.start_key
        limit 1
    ) c;
end
$$;

comment on function ab_internal.check_segment_cycle(integer, text[]) is 'raises if one of these segments contains itself, however indirectly';

create or replace function @extschema@.ab_exclude(bots boolean default null, rule jsonb default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant integer := ab_internal.workspace_id();
begin
    perform ab_internal.lock_configuration(wanted);
    update ab.workspace w
    set
        excludes_bots = coalesce(ab_exclude.bots, w.excludes_bots),
        excluded = case when ab_exclude.rule is null then w.excluded else nullif(ab_exclude.rule, 'null') end
    where w.workspace_id = wanted;
end
$$;

comment on function @extschema@.ab_exclude(boolean, jsonb) is $$Keeps programs that say in their user agent what they are (bots), or whomever a rule holds for, out of every experiment of the workspace.

What is left out stays as it is; the rule 'null' takes the rule away.
Errors: invalid_rule (22023), segment_not_found, workspace_not_found (42704).

Example: SELECT ab_exclude(bots => true, rule => '{"attribute": "ip", "operator": "in_cidr", "values": ["10.0.0.0/8"]}');$$;
