//! The Mann–Whitney test: whether a user of one arm tends to have a greater value than one of the other.
//!
//! Why this module exists: ranks do not care how heavy the tails are. But the test is about the order of single users, not
//! about means (Mann & Whitney 1947, Annals of Mathematical Statistics 18): more revenue per user may go with fewer users
//! above the other arm's, and arms of unequal shape are "different" with equal means. It is offered for ordinal data and
//! never used for a metric by default. It needs the raw values.

use super::distribution::normal_two_sided;
use super::{InvalidArgument, Note};

/// The Mann–Whitney test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankSumTest {
    /// U of the control: the pairs of users in which the control's has the greater value, ties counted half.
    pub u: Option<f64>,
    /// The distance of U from its mean in standard deviations, ½ nearer for continuity and never negative.
    pub z: Option<f64>,
    /// P(a U this far from its mean | no difference), two-sided.
    pub p_value: Option<f64>,
    /// P(T > C) + ½·P(T = C) for a random user of each arm: above ½ when the treatment has the greater values.
    pub prob_superiority: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// The Mann–Whitney test with mid-ranks, the variance corrected for ties and a continuity correction of ½.
///
/// Edges: an arm without values gives [`Note::TooFewUnits`]; values that are all equal give p = 1 without a z.
///
/// # Errors
/// [`InvalidArgument`] naming `x` (control) or `y` (treatment) for a value that is not finite.
pub fn rank_sum_test(control: &[f64], treatment: &[f64]) -> Result<RankSumTest, InvalidArgument> {
    for (name, values) in [("x", control), ("y", treatment)] {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(InvalidArgument::new(name, value, "finite numbers"));
        }
    }
    if control.is_empty() || treatment.is_empty() {
        return Ok(RankSumTest {
            u: None,
            z: None,
            p_value: None,
            prob_superiority: None,
            note: Some(Note::TooFewUnits),
        });
    }
    let arm =
        |values: &[f64], is_control| values.iter().map(move |&value| (value, is_control)).collect::<Vec<_>>();
    let mut all = [arm(control, true), arm(treatment, false)].concat();
    // −0 and 0 are one value, which the total order does not know.
    all.iter_mut().for_each(|(value, _)| *value += 0.0);
    all.sort_unstable_by(|(value, _), (other, _)| value.total_cmp(other));
    // Twice the control's rank sum and the tie correction, in integers.
    let (mut doubled_ranks, mut ties, mut before) = (0_i128, 0_i128, 0_i128);
    for equal in all.chunk_by(|(value, _), (other, _)| value == other) {
        let size = equal.len() as i128;
        let of_control = equal.iter().filter(|(_, is_control)| *is_control).count() as i128;
        doubled_ranks += of_control * (2 * before + size + 1);
        ties += size * (size * size - 1);
        before += size;
    }
    let (n1, n2, total) = (control.len() as i128, treatment.len() as i128, all.len() as i128);
    let doubled_u = doubled_ranks - n1 * (n1 + 1);
    let pairs = n1 as f64 * n2 as f64;
    let off = (0.5 * (doubled_u - n1 * n2).abs() as f64 - 0.5).max(0.0);
    let spread = (total * (total * total - 1) - ties) as f64 / (total as f64 * (total - 1) as f64);
    let deviation = (pairs / 12.0 * spread).sqrt();
    let z = (deviation > 0.0).then(|| off / deviation);
    Ok(RankSumTest {
        u: Some(0.5 * doubled_u as f64),
        z,
        p_value: Some(z.map_or(1.0, normal_two_sided)),
        prob_superiority: Some(0.5 * (2 * n1 * n2 - doubled_u) as f64 / pairs),
        note: None,
    })
}
