//! Capped metrics: values beyond a cap count as the cap.
//!
//! Why this module exists: a few enormous orders make the mean of revenue useless as a measure, and capping them trades a
//! little bias for much less noise. What is estimated then is the capped mean, so that the uncapped one and the share of
//! users and of the total that were capped belong beside it. The caps must be the same for all variants, or the cap itself
//! makes a difference: fixed in advance, or a quantile of all variants together ([`quantile`](super::quantile::quantile)),
//! frozen for as long as results are compared.

use super::mean::Sample;
use super::{InvalidArgument, Note};

/// Sums over users that can be added to and merged in any order, at caps that are fixed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Winsorised {
    low: f64,
    high: f64,
    users: i64,
    capped_users: i64,
    /// Of the values as they are.
    raw: Moments,
    /// Of the values within the caps.
    capped: Moments,
}

/// What there is to show of a capped metric in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WinsorisedSummary {
    /// The capped values, for a test.
    pub capped: Sample,
    /// The values as they are.
    pub raw: Sample,
    /// The share of users whose value was beyond a cap; `None` without users.
    pub capped_share_of_users: Option<f64>,
    /// The share of the total that the caps took away; `None` where the total is 0.
    pub capped_share_of_total: Option<f64>,
    /// Why a figure is missing.
    pub note: Option<Note>,
}

/// Mean and squared deviations from it (Welford 1962, Technometrics 4).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Moments {
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64, users: i64) {
        let deviation = value - self.mean;
        self.mean += deviation / users as f64;
        self.squares += deviation * (value - self.mean);
    }

    fn sample(&self, n: i64) -> Sample {
        let variance = if n > 1 { self.squares / (n - 1) as f64 } else { 0.0 };
        Sample { n, mean: self.mean, variance }
    }

    /// The moments of a sample merged from two.
    fn of(sample: Sample) -> Moments {
        Moments { mean: sample.mean, squares: sample.variance * (sample.n - 1).max(0) as f64 }
    }
}

impl Winsorised {
    /// No users yet, with values below `low` counting as `low` and values above `high` as `high`; an infinite cap is none.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `cap` for caps that are NaN or in the wrong order.
    pub fn new(low: f64, high: f64) -> Result<Winsorised, InvalidArgument> {
        if low.is_nan() || high.is_nan() || low > high || low == f64::INFINITY || high == f64::NEG_INFINITY {
            return Err(InvalidArgument::new(
                "cap",
                format_args!("{low} to {high}"),
                "a low one and a high one",
            ));
        }
        let none = Moments::default();
        Ok(Winsorised { low, high, users: 0, capped_users: 0, raw: none, capped: none })
    }

    /// Adds one user's value.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `value` for one that is not finite, which would spoil all others.
    pub fn add(&mut self, value: f64) -> Result<(), InvalidArgument> {
        if !value.is_finite() {
            return Err(InvalidArgument::new("value", value, "a finite number"));
        }
        let capped = value.clamp(self.low, self.high);
        self.users += 1;
        self.capped_users += i64::from(capped != value);
        self.raw.add(value, self.users);
        self.capped.add(capped, self.users);
        Ok(())
    }

    /// Takes in the users of another state (Chan, Golub & LeVeque 1983, The American Statistician 37).
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `cap` for a state with other caps.
    pub fn merge(&mut self, other: &Winsorised) -> Result<(), InvalidArgument> {
        if (self.low, self.high) != (other.low, other.high) {
            let found = format_args!("{} to {}", other.low, other.high).to_string();
            return Err(InvalidArgument::new("cap", found, "the same in all states"));
        }
        let raw = self.raw.sample(self.users).merged(other.raw.sample(other.users));
        let capped = self.capped.sample(self.users).merged(other.capped.sample(other.users));
        self.users = raw.n;
        self.capped_users += other.capped_users;
        self.raw = Moments::of(raw);
        self.capped = Moments::of(capped);
        Ok(())
    }

    /// What to show; without users there is nothing but [`Note::TooFewUnits`], and figures beyond the range of a double are
    /// [`Note::Overflow`].
    pub fn summary(&self) -> WinsorisedSummary {
        let (capped, raw) = (self.capped.sample(self.users), self.raw.sample(self.users));
        let taken = (raw.mean - capped.mean) / raw.mean;
        let finite =
            [capped.mean, capped.variance, raw.mean, raw.variance].iter().all(|figure| figure.is_finite());
        let note =
            if self.users == 0 { Some(Note::TooFewUnits) } else { (!finite).then_some(Note::Overflow) };
        WinsorisedSummary {
            capped,
            raw,
            capped_share_of_users: (self.users > 0).then(|| self.capped_users as f64 / self.users as f64),
            capped_share_of_total: taken.is_finite().then_some(taken),
            note,
        }
    }
}
