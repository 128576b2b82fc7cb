//! Holds the engine to other libraries of experiment statistics, tea-tasting and gbstats, on the same rows: to what they
//! find where they mean the same, and to what explains the difference where they do not (see `generate_comparisons.py`
//! beside the vectors, and docs/statistics.md for the reasons).

use super::super::bayes::normal_posterior;
use super::super::chi_square::chi_square_test;
use super::super::covariate::{
    CovariateSample, RatioCovariateSample, cuped_ratio_test, cuped_test, pooled_theta,
};
use super::super::fisher::fisher_test;
use super::super::lift::{LiftMethod, lift_interval};
use super::super::multiplicity::{Correction, adjust};
use super::super::power::{Design, detectable_effect, power, sample_size_difference};
use super::super::proportion::{DifferenceMethod, proportion_test_by};
use super::super::rank_sum::rank_sum_test;
use super::super::ratio::{RatioSample, ratio_test};
use super::super::sample_ratio::sample_ratio_test;
use super::super::sequential::sequential_test;
use super::*;

type Columns = Vec<(String, Option<f64>)>;

const ALPHA: f64 = 0.05;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn counts(value: &Value) -> Vec<i64> {
    value.as_array().expect("an array").iter().map(|value| value.as_i64().expect("a count")).collect()
}

fn named(columns: &[(&str, Option<f64>)]) -> Columns {
    columns.iter().map(|(name, found)| ((*name).to_owned(), *found)).collect()
}

fn pair<T>(given: &Value, arm: impl Fn(&Value) -> T) -> (T, T) {
    (arm(&given["control"]), arm(&given["treatment"]))
}

fn mean_sample(arm: &Value) -> Sample {
    let figures = numbers(arm);
    sample(figures[0] as i64, figures[1], figures[2])
}

fn covariate_sample(arm: &Value) -> CovariateSample {
    let figures = numbers(arm);
    CovariateSample {
        n: figures[0] as i64,
        mean: figures[1],
        variance: figures[2],
        covariate_mean: figures[3],
        covariate_variance: figures[4],
        covariance: figures[5],
    }
}

fn ratio_sample(arm: &Value) -> RatioSample {
    let figures = numbers(arm);
    RatioSample {
        n: figures[0] as i64,
        numerator_mean: figures[1],
        numerator_variance: figures[2],
        denominator_mean: figures[3],
        denominator_variance: figures[4],
        covariance: figures[5],
    }
}

fn ratio_covariate_sample(arm: &Value) -> RatioCovariateSample {
    let four = |value: &Value| <[f64; 4]>::try_from(numbers(value)).expect("four figures");
    let rows: Vec<[f64; 4]> = arm["covariances"].as_array().expect("rows").iter().map(four).collect();
    RatioCovariateSample {
        n: count(arm, "n"),
        means: four(&arm["means"]),
        covariances: rows.try_into().expect("four rows"),
    }
}

/// Both arms' conversions.
fn proportions(given: &Value) -> (Proportion, Proportion) {
    let arm = |n, x| Proportion { n: count(given, n), conversions: count(given, x) };
    (arm("n1", "x1"), arm("n2", "x2"))
}

fn lift_bounds(given: &Value, method: LiftMethod) -> Columns {
    let (control, treatment) = pair(given, mean_sample);
    let found = lift_interval(control, treatment, ALPHA, method).expect("valid");
    named(&[("lift", found.lift), ("lift_low", found.low), ("lift_high", found.high)])
}

fn proportion_columns(given: &Value, method: DifferenceMethod) -> Columns {
    let (control, treatment) = proportions(given);
    let found = proportion_test_by(method, control, treatment, ALPHA, TWO_SIDED).expect("valid");
    let mut columns =
        named(columns!(found, control_rate, treatment_rate, diff, statistic, p_value, low, high));
    columns.extend(named(&lift_columns(&found.lift)));
    columns
}

/// What the engine finds for a case, by the names of its columns.
fn columns_of(case: &Value) -> Columns {
    let given = &case["given"];
    let theta = figure(given, "theta");
    match case["method"].as_str().expect("a method") {
        "welch" => {
            let (control, treatment) = pair(given, mean_sample);
            named(&welch_columns(&welch_test(control, treatment, ALPHA, TWO_SIDED).expect("valid")))
        }
        "lift_log" => lift_bounds(given, LiftMethod::Log),
        "lift_delta" => lift_bounds(given, LiftMethod::Delta),
        "proportion" => proportion_columns(given, DifferenceMethod::Newcombe),
        "proportion_wald" => proportion_columns(given, DifferenceMethod::Wald),
        "proportion_as_mean" => {
            let (control, treatment) = proportions(given);
            let arm = |arm: Proportion| {
                let rate = arm.conversions as f64 / arm.n as f64;
                sample(arm.n, rate, rate * (1.0 - rate))
            };
            named(&welch_columns(&welch_test(arm(control), arm(treatment), ALPHA, TWO_SIDED).expect("valid")))
        }
        method @ ("chi_square" | "chi_square_yates") => {
            let (control, treatment) = proportions(given);
            let (users, converted) = ([control.n, treatment.n], [control.conversions, treatment.conversions]);
            let found = chi_square_test(&users, &converted, method == "chi_square_yates").expect("valid");
            named(columns!(found, p_value))
        }
        "fisher" => {
            let (control, treatment) = proportions(given);
            let found = fisher_test(control, treatment, TWO_SIDED).expect("valid");
            named(columns!(found, p_value))
        }
        "ratio" => {
            let (control, treatment) = pair(given, ratio_sample);
            let found = ratio_test(control, treatment, ALPHA, TWO_SIDED).expect("valid");
            let mut columns = named(&welch_columns(&found.test));
            columns.extend(named(columns!(found, control_ratio, treatment_ratio)));
            columns
        }
        method @ ("cuped" | "cuped_ratio") => {
            let found = if method == "cuped" {
                let (control, treatment) = pair(given, covariate_sample);
                cuped_test(control, treatment, ALPHA, TWO_SIDED, theta)
            } else {
                let (control, treatment) = pair(given, ratio_covariate_sample);
                cuped_ratio_test(control, treatment, ALPHA, TWO_SIDED, theta)
            };
            let found = found.expect("valid");
            let mut columns = named(&welch_columns(&found.test));
            columns.extend(named(columns!(found, theta, adjusted_control_mean, adjusted_treatment_mean)));
            columns
        }
        "cuped_theta" => {
            let (control, treatment) = pair(given, covariate_sample);
            let arms = [control, treatment].map(|arm| (arm.n, arm.covariate_variance, arm.covariance));
            vec![("theta".to_owned(), pooled_theta(&arms).expect("valid"))]
        }
        "sample_ratio" => {
            let (observed, weights) = (counts(&given["observed"]), numbers(&given["weights"]));
            let found = sample_ratio_test(&observed, &weights, 0.001).expect("valid");
            named(columns!(found, p_value))
        }
        "multiplicity" => {
            let p_values: Vec<_> = numbers(&given["p"]).into_iter().map(Some).collect();
            let correction: Correction = given["correction"].as_str().expect("text").parse().expect("known");
            let adjusted = adjust(&p_values, correction).expect("valid");
            adjusted.into_iter().enumerate().map(|(place, p)| (place.to_string(), p)).collect()
        }
        "power" => {
            let sd = number(given, "sd");
            let arm = |name| (count(given, name), sd);
            let (effect, alpha) = (number(given, "effect"), number(given, "alpha"));
            let found = power(arm("n1"), arm("n2"), effect, alpha, TWO_SIDED).expect("valid");
            named(columns!(found, power))
        }
        "power_solved" => {
            let (sd, alpha, power) = (number(given, "sd"), number(given, "alpha"), number(given, "power"));
            let arm = |name| (count(given, name), sd);
            let found = detectable_effect(arm("n1"), arm("n2"), number(given, "baseline"), alpha, power)
                .expect("valid");
            let mut columns = named(columns!(found, mde_abs));
            let design = Design { alpha, power, ratio: number(given, "ratio"), ..Design::default() };
            let size = sample_size_difference(sd, sd, number(given, "effect"), design).expect("valid");
            columns.push(("n_total".to_owned(), size.n_total.map(|n| n as f64)));
            columns
        }
        "rank_sum" => {
            let found =
                rank_sum_test(&numbers(&given["control"]), &numbers(&given["treatment"])).expect("valid");
            named(columns!(found, p_value, prob_superiority))
        }
        "sequential" => {
            let (diff, error, n) = (number(given, "diff"), number(given, "se"), count(given, "n"));
            let found =
                sequential_test(diff, error, n, ALPHA, number(given, "tuning_n"), TWO_SIDED).expect("valid");
            named(columns!(found, low, high, p_value))
        }
        "bayes" => {
            let prior = Prior { mean: number(given, "prior_mean"), sd: figure(given, "prior_sd") };
            let found =
                normal_posterior(number(given, "diff"), number(given, "se"), prior, ALPHA).expect("valid");
            named(columns!(found, mean, sd, low, high, probability_better, control_loss, treatment_loss))
        }
        method => panic!("{method} is not compared"),
    }
}

fn column(columns: &Columns, name: &str) -> Option<f64> {
    columns.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no column {name}")).1
}

/// What the library means by a column that differs, from the engine's own functions; `None` where it has none for it.
fn explained(reason: &str, name: &str, found: &Columns, case: &Value) -> Option<f64> {
    let given = &case["given"];
    let of = |name| column(found, name).expect("a figure");
    let lift_of = |method, t: f64| {
        let bounds = lift_bounds(given, method);
        let (lift, bound) = (column(&bounds, "lift")?, column(&bounds, name)?);
        let wider = t / normal_critical(ALPHA);
        Some(match method {
            LiftMethod::Log => (1.0 + lift) * ((1.0 + bound) / (1.0 + lift)).powf(wider) - 1.0,
            _ => lift + (bound - lift) * wider,
        })
    };
    match reason {
        // The delta method at Welch's t critical value.
        "delta_lift" | "t_for_z" if matches!(case["method"].as_str(), Some("welch" | "lift_delta")) => {
            let (control, treatment) = pair(given, mean_sample);
            let df = welch_test(control, treatment, ALPHA, TWO_SIDED).expect("valid").degrees_of_freedom?;
            lift_of(LiftMethod::Delta, student_critical(ALPHA, df))
        }
        // The log method at the t critical value of its own degrees of freedom.
        "t_for_z" | "log_lift" if matches!(case["method"].as_str(), Some("welch" | "lift_log")) => {
            let (control, treatment) = pair(given, mean_sample);
            let relative = |arm: Sample| arm.variance / arm.n as f64 / arm.mean / arm.mean;
            let (first, second) = (relative(control), relative(treatment));
            let share = |own: f64, n: i64| own * own / (n - 1) as f64;
            let df = (first + second).powi(2) / (share(first, control.n) + share(second, treatment.n));
            lift_of(LiftMethod::Log, student_critical(ALPHA, df))
        }
        // The difference is divided by the control's adjusted mean; of a ratio adjusted to that of all users together, where
        // the engine takes the mean of the arms' ratios by their users.
        "adjusted_base" if case["method"] == "cuped_ratio" => {
            let (control, treatment) = pair(given, ratio_covariate_sample);
            let total = |place: usize| {
                control.n as f64 * control.means[place] + treatment.n as f64 * treatment.means[place]
            };
            let ratio = |over: usize| control.means[over] / control.means[over + 1];
            let base = ratio(0) - number(given, "theta") * (ratio(2) - total(2) / total(3));
            Some(of("diff") / base.abs())
        }
        // As the control's adjusted mean is what the difference is divided by.
        "adjusted_base" => Some(of("diff") / of("adjusted_control_mean").abs()),
        "not_newcombe" => column(&proportion_columns(given, DifferenceMethod::Wald), name),
        // The interval of the test's own error, which assumes equal rates.
        "pooled_interval" => {
            let pooled = of("diff") / of("statistic");
            let half = normal_critical(ALPHA) * pooled.abs();
            Some(of("diff") + if name == "low" { -half } else { half })
        }
        "continuity_correction" if case["method"] == "proportion" => {
            let (control, treatment) = proportions(given);
            let correction = 0.5 * (1.0 / control.n as f64 + 1.0 / treatment.n as f64);
            let diff = of("diff");
            Some(normal_two_sided(of("statistic") * (1.0 - correction / diff.abs()).max(0.0)))
        }
        "continuity_correction" => {
            let (observed, weights) = (counts(&given["observed"]), numbers(&given["weights"]));
            let n = (observed[0] + observed[1]) as f64;
            let share = weights[1] / (weights[0] + weights[1]);
            let off = ((observed[1] as f64 - n * share).abs() - 0.5).max(0.0);
            Some(normal_two_sided(off / (n * share * (1.0 - share)).sqrt()))
        }
        _ => None,
    }
}

fn is_close(found: Option<f64>, other: Option<f64>, tolerance: f64) -> bool {
    found.zip(other).is_some_and(|(a, b)| a == b || (a - b).abs() <= tolerance * b.abs())
}

/// A bound near 0 is the difference of an estimate and half a width: it holds as many digits as they do.
fn scale_of(name: &str, found: &Columns) -> f64 {
    let estimate = match name {
        "low" | "high" if found.iter().any(|(known, _)| known == "diff") => "diff",
        "low" | "high" => "mean",
        "lift_low" | "lift_high" => "lift",
        _ => return 0.0,
    };
    found.iter().find(|(known, _)| known == estimate).and_then(|(_, figure)| *figure).map_or(0.0, f64::abs)
}

#[track_caller]
fn assert_agreement(case: &Value) -> Vec<String> {
    let found = columns_of(case);
    for (name, theirs) in case["agrees"].as_object().expect("columns") {
        let (own, theirs) = (column(&found, name).expect(name), theirs.as_f64().expect("a number"));
        let close = (own - theirs).abs() <= 1e-9 * theirs.abs().max(scale_of(name, &found));
        assert!(own == theirs || close, "{name} {own:e} is not {theirs:e} in {case}");
    }
    let differs = case["differs"].as_object().expect("reasons");
    for (reason, columns) in differs {
        for (name, theirs) in columns.as_object().expect("columns") {
            let theirs = theirs.as_f64();
            // A difference that is none must not be told as one. Some p-values are 1 by any correction, and some sizes
            // the same after rounding.
            let own = column(&found, name);
            assert!(
                ["sidak", "near"].contains(&reason.as_str())
                    || own == Some(1.0)
                    || !is_close(own, theirs, 1e-12),
                "{name} of {case}"
            );
            if let Some(explained) = explained(reason, name, &found, case) {
                let close = is_close(Some(explained), theirs, 1e-9)
                    || theirs
                        .is_some_and(|theirs| (explained - theirs).abs() <= 1e-9 * scale_of(name, &found));
                assert!(close, "{reason} does not explain {name} of {case}: {explained:e}");
            }
        }
    }
    differs.keys().cloned().collect()
}

/// Reasons without a formula: what is claimed of them is checked here.
#[track_caller]
fn assert_difference(reason: &str, case: &Value) {
    let found = columns_of(case);
    let theirs = |name: &str| case["differs"][reason][name].as_f64();
    let own = |name: &str| column(&found, name);
    match reason {
        "one_minus_cdf" => {
            let (own, theirs) = (own("p_value").expect("p"), theirs("p_value").expect("p"));
            assert!(own > 0.0 && own < 1e-15 && (theirs == 0.0 || theirs < 1e-14), "{own:e} {theirs:e}");
        }
        "zero_weight_counted" => {
            let (own, theirs) = (own("p_value").expect("p"), theirs("p_value").expect("p"));
            assert!(own < theirs, "{own:e} {theirs:e}");
        }
        "near" => {
            assert!(is_close(own("mde_abs"), theirs("mde_abs"), 1e-5), "{case}");
            let (own, theirs) = (own("n_total").expect("n"), theirs("n_total").expect("n"));
            // Theirs are rounded up once, ours for each arm.
            assert!((own - theirs).abs() <= 5.0 + 1e-5 * theirs, "{own} {theirs}");
        }
        "noncentral_t" => {
            let (own, theirs) = (own("power").expect("power"), theirs("power").expect("power"));
            assert!((own - theirs).abs() < 0.01, "{own} {theirs}");
        }
        _ => {}
    }
}

#[test]
fn other_libraries_agree_or_differ_for_a_reason() {
    let mut compared = std::collections::BTreeMap::<(String, String), usize>::new();
    let mut reasons = std::collections::BTreeSet::new();
    for case in vectors!("comparisons.json") {
        let text = |name: &str| case[name].as_str().expect("text").to_owned();
        *compared.entry((text("method"), text("library"))).or_default() += 1;
        for reason in assert_agreement(&case) {
            assert_difference(&reason, &case);
            reasons.insert(reason);
        }
    }
    for (key, cases) in compared {
        assert!(cases >= 20, "{key:?} has {cases} cases");
    }
    // docs/statistics.md tells them one by one.
    let told = [
        "adjusted_base",
        "continuity_correction",
        "delta_lift",
        "exact_binomial",
        "log_lift",
        "near",
        "noncentral_t",
        "not_newcombe",
        "not_pooled",
        "one_minus_cdf",
        "pooled_interval",
        "sidak",
        "t_for_z",
        "theta_about_the_common_mean",
        "zero_weight_counted",
    ];
    assert!(reasons.iter().eq(told), "{reasons:?}");
}

/// Aggregates of the data set that tests/tests/real_data.rs reads where it is there.
#[test]
fn other_libraries_agree_on_a_real_experiment() {
    for case in vectors!("comparisons_cookie_cats.json") {
        // Ranks need the rows.
        if ["rank_sum_of_rows", "quantile_of_rows"].iter().any(|method| case["method"] == *method) {
            continue;
        }
        for reason in assert_agreement(&case) {
            assert_difference(&reason, &case);
        }
    }
}
