use super::super::quantile::{QuantileInterval, cluster_factor, quantile, quantile_interval, quantile_test};
use super::*;

fn values(case: &Value) -> Vec<f64> {
    let array = case["values"].as_array().expect("an array");
    array.iter().map(|value| value.as_f64().expect("a number")).collect()
}

#[test]
fn quantiles_match_the_reference() {
    for case in vectors!("quantile.json") {
        let given = &case["given"];
        let found =
            quantile_interval(&values(given), number(given, "q"), number(given, "alpha")).expect("valid");
        let columns = columns!(found, estimate, low, high, standard_error);
        assert_columns(columns, found.note, &case["expected"], &case);
    }
}

#[test]
fn quantiles_of_arms_are_compared_like_means() {
    let interval = |estimate, error| QuantileInterval {
        estimate: Some(estimate),
        low: None,
        high: None,
        standard_error: Some(error),
        note: None,
    };
    let found = quantile_test(interval(10.0, 0.3), interval(11.0, 0.4), [1.0, 1.0], 0.05, TWO_SIDED);
    let found = found.expect("valid");
    assert_close(found.standard_error.expect("an error"), 0.5, 1e-15, &Value::Null);
    assert_close(found.p_value.expect("p"), normal_two_sided(2.0), 1e-15, &Value::Null);
    let wider = quantile_test(interval(10.0, 0.3), interval(11.0, 0.4), [4.0, 4.0], 0.05, TWO_SIDED);
    assert_close(wider.expect("valid").standard_error.expect("an error"), 1.0, 1e-15, &Value::Null);
    let none =
        QuantileInterval { standard_error: None, note: Some(Note::ZeroVariance), ..interval(1.0, 0.0) };
    let found = quantile_test(none, interval(11.0, 0.4), [1.0, 1.0], 0.05, TWO_SIDED).expect("valid");
    assert_eq!((found.diff, found.p_value, found.note), (Some(10.0), None, Some(Note::ZeroVariance)));
    let found = quantile_test(none, none, [0.0, 1.0], 0.05, TWO_SIDED);
    assert_eq!(found.expect_err("invalid").argument, "cluster_factor");
    assert_eq!(cluster_factor(0.02, 0.5, 25), Ok(Some(2.0)));
    assert_eq!(cluster_factor(0.02, 1.0, 25), Ok(None));
    assert_eq!(cluster_factor(0.02, 1.5, 25).expect_err("invalid").argument, "share");
}

#[test]
fn impossible_quantiles_are_named() {
    let argument = |values: &[f64], q| quantile(values, q).expect_err("invalid").argument;
    assert_eq!(argument(&[1.0], 0.0), "q");
    assert_eq!(argument(&[1.0], f64::NAN), "q");
    assert_eq!(argument(&[2.0, 1.0], 0.5), "values");
    assert_eq!(argument(&[1.0, f64::NAN], 0.5), "values");
    assert_eq!(quantile(&[], 0.5), Ok(None));
    assert_eq!(quantile_interval(&[], 0.5, 0.05).expect("valid").note, Some(Note::TooFewUnits));
}

/// Whatever the distribution, the quantile lies between two ranks with a probability that the binomial distribution gives.
#[test]
fn quantile_intervals_cover() {
    for (n, most) in [(1_000, 0.985), (10_000, 0.975), (100_000, 0.975)] {
        let ranks: Vec<f64> = (1..=n).map(|rank| rank as f64).collect();
        for q in [0.5, 0.9, 0.99] {
            let found = quantile_interval(&ranks, q, 0.05).expect("valid");
            let (low, high) = (found.low.expect("a rank") as i64, found.high.expect("a rank") as i64);
            let below = |rank| super::super::distribution::binomial_cdf(rank - 1, n, q);
            let coverage = below(high) - below(low);
            assert!((0.945..=most).contains(&coverage), "quantile {q} of {n} is covered by {coverage}");
        }
    }
}
