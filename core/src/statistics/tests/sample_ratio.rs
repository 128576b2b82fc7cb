use super::super::sample_ratio::{
    PhaseArm, sample_ratio_phases, sample_ratio_test, sequential_sample_ratio, sequential_sample_ratio_phases,
};
use super::*;

fn cells(case: &Value) -> Vec<PhaseArm> {
    let cell = |cell: &Value| PhaseArm {
        phase: cell[0].as_i64().expect("a phase") as i32,
        arm: cell[1].as_i64().expect("an arm") as i32,
        observed: cell[2].as_i64().expect("a count"),
        weight: cell[3].as_f64().expect("a weight"),
    };
    case["cells"].as_array().expect("cells").iter().map(cell).collect()
}

#[test]
fn sample_ratios_match_the_reference() {
    for case in vectors!("sample_ratio.json") {
        let found = sample_ratio_phases(&cells(&case["given"]), 0.001).expect("valid");
        let degrees_of_freedom = found.degrees_of_freedom.map(|df| df as f64);
        let columns = [
            ("statistic", found.statistic),
            ("degrees_of_freedom", degrees_of_freedom),
            ("p_value", found.p_value),
        ];
        assert_columns(&columns, found.note, &case["expected"], &case);
        assert_eq!(found.mismatch, found.p_value.map(|p| p < 0.001));
    }
}

#[test]
fn sequential_sample_ratios_match_the_reference() {
    for case in vectors!("sequential_sample_ratio.json") {
        let given = &case["given"];
        let found = sequential_sample_ratio_phases(&cells(given), number(given, "concentration"), 0.001);
        let found = found.expect("valid");
        // ln e may be the small difference of large logarithms: what counts is the p-value's relative error.
        let (log_e, expected) = (found.log_e.expect("e"), number(&case["expected"], "log_e"));
        assert!((log_e - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{log_e:e} in {case}");
        assert_close(found.p_value.expect("p"), number(&case["expected"], "p_value"), 1e-9, &case);
    }
}

#[test]
fn sample_ratios_without_an_answer_say_why() {
    let test = |observed: &[i64], weights: &[f64]| {
        let sequential = sequential_sample_ratio(observed, weights, 100.0, 0.001).expect("valid");
        let fixed = sample_ratio_test(observed, weights, 0.001).expect("valid");
        assert_eq!(fixed.mismatch, sequential.mismatch);
        (fixed.p_value, fixed.degrees_of_freedom, fixed.note)
    };
    assert_eq!(test(&[], &[]), (None, None, Some(Note::TooFewArms)));
    assert_eq!(test(&[5], &[1.0]), (None, None, Some(Note::TooFewArms)));
    assert_eq!(test(&[5, 0], &[1.0, 0.0]), (None, None, Some(Note::TooFewArms)));
    assert_eq!(test(&[0, 0], &[1.0, 1.0]), (None, None, Some(Note::TooFewUnits)));
    assert_eq!(test(&[5, 1], &[1.0, 0.0]), (Some(0.0), Some(1), Some(Note::ZeroWeightArm)));
    assert_eq!(test(&[20, 20, 0], &[1.0, 1.0, 0.0]), (Some(1.0), Some(1), None));
    assert_eq!(test(&[3, 3], &[0.5, 0.5]), (Some(1.0), Some(1), Some(Note::SmallCounts)));
}

#[test]
fn impossible_sample_ratios_are_named() {
    let argument = |observed: &[i64], weights: &[f64], threshold, concentration| {
        let error =
            sequential_sample_ratio(observed, weights, concentration, threshold).expect_err("invalid");
        if concentration == 100.0 {
            assert_eq!(sample_ratio_test(observed, weights, threshold).expect_err("invalid"), error);
        }
        error.argument
    };
    assert_eq!(argument(&[1, -1], &[1.0, 1.0], 0.001, 100.0), "observed");
    for weights in [&[1.0][..], &[1.0, -1.0], &[1.0, f64::NAN], &[1.0, f64::INFINITY], &[0.0, 0.0]] {
        assert_eq!(argument(&[1, 1], weights, 0.001, 100.0), "weights");
    }
    assert_eq!(argument(&[1, 1], &[1.0, 1.0], 0.0, 100.0), "threshold");
    assert_eq!(argument(&[1, 1], &[1.0, 1.0], 0.001, 0.0), "concentration");
    let cell = PhaseArm { phase: 1, arm: 2, observed: 3, weight: 1.0 };
    assert_eq!(sample_ratio_phases(&[cell, cell], 0.001).expect_err("twice").argument, "arm");
}

proptest! {
    #[test]
    fn sample_ratios_never_panic(
        cells in prop::collection::vec((any::<i32>(), any::<i32>(), any_count(), any_double()), 0..6),
        threshold in any_double(),
        concentration in any_double(),
    ) {
        let cells: Vec<_> = cells
            .into_iter()
            .map(|(phase, arm, observed, weight)| PhaseArm {
                phase: phase % 2,
                arm,
                observed: observed.saturating_abs(),
                weight: weight.abs(),
            })
            .collect();
        for threshold in [threshold, 0.001] {
            if let Ok(found) = sample_ratio_phases(&cells, threshold) {
                prop_assert!(found.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{found:?}");
            }
            if let Ok(found) = sequential_sample_ratio_phases(&cells, concentration.abs(), threshold) {
                prop_assert!(found.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{found:?}");
            }
        }
    }
}
