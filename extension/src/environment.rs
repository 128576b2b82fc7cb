//! What decisions of a session depend on: its copy of the configuration, and what is looked up in tables.

use std::sync::Arc;

use ab_core::decision::{Environment, FirstVariant};
use ab_core::experiment::Experiment;
use ab_core::flag::Flag;
use ab_core::segment::Segment;
use ab_core::workspace::Workspace;

use crate::{configuration, owner};

/// The session's workspace as it is now.
pub struct Session<'a> {
    /// What holds for all of it, as [`configuration::workspace`] gives it.
    pub workspace: &'a Workspace,
}

impl Environment for Session<'_> {
    fn workspace(&self) -> &Workspace {
        self.workspace
    }

    fn experiment(&self, key: &str) -> Option<Arc<Experiment>> {
        configuration::find(key)
    }

    fn flag(&self, key: &str) -> Option<Arc<Flag>> {
        configuration::find(key)
    }

    fn segment(&self, key: &str) -> Option<Arc<Segment>> {
        configuration::find(key)
    }

    fn is_member(&self, segment: &Segment, user_id: &str) -> bool {
        is_member(segment, user_id)
    }

    fn first_variant(&self, experiment: &Experiment, unit: &str) -> FirstVariant {
        owner::first_text(
            c"select s.variant::pg_catalog.text from ab.sticky_assignment s
                where s.experiment_id operator(pg_catalog.=) $1::pg_catalog.int4 and s.user_id operator(pg_catalog.=) $2",
            &[&experiment.id().to_string(), unit],
            false,
        )
        .and_then(|variant| experiment.variant_index(&variant))
        .map_or(FirstVariant::None, FirstVariant::Variant)
    }
}

/// Whether a user is on the list of a segment now.
pub fn is_member(segment: &Segment, user_id: &str) -> bool {
    configuration::confirm_for_lists();
    owner::first_text(
        c"select m.user_id from ab.segment_member m
            where m.segment_id operator(pg_catalog.=) $1::pg_catalog.int4 and m.user_id operator(pg_catalog.=) $2",
        &[&segment.id.to_string(), user_id],
        false,
    )
    .is_some()
}
