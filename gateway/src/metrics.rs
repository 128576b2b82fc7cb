//! What this process counts, for Prometheus to collect.
//!
//! Every series of the paths that must be fast is made at the start and held in a field or an array, so that counting is a
//! few atomic additions: no lock, no label looked up by its text. No label holds anything that a caller could choose.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use crate::problem::Problem;

/// From an answer out of memory to the longest patience for a commit.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// A roll-up is fast when it keeps up and may take minutes when it has to catch up.
const ROLLUP_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
/// From a single event to the largest batch.
const BATCH_SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

/// Every status that is ever answered; another one would be counted as the last of them.
const STATUSES: [StatusCode; 12] = [
    StatusCode::OK,
    StatusCode::ACCEPTED,
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::CONFLICT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::INTERNAL_SERVER_ERROR,
];

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/api/v1/assign`
    Assign,
    /// `/api/v1/flags`
    Flags,
    /// `/api/v1/flags/{key}`
    Flag,
    /// `/api/v1/track`
    Track,
    /// `/api/v1/track/batch`
    TrackBatch,
    /// `/api/v1/track/stream`
    TrackStream,
    /// `/api/v1/experiments/{id}/results`
    Results,
    /// `/health/live`
    Live,
    /// `/health/ready`
    Ready,
    /// `/metrics`
    Metrics,
    /// A path that does not exist, or not for this method.
    None,
}

impl Route {
    const ALL: [Route; 11] = [
        Route::Assign,
        Route::Flags,
        Route::Flag,
        Route::Track,
        Route::TrackBatch,
        Route::TrackStream,
        Route::Results,
        Route::Live,
        Route::Ready,
        Route::Metrics,
        Route::None,
    ];

    /// The path as the router knows it.
    pub const fn path(self) -> &'static str {
        match self {
            Route::Assign => "/api/v1/assign",
            Route::Flags => "/api/v1/flags",
            Route::Flag => "/api/v1/flags/{key}",
            Route::Track => "/api/v1/track",
            Route::TrackBatch => "/api/v1/track/batch",
            Route::TrackStream => "/api/v1/track/stream",
            Route::Results => "/api/v1/experiments/{id}/results",
            Route::Live => "/health/live",
            Route::Ready => "/health/ready",
            Route::Metrics => "/metrics",
            Route::None => "none",
        }
    }
}

/// All series of this process.
pub struct Metrics {
    registry: Registry,
    routes: [RouteMetrics; Route::ALL.len()],
    /// Experiments decided for callers.
    pub assignments: IntCounter,
    /// Flags evaluated for callers.
    pub evaluations: IntCounter,
    /// What becomes of events.
    pub events: EventMetrics,
    rollup_seconds: Histogram,
    rollup_events: IntCounter,
    rollup_failures: IntCounter,
    rollup_lag: OnceLock<Gauge>,
    /// When the last successful roll-up began, in milliseconds since `started`.
    rolled_up: AtomicU64,
    started: Instant,
    config_version: IntGauge,
    connected: IntGauge,
    queue_used: IntGauge,
    queue_capacity: IntGauge,
    spool_bytes: IntGauge,
    spool_age: Gauge,
}

/// What becomes of events. Each that is received ends as one of accepted, duplicate and rejected; one that was spooled
/// because nobody knew whether it was committed may do so twice.
#[derive(Debug, Clone)]
pub struct EventMetrics {
    received: IntCounter,
    /// Stored for the first time.
    pub accepted: IntCounter,
    /// Stored before.
    pub duplicate: IntCounter,
    /// Put on this machine's disk first.
    pub spooled: IntCounter,
    rejected: IntCounterVec,
    /// Events between acceptance and commit.
    pub queued: IntGauge,
    batch_size: Histogram,
    commit_seconds: Histogram,
}

impl EventMetrics {
    /// `count` events came in.
    pub fn receive(&self, count: usize) {
        self.received.inc_by(count as u64);
    }

    /// `count` events could not be stored because of `problem`.
    pub fn reject(&self, count: usize, problem: &Problem) {
        self.rejected.with_label_values(&[problem.known_code()]).inc_by(count as u64);
    }

    /// A batch of `size` events was committed, which took `duration`.
    pub fn commit(&self, size: usize, duration: Duration) {
        self.batch_size.observe(size as f64);
        self.commit_seconds.observe(duration.as_secs_f64());
    }
}

struct RouteMetrics {
    requests: [IntCounter; STATUSES.len()],
    seconds: Histogram,
}

/// A request that is being answered.
#[must_use]
pub struct Watch<'a> {
    route: &'a RouteMetrics,
    begun: Instant,
}

impl Watch<'_> {
    /// The answer begins, with `status`.
    pub fn answered(self, status: StatusCode) {
        let place =
            STATUSES.iter().position(|&known| known == status).unwrap_or(const { STATUSES.len() - 1 });
        self.route.requests[place].inc();
        self.route.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// What is looked at when somebody asks, rather than counted as it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// That of the configuration in force.
    pub config_version: i64,
    /// Whether the listener has its connection.
    pub is_connected: bool,
    /// How much of the queue is taken, in its units.
    pub queue_used: usize,
    /// How much the queue takes.
    pub queue_capacity: usize,
    /// How much waits in the spool.
    pub spool_bytes: u64,
    /// For how long the oldest of it has.
    pub spool_age: Duration,
}

impl Metrics {
    /// All series, at zero.
    ///
    /// # Errors
    /// When two have the same name.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let make = Maker { registry: Registry::new() };
        let requests = make.counters(
            "ab_http_requests_total",
            "HTTP requests answered, by route and status",
            &["route", "status"],
        )?;
        let seconds = make.register(HistogramVec::new(
            HistogramOpts::new(
                "ab_http_request_seconds",
                "Time from a request's head to the beginning of its answer, by route",
            )
            .buckets(SECONDS.to_vec()),
            &["route"],
        )?)?;
        let assignments = make.counters(
            "ab_assignments_total",
            "Experiments and flags decided for callers, by endpoint",
            &["endpoint"],
        )?;
        let events = EventMetrics {
            received: make.counter("ab_events_received_total", "Events that came in, good or bad")?,
            accepted: make
                .counter("ab_events_accepted_total", "Events committed that were not stored before")?,
            duplicate: make.counter("ab_events_duplicate_total", "Events that were stored already")?,
            spooled: make.counter(
                "ab_events_spooled_total",
                "Events acknowledged from the spool; they are counted as accepted, duplicate or rejected when they leave it",
            )?,
            rejected: make.counters(
                "ab_events_rejected_total",
                "Events that were not stored, by the code they were answered with",
                &["code"],
            )?,
            queued: make.gauge("ab_queue_events", "Events accepted and not yet committed")?,
            batch_size: make.histogram(
                "ab_batch_events",
                "Events committed in one statement",
                &BATCH_SIZES,
            )?,
            commit_seconds: make.histogram(
                "ab_commit_seconds",
                "Time that the statement and commit of a batch took",
                &SECONDS,
            )?,
        };
        Ok(Metrics {
            routes: Route::ALL.map(|route| RouteMetrics {
                requests: STATUSES.map(|status| requests.with_label_values(&[route.path(), status.as_str()])),
                seconds: seconds.with_label_values(&[route.path()]),
            }),
            assignments: assignments.with_label_values(&["assign"]),
            evaluations: assignments.with_label_values(&["flags"]),
            events,
            rollup_seconds: make.histogram(
                "ab_rollup_seconds",
                "Time that a roll-up of this gateway took",
                &ROLLUP_SECONDS,
            )?,
            rollup_events: make.counter(
                "ab_rollup_events_total",
                "Exposures, and events of a metric, that this gateway rolled up",
            )?,
            rollup_failures: make.counter("ab_rollup_failures_total", "Roll-ups that failed")?,
            rollup_lag: OnceLock::new(),
            rolled_up: AtomicU64::new(0),
            started: Instant::now(),
            config_version: make.gauge("ab_config_version", "Version of the configuration in force")?,
            connected: make.gauge(
                "ab_database_connected",
                "1 while changes of the configuration are heard of, else 0",
            )?,
            queue_used: make
                .gauge("ab_queue_used_kib", "How much of the queue is taken, as AB_QUEUE_KIB counts")?,
            queue_capacity: make.gauge("ab_queue_capacity_kib", "How much the queue takes")?,
            spool_bytes: make.gauge("ab_spool_bytes", "How much waits on disk for the database")?,
            spool_age: make.register(Gauge::new(
                "ab_spool_oldest_seconds",
                "How long the oldest of what waits on disk has been there",
            )?)?,
            registry: make.registry,
        })
    }

    /// A request for `route` has come.
    #[inline]
    pub fn watch(&self, route: Route) -> Watch<'_> {
        Watch { route: &self.routes[route as usize], begun: Instant::now() }
    }

    /// This gateway will roll up, and is as late as it has not yet done so.
    ///
    /// # Errors
    /// When it was said before.
    pub fn expect_rollups(&self) -> Result<(), prometheus::Error> {
        let lag = Gauge::new(
            "ab_rollup_lag_seconds",
            "Time since the last successful roll-up of this gateway began",
        )?;
        self.registry.register(Box::new(lag.clone()))?;
        self.rolled_up.store(self.milliseconds(Instant::now()), Ordering::Relaxed);
        let _ = self.rollup_lag.set(lag);
        Ok(())
    }

    /// A roll-up that was `begun` then has ended well, with so many events in it.
    pub fn rolled_up(&self, begun: Instant, events: u64) {
        self.rollup_seconds.observe(begun.elapsed().as_secs_f64());
        self.rollup_events.inc_by(events);
        self.rolled_up.store(self.milliseconds(begun), Ordering::Relaxed);
    }

    /// A roll-up has failed.
    pub fn rollup_failed(&self) {
        self.rollup_failures.inc();
    }

    fn milliseconds(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// All series in the text format of Prometheus.
    ///
    /// # Errors
    /// When the library cannot write one of them.
    pub fn text(&self, moment: Moment) -> Result<String, prometheus::Error> {
        self.config_version.set(moment.config_version);
        self.connected.set(moment.is_connected.into());
        self.queue_used.set(i64::try_from(moment.queue_used).unwrap_or(i64::MAX));
        self.queue_capacity.set(i64::try_from(moment.queue_capacity).unwrap_or(i64::MAX));
        self.spool_bytes.set(i64::try_from(moment.spool_bytes).unwrap_or(i64::MAX));
        self.spool_age.set(moment.spool_age.as_secs_f64());
        if let Some(lag) = self.rollup_lag.get() {
            let since = self.milliseconds(Instant::now()) - self.rolled_up.load(Ordering::Relaxed);
            lag.set(Duration::from_millis(since).as_secs_f64());
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Makes series and registers them.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<T: prometheus::core::Collector + Clone + 'static>(
        &self,
        series: T,
    ) -> Result<T, prometheus::Error> {
        self.registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::HttpCode;

    const MOMENT: Moment = Moment {
        config_version: 7,
        is_connected: true,
        queue_used: 3,
        queue_capacity: 9,
        spool_bytes: 11,
        spool_age: Duration::from_secs(2),
    };

    #[test]
    fn each_route_is_found_at_its_place() {
        for (place, &route) in Route::ALL.iter().enumerate() {
            assert_eq!(route as usize, place);
        }
    }

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new().unwrap();
        metrics.watch(Route::Assign).answered(StatusCode::OK);
        metrics.watch(Route::None).answered(StatusCode::NOT_FOUND);
        metrics.watch(Route::Results).answered(StatusCode::IM_A_TEAPOT);
        metrics.events.receive(3);
        metrics.events.reject(2, &Problem::new(HttpCode::QueueFull, "x"));
        // What a caller or a later extension calls a problem is nobody's label.
        metrics.events.reject(1, &Problem::named("of_a_later_version", "x"));
        metrics.events.commit(100, Duration::from_millis(3));
        let text = metrics.text(MOMENT).unwrap();
        for line in [
            r#"ab_http_requests_total{route="/api/v1/assign",status="200"} 1"#,
            r#"ab_http_requests_total{route="none",status="404"} 1"#,
            r#"ab_http_requests_total{route="/api/v1/experiments/{id}/results",status="500"} 1"#,
            r#"ab_http_request_seconds_count{route="/api/v1/assign"} 1"#,
            "ab_events_received_total 3",
            r#"ab_events_rejected_total{code="queue_full"} 2"#,
            r#"ab_events_rejected_total{code="other"} 1"#,
            r#"ab_batch_events_bucket{le="50"} 0"#,
            r#"ab_batch_events_bucket{le="100"} 1"#,
            r#"ab_commit_seconds_bucket{le="0.0025"} 0"#,
            r#"ab_commit_seconds_bucket{le="0.005"} 1"#,
            "ab_config_version 7",
            "ab_database_connected 1",
            "ab_queue_used_kib 3",
            "ab_queue_capacity_kib 9",
            "ab_spool_bytes 11",
            "ab_spool_oldest_seconds 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_gateway_that_does_not_roll_up_has_no_lag() {
        let metrics = Metrics::new().unwrap();
        assert!(!metrics.text(MOMENT).unwrap().contains("ab_rollup_lag_seconds"));
        metrics.expect_rollups().unwrap();
        metrics.rolled_up(Instant::now(), 5);
        let text = metrics.text(MOMENT).unwrap();
        assert!(text.contains("\nab_rollup_lag_seconds "), "{text}");
        assert!(text.contains("\nab_rollup_events_total 5\n"), "{text}");
    }
}
