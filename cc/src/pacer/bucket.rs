//! A bucket of debt: what was sent fills it, time at a rate empties it.
//!
//! In: sizes as they are sent. Out: when it is empty, what is left. Time: `now`, monotonic. Limit: none; whoever adds bounds.

use core::time::Duration;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

const NANOS: u64 = 1_000_000_000;

/// See the module's description.
///
/// It counts bits times nanoseconds a second, so that a rate of bits a second empties it without rounding.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    rate: Bitrate,
    debt: u64,
    at: Instant,
}

impl Bucket {
    /// Empties at another rate from now on.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        self.settle(now);
        self.rate = rate;
    }

    /// Something is sent.
    pub(super) fn add(&mut self, now: Instant, size: DataSize) {
        self.add_late(now, Duration::ZERO, size);
    }

    /// Something is sent so much later than it might have been: if it was empty all that time, the time counts as if
    /// it had been sent then.
    pub(super) fn add_late(&mut self, now: Instant, late: Duration, size: DataSize) {
        self.settle(now);
        if self.debt == 0 {
            self.at = now - late;
        }
        self.debt = self.debt.saturating_add(size.as_bits().saturating_mul(NANOS));
    }

    /// Something was not sent after all.
    pub(super) fn remove(&mut self, now: Instant, size: DataSize) {
        self.settle(now);
        self.debt = self.debt.saturating_sub(size.as_bits().saturating_mul(NANOS));
    }

    /// Forgives what is more than `time` fills.
    pub(super) fn forgive(&mut self, now: Instant, time: Duration) {
        self.settle(now);
        self.debt = self.debt.min(self.worth(nanos(time)));
    }

    /// What is in it, rounded up to a byte.
    pub(super) fn left(&self, now: Instant) -> DataSize {
        let debt = self.debt.saturating_sub(self.worth(now.as_nanos().saturating_sub(self.at.as_nanos())));
        DataSize::bytes(debt.div_ceil(8 * NANOS))
    }

    /// When it is empty, `now` at the earliest; `None` if its rate is nothing and it is not.
    pub(super) fn empty_at(&self) -> Option<Instant> {
        if self.debt == 0 {
            return Some(self.at);
        }
        if self.rate == Bitrate::ZERO {
            return None;
        }
        Some(self.at + Duration::from_nanos(self.debt.div_ceil(self.rate.as_bps())))
    }

    fn settle(&mut self, now: Instant) {
        self.debt = self.debt.saturating_sub(self.worth(now.as_nanos().saturating_sub(self.at.as_nanos())));
        self.at = self.at.max(now);
    }

    /// What so many nanoseconds empty.
    fn worth(&self, nanos: u64) -> u64 {
        self.rate.as_bps().saturating_mul(nanos)
    }
}

/// How long a byte takes at a rate: a multiplication for each packet, where the rate itself would be a division.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Nanoseconds, 2^16 of them to one.
    per_byte: u64,
}

impl Pace {
    /// At this rate; at none at all, what is sent takes for ever.
    pub(super) fn of(rate: Bitrate) -> Self {
        Self { per_byte: ((8 * NANOS) << 16).checked_div(rate.as_bps()).unwrap_or(u64::MAX) }
    }

    /// How long so much takes, to a few nanoseconds.
    pub(super) fn time(self, size: DataSize) -> Duration {
        Duration::from_nanos(size.as_bytes().saturating_mul(self.per_byte) >> 16)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_rate_to_a_nanosecond_in_a_thousand() {
        for rate in [Bitrate::kbps(60), Bitrate::mbps(1), Bitrate::kbps(7_333), Bitrate::mbps(20)] {
            for size in [DataSize::bytes(1), DataSize::bytes(1_228), DataSize::kilobytes(60)] {
                let (exact, told) = (size / rate, Pace::of(rate).time(size));
                assert!(
                    exact.abs_diff(told) <= exact / 1_000_000 + Duration::from_nanos(1),
                    "{size} at {rate}"
                );
            }
        }
        assert!(Pace::of(Bitrate::ZERO).time(DataSize::bytes(1)) > Duration::from_secs(1_000), "never");
    }

    #[test]
    fn debt_survives_changes_of_the_rate() {
        let ms = Instant::from_millis;
        let mut bucket = Bucket::default();
        assert_eq!(bucket.empty_at(), Some(Instant::ZERO));
        bucket.add(ms(10), DataSize::bytes(1_000));
        assert_eq!(bucket.empty_at(), None, "at no rate never");
        bucket.set_rate(ms(20), Bitrate::mbps(8));
        assert_eq!(bucket.empty_at(), Some(ms(21)));
        bucket.set_rate(Instant::from_nanos(20_500_000), Bitrate::mbps(4));
        assert_eq!(bucket.empty_at(), Some(Instant::from_nanos(21_500_000)), "half of it is left");
        bucket.add(ms(21), DataSize::kilobytes(100));
        bucket.forgive(ms(21), Duration::from_millis(50));
        assert_eq!(bucket.empty_at(), Some(ms(71)));
        assert_eq!(bucket.left(ms(69)), DataSize::bytes(1_000), "of 4 Mbit/s");
        bucket.remove(ms(69), DataSize::bytes(500));
        assert_eq!(bucket.empty_at(), Some(ms(70)));
        bucket.remove(ms(69), DataSize::kilobytes(1));
        assert_eq!(
            (bucket.left(ms(69)), bucket.empty_at()),
            (DataSize::ZERO, Some(ms(69))),
            "never less than nothing"
        );
    }
}
