//! Sets of users that rules and overrides can name.
//!
//! A segment by rule is evaluated; who is on the list of any other is asked of [`crate::decision::Environment`], because a
//! million members are kept differently in a gateway and in a database session.

use crate::document::{SegmentDocument, SegmentKind};
use crate::error::{Code, Error};
use crate::rule::Rule;

/// The list of those who take part in no experiment.
pub const OPTED_OUT: &str = "opted-out";

/// A segment ready to be asked.
#[derive(Debug)]
pub struct Segment {
    /// By which the database knows it.
    pub id: i64,
    /// Unique within the workspace.
    pub key: String,
    /// Rises when a copy of the members has to be made anew.
    pub generation: i64,
    /// Rises with every change of the members.
    pub revision: i64,
    rule: Option<Rule>,
}

impl Segment {
    /// Checks a document and makes it ready.
    ///
    /// # Errors
    /// [`Code::InvalidRule`] when its rule is not one, [`Code::CorruptConfiguration`] when it has none though it should.
    pub fn compile(document: SegmentDocument) -> Result<Segment, Error> {
        let rule = match (document.kind, &document.rule) {
            (SegmentKind::Rule, Some(rule)) => {
                Some(Rule::compile(&format!("segment \"{}\"", document.key), rule.get())?)
            }
            (SegmentKind::Rule, None) => {
                return Err(Error::new(
                    Code::CorruptConfiguration,
                    format!("segment \"{}\" has no rule", crate::event::excerpt(&document.key)),
                    "correct its row in ab.segment",
                ));
            }
            _ => None,
        };
        Ok(Segment {
            id: document.id,
            key: document.key,
            generation: document.generation,
            revision: document.revision,
            rule,
        })
    }

    /// The rule that says who is in it; `None` where a list does.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }
}
