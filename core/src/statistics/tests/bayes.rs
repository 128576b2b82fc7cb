use super::super::bayes::empirical::{empirical_prior, holdout_ledger, shrink};
use super::super::bayes::proportions::{ProportionPosterior, proportion_posterior};
use super::super::bayes::ranking::{Belief, Standing, ranking};
use super::super::bayes::{Posterior, Prior, normal_posterior};
use super::*;

const FLAT: Prior = Prior::FLAT;

fn numbers(case: &Value, name: &str) -> Vec<f64> {
    let numbers = case[name].as_array().expect("numbers").iter();
    numbers.map(|number| number.as_f64().expect("a number")).collect()
}

/// Bounds are held to the spread of what they bound, of which they are a difference.
#[track_caller]
fn assert_bound(found: Option<f64>, expected: &Value, name: &str, scale: f64, tolerance: f64, case: &Value) {
    let (found, expected) = (found.expect("a bound"), number(expected, name));
    let close = (found - expected).abs() <= tolerance * expected.abs().max(scale);
    assert!(close, "{name} {found:e} is not {expected:e} in {case}");
}

#[test]
fn posteriors_match_the_reference() {
    for case in vectors!("bayes.json") {
        let (given, expected) = (&case["given"], &case["expected"]);
        let prior = Prior { mean: number(given, "prior_mean"), sd: figure(given, "prior_sd") };
        let found =
            normal_posterior(number(given, "diff"), number(given, "se"), prior, number(given, "alpha"))
                .expect("valid");
        let sd = number(expected, "sd");
        assert_close(found.sd.expect("sd"), sd, 1e-14, &case);
        for (name, bound) in [("mean", found.mean), ("low", found.low), ("high", found.high)] {
            assert_bound(bound, expected, name, sd, 1e-13, &case);
        }
        let tails = columns!(found, probability_better, probability_worse, treatment_loss, control_loss);
        for (name, tail) in tails {
            // The last digit of z is one of the tail's in proportion to z².
            assert_close(tail.expect("a tail"), number(expected, name), 1e-12, &case);
        }
    }
}

#[test]
fn rankings_match_the_reference() {
    let normal = |(mean, sd)| Belief::Normal { mean, sd };
    let beta = |(a, b)| Belief::Beta { a, b };
    let cases = vectors!("ranking_normal.json").into_iter().map(|case| {
        let given = &case["given"];
        let rows = numbers(given, "means").into_iter().zip(numbers(given, "sds"));
        (rows.map(normal).collect::<Vec<_>>(), case)
    });
    let cases = cases.chain(vectors!("ranking_beta.json").into_iter().map(|case| {
        let given = &case["given"];
        let rows = numbers(given, "a").into_iter().zip(numbers(given, "b"));
        (rows.map(beta).collect::<Vec<_>>(), case)
    }));
    for (beliefs, case) in cases {
        let mirrored: Vec<Belief> = beliefs
            .iter()
            .map(|belief| match *belief {
                Belief::Normal { mean, sd } => Belief::Normal { mean: -mean, sd },
                Belief::Beta { a, b } => Belief::Beta { a: b, b: a },
            })
            .collect();
        for standings in [ranking(&beliefs, true), ranking(&mirrored, false)] {
            let standings = standings.expect("in range");
            for (name, figure) in [
                ("probability_best", (|standing| standing.probability_best) as fn(&Standing) -> f64),
                ("expected_loss", |standing| standing.expected_loss),
            ] {
                for (standing, expected) in standings.iter().zip(numbers(&case["expected"], name)) {
                    assert_close(figure(standing), expected, 1e-11, &case);
                }
            }
        }
    }
}

#[test]
fn posteriors_of_rates_match_the_reference() {
    for case in vectors!("bayes_beta.json") {
        let (given, expected) = (&case["given"], &case["expected"]);
        let arm = |n, x| Proportion { n: count(given, n), conversions: count(given, x) };
        let (a, b, alpha) = (number(given, "a"), number(given, "b"), number(given, "alpha"));
        let found = proportion_posterior(arm("n1", "x1"), arm("n2", "x2"), a, b, alpha).expect("valid");
        let ProportionPosterior { difference, lift, lift_low, lift_high } = found;
        let sd = number(expected, "sd");
        assert_close(difference.sd.expect("sd"), sd, 1e-13, &case);
        for (name, bound) in [("mean", difference.mean), ("low", difference.low), ("high", difference.high)] {
            assert_bound(bound, expected, name, sd, 1e-8, &case);
        }
        for (name, bound) in [("lift", lift), ("lift_low", lift_low), ("lift_high", lift_high)] {
            assert_bound(bound, expected, name, 1e-3, 1e-8, &case);
        }
        let tails = columns!(difference, probability_better, probability_worse, treatment_loss, control_loss);
        for (name, tail) in tails {
            assert_close(tail.expect("a tail"), number(expected, name), 1e-9, &case);
        }
        assert_eq!(difference.note.map(Note::as_str), expected["note"].as_str(), "{case}");
    }
}

#[test]
fn posteriors_are_the_printed_ones() {
    let arm = |n, conversions| Proportion { n, conversions };
    let found =
        proportion_posterior(arm(1000, 100), arm(1000, 120), 1.0, 1.0, 0.05).expect("valid").difference;
    assert_close(found.probability_better.expect("p"), 0.923183438974, 1e-11, &Value::Null);
    assert_close(found.treatment_loss.expect("loss"), 4.84613926356e-4, 1e-11, &Value::Null);
    assert_close(found.control_loss.expect("loss"), 0.0204446937668, 1e-11, &Value::Null);
}

#[test]
fn posteriors_without_an_answer_say_why() {
    let still = normal_posterior(0.0, 0.0, FLAT, 0.05).expect("valid");
    assert_eq!((still.low, still.probability_better, still.control_loss), (Some(0.0), Some(0.5), Some(0.0)));
    let certain = Prior { mean: 0.0, sd: Some(0.0) };
    assert_eq!(normal_posterior(1.0, 1.0, certain, 0.05).expect("valid"), still);
    let missing = Posterior::missing(Note::ZeroVariance);
    assert_eq!(normal_posterior(1.0, 0.0, FLAT, 0.05).expect("valid"), missing);
    assert_eq!(normal_posterior(1.0, 1.0, Prior { mean: 1.0, sd: Some(0.0) }, 0.05).expect("valid"), missing);
    let note = |diff, se| normal_posterior(diff, se, FLAT, 0.05).expect("valid").note;
    assert_eq!((note(1e308, 1e308), note(1.0, 1e-310)), (Some(Note::Overflow), Some(Note::Overflow)));
    let arm = |n, conversions| Proportion { n, conversions };
    let found = proportion_posterior(arm(0, 0), arm(10, 5), 1e-6, 1.0, 0.05).expect("valid");
    assert_eq!((found.difference.note, found.lift_high), (Some(Note::TooFewUnits), None));
    let found = proportion_posterior(arm(9, 0), arm(10, 5), 1e-6, 1.0, 0.05).expect("valid");
    assert_eq!((found.difference.note, found.lift_high), (Some(Note::ControlNearZero), None));
}

#[test]
fn equal_beliefs_stand_equally() {
    for (belief, other) in [
        (Belief::Normal { mean: 3.0, sd: 2.0 }, Belief::Normal { mean: 2.0, sd: 1e-3 }),
        (Belief::Beta { a: 1.0, b: 1e9 }, Belief::Beta { a: 3.0, b: 1e3 }),
    ] {
        let standings = ranking(&[belief; 4], true).expect("in range");
        for standing in &standings {
            assert_close(standing.probability_best, 0.25, 1e-13, &Value::Null);
            assert_eq!(standing, &standings[0]);
        }
        let standings = ranking(&[belief, other, belief], true).expect("in range");
        assert_eq!(standings[0], standings[2]);
    }
    assert_eq!(ranking(&[], true), None);
    let alone = ranking(&[Belief::Normal { mean: 3.0, sd: 2.0 }], true).expect("in range")[0];
    assert_eq!(alone.expected_loss, 0.0);
    assert_close(alone.probability_best, 1.0, 1e-13, &Value::Null);
}

#[test]
fn a_chance_next_to_nothing_is_exact() {
    let beta = |conversions: f64| Belief::Beta { a: 1.0 + conversions, b: 1.0 + 1e9 - conversions };
    let (low, high) = (1e8, 1e8 + 300_000.0);
    let chance = ranking(&[beta(low), beta(high)], true).expect("in range")[0].probability_best;
    let sd = |x: f64| (x / 1e9 * (1.0 - x / 1e9) / 1e9).sqrt();
    let normal = normal_survival(3e-4 / sd(low).hypot(sd(high)));
    assert!(chance > 0.0 && (chance / normal).ln().abs() < 0.02, "{chance:e} is not about {normal:e}");
    let normal = |mean| Belief::Normal { mean, sd: 1.0 };
    let standings = ranking(&[normal(0.0), normal(52.0)], true).expect("in range");
    assert_close(standings[0].probability_best, normal_survival(52.0 / 2.0_f64.sqrt()), 1e-11, &Value::Null);
}

#[test]
fn priors_match_the_reference() {
    for case in vectors!("prior.json") {
        let (given, expected) = (&case["given"], &case["expected"]);
        let (lifts, errors) = (numbers(given, "lift"), numbers(given, "se"));
        let prior = empirical_prior(&lifts, &errors).expect("valid");
        let sd = prior.sd.expect("sd");
        // The variance is a difference of what is about se².
        let tolerance = if sd > 0.0 { 1e-12 * (errors[0] / sd).powi(2).max(1.0) } else { 0.0 };
        assert_close(sd, number(expected, "sd"), tolerance, &case);
        assert_eq!(
            (prior.mean, prior.note.map(Note::as_str)),
            (Some(0.0), expected["note"].as_str()),
            "{case}"
        );
        let expected_left = numbers(expected, "shrunken").into_iter().zip(numbers(expected, "errors"));
        for ((lift, error), (left, left_error)) in lifts.iter().zip(&errors).zip(expected_left) {
            let found = shrink(*lift, *error, sd).expect("valid");
            assert_close(found.estimate.expect("an estimate"), left, 3.0 * tolerance, &case);
            assert_close(found.standard_error.expect("an error"), left_error, 3.0 * tolerance, &case);
        }
        let ledger = holdout_ledger(&lifts, &errors, sd).expect("valid");
        let scale = number(expected, "standard_error");
        assert_bound(ledger.expected, expected, "expected", scale, 3.0 * tolerance, &case);
        assert_close(ledger.standard_error.expect("an error"), scale, 3.0 * tolerance, &case);
    }
}

#[test]
fn priors_without_an_answer_say_why() {
    let prior = |lifts: &[f64], errors: &[f64]| empirical_prior(lifts, errors).expect("valid");
    assert_eq!((prior(&[1.0], &[1.0]).sd, prior(&[1.0], &[1.0]).note), (None, Some(Note::TooFewTests)));
    assert_eq!(prior(&[0.0; 20], &[0.0; 20]).sd, Some(0.0));
    assert_eq!(prior(&[0.1; 20], &[1.0; 20]).sd, Some(0.0));
    assert!((prior(&[1e308; 20], &[0.0; 20]).sd.expect("in range") / 1e308 - 1.0).abs() < 1e-14);
    let left = |estimate, error, sd| shrink(estimate, error, sd).expect("valid");
    assert_eq!((left(2.0, 1.0, 0.0).estimate, left(2.0, 1.0, 1.0).estimate), (Some(0.0), Some(1.0)));
    assert_eq!(
        (left(2.0, 0.0, 1.0).note, left(0.0, 0.0, 1.0).estimate),
        (Some(Note::ZeroVariance), Some(0.0))
    );
    let ledger = holdout_ledger(&[2.0, 1.0], &[1.0, 0.0], 1.0).expect("valid");
    assert_eq!((ledger.expected, ledger.note), (None, Some(Note::ZeroVariance)));
    assert_eq!(holdout_ledger(&[], &[], 1.0).expect("valid").expected, Some(0.0));
}

#[test]
fn impossible_beliefs_are_named() {
    let argument = |diff, se, mean, sd, alpha| {
        normal_posterior(diff, se, Prior { mean, sd: Some(sd) }, alpha).expect_err("invalid").argument
    };
    assert_eq!(argument(f64::NAN, 1.0, 0.0, 1.0, 0.05), "diff");
    assert_eq!(argument(1.0, -1.0, 0.0, 1.0, 0.05), "se");
    assert_eq!(argument(1.0, 1.0, f64::INFINITY, 1.0, 0.05), "prior_mean");
    assert_eq!(argument(1.0, 1.0, 0.0, f64::NAN, 0.05), "prior_sd");
    assert_eq!(argument(1.0, 1.0, 0.0, 1.0, 1.0), "alpha");
    let arm = |n, conversions| Proportion { n, conversions };
    let argument = |x, a, b, alpha| {
        proportion_posterior(arm(9, 1), arm(9, x), a, b, alpha).expect_err("invalid").argument
    };
    assert_eq!(argument(10, 1.0, 1.0, 0.05), "x2");
    assert_eq!(argument(1, 0.0, 1.0, 0.05), "a");
    assert_eq!(argument(1, 1.0, 1e13, 0.05), "b");
    assert_eq!(argument(1, 1.0, 1.0, 0.0), "alpha");
    assert_eq!(empirical_prior(&[1.0], &[]).expect_err("invalid").argument, "se");
    assert_eq!(empirical_prior(&[f64::NAN], &[1.0]).expect_err("invalid").argument, "lift");
    assert_eq!(shrink(f64::NAN, 1.0, 1.0).expect_err("invalid").argument, "estimate");
    assert_eq!(shrink(1.0, 1.0, -1.0).expect_err("invalid").argument, "prior_sd");
    assert_eq!(holdout_ledger(&[1.0], &[-1.0], 1.0).expect_err("invalid").argument, "se");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn posteriors_of_rates_are_probabilities(
        n in prop::array::uniform2(any_count()), shares in prop::array::uniform2(0.0..=1.0_f64),
        a in -6.0..12.0_f64, b in -6.0..12.0_f64, alpha in any_double(),
    ) {
        let arm = |index: usize| {
            let n = n[index].saturating_abs();
            Proportion { n, conversions: ((n as f64 * shares[index]) as i64).clamp(0, n) }
        };
        for (a, b) in [(1.0, 1.0), (10_f64.powf(a), 10_f64.powf(b))] {
            for alpha in [alpha, 0.05] {
                let Ok(found) = proportion_posterior(arm(0), arm(1), a, b, alpha) else { continue };
                let difference = found.difference;
                let (better, worse) = (difference.probability_better, difference.probability_worse);
                let (better, worse) = (better.expect("a chance"), worse.expect("a chance"));
                prop_assert!((0.0..=1.0).contains(&better) && (0.0..=1.0).contains(&worse), "{found:?}");
                // The last digit of a proportion of 10¹⁹ users is more than a part of its standard deviation.
                prop_assert!((better + worse - 1.0).abs() < 1e-6, "{found:?}");
                prop_assert!(difference.treatment_loss.is_some_and(|loss| loss >= 0.0), "{found:?}");
                prop_assert!(difference.low <= difference.high, "{found:?}");
                prop_assert!(found.lift_low <= found.lift || found.lift_high.is_none(), "{found:?}");
            }
        }
    }

    #[test]
    fn rankings_are_probabilities(
        arms in prop::collection::vec((-1e3..1e3_f64, -12.0..3.0_f64, -6.0..9.0_f64, -6.0..9.0_f64), 1..6),
        maximize: bool,
    ) {
        let normal: Vec<Belief> =
            arms.iter().map(|&(mean, sd, ..)| Belief::Normal { mean, sd: 10_f64.powf(sd) }).collect();
        let beta: Vec<Belief> = arms
            .iter()
            .map(|&(_, _, a, b)| Belief::Beta { a: 10_f64.powf(a), b: 10_f64.powf(b) })
            .collect();
        for beliefs in [normal, beta] {
            let standings = ranking(&beliefs, maximize).expect("in range");
            prop_assert!(standings.iter().all(|standing| (0.0..=1.0).contains(&standing.probability_best)));
            prop_assert!(standings.iter().all(|standing| standing.expected_loss >= 0.0));
            let all: f64 = standings.iter().map(|standing| standing.probability_best).sum();
            prop_assert!((all - 1.0).abs() < 1e-9, "{all} of {beliefs:?}");
        }
    }
}

proptest! {
    #[test]
    fn posteriors_never_panic(
        diff in any_double(), se in any_double(), mean in any_double(), sd in any_double(), alpha in any_double(),
    ) {
        for sd in [None, Some(sd.abs())] {
            for alpha in [alpha, 0.05] {
                if let Ok(found) = normal_posterior(diff, se.abs(), Prior { mean, sd }, alpha) {
                    let better = found.probability_better;
                    prop_assert!(better.is_none_or(|p| (0.0..=1.0).contains(&p)), "{found:?}");
                    let figures = [found.mean, found.sd, found.low, found.high, found.treatment_loss, found.control_loss];
                    prop_assert!(figures.iter().flatten().all(|figure| figure.is_finite()), "{found:?}");
                }
            }
        }
        let _ = empirical_prior(&[diff, mean], &[se.abs(), sd.abs()]);
        let _ = shrink(diff, se.abs(), sd.abs());
    }
}
