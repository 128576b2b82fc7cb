//! What holds for every experiment of a workspace: who takes part in none.

use crate::document::WorkspaceDocument;
use crate::error::Error;
use crate::rule::Rule;

/// A workspace's own settings.
#[derive(Debug, Default)]
pub struct Workspace {
    excludes_bots: bool,
    excluded: Option<Rule>,
    opt_outs: bool,
}

impl Workspace {
    /// Checks a document and makes it ready.
    ///
    /// # Errors
    /// [`crate::Code::InvalidRule`] when its rule is not one.
    pub fn compile(document: WorkspaceDocument) -> Result<Workspace, Error> {
        let what = format!("workspace \"{}\"", document.workspace);
        Ok(Workspace {
            excludes_bots: document.excludes_bots,
            excluded: document.excluded.map(|rule| Rule::compile(&what, rule.get())).transpose()?,
            opt_outs: document.opt_outs,
        })
    }

    /// Whether programs that say what they are take no part.
    pub fn excludes_bots(&self) -> bool {
        self.excludes_bots
    }

    /// Who else takes no part.
    pub fn excluded(&self) -> Option<&Rule> {
        self.excluded.as_ref()
    }

    /// Whether anybody has ever opted out.
    pub fn has_opt_outs(&self) -> bool {
        self.opt_outs
    }
}
