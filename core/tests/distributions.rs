//! Holds the distributions to mpmath (`tests/vectors/statistics/special.py`) and to the properties that no table of cases
//! can show.

#[path = "../examples/special_functions/functions.rs"]
mod functions;

use ab_core::statistics::distribution::*;
use proptest::prelude::*;
use serde_json::Value;

/// The error of a value or an area, relative; the logarithm of an area or density may be off by as much as that.
const TOLERANCE: f64 = 1e-12;

/// The relative error of a quantile.
const QUANTILE_TOLERANCE: f64 = 1e-11;

#[test]
fn special_functions_match_the_reference() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../tests/vectors/statistics/special_functions.json"))
            .expect("vectors are valid JSON");
    for case in cases {
        let name = case["function"].as_str().expect("a name");
        let arguments: Vec<f64> = serde_json::from_value(case["arguments"].clone()).expect("numbers");
        let expected = case["expected"].as_f64().expect("a number");
        let found = functions::evaluate(name, &arguments).expect("a known function");
        let quantile = name.contains("quantile") || name.ends_with("critical");
        let tolerance = if quantile { QUANTILE_TOLERANCE } else { TOLERANCE };
        let logarithm = name.starts_with("ln_") && !["ln_normal_survival", "ln_gamma"].contains(&name);
        let scale = if logarithm { expected.abs().max(1.0) } else { expected.abs() };
        assert!((found - expected).abs() <= tolerance * scale, "{found:e} is not {expected:e} in {case}");
    }
}

#[test]
fn the_ends_of_a_range_are_exact() {
    for (a, b) in [(0.5, 0.5), (1.0, 1.0), (3.0, 1e9)] {
        assert_eq!((beta_cdf(0.0, a, b), beta_survival(0.0, a, b)), (0.0, 1.0));
        assert_eq!((beta_cdf(1.0, a, b), beta_survival(1.0, a, b)), (1.0, 0.0));
        assert_eq!((beta_quantile(0.0, a, b), beta_quantile(1.0, a, b)), (0.0, 1.0));
    }
    for df in [1.0, 2.0, 1e12] {
        assert_eq!((chi_square_cdf(0.0, df), chi_square_survival(-1.0, df)), (0.0, 1.0));
        assert_eq!((chi_square_cdf(f64::INFINITY, df), chi_square_survival(f64::INFINITY, df)), (1.0, 0.0));
        assert_eq!(chi_square_quantile_upper(1.0, df), 0.0);
        assert_eq!((student_cdf(f64::INFINITY, df), student_survival(f64::INFINITY, df)), (1.0, 0.0));
        assert_eq!((student_cdf(0.0, df), student_quantile(0.5, df)), (0.5, 0.0));
    }
    assert_eq!((binomial_cdf(10, 10, 0.3), binomial_survival(10, 10, 0.3)), (1.0, 0.0));
    assert_eq!((binomial_cdf(-1, 10, 0.3), binomial_survival(-1, 10, 0.3)), (0.0, 1.0));
    assert_eq!((binomial_cdf(3, 10, 0.0), binomial_cdf(3, 10, 1.0)), (1.0, 0.0));
    assert_eq!((ln_binomial_mass(0, 10, 0.0), ln_binomial_mass(10, 10, 1.0)), (0.0, 0.0));
    assert_eq!((ln_binomial_mass(0, 0, 0.3), ln_binomial_mass(11, 10, 0.3)), (0.0, f64::NEG_INFINITY));
    assert_eq!(
        (ln_binomial_mass(3, 10, 0.0), ln_binomial_mass(3, 10, 1.0)),
        (f64::NEG_INFINITY, f64::NEG_INFINITY)
    );
    assert_eq!(ln_hypergeometric_mass(0, 10, 0, 5), 0.0);
    assert_eq!(ln_hypergeometric_mass(4, 10, 4, 10), 0.0);
    assert_eq!(ln_hypergeometric_mass(5, 10, 4, 6), f64::NEG_INFINITY);
    assert_eq!(
        [ln_beta_density(0.0, 0.5, 2.0), ln_beta_density(0.0, 1.0, 2.0), ln_beta_density(1.0, 1.0, 2.0)],
        [f64::INFINITY, 2.0_f64.ln(), f64::NEG_INFINITY]
    );
    // −1/e is no double; the one nearest to it is taken for it.
    assert_eq!(lambert_w_minus_1(-(-1.0_f64).exp()), -1.0);
    assert_eq!(ln_normal_survival(f64::INFINITY), f64::NEG_INFINITY);
}

#[test]
fn arguments_outside_the_domain_give_nan() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
        assert!(beta_cdf(0.5, bad, 2.0).is_nan() && beta_survival(0.5, 2.0, bad).is_nan());
        assert!(beta_quantile(0.5, bad, 2.0).is_nan() && ln_beta(2.0, bad).is_nan());
        assert!(chi_square_cdf(1.0, bad).is_nan() && chi_square_survival(1.0, bad).is_nan());
        assert!(chi_square_quantile_upper(0.5, bad).is_nan());
        assert!(normal_quantile(bad).is_nan());
    }
    for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        assert!(beta_quantile(bad, 2.0, 3.0).is_nan() && chi_square_quantile_upper(bad, 2.0).is_nan());
        assert!(student_quantile(bad, 2.0).is_nan() && ln_beta_density(bad, 2.0, 3.0).is_nan());
        assert!(binomial_cdf(3, 10, bad).is_nan() && ln_binomial_mass(3, 10, bad).is_nan());
    }
    assert!(beta_cdf(f64::NAN, 2.0, 3.0).is_nan() && chi_square_survival(f64::NAN, 3.0).is_nan());
    assert!(binomial_survival(1, -1, 0.5).is_nan() && ln_binomial_mass(1, -1, 0.5).is_nan());
    assert!(ln_hypergeometric_mass(1, 5, 6, 2).is_nan() && ln_hypergeometric_mass(1, -1, 0, 0).is_nan());
    assert!(ln_gamma(0.0).is_nan() && ln_gamma(f64::NAN).is_nan());
    assert!(lambert_w_minus_1(-0.4).is_nan() && lambert_w_minus_1(0.1).is_nan());
}

/// Any double at all, bit patterns included, and often an ordinary one.
fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        -1e3..1e3,
        0.0..1.0,
        (-6.0..19.0_f64).prop_map(|e| 10_f64.powf(e))
    ]
}

fn powers(exponents: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    exponents.prop_map(|exponent| 10_f64.powf(exponent))
}

/// Both tails down to 10⁻³⁰⁰ and the centre.
fn areas() -> impl Strategy<Value = f64> {
    prop_oneof![powers(-300.0..-0.01), 0.001..0.999]
}

/// The chance that a value is below and above: in range, and together one.
fn assert_areas(below: f64, above: f64) -> Result<(), TestCaseError> {
    prop_assert!((0.0..=1.0).contains(&below) && (0.0..=1.0).contains(&above), "{below:e} and {above:e}");
    prop_assert!((below + above - 1.0).abs() <= 1e-15, "{below:e} and {above:e}");
    Ok(())
}

/// Neither less below nor more above a value than below and above a lesser one.
fn assert_monotone(lesser: (f64, f64), greater: (f64, f64)) -> Result<(), TestCaseError> {
    let falls = |more: f64, less: f64| more > less * (1.0 + TOLERANCE) && more > f64::MIN_POSITIVE;
    prop_assert!(!falls(lesser.0, greater.0) && !falls(greater.1, lesser.1), "{lesser:?} and {greater:?}");
    Ok(())
}

fn settings() -> ProptestConfig {
    // Without a file of failures: a failing case is to be fixed, or given to the golden vectors.
    ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(settings())]

    /// Whatever comes in, nothing panics or loops, and what comes out is in range or NaN.
    #[test]
    fn nothing_panics(
        (x, a, b, c) in (any_double(), any_double(), any_double(), any_double()),
        (k, n, m, l) in (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>()),
    ) {
        let areas = [
            normal_cdf(x), normal_survival(x), normal_two_sided(x),
            student_cdf(x, a), student_survival(x, a), student_two_sided(x, a),
            chi_square_cdf(x, a), chi_square_survival(x, a),
            beta_cdf(x, a, b), beta_survival(x, a, b), beta_quantile(x, a, b),
            binomial_cdf(k, n, x), binomial_survival(k, n, x),
        ];
        for area in areas {
            prop_assert!(area.is_nan() || (0.0..=1.0).contains(&area), "{areas:?}");
        }
        for positive in [normal_density(x), normal_critical(x), student_critical(x, a), chi_square_quantile_upper(x, a)] {
            prop_assert!(positive.is_nan() || positive >= 0.0);
        }
        for (k, n, m, l) in [(k, n, m, l), (k % 100, n % 1000, m % 1000, l % 1000)] {
            for ln_mass in [ln_hypergeometric_mass(k, n, m, l), ln_binomial_mass(k, n, x)] {
                prop_assert!(ln_mass.is_nan() || ln_mass <= 1e-9, "{ln_mass:e}");
            }
        }
        for (name, count) in [("normal_quantile", 1), ("ln_normal_survival", 1), ("student_quantile", 2), ("ln_gamma", 1),
            ("ln_beta", 2), ("ln_beta_density", 3), ("lambert_w_minus_1", 1), ("ln_hypergeometric_mass", 4)] {
            prop_assert!(functions::evaluate(name, &[x, a, b, c][..count]).is_some());
        }
    }

    #[test]
    fn beta_areas_are_areas(
        (a, b) in (powers(-3.0..9.0), powers(-3.0..9.0)),
        (p, q) in (areas(), areas()),
        (x, y) in (0.0..1.0_f64, 0.0..1.0_f64),
    ) {
        let (p, q, x, y) = (p.min(q), p.max(q), x.min(y), x.max(y));
        let both = |x| (beta_cdf(x, a, b), beta_survival(x, a, b));
        let (low, high) = (beta_quantile(p, a, b), beta_quantile(q, a, b));
        prop_assert!(low <= high * (1.0 + QUANTILE_TOLERANCE) && high <= 1.0);
        for (lesser, greater) in [(low, high), (x, y), (low, low.next_up()), (x, x + (y - x) * 1e-9)] {
            if lesser < greater && greater < 1.0 {
                assert_areas(both(lesser).0, both(lesser).1)?;
                assert_monotone(both(lesser), both(greater))?;
            }
        }
        let mirrored = (beta_survival(0.5, b, a), beta_cdf(0.5, b, a));
        assert_monotone(both(0.5), mirrored)?;
        assert_monotone(mirrored, both(0.5))?;
    }

    #[test]
    fn chi_square_areas_are_areas(df in powers(0.0..12.0), (p, q) in (areas(), areas()), factor in powers(-3.0..3.0)) {
        let both = |x| (chi_square_cdf(x, df), chi_square_survival(x, df));
        let (low, high) = (chi_square_quantile_upper(p.max(q), df), chi_square_quantile_upper(p.min(q), df));
        prop_assert!(low <= high * (1.0 + QUANTILE_TOLERANCE));
        for (lesser, greater) in [(low, high), (low, low.next_up()), (high * factor.min(1.0), high)] {
            if lesser < greater {
                assert_areas(both(lesser).0, both(lesser).1)?;
                assert_monotone(both(lesser), both(greater))?;
            }
        }
    }

    #[test]
    fn student_and_normal_areas_are_areas(df in powers(0.0..12.0), (p, q) in (areas(), areas())) {
        let (p, q) = (p.min(q), p.max(q));
        let student = |t| (student_cdf(t, df), student_survival(t, df));
        let normal = |z| (normal_cdf(z), normal_survival(z));
        for sign in [-1.0, 1.0] {
            let (low, high) = (sign * student_quantile(p, df).abs(), sign * student_quantile(q, df).abs());
            assert_areas(student(low).0, student(low).1)?;
            assert_monotone(student(low.min(high)), student(low.max(high)))?;
            let (low, high) = (sign * normal_quantile(p).abs(), sign * normal_quantile(q).abs());
            assert_areas(normal(low).0, normal(low).1)?;
            assert_monotone(normal(low.min(high)), normal(low.max(high)))?;
        }
        prop_assert!(student_quantile(p, df) <= student_quantile(q, df) + QUANTILE_TOLERANCE);
    }

    /// The masses of a whole distribution add up to its areas.
    #[test]
    fn masses_add_up((n, rate) in (1..300_i64, 0.0..1.0_f64), (successes, draws) in (0..300_i64, 0..300_i64), at in 0..300_i64) {
        let below: f64 = (0..=at.min(n)).map(|k| ln_binomial_mass(k, n, rate).exp()).sum();
        prop_assert!((below - binomial_cdf(at, n, rate)).abs() < 1e-12);
        assert_areas(binomial_cdf(at, n, rate), binomial_survival(at, n, rate))?;
        let (successes, draws) = (successes.min(n), draws.min(n));
        let all: f64 = (0..=n).map(|k| ln_hypergeometric_mass(k, n, successes, draws).exp()).sum();
        prop_assert!((all - 1.0).abs() < 1e-12, "{all}");
    }

    /// Within the range of an experiment a quantile's own area is the one asked for, but for the last digit of the quantile.
    #[test]
    fn quantiles_have_their_areas(df in powers(0.0..12.0), (a, b) in (powers(-0.3..9.0), powers(-0.3..9.0)), area in areas()) {
        let x = chi_square_quantile_upper(area, df);
        let (here, there) = (chi_square_survival(x * (1.0 + 1e-13), df), chi_square_survival(x * (1.0 - 1e-13), df));
        prop_assert!(here <= area * (1.0 + TOLERANCE) && area <= there * (1.0 + TOLERANCE), "{here:e} {area:e} {there:e}");
        let x = beta_quantile(area, a, b);
        if x > 1e-300 && x < 0.999 {
            let (here, there) = (beta_cdf(x * (1.0 - 1e-12), a, b), beta_cdf(x * (1.0 + 1e-12), a, b));
            let between = here <= area * (1.0 + TOLERANCE) && area <= there * (1.0 + TOLERANCE);
            prop_assert!(between, "{here:e} {area:e} {there:e}");
        }
    }
}
