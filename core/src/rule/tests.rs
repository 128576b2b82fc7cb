//! Rules against cases that another implementation made, and against what nobody would write.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde::Deserialize;
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

#[derive(Deserialize)]
struct Case<'a> {
    #[serde(borrow)]
    rule: &'a RawValue,
    user_id: String,
    #[serde(borrow)]
    context: &'a RawValue,
    segments: HashMap<String, bool>,
    expected: bool,
}

#[test]
fn another_implementation_agrees() {
    let cases: Vec<Case<'_>> =
        serde_json::from_str(include_str!("../../../tests/vectors/assignment/rules.json")).unwrap();
    assert!(cases.len() > 4_000);
    let wrong: Vec<String> = cases
        .iter()
        .filter(|case| {
            let in_segment = |key: &str| case.segments.get(key).copied().unwrap_or(false);
            compile(case.rule.get()).matches(&case.user_id, &JsonContext::new(case.context), &in_segment)
                != case.expected
        })
        .map(|case| format!("{} for {} is not {}", case.rule, case.context, case.expected))
        .collect();
    assert!(wrong.is_empty(), "{} cases: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

#[derive(Deserialize)]
struct Invalid<'a> {
    #[serde(borrow)]
    rule: &'a RawValue,
    at: String,
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let cases: Vec<Invalid<'_>> =
        serde_json::from_str(include_str!("../../../tests/vectors/assignment/invalid_rules.json")).unwrap();
    assert!(cases.len() > 100);
    for Invalid { rule, at } in cases {
        let message = refused(rule.get());
        assert!(message.starts_with(&format!("rule of x at {at}: ")), "{rule}: {message}");
        assert!(!message.ends_with('.'), "{message}");
    }
}

#[test]
fn what_is_no_json_is_no_rule() {
    let surrogate = r#"{"attribute":"a","operator":"equals","values":["\ud800"]}"#;
    for (json, at) in [
        ("", "$"),
        ("{", "$"),
        (r#"{"all":[]} {}"#, "$"),
        (r#"{"all":[],}"#, "$"),
        (r#"{"attribute":"a","operator":"equals","values":[NaN]}"#, "$"),
        (r#"{"all":[],"all":[]}"#, "$"),
        (r#"{"not":{"attribute":"a","operator":"exists","\u006fperator":"exists"}}"#, "$.not"),
        (surrogate, "$.values[0]"),
        (r#"{"\ud800":1}"#, "$"),
    ] {
        let message = refused(json);
        assert!(message.starts_with(&format!("rule of x at {at}: ")), "{json}: {message}");
    }
}

#[test]
fn the_examples_of_the_schema_are_rules() {
    #[derive(Deserialize)]
    struct Schema<'a> {
        #[serde(borrow)]
        examples: Vec<&'a RawValue>,
    }
    let schema: Schema<'_> = serde_json::from_str(include_str!("../../../docs/rule.schema.json")).unwrap();
    assert!(!schema.examples.is_empty());
    for example in schema.examples {
        compile(example.get());
    }
}

/// A condition with `values`, each written in JSON.
fn listing(operator: &str, values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<String> = values.into_iter().collect();
    format!(r#"{{"attribute":"a","operator":"{operator}","values":[{}]}}"#, values.join(","))
}

fn nested(depth: usize) -> String {
    format!("{}{{\"all\":[]}}{}", "{\"not\":".repeat(depth - 1), "}".repeat(depth - 1))
}

#[test]
fn limits_are_kept_to_the_last() {
    let quoted = |length: usize| format!("\"{}\"", "x".repeat(length));
    let nodes = |count: usize| format!("{{\"all\":[{}]}}", vec![r#"{"any":[]}"#; count - 1].join(","));
    let padded = |length: usize| format!("{}{}", " ".repeat(length - 10), r#"{"all":[]}"#);
    let path = |length: usize| format!(r#"{{"attribute":{},"operator":"exists"}}"#, quoted(length));
    let many = |operator: &str, count: usize| listing(operator, (0..count).map(|n| format!("\"{n}\"")));
    for (fits, exceeds, at) in [
        (nested(16), nested(17), format!("${}", ".not".repeat(16))),
        (nodes(1_000), nodes(1_001), "$.all[999]".to_owned()),
        (padded(MAX_BYTES), padded(MAX_BYTES + 1), "$".to_owned()),
        (path(4_096), path(4_097), "$.attribute".to_owned()),
        (many("in", 10_000), many("in", 10_001), "$.values".to_owned()),
        (many("regex", 50), many("regex", 51), "$.values[50]".to_owned()),
        (listing("equals", [quoted(4_096)]), listing("equals", [quoted(4_097)]), "$.values[0]".to_owned()),
        (listing("regex", [quoted(1_000)]), listing("regex", [quoted(1_001)]), "$.values[0]".to_owned()),
    ] {
        compile(&fits);
        let message = refused(&exceeds);
        assert!(message.starts_with(&format!("rule of x at {at}: ")), "{at}: {message}");
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for (open, close) in [("{\"not\":", "}"), ("{\"all\":[", "]}"), ("[", "]")] {
        let depth = (MAX_BYTES - 20) / (open.len() + close.len());
        refused(&format!("{}{{\"all\":[]}}{}", open.repeat(depth), close.repeat(depth)));
        refused(&open.repeat(depth));
    }
    let depth = MAX_BYTES / 2 - 100;
    refused(&listing("equals", [format!("{}{}", "[".repeat(depth), "]".repeat(depth))]));
}

#[test]
fn ordinary_patterns_fit_and_hostile_ones_stay_quick() {
    for pattern in [
        r"^[\\w.+-]+@[\\w-]+\\.[\\w.]+$",
        r"(?i)iphone|ipad|android [0-9]{1,2}\\.\\d",
        r"^\\d{4}-\\d{2}-\\d{2}$",
        r"^https?://([^/]+\\.)*example\\.com(/|$)",
        r"\\p{Greek}+\\s\\S+",
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    ] {
        compile(&listing("regex", [format!("\"{pattern}\"")]));
    }
    // Backtracking would take 2 to the power of 4,000 steps for the first.
    let text = format!(r#"{{"a":"{}!"}}"#, "a".repeat(4_000));
    let hostile = ["^(a+)+$", "(a|aa)*b", "(.*)(.*)(.*)(.*)(.*)x", "a{0,1000}a{0,1000}b"];
    for pattern in hostile {
        assert!(!matches(&listing("regex", [format!("\"{pattern}\"")]), &text));
    }
    // Each by itself is acceptable, but not all of them.
    let message = refused(&listing("regex", vec!["\"a{0,1000}a{0,1000}b\"".to_owned(); 10]));
    assert!(message.starts_with("rule of x at $.values[2]: "), "{message}");
}

#[test]
fn long_lists_are_searched_like_short_ones() {
    let values = || (0..10_000).map(|n| if n % 2 == 0 { format!("\"u{n}\"") } else { format!("{n}.50") });
    let rule = compile(&listing("in", values()));
    let all = compile(&listing("all_of", values()));
    let holds = |rule: &Rule, context: &str| rule.matches("u", &JsonContext::new(&raw(context)), &|_| false);
    for n in (0..10_000).step_by(97) {
        assert_eq!(holds(&rule, &format!(r#"{{"a":"u{n}"}}"#)), n % 2 == 0);
        assert_eq!(holds(&rule, &format!(r#"{{"a":{n}.5}}"#)), n % 2 == 1);
    }
    let list: Vec<String> = values().collect();
    assert!(holds(&all, &format!(r#"{{"a":[true,{}]}}"#, list.join(","))));
    assert!(!holds(&all, &format!(r#"{{"a":[true,{}]}}"#, list[1..].join(","))));
}

/// As many cases as `AB_FUZZ_CASES` says.
fn fuzz() -> ProptestConfig {
    let cases = std::env::var("AB_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Values that one operator or another takes, and some that none does.
const VALUES: &[&str] = &[
    "\"NZ\"",
    "\"nz\"",
    "\"\"",
    "\"é\"",
    "\"\\u00e9\"",
    "\"\\ud800\"",
    "\"İΣ\"",
    "\"17\"",
    "\"v1.2.3-rc.1+b\"",
    "\"1.2\"",
    "\"2024-01-01\"",
    "\"2024-01-01T00:00:00.5+13:00\"",
    "\"9999-12-31T23:59:60-23:59\"",
    "\"0000-01-01T00:00:00+23:59\"",
    "\"2024-\"",
    "\"2024é\"",
    "\"10.0.0.0/8\"",
    "\"10.1.2.3\"",
    "\"::ffff:10.1.2.3/97\"",
    "\"::/0\"",
    "\"^a+$\"",
    "\"(a|b)*\\\\d{3}\"",
    "\"[\"",
    "\"\\\\w{999}\"",
    "\"string\"",
    "\"array\"",
    "\"beta\"",
    "\"a:b\"",
    "true",
    "false",
    "null",
    "0",
    "-0.0",
    "1.5e1",
    "15",
    "9999999999999999999999999999",
    "1e-28",
    "1e999999999999999999999",
    "{}",
    "[]",
    "[\"NZ\",15,true,null]",
    "[[[]]]",
    "{\"a\":\"NZ\"}",
];
const ATTRIBUTES: &[&str] = &["a", "a.b", "a.b.c", "user_id", "é", "", "a..b"];

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(VALUES).prop_map(str::to_owned),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => "[0-9]{1,30}(\\.[0-9]{1,30})?(e-?[0-9]{1,3})?",
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => "[v0-9.:/TZ+ a-]{0,20}".prop_map(|text| format!("\"{text}\"")),
    ]
}

/// Any JSON, in objects whose names rules look for.
fn any_json() -> impl Strategy<Value = String> {
    any_value().prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((select(&["a", "b", "c", "é", "not", "all", "user_id"][..]), inner), 0..5)
                .prop_map(|fields| {
                    let fields: Vec<String> =
                        fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
        ]
    })
}

fn any_context() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => (any_json(), any_json())
            .prop_map(|(a, b)| format!("{{\"a\":{{\"b\":{a}}},\"é\":{b},\"user_id\":{a}}}")),
        2 => any_json().prop_map(|a| format!("{{\"a\":{a}}}")),
        1 => any_json(),
    ]
}

/// A condition that is right but for what the values are.
fn near_condition() -> impl Strategy<Value = String> {
    (select(ATTRIBUTES), select(compile::OPERATORS), prop::collection::vec(any_value(), 0..4)).prop_map(
        |(attribute, operator, values)| {
            let values = values.join(",");
            if operator == "in_segment" {
                return format!(r#"{{"operator":"in_segment","values":[{values}]}}"#);
            }
            format!(r#"{{"attribute":"{attribute}","operator":"{operator}","values":[{values}]}}"#)
        },
    )
}

/// Conditions that are right.
fn condition_strategy() -> impl Strategy<Value = String> {
    (near_condition(), any_value()).prop_map(|(near, value)| {
        // What does not compile is made an equality, or given up.
        [near, listing("equals", [value])]
            .into_iter()
            .find(|rule| Rule::compile("x", rule).is_ok())
            .unwrap_or_else(|| r#"{"operator":"in_segment","values":["beta"]}"#.to_owned())
    })
}

fn combined(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 0..4).prop_map(|rules| format!("{{\"all\":[{}]}}", rules.join(","))),
            4 => prop::collection::vec(inner.clone(), 0..4).prop_map(|rules| format!("{{\"any\":[{}]}}", rules.join(","))),
            2 => inner.clone().prop_map(|rule| format!("{{\"not\":{rule}}}")),
        ]
    })
}

/// Something near a rule: a character is left out or a piece put in now and then.
fn near_rule() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &["\"", "{", "]", ",", ":", "null", "\"not\":", "\\", "é", "9"];
    let piece = prop_oneof![3 => Just(""), 1 => select(PIECES)];
    let leaf = prop_oneof![8 => condition_strategy(), 1 => near_condition(), 1 => any_json()];
    (combined(leaf), any::<prop::sample::Index>(), piece, prop::bool::weighted(0.1)).prop_map(
        |(rule, at, piece, cut)| {
            let at = at.index(rule.len());
            let at = (0..=at).rev().find(|&at| rule.is_char_boundary(at)).unwrap_or(0);
            let rest = if cut { rule[at..].chars().skip(1).collect() } else { rule[at..].to_owned() };
            format!("{}{piece}{rest}", &rule[..at])
        },
    )
}

proptest! {
    #![proptest_config(fuzz())]

    #[test]
    fn whatever_is_written_is_refused_or_evaluated(
        rule in prop_oneof![8 => near_rule(), 1 => any_json(), 1 => any::<String>()],
        context in any_context(),
        user_id in any::<String>(),
    ) {
        // Some of what is generated is no JSON (NaN); as a context that cannot arrive.
        let context: Option<Box<RawValue>> = serde_json::from_str(&context).ok();
        let context = context.as_deref().map(JsonContext::new).unwrap_or_default();
        match Rule::compile("x", &rule) {
            Ok(rule) => {
                let holds = rule.matches(&user_id, &context, &|key| key == "beta");
                prop_assert_eq!(holds, rule.matches(&user_id, &context, &|key| key == "beta"));
            }
            Err(error) => {
                prop_assert_eq!(error.code, Code::InvalidRule);
                prop_assert!(error.to_string().starts_with("rule of x at $"), "{}", error);
            }
        }
    }

    #[test]
    fn combinations_are_what_logic_says(
        rules in prop::collection::vec(combined(condition_strategy()), 0..4),
        context in any_context(),
    ) {
        let context: Option<Box<RawValue>> = serde_json::from_str(&context).ok();
        let context = context.as_deref().map(JsonContext::new).unwrap_or_default();
        let holds = |rule: &str| compile(rule).matches("u", &context, &|key| key == "beta");
        let each: Vec<bool> = rules.iter().map(|rule| holds(rule)).collect();
        for (rule, held) in rules.iter().zip(&each) {
            let negated = format!("{{\"not\":{rule}}}");
            prop_assert_eq!(holds(&negated), !held);
        }
        let all = format!("{{\"all\":[{}]}}", rules.join(","));
        prop_assert_eq!(holds(&all), each.iter().all(|held| *held));
        let any = format!("{{\"any\":[{}]}}", rules.join(","));
        prop_assert_eq!(holds(&any), each.contains(&true));
    }
}
