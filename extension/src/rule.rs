//! What people write into rules, prerequisites, schedules and flags, checked when it is written.

use std::collections::HashMap;

use ab_core::bucket::BUCKETS;
use ab_core::prerequisite::Prerequisite;
use ab_core::rule::Rule;
use ab_core::schedule::Schedule;
use ab_core::{Code, Error, flag};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::call::{Call, row_function};
use crate::context::JsonbContext;
use crate::error::report;

/// Whether `unit` can name the attribute that is assigned by.
#[pg_extern]
fn is_unit(unit: &str) -> bool {
    ab_core::context::is_unit(unit)
}

/// Raises unless `rule` is a rule; `what` is how the error calls it.
#[pg_extern]
fn check_rule(what: &str, rule: &str) -> Result<(), ErrorReport> {
    Rule::check(what, rule).map(drop).map_err(report)
}

/// Raises unless `prerequisites` are a list of prerequisites.
#[pg_extern]
fn check_prerequisites(what: &str, prerequisites: &str) -> Result<(), ErrorReport> {
    Prerequisite::compile(what, prerequisites).map(drop).map_err(report)
}

/// Raises unless `schedule` is a list of ascending steps.
#[pg_extern]
fn check_schedule(what: &str, schedule: &str) -> Result<(), ErrorReport> {
    Schedule::compile(what, BUCKETS, schedule).map(drop).map_err(report)
}

/// Raises unless the values and rules of a flag fit its kind.
#[pg_extern]
fn check_flag(
    what: &str,
    kind: &str,
    default_value: &str,
    off_value: &str,
    rules: &str,
) -> Result<(), ErrorReport> {
    flag::check(what, kind, default_value, off_value, rules).map_err(report)
}

/// Whether these can be the bucket ranges of a flag's rules.
#[pg_extern]
fn are_flag_layouts(rules: &str, layouts: &str) -> bool {
    flag::are_layouts(rules, layouts)
}

/// The bucket ranges of a flag's rules as JSON, moving as few users as possible out of those before.
#[pg_extern]
fn flag_layouts(
    rules: Option<&str>,
    previous_rules: Option<&str>,
    previous_layouts: Option<&str>,
) -> Result<String, ErrorReport> {
    let layouts = flag::layouts(rules.unwrap_or("[]"), previous_rules, previous_layouts).map_err(report)?;
    serde_json::to_string(&layouts).map_err(|error| {
        report(Error::new(
            Code::InvalidFlag,
            format!("the layouts cannot be written: {error}"),
            "report this",
        ))
    })
}

/// The rules that one place in a query has met, none where what it met was no rule.
type Compiled = HashMap<Box<str>, Option<Rule>>;

row_function!(
    /// Whether a rule holds for the properties of an event.
    matches_wrapper,
    pg_finfo_matches_wrapper,
    |call: &Call| {
        let (rule, Some(properties)) = (call.text(0), call.argument(1)) else { return call.return_null() };
        // SAFETY: the argument is declared as jsonb and stays for the call.
        #[expect(unsafe_code, reason = "reads a datum")]
        let properties = unsafe { JsonbContext::new(properties) };
        let holds = |rule: &Option<Rule>| {
            rule.as_ref().is_some_and(|rule| rule.matches("", &properties, &|_| false))
        };
        // It was checked when it was written: here nothing may fail.
        let compile = || Rule::check("filter", rule).ok();
        pg_sys::Datum::from(match call.site::<Compiled>() {
            Some(site) => {
                let mut compiled = site.borrow_mut();
                if !compiled.contains_key(rule) {
                    compiled.insert(rule.into(), compile());
                }
                compiled.get(rule).is_some_and(holds)
            }
            None => holds(&compile()),
        })
    }
);
