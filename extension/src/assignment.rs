//! Assignment as SQL functions: never an error, never a write, and no query once the experiment is known.

use ab_core::experiment::Reason;
use pgrx::prelude::*;

use crate::{configuration, statement};

/// The bucket, 0 to 999,999, of a user under a salt.
#[pg_extern]
fn ab_bucket(salt: &str, user_id: &str) -> i32 {
    ab_core::bucket::bucket(salt, user_id) as i32
}

/// The variant of a user, or NULL.
#[pg_extern]
fn ab_assign(user_id: &str, experiment: &str) -> Option<String> {
    assign(user_id, experiment)
}

/// The same for a number, by its decimal text.
#[pg_extern]
fn ab_assign_bigint(user_id: i64, experiment: &str) -> Option<String> {
    assign(itoa::Buffer::new().format(user_id), experiment)
}

/// The same for a UUID, by its text in lower case with hyphens.
#[pg_extern]
fn ab_assign_uuid(user_id: pgrx::Uuid, experiment: &str) -> Option<String> {
    let mut buffer = uuid::Uuid::encode_buffer();
    assign(uuid::Uuid::from_bytes(*user_id.as_bytes()).hyphenated().encode_lower(&mut buffer), experiment)
}

/// Why a user is answered as they are.
#[pg_extern]
fn ab_assign_reason(user_id: Option<&str>, experiment: Option<&str>) -> &'static str {
    configuration::with_experiment(experiment.unwrap_or_default(), |found| match found {
        None => Reason::NotFound,
        // A NULL id is as unusable as an empty one.
        Some(found) => found.decide(user_id.unwrap_or_default(), statement::started_at()).reason,
    })
    .as_str()
}

#[inline]
fn assign(user_id: &str, experiment: &str) -> Option<String> {
    configuration::with_experiment(experiment, |found| {
        let decision = found?.decide(user_id, statement::started_at());
        decision.variant.map(|variant| variant.key.clone())
    })
}
