//! What became of what was sent through the emulator.

use std::fmt;
use std::time::Duration;

use proto::units::{Bitrate, DataSize};
use simulator::link::DropCause;

/// A direction through the emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// From a client to the server, or from the left namespace to the right one.
    Up,
    /// Back.
    Down,
}

/// The counters of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Of what goes up.
    pub up: WayCounts,
    /// Of what goes down.
    pub down: WayCounts,
    /// Clients that have a place now.
    pub clients: usize,
    /// Datagrams of clients for which there was no place.
    pub refused: u64,
}

/// The counters of one direction, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WayCounts {
    /// Packets that came.
    pub arrived: u64,
    /// Packets handed on.
    pub passed: u64,
    /// Their size on the wire.
    pub passed_size: DataSize,
    /// Packets dropped, by cause.
    pub dropped: Drops,
    /// Of those handed on, what the kernel did not take: its buffer was full, or there is no way.
    pub unsent: u64,
    /// How long those handed on waited in the link's queue, summed.
    pub queued: Duration,
    /// The longest that one waited there.
    pub queued_max: Duration,
    /// How much later than due they were handed on, summed: the emulator's own fault.
    pub late: Duration,
    /// The most that one was late.
    pub late_max: Duration,
    /// What is inside: queued or in flight.
    pub held: DataSize,
}

/// Dropped packets by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops {
    /// By the loss model.
    pub random: u64,
    /// By a full queue.
    pub overflow: u64,
    /// By the queue's management.
    pub early: u64,
    /// By the policer.
    pub policer: u64,
    /// By an outage or a cut.
    pub outage: u64,
    /// By the emulator itself: it held as much as it may.
    pub full: u64,
}

impl Counts {
    /// The counters of one way.
    pub fn way(&self, way: Way) -> &WayCounts {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// The counters of one way, to count on.
    pub(crate) fn way_mut(&mut self, way: Way) -> &mut WayCounts {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// One line of what happened since `earlier`, which was `ago`.
    pub fn line_since(&self, earlier: &Self, ago: Duration) -> String {
        let up = self.up.line_since(&earlier.up, ago);
        let down = self.down.line_since(&earlier.down, ago);
        let refused = match self.refused {
            0 => String::new(),
            refused => format!(" | no place for {refused}"),
        };
        format!("up {up} | down {down}{refused}")
    }
}

impl WayCounts {
    /// What arrived and was dropped, by whatever cause.
    pub fn lost(&self) -> u64 {
        self.dropped.total()
    }

    /// How long one waited in the queue on average.
    pub fn queued_mean(&self) -> Duration {
        mean(self.queued, self.passed)
    }

    /// How late one was handed on, on average.
    pub fn late_mean(&self) -> Duration {
        mean(self.late, self.passed)
    }

    fn line_since(&self, earlier: &Self, ago: Duration) -> String {
        let passed = self.passed - earlier.passed;
        let rate = Bitrate::of(self.passed_size - earlier.passed_size, ago).unwrap_or(Bitrate::ZERO);
        let queued = mean(self.queued.saturating_sub(earlier.queued), passed);
        let late = mean(self.late.saturating_sub(earlier.late), passed);
        let drops = self.dropped.since(&earlier.dropped);
        let unsent = match self.unsent - earlier.unsent {
            0 => String::new(),
            unsent => format!(", {unsent} not taken by the kernel"),
        };
        format!("{passed} passed ({rate}, queued {queued:.1?}, late {late:.0?}), dropped {drops}{unsent}")
    }
}

impl Drops {
    /// Counts one.
    pub(crate) fn count(&mut self, cause: DropCause) {
        let count = match cause {
            DropCause::Random => &mut self.random,
            DropCause::Overflow => &mut self.overflow,
            DropCause::Early => &mut self.early,
            DropCause::Policer => &mut self.policer,
            DropCause::Outage => &mut self.outage,
        };
        *count += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    fn named(&self) -> [(&'static str, u64); 6] {
        let Self { random, overflow, early, policer, outage, full } = *self;
        [
            ("random", random),
            ("overflow", overflow),
            ("early", early),
            ("policer", policer),
            ("outage", outage),
            ("emulator full", full),
        ]
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            random: self.random - earlier.random,
            overflow: self.overflow - earlier.overflow,
            early: self.early - earlier.early,
            policer: self.policer - earlier.policer,
            outage: self.outage - earlier.outage,
            full: self.full - earlier.full,
        }
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        let causes: Vec<String> = self
            .named()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if causes.is_empty() { Ok(()) } else { write!(f, " ({})", causes.join(", ")) }
    }
}

fn mean(sum: Duration, count: u64) -> Duration {
    Duration::from_nanos((sum.as_nanos() as u64).checked_div(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_of_its_own_time_only() {
        let earlier =
            WayCounts { arrived: 10, passed: 8, queued: Duration::from_secs(1), ..WayCounts::default() };
        let mut now = earlier;
        now.passed += 4;
        now.passed_size += DataSize::bytes(50_000);
        now.queued += Duration::from_millis(20);
        now.dropped.count(DropCause::Random);
        now.dropped.count(DropCause::Overflow);
        now.dropped.count(DropCause::Overflow);
        let (now, earlier) = (
            Counts { up: now, refused: 3, ..Counts::default() },
            Counts { up: earlier, ..Counts::default() },
        );
        assert_eq!(
            now.line_since(&earlier, Duration::from_secs(1)),
            "up 4 passed (400 kbit/s, queued 5.0ms, late 0ns), dropped 3 (1 random, 2 overflow) \
             | down 0 passed (0 bit/s, queued 0.0ns, late 0ns), dropped 0 | no place for 3"
        );
        assert_eq!((now.up.lost(), now.down.lost()), (3, 0));
    }
}
