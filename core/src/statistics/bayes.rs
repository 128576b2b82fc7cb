//! What to believe of an effect: posteriors, the chance to be better, and what a wrong choice costs.
//!
//! Why this module exists: a decision needs the chance that a variant is better and the loss if it is not, not only a
//! p-value. The posterior of an effect with estimate d, standard error se and prior N(μ₀, σ₀²) is normal, weighing both by
//! their precision; conversions have Beta posteriors. The expected loss of shipping the treatment is E[(C − T)⁺], what is
//! given away on average by being wrong. Stopping at a small loss bounds the loss on average under the prior; it is no bound
//! on false positives (Deng, Lu & Chen 2016, IEEE DSAA), and looking all the time inflates a flat prior's chance to be better
//! just as it does p-values.
//!
//! * [`normal_posterior`]: of a difference or lift, in closed form;
//! * [`proportions`]: of two conversion rates, by quadrature;
//! * [`ranking`]: of several arms, by quadrature;
//! * [`empirical`]: the prior itself from past experiments, and what is left of an effect under it.

pub mod empirical;
pub mod proportions;
pub mod ranking;

use super::distribution::{normal_critical, normal_density, normal_survival};
use super::{InvalidArgument, Note, check_alpha};

/// What was believed of an effect or a mean before there was data: a normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation, 0 or more; `None` for a flat prior, which says nothing and whose mean does not count.
    pub sd: Option<f64>,
}

impl Prior {
    /// Nothing was believed: the posterior is the data alone.
    pub const FLAT: Prior = Prior { mean: 0.0, sd: None };

    pub(super) fn check(&self) -> Result<(), InvalidArgument> {
        if !self.mean.is_finite() {
            return Err(InvalidArgument::new("prior_mean", self.mean, "a finite number"));
        }
        self.sd.map_or(Ok(()), |sd| check_deviation("prior_sd", sd))
    }

    /// Mean and standard deviation after an estimate and its standard error, neither of which is 0.
    pub(super) fn updated(&self, estimate: f64, standard_error: f64) -> (f64, f64) {
        let Some(sd) = self.sd else { return (estimate, standard_error) };
        let ratio = standard_error / sd;
        let (of_data, of_prior) = (1.0 / (1.0 + ratio * ratio), 1.0 / (1.0 + ratio.recip() * ratio.recip()));
        let (small, large) = (sd.min(standard_error), sd.max(standard_error));
        (of_data * estimate + of_prior * self.mean, small / (small / large).hypot(1.0))
    }
}

/// What is believed of a treatment against the control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// Mean of the effect.
    pub mean: Option<f64>,
    /// Standard deviation of the effect.
    pub sd: Option<f64>,
    /// Lower bound of the equal-tailed credible interval.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
    /// P(treatment above control), relatively exact also where it is next to nothing.
    pub probability_better: Option<f64>,
    /// P(treatment below control), likewise.
    pub probability_worse: Option<f64>,
    /// E[(control − treatment)⁺], what shipping the treatment gives away on average.
    pub treatment_loss: Option<f64>,
    /// E[(treatment − control)⁺], what keeping the control gives away.
    pub control_loss: Option<f64>,
    /// Why a figure is missing or how to read it.
    pub note: Option<Note>,
}

impl Posterior {
    pub(super) fn missing(note: Note) -> Posterior {
        Posterior {
            mean: None,
            sd: None,
            low: None,
            high: None,
            probability_better: None,
            probability_worse: None,
            treatment_loss: None,
            control_loss: None,
            note: Some(note),
        }
    }

    /// There is certainly no effect.
    fn none_at_all() -> Posterior {
        Posterior {
            mean: Some(0.0),
            sd: Some(0.0),
            low: Some(0.0),
            high: Some(0.0),
            probability_better: Some(0.5),
            probability_worse: Some(0.5),
            treatment_loss: Some(0.0),
            control_loss: Some(0.0),
            note: None,
        }
    }
}

/// The posterior of an effect (a difference or a lift, from any test) with a credible interval of 1 − `alpha`.
///
/// Probabilities and losses are relatively exact down to the range of a double. Edges: without noise, in the data or in the
/// prior, an effect of 0 is certain (a chance of ½ either way, as ties are equal); any other would be absurd to take for
/// certain and gives [`Note::ZeroVariance`]. Figures beyond the range of a double are [`Note::Overflow`].
///
/// # Errors
/// [`InvalidArgument`] for figures that are not finite, a negative `se` or `prior_sd`, and an `alpha` outside (0, 1).
pub fn normal_posterior(
    diff: f64,
    standard_error: f64,
    prior: Prior,
    alpha: f64,
) -> Result<Posterior, InvalidArgument> {
    if !diff.is_finite() {
        return Err(InvalidArgument::new("diff", diff, "a finite number"));
    }
    check_deviation("se", standard_error)?;
    prior.check()?;
    check_alpha(alpha)?;
    let certain = match (standard_error == 0.0, prior.sd) {
        (true, _) => Some(diff),
        (false, Some(0.0)) => Some(prior.mean),
        _ => None,
    };
    match certain {
        Some(0.0) => return Ok(Posterior::none_at_all()),
        Some(_) => return Ok(Posterior::missing(Note::ZeroVariance)),
        None => {}
    }
    let (mean, sd) = prior.updated(diff, standard_error);
    let half = normal_critical(alpha) * sd;
    let (low, high, z) = (mean - half, mean + half, mean / sd);
    // A subnormal deviation has lost its digits: refused like one beyond the range.
    if sd < f64::MIN_POSITIVE || ![low, high, z].iter().all(|figure| figure.is_finite()) {
        return Ok(Posterior::missing(Note::Overflow));
    }
    Ok(Posterior {
        mean: Some(mean),
        sd: Some(sd),
        low: Some(low),
        high: Some(high),
        probability_better: Some(normal_survival(-z)),
        probability_worse: Some(normal_survival(z)),
        treatment_loss: Some(sd * normal_loss(z)),
        control_loss: Some(sd * normal_loss(-z)),
        note: None,
    })
}

/// E[(Z − z)⁺] = φ(z) − z·P(Z > z) of a standard normal Z, without the cancellation.
fn normal_loss(z: f64) -> f64 {
    if z < 0.0 {
        return normal_loss(-z) - z;
    }
    if z < 4.0 {
        return normal_density(z) - z * normal_survival(z);
    }
    // The ratio to the tail's area by the continued fraction of repeated integrals of erfc (DLMF 7.18.13); from 4 on 40 terms
    // leave nothing.
    let fraction = (2..42).rev().fold(z, |rest, term| z + f64::from(term) / rest);
    normal_survival(z) / fraction
}

pub(super) fn check_deviation(argument: &'static str, value: f64) -> Result<(), InvalidArgument> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(InvalidArgument::new(argument, value, "a finite number, 0 or more"))
    }
}
