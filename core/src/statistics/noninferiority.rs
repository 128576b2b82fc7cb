//! Guardrails: whether a treatment is shown not to be worse than the control by more than a margin.
//!
//! Why this module exists: "not significantly worse" is what every small experiment finds; a guardrail passes only when harm
//! beyond the margin is ruled out. With a relative margin the bound moves with the control's mean, whose noise belongs to
//! the test: c = m_T − (1 − Δ)·m_C for a metric of which more is better, (1 + Δ)·m_C − m_T otherwise, one-sided, with the
//! Welch–Satterthwaite degrees of freedom of the weighted means.

use super::contrast::Contrast;
use super::mean::Sample;
use super::{Alternative, InvalidArgument, Note, check_alpha};

/// How much worse is still acceptable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Margin {
    /// As a fraction of the control's mean, in (0, 1).
    Relative(f64),
    /// In the metric's unit, above 0; the only kind for a control whose mean is not positive.
    Absolute(f64),
}

/// What a guardrail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guardrail {
    /// Harm beyond the margin is ruled out.
    Pass,
    /// The treatment is significantly worse than the control.
    Fail,
    /// The treatment is significantly worse than the margin allows.
    Breach,
    /// Neither is shown.
    Inconclusive,
}

impl Guardrail {
    /// `pass`, `fail`, `breach` or `inconclusive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Guardrail::Pass => "pass",
            Guardrail::Fail => "fail",
            Guardrail::Breach => "breach",
            Guardrail::Inconclusive => "inconclusive",
        }
    }
}

/// The test of non-inferiority.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoninferiorityTest {
    /// How much better than the margin the treatment is, in the metric's unit.
    pub contrast: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// t.
    pub statistic: Option<f64>,
    /// One-sided: P(a contrast this great | the treatment is worse by the margin).
    pub p_value: Option<f64>,
    /// Lower bound of the contrast at one-sided `alpha`: above 0 when the guardrail passes.
    pub bound: Option<f64>,
    /// The verdict; `None` without a test.
    pub state: Option<Guardrail>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// Tests that the treatment is not worse than the control by the margin, at one-sided `alpha`.
///
/// Passing comes first: harm may be significant and yet within the margin. Failing and breaching need a two-sided interval at
/// `alpha` that lies on the bad side of no difference and of the margin. Edges: those of
/// [`welch_test`](super::mean::welch_test); a control whose mean is not positive has no relative margin
/// ([`Note::NonPositiveMean`]).
///
/// # Errors
/// [`InvalidArgument`] as for [`welch_test`](super::mean::welch_test), and naming `margin_rel` or `margin_abs`.
pub fn noninferiority_test(
    control: Sample,
    treatment: Sample,
    margin: Margin,
    alpha: f64,
    higher_is_better: bool,
) -> Result<NoninferiorityTest, InvalidArgument> {
    control.check(["n1", "mean1", "var1"])?;
    treatment.check(["n2", "mean2", "var2"])?;
    check_alpha(alpha)?;
    match margin {
        Margin::Relative(margin) if !(margin > 0.0 && margin < 1.0) => {
            return Err(InvalidArgument::new("margin_rel", margin, "strictly between 0 and 1"));
        }
        Margin::Absolute(margin) if !(margin > 0.0 && margin.is_finite()) => {
            return Err(InvalidArgument::new("margin_abs", margin, "a finite number above 0"));
        }
        _ => {}
    }
    if control.n < 2 || treatment.n < 2 {
        return Ok(NoninferiorityTest::missing(Note::TooFewUnits));
    }
    if matches!(margin, Margin::Relative(_)) && control.mean <= 0.0 {
        return Ok(NoninferiorityTest::missing(Note::NonPositiveMean));
    }
    let sign = if higher_is_better { 1.0 } else { -1.0 };
    let better = sign * (treatment.mean - control.mean);
    let (weight, allowance) = match margin {
        Margin::Relative(margin) => (1.0 - sign * margin, margin * control.mean),
        Margin::Absolute(margin) => (1.0, margin),
    };
    let terms = [control.term(weight), treatment.term(1.0)];
    let test = |alternative| Contrast::infer(better + allowance, &terms, alpha, alternative);
    let passing = test(Alternative::Greater);
    let harm =
        || Contrast::infer(better, &[control.term(1.0), treatment.term(1.0)], alpha, Alternative::TwoSided);
    let below_zero = |contrast: Contrast| contrast.high.is_some_and(|high| high < 0.0);
    let state = passing.p_value.map(|p| {
        if p < alpha {
            Guardrail::Pass
        } else if below_zero(test(Alternative::TwoSided)) {
            Guardrail::Breach
        } else if below_zero(harm()) {
            Guardrail::Fail
        } else {
            Guardrail::Inconclusive
        }
    });
    Ok(NoninferiorityTest {
        contrast: passing.estimate,
        standard_error: passing.standard_error,
        statistic: passing.statistic,
        p_value: passing.p_value,
        bound: passing.low,
        state,
        note: passing.note,
    })
}

impl NoninferiorityTest {
    fn missing(note: Note) -> NoninferiorityTest {
        NoninferiorityTest {
            contrast: None,
            standard_error: None,
            statistic: None,
            p_value: None,
            bound: None,
            state: None,
            note: Some(note),
        }
    }
}
