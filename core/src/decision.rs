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

/// How many other experiments, flags and segments with a rule one decision may look at. The database refuses circles; this
/// bounds what a half-restored one, or a very tangled one, can cost.
const MAX_LOOKUPS: u32 = 10_000;
/// How many lists it may look at, which lead nowhere else: more than one rule has room to name.
const MAX_LISTS: u32 = 100_000;
/// How many experiments and flags in a row may need each other, and how many segments contain each other. The database refuses
/// what is longer when it is written (sql/functions/chain.sql).
const MAX_CHAIN: u32 = 32;

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
    lists: Cell<u32>,
    /// How many experiments and flags led here.
    depth: Cell<u32>,
    /// How many segments did, from the rule that named the first.
    segment_depth: Cell<u32>,
    cut_off: Cell<bool>,
    silent: Cell<bool>,
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
            lists: Cell::new(0),
            depth: Cell::new(0),
            segment_depth: Cell::new(0),
            cut_off: Cell::new(false),
            silent: Cell::new(false),
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
        if workspace.excluded().is_some_and(|rule| self.matches(rule)) {
            return Some("the workspace's rule excludes the user");
        }
        self.is_cut_off().then_some("more would have to be looked at than one decision may")
    }

    /// Whether a rule holds for the user. None does once the look-ups of a decision were cut off: what was not looked at may
    /// have been the reason why it would not hold, and `not` makes a match of it.
    #[inline]
    pub fn matches(&self, rule: &crate::rule::Rule) -> bool {
        rule.matches(self.subject.user_id, self.subject.context, &|segment| self.in_segment(segment))
            && !self.is_cut_off()
    }

    /// Whether the user is in the segment with this key; nobody is in one that does not exist.
    pub fn in_segment(&self, key: &str) -> bool {
        if self.is_cut_off() {
            return false;
        }
        let segment = self.environment.segment(key);
        if let Some(rule) = segment.as_ref().and_then(|segment| segment.rule()) {
            return self.look(&self.segment_depth, || Some(self.matches(rule))).unwrap_or(false);
        }
        if self.lists.get() >= MAX_LISTS {
            self.cut_off(|| format!("more than {MAX_LISTS} lists would have to be looked at"));
            return false;
        }
        self.lists.set(self.lists.get() + 1);
        segment.is_some_and(|segment| {
            self.subject.has_id && self.environment.is_member(&segment, self.subject.user_id)
        })
    }

    /// Looks at another experiment or flag on the way to a decision; `None` where that leads too far.
    pub(crate) fn deeper<T>(&self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        self.look(&self.depth, look)
    }

    fn look<T>(&self, depth: &Cell<u32>, look: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.is_cut_off() {
            return None;
        }
        if depth.get() >= MAX_CHAIN {
            self.cut_off(|| format!("a chain of what depends on each other is longer than {MAX_CHAIN}"));
            return None;
        }
        if self.lookups.get() >= MAX_LOOKUPS {
            self.cut_off(|| {
                format!("more than {MAX_LOOKUPS} experiments, flags and segments would have to be looked at")
            });
            return None;
        }
        self.lookups.set(self.lookups.get() + 1);
        depth.set(depth.get() + 1);
        let found = look();
        depth.set(depth.get() - 1);
        found
    }

    /// Whether the decision would have had to look at more than it may, so that nothing is known to hold any more.
    #[inline]
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.get()
    }

    /// Written down however deep it happens, because every step after it follows from it.
    #[cold]
    fn cut_off(&self, why: impl FnOnce() -> String) {
        self.cut_off.set(true);
        if let Some(trace) = self.trace {
            write_down(trace, "cut_off", false, format!("{}: from here on nothing matches", why()));
        }
    }

    /// Writes a step of the outermost decision down, if anybody wants to read it.
    #[inline]
    pub(crate) fn note(&self, step: &'static str, decided: bool, detail: impl FnOnce() -> String) {
        if let Some(trace) = self.trace
            && self.depth.get() == 0
            && !self.silent.get()
        {
            write_down(trace, step, decided, detail());
        }
    }

    /// Runs `look` without writing down its steps.
    pub(crate) fn silently<T>(&self, look: impl FnOnce() -> T) -> T {
        let before = self.silent.replace(true);
        let found = look();
        self.silent.set(before);
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::memory::Memory;
    use crate::rule::Rule;

    fn put(memory: &mut Memory, kind: &str, document: &str) {
        let document: Box<RawValue> = serde_json::from_str(document).unwrap();
        memory.put(kind, &document).unwrap();
    }

    fn segment(memory: &mut Memory, key: &str, rule: &str) {
        put(
            memory,
            "segment",
            &format!(r#"{{"id":1,"workspace":"default","key":"{key}","kind":"rule","rule":{rule}}}"#),
        );
    }

    fn in_segments(keys: impl Iterator<Item = String>) -> String {
        let keys: Vec<String> = keys.collect();
        format!(r#"{{"operator":"in_segment","values":{}}}"#, serde_json::to_string(&keys).unwrap())
    }

    /// Whether the rule holds, and what was written down.
    fn matches(memory: &Memory, rule: &str) -> (bool, Vec<Step>) {
        let trace = RefCell::default();
        let rule = Rule::compile("x", rule).unwrap();
        let holds = Evaluation::traced(Subject::new("u", &(), 0), memory, &trace).matches(&rule);
        (holds, trace.into_inner())
    }

    #[test]
    fn whoever_is_cut_off_matches_nothing() {
        let mut memory = Memory::new();
        segment(&mut memory, "s1", r#"{"any":[]}"#);
        for length in 2..=33 {
            segment(
                &mut memory,
                &format!("s{length}"),
                &in_segments([format!("s{}", length - 1)].into_iter()),
            );
        }
        let in_32 = in_segments(["s32".to_owned()].into_iter());
        assert_eq!(matches(&memory, &format!(r#"{{"not":{in_32}}}"#)), (true, vec![]));
        let in_33 = in_segments(["s33".to_owned()].into_iter());
        for rule in
            [in_33.clone(), format!(r#"{{"not":{in_33}}}"#), format!(r#"{{"any":[{in_33},{{"all":[]}}]}}"#)]
        {
            let (holds, steps) = matches(&memory, &rule);
            assert!(!holds, "{rule}");
            assert_eq!(steps.len(), 1);
            assert!(steps[0].step == "cut_off" && steps[0].detail.contains("longer than 32"), "{steps:?}");
        }
    }

    #[test]
    fn as_many_segments_are_looked_at_as_a_list_may_name() {
        let mut memory = Memory::new();
        for number in 0..9_999 {
            segment(&mut memory, &format!("r{number}"), r#"{"any":[]}"#);
        }
        let rules = in_segments((0..10_000).map(|number| format!("r{number}")));
        segment(&mut memory, "r9999", r#"{"all":[]}"#);
        assert_eq!(matches(&memory, &rules), (true, vec![]));
        segment(&mut memory, "again", &rules);
        let too_many = in_segments(["r0".to_owned(), "again".to_owned()].into_iter());
        let (holds, steps) = matches(&memory, &format!(r#"{{"not":{too_many}}}"#));
        assert!(!holds && steps[0].detail.contains("more than 10000"), "{steps:?}");
        // Lists lead nowhere and have their own bound.
        put(
            &mut memory,
            "segment",
            r#"{"id":1,"workspace":"default","key":"l9999","kind":"list","generation":1,"revision":1}"#,
        );
        memory.members.insert(("l9999".to_owned(), "u".to_owned()));
        let lists = in_segments((0..10_000).map(|number| format!("l{number}")));
        let both = format!(r#"{{"all":[{rules},{lists},{lists}]}}"#);
        assert!(both.len() < crate::rule::MAX_BYTES, "{}", both.len());
        assert_eq!(matches(&memory, &both), (true, vec![]));
    }

    const OFF_BY_RULE: &str = r#""kind":"boolean","salt":"f","default":false,"off":false,"layouts":[]"#;

    #[test]
    fn nothing_is_given_by_what_was_cut_off() {
        let mut memory = Memory::new();
        for number in 1..=33 {
            let rule = if number == 1 {
                r#"{"any":[]}"#.to_owned()
            } else {
                in_segments([format!("s{}", number - 1)].into_iter())
            };
            segment(&mut memory, &format!("s{number}"), &rule);
        }
        let beyond = in_segments(["s33".to_owned()].into_iter());
        // The rule that would have served false is left out, and so is the one after it.
        put(
            &mut memory,
            "flag",
            &format!(
                r#"{{"workspace":"default","key":"f",{OFF_BY_RULE},"rules":[{{"when":{beyond},"value":false}},{{"value":true}}]}}"#
            ),
        );
        let subject = Subject::new("u", &(), 0);
        let flag = memory.flag("f").unwrap();
        let decision = flag.evaluate(&Evaluation::new(subject, &memory));
        assert_eq!((decision.value.get(), decision.reason.as_str()), ("false", "default"));
        let experiment = |more: &str| {
            format!(
                r#"{{"id":1,"workspace":"default","key":"e","kind":"experiment","salt":"e","status":"running","traffic":1000000,
                "variants":[{{"key":"a"}}],"ranges":[{{"from":0,"to":1000000,"variant":0}}]{more}}}"#
            )
        };
        for (more, reason) in [
            (r#","prerequisites":[{"flag":"f","values":[false]}]"#.to_owned(), Reason::Prerequisite),
            (format!(r#","targeting":{{"not":{beyond}}}"#), Reason::NotTargeted),
            (r#","overrides":[{"segment":"s33","variant":0}]"#.to_owned(), Reason::Excluded),
            (String::new(), Reason::Split),
        ] {
            put(&mut memory, "experiment", &experiment(&more));
            let decision = memory.experiment("e").unwrap().decide(&Evaluation::new(subject, &memory));
            assert_eq!(decision.reason, reason);
        }
        put(&mut memory, "workspace", &format!(r#"{{"workspace":"default","excluded":{{"not":{beyond}}}}}"#));
        let decision = memory.experiment("e").unwrap().decide(&Evaluation::new(subject, &memory));
        assert_eq!(decision.reason, Reason::Excluded);
    }
}
