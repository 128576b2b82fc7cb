-- Segments: named groups of users. Members come and go by function, by plain DML and by COPY; triggers count them and note
-- what changed for those who keep a copy.
create or replace function ab_internal.segment_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
        -- Counted as they come, also in a restore.
        new.members := 0;
    else
        if (new.segment_id, new.workspace_id, new.segment, new.kind) is distinct from (old.segment_id, old.workspace_id, old.segment, old.kind) then
            perform ab_internal.raise('immutable', format('segment "%s" cannot change its key or its kind', old.segment), 'create another segment');
        end if;
    end if;
    if new.rule is not null and (tg_op = 'INSERT' or new.rule is distinct from old.rule) then
        perform ab_internal.check_rule(format('rule of segment "%s"', new.segment), new.rule::text);
        if tg_op = 'UPDATE' then
            perform ab_internal.check_segments(new.workspace_id, format('rule of segment "%s"', new.segment), new.rule);
        end if;
    end if;
    return new;
end
$$;

comment on function ab_internal.segment_before() is 'completes a new segment and checks its rule';

-- Not security definer, and by the role that the very statement runs as: the session's role would be that of whoever
-- happens to call a function, or to analyse a table with an index on one, that somebody else wrote.
create or replace function ab_internal.segment_author()
    returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if new.kind = 'query' and (new.owner_role is null or (tg_op = 'UPDATE' and new.query is distinct from old.query and new.owner_role is not distinct from old.owner_role)) then
        new.owner_role := current_user;
    end if;
    -- The query will run with the owner's rights: only whoever has them, such as a restore, may write it down for somebody else.
    if new.owner_role is not null
        and (tg_op = 'INSERT' or new.owner_role is distinct from old.owner_role)
        and not (select r.rolsuper from pg_roles r where r.rolname = current_user)
        and not coalesce((select pg_has_role(current_user, r.oid, 'member') from pg_roles r where r.rolname = new.owner_role), false) then
        raise exception 'segment "%" cannot be owned by role "%"', new.segment, new.owner_role
            using errcode = 'insufficient_privilege', hint = 'leave owner_role out, or name a role that you are a member of';
    end if;
    return new;
end
$$;

comment on function ab_internal.segment_author() is 'keeps the query of a segment with whoever wrote it';

create or replace trigger segment_author
    before insert or update on ab.segment
    for each row
    execute function ab_internal.segment_author();

create or replace trigger segment_before
    before insert or update on ab.segment
    for each row
    execute function ab_internal.segment_before();

create or replace function ab_internal.segment_rules_changed()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.lock_configuration(c.workspace_id) from (select distinct n.workspace_id from new_row n where n.kind = 'rule' order by n.workspace_id) c;
    perform ab_internal.check_segment_cycle(c.workspace_id, c.keys)
    from (select n.workspace_id, array_agg(n.segment::text) as keys from new_row n where n.kind = 'rule' group by n.workspace_id) c;
    return null;
end
$$;

comment on function ab_internal.segment_rules_changed() is 'refuses segments that contain themselves';

create or replace trigger segment_rules_inserted
    after insert on ab.segment
    referencing new table as new_row
    for each statement
    execute function ab_internal.segment_rules_changed();

create or replace trigger segment_rules_updated
    after update on ab.segment
    referencing new table as new_row
    for each statement
    execute function ab_internal.segment_rules_changed();

create or replace function ab_internal.segment_gone()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    delete from ab.segment_member m where m.segment_id = old.segment_id;
    delete from ab_internal.segment_change c where c.segment_id = old.segment_id;
    return null;
end
$$;

comment on function ab_internal.segment_gone() is 'clears up after a deleted segment';

create or replace trigger segment_gone
    after delete on ab.segment
    for each row
    execute function ab_internal.segment_gone();

create or replace function ab_internal.count_members(segment_ids integer[], counts bigint[], adds boolean)
    returns table (segment_id integer, version bigint)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    change record;
    home record;
    is_many boolean;
begin
    for change in
        select c.segment_id, c.members
        from unnest(segment_ids, counts) c (segment_id, members)
        order by c.segment_id
    loop
        select s.segment, s.workspace_id, s.kind, s.revision into home from ab.segment s where s.segment_id = change.segment_id;
        if not found then
            -- Gone with the segment itself.
            continue when not adds;
            perform ab_internal.raise('segment_not_found', format('segment number %s does not exist', change.segment_id), 'list them with: select segment_id, segment from ab.segment');
        end if;
        if home.kind = 'rule' then
            perform ab_internal.raise('invalid_segment', format('segment "%s" goes by a rule and has no members', home.segment), 'create a segment without a rule');
        end if;
        perform ab_internal.lock_configuration(home.workspace_id);
        is_many := change.members > 10000
            -- Counting them for each single change would cost more than the change.
            or ((change.members > 100 or home.revision % 100 = 0)
                and (select count(*) from ab_internal.segment_change c where c.segment_id = change.segment_id) + change.members > 100000);
        if is_many then
            delete from ab_internal.segment_change c where c.segment_id = change.segment_id;
        end if;
        update ab.segment s
        set
            members = s.members + case when adds then change.members else - change.members end,
            revision = s.revision + 1,
            generation = s.generation + is_many::integer
        where s.segment_id = change.segment_id;
        if not is_many then
            return query
            select change.segment_id, c.version from ab_internal.config_version c where c.workspace_id = home.workspace_id;
        end if;
    end loop;
end
$$;

comment on function ab_internal.count_members(integer[], bigint[], boolean) is 'counts members that came or went, and returns the segments of which each change is to be noted, and under which version; where too many change, copies are made anew';

create or replace function ab_internal.segment_members_changed()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op in ('DELETE', 'UPDATE') then
        insert into ab_internal.segment_change (segment_id, version, user_id, is_member)
        select o.segment_id, noted.version, o.user_id, false
        from ab_internal.count_members(
            (select array_agg(distinct c.segment_id order by c.segment_id) from old_row c),
            (select array_agg(c.members order by c.segment_id) from (select g.segment_id, count(*) as members from old_row g group by g.segment_id) c),
            false) noted
        join old_row o using (segment_id)
        order by o.segment_id, o.user_id;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        insert into ab_internal.segment_change (segment_id, version, user_id, is_member)
        select n.segment_id, noted.version, n.user_id, true
        from ab_internal.count_members(
            (select array_agg(distinct c.segment_id order by c.segment_id) from new_row c),
            (select array_agg(c.members order by c.segment_id) from (select g.segment_id, count(*) as members from new_row g group by g.segment_id) c),
            true) noted
        join new_row n using (segment_id)
        order by n.segment_id, n.user_id;
    end if;
    return null;
end
$$;

comment on function ab_internal.segment_members_changed() is 'counts members and notes what changed';

create or replace function ab_internal.segment_members_truncated()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    delete from ab_internal.segment_change;
    update ab.segment s set members = 0, revision = s.revision + 1, generation = s.generation + 1 where s.members > 0;
    return null;
end
$$;

comment on function ab_internal.segment_members_truncated() is 'notes that nobody is a member of anything any more';

create or replace trigger segment_member_inserted
    after insert on ab.segment_member
    referencing new table as new_row
    for each statement
    execute function ab_internal.segment_members_changed();

create or replace trigger segment_member_updated
    after update on ab.segment_member
    referencing old table as old_row new table as new_row
    for each statement
    execute function ab_internal.segment_members_changed();

create or replace trigger segment_member_deleted
    after delete on ab.segment_member
    referencing old table as old_row
    for each statement
    execute function ab_internal.segment_members_changed();

create or replace trigger segment_member_truncated
    after truncate on ab.segment_member
    for each statement
    execute function ab_internal.segment_members_truncated();

-- Not security definer: who writes is the question. Those who may act as the owner of the table are refreshing, or
-- restoring.
create or replace function ab_internal.segment_members_author()
    returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
declare
    found_by_query text;
begin
    if pg_has_role(current_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'member') then
        return null;
    end if;
    select min(s.segment) into found_by_query
    from ab.segment s
    where s.kind = 'query'
        and s.segment_id in (select c.segment_id from changed c);
    if found_by_query is not null then
        raise exception 'members of segment "%" are found by its query', found_by_query
            using errcode = 'invalid_parameter_value', hint = 'change the query, or call ab_refresh_segment()', detail = 'code=invalid_segment';
    end if;
    return null;
end
$$;

comment on function ab_internal.segment_members_author() is 'refuses members of a query that its query did not find';

create or replace trigger segment_member_author_inserted
    after insert on ab.segment_member
    referencing new table as changed
    for each statement
    execute function ab_internal.segment_members_author();

create or replace trigger segment_member_author_updated
    after update on ab.segment_member
    referencing new table as changed
    for each statement
    execute function ab_internal.segment_members_author();

create or replace trigger segment_member_author_deleted
    after delete on ab.segment_member
    referencing old table as changed
    for each statement
    execute function ab_internal.segment_members_author();

create or replace function ab_internal.find_segment(segment text, workspace text default null)
    returns ab.segment
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted text := coalesce(find_segment.workspace, nullif(current_setting('ab.workspace', true), ''), 'default');
    result ab.segment;
begin
    select s.* into result
    from ab.segment s
    join ab.workspace w using (workspace_id)
    where w.workspace = wanted
        and s.segment = find_segment.segment;
    if result.segment_id is null then
        perform ab_internal.raise('segment_not_found', format('segment "%s" does not exist in workspace "%s"', coalesce(left(find_segment.segment, 64), 'NULL'), left(wanted, 64)),
            'list them with: select segment from ab.segment');
    end if;
    return result;
end
$$;

comment on function ab_internal.find_segment(text, text) is 'a segment of the named workspace, else of the session''s';

create or replace function ab_internal.segment_id(segment text)
    returns integer
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select (ab_internal.find_segment(segment_id.segment)).segment_id
$$;

comment on function ab_internal.segment_id(text) is 'id of a segment of the session''s workspace';

create or replace function ab_internal.list_segment(segment text)
    returns integer
    language plpgsql
    stable
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant ab.segment := ab_internal.find_segment(list_segment.segment);
begin
    if wanted.kind <> 'list' then
        perform ab_internal.raise('invalid_segment', format('segment "%s" is no list: its members are found by a %s', wanted.segment, wanted.kind), 'create a segment without rule and query');
    end if;
    return wanted.segment_id;
end
$$;

comment on function ab_internal.list_segment(text) is 'id of a segment whose members are written by hand';

create or replace function ab_internal.check_user_ids(user_ids text[])
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if check_user_ids.user_ids is null then
        perform ab_internal.raise('invalid_argument', 'the users are NULL', 'give an array of user ids');
    end if;
    if exists (select from unnest(check_user_ids.user_ids) u (user_id) where u.user_id is null or octet_length(u.user_id) not between 1 and 512) then
        perform ab_internal.raise('invalid_user_id', 'a user id is NULL, empty or too long', 'use 1 to 512 bytes');
    end if;
end
$$;

comment on function ab_internal.check_user_ids(text[]) is 'raises unless all of them can be users';

create or replace function ab_internal.check_new_segment(segment text, rule jsonb, query text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.check_key('segment', check_new_segment.segment);
    if check_new_segment.rule is not null and check_new_segment.query is not null then
        perform ab_internal.raise('invalid_segment', format('segment "%s" has both a rule and a query', check_new_segment.segment), 'give one of them, or none for a list');
    end if;
    if check_new_segment.segment = 'opted-out' and (check_new_segment.rule is not null or check_new_segment.query is not null) then
        perform ab_internal.raise('invalid_segment', 'segment "opted-out" is the list of ab_opt_out()', 'choose another key');
    end if;
    if exists (select from ab.segment s where s.workspace_id = ab_internal.workspace_id() and s.segment = check_new_segment.segment) then
        perform ab_internal.raise('segment_exists', format('segment "%s" exists already', check_new_segment.segment), 'choose another key');
    end if;
end
$$;

comment on function ab_internal.check_new_segment(text, jsonb, text) is 'raises unless a segment can be made of that';

create or replace function ab_internal.complete_segment(segment text, rule jsonb, user_ids text[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    made constant ab.segment := ab_internal.find_segment(complete_segment.segment);
begin
    if complete_segment.rule is not null then
        perform ab_internal.check_segments(made.workspace_id, format('rule of segment "%s"', made.segment), complete_segment.rule);
    end if;
    if made.kind = 'query' and made.refreshed_at is null then
        insert into ab.segment_member (segment_id, user_id)
        select made.segment_id, u.user_id
        from unnest(complete_segment.user_ids) u (user_id)
        order by u.user_id
        on conflict do nothing;
        update ab.segment s set refreshed_at = clock_timestamp() where s.segment_id = made.segment_id;
    end if;
end
$$;

comment on function ab_internal.complete_segment(text, jsonb, text[]) is 'checks what a new segment names, and gives one by query those whom its query found';

-- Not security definer, so that a query is run, and kept, with the rights of whoever wrote it and of nobody else.
create or replace function @extschema@.ab_create_segment(segment text, rule jsonb default null, query text default null, description text default null)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    found_users text[];
begin
    perform ab_internal.check_new_segment(ab_create_segment.segment, ab_create_segment.rule, ab_create_segment.query);
    if ab_create_segment.query is not null then
        -- Before anybody has to wait for this change of the configuration: a query can take its time.
        found_users := array(select distinct q.user_id from ab_internal.query_as_caller(ab_create_segment.query) q (user_id));
    end if;
    insert into ab.segment (segment, kind, rule, query, description)
    values (
        ab_create_segment.segment, case when ab_create_segment.rule is not null then 'rule' when ab_create_segment.query is not null then 'query' else 'list' end,
        ab_create_segment.rule, ab_create_segment.query, ab_create_segment.description);
    perform ab_internal.complete_segment(ab_create_segment.segment, ab_create_segment.rule, found_users);
    return ab_create_segment.segment;
exception
    -- Somebody else has just made one of that name.
    when unique_violation then
        perform ab_internal.check_new_segment(ab_create_segment.segment, ab_create_segment.rule, ab_create_segment.query);
        raise;
end
$$;

comment on function @extschema@.ab_create_segment(text, jsonb, text, text) is $$Creates a segment of users, for rules to name, and returns its key.

rule: whoever it holds for. query: whoever it returns, as its only column, when ab_refresh_segment() runs it, and now; it runs with your rights, whoever asks, with no search path, so tables need their schema, and may only read. Neither: a list, filled by ab_add_members() or plain INSERT and COPY into ab.segment_member.
Errors: invalid_key, invalid_segment, invalid_rule, invalid_query, segment_cycle (22023), segment_exists (23505), segment_not_found (42704).

Example: SELECT ab_create_segment('beta_testers');$$;

create or replace function @extschema@.ab_add_members(segment text, user_ids text[])
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant integer := ab_internal.list_segment(ab_add_members.segment);
    added bigint;
begin
    perform ab_internal.check_user_ids(ab_add_members.user_ids);
    -- Before the rows, as every function does, so that changes wait in a row; DML of many members locks at its end.
    perform ab_internal.lock_configuration(s.workspace_id) from ab.segment s where s.segment_id = wanted;
    insert into ab.segment_member (segment_id, user_id)
    select distinct wanted, u.user_id
    from unnest(ab_add_members.user_ids) u (user_id)
    order by u.user_id
    on conflict do nothing;
    get diagnostics added = row_count;
    return added;
end
$$;

comment on function @extschema@.ab_add_members(text, text[]) is $$Adds users to a list and returns how many were not in it. Millions are loaded by COPY or INSERT … SELECT into ab.segment_member.

Errors: invalid_segment, invalid_user_id, invalid_argument (22023), segment_not_found (42704).

Example: SELECT ab_create_segment('friends'); SELECT ab_add_members('friends', '{ann,bob}');$$;

create or replace function @extschema@.ab_remove_members(segment text, user_ids text[])
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant integer := ab_internal.list_segment(ab_remove_members.segment);
    removed bigint;
begin
    perform ab_internal.check_user_ids(ab_remove_members.user_ids);
    -- Before the rows, as every function does, so that changes wait in a row; DML of many members locks at its end.
    perform ab_internal.lock_configuration(s.workspace_id) from ab.segment s where s.segment_id = wanted;
    delete from ab.segment_member m
    where m.segment_id = wanted
        and m.user_id = any (ab_remove_members.user_ids);
    get diagnostics removed = row_count;
    return removed;
end
$$;

comment on function @extschema@.ab_remove_members(text, text[]) is $$Takes users out of a list and returns how many were in it.

Errors: invalid_segment, invalid_user_id, invalid_argument (22023), segment_not_found (42704).

Example: SELECT ab_create_segment('guests'); SELECT ab_add_members('guests', '{cat,dan}'); SELECT ab_remove_members('guests', '{dan}');$$;

create or replace function ab_internal.refresh_segment(segment text)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    set enable_nestloop = off
    set jit = off
    set client_min_messages = warning
    as $$
declare
    wanted ab.segment := ab_internal.find_segment(refresh_segment.segment);
begin
    if wanted.kind <> 'query' then
        perform ab_internal.raise('invalid_segment', format('segment "%s" has no query to refresh it by', wanted.segment), 'a rule needs no refreshing, and a list is written by hand');
    end if;
    -- A table that somebody else made under our name could carry triggers that would run with our rights.
    drop table if exists pg_temp.ab_segment_found cascade;
    create temporary table ab_segment_found on commit drop as
    select distinct q.user_id
    from ab_internal.segment_query(wanted.query, wanted.owner_role::text) q (user_id);
    analyze pg_temp.ab_segment_found;
    -- The query has run before anybody has to wait.
    perform ab_internal.lock_configuration(wanted.workspace_id);
    delete from ab.segment_member m
    where m.segment_id = wanted.segment_id
        and not exists (select from pg_temp.ab_segment_found f where f.user_id = m.user_id);
    insert into ab.segment_member (segment_id, user_id)
    select wanted.segment_id, f.user_id
    from pg_temp.ab_segment_found f
    where not exists (select from ab.segment_member m where m.segment_id = wanted.segment_id and m.user_id = f.user_id)
    order by f.user_id
    on conflict do nothing;
    update ab.segment s set refreshed_at = clock_timestamp() where s.segment_id = wanted.segment_id;
    drop table pg_temp.ab_segment_found;
    return (select s.members from ab.segment s where s.segment_id = wanted.segment_id);
end
$$;

comment on function ab_internal.refresh_segment(text) is 'makes those the members of a segment that its query finds now';

create or replace function @extschema@.ab_refresh_segment(segment text)
    returns bigint
    language sql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select ab_internal.refresh_segment(ab_refresh_segment.segment)
$$;

comment on function @extschema@.ab_refresh_segment(text) is $$Runs the query of a segment and makes those its members that it finds now; returns how many they are.

It reads what the role may read that wrote the query, and nothing it does can change anything. NULL is left out; anything else that cannot be a user id is refused.
Errors: invalid_segment, invalid_query (22023), segment_not_found (42704).

Example: SELECT ab_create_segment('odd', query => 'select n::text from generate_series(1, 9, 2) n'); SELECT ab_refresh_segment('odd');$$;

create or replace function @extschema@.ab_opt_out(user_id text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    workspace constant integer := ab_internal.workspace_id();
begin
    perform ab_internal.check_user_ids(array[ab_opt_out.user_id]);
    perform ab_internal.lock_configuration(workspace);
    if not exists (select from ab.segment s where s.workspace_id = workspace and s.segment = 'opted-out') then
        insert into ab.segment (workspace_id, segment, kind, description)
        values (workspace, 'opted-out', 'list', 'users who take part in nothing');
    end if;
    perform @extschema@.ab_add_members('opted-out', array[ab_opt_out.user_id]);
end
$$;

comment on function @extschema@.ab_opt_out(text) is $$Takes a user out of every experiment of the workspace, from the next statement on; they are in the segment "opted-out".

Errors: invalid_user_id (22023), workspace_not_found (42704).

Example: SELECT ab_opt_out('user_999');$$;

create or replace function @extschema@.ab_opt_in(user_id text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.check_user_ids(array[ab_opt_in.user_id]);
    perform ab_internal.lock_configuration(w.workspace_id)
    from ab.workspace w
    where w.workspace = coalesce(nullif(current_setting('ab.workspace', true), ''), 'default');
    delete from ab.segment_member m
    using ab.segment s
    join ab.workspace w using (workspace_id)
    where m.segment_id = s.segment_id
        and w.workspace = coalesce(nullif(current_setting('ab.workspace', true), ''), 'default')
        and s.segment = 'opted-out'
        and m.user_id = ab_opt_in.user_id;
end
$$;

comment on function @extschema@.ab_opt_in(text) is $$Takes back what ab_opt_out() did; nothing happens to a user who had not opted out.

Errors: invalid_user_id (22023).

Example: SELECT ab_opt_in('user_999');$$;

create or replace function @extschema@.ab_segment_members(segment text, workspace text default null)
    returns setof text
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant ab.segment := ab_internal.find_segment(ab_segment_members.segment, ab_segment_members.workspace);
begin
    return query
    select m.user_id
    from ab.segment_member m
    where m.segment_id = wanted.segment_id;
end
$$;

comment on function @extschema@.ab_segment_members(text, text) is $$The users in a list, or those a segment's query found; none for a segment that goes by a rule.

Errors: segment_not_found (42704).

Example: SELECT ab_create_segment('crew'); SELECT count(*) FROM ab_segment_members('crew');$$;

create or replace function @extschema@.ab_segment_changes(segment text, since bigint, workspace text default null)
    returns table (user_id text, is_member boolean)
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted constant ab.segment := ab_internal.find_segment(ab_segment_changes.segment, ab_segment_changes.workspace);
begin
    return query
    select c.user_id, c.is_member
    from ab_internal.segment_change c
    where c.segment_id = wanted.segment_id
        and c.version > ab_segment_changes.since
    order by c.change_id;
end
$$;

comment on function @extschema@.ab_segment_changes(text, bigint, text) is $$Who came into a segment and who left it after a version of the configuration, in the order it happened.

Complete as long as the generation in the segment's document is the same; when it has risen, read ab_segment_members() anew.
Errors: segment_not_found (42704).

Example: SELECT ab_create_segment('staff'); SELECT ab_add_members('staff', '{eve}'); SELECT * FROM ab_segment_changes('staff', 0);$$;

create or replace function @extschema@.ab_first_variants(user_ids text[], experiments text[], workspace text default null)
    returns table (user_id text, experiment text, variant text)
    language sql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select a.user_id, a.experiment, s.variant
    from unnest(user_ids, experiments) a (user_id, experiment)
    join ab.workspace w on w.workspace = coalesce(ab_first_variants.workspace, nullif(current_setting('ab.workspace', true), ''), 'default')
    join ab.experiment x on x.workspace_id = w.workspace_id and x.experiment = a.experiment
    cross join lateral (
        select f.variant
        from ab.sticky_assignment f
        where f.experiment_id = x.experiment_id
            and f.user_id = a.user_id
        -- One probe of the index for each pair, however many rows the planner expects.
        limit 1
    ) s
$$;

comment on function @extschema@.ab_first_variants(text[], text[], text) is $$The variants that users of sticky experiments keep, one row for each pair of the parallel arrays that has one.

Example: SELECT * FROM ab_first_variants('{user_123}', '{checkout_button}');$$;
