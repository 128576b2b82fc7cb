use super::super::group_sequential::{
    Look, MAX_LOOKS, Sides, Spending, group_bounds, group_inflation, repeated_interval,
};
use super::*;

fn numbers(case: &Value, name: &str) -> Vec<f64> {
    let numbers = case[name].as_array().expect("numbers").iter();
    numbers.map(|number| number.as_f64().expect("a number")).collect()
}

fn equal(looks: u32) -> Vec<f64> {
    (1..=looks).map(|look| f64::from(look) / f64::from(looks)).collect()
}

fn bounds(information: &[f64], spending: Spending) -> Vec<Look> {
    group_bounds(information, 0.05, spending, Sides::Two, &[]).expect("valid")
}

#[test]
fn group_bounds_match_the_reference() {
    for case in vectors!("group_bounds.json") {
        let given = &case["given"];
        let spending = match given["spending"].as_str() {
            Some("obf") => Spending::ObrienFleming,
            Some("pocock") => Spending::Pocock,
            _ => Spending::Power(number(given, "phi")),
        };
        let sides = if given["sides"] == 2 { Sides::Two } else { Sides::One };
        let past = numbers(given, "past_bounds");
        let looks = group_bounds(&numbers(given, "info"), number(given, "alpha"), spending, sides, &past)
            .expect("valid");
        let (z_bounds, increments) =
            (numbers(&case["expected"], "z_bound"), numbers(&case["expected"], "alpha_increment"));
        assert_eq!(looks.len(), z_bounds.len());
        for (look, (z_bound, increment)) in looks.iter().zip(z_bounds.into_iter().zip(increments)) {
            // The reference's own rule and root finding hold to this.
            assert_close(look.z_bound, z_bound, 1e-7, &case);
            assert!((look.alpha_increment - increment).abs() < 1e-9, "{look:?} in {case}");
        }
    }
}

#[test]
fn group_bounds_are_the_printed_ones() {
    for (spending, printed) in [
        (Spending::ObrienFleming, [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
        (Spending::Pocock, [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
        (Spending::Power(3.0), [3.5401, 2.9743, 2.6045, 2.3064, 2.0455]),
    ] {
        for (look, printed) in bounds(&equal(5), spending).iter().zip(printed) {
            assert!((look.z_bound - printed).abs() < 1e-4, "{look:?} is not {printed}");
        }
    }
}

#[test]
fn group_designs_spend_alpha_and_no_more() {
    for spending in [Spending::ObrienFleming, Spending::Pocock, Spending::Power(2.0)] {
        for information in [&[0.1, 0.5, 1.0][..], &[0.1, 0.5, 1.3], &[0.999, 1.0], &[1.0]] {
            let looks = bounds(information, spending);
            let last = looks.last().expect("a look");
            assert_close(last.alpha_spent, 0.05, 1e-12, &Value::Null);
        }
    }
    // All is spent at the first look that has all the information: there is no second one.
    let looks = bounds(&[0.5, 1.0, 1.5], Spending::Pocock);
    assert_eq!((looks[2].z_bound, looks[2].p_bound), (f64::INFINITY, 0.0));
    // A bound that was used is kept, and what it spent too much or too little comes off or on to later looks.
    let planned = bounds(&[0.5, 1.0], Spending::Pocock);
    for (used, later_is_greater) in [(1.9, true), (3.0, false)] {
        let looks = group_bounds(&[0.5, 1.0], 0.05, Spending::Pocock, Sides::Two, &[used]).expect("valid");
        assert_eq!(looks[0].z_bound, used);
        assert_eq!(looks[1].z_bound > planned[1].z_bound, later_is_greater);
    }
    let looks = group_bounds(&[0.5, 1.0], 0.05, Spending::Pocock, Sides::Two, &[1.0]).expect("valid");
    assert_eq!(looks[1].z_bound, f64::INFINITY);
}

#[test]
fn group_inflation_is_that_of_the_book() {
    let inflation = |spending| group_inflation(&equal(5), 0.05, 0.8, spending, Sides::Two).expect("valid");
    assert!((inflation(Spending::ObrienFleming) - 1.03).abs() < 0.01);
    assert!((inflation(Spending::Pocock) - 1.23).abs() < 0.02);
    let fixed = group_inflation(&[1.0], 0.05, 0.8, Spending::Pocock, Sides::Two).expect("valid");
    // The fixed size leaves out rejections in the wrong direction.
    assert!((fixed - 1.0).abs() < 1e-5, "{fixed}");
    let fixed = group_inflation(&[1.0], 0.05, 0.8, Spending::Pocock, Sides::One).expect("valid");
    assert!((fixed - 1.0).abs() < 1e-12, "{fixed}");
    assert_eq!(repeated_interval(1.0, 0.5, 2.0), (0.0, 2.0));
}

#[test]
fn impossible_group_designs_are_named() {
    let argument = |information: &[f64], alpha, spending, sides, past: &[f64]| {
        group_bounds(information, alpha, spending, sides, past).expect_err("invalid").argument
    };
    let ok = [0.5, 1.0];
    for information in
        [&[][..], &[0.0], &[0.5, 0.5], &[0.5, 0.4], &[f64::NAN], &[f64::INFINITY], &[0.5, 0.5001]]
    {
        assert_eq!(argument(information, 0.05, Spending::Pocock, Sides::Two, &[]), "info");
    }
    assert_eq!(argument(&[0.5; MAX_LOOKS + 1], 0.05, Spending::Pocock, Sides::Two, &[]), "info");
    assert_eq!(argument(&ok, 0.0, Spending::Pocock, Sides::Two, &[]), "alpha");
    assert_eq!(argument(&ok, 0.5, Spending::Pocock, Sides::One, &[]), "alpha");
    assert_eq!(argument(&ok, 0.05, Spending::Power(0.0), Sides::Two, &[]), "phi");
    assert_eq!(argument(&ok, 0.05, Spending::Pocock, Sides::Two, &[f64::NAN]), "past_bounds");
    assert_eq!(argument(&ok, 0.05, Spending::Pocock, Sides::Two, &[2.0; 3]), "past_bounds");
    let error = group_inflation(&ok, 0.05, 0.04, Spending::Pocock, Sides::Two).expect_err("invalid");
    assert_eq!(error.argument, "power");
}

/// Of experiments without an effect alpha are called at one of their looks, irregular as they are.
#[test]
fn group_designs_reject_alpha_without_an_effect() {
    const EXPERIMENTS: u32 = 20_000;
    let mut rng = StdRng::seed_from_u64(19_830_215);
    let mut normal = || super::super::distribution::normal_quantile(rng.random_range(1e-12..1.0));
    let looks = bounds(&[0.15, 0.4, 0.55, 1.0], Spending::ObrienFleming);
    let mut rejected = 0_u32;
    for _ in 0..EXPERIMENTS {
        let (mut score, mut before) = (0.0_f64, 0.0);
        rejected += u32::from(looks.iter().any(|look| {
            score += normal() * (look.information - before).sqrt();
            before = look.information;
            score.abs() >= look.z_bound * look.information.sqrt()
        }));
    }
    // 3.3 Monte-Carlo standard errors.
    assert!((f64::from(rejected) / f64::from(EXPERIMENTS) - 0.05).abs() < 0.0051, "{rejected}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn group_bounds_never_panic(
        information in prop::collection::vec(any_double(), 0..4), alpha in any_double(), phi in any_double(),
        past in prop::collection::vec(any_double(), 0..3),
    ) {
        let mut information: Vec<f64> = information.into_iter().map(f64::abs).collect();
        information.sort_by(f64::total_cmp);
        for alpha in [alpha, 0.05] {
            for sides in [Sides::One, Sides::Two] {
                if let Ok(looks) = group_bounds(&information, alpha, Spending::Power(phi.abs()), sides, &past) {
                    prop_assert!(looks.iter().all(|look| !look.z_bound.is_nan()), "{looks:?}");
                }
            }
        }
    }
}
