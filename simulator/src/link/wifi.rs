//! A Wi-Fi channel shared by stations: aggregates of packets (A-MPDU), contention, stalls (RFC 8869 §4 without ns-3).
//!
//! In: parcels in the buffer. Out: departures. Time: `due`; nothing is due while nothing waits. Before each aggregate
//! others hold the channel for an exponential time. The aggregate then takes what waits, up to its time on the air and
//! [`FRAMES_MAX`], and all of it is delivered when the aggregate ends. None begins in a stall. Chance: one draw of
//! contention for each aggregate; the channel's own stalls are a function of seed and time alone.

use std::time::Duration;

use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::Bitrate;

use super::Parcel;
use super::draw;
use super::flight::Departure;
use super::head::Ports;
use super::plan;
use super::stalls::Stalls;

/// What a block acknowledgment of 802.11n covers.
const FRAMES_MAX: usize = 64;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Wifi {
    plan: plan::Wifi,
    stalls: Option<Stalls>,
    own: OwnStalls,
    chance: Chance,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Idle,
    /// Others hold the channel until then.
    Contending(Instant),
    /// What the buffer says is being served ends then.
    Sending(Instant),
}

impl Wifi {
    pub(super) fn new(plan: plan::Wifi, stalls: Option<Stalls>, seed: &Seed) -> Self {
        let own = OwnStalls::new(&plan, seed);
        Self { plan, stalls, own, chance: seed.fork("contention").generator(), phase: Phase::Idle }
    }

    /// Contends for the channel if it did not.
    pub(super) fn wake(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle) && self.plan.rate > Bitrate::ZERO {
            self.contend(now);
        }
    }

    /// When to come back.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Contending(until) | Phase::Sending(until) => Some(until),
        }
    }

    /// Does what is due at `at`.
    pub(super) fn step<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        match self.phase {
            Phase::Idle => {}
            Phase::Contending(_) => self.send(at, ports),
            Phase::Sending(_) => self.deliver(at, ports),
        }
    }

    /// What a depth in time counts with: what one station gets of the channel if it always has something to send.
    pub(super) fn rate(&self) -> Bitrate {
        self.plan.share()
    }

    fn contend(&mut self, now: Instant) {
        let mut until = now + draw::exponential(&mut self.chance, self.plan.contention);
        loop {
            let stall = self.stalls.and_then(|stalls| stalls.end_at(until));
            let Some(end) = stall.max(self.own.end_at(until)) else { break };
            until = end;
        }
        self.phase = Phase::Contending(until);
    }

    fn send<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        let mut air = Duration::ZERO;
        while let Some(next) = ports.buffer.peek() {
            let frames = ports.buffer.serving();
            let full = frames >= FRAMES_MAX || air + next / self.plan.rate > self.plan.aggregate;
            if full && frames > 0 {
                break;
            }
            match ports.buffer.take(at, &mut ports.exit.dropped) {
                Some(size) => air += size / self.plan.rate,
                None => break,
            }
        }
        self.phase = if ports.buffer.serving() > 0 { Phase::Sending(at + air) } else { Phase::Idle };
    }

    fn deliver<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        while let Some(waiting) = ports.buffer.release() {
            let own = waiting.size / self.plan.rate;
            ports.exit.handle_departure(Departure {
                parcel: waiting.parcel,
                at,
                queued: at.since(waiting.arrived).saturating_sub(own),
                serialization: Duration::ZERO, // an aggregate is handed up in one piece
                held_back: Duration::ZERO,
            });
        }
        self.phase = Phase::Idle;
        if !ports.buffer.is_empty() {
            self.contend(at);
        }
    }
}

/// Stalls at random times, told in ascending order.
#[derive(Debug)]
struct OwnStalls {
    every: Option<Duration>,
    longest: Duration,
    chance: Chance,
    start: Instant,
    end: Instant,
}

impl OwnStalls {
    fn new(plan: &plan::Wifi, seed: &Seed) -> Self {
        let (every, longest) = (plan.stall_every, plan.stall_length);
        let chance = seed.fork("stalls").generator();
        let mut stalls = Self { every, longest, chance, start: Instant::ZERO, end: Instant::ZERO };
        stalls.draw();
        stalls
    }

    /// When the stall around `at` ends; `None` if there is none.
    fn end_at(&mut self, at: Instant) -> Option<Instant> {
        self.every?;
        while self.end <= at {
            self.draw();
        }
        (self.start <= at).then_some(self.end)
    }

    fn draw(&mut self) {
        let Some(every) = self.every else { return };
        let pause = draw::exponential(&mut self.chance, every).max(Duration::from_nanos(1));
        let share = 0.25 + 0.75 * draw::uniform(&mut self.chance);
        let length = Duration::from_nanos((self.longest.as_nanos() as f64 * share).round() as u64);
        self.start = self.end + pause;
        self.end = self.start + length;
    }
}
