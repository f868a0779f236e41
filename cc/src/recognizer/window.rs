//! The last ten seconds of what packets showed, in slots of a second.
//!
//! In: sums of one report. Out: sums of the window. Time: `now`, monotonic. Limit: `SLOTS` slots.

use core::time::Duration;

use proto::time::Instant;

use super::losses;

/// How long a slot lasts, and how many there are: references §4.5 judges over 10 s.
const SLOT: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;

/// What packets showed in some time, in whole numbers: sums of them stay exact whatever is added and taken away again.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    /// For how long, in nanoseconds.
    pub(super) nanos: i64,
    /// For how much of it others filled the queue.
    pub(super) competing: i64,
    /// For how much of it a ceiling stood.
    pub(super) limited: i64,
    /// For how much of it the queue was bloated.
    pub(super) bloated: i64,
    /// Packets with a result.
    pub(super) packets: i64,
    /// Those lost.
    pub(super) lost: i64,
    /// Those lost whose forerunner was lost too.
    pub(super) paired: i64,
    /// Intervals with losses, see `losses`.
    pub(super) lossy: i64,
    /// Packets that no report covers.
    pub(super) unheard: i64,
    /// Times without arrivals that began when packets were under way.
    pub(super) stalls: i64,
    /// Short bins of arrivals, and those in which the delay exceeds the base throughout, see `arrivals`.
    pub(super) bins: i64,
    pub(super) busy: i64,
}

impl Counts {
    /// Adds what other packets showed.
    pub(super) fn add(&mut self, other: &Self) {
        self.nanos += other.nanos;
        self.competing += other.competing;
        self.limited += other.limited;
        self.bloated += other.bloated;
        self.packets += other.packets;
        self.lost += other.lost;
        self.paired += other.paired;
        self.lossy += other.lossy;
        self.unheard += other.unheard;
        self.stalls += other.stalls;
        self.bins += other.bins;
        self.busy += other.busy;
    }

    /// Takes away what was added.
    fn take_away(&mut self, other: &Self) {
        self.nanos -= other.nanos;
        self.competing -= other.competing;
        self.limited -= other.limited;
        self.bloated -= other.bloated;
        self.packets -= other.packets;
        self.lost -= other.lost;
        self.paired -= other.paired;
        self.lossy -= other.lossy;
        self.unheard -= other.unheard;
        self.stalls -= other.stalls;
        self.bins -= other.bins;
        self.busy -= other.busy;
    }

    /// The share of packets that were lost.
    pub(super) fn loss(&self) -> f64 {
        share(self.lost, self.packets)
    }

    /// How probable a loss is after a loss.
    pub(super) fn loss_after_loss(&self) -> f64 {
        share(self.paired, self.lost)
    }

    /// For how long the queue was bloated, in seconds.
    pub(super) fn bloated_s(&self) -> f64 {
        self.bloated as f64 / 1e9
    }

    /// How evenly losses are spread over the window: the intervals that have some, of those that would have some if runs of
    /// losses came by chance; about 1 for chance, little for a few probes.
    pub(super) fn evenness(&self) -> f64 {
        if self.lost == 0 {
            return 0.0;
        }
        let runs = part((self.lost - self.paired) as f64, self.intervals());
        // Poisson's share of intervals without any, e to the minus runs, by the first terms of its reciprocal.
        let none = 1.0 / (1.0 + runs * (1.0 + runs * (0.5 + runs / 6.0)));
        part(self.lossy as f64, self.intervals() * (1.0 - none))
    }

    fn intervals(&self) -> f64 {
        self.nanos as f64 / losses::INTERVAL.as_nanos() as f64
    }

    /// How many packets in a row are lost on average, at least one.
    pub(super) fn run(&self) -> f64 {
        1.0 / (1.0 - self.loss_after_loss()).max(0.02)
    }

    /// The share of packets that no report covers.
    pub(super) fn silence(&self) -> f64 {
        share(self.unheard, self.packets + self.unheard)
    }

    /// The share of the time in which a ceiling stood.
    pub(super) fn limited(&self) -> f64 {
        share(self.limited, self.nanos)
    }

    /// The share of bins in which the delay exceeds the base throughout.
    pub(super) fn busy_share(&self) -> f64 {
        share(self.busy, self.bins)
    }

    /// The share of the time in which others filled the queue.
    pub(super) fn competed(&self) -> f64 {
        share(self.competing, self.nanos)
    }
}

/// A count's part of another, 0 of nothing.
fn share(part_of: i64, whole: i64) -> f64 {
    part(part_of as f64, whole as f64)
}

/// A part of a whole, 0 of nothing; mostly the part is nothing, and nothing need be divided.
fn part(part: f64, whole: f64) -> f64 {
    if part != 0.0 && whole > 0.0 { part / whole } else { 0.0 }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: [Counts; SLOTS],
    /// What all slots show together.
    sum: Counts,
    current: usize,
    ends: Option<Instant>,
}

impl Window {
    /// Adds what a report showed.
    pub(super) fn add(&mut self, now: Instant, counts: &Counts) {
        let mut ends = self.ends.unwrap_or(now + SLOT);
        if now >= ends {
            ends = self.turn(now, ends);
        }
        self.ends = Some(ends);
        self.slots[self.current].add(counts);
        self.sum.add(counts);
    }

    /// What all of the window showed.
    pub(super) fn sum(&self) -> &Counts {
        &self.sum
    }

    /// Makes slots empty whose time has come again; when the one ends that is current then.
    fn turn(&mut self, now: Instant, mut ends: Instant) -> Instant {
        if now.since(ends) >= SLOT * SLOTS as u32 {
            // Silence: nothing that is kept is of the window.
            *self = Self::default();
            return now + SLOT;
        }
        while now >= ends {
            self.current = (self.current + 1) % SLOTS;
            let oldest = core::mem::take(&mut self.slots[self.current]);
            self.sum.take_away(&oldest);
            ends += SLOT;
        }
        ends
    }
}
