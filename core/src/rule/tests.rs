//! Rules against cases that another implementation made, and against what nobody would write.

use serde_json::value::RawValue;

use super::*;
use crate::Code;
use crate::context::JsonContext;

fn raw(json: &str) -> Box<RawValue> {
    serde_json::from_str(json).unwrap()
}

fn compile(json: &str) -> Rule {
    Rule::compile("a test", json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn matches(rule: &str, context: &str) -> bool {
    let context = raw(context);
    compile(rule).matches("user_1", &JsonContext::new(&context), &|key| key == "beta")
}

fn condition(operator: &str, values: &str, attribute: &str) -> bool {
    matches(
        &format!(r#"{{"attribute":"a.b","operator":"{operator}","values":{values}}}"#),
        &format!(r#"{{"a":{{"b":{attribute}}}}}"#),
    )
}

fn refused(json: &str) -> String {
    let error = Rule::compile("x", json).unwrap_err();
    assert_eq!(error.code, Code::InvalidRule);
    error.to_string()
}

#[test]
fn rules_combine() {
    let known = r#"{"attribute":"x","operator":"exists"}"#;
    for (rule, expected) in [
        (r#"{"all":[]}"#.to_owned(), true),
        (r#"{"any":[]}"#.to_owned(), false),
        (r#"{"not":{"any":[]}}"#.to_owned(), true),
        (format!(r#"{{"all":[{known},{{"any":[]}}]}}"#), false),
        (format!(r#"{{"any":[{known},{{"any":[]}}]}}"#), true),
        (r#"{"operator":"in_segment","values":["alpha","beta"]}"#.to_owned(), true),
        (r#"{"operator":"in_segment","values":["alpha"]}"#.to_owned(), false),
        (r#"{"attribute":"user_id","operator":"equals","values":["user_1"]}"#.to_owned(), true),
    ] {
        assert_eq!(matches(&rule, r#"{"x":1,"user_id":"other"}"#), expected, "{rule}");
    }
}

#[test]
fn segments_are_named_once() {
    let rule = compile(
        r#"{"any":[{"not":{"operator":"in_segment","values":["b","a"]}},{"operator":"in_segment","values":["b"]}]}"#,
    );
    assert_eq!(rule.segments(), ["a", "b"]);
}

#[test]
fn a_value_decides_as_what_it_is_compared() {
    assert!(condition("greater", r#"["1.9.0"]"#, r#""v1.10""#));
    assert!(!condition("greater", r#"["1.9.0"]"#, "2"));
    assert!(condition("less", r#"["2024-01-01"]"#, r#""2023-12-31T23:59:59.999Z""#));
    assert!(condition("greater_or_equal", "[1.10]", "1.1"));
    assert!(!condition("greater_or_equal", "[1.10]", r#""1.1""#));
    assert!(refused(r#"{"attribute":"a","operator":"less","values":["2024-1-1"]}"#).contains("$.values[0]"));
}
