//! Events on local disk while PostgreSQL does not take them.
//!
//! A directory of segments, each a file of lines: the CRC-32 of the rest of the line in eight hexadecimal digits, a space, and
//! the event as JSON. Whoever writes gathers what has come meanwhile and flushes it once; only then is it acknowledged.
//! Whoever reads takes the oldest segment, and removes it when the database has all of it.
//!
//! Nothing says how far a segment has been read. After a restart it is read again from its beginning, and the identity
//! of an event makes its second time a duplicate; that is one file less to keep in step with the others.
//!
//! What is not as it was written, the disk has changed, or a crash has cut. A cut can only be at the end of the last
//! segment and was never acknowledged, so it is taken off. Any other damage costs the lines that it hit, and their segment is
//! kept under another name when the rest of it is stored.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::{Notify, oneshot};
use tracing::{error, info, warn};

use crate::clock::local_now;
use crate::event::Event;

/// What makes a file a segment; its name is when it was begun, in microseconds since 1970.
const EXTENSION: &str = "events";
/// What is added to the name of a segment with damage in it.
const DAMAGED: &str = "damaged";
/// Where lines go that neither the events nor the rejected events of the database take.
const SET_ASIDE: &str = "unstorable.damaged";
const LOCK: &str = "lock";

const MAX_SEGMENT: u64 = 16 * 1024 * 1024;
const MIN_SEGMENT: u64 = 64 * 1024;
/// A spool has about so many segments when it is full: space comes back a segment at a time.
const SEGMENTS: u64 = 16;
/// What may wait in memory for its turn on the disk.
const MAX_WAITING: usize = 64 * 1024 * 1024;
/// What is flushed at once.
const MAX_GROUP: usize = 4 * 1024 * 1024;
/// How much is read at once, and how many events are handed over at once. Longer than any line.
const READ: usize = 1024 * 1024;
const MAX_READ_EVENTS: usize = 1_000;
/// Eight digits and a space.
const PREFIX: usize = 9;

/// Why events are not in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The spool, or its disk, is full.
    Full,
    /// The disk did not do what it should.
    Broken,
}

/// Becomes what became of events that were handed to the spool; an error of the channel means that nothing did.
pub type Receipt = oneshot::Receiver<Result<(), Refusal>>;

/// The spool of one gateway.
pub struct Spool {
    disk: Arc<Disk>,
    writer: mpsc::Sender<Job>,
}

/// Lines to be written and flushed.
struct Job {
    lines: Vec<u8>,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

/// Events read from the spool, to be given back to [`Spool::finish`] when they are stored.
#[derive(Debug)]
pub struct Chunk {
    /// In the order in which they came.
    pub events: Vec<Event>,
    segment: u64,
    end: u64,
    bad_lines: u64,
}

/// What the one who writes and the one who reads share.
struct Disk {
    directory: PathBuf,
    limit: u64,
    state: Mutex<State>,
    /// Told when there may be more to read.
    written: Notify,
    in_trouble: AtomicBool,
    /// Fails the next flush, as a dying disk would.
    #[cfg(test)]
    fails: AtomicBool,
    _lock: File,
}

#[derive(Default)]
struct State {
    /// How much of each segment is flushed, by its name.
    segments: BTreeMap<u64, u64>,
    /// The segment that is written to.
    active: Option<u64>,
    /// Something is on its way into the active segment, which must therefore stay.
    is_writing: bool,
    /// Bytes in memory.
    waiting: usize,
    /// How far the oldest segment has been read.
    offset: u64,
    /// What could not be read of it.
    bad_lines: u64,
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.values().sum()
    }
}

impl Spool {
    /// Opens the spool in `directory`, making that where it is missing; `limit` bounds its size in bytes.
    ///
    /// # Errors
    /// When the directory cannot be used, or another gateway uses it.
    pub fn open(directory: &Path, limit: u64) -> anyhow::Result<Spool> {
        let place = directory.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot make the spool directory {place}"))?;
        let lock = private().create(true).truncate(false).open(directory.join(LOCK)).with_context(|| {
            format!("cannot write to the spool directory {place}: set AB_SPOOL_DIR to another")
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another gateway uses the spool directory {place}: give each its own AB_SPOOL_DIR")
            }
            Err(TryLockError::Error(error)) => {
                return Err(anyhow!(error).context(format!("cannot lock the spool directory {place}")));
            }
        }
        let segments =
            find_segments(directory).with_context(|| format!("cannot read the spool directory {place}"))?;
        let disk = Arc::new(Disk {
            directory: directory.to_owned(),
            limit,
            state: Mutex::new(State { segments, ..State::default() }),
            written: Notify::new(),
            in_trouble: AtomicBool::new(false),
            #[cfg(test)]
            fails: AtomicBool::new(false),
            _lock: lock,
        });
        let bytes = disk.state().bytes();
        if bytes > 0 {
            info!(bytes, "events of an earlier run wait in the spool directory {place}");
        }
        let (writer, jobs) = mpsc::channel();
        let writing = Arc::clone(&disk);
        thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || Appender { disk: writing, file: None }.run(&jobs))
            .context("cannot start the thread that writes the spool")?;
        Ok(Spool { disk, writer })
    }

    /// Begins to put `events` on disk.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn append(&self, events: &[Event]) -> Result<Receipt, Refusal> {
        let mut lines = Vec::with_capacity(events.len() * 256);
        for event in events {
            write_line(&mut lines, event).map_err(|error| {
                error!(%error, "event {} cannot be spooled", event.label());
                Refusal::Broken
            })?;
        }
        let (answer, receipt) = oneshot::channel();
        let mut state = self.disk.state();
        let after = state.bytes().saturating_add((state.waiting + lines.len()) as u64);
        if after > self.disk.limit || state.waiting + lines.len() > MAX_WAITING {
            return Err(Refusal::Full);
        }
        state.waiting += lines.len();
        drop(state);
        self.writer.send(Job { lines, answer }).map_err(|_| Refusal::Broken)?;
        Ok(receipt)
    }

    /// Whether all that was ever in it is in the database.
    pub fn is_empty(&self) -> bool {
        self.disk.state().segments.is_empty()
    }

    /// How much waits on disk.
    pub fn bytes(&self) -> u64 {
        self.disk.state().bytes()
    }

    /// How long the oldest segment has been there.
    pub fn age(&self) -> Duration {
        match self.disk.state().segments.first_key_value() {
            Some((&begun, _)) => {
                Duration::from_micros(u64::try_from(local_now()).unwrap_or(0).saturating_sub(begun))
            }
            None => Duration::ZERO,
        }
    }

    /// Waits until something may have been written since this was last asked.
    pub async fn written(&self) {
        self.disk.written.notified().await;
    }

    /// The oldest events, from where [`Spool::finish`] was last told; nothing when there are none.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn read(&self) -> io::Result<Option<Chunk>> {
        let disk = Arc::clone(&self.disk);
        let read = move || disk.read().inspect_err(|error| disk.skip_unreadable(error));
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// The events of `chunk` are in the database: goes on behind them, and removes their segment when that was the last of
    /// it.
    pub async fn finish(&self, chunk: Chunk) {
        let disk = Arc::clone(&self.disk);
        // It ends only with the process.
        let _ = tokio::task::spawn_blocking(move || disk.finish(&chunk)).await;
    }

    /// Keeps an event in a file of its own that is not read again.
    ///
    /// # Errors
    /// When it is not on disk.
    pub async fn set_aside(&self, event: &Event) -> io::Result<()> {
        let mut line = Vec::new();
        write_line(&mut line, event)?;
        let disk = Arc::clone(&self.disk);
        let path = self.disk.directory.join(SET_ASIDE);
        error!(file = %path.display(), "event {} can be stored nowhere: set aside", event.label());
        tokio::task::spawn_blocking(move || {
            let mut file = private().append(true).create(true).open(path)?;
            file.write_all(&line)?;
            file.sync_all()?;
            disk.flush_directory()
        })
        .await
        .map_err(io::Error::other)?
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Spool").field("directory", &self.disk.directory).finish_non_exhaustive()
    }
}

/// Files that nobody else may read: events tell about people.
fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.write(true).mode(0o600);
    options
}

/// The segments that an earlier run left, with their lengths, the last one without what a crash has cut.
fn find_segments(directory: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(name) = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok())
        {
            segments.insert(name, fs::metadata(&path)?.len());
        }
    }
    if let Some((&last, length)) = segments.iter_mut().next_back() {
        let path = segment_path(directory, last);
        let whole = memchr::memrchr(b'\n', &fs::read(&path)?).map_or(0, |end| end as u64 + 1);
        if whole < *length {
            let bytes = *length - whole;
            warn!(file = %path.display(), bytes, "took off a line that was cut while it was written, unacknowledged");
            let file = private().open(&path)?;
            file.set_len(whole)?;
            file.sync_all()?;
            *length = whole;
        }
    }
    // A segment without a line has nothing to wait for; a crash leaves one.
    let empty: Vec<u64> =
        segments.iter().filter(|(_, length)| **length == 0).map(|(name, _)| *name).collect();
    for name in empty {
        fs::remove_file(segment_path(directory, name))?;
        segments.remove(&name);
    }
    File::open(directory)?.sync_all()?;
    Ok(segments)
}

fn segment_path(directory: &Path, name: u64) -> PathBuf {
    // In their order where somebody lists them.
    directory.join(format!("{name:020}.{EXTENSION}"))
}

fn write_line(lines: &mut Vec<u8>, event: &Event) -> serde_json::Result<()> {
    let json = event.to_json()?;
    lines.extend_from_slice(format!("{:08x} ", crc32fast::hash(json.as_bytes())).as_bytes());
    lines.extend_from_slice(json.as_bytes());
    lines.push(b'\n');
    Ok(())
}

/// The event of a line, unless the line is not as it was written.
fn read_line(line: &[u8]) -> Option<Event> {
    let (prefix, json) = line.split_at_checked(PREFIX)?;
    let digits = std::str::from_utf8(prefix.strip_suffix(b" ")?).ok()?;
    if u32::from_str_radix(digits, 16).ok()? != crc32fast::hash(json) {
        return None;
    }
    Event::from_json(std::str::from_utf8(json).ok()?).ok()
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn segment_limit(&self) -> u64 {
        (self.limit / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    fn flush(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.fails.swap(false, Ordering::Relaxed) {
            return Err(io::Error::other("a dying disk"));
        }
        file.sync_data()
    }

    /// Without this a file that was made, renamed or removed may not be so after a crash.
    fn flush_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn read(&self) -> io::Result<Option<Chunk>> {
        let (segment, start, length) = {
            let state = self.state();
            let Some((&segment, &length)) = state.segments.first_key_value() else { return Ok(None) };
            (segment, state.offset, length)
        };
        let wanted = (length - start).min(READ as u64);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(READ)];
        let mut file = File::open(segment_path(&self.directory, segment))?;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        let is_end = start + wanted == length;
        let mut chunk = Chunk { events: Vec::new(), segment, end: start, bad_lines: 0 };
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && chunk.events.len() < MAX_READ_EVENTS {
            let (line, length) = match memchr::memchr(b'\n', rest) {
                Some(length) => (&rest[..length], length + 1),
                // No line is as long as what is read at once, so a piece of that length is no line.
                None if is_end || rest.len() == READ => (rest, rest.len()),
                None => break,
            };
            match read_line(line) {
                Some(event) => chunk.events.push(event),
                None => chunk.bad_lines += 1,
            }
            chunk.end += length as u64;
            rest = &rest[length..];
        }
        Ok(Some(chunk))
    }

    fn finish(&self, chunk: &Chunk) {
        let mut state = self.state();
        state.offset = chunk.end;
        state.bad_lines += chunk.bad_lines;
        if state.segments.get(&chunk.segment).is_none_or(|&length| chunk.end < length) {
            return;
        }
        if state.active == Some(chunk.segment) {
            if state.is_writing {
                return;
            }
            // What comes next begins another one.
            state.active = None;
        }
        let bad_lines = state.bad_lines;
        self.leave(state, chunk.segment, bad_lines > 0);
    }

    /// Is done with the oldest segment; what is damaged is kept for those who may find more in it.
    fn leave(&self, mut state: MutexGuard<'_, State>, segment: u64, is_damaged: bool) {
        state.segments.remove(&segment);
        state.offset = 0;
        let bad_lines = std::mem::take(&mut state.bad_lines);
        drop(state);
        let path = segment_path(&self.directory, segment);
        let outcome = if is_damaged {
            let kept = path.with_added_extension(DAMAGED);
            error!(
                file = %kept.display(), bad_lines,
                "a segment of the spool is damaged: what could be read of it is stored, and it is kept for the rest"
            );
            fs::rename(&path, kept)
        } else {
            fs::remove_file(&path)
        };
        if let Err(error) = outcome.and_then(|()| self.flush_directory()) {
            warn!(file = %path.display(), %error, "a segment that is done with stays, and will be read again after a restart");
        }
    }

    /// After a failure to read: what will never be readable must not stand in the way of the rest.
    fn skip_unreadable(&self, error: &io::Error) {
        const EIO: i32 = 5;
        let is_lasting = error.raw_os_error() == Some(EIO)
            || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof);
        let mut state = self.state();
        let Some((&segment, _)) = state.segments.first_key_value() else { return };
        if !is_lasting || (state.active == Some(segment) && state.is_writing) {
            return;
        }
        state.active = state.active.filter(|&active| active != segment);
        self.leave(state, segment, true);
    }
}

/// The thread that writes.
struct Appender {
    disk: Arc<Disk>,
    /// The active segment with its name and length, as far as this side knows.
    file: Option<(u64, File, u64)>,
}

impl Appender {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut lines = first.lines;
            let mut answers = vec![first.answer];
            while lines.len() < MAX_GROUP
                && let Ok(next) = jobs.try_recv()
            {
                lines.extend_from_slice(&next.lines);
                answers.push(next.answer);
            }
            let outcome = self.write(&lines);
            self.disk.state().waiting -= lines.len();
            let outcome = match outcome {
                Ok(()) => {
                    if self.disk.in_trouble.swap(false, Ordering::Relaxed) {
                        info!("the spool can be written again");
                    }
                    self.disk.written.notify_one();
                    Ok(())
                }
                Err(error) => {
                    let is_full = matches!(
                        error.kind(),
                        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                    );
                    if !self.disk.in_trouble.swap(true, Ordering::Relaxed) {
                        error!(%error, "the spool cannot be written: what comes is refused meanwhile");
                    }
                    Err(if is_full { Refusal::Full } else { Refusal::Broken })
                }
            };
            for answer in answers {
                // Who has gone away was not told that it was stored.
                let _ = answer.send(outcome);
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (name, mut file, length) = self.segment()?;
        match file.write_all(lines).and_then(|()| self.disk.flush(&file)) {
            Ok(()) => {
                let length = length + lines.len() as u64;
                let mut state = self.disk.state();
                state.segments.insert(name, length);
                state.is_writing = false;
                drop(state);
                self.file = Some((name, file, length));
                Ok(())
            }
            Err(error) => {
                self.give_up(name, &file, length);
                Err(error)
            }
        }
    }

    /// The segment to write to, marked as being written.
    fn segment(&mut self) -> io::Result<(u64, File, u64)> {
        let mut state = self.disk.state();
        if let Some((name, file, length)) = self.file.take()
            && state.active == Some(name)
            && length < self.disk.segment_limit()
        {
            state.is_writing = true;
            return Ok((name, file, length));
        }
        state.active = None;
        let now = u64::try_from(local_now()).unwrap_or(0);
        let newest = state.segments.last_key_value().map_or(0, |(&name, _)| name);
        drop(state);
        let mut name = now.max(newest + 1);
        let file = loop {
            match private().create_new(true).open(segment_path(&self.disk.directory, name)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => name += 1,
                other => break other?,
            }
        };
        if let Err(error) = self.disk.flush_directory() {
            self.give_up(name, &file, 0);
            return Err(error);
        }
        let mut state = self.disk.state();
        state.active = Some(name);
        state.is_writing = true;
        Ok((name, file, 0))
    }

    /// After a failure nobody knows what of the last group is on disk, nor would a second flush tell: the kernel
    /// forgets what it could not write. So nothing is added to this segment any more, and what was not flushed is taken off.
    fn give_up(&self, name: u64, file: &File, length: u64) {
        let path = segment_path(&self.disk.directory, name);
        let outcome = if length == 0 {
            fs::remove_file(&path).and_then(|()| self.disk.flush_directory())
        } else {
            file.set_len(length).and_then(|()| file.sync_all())
        };
        if let Err(error) = outcome {
            // Its events were not acknowledged; should they be there after all, they are stored, which does no harm.
            warn!(file = %path.display(), %error, "what could not be flushed could not be taken off either");
        }
        let mut state = self.disk.state();
        state.active = None;
        state.is_writing = false;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::event::tests::event;

    fn open(directory: &TempDir) -> Spool {
        Spool::open(directory.path(), 1 << 30).unwrap()
    }

    async fn put(spool: &Spool, users: std::ops::Range<usize>) -> Result<(), Refusal> {
        let events: Vec<Event> = users.map(|user| event(&format!("user_{user}"))).collect();
        spool.append(&events)?.await.unwrap()
    }

    /// All that is in the spool, taken out of it.
    async fn take(spool: &Spool) -> Vec<String> {
        let mut users = Vec::new();
        while let Some(mut chunk) = spool.read().await.unwrap() {
            users.extend(std::mem::take(&mut chunk.events).into_iter().map(|event| event.user_id));
            spool.finish(chunk).await;
        }
        users
    }

    fn users(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|user| format!("user_{user}")).collect()
    }

    fn files(directory: &TempDir, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        files.sort();
        files
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_in_order_also_after_a_restart() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        assert!(spool.is_empty() && spool.read().await.unwrap().is_none());
        put(&spool, 0..2_500).await.unwrap();
        put(&spool, 2_500..2_501).await.unwrap();
        let bytes = spool.bytes();
        assert!(bytes > 2_501 * 100, "{bytes}");
        let mode = fs::metadata(&files(&directory, EXTENSION)[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(spool);
        let spool = reopen(&directory).await;
        assert_eq!(spool.bytes(), bytes);
        put(&spool, 2_501..2_600).await.unwrap();
        assert_eq!(take(&spool).await, users(0..2_600));
        assert!(spool.is_empty());
        assert_eq!((spool.bytes(), spool.age()), (0, Duration::ZERO));
        assert!(files(&directory, EXTENSION).is_empty());
        // A segment that was emptied is not written to any more.
        put(&spool, 0..1).await.unwrap();
        assert_eq!(take(&spool).await, users(0..1));
    }

    /// The thread of the spool before holds the lock until it notices.
    async fn reopen(directory: &TempDir) -> Spool {
        loop {
            match Spool::open(directory.path(), 1 << 30) {
                Ok(spool) => return spool,
                Err(error) => assert!(error.to_string().contains("another gateway"), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_was_read_and_not_finished_is_read_again() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        put(&spool, 0..1_500).await.unwrap();
        let chunk = spool.read().await.unwrap().unwrap();
        assert_eq!(chunk.events.len(), MAX_READ_EVENTS);
        assert_eq!(spool.read().await.unwrap().unwrap().events.len(), MAX_READ_EVENTS);
        spool.finish(chunk).await;
        assert_eq!(spool.read().await.unwrap().unwrap().events.len(), 500);
        drop(spool);
        assert_eq!(take(&reopen(&directory).await).await, users(0..1_500));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_is_written_while_it_is_read_is_read_once() {
        const BATCHES: usize = 100;
        let directory = TempDir::new().unwrap();
        let spool = Arc::new(open(&directory));
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let spool = Arc::clone(&spool);
                tokio::spawn(async move {
                    for batch in 0..BATCHES {
                        let first = (sender * BATCHES + batch) * 3;
                        put(&spool, first..first + 3).await.unwrap();
                    }
                })
            })
            .collect();
        let mut found = Vec::new();
        while !(senders.iter().all(|sender| sender.is_finished()) && spool.is_empty()) {
            found.extend(take(&spool).await);
            tokio::task::yield_now().await;
        }
        found.sort();
        let mut all = users(0..4 * BATCHES * 3);
        all.sort();
        assert_eq!(found, all);
    }

    #[tokio::test]
    async fn a_directory_has_one_gateway() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        let error = Spool::open(directory.path(), 1).unwrap_err().to_string();
        assert!(error.contains("another gateway uses the spool directory"), "{error}");
        drop(spool);
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Spool::open(&file, 1).is_err());
    }

    #[tokio::test]
    async fn a_full_spool_takes_nothing_until_it_is_emptied() {
        let directory = TempDir::new().unwrap();
        let spool = Spool::open(directory.path(), 200_000).unwrap();
        let mut taken = 0;
        while put(&spool, taken..taken + 100).await.is_ok() {
            taken += 100;
        }
        assert_eq!(put(&spool, 0..100).await, Err(Refusal::Full));
        assert!(spool.bytes() > 150_000 && spool.bytes() <= 200_000, "{}", spool.bytes());
        assert!(files(&directory, EXTENSION).len() > 1);
        assert_eq!(take(&spool).await, users(0..taken));
        put(&spool, 0..100).await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_flush_is_told_and_never_made_up_for() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        for users in [0..10, 10..20] {
            let good = put(&spool, users.clone()).await;
            assert_eq!(good, Ok(()));
            spool.disk.fails.store(true, Ordering::Relaxed);
            assert_eq!(put(&spool, 90..95).await, Err(Refusal::Broken));
        }
        // The very first of a segment, too.
        spool.disk.fails.store(true, Ordering::Relaxed);
        assert_eq!(put(&spool, 90..95).await, Err(Refusal::Broken));
        assert_eq!(files(&directory, EXTENSION).len(), 2);
        put(&spool, 20..30).await.unwrap();
        drop(spool);
        assert_eq!(take(&reopen(&directory).await).await, users(0..30));
    }

    #[tokio::test]
    async fn a_cut_costs_only_what_it_cut() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        put(&spool, 0..3).await.unwrap();
        drop(spool);
        drop(reopen(&directory).await);
        let segment = files(&directory, EXTENSION).remove(0);
        let bytes = fs::read(&segment).unwrap();
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).collect();
        for length in 0..=bytes.len() {
            fs::write(&segment, &bytes[..length]).unwrap();
            let spool = reopen(&directory).await;
            let whole = ends.iter().filter(|&&end| end < length).count();
            assert_eq!(take(&spool).await, users(0..whole), "cut at {length}");
            assert!(files(&directory, DAMAGED).is_empty(), "cut at {length}");
        }
    }

    #[tokio::test]
    async fn damage_costs_the_lines_it_hits_and_is_kept() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        put(&spool, 0..3).await.unwrap();
        drop(spool);
        drop(reopen(&directory).await);
        let segment = files(&directory, EXTENSION).remove(0);
        let good = fs::read(&segment).unwrap();
        for place in 0..good.len() - 1 {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << (place % 8);
            fs::write(&segment, &bytes).unwrap();
            let found = take(&reopen(&directory).await).await;
            let damaged = files(&directory, DAMAGED);
            // A digit in upper case is the same digit.
            if found == users(0..3) {
                assert!(damaged.is_empty());
                continue;
            }
            assert!(found.len() == 2 || (found.len() == 1 && good[place] == b'\n'), "{place}: {found:?}");
            assert!(found.iter().all(|user| users(0..3).contains(user)), "{place}: {found:?}");
            assert_eq!(fs::read(&damaged[0]).unwrap(), bytes);
            fs::remove_file(&damaged[0]).unwrap();
        }
    }

    #[tokio::test]
    async fn lost_blocks_do_not_hide_what_is_behind_them() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        put(&spool, 0..20_000).await.unwrap();
        put(&spool, 20_000..20_010).await.unwrap();
        drop(spool);
        drop(reopen(&directory).await);
        let segment = files(&directory, EXTENSION).remove(0);
        let mut bytes = fs::read(&segment).unwrap();
        assert!(bytes.len() > 3 * READ);
        bytes[1_000..2 * READ].fill(0);
        fs::write(&segment, &bytes).unwrap();
        let spool = reopen(&directory).await;
        let found = take(&spool).await;
        assert_eq!(found[0], "user_0");
        assert_eq!(found[found.len() - 10..], users(20_000..20_010));
        assert_eq!(files(&directory, DAMAGED).len(), 1);
        // One that is gone altogether stands in nobody's way.
        put(&spool, 0..1).await.unwrap();
        fs::remove_file(files(&directory, EXTENSION).remove(0)).unwrap();
        assert!(spool.read().await.is_err());
        put(&spool, 1..2).await.unwrap();
        assert_eq!(take(&spool).await, users(1..2));
    }

    #[tokio::test]
    async fn what_can_be_stored_nowhere_is_kept() {
        let directory = TempDir::new().unwrap();
        let spool = open(&directory);
        spool.set_aside(&event("a")).await.unwrap();
        spool.set_aside(&event("b")).await.unwrap();
        let lines = fs::read(directory.path().join(SET_ASIDE)).unwrap();
        let kept: Vec<String> =
            lines.split(|&byte| byte == b'\n').filter_map(read_line).map(|event| event.user_id).collect();
        assert_eq!(kept, ["a", "b"]);
        assert!(spool.is_empty());
    }
}
