//! A compiled experiment and the decision it takes for a user.
//!
//! Compiling checks once what deciding then relies on, so that a decision is two hashes and a search and cannot fail.

use serde_json::value::RawValue;

use crate::allocation::{self, Range};
use crate::bucket::{BUCKETS, bucket_after};
use crate::document::{ExperimentDocument, Status};
use crate::error::{Code, Error};
use crate::{event, key};

/// Why a user was answered as they were; stable, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no such experiment.
    NotFound,
    /// The experiment does not run: its status, its start or its end forbids it.
    NotRunning,
    /// There is no id to assign by: it is missing, empty or too long.
    NoUnit,
    /// The user is outside the share of users who take part.
    Traffic,
    /// The user's bucket belongs to the variant.
    Split,
}

impl Reason {
    /// The name by which users meet this reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NotFound => "not_found",
            Reason::NotRunning => "not_running",
            Reason::NoUnit => "no_unit",
            Reason::Traffic => "traffic",
            Reason::Split => "split",
        }
    }
}

/// The answer for one user: a variant only where the reason gives one.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// What to show; `None` means "serve the default".
    pub variant: Option<&'a Variant>,
    /// Why.
    pub reason: Reason,
}

/// A variant as it is answered.
#[derive(Debug)]
pub struct Variant {
    /// Unique within the experiment.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whatever the application wants to be told with it.
    pub config: Option<Box<RawValue>>,
}

/// An experiment ready to decide.
#[derive(Debug)]
pub struct Experiment {
    key: String,
    status: Status,
    starts_at: i64,
    ends_at: i64,
    traffic: u32,
    traffic_prefix: Box<[u8]>,
    variant_prefix: Box<[u8]>,
    variants: Vec<Variant>,
    ranges: Vec<Range>,
}

impl Experiment {
    /// Checks a document and makes it ready to decide.
    ///
    /// # Errors
    /// [`Code::CorruptConfiguration`] when the document contradicts itself.
    pub fn compile(document: ExperimentDocument) -> Result<Experiment, Error> {
        let corrupt = |what: &str| {
            Err(Error::new(
                Code::CorruptConfiguration,
                format!("experiment \"{}\" cannot be used: {what}", event::excerpt(&document.key)),
                "correct its rows in schema ab; the configuration before it stays in force",
            ))
        };
        if !key::is_valid(&document.key) || !key::is_valid(&document.salt) {
            return corrupt("its key or its salt is not a valid key");
        }
        if document.traffic > BUCKETS {
            return corrupt("its traffic is above a million");
        }
        if !(document.ranges.is_empty() || allocation::is_complete(&document.ranges, document.variants.len()))
        {
            return corrupt("its bucket ranges do not cover every bucket once");
        }
        let prefix = |stage: &str| format!("{}:{stage}:", document.salt).into_bytes().into_boxed_slice();
        Ok(Experiment {
            traffic_prefix: prefix("traffic"),
            variant_prefix: prefix("variant"),
            status: document.status,
            starts_at: document.starts_at.unwrap_or(i64::MIN),
            ends_at: document.ends_at.unwrap_or(i64::MAX),
            traffic: document.traffic,
            variants: document
                .variants
                .into_iter()
                .map(|variant| Variant { key: variant.key, name: variant.name, config: variant.config })
                .collect(),
            ranges: document.ranges,
            key: document.key,
        })
    }

    /// The experiment's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The variants in written order.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// Whether an answer depends on what time it is: without a date a caller can save itself the clock.
    pub fn is_dated(&self) -> bool {
        self.starts_at != i64::MIN || self.ends_at != i64::MAX
    }

    /// The answer for `user_id` at `now`, in microseconds since 1970.
    #[inline]
    pub fn decide(&self, user_id: &str, now: i64) -> Decision<'_> {
        let none = |reason| Decision { variant: None, reason };
        // A running experiment without ranges can only come from a half-restored database: it assigns nobody.
        if self.status != Status::Running
            || now < self.starts_at
            || now >= self.ends_at
            || self.ranges.is_empty()
        {
            return none(Reason::NotRunning);
        }
        if !event::is_user_id(user_id) {
            return none(Reason::NoUnit);
        }
        if self.traffic < BUCKETS && bucket_after(&self.traffic_prefix, user_id) >= self.traffic {
            return none(Reason::Traffic);
        }
        let bucket = bucket_after(&self.variant_prefix, user_id);
        let range = self.ranges.partition_point(|range| range.to <= bucket);
        Decision { variant: self.variants.get(self.ranges[range].variant), reason: Reason::Split }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> ExperimentDocument {
        serde_json::from_str(json).unwrap()
    }

    const RUNNING: &str = r#"{"workspace":"default","key":"t","name":null,"salt":"t","status":"running","starts_at":10,
        "ends_at":20,"traffic":1000000,"variants":[{"key":"a","name":null,"config":null},{"key":"b","name":"B","config":{"x":1}}],
        "ranges":[{"from":0,"to":500000,"variant":0},{"from":500000,"to":1000000,"variant":1}]}"#;

    #[test]
    fn dates_bound_the_run_half_open() {
        let experiment = Experiment::compile(document(RUNNING)).unwrap();
        let reason = |now| experiment.decide("u", now).reason;
        assert_eq!(
            [reason(9), reason(10), reason(19), reason(20)],
            [Reason::NotRunning, Reason::Split, Reason::Split, Reason::NotRunning]
        );
        assert!(experiment.is_dated());
    }

    #[test]
    fn ids_without_use_are_no_unit() {
        let experiment = Experiment::compile(document(RUNNING)).unwrap();
        let reason = |id: &str| experiment.decide(id, 15).reason;
        assert_eq!(reason(""), Reason::NoUnit);
        assert_eq!(reason(&"x".repeat(513)), Reason::NoUnit);
        assert_eq!(reason(&"x".repeat(512)), Reason::Split);
        assert_eq!(reason("nul\0byte"), Reason::NoUnit);
    }

    #[test]
    fn contradictions_are_refused() {
        for (from, to) in [
            ("\"from\":500000", "\"from\":400000"),
            ("\"variant\":1", "\"variant\":2"),
            ("\"traffic\":1000000", "\"traffic\":1000001"),
            ("\"salt\":\"t\"", "\"salt\":\"t:x\""),
        ] {
            let broken = RUNNING.replacen(from, to, 1);
            assert_ne!(broken, RUNNING);
            assert_eq!(Experiment::compile(document(&broken)).unwrap_err().code, Code::CorruptConfiguration);
        }
    }

    /// The bar: |phi| ≤ 0.02 at 100,000 ids for every pair of 16 experiments whose keys differ in the last character,
    /// with sequential, UUID-like and e-mail ids, at cuts of 1, 10 and 50 %.
    #[test]
    fn experiments_are_independent_of_each_other() {
        const USERS: usize = 100_000;
        let shapes: [fn(usize) -> String; 3] = [
            |n| n.to_string(),
            |n| uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes()).to_string(),
            |n| format!("user.{n}@example.com"),
        ];
        for shape in shapes {
            let ids: Vec<String> = (0..USERS).map(shape).collect();
            let buckets: Vec<Vec<u32>> = (0..16)
                .map(|key| {
                    let salt = format!("exp-0{key:x}:variant");
                    ids.iter().map(|id| crate::bucket::bucket(&salt, id)).collect()
                })
                .collect();
            for cut in [10_000, 100_000, 500_000] {
                for left in 0..16 {
                    for right in 0..left {
                        let mut counts = [[0_f64; 2]; 2];
                        for (a, b) in buckets[left].iter().zip(&buckets[right]) {
                            counts[usize::from(*a < cut)][usize::from(*b < cut)] += 1.0;
                        }
                        let [[n00, n01], [n10, n11]] = counts;
                        let phi = (n11 * n00 - n10 * n01)
                            / ((n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)).sqrt();
                        assert!(phi.abs() <= 0.02, "keys {left} and {right}, cut {cut}: phi {phi}");
                    }
                }
            }
        }
    }

    #[test]
    fn traffic_only_adds_users_and_never_moves_them() {
        let at = |traffic: u32| {
            Experiment::compile(document(
                &RUNNING.replace("\"traffic\":1000000", &format!("\"traffic\":{traffic}")),
            ))
            .unwrap()
        };
        let steps: Vec<Experiment> = [0, 50_000, 100_000, 500_000, 1_000_000].map(at).into();
        for user in 0..20_000 {
            let user = user.to_string();
            let mut last = None;
            for step in &steps {
                let now = step.decide(&user, 15).variant.map(|variant| &variant.key);
                assert!(last.is_none() || last == now, "{user}");
                last = now;
            }
            assert!(last.is_some());
        }
    }
}
