//! Feature flags as SQL functions: never an error, never a write, and no query once the flag is known.

use std::ffi::CString;

use ab_core::decision::Evaluation;
use ab_core::flag::{Flag, FlagDecision, FlagReason};
use pgrx::prelude::*;
use pgrx::{AnyElement, FromDatum, direct_function_call_as_datum};

use crate::assignment::subject;
use crate::configuration;
use crate::context::JsonbContext;
use crate::environment::Session;

/// The value of a flag for a user; NULL where there is no such flag.
#[pg_extern]
fn ab_flag(
    user_id: Option<&str>,
    flag: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> Option<AnyElement> {
    evaluate(user_id, flag, context, |decision| {
        let json = CString::new(decision?.value.get()).ok()?;
        // SAFETY: jsonb_in takes one C string, and its result is a jsonb.
        #[expect(unsafe_code, reason = "calls into the server")]
        unsafe {
            let jsonb = direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(json.as_ptr().into())])?;
            AnyElement::from_polymorphic_datum(jsonb, false, pg_sys::JSONBOID)
        }
    })
}

/// Whether a flag is `true` for a user, be it of kind boolean or json.
#[pg_extern]
fn ab_flag_enabled(user_id: Option<&str>, flag: Option<&str>, context: Option<JsonbContext<'_>>) -> bool {
    evaluate(user_id, flag, context, |decision| {
        decision.is_some_and(|decision| decision.value.get() == "true")
    })
}

/// Why a flag has the value it has.
#[pg_extern]
fn ab_flag_reason(
    user_id: Option<&str>,
    flag: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> &'static str {
    evaluate(user_id, flag, context, |decision| {
        decision.map_or(FlagReason::NotFound, |decision| decision.reason).as_str()
    })
}

fn evaluate<T>(
    user_id: Option<&str>,
    flag: Option<&str>,
    context: Option<JsonbContext<'_>>,
    answer: impl FnOnce(Option<FlagDecision<'_>>) -> T,
) -> T {
    let Some(flag) = configuration::find::<Flag>(flag.unwrap_or_default()) else { return answer(None) };
    let settings = configuration::workspace();
    let session = Session { workspace: &settings };
    answer(Some(flag.evaluate(&Evaluation::new(subject(user_id, context.as_ref()), &session))))
}
