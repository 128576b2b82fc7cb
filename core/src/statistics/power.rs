//! How many users an experiment needs, for how long, and what it can find with those it has.
//!
//! Why this module exists: an experiment without the users to find what it looks for wastes everybody's time, and one that
//! is called when it looks good is not a test. Sizes are exact for unequal arms and several treatments, where others take
//! the smaller arm. Several treatments share alpha as by Bonferroni. Power of an observed effect is not offered: it is the
//! p-value in other words; the smallest effect that can be found at the current size is what to show.
//!
//! Formulae: N = (z_{α/2} + z_β)²·(s_C²/w_C + s_T²/w_T)/δ² for means; for proportions the pooled variance under the null
//! hypothesis (Fleiss, Levin & Paik 2003, Statistical Methods for Rates and Proportions).

use super::distribution::{normal_critical, normal_survival, student_critical, student_survival};
use super::{Alternative, InvalidArgument, Note, check_alpha, check_count, check_probability};

/// Below this many degrees of freedom the t distribution replaces the normal one.
const FEW_DEGREES_OF_FREEDOM: f64 = 100.0;

/// Steps of bisection: more than the digits of a double.
const STEPS: u32 = 200;

/// What is asked of an experiment, apart from the metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// Error rate, two-sided unless `one_sided`, shared by all treatments.
    pub alpha: f64,
    /// Chance of finding an effect of the wanted size.
    pub power: f64,
    /// Users of a treatment per user of the control.
    pub ratio: f64,
    /// Treatments, each compared with the control.
    pub treatments: i32,
    /// Correlation of the metric with its covariate (CUPED): 1 − ρ² of the users are enough. 0 without one.
    pub rho: f64,
    /// By how much a sequential design's maximum exceeds the fixed size: 1 for a fixed one, about 1.03 for five looks by
    /// O'Brien & Fleming, 1.23 by Pocock (Jennison & Turnbull 2000), and [`ALWAYS_VALID_INFLATION`].
    pub inflation: f64,
    /// Whether only one direction matters, as for non-inferiority.
    pub one_sided: bool,
}

/// By how much a confidence sequence tuned to the planned size needs more users for a fixed interval's width at alpha 0.05.
pub const ALWAYS_VALID_INFLATION: f64 = 2.4;

impl Default for Design {
    /// Two-sided 0.05, power 0.8, one treatment of the control's size, no covariate, fixed horizon.
    fn default() -> Design {
        Design {
            alpha: 0.05,
            power: 0.8,
            ratio: 1.0,
            treatments: 1,
            rho: 0.0,
            inflation: 1.0,
            one_sided: false,
        }
    }
}

/// Users needed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSize {
    /// Users of the control.
    pub n_control: Option<i64>,
    /// Users of each treatment.
    pub n_treatment: Option<i64>,
    /// Users of all arms together.
    pub n_total: Option<i64>,
    /// The difference to be found, in the metric's unit.
    pub mde_abs: Option<f64>,
    /// The error rate of each comparison.
    pub alpha_used: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// The power of a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Power {
    /// P(the null hypothesis is rejected | the effect).
    pub power: Option<f64>,
    /// Standard error of the difference.
    pub standard_error: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// The smallest effect that can be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectableEffect {
    /// In the metric's unit.
    pub mde_abs: Option<f64>,
    /// As a fraction of the baseline's size.
    pub mde_rel: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// How long an experiment has to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTime {
    /// Days, in whole weeks.
    pub days: Option<i64>,
    /// Weeks.
    pub weeks: Option<i64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

fn check_finite(argument: &'static str, value: f64) -> Result<(), InvalidArgument> {
    if value.is_finite() { Ok(()) } else { Err(InvalidArgument::new(argument, value, "a finite number")) }
}

fn check_deviation(argument: &'static str, value: f64) -> Result<(), InvalidArgument> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(InvalidArgument::new(argument, value, "a finite number, 0 or more"))
    }
}

fn check_effect(argument: &'static str, effect: f64) -> Result<(), InvalidArgument> {
    if effect.is_finite() && effect != 0.0 {
        Ok(())
    } else {
        Err(InvalidArgument::new(argument, effect, "a finite number other than 0"))
    }
}

impl Design {
    fn check(&self) -> Result<(), InvalidArgument> {
        check_alpha(self.alpha)?;
        check_probability("power", self.power)?;
        if !(self.ratio > 0.0 && self.ratio.is_finite()) {
            return Err(InvalidArgument::new("ratio", self.ratio, "a finite number above 0"));
        }
        if self.treatments < 1 {
            return Err(InvalidArgument::new("treatments", self.treatments, "1 or more"));
        }
        if !(self.rho > -1.0 && self.rho < 1.0) {
            return Err(InvalidArgument::new("rho", self.rho, "strictly between -1 and 1"));
        }
        if !(self.inflation >= 1.0 && self.inflation.is_finite()) {
            return Err(InvalidArgument::new("inflation", self.inflation, "a finite number, 1 or more"));
        }
        if self.power <= self.alpha_used() {
            return Err(InvalidArgument::new("power", self.power, "greater than alpha"));
        }
        Ok(())
    }

    fn alpha_used(&self) -> f64 {
        self.alpha / f64::from(self.treatments)
    }

    /// The area of both tails beyond the test's critical value.
    fn area(&self) -> f64 {
        if self.one_sided { 2.0 * self.alpha_used() } else { self.alpha_used() }
    }

    /// The critical value for the test and, added to it, what the power asks for, by the distribution that `quantile` gives
    /// two-sided critical values of.
    fn distances(&self, quantile: impl Fn(f64) -> f64) -> (f64, f64) {
        let upper =
            |area: f64| if area <= 0.5 { quantile(2.0 * area) } else { -quantile(2.0 * (1.0 - area)) };
        (upper(0.5 * self.area()), upper(1.0 - self.power))
    }

    /// The sizes from the control's as a real number.
    fn sizes(&self, n_control: f64, effect: f64) -> SampleSize {
        let n_control = n_control * (1.0 - self.rho * self.rho) * self.inflation;
        let whole = |n: f64| {
            // What is a whole number but for rounding is not to be raised to the next; a variance needs two users.
            let n = (n * (1.0 - 1e-12)).ceil().max(2.0);
            (n < 9e18).then_some(n as i64)
        };
        let n_treatment = whole(n_control * self.ratio);
        let n_control = whole(n_control);
        let n_total = n_control.zip(n_treatment).and_then(|(control, treatment)| {
            treatment.checked_mul(i64::from(self.treatments))?.checked_add(control)
        });
        if n_total.is_none() {
            return SampleSize::missing(Note::Overflow);
        }
        SampleSize {
            n_control,
            n_treatment,
            n_total,
            mde_abs: Some(effect.abs()),
            alpha_used: Some(self.alpha_used()),
            note: None,
        }
    }
}

impl SampleSize {
    fn missing(note: Note) -> SampleSize {
        SampleSize {
            n_control: None,
            n_treatment: None,
            n_total: None,
            mde_abs: None,
            alpha_used: None,
            note: Some(note),
        }
    }
}

/// Users needed to find a relative change of `mde_rel` of a mean with standard deviation `sd` in all arms. A ratio metric is
/// the mean of its linearised values, with the root of their variance as `sd` (see [`ratio`](super::ratio)).
///
/// Edges: a baseline of 0 has no relative change ([`Note::ControlNearZero`]), an `sd` of 0 needs no test
/// ([`Note::ZeroVariance`]).
///
/// # Errors
/// [`InvalidArgument`] naming `baseline_mean`, `sd`, `mde_rel` or a part of the design.
pub fn sample_size_mean(
    baseline_mean: f64,
    sd: f64,
    mde_rel: f64,
    design: Design,
) -> Result<SampleSize, InvalidArgument> {
    check_finite("baseline_mean", baseline_mean)?;
    check_effect("mde_rel", mde_rel)?;
    if baseline_mean == 0.0 {
        check_deviation("sd", sd)?;
        design.check()?;
        return Ok(SampleSize::missing(Note::ControlNearZero));
    }
    sample_size_difference(sd, sd, baseline_mean * mde_rel, design)
}

/// Users needed to find the difference `effect` of two means with these standard deviations.
///
/// Below 100 degrees of freedom the normal quantiles give way to those of the t distribution at the size just found, once.
///
/// # Errors
/// [`InvalidArgument`] naming `sd`, `mde_abs` or a part of the design.
pub fn sample_size_difference(
    control_sd: f64,
    treatment_sd: f64,
    effect: f64,
    design: Design,
) -> Result<SampleSize, InvalidArgument> {
    check_deviation("sd", control_sd)?;
    check_deviation("sd", treatment_sd)?;
    check_effect("mde_abs", effect)?;
    design.check()?;
    let (control, treatment) = (control_sd / effect, treatment_sd / effect);
    // Per user of the control, in units of the effect.
    let variance = control * control + treatment * treatment / design.ratio;
    if control_sd == 0.0 && treatment_sd == 0.0 {
        return Ok(SampleSize::missing(Note::ZeroVariance));
    }
    let size = |(critical, reach): (f64, f64)| (critical + reach).powi(2) * variance;
    let n_control = size(design.distances(normal_critical));
    let df = n_control * (1.0 + design.ratio) - 2.0;
    let n_control = if df < FEW_DEGREES_OF_FREEDOM {
        let df = df.max(1.0);
        size(design.distances(|area| student_critical(area, df)))
    } else {
        n_control
    };
    Ok(design.sizes(n_control, effect))
}

/// Users needed to show that a treatment is not worse than the control by a `margin` (in the metric's unit, above 0), when
/// its true effect is `assumed` (positive is better; 0 as a rule). The test is one-sided at the design's alpha.
///
/// # Errors
/// [`InvalidArgument`] naming `margin`, `assumed`, `sd` or a part of the design.
pub fn sample_size_noninferiority(
    sd: f64,
    margin: f64,
    assumed: f64,
    design: Design,
) -> Result<SampleSize, InvalidArgument> {
    if !(margin > 0.0 && margin.is_finite()) {
        return Err(InvalidArgument::new("margin", margin, "a finite number above 0"));
    }
    check_finite("assumed", assumed)?;
    if margin + assumed <= 0.0 {
        return Err(InvalidArgument::new(
            "assumed",
            assumed,
            "better than the margin, which cannot be shown else",
        ));
    }
    sample_size_difference(sd, sd, margin + assumed, Design { one_sided: true, ..design })
}

/// Users needed to find a relative change of `mde_rel` of a conversion rate, by the pooled z-test.
///
/// # Errors
/// [`InvalidArgument`] naming `p1` outside (0, 1), `mde_rel` where it takes the rate out of (0, 1), or a part of the design.
pub fn sample_size_proportion(p1: f64, mde_rel: f64, design: Design) -> Result<SampleSize, InvalidArgument> {
    check_probability("p1", p1)?;
    check_effect("mde_rel", mde_rel)?;
    design.check()?;
    let p2 = p1 * (1.0 + mde_rel);
    if !(p2 > 0.0 && p2 < 1.0) {
        return Err(InvalidArgument::new(
            "mde_rel",
            mde_rel,
            "such that the treatment's rate is between 0 and 1",
        ));
    }
    let distances = design.distances(normal_critical);
    let root = weighted_root(p1, p2, design.ratio, distances);
    let effect = p1 * mde_rel;
    Ok(design.sizes((root / effect).powi(2), effect))
}

/// z_{α/2}·√(p̄(1 − p̄)(1 + 1/r)) + z_β·√(p_C(1 − p_C) + p_T(1 − p_T)/r): the root of n_C times the effect.
fn weighted_root(p1: f64, p2: f64, ratio: f64, (critical, reach): (f64, f64)) -> f64 {
    let pooled = (p1 + ratio * p2) / (1.0 + ratio);
    let null = (pooled * (1.0 - pooled) * (1.0 + 1.0 / ratio)).sqrt();
    critical * null + reach * (p1 * (1.0 - p1) + p2 * (1.0 - p2) / ratio).sqrt()
}

/// The chance that a comparison of means finds an effect of `mde_abs`, treatment minus control.
///
/// Below 100 degrees of freedom the t distribution stands for the normal one, shifted by the effect; the exact non-central
/// t differs from that by less than 0.02 from 10 degrees of freedom on.
///
/// # Errors
/// [`InvalidArgument`] naming `n1`, `sd1`, `n2`, `sd2`, `mde_abs` or `alpha`.
pub fn power(
    (n1, sd1): (i64, f64),
    (n2, sd2): (i64, f64),
    mde_abs: f64,
    alpha: f64,
    alternative: Alternative,
) -> Result<Power, InvalidArgument> {
    check_finite("mde_abs", mde_abs)?;
    check_alpha(alpha)?;
    let (error, df) = match spread((n1, sd1), (n2, sd2))? {
        Ok(found) => found,
        Err(note) => return Ok(Power { power: None, standard_error: None, note: Some(note) }),
    };
    let (critical, survival) = test_distribution(df);
    let distance = mde_abs / error;
    let upper = |area: f64| if area <= 0.5 { critical(2.0 * area) } else { -critical(2.0 * (1.0 - area)) };
    let power = match alternative {
        Alternative::TwoSided => {
            let bound = critical(alpha);
            survival(bound - distance) + survival(bound + distance)
        }
        Alternative::Greater => survival(upper(alpha) - distance),
        Alternative::Less => survival(upper(alpha) + distance),
    };
    Ok(Power { power: Some(power.min(1.0)), standard_error: Some(error), note: None })
}

/// The smallest difference of means that a two-sided test finds with this power at this size: (z_{α/2} + z_β)·SE.
///
/// # Errors
/// [`InvalidArgument`] naming `n1`, `sd1`, `n2`, `sd2`, `baseline`, `alpha` or `power`.
pub fn detectable_effect(
    (n1, sd1): (i64, f64),
    (n2, sd2): (i64, f64),
    baseline: f64,
    alpha: f64,
    power: f64,
) -> Result<DetectableEffect, InvalidArgument> {
    let design = Design { alpha, power, ..Design::default() };
    design.check()?;
    check_finite("baseline", baseline)?;
    let (error, df) = match spread((n1, sd1), (n2, sd2))? {
        Ok(found) => found,
        Err(note) => return Ok(DetectableEffect { mde_abs: None, mde_rel: None, note: Some(note) }),
    };
    let (critical, _) = test_distribution(df);
    let (bound, reach) = design.distances(critical);
    Ok(DetectableEffect::of((bound + reach) * error, baseline))
}

/// The smallest increase of a conversion rate that the two-sided pooled z-test finds with this power at this size, by
/// bisection, as the variance moves with the rate. [`Note::TooFewUnits`] where not even certain conversion would be found.
///
/// # Errors
/// [`InvalidArgument`] naming `n1`, `n2`, `p1`, `alpha` or `power`.
pub fn detectable_effect_proportion(
    n1: i64,
    n2: i64,
    p1: f64,
    alpha: f64,
    power: f64,
) -> Result<DetectableEffect, InvalidArgument> {
    check_count("n1", n1)?;
    check_count("n2", n2)?;
    check_probability("p1", p1)?;
    let design = Design { alpha, power, ..Design::default() };
    design.check()?;
    let missing = DetectableEffect { mde_abs: None, mde_rel: None, note: Some(Note::TooFewUnits) };
    if n1 == 0 || n2 == 0 {
        return Ok(missing);
    }
    let (distances, ratio) = (design.distances(normal_critical), n2 as f64 / n1 as f64);
    let found = |effect: f64| effect * (n1 as f64).sqrt() >= weighted_root(p1, p1 + effect, ratio, distances);
    let (mut low, mut high) = (0.0, 1.0 - p1);
    if !found(high) {
        return Ok(missing);
    }
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if found(middle) { high = middle } else { low = middle }
    }
    Ok(DetectableEffect::of(high, p1))
}

impl DetectableEffect {
    fn of(effect: f64, baseline: f64) -> DetectableEffect {
        let relative = effect / baseline.abs();
        let relative = relative.is_finite().then_some(relative);
        let note = relative.is_none().then_some(Note::ControlNearZero);
        DetectableEffect { mde_abs: Some(effect), mde_rel: relative, note }
    }
}

/// Standard error and Welch–Satterthwaite degrees of freedom of a difference.
fn spread((n1, sd1): (i64, f64), (n2, sd2): (i64, f64)) -> Result<Result<(f64, f64), Note>, InvalidArgument> {
    check_count("n1", n1)?;
    check_deviation("sd1", sd1)?;
    check_count("n2", n2)?;
    check_deviation("sd2", sd2)?;
    if n1 < 2 || n2 < 2 {
        return Ok(Err(Note::TooFewUnits));
    }
    let (error1, error2) = (sd1 / (n1 as f64).sqrt(), sd2 / (n2 as f64).sqrt());
    let error = error1.hypot(error2);
    if error == 0.0 {
        return Ok(Err(Note::ZeroVariance));
    }
    let (share1, share2) = ((error1 / error).powi(4), (error2 / error).powi(4));
    let df = 1.0 / (share1 / (n1 - 1) as f64 + share2 / (n2 - 1) as f64);
    Ok(if error.is_finite() { Ok((error, df)) } else { Err(Note::Overflow) })
}

/// Two-sided critical values and upper tails of what a test with these degrees of freedom is planned by.
fn test_distribution(df: f64) -> (impl Fn(f64) -> f64, impl Fn(f64) -> f64) {
    let few = df < FEW_DEGREES_OF_FREEDOM;
    (
        move |area| if few { student_critical(area, df) } else { normal_critical(area) },
        move |t| if few { student_survival(t, df) } else { normal_survival(t) },
    )
}

/// The days until `n_total` different users have been exposed, in whole weeks and no fewer than `minimum_days`.
///
/// `cumulative_users` are the different users seen until each day of a past period, from its first day on: users who come
/// back do not count again, so that doubling the days does not double the users. `traffic` is the share of them that takes
/// part. [`Note::NotReached`] where that period is too short.
///
/// # Errors
/// [`InvalidArgument`] naming `n_total`, `cumulative_users` for counts that are negative or fall, `traffic` outside (0, 1] or
/// `minimum_days`.
pub fn run_time(
    n_total: i64,
    cumulative_users: &[i64],
    traffic: f64,
    minimum_days: i64,
) -> Result<RunTime, InvalidArgument> {
    check_count("n_total", n_total)?;
    check_count("minimum_days", minimum_days)?;
    if minimum_days > i64::from(i32::MAX) {
        return Err(InvalidArgument::new("minimum_days", minimum_days, "a number of days"));
    }
    for &users in cumulative_users {
        check_count("cumulative_users", users)?;
    }
    if let Some(pair) = cumulative_users.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(InvalidArgument::new("cumulative_users", pair[1], "as many as the day before or more"));
    }
    if !(traffic > 0.0 && traffic <= 1.0) {
        return Err(InvalidArgument::new("traffic", traffic, "above 0 and at most 1"));
    }
    let enough = |&users: &i64| users as f64 * traffic >= n_total as f64;
    let Some(day) = cumulative_users.iter().position(enough) else {
        return Ok(RunTime { days: None, weeks: None, note: Some(Note::NotReached) });
    };
    let weeks = ((day as i64 + 1).max(minimum_days) + 6) / 7;
    Ok(RunTime { days: Some(7 * weeks), weeks: Some(weeks), note: None })
}
