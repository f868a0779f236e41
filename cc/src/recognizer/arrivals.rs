//! Arrivals: stalls, and how what is delivered jumps while a queue stands.
//!
//! In: packets that arrived, in the order of their numbers. Out: counts, and the share of jumps. Limit: constant memory.
//!
//! While a queue stands what is delivered is what the path carries. On a line it is the same from one bin to the next
//! but for jitter; beside TCP it drifts; in a cell it jumps with each change of the radio and of the others' turns. Two
//! levels that alternate each few seconds (a rival that comes and goes) make for few jumps, though for a wide spread:
//! that is why jumps are counted, and not the deviation of references §4.5.

use super::window::Counts;
use crate::packet::PacketResult;

/// A bin: short against what changes in a cell, long against a picture's interval of 33 ms.
const BIN_NANOS: u64 = 100_000_000;
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
const STALL_MIN_NANOS: u64 = 40_000_000;
const STALL_MAX_NANOS: u64 = 400_000_000;
const STALL_EXCESS_NANOS: u64 = 30_000_000;
/// The 95th percentile of stalls' lengths follows by steps: up by 19 parts for a longer one, down by one for a shorter.
const QUANTILE: f64 = 0.95;
const QUANTILE_STEP: f64 = 0.1;
/// The base is the least delay of the last one to two of those.
const BASE_TIME_NANOS: u64 = 30_000_000_000;
/// The usual delay is a mean over about so many packets: half a second.
const LEVEL_WEIGHT: f64 = 1.0 / 256.0;

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    start: u64,
    /// Zero while there is none.
    ends: u64,
    packets: u32,
    bytes: u64,
    least: i64,
}

/// The least delay since some time, and that of the time before.
#[derive(Debug, Clone, Copy, Default)]
struct Base {
    ends: u64,
    least: i64,
    before: i64,
}

/// See the module's description. Times and delays are nanoseconds, for there are many packets; a delay is told against
/// the first packet's.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// What the first packet took by two clocks.
    zero: Option<i64>,
    base: Base,
    /// When the packet before was sent, and when the latest so far arrived.
    last: Option<(u64, u64)>,
    newest: i64,
    level: f64,
    bin: Bin,
    /// What the bin before delivered in bytes each [`BIN_NANOS`], if a queue stood in it.
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
        self.bin = Bin::default();
        self.busy = None;
    }

    /// Takes in packets that were sent one after the other and arrived.
    pub(super) fn handle_run(&mut self, counts: &mut Counts, run: &[PacketResult]) {
        let times = |result: &PacketResult| Some((result.sent.sent.as_nanos(), result.received?.as_nanos()));
        let Some(first) = run.first().and_then(times) else { return };
        let zero = *self.zero.get_or_insert_with(|| first.1.wrapping_sub(first.0).cast_signed());
        let ((mut last_sent, mut last_received), mut level) = (self.last.unwrap_or(first), self.level);
        for result in run {
            let Some((sent, received)) = times(result) else { continue };
            let delay = received.wrapping_sub(sent).cast_signed().wrapping_sub(zero);
            level += LEVEL_WEIGHT * (delay as f64 - level);
            self.newest = delay;
            self.note_base(received, delay);
            let gap = received.saturating_sub(last_received);
            if gap >= STALL_MIN_NANOS {
                self.note_gap(counts, gap, sent.saturating_sub(last_sent));
            }
            (last_sent, last_received) = (sent.max(last_sent), received.max(last_received));
            self.note_bin(counts, result.sent.size.as_bytes(), received, delay);
        }
        (self.last, self.level) = (Some((last_sent, last_received)), level);
    }

    /// The newest packet's delay beyond what is usual now, in milliseconds.
    pub(super) fn beyond_level_ms(&self) -> f64 {
        (self.newest as f64 - self.level) / 1e6
    }

    /// The newest packet's delay beyond the base, in milliseconds.
    pub(super) fn beyond_base_ms(&self) -> f64 {
        ms(self.newest) - self.base_ms()
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

    fn base_ms(&self) -> f64 {
        ms(self.base.least.min(self.base.before))
    }

    fn note_base(&mut self, received: u64, delay: i64) {
        if received < self.base.ends {
            self.base.least = self.base.least.min(delay);
            return;
        }
        let before = if self.base.ends == 0 { delay } else { self.base.least };
        self.base = Base { ends: received.saturating_add(BASE_TIME_NANOS), least: delay, before };
    }

    /// Nothing arrived for some time, and nothing was sent for a part of it.
    fn note_gap(&mut self, counts: &mut Counts, gap: u64, pause: u64) {
        if gap > STALL_MAX_NANOS || gap < pause.saturating_add(STALL_EXCESS_NANOS) {
            return;
        }
        counts.stalls += 1;
        self.note_stall(gap as f64 / 1e6);
        // A bin with a stall and the one that catches up are no jump of what the path carries.
        self.bin = Bin::default();
        self.busy = None;
    }

    fn note_stall(&mut self, length_ms: f64) {
        if self.stall_p95_ms == 0.0 {
            self.stall_p95_ms = length_ms;
        }
        let step = QUANTILE_STEP * self.stall_p95_ms;
        self.stall_p95_ms +=
            if length_ms > self.stall_p95_ms { QUANTILE * step } else { (QUANTILE - 1.0) * step };
    }

    fn note_bin(&mut self, counts: &mut Counts, bytes: u64, received: u64, delay: i64) {
        let bin = &mut self.bin;
        if received < bin.ends {
            bin.packets += 1;
            bin.bytes = bin.bytes.saturating_add(bytes);
            bin.least = bin.least.min(delay);
            return;
        }
        let ends = received.saturating_add(BIN_NANOS);
        let done = core::mem::replace(bin, Bin { start: received, ends, packets: 1, bytes, least: delay });
        if done.ends > 0 {
            self.close_bin(counts, &done, received.saturating_sub(done.start));
        }
    }

    /// A bin is over, which lasted for `time`.
    fn close_bin(&mut self, counts: &mut Counts, done: &Bin, time: u64) {
        let is_busy = done.packets >= BIN_PACKETS && ms(done.least) - self.base_ms() > BUSY_MS;
        counts.bins += 1;
        counts.busy += i64::from(is_busy);
        let delivered = is_busy.then(|| done.bytes as f64 * BIN_NANOS as f64 / time as f64);
        if let (Some(before), Some(after)) = (self.busy, delivered) {
            let is_jump = (after - before).abs() > JUMP * 0.5 * (after + before) + JUMP_BYTES;
            self.pairs = KEEP * self.pairs + 1.0;
            self.jumps = KEEP * self.jumps + f64::from(u8::from(is_jump));
        }
        self.busy = delivered;
    }
}

fn ms(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}
