//! The backend's copy of the configuration: what it has used, compiled, until something changes.
//!
//! The signal is the invalidation of one empty relation, which PostgreSQL brings to every backend when the change
//! commits. Its callback may only count; everything else happens when the next statement asks (see `statement`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use ab_core::Error;
use ab_core::document::{ExperimentDocument, FlagDocument, SegmentDocument, WorkspaceDocument};
use ab_core::experiment::Experiment;
use ab_core::flag::Flag;
use ab_core::segment::Segment;
use ab_core::workspace::Workspace;
use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{owner, statement, workspace};

/// Names that do not exist are remembered too, but a caller who makes names up must not fill the memory.
const MOST_ENTRIES: usize = 50_000;

/// The entries of one kind: each the compiled thing, or the knowledge that there is none of that name.
type Entries<T> = HashMap<String, Option<Arc<T>>>;

/// Something that the database publishes documents of.
pub trait Published: Sized {
    /// As its documents are read.
    type Document: DeserializeOwned;
    /// As the database calls the kind.
    const KIND: &'static str;

    /// Checks a document and makes it ready.
    fn compile(document: Self::Document) -> Result<Self, Error>;

    /// Where the entries of this kind are.
    fn entries(known: &mut Known) -> &mut Entries<Self>;
}

/// One state of a workspace's configuration, its numbers as the queries take them. Everything is loaded as it was in one
/// of them, so that no statement is answered by half of a change.
#[derive(Clone)]
struct State {
    workspace_id: String,
    version: String,
}

/// What is known of one workspace.
#[derive(Default)]
pub struct Known {
    /// As of when all of this was loaded; `None` before the first load, and where there is no such workspace.
    state: Option<State>,
    /// The last statement in which that was found to be the state at which the statement looks at tables.
    confirmed: u64,
    settings: Entries<Workspace>,
    experiments: Entries<Experiment>,
    flags: Entries<Flag>,
    segments: Entries<Segment>,
    /// Those that can give anybody a variant, by key, once they have been asked for.
    live: Option<Arc<[Arc<Experiment>]>>,
}

macro_rules! published {
    ($($kind:literal: $compiled:ty, $document:ty, $entries:ident;)*) => {
        $(impl Published for $compiled {
            type Document = $document;
            const KIND: &'static str = $kind;

            fn compile(document: $document) -> Result<$compiled, Error> {
                <$compiled>::compile(document)
            }

            fn entries(known: &mut Known) -> &mut Entries<$compiled> {
                &mut known.$entries
            }
        })*
    };
}

published! {
    "workspace": Workspace, WorkspaceDocument, settings;
    "experiment": Experiment, ExperimentDocument, experiments;
    "flag": Flag, FlagDocument, flags;
    "segment": Segment, SegmentDocument, segments;
}

thread_local! {
    /// How many times something may have changed. Only ever counted up.
    static GENERATION: Cell<u64> = const { Cell::new(1) };
    /// The relation whose invalidation is the signal; invalid until first looked up.
    static SIGNAL: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
    /// Whether this transaction has loaded something that its abort must take back.
    static LOADED: Cell<bool> = const { Cell::new(false) };
    /// Whether something was loaded under a statement's own snapshot, which may be old by the next statement.
    static LOADED_IN_PARALLEL: Cell<bool> = const { Cell::new(false) };
    static COPY: RefCell<Copy> = RefCell::new(Copy::default());
}

#[derive(Default)]
struct Copy {
    /// The generation and the statement up to which what is known is known to be good.
    generation: u64,
    serial: u64,
    workspace: Vec<u8>,
    known: Known,
    /// Whether this session ever looked at lists, which are in tables and not in here: from then on each statement must
    /// begin with what is known being of the moment at which it will look at them.
    uses_lists: bool,
    /// Of workspaces that were the session's before: a query may go to and fro between several, row by row.
    elsewhere: HashMap<Vec<u8>, Known>,
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

/// What has this name in the session's workspace, as of the newest commit that the current statement can know of.
pub fn find<T: Published>(key: &str) -> Option<Arc<T>> {
    let serial = statement::serial();
    let must_be_confirmed = COPY.with_borrow_mut(|copy| {
        workspace::with_current(|current| {
            let is_new = copy.serial != serial || copy.workspace != current;
            if is_new {
                copy.refresh(serial, current);
            }
            is_new && copy.uses_lists
        })
    });
    if must_be_confirmed {
        confirm();
    }
    let known = COPY.with_borrow_mut(|copy| {
        // Given away rather than lent: deciding may run SQL, and that must not find the copy borrowed.
        T::entries(&mut copy.known).get(key).cloned()
    });
    known.unwrap_or_else(|| load(key))
}

/// Sees to it that what is known, from this statement on, is of the moment at which lists are looked at.
pub fn confirm_for_lists() {
    COPY.with_borrow_mut(|copy| copy.uses_lists = true);
    confirm();
}

/// Forgets what is known of the workspace unless it is of the moment at which this statement looks at tables: a change may
/// be seen there before it is signalled.
fn confirm() {
    let serial = statement::serial();
    let Some(state) =
        COPY.with_borrow(|copy| copy.known.state.clone().filter(|_| copy.known.confirmed != serial))
    else {
        return;
    };
    let is_current = current_version(&state.workspace_id).is_some_and(|version| version == state.version);
    COPY.with_borrow_mut(|copy| {
        if is_current {
            copy.known.confirmed = serial;
        } else {
            copy.known = Known::default();
        }
    });
}

/// Every experiment of the session's workspace that can give anybody a variant, by key.
pub fn live_experiments() -> Arc<[Arc<Experiment>]> {
    // Brings the copy up to this statement.
    let _ = workspace();
    if let Some(live) = COPY.with_borrow(|copy| copy.known.live.clone()) {
        return live;
    }
    let workspace = workspace::current();
    let documents: Vec<Box<RawValue>> = state_to_load(&workspace)
        .and_then(|state| {
            let documents = c"select ab_internal.documents($1::pg_catalog.int4, $2, $3::pg_catalog.int8)";
            owner::first_text(documents, &[&state.workspace_id, Experiment::KIND, &state.version], false)
        })
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    let mut live: Vec<Arc<Experiment>> = documents
        .iter()
        .filter_map(|document| compile::<Experiment>(document.get()))
        .filter(Experiment::is_live)
        .map(Arc::new)
        .collect();
    live.sort_by(|left, right| left.key().cmp(right.key()));
    let live: Arc<[Arc<Experiment>]> = live.into();
    COPY.with_borrow_mut(|copy| {
        if copy.workspace == workspace.as_bytes() {
            copy.known.live = Some(Arc::clone(&live));
        }
    });
    live
}

/// What holds for the whole of the session's workspace.
pub fn workspace() -> Arc<Workspace> {
    find(&workspace::current()).unwrap_or_default()
}

impl Copy {
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
                self.known = Known::default();
                self.elsewhere.clear();
                self.generation = generation;
            }
        }
        if self.workspace != workspace {
            let left = std::mem::replace(&mut self.workspace, workspace.to_vec());
            let known = self.elsewhere.remove(workspace).unwrap_or_default();
            self.elsewhere.insert(left, std::mem::replace(&mut self.known, known));
        }
    }

    fn len(&self) -> usize {
        // A workspace without entries takes its place too.
        self.known.len() + self.elsewhere.values().map(|known| known.len() + 1).sum::<usize>()
    }
}

impl Known {
    fn len(&self) -> usize {
        self.settings.len() + self.experiments.len() + self.flags.len() + self.segments.len()
    }
}

#[cold]
fn load<T: Published>(key: &str) -> Option<Arc<T>> {
    let workspace = workspace::current();
    let entry: Option<Arc<T>> = state_to_load(&workspace)
        .and_then(|state| {
            owner::first_text(
                c"select p.document::pg_catalog.text
                    from ab.configuration p
                    where p.workspace_id operator(pg_catalog.=) $1::pg_catalog.int4
                        and p.kind operator(pg_catalog.=) $2
                        and p.key::pg_catalog.text operator(pg_catalog.=) $3
                        and p.version operator(pg_catalog.<=) $4::pg_catalog.int8
                    order by p.version desc
                    limit 1",
                &[&state.workspace_id, T::KIND, key, &state.version],
                false,
            )
        })
        .and_then(|document| compile(&document))
        .map(Arc::new);
    COPY.with_borrow_mut(|copy| {
        // For the rest of this statement in any case, so that all of it is answered alike. The entries are of a generation
        // from before the snapshot: a change that has arrived since makes the next statement drop them.
        let has_room = entry.is_some() || copy.len() < MOST_ENTRIES;
        if has_room && copy.workspace == workspace.as_bytes() {
            T::entries(&mut copy.known).insert(key.to_owned(), entry.clone());
        }
    });
    entry
}

/// The state that whatever is loaded next must be of: that of what is known of the workspace already, else the newest.
///
/// One row after the other, each by its key: to plan a join of the three tables takes a new session longer than to read
/// them. The casts of keys, which are a domain, name the operator: without them it goes through every "=" there is.
fn state_to_load(workspace: &str) -> Option<State> {
    prepare_to_load();
    let known = COPY.with_borrow(|copy| {
        (copy.workspace == workspace.as_bytes()).then(|| copy.known.state.clone()).flatten()
    });
    if known.is_some() {
        return known;
    }
    let workspace_id = owner::first_text(
        c"select w.workspace_id::pg_catalog.text from ab.workspace w where w.workspace::pg_catalog.text operator(pg_catalog.=) $1",
        &[workspace],
        false,
    )?;
    let version = current_version(&workspace_id)?;
    let state = State { workspace_id, version };
    COPY.with_borrow_mut(|copy| {
        if copy.workspace == workspace.as_bytes() {
            copy.known.state = Some(state.clone());
            copy.known.confirmed = statement::serial();
        }
    });
    Some(state)
}

fn current_version(workspace_id: &str) -> Option<String> {
    owner::first_text(
        c"select v.version::pg_catalog.text
            from ab_internal.config_version v
            where v.workspace_id operator(pg_catalog.=) $1::pg_catalog.int4",
        &[workspace_id],
        false,
    )
}

/// Notes what a load of configuration under way means for what is kept of it.
fn prepare_to_load() {
    // A new extension has a new relation; its dropping was signalled by the old one, which led here.
    SIGNAL.set(owner::signal_relation().unwrap_or(pg_sys::InvalidOid));
    LOADED.set(true);
    // SAFETY: plain question to the server.
    #[expect(unsafe_code, reason = "call into the server")]
    if unsafe { pg_sys::IsInParallelMode() } {
        LOADED_IN_PARALLEL.set(true);
    }
}

/// A document that cannot be used is as good as none: a SELECT over millions of users must not die of one experiment.
pub fn compile<T: Published>(json: &str) -> Option<T> {
    let compiled = serde_json::from_str::<T::Document>(json)
        .map_err(|error| error.to_string())
        .and_then(|document| T::compile(document).map_err(|error| error.message));
    match compiled {
        Ok(compiled) => Some(compiled),
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
