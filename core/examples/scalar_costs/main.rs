//! Writes what a call of each statistical function costs, in microseconds: the mean over many arguments, of the fastest of
//! several rounds.

use std::hint::black_box;
use std::time::Instant;

use ab_core::statistics::Alternative::TwoSided;
use ab_core::statistics::chi_square::chi_square_test;
use ab_core::statistics::covariate::{CovariateSample, cuped_test};
use ab_core::statistics::heterogeneity::heterogeneity_test;
use ab_core::statistics::interaction::{Scale, interaction_test};
use ab_core::statistics::lift::{LiftMethod, lift_interval};
use ab_core::statistics::mean::{Sample, mean_interval, welch_test};
use ab_core::statistics::multiplicity::{Correction, adjust};
use ab_core::statistics::noninferiority::{Margin, noninferiority_test};
use ab_core::statistics::power::{
    Design, detectable_effect, power, sample_size_mean, sample_size_proportion,
};
use ab_core::statistics::proportion::{
    Proportion, ProportionMethod, proportion_interval_by, proportion_test,
};
use ab_core::statistics::ratio::{RatioSample, ratio_test};
use ab_core::statistics::sample_ratio::{sample_ratio_test, sequential_sample_ratio};
use ab_core::statistics::sequential::sequential_test;

const ALPHA: f64 = 0.05;

/// Users of an arm, from few to a billion, so that every way of computing has its turn.
const SIZES: [i64; 10] = [2, 5, 20, 100, 450, 3_000, 20_000, 1_000_000, 40_000_000, 1_000_000_000];

const CALLS: i64 = 2_000;

const ROUNDS: u32 = 7;

fn main() {
    let sample = |n, step: f64| Sample { n, mean: 10.0 + step, variance: 9.0 + step };
    let proportion =
        |n: i64, step: f64| Proportion { n, conversions: ((0.1 + 0.1 * step) * n as f64) as i64 };
    let with_covariate = |n, step: f64| CovariateSample {
        n,
        mean: 10.0 + step,
        variance: 9.0,
        covariate_mean: 5.0,
        covariate_variance: 4.0,
        covariance: 4.0 + step,
    };
    let ratio = |n, step: f64| RatioSample {
        n,
        numerator_mean: 20.0 + step,
        numerator_variance: 400.0,
        denominator_mean: 2.0,
        denominator_variance: 4.0,
        covariance: 30.0,
    };
    report("welch_test", |n, step| welch_test(sample(n, 0.0), sample(n + 1, step), ALPHA, TwoSided));
    report("mean_interval", |n, step| mean_interval(sample(n, step), ALPHA));
    report("proportion_test", |n, step| {
        proportion_test(proportion(n, 0.0), proportion(n, step), ALPHA, TwoSided)
    });
    for method in [
        ProportionMethod::Wilson,
        ProportionMethod::Exact,
        ProportionMethod::Jeffreys,
        ProportionMethod::AgrestiCoull,
    ] {
        report(method.as_str(), |n, step| proportion_interval_by(method, proportion(n, step), ALPHA));
    }
    for method in [LiftMethod::Fieller, LiftMethod::Delta, LiftMethod::Log] {
        report(method.as_str(), |n, step| lift_interval(sample(n, 0.0), sample(n, step), ALPHA, method));
    }
    report("ratio_test", |n, step| ratio_test(ratio(n, 0.0), ratio(n, step), ALPHA, TwoSided));
    report("cuped_test", |n, step| {
        cuped_test(with_covariate(n, 0.0), with_covariate(n + 1, step), ALPHA, TwoSided, None)
    });
    report("chi_square_test", |n, step| {
        let (control, treatment) = (proportion(n, 0.0), proportion(n, step));
        chi_square_test(&[control.n, treatment.n], &[control.conversions, treatment.conversions], false)
    });
    report("noninferiority_test", |n, step| {
        noninferiority_test(sample(n, 0.0), sample(n, step), Margin::Relative(0.02), ALPHA, true)
    });
    report("interaction_test", |n, step| {
        let cells = [0.0, 0.1, 0.2, step].map(|step| sample(n, step));
        interaction_test(cells, Scale::Additive, ALPHA)
    });
    report("heterogeneity_test", |_, step| heterogeneity_test(&[1.0, 2.0, step], &[0.5, 0.6, 0.7]));
    report("sample_ratio_test", |n, step| {
        sample_ratio_test(&[n, n + (step * 10.0) as i64], &[1.0; 2], 0.001)
    });
    report("sequential_sample_ratio", |n, step| {
        sequential_sample_ratio(&[n, n + (step * 10.0) as i64], &[1.0; 2], 100.0, 0.001)
    });
    report("adjust, 20 p-values by Holm", |_, step| adjust(&[Some(0.04 * step); 20], Correction::Holm));
    report("sequential_test", |n, step| sequential_test(step, 0.3, n, ALPHA, 1e4, TwoSided));
    report("sample_size_mean", |_, step| sample_size_mean(10.0, 3.0, 0.01 + step, Design::default()));
    report("sample_size_proportion", |_, step| sample_size_proportion(0.1, 0.01 + step, Design::default()));
    report("power", |n, step| power((n, 3.0), (n, 3.0), 0.01 + step, ALPHA, TwoSided));
    report("detectable_effect", |n, step| detectable_effect((n, 3.0), (n, 3.0 + step), 10.0, ALPHA, 0.8));
}

/// `call` takes a number of users and a step from 0 to 1.
fn report<T>(name: &str, call: impl Fn(i64, f64) -> T) {
    let round = |size: i64| {
        let started = Instant::now();
        for number in 0..CALLS {
            black_box(call(black_box(size), black_box(number as f64 / CALLS as f64)));
        }
        started.elapsed().as_secs_f64() * 1e6 / CALLS as f64
    };
    let costs = SIZES.map(|size| (0..ROUNDS).map(|_| round(size)).fold(f64::INFINITY, f64::min));
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    println!("{name:28} {mean:6.2} {:6.2}", costs.into_iter().fold(0.0, f64::max));
}
