//! Factorial experiments: several factors, each on or off, in all combinations.
//!
//! Why this module exists: every user tells about every factor, if effects are taken as means over the levels of the others
//! with equal weights; differences of the plain totals of each level are something else as soon as cells are of unequal size.
//! An effect of k factors is a contrast of the 2ᵏ cells with weights ±1/2ᵏ⁻¹. Interactions come before main effects, which
//! mean little where factors interact, and the family of all effects is adjusted by Holm's method.

use super::contrast::Contrast;
use super::mean::Sample;
use super::multiplicity::{Correction, adjust};
use super::{Alternative, InvalidArgument, Note, check_alpha};

/// More factors than anybody combines; with 2ᵏ effects of 2ᵏ cells each there must be an end.
const MOST_FACTORS: u32 = 10;

/// One effect of a factorial experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FactorialEffect {
    /// The factors that take part, as bits: 1 the first, 2 the second, 3 the interaction of both, and so on.
    pub factors: u32,
    /// The effect with its test and interval.
    pub contrast: Contrast,
    /// The p-value adjusted for all effects by Holm's method.
    pub p_adjusted: Option<f64>,
}

/// All 2ᵏ − 1 effects of the 2ᵏ `cells`, interactions of the most factors first; bit j of a cell's place says whether factor j
/// is on.
///
/// Edges: a cell with fewer than two users leaves all effects out with [`Note::TooFewUnits`]; for the rest see [`Contrast`].
///
/// # Errors
/// [`InvalidArgument`] naming `n`, `mean` or `var` as for [`welch_test`](super::mean::welch_test), `n` also where the cells
/// are not 2, 4, 8 … up to 1024, or `alpha`.
pub fn factorial_effects(cells: &[Sample], alpha: f64) -> Result<Vec<FactorialEffect>, InvalidArgument> {
    let size = cells.len();
    if !size.is_power_of_two() || !(2..=1 << MOST_FACTORS).contains(&size) {
        return Err(InvalidArgument::new("n", size, "an array of 2, 4, 8 and so on up to 1024 cells"));
    }
    for cell in cells {
        cell.check(["n", "mean", "var"])?;
    }
    check_alpha(alpha)?;
    let too_few = cells.iter().any(|cell| cell.n < 2);
    let weight = 2.0 / size as f64;
    let terms: Vec<_> =
        if too_few { Vec::new() } else { cells.iter().map(|cell| cell.term(weight)).collect() };
    let mut effects: Vec<FactorialEffect> = (1..size as u32)
        .map(|factors| {
            let contrast = if too_few {
                Contrast::missing(Note::TooFewUnits)
            } else {
                Contrast::infer(weight * signed_sum(cells, factors), &terms, alpha, Alternative::TwoSided)
            };
            FactorialEffect { factors, contrast, p_adjusted: None }
        })
        .collect();
    effects.sort_by_key(|effect| (std::cmp::Reverse(effect.factors.count_ones()), effect.factors));
    let p_values: Vec<Option<f64>> = effects.iter().map(|effect| effect.contrast.p_value).collect();
    for (effect, adjusted) in effects.iter_mut().zip(adjust(&p_values, Correction::Holm)?) {
        effect.p_adjusted = adjusted;
    }
    Ok(effects)
}

/// The sum of the cells' means, each positive for every factor that is on and negative for every one that is off.
fn signed_sum(cells: &[Sample], factors: u32) -> f64 {
    // Less the first cell's mean, which the signs cancel: what cells have in common must not cost the digits of an effect.
    let origin = cells[0].mean;
    (0_u32..)
        .zip(cells)
        .map(|(place, cell)| {
            let off = (factors & !place).count_ones();
            let excess = cell.mean - origin;
            if off.is_multiple_of(2) { excess } else { -excess }
        })
        .sum()
}
