//! A ceiling: a rate beyond which a shallow buffer or a policer drops, and the judged probes that look beyond it.
//!
//! A probe sends more until something drops or its time is up. What passed is on trial for some seconds more: a bucket
//! lets a burst through that is not its rate. What a full buffer accepted between drops tells the capacity itself.

use core::time::Duration;

use proto::time::Instant;

use super::loss_test::LossTest;
use super::losses::{Accepted, Counter, Losses, Tally};
use super::{Hybrid, Phase, Report};
use crate::packet::PacketResult;

/// A probe needs a source that uses this share of the rate: what is not sent cannot be dropped.
const USED: f64 = 0.85;
/// How long a probe takes.
const PROBE_TIME: Duration = Duration::from_millis(350);
/// How much probes send beyond: the first, and each further one after those before it passed.
const GAINS: [f64; 3] = [1.05, 1.08, 1.15];
/// What is kept of a rate that dropped, or that a probe has shown to pass.
const KEPT: f64 = 0.99;
/// The longest time between probes.
const WAIT_MAX: Duration = Duration::from_secs(30);
const WAIT_MAX_UNKNOWN: Duration = Duration::from_secs(8);
/// Until the capacity is known from so many packets that a full buffer accepted (two in a hundred then), probes come in
/// quick succession.
const KNOWN: f64 = 30.0;
const PACKETS_MAX: f64 = 1_000.0;
const WAIT_UNKNOWN: Duration = Duration::from_millis(400);
const WAIT_PASSED: Duration = Duration::from_millis(100);
/// After a trial, until its last packets are reported.
const WAIT_TRIED: Duration = Duration::from_millis(500);
/// Less packets than that between drops tell no rate.
const ACCEPTED_MIN: f64 = 10.0;
/// How long a rate that passed is on trial.
const TRIAL: Duration = Duration::from_secs(3);
const TRIAL_UNKNOWN: Duration = Duration::from_millis(1_500);
/// What passes a trial beyond the known capacity by that factor shows that it is another one now.
const DISPROVED: f64 = 1.02;
/// What drops without a probe or trial takes off.
const NUDGE: f64 = 0.99;
/// ... if it is at most that share, and so many times: then a test asks anew.
const NUDGED: f64 = 0.02;
const NUDGES: u32 = 3;
/// Below a ceiling a smaller part of the losses that it was made for are those of a ceiling a little too high; more are
/// those that it was to end.
const SAME_LOSSES: f64 = 0.3;
/// Two capacities that differ by more are not the same one.
const SAME: f64 = 0.08;

/// Packets sent at a rate that is judged.
#[derive(Debug)]
struct Judged {
    rate: f64,
    from: Instant,
    until: Instant,
    counter: Counter,
    tally: Tally,
}

impl Judged {
    fn new(rate: f64, from: Instant, time: Duration) -> Self {
        Self { rate, from, until: from + time, counter: Counter::default(), tally: Tally::default() }
    }

    fn handle_results(&mut self, results: &[PacketResult]) {
        for result in results {
            if result.sent.sent >= self.from && result.sent.sent <= self.until {
                self.counter.count(&mut self.tally, result);
            }
        }
    }

    /// Whether it has lost more than the path does anyway.
    fn has_failed(&self, losses: &Losses) -> bool {
        let expected = losses.inherent() * self.tally.packets;
        let least = 2.0 * (expected * losses.dispersion()).sqrt();
        self.tally.lost - expected > least.max(0.9)
    }

    fn is_over(&self, results: &[PacketResult]) -> bool {
        results.last().is_some_and(|result| result.sent.sent >= self.until)
    }
}

/// A capacity, and how many packets told of it.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    rate: f64,
    packets: f64,
}

impl Capacity {
    fn is_known(&self) -> bool {
        self.packets >= KNOWN
    }

    /// What is kept of it: a count of packets may be wrong by one.
    fn kept(&self) -> f64 {
        KEPT * self.rate * (1.0 - 0.5 / self.packets.max(1.0))
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Ceiling {
    rate: f64,
    /// The rate before it was set.
    before: f64,
    /// The share that was lost then.
    share: f64,
    /// Whether start-up ended with it.
    ended_startup: bool,
    /// The rate at first.
    first: f64,
    /// What drops have shown.
    full: Option<Capacity>,
    wait: Duration,
    probe_at: Instant,
    passes: usize,
    nudges: u32,
    probe: Option<Judged>,
    trial: Option<(Judged, f64)>,
    /// The test that made it goes on below it, without a dip: if losses stay it was wrong.
    probation: Option<LossTest>,
    /// For how long the trial lasts, in seconds, and the bits that could be sent in it: the queue may keep the rate lower.
    tried: (f64, f64),
}

impl Ceiling {
    /// A ceiling at `delivered`, unless what a full buffer accepted tells better.
    pub(super) fn new(now: Instant, delivered: f64, accepted: Accepted, wait: Duration) -> Self {
        let mut ceiling = Self {
            rate: KEPT * delivered,
            before: delivered,
            share: 0.0,
            ended_startup: false,
            first: 0.0,
            full: None,
            wait,
            probe_at: now,
            passes: 0,
            nudges: 0,
            probe: None,
            trial: None,
            probation: None,
            tried: (0.0, 0.0),
        };
        ceiling.learn(accepted);
        if let Some(full) = ceiling.full {
            ceiling.rate = full.kept();
        }
        ceiling.first = ceiling.rate;
        let is_known = ceiling.is_known();
        ceiling.probe_at = now + if is_known { wait } else { WAIT_UNKNOWN };
        ceiling
    }

    /// Takes over what the one before knew, if it was about the same capacity.
    pub(super) fn inherit(&mut self, now: Instant, old: &Self) {
        self.ended_startup = old.ended_startup;
        let Some(known) = old.full else { return };
        let Some(full) = self.full.filter(|full| (full.rate - known.rate).abs() < SAME * known.rate) else {
            return;
        };
        let packets = full.packets + known.packets;
        let rate = (full.rate * full.packets + known.rate * known.packets) / packets;
        self.full = Some(Capacity { rate, packets: packets.min(PACKETS_MAX) });
        self.rate = KEPT * rate.min(full.rate);
        self.first = self.rate;
        self.wait = old.wait;
        if self.is_known() {
            self.probe_at = now + self.wait;
        }
    }

    /// The test that it comes from: its rate is what to go back to if nothing is to be kept below the ceiling.
    pub(super) fn set_origin(&mut self, before: f64, share: f64, test: LossTest) {
        self.before = before;
        self.share = share;
        self.ended_startup |= test.was_starting();
        self.probation = Some(test);
    }

    /// Whether start-up ended with it: if it was wrong there is more to look for.
    pub(super) fn ended_startup(&self) -> bool {
        self.ended_startup
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether losses of this share are the same that it was made for, or lowering it has not ended them.
    pub(super) fn is_like(&self, share: f64) -> bool {
        share >= SAME_LOSSES * self.share || self.nudges >= NUDGES
    }

    /// It is a little too high.
    pub(super) fn nudge(&mut self) -> f64 {
        if let Some(full) = &mut self.full {
            full.rate = full.rate.min(self.rate);
        }
        self.nudges += 1;
        self.rate *= NUDGE;
        self.rate
    }

    /// The rate before, if losses of this share, which less sending did not end, were what it was made for.
    pub(super) fn disproved(&self, share: f64) -> Option<f64> {
        self.is_like(share).then_some(self.before)
    }

    pub(super) fn probe_rate(&self) -> f64 {
        self.probe.as_ref().map_or(self.rate, |probe| probe.rate)
    }

    pub(super) fn call_off(&mut self) {
        self.probe = None;
    }

    /// The test that goes on, where what is sent stays below the rate at first.
    pub(super) fn probation(&mut self, now: Instant) -> Option<&mut LossTest> {
        let test = self.probation.as_mut()?;
        if self.trial.is_some() || self.rate > 1.001 * self.first {
            test.restart(now);
            return None;
        }
        Some(test)
    }

    pub(super) fn end_probation(&mut self) -> Option<LossTest> {
        self.probation.take()
    }

    /// Whether a rate is on trial.
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// The capacity as drops have shown it.
    pub(super) fn full(&self) -> Option<f64> {
        self.full.map(|full| full.rate)
    }

    /// Whether drops have told the capacity.
    pub(super) fn is_known(&self) -> bool {
        self.full.is_some_and(|full| full.is_known())
    }

    fn learn(&mut self, accepted: Accepted) {
        let Some(rate) = accepted.rate(ACCEPTED_MIN) else { return };
        let packets = accepted.packets();
        let known = self.full.filter(|known| (rate - known.rate).abs() < SAME * known.rate);
        self.full = Some(known.map_or(Capacity { rate, packets }, |known| {
            let sum = known.packets + packets;
            Capacity {
                rate: (known.rate * known.packets + rate * packets) / sum,
                packets: sum.min(PACKETS_MAX),
            }
        }));
    }

    /// Something dropped beyond `low`, which has proven good.
    fn fail(&mut self, now: Instant, tried: f64, low: f64, accepted: Accepted) {
        self.learn(accepted);
        let shown = self.full.map_or(low, |full| full.kept());
        let better = shown.clamp(low, (KEPT * tried).max(low));
        let has_moved = better > 1.02 * low;
        self.rate = better;
        self.wait = if has_moved {
            self.wait
        } else {
            (self.wait * 2).min(if self.is_known() { WAIT_MAX } else { WAIT_MAX_UNKNOWN })
        };
        self.probe_at = now + self.wait;
        self.passes = 0;
        self.probe = None;
        if let Some(test) = &mut self.probation {
            test.restart(now);
        }
        self.trial = None;
    }

    /// The trial has come to its end without drops: the path has more than drops had shown. If the queue kept the rate
    /// below, it has proven nothing.
    fn end_trial(&mut self, now: Instant, wait: Duration) {
        let Some((_, low)) = self.trial.take() else { return };
        let proven = if self.tried.0 > 0.0 { (self.tried.1 / self.tried.0).min(self.rate) } else { low };
        self.nudges = 0;
        let Some(full) = self.full.as_mut().filter(|full| proven <= DISPROVED * full.rate) else {
            self.full = None;
            self.wait = wait;
            self.rate = proven.max(low);
            return;
        };
        full.rate = full.rate.max(proven);
        if full.is_known() {
            self.fail(now, self.rate, low, Accepted::default());
        } else {
            self.rate = proven.max(low);
        }
    }

    fn pass(&mut self, now: Instant, rate: f64) {
        let low = self.trial.take().map_or(self.rate, |(_, low)| low);
        self.rate = KEPT * rate;
        let time = if self.is_known() { TRIAL } else { TRIAL_UNKNOWN };
        self.trial = Some((Judged::new(self.rate, now, time), low));
        self.tried = (0.0, 0.0);
        self.probe = None;
        self.passes += 1;
        self.probe_at = now + if self.full.is_none() { WAIT_PASSED } else { time + WAIT_TRIED };
    }
}

impl Hybrid {
    /// Starts a probe beyond the ceiling when it is time.
    pub(super) fn watch_ceiling(&mut self, now: Instant, results: &[PacketResult], report: &Report) {
        let (is_limited, rate) = (self.steps.is_limited(), self.rate);
        let most = self.settings.limits.max.as_bps() as f64;
        if self.phase != Phase::Cruise || self.acquits(now, results) || self.fails_trial(now, results, report)
        {
            return;
        }
        let Some(ceiling) = &mut self.ceiling else { return };
        let is_used = report.rates.sent > USED * rate;
        if now < ceiling.probe_at || is_limited || !is_used || rate < 0.97 * ceiling.rate || rate >= most {
            return;
        }
        let step = ceiling.passes + usize::from(ceiling.is_known());
        let gain = GAINS[step.min(GAINS.len() - 1)];
        let from = now + Duration::from_millis(20);
        ceiling.probe = Some(Judged::new(ceiling.rate * gain, from, PROBE_TIME));
        self.losses.take_accepted();
        self.enter(now, Phase::Probe, "time to look beyond the ceiling");
    }

    /// Whether a rate that a probe has shown to pass drops after all.
    fn fails_trial(&mut self, now: Instant, results: &[PacketResult], report: &Report) -> bool {
        let (wait, rate, step) = (self.dial.probe_wait, self.rate, report.step);
        let Some(ceiling) = &mut self.ceiling else { return false };
        let Some((trial, low)) = &mut ceiling.trial else { return false };
        trial.handle_results(results);
        ceiling.tried.0 += step;
        ceiling.tried.1 += step * rate.min(report.rates.sent);
        if trial.has_failed(&self.losses) {
            let (tried, low) = (trial.rate, *low);
            self.fall_back(now, tried, low);
            return true;
        }
        if trial.is_over(results) {
            ceiling.end_trial(now, wait);
        }
        false
    }

    fn fall_back(&mut self, now: Instant, tried: f64, low: f64) {
        let accepted = self.losses.take_accepted();
        let Some(ceiling) = &mut self.ceiling else { return };
        ceiling.fail(now, tried, low, accepted);
        self.rate = ceiling.rate;
        self.losses.answer(now);
        self.enter(now, Phase::Cruise, "drops beyond the ceiling");
    }

    pub(super) fn look_beyond(&mut self, now: Instant, results: &[PacketResult]) {
        let Some(ceiling) = &mut self.ceiling else {
            return self.enter(now, Phase::Cruise, "no ceiling");
        };
        let Some(probe) = &mut ceiling.probe else {
            return self.enter(now, Phase::Cruise, "no probe");
        };
        probe.handle_results(results);
        if probe.has_failed(&self.losses) {
            let low = ceiling.trial.as_ref().map_or(ceiling.rate, |(_, low)| *low);
            let tried = probe.rate;
            return self.fall_back(now, tried, low);
        }
        if probe.is_over(results) {
            let rate = probe.rate;
            ceiling.pass(now, rate);
            self.rate = ceiling.rate;
            if ceiling.passes > 6 {
                self.ceiling = None;
            }
            self.enter(now, Phase::Cruise, "carries more than the ceiling");
        }
    }

    /// Drops below a ceiling that stands: it is a little too high. Whether there were any.
    pub(super) fn lower_ceiling(&mut self, now: Instant, seen: &Tally) -> bool {
        let Some(ceiling) = &mut self.ceiling else { return false };
        let few = if ceiling.probation.is_some() { SAME_LOSSES * ceiling.share } else { NUDGED };
        if seen.share() > few || ceiling.nudges >= NUDGES || ceiling.trial.is_some() {
            return false;
        }
        self.rate = self.rate.min(ceiling.nudge());
        self.losses.answer(now);
        true
    }
}
