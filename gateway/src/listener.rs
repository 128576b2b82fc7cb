//! Keeps the snapshot in step with the database.
//!
//! A connection of its own listens for changes, and listens before it first loads, so that no change falls between.
//! Notifications can still be lost with a connection, hence a full load on every connect and a look at the version now
//! and then. Versions are compared for being different, not for being newer: a restored database starts lower.
//!
//! What is read for one snapshot is read in one transaction, so that a snapshot is always a state that was committed.
//! After a notice it is only what has changed since the snapshot that is held, asked for in one round trip.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, RowStream, Statement};
use tracing::{debug, info, warn};

use crate::Gateway;
use crate::clock::local_now;
use crate::database::ConnectError;
use crate::members::{Builder, Comparison, Members};
use crate::snapshot::{Change, Missing, Snapshot};

const POLL: Duration = Duration::from_secs(30);
/// The version of a workspace in which nothing was ever configured.
const UNCONFIGURED: i64 = 0;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// A server that says nothing for so long counts as gone.
const SILENCE: Duration = Duration::from_secs(15);

const NOW: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
const BEGIN: &str = "begin isolation level repeatable read, read only";
/// A list of a million members is then handed over without a file in between.
const BEGIN_EVERYTHING: &str =
    "begin isolation level repeatable read, read only; set local work_mem = '64MB'";
const COMMIT: &str = "commit";
const VERSION: &str = "select ab_config_version($1::text)";
/// The documents as text: they are compiled one by one as they arrive, and none is kept.
const CHANGES: &str = "
    select kind::text, key::text, document::text
      from ab_config_changes($1::bigint, $2::text)";
const MEMBERS: &str = "select m from ab_segment_members($1::text, $2::text) m";
const MEMBER_CHANGES: &str = "
    select user_id::text, is_member
      from ab_segment_changes($1::text, $2::bigint, $3::text)";

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
    let mut source = Source::new(gateway, client).await?;
    source.measure_clock().await?;
    source.load_everything().await?;

    let mut poll = interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            notice = notices.recv() => {
                let mut is_news = source.is_news(&notice.ok_or(Lost::Closed)?);
                // Whatever has come meanwhile is loaded together with it.
                while let Ok(notice) = notices.try_recv() {
                    is_news |= source.is_news(&notice);
                }
                if is_news {
                    source.load_changes().await?;
                }
            }
            _ = poll.tick() => {
                source.measure_clock().await?;
                source.load_changes().await?;
            }
        }
    }
}

/// A connection with all it is asked prepared on it.
struct Source<'a> {
    gateway: &'a Gateway,
    client: Client,
    now: Statement,
    version: Statement,
    changes: Statement,
    members: Statement,
    member_changes: Statement,
    /// The version that was held before the last load.
    loaded_from: i64,
}

impl<'a> Source<'a> {
    async fn new(gateway: &'a Gateway, client: Client) -> Result<Source<'a>, Lost> {
        let (now, version, changes, members, member_changes) = answered(async {
            tokio::try_join!(
                client.prepare(NOW),
                client.prepare(VERSION),
                client.prepare(CHANGES),
                client.prepare(MEMBERS),
                client.prepare(MEMBER_CHANGES)
            )
        })
        .await?;
        let loaded_from = UNCONFIGURED;
        Ok(Source { gateway, client, now, version, changes, members, member_changes, loaded_from })
    }

    /// Whether a notification is of this workspace and of a version that is not here yet.
    ///
    /// What was committed just before a load is heard of after it; those versions lie between what was held before the
    /// load and what is held now.
    fn is_news(&self, notice: &str) -> bool {
        let Some((workspace, version)) = notice.rsplit_once(':') else { return true };
        if workspace != self.gateway.workspace {
            return false;
        }
        match (version.parse::<i64>(), held_version(self.gateway)) {
            (Ok(version), Some(held)) => version <= self.loaded_from || version > held,
            _ => true,
        }
    }

    async fn measure_clock(&self) -> Result<(), Lost> {
        let sent = local_now();
        let row = answered(self.client.query_one(&self.now, &[])).await?;
        self.gateway.clock.measured(sent, row.try_get(0)?, local_now());
        Ok(())
    }

    /// Loads all there is, as after every connect.
    async fn load_everything(&mut self) -> Result<(), Lost> {
        let begun = Instant::now();
        let held = self.gateway.snapshot.load_full();
        let (version, changes) = self.begin(None).await?;
        let version = match version {
            Some(version) => version,
            // A database that is just being restored looks like this; what is known is better than nothing.
            None if held.as_ref().is_some_and(|held| held.version != UNCONFIGURED) => {
                return Err(Lost::NoWorkspace(self.gateway.workspace.clone()));
            }
            None => {
                warn!(
                    "workspace \"{}\" has no configuration yet: create an experiment in it or set AB_WORKSPACE",
                    self.gateway.workspace
                );
                UNCONFIGURED
            }
        };
        let next = Snapshot::empty(version);
        let (next, documents) = self.complete(next, changes, held.as_deref()).await?;
        self.gateway.snapshot.store(Some(Arc::new(next)));
        let was_connected = self.gateway.connected.swap(true, Ordering::Relaxed);
        self.gateway.loaded.notify_one();
        // Nothing before this was read by this connection, so nothing heard of is known to be in it.
        self.loaded_from = version;
        let milliseconds = milliseconds_since(begun);
        if was_connected || held.is_none() {
            debug!(version, documents, milliseconds, "configuration loaded");
        } else {
            info!(version, documents, milliseconds, "the database is back, configuration loaded");
        }
        answered(self.client.batch_execute(COMMIT)).await
    }

    /// Loads what has changed since the version that is held; everything if the database has gone back behind it.
    async fn load_changes(&mut self) -> Result<(), Lost> {
        let begun = Instant::now();
        let Some(held) = self.gateway.snapshot.load_full() else { return self.load_everything().await };
        let (version, changes) = self.begin(Some(held.version)).await?;
        let version = version.unwrap_or(UNCONFIGURED);
        if version <= held.version {
            // Not needed, but on its way.
            drop(changes);
            answered(self.client.batch_execute(COMMIT)).await?;
            if version < held.version {
                return self.load_everything().await;
            }
            return Ok(());
        }
        let next = held.at(version);
        let (next, documents) = self.complete(next, changes, Some(&held)).await?;
        // In force before the transaction is ended: that is only good manners.
        self.gateway.snapshot.store(Some(Arc::new(next)));
        self.loaded_from = held.version;
        debug!(version, documents, milliseconds = milliseconds_since(begun), "configuration changed");
        answered(self.client.batch_execute(COMMIT)).await
    }

    /// Begins a transaction and asks it for its version and for what has changed `since` another; all in one go.
    async fn begin(&self, since: Option<i64>) -> Result<(Option<i64>, RowStream), Lost> {
        let workspace = &self.gateway.workspace;
        let of_version: [&(dyn ToSql + Sync); 1] = [workspace];
        let of_changes: [&(dyn ToSql + Sync); 2] = [&since, workspace];
        let ((), version, changes) = answered(async {
            tokio::try_join!(
                biased;
                self.client.batch_execute(if since.is_some() { BEGIN } else { BEGIN_EVERYTHING }),
                self.client.query_one(&self.version, &of_version),
                self.client.query_raw(&self.changes, of_changes)
            )
        })
        .await?;
        Ok((version.try_get(0)?, changes))
    }

    /// Applies `changes` and reads what they leave to be read; with the number of documents.
    async fn complete(
        &self,
        mut next: Snapshot,
        changes: RowStream,
        held: Option<&Snapshot>,
    ) -> Result<(Snapshot, usize), Lost> {
        let mut documents = 0;
        let mut lists = Vec::new();
        let mut changes = pin!(changes);
        while let Some(row) = answered(changes.try_next()).await? {
            let (kind, key): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let missing = next.apply(Change { kind, key, document: row.try_get(2)? }, held);
            if missing != Missing::Nothing {
                lists.push((key.to_owned(), missing));
            }
            documents += 1;
        }
        for (key, missing) in lists {
            let members = match missing {
                Missing::Nothing => continue,
                Missing::Members => self.members(&key, held.and_then(|held| held.members(&key))).await?,
                Missing::ChangesSince(since) => {
                    let before = next.members(&key).cloned().unwrap_or_default();
                    self.changed_members(&key, since, before).await?
                }
            };
            next.set_members(&key, members);
        }
        Ok((next, documents))
    }

    /// Everybody on the list of a segment, of which `held` may be an earlier copy.
    async fn members(&self, segment: &str, held: Option<&Members>) -> Result<Members, Lost> {
        // After a reconnect the list is most often what it was, and two of a million would be a waste.
        if let Some(held) = held.filter(|held| !held.is_empty()) {
            let mut comparison = Comparison::new(held.clone());
            let mut rows = pin!(self.member_rows(segment).await?);
            let is_close = loop {
                let Some(row) = answered(rows.try_next()).await? else { break true };
                if !comparison.push(row.try_get(0)?) {
                    break false;
                }
            };
            if is_close && let Some(members) = comparison.finish() {
                return Ok(members);
            }
        }
        let mut rows = pin!(self.member_rows(segment).await?);
        let mut members = Builder::default();
        while let Some(row) = answered(rows.try_next()).await? {
            members.push(row.try_get(0)?);
        }
        Ok(members.finish())
    }

    async fn member_rows(&self, segment: &str) -> Result<RowStream, Lost> {
        let parameters = [segment, self.gateway.workspace.as_str()];
        answered(self.client.query_raw(&self.members, parameters)).await
    }

    async fn changed_members(
        &self,
        segment: &str,
        since: i64,
        mut members: Members,
    ) -> Result<Members, Lost> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&segment, &since, &self.gateway.workspace];
        let rows = answered(self.client.query_raw(&self.member_changes, parameters)).await?;
        let mut rows = pin!(rows);
        while let Some(row) = answered(rows.try_next()).await? {
            let user_id = row.try_get(0)?;
            if row.try_get(1)? {
                members.insert(user_id);
            } else {
                members.remove(user_id);
            }
        }
        Ok(members)
    }
}

fn held_version(gateway: &Gateway) -> Option<i64> {
    gateway.snapshot.load().as_ref().map(|snapshot| snapshot.version)
}

fn milliseconds_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn answered<T, E: Into<Lost>>(question: impl Future<Output = Result<T, E>>) -> Result<T, Lost> {
    match timeout(SILENCE, question).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(Lost::Silent),
    }
}
