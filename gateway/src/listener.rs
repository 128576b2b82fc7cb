//! Keeps the snapshot in step with the database.
//!
//! A connection of its own listens for changes, and listens before it first loads, so that no change falls between.
//! Notifications can still be lost with a connection, hence a full load on every connect and a look at the version now
//! and then. Versions are compared for being different, not for being newer: a restored database starts lower.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_postgres::types::Json;
use tokio_postgres::{AsyncMessage, Client};
use tracing::{debug, info, warn};

use crate::Gateway;
use crate::clock::local_now;
use crate::database::ConnectError;
use crate::snapshot::Snapshot;

const POLL: Duration = Duration::from_secs(30);
/// The version of a workspace in which nothing was ever configured.
const UNCONFIGURED: i64 = 0;
/// Notifications that come closer together than this are one reload: the first at once, the rest after it.
const COALESCE: Duration = Duration::from_millis(100);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// A server that says nothing for so long counts as gone.
const SILENCE: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the database holds no configuration of workspace \"{0}\" any more")]
    NoWorkspace(String),
    #[error("the connection was closed")]
    Closed,
    #[error("the database did not answer within {} seconds", SILENCE.as_secs())]
    Silent,
}

impl From<tokio_postgres::Error> for Lost {
    fn from(error: tokio_postgres::Error) -> Lost {
        Lost::Connect(error.into())
    }
}

/// Follows the database's configuration for as long as the process lives, whatever becomes of the database.
pub async fn follow(gateway: Arc<Gateway>) {
    let mut backoff = FIRST_BACKOFF;
    let mut said = String::new();
    loop {
        let lost = listen(&gateway).await;
        if gateway.connected.swap(false, Ordering::Relaxed) {
            // It had worked: start over quickly, and say again what is wrong.
            backoff = FIRST_BACKOFF;
            said.clear();
        }
        let why = lost.to_string();
        if why == said {
            debug!(reason = why, "still without the database");
        } else {
            let meanwhile = match gateway.snapshot.load().as_deref() {
                Some(snapshot) => format!("serving on with config version {}", snapshot.version),
                None => "not ready until it can be read".to_owned(),
            };
            warn!("no configuration from {}: {why}; {meanwhile}, trying again", gateway.database.place());
            said = why;
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

/// Connects, loads and follows until that fails.
async fn listen(gateway: &Gateway) -> Lost {
    match try_listen(gateway).await {
        Err(lost) => lost,
        Ok(never) => match never {},
    }
}

async fn try_listen(gateway: &Gateway) -> Result<std::convert::Infallible, Lost> {
    let (client, mut connection) = gateway.database.connect().await?;
    let (sender, mut notices) = mpsc::unbounded_channel::<String>();
    // Ends, and with it the channel, when the connection does.
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notice) = message
                && sender.send(notice.payload().to_owned()).is_err()
            {
                break;
            }
        }
    });
    answered(gateway.database.set_up(&client)).await?;
    answered(client.batch_execute("listen ab_config")).await?;
    load(gateway, &client).await?;

    let mut poll = interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            notice = notices.recv() => {
                let notice = notice.ok_or(Lost::Closed)?;
                if due.is_none() && is_news(&notice, gateway) {
                    due = Some(not_before.max(Instant::now()));
                }
            }
            () = sleep_until(due.unwrap_or(not_before)), if due.is_some() => {
                due = None;
                load(gateway, &client).await?;
                not_before = Instant::now() + COALESCE;
            }
            _ = poll.tick() => {
                measure_clock(gateway, &client).await?;
                let row = answered(client.query_one("select ab_config_version($1)", &[&gateway.workspace])).await?;
                let version: Option<i64> = row.try_get(0)?;
                if version.unwrap_or(UNCONFIGURED) != held_version(gateway).unwrap_or(UNCONFIGURED) {
                    load(gateway, &client).await?;
                }
            }
        }
    }
}

/// Whether a notification is of this workspace and of a version that is not here yet.
fn is_news(notice: &str, gateway: &Gateway) -> bool {
    match notice.rsplit_once(':') {
        Some((workspace, version)) => {
            workspace == gateway.workspace && version.parse().ok() != held_version(gateway)
        }
        None => true,
    }
}

fn held_version(gateway: &Gateway) -> Option<i64> {
    gateway.snapshot.load().as_ref().map(|snapshot| snapshot.version)
}

async fn load(gateway: &Gateway, client: &Client) -> Result<(), Lost> {
    measure_clock(gateway, client).await?;
    let started = Instant::now();
    let row = answered(
        client.query_opt("select version, documents from ab_config_documents($1)", &[&gateway.workspace]),
    )
    .await?;
    let (version, documents) = match row {
        Some(row) => {
            let Json(documents): Json<Vec<Box<RawValue>>> = row.try_get(1)?;
            (row.try_get(0)?, documents)
        }
        // A database that is just being restored looks like this; what is known is better than nothing.
        None if held_version(gateway).is_some_and(|version| version != UNCONFIGURED) => {
            return Err(Lost::NoWorkspace(gateway.workspace.clone()));
        }
        None => {
            warn!(
                "workspace \"{}\" has no configuration yet: create an experiment in it or set AB_WORKSPACE",
                gateway.workspace
            );
            (UNCONFIGURED, Vec::new())
        }
    };
    let count = documents.len();
    let previous = gateway.snapshot.load_full();
    let snapshot = Snapshot::build(version, documents, previous.as_deref());
    gateway.snapshot.store(Some(Arc::new(snapshot)));
    let was_connected = gateway.connected.swap(true, Ordering::Relaxed);
    gateway.loaded.notify_one();
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if was_connected || previous.is_none() {
        debug!(version, experiments = count, milliseconds, "configuration loaded");
    } else {
        info!(version, experiments = count, milliseconds, "the database is back, configuration loaded");
    }
    Ok(())
}

async fn measure_clock(gateway: &Gateway, client: &Client) -> Result<(), Lost> {
    const NOW: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    // Prepared first: only the answer itself may lie between the two looks at the local clock.
    let statement = answered(client.prepare(NOW)).await?;
    let sent = local_now();
    let row = answered(client.query_one(&statement, &[])).await?;
    gateway.clock.measured(sent, row.try_get(0)?, local_now());
    Ok(())
}

async fn answered<T, E: Into<Lost>>(question: impl Future<Output = Result<T, E>>) -> Result<T, Lost> {
    match timeout(SILENCE, question).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(Lost::Silent),
    }
}
