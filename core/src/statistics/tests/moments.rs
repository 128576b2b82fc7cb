use proptest::collection::vec;

use super::super::moments::{Moments, PairMoments};
use super::*;

/// Values as whole multiples of 2⁻²⁰ about an offset, so that sums of them are exact in integers.
const UNIT: f64 = 1.0 / 1_048_576.0;

fn gathered(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    values.iter().for_each(|&value| moments.add("y", value).expect("finite"));
    moments
}

fn gathered_pairs(pairs: &[(f64, f64)]) -> PairMoments {
    let mut moments = PairMoments::default();
    pairs.iter().for_each(|&(y, x)| moments.add(["y", "x"], y, x).expect("finite"));
    moments
}

/// Mean less the offset, and the sum of products of the distances from the means.
fn exact(left: &[i64], right: &[i64]) -> (f64, f64) {
    let n = left.len() as i128;
    let sum = |steps: &[i64]| steps.iter().map(|&step| i128::from(step)).sum::<i128>();
    let products: i128 = left.iter().zip(right).map(|(&y, &x)| i128::from(y) * i128::from(x)).sum();
    let about_mean = (n * products - sum(left) * sum(right)) as f64 / n as f64;
    (sum(left) as f64 / n as f64 * UNIT, about_mean * UNIT * UNIT)
}

#[track_caller]
fn assert_near(found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs(), "{found} is not {expected}");
}

/// A million values of standard deviation 1 about 10⁹, whose squares a double holds one digit of.
#[test]
fn an_offset_costs_no_digits() {
    let mut rng = StdRng::seed_from_u64(20_260_140);
    let steps: Vec<i64> = (0..1_000_000).map(|_| (normal_draw(&mut rng) / UNIT) as i64).collect();
    let (mean, squares) = exact(&steps, &steps);
    for offset in [0.0, 1e3, 1e9, -1e9] {
        let values: Vec<f64> = steps.iter().map(|&step| offset + step as f64 * UNIT).collect();
        for chunk in [1_000_000, 1000, 7] {
            let mut whole = Moments::default();
            values.chunks(chunk).for_each(|part| whole.merge(&gathered(part)).expect("finite"));
            let [n, found, found_squares, rest] = whole.numbers();
            assert_eq!(n, 1e6);
            assert_near(found, offset + mean, 1e-13);
            assert_near((found - offset) + rest, mean, 1e-9);
            assert_near(found_squares, squares, 1e-10);
        }
    }
}

#[test]
fn moments_without_rows_are_neutral() {
    let mut none = Moments::default();
    none.merge(&Moments::default()).expect("neutral");
    assert_eq!(none, Moments::default());
    assert_eq!(none.sample(), sample(0, 0.0, 0.0));
    let some = gathered(&[1.0, 2.0, 4.0]);
    none.merge(&some).expect("neutral");
    assert_eq!(none.numbers(), some.numbers());
    assert_eq!(gathered(&[3.5]).sample(), sample(1, 3.5, 0.0));
    let pairs = gathered_pairs(&[(1.0, 2.0), (3.0, 6.0)]).sample();
    assert_eq!((pairs.n, pairs.variance, pairs.covariate_variance, pairs.covariance), (2, 2.0, 8.0, 4.0));
}

#[test]
fn what_is_not_finite_is_refused_by_name() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for before in [&[][..], &[1.0][..]] {
            let error = gathered(before).add("y", value).expect_err("not finite");
            assert_eq!(error.to_string(), format!("y must be a finite number, not {value}"));
        }
        let error = PairMoments::default().add(["y", "x"], 1.0, value).expect_err("not finite");
        assert_eq!(error.argument, "x");
    }
    let error = gathered(&[-1e300]).add("y", 1e300).expect_err("too far apart");
    assert!(error.message.starts_with("y must be near enough"), "{error}");
    let error = gathered(&[-1e300]).merge(&gathered(&[1e300])).expect_err("too far apart");
    assert_eq!(error.argument, "state");
}

#[test]
fn numbers_that_no_rows_have_are_refused() {
    assert!(Moments::stored([3.0, 1.0, 2.0, 0.0]).is_ok());
    for numbers in [
        [-1.0, 1.0, 2.0, 0.0],
        [1.5, 1.0, 2.0, 0.0],
        [f64::NAN, 1.0, 2.0, 0.0],
        [1e300, 1.0, 2.0, 0.0],
        [2.0, f64::NAN, 2.0, 0.0],
        [2.0, 1.0, -2.0, 0.0],
        [2.0, 1.0, f64::INFINITY, 0.0],
        [2.0, 1.0, 2.0, f64::NAN],
    ] {
        assert_eq!(Moments::stored(numbers).expect_err("impossible").argument, "state");
    }
    assert!(PairMoments::stored([3.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, -2.0]).is_ok());
    assert!(PairMoments::stored([3.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 2.1]).is_err());
    assert!(PairMoments::stored([3.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, f64::NAN]).is_err());
}

proptest! {
    /// Whatever is merged in whatever order, it is what the definition says.
    #[test]
    fn order_and_partition_do_not_matter(
        steps in vec((-1_000_000_000_i64..1_000_000_000, -1_000_000_i64..1_000_000), 2..300),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        backwards in any::<bool>(),
        offset in prop::sample::select(vec![0.0, 1e6, 1e9, -1e9]),
    ) {
        let pairs: Vec<(f64, f64)> =
            steps.iter().map(|&(y, x)| (offset + y as f64 * UNIT, x as f64 * UNIT - offset)).collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(pairs.len())).collect();
        places.extend([0, pairs.len()]);
        places.sort_unstable();
        let mut parts: Vec<PairMoments> =
            places.windows(2).map(|cut| gathered_pairs(&pairs[cut[0]..cut[1]])).collect();
        if backwards {
            parts.reverse();
        }
        let mut whole = PairMoments::default();
        for part in &parts {
            whole.merge(part).expect("finite");
        }
        let (y, x): (Vec<i64>, Vec<i64>) = steps.iter().copied().unzip();
        let (mean, squares) = exact(&y, &y);
        let (covariate_mean, covariate_squares) = exact(&x, &x);
        let (_, products) = exact(&y, &x);
        let n = steps.len() as f64;
        let found = whole.sample();
        let near = |found: f64, expected: f64, scale: f64| (found - expected).abs() <= 1e-12 * scale;
        prop_assert_eq!(found.n, steps.len() as i64);
        prop_assert!(near(found.mean, offset + mean, offset.abs().max(1e3)));
        prop_assert!(near(found.covariate_mean, covariate_mean - offset, offset.abs().max(1.0)));
        prop_assert!(near(found.variance * (n - 1.0), squares, squares));
        prop_assert!(near(found.covariate_variance * (n - 1.0), covariate_squares, covariate_squares));
        prop_assert!(near(found.covariance * (n - 1.0), products, (squares * covariate_squares).sqrt()));
        prop_assert!(PairMoments::stored(whole.numbers()).is_ok());
        let alone = gathered(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>()).sample();
        prop_assert!(near(alone.variance, found.variance, found.variance));
    }

    /// Heavy tails, the largest value first: what a shift by the first value would lose.
    #[test]
    fn a_first_value_far_away_costs_no_digits(values in vec(0_u32..1_000_000, 100..300)) {
        let mut all = vec![1e15];
        all.extend(values.iter().map(|&value| f64::from(value)));
        let exact = (1e15 + values.iter().map(|&value| f64::from(value)).sum::<f64>()) / all.len() as f64;
        let found = gathered(&all).sample().mean;
        prop_assert!((found - exact).abs() <= 1e-13 * exact, "{} is not {}", found, exact);
    }
}
