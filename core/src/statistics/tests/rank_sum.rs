use super::super::rank_sum::rank_sum_test;
use super::*;

fn values(case: &Value, name: &str) -> Vec<f64> {
    let array = case[name].as_array().expect("an array");
    array.iter().map(|value| value.as_f64().expect("a number")).collect()
}

#[test]
fn rank_sums_match_the_reference() {
    for case in vectors!("rank_sum.json") {
        let given = &case["given"];
        let found = rank_sum_test(&values(given, "x"), &values(given, "y")).expect("valid");
        let columns = columns!(found, u, z, p_value, prob_superiority);
        assert_columns(columns, found.note, &case["expected"], &case);
    }
}

#[test]
fn rank_sums_without_an_answer_say_why() {
    let found = rank_sum_test(&[], &[1.0]).expect("valid");
    assert_eq!((found.u, found.p_value, found.note), (None, None, Some(Note::TooFewUnits)));
    let found = rank_sum_test(&[0.0, -0.0], &[0.0]).expect("valid");
    assert_eq!((found.z, found.p_value, found.prob_superiority), (None, Some(1.0), Some(0.5)));
    assert_eq!(rank_sum_test(&[f64::NAN], &[1.0]).expect_err("no number").argument, "x");
    assert_eq!(rank_sum_test(&[1.0], &[f64::INFINITY]).expect_err("no number").argument, "y");
}
