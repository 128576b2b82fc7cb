//! `make up` and `make down`.

use std::fs;
use std::time::{Duration, SystemTime};

use ab_embedded::process::{runs_file, signal, stop};
use ab_embedded::{Cluster, Gateway, Home, Server};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::foreground::FOREGROUND_LOCK;
use super::{
    Found, Ports, forget, gateway_file, prepare_database, spool_directory, write_gateway, write_ports,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Starts what does not run and restarts what runs from an earlier build, so that nobody tests yesterday's code.
pub fn up(ports: Ports) -> Result<()> {
    let home = Home::open()?;
    let _lock = home.lock("lock")?;
    let Some(_foreground) = home.try_lock(FOREGROUND_LOCK)? else {
        println!("running already, in the foreground of another terminal (make run)");
        return Ok(());
    };
    let found = Found::look(&home);
    found.check_ports(ports)?;
    let server = Server::prepare(&home)?;
    let has_moved = found.ports.is_some_and(|running| running.postgres != ports.postgres);
    let mut starts_postgres = true;
    if let Some(postmaster) = found.postmaster {
        starts_postgres = has_moved || !runs_file(postmaster, &server.program("postgres"));
    }
    let gateway_is_current = !starts_postgres
        && found.ports.is_some_and(|running| running.http == ports.http)
        && found.gateway.is_some_and(|gateway| is_current(&home, &server, gateway).unwrap_or(false));
    if !gateway_is_current && let Some(gateway) = found.gateway {
        stop(gateway, Signal::SIGTERM, LIMIT);
    }
    let cluster = Cluster::of_home(&home, server, ports.postgres, false)?;
    if starts_postgres {
        cluster.stop()?;
        println!("starting PostgreSQL on port {}", ports.postgres);
        cluster.start()?;
    }
    write_ports(&home, ports)?;
    let gateway_url = prepare_database(&home, &cluster)?;
    if gateway_is_current {
        println!("running already: PostgreSQL on port {}, gateway on port {}", ports.postgres, ports.http);
        return Ok(());
    }
    println!("starting the gateway on port {}", ports.http);
    let log = home.directory().join("gateway.log");
    let spool = spool_directory(&home);
    let environment = [("AB_SPOOL_DIR", spool.as_str())];
    let gateway = Gateway::spawn(&gateway_url, ports.http, &log, &environment, false)?;
    gateway.wait_until_ready(LIMIT)?;
    write_gateway(&home, gateway.id())?;
    gateway.detach();
    println!("ready; make env prints the addresses, make psql opens psql, make down stops both");
    Ok(())
}

/// Whether the gateway runs from the present build and connected after the present library was installed.
fn is_current(home: &Home, server: &Server, gateway: i32) -> Result<bool> {
    let started: SystemTime = fs::metadata(gateway_file(home))?.modified()?;
    Ok(runs_file(gateway, &Gateway::binary()?) && server.extension_installed_at()? <= started)
}

/// Stops whatever runs here.
pub fn down() -> Result<()> {
    if !Home::exists() {
        println!("nothing was running");
        return Ok(());
    }
    let home = Home::open()?;
    if home.try_lock(FOREGROUND_LOCK)?.is_none() {
        let pid = fs::read_to_string(home.directory().join(FOREGROUND_LOCK)).unwrap_or_default();
        let pid: i32 = pid.trim().parse().context("cannot tell which process is make run")?;
        signal(pid, Signal::SIGTERM);
        let _stopped = home.lock(FOREGROUND_LOCK)?;
        println!("stopped make run");
        return Ok(());
    }
    let _lock = home.lock("lock")?;
    let found = Found::look(&home);
    // The gateway first: it commits what it has accepted.
    if let Some(gateway) = found.gateway
        && !stop(gateway, Signal::SIGTERM, LIMIT)
    {
        bail!("the gateway (process {gateway}) does not stop");
    }
    if let Some(postmaster) = found.postmaster
        && !stop(postmaster, Signal::SIGINT, LIMIT)
    {
        bail!("PostgreSQL (process {postmaster}) does not stop");
    }
    forget(&home);
    println!(
        "{}",
        if found.gateway.or(found.postmaster).is_some() { "stopped" } else { "nothing was running" }
    );
    Ok(())
}
