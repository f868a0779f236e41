//! Steps: a sender that chooses from tiers needs to know whether the path carries the next one, and nothing more.
//!
//! Such a sender hardly ever fills its rate, so the path is asked by a climb: padding (and what is useful before it)
//! fills the rate while the rate goes up to what the next step takes, as in start-up, with the same eye on the queue and
//! on losses. It ends when the path delivers as much, or at the first sign that it does not. Who has the best step, or
//! was told no lately, is left alone, and nothing is padded.

use core::time::Duration;

use proto::time::Instant;
use proto::units::Bitrate;

use super::{Demand, Hybrid, Phase, Report};

/// A climb doubles the rate in so many seconds, or in two round trips.
const DOUBLING: f64 = 0.25;
/// The rate is at most so many times what is delivered, less than in start-up: somebody watches.
const AHEAD: f64 = 1.7;
/// The path has proven the step when it delivers this share of what it takes.
const PROVEN: f64 = 0.95;
/// Two reports that deliver less than that of what is sent mean a queue that grows.
const LAG: f64 = 0.92;
/// A queue so many times too long is one, whatever arrives.
const LONG: f64 = 1.5;
/// What is kept of what a climb delivered that went too far.
const KEPT: f64 = 0.95;
/// A climb takes no longer: a sender without anything to pad with does not get there.
const TIME_MAX: Duration = Duration::from_secs(2);
/// No climb starts sooner after something else.
const CALM: Duration = Duration::from_millis(400);
/// After a climb that failed the next one waits, at first and at most.
const WAIT_MIN: Duration = Duration::from_secs(3);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Where what goes too far is lost and not only late, at most:
const WAIT_MAX_LOSSY: Duration = Duration::from_secs(30);
/// The target leaves something of the rate, and a little more while a short queue stands.
const ROOM: f64 = 1.02;
/// and somewhat more is granted, since what the step takes varies from moment to moment.
const GRANTED: f64 = 1.02;
/// Start-up looks so far beyond what is wanted next.
const START_ROOM: f64 = 1.2;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Steps {
    demand: Demand,
    /// When to climb next, and how long to wait should it fail.
    at: Instant,
    wait: Duration,
    /// What the rate was before the climb.
    before: f64,
    lagging: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self { demand: Demand::Elastic, at: Instant::ZERO, wait: WAIT_MIN, before: 0.0, lagging: 0 }
    }
}

impl Steps {
    pub(super) fn demand(&self) -> Demand {
        self.demand
    }

    pub(super) fn set_demand(&mut self, demand: Demand) {
        self.demand = demand;
    }

    /// Whether the sender chooses from steps.
    pub(super) fn is_limited(&self) -> bool {
        matches!(self.demand, Demand::Steps { .. })
    }

    /// The rate beyond which nothing more is of use; infinite for a sender that follows wherever it goes.
    pub(super) fn need(&self) -> f64 {
        match self.demand {
            Demand::Elastic => f64::INFINITY,
            Demand::Steps { current, next } => (next.map_or(0.0, room)).max(current.as_bps() as f64),
        }
    }

    /// How far start-up need go.
    pub(super) fn startup_max(&self) -> f64 {
        self.need() * START_ROOM
    }

    /// What the path is known to carry while a climb asks for more.
    pub(super) fn proven(&self) -> f64 {
        self.before
    }

    /// Whether so much delivered proves whatever is wanted.
    pub(super) fn is_proven_by(&self, arrived: f64) -> bool {
        arrived >= PROVEN * self.wanted().unwrap_or(0.0)
    }

    /// What the next step takes, if one is wanted.
    fn wanted(&self) -> Option<f64> {
        match self.demand {
            Demand::Elastic | Demand::Steps { next: None, .. } => None,
            Demand::Steps { next: Some(next), .. } => Some(room(next)),
        }
    }
}

/// The rate at which the target allows a step.
fn room(step: Bitrate) -> f64 {
    step.as_bps() as f64 * ROOM
}

impl Hybrid {
    /// Starts a climb when a better step is wanted, not yet proven, and the path is calm.
    pub(super) fn watch_steps(&mut self, now: Instant, report: &Report) {
        let Some(wanted) = self.steps.wanted() else { return };
        let is_calm = self.phase == Phase::Cruise
            && now.since(self.since) >= CALM
            && report.queue_ms <= self.queue_max_ms()
            && !self.is_losing();
        if wanted <= self.rate || now < self.steps.at || !is_calm {
            return;
        }
        self.steps.before = self.rate;
        self.steps.lagging = 0;
        self.enter(now, Phase::Climb, "a better step is wanted");
    }

    pub(super) fn climb(&mut self, now: Instant, report: &Report, congested: bool) {
        let Some(wanted) = self.steps.wanted() else {
            self.rate = self.rate.min(report.rates.delivered.max(self.steps.before));
            return self.enter(now, Phase::Cruise, "nothing better is wanted");
        };
        let Report { rates, queue_ms, .. } = *report;
        let lags = rates.delivered < LAG * rates.sent * (1.0 - self.losses.inherent());
        self.steps.lagging = if lags { self.steps.lagging + 1 } else { 0 };
        let grows = self.steps.lagging >= 2 && queue_ms > self.dial.queue_ms + self.delay.jitter_ms();
        // Jitter alone makes a queue look longer when packets come closer together; then all that is sent arrives.
        let is_full = congested && (lags || queue_ms > LONG * self.queue_max_ms());
        if is_full || grows || self.is_losing() {
            self.give_up(now, if is_full || grows { WAIT_MAX } else { WAIT_MAX_LOSSY });
            self.rate = self.rate.min((KEPT * rates.delivered).max(self.steps.before));
            if is_full || grows {
                return self.start_drain(now, report);
            }
            return self.enter(now, Phase::Cruise, "the path loses what the next step takes");
        }
        let arrived = rates.delivered / (1.0 - self.losses.inherent()).max(0.5);
        if self.rate >= wanted && self.steps.is_proven_by(arrived) {
            self.steps.wait = WAIT_MIN;
            self.rate = wanted * GRANTED;
            if self.ceiling.as_ref().is_some_and(|ceiling| ceiling.rate() < wanted) {
                self.ceiling = None;
            }
            return self.enter(now, Phase::Cruise, "carries the next step");
        }
        if self.climb_ends_at().is_some_and(|at| at <= now) {
            self.rate = self.rate.min(arrived.max(self.steps.before));
            return self.end_climb(now);
        }
        let doubling = DOUBLING.max(2.0 * self.round().as_secs_f64());
        let ahead = (AHEAD * arrived).max(self.steps.before);
        self.rate =
            (self.rate * (report.step / doubling).exp2()).min(ahead).min(wanted).max(self.steps.before);
    }

    /// How much padding may fill up.
    pub(super) fn climb_padding(&self) -> Bitrate {
        super::bps(self.rate)
    }

    /// When a climb has taken too long; `None` while there is none.
    pub(super) fn climb_ends_at(&self) -> Option<Instant> {
        (self.phase == Phase::Climb).then(|| self.since + TIME_MAX + self.round() * 4)
    }

    /// The climb has taken too long.
    pub(super) fn end_climb(&mut self, now: Instant) {
        self.give_up(now, WAIT_MAX);
        self.enter(now, Phase::Cruise, "the next step was not reached");
    }

    fn give_up(&mut self, now: Instant, wait_max: Duration) {
        self.steps.at = now + self.steps.wait;
        self.steps.wait = (self.steps.wait * 2).min(wait_max);
    }
}
