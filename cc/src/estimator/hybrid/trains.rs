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

/// One train, and the sums of its regression: x is the time of leaving and y the delay, in milliseconds from the first's.
#[derive(Debug, Clone, Copy)]
struct Train {
    first_sent: Instant,
    first_received: Instant,
    last_sent: Instant,
    last_number: u64,
    /// Of all but the first.
    bits: u64,
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
    train: Option<Train>,
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
        let gap = u64::try_from(gap.max(GAP).as_nanos()).unwrap_or(u64::MAX);
        let mut train = self.train;
        for result in results {
            let Some(received) = result.received else { continue };
            if result.sent.class == PacketClass::Audio {
                continue; // it leaves when it is made
            }
            let goes_on = train.is_some_and(|train| {
                result.sent.number > train.last_number && nanos(train.last_sent, result.sent.sent) <= gap
            });
            if !goes_on {
                self.pool(train);
                train = None;
            }
            train = Some(Train::with(train, result, received));
        }
        self.train = train;
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
        *self = Self::default();
    }

    /// A train is over: it joins those before.
    fn pool(&mut self, train: Option<Train>) {
        let Some(Train { first_sent, last_sent, bits, n, x, y, xx, xy, yy, .. }) = train else { return };
        let span = last_sent.since(first_sent);
        if n < 3.0 || span.is_zero() {
            return;
        }
        let pooled = &mut self.pooled;
        pooled.weight = pooled.weight * MEMORY + n;
        pooled.trains = pooled.trains * MEMORY + 1.0;
        pooled.xx = pooled.xx * MEMORY + xx - x * x / n;
        pooled.xy = pooled.xy * MEMORY + xy - x * y / n;
        pooled.yy = pooled.yy * MEMORY + yy - y * y / n;
        pooled.bits = pooled.bits * MEMORY + bits as f64;
        pooled.span_ms = pooled.span_ms * MEMORY + span.as_secs_f64() * 1e3;
    }
}

impl Train {
    /// A train with one more packet, or of one.
    fn with(train: Option<Self>, result: &PacketResult, received: Instant) -> Self {
        let sent = result.sent;
        let Some(train) = train else {
            return Self {
                first_sent: sent.sent,
                first_received: received,
                last_sent: sent.sent,
                last_number: sent.number,
                bits: 0,
                n: 1.0,
                x: 0.0,
                y: 0.0,
                xx: 0.0,
                xy: 0.0,
                yy: 0.0,
            };
        };
        let x = nanos(train.first_sent, sent.sent).cast_signed() as f64 / 1e9 * 1e3;
        let arrived = received.as_nanos().wrapping_sub(train.first_received.as_nanos()).cast_signed();
        let y = arrived as f64 / 1e6 - x;
        Self {
            last_sent: sent.sent,
            last_number: sent.number,
            bits: train.bits.saturating_add(sent.size.as_bits()),
            n: train.n + 1.0,
            x: train.x + x,
            y: train.y + y,
            xx: train.xx + x * x,
            xy: train.xy + x * y,
            yy: train.yy + y * y,
            ..train
        }
    }
}

/// From one point in time to a later one.
fn nanos(from: Instant, to: Instant) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos())
}
