//! Who may do what: PUBLIC calculates, everything else goes through `ab_grant`, and the inside stays inside.

use std::sync::atomic::{AtomicU32, Ordering};

use ab_tests::{Database, one, sql_error};
use postgres::Client;

const PURE: &str = "ab_adjust_pvalues ab_adjust_pvalues_table ab_bandit ab_bandit_estimate ab_bayes ab_bayes_beta \
    ab_bucket ab_chi2 ab_cuped ab_cuped_agg ab_cuped_theta ab_fisher ab_group_bounds ab_heterogeneity \
    ab_interaction ab_lift_ci ab_mannwhitney ab_mannwhitney_agg ab_mde ab_mean_ci ab_moments \
    ab_moments_merge ab_moments_row ab_noninferiority ab_poststratify ab_power ab_prior ab_project \
    ab_proportion_ci ab_quantile ab_quantile_ci ab_quantile_sketch ab_quantile_sketch_merge \
    ab_ratio_test ab_runtime ab_sample_size ab_sample_size_prop ab_sequential ab_shrink ab_simulate_aa ab_srm \
    ab_srm_agg ab_srm_phases ab_srm_sequential ab_stats ab_stats2 ab_ttest ab_ttest_agg ab_ztest \
    ab_ztest_agg";

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

/// A role with these kinds of access in a database where one experiment runs, and a session that speaks as it.
fn role_with(access: &[&str]) -> (Database, Client) {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let database = Database::new();
    let mut owner = database.connect();
    let role = format!("role_{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    run(
        &mut owner,
        &format!(
            "select ab_create_metric('orders', 'purchase'); select ab_create_experiment('x', primary_metric => 'orders'); select ab_start('x');
             select ab_create_experiment('draft'); select ab_create_segment('list'); select ab_create_flag('f');
             select ab_expose('known', 'x'), ab_track('known', 'purchase');
             create role {role} login password 'secret'"
        ),
    );
    run(&mut owner, "select ab_rollup()");
    for access in access {
        run(&mut owner, &format!("select ab_grant('{role}', '{access}')"));
    }
    let session = database.connect_as(&role, "secret");
    (database, session)
}

fn may(client: &mut Client, statement: &str) {
    run(client, statement);
}

fn may_not(client: &mut Client, statement: &str) {
    let error = sql_error(client.batch_execute(statement));
    assert_eq!(error.sqlstate, "42501", "{statement}: {error:?}");
}

const ASSIGN: &[&str] = &[
    "select ab_assign('u', 'x'), ab_assign(1, 'x'), ab_assign_reason('u', 'x'), ab_assign(gen_random_uuid(), 'x')",
    "select ab_assign('u', 'x', '{}'), ab_assign(1, 'x', '{}'), ab_assign(gen_random_uuid(), 'x', '{}'); select * from ab_assign_all('u')",
    "select ab_flag('u', 'f'), ab_flag_enabled('u', 'f'), ab_flag_reason('u', 'f')",
];
const RECORD: &[&str] = &[
    "select ab_expose('u', 'x'), ab_expose(1, 'x'), ab_expose(gen_random_uuid(), 'x')",
    "select ab_track('u', 'purchase', 9.99)",
    "select * from ab_track_batch(array['u'], array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{null}', '{\"{}\"}', '{x}', '{null}', '{null}')",
    "select * from ab_ingest('[]'), ab_ingest_staged(); select ab_reject_events('{a}', '{b}', '{c}'); select * from ab_replay_rejected()",
    "call ab_ingest_all_staged()",
    "insert into ab.event_staging (user_id, event_name) values ('u', 'e')",
];
const READ_CONFIGURATION: &[&str] = &[
    "select ab_config_version(); select * from ab_config_changes()",
    "select ab_segment_members('list'), ab_segment_changes('list', 0); select * from ab_first_variants('{u}', '{x}')",
    "select ab_explain('u', 'x'); select * from ab_as_of(now(), 'u', 'x')",
];
const READ_TABLES: &[&str] = &[
    "select from ab.workspace, ab.experiment, ab.variant, ab.phase, ab.variant_range, ab.metric, ab.experiment_metric",
    "select from ab.layer, ab.layer_slice, ab.holdout_experiment, ab.override, ab.segment, ab.segment_member, ab.flag, ab.configuration",
];
const READ_RESULTS: &[&str] = &[
    "select from ab.sticky_assignment",
    "select * from ab_results('x')",
    "select * from ab.experiment_results",
    "select from ab.exposure, ab.unit_metric, ab.variant_statistic, ab.metric_statistic",
    "select * from ab.event",
    "select from ab.event_rejected, ab.event_staging",
    "select from ab.event_exposure, ab.event_conversion, ab.event_other, ab.event_overflow, ab.event_retention",
];
const ROLL_UP: &[&str] = &[
    "select ab_rollup(), ab_rollup(false)",
    "select * from ab_maintain(); select * from ab_refresh_results()",
    "select ab_rollup_failed('why'); select * from ab_rollup_status()",
];
const MANAGE: &[&str] = &[
    "select ab_create_experiment('mine'); select ab_create_metric('m', 'e'); select ab_add_metric('mine', 'm')",
    "select ab_create_experiment('short'); select ab_start('short'); select ab_pause('short'); select ab_resume('short'); select ab_stop('short')",
    "select ab_rebuild('x')",
    "select ab_create_publication()",
    "update ab.event_retention set keep = '60 days' where event_table = 'event_exposure'",
    "select ab_set_traffic('mine', 50), ab_set_weights('mine', '{\"control\": 1, \"treatment\": 2}'), ab_set_targeting('mine', null), ab_set_prerequisites('mine', '[]'), ab_schedule('mine', '[]')",
    "select ab_create_layer('l'); select ab_join_layer('mine', 'l', 10); select ab_create_holdout('h', 5)",
    "select ab_create_segment('s'); select ab_add_members('s', '{a}'), ab_remove_members('s', '{a}'); select ab_create_segment('q', query => 'select ''u''::text'); select ab_refresh_segment('q')",
    "select ab_override('mine', 'control', 'u'); select ab_remove_override('mine', 'u'); select ab_opt_out('o'), ab_opt_in('o'), ab_exclude(false)",
    "select ab_create_flag('g'); select ab_set_flag('g', '[]'); select ab_kill('g'); select ab_revive('g'); select ab_delete_flag('g')",
    "select ab_create_experiment('b', kind => 'bandit', primary_metric => 'm'); select ab_start('b'); select * from ab_rebalance('b')",
];
const MANAGE_BY_DML: &[&str] = &[
    "insert into ab.workspace (workspace) values ('another')",
    "insert into ab.experiment (experiment) values ('dml')",
    "insert into ab.variant (experiment_id, variant) select experiment_id, unnest('{a,b}'::text[]) from ab.experiment where experiment = 'dml'",
    "insert into ab.metric (metric, event_name) values ('dml', 'e')",
    "insert into ab.experiment_metric (experiment_id, metric_id) select x.experiment_id, m.metric_id from ab.experiment x, ab.metric m where x.experiment = 'dml' and m.metric = 'dml'",
    "update ab.experiment set status = 'running' where experiment = 'dml'",
    "update ab.variant set weight = weight + 1",
    "insert into ab.layer (layer) values ('dml')",
    "insert into ab.segment (segment, kind, query) values ('dml', 'query', 'select ''u''::text')",
    "insert into ab.segment_member (segment_id, user_id) select segment_id, 'dml' from ab.segment where segment = 'list'",
    "insert into ab.override (experiment_id, user_id, variant) select experiment_id, 'dml', 'a' from ab.experiment where experiment = 'dml'",
    "insert into ab.flag (flag, default_value, off_value) values ('dml', 'true', 'false')",
    "update ab.flag set is_killed = true where flag = 'dml'",
    "delete from ab.flag where flag = 'dml'",
    "delete from ab.segment where segment = 'dml'",
    "delete from ab.segment_member where user_id = 'dml'",
    "delete from ab.layer where layer = 'dml'",
    "update ab.experiment set status = 'stopped' where experiment = 'dml'",
    "delete from ab.experiment_metric where role = 'exploratory'",
    "delete from ab.experiment where experiment = 'dml'",
    "delete from ab.metric where metric = 'dml'",
    "delete from ab.workspace where workspace = 'another'",
];
const NOBODY: &[&str] = &[
    "select ab_grant(current_user, 'admin')",
    "select * from ab_internal.config_version",
    "select * from ab_internal.rollup_cursor",
    "select * from ab_internal.config_signal",
    "select ab_internal.signal_config_change()",
    "select ab_internal.raise('invalid_key', 'm', 'h')",
    "select ab_internal.make_partitions()",
    "select ab_internal.store_events(1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    "select ab_internal.ingest(1, '{}')",
    "select ab_internal.rebuild(1, 0, '{}')",
    "select * from ab_internal.event_expired",
    "delete from ab.event_rejected",
    "delete from ab.event_staging",
    "select * from ab_internal.rollup_error",
    "update ab.event_retention set dropped_at = null",
    "delete from ab.event_retention",
    "select ab_internal.event_transaction()",
    "insert into ab.phase select * from ab.phase",
    "update ab.variant_range set variant = 'control'",
    "delete from ab.variant_range",
    "insert into ab.event_overflow select * from ab.event_overflow",
    "update ab.exposure set variant = 'control'",
    "insert into ab.configuration select * from ab.configuration",
    "delete from ab.configuration",
    "insert into ab.holdout_experiment select 1, 1",
    "update ab.sticky_assignment set variant = 'control'",
    "update ab.segment set members = 7",
    "insert into ab.segment (segment, kind, query, owner_role) values ('theirs', 'query', 'select 1', 'postgres')",
    "select ab_internal.publish(1, 'experiment', '{x}')",
    "select ab_internal.segment_query('select 1', 'postgres')",
    "select * from ab_internal.segment_change",
    "delete from ab.metric_statistic",
    "truncate ab.experiment cascade",
    "drop extension pg_ab",
    "create table ab.mine (x integer)",
    "create function ab_internal.mine() returns void language sql as 'select'",
    "alter table ab.experiment disable trigger all",
    "do $$ begin lock table ab.event_overflow in access exclusive mode; end $$",
];

fn check(access: &[&str], allowed: &[&[&str]]) {
    let (_database, mut client) = role_with(access);
    for group in [
        ASSIGN,
        RECORD,
        READ_CONFIGURATION,
        READ_TABLES,
        READ_RESULTS,
        ROLL_UP,
        MANAGE,
        MANAGE_BY_DML,
        NOBODY,
    ] {
        let is_allowed = allowed.iter().any(|other| other.as_ptr() == group.as_ptr());
        for statement in group {
            if is_allowed { may(&mut client, statement) } else { may_not(&mut client, statement) }
        }
    }
    may(
        &mut client,
        "select ab_bucket('s', 'u'); select * from ab_ttest(10, 1, 1, 10, 2, 1); select * from ab_ztest(10, 1, 10, 2)",
    );
    may(&mut client, "select * from ab_proportion_ci(1, 10); select * from ab_mean_ci(10, 1, 1)");
}

#[test]
fn a_role_without_grants_may_only_calculate() {
    check(&[], &[]);
}

#[test]
fn a_client_assigns_and_records() {
    check(&["client"], &[ASSIGN, RECORD]);
}

#[test]
fn a_developer_reads_configuration_and_assigns() {
    check(&["developer"], &[ASSIGN, READ_CONFIGURATION, READ_TABLES]);
}

#[test]
fn an_analyst_reads_results_and_rolls_up() {
    let (_database, mut client) = role_with(&["analyst"]);
    for statement in READ_RESULTS.iter().chain(ROLL_UP).chain(READ_TABLES) {
        may(&mut client, statement);
    }
    for statement in [ASSIGN, RECORD, MANAGE, MANAGE_BY_DML, NOBODY].into_iter().flatten() {
        may_not(&mut client, statement);
    }
}

#[test]
fn an_admin_does_everything_but_granting() {
    check(
        &["admin"],
        &[ASSIGN, RECORD, READ_CONFIGURATION, READ_TABLES, READ_RESULTS, ROLL_UP, MANAGE, MANAGE_BY_DML],
    );
}

#[test]
fn access_adds_up_and_is_given_twice_without_harm() {
    check(&["client", "developer", "client"], &[ASSIGN, RECORD, READ_CONFIGURATION, READ_TABLES]);
}

#[test]
fn what_an_admin_creates_carries_who_did_it() {
    let (_database, mut client) = role_with(&["admin"]);
    run(
        &mut client,
        "select ab_create_experiment('mine'); insert into ab.experiment (experiment) values ('dml'); select ab_start('mine')",
    );
    let who = one(
        &mut client,
        "select bool_and(created_by = session_user) and bool_and(coalesce(owner, session_user) = session_user) from ab.experiment where experiment in ('mine', 'dml')",
    );
    assert_eq!(who.as_deref(), Some("t"));
    let who = one(
        &mut client,
        "select changed_by = session_user from ab.phase join ab.experiment using (experiment_id) where experiment = 'mine'",
    );
    assert_eq!(who.as_deref(), Some("t"));
}

#[test]
fn partitions_made_later_are_readable_too() {
    let (database, mut client) = role_with(&["analyst"]);
    run(&mut database.connect(), "select ab_internal.make_partitions(current_date + 30, current_date + 31)");
    assert!(one(&mut client, "select count(*) from ab.event").is_some());
}

#[test]
fn the_public_may_call_the_pure_functions_and_read_nothing() {
    let mut client = Database::new().connect();
    run(&mut client, "create role stranger");
    let callable = one(
        &mut client,
        "select string_agg(distinct p.proname, ' ' order by p.proname) from pg_proc p
         join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
         join pg_extension e on e.oid = d.refobjid and e.extname = 'pg_ab'
         where has_function_privilege('stranger', p.oid, 'execute') and has_schema_privilege('stranger', p.pronamespace, 'usage')",
    );
    assert_eq!(callable.as_deref(), Some(PURE));
    let readable = one(
        &mut client,
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname in ('ab', 'ab_internal') and c.relkind in ('r', 'p', 'v', 'S')
             and case when c.relkind = 'S' then has_sequence_privilege('stranger', c.oid, 'usage, select, update')
                 else has_table_privilege('stranger', c.oid, 'select, insert, update, delete, truncate, references, trigger') or has_any_column_privilege('stranger', c.oid, 'select, insert, update, references') end",
    );
    assert_eq!(readable.as_deref(), Some("0"));
    let internal = one(
        &mut client,
        "select count(*) from unnest('{ab,ab_internal}'::text[]) s where has_schema_privilege('stranger', s, 'usage') or has_schema_privilege('stranger', s, 'create')",
    );
    assert_eq!(internal.as_deref(), Some("0"));
    run(&mut client, "drop role stranger");
}

#[test]
fn whatever_runs_with_the_owners_rights_fixes_its_search_path() {
    let mut client = Database::new().connect();
    let exposed = one(
        &mut client,
        "select string_agg(p.oid::regprocedure::text, ', ') from pg_proc p
         join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
         join pg_extension e on e.oid = d.refobjid and e.extname = 'pg_ab'
         where p.prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)",
    );
    assert_eq!(exposed, None);
    assert_eq!(
        one(&mut client, "select count(*) from pg_roles where rolname like 'ab%' or rolname like 'pg\\_ab%'")
            .as_deref(),
        Some("0"),
        "installing makes no role"
    );
}

#[test]
fn a_role_of_any_name_can_be_granted_to_and_dropped() {
    let mut client = Database::new().connect();
    for role in ["Mixed Case", "quo\"te", "semi;colon'", "ünïcode"] {
        let (literal, identifier) = (role.replace('\'', "''"), role.replace('"', "\"\""));
        run(&mut client, &format!("create role \"{identifier}\""));
        for access in ["client", "developer", "analyst", "admin"] {
            run(&mut client, &format!("select ab_grant('{literal}', '{access}')"));
        }
        run(&mut client, &format!("drop owned by \"{identifier}\"; drop role \"{identifier}\""));
    }
}

#[test]
fn only_a_superuser_installs() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        &format!(
            "drop extension pg_ab cascade; create role tenant login password 'secret';
             grant create on database {} to tenant; grant create on schema public to tenant",
            database.name()
        ),
    );
    may_not(&mut database.connect_as("tenant", "secret"), "create extension pg_ab");
    run(&mut client, "drop owned by tenant cascade; drop role tenant");
}
