//! Stored first variants: what this process remembers of them, and how it asks for the rest.
//!
//! Deciding never waits. It notes what it would have to know, the handler asks the database for all of that at once and
//! decides again. That is rare: the engine asks only about units whose answer may have changed since they were first
//! given one, and a row once found is kept, because such rows never change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use crate::Gateway;
use crate::database::{describe, describe_pool};
use crate::problem::{self, Failure};

/// How many units are remembered with their variant.
const REMEMBERED: usize = 100_000;
/// An answer does not wait longer than this for what is stored; then the hash decides alone.
pub const PATIENCE: Duration = Duration::from_secs(1);

const STATEMENT: &str = "
    select user_id::text, experiment::text, variant::text
      from ab_first_variants($1::text[], $2::text[])";

/// First variants that have been read. Only rows that exist: who has none now may have one in a moment.
#[derive(Debug)]
pub struct FirstVariants {
    cache: Cache<Pair, Arc<str>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Pair {
    experiment_id: i64,
    unit: Box<str>,
}

/// Hashes as a [`Pair`] does.
#[derive(Hash)]
struct PairRef<'a> {
    experiment_id: i64,
    unit: &'a str,
}

impl Equivalent<Pair> for PairRef<'_> {
    fn equivalent(&self, pair: &Pair) -> bool {
        self.experiment_id == pair.experiment_id && *self.unit == *pair.unit
    }
}

impl Default for FirstVariants {
    fn default() -> FirstVariants {
        FirstVariants { cache: Cache::new(REMEMBERED) }
    }
}

impl FirstVariants {
    /// Key of the variant that a unit was first given, if that has been read.
    pub fn get(&self, experiment_id: i64, unit: &str) -> Option<Arc<str>> {
        self.cache.get(&PairRef { experiment_id, unit })
    }

    fn put(&self, experiment_id: i64, unit: &str, variant: Arc<str>) {
        self.cache.insert(Pair { experiment_id, unit: unit.into() }, variant);
    }
}

/// A unit whose first variant in an experiment has to be known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// By which the database knows the experiment.
    pub experiment_id: i64,
    /// The experiment's key.
    pub experiment: String,
    /// Id of the unit.
    pub unit: String,
}

/// What the database has answered during one request.
#[derive(Debug, Default)]
pub struct Known {
    variants: HashMap<i64, HashMap<Box<str>, Option<Arc<str>>>>,
}

impl Known {
    /// The stored variant; `Some(None)` where there is none, and `None` where nobody has asked.
    pub fn get(&self, experiment_id: i64, unit: &str) -> Option<Option<&str>> {
        if self.variants.is_empty() {
            return None;
        }
        Some(self.variants.get(&experiment_id)?.get(unit)?.as_deref())
    }

    /// Takes over what is stored for a unit.
    pub fn put(&mut self, experiment_id: i64, unit: &str, variant: Option<Arc<str>>) {
        self.variants.entry(experiment_id).or_default().insert(unit.into(), variant);
    }
}

/// What a decision left open, and where answers are remembered.
#[derive(Debug)]
pub struct Open {
    /// What has to be asked.
    pub needs: Vec<Need>,
    /// That of the snapshot that decided.
    pub first_variants: Arc<FirstVariants>,
}

/// Asks the database for what is `open`; `false` if it does not answer by the `deadline`.
pub async fn ask(gateway: &Gateway, open: Open, known: &mut Known, deadline: Instant) -> bool {
    /// So that trouble is said once, whoever meets it.
    static IN_TROUBLE: AtomicBool = AtomicBool::new(false);
    if !gateway.connected.load(Ordering::Relaxed) {
        return false;
    }
    let Open { mut needs, first_variants } = open;
    needs.sort_unstable();
    needs.dedup();
    match fetch(gateway, &needs, deadline).await {
        Ok(found) => {
            if IN_TROUBLE.swap(false, Ordering::Relaxed) {
                info!("stored variants are read again");
            }
            for (need, variant) in needs.iter().zip(found) {
                if let Some(variant) = &variant {
                    first_variants.put(need.experiment_id, &need.unit, Arc::clone(variant));
                }
                known.put(need.experiment_id, &need.unit, variant);
            }
            true
        }
        Err(reason) => {
            if IN_TROUBLE.swap(true, Ordering::Relaxed) {
                debug!(reason, "stored variants still cannot be read");
            } else {
                warn!(reason, "stored variants cannot be read, answering without them");
            }
            false
        }
    }
}

/// The stored variant for each of `needs`.
async fn fetch(
    gateway: &Gateway,
    needs: &[Need],
    deadline: Instant,
) -> Result<Vec<Option<Arc<str>>>, String> {
    const TOO_LATE: &str = "no answer in time";
    let mut renewed = false;
    loop {
        let client = timeout_at(deadline, gateway.database.queries.get())
            .await
            .map_err(|_| TOO_LATE.to_owned())?
            .map_err(|error| describe_pool(&error))?;
        let error = match timeout_at(deadline, query(&client, needs)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => {
                // Whoever came next would wait behind the question that is still open.
                drop(Object::take(client));
                return Err(TOO_LATE.to_owned());
            }
        };
        // A session from before an upgrade fails like this, and one that broke while it was idle; a new one may not.
        let is_stale = problem::failure(&error) == Failure::Misconfigured || problem::is_broken(&error);
        if is_stale {
            drop(Object::take(client));
        }
        if !is_stale || renewed {
            return Err(describe(&error));
        }
        renewed = true;
    }
}

async fn query(client: &Object, needs: &[Need]) -> Result<Vec<Option<Arc<str>>>, tokio_postgres::Error> {
    let statement = client.prepare_cached(STATEMENT).await?;
    let units: Vec<&str> = needs.iter().map(|need| need.unit.as_str()).collect();
    let experiments: Vec<&str> = needs.iter().map(|need| need.experiment.as_str()).collect();
    let rows = client.query(&statement, &[&units, &experiments]).await?;
    let mut stored: HashMap<(&str, &str), Arc<str>> = HashMap::with_capacity(rows.len());
    for row in &rows {
        stored.insert((row.try_get(0)?, row.try_get(1)?), row.try_get::<_, &str>(2)?.into());
    }
    let found = needs.iter().map(|need| stored.get(&(need.unit.as_str(), need.experiment.as_str())).cloned());
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_found_by_experiment_and_unit() {
        let first_variants = FirstVariants::default();
        first_variants.put(1, "u", "a".into());
        assert_eq!(first_variants.get(1, "u").as_deref(), Some("a"));
        assert_eq!(first_variants.get(2, "u"), None);
        assert_eq!(first_variants.get(1, "v"), None);
    }

    #[test]
    fn nothing_stored_is_an_answer_too() {
        let mut known = Known::default();
        assert_eq!(known.get(1, "u"), None);
        known.put(1, "u", None);
        known.put(1, "v", Some("b".into()));
        assert_eq!(known.get(1, "u"), Some(None));
        assert_eq!(known.get(1, "v"), Some(Some("b")));
        assert_eq!(known.get(2, "v"), None);
    }
}
