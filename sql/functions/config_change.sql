-- How a change of configuration reaches those who hold a copy. Whatever a statement changes is published as documents
-- in ab.configuration; backends hear of it by relation cache invalidation, gateways by NOTIFY. Both leave with the commit
-- of the change, so nobody can hear of a configuration that is not there yet.
create or replace function ab_internal.lock_configuration(workspace_id integer)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform from ab_internal.config_version c where c.workspace_id = lock_configuration.workspace_id for no key update;
    if not found then
        insert into ab_internal.config_version (workspace_id, version, changed_in)
        values (
            lock_configuration.workspace_id,
            greatest(
                (extract(epoch from clock_timestamp()) * 1000)::bigint,
                (select max(c.version) from ab.configuration c where c.workspace_id = lock_configuration.workspace_id)
            ),
            '0')
        on conflict do nothing;
        perform from ab_internal.config_version c where c.workspace_id = lock_configuration.workspace_id for no key update;
    end if;
end
$$;

comment on function ab_internal.lock_configuration(integer) is 'makes whoever changes the configuration of a workspace wait for whoever else does; taken before any other lock, so that they wait in a row and never in a circle';

-- Before the rows: plain DML would otherwise hold a row that a management function waits for, and wait for that function.
create or replace function ab_internal.config_changes()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.lock_configuration(w.workspace_id)
    from ab.workspace w
    where w.workspace = coalesce(nullif(current_setting('ab.workspace', true), ''), 'default');
    return null;
end
$$;

comment on function ab_internal.config_changes() is 'takes the lock of the session''s workspace before its configuration changes';

create or replace function ab_internal.raise_config_version(workspace_id integer)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    raised bigint;
begin
    perform ab_internal.lock_configuration(raise_config_version.workspace_id);
    update ab_internal.config_version c
    set version = c.version + 1, changed_in = pg_current_xact_id()
    where c.workspace_id = raise_config_version.workspace_id
        and c.changed_in <> pg_current_xact_id()
    returning c.version into raised;
    if raised is null then
        return (select c.version from ab_internal.config_version c where c.workspace_id = raise_config_version.workspace_id);
    end if;
    perform pg_notify('ab_config', format('%s:%s', w.workspace, raised))
    from ab.workspace w
    where w.workspace_id = raise_config_version.workspace_id;
    return raised;
end
$$;

comment on function ab_internal.raise_config_version(integer) is 'the version that this transaction gives the workspace''s configuration, raised by its first change, which also tells gateways';

create or replace function ab_internal.publish(workspace_id integer, kind text, keys text[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    changed_keys text[];
    changed_documents jsonb[];
    published bigint;
begin
    -- First the lock, and then, in another statement, the documents: they hold what others committed before.
    perform ab_internal.lock_configuration(publish.workspace_id);
    -- Gone with its rows.
    if not exists (select from ab.workspace w where w.workspace_id = publish.workspace_id) then
        perform ab_internal.signal_config_change();
        return;
    end if;
    case publish.kind
        when 'experiment' then
            select array_agg(k.key), array_agg(d.document) into changed_keys, changed_documents
            from unnest(publish.keys) k (key)
            left join ab_internal.experiment_documents(publish.workspace_id, publish.keys) d on d.key = k.key
            where d.document is distinct from ab_internal.published_document(publish.workspace_id, publish.kind, k.key);
        when 'flag' then
            select array_agg(k.key), array_agg(d.document) into changed_keys, changed_documents
            from unnest(publish.keys) k (key)
            left join ab_internal.flag_documents(publish.workspace_id, publish.keys) d on d.key = k.key
            where d.document is distinct from ab_internal.published_document(publish.workspace_id, publish.kind, k.key);
        when 'segment' then
            select array_agg(k.key), array_agg(d.document) into changed_keys, changed_documents
            from unnest(publish.keys) k (key)
            left join ab_internal.segment_documents(publish.workspace_id, publish.keys) d on d.key = k.key
            where d.document is distinct from ab_internal.published_document(publish.workspace_id, publish.kind, k.key);
        when 'workspace' then
            select array_agg(d.key), array_agg(d.document) into changed_keys, changed_documents
            from ab_internal.workspace_document(publish.workspace_id) d
            where d.document is distinct from ab_internal.published_document(publish.workspace_id, publish.kind, d.key);
    end case;
    if changed_keys is null then
        return;
    end if;
    published := ab_internal.raise_config_version(publish.workspace_id);
    insert into ab.configuration (workspace_id, kind, key, version, document)
    select publish.workspace_id, publish.kind, c.key, published, c.document
    from unnest(changed_keys, changed_documents) c (key, document)
    on conflict on constraint configuration_pkey do update
        set document = excluded.document, changed_at = excluded.changed_at;
    perform ab_internal.signal_config_change();
end
$$;

comment on function ab_internal.publish(integer, text, text[]) is 'stores the documents of these keys as they are now, where they differ from what was published last; a document of what is gone is null';

create or replace function ab_internal.published_document(workspace_id integer, kind text, key text)
    returns jsonb
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    return (
        select c.document
        from ab.configuration c
        where c.workspace_id = published_document.workspace_id
            and c.kind = published_document.kind
            and c.key = published_document.key
        order by c.version desc
        limit 1
    );
end
$$;

comment on function ab_internal.published_document(integer, text, text) is 'what was published last; null when nothing was, or its end';

-- Its own plan, which reaches every row by an index: the tables grow within the transaction that fills them, and a plan
-- made while they were empty would read them whole for each experiment.
create or replace function ab_internal.experiment_documents(workspace_id integer, keys text[])
    returns table (key text, document jsonb)
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set jit = off
    as $$
#variable_conflict use_column
begin
    return query
    select
        x.experiment::text,
        jsonb_build_object(
            'id', x.experiment_id,
            'workspace', w.workspace,
            'key', x.experiment,
            'kind', x.kind,
            'salt', x.salt,
            'status', x.status,
            'traffic', (x.traffic * 10000)::integer,
            'variants', coalesce(arms.variants, '[]'),
            'ranges', coalesce(allocation.ranges, '[]')
        )
        || case when x.name is null then '{}' else jsonb_build_object('name', x.name) end
        || case when x.unit is null then '{}' else jsonb_build_object('unit', x.unit) end
        -- Dates can lie beyond the last microsecond that 64 bits can count from 1970.
        || case when x.starts_at is null then '{}' else jsonb_build_object('starts_at', least(extract(epoch from x.starts_at) * 1000000, 9223372036854775807)::bigint) end
        || case when x.ends_at is null then '{}' else jsonb_build_object('ends_at', least(extract(epoch from x.ends_at) * 1000000, 9223372036854775807)::bigint) end
        || case when x.schedule = '[]' then '{}' else jsonb_build_object('schedule', x.schedule) end
        || case when x.targeting is null then '{}' else jsonb_build_object('targeting', x.targeting) end
        || case when x.prerequisites = '[]' then '{}' else jsonb_build_object('prerequisites', x.prerequisites) end
        || case when forced.overrides is null then '{}' else jsonb_build_object('overrides', forced.overrides) end
        || case when place.layer is null then '{}' else jsonb_build_object('layer', place.layer) end
        || case when bound.holdouts is null then '{}' else jsonb_build_object('holdouts', bound.holdouts) end
        || case
            when not x.is_sticky then '{}'
            else jsonb_build_object('sticky', jsonb_build_object(
                'contested', coalesce(history.contested, '[]'),
                'traffic', (x.widest_traffic * 10000)::integer
            ) || case when x.has_foreign_assignments then jsonb_build_object('foreign', true) else '{}' end)
        end
        || case when x.dimensions = '{}' then '{}' else jsonb_build_object('dimensions', x.dimensions) end
        || case when x.shipped_variant is null then '{}' else jsonb_build_object('shipped', array_position(arms.keys, x.shipped_variant::text) - 1) end
    from ab.workspace w
    cross join unnest(keys) k (key)
    cross join lateral (select e.* from ab.experiment e where e.workspace_id = w.workspace_id and e.experiment = k.key offset 0) x
    cross join lateral (
        select
            jsonb_agg(
                jsonb_build_object('key', v.variant)
                || case when v.name is null then '{}' else jsonb_build_object('name', v.name) end
                || case when v.config is null then '{}' else jsonb_build_object('config', v.config) end
                order by v.variant_id
            ) as variants,
            array_agg(v.variant::text order by v.variant_id) as keys
        from ab.variant v
        where v.experiment_id = x.experiment_id
    ) arms
    cross join lateral (
        select jsonb_agg(jsonb_build_object('from', r.from_bucket, 'to', r.to_bucket, 'variant', array_position(arms.keys, r.variant::text) - 1) order by r.from_bucket) as ranges
        from ab.variant_range r
        where r.experiment_id = x.experiment_id
            and r.phase = (select max(p.phase) from ab.phase p where p.experiment_id = x.experiment_id)
    ) allocation
    cross join lateral (
        select jsonb_agg(
            case when o.user_id is null then jsonb_build_object('segment', s.segment) else jsonb_build_object('user_id', o.user_id) end
            || jsonb_build_object('variant', array_position(arms.keys, o.variant::text) - 1)
            order by o.user_id is null, o.override_id
        ) as overrides
        from ab.override o
        left join ab.segment s on s.segment_id = o.segment_id
        where o.experiment_id = x.experiment_id
    ) forced
    cross join lateral (
        select case when count(*) > 0 then jsonb_build_object('key', min(l.layer::text), 'salt', min(l.salt::text), 'slices',
            (select jsonb_agg(jsonb_build_array(lower(u.slice), upper(u.slice)) order by u.slice) from unnest(range_agg(int4range(s.from_bucket, s.to_bucket))) u (slice)))
        end as layer
        from ab.layer_slice s
        join ab.layer l on l.layer_id = s.layer_id
        where s.experiment_id = x.experiment_id
    ) place
    cross join lateral (
        select jsonb_agg(h.experiment order by h.layer_id is not null, h.experiment_id) as holdouts
        from ab.holdout_experiment b
        join ab.experiment h on h.experiment_id = b.holdout_id
        where b.experiment_id = x.experiment_id
    ) bound
    cross join lateral (
        select (select jsonb_agg(jsonb_build_array(lower(u.moved), upper(u.moved)) order by u.moved) from unnest(range_agg(p.moved)) u (moved)) as contested
        from ab.phase p
        where x.is_sticky
            and p.experiment_id = x.experiment_id
    ) history
    where w.workspace_id = experiment_documents.workspace_id;
end
$$;

comment on function ab_internal.experiment_documents(integer, text[]) is 'those experiments as core/src/document.rs reads them';

create or replace function ab_internal.flag_documents(workspace_id integer, keys text[])
    returns table (key text, document jsonb)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select
        f.flag::text,
        jsonb_build_object(
            'workspace', w.workspace,
            'key', f.flag,
            'kind', f.kind,
            'salt', f.salt,
            'default', f.default_value,
            'off', f.off_value,
            'rules', f.rules,
            'layouts', f.layouts
        )
        || case when f.unit is null then '{}' else jsonb_build_object('unit', f.unit) end
        || case when f.is_killed then jsonb_build_object('killed', true) else '{}' end
        || case when f.prerequisites = '[]' then '{}' else jsonb_build_object('prerequisites', f.prerequisites) end
    from ab.flag f
    join ab.workspace w on w.workspace_id = f.workspace_id
    where f.workspace_id = flag_documents.workspace_id
        and f.flag = any (flag_documents.keys)
$$;

comment on function ab_internal.flag_documents(integer, text[]) is 'those flags as core/src/document.rs reads them';

create or replace function ab_internal.segment_documents(workspace_id integer, keys text[])
    returns table (key text, document jsonb)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select
        s.segment::text,
        jsonb_build_object('id', s.segment_id, 'workspace', w.workspace, 'key', s.segment, 'kind', s.kind)
        || case when s.kind = 'rule' then jsonb_build_object('rule', s.rule) else jsonb_build_object('generation', s.generation, 'revision', s.revision) end
    from ab.segment s
    join ab.workspace w on w.workspace_id = s.workspace_id
    where s.workspace_id = segment_documents.workspace_id
        and s.segment = any (segment_documents.keys)
$$;

comment on function ab_internal.segment_documents(integer, text[]) is 'those segments as core/src/document.rs reads them';

create or replace function ab_internal.workspace_document(workspace_id integer)
    returns table (key text, document jsonb)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select
        w.workspace::text,
        jsonb_build_object('workspace', w.workspace)
        || case when w.excludes_bots then jsonb_build_object('excludes_bots', true) else '{}' end
        || case when w.excluded is null then '{}' else jsonb_build_object('excluded', w.excluded) end
        || case
            when exists (select from ab.segment s where s.workspace_id = w.workspace_id and s.segment = 'opted-out' and s.kind = 'list') then jsonb_build_object('opt_outs', true)
            else '{}'
        end
    from ab.workspace w
    where w.workspace_id = workspace_document.workspace_id
$$;

comment on function ab_internal.workspace_document(integer) is 'what holds for everything in a workspace, as core/src/document.rs reads it';

create or replace function ab_internal.config_changed()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'TRUNCATE' then
        perform ab_internal.publish_all();
    elsif tg_table_name = 'workspace' then
        perform ab_internal.publish(c.workspace_id, 'workspace', null)
        from (select distinct workspace_id from changed order by workspace_id) c;
    elsif tg_table_name = 'experiment' then
        perform ab_internal.publish(c.workspace_id, 'experiment', c.keys)
        from (select workspace_id, array_agg(distinct experiment::text) as keys from changed group by workspace_id order by workspace_id) c;
    elsif tg_table_name = 'flag' then
        perform ab_internal.publish(c.workspace_id, 'flag', c.keys)
        from (select workspace_id, array_agg(distinct flag::text) as keys from changed group by workspace_id order by workspace_id) c;
    elsif tg_table_name = 'segment' then
        perform
            ab_internal.publish(c.workspace_id, 'segment', c.keys),
            case when 'opted-out' = any (c.keys) then ab_internal.publish(c.workspace_id, 'workspace', null) end
        from (select workspace_id, array_agg(distinct segment::text) as keys from changed group by workspace_id order by workspace_id) c;
    elsif tg_table_name = 'layer' then
        perform ab_internal.publish(c.workspace_id, 'experiment', c.keys)
        from (
            select x.workspace_id, array_agg(distinct x.experiment::text) as keys
            from changed
            join ab.layer_slice s using (layer_id)
            join ab.experiment x on x.experiment_id = s.experiment_id
            group by x.workspace_id
            order by x.workspace_id
        ) c;
    else
        perform ab_internal.publish(c.workspace_id, 'experiment', c.keys)
        from (
            select x.workspace_id, array_agg(x.experiment::text) as keys
            from (select distinct experiment_id from changed) d
            join ab.experiment x using (experiment_id)
            group by x.workspace_id
            order by x.workspace_id
        ) c;
    end if;
    return null;
end
$$;

comment on function ab_internal.config_changed() is 'publishes what a statement has changed';

create or replace function ab_internal.publish_all()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- Also what was published and is gone.
    perform ab_internal.publish(k.workspace_id, k.kind, k.keys)
    from (
        select p.workspace_id, p.kind, array_agg(distinct p.key) as keys
        from (
            select c.workspace_id, c.kind, c.key::text from ab.configuration c
            union all
            select x.workspace_id, 'experiment', x.experiment from ab.experiment x
            union all
            select f.workspace_id, 'flag', f.flag from ab.flag f
            union all
            select s.workspace_id, 'segment', s.segment from ab.segment s
            union all
            select w.workspace_id, 'workspace', w.workspace from ab.workspace w
        ) p (workspace_id, kind, key)
        group by p.workspace_id, p.kind
        order by p.workspace_id, p.kind
    ) k;
end
$$;

comment on function ab_internal.publish_all() is 'publishes whatever differs from what was published last';

-- Always enabled: logical replication and some restores switch ordinary triggers off. A new row of ab.phase says nothing
-- before it has ranges, and these publish it.
do $$
declare
    member text;
    operation record;
begin
    foreach member in array array[
        'workspace', 'layer', 'layer_slice', 'experiment', 'variant', 'phase', 'variant_range', 'holdout_experiment', 'override', 'segment', 'flag'
    ] loop
        execute format('create or replace trigger %1$s_changes before insert or update or delete or truncate on ab.%1$s for each statement execute function ab_internal.config_changes()', member);
        execute format('alter table ab.%1$s enable always trigger %1$s_changes', member);
        for operation in
            select *
            from (
                values
                    ('insert', 'inserted', 'referencing new table as changed'),
                    ('update', 'updated', 'referencing new table as changed'),
                    ('delete', 'deleted', 'referencing old table as changed'),
                    ('truncate', 'truncated', '')
            ) o (event, done, changed)
            where (member, o.event) <> ('phase', 'insert')
        loop
            execute format('create or replace trigger %1$s_%3$s after %2$s on ab.%1$s %4$s for each statement execute function ab_internal.config_changed()',
                member, operation.event, operation.done, operation.changed);
            execute format('alter table ab.%1$s enable always trigger %1$s_%2$s', member, operation.done);
        end loop;
    end loop;
end
$$;

-- What the library asks when it loads something (extension/src/configuration.rs): text in, text out.
create or replace function ab_internal.document_as_of(workspace text, kind text, key text, at text)
    returns text
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select c.document::text
    from ab.workspace w
    cross join lateral (
        select p.document
        from ab.configuration p
        where p.workspace_id = w.workspace_id
            and p.kind = document_as_of.kind
            and p.key = document_as_of.key
            and p.changed_at <= timestamptz 'epoch' + document_as_of.at::bigint * interval '1 microsecond'
        order by p.version desc
        limit 1
    ) c
    where w.workspace = document_as_of.workspace
$$;

comment on function ab_internal.document_as_of(text, text, text, text) is 'the state of one thing at that time, in microseconds since 1970; null when there was none';

create or replace function ab_internal.current_configuration(workspace_id integer, up_to bigint default null)
    returns table (version bigint, kind text, key text, document jsonb)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    -- By the names of what there is: the history may be a thousand times as long.
    select c.version, k.kind, k.key, c.document
    from (
        select 'workspace' as kind, w.workspace::text as key from ab.workspace w where w.workspace_id = current_configuration.workspace_id
        union all
        select 'experiment', x.experiment from ab.experiment x where x.workspace_id = current_configuration.workspace_id
        union all
        select 'flag', f.flag from ab.flag f where f.workspace_id = current_configuration.workspace_id
        union all
        select 'segment', s.segment from ab.segment s where s.workspace_id = current_configuration.workspace_id
    ) k
    cross join lateral (
        select p.version, p.document
        from ab.configuration p
        where p.workspace_id = current_configuration.workspace_id
            and p.kind = k.kind
            and p.key = k.key
            and p.version <= coalesce(current_configuration.up_to, 9223372036854775807)
        order by p.version desc
        limit 1
    ) c
    where c.document is not null
$$;

comment on function ab_internal.current_configuration(integer, bigint) is 'the state of everything that is in a workspace, now or as it was at a version';

create or replace function ab_internal.documents(workspace_id integer, kind text, version bigint)
    returns text
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select coalesce(jsonb_agg(c.document)::text, '[]')
    from ab_internal.current_configuration(documents.workspace_id, documents.version) c
    where c.kind = documents.kind
$$;

comment on function ab_internal.documents(integer, text, bigint) is 'a JSON array of the states that everything of a kind had at a version';

create or replace function @extschema@.ab_config_version(workspace text default null)
    returns bigint
    language sql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select c.version
    from ab_internal.config_version c
    join ab.workspace w using (workspace_id)
    where w.workspace = coalesce(ab_config_version.workspace, nullif(current_setting('ab.workspace', true), ''), 'default')
$$;

comment on function @extschema@.ab_config_version(text) is $$Version of a workspace's configuration, the session's unless named; NULL before anything was configured.

It rises with every transaction that changes the configuration, also across dump and restore.

Example: SELECT ab_config_version();$$;

create or replace function @extschema@.ab_config_changes(since bigint default null, workspace text default null)
    returns table (version bigint, kind text, key text, document jsonb)
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    wanted integer;
begin
    select w.workspace_id into wanted
    from ab.workspace w
    where w.workspace = coalesce(ab_config_changes.workspace, nullif(current_setting('ab.workspace', true), ''), 'default');
    if since is null then
        return query
        select c.version, c.kind, c.key, c.document from ab_internal.current_configuration(wanted) c;
    else
        return query
        select distinct on (c.kind, c.key) c.version, c.kind, c.key::text, c.document
        from ab.configuration c
        where c.workspace_id = wanted
            and c.version > since
        order by c.kind, c.key, c.version desc;
    end if;
end
$$;

comment on function @extschema@.ab_config_changes(bigint, text) is $$The current state of everything in a workspace, the session's unless named, or of what has changed after a version of its configuration; a document that is NULL says that something was deleted.

kind: workspace, experiment, flag or segment. The documents are what the engine decides by.

Example: SELECT version, kind, key FROM ab_config_changes(0);$$;
