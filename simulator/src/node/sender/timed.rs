//! An estimator under a stopwatch.
//!
//! In: what its user does with the estimator. Out: [`Fact::Computed`], once a second. Time: `now` for the second, the
//! stopwatch for the cost, which decides nothing.

use std::time::Duration;

use cc::Estimator;
use proto::time::Instant;

use crate::node::Fact;
use crate::packet::FlowId;

/// How often the cost is told.
const SPAN: Duration = Duration::from_secs(1);

/// See the module's description.
pub(super) struct Timed {
    estimator: Box<dyn Estimator>,
    stopwatch: Option<fn() -> u64>,
    since: Instant,
    packets: u64,
    nanos: u64,
}

impl Timed {
    pub(super) fn new(estimator: Box<dyn Estimator>, stopwatch: Option<fn() -> u64>) -> Self {
        Self { estimator, stopwatch, since: Instant::ZERO, packets: 0, nanos: 0 }
    }

    /// Does something with the estimator and counts what it takes.
    pub(super) fn call<R>(&mut self, work: impl FnOnce(&mut dyn Estimator) -> R) -> R {
        let Some(stopwatch) = self.stopwatch else { return work(self.estimator.as_mut()) };
        let before = stopwatch();
        let result = work(self.estimator.as_mut());
        self.nanos += stopwatch().saturating_sub(before);
        result
    }

    /// A packet was sent: costs are told by the packet.
    pub(super) fn note_packet(&mut self) {
        self.packets += 1;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.estimator.poll_timeout()
    }

    /// What it has cost since the last time, if that is a second ago.
    pub(super) fn cost(&mut self, now: Instant, flow: FlowId) -> Option<Fact> {
        if self.stopwatch.is_none() || now.since(self.since) < SPAN {
            return None;
        }
        let fact = Fact::Computed { flow, packets: self.packets, nanos: self.nanos };
        (self.since, self.packets, self.nanos) = (now, 0, 0);
        Some(fact)
    }
}
