//! What a decision is about, what it may ask of its surroundings, and how it comes out.
//!
//! The engine decides; who holds the configuration, the members of segments and the stored variants differs between a
//! database session and a gateway, and is behind [`Environment`].

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::context::{Attribute, Context, Path};
use crate::event;
use crate::experiment::Experiment;
use crate::flag::Flag;
use crate::segment::Segment;
use crate::workspace::Workspace;

/// How many other experiments, flags and segments one decision may look at. The database refuses circles; this bounds
/// what a half-restored one, or a very tangled one, can cost.
const MAX_LOOKUPS: u32 = 1_000;
/// How deep they may depend on each other.
const MAX_DEPTH: u32 = 32;

/// The attribute that says with which program a user came.
const USER_AGENT: &str = "user_agent";

/// Why a user was answered as they were; stable, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no such experiment.
    NotFound,
    /// The experiment is over, and this is the variant it shipped.
    Shipped,
    /// The user takes part in no experiment.
    OptedOut,
    /// The user, or a segment they are in, is given this variant.
    Override,
    /// The experiment does not run: its status, its start or its end forbids it.
    NotRunning,
    /// There is no id to assign by: it is missing, empty or too long.
    NoUnit,
    /// A bot, or excluded by the workspace's rule.
    Excluded,
    /// Another experiment or flag does not answer as this one requires.
    Prerequisite,
    /// The variant the user was first given, which differs from what they would be given now.
    Sticky,
    /// The experiment is for others.
    NotTargeted,
    /// A holdout keeps the user out.
    Holdout,
    /// The user's bucket of the layer belongs to another experiment, or to none.
    Layer,
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
            Reason::Shipped => "shipped",
            Reason::OptedOut => "opted_out",
            Reason::Override => "override",
            Reason::NotRunning => "not_running",
            Reason::NoUnit => "no_unit",
            Reason::Excluded => "excluded",
            Reason::Prerequisite => "prerequisite",
            Reason::Sticky => "sticky",
            Reason::NotTargeted => "not_targeted",
            Reason::Holdout => "holdout",
            Reason::Layer => "layer",
            Reason::Traffic => "traffic",
            Reason::Split => "split",
        }
    }
}

/// The answer for one user: a variant only where the reason gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Index of what to show; `None` means "serve the default".
    pub variant: Option<usize>,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    pub(crate) const fn none(reason: Reason) -> Decision {
        Decision { variant: None, reason }
    }

    pub(crate) const fn variant(index: usize, reason: Reason) -> Decision {
        Decision { variant: Some(index), reason }
    }
}

/// Whom and when a decision is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub(crate) user_id: &'a str,
    /// Whether that can be an id at all; one that cannot is nobody's.
    has_id: bool,
    /// What is known about the user.
    pub context: &'a dyn Context,
    /// In microseconds since 1970, by the database's clock.
    pub now: i64,
}

impl<'a> Subject<'a> {
    /// The user with this id, of whom `context` is known, at `now`.
    #[inline]
    pub fn new(user_id: &'a str, context: &'a dyn Context, now: i64) -> Subject<'a> {
        Subject { user_id, has_id: event::is_user_id(user_id), context, now }
    }

    /// The same where the id is known to hold no NUL, as a text of PostgreSQL is: looking for one takes as long as
    /// everything else that is done with an id but hashing it.
    #[inline]
    pub fn without_nul(user_id: &'a str, context: &'a dyn Context, now: i64) -> Subject<'a> {
        let has_id = !user_id.is_empty() && user_id.len() <= event::MAX_USER_ID_BYTES;
        Subject { user_id, has_id, context, now }
    }

    /// The same at another time.
    pub fn at(self, now: i64) -> Subject<'a> {
        Subject { now, ..self }
    }
}

/// What is stored about the first variant of a user in a sticky experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstVariant {
    /// The user has had none.
    None,
    /// Index of the variant.
    Variant(usize),
    /// Whoever knows cannot be asked.
    Unavailable,
}

/// Whoever holds what decisions depend on.
pub trait Environment {
    /// What holds for the whole workspace.
    fn workspace(&self) -> &Workspace;
    /// The experiment with this key.
    fn experiment(&self, key: &str) -> Option<Arc<Experiment>>;
    /// The flag with this key.
    fn flag(&self, key: &str) -> Option<Arc<Flag>>;
    /// The segment with this key.
    fn segment(&self, key: &str) -> Option<Arc<Segment>>;
    /// Whether a user is on the list of a segment.
    fn is_member(&self, segment: &Segment, user_id: &str) -> bool;
    /// The variant that a unit was first given in a sticky experiment.
    fn first_variant(&self, experiment: &Experiment, unit: &str) -> FirstVariant;
}

/// One step of a decision, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The name of what was looked at: a reason's, or that of a part of a flag.
    pub step: Cow<'static, str>,
    /// `true` where this step decided.
    pub decided: bool,
    /// What was found.
    pub detail: String,
}

#[cold]
fn write_down(trace: &RefCell<Vec<Step>>, step: &'static str, decided: bool, detail: String) {
    trace.borrow_mut().push(Step { step: Cow::Borrowed(step), decided, detail });
}

/// One decision under way.
pub struct Evaluation<'a> {
    /// Whom and when it is about.
    pub subject: Subject<'a>,
    /// Whom it asks.
    pub environment: &'a dyn Environment,
    /// Asked for once, because every decision looks at it.
    workspace: &'a Workspace,
    lookups: Cell<u32>,
    depth: Cell<u32>,
    unconfirmed: Cell<bool>,
    trace: Option<&'a RefCell<Vec<Step>>>,
}

impl<'a> Evaluation<'a> {
    /// A decision about `subject`.
    #[inline]
    pub fn new(subject: Subject<'a>, environment: &'a dyn Environment) -> Evaluation<'a> {
        Evaluation {
            subject,
            environment,
            workspace: environment.workspace(),
            lookups: Cell::new(0),
            depth: Cell::new(0),
            unconfirmed: Cell::new(false),
            trace: None,
        }
    }

    /// The same, that writes each of its steps to `trace`.
    pub fn traced(
        subject: Subject<'a>,
        environment: &'a dyn Environment,
        trace: &'a RefCell<Vec<Step>>,
    ) -> Evaluation<'a> {
        Evaluation { trace: Some(trace), ..Evaluation::new(subject, environment) }
    }

    /// Whether an answer would have needed a stored variant that could not be asked for.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.get()
    }

    pub(crate) fn set_unconfirmed(&self) {
        self.unconfirmed.set(true);
    }

    /// The id to assign by: the user's, or that of the attribute at `path`; `None` where it cannot be one.
    #[inline]
    pub fn unit(&self, path: Option<&Path>) -> Option<Cow<'a, str>> {
        let Some(path) = path else {
            return self.subject.has_id.then_some(Cow::Borrowed(self.subject.user_id));
        };
        let unit = match self.subject.context.attribute(path)? {
            Attribute::Text(text) => text,
            Attribute::Number(Some(number)) => Cow::Owned(number.normalize().to_string()),
            _ => return None,
        };
        event::is_user_id(&unit).then_some(unit)
    }

    /// Whether the user has opted out of all experiments.
    #[inline]
    pub(crate) fn is_opted_out(&self) -> bool {
        self.workspace.has_opt_outs() && self.listed_in(crate::segment::OPTED_OUT)
    }

    fn listed_in(&self, segment: &str) -> bool {
        self.subject.has_id
            && self
                .environment
                .segment(segment)
                .is_some_and(|segment| self.environment.is_member(&segment, self.subject.user_id))
    }

    /// Whether the workspace excludes the user, and by what.
    #[inline]
    pub(crate) fn exclusion(&self) -> Option<&'static str> {
        let workspace = self.workspace;
        if workspace.excludes_bots() {
            let path = [USER_AGENT.into()];
            if let Some(Attribute::Text(user_agent)) = self.subject.context.attribute(&path)
                && crate::bot::is_bot(&user_agent)
            {
                return Some("the user agent is a bot's");
            }
        }
        workspace
            .excluded()
            .is_some_and(|rule| self.matches(rule))
            .then_some("the workspace's rule excludes the user")
    }

    /// Whether a rule holds for the user.
    #[inline]
    pub fn matches(&self, rule: &crate::rule::Rule) -> bool {
        rule.matches(self.subject.user_id, self.subject.context, &|segment| self.in_segment(segment))
    }

    /// Whether the user is in the segment with this key; nobody is in one that does not exist.
    pub fn in_segment(&self, key: &str) -> bool {
        self.deeper(|| {
            let segment = self.environment.segment(key)?;
            Some(match segment.rule() {
                Some(rule) => self.matches(rule),
                None => self.subject.has_id && self.environment.is_member(&segment, self.subject.user_id),
            })
        })
        .unwrap_or(false)
    }

    /// Looks at something else on the way to a decision; `None` where that leads too far.
    pub(crate) fn deeper<T>(&self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.lookups.get() >= MAX_LOOKUPS || self.depth.get() >= MAX_DEPTH {
            return None;
        }
        self.lookups.set(self.lookups.get() + 1);
        self.depth.set(self.depth.get() + 1);
        let found = look();
        self.depth.set(self.depth.get() - 1);
        found
    }

    /// Writes a step of the outermost decision down, if anybody wants to read it.
    #[inline]
    pub(crate) fn note(&self, step: &'static str, decided: bool, detail: impl FnOnce() -> String) {
        if let Some(trace) = self.trace
            && self.depth.get() == 0
        {
            write_down(trace, step, decided, detail());
        }
    }

    /// Runs `look` without writing down its steps.
    pub(crate) fn silently<T>(&self, look: impl FnOnce() -> T) -> T {
        if self.trace.is_none() {
            return look();
        }
        self.depth.set(self.depth.get() + 1);
        let found = look();
        self.depth.set(self.depth.get() - 1);
        found
    }
}
