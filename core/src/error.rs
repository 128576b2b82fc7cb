//! Everything that can go wrong, as one closed set.
//!
//! Each code is part of the public contract: SQL carries it in the error's DETAIL, HTTP in the problem document.
//! The kinds are what the surfaces translate: the extension to an SQLSTATE, the gateway to an HTTP status.

/// What sort of failure a [`Code`] is; the surfaces map kinds, never single codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller sent something that can never be accepted.
    InvalidArgument,
    /// A point in time outside what is accepted.
    InvalidTime,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    Exists,
    /// The named thing is in a state that forbids this.
    WrongState,
    /// The stored configuration cannot be used.
    CorruptConfiguration,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $kind:ident,)*) => {
        /// The stable name of one failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The name by which users meet this failure.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The sort of failure this is.
            pub const fn kind(self) -> Kind {
                match self { $(Code::$variant => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// A workspace, experiment, variant, metric or salt is not spelt as a key must be.
    InvalidKey = "invalid_key" => InvalidArgument,
    /// A user id is empty, too long or holds a NUL.
    InvalidUserId = "invalid_user_id" => InvalidArgument,
    /// An event's name, type, value or properties are not acceptable.
    InvalidEvent = "invalid_event" => InvalidArgument,
    /// An event id cannot be used as it is.
    InvalidEventId = "invalid_event_id" => InvalidArgument,
    /// The event id says nothing about time, and no time came with it.
    EventTimeRequired = "event_time_required" => InvalidArgument,
    /// An event's time is too far in the past or in the future.
    InvalidEventTime = "invalid_event_time" => InvalidTime,
    /// An event is of a time whose raw events have expired, so nobody can know whether it has been counted.
    EventExpired = "event_expired" => InvalidTime,
    /// An exposure names no experiment or no variant.
    VariantRequired = "variant_required" => InvalidArgument,
    /// Variants or their weights cannot make an experiment.
    InvalidVariants = "invalid_variants" => InvalidArgument,
    /// A targeting rule is not one.
    InvalidRule = "invalid_rule" => InvalidArgument,
    /// A list of prerequisites is not one.
    InvalidPrerequisite = "invalid_prerequisite" => InvalidArgument,
    /// Prerequisites would wait for each other for ever.
    PrerequisiteCycle = "prerequisite_cycle" => InvalidArgument,
    /// A list of dated steps is not one, or out of order.
    InvalidSchedule = "invalid_schedule" => InvalidArgument,
    /// Settings of an analysis are unknown, out of range or do not fit each other.
    InvalidAnalysis = "invalid_analysis" => InvalidArgument,
    /// New weights do not fit the variants.
    InvalidWeights = "invalid_weights" => InvalidArgument,
    /// A flag's value, rules or kind do not fit each other.
    InvalidFlag = "invalid_flag" => InvalidArgument,
    /// What was asked of a segment does not fit its kind.
    InvalidSegment = "invalid_segment" => InvalidArgument,
    /// Segments would contain each other for ever.
    SegmentCycle = "segment_cycle" => InvalidArgument,
    /// A segment's query does more than read, or cannot be read.
    InvalidQuery = "invalid_query" => InvalidArgument,
    /// An experiment and its layer or holdout assign different units.
    UnitMismatch = "unit_mismatch" => InvalidArgument,
    /// Any other argument that cannot be used.
    InvalidArgument = "invalid_argument" => InvalidArgument,
    /// No such workspace.
    WorkspaceNotFound = "workspace_not_found" => NotFound,
    /// No such experiment in the workspace.
    ExperimentNotFound = "experiment_not_found" => NotFound,
    /// No such variant in the experiment.
    VariantNotFound = "variant_not_found" => NotFound,
    /// No such flag in the workspace.
    FlagNotFound = "flag_not_found" => NotFound,
    /// No such segment in the workspace.
    SegmentNotFound = "segment_not_found" => NotFound,
    /// No such layer in the workspace.
    LayerNotFound = "layer_not_found" => NotFound,
    /// No such metric in the workspace.
    MetricNotFound = "metric_not_found" => NotFound,
    /// The experiment does not record that dimension.
    DimensionNotFound = "dimension_not_found" => NotFound,
    /// No such database role.
    RoleNotFound = "role_not_found" => NotFound,
    /// The workspace has an experiment of that name.
    ExperimentExists = "experiment_exists" => Exists,
    /// The workspace has a flag of that name.
    FlagExists = "flag_exists" => Exists,
    /// The workspace has a segment of that name.
    SegmentExists = "segment_exists" => Exists,
    /// The workspace has a layer of that name.
    LayerExists = "layer_exists" => Exists,
    /// The workspace has a metric of that name.
    MetricExists = "metric_exists" => Exists,
    /// The experiment has that metric already.
    MetricAttached = "metric_attached" => Exists,
    /// The experiment's status does not allow the change.
    WrongStatus = "wrong_status" => WrongState,
    /// Another experiment owns those buckets of the layer, or too few are free.
    SliceTaken = "slice_taken" => WrongState,
    /// What was asked to change is fixed once it is in use.
    Immutable = "immutable" => WrongState,
    /// What was to be deleted is named by something else.
    InUse = "in_use" => WrongState,
    /// The name of the publication is somebody else's.
    PublicationTaken = "publication_taken" => WrongState,
    /// Raw events that would have to be counted again have expired.
    EventsIncomplete = "events_incomplete" => WrongState,
    /// The state of an experiment's users went some time after its stop.
    UnitsExpired = "units_expired" => WrongState,
    /// A configuration document cannot be compiled.
    CorruptConfiguration = "corrupt_configuration" => CorruptConfiguration,
}

impl Code {
    /// The code with this name, if there is one.
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// A failure as a user should read it: what is wrong, with the offending thing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The stable name.
    pub code: Code,
    /// Lower case, no full stop, names the offending thing.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Error {
    /// An error of `code` that says `message` and advises `hint`.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error { code, message: message.into(), hint: hint.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for &code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("no_such_code"), None);
    }
}
