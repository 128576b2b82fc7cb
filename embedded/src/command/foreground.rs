//! `make run`: everything in the foreground, and nothing left behind.

use std::fs;
use std::process::exit;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ab_embedded::{Cluster, Gateway, Home, Server};
use anyhow::{Result, anyhow, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Found, Ports, demo, forget, prepare_database, spool_directory, write_gateway, write_ports};

/// Held while `make run` runs; holds its process id.
pub const FOREGROUND_LOCK: &str = "run.lock";

const LIMIT: Duration = Duration::from_secs(60);

/// The two servers, once they run.
struct Servers {
    gateway: Gateway,
    cluster: Cluster,
}

/// What the main thread waits for.
enum Notice {
    /// Ctrl-C, SIGTERM, or a closed terminal.
    Stop,
    /// Starting or the demo failed.
    Failed(anyhow::Error),
}

/// Starts both, runs the demo and waits for Ctrl-C.
///
/// The work is done in a thread, so that a signal is answered at once, whatever that thread waits for. What it has
/// started by then and not yet handed over is stopped by its leash.
pub fn run(ports: Ports) -> Result<()> {
    let home = Home::open()?;
    let Some(_foreground) = home.try_lock(FOREGROUND_LOCK)? else {
        bail!("make run is running here already, in another terminal");
    };
    let found = Found::look(&home);
    if found.gateway.or(found.postmaster).is_some() {
        bail!(
            "a cluster runs here in the background: stop it with make down, or try the demo on it with make demo"
        );
    }
    found.check_ports(ports)?;
    fs::write(home.directory().join(FOREGROUND_LOCK), format!("{}\n", std::process::id()))?;

    let (sender, notices) = channel();
    watch_signals(sender.clone())?;
    let servers = Arc::new(OnceLock::new());
    let handed_over = Arc::clone(&servers);
    let work_home = home.clone();
    thread::spawn(move || {
        if let Err(error) = start_and_demonstrate(&work_home, ports, &handed_over) {
            let _ = sender.send(Notice::Failed(error));
        }
    });

    let outcome = loop {
        match notices.recv_timeout(Duration::from_secs(1)) {
            Ok(Notice::Stop) => break Ok(()),
            Ok(Notice::Failed(error)) => break Err(error),
            Err(RecvTimeoutError::Disconnected) => break Err(anyhow!("stopped for want of signals")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(Servers { gateway, cluster }) = servers.get() {
            if !gateway.is_running() {
                break Err(anyhow!("the gateway has ended: see {}", gateway.log_path().display()));
            }
            if cluster.postmaster().is_none() {
                break Err(anyhow!("PostgreSQL has ended: see {}", cluster.log_path().display()));
            }
        }
    };
    println!("\nstopping");
    // Whoever presses Ctrl-C again does not want to wait: the leashes do what is left.
    thread::spawn(move || {
        if let Ok(Notice::Stop) = notices.recv() {
            exit(130);
        }
    });
    if let Some(Servers { gateway, cluster }) = servers.get() {
        gateway.terminate()?;
        cluster.stop()?;
    }
    forget(&home);
    outcome
}

fn watch_signals(sender: Sender<Notice>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = sender.send(Notice::Stop);
        }
    });
    Ok(())
}

fn start_and_demonstrate(home: &Home, ports: Ports, servers: &OnceLock<Servers>) -> Result<()> {
    let (server, gateway_url, cluster);
    {
        let _lock = home.lock("lock")?;
        server = Server::prepare(home)?;
        println!("starting PostgreSQL on port {}", ports.postgres);
        cluster = Cluster::of_home(home, server, ports.postgres, true)?;
        cluster.start()?;
        write_ports(home, ports)?;
        gateway_url = prepare_database(home, &cluster)?;
    }
    println!("starting the gateway on port {}", ports.http);
    let log = home.directory().join("gateway.log");
    let spool = spool_directory(home);
    let environment = [("AB_SPOOL_DIR", spool.as_str())];
    let gateway = Gateway::spawn(&gateway_url, ports.http, &log, &environment, true)?;
    gateway.wait_until_ready(LIMIT)?;
    write_gateway(home, gateway.id())?;
    let url = gateway.url();
    let running = servers.get_or_init(|| Servers { gateway, cluster });
    demo::run(&mut running.cluster.connect(super::DATABASE)?, &url)?;
    println!("\nrunning until Ctrl-C");
    Ok(())
}
