//! A/A tests by the thousand: of made-up users, and of an experiment's own, split anew.

use ab_core::statistics::simulation::{
    AaTest, Metric, Mode, RealAaTest, RealMetric, Replication, User, Verdict, check_simulations, judge,
    random,
};
use ab_core::statistics::{InvalidArgument, Note};

use super::{Found, check_length, statistic};

/// The level of every result of an experiment.
const ALPHA: f64 = 0.05;

type Columns = (Option<i32>, Option<i32>, Option<f64>, Option<f64>, Option<f64>, Option<f64>, Option<f64>);

statistic! {
    /// How often a test finds an effect where there is none, by simulation.
    ab_simulate_aa(
        n_per_arm: i64, baseline: f64, sd: Option<f64>, simulations: i32, alpha: f64, looks: i32, mode: &str, seed: i64,
    ) -> (
        simulations: i32, false_positives: i32, rate: f64, expected: f64, band_low: f64, band_high: f64, p_uniform: f64,
    ) {
        let metric = sd.map_or(Metric::Conversion(baseline), |sd| Metric::Mean { mean: baseline, sd });
        let mode: Mode = mode.parse()?;
        let test = AaTest::new(n_per_arm, metric, alpha, looks.into(), mode)?;
        check_simulations(simulations, test.steps(simulations))?;
        let replications = (0..simulations).map(|number| {
            pgrx::check_for_interrupts!();
            test.replicate(&mut random(seed.cast_unsigned(), number.unsigned_abs().into()))
        });
        let replications: Vec<Replication> = replications.collect::<Result<_, _>>()?;
        found(test.method(), test.note(), judge(&replications, alpha, mode))
    }
}

statistic! {
    /// The same for real users, given as arrays with an element for each; `shares` are those of control and treatment.
    simulate_split(
        users: Vec<String>, values: Vec<f64>, denominators: Vec<f64>, converted: Vec<bool>, kind: &str, shares: Vec<f64>,
        simulations: i32,
    ) -> (
        simulations: i32, false_positives: i32, rate: f64, expected: f64, band_low: f64, band_high: f64, p_uniform: f64,
    ) {
        for (name, length) in
            [("values", values.len()), ("denominators", denominators.len()), ("converted", converted.len())]
        {
            check_length(name, length, "users", users.len())?;
        }
        let shares = <[f64; 2]>::try_from(shares)
            .map_err(|shares| InvalidArgument::length("shares", shares.len(), "control and treatment", 2))?;
        let metric = match kind {
            "conversion" | "retention" => RealMetric::Conversion,
            "ratio" => RealMetric::Ratio,
            _ => RealMetric::Mean,
        };
        let values = users.into_iter().zip(values).zip(denominators).zip(converted);
        let users = values.map(|(((user, value), denominator), converted)| {
            User { id: user, value, denominator, converted }
        });
        let test = RealAaTest::new(users.collect(), metric, shares, ALPHA)?;
        check_simulations(simulations, test.steps(simulations))?;
        let replications = (0..simulations).map(|number| {
            pgrx::check_for_interrupts!();
            test.replicate(number.into())
        });
        let replications: Vec<Replication> = replications.collect::<Result<_, _>>()?;
        found(metric.method(), None, judge(&replications, ALPHA, Mode::Fixed))
    }
}

fn found(method: &'static str, note: Option<Note>, verdict: Option<Verdict>) -> Found<Columns> {
    let Some(verdict) = verdict else {
        return Ok((method, Some(Note::TooFewUnits), (None, None, None, None, None, None, None)));
    };
    Ok((
        method,
        note,
        (
            Some(verdict.simulations),
            Some(verdict.false_positives),
            Some(verdict.rate),
            Some(verdict.expected),
            Some(verdict.low),
            Some(verdict.high),
            verdict.p_uniform,
        ),
    ))
}
