//! Bandits: how much each variant deserves by what is known of it, and what the variants come to under weights that moved.
//!
//! Why this module exists: Thompson sampling (Chapelle & Li 2011, NIPS) gives a variant the chance that it is the best, which
//! draws make by luck and [`quadrature`](super::bayes::ranking) makes exactly: the same counts give the same shares, without a
//! seed. Top-two sampling (Russo 2016, COLT) keeps half of the leader's share for whoever would lead without it, which finds
//! the best arm sooner. A floor keeps every variant observed, p = f + (1 − k·f)·w, and until each has enough users
//! all are equal: what the first ten users did must not decide who the next thousand see.
//!
//! Totals over weights that moved compare a variant's Mondays with another's Sundays. [`period_estimates`] compares within
//! periods and weighs all variants' periods alike, m_i = Σ_p (N_p/N)·m_ip.

use std::str::FromStr;

use super::bayes::Prior;
use super::bayes::ranking::{Belief, Standing, probabilities_best, ranking};
use super::mean::Sample;
use super::proportion::Proportion;
use super::sequential::{BURN_IN_CONVERSIONS, BURN_IN_USERS};
use super::{InvalidArgument, Note};

/// The most arms of a bandit: the cost of the integrals grows with their square.
pub const MAX_ARMS: usize = 100;

/// How a chance to be the best becomes a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// The chance itself: the most reward on the way.
    #[default]
    Thompson,
    /// Half of it, and half of the chance to be the best of those without the leader: the best arm is known sooner.
    TopTwo,
}

impl Algorithm {
    /// `thompson` or `top_two`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Thompson => "thompson",
            Algorithm::TopTwo => "top_two",
        }
    }

    /// The share of each arm by its chance to be the best.
    fn shares(self, chances: &[f64]) -> Vec<f64> {
        if self == Algorithm::Thompson || chances.len() < 2 {
            return chances.to_vec();
        }
        // A leader without rivals leaves its other half to all others alike.
        let others = |leader: usize| {
            let others = chances.iter().enumerate().filter(move |&(arm, _)| arm != leader);
            others.map(|(_, chance)| chance).sum::<f64>()
        };
        let rest: Vec<f64> = (0..chances.len()).map(others).collect();
        let alike = 1.0 / (chances.len() - 1) as f64;
        (0..chances.len())
            .map(|arm| {
                let second = |leader: usize| {
                    let share = if rest[leader] > 0.0 { chances[arm] / rest[leader] } else { alike };
                    chances[leader] * share
                };
                0.5 * chances[arm]
                    + 0.5 * (0..chances.len()).filter(|&leader| leader != arm).map(second).sum::<f64>()
            })
            .collect()
    }
}

impl FromStr for Algorithm {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Algorithm, InvalidArgument> {
        match text {
            "thompson" => Ok(Algorithm::Thompson),
            "top_two" => Ok(Algorithm::TopTwo),
            _ => Err(InvalidArgument::option("algorithm", text, "\"thompson\" or \"top_two\"")),
        }
    }
}

/// One arm of a bandit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// Posterior mean.
    pub mean: Option<f64>,
    /// Posterior standard deviation of the mean.
    pub sd: Option<f64>,
    /// P(this arm is the best).
    pub probability_best: Option<f64>,
    /// How much worse than the best arm it is on average, in the metric's unit.
    pub expected_loss: Option<f64>,
    /// Share of the users to come; all together come to 1.
    pub weight: Option<f64>,
}

/// A bandit's arms in the order given.
#[derive(Debug, Clone, PartialEq)]
pub struct Bandit {
    /// The arms.
    pub arms: Vec<Arm>,
    /// Why a figure is missing or the weights are equal.
    pub note: Option<Note>,
}

/// The weights of arms by their means, at least `floor` each; a floor that leaves nothing over gives equal ones.
///
/// Posteriors are normal: the mean with its standard error under the `prior`, the same for all arms. `maximize` false for a
/// metric of which less is better. Edges: equal weights while an arm has fewer than [`BURN_IN_USERS`] users
/// ([`Note::BurnIn`]) or no variance ([`Note::ZeroVariance`]), with such figures as there are; figures beyond the range of a
/// double leave no weights ([`Note::Overflow`]); no arms are [`Note::TooFewArms`].
///
/// # Errors
/// [`InvalidArgument`] naming `n` (also for more than [`MAX_ARMS`]), `mean`, `var`, `floor` outside [0, 1], `prior_mean` or
/// `prior_sd`.
pub fn bandit(
    arms: &[Sample],
    algorithm: Algorithm,
    floor: f64,
    maximize: bool,
    prior: Prior,
) -> Result<Bandit, InvalidArgument> {
    check_arms(arms.len(), floor)?;
    arms.iter().try_for_each(|arm| arm.check(["n", "mean", "var"]))?;
    prior.check()?;
    let updated: Vec<Option<(f64, f64)>> = arms.iter().map(|arm| posterior(arm, prior)).collect();
    let figures = |standings: Option<&[Standing]>, weights: Option<&[f64]>| {
        let arm = |(index, updated): (usize, &Option<(f64, f64)>)| Arm {
            mean: updated.map(|(mean, _)| mean),
            sd: updated.map(|(_, sd)| sd),
            probability_best: standings.map(|standings| standings[index].probability_best),
            expected_loss: standings.map(|standings| standings[index].expected_loss),
            weight: weights.map(|weights| weights[index]),
        };
        updated.iter().enumerate().map(arm).collect()
    };
    let equal = vec![1.0 / arms.len() as f64; arms.len()];
    let burning_in = arms.iter().any(|arm| arm.n < BURN_IN_USERS).then_some(Note::BurnIn);
    if arms.is_empty() {
        return Ok(Bandit { arms: Vec::new(), note: Some(Note::TooFewArms) });
    }
    let Some(beliefs) = updated
        .iter()
        .map(|updated| updated.map(|(mean, sd)| Belief::Normal { mean, sd }))
        .collect::<Option<Vec<_>>>()
    else {
        let note = burning_in.unwrap_or(Note::ZeroVariance);
        return Ok(Bandit { arms: figures(None, Some(&equal)), note: Some(note) });
    };
    let is_finite = updated.iter().flatten().all(|(mean, sd)| mean.is_finite() && sd.is_finite());
    let Some(standings) = is_finite.then(|| ranking(&beliefs, maximize)).flatten() else {
        return Ok(Bandit { arms: figures(None, None), note: Some(Note::Overflow) });
    };
    let chances: Vec<f64> = standings.iter().map(|standing| standing.probability_best).collect();
    let weights = if burning_in.is_some() { equal } else { floored(&algorithm.shares(&chances), floor) };
    Ok(Bandit { arms: figures(Some(&standings), Some(&weights)), note: burning_in })
}

/// The weights of arms by their conversion rates as Thompson sampling has it, with uniform priors and the rates' exact
/// posteriors; equal ones with [`Note::BurnIn`] while an arm has fewer than [`BURN_IN_USERS`] users or
/// [`BURN_IN_CONVERSIONS`] conversions.
///
/// # Errors
/// [`InvalidArgument`] naming `n` (also for more than [`MAX_ARMS`]), `x` or `floor`.
pub fn rate_weights(arms: &[Proportion], floor: f64) -> Result<(Vec<f64>, Option<Note>), InvalidArgument> {
    check_arms(arms.len(), floor)?;
    arms.iter().try_for_each(|arm| arm.check(["n", "x"]))?;
    if arms.iter().any(|arm| arm.n < BURN_IN_USERS || arm.conversions < BURN_IN_CONVERSIONS) {
        return Ok((vec![1.0 / arms.len() as f64; arms.len()], Some(Note::BurnIn)));
    }
    let belief = |arm: &Proportion| Belief::Beta {
        a: 1.0 + arm.conversions as f64,
        b: 1.0 + (arm.n - arm.conversions) as f64,
    };
    let beliefs: Vec<Belief> = arms.iter().map(belief).collect();
    // Nothing leaves the range of a double here; if it did, nobody would be preferred.
    let chances = probabilities_best(&beliefs, true).unwrap_or_default();
    Ok((floored(&chances, floor), None))
}

fn check_arms(arms: usize, floor: f64) -> Result<(), InvalidArgument> {
    if arms > MAX_ARMS {
        return Err(InvalidArgument::new("n", arms, &format!("of at most {MAX_ARMS} arms")));
    }
    if (0.0..=1.0).contains(&floor) {
        Ok(())
    } else {
        Err(InvalidArgument::new("floor", floor, "from 0 to 1"))
    }
}

/// Mean and standard deviation of an arm's mean; `None` without a variance.
fn posterior(arm: &Sample, prior: Prior) -> Option<(f64, f64)> {
    if arm.n < 2 || arm.variance == 0.0 || prior.sd == Some(0.0) {
        return None;
    }
    Some(prior.updated(arm.mean, (arm.variance / arm.n as f64).sqrt()))
}

fn floored(shares: &[f64], floor: f64) -> Vec<f64> {
    let spare = 1.0 - shares.len() as f64 * floor;
    if spare <= 0.0 {
        return vec![1.0 / shares.len() as f64; shares.len()];
    }
    shares.iter().map(|share| floor + spare * share).collect()
}

/// What was measured of an arm during a period of constant weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeriodArm {
    /// The period's number: later ones are greater.
    pub period: i32,
    /// The arm.
    pub arm: i32,
    /// Users who came in the period.
    pub sample: Sample,
}

/// What an arm comes to over all periods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeriodEstimate {
    /// The arm.
    pub arm: i32,
    /// Its users.
    pub n: i64,
    /// Its mean with every period weighed by the users of all arms.
    pub estimate: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
}

/// The arms' means with the periods' changes taken out, to be compared as if the weights had never moved.
///
/// m_i = Σ_p (N_p/N)·m_ip with the variance Σ_p (N_p/N)²·s²_ip/n_ip. A period in which an arm has fewer than two users (a cell
/// that is missing has none) cannot be compared: it is put together with the next ones until every arm has two, what is
/// left at the end with the one before ([`Note::StrataMerged`]). Within what is put together the bias of moving weights remains.
/// Arms come in the order of their numbers, with how many periods are left. Edges: an arm with fewer than two users at
/// all has no error and, without users, no estimate ([`Note::TooFewUnits`]); beyond the range of a double is [`Note::Overflow`].
///
/// # Errors
/// [`InvalidArgument`] naming `n`, `mean` or `variance`, and `arm` for one that is twice in a period.
pub fn period_estimates(
    cells: &[PeriodArm],
) -> Result<(Vec<PeriodEstimate>, usize, Option<Note>), InvalidArgument> {
    cells.iter().try_for_each(|cell| cell.sample.check(["n", "mean", "variance"]))?;
    let mut sorted = cells.to_vec();
    sorted.sort_by_key(|cell| (cell.period, cell.arm));
    if let Some(pair) =
        sorted.windows(2).find(|pair| (pair[0].period, pair[0].arm) == (pair[1].period, pair[1].arm))
    {
        return Err(InvalidArgument::new("arm", pair[0].arm, "named once per period"));
    }
    let mut arms: Vec<i32> = cells.iter().map(|cell| cell.arm).collect();
    arms.sort_unstable();
    arms.dedup();
    let given: Vec<Vec<Sample>> = sorted
        .chunk_by(|cell, other| cell.period == other.period)
        .filter(|cells| cells.iter().any(|cell| cell.sample.n > 0))
        .map(|cells| {
            let mut period = vec![Sample { n: 0, mean: 0.0, variance: 0.0 }; arms.len()];
            for cell in cells {
                if let Ok(index) = arms.binary_search(&cell.arm) {
                    period[index] = cell.sample;
                }
            }
            period
        })
        .collect();
    let before = given.len();
    let periods = merge_thin(given);
    let merged = (periods.len() < before).then_some(Note::StrataMerged);
    let users = |samples: &[Sample]| samples.iter().map(|sample| sample.n as f64).sum::<f64>();
    let all: f64 = periods.iter().map(|period| users(period)).sum();
    let mut note = None;
    let estimates = arms
        .iter()
        .enumerate()
        .map(|(index, &arm)| {
            let own = || periods.iter().map(|period| (users(period) / all, period[index]));
            let n = own().fold(0_i64, |n, (_, sample)| n.saturating_add(sample.n));
            let estimate = own().map(|(share, sample)| share * sample.mean).sum::<f64>();
            let variance = own().map(|(share, sample)| share * share * (sample.variance / sample.n as f64));
            let standard_error = variance.sum::<f64>().sqrt();
            let has = |users: i64| own().all(|(_, sample)| sample.n >= users) && n > 0;
            let is_finite = estimate.is_finite() && (standard_error.is_finite() || !has(2));
            if !has(2) || !is_finite {
                note = note.or(Some(if has(2) { Note::Overflow } else { Note::TooFewUnits }));
            }
            PeriodEstimate {
                arm,
                n,
                estimate: (has(1) && is_finite).then_some(estimate),
                standard_error: (has(2) && is_finite).then_some(standard_error),
            }
        })
        .collect();
    Ok((estimates, periods.len(), note.or(merged)))
}

fn merge_thin(periods: Vec<Vec<Sample>>) -> Vec<Vec<Sample>> {
    let merge = |period: Vec<Sample>, other: Vec<Sample>| -> Vec<Sample> {
        period.into_iter().zip(other).map(|(own, others)| own.merged(others)).collect()
    };
    let mut whole: Vec<Vec<Sample>> = Vec::new();
    let mut thin: Option<Vec<Sample>> = None;
    for period in periods {
        let period = match thin.take() {
            Some(before) => merge(before, period),
            None => period,
        };
        if period.iter().any(|sample| sample.n < 2) {
            thin = Some(period);
        } else {
            whole.push(period);
        }
    }
    match (thin, whole.pop()) {
        (Some(rest), Some(last)) => whole.push(merge(last, rest)),
        (Some(rest), None) => whole.push(rest),
        (None, Some(last)) => whole.push(last),
        (None, None) => {}
    }
    whole
}
