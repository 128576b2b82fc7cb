//! Whether users were split as they should have been.

use ab_core::statistics::sample_ratio::{
    PhaseArm, sample_ratio_phases, sample_ratio_test, sequential_sample_ratio,
};

use super::{check_length, integer, statistic};

statistic! {
    /// The χ² test of users against weights.
    ab_srm as chi_square(
        observed: Vec<i64>, weights: Vec<f64>, threshold: f64,
    ) -> (statistic: f64, df: i32, p_value: f64, mismatch: bool) {
        let test = sample_ratio_test(&observed, &weights, threshold)?;
        let df = integer(test.degrees_of_freedom);
        Ok(("chi_square", test.note, (test.statistic, df, test.p_value, test.mismatch)))
    }
}

statistic! {
    /// The χ² test of users against weights that were changed.
    ab_srm_phases(
        phase: Vec<i32>, arm: Vec<i32>, observed: Vec<i64>, weight: Vec<f64>, threshold: f64,
    ) -> (statistic: f64, df: i32, p_value: f64, mismatch: bool) {
        for (name, length) in [("arm", arm.len()), ("observed", observed.len()), ("weight", weight.len())] {
            check_length(name, length, "phase", phase.len())?;
        }
        let rows = phase.iter().zip(&arm).zip(&observed).zip(&weight);
        let cells: Vec<PhaseArm> = rows
            .map(|(((&phase, &arm), &observed), &weight)| PhaseArm { phase, arm, observed, weight })
            .collect();
        let test = sample_ratio_phases(&cells, threshold)?;
        let df = integer(test.degrees_of_freedom);
        Ok(("chi_square", test.note, (test.statistic, df, test.p_value, test.mismatch)))
    }
}

statistic! {
    /// The test of users against weights that may be looked at all the time.
    ab_srm_sequential(
        observed: Vec<i64>, weights: Vec<f64>, concentration: f64, threshold: f64,
    ) -> (log_e: f64, p_value: f64, mismatch: bool) {
        let test = sequential_sample_ratio(&observed, &weights, concentration, threshold)?;
        Ok(("dirichlet_multinomial", test.note, (test.log_e, test.p_value, test.mismatch)))
    }
}
