//! p-values of a family of tests, adjusted for their number.
//!
//! Why this module exists: twenty metrics without an effect show one "significant" result on average. Which correction
//! fits depends on the question: Holm (1979, Scandinavian Journal of Statistics 6) keeps the chance of any false finding at
//! alpha under every dependence and is never weaker than Bonferroni; Hochberg (1988, Biometrika 75) is stronger but needs
//! positive dependence; Benjamini & Hochberg (1995, JRSS B 57) keep the share of false findings at alpha, and Benjamini &
//! Yekutieli (2001, Annals of Statistics 29) do so under every dependence.
//!
//! A p-value that does not exist is no test: it stays missing and is not counted.

use std::str::FromStr;

use super::{InvalidArgument, check_alpha};

/// How p-values are adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Correction {
    /// The number of tests times p.
    Bonferroni,
    /// Bonferroni, stepping down: fewer tests are left after each rejection.
    #[default]
    Holm,
    /// Holm's factors, stepping up from the greatest p-value.
    Hochberg,
    /// False discovery rate, for independent or positively dependent tests.
    BenjaminiHochberg,
    /// False discovery rate under every dependence.
    BenjaminiYekutieli,
}

impl Correction {
    /// `bonferroni`, `holm`, `hochberg`, `bh` or `by`.
    pub fn as_str(self) -> &'static str {
        match self {
            Correction::Bonferroni => "bonferroni",
            Correction::Holm => "holm",
            Correction::Hochberg => "hochberg",
            Correction::BenjaminiHochberg => "bh",
            Correction::BenjaminiYekutieli => "by",
        }
    }
}

impl FromStr for Correction {
    type Err = InvalidArgument;

    fn from_str(text: &str) -> Result<Correction, InvalidArgument> {
        match text {
            "bonferroni" => Ok(Correction::Bonferroni),
            "holm" => Ok(Correction::Holm),
            "hochberg" => Ok(Correction::Hochberg),
            "bh" => Ok(Correction::BenjaminiHochberg),
            "by" => Ok(Correction::BenjaminiYekutieli),
            _ => Err(InvalidArgument::option(
                "method",
                text,
                "\"bonferroni\", \"holm\", \"hochberg\", \"bh\" or \"by\"",
            )),
        }
    }
}

/// The adjusted p-values in the order of `p_values`; a test is rejected at level alpha where its own is at most alpha.
///
/// # Errors
/// [`InvalidArgument`] naming `p` for a p-value outside [0, 1].
pub fn adjust(p_values: &[Option<f64>], correction: Correction) -> Result<Vec<Option<f64>>, InvalidArgument> {
    if let Some(p) = p_values.iter().flatten().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(InvalidArgument::new("p", p, "between 0 and 1"));
    }
    let mut ascending: Vec<(usize, f64)> =
        p_values.iter().enumerate().filter_map(|(place, p)| p.map(|p| (place, p))).collect();
    ascending.sort_by(|(_, p), (_, other)| p.total_cmp(other));
    let tests = ascending.len();
    let harmonic: f64 = (1..=tests).rev().map(|rank| 1.0 / rank as f64).sum();
    let scaled = |(rank, (place, p)): (usize, (usize, f64))| {
        let factor = match correction {
            Correction::Bonferroni => tests as f64,
            Correction::Holm | Correction::Hochberg => (tests - rank) as f64,
            Correction::BenjaminiHochberg => tests as f64 / (rank + 1) as f64,
            Correction::BenjaminiYekutieli => harmonic * tests as f64 / (rank + 1) as f64,
        };
        (place, (factor * p).min(1.0))
    };
    let scaled = ascending.into_iter().enumerate().map(scaled);
    let mut adjusted = vec![None; p_values.len()];
    // An adjusted p-value may not be out of step with the order of the raw ones.
    if matches!(correction, Correction::Bonferroni | Correction::Holm) {
        let mut greatest = 0.0_f64;
        for (place, p) in scaled {
            greatest = greatest.max(p);
            adjusted[place] = Some(greatest);
        }
    } else {
        let mut least = 1.0_f64;
        for (place, p) in scaled.rev() {
            least = least.min(p);
            adjusted[place] = Some(least);
        }
    }
    Ok(adjusted)
}

/// The `alpha` at which intervals of `tests` estimates hold all at once (Bonferroni): the intervals to show beside adjusted
/// p-values, as neither Holm's nor Benjamini & Hochberg's method has intervals of its own.
///
/// # Errors
/// [`InvalidArgument`] for an `alpha` outside (0, 1) or a number of tests below 1.
pub fn simultaneous_alpha(alpha: f64, tests: i64) -> Result<f64, InvalidArgument> {
    selected_alpha(alpha, 1, tests)
}

/// The `alpha` of intervals that are shown only for the `selected` of `tests` estimates that Benjamini & Hochberg's method
/// found: the expected share of them that miss their target is then at most `alpha` (Benjamini & Yekutieli 2005, JASA 100).
///
/// # Errors
/// [`InvalidArgument`] for an `alpha` outside (0, 1), a number of tests below 1 or `selected` outside 1…`tests`.
pub fn selected_alpha(alpha: f64, selected: i64, tests: i64) -> Result<f64, InvalidArgument> {
    check_alpha(alpha)?;
    if tests < 1 {
        return Err(InvalidArgument::new("tests", tests, "1 or more"));
    }
    if !(1..=tests).contains(&selected) {
        return Err(InvalidArgument::new("selected", selected, "between 1 and the number of tests"));
    }
    Ok(alpha * selected as f64 / tests as f64)
}
