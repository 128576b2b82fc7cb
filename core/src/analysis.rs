//! How an experiment is going to be judged, written down before it starts.
//!
//! Why this module exists: an error rate holds for what was decided before anybody saw a result. So these settings belong to
//! the experiment, are checked when they are written, and cannot change once it runs.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};
use crate::statistics::InvalidArgument;
use crate::statistics::bayes::Prior;
use crate::statistics::group_sequential::{self, Look, MAX_LOOKS, Sides, Spending};

/// The settings of one experiment. All have defaults; an absent setting is its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Analysis {
    /// When it is decided.
    pub mode: Mode,
    /// Error rate of tests and intervals, two-sided.
    pub alpha: f64,
    /// Probability of finding `minimum_effect`.
    pub power: f64,
    /// The relative effect on the primary metric that it is there to find.
    pub minimum_effect: Option<f64>,
    /// Users of all variants together that it is planned for.
    pub planned_units: Option<i64>,
    /// Shares of the planned users at which a group-sequential experiment is looked at.
    pub looks: Vec<f64>,
    /// How those looks spend alpha.
    pub spending: SpendingName,
    /// φ of `power` spending.
    pub spending_power: f64,
    /// What was believed of the relative lift before: a normal distribution. A flat one without `prior_sd`.
    pub prior_mean: f64,
    /// Its standard deviation.
    pub prior_sd: Option<f64>,
    /// The expected loss, as a fraction of the control's mean, below which a Bayesian experiment ships.
    pub accepted_loss: f64,
    /// How the p-values of secondary metrics, and of several treatments on one metric, are corrected.
    pub correction: CorrectionName,
    /// How those of exploratory metrics and of segments are.
    pub exploratory_correction: CorrectionName,
    /// Whether the estimates that CUPED adjusts are the ones that decide.
    pub cuped: bool,
    /// Whole days before which nothing is shipped.
    pub minimum_days: i32,
    /// Users of each variant before which nothing is said.
    pub minimum_units: i64,
    /// The p-value of the sample ratio below which the data is broken.
    pub sample_ratio_threshold: f64,
}

impl Default for Analysis {
    fn default() -> Analysis {
        Analysis {
            mode: Mode::Fixed,
            alpha: 0.05,
            power: 0.8,
            minimum_effect: None,
            planned_units: None,
            looks: vec![0.2, 0.4, 0.6, 0.8, 1.0],
            spending: SpendingName::Obf,
            spending_power: 3.0,
            prior_mean: 0.0,
            prior_sd: None,
            accepted_loss: 0.0025,
            correction: CorrectionName::Holm,
            exploratory_correction: CorrectionName::Bh,
            cuped: false,
            minimum_days: 7,
            minimum_units: 100,
            sample_ratio_threshold: 0.001,
        }
    }
}

/// When an experiment is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Once, at its planned end.
    Fixed,
    /// At any time, by confidence sequences.
    Sequential,
    /// At planned looks.
    GroupSequential,
    /// When the expected loss is small enough.
    Bayesian,
}

/// How looks spend alpha; see [`Spending`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpendingName {
    /// Like O'Brien & Fleming.
    Obf,
    /// Like Pocock.
    Pocock,
    /// A power of the information.
    Power,
}

/// A correction for several tests by the name that SQL knows it by; `none` leaves p-values as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names of statistics::multiplicity::Correction")]
pub enum CorrectionName {
    None,
    Bonferroni,
    Holm,
    Hochberg,
    Bh,
    By,
}

/// Users of all variants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// More may come.
    SoFar(i64),
    /// These are all: the planned end has come.
    Final(i64),
}

/// Planned users where nobody says: confidence sequences are narrowest there.
const DEFAULT_PLANNED_UNITS: f64 = 10_000.0;

impl Analysis {
    /// Reads and checks the settings of `what`.
    ///
    /// # Errors
    /// [`Code::InvalidAnalysis`], naming what is wrong.
    pub fn compile(what: &str, json: &str) -> Result<Analysis, Error> {
        let wrong = |problem: String| {
            Error::new(
                Code::InvalidAnalysis,
                format!("analysis of {what}: {problem}"),
                "the settings are described by ab_set_analysis()",
            )
        };
        // Not a list either, of which serde would make a struct in the order of its fields.
        let settings: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        let analysis: Analysis =
            serde_json::from_value(settings.into()).map_err(|error| wrong(error.to_string()))?;
        analysis.check().map_err(wrong)?;
        Ok(analysis)
    }

    fn check(&self) -> Result<(), String> {
        for (name, share) in [
            ("alpha", self.alpha),
            ("power", self.power),
            ("accepted_loss", self.accepted_loss),
            ("sample_ratio_threshold", self.sample_ratio_threshold),
        ] {
            if !(share > 0.0 && share < 1.0) {
                return Err(format!("{name} must be strictly between 0 and 1, not {share}"));
            }
        }
        let positive = [
            ("minimum_effect", self.minimum_effect),
            ("prior_sd", self.prior_sd),
            ("spending_power", Some(self.spending_power)),
        ];
        for (name, size) in positive {
            if let Some(size) = size.filter(|size| !(*size > 0.0 && size.is_finite())) {
                return Err(format!("{name} must be a number above 0, not {size}"));
            }
        }
        if self.prior_mean.is_nan() || self.prior_mean.abs() > 1e6 {
            return Err(format!("prior_mean must be a lift from -1e6 to 1e6, not {}", self.prior_mean));
        }
        if self.alpha >= 0.5 {
            return Err(format!("alpha must be below 0.5, not {}", self.alpha));
        }
        if let Some(planned) = self.planned_units.filter(|&planned| planned < 2) {
            return Err(format!("planned_units must be 2 or more, not {planned}"));
        }
        for (name, count) in
            [("minimum_days", i64::from(self.minimum_days)), ("minimum_units", self.minimum_units)]
        {
            if count < 0 {
                return Err(format!("{name} must be 0 or more, not {count}"));
            }
        }
        if self.looks.is_empty() || self.looks.len() > MAX_LOOKS {
            return Err(format!(
                "looks must be 1 to {MAX_LOOKS} shares of planned_units, not {}",
                self.looks.len()
            ));
        }
        let ascending = self.looks.windows(2).all(|pair| pair[1] - pair[0] >= 0.001);
        if !(self.looks[0] >= 0.001 && ascending && self.looks.last() == Some(&1.0)) {
            return Err("looks must ascend, by 0.001 at least, to 1".to_owned());
        }
        if self.mode == Mode::GroupSequential && self.planned_units.is_none() {
            return Err("mode group_sequential needs planned_units, of which its looks are shares".to_owned());
        }
        Ok(())
    }

    /// What was believed of the lift before.
    pub fn prior(&self) -> Prior {
        Prior { mean: self.prior_mean, sd: self.prior_sd }
    }

    /// The number of users of all variants for which confidence sequences are narrowest.
    pub fn tuning_units(&self) -> f64 {
        self.planned_units.map_or(DEFAULT_PLANNED_UNITS, |units| units as f64)
    }

    /// The look to take now that there are so many `units`, for one of so many `treatments`, or `None` when none is due: past
    /// looks were at shares `past_information` with the critical values `past_bounds`, which are kept.
    ///
    /// Several treatments share alpha equally. At an end that was fixed before the start the look spends all that is left, also
    /// where fewer users came than were planned: past looks were then greater shares than was thought, so more alike, and the
    /// bound errs on the safe side. A stop takes no look: who stops has seen the results.
    ///
    /// # Errors
    /// [`InvalidArgument`] for past looks that no design has.
    pub fn due_look(
        &self,
        units: Units,
        treatments: usize,
        past_information: &[f64],
        past_bounds: &[f64],
    ) -> Result<Option<Look>, InvalidArgument> {
        let Some(planned) = self.planned_units else { return Ok(None) };
        let reached = match units {
            Units::SoFar(units) => (units as f64 / planned as f64).min(1.0),
            Units::Final(units) if units > 0 => 1.0,
            Units::Final(_) => return Ok(None),
        };
        let last = past_information.last().copied().unwrap_or(0.0);
        let is_due = self.looks.iter().any(|&look| look > last && look <= reached);
        // A look that brings next to no information is left for the next one.
        if !is_due || reached - last < 0.001 || past_bounds.len() != past_information.len() {
            return Ok(None);
        }
        let spending = match self.spending {
            SpendingName::Obf => Spending::ObrienFleming,
            SpendingName::Pocock => Spending::Pocock,
            SpendingName::Power => Spending::Power(self.spending_power),
        };
        let information: Vec<f64> = past_information.iter().copied().chain([reached]).collect();
        let alpha = self.alpha / treatments.max(1) as f64;
        let looks = group_sequential::group_bounds(&information, alpha, spending, Sides::Two, past_bounds)?;
        Ok(looks.last().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        Analysis::compile("experiment \"e\"", json).unwrap_err().message
    }

    #[test]
    fn what_is_absent_is_the_default_and_what_is_unknown_is_refused() {
        assert_eq!(Analysis::compile("it", "{}"), Ok(Analysis::default()));
        let message = message(r#"{"alfa": 0.01}"#);
        assert!(message.contains("experiment \"e\"") && message.contains("alfa"), "{message}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (json, name) in [
            (r#"{"alpha": 0}"#, "alpha"),
            (r#"{"alpha": 1}"#, "alpha"),
            (r#"{"mode": "peek"}"#, "peek"),
            (r#"{"mode": "group_sequential"}"#, "planned_units"),
            (r#"{"planned_units": 1}"#, "planned_units"),
            (r#"{"looks": []}"#, "looks"),
            (r#"{"looks": [0.5, 0.4, 1]}"#, "looks"),
            (r#"{"looks": [0.5]}"#, "looks"),
            (r#"{"prior_sd": 0}"#, "prior_sd"),
            (r#"{"minimum_effect": -0.1}"#, "minimum_effect"),
            (r#"{"minimum_days": -1}"#, "minimum_days"),
            (r#"{"correction": "sidak"}"#, "sidak"),
            ("[]", "analysis"),
        ] {
            let message = message(json);
            assert!(message.contains(name), "{json}: {message}");
        }
    }

    #[test]
    fn looks_fall_due_at_their_shares_and_spend_what_is_left() {
        let plan = r#"{"mode": "group_sequential", "planned_units": 1000}"#;
        let analysis = Analysis::compile("it", plan).unwrap();
        assert_eq!(analysis.due_look(Units::SoFar(199), 1, &[], &[]), Ok(None));
        let first = analysis.due_look(Units::SoFar(200), 1, &[], &[]).unwrap().unwrap();
        assert!((first.z_bound - 4.8769).abs() < 1e-3, "{first:?}");
        assert_eq!(analysis.due_look(Units::SoFar(399), 1, &[0.2], &[first.z_bound]), Ok(None));
        // Looks that were missed are made up for by the next.
        let late = analysis.due_look(Units::SoFar(5_000), 1, &[0.2], &[first.z_bound]).unwrap().unwrap();
        assert!((late.alpha_spent - 0.05).abs() < 1e-9, "{late:?}");
        assert_eq!(
            analysis.due_look(Units::SoFar(6_000), 1, &[0.2, 1.0], &[first.z_bound, late.z_bound]),
            Ok(None)
        );
        let shared = analysis.due_look(Units::SoFar(200), 2, &[], &[]).unwrap().unwrap();
        assert!(shared.z_bound > first.z_bound);
        // Over halfway: what is left of alpha is spent on the users there are.
        let closing = analysis.due_look(Units::Final(500), 1, &[0.2], &[first.z_bound]).unwrap().unwrap();
        assert_eq!(closing, late);
        assert_eq!(
            analysis.due_look(Units::Final(500), 1, &[0.2, 1.0], &[first.z_bound, late.z_bound]),
            Ok(None)
        );
        assert_eq!(analysis.due_look(Units::Final(0), 1, &[], &[]), Ok(None));
    }
}
