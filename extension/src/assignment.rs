//! Assignment as SQL functions: never an error, never a write, and no query once the experiment is known.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use ab_core::context::Context;
use ab_core::decision::{Decision, Evaluation, Reason, Subject};
use ab_core::experiment::Experiment;
use ab_core::workspace::Workspace;
use pgrx::prelude::*;

use crate::call::{Call, KeptText, row_function};
use crate::context::JsonbContext;
use crate::environment::Session;
use crate::{configuration, statement, workspace};

/// The bucket, 0 to 999,999, of a user under a salt.
#[pg_extern]
fn ab_bucket(salt: &str, user_id: &str) -> i32 {
    ab_core::bucket::bucket(salt, user_id) as i32
}

row_function!(
    /// The variant of a user, or NULL.
    ab_assign_wrapper,
    pg_finfo_ab_assign_wrapper,
    |call: &Call| assign(call, call.text(0))
);

row_function!(
    /// The same for a number, by its decimal text.
    ab_assign_bigint_wrapper,
    pg_finfo_ab_assign_bigint_wrapper,
    |call: &Call| match call.argument(0) {
        None => assign(call, ""),
        Some(number) => assign(call, itoa::Buffer::new().format(number.value() as i64)),
    }
);

row_function!(
    /// The same for a UUID, by its text in lower case with hyphens.
    ab_assign_uuid_wrapper,
    pg_finfo_ab_assign_uuid_wrapper,
    |call: &Call| match call.argument(0) {
        None => assign(call, ""),
        Some(uuid) => {
            // SAFETY: the argument is declared as uuid, which is sixteen bytes by reference.
            #[expect(unsafe_code, reason = "reads a datum")]
            let bytes = unsafe { *uuid.cast_mut_ptr::<[u8; 16]>() };
            let mut buffer = uuid::Uuid::encode_buffer();
            assign(call, uuid::Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut buffer))
        }
    }
);

/// What one place in a query has found out for the rows before.
#[derive(Default)]
struct Site {
    /// The statement for which it holds.
    serial: u64,
    /// When that began.
    started_at: i64,
    /// The number of [`workspace::changes`] before it.
    workspace_changes: u64,
    key: Vec<u8>,
    /// Whether this place in the query can name no other experiment.
    is_constant: bool,
    experiment: Option<Arc<Experiment>>,
    settings: Option<Arc<Workspace>>,
    /// The key of each variant, once it was the answer.
    answers: Vec<OnceCell<KeptText>>,
}

impl Site {
    /// The variant of `user_id` with the context that a third argument may hold, and its key.
    #[inline]
    fn decide(&self, call: &Call, user_id: &str) -> Option<(usize, &str)> {
        let (experiment, settings) = (self.experiment.as_ref()?, self.settings.as_ref()?);
        let context = (call.count() > 2).then(|| call.argument(2)).flatten().map(|datum| {
            // SAFETY: the argument is declared as jsonb and stays for the call.
            #[expect(unsafe_code, reason = "reads a datum")]
            unsafe {
                JsonbContext::new(datum)
            }
        });
        let context: &dyn Context = context.as_ref().map_or(&(), |context| context);
        let session = Session { workspace: settings };
        let subject = Subject::without_nul(user_id, context, self.started_at);
        let variant = experiment.decide(&Evaluation::new(subject, &session)).variant?;
        Some((variant, &experiment.variants()[variant].key))
    }
}

/// The answer for `user_id` in the experiment that the second argument names.
#[inline]
fn assign(call: &Call, user_id: &str) -> pg_sys::Datum {
    let Some(site) = call.site::<Site>() else { return assign_once(call, user_id) };
    let found = site_for(site, call);
    match found.decide(call, user_id) {
        Some((variant, key)) => call.return_kept(found.answers[variant].get_or_init(|| KeptText::new(key))),
        None => call.return_null(),
    }
}

/// The same from outside of a query, where nothing is kept.
#[cold]
fn assign_once(call: &Call, user_id: &str) -> pg_sys::Datum {
    let site = RefCell::default();
    match site_for(&site, call).decide(call, user_id) {
        Some((_, key)) => call.return_text(key),
        None => call.return_null(),
    }
}

/// The site with what it knows brought up to this statement.
#[inline]
fn site_for<'s>(site: &'s RefCell<Site>, call: &Call) -> std::cell::Ref<'s, Site> {
    let serial = statement::serial();
    {
        let known = site.borrow();
        if known.serial == serial
            && known.workspace_changes == workspace::changes()
            && (known.is_constant || known.key == call.bytes(1))
        {
            return known;
        }
    }
    look_up(site, serial, call);
    site.borrow()
}

#[cold]
fn look_up(site: &RefCell<Site>, serial: u64, call: &Call) {
    let key = call.text(1);
    // Looking up may run SQL, in which this place is not met again: the site is borrowed only once that is over.
    let experiment = configuration::find::<Experiment>(key);
    let variants = experiment.as_ref().map_or(0, |experiment| experiment.variants().len());
    let found = Site {
        serial,
        started_at: statement::started_at(),
        workspace_changes: workspace::changes(),
        is_constant: call.is_constant(1),
        key: key.as_bytes().to_vec(),
        experiment,
        settings: Some(configuration::workspace()),
        answers: (0..variants).map(|_| OnceCell::new()).collect(),
    };
    *site.borrow_mut() = found;
}

/// Why a user is answered as they are.
#[pg_extern]
fn ab_assign_reason(
    user_id: Option<&str>,
    experiment: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> &'static str {
    let Some(experiment) = configuration::find::<Experiment>(experiment.unwrap_or_default()) else {
        return Reason::NotFound.as_str();
    };
    let settings = configuration::workspace();
    let session = Session { workspace: &settings };
    decide(&session, &experiment, user_id, context.as_ref()).reason.as_str()
}

fn decide(
    session: &Session<'_>,
    experiment: &Experiment,
    user_id: Option<&str>,
    context: Option<&JsonbContext<'_>>,
) -> Decision {
    experiment.decide(&Evaluation::new(subject(user_id, context), session))
}

/// Whom a function is called about: a NULL id is as unusable as an empty one, a NULL context knows nothing.
pub fn subject<'a>(user_id: Option<&'a str>, context: Option<&'a JsonbContext<'a>>) -> Subject<'a> {
    let context: &dyn Context = match context {
        Some(context) => context,
        None => &(),
    };
    Subject::without_nul(user_id.unwrap_or_default(), context, statement::started_at())
}

/// Every experiment that gives the user a variant, by key; the configuration as JSON text.
#[pg_extern]
fn assign_all(
    user_id: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> TableIterator<'static, (name!(experiment, String), name!(variant, String), name!(config, Option<String>))>
{
    let settings = configuration::workspace();
    let session = Session { workspace: &settings };
    let rows: Vec<(String, String, Option<String>)> = configuration::live_experiments()
        .iter()
        .filter(|experiment| !experiment.is_holdout())
        .filter_map(|experiment| {
            let variant = decide(&session, experiment, user_id, context.as_ref()).variant?;
            let variant = &experiment.variants()[variant];
            let config = variant.config.as_ref().map(|config| config.get().to_owned());
            Some((experiment.key().to_owned(), variant.key.clone(), config))
        })
        .collect();
    TableIterator::new(rows)
}

/// What showing an experiment to a user amounts to: the answer, and what is to be recorded with it.
#[expect(clippy::type_complexity, reason = "the shape of a SQL function")]
#[pg_extern]
fn exposures(
    user_id: Option<&str>,
    experiment: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> TableIterator<
    'static,
    (
        name!(answer, Option<String>),
        name!(unit_id, Option<String>),
        name!(experiment, Option<String>),
        name!(variant, Option<String>),
        name!(is_sticky, bool),
    ),
> {
    let nothing = |answer| vec![(answer, None, None, None, false)];
    let settings = configuration::workspace();
    let session = Session { workspace: &settings };
    let Some(found) = configuration::find::<Experiment>(experiment.unwrap_or_default()) else {
        return TableIterator::new(nothing(None));
    };
    let evaluation = Evaluation::new(subject(user_id, context.as_ref()), &session);
    let decision = found.decide(&evaluation);
    let answer = decision.variant.map(|variant| found.variants()[variant].key.clone());
    match found.exposures(&evaluation, decision) {
        Some((unit, exposures)) if !exposures.is_empty() => {
            let rows: Vec<_> = exposures
                .into_iter()
                .map(|exposure| {
                    let (experiment, variant) = (Some(exposure.experiment), Some(exposure.variant));
                    (answer.clone(), Some(unit.clone()), experiment, variant, exposure.is_sticky)
                })
                .collect();
            TableIterator::new(rows)
        }
        _ => TableIterator::new(nothing(answer)),
    }
}
