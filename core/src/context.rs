//! What is known about a user: attributes, nested as the caller likes, that rules look at.
//!
//! SQL brings jsonb and HTTP brings text. Both show their attributes through [`Context`], value by value and only those a
//! rule asks for, so that the same rule sees the same values, and nobody pays for what no rule reads.

use std::borrow::Cow;
use std::collections::HashMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest path that is followed into nested objects.
pub const MAX_PATH: usize = 16;

/// One value of a context.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute<'a> {
    /// `true` or `false`.
    Boolean(bool),
    /// A number; `None` where it has more digits than are compared (28), so that it equals nothing.
    Number(Option<Decimal>),
    /// A text.
    Text(Cow<'a, str>),
    /// A list; its nulls are left out, and lists within it are empty.
    Array(Vec<Attribute<'a>>),
    /// An object, which can only be looked into by a path.
    Object,
}

/// Where an attribute is: one name for each level.
pub type Path = Box<[Box<str>]>;

/// The levels of a dotted path; `None` where one is empty or there are too many.
pub fn path(dotted: &str) -> Option<Path> {
    let levels: Path = dotted.split('.').map(Into::into).collect();
    (levels.len() <= MAX_PATH && levels.iter().all(|level| !level.is_empty())).then_some(levels)
}

/// The longest name of a unit, in bytes.
const MAX_UNIT_BYTES: usize = 256;

/// Whether experiments can assign by the attribute at that path. Not by `user_id`, which is the user's own id wherever
/// else it is named: whoever means that names no unit.
pub fn is_unit(dotted: &str) -> bool {
    dotted.len() <= MAX_UNIT_BYTES && dotted != "user_id" && path(dotted).is_some()
}

/// Attributes by their path.
pub trait Context {
    /// The value at `path`, one name for each level; `None` where there is none, or null.
    fn attribute(&self, path: &[Box<str>]) -> Option<Attribute<'_>>;
}

/// A context that knows nothing.
impl Context for () {
    fn attribute(&self, _path: &[Box<str>]) -> Option<Attribute<'_>> {
        None
    }
}

/// A context in JSON text, of which only the first level is taken apart beforehand.
#[derive(Debug, Default)]
pub struct JsonContext<'a> {
    attributes: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> JsonContext<'a> {
    /// The context in `json`; one that is no object knows nothing.
    pub fn new(json: &'a RawValue) -> JsonContext<'a> {
        JsonContext { attributes: object(json).unwrap_or_default() }
    }
}

impl Context for JsonContext<'_> {
    fn attribute(&self, path: &[Box<str>]) -> Option<Attribute<'_>> {
        let (first, rest) = path.split_first()?;
        let mut value: &RawValue = self.attributes.get(first.as_ref())?;
        for name in rest {
            value = object(value)?.get(name.as_ref())?;
        }
        attribute(value)
    }
}

/// A text borrowed from JSON unless it holds an escape. (`Cow` by itself is only ever borrowed as a direct field.)
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn object(json: &RawValue) -> Option<HashMap<Cow<'_, str>, &RawValue>> {
    if !json.get().starts_with('{') {
        return None;
    }
    let named: HashMap<Text<'_>, &RawValue> = serde_json::from_str(json.get()).ok()?;
    Some(named.into_iter().map(|(Text(name), value)| (name, value)).collect())
}

fn attribute(json: &RawValue) -> Option<Attribute<'_>> {
    let text = json.get();
    match text.as_bytes().first()? {
        b'{' => Some(Attribute::Object),
        b'[' => {
            let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Some(Attribute::Array(values.into_iter().filter_map(item).collect()))
        }
        b'"' => serde_json::from_str(text).ok().map(|Text(text)| Attribute::Text(text)),
        b't' => Some(Attribute::Boolean(true)),
        b'f' => Some(Attribute::Boolean(false)),
        b'n' => None,
        _ => Some(Attribute::Number(number(text))),
    }
}

/// An item of a list. What a list within it holds is no rule's business, and brackets without end must not be followed.
fn item(json: &RawValue) -> Option<Attribute<'_>> {
    if json.get().starts_with('[') { Some(Attribute::Array(Vec::new())) } else { attribute(json) }
}

/// The exact value of a number as JSON or PostgreSQL write it, in whichever of their forms; `None` where it has more than
/// 28 digits between its first and its last, before or behind the point.
///
/// ```
/// use ab_core::context::number;
/// assert_eq!(number("1.50e1"), number("15"));
/// assert_eq!(number("1e40"), None);
/// ```
pub fn number(text: &str) -> Option<Decimal> {
    const DIGITS: i64 = 28;
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (plain, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((plain, exponent)) => (plain, exponent),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // The digits from the first that is not zero to the last, and the zeros after that.
    let (mut mantissa, mut size, mut trailing) = (0_i128, 0_i64, 0_i64);
    for digit in whole.bytes().chain(fraction.bytes()) {
        match digit {
            b'0' if size == 0 => {}
            b'0' => trailing += 1,
            b'1'..=b'9' => {
                size += trailing + 1;
                if size <= DIGITS {
                    mantissa = mantissa * 10_i128.pow(trailing as u32 + 1) + i128::from(digit - b'0');
                }
                trailing = 0;
            }
            _ => return None,
        }
    }
    if size == 0 {
        return Some(Decimal::ZERO);
    }
    // Zero needs no exponent; anything else with one that does not fit is out of bounds anyway.
    let exponent: i64 = exponent.parse().ok()?;
    let exponent = exponent.checked_add(trailing)?.checked_sub(fraction.len() as i64)?;
    if size > DIGITS || exponent.saturating_add(size) > DIGITS || exponent < -DIGITS {
        return None;
    }
    mantissa *= 10_i128.pow(exponent.max(0) as u32);
    let value = Decimal::try_from_i128_with_scale(mantissa, (-exponent).max(0) as u32).ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn paths_lead_into_nested_objects() {
        let json =
            raw(r#"{"device":{"os":{"name":"iOS"}},"n":null,"tags":["a",null,1],"esc\u0061pe":"\u00e9"}"#);
        let context = JsonContext::new(&json);
        let at = |path: &str| {
            let path: Vec<Box<str>> = path.split('.').map(Into::into).collect();
            context.attribute(&path)
        };
        assert_eq!(at("device.os.name"), Some(Attribute::Text("iOS".into())));
        assert_eq!(at("device.os"), Some(Attribute::Object));
        assert_eq!(at("device.os.name.more"), None);
        assert_eq!(at("n"), None);
        assert_eq!(at("escape"), Some(Attribute::Text("é".into())));
        assert_eq!(
            at("tags"),
            Some(Attribute::Array(vec![Attribute::Text("a".into()), Attribute::Number(Some(Decimal::ONE))]))
        );
        assert!(JsonContext::new(&raw("[1]")).attribute(&["x".into()]).is_none());
    }

    #[test]
    fn brackets_without_end_are_a_list() {
        let json = raw(&format!(r#"{{"a":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000)));
        let list = Attribute::Array(vec![Attribute::Array(Vec::new())]);
        assert_eq!(JsonContext::new(&json).attribute(&["a".into()]), Some(list));
    }

    #[test]
    fn numbers_are_exact_whatever_their_form() {
        for (left, right) in [
            ("1", "1.000000000000000000000000000000000000000"),
            ("1e2", "100"),
            ("10e26", "1000000000000000000000000000"),
            ("-0.0", "0e999999999999999999999"),
            ("9007199254740993", "9007199254740993.0"),
            ("0.00001e5", "1E0"),
        ] {
            assert!(number(left).is_some() && number(left) == number(right), "{left} {right}");
        }
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        for unusable in
            ["1e400", "1e-29", "123456789012345678901234567890", "NaN", "", "-", ".", "1e", "1.x", "0x1"]
        {
            assert_eq!(number(unusable), None, "{unusable}");
        }
    }
}
