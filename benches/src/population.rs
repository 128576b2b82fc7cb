//! What the long benchmarks share: a hundred experiments with three metrics each, and a million users exposed in three of
//! them each.

use postgres::Client;

pub const USERS: u32 = 1_000_000;
pub const EXPERIMENTS: u32 = 100;
/// What a machine of this size would be given; all that makes a commit durable is left on.
pub const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "2GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "30min"),
    ("wal_compression", "lz4"),
    ("wal_buffers", "64MB"),
];

/// Installs the extension, makes the experiments, and exposes and counts everybody.
pub fn make(client: &mut Client) -> anyhow::Result<()> {
    println!("preparing {EXPERIMENTS} experiments with {USERS} users in three each");
    client.batch_execute("create extension pg_ab")?;
    client.batch_execute(&format!(
        "select ab_create_metric('orders', 'purchase'), ab_create_metric('revenue', 'payment', 'sum'), ab_create_metric('searches', 'search', 'count');
         select ab_create_experiment('exp_' || n, primary_metric => 'orders') from generate_series(1, {EXPERIMENTS}) n;
         select ab_add_metric('exp_' || n, m) from generate_series(1, {EXPERIMENTS}) n, unnest('{{revenue,searches}}'::text[]) m;
         update ab.experiment set status = 'running'"
    ))?;
    client.batch_execute("select ab_rollup()")?;
    client.batch_execute(&format!(
        "insert into ab.event_exposure (workspace_id, user_id, event_id, event_time, event_type, event_name, experiment_id, variant)
         select x.workspace_id, u.id, gen_random_uuid(), now() - interval '10 minutes', 'exposure', 'exposure', x.experiment_id, ab_assign(u.id, x.experiment)
         from (select n, format('user_%s', n) as id from generate_series(0, {USERS} - 1) n) u
         cross join generate_series(0, 2) k
         join ab.experiment x on x.experiment = format('exp_%s', 1 + (u.n * 7 + k * 33) % {EXPERIMENTS})"
    ))?;
    // In a transaction of its own: a roll-up leaves to the next one what its own transaction wrote.
    client.batch_execute("select ab_rollup()")?;
    Ok(())
}
