//! A worker's counters as metrics, once a second.
//!
//! In: the core's statistics and the socket's. Out: the `metrics` recorder, each with the worker's number.

use metrics::{Label, SharedString, counter, describe_counter, describe_gauge, gauge};
use sfu::worker::MetricKind;

use super::exchange::Exchange;
use super::failures::Failures;
use super::udp::Incoming;

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
    describe_counter!(
        "lianmai_signal_overflowed_total",
        "WebSockets cut off since 256 messages waited for them"
    );
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
    for (reason, value) in [("buffer_full", sent.full), ("refused", sent.failed)] {
        counter!("lianmai_udp_send_dropped_total", "worker" => worker.clone(), "reason" => reason)
            .absolute(value);
    }
}
