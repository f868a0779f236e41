//! The C face of the shim, as `shim.h` declares it: keep both alike.

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Controller {
    _private: [u8; 0],
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Config {
    pub(crate) now_us: i64,
    pub(crate) min_bps: i64,
    pub(crate) start_bps: i64,
    pub(crate) max_bps: i64,
    pub(crate) pacing_factor: f64,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Sent {
    pub(crate) number: i64,
    pub(crate) at_us: i64,
    pub(crate) size: i64,
    pub(crate) in_flight: i64,
    pub(crate) audio: i32,
    pub(crate) probe_id: i32,
    pub(crate) probe_min_packets: i32,
    pub(crate) probe_min_bytes: i32,
    pub(crate) probe_bps: i32,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Received {
    pub(crate) sent: Sent,
    pub(crate) received_us: i64,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Feedback {
    pub(crate) now_us: i64,
    pub(crate) prior_in_flight: i64,
    pub(crate) in_flight: i64,
    pub(crate) results: *const Received,
    pub(crate) count: usize,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Loss {
    pub(crate) from_us: i64,
    pub(crate) now_us: i64,
    pub(crate) lost: u64,
    pub(crate) received: u64,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct State {
    pub(crate) target_bps: i64,
    pub(crate) pacing_bps: i64,
    pub(crate) padding_bps: i64,
    pub(crate) window: i64,
}

#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Probe {
    pub(crate) id: i32,
    pub(crate) min_packets: i32,
    pub(crate) bps: i64,
    pub(crate) duration_us: i64,
}

unsafe extern "C" {
    pub(crate) fn lianmai_googcc_new(config: *const Config) -> *mut Controller;
    pub(crate) fn lianmai_googcc_free(cc: *mut Controller);
    pub(crate) fn lianmai_googcc_handle_sent(cc: *mut Controller, packet: *const Sent);
    pub(crate) fn lianmai_googcc_handle_feedback(cc: *mut Controller, feedback: *const Feedback);
    pub(crate) fn lianmai_googcc_handle_round_trip(cc: *mut Controller, now_us: i64, round_trip_us: i64);
    pub(crate) fn lianmai_googcc_handle_loss(cc: *mut Controller, loss: *const Loss);
    pub(crate) fn lianmai_googcc_handle_interval(cc: *mut Controller, now_us: i64);
    pub(crate) fn lianmai_googcc_read(cc: *const Controller) -> State;
    pub(crate) fn lianmai_googcc_poll_probe(cc: *mut Controller, probe: *mut Probe) -> i32;
    pub(crate) safe fn lianmai_googcc_interval_us() -> i64;
}
