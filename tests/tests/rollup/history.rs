//! One random history: several sessions that track, expose, roll up, change experiments, commit late, roll back, prepare
//! transactions and lose their server; and the two comparisons at its end.
//!
//! One thread drives all sessions, so that a seed always gives the same statements in the same order. For that no
//! statement may wait for another session, and the history keeps account of who holds what. It knows nothing about
//! results: those are compared with a rebuild and with SQL written from the definitions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ab_embedded::Cluster;
use postgres::{Client, SimpleQueryMessage};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const SESSIONS: usize = 4;
const USERS: [&str; 3] = ["ann", "bob", "cy:d'é"];
const NAMES: [&str; 3] = ["buy", "view", "exposure"];
/// What follows the key and the event name of a metric.
const METRIC_KINDS: [&str; 14] = [
    "",
    ", 'count'",
    ", 'count', \"window\" => '6 hours', cap => 2",
    ", 'sum'",
    ", 'sum', cap => 40.5, covariate_window => '1 day'",
    ", 'sum', value_property => 'amount', filter => '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}'",
    ", 'conversion', delay => '2 hours', \"window\" => '1 day', covariate_window => '0'",
    ", 'retention', day => 1",
    ", 'unique_days'",
    ", 'unique_days', \"window\" => '2 days'",
    ", 'first'",
    ", 'last', cap => 1, value_property => 'amount'",
    ", 'ratio', denominator => '{\"event_name\": \"view\"}'",
    ", 'ratio', numerator => 'count', denominator => '{\"event_name\": \"buy\", \"kind\": \"sum\", \"value_property\": \"amount\"}', filter => '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"NZ\"]}'",
];
/// What may be set in any metric, whatever its kind was.
const METRIC_CHANGES: [&str; 11] = [
    "cap = case when kind in ('count', 'sum', 'unique_days', 'first', 'last') then 1.5 end",
    "window_start = '1 hour', window_end = '30 hours'",
    "window_start = '0', window_end = case kind when 'retention' then interval '1 day' end",
    "covariate_window = '3 days'",
    "event_name = 'view'",
    "filter = '{\"attribute\": \"country\", \"operator\": \"equals\", \"values\": [\"US\"]}'",
    "filter = null",
    "kind = 'sum', value_property = 'amount', numerator = null, denominator = null, denominator_event_name = null, denominator_filter = null, denominator_value_property = null",
    "kind = 'unique_days', numerator = null, denominator = null, denominator_event_name = null, denominator_filter = null, denominator_value_property = null",
    "kind = 'last', value_property = null, numerator = null, denominator = null, denominator_event_name = null, denominator_filter = null, denominator_value_property = null",
    "kind = 'ratio', cap = null, numerator = 'sum', denominator = 'count', denominator_event_name = 'view'",
];
const PROPERTIES: [&str; 5] = [
    "{}",
    r#"{"country": "US", "amount": 3}"#,
    r#"{"country": "NZ", "amount": 0.25}"#,
    r#"{"amount": "many"}"#,
    r#"{"country": "US", "amount": -7e3}"#,
];
const VARIANTS: [&str; 3] = ["control", "green", "blue"];
const VALUES: [&str; 9] =
    ["null", "1", "0.1", "-2.5", "49.9", "0.30000000000000004", "1e15", "1e-7", "-1e22"];
const METRICS: usize = 6;
const HOUR: i64 = 3_600_000_000;

/// Where histories run, one after the other.
pub struct Stage {
    /// A cluster of its own, because histories kill it and because nobody else may use up transaction ids meanwhile.
    pub cluster: Cluster,
    /// A database with the extension.
    pub database: String,
}

impl Stage {
    /// A fresh cluster with the extension.
    pub fn new() -> Stage {
        let settings = [
            ("max_prepared_transactions", "10"),
            // It would take transaction ids at moments that no seed repeats.
            ("autovacuum", "off"),
        ];
        let cluster = Cluster::throwaway_with(&settings).expect("a throwaway cluster");
        let database = "histories".to_owned();
        cluster.create_database(&database, None).expect("a database");
        let mut client = cluster.connect(&database).expect("a connection");
        client.batch_execute("create extension pg_ab").expect("the extension");
        // What maintenance drops is kept here: results are defined by all events there ever were.
        client
            .batch_execute(
                "create table public.dropped (like ab.event_other);
                 create view public.sent as select * from ab.event union all
                 select * from public.dropped d where not exists (
                     select from ab.event e where (d.workspace_id, d.user_id, d.event_id, d.event_time) = (e.workspace_id, e.user_id, e.event_id, e.event_time)
                         and ab_internal.event_table(d.event_type) = ab_internal.event_table(e.event_type)
                 );
                  select ab_internal.make_partitions()",
            )
            .expect("a table for dropped events");
        Stage { cluster, database }
    }
}

/// An event as its sender repeats it: always the same identity.
#[derive(Clone, Debug)]
struct Event {
    user: &'static str,
    name: &'static str,
    value: &'static str,
    properties: &'static str,
    kind: &'static str,
    experiment: Option<String>,
    variant: Option<&'static str>,
    id: String,
    /// Microseconds since 1970.
    time: i64,
    /// A version 7 id, which can be sent without its time.
    is_id_enough: bool,
}

/// A transaction that has not ended, of a session or prepared.
#[derive(Default)]
struct Transaction {
    /// What it has stored, by savepoint: the first list is from before all of them.
    stored: Vec<Vec<usize>>,
    savepoints: usize,
    has_rolled_up: bool,
    has_changed_config: bool,
    is_repeatable: bool,
}

struct Session {
    client: Client,
    transaction: Option<Transaction>,
}

/// What went wrong, with everything needed to see it again.
pub struct Failure {
    pub what: String,
    pub script: String,
}

pub struct History<'a> {
    stage: &'a Stage,
    random: StdRng,
    workspace: String,
    experiments: usize,
    sessions: Vec<Session>,
    prepared: BTreeMap<String, Transaction>,
    prepared_so_far: usize,
    events: Vec<Event>,
    /// By number of the event: stored by a committed transaction.
    committed: Vec<bool>,
    times: Vec<i64>,
    kills_left: usize,
    script: String,
}

type Outcome<T> = Result<T, String>;

impl<'a> History<'a> {
    /// Runs the history of this seed and compares at its end.
    pub fn run(stage: &'a Stage, seed: u64) -> Result<(), Box<Failure>> {
        let mut history = History {
            stage,
            random: StdRng::seed_from_u64(seed),
            workspace: format!("seed-{seed}"),
            experiments: 0,
            sessions: Vec::new(),
            prepared: BTreeMap::new(),
            prepared_so_far: 0,
            events: Vec::new(),
            committed: Vec::new(),
            times: Vec::new(),
            kills_left: usize::from(seed.is_multiple_of(12)),
            script: String::new(),
        };
        let outcome = history.play();
        outcome.map_err(|what| {
            // The next history on this stage must not find the remains of this one.
            for gid in history.prepared.keys() {
                let _ = stage.cluster.psql(&stage.database, &format!("rollback prepared '{gid}'"));
            }
            Box::new(Failure { what, script: std::mem::take(&mut history.script) })
        })
    }

    fn play(&mut self) -> Outcome<()> {
        self.connect();
        self.prepare()?;
        for _ in 0..self.random.random_range(12..45) {
            self.step()?;
        }
        self.end_all()?;
        self.roll_up(0, "select ab_rollup()")?;
        let again = self.run_sql(0, "select ab_rollup()")?;
        if again.as_deref() != Some("0") {
            return Err(format!("a roll-up with nothing new read {again:?} events"));
        }
        self.compare()
    }

    fn connect(&mut self) {
        self.sessions.clear();
        for _ in 0..SESSIONS {
            let mut client = self.stage.cluster.connect(&self.stage.database).expect("a connection");
            let settings = format!(
                "set ab.workspace = '{}'; set lock_timeout = '5s'; set timezone = 'UTC'",
                self.workspace
            );
            client.batch_execute(&settings).expect("the settings");
            self.sessions.push(Session { client, transaction: None });
        }
    }

    fn prepare(&mut self) -> Outcome<()> {
        let now: i64 = self
            .run_sql(0, "select (extract(epoch from date_trunc('hour', now())) * 1000000)::bigint")?
            .and_then(|text| text.parse().ok())
            .ok_or("no time")?;
        // Few moments, so that many events share one; some on days without a partition, some in the future.
        for _ in 0..7 {
            let hours = if self.random.random_bool(0.6) {
                self.random.random_range(-30..=20)
            } else {
                self.random.random_range(-96..=0)
            };
            self.times.push(now + hours * HOUR);
        }
        self.run_sql(0, &format!("insert into ab.workspace (workspace) values ('{}')", self.workspace))?;
        self.experiments = self.random.random_range(1..=3);
        for number in 0..self.experiments {
            let variants = if self.random.random_bool(0.5) {
                r#"{"control": 1, "green": 1}"#
            } else {
                r#"{"control": 1, "green": 1, "blue": 2}"#
            };
            self.run_sql(0, &format!("select ab_create_experiment('e{number}', '{variants}')"))?;
            if self.random.random_bool(0.6) {
                self.run_sql(0, &format!("select ab_start('e{number}')"))?;
            }
        }
        for number in 0..METRICS {
            let (name, kind) = (self.pick(&NAMES), self.pick(&METRIC_KINDS));
            self.run_sql(0, &format!("select ab_create_metric('m{number}', '{name}'{kind})"))?;
            if self.random.random_bool(0.5) {
                let experiment = self.experiment();
                self.run_sql(
                    0,
                    &format!("select ab_add_metric('{experiment}', 'm{number}', 'exploratory')"),
                )?;
            }
        }
        Ok(())
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.random).copied().unwrap_or("")
    }

    fn experiment(&mut self) -> String {
        format!("e{}", self.random.random_range(0..self.experiments))
    }

    fn step(&mut self) -> Outcome<()> {
        let session = self.random.random_range(0..SESSIONS);
        let is_open = self.sessions[session].transaction.is_some();
        match self.random.random_range(0..100) {
            0..12 if !is_open => self.begin(session),
            0..6 => self.end(session, true),
            6..8 => self.end(session, false),
            8..10 => self.prepare_transaction(session),
            10..12 => self.finish_prepared(),
            12..17 => self.savepoint(session),
            17..20 => self.roll_back_to_savepoint(session),
            20..50 => self.track(session),
            50..57 => self.track_batch(session),
            57..63 => self.expose(session),
            63..78 => {
                let wait = self.random.random_bool(0.7);
                let statement = if wait { "select ab_rollup()" } else { "select ab_rollup(false)" };
                self.roll_up(session, statement)
            }
            78..81 => {
                let experiment = self.experiment();
                self.roll_up(session, &format!("select ab_rebuild('{experiment}')"))
            }
            81..91 => self.change_experiment(session),
            91..94 => self.track_around_stop(session),
            94..96 => self.make_partitions(session),
            96 => self.maintain(session),
            _ => self.kill(),
        }
    }

    fn begin(&mut self, session: usize) -> Outcome<()> {
        let is_repeatable = self.random.random_bool(0.15);
        self.run_sql(session, if is_repeatable { "begin isolation level repeatable read" } else { "begin" })?;
        self.sessions[session].transaction =
            Some(Transaction { stored: vec![Vec::new()], is_repeatable, ..Transaction::default() });
        Ok(())
    }

    fn end(&mut self, session: usize, commits: bool) -> Outcome<()> {
        let Some(transaction) = self.sessions[session].transaction.take() else { return Ok(()) };
        self.run_sql(session, if commits { "commit" } else { "rollback" })?;
        if commits {
            self.keep(transaction);
        }
        Ok(())
    }

    fn keep(&mut self, transaction: Transaction) {
        for event in transaction.stored.into_iter().flatten() {
            self.committed[event] = true;
        }
    }

    fn prepare_transaction(&mut self, session: usize) -> Outcome<()> {
        // PostgreSQL prepares no transaction that has used temporary tables or notifications.
        let can = self.sessions[session]
            .transaction
            .as_ref()
            .is_some_and(|transaction| !transaction.has_rolled_up && !transaction.has_changed_config);
        let Some(transaction) = (if can { self.sessions[session].transaction.take() } else { None }) else {
            return Ok(());
        };
        let gid = format!("{}-{}", self.workspace, self.prepared_so_far);
        self.prepared_so_far += 1;
        self.run_sql(session, &format!("prepare transaction '{gid}'"))?;
        self.prepared.insert(gid, transaction);
        Ok(())
    }

    fn finish_prepared(&mut self) -> Outcome<()> {
        let Some(session) = self.sessions.iter().position(|session| session.transaction.is_none()) else {
            return Ok(());
        };
        let Some((gid, transaction)) = self.prepared.pop_first() else { return Ok(()) };
        let commits = self.random.random_bool(0.7);
        let verb = if commits { "commit" } else { "rollback" };
        self.run_sql(session, &format!("{verb} prepared '{gid}'"))?;
        if commits {
            self.keep(transaction);
        }
        Ok(())
    }

    fn savepoint(&mut self, session: usize) -> Outcome<()> {
        let Some(transaction) = &mut self.sessions[session].transaction else { return Ok(()) };
        transaction.savepoints += 1;
        transaction.stored.push(Vec::new());
        let name = transaction.savepoints;
        self.run_sql(session, &format!("savepoint s{name}"))?;
        Ok(())
    }

    fn roll_back_to_savepoint(&mut self, session: usize) -> Outcome<()> {
        let Some(transaction) = &mut self.sessions[session].transaction else { return Ok(()) };
        if transaction.savepoints == 0 {
            return Ok(());
        }
        let name = transaction.savepoints;
        transaction.savepoints -= 1;
        let undone = transaction.stored.pop().unwrap_or_default();
        let releases = self.random.random_bool(0.3);
        if releases && let Some(kept) = transaction.stored.last_mut() {
            kept.extend(undone);
        }
        let verb = if releases { "release" } else { "rollback to" };
        self.run_sql(session, &format!("{verb} savepoint s{name}"))?;
        Ok(())
    }

    /// A new event or one from before that this session may send without waiting for another one's transaction.
    fn event(&mut self, session: usize) -> usize {
        if !self.events.is_empty() && self.random.random_bool(0.3) {
            let again = self.random.random_range(0..self.events.len());
            if !self.is_pending_elsewhere(again, session) {
                return again;
            }
        }
        let time = self.times.choose(&mut self.random).copied().unwrap_or_default();
        let is_exposure = self.random.random_bool(0.35);
        let experiment = (is_exposure || self.random.random_bool(0.3)).then(|| self.experiment());
        let variants: &[&'static str] = if is_exposure { &VARIANTS[..2] } else { &[] };
        // A version 7 id knows milliseconds only.
        let is_id_enough = time % 1000 == 0 && self.random.random_bool(0.3);
        let noise: u128 = self.random.random();
        let id = if is_id_enough {
            let milliseconds = u128::try_from(time / 1000).unwrap_or_default();
            (milliseconds << 80)
                | (0x7 << 76)
                | (noise & 0xfff_ffff_ffff_ffff_ffff) & !(0xf << 76) & !(0x3 << 62)
                | (0x2 << 62)
        } else {
            (noise & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
        };
        let event = Event {
            user: self.pick(&USERS),
            name: self.pick(&NAMES),
            value: self.pick(&VALUES),
            properties: self.pick(&PROPERTIES),
            kind: if is_exposure { "exposure" } else { self.pick(&["custom", "conversion", "purchase"]) },
            experiment,
            variant: if is_exposure { Some(self.pick(variants)) } else { None },
            id: uuid_text(id),
            time,
            is_id_enough,
        };
        self.events.push(event);
        self.committed.push(false);
        self.events.len() - 1
    }

    fn is_pending_elsewhere(&self, event: usize, session: usize) -> bool {
        let holds =
            |transaction: &Transaction| transaction.stored.iter().flatten().any(|held| *held == event);
        self.prepared.values().any(holds)
            || self
                .sessions
                .iter()
                .enumerate()
                .any(|(number, other)| number != session && other.transaction.as_ref().is_some_and(holds))
    }

    fn store(&mut self, session: usize, event: usize) {
        match &mut self.sessions[session].transaction {
            Some(transaction) => {
                if let Some(stored) = transaction.stored.last_mut() {
                    stored.push(event);
                }
            }
            None => self.committed[event] = true,
        }
    }

    fn track(&mut self, session: usize) -> Outcome<()> {
        let number = self.event(session);
        let event = self.events[number].clone();
        let time = if event.is_id_enough && self.random.random_bool(0.5) {
            "null".to_owned()
        } else {
            timestamp(event.time)
        };
        let statement = format!(
            "select ab_track({}, '{}', {}, '{}', '{}', {}, {}, {time}, '{}')",
            quoted(Some(event.user)),
            event.name,
            event.value,
            event.properties,
            event.kind,
            quoted(event.experiment.as_deref()),
            quoted(event.variant),
            event.id,
        );
        if self.run_tolerant(session, &statement)?.is_some() {
            self.store(session, number);
        }
        Ok(())
    }

    fn track_batch(&mut self, session: usize) -> Outcome<()> {
        let mut numbers: Vec<usize> = Vec::new();
        for _ in 0..self.random.random_range(1..6) {
            let number = self.event(session);
            numbers.push(number);
        }
        let column = |what: &dyn Fn(&Event) -> String| {
            let items: Vec<String> = numbers.iter().map(|number| what(&self.events[*number])).collect();
            format!("array[{}]", items.join(", "))
        };
        let statement = format!(
            "select coalesce(string_agg(item || ' ' || code, ',' order by item) filter (where code <> 'duplicate'), '') from ab_track_batch({}, {}::uuid[], {}::timestamptz[], {}, {}, {}::float8[], {}, {}::text[], {}::text[], {}::text[])",
            column(&|event| quoted(Some(event.user))),
            column(&|event| quoted(Some(&event.id))),
            column(&|event| timestamp(event.time)),
            column(&|event| quoted(Some(event.kind))),
            column(&|event| quoted(Some(event.name))),
            column(&|event| event.value.to_owned()),
            column(&|event| format!("'{}'", event.properties)),
            column(&|event| quoted(event.experiment.as_deref())),
            column(&|event| quoted(event.variant)),
            column(&|_| "null".to_owned()),
        );
        match self.run_tolerant(session, &statement)? {
            Some(answer) => {
                let answer = answer.unwrap_or_default();
                for refused in answer.split(',').filter(|refused| !refused.is_empty()) {
                    match refused.split_once(' ') {
                        Some((item, "event_expired")) => {
                            let item: usize = item.parse().map_err(|_| format!("no item {item}"))?;
                            numbers[item - 1] = usize::MAX;
                        }
                        _ => return Err(format!("a batch refused an event: {refused}")),
                    }
                }
                numbers
                    .into_iter()
                    .filter(|number| *number != usize::MAX)
                    .for_each(|number| self.store(session, number));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn expose(&mut self, session: usize) -> Outcome<()> {
        let (user, experiment) = (self.pick(&USERS), self.experiment());
        self.run_tolerant(session, &format!("select ab_expose({}, '{experiment}')", quoted(Some(user))))?;
        Ok(())
    }

    fn roll_up(&mut self, session: usize, statement: &str) -> Outcome<()> {
        let is_busy = self.sessions.iter().enumerate().any(|(number, other)| {
            number != session && other.transaction.as_ref().is_some_and(|open| open.has_rolled_up)
        });
        let statement = if is_busy { "select ab_rollup(false)" } else { statement };
        let answer = self.run_tolerant(session, statement)?;
        // Also where it should have found another running: that one may have rolled back to a savepoint.
        if let (Some(_), Some(transaction)) = (answer, &mut self.sessions[session].transaction) {
            transaction.has_rolled_up = true;
        }
        Ok(())
    }

    fn change_experiment(&mut self, session: usize) -> Outcome<()> {
        let is_held = |with_rollup: bool, history: &History<'_>| {
            history.sessions.iter().enumerate().any(|(number, other)| {
                number != session
                    && other
                        .transaction
                        .as_ref()
                        .is_some_and(|open| open.has_changed_config || (with_rollup && open.has_rolled_up))
            })
        };
        if is_held(false, self) {
            return Ok(());
        }
        let experiment = self.experiment();
        let metric = self.random.random_range(0..METRICS);
        let call = |function: &str, statuses: &str| {
            format!(
                "select {function}(x.experiment) from ab.experiment x join ab.workspace w using (workspace_id) \
                 where w.workspace = '{}' and x.experiment = '{experiment}' and x.status in ({statuses})",
                self.workspace
            )
        };
        let attached = format!(
            "from ab.experiment_metric a join ab.experiment x using (experiment_id) join ab.metric m on m.metric_id = a.metric_id \
             join ab.workspace w on w.workspace_id = x.workspace_id \
             where w.workspace = '{}' and x.experiment = '{experiment}' and m.metric = 'm{metric}'",
            self.workspace
        );
        // What waits for the rows of metrics, or has them wait, is a statement of its own.
        let is_alone = !is_held(true, self) && self.sessions[session].transaction.is_none();
        let statement = match self.random.random_range(0..12) {
            0..2 => call("ab_start", "'draft'"),
            2 => call("ab_pause", "'running'"),
            3 => call("ab_resume", "'paused'"),
            4..6 => call("ab_stop", "'running', 'paused'"),
            6 if is_alone => format!(
                "delete from ab.experiment_metric d using (select a.experiment_id, a.metric_id {attached}) g \
                 where (d.experiment_id, d.metric_id) = (g.experiment_id, g.metric_id)"
            ),
            7..9 if is_alone => {
                let change = self.pick(&METRIC_CHANGES);
                format!(
                    "update ab.metric m set {change} from ab.workspace w \
                     where w.workspace_id = m.workspace_id and w.workspace = '{}' and m.metric = 'm{metric}'",
                    self.workspace
                )
            }
            _ => format!(
                "select ab_add_metric('{experiment}', 'm{metric}', 'exploratory') where not exists (select {attached})"
            ),
        };
        self.run_tolerant(session, &statement)?;
        if let Some(transaction) = &mut self.sessions[session].transaction {
            transaction.has_changed_config = true;
        }
        Ok(())
    }

    /// Events a microsecond before, at and after the very moment of a stop.
    fn track_around_stop(&mut self, session: usize) -> Outcome<()> {
        let find = format!(
            "select (extract(epoch from max(x.stopped_at)) * 1000000)::bigint from ab.experiment x join ab.workspace w using (workspace_id) \
             where w.workspace = '{}'",
            self.workspace
        );
        let stopped = self.run_tolerant(session, &find)?.flatten().and_then(|text| text.parse::<i64>().ok());
        if let Some(stopped) = stopped {
            let offset = self.random.random_range(-1..=1);
            self.times.push(stopped + offset);
            self.track(session)?;
        }
        Ok(())
    }

    fn make_partitions(&mut self, session: usize) -> Outcome<()> {
        // It waits, though only briefly, for whoever may hold the overflow.
        if self.prepared.is_empty() && self.sessions.iter().all(|session| session.transaction.is_none()) {
            let days = self.random.random_range(0..5);
            let statement = format!(
                "select ab_internal.make_partitions((now() at time zone 'UTC')::date - {days}, (now() at time zone 'UTC')::date + 1)"
            );
            self.run_sql(session, &statement)?;
        }
        Ok(())
    }

    /// Drops the days that are counted, down to the last day or two.
    fn maintain(&mut self, session: usize) -> Outcome<()> {
        if !self.prepared.is_empty() || self.sessions.iter().any(|session| session.transaction.is_some()) {
            return Ok(());
        }
        let workspace = self.workspace.clone();
        let days = self.random.random_range(1..4);
        if self.random.random_bool(0.7) {
            self.roll_up(session, "select ab_rollup()")?;
        }
        // Rows in the overflow stay for as long as if they had just come.
        self.run_sql(session, "update ab.event_overflow set received_at = received_at - interval '9 days'")?;
        for (table, more) in [("event_exposure", 0), ("event_conversion", 1), ("event_other", 0)] {
            let keep = days + more * self.random.random_range(0..2);
            self.run_sql(
                session,
                &format!("update ab.event_retention set keep = '{keep} days' where event_table = '{table}'"),
            )?;
        }
        self.run_sql(
            session,
            &format!(
                "insert into public.dropped select e.* from ab.event e join ab.workspace w using (workspace_id) where w.workspace = '{workspace}' \
                 and not exists (select from public.dropped d where (d.workspace_id, d.user_id, d.event_id, d.event_time) = (e.workspace_id, e.user_id, e.event_id, e.event_time) \
                     and ab_internal.event_table(d.event_type) = ab_internal.event_table(e.event_type))"
            ),
        )?;
        self.run_sql(session, "select count(*) from ab_maintain()")?;
        Ok(())
    }

    fn kill(&mut self) -> Outcome<()> {
        if self.kills_left == 0 {
            return Ok(());
        }
        self.kills_left -= 1;
        self.script.push_str("-- kill -9, start\n");
        self.stage.cluster.kill().expect("the server is killed");
        self.stage.cluster.start().expect("the server starts again");
        self.connect();
        Ok(())
    }

    fn end_all(&mut self) -> Outcome<()> {
        for session in 0..SESSIONS {
            let commits = self.random.random_bool(0.7);
            self.end(session, commits)?;
        }
        while !self.prepared.is_empty() {
            self.finish_prepared()?;
        }
        Ok(())
    }

    fn run_sql(&mut self, session: usize, statement: &str) -> Outcome<Option<String>> {
        writeln!(self.script, "/* {session} */ {statement};").expect("a string");
        match self.sessions[session].client.simple_query(statement) {
            Ok(messages) => Ok(first_value(&messages)),
            Err(error) => Err(format!("{statement}\nfailed: {}", describe(&error))),
        }
    }

    /// `None` where the transaction was refused as REPEATABLE READ transactions may be, or because events of that time have
    /// expired, and has been rolled back.
    fn run_tolerant(&mut self, session: usize, statement: &str) -> Outcome<Option<Option<String>>> {
        writeln!(self.script, "/* {session} */ {statement};").expect("a string");
        match self.sessions[session].client.simple_query(statement) {
            Ok(messages) => Ok(Some(first_value(&messages))),
            Err(error) => {
                let is_repeatable =
                    self.sessions[session].transaction.as_ref().is_some_and(|open| open.is_repeatable);
                let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                let has_expired =
                    error.as_db_error().and_then(|error| error.detail()).is_some_and(|detail| {
                        detail.contains("event_expired") || detail.contains("events_incomplete")
                    });
                if (is_repeatable && code == "40001") || has_expired {
                    self.script.push_str("-- refused\n");
                    self.end(session, false)?;
                    return Ok(None);
                }
                Err(format!("{statement}\nfailed: {}", describe(&error)))
            }
        }
    }

    fn compare(&mut self) -> Outcome<()> {
        self.compare_events()?;
        let workspace = self.workspace.clone();
        compare_with(&mut self.sessions[0].client, &workspace, "public.sent")
    }

    /// Every event of a committed transaction is there exactly once, and no other.
    fn compare_events(&mut self) -> Outcome<()> {
        let workspace = self.workspace.clone();
        let mut stored = rows(
            &mut self.sessions[0].client,
            &workspace,
            "select e.user_id || ' ' || e.event_id || ' ' || (extract(epoch from e.event_time) * 1000000)::bigint || ' ' || e.event_type || ' ' || e.event_name \
             from public.sent e join ab.workspace w using (workspace_id) where w.workspace = $1 and not (e.event_type = 'exposure' and e.value is null and e.event_name = 'exposure') \
             order by 1",
        )?;
        stored.sort();
        let mut expected: Vec<String> = self
            .events
            .iter()
            .zip(&self.committed)
            .filter(|(_, committed)| **committed)
            // These look as those of ab_expose(), whose ids nobody here knows.
            .filter(|(event, _)| {
                !(event.kind == "exposure" && event.value == "null" && event.name == "exposure")
            })
            .map(|(event, _)| {
                format!("{} {} {} {} {}", event.user, event.id, event.time, event.kind, event.name)
            })
            .collect();
        expected.sort();
        match difference("sent and committed", &expected, "stored", &stored) {
            Some(difference) => Err(difference),
            None => Ok(()),
        }
    }
}

/// Compares what is kept of a workspace with what its events define, and with what a rebuild makes of them. The session
/// must be in that workspace, and everything committed must have been rolled up.
pub fn compare_state(client: &mut Client, workspace: &str) -> Result<(), String> {
    compare_with(client, workspace, "ab.event")
}

/// The same where some events are no longer where they were; what cannot be rebuilt for that is left out.
fn compare_with(client: &mut Client, workspace: &str, events: &str) -> Result<(), String> {
    let counted = rows(client, workspace, STATE)?;
    let defined = rows(client, workspace, &DEFINITION.replace("ab.event ", &format!("{events} ")))?;
    let has_expired = !rows(
        client,
        workspace,
        "select g.event_table from ab_internal.event_expired g join ab.workspace w using (workspace_id) where w.workspace = $1",
    )?
    .is_empty();
    let compared = |lines: &[String]| if has_expired { without_past(lines) } else { lines.to_vec() };
    if let Some(difference) =
        difference("counted step by step", &compared(&counted), "by definition", &compared(&defined))
    {
        return Err(difference);
    }
    let experiments = rows(
        client,
        workspace,
        "select x.experiment::text from ab.experiment x join ab.workspace w using (workspace_id) where w.workspace = $1",
    )?;
    for experiment in experiments {
        if let Err(error) = client.query("select ab_rebuild($1)", &[&experiment]) {
            let detail = error.as_db_error().and_then(|error| error.detail()).unwrap_or_default();
            if events == "ab.event" || !detail.contains("events_incomplete") {
                return Err(describe(&error));
            }
        }
    }
    let rebuilt = rows(client, workspace, STATE)?;
    match difference("counted step by step", &counted, "rebuilt", &rebuilt) {
        Some(difference) => Err(difference),
        None => Ok(()),
    }
}

/// The state without what was before first exposure: of that only so much is counted as is still stored by then.
fn without_past(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.split(" | ").next().unwrap_or(line))
        .filter(|line| {
            let is_metric = line.starts_with("unit_metric") || line.starts_with("metric_statistic");
            !is_metric || !line.split(' ').skip(4).all(|number| number == "0")
        })
        .map(str::to_owned)
        .collect()
}

fn rows(client: &mut Client, workspace: &str, query: &str) -> Outcome<Vec<String>> {
    let rows = client.query(query, &[&workspace]).map_err(|error| describe(&error))?;
    Ok(rows.iter().map(|row| row.get::<_, String>(0)).collect())
}

/// The state, one line a row; numbers without the zeros at their end, which are not part of their value.
const STATE: &str = "
select line from (
    select format('exposure %s %s %s %s %s %s %s', x.experiment, s.user_id, s.variant, s.first_exposed_at, s.event_id, s.is_multiple, s.dimensions) as line
    from ab.exposure s join ab.experiment x using (experiment_id) join ab.workspace w using (workspace_id) where w.workspace = $1
    union all
    select format('unit_metric %s %s %s %s %s %s | %s', x.experiment, m.metric, s.user_id, s.event_count, trim_scale(s.total), trim_scale(coalesce(s.denominator, 0)), format('%s %s', trim_scale(s.covariate), trim_scale(s.covariate_denominator)))
    from ab.unit_metric s join ab.experiment x using (experiment_id) join ab.metric m on m.metric_id = s.metric_id
    join ab.workspace w on w.workspace_id = x.workspace_id
    join ab.experiment_metric a on a.experiment_id = s.experiment_id and a.metric_id = s.metric_id
    where w.workspace = $1 and a.complete_from is null
        -- What a stop took back of a ratio leaves a row of zeros.
        and (s.event_count <> 0 or s.denominator <> 0 or num_nonnulls(s.covariate, s.covariate_denominator) > 0)
    union all
    select format('variant_statistic %s %s %s %s', x.experiment, s.variant, s.units, s.multiple_units)
    from ab.variant_statistic s join ab.experiment x using (experiment_id) join ab.workspace w using (workspace_id) where w.workspace = $1
    union all
    select format('phase_statistic %s %s %s %s', x.experiment, s.phase, s.variant, s.units)
    from ab.phase_statistic s join ab.experiment x using (experiment_id) join ab.workspace w using (workspace_id) where w.workspace = $1
    union all
    select format('metric_statistic %s %s %s %s %s %s %s %s %s | %s %s %s', x.experiment, m.metric, s.variant, s.conversions, s.capped_units, trim_scale(s.uncapped_total), trim_scale(s.total), trim_scale(s.total_of_squares),
        format('%s %s %s', trim_scale(s.denominator), trim_scale(s.denominator_of_squares), trim_scale(s.total_denominator)),
        s.covariate_units,
        format('%s %s %s %s %s', trim_scale(s.covariate), trim_scale(s.covariate_of_squares), trim_scale(s.covariate_denominator), trim_scale(s.covariate_denominator_of_squares), trim_scale(s.covariate_covariate_denominator)),
        format('%s %s %s %s', trim_scale(s.total_covariate), trim_scale(s.total_covariate_denominator), trim_scale(s.denominator_covariate), trim_scale(s.denominator_covariate_denominator)))
    from ab.metric_statistic s join ab.experiment x using (experiment_id) join ab.metric m on m.metric_id = s.metric_id
    join ab.workspace w on w.workspace_id = x.workspace_id
    join ab.experiment_metric a on a.experiment_id = s.experiment_id and a.metric_id = s.metric_id
    where w.workspace = $1 and a.complete_from is null
        and (s.conversions, s.total, s.denominator, s.covariate_units) <> (0, 0, 0, 0)
) l order by line";

/// The same from the raw events, as the documentation defines it: for each user of each experiment, look.
const DEFINITION: &str = "
with recorded as materialized (
    select e.* from ab.event e join ab.workspace w using (workspace_id) where w.workspace = $1
),
running as materialized (
    select x.experiment_id, x.experiment, coalesce(x.stopped_at, 'infinity') as until
    from ab.experiment x join ab.workspace w using (workspace_id) where w.workspace = $1
),
unit as materialized (
    select r.experiment_id, r.experiment, r.until, u.user_id, f.variant, f.event_time as since, f.event_id,
        exists (
            select from recorded o
            where o.event_type = 'exposure' and o.experiment_id = r.experiment_id and o.user_id = u.user_id
                and o.event_time < r.until and o.variant <> f.variant
        ) as is_multiple
    from running r
    cross join (select distinct user_id from recorded) u
    cross join lateral (
        select e.variant, e.event_time, e.event_id
        from recorded e
        where e.event_type = 'exposure' and e.experiment_id = r.experiment_id and e.user_id = u.user_id and e.event_time < r.until
        order by e.event_time, e.event_id
        limit 1
    ) f
),
part as materialized (
    select a.experiment_id, m.metric_id, m.metric, m.kind, m.cap, m.window_start, m.window_end, m.covariate_window, p.*
    from ab.experiment_metric a
    join ab.metric m using (metric_id)
    cross join lateral (
        values (false, m.event_name, m.filter, m.value_property, m.numerator), (true, m.denominator_event_name, m.denominator_filter, m.denominator_value_property, m.denominator)
    ) p (is_denominator, event_name, filter, value_property, aggregate)
    -- Added when some of its events had expired, and so not defined by all of them.
    where a.complete_from is null and p.event_name is not null
),
counted as materialized (
    select u.experiment, p.metric, p.kind, p.cap, u.user_id, u.variant, p.is_denominator, e.event_time >= u.since as is_after, e.event_time, e.event_id,
        case when p.aggregate = 'count' or p.kind in ('conversion', 'retention', 'count', 'unique_days') then 1 when p.kind in ('first', 'last') then v.amount else coalesce(v.amount, 0) end as amount
    from unit u
    join part p using (experiment_id)
    join recorded e on e.user_id = u.user_id and e.event_type <> 'exposure' and e.event_name = p.event_name and coalesce(e.experiment_id, u.experiment_id) = u.experiment_id
    cross join lateral (
        select case when p.value_property is null then e.value::numeric else (case jsonb_typeof(e.properties -> p.value_property) when 'number' then (e.properties ->> p.value_property) end)::float8::numeric end as amount
    ) v
    where (
            (e.event_time >= u.since + p.window_start and e.event_time < least(u.since + p.window_end, 'infinity') and (p.window_end is not null or e.event_time < u.until))
            or (e.event_time < u.since and e.event_time >= u.since - p.covariate_window)
        )
        -- The only filters there are here.
        and (p.filter is null or e.properties ->> 'country' = (p.filter -> 'values' ->> 0))
        and not (p.kind in ('first', 'last') and v.amount is null)
),
measured as materialized (
    select experiment, metric, cap, user_id, variant, events, value, denominator, past, past_denominator,
        least(value, cap) as y, coalesce(denominator, 0) as z, coalesce(case when past is not null then least(past, cap) end, 0) as u, coalesce(past_denominator, 0) as w
    from (
        select c.experiment, c.metric, c.cap, c.user_id, c.variant,
            count(*) filter (where is_after and not is_denominator) as events,
            case c.kind
                when 'conversion' then least(count(*) filter (where is_after), 1)
                when 'retention' then least(count(*) filter (where is_after), 1)
                when 'unique_days' then count(distinct (event_time at time zone 'UTC')::date) filter (where is_after)
                when 'first' then coalesce((array_agg(amount order by event_time, event_id) filter (where is_after))[1], 0)
                when 'last' then coalesce((array_agg(amount order by event_time desc, event_id desc) filter (where is_after))[1], 0)
                else coalesce(sum(amount) filter (where is_after and not is_denominator), 0)
            end as value,
            sum(amount) filter (where is_after and is_denominator) as denominator,
            case when count(*) filter (where not is_after and not is_denominator) > 0 then
                case c.kind
                    when 'conversion' then 1
                    when 'retention' then 1
                    when 'unique_days' then count(distinct (event_time at time zone 'UTC')::date) filter (where not is_after)
                    when 'first' then (array_agg(amount order by event_time, event_id) filter (where not is_after))[1]
                    when 'last' then (array_agg(amount order by event_time desc, event_id desc) filter (where not is_after))[1]
                    else sum(amount) filter (where not is_after and not is_denominator)
                end
            end as past,
            sum(amount) filter (where not is_after and is_denominator) as past_denominator
        from counted c
        group by c.experiment, c.metric, c.kind, c.cap, c.user_id, c.variant
    ) m
)
select line from (
    select format('exposure %s %s %s %s %s %s %s', u.experiment, u.user_id, u.variant, u.since, u.event_id, u.is_multiple,
        (select jsonb_build_object('country', e.properties ->> 'country') from recorded e where (e.user_id, e.event_id, e.event_time) = (u.user_id, u.event_id, u.since) and e.event_type = 'exposure' and e.properties ? 'country')) as line from unit u
    union all
    select format('unit_metric %s %s %s %s %s %s | %s', d.experiment, d.metric, d.user_id, d.events, trim_scale(d.value), trim_scale(d.z), format('%s %s', trim_scale(d.past), trim_scale(d.past_denominator))) from measured d
    where events <> 0 or z <> 0 or num_nonnulls(past, past_denominator) > 0
    union all
    select format('variant_statistic %s %s %s %s', u.experiment, u.variant, count(*), count(*) filter (where u.is_multiple))
    from unit u group by u.experiment, u.variant
    union all
    select format('phase_statistic %s %s %s %s', u.experiment, u.phase, u.variant, count(*))
    from (
        select u.experiment, u.variant, coalesce(max(p.phase) filter (where p.started_at <= u.since), 1) as phase
        from unit u
        left join ab.phase p using (experiment_id)
        group by u.experiment, u.user_id, u.variant, u.since
    ) u
    group by u.experiment, u.phase, u.variant
    union all
    select format('metric_statistic %s %s %s %s %s %s %s %s %s | %s %s %s', d.experiment, d.metric, d.variant, count(*) filter (where events > 0), count(*) filter (where value > cap), trim_scale(sum(value)), trim_scale(sum(y)), trim_scale(sum(y * y)),
        format('%s %s %s', trim_scale(sum(z)), trim_scale(sum(z * z)), trim_scale(sum(y * z))),
        count(*) filter (where num_nonnulls(past, past_denominator) > 0),
        format('%s %s %s %s %s', trim_scale(sum(u)), trim_scale(sum(u * u)), trim_scale(sum(w)), trim_scale(sum(w * w)), trim_scale(sum(u * w))),
        format('%s %s %s %s', trim_scale(sum(y * u)), trim_scale(sum(y * w)), trim_scale(sum(z * u)), trim_scale(sum(z * w))))
    from measured d group by d.experiment, d.metric, d.variant
    having (count(*) filter (where events > 0), sum(y), sum(z), count(*) filter (where num_nonnulls(past, past_denominator) > 0)) <> (0, 0, 0, 0)
) l order by line";

fn difference(one_name: &str, one: &[String], other_name: &str, other: &[String]) -> Option<String> {
    let only = |these: &[String], those: &[String]| {
        let mut left = those.to_vec();
        let mut missing = Vec::new();
        for line in these {
            match left.iter().position(|other| other == line) {
                Some(place) => {
                    left.swap_remove(place);
                }
                None => missing.push(line.clone()),
            }
        }
        missing
    };
    let (here, there) = (only(one, other), only(other, one));
    (!here.is_empty() || !there.is_empty()).then(|| {
        format!("only {one_name}:\n  {}\nonly {other_name}:\n  {}", here.join("\n  "), there.join("\n  "))
    })
}

fn first_value(messages: &[SimpleQueryMessage]) -> Option<String> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    })?
}

fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {} {:?}", error.code().code(), error.message(), error.where_()),
        None => error.to_string(),
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or("null".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

fn timestamp(microseconds: i64) -> String {
    format!("'epoch'::timestamptz + interval '{microseconds} microseconds'")
}

fn uuid_text(id: u128) -> String {
    let hex = format!("{id:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
