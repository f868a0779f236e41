//! The decision: what the rate and the phase allow, settled once for all packets until something changes.
//!
//! In: the controller's state. Out: the [`Target`], and how long reports may fail to come. Both are asked for each
//! packet, and change only with reports, timeouts and wishes. Limit: constant memory.

use core::time::Duration;

use proto::units::{Bitrate, DataSize};

use super::ceiling::Ceiling;
use super::loss_test::LossTest;
use super::{Hybrid, Phase, bps, cruise, seconds};
use crate::estimator::{RateLimits, Target};

/// What the target leaves of the rate: encoders vary by 5 % from picture to picture.
const MARGIN: f64 = 0.995;
/// The pace where the path is known to carry hardly more than is sent.
const NEAR: f64 = 1.04;
/// Beyond the base round trip and the scene's queue, so much time's worth may be in flight: reports come late, and a
/// cellular link that stands still must not be filled for ever.
const WINDOW_EXTRA: Duration = Duration::from_millis(200);

/// Nothing is allowed before anything is settled.
pub(super) const NONE: Target = Target {
    rate: Bitrate::ZERO,
    pacing: Bitrate::ZERO,
    burst: Duration::ZERO,
    window: None,
    padding: Bitrate::ZERO,
};

impl Hybrid {
    /// Works out anew what is asked for each packet.
    pub(super) fn settle(&mut self) {
        self.silence.set_round(self.round());
        self.decision = self.decide_target();
    }

    /// How fast packets may leave, as of now and not of the last decision.
    pub(super) fn pacing(&self) -> Bitrate {
        bps(self.paced())
    }

    fn paced(&self) -> f64 {
        let (rate, pace) = (self.bounded(), self.pace());
        // A key frame is no reason for a queue where the path is known to carry hardly more.
        let known = self.capacity.filter(|_| self.steps.is_limited()).unwrap_or(f64::INFINITY);
        (rate * pace).min((known * NEAR).max(rate * NEAR))
    }

    fn decide_target(&self) -> Target {
        let min = self.settings.limits.min;
        let rate = self.bounded();
        let pace = self.paced();
        let flight = self.least_round_trip.clamp(0.0, 1.0) + self.dial.queue_ms / 1e3;
        let time = WINDOW_EXTRA + seconds(flight) + self.rivals_queue();
        let window = bps(pace) * time;
        let padding = match self.phase {
            Phase::Startup => self.startup_padding(),
            Phase::Climb => self.climb_padding(),
            Phase::Cruise
            | Phase::Drain
            | Phase::LossTest
            | Phase::Probe
            | Phase::Compete
            | Phase::Starved => Bitrate::ZERO,
        };
        let granted = if self.steps.is_limited() { self.granted() } else { rate };
        Target {
            rate: bps(granted * MARGIN).max(min),
            pacing: bps(pace),
            burst: Duration::ZERO,
            window: Some(window.max(DataSize::bytes(4 * 1_200))),
            padding,
        }
    }

    /// What is allowed within the limits: whatever feedback says, the pace never falls to nothing.
    fn bounded(&self) -> f64 {
        self.within(self.allowed())
    }

    fn within(&self, rate: f64) -> f64 {
        let RateLimits { min, max, .. } = self.settings.limits;
        rate.min(max.as_bps() as f64).max(min.as_bps() as f64)
    }

    /// What a sender that chooses from steps may count on: neither what is only being tried, nor less for the moment that
    /// draining a queue takes.
    fn granted(&self) -> f64 {
        let start = self.settings.limits.start.as_bps() as f64;
        self.within(match self.phase {
            // Without padding only what is granted can show what is carried.
            Phase::Startup if self.startup_padding() == Bitrate::ZERO => self.rate,
            Phase::Startup => self.rate.min(self.most.max(start)),
            Phase::Climb => self.rate.min(self.steps.proven()),
            Phase::Drain => self.rate.max(self.drain.expected()),
            Phase::Cruise => self.rate,
            Phase::LossTest | Phase::Probe | Phase::Compete | Phase::Starved => self.allowed(),
        })
    }

    /// The rate less what the queue asks for at once: the part of the law that damps it.
    fn allowed(&self) -> f64 {
        match self.phase {
            Phase::Cruise => {
                let checked = if self.cruise.is_checking() { cruise::CHECK } else { 1.0 };
                self.rate * checked * (1.0 - (self.excess_ms() / 250.0).min(0.25))
            }
            Phase::LossTest => self.test.as_ref().map_or(self.rate, LossTest::rate).min(self.rate),
            Phase::Probe => self.ceiling.as_ref().map_or(self.rate, Ceiling::probe_rate),
            Phase::Startup | Phase::Drain | Phase::Climb | Phase::Compete | Phase::Starved => self.rate,
        }
    }

    fn pace(&self) -> f64 {
        match self.phase {
            Phase::LossTest | Phase::Probe | Phase::Climb => NEAR,
            Phase::Cruise | Phase::Drain if self.ceiling.is_some() => NEAR,
            Phase::Startup | Phase::Cruise | Phase::Drain | Phase::Compete | Phase::Starved => self.dial.pace,
        }
    }
}
