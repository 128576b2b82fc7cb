//! The gateway as a program: settings, log, signals.

use std::io::IsTerminal;
use std::process::ExitCode;

use ab_gateway::configuration::Configuration;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The driver and its pool report each lost connection several times; what it means is said by those who use them.
const DEFAULT_LOG: &str = "info,tokio_postgres=error,deadpool_postgres=error,deadpool=error";

#[tokio::main]
async fn main() -> ExitCode {
    let configuration = Configuration::parse();
    if let Err(error) = start_log(&configuration).and_then(|()| check(&configuration)) {
        eprintln!("ab-gateway: {error}");
        return ExitCode::FAILURE;
    }
    match serve(configuration).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ab-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(configuration: &Configuration) -> anyhow::Result<()> {
    let wanted = configuration.log.clone().or_else(|| std::env::var("RUST_LOG").ok());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(DEFAULT_LOG))
        .map_err(|error| anyhow::anyhow!("AB_LOG or RUST_LOG cannot be read: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

fn check(configuration: &Configuration) -> anyhow::Result<()> {
    ab_core::key::check("workspace", &configuration.workspace)
        .map_err(|error| anyhow::anyhow!("{error}: {}", error.hint))
}

async fn serve(configuration: Configuration) -> anyhow::Result<()> {
    let address = configuration.http_addr;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {address}: {error}; set AB_HTTP_ADDR to another address")
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    ab_gateway::run(configuration, listener, shutdown).await
}
