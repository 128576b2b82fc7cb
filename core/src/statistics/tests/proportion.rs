use super::super::proportion::{
    DifferenceMethod, ProportionMethod, proportion_interval_by, proportion_test_by,
};
use super::*;

#[test]
fn proportion_intervals_match_the_reference() {
    for case in vectors!("proportion_method.json") {
        let given = &case["given"];
        let method: ProportionMethod = given["method"].as_str().expect("text").parse().expect("known");
        let proportion = Proportion { n: count(given, "n"), conversions: count(given, "x") };
        let found = proportion_interval_by(method, proportion, number(given, "alpha")).expect("valid");
        for (found, name) in [(found.low, "low"), (found.high, "high")] {
            let found = found.expect("a bound");
            let expected = number(&case["expected"], name);
            // A bound that is the difference of nearly equal numbers has what digits they leave, absolutely.
            assert!((found - expected).abs() <= 1e-11 * expected.abs() + 1e-16, "{found:e} in {case}");
        }
    }
}

#[test]
fn wald_intervals_match_the_reference() {
    for case in vectors!("wald.json") {
        let given = &case["given"];
        let arm = |n, x| Proportion { n: count(given, n), conversions: count(given, x) };
        let (control, treatment) = (arm("n1", "x1"), arm("n2", "x2"));
        let test =
            |method| proportion_test_by(method, control, treatment, 0.05, alternative(given)).expect("valid");
        let found = test(DifferenceMethod::Wald);
        assert_columns(columns!(found, low, high), None, &case["expected"], &case);
        assert_eq!(found.p_value, test(DifferenceMethod::Newcombe).p_value);
    }
}

#[test]
fn methods_are_known_by_their_names() {
    for name in ["wilson", "exact", "jeffreys", "agresti_coull"] {
        assert_eq!(name.parse::<ProportionMethod>().map(ProportionMethod::as_str), Ok(name));
    }
    for name in ["newcombe", "wald"] {
        assert_eq!(name.parse::<DifferenceMethod>().map(DifferenceMethod::as_str), Ok(name));
    }
    assert_eq!("wald".parse::<ProportionMethod>().expect_err("unknown").argument, "method");
    assert_eq!("wilson".parse::<DifferenceMethod>().expect_err("unknown").argument, "ci_method");
}

/// The exact interval covers at least what it says at every rate, the others on average.
#[test]
fn intervals_cover_what_they_say() {
    let coverage = |method, n: i64, rate: f64| -> f64 {
        let covers = |&x: &i64| {
            let found =
                proportion_interval_by(method, Proportion { n, conversions: x }, 0.05).expect("valid");
            found.low.is_some_and(|low| low <= rate) && found.high.is_some_and(|high| rate <= high)
        };
        let mass = |x| super::super::distribution::ln_binomial_mass(x, n, rate).exp();
        (0..=n).filter(covers).map(mass).sum()
    };
    let rates: Vec<f64> = (1..200).map(|step| f64::from(step) / 200.0).collect();
    for n in [1, 2, 5, 20, 30] {
        for &rate in &rates {
            let found = coverage(ProportionMethod::Exact, n, rate);
            assert!(found >= 0.95 - 1e-12, "exact covers {rate} with {found} at n = {n}");
        }
    }
    for method in [ProportionMethod::Wilson, ProportionMethod::Jeffreys, ProportionMethod::AgrestiCoull] {
        let found: Vec<f64> = rates.iter().map(|&rate| coverage(method, 40, rate)).collect();
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let least = found.iter().copied().fold(1.0, f64::min);
        assert!(
            (0.943..=0.97).contains(&mean) && least >= 0.83,
            "{method:?} covers {mean}, at least {least}"
        );
    }
}
