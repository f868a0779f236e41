//! How many messages a client may send: a token bucket.
//!
//! In: arrivals. Out: whether each is within the limit. Time: `now`, monotonic. Limit: [`BURST`] at once,
//! [`PER_SECOND`] in the long run; a join sends one, a page being resized about ten a second.

use proto::time::Instant;

/// Messages that may come at once.
const BURST: u32 = 100;
/// Messages a second that may come for ever.
const PER_SECOND: u32 = 50;
/// The time in which one message is earned, in nanoseconds.
const EARN_NANOS: u64 = 1_000_000_000 / PER_SECOND as u64;

/// One client's bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// When the bucket is or was full again.
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one message out. False if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + core::time::Duration::from_nanos(EARN_NANOS);
        let within = full_at.since(now).as_nanos() <= u128::from(EARN_NANOS) * u128::from(BURST);
        if within {
            self.full_at = full_at;
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(Instant::ZERO);
        let taken = |bucket: &mut Bucket, ms, tries| {
            (0..tries).filter(|_| bucket.take(Instant::from_millis(ms))).count()
        };
        for (name, ms, tries, expected) in [
            ("the burst", 1_000, 200, 100),
            ("nothing is left", 1_000, 10, 0),
            ("one is earned every 20 ms", 1_020, 10, 1),
            ("fifty a second", 2_020, 100, 50),
            ("no more than a burst is saved up", 60_000, 200, 100),
        ] {
            assert_eq!(taken(&mut bucket, ms, tries), expected, "{name}");
        }
    }
}
