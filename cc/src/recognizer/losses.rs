//! Losses: whether they come in runs, and whether a queue precedes them.
//!
//! In: results in the order of their numbers. Out: counts. Limit: constant memory.

use core::time::Duration;

use proto::time::Instant;

use super::window::Counts;

/// Losses are told to be even or not by the intervals that have some: probes beyond a ceiling take 350 ms, and come seconds
/// apart.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);

/// What a loss adds is forgotten by so much with each later loss: about the last 40 count.
const KEEP: f64 = 0.975;
/// So many losses tell.
const TELLS: f64 = 6.0;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Losses {
    last_lost: Option<u64>,
    /// Until when a loss adds no interval with losses.
    counted_until: Option<Instant>,
    /// How many losses are remembered, and what their forerunners' delays exceeded the usual one and the base by.
    weight: f64,
    beyond_level_ms: f64,
    beyond_base_ms: f64,
}

impl Losses {
    /// Takes in a lost packet, whose forerunner's delay exceeded the usual one and the base by so many milliseconds.
    pub(super) fn handle_loss(&mut self, counts: &mut Counts, number: u64, level_ms: f64, base_ms: f64) {
        counts.lost += 1;
        let follows = self.last_lost.is_some_and(|last| number == last.wrapping_add(1));
        counts.paired += i64::from(follows);
        self.last_lost = Some(number);
        self.weight = KEEP * self.weight + 1.0;
        self.beyond_level_ms = KEEP * self.beyond_level_ms + level_ms;
        self.beyond_base_ms = KEEP * self.beyond_base_ms + base_ms;
    }

    /// A report told of losses.
    pub(super) fn handle_lossy_report(&mut self, counts: &mut Counts, now: Instant) {
        if self.counted_until.is_none_or(|until| now >= until) {
            counts.lossy += 1;
            self.counted_until = Some(now + INTERVAL);
        }
    }

    /// How many losses the means are of, at most 40.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// Whether the means are of enough losses to be told.
    pub(super) fn tells(&self) -> bool {
        self.weight >= TELLS
    }

    /// By how much the delay before a loss exceeds the usual one, in milliseconds.
    pub(super) fn rise_ms(&self) -> f64 {
        if self.weight > 0.0 { self.beyond_level_ms / self.weight } else { 0.0 }
    }

    /// By how much the delay before a loss exceeds the base, in milliseconds.
    pub(super) fn depth_ms(&self) -> f64 {
        if self.weight > 0.0 { self.beyond_base_ms / self.weight } else { 0.0 }
    }
}
