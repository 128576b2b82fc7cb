//! Processes, users and ports: what the kernel knows about the servers started here.
//!
//! Whether a server runs is read from `/proc` and never from a pid file alone, because a pid file outlives a
//! `kill -9` and its number may belong to somebody else by then.

use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use rand::Rng;

/// Who runs PostgreSQL, which refuses to run as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerUser {
    /// The user who runs this process.
    Current,
    /// Somebody else, because this process runs as root.
    Other {
        /// User id.
        uid: u32,
        /// Primary group id.
        gid: u32,
    },
}

impl ServerUser {
    /// The user for a data directory: its owner where it exists, the user `postgres` for root, else the current one.
    pub fn for_data_directory(data: &Path) -> Result<ServerUser> {
        if !geteuid().is_root() {
            return Ok(ServerUser::Current);
        }
        if let Ok(metadata) = fs::metadata(data)
            && metadata.uid() != 0
        {
            return Ok(ServerUser::Other { uid: metadata.uid(), gid: metadata.gid() });
        }
        match User::from_name("postgres")? {
            Some(user) => Ok(ServerUser::Other { uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
            None => bail!(
                "PostgreSQL does not run as root and there is no user postgres: install the server's package"
            ),
        }
    }

    /// A command that runs `program` as this user, in a process group that Ctrl-C does not reach.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            ServerUser::Current => Command::new("setsid"),
            ServerUser::Other { uid, gid } => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--init-groups"]);
                command.args(["--", "setsid"]);
                command
            }
        };
        command.arg(program);
        command.env("LC_ALL", "C");
        command
    }

    /// Gives `path` to this user.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        if let ServerUser::Other { uid, gid } = self {
            chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("cannot hand {} over", path.display()))?;
        }
        Ok(())
    }

    /// Whether this user can get to what lies in `directory`.
    pub(crate) fn can_reach(&self, directory: &Path) -> bool {
        match self {
            ServerUser::Current => true,
            ServerUser::Other { .. } => {
                let mut command = self.command(Path::new("test"));
                command.arg("-x").arg(directory).current_dir("/");
                command.status().is_ok_and(|status| status.success())
            }
        }
    }
}

/// A TCP port of 127.0.0.1 that nobody listens on, below the range from which the kernel takes the ports of outgoing
/// connections: a server that is stopped and started again finds its port still free.
pub fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::rng().random_range(20_000..32_000);
        if is_port_free(port) {
            return Ok(port);
        }
    }
    bail!("found no free port on 127.0.0.1 between 20000 and 32000")
}

/// Whether a server could listen on this port of 127.0.0.1.
pub fn is_port_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The processes whose working directory is `directory`: for a data directory, the server and its children.
pub(crate) fn processes_in(directory: &Path) -> Vec<i32> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| works_in(*pid, &directory))
        .collect()
}

/// Whether the process exists and works in `directory`, given in canonical form. A zombie works nowhere.
fn works_in(pid: i32, directory: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|place| place == directory)
}

/// The postmaster of a data directory, if it really runs.
pub fn postmaster_of(data: &Path) -> Option<i32> {
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = file.lines().next()?.trim().parse().ok()?;
    works_in(pid, &data.canonicalize().ok()?).then_some(pid)
}

/// Whether the process runs a program of this name.
pub fn runs_program(pid: i32, name: &str) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| {
        path.to_string_lossy().trim_end_matches(" (deleted)").ends_with(&format!("/{name}"))
    })
}

/// Whether the process runs this very file and not an earlier one of the same name.
pub fn runs_file(pid: i32, file: &Path) -> bool {
    match (fs::metadata(format!("/proc/{pid}/exe")), fs::metadata(file)) {
        (Ok(running), Ok(built)) => (running.dev(), running.ino()) == (built.dev(), built.ino()),
        _ => false,
    }
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Sends a signal and waits until the process is gone; false when it is not in time. For processes of other parents.
pub fn stop(pid: i32, how: Signal, limit: Duration) -> bool {
    signal(pid, how);
    // A zombie has no executable: it is as good as gone.
    wait_until(limit, || fs::read_link(format!("/proc/{pid}/exe")).is_err())
}

/// Waits until the condition holds; false when it does not in time.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
}

/// Waits until a child has ended; false when it does not in time.
pub(crate) fn wait_for_child(child: &mut Child, limit: Duration) -> bool {
    wait_until(limit, || !matches!(child.try_wait(), Ok(None)))
}

/// The last lines of a log from `offset` on, for the error that says why a server did not start.
pub fn log_tail(log: &Path, offset: u64) -> String {
    let Ok(mut file) = fs::File::open(log) else { return String::new() };
    if file.seek(SeekFrom::Start(offset)).is_err() {
        return String::new();
    }
    let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
