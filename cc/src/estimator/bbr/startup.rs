//! Startup and Drain (draft §5.3.1 and §5.3.2): find the rate of the path by doubling, then drain what that queued.
//!
//! In: rate samples and rounds. Out: whether the pipe is full, by either of two signs: the rate has stopped growing,
//! or losses are many.

use proto::units::Bitrate;

use super::loss::{RoundEnd, is_too_high};
use super::{Bbr, Phase};

/// A round that grows by less does not count as growth.
const GROWTH: f64 = 1.25;
/// So many rounds without growth mean a full pipe.
const FLAT_ROUNDS: u32 = 3;
/// So many separate losses in a round end Startup (`BBRStartupFullLossCnt`).
const LOSS_RANGES: u32 = 6;
/// Drain lasts no longer, even if the queue stays.
const DRAIN_ROUNDS: u64 = 3;

/// The estimator of a full pipe ("Exiting Acceleration Based on Bandwidth Plateau").
#[derive(Debug, Default)]
pub(super) struct FullPipe {
    baseline: Bitrate,
    flat_rounds: u32,
    /// Whether the rate has stopped growing since [`reset`](Self::reset).
    pub(super) now: bool,
    /// Whether it ever has.
    pub(super) reached: bool,
}

impl FullPipe {
    /// Looks anew, for growth beyond `baseline`.
    pub(super) const fn reset(&mut self, baseline: Bitrate) {
        self.baseline = baseline;
        self.flat_rounds = 0;
        self.now = false;
    }

    /// A round began whose sample does not merely tell what the application had to send.
    fn handle_round(&mut self, rate: Bitrate) {
        if rate >= self.baseline.scaled(GROWTH) {
            self.reset(rate);
            return;
        }
        self.flat_rounds += 1;
        self.now = self.flat_rounds >= FLAT_ROUNDS;
        self.reached |= self.now;
    }
}

impl Bbr {
    /// `CheckFullBWReached`; a sample that is not fit to tell a rate tells nothing of growth either.
    pub(super) fn check_full_pipe(&mut self) {
        let rate = self.sample.delivery_rate;
        let telling = self.rounds.started && !self.sample.app_limited && rate > Bitrate::ZERO;
        if telling && !self.full_pipe.now {
            self.full_pipe.handle_round(rate);
        }
    }

    /// `CheckStartupDone` and `CheckDrainDone`.
    pub(super) fn check_startup_and_drain(&mut self) {
        if self.phase == Phase::Startup {
            self.check_startup_loss();
            if self.full_pipe.reached {
                self.phase = Phase::Drain;
                self.drain_started = self.rounds.count;
            }
        }
        if self.phase == Phase::Drain {
            let drained = self.sampler.in_flight() <= self.inflight(self.bandwidth, 1.0);
            if drained || self.rounds.count > self.drain_started + DRAIN_ROUNDS {
                self.start_down(self.now);
            }
        }
    }

    /// `CheckStartupHighLoss`: a whole round with losses has ended, with enough of them and far enough apart. That
    /// it lasted a round since the first loss is in how rounds of losses are counted.
    fn check_startup_loss(&mut self) {
        let signals = &self.signals;
        let many = signals.round_end == RoundEnd::Lossy && signals.ranges >= LOSS_RANGES;
        if !many || !is_too_high(self.sample.lost, self.sample.tx_in_flight) {
            return;
        }
        let safe = self.bdp(self.bandwidth, 1.0).max(signals.latest_inflight);
        self.signals.set_undo_phase(Phase::Startup);
        self.full_pipe.now = true;
        self.full_pipe.reached = true;
        self.longterm_inflight = Some(safe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_rounds_without_a_quarter_more_are_a_full_pipe() {
        for (name, rates, full) in [
            ("growing", &[100, 200, 400, 800][..], false),
            ("flat", &[100, 110, 120, 124], true),
            ("two flat rounds", &[100, 110, 120], false),
            ("growth at the last moment", &[100, 110, 120, 125], false),
            ("slow growth adds up", &[100, 115, 130, 131, 132, 133], true),
        ] {
            let mut pipe = FullPipe::default();
            for &rate in rates {
                pipe.handle_round(Bitrate::kbps(rate));
            }
            assert_eq!((pipe.now, pipe.reached), (full, full), "{name}");
            pipe.reset(Bitrate::ZERO);
            assert_eq!((pipe.now, pipe.reached), (false, full), "{name}");
        }
    }
}
