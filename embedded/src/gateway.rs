//! The gateway as a child process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::home::Home;
use crate::leash::Leash;
use crate::process::{free_port, log_tail, signal, wait_for_child, wait_until};
use crate::server::built_file;

/// How long a gateway may take to become ready or to drain.
const LIMIT: Duration = Duration::from_secs(60);

/// A running `ab-gateway`. It does not outlive the process that holds this value, unless [`Gateway::detach`]ed.
pub struct Gateway {
    port: u16,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    leash: Option<Leash>,
}

impl Gateway {
    /// Starts a gateway on a free port for the database at `database_url` and waits until it is ready.
    pub fn start(database_url: &str) -> Result<Gateway> {
        Gateway::start_with(database_url, &[])
    }

    /// The same with further environment variables, as `("AB_WORKSPACE", "shop")`.
    pub fn start_with(database_url: &str, environment: &[(&str, &str)]) -> Result<Gateway> {
        let gateway = Gateway::launch(&[], database_url, environment)?;
        gateway.wait_until_ready(LIMIT)?;
        Ok(gateway)
    }

    /// The same without waiting, by way of a program and its arguments, which become the gateway: `&["nice"]`, or none.
    pub fn launch(way: &[&str], database_url: &str, environment: &[(&str, &str)]) -> Result<Gateway> {
        let home = Home::open()?;
        let port = free_port()?;
        let logs = home.directory().join("gateway-logs");
        crate::home::make_directory(&logs)?;
        let log = logs.join(format!("{port}.log"));
        Gateway::spawn_through(way, database_url, port, &log, environment, true)
    }

    /// Starts a gateway and does not wait. With `is_held` it ends with this process.
    pub fn spawn(
        database_url: &str,
        port: u16,
        log: &Path,
        environment: &[(&str, &str)],
        is_held: bool,
    ) -> Result<Gateway> {
        Gateway::spawn_through(&[], database_url, port, log, environment, is_held)
    }

    fn spawn_through(
        way: &[&str],
        database_url: &str,
        port: u16,
        log: &Path,
        environment: &[(&str, &str)],
        is_held: bool,
    ) -> Result<Gateway> {
        let leash = if is_held { Some(Leash::new("KILL", None)?) } else { None };
        let output =
            File::create(log).with_context(|| format!("cannot write the gateway's log {}", log.display()))?;
        let child = Command::new("setsid")
            .args(way)
            .arg(Gateway::binary()?)
            .env("DATABASE_URL", database_url)
            .env("AB_HTTP_ADDR", format!("127.0.0.1:{port}"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start the gateway")?;
        if let Some(leash) = &leash {
            leash.hold(Some(child.id()));
        }
        Ok(Gateway { port, log: log.to_owned(), child: Mutex::new(Some(child)), leash })
    }

    /// The binary: `AB_GATEWAY`, or the one of this build.
    pub fn binary() -> Result<PathBuf> {
        match std::env::var_os("AB_GATEWAY") {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => built_file("ab-gateway"),
        }
    }

    /// Waits until `/health/ready` says so; the error shows the end of the log.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let ready = format!("{}/health/ready", self.url());
        let mut has_ended = false;
        let is_ready = wait_until(limit, || {
            has_ended = !self.is_running();
            has_ended || client.get(&ready).send().is_ok_and(|answer| answer.status().is_success())
        });
        if has_ended || !is_ready {
            let _ = self.kill();
            bail!("the gateway did not become ready:\n{}", log_tail(&self.log, 0));
        }
        Ok(())
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the gateway logs.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Whether the process runs.
    pub fn is_running(&self) -> bool {
        self.child().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it by `kill -9`; answers when it is gone.
    pub fn kill(&self) -> Result<()> {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            child.wait()?;
        }
        self.release();
        Ok(())
    }

    /// Asks it to stop and waits until it has drained.
    pub fn terminate(&self) -> Result<()> {
        let mut child = self.child();
        if let Some(process) = child.as_mut() {
            signal(i32::try_from(process.id())?, Signal::SIGTERM);
            if !wait_for_child(process, LIMIT) {
                bail!("the gateway does not stop: see {}", self.log.display());
            }
        }
        *child = None;
        self.release();
        Ok(())
    }

    /// Lets it run on when this value and this process are gone. Only for one that is not held.
    pub fn detach(self) {
        self.child().take();
    }

    fn release(&self) {
        if let Some(leash) = &self.leash {
            leash.hold(None);
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
