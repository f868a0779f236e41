//! Demand: how much each layer of a published picture shall take, by what those who watch can take. Pure but for what it
//! remembers of its last words.
//!
//! In: what each layer takes and what each viewer could take. Out: [`Demands::cap`] by layer. Time: `now`, monotonic; no
//! timer, the caller comes back. Limit: the caller's layers and viewers.
//!
//! **The rule.** Each viewer counts for the largest layer, up to the one its view wants, that its path carries at the
//! layer's [`floor`] at least. A layer is capped to what the best of its viewers can take, so that this one gets the
//! larger picture at a rate that its path carries; it is not capped if that one can take it whole. Viewers who can take
//! [`NEAR`] as much have it, too: their paths are of a kind, and estimates waver. Below its floor nobody gets a layer, and
//! its cap stays as it is. What nobody needs capped goes back to its full rate.
//!
//! **Hysteresis.** A cap falls by [`LOWER_SHARE`] at least, [`LOWER_INTERVAL`] apart. It rises when there has been more
//! room for [`CALM`], by no more than [`RAISE_MAX`] at once: Chromium 156 sends key frames on all layers after a
//! `maxBitrate` that is tripled, and none after half as much more.

use core::time::Duration;

use proto::ids::Rid;
use proto::time::Instant;
use proto::units::Bitrate;

use super::allocation::typical;

/// Who can take this share of what the best of a layer's viewers can take is not left behind.
const NEAR: f64 = 0.85;

/// A cap falls only below this share of itself.
const LOWER_SHARE: f64 = 0.93;

/// and not sooner after another.
const LOWER_INTERVAL: Duration = Duration::from_millis(500);

/// A cap rises only above this many times itself.
const RAISE_SHARE: f64 = 1.04;

/// and only after so long with room for more.
const CALM: Duration = Duration::from_secs(2);

/// The most that it rises at once.
const RAISE_MAX: f64 = 1.5;

/// How far beyond what is allowed already a viewer looks for more.
const LOOK_AHEAD: f64 = 2.0;

/// What a layer may be pressed to, of what is typical for its size: Chromium's VP8 gives up frames below that. The
/// smallest layer is better bad than not there.
const FLOOR_SHARE: f64 = 0.5;
const FLOOR_SHARE_OF_SMALLEST: f64 = 0.25;

/// A layer that takes less than this share of its cap is not held back by it.
const USED: f64 = 0.8;

/// What is measured says so late what a new cap has made of it: meters look back eight seconds.
const MEASURED_AFTER: Duration = Duration::from_secs(9);

/// A layer that is not capped has shown its full rate after so long: an encoder takes that long to get there.
const FULL_AFTER: Duration = Duration::from_secs(3);

/// A layer of a published picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name; `None` if it is the only one.
    pub rid: Option<Rid>,
    /// What it takes now with all headers; `None` if nobody has measured it.
    pub rate: Option<Bitrate>,
    /// What its publisher says that it would take without any cap, with all headers, if it says so.
    pub stated: Option<Bitrate>,
    /// Its pixels; 0 if unknown.
    pub area: u64,
}

/// A viewer of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    /// The best layer for its view, by its place among the layers.
    pub best: usize,
    /// The layer that it has.
    pub held: Option<usize>,
    /// What the picture may take of its path in a layer that it has,
    pub keep: Bitrate,
    /// and in a larger one.
    pub more: Bitrate,
}

/// What is remembered of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remembered {
    rid: Option<Rid>,
    cap: Option<Bitrate>,
    changed_at: Option<Instant>,
    /// Since when there has been room for more, and the least room since then; `None` for any.
    calm: Option<(Instant, Option<Bitrate>)>,
    /// What it took while it was not capped.
    full: Option<Bitrate>,
    /// Whether it took nearly what it might when its cap changed last, and will now.
    is_used: bool,
}

/// The demands on one published picture; see the module's description.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    layers: Vec<Remembered>,
}

impl Demands {
    /// Decides anew; `layers` are in the order of their size, the smallest first. Whether a cap has changed.
    pub fn plan(&mut self, now: Instant, layers: &[Layer], viewers: &[Viewer]) -> bool {
        let floors: Vec<Bitrate> = (0..layers.len()).map(|at| floor(layers[at].area, at == 0)).collect();
        let counted: Vec<(usize, Bitrate)> =
            viewers.iter().filter_map(|viewer| counts_for(viewer, &floors)).collect();
        let served = counted.iter().map(|(at, _)| *at).max();
        let wanted = viewers.iter().map(|viewer| viewer.best).max();
        let mut changed = false;
        for (at, layer) in layers.iter().enumerate() {
            let remembered = self.remember(now, layer);
            if Some(at) > served && Some(at) <= wanted {
                remembered.calm = None; // nobody's path carries it at all
                continue;
            }
            let room = room_of(counted.iter().filter(|(own, _)| *own == at).map(|(_, room)| *room));
            let full = remembered.full.unwrap_or_else(|| typical(layer.area));
            let short = room.filter(|(best, _)| *best < full);
            let target = short.map(|(_, room)| room.max(floors[at]));
            let is_used = layer.rate.is_some_and(|rate| rate > remembered.cap.unwrap_or(full).scaled(USED));
            if remembered.follow(now, target, full) {
                remembered.is_used = is_used;
                changed = true;
            }
        }
        changed
    }

    /// The most that a layer shall take with all headers; `None` if it may take what it likes.
    pub fn cap(&self, rid: Option<&Rid>) -> Option<Bitrate> {
        self.find(rid)?.cap
    }

    /// What a layer takes if it is not capped, as far as is known.
    pub fn full(&self, rid: Option<&Rid>) -> Option<Bitrate> {
        self.find(rid)?.full
    }

    /// What a layer takes now, if `measured` shows what it took in the last [`MEASURED_AFTER`].
    pub fn expected(&self, now: Instant, rid: Option<&Rid>, measured: Bitrate) -> Bitrate {
        let Some(layer) = self.find(rid) else { return measured };
        if layer.changed_at.is_none_or(|at| now.since(at) >= MEASURED_AFTER) {
            return measured;
        }
        let most = layer.cap.or(layer.full).unwrap_or(measured);
        if layer.is_used { most } else { measured.min(most) }
    }

    /// How much more a layer would take if it were not capped: nothing if its cap does not hold it back.
    pub fn held_back(&self, rid: Option<&Rid>, rate: Bitrate) -> Bitrate {
        let layer = self.find(rid).filter(|layer| layer.cap.is_some_and(|cap| rate > cap.scaled(USED)));
        layer.and_then(|layer| layer.full).unwrap_or_default().saturating_sub(rate)
    }

    fn find(&self, rid: Option<&Rid>) -> Option<&Remembered> {
        self.layers.iter().find(|layer| layer.rid.as_ref() == rid)
    }

    /// What is remembered of a layer, with what is to be learned from it now.
    fn remember(&mut self, now: Instant, layer: &Layer) -> &mut Remembered {
        let found = self.layers.iter().position(|known| known.rid == layer.rid);
        let at = found.unwrap_or_else(|| {
            let rid = layer.rid.clone();
            self.layers.push(Remembered {
                rid,
                cap: None,
                changed_at: None,
                calm: None,
                full: None,
                is_used: false,
            });
            self.layers.len() - 1
        });
        let remembered = &mut self.layers[at];
        if layer.stated.is_some() {
            remembered.full = layer.stated;
        } else if remembered.cap.is_none() {
            let is_settled = remembered.changed_at.is_none_or(|at| now.since(at) >= FULL_AFTER);
            let shown = layer.rate.filter(|rate| is_settled || Some(*rate) > remembered.full);
            remembered.full = shown.or(remembered.full);
        }
        remembered
    }
}

impl Remembered {
    /// Goes towards `target`, `None` being no cap, as far as it may now; whether the cap has changed.
    fn follow(&mut self, now: Instant, target: Option<Bitrate>, full: Bitrate) -> bool {
        let since = self.changed_at.map(|at| now.since(at));
        let falls = target.is_some_and(|target| self.cap.is_none_or(|cap| target < cap.scaled(LOWER_SHARE)));
        if falls {
            self.calm = None;
            return since.is_none_or(|since| since >= LOWER_INTERVAL) && self.set(now, target);
        }
        let Some(cap) = self.cap else { return false };
        if target.is_some_and(|target| target < cap.scaled(RAISE_SHARE).min(full)) {
            self.calm = None;
            return false;
        }
        let (begun, least) = *self.calm.get_or_insert((now, target));
        let least = match (least, target) {
            (Some(least), Some(target)) => Some(least.min(target)),
            (least, target) => least.or(target),
        };
        self.calm = Some((begun, least));
        if now.since(begun) < CALM || since.is_some_and(|since| since < CALM) {
            return false;
        }
        let most = cap.scaled(RAISE_MAX);
        let next = least.unwrap_or(full).min(most);
        self.calm = None;
        self.set(now, (least.is_some() || next < full).then_some(next))
    }

    fn set(&mut self, now: Instant, cap: Option<Bitrate>) -> bool {
        self.cap = cap;
        self.changed_at = Some(now);
        true
    }
}

/// The least useful rate of a layer of so many pixels, with all headers.
pub fn floor(area: u64, is_smallest: bool) -> Bitrate {
    typical(area).scaled(if is_smallest { FLOOR_SHARE_OF_SMALLEST } else { FLOOR_SHARE })
}

/// The room of the best viewer, and the least of those [`NEAR`] it.
fn room_of(rooms: impl Iterator<Item = Bitrate> + Clone) -> Option<(Bitrate, Bitrate)> {
    let best = rooms.clone().max()?;
    Some((best, rooms.filter(|room| *room >= best.scaled(NEAR)).min()?))
}

/// The layer that a viewer counts for and how much of it its path carries; `None` if it carries none.
fn counts_for(viewer: &Viewer, floors: &[Bitrate]) -> Option<(usize, Bitrate)> {
    let room = |at: usize| if viewer.held >= Some(at) { viewer.keep } else { viewer.more };
    let best = viewer.best.min(floors.len().checked_sub(1)?);
    (0..=best).rev().find(|at| room(*at) >= floors[*at]).map(|at| (at, room(at)))
}

/// A picture among those that a viewer's path carries, for [`next_step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Which of its layers the viewer has.
    pub held: Option<usize>,
    /// Its layers up to the best for its view, the smallest first.
    pub layers: Vec<Range>,
}

impl Stretch {
    /// What it takes now.
    pub fn taken(&self) -> Bitrate {
        self.held.and_then(|held| self.layers.get(held)).map_or(Bitrate::ZERO, |own| own.rate)
    }

    /// Whether there is anything better.
    pub fn is_hungry(&self) -> bool {
        let own = self.held.and_then(|held| self.layers.get(held));
        let is_best = self.held.map_or(0, |held| held + 1) >= self.layers.len();
        !is_best || own.is_some_and(|own| own.full > own.rate)
    }
}

/// What a layer takes, and between which rates its publisher would make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// What it takes now.
    pub rate: Bitrate,
    /// The least that it would be pressed to.
    pub floor: Bitrate,
    /// What it would take if it were not capped; no more than `rate` if its cap does not hold it back.
    pub full: Bitrate,
}

/// What the cheapest next step costs a viewer that is allowed `room` more than it has: a larger layer, which can be had
/// at its floor, or more of a layer that is capped. `None` if there is nothing better.
///
/// A rate that is not bound to a layer is looked for in steps: [`LOOK_AHEAD`] times what is allowed already.
pub fn next_step(pictures: &[Stretch], room: Bitrate) -> Option<Bitrate> {
    let step = |picture: &Stretch| {
        let own = picture.held.and_then(|held| picture.layers.get(held));
        let taken = picture.taken();
        let reach = |full: Bitrate| full.min((taken + room).scaled(LOOK_AHEAD));
        let more = own.filter(|own| own.full > own.rate).map(|own| reach(own.full));
        let next = picture.layers.get(picture.held.map_or(0, |held| held + 1));
        let larger = next.map(|next| {
            let floor = next.floor.min(next.rate);
            if taken + room < floor { floor } else { reach(next.full.max(next.rate)) }
        });
        let step = more.into_iter().chain(larger).min()?;
        Some(step - taken)
    };
    pictures.iter().filter_map(step).min()
}

#[cfg(test)]
mod tests;
