//! Holds the statistics to the golden vectors of `tests/vectors/statistics` (see `generate.py` there) and to the
//! properties that no table of cases can show.

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::bayes::Prior;
use super::comparison::{Arm, Effect, Kind, Mode, Row, Settings, compare_arms};
use super::distribution::{
    normal_critical, normal_survival, normal_two_sided, student_critical, student_survival, student_two_sided,
};
use super::lift::{Estimate, Lift};
use super::mean::{Sample, WelchTest, mean_interval, welch_test};
use super::noninferiority::Guardrail;
use super::proportion::{Proportion, ProportionTest, proportion_interval, proportion_test};
use super::{Alternative, InvalidArgument, Note};

macro_rules! vectors {
    ($name:literal) => {
        serde_json::from_str::<Vec<Value>>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/vectors/statistics/",
            $name
        )))
        .expect("vectors are valid JSON")
    };
}

/// The named fields of a result as columns.
macro_rules! columns {
    ($result:expr, $($field:ident),+ $(,)?) => { &[$((stringify!($field), $result.$field)),+] };
}

mod bandit;
mod bayes;
mod chi_square;
mod comparisons;
mod covariate;
mod effects;
mod fisher;
mod gold;
mod group_sequential;
mod lift;
mod moments;
mod multiplicity;
mod power;
mod proportion;
mod quantile;
mod rank_sum;
mod sample_ratio;
mod sequential;
mod sketch;
mod winsorisation;

fn number(case: &Value, name: &str) -> f64 {
    figure(case, name).unwrap_or_else(|| panic!("{name} of {case} is a number"))
}

fn count(case: &Value, name: &str) -> i64 {
    case[name].as_i64().unwrap_or_else(|| panic!("{name} of {case} is an integer"))
}

/// A number, an infinity (which JSON writes as text) or nothing.
fn figure(case: &Value, name: &str) -> Option<f64> {
    match &case[name] {
        Value::Null => None,
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    }
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64, case: &Value) {
    let close = found == expected || (found - expected).abs() <= tolerance * expected.abs();
    assert!(close, "{found:e} is not {expected:e} in {case}");
}

/// Compares columns with a case's expected ones, `None` only where `None` is expected.
#[track_caller]
fn assert_columns(columns: &[(&str, Option<f64>)], note: Option<Note>, expected: &Value, case: &Value) {
    for (name, found) in columns {
        match (*found, figure(expected, name)) {
            (Some(found), Some(expected)) => assert_close(found, expected, 1e-11, case),
            (found, expected) => assert_eq!(found, expected, "{name} of {case}"),
        }
    }
    assert_eq!(note.map(Note::as_str), expected["note"].as_str(), "{case}");
}

fn alternative(case: &Value) -> Alternative {
    case["alternative"].as_str().expect("an alternative").parse().expect("a known alternative")
}

fn lift_columns(lift: &Lift) -> [(&'static str, Option<f64>); 3] {
    [("lift", lift.lift), ("lift_low", lift.low), ("lift_high", lift.high)]
}

#[test]
fn normal_areas_match_the_reference() {
    for case in vectors!("normal.json") {
        let (z, area) = (number(&case, "z"), number(&case, "two_sided"));
        assert_close(normal_two_sided(z), area, 1e-12, &case);
        assert_close(normal_survival(z), 0.5 * area, 1e-12, &case);
        assert_close(normal_survival(-z), 1.0 - 0.5 * area, 1e-15, &case);
    }
    for case in vectors!("normal_critical.json") {
        assert_close(normal_critical(number(&case, "area")), number(&case, "z"), 1e-14, &case);
    }
}

#[test]
fn student_areas_match_the_reference() {
    for case in vectors!("student.json") {
        let (t, df, area) = (number(&case, "t"), number(&case, "df"), number(&case, "two_sided"));
        let tolerance = if area > 1e-20 { 2e-14 } else { 1e-12 };
        assert_close(student_two_sided(t, df), area, tolerance, &case);
        assert_close(student_survival(t, df), 0.5 * area, tolerance, &case);
        assert_close(student_survival(-t, df), 1.0 - 0.5 * area, tolerance, &case);
    }
    for case in vectors!("student_critical.json") {
        let found = student_critical(number(&case, "area"), number(&case, "df"));
        assert_close(found, number(&case, "t"), 1e-12, &case);
    }
}

#[test]
fn distributions_answer_nan_outside_their_domain() {
    for area in [f64::NAN, 0.0, -1.0, 1.1, f64::INFINITY] {
        assert!(normal_critical(area).is_nan() && student_critical(area, 5.0).is_nan());
    }
    for df in [f64::NAN, 0.0, -1.0, f64::NEG_INFINITY] {
        assert!(student_two_sided(1.0, df).is_nan() && student_critical(0.05, df).is_nan());
    }
    assert!(student_two_sided(f64::NAN, 5.0).is_nan() && normal_two_sided(f64::NAN).is_nan());
    assert_eq!(student_two_sided(1.5, f64::INFINITY), normal_two_sided(1.5));
    assert_eq!(student_two_sided(f64::INFINITY, 3.0), 0.0);
    assert_eq!(student_two_sided(0.0, 3.0), 1.0);
    assert_eq!(student_critical(1.0, 3.0), 0.0);
}

fn welch_columns(test: &WelchTest) -> Vec<(&'static str, Option<f64>)> {
    let own = [
        ("diff", test.diff),
        ("standard_error", test.standard_error),
        ("statistic", test.statistic),
        ("degrees_of_freedom", test.degrees_of_freedom),
        ("p_value", test.p_value),
        ("low", test.low),
        ("high", test.high),
    ];
    own.into_iter().chain(lift_columns(&test.lift)).collect()
}

#[test]
fn welch_matches_the_reference() {
    for case in vectors!("welch.json") {
        let given = &case["given"];
        let sample = |n, mean, variance| Sample {
            n: count(given, n),
            mean: number(given, mean),
            variance: number(given, variance),
        };
        let (control, treatment) = (sample("n1", "mean1", "var1"), sample("n2", "mean2", "var2"));
        let test = welch_test(control, treatment, number(given, "alpha"), alternative(given)).expect("valid");
        assert_columns(&welch_columns(&test), test.note, &case["expected"], &case);
    }
}

#[test]
fn intervals_match_the_reference() {
    for case in vectors!("mean_interval.json") {
        let given = &case["given"];
        let sample =
            Sample { n: count(given, "n"), mean: number(given, "mean"), variance: number(given, "variance") };
        let found = mean_interval(sample, number(given, "alpha")).expect("valid");
        assert_columns(&[("low", found.low), ("high", found.high)], found.note, &case["expected"], &case);
    }
    for case in vectors!("proportion_interval.json") {
        let given = &case["given"];
        let proportion = Proportion { n: count(given, "n"), conversions: count(given, "x") };
        let found = proportion_interval(proportion, number(given, "alpha")).expect("valid");
        assert_columns(&[("low", found.low), ("high", found.high)], found.note, &case["expected"], &case);
    }
}

fn proportion_columns(test: &ProportionTest) -> Vec<(&'static str, Option<f64>)> {
    let own = [
        ("control_rate", test.control_rate),
        ("treatment_rate", test.treatment_rate),
        ("diff", test.diff),
        ("statistic", test.statistic),
        ("p_value", test.p_value),
        ("low", test.low),
        ("high", test.high),
    ];
    own.into_iter().chain(lift_columns(&test.lift)).collect()
}

#[test]
fn proportion_test_matches_the_reference() {
    for case in vectors!("proportion_test.json") {
        let given = &case["given"];
        let arm = |n, x| Proportion { n: count(given, n), conversions: count(given, x) };
        let alpha = number(given, "alpha");
        let test =
            proportion_test(arm("n1", "x1"), arm("n2", "x2"), alpha, alternative(given)).expect("valid");
        assert_columns(&proportion_columns(&test), test.note, &case["expected"], &case);
    }
}

#[test]
fn fieller_matches_the_reference() {
    for case in vectors!("fieller.json") {
        let given = &case["given"];
        let estimate = |mean, error| Estimate { mean: number(given, mean), variance: number(given, error) };
        let (control, treatment) = (estimate("mean1", "error1"), estimate("mean2", "error2"));
        let diff = treatment.mean - control.mean;
        let alpha = number(given, "alpha");
        let lift =
            Lift::fieller(diff, control, treatment, alpha, Alternative::TwoSided, normal_critical(alpha));
        let columns = [("lift", lift.lift), ("low", lift.low), ("high", lift.high)];
        assert_columns(&columns, lift.note, &case["expected"], &case);
    }
}

fn effect_columns(found: &Effect) -> [(&'static str, Option<f64>); 7] {
    [
        ("diff", found.diff),
        ("diff_low", found.low),
        ("diff_high", found.high),
        ("lift", found.lift),
        ("lift_low", found.lift_low),
        ("lift_high", found.lift_high),
        ("p_value", found.p_value),
    ]
}

const PLAIN: Settings = Settings {
    alpha: 0.05,
    mode: Mode::Fixed,
    tuning_units: 10_000.0,
    is_over: true,
    prior: Prior { mean: 0.0, sd: None },
    is_adjusted: false,
    lower_is_better: false,
    margin: None,
};

fn compared(kind: Kind, arms: &[Arm]) -> Vec<Row> {
    compare_arms(kind, arms, &PLAIN).expect("valid")
}

#[test]
fn a_real_experiment_matches_the_reference() {
    let mut control = None;
    for case in vectors!("cookie_cats.json") {
        let kind = if case["kind"] == "conversion" { Kind::Conversion } else { Kind::Mean };
        let arm = Arm {
            units: count(&case, "units"),
            conversions: count(&case, "conversions"),
            mean: Some(number(&case, "mean")),
            variance: Some(number(&case, "variance")),
            covariate_mean: None,
            covariate_variance: None,
            covariance: None,
        };
        if case["is_control"] == true {
            control = Some(arm);
        }
        let rows = compared(kind, &[control.expect("the control comes first"), arm]);
        assert_columns(&[("ci_low", rows[1].low), ("ci_high", rows[1].high)], None, &case, &case);
        assert_eq!(rows[0].comparison, None);
        if case["is_control"] != true {
            let found = rows[1].comparison.expect("a treatment");
            assert_columns(&effect_columns(&found.raw), found.note, &case, &case);
            assert_eq!(found.decisive_p_value.map(|p| p < 0.05), case["significant"].as_bool());
        }
    }
}

const TWO_SIDED: Alternative = Alternative::TwoSided;

fn sample(n: i64, mean: f64, variance: f64) -> Sample {
    Sample { n, mean, variance }
}

#[test]
fn data_that_cannot_answer_gives_a_note_and_no_figures() {
    let welch = |control, treatment| welch_test(control, treatment, 0.05, TWO_SIDED).expect("valid");
    let full = sample(10, 2.0, 1.0);

    let test = welch(sample(0, 0.0, 0.0), full);
    assert_eq!((test.diff, test.p_value, test.note), (None, None, Some(Note::TooFewUnits)));
    let test = welch(sample(1, 1.0, 0.0), full);
    assert_eq!((test.diff, test.lift.lift, test.low), (Some(1.0), Some(1.0), None));
    assert_eq!(test.note, Some(Note::TooFewUnits));

    let test = welch(sample(10, 2.0, 0.0), sample(9, 2.0, 0.0));
    assert_eq!((test.p_value, test.low, test.high, test.statistic), (Some(1.0), Some(0.0), Some(0.0), None));
    assert_eq!((test.lift.low, test.lift.high, test.note), (Some(0.0), Some(0.0), None));
    let test = welch(sample(10, 2.0, 0.0), sample(9, 3.0, 0.0));
    assert_eq!((test.p_value, test.low, test.lift.lift), (None, None, Some(0.5)));
    assert_eq!(test.note, Some(Note::ZeroVariance));

    for (control, treatment) in [
        (sample(10, -1e308, 1.0), sample(10, 1e308, 1.0)),
        (sample(10, 1.0, 1e-310), sample(10, 2.0, 1e-310)),
    ] {
        let test = welch(control, treatment);
        assert_eq!((test.p_value, test.low, test.high), (None, None, None));
        assert_eq!(test.note, Some(Note::Overflow));
    }

    let interval = mean_interval(sample(1, 4.0, 0.0), 0.05).expect("valid");
    assert_eq!((interval.estimate, interval.low, interval.note), (Some(4.0), None, Some(Note::TooFewUnits)));
    let interval = mean_interval(sample(5, 4.0, 0.0), 0.05).expect("valid");
    assert_eq!(
        (interval.low, interval.high, interval.note),
        (Some(4.0), Some(4.0), Some(Note::ZeroVariance))
    );

    let nobody = Proportion { n: 0, conversions: 0 };
    let some = Proportion { n: 10, conversions: 3 };
    let test = proportion_test(nobody, some, 0.05, TWO_SIDED).expect("valid");
    assert_eq!((test.treatment_rate, test.control_rate, test.p_value), (Some(0.3), None, None));
    assert_eq!(test.note, Some(Note::TooFewUnits));
    let interval = proportion_interval(nobody, 0.05).expect("valid");
    assert_eq!((interval.estimate, interval.note), (None, Some(Note::TooFewUnits)));
}

const EMPTY: Arm = Arm {
    units: 0,
    conversions: 0,
    mean: None,
    variance: None,
    covariate_mean: None,
    covariate_variance: None,
    covariance: None,
};

#[test]
fn an_arm_without_users_may_have_no_mean_or_variance() {
    let full = Arm { units: 10, conversions: 3, mean: Some(1.0), variance: Some(2.0), ..EMPTY };
    for kind in [Kind::Conversion, Kind::Mean, Kind::Ratio] {
        let rows = compared(kind, &[EMPTY, full]);
        let found = rows[1].comparison.expect("a treatment");
        assert_eq!((found.raw.diff, found.decisive_p_value), (None, None));
        assert_eq!((found.note, found.chance_to_win), (Some(Note::TooFewUnits), None));
        assert_eq!((rows[0].low, rows[0].high), (None, None));
    }
    let unknown = Arm { mean: None, ..full };
    let found = compared(Kind::Mean, &[full, unknown])[1].comparison.expect("a treatment");
    assert_eq!((found.raw.diff, found.method), (None, None), "a mean beyond a double is no mean of nobody");
    assert_eq!(compare_arms(Kind::Mean, &[], &PLAIN), Ok(Vec::new()));
}

#[test]
fn the_settings_say_which_estimate_decides() {
    let arm = |mean: f64, covariate_mean: f64| Arm {
        units: 1000,
        mean: Some(mean),
        variance: Some(25.0),
        covariate_mean: Some(covariate_mean),
        covariate_variance: Some(25.0),
        covariance: Some(20.0),
        ..EMPTY
    };
    let arms = [arm(10.0, 10.0), arm(10.4, 10.1), arm(10.2, 9.9)];
    let first = |settings: Settings| {
        let rows = compare_arms(Kind::Mean, &arms, &settings).expect("valid");
        rows[1].comparison.expect("a treatment")
    };
    let fixed = first(PLAIN);
    assert_eq!((fixed.method, fixed.decisive_p_value), (Some("welch_t"), fixed.raw.p_value));
    assert_eq!((fixed.sequential_p_value, fixed.guardrail), (None, None));
    // One coefficient of all arms, 0.8: 0.4 less 0.8 · 0.1, and 1 − ρ² of the variance.
    assert!((fixed.adjusted.diff.expect("a difference") - 0.32).abs() < 1e-12);
    assert!((fixed.variance_reduction.expect("a reduction") - 0.64).abs() < 1e-9);

    let adjusted = first(Settings { is_adjusted: true, ..PLAIN });
    assert_eq!((adjusted.method, adjusted.decisive_p_value), (Some("cuped"), fixed.adjusted.p_value));
    assert_ne!(adjusted.chance_to_win, fixed.chance_to_win);

    let sequential = first(Settings { mode: Mode::Sequential, tuning_units: 4000.0, ..PLAIN });
    assert_eq!(sequential.decisive_p_value, sequential.sequential_p_value);
    assert!(sequential.sequential_p_value > fixed.raw.p_value, "{sequential:?}");
    assert!(sequential.sequential_low < fixed.raw.low && sequential.sequential_high > fixed.raw.high);

    let grouped = first(Settings { mode: Mode::GroupSequential { z_bound: Some(2.5) }, ..PLAIN });
    let half = grouped.sequential_high.expect("an interval") - grouped.raw.diff.expect("a difference");
    assert!((half / grouped.raw.standard_error.expect("noise") - 2.5).abs() < 1e-9);

    // Less is better: the same numbers lose.
    let reversed = first(Settings { lower_is_better: true, ..PLAIN });
    let sum = reversed.chance_to_win.expect("a chance") + fixed.chance_to_win.expect("a chance");
    assert!((sum - 1.0).abs() < 1e-12);
    // A tight prior at no effect draws the chance towards a half.
    let doubtful = first(Settings { prior: Prior { mean: 0.0, sd: Some(0.001) }, ..PLAIN });
    assert!(doubtful.chance_to_win < fixed.chance_to_win && doubtful.chance_to_win > Some(0.5));
}

#[test]
fn guardrails_hold_at_any_time_and_once_at_a_fixed_end() {
    let arm = |mean: f64| Arm { units: 5000, mean: Some(mean), variance: Some(25.0), ..EMPTY };
    let judge = |mean: f64, mode: Mode, lower_is_better: bool, is_over: bool| {
        let settings = Settings { mode, margin: Some(0.05), lower_is_better, is_over, ..PLAIN };
        let rows = compare_arms(Kind::Mean, &[arm(10.0), arm(mean)], &settings).expect("valid");
        rows[1].comparison.and_then(|found| found.guardrail).expect("a verdict")
    };
    let state = |mean, mode, lower_is_better| judge(mean, mode, lower_is_better, true);
    for mode in [Mode::Fixed, Mode::Sequential, Mode::GroupSequential { z_bound: None }, Mode::Bayesian] {
        assert_eq!(state(10.0, mode, false), Guardrail::Pass);
        assert_eq!(state(9.0, mode, false), Guardrail::Breach);
        assert_eq!(state(9.4, mode, false), Guardrail::Fail);
        assert_eq!(state(11.0, mode, true), Guardrail::Breach);
        assert_eq!(state(9.0, mode, true), Guardrail::Pass);
    }
    // What is shown at one planned look may not be shown for all looks together.
    assert_eq!(state(9.72, Mode::Fixed, false), Guardrail::Pass);
    assert_eq!(judge(9.72, Mode::Fixed, false, false), Guardrail::Inconclusive);
    assert_eq!(state(9.72, Mode::Sequential, false), Guardrail::Inconclusive);
    assert_eq!(state(9.72, Mode::Bayesian, false), Guardrail::Inconclusive);
}

#[test]
fn impossible_arguments_are_named() {
    let full = sample(10, 2.0, 1.0);
    let welch = |control, treatment, alpha| welch_test(control, treatment, alpha, TWO_SIDED).map(|_| ());
    let proportions = |n1, x1, n2, x2| {
        let arm = |n, conversions| Proportion { n, conversions };
        proportion_test(arm(n1, x1), arm(n2, x2), 0.05, TWO_SIDED).map(|_| ())
    };
    let cases: [(Result<(), InvalidArgument>, &str); 14] = [
        (welch(sample(-1, 2.0, 1.0), full, 0.05), "n1"),
        (welch(full, sample(-1, 2.0, 1.0), 0.05), "n2"),
        (welch(sample(9, f64::NAN, 1.0), full, 0.05), "mean1"),
        (welch(full, sample(9, f64::INFINITY, 1.0), 0.05), "mean2"),
        (welch(sample(9, 1.0, -1e-9), full, 0.05), "var1"),
        (welch(full, sample(1, 1.0, f64::NAN), 0.05), "var2"),
        (welch(full, full, 0.0), "alpha"),
        (welch(full, full, 1.0), "alpha"),
        (welch(full, full, f64::NAN), "alpha"),
        (proportions(-5, 0, 1, 0), "n1"),
        (proportions(5, 6, 1, 0), "x1"),
        (proportions(5, 2, 1, -1), "x2"),
        (mean_interval(sample(5, 1.0, -1.0), 0.05).map(|_| ()), "variance"),
        ("both".parse::<Alternative>().map(|_| ()), "alternative"),
    ];
    for (result, argument) in cases {
        let error = result.expect_err(argument);
        assert_eq!(error.argument, argument);
        assert!(error.message.starts_with(argument), "{error}");
    }
}

fn any_alternative() -> impl Strategy<Value = Alternative> {
    prop_oneof![Just(Alternative::TwoSided), Just(Alternative::Greater), Just(Alternative::Less)]
}

/// Any double at all, bit patterns included, and often an ordinary one.
fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), -1e3..1e3, Just(0.0), Just(f64::MIN_POSITIVE)]
}

fn any_count() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), 0..50_i64, 0..2_000_000_000_i64]
}

/// Arms such as experiments have: any scale, any sign, a difference of a few standard errors.
fn ordinary_arms() -> impl Strategy<Value = (Sample, Sample)> {
    (
        2..1_000_000_i64,
        2..1_000_000_i64,
        -5.0..5.0_f64,
        -6.0..6.0_f64,
        0.01..9.0_f64,
        0.01..9.0_f64,
        -6..9_i32,
    )
        .prop_map(|(n1, n2, mean, errors, var1, var2, exponent)| {
            let scale = 10_f64.powi(exponent);
            let error = (var1 / n1 as f64 + var2 / n2 as f64).sqrt();
            let treatment = mean + errors * error;
            (
                sample(n1, scale * mean, scale * scale * var1),
                sample(n2, scale * treatment, scale * scale * var2),
            )
        })
}

fn ordinary_proportions() -> impl Strategy<Value = (Proportion, Proportion)> {
    let arm = || {
        (1..5_000_000_i64, 0.0..=1.0_f64)
            .prop_map(|(n, rate)| Proportion { n, conversions: ((n as f64 * rate) as i64).min(n) })
    };
    (arm(), arm())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes in, nothing panics or loops, and every figure is a number where it should be one.
    #[test]
    fn nothing_panics(
        (n1, n2, x1, x2) in (any_count(), any_count(), any_count(), any_count()),
        (mean1, var1, mean2, var2) in (any_double(), any_double(), any_double(), any_double()),
        alpha in prop_oneof![any_double(), 0.0..1.0_f64],
        alternative in any_alternative(),
    ) {
        for (var1, var2) in [(var1, var2), (var1.abs(), var2.abs())] {
            let (control, treatment) = (sample(n1, mean1, var1), sample(n2, mean2, var2));
            if let Ok(test) = welch_test(control, treatment, alpha, alternative) {
                for (name, figure) in welch_columns(&test) {
                    prop_assert!(!figure.is_some_and(f64::is_nan), "{name} of {test:?}");
                }
                prop_assert!(test.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)));
                prop_assert!(test.p_value.is_some() || test.note.is_some());
            }
            let _ = mean_interval(control, alpha);
        }
        let (control, treatment) = (Proportion { n: n1, conversions: x1 }, Proportion { n: n2, conversions: x2 });
        if let Ok(test) = proportion_test(control, treatment, alpha, alternative) {
            for (name, figure) in proportion_columns(&test) {
                prop_assert!(!figure.is_some_and(f64::is_nan), "{name} of {test:?}");
            }
            prop_assert!(test.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)));
            prop_assert!(test.p_value.is_some() || test.note.is_some());
        }
        let _ = proportion_interval(control, alpha);
        let (t, df) = (mean1, mean2);
        prop_assert!(!(student_two_sided(t, df) < 0.0 || student_two_sided(t, df) > 1.0));
        let _ = student_critical(alpha, df);
        prop_assert!(!student_critical(alpha.abs().fract().max(1e-300), df.abs() + 1.0).is_infinite());
    }

    #[test]
    fn quantiles_invert_areas(df in 1.0..1e9_f64, exponent in -290.0..0.0_f64) {
        let area = 10_f64.powf(exponent);
        let back = student_two_sided(student_critical(area, df), df);
        prop_assert!((back / area - 1.0).abs() < 1e-12, "{area:e} came back as {back:e} at df {df}");
    }

    #[test]
    fn swapping_the_arms_turns_the_signs((control, treatment) in ordinary_arms(), alternative in any_alternative()) {
        let opposite = match alternative {
            Alternative::TwoSided => Alternative::TwoSided,
            Alternative::Greater => Alternative::Less,
            Alternative::Less => Alternative::Greater,
        };
        let test = welch_test(control, treatment, 0.05, alternative).expect("valid");
        let swapped = welch_test(treatment, control, 0.05, opposite).expect("valid");
        prop_assert_eq!(test.p_value, swapped.p_value);
        prop_assert_eq!(test.diff, swapped.diff.map(|diff| -diff));
        prop_assert_eq!(test.low, swapped.high.map(|high| -high));
    }

    #[test]
    fn swapping_proportions_turns_the_signs((control, treatment) in ordinary_proportions()) {
        let test = proportion_test(control, treatment, 0.05, TWO_SIDED).expect("valid");
        let swapped = proportion_test(treatment, control, 0.05, TWO_SIDED).expect("valid");
        prop_assert_eq!(test.p_value, swapped.p_value);
        prop_assert_eq!(test.diff, swapped.diff.map(|diff| -diff));
        prop_assert_eq!(test.low, swapped.high.map(|high| -high));
    }

    /// The interval of the difference and Fieller's of the lift exclude 0 exactly when the test rejects.
    #[test]
    fn intervals_agree_with_the_welch_test(
        (control, treatment) in ordinary_arms(),
        alpha in 0.001..0.4_f64,
        alternative in any_alternative(),
    ) {
        let test = welch_test(control, treatment, alpha, alternative).expect("valid");
        let (diff, p) = (test.diff.expect("a difference"), test.p_value.expect("a p-value"));
        let (low, high) = (test.low.expect("a bound"), test.high.expect("a bound"));
        prop_assert!(low <= diff && diff <= high);
        // On the edge itself rounding decides.
        prop_assume!((p - alpha).abs() > 1e-9);
        prop_assert_eq!(p < alpha, low > 0.0 || high < 0.0);
        if let (Some(lift), Some(low), Some(high)) = (test.lift.lift, test.lift.low, test.lift.high) {
            prop_assert!(low <= lift && lift <= high);
            prop_assert_eq!(p < alpha, low > 0.0 || high < 0.0);
        } else {
            prop_assert_eq!(test.note, Some(Note::ControlNearZero));
        }
    }

    #[test]
    fn intervals_contain_the_rates((control, treatment) in ordinary_proportions(), alpha in 1e-6..0.999_f64) {
        let test = proportion_test(control, treatment, alpha, TWO_SIDED).expect("valid");
        let diff = test.diff.expect("a difference");
        prop_assert!(test.low.is_some_and(|low| (-1.0 - 1e-12..=diff).contains(&low)));
        prop_assert!(test.high.is_some_and(|high| (diff..=1.0 + 1e-12).contains(&high)));
        let own = proportion_interval(control, alpha).expect("valid");
        let rate = own.estimate.expect("a rate");
        prop_assert!(own.low.is_some_and(|low| (0.0..=rate + 1e-15).contains(&low)));
        prop_assert!(own.high.is_some_and(|high| (rate - 1e-15..=1.0).contains(&high)));
        prop_assert_eq!(own.low == Some(0.0), control.conversions == 0);
        prop_assert_eq!(own.high == Some(1.0), control.conversions == control.n);
    }
}

/// Experiments without an effect, each a pair of p-values and whether Fieller's interval missed a lift of 0.
const EXPERIMENTS: u32 = 20_000;

/// The rate must be within 3.3 standard errors of 5 %.
#[track_caller]
fn assert_five_percent(name: &str, rejected: u32) {
    let rate = f64::from(rejected) / f64::from(EXPERIMENTS);
    assert!((rate - 0.05).abs() <= 0.0051, "{name} rejects {rate} of experiments without an effect");
}

fn normal_draw(rng: &mut StdRng) -> f64 {
    let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
    if rng.random() { normal_critical(uniform) } else { -normal_critical(uniform) }
}

/// Welch's test keeps its promise with few users of unequal spread in unequal arms, where pooling variances does not.
#[test]
fn welch_rejects_five_percent_without_an_effect() {
    let mut rng = StdRng::seed_from_u64(20_260_101);
    let mut arm = |n: i64, spread: f64| {
        let values: Vec<f64> = (0..n).map(|_| 10.0 + spread * normal_draw(&mut rng)).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        sample(n, mean, squares / (n - 1) as f64)
    };
    let (mut rejected, mut missed) = (0, 0);
    for _ in 0..EXPERIMENTS {
        let test = welch_test(arm(20, 3.0), arm(60, 1.0), 0.05, TWO_SIDED).expect("valid");
        rejected += u32::from(test.p_value.is_some_and(|p| p < 0.05));
        missed += u32::from(test.lift.low.is_some_and(|low| low > 0.0));
        missed += u32::from(test.lift.high.is_some_and(|high| high < 0.0));
    }
    assert_five_percent("Welch's test", rejected);
    assert_eq!(missed, rejected, "Fieller's interval and the test disagree");
}

#[test]
fn proportions_reject_five_percent_without_an_effect() {
    let mut rng = StdRng::seed_from_u64(20_260_102);
    let mut arm =
        |n: i64| Proportion { n, conversions: (0..n).map(|_| i64::from(rng.random_bool(0.3))).sum() };
    let (mut rejected, mut uncovered) = (0, 0);
    for _ in 0..EXPERIMENTS {
        let test = proportion_test(arm(1000), arm(1300), 0.05, TWO_SIDED).expect("valid");
        rejected += u32::from(test.p_value.is_some_and(|p| p < 0.05));
        uncovered +=
            u32::from(test.low.is_some_and(|low| low > 0.0) || test.high.is_some_and(|high| high < 0.0));
    }
    assert_five_percent("the z-test", rejected);
    assert_five_percent("Newcombe's interval", uncovered);
}
