//! Drain: less than what is delivered until the queue is gone, then what was delivered while it was there.

use core::time::Duration;
use proto::time::Instant;

use super::{Hybrid, Phase, Report};

/// What is left of what is delivered, before the queue's length is looked at.
const KEPT: f64 = 0.95;
/// A queue of so many milliseconds beyond what the scene bears would be answered by silence.
const DRAIN_MS: f64 = 260.0;
/// No answer goes below this share of what is delivered.
const CUT_MAX: f64 = 0.5;
/// What is sent once the queue is gone, of what was delivered while it was there.
const BACK: f64 = 0.95;
/// The queue is gone when this share of what the scene bears is left.
const GONE: f64 = 0.8;
/// A drain takes no longer: what then still stands is not ours to drain.
const TIME_MAX: Duration = Duration::from_millis(1_500);

/// What draining remembers.
#[derive(Debug, Default)]
pub(super) struct Drain {
    cut_at: Instant,
    onset: f64,
    /// What was delivered while the queue stood, at most what was allowed then.
    expected: f64,
}

impl Drain {
    /// What will be allowed again once the queue is gone, as far as is known.
    pub(super) fn expected(&self) -> f64 {
        self.expected
    }
}

impl Hybrid {
    pub(super) fn start_drain(&mut self, now: Instant, report: &Report) {
        self.drain.onset = self.rate;
        self.test = None;
        self.cruise.calm_down(now);
        if let Some(ceiling) = &mut self.ceiling {
            ceiling.call_off();
        }
        self.enter(now, Phase::Drain, "queue too long");
        self.trains.reset();
        self.cut(now, report);
    }

    pub(super) fn drain(&mut self, now: Instant, report: &Report, congested: bool) {
        if congested && now.since(self.drain.cut_at) >= self.round().max(Duration::from_millis(80)) {
            self.cut(now, report);
        }
        let gone = report.has_sample && report.queue_ms < GONE * self.dial.queue_ms;
        if gone || now.since(self.since) > TIME_MAX {
            if !gone && self.rivalry.is_disproven(now) {
                self.rebase(now); // neither ours nor a rival's: the path has become longer
            }
            let capacity = self.capacity.unwrap_or(report.rates.delivered);
            self.rate = self.rate.max(BACK * capacity.min(self.drain.onset));
            self.over = 0;
            self.losses.answer(now);
            self.trains.reset();
            self.enter(now, Phase::Cruise, if gone { "queue gone" } else { "queue does not go" });
        }
    }

    fn cut(&mut self, now: Instant, report: &Report) {
        let recent = self.delivery.over(Duration::from_millis(40)).unwrap_or(report.rates);
        let delivered = recent.delivered.min(report.rates.delivered.max(1.0));
        let excess = report.queue_ms.min(400.0) - self.dial.queue_ms;
        let kept = KEPT - (excess / DRAIN_MS).clamp(0.0, CUT_MAX);
        self.rate = self.rate.min(delivered * kept);
        self.drain.expected = BACK * delivered.max(recent.delivered).min(self.drain.onset);
        self.drain.cut_at = now;
    }
}
