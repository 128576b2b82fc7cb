//! Whether the methods keep their promises: false alarms, coverage and power, by simulation with committed seeds.
//!
//! Writes a row of a Markdown table for each check, as in docs/statistics.md, and fails if one is outside of its band.
//! `--quick` makes a fortieth of the replications; any other argument runs only the simulations whose names contain it.

mod check;
mod checks;

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use check::Size;

fn main() -> ExitCode {
    let mut size = Size::Full;
    let mut wanted = String::new();
    for argument in std::env::args().skip(1) {
        if argument == "--quick" { size = Size::Quick } else { wanted = argument }
    }
    let threads = available_parallelism().map_or(1, Into::into);
    let started = Instant::now();
    let (mut made, mut outside) = (0, 0);
    println!("| check | replications | target | band | observed | verdict | seconds |");
    println!("|---|---:|---:|---:|---:|---|---:|");
    for simulation in checks::all().iter().filter(|simulation| simulation.name.contains(&wanted)) {
        for finding in simulation.run(size, threads) {
            println!("{finding}");
            made += 1;
            outside += usize::from(!finding.holds());
        }
    }
    eprintln!(
        "{made} checks, {outside} outside of their bands, {:.0} seconds",
        started.elapsed().as_secs_f64()
    );
    if outside == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
