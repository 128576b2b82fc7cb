use super::super::power::{
    Design, detectable_effect, detectable_effect_proportion, power, run_time, sample_size_difference,
    sample_size_mean, sample_size_noninferiority, sample_size_proportion,
};
use super::*;

fn design(given: &Value) -> Design {
    let design = &given["design"];
    Design {
        alpha: number(design, "alpha"),
        power: number(design, "power"),
        ratio: number(design, "ratio"),
        treatments: count(design, "treatments") as i32,
        rho: number(design, "rho"),
        inflation: number(design, "inflation"),
        one_sided: design["one_sided"].as_bool().expect("yes or no"),
    }
}

#[test]
fn sample_sizes_match_the_reference() {
    for case in vectors!("sample_size.json") {
        let given = &case["given"];
        let found = if given["metric"] == "proportion" {
            sample_size_proportion(number(given, "p1"), number(given, "mde_rel"), design(given))
        } else {
            let (sd1, sd2) = (number(given, "sd1"), number(given, "sd2"));
            sample_size_difference(sd1, sd2, number(given, "effect"), design(given))
        };
        let found = found.expect("valid");
        for (name, size) in
            [("n_control", found.n_control), ("n_treatment", found.n_treatment), ("n_total", found.n_total)]
        {
            assert_eq!(size, Some(count(&case["expected"], name)), "{name} of {case}");
        }
        assert_columns(columns!(found, mde_abs, alpha_used), found.note, &case["expected"], &case);
    }
}

#[test]
fn powers_and_detectable_effects_match_the_reference() {
    for case in vectors!("power.json") {
        let given = &case["given"];
        let arm = |n, sd| (count(given, n), number(given, sd));
        let (effect, alpha) = (number(given, "mde_abs"), number(given, "alpha"));
        let found = power(arm("n1", "sd1"), arm("n2", "sd2"), effect, alpha, alternative(given));
        let found = found.expect("valid");
        assert_columns(columns!(found, power, standard_error), found.note, &case["expected"], &case);
    }
    for case in vectors!("detectable.json") {
        let given = &case["given"];
        let arm = |n, sd| (count(given, n), number(given, sd));
        let (baseline, alpha) = (number(given, "baseline"), number(given, "alpha"));
        let found =
            detectable_effect(arm("n1", "sd1"), arm("n2", "sd2"), baseline, alpha, number(given, "power"));
        let found = found.expect("valid");
        assert_columns(columns!(found, mde_abs, mde_rel), found.note, &case["expected"], &case);
    }
    for case in vectors!("detectable_proportion.json") {
        let given = &case["given"];
        let (p1, alpha, power) = (number(given, "p1"), number(given, "alpha"), number(given, "power"));
        let found = detectable_effect_proportion(count(given, "n1"), count(given, "n2"), p1, alpha, power);
        let found = found.expect("valid");
        assert_columns(columns!(found, mde_abs, mde_rel), found.note, &case["expected"], &case);
    }
}

/// The figures people carry in their heads.
#[test]
fn rules_of_thumb_come_out() {
    let fixed = Design::default();
    let ten_percent = sample_size_proportion(0.10, 0.10, fixed).expect("valid");
    assert_eq!(ten_percent.n_control, Some(14_751));
    assert_eq!((ten_percent.n_treatment, ten_percent.n_total), (Some(14_751), Some(29_502)));
    // About 15,000 per variant for 10 % ± 1 %, and n = 16·p·(1 − p)/MDE² within 6 % for small effects.
    assert!((14_000..16_000).contains(&ten_percent.n_control.expect("a size")));
    for p in [0.02, 0.1, 0.5] {
        let mde = 0.01 * p;
        let found = sample_size_proportion(p, 0.01, fixed).expect("valid").n_control.expect("a size");
        let rule = 16.0 * p * (1.0 - p) / (mde * mde);
        assert!((found as f64 / rule - 1.0).abs() < 0.06, "{found} is not about {rule}");
    }
    assert_eq!(sample_size_mean(5.0, 10.0, 0.1, fixed).expect("valid").n_control, Some(6280));
    // Half the variance is half the users, √k to 1 the best share of a control, a margin one-sided.
    let cuped = Design { rho: 0.5_f64.sqrt(), ..fixed };
    assert_eq!(sample_size_mean(5.0, 10.0, 0.1, cuped).expect("valid").n_control, Some(3140));
    let total = |ratio| {
        let design = Design { treatments: 4, ratio, ..fixed };
        sample_size_mean(5.0, 10.0, 0.1, design).expect("valid").n_total.expect("a size")
    };
    assert!(total(0.5) < total(0.6) && total(0.5) < total(0.4));
    let margin = sample_size_noninferiority(10.0, 0.5, 0.0, fixed).expect("valid").n_control;
    let two_sided = Design { alpha: 0.1, ..fixed };
    assert_eq!(margin, sample_size_mean(5.0, 10.0, 0.1, two_sided).expect("valid").n_control);
    assert!(sample_size_noninferiority(10.0, 0.5, 0.1, fixed).expect("valid").n_control < margin);
}

#[test]
fn planned_experiments_reach_their_power() {
    let size = sample_size_mean(5.0, 10.0, 0.1, Design::default()).expect("valid").n_control.expect("a size");
    let found = power((size, 10.0), (size, 10.0), 0.5, 0.05, TWO_SIDED).expect("valid");
    assert!((found.power.expect("a power") - 0.8).abs() < 1e-4);
    let found = detectable_effect((size, 10.0), (size, 10.0), 5.0, 0.05, 0.8).expect("valid");
    assert!((found.mde_abs.expect("an effect") - 0.5).abs() < 1e-4);
    let found = detectable_effect_proportion(14_751, 14_751, 0.1, 0.05, 0.8).expect("valid");
    assert!((found.mde_abs.expect("an effect") - 0.01).abs() < 1e-6);
}

#[test]
fn run_times_are_whole_weeks() {
    let days =
        |total, users: &[i64], traffic, minimum| run_time(total, users, traffic, minimum).expect("valid");
    let returning = [1000, 1800, 2400, 2900, 3300, 3600, 3800, 3950, 4050, 4100];
    assert_eq!(
        (days(3000, &returning, 1.0, 7).days, days(3000, &returning, 1.0, 7).weeks),
        (Some(7), Some(1))
    );
    assert_eq!(days(3000, &returning, 1.0, 14).days, Some(14));
    assert_eq!(days(3900, &returning, 1.0, 7).days, Some(14));
    assert_eq!(days(2000, &returning, 0.5, 7).days, Some(14));
    let never = days(3000, &returning, 0.5, 7);
    assert_eq!((never.days, never.note), (None, Some(Note::NotReached)));
    assert_eq!(days(0, &[], 1.0, 7).note, Some(Note::NotReached));
    let argument = |users: &[i64], traffic| run_time(10, users, traffic, 7).expect_err("invalid").argument;
    assert_eq!(argument(&[5, 4], 1.0), "cumulative_users");
    assert_eq!(argument(&[-5], 1.0), "cumulative_users");
    assert_eq!(argument(&[5], 0.0), "traffic");
    assert_eq!(argument(&[5], 1.1), "traffic");
    assert_eq!(run_time(-1, &[], 1.0, 7).expect_err("invalid").argument, "n_total");
}

#[test]
fn plans_without_an_answer_say_why() {
    let fixed = Design::default();
    assert_eq!(sample_size_mean(0.0, 1.0, 0.1, fixed).expect("valid").note, Some(Note::ControlNearZero));
    assert_eq!(sample_size_mean(1.0, 0.0, 0.1, fixed).expect("valid").note, Some(Note::ZeroVariance));
    assert_eq!(sample_size_mean(1e-9, 1e9, 0.1, fixed).expect("valid").note, Some(Note::Overflow));
    assert_eq!(power((1, 1.0), (9, 1.0), 1.0, 0.05, TWO_SIDED).expect("valid").note, Some(Note::TooFewUnits));
    assert_eq!(
        power((9, 0.0), (9, 0.0), 1.0, 0.05, TWO_SIDED).expect("valid").note,
        Some(Note::ZeroVariance)
    );
    let found = detectable_effect((9, 1.0), (9, 1.0), 0.0, 0.05, 0.8).expect("valid");
    assert!(found.mde_abs.is_some() && found.mde_rel.is_none() && found.note == Some(Note::ControlNearZero));
    assert_eq!(
        detectable_effect_proportion(0, 9, 0.1, 0.05, 0.8).expect("valid").note,
        Some(Note::TooFewUnits)
    );
}

#[test]
fn impossible_plans_are_named() {
    let fixed = Design::default();
    let wrong = [
        (Design { alpha: 1.0, ..fixed }, "alpha"),
        (Design { power: 1.0, ..fixed }, "power"),
        (Design { power: 0.04, ..fixed }, "power"),
        (Design { ratio: 0.0, ..fixed }, "ratio"),
        (Design { treatments: 0, ..fixed }, "treatments"),
        (Design { rho: 1.0, ..fixed }, "rho"),
        (Design { inflation: 0.9, ..fixed }, "inflation"),
    ];
    for (design, argument) in wrong {
        assert_eq!(sample_size_mean(1.0, 1.0, 0.1, design).expect_err(argument).argument, argument);
        assert_eq!(sample_size_proportion(0.1, 0.1, design).expect_err(argument).argument, argument);
    }
    assert_eq!(sample_size_mean(f64::NAN, 1.0, 0.1, fixed).expect_err("invalid").argument, "baseline_mean");
    assert_eq!(sample_size_mean(1.0, -1.0, 0.1, fixed).expect_err("invalid").argument, "sd");
    assert_eq!(sample_size_mean(1.0, 1.0, 0.0, fixed).expect_err("invalid").argument, "mde_rel");
    assert_eq!(sample_size_proportion(0.6, 0.7, fixed).expect_err("invalid").argument, "mde_rel");
    assert_eq!(sample_size_proportion(0.0, 0.7, fixed).expect_err("invalid").argument, "p1");
    assert_eq!(sample_size_noninferiority(1.0, 0.0, 0.0, fixed).expect_err("invalid").argument, "margin");
    assert_eq!(sample_size_noninferiority(1.0, 0.1, -0.1, fixed).expect_err("invalid").argument, "assumed");
    let found = power((9, -1.0), (9, 1.0), 1.0, 0.05, TWO_SIDED);
    assert_eq!(found.expect_err("invalid").argument, "sd1");
}

proptest! {
    #[test]
    fn plans_never_panic(
        (a, b, c) in (any_double(), any_double(), any_double()),
        (alpha, power_wanted, ratio, rho) in (any_double(), any_double(), any_double(), any_double()),
        treatments in any::<i32>(),
        (n1, n2) in (any_count(), any_count()),
    ) {
        let wild = Design { alpha, power: power_wanted, ratio, treatments, rho, inflation: 1.0, one_sided: false };
        let tame = Design { ratio: ratio.abs(), ..Design::default() };
        for design in [wild, tame] {
            let _ = sample_size_mean(a, b.abs(), c, design);
            let _ = sample_size_proportion(a.abs(), b, design);
            let _ = sample_size_noninferiority(a.abs(), b.abs(), c, design);
        }
        if let Ok(found) = power((n1, a.abs()), (n2, b.abs()), c, 0.05, TWO_SIDED) {
            prop_assert!(found.power.is_none_or(|power| (0.0..=1.0).contains(&power)), "{found:?}");
        }
        let _ = detectable_effect((n1, a.abs()), (n2, b.abs()), c, 0.05, 0.8);
        let _ = detectable_effect_proportion(n1, n2, a.abs().fract(), 0.05, 0.8);
    }
}
