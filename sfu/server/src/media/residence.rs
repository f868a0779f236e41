//! How long datagrams stay: from the kernel's timestamp of a datagram's arrival to the end of the flush that sends what it caused.
//!
//! In: arrivals, ends of flushes. Out: a histogram, its quantiles, and its text for Prometheus. Time: the caller's, one
//! reading a batch. Limit: [`BUCKETS`] counters, and as many arrivals that wait as batches come between two flushes.
//!
//! Each datagram counts once. What congestion control holds back leaves later than that and is not waited for: this is the
//! worker's own delay. A datagram whose flush came early, since the batch was full, counts until the last one.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use proto::time::Instant;
use serde::Serialize;

/// Two buckets an octave from 16 µs to 1.05 s, and one for what is more.
const BUCKETS: usize = 34;
/// The first bucket's upper bound, in nanoseconds.
const LEAST: u64 = 16_000;
/// Arrivals that wait for a flush before memory is asked for: four batches of 32.
const WAITING: usize = 128;

/// How often datagrams stayed how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Histogram {
    counts: [u64; BUCKETS],
    /// All of them together, in nanoseconds.
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum: 0 }
    }
}

impl Histogram {
    fn add(&mut self, stay: Duration, datagrams: u64) {
        let nanos = u64::try_from(stay.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += datagrams;
        self.sum = self.sum.saturating_add(nanos.saturating_mul(datagrams));
    }

    /// The bound that a share of all datagrams did not exceed, in microseconds; `None` if there were none, or if it is
    /// beyond the last bound.
    fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        place.and_then(bound).map(|nanos| nanos / 1_000)
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What it says in few words.
    pub(super) fn summary(&self) -> Summary {
        Summary { datagrams: self.count(), p50_us: self.quantile(0.5), p99_us: self.quantile(0.99) }
    }
}

/// A histogram in few words; both quantiles are bounds of buckets, at most half too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Datagrams counted since the worker's start.
    pub(crate) datagrams: u64,
    /// Half of them stayed no longer, in microseconds.
    pub(crate) p50_us: Option<u64>,
    /// Of a hundred one stayed longer, in microseconds.
    pub(crate) p99_us: Option<u64>,
}

/// A bucket's upper bound in nanoseconds, itself included; `None` for the last, which has none.
fn bound(place: usize) -> Option<u64> {
    let (octave, half) = (place / 2, place as u64 % 2);
    (place + 1 < BUCKETS).then(|| (LEAST << octave) + half * (LEAST << octave) / 2)
}

/// The bucket of a stay in nanoseconds.
fn bucket(nanos: u64) -> usize {
    let below = nanos.saturating_sub(1).min(LEAST << BUCKETS); // bounds belong to the bucket beneath them
    let Some(octave) = (below / LEAST).checked_ilog2() else { return 0 };
    let upper_half = below >= (LEAST << octave) / 2 * 3;
    (1 + 2 * octave as usize + usize::from(upper_half)).min(BUCKETS - 1)
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Residence {
    /// Arrivals since the last flush: when, and how many at once.
    waiting: Vec<(Instant, u64)>,
    histogram: Histogram,
}

impl Default for Residence {
    fn default() -> Self {
        Self { waiting: Vec::with_capacity(WAITING), histogram: Histogram::default() }
    }
}

impl Residence {
    /// A datagram arrived.
    pub(super) fn handle_arrival(&mut self, at: Instant) {
        if cfg!(feature = "without-stats") {
            return; // nothing ever waits for a flush
        }
        match self.waiting.last_mut() {
            Some((last, datagrams)) if *last == at => *datagrams += 1, // one of those that the kernel joined
            Some(_) | None => self.waiting.push((at, 1)),
        }
    }

    /// Everything that the arrivals so far have caused is sent.
    pub(super) fn handle_flushed(&mut self, now: Instant) {
        for (at, datagrams) in self.waiting.drain(..) {
            self.histogram.add(now.since(at), datagrams);
        }
    }

    /// Whether anything waits for a flush: else its end is of no interest.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What was counted so far.
    pub(super) fn histogram(&self) -> &Histogram {
        &self.histogram
    }
}

/// A worker's histogram as others see it, a second old at most.
#[derive(Debug)]
pub(crate) struct Published {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Default for Published {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }
}

impl Published {
    /// Publishes the present state.
    pub(super) fn store(&self, histogram: &Histogram) {
        for (shared, count) in self.counts.iter().zip(histogram.counts) {
            shared.store(count, Relaxed);
        }
        self.sum.store(histogram.sum, Relaxed);
    }

    fn load(&self) -> Histogram {
        let counts = std::array::from_fn(|place| self.counts[place].load(Relaxed));
        Histogram { counts, sum: self.sum.load(Relaxed) }
    }
}

/// All workers' histograms in Prometheus' text format: the `metrics` crate's take values one by one, not counts.
pub(crate) fn render<'a>(workers: impl Iterator<Item = &'a Published>) -> String {
    let mut text = String::from(concat!(
        "# HELP lianmai_residence_seconds From a datagram's arrival to the end of the flush that sends what it caused.\n",
        "# TYPE lianmai_residence_seconds histogram\n",
    ));
    for (worker, histogram) in workers.map(Published::load).enumerate() {
        let mut below = 0;
        for (place, count) in histogram.counts.iter().enumerate() {
            below += count;
            let bound = bound(place).map_or_else(|| "+Inf".to_owned(), seconds);
            let _ = writeln!(
                text,
                "lianmai_residence_seconds_bucket{{worker=\"{worker}\",le=\"{bound}\"}} {below}"
            );
        }
        let sum = seconds(histogram.sum);
        let _ = writeln!(text, "lianmai_residence_seconds_sum{{worker=\"{worker}\"}} {sum}");
        let _ = writeln!(text, "lianmai_residence_seconds_count{{worker=\"{worker}\"}} {below}");
    }
    text
}

fn seconds(nanos: u64) -> String {
    (nanos as f64 / 1e9).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_two_an_octave_and_each_stay_is_under_the_least_that_it_does_not_exceed() {
        let bounds: Vec<u64> = (0..6).filter_map(bound).map(|nanos| nanos / 1_000).collect();
        assert_eq!(bounds, [16, 24, 32, 48, 64, 96]);
        assert_eq!((bound(BUCKETS - 2), bound(BUCKETS - 1)), (Some(LEAST << 16), None));
        let edges = (0..BUCKETS).filter_map(bound).flat_map(|nanos| [nanos - 1, nanos, nanos + 1]);
        for nanos in edges.chain([0, 1, u64::MAX]) {
            let expected = (0..BUCKETS).find(|place| bound(*place).is_none_or(|bound| nanos <= bound));
            assert_eq!(Some(bucket(nanos)), expected, "{nanos} ns");
        }
    }

    #[test]
    fn each_datagram_counts_once_from_its_arrival_to_the_flush_after_it() {
        let mut residence = Residence::default();
        for millis in [1, 1, 1, 4] {
            residence.handle_arrival(Instant::from_millis(millis));
        }
        assert!(residence.is_waiting() && residence.histogram().count() == 0, "nothing is sent yet");
        residence.handle_flushed(Instant::from_millis(5));
        residence.handle_flushed(Instant::from_millis(900));
        let summary = residence.histogram().summary();
        let least_above = |micros: u64| (0..BUCKETS).filter_map(bound).find(|nanos| *nanos >= micros * 1_000);
        let expected = |micros| least_above(micros).map(|nanos| nanos / 1_000);
        assert_eq!(
            summary,
            Summary { datagrams: 4, p50_us: expected(4_000), p99_us: expected(4_000) },
            "three of four ms and one of one"
        );
        assert!(!residence.is_waiting() && residence.histogram().sum == 13_000_000);
        assert_eq!(Histogram::default().summary(), Summary { datagrams: 0, p50_us: None, p99_us: None });
    }

    #[test]
    fn the_text_is_a_prometheus_histogram() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::from_micros(20), 3);
        histogram.add(Duration::from_secs(9), 1);
        let published = Published::default();
        published.store(&histogram);
        let text = render([&Published::default(), &published].into_iter());
        for line in [
            "lianmai_residence_seconds_bucket{worker=\"0\",le=\"+Inf\"} 0",
            "lianmai_residence_seconds_bucket{worker=\"1\",le=\"0.000016\"} 0",
            "lianmai_residence_seconds_bucket{worker=\"1\",le=\"0.000024\"} 3",
            "lianmai_residence_seconds_bucket{worker=\"1\",le=\"1.048576\"} 3",
            "lianmai_residence_seconds_bucket{worker=\"1\",le=\"+Inf\"} 4",
            "lianmai_residence_seconds_sum{worker=\"1\"} 9.00006",
            "lianmai_residence_seconds_count{worker=\"1\"} 4",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.lines().count(), 2 + 2 * (BUCKETS + 2));
    }
}
