//! The engine of pg_ab: who sees which variant, what an event must look like, and what the numbers say.
//!
//! The extension and the gateway both compile the same configuration document with this crate, so that SQL and
//! HTTP cannot answer differently. Hence it is pure: no clock, no randomness, no I/O and no floating point in
//! assignment. Whoever calls it brings the time and the identifiers.

#![forbid(unsafe_code)]

pub mod allocation;
pub mod analysis;
pub mod bot;
pub mod bucket;
pub mod context;
pub mod decision;
pub mod document;
pub mod error;
pub mod event;
pub mod experiment;
pub mod flag;
pub mod key;
pub mod memory;
pub mod prerequisite;
pub mod rule;
pub mod schedule;
pub mod segment;
pub mod statistics;
pub mod time;
pub mod workspace;

pub use error::{Code, Error, Kind};
