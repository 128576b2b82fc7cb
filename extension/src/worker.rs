//! The background workers: roll up, maintain and refresh without a gateway or a scheduler, where the library is preloaded.
//! Two for each database, because refreshing takes longer than results may stand still.
//!
//! What they do is a function of the extension, which catches its own errors; what escapes nevertheless ends a process,
//! and the server starts it again.

use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Partitions are made a week ahead, and days dropped some hours late do no harm.
const BETWEEN_MAINTENANCE: Duration = Duration::from_secs(3600);
/// How often to ask whether the hour of what is to be refreshed is over: another one may have done it.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(60);
/// How long after its end a worker is started again; a database that is missing is looked for that often.
const RESTART_AFTER: Duration = Duration::from_secs(10);

static INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1);
static DATABASE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"postgres"));

/// Registers a worker for each database named, if the server is about to start; later nobody can.
pub fn register() {
    // SAFETY: reads a variable that is set before any library is loaded.
    #[expect(unsafe_code, reason = "reads a variable of the server")]
    let is_preloading = unsafe { pg_sys::process_shared_preload_libraries_in_progress };
    if !is_preloading {
        return;
    }
    GucRegistry::define_int_guc(
        c"ab.rollup_interval",
        c"Pause between two roll-ups of the background worker.",
        c"Zero turns it off, and maintenance and refreshing with it.",
        &INTERVAL,
        0,
        86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_string_guc(
        c"ab.rollup_database",
        c"Databases in which a background worker rolls up, separated by commas.",
        c"A worker does nothing where the extension is not installed.",
        &DATABASE,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    let databases = DATABASE.get().unwrap_or_default();
    let databases = databases.to_string_lossy();
    for database in databases.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        for refreshes in [false, true] {
            let what = if refreshes { "pg_ab refresh" } else { "pg_ab roll-up" };
            BackgroundWorkerBuilder::new(&format!("{what} of {database}"))
                .set_type(what)
                .set_library("pg_ab")
                .set_function("ab_worker_main")
                .set_argument(refreshes.into_datum())
                .set_extra(database)
                .set_restart_time(Some(RESTART_AFTER))
                .enable_spi_access()
                .load();
        }
    }
}

/// What a worker runs until the server tells it to end.
#[pg_guard]
#[expect(unsafe_code, reason = "the server finds it by its name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ab_worker_main(argument: pg_sys::Datum) {
    end_when_told();
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
    BackgroundWorker::connect_worker_to_spi(Some(BackgroundWorker::get_extra()), None);
    // Whatever the database or the role has been given.
    set(c"search_path", c"pg_catalog, pg_temp");
    set(c"default_transaction_isolation", c"read committed");
    set(c"default_transaction_read_only", c"off");
    let jobs: &mut [Job] = if argument.value() == 0 {
        &mut [
            Job::new("roll up", "the roll-up", Duration::ZERO),
            Job::new("maintain", "maintenance of the event tables", BETWEEN_MAINTENANCE),
        ]
    } else {
        &mut [Job::new("refresh", "refreshing the results for BI", BETWEEN_REFRESHES)]
    };
    loop {
        let seconds = u64::try_from(INTERVAL.get()).unwrap_or(0);
        let pause = (seconds > 0).then(|| Duration::from_secs(seconds));
        if !BackgroundWorker::wait_latch(pause) {
            return;
        }
        if BackgroundWorker::sighup_received() {
            reload();
            continue;
        }
        if pause.is_none() {
            continue;
        }
        for job in &mut *jobs {
            if !job.is_due() {
                continue;
            }
            // Also where it fails: what was in the way will hardly be gone a second later.
            job.done = Some(Instant::now());
            match run(job.name) {
                Some(reason) => job.tell(reason),
                // Another installation begins anew.
                None => {
                    for job in &mut *jobs {
                        job.done = None;
                    }
                    break;
                }
            }
        }
    }
}

/// Something to be done now and then.
struct Job {
    /// As `ab_internal.work_in_background` knows it.
    name: &'static str,
    /// As people know it.
    what: &'static str,
    pause: Duration,
    done: Option<Instant>,
    /// Why it fails at present; empty while it works.
    failing: String,
}

impl Job {
    fn new(name: &'static str, what: &'static str, pause: Duration) -> Job {
        Job { name, what, pause, done: None, failing: String::new() }
    }

    fn is_due(&self) -> bool {
        self.done.is_none_or(|before| before.elapsed() >= self.pause)
    }

    /// Says once that it fails, and once that it works again.
    fn tell(&mut self, reason: String) {
        let database = BackgroundWorker::get_extra();
        let what = self.what;
        if reason == self.failing {
            return;
        }
        if reason.is_empty() {
            log!("{what} of database \"{database}\" works again");
        } else {
            warning!("{what} of database \"{database}\" failed, trying again: {reason}");
        }
        self.failing = reason;
    }
}

/// Does the work in a transaction of its own; why it failed, empty where it did not, `None` without the extension.
fn run(job: &str) -> Option<String> {
    let reason = BackgroundWorker::transaction(|| {
        let function = function()?;
        let job = job.into_datum()?;
        // SAFETY: the function is the extension's own, of one text argument, returns a text that is never null, and
        // runs in a transaction with a snapshot.
        #[expect(
            unsafe_code,
            reason = "calls a function by its OID, so that no other of its name can be meant"
        )]
        unsafe {
            let reason = pg_sys::OidFunctionCall1Coll(function, pg_sys::InvalidOid, job);
            String::from_datum(reason, false)
        }
    });
    // SAFETY: plain call into the server, outside of a transaction.
    #[expect(
        unsafe_code,
        reason = "without it nobody knows what this process has written, autovacuum neither"
    )]
    unsafe {
        pg_sys::pgstat_report_stat(true);
    }
    reason
}

/// The function that does the work, if the extension is installed: that this is its own is looked up, because somebody
/// else may make a schema and a function of those names before, and the worker is a superuser.
fn function() -> Option<pg_sys::Oid> {
    Spi::connect(|client| {
        client
            .select(
                "select p.oid
                from pg_catalog.pg_extension e
                join pg_catalog.pg_namespace n on n.nspname = 'ab_internal'
                join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'work_in_background'
                join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
                    and d.refclassid = 'pg_catalog.pg_extension'::regclass and d.refobjid = e.oid
                where e.extname = 'pg_ab'",
                Some(1),
                &[],
            )
            .ok()?
            .first()
            .get_one::<pg_sys::Oid>()
            .ok()?
    })
}

/// Ends at the next chance by the server's own way, also in the middle of a query.
fn end_when_told() {
    // SAFETY: installs a handler before signals are let through.
    #[expect(unsafe_code, reason = "hands a handler to the server")]
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(end));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(end));
    }
}

/// What the server's `die` does, which cannot be handed on as a pointer.
#[expect(unsafe_code, reason = "called by the server")]
unsafe extern "C-unwind" fn end(_signal: i32) {
    // SAFETY: variables made for signal handlers, and the one call that is allowed in them.
    unsafe {
        (&raw mut pg_sys::InterruptPending).write_volatile(1);
        (&raw mut pg_sys::ProcDiePending).write_volatile(1);
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

fn reload() {
    // SAFETY: plain call into the server, outside of a transaction.
    #[expect(unsafe_code, reason = "call into the server")]
    unsafe {
        (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
    }
}

fn set(name: &CStr, value: &CStr) {
    // SAFETY: plain call into the server with texts that end in NUL; it copies them.
    #[expect(unsafe_code, reason = "call into the server")]
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}
