//! A cell of the grid: a path, a deadline, and blocks of one size.

use std::time::Duration;

use fec::plan::losses::Channel;
use fec::plan::{Goal, Promptness, Timing};

use super::weather::Burst;

/// What a block's media takes to leave, at most half of what a round may take: parity as much again fits into a round.
pub const PACING: Duration = Duration::from_millis(5);
/// What detecting losses, reporting and answering takes beyond the round trip.
pub const TURNAROUND: Duration = Duration::from_millis(10);
/// What a prompt repair may take longer than a round.
pub const LATE: Duration = Duration::from_millis(10);
/// What parity may take longer than the media does.
const PARITY: Duration = Duration::from_millis(15);

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// The round trip.
    pub round_trip: Duration,
    /// By when a block must be whole, from when its first packet left.
    pub deadline: Duration,
    /// The share of packets lost, 0 to 1.
    pub loss: f64,
    /// How losses hang together.
    pub burst: Burst,
    /// How many packets a block has.
    pub media: usize,
    /// The share of blocks that may not be whole by then.
    pub eps: f64,
    /// Whether one repair is to do.
    pub promptness: Promptness,
}

impl Cell {
    /// How long things take.
    pub fn timing(&self) -> Timing {
        Timing { spacing: self.spacing(), ..Timing::symmetric(self.round_trip, TURNAROUND, PACING) }
    }

    /// What is asked of repair.
    pub fn goal(&self) -> Goal {
        Goal { deadline: self.deadline, failure: self.eps, lateness: 0.0, promptness: self.promptness }
    }

    /// How many rounds there is time for; none if even the media arrives too late.
    pub fn rounds(&self) -> usize {
        let timing = self.timing();
        if timing.is_hopeless(self.deadline) { 0 } else { timing.rounds(self.deadline) }
    }

    /// How long a prompt repair takes at most, from the first packet's arrival: a round and [`LATE`], or what parity alone
    /// takes that leaves behind the media.
    pub fn prompt(&self) -> Duration {
        if self.rounds() == 1 { PACING + PARITY } else { self.timing().round() + LATE }
    }

    /// From one packet of a round to the next.
    pub fn spacing(&self) -> Duration {
        PACING / (2 * self.media.max(1)) as u32
    }

    /// The path as a chain from packet to packet.
    pub fn channel(&self) -> Channel {
        self.burst.channel(self.loss, self.spacing())
    }

    /// How much of the correlation with a loss is left a round later.
    pub fn carry(&self) -> f64 {
        let memory = self.burst.memory(self.loss, self.spacing());
        memory.map_or(0.0, |memory| (-self.timing().round().as_secs_f64() / memory.as_secs_f64()).exp())
    }

    /// What no scheme can do without: the capacity of an erasure channel.
    pub fn capacity(&self) -> f64 {
        self.loss / (1.0 - self.loss)
    }
}
