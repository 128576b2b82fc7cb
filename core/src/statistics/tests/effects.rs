//! Guardrails, interactions, heterogeneity, factorial experiments, novelty and projection.

use super::super::contrast::Contrast;
use super::super::factorial::factorial_effects;
use super::super::heterogeneity::heterogeneity_test;
use super::super::interaction::{Scale, assignment_independence, interaction_test};
use super::super::noninferiority::{Guardrail, Margin, noninferiority_test};
use super::super::novelty::{Trend, Windows, novelty_test};
use super::super::projection::project;
use super::*;

fn numbers(value: &Value) -> Vec<f64> {
    let array = value.as_array().unwrap_or_else(|| panic!("{value} is an array"));
    array.iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn arm(value: &Value) -> Sample {
    let figures = numbers(value);
    sample(figures[0] as i64, figures[1], figures[2])
}

fn cells(given: &Value) -> Vec<Sample> {
    given["cells"].as_array().expect("cells").iter().map(arm).collect()
}

/// Effects are differences of means that may be nearly equal, in the data already.
#[track_caller]
fn assert_near(columns: &[(&str, Option<f64>)], case: &Value) {
    for (name, found) in columns {
        let (found, expected) = (found.expect(name), number(&case["expected"], name));
        assert_close(found, expected, 1e-9, case);
    }
}

fn contrast_columns(found: &Contrast) -> [(&'static str, Option<f64>); 7] {
    [
        ("estimate", found.estimate),
        ("standard_error", found.standard_error),
        ("statistic", found.statistic),
        ("degrees_of_freedom", found.degrees_of_freedom),
        ("p_value", found.p_value),
        ("low", found.low),
        ("high", found.high),
    ]
}

#[test]
fn guardrails_match_the_reference() {
    let mut seen = Vec::new();
    for case in vectors!("noninferiority.json") {
        let given = &case["given"];
        let margin = number(given, "margin");
        let margin =
            if given["relative"] == true { Margin::Relative(margin) } else { Margin::Absolute(margin) };
        let up = given["higher_is_better"].as_bool().expect("yes or no");
        let (control, treatment) = (arm(&given["control"]), arm(&given["treatment"]));
        let found =
            noninferiority_test(control, treatment, margin, number(given, "alpha"), up).expect("valid");
        assert_near(columns!(found, contrast, standard_error, statistic, p_value, bound), &case);
        assert_eq!(found.state.map(Guardrail::as_str), case["expected"]["state"].as_str(), "{case}");
        assert_eq!(found.state == Some(Guardrail::Pass), found.bound.is_some_and(|bound| bound > 0.0));
        seen.extend(found.state);
    }
    for state in [Guardrail::Pass, Guardrail::Fail, Guardrail::Breach, Guardrail::Inconclusive] {
        assert!(seen.contains(&state), "{state:?} does not occur");
    }
}

#[test]
fn guardrails_without_an_answer_say_why() {
    let full = sample(100, 10.0, 25.0);
    let test = |control, margin| noninferiority_test(control, full, margin, 0.05, true);
    let note = |control| test(control, Margin::Relative(0.05)).expect("valid");
    assert_eq!(note(sample(1, 10.0, 0.0)).note, Some(Note::TooFewUnits));
    assert_eq!(note(sample(100, -10.0, 25.0)).note, Some(Note::NonPositiveMean));
    assert_eq!(note(sample(100, -10.0, 25.0)).state, None);
    let still =
        noninferiority_test(sample(9, 10.0, 0.0), sample(9, 9.9, 0.0), Margin::Relative(0.05), 0.05, true);
    let still = still.expect("valid");
    assert_eq!((still.p_value, still.state, still.note), (None, None, Some(Note::ZeroVariance)));
    for margin in [0.0, 1.0, -0.1, f64::NAN] {
        assert_eq!(test(full, Margin::Relative(margin)).expect_err("invalid").argument, "margin_rel");
    }
    for margin in [0.0, f64::INFINITY, f64::NAN] {
        assert_eq!(test(full, Margin::Absolute(margin)).expect_err("invalid").argument, "margin_abs");
    }
}

#[test]
fn interactions_match_the_reference() {
    for case in vectors!("interaction.json") {
        let given = &case["given"];
        let scale: Scale = given["scale"].as_str().expect("text").parse().expect("known");
        assert_eq!(scale.as_str().parse(), Ok(scale));
        let cells: [Sample; 4] = cells(given).try_into().expect("four cells");
        let found = interaction_test(cells, scale, number(given, "alpha")).expect("valid");
        assert_near(&contrast_columns(&found), &case);
    }
}

#[test]
fn interactions_without_an_answer_say_why() {
    let full = sample(100, 10.0, 25.0);
    let note = |cell, scale| interaction_test([full, full, full, cell], scale, 0.05).expect("valid").note;
    assert_eq!(note(sample(1, 10.0, 25.0), Scale::Additive), Some(Note::TooFewUnits));
    assert_eq!(note(sample(9, 0.0, 25.0), Scale::Log), Some(Note::NonPositiveMean));
    assert_eq!(note(sample(9, 0.0, 25.0), Scale::Additive), None);
    let wrong = interaction_test([full, full, full, sample(9, f64::NAN, 1.0)], Scale::Additive, 0.05);
    assert_eq!(wrong.expect_err("invalid").argument, "mean");
    assert_eq!("ratio".parse::<Scale>().expect_err("unknown").argument, "scale");
    let independent = assignment_independence([2500, 2500, 7500, 7500]).expect("valid");
    assert_eq!(independent.p_value, Some(1.0));
    let dependent = assignment_independence([2500, 2500, 7000, 8000]).expect("valid");
    assert!(dependent.p_value.is_some_and(|p| p < 0.001));
    assert_eq!(assignment_independence([1, 2, -3, 4]).expect_err("invalid").argument, "n");
    assert_eq!(assignment_independence([i64::MAX, 2, 3, 4]).expect_err("invalid").argument, "n");
    assert_eq!(assignment_independence([i64::MAX - 5, 2, 3, 4]).expect_err("invalid").argument, "n");
}

#[test]
fn heterogeneity_matches_the_reference() {
    for case in vectors!("heterogeneity.json") {
        let (diffs, errors) = (numbers(&case["given"]["diff"]), numbers(&case["given"]["se"]));
        let found = heterogeneity_test(&diffs, &errors).expect("valid");
        assert_near(columns!(found, q, p_value, tau2, pooled, pooled_standard_error), &case);
        assert_close(
            *found.shrunken.last().expect("segments"),
            number(&case["expected"], "last"),
            1e-9,
            &case,
        );
        assert_eq!(found.degrees_of_freedom, Some(diffs.len() as i64 - 1));
    }
}

#[test]
fn heterogeneity_without_an_answer_says_why() {
    let note = |diffs: &[f64], errors: &[f64]| heterogeneity_test(diffs, errors).expect("valid").note;
    assert_eq!(note(&[], &[]), Some(Note::TooFewArms));
    assert_eq!(note(&[1.0], &[1.0]), Some(Note::TooFewArms));
    assert_eq!(note(&[1.0, 2.0], &[1.0, 0.0]), Some(Note::ZeroVariance));
    assert_eq!(note(&[1e308, -1e308], &[1e-3, 1e-3]), Some(Note::Overflow));
    let argument =
        |diffs: &[f64], errors: &[f64]| heterogeneity_test(diffs, errors).expect_err("invalid").argument;
    assert_eq!(argument(&[1.0], &[]), "se");
    assert_eq!(argument(&[1.0, 2.0], &[1.0, -1.0]), "se");
    assert_eq!(argument(&[f64::NAN, 2.0], &[1.0, 1.0]), "diff");
}

#[test]
fn factorial_effects_match_the_reference() {
    for case in vectors!("factorial.json") {
        let given = &case["given"];
        let (cells, factors) = (cells(given), count(given, "factors") as u32);
        let effects = factorial_effects(&cells, number(given, "alpha")).expect("valid");
        assert_eq!(effects.len(), cells.len() - 1);
        let found = effects.iter().find(|effect| effect.factors == factors).expect("every effect");
        assert_near(&contrast_columns(&found.contrast), &case);
        assert!(effects.iter().all(|effect| effect.p_adjusted >= effect.contrast.p_value));
        assert!(effects.is_sorted_by_key(|effect| std::cmp::Reverse(effect.factors.count_ones())));
    }
}

#[test]
fn two_factors_are_simple_effects_and_their_difference() {
    let cells = [sample(9, 1.0, 1.0), sample(9, 3.0, 1.0), sample(9, 2.0, 1.0), sample(9, 7.0, 1.0)];
    let effects = factorial_effects(&cells, 0.05).expect("valid");
    let found: Vec<_> = effects.iter().map(|effect| (effect.factors, effect.contrast.estimate)).collect();
    assert_eq!(found, [(3, Some(1.5)), (1, Some(3.5)), (2, Some(2.5))]);
    let few = [sample(9, 1.0, 1.0), sample(1, 3.0, 0.0)];
    let effects = factorial_effects(&few, 0.05).expect("valid");
    assert_eq!((effects[0].p_adjusted, effects[0].contrast.note), (None, Some(Note::TooFewUnits)));
    for size in [0, 1, 3, 2048] {
        let cells = vec![sample(9, 1.0, 1.0); size];
        assert_eq!(factorial_effects(&cells, 0.05).expect_err("invalid").argument, "n");
    }
}

#[test]
fn novelty_matches_the_reference() {
    let mut seen = Vec::new();
    for case in vectors!("novelty.json") {
        let given = &case["given"];
        let windows = |name: &str| {
            let figures = numbers(&given[name]);
            Windows {
                n: figures[0] as i64,
                early_mean: figures[1],
                early_variance: figures[2],
                late_mean: figures[3],
                late_variance: figures[4],
                covariance: figures[5],
            }
        };
        let found =
            novelty_test(windows("control"), windows("treatment"), number(given, "alpha")).expect("valid");
        assert_near(
            columns!(found.change, diff, standard_error, statistic, degrees_of_freedom, p_value),
            &case,
        );
        assert_near(columns!(found.change, low, high), &case);
        assert_near(columns!(found, early_effect, late_effect), &case);
        assert_eq!(found.trend.map(Trend::as_str), case["expected"]["trend"].as_str(), "{case}");
        seen.extend(found.trend);
    }
    for trend in [Trend::Novelty, Trend::Primacy, Trend::Stable] {
        assert!(seen.contains(&trend), "{trend:?} does not occur");
    }
}

#[test]
fn impossible_windows_are_named() {
    let full = Windows {
        n: 9,
        early_mean: 1.0,
        early_variance: 1.0,
        late_mean: 2.0,
        late_variance: 4.0,
        covariance: 1.0,
    };
    let wrong = [
        (Windows { n: -1, ..full }, "n2"),
        (Windows { early_mean: f64::NAN, ..full }, "early_mean2"),
        (Windows { late_variance: -1.0, ..full }, "late_var2"),
        (Windows { covariance: 2.1, ..full }, "cov2"),
    ];
    for (treatment, argument) in wrong {
        assert_eq!(novelty_test(full, treatment, 0.05).expect_err(argument).argument, argument);
    }
    let found = novelty_test(Windows { n: 1, ..full }, full, 0.05).expect("valid");
    assert_eq!((found.trend, found.change.note), (None, Some(Note::TooFewUnits)));
    let found = novelty_test(full, full, 0.05).expect("valid");
    assert_eq!((found.trend, found.change.note), (Some(Trend::Stable), None));
}

#[test]
fn projections_carry_their_interval() {
    let found = project(0.5, -0.25, 1.25, 1000.0, 365.0).expect("valid");
    let figures = (found.annual, found.annual_low, found.annual_high, found.note);
    assert_eq!(figures, (Some(182_500.0), Some(-91_250.0), Some(456_250.0), None));
    let open = project(0.5, -0.25, f64::INFINITY, 10.0, 10.0).expect("valid");
    assert_eq!((open.annual_low, open.annual_high), (Some(-25.0), Some(f64::INFINITY)));
    let nothing = project(0.5, f64::NEG_INFINITY, 1.0, 0.0, 365.0).expect("valid");
    assert_eq!((nothing.annual, nothing.annual_low), (Some(0.0), Some(0.0)));
    let huge = project(1e300, 0.0, 1e301, 1e6, 365.0).expect("valid");
    assert_eq!((huge.annual, huge.note), (None, Some(Note::Overflow)));
    let argument =
        |diff, low, high, units, days| project(diff, low, high, units, days).expect_err("invalid").argument;
    assert_eq!(argument(f64::NAN, 0.0, 1.0, 1.0, 1.0), "diff");
    assert_eq!(argument(0.5, 0.6, 1.0, 1.0, 1.0), "ci_low");
    assert_eq!(argument(0.5, 0.0, f64::NAN, 1.0, 1.0), "ci_high");
    assert_eq!(argument(0.5, 0.0, 1.0, -1.0, 1.0), "units_per_day");
    assert_eq!(argument(0.5, 0.0, 1.0, 1.0, f64::INFINITY), "days");
}

proptest! {
    #[test]
    fn effects_never_panic(
        figures in prop::collection::vec((any_count(), any_double(), any_double()), 8),
        margin in any_double(),
        alpha in prop_oneof![any_double(), 0.0..1.0_f64],
    ) {
        let cells: Vec<Sample> =
            figures.iter().map(|&(n, mean, variance)| sample(n.saturating_abs(), mean, variance.abs())).collect();
        let quarter = [cells[0], cells[1], cells[2], cells[3]];
        for scale in [Scale::Additive, Scale::Log] {
            if let Ok(found) = interaction_test(quarter, scale, alpha) {
                prop_assert!(found.p_value.is_some() || found.note.is_some());
                for (name, figure) in contrast_columns(&found) {
                    prop_assert!(!figure.is_some_and(f64::is_nan), "{name} of {found:?}");
                }
            }
        }
        if let Ok(found) = factorial_effects(&cells, alpha) {
            for effect in found {
                prop_assert!(effect.p_adjusted.is_some() || effect.contrast.note.is_some());
            }
        }
        for margin in [Margin::Relative(margin), Margin::Relative(margin.abs().fract()), Margin::Absolute(margin.abs())] {
            if let Ok(found) = noninferiority_test(cells[0], cells[1], margin, alpha, margin == Margin::Absolute(1.0)) {
                prop_assert!(found.state.is_some() || found.note.is_some());
            }
        }
        let windows = |(n, mean, variance): (i64, f64, f64), late: f64| Windows {
            n: n.saturating_abs(),
            early_mean: mean,
            early_variance: variance.abs(),
            late_mean: late,
            late_variance: variance.abs(),
            covariance: 0.0,
        };
        if let Ok(found) = novelty_test(windows(figures[0], margin), windows(figures[1], alpha), 0.05) {
            prop_assert!(found.change.p_value.is_some() || found.change.note.is_some());
        }
        let diffs: Vec<f64> = figures.iter().map(|figure| figure.1).collect();
        let errors: Vec<f64> = figures.iter().map(|figure| figure.2.abs()).collect();
        if let Ok(found) = heterogeneity_test(&diffs, &errors) {
            prop_assert!(found.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{found:?}");
            prop_assert!(found.shrunken.iter().all(|effect| effect.is_finite()), "{found:?}");
        }
        let _ = project(diffs[0], diffs[1], diffs[2], errors[3], errors[4]);
    }
}
