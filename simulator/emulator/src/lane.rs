//! One link at work: times that never go back, a limit to what it holds, and counters.
//!
//! In: packets with the time of their arrival. Out: packets that are due. Time: as given, kept monotonic. Limit: the
//! bytes that all links of a direction may hold together; what exceeds them is dropped and counted as `full`.

use proto::seed::Seed;
use proto::time::Instant;
use proto::units::DataSize;
use simulator::link::{Link, LinkPlan, Parcel, Passed};

use crate::counts::{Way, WayCounts};

/// See the module's description.
pub(crate) struct Lane<P> {
    link: Link<P>,
    /// The time of the last call.
    latest: Instant,
}

impl<P: Parcel> Lane<P> {
    /// A link by a plan.
    pub(crate) fn new(plan: LinkPlan, seed: &Seed) -> Self {
        Self { link: Link::new(plan, seed), latest: Instant::ZERO }
    }

    /// A packet arrived. Gives the time at which the link got it, `None` if it did not: there was no room.
    pub(crate) fn handle_arrival(
        &mut self,
        at: Instant,
        parcel: P,
        counts: &mut WayCounts,
        held_max: DataSize,
    ) -> Option<Instant> {
        let size = parcel.wire_size();
        counts.arrived += 1;
        if counts.held + size > held_max {
            counts.dropped.full += 1;
            return None;
        }
        counts.held += size;
        self.latest = self.latest.max(at);
        self.link.handle_parcel(self.latest, parcel);
        self.take_drops(counts);
        Some(self.latest)
    }

    /// The next packet that is due by `now`.
    pub(crate) fn poll_passed(&mut self, now: Instant, counts: &mut WayCounts) -> Option<Passed<P>> {
        self.latest = self.latest.max(now);
        self.link.handle_timeout(self.latest);
        self.take_drops(counts);
        let passed = self.link.poll_passed(self.latest)?;
        let size = passed.parcel.wire_size();
        counts.held -= size;
        counts.passed += 1;
        counts.passed_size += size;
        counts.queued += passed.queued;
        counts.queued_max = counts.queued_max.max(passed.queued);
        Some(passed)
    }

    /// Works by another plan from now on.
    pub(crate) fn set_plan(&mut self, now: Instant, plan: LinkPlan) {
        self.latest = self.latest.max(now);
        self.link.set_plan(self.latest, plan);
    }

    /// When to call [`Self::poll_passed`] next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.link.poll_timeout()
    }

    /// Whether nothing is inside.
    pub(crate) fn is_empty(&self) -> bool {
        self.link.held() == 0
    }

    fn take_drops(&mut self, counts: &mut WayCounts) {
        while let Some(dropped) = self.link.poll_dropped() {
            counts.held -= dropped.parcel.wire_size();
            counts.dropped.count(dropped.cause);
        }
    }
}

/// The seed of the link of one way, where `seed` is that of both.
pub(crate) fn way_seed(seed: &Seed, way: Way) -> Seed {
    seed.fork(match way {
        Way::Up => "up",
        Way::Down => "down",
    })
}

impl WayCounts {
    /// A packet was handed on at `now` that was due at `due`.
    pub(crate) fn count_late(&mut self, now: Instant, due: Instant) {
        let late = now.since(due);
        self.late += late;
        self.late_max = self.late_max.max(late);
    }
}
