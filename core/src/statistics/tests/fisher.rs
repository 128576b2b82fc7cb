use super::super::fisher::fisher_test;
use super::*;

#[test]
fn fisher_matches_the_reference() {
    for case in vectors!("fisher.json") {
        let given = &case["given"];
        let arm = |n, x| Proportion { n: count(given, n), conversions: count(given, x) };
        let found = fisher_test(arm("n1", "x1"), arm("n2", "x2"), alternative(given)).expect("valid");
        match (found.odds_ratio, figure(&case["expected"], "odds_ratio")) {
            (Some(found), Some(expected)) => assert_close(found, expected, 1e-14, &case),
            (found, expected) => assert_eq!(found, expected, "{case}"),
        }
        assert_close(found.p_value.expect("p"), number(&case["expected"], "p_value"), 1e-9, &case);
    }
}

#[test]
fn tables_beyond_the_method_say_so() {
    let test = |n1, n2| {
        let arm = |n| Proportion { n, conversions: n / 2 };
        fisher_test(arm(n1), arm(n2), TWO_SIDED).expect("valid")
    };
    assert_eq!(test(0, 9).note, Some(Note::TooFewUnits));
    for (n1, n2) in [(10_000_000_000, 2), (2, i64::MAX), (i64::MAX, i64::MAX)] {
        assert_eq!((test(n1, n2).p_value, test(n1, n2).note), (None, Some(Note::TooManyUnits)));
    }
    let impossible = Proportion { n: 3, conversions: 4 };
    let possible = Proportion { n: 3, conversions: 2 };
    assert_eq!(fisher_test(possible, impossible, TWO_SIDED).expect_err("more than users").argument, "x2");
}

/// Every table of up to 30 users: at no rate is a true null hypothesis rejected more often than alpha says.
#[test]
fn fisher_keeps_its_level_exactly() {
    for (n1, n2) in [(5, 5), (10, 20), (15, 15), (3, 27)] {
        let rejected: Vec<(i64, i64)> = (0..=n1)
            .flat_map(|x1| (0..=n2).map(move |x2| (x1, x2)))
            .filter(|&(x1, x2)| {
                let (control, treatment) =
                    (Proportion { n: n1, conversions: x1 }, Proportion { n: n2, conversions: x2 });
                let test = fisher_test(control, treatment, TWO_SIDED).expect("valid");
                test.p_value.is_some_and(|p| p <= 0.05)
            })
            .collect();
        for rate in (1..20).map(|step| f64::from(step) / 20.0) {
            let mass = |k, n| super::super::distribution::ln_binomial_mass(k, n, rate);
            let size: f64 = rejected.iter().map(|&(x1, x2)| (mass(x1, n1) + mass(x2, n2)).exp()).sum();
            assert!(size <= 0.05 + 1e-12, "{size} at {rate} with {n1} and {n2} users");
        }
    }
}

proptest! {
    #[test]
    fn fisher_is_symmetric((n1, n2) in (1..400_i64, 1..400_i64), (share1, share2) in (0.0..=1.0_f64, 0.0..=1.0_f64)) {
        let arm = |n: i64, share: f64| Proportion { n, conversions: (n as f64 * share) as i64 };
        let (control, treatment) = (arm(n1, share1), arm(n2, share2));
        let p = |control, treatment, alternative| {
            fisher_test(control, treatment, alternative).expect("valid").p_value.expect("p")
        };
        let (there, back) = (p(control, treatment, TWO_SIDED), p(treatment, control, TWO_SIDED));
        prop_assert!((there - back).abs() <= 1e-9 * there, "{there:e} {back:e}");
        let (greater, less) =
            (p(control, treatment, Alternative::Greater), p(treatment, control, Alternative::Less));
        prop_assert!((greater - less).abs() <= 1e-9 * greater, "{greater:e} {less:e}");
        let other = p(control, treatment, Alternative::Less);
        prop_assert!(there >= greater.min(other) * (1.0 - 1e-9));
    }
}
