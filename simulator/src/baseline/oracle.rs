//! `oracle`: knows what the path carries, and sends just less: how well a sender could do that need not guess.
//!
//! In: the flow's share over time, at construction. Out: 0.98 of the share of the moment, paced at 1.05 of that, one
//! packet at a time. Time: the share's steps count from the run's beginning. It knows of a step when it happens, not
//! before.

use core::time::Duration;

use cc::{Estimator, PacketResult, RateLimits, SentPacket, Target};
use proto::time::Instant;
use proto::units::Bitrate;

use super::within;

/// An encoder misses its target by some percent for a second; more of the capacity than this makes a queue.
const SHARE: f64 = 0.98;

/// How much faster than the rate packets leave: a frame's packets are spread over almost a frame's time.
const PACING_FACTOR: f64 = 1.05;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Oracle {
    limits: RateLimits,
    rate: Bitrate,
    /// The steps still to come, the latest first.
    steps: Vec<(Instant, Bitrate)>,
}

impl Oracle {
    /// `share` is ascending in time; before its first step, and without steps, the start rate holds.
    pub(super) fn new(limits: RateLimits, share: &[(Duration, Bitrate)]) -> Self {
        let steps = share.iter().rev().map(|(at, rate)| (Instant::ZERO + *at, *rate)).collect();
        let mut oracle = Self { limits, rate: limits.start, steps };
        oracle.advance(Instant::ZERO);
        oracle
    }

    fn advance(&mut self, now: Instant) {
        while let Some((_, share)) = self.steps.pop_if(|(at, _)| *at <= now) {
            self.rate = within(self.limits, share.scaled(SHARE));
        }
    }
}

impl Estimator for Oracle {
    fn handle_sent(&mut self, now: Instant, _packet: &SentPacket) {
        self.advance(now);
    }

    fn handle_feedback(&mut self, now: Instant, _results: &[PacketResult]) {
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.steps.last().map(|(at, _)| *at)
    }

    fn target(&self) -> Target {
        Target {
            rate: self.rate,
            pacing: self.rate.scaled(PACING_FACTOR),
            burst: Duration::ZERO,
            window: None,
            padding: Bitrate::ZERO,
        }
    }

    fn state(&self) -> &'static str {
        "oracle"
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::{Outcome, Path};
    use super::*;

    const LIMITS: RateLimits =
        RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_follows_each_step_when_it_happens_and_not_before() {
        let share =
            [(Duration::ZERO, Bitrate::mbps(4)), (secs(10), Bitrate::mbps(1)), (secs(20), Bitrate::mbps(90))];
        let mut oracle = Oracle::new(LIMITS, &share);
        for (at, rate, wake) in [
            (0, Bitrate::kbps(3_920), Some(10)),
            (9, Bitrate::kbps(3_920), Some(10)),
            (10, Bitrate::kbps(980), Some(20)),
            (25, Bitrate::mbps(10), None),
        ] {
            oracle.handle_timeout(Instant::ZERO + secs(at));
            assert_eq!(oracle.target().rate, rate, "at {at} s");
            assert_eq!(oracle.poll_timeout(), wake.map(|wake| Instant::ZERO + secs(wake)), "at {at} s");
        }
    }

    #[test]
    fn it_loses_nothing_on_a_shallow_buffer_and_leaves_two_percent_unused() {
        let capacity = Bitrate::mbps(4);
        let mut oracle = Oracle::new(LIMITS, &[(Duration::ZERO, capacity)]);
        let path = Path { queue: Duration::from_millis(10), ..Path::new(capacity) };
        let Outcome { lost, utilization, queue_p95, .. } = path.play(&mut oracle, secs(30));
        assert_eq!(lost, 0);
        assert!((0.97..=0.985).contains(&utilization), "{utilization}");
        assert!(queue_p95 < Duration::from_millis(5), "{queue_p95:?}");
    }
}
