//! The configuration as the database publishes it: one document for each experiment, flag, segment and workspace.
//!
//! Extension and gateway read the same documents and compile them with the same code. A document carries no result of
//! any calculation that the engine could make itself, except the bucket ranges: those depend on history. Rules and
//! schedules are in it as their authors wrote them.

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

/// What an experiment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExperimentKind {
    /// Compares variants with weights that people set.
    #[default]
    Experiment,
    /// Moves its weights towards the better variants.
    Bandit,
    /// Keeps some users out of the experiments it binds, to measure all of them together.
    Holdout,
}

/// One experiment, complete.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentDocument {
    /// By which the database knows the experiment, whatever it was called before.
    pub id: i64,
    /// The tenant the experiment belongs to.
    pub workspace: String,
    /// Unique within the workspace.
    pub key: String,
    /// What it is for.
    #[serde(default)]
    pub kind: ExperimentKind,
    /// What people call it.
    pub name: Option<String>,
    /// The root of all salts of this experiment.
    pub salt: String,
    /// Where it is in its life.
    pub status: Status,
    /// Dotted path of the attribute that is assigned by, instead of the user's id.
    pub unit: Option<String>,
    /// Not before this time, in microseconds since 1970.
    pub starts_at: Option<i64>,
    /// Not at or after this time, in microseconds since 1970.
    pub ends_at: Option<i64>,
    /// The share of users who take part, in parts per million.
    pub traffic: u32,
    /// Dated steps of that share (see [`crate::schedule`]).
    pub schedule: Option<Box<RawValue>>,
    /// In written order; [`Range::variant`] is an index into this list.
    pub variants: Vec<VariantDocument>,
    /// The owner of each bucket; empty in a draft.
    #[serde(default)]
    pub ranges: Vec<Range>,
    /// Whom it is for (see [`crate::rule`]); everybody without.
    pub targeting: Option<Box<RawValue>>,
    /// Who is given which variant whatever else holds.
    #[serde(default)]
    pub overrides: Vec<OverrideDocument>,
    /// What must hold in other experiments and flags (see [`crate::prerequisite`]).
    pub prerequisites: Option<Box<RawValue>>,
    /// The share of a layer that the experiment owns.
    pub layer: Option<LayerDocument>,
    /// Keys of the holdouts that bind it.
    #[serde(default)]
    pub holdouts: Vec<String>,
    /// Present where users keep their first variant.
    pub sticky: Option<StickyDocument>,
    /// Attributes of the context that exposures record beside [`crate::event::DIMENSIONS`].
    #[serde(default)]
    pub dimensions: Vec<String>,
    /// The variant that everybody is given after the stop.
    pub shipped: Option<usize>,
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

/// One user or one segment with the variant they are given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideDocument {
    /// The user; else there is a segment.
    pub user_id: Option<String>,
    /// Key of the segment; else there is a user.
    pub segment: Option<String>,
    /// Index of the variant.
    pub variant: usize,
}

/// What an experiment owns of a layer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerDocument {
    /// The layer's key.
    pub key: String,
    /// Root of the layer's salt.
    pub salt: String,
    /// First bucket and the bucket after the last, for each slice.
    pub slices: Vec<(u32, u32)>,
}

/// Whose first variant may differ from what they would be given now.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StickyDocument {
    /// Buckets that have changed hands, as first bucket and the bucket after the last.
    pub contested: Vec<(u32, u32)>,
    /// The greatest share of users that ever took part, in parts per million.
    pub traffic: u32,
    /// Whether anybody was given a variant elsewhere that was never theirs here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// What a flag's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlagKind {
    /// `true` or `false`.
    Boolean,
    /// A text.
    String,
    /// A number.
    Number,
    /// Any JSON.
    Json,
}

/// One flag, complete.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagDocument {
    /// The tenant the flag belongs to.
    pub workspace: String,
    /// Unique among the workspace's flags.
    pub key: String,
    /// What its values are.
    pub kind: FlagKind,
    /// The root of all salts of this flag.
    pub salt: String,
    /// Dotted path of the attribute that percentages and splits go by, instead of the user's id.
    pub unit: Option<String>,
    /// Whether the kill switch is thrown.
    #[serde(default)]
    pub killed: bool,
    /// The value where no rule gives one.
    pub default: Box<RawValue>,
    /// The value while the flag is killed or its prerequisites do not hold.
    pub off: Box<RawValue>,
    /// What must hold in other experiments and flags (see [`crate::prerequisite`]).
    pub prerequisites: Option<Box<RawValue>>,
    /// Rules in order (see [`crate::flag`]).
    pub rules: Box<RawValue>,
    /// The bucket ranges of each rule that splits.
    pub layouts: Vec<Option<Vec<Range>>>,
}

/// Who is in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentKind {
    /// Whoever a rule holds for.
    Rule,
    /// Whoever is in a list.
    List,
    /// Whoever a query found when it last ran.
    Query,
}

/// One segment; the members of a list are not in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentDocument {
    /// By which the database knows the segment.
    pub id: i64,
    /// The tenant the segment belongs to.
    pub workspace: String,
    /// Unique among the workspace's segments.
    pub key: String,
    /// Who is in it.
    pub kind: SegmentKind,
    /// The rule of a segment of that kind.
    pub rule: Option<Box<RawValue>>,
    /// Rises when a copy of the members has to be made anew.
    #[serde(default)]
    pub generation: i64,
    /// Rises with every change of the members.
    #[serde(default)]
    pub revision: i64,
}

/// What holds for everything in a workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceDocument {
    /// The tenant.
    pub workspace: String,
    /// Whether programs that say what they are take no part.
    #[serde(default)]
    pub excludes_bots: bool,
    /// Who else takes no part.
    pub excluded: Option<Box<RawValue>>,
    /// Whether anybody has ever opted out.
    #[serde(default)]
    pub opt_outs: bool,
}
