//! Shares that change at set times, with no job that has to run: whoever asks brings the time.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bucket::BUCKETS;
use crate::context::number;
use crate::error::{Code, Error};
use crate::event;
use crate::time::Time;

/// More steps than this are a mistake.
const MAX_STEPS: usize = 1_000;

/// A share of users over time, in parts per million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Before the first step.
    base: u32,
    /// From when on, in microseconds since 1970, which share; ascending.
    steps: Box<[(i64, u32)]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step<'a> {
    at: String,
    #[serde(borrow)]
    percent: &'a RawValue,
}

impl Schedule {
    /// The same share at all times.
    pub fn constant(share: u32) -> Schedule {
        Schedule { base: share, steps: Box::new([]) }
    }

    /// Reads the steps that follow `base`: a JSON list of `{"at": time, "percent": number}` with ascending times.
    ///
    /// # Errors
    /// [`Code::InvalidSchedule`], naming `what` they are of and the step that is wrong.
    pub fn compile(what: &str, base: u32, json: &str) -> Result<Schedule, Error> {
        let wrong = |problem: String| {
            Error::new(
                Code::InvalidSchedule,
                format!("schedule of {what}: {problem}"),
                "write [{\"at\": \"2030-01-01T00:00:00Z\", \"percent\": 5}, …] with each time later than the one before",
            )
        };
        let written: Vec<Step<'_>> = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        if written.len() > MAX_STEPS {
            return Err(wrong(format!("{} steps are more than {MAX_STEPS}", written.len())));
        }
        let mut steps: Vec<(i64, u32)> = Vec::with_capacity(written.len());
        for (index, step) in written.iter().enumerate() {
            let at = Time::parse(&step.at).map(Time::microseconds).ok_or_else(|| {
                wrong(format!(
                    "step {} has the time \"{}\", which is none",
                    index + 1,
                    event::excerpt(&step.at)
                ))
            })?;
            let share = share(step.percent.get()).ok_or_else(|| {
                wrong(format!("step {} has {} percent", index + 1, event::excerpt(step.percent.get())))
            })?;
            if steps.last().is_some_and(|&(before, _)| before >= at) {
                return Err(wrong(format!("step {} is not later than the one before it", index + 1)));
            }
            steps.push((at, share));
        }
        Ok(Schedule { base, steps: steps.into_boxed_slice() })
    }

    /// The share at `now`, in parts per million.
    #[inline]
    pub fn at(&self, now: i64) -> u32 {
        if self.steps.is_empty() {
            return self.base;
        }
        match self.steps.partition_point(|&(at, _)| at <= now) {
            0 => self.base,
            passed => self.steps[passed - 1].1,
        }
    }

    /// Whether the share depends on the time.
    pub fn is_dated(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The first step after `now`, in microseconds since 1970.
    pub fn next_edge(&self, now: i64) -> Option<i64> {
        self.steps.iter().map(|&(at, _)| at).find(|&at| at > now)
    }
}

/// Parts per million of a percentage written as a JSON number from 0 to 100; finer than a millionth is rounded.
pub(crate) fn share(percent: &str) -> Option<u32> {
    use rust_decimal::prelude::ToPrimitive;
    let percent = number(percent)?;
    let per_percent = rust_decimal::Decimal::from(BUCKETS / 100);
    let share = percent.checked_mul(per_percent)?.round().to_i64()?;
    u32::try_from(share).ok().filter(|&share| share <= BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_holds_from_its_second_on() {
        let schedule = Schedule::compile(
            "x",
            10_000,
            r#"[{"at":"1970-01-01T00:00:10Z","percent":5},{"at":"1970-01-01T00:00:20+00:00","percent":33.3333}]"#,
        )
        .unwrap();
        let at = |seconds: i64| schedule.at(seconds * 1_000_000);
        assert_eq!([at(9), at(10), at(19), at(20), at(99)], [10_000, 50_000, 50_000, 333_333, 333_333]);
        assert_eq!(schedule.at(9_999_999), 10_000);
        assert_eq!(schedule.next_edge(10_000_000), Some(20_000_000));
        assert!(schedule.is_dated() && !Schedule::constant(1).is_dated());
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_step() {
        for (json, named) in [
            (r#"[{"at":"2030-01-02","percent":5},{"at":"2030-01-01","percent":6}]"#, "step 2"),
            (r#"[{"at":"2030-01-02","percent":5},{"at":"2030-01-02T00:00:00Z","percent":6}]"#, "step 2"),
            (r#"[{"at":"soon","percent":5}]"#, "\"soon\""),
            (r#"[{"at":"2030-01-02","percent":101}]"#, "101"),
            (r#"[{"at":"2030-01-02","percent":-1}]"#, "-1"),
            (r#"[{"at":"2030-01-02","percent":"5"}]"#, "percent"),
            (r#"[{"at":"2030-01-02"}]"#, "percent"),
            (r#"[{"at":"2030-01-02","percent":1,"x":1}]"#, "x"),
            ("{}", "sequence"),
            ("", "EOF"),
        ] {
            let error = Schedule::compile("experiment \"e\"", 0, json).unwrap_err();
            assert_eq!(error.code, Code::InvalidSchedule);
            assert!(error.message.contains(named) && error.message.contains("\"e\""), "{}", error.message);
        }
    }
}
