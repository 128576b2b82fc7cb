-- Who may do what. The install script makes no role: ab_grant() gives the ones a site has what they need.
create or replace function @extschema@.ab_grant(role_name text, access text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    may_call text[];
    member text;
begin
    if not exists (select from pg_roles r where r.rolname = ab_grant.role_name) then
        perform ab_internal.raise('role_not_found', format('role "%s" does not exist', coalesce(left(ab_grant.role_name, 64), 'NULL')), 'create it first with CREATE ROLE');
    end if;
    may_call := case ab_grant.access
        when 'client' then array[
            'ab_assign', 'ab_assign_reason', 'ab_assign_all', 'ab_expose', 'ab_flag', 'ab_flag_enabled', 'ab_flag_reason', 'ab_track', 'ab_track_batch',
            'ab_ingest', 'ab_ingest_staged', 'ab_ingest_all_staged', 'ab_reject_events', 'ab_replay_rejected'
        ]
        when 'developer' then array[
            'ab_assign', 'ab_assign_reason', 'ab_assign_all', 'ab_flag', 'ab_flag_enabled', 'ab_flag_reason', 'ab_explain', 'ab_as_of',
            'ab_config_version', 'ab_config_changes', 'ab_segment_members', 'ab_segment_changes', 'ab_first_variants'
        ]
        when 'analyst' then array[
            'ab_results', 'ab_results_by', 'ab_results_daily', 'ab_summary', 'ab_decide', 'ab_report',
            'ab_lift_history', 'ab_holdout_impact', 'ab_interactions', 'ab_suggest_next', 'ab_simulate_aa',
            'ab_rollup', 'ab_rollup_failed', 'ab_rollup_status', 'ab_maintain', 'ab_refresh_results'
        ]
        when 'admin' then (
            select array_agg(distinct p.proname::text)
            from pg_depend d
            join pg_proc p on p.oid = d.objid
            where d.classid = 'pg_proc'::regclass
                and d.deptype = 'e'
                and d.refclassid = 'pg_extension'::regclass
                and d.refobjid = (select e.oid from pg_extension e where e.extname = 'pg_ab')
                and p.proname like 'ab\_%'
                and p.proname <> 'ab_grant')
        end;
    if may_call is null then
        perform ab_internal.raise('invalid_argument', format('access "%s" does not exist', coalesce(left(ab_grant.access, 64), 'NULL')), 'use client, developer, analyst or admin');
    end if;
    for member in
        select p.oid::regprocedure::text
        from pg_proc p
        where p.pronamespace = '@extschema@'::regnamespace
            and p.proname = any (may_call)
    loop
        execute format('grant execute on routine %s to %I', member, ab_grant.role_name);
    end loop;
    execute format('grant usage on schema @extschema@, ab to %I', ab_grant.role_name);
    if ab_grant.access in ('client', 'admin') then
        execute format('grant insert on ab.event_staging to %I', ab_grant.role_name);
    end if;
    if ab_grant.access in ('developer', 'analyst', 'admin') then
        execute format('grant select on ab.workspace, ab.experiment, ab.variant, ab.phase, ab.variant_range, ab.metric, ab.experiment_metric to %I', ab_grant.role_name);
        execute format('grant select on ab.layer, ab.layer_slice, ab.holdout_experiment, ab.override, ab.segment, ab.segment_member, ab.flag, ab.configuration to %I', ab_grant.role_name);
    end if;
    if ab_grant.access in ('analyst', 'admin') then
        execute format('grant select on all tables in schema ab to %I', ab_grant.role_name);
    end if;
    if ab_grant.access = 'admin' then
        execute format('grant insert, update, delete on ab.workspace, ab.experiment, ab.variant, ab.metric, ab.layer, ab.layer_slice, ab.override, ab.segment_member, ab.flag to %I', ab_grant.role_name);
        execute format('grant insert (event_table, keep), update (keep) on ab.event_retention to %I', ab_grant.role_name);
        -- Not members, generation and revision, which the extension counts; who owns a query is checked by a trigger.
        execute format('grant insert (workspace_id, segment, kind, rule, query, owner_role, description), update (rule, query, owner_role, description), delete on ab.segment to %I', ab_grant.role_name);
        execute format('grant insert (workspace_id, experiment_id, metric_id, role, margin), update (role, margin), delete on ab.experiment_metric to %I', ab_grant.role_name);
        execute format('grant usage on all sequences in schema ab to %I', ab_grant.role_name);
        -- What ab_create_segment() calls, which runs with the caller's own rights.
        execute format('grant usage on schema ab_internal to %I', ab_grant.role_name);
        execute format('grant execute on function ab_internal.check_new_segment(text, jsonb, text), ab_internal.query_as_caller(text), ab_internal.complete_segment(text, jsonb, text[]) to %I', ab_grant.role_name);
    end if;
end
$$;

comment on function @extschema@.ab_grant(text, text) is $$Gives a database role what it needs: client (assign, expose, evaluate flags, track), developer (assign, explain, read configuration), analyst (read results and raw data, roll up, maintain) or admin (everything but granting). A role can be given several.

Errors: role_not_found (42704), invalid_argument (22023), 42501 unless the caller owns the extension.

Example: CREATE ROLE shop; SELECT ab_grant('shop', 'client'); DROP OWNED BY shop; DROP ROLE shop;$$;
