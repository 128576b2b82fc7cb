//! Everything that decisions depend on, in plain maps: what tests compare the surfaces with, and the shortest way to
//! try the engine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::decision::{Environment, FirstVariant};
use crate::document::{ExperimentDocument, FlagDocument, SegmentDocument, WorkspaceDocument};
use crate::error::{Code, Error};
use crate::experiment::Experiment;
use crate::flag::Flag;
use crate::segment::Segment;
use crate::workspace::Workspace;

/// A workspace in maps.
#[derive(Debug, Default)]
pub struct Memory {
    workspace: Workspace,
    experiments: HashMap<String, Arc<Experiment>>,
    flags: HashMap<String, Arc<Flag>>,
    segments: HashMap<String, Arc<Segment>>,
    /// Keys of segments with the ids of users on their lists.
    pub members: HashSet<(String, String)>,
    /// First variants by key of the experiment and unit; `None` where they cannot be asked for.
    pub first_variants: Option<HashMap<(String, String), String>>,
}

impl Memory {
    /// An empty workspace in which nobody has had a variant.
    pub fn new() -> Memory {
        Memory { first_variants: Some(HashMap::new()), ..Memory::default() }
    }

    /// Compiles a document of this `kind` (workspace, experiment, flag or segment) and puts it in.
    ///
    /// # Errors
    /// [`Code::CorruptConfiguration`] when it cannot be read, or what compiling it fails with.
    pub fn put(&mut self, kind: &str, document: &RawValue) -> Result<(), Error> {
        fn read<'a, T: serde::Deserialize<'a>>(document: &'a RawValue) -> Result<T, Error> {
            serde_json::from_str(document.get()).map_err(|error| unreadable(&error.to_string()))
        }
        match kind {
            "workspace" => {
                self.workspace = Workspace::compile(read::<WorkspaceDocument>(document)?)?;
            }
            "experiment" => {
                let experiment = Experiment::compile(read::<ExperimentDocument>(document)?)?;
                self.experiments.insert(experiment.key().to_owned(), Arc::new(experiment));
            }
            "flag" => {
                let flag = Flag::compile(read::<FlagDocument>(document)?)?;
                self.flags.insert(flag.key().to_owned(), Arc::new(flag));
            }
            "segment" => {
                let segment = Segment::compile(read::<SegmentDocument>(document)?)?;
                self.segments.insert(segment.key.clone(), Arc::new(segment));
            }
            other => return Err(unreadable(&format!("kind \"{other}\" does not exist"))),
        }
        Ok(())
    }
}

fn unreadable(problem: &str) -> Error {
    Error::new(
        Code::CorruptConfiguration,
        format!("document cannot be read: {problem}"),
        "run the gateway and the extension in the same version",
    )
}

impl Environment for Memory {
    fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    fn experiment(&self, key: &str) -> Option<Arc<Experiment>> {
        self.experiments.get(key).cloned()
    }

    fn flag(&self, key: &str) -> Option<Arc<Flag>> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, key: &str) -> Option<Arc<Segment>> {
        self.segments.get(key).cloned()
    }

    fn is_member(&self, segment: &Segment, user_id: &str) -> bool {
        self.members.contains(&(segment.key.clone(), user_id.to_owned()))
    }

    fn first_variant(&self, experiment: &Experiment, unit: &str) -> FirstVariant {
        let Some(first_variants) = &self.first_variants else { return FirstVariant::Unavailable };
        first_variants
            .get(&(experiment.key().to_owned(), unit.to_owned()))
            .and_then(|variant| experiment.variant_index(variant))
            .map_or(FirstVariant::None, FirstVariant::Variant)
    }
}
