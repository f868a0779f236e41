//! Allocation: which layer of each picture a subscriber's path carries. Pure but for what it remembers of its switches.
//!
//! In: the rate allowed, what is wanted and what each layer takes. Out: a [`Decision`]. Time: `now`, monotonic; no timer.
//! Limit: the caller's pictures.
//!
//! Sound first; then every picture in sight its smallest layer, the largest view first; then step by step whichever
//! picture is enlarged most gets its next layer, as long as there is rate left. Where not even the smallest layers fit,
//! the smallest views go without.
//!
//! **Hysteresis.** What is held stays while it fits by [`TOLERANCE`], and for [`PATIENCE`] when it does not, unless far
//! more is sent than allowed or pictures had to be dropped from the queue. What is more than is held must fit with [`MARGIN`]. A step that
//! had to be taken back soon is tried again only after a time that doubles, or with much to spare.

use core::time::Duration;

use proto::time::Instant;
use proto::units::Bitrate;

/// How much more than it takes must be allowed before something better is taken.
const MARGIN: f64 = 1.1;

/// The same for what failed lately.
const MARGIN_AFTER_FAILURE: f64 = 1.4;

/// How much more than is allowed may be sent for ever: measured rates are no more exact.
const TOLERANCE: f64 = 1.05;

/// How long more than that may be sent.
const PATIENCE: Duration = Duration::from_millis(400);

/// Less than this share of what is sent allowed is no weakness of a moment.
const FAR_BELOW: f64 = 0.75;

/// A step that was taken back within this time has failed.
const PROVEN_AFTER: Duration = Duration::from_secs(20);

/// How long a failed step is not tried again: at first, and at most.
const HOLD_MIN: Duration = Duration::from_secs(8);
const HOLD_MAX: Duration = Duration::from_secs(60);

/// What a picture of [`TYPICAL_AREA`] takes, and how much more a larger one: as libwebrtc's simulcast encodes (1.7 Mbit/s
/// for 1280 × 720, 500 kbit/s for 640 × 360, 150 kbit/s for 320 × 180).
const TYPICAL: Bitrate = Bitrate::kbps(500);
const TYPICAL_AREA: u64 = 640 * 360;

/// A layer of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// What it takes with all headers; `None` if nobody has measured it.
    pub rate: Option<Bitrate>,
    /// Its pixels; 0 if unknown.
    pub area: u64,
}

/// A picture in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The pixels that it is seen in.
    pub view: u64,
    /// What there is of it, the smallest first, the best for its view last.
    pub layers: Vec<Layer>,
    /// Which of these it has.
    pub held: Option<usize>,
}

/// What there is to be allocated.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What may be sent.
    pub rate: Bitrate,
    /// How long what waits takes to leave.
    pub queue: Duration,
    /// Whether pictures had to be dropped because they would have waited for too long: the path carries less.
    pub is_strained: bool,
    /// What sound and retransmissions take.
    pub fixed: Bitrate,
    /// The pictures, in an order that stays.
    pub pictures: &'a [Picture],
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// By picture: which of its layers; `None` if it has to go without.
    pub chosen: Vec<Option<usize>>,
    /// What all of it takes.
    pub current: Bitrate,
    /// What must be allowed before something better is taken; `None` if there is nothing better.
    pub next: Option<Bitrate>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Allocator {
    short_since: Option<Instant>,
    /// When something better was taken that has neither failed nor proved itself.
    raised_at: Option<Instant>,
    /// Until when what failed is not tried again, and for how long that is.
    hold: Option<(Instant, Duration)>,
    /// Whether pictures had to go without.
    starved: bool,
}

/// Up to which rates steps are taken.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// For what is held.
    keep: Bitrate,
    /// For the smallest layer of a picture that has none.
    floor: Bitrate,
    /// For anything more.
    raise: Bitrate,
}

impl Allocator {
    /// Decides anew.
    pub fn allocate(&mut self, now: Instant, situation: &Situation<'_>) -> Decision {
        let pictures = situation.pictures;
        let rates: Vec<Vec<Bitrate>> = pictures.iter().map(rates).collect();
        let held: Vec<Option<usize>> =
            pictures.iter().map(|picture| picture.held.map(|held| held.min(top(picture)))).collect();
        let used = total(&rates, &held) + situation.fixed;
        let urgent = situation.rate < used.scaled(FAR_BELOW) || situation.is_strained;
        let short = situation.rate.scaled(TOLERANCE) < used;
        self.short_since = if short { self.short_since.or(Some(now)) } else { None };
        let patient = self.short_since.is_none_or(|since| now.since(since) < PATIENCE) && !(short && urgent);
        let budget = self.budget(now, situation, if patient { used } else { situation.rate });
        let chosen = choose(pictures, &rates, &held, situation.fixed, budget);
        self.learn(now, situation.rate.ratio(used), &held, &chosen);
        let current = total(&rates, &chosen) + situation.fixed;
        // While what failed is on hold, no less than what would be accepted is worth proving.
        let on_hold = self.hold.is_some_and(|(until, _)| now < until);
        let margin = if on_hold { MARGIN_AFTER_FAILURE } else { MARGIN };
        let next = next_step(&rates, &chosen).map(|step| (current + step).scaled(margin));
        Decision { chosen, current, next }
    }

    /// How much more than it takes must be allowed now before something better is taken.
    pub fn margin(&self, now: Instant) -> f64 {
        let on_hold = self.hold.is_some_and(|(until, _)| now < until);
        if on_hold { MARGIN_AFTER_FAILURE } else { MARGIN }
    }

    fn budget(&self, now: Instant, situation: &Situation<'_>, keep: Bitrate) -> Budget {
        let rate = situation.rate;
        let on_hold = self.hold.is_some_and(|(until, _)| now < until);
        let raise = rate.scaled(1.0 / if on_hold { MARGIN_AFTER_FAILURE } else { MARGIN });
        Budget { keep: keep.max(rate), floor: if self.starved { raise } else { rate }, raise }
    }

    /// Remembers what went up and down; `allowed` is the share of what was held that is allowed now.
    fn learn(&mut self, now: Instant, allowed: f64, held: &[Option<usize>], chosen: &[Option<usize>]) {
        let lowered = held.iter().zip(chosen).any(|(held, chosen)| chosen < held);
        let raised = held.iter().zip(chosen).any(|(held, chosen)| held.is_some() && chosen > held);
        self.starved = chosen.iter().any(Option::is_none);
        let raised_for = self.raised_at.map(|at| now.since(at));
        if lowered {
            let failed = raised_for.is_some_and(|time| time < PROVEN_AFTER) && allowed >= FAR_BELOW;
            if failed {
                let length = self.hold.map_or(HOLD_MIN, |(_, length)| (length * 2).min(HOLD_MAX));
                self.hold = Some((now + length, length));
            }
            self.raised_at = None;
            self.short_since = None;
        } else if raised_for.is_some_and(|time| time >= PROVEN_AFTER) {
            self.hold = None; // the last step has proved itself
            self.raised_at = None;
        }
        if raised {
            self.raised_at = Some(now);
        }
    }
}

/// What a picture of so many pixels typically takes; 0 if their number is unknown.
pub fn typical(area: u64) -> Bitrate {
    let ratio = if area == 0 { 1.0 } else { area as f64 / TYPICAL_AREA as f64 };
    TYPICAL.scaled((ratio * ratio.sqrt()).sqrt()) // ratio^¾
}

/// What each layer takes, measured or not.
fn rates(picture: &Picture) -> Vec<Bitrate> {
    let measured = picture.layers.iter().rfind(|layer| layer.rate.is_some() && layer.area > 0);
    let (of, area) =
        measured.map_or((TYPICAL, TYPICAL_AREA), |layer| (layer.rate.unwrap_or(TYPICAL), layer.area));
    let guess = |layer: &Layer| {
        let ratio = layer.area.max(1) as f64 / area as f64;
        of.scaled((ratio * ratio.sqrt()).sqrt()) // ratio^¾
    };
    picture.layers.iter().map(|layer| layer.rate.unwrap_or_else(|| guess(layer))).collect()
}

fn top(picture: &Picture) -> usize {
    picture.layers.len().saturating_sub(1)
}

fn total(rates: &[Vec<Bitrate>], chosen: &[Option<usize>]) -> Bitrate {
    rates.iter().zip(chosen).filter_map(|(rates, layer)| rates.get((*layer)?)).copied().sum()
}

/// What the cheapest next step costs.
fn next_step(rates: &[Vec<Bitrate>], chosen: &[Option<usize>]) -> Option<Bitrate> {
    let cost = |(rates, layer): (&Vec<Bitrate>, &Option<usize>)| {
        let next = *rates.get(layer.map_or(0, |layer| layer + 1))?;
        Some(next - layer.and_then(|layer| rates.get(layer)).copied().unwrap_or_default())
    };
    rates.iter().zip(chosen).filter_map(cost).min()
}

fn choose(
    pictures: &[Picture],
    rates: &[Vec<Bitrate>],
    held: &[Option<usize>],
    fixed: Bitrate,
    budget: Budget,
) -> Vec<Option<usize>> {
    let mut chosen: Vec<Option<usize>> = vec![None; pictures.len()];
    let mut used = fixed;
    let mut order: Vec<usize> = (0..pictures.len()).filter(|at| !pictures[*at].layers.is_empty()).collect();
    order.sort_by_key(|at| core::cmp::Reverse(pictures[*at].view)); // stable: of equals the first
    for &at in &order {
        let limit = if held[at].is_some() { budget.keep } else { budget.floor };
        if used + rates[at][0] <= limit {
            used += rates[at][0];
            chosen[at] = Some(0);
        }
    }
    let mut open: Vec<usize> = order.into_iter().filter(|at| chosen[*at].is_some()).collect();
    loop {
        open.retain(|at| chosen[*at] < Some(top(&pictures[*at])));
        let poorest = open.iter().copied().max_by(|one, two| enlarged(pictures, &chosen, *one, *two));
        let Some(at) = poorest else { return chosen };
        let next = chosen[at].map_or(0, |layer| layer + 1);
        let cost = rates[at][next] - rates[at][next - 1];
        let limit = if held[at] >= Some(next) { budget.keep } else { budget.raise };
        if used + cost <= limit {
            used += cost;
            chosen[at] = Some(next);
        } else {
            open.retain(|other| *other != at);
        }
    }
}

/// Which of two pictures is enlarged more; of equals the first is.
fn enlarged(pictures: &[Picture], chosen: &[Option<usize>], one: usize, two: usize) -> core::cmp::Ordering {
    let area = |at: usize| chosen[at].map_or(1, |layer| pictures[at].layers[layer].area.max(1));
    let product = |view: usize, layer: usize| u128::from(pictures[view].view) * u128::from(area(layer));
    product(one, two).cmp(&product(two, one)).then(two.cmp(&one))
}

#[cfg(test)]
mod tests;
