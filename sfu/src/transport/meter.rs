//! A meter: how fast something has come of late.
//!
//! In: sizes as they come. Out: [`RateMeter::rate`]. Time: `now`, monotonic. Limit: constant memory, no timer.

use core::time::Duration;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

/// What is summed up together.
const BUCKET: Duration = Duration::from_millis(250);

/// Eight seconds, over which what an encoder varies by from picture to picture evens out.
const BUCKETS: usize = 32;

/// Two seconds: a key frame, six pictures' worth, then counts for less than a tenth at 30 pictures a second.
const RECENT: u64 = 7;

/// The last second alone counts if it is more, so that what grows is not underestimated for long.
const LAST: u64 = 4;

/// The last seconds count instead of all if they differ by this share: it is another rate now.
const CHANGED: f64 = 0.25;

/// A rate needs so much to be measured.
const LEAST: Duration = Duration::from_millis(400);

/// See the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateMeter {
    /// By the bucket's number modulo [`BUCKETS`].
    buckets: [DataSize; BUCKETS],
    newest: u64,
    began: Option<Instant>,
}

impl RateMeter {
    /// Something came.
    pub fn add(&mut self, now: Instant, size: DataSize) {
        let number = number(now);
        if self.began.is_none() {
            self.began = Some(now);
            self.newest = number;
        }
        let stale = number.saturating_sub(self.newest).min(BUCKETS as u64);
        for past in 0..stale {
            self.buckets[((number - past) % BUCKETS as u64) as usize] = DataSize::ZERO;
        }
        self.newest = self.newest.max(number);
        self.buckets[(number % BUCKETS as u64) as usize] += size;
    }

    /// The mean of the last eight seconds, whatever came in bursts meanwhile; `None` before there is enough.
    pub fn usual(&self, now: Instant) -> Option<Bitrate> {
        Some(self.mean(now, self.age(now)?, BUCKETS as u64 - 1))
    }

    /// The mean of the last eight seconds. If the last two or the last one, whichever is more, differ much, theirs.
    /// `None` before there is enough.
    pub fn rate(&self, now: Instant) -> Option<Bitrate> {
        let age = self.age(now)?;
        let mean = |full: u64| self.mean(now, age, full);
        let (usual, recent) = (mean(BUCKETS as u64 - 1), mean(RECENT).max(mean(LAST)));
        let is_usual = (recent.ratio(usual) - 1.0).abs() <= CHANGED;
        Some(if is_usual { usual } else { recent })
    }

    /// How long there has been anything, if that is long enough.
    fn age(&self, now: Instant) -> Option<Duration> {
        Some(now.since(self.began?)).filter(|age| *age >= LEAST)
    }

    /// The mean of the bucket that is being filled and of so many full ones.
    fn mean(&self, now: Instant, age: Duration, full: u64) -> Bitrate {
        let begun = Duration::from_nanos(now.as_nanos() % BUCKET.as_nanos() as u64);
        let time = (BUCKET * full as u32 + begun).min(age);
        Bitrate::of(self.sum(number(now), full), time).unwrap_or_default()
    }

    /// What came in the bucket `now` and in so many before it.
    fn sum(&self, now: u64, full: u64) -> DataSize {
        let there = (now.saturating_sub(full)..=now)
            .filter(|number| *number <= self.newest && self.newest - number < BUCKETS as u64);
        there.map(|number| self.buckets[(number % BUCKETS as u64) as usize]).sum()
    }
}

fn number(at: Instant) -> u64 {
    at.as_nanos() / BUCKET.as_nanos() as u64 + BUCKETS as u64 // so that there is always room below
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: DataSize = DataSize::bytes(1_000);

    /// The rate in kbit/s at `at` if a packet of [`SIZE`] came each 10 ms of the spans.
    fn kbps(spans: &[(u64, u64)], at: u64) -> Option<u64> {
        let mut meter = RateMeter::default();
        for millis in spans.iter().flat_map(|(from, to)| (*from..*to).step_by(10)) {
            meter.add(Instant::from_millis(millis), SIZE);
        }
        meter.rate(Instant::from_millis(at)).map(|rate| rate.as_bps() / 1_000)
    }

    #[test]
    fn what_has_come_lately_is_told() {
        for (claim, spans, at, expected) in [
            ("nothing", &[][..], 5_000, None),
            ("too little", &[(10_000, 10_300)], 10_300, None),
            ("half a second", &[(10_000, 10_500)], 10_500, Some(800..=800)),
            ("steady", &[(10_000, 20_000)], 20_000, Some(795..=805)),
            (
                "begun a second ago after a pause",
                &[(10_000, 12_000), (16_000, 17_000)],
                17_000,
                Some(780..=800),
            ),
            ("ended a second ago", &[(10_000, 12_000)], 13_000, Some(300..=480)),
            ("ended long ago", &[(10_000, 12_000)], 15_000, Some(0..=0)),
        ] {
            let rate = kbps(spans, at);
            assert_eq!(rate.is_some(), expected.is_some(), "{claim}: {rate:?}");
            if let (Some(rate), Some(expected)) = (rate, expected) {
                assert!(expected.contains(&rate), "{claim}: {rate}");
            }
        }
    }

    #[test]
    fn a_key_frame_counts_for_little() {
        let mut meter = RateMeter::default();
        for picture in 0..90_u64 {
            let size = if picture == 80 { SIZE * 6 } else { SIZE };
            meter.add(Instant::from_millis(10_000 + picture * 33), size);
        }
        let rate = meter.rate(Instant::from_millis(12_970)).map(|rate| rate.as_bps() / 1_000);
        assert!(rate.is_some_and(|rate| (240..290).contains(&rate)), "{rate:?} for 242");
    }
}
