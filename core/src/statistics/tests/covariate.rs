use super::super::covariate::{
    CovariateSample, CupedTest, RatioCovariateSample, cuped_ratio_test, cuped_test, pooled_theta,
    stratified_cuped_test,
};
use super::super::ratio::{RatioSample, ratio_test};
use super::super::stratification::post_stratified_test;
use super::*;

fn numbers(case: &Value, name: &str) -> Vec<f64> {
    let array = case[name].as_array().unwrap_or_else(|| panic!("{name} of {case} is an array"));
    array.iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn covariate_sample(figures: &[f64]) -> CovariateSample {
    CovariateSample {
        n: figures[0] as i64,
        mean: figures[1],
        variance: figures[2],
        covariate_mean: figures[3],
        covariate_variance: figures[4],
        covariance: figures[5],
    }
}

fn ratio_sample(figures: &[f64]) -> RatioSample {
    RatioSample {
        n: figures[0] as i64,
        numerator_mean: figures[1],
        numerator_variance: figures[2],
        denominator_mean: figures[3],
        denominator_variance: figures[4],
        covariance: figures[5],
    }
}

fn ratio_covariate_sample(figures: &[f64]) -> RatioCovariateSample {
    let row = |from: usize| [figures[from], figures[from + 1], figures[from + 2], figures[from + 3]];
    RatioCovariateSample {
        n: figures[0] as i64,
        means: row(1),
        covariances: [row(5), row(9), row(13), row(17)],
    }
}

/// Compared to 1e-9: the variance of what a covariate leaves is the difference of larger numbers.
#[track_caller]
fn assert_near(columns: &[(&str, Option<f64>)], expected: &Value, case: &Value) {
    for (name, found) in columns {
        match (*found, figure(expected, name)) {
            (Some(found), Some(expected)) => assert_close(found, expected, 1e-9, case),
            (found, expected) => assert_eq!(found, expected, "{name} of {case}"),
        }
    }
}

#[test]
fn ratios_match_the_reference() {
    for case in vectors!("ratio.json") {
        let given = &case["given"];
        let (control, treatment) =
            (ratio_sample(&numbers(given, "control")), ratio_sample(&numbers(given, "treatment")));
        let found =
            ratio_test(control, treatment, number(given, "alpha"), alternative(given)).expect("valid");
        let expected = &case["expected"];
        assert_near(&welch_columns(&found.test), expected, &case);
        assert_near(columns!(found, control_ratio, treatment_ratio), expected, &case);
        assert_eq!(found.test.note.map(Note::as_str), expected["note"].as_str(), "{case}");
    }
}

#[track_caller]
fn assert_cuped(found: &CupedTest, case: &Value) {
    let expected = &case["expected"];
    assert_near(&welch_columns(&found.test), expected, case);
    assert_near(columns!(found, theta, rho), expected, case);
    assert_near(columns!(found, adjusted_control_mean, adjusted_treatment_mean), expected, case);
    let raw = [("raw_p_value", found.raw.p_value), ("balance", found.covariate_balance_p_value)];
    assert_near(&raw, expected, case);
    let (reduction, expected_reduction) =
        (found.variance_reduction.expect("a reduction"), number(expected, "variance_reduction"));
    let difference = (reduction - expected_reduction).abs();
    assert!(difference <= 1e-11 * expected_reduction.abs().max(1.0), "{reduction} in {case}");
    assert_eq!(found.note.map(Note::as_str), expected["note"].as_str(), "{case}");
}

#[test]
fn cuped_matches_the_reference() {
    for case in vectors!("cuped.json") {
        let given = &case["given"];
        let (control, treatment) =
            (covariate_sample(&numbers(given, "control")), covariate_sample(&numbers(given, "treatment")));
        let theta = figure(given, "theta");
        let found = cuped_test(control, treatment, number(given, "alpha"), alternative(given), theta);
        assert_cuped(&found.expect("valid"), &case);
    }
}

#[test]
fn cuped_ratios_match_the_reference() {
    for case in vectors!("cuped_ratio.json") {
        let given = &case["given"];
        let control = ratio_covariate_sample(&numbers(given, "control"));
        let treatment = ratio_covariate_sample(&numbers(given, "treatment"));
        let found = cuped_ratio_test(control, treatment, number(given, "alpha"), TWO_SIDED, None);
        assert_cuped(&found.expect("valid"), &case);
    }
}

#[test]
fn stratified_cuped_matches_the_reference() {
    for case in vectors!("stratified_cuped.json") {
        let given = &case["given"];
        let arm = |name: &str| -> Vec<CovariateSample> {
            let strata = given[name].as_array().expect("strata");
            let figures = |stratum: &Value| -> Vec<f64> {
                stratum
                    .as_array()
                    .expect("figures")
                    .iter()
                    .map(|value| value.as_f64().expect("a number"))
                    .collect()
            };
            strata.iter().map(|stratum| covariate_sample(&figures(stratum))).collect()
        };
        let (control, treatment) = (arm("control"), arm("treatment"));
        let found = stratified_cuped_test(&control, &treatment, 0.05, TWO_SIDED).expect("valid");
        assert_near(&welch_columns(&found), &case["expected"], &case);
        if control.iter().chain(&treatment).all(|arm| arm.covariate_variance == 0.0) {
            let outcome = |arm: &CovariateSample| sample(arm.n, arm.mean, arm.variance);
            let plain = |arms: &[CovariateSample]| arms.iter().map(outcome).collect::<Vec<_>>();
            let found = post_stratified_test(&plain(&control), &plain(&treatment), 0.05, TWO_SIDED);
            assert_near(&welch_columns(&found.expect("valid")), &case["expected"], &case);
        }
    }
}

const CONTROL: CovariateSample = CovariateSample {
    n: 100,
    mean: 10.0,
    variance: 25.0,
    covariate_mean: 5.0,
    covariate_variance: 16.0,
    covariance: 14.0,
};

#[test]
fn theta_is_pooled_over_all_arms_that_say_something() {
    assert_eq!(pooled_theta(&[(101, 2.0, 1.0), (51, 1.0, 2.0), (1, 9.0, 9.0), (0, 0.0, 0.0)]), Ok(Some(0.8)));
    assert_eq!(pooled_theta(&[]), Ok(None));
    assert_eq!(pooled_theta(&[(100, 0.0, 0.0)]), Ok(None));
    assert_eq!(pooled_theta(&[(-1, 1.0, 1.0)]).expect_err("invalid").argument, "n");
    assert_eq!(pooled_theta(&[(1, -1.0, 1.0)]).expect_err("invalid").argument, "vx");
    assert_eq!(pooled_theta(&[(1, 1.0, f64::NAN)]).expect_err("invalid").argument, "cxy");
}

#[test]
fn a_covariate_that_says_nothing_leaves_the_test_as_it_is() {
    let bare = CovariateSample { covariate_variance: 0.0, covariance: 0.0, ..CONTROL };
    let better = CovariateSample { mean: 11.0, ..bare };
    let found = cuped_test(bare, better, 0.05, TWO_SIDED, None).expect("valid");
    assert_eq!((found.theta, found.rho, found.note), (Some(0.0), None, Some(Note::NoCovariate)));
    assert_eq!((found.test.p_value, found.test.low), (found.raw.p_value, found.raw.low));
    let (own, raw) = (found.test.lift.low.expect("a bound"), found.raw.lift.low.expect("a bound"));
    assert!((own - raw).abs() < 1e-14);
}

#[test]
fn adjusted_data_that_cannot_answer_says_why() {
    let nobody = CovariateSample { n: 0, ..CONTROL };
    let found = cuped_test(nobody, CONTROL, 0.05, TWO_SIDED, None).expect("valid");
    assert_eq!((found.test.diff, found.note), (None, Some(Note::TooFewUnits)));
    let one = CovariateSample { n: 1, ..CONTROL };
    let found = cuped_test(one, CONTROL, 0.05, TWO_SIDED, None).expect("valid");
    assert_eq!((found.test.p_value, found.note), (None, Some(Note::TooFewUnits)));
    let found = stratified_cuped_test(&[CONTROL, one], &[CONTROL, CONTROL], 0.05, TWO_SIDED).expect("valid");
    assert_eq!((found.p_value, found.note), (None, Some(Note::TooFewUnits)));
    let found = stratified_cuped_test(&[], &[], 0.05, TWO_SIDED).expect("valid");
    assert_eq!((found.p_value, found.note), (None, Some(Note::TooFewUnits)));
}

#[test]
fn thin_strata_are_merged_exactly() {
    let test = |control: &[Sample], treatment: &[Sample]| {
        post_stratified_test(control, treatment, 0.05, TWO_SIDED).expect("valid")
    };
    // The thin stratum's users (one of value 7, one of 9) go to the smallest other one.
    let found =
        test(&[sample(50, 4.0, 2.0), sample(1, 7.0, 0.0)], &[sample(60, 5.0, 3.0), sample(1, 9.0, 0.0)]);
    let whole = welch_test(
        sample(51, 207.0 / 51.0, (98.0 + 9.0 * 50.0 / 51.0) / 50.0),
        sample(61, 309.0 / 61.0, (177.0 + 16.0 * 60.0 / 61.0) / 60.0),
        0.05,
        TWO_SIDED,
    );
    let whole = whole.expect("valid");
    assert_eq!(found.note, Some(Note::StrataMerged));
    for ((name, found), (_, expected)) in welch_columns(&found).into_iter().zip(welch_columns(&whole)) {
        assert_close(found.expect(name), expected.expect(name), 1e-12, &Value::Null);
    }
    // Two thin ones make one that is not; an empty one is none.
    let found = test(
        &[sample(50, 4.0, 2.0), sample(1, 7.0, 0.0), sample(9, 6.0, 1.0), sample(0, 0.0, 0.0)],
        &[sample(60, 5.0, 3.0), sample(9, 9.0, 1.0), sample(1, 9.0, 0.0), sample(0, 0.0, 0.0)],
    );
    assert!(found.p_value.is_some() && found.note == Some(Note::StrataMerged));
    assert_eq!(test(&[sample(1, 7.0, 0.0)], &[sample(1, 9.0, 0.0)]).note, Some(Note::TooFewUnits));
}

#[test]
fn ratios_without_an_answer_say_why() {
    let good = ratio_sample(&[100.0, 10.0, 25.0, 5.0, 16.0, 14.0]);
    let test = |control| ratio_test(control, good, 0.05, TWO_SIDED).expect("valid");
    let found = test(RatioSample { n: 0, ..good });
    assert_eq!((found.control_ratio, found.test.note), (None, Some(Note::TooFewUnits)));
    assert_eq!(found.treatment_ratio, Some(2.0));
    let found = test(RatioSample { denominator_mean: 0.0, ..good });
    assert_eq!((found.test.p_value, found.test.note), (None, Some(Note::DenominatorNearZero)));
    let found = test(RatioSample { n: 1, ..good });
    assert_eq!((found.test.p_value, found.test.note), (None, Some(Note::TooFewUnits)));
    // A constant ratio has no noise, whatever rounding makes of it.
    let constant = ratio_sample(&[100.0, 0.3, 0.09, 0.1, 0.01, 0.03]);
    let found = ratio_test(constant, constant, 0.05, TWO_SIDED).expect("valid");
    assert!(found.test.standard_error == Some(0.0) && found.test.p_value == Some(1.0));
}

#[test]
fn impossible_covariates_are_named() {
    let wrong = [
        (CovariateSample { n: -1, ..CONTROL }, "n1"),
        (CovariateSample { mean: f64::NAN, ..CONTROL }, "my1"),
        (CovariateSample { variance: -1.0, ..CONTROL }, "vy1"),
        (CovariateSample { covariate_mean: f64::INFINITY, ..CONTROL }, "mx1"),
        (CovariateSample { covariate_variance: -1.0, ..CONTROL }, "vx1"),
        (CovariateSample { covariance: 20.1, ..CONTROL }, "cxy1"),
        (CovariateSample { covariance: f64::NAN, ..CONTROL }, "cxy1"),
    ];
    for (control, argument) in wrong {
        let found = cuped_test(control, CONTROL, 0.05, TWO_SIDED, None);
        assert_eq!(found.expect_err(argument).argument, argument);
        let found = stratified_cuped_test(&[control], &[CONTROL], 0.05, TWO_SIDED);
        assert_eq!(found.expect_err(argument).argument, argument);
    }
    let found = cuped_test(CONTROL, CONTROL, 0.05, TWO_SIDED, Some(f64::NAN));
    assert_eq!(found.expect_err("theta").argument, "theta");
    let found = stratified_cuped_test(&[CONTROL], &[], 0.05, TWO_SIDED);
    assert_eq!(found.expect_err("lengths").argument, "n2");
    let good = ratio_sample(&[100.0, 10.0, 25.0, 5.0, 16.0, 14.0]);
    let found = ratio_test(good, RatioSample { covariance: 21.0, ..good }, 0.05, TWO_SIDED);
    assert_eq!(found.expect_err("covariance").argument, "cyz2");
}

/// The variance falls by ρ², the level stays, and the lift's interval covers a lift that is far from 0, where leaving out the
/// covariance with the control's mean would not.
#[test]
fn cuped_keeps_its_promises() {
    const RHO: f64 = 0.7;
    const LIFT: f64 = 0.5;
    let mut rng = StdRng::seed_from_u64(20_260_103);
    let mut arm = |n: i64, effect: f64| {
        let pairs: Vec<(f64, f64)> = (0..n)
            .map(|_| {
                let (x, noise) = (normal_draw(&mut rng), normal_draw(&mut rng));
                (1.0 + effect + 0.8 * (RHO * x + (1.0 - RHO * RHO).sqrt() * noise), x)
            })
            .collect();
        let mean = |figure: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(figure).sum::<f64>() / n as f64;
        let (my, mx) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
        let unbiased = n as f64 / (n - 1) as f64;
        CovariateSample {
            n,
            mean: my,
            variance: unbiased * mean(&|pair| (pair.0 - my).powi(2)),
            covariate_mean: mx,
            covariate_variance: unbiased * mean(&|pair| (pair.1 - mx).powi(2)),
            covariance: unbiased * mean(&|pair| (pair.0 - my) * (pair.1 - mx)),
        }
    };
    let (mut rejected, mut uncovered, mut reduction) = (0, 0, 0.0);
    for _ in 0..EXPERIMENTS / 2 {
        let test = cuped_test(arm(200, 0.0), arm(300, 0.0), 0.05, TWO_SIDED, None).expect("valid");
        rejected += 2 * u32::from(test.test.p_value.is_some_and(|p| p < 0.05));
        reduction += test.variance_reduction.expect("a reduction");
        let test = cuped_test(arm(200, 0.0), arm(300, LIFT), 0.05, TWO_SIDED, None).expect("valid").test;
        let missed =
            test.lift.low.is_some_and(|low| low > LIFT) || test.lift.high.is_some_and(|high| high < LIFT);
        uncovered += 2 * u32::from(missed);
    }
    let rate = |count: u32| f64::from(count) / f64::from(EXPERIMENTS);
    assert!((rate(rejected) - 0.05).abs() < 0.0072, "CUPED rejects {}", rate(rejected));
    assert!((rate(uncovered) - 0.05).abs() < 0.0072, "CUPED's lift misses {}", rate(uncovered));
    let mean = 2.0 * reduction / f64::from(EXPERIMENTS);
    assert!((mean - RHO * RHO).abs() < 0.02, "the variance falls by {mean}");
}

proptest! {
    #[test]
    fn adjusted_tests_never_panic(
        (control, treatment) in (prop::array::uniform6(any_double()), prop::array::uniform6(any_double())),
        alpha in 0.0..1.0_f64,
        alternative in any_alternative(),
    ) {
        let sound = |figures: [f64; 6]| {
            let [n, mean, variance, covariate_mean, covariate_variance, share] = figures;
            let (variance, covariate_variance) = (variance.abs(), covariate_variance.abs());
            let covariance = (variance.sqrt() * covariate_variance.sqrt()) * share.sin();
            covariate_sample(&[n.abs(), mean, variance, covariate_mean, covariate_variance, covariance])
        };
        let (control, treatment) = (sound(control), sound(treatment));
        if let Ok(found) = cuped_test(control, treatment, alpha, alternative, None) {
            for (name, figure) in welch_columns(&found.test) {
                prop_assert!(!figure.is_some_and(f64::is_nan), "{name} of {found:?}");
            }
            prop_assert!(found.test.p_value.is_some() || found.note.is_some());
        }
        let ratio = |arm: CovariateSample| RatioSample {
            n: arm.n,
            numerator_mean: arm.mean,
            numerator_variance: arm.variance,
            denominator_mean: arm.covariate_mean,
            denominator_variance: arm.covariate_variance,
            covariance: arm.covariance,
        };
        if let Ok(found) = ratio_test(ratio(control), ratio(treatment), alpha, alternative) {
            prop_assert!(found.test.p_value.is_some() || found.test.note.is_some());
        }
        let plain = |arm: CovariateSample| sample(arm.n, arm.mean, arm.variance);
        let strata = [plain(control), plain(treatment)];
        if let Ok(found) = post_stratified_test(&strata, &[strata[1], strata[0]], alpha, alternative) {
            for (name, figure) in welch_columns(&found) {
                prop_assert!(!figure.is_some_and(f64::is_nan), "{name} of {found:?}");
            }
        }
    }
}
