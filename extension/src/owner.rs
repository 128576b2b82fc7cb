//! Queries of our own tables with the rights of whoever owns the extension.
//!
//! What a backend caches must not depend on who happened to ask first, nor on a snapshot taken before the change that
//! made it ask. Hence the owner's rights, and a snapshot of our own rather than the query's (see `statement`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char};

use pgrx::prelude::*;
use pgrx::{IntoDatum, pg_sys};

use crate::statement;

thread_local! {
    /// Plans by the address of their query: each is asked for again and again, by millions of rows.
    static PLANS: RefCell<HashMap<*const c_char, pg_sys::SPIPlanPtr>> = RefCell::default();
}

/// The relation whose invalidation signals a change of configuration, if the extension is installed.
pub fn signal_relation() -> Option<pg_sys::Oid> {
    // SAFETY: look-ups in the catalogue cache with constant names; the second is asked not to raise.
    #[expect(unsafe_code, reason = "calls into the server")]
    unsafe {
        let namespace = pg_sys::get_namespace_oid(c"ab_internal".as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let relation = pg_sys::get_relname_relid(c"config_signal".as_ptr(), namespace);
        (relation != pg_sys::InvalidOid).then_some(relation)
    }
}

/// The first column, as text, of the first row that `query` gives with text `arguments`; `None` without a row or without
/// an installed extension. `writes` says whether the query does.
pub fn first_text(query: &'static CStr, arguments: &[&str], writes: bool) -> Option<String> {
    let owner = owner_of(signal_relation()?)?;
    let mut values: Vec<pg_sys::Datum> =
        arguments.iter().map(|argument| argument.into_datum().expect("a text is never null")).collect();
    let _identity = Identity::assume(owner);
    let snapshot = if writes { None } else { statement::snapshot() };
    // SAFETY: connect, execute and finish are paired, and the result is copied in between. An error leaves by unwinding
    // and ends the transaction or subtransaction, which releases the connection and the snapshot.
    #[expect(
        unsafe_code,
        reason = "pgrx's own interface would assign a transaction id or choose the snapshot itself"
    )]
    unsafe {
        if let Some(snapshot) = snapshot {
            pg_sys::PushActiveSnapshot(snapshot);
        }
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
            error!("cannot connect to the server programming interface");
        }
        let plan = plan(query, arguments.len());
        let status = pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), std::ptr::null(), !writes, 1);
        if status < 0 {
            error!("cannot run a query of pg_ab: status {status}");
        }
        let found = if pg_sys::SPI_processed == 0 || pg_sys::SPI_tuptable.is_null() {
            None
        } else {
            let table = &*pg_sys::SPI_tuptable;
            let text = pg_sys::SPI_getvalue(*table.vals, table.tupdesc, 1);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        pg_sys::SPI_finish();
        if snapshot.is_some() {
            pg_sys::PopActiveSnapshot();
        }
        found
    }
}

/// The plan of `query`, kept from the first time on; PostgreSQL itself sees to it that it never goes stale.
#[expect(unsafe_code, reason = "calls into the server")]
fn plan(query: &'static CStr, arguments: usize) -> pg_sys::SPIPlanPtr {
    if let Some(plan) = PLANS.with_borrow(|plans| plans.get(&query.as_ptr()).copied()) {
        return plan;
    }
    let mut types = vec![pg_sys::TEXTOID; arguments];
    // SAFETY: called with an open connection to the server programming interface. A kept plan stays for the session.
    let plan = unsafe {
        let plan = pg_sys::SPI_prepare(query.as_ptr(), arguments as i32, types.as_mut_ptr());
        if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
            let status = pg_sys::SPI_result;
            error!("cannot prepare a query of pg_ab: status {status}");
        }
        plan
    };
    PLANS.with_borrow_mut(|plans| plans.insert(query.as_ptr(), plan));
    plan
}

fn owner_of(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: the entry is null or valid until closed; only a plain field is read in between.
    #[expect(unsafe_code, reason = "calls into the server")]
    unsafe {
        let entry = pg_sys::RelationIdGetRelation(relation);
        if entry.is_null() {
            return None;
        }
        let owner = (*(*entry).rd_rel).relowner;
        pg_sys::RelationClose(entry);
        Some(owner)
    }
}

/// The caller's identity, given back when this goes out of scope, also by an error.
pub struct Identity {
    user: pg_sys::Oid,
    context: i32,
}

impl Identity {
    /// Acts as `owner` from here on, in a way that cannot change the session.
    pub fn assume(owner: pg_sys::Oid) -> Identity {
        let mut before = Identity { user: pg_sys::InvalidOid, context: 0 };
        // SAFETY: both pointers are to fields of `before`. The context bits are those PostgreSQL itself uses to run
        // maintenance code of another owner.
        #[expect(unsafe_code, reason = "calls into the server")]
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context);
            pg_sys::SetUserIdAndSecContext(
                owner,
                before.context
                    | (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION) as i32,
            );
        }
        before
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: gives back what `assume` was told; it only sets two variables and cannot raise.
        #[expect(unsafe_code, reason = "call into the server")]
        unsafe {
            pg_sys::SetUserIdAndSecContext(self.user, self.context)
        };
    }
}
