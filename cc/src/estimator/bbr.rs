//! `bbr`: `BBRv3` by draft-ietf-ccwg-bbr-06, as a rate controller for media.
//!
//! In: packets as they leave, and their results. Out: a [`Target`] whose window binds as well as its rates. Time:
//! reports drive everything; a timer only notices that they have ceased. Limit: what `sampler` remembers. Chance:
//! how long to wait between probes.
//!
//! The draft's functions are named in the comments of those that do their work; files are its phases. What is
//! different here, and why:
//! - **Rates.** Pacing is the draft's: gain × rate × 0.99. Media may be made as fast as that, but not faster than the
//!   window lets out: window ÷ the time for which reports hold a place in it. So an encoder sees 1.25 × and 0.9 × of
//!   the probing cycle and the hole of `ProbeRTT`; those that follow slowly smooth it and leave probes unfilled, which
//!   the draft calls application-limited and so does this.
//! - **Start.** There is no handshake to learn a round trip from: media begins at [`RateLimits::start`], as does
//!   pacing, and the initial window holds `START_HOLD` of it, at least ten packets (RFC 6928).
//! - **Recovery.** Media repairs elsewhere: here it lasts from a loss to a round without, and a retransmission
//!   timeout is reports missing for long, whereupon media falls to the least rate until they come again.
//! - **Reports** are few: see `sampler` for how rates are measured all the same. What waits for a report takes its
//!   place in the window, so it is part of `TargetInflight`, below which losses do not press the long-term limit.
//!   `BBR.offload_budget` is the send quantum, as for QUIC.
//! - **ECN** marks count as losses: see `loss`.
//!
//! The window is never less than what the least rate needs, so that the limits contradict nobody.

mod bandwidth;
mod loss;
mod probe_bw;
mod probe_rtt;
mod round;
mod sampler;
mod startup;
#[cfg(test)]
mod tests;

use core::time::Duration;

use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use self::bandwidth::{Bunching, BunchingContext, MaxBandwidth};
use self::loss::Signals;
use self::probe_bw::Cycle;
use self::probe_rtt::MinRtt;
use self::round::Rounds;
use self::sampler::{RateSample, Report, Sampler};
use self::startup::FullPipe;
use super::{Estimator, RateLimits, Target};
use crate::packet::{Ecn, PacketResult, SentPacket};

/// A full packet (`C.SMSS`): what media puts into a datagram.
const SMSS: DataSize = DataSize::bytes(1_200);
/// The least window (`BBR.MinPipeCwnd`).
const MIN_WINDOW: DataSize = DataSize::bytes(4 * 1_200);
/// The window to begin with holds this much of the first rate: a round trip of 150 ms and a report's delay of 100.
const START_HOLD: Duration = Duration::from_millis(250);
/// What pacing leaves of the rate (`BBR.PacingMarginPercent`).
const PACING_MARGIN: f64 = 0.99;
/// A quantum lasts so long (`C.send_quantum`), but is no more than [`QUANTUM_MAX`] and no less than two packets.
const QUANTUM: Duration = Duration::from_millis(1);
const QUANTUM_MAX: DataSize = DataSize::bytes(64 * 1_024);
/// Reports that are missing for so long mean that nothing gets through (RFC 6298 §2.4), or as many holds as
/// [`SILENCE_HOLDS`].
const SILENCE: Duration = Duration::from_secs(1);
const SILENCE_HOLDS: u32 = 4;
/// After so many silences, each twice as long, nothing is taken to be in flight any more.
const SILENCES_MAX: u32 = 4;

/// The states of the draft's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt,
}

impl Phase {
    const fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => 2.77,
            Self::Drain => 0.5,
            Self::Down => 0.9,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 1.0,
            Self::Up => 1.25,
        }
    }

    const fn window_gain(self) -> f64 {
        match self {
            Self::Startup | Self::Drain | Self::Down | Self::Cruise | Self::Refill => 2.0,
            Self::Up => 2.25,
            Self::ProbeRtt => probe_rtt::WINDOW_GAIN,
        }
    }

    /// `IsProbingBW`.
    const fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }

    /// `IsInAProbeBWState`.
    const fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }
}

/// Whether reports come.
#[derive(Debug, Default)]
struct Silence {
    since: Instant,
    count: u32,
}

/// See the module's description.
#[derive(Debug)]
pub struct Bbr {
    limits: RateLimits,
    chance: Chance,
    /// The time of the event at hand.
    now: Instant,
    started: bool,
    phase: Phase,
    sampler: Sampler,
    /// The latest sample (`RS`).
    sample: RateSample,
    rounds: Rounds,
    max_bandwidth: MaxBandwidth,
    bunching: Bunching,
    min_rtt: MinRtt,
    full_pipe: FullPipe,
    drain_started: u64,
    cycle: Cycle,
    signals: Signals,
    /// What probes found safe to be in flight (`BBR.inflight_longterm`); `None` is the draft's infinity.
    longterm_inflight: Option<DataSize>,
    /// `BBR.bw`.
    bandwidth: Bitrate,
    pacing: Bitrate,
    window: DataSize,
    /// The last good window (`BBR.prior_cwnd`).
    prior_window: DataSize,
    idle_restart: bool,
    /// How long packets hold a place in the window at most, smoothed.
    hold: Option<Duration>,
    /// How much of that they wait for the report, smoothed.
    reporting: Duration,
    silence: Silence,
}

impl Bbr {
    /// An estimator between these limits; the waits between its probes come from `seed`.
    pub fn new(limits: RateLimits, seed: &Seed) -> Self {
        let limits = RateLimits { max: limits.max.max(limits.min), ..limits };
        Self {
            limits,
            chance: seed.fork("bbr").generator(),
            now: Instant::ZERO,
            started: false,
            phase: Phase::Startup,
            sampler: Sampler::default(),
            sample: RateSample::default(),
            rounds: Rounds::default(),
            max_bandwidth: MaxBandwidth::default(),
            bunching: Bunching::default(),
            min_rtt: MinRtt::default(),
            full_pipe: FullPipe::default(),
            drain_started: 0,
            cycle: Cycle::default(),
            signals: Signals::default(),
            longterm_inflight: None,
            bandwidth: Bitrate::ZERO,
            pacing: limits.start.clamp(limits.min, limits.max),
            window: initial_window(limits),
            prior_window: DataSize::ZERO,
            idle_restart: false,
            hold: None,
            reporting: Duration::ZERO,
            silence: Silence::default(),
        }
    }

    /// `UpdateModelAndState`.
    fn update_model(&mut self) {
        let delivered = self.sampler.delivered();
        self.signals.update(&self.sample, delivered);
        self.rounds.handle_report(self.sample.prior_delivered, delivered);
        self.max_bandwidth.handle_sample(&self.sample);
        self.adapt_lower_bounds();
        let context = BunchingContext {
            bandwidth: self.bandwidth,
            window: self.window,
            round: self.rounds.count,
            filled: self.full_pipe.reached,
        };
        self.bunching.handle_acked(self.now, self.sample.newly_acked, context);
        self.check_full_pipe();
        self.check_startup_and_drain();
        self.update_cycle();
        self.min_rtt.update(self.now, self.sample.rtt);
        self.check_probe_rtt();
        self.signals.advance(&self.sample);
        self.bandwidth = self.bounded_bandwidth();
        let RateSample { hold, rtt, .. } = self.sample;
        self.hold = Some(self.hold.map_or(hold, |smoothed| (smoothed * 7 + hold) / 8));
        self.reporting = (self.reporting * 7 + hold.saturating_sub(rtt)) / 8;
    }

    /// `SetPacingRateWithGain`.
    fn set_pacing(&mut self, gain: f64) {
        let rate = self.bandwidth.scaled(gain * PACING_MARGIN);
        if (self.full_pipe.reached && rate > Bitrate::ZERO) || rate > self.pacing {
            self.pacing = rate;
        }
    }

    /// `SetCwnd`.
    fn set_window(&mut self) {
        let acked = self.sample.newly_acked;
        let phase = self.phase;
        let most = self.bdp(self.bandwidth, phase.window_gain()) + self.bunching.extra();
        let most = self.with_quanta(most);
        if self.full_pipe.reached {
            self.window = (self.window + acked).min(most);
        } else if self.window < most || self.sampler.delivered() < initial_window(self.limits) {
            self.window += acked;
        }
        self.window = self.window.max(MIN_WINDOW);
        if phase == Phase::ProbeRtt {
            let least = self.bdp(self.bandwidth, probe_rtt::WINDOW_GAIN).max(MIN_WINDOW);
            self.window = self.window.min(least);
        }
        self.bound_window();
    }

    /// `BoundCwndForModel`.
    fn bound_window(&mut self) {
        let longterm = match self.phase {
            Phase::Down | Phase::Refill | Phase::Up => self.longterm_inflight,
            Phase::Cruise | Phase::ProbeRtt => self.inflight_with_headroom(),
            Phase::Startup | Phase::Drain => None,
        };
        for limit in [longterm, self.signals.shortterm_inflight].into_iter().flatten() {
            self.window = self.window.min(limit.max(MIN_WINDOW));
        }
    }

    /// `SaveCwnd`.
    fn save_window(&mut self) {
        let good = !self.signals.recovering && self.phase != Phase::ProbeRtt;
        self.prior_window = if good { self.window } else { self.prior_window.max(self.window) };
    }

    /// `RestoreCwnd`.
    fn restore_window(&mut self) {
        self.window = self.window.max(self.prior_window);
    }

    /// `BDPMultiple`: rate times delay, so many times.
    fn bdp(&self, rate: Bitrate, gain: f64) -> DataSize {
        self.min_rtt.value.map_or_else(|| initial_window(self.limits), |rtt| (rate * rtt).scaled(gain))
    }

    /// `Inflight`: the same with room for what leaves at once.
    fn inflight(&self, rate: Bitrate, gain: f64) -> DataSize {
        self.with_quanta(self.bdp(rate, gain))
    }

    /// `QuantizationBudget`.
    fn with_quanta(&self, inflight: DataSize) -> DataSize {
        let probe = if self.phase == Phase::Up { SMSS * 2 } else { DataSize::ZERO };
        inflight.max(self.quantum()).max(MIN_WINDOW) + probe
    }

    /// `SetSendQuantum`.
    fn quantum(&self) -> DataSize {
        (self.pacing * QUANTUM).clamp(SMSS * 2, QUANTUM_MAX)
    }

    /// `HandleRestartFromIdle`.
    fn restart_from_idle(&mut self, now: Instant) {
        self.idle_restart = true;
        self.bunching.restart(now);
        if self.phase.is_probe_bw() {
            self.set_pacing(1.0);
        } else if self.phase == Phase::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }

    /// When missing reports mean that nothing gets through.
    fn silence_ends(&self) -> Instant {
        let wait = self.hold.map_or(SILENCE, |hold| SILENCE.max(hold * SILENCE_HOLDS));
        self.silence.since + wait * (1 << self.silence.count)
    }
}

impl Estimator for Bbr {
    fn handle_sent(&mut self, now: Instant, packet: &SentPacket) {
        self.now = now;
        if !self.started {
            self.started = true;
            self.min_rtt.start(now);
            self.bunching.restart(now);
        }
        if packet.in_flight == DataSize::ZERO {
            self.silence.since = now;
            if packet.app_limited || self.sampler.is_app_limited() {
                self.restart_from_idle(now);
            }
        }
        self.sampler.handle_sent(packet);
        if self.sampler.in_flight() + SMSS > self.window {
            self.rounds.note_full_window();
        }
    }

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        if results.is_empty() {
            return;
        }
        self.now = now;
        self.silence = Silence { since: now, count: 0 };
        let mut report = Report::default();
        for result in results.iter().filter(|result| result.received.is_some()) {
            let Ok(late) = self.sampler.handle_received(now, result, &mut report) else { continue };
            if let Some(episode) = late {
                self.handle_late(episode);
            }
        }
        for result in results {
            if result.received.is_none() {
                self.handle_lost(result.sent.number);
            } else if result.ecn == Ecn::Congested {
                self.handle_marked(result.sent.number);
            }
        }
        self.sample = self.sampler.finish(now, &report);
        if self.sample.has_data {
            self.update_model();
            self.set_pacing(self.phase.pacing_gain());
        }
        self.set_window();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        self.save_state();
        self.signals.recovering = true;
        self.window = self.sampler.in_flight() + SMSS;
        self.silence = Silence { since: now, count: (self.silence.count + 1).min(SILENCES_MAX) };
        if self.silence.count >= SILENCES_MAX {
            self.sampler.give_up();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.sampler.in_flight() > DataSize::ZERO).then(|| self.silence_ends())
    }

    fn target(&self) -> Target {
        let RateLimits { min, max, .. } = self.limits;
        let passing = self.hold.and_then(|hold| Bitrate::of(self.window, hold)).unwrap_or(Bitrate::MAX);
        let rate = if self.silence.count > 0 { min } else { self.pacing.min(passing).clamp(min, max) };
        let pacing = self.pacing.clamp(rate, max.scaled(Phase::Startup.pacing_gain()).max(rate));
        Target {
            rate,
            pacing,
            burst: self.quantum() / pacing,
            window: Some(self.window.max(min * self.hold.unwrap_or(START_HOLD))),
            padding: Bitrate::ZERO,
        }
    }

    fn state(&self) -> &'static str {
        match self.phase {
            Phase::Startup => "startup",
            Phase::Drain => "drain",
            Phase::Down => "down",
            Phase::Cruise => "cruise",
            Phase::Refill => "refill",
            Phase::Up => "up",
            Phase::ProbeRtt => "probe-rtt",
        }
    }
}

/// What may be in flight before anything is known (`C.InitialCwnd`).
fn initial_window(limits: RateLimits) -> DataSize {
    (limits.start * START_HOLD).max(SMSS * 10)
}
