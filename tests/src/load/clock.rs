//! The generator's clock, and that of its threads' work.
//!
//! Out: [`Instant`] since the start, also of the kernel's time stamps. Time: this is it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// A clock; copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: std::time::Instant,
    /// The time of day at the epoch, since 1970.
    wall: Duration,
}

impl Clock {
    /// A clock whose [`Instant::ZERO`] is now.
    #[expect(clippy::disallowed_methods, reason = "this is a shell's clock")]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch: std::time::Instant::now(), wall }
    }

    /// The monotonic time.
    #[expect(clippy::disallowed_methods, reason = "this is a shell's clock")]
    pub fn now(&self) -> Instant {
        Instant::ZERO + std::time::Instant::now().saturating_duration_since(self.epoch)
    }

    /// The standard library's name for [`Instant::ZERO`].
    pub fn epoch(&self) -> std::time::Instant {
        self.epoch
    }

    /// What the kernel stamped with the time of day, as it does with datagrams.
    pub fn at_wall(&self, wall: Duration) -> Instant {
        Instant::ZERO + wall.saturating_sub(self.wall)
    }

    /// Waits until `at`.
    #[expect(clippy::disallowed_methods, reason = "threads of their own that have nothing else to do")]
    pub fn sleep_until(&self, at: Instant) {
        let left = at.since(self.now());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }
}

/// The processor time that the calling thread has taken, in the kernel too.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
