//! `hybrid`: Lianmai's own. BBR's model of the path with GCC's early warning and an explicit test of what a loss means.
//!
//! In: packets as they leave, their results, what the sender could make use of. Out: a [`Target`], transitions, the path's
//! class; what it asks the path for is a climb of the target, filled with padding. Time: reports drive everything; one
//! timer notices that they have ceased. Limit: constant memory.
//!
//! - **Model.** The base delay, the queue beyond it that jitter does not fool (`delay`), the rate delivered
//!   (`delivery`), and the capacity that trains of packets prove without filling a queue (`trains`).
//! - **Cruise.** The rate follows a law whose rest lies at a short queue: a constant increase against a decrease in
//!   proportion to rate and queue. All flows at one bottleneck see one queue, so equal weights end at equal rates,
//!   whatever their round trips. What is proven free is taken at once.
//! - **Drain.** A queue too long is answered by less than what is delivered, until it is gone, and then by what was
//!   delivered while it was there.
//! - **Loss.** A loss is no verdict. Losses beyond what the path is known to lose start a test: send less for some
//!   hundred milliseconds. If losses stop they came from a full buffer or a policer, and a ceiling is kept that only
//!   short, judged probes go beyond; if not they are the path's own, and are left to repair.
//! - **Compete.** A queue that does not shrink though little is sent is somebody else's. Then the rate goes by losses
//!   alone, within the scene's bounds, until the queue is gone.

mod ceiling;
mod compete;
mod cruise;
mod decision;
mod delay;
mod delivery;
mod dial;
mod drain;
mod loss_test;
mod losses;
mod startup;
mod starved;
mod steps;
#[cfg(test)]
mod tests;
mod trains;

use core::time::Duration;
use std::collections::VecDeque;

use proto::path_class::PathClass;
use proto::scene::Scene;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

use self::ceiling::Ceiling;
use self::compete::Rivalry;
use self::cruise::Cruise;
use self::delay::Delay;
use self::delivery::{Delivery, Rates};
use self::dial::Dial;
use self::drain::Drain;
use self::loss_test::LossTest;
use self::losses::Losses;
use self::startup::Startup;
use self::starved::Silence;
use self::steps::Steps;
use self::trains::Trains;
use super::{Demand, Estimator, RateLimits, Target, Transition};
use crate::packet::{PacketResult, SentPacket};
use crate::recognizer::{Observation, Recognizer};

/// Transitions that nobody asked for: the oldest goes.
const TRANSITIONS_MAX: usize = 32;
/// Whoever sends less than this share of the capacity has no queue.
const EMPTY_BELOW: f64 = 0.92;
/// Delivering less than this share of what is sent for so long is a collapse.
const COLLAPSE: f64 = 0.6;
const COLLAPSE_TIME: Duration = Duration::from_millis(40);
/// How much longer than the longest queue that is borne the newest packet must have waited.
const COLLAPSE_QUEUE: f64 = 1.3;
/// A link that was silent for so long stood still.
const STALL: Duration = Duration::from_millis(25);
/// The most that was delivered is forgotten over so many seconds.
const MOST_TIME: f64 = 120.0;
/// What two packets take on the path beyond the first is counted within the others, in milliseconds.
const OWN_FREE_MS: f64 = 20.0;
const OWN_MIN_MS: f64 = 3.0;
const OWN_MAX_MS: f64 = 100.0;
/// Packets farther apart are no train, however slow the pace.
const GAP_MAX: Duration = Duration::from_secs(1);
/// The longest time for which one report moves the rate.
const STEP_MAX: f64 = 0.2;

/// What it is made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The rates it may choose from.
    pub limits: RateLimits,
    /// What people do: how much delay they bear.
    pub scene: Scene,
    /// How much of a shared bottleneck it is to get, against 1 of an ordinary flow; 0.1 to 10.
    pub weight: f64,
}

/// The phases, as reports name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling each round trip.
    Startup,
    /// Following the law.
    Cruise,
    /// Emptying a queue.
    Drain,
    /// Asking what losses mean.
    LossTest,
    /// Looking beyond a ceiling.
    Probe,
    /// Asking whether the next step is carried.
    Climb,
    /// Holding its own against those who fill the buffer.
    Compete,
    /// Without reports.
    Starved,
}

/// What one report says, after the signals have taken it in.
#[derive(Debug, Clone, Copy)]
struct Report {
    /// Since the last one, in seconds, at most [`STEP_MAX`].
    step: f64,
    /// Whether delay has a new sample.
    has_sample: bool,
    /// The queue, in milliseconds.
    queue_ms: f64,
    /// The rates of the last quarter second, or round trip if that is longer.
    rates: Rates,
}

/// See the module's description. Rates are in bits a second.
#[derive(Debug)]
pub struct Hybrid {
    settings: Settings,
    dial: Dial,
    phase: Phase,
    since: Instant,
    rate: f64,
    /// What was delivered when last the path was full.
    capacity: Option<f64>,
    /// The most that was delivered, forgotten slowly.
    most: f64,
    delay: Delay,
    delivery: Delivery,
    trains: Trains,
    losses: Losses,
    round_trip: Option<f64>,
    least_round_trip: f64,
    last_report: Option<Instant>,
    startup: Startup,
    cruise: Cruise,
    drain: Drain,
    test: Option<LossTest>,
    test_after: Instant,
    ceiling: Option<Ceiling>,
    rivalry: Rivalry,
    silence: Silence,
    recognizer: Recognizer,
    steps: Steps,
    over: u32,
    last_queue_ms: f64,
    full_since: Option<Instant>,
    /// What is allowed since the last report, timeout or wish: it is asked for each packet.
    decision: Target,
    transitions: VecDeque<Transition>,
}

impl Hybrid {
    /// A controller that has seen nothing.
    pub fn new(settings: Settings, _seed: &Seed) -> Self {
        let weight = if settings.weight.is_finite() { settings.weight.clamp(0.1, 10.0) } else { 1.0 };
        let mut hybrid = Self {
            settings: Settings { weight, ..settings },
            dial: Dial::of(settings.scene),
            phase: Phase::Startup,
            since: Instant::ZERO,
            rate: settings.limits.start.as_bps() as f64,
            capacity: None,
            most: 0.0,
            delay: Delay::default(),
            delivery: Delivery::default(),
            trains: Trains::default(),
            losses: Losses::default(),
            round_trip: None,
            least_round_trip: f64::INFINITY,
            last_report: None,
            startup: Startup::default(),
            cruise: Cruise::default(),
            drain: Drain::default(),
            test: None,
            test_after: Instant::ZERO,
            ceiling: None,
            rivalry: Rivalry::default(),
            silence: Silence::default(),
            recognizer: Recognizer::default(),
            steps: Steps::default(),
            over: 0,
            last_queue_ms: 0.0,
            full_since: None,
            decision: decision::NONE,
            transitions: VecDeque::new(),
        };
        hybrid.settle();
        hybrid
    }

    /// People do something else from now on.
    pub fn set_scene(&mut self, _now: Instant, scene: Scene) {
        self.settings.scene = scene;
        self.turn_dial();
    }

    /// What the scene asks for, and what who sends can make use of, may have changed.
    fn turn_dial(&mut self) {
        let dial = Dial::of(self.settings.scene);
        self.dial = if self.steps.is_limited() { dial.for_steps() } else { dial };
        self.settle();
    }

    /// The queue above which it is drained, in milliseconds.
    fn queue_max_ms(&self) -> f64 {
        // Two packets' own time on a slow path is no queue that could be drained.
        let own = (2.0 * 8e3 * self.delivery.mean_bytes() / self.most.max(self.rate).max(1.0) - OWN_FREE_MS)
            .clamp(OWN_MIN_MS, OWN_MAX_MS);
        2.0 * self.dial.queue_ms + 2.0 * self.delay.jitter_ms() + own
    }

    /// The round trip with the report's delay.
    fn round(&self) -> Duration {
        seconds(self.round_trip.unwrap_or(0.1).clamp(0.02, 2.0))
    }

    /// The time over which rates are measured.
    fn span(&self) -> Duration {
        Duration::from_millis(250).max(seconds(self.least_round_trip.clamp(0.0, 1.0)))
    }

    fn enter(&mut self, now: Instant, phase: Phase, reason: &'static str) {
        let from = self.state();
        self.phase = phase;
        self.since = now;
        let to = self.state();
        if from == to {
            return;
        }
        if self.transitions.len() >= TRANSITIONS_MAX {
            self.transitions.pop_front();
        }
        self.transitions.push_back(Transition { at: now, from, to, reason });
    }

    /// What stands is no queue: the path has become longer.
    fn rebase(&mut self, now: Instant) {
        self.delay.rebase(now);
        self.least_round_trip = f64::INFINITY;
    }

    /// Lets the signals take a report in.
    fn measure(&mut self, now: Instant, results: &[PacketResult]) -> Report {
        let step = self.last_report.map_or(0.0, |last| now.since(last).as_secs_f64().min(STEP_MAX));
        self.last_report = Some(now);
        if let Some(newest) = results.iter().rev().find(|result| result.received.is_some()) {
            let sample = now.since(newest.sent.sent).as_secs_f64();
            let smoothed = self.round_trip.map_or(sample, |mean| mean + 0.125 * (sample - mean));
            self.round_trip = Some(smoothed);
            self.least_round_trip = self.least_round_trip.min(sample);
        }
        let has_sample = self.delay.handle_report(now, results, self.rate_of_empty(now));
        self.delivery.handle_report(results);
        let gap = (DataSize::bytes(1_300) / self.pacing()).min(GAP_MAX);
        self.trains.handle_report(results, gap + gap / 2);
        self.losses.handle_report(now, results);
        let rates = self.delivery.over(self.span()).unwrap_or_default();
        Report { step, has_sample, queue_ms: self.delay.queue_ms(), rates }
    }

    /// Whether the queue is too long: two samples in a row, or one that is twice too long.
    fn is_congested(&mut self, report: &Report) -> bool {
        let most = self.queue_max_ms();
        if self.is_collapsing(most) {
            self.over = 2;
            return true;
        }
        if !report.has_sample {
            return false;
        }
        let rises = report.queue_ms - self.last_queue_ms > 0.5 * most;
        self.last_queue_ms = report.queue_ms;
        self.over = if report.queue_ms > most { self.over + 1 } else { 0 };
        let is_sudden = self.over >= 1 && rises && {
            let recent = self.delivery.over(Duration::from_millis(100)).unwrap_or(report.rates);
            recent.delivered < 0.85 * recent.sent
        };
        self.over >= 2 || report.queue_ms > 2.0 * most || is_sudden
    }

    /// Whether the path delivers far less than is sent, and its newest packet waited far too long: there is no need to
    /// wait for the next report. A link that stood still for a moment delivers its newest packets soon.
    fn is_collapsing(&self, most: f64) -> bool {
        let long = self.delay.newest_ms() > COLLAPSE_QUEUE * most;
        let stalled = self.delay.gap() > STALL;
        if !long || stalled {
            return false;
        }
        let recent = self.delivery.over(COLLAPSE_TIME).unwrap_or_default();
        recent.delivered > 0.0 && recent.delivered < COLLAPSE * recent.sent
    }

    fn decide(&mut self, now: Instant, results: &[PacketResult], report: &Report) {
        self.note_capacity(now, report);
        if self.phase == Phase::Starved {
            self.resume(now);
        }
        self.watch_rivals(now, report);
        if self.phase == Phase::Compete {
            return self.compete(now, report);
        }
        let congested = self.is_congested(report);
        match self.phase {
            Phase::Startup => self.start_up(now, report, congested),
            Phase::Drain => self.drain(now, report, congested),
            Phase::Climb => self.climb(now, report, congested),
            Phase::Cruise | Phase::LossTest | Phase::Probe if congested => self.start_drain(now, report),
            Phase::LossTest => self.test_losses(now, results),
            Phase::Probe => self.look_beyond(now, results),
            Phase::Cruise => {
                self.cruise(now, report);
                self.watch_losses(now, report);
                self.watch_ceiling(now, results, report);
                self.watch_steps(now, report);
            }
            Phase::Compete | Phase::Starved => {}
        }
    }

    /// What was sent lately, if that is too little for a queue of our own to stand.
    fn rate_of_empty(&self, now: Instant) -> Option<f64> {
        let sent = self.delivery.over(Duration::from_millis(150))?.sent;
        let is_empty = match self.phase {
            Phase::Startup => self.startup.lags() == 0,
            Phase::Cruise if self.cruise.is_checked(now) => true,
            Phase::Cruise | Phase::LossTest | Phase::Probe => {
                self.capacity.is_some_and(|capacity| sent < EMPTY_BELOW * capacity)
            }
            Phase::Drain | Phase::Climb | Phase::Compete | Phase::Starved => false,
        };
        is_empty.then_some(sent)
    }

    /// While a queue stands, what is delivered is what the path has for this flow.
    fn note_capacity(&mut self, now: Instant, report: &Report) {
        self.most -= self.most * report.step / MOST_TIME;
        self.most = self.most.max(report.rates.delivered);
        if !report.has_sample {
            return;
        }
        let standing = self.delay.standing_ms() - self.delay.jitter_ms();
        if standing.min(report.queue_ms) <= 0.5 * self.dial.queue_ms {
            self.full_since = None;
            return;
        }
        let full = now.since(*self.full_since.get_or_insert(now));
        let span = full.min(self.span());
        if span < Duration::from_millis(100) {
            return;
        }
        if let Some(Rates { delivered, .. }) = self.delivery.over(span) {
            let known = self.capacity.unwrap_or(delivered);
            let is_far = (delivered - known).abs() > 0.2 * known;
            self.capacity = Some(if is_far { delivered } else { known + 0.3 * (delivered - known) });
        }
    }

    /// What the recognizer is told beyond the packets.
    fn observed(&self, report: &Report) -> Observation {
        let time = |time: f64| seconds(time.clamp(0.0, 60.0));
        Observation {
            queue: time(report.queue_ms / 1e3),
            round_trip: time(self.least_round_trip),
            loses_by_itself: self.losses.inherent() > 0.0,
            has_ceiling: self.ceiling.is_some(),
            is_competing: self.phase == Phase::Compete,
        }
    }

    fn limit(&mut self) {
        let RateLimits { min, max, .. } = self.settings.limits;
        let most = (max.as_bps() as f64).max(min.as_bps() as f64);
        self.rate = self.rate.clamp(min.as_bps() as f64, most);
    }
}

fn bps(rate: f64) -> Bitrate {
    Bitrate::bps(rate.max(0.0) as u64)
}

/// A time of some seconds, to the nearest nanosecond: the standard library's way takes several times as long.
fn seconds(time: f64) -> Duration {
    Duration::from_nanos((time * 1e9 + 0.5) as u64)
}

impl Estimator for Hybrid {
    fn handle_sent(&mut self, now: Instant, _packet: &SentPacket) {
        self.silence.handle_sent(now);
    }

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        if results.is_empty() {
            return;
        }
        self.silence.handle_report(now, results);
        let report = self.measure(now, results);
        self.decide(now, results, &report);
        self.recognizer.handle_report(now, results, &self.observed(&report));
        self.limit();
        self.settle();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.starve(now);
        if self.climb_ends_at().is_some_and(|at| at <= now) {
            self.end_climb(now);
        }
        self.limit();
        self.settle();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.starves_at(), self.climb_ends_at())
    }

    fn set_demand(&mut self, _now: Instant, demand: Demand) {
        self.steps.set_demand(demand);
        self.turn_dial();
    }

    fn poll_transition(&mut self) -> Option<Transition> {
        self.transitions.pop_front()
    }

    fn bounds_frames(&self) -> bool {
        true
    }

    fn path_class(&self) -> PathClass {
        self.recognizer.class()
    }

    fn target(&self) -> Target {
        self.decision
    }

    fn state(&self) -> &'static str {
        match self.phase {
            Phase::Startup => "startup",
            Phase::Cruise if self.steps.is_limited() => "hold",
            Phase::Cruise if self.ceiling.is_some() => "shallow",
            Phase::Cruise => "cruise",
            Phase::Drain => "drain",
            Phase::LossTest => "loss-test",
            Phase::Probe => "probe",
            Phase::Climb => "climb",
            Phase::Compete => "compete",
            Phase::Starved => "starved",
        }
    }
}
