-- Feature flags. Each function does with checks and messages what plain DML on ab.flag does.
create or replace function ab_internal.flag_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
        new.salt := coalesce(new.salt, new.flag);
    elsif (new.flag_id, new.workspace_id, new.flag, new.kind, new.salt, new.unit) is distinct from (old.flag_id, old.workspace_id, old.flag, old.kind, old.salt, old.unit) then
        perform ab_internal.raise('immutable', format('flag "%s" cannot change its key, its kind, its salt or its unit', old.flag), 'create another flag');
    end if;
    if tg_op = 'INSERT' or (new.default_value, new.off_value, new.rules) is distinct from (old.default_value, old.off_value, old.rules) then
        perform ab_internal.check_flag(format('flag "%s"', new.flag), new.kind, new.default_value::text, new.off_value::text, new.rules::text);
    end if;
    if tg_op = 'INSERT' or new.prerequisites is distinct from old.prerequisites then
        perform ab_internal.check_prerequisites(format('flag "%s"', new.flag), new.prerequisites::text);
    end if;
    if tg_op = 'INSERT' then
        -- What a restore brings is kept, because the buckets of a split depend on what it was before; what no history can have
        -- led to is nobody's to give.
        if ab_internal.are_flag_layouts(new.rules::text, new.layouts::text) is not true then
            new.layouts := ab_internal.flag_layouts(new.rules::text, null, null)::jsonb;
        end if;
    else
        new.layouts := case when new.rules = old.rules then old.layouts else ab_internal.flag_layouts(new.rules::text, old.rules::text, old.layouts::text)::jsonb end;
        if new.rules <> old.rules or new.prerequisites <> old.prerequisites then
            perform ab_internal.check_flag_names(new.workspace_id, new.flag, new.prerequisites, new.rules);
        end if;
        new.killed_at := case when not new.is_killed then null when old.is_killed then old.killed_at else clock_timestamp() end;
        return new;
    end if;
    new.killed_at := case when new.is_killed then coalesce(new.killed_at, clock_timestamp()) end;
    return new;
end
$$;

comment on function ab_internal.flag_before() is 'completes a flag, checks its rules and lays out their splits';

create or replace trigger flag_before
    before insert or update on ab.flag
    for each row
    execute function ab_internal.flag_before();

create or replace function ab_internal.check_flag_names(workspace_id integer, flag text, prerequisites jsonb, rules jsonb)
    returns void
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.check_segments(check_flag_names.workspace_id, format('rules of flag "%s"', check_flag_names.flag), r.rule)
    from jsonb_path_query(check_flag_names.rules, '$[*].when') r (rule);
    perform ab_internal.check_required(check_flag_names.workspace_id, format('flag "%s"', check_flag_names.flag), check_flag_names.prerequisites, check_flag_names.rules);
    perform ab_internal.check_wanted(check_flag_names.workspace_id, format('flag "%s"', check_flag_names.flag), check_flag_names.prerequisites);
end
$$;

comment on function ab_internal.check_flag_names(integer, text, jsonb, jsonb) is 'raises unless everything that a flag names exists';

create or replace function ab_internal.locked_flag(flag text)
    returns ab.flag
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted text := coalesce(nullif(current_setting('ab.workspace', true), ''), 'default');
    result ab.flag;
begin
    perform ab_internal.lock_configuration(w.workspace_id) from ab.workspace w where w.workspace = wanted;
    select f.* into result
    from ab.flag f
    join ab.workspace w using (workspace_id)
    where w.workspace = wanted
        and f.flag = locked_flag.flag
    for no key update of f;
    if result.flag_id is null then
        perform ab_internal.raise('flag_not_found', format('flag "%s" does not exist in workspace "%s"', coalesce(left(locked_flag.flag, 64), 'NULL'), wanted),
            'list them with: select flag from ab.flag');
    end if;
    return result;
end
$$;

comment on function ab_internal.locked_flag(text) is 'a flag of the session''s workspace, which nobody else changes until the end of the transaction';

create or replace function @extschema@.ab_create_flag(
    flag text,
    kind text default 'boolean',
    default_value jsonb default null,
    rules jsonb default '[]',
    off_value jsonb default null,
    prerequisites jsonb default '[]',
    unit text default null,
    salt text default null,
    description text default null
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
    given constant jsonb := coalesce(ab_create_flag.default_value, case ab_create_flag.kind when 'boolean' then 'false' when 'string' then '""' when 'number' then '0' else 'null' end::jsonb);
begin
    perform ab_internal.check_key('flag', ab_create_flag.flag);
    perform ab_internal.check_key('salt', coalesce(ab_create_flag.salt, ab_create_flag.flag));
    perform ab_internal.check_unit(ab_create_flag.unit);
    if ab_create_flag.kind is null or ab_create_flag.kind not in ('boolean', 'string', 'number', 'json') then
        perform ab_internal.raise('invalid_flag', format('flag kind "%s" does not exist', coalesce(left(ab_create_flag.kind, 64), 'NULL')), 'use boolean, string, number or json');
    end if;
    perform ab_internal.lock_configuration(workspace);
    insert into ab.flag (workspace_id, flag, kind, default_value, off_value, rules, prerequisites, unit, salt, description, owner)
    values (
        workspace, ab_create_flag.flag, ab_create_flag.kind, given,
        coalesce(ab_create_flag.off_value, case ab_create_flag.kind when 'boolean' then 'false'::jsonb else given end),
        coalesce(ab_create_flag.rules, '[]'), coalesce(ab_create_flag.prerequisites, '[]'), ab_create_flag.unit,
        coalesce(ab_create_flag.salt, ab_create_flag.flag), ab_create_flag.description, session_user)
    on conflict on constraint flag_workspace_id_flag_key do nothing;
    if not found then
        perform ab_internal.raise('flag_exists', format('flag "%s" exists already', ab_create_flag.flag), 'choose another key');
    end if;
    perform ab_internal.check_flag_names(workspace, ab_create_flag.flag, ab_create_flag.prerequisites, ab_create_flag.rules);
    return ab_create_flag.flag;
end
$$;

comment on function @extschema@.ab_create_flag(text, text, jsonb, jsonb, jsonb, jsonb, text, text, text) is $$Creates a feature flag, which answers at once, and returns its key.

kind: boolean, string, number or json. rules: the first that applies gives the value, [{"when": rule, "percent": 10, "value": true}, …]; each gives a "value", a "split" [{"value", "weight"}, …] or the variant of an "experiment".
default_value: where no rule applies. off_value: while it is killed or its prerequisites do not hold; false, or the default.
Errors: invalid_key, invalid_flag, invalid_rule, invalid_schedule, invalid_prerequisite, prerequisite_cycle, invalid_argument (22023), flag_exists (23505), segment_not_found, experiment_not_found, variant_not_found, flag_not_found (42704).

Example: SELECT ab_create_flag('new_search', rules => '[{"percent": 10, "value": true}]');$$;

create or replace function @extschema@.ab_set_flag(flag text, rules jsonb default null, default_value jsonb default null, prerequisites jsonb default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.flag := ab_internal.locked_flag(ab_set_flag.flag);
begin
    update ab.flag f
    set
        rules = coalesce(ab_set_flag.rules, f.rules),
        default_value = coalesce(ab_set_flag.default_value, f.default_value),
        prerequisites = coalesce(ab_set_flag.prerequisites, f.prerequisites)
    where f.flag_id = changed.flag_id;
end
$$;

comment on function @extschema@.ab_set_flag(text, jsonb, jsonb, jsonb) is $$Changes the rules, the default or the prerequisites of a flag; what is left out stays as it is. A split whose weights change moves as few users as it must.

Errors: invalid_flag, invalid_rule, invalid_schedule, invalid_prerequisite, prerequisite_cycle (22023), flag_not_found, segment_not_found, experiment_not_found, variant_not_found (42704).

Example: SELECT ab_create_flag('banner', 'string', '"none"'); SELECT ab_set_flag('banner', '[{"split": [{"value": "red", "weight": 1}, {"value": "blue", "weight": 1}]}]');$$;

create or replace function @extschema@.ab_kill(flag text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.flag := ab_internal.locked_flag(ab_kill.flag);
begin
    update ab.flag f set is_killed = true where f.flag_id = changed.flag_id and not f.is_killed;
end
$$;

comment on function @extschema@.ab_kill(text) is $$Switches a flag off everywhere at once: it answers its off value until ab_revive().

Errors: flag_not_found (42704).

Example: SELECT ab_create_flag('risky'); SELECT ab_kill('risky');$$;

create or replace function @extschema@.ab_revive(flag text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.flag := ab_internal.locked_flag(ab_revive.flag);
begin
    update ab.flag f set is_killed = false where f.flag_id = changed.flag_id and f.is_killed;
end
$$;

comment on function @extschema@.ab_revive(text) is $$Lets a flag that was killed answer by its rules again.

Errors: flag_not_found (42704).

Example: SELECT ab_create_flag('mended'); SELECT ab_kill('mended'); SELECT ab_revive('mended');$$;

create or replace function @extschema@.ab_delete_flag(flag text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed constant ab.flag := ab_internal.locked_flag(ab_delete_flag.flag);
begin
    delete from ab.flag f where f.flag_id = changed.flag_id;
end
$$;

comment on function @extschema@.ab_delete_flag(text) is $$Deletes a flag; from then on it answers NULL.

Errors: flag_not_found (42704), in_use (55000) while something names it.

Example: SELECT ab_create_flag('short_lived'); SELECT ab_delete_flag('short_lived');$$;

create or replace function @extschema@.ab_flag(user_id text, flag text, context jsonb default '{}')
    returns jsonb
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_flag_wrapper';

comment on function @extschema@.ab_flag(text, text, jsonb) is $$The value of a flag for a user, or NULL when there is no such flag. Never raises; ab_flag_reason() says why.

Example: SELECT ab_flag('user_123', 'new_search', '{"country": "DE"}');$$;

create or replace function @extschema@.ab_flag_enabled(user_id text, flag text, context jsonb default '{}')
    returns boolean
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_flag_enabled_wrapper';

comment on function @extschema@.ab_flag_enabled(text, text, jsonb) is $$Whether a flag's value for a user is true; false when there is no such flag, or its value is anything else. A flag of kind json can be true too.

Example: SELECT ab_flag_enabled('user_123', 'new_search');$$;

create or replace function @extschema@.ab_flag_reason(user_id text, flag text, context jsonb default '{}')
    returns text
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_flag_reason_wrapper';

comment on function @extschema@.ab_flag_reason(text, text, jsonb) is $$Why ab_flag() answers as it does.

Example: SELECT ab_flag_reason('user_123', 'new_search');$$;
