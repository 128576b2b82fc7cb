//! What to believe of an effect, and the prior to believe it by.

use ab_core::statistics::bayes::empirical::{empirical_prior, shrink};
use ab_core::statistics::bayes::proportions::proportion_posterior;
use ab_core::statistics::bayes::{Prior, normal_posterior};
use ab_core::statistics::proportion::Proportion;

use super::{integer, statistic};

statistic! {
    /// The posterior of a difference or lift.
    ab_bayes(
        diff: f64, se: f64, prior_mean: f64, prior_sd: Option<f64>, alpha: f64,
    ) -> (
        post_mean: f64, post_sd: f64, ci_low: f64, ci_high: f64, prob_better: f64, loss_treatment: f64,
        loss_control: f64,
    ) {
        let found = normal_posterior(diff, se, Prior { mean: prior_mean, sd: prior_sd }, alpha)?;
        Ok(("normal", found.note, (
            found.mean, found.sd, found.low, found.high, found.probability_better, found.treatment_loss,
            found.control_loss,
        )))
    }
}

statistic! {
    /// The posterior of two conversion rates.
    ab_bayes_beta(
        n1: i64, x1: i64, n2: i64, x2: i64, a: f64, b: f64, alpha: f64,
    ) -> (
        post_mean: f64, post_sd: f64, ci_low: f64, ci_high: f64, prob_better: f64, loss_treatment: f64,
        loss_control: f64, lift: f64, lift_low: f64, lift_high: f64,
    ) {
        let control = Proportion { n: n1, conversions: x1 };
        let treatment = Proportion { n: n2, conversions: x2 };
        let found = proportion_posterior(control, treatment, a, b, alpha)?;
        let difference = found.difference;
        Ok(("beta_binomial", difference.note, (
            difference.mean, difference.sd, difference.low, difference.high, difference.probability_better,
            difference.treatment_loss, difference.control_loss, found.lift, found.lift_low, found.lift_high,
        )))
    }
}

statistic! {
    /// The prior that past experiments suggest.
    ab_prior(lift: Vec<f64>, se: Vec<f64>) -> (prior_mean: f64, prior_sd: f64, tests: i32) {
        let prior = empirical_prior(&lift, &se)?;
        let tests = integer(i64::try_from(prior.tests).ok());
        Ok(("empirical_bayes", prior.note, (prior.mean, prior.sd, tests)))
    }
}

statistic! {
    /// What is left of an estimate under a prior about 0.
    ab_shrink(estimate: f64, se: f64, prior_sd: f64) -> (shrunken: f64, shrunken_se: f64, factor: f64) {
        let left = shrink(estimate, se, prior_sd)?;
        Ok(("empirical_bayes", left.note, (left.estimate, left.standard_error, left.factor)))
    }
}
