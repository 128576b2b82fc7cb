//! The small version of `make calibration`, and that it is able to fail.

#[path = "../examples/calibration/check.rs"]
mod check;
#[path = "../examples/calibration/checks.rs"]
mod checks;

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::mean::{Sample, welch_test};
use ab_core::statistics::simulation::{AaTest, Metric, Mode, Random, normal_sample};
use check::{Finding, Measure, Simulation, Size};

fn outside(findings: &[Finding]) -> Vec<&str> {
    findings.iter().filter(|finding| !finding.holds()).map(|finding| finding.what.as_str()).collect()
}

#[test]
fn every_method_keeps_its_promise() {
    let findings: Vec<Finding> =
        checks::all().iter().flat_map(|simulation| simulation.run(Size::Quick, 2)).collect();
    assert!(findings.len() > 150, "{}", findings.len());
    let outside: Vec<String> =
        findings.iter().filter(|finding| !finding.holds()).map(Finding::to_string).collect();
    assert!(outside.is_empty(), "{}", outside.join("\n"));
}

/// An A/A test with variances times `factor`: `welch_test` keeps its promise for 1 only.
fn welch(factor: f64) -> Simulation {
    let arm = |random: &mut Random| normal_sample(1_000, 10.0, 3.0, random);
    Simulation::new("A/A Welch", 20_000, move |_, random| {
        let wrong = |sample: Sample| Sample { variance: sample.variance * factor, ..sample };
        let (control, treatment) = (wrong(arm(random)), wrong(arm(random)));
        let test = welch_test(control, treatment, checks::ALPHA, TwoSided).expect("valid");
        let p = test.p_value.unwrap_or(f64::NAN);
        vec![checks::one_if(p < checks::ALPHA), p]
    })
    .share("false alarms", 0, checks::ALPHA)
    .uniform(1)
}

#[test]
fn a_wrong_variance_is_found() {
    assert_eq!(outside(&welch(1.0).run(Size::Full, 2)), Vec::<&str>::new());
    for factor in [0.8, 1.25] {
        let found = welch(factor).run(Size::Full, 2);
        assert_eq!(outside(&found), ["A/A Welch: false alarms", "A/A Welch: p is uniform"], "{factor}");
    }
}

#[test]
fn peeking_is_found() {
    let metric = Metric::Mean { mean: 10.0, sd: 3.0 };
    let looking = |looks| {
        let test = AaTest::new(1_000, metric, checks::ALPHA, looks, Mode::Fixed).unwrap();
        let simulation = checks::looking::peeking("looks", test).share("", 0, checks::ALPHA);
        simulation.run(Size::Quick, 2).remove(0)
    };
    assert!(looking(1).holds());
    let ten = looking(10);
    assert!(!ten.holds() && ten.observed > 0.15 && ten.observed < 0.24, "{}", ten.observed);
}

#[test]
fn too_short_an_interval_and_a_biased_estimate_are_found() {
    let simulation = Simulation::new("", 10_000, |_, random| {
        let sample = normal_sample(1_000, 10.0, 3.0, random);
        // An interval for 90 % that says 95 %, and a mean that is off by a tenth of its standard error.
        let error = (sample.variance / 1_000.0).sqrt();
        vec![checks::one_if((sample.mean - 10.0).abs() < 1.645 * error), sample.mean - 10.0 + 0.1 * error]
    })
    .share("coverage", 0, 0.95)
    .unbiased("bias", 1);
    assert_eq!(outside(&simulation.run(Size::Full, 2)).len(), 2);
}

#[test]
fn threads_change_no_figure() {
    let figures = |threads| -> Vec<f64> {
        welch(1.0).run(Size::Quick, threads).iter().map(|finding| finding.observed).collect()
    };
    assert_eq!(figures(1), figures(3));
    let rare = Simulation::new("", 10, |index, _| vec![index as f64])
        .check("", Measure::Least(0), 0.0, 0.0, 0.0)
        .check("", Measure::Most(0), 9.0, 9.0, 9.0)
        .check("", Measure::Mean(0), 4.5, 4.5, 4.5);
    assert_eq!(outside(&rare.run(Size::Full, 3)), Vec::<&str>::new());
}

#[test]
fn a_figure_that_does_not_exist_is_outside() {
    let simulation = Simulation::new("", 10, |_, _| vec![f64::NAN]).share("", 0, 0.05);
    assert_eq!(outside(&simulation.run(Size::Full, 1)).len(), 1);
}
