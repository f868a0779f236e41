//! The link as a whole: against theory, in single cases, and under chance.

mod behavior;
mod files;
mod properties;
mod theory;
mod variable;

use std::time::Duration;

use cc::Ecn;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::plan::{Depth, Queue, Rate};
use super::{DropCause, Dropped, Link, LinkPlan, Parcel, Passed};

const MS: Duration = Duration::from_millis(1);

/// A parcel with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    number: u64,
    size: DataSize,
    ecn: Ecn,
}

impl Block {
    fn new(number: u64, bytes: u64) -> Self {
        Self { number, size: DataSize::bytes(bytes), ecn: Ecn::NotCapable }
    }
}

impl Parcel for Block {
    fn wire_size(&self) -> DataSize {
        self.size
    }

    fn ecn(&self) -> Ecn {
        self.ecn
    }

    fn mark_congested(&mut self) {
        self.ecn = Ecn::Congested;
    }
}

/// What came out of a link.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: Vec<Passed<Block>>,
    dropped: Vec<Dropped<Block>>,
}

impl Outcome {
    fn drain(&mut self, link: &mut Link<Block>, now: Instant) {
        while let Some(passed) = link.poll_passed(now) {
            assert!(passed.at <= now, "delivered before its time");
            self.passed.push(passed);
        }
        while let Some(dropped) = link.poll_dropped() {
            assert!(dropped.at <= now, "dropped before its time");
            self.dropped.push(dropped);
        }
    }

    /// When which parcel arrived, in milliseconds.
    fn arrivals_ms(&self) -> Vec<(u64, f64)> {
        self.passed.iter().map(|passed| (passed.parcel.number, passed.at.as_nanos() as f64 / 1e6)).collect()
    }

    fn dropped_for(&self, cause: DropCause) -> Vec<u64> {
        self.dropped
            .iter()
            .filter(|dropped| dropped.cause == cause)
            .map(|dropped| dropped.parcel.number)
            .collect()
    }
}

/// Feeds a link and wakes it whenever it is due, until `end`.
fn drive(link: &mut Link<Block>, arrivals: &[(Instant, Block)], end: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let mut arrivals = arrivals.iter().peekable();
    loop {
        let due = link.poll_timeout().filter(|due| *due <= end);
        if let Some((at, block)) = arrivals.next_if(|(at, _)| due.is_none_or(|due| *at < due)) {
            link.handle_parcel(*at, *block);
            outcome.drain(link, *at);
            continue;
        }
        let Some(due) = due else { break };
        link.handle_timeout(due);
        outcome.drain(link, due);
        assert!(link.poll_timeout().is_none_or(|next| next > due), "due again at {due:?}");
    }
    outcome
}

fn link(plan: LinkPlan) -> Link<Block> {
    Link::new(plan, &Seed::from_number(1))
}

fn constant(rate: Bitrate) -> LinkPlan {
    LinkPlan { rate: Rate::Constant(rate), ..LinkPlan::default() }
}

fn endless() -> Queue {
    Queue::DropTail(Depth::Packets(usize::MAX))
}

/// So many parcels of so many bytes, one each `gap`, from zero on.
fn steady(parcels: u64, bytes: u64, gap: Duration) -> Vec<(Instant, Block)> {
    (0..parcels).map(|number| (Instant::ZERO + gap * number as u32, Block::new(number, bytes))).collect()
}

const END: Instant = Instant::from_millis(1_000_000_000);
