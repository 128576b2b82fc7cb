-- What prerequisites wait for must be able to happen.
create or replace function ab_internal.check_wanted(workspace_id integer, what text, prerequisites jsonb)
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.raise('variant_not_found', format('experiment "%s" has no variant "%s", which %s waits for', x.experiment, left(v.variant, 64), check_wanted.what),
        'name its variants')
    from jsonb_array_elements(case jsonb_typeof(check_wanted.prerequisites) when 'array' then check_wanted.prerequisites else '[]' end) p
    join ab.experiment x on x.workspace_id = check_wanted.workspace_id and x.experiment = p.value ->> 'experiment'
    cross join lateral jsonb_array_elements_text(case jsonb_typeof(p.value -> 'variants') when 'array' then p.value -> 'variants' else '[]' end) v (variant)
    where not exists (select from ab.variant a where a.experiment_id = x.experiment_id and a.variant = v.variant);
    -- Which values its rules give can change at any time; its kind cannot.
    perform ab_internal.raise('invalid_prerequisite', format('flag "%s" is a %s and never %s, which %s waits for', f.flag, f.kind, left(v.value::text, 64), check_wanted.what),
        format('name values that are a %s', f.kind))
    from jsonb_array_elements(case jsonb_typeof(check_wanted.prerequisites) when 'array' then check_wanted.prerequisites else '[]' end) p
    join ab.flag f on f.workspace_id = check_wanted.workspace_id and f.flag = p.value ->> 'flag'
    cross join lateral jsonb_array_elements(case jsonb_typeof(p.value -> 'values') when 'array' then p.value -> 'values' else '[]' end) v
    where f.kind <> 'json'
        and jsonb_typeof(v.value) <> f.kind;
end
$$;

comment on function ab_internal.check_wanted(integer, text, jsonb) is 'raises if prerequisites want a variant that the experiment has not, or a value that is not of the flag''s kind';
