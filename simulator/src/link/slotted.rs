//! A server that works at certain moments only: delivery opportunities of a trace, or the subframes of a cell.
//!
//! In: parcels in the buffer. Out: departures. Time: `due`; nothing is due while nothing waits. A slot carries as many
//! parcels as fit its budget and a part of the next one, whose rest goes with the slots after it; what a slot could have
//! carried beyond what waits is wasted. A slot carries what arrived before it. The slots that a stall swallows are
//! made up for at its end, as far as something waited.

use proto::time::{Instant, earliest};
use proto::units::Bitrate;

use super::Parcel;
use super::head::{Head, Ports};
use super::lte::Subframes;
use super::opportunities::Schedule;
use super::stalls::Stalls;
use super::work::Work;

/// Where slots come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A trace.
    Opportunities(Schedule),
    /// A cell.
    Subframes(Box<Subframes>),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Slotted {
    source: Source,
    stalls: Option<Stalls>,
    head: Head,
    next: Option<Instant>,
    /// The end of a stall that has swallowed slots.
    makes_up_at: Option<Instant>,
}

impl Slotted {
    /// A server whose head is as another one left it.
    pub(super) fn new(source: Source, stalls: Option<Stalls>, head: Head) -> Self {
        Self { source, stalls, head, next: None, makes_up_at: None }
    }

    pub(super) fn into_head(self) -> Head {
        self.head
    }

    /// Waits for the next slot if it did not.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.due().is_none() {
            self.next = self.source.next_after(now);
        }
    }

    /// When to come back.
    pub(super) fn due(&self) -> Option<Instant> {
        earliest(self.next, self.makes_up_at)
    }

    /// Does what is due at `at`.
    pub(super) fn step<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        let mut budget = Work::ZERO;
        if self.makes_up_at == Some(at) {
            self.makes_up_at = None;
            budget = std::mem::take(&mut self.head.saved);
        }
        if self.next == Some(at) {
            let slot = self.source.budget_at(at);
            match self.stalls.and_then(|stalls| stalls.end_at(at)) {
                Some(end) => {
                    self.head.saved = self.head.saved.plus(slot);
                    self.makes_up_at = Some(end);
                }
                None => budget = budget.plus(slot),
            }
            self.next = self.source.next_after(at);
        }
        if budget > Work::ZERO {
            self.head.held_back = self.source.held_back_at(at);
            self.head.serve(at, budget, ports);
        }
        if ports.buffer.is_empty() {
            (self.next, self.makes_up_at) = (None, None);
            self.head.saved = Work::ZERO;
        }
    }

    /// What a depth in time counts with.
    pub(super) fn rate_at(&mut self, now: Instant) -> Bitrate {
        match &mut self.source {
            Source::Opportunities(schedule) => schedule.mean(),
            Source::Subframes(subframes) => subframes.reference_at(now),
        }
    }

    pub(super) fn reference(&self) -> Bitrate {
        match &self.source {
            Source::Opportunities(schedule) => schedule.mean(),
            Source::Subframes(subframes) => subframes.reference(),
        }
    }
}

impl Source {
    fn next_after(&mut self, at: Instant) -> Option<Instant> {
        match self {
            Self::Opportunities(schedule) => schedule.next_after(at),
            Self::Subframes(subframes) => subframes.next_after(at),
        }
    }

    fn budget_at(&mut self, at: Instant) -> Work {
        match self {
            Self::Opportunities(schedule) => schedule.budget_at(at),
            Self::Subframes(subframes) => subframes.budget_at(at),
        }
    }

    fn held_back_at(&mut self, at: Instant) -> std::time::Duration {
        match self {
            Self::Opportunities(_) => std::time::Duration::ZERO,
            Self::Subframes(subframes) => subframes.held_back_at(at),
        }
    }
}
