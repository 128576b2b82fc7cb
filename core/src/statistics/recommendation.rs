//! What the results of an experiment say to do, and why.
//!
//! Why this module exists: people act on a recommendation and not on p-values, so its rules are written down once, in an order
//! that puts broken data before harm, harm before success, and success before patience. Nothing is recommended that the mode
//! of analysis does not cover: the caller says which effects are significant in it.

use std::fmt;

use serde::Deserialize;

use super::Alternative;
use super::mean::{Sample, welch_test};
use super::noninferiority::Guardrail;

/// Above this share of users who saw more than one variant, assignment is broken.
const MOST_MULTIPLE: f64 = 0.01;

/// A p-value of covariate balance below which randomisation failed.
const BALANCE_THRESHOLD: f64 = 0.001;

/// A lift so great that a mistake is the likelier explanation (Twyman's law; Kohavi, Tang & Xu 2020, chapter 3).
const SUSPICIOUS_LIFT: f64 = 0.5;

/// What is known of an experiment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Evidence {
    /// Users of the smallest arm.
    pub least_units: i64,
    /// Users of each arm below which nothing is said.
    pub minimum_units: i64,
    /// Users of all arms.
    pub units: i64,
    /// Users of all arms that were planned; `None` without a plan.
    pub planned_units: Option<i64>,
    /// Days from the start to now or the stop.
    pub days: f64,
    /// Days below which nothing is shipped; from a week on whole weeks are waited for, because weekdays differ.
    pub minimum_days: i32,
    /// Whether it is over.
    pub is_stopped: bool,
    /// Whether no more users are waited for: stopped, past its end, or at the planned number.
    pub is_final: bool,
    /// Its error rate, two-sided.
    pub alpha: f64,
    /// Whether it is decided by expected loss.
    pub is_bayesian: bool,
    /// Relative effect it was planned to find.
    pub minimum_effect: Option<f64>,
    /// p-value of the sample ratio, and below what it is a mismatch.
    pub sample_ratio_p_value: Option<f64>,
    /// See `sample_ratio_p_value`.
    pub sample_ratio_threshold: f64,
    /// Share of users who saw more than one variant.
    pub multiple_share: f64,
    /// The treatments.
    pub treatments: Vec<Treatment>,
}

/// What is known of one treatment on the primary metric and the guardrails.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Treatment {
    /// Its key.
    pub variant: String,
    /// The primary metric; `None` without one.
    pub metric: Option<String>,
    /// Its users.
    pub units: Option<i64>,
    /// Their mean, of which the best treatments are compared with each other.
    pub mean: Option<f64>,
    /// Their sample variance.
    pub variance: Option<f64>,
    /// Whether less of it is better.
    #[serde(default)]
    pub lower_is_better: bool,
    /// Whether its effect is significant in the experiment's mode and after correction.
    pub significant: Option<bool>,
    /// The effect, treatment minus control.
    pub diff: Option<f64>,
    /// Relative to the control.
    pub lift: Option<f64>,
    /// Lower bound of the lift.
    pub lift_low: Option<f64>,
    /// Upper bound.
    pub lift_high: Option<f64>,
    /// P(better).
    pub chance_to_win: Option<f64>,
    /// Expected loss of shipping it, as a fraction of the control's mean.
    pub expected_loss: Option<f64>,
    /// The expected loss that is accepted.
    pub accepted_loss: f64,
    /// p-value of the balance of the covariate.
    pub covariate_balance_p_value: Option<f64>,
    /// Its guardrails, by metric; `None` without a verdict.
    #[serde(default)]
    pub guardrails: Vec<(String, Option<String>)>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Too few users to say anything.
    Collecting,
    /// The data cannot be trusted.
    Broken,
    /// A guardrail is harmed.
    StopHarm,
    /// The treatment is worse.
    Stop,
    /// The treatment is better, but too much so to be believed unchecked.
    Suspicious,
    /// The treatment is better and harms nothing.
    Ship,
    /// The treatment is better; that it harms nothing could not be shown.
    ShipWithRisk,
    /// Nothing is decided yet.
    KeepRunning,
    /// There is no effect of the size that was looked for.
    NoEffect,
    /// The end has come and nothing is shown.
    Inconclusive,
}

impl Decision {
    /// The code as in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Collecting => "collecting",
            Decision::Broken => "broken",
            Decision::StopHarm => "stop_harm",
            Decision::Stop => "stop",
            Decision::Suspicious => "suspicious",
            Decision::Ship => "ship",
            Decision::ShipWithRisk => "ship_with_risk",
            Decision::KeepRunning => "keep_running",
            Decision::NoEffect => "no_effect",
            Decision::Inconclusive => "inconclusive",
        }
    }
}

/// A decision, the variant it is about and the reasons, the first of which decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    /// What to do.
    pub decision: Decision,
    /// With which variant; `None` where it is about all of them.
    pub variant: Option<String>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

impl Recommendation {
    fn new(decision: Decision, variant: Option<&Treatment>, reasons: Vec<String>) -> Recommendation {
        Recommendation { decision, variant: variant.map(|treatment| treatment.variant.clone()), reasons }
    }
}

/// A fraction as people read it.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:+.2} %", 100.0 * self.0)
    }
}

impl Treatment {
    /// The effect in the direction that is good.
    fn improvement(&self) -> f64 {
        let diff = self.diff.unwrap_or(0.0);
        if self.lower_is_better { -diff } else { diff }
    }

    fn is_winner(&self, is_bayesian: bool) -> bool {
        self.improvement() > 0.0
            && if is_bayesian {
                self.expected_loss.is_some_and(|loss| loss < self.accepted_loss)
            } else {
                self.significant == Some(true)
            }
    }

    fn is_loser(&self, is_bayesian: bool, least_chance: f64) -> bool {
        self.improvement() < 0.0
            && if is_bayesian {
                self.chance_to_win.is_some_and(|chance| chance < least_chance)
            } else {
                self.significant == Some(true)
            }
    }

    fn sample(&self) -> Option<Sample> {
        Some(Sample { n: self.units?, mean: self.mean?, variance: self.variance? })
    }

    fn guardrails_in(&self, states: &[Guardrail]) -> Vec<&str> {
        self.guardrails
            .iter()
            .filter(|(_, found)| states.iter().any(|state| found.as_deref() == Some(state.as_str())))
            .map(|(metric, _)| metric.as_str())
            .collect()
    }

    /// Guardrails that do not pass: those without a verdict too.
    fn open_guardrails(&self) -> Vec<&str> {
        self.guardrails
            .iter()
            .filter(|(_, found)| found.as_deref() != Some(Guardrail::Pass.as_str()))
            .map(|(metric, _)| metric.as_str())
            .collect()
    }

    fn effect(&self) -> String {
        let metric = self.metric.as_deref().unwrap_or("the primary metric");
        match (self.lift, self.lift_low.zip(self.lift_high), self.diff) {
            (Some(lift), Some((low, high)), _) => {
                format!("{metric} {} ({} to {})", Percent(lift), Percent(low), Percent(high))
            }
            (Some(lift), None, _) => format!("{metric} {}", Percent(lift)),
            (None, _, Some(diff)) => format!("{metric} {diff:+}"),
            (None, _, None) => format!("{metric} unknown"),
        }
    }
}

/// Applies the rules, in their order, to what is known.
pub fn recommend(evidence: &Evidence) -> Recommendation {
    let is_bayesian = evidence.is_bayesian;
    if evidence.treatments.iter().all(|treatment| treatment.metric.is_none()) {
        let reason =
            "there is no primary metric: name one with ab_add_metric(…, role => 'primary')".to_owned();
        return Recommendation::new(Decision::Collecting, None, vec![reason]);
    }
    if evidence.least_units < evidence.minimum_units.max(1) {
        let reason = format!(
            "the smallest variant has {} users, fewer than {}",
            evidence.least_units,
            evidence.minimum_units.max(1)
        );
        return Recommendation::new(Decision::Collecting, None, vec![reason]);
    }
    let defects = defects(evidence);
    if !defects.is_empty() {
        return Recommendation::new(Decision::Broken, None, defects);
    }
    for treatment in &evidence.treatments {
        let harmed = treatment.guardrails_in(&[Guardrail::Fail, Guardrail::Breach]);
        if !harmed.is_empty() {
            let reason = format!("{} harms guardrail {}", treatment.variant, harmed.join(", "));
            return Recommendation::new(
                Decision::StopHarm,
                Some(treatment),
                vec![reason, treatment.effect()],
            );
        }
    }
    // Losing must be as sure as winning.
    if evidence.treatments.iter().all(|treatment| treatment.is_loser(is_bayesian, 0.5 * evidence.alpha)) {
        let reasons = evidence
            .treatments
            .iter()
            .map(|treatment| format!("{} is worse: {}", treatment.variant, treatment.effect()))
            .collect();
        return Recommendation::new(Decision::Stop, None, reasons);
    }
    let relative = |treatment: &Treatment| treatment.lift.unwrap_or(0.0).abs();
    let mut winners: Vec<_> =
        evidence.treatments.iter().filter(|treatment| treatment.is_winner(is_bayesian)).collect();
    winners.sort_by(|a, b| b.improvement().total_cmp(&a.improvement()));
    if let Some((winner, others)) = winners.split_first() {
        return successful(evidence, winner, others, relative(winner) > SUSPICIOUS_LIFT);
    }
    if !evidence.is_final {
        return Recommendation::new(Decision::KeepRunning, None, vec![progress(evidence)]);
    }
    let within = |treatment: &Treatment, effect: f64| {
        treatment.lift_low.zip(treatment.lift_high).is_some_and(|(low, high)| low > -effect && high < effect)
    };
    if let Some(effect) = evidence.minimum_effect
        && evidence.treatments.iter().all(|treatment| within(treatment, effect))
    {
        let mut reasons = vec![format!("an effect of {} either way is ruled out", Percent(effect))];
        reasons.extend(evidence.treatments.iter().map(Treatment::effect));
        return Recommendation::new(Decision::NoEffect, None, reasons);
    }
    let reasons = evidence
        .treatments
        .iter()
        .map(|treatment| format!("{} is neither better nor worse: {}", treatment.variant, treatment.effect()))
        .collect();
    Recommendation::new(Decision::Inconclusive, None, reasons)
}

fn defects(evidence: &Evidence) -> Vec<String> {
    let mut defects = Vec::new();
    if let Some(p) = evidence.sample_ratio_p_value.filter(|&p| p < evidence.sample_ratio_threshold) {
        defects.push(format!("users are not split as the weights say (sample ratio mismatch, p {p:.2e})"));
    }
    if evidence.multiple_share > MOST_MULTIPLE {
        let share = 100.0 * evidence.multiple_share;
        defects.push(format!("{share:.1} % of the users saw more than one variant"));
    }
    for treatment in &evidence.treatments {
        if let Some(p) = treatment.covariate_balance_p_value.filter(|&p| p < BALANCE_THRESHOLD) {
            let variant = &treatment.variant;
            defects.push(format!("the users of {variant} differed before they were exposed (p {p:.2e})"));
        }
    }
    defects
}

fn successful(
    evidence: &Evidence,
    winner: &Treatment,
    others: &[&Treatment],
    is_suspicious: bool,
) -> Recommendation {
    let mut reasons = vec![format!("{} is better: {}", winner.variant, winner.effect())];
    reasons.extend(others.iter().map(|other| compare_winners(winner, other, evidence.alpha)));
    if is_suspicious {
        reasons
            .push("an effect this great is more often a mistake than true: check what is counted".to_owned());
        return Recommendation::new(Decision::Suspicious, Some(winner), reasons);
    }
    let minimum_days = f64::from(evidence.minimum_days);
    let least_days = if minimum_days < 7.0 { minimum_days } else { (minimum_days / 7.0).ceil() * 7.0 };
    if evidence.days < least_days && !evidence.is_stopped {
        reasons.push(format!(
            "it has run for {:.1} days of at least {least_days}: weekdays differ",
            evidence.days
        ));
        return Recommendation::new(Decision::KeepRunning, Some(winner), reasons);
    }
    let open = winner.open_guardrails();
    if open.is_empty() {
        return Recommendation::new(Decision::Ship, Some(winner), reasons);
    }
    reasons.push(format!("that it does no harm is not shown yet on guardrail {}", open.join(", ")));
    let decision = if evidence.is_final { Decision::ShipWithRisk } else { Decision::KeepRunning };
    Recommendation::new(decision, Some(winner), reasons)
}

/// Whether the best of several treatments that are better than the control differs from another: Welch's test of one look,
/// not corrected, because nothing is decided by it.
fn compare_winners(winner: &Treatment, other: &Treatment, alpha: f64) -> String {
    let (name, other_name) = (&winner.variant, &other.variant);
    // The raw means: where the estimates that decide are adjusted, these may say otherwise.
    let direction = if winner.lower_is_better { -1.0 } else { 1.0 };
    let found = winner.sample().zip(other.sample()).and_then(|(winner, other)| {
        let test = welch_test(other, winner, alpha, Alternative::TwoSided).ok()?;
        let (p, diff) = test.p_value.zip(test.diff)?;
        (p >= alpha || direction * diff > 0.0).then_some(p)
    });
    match found {
        Some(p) if p < alpha => {
            format!("{other_name} is better than the control too, and {name} than it (p {p:.2e})")
        }
        Some(p) => format!(
            "{other_name} is better than the control too; that {name} and it differ is not shown (p {p:.2})"
        ),
        None => {
            format!("{other_name} is better than the control too; whether {name} and it differ is unknown")
        }
    }
}

fn progress(evidence: &Evidence) -> String {
    let units = evidence.units;
    match evidence.planned_units {
        Some(planned) if planned > units && evidence.days > 0.0 && units > 0 => {
            let days = (planned - units) as f64 / (units as f64 / evidence.days);
            format!("{units} of {planned} planned users; about {:.0} more days at this pace", days.ceil())
        }
        Some(planned) => format!("{units} of {planned} planned users"),
        None => format!(
            "{units} users and nothing shown yet; without a planned number of users there is no end to say"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treatment() -> Treatment {
        Treatment {
            variant: "green".to_owned(),
            metric: Some("signups".to_owned()),
            units: Some(10_000),
            mean: Some(0.11),
            variance: Some(0.1),
            lower_is_better: false,
            significant: Some(true),
            diff: Some(0.01),
            lift: Some(0.1),
            lift_low: Some(0.04),
            lift_high: Some(0.16),
            chance_to_win: Some(0.999),
            expected_loss: Some(0.00001),
            accepted_loss: 0.0025,
            covariate_balance_p_value: Some(0.4),
            guardrails: vec![("latency".to_owned(), Some("pass".to_owned()))],
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            least_units: 10_000,
            minimum_units: 100,
            units: 20_000,
            planned_units: Some(20_000),
            days: 14.0,
            minimum_days: 7,
            is_stopped: false,
            is_final: true,
            alpha: 0.05,
            is_bayesian: false,
            minimum_effect: Some(0.05),
            sample_ratio_p_value: Some(0.5),
            sample_ratio_threshold: 0.001,
            multiple_share: 0.0,
            treatments: vec![treatment()],
        }
    }

    fn decided(change: impl FnOnce(&mut Evidence)) -> Decision {
        let mut evidence = evidence();
        change(&mut evidence);
        let found = recommend(&evidence);
        assert!(!found.reasons.is_empty() && found.reasons.iter().all(|reason| !reason.is_empty()));
        found.decision
    }

    #[test]
    fn each_rule_decides_when_those_before_it_do_not() {
        let first = |evidence: &mut Evidence, change: fn(&mut Treatment)| change(&mut evidence.treatments[0]);
        assert_eq!(decided(|_| {}), Decision::Ship);
        assert_eq!(decided(|e| e.least_units = 99), Decision::Collecting);
        assert_eq!(decided(|e| first(e, |t| t.metric = None)), Decision::Collecting);
        assert_eq!(decided(|e| e.sample_ratio_p_value = Some(0.0009)), Decision::Broken);
        assert_eq!(decided(|e| e.multiple_share = 0.011), Decision::Broken);
        assert_eq!(decided(|e| first(e, |t| t.covariate_balance_p_value = Some(1e-4))), Decision::Broken);
        for state in ["fail", "breach"] {
            let harm = decided(|e| e.treatments[0].guardrails[0].1 = Some(state.to_owned()));
            assert_eq!(harm, Decision::StopHarm);
        }
        assert_eq!(decided(|e| first(e, |t| t.diff = Some(-0.01))), Decision::Stop);
        assert_eq!(decided(|e| first(e, |t| t.lower_is_better = true)), Decision::Stop);
        assert_eq!(decided(|e| first(e, |t| t.lift = Some(0.6))), Decision::Suspicious);
        assert_eq!(decided(|e| e.days = 6.9), Decision::KeepRunning);
        assert_eq!(decided(|e| (e.days, e.is_stopped) = (6.9, true)), Decision::Ship);
        // From a week on whole weeks, below as it is said.
        assert_eq!(decided(|e| (e.days, e.minimum_days) = (13.9, 10)), Decision::KeepRunning);
        assert_eq!(decided(|e| (e.days, e.minimum_days) = (14.0, 10)), Decision::Ship);
        assert_eq!(decided(|e| (e.days, e.minimum_days) = (3.0, 3)), Decision::Ship);
        assert_eq!(decided(|e| e.minimum_days = i32::MAX), Decision::KeepRunning);
        let open = |e: &mut Evidence| e.treatments[0].guardrails[0].1 = None;
        assert_eq!(decided(open), Decision::ShipWithRisk);
        assert_eq!(
            decided(|e| {
                open(e);
                e.is_final = false;
            }),
            Decision::KeepRunning
        );
        let still = |e: &mut Evidence| e.treatments[0].significant = Some(false);
        assert_eq!(
            decided(|e| {
                still(e);
                e.is_final = false;
            }),
            Decision::KeepRunning
        );
        assert_eq!(decided(still), Decision::Inconclusive);
        assert_eq!(
            decided(|e| {
                still(e);
                e.minimum_effect = Some(0.2);
            }),
            Decision::NoEffect
        );
    }

    #[test]
    fn a_bayesian_experiment_is_decided_by_its_loss() {
        assert_eq!(
            decided(|e| {
                e.is_bayesian = true;
                e.treatments[0].significant = Some(false);
            }),
            Decision::Ship
        );
        assert_eq!(
            decided(|e| {
                e.is_bayesian = true;
                e.treatments[0].expected_loss = Some(0.01);
            }),
            Decision::Inconclusive
        );
    }

    #[test]
    fn of_several_winners_the_best_is_named() {
        let mut evidence = evidence();
        evidence.treatments.push(Treatment { variant: "blue".to_owned(), diff: Some(0.02), ..treatment() });
        let found = recommend(&evidence);
        assert_eq!((found.decision, found.variant.as_deref()), (Decision::Ship, Some("blue")));
        assert!(found.reasons[1].contains("is not shown"), "{:?}", found.reasons);
        evidence.treatments[1].mean = Some(0.15);
        assert!(recommend(&evidence).reasons[1].contains("blue than it"));
        evidence.treatments[1].mean = None;
        assert!(recommend(&evidence).reasons[1].contains("unknown"));
        evidence.treatments[1].diff = Some(-0.02);
        assert_eq!(recommend(&evidence).variant.as_deref(), Some("green"), "one loser among winners");
    }
}
