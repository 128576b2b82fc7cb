use proptest::collection::vec;

use super::super::quantile::quantile_interval;
use super::super::sketch::{QuantileSketch, RELATIVE_ERROR};
use super::*;

fn sketched(values: &[f64]) -> QuantileSketch {
    let mut sketch = QuantileSketch::default();
    values.iter().for_each(|&value| sketch.add("value", value).expect("finite"));
    sketch
}

fn is_within(found: f64, exact: f64) -> bool {
    (found - exact).abs() <= RELATIVE_ERROR * exact.abs() * (1.0 + 1e-9)
}

#[test]
fn a_sketch_without_values_answers_nothing() {
    let found = QuantileSketch::default().interval(0.5, 0.05).expect("valid");
    assert_eq!((found.estimate, found.low, found.note), (None, None, Some(Note::TooFewUnits)));
    let one = sketched(&[3.0]).interval(0.5, 0.05).expect("valid");
    assert!(one.estimate.is_some_and(|estimate| is_within(estimate, 3.0)));
    assert_eq!((one.low, one.note), (None, Some(Note::TooFewUnits)));
}

#[test]
fn bytes_from_elsewhere_are_refused() {
    let bytes = sketched(&[1.0, 2.0, -5.0, 0.0]).to_bytes();
    assert_eq!(QuantileSketch::from_bytes(&bytes).expect("its own").count(), 4);
    for place in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[place] ^= 0x10;
        assert_eq!(QuantileSketch::from_bytes(&broken).err().expect("broken").argument, "sketch");
        assert!(QuantileSketch::from_bytes(&bytes[..place]).is_err());
    }
    let mut sketch = QuantileSketch::default();
    assert_eq!(sketch.add("value", f64::NAN).expect_err("not finite").argument, "value");
    assert_eq!(sketch.interval(1.0, 0.05).expect_err("q").argument, "q");
    assert_eq!(sketch.interval(0.5, 0.0).expect_err("alpha").argument, "alpha");
}

proptest! {
    #[test]
    fn quantiles_are_within_the_stated_error(
        mut values in vec(prop_oneof![Just(0.0), -1e6..1e6_f64, (-6.0..9.0_f64).prop_map(|power| 10_f64.powf(power))], 1..400),
        cuts in vec(any::<prop::sample::Index>(), 0..5),
        q in 0.001..0.999_f64,
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len())).collect();
        places.extend([0, values.len()]);
        places.sort_unstable();
        let mut whole = QuantileSketch::default();
        for cut in places.windows(2) {
            let part = sketched(&values[cut[0]..cut[1]]);
            whole.merge(&QuantileSketch::from_bytes(&part.to_bytes()).expect("its own"));
        }
        let found = whole.interval(q, 0.05).expect("valid");
        prop_assert_eq!(found, sketched(&values).interval(q, 0.05).expect("valid"), "merging changes nothing");
        values.sort_unstable_by(f64::total_cmp);
        let rank = (q * (values.len() - 1) as f64) as usize;
        prop_assert!(found.estimate.is_some_and(|estimate| is_within(estimate, values[rank])));
        let exact = quantile_interval(&values, q, 0.05).expect("valid");
        prop_assert_eq!(found.low.is_some(), exact.low.is_some());
        if let (Some(low), Some(high)) = (found.low.zip(exact.low), found.high.zip(exact.high)) {
            prop_assert!(low.0 <= low.1 + 1e-9 * low.1.abs() && high.0 >= high.1 - 1e-9 * high.1.abs());
        }
    }

    /// Beyond what the bins hold the small values share one, and the large ones keep the bound.
    #[test]
    fn the_largest_values_keep_the_error_over_any_range(mut powers in vec(-8.0..300.0_f64, 20..100)) {
        let values: Vec<f64> = powers.iter().map(|&power| 10_f64.powf(power)).collect();
        let (left, right) = values.split_at(values.len() / 2);
        let mut sketch = sketched(left);
        sketch.merge(&sketched(right));
        prop_assert_eq!(sketch.count(), values.len());
        powers.sort_unstable_by(f64::total_cmp);
        let last = powers.len() - 1;
        for (rank, power) in powers[..last].iter().enumerate().filter(|(_, power)| powers[last] - **power < 17.0) {
            let q = (rank as f64 + 0.5) / last as f64;
            let found = sketch.interval(q, 0.05).expect("valid").estimate.expect("values");
            prop_assert!(is_within(found, 10_f64.powf(*power)), "{found} is not 10^{power}");
        }
    }
}
