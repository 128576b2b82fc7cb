//! The configuration of one experiment as the database publishes it.
//!
//! Extension and gateway read this same document and compile it with [`crate::experiment`]. It carries no result of
//! any calculation that the engine could make itself, except the bucket ranges: those depend on history.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::allocation::Range;

/// Where an experiment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being written; nobody is assigned.
    Draft,
    /// Assigns.
    Running,
    /// Assigns nobody for now.
    Paused,
    /// Over for good.
    Stopped,
}

/// One experiment, complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentDocument {
    /// The tenant the experiment belongs to.
    pub workspace: String,
    /// Unique within the workspace.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// The root of all salts of this experiment.
    pub salt: String,
    /// Where it is in its life.
    pub status: Status,
    /// Not before this time, in microseconds since 1970.
    pub starts_at: Option<i64>,
    /// Not at or after this time, in microseconds since 1970.
    pub ends_at: Option<i64>,
    /// The share of users who take part, in parts per million.
    pub traffic: u32,
    /// In written order; [`Range::variant`] is an index into this list.
    pub variants: Vec<VariantDocument>,
    /// The owner of each bucket; empty in a draft.
    pub ranges: Vec<Range>,
}

/// One variant of an experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantDocument {
    /// Unique within the experiment.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whatever the application wants to be told with the variant, passed on unread.
    pub config: Option<Box<RawValue>>,
}
