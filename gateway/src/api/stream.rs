//! `POST /api/v1/track/stream`: events without end, one JSON object a line, for servers and back-fills.
//!
//! The answer begins with the request's body and tells how far it has come while that is still being sent. Between the two stands
//! one task with a few chunks of events on their way to disk: when those take long it stops reading, and the sender's
//! connection fills up. Nothing is refused because others are busy, and nothing is kept that grows with the stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::io::StreamReader;

use super::respond;
use super::track::{Reading, read_event, refuse};
use crate::Gateway;
use crate::event::Event;
use crate::ingest::Outcome;
use crate::metrics::Route;
use crate::problem::{self, HttpCode, Problem};

/// A longer line is rejected, whatever it holds.
const MAX_LINE: usize = 128 * 1024;
/// Events that are committed together, if so many come.
const MAX_CHUNK: usize = 500;
/// And how many bytes their lines may have.
const MAX_CHUNK_BYTES: usize = 512 * 1024;
/// Chunks on their way to disk; more than one, so that reading goes on while they commit.
const MAX_IN_FLIGHT: usize = 8;
/// The first so many rejected lines are told.
const MAX_ERRORS: usize = 100;
/// What has come is not kept waiting longer than this for more.
const TICK: Duration = Duration::from_millis(250);
/// Every so many ticks a line says how far it is.
const TICKS_A_LINE: u32 = 4;
/// Progress that nobody reads is dropped.
const UNREAD_LINES: usize = 4;
/// 8 MiB, which is what the format asks of a decoder; its sender could demand 2 GiB otherwise.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;
const READ_BUFFER: usize = 64 * 1024;

/// Answers `POST /api/v1/track/stream`.
pub async fn track_stream(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let watch = gateway.metrics.watch(Route::TrackStream);
    let (parts, body) = request.into_parts();
    let answer = match decoder(&parts) {
        Ok(decode) => begun(&gateway, body).await.map(decode),
        Err(problem) => Err(problem),
    };
    let answer = answer.map(|reader| {
        let (sender, lines) = mpsc::channel(UNREAD_LINES);
        let reading = Arc::clone(&gateway);
        let head = parts.clone();
        tokio::spawn(async move { Stream::new(&reading, &head, sender).run(reader).await });
        let lines = stream::unfold(lines, async |mut lines| {
            let line: Bytes = lines.recv().await?;
            Some((Ok::<_, Infallible>(line), lines))
        });
        let mut response = Response::new(Body::from_stream(lines));
        let content_type = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    });
    respond(answer, &parts, watch)
}

type Reader = Pin<Box<dyn AsyncBufRead + Send>>;

type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// A body of which something has come. Before that no answer may begin: curl and others wait to be told to send
/// (`Expect: 100-continue`), and take an answer that comes instead for the end.
async fn begun(gateway: &Gateway, body: Body) -> Result<Chunks, Problem> {
    let mut chunks = body.into_data_stream().map_err(io::Error::other);
    let first = tokio::select! {
        first = timeout(gateway.body_patience, chunks.next()) => first,
        () = gateway.stopping.cancelled() => return Err(problem::stopping()),
    };
    let first = first.map_err(|_| problem::too_slow(gateway.body_patience))?;
    Ok(stream::iter(first).chain(chunks).boxed())
}

/// What makes the body what it was before it was compressed.
fn decoder(parts: &Parts) -> Result<fn(Chunks) -> Reader, Problem> {
    let unsupported = |detail: &'static str, hint: &'static str| {
        Err(Problem::new(HttpCode::UnsupportedMediaType, detail).hint(hint))
    };
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !["application/x-ndjson", "application/ndjson", "application/jsonl"].contains(&essence.as_str()) {
        return unsupported(
            "the body is not said to be lines of JSON",
            "send the header Content-Type: application/x-ndjson",
        );
    }
    match text(header::CONTENT_ENCODING).unwrap_or("identity").to_ascii_lowercase().as_str() {
        "identity" => Ok(|chunks| Box::pin(StreamReader::new(chunks))),
        "gzip" => Ok(|chunks| {
            let mut decoder = GzipDecoder::new(StreamReader::new(chunks));
            decoder.multiple_members(true);
            Box::pin(BufReader::with_capacity(READ_BUFFER, decoder))
        }),
        "zstd" => Ok(|chunks| {
            let limit = DParameter::window_log_max(MAX_ZSTD_WINDOW_LOG);
            let mut decoder = ZstdDecoder::with_params(StreamReader::new(chunks), &[limit]);
            decoder.multiple_members(true);
            Box::pin(BufReader::with_capacity(READ_BUFFER, decoder))
        }),
        _ => unsupported(
            "the body is encoded in a way that is not known here",
            "send it with Content-Encoding: gzip or zstd, or as it is",
        ),
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
struct Counts {
    /// Lines that are not empty.
    received: u64,
    /// Events stored by this request; in the spool, where nobody knows whether they were stored before.
    accepted: u64,
    /// Events that were stored before.
    duplicate: u64,
    /// Lines that no event was stored of.
    rejected: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LineError {
    /// Counted from 1.
    line: u64,
    code: String,
    detail: String,
}

/// The last line.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    counts: Counts,
    /// Whether all that was sent has been read.
    done: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<StreamProblem<'a>>,
    /// The first rejected lines.
    errors: Vec<&'a LineError>,
}

#[derive(Serialize)]
struct StreamProblem<'a> {
    code: &'a str,
    detail: &'a str,
}

/// The caller has gone away.
struct Gone;

/// Events that are committed together, each with the number of its line.
#[derive(Default)]
struct Chunk {
    events: Vec<Event>,
    lines: Vec<u64>,
    bytes: usize,
}

struct Written {
    outcomes: Result<Vec<Outcome>, Problem>,
    lines: Vec<u64>,
}

struct Stream<'a> {
    gateway: &'a Gateway,
    reading: Reading<'a>,
    answer: mpsc::Sender<Bytes>,
    counts: Counts,
    errors: BTreeMap<u64, LineError>,
    lines: Lines,
    chunk: Chunk,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Written> + Send + 'a>>>,
    /// What keeps events from being written.
    trouble: Option<Problem>,
    ticks: Interval,
    ticked: u32,
}

impl<'a> Stream<'a> {
    fn new(gateway: &'a Gateway, parts: &Parts, answer: mpsc::Sender<Bytes>) -> Stream<'a> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Stream {
            gateway,
            reading: Reading::many(gateway, parts),
            answer,
            counts: Counts::default(),
            errors: BTreeMap::new(),
            lines: Lines::default(),
            chunk: Chunk::default(),
            in_flight: FuturesUnordered::new(),
            trouble: None,
            ticks,
            ticked: 0,
        }
    }

    /// Reads to the end, or to where it must stop, and says what came of it.
    async fn run(mut self, reader: Reader) {
        let Ok(problem) = self.read(reader).await else { return };
        if self.flush().await.is_err() || self.settle(0).await.is_err() {
            return;
        }
        let problem = problem.or(self.trouble.take());
        let summary = Summary {
            counts: self.counts,
            done: problem.is_none(),
            problem: problem
                .as_ref()
                .map(|problem| StreamProblem { code: problem.code(), detail: problem.detail() }),
            errors: self.errors.values().collect(),
        };
        let send = self.answer.send(line(&summary));
        let _ = timeout(self.gateway.body_patience, send).await;
    }

    /// Reads until there is no more, or until the problem that is returned.
    async fn read(&mut self, mut reader: Reader) -> Result<Option<Problem>, Gone> {
        let mut waiting_since = Instant::now();
        loop {
            let available = tokio::select! {
                biased;
                available = reader.fill_buf() => available,
                Some(written) = self.in_flight.next() => {
                    self.account(written);
                    continue;
                }
                () = self.gateway.stopping.cancelled() => {
                    return Ok(Some(problem::stopping()));
                }
                _ = self.ticks.tick() => {
                    if waiting_since.elapsed() > self.gateway.body_patience {
                        return Ok(Some(problem::too_slow(self.gateway.body_patience)));
                    }
                    self.report()?;
                    self.flush().await?;
                    continue;
                }
            };
            let length = match available {
                Ok([]) => {
                    self.lines.finish();
                    0
                }
                Ok(bytes) => {
                    self.lines.push(bytes);
                    bytes.len()
                }
                Err(error) => {
                    let detail = format!("the body cannot be read to its end: {error}");
                    return Ok(Some(Problem::new(HttpCode::InvalidRequest, detail)));
                }
            };
            reader.as_mut().consume(length);
            self.reading.now = self.gateway.clock.now();
            while let Some(line) = self.lines.next() {
                self.take(line);
                if self.chunk.events.len() >= MAX_CHUNK || self.chunk.bytes >= MAX_CHUNK_BYTES {
                    self.flush().await?;
                }
            }
            if self.trouble.is_some() || length == 0 {
                return Ok(None);
            }
            waiting_since = Instant::now();
        }
    }

    fn take(&mut self, line: Line) {
        let (number, read) = match line {
            Line::Whole(_, text) if text.trim_ascii().is_empty() => return,
            Line::Whole(number, text) => {
                self.chunk.bytes += text.len();
                (number, read_event(&text, &self.reading))
            }
            Line::TooLong(number) => {
                let detail = format!("the line is longer than {MAX_LINE} bytes");
                (number, Err(Problem::new(HttpCode::BodyTooLarge, detail)))
            }
        };
        self.counts.received += 1;
        match read {
            Ok(event) => {
                self.chunk.events.push(event);
                self.chunk.lines.push(number);
            }
            Err(problem) => {
                refuse(self.gateway, &problem);
                self.reject(number, &problem);
            }
        }
    }

    fn reject(&mut self, line: u64, problem: &Problem) {
        self.counts.rejected += 1;
        let is_among_first = self.errors.len() < MAX_ERRORS
            || self.errors.last_key_value().is_some_and(|(&last, _)| line < last);
        if is_among_first {
            let error =
                LineError { line, code: problem.code().to_owned(), detail: problem.detail().to_owned() };
            self.errors.insert(line, error);
            if self.errors.len() > MAX_ERRORS {
                self.errors.pop_last();
            }
        }
    }

    /// Sends what has been read on its way, once fewer than the most are.
    async fn flush(&mut self) -> Result<(), Gone> {
        if self.chunk.events.is_empty() {
            return Ok(());
        }
        self.settle(MAX_IN_FLIGHT - 1).await?;
        let Chunk { events, lines, .. } = std::mem::take(&mut self.chunk);
        let gateway = self.gateway;
        self.in_flight.push(Box::pin(async move {
            let outcomes = match gateway.ingest.submit_in_turn(events, gateway.write_patience).await {
                Ok(ticket) => Ok(ticket.outcomes().await),
                Err(problem) => Err(problem),
            };
            Written { outcomes, lines }
        }));
        Ok(())
    }

    /// Waits until at most `most` chunks are on their way.
    async fn settle(&mut self, most: usize) -> Result<(), Gone> {
        while self.in_flight.len() > most {
            tokio::select! {
                Some(written) = self.in_flight.next() => self.account(written),
                _ = self.ticks.tick() => self.report()?,
            }
        }
        Ok(())
    }

    fn account(&mut self, Written { outcomes, lines }: Written) {
        let outcomes = outcomes.unwrap_or_else(|problem| vec![Outcome::Failed(problem); lines.len()]);
        for (outcome, line) in outcomes.into_iter().zip(lines) {
            match outcome {
                Outcome::Stored | Outcome::Spooled => self.counts.accepted += 1,
                Outcome::Duplicate => self.counts.duplicate += 1,
                Outcome::Failed(problem) => {
                    self.reject(line, &problem);
                    // What is read from here on would fare no better.
                    if problem.is_temporary() {
                        self.trouble = Some(problem);
                    }
                }
            }
        }
    }

    /// Tells how far it is, now and then, and notices whether anybody still listens.
    fn report(&mut self) -> Result<(), Gone> {
        self.ticked += 1;
        if self.ticked.is_multiple_of(TICKS_A_LINE) {
            match self.answer.try_send(line(&self.counts)) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            }
        } else {
            Ok(())
        }
    }
}

fn line(value: &impl Serialize) -> Bytes {
    // Numbers and texts can always be written.
    let mut json = serde_json::to_vec(value).unwrap_or_default();
    json.push(b'\n');
    json.into()
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(u64, Vec<u8>),
    TooLong(u64),
}

/// Bytes on their way to being lines.
#[derive(Default)]
struct Lines {
    /// Read and not yet taken as lines, from `start` on.
    bytes: Vec<u8>,
    start: usize,
    /// The number of the last line taken.
    number: u64,
    /// The line that is being read was too long already and has been told.
    is_skipping: bool,
    is_finished: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// There are no more bytes: what is left is a line, too.
    fn finish(&mut self) {
        self.is_finished = true;
    }

    fn next(&mut self) -> Option<Line> {
        loop {
            let rest = &self.bytes[self.start..];
            let (length, is_whole) = match memchr::memchr(b'\n', rest) {
                Some(length) => (length, true),
                None if self.is_finished && !rest.is_empty() => (rest.len(), true),
                None => (rest.len(), false),
            };
            let text = &rest[..length];
            let skipped = self.is_skipping;
            if !is_whole {
                if !skipped && length <= MAX_LINE {
                    return None;
                }
                self.bytes.clear();
                self.start = 0;
                self.is_skipping = true;
                if skipped {
                    return None;
                }
                self.number += 1;
                return Some(Line::TooLong(self.number));
            }
            let line = if length > MAX_LINE {
                Line::TooLong(self.number + 1)
            } else {
                Line::Whole(self.number + 1, text.to_vec())
            };
            self.start = (self.start + length + 1).min(self.bytes.len());
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            self.number += 1;
            return Some(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            found.extend(std::iter::from_fn(|| lines.next()));
            assert!(lines.bytes.len() <= MAX_LINE + piece.len());
        }
        lines.finish();
        found.extend(std::iter::from_fn(|| lines.next()));
        found
    }

    #[test]
    fn lines_are_found_however_they_come() {
        let whole = |number, text: &str| Line::Whole(number, text.as_bytes().to_vec());
        let expected = [whole(1, "a"), whole(2, ""), whole(3, "bc\r"), whole(4, "d")];
        let text = b"a\n\nbc\r\nd";
        assert_eq!(lines(&[text]), expected);
        assert_eq!(lines(&text.chunks(1).collect::<Vec<_>>()), expected);
        assert_eq!(lines(&[text, b"\n"]), expected);
        assert_eq!(lines(&[]), []);
    }

    #[test]
    fn a_long_line_is_told_once_and_not_kept() {
        let long = vec![b'x'; MAX_LINE + 1];
        let expected = [Line::Whole(1, b"a".to_vec()), Line::TooLong(2), Line::Whole(3, b"b".to_vec())];
        assert_eq!(lines(&[b"a\n", &long, b"\nb\n"]), expected);
        assert_eq!(lines(&[b"a\n", &long, &long, b"x\nb"]), expected);
        let at_once: Vec<u8> = [b"a\n".as_slice(), &long, b"\nb"].concat();
        assert_eq!(lines(&[&at_once]), expected);
        assert_eq!(lines(&[&long, &long]), [Line::TooLong(1)]);
        assert_eq!(lines(&[&long[1..]]), [Line::Whole(1, long[1..].to_vec())]);
    }
}
