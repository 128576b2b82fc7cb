//! Post-stratification: arms compared within strata such as platform or country, and the differences put together.
//!
//! Why this module exists: arms that by chance hold unequal shares of a stratum differ for that reason alone. Comparing
//! within strata and weighting each by its share of all users takes that chance away, d = Σ w_h·(m_T,h − m_C,h) with
//! Var = Σ w_h²·(V_T,h + V_C,h) (Miratrix, Sekhon & Yu 2013, JRSS B 75), without having planned it. The strata must have been
//! fixed before exposure.

use super::covariate::{CovariateSample, stratified_cuped_test};
use super::mean::{Sample, WelchTest};
use super::{Alternative, InvalidArgument, Note, check_alpha};

/// Compares two arms over strata; the strata of both are in the same order.
///
/// A stratum with fewer than two users in an arm cannot be compared: all such strata are merged into one, and if that is
/// still too small, it with the smallest of the others. Merging is exact. Edges are those of
/// [`welch_test`](super::mean::welch_test), and [`Note::StrataMerged`] where that had to be done. The lift is relative to the control's mean
/// with the same weights.
///
/// # Errors
/// [`InvalidArgument`] as for [`welch_test`](super::mean::welch_test), and for arrays of unequal lengths.
pub fn post_stratified_test(
    control: &[Sample],
    treatment: &[Sample],
    alpha: f64,
    alternative: Alternative,
) -> Result<WelchTest, InvalidArgument> {
    if control.len() != treatment.len() {
        return Err(InvalidArgument::length("n2", treatment.len(), "n1", control.len()));
    }
    check_alpha(alpha)?;
    for (control, treatment) in control.iter().zip(treatment) {
        control.check(["n1", "mean1", "var1"])?;
        treatment.check(["n2", "mean2", "var2"])?;
    }
    let strata = control.iter().copied().zip(treatment.iter().copied());
    let peopled: Vec<Stratum> =
        strata.filter(|(control, treatment)| control.n > 0 || treatment.n > 0).collect();
    let given = peopled.len();
    let strata = merge_thin(peopled);
    let plain = |sample: Sample| CovariateSample {
        n: sample.n,
        mean: sample.mean,
        variance: sample.variance,
        covariate_mean: 0.0,
        covariate_variance: 0.0,
        covariance: 0.0,
    };
    let (control, treatment): (Vec<_>, Vec<_>) =
        strata.iter().map(|&(control, treatment)| (plain(control), plain(treatment))).unzip();
    if control.iter().chain(&treatment).any(|arm| !(arm.mean.is_finite() && arm.variance.is_finite())) {
        return Ok(WelchTest::without_inference(None, super::lift::Lift::MISSING, Note::Overflow));
    }
    let test = stratified_cuped_test(&control, &treatment, alpha, alternative)?;
    let merged = (strata.len() < given).then_some(Note::StrataMerged);
    Ok(WelchTest { note: test.note.or(merged), ..test })
}

type Stratum = (Sample, Sample);

fn merge_thin(strata: Vec<Stratum>) -> Vec<Stratum> {
    let (ample, thin): (Vec<_>, Vec<_>) = strata.into_iter().partition(|stratum| !is_thin(stratum));
    let mut ample = ample;
    let Some(other) = thin.into_iter().reduce(merged) else { return ample };
    if !is_thin(&other) {
        ample.push(other);
    } else if let Some(smallest) =
        ample.iter_mut().min_by_key(|(control, treatment)| control.n.saturating_add(treatment.n))
    {
        *smallest = merged(*smallest, other);
    } else {
        ample.push(other);
    }
    ample
}

fn is_thin((control, treatment): &Stratum) -> bool {
    control.n < 2 || treatment.n < 2
}

fn merged(stratum: Stratum, other: Stratum) -> Stratum {
    (stratum.0.merged(other.0), stratum.1.merged(other.1))
}
