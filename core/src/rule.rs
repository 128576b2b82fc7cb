//! Whom an experiment, a flag or a segment is for: conditions on the context, as data.

use crate::context::Context;
use crate::error::{Code, Error};

/// A rule ready to be evaluated.
#[derive(Debug)]
pub struct Rule {}

impl Rule {
    /// Checks a rule written in JSON and makes it ready.
    ///
    /// # Errors
    /// [`Code::InvalidRule`], naming `what` the rule is of and the path of the node that is wrong.
    pub fn compile(what: &str, _json: &str) -> Result<Rule, Error> {
        Err(Error::new(Code::InvalidRule, format!("rule of {what} at $"), "write it otherwise"))
    }

    /// Whether the rule holds for a user with this context; `in_segment` answers for the segments it names.
    pub fn matches(
        &self,
        _user_id: &str,
        _context: &dyn Context,
        _in_segment: &dyn Fn(&str) -> bool,
    ) -> bool {
        false
    }

    /// The keys of the segments that the rule names.
    pub fn segments(&self) -> Vec<&str> {
        Vec::new()
    }
}
