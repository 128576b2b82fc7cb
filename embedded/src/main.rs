//! What `make run`, `up`, `down`, `env`, `psql` and `demo` call. Their settings come from the Makefile as environment
//! variables: `AB_HOME`, `AB_PG_PORT`, `AB_HTTP_PORT` and `PG_CONFIG`.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::{Ports, background, demo, foreground, shell};

#[derive(Parser)]
#[command(about = "The private PostgreSQL and gateway of this checkout; make help lists the ways to use it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Port of PostgreSQL on 127.0.0.1
    #[arg(long, env = "AB_PG_PORT", default_value_t = 54329, global = true)]
    pg_port: u16,
    /// Port of the gateway on 127.0.0.1
    #[arg(long, env = "AB_HTTP_PORT", default_value_t = 8080, global = true)]
    http_port: u16,
}

#[derive(Subcommand)]
enum Command {
    /// Start both in the foreground and run a demo experiment; Ctrl-C stops them
    Run,
    /// Start both in the background, or bring them up to date
    Up,
    /// Stop both
    Down,
    /// Print the addresses of both as shell assignments
    Env,
    /// Open psql
    Psql,
    /// Run a demo experiment against what runs
    Demo,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ports = Ports { postgres: arguments.pg_port, http: arguments.http_port };
    let outcome = match arguments.command {
        Command::Run => foreground::run(ports),
        Command::Up => background::up(ports),
        Command::Down => background::down(),
        Command::Env => shell::print_environment(ports),
        Command::Psql => shell::psql(),
        Command::Demo => demo::run_against_running(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
