//! The test of what a loss means: send less for a while, and see whether losses cease.

use core::time::Duration;

use proto::time::Instant;

use super::ceiling::Ceiling;
use super::losses::{Counter, Tally, Verdict};
use super::startup::Startup;
use super::{Hybrid, Phase, Report};
use crate::packet::PacketResult;

/// How far beyond the path's own losses starts a test.
const EXCESS: f64 = 0.012;
/// And so many deviations of what was learnt of them.
const SURE: f64 = 4.0;
/// The same over a long time, for slow losses.
const SLOW_EXCESS: f64 = 0.003;
const SLOW_EPISODES: f64 = 6.0;
const EPISODES_MIN: f64 = 3.0;
/// What the test sends, of what is delivered.
const DIP: f64 = 0.85;
/// How long it takes, at least and at most.
const TIME_MIN: Duration = Duration::from_millis(300);
const TIME_MAX: Duration = Duration::from_millis(1_500);
/// So few packets tell nothing.
const PACKETS_MIN: f64 = 20.0;
/// No test comes sooner after another.
const PAUSE: Duration = Duration::from_secs(1);
/// A likelihood ratio of e to this decides at once.
const DECIDED: f64 = 2.2;
/// ... for the path if so many episodes say so,
const EPISODES_DECIDED: f64 = 2.0;
/// ... and that beyond doubt for overflow.
const CONFIRMED: f64 = 6.0;
/// So many packets that a full buffer accepted tell roughly how much it lets through.
const ACCEPTED_MIN: f64 = 10.0;
/// What is gone back to after a while is at most so many times what was delivered.
const AHEAD: f64 = 1.3;
/// Who sends less than this share of what the path has carried overflows no buffer,
const SPARE: f64 = 0.7;
/// if the queue is as good as empty and no more than that is lost.
const SPARE_LOSS_MAX: f64 = 0.2;
/// Below that it speaks for overflow when time is up.
const LEANING: f64 = -0.7;
/// What a path loses beside, if it is the buffer's fault.
const STRAY: f64 = 0.002;

/// A test that runs.
#[derive(Debug)]
pub(super) struct LossTest {
    /// What to go back to.
    before: f64,
    was_starting: bool,
    /// The queue when it began.
    queue_ms: f64,
    /// What was delivered before.
    delivered: f64,
    /// The losses that are asked about.
    seen: Tally,
    rate: f64,
    from: Instant,
    counter: Counter,
    tally: Tally,
}

impl LossTest {
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn was_starting(&self) -> bool {
        self.was_starting
    }

    /// How much likelier the path's own losses are than a buffer's, as a logarithm: one share before and during the test,
    /// against the share seen before and next to none now.
    fn evidence(&self, inherent: f64) -> f64 {
        let burst = self.seen.burst().max(self.tally.burst());
        let (lost0, packets0) = (self.seen.episodes, (self.seen.packets / burst).max(self.seen.episodes));
        let (lost, packets) = (self.tally.episodes, (self.tally.packets / burst).max(self.tally.episodes));
        let then = (lost0 / packets0.max(1.0)).clamp(0.005, 0.9);
        let own = ((lost0 + lost) / (packets0 + packets).max(1.0)).clamp(0.003, 0.9);
        let buffer = (inherent + STRAY).min(then * 0.5);
        let likelihood =
            |lost: f64, packets: f64, share: f64| lost * share.ln() + (packets - lost) * (1.0 - share).ln();
        likelihood(lost0, packets0, own) - likelihood(lost0, packets0, then) + likelihood(lost, packets, own)
            - likelihood(lost, packets, buffer)
    }

    /// Only packets sent from now on count, beside those counted.
    pub(super) fn restart(&mut self, now: Instant) {
        self.from = now;
    }

    /// What was counted until now is answered.
    fn begin_anew(&mut self, now: Instant) {
        self.tally = Tally::default();
        self.from = now;
    }

    fn handle_results(&mut self, results: &[PacketResult]) {
        for result in results.iter().filter(|result| result.sent.sent >= self.from) {
            self.counter.count(&mut self.tally, result);
        }
    }

    /// Whether the losses are the path's own, if there is no doubt.
    fn verdict(&self, inherent: f64) -> Option<bool> {
        let evidence = self.evidence(inherent);
        if evidence <= -DECIDED {
            return Some(false);
        }
        (evidence >= DECIDED && self.tally.episodes >= EPISODES_DECIDED).then_some(true)
    }
}

impl Hybrid {
    /// The losses that ask for a test.
    fn suspicious(&self) -> Option<Tally> {
        let is_clear = |tally: &Tally, excess: f64, episodes: f64| {
            tally.episodes >= episodes
                && tally.share() > self.losses.inherent() + excess
                && self.losses.is_excess(tally, SURE)
        };
        let soon = Some(self.losses.soon()).filter(|tally| is_clear(tally, EXCESS, EPISODES_MIN));
        soon.or_else(|| Some(self.losses.long()).filter(|tally| is_clear(tally, SLOW_EXCESS, SLOW_EPISODES)))
    }

    /// Whether more is lost than the path does by itself.
    pub(super) fn is_losing(&self) -> bool {
        self.suspicious().is_some()
    }

    pub(super) fn watch_losses(&mut self, now: Instant, report: &Report) {
        if now < self.test_after {
            return;
        }
        let Some(seen) = self.suspicious() else {
            if !self.ceiling.as_ref().is_some_and(Ceiling::is_trying) {
                self.losses.watch();
            }
            return;
        };
        if self.lower_ceiling(now, &seen) {
            return;
        }
        let delivered = report.rates.delivered;
        if delivered <= 0.0 {
            return;
        }
        if self.has_room_to_spare(report) && seen.share() <= SPARE_LOSS_MAX {
            self.losses.learn(&seen);
            self.losses.note_verdict(now, Verdict::Own, report.queue_ms);
            self.test_after = now + PAUSE;
            return;
        }
        let accepted =
            self.losses.accepted().rate(ACCEPTED_MIN).unwrap_or(delivered).max(DIP * DIP * delivered);
        let rate = DIP * delivered.min(accepted).min(self.rate);
        self.test = Some(LossTest {
            before: self.rate,
            was_starting: self.phase == Phase::Startup,
            queue_ms: report.queue_ms,
            delivered,
            seen,
            rate,
            from: now + Duration::from_millis(30),
            counter: Counter::default(),
            tally: Tally::default(),
        });
        self.enter(now, Phase::LossTest, "losses beyond the path's own");
    }

    /// Whether a sender that chooses from steps sends so much less than the path has carried that no buffer is full.
    fn has_room_to_spare(&self, report: &Report) -> bool {
        let is_empty = report.queue_ms <= 0.5 * self.dial.queue_ms + self.delay.jitter_ms();
        self.steps.is_limited()
            && self.phase == Phase::Cruise
            && self.ceiling.is_none()
            && is_empty
            && report.rates.sent < SPARE * self.rate
    }

    pub(super) fn test_losses(&mut self, now: Instant, results: &[PacketResult]) {
        let Some(test) = &mut self.test else {
            return self.enter(now, Phase::Cruise, "no test");
        };
        test.handle_results(results);
        let least = TIME_MIN.max(self.round_trip.map_or(TIME_MIN, Duration::from_secs_f64) * 2);
        let Some(test) = &self.test else { return };
        let time = now.since(self.since);
        let inherent = self.losses.inherent();
        let verdict = test.verdict(inherent).filter(|_| time >= least);
        if verdict.is_none() && time < TIME_MAX.max(least) {
            return;
        }
        if verdict.is_none() && test.tally.packets < PACKETS_MIN {
            self.rate = self.rate.max(test.before);
            self.test = None;
            self.test_after = now + PAUSE;
            return self.enter(now, Phase::Cruise, "too little was sent to tell");
        }
        let leaning = if inherent > 0.0 { 2.0 * LEANING } else { LEANING };
        let overflow = verdict.map_or(test.evidence(inherent) < leaning, |own| !own);
        self.conclude(now, overflow);
    }

    fn conclude(&mut self, now: Instant, overflow: bool) {
        let Some(test) = self.test.take() else { return };
        self.test_after = now + PAUSE;
        if overflow {
            let queue_ms = test.queue_ms;
            let accepted = self.losses.take_accepted();
            let delivered =
                test.delivered.max(0.97 * self.capacity.unwrap_or(0.0).min(1.05 * test.delivered));
            let mut ceiling = Ceiling::new(now, delivered, accepted, self.dial.probe_wait);
            if let Some(old) = &self.ceiling {
                ceiling.inherit(now, old);
            }
            self.rate = ceiling.rate();
            ceiling.set_origin(test.before, test.seen.least_share(), LossTest { from: now, ..test });
            if let Some(full) = ceiling.full() {
                self.capacity = Some(full);
            }
            self.ceiling = Some(ceiling);
            self.losses.answer(now);
            self.losses.note_verdict(now, Verdict::Overflow, queue_ms);
            self.enter(now, Phase::Cruise, "losses were a buffer's");
        } else {
            self.acquit(now, &test);
        }
    }

    /// Losses are the path's own: back to the rate before.
    fn acquit(&mut self, now: Instant, test: &LossTest) {
        let mut all = test.seen;
        all.add(&test.tally);
        self.losses.learn(&all);
        self.losses.note_verdict(now, Verdict::Own, test.queue_ms);
        self.rate = test.before;
        let mut starts = test.was_starting;
        if let Some(before) = self.ceiling.as_ref().and_then(|ceiling| ceiling.disproved(all.share())) {
            self.rate = self.rate.max(before);
            starts |= self.ceiling.take().is_some_and(|ceiling| ceiling.ended_startup());
            self.capacity = None;
        }
        if starts && self.phase != Phase::Startup {
            self.startup = Startup::default();
        }
        let next = if starts { Phase::Startup } else { Phase::Cruise };
        self.enter(now, next, "losses are the path's own");
    }

    /// Goes on with the test below the ceiling that it made: losses that stay there acquit the buffer.
    pub(super) fn acquits(&mut self, now: Instant, results: &[PacketResult]) -> bool {
        let inherent = self.losses.inherent();
        let Some(ceiling) = &mut self.ceiling else { return false };
        let Some(test) = ceiling.probation(now) else { return false };
        test.handle_results(results);
        let (evidence, verdict, share) =
            (test.evidence(inherent), test.verdict(inherent), test.tally.share());
        if evidence <= -CONFIRMED {
            ceiling.end_probation();
        } else if verdict == Some(true) && !ceiling.is_like(share) {
            self.rate = self.rate.min(ceiling.nudge());
            if let Some(test) = ceiling.probation(now) {
                test.begin_anew(now);
            }
        } else if verdict == Some(true) {
            if let Some(test) = ceiling.end_probation() {
                let before = test.before.min(AHEAD * test.delivered);
                self.acquit(now, &LossTest { before, ..test });
            }
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proto::scene::Scene;
    use proto::seed::Seed;
    use proto::units::Bitrate;

    use super::super::losses::Verdicts;
    use super::super::{Hybrid, Settings};
    use super::*;
    use crate::estimator::RateLimits;
    use crate::estimator::model::{Model, Path, Source};

    const END: Duration = Duration::from_secs(40);

    fn played(queue: Duration, loss: f64) -> Model<Hybrid> {
        let limits = RateLimits { min: Bitrate::kbps(50), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };
        let settings = Settings { limits, scene: Scene::Pk, weight: 1.0 };
        let path = Path { queue, loss, ..Path::new(Bitrate::mbps(4)) };
        let estimator = Hybrid::new(settings, &Seed::from_number(1));
        let mut model = Model::new(estimator, path, Source::Frames(Bitrate::mbps(10)));
        model.run(END);
        model
    }

    #[test]
    fn a_shallow_buffer_is_told_from_losses_of_the_path() {
        // (queue in milliseconds, loss, which verdict stands: few losses at first may be misjudged, and are judged anew)
        let cases = [(10, 0.0, Some("overflow")), (300, 0.03, Some("own")), (300, 0.0, None)];
        for (queue, loss, verdict) in cases {
            let model = played(Duration::from_millis(queue), loss);
            let verdicts: Verdicts = model.estimator.losses.verdicts();
            let last = match (verdicts.overflow_at, verdicts.own_at) {
                (None, None) => None,
                (overflow, own) => Some(if overflow > own { "overflow" } else { "own" }),
            };
            assert_eq!(last, verdict, "{queue} {loss} {verdicts:?}");
            let overflow = verdict == Some("overflow");
            assert_eq!(model.estimator.ceiling.is_some(), overflow, "{queue} {loss}");
            let from = Duration::from_secs(5);
            let (used, lost) = (model.utilization(from, END), model.loss(from, END));
            assert!(used > 0.92, "{queue} {loss}: {used}");
            assert!((lost - loss).abs() < 0.006, "{queue} {loss}: {lost}");
        }
    }
}
