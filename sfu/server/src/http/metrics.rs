//! `/metrics` on its own port: what the Prometheus text format shows, and what the control plane counts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use metrics::{describe_counter, describe_gauge, gauge};

use super::App;
use crate::media::render_residence;

/// Says once what the metrics mean.
pub(super) fn describe() {
    describe_counter!("lianmai_signal_opened_total", "WebSockets opened");
    describe_counter!("lianmai_signal_refused_total", "WebSockets refused before the upgrade, by code");
    describe_counter!("lianmai_signal_closed_total", "WebSockets closed, by who and why");
    describe_counter!("lianmai_signal_messages_total", "Text messages, by direction");
    describe_gauge!("lianmai_signal_sockets", "WebSockets open now");
    describe_gauge!("lianmai_rooms_placed", "Rooms that have a worker, with WebSockets or participants");
    describe_gauge!("process_resident_memory_bytes", "Resident memory of the process");
}

/// Everything, read now.
pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    gauge!("lianmai_signal_sockets").set((app.sockets_max - app.sockets.available_permits()) as f64);
    gauge!("lianmai_rooms_placed").set(app.rooms.len() as f64);
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| resident(&text)) {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    let mut text = app.metrics.render();
    text.push_str(&render_residence(app.residence.iter().map(AsRef::as_ref)));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// `VmRSS` of `/proc/self/status`, in bytes (proc(5) gives kB).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_where_it_is_told() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t   1234 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("Name: x\n"), None);
    }
}
