//! Whether users arrived in the variants in the proportions they were assigned by: the sample ratio mismatch check.
//!
//! Why this module exists: a mismatch means that users are lost or counted twice in one variant, and then no comparison of
//! the variants holds, however small its p-value (Fabijan et al., KDD 2019). Weights that changed in flight are tested phase
//! by phase, as totals against the latest or the average weights would accuse a healthy experiment. A χ² test looked at
//! every day raises false alarms; the sequential test of Lindon & Malek (2022, NeurIPS, "Anytime-valid inference for
//! multinomial count data") may be looked at after every user.

use super::distribution::{chi_square_survival, ln_beta_density};
use super::{InvalidArgument, Note, check_count, check_probability};

/// The users of one variant in one phase, which is a time of constant weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhaseArm {
    /// The phase, by any number.
    pub phase: i32,
    /// The variant, by any number; at most once per phase.
    pub arm: i32,
    /// Users whose first exposure was in this phase.
    pub observed: i64,
    /// The variant's weight then, on any scale.
    pub weight: f64,
}

/// The χ² test of observed users against weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatioTest {
    /// Pearson's χ²; infinite when a variant of weight 0 has users.
    pub statistic: Option<f64>,
    /// Variants less one, summed over phases.
    pub degrees_of_freedom: Option<i64>,
    /// P(proportions this far off | assignment works).
    pub p_value: Option<f64>,
    /// Whether the p-value is below the threshold.
    pub mismatch: Option<bool>,
    /// Why a figure is missing or how to read it.
    pub note: Option<Note>,
}

/// The sequential test: an e-value, by Ville's inequality at most 1/threshold at any look unless assignment is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialSampleRatio {
    /// ln e; those of independent data add up. Infinite when a variant of weight 0 has users.
    pub log_e: Option<f64>,
    /// min(1, 1/e) of this look. The p-value of a monitored experiment is the least of its looks.
    pub p_value: Option<f64>,
    /// Whether the p-value is below the threshold.
    pub mismatch: Option<bool>,
    /// Why a figure is missing or how to read it.
    pub note: Option<Note>,
}

/// Tests the users of each variant against its weight.
///
/// Edges: fewer than two variants with a weight or users give [`Note::TooFewArms`], no users [`Note::TooFewUnits`]. A variant
/// of weight 0 is left out while it has no users; with users p is 0 ([`Note::ZeroWeightArm`]). An expected count below five
/// is [`Note::SmallCounts`].
///
/// # Errors
/// [`InvalidArgument`] for a negative count, for weights that are negative, not finite, all 0 or not as many as counts, and
/// for a `threshold` outside (0, 1).
pub fn sample_ratio_test(
    observed: &[i64],
    weights: &[f64],
    threshold: f64,
) -> Result<SampleRatioTest, InvalidArgument> {
    sample_ratio_phases(&one_phase(observed, weights)?, threshold)
}

/// Tests every phase against its own weights: the sum of the phases' χ² on the sum of their degrees of freedom. Phases
/// without users or with a single variant say nothing and are left out.
///
/// # Errors
/// [`InvalidArgument`] as for [`sample_ratio_test`], and naming `arm` for one that is twice in a phase.
pub fn sample_ratio_phases(cells: &[PhaseArm], threshold: f64) -> Result<SampleRatioTest, InvalidArgument> {
    check_probability("threshold", threshold)?;
    let phases = phases(cells)?;
    let (informative, note) = informative(&phases);
    if informative.is_empty() {
        return Ok(SampleRatioTest {
            statistic: None,
            degrees_of_freedom: None,
            p_value: None,
            mismatch: None,
            note,
        });
    }
    let statistic =
        informative.iter().flat_map(|phase| phase.arms.iter().map(|arm| phase.component(arm))).sum();
    let degrees_of_freedom = informative.iter().map(|phase| phase.arms.len() as i64 - 1).sum::<i64>();
    let p_value = chi_square_survival(statistic, degrees_of_freedom as f64);
    Ok(SampleRatioTest {
        statistic: Some(statistic),
        degrees_of_freedom: Some(degrees_of_freedom),
        p_value: Some(p_value),
        mismatch: Some(p_value < threshold),
        note,
    })
}

/// Tests the users of each variant against its weight, validly however often it is looked at.
///
/// The alternative is a Dirichlet distribution of proportions about the weights: the greater its `concentration` (100 is
/// usual), the smaller the mismatches it looks for. Edges as for [`sample_ratio_test`], without the one of small counts:
/// nothing here is an approximation.
///
/// # Errors
/// [`InvalidArgument`] as for [`sample_ratio_test`], and for a `concentration` that is not positive and finite.
pub fn sequential_sample_ratio(
    observed: &[i64],
    weights: &[f64],
    concentration: f64,
    threshold: f64,
) -> Result<SequentialSampleRatio, InvalidArgument> {
    sequential_sample_ratio_phases(&one_phase(observed, weights)?, concentration, threshold)
}

/// The sequential test with one e-value per phase, multiplied.
///
/// # Errors
/// [`InvalidArgument`] as for [`sequential_sample_ratio`], and naming `arm` for one that is twice in a phase.
pub fn sequential_sample_ratio_phases(
    cells: &[PhaseArm],
    concentration: f64,
    threshold: f64,
) -> Result<SequentialSampleRatio, InvalidArgument> {
    check_probability("threshold", threshold)?;
    if !(concentration > 0.0 && concentration.is_finite()) {
        return Err(InvalidArgument::new("concentration", concentration, "a finite number above 0"));
    }
    let phases = phases(cells)?;
    let (informative, note) = informative(&phases);
    if informative.is_empty() {
        return Ok(SequentialSampleRatio { log_e: None, p_value: None, mismatch: None, note });
    }
    let log_e: f64 = informative.iter().map(|phase| phase.log_e(concentration)).sum();
    if log_e.is_nan() {
        // A concentration or weights at the edge of the range.
        return Ok(SequentialSampleRatio {
            log_e: None,
            p_value: None,
            mismatch: None,
            note: Some(Note::Overflow),
        });
    }
    let p_value = (-log_e).exp().min(1.0);
    let note = note.filter(|&note| note != Note::SmallCounts);
    Ok(SequentialSampleRatio {
        log_e: Some(log_e),
        p_value: Some(p_value),
        mismatch: Some(p_value < threshold),
        note,
    })
}

fn one_phase(observed: &[i64], weights: &[f64]) -> Result<Vec<PhaseArm>, InvalidArgument> {
    if observed.len() != weights.len() {
        return Err(InvalidArgument::length("weights", weights.len(), "observed", observed.len()));
    }
    let cell = |(arm, (&observed, &weight))| PhaseArm { phase: 0, arm, observed, weight };
    Ok((0..).zip(observed.iter().zip(weights)).map(cell).collect())
}

/// The variants of one phase that have a weight or users.
struct Phase {
    arms: Vec<PhaseArm>,
    users: f64,
    /// Sum of the weights, the greatest of which is between ½ and 1.
    weight: f64,
}

fn phases(cells: &[PhaseArm]) -> Result<Vec<Phase>, InvalidArgument> {
    for cell in cells {
        check_count("observed", cell.observed)?;
        if !(cell.weight >= 0.0 && cell.weight.is_finite()) {
            return Err(InvalidArgument::new("weights", cell.weight, "finite numbers, 0 or more"));
        }
    }
    let mut sorted = cells.to_vec();
    sorted.sort_by_key(|cell| (cell.phase, cell.arm));
    if let Some(pair) =
        sorted.windows(2).find(|pair| (pair[0].phase, pair[0].arm) == (pair[1].phase, pair[1].arm))
    {
        return Err(InvalidArgument::new("arm", pair[0].arm, "named once per phase"));
    }
    sorted.chunk_by(|cell, other| cell.phase == other.phase).map(Phase::new).collect()
}

/// The phases that say something, and what to note of the whole.
fn informative(phases: &[Phase]) -> (Vec<&Phase>, Option<Note>) {
    let several: Vec<&Phase> = phases.iter().filter(|phase| phase.arms.len() > 1).collect();
    let peopled: Vec<&Phase> = several.iter().copied().filter(|phase| phase.users > 0.0).collect();
    let arms = || peopled.iter().flat_map(|phase| phase.arms.iter().map(move |arm| (phase, arm)));
    let note = if several.is_empty() {
        Some(Note::TooFewArms)
    } else if peopled.is_empty() {
        Some(Note::TooFewUnits)
    } else if arms().any(|(_, arm)| arm.weight == 0.0) {
        Some(Note::ZeroWeightArm)
    } else if arms().any(|(phase, arm)| phase.users * arm.weight < 5.0 * phase.weight) {
        Some(Note::SmallCounts)
    } else {
        None
    };
    (peopled, note)
}

impl Phase {
    fn new(cells: &[PhaseArm]) -> Result<Phase, InvalidArgument> {
        let greatest = cells.iter().map(|cell| cell.weight).fold(0.0, f64::max);
        if greatest == 0.0 {
            return Err(InvalidArgument::new("weights", 0, "greater than 0 for at least one arm"));
        }
        // Scaled by a power of two, which keeps every digit of a ratio and any product with a count in range.
        let (_, exponent) = libm::frexp(greatest);
        let arms: Vec<PhaseArm> = cells
            .iter()
            .map(|cell| PhaseArm { weight: libm::ldexp(cell.weight, -exponent), ..*cell })
            .filter(|cell| cell.weight > 0.0 || cell.observed > 0)
            .collect();
        let users: i128 = arms.iter().map(|arm| i128::from(arm.observed)).sum();
        let weight = arms.iter().map(|arm| arm.weight).sum();
        Ok(Phase { arms, users: users as f64, weight })
    }

    /// (O − E)²/E of one variant, infinite for users where none are expected.
    fn component(&self, arm: &PhaseArm) -> f64 {
        let excess = difference_of_products(arm.observed as f64, self.weight, self.users, arm.weight);
        let (excess, expected) = (excess / self.weight, self.users * arm.weight / self.weight);
        excess * (excess / expected)
    }

    /// ln of the Dirichlet-multinomial likelihood over the multinomial one. It is the ratio of the Dirichlet density at the
    /// weights before and after the data (Savage and Dickey), which breaks up into Beta densities, each of a variant's
    /// share in what the variants before it have left; that spares the difference of huge ln Γ.
    fn log_e(&self, concentration: f64) -> f64 {
        if self.arms.iter().any(|arm| arm.weight == 0.0) {
            return f64::INFINITY;
        }
        let scale = concentration / self.weight;
        let (mut users, mut weight) = (0.0, 0.0);
        let mut log_e = 0.0;
        for arm in self.arms.iter().rev() {
            let observed = arm.observed as f64;
            if weight > 0.0 {
                let share = arm.weight / (arm.weight + weight);
                let (own, rest) = (scale * arm.weight, scale * weight);
                log_e +=
                    ln_beta_density(share, own, rest) - ln_beta_density(share, own + observed, rest + users);
            }
            users += observed;
            weight += arm.weight;
        }
        log_e
    }
}

/// a·b − c·d to the last digits, however close the products (Kahan; Jeannerod, Louvet & Muller 2013, Mathematics of
/// Computation 82).
fn difference_of_products(a: f64, b: f64, c: f64, d: f64) -> f64 {
    let product = c * d;
    let error = (-c).mul_add(d, product);
    a.mul_add(b, -product) + error
}
