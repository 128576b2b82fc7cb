//! Events on their way to disk.
//!
//! A request is answered when its events are committed, and a commit costs a disk flush, so commits are shared: each
//! writer takes whatever has gathered while the commits before it ran and sends it as one statement. A quiet
//! gateway thus writes at once and a busy one in large batches, without anybody waiting for a timer.
//!
//! A batch whose fate is unknown is sent again as it was. That is safe because the identities were fixed before
//! the first attempt, and an event that is there already is not counted again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::database::{describe, describe_pool};
use crate::problem::{self, Failure, HttpCode, Problem};

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

/// What the database says of an event that it had already.
const DUPLICATE: &str = "duplicate";

/// An event as it will be stored, its identity fixed.
#[derive(Debug, Clone)]
pub struct Event {
    /// Who did it.
    pub user_id: String,
    /// With the user and the time, what makes it this event.
    pub event_id: Uuid,
    /// When it happened.
    pub event_time: Timestamp,
    /// What sort of event.
    pub event_type: String,
    /// What was done.
    pub event_name: String,
    /// An amount.
    pub value: Option<f64>,
    /// A JSON object as text; none is the same as an empty one.
    pub properties: Option<String>,
    /// The experiment it counts in, when only one.
    pub experiment: Option<String>,
    /// The variant that was seen.
    pub variant: Option<String>,
    /// The visit it was part of.
    pub session_id: Option<String>,
}

impl Event {
    /// What it takes up in the queue.
    fn weight(&self) -> u32 {
        let bytes = self.user_id.len() + self.properties.as_ref().map_or(0, String::len);
        1 + u32::try_from(bytes / 1024).unwrap_or(u32::MAX)
    }
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed, now or from an earlier attempt.
    Stored,
    /// It cannot be stored as it is, or not now.
    Failed(Problem),
}

/// The way in.
#[derive(Debug)]
pub struct Ingest {
    sender: mpsc::UnboundedSender<Submission>,
    room: Arc<Semaphore>,
    capacity: u32,
    close: watch::Sender<bool>,
}

/// The events of one request.
struct Submission {
    events: Vec<Event>,
    deadline: Instant,
    answer: oneshot::Sender<Vec<Outcome>>,
    weight: u32,
    /// Given back when the events have left the queue and the batch.
    _room: OwnedSemaphorePermit,
}

/// A request's claim on the outcome of its events.
#[derive(Debug)]
pub struct Ticket {
    answer: oneshot::Receiver<Vec<Outcome>>,
    deadline: Instant,
    events: usize,
}

impl Ticket {
    /// One outcome for each event, in order, at the latest when the patience given on submission is over.
    pub async fn outcomes(self) -> Vec<Outcome> {
        self.outcomes_within(Duration::MAX).await
    }

    /// The same for someone with less patience; the events stay queued for as long as was said on submission.
    pub async fn outcomes_within(self, patience: Duration) -> Vec<Outcome> {
        let end = Instant::now().checked_add(patience).map_or(self.deadline, |end| end.min(self.deadline));
        match timeout_at(end, self.answer).await {
            Ok(Ok(outcomes)) => outcomes,
            _ => vec![Outcome::Failed(problem::unavailable()); self.events],
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
    /// Starts `writers` tasks that write to `pool` for `workspace`; `capacity` bounds what may wait.
    pub fn start(pool: &Pool, workspace: &str, writers: usize, capacity: u32) -> (Ingest, Writers) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (close, closing) = watch::channel(false);
        let receiver = Arc::new(Mutex::new(Inbox { receiver, closing, kept: None }));
        let in_trouble = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let writer = Writer {
                in_trouble: Arc::clone(&in_trouble),
                inbox: Arc::clone(&receiver),
                pool: pool.clone(),
                workspace: workspace.to_owned(),
            };
            tasks.spawn(writer.run());
        }
        let room = Arc::new(Semaphore::new(capacity as usize));
        (Ingest { sender, room, capacity, close }, Writers { tasks })
    }

    /// Queues `events`, to be committed within `patience`.
    ///
    /// # Errors
    /// A full queue, or one that takes nothing any more because the gateway is shutting down.
    pub fn submit(&self, events: Vec<Event>, patience: Duration) -> Result<Ticket, Problem> {
        // No request is heavier than the queue, however small the queue was made.
        let weight = events.iter().map(Event::weight).fold(0, u32::saturating_add).min(self.capacity);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(weight) else {
            return Err(Problem::new(HttpCode::QueueFull, "too many events are waiting to be written")
                .hint("send the request again after the seconds in Retry-After"));
        };
        let deadline = Instant::now() + patience;
        let (answer, receiver) = oneshot::channel();
        let ticket = Ticket { answer: receiver, deadline, events: events.len() };
        self.sender
            .send(Submission { events, deadline, answer, weight, _room: room })
            .map_err(|_| problem::unavailable())?;
        Ok(ticket)
    }

    /// Takes nothing more; what is queued is still written.
    pub fn close(&self) {
        self.close.send_replace(true);
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
    /// Shared by all writers, so that trouble is said once.
    in_trouble: Arc<AtomicBool>,
    inbox: Arc<Mutex<Inbox>>,
    pool: Pool,
    workspace: String,
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
        let mut parts = vec![places];
        while let Some(mut part) = parts.pop() {
            let mut backoff = FIRST_BACKOFF;
            let mut renewed = false;
            loop {
                // Nobody waits for these any more; their sender was told to send them again.
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
                match self.attempt(part.iter().map(event)).await {
                    Ok(refused) => {
                        if self.in_trouble.swap(false, Ordering::Relaxed) {
                            info!("events are written again");
                        }
                        for (item, problem) in refused {
                            if let Some(place) = part.get(item) {
                                outcomes[place.submission][place.event] = Outcome::Failed(problem);
                            }
                        }
                        break;
                    }
                    Err(Setback { failure: Failure::Temporary, reason }) => {
                        if self.in_trouble.swap(true, Ordering::Relaxed) {
                            debug!(reason, "events still cannot be written");
                        } else {
                            warn!(reason, "events cannot be written at the moment, trying again");
                        }
                        sleep(backoff).await;
                        backoff = (backoff * 2).min(LAST_BACKOFF);
                    }
                    // A session from before an upgrade fails like this once; the next one is new.
                    Err(Setback { failure: Failure::Misconfigured, reason }) if !renewed => {
                        debug!(reason, "trying again over a new connection");
                        renewed = true;
                    }
                    // Somewhere in here is what the database choked on: halving finds it and lets the rest through.
                    Err(Setback { failure, .. }) if part.len() > 1 && failure != Failure::Misconfigured => {
                        let rest = part.split_off(part.len() / 2);
                        parts.push(rest);
                        parts.push(part);
                        break;
                    }
                    Err(Setback { failure, reason }) => {
                        match failure {
                            Failure::Refused(_) => info!(reason, "the database refused an event"),
                            _ => error!(reason, events = part.len(), "events could not be written"),
                        }
                        let problem = failure.problem();
                        for place in &part {
                            outcomes[place.submission][place.event] = Outcome::Failed(problem.clone());
                        }
                        break;
                    }
                }
            }
        }
        for (submission, outcomes) in batch.into_iter().zip(outcomes) {
            // A caller who hung up does not hear it; the events are stored all the same.
            let _ = submission.answer.send(outcomes);
        }
    }

    /// Sends events as one statement, which is one transaction; the answer is the refused ones.
    async fn attempt<'a>(
        &self,
        events: impl Iterator<Item = &'a Event> + Clone,
    ) -> Result<Vec<(usize, Problem)>, Setback> {
        let temporary = |reason: String| Setback { failure: Failure::Temporary, reason };
        let client = self.pool.get().await.map_err(|error| temporary(describe_pool(&error)))?;
        match timeout(SILENCE, insert(&client, &self.workspace, events)).await {
            Ok(Ok(refused)) => Ok(refused),
            Ok(Err(error)) => {
                let failure = problem::failure(&error);
                if failure == Failure::Misconfigured {
                    drop(Object::take(client));
                }
                Err(Setback { failure, reason: describe(&error) })
            }
            Err(_) => {
                // The statement may still be running there: nothing else can be sent over this connection.
                drop(Object::take(client));
                Err(temporary(format!("no answer within {} seconds", SILENCE.as_secs())))
            }
        }
    }
}

async fn insert<'a>(
    client: &Object,
    workspace: &str,
    events: impl Iterator<Item = &'a Event> + Clone,
) -> Result<Vec<(usize, Problem)>, tokio_postgres::Error> {
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
    let mut refused = Vec::new();
    for row in &rows {
        let (item, code): (i32, &str) = (row.try_get(0)?, row.try_get(1)?);
        // Stored before, which is as good as now.
        if code != DUPLICATE {
            let message: &str = row.try_get(2)?;
            refused.push((usize::try_from(item - 1).unwrap_or(usize::MAX), Problem::named(code, message)));
        }
    }
    Ok(refused)
}
