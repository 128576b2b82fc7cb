//! The glue between the engine and PostgreSQL, and the only crate that names pgrx.
//!
//! Every function here is declared by hand in `sql/`, where users look for it; here are the bodies. What decides,
//! checks or calculates is in `core`; what stores and counts is in `sql/`.

#![expect(
    clippy::result_large_err,
    reason = "every error ends in a report to PostgreSQL, and none is on a hot path"
)]

mod allocation;
mod assignment;
mod call;
mod configuration;
mod context;
mod environment;
mod error;
mod event;
mod explanation;
mod flag;
mod incarnation;
mod owner;
mod past;
mod rule;
mod segment;
mod statement;
mod statistics;
mod worker;
mod workspace;

pgrx::pg_module_magic!(name, version);

/// Runs once in each backend, when it first uses the library; nothing but the background worker needs
/// `shared_preload_libraries`.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    workspace::define();
    statement::register();
    configuration::register();
    worker::register();
}
