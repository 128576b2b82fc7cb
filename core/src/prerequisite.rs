//! What must hold in other experiments and flags before one is looked at.
//!
//! Excluding the users of one other experiment is a prerequisite too: that it assigns them nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::context::number;
use crate::decision::{Evaluation, Reason};
use crate::error::{Code, Error};
use crate::event::excerpt;
use crate::key;
use crate::rule::json::Value;

/// More than this are a mistake.
const MAX_PREREQUISITES: usize = 32;
/// How deep a value that is waited for may be nested.
const MAX_NESTING: usize = 128;

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
    Values(Box<[Json]>),
}

/// A value of a flag to compare others with: 1 and 1.0 are the same number, but no number is another one, as they would be
/// in floating point.
#[derive(Debug)]
enum Json {
    Null,
    Boolean(bool),
    Number(Decimal),
    Text(Box<str>),
    Array(Box<[Json]>),
    Object(BTreeMap<Box<str>, Json>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    experiment: Option<Box<str>>,
    variants: Option<Box<[Box<str>]>>,
    assigned: Option<bool>,
    flag: Option<Box<str>>,
    values: Option<Box<[Box<RawValue>]>>,
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
                } => {
                    let values = values.iter().map(|value| Json::read(value, 1)).collect::<Result<_, _>>();
                    (key, Wanted::Values(values.map_err(|problem| wrong(&problem))?))
                }
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
                return Err(wrong(&format!("names \"{}\", which cannot be a key", excerpt(&key))));
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
                    values.iter().any(|value| value.is(&given))
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

impl Json {
    /// Reads a value; what is wrong with it where it cannot be compared.
    fn read(json: &RawValue, depth: usize) -> Result<Json, String> {
        if depth > MAX_NESTING {
            return Err(format!("has a value that is nested more than {MAX_NESTING} deep"));
        }
        Ok(match Value::read(json).ok_or("has a text that is not Unicode")? {
            Value::Null => Json::Null,
            Value::Boolean(boolean) => Json::Boolean(boolean),
            Value::Number(text) => Json::Number(number(text).ok_or_else(|| {
                format!(
                    "has the number {}, which has more than the 28 digits that are compared",
                    excerpt(text)
                )
            })?),
            Value::Text(text) => Json::Text(text.into()),
            Value::Array(items) => Json::Array(
                items.into_iter().map(|item| Json::read(item, depth + 1)).collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => Json::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| Ok((name.into(), Json::read(value, depth + 1)?)))
                    .collect::<Result<_, String>>()?,
            ),
        })
    }

    /// Whether `given` is the same JSON. It is looked into no deeper than this value goes.
    fn is(&self, given: &RawValue) -> bool {
        match (self, Value::read(given)) {
            (Json::Null, Some(Value::Null)) => true,
            (Json::Boolean(wanted), Some(Value::Boolean(given))) => *wanted == given,
            (Json::Number(wanted), Some(Value::Number(given))) => number(given) == Some(*wanted),
            (Json::Text(wanted), Some(Value::Text(given))) => **wanted == *given,
            (Json::Array(wanted), Some(Value::Array(given))) => {
                wanted.len() == given.len()
                    && wanted.iter().zip(given).all(|(wanted, given)| wanted.is(given))
            }
            (Json::Object(wanted), Some(Value::Object(given))) => {
                // Of a name that is given twice the last value counts, as it does everywhere.
                let given: BTreeMap<Cow<'_, str>, &RawValue> = given.into_iter().collect();
                wanted.len() == given.len()
                    && given
                        .iter()
                        .all(|(name, given)| wanted.get(name.as_ref()).is_some_and(|wanted| wanted.is(given)))
            }
            _ => false,
        }
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
        let raw = |json: &str| serde_json::from_str::<Box<RawValue>>(json).unwrap();
        let same = |wanted: &str, given: &str| Json::read(&raw(wanted), 1).unwrap().is(&raw(given));
        assert!(
            same("1", "1.0")
                && same("{\"a\":[1,null]}", "{ \"a\": [1, null] }")
                && same("\"a\"", "\"\\u0061\"")
        );
        assert!(same("{\"b\":1,\"a\":2e0}", "{\"a\":2.0,\"b\":10e-1}") && same("null", "null"));
        assert!(
            !same("1", "\"1\"")
                && !same("true", "false")
                && !same("[1]", "[1,1]")
                && !same("{}", "{\"a\":1}")
        );
        for (one, other) in [
            ("9007199254740993.0", "9007199254740992.0"),
            ("123456789012345678901", "123456789012345678902"),
            ("0.1", "0.10000000000000000001"),
            ("1", "1e400"),
            ("[{\"a\":9007199254740993}]", "[{\"a\":9007199254740992}]"),
        ] {
            assert!(!same(one, other) && same(one, one), "{one} {other}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(same(&deep(MAX_NESTING), &deep(MAX_NESTING)) && !same(&deep(MAX_NESTING), &deep(1_000_000)));
        for (unusable, named) in
            [("1e400", "1e400"), (&deep(MAX_NESTING + 1), "128 deep"), ("[\"\\ud800\"]", "not Unicode")]
        {
            let list = format!(r#"[{{"flag":"c","values":[{unusable}]}}]"#);
            let error = Prerequisite::compile("flag \"f\"", &list).unwrap_err();
            assert_eq!(error.code, Code::InvalidPrerequisite);
            assert!(error.message.contains("number 1") && error.message.contains(named), "{}", error.message);
        }
    }
}
