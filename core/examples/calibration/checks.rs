//! All checks, by subject.

#[path = "checks/adjustment.rs"]
mod adjustment;
#[path = "checks/belief.rs"]
mod belief;
#[path = "checks/coverage.rs"]
mod coverage;
#[path = "checks/enumeration.rs"]
mod enumeration;
#[path = "checks/false_alarm.rs"]
mod false_alarm;
#[path = "checks/family.rs"]
mod family;
#[path = "checks/looking.rs"]
pub mod looking;
#[path = "checks/population.rs"]
mod population;
#[path = "checks/power.rs"]
mod power;
#[path = "checks/sample_ratio.rs"]
mod sample_ratio;

use crate::check::Simulation;

/// The error rate of every test here but that of the sample ratio.
pub const ALPHA: f64 = 0.05;

pub fn all() -> Vec<Simulation> {
    [
        false_alarm::simulations(),
        coverage::simulations(),
        enumeration::simulations(),
        looking::simulations(),
        adjustment::simulations(),
        power::simulations(),
        sample_ratio::simulations(),
        family::simulations(),
        belief::simulations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// 1 where it is so, for a share.
pub fn one_if(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// 1 where the interval has the value; a bound that does not exist does not exclude it.
pub fn covers(low: Option<f64>, high: Option<f64>, value: f64) -> f64 {
    one_if(low.is_none_or(|low| low <= value) && high.is_none_or(|high| high >= value))
}
