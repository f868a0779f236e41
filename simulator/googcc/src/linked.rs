//! [`GoogCc`]: the shim made safe.

use core::ptr::NonNull;
use core::time::Duration;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::raw;

/// How to begin (`NetworkControllerConfig`).
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Never less than this.
    pub min: Bitrate,
    /// What to begin with.
    pub start: Bitrate,
    /// Never more than this.
    pub max: Bitrate,
    /// How many times the estimate the pacer is told.
    pub pacing_factor: f64,
}

/// What a packet of a probe cluster carries along (`PacedPacketInfo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacedPacket {
    /// The cluster.
    pub id: u32,
    /// How fast it is sent.
    pub rate: Bitrate,
    /// How many packets it has at least.
    pub min_packets: u32,
    /// How large it is at least.
    pub min_size: DataSize,
}

/// A packet that left (`SentPacket`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentPacket {
    /// Its number, one more than that of the packet before.
    pub number: u64,
    /// When it left.
    pub sent: Instant,
    /// Its size up to the IP layer.
    pub size: DataSize,
    /// What was in flight before it.
    pub in_flight: DataSize,
    /// Whether it carries sound.
    pub audio: bool,
    /// The probe cluster it belongs to.
    pub probe: Option<PacedPacket>,
}

/// What feedback said of a packet (`PacketResult`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// The packet.
    pub sent: SentPacket,
    /// When it arrived, by a clock that agrees with the sender's to a round trip; `None` if it is taken for lost.
    pub received: Option<Instant>,
}

/// What came with one feedback message (`TransportPacketsFeedback`), but for its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback {
    /// When it arrived.
    pub now: Instant,
    /// What was in flight before it.
    pub prior_in_flight: DataSize,
    /// What is in flight after it.
    pub in_flight: DataSize,
}

/// Losses over a while (`TransportLossReport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossReport {
    /// Since when.
    pub from: Instant,
    /// Until when, which is when the report arrived.
    pub now: Instant,
    /// How many packets were lost.
    pub lost: u64,
    /// How many arrived.
    pub received: u64,
}

/// What is allowed (`NetworkControlUpdate`, its latest values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// How fast media may be made.
    pub target: Bitrate,
    /// How fast the pacer lets packets go.
    pub pacing: Bitrate,
    /// Up to which rate padding is to fill what media leaves free.
    pub padding: Bitrate,
    /// The most in flight; `None` if only the rate limits.
    pub window: Option<DataSize>,
}

/// A probe to send (`ProbeClusterConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeCluster {
    /// Its number.
    pub id: u32,
    /// How fast.
    pub rate: Bitrate,
    /// For how long.
    pub duration: Duration,
    /// How many packets at least.
    pub min_packets: u32,
}

/// A `GoogCcNetworkController`.
#[derive(Debug)]
pub struct GoogCc {
    controller: NonNull<raw::Controller>,
    /// Kept for its memory.
    results: Vec<raw::Received>,
}

impl GoogCc {
    /// A controller on a network that is there since `now`; application-limited phases are probed (ALR probing), and
    /// padding is not asked for.
    pub fn new(now: Instant, config: &Config) -> Self {
        let config = raw::Config {
            now_us: micros(now),
            min_bps: bps(config.min),
            start_bps: bps(config.start),
            max_bps: bps(config.max),
            pacing_factor: config.pacing_factor,
        };
        // SAFETY: `config` outlives the call, which copies what it needs.
        let controller = unsafe { raw::lianmai_googcc_new(&raw const config) };
        Self {
            controller: NonNull::new(controller).expect("C++'s new throws rather than give null"),
            results: Vec::new(),
        }
    }

    /// A packet left.
    pub fn handle_sent(&mut self, packet: &SentPacket) {
        let packet = raw_sent(packet);
        // SAFETY: the controller lives as long as `self`, which is borrowed alone; `packet` outlives the call.
        unsafe { raw::lianmai_googcc_handle_sent(self.controller.as_ptr(), &raw const packet) }
    }

    /// Feedback arrived; `results` are in the order in which the packets were sent.
    pub fn handle_feedback(&mut self, feedback: &Feedback, results: impl Iterator<Item = PacketResult>) {
        self.results.clear();
        self.results.extend(results.map(|result| raw::Received {
            sent: raw_sent(&result.sent),
            received_us: result.received.map_or(-1, micros),
        }));
        let feedback = raw::Feedback {
            now_us: micros(feedback.now),
            prior_in_flight: bytes(feedback.prior_in_flight),
            in_flight: bytes(feedback.in_flight),
            results: self.results.as_ptr(),
            count: self.results.len(),
        };
        // SAFETY: as in `handle_sent`; `results` are `count` initialized values that nobody changes meanwhile.
        unsafe { raw::lianmai_googcc_handle_feedback(self.controller.as_ptr(), &raw const feedback) }
    }

    /// A round trip was measured, as receiver reports allow.
    pub fn handle_round_trip(&mut self, now: Instant, round_trip: Duration) {
        let round_trip_us = i64::try_from(round_trip.as_micros()).unwrap_or(i64::MAX / 2);
        // SAFETY: as in `handle_sent`.
        unsafe { raw::lianmai_googcc_handle_round_trip(self.controller.as_ptr(), micros(now), round_trip_us) }
    }

    /// Losses were counted, as in receiver reports.
    pub fn handle_loss(&mut self, report: &LossReport) {
        let loss = raw::Loss {
            from_us: micros(report.from),
            now_us: micros(report.now),
            lost: report.lost,
            received: report.received,
        };
        // SAFETY: as in `handle_sent`; `loss` outlives the call.
        unsafe { raw::lianmai_googcc_handle_loss(self.controller.as_ptr(), &raw const loss) }
    }

    /// [`interval`](Self::interval) went by, or the controller has just begun.
    pub fn handle_interval(&mut self, now: Instant) {
        // SAFETY: as in `handle_sent`.
        unsafe { raw::lianmai_googcc_handle_interval(self.controller.as_ptr(), micros(now)) }
    }

    /// The next probe to send.
    pub fn poll_probe(&mut self) -> Option<ProbeCluster> {
        let mut probe = raw::Probe::default();
        // SAFETY: as in `handle_sent`; `probe` may be written to during the call.
        let some = unsafe { raw::lianmai_googcc_poll_probe(self.controller.as_ptr(), &raw mut probe) };
        (some != 0).then(|| ProbeCluster {
            id: u32::try_from(probe.id).unwrap_or(0),
            rate: rate(probe.bps),
            duration: Duration::from_micros(u64::try_from(probe.duration_us).unwrap_or(0)),
            min_packets: u32::try_from(probe.min_packets).unwrap_or(0),
        })
    }

    /// What is allowed now.
    pub fn state(&self) -> State {
        // SAFETY: the controller lives as long as `self`, and nobody changes it during the call.
        let state = unsafe { raw::lianmai_googcc_read(self.controller.as_ptr()) };
        State {
            target: rate(state.target_bps),
            pacing: rate(state.pacing_bps),
            padding: rate(state.padding_bps),
            window: u64::try_from(state.window).ok().map(DataSize::bytes),
        }
    }

    /// How often [`handle_interval`](Self::handle_interval) wants to be called.
    pub fn interval() -> Duration {
        Duration::from_micros(raw::lianmai_googcc_interval_us().unsigned_abs())
    }
}

impl Drop for GoogCc {
    fn drop(&mut self) {
        // SAFETY: `new` made the controller, and nobody uses it after `self`.
        unsafe { raw::lianmai_googcc_free(self.controller.as_ptr()) }
    }
}

fn raw_sent(packet: &SentPacket) -> raw::Sent {
    let (id, min_packets, min_bytes, bps) = packet.probe.map_or((-1, -1, -1, -1), |probe| {
        (
            small(probe.id.into()),
            small(probe.min_packets.into()),
            small(probe.min_size.as_bytes()),
            small(probe.rate.as_bps()),
        )
    });
    raw::Sent {
        number: i64::try_from(packet.number).unwrap_or(i64::MAX),
        at_us: micros(packet.sent),
        size: bytes(packet.size),
        in_flight: bytes(packet.in_flight),
        audio: packet.audio.into(),
        probe_id: id,
        probe_min_packets: min_packets,
        probe_min_bytes: min_bytes,
        probe_bps: bps,
    }
}

fn micros(at: Instant) -> i64 {
    at.as_micros() as i64 // 2^64 ns are fewer than 2^63 µs
}

fn bytes(size: DataSize) -> i64 {
    i64::try_from(size.as_bytes()).unwrap_or(i64::MAX / 2)
}

/// libwebrtc keeps rates as whole bits a second, and its greatest number means "infinite", which it refuses here.
fn bps(rate: Bitrate) -> i64 {
    i64::try_from(rate.as_bps()).unwrap_or(i64::MAX / 2)
}

fn rate(bps: i64) -> Bitrate {
    Bitrate::bps(u64::try_from(bps).unwrap_or(0))
}

fn small(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            min: Bitrate::kbps(150),
            start: Bitrate::kbps(300),
            max: Bitrate::mbps(10),
            pacing_factor: 1.1,
        }
    }

    #[test]
    fn it_starts_at_its_start_rate_and_probes_three_and_six_times_as_fast() {
        let mut controller = GoogCc::new(Instant::ZERO, &config());
        assert_eq!(controller.state().target, Bitrate::kbps(300));
        assert_eq!(controller.state().pacing, Bitrate::kbps(330));
        assert_eq!(controller.poll_probe(), None);
        controller.handle_interval(Instant::ZERO);
        let probes: Vec<_> = core::iter::from_fn(|| controller.poll_probe()).collect();
        let rates: Vec<_> = probes.iter().map(|probe| probe.rate).collect();
        assert_eq!(rates, [Bitrate::kbps(900), Bitrate::kbps(1_800)]);
        assert_ne!(probes[0].id, probes[1].id);
        assert_eq!(probes[0].min_packets, 5);
        assert_eq!(controller.state().window, None);
        assert_eq!(controller.state().padding, Bitrate::ZERO);
    }

    #[test]
    fn it_wants_to_be_called_forty_times_a_second() {
        assert_eq!(GoogCc::interval(), Duration::from_millis(25));
    }

    #[test]
    fn extreme_numbers_do_not_abort() {
        let mut controller = GoogCc::new(Instant::ZERO, &Config { max: Bitrate::MAX, ..config() });
        controller.handle_interval(Instant::ZERO);
        let feedback = Feedback {
            now: Instant::from_millis(100),
            prior_in_flight: DataSize::ZERO,
            in_flight: DataSize::ZERO,
        };
        controller.handle_feedback(&feedback, core::iter::empty());
        controller.handle_round_trip(Instant::from_millis(100), Duration::from_secs(3_600));
        assert_eq!(controller.state().target, Bitrate::kbps(300));
    }
}
