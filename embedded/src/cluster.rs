//! One data directory and the server that runs on it.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use postgres::{Client, Config, NoTls};

use crate::home::{Home, make_directory, random_password, write_private};
use crate::leash::Leash;
use crate::process::{
    ServerUser, free_port, log_tail, postmaster_of, processes_in, signal, wait_for_child, wait_until,
};
use crate::server::Server;

/// Longer than any recovery of a test cluster takes, shorter than anybody's patience.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A private PostgreSQL cluster, reached over TCP on 127.0.0.1 as the superuser `postgres` with a random password.
///
/// All methods take `&self`, so that the tests of one program can share a cluster in a `static`.
pub struct Cluster {
    server: Server,
    user: ServerUser,
    directory: PathBuf,
    log: PathBuf,
    password: String,
    running: Mutex<Running>,
    /// Present where the server must not outlive this process.
    leash: Option<Leash>,
    /// Present in throwaway clusters: held as long as their directory is in use.
    lock: Option<File>,
}

/// What changes from start to start.
struct Running {
    port: u16,
    postmaster: Option<Child>,
}

impl Cluster {
    /// A fresh cluster for tests and benchmarks with the extension's files installed. It has its own port and data
    /// directory; when this process ends, however it ends, the server is stopped and the directory removed.
    pub fn throwaway() -> Result<Cluster> {
        Cluster::throwaway_with(&[])
    }

    /// A throwaway cluster with settings of `postgresql.conf`, as `("max_prepared_transactions", "10")`.
    pub fn throwaway_with(settings: &[(&str, &str)]) -> Result<Cluster> {
        let cluster = Cluster::in_throwaway_directory(random_password())?;
        cluster.initialise(settings)?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// A throwaway cluster that follows this one, under the application name `standby`, and has its roles and passwords.
    pub fn standby(&self) -> Result<Cluster> {
        let standby = Cluster::in_throwaway_directory(self.password.clone())?;
        let data = standby.data();
        make_directory(&data)?;
        fs::set_permissions(&data, Permissions::from_mode(0o700))?;
        standby.user.own(&data)?;
        let source = format!("{} application_name=standby", self.conninfo());
        let output = standby
            .user
            .command(&standby.bin("pg_basebackup"))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-password", "--dbname", &source])
            .arg("--pgdata")
            .arg(&data)
            .current_dir(&standby.directory)
            .stdin(Stdio::null())
            .output()
            .context("cannot run pg_basebackup")?;
        if !output.status.success() {
            bail!("pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        standby.start_on_free_port()?;
        Ok(standby)
    }

    /// A cluster without data in a directory of its own, which goes when this process ends.
    fn in_throwaway_directory(password: String) -> Result<Cluster> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let home = Home::open()?;
        let server = Server::prepare(&home)?;
        let all = home.place().join("throwaway");
        make_directory(&all)?;
        let (directory, lock) = {
            // Nobody may take a directory for abandoned between its making and its locking.
            let _lock = home.lock("throwaway.lock")?;
            remove_abandoned(&all)?;
            let directory = all.join(format!("{}-{}", id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
            make_directory(&directory)?;
            let lock = File::create(directory.join("lock"))?;
            lock.lock()?;
            (directory, lock)
        };
        let leash = Leash::new("QUIT", Some(&directory))?;
        Ok(Cluster {
            server,
            user: home.user().clone(),
            log: directory.join("postgresql.log"),
            directory,
            password,
            running: Mutex::new(Running { port: 0, postmaster: None }),
            leash: Some(leash),
            lock: Some(lock),
        })
    }

    fn start_on_free_port(&self) -> Result<()> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.state().port = free_port()?;
            match self.start() {
                Err(error) if attempt < 5 && error.to_string().contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
    }

    /// The lasting cluster of an `AB_HOME`, made at the first call; not started. With `is_held` it ends with this
    /// process.
    pub fn of_home(home: &Home, server: Server, port: u16, is_held: bool) -> Result<Cluster> {
        let cluster = Cluster {
            server,
            user: home.user().clone(),
            log: home.directory().join("postgresql.log"),
            directory: home.place().to_owned(),
            password: home.password("password")?,
            running: Mutex::new(Running { port, postmaster: None }),
            leash: if is_held { Some(Leash::new("INT", None)?) } else { None },
            lock: None,
        };
        // The last file initdb could have failed before.
        if !cluster.directory.join("initialised").exists() {
            let data = cluster.data();
            if data.exists() {
                fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
            }
            cluster.initialise(&[])?;
            File::create(cluster.directory.join("initialised"))?;
        }
        Ok(cluster)
    }

    /// Where the data is.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the server logs.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.state().port
    }

    /// The server this cluster runs on.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The path of one of the server's programs: `psql`, `pg_dump`, `pg_restore`, `pgbench`.
    pub fn bin(&self, program: &str) -> PathBuf {
        self.server.program(program)
    }

    /// One of the server's programs as a command that connects to `database` as the superuser.
    pub fn command(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin(program));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", &self.password)
            .env("PGDATABASE", database)
            .env_remove("PGSERVICE")
            .env_remove("PGOPTIONS");
        command
    }

    /// The connection URL of a database, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", &self.password, database)
    }

    /// The connection URL of a database for another role.
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        let (role, password, database) = (encode(role), encode(password), encode(database));
        format!("postgresql://{role}:{password}@127.0.0.1:{}/{database}", self.port())
    }

    /// Where the server is and how the superuser gets in, as libpq reads it.
    fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres password={}", self.port(), self.password)
    }

    /// A connection as the superuser.
    pub fn connect(&self, database: &str) -> Result<Client> {
        self.connect_as("postgres", &self.password, database)
    }

    /// A connection as another role.
    pub fn connect_as(&self, role: &str, password: &str, database: &str) -> Result<Client> {
        Config::new()
            .host("127.0.0.1")
            .port(self.port())
            .user(role)
            .password(password)
            .dbname(database)
            .connect(NoTls)
            .with_context(|| format!("cannot connect to database {database} as {role}"))
    }

    /// Creates a database, as a copy of `template` where one is named.
    pub fn create_database(&self, name: &str, template: Option<&str>) -> Result<()> {
        let template = template.unwrap_or("template1");
        let statement = format!("create database {} template {}", quote(name), quote(template));
        self.connect("postgres")?
            .batch_execute(&statement)
            .with_context(|| format!("cannot create database {name} from {template}"))
    }

    /// Drops a database if it is there, whoever is connected to it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let statement = format!("drop database if exists {} with (force)", quote(name));
        self.connect("postgres")?
            .batch_execute(&statement)
            .with_context(|| format!("cannot drop database {name}"))
    }

    /// Runs a script through psql, which stops at the first error; answers what it printed, unaligned and bare.
    pub fn psql(&self, database: &str, script: &str) -> Result<String> {
        let mut psql = self
            .command("psql", database)
            // Read like pasted text, each statement in a transaction of its own; -c would make one of all.
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        let mut input = psql.stdin.take().context("psql takes no input")?;
        // Not before its end: a script that fails early leaves the rest unread, which is psql's to tell.
        let _ = input.write_all(script.as_bytes());
        drop(input);
        let output = psql.wait_with_output().context("cannot run psql")?;
        if !output.status.success() {
            bail!("psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The postmaster, if it runs; also one that another process has started.
    pub fn postmaster(&self) -> Option<i32> {
        postmaster_of(&self.data())
    }

    /// Starts the server and waits until it accepts connections.
    pub fn start(&self) -> Result<()> {
        let mut running = self.state();
        let data = self.data();
        if self.postmaster().is_some() {
            bail!("a server runs on {} already", data.display());
        }
        self.clear_leftovers(&mut running)?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let log_start = log.metadata()?.len();
        let mut postmaster = self
            .user
            .command(&self.bin("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &running.port.to_string()])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start PostgreSQL")?;
        if let Some(leash) = &self.leash {
            leash.hold(Some(postmaster.id()));
        }
        let mut has_ended = false;
        let is_ready = wait_until(START_LIMIT, || {
            has_ended = !matches!(postmaster.try_wait(), Ok(None));
            has_ended || is_accepting(&data, postmaster.id())
        });
        if has_ended || !is_ready {
            if !has_ended {
                let _ = postmaster.kill();
                let _ = postmaster.wait();
            }
            self.release();
            bail!("PostgreSQL did not start:\n{}", log_tail(&self.log, log_start));
        }
        running.postmaster = Some(postmaster);
        Ok(())
    }

    /// Stops the server in order: sessions are ended, what is committed is written. No error if none runs.
    pub fn stop(&self) -> Result<()> {
        self.end(Signal::SIGINT)
    }

    /// Stops and starts.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Ends every process of the server by `kill -9`, as a crash would; answers when they are gone.
    pub fn kill(&self) -> Result<()> {
        let mut running = self.state();
        let data = self.data();
        // The postmaster first: it must not see its children die and begin to recover.
        if let Some(postmaster) = self.postmaster() {
            signal(postmaster, Signal::SIGKILL);
        }
        let is_gone = wait_until(STOP_LIMIT, || {
            let left = processes_in(&data);
            left.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
            left.is_empty()
        });
        self.release();
        if let Some(mut postmaster) = running.postmaster.take() {
            let _ = postmaster.wait();
        }
        if is_gone { Ok(()) } else { Err(anyhow!("the server on {} does not die", data.display())) }
    }

    /// Stops every process of the server where it stands; its connections stay, and nothing answers.
    pub fn pause(&self) {
        processes_in(&self.data()).into_iter().for_each(|pid| signal(pid, Signal::SIGSTOP));
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        processes_in(&self.data()).into_iter().for_each(|pid| signal(pid, Signal::SIGCONT));
    }

    /// Makes a standby a server of its own; answers when it takes writes.
    pub fn promote(&self) -> Result<()> {
        self.connect("postgres")?.batch_execute("select pg_promote()").context("cannot promote the standby")
    }

    fn end(&self, how: Signal) -> Result<()> {
        let mut running = self.state();
        let data = self.data();
        if let Some(postmaster) = self.postmaster() {
            signal(postmaster, how);
            let is_gone = match running.postmaster.as_mut() {
                Some(child) => wait_for_child(child, STOP_LIMIT),
                None => wait_until(STOP_LIMIT, || postmaster_of(&data) != Some(postmaster)),
            };
            if !is_gone {
                bail!("the server on {} does not stop: see {}", data.display(), self.log.display());
            }
        }
        self.release();
        if let Some(mut postmaster) = running.postmaster.take() {
            let _ = postmaster.wait();
        }
        Ok(())
    }

    fn release(&self) {
        if let Some(leash) = &self.leash {
            leash.hold(None);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// After a crash: waits for children the server left behind and removes a pid file whose number may be taken.
    fn clear_leftovers(&self, running: &mut Running) -> Result<()> {
        if let Some(mut postmaster) = running.postmaster.take() {
            let _ = postmaster.wait();
        }
        let data = self.data();
        if !wait_until(Duration::from_secs(5), || processes_in(&data).is_empty()) {
            processes_in(&data).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            wait_until(Duration::from_secs(5), || processes_in(&data).is_empty());
        }
        match fs::remove_file(data.join("postmaster.pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn initialise(&self, settings: &[(&str, &str)]) -> Result<()> {
        let data = self.data();
        make_directory(&data)?;
        fs::set_permissions(&data, Permissions::from_mode(0o700))?;
        self.user.own(&data)?;
        let secret = data.with_extension("password");
        write_private(&secret, &self.password)?;
        self.user.own(&secret)?;
        let output = self
            .user
            .command(&self.bin("initdb"))
            .arg("-D")
            .arg(&data)
            .arg(format!("--pwfile={}", secret.display()))
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", locale()])
            .args(["--data-checksums", "--no-instructions"])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .context("cannot run initdb")?;
        fs::remove_file(&secret)?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        // No word about fsync and synchronous_commit: they are on, and stay on.
        let mut configuration = String::from(
            "\n# Of this private cluster.\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             max_connections = 200\nlog_line_prefix = '%m [%p] %q%u@%d '\ntimezone = 'UTC'\nlog_timezone = 'UTC'\n",
        );
        for (name, value) in settings {
            configuration.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        let path = data.join("postgresql.conf");
        let mut file = File::options().append(true).open(&path)?;
        file.write_all(configuration.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = self.end(Signal::SIGQUIT);
        } else if self.leash.is_some() {
            let _ = self.stop();
        }
    }
}

/// Whether the postmaster has written that it takes connections, on the line where `pg_ctl` reads it too.
fn is_accepting(data: &Path, postmaster: u32) -> bool {
    let Ok(file) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let lines: Vec<&str> = file.lines().collect();
    lines.first().is_some_and(|pid| pid.trim() == postmaster.to_string())
        && lines.get(7).is_some_and(|status| ["ready", "standby"].contains(&status.trim()))
}

/// Removes the directories of throwaway clusters whose process has ended and whose leash did not get to it.
fn remove_abandoned(all: &Path) -> Result<()> {
    for directory in fs::read_dir(all)?.flatten().map(|entry| entry.path()) {
        let is_abandoned = match File::open(directory.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(_) => true,
        };
        if is_abandoned {
            let data = directory.join("data");
            processes_in(&data).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            wait_until(Duration::from_secs(5), || processes_in(&data).is_empty());
            let _ = fs::remove_dir_all(&directory);
        }
    }
    Ok(())
}

/// Byte order and UTF-8 where the system has that, so that sorting is the same on every machine.
fn locale() -> &'static str {
    let known = Command::new("locale").arg("-a").output().map(|output| output.stdout).unwrap_or_default();
    let has_utf8 = String::from_utf8_lossy(&known).lines().any(|name| name == "C.UTF-8" || name == "C.utf8");
    if has_utf8 { "--locale=C.UTF-8" } else { "--locale=C" }
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
