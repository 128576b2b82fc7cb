//! Events on their way to disk.
//!
//! A request is answered when its events are committed, and a commit costs a disk flush, so commits are shared: each
//! writer takes whatever has gathered while the commits before it ran and sends it as one statement. A quiet
//! gateway thus writes at once and a busy one in large batches, without anybody waiting for a timer.
//!
//! A batch whose fate is unknown is sent again as it was. That is safe because the identities were fixed before
//! the first attempt, and an event that is there already is not counted again.
//!
//! With a spool nobody waits for a database that is away. What fails, finds the queue full or takes too long goes to the
//! spool, and from the first failure on everything does, until something from the spool has been stored: trying what is
//! spooled is how the database's return is noticed, and costs no caller anything. New events then go to the database at once,
//! whatever still waits in the spool. They overtake, and may: what is counted does not depend on the order in which it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ab_core::Code;
use deadpool_postgres::{Object, Pool};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::NoTls;
use tracing::{debug, error, info, warn};

use crate::database::{describe, describe_pool};
use crate::event::Event;
use crate::metrics::EventMetrics;
use crate::problem::{self, Failure, HttpCode, Problem};
use crate::spool::{Chunk, Receipt, Refusal, Spool};

/// One statement holds at most this many events, so that one slow commit does not keep thousands waiting.
const MAX_BATCH: usize = 2_000;
/// And at most this much, in the queue's units.
const MAX_BATCH_WEIGHT: u32 = 16 * 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// A statement that has not answered by then never will: the server would have cancelled it.
const SILENCE: Duration = Duration::from_secs(15);

const STATEMENT: &str = "
    select item::int, code::text, message::text
      from ab_track_batch($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::float8[], $7::text[],
                          $8::text[], $9::text[], $10::text[], $11::text)";

const REJECT: &str = "select ab_reject_events($1::text[], $2::text[], $3::text[], $4::text)";

/// What the database says of an event that it holds already.
const DUPLICATE: &str = "duplicate";

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Stored,
    /// It was stored before this, and is left as it was.
    Duplicate,
    /// It is on this machine's disk, and will be committed.
    Spooled,
    /// It cannot be stored as it is, or not now.
    Failed(Problem),
}

impl Outcome {
    /// Whether the event is on disk, whoever put it there.
    pub fn is_stored(&self) -> bool {
        matches!(self, Outcome::Stored | Outcome::Duplicate | Outcome::Spooled)
    }

    fn problem(&self) -> Option<&Problem> {
        match self {
            Outcome::Failed(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether another attempt may end differently.
    fn is_open(&self) -> bool {
        matches!(self, Outcome::Failed(problem) if problem.is_temporary())
    }
}

/// What an [`Ingest`] needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Whose events these are.
    pub workspace: String,
    /// How many batches may be on their way at once.
    pub writers: usize,
    /// What may wait, by [`Event::weight`].
    pub capacity: u32,
    /// Where events go that the database does not take, if anywhere.
    pub spool: Option<Spool>,
    /// After so long an event that is not committed goes there.
    pub spool_patience: Duration,
}

/// The way in.
#[derive(Debug)]
pub struct Ingest {
    sender: mpsc::UnboundedSender<Submission>,
    room: Arc<Semaphore>,
    capacity: u32,
    shared: Arc<Shared>,
    spool_patience: Duration,
    close: watch::Sender<bool>,
}

/// What those who submit and those who write have in common.
#[derive(Debug)]
struct Shared {
    workspace: String,
    spool: Option<Spool>,
    /// Nothing could be written when it was last tried.
    is_away: AtomicBool,
    metrics: EventMetrics,
}

impl Shared {
    fn went_away(&self, reason: &str) {
        if self.is_away.swap(true, Ordering::Relaxed) {
            debug!(reason, "events still cannot be written");
        } else if self.spool.is_some() {
            warn!(reason, "events cannot be written at the moment and go to the spool");
        } else {
            warn!(reason, "events cannot be written at the moment, trying again");
        }
    }

    fn came_back(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            info!("events are written again");
        }
    }

    /// Puts events into the spool; the outcome of each of them.
    async fn spooled(&self, spool: &Spool, events: &[Event]) -> Outcome {
        match spool.append(events) {
            Ok(receipt) => self.receipted(receipt, events.len()).await,
            Err(refusal) => self.not_spooled(refusal, events.len()),
        }
    }

    async fn receipted(&self, receipt: Receipt, count: usize) -> Outcome {
        // A disk that does not answer is as good as broken; what it writes later all the same does no harm.
        let receipt = timeout(SILENCE, receipt).await.ok().and_then(Result::ok);
        match receipt.unwrap_or(Err(Refusal::Broken)) {
            Ok(()) => {
                self.metrics.spooled.inc_by(count as u64);
                Outcome::Spooled
            }
            Err(refusal) => self.not_spooled(refusal, count),
        }
    }

    fn not_spooled(&self, refusal: Refusal, count: usize) -> Outcome {
        let problem = match refusal {
            Refusal::Full => queue_full("the database does not take events, and the spool is full"),
            Refusal::Broken => problem::unavailable(),
        };
        self.metrics.reject(count, &problem);
        Outcome::Failed(problem)
    }
}

fn queue_full(detail: &'static str) -> Problem {
    Problem::new(HttpCode::QueueFull, detail).hint("send the request again after the seconds in Retry-After")
}

/// The events of one request, or of a piece of the spool.
struct Submission {
    events: Arc<Vec<Event>>,
    deadline: Instant,
    answer: oneshot::Sender<Vec<Outcome>>,
    weight: u32,
    /// They were acknowledged before: nobody is there to be told what is wrong with them.
    is_from_spool: bool,
    /// Set when they have been spooled since, so that nobody has to be told that they could not be written.
    is_spooled: Arc<AtomicBool>,
    /// Given back when the events have left the queue and the batch.
    _room: Option<OwnedSemaphorePermit>,
}

/// A request's claim on the outcome of its events.
#[derive(Debug)]
pub struct Ticket {
    way: Way,
    /// Until then their sender waits.
    deadline: Instant,
    events: Arc<Vec<Event>>,
    is_spooled: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

/// Where events have been sent.
#[derive(Debug)]
enum Way {
    Database(oneshot::Receiver<Vec<Outcome>>),
    Spool(Receipt),
}

impl Ticket {
    /// One outcome for each event, in order, at the latest when the patience given on submission is over.
    pub async fn outcomes(self) -> Vec<Outcome> {
        self.outcomes_within(Duration::MAX).await
    }

    /// The same for someone with less patience; the events stay queued for as long as was said on submission, and go to the
    /// spool if there is one.
    pub async fn outcomes_within(self, patience: Duration) -> Vec<Outcome> {
        let Ticket { way, deadline, events, is_spooled, shared } = self;
        let end = Instant::now().checked_add(patience).map_or(deadline, |end| end.min(deadline));
        let answer = match way {
            Way::Spool(receipt) => return vec![shared.receipted(receipt, events.len()).await; events.len()],
            Way::Database(answer) => timeout_at(end, answer).await,
        };
        let Some(spool) = &shared.spool else {
            return match answer {
                Ok(Ok(outcomes)) => outcomes,
                _ => vec![Outcome::Failed(problem::unavailable()); events.len()],
            };
        };
        match answer {
            Ok(Ok(mut outcomes)) => {
                let open: Vec<Event> = events
                    .iter()
                    .zip(&outcomes)
                    .filter(|(_, outcome)| outcome.is_open())
                    .map(|(event, _)| event.clone())
                    .collect();
                if !open.is_empty() {
                    let outcome = shared.spooled(spool, &open).await;
                    for place in outcomes.iter_mut().filter(|outcome| outcome.is_open()) {
                        *place = outcome.clone();
                    }
                }
                outcomes
            }
            // Not in time, or not at all. Whether they are stored after all nobody knows, and nobody needs to.
            unanswered => {
                is_spooled.store(true, Ordering::Relaxed);
                if unanswered.is_err() && end == deadline {
                    shared.went_away("a batch was not committed in time");
                }
                vec![shared.spooled(spool, &events).await; events.len()]
            }
        }
    }
}

/// The writers behind an [`Ingest`].
#[derive(Debug)]
pub struct Writers {
    tasks: JoinSet<()>,
}

impl Writers {
    /// Waits until all that was submitted before [`Ingest::close`] has its outcome.
    pub async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Ingest {
    /// Starts the tasks that write to `pool`, and the one that empties the spool.
    pub fn start(pool: &Pool, settings: Settings, metrics: &EventMetrics) -> (Ingest, Writers) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (close, closing) = watch::channel(false);
        let receiver = Arc::new(Mutex::new(Inbox { receiver, closing: closing.clone(), kept: None }));
        let shared = Arc::new(Shared {
            workspace: settings.workspace,
            spool: settings.spool,
            is_away: AtomicBool::new(false),
            metrics: metrics.clone(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..settings.writers {
            let writer =
                Writer { inbox: Arc::clone(&receiver), pool: pool.clone(), shared: Arc::clone(&shared) };
            tasks.spawn(writer.run());
        }
        if shared.spool.is_some() {
            let drain = Drain { sender: sender.clone(), shared: Arc::clone(&shared), closing };
            tasks.spawn(drain.run());
        }
        let room = Arc::new(Semaphore::new(settings.capacity as usize));
        let spool_patience = settings.spool_patience;
        (
            Ingest { sender, room, capacity: settings.capacity, shared, spool_patience, close },
            Writers { tasks },
        )
    }

    /// Queues `events`, to be committed or spooled within `patience`.
    ///
    /// # Errors
    /// A full queue and no spool, a full spool, or a queue that takes nothing any more because the gateway is shutting down.
    pub fn submit(&self, events: Vec<Event>, patience: Duration) -> Result<Ticket, Problem> {
        self.shared.metrics.receive(events.len());
        let weight = self.weight(&events);
        let room =
            if self.spools() { None } else { Arc::clone(&self.room).try_acquire_many_owned(weight).ok() };
        match (room, &self.shared.spool) {
            (Some(room), _) => self.enqueue(events, patience, weight, room),
            (None, Some(spool)) => self.send_to_spool(spool, events),
            (None, None) => {
                let problem = queue_full("too many events are waiting to be written");
                self.shared.metrics.reject(events.len(), &problem);
                Err(problem)
            }
        }
    }

    /// The same for someone who rather waits for the queue than be refused: patience begins when there is room.
    ///
    /// # Errors
    /// A full spool, or a queue that takes nothing any more because the gateway is shutting down.
    pub async fn submit_in_turn(&self, events: Vec<Event>, patience: Duration) -> Result<Ticket, Problem> {
        self.shared.metrics.receive(events.len());
        let weight = self.weight(&events);
        let room = match &self.shared.spool {
            None => Arc::clone(&self.room).acquire_many_owned(weight).await.ok(),
            Some(_) if self.spools() => None,
            Some(_) => {
                let room = Arc::clone(&self.room).acquire_many_owned(weight);
                timeout(self.spool_patience, room).await.ok().and_then(Result::ok)
            }
        };
        match (room, &self.shared.spool) {
            (Some(room), _) => self.enqueue(events, patience, weight, room),
            (None, Some(spool)) => self.send_to_spool(spool, events),
            (None, None) => Err(problem::unavailable()),
        }
    }

    /// Whether events go to the spool without being tried.
    fn spools(&self) -> bool {
        self.shared.spool.is_some() && self.shared.is_away.load(Ordering::Relaxed)
    }

    fn send_to_spool(&self, spool: &Spool, events: Vec<Event>) -> Result<Ticket, Problem> {
        match spool.append(&events) {
            Ok(receipt) => Ok(Ticket {
                way: Way::Spool(receipt),
                deadline: Instant::now(),
                events: Arc::new(events),
                is_spooled: Arc::default(),
                shared: Arc::clone(&self.shared),
            }),
            Err(refusal) => match self.shared.not_spooled(refusal, events.len()) {
                Outcome::Failed(problem) => Err(problem),
                _ => Err(problem::unavailable()),
            },
        }
    }

    /// No request is heavier than the queue, however small the queue was made.
    fn weight(&self, events: &[Event]) -> u32 {
        weight(events).min(self.capacity)
    }

    fn enqueue(
        &self,
        events: Vec<Event>,
        patience: Duration,
        weight: u32,
        room: OwnedSemaphorePermit,
    ) -> Result<Ticket, Problem> {
        let patience = if self.shared.spool.is_some() { patience.min(self.spool_patience) } else { patience };
        let deadline = Instant::now() + patience;
        let (answer, receiver) = oneshot::channel();
        let events = Arc::new(events);
        let is_spooled = Arc::new(AtomicBool::new(false));
        // Before they can be taken out again.
        self.shared.metrics.queued.add(events.len() as i64);
        let submission = Submission {
            events: Arc::clone(&events),
            deadline,
            answer,
            weight,
            is_from_spool: false,
            is_spooled: Arc::clone(&is_spooled),
            _room: Some(room),
        };
        self.sender.send(submission).map_err(|_| {
            let problem = problem::unavailable();
            self.shared.metrics.queued.sub(events.len() as i64);
            self.shared.metrics.reject(events.len(), &problem);
            problem
        })?;
        let way = Way::Database(receiver);
        Ok(Ticket { way, deadline, events, is_spooled, shared: Arc::clone(&self.shared) })
    }

    /// How much of the queue is taken, in its units.
    pub fn used(&self) -> usize {
        self.capacity() - self.room.available_permits()
    }

    /// How much the queue takes.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Where events go that the database does not take, if anywhere.
    pub fn spool(&self) -> Option<&Spool> {
        self.shared.spool.as_ref()
    }

    /// Takes nothing more; what is queued is still written.
    pub fn close(&self) {
        self.close.send_replace(true);
    }
}

fn weight(events: &[Event]) -> u32 {
    events.iter().map(Event::weight).fold(0, u32::saturating_add)
}

/// Brings to the database what is in the spool, one piece after the other, so that new events find room beside it.
struct Drain {
    sender: mpsc::UnboundedSender<Submission>,
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
}

impl Drain {
    async fn run(self) {
        let mut closing = self.closing.clone();
        tokio::select! {
            () = self.work() => {}
            // What is under way is finished by the writers, and read again by the next gateway.
            _ = closing.wait_for(|&closing| closing) => {}
        }
    }

    async fn work(&self) {
        let Some(spool) = &self.shared.spool else { return };
        loop {
            match spool.read().await {
                Ok(Some(chunk)) if !chunk.events.is_empty() => self.store(spool, chunk).await,
                Ok(Some(chunk)) => {
                    spool.finish(chunk).await;
                    // What was read to its end may be written to just now.
                    let _ = timeout(FIRST_BACKOFF, spool.written()).await;
                }
                Ok(None) => {
                    // There is nothing to try whether the database is back; the next events are.
                    if timeout(LAST_BACKOFF, spool.written()).await.is_err() {
                        self.shared.is_away.store(false, Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    error!(%error, "the spool cannot be read");
                    sleep(LAST_BACKOFF).await;
                }
            }
        }
    }

    /// Returns when each event of the chunk is stored or rejected, however long that takes.
    async fn store(&self, spool: &Spool, mut chunk: Chunk) {
        let mut events = Arc::new(std::mem::take(&mut chunk.events));
        let mut backoff = FIRST_BACKOFF;
        loop {
            // Gone when the gateway is shutting down.
            let Some(outcomes) = self.attempt(&events).await else { return };
            let open: Vec<Event> = events
                .iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| outcome.is_open())
                .map(|(event, _)| event.clone())
                .collect();
            if open.is_empty() {
                break;
            }
            if open.len() < events.len() {
                backoff = FIRST_BACKOFF;
            }
            events = Arc::new(open);
            sleep(backoff).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
        spool.finish(chunk).await;
    }

    async fn attempt(&self, events: &Arc<Vec<Event>>) -> Option<Vec<Outcome>> {
        let (answer, outcomes) = oneshot::channel();
        self.shared.metrics.queued.add(events.len() as i64);
        let submission = Submission {
            events: Arc::clone(events),
            deadline: Instant::now() + SILENCE,
            answer,
            weight: weight(events),
            is_from_spool: true,
            is_spooled: Arc::new(AtomicBool::new(true)),
            _room: None,
        };
        if self.sender.send(submission).is_err() {
            self.shared.metrics.queued.sub(events.len() as i64);
            return None;
        }
        outcomes.await.ok()
    }
}

/// Where the writers find work, one at a time.
struct Inbox {
    receiver: mpsc::UnboundedReceiver<Submission>,
    closing: watch::Receiver<bool>,
    /// Taken out of the queue, but too much for the batch that was being made.
    kept: Option<Submission>,
}

impl Inbox {
    /// All that has gathered, up to a batch; nothing once the queue is closed and empty.
    async fn next(&mut self) -> Vec<Submission> {
        let first = match self.kept.take() {
            Some(kept) => Some(kept),
            None => self.receive().await,
        };
        let Some(first) = first else { return Vec::new() };
        let mut events = first.events.len();
        let mut weight = first.weight;
        let mut batch = vec![first];
        while let Ok(next) = self.receiver.try_recv() {
            events += next.events.len();
            weight = weight.saturating_add(next.weight);
            if events > MAX_BATCH || weight > MAX_BATCH_WEIGHT {
                self.kept = Some(next);
                break;
            }
            batch.push(next);
        }
        batch
    }

    async fn receive(&mut self) -> Option<Submission> {
        tokio::select! {
            submission = self.receiver.recv() => return submission,
            // The sender going away means closing, too.
            _ = self.closing.wait_for(|&closing| closing) => {}
        }
        self.receiver.close();
        self.receiver.recv().await
    }
}

struct Writer {
    inbox: Arc<Mutex<Inbox>>,
    pool: Pool,
    shared: Arc<Shared>,
}

/// Where an event is: which submission, and which of its events.
#[derive(Debug, Clone, Copy)]
struct Place {
    submission: usize,
    event: usize,
}

/// Why a part of a batch did not go through.
struct Setback {
    failure: Failure,
    reason: String,
}

impl Setback {
    fn temporary(reason: String) -> Setback {
        Setback { failure: Failure::Temporary, reason }
    }

    /// Whether it says nothing about the events, so that they may fare better another time.
    fn is_of_database(&self) -> bool {
        match &self.failure {
            Failure::Temporary | Failure::Misconfigured => true,
            // A database that is just being restored looks like this.
            Failure::Refused(problem) => problem.code() == Code::WorkspaceNotFound.as_str(),
            Failure::Violation(_) | Failure::Unexpected => false,
        }
    }
}

/// An event that will not be stored, for those who look after the database.
struct Reject {
    place: Place,
    code: String,
    message: String,
}

impl Writer {
    async fn run(self) {
        loop {
            let batch = self.inbox.lock().await.next().await;
            if batch.is_empty() {
                return;
            }
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<Submission>) {
        let mut outcomes: Vec<Vec<Outcome>> =
            batch.iter().map(|submission| vec![Outcome::Stored; submission.events.len()]).collect();
        let mut places: Vec<Place> = batch
            .iter()
            .enumerate()
            .flat_map(|(submission, content)| {
                (0..content.events.len()).map(move |event| Place { submission, event })
            })
            .collect();
        let event = |place: &Place| &batch[place.submission].events[place.event];
        // Writers that insert the same keys in the same order wait for one another instead of deadlocking.
        places.sort_by(|left, right| {
            let (left, right) = (event(left), event(right));
            (&left.user_id, left.event_id, left.event_time).cmp(&(
                &right.user_id,
                right.event_id,
                right.event_time,
            ))
        });
        let spools = self.shared.spool.is_some();
        let mut rejects = Vec::new();
        let mut parts = vec![places];
        while let Some(mut part) = parts.pop() {
            let mut backoff = FIRST_BACKOFF;
            let mut renewed = false;
            loop {
                // Nobody waits for these any more; their sender was told to send them again, or they have been spooled.
                let now = Instant::now();
                part.retain(|place| {
                    let waits = batch[place.submission].deadline > now;
                    if !waits {
                        outcomes[place.submission][place.event] = Outcome::Failed(problem::unavailable());
                    }
                    waits
                });
                if part.is_empty() {
                    break;
                }
                let setback = match self.attempt(part.iter().map(event)).await {
                    Ok(exceptions) => {
                        self.shared.came_back();
                        for (item, outcome) in exceptions {
                            let Some(&place) = part.get(item) else { continue };
                            if let Outcome::Failed(problem) = &outcome
                                && batch[place.submission].is_from_spool
                            {
                                rejects.push(Reject {
                                    place,
                                    code: problem.code().to_owned(),
                                    message: problem.detail().to_owned(),
                                });
                            }
                            outcomes[place.submission][place.event] = outcome;
                        }
                        break;
                    }
                    Err(setback) => setback,
                };
                // A session from before an upgrade fails like this once; the next one is new.
                if setback.failure == Failure::Misconfigured && !renewed {
                    debug!(reason = setback.reason, "trying again over a new connection");
                    renewed = true;
                    continue;
                }
                if spools && setback.is_of_database() {
                    self.shared.went_away(&setback.reason);
                    for place in &part {
                        outcomes[place.submission][place.event] = Outcome::Failed(problem::unavailable());
                    }
                    break;
                }
                let Setback { failure, reason } = setback;
                if failure == Failure::Temporary {
                    self.shared.went_away(&reason);
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LAST_BACKOFF);
                    continue;
                }
                // Somewhere in here is what the database choked on: halving finds it and lets the rest through.
                if part.len() > 1 && failure != Failure::Misconfigured {
                    let rest = part.split_off(part.len() / 2);
                    parts.push(rest);
                    parts.push(part);
                    break;
                }
                match failure {
                    Failure::Refused(_) | Failure::Violation(_) => {
                        info!(reason, "the database refused an event")
                    }
                    _ => error!(reason, events = part.len(), "events could not be written"),
                }
                // Its sender can put right what was refused. What anything else is about only the database's people can tell.
                let is_poison = matches!(failure, Failure::Violation(_) | Failure::Unexpected);
                let problem = failure.problem();
                for &place in &part {
                    if is_poison || batch[place.submission].is_from_spool {
                        let code = problem.code().to_owned();
                        rejects.push(Reject { place, code, message: reason.clone() });
                    }
                    outcomes[place.submission][place.event] = Outcome::Failed(problem.clone());
                }
                break;
            }
        }
        self.reject(&batch, rejects, &mut outcomes).await;
        for (submission, outcomes) in batch.into_iter().zip(outcomes) {
            self.count(&outcomes);
            // A caller who hung up does not hear it; the events are stored all the same.
            if let Err(unheard) = submission.answer.send(outcomes)
                && spools
                && !submission.is_spooled.load(Ordering::Relaxed)
            {
                for problem in unheard.iter().filter(|outcome| outcome.is_open()).filter_map(Outcome::problem)
                {
                    self.shared.metrics.reject(1, problem);
                }
            }
        }
    }

    /// Counts what has been decided; with a spool, what is still open is decided by whoever waits for it.
    fn count(&self, outcomes: &[Outcome]) {
        let metrics = &self.shared.metrics;
        let (mut accepted, mut duplicate) = (0, 0);
        for outcome in outcomes {
            match outcome {
                Outcome::Stored => accepted += 1,
                Outcome::Duplicate => duplicate += 1,
                Outcome::Failed(problem) if !(self.shared.spool.is_some() && outcome.is_open()) => {
                    metrics.reject(1, problem);
                }
                Outcome::Failed(_) | Outcome::Spooled => {}
            }
        }
        metrics.accepted.inc_by(accepted);
        metrics.duplicate.inc_by(duplicate);
        metrics.queued.sub(outcomes.len() as i64);
    }

    /// Puts events among the rejected ones of the database. One from the spool that does not get there stays in the spool.
    async fn reject(&self, batch: &[Submission], rejects: Vec<Reject>, outcomes: &mut [Vec<Outcome>]) {
        let event = |reject: &Reject| &batch[reject.place.submission].events[reject.place.event];
        let mut parts = if rejects.is_empty() { Vec::new() } else { vec![rejects] };
        while let Some(mut part) = parts.pop() {
            let Err(setback) = self.attempt_rejection(&part, part.iter().map(event)).await else { continue };
            if part.len() > 1 && !setback.is_of_database() {
                let rest = part.split_off(part.len() / 2);
                parts.push(rest);
                parts.push(part);
                continue;
            }
            error!(
                reason = setback.reason,
                events = part.len(),
                "events could not be put into ab.event_rejected"
            );
            for reject in part {
                let is_from_spool = batch[reject.place.submission].is_from_spool;
                let Some(spool) = self.shared.spool.as_ref().filter(|_| is_from_spool) else { continue };
                if setback.is_of_database() || spool.set_aside(event(&reject)).await.is_err() {
                    let again = Outcome::Failed(problem::unavailable());
                    outcomes[reject.place.submission][reject.place.event] = again;
                }
            }
        }
    }

    async fn attempt_rejection<'a>(
        &self,
        rejects: &[Reject],
        events: impl Iterator<Item = &'a Event>,
    ) -> Result<(), Setback> {
        let documents: Vec<String> =
            events.map(|event| event.to_json().unwrap_or_else(|_| "{}".to_owned())).collect();
        let codes: Vec<&str> = rejects.iter().map(|reject| reject.code.as_str()).collect();
        let messages: Vec<&str> = rejects.iter().map(|reject| reject.message.as_str()).collect();
        self.attempted(async |client| {
            let statement = client.prepare_cached(REJECT).await?;
            client.query(&statement, &[&documents, &codes, &messages, &self.shared.workspace]).await?;
            Ok(())
        })
        .await
    }

    /// Sends events as one statement, which is one transaction; the answer is those that were not stored by it.
    async fn attempt<'a>(
        &self,
        events: impl Iterator<Item = &'a Event> + Clone,
    ) -> Result<Vec<(usize, Outcome)>, Setback> {
        let attempted = self.attempted(async |client| {
            let begun = Instant::now();
            let exceptions = insert(client, &self.shared.workspace, events.clone()).await?;
            self.shared.metrics.commit(events.clone().count(), begun.elapsed());
            Ok(exceptions)
        });
        attempted.await
    }

    /// Does something over a connection of the pool, which is given up where it may not be fit for anything else.
    async fn attempted<T>(
        &self,
        work: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Setback> {
        let client = self.pool.get().await.map_err(|error| Setback::temporary(describe_pool(&error)))?;
        match timeout(SILENCE, work(&client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let failure = problem::failure(&error);
                // From before an upgrade perhaps, or to a primary that has become a standby: another one may be better.
                if matches!(failure, Failure::Temporary | Failure::Misconfigured) {
                    drop(Object::take(client));
                }
                Err(Setback { failure, reason: describe(&error) })
            }
            Err(_) => {
                // The statement may still be running there: nothing else can be sent over this connection. One that waits
                // for a standby would do so for ever, and take one of the server's connections with each attempt.
                let token = client.cancel_token();
                tokio::spawn(async move { timeout(SILENCE, token.cancel_query(NoTls)).await });
                drop(Object::take(client));
                Err(Setback::temporary(format!("no answer within {} seconds", SILENCE.as_secs())))
            }
        }
    }
}

async fn insert<'a>(
    client: &Object,
    workspace: &str,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Result<Vec<(usize, Outcome)>, tokio_postgres::Error> {
    fn column<'a, T>(events: impl Iterator<Item = &'a Event>, field: impl Fn(&'a Event) -> T) -> Vec<T> {
        events.map(field).collect()
    }
    let statement = client.prepare_cached(STATEMENT).await?;
    let rows = client
        .query(
            &statement,
            &[
                &column(events.clone(), |event| event.user_id.as_str()),
                &column(events.clone(), |event| event.event_id),
                &column(events.clone(), |event| event.event_time),
                &column(events.clone(), |event| event.event_type.as_str()),
                &column(events.clone(), |event| event.event_name.as_str()),
                &column(events.clone(), |event| event.value),
                &column(events.clone(), |event| event.properties.as_deref().unwrap_or("{}")),
                &column(events.clone(), |event| event.experiment.as_deref()),
                &column(events.clone(), |event| event.variant.as_deref()),
                &column(events.clone(), |event| event.session_id.as_deref()),
                &workspace,
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let item: i32 = row.try_get(0)?;
            let (code, message): (&str, Option<&str>) = (row.try_get(1)?, row.try_get(2)?);
            let outcome = match code {
                DUPLICATE => Outcome::Duplicate,
                code => Outcome::Failed(Problem::named(code, message.unwrap_or_default())),
            };
            Ok((usize::try_from(item - 1).unwrap_or(usize::MAX), outcome))
        })
        .collect()
}
