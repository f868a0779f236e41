//! `gcc`: Google Congestion Control as webrtc-rs has it (rtc-interceptor 0.21, after pion and draft-ietf-rmcat-gcc-02).
//!
//! In: feedback. Out: the lower of a delay-based and a loss-based rate. It probes nothing, so the rate climbs by 5 % to
//! 8 % at a time, even when the application sends less than it may. By its documentation it differs from pion in three
//! things: limits are applied once, loss alone may lower the rate, and the target has no hidden headroom. We saw two
//! more. Its delay gradient, in milliseconds from one group of packets to the next, meets a threshold of 6 ms and more
//! as it is (pion and libwebrtc first multiply it by the number of groups, up to 60): a queue that grows slowly stays
//! unseen until it overflows. And it counts what arrived by the feedback's time, which with a report each 50 ms reads
//! a tenth too much.
//!
//! **Pacing.** Its own pacer sends at the target's rate and lets a tenth of a second go at once, which is whole frames
//! in one burst. pion, where the algorithm comes from, paces at 1.5 times the target in ticks of 5 ms
//! (`leaky_bucket_pacer.go`); that is kinder to it, and we compare with peers at their best.

use core::time::Duration;

use cc::{Estimator, PacketResult, RateLimits, SentPacket, Target};
use proto::time::Instant;
use proto::units::Bitrate;
use rtc_interceptor::{BandwidthEstimator, Gcc as Peer, PacketReport};
use rtcp::transport_feedbacks::cc_feedback_report::Ecn;

const PACING_FACTOR: f64 = 1.5; // pion's LeakyBucketPacer
const BURST: Duration = Duration::from_millis(5); // its tick

/// See the module's description.
pub(super) struct Gcc {
    peer: Peer,
    /// The standard library's name for [`Instant::ZERO`].
    epoch: std::time::Instant,
    /// Kept for its memory.
    reports: Vec<PacketReport>,
    /// What is allowed since the last report: it is asked for each packet.
    decision: Target,
}

impl Gcc {
    /// `epoch` is the standard library's name for the run's beginning; the rates do not depend on it.
    pub(super) fn new(limits: RateLimits, epoch: std::time::Instant) -> Self {
        let [start, min, max] = [limits.start, limits.min, limits.max].map(|rate| rate.as_bps() as f64);
        let peer = Peer::new(start, min, max);
        let decision = allowed(&peer);
        Self { peer, epoch, reports: Vec::new(), decision }
    }

    /// Tells in its words what is reported.
    fn translate(&mut self, results: &[PacketResult]) {
        let mut reports = core::mem::take(&mut self.reports);
        reports.clear();
        reports.extend(results.iter().map(|result| self.report(result)));
        self.reports = reports;
    }

    fn std_instant(&self, at: Instant) -> std::time::Instant {
        self.epoch + at.since(Instant::ZERO)
    }

    fn report(&self, result: &PacketResult) -> PacketReport {
        let number = result.sent.number;
        PacketReport {
            ssrc: 0,
            id: number,
            rtp_sequence_number: number as u16,
            is_twcc: true,
            twcc_sequence_number: number as u16,
            size: usize::try_from(result.sent.size.as_bytes()).unwrap_or(usize::MAX),
            arrived: result.received.is_some(),
            departure: self.std_instant(result.sent.sent),
            arrival: result.received.map(|at| at.since(Instant::ZERO)),
            ecn: Ecn::NotEct, // it does not look at marks
        }
    }
}

impl Estimator for Gcc {
    fn handle_sent(&mut self, _now: Instant, _packet: &SentPacket) {}

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        self.translate(results);
        self.peer.on_reports(self.std_instant(now), &self.reports);
        self.decision = allowed(&self.peer);
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None // all it does is an answer to feedback
    }

    fn target(&self) -> Target {
        self.decision
    }

    /// Which half the rate comes from.
    fn state(&self) -> &'static str {
        if self.peer.loss_based_bitrate() < self.peer.delay_based_bitrate() { "loss" } else { "delay" }
    }
}

fn allowed(peer: &Peer) -> Target {
    let rate = Bitrate::bps(peer.target_bitrate().round() as u64);
    Target { rate, pacing: rate.scaled(PACING_FACTOR), burst: BURST, window: None, padding: Bitrate::ZERO }
}

/// What surrounds it here and is no part of it: reports are translated, and it is not told of them.
pub(super) struct Untold(pub(super) Gcc);

impl Estimator for Untold {
    fn handle_sent(&mut self, _now: Instant, _packet: &SentPacket) {}

    fn handle_feedback(&mut self, _now: Instant, results: &[PacketResult]) {
        self.0.translate(results);
        core::hint::black_box(&self.0.reports);
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn target(&self) -> Target {
        self.0.decision
    }

    fn state(&self) -> &'static str {
        "untold"
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::Path;
    use super::super::tests::epoch;
    use super::*;

    const LIMITS: RateLimits =
        RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };

    fn gcc() -> Gcc {
        Gcc::new(LIMITS, epoch())
    }

    #[test]
    fn it_begins_at_the_start_rate_and_climbs_without_probes() {
        let mut gcc = gcc();
        assert_eq!(gcc.target().rate, LIMITS.start);
        let outcome = Path::new(Bitrate::mbps(4)).play(&mut gcc, Duration::from_secs(5));
        assert_eq!(outcome.probes, 0);
        let after = gcc.target().rate;
        assert!(after > Bitrate::kbps(350) && after < Bitrate::mbps(2), "{after}: 1.05 or 1.08 at a time");
    }

    #[test]
    fn it_reaches_the_capacity_with_a_full_queue_and_backs_off_when_that_overflows() {
        let mut gcc = gcc();
        let capacity = vec![(Duration::ZERO, Bitrate::mbps(2)), (Duration::from_secs(60), Bitrate::mbps(1))];
        let path = Path { capacity, ..Path::new(Bitrate::ZERO) };
        let outcome = path.play(&mut gcc, Duration::from_secs(75));
        let high = outcome.rate_between(40, 60);
        assert!(high > 1.0e6 && high < 2.4e6, "{high}");
        let low = outcome.rate_between(65, 75);
        assert!(low > 0.4e6 && low < 1.2e6, "{low}");
        assert!(outcome.queue_p95 > Duration::from_millis(200), "{:?}", outcome.queue_p95);
        assert!(outcome.lost > 0);
    }

    #[test]
    fn the_same_feedback_gives_the_same_rates_from_any_epoch() {
        let play = |epoch: std::time::Instant| {
            Path::jittery(Bitrate::mbps(2)).play(&mut Gcc::new(LIMITS, epoch), Duration::from_secs(20)).rates
        };
        let epoch = epoch();
        assert_eq!(play(epoch), play(epoch + Duration::from_secs(1_000)));
    }
}
