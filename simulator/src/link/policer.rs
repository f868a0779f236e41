//! The policer: a token bucket that drops what exceeds it (RFC 2697's single rate, without colors).
//!
//! In: sizes. Time: `now`, monotonic. The bucket starts full. Tokens are counted in [`Work`], so that what conforms is
//! exact to the byte over any time.

use proto::time::Instant;
use proto::units::DataSize;

use super::plan;
use super::work::Work;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Policer {
    plan: plan::Policer,
    tokens: Work,
    filled: Instant,
}

impl Policer {
    /// A full bucket.
    pub(super) fn new(now: Instant, plan: plan::Policer) -> Self {
        Self { plan, tokens: Work::of(plan.burst), filled: now }
    }

    /// The bucket by another plan: its tokens stay as far as they have room.
    pub(super) fn replan(&mut self, now: Instant, plan: plan::Policer) {
        self.fill(now);
        self.plan = plan;
        self.tokens = self.tokens.min(Work::of(plan.burst));
    }

    /// Whether a parcel conforms; if so, its tokens are taken.
    pub(super) fn admits(&mut self, now: Instant, size: DataSize) -> bool {
        self.fill(now);
        let needed = Work::of(size);
        let conforms = needed <= self.tokens;
        if conforms {
            self.tokens = self.tokens.minus(needed);
        }
        conforms
    }

    fn fill(&mut self, now: Instant) {
        let gained = Work::done(self.plan.rate, now.since(self.filled));
        self.tokens = self.tokens.plus(gained).min(Work::of(self.plan.burst));
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::units::Bitrate;

    /// A bucket without cleverness: tokens in a signed 128-bit integer, nothing saturates.
    fn reference(rate: u64, burst: u64, arrivals: &[(u64, u64)]) -> Vec<bool> {
        let (full, mut tokens, mut last) =
            (i128::from(burst) * 8_000_000_000, i128::from(burst) * 8_000_000_000, 0);
        let mut verdicts = Vec::new();
        for &(at, size) in arrivals {
            tokens = full.min(tokens + i128::from(rate) * i128::from(at - last));
            last = at;
            let needed = i128::from(size) * 8_000_000_000;
            verdicts.push(tokens >= needed);
            if tokens >= needed {
                tokens -= needed;
            }
        }
        verdicts
    }

    proptest! {
        #[test]
        fn conformance_is_exact_to_the_byte(
            rate in 1_u64..1_000_000_000,
            burst in 1_u64..100_000,
            arrivals in prop::collection::vec((0_u64..20_000_000, 1_u64..3_000), 1..200),
        ) {
            let mut now = 0;
            let arrivals: Vec<_> = arrivals.into_iter().map(|(gap, size)| { now += gap; (now, size) }).collect();
            let plan = plan::Policer { rate: Bitrate::bps(rate), burst: DataSize::bytes(burst) };
            let mut policer = Policer::new(Instant::ZERO, plan);
            let verdicts: Vec<bool> = arrivals
                .iter()
                .map(|&(at, size)| policer.admits(Instant::from_nanos(at), DataSize::bytes(size)))
                .collect();
            prop_assert_eq!(verdicts, reference(rate, burst, &arrivals));
        }
    }

    #[test]
    fn a_full_bucket_lets_its_burst_through_and_not_a_byte_more() {
        let plan = plan::Policer { rate: Bitrate::kbps(8), burst: DataSize::bytes(3_000) };
        let mut policer = Policer::new(Instant::ZERO, plan);
        let mut admits = |nanos, size| policer.admits(Instant::from_nanos(nanos), DataSize::bytes(size));
        assert!(admits(0, 3_000));
        assert!(!admits(999_999, 1)); // 8 kbit/s make a byte in a millisecond
        assert!(admits(1_000_000, 1));
        assert!(!admits(1_999_999, 1));
        assert!(admits(2_000_000, 1));
    }
}
