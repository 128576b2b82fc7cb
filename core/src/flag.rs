//! Feature flags: a value for every user, by ordered rules.
//!
//! A rule is for those its `when` holds for, within its dates and its share of users, and serves a value, a split of
//! values, or what an experiment gives. The first rule that serves something is the answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::allocation::{self, Range, layout, parts_per_million};
use crate::bucket::{BUCKETS, Salt};
use crate::context::{self, Path, number};
use crate::decision::Evaluation;
use crate::document::{FlagDocument, FlagKind};
use crate::error::{Code, Error};
use crate::prerequisite::Prerequisite;
use crate::rule::Rule;
use crate::schedule::{self, Schedule};
use crate::time::Time;
use crate::{event, key};

/// More rules than this are a mistake.
const MAX_RULES: usize = 200;
/// More values than this in one split are a mistake.
const MAX_VALUES: usize = 200;

/// Why a flag has the value it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagReason {
    /// There is no such flag.
    NotFound,
    /// The kill switch is thrown.
    Killed,
    /// Another experiment or flag does not answer as this one requires.
    Prerequisite,
    /// A rule serves the value to everybody it is for.
    Rule,
    /// A rule serves the value to a share of those it is for.
    Rollout,
    /// The user's bucket of a rule's split belongs to the value.
    Split,
    /// A rule serves what an experiment gives the user.
    Experiment,
    /// No rule serves anything.
    Default,
}

impl FlagReason {
    /// The name by which users meet this reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            FlagReason::NotFound => "not_found",
            FlagReason::Killed => "killed",
            FlagReason::Prerequisite => "prerequisite",
            FlagReason::Rule => "rule",
            FlagReason::Rollout => "rollout",
            FlagReason::Split => "split",
            FlagReason::Experiment => "experiment",
            FlagReason::Default => "default",
        }
    }
}

/// A flag's value for one user.
#[derive(Debug)]
pub struct FlagDecision<'a> {
    /// Of the flag's kind.
    pub value: Cow<'a, RawValue>,
    /// Why.
    pub reason: FlagReason,
    /// Index of the rule that served it.
    pub rule: Option<usize>,
}

/// A flag ready to be evaluated.
#[derive(Debug)]
pub struct Flag {
    key: String,
    kind: FlagKind,
    unit: Option<Path>,
    is_killed: bool,
    rollout_salt: Salt,
    variant_salt: Salt,
    default: Box<RawValue>,
    off: Box<RawValue>,
    prerequisites: Box<[Prerequisite]>,
    rules: Box<[FlagRule]>,
}

#[derive(Debug)]
struct FlagRule {
    when: Option<Rule>,
    starts_at: i64,
    ends_at: i64,
    share: Schedule,
    serve: Serve,
}

#[derive(Debug)]
enum Serve {
    Value(Box<RawValue>),
    Split { values: Box<[Box<RawValue>]>, ranges: Vec<Range> },
    Experiment { key: Box<str>, values: Option<BTreeMap<Box<str>, Box<RawValue>>> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule<'a> {
    #[serde(borrow)]
    when: Option<&'a RawValue>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(borrow)]
    percent: Option<&'a RawValue>,
    #[serde(borrow)]
    schedule: Option<&'a RawValue>,
    // Through a function, because null is a value too.
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    split: Option<Vec<WrittenShare<'a>>>,
    experiment: Option<Box<str>>,
    values: Option<BTreeMap<Box<str>, Box<RawValue>>>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenShare<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    weight: &'a RawValue,
}

impl Flag {
    /// Checks a document and makes it ready.
    ///
    /// # Errors
    /// [`Code::InvalidFlag`] and what its rules, schedules and prerequisites fail with;
    /// [`Code::CorruptConfiguration`] when the document contradicts itself.
    pub fn compile(document: FlagDocument) -> Result<Flag, Error> {
        let what = format!("flag \"{}\"", event::excerpt(&document.key));
        let corrupt = |problem: &str| {
            Error::new(
                Code::CorruptConfiguration,
                format!("{what} cannot be used: {problem}"),
                "correct its row in ab.flag; the configuration before it stays in force",
            )
        };
        if !key::is_valid(&document.key) || !key::is_valid(&document.salt) {
            return Err(corrupt("its key or its salt is not a valid key"));
        }
        let unit = match &document.unit {
            Some(unit) => Some(context::path(unit).ok_or_else(|| corrupt("its unit is not a path"))?),
            None => None,
        };
        check_value(&what, "default value", document.kind, &document.default)?;
        check_value(&what, "off value", document.kind, &document.off)?;
        let mut rules = compile_rules(&what, document.kind, document.rules.get())?;
        let mut layouts = document.layouts.into_iter();
        for rule in &mut rules {
            let laid_out = layouts.next().flatten();
            if let Serve::Split { values, ranges } = &mut rule.serve {
                // Without a history, as when a flag is only being checked, there is just the first layout.
                if let Some(laid_out) = laid_out {
                    *ranges = laid_out;
                }
                if !allocation::is_complete(ranges, values.len()) {
                    return Err(corrupt("the bucket ranges of a split do not cover every bucket once"));
                }
            }
        }
        Ok(Flag {
            rollout_salt: Salt::stage(&document.salt, "rollout"),
            variant_salt: Salt::stage(&document.salt, "variant"),
            prerequisites: match &document.prerequisites {
                Some(prerequisites) => Prerequisite::compile(&what, prerequisites.get())?,
                None => Box::default(),
            },
            kind: document.kind,
            unit,
            is_killed: document.killed,
            default: document.default,
            off: document.off,
            rules: rules.into_boxed_slice(),
            key: document.key,
        })
    }

    /// The flag's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What its values are.
    pub fn kind(&self) -> FlagKind {
        self.kind
    }

    /// The value for whom `evaluation` is about.
    pub fn evaluate(&self, evaluation: &Evaluation<'_>) -> FlagDecision<'_> {
        let without_rule = |value: &'_ RawValue, reason| FlagDecision {
            value: Cow::Owned(value.to_owned()),
            reason,
            rule: None,
        };
        if self.is_killed {
            evaluation.note("killed", true, || format!("the kill switch is thrown: {}", self.off));
            return without_rule(&self.off, FlagReason::Killed);
        }
        evaluation.note("killed", false, || "the kill switch is not thrown".to_owned());
        for prerequisite in &self.prerequisites {
            let holds = prerequisite.holds(evaluation);
            evaluation.note("prerequisite", !holds, || {
                format!(
                    "\"{}\" {} as required",
                    prerequisite.key(),
                    if holds { "answers" } else { "does not answer" }
                )
            });
            if !holds {
                return without_rule(&self.off, FlagReason::Prerequisite);
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            match self.serve(rule, evaluation) {
                // A rule before this one might have served something else.
                _ if evaluation.is_cut_off() => {
                    evaluation.note("rule", false, || {
                        format!("rule {} is left out, because too much would have to be looked at", index + 1)
                    });
                }
                Ok((value, reason)) => {
                    evaluation.note("rule", true, || format!("rule {} serves {value}", index + 1));
                    return FlagDecision { value, reason, rule: Some(index) };
                }
                Err(why) => evaluation.note("rule", false, || format!("rule {} {why}", index + 1)),
            }
        }
        evaluation.note("default", true, || format!("no rule serves anything: {}", self.default));
        without_rule(&self.default, FlagReason::Default)
    }

    /// What a rule serves the user, or why it serves nothing.
    fn serve<'a>(
        &'a self,
        rule: &'a FlagRule,
        evaluation: &Evaluation<'_>,
    ) -> Result<(Cow<'a, RawValue>, FlagReason), &'static str> {
        let now = evaluation.subject.now;
        if now < rule.starts_at || now >= rule.ends_at {
            return Err("is not in force now");
        }
        if rule.when.as_ref().is_some_and(|when| !evaluation.matches(when)) {
            return Err("is for others");
        }
        let share = rule.share.at(now);
        if share < BUCKETS {
            let unit = evaluation.unit(self.unit.as_ref()).ok_or("finds no unit to go by")?;
            if self.rollout_salt.bucket(&unit) >= share {
                return Err("is for a share of users without this one");
            }
        }
        match &rule.serve {
            Serve::Value(value) => {
                let reason = if share < BUCKETS { FlagReason::Rollout } else { FlagReason::Rule };
                Ok((Cow::Borrowed(value), reason))
            }
            Serve::Split { values, ranges } => {
                let unit = evaluation.unit(self.unit.as_ref()).ok_or("finds no unit to go by")?;
                let bucket = self.variant_salt.bucket(&unit);
                let range = ranges.partition_point(|range| range.to <= bucket);
                Ok((Cow::Borrowed(&values[ranges[range].variant]), FlagReason::Split))
            }
            Serve::Experiment { key, values } => {
                let given = evaluation.deeper(|| {
                    let experiment = evaluation.environment.experiment(key)?;
                    let index = experiment.decide(evaluation).variant?;
                    let variant = &experiment.variants()[index];
                    match values {
                        Some(values) => {
                            values.get(variant.key.as_str()).map(|value| Cow::Borrowed(value.as_ref()))
                        }
                        None => match &variant.config {
                            Some(config) => Some(Cow::Owned(config.clone())),
                            None => serde_json::value::to_raw_value(&variant.key).ok().map(Cow::Owned),
                        },
                    }
                });
                match given {
                    // An experiment's configuration is anything; the flag promises its kind.
                    Some(value) if fits(self.kind, &value) => Ok((value, FlagReason::Experiment)),
                    Some(_) => Err("gets a value of another kind from its experiment"),
                    None => Err("gets nothing from its experiment"),
                }
            }
        }
    }
}

/// Checks the rules of a flag as their author wrote them.
///
/// # Errors
/// As [`Flag::compile`].
pub fn check(what: &str, kind: &str, default: &str, off: &str, rules: &str) -> Result<(), Error> {
    let kind: FlagKind =
        serde_json::from_value(serde_json::Value::String(kind.to_owned())).map_err(|_| {
            Error::new(
                Code::InvalidFlag,
                format!("kind \"{}\" of {what} does not exist", event::excerpt(kind)),
                "use boolean, string, number or json",
            )
        })?;
    let value = |name: &str, text: &str| {
        let raw: Box<RawValue> = serde_json::from_str(text)
            .map_err(|error| wrong(what, format!("{name} is not JSON: {error}")))?;
        check_value(what, name, kind, &raw)
    };
    value("default value", default)?;
    value("off value", off)?;
    compile_rules(what, kind, rules).map(drop)
}

/// The bucket ranges of each rule that splits, moving as few users as possible out of those before.
///
/// A rule is the same as the one before that was for the same users, of several the one in its place, and without one
/// whichever was in its place; a value is the same where it is the same JSON.
///
/// # Errors
/// [`Code::InvalidFlag`] when `rules` are none.
pub fn layouts(
    rules: &str,
    previous_rules: Option<&str>,
    previous_layouts: Option<&str>,
) -> Result<Vec<Option<Vec<Range>>>, Error> {
    let before = previous_rules.map(splits).transpose()?.unwrap_or_default();
    let laid_out: Vec<Option<Vec<Range>>> =
        previous_layouts.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    splits(rules)?
        .into_iter()
        .enumerate()
        .map(|(index, split)| {
            let Some(split) = split else { return Ok(None) };
            let mut previous = Vec::new();
            let same_users =
                |other: &Option<Split>| other.as_ref().is_some_and(|other| other.when == split.when);
            // Several rules can be for the same users, by other percentages or dates: then the place tells them apart.
            let index = match before.get(index) {
                Some(other) if same_users(other) => index,
                _ => before.iter().position(same_users).unwrap_or(index),
            };
            if let (Some(Some(split_before)), Some(Some(ranges))) = (before.get(index), laid_out.get(index)) {
                for range in ranges {
                    let value = split_before.values.get(range.variant);
                    if let Some(variant) =
                        value.and_then(|value| split.values.iter().position(|now| now == value))
                    {
                        previous.push(Range { variant, ..*range });
                    }
                }
            }
            Ok(Some(layout(&previous, &parts_per_million(&split.weights)?)))
        })
        .collect()
}

/// Whether `layouts` are bucket ranges that these rules can have come to by some history: for each split all buckets once,
/// and each value as many as its weight gives it.
pub fn are_layouts(rules: &str, layouts: &str) -> bool {
    let (Ok(splits), Ok(layouts)) = (splits(rules), serde_json::from_str::<Vec<Option<Vec<Range>>>>(layouts))
    else {
        return false;
    };
    let fits = |(split, ranges): (&Option<Split>, &Option<Vec<Range>>)| match (split, ranges) {
        (None, None) => true,
        (Some(split), Some(ranges)) => {
            let owned = |variant| -> u64 {
                let ranges = ranges.iter().filter(|range| range.variant == variant);
                ranges.map(|range| u64::from(range.to - range.from)).sum()
            };
            allocation::is_complete(ranges, split.values.len())
                && parts_per_million(&split.weights).is_ok_and(|shares| {
                    shares.iter().enumerate().all(|(variant, &share)| u64::from(share) == owned(variant))
                })
        }
        _ => false,
    };
    splits.len() == layouts.len() && splits.iter().zip(&layouts).all(fits)
}

fn audience(what: &str, when: &RawValue) -> Result<Rule, Error> {
    Rule::check(&format!("when of {what}"), when.get())
}

/// Whom one split is for and its values, as text, with their weights.
struct Split {
    when: Option<String>,
    values: Vec<String>,
    weights: Vec<u64>,
}

/// The split of each rule that has one.
fn splits(rules: &str) -> Result<Vec<Option<Split>>, Error> {
    let written: Vec<WrittenRule<'_>> =
        serde_json::from_str(rules).map_err(|error| wrong("the flag", error.to_string()))?;
    let split = |rule: &WrittenRule<'_>| {
        let Some(shares) = &rule.split else { return Ok(None) };
        let weights = shares.iter().map(|share| weight(share.weight.get())).collect::<Option<_>>();
        Ok(Some(Split {
            when: rule.when.map(|when| when.get().to_owned()),
            values: shares.iter().map(|share| share.value.get().to_owned()).collect(),
            weights: weights.ok_or_else(|| wrong("the flag", "a weight is not above zero".to_owned()))?,
        }))
    };
    written.iter().map(split).collect()
}

fn wrong(what: &str, problem: String) -> Error {
    Error::new(
        Code::InvalidFlag,
        format!("{what}: {problem}"),
        "write rules as [{\"when\": rule, \"percent\": 25, \"value\": …}, {\"split\": [{\"value\": …, \"weight\": 1}, …]}, {\"experiment\": \"…\"}]",
    )
}

fn fits(kind: FlagKind, value: &RawValue) -> bool {
    let first = value.get().as_bytes().first();
    match kind {
        FlagKind::Json => first.is_some(),
        FlagKind::Boolean => matches!(first, Some(b't' | b'f')),
        FlagKind::String => first == Some(&b'"'),
        FlagKind::Number => matches!(first, Some(b'-' | b'0'..=b'9')),
    }
}

fn check_value(what: &str, name: &str, kind: FlagKind, value: &RawValue) -> Result<(), Error> {
    if fits(kind, value) {
        return Ok(());
    }
    let kind = match kind {
        FlagKind::Boolean => "boolean",
        FlagKind::String => "string",
        FlagKind::Number => "number",
        FlagKind::Json => "json",
    };
    Err(wrong(what, format!("{name} {} is not a {kind}", event::excerpt(value.get()))))
}

/// A weight in billionths: exact, and far below where a sum of them could overflow.
fn weight(json: &str) -> Option<u64> {
    use rust_decimal::prelude::ToPrimitive;
    let billionths =
        number(json)?.checked_mul(rust_decimal::Decimal::from(1_000_000_000_u32))?.round().to_u64()?;
    (billionths > 0).then_some(billionths)
}

fn compile_rules(what: &str, kind: FlagKind, json: &str) -> Result<Vec<FlagRule>, Error> {
    let written: Vec<WrittenRule<'_>> =
        serde_json::from_str(json).map_err(|error| wrong(what, error.to_string()))?;
    if written.len() > MAX_RULES {
        return Err(wrong(what, format!("{} rules are more than {MAX_RULES}", written.len())));
    }
    written
        .into_iter()
        .enumerate()
        .map(|(index, rule)| compile_rule(&format!("rule {} of {what}", index + 1), kind, rule))
        .collect()
}

fn compile_rule(what: &str, kind: FlagKind, rule: WrittenRule<'_>) -> Result<FlagRule, Error> {
    let date = |name: &str, text: Option<String>, without: i64| match text {
        None => Ok(without),
        Some(text) => Time::parse(&text)
            .map(Time::microseconds)
            .ok_or_else(|| wrong(what, format!("{name} is \"{}\", which is no time", event::excerpt(&text)))),
    };
    let starts_at = date("starts_at", rule.starts_at, i64::MIN)?;
    let ends_at = date("ends_at", rule.ends_at, i64::MAX)?;
    if starts_at >= ends_at {
        return Err(wrong(what, "it would end before it starts".to_owned()));
    }
    let base = match rule.percent {
        // A schedule without a share to begin with begins with nobody.
        None => {
            if rule.schedule.is_some() {
                0
            } else {
                BUCKETS
            }
        }
        Some(percent) => schedule::share(percent.get())
            .ok_or_else(|| wrong(what, format!("percent is {}", event::excerpt(percent.get()))))?,
    };
    let share = match rule.schedule {
        Some(steps) => Schedule::compile(what, base, steps.get())?,
        None => Schedule::constant(base),
    };
    let serve = match (rule.value, rule.split, rule.experiment) {
        (Some(value), None, None) => {
            check_value(what, "value", kind, value)?;
            Serve::Value(value.to_owned())
        }
        (None, Some(split), None) => {
            if split.is_empty() || split.len() > MAX_VALUES {
                return Err(wrong(what, format!("its split has {} values", split.len())));
            }
            let mut weights = Vec::with_capacity(split.len());
            for share in &split {
                check_value(what, "value", kind, share.value)?;
                weights.push(weight(share.weight.get()).ok_or_else(|| {
                    wrong(what, format!("weight {} is not above zero", event::excerpt(share.weight.get())))
                })?);
            }
            Serve::Split {
                values: split.iter().map(|share| share.value.to_owned()).collect(),
                ranges: layout(&[], &parts_per_million(&weights)?),
            }
        }
        (None, None, Some(experiment)) => {
            if !key::is_valid(&experiment) {
                return Err(wrong(
                    what,
                    format!("experiment \"{}\" cannot be a key", event::excerpt(&experiment)),
                ));
            }
            for (variant, value) in rule.values.iter().flatten() {
                check_value(
                    what,
                    &format!("value for variant \"{}\"", event::excerpt(variant)),
                    kind,
                    value,
                )?;
            }
            return Ok(FlagRule {
                when: rule.when.map(|when| audience(what, when)).transpose()?,
                starts_at,
                ends_at,
                share,
                serve: Serve::Experiment { key: experiment, values: rule.values },
            });
        }
        _ => return Err(wrong(what, "it needs exactly one of value, split and experiment".to_owned())),
    };
    if rule.values.is_some() {
        return Err(wrong(what, "values belong to an experiment".to_owned()));
    }
    Ok(FlagRule {
        when: rule.when.map(|when| audience(what, when)).transpose()?,
        starts_at,
        ends_at,
        share,
        serve,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(rules: &str, before: Option<(&str, &[Option<Vec<Range>>])>) -> Vec<Option<Vec<Range>>> {
        let layouts_before = before.map(|(_, layouts)| serde_json::to_string(layouts).unwrap());
        layouts(rules, before.map(|(rules, _)| rules), layouts_before.as_deref()).unwrap()
    }

    fn moved(before: &[Range], after: &[Range], same: impl Fn(usize, usize) -> bool) -> usize {
        let owner = |ranges: &[Range], bucket: u32| {
            ranges[ranges.partition_point(|range| range.to <= bucket)].variant
        };
        (0..BUCKETS)
            .step_by(1_000)
            .filter(|&bucket| !same(owner(before, bucket), owner(after, bucket)))
            .count()
    }

    #[test]
    fn a_split_moves_only_what_its_weights_require_wherever_its_rule_goes() {
        let audience = r#"{"attribute":"a","operator":"exists","values":[]}"#;
        let first = format!(
            r#"[{{"when":{audience},"split":[{{"value":"x","weight":50}},{{"value":"y","weight":50}}]}}]"#
        );
        let before = laid_out(&first, None);
        // A rule in front, a value in front, and other weights.
        let second = format!(
            r#"[{{"value":"z","percent":1}},{{"when":{audience},"split":[{{"value":"w","weight":20}},{{"value":"x","weight":40}},{{"value":"y","weight":40}}]}}]"#
        );
        let after = laid_out(&second, Some((&first, &before)));
        assert!(after[0].is_none());
        let moved = moved(before[0].as_ref().unwrap(), after[1].as_ref().unwrap(), |old, new| old + 1 == new);
        assert_eq!(moved, 200);
        // Another audience in the same place is still that rule.
        let third = second.replace("exists", "type").replace("\"values\":[]", "\"values\":[\"string\"]");
        assert_eq!(laid_out(&third, Some((&second, &after)))[1], after[1]);
    }

    #[test]
    fn of_two_splits_for_the_same_users_each_keeps_its_own() {
        let rules = |red: u32, blue: u32| {
            format!(
                r#"[{{"percent":40,"split":[{{"value":"x","weight":1}},{{"value":"y","weight":1}}]}},
                {{"split":[{{"value":"red","weight":{red}}},{{"value":"green","weight":1}},{{"value":"blue","weight":{blue}}}]}}]"#
            )
        };
        let before = laid_out(&rules(1, 2), None);
        let after = laid_out(&rules(2, 1), Some((&rules(1, 2), &before)));
        assert_eq!(after[0], before[0]);
        let [before, after] = [&before, &after].map(|layouts| layouts[1].as_ref().unwrap());
        assert_eq!(moved(before, after, |old, new| old == new), 250);
    }

    #[test]
    fn what_is_no_flag_is_refused_with_its_rule() {
        for (kind, default, rules, code, named) in [
            ("bool", "true", "[]", Code::InvalidFlag, "bool"),
            ("boolean", "1", "[]", Code::InvalidFlag, "default value 1"),
            ("number", "\"1\"", "[]", Code::InvalidFlag, "default value"),
            ("boolean", "true", "{}", Code::InvalidFlag, "sequence"),
            ("boolean", "true", r#"[{"value":true},{"value":1}]"#, Code::InvalidFlag, "rule 2"),
            ("boolean", "true", r#"[{}]"#, Code::InvalidFlag, "exactly one"),
            ("boolean", "true", r#"[{"value":true,"experiment":"e"}]"#, Code::InvalidFlag, "exactly one"),
            ("boolean", "true", r#"[{"value":true,"percent":101}]"#, Code::InvalidFlag, "101"),
            ("boolean", "true", r#"[{"value":true,"when":{"any":1}}]"#, Code::InvalidRule, "rule 1"),
            (
                "boolean",
                "true",
                r#"[{"value":true,"schedule":[{"at":"x","percent":1}]}]"#,
                Code::InvalidSchedule,
                "rule 1",
            ),
            (
                "boolean",
                "true",
                r#"[{"value":true,"starts_at":"2030-01-02","ends_at":"2030-01-01"}]"#,
                Code::InvalidFlag,
                "before it starts",
            ),
            ("string", "\"\"", r#"[{"split":[{"value":"a","weight":0}]}]"#, Code::InvalidFlag, "weight 0"),
            ("string", "\"\"", r#"[{"split":[]}]"#, Code::InvalidFlag, "0 values"),
            ("string", "\"\"", r#"[{"experiment":"a:b"}]"#, Code::InvalidFlag, "a:b"),
            (
                "string",
                "\"\"",
                r#"[{"experiment":"e","values":{"a":1}}]"#,
                Code::InvalidFlag,
                "variant \"a\"",
            ),
            ("string", "\"\"", r#"[{"value":"a","values":{}}]"#, Code::InvalidFlag, "belong"),
        ] {
            let error = check("flag \"f\"", kind, default, default, rules).unwrap_err();
            assert_eq!(error.code, code, "{rules}: {}", error.message);
            assert!(error.message.contains(named) && error.message.contains("\"f\""), "{}", error.message);
        }
        check("f", "json", "null", "[]", r#"[{"value":null},{"experiment":"e"}]"#).unwrap();
    }
}
