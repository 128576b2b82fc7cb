//! What the tests of a running product share: one throwaway cluster per test program, one database per test.

pub mod drill;
pub mod proxy;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use ab_embedded::Cluster;
use postgres::Client;

const TEMPLATE: &str = "with_pg_ab";

/// The cluster of this test program. Tests that kill servers make their own.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster =
            Cluster::throwaway_with(&[("max_connections", "200"), ("max_prepared_transactions", "10")])
                .expect("a throwaway cluster");
        add_template(&cluster);
        cluster
    })
}

fn add_template(cluster: &Cluster) {
    cluster.create_database(TEMPLATE, None).expect("the template database");
    let mut client = cluster.connect(TEMPLATE).expect("a connection to the template database");
    client.batch_execute("create extension pg_ab").expect("the extension");
}

/// A database with the extension in it, for one test alone.
pub struct Database {
    cluster: &'static Cluster,
    name: String,
}

impl Database {
    /// A fresh database on the shared cluster.
    pub fn new() -> Database {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let cluster = cluster();
        let name = format!("test_{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name, Some(TEMPLATE)).expect("a database for the test");
        Database { cluster, name }
    }

    /// A new session of the superuser.
    pub fn connect(&self) -> Client {
        self.cluster.connect(&self.name).expect("a connection")
    }

    /// A new session of another role, which must exist and have this password.
    pub fn connect_as(&self, role: &str, password: &str) -> Client {
        self.cluster.connect_as(role, password, &self.name).expect("a connection")
    }

    /// The connection URL.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a script through psql, which stops at the first error; answers what it printed, unaligned and bare.
    pub fn psql(&self, script: &str) -> String {
        self.cluster.psql(&self.name, script).expect("psql")
    }
}

impl Default for Database {
    fn default() -> Database {
        Database::new()
    }
}

/// What a failed statement said: SQLSTATE, the stable code out of DETAIL, and the message.
#[derive(Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The SQLSTATE.
    pub sqlstate: String,
    /// The code, empty where PostgreSQL itself raised the error.
    pub code: String,
    /// The message.
    pub message: String,
    /// The hint.
    pub hint: String,
}

/// The error of a statement that must fail.
///
/// # Panics
/// If it did not fail, or not in the server.
pub fn sql_error<T>(outcome: Result<T, postgres::Error>) -> SqlError {
    let error = outcome.err().expect("the statement must fail");
    let error = error.as_db_error().expect("the server must have refused the statement");
    SqlError {
        sqlstate: error.code().code().to_owned(),
        code: error
            .detail()
            .and_then(|detail| detail.lines().next()?.strip_prefix("code="))
            .unwrap_or_default()
            .to_owned(),
        message: error.message().to_owned(),
        hint: error.hint().unwrap_or_default().to_owned(),
    }
}

/// The only value of the only row of a query without parameters, as text; `None` for NULL.
pub fn one(client: &mut Client, query: &str) -> Option<String> {
    let rows = client.simple_query(query).expect("the query");
    rows.iter().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    })?
}

/// No panic, no internal error and nothing forgotten in what the server of this program has logged so far.
pub fn assert_calm_log() {
    let log = std::fs::read_to_string(cluster().log_path()).expect("the server's log");
    for line in log.lines() {
        let is_alarming = [
            "PANIC",
            "panicked",
            "XX000",
            "XX001",
            "XX002",
            "terminated by signal",
            "std::panicking",
            "reference leak",
        ]
        .iter()
        .any(|alarm| line.contains(alarm));
        assert!(!is_alarming, "{line}");
    }
}
