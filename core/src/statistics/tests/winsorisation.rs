use super::super::winsorisation::Winsorised;
use super::*;

fn of(values: &[f64], low: f64, high: f64) -> Winsorised {
    let mut state = Winsorised::new(low, high).expect("caps");
    values.iter().for_each(|&value| state.add(value).expect("finite"));
    state
}

#[test]
fn capped_metrics_match_the_reference() {
    for case in vectors!("winsorised.json") {
        let given = &case["given"];
        let array = given["values"].as_array().expect("an array");
        let values: Vec<f64> = array.iter().map(|value| value.as_f64().expect("a number")).collect();
        let low = figure(given, "low").unwrap_or(f64::NEG_INFINITY);
        let high = figure(given, "high").unwrap_or(f64::INFINITY);
        let mut parts = of(&values[..values.len() / 3], low, high);
        parts.merge(&of(&values[values.len() / 3..], low, high)).expect("the same caps");
        for found in [of(&values, low, high).summary(), parts.summary()] {
            assert_eq!((found.capped.n, found.raw.n), (values.len() as i64, values.len() as i64));
            let columns = [
                ("mean", Some(found.capped.mean)),
                ("raw_mean", Some(found.raw.mean)),
                ("users", found.capped_share_of_users),
            ];
            assert_columns(&columns, found.note, &case["expected"], &case);
            let variances = [("variance", found.capped.variance), ("raw_variance", found.raw.variance)];
            for (name, variance) in variances {
                assert_close(variance, number(&case["expected"], name), 1e-7, &case);
            }
            let (total, expected) = (found.capped_share_of_total, figure(&case["expected"], "total"));
            let close =
                |(total, expected): (f64, f64)| (total - expected).abs() <= 1e-14 + 1e-11 * expected.abs();
            assert!(total.zip(expected).map_or(total == expected, close), "{total:?} in {case}");
        }
    }
}

#[test]
fn impossible_caps_are_named() {
    assert_eq!(Winsorised::new(2.0, 1.0).expect_err("order").argument, "cap");
    assert_eq!(Winsorised::new(f64::NAN, 1.0).expect_err("NaN").argument, "cap");
    assert_eq!(of(&[], 0.0, 1.0).add(f64::NAN).expect_err("NaN").argument, "value");
    assert_eq!(of(&[], 0.0, 1.0).merge(&of(&[], 0.0, 2.0)).expect_err("caps").argument, "cap");
    let nobody = of(&[], 0.0, 1.0).summary();
    assert_eq!((nobody.capped_share_of_users, nobody.note), (None, Some(Note::TooFewUnits)));
}
