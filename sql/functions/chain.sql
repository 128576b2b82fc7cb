-- How many experiments and flags in a row wait for each other, and how many segments contain each other. A decision follows 32
-- (core/src/decision.rs) and then matches nothing, so what is longer is refused when it is written, at whichever end. As with
-- circles, insertion is looked at too: a part of what has no such chain has none.
create or replace function ab_internal.check_chain(workspace_id integer, kind text, keys text[])
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set jit = off
    -- Nobody knows how far it goes: nested loops would be chosen for the few rows that are expected, and read all for each.
    set enable_nestloop = off
    as $$
begin
    perform ab_internal.raise(
        'invalid_prerequisite',
        format('%s "%s" would be one of %s experiments and flags that wait for each other in a row; at most 32 are followed', check_chain.kind, c.key, c.length),
        'let one of them wait for something that waits for less')
    from (
        with recursive edge as materialized (
            select 'experiment' as from_kind, x.experiment::text as from_key, r.kind as to_kind, r.key as to_key
            from ab.experiment x
            cross join lateral ab_internal.required_keys(x.prerequisites, '[]') r
            where x.workspace_id = check_chain.workspace_id
                and x.prerequisites <> '[]'
            union all
            select 'flag', f.flag, r.kind, r.key
            from ab.flag f
            cross join lateral ab_internal.required_keys(f.prerequisites, f.rules) r
            where f.workspace_id = check_chain.workspace_id
                and (f.prerequisites <> '[]' or f.rules <> '[]')
        ),
        -- Bounded, because two who wait for each other are told so by whoever looks for circles, in another statement.
        below (start_key, length, kind, key) as (
            select k.key, 1, check_chain.kind, k.key
            from unnest(check_chain.keys) k (key)
            union
            select b.start_key, b.length + 1, e.to_kind, e.to_key
            from below b
            join edge e on e.from_kind = b.kind and e.from_key = b.key
            where b.length < 100
        ),
        above (start_key, length, kind, key) as (
            select k.key, 0, check_chain.kind, k.key
            from unnest(check_chain.keys) k (key)
            union
            select a.start_key, a.length + 1, e.from_kind, e.from_key
            from above a
            join edge e on e.to_kind = a.kind and e.to_key = a.key
            where a.length < 100
        )
        select b.start_key as key, b.length + a.length as length
        from (select w.start_key, max(w.length) as length from below w group by w.start_key) b
        join (select w.start_key, max(w.length) as length from above w group by w.start_key) a using (start_key)
        where b.length + a.length > 32
        order by b.start_key
        limit 1
    ) c;
end
$$;

comment on function ab_internal.check_chain(integer, text, text[]) is 'raises if one of these experiments or flags is part of a chain that is longer than decisions follow';

create or replace function ab_internal.check_segment_chain(workspace_id integer, keys text[])
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_nestloop = off
    as $$
begin
    perform ab_internal.raise(
        'invalid_rule',
        format('segment "%s" would be one of %s segments that contain each other in a row; at most 32 are followed', c.key, c.length),
        'name the segments that are further in instead')
    from (
        with recursive edge as materialized (
            select s.segment::text as from_key, n.segment as to_key
            from ab.segment s
            cross join lateral ab_internal.rule_segments(s.rule) n (segment)
            where s.workspace_id = check_segment_chain.workspace_id
                and s.kind = 'rule'
                -- Most rules name none, and this finds them out sooner.
                and strpos(s.rule::text, 'in_segment') > 0
        ),
        below (start_key, length, key) as (
            select k.key, 1, k.key
            from unnest(check_segment_chain.keys) k (key)
            union
            select b.start_key, b.length + 1, e.to_key
            from below b
            join edge e on e.from_key = b.key
            where b.length < 100
        ),
        above (start_key, length, key) as (
            select k.key, 0, k.key
            from unnest(check_segment_chain.keys) k (key)
            union
            select a.start_key, a.length + 1, e.from_key
            from above a
            join edge e on e.to_key = a.key
            where a.length < 100
        )
        select b.start_key as key, b.length + a.length as length
        from (select w.start_key, max(w.length) as length from below w group by w.start_key) b
        join (select w.start_key, max(w.length) as length from above w group by w.start_key) a using (start_key)
        where b.length + a.length > 32
        order by b.start_key
        limit 1
    ) c;
end
$$;

comment on function ab_internal.check_segment_chain(integer, text[]) is 'raises if one of these segments is part of a chain that is longer than decisions follow';

-- Only what was written anew: a change of anything else must not look at the whole workspace.
create or replace function ab_internal.chains_inserted()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    case tg_table_name
        when 'experiment' then
            perform ab_internal.check_chain(c.workspace_id, 'experiment', c.keys)
            from (select n.workspace_id, array_agg(n.experiment::text) as keys from new_row n where n.prerequisites <> '[]' group by n.workspace_id) c;
        when 'flag' then
            perform ab_internal.check_chain(c.workspace_id, 'flag', c.keys)
            from (
                select n.workspace_id, array_agg(n.flag::text) as keys
                from new_row n
                where exists (select from ab_internal.required_keys(n.prerequisites, n.rules))
                group by n.workspace_id
            ) c;
        when 'segment' then
            perform ab_internal.check_segment_chain(c.workspace_id, c.keys)
            from (select n.workspace_id, array_agg(n.segment::text) as keys from new_row n where strpos(n.rule::text, 'in_segment') > 0 group by n.workspace_id) c;
    end case;
    return null;
end
$$;

comment on function ab_internal.chains_inserted() is 'refuses chains that are longer than decisions follow';

create or replace function ab_internal.chains_updated()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    case tg_table_name
        when 'experiment' then
            perform ab_internal.check_chain(c.workspace_id, 'experiment', c.keys)
            from (
                select n.workspace_id, array_agg(n.experiment::text) as keys
                from new_row n
                join old_row o using (experiment_id)
                where n.prerequisites <> '[]'
                    and n.prerequisites <> o.prerequisites
                group by n.workspace_id
            ) c;
        when 'flag' then
            perform ab_internal.check_chain(c.workspace_id, 'flag', c.keys)
            from (
                select n.workspace_id, array_agg(n.flag::text) as keys
                from new_row n
                join old_row o using (flag_id)
                where (n.prerequisites, n.rules) is distinct from (o.prerequisites, o.rules)
                    and exists (select from ab_internal.required_keys(n.prerequisites, n.rules))
                group by n.workspace_id
            ) c;
        when 'segment' then
            perform ab_internal.check_segment_chain(c.workspace_id, c.keys)
            from (
                select n.workspace_id, array_agg(n.segment::text) as keys
                from new_row n
                join old_row o using (segment_id)
                where strpos(n.rule::text, 'in_segment') > 0
                    and n.rule is distinct from o.rule
                group by n.workspace_id
            ) c;
    end case;
    return null;
end
$$;

comment on function ab_internal.chains_updated() is 'refuses chains that are longer than decisions follow';

-- After the triggers that take the lock and look for circles: those of one table run in the order of their names.
do $$
declare
    member text;
begin
    foreach member in array array['experiment', 'flag', 'segment'] loop
        execute format('create or replace trigger %1$s_z_chains_inserted after insert on ab.%1$s referencing new table as new_row for each statement execute function ab_internal.chains_inserted()', member);
        execute format('create or replace trigger %1$s_z_chains_updated after update on ab.%1$s referencing old table as old_row new table as new_row for each statement execute function ab_internal.chains_updated()', member);
    end loop;
end
$$;
