//! How much the path delivers at best (draft §5.5.2 to §5.5.6, `BBR.max_bw`) and how much more than that comes in
//! bunches (§5.5.9, `BBR.extra_acked`).
//!
//! In: rate samples. Out: the greatest rate of this probing cycle and the last one; the greatest bunch of late rounds.

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::sampler::RateSample;
use crate::filter::WindowedMax;

/// The filter spans this cycle and the one before (`BBR.MaxBwFilterLen` = 2).
const CYCLES_BEFORE: u64 = 1;
/// How many rounds bunches are remembered (`BBR.ExtraAckedFilterLen`).
const BUNCH_ROUNDS: u64 = 10;

/// The draft's `BBR.max_bw` and its filter.
#[derive(Debug, Default)]
pub(super) struct MaxBandwidth {
    filter: WindowedMax<Bitrate, u64>,
    cycle: u64,
}

impl MaxBandwidth {
    /// Takes a sample in, unless it tells only what the application had to send ("Updating the `BBR.max_bw` Max Filter").
    pub(super) fn handle_sample(&mut self, sample: &RateSample) {
        let telling = sample.delivery_rate >= self.rate() || !sample.app_limited;
        if sample.delivery_rate > Bitrate::ZERO && telling {
            self.filter.update(self.cycle, sample.delivery_rate, CYCLES_BEFORE);
        }
    }

    /// A probing cycle is over ("Tracking Time for the `BBR.max_bw` Max Filter").
    pub(super) const fn advance(&mut self) {
        self.cycle += 1;
    }

    /// The greatest rate; zero if there was none.
    pub(super) fn rate(&self) -> Bitrate {
        self.filter.value().unwrap_or(Bitrate::ZERO)
    }
}

/// The draft's `BBR.extra_acked`: what is reported beyond what the rate explains, so that the window can cover it.
#[derive(Debug, Default)]
pub(super) struct Bunching {
    filter: WindowedMax<DataSize, u64>,
    since: Instant,
    delivered: DataSize,
}

/// What [`Bunching`] must be told of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct BunchingContext {
    pub(super) bandwidth: Bitrate,
    pub(super) window: DataSize,
    pub(super) round: u64,
    /// Whether the path was once filled: until then a bunch is remembered for one round only.
    pub(super) filled: bool,
}

impl Bunching {
    /// Takes a report in.
    pub(super) fn handle_acked(&mut self, now: Instant, acked: DataSize, context: BunchingContext) {
        let mut expected = context.bandwidth * now.since(self.since);
        if self.delivered <= expected {
            self.restart(now);
            expected = DataSize::ZERO;
        }
        self.delivered += acked;
        let extra = self.delivered.saturating_sub(expected).min(context.window);
        let rounds = if context.filled { BUNCH_ROUNDS } else { 1 };
        self.filter.update(context.round, extra, rounds);
    }

    /// What comes from now on is a bunch of its own.
    pub(super) const fn restart(&mut self, now: Instant) {
        self.since = now;
        self.delivered = DataSize::ZERO;
    }

    /// The greatest bunch.
    pub(super) fn extra(&self) -> DataSize {
        self.filter.value().unwrap_or(DataSize::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kbps: u64, app_limited: bool) -> RateSample {
        RateSample { delivery_rate: Bitrate::kbps(kbps), app_limited, ..RateSample::default() }
    }

    #[test]
    fn app_limited_samples_raise_the_rate_but_never_lower_it() {
        let mut max = MaxBandwidth::default();
        for (name, rate, limited, cycles, expected) in [
            ("the first counts", 1_000, true, 0, 1_000),
            ("a limited one that is greater", 2_000, true, 0, 2_000),
            ("a limited one cycles later", 500, true, 9, 2_000),
            ("one that is not, the next cycle", 1_500, false, 1, 1_500),
            ("the one before still counts", 500, false, 1, 1_500),
            ("and no longer", 500, false, 1, 500),
        ] {
            for _ in 0..cycles {
                max.advance();
            }
            max.handle_sample(&sample(rate, limited));
            assert_eq!(max.rate(), Bitrate::kbps(expected), "{name}");
        }
    }

    #[test]
    fn a_bunch_is_what_exceeds_the_rate() {
        let context = BunchingContext {
            bandwidth: Bitrate::mbps(1),
            window: DataSize::kilobytes(20),
            round: 0,
            filled: true,
        };
        let mut bunching = Bunching::default();
        // 6250 B each 50 ms is the rate itself: each report is then a bunch of its own size.
        for report in 1..10 {
            bunching.handle_acked(Instant::from_millis(50 * report), DataSize::bytes(6_250), context);
        }
        assert_eq!(bunching.extra(), DataSize::bytes(6_250));
        bunching.handle_acked(Instant::from_millis(500), DataSize::kilobytes(50), context);
        assert_eq!(bunching.extra(), context.window, "never more than the window");
        bunching.handle_acked(
            Instant::from_millis(2_000),
            DataSize::bytes(10),
            BunchingContext { round: BUNCH_ROUNDS + 1, ..context },
        );
        assert_eq!(bunching.extra(), DataSize::bytes(10), "forgotten after ten rounds");
    }
}
