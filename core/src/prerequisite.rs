//! What must hold in other experiments and flags before one is looked at.
//!
//! Excluding the users of one other experiment is a prerequisite too: that it assigns them nothing.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::decision::{Evaluation, Reason};
use crate::error::{Code, Error};
use crate::{context, key};

/// More than this are a mistake.
const MAX_PREREQUISITES: usize = 32;

/// One condition on another experiment or flag.
#[derive(Debug)]
pub struct Prerequisite {
    key: Box<str>,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    /// The experiment gives one of these variants.
    Variants(Box<[Box<str>]>),
    /// The experiment gives any variant, or none.
    Assigned(bool),
    /// The flag has one of these values.
    Values(Box<[Value]>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    experiment: Option<Box<str>>,
    variants: Option<Box<[Box<str>]>>,
    assigned: Option<bool>,
    flag: Option<Box<str>>,
    values: Option<Box<[Value]>>,
}

impl Prerequisite {
    /// Reads a JSON list of prerequisites, all of which must hold.
    ///
    /// # Errors
    /// [`Code::InvalidPrerequisite`], naming `what` they are of and the one that is wrong.
    pub fn compile(what: &str, json: &str) -> Result<Box<[Prerequisite]>, Error> {
        let wrong = |problem: String| {
            Error::new(
                Code::InvalidPrerequisite,
                format!("prerequisites of {what}: {problem}"),
                "write [{\"experiment\": \"…\", \"variants\": [\"…\"]}, {\"experiment\": \"…\", \"assigned\": false}, {\"flag\": \"…\", \"values\": [true]}]",
            )
        };
        let written: Vec<Written> = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        if written.len() > MAX_PREREQUISITES {
            return Err(wrong(format!("{} are more than {MAX_PREREQUISITES}", written.len())));
        }
        let one = |(index, written): (usize, Written)| {
            let wrong = |problem: &str| wrong(format!("number {} {problem}", index + 1));
            let (key, wanted) = match written {
                Written {
                    experiment: Some(key),
                    variants: Some(variants),
                    assigned: None,
                    flag: None,
                    values: None,
                } => (key, Wanted::Variants(variants)),
                Written {
                    experiment: Some(key),
                    variants: None,
                    assigned: Some(assigned),
                    flag: None,
                    values: None,
                } => (key, Wanted::Assigned(assigned)),
                Written {
                    experiment: None,
                    variants: None,
                    assigned: None,
                    flag: Some(key),
                    values: Some(values),
                } => (key, Wanted::Values(values)),
                _ => {
                    return Err(wrong(
                        "is neither an experiment with variants or assigned, nor a flag with values",
                    ));
                }
            };
            let is_empty = match &wanted {
                Wanted::Variants(variants) => variants.is_empty(),
                Wanted::Values(values) => values.is_empty(),
                Wanted::Assigned(_) => false,
            };
            if is_empty {
                return Err(wrong("has an empty list, which nothing can meet"));
            }
            if !key::is_valid(&key) {
                return Err(wrong(&format!(
                    "names \"{}\", which cannot be a key",
                    crate::event::excerpt(&key)
                )));
            }
            Ok(Prerequisite { key, wanted })
        };
        written.into_iter().enumerate().map(one).collect()
    }

    /// Whether it holds for whom `evaluation` is about. An experiment or flag that does not exist gives nothing.
    pub fn holds(&self, evaluation: &Evaluation<'_>) -> bool {
        let environment = evaluation.environment;
        let held = evaluation.deeper(|| {
            Some(match &self.wanted {
                Wanted::Assigned(wanted) => {
                    // What an experiment ships is everybody's: it has no users of its own any more.
                    let assigned = environment.experiment(&self.key).is_some_and(|other| {
                        let decision = other.decide(evaluation);
                        decision.variant.is_some() && decision.reason != Reason::Shipped
                    });
                    assigned == *wanted
                }
                Wanted::Variants(variants) => {
                    let other = environment.experiment(&self.key)?;
                    let given = other.decide(evaluation).variant?;
                    variants.contains(&other.variants()[given].key.as_str().into())
                }
                Wanted::Values(values) => {
                    let other = environment.flag(&self.key)?;
                    let given = other.evaluate(evaluation).value;
                    values.iter().any(|value| is_same(value, &given))
                }
            })
        });
        held.unwrap_or(false) && !evaluation.is_cut_off()
    }

    /// The key of the experiment or flag that is looked at.
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn is_same(wanted: &Value, given: &RawValue) -> bool {
    serde_json::from_str(given.get()).is_ok_and(|given| is_equal(wanted, &given))
}

/// Whether two values are the same JSON; 1 and 1.0 are the same number, at any depth.
fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right
                || context::number(&left.to_string())
                    .is_some_and(|left| context::number(&right.to_string()) == Some(left))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| is_equal(left, right)))
        }
        (left, right) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_prerequisite_is_refused_with_its_number() {
        for (json, named) in [
            ("{}", "sequence"),
            (r#"[{"experiment":"a"}]"#, "number 1"),
            (r#"[{"experiment":"a","assigned":true},{"experiment":"a","variants":[]}]"#, "number 2"),
            (r#"[{"flag":"a","values":[]}]"#, "number 1"),
            (r#"[{"flag":"a","variants":["x"]}]"#, "number 1"),
            (r#"[{"experiment":"a","flag":"b","values":[1]}]"#, "number 1"),
            (r#"[{"experiment":"a:b","assigned":true}]"#, "a:b"),
            (r#"[{"experiment":"a","assigned":true,"x":1}]"#, "`x`"),
        ] {
            let error = Prerequisite::compile("flag \"f\"", json).unwrap_err();
            assert_eq!(error.code, Code::InvalidPrerequisite);
            assert!(error.message.contains(named) && error.message.contains("\"f\""), "{}", error.message);
        }
        let list = r#"[{"experiment":"a","variants":["x"]},{"experiment":"b","assigned":false},{"flag":"c","values":[1]}]"#;
        assert_eq!(Prerequisite::compile("x", list).unwrap().len(), 3);
    }

    #[test]
    fn values_are_compared_as_json() {
        let same = |wanted: &str, given: &str| {
            is_same(
                &serde_json::from_str(wanted).unwrap(),
                &serde_json::from_str::<Box<RawValue>>(given).unwrap(),
            )
        };
        assert!(
            same("1", "1.0")
                && same("{\"a\":[1,null]}", "{ \"a\": [1, null] }")
                && same("\"a\"", "\"\\u0061\"")
        );
        assert!(!same("1", "\"1\"") && !same("true", "false"));
    }
}
