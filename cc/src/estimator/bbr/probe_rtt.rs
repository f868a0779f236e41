//! The round-trip time without queues, and `ProbeRTT`, which empties the queue to see it (draft §5.3.4, §5.5.7).
//!
//! In: round trips of the newest packet of each report. Out: the least of late; the phase when it has not been seen
//! for a while.

use core::time::Duration;

use proto::time::Instant;

use super::{Bbr, MIN_WINDOW, Phase};

/// How long the least round trip counts (`BBR.MinRTTFilterLen`).
const FILTER: Duration = Duration::from_secs(10);
/// How long it may go unseen before the queue is emptied (`BBR.ProbeRTTInterval`).
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the queue is kept empty (`BBR.ProbeRTTDuration`).
const DURATION: Duration = Duration::from_millis(200);
/// What stays in flight meanwhile, as a share of rate times delay (`BBR.ProbeRTTCwndGain`).
pub(super) const WINDOW_GAIN: f64 = 0.5;

/// The least round trip, and when to look for it.
#[derive(Debug, Default)]
pub(super) struct MinRtt {
    /// The least of the last [`FILTER`] (`BBR.min_rtt`).
    pub(super) value: Option<Duration>,
    seen: Instant,
    /// The least of the last [`INTERVAL`] (`BBR.probe_rtt_min_delay`).
    recent: Option<Duration>,
    recent_seen: Instant,
    expired: bool,
    done_at: Option<Instant>,
    round_done: bool,
}

impl MinRtt {
    /// The connection begins.
    pub(super) const fn start(&mut self, now: Instant) {
        self.seen = now;
        self.recent_seen = now;
    }

    /// `UpdateMinRTT`.
    pub(super) fn update(&mut self, now: Instant, rtt: Duration) {
        self.expired = now > self.recent_seen + INTERVAL;
        if self.expired || self.recent.is_none_or(|recent| rtt < recent) {
            self.recent = Some(rtt);
            self.recent_seen = now;
        }
        let stale = now > self.seen + FILTER;
        if stale || self.value.is_none_or(|value| self.recent.is_some_and(|recent| recent < value)) {
            self.value = self.recent;
            self.seen = self.recent_seen;
        }
    }
}

impl Bbr {
    /// `CheckProbeRTT`.
    pub(super) fn check_probe_rtt(&mut self) {
        if self.phase != Phase::ProbeRtt && self.min_rtt.expired && !self.idle_restart {
            self.save_window();
            self.phase = Phase::ProbeRtt;
            self.min_rtt.done_at = None;
            self.cycle.stop();
            self.rounds.begin(self.sampler.delivered());
        }
        if self.phase == Phase::ProbeRtt {
            self.handle_probe_rtt();
        }
        self.idle_restart = false;
    }

    fn handle_probe_rtt(&mut self) {
        self.sampler.mark_app_limited(); // the low rates of this phase are our own doing
        if self.min_rtt.done_at.is_some() {
            self.min_rtt.round_done |= self.rounds.started;
            if self.min_rtt.round_done {
                self.check_probe_rtt_done(self.now);
            }
        } else if self.sampler.in_flight() <= self.bdp(self.bandwidth, WINDOW_GAIN).max(MIN_WINDOW) {
            self.min_rtt.done_at = Some(self.now + DURATION);
            self.min_rtt.round_done = false;
            self.rounds.begin(self.sampler.delivered());
        }
    }

    /// `CheckProbeRTTDone` and `ExitProbeRTT`.
    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.min_rtt.done_at.is_none_or(|done| now <= done) {
            return;
        }
        self.min_rtt.recent_seen = now;
        self.restore_window();
        self.signals.reset_shortterm();
        if self.full_pipe.reached {
            self.start_down(now);
            self.start_cruise();
        } else {
            self.phase = Phase::Startup;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_round_trip_counts_ten_seconds_and_is_missed_after_five() {
        let mut min = MinRtt::default();
        min.start(Instant::ZERO);
        for (seconds, rtt, value, expired) in [
            (1, 50, 50, false),
            (2, 60, 50, false),
            (6, 60, 50, false),
            (7, 70, 50, true),
            (8, 60, 50, false),
            (12, 80, 60, false),
            (13, 40, 40, false),
        ] {
            min.update(Instant::from_millis(seconds * 1_000), Duration::from_millis(rtt));
            let seen = (min.value.map(|value| value.as_millis()), min.expired);
            assert_eq!(seen, (Some(value), expired), "{seconds} s");
        }
    }
}
