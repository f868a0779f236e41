//! `nada`: Network-Assisted Dynamic Adaptation (RFC 8698).
//!
//! In: packet results. Out: a rate. Time: reports drive it; it updates each `DELTA` at most. Limit:
//! `OBSERVATIONS_MAX` packets are observed at a time.
//!
//! Delay, loss and marks are summed up into one signal in milliseconds, and the rate moves so that the signal settles
//! at `priority × XREF × max / rate`: of two flows each has its weight's share, and a single one on a link of rate C
//! keeps a queue of `priority × 10 ms × max / C`, which the RFC accepts and this therefore does.
//!
//! What the RFC has the receiver do (§4.2) is done here from the results, so every report will do. Windows are counted
//! by arrivals; a lost packet has the time of the arrival before it. The rate shaping buffer of §4.3 is the pacer,
//! which this does not see: pacing is what §4.3 allows at most when that buffer is not empty, 1.05 × the rate. The
//! signal is bounded as in the RFC's reference implementation (`SIGNAL_MAX`), and a step counts for no longer than
//! `TAU`, or the end of a silence would throw the rate from one limit to the other.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::{Estimator, RateLimits, Target};
use crate::filter::WindowedMin;
use crate::packet::{Ecn, PacketResult, SentPacket};

// The constants of RFC 8698 §5, times in milliseconds.
/// The reference level of the signal.
const XREF: f64 = 10.0;
/// How strongly the rate answers (κ).
const KAPPA: f64 = 0.5;
/// How strongly it answers to change (η).
const ETA: f64 = 2.0;
/// The upper bound of round trips (τ).
const TAU: f64 = 500.0;
/// How often the rate is updated (δ).
const DELTA: Duration = Duration::from_millis(100);
/// What is observed at a time.
const LOGWIN: Duration = Duration::from_millis(500);
/// From here on a queue is building up.
const QEPS: Duration = Duration::from_millis(10);
/// The bound on the delay of filtering, in milliseconds.
const DFILT: f64 = 120.0;
/// The most by which ramp-up raises the rate at once (γ).
const GAMMA_MAX: f64 = 0.5;
/// The queue that ramp-up may cause, in milliseconds.
const QBOUND: f64 = 50.0;
/// Delay beyond this is warped while there are losses.
const QTH: f64 = 50.0;
/// How strongly (λ).
const LAMBDA: f64 = 0.5;
/// For how many intervals between losses a loss counts as late.
const MULTILOSS: f64 = 7.0;
/// The shares of losses and of marks that cost [`DLOSS`] and [`DMARK`].
const PLRREF: f64 = 0.01;
const PMRREF: f64 = 0.01;
const DLOSS: f64 = 10.0;
const DMARK: f64 = 2.0;
/// How fast the shares of losses and marks are followed (α).
const ALPHA: f64 = 0.1;
/// The least delay of so many packets counts.
const DELAY_TAPS: u64 = 15;

/// The signal is never more, in milliseconds (Cisco's reference implementation).
const SIGNAL_MAX: f64 = 500.0;
/// What pacing is allowed of the rate (§4.3: the rate plus 5 % while the shaping buffer is not empty).
const PACING: f64 = 1.05;
/// How many packets are observed at a time: more than 500 ms of 100 Mbit/s.
const OBSERVATIONS_MAX: usize = 8_192;
/// The weights of intervals between losses, from the newest (RFC 5348 §5.4).
const INTERVAL_WEIGHTS: [f64; 8] = [1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2];

/// What is noted of a packet for [`LOGWIN`].
#[derive(Debug, Clone, Copy)]
struct Observation {
    at: Instant,
    size: DataSize,
    lost: bool,
    marked: bool,
    /// Whether it waited longer than [`QEPS`].
    queued: bool,
}

/// The observations of the last [`LOGWIN`] and their sums.
#[derive(Debug, Default)]
struct Log {
    observations: VecDeque<Observation>,
    received: DataSize,
    lost: u32,
    marked: u32,
    queued: u32,
}

impl Log {
    fn push(&mut self, new: Observation) {
        self.observations.push_back(new);
        self.received += if new.lost { DataSize::ZERO } else { new.size };
        self.lost += u32::from(new.lost);
        self.marked += u32::from(new.marked);
        self.queued += u32::from(new.queued);
        while self.observations.len() > OBSERVATIONS_MAX
            || self.observations.front().is_some_and(|first| new.at > first.at + LOGWIN)
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(old) = self.observations.pop_front() else { return };
        self.received -= if old.lost { DataSize::ZERO } else { old.size };
        self.lost -= u32::from(old.lost);
        self.marked -= u32::from(old.marked);
        self.queued -= u32::from(old.queued);
    }

    fn share(&self, count: u32) -> f64 {
        f64::from(count) / self.observations.len().max(1) as f64
    }

    /// The rate at which packets arrived, over the time observed, at least one [`DELTA`].
    fn receive_rate(&self) -> Bitrate {
        let (Some(first), Some(last)) = (self.observations.front(), self.observations.back()) else {
            return Bitrate::ZERO;
        };
        Bitrate::of(self.received, last.at.since(first.at).max(DELTA)).unwrap_or(Bitrate::ZERO)
    }
}

/// The intervals between loss events, in packets (RFC 5348 §5); those of one round trip are one event.
#[derive(Debug, Default)]
struct LossIntervals {
    /// From the newest; zero where there was none yet.
    closed: [u64; INTERVAL_WEIGHTS.len()],
    /// Packets since the last event began.
    open: u64,
    event: Option<Instant>,
}

impl LossIntervals {
    fn handle_result(&mut self, sent: Instant, lost: bool, rtt: Duration) {
        self.open += 1;
        if !lost || self.event.is_some_and(|event| sent <= event + rtt) {
            return;
        }
        if self.event.is_some() {
            self.closed.rotate_right(1);
            self.closed[0] = self.open;
        }
        self.event = Some(sent);
        self.open = 0;
    }

    /// The average interval; `None` before the second event. The open one is left out: it is what is compared.
    fn average(&self) -> Option<f64> {
        let known = self.closed.into_iter().zip(INTERVAL_WEIGHTS).filter(|&(interval, _)| interval > 0);
        let (sum, weights) = known.fold((0.0, 0.0), |(sum, weights), (interval, weight)| {
            (sum + interval as f64 * weight, weights + weight)
        });
        (weights > 0.0).then(|| sum / weights)
    }

    /// Whether the last loss is late enough to expect more: delay is then warped (§4.2).
    fn is_recent(&self) -> bool {
        self.average().is_some_and(|average| (self.open as f64) < MULTILOSS * average)
    }
}

/// What the sender does (§4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    RampUp,
    Gradual,
}

/// See the module's description.
#[derive(Debug)]
pub struct Nada {
    limits: RateLimits,
    priority: f64,
    mode: Mode,
    /// The reference rate, in bit/s.
    rate: f64,
    /// The last signal, in milliseconds.
    signal: f64,
    loss: f64,
    marks: f64,
    log: Log,
    intervals: LossIntervals,
    delays: WindowedMin<Duration, u64>,
    packets: u64,
    /// The least difference between the clocks of arrival and departure, in nanoseconds.
    base: Option<i64>,
    newest_arrival: Instant,
    rtt: Duration,
    updated: Option<Instant>,
}

impl Nada {
    /// An estimator between these limits, of priority 1.
    pub fn new(limits: RateLimits) -> Self {
        let limits = RateLimits { max: limits.max.max(limits.min), ..limits };
        Self {
            limits,
            priority: 1.0,
            mode: Mode::RampUp,
            rate: limits.start.clamp(limits.min, limits.max).as_bps() as f64,
            signal: 0.0,
            loss: 0.0,
            marks: 0.0,
            log: Log::default(),
            intervals: LossIntervals::default(),
            delays: WindowedMin::new(),
            packets: 0,
            base: None,
            newest_arrival: Instant::ZERO,
            rtt: Duration::ZERO,
            updated: None,
        }
    }

    /// The same with another weight (PRIO): of flows on one link each gets its weight's share.
    #[must_use]
    pub fn with_priority(self, priority: f64) -> Self {
        Self { priority, ..self }
    }

    /// What the receiver does on each packet (§4.2).
    fn observe(&mut self, now: Instant, result: &PacketResult) {
        let sent = result.sent.sent;
        let mut queued = false;
        if let Some(arrival) = result.received {
            let forward = arrival.as_nanos().wrapping_sub(sent.as_nanos()).cast_signed();
            let base = self.base.map_or(forward, |base| base.min(forward));
            self.base = Some(base);
            let delay = Duration::from_nanos(forward.saturating_sub(base).unsigned_abs());
            self.packets += 1;
            self.delays.update(self.packets, delay, DELAY_TAPS - 1);
            queued = delay >= QEPS;
            self.newest_arrival = self.newest_arrival.max(arrival);
            self.rtt = now.since(sent);
        }
        let lost = result.received.is_none();
        self.intervals.handle_result(sent, lost, self.rtt);
        self.log.push(Observation {
            at: self.newest_arrival,
            size: result.sent.size,
            lost,
            marked: result.ecn == Ecn::Congested,
            queued,
        });
    }

    /// The aggregate congestion signal (§4.2, equations 1 and 2).
    fn congestion(&mut self) -> f64 {
        self.loss += ALPHA * (self.log.share(self.log.lost) - self.loss);
        self.marks += ALPHA * (self.log.share(self.log.marked) - self.marks);
        let delay = millis(self.delays.value().unwrap_or(Duration::ZERO));
        let delay = if self.intervals.is_recent() { warp(delay) } else { delay };
        let penalty = DLOSS * (self.loss / PLRREF).powi(2) + DMARK * (self.marks / PMRREF).powi(2);
        (delay + penalty).min(SIGNAL_MAX)
    }

    /// The reference rate (§4.3, equations 3 to 7), `elapsed` after the last.
    fn update(&mut self, elapsed: Duration) {
        let signal = self.congestion();
        let change = signal - core::mem::replace(&mut self.signal, signal);
        self.mode = if self.log.lost == 0 && self.log.queued == 0 { Mode::RampUp } else { Mode::Gradual };
        let max = self.limits.max.as_bps() as f64;
        self.rate = match self.mode {
            Mode::RampUp => {
                let gamma = (QBOUND / (millis(self.rtt) + millis(DELTA) + DFILT)).min(GAMMA_MAX);
                self.rate.max((1.0 + gamma) * self.log.receive_rate().as_bps() as f64)
            }
            Mode::Gradual => {
                let offset = signal - self.priority * XREF * max / self.rate.max(1.0);
                let step = KAPPA * (millis(elapsed).min(TAU) / TAU) * (offset / TAU);
                self.rate * (1.0 - step - KAPPA * ETA * (change / TAU))
            }
        }
        .clamp(self.limits.min.as_bps() as f64, max);
    }
}

impl Estimator for Nada {
    fn handle_sent(&mut self, _now: Instant, _packet: &SentPacket) {}

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        for result in results {
            self.observe(now, result);
        }
        let Some(updated) = self.updated else {
            self.updated = Some(now);
            return;
        };
        let elapsed = now.since(updated);
        if elapsed >= DELTA {
            self.update(elapsed);
            self.updated = Some(now);
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn target(&self) -> Target {
        let rate = Bitrate::bps(self.rate as u64).clamp(self.limits.min, self.limits.max);
        Target {
            rate,
            pacing: rate.scaled(PACING),
            burst: Duration::ZERO,
            window: None,
            padding: Bitrate::ZERO,
        }
    }

    fn state(&self) -> &'static str {
        match self.mode {
            Mode::RampUp => "ramp-up",
            Mode::Gradual => "gradual",
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The delay as it counts beside losses (§4.2, equation 1): beyond [`QTH`] more counts for less, so that flows whose
/// queue others fill do not starve.
fn warp(delay: f64) -> f64 {
    if delay < QTH { delay } else { QTH * (-LAMBDA * (delay - QTH) / QTH).exp() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::estimator::model::{Model, Path, Source};
    use crate::packet::PacketClass;

    const LIMITS: RateLimits =
        RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(8) };

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn on(path: Path) -> Model<Nada> {
        Model::new(Nada::new(LIMITS), path, Source::Frames(Bitrate::MAX))
    }

    fn result(number: u64, sent: Instant, received: Option<Instant>) -> PacketResult {
        let sent = SentPacket {
            number,
            size: DataSize::bytes(1_200),
            sent,
            class: PacketClass::Video,
            probe: None,
            in_flight: DataSize::ZERO,
            app_limited: false,
        };
        PacketResult { sent, received, ecn: Ecn::NotCapable }
    }

    #[test]
    fn the_queue_settles_where_the_rfc_puts_it() {
        // XREF × RMAX / r: 20 ms at half of the greatest rate, 40 ms at a quarter.
        for (mbps, queue, priority) in [(4, 20, 1.0), (2, 40, 1.0), (4, 10, 0.5), (4, 40, 2.0)] {
            let mut model = on(Path::new(Bitrate::mbps(mbps)));
            model.estimator = Nada::new(LIMITS).with_priority(priority);
            model.run(secs(60));
            let used = model.utilization(secs(30), secs(60));
            assert!((0.97..1.01).contains(&used), "{mbps} Mbit/s: {used}");
            let wait = model.wait(0.5, secs(30), secs(60));
            // The model's wait is the longest of 50 ms, NADA's delay the least of 15 packets.
            assert!((ms(queue)..ms(queue + 6)).contains(&wait), "{mbps} Mbit/s, {priority}: {wait:?}");
            assert_eq!(model.estimator.state(), "gradual");
        }
    }

    #[test]
    fn ramp_up_is_bounded_by_what_arrives_and_ends_with_a_queue() {
        let mut model = on(Path::new(Bitrate::mbps(4)));
        model.run(secs(10));
        for row in model.between(secs(1), secs(3)) {
            assert_eq!((row.state, row.wait), ("ramp-up", Duration::ZERO), "{:?}", row.at);
        }
        let reached = model.rows.iter().find(|row| row.target > Bitrate::kbps(3_200)).map(|row| row.at);
        assert!(reached.is_some_and(|at| (secs(3)..secs(6)).contains(&at)), "{reached:?}");
        assert!(model.rows.iter().all(|row| row.target < Bitrate::kbps(5_500)));
        assert!(model.wait(1.0, secs(0), secs(10)) < ms(100));
    }

    #[test]
    fn capacity_is_followed_down_and_up() {
        // At 1 Mbit/s of 8 the signal would settle at 80 ms, beyond what warped delay comes to: the queue overflows.
        for (from, to, least, below) in
            [(4, 2, 0.95, 1.1), (2, 4, 0.95, 1.1), (4, 1, 0.7, 1.3), (1, 4, 0.95, 1.1)]
        {
            let mut model = on(Path::new(Bitrate::mbps(from)));
            model.run(secs(20));
            model.path.rate = Bitrate::mbps(to);
            model.run(secs(30));
            let used = model.utilization(secs(30), secs(50));
            assert!((least..1.01).contains(&used), "{from} to {to}: {used}");
            let target = model.rows.last().expect("rows").target.ratio(Bitrate::mbps(to));
            assert!((0.5..below).contains(&target), "{from} to {to}: {target}");
        }
    }

    #[test]
    fn losses_and_marks_cost_rate_and_queue() {
        let plain = on(Path::new(Bitrate::mbps(4)));
        let lossy = on(Path { loss: 0.03, ..Path::new(Bitrate::mbps(4)) });
        let marked = on(Path { mark: Some(ms(10)), ..Path::new(Bitrate::mbps(4)) });
        let [plain, lossy, marked] = [plain, lossy, marked].map(|mut model| {
            model.run(secs(60));
            (model.utilization(secs(20), secs(60)), model.wait(0.5, secs(20), secs(60)))
        });
        assert!(lossy.0 > 0.1 && lossy.0 < 0.6 * plain.0, "{lossy:?} against {plain:?}");
        assert!(marked.1 < plain.1 / 2, "{marked:?} against {plain:?}");
        assert!(plain.0 > 0.97);
    }

    #[test]
    fn the_penalties_are_the_squares_of_the_shares() {
        for (lost, marked, penalty) in [(0, 0, 0.0), (1, 0, 10.0), (2, 0, 40.0), (0, 1, 2.0), (1, 2, 18.0)] {
            let mut nada = Nada::new(LIMITS);
            for number in 0..100 {
                let at = Instant::from_millis(number);
                let received = (number >= lost).then_some(at);
                let ecn = if number >= 100 - marked { Ecn::Congested } else { Ecn::Capable0 };
                nada.observe(at, &PacketResult { ecn, ..result(number, at, received) });
            }
            // Shares are followed by a tenth at a time: after so many steps they are there.
            let signal = (0..200).map(|_| nada.congestion()).last().expect("steps");
            assert!((signal - penalty).abs() < 0.01, "{lost} lost, {marked} marked: {signal}");
        }
    }

    #[test]
    fn delay_beyond_the_threshold_is_warped_while_losses_are_recent() {
        for (delay, warped) in [(0.0, 0.0), (49.0, 49.0), (50.0, 50.0), (100.0, 30.33), (150.0, 18.39)] {
            assert!((warp(delay) - warped).abs() < 0.01, "{delay}: {}", warp(delay));
        }
        let mut intervals = LossIntervals::default();
        let feed = |intervals: &mut LossIntervals, packets: std::ops::Range<u64>, each: u64| {
            for number in packets {
                let lost = number.is_multiple_of(each);
                intervals.handle_result(Instant::from_millis(number * 10), lost, ms(50));
            }
        };
        feed(&mut intervals, 0..1, 100);
        assert!(!intervals.is_recent(), "one loss makes no interval");
        feed(&mut intervals, 1..801, 100);
        assert!(intervals.average().is_some_and(|average| (average - 100.0).abs() < 0.5));
        assert!(intervals.is_recent());
        feed(&mut intervals, 801..3_000, 1_000_000);
        assert!(!intervals.is_recent(), "{:?} against {}", intervals.average(), intervals.open);
    }

    #[test]
    fn losses_of_one_round_trip_are_one_event() {
        let mut intervals = LossIntervals::default();
        for number in 0..300 {
            let lost = number % 100 < 5;
            intervals.handle_result(Instant::from_millis(number * 10), lost, ms(50));
        }
        assert_eq!(intervals.closed, [100, 100, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_target_stays_within_its_limits(
            reports in prop::collection::vec((0u64..400, prop::collection::vec(any::<(u8, u32)>(), 0..80)), 1..80),
            min in 1u64..2_000,
            start in 1u64..5_000,
            max in 1u64..20_000,
        ) {
            let limits = RateLimits { min: Bitrate::kbps(min), start: Bitrate::kbps(start), max: Bitrate::kbps(max) };
            let mut nada = Nada::new(limits);
            let (mut now, mut number) = (Instant::from_millis(10), 0);
            for (wait, packets) in reports {
                let results: Vec<_> = packets.iter().map(|&(kind, jitter)| {
                    number += 1;
                    let received = (kind % 5 > 0).then(|| Instant::from_nanos(u64::from(jitter) * u64::from(kind)));
                    let ecn = if kind % 7 == 0 { Ecn::Congested } else { Ecn::NotCapable };
                    PacketResult { ecn, ..result(number, now, received) }
                }).collect();
                now += ms(wait);
                nada.handle_feedback(now, &results);
                nada.handle_timeout(now);
                prop_assert_eq!(nada.poll_timeout(), None);
                let target = nada.target();
                prop_assert!((limits.min..=limits.max.max(limits.min)).contains(&target.rate), "{:?}", target);
                prop_assert!(target.pacing >= target.rate);
                prop_assert!(nada.log.observations.len() <= OBSERVATIONS_MAX);
                let lost = nada.log.observations.iter().filter(|seen| seen.lost).count();
                prop_assert_eq!(nada.log.lost as usize, lost);
            }
        }
    }
}
