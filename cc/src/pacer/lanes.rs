//! The lanes in which packets wait: one for each class, three by priority for those of pictures.
//!
//! In: packets by [`Lane`]. Out: the lane whose first packet leaves next. Time: `now`, monotonic. Limit: what waited
//! [`AGE_MAX`] is dropped; how many wait is the pacer's to say.
//!
//! **Order.** By class, strictly but for one thing: of [`REPAIRS_MAX`] + 1 packets that leave while pictures wait at least
//! one is a picture. Within a class of pictures the highest priority leaves first, but of [`PASSES_MAX`] + 1 packets that
//! leave while a lower one waits at least one is of a lower one: it gets an eighth, and moves whatever comes before it.

use core::time::Duration;
use std::collections::VecDeque;

use proto::scene::Priority;
use proto::time::Instant;
use proto::units::DataSize;

use crate::packet::PacketClass;

/// A packet that waited so long is of no use to a conversation any more.
const AGE_MAX: Duration = Duration::from_secs(2);

/// How many packets of repair leave in a row while pictures wait.
const REPAIRS_MAX: u32 = 4;

/// How many packets of a priority leave in a row while a lower one waits.
const PASSES_MAX: u32 = 7;

/// Where a packet waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// What it carries.
    pub class: PacketClass,
    /// Which of its kind leaves first; it counts for pictures alone.
    pub priority: Priority,
}

impl From<PacketClass> for Lane {
    fn from(class: PacketClass) -> Self {
        Self { class, priority: Priority::default() }
    }
}

impl Lane {
    const fn place(self) -> usize {
        match self.class {
            PacketClass::Control => CONTROL,
            PacketClass::Audio => AUDIO,
            PacketClass::Repair => REPAIR,
            PacketClass::Base => BASE + self.priority as usize,
            PacketClass::Video => VIDEO + self.priority as usize,
            PacketClass::Padding => PADDING,
        }
    }
}

const CONTROL: usize = 0;
const AUDIO: usize = 1;
const REPAIR: usize = 2;
const BASE: usize = 3;
const VIDEO: usize = BASE + PRIORITIES;
const PADDING: usize = VIDEO + PRIORITIES;
const LANES: usize = PADDING + 1;
const PRIORITIES: usize = Priority::ALL.len();

/// The lanes of pictures, by their bits.
const PICTURES: u16 = (1 << PADDING) - (1 << BASE);

/// The class of each lane.
const CLASSES: [PacketClass; LANES] = [
    PacketClass::Control,
    PacketClass::Audio,
    PacketClass::Repair,
    PacketClass::Base,
    PacketClass::Base,
    PacketClass::Base,
    PacketClass::Video,
    PacketClass::Video,
    PacketClass::Video,
    PacketClass::Padding,
];

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Queued<P> {
    pub(super) since: Instant,
    /// What of its lane was before it when it came.
    behind: DataSize,
    pub(super) size: DataSize,
    pub(super) packet: P,
}

/// The packet that is next, by its lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    place: usize,
    pub(super) class: PacketClass,
    pub(super) since: Instant,
}

/// See the module's description.
#[derive(Debug)]
#[repr(C)] // an empty one is known by its first fields
pub(super) struct Lanes<P> {
    packets: usize,
    /// A bit for each lane in which something waits.
    waiting: u16,
    /// How many packets of repair left since a picture did or none waited.
    repairs: u32,
    /// By lane: how many packets of it left since one of a lower priority did or none waited.
    passes: [u32; LANES],
    /// Before this nothing is too old.
    expires: Instant,
    dropped: u64,
    sizes: [DataSize; LANES],
    queues: [VecDeque<Queued<P>>; LANES],
}

impl<P> Lanes<P> {
    pub(super) fn new() -> Self {
        Self {
            queues: core::array::from_fn(|_| VecDeque::new()),
            sizes: [DataSize::ZERO; LANES],
            waiting: 0,
            packets: 0,
            repairs: 0,
            passes: [0; LANES],
            expires: Instant::ZERO,
            dropped: 0,
        }
    }

    pub(super) fn push(&mut self, now: Instant, lane: Lane, size: DataSize, packet: P) {
        if self.packets == 0 {
            self.expires = now + AGE_MAX;
        }
        let place = lane.place();
        let behind = self.sizes[place];
        self.queues[place].push_back(Queued { since: now, behind, size, packet });
        self.sizes[place] += size;
        self.waiting |= 1 << place;
        self.packets += 1;
    }

    /// What leaves next of what waits for nothing but its turn: control and sound.
    pub(super) fn at_once(&self) -> Option<Next> {
        const AT_ONCE: u16 = 1 << CONTROL | 1 << AUDIO;
        if self.waiting & AT_ONCE == 0 {
            return None;
        }
        self.first_of((self.waiting & AT_ONCE).trailing_zeros() as usize)
    }

    /// What leaves next of what has to be paid for.
    pub(super) fn paced(&self) -> Option<Next> {
        let repair = self.waiting & 1 << REPAIR != 0;
        if repair && (self.repairs < REPAIRS_MAX || self.waiting & PICTURES == 0) {
            return self.first_of(REPAIR);
        }
        self.picture(BASE).or_else(|| self.picture(VIDEO)).or_else(|| self.first_of(PADDING))
    }

    pub(super) fn take(&mut self, next: Next) -> Option<Queued<P>> {
        let taken = self.queues[next.place].pop_front()?;
        self.note_gone(next.place, taken.size);
        let passes = next.place == REPAIR && self.waiting & PICTURES != 0;
        self.repairs = if passes { self.repairs + 1 } else { 0 };
        if (BASE..PADDING).contains(&next.place) {
            self.note_pass(next.place);
        }
        Some(taken)
    }

    /// Drops what has waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.packets == 0 || now <= self.expires {
            return;
        }
        for place in 0..LANES {
            while self.queues[place].front().is_some_and(|queued| now.since(queued.since) > AGE_MAX) {
                let Some(Queued { size, .. }) = self.queues[place].pop_front() else { break };
                self.note_gone(place, size);
                self.dropped += 1;
            }
        }
        self.expires = self.oldest().unwrap_or(now) + AGE_MAX;
    }

    pub(super) fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.sizes = [DataSize::ZERO; LANES];
        (self.waiting, self.packets) = (0, 0);
    }

    /// Gives back the memory that queues have grown to.
    pub(super) fn shrink(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::shrink_to_fit);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(DataSize, &P) -> bool) {
        for place in 0..LANES {
            self.queues[place].retain(|queued| keep(queued.size, &queued.packet));
            self.recount(place);
        }
    }

    /// Gives packets another size; `None` leaves one as it is.
    pub(super) fn resize(&mut self, mut resize: impl FnMut(&mut P) -> Option<DataSize>) {
        for place in 0..LANES {
            for queued in &mut self.queues[place] {
                queued.size = resize(&mut queued.packet).unwrap_or(queued.size);
            }
            self.recount(place);
        }
    }

    /// Moves pictures to the lanes of other priorities, without changing their order there by age.
    pub(super) fn prioritize(&mut self, mut priority: impl FnMut(&P) -> Option<Priority>) {
        for class in [BASE, VIDEO] {
            let mut moved = Vec::new();
            for place in class..class + PRIORITIES {
                for queued in core::mem::take(&mut self.queues[place]) {
                    let to = priority(&queued.packet).map_or(place, |priority| class + priority as usize);
                    moved.push((to, queued));
                }
            }
            moved.sort_by_key(|(_, queued)| queued.since); // stable: what came together stays together
            for (to, queued) in moved {
                self.queues[to].push_back(queued);
            }
            (class..class + PRIORITIES).for_each(|place| self.recount(place));
        }
    }

    /// All that waits, lane by lane, the oldest of each first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Queued<P>> {
        self.queues.iter().flatten()
    }

    /// What leaves before a packet that comes to this lane now, as far as is known: later ones of higher lanes not counted.
    pub(super) fn ahead(&self, lane: Lane) -> DataSize {
        self.sizes[..=lane.place()].iter().copied().sum()
    }

    /// Since when the first packet of a lane has waited.
    pub(super) fn waits_since(&self, lane: Lane) -> Option<Instant> {
        self.queues[lane.place()].front().map(|queued| queued.since)
    }

    /// How long a packet waits that comes to this lane now, if it goes on as it did for the first one there: that has
    /// waited so long for what was before it, and now it is so much more or less, twice as much at most. As long as that has
    /// waited, if it came to less than `least`.
    pub(super) fn as_before(&self, now: Instant, lane: Lane, least: DataSize) -> Duration {
        let place = lane.place();
        let Some(first) = self.queues[place].front() else { return Duration::ZERO };
        let waited = now.since(first.since);
        if first.behind < least.max(DataSize::bytes(1)) {
            return waited;
        }
        let nanos = waited.as_nanos() as u64;
        let (now, then) = (self.sizes[place].as_bytes(), first.behind.as_bytes());
        Duration::from_nanos((nanos.saturating_mul(now) / then).min(nanos * 2)).max(waited)
    }

    /// Since when the oldest packet has waited.
    pub(super) fn oldest(&self) -> Option<Instant> {
        if self.packets == 0 {
            return None;
        }
        self.queues.iter().filter_map(|queue| queue.front()).map(|queued| queued.since).min()
    }

    /// Whether pictures or repair wait.
    pub(super) fn has_useful(&self) -> bool {
        self.waiting & (PICTURES | 1 << REPAIR) != 0
    }

    pub(super) fn size(&self) -> DataSize {
        self.sizes.iter().copied().sum()
    }

    pub(super) fn len(&self) -> usize {
        self.packets
    }

    /// For how many packets there is memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.queues.iter().map(VecDeque::capacity).sum()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn first_of(&self, place: usize) -> Option<Next> {
        let since = self.queues[place].front()?.since;
        Some(Next { place, class: CLASSES[place], since })
    }

    /// The next of a class of pictures, whose lanes begin at `class`.
    fn picture(&self, class: usize) -> Option<Next> {
        let mut waiting = self.waiting >> class & ((1 << PRIORITIES) - 1);
        while waiting != 0 {
            let place = class + waiting.trailing_zeros() as usize;
            waiting &= waiting - 1;
            if waiting == 0 || self.passes[place] < PASSES_MAX {
                return self.first_of(place);
            }
        }
        None
    }

    /// A picture's packet has left: whom it has passed.
    fn note_pass(&mut self, place: usize) {
        let class = if place < VIDEO { BASE } else { VIDEO };
        let lower = self.waiting >> (place + 1) & ((1 << (class + PRIORITIES - place - 1)) - 1);
        self.passes[place] = if lower == 0 { 0 } else { self.passes[place] + 1 };
        self.passes[class..place].fill(0);
    }

    fn note_gone(&mut self, place: usize, size: DataSize) {
        self.sizes[place] -= size;
        self.packets -= 1;
        if self.queues[place].is_empty() {
            self.waiting &= !(1 << place);
        }
    }

    /// Counts a lane anew.
    fn recount(&mut self, place: usize) {
        self.sizes[place] = self.queues[place].iter().map(|queued| queued.size).sum();
        let bit = 1 << place;
        self.waiting = if self.queues[place].is_empty() { self.waiting & !bit } else { self.waiting | bit };
        self.packets = self.queues.iter().map(VecDeque::len).sum();
    }
}
