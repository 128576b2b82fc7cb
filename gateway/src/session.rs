//! Ids of visits, for pages that send none.
//!
//! A visit ends after half an hour without an event, wherever in the hour that is, so it cannot be computed from the event:
//! this process remembers who was there. Another gateway does not know, and a restart forgets; who needs more sends ids.

use std::time::Duration;

use moka::sync::Cache;
use uuid::Uuid;

use crate::clock::fresh_id;

/// How long a visit goes on without an event.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Visits that are remembered at once, some tens of megabytes of them.
const MAX_SESSIONS: u64 = 200_000;

/// The visits that go on.
pub struct Sessions {
    ids: Cache<Box<str>, Uuid>,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { ids: Cache::builder().max_capacity(MAX_SESSIONS).time_to_idle(IDLE).build() }
    }
}

impl Sessions {
    /// The visit that `user_id` is on, or begins `now`, in microseconds since 1970.
    pub fn of(&self, user_id: &str, now: i64) -> Uuid {
        match self.ids.get(user_id) {
            Some(id) => id,
            // Of two that come at once, both must hear of the same visit.
            None => self.ids.get_with(user_id.into(), || fresh_id(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_goes_on_and_is_one_users() {
        let sessions = Sessions::default();
        let first = sessions.of("a", 1_800_000_000_000_000);
        assert_eq!(first.get_version_num(), 7);
        assert_eq!(sessions.of("a", 1_800_000_001_000_000), first);
        assert_ne!(sessions.of("b", 1_800_000_000_000_000), first);
        assert_eq!(sessions.ids.policy().time_to_idle(), Some(IDLE));
        assert_eq!(sessions.ids.policy().max_capacity(), Some(MAX_SESSIONS));
    }
}
