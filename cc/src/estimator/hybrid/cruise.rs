//! Cruise: the law that the rate follows, and what is proven free is taken.

use core::time::Duration;

use proto::time::Instant;

use super::ceiling::Ceiling;
use super::{Hybrid, Report};

/// What the rate grows by, in bits a second each second, for a flow of weight 1.
const ADD: f64 = 150_000.0;
/// Small rates grow by this share: or the law would rest at a queue that is drained.
const ADD_SHARE: f64 = 0.25;
/// How fast it falls, each second, while the queue is as long as the scene bears.
const FALL: f64 = 0.47;
/// Who chooses from steps and uses less than this share of the rate has no queue, and learns of no more, by itself.
const USED: f64 = 0.85;
/// Both for round trips up to so many seconds; longer ones do all more slowly by as much, which leaves the law's rest
/// where it is.
const ROUND: f64 = 0.12;
/// While nothing stands in the queue, growth accelerates by so much each second, up to a limit.
const ACCELERATION: f64 = 6.0;
/// and much more where the queue was never so empty,
const RELIEVED: f64 = 30.0;
/// below this share of what the path has carried within the last minutes:
const RELIEF_BELOW: f64 = 0.85;
/// Growth is at most so much of the rate each second.
const GROWTH_MAX: f64 = 1.0;
/// The queue that the law leaves alone: this share of what the scene bears, and so many times the jitter.
const QUIET: f64 = 0.1;
const QUIET_JITTERS: f64 = 0.3;
/// and more for each millisecond of it: an empty queue and a short one look the same there.
const QUIET_JITTER_MS: f64 = 0.08;
/// and so many times what jitter is beyond a packet's own time: on a slow path the two are alike.
const QUIET_BEYOND_OWN: f64 = 2.8;
/// One longer by this share of what the scene bears ends acceleration for so long.
const LOUD: f64 = 0.25;
const QUIET_TIME: Duration = Duration::from_millis(700);
/// What trains prove is taken by so much each second, in logarithms: 1.15 each 100 ms.
const PROVEN_GROWTH: f64 = 1.4;
/// Jitter between neighbors that spoils the trains' slope: a path that keeps packets in order makes a burst out of it.
const CALM_MS: f64 = 1.0;
/// How much of what is proven.
const PROVEN_SHARE: f64 = 0.96;
/// Below this share of the known capacity it is taken back at once, so much of it each second.
const REFILL_BELOW: f64 = 0.97;
const REFILL: f64 = 1.0;
/// The most that the rate may be of what is delivered.
const AHEAD: f64 = 1.5;

/// On a path with jitter the queue is emptied so often, unless that happens anyway, to tell one from the other:
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// for so long and a round trip,
const CHECK_TIME: Duration = Duration::from_millis(200);
/// by sending so much of the rate.
pub(super) const CHECK: f64 = 0.85;

/// No more is ever taken for a packet's own time, in milliseconds: that of 1200 bytes at 480 kbit/s.
const SERIALIZATION_MAX_MS: f64 = 20.0;

/// A queue that has stood for so long,
const DOUBT_AFTER: Duration = Duration::from_millis(1_500);
/// though the rate fell below this share of what it was, and so much less was sent,
const DOUBT_BELOW: f64 = 0.7;
const DOUBT_SENT: f64 = 0.8;
/// and that kept this share of its length, while this share of what was sent arrived, is no queue;
const DOUBT_KEPT: f64 = 0.8;
const DOUBT_DELIVERED: f64 = 0.95;
/// and the rate goes back to this share of what it was.
const BACK: f64 = 0.95;

/// What cruising remembers.
#[derive(Debug, Default)]
pub(super) struct Cruise {
    boost: f64,
    noisy_until: Instant,
    /// Until when less is sent, to see the delay of an empty queue.
    check_until: Option<Instant>,
    check_from: Instant,
    /// Since when the queue has stood, and what the rate and the queue were then.
    standing: Option<(Instant, f64, f64)>,
}

impl Cruise {
    /// Whether less is sent, to see the delay of an empty queue.
    pub(super) fn is_checking(&self) -> bool {
        self.check_until.is_some()
    }

    /// Whether what arrives now was sent while less was sent.
    pub(super) fn is_checked(&self, now: Instant) -> bool {
        self.check_until.is_some() && now >= self.check_from
    }

    /// Growth starts anew, slowly.
    pub(super) fn calm_down(&mut self, now: Instant) {
        self.boost = 1.0;
        self.noisy_until = now + QUIET_TIME;
    }
}

impl Hybrid {
    pub(super) fn cruise(&mut self, now: Instant, report: &Report) {
        self.check_floor(now);
        if self.cruise.is_checking() {
            return;
        }
        let borne = self.dial.queue_ms;
        let excess = self.excess_ms();
        let relieved = self.is_relieved();
        if excess > LOUD * borne {
            self.cruise.noisy_until = now + QUIET_TIME;
            self.cruise.boost = 1.0;
        } else if now >= self.cruise.noisy_until || relieved {
            let faster = if relieved { RELIEVED } else { ACCELERATION };
            let most = (GROWTH_MAX * self.rate / self.add()).max(1.0);
            let boost = self.cruise.boost.max(1.0);
            self.cruise.boost =
                if boost < most { (boost * faster.powf(report.step)).min(most) } else { most };
        }
        self.doubt_base(now, report, excess);
        let pace = (ROUND / self.round().as_secs_f64()).min(1.0);
        let is_used = report.rates.sent > USED * self.rate;
        if is_used || !self.steps.is_limited() {
            let length = (excess / (borne + self.delay.jitter_ms())).min(4.0);
            self.rate -= FALL * pace * self.rate * length * report.step;
        }
        let has_enough = self.steps.is_limited() && (!is_used || self.rate >= self.steps.need());
        if has_enough || (report.rates.app_limited && !self.steps.is_limited()) {
            self.take_proven(report);
            return;
        }
        if self.rate > AHEAD * report.rates.delivered.max(self.settings.limits.start.as_bps() as f64) {
            return; // the source does not follow
        }
        self.rate += self.add() * pace * self.settings.weight * self.cruise.boost.max(1.0) * report.step;
        let quiet = excess <= 0.0;
        if let Some(capacity) = self.capacity.filter(|capacity| quiet && self.rate < REFILL_BELOW * capacity)
        {
            self.rate = (self.rate + REFILL * pace * capacity * report.step).min(REFILL_BELOW * capacity);
        }
        self.take_proven(report);
        if let Some(ceiling) = &self.ceiling {
            self.rate = self.rate.min(ceiling.rate());
        }
    }

    /// A queue of our own shrinks when less is sent. One that does not, though much less was sent for a while, is none: the
    /// path has become longer.
    fn doubt_base(&mut self, now: Instant, report: &Report, excess: f64) {
        if excess <= 0.0 {
            self.cruise.standing = None;
            return;
        }
        let level_ms = self.delay.standing_ms();
        let (since, rate, before_ms) = *self.cruise.standing.get_or_insert((now, self.rate, level_ms));
        let grows = report.rates.delivered < DOUBT_DELIVERED * report.rates.sent;
        if grows || level_ms < DOUBT_KEPT * before_ms {
            self.cruise.standing = Some((now, self.rate, level_ms)); // it answers to what is sent
            return;
        }
        let least = self.settings.limits.min.as_bps() as f64;
        let is_less =
            self.rate <= least || self.rate < DOUBT_BELOW * rate && report.rates.sent < DOUBT_SENT * rate;
        if now.since(since) >= DOUBT_AFTER + self.round() * 4 && is_less {
            self.cruise.standing = None;
            self.rebase(now);
            self.rate = self.rate.max(BACK * rate);
        }
    }

    /// What the rate grows by each second, for a flow of weight 1.
    fn add(&self) -> f64 {
        ADD.min(ADD_SHARE * self.rate)
    }

    /// Whether the queue is emptier than it ever was, on a path that has carried much more.
    fn is_relieved(&self) -> bool {
        self.rate < RELIEF_BELOW * self.most && self.delay.is_relieved()
    }

    /// Now and then a path with jitter must be seen without a queue, or the two cannot be told apart.
    fn check_floor(&mut self, now: Instant) {
        if self.cruise.check_until.is_some_and(|until| now >= until) {
            self.cruise.check_until = None;
        }
        let emptied = self.delay.emptied_at().unwrap_or(self.since);
        let every = if self.delay.is_floor_known() { CHECK_EVERY } else { CHECK_EVERY / 5 };
        let is_due = now.since(emptied) >= every && self.delay.jitter_ms() > CALM_MS;
        if is_due && self.cruise.check_until.is_none() {
            self.cruise.check_from = now + self.round() + self.round() / 2;
            self.cruise.check_until = Some(self.cruise.check_from + CHECK_TIME);
        }
    }

    /// The queue beyond what the law leaves alone, in milliseconds.
    pub(super) fn excess_ms(&self) -> f64 {
        let jitter = self.delay.jitter_ms();
        let beyond_own = (jitter - self.packet_ms(self.rate)).max(0.0);
        let quiet = QUIET * self.dial.queue_ms
            + (QUIET_JITTERS + QUIET_JITTER_MS * jitter) * jitter
            + QUIET_BEYOND_OWN * beyond_own;
        // Below a known ceiling a queue cannot become long, and what looks like one is jitter.
        let spared =
            if self.ceiling.as_ref().is_some_and(Ceiling::is_known) { self.dial.queue_ms } else { 0.0 };
        (self.delay.standing_ms() - quiet - spared - self.serialization_ms()).max(0.0)
    }

    /// How much longer a packet takes to enter the path than it did when the base was measured, in milliseconds: a path
    /// that has become slower delays even the first in its queue.
    fn serialization_ms(&self) -> f64 {
        let fastest = self.most.max(self.rate);
        let own = (self.packet_ms(self.rate) - self.packet_ms(fastest)).min(SERIALIZATION_MAX_MS);
        (own - self.delay.floor_ms()).max(0.0) // an empty queue's floor has it already
    }

    /// What a packet of the usual size takes at a rate, in milliseconds.
    fn packet_ms(&self, rate: f64) -> f64 {
        8e3 * self.delivery.mean_bytes() / rate.max(1.0)
    }

    /// Takes what trains prove beyond the rate.
    fn take_proven(&mut self, report: &Report) {
        let Some(proof) =
            self.trains.proof().filter(|_| self.ceiling.is_none() && self.delay.jitter_ms() < CALM_MS)
        else {
            return;
        };
        let proven = PROVEN_SHARE * proof.least;
        if proven > self.rate && self.excess_ms() <= 0.0 {
            self.rate = (self.rate * (PROVEN_GROWTH * report.step).exp()).min(proven);
        }
    }
}
