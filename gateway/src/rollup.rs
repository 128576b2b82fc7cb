//! Turns stored events into results, every second, and has their tables looked after and the views of results refreshed,
//! every hour; the latter beside the former, because it takes longer than results may stand still.
//!
//! The database does the work and lets only one at a time do it; a gateway that finds another one at it does not wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::Gateway;
use crate::database::{describe, describe_pool};
use crate::problem::{self, Failure};

/// Partitions are made a week ahead, and days dropped some hours late do no harm.
const BETWEEN_MAINTENANCE: Duration = Duration::from_secs(3600);

/// How often to ask whether the hour of what is to be refreshed is over: another gateway may have done it.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(60);

/// Rolls up every `pause`, never twice at once, until the process ends.
pub async fn run(gateway: Arc<Gateway>, pause: Duration) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = String::new();
    let mut maintained: Option<Instant> = None;
    loop {
        ticks.tick().await;
        // The listener says when the database is away, and once is enough.
        if !gateway.connected.load(Ordering::Relaxed) {
            continue;
        }
        let begun = Instant::now();
        match roll_up(&gateway).await {
            Ok(events) => {
                // None while another one is at it.
                if let Some(events) = events {
                    gateway.metrics.rolled_up(begun, u64::try_from(events).unwrap_or(0));
                }
                if !std::mem::take(&mut failing).is_empty() {
                    info!("the roll-up works again");
                }
                if events > Some(0) {
                    debug!(events, "rolled up");
                }
            }
            Err(reason) => {
                gateway.metrics.rollup_failed();
                if reason == failing {
                    debug!(reason, "the roll-up still fails");
                } else {
                    warn!(reason, "the roll-up failed, trying again");
                    report(&gateway, &reason).await;
                    failing = reason;
                }
            }
        }
        if maintained.is_none_or(|before| before.elapsed() >= BETWEEN_MAINTENANCE) {
            // Also where it fails: what was in the way will hardly be gone a second later.
            maintained = Some(Instant::now());
            if let Err(reason) = maintain(&gateway, "ab_maintain(refresh => false)").await {
                warn!(reason, "the event tables could not be maintained, trying again in an hour");
            }
        }
    }
}

/// Refreshes the views of results each hour, until the process ends.
pub async fn refresh(gateway: Arc<Gateway>) {
    let mut ticks = interval(BETWEEN_REFRESHES);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = String::new();
    loop {
        ticks.tick().await;
        if !gateway.connected.load(Ordering::Relaxed) {
            continue;
        }
        match maintain(&gateway, "ab_refresh_results(unless_since => '1 hour')").await {
            Ok(()) => failing.clear(),
            Err(reason) if reason == failing => {
                debug!(reason, "the results for BI still cannot be refreshed")
            }
            Err(reason) => {
                warn!(reason, "the results for BI could not be refreshed, trying again in an hour");
                failing = reason;
            }
        }
        // What takes too long will do so again, and costs as much each time.
        if !failing.is_empty() {
            ticks.reset_after(BETWEEN_MAINTENANCE);
        }
    }
}

/// Leaves the reason where `ab_rollup_status()` finds it. The log has it already, so nothing more is done where this fails.
async fn report(gateway: &Gateway, reason: &str) {
    if let Ok(client) = gateway.database.maintenance.get().await
        && let Err(error) = client.execute("select ab_rollup_failed($1::text)", &[&reason]).await
    {
        debug!(reason = describe(&error), "the failure could not be noted in the database");
    }
}

async fn maintain(gateway: &Gateway, call: &str) -> Result<(), String> {
    let client = gateway.database.maintenance.get().await.map_err(|error| describe_pool(&error))?;
    let rows = client
        .query(&format!("select action::text, object::text, reason::text from {call}"), &[])
        .await
        .map_err(|error| describe(&error))?;
    for row in rows {
        let column = |index| row.try_get::<_, Option<&str>>(index).ok().flatten().unwrap_or_default();
        info!(action = column(0), object = column(1), reason = column(2), "maintained");
    }
    Ok(())
}

async fn roll_up(gateway: &Gateway) -> Result<Option<i64>, String> {
    let client = gateway.database.maintenance.get().await.map_err(|error| describe_pool(&error))?;
    let row = match client.query_one("select ab_rollup(false)", &[]).await {
        Ok(row) => row,
        Err(error) => {
            // A session from before an upgrade must not be what fails every second from now on.
            if problem::failure(&error) == Failure::Misconfigured {
                drop(Object::take(client));
            }
            return Err(describe(&error));
        }
    };
    row.try_get(0).map_err(|error| describe(&error))
}
