//! The engine's rules about events, for `ab_track`.

use ab_core::event::{self, Draft};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use uuid::Uuid;

use crate::error::report;
use crate::statement::POSTGRES_EPOCH;

/// Raises what the engine finds wrong with an event; a NULL where something must be counts as empty.
#[pg_extern]
fn check_event(
    user_id: Option<&str>,
    event_name: Option<&str>,
    event_type: Option<&str>,
    value: Option<f64>,
    properties: Option<&str>,
    experiment: Option<&str>,
    variant: Option<&str>,
) -> Result<(), ErrorReport> {
    event::check(&Draft {
        user_id: user_id.unwrap_or_default(),
        event_type: event_type.unwrap_or_default(),
        event_name: event_name.unwrap_or_default(),
        value,
        properties,
        experiment,
        variant,
    })
    .map_err(report)
}

/// The time of an event's identity.
#[pg_extern]
fn identify_event_time(
    event_id: pgrx::Uuid,
    event_time: Option<TimestampWithTimeZone>,
) -> Result<TimestampWithTimeZone, ErrorReport> {
    let id = Uuid::from_bytes(*event_id.as_bytes());
    let given = event_time.map(|time| pg_sys::TimestampTz::from(time).saturating_add(POSTGRES_EPOCH));
    let now = now();
    let identity = event::identify(Some(&id.to_string()), given, id, now).map_err(report)?;
    TimestampWithTimeZone::try_from(identity.event_time - POSTGRES_EPOCH).map_err(|_| {
        report(ab_core::Error::new(
            ab_core::Code::InvalidEventTime,
            "event time is out of range",
            "send another time",
        ))
    })
}

/// A UUIDv7 of now.
#[pg_extern]
fn new_event_id() -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(*Uuid::now_v7().as_bytes())
}

/// The clock, in microseconds since 1970: an event happens when it is sent, not when its transaction began.
fn now() -> i64 {
    // SAFETY: plain call into the server.
    #[expect(unsafe_code, reason = "call into the server")]
    unsafe {
        pg_sys::GetCurrentTimestamp() + POSTGRES_EPOCH
    }
}
