//! `POST /api/v1/assign` with 10,000 experiments loaded, against a bare axum server that answers the same shapes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use ab_embedded::{Cluster, Gateway, built_file, free_port};
use anyhow::Context;

use crate::Ratio;

/// Two experiments and a context of three attributes; user ids differ from request to request.
const SCRIPT: &str = r#"
local n = 0
request = function()
    n = n + 1
    return wrk.format("POST", "/api/v1/assign", {["content-type"] = "application/json"},
        '{"user_id":"user_' .. n .. '","experiments":["exp_17","exp_4711"],"context":{"country":"NZ","platform":"ios","age":42}}')
end
"#;
const ROUNDS: usize = 3;

/// Alternates between the two servers, so that both meet the same machine.
pub fn run(cluster: &Cluster) -> anyhow::Result<Vec<Ratio>> {
    println!("assigning over HTTP, {ROUNDS} rounds of 5 seconds against each server");
    let gateway = Gateway::start(&cluster.url("bench"))?;
    let port = free_port()?;
    let mut echo = Server(
        Command::new(built_file("echo")?).arg(format!("127.0.0.1:{port}")).stdout(Stdio::piped()).spawn()?,
    );
    let mut line = String::new();
    BufReader::new(echo.0.stdout.take().context("the echo server has an output")?).read_line(&mut line)?;
    let script = std::env::temp_dir().join(format!("pg_ab_assign_{}.lua", std::process::id()));
    std::fs::write(&script, SCRIPT)?;
    let (mut ours, mut bare) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        ours = ours.max(requests_per_second(&gateway.url(), &script)?);
        bare = bare.max(requests_per_second(&format!("http://127.0.0.1:{port}"), &script)?);
    }
    std::fs::remove_file(&script)?;
    Ok(vec![Ratio {
        what: "POST /api/v1/assign, two experiments",
        unit: "/s",
        measured: ours,
        baseline: "bare axum echo of the same shapes",
        reference: bare,
    }])
}

fn requests_per_second(url: &str, script: &std::path::Path) -> anyhow::Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d5s", "-s"])
        .arg(script)
        .arg(url)
        .output()
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk: {text}");
    let rate =
        text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk says no rate")?;
    Ok(rate.trim().parse()?)
}

/// Killed when it goes out of scope.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
