//! Quantiles of any number of values from a few kilobytes that merge: of partitions, of days, of parallel workers.
//!
//! Why this module exists: an exact quantile needs all values at one place. A DDSketch (Masson, Rim & Lee 2019, Proceedings
//! of the VLDB Endowment 12) counts them in bins whose width grows with the value, and so answers each quantile within 1 %
//! of the value that has this rank. Of the sketches that merge it is the one whose error is bounded for every input and
//! whose bins, being counts, are the same whatever was merged in which order; a t-digest has no bound and KLL is random.
//!
//! The bound holds for values whose sizes are within 17 powers of ten of the largest one of their sign. Those nearer to zero
//! than that share one bin, and what is nearer than 10⁻⁹ counts as zero.

use sketches_ddsketch::DDSketch;
use xxhash_rust::xxh64::xxh64;

use super::quantile::{QuantileInterval, between_ranks};
use super::{InvalidArgument, check_alpha, check_probability};

/// How far a quantile may be from the value of its rank, relative to that.
pub const RELATIVE_ERROR: f64 = 0.01;

/// The bytes before the sketch proper in its stored form.
const SUM: usize = size_of::<u64>();

/// Values in bins.
#[derive(Clone, Default)]
pub struct QuantileSketch {
    bins: DDSketch,
}

impl QuantileSketch {
    /// Adds a value.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `argument` for a value that is not finite.
    pub fn add(&mut self, argument: &'static str, value: f64) -> Result<(), InvalidArgument> {
        if !value.is_finite() {
            return Err(InvalidArgument::new(argument, value, "a finite number"));
        }
        self.bins.add(value);
        Ok(())
    }

    /// Adds the values of another sketch.
    pub fn merge(&mut self, other: &QuantileSketch) {
        // It only refuses bins of another width, and `from_bytes` lets none in.
        let merged = self.bins.merge(&other.bins);
        debug_assert!(merged.is_ok(), "all sketches have the default bins");
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.bins.count()
    }

    /// The stored form: that of DataDog's DDSketch in other languages, behind the xxHash64 of it, least byte first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bins = self.bins.to_java_bytes();
        [&xxh64(&bins, 0).to_le_bytes()[..], &bins].concat()
    }

    /// Reads [`QuantileSketch::to_bytes`].
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `sketch` for bytes that are not from there.
    pub fn from_bytes(bytes: &[u8]) -> Result<QuantileSketch, InvalidArgument> {
        // The library reads what it wrote, but other bytes may make it panic or fill its bins for ever.
        let bins = bytes
            .split_at_checked(SUM)
            .filter(|(sum, bins)| *sum == xxh64(bins, 0).to_le_bytes())
            .and_then(|(_, bins)| DDSketch::from_java_bytes(bins).ok());
        match bins {
            Some(bins) => Ok(QuantileSketch { bins }),
            None => {
                let given = format!("{} other bytes", bytes.len());
                Err(InvalidArgument::new("sketch", given, "what ab_quantile_sketch answered"))
            }
        }
    }

    /// The quantile `q` within [`RELATIVE_ERROR`], with bounds that are moved outwards by it so that they hold the exact
    /// interval.
    ///
    /// Edges: those of [`quantile_interval`](super::quantile::quantile_interval).
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `q` or `alpha` unless strictly between 0 and 1.
    pub fn interval(&self, q: f64, alpha: f64) -> Result<QuantileInterval, InvalidArgument> {
        check_alpha(alpha)?;
        check_probability("q", q)?;
        let n = self.count() as f64;
        let estimate = self.bins.quantile(q).ok().flatten();
        // The furthest value in this direction that the answer is within the error of.
        let edge = |value: f64, side: f64| value / (1.0 - side * value.signum() * RELATIVE_ERROR);
        Ok(between_ranks(n, q, alpha, estimate, |lower, upper| {
            (edge(self.at(lower), -1.0), edge(self.at(upper), 1.0))
        }))
    }

    /// The value of a rank from 1 to n.
    fn at(&self, rank: f64) -> f64 {
        let last = self.count() as f64 - 1.0;
        // In the middle of what the library rounds down to the rank.
        let place = if rank > last { 1.0 } else { (rank - 0.5) / last };
        self.bins.quantile(place).ok().flatten().unwrap_or(0.0)
    }
}
