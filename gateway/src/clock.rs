//! The database's clock, as seen from here.
//!
//! An experiment starts and ends by the database's clock, whichever way it is asked. This process therefore keeps the
//! difference between that clock and its own, so that two gateways and SQL change their answer at the same moment.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Timestamp, Uuid};

/// Local time corrected by a measured difference.
#[derive(Debug, Default)]
pub struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// Now by the database's clock, in microseconds since 1970.
    pub fn now(&self) -> i64 {
        local_now() + self.offset.load(Ordering::Relaxed)
    }

    /// Takes over a measurement: the database said `theirs` to a question sent at `sent` and answered at `received`.
    ///
    /// The database looked at its clock somewhere in between, so a difference smaller than half the round trip is no
    /// difference: keeping zero then spares two well-set machines a jitter.
    pub fn measured(&self, sent: i64, theirs: i64, received: i64) {
        let half = (received - sent) / 2;
        let difference = theirs - (sent + half);
        let offset = if difference.abs() <= half { 0 } else { difference };
        self.offset.store(offset, Ordering::Relaxed);
    }
}

/// Now by this machine's clock, in microseconds since 1970.
pub fn local_now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// A UUIDv7 made at `now`, in microseconds since 1970.
pub fn fresh_id(now: i64) -> Uuid {
    let now = u64::try_from(now).unwrap_or_default();
    let nanoseconds = u32::try_from(now % 1_000_000 * 1_000).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, now / 1_000_000, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_round_trip_is_taken_off_and_noise_ignored() {
        let clock = Clock::default();
        clock.measured(1_000, 1_060, 1_100);
        assert_eq!(clock.offset.load(Ordering::Relaxed), 0);
        clock.measured(1_000, 5_001_050, 1_100);
        assert_eq!(clock.offset.load(Ordering::Relaxed), 5_000_000);
        clock.measured(1_000, 1_000 - 60_000_000, 1_000);
        assert_eq!(clock.offset.load(Ordering::Relaxed), -60_000_000);
    }
}
