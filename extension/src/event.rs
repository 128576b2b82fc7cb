//! The engine's rules about events, for `ab_track` and for those who store many at once.

use std::borrow::Cow;

use ab_core::event::{self, Draft, json};
use pgrx::Array;
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
    let given = event_time.map(unix_microseconds);
    let now = now();
    let identity = event::identify(Some(&id.to_string()), given, id, now).map_err(report)?;
    timestamp(identity.event_time).map_err(report)
}

/// Events of JSON as the arrays that `store_events` takes, and what is wrong with the others; one row, because a million
/// rows would be put together into arrays again. `items` and `refused` say where in `events` each was, from 1; `received`
/// says of each when it came, if it comes again.
#[pg_extern]
#[expect(clippy::type_complexity, reason = "the shape of a SQL function")]
fn read_events(
    events: Option<Array<'_, &str>>,
    received: Option<Array<'_, TimestampWithTimeZone>>,
) -> TableIterator<
    'static,
    (
        name!(items, Vec<i32>),
        name!(user_ids, Vec<String>),
        name!(event_ids, Vec<pgrx::Uuid>),
        name!(event_times, Vec<TimestampWithTimeZone>),
        name!(event_types, Vec<String>),
        name!(event_names, Vec<String>),
        name!(amounts, Vec<Option<f64>>),
        name!(properties, Vec<String>),
        name!(experiments, Vec<Option<String>>),
        name!(variants, Vec<Option<String>>),
        name!(session_ids, Vec<Option<String>>),
        name!(refused, Vec<i32>),
        name!(codes, Vec<String>),
        name!(messages, Vec<String>),
    ),
> {
    let now = now();
    let mut received = received.iter().flat_map(Array::iter);
    let mut read = Columns::default();
    for (item, text) in (1..).zip(events.iter().flat_map(Array::iter)) {
        // A NULL is no JSON either.
        let text = text.unwrap_or_default();
        let received = received.next().flatten().map(unix_microseconds);
        match json::read(text, Uuid::now_v7, now, received)
            .and_then(|event| Ok((timestamp(event.identity.event_time)?, event)))
        {
            Ok((event_time, event)) => read.add(item, event_time, event),
            Err(error) => {
                read.refused.push(item);
                read.codes.push(error.code.as_str().to_owned());
                read.messages.push(error.message);
            }
        }
    }
    TableIterator::once((
        read.items,
        read.user_ids,
        read.event_ids,
        read.event_times,
        read.event_types,
        read.event_names,
        read.amounts,
        read.properties,
        read.experiments,
        read.variants,
        read.session_ids,
        read.refused,
        read.codes,
        read.messages,
    ))
}

/// What [`read_events`] returns, while it grows.
#[derive(Default)]
struct Columns {
    items: Vec<i32>,
    user_ids: Vec<String>,
    event_ids: Vec<pgrx::Uuid>,
    event_times: Vec<TimestampWithTimeZone>,
    event_types: Vec<String>,
    event_names: Vec<String>,
    amounts: Vec<Option<f64>>,
    properties: Vec<String>,
    experiments: Vec<Option<String>>,
    variants: Vec<Option<String>>,
    session_ids: Vec<Option<String>>,
    refused: Vec<i32>,
    codes: Vec<String>,
    messages: Vec<String>,
}

impl Columns {
    fn add(&mut self, item: i32, event_time: TimestampWithTimeZone, event: json::Event<'_>) {
        self.items.push(item);
        self.user_ids.push(event.user_id.into_owned());
        self.event_ids.push(pgrx::Uuid::from_bytes(*event.identity.event_id.as_bytes()));
        self.event_times.push(event_time);
        self.event_types.push(event.event_type.into_owned());
        self.event_names.push(event.event_name.into_owned());
        self.amounts.push(event.value);
        self.properties.push(event.properties.to_owned());
        self.experiments.push(event.experiment.map(Cow::into_owned));
        self.variants.push(event.variant.map(Cow::into_owned));
        self.session_ids.push(event.session_id.map(Cow::into_owned));
    }
}

fn unix_microseconds(time: TimestampWithTimeZone) -> i64 {
    pg_sys::TimestampTz::from(time).saturating_add(POSTGRES_EPOCH)
}

fn timestamp(microseconds: i64) -> Result<TimestampWithTimeZone, ab_core::Error> {
    TimestampWithTimeZone::try_from(microseconds - POSTGRES_EPOCH).map_err(|_| {
        ab_core::Error::new(
            ab_core::Code::InvalidEventTime,
            "event time is out of range",
            "send another time",
        )
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
