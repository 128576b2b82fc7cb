//! Evaluates the functions of `ab_core::statistics::distribution`, for `tests/vectors/statistics/special.py`, which
//! compares them with mpmath.
//!
//! Reads lines of a function's name and its arguments and writes the value of each, in full. With `--time` it writes
//! instead what a call of each function costs, on average and at most, in nanoseconds.

mod functions;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, BufWriter, Write, stdin, stdout};
use std::time::Instant;

/// Calls of a line that are timed; the fastest counts, since the others were interrupted.
const REPETITIONS: u32 = 5;

fn main() {
    let lines: Vec<(String, Vec<f64>)> =
        stdin().lock().lines().map(|line| parse(&line.expect("text"))).collect();
    let call = |name: &str, arguments: &[f64]| {
        functions::evaluate(name, arguments).unwrap_or_else(|| panic!("{name} does not take {arguments:?}"))
    };
    let mut output = BufWriter::new(stdout().lock());
    if std::env::args().any(|argument| argument == "--time") {
        let mut costs: BTreeMap<&str, Vec<u128>> = BTreeMap::new();
        for (name, arguments) in &lines {
            let timed = |_| {
                let start = Instant::now();
                black_box(call(name, black_box(arguments)));
                start.elapsed().as_nanos()
            };
            costs.entry(name).or_default().extend((0..REPETITIONS).map(timed).min());
        }
        for (name, costs) in costs {
            let mean = costs.iter().sum::<u128>() / costs.len() as u128;
            let most = costs.iter().max().expect("a line");
            writeln!(output, "{name} {mean} {most}").expect("stdout takes the result");
        }
    } else {
        for (name, arguments) in &lines {
            writeln!(output, "{:e}", call(name, arguments)).expect("stdout takes the result");
        }
    }
}

fn parse(line: &str) -> (String, Vec<f64>) {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a name").to_owned();
    (name, words.map(|word| word.parse().expect("a number")).collect())
}
