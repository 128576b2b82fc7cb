//! When a statement begins: the moment at which a backend looks whether its configuration is still the newest.
//!
//! A function call takes no lock on a relation, so nothing else would make an open transaction notice a change. Looking
//! at every call would let the answers change in the middle of one statement.

use std::cell::Cell;

use pgrx::{pg_guard, pg_sys};

/// From the epoch of PostgreSQL, 2000-01-01, to that of Unix, in microseconds.
pub const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// What tells one statement from another, also within functions and loops that the client sees as a single one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Statement {
    started_at: i64,
    xmin: pg_sys::TransactionId,
    xmax: pg_sys::TransactionId,
    in_progress: u32,
    command: pg_sys::CommandId,
    is_parallel: bool,
}

/// The last statement seen, and how many there were. A plain static, because a backend is one thread and every row looks
/// here: finding the variable of a thread takes longer than reading it.
static LAST: OneThread<(Option<Statement>, u64)> = OneThread(Cell::new((None, 0)));

struct OneThread<T>(Cell<T>);

// SAFETY: PostgreSQL runs the functions of an extension on the only thread of its process.
#[expect(unsafe_code, reason = "a static must be for all threads")]
unsafe impl<T> Sync for OneThread<T> {}

#[expect(
    unsafe_code,
    reason = "functions of the server that pgrx would wrap at a cost we cannot pay for each row"
)]
mod server {
    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        pub safe fn ActiveSnapshotSet() -> bool;
        pub fn GetActiveSnapshot() -> pg_sys::Snapshot;
        pub safe fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
        pub safe fn IsInParallelMode() -> bool;
    }
}

/// The snapshot that is held, and for which statement.
static HELD: OneThread<Option<(u64, pg_sys::Snapshot)>> = OneThread(Cell::new(None));

/// Asks the server to be told when a transaction is about to end.
pub fn register() {
    // SAFETY: the callback is a function of this library, which a backend never unloads.
    #[expect(unsafe_code, reason = "call into the server")]
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut())
    };
}

/// The snapshot by which this statement looks at our tables: the latest when it first looks, and then the same to its end,
/// so that the configuration and the lists that go with it are of one moment. `None` in a parallel plan, where the latest
/// cannot be had, and what is shared with the others is the active one.
pub fn snapshot() -> Option<pg_sys::Snapshot> {
    if server::IsInParallelMode() {
        return None;
    }
    let serial = serial();
    if let Some((held_for, snapshot)) = HELD.0.get()
        && held_for == serial
    {
        return Some(snapshot);
    }
    release();
    // SAFETY: a transaction is open, because a function is being called. The snapshot belongs to the transaction and not
    // to the statement, whose own resources are given up before anybody could tell us; `transaction_ends` gives it back.
    #[expect(unsafe_code, reason = "calls into the server")]
    let snapshot = unsafe {
        pg_sys::RegisterSnapshotOnOwner(pg_sys::GetLatestSnapshot(), pg_sys::TopTransactionResourceOwner)
    };
    HELD.0.set(Some((serial, snapshot)));
    Some(snapshot)
}

fn release() {
    if let Some((_, snapshot)) = HELD.0.take() {
        // SAFETY: registered with this owner, not given back since, and the transaction is still open.
        #[expect(unsafe_code, reason = "call into the server")]
        unsafe {
            pg_sys::UnregisterSnapshotFromOwner(snapshot, pg_sys::TopTransactionResourceOwner)
        };
    }
}

#[pg_guard]
extern "C-unwind" fn transaction_ends(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_PARALLEL_ABORT};
    use pg_sys::XactEvent::{XACT_EVENT_PARALLEL_PRE_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE};
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PARALLEL_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => release(),
        // The server gives back all that an aborted transaction holds.
        XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT => HELD.0.set(None),
        _ => {}
    }
}

/// The time of the client's statement, in microseconds since 1970: the clock by which experiments begin and end.
#[inline]
pub fn started_at() -> i64 {
    server::GetCurrentStatementStartTimestamp() + POSTGRES_EPOCH
}

/// A number that changes with each statement; before it does, pending invalidations are accepted.
#[inline]
pub fn serial() -> u64 {
    let statement = current();
    let (last, serial) = LAST.0.get();
    if last == Some(statement) {
        return serial;
    }
    // SAFETY: plain call into the server, through pgrx's guard because it runs callbacks.
    #[expect(unsafe_code, reason = "call into the server")]
    unsafe {
        pg_sys::AcceptInvalidationMessages()
    };
    LAST.0.set((Some(statement), serial + 1));
    serial + 1
}

#[inline]
fn current() -> Statement {
    let started_at = server::GetCurrentStatementStartTimestamp();
    if !server::ActiveSnapshotSet() {
        return Statement {
            started_at,
            xmin: 0.into(),
            xmax: 0.into(),
            in_progress: 0,
            command: 0,
            is_parallel: false,
        };
    }
    // SAFETY: there is an active snapshot, so the pointer is to it, and it stays active during this call. None of the
    // three functions can raise an error.
    #[expect(unsafe_code, reason = "reads the fields of the server's active snapshot")]
    let snapshot = unsafe { &*server::GetActiveSnapshot() };
    Statement {
        started_at,
        xmin: snapshot.xmin,
        xmax: snapshot.xmax,
        in_progress: snapshot.xcnt,
        command: snapshot.curcid,
        is_parallel: server::IsInParallelMode(),
    }
}

/// Whether the statement is part of a parallel plan in a transaction that keeps one snapshot to its end.
pub fn is_parallel_and_fixed() -> bool {
    // SAFETY: plain variable of the server, read on its only thread.
    #[expect(unsafe_code, reason = "variable of the server")]
    let isolation = unsafe { pg_sys::XactIsoLevel } as u32;
    server::IsInParallelMode() && isolation >= pg_sys::XACT_REPEATABLE_READ
}
