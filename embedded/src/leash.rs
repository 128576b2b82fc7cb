//! Ends a server when the process that started it ends, however that happens.
//!
//! A small shell waits for our end of a pipe to close, which the kernel sees to even after `kill -9`, and then stops
//! the server and removes its directory. A parent-death signal would not do: it follows the thread that forked and
//! not the process, it is lost when the server changes its user, and nobody would be left to remove the directory.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result};

const SCRIPT: &str = r#"
pid=0
while read -r line; do pid=$line; done
if [ "$pid" -gt 0 ]; then
    kill -s "$1" "$pid"
    tries=0
    while [ -e "/proc/$pid/cwd" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -s KILL "$pid"
fi
[ -z "$2" ] || rm -rf -- "$2"
"#;

/// What holds on to one server.
pub(crate) struct Leash(Mutex<Child>);

impl Leash {
    /// A leash that will send `signal` to the process it holds by then, and remove `directory` where one is given.
    pub(crate) fn new(signal: &str, directory: Option<&Path>) -> Result<Leash> {
        let child = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "leash", signal])
            .arg(directory.unwrap_or(Path::new("")))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the shell that watches over a server")?;
        Ok(Leash(Mutex::new(child)))
    }

    /// Names the process to stop at the end; `None` when it has ended already.
    pub(crate) fn hold(&self, pid: Option<u32>) {
        let mut child = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(pipe) = child.stdin.as_mut() {
            let _ = writeln!(pipe, "{}", pid.unwrap_or(0));
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let child = self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        drop(child.stdin.take());
        let _ = child.wait();
    }
}
