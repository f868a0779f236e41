//! `ProbeBW` (draft §5.3.3): cruise at the rate of the path, and now and then try whether it carries more.
//!
//! In: rate samples, rounds, losses. Out: the phases DOWN, CRUISE, REFILL and UP, and the long-term limit of what may
//! be in flight, which too many losses in a probe lower and a probe without them raises.

use core::time::Duration;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::loss::{BETA, is_too_high};
use super::{Bbr, MIN_WINDOW, Phase, SMSS};

/// What CRUISE leaves free of the long-term limit for others (`BBR.Headroom`).
const HEADROOM: f64 = 0.15;
/// A probe comes at latest after so long, and a random second more ("Time Scale for Bandwidth Probing").
const WAIT: Duration = Duration::from_secs(2);
/// Or after so many rounds, one fewer at random: as often as Reno would lose a packet.
const RENO_ROUNDS: u64 = 63;
/// UP doubles its growth so many times at most.
const UP_ROUNDS_MAX: u32 = 30;

/// What the reports of now tell, with regard to probing (`BBR.ack_phase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Acks {
    /// Nothing of a probe.
    #[default]
    Init,
    /// The pipe is being filled.
    Refilling,
    /// A probe has begun; reports tell of the time before.
    Starting,
    /// Reports tell of the probe.
    Feedback,
    /// The probe is over; reports still tell of it.
    Stopping,
}

/// The state of the cycle ("`ProbeBW` State").
#[derive(Debug, Default)]
pub(super) struct Cycle {
    acks: Acks,
    since: Instant,
    wait: Duration,
    up_rounds: u32,
    up_acked: DataSize,
    /// What must be reported before the limit grows by a packet; `None` while it is not to grow.
    acked_per_packet: Option<DataSize>,
    /// Whether reports tell of a probe that has had no verdict yet (`BBR.is_bw_probe_sample`).
    pub(super) probe_sample: bool,
    /// Whether the last probe went too high (`BBR.prev_probe_too_high`).
    too_high: bool,
    /// Whether the last probe stopped early for that reason (`BBR.prev_probe_precautionary`).
    precautionary: bool,
}

impl Cycle {
    /// Reports from now on do not tell of a new probe: another phase took over.
    pub(super) const fn stop(&mut self) {
        self.acks = Acks::Stopping;
    }
}

impl Bbr {
    /// `UpdateProbeBWCyclePhase`.
    pub(super) fn update_cycle(&mut self) {
        if !self.full_pipe.reached || self.adapt_long_term_model() {
            return;
        }
        match self.phase {
            Phase::Down => {
                if self.is_time_to_probe() {
                    self.start_refill();
                } else if self.is_time_to_cruise() {
                    self.start_cruise();
                }
            }
            Phase::Cruise => {
                if self.is_time_to_probe() {
                    self.start_refill();
                }
            }
            Phase::Refill => {
                if self.rounds.started {
                    self.cycle.probe_sample = true;
                    self.start_up();
                }
            }
            Phase::Up => {
                if self.is_time_to_go_down() {
                    self.cycle.too_high = false;
                    self.start_down(self.now);
                }
            }
            Phase::Startup | Phase::Drain | Phase::ProbeRtt => {}
        }
    }

    /// `StartProbeBW_DOWN`, with `PickProbeWait`.
    pub(super) fn start_down(&mut self, now: Instant) {
        self.signals.reset();
        let chance = self.chance.long_number();
        self.rounds.since_probe = chance & 1;
        self.cycle.wait = WAIT + Duration::from_nanos((chance >> 1) % 1_000_000_000);
        self.cycle.acked_per_packet = None;
        self.cycle.since = now;
        self.cycle.acks = Acks::Stopping;
        self.rounds.begin(self.sampler.delivered());
        self.phase = Phase::Down;
    }

    /// `StartProbeBW_CRUISE`.
    pub(super) const fn start_cruise(&mut self) {
        self.phase = Phase::Cruise;
    }

    /// `StartProbeBW_REFILL`.
    pub(super) fn start_refill(&mut self) {
        self.signals.reset_shortterm();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = DataSize::ZERO;
        self.cycle.precautionary = false;
        self.cycle.acks = Acks::Refilling;
        self.rounds.begin(self.sampler.delivered());
        self.phase = Phase::Refill;
    }

    /// `StartProbeBW_UP`.
    fn start_up(&mut self) {
        self.cycle.acks = Acks::Starting;
        self.rounds.begin(self.sampler.delivered());
        self.full_pipe.reset(self.sample.delivery_rate);
        self.phase = Phase::Up;
        self.raise_slope();
    }

    /// `HandleInflightTooHigh`: losses judge the probe. `inflight` is where they crossed the threshold.
    pub(super) fn handle_inflight_too_high(&mut self, inflight: DataSize, app_limited: bool) {
        self.cycle.too_high = true;
        self.cycle.probe_sample = false;
        if !app_limited {
            self.longterm_inflight = Some(inflight.max(self.target_inflight().scaled(BETA)));
        }
        if self.phase == Phase::Up {
            self.signals.set_undo_phase(Phase::Up);
            self.start_down(self.now);
        }
    }

    /// `AdaptLongTermModel`; whether it decided what comes next.
    fn adapt_long_term_model(&mut self) -> bool {
        if self.rounds.started && self.cycle.acks == Acks::Starting {
            self.cycle.acks = Acks::Feedback;
        }
        if self.rounds.started && self.cycle.acks == Acks::Stopping {
            self.cycle.probe_sample = false;
            self.cycle.acks = Acks::Init;
            if self.phase.is_probe_bw() {
                if !self.sample.app_limited {
                    self.max_bandwidth.advance();
                }
                if self.cycle.precautionary && !self.cycle.too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        if is_too_high(self.sample.lost, self.sample.tx_in_flight) {
            return false;
        }
        if let Some(limit) = self.longterm_inflight {
            self.longterm_inflight = Some(limit.max(self.sample.tx_in_flight));
            if self.phase == Phase::Up {
                self.probe_upward();
            }
        }
        false
    }

    /// `ProbeInflightLongtermUpward`: the limit grows by 1, 2, 4, … packets a round while the window is used up to it.
    fn probe_upward(&mut self) {
        let (Some(limit), Some(per_packet)) = (self.longterm_inflight, self.cycle.acked_per_packet) else {
            return;
        };
        if !self.rounds.is_window_limited() || self.window < limit {
            return;
        }
        self.cycle.up_acked += self.sample.newly_acked;
        let packets = self.cycle.up_acked.as_bytes() / per_packet.as_bytes();
        self.cycle.up_acked -= per_packet * packets;
        self.longterm_inflight = Some(limit + SMSS * packets);
        if self.rounds.started {
            self.raise_slope();
        }
    }

    /// `RaiseInflightLongtermSlope`.
    fn raise_slope(&mut self) {
        let growth = 1 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(UP_ROUNDS_MAX);
        self.cycle.acked_per_packet = Some((self.window / growth).max(SMSS));
    }

    /// `IsTimeToProbeBW`.
    fn is_time_to_probe(&self) -> bool {
        let packets = self.target_inflight().as_bytes().div_ceil(SMSS.as_bytes());
        self.now > self.cycle.since + self.cycle.wait
            || self.rounds.since_probe >= packets.clamp(1, RENO_ROUNDS)
    }

    /// `IsTimeToCruise`: the queue is drained, and the headroom is free.
    fn is_time_to_cruise(&self) -> bool {
        let in_flight = self.sampler.in_flight();
        self.inflight_with_headroom().is_none_or(|limit| in_flight <= limit)
            && in_flight <= self.inflight(self.max_bandwidth.rate(), 1.0)
    }

    /// `IsTimeToGoDown`.
    fn is_time_to_go_down(&mut self) -> bool {
        let limit = self.longterm_inflight;
        if self.cycle.too_high && limit.is_some_and(|limit| self.sampler.in_flight() >= limit) {
            self.cycle.precautionary = true;
            return true;
        }
        if self.rounds.is_window_limited() && limit.is_some_and(|limit| self.window >= limit) {
            self.full_pipe.reset(self.sample.delivery_rate);
            return false;
        }
        self.full_pipe.now
    }

    /// `InflightWithHeadroom`; `None` if there is no limit.
    pub(super) fn inflight_with_headroom(&self) -> Option<DataSize> {
        let limit = self.longterm_inflight?;
        Some((limit - limit.scaled(HEADROOM).max(SMSS)).max(MIN_WINDOW))
    }

    /// `TargetInflight`: the product of rate and delay, unless congestion cut the window. What has arrived and waits
    /// for the next report counts as in flight too, so its share is added; at 50 ms it is as much as the delay's.
    fn target_inflight(&self) -> DataSize {
        (self.bdp(self.bandwidth, 1.0) + self.bandwidth * self.reporting).min(self.window)
    }

    /// The rate of the path as losses let it be used (`BoundBWForModel`).
    pub(super) fn bounded_bandwidth(&self) -> Bitrate {
        let rate = self.max_bandwidth.rate();
        self.signals.shortterm_bandwidth.map_or(rate, |limit| rate.min(limit))
    }
}
