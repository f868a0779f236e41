//! Starved: no reports though something was sent.

use core::time::Duration;

use proto::time::Instant;

use super::startup::Startup;
use super::{Hybrid, Phase};
use crate::packet::PacketResult;

const LEAST: Duration = Duration::from_millis(500);
/// Only who goes on sending for so long should have heard of it.
const SENT_FOR: Duration = Duration::from_millis(100);
/// Whoever sends nothing for so long begins anew: less than [`LEAST`] by [`SENT_FOR`], so that no deadline is missed.
const PAUSE: Duration = Duration::from_millis(400);
const EVERY: Duration = Duration::from_millis(200);
const KEPT: f64 = 0.7;
/// After such a time the path may be another one.
const LONG: Duration = Duration::from_secs(2);
/// What is gone back to then of the rate before: who waited for reports waits for pictures, too.
const BACK: f64 = 0.5;

/// Whether reports come.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When the first packet left that no report speaks of yet.
    waiting_since: Option<Instant>,
    last_cut: Option<Instant>,
    newest_reported: Option<Instant>,
    last_sent: Option<Instant>,
    /// For how long reports may fail to come.
    patience: Duration,
    /// The rate when they ceased.
    before: f64,
}

impl Silence {
    /// The round trip, with the report's delay, is now known to be this.
    pub(super) fn set_round(&mut self, round: Duration) {
        self.patience = LEAST.max(round * 3);
    }

    pub(super) fn handle_sent(&mut self, now: Instant) {
        let paused = self.last_sent.replace(now).is_some_and(|last| now.since(last) > PAUSE);
        if paused || self.waiting_since.is_none() {
            self.waiting_since = Some(now); // what was lost before a pause says nothing of the path now
        }
    }

    pub(super) fn handle_report(&mut self, now: Instant, results: &[PacketResult]) {
        let newest = results.last().map(|result| result.sent.sent);
        self.newest_reported = self.newest_reported.max(newest);
        let all = self.last_sent <= self.newest_reported;
        self.waiting_since = (!all).then_some(now);
    }
}

impl Hybrid {
    pub(super) fn starves_at(&self) -> Option<Instant> {
        let since = self.silence.waiting_since?;
        if self.phase != Phase::Starved && self.silence.last_sent?.since(since) < SENT_FOR {
            return None; // a last packet that was lost says nothing; the next one counts on
        }
        if self.phase == Phase::Starved {
            let last = self.silence.last_cut.unwrap_or(since);
            let at_floor = self.rate <= self.settings.limits.min.as_bps() as f64;
            return (!at_floor).then_some(last + EVERY);
        }
        Some(since + self.silence.patience)
    }

    pub(super) fn starve(&mut self, now: Instant) {
        if self.starves_at().is_none_or(|at| at > now) {
            return;
        }
        if self.phase != Phase::Starved {
            self.test = None;
            self.delay.set_frozen(false);
            self.silence.before = self.rate;
            self.enter(now, Phase::Starved, "no reports");
        }
        self.silence.last_cut = Some(now);
        self.rate *= KEPT;
    }

    /// Reports have come again.
    pub(super) fn resume(&mut self, now: Instant) {
        let long = now.since(self.since) > LONG;
        if long {
            self.delay.reset();
            self.trains.reset();
            self.ceiling = None;
            self.capacity = None;
            self.most = 0.0;
            self.least_round_trip = f64::INFINITY;
            self.startup = Startup::default();
            self.rate = self.rate.max(BACK * self.silence.before);
        }
        self.losses.clear();
        self.test_after = now + Duration::from_millis(500);
        self.enter(now, if long { Phase::Startup } else { Phase::Cruise }, "reports again");
    }
}
