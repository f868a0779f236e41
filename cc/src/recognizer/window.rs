//! The last ten seconds of what packets showed, in slots of a second.
//!
//! In: sums of one report. Out: sums of the window. Time: `now`, monotonic. Limit: `SLOTS` slots.

use core::time::Duration;

use proto::time::Instant;

use super::losses;

/// How long a slot lasts, and how many there are: references §4.5 judges over 10 s.
const SLOT: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;

/// What packets showed in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    /// For how long, in seconds.
    pub(super) seconds: f64,
    /// For how much of it others filled the queue.
    pub(super) competing: f64,
    /// For how much of it a ceiling stood.
    pub(super) limited: f64,
    /// Packets with a result.
    pub(super) packets: f64,
    /// Those lost.
    pub(super) lost: f64,
    /// Those lost whose forerunner was lost too.
    pub(super) paired: f64,
    /// Intervals with losses, see `losses`.
    pub(super) lossy: f64,
    /// Packets that no report covers.
    pub(super) unheard: f64,
    /// Times without arrivals that began when packets were under way.
    pub(super) stalls: f64,
    /// Short bins of arrivals, and those in which the delay exceeds the base throughout, see `arrivals`.
    pub(super) bins: f64,
    pub(super) busy: f64,
    /// For how long the queue was bloated, in seconds.
    pub(super) bloated: f64,
}

impl Counts {
    /// Adds what other packets showed.
    pub(super) fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.competing += other.competing;
        self.limited += other.limited;
        self.packets += other.packets;
        self.lost += other.lost;
        self.paired += other.paired;
        self.lossy += other.lossy;
        self.unheard += other.unheard;
        self.stalls += other.stalls;
        self.bins += other.bins;
        self.busy += other.busy;
        self.bloated += other.bloated;
    }

    /// The share of packets that were lost.
    pub(super) fn loss(&self) -> f64 {
        share(self.lost, self.packets)
    }

    /// How probable a loss is after a loss.
    pub(super) fn loss_after_loss(&self) -> f64 {
        share(self.paired, self.lost)
    }

    /// How evenly losses are spread over the window: the intervals that have some, of those that would have some if runs of
    /// losses came by chance; about 1 for chance, little for a few probes.
    pub(super) fn evenness(&self) -> f64 {
        let runs = share(self.lost - self.paired, self.intervals());
        // Poisson's share of intervals without any, e to the minus runs, by the first terms of its reciprocal.
        let none = 1.0 / (1.0 + runs * (1.0 + runs * (0.5 + runs / 6.0)));
        share(self.lossy, self.intervals() * (1.0 - none))
    }

    fn intervals(&self) -> f64 {
        self.seconds / losses::INTERVAL.as_secs_f64()
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
        share(self.limited, self.seconds)
    }

    /// The share of bins in which the delay exceeds the base throughout.
    pub(super) fn busy_share(&self) -> f64 {
        share(self.busy, self.bins)
    }

    /// The share of the time in which others filled the queue.
    pub(super) fn competed(&self) -> f64 {
        share(self.competing, self.seconds)
    }
}

/// A part of a whole, 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: [Counts; SLOTS],
    current: usize,
    ends: Option<Instant>,
}

impl Window {
    /// Adds what a report showed.
    pub(super) fn add(&mut self, now: Instant, counts: &Counts) {
        let mut ends = self.ends.unwrap_or(now + SLOT);
        if now.since(ends) >= SLOT * SLOTS as u32 {
            // Silence: nothing that is kept is of the window.
            self.slots = [Counts::default(); SLOTS];
            ends = now + SLOT;
        }
        while now >= ends {
            self.current = (self.current + 1) % SLOTS;
            self.slots[self.current] = Counts::default();
            ends += SLOT;
        }
        self.ends = Some(ends);
        self.slots[self.current].add(counts);
    }

    /// What all of the window showed.
    pub(super) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for slot in &self.slots {
            sum.add(slot);
        }
        sum
    }
}
