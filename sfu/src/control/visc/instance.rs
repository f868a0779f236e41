//! A problem made ready: everything in arrays, those pairs alone that can be served, and what each point is worth to each.
//!
//! In: a checked [`Problem`] and what was planned before. Out: an [`Instance`]. Limit: the problem's; buffers are kept.
//!
//! **Floor first.** Here it is decided who is served at all: a publisher's sources, in its order, as long as its path and
//! its device carry their smallest tiers; then a subscriber's slots, the weightiest first, as long as its path and its
//! device carry the smallest point of each. From here on every pair is served; a plan cannot trade one for another's gain.

use core::ops::Range;

use proto::units::Bitrate;

use super::ladder::{PixelRate, TIERS_MAX};
use super::plan::{Budgets, Held, Rules};
use super::problem::{Offer, Problem, Slot, Source, SourceKey};
use super::subsets::TierSet;
use super::utility;

/// Points of a source: layers of tiers.
pub(super) const POINTS_MAX: usize = TIERS_MAX * 3;

/// Sums in another order differ by less than this, and it is less than a bit a second or a pixel.
const EPSILON: f64 = 1e-9;

/// What a subscriber can be given of a source: a tier up to a temporal layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) tier: usize,
    pub(super) layer: usize,
    /// Mbit/s.
    pub(super) rate: f64,
    /// Megapixels a second.
    pub(super) pixels: f64,
}

/// A publisher.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Mbit/s.
    pub(super) uplink: f64,
    /// Megapixels a second.
    pub(super) pixels: f64,
    pub(super) sources: Range<usize>,
}

/// A source.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    pub(super) key: SourceKey,
    pub(super) group: usize,
    pub(super) streams: usize,
    /// How many tiers it has; none if not even the smallest can be sent.
    pub(super) tiers: usize,
    /// Mbit/s by tier.
    pub(super) rates: [f64; TIERS_MAX],
    /// Megapixels a second by tier.
    pub(super) pixels: [f64; TIERS_MAX],
    pub(super) points: Range<usize>,
    /// Where each tier's points end, counted from the first.
    ends: [usize; TIERS_MAX],
    /// Those of [`Instance::pairs`] that are its own.
    pub(super) pairs: Range<usize>,
    /// What it was asked to send before; nothing if it is new.
    held: TierSet,
    /// Utility a Mbit/s sent.
    uplink_price: f64,
    /// Utility that it costs to start a tier.
    start: f64,
}

impl Feed {
    /// What sending a set costs, in utility.
    pub(super) fn cost(&self, set: TierSet) -> f64 {
        let started = if self.held.is_empty() { 0 } else { set.without(self.held).len() };
        self.uplink_price * self.taken_by(set).0 + self.start * started as f64
    }

    /// Mbit/s and megapixels a second of a set.
    pub(super) fn taken_by(&self, set: TierSet) -> (f64, f64) {
        set.iter()
            .fold((0.0, 0.0), |(rate, pixels), tier| (rate + self.rates[tier], pixels + self.pixels[tier]))
    }

    /// The points of a tier, counted from the source's first.
    pub(super) fn points_of(&self, tier: usize) -> Range<usize> {
        let start = if tier == 0 { 0 } else { self.ends[tier - 1] };
        start..self.ends[tier]
    }

    /// What it was asked to send before.
    pub(super) fn held(&self) -> TierSet {
        self.held
    }
}

/// A source that a subscriber is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) source: usize,
    pub(super) viewer: usize,
    /// The tier it was given before.
    held: Option<usize>,
    /// Where its utilities begin in [`Instance::utilities`].
    worth: usize,
    /// What another tier than the held one costs.
    switch: f64,
}

/// A subscriber.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// Mbit/s.
    pub(super) downlink: f64,
    /// Megapixels a second.
    pub(super) pixels: f64,
    /// Those of [`Instance::by_viewer`] that are its own.
    pub(super) pairs: Range<usize>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Instance {
    pub(super) groups: Vec<Group>,
    pub(super) feeds: Vec<Feed>,
    pub(super) points: Vec<Point>,
    /// By source, then by viewer.
    pub(super) pairs: Vec<Pair>,
    pub(super) viewers: Vec<Viewer>,
    /// Places in `pairs`, by viewer, then by source.
    pub(super) by_viewer: Vec<usize>,
    /// By pair: what each point is worth, less what it costs to switch to it; minus infinity if it cannot be had.
    utilities: Vec<f64>,
    /// Mbit/s that all points' rates are multiples of; nothing if that would be too fine to be of use.
    pub(super) measure: f64,
    index: Vec<(SourceKey, usize)>,
    wants: Vec<Want>,
    ranked: Vec<Want>,
    wanted: Vec<bool>,
}

/// A slot in sight of a source that is there.
#[derive(Debug, Clone, Copy)]
struct Want {
    source: usize,
    viewer: usize,
    slot: usize,
    weight: f64,
}

impl Instance {
    /// Makes `problem` ready; `held` is what was planned before, `budgets` what each publisher's and each subscriber's path
    /// is taken to carry.
    pub(super) fn fill(&mut self, problem: &Problem, budgets: &Budgets, held: &Held, rules: &Rules) {
        self.groups.clear();
        self.feeds.clear();
        self.points.clear();
        self.pairs.clear();
        self.viewers.clear();
        self.by_viewer.clear();
        self.utilities.clear();
        self.wants.clear();
        self.fill_sources(problem, budgets, held, rules);
        self.fill_wants(problem);
        self.admit_sources();
        self.admit_pairs(problem, budgets);
        self.fill_pairs(problem, held, rules);
        self.rule_out();
    }

    /// What a pair gains by a point of its source, counted from the source's first.
    pub(super) fn worth(&self, pair: &Pair, point: usize) -> f64 {
        self.utilities[pair.worth + point]
    }

    /// What all points of its source are worth to a pair.
    pub(super) fn worths(&self, pair: &Pair) -> &[f64] {
        &self.utilities[pair.worth..][..self.feeds[pair.source].points.len()]
    }

    /// The same for one point without what switching costs.
    pub(super) fn plain_worth(&self, pair: &Pair, point: usize) -> f64 {
        let tier = self.points_of(pair.source)[point].tier;
        let switched = pair.held.is_some_and(|held| held != tier);
        self.worth(pair, point) + if switched { pair.switch } else { 0.0 }
    }

    /// A source's points, the smallest first.
    pub(super) fn points_of(&self, source: usize) -> &[Point] {
        &self.points[self.feeds[source].points.clone()]
    }

    /// A source's part of what all pairs gain, tier by tier.
    pub(super) fn gains_of<'a>(&self, source: usize, gains: &'a [f64]) -> &'a [f64] {
        let pairs = &self.feeds[source].pairs;
        &gains[pairs.start * TIERS_MAX..pairs.end * TIERS_MAX]
    }

    /// What a publisher's path and device have left for one of its sources while the others send `sets`.
    pub(super) fn left_for(&self, source: usize, sets: &[TierSet]) -> (f64, f64) {
        let group = &self.groups[self.feeds[source].group];
        let others = group.sources.clone().filter(|other| *other != source);
        others.fold((group.uplink, group.pixels), |(uplink, pixels), other| {
            let (rate, area) = self.feeds[other].taken_by(sets[other]);
            (uplink - rate, pixels - area)
        })
    }

    fn fill_sources(&mut self, problem: &Problem, budgets: &Budgets, held: &Held, rules: &Rules) {
        for (publisher, uplink) in problem.publishers.iter().zip(&budgets.uplinks) {
            let first = self.feeds.len();
            for source in &publisher.sources {
                self.fill_source(source, held, rules);
            }
            let (uplink, pixels) = (mbps(*uplink) + EPSILON, megapixels(publisher.pixel_rate) + EPSILON);
            self.groups.push(Group { uplink, pixels, sources: first..self.feeds.len() });
        }
        self.index.clear();
        self.index.extend(self.feeds.iter().enumerate().map(|(place, feed)| (feed.key, place)));
        self.index.sort_unstable();
        let rates = self.points.iter().map(|point| (point.rate * 1e6).round() as u64);
        self.measure = rates.fold(0, common) as f64 / 1e6;
    }

    fn fill_source(&mut self, source: &Source, held: &Held, rules: &Rules) {
        let (mut rates, mut pixels) = ([0.0; TIERS_MAX], [0.0; TIERS_MAX]);
        let mut ends = [0; TIERS_MAX];
        let first = self.points.len();
        let mut below = 0.0;
        for (tier, Offer { tier: made_for, rate, layers }) in source.offers.iter().enumerate() {
            below = mbps(*rate).max(below);
            (rates[tier], pixels[tier]) = (below, megapixels(made_for.pixel_rate()));
            let shares = layers.rate_shares().iter().zip(layers.picture_shares());
            self.points.extend(shares.enumerate().map(|(layer, (rate, pictures))| Point {
                tier,
                layer,
                rate: below * rate,
                pixels: pixels[tier] * pictures,
            }));
            ends[tier] = self.points.len() - first;
        }
        self.feeds.push(Feed {
            key: source.key,
            group: self.groups.len(),
            streams: source.streams.min(TIERS_MAX),
            tiers: if source.streams == 0 { 0 } else { source.offers.len() },
            rates,
            pixels,
            points: first..self.points.len(),
            ends,
            pairs: 0..0,
            held: held.tiers(source.key),
            uplink_price: rules.uplink_price,
            start: 0.0,
        });
    }

    fn fill_wants(&mut self, problem: &Problem) {
        for (viewer, subscriber) in problem.subscribers.iter().enumerate() {
            let from = self.wants.len();
            for (slot, seen) in subscriber.layout.slots.iter().enumerate() {
                let weight = utility::weight(seen);
                let found = self.index.binary_search_by_key(&seen.source, |(key, _)| *key);
                let Some(source) = found.ok().map(|at| self.index[at].1).filter(|_| weight > 0.0) else {
                    continue;
                };
                if !self.wants[from..].iter().any(|want| want.source == source) {
                    self.wants.push(Want { source, viewer, slot, weight });
                }
            }
        }
    }

    /// Leaves a source without tiers if not even its smallest can be sent beside those of the sources before it.
    fn admit_sources(&mut self) {
        self.wanted.clear();
        self.wanted.resize(self.feeds.len(), false);
        for want in &self.wants {
            self.wanted[want.source] = true;
        }
        for group in &self.groups {
            let (mut uplink, mut pixels) = (group.uplink, group.pixels);
            for source in group.sources.clone().filter(|source| self.wanted[*source]) {
                let feed = &mut self.feeds[source];
                if feed.rates[0] <= uplink && feed.pixels[0] <= pixels {
                    uplink -= feed.rates[0];
                    pixels -= feed.pixels[0];
                } else {
                    feed.tiers = 0;
                }
            }
        }
    }

    /// Keeps of each subscriber's wants those whose smallest points it can have together, the weightiest first.
    fn admit_pairs(&mut self, problem: &Problem, budgets: &Budgets) {
        self.ranked.clear();
        self.ranked.append(&mut self.wants);
        self.ranked.sort_by(|a, b| a.viewer.cmp(&b.viewer).then(b.weight.total_cmp(&a.weight))); // stable: of equals the first slot
        let mut next = 0;
        for (viewer, (subscriber, downlink)) in problem.subscribers.iter().zip(&budgets.downlinks).enumerate()
        {
            let decode = subscriber.decode;
            let (downlink, pixels) = (mbps(*downlink) + EPSILON, megapixels(decode.pixel_rate) + EPSILON);
            let (mut left, mut area, mut streams) = (downlink, pixels, decode.streams);
            while let Some(want) = self.ranked.get(next).filter(|want| want.viewer == viewer) {
                next += 1;
                let feed = &self.feeds[want.source];
                let Some(floor) = self.points.get(feed.points.start).filter(|_| feed.tiers > 0) else {
                    continue;
                };
                if floor.rate <= left && floor.pixels <= area && streams > 0 {
                    left -= floor.rate;
                    area -= floor.pixels;
                    streams -= 1;
                    self.wants.push(*want);
                }
            }
            self.viewers.push(Viewer { downlink, pixels, pairs: 0..0 });
        }
        self.wants.sort_by_key(|want| (want.source, want.viewer));
    }

    fn fill_pairs(&mut self, problem: &Problem, held: &Held, rules: &Rules) {
        let mut sources = problem.sources();
        let mut next = 0;
        for place in 0..self.feeds.len() {
            let offers = sources.next().map_or(&[][..], |source| &source.offers);
            let first = self.pairs.len();
            let mut total = 0.0;
            while let Some(want) = self.wants.get(next).copied().filter(|want| want.source == place) {
                next += 1;
                total += want.weight;
                let subscriber = &problem.subscribers[want.viewer];
                let before = held.tier(subscriber.key, self.feeds[place].key);
                self.fill_pair(want, &subscriber.layout.slots[want.slot], offers, (before, rules));
            }
            let feed = &mut self.feeds[place];
            feed.pairs = first..self.pairs.len();
            feed.start = utility::rounded(rules.start * total);
        }
        self.by_viewer.extend(0..self.pairs.len());
        let pairs = &self.pairs;
        self.by_viewer.sort_unstable_by_key(|pair| (pairs[*pair].viewer, *pair));
        let mut next = 0;
        for (place, viewer) in self.viewers.iter_mut().enumerate() {
            let own = self.by_viewer[next..].iter().take_while(|pair| pairs[**pair].viewer == place).count();
            viewer.pairs = next..next + own;
            next += own;
        }
    }

    /// Takes away what a subscriber cannot have beside the smallest point of each other picture: no plan has it, and a bound
    /// that hopes for it is worse.
    fn rule_out(&mut self) {
        for viewer in &self.viewers {
            let own = &self.by_viewer[viewer.pairs.clone()];
            let floor = |pair: &usize| &self.points[self.feeds[self.pairs[*pair].source].points.start];
            let spare =
                own.iter().map(floor).fold((viewer.downlink, viewer.pixels), |(rate, pixels), floor| {
                    (rate - floor.rate + EPSILON, pixels - floor.pixels + EPSILON)
                });
            for pair in own.iter().map(|pair| &self.pairs[*pair]) {
                let points = &self.points[self.feeds[pair.source].points.clone()];
                for (worth, point) in self.utilities[pair.worth..].iter_mut().zip(points) {
                    let (rate, pixels) = (point.rate - points[0].rate, point.pixels - points[0].pixels);
                    if rate > spare.0 + EPSILON || pixels > spare.1 + EPSILON {
                        *worth = f64::NEG_INFINITY;
                    }
                }
            }
        }
    }

    fn fill_pair(
        &mut self,
        want: Want,
        slot: &Slot,
        offers: &[Offer],
        (held, rules): (Option<usize>, &Rules),
    ) {
        let Want { source, viewer, weight, .. } = want;
        let switch = utility::rounded(rules.switch * weight);
        let worth = self.utilities.len();
        let points = &self.points[self.feeds[source].points.clone()];
        self.utilities.extend(utility::qualities(slot, offers).zip(points).map(|(quality, point)| {
            let switched = held.is_some_and(|held| held != point.tier);
            utility::rounded(weight * quality) - if switched { switch } else { 0.0 }
        }));
        self.pairs.push(Pair { source, viewer, held, worth, switch });
    }
}

/// The greatest common divisor.
fn common(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { common(other, one % other) }
}

/// Numbers near one, for prices to be near one.
pub(super) fn mbps(rate: Bitrate) -> f64 {
    rate.as_bps() as f64 / 1e6
}

fn megapixels(rate: PixelRate) -> f64 {
    if rate == PixelRate::MAX { f64::INFINITY } else { rate.0 as f64 / 1e6 }
}
