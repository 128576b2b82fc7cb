//! A compiled experiment and the decision it takes for a user.
//!
//! Compiling checks once what deciding then relies on, so that a decision cannot fail and, where nobody asked for more, is
//! two hashes and a search.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::allocation::{self, Range};
use crate::bucket::{BUCKETS, Salt};
use crate::context::{self, Attribute, Context, Path};
use crate::decision::{Decision, Evaluation, FirstVariant, Reason};
use crate::document::{ExperimentDocument, ExperimentKind, Status};
use crate::error::{Code, Error};
use crate::prerequisite::Prerequisite;
use crate::rule::Rule;
use crate::schedule::Schedule;
use crate::{event, key};

/// The variant of a holdout whose users are kept out.
pub const HELD_OUT: &str = "holdout";

/// A variant as it is answered.
#[derive(Debug)]
pub struct Variant {
    /// Unique within the experiment.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whatever the application wants to be told with it.
    pub config: Option<Box<RawValue>>,
}

/// What showing an experiment to a user amounts to: that this unit met this variant.
#[derive(Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Key of the experiment or of the holdout.
    pub experiment: String,
    /// Key of the variant.
    pub variant: String,
    /// Whether the variant must be kept for the unit.
    pub is_sticky: bool,
}

/// An experiment ready to decide.
#[derive(Debug)]
pub struct Experiment {
    id: i64,
    key: String,
    kind: ExperimentKind,
    status: Status,
    starts_at: i64,
    ends_at: i64,
    traffic: Schedule,
    traffic_salt: Salt,
    variant_salt: Salt,
    variants: Vec<Variant>,
    ranges: Vec<Range>,
    shipped: Option<usize>,
    /// What only some experiments have, out of the way of those that have none of it.
    extras: Option<Box<Extras>>,
}

#[derive(Debug, Default)]
struct Extras {
    unit: Option<Path>,
    targeting: Option<Rule>,
    overridden_users: HashMap<Box<str>, usize>,
    overridden_segments: Vec<(Box<str>, usize)>,
    prerequisites: Box<[Prerequisite]>,
    layer: Option<Layer>,
    holdouts: Vec<Box<str>>,
    sticky: Option<Sticky>,
    dimensions: Box<[Box<str>]>,
}

#[derive(Debug)]
struct Layer {
    key: Box<str>,
    salt: Salt,
    /// First bucket and the bucket after the last.
    slices: Box<[(u32, u32)]>,
}

#[derive(Debug)]
struct Sticky {
    /// Buckets that have changed hands, ascending.
    contested: Box<[(u32, u32)]>,
    /// The greatest share that ever took part.
    traffic: u32,
    /// Whether a stored variant may be one that this experiment never gave.
    foreign: bool,
}

impl Experiment {
    /// Checks a document and makes it ready to decide.
    ///
    /// # Errors
    /// [`Code::CorruptConfiguration`] when the document contradicts itself, or what its parts fail with.
    pub fn compile(document: ExperimentDocument) -> Result<Experiment, Error> {
        let what = format!("experiment \"{}\"", event::excerpt(&document.key));
        let corrupt = |problem: &str| {
            Error::new(
                Code::CorruptConfiguration,
                format!("{what} cannot be used: {problem}"),
                "correct its rows in schema ab; the configuration before it stays in force",
            )
        };
        if !key::is_valid(&document.key) || !key::is_valid(&document.salt) {
            return Err(corrupt("its key or its salt is not a valid key"));
        }
        if document.traffic > BUCKETS {
            return Err(corrupt("its traffic is above a million"));
        }
        let variants = document.variants.len();
        if !(document.ranges.is_empty() || allocation::is_complete(&document.ranges, variants)) {
            return Err(corrupt("its bucket ranges do not cover every bucket once"));
        }
        if document.shipped.is_some_and(|shipped| shipped >= variants)
            || document.overrides.iter().any(|forced| forced.variant >= variants)
        {
            return Err(corrupt("it names a variant that it does not have"));
        }
        let mut extras = Extras {
            unit: match &document.unit {
                Some(unit) => Some(context::path(unit).ok_or_else(|| corrupt("its unit is not a path"))?),
                None => None,
            },
            targeting: document.targeting.map(|rule| Rule::compile(&what, rule.get())).transpose()?,
            prerequisites: match &document.prerequisites {
                Some(prerequisites) => Prerequisite::compile(&what, prerequisites.get())?,
                None => Box::default(),
            },
            layer: document.layer.map(|layer| Layer {
                salt: Salt::stage(&layer.salt, "layer"),
                key: layer.key.into(),
                slices: layer.slices.into(),
            }),
            holdouts: document.holdouts.into_iter().map(Into::into).collect(),
            sticky: document.sticky.map(|sticky| Sticky {
                contested: sticky.contested.into(),
                traffic: sticky.traffic,
                foreign: sticky.foreign,
            }),
            dimensions: document.dimensions.into_iter().map(Into::into).collect(),
            ..Extras::default()
        };
        for forced in document.overrides {
            match (forced.user_id, forced.segment) {
                (Some(user_id), None) => {
                    extras.overridden_users.insert(user_id.into(), forced.variant);
                }
                (None, Some(segment)) => extras.overridden_segments.push((segment.into(), forced.variant)),
                _ => return Err(corrupt("an override is not of one user or one segment")),
            }
        }
        let stage = if document.kind == ExperimentKind::Holdout { "holdout" } else { "variant" };
        Ok(Experiment {
            id: document.id,
            kind: document.kind,
            traffic_salt: Salt::stage(&document.salt, "traffic"),
            variant_salt: Salt::stage(&document.salt, stage),
            status: document.status,
            starts_at: document.starts_at.unwrap_or(i64::MIN),
            ends_at: document.ends_at.unwrap_or(i64::MAX),
            traffic: match &document.schedule {
                Some(schedule) => Schedule::compile(&what, document.traffic, schedule.get())?,
                None => Schedule::constant(document.traffic),
            },
            variants: document
                .variants
                .into_iter()
                .map(|variant| Variant { key: variant.key, name: variant.name, config: variant.config })
                .collect(),
            ranges: document.ranges,
            shipped: document.shipped,
            extras: extras.is_needed().then(|| Box::new(extras)),
            key: document.key,
        })
    }

    /// By which the database knows the experiment.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The experiment's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The variants in written order.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// Index of the variant with this key.
    pub fn variant_index(&self, key: &str) -> Option<usize> {
        self.variants.iter().position(|variant| variant.key == key)
    }

    /// Whether it keeps users out of others instead of showing them something.
    pub fn is_holdout(&self) -> bool {
        self.kind == ExperimentKind::Holdout
    }

    /// Whether it can give anybody a variant at any time without being changed.
    pub fn is_live(&self) -> bool {
        self.status == Status::Running
            || self.shipped.is_some()
            || self.extras.as_ref().is_some_and(|extras| {
                !extras.overridden_users.is_empty() || !extras.overridden_segments.is_empty()
            })
    }

    /// The answer for whom `evaluation` is about.
    #[inline]
    pub fn decide(&self, evaluation: &Evaluation<'_>) -> Decision {
        if self.status == Status::Stopped
            && let Some(shipped) = self.shipped
        {
            evaluation.note("shipped", true, || {
                format!("stopped, and ships variant \"{}\" to everybody", self.variants[shipped].key)
            });
            return Decision::variant(shipped, Reason::Shipped);
        }
        if evaluation.is_opted_out() {
            evaluation.note("opted_out", true, || "the user has opted out of all experiments".to_owned());
            return Decision::none(Reason::OptedOut);
        }
        evaluation.note("opted_out", false, || "the user has not opted out".to_owned());
        if let Some(extras) = self.extras.as_deref()
            && let Some(variant) = self.forced(extras, evaluation)
        {
            return Decision::variant(variant, Reason::Override);
        }
        if !self.is_running(evaluation.subject.now) {
            evaluation.note("not_running", true, || self.why_not_running(evaluation.subject.now));
            return Decision::none(Reason::NotRunning);
        }
        evaluation.note("not_running", false, || "it runs".to_owned());
        let extras = self.extras.as_deref();
        let Some(unit) = evaluation.unit(extras.and_then(|extras| extras.unit.as_ref())) else {
            evaluation.note("no_unit", true, || self.why_no_unit());
            return Decision::none(Reason::NoUnit);
        };
        evaluation.note("no_unit", false, || format!("assigned by \"{}\"", event::excerpt(&unit)));
        if let Some(why) = evaluation.exclusion() {
            evaluation.note("excluded", true, || why.to_owned());
            return Decision::none(Reason::Excluded);
        }
        evaluation
            .note("excluded", false, || "neither a bot nor excluded by the workspace's rule".to_owned());
        match extras {
            None => self.split(&unit, evaluation),
            Some(extras) => self.decide_with(extras, &unit, evaluation),
        }
    }

    fn decide_with(&self, extras: &Extras, unit: &str, evaluation: &Evaluation<'_>) -> Decision {
        for prerequisite in &extras.prerequisites {
            let holds = prerequisite.holds(evaluation);
            evaluation.note("prerequisite", !holds, || {
                format!(
                    "\"{}\" {} as required",
                    prerequisite.key(),
                    if holds { "answers" } else { "does not answer" }
                )
            });
            if !holds {
                return Decision::none(Reason::Prerequisite);
            }
        }
        if let Some(sticky) = &extras.sticky {
            let natural = evaluation.silently(|| self.allocate(extras, unit, evaluation));
            if self.may_differ(sticky, natural, unit) {
                match evaluation.environment.first_variant(self, unit) {
                    FirstVariant::Variant(variant) => {
                        evaluation.note("sticky", true, || {
                            format!("was first given variant \"{}\" and keeps it", self.variants[variant].key)
                        });
                        return Decision::variant(variant, Reason::Sticky);
                    }
                    FirstVariant::None => {
                        evaluation.note("sticky", false, || "no variant is stored for this unit".to_owned());
                    }
                    FirstVariant::Unavailable => {
                        evaluation.set_unconfirmed();
                        evaluation.note("sticky", false, || "stored variants cannot be read now".to_owned());
                    }
                }
            } else {
                evaluation.note("sticky", false, || {
                    "any variant this unit ever had is the one it gets now".to_owned()
                });
            }
        }
        self.allocate(extras, unit, evaluation)
    }

    /// Whether a unit that is answered `natural` may have been answered otherwise earlier.
    fn may_differ(&self, sticky: &Sticky, natural: Decision, unit: &str) -> bool {
        if sticky.foreign {
            return true;
        }
        match natural.reason {
            Reason::Split => is_within(&sticky.contested, self.variant_salt.bucket(unit)),
            Reason::Traffic => self.traffic_salt.bucket(unit) < sticky.traffic,
            // A slice only grows: who is outside it now never was inside.
            Reason::Layer => false,
            // Attributes change, and so do rules and the size of a holdout.
            _ => true,
        }
    }

    /// From targeting on: what depends on nothing that is stored about the unit.
    fn allocate(&self, extras: &Extras, unit: &str, evaluation: &Evaluation<'_>) -> Decision {
        if let Some(rule) = &extras.targeting {
            let matches = evaluation.matches(rule);
            evaluation.note("not_targeted", !matches, || {
                format!(
                    "the context {} the targeting rule",
                    if matches { "matches" } else { "does not match" }
                )
            });
            if !matches {
                return Decision::none(Reason::NotTargeted);
            }
        }
        for (holdout, arm) in self.holdout_arms(extras, unit, evaluation) {
            let held_out = arm == HELD_OUT;
            evaluation.note("holdout", held_out, || format!("in variant \"{arm}\" of holdout \"{holdout}\""));
            if held_out {
                return Decision::none(Reason::Holdout);
            }
        }
        if let Some(layer) = &extras.layer {
            let bucket = layer.salt.bucket(unit);
            let inside = is_within(&layer.slices, bucket);
            evaluation.note("layer", !inside, || {
                format!(
                    "bucket {bucket} of layer \"{}\" is {} the experiment's slices",
                    layer.key,
                    if inside { "in" } else { "outside" }
                )
            });
            if !inside {
                return Decision::none(Reason::Layer);
            }
        }
        self.split(unit, evaluation)
    }

    #[inline]
    fn split(&self, unit: &str, evaluation: &Evaluation<'_>) -> Decision {
        let traffic = self.traffic.at(evaluation.subject.now);
        if traffic < BUCKETS {
            let bucket = self.traffic_salt.bucket(unit);
            let outside = bucket >= traffic;
            evaluation.note("traffic", outside, || {
                format!(
                    "bucket {bucket} is {} the {traffic} that take part",
                    if outside { "not below" } else { "below" }
                )
            });
            if outside {
                return Decision::none(Reason::Traffic);
            }
        }
        let bucket = self.variant_salt.bucket(unit);
        let variant = self.owner(bucket);
        evaluation.note("split", true, || {
            format!("bucket {bucket} belongs to variant \"{}\"", self.variants[variant].key)
        });
        Decision::variant(variant, Reason::Split)
    }

    #[inline]
    fn owner(&self, bucket: u32) -> usize {
        let range = self.ranges.partition_point(|range| range.to <= bucket);
        self.ranges[range].variant
    }

    /// The variant that is forced upon the user, if one is.
    fn forced(&self, extras: &Extras, evaluation: &Evaluation<'_>) -> Option<usize> {
        if let Some(&variant) = extras.overridden_users.get(evaluation.subject.user_id) {
            evaluation.note("override", true, || {
                format!("the user is given variant \"{}\"", self.variants[variant].key)
            });
            return Some(variant);
        }
        for (segment, variant) in &extras.overridden_segments {
            if evaluation.in_segment(segment) {
                evaluation.note("override", true, || {
                    format!("segment \"{segment}\" is given variant \"{}\"", self.variants[*variant].key)
                });
                return Some(*variant);
            }
        }
        evaluation.note("override", false, || "no variant is forced upon the user".to_owned());
        None
    }

    /// Whether the experiment assigns at `now`.
    #[inline]
    fn is_running(&self, now: i64) -> bool {
        // A running experiment without ranges can only come from a half-restored database: it assigns nobody.
        self.status == Status::Running
            && now >= self.starts_at
            && now < self.ends_at
            && !self.ranges.is_empty()
    }

    /// The bound holdouts that are in force, each with the unit's variant; ends with the one that holds the unit out.
    fn holdout_arms<'e>(
        &'e self,
        extras: &'e Extras,
        unit: &'e str,
        evaluation: &'e Evaluation<'_>,
    ) -> impl Iterator<Item = (&'e str, String)> {
        let mut held_out = false;
        extras.holdouts.iter().filter_map(move |key| {
            if held_out {
                return None;
            }
            let holdout = evaluation.environment.experiment(key)?;
            if !holdout.is_holdout() || !holdout.is_running(evaluation.subject.now) {
                return None;
            }
            let arm = &holdout.variants[holdout.owner(holdout.variant_salt.bucket(unit))].key;
            held_out = arm == HELD_OUT;
            Some((key.as_ref(), arm.clone()))
        })
    }

    /// What showing this experiment to the user, who was answered `decision`, amounts to; with the id of the unit.
    ///
    /// A holdout is exposed to everyone who got as far as it: those outside the layer or the share that takes part too,
    /// because the held-out users are not told apart by that either. Who is overridden or shipped to counts nowhere.
    pub fn exposures(
        &self,
        evaluation: &Evaluation<'_>,
        decision: Decision,
    ) -> Option<(String, Vec<Exposure>)> {
        let extras = self.extras.as_deref();
        let unit = evaluation.unit(extras.and_then(|extras| extras.unit.as_ref()))?;
        let mut exposures = Vec::new();
        if let (Some(variant), Reason::Split | Reason::Sticky) = (decision.variant, decision.reason) {
            exposures.push(Exposure {
                experiment: self.key.clone(),
                variant: self.variants[variant].key.clone(),
                is_sticky: extras.is_some_and(|extras| extras.sticky.is_some()),
            });
        }
        if let Some(extras) = extras
            && matches!(decision.reason, Reason::Holdout | Reason::Layer | Reason::Traffic | Reason::Split)
        {
            exposures.extend(self.holdout_arms(extras, &unit, evaluation).map(|(holdout, arm)| Exposure {
                experiment: holdout.to_owned(),
                variant: arm,
                is_sticky: false,
            }));
        }
        Some((Cow::into_owned(unit), exposures))
    }

    /// What an exposure to this experiment records of the context, as the JSON text of an object; `None` where that knows
    /// nothing of it.
    pub fn dimensions(&self, context: &dyn Context) -> Option<String> {
        let chosen = self.extras.as_deref().map_or(&[][..], |extras| &extras.dimensions);
        let mut known = serde_json::Map::new();
        for name in event::DIMENSIONS.iter().copied().chain(chosen.iter().map(AsRef::as_ref)) {
            let value = match context.attribute(&[name.into()]) {
                Some(Attribute::Text(text)) => text.into_owned(),
                Some(Attribute::Number(Some(number))) => number.to_string(),
                Some(Attribute::Boolean(value)) => value.to_string(),
                _ => continue,
            };
            let value: String = value.chars().take(event::MAX_DIMENSION_CHARS).collect();
            known.insert(name.to_owned(), value.into());
        }
        (!known.is_empty()).then(|| serde_json::Value::Object(known).to_string())
    }

    fn why_not_running(&self, now: i64) -> String {
        match self.status {
            Status::Draft => "it is a draft".to_owned(),
            Status::Paused => "it is paused".to_owned(),
            Status::Stopped => "it is stopped".to_owned(),
            Status::Running if now < self.starts_at => "it starts later".to_owned(),
            Status::Running if now >= self.ends_at => "it has ended".to_owned(),
            Status::Running => "it has no bucket ranges".to_owned(),
        }
    }

    fn why_no_unit(&self) -> String {
        match self.extras.as_deref().and_then(|extras| extras.unit.as_ref()) {
            Some(path) => format!("the context has no usable \"{}\"", path.join(".")),
            None => "the user id is missing, empty or too long".to_owned(),
        }
    }
}

impl Extras {
    fn is_needed(&self) -> bool {
        self.unit.is_some()
            || self.targeting.is_some()
            || !self.overridden_users.is_empty()
            || !self.overridden_segments.is_empty()
            || !self.prerequisites.is_empty()
            || self.layer.is_some()
            || !self.holdouts.is_empty()
            || self.sticky.is_some()
            || !self.dimensions.is_empty()
    }
}

/// Whether `bucket` lies in one of the ascending `slices`.
fn is_within(slices: &[(u32, u32)], bucket: u32) -> bool {
    let slice = slices.partition_point(|&(_, to)| to <= bucket);
    slices.get(slice).is_some_and(|&(from, _)| from <= bucket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Subject;
    use crate::memory::Memory;

    fn document(json: &str) -> ExperimentDocument {
        serde_json::from_str(json).unwrap()
    }

    fn decide(experiment: &Experiment, user_id: &str, now: i64) -> Decision {
        experiment.decide(&Evaluation::new(Subject::new(user_id, &(), now), &Memory::new()))
    }

    const RUNNING: &str = r#"{"id":1,"workspace":"default","key":"t","name":null,"salt":"t","status":"running","starts_at":10,
        "ends_at":20,"traffic":1000000,"variants":[{"key":"a","name":null,"config":null},{"key":"b","name":"B","config":{"x":1}}],
        "ranges":[{"from":0,"to":500000,"variant":0},{"from":500000,"to":1000000,"variant":1}]}"#;

    #[test]
    fn dates_bound_the_run_half_open() {
        let experiment = Experiment::compile(document(RUNNING)).unwrap();
        let reason = |now| decide(&experiment, "u", now).reason;
        assert_eq!(
            [reason(9), reason(10), reason(19), reason(20)],
            [Reason::NotRunning, Reason::Split, Reason::Split, Reason::NotRunning]
        );
    }

    #[test]
    fn ids_without_use_are_no_unit() {
        let experiment = Experiment::compile(document(RUNNING)).unwrap();
        let reason = |id: &str| decide(&experiment, id, 15).reason;
        assert_eq!(reason(""), Reason::NoUnit);
        assert_eq!(reason(&"x".repeat(513)), Reason::NoUnit);
        assert_eq!(reason(&"x".repeat(512)), Reason::Split);
        assert_eq!(reason("nul\0byte"), Reason::NoUnit);
    }

    #[test]
    fn contradictions_are_refused() {
        for (from, to) in [
            ("\"from\":500000", "\"from\":400000"),
            ("\"variant\":1", "\"variant\":2"),
            ("\"traffic\":1000000", "\"traffic\":1000001"),
            ("\"salt\":\"t\"", "\"salt\":\"t:x\""),
        ] {
            let broken = RUNNING.replacen(from, to, 1);
            assert_ne!(broken, RUNNING);
            assert_eq!(Experiment::compile(document(&broken)).unwrap_err().code, Code::CorruptConfiguration);
        }
    }

    /// The bar: |phi| ≤ 0.02 at 100,000 ids for every pair of 16 experiments whose keys differ in the last character,
    /// with sequential, UUID-like and e-mail ids, at cuts of 1, 10 and 50 %.
    #[test]
    fn experiments_are_independent_of_each_other() {
        const USERS: usize = 100_000;
        let shapes: [fn(usize) -> String; 3] = [
            |n| n.to_string(),
            |n| uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes()).to_string(),
            |n| format!("user.{n}@example.com"),
        ];
        for shape in shapes {
            let ids: Vec<String> = (0..USERS).map(shape).collect();
            let buckets: Vec<Vec<u32>> = (0..16)
                .map(|key| {
                    let salt = format!("exp-0{key:x}:variant");
                    ids.iter().map(|id| crate::bucket::bucket(&salt, id)).collect()
                })
                .collect();
            for cut in [10_000, 100_000, 500_000] {
                for left in 0..16 {
                    for right in 0..left {
                        let mut counts = [[0_f64; 2]; 2];
                        for (a, b) in buckets[left].iter().zip(&buckets[right]) {
                            counts[usize::from(*a < cut)][usize::from(*b < cut)] += 1.0;
                        }
                        let [[n00, n01], [n10, n11]] = counts;
                        let phi = (n11 * n00 - n10 * n01)
                            / ((n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)).sqrt();
                        assert!(phi.abs() <= 0.02, "keys {left} and {right}, cut {cut}: phi {phi}");
                    }
                }
            }
        }
    }

    #[test]
    fn traffic_only_adds_users_and_never_moves_them() {
        let at = |traffic: u32| {
            Experiment::compile(document(
                &RUNNING.replace("\"traffic\":1000000", &format!("\"traffic\":{traffic}")),
            ))
            .unwrap()
        };
        let steps: Vec<Experiment> = [0, 50_000, 100_000, 500_000, 1_000_000].map(at).into();
        for user in 0..20_000 {
            let user = user.to_string();
            let mut last = None;
            for step in &steps {
                let now = decide(step, &user, 15).variant;
                assert!(last.is_none() || last == now, "{user}");
                last = now;
            }
            assert!(last.is_some());
        }
    }
}
