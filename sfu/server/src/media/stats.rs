//! A worker's counters as metrics, once a second, and what a room looks like, when somebody asks.
//!
//! In: the core's statistics and the socket's, questions about rooms. Out: the `metrics` recorder, each with the worker's
//! number; answers. Labels are worker, reason and class only: their number does not grow with rooms or people.

use metrics::{
    Label, SharedString, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use proto::ids::RoomName;
use proto::time::Instant;
use serde::Serialize;
use sfu::worker::MetricKind;
use sfu::worker::report::{PARTICIPANTS_MAX, RoomStats, Selection};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::exchange::Exchange;
use super::failures::Failures;
use super::residence::{Residence, Summary};
use super::tcp::Closed;
use super::udp::Incoming;

/// What may be sent to subscribers, in bits a second: each bound twice the one before.
const RATE: &str = "lianmai_path_allowed_bits_per_second";
const RATE_BOUNDS: [f64; 10] = [62.5e3, 125e3, 250e3, 500e3, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6];
/// Times on their paths, in seconds.
const QUEUE: &str = "lianmai_path_queue_seconds";
const ROUND_TRIP: &str = "lianmai_path_round_trip_seconds";
const TIME_BOUNDS: [f64; 9] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

/// Somebody asks what a room looks like.
pub(crate) struct Question {
    /// Which.
    pub(crate) room: RoomName,
    /// Of whom to tell.
    pub(crate) selection: Selection,
    /// Where the answer goes; `None` if there is no such room.
    pub(crate) reply: oneshot::Sender<Option<Answer>>,
    /// Held until it is answered: nobody else asks meanwhile.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) turn: OwnedSemaphorePermit,
}

/// What a room looks like, and how its worker does.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    room: RoomStats,
    worker: WorkerStats,
    /// The other workers of a room that spans several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_workers: Vec<WorkerStats>,
}

impl Answer {
    /// What two workers know of a room: each tells of its own participants.
    pub(crate) fn join(mut self, other: Self) -> Self {
        let participants = &mut self.room.participants;
        participants.extend(other.room.participants);
        participants.sort_by(|one, two| one.joined_ms.total_cmp(&two.joined_ms));
        participants.truncate(PARTICIPANTS_MAX);
        self.room.participant_count = self.room.participant_count.max(other.room.participant_count);
        self.other_workers.push(other.worker);
        self.other_workers.extend(other.other_workers);
        self
    }
}

/// How a worker does.
#[derive(Debug, Serialize)]
struct WorkerStats {
    /// Its number, from 0.
    index: usize,
    /// How long datagrams stay with it.
    residence: Summary,
}

impl Question {
    /// Answers.
    pub(super) fn answer(self, now: Instant, exchange: &Exchange, residence: &Residence) {
        let room = exchange.worker().room_stats(now, &self.room, &self.selection);
        let residence = residence.histogram().summary();
        let worker = WorkerStats { index: exchange.index(), residence };
        let _ = self.reply.send(room.map(|room| Answer { room, worker, other_workers: Vec::new() })); // fails if nobody waits any more
    }
}

/// Installs what metrics are told to.
pub(crate) fn recorder() -> PrometheusHandle {
    let bounds = [(RATE, &RATE_BOUNDS[..]), (QUEUE, &TIME_BOUNDS), (ROUND_TRIP, &TIME_BOUNDS)];
    let builder = bounds.into_iter().fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        let set = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds);
        set.expect("there are bounds")
    });
    builder.install_recorder().expect("no other recorder is installed")
}

/// Says once what the socket's metrics mean.
pub(crate) fn describe() {
    describe_counter!(
        "lianmai_udp_unanswerable_datagrams_total",
        "Datagrams dropped since they claim to come from port 0"
    );
    describe_counter!(
        "lianmai_udp_receive_failed_total",
        "Receive calls that failed, such as while an interface is down"
    );
    describe_counter!("lianmai_udp_sent_datagrams_total", "Datagrams that the kernel took for sending");
    describe_counter!(
        "lianmai_udp_sent_runs_total",
        "Runs that they went in: datagrams of one size to one destination, which the kernel handles as one"
    );
    describe_counter!("lianmai_udp_send_calls_total", "System calls that sent them, each many runs");
    describe_counter!(
        "lianmai_udp_send_dropped_total",
        "Datagrams not sent, by reason: buffer_full or refused"
    );
    describe_gauge!("lianmai_tcp_connections", "TCP connections for media");
    describe_counter!(
        "lianmai_tcp_refused_total",
        "TCP connections closed before a worker had them, by reason: limit, limit_of_address, limit_of_silent, silent, \
         no_request or unknown_worker"
    );
    describe_counter!(
        "lianmai_tcp_closed_total",
        "TCP connections closed by a worker, by reason: unproved, ended, misframed, stuck or unchecked"
    );
    describe_counter!("lianmai_tcp_received_frames_total", "Frames that came by TCP");
    describe_counter!("lianmai_tcp_sent_frames_total", "Frames that the kernel took for sending by TCP");
    describe_counter!(
        "lianmai_tcp_send_dropped_total",
        "Frames not sent by TCP, by reason: queue_full or connection_gone"
    );
    describe_counter!(
        "lianmai_signal_overflowed_total",
        "WebSockets cut off since 256 messages waited for them"
    );
    describe_histogram!(RATE, "What subscribers may be sent, once a second each, by the kind of their path");
    describe_histogram!(QUEUE, "How long packets take to leave subscribers' pacers, once a second each");
    describe_histogram!(ROUND_TRIP, "Subscribers' round trips, once a second each");
}

/// Publishes everything that the parts of a worker count.
pub(super) fn publish(exchange: &Exchange, incoming: &Incoming, failures: &Failures) {
    let worker = exchange.index().to_string();
    for metric in exchange.stats().metrics() {
        let mut labels = vec![Label::new("worker", worker.clone())];
        if let Some((name, value)) = metric.label {
            labels.push(Label::new(name, value));
        }
        match metric.kind {
            MetricKind::Counter => {
                describe_counter!(metric.name, SharedString::const_str(metric.help));
                counter!(metric.name, labels).absolute(metric.value);
            }
            MetricKind::Gauge => {
                describe_gauge!(metric.name, SharedString::const_str(metric.help));
                gauge!(metric.name, labels).set(metric.value as f64);
            }
        }
    }
    for path in exchange.worker().paths() {
        let class = path.class.name();
        histogram!(RATE, "class" => class).record(path.allowed.as_bps() as f64);
        histogram!(QUEUE, "class" => class).record(path.queue);
        if let Some(round_trip) = path.round_trip {
            histogram!(ROUND_TRIP, "class" => class).record(round_trip);
        }
    }
    let sent = exchange.sent();
    for (name, value) in [
        ("lianmai_udp_unanswerable_datagrams_total", incoming.unanswerable),
        ("lianmai_udp_receive_failed_total", failures.count),
        ("lianmai_udp_sent_datagrams_total", sent.datagrams),
        ("lianmai_udp_sent_runs_total", sent.runs),
        ("lianmai_udp_send_calls_total", sent.calls),
        ("lianmai_signal_overflowed_total", exchange.overflowed()),
    ] {
        counter!(name, "worker" => worker.clone()).absolute(value);
    }
    publish_tcp(exchange, &worker);
    for (reason, value) in [("buffer_full", sent.full), ("refused", sent.failed)] {
        counter!("lianmai_udp_send_dropped_total", "worker" => worker.clone(), "reason" => reason)
            .absolute(value);
    }
}

fn publish_tcp(exchange: &Exchange, worker: &str) {
    let (counts, connections) = exchange.tcp();
    gauge!("lianmai_tcp_connections", "worker" => worker.to_owned()).set(connections as f64);
    let labels = |reason: Option<&'static str>| {
        let reason = reason.map(|reason| Label::new("reason", reason));
        [Label::new("worker", worker.to_owned())].into_iter().chain(reason).collect::<Vec<_>>()
    };
    for (name, reason, value) in [
        ("lianmai_tcp_received_frames_total", None, counts.received),
        ("lianmai_tcp_sent_frames_total", None, counts.sent),
        ("lianmai_tcp_send_dropped_total", Some("queue_full"), counts.full),
        ("lianmai_tcp_send_dropped_total", Some("connection_gone"), counts.gone),
    ] {
        counter!(name, labels(reason)).absolute(value);
    }
    for (why, value) in Closed::ALL.into_iter().zip(counts.closed) {
        counter!("lianmai_tcp_closed_total", labels(Some(why.reason()))).absolute(value);
    }
}
