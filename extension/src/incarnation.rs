//! Transaction ids that stay ascending when a database moves to another cluster.
//!
//! The roll-up goes by the ids of transactions, and a dump carries the ids of the cluster it was made in. So each id is
//! stored with the number of the cluster in this database's life: everything from before a restore is below
//! everything after it, and the roll-up needs no special case.

use std::cell::Cell;

use pgrx::prelude::*;

use crate::{configuration, owner};

/// Leaves 48 bits for the 64-bit transaction id, more than a cluster can use in its life.
const TRANSACTION_BITS: u32 = 48;

thread_local! {
    /// The generation in which the number was looked up, and the number in its place.
    static KNOWN: Cell<Option<(u64, i64)>> = const { Cell::new(None) };
}

/// What is added to transaction ids of this cluster.
#[pg_extern]
fn incarnation() -> i64 {
    let generation = configuration::generation();
    if let Some((known, base)) = KNOWN.get()
        && known == generation
    {
        return base;
    }
    // SAFETY: plain call into the server.
    #[expect(unsafe_code, reason = "call into the server")]
    let cluster = unsafe { pg_sys::GetSystemIdentifier() };
    let relation = owner::signal_relation().unwrap_or(pg_sys::InvalidOid);
    let origin = format!("{cluster}/{}", relation.to_u32());
    let number = look_up(&origin).unwrap_or_else(|| {
        // The row may be rolled back with this transaction, and then so must be what is remembered of it.
        configuration::loaded_in_transaction();
        owner::first_text(c"select ab_internal.add_incarnation($1)::pg_catalog.text", &[&origin], true)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| error!("cannot tell which cluster this is; is the extension installed?"))
    });
    let base = number << TRANSACTION_BITS;
    KNOWN.set(Some((configuration::generation(), base)));
    base
}

/// The calling top-level transaction, as events and the roll-up name it.
#[pg_extern]
fn event_transaction() -> i64 {
    // SAFETY: plain call into the server; it assigns the id that the event's row would need anyway.
    #[expect(unsafe_code, reason = "call into the server")]
    let transaction = unsafe { pg_sys::GetTopFullTransactionId() }.value;
    incarnation() + transaction as i64
}

fn look_up(origin: &str) -> Option<i64> {
    owner::first_text(
        c"select i.incarnation::pg_catalog.text from ab_internal.incarnation i where i.origin operator(pg_catalog.=) $1",
        &[origin],
        false,
    )?
    .parse()
    .ok()
}
