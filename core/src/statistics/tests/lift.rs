use super::super::lift::{LiftInterval, LiftMethod, lift_interval};
use super::*;

#[test]
fn lift_intervals_match_the_reference() {
    for case in vectors!("lift_interval.json") {
        let given = &case["given"];
        let arm = |n, mean, variance| sample(count(given, n), number(given, mean), number(given, variance));
        let method: LiftMethod = given["method"].as_str().expect("text").parse().expect("known");
        let (control, treatment) = (arm("n1", "mean1", "var1"), arm("n2", "mean2", "var2"));
        let found = lift_interval(control, treatment, number(given, "alpha"), method).expect("valid");
        let columns = columns!(found, lift, low, high, g);
        assert_columns(columns, found.note, &case["expected"], &case);
    }
}

const METHODS: [LiftMethod; 3] = [LiftMethod::Fieller, LiftMethod::Delta, LiftMethod::Log];

#[test]
fn lifts_without_bounds_say_why() {
    for method in METHODS {
        assert_eq!(method.as_str().parse(), Ok(method));
        let interval = |control, treatment| lift_interval(control, treatment, 0.05, method).expect("valid");
        let full = sample(10, 2.0, 1.0);
        let found = interval(sample(0, 0.0, 0.0), full);
        assert_eq!((found.lift, found.low, found.note), (None, None, Some(Note::TooFewUnits)));
        let found = interval(sample(1, 1.0, 0.0), full);
        assert_eq!((found.lift, found.low, found.note), (Some(1.0), None, Some(Note::TooFewUnits)));
        let found = interval(sample(10, 0.0, 1.0), full);
        assert_eq!((found.lift, found.low, found.note), (None, None, Some(Note::ControlNearZero)));
        let found = interval(sample(10, 1.0, 0.0), sample(10, 2.0, 0.0));
        assert_eq!((found.lift, found.low, found.note), (Some(1.0), None, Some(Note::ZeroVariance)));
    }
    let found = lift_interval(sample(10, -2.0, 1.0), sample(10, 2.0, 1.0), 0.05, LiftMethod::Log);
    assert_eq!(found.expect("valid").note, Some(Note::NonPositiveMean));
    assert_eq!("taylor".parse::<LiftMethod>().expect_err("unknown").argument, "method");
}

proptest! {
    #[test]
    fn lifts_lie_within_their_bounds(
        (n1, n2) in (any_count(), any_count()),
        (mean1, var1, mean2, var2) in (any_double(), any_double(), any_double(), any_double()),
        alpha in prop_oneof![any_double(), 0.0..1.0_f64],
        method in prop::sample::select(&METHODS),
    ) {
        let arms = (sample(n1, mean1, var1.abs()), sample(n2, mean2, var2.abs()));
        if let Ok(LiftInterval { lift, low, high, note, .. }) = lift_interval(arms.0, arms.1, alpha, method) {
            if let (Some(lift), Some(low), Some(high)) = (lift, low, high) {
                // The logarithm of a ratio of up to 10³⁰⁰ has its last digit at 10⁻¹³.
                let rounding = 1e-12 * (1.0 + lift.abs());
                prop_assert!(low <= lift + rounding && lift <= high + rounding);
            } else {
                prop_assert!(note.is_some());
            }
            prop_assert!(low.is_none_or(f64::is_finite) && high.is_none_or(f64::is_finite));
        }
    }
}
