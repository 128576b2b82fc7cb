//! What a check is, how it is replicated and how it is judged.
//!
//! A simulation makes many replications, each a row of figures from random numbers of its own; its checks say of the rows
//! what one column must come to. The same figures come out on any number of threads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ab_core::statistics::simulation::{BAND, Random, random, uniformity};
use xxhash_rust::xxh64::xxh64;

/// Where all random numbers come from; every simulation adds its name, so that a new one changes no other.
pub const SEED: u64 = 20_240_229;

/// How many replications a thread takes at a time.
const SHARE: u64 = 16;

/// Of how many replications a quick run makes one.
const QUICK: u64 = 40;

/// Fewer replications than these say nothing even in a quick run.
const LEAST: u64 = 250;

type Replicate = Box<dyn Fn(u64, &mut Random) -> Vec<f64> + Sync>;

/// Replications of one kind and what is checked of them.
pub struct Simulation {
    pub name: String,
    pub replications: u64,
    pub checks: Vec<Check>,
    replicate: Replicate,
    /// Every case there is and not a sample: a quick run takes all as well.
    exhaustive: bool,
}

/// What one figure of the replications must come to.
pub struct Check {
    pub what: String,
    pub measure: Measure,
    pub target: f64,
    /// From where to where, for the full number of replications; `None` for a figure that is shown and not judged.
    pub band: Option<(f64, f64)>,
}

/// How the rows become one figure; the numbers are columns.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    /// Of how many rows it is 1; of the others it is 0.
    Share(usize),
    Mean(usize),
    /// The p-value of being uniform.
    Uniform(usize),
    /// The variance of the first over that of the second.
    VarianceRatio(usize, usize),
    /// The mean in its own standard errors.
    Bias(usize),
    Least(usize),
    Most(usize),
}

/// A check that was made.
pub struct Finding {
    pub what: String,
    pub replications: u64,
    pub target: f64,
    pub band: Option<(f64, f64)>,
    pub observed: f64,
    /// Of the whole simulation, on the first of its checks only.
    pub took: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What the bands are made for.
    Full,
    /// A fortieth, with bands as much wider as chance then is.
    Quick,
}

impl Simulation {
    pub fn new(
        name: impl Into<String>,
        replications: u64,
        replicate: impl Fn(u64, &mut Random) -> Vec<f64> + Sync + 'static,
    ) -> Simulation {
        Simulation {
            name: name.into(),
            replications,
            checks: Vec::new(),
            replicate: Box::new(replicate),
            exhaustive: false,
        }
    }

    /// One of `cases` that are all there is; the index says which.
    pub fn exhaustive(
        name: impl Into<String>,
        cases: u64,
        replicate: impl Fn(u64) -> Vec<f64> + Sync + 'static,
    ) -> Simulation {
        Simulation { exhaustive: true, ..Simulation::new(name, cases, move |index, _| replicate(index)) }
    }

    pub fn check(mut self, what: &str, measure: Measure, target: f64, low: f64, high: f64) -> Simulation {
        self.checks.push(Check { what: what.to_owned(), measure, target, band: Some((low, high)) });
        self
    }

    /// A share of rows that is `target` but for chance.
    pub fn share(self, what: &str, column: usize, target: f64) -> Simulation {
        let half = BAND * (target * (1.0 - target) / self.replications as f64).sqrt();
        self.check(what, Measure::Share(column), target, target - half, target + half)
    }

    /// p-values that are uniform.
    pub fn uniform(self, column: usize) -> Simulation {
        self.check("p is uniform", Measure::Uniform(column), 1.0, 0.001, 1.0)
    }

    /// A figure whose mean is 0.
    pub fn unbiased(self, what: &str, column: usize) -> Simulation {
        self.check(what, Measure::Bias(column), 0.0, -BAND, BAND)
    }

    /// A figure that is not judged.
    pub fn shown(mut self, what: &str, measure: Measure, target: f64) -> Simulation {
        self.checks.push(Check { what: what.to_owned(), measure, target, band: None });
        self
    }

    /// Replicates and judges.
    pub fn run(&self, size: Size, threads: usize) -> Vec<Finding> {
        let started = Instant::now();
        let replications = match size {
            Size::Quick if !self.exhaustive => (self.replications / QUICK).max(LEAST).min(self.replications),
            _ => self.replications,
        };
        let rows = self.rows(replications, threads);
        let mut took = Some(started.elapsed());
        let find = |check: &Check| Finding {
            what: if check.what.is_empty() {
                self.name.clone()
            } else {
                format!("{}: {}", self.name, check.what)
            },
            replications,
            target: check.target,
            band: check.band_for(&rows, self.replications),
            observed: check.measure.of(&rows),
            took: took.take(),
        };
        self.checks.iter().map(find).collect()
    }

    /// The rows in their order, whichever thread made them.
    fn rows(&self, replications: u64, threads: usize) -> Vec<Vec<f64>> {
        let seed = xxh64(self.name.as_bytes(), SEED);
        let next = AtomicU64::new(0);
        let work = || {
            let mut made = Vec::new();
            loop {
                let from = next.fetch_add(SHARE, Ordering::Relaxed);
                if from >= replications {
                    return made;
                }
                for index in from..(from + SHARE).min(replications) {
                    made.push((index, (self.replicate)(index, &mut random(seed, index))));
                }
            }
        };
        let mut made: Vec<(u64, Vec<f64>)> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("a replication succeeds")).collect()
        });
        made.sort_by_key(|(index, _)| *index);
        made.into_iter().map(|(_, row)| row).collect()
    }
}

impl Check {
    /// The band, wider by what chance adds to fewer rows than it was made for. A rare event's share is skewed, which counts in
    /// few rows (Cornish & Fisher 1938, the first term).
    fn band_for(&self, rows: &[Vec<f64>], full: u64) -> Option<(f64, f64)> {
        let (rows_made, full) = (rows.len() as f64, full as f64);
        let (noise, skew) = match self.measure {
            Measure::Share(_) => ((self.target * (1.0 - self.target)).sqrt(), 1.0 - 2.0 * self.target),
            Measure::Mean(column) => (variance(rows, column).sqrt(), 0.0),
            // Of independent variances; those of CUPED are not, and differ by less.
            Measure::VarianceRatio(..) => (2.0 * self.target, 0.0),
            Measure::Uniform(_) | Measure::Bias(_) | Measure::Least(_) | Measure::Most(_) => (0.0, 0.0),
        };
        let wider = BAND * noise * (rows_made.sqrt().recip() - full.sqrt().recip())
            + (BAND * BAND - 1.0) / 6.0 * skew.abs() * (rows_made.recip() - full.recip());
        self.band.map(|(low, high)| (low - wider, high + wider))
    }
}

impl Measure {
    fn of(self, rows: &[Vec<f64>]) -> f64 {
        let column = |column: usize| rows.iter().map(move |row| row[column]);
        match self {
            Measure::Share(of) | Measure::Mean(of) => mean(rows, of),
            Measure::Uniform(of) => uniformity(&column(of).collect::<Vec<_>>()).unwrap_or(f64::NAN),
            Measure::VarianceRatio(of, to) => variance(rows, of) / variance(rows, to),
            Measure::Bias(of) => mean(rows, of) / (variance(rows, of) / rows.len() as f64).sqrt(),
            Measure::Least(of) => column(of).fold(f64::INFINITY, f64::min),
            Measure::Most(of) => column(of).fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

fn mean(rows: &[Vec<f64>], column: usize) -> f64 {
    rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64
}

fn variance(rows: &[Vec<f64>], column: usize) -> f64 {
    let mean = mean(rows, column);
    rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / (rows.len() - 1) as f64
}

impl Finding {
    /// Whether the figure is where it must be; one that does not exist is nowhere.
    pub fn holds(&self) -> bool {
        self.band.is_none_or(|(low, high)| (low..=high).contains(&self.observed))
    }
}

/// A row of the table.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let band = self.band.map(|(low, high)| format!("{} to {}", figure(low), figure(high)));
        let verdict = match (self.band, self.holds()) {
            (None, _) => "shown",
            (_, true) => "holds",
            (_, false) => "**outside**",
        };
        write!(
            formatter,
            "| {} | {} | {} | {} | {} | {verdict} | {} |",
            self.what,
            self.replications,
            figure(self.target),
            band.unwrap_or_default(),
            figure(self.observed),
            self.took.map(|took| format!("{:.1}", took.as_secs_f64())).unwrap_or_default(),
        )
    }
}

/// Five decimals, without the zeros at their end.
fn figure(number: f64) -> String {
    let text = format!("{number:.5}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
