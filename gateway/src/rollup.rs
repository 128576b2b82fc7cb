//! Turns stored events into results, every second.
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

/// Rolls up every `pause`, never twice at once, until the process ends.
pub async fn run(gateway: Arc<Gateway>, pause: Duration) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = String::new();
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
                    failing = reason;
                }
            }
        }
    }
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
