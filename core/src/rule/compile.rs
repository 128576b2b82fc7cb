//! From JSON to a rule, or to an error that says where and what.

use std::fmt::{Arguments, Write};

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use serde_json::value::RawValue;

use super::condition::{Operand, Place, Relation, Test, Types};
use super::json::Value;
use super::network::{self, Networks};
use super::scalars::{Scalar, Scalars, set};
use super::text::to_lower;
use super::version::Version;
use super::{
    Condition, MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_TEXT_BYTES, MAX_VALUES,
    Node, Subject,
};
use crate::context::{MAX_PATH, number};
use crate::error::{Code, Error};
use crate::event::excerpt;
use crate::key;
use crate::time::Time;

/// How much memory a pattern may take, step by step up to what is enough for half a dozen `\w` or `\d`, which know every
/// script. What it took is only known from the least step that it fits into.
const PATTERN_SIZES: [usize; 6] = [8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024, 128 * 1024, 256 * 1024];
/// How much the patterns of a rule may take together. Searching takes time in proportion to it.
const ALL_PATTERNS_SIZE: usize = 512 * 1024;
/// How deep a pattern may be nested.
const PATTERN_DEPTH: u32 = 32;

pub(super) const OPERATORS: &[&str] = &[
    "equals",
    "not_equals",
    "in",
    "not_in",
    "equals_ignore_case",
    "in_ignore_case",
    "greater",
    "greater_or_equal",
    "less",
    "less_or_equal",
    "before",
    "after",
    "contains",
    "contains_ignore_case",
    "starts_with",
    "starts_with_ignore_case",
    "ends_with",
    "ends_with_ignore_case",
    "regex",
    "exists",
    "type",
    "any_of",
    "all_of",
    "in_cidr",
    "in_segment",
];
const FORMS: &str = "write {\"all\": […]}, {\"any\": […]}, {\"not\": {…}} or {\"attribute\": \"…\", \"operator\": \"…\", \
    \"values\": […]}";
const UNICODE: &str = "write \\u escapes of both halves of a surrogate pair, or the character itself";

pub(super) fn compile(what: &str, json: &str) -> Result<Node, Error> {
    let mut compiler = Compiler { what, at: "$".to_owned(), nodes: 0, patterns: 0, patterns_size: 0 };
    if json.len() > MAX_BYTES {
        return compiler.fail(
            format_args!("it has {} bytes", json.len()),
            format!("write at most {MAX_BYTES} bytes; put long lists of users into a segment"),
        );
    }
    match serde_json::from_str::<&RawValue>(json) {
        Ok(json) => compiler.node(json, 1),
        Err(error) => compiler.fail(format_args!("it is not JSON: {error}"), FORMS),
    }
}

struct Compiler<'a> {
    what: &'a str,
    /// The path of what is looked at.
    at: String,
    nodes: usize,
    patterns: usize,
    patterns_size: usize,
}

/// The fields of one node.
#[derive(Default)]
struct Fields<'a> {
    all: Option<&'a RawValue>,
    any: Option<&'a RawValue>,
    not: Option<&'a RawValue>,
    attribute: Option<&'a RawValue>,
    operator: Option<&'a RawValue>,
    values: Option<&'a RawValue>,
}

impl Compiler<'_> {
    fn fail<T>(&self, message: Arguments<'_>, hint: impl Into<String>) -> Result<T, Error> {
        Err(Error::new(Code::InvalidRule, format!("{} at {}: {message}", self.what, self.at), hint))
    }

    /// Does something one `step` further down the path.
    fn within<T>(
        &mut self,
        step: Arguments<'_>,
        run: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let length = self.at.len();
        // Writing to a String cannot fail.
        let _ = self.at.write_fmt(step);
        let result = run(self)?;
        self.at.truncate(length);
        Ok(result)
    }

    fn read<'a>(&self, json: &'a RawValue) -> Result<Value<'a>, Error> {
        match Value::read(json) {
            Some(value) => Ok(value),
            None => self.fail(format_args!("it holds a text that is not Unicode"), UNICODE),
        }
    }

    fn node(&mut self, json: &RawValue, depth: usize) -> Result<Node, Error> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return self.fail(
                format_args!("it is nested more than {MAX_DEPTH} deep"),
                "write fewer levels, or make a segment of the inner rules and use in_segment",
            );
        }
        if self.nodes > MAX_NODES {
            return self.fail(
                format_args!("the rule has more than {MAX_NODES} nodes"),
                "list values in one condition with in, or make a segment of some rules and use in_segment",
            );
        }
        match self.fields(json)? {
            Fields {
                all: Some(rules),
                any: None,
                not: None,
                attribute: None,
                operator: None,
                values: None,
            } => self.within(format_args!(".all"), |compiler| compiler.list(rules, depth)).map(Node::All),
            Fields {
                all: None,
                any: Some(rules),
                not: None,
                attribute: None,
                operator: None,
                values: None,
            } => self.within(format_args!(".any"), |compiler| compiler.list(rules, depth)).map(Node::Any),
            Fields {
                all: None,
                any: None,
                not: Some(rule),
                attribute: None,
                operator: None,
                values: None,
            } => self
                .within(format_args!(".not"), |compiler| compiler.node(rule, depth + 1))
                .map(|node| Node::Not(Box::new(node))),
            Fields { all: None, any: None, not: None, attribute, operator: Some(operator), values } => {
                self.condition(attribute, operator, values)
            }
            Fields { all: None, any: None, not: None, attribute: None, operator: None, values: None } => {
                self.fail(format_args!("it says nothing"), FORMS)
            }
            Fields { all: None, any: None, not: None, operator: None, .. } => {
                self.fail(format_args!("a condition lacks its operator"), operators())
            }
            _ => self.fail(format_args!("it mixes several forms of a rule"), FORMS),
        }
    }

    fn fields<'a>(&self, json: &'a RawValue) -> Result<Fields<'a>, Error> {
        let written = match self.read(json)? {
            Value::Object(written) => written,
            other => {
                return self.fail(format_args!("a rule is an object, but this is {}", other.sort()), FORMS);
            }
        };
        let mut fields = Fields::default();
        for (name, value) in written {
            let field = match name.as_ref() {
                "all" => &mut fields.all,
                "any" => &mut fields.any,
                "not" => &mut fields.not,
                "attribute" => &mut fields.attribute,
                "operator" => &mut fields.operator,
                "values" => &mut fields.values,
                other => {
                    return self.fail(format_args!("a rule has no field \"{}\"", excerpt(other)), FORMS);
                }
            };
            if field.replace(value).is_some() {
                return self.fail(
                    format_args!("the field \"{name}\" is given twice"),
                    "give each field once; combine rules with {\"all\": […]} or {\"any\": […]}",
                );
            }
        }
        Ok(fields)
    }

    fn list(&mut self, json: &RawValue, depth: usize) -> Result<Box<[Node]>, Error> {
        let rules = match self.read(json)? {
            Value::Array(rules) => rules,
            other => {
                return self.fail(
                    format_args!("this is {}, not a list", other.sort()),
                    "write a list of rules in brackets",
                );
            }
        };
        let mut nodes = Vec::new();
        for (index, rule) in rules.into_iter().enumerate() {
            nodes.push(self.within(format_args!("[{index}]"), |compiler| compiler.node(rule, depth + 1))?);
        }
        Ok(nodes.into_boxed_slice())
    }

    fn condition(
        &mut self,
        attribute: Option<&RawValue>,
        operator: &RawValue,
        values: Option<&RawValue>,
    ) -> Result<Node, Error> {
        let operator =
            self.within(format_args!(".operator"), |compiler| match compiler.read(operator)? {
                Value::Text(operator) => Ok(operator),
                other => compiler.fail(format_args!("this is {}, not a text", other.sort()), operators()),
            })?;
        let operator = operator.as_ref();
        if operator == "in_segment" {
            if attribute.is_some() {
                return self.fail(
                    format_args!("in_segment looks at the user, not at an attribute"),
                    "leave \"attribute\" out",
                );
            }
            let values = self.values(operator, values)?;
            return self.segments(values).map(Node::Segment);
        }
        let Some(attribute) = attribute else {
            // A misspelt in_segment is better told so than that it lacks an attribute.
            self.known(operator)?;
            return self.fail(
                format_args!("{operator} lacks an attribute to look at"),
                "name one, such as \"attribute\": \"device.os\"",
            );
        };
        let subject = self.within(format_args!(".attribute"), |compiler| compiler.subject(attribute))?;
        let test = self.test(operator, values)?;
        Ok(Node::Condition(Box::new(Condition { subject, test })))
    }

    fn known(&mut self, operator: &str) -> Result<(), Error> {
        if OPERATORS.contains(&operator) {
            return Ok(());
        }
        self.within(format_args!(".operator"), |compiler| {
            compiler.fail(format_args!("there is no operator \"{}\"", excerpt(operator)), operators())
        })
    }

    fn subject(&self, json: &RawValue) -> Result<Subject, Error> {
        const HINT: &str = "name it by its path, such as \"country\" or \"device.os.version\"";
        let path = match self.read(json)? {
            Value::Text(path) => path,
            other => return self.fail(format_args!("this is {}, not a text", other.sort()), HINT),
        };
        if path == "user_id" {
            return Ok(Subject::UserId);
        }
        if path.len() > MAX_TEXT_BYTES {
            return self.fail(
                format_args!("the path \"{}\" has {} bytes", excerpt(&path), path.len()),
                format!("use at most {MAX_TEXT_BYTES} bytes"),
            );
        }
        let names: Vec<Box<str>> = path.split('.').map(Into::into).collect();
        if names.iter().any(|name| name.is_empty()) {
            return self.fail(format_args!("the path \"{}\" has an empty name", excerpt(&path)), HINT);
        }
        if names.len() > MAX_PATH {
            return self.fail(
                format_args!("the path \"{}\" has {} levels", excerpt(&path), names.len()),
                format!("use at most {MAX_PATH} levels"),
            );
        }
        Ok(Subject::Path(names.into_boxed_slice()))
    }

    fn test(&mut self, operator: &str, json: Option<&RawValue>) -> Result<Test, Error> {
        self.known(operator)?;
        if operator == "exists" {
            return self.exists(json).map(Test::Exists);
        }
        let values = self.values(operator, json)?;
        Ok(match operator {
            "equals" => Test::In(self.single(operator, values).map(|value| Scalars::new(vec![value]))?),
            "not_equals" => {
                Test::NotIn(self.single(operator, values).map(|value| Scalars::new(vec![value]))?)
            }
            "in" => Test::In(Scalars::new(values)),
            "not_in" => Test::NotIn(Scalars::new(values)),
            "equals_ignore_case" => {
                let value = self.single(operator, values)?;
                Test::InIgnoreCase(set(self.texts(operator, vec![value], to_lower)?))
            }
            "in_ignore_case" => Test::InIgnoreCase(set(self.texts(operator, values, to_lower)?)),
            "greater" => Test::Compares(Relation::Greater, self.operand(operator, values)?),
            "greater_or_equal" => Test::Compares(Relation::GreaterOrEqual, self.operand(operator, values)?),
            "less" => Test::Compares(Relation::Less, self.operand(operator, values)?),
            "less_or_equal" => Test::Compares(Relation::LessOrEqual, self.operand(operator, values)?),
            "before" => Test::Compares(Relation::Less, self.time(operator, values)?),
            "after" => Test::Compares(Relation::Greater, self.time(operator, values)?),
            "contains" => Test::Has(Place::Anywhere, set(self.texts(operator, values, str::to_owned)?)),
            "starts_with" => Test::Has(Place::Start, set(self.texts(operator, values, str::to_owned)?)),
            "ends_with" => Test::Has(Place::End, set(self.texts(operator, values, str::to_owned)?)),
            "contains_ignore_case" => {
                Test::HasIgnoreCase(Place::Anywhere, set(self.texts(operator, values, to_lower)?))
            }
            "starts_with_ignore_case" => {
                Test::HasIgnoreCase(Place::Start, set(self.texts(operator, values, to_lower)?))
            }
            "ends_with_ignore_case" => {
                Test::HasIgnoreCase(Place::End, set(self.texts(operator, values, to_lower)?))
            }
            "regex" => Test::Regex(self.each_text(operator, values, Self::pattern)?.into_boxed_slice()),
            "type" => Test::Type(self.types(values)?),
            "any_of" => Test::AnyOf(Scalars::new(values)),
            "all_of" => Test::AllOf(Scalars::new(values)),
            _ => Test::InNetwork(Networks::new(&self.each_text(operator, values, Self::network)?)),
        })
    }

    /// The values of a condition, at least one.
    fn values<'a>(&mut self, operator: &str, json: Option<&'a RawValue>) -> Result<Vec<Scalar<'a>>, Error> {
        let Some(json) = json else {
            return self.fail(
                format_args!("{operator} lacks its values"),
                "list them: \"values\": […], in brackets even if there is only one",
            );
        };
        let values = self.some_values(json)?;
        if values.is_empty() {
            return self.within(format_args!(".values"), |compiler| {
                compiler.fail(format_args!("{operator} needs a value"), "list at least one")
            });
        }
        Ok(values)
    }

    fn some_values<'a>(&mut self, json: &'a RawValue) -> Result<Vec<Scalar<'a>>, Error> {
        self.within(format_args!(".values"), |compiler| {
            let values = match compiler.read(json)? {
                Value::Array(values) => values,
                other => {
                    return compiler.fail(
                        format_args!("this is {}, not a list", other.sort()),
                        "put values in brackets, even a single one",
                    );
                }
            };
            if values.len() > MAX_VALUES {
                return compiler.fail(
                    format_args!("there are {} values", values.len()),
                    format!("list at most {MAX_VALUES}; put long lists of users into a segment"),
                );
            }
            let mut scalars = Vec::with_capacity(values.len());
            for (index, value) in values.into_iter().enumerate() {
                scalars.push(compiler.within(format_args!("[{index}]"), |compiler| compiler.scalar(value))?);
            }
            Ok(scalars)
        })
    }

    fn scalar<'a>(&self, json: &'a RawValue) -> Result<Scalar<'a>, Error> {
        match self.read(json)? {
            Value::Boolean(boolean) => Ok(Scalar::Boolean(boolean)),
            Value::Number(text) => match number(text) {
                Some(number) => Ok(Scalar::Number(number.normalize())),
                None => self.fail(
                    format_args!("the number {} has more digits than are compared", excerpt(text)),
                    "use at most 28 digits before or behind the point",
                ),
            },
            Value::Text(text) if text.len() > MAX_TEXT_BYTES => self.fail(
                format_args!("the text \"{}\" has {} bytes", excerpt(&text), text.len()),
                format!("use at most {MAX_TEXT_BYTES} bytes"),
            ),
            Value::Text(text) => Ok(Scalar::Text(text)),
            other => self.fail(
                format_args!("a value cannot be {}", other.sort()),
                "use texts, numbers, true and false; for attributes that are missing or null use exists with [false]",
            ),
        }
    }

    fn single<'a>(&mut self, operator: &str, values: Vec<Scalar<'a>>) -> Result<Scalar<'a>, Error> {
        let count = values.len();
        match <[Scalar<'a>; 1]>::try_from(values) {
            Ok([value]) => Ok(value),
            Err(_) => self.within(format_args!(".values"), |compiler| {
                compiler.fail(
                    format_args!("{operator} takes one value, not {count}"),
                    match operator {
                        "equals" => "use in for several",
                        "not_equals" => "use not_in for several",
                        "equals_ignore_case" => "use in_ignore_case for several",
                        _ => "give one",
                    },
                )
            }),
        }
    }

    /// Something made of each value, which must be a text.
    fn each_text<T>(
        &mut self,
        operator: &str,
        values: Vec<Scalar<'_>>,
        make: impl Fn(&mut Self, &str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut made = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            made.push(self.within(format_args!(".values[{index}]"), |compiler| match value {
                Scalar::Text(text) => make(compiler, &text),
                Scalar::Number(_) | Scalar::Boolean(_) => compiler.fail(
                    format_args!("{operator} takes texts only"),
                    "put the value in quotes, or use another operator",
                ),
            })?);
        }
        Ok(made)
    }

    fn texts(
        &mut self,
        operator: &str,
        values: Vec<Scalar<'_>>,
        make: impl Fn(&str) -> String,
    ) -> Result<Vec<Box<str>>, Error> {
        self.each_text(operator, values, |_, text| Ok(make(text).into_boxed_str()))
    }

    /// What a condition of order compares to: a text is a time if it can be one, else a version.
    fn operand(&mut self, operator: &str, values: Vec<Scalar<'_>>) -> Result<Operand, Error> {
        let operand = match self.single(operator, values)? {
            Scalar::Number(number) => return Ok(Operand::Number(number)),
            Scalar::Text(text) => Time::parse(&text)
                .map(Operand::Time)
                .or_else(|| Version::parse(&text).map(Operand::Version))
                .ok_or(text),
            Scalar::Boolean(boolean) => Err(boolean.to_string().into()),
        };
        operand.or_else(|text| {
            self.within(format_args!(".values[0]"), |compiler| {
                compiler.fail(
                    format_args!("{operator} cannot compare to \"{}\"", excerpt(&text)),
                    "write a number without quotes, a version such as \"17.2.0\" or a time such as \
                     \"2026-11-23T08:44:41Z\"",
                )
            })
        })
    }

    fn time(&mut self, operator: &str, values: Vec<Scalar<'_>>) -> Result<Operand, Error> {
        let time = match self.single(operator, values)? {
            Scalar::Text(text) => Time::parse(&text).ok_or_else(|| excerpt(&text)),
            Scalar::Number(number) => Err(number.to_string()),
            Scalar::Boolean(boolean) => Err(boolean.to_string()),
        };
        time.map(Operand::Time).or_else(|text| {
            self.within(format_args!(".values[0]"), |compiler| {
                compiler.fail(
                    format_args!("\"{text}\" is not a time"),
                    "write a date such as \"2026-11-23\" or a time such as \"2026-11-23T08:44:41Z\"",
                )
            })
        })
    }

    fn pattern(&mut self, text: &str) -> Result<Regex, Error> {
        if text.len() > MAX_PATTERN_BYTES {
            return self.fail(
                format_args!("the pattern \"{}\" has {} bytes", excerpt(text), text.len()),
                format!("use at most {MAX_PATTERN_BYTES} bytes"),
            );
        }
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return self.fail(
                format_args!("the rule has more than {MAX_PATTERNS} patterns"),
                "join patterns by \"|\", or use in, contains or starts_with for plain texts",
            );
        }
        let left = ALL_PATTERNS_SIZE - self.patterns_size;
        let mut compiled = Err(regex::Error::CompiledTooBig(0));
        for size in PATTERN_SIZES.into_iter().take_while(|size| *size <= left) {
            compiled = RegexBuilder::new(text)
                .size_limit(size)
                .dfa_size_limit(size)
                .nest_limit(PATTERN_DEPTH)
                .build();
            if !matches!(compiled, Err(regex::Error::CompiledTooBig(_))) {
                self.patterns_size += size;
                break;
            }
        }
        match compiled {
            Ok(pattern) => Ok(pattern),
            Err(regex::Error::CompiledTooBig(_)) => self.fail(
                format_args!("the pattern \"{}\" is too large, by itself or with those before", excerpt(text)),
                "repeat less, and write [0-9] and [A-Za-z0-9_] rather than \\d and \\w, which know every script",
            ),
            Err(error) => {
                // The error draws the pattern over several lines; the last one says what is wrong.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.fail(
                    format_args!("the pattern \"{}\" is not acceptable: {reason}", excerpt(text)),
                    "write a regular expression without look-around and backreferences, so that it takes linear time",
                )
            }
        }
    }

    fn network(&mut self, text: &str) -> Result<IpNet, Error> {
        match network::parse(text) {
            Some(network) => Ok(network),
            None => self.fail(
                format_args!("\"{}\" is no network and no address", excerpt(text)),
                "write a network such as 192.0.2.0/24 or 2001:db8::/32, or a single address",
            ),
        }
    }

    fn exists(&mut self, json: Option<&RawValue>) -> Result<bool, Error> {
        let Some(json) = json else {
            return Ok(true);
        };
        match self.some_values(json)?.as_slice() {
            [] => Ok(true),
            [Scalar::Boolean(wanted)] => Ok(*wanted),
            _ => self.within(format_args!(".values"), |compiler| {
                compiler.fail(
                    format_args!("exists takes true or false"),
                    "write [true], which is what it means without values, or [false]",
                )
            }),
        }
    }

    fn types(&mut self, values: Vec<Scalar<'_>>) -> Result<Types, Error> {
        let mut types = Types::default();
        let names = self.each_text("type", values, |compiler, text| {
            if Types::default().add(text) {
                return Ok(text.to_owned());
            }
            compiler.fail(
                format_args!("there is no type \"{}\"", excerpt(text)),
                "use string, number, boolean, array or object",
            )
        })?;
        for name in names {
            types.add(&name);
        }
        Ok(types)
    }

    fn segments(&mut self, values: Vec<Scalar<'_>>) -> Result<Box<[Box<str>]>, Error> {
        let keys = self.each_text("in_segment", values, |compiler, text| {
            if key::is_valid(text) {
                return Ok(text.into());
            }
            compiler.fail(
                format_args!("\"{}\" cannot be the key of a segment", excerpt(text)),
                format!(
                    "use letters, digits, \"_\", \".\" and \"-\", starting with a letter or digit, at most {} bytes",
                    key::MAX_BYTES
                ),
            )
        })?;
        Ok(set(keys))
    }
}

fn operators() -> String {
    format!("use one of {}", OPERATORS.join(", "))
}
