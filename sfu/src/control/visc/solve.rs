//! Solving: priced subsets, with a certificate.
//!
//! In: an [`Instance`]. Out: a set of tiers for each source, a point for each pair, and a bound that no plan can exceed.
//! Pure but for its buffers; deterministic. Limit: the work of [`rounds`], which falls as rooms grow.
//!
//! 1. Every subscriber's path and device get prices. At these each publisher's best sets of tiers are found exactly, by
//!    enumeration; what all are worth and the prices of what there is bound every plan from above (weak duality).
//! 2. Every subscriber is fitted into what is sent; tiers that nobody took are not sent. The best of all rounds is kept.
//! 3. The prices follow what is asked for beyond what there is (a subgradient with Polyak's step), and so on.
//! 4. At the prices of the best bound each source's next best sets are tried in place of its own, until nothing is gained.

use super::fit::{EXACT_MAX, Effort, Fitter, Price};
use super::instance::Instance;
use super::ladder::TIERS_MAX;
use super::subsets::{Choice, Chooser, Limits, TierSet};

/// Rounds of prices at least and at most, and how many pairs may be weighed in all of them.
const ROUNDS: (usize, usize) = (8, 40);
const WEIGHED: usize = 1_000;

/// A certificate so small is not worth another round.
const GAP_GOAL: f64 = 0.002;

/// Polyak's factor, and after how many rounds without a better bound it is halved.
const STEP: f64 = 1.0;
const STALE: usize = 2;

/// How many of a source's best sets are tried in its place, and how often all sources are gone through.
const ALTERNATIVES: usize = 6;
const PASSES: usize = 3;

/// How many pairs may be fitted for that: at least, and of each there is.
const FITS: usize = 2_500;
const FITS_EACH: usize = 5;

/// Bisections of a first price.
const BISECTIONS: usize = 10;

const EPSILON: f64 = 1e-9;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Solver {
    /// By viewer; kept by the caller from plan to plan.
    pub(super) prices: Vec<Price>,
    /// By source: what to send.
    pub(super) sets: Vec<TierSet>,
    /// By place in `by_viewer`: the point given, counted from its source's first.
    pub(super) points: Vec<usize>,
    /// By viewer: what its points are worth.
    worths: Vec<f64>,
    gains: Vec<f64>,
    asked: Vec<Price>,
    direction: Vec<Price>,
    required: Vec<TierSet>,
    priced: Vec<TierSet>,
    best_prices: Vec<Price>,
    alternatives: Vec<Choice>,
    candidates: Vec<(usize, Choice)>,
    trial: Vec<(usize, f64)>,
    trial_points: Vec<usize>,
    chooser: Chooser,
    fitter: Fitter,
}

/// What a solution comes to: utilities less costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// What it is worth.
    pub(super) worth: f64,
    /// What none can exceed.
    pub(super) bound: f64,
}

impl Outcome {
    /// The share of the bound that is missing.
    pub(super) fn gap(self) -> f64 {
        if self.bound > 0.0 { ((self.bound - self.worth) / self.bound).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Solver {
    /// Solves; `warm` says whether `prices` are those of a time shortly before.
    pub(super) fn solve(&mut self, room: &Instance, warm: bool) -> Outcome {
        self.begin(room, warm);
        let mut outcome = Outcome { worth: f64::NEG_INFINITY, bound: f64::INFINITY };
        if warm {
            self.bound(room); // fills the gains, by which sets are mended
            self.priced.clear();
            self.priced.extend(room.feeds.iter().map(super::instance::Feed::held));
            if self.is_allowed(room) {
                self.try_priced(room, &mut outcome.worth);
            }
        }
        let (mut step, mut stale) = (STEP, 0);
        for _ in 0..rounds(room) {
            let bound = self.bound(room);
            if bound < outcome.bound - EPSILON {
                outcome.bound = bound;
                self.best_prices.clone_from(&self.prices);
                stale = 0;
            } else {
                stale += 1;
            }
            self.try_priced(room, &mut outcome.worth);
            if outcome.bound - outcome.worth <= GAP_GOAL * outcome.bound.abs() {
                break;
            }
            if stale > STALE {
                (step, stale) = (step / 2.0, 0);
                self.prices.clone_from(&self.best_prices);
                self.bound(room);
            }
            self.follow(room, step * (bound - outcome.worth).max(0.0));
        }
        self.prices.clone_from(&self.best_prices);
        self.search(room, &mut outcome.worth);
        self.refit(room, &mut outcome.worth);
        // Sums in another order may differ in their last bits.
        outcome.bound = outcome.bound.max(outcome.worth);
        outcome
    }

    fn begin(&mut self, room: &Instance, warm: bool) {
        self.sets.clear();
        self.sets.resize(room.feeds.len(), TierSet::NONE);
        self.points.clear();
        self.points.resize(room.pairs.len(), 0);
        self.worths.clear();
        self.worths.resize(room.viewers.len(), 0.0);
        self.direction.clear();
        self.direction.resize(room.viewers.len(), Price::default());
        self.gains.clear();
        self.gains.resize(room.pairs.len() * TIERS_MAX, 0.0);
        if !warm {
            self.prices.clear();
            self.prices.extend((0..room.viewers.len()).map(|viewer| first_price(room, viewer)));
        }
        self.best_prices.clone_from(&self.prices);
    }

    /// Whether what is held in `priced` may still be sent, and is of use.
    fn is_allowed(&self, room: &Instance) -> bool {
        room.feeds.iter().enumerate().all(|(source, feed)| {
            let set = self.priced[source];
            let (uplink, pixels) = room.left_for(source, &self.priced);
            let (rate, area) = feed.taken_by(set);
            let known = set.iter().all(|tier| tier < feed.tiers) && set.len() <= feed.streams;
            known && rate <= uplink && area <= pixels && set.is_empty() == feed.pairs.is_empty()
        })
    }

    /// The bound at the present prices; leaves in `priced` the sets that are best at them.
    fn bound(&mut self, room: &Instance) -> f64 {
        for (source, feed) in room.feeds.iter().enumerate() {
            let count = feed.pairs.len();
            let gains = &mut self.gains[feed.pairs.start * TIERS_MAX..feed.pairs.end * TIERS_MAX];
            let points = room.points_of(source);
            for (at, pair) in room.pairs[feed.pairs.clone()].iter().enumerate() {
                let price = self.prices[pair.viewer];
                for tier in 0..feed.tiers {
                    gains[tier * count + at] = f64::NEG_INFINITY;
                }
                for (point, worth) in points.iter().zip(room.worths(pair)) {
                    let gain = &mut gains[point.tier * count + at];
                    *gain = gain.max(worth - price.of(point));
                }
            }
        }
        self.required.clear();
        self.required.resize(room.feeds.len(), TierSet::NONE);
        self.priced.clear();
        self.priced.resize(room.feeds.len(), TierSet::NONE);
        let sets: f64 = (0..room.groups.len())
            .map(|group| self.chooser.choose(room, group, &self.gains, &self.required, &mut self.priced))
            .sum();
        let budgets: f64 = room
            .viewers
            .iter()
            .zip(&self.prices)
            .map(|(viewer, price)| {
                let pixels = if viewer.pixels.is_infinite() { 0.0 } else { price.pixels * viewer.pixels };
                price.rate * viewer.downlink + pixels
            })
            .sum();
        self.ask(room);
        sets + budgets
    }

    /// What every viewer asks for at the present prices, as shares of what it has.
    fn ask(&mut self, room: &Instance) {
        self.asked.clear();
        for (viewer, price) in room.viewers.iter().zip(&self.prices) {
            let (mut rate, mut pixels) = (0.0, 0.0);
            for pair in room.by_viewer[viewer.pairs.clone()].iter().map(|pair| &room.pairs[*pair]) {
                let set = self.priced[pair.source];
                let mut best = (f64::NEG_INFINITY, 0.0, 0.0);
                for (point, worth) in room.points_of(pair.source).iter().zip(room.worths(pair)) {
                    let net = worth - price.of(point);
                    if set.has(point.tier) && net > best.0 {
                        best = (net, point.rate, point.pixels);
                    }
                }
                rate += best.1;
                pixels += best.2;
            }
            self.asked.push(Price {
                rate: rate / viewer.downlink.max(EPSILON),
                pixels: pixels / viewer.pixels.max(EPSILON),
            });
        }
    }

    /// Moves the prices towards where what is asked for is what there is.
    fn follow(&mut self, room: &Instance, step: f64) {
        const MEMORY: f64 = 0.3;
        let mut square = 0.0;
        for ((direction, asked), price) in self.direction.iter_mut().zip(&self.asked).zip(&self.prices) {
            let part = |asked: f64, price: f64, before: f64| {
                let over = asked - 1.0;
                if over < 0.0 && price <= 0.0 { 0.0 } else { over + MEMORY * before }
            };
            direction.rate = part(asked.rate, price.rate, direction.rate);
            direction.pixels = part(asked.pixels, price.pixels, direction.pixels);
            square += direction.rate * direction.rate + direction.pixels * direction.pixels;
        }
        if square <= EPSILON {
            return;
        }
        for ((price, direction), viewer) in self.prices.iter_mut().zip(&self.direction).zip(&room.viewers) {
            let moved = |price: f64, direction: f64, has: f64| {
                (price + step / square * direction / has.max(EPSILON)).max(0.0)
            };
            price.rate = moved(price.rate, direction.rate, viewer.downlink);
            price.pixels = if viewer.pixels.is_infinite() {
                0.0
            } else {
                moved(price.pixels, direction.pixels, viewer.pixels)
            };
        }
    }

    /// Fits everybody into `priced`, mended where somebody does not fit, and keeps it if it is better than what there is.
    fn try_priced(&mut self, room: &Instance, best: &mut f64) {
        for viewer in 0..room.viewers.len() {
            self.mend(room, viewer);
        }
        self.trial.clear();
        self.trial_points.clear();
        let mut worth = 0.0;
        for viewer in 0..room.viewers.len() {
            let fitted = self.fitter.fit(room, viewer, &self.priced, self.prices[viewer], Effort::Quick);
            let Some(fitted) = fitted else { return };
            worth += fitted;
            self.trial.push((viewer, fitted));
            self.trial_points.extend_from_slice(&self.fitter.points);
        }
        keep_used(room, &self.trial_points, &mut self.priced);
        worth -= cost(room, &self.priced);
        if worth > *best {
            *best = worth;
            self.sets.clone_from(&self.priced);
            self.points.clone_from(&self.trial_points);
            for (viewer, fitted) in &self.trial {
                self.worths[*viewer] = *fitted;
            }
        }
    }

    /// Where not even the smallest of what is sent fits a viewer, has its sources send their smallest tier too, those first
    /// that this saves most.
    fn mend(&mut self, room: &Instance, viewer: usize) {
        let own = &room.viewers[viewer];
        loop {
            let (mut rate, mut pixels) = (0.0, 0.0);
            let mut worst: Option<(usize, f64)> = None;
            for pair in room.by_viewer[own.pairs.clone()].iter().map(|pair| &room.pairs[*pair]) {
                let points = room.points_of(pair.source);
                let set = self.priced[pair.source];
                let Some(least) = points.iter().find(|point| set.has(point.tier)) else { continue };
                rate += least.rate;
                pixels += least.pixels;
                let saves = least.rate - points[0].rate;
                if !set.has(0) && worst.is_none_or(|(_, most)| saves > most) {
                    worst = Some((pair.source, saves));
                }
            }
            let fits = rate <= own.downlink + EPSILON && pixels <= own.pixels + EPSILON;
            let Some((source, _)) = worst.filter(|_| !fits) else { return };
            self.required[source] = TierSet::NONE.with(0);
            let group = room.feeds[source].group;
            self.chooser.choose(room, group, &self.gains, &self.required, &mut self.priced);
        }
    }

    /// Tries next best sets in place of what is sent, those first that are worth most at the best prices.
    fn search(&mut self, room: &Instance, best: &mut f64) {
        self.bound(room); // fills the gains at the best prices
        let mut fits = FITS.max(FITS_EACH * room.pairs.len());
        for _ in 0..PASSES {
            let before = *best;
            self.candidates.clear();
            for source in 0..room.feeds.len() {
                self.rank(room, source);
                self.candidates.extend(self.alternatives.iter().map(|choice| (source, *choice)));
            }
            self.candidates.sort_by(|a, b| b.1.worth.total_cmp(&a.1.worth)); // stable: of equals the first source
            for at in 0..self.candidates.len() {
                let (source, choice) = self.candidates[at];
                let seen = room.pairs[room.feeds[source].pairs.clone()].iter();
                let work: usize = seen.map(|pair| room.viewers[pair.viewer].pairs.len()).sum();
                if work > fits {
                    return;
                }
                fits -= work;
                self.try_set(room, source, choice.set, best);
            }
            if *best <= before + EPSILON {
                return;
            }
        }
    }

    /// A source's best sets beside what its publisher's other sources send, into `alternatives`: by how much more they are
    /// worth than what it sends.
    fn rank(&mut self, room: &Instance, source: usize) {
        let (uplink, pixels) = room.left_for(source, &self.sets);
        let limits = Limits { uplink, pixels, required: TierSet::NONE };
        let (own, list) = (self.sets[source], &mut self.alternatives);
        list.clear();
        let mut held = 0.0;
        let feed = &room.feeds[source];
        self.chooser.visit(feed, room.gains_of(source, &self.gains), limits, &mut |choice| {
            let last = list.last().map_or(f64::NEG_INFINITY, |last| last.worth);
            if choice.set == own {
                held = choice.worth;
            } else if list.len() < ALTERNATIVES || choice.worth > last {
                let place = list.partition_point(|other| other.worth >= choice.worth);
                list.truncate(ALTERNATIVES - 1);
                list.insert(place.min(list.len()), choice);
            }
        });
        for choice in list {
            choice.worth -= held;
        }
    }

    /// Has a source send another set if all who see it are better off together.
    fn try_set(&mut self, room: &Instance, source: usize, set: TierSet, best: &mut f64) {
        let held = self.sets[source];
        if set == held {
            return;
        }
        let feed = &room.feeds[source];
        self.sets[source] = set;
        self.trial.clear();
        self.trial_points.clear();
        let mut gain = feed.cost(held) - feed.cost(set);
        for pair in &room.pairs[feed.pairs.clone()] {
            let viewer = pair.viewer;
            let Some(fitted) = self.fitter.fit(room, viewer, &self.sets, self.prices[viewer], Effort::Quick)
            else {
                self.sets[source] = held;
                return;
            };
            gain += fitted - self.worths[viewer];
            self.trial.push((viewer, fitted));
            self.trial_points.extend_from_slice(&self.fitter.points);
        }
        if gain <= EPSILON {
            self.sets[source] = held;
            return;
        }
        *best += gain;
        self.take_trial(room);
    }

    /// Takes what was tried for some viewers.
    fn take_trial(&mut self, room: &Instance) {
        let mut next = 0;
        for (viewer, fitted) in &self.trial {
            let own = room.viewers[*viewer].pairs.clone();
            self.worths[*viewer] = *fitted;
            let count = own.len();
            self.points[own].copy_from_slice(&self.trial_points[next..next + count]);
            next += count;
        }
    }

    /// Fits everybody exactly into what is sent, and sends no more than is taken.
    fn refit(&mut self, room: &Instance, best: &mut f64) {
        for (viewer, own) in room.viewers.iter().enumerate() {
            if own.pairs.len() > EXACT_MAX {
                continue;
            }
            let fitted = self.fitter.fit(room, viewer, &self.sets, self.prices[viewer], Effort::Exact);
            if let Some(fitted) = fitted.filter(|fitted| *fitted > self.worths[viewer] + EPSILON) {
                self.worths[viewer] = fitted;
                self.points[own.pairs.clone()].copy_from_slice(&self.fitter.points);
            }
        }
        keep_used(room, &self.points, &mut self.sets);
        *best = self.worths.iter().sum::<f64>() - cost(room, &self.sets);
    }
}

/// How many rounds are worth their time.
fn rounds(room: &Instance) -> usize {
    (WEIGHED / room.pairs.len().max(1)).clamp(ROUNDS.0, ROUNDS.1)
}

fn cost(room: &Instance, sets: &[TierSet]) -> f64 {
    room.feeds.iter().zip(sets).map(|(feed, set)| feed.cost(*set)).sum()
}

/// Takes out of the sets what nobody was given; points are in the order of `by_viewer`.
fn keep_used(room: &Instance, points: &[usize], sets: &mut [TierSet]) {
    sets.fill(TierSet::NONE);
    for (pair, point) in room.by_viewer.iter().zip(points) {
        let source = room.pairs[*pair].source;
        sets[source] = sets[source].with(room.points_of(source)[*point].tier);
    }
}

/// The price at which a viewer, were everything sent, would ask for what its path carries.
fn first_price(room: &Instance, viewer: usize) -> Price {
    let own = &room.viewers[viewer];
    let asked = |price: f64| -> f64 {
        let of = |pair: &usize| {
            let pair = &room.pairs[*pair];
            let mut best = (f64::NEG_INFINITY, 0.0);
            for (point, worth) in room.points_of(pair.source).iter().zip(room.worths(pair)) {
                let net = worth - price * point.rate;
                if net > best.0 {
                    best = (net, point.rate);
                }
            }
            best.1
        };
        room.by_viewer[own.pairs.clone()].iter().map(of).sum()
    };
    if asked(0.0) <= own.downlink {
        return Price::default();
    }
    let (mut low, mut high) = (0.0, 1.0);
    while asked(high) > own.downlink && high < 1e6 {
        high *= 4.0;
    }
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if asked(middle) > own.downlink { low = middle } else { high = middle }
    }
    Price { rate: f64::midpoint(low, high), pixels: 0.0 }
}
