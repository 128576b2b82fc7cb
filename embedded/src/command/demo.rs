//! The demo: twenty thousand simulated shoppers, through the front door.
//!
//! Everything but the setting-up goes over HTTP as an application's traffic would. The treatment really is better, so
//! that the table at the end has something to find; randomness is seeded, so that it finds the same in every new
//! cluster.

use std::io::{IsTerminal, Write, stdout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use ab_embedded::Home;
use anyhow::{Context, Result, bail};
use postgres::{Client, Config, NoTls};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use reqwest::blocking::Client as Http;
use serde_json::{Value, json};

use super::shell::database_url;
use super::{DATABASE, Found};

const USERS: usize = 20_000;
const CONNECTIONS: usize = 32;
/// Users simulated in one go, with their own seed: the outcome does not depend on who of the threads is faster.
const CHUNK: usize = 100;
const BATCH: usize = 100;
const SEED: u64 = 20_260_101;
/// The truth that the experiment is to find: how many in a hundred buy.
const TRUE_RATES: [(&str, f64); 2] = [("control", 0.10), ("treatment", 0.12)];
const PATIENCE: Duration = Duration::from_secs(60);

/// `make demo`: against what `make up` has started.
pub fn run_against_running() -> Result<()> {
    let home = Home::open_existing()?;
    let found = Found::look(&home);
    let (Some(_), Some(_), Some(ports)) = (found.postmaster, found.gateway, found.ports) else {
        bail!("nothing runs here: run make up");
    };
    let config: Config = database_url(&home, ports)?.parse()?;
    let mut database =
        config.connect(NoTls).with_context(|| format!("cannot connect to database {DATABASE}"))?;
    run(&mut database, &format!("http://127.0.0.1:{}", ports.http))
}

/// What was sent, to be compared with what is counted.
#[derive(Default)]
struct Sent {
    purchases: u64,
    cents: u64,
}

/// Runs one experiment from `ab_create_experiment` to its results.
pub fn run(database: &mut Client, gateway: &str) -> Result<()> {
    let experiment = set_up(database)?;
    let http =
        Http::builder().timeout(Duration::from_secs(30)).pool_max_idle_per_host(CONNECTIONS).build()?;
    wait_for_experiment(&http, gateway, &experiment)?;
    let started = Instant::now();
    let sent = send_traffic(&http, gateway, &experiment)?;
    let sending = started.elapsed();
    let started = Instant::now();
    let results = wait_for_results(&http, gateway, &experiment, &sent)?;
    let counting = started.elapsed();
    println!(
        "{USERS} users assigned and exposed, {} purchases tracked in {:.1} s; counted and tested {:.1} s later\n",
        sent.purchases,
        sending.as_secs_f64(),
        counting.as_secs_f64()
    );
    print!("{}", table(&results));
    println!(
        "\nTrue rates: {}. Try next, in another terminal:\n\n\
         \x20 make psql                 then: select * from ab_results('{experiment}');\n\
         \x20 eval \"$(make env)\"        then: psql \"$DATABASE_URL\"\n\
         \x20 curl {gateway}/api/v1/experiments/{experiment}/results\n\
         \x20 curl {gateway}/api/v1/assign -H 'content-type: application/json' \\\n\
         \x20      -d '{{\"user_id\":\"user_1\",\"experiments\":[\"{experiment}\"]}}'\n\
         \x20 curl {gateway}/health/ready",
        TRUE_RATES.map(|(variant, rate)| format!("{variant} {:.0} %", rate * 100.0)).join(", ")
    );
    Ok(())
}

/// The experiment and its metrics, in SQL as an owner would; answers the first free name.
fn set_up(database: &mut Client) -> Result<String> {
    let taken: Vec<String> = database
        .query("select experiment::text from ab.experiment where experiment like 'checkout\\_demo%'", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut experiment = "checkout_demo".to_owned();
    let mut number = 1;
    while taken.contains(&experiment) {
        number += 1;
        experiment = format!("checkout_demo_{number}");
    }
    for (metric, kind) in [("purchase", "conversion"), ("revenue", "sum")] {
        database.execute(
            "select ab_create_metric($1, 'purchase', $2)
              where not exists (select from ab.metric where metric = $1)",
            &[&metric, &kind],
        )?;
    }
    database
        .execute("select ab_create_experiment($1, '{\"control\":50,\"treatment\":50}')", &[&experiment])?;
    database.execute(
        "select ab_add_metric($1, 'purchase', 'primary'), ab_add_metric($1, 'revenue')",
        &[&experiment],
    )?;
    database.execute("select ab_start($1)", &[&experiment])?;
    println!("experiment {experiment} is running: control and treatment, half of the users each");
    Ok(experiment)
}

/// The gateway hears of a new experiment by itself, within milliseconds.
fn wait_for_experiment(http: &Http, gateway: &str, experiment: &str) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if !assign(http, gateway, experiment, "user_0", false)?.is_empty() {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    bail!("the gateway has not heard of experiment {experiment}")
}

/// The variant of a user; empty while there is none.
fn assign(http: &Http, gateway: &str, experiment: &str, user: &str, expose: bool) -> Result<String> {
    let body = json!({"user_id": user, "experiments": [experiment], "expose": expose});
    let answer = post(http, &format!("{gateway}/api/v1/assign"), &body)?;
    Ok(answer["assignments"][0]["variant_id"].as_str().unwrap_or_default().to_owned())
}

/// Posts, again after a while where the gateway asks for that.
fn post(http: &Http, url: &str, body: &Value) -> Result<Value> {
    let started = Instant::now();
    loop {
        let answer = http.post(url).json(body).send().with_context(|| format!("cannot reach {url}"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.json()?);
        }
        if status != StatusCode::TOO_MANY_REQUESTS || started.elapsed() > PATIENCE {
            bail!("{url} answered {status}: {}", answer.text()?);
        }
        sleep(Duration::from_millis(200));
    }
}

fn send_traffic(http: &Http, gateway: &str, experiment: &str) -> Result<Sent> {
    println!("sending {USERS} users through {gateway}");
    let next_chunk = AtomicUsize::new(0);
    let users_done = AtomicUsize::new(0);
    let total = Mutex::new(Sent::default());
    let outcome = scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| send_chunks(http, gateway, experiment, &next_chunk, &users_done, &total)))
            .collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            show_progress(users_done.load(Ordering::Relaxed));
            sleep(Duration::from_millis(100));
        }
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a connection of the demo has failed"),
            }
        }
        Ok(())
    });
    clear_progress();
    outcome?;
    Ok(total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// One connection's work: users are assigned and exposed one by one, as they come; their purchases go in batches.
fn send_chunks(
    http: &Http,
    gateway: &str,
    experiment: &str,
    next_chunk: &AtomicUsize,
    users_done: &AtomicUsize,
    total: &Mutex<Sent>,
) -> Result<()> {
    let mut events = Vec::with_capacity(BATCH);
    let mut sent = Sent::default();
    loop {
        let chunk = next_chunk.fetch_add(1, Ordering::Relaxed);
        if chunk * CHUNK >= USERS {
            break;
        }
        let mut random = StdRng::seed_from_u64(SEED + chunk as u64);
        for number in chunk * CHUNK..USERS.min((chunk + 1) * CHUNK) {
            let user = format!("user_{number}");
            let variant = assign(http, gateway, experiment, &user, true)?;
            let Some((_, rate)) = TRUE_RATES.iter().find(|(name, _)| *name == variant) else {
                bail!("{user} got no variant of experiment {experiment}");
            };
            let (draw, cents) = (random.random::<f64>(), basket(&mut random));
            users_done.fetch_add(1, Ordering::Relaxed);
            if draw >= *rate {
                continue;
            }
            sent.purchases += 1;
            sent.cents += cents;
            events.push(json!({
                "user_id": user, "experiment_id": experiment, "variant_id": variant,
                "event_type": "purchase", "event_name": "purchase", "value": cents as f64 / 100.0,
            }));
            if events.len() == BATCH {
                track(http, gateway, &mut events)?;
            }
        }
    }
    track(http, gateway, &mut events)?;
    let mut total = total.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    total.purchases += sent.purchases;
    total.cents += sent.cents;
    Ok(())
}

/// What somebody spends, in cents: most a little, a few a lot.
fn basket(random: &mut StdRng) -> u64 {
    let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    ((3.4 + 0.5 * normal).exp() * 100.0).round() as u64
}

fn track(http: &Http, gateway: &str, events: &mut Vec<Value>) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let body = json!({"events": std::mem::take(events)});
    let answer = post(http, &format!("{gateway}/api/v1/track/batch"), &body)?;
    if answer["success"] != json!(true) {
        bail!("the gateway refused events: {answer}");
    }
    Ok(())
}

/// Waits until every user and purchase is counted; the gateway rolls up once a second.
fn wait_for_results(http: &Http, gateway: &str, experiment: &str, sent: &Sent) -> Result<Vec<Value>> {
    let url = format!("{gateway}/api/v1/experiments/{experiment}/results");
    let started = Instant::now();
    loop {
        let answer: Value = http.get(&url).send()?.error_for_status()?.json()?;
        let rows = answer["results"].as_array().cloned().unwrap_or_default();
        let sum = |metric: &str, column: &str| -> f64 {
            rows.iter().filter(|row| row["metric"] == metric).filter_map(|row| row[column].as_f64()).sum()
        };
        let (users, purchases) = (sum("purchase", "units"), sum("purchase", "conversions"));
        let cents = (sum("revenue", "total") * 100.0).round();
        if (users, purchases, cents) == (USERS as f64, sent.purchases as f64, sent.cents as f64) {
            return Ok(rows);
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "after {} s the results count {users} of {USERS} users and {purchases} of {} purchases",
                PATIENCE.as_secs(),
                sent.purchases
            );
        }
        sleep(Duration::from_millis(100));
    }
}

/// The results as people read them.
fn table(rows: &[Value]) -> String {
    let heading = [
        "metric",
        "variant",
        "users",
        "mean",
        "95 % interval",
        "lift",
        "95 % interval",
        "p-value",
        "significant",
    ];
    let mut lines = vec![heading.map(str::to_owned)];
    for row in rows {
        let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let is_rate = row["metric"] == "purchase";
        let mean =
            |value: f64| if is_rate { format!("{:.2} %", value * 100.0) } else { format!("{value:.3}") };
        let lift = |value: f64| format!("{:+.1} %", value * 100.0);
        lines.push([
            text("metric"),
            text("variant"),
            row["units"].to_string(),
            one(&row["mean"], mean),
            both(&row["ci_low"], &row["ci_high"], mean),
            one(&row["lift"], lift),
            both(&row["lift_low"], &row["lift_high"], lift),
            one(
                &row["p_value"],
                |value| if value < 0.0001 { format!("{value:.1e}") } else { format!("{value:.4}") },
            ),
            row["significant"]
                .as_bool()
                .map_or_else(String::new, |yes| if yes { "yes".into() } else { "no".into() }),
        ]);
    }
    let mut widths = [0; 9];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            // Names to the left, numbers to the right.
            if column < 2 {
                text += &format!("{cell:<width$}  ")
            } else {
                text += &format!("{cell:>width$}  ")
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn one(value: &Value, show: impl Fn(f64) -> String) -> String {
    value.as_f64().map(show).unwrap_or_default()
}

fn both(low: &Value, high: &Value, show: impl Fn(f64) -> String) -> String {
    match (low.as_f64(), high.as_f64()) {
        (Some(low), Some(high)) => format!("{} to {}", show(low), show(high)),
        _ => String::new(),
    }
}

/// One line that keeps changing, for people who watch.
fn show_progress(users: usize) {
    if stdout().is_terminal() {
        print!("\r{users} of {USERS} users");
        let _ = stdout().flush();
    }
}

fn clear_progress() {
    if stdout().is_terminal() {
        print!("\r\x1b[K");
        let _ = stdout().flush();
    }
}
