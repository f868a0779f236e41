//! What serves the queue: nothing that takes time, a line with a rate, slots, or a shared channel.
//!
//! In: `wake` when something waits. Out: departures to the exit. Time: `due`, then `step` at exactly that time, however
//! late anybody woke: a server never looks at a clock, so lateness changes nothing.

use std::time::Duration;

use proto::seed::Seed;
use proto::time::Instant;
use proto::units::Bitrate;

use super::Parcel;
use super::head::{Head, Ports};
use super::line::Line;
use super::lte::Subframes;
use super::opportunities::Schedule;
use super::plan::{LinkPlan, Rate};
use super::queue::Buffer;
use super::slotted::{Slotted, Source};
use super::stalls::Stalls;
use super::wifi::Wifi;
use super::work::{RATE_MAX, Work};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Server {
    kind: Kind,
    due: Option<Instant>,
}

#[derive(Debug)]
enum Kind {
    Unlimited { head: Head, stalls: Option<Stalls>, stalled_until: Option<Instant> },
    Line(Line),
    Slotted(Slotted),
    Wifi(Box<Wifi>),
}

impl Server {
    pub(super) fn new(now: Instant, plan: &LinkPlan, seed: &Seed) -> Self {
        Self { kind: Kind::new(now, plan, seed, Head::default()), due: None }
    }

    /// Works by another plan from now on; what has been done of the parcel being served stays done.
    pub(super) fn replan<P: Parcel>(
        &mut self,
        now: Instant,
        plan: &LinkPlan,
        seed: &Seed,
        mut ports: Ports<'_, P>,
    ) {
        let idle = Kind::Unlimited { head: Head::default(), stalls: None, stalled_until: None };
        let mut head = match std::mem::replace(&mut self.kind, idle) {
            Kind::Unlimited { head, .. } => head,
            Kind::Line(line) => line.into_head(now),
            Kind::Slotted(slotted) => slotted.into_head(),
            Kind::Wifi(_) => {
                ports.buffer.put_back(); // an aggregate is delivered in one piece or not at all
                Head::default()
            }
        };
        head.held_back = Duration::ZERO;
        if matches!(plan.rate, Rate::Wifi(_)) {
            ports.buffer.put_back();
        }
        self.kind = Kind::new(now, plan, seed, head);
        self.due = None;
        if !ports.buffer.is_empty() {
            self.wake(now, &mut ports);
        }
    }

    /// Something waits.
    pub(super) fn wake<P: Parcel>(&mut self, now: Instant, ports: &mut Ports<'_, P>) {
        if self.due.is_some() {
            return; // it is at work already
        }
        match &mut self.kind {
            Kind::Unlimited { head, stalls, stalled_until } => {
                *stalled_until = stalls.and_then(|stalls| stalls.end_at(now));
                if stalled_until.is_none() {
                    serve_all(now, head, ports);
                }
            }
            Kind::Line(line) => line.wake(now, ports),
            Kind::Slotted(slotted) => slotted.wake(now),
            Kind::Wifi(wifi) => wifi.wake(now),
        }
        self.due = self.next(ports.buffer);
    }

    /// When to call [`Self::step`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Does what is due at `at`, which is what [`Self::due`] said.
    pub(super) fn step<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        match &mut self.kind {
            Kind::Unlimited { head, stalled_until, .. } => {
                *stalled_until = None;
                serve_all(at, head, ports);
            }
            Kind::Line(line) => line.step(at, ports),
            Kind::Slotted(slotted) => slotted.step(at, ports),
            Kind::Wifi(wifi) => wifi.step(at, ports),
        }
        self.due = self.next(ports.buffer);
    }

    /// What a depth in time counts with: the rate of the moment of a line (the latest one that was not zero), the
    /// mean of what changes too fast for that.
    pub(super) fn rate_at(&mut self, now: Instant) -> Bitrate {
        match &mut self.kind {
            Kind::Unlimited { .. } => RATE_MAX,
            Kind::Line(line) => line.rate_at(now),
            Kind::Slotted(slotted) => slotted.rate_at(now),
            Kind::Wifi(wifi) => wifi.rate(),
        }
    }

    /// The same without moving on: as it was when something arrived or was served last.
    pub(super) fn reference(&self) -> Bitrate {
        match &self.kind {
            Kind::Unlimited { .. } => RATE_MAX,
            Kind::Line(line) => line.reference(),
            Kind::Slotted(slotted) => slotted.reference(),
            Kind::Wifi(wifi) => wifi.rate(),
        }
    }

    fn next<P: Parcel>(&self, buffer: &Buffer<P>) -> Option<Instant> {
        match &self.kind {
            Kind::Unlimited { stalled_until, .. } => *stalled_until,
            Kind::Line(line) => line.due(buffer),
            Kind::Slotted(slotted) => slotted.due(),
            Kind::Wifi(wifi) => wifi.due(),
        }
    }
}

impl Kind {
    fn new(now: Instant, plan: &LinkPlan, seed: &Seed, head: Head) -> Self {
        let stalls = plan.stalls.and_then(Stalls::new);
        match &plan.rate {
            Rate::Unlimited => Self::Unlimited { head, stalls, stalled_until: None },
            Rate::Constant(rate) => Self::Line(Line::new(now, &[(Duration::ZERO, *rate)], stalls, head)),
            Rate::Steps(steps) => Self::Line(Line::new(now, steps, stalls, head)),
            Rate::Opportunities(plan) => {
                let source = Source::Opportunities(Schedule::new(plan.clone()));
                Self::Slotted(Slotted::new(source, stalls, head))
            }
            Rate::Lte(plan) => {
                let source = Source::Subframes(Subframes::new(plan, seed).into());
                Self::Slotted(Slotted::new(source, stalls, head))
            }
            Rate::Wifi(plan) => Self::Wifi(Wifi::new(*plan, stalls, seed).into()),
        }
    }
}

/// Lets all go that is in the buffer.
fn serve_all<P: Parcel>(at: Instant, head: &mut Head, ports: &mut Ports<'_, P>) {
    while !ports.buffer.is_empty() {
        head.serve(at, Work::MAX, ports);
    }
}
