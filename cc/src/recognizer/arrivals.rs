//! Arrivals: stalls, and how what is delivered jumps while a queue stands.
//!
//! In: packets that arrived, in the order of their numbers. Out: counts, and the share of jumps. Limit: constant memory.
//!
//! While a queue stands what is delivered is what the path carries. On a line it is the same from one bin to the next
//! but for jitter; beside TCP it drifts; in a cell it jumps with each change of the radio and of the others' turns. Two
//! levels that alternate each few seconds (a rival that comes and goes) make for few jumps, though for a wide spread:
//! that is why jumps are counted, and not the deviation of references §4.5.

use core::time::Duration;

use proto::time::Instant;

use super::window::Counts;
use crate::packet::PacketResult;

/// A bin: short against what changes in a cell, long against a picture's interval of 33 ms.
const BIN: Duration = Duration::from_millis(100);
/// Bins with fewer packets say nothing: one more or less would be a jump.
const BIN_PACKETS: u32 = 4;
/// A queue stands in a bin if even its least delay exceeds the base by so many milliseconds: jitter of 5 ms stays below.
const BUSY_MS: f64 = 20.0;
/// Two bins in a row that differ by this share of their mean, and by a packet of so many bytes, are a jump.
const JUMP: f64 = 0.18;
const JUMP_BYTES: f64 = 1_250.0;
/// How much of older pairs of bins is kept with each new one: about the last 50 count, 5 s of a queue, which a sender
/// that keeps queues short gathers in half a minute.
const KEEP: f64 = 0.98;
/// So many pairs tell.
const TELLS: f64 = 6.0;
/// A stall: nothing arrives for so long, and for so much longer than nothing was sent (references §4.5: 40 to 200 ms;
/// what is longer is an outage). Jitter of 5 ms does not make 30 ms between neighbors.
const STALL_MIN: Duration = Duration::from_millis(40);
const STALL_MAX: Duration = Duration::from_millis(400);
const STALL_EXCESS: Duration = Duration::from_millis(30);
/// The 95th percentile of stalls' lengths follows by steps: up by 19 parts for a longer one, down by one for a shorter.
const QUANTILE: f64 = 0.95;
const QUANTILE_STEP: f64 = 0.1;
/// The base is the least delay of the last one to two of those.
const BASE_TIME: Duration = Duration::from_secs(30);
/// The usual delay is a mean over about so many packets: half a second.
const LEVEL_WEIGHT: f64 = 1.0 / 256.0;

#[derive(Debug, Clone, Copy)]
struct Bin {
    start: Instant,
    packets: u32,
    bytes: f64,
    least_ms: f64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// What the first packet took by two clocks, in nanoseconds.
    zero: Option<i64>,
    /// Since when, the least delay since then, and that of the time before, in milliseconds.
    base: Option<(Instant, f64, f64)>,
    /// When the packet before was sent, and when the latest so far arrived.
    last: Option<(Instant, Instant)>,
    last_ms: f64,
    level_ms: f64,
    bin: Option<Bin>,
    /// What the bin before delivered in bytes each [`BIN`], if a queue stood in it.
    busy: Option<f64>,
    /// Pairs of bins with a queue, and those that jump.
    pairs: f64,
    jumps: f64,
    stall_p95_ms: f64,
}

impl Arrivals {
    /// Packets are missing here that no report covers: what comes next does not follow what came before.
    pub(super) fn handle_hole(&mut self) {
        self.last = None;
        self.bin = None;
        self.busy = None;
    }

    /// Takes in a packet that arrived.
    pub(super) fn handle_arrival(&mut self, counts: &mut Counts, result: &PacketResult, received: Instant) {
        let sent = result.sent.sent;
        let delay_ms = self.delay_ms(sent, received);
        self.note_base(received, delay_ms);
        self.level_ms += LEVEL_WEIGHT * (delay_ms - self.level_ms);
        self.last_ms = delay_ms;
        let (last_sent, last_received) = *self.last.get_or_insert((sent, received));
        let (gap, pause) = (received.since(last_received), sent.since(last_sent));
        if gap >= STALL_MIN && gap <= STALL_MAX && gap >= pause + STALL_EXCESS {
            counts.stalls += 1.0;
            self.note_stall(gap.as_secs_f64() * 1e3);
            // A bin with a stall and the one that catches up are no jump of what the path carries.
            self.bin = None;
            self.busy = None;
        }
        self.last = Some((sent.max(last_sent), received.max(last_received)));
        self.note_bin(counts, result.sent.size.as_bytes() as f64, received, delay_ms);
    }

    /// The newest packet's delay beyond what is usual now, in milliseconds.
    pub(super) fn beyond_level_ms(&self) -> f64 {
        self.last_ms - self.level_ms
    }

    /// The newest packet's delay beyond the base, in milliseconds.
    pub(super) fn beyond_base_ms(&self) -> f64 {
        self.last_ms - self.base_ms()
    }

    /// How many pairs of bins with a queue [`Self::jumpiness`] is of, at most 50.
    pub(super) fn pairs(&self) -> f64 {
        self.pairs
    }

    /// Whether jumpiness is of enough pairs to be told.
    pub(super) fn tells(&self) -> bool {
        self.pairs >= TELLS
    }

    /// The share of bins with a queue that deliver much more or much less than the one before.
    pub(super) fn jumpiness(&self) -> f64 {
        if self.pairs > 0.0 { self.jumps / self.pairs } else { 0.0 }
    }

    /// What 95 % of stalls do not exceed, about, in milliseconds; zero before the first.
    pub(super) fn stall_p95_ms(&self) -> f64 {
        self.stall_p95_ms
    }

    fn delay_ms(&mut self, sent: Instant, received: Instant) -> f64 {
        let raw = received.as_nanos().wrapping_sub(sent.as_nanos()).cast_signed();
        let zero = *self.zero.get_or_insert(raw);
        raw.wrapping_sub(zero) as f64 / 1e6
    }

    fn base_ms(&self) -> f64 {
        self.base.map_or(0.0, |(_, now, before)| now.min(before))
    }

    fn note_base(&mut self, received: Instant, delay_ms: f64) {
        let (since, least, _) = self.base.get_or_insert((received, delay_ms, delay_ms));
        if received.since(*since) >= BASE_TIME {
            self.base = Some((received, delay_ms, *least));
        } else {
            *least = least.min(delay_ms);
        }
    }

    fn note_stall(&mut self, length_ms: f64) {
        if self.stall_p95_ms == 0.0 {
            self.stall_p95_ms = length_ms;
        }
        let step = QUANTILE_STEP * self.stall_p95_ms;
        self.stall_p95_ms +=
            if length_ms > self.stall_p95_ms { QUANTILE * step } else { (QUANTILE - 1.0) * step };
    }

    fn note_bin(&mut self, counts: &mut Counts, bytes: f64, received: Instant, delay_ms: f64) {
        let new = Bin { start: received, packets: 1, bytes, least_ms: delay_ms };
        let Some(bin) = &mut self.bin else {
            self.bin = Some(new);
            return;
        };
        let time = received.since(bin.start);
        if time < BIN {
            bin.packets += 1;
            bin.bytes += bytes;
            bin.least_ms = bin.least_ms.min(delay_ms);
            return;
        }
        let done = *bin;
        *bin = new;
        let is_busy = done.packets >= BIN_PACKETS && done.least_ms - self.base_ms() > BUSY_MS;
        counts.bins += 1.0;
        counts.busy += f64::from(u8::from(is_busy));
        let delivered = is_busy.then(|| done.bytes * BIN.as_secs_f64() / time.as_secs_f64());
        if let (Some(before), Some(after)) = (self.busy, delivered) {
            let is_jump = (after - before).abs() > JUMP * 0.5 * (after + before) + JUMP_BYTES;
            self.pairs = KEEP * self.pairs + 1.0;
            self.jumps = KEEP * self.jumps + f64::from(u8::from(is_jump));
        }
        self.busy = delivered;
    }
}
