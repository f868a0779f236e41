//! Work of a server: bits times 10⁹, so that a rate of `r` bit/s does exactly `r` of it in each nanosecond.
//!
//! In these units nothing is ever rounded away: what a server has done by any nanosecond is an integer, and departures
//! are the exact times rounded up, never sums of rounded times. Limit: a parcel of `SIZE_MAX`, a rate of [`RATE_MAX`].

use std::time::Duration;

use proto::units::{Bitrate, DataSize};

/// Nothing is faster: 1 Pbit/s. A server at this rate is as good as unlimited.
pub const RATE_MAX: Bitrate = Bitrate::bps(1_000_000_000_000_000);

/// Nothing is larger: 1 GB, above any datagram by far.
const SIZE_MAX: u64 = 1_000_000_000;

/// What a byte is in these units.
const BYTE: u64 = 8_000_000_000;

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Work(u64);

impl Work {
    pub(super) const ZERO: Self = Self(0);
    pub(super) const MAX: Self = Self(u64::MAX);

    /// What a parcel of this size is.
    pub(super) fn of(size: DataSize) -> Self {
        Self(size.as_bytes().min(SIZE_MAX) * BYTE)
    }

    /// What a rate does in this time, at most as much as can be counted.
    pub(super) fn done(rate: Bitrate, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(rate.min(RATE_MAX).as_bps().saturating_mul(nanos))
    }

    /// How long a rate takes, rounded up to a nanosecond; `None` if it never ends.
    pub(super) fn time_at(self, rate: Bitrate) -> Option<Duration> {
        let rate = rate.min(RATE_MAX).as_bps();
        (rate > 0).then(|| Duration::from_nanos(self.0.div_ceil(rate)))
    }

    /// What is left when `other` is taken away, at least nothing.
    pub(super) const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(super) const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_over_rate_is_time_and_back() {
        let work = Work::of(DataSize::bytes(1_500));
        let rate = Bitrate::mbps(7);
        let time = work.time_at(rate).unwrap();
        assert_eq!(time, Duration::from_nanos(1_714_286)); // 12000 bit / 7 Mbit/s = 1714285.7 ns
        assert_eq!(Work::done(rate, time).minus(work), Work(2_000_000)); // 0.2857 ns more than the parcel takes
        assert_eq!(work.time_at(Bitrate::ZERO), None);
    }

    #[test]
    fn extremes_neither_wrap_nor_stop() {
        let largest = Work::of(DataSize::bytes(u64::MAX));
        assert_eq!(largest.time_at(Bitrate::MAX), Some(Duration::from_micros(8)));
        assert!(Work::done(Bitrate::MAX, Duration::MAX) > largest);
        assert_eq!(Work::ZERO.minus(largest), Work::ZERO);
    }
}
