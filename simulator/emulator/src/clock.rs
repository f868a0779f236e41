//! The emulator's clock: the only file of it that reads one.
//!
//! Out: [`Instant`] for links and timers, and the kernel's receive timestamps brought onto it. Time: this is it.

use std::time::Duration;

use proto::time::Instant;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long reading two clocks may take before they are read again: a thread that lost its core between the two would
/// take its absence for a difference of the clocks.
const READING_MAX: Duration = Duration::from_micros(5);
/// How often they are read at most.
const READINGS_MAX: usize = 4;

/// The monotonic clock from the moment of its making; copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The kernel's monotonic clock at [`Instant::ZERO`].
    epoch: Duration,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The monotonic clock.
    pub at: Instant,
    /// The wall clock, since 1970.
    wall: Duration,
}

impl Clock {
    /// A clock whose [`Instant::ZERO`] is now.
    pub fn start() -> Self {
        Self { epoch: monotonic() }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        Instant::ZERO + monotonic().saturating_sub(self.epoch)
    }

    /// The time on both clocks, for [`Reading::place`].
    pub fn read(&self) -> Reading {
        let mut before = self.now();
        let mut best: Option<(Duration, Reading)> = None;
        for _ in 0..READINGS_MAX {
            let wall = wall();
            let at = self.now();
            let took = at.since(before);
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, Reading { at, wall }));
            }
            if took <= READING_MAX {
                break;
            }
            before = at;
        }
        best.expect("READINGS_MAX is not zero").1
    }

    /// What the kernel's monotonic clock shows at `at`, for absolute timers.
    pub(crate) fn kernel_time(&self, at: Instant) -> Timespec {
        let time = self.epoch + at.since(Instant::ZERO);
        Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
    }
}

impl Reading {
    /// When the kernel gave out `stamp`, a time on its wall clock since 1970; never later than this reading.
    pub fn place(&self, stamp: Duration) -> Instant {
        self.at - self.wall.saturating_sub(stamp)
    }
}

fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

fn wall() -> Duration {
    duration(clock_gettime(ClockId::Realtime))
}

fn duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_of_the_wall_clock_finds_its_place() {
        let reading = Reading { at: Instant::from_millis(500), wall: Duration::from_secs(1_700_000_000) };
        let stamp = |ms: u64| Duration::from_millis(1_700_000_000_000 - 1_000 + ms);
        for (name, stamp, at) in [
            ("just now", stamp(1_000), 500),
            ("a while ago", stamp(700), 200),
            ("before the start", stamp(0), 0),
            ("the wall clock was set back since", stamp(5_000), 500),
        ] {
            assert_eq!(reading.place(stamp), Instant::from_millis(at), "{name}");
        }
    }

    #[test]
    fn both_clocks_go_at_the_same_pace() {
        let clock = Clock::start();
        let first = clock.read();
        let second = clock.read();
        assert!(second.at >= first.at);
        let apart = second.place(first.wall).since(first.at).max(first.at.since(second.place(first.wall)));
        assert!(apart < Duration::from_millis(1), "{apart:?}");
    }
}
