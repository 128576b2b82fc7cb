use super::super::multiplicity::{Correction, adjust, selected_alpha, simultaneous_alpha};
use super::*;

fn numbers(value: &Value) -> Vec<Option<f64>> {
    value.as_array().expect("an array").iter().map(Value::as_f64).collect()
}

#[test]
fn adjusted_p_values_match_the_reference() {
    for case in vectors!("multiplicity.json") {
        let correction: Correction = case["given"]["method"].as_str().expect("text").parse().expect("known");
        let found = adjust(&numbers(&case["given"]["p"]), correction).expect("valid");
        let expected = numbers(&case["expected"]["adjusted"]);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(expected) {
            match (found, expected) {
                (Some(found), Some(expected)) => assert_close(found, expected, 1e-14, &case),
                (found, expected) => assert_eq!(found, expected, "{case}"),
            }
        }
    }
}

#[test]
fn no_tests_need_no_adjustment() {
    for name in ["bonferroni", "holm", "hochberg", "bh", "by"] {
        let correction: Correction = name.parse().expect("known");
        assert_eq!(correction.as_str(), name);
        assert_eq!(adjust(&[], correction), Ok(vec![]));
        assert_eq!(adjust(&[None, Some(0.03), None], correction), Ok(vec![None, Some(0.03), None]));
    }
}

#[test]
fn intervals_of_families_share_alpha() {
    assert_eq!(simultaneous_alpha(0.05, 5), Ok(0.01));
    assert_eq!(selected_alpha(0.05, 2, 10), Ok(0.01));
}

#[test]
fn impossible_families_are_named() {
    for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(adjust(&[Some(0.5), Some(p)], Correction::Holm).expect_err("not a p-value").argument, "p");
    }
    assert_eq!("fdr".parse::<Correction>().expect_err("unknown").argument, "method");
    assert_eq!(simultaneous_alpha(0.05, 0).expect_err("no tests").argument, "tests");
    assert_eq!(simultaneous_alpha(1.0, 2).expect_err("no level").argument, "alpha");
    assert_eq!(selected_alpha(0.05, 3, 2).expect_err("too many").argument, "selected");
}

proptest! {
    /// The stronger method never has the greater p-value, and no method changes the order.
    #[test]
    fn corrections_keep_their_order(p_values in prop::collection::vec(prop::option::of(0.0..=1.0_f64), 0..40)) {
        let by = |correction| adjust(&p_values, correction).expect("valid");
        let (bonferroni, holm) = (by(Correction::Bonferroni), by(Correction::Holm));
        let (hochberg, bh) = (by(Correction::Hochberg), by(Correction::BenjaminiHochberg));
        for place in 0..p_values.len() {
            prop_assert!(bonferroni[place] >= holm[place] && holm[place] >= hochberg[place]);
            prop_assert!(hochberg[place] >= bh[place] && bh[place] >= p_values[place]);
            for other in 0..p_values.len() {
                if let (Some(p), Some(q)) = (p_values[place], p_values[other]) && p <= q {
                    prop_assert!(holm[place] <= holm[other] && bh[place] <= bh[other]);
                }
            }
        }
    }
}
