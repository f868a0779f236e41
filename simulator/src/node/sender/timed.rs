//! An estimator under a stopwatch.
//!
//! In: what its user does with the estimator. Out: [`Fact::Computed`], once a second. Time: `now` for the second, the
//! stopwatch for the cost, which decides nothing. What the stopwatch itself takes is measured at construction and not
//! counted: between two readings lies the time of one.

use std::time::Duration;

use cc::{Estimator, Transition};
use proto::path_class::PathClass;
use proto::time::Instant;

use crate::node::Fact;
use crate::packet::FlowId;

/// How often the cost is told.
const SPAN: Duration = Duration::from_secs(1);

/// Readings of the stopwatch over which its own cost is taken.
const READS: u64 = 256;

/// How often that is tried: the least is what nobody disturbed.
const TRIES: usize = 5;

/// See the module's description.
pub(super) struct Timed {
    estimator: Box<dyn Estimator>,
    stopwatch: Option<fn() -> u64>,
    since: Instant,
    packets: u64,
    /// How often it was called, and what that took, the stopwatch's own time included.
    calls: u64,
    nanos: u64,
    /// What [`READS`] readings of the stopwatch take.
    reading: u64,
}

impl Timed {
    pub(super) fn new(estimator: Box<dyn Estimator>, stopwatch: Option<fn() -> u64>) -> Self {
        let reading = stopwatch.map_or(0, reading);
        Self { estimator, stopwatch, since: Instant::ZERO, packets: 0, calls: 0, nanos: 0, reading }
    }

    /// Does something with the estimator and counts what it takes.
    pub(super) fn call<R>(&mut self, work: impl FnOnce(&mut dyn Estimator) -> R) -> R {
        let Some(stopwatch) = self.stopwatch else { return work(self.estimator.as_mut()) };
        let before = stopwatch();
        let result = work(self.estimator.as_mut());
        self.nanos += stopwatch().saturating_sub(before);
        self.calls += 1;
        result
    }

    /// A packet was sent: costs are told by the packet.
    pub(super) fn note_packet(&mut self) {
        self.packets += 1;
    }

    pub(super) fn poll_transition(&mut self) -> Option<Transition> {
        self.estimator.poll_transition()
    }

    pub(super) fn path_class(&self) -> PathClass {
        self.estimator.path_class()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.estimator.poll_timeout()
    }

    pub(super) fn bounds_frames(&self) -> bool {
        self.estimator.bounds_frames()
    }

    /// What it has cost since the last time, if that is a second ago.
    pub(super) fn cost(&mut self, now: Instant, flow: FlowId) -> Option<Fact> {
        if self.stopwatch.is_none() || now.since(self.since) < SPAN {
            return None;
        }
        let nanos = self.nanos.saturating_sub(self.calls * self.reading / READS);
        let fact = Fact::Computed { flow, packets: self.packets, nanos };
        (self.since, self.packets, self.calls, self.nanos) = (now, 0, 0, 0);
        Some(fact)
    }
}

/// What so many readings of a stopwatch add to what lies between them, in nanoseconds.
fn reading(stopwatch: fn() -> u64) -> u64 {
    let pair = |_| {
        let before = stopwatch();
        stopwatch().saturating_sub(before)
    };
    (0..TRIES).map(|_| (0..READS).map(pair).sum()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use cc::estimator::fixed::Fixed;
    use proto::units::Bitrate;

    use super::*;

    #[test]
    fn what_the_stopwatch_takes_is_not_counted_and_the_rest_is() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let stopwatch: fn() -> u64 = || CLOCK.fetch_add(30, Ordering::Relaxed); // a reading takes 30 ns
        for (work, expected) in [(0, 0), (100, 100)] {
            let mut timed = Timed::new(Box::new(Fixed::new(Bitrate::mbps(1))), Some(stopwatch));
            for _ in 0..50 {
                timed.note_packet();
                timed.call(|_| CLOCK.fetch_add(work, Ordering::Relaxed));
            }
            let cost = timed.cost(Instant::from_millis(1_000), FlowId(0));
            assert_eq!(cost, Some(Fact::Computed { flow: FlowId(0), packets: 50, nanos: 50 * expected }));
        }
    }
}
