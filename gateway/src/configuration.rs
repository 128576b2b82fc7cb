//! What an operator can set, as flags or environment variables.
//!
//! There is deliberately no `Debug` here: the database's address may hold a password, which must reach no log.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::enrichment::TrustedProxies;

/// The HTTP front of pg_ab.
#[derive(Clone, clap::Parser)]
#[command(name = "ab-gateway", version, about, max_term_width = 100)]
pub struct Configuration {
    /// Where PostgreSQL with pg_ab is, as postgresql://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Address and port to serve HTTP on
    #[arg(long, env = "AB_HTTP_ADDR", default_value = "127.0.0.1:8080")]
    pub http_addr: SocketAddr,

    /// The workspace this gateway serves
    #[arg(long, env = "AB_WORKSPACE", default_value = "default")]
    pub workspace: String,

    /// What to log, such as "info" or "ab_gateway=debug"; RUST_LOG does the same
    #[arg(long, env = "AB_LOG")]
    pub log: Option<String>,

    /// How many batches of events may be on their way to the database at once, each over its own connection
    #[arg(long, env = "AB_WRITERS", default_value = "2")]
    pub writers: NonZeroUsize,

    /// How much may wait to be written, in kibibytes of events (each event counts as one more); past it the answer is 429
    #[arg(long, env = "AB_QUEUE_KIB", default_value = "65536")]
    pub queue_kib: u32,

    /// Directory of this gateway alone for events that the database does not take at the moment; none: they are refused
    #[arg(long, env = "AB_SPOOL_DIR")]
    pub spool_dir: Option<PathBuf>,

    /// How many bytes of events may wait there; past it the answer is 429
    #[arg(long, env = "AB_SPOOL_BYTES", default_value = "1073741824")]
    pub spool_bytes: u64,

    /// Seconds after which an event that could not be committed is answered with 503; spooled after half of it
    #[arg(long, env = "AB_WRITE_SECONDS", default_value = "10")]
    pub write_seconds: u64,

    /// Seconds between roll-ups of new events into results; 0 leaves them to another scheduler
    #[arg(long, env = "AB_ROLLUP_SECONDS", default_value = "1")]
    pub rollup_seconds: u64,

    /// Seconds for which a connection may be idle, or take to send the head of a request
    #[arg(long, env = "AB_IDLE_SECONDS", default_value = "75")]
    pub idle_seconds: u64,

    /// Seconds after which a request of whose body nothing more comes is given up
    #[arg(long, env = "AB_BODY_SECONDS", default_value = "30")]
    pub body_seconds: u64,

    /// Networks of the proxies in front, such as 10.0.0.0/8,192.0.2.7, whose X-Forwarded-For is believed
    #[arg(long, env = "AB_TRUSTED_PROXIES", default_value = "")]
    pub trusted_proxies: TrustedProxies,

    /// MaxMind-format file of cities or countries, to add the place of an address to events
    #[arg(long, env = "AB_GEOIP_DB")]
    pub geoip_db: Option<PathBuf>,

    /// Seconds that requests and waiting events get to finish after SIGTERM or SIGINT
    #[arg(long, env = "AB_DRAIN_SECONDS", default_value = "15")]
    pub drain_seconds: u64,
}

impl Configuration {
    /// How long an event may wait for its commit.
    pub fn write_patience(&self) -> Duration {
        Duration::from_secs(self.write_seconds)
    }
}
