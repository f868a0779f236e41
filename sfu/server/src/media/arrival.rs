//! When datagrams arrived: the kernel's receive timestamps on the process's clock.
//!
//! In: a timestamp of the kernel's wall clock, and when it was read. Out: the [`Instant`] of the arrival, never later
//! than the reading. Time: of the reading. Limit: two offsets, [`WINDOW`] each.
//!
//! A batch is read late, by as long as the worker was busy, and all at once: times of reading would show a publisher's
//! congestion control a queue that the network does not have. No second clock is needed to tell the age of a timestamp:
//! the least difference seen between reading and timestamp is that of the clocks, with the shortest delay there is.

use std::time::Duration;

use proto::time::Instant;

/// For how long a difference counts, at least: a worker is idle at some moment within it, and clocks that differ by
/// 500 ppm, the most that NTP slews, come apart by 2.5 ms.
const WINDOW: Duration = Duration::from_secs(5);
/// The longest that a datagram waits in the kernel, as far as is believed. More means that the wall clock was set back.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// Brings the kernel's timestamps onto the process's clock.
#[derive(Debug, Default)]
pub(super) struct ArrivalClock {
    /// The least difference in the present window.
    least: Option<Offset>,
    /// The least difference in the window before.
    before: Option<Offset>,
    window_ends: Instant,
}

impl ArrivalClock {
    /// A datagram was read at `read` that the kernel had stamped with `stamp`, since 1970. Called for all of a batch
    /// before the first is placed, since the last of them waited the least.
    pub(super) fn note(&mut self, read: Instant, stamp: Option<Duration>) {
        let Some(stamp) = stamp else { return };
        let offset = Offset::between(read, stamp);
        if self.window_ends <= read {
            self.before = self.least.take().filter(|_| read < self.window_ends + WINDOW);
            self.window_ends = read + WINDOW;
        }
        if self.wait(offset) > WAIT_MAX {
            *self = Self { window_ends: read + WINDOW, ..Self::default() };
        }
        self.least = Some(self.least.map_or(offset, |least| least.min(offset)));
    }

    /// When a datagram arrived that was noted with these values.
    pub(super) fn place(&self, read: Instant, stamp: Option<Duration>) -> Instant {
        stamp.map_or(read, |stamp| read - self.wait(Offset::between(read, stamp)).min(WAIT_MAX))
    }

    /// How long a datagram waited between the timestamp and the reading.
    fn wait(&self, offset: Offset) -> Duration {
        let least = [self.least, self.before].into_iter().flatten().min();
        least.map_or(Duration::ZERO, |least| offset.beyond(least))
    }
}

/// The process's clock less the kernel's wall clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Offset(i128);

impl Offset {
    fn between(read: Instant, stamp: Duration) -> Self {
        Self(i128::from(read.as_nanos()) - stamp.as_nanos() as i128)
    }

    /// By how much it is more than `least`; zero if it is less.
    fn beyond(self, least: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0 - least.0).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock at the process's start, in milliseconds.
    const START: u64 = 1_700_000_000_000;

    #[test]
    fn the_time_in_the_kernels_queue_is_taken_off() {
        let ms = Duration::from_millis;
        for (name, batches, arrived) in [
            ("no timestamp", &[(10, &[None][..])][..], &[10][..]),
            ("the first is believed to be prompt", &[(10, &[Some(9)])], &[10]),
            ("one that waited", &[(10, &[Some(10)]), (30, &[Some(17)])], &[10, 17]),
            ("the last of a first batch is", &[(30, &[Some(17), Some(22), Some(30)])], &[17, 22, 30]),
            (
                "the first had waited",
                &[(10, &[Some(5)]), (20, &[Some(20)]), (30, &[Some(25)])],
                &[10, 20, 25],
            ),
            ("set forward", &[(10, &[Some(10)]), (20, &[Some(9_020)]), (30, &[Some(9_025)])], &[10, 20, 25]),
            ("set back", &[(500, &[Some(500)]), (510, &[Some(100)]), (520, &[Some(105)])], &[500, 510, 515]),
            ("the clocks came apart in silence", &[(0, &[Some(0)]), (60_000, &[Some(59_990)])], &[0, 60_000]),
            (
                "a small step back is forgotten",
                &[(0, &[Some(0)]), (5_100, &[Some(5_090)]), (10_200, &[Some(10_190)])],
                &[0, 5_090, 10_200],
            ),
        ] {
            let mut clock = ArrivalClock::default();
            let mut placed = Vec::new();
            for &(read, stamps) in batches {
                let read = Instant::from_millis(read);
                let stamps: Vec<_> =
                    stamps.iter().map(|stamp| stamp.map(|stamp: u64| ms(START + stamp))).collect();
                for stamp in &stamps {
                    clock.note(read, *stamp);
                }
                placed.extend(stamps.iter().map(|stamp| clock.place(read, *stamp)));
                assert!(placed.iter().all(|at| *at <= read), "{name}: not in the future");
            }
            assert_eq!(
                placed,
                arrived.iter().map(|at| Instant::from_millis(*at)).collect::<Vec<_>>(),
                "{name}"
            );
        }
    }
}
