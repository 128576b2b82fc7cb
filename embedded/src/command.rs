//! The commands, and what they share: who runs already, whose ports these are, and what the database must hold.

pub mod background;
pub mod demo;
pub mod foreground;
pub mod shell;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use ab_embedded::process::{is_port_free, postmaster_of, runs_program};
use ab_embedded::{Cluster, Home};
use anyhow::{Context, Result, bail};

/// The database of the private cluster.
pub const DATABASE: &str = "ab";
const GATEWAY_ROLE: &str = "ab_gateway";

/// Where the two servers listen on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// PostgreSQL's.
    pub postgres: u16,
    /// The gateway's.
    pub http: u16,
}

/// What runs in an `AB_HOME`, as found in `/proc`; files only say where to look.
pub struct Found {
    /// Process id of the postmaster.
    pub postmaster: Option<i32>,
    /// Process id of the gateway.
    pub gateway: Option<i32>,
    /// The ports of what runs.
    pub ports: Option<Ports>,
}

impl Found {
    /// Looks.
    pub fn look(home: &Home) -> Found {
        let postmaster = postmaster_of(&home.place().join("data"));
        let gateway = fs::read_to_string(gateway_file(home))
            .ok()
            .and_then(|pid| pid.trim().parse().ok())
            .filter(|pid| runs_program(*pid, "ab-gateway"));
        let ports = fs::read_to_string(ports_file(home)).ok().and_then(|text| {
            let mut numbers = text.split_whitespace().map(str::parse);
            Some(Ports { postgres: numbers.next()?.ok()?, http: numbers.next()?.ok()? })
        });
        Found { postmaster, gateway, ports: ports.filter(|_| postmaster.is_some() || gateway.is_some()) }
    }

    /// Refuses a port on which somebody else listens.
    pub fn check_ports(&self, wanted: Ports) -> Result<()> {
        let ours = |running: Option<i32>, port: fn(&Ports) -> u16| {
            running.and(self.ports.as_ref()).map(port) == Some(port(&wanted))
        };
        check_port(wanted.postgres, "AB_PG_PORT", ours(self.postmaster, |ports| ports.postgres))?;
        check_port(wanted.http, "AB_HTTP_PORT", ours(self.gateway, |ports| ports.http))
    }
}

fn check_port(port: u16, variable: &str, is_ours: bool) -> Result<()> {
    if !is_ours && !is_port_free(port) {
        let other = port.checked_add(1).unwrap_or(20_000);
        bail!("port {port} is taken: set {variable} to a free one, as in make {variable}={other} run");
    }
    Ok(())
}

/// Says where the servers listen, for the other commands and for `embedded/prepare`.
pub fn write_ports(home: &Home, ports: Ports) -> Result<()> {
    let file = ports_file(home);
    fs::write(&file, format!("{} {}\n", ports.postgres, ports.http))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Says which process is the gateway.
pub fn write_gateway(home: &Home, pid: Option<u32>) -> Result<()> {
    let file = gateway_file(home);
    fs::write(&file, format!("{}\n", pid.unwrap_or(0)))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Forgets both, once they are stopped.
pub fn forget(home: &Home) {
    let _ = fs::remove_file(ports_file(home));
    let _ = fs::remove_file(gateway_file(home));
}

fn ports_file(home: &Home) -> PathBuf {
    home.directory().join("ports")
}

/// Where the gateway keeps events while the database is away.
pub fn spool_directory(home: &Home) -> String {
    std::env::var("AB_SPOOL_DIR")
        .ok()
        .filter(|directory| !directory.is_empty())
        .unwrap_or_else(|| home.directory().join("spool").display().to_string())
}

/// Also tells when the gateway was started: by the time of its last change.
pub fn gateway_file(home: &Home) -> PathBuf {
    home.directory().join("gateway.pid")
}

/// Makes the database with the extension and the gateway's role where they are missing; answers the gateway's URL.
pub fn prepare_database(home: &Home, cluster: &Cluster) -> Result<String> {
    let mut postgres = cluster.connect("postgres")?;
    if postgres.query_opt("select from pg_database where datname = $1", &[&DATABASE])?.is_none() {
        cluster.create_database(DATABASE, None)?;
    }
    let mut database = cluster.connect(DATABASE)?;
    let script_file = home.directory().join("script");
    let script = format!("{:016x}", hash(&fs::read(cluster.server().install_script()?)?));
    if database.query_opt("select from pg_extension where extname = 'pg_ab'", &[])?.is_none() {
        database.batch_execute("create extension pg_ab").context("cannot create extension pg_ab")?;
        fs::write(&script_file, script)?;
    } else if fs::read_to_string(&script_file).is_ok_and(|created| created != script) {
        eprintln!(
            "the SQL of the extension has changed since database {DATABASE} was made; to start afresh: make down && rm -rf '{}'",
            home.directory().display()
        );
    }
    // It would make itself with the first experiment, but the gateway is to be ready before there is one.
    database
        .batch_execute("insert into ab.workspace (workspace) values ('default') on conflict do nothing")?;
    let password = home.password("gateway-password")?;
    // Once only: a GRANT fails when the roll-up of a running gateway touches the same tables at that moment.
    if database.query_opt("select from pg_roles where rolname = $1", &[&GATEWAY_ROLE])?.is_none() {
        let mut transaction = database.transaction()?;
        transaction.batch_execute(&format!("create role {GATEWAY_ROLE} login password '{password}'"))?;
        for access in ["client", "developer", "analyst"] {
            transaction
                .execute("select ab_grant($1, $2)", &[&GATEWAY_ROLE, &access])
                .with_context(|| format!("cannot grant {access} to {GATEWAY_ROLE}"))?;
        }
        transaction.commit()?;
    }
    Ok(cluster.url_as(GATEWAY_ROLE, &password, DATABASE))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
