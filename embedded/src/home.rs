//! `AB_HOME`: where the private server and its clusters live.
//!
//! Run by root, the server belongs to another user who may not be allowed into the checkout (a home directory with
//! mode 0700, for example). What that user must reach then lies under `/var/lib/pg_ab`, and a link in `AB_HOME` says
//! where. Passwords stay in `AB_HOME`, readable by its owner only.

use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::process::{ServerUser, processes_in, signal, wait_until};

/// Where root puts what the server's user cannot reach in `AB_HOME`.
const ELSEWHERE: &str = "/var/lib/pg_ab";

/// The directory `AB_HOME` and what belongs to it.
#[derive(Clone, Debug)]
pub struct Home {
    directory: PathBuf,
    place: PathBuf,
    user: ServerUser,
}

impl Home {
    /// Opens `AB_HOME` (default `.ab` in the checkout), making it where it is missing.
    pub fn open() -> Result<Home> {
        let directory = Home::location();
        make_directory(&directory)?;
        if fs::metadata(&directory)?.uid() != geteuid().as_raw() && !geteuid().is_root() {
            bail!("{} belongs to another user: set AB_HOME to a directory of your own", directory.display());
        }
        let elsewhere = directory.join("elsewhere");
        let place = match fs::read_link(&elsewhere) {
            Ok(place) => place,
            Err(_) if ServerUser::for_data_directory(&directory.join("data"))?.can_reach(&directory) => {
                directory.clone()
            }
            Err(_) => {
                let place = Path::new(ELSEWHERE).join(hash(&directory));
                // Somebody removed AB_HOME, which is how a cluster is thrown away.
                if place.exists() {
                    remove_place(&place)?;
                }
                make_directory(Path::new(ELSEWHERE))?;
                symlink(&place, &elsewhere)?;
                place
            }
        };
        make_directory(&place)?;
        let user = ServerUser::for_data_directory(&place.join("data"))?;
        Ok(Home { directory, place, user })
    }

    /// Opens `AB_HOME` only if it has been made before.
    pub fn open_existing() -> Result<Home> {
        if !Home::exists() {
            bail!("nothing has been made in {} yet: run make up", Home::location().display());
        }
        Home::open()
    }

    /// Whether a cluster has been made in `AB_HOME`.
    pub fn exists() -> bool {
        Home::location().join("password").exists()
    }

    /// Relative to the checkout and not to wherever a test is run.
    fn location() -> PathBuf {
        match std::env::var_os("AB_HOME") {
            Some(directory) if !directory.is_empty() => checkout().join(directory),
            _ => checkout().join(".ab"),
        }
    }

    /// `AB_HOME` itself: passwords, logs and what says who runs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the server's user finds the server and its data: `AB_HOME` or its stand-in.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Who runs the server.
    pub fn user(&self) -> &ServerUser {
        &self.user
    }

    /// The password kept under this name, made at the first call.
    pub fn password(&self, name: &str) -> Result<String> {
        let file = self.directory.join(name);
        if let Ok(password) = fs::read_to_string(&file) {
            return Ok(password.trim().to_owned());
        }
        let password = random_password();
        write_private(&file, &password)?;
        Ok(password)
    }

    /// Holds the named lock of this directory, waiting for it if need be; released when the file is dropped.
    pub fn lock(&self, name: &str) -> Result<File> {
        let file = self.open_lock(name)?;
        file.lock().with_context(|| format!("cannot lock {name} in {}", self.directory.display()))?;
        Ok(file)
    }

    /// Holds the named lock unless somebody else does.
    pub fn try_lock(&self, name: &str) -> Result<Option<File>> {
        let file = self.open_lock(name)?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    fn open_lock(&self, name: &str) -> Result<File> {
        let path = self.directory.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A password that needs no quoting anywhere.
pub fn random_password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect()
}

/// The checkout this was built from.
pub(crate) fn checkout() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Makes a directory and its parents, open to all whatever the umask: the server's user must get through.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_directory(parent)?;
    }
    match fs::create_dir(directory) {
        Err(error) if !directory.is_dir() => {
            Err(error).with_context(|| format!("cannot make the directory {}", directory.display()))
        }
        Err(_) => Ok(()),
        Ok(()) => Ok(fs::set_permissions(directory, Permissions::from_mode(0o755))?),
    }
}

/// Writes a file that its owner alone may read, in one step.
pub(crate) fn write_private(file: &Path, content: &str) -> Result<()> {
    let draft = file.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut out = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| format!("cannot write {}", draft.display()))?;
    writeln!(out, "{content}")?;
    Ok(fs::rename(&draft, file)?)
}

/// Removes a stand-in directory after stopping a server that may still run there.
fn remove_place(place: &Path) -> Result<()> {
    let data = place.join("data");
    for pid in processes_in(&data) {
        signal(pid, Signal::SIGKILL);
    }
    wait_until(Duration::from_secs(10), || processes_in(&data).is_empty());
    fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))
}

fn hash(value: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
