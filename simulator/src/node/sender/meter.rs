//! How fast something went lately.
//!
//! In: sizes. Out: their rate. Time: `now`, monotonic, in spans of `SPAN`. Limit: two numbers.

use std::time::Duration;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

const SPAN: Duration = Duration::from_millis(500);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Meter {
    began: Instant,
    current: DataSize,
    last: DataSize,
}

impl Meter {
    pub(super) fn add(&mut self, now: Instant, size: DataSize) {
        self.roll(now);
        self.current += size;
    }

    /// The rate of the running span or the one before, whichever is higher.
    pub(super) fn rate(&mut self, now: Instant) -> Bitrate {
        self.roll(now);
        Bitrate::of(self.current.max(self.last), SPAN).unwrap_or_default()
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.since(self.began);
        if passed >= SPAN {
            self.last = if passed < SPAN * 2 { self.current } else { DataSize::ZERO };
            self.current = DataSize::ZERO;
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_second_at_most() {
        let ms = Instant::from_millis;
        let mut meter = Meter::default();
        meter.add(ms(100), DataSize::bytes(1_000));
        meter.add(ms(499), DataSize::bytes(1_000));
        for (at, kbps) in [(499, 32), (500, 32), (999, 32), (1_000, 0)] {
            assert_eq!(meter.rate(ms(at)), Bitrate::kbps(kbps), "at {at} ms");
        }
        meter.add(ms(5_000), DataSize::bytes(1_000));
        assert_eq!(meter.rate(ms(5_001)), Bitrate::kbps(16));
    }
}
