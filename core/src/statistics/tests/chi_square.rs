use super::super::chi_square::chi_square_test;
use super::*;

fn counts(case: &Value, name: &str) -> Vec<i64> {
    let array = case[name].as_array().expect("an array");
    array.iter().map(|count| count.as_i64().expect("a count")).collect()
}

#[test]
fn chi_square_matches_the_reference() {
    for case in vectors!("chi_square.json") {
        let given = &case["given"];
        let yates = given["yates"].as_bool().expect("yes or no");
        let found =
            chi_square_test(&counts(given, "counts"), &counts(given, "conversions"), yates).expect("valid");
        let columns = columns!(found, statistic, p_value, min_expected);
        assert_columns(columns, found.note, &case["expected"], &case);
        assert_eq!(found.degrees_of_freedom, Some(counts(given, "counts").len() as i64 - 1));
    }
}

#[test]
fn tables_without_an_answer_say_why() {
    let note = |counts: &[i64], conversions: &[i64]| {
        let found = chi_square_test(counts, conversions, false).expect("valid");
        assert_eq!((found.statistic, found.p_value), (None, None));
        found.note
    };
    assert_eq!(note(&[], &[]), Some(Note::TooFewArms));
    assert_eq!(note(&[9], &[3]), Some(Note::TooFewArms));
    assert_eq!(note(&[9, 0], &[3, 0]), Some(Note::ZeroMargin));
    assert_eq!(note(&[9, 8], &[0, 0]), Some(Note::ZeroMargin));
    assert_eq!(note(&[9, 8], &[9, 8]), Some(Note::ZeroMargin));
    assert_eq!(note(&[0, 0], &[0, 0]), Some(Note::ZeroMargin));
}

#[test]
fn impossible_tables_are_named() {
    let argument = |counts: &[i64], conversions: &[i64], yates| {
        chi_square_test(counts, conversions, yates).expect_err("invalid").argument
    };
    assert_eq!(argument(&[9, -1], &[1, 0], false), "counts");
    assert_eq!(argument(&[i64::MAX, 1], &[1, 0], false), "counts");
    assert_eq!(argument(&[9, 9], &[1], false), "conversions");
    assert_eq!(argument(&[9, 9], &[1, 10], false), "conversions");
    assert_eq!(argument(&[9, 9, 9], &[1, 1, 1], true), "yates");
}

proptest! {
    #[test]
    fn two_arms_agree_with_the_z_test((control, treatment) in ordinary_proportions()) {
        let arms = ([control.n, treatment.n], [control.conversions, treatment.conversions]);
        let found = chi_square_test(&arms.0, &arms.1, false).expect("valid");
        let test = proportion_test(control, treatment, 0.05, TWO_SIDED).expect("valid");
        if let (Some(square), Some(z)) = (found.statistic, test.statistic) {
            prop_assert!((square - z * z).abs() <= 1e-12 * square);
        }
        let corrected = chi_square_test(&arms.0, &arms.1, true).expect("valid");
        prop_assert!(corrected.p_value >= found.p_value);
    }
}
