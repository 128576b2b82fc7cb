//! Whom an experiment, a flag or a segment is for: conditions on the context, as data.
//!
//! A rule is written in JSON and is one of
//!
//! ```json
//! {"all": [rule, …]}
//! {"any": [rule, …]}
//! {"not": rule}
//! {"attribute": "device.os.version", "operator": "greater_or_equal", "values": ["17.2"]}
//! {"operator": "in_segment", "values": ["beta-testers"]}
//! ```
//!
//! `{"all": []}` holds for everybody and `{"any": []}` for nobody. An attribute is named by its path into nested objects;
//! `user_id` alone is the id of the user, whatever the context says. Whatever could be wrong with a rule is found when it
//! is compiled; evaluating it cannot fail. An attribute that is missing, null or of another type than the operator looks
//! at does not match, and that goes for `not_equals` and `not_in` too: who is not known to be elsewhere is not elsewhere.
//! Only `{"not": …}` turns what is unknown into a match.
//!
//! | operator | values | holds where the attribute is |
//! | --- | --- | --- |
//! | `equals`, `not_equals` | one text, number or boolean | that value; another one of the same type |
//! | `in`, `not_in` | texts, numbers, booleans | one of them; none of them, but of the type of one |
//! | `equals_ignore_case`, `in_ignore_case` | one text; texts | one of them but for its case |
//! | `greater`, `greater_or_equal`, `less`, `less_or_equal` | one number, time or version | a number, or a text that is a time or a version, that compares so |
//! | `before`, `after` | one time | a text that is an earlier or a later time |
//! | `contains`, `starts_with`, `ends_with`, each also with `_ignore_case` | texts | a text that has one of them there |
//! | `regex` | patterns | a text of at most 4 KiB in which one of them is found |
//! | `exists` | none, `true` or `false` | there and not null; with `false` the opposite |
//! | `type` | `string`, `number`, `boolean`, `array`, `object` | of one of these types |
//! | `any_of`, `all_of` | texts, numbers, booleans | a list with one of them; with all of them |
//! | `in_cidr` | networks, addresses | a text that is an address in one of them |
//! | `in_segment` | keys of segments | (no attribute) the user is in one of them |
//!
//! Numbers are compared exactly, never as floating point. A text that looks like a number is a text. Case is ignored by
//! lowering each character by itself as Unicode says ([`char::to_lowercase`]), in no language's particular way. Times are
//! RFC 3339; a civil one without an offset is UTC, and a date is its midnight. Versions are semantic ones; a leading `v`,
//! a missing minor and a missing patch are tolerated, and build metadata does not count. An IPv4 address within IPv6
//! (`::ffff:192.0.2.1`) is the IPv4 address.

mod compile;
mod condition;
pub(crate) mod json;
mod network;
mod scalars;
#[cfg(test)]
mod tests;
mod text;
mod version;

use crate::context::{Attribute, Context};
use crate::error::Error;

use condition::Test;

/// The longest rule, in bytes of JSON text.
pub const MAX_BYTES: usize = 256 * 1024;
/// How deep rules may be nested; a condition by itself is 1 deep.
pub const MAX_DEPTH: usize = 16;
/// How many rules and conditions a rule may consist of, itself included.
pub const MAX_NODES: usize = 1_000;
/// How many values a condition may have.
pub const MAX_VALUES: usize = 10_000;
/// The longest value or path, and the longest text that patterns are looked for in, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 * 1024;
/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1_000;
/// How many patterns a rule may have in all its conditions; all of them together take half a megabyte at most.
pub const MAX_PATTERNS: usize = 50;

/// A rule ready to be evaluated.
#[derive(Debug)]
pub struct Rule {
    root: Node,
}

#[derive(Debug)]
enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Segment(Box<[Box<str>]>),
    Condition(Box<Condition>),
}

#[derive(Debug)]
struct Condition {
    subject: Subject,
    test: Test,
}

#[derive(Debug)]
enum Subject {
    UserId,
    Path(Box<[Box<str>]>),
}

/// Everything a rule is evaluated for.
struct Situation<'a> {
    user_id: &'a str,
    context: &'a dyn Context,
    in_segment: &'a dyn Fn(&str) -> bool,
}

impl Rule {
    /// Checks a rule written in JSON and makes it ready.
    ///
    /// ```
    /// use ab_core::rule::Rule;
    /// let json = r#"{"all": [{"not": {"attribute": "country", "operator": "is", "values": ["NZ"]}}]}"#;
    /// let error = Rule::compile("experiment \"checkout\"", json).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     r#"rule of experiment "checkout" at $.all[0].not.operator: there is no operator "is""#
    /// );
    /// ```
    ///
    /// # Errors
    /// [`Code::InvalidRule`](crate::Code::InvalidRule), naming `what` the rule is of and the path of the node that is wrong.
    pub fn compile(what: &str, json: &str) -> Result<Rule, Error> {
        Rule::check(&format!("rule of {what}"), json)
    }

    /// The same for a rule that is called something else: `what` is how an error calls the rule itself.
    ///
    /// # Errors
    /// As [`Rule::compile`].
    pub fn check(what: &str, json: &str) -> Result<Rule, Error> {
        compile::compile(what, json).map(|root| Rule { root })
    }

    /// Whether the rule holds for a user with this context; `in_segment` answers for the segments it names.
    pub fn matches(&self, user_id: &str, context: &dyn Context, in_segment: &dyn Fn(&str) -> bool) -> bool {
        self.root.holds(&Situation { user_id, context, in_segment })
    }

    /// The keys of the segments that the rule names, in order and each once.
    pub fn segments(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        self.root.collect_segments(&mut keys);
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Node {
    fn holds(&self, situation: &Situation<'_>) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.holds(situation)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(situation)),
            Node::Not(node) => !node.holds(situation),
            Node::Segment(keys) => keys.iter().any(|key| (situation.in_segment)(key)),
            Node::Condition(condition) => {
                let attribute = match &condition.subject {
                    Subject::UserId => Some(Attribute::Text(situation.user_id.into())),
                    Subject::Path(path) => situation.context.attribute(path),
                };
                condition.test.holds(attribute.as_ref())
            }
        }
    }

    fn collect_segments<'a>(&'a self, keys: &mut Vec<&'a str>) {
        match self {
            Node::All(nodes) | Node::Any(nodes) => {
                for node in nodes {
                    node.collect_segments(keys);
                }
            }
            Node::Not(node) => node.collect_segments(keys),
            Node::Segment(named) => keys.extend(named.iter().map(AsRef::as_ref)),
            Node::Condition(_) => {}
        }
    }
}
