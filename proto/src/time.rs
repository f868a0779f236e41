//! Points in time as cores see them: nanoseconds since the shell started, with no way to read a clock.
//!
//! A shell makes an [`Instant`] from its own clock in its `clock.rs`; cores only compare and add. Lengths of time
//! are [`core::time::Duration`].

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point in monotonic time, in nanoseconds since an epoch that the shell chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The shell's epoch.
    pub const ZERO: Self = Self(0);

    /// A point `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A point `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since the epoch, rounded down.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

/// The earlier of two wake-ups, where `None` means that nothing is scheduled.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Wall-clock time as RTCP carries it: 32.32 fixed-point seconds since 1900 (RFC 3550 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NtpTime(u64);

impl NtpTime {
    /// From the 64 bits of a sender report.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits of a sender report.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The middle 32 bits, which report blocks echo as LSR (RFC 3550 §6.4.1).
    pub const fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// This time moved by a signed number of nanoseconds.
    #[must_use]
    pub const fn offset_nanos(self, nanos: i64) -> Self {
        let fraction = ((nanos as i128) << 32) / 1_000_000_000;
        Self((self.0 as i128 + fraction) as u64)
    }

    /// Nanoseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        let fraction = self.0.wrapping_sub(earlier.0) as i64;
        ((fraction as i128 * 1_000_000_000) >> 32) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Instant::from_millis(5), Instant::from_millis(8));
        assert_eq!(late.since(early), Duration::from_millis(3));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early - Duration::from_secs(1), Instant::ZERO);
    }

    #[test]
    fn earliest_prefers_the_scheduled_one() {
        let at = Instant::from_millis(5);
        assert_eq!(earliest(None, Some(at)), Some(at));
        assert_eq!(earliest(Some(at), Some(Instant::ZERO)), Some(Instant::ZERO));
        assert_eq!(earliest(None, None), None);
    }

    #[test]
    fn ntp_offsets_are_exact_to_a_nanosecond() {
        let start = NtpTime::from_bits(0x1234_5678_8000_0000);
        for nanos in [0, 1_000_000_000, -1_500_000_000, 40_000_000] {
            let error = start.offset_nanos(nanos).nanos_since(start) - nanos;
            assert!((-1..=1).contains(&error), "{nanos}: off by {error} ns");
        }
        assert_eq!(start.compact(), 0x5678_8000);
    }
}
