use super::super::sequential::{has_burned_in, sequential_inflation, sequential_test};
use super::*;

#[test]
fn sequential_tests_match_the_reference() {
    for case in vectors!("sequential.json") {
        let given = &case["given"];
        let found = sequential_test(
            number(given, "diff"),
            number(given, "se"),
            count(given, "n"),
            number(given, "alpha"),
            number(given, "tuning_n"),
            alternative(given),
        )
        .expect("valid");
        let expected = &case["expected"];
        let columns = columns!(found, low, high, multiplier, p_value, log_e);
        for (name, found) in columns {
            let (found, expected) = (found.expect("a figure"), number(expected, name));
            // Bounds and ln e are differences: they are held to the last digits of what they are a difference of.
            let scale = match *name {
                "low" | "high" => number(given, "diff").abs(),
                "log_e" => 1.0,
                _ => 0.0,
            };
            let close = found == expected || (found - expected).abs() <= 1e-11 * expected.abs().max(scale);
            // An error of ln e is one of the p-value's relative size.
            let close = close || *name == "p_value" && (found / expected).ln().abs() <= 1e-10;
            assert!(close, "{name} {found:e} is not {expected:e} in {case}");
        }
        assert_eq!(found.note.map(Note::as_str), expected["note"].as_str(), "{case}");
    }
}

#[test]
fn sequential_inflation_is_the_square_of_the_widths() {
    let two_sided = sequential_inflation(0.05, TWO_SIDED).expect("valid");
    assert_close(two_sided, 9.2120 / 3.841_458_8, 1e-5, &Value::Null);
    // Near 1 the multiplier tends to 1 and stays exact.
    let ratio =
        |alpha: f64| sequential_inflation(alpha, TWO_SIDED).expect("valid") * normal_critical(alpha).powi(2);
    assert_close(ratio(1.0 - 1e-12), 1.0 + 2e-6, 1e-9, &Value::Null);
    for step in 1..1000 {
        let alpha = f64::from(step) / 1000.0;
        let r = ratio(alpha) - 1.0;
        assert!((r - r.ln_1p() + 2.0 * alpha.ln()).abs() < 1e-13, "{alpha}");
    }
}

#[test]
fn sequential_tests_without_an_answer_say_why() {
    let test = |diff, se, n| sequential_test(diff, se, n, 0.05, 1e4, TWO_SIDED).expect("valid");
    assert_eq!(test(1.0, 1.0, 1).note, Some(Note::TooFewUnits));
    assert_eq!(test(1.0, 1.0, 199).note, Some(Note::BurnIn));
    assert!(test(1.0, 1.0, 199).p_value.is_some());
    let still = test(0.0, 0.0, 1000);
    assert_eq!((still.low, still.high, still.p_value), (Some(0.0), Some(0.0), Some(1.0)));
    let moved = test(1.0, 0.0, 1000);
    assert_eq!((moved.low, moved.p_value, moved.note), (None, None, Some(Note::ZeroVariance)));
    assert_eq!(test(1e308, 1e308, 1000).note, Some(Note::Overflow));
    assert!(has_burned_in(100, None) && !has_burned_in(99, None));
    assert!(has_burned_in(100, Some(5)) && has_burned_in(100, Some(95)));
    assert!(!has_burned_in(100, Some(4)) && !has_burned_in(100, Some(96)));
}

#[test]
fn impossible_sequential_tests_are_named() {
    let argument = |diff, se, n, alpha, tuning_n, alternative| {
        sequential_test(diff, se, n, alpha, tuning_n, alternative).expect_err("invalid").argument
    };
    assert_eq!(argument(f64::NAN, 1.0, 9, 0.05, 9.0, TWO_SIDED), "diff");
    assert_eq!(argument(1.0, -1.0, 9, 0.05, 9.0, TWO_SIDED), "se");
    assert_eq!(argument(1.0, 1.0, -9, 0.05, 9.0, TWO_SIDED), "n");
    assert_eq!(argument(1.0, 1.0, 9, 1.0, 9.0, TWO_SIDED), "alpha");
    assert_eq!(argument(1.0, 1.0, 9, 0.5, 9.0, Alternative::Greater), "alpha");
    assert_eq!(argument(1.0, 1.0, 9, 0.05, 0.0, TWO_SIDED), "tuning_n");
}

/// A look after every 1 % of the planned users, up to ten times as many: at most alpha of the experiments without an effect
/// may ever be called.
#[test]
fn looking_all_the_time_rarely_finds_what_is_not_there() {
    const EXPERIMENTS: u32 = 1000;
    let mut rng = StdRng::seed_from_u64(20_260_215);
    let mut normal = || super::super::distribution::normal_quantile(rng.random_range(1e-12..1.0));
    let mut rejected = [0_u32; 2];
    for _ in 0..EXPERIMENTS {
        let (mut sum, mut ever) = (0.0, [false; 2]);
        for look in 1..=1000 {
            sum += normal() * 10.0;
            let n = 100 * i64::from(look);
            let (diff, se) = (sum / n as f64, 1.0 / (n as f64).sqrt());
            for (ever, alternative) in ever.iter_mut().zip([TWO_SIDED, Alternative::Greater]) {
                let test = sequential_test(diff, se, n, 0.05, 1e4, alternative).expect("valid");
                *ever |= test.p_value.is_some_and(|p| p < 0.05);
            }
        }
        for (rejected, ever) in rejected.iter_mut().zip(ever) {
            *rejected += u32::from(ever);
        }
    }
    // 5 % and 3.3 Monte-Carlo standard errors; not far below, or the test would have no power.
    assert!(rejected.iter().all(|&count| count > 10 && count < 73), "{rejected:?}");
}

proptest! {
    #[test]
    fn sequential_intervals_agree_with_their_p_values(
        z in -20.0..20.0_f64, n in 2..1_000_000_000_i64, alpha in 1e-9..0.49_f64, tuning in 1.0..1e9_f64,
        alternative in any_alternative(),
    ) {
        let test = sequential_test(z, 1.0, n, alpha, tuning, alternative).expect("valid");
        let (low, high) = (test.low.expect("a bound"), test.high.expect("a bound"));
        let excluded = low > 0.0 || high < 0.0;
        let p = test.p_value.expect("p");
        prop_assert!(excluded == (p < alpha) || (p / alpha - 1.0).abs() < 1e-9, "{test:?}");
    }

    #[test]
    fn sequential_tests_never_panic(
        diff in any_double(), se in any_double(), n in any_count(), alpha in any_double(), tuning in any_double(),
        alternative in any_alternative(),
    ) {
        for alpha in [alpha, 0.05] {
            if let Ok(test) = sequential_test(diff, se.abs(), n, alpha, tuning.abs(), alternative) {
                prop_assert!(test.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{test:?}");
            }
        }
    }
}
