//! Fitting: which point of each of its sources a subscriber is given, out of what these send: a multiple-choice knapsack.
//!
//! In: a subscriber's pairs, the sets that their sources send, prices to begin with. Out: a point for each pair and what all
//! are worth; nothing if not even the smallest fit. Pure but for its buffers. Limit: the instance's.
//!
//! **Quick**: what the prices choose, then down by the least loss for what is too much, then up by the most gain for what is
//! left. **Exact**: dynamic programming over [`CELLS`] parts of the path, taken if it is better; where rates have a large enough common measure these
//! are its multiples and it is exact, else rates are rounded; up to [`EXACT_MAX`] sources it is quick enough.

use core::ops::Range;

use super::instance::{Instance, POINTS_MAX, Point};
use super::problem::SLOTS_MAX;
use super::subsets::TierSet;

/// Into how many parts dynamic programming divides a path.
const CELLS: usize = 192;

/// Up to so many sources it is used.
pub(super) const EXACT_MAX: usize = 18;

/// How many of the fullest ends are tried for one that does fit: rounding is to the nearest part.
const ENDS: usize = 12;

/// How often the price of pixels is raised until their number is small enough.
const PIXEL_TRIES: usize = 6;

/// What is below this is the rounding of sums.
const EPSILON: f64 = 1e-9;

/// What a subscriber's path and device cost, in utility.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Price {
    /// A Mbit/s.
    pub(super) rate: f64,
    /// A megapixel a second.
    pub(super) pixels: f64,
}

impl Price {
    /// What a point costs.
    pub(super) fn of(self, point: &Point) -> f64 {
        self.rate * point.rate + self.pixels * point.pixels
    }
}

/// How much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    Quick,
    Exact,
}

/// What a pair can be given.
#[derive(Debug, Clone, Copy)]
struct Choice {
    /// Its place among the source's points.
    place: usize,
    rate: f64,
    pixels: f64,
    worth: f64,
}

/// A subscriber's points, and what is behind them. Holds buffers only.
#[derive(Debug)]
pub(super) struct Fitter {
    /// The points chosen, counted from each source's first; of the last fit.
    pub(super) points: Vec<usize>,
    /// What each pair can be given, pair by pair, the smallest first.
    choices: Vec<Choice>,
    /// Where each pair's end.
    ends: Vec<usize>,
    /// By pair, a place in `choices`.
    chosen: Vec<usize>,
    trial: Vec<usize>,
    /// By cell: the worth of the best choice so far that takes no more.
    best: Vec<f64>,
    next: Vec<f64>,
    /// By pair and cell: which of the pair's choices that is.
    table: Vec<u8>,
}

/// What one subscriber is fitted by.
#[derive(Clone, Copy)]
struct Case<'a> {
    choices: &'a [Choice],
    ends: &'a [usize],
    has: Load,
    /// Mbit/s a cell.
    cell: f64,
}

/// What points take together, or what there is for them.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// Mbit/s.
    rate: f64,
    /// Megapixels a second.
    pixels: f64,
}

impl Default for Fitter {
    fn default() -> Self {
        Self {
            points: Vec::with_capacity(SLOTS_MAX),
            choices: Vec::with_capacity(SLOTS_MAX * POINTS_MAX),
            ends: Vec::with_capacity(SLOTS_MAX),
            chosen: Vec::with_capacity(SLOTS_MAX),
            trial: Vec::with_capacity(SLOTS_MAX),
            best: vec![0.0; CELLS + 1],
            next: vec![0.0; CELLS + 1],
            table: vec![0; EXACT_MAX * (CELLS + 1)],
        }
    }
}

impl Fitter {
    /// Fits a subscriber into [`Fitter::points`]; what they are worth, or nothing if not even the smallest fit.
    pub(super) fn fit(
        &mut self,
        room: &Instance,
        viewer: usize,
        sets: &[TierSet],
        price: Price,
        effort: Effort,
    ) -> Option<f64> {
        self.collect(room, viewer, sets);
        let own = &room.viewers[viewer];
        let (choices, ends) = (core::mem::take(&mut self.choices), core::mem::take(&mut self.ends));
        let has = Load { rate: own.downlink, pixels: own.pixels };
        let cell = room.measure.max(own.downlink / CELLS as f64);
        let case = Case { choices: &choices, ends: &ends, has, cell };
        let worth = self.fit_case(case, price, effort);
        self.points.clear();
        self.points.extend(self.chosen.iter().map(|chosen| choices[*chosen].place));
        (self.choices, self.ends) = (choices, ends);
        worth
    }

    /// What each pair can be given of what its source sends.
    fn collect(&mut self, room: &Instance, viewer: usize, sets: &[TierSet]) {
        self.choices.clear();
        self.ends.clear();
        for pair in room.by_viewer[room.viewers[viewer].pairs.clone()].iter().map(|pair| &room.pairs[*pair]) {
            let (feed, points, worths) =
                (&room.feeds[pair.source], room.points_of(pair.source), room.worths(pair));
            for tier in sets[pair.source].iter() {
                let places = feed.points_of(tier);
                let of = points[places.clone()].iter().zip(&worths[places.clone()]).zip(places);
                self.choices.extend(of.map(|((point, worth), place)| Choice {
                    place,
                    rate: point.rate,
                    pixels: point.pixels,
                    worth: *worth,
                }));
            }
            self.ends.push(self.choices.len());
        }
    }

    fn fit_case(&mut self, case: Case<'_>, price: Price, effort: Effort) -> Option<f64> {
        self.chosen.clear();
        for own in case.pairs() {
            self.chosen.push(case.dearest(own, price)?);
        }
        case.lower(&mut self.chosen)?;
        case.raise(&mut self.chosen);
        let worth = case.worth(&self.chosen);
        let exact = effort == Effort::Exact && (2..=EXACT_MAX).contains(&self.chosen.len());
        if !exact || case.is_most(&self.chosen) {
            return Some(worth);
        }
        let better = self.by_cells(case, price).filter(|found| *found > worth + EPSILON);
        if better.is_some() {
            core::mem::swap(&mut self.chosen, &mut self.trial);
        }
        Some(better.unwrap_or(worth))
    }

    /// Dynamic programming, into `trial`; raises the price of pixels until the device can decode them.
    fn by_cells(&mut self, case: Case<'_>, price: Price) -> Option<f64> {
        let mut pixels = 0.0;
        for _ in 0..PIXEL_TRIES {
            let reach = self.fill_cells(case, pixels);
            if self.trace_back(case, reach) {
                case.raise(&mut self.trial);
                return Some(case.worth(&self.trial));
            }
            if case.has.pixels.is_infinite() {
                return None;
            }
            let least = case.worth(&self.chosen) / case.has.pixels.max(EPSILON) / 8.0;
            pixels = (pixels * 2.0).max(price.pixels).max(least);
        }
        None
    }

    /// Fills the table; tells how many cells can be reached.
    fn fill_cells(&mut self, case: Case<'_>, pixels: f64) -> usize {
        let cells = (case.has.rate / case.cell).round() as usize;
        self.best[..=cells].fill(f64::NEG_INFINITY);
        self.best[0] = 0.0;
        let mut reach = 0;
        for (row, own) in case.pairs().enumerate() {
            let table = &mut self.table[row * (CELLS + 1)..][..=CELLS];
            self.next[..=cells].fill(f64::NEG_INFINITY);
            let mut widest = 0;
            for (at, choice) in case.choices[own].iter().enumerate() {
                let cost = case.cells(choice);
                if cost > cells {
                    continue;
                }
                let worth = choice.worth - pixels * choice.pixels;
                widest = widest.max(cost);
                let from = &self.best[..=(cells - cost).min(reach)];
                let to = self.next[cost..].iter_mut().zip(&mut table[cost..]);
                for ((next, taken), before) in to.zip(from) {
                    let found = before + worth;
                    if found > *next {
                        *next = found;
                        *taken = at as u8;
                    }
                }
            }
            reach = (reach + widest).min(cells);
            core::mem::swap(&mut self.best, &mut self.next);
        }
        reach
    }

    /// Follows the best of the ends that truly fits; whether there is one.
    fn trace_back(&mut self, case: Case<'_>, reach: usize) -> bool {
        let mut limit = f64::INFINITY;
        for _ in 0..ENDS {
            let ends = (0..=reach).filter(|end| self.best[*end] < limit && self.best[*end].is_finite());
            let best = ends.max_by(|a, b| self.best[*a].total_cmp(&self.best[*b]).then(b.cmp(a)));
            let Some(end) = best else { return false };
            limit = self.best[end];
            self.follow(case, end);
            if case.fits(case.load(&self.trial)) {
                return true;
            }
        }
        false
    }

    fn follow(&mut self, case: Case<'_>, end: usize) {
        self.trial.clear();
        self.trial.resize(case.ends.len(), 0);
        let mut at = end;
        for row in (0..case.ends.len()).rev() {
            let taken = case.range(row).start + usize::from(self.table[row * (CELLS + 1) + at]);
            self.trial[row] = taken;
            at -= case.cells(&case.choices[taken]);
        }
    }
}

impl Case<'_> {
    fn range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        start..self.ends[row]
    }

    fn pairs(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.ends.len()).map(|row| self.range(row))
    }

    fn cells(&self, choice: &Choice) -> usize {
        (choice.rate / self.cell).round() as usize
    }

    /// What the prices choose; nothing where nothing is sent.
    fn dearest(&self, own: Range<usize>, price: Price) -> Option<usize> {
        let mut best = None;
        let mut most = f64::NEG_INFINITY;
        for at in own {
            let choice = &self.choices[at];
            let net = choice.worth - price.rate * choice.rate - price.pixels * choice.pixels;
            if net > most {
                (best, most) = (Some(at), net);
            }
        }
        best
    }

    fn load(&self, chosen: &[usize]) -> Load {
        chosen.iter().map(|at| &self.choices[*at]).fold(Load::default(), |load, choice| Load {
            rate: load.rate + choice.rate,
            pixels: load.pixels + choice.pixels,
        })
    }

    fn fits(&self, load: Load) -> bool {
        load.rate <= self.has.rate + EPSILON && load.pixels <= self.has.pixels + EPSILON
    }

    fn worth(&self, chosen: &[usize]) -> f64 {
        chosen.iter().map(|at| self.choices[*at].worth).sum()
    }

    /// Whether each pair has the most that is sent for it: nothing is better.
    fn is_most(&self, chosen: &[usize]) -> bool {
        self.pairs().zip(chosen).all(|(own, at)| {
            let most = self.choices[*at].worth;
            self.choices[own].iter().all(|choice| choice.worth <= most)
        })
    }

    /// Goes down until everything fits, each time where the least is lost for what is too much.
    fn lower(&self, chosen: &mut [usize]) -> Option<()> {
        let mut load = self.load(chosen);
        while !self.fits(load) {
            let over = Load {
                rate: (load.rate - self.has.rate).max(0.0),
                pixels: if self.has.pixels.is_infinite() {
                    0.0
                } else {
                    (load.pixels - self.has.pixels).max(0.0)
                },
            };
            let mut best = None;
            let mut least = f64::INFINITY;
            for (row, own) in self.pairs().enumerate() {
                let held = &self.choices[chosen[row]];
                for at in own {
                    let choice = &self.choices[at];
                    if choice.rate > held.rate || choice.pixels > held.pixels {
                        continue;
                    }
                    let saved = self.share(over, held, choice);
                    let loss = (held.worth - choice.worth) / saved;
                    if saved > 0.0 && loss < least {
                        (best, least) = (Some((row, at)), loss);
                    }
                }
            }
            let (row, at) = best?;
            load = load.moved(&self.choices[chosen[row]], &self.choices[at]);
            chosen[row] = at;
        }
        Some(())
    }

    /// How much of what is too much a step saves, as a share of what there is.
    fn share(&self, over: Load, held: &Choice, other: &Choice) -> f64 {
        let rate = (held.rate - other.rate).min(over.rate) / self.has.rate.max(EPSILON);
        let pixels = (held.pixels - other.pixels).min(over.pixels) / self.has.pixels.max(EPSILON);
        rate + pixels
    }

    /// Goes up while anything more fits, each time where the most is gained for what it takes.
    fn raise(&self, chosen: &mut [usize]) {
        let mut load = self.load(chosen);
        loop {
            let mut best = None;
            let mut most = 0.0;
            for (row, own) in self.pairs().enumerate() {
                let held = &self.choices[chosen[row]];
                for at in own {
                    let choice = &self.choices[at];
                    if choice.worth <= held.worth + EPSILON || !self.fits(load.moved(held, choice)) {
                        continue;
                    }
                    let rate = (choice.rate - held.rate) / self.has.rate.max(EPSILON);
                    let pixels = (choice.pixels - held.pixels) / self.has.pixels.max(EPSILON);
                    let gain = (choice.worth - held.worth) / (rate.max(0.0) + pixels.max(0.0)).max(EPSILON);
                    if gain > most {
                        (best, most) = (Some((row, at)), gain);
                    }
                }
            }
            let Some((row, at)) = best else { return };
            load = load.moved(&self.choices[chosen[row]], &self.choices[at]);
            chosen[row] = at;
        }
    }
}

impl Load {
    fn moved(self, from: &Choice, to: &Choice) -> Self {
        Self { rate: self.rate + to.rate - from.rate, pixels: self.pixels + to.pixels - from.pixels }
    }
}

const _: () = assert!(POINTS_MAX <= u8::MAX as usize);
