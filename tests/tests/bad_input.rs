//! What happens to input that cannot be used: assignment answers NULL, everything else says what is wrong, by SQLSTATE,
//! code and hint, and nothing of it reaches the server's log as a panic or an internal error.

use ab_tests::{Database, assert_calm_log, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

/// A database with one experiment in each status and one metric, whose errors are logged with their SQLSTATE.
fn prepared() -> (Database, Client) {
    let database = Database::new();
    run(
        &mut database.connect(),
        &format!(
            "alter database {} set log_error_verbosity = verbose;
             select ab_create_metric('orders', 'purchase');
             select ab_create_experiment('draft'); select ab_create_experiment('running', primary_metric => 'orders'); select ab_start('running');
             select ab_create_experiment('stopped'); select ab_start('stopped'); select ab_stop('stopped');
             select ab_create_layer('layer'); select ab_create_experiment('layered', layer => 'layer', layer_percent => 60);
             select ab_create_layer('by_account', unit => 'account');
             select ab_create_segment('list'); select ab_create_segment('young', '{{\"attribute\": \"age\", \"operator\": \"less\", \"values\": [20]}}');
             select ab_create_segment('found', query => 'select ''u''::text');
             select ab_create_flag('flag'); select ab_create_experiment('after', prerequisites => '[{{\"experiment\": \"draft\", \"assigned\": true}}]');
             select ab_create_experiment('bandit', kind => 'bandit')",
            database.name()
        ),
    );
    let client = database.connect();
    (database, client)
}

/// Statement, SQLSTATE, code. An empty code is PostgreSQL's own error, raised before anything of ours is called.
const REFUSED: &[(&str, &str, &str)] = &[
    // ab_create_experiment
    ("ab_create_experiment(null)", "22023", "invalid_key"),
    ("ab_create_experiment('')", "22023", "invalid_key"),
    ("ab_create_experiment('a b')", "22023", "invalid_key"),
    ("ab_create_experiment('a:b')", "22023", "invalid_key"),
    ("ab_create_experiment('_a')", "22023", "invalid_key"),
    ("ab_create_experiment('é')", "22023", "invalid_key"),
    ("ab_create_experiment(E'a\\n')", "22023", "invalid_key"),
    ("ab_create_experiment(repeat('x', 129))", "22023", "invalid_key"),
    ("ab_create_experiment('a; drop table ab.experiment')", "22023", "invalid_key"),
    ("ab_create_experiment('running')", "23505", "experiment_exists"),
    ("ab_create_experiment('e', '{}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', '{\"a\": 0, \"b\": 0}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', '{\"a\": -1, \"b\": 1}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', '{\"a\": \"NaN\", \"b\": 1}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', '{\"a\": NaN, \"b\": 1}')", "22P02", ""),
    ("ab_create_experiment('e', '{\"a\": 50')", "22P02", ""),
    (
        "ab_create_experiment('e', '[{\"key\": \"a\\u0000\", \"weight\": 1}, {\"key\": \"b\", \"weight\": 1}]')",
        "22P05",
        "",
    ),
    ("ab_create_experiment('e', '{\"a:b\": 1, \"c\": 1}')", "22023", "invalid_key"),
    ("ab_create_experiment('e', control => 'nobody')", "42704", "variant_not_found"),
    ("ab_create_experiment('e', control => '')", "42704", "variant_not_found"),
    ("ab_create_experiment('e', primary_metric => 'nothing')", "42704", "metric_not_found"),
    ("ab_create_experiment('e', salt => 'a:b')", "22023", "invalid_key"),
    ("ab_create_experiment('e', salt => '')", "22023", "invalid_key"),
    ("ab_create_experiment('e', traffic => null)", "22023", "invalid_argument"),
    ("ab_create_experiment('e', traffic => -0.1)", "22023", "invalid_argument"),
    ("ab_create_experiment('e', traffic => 100.0001)", "22023", "invalid_argument"),
    ("ab_create_experiment('e', traffic => 'NaN')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', traffic => 'Infinity')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', traffic => '50 %')", "22P02", ""),
    (
        "ab_create_experiment('e', starts_at => '2030-01-02', ends_at => '2030-01-01')",
        "22023",
        "invalid_argument",
    ),
    ("ab_create_experiment('e', starts_at => 'infinity')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', ends_at => '-infinity')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', starts_at => '2030-02-30')", "22008", ""),
    ("ab_create_experiment('e', starts_at => 'soon')", "22007", ""),
    // ab_create_metric, ab_add_metric
    ("ab_create_metric(null, 'e')", "22023", "invalid_key"),
    ("ab_create_metric('a b', 'e')", "22023", "invalid_key"),
    ("ab_create_metric('orders', 'e')", "23505", "metric_exists"),
    ("ab_create_metric('m', null)", "22023", "invalid_argument"),
    ("ab_create_metric('m', '')", "22023", "invalid_argument"),
    ("ab_create_metric('m', repeat('x', 257))", "22023", "invalid_argument"),
    ("ab_create_metric('m', repeat('é', 129))", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'ratio')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', null)", "22023", "invalid_argument"),
    ("ab_add_metric('nowhere', 'orders')", "42704", "experiment_not_found"),
    ("ab_add_metric(null, 'orders')", "42704", "experiment_not_found"),
    ("ab_add_metric('running', 'nothing')", "42704", "metric_not_found"),
    ("ab_add_metric('running', null)", "42704", "metric_not_found"),
    ("ab_add_metric('running', 'orders')", "23505", "metric_attached"),
    // The life of an experiment
    ("ab_start('nowhere')", "42704", "experiment_not_found"),
    ("ab_start(null)", "42704", "experiment_not_found"),
    ("ab_start('')", "42704", "experiment_not_found"),
    ("ab_start(repeat('x', 100000))", "42704", "experiment_not_found"),
    ("ab_start('running')", "55000", "wrong_status"),
    ("ab_pause('nowhere')", "42704", "experiment_not_found"),
    ("ab_pause('draft')", "55000", "wrong_status"),
    ("ab_resume('nowhere')", "42704", "experiment_not_found"),
    ("ab_resume('running')", "55000", "wrong_status"),
    ("ab_stop('nowhere')", "42704", "experiment_not_found"),
    ("ab_stop('stopped')", "55000", "wrong_status"),
    ("ab_stop('draft')", "55000", "wrong_status"),
    ("ab_stop('running', ship => 'nobody')", "42704", "variant_not_found"),
    // What an experiment can be besides
    ("ab_create_experiment('e', kind => 'holdout')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', kind => null)", "22023", "invalid_argument"),
    ("ab_create_experiment('e', unit => '')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', minimum_share => 51)", "22023", "invalid_argument"),
    ("ab_create_experiment('e', targeting => '{\"any\": 1}')", "22023", "invalid_rule"),
    (
        "ab_create_experiment('e', targeting => '{\"operator\": \"in_segment\", \"values\": [\"nowhere\"]}')",
        "42704",
        "segment_not_found",
    ),
    ("ab_create_experiment('e', prerequisites => '{}')", "22023", "invalid_prerequisite"),
    (
        "ab_create_experiment('e', prerequisites => '[{\"experiment\": \"e\", \"assigned\": true}]')",
        "22023",
        "prerequisite_cycle",
    ),
    (
        "ab_create_experiment('e', prerequisites => '[{\"flag\": \"nowhere\", \"values\": [true]}]')",
        "42704",
        "flag_not_found",
    ),
    (
        "ab_create_experiment('e', schedule => '[{\"at\": \"2030-01-02T00:00:00Z\", \"percent\": 5}, {\"at\": \"2030-01-01T00:00:00Z\", \"percent\": 10}]')",
        "22023",
        "invalid_schedule",
    ),
    ("ab_create_experiment('e', layer => 'nowhere', layer_percent => 1)", "42704", "layer_not_found"),
    ("ab_create_experiment('e', layer => 'layer')", "22023", "invalid_argument"),
    ("ab_create_experiment('e', layer => 'layer', layer_percent => 40.0001)", "55000", "slice_taken"),
    ("ab_create_experiment('e', layer => 'by_account', layer_percent => 1)", "22023", "unit_mismatch"),
    ("ab_create_experiment('e', factors => '{}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', factors => '[]')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', factors => '{\"f\": [\"a\"]}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', factors => '{\"f\": [\"a\", 1]}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', factors => '{\"f\": [\"a\", \"a\"]}')", "22023", "invalid_variants"),
    ("ab_create_experiment('e', factors => '{\"f\": [\"a\", \":\"]}')", "22023", "invalid_key"),
    (
        "ab_create_experiment('e', '{\"a\": 1, \"b\": 2}', factors => '{\"f\": [\"a\", \"b\"]}')",
        "22023",
        "invalid_variants",
    ),
    ("ab_set_traffic('nowhere', 1)", "42704", "experiment_not_found"),
    ("ab_set_traffic('running', null)", "22023", "invalid_argument"),
    ("ab_set_traffic('running', 101)", "22023", "invalid_argument"),
    ("ab_set_traffic('running', 'NaN')", "22023", "invalid_argument"),
    ("ab_set_traffic('stopped', 1)", "55000", "wrong_status"),
    ("ab_set_weights('nowhere', '{}')", "42704", "experiment_not_found"),
    ("ab_set_weights('running', null)", "22023", "invalid_weights"),
    ("ab_set_weights('running', '[]')", "22023", "invalid_weights"),
    ("ab_set_weights('running', '{\"control\": 1}')", "22023", "invalid_weights"),
    ("ab_set_weights('running', '{\"control\": 1, \"treatment\": 0}')", "22023", "invalid_weights"),
    ("ab_set_weights('running', '{\"control\": 1, \"treatment\": 1e99}')", "22023", "invalid_weights"),
    ("ab_set_weights('running', '{\"control\": 1, \"treatment\": \"1\"}')", "22023", "invalid_weights"),
    (
        "ab_set_weights('running', '{\"control\": 1, \"treatment\": 1, \"other\": 1}')",
        "22023",
        "invalid_weights",
    ),
    ("ab_set_weights('stopped', '{\"control\": 1, \"treatment\": 1}')", "55000", "wrong_status"),
    ("ab_set_targeting('nowhere', null)", "42704", "experiment_not_found"),
    ("ab_set_targeting('running', '{\"all\": [{}]}')", "22023", "invalid_rule"),
    (
        "ab_set_targeting('running', '{\"not\": {\"operator\": \"in_segment\", \"values\": [\"list\", \"nowhere\"]}}')",
        "42704",
        "segment_not_found",
    ),
    ("ab_set_prerequisites('draft', '[1]')", "22023", "invalid_prerequisite"),
    (
        "ab_set_prerequisites('draft', '[{\"experiment\": \"after\", \"assigned\": false}]')",
        "22023",
        "prerequisite_cycle",
    ),
    (
        "ab_set_prerequisites('draft', '[{\"experiment\": \"nowhere\", \"assigned\": false}]')",
        "42704",
        "experiment_not_found",
    ),
    ("ab_schedule('draft', '[{\"at\": \"soon\", \"percent\": 5}]')", "22023", "invalid_schedule"),
    (
        "ab_schedule('draft', '[{\"at\": \"2030-01-01T00:00:00Z\", \"percent\": 101}]')",
        "22023",
        "invalid_schedule",
    ),
    ("ab_rebalance('running')", "22023", "invalid_argument"),
    ("ab_rebalance('bandit')", "55000", "wrong_status"),
    // Layers and holdouts
    ("ab_create_layer('a b')", "22023", "invalid_key"),
    ("ab_create_layer('layer')", "23505", "layer_exists"),
    ("ab_create_layer('l', unit => '')", "22023", "invalid_argument"),
    ("ab_join_layer('nowhere', 'layer', 1)", "42704", "experiment_not_found"),
    ("ab_join_layer('draft', 'nowhere', 1)", "42704", "layer_not_found"),
    ("ab_join_layer('draft', 'layer')", "22023", "invalid_argument"),
    ("ab_join_layer('draft', 'layer', 0)", "22023", "invalid_argument"),
    ("ab_join_layer('draft', 'layer', 'NaN')", "22023", "invalid_argument"),
    ("ab_join_layer('draft', 'layer', 1, 1, 2)", "22023", "invalid_argument"),
    ("ab_join_layer('draft', 'layer', from_bucket => 5)", "22023", "invalid_argument"),
    ("ab_join_layer('draft', 'layer', from_bucket => 5, to_bucket => 1000001)", "22023", "invalid_argument"),
    ("ab_join_layer('draft', 'layer', from_bucket => 599999, to_bucket => 700000)", "55000", "slice_taken"),
    ("ab_join_layer('draft', 'layer', 41)", "55000", "slice_taken"),
    ("ab_join_layer('draft', 'by_account', 41)", "22023", "unit_mismatch"),
    ("ab_join_layer('running', 'layer', 1)", "55000", "wrong_status"),
    ("ab_create_holdout('h', null)", "22023", "invalid_argument"),
    ("ab_create_holdout('h', 0)", "22023", "invalid_argument"),
    ("ab_create_holdout('h', 100)", "22023", "invalid_argument"),
    ("ab_create_holdout('h', 'NaN')", "22023", "invalid_argument"),
    ("ab_create_holdout('a:b', 5)", "22023", "invalid_key"),
    ("ab_create_holdout('running', 5)", "23505", "experiment_exists"),
    ("ab_create_holdout('h', 5, layer => 'nowhere')", "42704", "layer_not_found"),
    ("ab_create_holdout('h', 5, layer => 'by_account')", "22023", "unit_mismatch"),
    (
        "ab_create_holdout('h', 5, starts_at => '2030-01-02', ends_at => '2030-01-01')",
        "22023",
        "invalid_argument",
    ),
    // Segments, exclusions and overrides
    ("ab_create_segment('a b')", "22023", "invalid_key"),
    ("ab_create_segment('list')", "23505", "segment_exists"),
    ("ab_create_segment('s', '[]')", "22023", "invalid_rule"),
    (
        "ab_create_segment('s', '{\"operator\": \"in_segment\", \"values\": [\"nowhere\"]}')",
        "42704",
        "segment_not_found",
    ),
    (
        "ab_create_segment('s', '{\"operator\": \"in_segment\", \"values\": [\"s\"]}')",
        "22023",
        "segment_cycle",
    ),
    ("ab_create_segment('s', query => 'select 1 from nowhere')", "22023", "invalid_query"),
    ("ab_create_segment('s', query => 'delete from ab.flag')", "22023", "invalid_query"),
    ("ab_create_segment('s', '{\"all\": []}', 'select 1')", "22023", "invalid_segment"),
    ("ab_create_segment('opted-out', query => 'select 1')", "22023", "invalid_segment"),
    ("ab_add_members('nowhere', '{u}')", "42704", "segment_not_found"),
    ("ab_add_members('young', '{u}')", "22023", "invalid_segment"),
    ("ab_add_members('found', '{u}')", "22023", "invalid_segment"),
    ("ab_add_members('list', null)", "22023", "invalid_argument"),
    ("ab_add_members('list', '{null}')", "22023", "invalid_user_id"),
    ("ab_add_members('list', array[''])", "22023", "invalid_user_id"),
    ("ab_remove_members('nowhere', '{u}')", "42704", "segment_not_found"),
    ("ab_remove_members('young', '{u}')", "22023", "invalid_segment"),
    ("ab_refresh_segment('nowhere')", "42704", "segment_not_found"),
    ("ab_refresh_segment('list')", "22023", "invalid_segment"),
    ("ab_segment_members('nowhere')", "42704", "segment_not_found"),
    ("ab_segment_changes('nowhere', 0)", "42704", "segment_not_found"),
    ("ab_opt_out(null)", "22023", "invalid_user_id"),
    ("ab_opt_out(repeat('x', 513))", "22023", "invalid_user_id"),
    ("ab_opt_in('')", "22023", "invalid_user_id"),
    (
        "ab_exclude(rule => '{\"attribute\": \"ip\", \"operator\": \"in_cidr\", \"values\": [\"10.0.0.0/99\"]}')",
        "22023",
        "invalid_rule",
    ),
    (
        "ab_exclude(rule => '{\"operator\": \"in_segment\", \"values\": [\"nowhere\"]}')",
        "42704",
        "segment_not_found",
    ),
    ("ab_override('nowhere', 'control', 'u')", "42704", "experiment_not_found"),
    ("ab_override('draft', 'nobody', 'u')", "42704", "variant_not_found"),
    ("ab_override('draft', null, 'u')", "42704", "variant_not_found"),
    ("ab_override('draft', 'control')", "22023", "invalid_argument"),
    ("ab_override('draft', 'control', 'u', 'list')", "22023", "invalid_argument"),
    ("ab_override('draft', 'control', '')", "22023", "invalid_user_id"),
    ("ab_override('draft', 'control', segment => 'nowhere')", "42704", "segment_not_found"),
    ("ab_remove_override('nowhere', 'u')", "42704", "experiment_not_found"),
    ("ab_remove_override('draft')", "22023", "invalid_argument"),
    // Flags
    ("ab_create_flag('a b')", "22023", "invalid_key"),
    ("ab_create_flag('flag')", "23505", "flag_exists"),
    ("ab_create_flag('f', 'text')", "22023", "invalid_flag"),
    ("ab_create_flag('f', null)", "22023", "invalid_flag"),
    ("ab_create_flag('f', 'boolean', '1')", "22023", "invalid_flag"),
    ("ab_create_flag('f', rules => '[{\"percent\": 5}]')", "22023", "invalid_flag"),
    ("ab_create_flag('f', rules => '[{\"when\": {\"any\": 0}, \"value\": true}]')", "22023", "invalid_rule"),
    (
        "ab_create_flag('f', rules => '[{\"when\": {\"operator\": \"in_segment\", \"values\": [\"nowhere\"]}, \"value\": true}]')",
        "42704",
        "segment_not_found",
    ),
    (
        "ab_create_flag('f', 'string', rules => '[{\"experiment\": \"nowhere\"}]')",
        "42704",
        "experiment_not_found",
    ),
    (
        "ab_create_flag('f', prerequisites => '[{\"flag\": \"f\", \"values\": [true]}]')",
        "22023",
        "prerequisite_cycle",
    ),
    ("ab_set_flag('nowhere', '[]')", "42704", "flag_not_found"),
    ("ab_set_flag('flag', '{}')", "22023", "invalid_flag"),
    ("ab_set_flag('flag', default_value => '\"yes\"')", "22023", "invalid_flag"),
    ("ab_kill('nowhere')", "42704", "flag_not_found"),
    ("ab_revive(null)", "42704", "flag_not_found"),
    ("ab_delete_flag('')", "42704", "flag_not_found"),
    // ab_track
    ("ab_track(null, 'e')", "22023", "invalid_user_id"),
    ("ab_track('', 'e')", "22023", "invalid_user_id"),
    ("ab_track(repeat('x', 513), 'e')", "22023", "invalid_user_id"),
    ("ab_track(repeat('é', 257), 'e')", "22023", "invalid_user_id"),
    ("ab_track('u', null)", "22023", "invalid_event"),
    ("ab_track('u', '')", "22023", "invalid_event"),
    ("ab_track('u', repeat('x', 257))", "22023", "invalid_event"),
    ("ab_track('u', 'e', 'NaN')", "22023", "invalid_event"),
    ("ab_track('u', 'e', '-Infinity')", "22023", "invalid_event"),
    ("ab_track('u', 'e', 1e309)", "22003", ""),
    ("ab_track('u', 'e', 'many')", "22P02", ""),
    ("ab_track('u', 'e', properties => '[1]')", "22023", "invalid_event"),
    ("ab_track('u', 'e', properties => '1')", "22023", "invalid_event"),
    ("ab_track('u', 'e', properties => 'null')", "22023", "invalid_event"),
    ("ab_track('u', 'e', properties => '{')", "22P02", ""),
    (
        "ab_track('u', 'e', properties => jsonb_build_object('a', repeat('x', 40000)))",
        "22023",
        "invalid_event",
    ),
    ("ab_track('u', 'e', event_type => 'Purchase')", "22023", "invalid_event"),
    ("ab_track('u', 'e', event_type => '')", "22023", "invalid_event"),
    ("ab_track('u', 'e', event_type => repeat('x', 65))", "22023", "invalid_event"),
    ("ab_track('u', 'e', event_type => 'exposure')", "22023", "variant_required"),
    ("ab_track('u', 'e', event_type => 'exposure', experiment => 'running')", "22023", "variant_required"),
    ("ab_track('u', 'e', experiment => 'nowhere')", "42704", "experiment_not_found"),
    ("ab_track('u', 'e', experiment => 'a:b')", "22023", "invalid_key"),
    ("ab_track('u', 'e', experiment => 'running', variant => 'nobody')", "42704", "variant_not_found"),
    ("ab_track('u', 'e', variant => 'control')", "22023", "invalid_event"),
    ("ab_track('u', 'e', event_time => '9999-01-01')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => '294276-12-31 23:59:59.999999')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => '1999-12-31 23:59Z')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => '4713-01-01 BC')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => 'infinity')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => '-infinity')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => now() + interval '25 hours')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_time => 'yesterday-ish')", "22007", ""),
    (
        "ab_track('u', 'e', event_id => '6f0c1b1e-8f0d-4d43-9a52-7a1bc0deab01')",
        "22023",
        "event_time_required",
    ),
    ("ab_track('u', 'e', event_id => 'ffffffff-ffff-7fff-bfff-ffffffffffff')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_id => '00000000-0000-7000-8000-000000000000')", "22008", "invalid_event_time"),
    ("ab_track('u', 'e', event_id => 'order-17')", "22P02", ""),
    // ab_track_batch
    (
        "ab_track_batch(null, null, null, null, null, null, null, null, null, null)",
        "22023",
        "invalid_argument",
    ),
    (
        "ab_track_batch('{u}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "22023",
        "invalid_argument",
    ),
    (
        "ab_track_batch('{u,v}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_argument",
    ),
    (
        "ab_track_batch('{u}', array[null]::uuid[], array[now()], '{custom}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_argument",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[null]::timestamptz[], '{custom}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_argument",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{1}', '{null}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_argument",
    ),
    (
        "ab_track_batch('{null}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_user_id",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{null}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_event",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{NaN}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "invalid_event",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{exposure}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}')",
        "22023",
        "variant_required",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{1}', '{\"{\"}', '{null}', '{null}', '{null}')",
        "22P02",
        "",
    ),
    (
        "ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{1}', '{\"{}\"}', '{null}', '{null}', '{null}', 'nowhere')",
        "42704",
        "workspace_not_found",
    ),
    // Results
    ("ab_results('nowhere')", "42704", "experiment_not_found"),
    ("ab_results_daily('nowhere')", "42704", "experiment_not_found"),
    ("ab_results_by('running', 'country', 'nothing')", "42704", "dimension_not_found"),
    ("ab_results_by('running', 'country', top => 0)", "22023", "invalid_argument"),
    ("ab_results_by('running', 'country', top => null)", "22023", "invalid_argument"),
    ("ab_decide('nowhere')", "42704", "experiment_not_found"),
    ("ab_summary(null)", "42704", "experiment_not_found"),
    ("ab_report('nowhere')", "42704", "experiment_not_found"),
    ("ab_lift_history('nowhere')", "42704", "metric_not_found"),
    ("ab_holdout_impact('nowhere')", "42704", "experiment_not_found"),
    ("ab_holdout_impact('running')", "22023", "invalid_argument"),
    ("ab_interactions('nowhere')", "42704", "experiment_not_found"),
    ("ab_interactions('draft')", "42704", "metric_not_found"),
    ("ab_interactions('running', 'nowhere')", "42704", "metric_not_found"),
    ("ab_suggest_next(-1)", "22023", "invalid_argument"),
    ("ab_suggest_next(null)", "22023", "invalid_argument"),
    ("ab_set_analysis('nowhere', '{}')", "42704", "experiment_not_found"),
    ("ab_set_analysis('running', '{\"alpha\": 0.01}')", "55000", "wrong_status"),
    ("ab_set_analysis('draft', null)", "22023", "invalid_analysis"),
    ("ab_set_analysis('draft', '[]')", "22023", "invalid_analysis"),
    ("ab_set_analysis('draft', '{\"alfa\": 0.01}')", "22023", "invalid_analysis"),
    ("ab_set_analysis('draft', '{\"mode\": \"group_sequential\"}')", "22023", "invalid_analysis"),
    ("ab_create_experiment('never', analysis => '{\"alpha\": 2}')", "22023", "invalid_analysis"),
    ("ab_add_metric('running', 'orders', 'primary')", "55000", "wrong_status"),
    ("ab_add_metric('running', 'orders', 'secondary')", "55000", "wrong_status"),
    ("ab_add_metric('draft', 'orders', 'guard')", "22023", "invalid_argument"),
    ("ab_add_metric('draft', 'orders', 'guardrail')", "22023", "invalid_argument"),
    ("ab_add_metric('draft', 'orders', 'guardrail', 1)", "22023", "invalid_argument"),
    ("ab_add_metric('draft', 'orders', 'secondary', 0.1)", "22023", "invalid_argument"),
    ("ab_results(null)", "42704", "experiment_not_found"),
    ("ab_results_by('nowhere', 'country')", "42704", "experiment_not_found"),
    ("ab_results_by(null, 'country')", "42704", "experiment_not_found"),
    ("ab_results_by('running', 'colour')", "42704", "dimension_not_found"),
    ("ab_results_by('running', null)", "42704", "dimension_not_found"),
    ("ab_simulate_aa('nowhere')", "42704", "experiment_not_found"),
    ("ab_simulate_aa(null::text)", "42704", "experiment_not_found"),
    ("ab_simulate_aa(1, 0.1)", "22023", "invalid_argument"),
    ("ab_simulate_aa(10, 'NaN')", "22023", "invalid_argument"),
    ("ab_simulate_aa(10, 1, 'Infinity')", "22023", "invalid_argument"),
    ("ab_simulate_aa(9223372036854775807, 0.1, looks => 2147483647)", "22023", "invalid_argument"),
    ("ab_rebuild('nowhere')", "42704", "experiment_not_found"),
    ("ab_rebuild(null)", "42704", "experiment_not_found"),
    // Statistics
    ("ab_ttest(-1, 1, 1, 10, 1, 1)", "22023", "invalid_argument"),
    ("ab_ttest(10, 'NaN', 1, 10, 1, 1)", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, 1, 10, 'Infinity', 1)", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, -1, 10, 1, 1)", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, 1, 10, 1, 'NaN')", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, 1, 10, 1, 1, 0)", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, 1, 10, 1, 1, 1)", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, 1, 10, 1, 1, 'NaN')", "22023", "invalid_argument"),
    ("ab_ttest(10, 1, 1, 10, 1, 1, 0.05, 'both')", "22023", "invalid_argument"),
    ("ab_ztest(10, 11, 10, 1)", "22023", "invalid_argument"),
    ("ab_ztest(10, 1, 10, -1)", "22023", "invalid_argument"),
    ("ab_ztest(-1, 0, 10, 1)", "22023", "invalid_argument"),
    ("ab_ztest(10, 1, 10, 1, -0.05)", "22023", "invalid_argument"),
    ("ab_ztest(10, 1, 10, 1, 0.05, '')", "22023", "invalid_argument"),
    ("ab_ztest(10, 0.5, 10, 1)", "42883", ""),
    ("ab_proportion_ci(5, 3)", "22023", "invalid_argument"),
    ("ab_proportion_ci(-1, 3)", "22023", "invalid_argument"),
    ("ab_proportion_ci(1, 3, 2)", "22023", "invalid_argument"),
    ("ab_mean_ci(-1, 1, 1)", "22023", "invalid_argument"),
    ("ab_mean_ci(10, 'NaN', 1)", "22023", "invalid_argument"),
    ("ab_mean_ci(10, 1, -1)", "22023", "invalid_argument"),
    ("ab_mean_ci(10, 1, 1, 0)", "22023", "invalid_argument"),
    ("ab_lift_ci(-1, 1, 1, 2, 1, 1)", "22023", "invalid_argument"),
    ("ab_lift_ci(2, 1, 1, 2, 1, 1, 0.05, '')", "22023", "invalid_argument"),
    ("ab_ztest(10, 1, 10, 1, 0.05, 'less', 'exact')", "22023", "invalid_argument"),
    ("ab_proportion_ci(1, 3, 0.05, 'wald')", "22023", "invalid_argument"),
    ("ab_ratio_test(2, 1, 1, 'Infinity', 1, 0, 2, 1, 1, 1, 1, 0)", "22023", "invalid_argument"),
    ("ab_ratio_test(2, 1, 1, 1, 1, 0, 2, 1, 1, 1, 1, 'NaN')", "22023", "invalid_argument"),
    ("ab_cuped(2, 1, -1, 1, 1, 0, 2, 1, 1, 1, 1, 0)", "22023", "invalid_argument"),
    ("ab_cuped(2, 1, 1, 1, 1, 0, 2, 1, 1, 1, 1, 0, 0.05, 'Infinity')", "22023", "invalid_argument"),
    ("ab_cuped_theta('{2, 2}', '{1}', '{0}')", "22023", "invalid_argument"),
    ("ab_cuped_theta('{-1}', '{1}', '{0}')", "22023", "invalid_argument"),
    ("ab_poststratify('{2, 2}', '{1}', '{1}', '{2}', '{1}', '{1}')", "22023", "invalid_argument"),
    ("ab_poststratify('{-1}', '{1}', '{1}', '{2}', '{1}', '{1}')", "22023", "invalid_argument"),
    ("ab_chi2('{2}', '{3}')", "22023", "invalid_argument"),
    ("ab_chi2('{9223372036854775807, 1}', '{1, 1}')", "22023", "invalid_argument"),
    ("ab_fisher(-1, 0, 1, 1)", "22023", "invalid_argument"),
    ("ab_fisher(1, 1, 1, 1, 'Less')", "22023", "invalid_argument"),
    ("ab_mannwhitney('{Infinity}', '{1}')", "22023", "invalid_argument"),
    ("ab_quantile_ci('{1, NaN}', 0.5)", "22023", "invalid_argument"),
    ("ab_quantile_ci('{1, 2}', 'NaN')", "22023", "invalid_argument"),
    ("ab_srm('{1, -2}', '{1, 1}')", "22023", "invalid_argument"),
    ("ab_srm('{1, 2}', '{0, 0}')", "22023", "invalid_argument"),
    ("ab_srm('{1, 2}', '{1, Infinity}')", "22023", "invalid_argument"),
    ("ab_srm_phases('{1}', '{1, 2}', '{1}', '{1}')", "22023", "invalid_argument"),
    ("ab_srm_sequential('{1, 2}', '{1, 1}', 'NaN')", "22023", "invalid_argument"),
    ("ab_adjust_pvalues('{-0.1}')", "22023", "invalid_argument"),
    ("ab_adjust_pvalues('{0.1}', '')", "22023", "invalid_argument"),
    ("ab_adjust_pvalues_table('{NaN}')", "22023", "invalid_argument"),
    ("ab_adjust_pvalues_table('{0.1}', 'holm', 'NaN')", "22023", "invalid_argument"),
    ("ab_sample_size(1, -1, 0.1)", "22023", "invalid_argument"),
    ("ab_sample_size(1, 1, 0)", "22023", "invalid_argument"),
    ("ab_sample_size(1, 1, 0.1, 0.05, 0.04)", "22023", "invalid_argument"),
    ("ab_sample_size_prop(0, 0.1)", "22023", "invalid_argument"),
    ("ab_sample_size_prop(0.1, 0.1, ratio => 0)", "22023", "invalid_argument"),
    ("ab_sample_size_prop(0.1, 0.1, rho => 1)", "22023", "invalid_argument"),
    ("ab_power(-1, 1, 1, 2, 1, 1)", "22023", "invalid_argument"),
    ("ab_power(2, 1, 1, 2, 1, 'NaN')", "22023", "invalid_argument"),
    ("ab_mde(2, 1, 2, 'Infinity', 1)", "22023", "invalid_argument"),
    ("ab_runtime(-1, '{1}', 1)", "22023", "invalid_argument"),
    ("ab_runtime(1, '{-1}', 1)", "22023", "invalid_argument"),
    ("ab_runtime(1, '{1}', 1, -1)", "22023", "invalid_argument"),
    ("ab_noninferiority(2, 1, 1, 2, 1, 1, 'NaN')", "22023", "invalid_argument"),
    ("ab_sequential('NaN', 1, 100)", "22023", "invalid_argument"),
    ("ab_sequential(1, -1, 100)", "22023", "invalid_argument"),
    ("ab_sequential(1, 1, 100, alternative => 'both')", "22023", "invalid_argument"),
    ("ab_group_bounds('{0.5, 0.4}')", "22023", "invalid_argument"),
    ("ab_group_bounds('{0.5, 1}', spending => 'all')", "22023", "invalid_argument"),
    ("ab_group_bounds('{0.5, 1}', sides => 3)", "22023", "invalid_argument"),
    ("ab_bayes(1, -1)", "22023", "invalid_argument"),
    ("ab_bayes(1, 1, prior_sd => 'Infinity')", "22023", "invalid_argument"),
    ("ab_bayes_beta(10, 11, 10, 1)", "22023", "invalid_argument"),
    ("ab_bayes_beta(10, 1, 10, 1, 0)", "22023", "invalid_argument"),
    ("ab_prior('{1, 2}', '{1}')", "22023", "invalid_argument"),
    ("ab_shrink(1, 1, -1)", "22023", "invalid_argument"),
    ("ab_bandit('{1, 2}', '{1}', '{1, 1}')", "22023", "invalid_argument"),
    ("ab_bandit('{1, 2}', '{1, 1}', '{1, 1}', 'greedy')", "22023", "invalid_argument"),
    ("ab_bandit('{1, 2}', '{1, 1}', '{1, 1}', floor => 2)", "22023", "invalid_argument"),
    ("ab_bandit_estimate('{1, 1}', '{1, 1}', '{2, 2}', '{1, 1}', '{1, 1}')", "22023", "invalid_argument"),
    ("ab_interaction('{}', '{}', '{}')", "22023", "invalid_argument"),
    ("ab_interaction('{1, 1, 1, 1}', '{1, 1, 1, 1}', '{1, 1, 1, -1}')", "22023", "invalid_argument"),
    ("ab_heterogeneity('{1}', '{1, 1}')", "22023", "invalid_argument"),
    ("ab_heterogeneity('{NaN}', '{1}')", "22023", "invalid_argument"),
    ("ab_project('NaN', 0, 1, 1)", "22023", "invalid_argument"),
    ("ab_project(1, 0, 2, -1)", "22023", "invalid_argument"),
    ("ab_moments('NaN'::float8)", "22023", "invalid_argument"),
    ("ab_moments_merge('{1}')", "22023", "invalid_argument"),
    ("ab_moments_row('{1, 2, -3, 0, 0}')", "22023", "invalid_argument"),
    ("ab_stats('Infinity'::float8)", "22023", "invalid_argument"),
    ("ab_stats2(1, '-Infinity')", "22023", "invalid_argument"),
    ("ab_ttest_agg('NaN', true)", "22023", "invalid_argument"),
    ("ab_ttest_agg(1, true, 1)", "22023", "invalid_argument"),
    ("ab_ztest_agg(true, true, 'NaN')", "22023", "invalid_argument"),
    ("ab_cuped_agg(1, 'NaN', true)", "22023", "invalid_argument"),
    ("ab_srm_agg('control', 'Infinity')", "22023", "invalid_argument"),
    ("ab_mannwhitney_agg(1, 3)", "22023", "invalid_argument"),
    ("ab_quantile(1, 0)", "22023", "invalid_argument"),
    ("ab_quantile('\\x00'::bytea, 0.5)", "22023", "invalid_argument"),
    ("ab_quantile_sketch('NaN')", "22023", "invalid_argument"),
    ("ab_quantile_sketch_merge('\\x00')", "22023", "invalid_argument"),
    // ab_grant
    ("ab_grant('nobody', 'client')", "42704", "role_not_found"),
    ("ab_grant(null, 'client')", "42704", "role_not_found"),
    ("ab_grant('', 'client')", "42704", "role_not_found"),
    ("ab_grant('postgres', 'king')", "22023", "invalid_argument"),
    ("ab_grant('postgres', null)", "22023", "invalid_argument"),
    ("ab_grant('postgres', 'Client')", "22023", "invalid_argument"),
    // Wrong types are no function of ours
    ("ab_assign(1.5, 'running')", "42883", ""),
    ("ab_assign('u', 1)", "42883", ""),
    ("ab_assign('u')", "42883", ""),
    ("ab_assign('not-a-uuid'::uuid, 'running')", "22P02", ""),
    ("ab_expose(true, 'running')", "42883", ""),
    ("ab_bucket('s', 1)", "42883", ""),
    ("ab_rollup('soon')", "22P02", ""),
    ("ab_config_version(1)", "42883", ""),
    ("ab_ingest(null)", "22023", "invalid_argument"),
    ("ab_ingest('{}')", "22023", "invalid_argument"),
    ("ab_ingest('[]', 'nowhere')", "42704", "workspace_not_found"),
    ("ab_reject_events('{a,b}', '{c}', '{m}')", "22023", "invalid_argument"),
    ("ab_reject_events('{a}', '{null}', '{m}')", "22023", "invalid_argument"),
    ("ab_replay_rejected(null, 'nowhere')", "42704", "workspace_not_found"),
    ("ab_create_metric('m', 'e', 'median')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'retention')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'count', day => 1)", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'conversion', cap => 1)", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'count', value_property => 'p')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'ratio')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', 'ratio', denominator => '[]')", "22023", "invalid_argument"),
    (
        "ab_create_metric('m', 'e', 'ratio', denominator => '{\"event_name\": \"v\", \"sort\": 1}')",
        "22023",
        "invalid_argument",
    ),
    ("ab_create_metric('m', 'e', \"window\" => '1 month')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', \"window\" => '150000000 days')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', delay => '-1 day')", "22023", "invalid_argument"),
    ("ab_create_metric('m', 'e', covariate_window => '91 days')", "22023", "invalid_argument"),
    (
        "ab_create_metric('m', 'e', filter => '{\"operator\": \"in_segment\", \"values\": [\"s\"]}')",
        "22023",
        "invalid_rule",
    ),
    ("ab_create_experiment('six', dimensions => '{a,b,c,d,e,f}')", "22023", "invalid_argument"),
];

/// Functions that have no argument to refuse.
const NEVER_REFUSE: &[&str] = &[
    "ab_as_of",
    "ab_assign_all",
    "ab_assign_reason",
    "ab_config_changes",
    "ab_create_publication",
    "ab_explain",
    "ab_first_variants",
    "ab_flag",
    "ab_flag_enabled",
    "ab_flag_reason",
    "ab_ingest_all_staged",
    "ab_ingest_staged",
    "ab_maintain",
    "ab_refresh_results",
    "ab_rollup_failed",
    "ab_rollup_status",
];

#[test]
fn everything_that_cannot_be_used_is_refused_by_name() {
    let (_database, mut client) = prepared();
    for &(call, sqlstate, code) in REFUSED {
        // Not `from`, where no aggregate may be.
        let error = sql_error(client.batch_execute(&format!("select {call}")));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), (sqlstate, code), "{call}: {error:?}");
        if !code.is_empty() {
            assert!(!error.hint.is_empty(), "{call} gives no advice");
            assert!(!error.message.ends_with('.'), "{call}: {}", error.message);
            assert!(!error.message.starts_with(char::is_uppercase), "{call}: {}", error.message);
            assert!(error.message.len() < 400, "{call} repeats its whole argument");
        }
    }
    let left = one(
        &mut client,
        "select concat_ws(' ', (select count(*) from ab.experiment), (select count(*) from ab.metric), (select count(*) from ab.event), (select count(*) from ab.experiment_metric))",
    );
    assert_eq!(left.as_deref(), Some("6 1 0 1"), "nothing refused has left a trace");
    let functions = one(
        &mut client,
        "select string_agg(distinct p.proname, ' ') from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'ab\\_%'",
    )
    .unwrap();
    for function in functions.split(' ').filter(|name| !NEVER_REFUSE.contains(name)) {
        assert!(
            REFUSED.iter().any(|(call, ..)| call.starts_with(&format!("{function}("))),
            "{function} has no case"
        );
    }
    assert_calm_log();
}

#[test]
fn a_workspace_that_does_not_exist_is_named() {
    let (_database, mut client) = prepared();
    for workspace in ["nowhere", "a:b", "ünicode"] {
        run(&mut client, &format!("set ab.workspace = '{workspace}'"));
        for call in ["ab_create_experiment('e')", "ab_create_metric('m', 'e')", "ab_track('u', 'e')"] {
            let error = sql_error(client.batch_execute(&format!("select {call}")));
            assert_eq!(
                (error.sqlstate.as_str(), error.code.as_str()),
                ("42704", "workspace_not_found"),
                "{workspace}: {call}"
            );
            assert!(error.message.contains(&format!("\"{workspace}\"")), "{}", error.message);
        }
        for call in ["ab_start('running')", "ab_results('running')", "ab_add_metric('running', 'orders')"] {
            let error = sql_error(client.batch_execute(&format!("select {call}")));
            assert_eq!(error.code, "experiment_not_found", "{workspace}: {call}");
        }
        assert_eq!(one(&mut client, "select ab_assign_reason('u', 'running')").as_deref(), Some("not_found"));
        assert_eq!(one(&mut client, "select ab_expose('u', 'running')"), None);
        assert_eq!(one(&mut client, "select ab_config_version()"), None);
    }
    let left = one(&mut client, "select string_agg(workspace, ' ') from ab.workspace");
    assert_eq!(left.as_deref(), Some("default"), "none made itself");
}

#[test]
fn a_batch_stores_the_good_and_names_the_refused() {
    let (_database, mut client) = prepared();
    let refused = client
        .query(
            "select item, code, message from ab_track_batch(
                 array['a', 'b', 'c', 'd', 'e', 'f'], (select array_agg(gen_random_uuid()) from generate_series(1, 6)),
                 array[now(), now(), now(), '9999-01-01', '1999-12-31', 'infinity'],
                 '{custom,custom,exposure,custom,custom,custom}', '{e,e,e,e,e,e}', '{1,2,3,4,5,6}', '{\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\"}',
                 '{null,nowhere,running,null,null,running}', '{null,null,nobody,null,null,null}', '{null,null,null,null,null,null}')
             order by item",
            &[],
        )
        .unwrap();
    let refused: Vec<(i32, &str)> = refused.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(
        refused,
        [
            (2, "experiment_not_found"),
            (3, "variant_not_found"),
            (4, "invalid_event_time"),
            (5, "invalid_event_time"),
            (6, "invalid_event_time")
        ]
    );
    assert_eq!(one(&mut client, "select string_agg(user_id, ' ') from ab.event").as_deref(), Some("a"));
    run(&mut client, "select ab_track_batch('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')");
}

#[test]
fn a_nul_byte_never_gets_in() {
    let (_database, mut client) = prepared();
    for statement in [
        "select ab_assign($1::text, 'running')",
        "select ab_assign('u', $1)",
        "select ab_expose($1::text, 'running')",
        "select ab_track($1, 'e')::text",
        "select ab_track('u', $1)::text",
        "select ab_create_experiment($1)",
        "select ab_create_metric('m', $1)",
        "select ab_bucket('s', $1)::text",
    ] {
        let error = sql_error(client.query(statement, &[&"a\0b"]));
        assert_eq!(error.sqlstate, "22021", "{statement}");
    }
    // Escaped in JSON, where the type of the argument lets it pass.
    let error = sql_error(client.batch_execute(
        r#"select ab_track_batch('{u}', array[gen_random_uuid()], array[now()], '{custom}', '{e}', '{1}', array['{"a": "\u0000"}'], '{null}', '{null}', '{null}')"#,
    ));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_event"));
    assert_calm_log();
}

#[test]
fn an_error_of_ours_is_caught_like_any_other() {
    let (_database, mut client) = prepared();
    run(
        &mut client,
        "create function attempt(statement text) returns text language plpgsql as $$
         declare detail text; begin
             execute statement; return 'no error';
         exception when others then
             get stacked diagnostics detail = pg_exception_detail;
             return sqlstate || ' ' || split_part(detail, E'\\n', 1);
         end $$",
    );
    // Often, so that whatever an error leaves behind would show.
    let distinct = one(
        &mut client,
        "select string_agg(distinct attempt('select ab_track('''', ''e'')'), ', ') from generate_series(1, 2000)",
    );
    assert_eq!(distinct.as_deref(), Some("22023 code=invalid_user_id"));
    let distinct = one(
        &mut client,
        "select string_agg(distinct attempt('select ab_start(''nowhere'')'), ', ') from generate_series(1, 200)",
    );
    assert_eq!(distinct.as_deref(), Some("42704 code=experiment_not_found"));
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'running')").as_deref(), Some("split"));
    assert_eq!(one(&mut client, "select current_user").as_deref(), Some("postgres"));
}

#[test]
fn extreme_numbers_have_an_answer() {
    let (_database, mut client) = prepared();
    for call in [
        "ab_ttest(9223372036854775807, 1e308, 1e308, 9223372036854775807, -1e308, 1e308)",
        "ab_ttest(2, 0, 0, 2, 0, 0)",
        "ab_ttest(2, 5e-324, 5e-324, 2, 1, 1)",
        "ab_ttest(0, 0, 0, 0, 0, 0)",
        "ab_ttest(1, 1, 1, 1, 1, 1)",
        "ab_ttest(null, null, null, null, null, null, null, null)",
        "ab_ztest(9223372036854775807, 9223372036854775807, 9223372036854775807, 0)",
        "ab_ztest(1, 1, 1, 1)",
        "ab_ztest(0, 0, 0, 0)",
        "ab_ztest(10, 5, 10, 5, 1e-300)",
        "ab_proportion_ci(0, 0)",
        "ab_proportion_ci(9223372036854775807, 9223372036854775807)",
        "ab_mean_ci(0, 0, 0)",
        "ab_mean_ci(9223372036854775807, 1e308, 1e308, 0.9999999999)",
        "ab_mean_ci(2, 1, 1, 1e-300)",
        "ab_lift_ci(9223372036854775807, 1e308, 1e308, 9223372036854775807, -1e308, 1e308)",
        "ab_ratio_test(2, 1e308, 1e308, 5e-324, 0, 0, 2, 1, 1, 0, 1, 0)",
        "ab_cuped(2, 1e308, 1e308, 1e308, 1e308, 1e308, 2, -1e308, 1e308, -1e308, 1e308, -1e308)",
        "ab_cuped_theta('{}', '{}', '{}')",
        "ab_poststratify('{}', '{}', '{}', '{}', '{}', '{}')",
        "ab_chi2('{}', '{}')",
        "ab_fisher(9223372036854775807, 1, 9223372036854775807, 9223372036854775807)",
        "ab_fisher(5000000000, 2500000000, 5000000000, 2500000000)",
        "ab_mannwhitney('{}', '{}')",
        "ab_quantile_ci('{}', 0.5)",
        "ab_srm('{}', '{}')",
        "ab_srm('{9223372036854775807, 9223372036854775807}', '{1e308, 5e-324}')",
        "ab_srm_phases('{}', '{}', '{}', '{}')",
        "ab_srm_sequential('{9223372036854775807, 9223372036854775807}', '{1e308, 5e-324}')",
        "ab_adjust_pvalues('{}')",
        "ab_adjust_pvalues_table('{null, 0, 1}')",
        "ab_sample_size(1e-300, 1e308, 1e-8)",
        "ab_sample_size_prop(5e-324, 1e-300)",
        "ab_power(9223372036854775807, 0, 1e308, 9223372036854775807, 1e308, -1e308)",
        "ab_mde(0, 0, 0, 0, 0)",
        "ab_runtime(9223372036854775807, '{}', 1)",
        "ab_noninferiority(2, -1, 0, 2, -1, 0, 0.1)",
        "ab_interaction('{2, 2, 2, 2}', '{1e308, -1e308, 1e308, -1e308}', '{1e308, 1e308, 0, 0}')",
        "ab_heterogeneity('{1e308, -1e308}', '{5e-324, 1e308}')",
        "ab_project(1e308, '-Infinity', 'Infinity', 1e308)",
        "ab_sequential(1e308, 5e-324, 9223372036854775807)",
        "ab_group_bounds('{0.001, 0.5, 1, 1e5}', 1e-300)",
        "ab_bayes(1e308, 5e-324, -1e308, 1e308)",
        "ab_bayes_beta(9223372036854775807, 0, 9223372036854775807, 9223372036854775807, 1e-6, 1e12)",
        "ab_bayes_beta(0, 0, 0, 0, 1e-6, 1e-6, 1e-12)",
        "ab_bandit('{}', '{}', '{}')",
        "ab_bandit('{9223372036854775807, 200}', '{1e308, -1e308}', '{5e-324, 1e308}')",
        "ab_bandit_estimate('{}', '{}', '{}', '{}', '{}')",
        "ab_prior('{}', '{}')",
        "ab_shrink(1e308, 5e-324, 1e308)",
    ] {
        run(&mut client, &format!("set statement_timeout = '30s'; select * from {call}"));
    }
    run(&mut client, "reset statement_timeout");
    run(
        &mut client,
        "select ab_track('u', 'purchase', v) from unnest('{1.7976931348623157e308,-1.7976931348623157e308,5e-324,-0}'::float8[]) v;
         select ab_create_metric('amount', 'purchase', 'sum'); select ab_add_metric('running', 'amount'); select ab_expose('u', 'running')",
    );
    run(&mut client, "select ab_track('u', 'purchase', 1.7976931348623157e308) from generate_series(1, 3)");
    run(&mut client, "select ab_rollup(); select * from ab_results('running'); select ab_rebuild('running')");
    let absurd = one(
        &mut client,
        "select string_agg(distinct coalesce(note, 'none') || ' ' || coalesce(significant::text, 'unknown'), ', ') from ab_results('running') where metric = 'amount' and not is_control",
    );
    assert_eq!(absurd.as_deref(), Some("out_of_range unknown"), "the mean is beyond any double");
    run(
        &mut client,
        "select ab_expose(n, 'running'), ab_track(n::text, 'purchase', 1e200) from generate_series(1, 100) n",
    );
    run(&mut client, "select ab_rollup()");
    let absurd = one(
        &mut client,
        "select string_agg(distinct concat_ws(' ', note, significant, p_value, ci_low, diff_low), ', ') from ab_results('running') where metric = 'amount' and not is_control",
    );
    assert_eq!(
        absurd.as_deref(),
        Some("out_of_range"),
        "a variance that no double holds is unknown, not zero"
    );
    assert_calm_log();
}

#[test]
fn what_is_wrong_is_said_once_and_of_the_right_thing() {
    let (_database, mut client) = prepared();
    run(
        &mut client,
        "insert into ab.workspace (workspace) values ('other'); set ab.workspace = 'other'; select ab_create_experiment('foreign'); reset ab.workspace",
    );
    for (statement, sqlstate, code, message) in [
        (
            "update ab.experiment set prerequisites = '{}' where experiment = 'draft'",
            "22023",
            "invalid_prerequisite",
            "prerequisites of experiment \"draft\": invalid type: map, expected a sequence at line 1 column 0",
        ),
        (
            "select ab_set_flag('flag', prerequisites => '[{}]')",
            "22023",
            "invalid_prerequisite",
            "prerequisites of flag \"flag\": number 1 is neither an experiment with variants or assigned, nor a flag with values",
        ),
        (
            "select ab_schedule('draft', '[{\"at\": \"soon\", \"percent\": 1}]')",
            "22023",
            "invalid_schedule",
            "schedule of experiment \"draft\": step 1 has the time \"soon\", which is none",
        ),
        (
            "select ab_set_targeting('draft', '[]')",
            "22023",
            "invalid_rule",
            "targeting of experiment \"draft\" at $: a rule is an object, but this is a list",
        ),
        (
            "select ab_create_segment('s', '[]')",
            "22023",
            "invalid_rule",
            "rule of segment \"s\" at $: a rule is an object, but this is a list",
        ),
        (
            "select ab_exclude(rule => '[]')",
            "22023",
            "invalid_rule",
            "exclusion of workspace \"default\" at $: a rule is an object, but this is a list",
        ),
        (
            "select ab_set_flag('flag', '[{\"when\": [], \"value\": true}]')",
            "22023",
            "invalid_rule",
            "when of rule 1 of flag \"flag\" at $: a rule is an object, but this is a list",
        ),
        (
            "insert into ab.layer_slice (layer_id, experiment_id, from_bucket, to_bucket)
             select l.layer_id, x.experiment_id, 900000, 900001 from ab.layer l, ab.experiment x where l.layer = 'layer' and x.experiment = 'foreign'",
            "42704",
            "layer_not_found",
            "layer \"layer\" is in workspace \"default\" and experiment \"foreign\" in \"other\"",
        ),
        (
            "select ab_create_experiment('e', factors => '{\"f\": [\"a\", \"a.b\"], \"g\": [\"b.c\", \"c\"]}')",
            "22023",
            "invalid_variants",
            "two combinations of the factors are both called \"a.b.c\"",
        ),
        (
            "select ab_create_segment('s', query => 'select from generate_series(1, 2)')",
            "22023",
            "invalid_query",
            "segment query returns no column",
        ),
        (
            "select ab_set_prerequisites('draft', '[{\"experiment\": \"running\", \"variants\": [\"control\", \"nope\"]}]')",
            "42704",
            "variant_not_found",
            "experiment \"running\" has no variant \"nope\", which experiment \"draft\" waits for",
        ),
        (
            "select ab_create_flag('f', prerequisites => '[{\"experiment\": \"running\", \"variants\": [\"nope\"]}]')",
            "42704",
            "variant_not_found",
            "experiment \"running\" has no variant \"nope\", which flag \"f\" waits for",
        ),
        (
            "update ab.experiment set prerequisites = '[{\"flag\": \"flag\", \"values\": [true, \"true\"]}]' where experiment = 'draft'",
            "22023",
            "invalid_prerequisite",
            "flag \"flag\" is a boolean and never \"true\", which experiment \"draft\" waits for",
        ),
    ] {
        let error = sql_error(client.batch_execute(statement));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str(), error.message.as_str()),
            (sqlstate, code, message),
            "{statement}"
        );
    }
    run(
        &mut client,
        "select ab_set_prerequisites('draft', '[{\"experiment\": \"running\", \"variants\": [\"control\"]}, {\"flag\": \"flag\", \"values\": [true]}]');
         select ab_create_experiment('e', factors => '{\"f\": [\"a\", \"a.b\"], \"g\": [\"c\", \"d\"]}')",
    );
    assert_calm_log();
}
