use super::super::bandit::{Algorithm, Arm, MAX_ARMS, PeriodArm, bandit, period_estimates, rate_weights};
use super::super::bayes::Prior;
use super::*;

fn numbers(case: &Value, name: &str) -> Vec<f64> {
    let numbers = case[name].as_array().expect("numbers").iter();
    numbers.map(|number| number.as_f64().expect("a number")).collect()
}

fn arm(n: i64, mean: f64, variance: f64) -> Sample {
    Sample { n, mean, variance }
}

fn weights(arms: &[Sample], algorithm: Algorithm, floor: f64) -> Vec<f64> {
    let found = bandit(arms, algorithm, floor, true, Prior::FLAT).expect("valid");
    found.arms.iter().map(|arm| arm.weight.expect("a weight")).collect()
}

#[test]
fn bandits_match_the_reference() {
    for case in vectors!("bandit.json") {
        let (given, expected) = (&case["given"], &case["expected"]);
        let arms: Vec<Sample> = numbers(given, "n")
            .iter()
            .zip(numbers(given, "mean"))
            .zip(numbers(given, "var"))
            .map(|((&n, mean), variance)| arm(n as i64, mean, variance))
            .collect();
        let algorithm: Algorithm = given["algorithm"].as_str().expect("a name").parse().expect("known");
        let prior = Prior { mean: number(given, "prior_mean"), sd: figure(given, "prior_sd") };
        let maximize = given["maximize"].as_bool().expect("a choice");
        let found = bandit(&arms, algorithm, number(given, "floor"), maximize, prior).expect("valid");
        for (name, figure) in [
            ("post_mean", (|arm| arm.mean) as fn(&Arm) -> Option<f64>),
            ("post_sd", |arm| arm.sd),
            ("prob_best", |arm| arm.probability_best),
            ("expected_loss", |arm| arm.expected_loss),
            ("weight", |arm| arm.weight),
        ] {
            for (arm, expected) in found.arms.iter().zip(numbers(expected, name)) {
                // Chances and losses depend on differences of the means, which have the digits of the means.
                assert_close(figure(arm).expect("a figure"), expected, 1e-10, &case);
            }
        }
        assert_eq!(found.note.map(Note::as_str), expected["note"].as_str(), "{case}");
    }
}

#[test]
fn top_two_shares_leave_room_for_the_second() {
    let arms = [arm(1000, 1.0, 1.0), arm(1000, 2.0, 1.0), arm(1000, 1.5, 1.0)];
    let found = weights(&arms, Algorithm::TopTwo, 0.0);
    assert!((found[1] - 0.5).abs() < 1e-9 && (found[2] - 0.5).abs() < 1e-9 && found[0] < 1e-9, "{found:?}");
    // A lead beyond the range of a double leaves the other half to all others.
    let arms = [arm(1000, 0.0, 1e-12), arm(1000, 1e6, 1e-12), arm(1000, 0.0, 1e-12)];
    for (found, expected) in weights(&arms, Algorithm::TopTwo, 0.0).into_iter().zip([0.25, 0.5, 0.25]) {
        assert_close(found, expected, 1e-12, &Value::Null);
    }
    assert_eq!(weights(&arms[..1], Algorithm::TopTwo, 0.2).len(), 1);
}

#[test]
fn everyone_keeps_the_floor() {
    let arms = [arm(1000, 1.0, 1.0), arm(1000, 9.0, 1.0), arm(1000, 1.0, 1.0)];
    let found = weights(&arms, Algorithm::Thompson, 0.05);
    for (found, expected) in found.into_iter().zip([0.05, 0.9, 0.05]) {
        assert_close(found, expected, 1e-12, &Value::Null);
    }
    assert_eq!(weights(&arms, Algorithm::Thompson, 0.4), [1.0 / 3.0; 3]);
    let rate = |n, conversions| Proportion { n, conversions };
    let (found, note) = rate_weights(&[rate(10_000, 100), rate(10_000, 900)], 0.05).expect("valid");
    assert_eq!(note, None);
    assert_close(found[1], 0.95, 1e-12, &Value::Null);
}

#[test]
fn arms_that_little_is_known_of_stay_equal() {
    let bandit_of =
        |arms: &[Sample]| bandit(arms, Algorithm::Thompson, 0.0, true, Prior::FLAT).expect("valid");
    let young = bandit_of(&[arm(99, 1.0, 1.0), arm(1000, 9.0, 1.0)]);
    assert_eq!((young.arms[0].weight, young.note), (Some(0.5), Some(Note::BurnIn)));
    assert!(young.arms[0].probability_best.is_some_and(|chance| chance < 1e-9));
    let unknown = bandit_of(&[arm(1, 1.0, 0.0), arm(1000, 9.0, 1.0)]);
    assert_eq!((unknown.arms[1].weight, unknown.arms[1].probability_best), (Some(0.5), None));
    let still = bandit_of(&[arm(1000, 1.0, 0.0), arm(1000, 9.0, 1.0)]);
    assert_eq!((still.arms[1].weight, still.note), (Some(0.5), Some(Note::ZeroVariance)));
    let vast = bandit_of(&[arm(1000, 1e308, 1.0), arm(1000, -1e308, 1.0)]);
    assert_eq!((vast.arms[1].weight, vast.note), (None, Some(Note::Overflow)));
    assert_eq!(bandit_of(&[]).note, Some(Note::TooFewArms));
    let rate = |n, conversions| Proportion { n, conversions };
    for arms in [[rate(99, 50), rate(1000, 500)], [rate(1000, 4), rate(1000, 500)]] {
        assert_eq!(rate_weights(&arms, 0.0).expect("valid"), (vec![0.5; 2], Some(Note::BurnIn)));
    }
}

#[test]
fn impossible_bandits_are_named() {
    let argument = |arms: &[Sample], floor| {
        bandit(arms, Algorithm::Thompson, floor, true, Prior::FLAT).expect_err("invalid").argument
    };
    assert_eq!(argument(&[arm(-1, 1.0, 1.0)], 0.0), "n");
    assert_eq!(argument(&[arm(1, f64::NAN, 1.0)], 0.0), "mean");
    assert_eq!(argument(&[arm(1, 1.0, -1.0)], 0.0), "var");
    assert_eq!(argument(&[arm(1, 1.0, 1.0)], 1.1), "floor");
    assert_eq!(argument(&[arm(1, 1.0, 1.0); MAX_ARMS + 1], 0.0), "n");
    assert_eq!("random".parse::<Algorithm>().expect_err("unknown").argument, "algorithm");
    let rate = Proportion { n: 1, conversions: 2 };
    assert_eq!(rate_weights(&[rate], 0.0).expect_err("invalid").argument, "x");
    let cell = PeriodArm { period: 1, arm: 1, sample: arm(2, 1.0, 1.0) };
    assert_eq!(period_estimates(&[cell, cell]).expect_err("invalid").argument, "arm");
}

#[test]
fn period_estimates_match_the_reference() {
    for case in vectors!("bandit_periods.json") {
        let cells: Vec<PeriodArm> = case["given"]["cells"]
            .as_array()
            .expect("cells")
            .iter()
            .map(|cell| {
                let (count, figure) = (
                    |at: usize| cell[at].as_i64().expect("a count"),
                    |at: usize| cell[at].as_f64().expect("a number"),
                );
                PeriodArm {
                    period: count(0) as i32,
                    arm: count(1) as i32,
                    sample: arm(count(2), figure(3), figure(4)),
                }
            })
            .collect();
        let expected = &case["expected"];
        let (found, periods, note) = period_estimates(&cells).expect("valid");
        assert_eq!(periods as i64, count(expected, "periods"), "{case}");
        assert_eq!(note.map(Note::as_str), expected["note"].as_str(), "{case}");
        let rows = numbers(expected, "estimate").into_iter().zip(numbers(expected, "se"));
        for (found, (estimate, error)) in found.iter().zip(rows) {
            assert_close(found.estimate.expect("an estimate"), estimate, 1e-12, &case);
            assert_close(found.standard_error.expect("an error"), error, 1e-9, &case);
        }
    }
}

#[test]
fn period_estimates_without_an_answer_say_why() {
    let cell = |period, arm, n, mean| PeriodArm { period, arm, sample: Sample { n, mean, variance: 1.0 } };
    let (found, periods, note) = period_estimates(&[cell(1, 1, 10, 1.0), cell(1, 2, 1, 2.0)]).expect("valid");
    assert_eq!((periods, note), (1, Some(Note::TooFewUnits)));
    assert_eq!((found[1].estimate, found[1].standard_error), (Some(2.0), None));
    let (found, _, note) = period_estimates(&[cell(1, 1, 10, 1.0), cell(1, 2, 0, 2.0)]).expect("valid");
    assert_eq!((found[1].n, found[1].estimate, note), (0, None, Some(Note::TooFewUnits)));
    assert_eq!(period_estimates(&[]).expect("valid"), (Vec::new(), 0, None));
}

/// The mean of everybody rises while the better arm is given more of the users: the naive difference is biased, the one by
/// periods is not, and its interval covers.
#[test]
fn period_estimates_are_free_of_drift() {
    let mut rng = StdRng::seed_from_u64(20_260_217);
    let mut normal = || super::super::distribution::normal_quantile(rng.random_range(1e-12..1.0));
    let (mut naive, mut covered, mut sum) = (0.0, 0, 0.0);
    const RUNS: u32 = 2000;
    for _ in 0..RUNS {
        let mut cells = Vec::new();
        let mut totals = [(0.0, 0.0); 2];
        for (period, share) in [(1, 0.5), (2, 0.7), (3, 0.9)] {
            for index in 0..2 {
                let n = (1000.0 * if index == 1 { share } else { 1.0 - share }) as i64;
                let truth = f64::from(index) * 0.1 + f64::from(period);
                let mean = truth + normal() / (n as f64).sqrt();
                totals[index as usize].0 += n as f64;
                totals[index as usize].1 += n as f64 * mean;
                cells.push(PeriodArm { period, arm: index, sample: arm(n, mean, 1.0) });
            }
        }
        let (found, ..) = period_estimates(&cells).expect("valid");
        let figure = |at: usize| (found[at].estimate.expect("one"), found[at].standard_error.expect("one"));
        let ((first, first_error), (second, second_error)) = (figure(0), figure(1));
        covered += u32::from((second - first - 0.1).abs() < 1.959_964 * first_error.hypot(second_error));
        sum += second - first - 0.1;
        naive += totals[1].1 / totals[1].0 - totals[0].1 / totals[0].0 - 0.1;
    }
    assert!((f64::from(covered) / f64::from(RUNS) - 0.95).abs() < 0.016, "{covered}");
    assert!((sum / f64::from(RUNS)).abs() < 0.006 && naive / f64::from(RUNS) > 0.3, "{sum} {naive}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn bandits_never_panic(
        arms in prop::collection::vec((any_count(), any_double(), any_double()), 0..5), floor in any_double(),
        sd in any_double(), maximize: bool,
    ) {
        let arms: Vec<Sample> = arms
            .into_iter()
            .map(|(n, mean, variance)| arm(n.saturating_abs(), mean, variance.abs()))
            .collect();
        for floor in [floor, 0.05] {
            for sd in [None, Some(sd.abs())] {
                for algorithm in [Algorithm::Thompson, Algorithm::TopTwo] {
                    let Ok(found) = bandit(&arms, algorithm, floor, maximize, Prior { mean: 0.0, sd }) else { continue };
                    let weights: Option<Vec<f64>> = found.arms.iter().map(|arm| arm.weight).collect();
                    if let Some(weights) = weights.filter(|weights| !weights.is_empty()) {
                        prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{found:?}");
                        prop_assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{found:?}");
                    }
                }
            }
        }
        let cells: Vec<PeriodArm> =
            (0..).zip(&arms).map(|(index, &sample)| PeriodArm { period: index / 2, arm: index % 2, sample }).collect();
        if let Ok((found, ..)) = period_estimates(&cells) {
            prop_assert!(found.iter().all(|arm| arm.estimate.is_none_or(f64::is_finite)), "{found:?}");
        }
    }
}
