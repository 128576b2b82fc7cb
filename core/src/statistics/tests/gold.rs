//! The figures printed in the literature and in the documents of this project, as they are printed there.

use super::super::chi_square::chi_square_test;
use super::super::fisher::fisher_test;
use super::super::lift::{LiftMethod, lift_interval};
use super::super::multiplicity::{Correction, adjust};
use super::super::power::{Design, sample_size_difference, sample_size_proportion};
use super::super::proportion::{DifferenceMethod, proportion_test_by};
use super::super::rank_sum::rank_sum_test;
use super::super::sample_ratio::sample_ratio_test;
use super::*;

/// Twelve digits are printed.
#[track_caller]
fn assert_printed(found: Option<f64>, printed: f64) {
    assert_close(found.expect("a figure"), printed, 1e-11, &Value::Null);
}

fn proportion(n: i64, conversions: i64) -> Proportion {
    Proportion { n, conversions }
}

#[test]
fn welch() {
    let test =
        welch_test(sample(1000, 10.0, 25.0), sample(1100, 10.5, 30.0), 0.05, TWO_SIDED).expect("valid");
    assert_printed(test.standard_error, 0.228632297090);
    assert_printed(test.degrees_of_freedom, 2097.96315134);
    assert_printed(test.statistic, 2.18691762434);
    assert_printed(test.p_value, 0.0288586206033);
    assert_printed(test.low, 0.0516302594188);
    assert_printed(test.high, 0.948369740581);
    let test = welch_test(sample(5, 1.0, 2.0), sample(4, 3.0, 5.0), 0.05, TWO_SIDED).expect("valid");
    assert_printed(test.degrees_of_freedom, 4.85438335810);
    assert_printed(test.statistic, 1.55699788832);
    assert_printed(test.p_value, 0.181933878268);
    assert_printed(test.low, -1.33198743556);
    assert_printed(test.high, 5.33198743556);
}

#[test]
fn proportions() {
    let test = |method| {
        let (control, treatment) = (proportion(1000, 100), proportion(1000, 130));
        proportion_test_by(method, control, treatment, 0.05, TWO_SIDED).expect("valid")
    };
    let (newcombe, wald) = (test(DifferenceMethod::Newcombe), test(DifferenceMethod::Wald));
    assert_printed(newcombe.statistic, 2.10274060562);
    assert_printed(newcombe.p_value, 0.0354884504665);
    assert_printed(wald.low, 0.00206793443938);
    assert_printed(wald.high, 0.0579320655606);
    assert_printed(newcombe.low, 0.00200234871528);
    assert_printed(newcombe.high, 0.0580704850222);
    for (n, x, low, high) in [
        (10, 0, 0.0, 0.277532799863),
        (10, 10, 0.722467200137, 1.0),
        (1000, 100, 0.0829094435931, 0.120151963195),
    ] {
        let interval = proportion_interval(proportion(n, x), 0.05).expect("valid");
        assert_printed(interval.low, low);
        assert_printed(interval.high, high);
    }
}

#[test]
fn tables() {
    let plain = chi_square_test(&[1000, 1000], &[100, 130], false).expect("valid");
    assert_printed(plain.statistic, 4.42151805453);
    assert_printed(plain.p_value, 0.0354884504665);
    let yates = chi_square_test(&[1000, 1000], &[100, 130], true).expect("valid");
    assert_printed(yates.statistic, 4.13166298207);
    assert_printed(yates.p_value, 0.0420879717672);
    let fisher = |control, treatment| fisher_test(control, treatment, TWO_SIDED).expect("valid").p_value;
    assert_printed(fisher(proportion(1000, 100), proportion(1000, 130)), 0.0419045483837);
    assert_printed(fisher(proportion(10, 1), proportion(14, 11)), 0.00275945618522);
}

#[test]
fn ranks() {
    let test = rank_sum_test(&[1.0, 2.0, 2.0, 3.0, 9.0], &[2.0, 4.0, 5.0, 6.0, 7.0, 8.0]).expect("valid");
    assert_eq!(test.u, Some(8.0));
    assert_printed(test.p_value, 0.231045488272);
}

#[test]
fn lifts() {
    let lift = |method, control, treatment| lift_interval(control, treatment, 0.05, method).expect("valid");
    let arms = (sample(1000, 10.0, 25.0), sample(1100, 10.5, 30.0));
    for (method, low, high) in [
        (LiftMethod::Delta, 0.00410367471228, 0.0958963252877),
        (LiftMethod::Fieller, 0.00507988033646, 0.0969388242370),
        (LiftMethod::Log, 0.00509230009164, 0.0969141838013),
    ] {
        let found = lift(method, arms.0, arms.1);
        assert_close(found.low.expect("a bound"), low, 1e-10, &Value::Null);
        assert_close(found.high.expect("a bound"), high, 1e-10, &Value::Null);
    }
    let noisy = (sample(100, 1.0, 4.0), sample(100, 1.5, 5.0));
    let fieller = lift(LiftMethod::Fieller, noisy.0, noisy.1);
    assert_printed(fieller.low, -0.0700505316350);
    assert_printed(fieller.high, 1.61471834992);
    assert_printed(fieller.g, 0.153658352828);
    let delta = lift(LiftMethod::Delta, noisy.0, noisy.1);
    assert_close(delta.low.expect("a bound"), -0.233351, 1e-5, &Value::Null);
    assert_close(delta.high.expect("a bound"), 1.233351, 1e-6, &Value::Null);
}

#[test]
fn sample_ratios() {
    let test = sample_ratio_test(&[10000, 10300], &[0.5, 0.5], 0.001).expect("valid");
    assert_printed(test.statistic, 4.43349753695);
    assert_printed(test.p_value, 0.0352402238243);
    let test = sample_ratio_test(&[5000, 2600, 2500], &[0.5, 0.25, 0.25], 0.001).expect("valid");
    assert_printed(test.statistic, 2.97029702970);
    assert_printed(test.p_value, 0.226468704213);
}

#[test]
fn families() {
    let p_values = [0.001, 0.02, 0.03, 0.04, 0.5].map(Some);
    for (correction, printed) in [
        (Correction::Holm, [0.005, 0.08, 0.09, 0.09, 0.5]),
        (Correction::BenjaminiHochberg, [0.005, 0.05, 0.05, 0.05, 0.5]),
    ] {
        for (found, printed) in adjust(&p_values, correction).expect("valid").into_iter().zip(printed) {
            assert_printed(found, printed);
        }
    }
}

#[test]
fn sizes() {
    let fixed = Design::default();
    assert_eq!(sample_size_proportion(0.1, 0.1, fixed).expect("valid").n_control, Some(14_751));
    assert_eq!(sample_size_difference(10.0, 10.0, 0.5, fixed).expect("valid").n_control, Some(6280));
}

/// The examples that the first version of the product was shown with.
#[test]
fn examples() {
    let test = |control, treatment| proportion_test(control, treatment, 0.05, TWO_SIDED).expect("valid");
    let small = test(proportion(10_000, 1_000), proportion(10_000, 1_150));
    assert_printed(small.statistic, 3.42426933531088);
    assert_printed(small.p_value, 0.000616454919214846);
    assert_printed(small.low, 0.0064157240339767);
    assert_printed(small.high, 0.0235892128959418);
    let large = test(proportion(25_000, 2_500), proportion(25_000, 2_875));
    assert_printed(large.lift.lift, 0.15);
    assert_printed(large.statistic, 5.41424521072662);
    assert_printed(large.p_value, 6.15477736147822e-8);
    assert_printed(large.lift.low, 0.0932829517795518);
    assert_printed(large.lift.high, 0.209902180924186);
}
