//! The installed PostgreSQL, copied to where the extension can be put beside it without asking root.
//!
//! PostgreSQL finds its files relative to its own executable as long as both lie under one directory, so a copy of
//! `bin`, `lib` and `share` at the same relative places works anywhere. The copy is made once for each state of the
//! installed server and shared by all clusters of an `AB_HOME`.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::home::{Home, checkout, make_directory};

/// The programs to copy: `bin` may be shared with everything else on the machine.
const PROGRAMS: &[&str] = &[
    "createdb",
    "initdb",
    "pg_basebackup",
    "pg_checksums",
    "pg_config",
    "pg_controldata",
    "pg_ctl",
    "pg_dump",
    "pg_dumpall",
    "pg_isready",
    "pg_resetwal",
    "pg_restore",
    "pg_upgrade",
    "pg_waldump",
    "pgbench",
    "postgres",
    "psql",
    "vacuumdb",
];

/// A relocated copy of the server with the extension installed.
#[derive(Clone, Debug)]
pub struct Server {
    root: PathBuf,
    bin: PathBuf,
    library: PathBuf,
    extension: PathBuf,
}

impl Server {
    /// The copy of the installed server in `home` with the extension as built last.
    pub fn prepare(home: &Home) -> Result<Server> {
        let _lock = home.lock("server.lock")?;
        let installed = Installed::find()?;
        let copies = home.place().join("server");
        let root = copies.join(installed.state()?);
        if !root.is_dir() {
            make_directory(&copies)?;
            let draft = copies.join("draft");
            if draft.exists() {
                fs::remove_dir_all(&draft)?;
            }
            installed.copy(&draft).context("cannot copy the installed PostgreSQL")?;
            fs::rename(&draft, &root)?;
            remove_unused(&copies, &root);
        }
        install_extension(&root, &installed)?;
        Ok(Server {
            bin: under(&root, &installed.bin),
            library: under(&root, &installed.library).join("pg_ab.so"),
            extension: under(&root, &installed.share).join("extension"),
            root,
        })
    }

    /// The path of one of the server's programs: `psql`, `pg_dump`, `postgres`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Where the copy is; what `DESTDIR` was for `make install`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// When the extension's library was installed: sessions from before have another one loaded.
    pub fn extension_installed_at(&self) -> Result<SystemTime> {
        Ok(fs::metadata(&self.library)?.modified()?)
    }

    /// The script that `CREATE EXTENSION` runs.
    pub fn install_script(&self) -> Result<PathBuf> {
        let control = fs::read_to_string(self.extension.join("pg_ab.control"))?;
        let version = control
            .lines()
            .find_map(|line| line.strip_prefix("default_version")?.trim().strip_prefix('='))
            .context("pg_ab.control names no default_version")?;
        Ok(self.extension.join(format!("pg_ab--{}.sql", version.trim().trim_matches('\''))))
    }
}

/// What `pg_config` says.
struct Installed {
    pg_config: String,
    version: String,
    bin: PathBuf,
    library: PathBuf,
    share: PathBuf,
}

impl Installed {
    fn find() -> Result<Installed> {
        let pg_config = env::var("PG_CONFIG").ok().filter(|path| !path.is_empty());
        let pg_config = pg_config.unwrap_or_else(|| "pg_config".to_owned());
        let output = Command::new(&pg_config)
            .args(["--version", "--bindir", "--pkglibdir", "--sharedir"])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {pg_config}: install PostgreSQL or set PG_CONFIG"))?;
        let text = String::from_utf8(output.stdout)?;
        let mut lines = text.lines();
        match (lines.next(), lines.next(), lines.next(), lines.next()) {
            (Some(version), Some(bin), Some(library), Some(share)) => {
                let installed = Installed {
                    pg_config,
                    version: version.to_owned(),
                    bin: bin.into(),
                    library: library.into(),
                    share: share.into(),
                };
                installed.check()?;
                Ok(installed)
            }
            _ => bail!("{pg_config} did not say where PostgreSQL is"),
        }
    }

    fn check(&self) -> Result<()> {
        if !self.bin.join("postgres").exists() {
            bail!("there is no server in {}: install it or set PG_CONFIG to another", self.bin.display());
        }
        let first = |path: &Path| path.components().nth(1).map(|part| part.as_os_str().to_owned());
        if first(&self.bin) != first(&self.share) || first(&self.bin) != first(&self.library) {
            bail!(
                "this PostgreSQL cannot be copied: {}, {} and {} have no directory in common; set PG_CONFIG to another",
                self.bin.display(),
                self.library.display(),
                self.share.display()
            );
        }
        Ok(())
    }

    /// A name for the exact state of the installed files.
    fn state(&self) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        (&self.version, &self.bin, &self.library, &self.share).hash(&mut hasher);
        for program in PROGRAMS {
            hash_tree(&self.bin.join(program), &mut hasher)?;
        }
        hash_tree(&self.library, &mut hasher)?;
        hash_tree(&self.share, &mut hasher)?;
        let number = self.version.split_whitespace().nth(1).unwrap_or("unknown");
        Ok(format!("{number}-{:016x}", hasher.finish()))
    }

    fn copy(&self, root: &Path) -> Result<()> {
        make_directory(&under(root, &self.bin))?;
        for program in PROGRAMS {
            copy_tree(&self.bin.join(program), &under(root, &self.bin).join(program))?;
        }
        copy_tree(&self.library, &under(root, &self.library))?;
        copy_tree(&self.share, &under(root, &self.share))
    }
}

/// An absolute path as it is below another root.
fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>())
}

/// Entries of a directory that belong to the server, in a fixed order. An extension of ours that `make install` has put
/// there is left out: the copy gets its own.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("pg_ab") {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

fn hash_tree(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    path.hash(hasher);
    if metadata.is_dir() {
        for entry in entries(path)? {
            hash_tree(&entry, hasher)?;
        }
    } else {
        (metadata.len(), metadata.mtime(), metadata.mtime_nsec()).hash(hasher);
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(from) else { return Ok(()) };
    if metadata.is_dir() {
        make_directory(to)?;
        for entry in entries(from)? {
            if let Some(name) = entry.file_name() {
                copy_tree(&entry, &to.join(name))?;
            }
        }
        return Ok(());
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from)?;
        // A link to a sibling is copied as such; any other keeps pointing at what it points at now.
        let target =
            if target.components().count() == 1 { target } else { from.canonicalize().unwrap_or(target) };
        return symlink(target, to).with_context(|| format!("cannot link {}", to.display()));
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Removes copies of earlier states of the server unless something still runs from them.
fn remove_unused(copies: &Path, current: &Path) {
    let Ok(copies) = fs::read_dir(copies) else { return };
    let running: Vec<PathBuf> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|process| fs::read_link(process.path().join("exe")).ok())
        .collect();
    for copy in copies.flatten().map(|copy| copy.path()).filter(|copy| copy != current) {
        let is_used =
            copy.canonicalize().is_ok_and(|copy| running.iter().any(|file| file.starts_with(&copy)));
        if !is_used {
            let _ = fs::remove_dir_all(&copy);
        }
    }
}

/// Where cargo puts what it builds, as the running program's own place tells.
pub fn target_directory() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let profile = program.ancestors().find(|place| place.ends_with("release") || place.ends_with("debug"));
    match profile.and_then(Path::parent) {
        Some(target) => Ok(target.to_owned()),
        None => bail!("{} does not lie in a target directory of cargo", program.display()),
    }
}

/// A file of the release build.
pub fn built_file(name: &str) -> Result<PathBuf> {
    let file = target_directory()?.join("release").join(name);
    if !file.exists() {
        bail!("{} has not been built: run make build", file.display());
    }
    Ok(file)
}

/// Installs the extension by `make install` unless these very files are there already.
fn install_extension(root: &Path, installed: &Installed) -> Result<()> {
    let library = built_file("libpg_ab.so")?;
    let extension = under(root, &installed.share).join("extension");
    let mut is_current = is_same(&library, &under(root, &installed.library).join("pg_ab.so"))
        && is_same(&checkout().join("sql/pg_ab.control"), &extension.join("pg_ab.control"));
    let scripts = target_directory()?.join("sql");
    for script in entries_of(&scripts)? {
        is_current &= script.file_name().is_some_and(|name| is_same(&script, &extension.join(name)));
    }
    if is_current {
        return Ok(());
    }
    let target = target_directory()?;
    // The caller's own make must not see this one as its child: it would offer a job server that is closed here.
    let mut make = Command::new("make");
    if target != checkout().join("target") {
        make.env("CARGO_TARGET_DIR", &target);
    }
    let output = make
        .args(["--no-print-directory", "install-files"])
        .arg("-C")
        .arg(checkout())
        .arg(format!("PG_CONFIG={}", installed.pg_config))
        .arg(format!("DESTDIR={}", root.display()))
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("MFLAGS")
        .output()
        .context("cannot run make")?;
    if !output.status.success() {
        bail!("make install-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn entries_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("{} is missing: run make build", directory.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::read(one), fs::read(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
