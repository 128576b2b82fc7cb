//! Runs the query of a segment as its owner, and lets it do nothing but read.
//!
//! The privileges are those of whoever wrote the query, whoever refreshes it, as with a materialized view. It is held to
//! one SELECT without volatile functions; while it runs the transaction is read-only, so that what a function calls
//! inside cannot write either; and settings that such a function changes end with it.

use std::ffi::{CStr, CString};

use ab_core::{Code, Error};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};

use crate::error::report;
use crate::owner::Identity;

/// Rows taken from the query at a time.
const FETCH: i64 = 10_000;

/// The first column of every row of `query`, run as whoever calls: what no definer's rights can be borrowed for.
#[pg_extern]
fn query_as_caller(query: &str) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    // SAFETY: plain question to the server.
    #[expect(unsafe_code, reason = "call into the server")]
    run_as(query, unsafe { pg_sys::GetUserId() })
}

/// The first column of every row of `query`, run as `owner_role`.
#[pg_extern]
fn segment_query(query: &str, owner_role: &str) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    let Ok(role) = CString::new(owner_role) else {
        return Err(refused("belongs to nobody".to_owned()));
    };
    // SAFETY: a look-up in the catalogue that is asked not to raise.
    #[expect(unsafe_code, reason = "call into the server")]
    let owner = unsafe { pg_sys::get_role_oid(role.as_ptr(), true) };
    if owner == pg_sys::InvalidOid {
        return Err(refused(format!(
            "belongs to role \"{}\", which does not exist",
            ab_core::event::excerpt(owner_role)
        )));
    }
    run_as(query, owner)
}

fn refused(problem: String) -> ErrorReport {
    report(Error::new(
        Code::InvalidQuery,
        format!("segment query {problem}"),
        "write one SELECT of one column of user ids; name tables that its owner may read with their schema, and call no volatile function",
    ))
}

fn run_as(query: &str, owner: pg_sys::Oid) -> Result<SetOfIterator<'static, String>, ErrorReport> {
    let Ok(text) = CString::new(query) else { return Err(refused("holds a NUL".to_owned())) };
    let outcome = PgTryBuilder::new(|| {
        let _identity = Identity::assume(owner);
        let _settings = Settings::keep();
        let _only_reading = OnlyReading::begin();
        read(&text)
    })
    .catch_others(|error| match error {
        pg_sys::panic::CaughtError::PostgresError(raised)
        | pg_sys::panic::CaughtError::ErrorReport(raised)
            if is_of_the_query(raised.sql_error_code()) =>
        {
            Err(format!("fails: {}", raised.message()))
        }
        other => other.rethrow(),
    })
    .execute();
    outcome.map(SetOfIterator::new).map_err(refused)
}

/// Whether an error says something about the query; anything else, such as a cancellation, goes its own way.
fn is_of_the_query(code: PgSqlErrorCode) -> bool {
    !matches!(
        code,
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY
    )
}

#[expect(unsafe_code, reason = "calls into the server")]
fn read(query: &CStr) -> Result<Vec<String>, String> {
    // SAFETY: connect and finish are paired; an error in between leaves by unwinding and ends the transaction or
    // subtransaction, which releases the connection. What is read from a result is copied before it is freed.
    unsafe {
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
            error!("cannot connect to the server programming interface");
        }
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut());
        let found = if plan.is_null() {
            Err("cannot be prepared".to_owned())
        } else {
            check(plan).and_then(|()| fetch(plan))
        };
        pg_sys::SPI_finish();
        found
    }
}

#[expect(unsafe_code, reason = "calls into the server")]
unsafe fn check(plan: pg_sys::SPIPlanPtr) -> Result<(), String> {
    // SAFETY: the plan was just prepared; its sources and their queries live with it.
    unsafe {
        if !pg_sys::SPI_is_cursor_plan(plan) {
            return Err("is not one statement that returns rows".to_owned());
        }
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        let source = pg_sys::list_nth(sources, 0).cast::<pg_sys::CachedPlanSource>();
        let queries = (*source).query_list;
        for index in 0..(*queries).length {
            let query = pg_sys::list_nth(queries, index).cast::<pg_sys::Query>();
            if (*query).commandType != pg_sys::CmdType::CMD_SELECT || (*query).hasModifyingCTE {
                return Err("does more than read".to_owned());
            }
            if !(*query).rowMarks.is_null() {
                return Err("locks rows".to_owned());
            }
            if pg_sys::contain_volatile_functions(query.cast()) {
                return Err("calls a volatile function".to_owned());
            }
        }
        let columns = (*source).resultDesc;
        match if columns.is_null() { 0 } else { (*columns).natts } {
            1 => Ok(()),
            0 => Err("returns no column".to_owned()),
            _ => Err("returns more than one column".to_owned()),
        }
    }
}

#[expect(unsafe_code, reason = "calls into the server")]
unsafe fn fetch(plan: pg_sys::SPIPlanPtr) -> Result<Vec<String>, String> {
    // SAFETY: as for `read`.
    unsafe {
        let cursor =
            pg_sys::SPI_cursor_open(std::ptr::null(), plan, std::ptr::null_mut(), std::ptr::null(), true);
        let mut members = Vec::new();
        loop {
            pg_sys::SPI_cursor_fetch(cursor, true, FETCH);
            let rows = pg_sys::SPI_processed as usize;
            if rows == 0 {
                break;
            }
            let table = &*pg_sys::SPI_tuptable;
            for row in 0..rows {
                let text = pg_sys::SPI_getvalue(*table.vals.add(row), table.tupdesc, 1);
                if text.is_null() {
                    continue;
                }
                let member = CStr::from_ptr(text).to_string_lossy().into_owned();
                pg_sys::pfree(text.cast());
                if ab_core::event::is_user_id(&member) {
                    members.push(member);
                } else {
                    return Err(format!(
                        "returns \"{}\", which cannot be a user id",
                        ab_core::event::excerpt(&member)
                    ));
                }
            }
            pg_sys::SPI_freetuptable(pg_sys::SPI_tuptable);
        }
        pg_sys::SPI_cursor_close(cursor);
        Ok(members)
    }
}

/// Makes the transaction read-only until this goes out of scope, also by an error.
struct OnlyReading {
    before: bool,
}

impl OnlyReading {
    fn begin() -> OnlyReading {
        // SAFETY: a plain variable of the server, on its only thread; aborts of transactions set it anew by themselves.
        #[expect(unsafe_code, reason = "variable of the server")]
        unsafe {
            let before = pg_sys::XactReadOnly;
            pg_sys::XactReadOnly = true;
            OnlyReading { before }
        }
    }
}

impl Drop for OnlyReading {
    fn drop(&mut self) {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "variable of the server")]
        unsafe {
            pg_sys::XactReadOnly = self.before
        };
    }
}

/// The settings of the session, given back when this goes out of scope, also by an error. Whoever refreshes a segment
/// would otherwise go on with a search path that its owner chose.
struct Settings {
    level: i32,
}

impl Settings {
    fn keep() -> Settings {
        // SAFETY: counts a level up; as PostgreSQL does before it runs maintenance code of another owner.
        #[expect(unsafe_code, reason = "call into the server")]
        Settings { level: unsafe { pg_sys::NewGUCNestLevel() } }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        // SAFETY: the level was opened by `keep` and is open still: nothing that runs in between ends a transaction.
        #[expect(unsafe_code, reason = "call into the server")]
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.level)
        };
    }
}
