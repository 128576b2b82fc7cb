//! How this process talks to PostgreSQL: what every connection is set to, and one pool for each sort of work.
//!
//! The pools are separate so that a rush of one sort never keeps another waiting for a connection.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::{Client, Config, Connection, NoTls, Socket, tls::NoTlsStream};

/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a silent network is believed to be there.
const SILENCE: Duration = Duration::from_secs(10);
/// Statements that read for a caller.
const QUERY_LIMIT: &str = "30s";
/// Counting a metric that was added to a long experiment takes one statement, and refreshing reads all users.
const MAINTENANCE_LIMIT: &str = "1h";
/// Longer than any batch should take, shorter than anyone wants to wait for a lock.
const WRITE_LIMIT: &str = "10s";
/// How many callers read at once.
const QUERY_CONNECTIONS: usize = 4;

/// Nothing is answered by a session set otherwise. The search path holds the extension's schema, wherever it is, behind
/// the system's own names, so that nothing can stand in front of either. An acknowledged event must be on disk.
const SET_UP: &str = "
    select pg_catalog.set_config('search_path',
               'pg_catalog, ' || e.extnamespace::pg_catalog.regnamespace::pg_catalog.text || ', pg_temp', false),
           pg_catalog.set_config('ab.workspace', $1, false),
           pg_catalog.set_config('statement_timeout', $2, false),
           pg_catalog.set_config('timezone', 'UTC', false),
           pg_catalog.set_config('synchronous_commit',
               case when pg_catalog.current_setting('synchronous_commit') in ('off', 'local') then 'on'
                    else pg_catalog.current_setting('synchronous_commit') end, false)
      from pg_catalog.pg_extension e
     where e.extname = 'pg_ab'";

/// Why there is no usable connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server said no, or nothing.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server is there, the extension is not.
    #[error("extension pg_ab is not installed in this database: run \"create extension pg_ab\" in it")]
    ExtensionMissing,
}

/// A driver's error with its cause: on its own it only says what it was doing.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

/// The same for a pool that has no connection to give.
pub fn describe_pool(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => describe(error),
        PoolError::PostCreateHook(HookError::Message(message)) => message.to_string(),
        other => other.to_string(),
    }
}

/// The ways into the database.
pub struct Database {
    config: Config,
    workspace: String,
    /// For batches of events.
    pub writes: Pool,
    /// For what callers ask.
    pub queries: Pool,
    /// For the roll-up, and for what goes on beside it.
    pub maintenance: Pool,
}

impl Database {
    /// Prepares to connect; nothing is opened yet.
    ///
    /// # Errors
    /// When `url` is not a PostgreSQL connection string. The message does not repeat it.
    pub fn new(url: &str, workspace: &str, writers: usize) -> anyhow::Result<Database> {
        let mut config: Config = url.parse().map_err(|_| {
            anyhow::anyhow!(
                "DATABASE_URL is not a connection string: write it as postgresql://user:password@host:port/database"
            )
        })?;
        config
            .application_name("ab-gateway")
            .connect_timeout(CONNECT)
            .keepalives(true)
            .keepalives_idle(SILENCE)
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE);
        let pool = |size, limit| pool(&config, workspace, size, limit);
        Ok(Database {
            writes: pool(writers, WRITE_LIMIT)?,
            queries: pool(QUERY_CONNECTIONS, QUERY_LIMIT)?,
            maintenance: pool(2, MAINTENANCE_LIMIT)?,
            workspace: workspace.to_owned(),
            config,
        })
    }

    /// A connection of its own, for whoever must read what the server sends unasked.
    ///
    /// The second half has to be polled for the first to get anywhere, so the caller sets the session up with
    /// [`Database::set_up`] once it does that.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn connect(&self) -> Result<(Client, Connection<Socket, NoTlsStream>), ConnectError> {
        Ok(self.config.connect(NoTls).await?)
    }

    /// Sets a connection of [`Database::connect`] up like those of the pools.
    ///
    /// # Errors
    /// When the server cannot be reached or has no pg_ab in this database.
    pub async fn set_up(&self, client: &Client) -> Result<(), ConnectError> {
        set_up(client, &self.workspace, QUERY_LIMIT).await
    }

    /// Where the database is, for a log line.
    pub fn place(&self) -> String {
        use tokio_postgres::config::Host;
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        format!("{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }
}

async fn set_up(client: &Client, workspace: &str, limit: &str) -> Result<(), ConnectError> {
    match client.query_opt(SET_UP, &[&workspace, &limit]).await? {
        Some(_) => Ok(()),
        None => Err(ConnectError::ExtensionMissing),
    }
}

fn pool(config: &Config, workspace: &str, size: usize, limit: &'static str) -> anyhow::Result<Pool> {
    let manager = Manager::from_config(
        config.clone(),
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let workspace = workspace.to_owned();
    let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let workspace = workspace.clone();
        Box::pin(async move {
            set_up(client, &workspace, limit).await.map_err(|error| match error {
                ConnectError::Postgres(error) => HookError::Backend(error),
                missing @ ConnectError::ExtensionMissing => HookError::message(missing.to_string()),
            })
        })
    });
    let pool = Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(SILENCE))
        .create_timeout(Some(SILENCE))
        .post_create(prepare)
        .build()?;
    Ok(pool)
}
