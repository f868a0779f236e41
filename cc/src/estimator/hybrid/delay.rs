//! Delay: how long the queue is, told from propagation, jitter and two clocks that do not agree.
//!
//! In: times of departure and arrival. Out: the queue. Limit: `BUCKETS` minima and `RECENT_MAX` samples.
//!
//! The base is the least one-way delay of the last 40 s. A sample is the least of a stretch of at least `SAMPLE_PACKETS`
//! packets: a queue delays all of them, jitter hardly ever does. What jitter still leaves of it, the floor, is the
//! median of the samples of an empty queue, no more than the jitter between samples explains. It is remembered as a delay
//! and not as a distance from the base, which jumps when an old minimum is forgotten.
//! Two clocks drift apart by up to 250 parts in a million: the base's minima are tilted by the median of their
//! differences, where those agree.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;

use crate::packet::PacketResult;

const BUCKET: Duration = Duration::from_secs(5);
const BUCKETS: usize = 8;
/// Minima that must agree on a drift, and how much of it there can be between two: 250 parts in a million and some noise.
const TILT_BUCKETS: usize = 5;
const TILT_MAX_MS: f64 = 1.5;
/// Less packets, or less time between them or since, wait for the next report.
const SAMPLE_PACKETS: u32 = 4;
const SAMPLE_TIME: Duration = Duration::from_millis(20);
/// Samples of an empty queue that are kept.
const EMPTY_MAX: usize = 120;
const EMPTY_FEW: usize = 20;
/// How far below the floor the level is a sign of something new.
const RELIEF_JITTERS: f64 = 1.5;
/// No queue grows by so much from one packet to the next, in nanoseconds.
const JUMP: i64 = 2_000_000_000;
/// Samples before which jitter is not known.
const SAMPLES_FEW: u32 = 6;
/// The floor is looked for anew each so many samples: it moves slowly.
const FLOOR_EVERY: u32 = 8;
/// The level is a mean over so many seconds for each millisecond of jitter, within bounds.
const LEVEL_TIME_JITTERS: f64 = 0.03;
const LEVEL_TIME_MIN: f64 = 0.1;
const LEVEL_TIME_MAX: f64 = 0.8;
/// No more than that is ever taken for jitter, in milliseconds.
const FLOOR_MAX_MS: f64 = 80.0;
const FLOOR_JITTERS: f64 = 14.0;
/// Jitter that has ceased is remembered for so many seconds, as the base is that it made.
const WIDEST_TIME: f64 = 40.0;
/// Where packets keep their order jitter grows with their rate: samples of less than this share of the rate say little.
const LIKE: f64 = 0.6;
/// A difference between samples greater than that is no jitter but a stall, in milliseconds.
const JITTER_STEP_MAX_MS: f64 = 30.0;
const JITTER_WEIGHT: f64 = 0.03;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    start: Instant,
    least_ms: f64,
}

/// See the module's description; delays are in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Delay {
    /// What the first packet took by two clocks, in nanoseconds: others are told against it.
    zero: Option<i64>,
    buckets: VecDeque<Bucket>,
    /// The least of all but the newest, as it would be by now: it changes with the buckets alone.
    older_ms: Option<f64>,
    last: Option<Last>,
    jitter_ms: f64,
    level_ms: f64,
    sampled_at: Option<Instant>,
    empty: VecDeque<Empty>,
    widest_ms: f64,
    emptied_at: Option<Instant>,
    sorted: Vec<f64>,
    since_floor: u32,
    /// What packets took through an empty queue, by two clocks, at a time.
    empty_ms: Option<(Instant, f64)>,
    floor_ms: f64,
    pending: Option<Pending>,
    samples: u32,
    raw_ms: f64,
    newest_ms: f64,
    tilt_ms: f64,
    gap: Duration,
    is_frozen: bool,
}

/// A sample of an empty queue.
#[derive(Debug, Clone, Copy)]
struct Empty {
    at: Instant,
    /// How much was sent then.
    rate: f64,
    delay_ms: f64,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    since: Instant,
    first_sent: Instant,
    packets: u32,
    least_ms: f64,
}

/// The newest packet's delay, and when it arrived, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Last {
    delay: i64,
    received: u64,
}

/// What the packets of a report show that arrived; delays are in nanoseconds, for there are many packets.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    first_sent: Instant,
    newest_sent: Instant,
    packets: u32,
    least: i64,
    newest: i64,
}

impl Delay {
    /// Takes in a report; whether it made a new sample.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        results: &[PacketResult],
        empty: Option<f64>,
    ) -> bool {
        let Some(arrived) = self.gather(results) else { return false };
        self.note(now, &arrived);
        let newest = arrived.newest_sent;
        self.newest_ms = (ms(arrived.newest) - self.base_ms() - self.floor_ms).max(0.0);
        let is_enough = |pending: &Pending| {
            pending.packets >= SAMPLE_PACKETS
                && (newest.since(pending.first_sent) >= SAMPLE_TIME
                    || now.since(pending.since) >= SAMPLE_TIME)
        };
        let Some(pending) = self.pending.take_if(|pending| is_enough(pending)) else { return false };
        let raw_ms = (pending.least_ms - self.base_ms()).max(0.0);
        let step = (raw_ms - self.raw_ms).abs().min(JITTER_STEP_MAX_MS);
        self.samples = self.samples.saturating_add(1);
        let weight = JITTER_WEIGHT.max(1.0 / f64::from(self.samples));
        self.jitter_ms += weight * (step - self.jitter_ms);
        self.raw_ms = raw_ms;
        // The more jitter, the longer it takes to see through it.
        let time = (LEVEL_TIME_JITTERS * self.jitter_ms).clamp(LEVEL_TIME_MIN, LEVEL_TIME_MAX);
        let passed = self.sampled_at.map_or(0.05, |at| now.since(at).as_secs_f64());
        self.sampled_at = Some(now);
        self.level_ms += (passed / time).min(1.0) * (raw_ms - self.level_ms);
        self.widest_ms -= self.widest_ms * (passed / WIDEST_TIME).min(1.0);
        self.widest_ms = self.widest_ms.max(self.jitter_ms);
        if let Some(rate) = empty {
            self.emptied_at = Some(now);
            self.empty.push_back(Empty { at: now, rate, delay_ms: pending.least_ms });
            if self.empty.len() > EMPTY_MAX {
                self.empty.pop_front();
            }
            self.since_floor += 1;
            if self.since_floor >= FLOOR_EVERY || self.empty.len() < EMPTY_FEW {
                self.find_floor(now);
            }
        }
        self.settle_floor(now);
        true
    }

    /// The queue that the latest sample shows.
    pub(super) fn queue_ms(&self) -> f64 {
        (self.raw_ms - self.floor_ms).max(0.0)
    }

    /// The queue as it stands through jitter.
    pub(super) fn standing_ms(&self) -> f64 {
        (self.level_ms - self.floor_ms).max(0.0)
    }

    /// Whether delays are lower than those of an empty queue have been: whoever shared it has left, or the path grew.
    pub(super) fn is_relieved(&self) -> bool {
        self.is_floor_known() && self.level_ms < self.floor_ms - RELIEF_JITTERS * self.jitter_ms
    }

    /// The newest packet's delay beyond base and floor.
    pub(super) fn newest_ms(&self) -> f64 {
        self.newest_ms
    }

    /// The longest time without an arrival in the latest report.
    pub(super) fn gap(&self) -> Duration {
        self.gap
    }

    /// How much samples differ from one to the next on the average.
    pub(super) fn jitter_ms(&self) -> f64 {
        self.jitter_ms
    }

    /// When last a sample of an empty queue was taken.
    pub(super) fn emptied_at(&self) -> Option<Instant> {
        self.emptied_at
    }

    /// Whether there are enough samples to tell jitter.
    pub(super) fn has_settled(&self) -> bool {
        self.samples >= SAMPLES_FEW
    }

    /// Whether an empty queue was seen often enough.
    pub(super) fn is_floor_known(&self) -> bool {
        self.empty.len() >= EMPTY_FEW
    }

    /// What jitter adds to an empty queue's delay.
    pub(super) fn floor_ms(&self) -> f64 {
        self.floor_ms
    }

    /// While frozen, the base is not forgotten: the queue is others' and never empties.
    pub(super) fn set_frozen(&mut self, is_frozen: bool) {
        self.is_frozen = is_frozen;
    }

    /// What stands now is no queue: it is the path's own delay from now on.
    pub(super) fn rebase(&mut self, now: Instant) {
        let least_ms = self.base_ms() + self.raw_ms.min(self.level_ms);
        self.buckets.clear();
        self.buckets.push_back(Bucket { start: now, least_ms });
        self.older_ms = None;
        self.tilt_ms = 0.0;
        self.level_ms = 0.0;
        self.raw_ms = 0.0;
        self.empty.clear();
        self.empty_ms = None;
        self.floor_ms = 0.0;
    }

    /// The path is another one: what is known of the old one is forgotten.
    pub(super) fn reset(&mut self) {
        *self = Self { jitter_ms: self.jitter_ms, ..Self::default() };
    }

    /// What the packets that arrived show together.
    fn gather(&mut self, results: &[PacketResult]) -> Option<Arrived> {
        self.gap = Duration::ZERO;
        let (first, received) = results.iter().find_map(|result| Some((&result.sent, result.received?)))?;
        let mut zero = *self.zero.get_or_insert(raw(first.sent, received));
        let newest =
            Last { delay: raw(first.sent, received).wrapping_sub(zero), received: received.as_nanos() };
        let mut last = self.last.unwrap_or(newest);
        let (mut first_sent, mut newest_sent) = (first.sent, first.sent);
        let (mut packets, mut least, mut gap) = (0, i64::MAX, 0);
        for result in results {
            let Some(received) = result.received else { continue };
            newest_sent = result.sent.sent;
            let mut delay = raw(newest_sent, received).wrapping_sub(zero);
            let received = received.as_nanos();
            if delay.saturating_sub(last.delay) > JUMP {
                self.reset(); // the receiver's clock was set, or the path stood still so long that it may be another
                zero = zero.wrapping_add(delay);
                (delay, last.received, first_sent) = (0, received, newest_sent);
                (packets, least, gap) = (0, i64::MAX, 0);
            }
            gap = gap.max(received.saturating_sub(last.received));
            last = Last { delay, received };
            packets += 1;
            least = least.min(delay);
        }
        (self.zero, self.last, self.gap) = (Some(zero), Some(last), Duration::from_nanos(gap));
        Some(Arrived { first_sent, newest_sent, packets, least, newest: last.delay })
    }

    fn note(&mut self, now: Instant, arrived: &Arrived) {
        let least_ms = ms(arrived.least);
        match self.buckets.back_mut() {
            Some(bucket) if now.since(bucket.start) < BUCKET => {
                bucket.least_ms = bucket.least_ms.min(least_ms);
            }
            Some(_) | None => {
                self.buckets.push_back(Bucket { start: now, least_ms });
                if self.buckets.len() > BUCKETS {
                    self.forget();
                }
                self.find_tilt();
                self.find_older();
            }
        }
        let pending = self.pending.get_or_insert(Pending {
            since: now,
            first_sent: arrived.first_sent,
            packets: 0,
            least_ms,
        });
        pending.packets += arrived.packets;
        pending.least_ms = pending.least_ms.min(least_ms);
    }

    /// Forgets the oldest minimum, unless it is kept in the next.
    fn forget(&mut self) {
        let oldest = self.buckets.pop_front();
        if let (true, Some(oldest), Some(next)) = (self.is_frozen, oldest, self.buckets.front_mut()) {
            next.least_ms = next.least_ms.min(oldest.least_ms);
        }
    }

    /// The least delay that is remembered, against the first packet's, as it would be by now.
    pub(super) fn base_ms(&self) -> f64 {
        let newest = self.buckets.back().map_or(f64::INFINITY, |bucket| bucket.least_ms);
        self.older_ms.map_or(newest, |older| older.min(newest))
    }

    fn find_older(&mut self) {
        let ages = (1..self.buckets.len()).rev();
        let now = |(bucket, age): (&Bucket, usize)| bucket.least_ms + self.tilt_ms * age as f64;
        self.older_ms = self.buckets.iter().zip(ages).map(now).reduce(f64::min);
    }

    /// How much the base moves from one minimum to the next because the clocks drift: the median of the differences, if
    /// all agree which way. A queue of our own does not grow evenly for so long.
    fn find_tilt(&mut self) {
        self.tilt_ms = 0.0;
        let whole = self.buckets.len().saturating_sub(1); // the newest goes on
        if whole < TILT_BUCKETS {
            return;
        }
        self.sorted.clear();
        let pairs = self.buckets.iter().zip(self.buckets.iter().skip(1)).take(whole - 1);
        self.sorted.extend(pairs.map(|(older, newer)| newer.least_ms - older.least_ms));
        self.sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (self.sorted[0], self.sorted[self.sorted.len() - 1]);
        if least > 0.0 && most <= TILT_MAX_MS || most < 0.0 && least >= -TILT_MAX_MS {
            self.tilt_ms = self.sorted[self.sorted.len() / 2];
        }
    }

    fn find_floor(&mut self, now: Instant) {
        self.since_floor = 0;
        self.sorted.clear();
        let rate = self.empty.back().map_or(0.0, |newest| newest.rate);
        let tilt_ms = self.tilt_ms;
        let like = self.empty.iter().filter(|other| other.rate > LIKE * rate);
        self.sorted.extend(like.map(|other| other.delay_ms + drift_ms(tilt_ms, now.since(other.at))));
        if self.sorted.is_empty() {
            return; // hostile reports alone say that nothing was sent
        }
        let middle = self.sorted.len() / 2;
        let (_, median, _) = self.sorted.select_nth_unstable_by(middle, f64::total_cmp);
        self.empty_ms = Some((now, *median));
    }

    /// The floor is that of an empty queue's delay over the base, wherever the base is by now.
    fn settle_floor(&mut self, now: Instant) {
        let Some((at, empty_ms)) = self.empty_ms else { return };
        let empty_ms = empty_ms + drift_ms(self.tilt_ms, now.since(at));
        let above = (empty_ms - self.base_ms()).clamp(0.0, FLOOR_MAX_MS);
        let trust = ((self.widest_ms - 0.7) / 1.0).clamp(0.0, 1.0);
        self.floor_ms = above.min(FLOOR_JITTERS * self.widest_ms) * trust;
    }
}

/// How far two clocks drift apart in a time, if they do so by `tilt_ms` from bucket to bucket.
fn drift_ms(tilt_ms: f64, time: Duration) -> f64 {
    tilt_ms * time.as_secs_f64() / BUCKET.as_secs_f64()
}

/// What a packet took by two clocks, in nanoseconds.
fn raw(sent: Instant, received: Instant) -> i64 {
    received.as_nanos().wrapping_sub(sent.as_nanos()).cast_signed()
}

/// Nanoseconds in milliseconds.
fn ms(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}
