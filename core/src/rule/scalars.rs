//! Sets of texts, numbers and booleans.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::context::Attribute;

/// One value of a condition.
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Number(Decimal),
    Text(Cow<'a, str>),
}

/// Values by type, each list in order and without repetition: a list of thousands takes no more than its texts, and is
/// searched without copying anything.
#[derive(Debug)]
pub(super) struct Scalars {
    texts: Box<[Box<str>]>,
    numbers: Box<[Decimal]>,
    booleans: Box<[bool]>,
}

impl Scalars {
    pub(super) fn new(values: Vec<Scalar<'_>>) -> Scalars {
        let (mut texts, mut numbers, mut booleans) = (Vec::new(), Vec::new(), Vec::new());
        for value in values {
            match value {
                Scalar::Text(text) => texts.push(text.into()),
                Scalar::Number(number) => numbers.push(number),
                Scalar::Boolean(boolean) => booleans.push(boolean),
            }
        }
        Scalars { texts: set(texts), numbers: set(numbers), booleans: set(booleans) }
    }

    pub(super) fn contain(&self, attribute: &Attribute<'_>) -> bool {
        self.position(attribute).is_some()
    }

    /// Whether the attribute is of the type of one of the values, but none of them.
    pub(super) fn exclude(&self, attribute: &Attribute<'_>) -> bool {
        let comparable = match attribute {
            Attribute::Text(_) => !self.texts.is_empty(),
            Attribute::Number(number) => number.is_some() && !self.numbers.is_empty(),
            Attribute::Boolean(_) => !self.booleans.is_empty(),
            Attribute::Array(_) | Attribute::Object => false,
        };
        comparable && !self.contain(attribute)
    }

    /// Whether each value is among `attributes`.
    pub(super) fn all_in(&self, attributes: &[Attribute<'_>]) -> bool {
        let mut missing = self.texts.len() + self.numbers.len() + self.booleans.len();
        if attributes.len() < missing {
            return false;
        }
        let mut found = vec![false; missing];
        for position in attributes.iter().filter_map(|attribute| self.position(attribute)) {
            if !std::mem::replace(&mut found[position], true) {
                missing -= 1;
            }
        }
        missing == 0
    }

    /// Where the attribute stands if the three lists are counted through.
    fn position(&self, attribute: &Attribute<'_>) -> Option<usize> {
        let (at, before) = match attribute {
            Attribute::Text(text) => {
                (self.texts.binary_search_by(|value| value.as_ref().cmp(text.as_ref())), 0)
            }
            Attribute::Number(number) => (self.numbers.binary_search(number.as_ref()?), self.texts.len()),
            Attribute::Boolean(boolean) => {
                (self.booleans.binary_search(boolean), self.texts.len() + self.numbers.len())
            }
            Attribute::Array(_) | Attribute::Object => return None,
        };
        at.ok().map(|at| before + at)
    }
}

/// In order and without repetition.
pub(super) fn set<T: Ord>(mut values: Vec<T>) -> Box<[T]> {
    values.sort_unstable();
    values.dedup();
    values.into_boxed_slice()
}
