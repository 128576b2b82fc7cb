//! `make env` and `make psql`: the way in for scripts and people.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ab_embedded::Home;
use anyhow::{Context, Result, bail};

use super::{DATABASE, Found, Ports};

/// Prints shell assignments and nothing else, also while nothing runs: the addresses are the same then.
pub fn print_environment(configured: Ports) -> Result<()> {
    let home = Home::open_existing()?;
    let ports = Found::look(&home).ports.unwrap_or(configured);
    println!("DATABASE_URL='{}'", database_url(&home, ports)?);
    println!("AB_URL='http://127.0.0.1:{}'", ports.http);
    Ok(())
}

/// The superuser's URL of the database.
pub fn database_url(home: &Home, ports: Ports) -> Result<String> {
    Ok(format!(
        "postgresql://postgres:{}@127.0.0.1:{}/{DATABASE}",
        home.password("password")?,
        ports.postgres
    ))
}

/// Becomes psql.
pub fn psql() -> Result<()> {
    let home = Home::open_existing()?;
    let found = Found::look(&home);
    let (Some(postmaster), Some(ports)) = (found.postmaster, found.ports) else {
        bail!("nothing runs here: run make up");
    };
    let server = fs::read_link(format!("/proc/{postmaster}/exe"))?;
    let error = Command::new(server.with_file_name("psql")).arg(database_url(&home, ports)?).exec();
    Err(error).context("cannot run psql")
}
