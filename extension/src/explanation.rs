//! Every step of a decision, for whoever has to answer why a user saw what they saw.

use std::cell::RefCell;

use ab_core::decision::{Evaluation, Step};
use ab_core::experiment::Experiment;
use ab_core::flag::Flag;
use pgrx::prelude::*;

use crate::assignment::subject;
use crate::configuration;
use crate::context::JsonbContext;
use crate::environment::Session;

/// The steps by which an experiment, else the flag of that name, is decided for a user.
#[pg_extern]
fn ab_explain(
    user_id: Option<&str>,
    experiment_or_flag: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> TableIterator<'static, (name!(step, String), name!(outcome, String), name!(detail, String))> {
    let key = experiment_or_flag.unwrap_or_default();
    let settings = configuration::workspace();
    let session = Session { workspace: &settings };
    let steps = RefCell::default();
    let evaluation = Evaluation::traced(subject(user_id, context.as_ref()), &session, &steps);
    let answer = if let Some(experiment) = configuration::find::<Experiment>(key) {
        let decision = experiment.decide(&evaluation);
        let variant = decision.variant.map(|variant| experiment.variants()[variant].key.clone());
        (decision.reason.as_str(), variant.unwrap_or_else(|| "no variant: serve the default".to_owned()))
    } else if let Some(flag) = configuration::find::<Flag>(key) {
        let decision = flag.evaluate(&evaluation);
        (decision.reason.as_str(), decision.value.get().to_owned())
    } else {
        ("not_found", "the workspace has no experiment and no flag of that name".to_owned())
    };
    let mut rows: Vec<(String, String, String)> = steps.into_inner().into_iter().map(row).collect();
    rows.push(("answer".to_owned(), answer.0.to_owned(), answer.1));
    TableIterator::new(rows)
}

fn row(step: Step) -> (String, String, String) {
    let outcome = if step.decided { "decided" } else { "passed" };
    (step.step.into_owned(), outcome.to_owned(), step.detail)
}
