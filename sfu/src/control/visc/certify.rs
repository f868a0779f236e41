//! Certifying: a tighter bound on what a better plan could be worth, where there is time for it.
//!
//! In: an [`Instance`], the prices that its plan was found at, the plan's worth. Out: a bound. Pure but for its buffers. Limit:
//! rounds as the caller says.
//!
//! Prices alone let a path carry parts of pictures. Here every path carries whole ones: what a subscriber gets and what it
//! is sent are chosen apart, each exactly, by a knapsack and by enumeration, and a toll on each tier of each pair is moved until both choose
//! the same (Lagrangian decomposition). Whatever the tolls are, both sums together bound every plan from above; those of the
//! beginning are the prices', so that the bound is no worse than theirs.

use super::fit::Price;
use super::instance::Instance;
use super::ladder::TIERS_MAX;
use super::subsets::{Chooser, TierSet};

/// Into how many parts a path is divided where rates have no larger common measure; they are rounded down to these, which
/// keeps the bound a bound.
const CELLS: usize = 512;

/// Polyak's factor, and after how many rounds without a better bound it is halved.
const STEP: f64 = 1.0;
const STALE: usize = 3;

const EPSILON: f64 = 1e-9;

/// Holds buffers only.
#[derive(Debug, Default)]
pub(super) struct Certifier {
    /// By pair and tier, as the solver's gains: what a pair brings the source that sends it the tier.
    tolls: Vec<f64>,
    /// The same: +1 where it is taken but not sent, -1 where it is sent but not taken.
    apart: Vec<f64>,
    required: Vec<TierSet>,
    sets: Vec<TierSet>,
    best: Vec<f64>,
    next: Vec<f64>,
    /// By row and cell: the tier taken.
    table: Vec<u8>,
    chooser: Chooser,
}

impl Certifier {
    /// The best bound of `rounds`; `worth` is that of a plan, which no bound is below.
    pub(super) fn bound(&mut self, room: &Instance, prices: &[Price], worth: f64, rounds: usize) -> f64 {
        self.begin(room, prices);
        let (mut best, mut step, mut stale) = (f64::INFINITY, STEP, 0);
        for _ in 0..rounds {
            self.apart.clear();
            self.apart.resize(self.tolls.len(), 0.0);
            let bound = self.sent(room) + self.taken(room, prices);
            if bound < best - EPSILON {
                (best, stale) = (bound, 0);
            } else {
                stale += 1;
            }
            if stale > STALE {
                (step, stale) = (step / 2.0, 0);
            }
            let square: f64 = self.apart.iter().map(|apart| apart * apart).sum();
            if best - worth <= EPSILON || square == 0.0 {
                break;
            }
            let by = step * (bound - worth) / square;
            for (toll, apart) in self.tolls.iter_mut().zip(&self.apart) {
                *toll += by * apart;
            }
        }
        best.max(worth)
    }

    /// Tolls that are what the prices leave of each tier.
    fn begin(&mut self, room: &Instance, prices: &[Price]) {
        self.tolls.clear();
        self.tolls.resize(room.pairs.len() * TIERS_MAX, f64::NEG_INFINITY);
        for (source, feed) in room.feeds.iter().enumerate() {
            let (first, count) = (feed.pairs.start * TIERS_MAX, feed.pairs.len());
            for (at, pair) in room.pairs[feed.pairs.clone()].iter().enumerate() {
                let price = prices[pair.viewer];
                for (point, worth) in room.points_of(source).iter().zip(room.worths(pair)) {
                    let toll = &mut self.tolls[first + point.tier * count + at];
                    *toll = toll.max(worth - price.of(point));
                }
            }
        }
        self.required.clear();
        self.required.resize(room.feeds.len(), TierSet::NONE);
        self.sets.clear();
        self.sets.resize(room.feeds.len(), TierSet::NONE);
    }

    /// What all tolls bring to those who send, at best.
    fn sent(&mut self, room: &Instance) -> f64 {
        let mut total = 0.0;
        for group in 0..room.groups.len() {
            total += self.chooser.choose(room, group, &self.tolls, &self.required, &mut self.sets);
        }
        for (feed, set) in room.feeds.iter().zip(&self.sets) {
            let (first, count) = (feed.pairs.start * TIERS_MAX, feed.pairs.len());
            for at in 0..count {
                let place = |tier: usize| first + tier * count + at;
                let best = set
                    .iter()
                    .max_by(|a, b| self.tolls[place(*a)].total_cmp(&self.tolls[place(*b)]).then(b.cmp(a)));
                if let Some(tier) = best {
                    self.apart[place(tier)] -= 1.0;
                }
            }
        }
        total
    }

    /// What is left to those who see when they have paid, at best.
    fn taken(&mut self, room: &Instance, prices: &[Price]) -> f64 {
        (0..room.viewers.len()).map(|viewer| self.taken_by(room, viewer, prices[viewer])).sum()
    }

    fn taken_by(&mut self, room: &Instance, viewer: usize, price: Price) -> f64 {
        let own = &room.viewers[viewer];
        let pairs = &room.by_viewer[own.pairs.clone()];
        let cell = room.measure.max(own.downlink / CELLS as f64);
        let cells = ((own.downlink / cell) + EPSILON).floor() as usize;
        // Pixels have their price, and what there is of them counts.
        let (toll_pixels, free) =
            if own.pixels.is_infinite() { (0.0, 0.0) } else { (price.pixels, price.pixels * own.pixels) };
        self.best.clear();
        self.best.resize(cells + 1, 0.0);
        self.table.clear();
        self.table.resize(pairs.len() * (cells + 1), u8::MAX);
        for (row, at) in pairs.iter().enumerate() {
            let pair = &room.pairs[*at];
            let feed = &room.feeds[pair.source];
            let toll_at = |tier: usize| {
                (feed.pairs.start * TIERS_MAX) + tier * feed.pairs.len() + at - feed.pairs.start
            };
            self.next.clear();
            self.next.resize(cells + 1, f64::NEG_INFINITY);
            let table = &mut self.table[row * (cells + 1)..][..=cells];
            for (place, (point, worth)) in
                room.points_of(pair.source).iter().zip(room.worths(pair)).enumerate()
            {
                let cost = (point.rate / cell + EPSILON).floor() as usize;
                if cost > cells || worth.is_infinite() {
                    continue;
                }
                let left = worth - self.tolls[toll_at(point.tier)] - toll_pixels * point.pixels;
                for ((next, taken), before) in
                    self.next[cost..].iter_mut().zip(&mut table[cost..]).zip(&self.best)
                {
                    let found = before + left;
                    if found > *next {
                        (*next, *taken) = (found, place as u8);
                    }
                }
            }
            core::mem::swap(&mut self.best, &mut self.next);
        }
        let worth = self.best[cells];
        let mut at_cell = cells;
        for (row, at) in pairs.iter().enumerate().rev() {
            let pair = &room.pairs[*at];
            let feed = &room.feeds[pair.source];
            let point = &room.points_of(pair.source)[usize::from(self.table[row * (cells + 1) + at_cell])];
            at_cell -= (point.rate / cell + EPSILON).floor() as usize;
            let place = feed.pairs.start * TIERS_MAX + point.tier * feed.pairs.len() + at - feed.pairs.start;
            self.apart[place] += 1.0;
        }
        worth + free
    }
}
