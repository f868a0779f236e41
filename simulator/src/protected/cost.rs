//! What repair takes beside pictures, second by second.
//!
//! In: packets as they leave. Out: repair over pictures, in bytes, of the last whole second. Time: `now`, monotonic. Limit: two
//! seconds.

use std::time::Duration;

use proto::time::Instant;
use proto::units::DataSize;

const SECOND: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Cost {
    began: Instant,
    current: (u64, u64),
    last: (u64, u64),
}

impl Cost {
    /// A packet of a picture leaves for the first time.
    pub(super) fn add_picture(&mut self, now: Instant, size: DataSize) {
        self.roll(now);
        self.current.0 += size.as_bytes();
    }

    /// A packet of repair leaves.
    pub(super) fn add_repair(&mut self, now: Instant, size: DataSize) {
        self.roll(now);
        self.current.1 += size.as_bytes();
    }

    /// Repair over pictures.
    pub(super) fn redundancy(&mut self, now: Instant) -> f64 {
        self.roll(now);
        let (pictures, repair) = if self.last.0 > 0 { self.last } else { self.current };
        repair as f64 / pictures.max(1) as f64
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.since(self.began);
        if passed >= SECOND {
            self.last = if passed < SECOND * 2 { self.current } else { (0, 0) };
            self.current = (0, 0);
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_second_counts() {
        let ms = Instant::from_millis;
        let mut cost = Cost::default();
        for (at, pictures, repair, expected) in [
            (0, 1_000, 100, 0.1),
            (900, 1_000, 300, 0.2),
            (1_100, 1_000, 900, 0.2),
            (2_150, 0, 0, 0.9),
            (9_000, 1, 0, 0.0),
        ] {
            cost.add_picture(ms(at), DataSize::bytes(pictures));
            cost.add_repair(ms(at), DataSize::bytes(repair));
            let found = cost.redundancy(ms(at));
            assert!((found - expected).abs() < 1e-9, "{at} ms: {found}");
        }
    }
}
