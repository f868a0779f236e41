//! A bucket of debt: what was sent fills it, time at a rate empties it.
//!
//! In: sizes as they are sent. Out: when it is empty. Time: `now`, monotonic. Limit: none; whoever adds bounds.

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
        self.settle(now);
        self.debt = self.debt.saturating_add(size.as_bits().saturating_mul(NANOS));
    }

    /// Forgives what is more than `time` fills.
    pub(super) fn forgive(&mut self, now: Instant, time: Duration) {
        self.settle(now);
        let most = u128::from(self.rate.as_bps()) * time.as_nanos();
        self.debt = self.debt.min(u64::try_from(most).unwrap_or(u64::MAX));
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
        let paid = u128::from(self.rate.as_bps()) * now.since(self.at).as_nanos();
        self.debt = self.debt.saturating_sub(u64::try_from(paid).unwrap_or(u64::MAX));
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
