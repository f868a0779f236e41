//! The clocks: the only file of the server that reads one.
//!
//! Out: [`Instant`] for the cores, seconds since 1970 for tokens, deadlines for the runtime. Time: this is it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::time::{Instant, NtpTime};

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// The process's clock; copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: std::time::Instant,
    wall_clock: NtpTime,
}

impl Clock {
    /// A clock whose [`Instant::ZERO`] is now.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch: std::time::Instant::now(), wall_clock: ntp(unix) }
    }

    /// The monotonic time.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(crate) fn now(&self) -> Instant {
        let elapsed = std::time::Instant::now().saturating_duration_since(self.epoch);
        Instant::ZERO + elapsed
    }

    /// The standard library's name for [`Instant::ZERO`].
    pub(crate) fn epoch(&self) -> std::time::Instant {
        self.epoch
    }

    /// The wall clock at [`Instant::ZERO`].
    pub(crate) fn wall_clock(&self) -> NtpTime {
        self.wall_clock
    }

    /// The runtime's name for `at`.
    pub(crate) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.epoch + at.since(Instant::ZERO))
    }
}

/// Seconds since 1970, as tokens count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixSeconds(pub(crate) u64);

impl UnixSeconds {
    /// The wall clock, which may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
    pub(crate) fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}

fn ntp(unix: Duration) -> NtpTime {
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    NtpTime::from_bits((unix.as_secs() + NTP_TO_UNIX) << 32 | fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_counts_from_1900() {
        let half_past = ntp(Duration::from_millis(500));
        assert_eq!(half_past.to_bits(), (NTP_TO_UNIX << 32) | (1 << 31));
    }

    #[test]
    fn a_deadline_and_its_instant_are_the_same_point() {
        let clock = Clock::start();
        let at = clock.now() + Duration::from_secs(5);
        let left = clock.deadline(at).saturating_duration_since(tokio::time::Instant::now());
        assert!(left > Duration::from_secs(4) && left <= Duration::from_secs(5), "{left:?}");
    }
}
