//! The HTTP front of pg_ab: assignment from memory, events committed in batches.
//!
//! It decides with the same engine, compiled from the same documents, as the extension does, and reaches the database
//! only through its public functions. Nothing here is state that could be lost: kill it, start ten of it. What it has
//! acknowledged without the database is in the spool, on disk.

pub mod api;
pub mod clock;
pub mod configuration;
pub mod database;
pub mod enrichment;
pub mod event;
pub mod ingest;
pub mod listener;
pub mod members;
pub mod metrics;
pub mod problem;
pub mod rollup;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod spool;
pub mod sticky;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::configuration::Configuration;
use crate::database::Database;
use crate::enrichment::Enrichment;
use crate::ingest::{Ingest, Writers};
use crate::metrics::Metrics;
use crate::session::Sessions;
use crate::snapshot::Snapshot;
use crate::spool::Spool;

/// What all requests share.
pub struct Gateway {
    /// The workspace that is served.
    pub workspace: String,
    /// The configuration in force; none before it has first been loaded.
    pub snapshot: ArcSwapOption<Snapshot>,
    /// The database's clock.
    pub clock: Clock,
    /// The ways into the database.
    pub database: Database,
    /// What is counted.
    pub metrics: Metrics,
    /// What events are enriched from.
    pub enrichment: Enrichment,
    /// Visits of users of pages.
    pub sessions: Sessions,
    /// Where events go.
    pub ingest: Ingest,
    /// How long an event may wait for its commit.
    pub write_patience: Duration,
    /// How long the next part of a body may take to come.
    pub body_patience: Duration,
    /// Told when the process is to end, to those who would not finish by themselves.
    pub stopping: CancellationToken,
    /// Whether the listener has its connection.
    pub connected: AtomicBool,
    /// Told whenever a configuration has been loaded.
    pub loaded: Notify,
}

impl Gateway {
    /// A gateway that has not talked to anyone yet, and the writers that finish its events.
    ///
    /// # Errors
    /// When the database's address or the file of places cannot be read, or the spool cannot be opened.
    pub fn new(configuration: &Configuration) -> anyhow::Result<(Arc<Gateway>, Writers)> {
        let writers = configuration.writers.get();
        let workspace = &configuration.workspace;
        let database = Database::new(&configuration.database_url, workspace, writers)?;
        let metrics = Metrics::new()?;
        let spool = match &configuration.spool_dir {
            Some(directory) => Some(Spool::open(directory, configuration.spool_bytes)?),
            None => None,
        };
        let settings = ingest::Settings {
            workspace: workspace.clone(),
            writers,
            capacity: configuration.queue_kib,
            spool,
            spool_patience: configuration.write_patience() / 2,
        };
        let (ingest, tasks) = Ingest::start(&database.writes, settings, &metrics.events);
        let gateway = Gateway {
            workspace: workspace.clone(),
            snapshot: ArcSwapOption::empty(),
            clock: Clock::default(),
            database,
            metrics,
            enrichment: Enrichment::new(
                configuration.trusted_proxies.clone(),
                configuration.geoip_db.as_deref(),
            )?,
            sessions: Sessions::default(),
            ingest,
            write_patience: configuration.write_patience(),
            body_patience: Duration::from_secs(configuration.body_seconds.max(1)),
            stopping: CancellationToken::new(),
            connected: AtomicBool::new(false),
            loaded: Notify::new(),
        };
        Ok((Arc::new(gateway), tasks))
    }
}

/// Serves on `listener` until `shutdown`, then lets what is under way finish.
///
/// # Errors
/// When the configuration cannot be used.
pub async fn run(
    configuration: Configuration,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let (gateway, mut writers) = Gateway::new(&configuration)?;
    tokio::spawn(listener::follow(Arc::clone(&gateway)));
    if configuration.rollup_seconds > 0 {
        gateway.metrics.expect_rollups()?;
        tokio::spawn(rollup::run(Arc::clone(&gateway), Duration::from_secs(configuration.rollup_seconds)));
        tokio::spawn(rollup::refresh(Arc::clone(&gateway)));
    }
    let announced = Arc::clone(&gateway);
    tokio::spawn(async move {
        announced.loaded.notified().await;
        let version = announced.snapshot.load().as_ref().map_or(0, |snapshot| snapshot.version);
        info!("listening on http://{address} (workspace {}, config version {version})", announced.workspace);
    });

    let (stop, stopping) = oneshot::channel();
    let router = api::router(Arc::clone(&gateway));
    let idle_patience = Duration::from_secs(configuration.idle_seconds.max(1));
    let mut serving = tokio::spawn(server::serve(listener, router, idle_patience, async move {
        shutdown.await;
        let _ = stop.send(());
    }));
    tokio::select! {
        // Accepting connections goes on through every error it can meet, so this is not expected to happen.
        ended = &mut serving => return Ok(ended?),
        _ = stopping => info!("shutting down: finishing what is under way"),
    }
    gateway.stopping.cancel();
    let drained = timeout(Duration::from_secs(configuration.drain_seconds), async {
        let _ = (&mut serving).await;
        gateway.ingest.close();
        writers.finish().await;
    });
    match drained.await {
        Ok(()) => info!("finished"),
        Err(_) => warn!(
            "gave up on requests still open after {} seconds; nothing unfinished was acknowledged",
            configuration.drain_seconds
        ),
    }
    Ok(())
}
