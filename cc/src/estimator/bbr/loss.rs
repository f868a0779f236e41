//! What losses say (draft §5.5.10, "Updating the Model Upon Packet Loss", and §5.5.11 on undoing it).
//!
//! In: packets reported lost or marked, and rate samples. Out: the short-term model, which losses outside of probes
//! lower round by round, and the verdict on a probe. A mark of congestion counts as the loss of its packet: the draft
//! demands that it is answered ("ECN") and leaves open how.

use proto::units::{Bitrate, DataSize};

use super::sampler::{Flight, RateSample};
use super::{Bbr, Phase, SMSS};

/// The loss of a round trip that a probe may bring about (`BBR.LossThresh`).
pub(super) const LOSS_THRESHOLD: f64 = 0.02;
/// What a round with losses leaves at least (`BBR.Beta`).
pub(super) const BETA: f64 = 0.7;

/// What the latest report was to the round of losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RoundEnd {
    /// Within it.
    #[default]
    NotYet,
    /// Its end, without losses.
    Clean,
    /// Its end, with losses.
    Lossy,
}

/// The state for answering to congestion; `None` is the draft's infinity.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Whether something was lost in this round of losses.
    in_round: bool,
    round_delivered: DataSize,
    pub(super) round_end: RoundEnd,
    /// How many separate runs of packets were lost in this round.
    pub(super) ranges: u32,
    last_lost: Option<u64>,
    latest_bandwidth: Bitrate,
    /// The most that was delivered within a sample of this round (`BBR.inflight_latest`).
    pub(super) latest_inflight: DataSize,
    /// The rate that late losses allow (`BBR.bw_shortterm`).
    pub(super) shortterm_bandwidth: Option<Bitrate>,
    /// What late losses allow to be in flight (`BBR.inflight_shortterm`).
    pub(super) shortterm_inflight: Option<DataSize>,
    /// Whether losses are being recovered from: from the first until a round without.
    pub(super) recovering: bool,
    episode: u32,
    /// How many of this episode's losses have not turned up late.
    episode_lost: u32,
    undo: Undo,
}

/// What an episode of losses found, in case that none of them was one ("Undo State").
#[derive(Debug, Default)]
struct Undo {
    phase: Option<Phase>,
    shortterm_bandwidth: Option<Bitrate>,
    shortterm_inflight: Option<DataSize>,
    longterm_inflight: Option<DataSize>,
}

impl Signals {
    /// Begins a new account of a round (`ResetCongestionSignals`).
    pub(super) const fn reset(&mut self) {
        self.in_round = false;
        self.latest_bandwidth = Bitrate::ZERO;
        self.latest_inflight = DataSize::ZERO;
    }

    /// Forgets the short-term model (`ResetShortTermModel`).
    pub(super) const fn reset_shortterm(&mut self) {
        self.shortterm_bandwidth = None;
        self.shortterm_inflight = None;
    }

    /// The phase to come back to if the losses were none.
    pub(super) const fn set_undo_phase(&mut self, phase: Phase) {
        self.undo.phase = Some(phase);
    }

    /// Near the start of a report (`UpdateLatestDeliverySignals`).
    pub(super) fn update(&mut self, sample: &RateSample, delivered: DataSize) {
        self.latest_bandwidth = self.latest_bandwidth.max(sample.delivery_rate);
        self.latest_inflight = self.latest_inflight.max(sample.delivered);
        self.round_end = match (sample.prior_delivered >= self.round_delivered, self.in_round) {
            (false, _) => RoundEnd::NotYet,
            (true, false) => RoundEnd::Clean,
            (true, true) => RoundEnd::Lossy,
        };
        if self.round_end != RoundEnd::NotYet {
            self.round_delivered = delivered;
        }
    }

    /// Near the end of a report (`AdvanceLatestDeliverySignals`).
    pub(super) fn advance(&mut self, sample: &RateSample) {
        if self.round_end != RoundEnd::NotYet {
            self.latest_bandwidth = sample.delivery_rate;
            self.latest_inflight = sample.delivered;
            self.ranges = 0;
            self.last_lost = None;
        }
    }

    fn count(&mut self, number: u64) {
        self.episode_lost = self.episode_lost.saturating_add(1);
        if self.last_lost.is_none_or(|last| last.checked_add(1) != Some(number)) {
            self.ranges = self.ranges.saturating_add(1);
        }
        self.last_lost = Some(number);
    }
}

impl Bbr {
    /// A packet was reported lost.
    pub(super) fn handle_lost(&mut self, number: u64) {
        // The episode that this loss would begin, if it is the first of its round.
        let episode = self.signals.episode.wrapping_add(u32::from(!self.signals.in_round));
        if let Some(flight) = self.sampler.handle_lost(number, episode) {
            self.note_loss(number, &flight);
        }
    }

    /// A packet was reported as received and marked.
    pub(super) fn handle_marked(&mut self, number: u64) {
        if let Some(flight) = self.sampler.handle_marked(number) {
            self.note_loss(number, &flight);
        }
    }

    /// `HandleLostPacket`: judges the probe that the packet belonged to, if it did.
    fn note_loss(&mut self, number: u64, flight: &Flight) {
        if !self.signals.in_round {
            self.signals.round_delivered = self.sampler.delivered();
            self.save_state();
        }
        self.signals.in_round = true;
        self.signals.recovering = true;
        self.signals.count(number);
        if !self.cycle.probe_sample {
            return;
        }
        let lost = self.sampler.lost_since(flight);
        if is_too_high(lost, flight.outstanding) {
            self.handle_inflight_too_high(inflight_at_loss(flight, lost), flight.app_limited);
        }
    }

    /// A packet that was taken for lost has arrived.
    pub(super) fn handle_late(&mut self, episode: u32) {
        if episode != self.signals.episode || self.signals.episode_lost == 0 {
            return;
        }
        self.signals.episode_lost -= 1;
        if self.signals.episode_lost == 0 {
            self.undo();
        }
    }

    /// `SaveStateUponLoss`.
    pub(super) fn save_state(&mut self) {
        self.save_window();
        let signals = &mut self.signals;
        signals.episode = signals.episode.wrapping_add(1);
        signals.episode_lost = 0;
        signals.undo = Undo {
            phase: None,
            shortterm_bandwidth: signals.shortterm_bandwidth,
            shortterm_inflight: signals.shortterm_inflight,
            longterm_inflight: self.longterm_inflight,
        };
    }

    /// `HandleSpuriousLossDetection`: nothing of this episode was lost after all.
    pub(super) fn undo(&mut self) {
        let undo = core::mem::take(&mut self.signals.undo);
        self.restore_window();
        self.signals.in_round = false;
        self.signals.recovering = false;
        self.full_pipe.reset(Bitrate::ZERO);
        let signals = &mut self.signals;
        signals.shortterm_bandwidth = higher(signals.shortterm_bandwidth, undo.shortterm_bandwidth);
        signals.shortterm_inflight = higher(signals.shortterm_inflight, undo.shortterm_inflight);
        self.longterm_inflight = higher(self.longterm_inflight, undo.longterm_inflight);
        match undo.phase {
            Some(Phase::Startup) if self.phase != Phase::Startup => {
                self.full_pipe.reached = false;
                if self.phase != Phase::ProbeRtt {
                    self.phase = Phase::Startup;
                }
            }
            Some(Phase::Up) if self.phase != Phase::Up && self.phase != Phase::ProbeRtt => {
                self.start_refill();
            }
            Some(_) | None => {}
        }
    }

    /// Once a round, outside of probes, the model comes down to what was delivered
    /// (`AdaptLowerBoundsFromCongestion`); a round without losses ends the recovery.
    pub(super) fn adapt_lower_bounds(&mut self) {
        match self.signals.round_end {
            RoundEnd::NotYet => return,
            RoundEnd::Clean => {
                if core::mem::take(&mut self.signals.recovering) {
                    self.restore_window();
                }
                return;
            }
            RoundEnd::Lossy => self.signals.in_round = false,
        }
        if self.phase.is_probing() {
            return;
        }
        let (rate, inflight) = (self.max_bandwidth.rate(), self.window);
        let signals = &mut self.signals;
        let rate = signals.shortterm_bandwidth.unwrap_or(rate).scaled(BETA);
        let inflight = signals.shortterm_inflight.unwrap_or(inflight).scaled(BETA);
        signals.shortterm_bandwidth = Some(rate.max(signals.latest_bandwidth));
        signals.shortterm_inflight = Some(inflight.max(signals.latest_inflight));
    }
}

/// Whether losses say that too much was in flight (`IsInflightTooHigh`).
pub(super) fn is_too_high(lost: DataSize, tx_in_flight: DataSize) -> bool {
    lost > tx_in_flight.scaled(LOSS_THRESHOLD)
}

/// How much in flight brought the losses up to the threshold (`InflightAtLoss`).
fn inflight_at_loss(flight: &Flight, lost: DataSize) -> DataSize {
    let before = flight.outstanding - flight.size;
    let lost_before = lost - flight.size;
    let prefix = (before.scaled(LOSS_THRESHOLD) - lost_before).scaled(1.0 / (1.0 - LOSS_THRESHOLD));
    (before + prefix).max(SMSS)
}

/// The greater of two limits, of which `None` is none.
fn higher<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    Some(one?.max(other?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_crossed_within_the_packet_that_brings_losses_to_two_percent() {
        for (name, outstanding, lost, crossing) in [
            ("one of a hundred", 100, 1, None),
            ("two of a hundred", 100, 2, None),
            ("three of a hundred", 100, 3, Some(99)),
            ("one of twenty", 20, 1, Some(19)),
            ("the only one", 1, 1, Some(1)),
        ] {
            let outstanding = SMSS * outstanding;
            let mut flight = Flight::NEVER;
            (flight.size, flight.outstanding) = (SMSS, outstanding);
            let packets = inflight_at_loss(&flight, SMSS * lost).as_bytes() / SMSS.as_bytes();
            let judged = is_too_high(SMSS * lost, outstanding).then_some(packets);
            assert_eq!(judged, crossing, "{name}");
        }
    }

    #[test]
    fn no_limit_is_higher_than_any() {
        for (one, other, highest) in
            [(Some(1), Some(2), Some(2)), (None, Some(2), None), (Some(1), None, None), (None, None, None)]
        {
            assert_eq!(higher::<u8>(one, other), highest);
        }
    }
}
