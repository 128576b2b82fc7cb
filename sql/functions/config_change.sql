-- How a change of configuration reaches those who hold a copy: backends by relation cache invalidation, gateways by
-- NOTIFY. Both leave with the commit of the change, so nobody can hear of a configuration that is not there yet.
create or replace function ab_internal.publish_config_change(workspace_id integer)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    published record;
begin
    insert into ab_internal.config_version as c (workspace_id, version, changed_in)
    values (publish_config_change.workspace_id, (extract(epoch from clock_timestamp()) * 1000)::bigint, pg_current_xact_id())
    on conflict on constraint config_version_pkey do update
        set version = c.version + 1, changed_in = excluded.changed_in
        where c.changed_in <> excluded.changed_in
    returning c.version into published;
    if found then
        perform pg_notify('ab_config', format('%s:%s', w.workspace, published.version))
        from ab.workspace w
        where w.workspace_id = publish_config_change.workspace_id;
    end if;
end
$$;

comment on function ab_internal.publish_config_change(integer) is 'raises the version of a workspace once in a transaction and tells gateways';

create or replace function ab_internal.config_changed()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.signal_config_change();
    if tg_op = 'TRUNCATE' then
        perform ab_internal.publish_config_change(w.workspace_id) from ab.workspace w;
    elsif tg_table_name in ('workspace', 'experiment') then
        perform ab_internal.publish_config_change(c.workspace_id)
        from (select distinct workspace_id from changed order by workspace_id) c;
    else
        perform ab_internal.publish_config_change(c.workspace_id)
        from (select distinct x.workspace_id from changed join ab.experiment x using (experiment_id) order by x.workspace_id) c;
    end if;
    return null;
end
$$;

comment on function ab_internal.config_changed() is 'sends the signals of a configuration change';

-- Always enabled: logical replication and some restores switch ordinary triggers off.
do $$
declare
    member text;
begin
    foreach member in array array['workspace', 'experiment', 'variant', 'phase', 'variant_range'] loop
        execute format('create or replace trigger %1$s_inserted after insert on ab.%1$s referencing new table as changed for each statement execute function ab_internal.config_changed()', member);
        execute format('create or replace trigger %1$s_updated after update on ab.%1$s referencing new table as changed for each statement execute function ab_internal.config_changed()', member);
        execute format('create or replace trigger %1$s_deleted after delete on ab.%1$s referencing old table as changed for each statement execute function ab_internal.config_changed()', member);
        execute format('create or replace trigger %1$s_truncated after truncate on ab.%1$s for each statement execute function ab_internal.config_changed()', member);
        execute format('alter table ab.%1$s enable always trigger %1$s_inserted, enable always trigger %1$s_updated, enable always trigger %1$s_deleted, enable always trigger %1$s_truncated', member);
    end loop;
end
$$;

create or replace function ab_internal.experiment_documents(only_workspace text default null, only_experiment text default null)
    returns table (workspace text, document jsonb)
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    -- One text serves one experiment and all of them: only a plan for the arguments at hand uses the index for one.
    set plan_cache_mode = force_custom_plan
    as $$
#variable_conflict use_column
begin
    return query
    select
        w.workspace::text,
        jsonb_build_object(
            'workspace', w.workspace,
            'key', x.experiment,
            'name', x.name,
            'salt', x.salt,
            'status', x.status,
            -- Dates can lie beyond the last microsecond that 64 bits can count from 1970.
            'starts_at', case when x.starts_at is not null then least(extract(epoch from x.starts_at) * 1000000, 9223372036854775807)::bigint end,
            'ends_at', case when x.ends_at is not null then least(extract(epoch from x.ends_at) * 1000000, 9223372036854775807)::bigint end,
            'traffic', (x.traffic * 10000)::integer,
            'variants', coalesce(arms.variants, '[]'),
            'ranges', coalesce(allocation.ranges, '[]')
        )
    from ab.workspace w
    join ab.experiment x using (workspace_id)
    cross join lateral (
        select jsonb_agg(jsonb_build_object('key', v.variant, 'name', v.name, 'config', v.config) order by v.variant_id) as variants
        from ab.variant v
        where v.experiment_id = x.experiment_id
    ) arms
    cross join lateral (
        select jsonb_agg(jsonb_build_object('from', r.from_bucket, 'to', r.to_bucket, 'variant', v.index) order by r.from_bucket) as ranges
        from ab.variant_range r
        join (
            select a.variant, row_number() over (order by a.variant_id) - 1 as index
            from ab.variant a
            where a.experiment_id = x.experiment_id
        ) v using (variant)
        where r.experiment_id = x.experiment_id
            and r.phase = (select max(p.phase) from ab.phase p where p.experiment_id = x.experiment_id)
    ) allocation
    where (only_workspace is null or w.workspace = only_workspace)
        and (only_experiment is null or x.experiment = only_experiment);
end
$$;

comment on function ab_internal.experiment_documents(text, text) is 'the configuration as core/src/document.rs reads it, one row per experiment; null means all';

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

create or replace function @extschema@.ab_config_documents(only_workspace text default null)
    returns table (workspace text, version bigint, documents jsonb)
    language sql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select w.workspace::text, c.version, coalesce(d.documents, '[]')
    from ab.workspace w
    join ab_internal.config_version c using (workspace_id)
    left join (
        select e.workspace, jsonb_agg(e.document) as documents
        from ab_internal.experiment_documents(only_workspace) e
        group by e.workspace
    ) d on d.workspace = w.workspace
    where only_workspace is null or w.workspace = only_workspace
$$;

comment on function @extschema@.ab_config_documents(text) is $$Everything a gateway needs to assign: per workspace (all unless named) the version of its configuration and its experiments, read in one snapshot.

Example: SELECT workspace, version, jsonb_array_length(documents) FROM ab_config_documents();$$;
