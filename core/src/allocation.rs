//! Which variant owns which buckets, and how little of that may move when weights change.
//!
//! Ranges rather than cumulative percentages, because with percentages moving one boundary moves every later one
//! and reshuffles users who had no reason to see anything else.

use serde::{Deserialize, Serialize};

use crate::bucket::BUCKETS;
use crate::error::{Code, Error};

/// Buckets `from..to` belong to the variant at index `variant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First bucket.
    pub from: u32,
    /// The bucket after the last one.
    pub to: u32,
    /// Index of the variant, in the order in which the variants were written.
    pub variant: usize,
}

/// Shares of a million in proportion to `weights`, by largest remainder, ties to the earlier.
///
/// # Errors
/// [`Code::InvalidVariants`] when there is no weight, or none above zero.
pub fn parts_per_million(weights: &[u64]) -> Result<Vec<u32>, Error> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if total == 0 {
        return Err(Error::new(
            Code::InvalidVariants,
            "the weights add up to nothing",
            "give at least one variant a weight above zero",
        ));
    }
    let scaled = |weight: u64| u128::from(weight) * u128::from(BUCKETS);
    let mut parts: Vec<u32> = weights.iter().map(|&weight| (scaled(weight) / total) as u32).collect();
    let missing = BUCKETS - parts.iter().sum::<u32>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    // A stable sort: equal remainders stay in written order.
    by_remainder.sort_by_key(|&index| std::cmp::Reverse(scaled(weights[index]) % total));
    for &index in by_remainder.iter().take(missing as usize) {
        parts[index] += 1;
    }
    Ok(parts)
}

/// The layout that gives every variant its `parts` and moves as few buckets out of `previous` as that allows.
///
/// With no `previous` layout the variants follow one another as written. Otherwise a shrinking variant gives away
/// its highest buckets, and growing ones take the freed buckets from the lowest up, in written order.
/// `parts` must add up to [`BUCKETS`], as [`parts_per_million`] makes them.
pub fn layout(previous: &[Range], parts: &[u32]) -> Vec<Range> {
    let mut owned = vec![0_u32; parts.len()];
    let mut kept: Vec<Range> = Vec::with_capacity(previous.len() + parts.len());
    let mut free: Vec<(u32, u32)> = Vec::new();
    let mut sorted = previous.to_vec();
    sorted.sort_by_key(|range| range.from);
    let mut next = 0;
    for range in &sorted {
        if range.from > next {
            free.push((next, range.from));
        }
        next = range.to;
        let allowed = parts.get(range.variant).map_or(0, |&part| part - owned[range.variant]);
        let keep = allowed.min(range.to - range.from);
        if keep > 0 {
            owned[range.variant] += keep;
            kept.push(Range { to: range.from + keep, ..*range });
        }
        if range.from + keep < range.to {
            free.push((range.from + keep, range.to));
        }
    }
    if next < BUCKETS {
        free.push((next, BUCKETS));
    }
    let mut free = free.into_iter();
    let mut gap = free.next();
    for (variant, &part) in parts.iter().enumerate() {
        while owned[variant] < part {
            let Some((from, to)) = gap else { break };
            let taken = (part - owned[variant]).min(to - from);
            kept.push(Range { from, to: from + taken, variant });
            owned[variant] += taken;
            gap = if from + taken < to { Some((from + taken, to)) } else { free.next() };
        }
    }
    kept.sort_by_key(|range| range.from);
    kept.dedup_by(|later, earlier| {
        let joins = earlier.to == later.from && earlier.variant == later.variant;
        if joins {
            earlier.to = later.to;
        }
        joins
    });
    kept
}

/// Whether `ranges` cover every bucket exactly once, in ascending order, with variants below `variants`.
pub fn is_complete(ranges: &[Range], variants: usize) -> bool {
    let mut next = 0;
    for range in ranges {
        if range.from != next || range.to <= range.from || range.variant >= variants {
            return false;
        }
        next = range.to;
    }
    next == BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner(ranges: &[Range], bucket: u32) -> usize {
        ranges.iter().find(|range| bucket < range.to).map(|range| range.variant).unwrap()
    }

    #[test]
    fn thirds_add_up_and_the_earlier_takes_the_odd_one() {
        assert_eq!(parts_per_million(&[1, 1, 1]).unwrap(), [333_334, 333_333, 333_333]);
        assert_eq!(parts_per_million(&[50, 50]).unwrap(), [500_000, 500_000]);
        assert_eq!(parts_per_million(&[u64::MAX, u64::MAX]).unwrap(), [500_000, 500_000]);
        assert_eq!(parts_per_million(&[0, 0]).unwrap_err().code, Code::InvalidVariants);
        assert_eq!(parts_per_million(&[]).unwrap_err().code, Code::InvalidVariants);
    }

    #[test]
    fn the_first_layout_follows_the_written_order() {
        let ranges = layout(&[], &[250_000, 750_000]);
        assert_eq!(
            ranges,
            [Range { from: 0, to: 250_000, variant: 0 }, Range { from: 250_000, to: 1_000_000, variant: 1 }]
        );
    }

    proptest! {
        #[test]
        fn changing_weights_moves_exactly_what_they_require(
            before in prop::collection::vec(1_u64..1000, 1..6),
            steps in prop::collection::vec(prop::collection::vec(1_u64..1000, 1..6), 1..4),
        ) {
            let mut ranges = layout(&[], &parts_per_million(&before).unwrap());
            let mut variants = before.len();
            for weights in steps {
                // Variants are only ever added: one that is to get nothing keeps its place.
                let mut weights = weights;
                weights.resize(weights.len().max(variants), 0);
                variants = weights.len();
                let parts = parts_per_million(&weights).unwrap();
                let next = layout(&ranges, &parts);
                prop_assert!(is_complete(&next, variants));
                let mut owned = vec![0_i64; variants];
                for range in &next {
                    owned[range.variant] += i64::from(range.to - range.from);
                }
                prop_assert_eq!(&owned, &parts.iter().map(|&part| i64::from(part)).collect::<Vec<_>>());
                let mut had = vec![0_i64; variants];
                for range in &ranges {
                    had[range.variant] += i64::from(range.to - range.from);
                }
                let required: i64 = owned.iter().zip(&had).map(|(now, then)| (now - then).max(0)).sum();
                let mut edges: Vec<u32> = ranges.iter().chain(&next).flat_map(|range| [range.from, range.to]).collect();
                edges.sort_unstable();
                edges.dedup();
                let moved: i64 = edges
                    .windows(2)
                    .filter(|edge| owner(&ranges, edge[0]) != owner(&next, edge[0]))
                    .map(|edge| i64::from(edge[1] - edge[0]))
                    .sum();
                prop_assert_eq!(moved, required);
                ranges = next;
            }
        }
    }
}
