//! How the engine's errors look to SQL: SQLSTATE by kind, the code in DETAIL, the advice in HINT.

use ab_core::{Code, Error, Kind};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// The report PostgreSQL raises for `error`.
pub fn report(error: Error) -> ErrorReport {
    let sqlstate = match error.code.kind() {
        Kind::InvalidArgument => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        Kind::InvalidTime => PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
        Kind::NotFound => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        Kind::Exists => PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
        Kind::WrongState => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        Kind::CorruptConfiguration => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
    };
    ErrorReport::new(sqlstate, error.message, "pg_ab")
        .set_detail(format!("code={}", error.code.as_str()))
        .set_hint(error.hint)
}

/// Raises the error that SQL names by its code, so that both languages share one list.
#[pg_extern]
fn raise(code: &str, message: &str, hint: &str) -> Result<(), ErrorReport> {
    match Code::parse(code) {
        Some(code) => Err(report(Error::new(code, message, hint))),
        None => Err(ErrorReport::new(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("error code \"{code}\" is not in core/src/error.rs"),
            "pg_ab",
        )),
    }
}

/// Raises unless `key` can be a key.
#[pg_extern]
fn check_key(role: &str, key: Option<&str>) -> Result<(), ErrorReport> {
    ab_core::key::check(role, key.unwrap_or_default()).map_err(report)
}
