//! Start-up: doubling each round trip, with padding where the encoder does not follow so fast.

use core::time::Duration;

use proto::time::Instant;
use proto::units::Bitrate;

use super::{Demand, Hybrid, Phase, Report, bps};

/// The rate is at most so many times what is delivered.
const AHEAD: f64 = 2.0;
/// The least round, in seconds: encoders take as long to follow.
const ROUND_MIN: f64 = 0.1;
/// A round that delivers less than that times the one before has not grown (BBR's `FullBwThresh`)...
const GROWTH: f64 = 1.25;
/// ... and so many of them in a row mean that the path is full.
const ROUNDS_FLAT: u32 = 3;

/// Two reports that deliver less than that of what is sent mean a queue that grows.
const LAG: f64 = 0.9;

/// A sender without anything to pad with proves nothing in a longer time either.
const PROOF_TIME: Duration = Duration::from_secs(2);

/// What start-up remembers.
#[derive(Debug, Default)]
pub(super) struct Startup {
    round_ends: Option<Instant>,
    most: f64,
    lagging: u32,
    long: u32,
    flat: u32,
}

impl Startup {
    /// How many reports in a row told of a queue that grows.
    pub(super) fn lags(&self) -> u32 {
        self.lagging
    }
}

impl Hybrid {
    pub(super) fn start_up(&mut self, now: Instant, report: &Report, congested: bool) {
        let lags = report.rates.delivered < LAG * report.rates.sent;
        self.startup.lagging = if lags { self.startup.lagging + 1 } else { 0 };
        let most = self.queue_max_ms();
        let long = report.has_sample && report.queue_ms > most && self.delay.has_settled();
        self.startup.long = if long && lags { self.startup.long + 1 } else { 0 };
        let grows = self.startup.lagging >= 2
            && self.delay.has_settled()
            && self.delay.queue_ms() > self.dial.queue_ms + self.delay.jitter_ms();
        if self.startup.long >= 2 || grows || congested && report.queue_ms > 3.0 * most {
            let recent = self.delivery.over(Duration::from_millis(100)).unwrap_or(report.rates);
            self.capacity = Some(recent.delivered.max(report.rates.delivered));
            return self.start_drain(now, report);
        }
        if self.is_losing() {
            return self.watch_losses(now, report);
        }
        let delivered = report.rates.delivered;
        if delivered <= 0.0 {
            return;
        }
        let round = self.round().as_secs_f64().max(ROUND_MIN);
        let wanted = self.rate * (report.step / round).exp2();
        let ahead = (AHEAD * delivered).max(self.rate);
        self.rate = wanted.min(ahead).min(self.steps.startup_max().max(self.rate));
        if self.rate >= self.settings.limits.max.as_bps() as f64 {
            return self.enter(now, Phase::Cruise, "at the most allowed");
        }
        if self.rate >= self.steps.startup_max() {
            return self.look_for_proof(now, delivered);
        }
        if self.startup.round_ends.is_some_and(|end| now < end) {
            return;
        }
        self.startup.round_ends = Some(now + self.round());
        // Losses alone make less of what is sent arrive; what they mean is for a test to find out.
        let kept = 1.0 - self.losses.since(now - self.span()).share();
        let lags = delivered < LAG * kept * report.rates.sent;
        if delivered >= GROWTH * self.startup.most || report.rates.app_limited || !lags {
            self.startup.most = self.startup.most.max(delivered);
            self.startup.flat = 0;
            return;
        }
        self.startup.flat += 1;
        if self.startup.flat >= ROUNDS_FLAT {
            self.rate = self.rate.min(delivered * 1.1);
            self.enter(now, Phase::Cruise, "delivers no more");
        }
    }

    /// The rate is all that is wanted: it must have been delivered, too.
    fn look_for_proof(&mut self, now: Instant, delivered: f64) {
        let arrived = delivered / (1.0 - self.losses.inherent()).max(0.5);
        if self.steps.is_proven_by(arrived) {
            return self.enter(now, Phase::Cruise, "all that is wanted");
        }
        if now.since(self.since) >= PROOF_TIME + self.round() * 4 {
            self.rate = self.rate.min(arrived.max(self.settings.limits.start.as_bps() as f64));
            self.enter(now, Phase::Cruise, "what is wanted was not reached");
        }
    }

    pub(super) fn startup_padding(&self) -> Bitrate {
        if self.last_report.is_none() {
            return Bitrate::ZERO; // nobody may listen
        }
        match self.steps.demand() {
            Demand::Elastic | Demand::Steps { next: Some(_), .. } => bps(self.rate),
            Demand::Steps { next: None, .. } => Bitrate::ZERO,
        }
    }
}
