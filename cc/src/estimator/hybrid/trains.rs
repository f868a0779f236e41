//! Trains: packets that leave one after the other at the pacing rate, and what their delays tell of the capacity.
//!
//! In: results in the order sent. Out: the least capacity that the last trains prove. Limit: constant.
//!
//! A picture leaves as a train faster than the mean rate. If the path carries the train's rate its packets are all
//! delayed alike; if not, each is delayed more than the one before it, by train rate ÷ capacity − 1 of the time
//! between them (the utilization of Pudica, NSDI 2024). The slope is the least-squares one within trains, over the last
//! ones with weights that decay, and the scatter around it tells how far it can be trusted: on a path with jitter it
//! takes more trains to prove the same.

use core::time::Duration;

use proto::time::Instant;

use crate::packet::{PacketClass, PacketResult};

/// Packets farther apart than that belong to different trains, unless the pacing rate asks for it.
const GAP: Duration = Duration::from_millis(4);
/// What the trains before count once another has come.
const MEMORY: f64 = 0.88;
/// How many deviations of the slope a proof keeps clear of chance.
const SURE: f64 = 2.0;
/// Less weight of packets than that proves nothing.
const WEIGHT_MIN: f64 = 12.0;

/// The sums of one regression: x is the time of leaving and y the delay, in milliseconds from the train's first.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

/// The sums of many trains, each around its own mean.
#[derive(Debug, Clone, Copy, Default)]
struct Pooled {
    weight: f64,
    trains: f64,
    xx: f64,
    xy: f64,
    yy: f64,
    bits: f64,
    span_ms: f64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Trains {
    sums: Sums,
    first: Option<(Instant, Instant)>,
    last: Option<(u64, Instant)>,
    bits: f64,
    first_bits: f64,
    pooled: Pooled,
}

/// What trains prove, in bits a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Proof {
    /// How fast the trains left.
    pub(super) rate: f64,
    /// The capacity that they make likely.
    pub(super) likely: f64,
    /// The capacity that they prove at least.
    pub(super) least: f64,
    /// The capacity that they leave possible at most; infinite if they saw no sign of one.
    pub(super) most: f64,
}

impl Trains {
    /// Takes in a report; `gap` is how far apart the pacing rate puts packets at most.
    pub(super) fn handle_report(&mut self, results: &[PacketResult], gap: Duration) {
        for result in results {
            let Some(received) = result.received else { continue };
            if result.sent.class == PacketClass::Audio {
                continue; // it leaves when it is made
            }
            let goes_on = self.last.is_some_and(|(number, sent)| {
                result.sent.number > number && result.sent.sent.since(sent) <= gap.max(GAP)
            });
            if !goes_on {
                self.finish();
            }
            self.add(result, received);
        }
    }

    /// What is proven, if anything.
    pub(super) fn proof(&self) -> Option<Proof> {
        let Pooled { weight, trains, xx, xy, yy, bits, span_ms } = self.pooled;
        let free = weight - trains - 1.0;
        if weight < WEIGHT_MIN || free <= 0.0 || xx <= 0.0 || span_ms <= 0.0 {
            return None;
        }
        let slope = xy / xx;
        let scatter = ((yy - slope * xy) / free).max(0.0);
        let deviation = (scatter / xx).sqrt();
        let rate = bits / span_ms * 1_000.0;
        let capacity = |slope: f64| rate / (1.0 + slope.max(0.0));
        let lowest = slope - SURE * deviation;
        let most = if lowest > 0.0 { capacity(lowest) } else { f64::INFINITY };
        Some(Proof { rate, likely: capacity(slope), least: capacity(slope + SURE * deviation), most })
    }

    /// Forgets what was proven: the path has changed.
    pub(super) fn reset(&mut self) {
        self.pooled = Pooled::default();
        self.first = None;
        self.last = None;
        self.sums = Sums::default();
    }

    fn add(&mut self, result: &PacketResult, received: Instant) {
        let bits = result.sent.size.as_bits() as f64;
        let (sent0, received0) = *self.first.get_or_insert_with(|| {
            self.first_bits = bits;
            (result.sent.sent, received)
        });
        let x = result.sent.sent.since(sent0).as_secs_f64() * 1e3;
        let arrived = (received.as_nanos() as i64).wrapping_sub(received0.as_nanos() as i64);
        let y = arrived as f64 / 1e6 - x;
        let sums = &mut self.sums;
        sums.n += 1.0;
        sums.x += x;
        sums.y += y;
        sums.xx += x * x;
        sums.xy += x * y;
        sums.yy += y * y;
        self.bits += bits;
        self.last = Some((result.sent.number, result.sent.sent));
    }

    /// The train is over: it joins those before.
    pub(super) fn finish(&mut self) {
        let Sums { n, x, y, xx, xy, yy } = core::mem::take(&mut self.sums);
        let span = self.first.take().zip(self.last).map(|((first, _), (_, last))| last.since(first));
        let bits = core::mem::take(&mut self.bits) - self.first_bits;
        let Some(span) = span.filter(|span| n >= 3.0 && !span.is_zero()) else { return };
        let pooled = &mut self.pooled;
        pooled.weight = pooled.weight * MEMORY + n;
        pooled.trains = pooled.trains * MEMORY + 1.0;
        pooled.xx = pooled.xx * MEMORY + xx - x * x / n;
        pooled.xy = pooled.xy * MEMORY + xy - x * y / n;
        pooled.yy = pooled.yy * MEMORY + yy - y * y / n;
        pooled.bits = pooled.bits * MEMORY + bits;
        pooled.span_ms = pooled.span_ms * MEMORY + span.as_secs_f64() * 1e3;
    }
}
