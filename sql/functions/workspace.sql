-- Finding things by the names users give them.
create or replace function ab_internal.workspace_id(workspace text default null)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted text := coalesce(workspace_id.workspace, nullif(current_setting('ab.workspace', true), ''), 'default');
    found_id integer;
begin
    select w.workspace_id into found_id from ab.workspace w where w.workspace = wanted;
    if not found and wanted = 'default' then
        -- Made on first use rather than at installation, where a restore would meet a second one.
        insert into ab.workspace (workspace, description)
        values ('default', 'the workspace of whoever names none')
        on conflict do nothing;
        select w.workspace_id into found_id from ab.workspace w where w.workspace = wanted;
    end if;
    if found_id is null then
        perform ab_internal.raise('workspace_not_found', format('workspace "%s" does not exist', wanted),
            'insert it into ab.workspace, or set ab.workspace to one that exists');
    end if;
    return found_id;
end
$$;

comment on function ab_internal.workspace_id(text) is 'id of the named workspace, else of the session''s; "default" makes itself';

create or replace function ab_internal.experiment_id(experiment text)
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
    select x.experiment_id into found_id
    from ab.experiment x
    join ab.workspace w using (workspace_id)
    where w.workspace = wanted
        and x.experiment = experiment_id.experiment;
    if found_id is null then
        perform ab_internal.raise('experiment_not_found',
            format('experiment "%s" does not exist in workspace "%s"', coalesce(left(experiment_id.experiment, 64), 'NULL'), wanted),
            'list them with: select experiment from ab.experiment');
    end if;
    return found_id;
end
$$;

comment on function ab_internal.experiment_id(text) is 'id of an experiment of the session''s workspace';
