//! `ab_assign` over a table, against PostgreSQL's own hash function and against the PL/pgSQL that people write by hand.

use std::time::Instant;

use postgres::Client;

use crate::Ratio;

const USERS: u32 = 2_000_000;
/// The twin is so much slower that it gets a tenth of the users; its time is told for all of them.
const TWIN_SHARE: u32 = 10;
const REPETITIONS: usize = 15;

/// Two look-ups and a hash: what a home-made A/B table does.
const TWIN: &str = "
    create table twin_experiment (experiment text primary key, status text, salt text, traffic integer);
    create table twin_range (experiment text, from_bucket integer, to_bucket integer, variant text, primary key (experiment, from_bucket));
    insert into twin_experiment select x.experiment, x.status, x.salt, 1000000 from ab.experiment x;
    insert into twin_range select x.experiment, r.from_bucket, r.to_bucket, r.variant from ab.variant_range r join ab.experiment x using (experiment_id);
    analyze twin_experiment, twin_range;
    create function twin_assign(user_id text, wanted text) returns text language plpgsql stable as $$
    declare
        found_experiment record;
        chosen text;
        bucket integer;
    begin
        select * into found_experiment from twin_experiment e where e.experiment = wanted;
        if not found or found_experiment.status <> 'running' then
            return null;
        end if;
        bucket := abs(hashtextextended(found_experiment.salt || ':' || user_id, 0) % 1000000);
        select r.variant into chosen from twin_range r where r.experiment = wanted and bucket >= r.from_bucket and bucket < r.to_bucket;
        return chosen;
    end
    $$";

/// Measures with 10,000 experiments running.
pub fn run(client: &mut Client) -> anyhow::Result<Vec<Ratio>> {
    println!("assigning {USERS} users in SQL");
    client.batch_execute(&format!(
        "{TWIN};
        create table visitor as select 'user_' || n as id,
            jsonb_build_object('country', (array['DE', 'FR', 'US'])[1 + n % 3], 'plan', 'pro', 'age', n % 80) as context
            from generate_series(1, {USERS}) n;
        set max_parallel_workers_per_gather = 0;
        set jit = off",
    ))?;
    // By itself, because a VACUUM shares a message with nothing else.
    client.batch_execute("vacuum analyze visitor")?;
    let all = "from visitor";
    // By turns, so that all meet the same machine.
    let [mut hash, mut assign, mut targeted] = [f64::INFINITY; 3];
    for _ in 0..REPETITIONS {
        hash = hash.min(time(client, &format!("select count(hashtextextended(id, 0)) {all}"))?);
        assign = assign.min(time(client, &format!("select count(ab_assign(id, 'exp_5000')) {all}"))?);
        targeted =
            targeted.min(time(client, &format!("select count(ab_assign(id, 'exp_5018', context)) {all}"))?);
    }
    let mut twin = f64::INFINITY;
    for _ in 0..2 {
        twin = twin.min(time(
            client,
            &format!(
                "select count(twin_assign(id, 'exp_5000')) from (select id {all} limit {}) v",
                USERS / TWIN_SHARE
            ),
        )?);
    }
    let ratio =
        |what, measured, baseline, reference| Ratio { what, unit: "ms", measured, baseline, reference };
    let plain = "ab_assign, 2 M users, 10,000 experiments";
    Ok(vec![
        ratio(plain, assign, "hashtextextended over the same rows", hash),
        ratio(plain, assign, "PL/pgSQL with two look-ups", twin * f64::from(TWIN_SHARE)),
        ratio(
            "ab_assign with a three-condition rule on jsonb",
            targeted,
            "hashtextextended over the same rows",
            hash,
        ),
    ])
}

/// How long a query takes, in milliseconds.
fn time(client: &mut Client, query: &str) -> anyhow::Result<f64> {
    let begin = Instant::now();
    client.query_one(query, &[])?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}
