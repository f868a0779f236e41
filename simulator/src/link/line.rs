//! A server with a rate: constant, or in steps. A change of rate in mid-packet applies to the bits that remain.
//!
//! In: parcels in the buffer. Out: departures. Time: `due`. What was done by any nanosecond is an integer (see
//! [`Work`]), and what is done of the next parcel within the nanosecond in which one ends is not forgotten, so departures
//! of a busy period are the exact times rounded up, however many there are. In a stall nothing leaves; what the rate
//! would have done meanwhile of what waits is done at once at the stall's end.

use std::sync::Arc;
use std::time::Duration;

use proto::time::{Instant, earliest};
use proto::units::Bitrate;

use super::Parcel;
use super::head::{Head, Ports};
use super::queue::Buffer;
use super::stalls::Stalls;
use super::work::Work;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Line {
    steps: Arc<[(Duration, Bitrate)]>,
    stalls: Option<Stalls>,
    head: Head,
    /// What is done by then is accounted for.
    since: Instant,
    rate: Bitrate,
    /// The rate, or the latest one that was not zero: what a depth in time counts with.
    reference: Bitrate,
    stalled_until: Option<Instant>,
    /// When the rate changes or a stall begins or ends.
    boundary: Option<Instant>,
}

impl Line {
    /// A line whose head is as another server left it.
    pub(super) fn new(
        now: Instant,
        steps: &[(Duration, Bitrate)],
        stalls: Option<Stalls>,
        head: Head,
    ) -> Self {
        let mut line = Self {
            steps: steps.into(),
            stalls,
            head,
            since: now,
            rate: Bitrate::ZERO,
            reference: Bitrate::ZERO,
            stalled_until: None,
            boundary: None,
        };
        line.turn_to(now);
        line
    }

    /// Accounts for what was done by `now`, and gives the head away.
    pub(super) fn into_head(mut self, now: Instant) -> Head {
        let time = now.since(self.since);
        let done = Work::done(self.rate, time);
        if self.stalled_until.is_some() {
            self.head.saved = self.head.saved.plus(done);
            return self.head;
        }
        self.head.after(done, if self.rate > Bitrate::ZERO { time } else { Duration::ZERO })
    }

    /// Begins if something waits and nothing is being served.
    pub(super) fn wake<P: Parcel>(&mut self, now: Instant, ports: &mut Ports<'_, P>) {
        if ports.buffer.serving() == 0 {
            self.rate_at(now);
            self.since = now;
            self.head.saved = Work::ZERO;
            self.head.take(now, ports);
        }
    }

    /// When to come back.
    pub(super) fn due<P: Parcel>(&self, buffer: &Buffer<P>) -> Option<Instant> {
        if buffer.serving() == 0 {
            return None;
        }
        let done = if self.stalled_until.is_some() { None } else { self.head.left().time_at(self.rate) };
        earliest(done.map(|time| self.since + time), self.boundary)
    }

    /// Does what is due at `at`.
    pub(super) fn step<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        let time = at.since(self.since);
        let done = Work::done(self.rate, time);
        self.since = at;
        if let Some(end) = self.stalled_until {
            self.head.saved = self.head.saved.plus(done);
            if end <= at {
                let saved = std::mem::take(&mut self.head.saved);
                self.head.serve(at, saved, ports);
            }
        } else {
            if self.rate > Bitrate::ZERO {
                self.head.active += time;
            }
            self.head.serve(at, done, ports);
        }
        if ports.buffer.serving() == 0 {
            self.head.take(at, ports);
        }
        self.rate_at(at);
    }

    /// The rate of the moment, or the latest one that was not zero.
    pub(super) fn rate_at(&mut self, now: Instant) -> Bitrate {
        if self.boundary.is_some_and(|boundary| boundary <= now) {
            self.turn_to(now);
        }
        self.reference
    }

    pub(super) fn reference(&self) -> Bitrate {
        self.reference
    }

    fn turn_to(&mut self, now: Instant) {
        let next = self.steps.partition_point(|(from, _)| Instant::ZERO + *from <= now);
        let past = &self.steps[..next.max(1).min(self.steps.len())];
        let flows = |step: &&(Duration, Bitrate)| step.1 > Bitrate::ZERO;
        self.rate = past.last().map_or(Bitrate::ZERO, |step| step.1);
        let reference = past.iter().rev().find(flows).or_else(|| self.steps.iter().find(flows));
        self.reference = reference.map_or(Bitrate::ZERO, |step| step.1);
        self.stalled_until = self.stalls.and_then(|stalls| stalls.end_at(now));
        let stall = self.stalled_until.or_else(|| self.stalls.map(|stalls| stalls.next_after(now)));
        let change = self.steps.get(next.max(1)).map(|(from, _)| Instant::ZERO + *from);
        self.boundary = earliest(change, stall);
    }
}
