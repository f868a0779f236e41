//! One direction of a network path: policer, queue, server, outages, loss, flight.
//!
//! In: `handle_parcel`. Out: `poll_passed`, `poll_dropped`. Time: `now`, monotonic; `poll_timeout`. Chance: one seed at
//! construction, forked for each part, so that another loss model does not change the jitter.
//!
//! A parcel goes this way: the [policer](plan::Policer) drops what exceeds it; the buffer refuses what finds no room;
//! the server takes it in turn (where `CoDel` may drop and ECN mark it) and lets its last bit go; an outage or the
//! [loss model](plan::Loss) may drop it then; what is left flies for the propagation delay and its jitter. Queue and
//! flight are separate: what is propagating does not fill the buffer.
//!
//! All that happens has its due time, and whoever wakes the link late finds it done at that time: the same arrivals and
//! the same seed give the same drops and the same [`Passed::at`], however late or rarely it is asked. A driver in real
//! time therefore adds its own lateness to deliveries and nothing else.
//!
//! At each moment `passed + dropped + held = accepted`.

mod capacity;
mod codel;
mod draw;
mod exit;
pub mod file;
mod flight;
mod head;
mod line;
mod loss;
mod lte;
mod opportunities;
pub mod plan;
mod policer;
mod queue;
mod server;
mod slotted;
mod stalls;
mod summary;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod units;
mod wifi;
mod work;

use std::time::Duration;

use cc::Ecn;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::DataSize;

use exit::Exit;
use head::Ports;
pub use plan::LinkPlan;
use policer::Policer;
use queue::Buffer;
use server::Server;
pub use work::RATE_MAX;

/// What a link carries.
pub trait Parcel {
    /// Its size on the wire.
    fn wire_size(&self) -> DataSize;

    /// Its ECN bits.
    fn ecn(&self) -> Ecn;

    /// Marks it as having met congestion.
    fn mark_congested(&mut self);
}

/// Why a link dropped a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// The loss model said so.
    Random,
    /// The queue was full.
    Overflow,
    /// The queue's management dropped it early (`CoDel`).
    Early,
    /// The policer had no tokens.
    Policer,
    /// The link was down.
    Outage,
}

/// A parcel that reached the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed<P> {
    /// The parcel.
    pub parcel: P,
    /// How long it waited in the queue, its own serialization not counted.
    pub queued: Duration,
    /// When it reached the far end.
    pub at: Instant,
}

/// A parcel that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped<P> {
    /// The parcel.
    pub parcel: P,
    /// Why.
    pub cause: DropCause,
    /// When.
    pub at: Instant,
}

/// See the module's description.
pub struct Link<P> {
    plan: LinkPlan,
    seed: Seed,
    /// The latest time that was told.
    now: Instant,
    policer: Option<Policer>,
    buffer: Buffer<P>,
    server: Server,
    exit: Exit<P>,
}

impl<P: Parcel> Link<P> {
    /// A link by a plan; what chance decides comes from `seed`.
    pub fn new(plan: LinkPlan, seed: &Seed) -> Self {
        Self {
            now: Instant::ZERO,
            policer: plan.policer.map(|policer| Policer::new(Instant::ZERO, policer)),
            buffer: Buffer::new(&plan.queue, plan.ecn),
            server: Server::new(Instant::ZERO, &plan, seed),
            exit: Exit::new(&plan, seed),
            plan,
            seed: seed.clone(),
        }
    }

    /// Takes a parcel, or drops it. What was due by `now` happens before.
    pub fn handle_parcel(&mut self, now: Instant, parcel: P) {
        self.handle_timeout(now);
        let now = self.now;
        let size = parcel.wire_size();
        if self.policer.as_mut().is_some_and(|policer| !policer.admits(now, size)) {
            self.drop_parcel(parcel, DropCause::Policer);
            return;
        }
        let rate = self.server.rate_at(now);
        match self.buffer.offer(now, parcel, rate) {
            Ok(()) => {
                self.server.wake(now, &mut Ports { buffer: &mut self.buffer, exit: &mut self.exit });
                self.move_on();
            }
            Err(parcel) => self.drop_parcel(parcel, DropCause::Overflow),
        }
    }

    /// Moves on what is due by `now`, each thing at its own time. A `now` before the latest one is taken for that.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.move_on();
    }

    /// The next parcel that has reached the far end by `now`.
    pub fn poll_passed(&mut self, now: Instant) -> Option<Passed<P>> {
        self.exit.flight.poll(now)
    }

    /// The next parcel that was dropped.
    pub fn poll_dropped(&mut self) -> Option<Dropped<P>> {
        self.exit.dropped.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_passed`] next; `None` while nothing is due.
    ///
    /// Later than the latest `now` once that has been handled and polled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.server.due(), self.exit.flight.next_arrival())
    }

    /// Works by another plan from now on; what is queued and in flight stays, and what of the new plan is as it was
    /// goes on as it was (a bucket's tokens, a burst of losses, an aggregate on the air).
    pub fn set_plan(&mut self, now: Instant, plan: LinkPlan) {
        self.handle_timeout(now);
        let now = self.now;
        self.policer = match (self.policer.take(), plan.policer) {
            (_, None) => None,
            (None, Some(policer)) => Some(Policer::new(now, policer)),
            (Some(mut bucket), Some(policer)) => {
                bucket.replan(now, policer);
                Some(bucket)
            }
        };
        self.buffer.replan(&plan.queue, plan.ecn);
        self.exit.replan(&plan);
        if plan.rate != self.plan.rate || plan.stalls != self.plan.stalls {
            let ports = Ports { buffer: &mut self.buffer, exit: &mut self.exit };
            self.server.replan(now, &plan, &self.seed, ports);
            self.move_on();
        }
        self.plan = plan;
    }

    /// The plan it works by.
    pub fn plan(&self) -> &LinkPlan {
        &self.plan
    }

    /// How many parcels are inside: queued, in flight, or dropped and not yet polled.
    pub fn held(&self) -> usize {
        self.buffer.len() + self.exit.flight.len() + self.exit.dropped.len()
    }

    /// What is in the queue, the parcel being served included until its last bit has left.
    pub fn queued(&self) -> DataSize {
        self.buffer.size()
    }

    /// How long the server needs for what is queued, at the rate that a depth in time counts with.
    pub fn queue_delay(&self) -> Duration {
        self.buffer.size() / self.server.reference()
    }

    fn move_on(&mut self) {
        while let Some(due) = self.server.due().filter(|due| *due <= self.now) {
            self.server.step(due, &mut Ports { buffer: &mut self.buffer, exit: &mut self.exit });
        }
    }

    fn drop_parcel(&mut self, parcel: P, cause: DropCause) {
        self.exit.dropped.push_back(Dropped { parcel, cause, at: self.now });
    }
}
