//! The backend's copy of the configuration: the experiments it has used, compiled, until something changes.
//!
//! The signal is the invalidation of one empty relation, which PostgreSQL brings to every backend when the change
//! commits. Its callback may only count; everything else happens when the next statement asks (see `statement`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use ab_core::document::ExperimentDocument;
use ab_core::experiment::Experiment;
use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};

use crate::{owner, statement, workspace};

/// Names that do not exist are remembered too, but a caller who makes names up must not fill the memory.
const MOST_ENTRIES: usize = 50_000;

/// One experiment, or the knowledge that there is none of that name.
pub type Entry = Option<Rc<Experiment>>;

thread_local! {
    /// How many times something may have changed. Only ever counted up.
    static GENERATION: Cell<u64> = const { Cell::new(1) };
    /// The relation whose invalidation is the signal; invalid until first looked up.
    static SIGNAL: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
    /// Whether this transaction has loaded something that its abort must take back.
    static LOADED: Cell<bool> = const { Cell::new(false) };
    /// Whether something was loaded under a statement's own snapshot, which may be old by the next statement.
    static LOADED_IN_PARALLEL: Cell<bool> = const { Cell::new(false) };
    static ENTRIES: RefCell<Entries> = RefCell::new(Entries::default());
}

#[derive(Default)]
struct Entries {
    /// The generation and the statement up to which the entries are known to be good.
    generation: u64,
    serial: u64,
    workspace: Vec<u8>,
    by_key: HashMap<String, Entry>,
    /// Those of workspaces that were the session's before: a query may go to and fro between several, row by row.
    elsewhere: HashMap<Vec<u8>, HashMap<String, Entry>>,
}

/// Asks the server to be told of changes and of ends of transactions; callbacks cannot be taken back.
pub fn register() {
    // SAFETY: the callbacks are functions of this library, which a backend never unloads.
    #[expect(unsafe_code, reason = "calls into the server")]
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null());
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_ends), std::ptr::null_mut());
    }
}

/// How many times something may have changed; whoever caches anything else of ours keeps it with this number.
pub fn generation() -> u64 {
    GENERATION.get()
}

/// Tells that this transaction has cached something that its abort must take back.
pub fn loaded_in_transaction() {
    LOADED.set(true);
}

fn count_up() {
    GENERATION.set(GENERATION.get() + 1);
}

#[pg_guard]
extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    let signal = SIGNAL.get();
    if relation == signal || relation == pg_sys::InvalidOid || signal == pg_sys::InvalidOid {
        count_up();
    }
}

#[pg_guard]
extern "C-unwind" fn transaction_ends(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PARALLEL_ABORT};
    use pg_sys::XactEvent::{XACT_EVENT_PARALLEL_COMMIT, XACT_EVENT_PREPARE};
    let aborted = matches!(event, XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT);
    let ended =
        aborted || matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_PARALLEL_COMMIT | XACT_EVENT_PREPARE);
    // A prepared transaction may still be rolled back, and then nobody would tell this session.
    let uncertain = aborted || event == XACT_EVENT_PREPARE;
    if (uncertain && LOADED.get()) || (ended && LOADED_IN_PARALLEL.get()) {
        count_up();
    }
    if ended {
        LOADED.set(false);
        LOADED_IN_PARALLEL.set(false);
    }
}

#[pg_guard]
extern "C-unwind" fn subtransaction_ends(
    event: pg_sys::SubXactEvent::Type,
    _subtransaction: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB && LOADED.get() {
        count_up();
    }
}

/// Gives `use_it` the experiment of this name in the session's workspace, as of the newest commit that the current
/// statement can know of.
#[inline]
pub fn with_experiment<T>(key: &str, use_it: impl FnOnce(Option<&Experiment>) -> T) -> T {
    let serial = statement::serial();
    let known = ENTRIES.with_borrow_mut(|entries| {
        workspace::with_current(|current| {
            if entries.serial != serial || entries.workspace != current {
                entries.refresh(serial, current);
            }
        });
        // The clone is of a reference count: `use_it` may run SQL, and must not find the entries borrowed.
        entries.by_key.get(key).cloned()
    });
    use_it(known.unwrap_or_else(|| load(key)).as_deref())
}

impl Entries {
    #[cold]
    fn refresh(&mut self, serial: u64, workspace: &[u8]) {
        if self.serial != serial {
            self.serial = serial;
            // In a transaction that keeps its snapshot, workers could not load what the leader may have: all forget.
            if LOADED_IN_PARALLEL.replace(false) || statement::is_parallel_and_fixed() {
                count_up();
            }
            let generation = GENERATION.get();
            if self.generation != generation || self.len() > MOST_ENTRIES {
                self.by_key.clear();
                self.elsewhere.clear();
                self.generation = generation;
            }
        }
        if self.workspace != workspace {
            let left = std::mem::replace(&mut self.workspace, workspace.to_vec());
            let entries = self.elsewhere.remove(workspace).unwrap_or_default();
            self.elsewhere.insert(left, std::mem::replace(&mut self.by_key, entries));
        }
    }

    fn len(&self) -> usize {
        // A workspace without entries takes its place too.
        self.by_key.len() + self.elsewhere.values().map(|entries| entries.len() + 1).sum::<usize>()
    }
}

#[cold]
fn load(key: &str) -> Entry {
    let workspace = workspace::with_current(|current| String::from_utf8_lossy(current).into_owned());
    // A new extension has a new relation; its dropping was signalled by the old one, which led here.
    SIGNAL.set(owner::signal_relation().unwrap_or(pg_sys::InvalidOid));
    LOADED.set(true);
    // SAFETY: plain question to the server.
    #[expect(unsafe_code, reason = "call into the server")]
    if unsafe { pg_sys::IsInParallelMode() } {
        LOADED_IN_PARALLEL.set(true);
    }
    let document = owner::first_text(
        c"select document::pg_catalog.text from ab_internal.experiment_documents($1, $2)",
        &[&workspace, key],
        false,
    );
    let entry = document.and_then(|json| compile(&json));
    ENTRIES.with_borrow_mut(|entries| {
        // For the rest of this statement in any case, so that all of it is answered alike. The entries are of a generation
        // from before the snapshot: a change that has arrived since makes the next statement drop them.
        let has_room = entry.is_some() || entries.len() < MOST_ENTRIES;
        if has_room && entries.workspace == workspace.as_bytes() {
            entries.by_key.insert(key.to_owned(), entry.clone());
        }
    });
    entry
}

/// A document that cannot be used is as good as none: a SELECT over millions of users must not die of one experiment.
fn compile(json: &str) -> Entry {
    let compiled = serde_json::from_str::<ExperimentDocument>(json)
        .map_err(|error| error.to_string())
        .and_then(|document| Experiment::compile(document).map_err(|error| error.message));
    match compiled {
        Ok(experiment) => Some(Rc::new(experiment)),
        Err(message) => {
            warning!("{message}");
            None
        }
    }
}

/// Tells every backend, when this transaction commits, that configuration has changed.
#[pg_extern]
fn signal_config_change() {
    if let Some(relation) = owner::signal_relation() {
        // SAFETY: the relation was just looked up; if it is gone by now the server raises an error.
        #[expect(unsafe_code, reason = "call into the server")]
        unsafe {
            pg_sys::CacheInvalidateRelcacheByRelid(relation)
        };
    }
}
