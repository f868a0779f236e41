//! Subsets of tiers: which of them a source may send together, and what each such set is worth at given prices.
//!
//! In: what each pair would gain by each tier. Out: every feasible set with its worth, in an order that stays. Pure but for
//! its buffers. Limit: ten tiers, hence 1023 sets; three streams at once leave 175.

use super::instance::{Feed, Instance};
use super::ladder::TIERS_MAX;

/// Some of a source's tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct TierSet(u16);

impl TierSet {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn with(self, tier: usize) -> Self {
        Self(self.0 | 1 << tier)
    }

    pub(super) const fn has(self, tier: usize) -> bool {
        self.0 & (1 << tier) != 0
    }

    pub(super) const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The smallest first.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..TIERS_MAX).filter(move |tier| self.has(*tier))
    }
}

/// What a set may take, and what must be in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Mbit/s.
    pub(super) uplink: f64,
    /// Megapixels a second.
    pub(super) pixels: f64,
    pub(super) required: TierSet,
}

/// A set and what it is worth at the prices it was looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) set: TierSet,
    pub(super) worth: f64,
}

/// Goes through the sets of one source.
struct Walk<'a> {
    feed: &'a Feed,
    /// What each pair gains by each tier, tier by tier.
    gains: &'a [f64],
    limits: Limits,
}

/// A set on the way.
#[derive(Clone, Copy)]
struct Partial {
    set: TierSet,
    next: usize,
    uplink: f64,
    pixels: f64,
}

/// Looks for the best sets. Holds buffers only.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    rows: Vec<f64>,
    /// The sets of each source of a publisher that has several, the worthiest first.
    lists: Vec<Vec<Choice>>,
    picked: Vec<TierSet>,
}

impl Chooser {
    /// Calls `found` with every feasible set of a source and its worth: with the empty one alone if nobody sees it, else
    /// with all others.
    pub(super) fn visit(
        &mut self,
        feed: &Feed,
        gains: &[f64],
        limits: Limits,
        found: &mut impl FnMut(Choice),
    ) {
        let count = feed.pairs.len();
        if count == 0 {
            return found(Choice { set: TierSet::NONE, worth: 0.0 });
        }
        let rows = (feed.streams.min(feed.tiers) + 1) * count;
        if self.rows.len() < rows {
            self.rows.resize(rows, 0.0);
        }
        let rows = &mut self.rows[..rows];
        rows[..count].fill(f64::NEG_INFINITY);
        let walk = Walk { feed, gains, limits };
        walk.descend(Partial { set: TierSet::NONE, next: 0, uplink: 0.0, pixels: 0.0 }, rows, found);
    }

    /// The best sets for all sources of a publisher together, into `sets`; tells what they are worth.
    ///
    /// `required` has what must be in each.
    pub(super) fn choose(
        &mut self,
        room: &Instance,
        group: usize,
        gains: &[f64],
        required: &[TierSet],
        sets: &mut [TierSet],
    ) -> f64 {
        let publisher = &room.groups[group];
        let limits = |source: usize| Limits {
            uplink: publisher.uplink,
            pixels: publisher.pixels,
            required: required[source],
        };
        if publisher.sources.len() == 1 {
            let source = publisher.sources.start;
            let mut best = Choice { set: TierSet::NONE, worth: f64::NEG_INFINITY };
            let feed = &room.feeds[source];
            self.visit(feed, room.gains_of(source, gains), limits(source), &mut |choice| {
                if choice.worth > best.worth {
                    best = choice;
                }
            });
            sets[source] = best.set;
            return best.worth;
        }
        let mut lists = core::mem::take(&mut self.lists);
        lists.resize_with(publisher.sources.len().max(lists.len()), Vec::new);
        for (list, source) in lists.iter_mut().zip(publisher.sources.clone()) {
            list.clear();
            let feed = &room.feeds[source];
            self.visit(feed, room.gains_of(source, gains), limits(source), &mut |choice| list.push(choice));
            list.sort_by(|a, b| b.worth.total_cmp(&a.worth)); // stable: of equals the first found
        }
        self.picked.clear();
        self.picked.resize(publisher.sources.len(), TierSet::NONE);
        let lists_used = &lists[..publisher.sources.len()];
        let mut combine =
            Combine { room, lists: lists_used, first: publisher.sources.start, best: f64::NEG_INFINITY };
        let left = Left { uplink: publisher.uplink, pixels: publisher.pixels, worth: 0.0 };
        let mut path = [TierSet::NONE; super::problem::SOURCES_MAX];
        combine.descend(0, left, &mut path, &mut self.picked);
        sets[publisher.sources.clone()].copy_from_slice(&self.picked);
        let worth = combine.best;
        self.lists = lists;
        worth
    }
}

/// Combines the sets of a publisher's sources, worthiest first, and leaves what cannot become better.
struct Combine<'a> {
    room: &'a Instance,
    lists: &'a [Vec<Choice>],
    first: usize,
    best: f64,
}

#[derive(Clone, Copy)]
struct Left {
    uplink: f64,
    pixels: f64,
    worth: f64,
}

impl Combine<'_> {
    fn descend(&mut self, at: usize, left: Left, path: &mut [TierSet], picked: &mut [TierSet]) {
        let Some(list) = self.lists.get(at) else {
            if left.worth > self.best {
                self.best = left.worth;
                let count = picked.len();
                picked.copy_from_slice(&path[..count]);
            }
            return;
        };
        let hoped: f64 =
            self.lists[at + 1..].iter().filter_map(|list| list.first()).map(|best| best.worth).sum();
        let feed = &self.room.feeds[self.first + at];
        for choice in list {
            if left.worth + choice.worth + hoped <= self.best {
                return;
            }
            let (uplink, pixels) = feed.taken_by(choice.set);
            if uplink <= left.uplink && pixels <= left.pixels {
                path[at] = choice.set;
                let left = Left {
                    uplink: left.uplink - uplink,
                    pixels: left.pixels - pixels,
                    worth: left.worth + choice.worth,
                };
                self.descend(at + 1, left, path, picked);
            }
        }
    }
}

impl Walk<'_> {
    /// Adds each further tier to a set; the first of `rows` has what each pair gains by it already.
    fn descend(&self, partial: Partial, rows: &mut [f64], found: &mut impl FnMut(Choice)) {
        let count = self.feed.pairs.len();
        for tier in partial.next..self.feed.tiers {
            let uplink = partial.uplink + self.feed.rates[tier];
            let pixels = partial.pixels + self.feed.pixels[tier];
            if uplink > self.limits.uplink || pixels > self.limits.pixels {
                break; // those above take no less
            }
            let set = partial.set.with(tier);
            let (before, rest) = rows.split_at_mut(count);
            let now = &mut rest[..count];
            let gains = &self.gains[tier * count..][..count];
            for ((now, before), gain) in now.iter_mut().zip(&*before).zip(gains) {
                *now = if gain > before { *gain } else { *before };
            }
            if set.includes(self.limits.required) {
                found(Choice { set, worth: sum(now) - self.feed.cost(set) });
            }
            if set.len() < self.feed.streams {
                self.descend(Partial { set, next: tier + 1, uplink, pixels }, rest, found);
            }
        }
    }
}

/// In four lanes, because a processor adds them at once.
fn sum(numbers: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let chunks = numbers.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane += number;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}
