//! What a condition asks of one attribute.

use std::cmp::Ordering;

use regex::Regex;
use rust_decimal::Decimal;

use super::MAX_TEXT_BYTES;
use super::network::Networks;
use super::scalars::Scalars;
use super::text;
use super::time::Time;
use super::version::Version;
use crate::context::Attribute;

#[derive(Debug)]
pub(super) enum Test {
    In(Scalars),
    NotIn(Scalars),
    /// Lowered and in order.
    InIgnoreCase(Box<[Box<str>]>),
    Compares(Relation, Operand),
    Has(Place, Box<[Box<str>]>),
    /// Lowered.
    HasIgnoreCase(Place, Box<[Box<str>]>),
    Regex(Box<[Regex]>),
    Exists(bool),
    Type(Types),
    AnyOf(Scalars),
    AllOf(Scalars),
    InNetwork(Networks),
}

/// How what is known must compare to what is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What an attribute is compared to, which decides as what it is read.
#[derive(Debug)]
pub(super) enum Operand {
    Number(Decimal),
    Time(Time),
    Version(Version),
}

/// Where in a text another one is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

/// A set of types.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Types {
    pub(super) string: bool,
    pub(super) number: bool,
    pub(super) boolean: bool,
    pub(super) array: bool,
    pub(super) object: bool,
}

impl Test {
    /// Whether the attribute, where there is one, is as the condition wants it.
    pub(super) fn holds(&self, attribute: Option<&Attribute<'_>>) -> bool {
        if let Test::Exists(wanted) = self {
            return attribute.is_some() == *wanted;
        }
        let Some(attribute) = attribute else {
            return false;
        };
        match (self, attribute) {
            (Test::In(values), _) => values.contain(attribute),
            (Test::NotIn(values), _) => values.exclude(attribute),
            (Test::Type(types), _) => types.include(attribute),
            (Test::AnyOf(values), Attribute::Array(items)) => items.iter().any(|item| values.contain(item)),
            (Test::AllOf(values), Attribute::Array(items)) => values.all_in(items),
            (Test::Compares(relation, Operand::Number(operand)), Attribute::Number(Some(number))) => {
                relation.holds(number.cmp(operand))
            }
            (test, Attribute::Text(text)) => test.holds_for_text(text),
            _ => false,
        }
    }

    fn holds_for_text(&self, text: &str) -> bool {
        match self {
            Test::InIgnoreCase(values) => text::is_among(text, values),
            Test::Compares(relation, operand) => {
                let ordering = match operand {
                    Operand::Number(_) => None,
                    Operand::Time(operand) => Time::parse(text).map(|time| time.cmp(operand)),
                    Operand::Version(operand) => Version::parse(text).map(|version| version.compare(operand)),
                };
                ordering.is_some_and(|ordering| relation.holds(ordering))
            }
            Test::Has(place, values) => match place {
                Place::Anywhere => values.iter().any(|value| text.contains(value.as_ref())),
                Place::Start => values.iter().any(|value| text.starts_with(value.as_ref())),
                Place::End => values.iter().any(|value| text.ends_with(value.as_ref())),
            },
            Test::HasIgnoreCase(place, values) => match place {
                Place::Anywhere => {
                    let text = text::to_lower(text);
                    values.iter().any(|value| text.contains(value.as_ref()))
                }
                Place::Start => values.iter().any(|value| text::starts_with(text, value)),
                Place::End => values.iter().any(|value| text::ends_with(text, value)),
            },
            Test::Regex(_) if text.len() > MAX_TEXT_BYTES => false,
            Test::Regex(patterns) => patterns.iter().any(|pattern| pattern.is_match(text)),
            Test::InNetwork(networks) => networks.contain(text),
            Test::In(_)
            | Test::NotIn(_)
            | Test::Exists(_)
            | Test::Type(_)
            | Test::AnyOf(_)
            | Test::AllOf(_) => false,
        }
    }
}

impl Relation {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Relation::Greater => ordering.is_gt(),
            Relation::GreaterOrEqual => ordering.is_ge(),
            Relation::Less => ordering.is_lt(),
            Relation::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Types {
    /// Adds the type that JSON calls `name`; false if there is none.
    pub(super) fn add(&mut self, name: &str) -> bool {
        let member = match name {
            "string" => &mut self.string,
            "number" => &mut self.number,
            "boolean" => &mut self.boolean,
            "array" => &mut self.array,
            "object" => &mut self.object,
            _ => return false,
        };
        *member = true;
        true
    }

    fn include(self, attribute: &Attribute<'_>) -> bool {
        match attribute {
            Attribute::Text(_) => self.string,
            Attribute::Number(_) => self.number,
            Attribute::Boolean(_) => self.boolean,
            Attribute::Array(_) => self.array,
            Attribute::Object => self.object,
        }
    }
}
