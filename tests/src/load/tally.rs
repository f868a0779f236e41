//! What arrived of one stream, against what its publisher sent: losses, copies, order, delays.
//!
//! In: each packet's number and delay. Out: a [`Counts`] for the time since the last one. Limit: `WINDOW` packets are told
//! apart; a packet that comes later than that is a copy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Numbers that are remembered as seen, a power of two: four seconds at 2.5 Mbit/s.
const WINDOW: u64 = 1_024;

/// What was counted in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Packets that came, each once.
    pub received: u64,
    /// Packets that did not come and that are followed by some that did.
    pub lost: u64,
    /// Copies.
    pub duplicates: u64,
    /// Packets that came after one with a greater number.
    pub reordered: u64,
}

impl Counts {
    /// All of `other` as well.
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Tally {
    highest: Option<u64>,
    /// The highest at the last [`Tally::take`].
    base: u64,
    seen: Box<[bool; WINDOW as usize]>,
    counts: Counts,
}

impl Tally {
    /// Nothing has come.
    pub(super) fn new() -> Self {
        Self { highest: None, base: 0, seen: Box::new([false; WINDOW as usize]), counts: Counts::default() }
    }

    /// A packet with this number came. Tells whether for the first time.
    pub(super) fn note(&mut self, number: u64) -> bool {
        let Some(highest) = self.highest else {
            (self.highest, self.base) = (Some(number), number.saturating_sub(1));
            return self.first(number);
        };
        if number > highest {
            for skipped in (highest + 1..number).rev().take(WINDOW as usize) {
                self.seen[(skipped % WINDOW) as usize] = false;
            }
            self.highest = Some(number);
            return self.first(number);
        }
        if highest - number >= WINDOW || self.seen[(number % WINDOW) as usize] {
            self.counts.duplicates += 1;
            return false;
        }
        self.counts.reordered += 1;
        self.first(number)
    }

    /// What was counted since the last call.
    pub(super) fn take(&mut self) -> Counts {
        let highest = self.highest.unwrap_or(self.base);
        let lost = (highest - self.base).saturating_sub(self.counts.received);
        self.base = highest;
        Counts { lost, ..std::mem::take(&mut self.counts) }
    }

    fn first(&mut self, number: u64) -> bool {
        self.seen[(number % WINDOW) as usize] = true;
        self.counts.received += 1;
        true
    }
}

/// Delays, in microseconds: how many packets had each.
#[derive(Debug, Clone, Default)]
pub(super) struct Delays {
    fine: Vec<u32>,
    coarse: BTreeMap<u64, u32>,
}

/// Delays below are counted by the microsecond, others by the millisecond.
const FINE: u64 = 20_000;

impl Delays {
    /// Another one.
    pub(super) fn note(&mut self, micros: u64) {
        if micros < FINE {
            if self.fine.is_empty() {
                self.fine = vec![0; FINE as usize];
            }
            self.fine[micros as usize] += 1;
        } else {
            *self.coarse.entry(micros / 1_000 * 1_000).or_default() += 1;
        }
    }

    /// How many packets had delays up to each bound, in milliseconds; bounds grow by a quarter of their octave.
    pub(super) fn histogram(&self) -> Vec<(f64, u64)> {
        let mut buckets: BTreeMap<i32, u64> = BTreeMap::new();
        for (micros, count) in self.all().filter(|(_, count)| *count > 0) {
            *buckets.entry(((micros.max(1) as f64).log2() * 4.0).ceil() as i32).or_default() += count;
        }
        buckets.into_iter().map(|(quarter, count)| ((f64::from(quarter) / 4.0).exp2() / 1e3, count)).collect()
    }

    /// The delay that the share `q` of packets did not exceed, in milliseconds; 0 if there are none.
    pub(super) fn quantile_ms(&self, q: f64) -> f64 {
        let total: u64 = self.all().map(|(_, count)| count).sum();
        let mut left = (total as f64 * q).ceil().max(1.0) as u64;
        for (micros, count) in self.all() {
            if count >= left {
                return micros as f64 / 1e3;
            }
            left -= count;
        }
        0.0
    }

    /// Microseconds and how many packets took so many, the least first.
    fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        let fine = (0..).zip(&self.fine).map(|(micros, count)| (micros, u64::from(*count)));
        fine.chain(self.coarse.iter().map(|(micros, count)| (*micros, u64::from(*count))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_copies_and_order_are_told_apart() {
        for (claim, numbers, (received, lost, duplicates, reordered)) in [
            ("all in order", &[5, 6, 7][..], (3, 0, 0, 0)),
            ("one lost", &[5, 7], (2, 1, 0, 0)),
            ("one late", &[5, 7, 6], (3, 0, 0, 1)),
            ("one twice", &[5, 6, 6, 7], (3, 0, 1, 0)),
            ("a late one twice", &[5, 7, 6, 6], (3, 0, 1, 1)),
            ("older than can be told", &[5, 5_000, 6], (2, 4_994, 1, 0)),
            ("a place of the window used again", &[5, 1_030, 1_029], (3, 1_023, 0, 1)),
            ("nothing", &[], (0, 0, 0, 0)),
        ] {
            let mut tally = Tally::new();
            for number in numbers {
                tally.note(*number);
            }
            let expected = Counts { received, lost, duplicates, reordered };
            assert_eq!(tally.take(), expected, "{claim}");
            assert_eq!(tally.take(), Counts::default(), "{claim}: again");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let mut delays = Delays::default();
        assert!(delays.quantile_ms(0.5).abs() < 1e-12);
        for micros in 1..=100 {
            delays.note(micros * 1_000);
        }
        let histogram = delays.histogram();
        assert_eq!(histogram.iter().map(|(_, count)| count).sum::<u64>(), 100);
        for (bound, below) in [(1.024, 1), (16.384, 3), (19.484, 3)] {
            let found = histogram.iter().find(|(at, _)| (at - bound).abs() < 1e-3);
            assert_eq!(found.map(|(_, count)| *count), Some(below), "up to {bound} ms: {histogram:?}");
        }
        for (q, expected) in [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((delays.quantile_ms(q) - expected).abs() < 1e-9, "{q}");
        }
    }
}
