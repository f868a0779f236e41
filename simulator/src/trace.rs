//! A hash over everything that happens in a run: two runs with equal hashes did the same.

use proto::time::Instant;

use crate::node::Fact;
use crate::world::{Event, Observer};

/// FNV-1a's parameters for 64 bits, fed with whole words.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct TraceHash(u64);

impl TraceHash {
    /// The hash of nothing.
    pub(crate) fn new() -> Self {
        Self(BASIS)
    }

    /// The hash so far.
    pub(crate) fn value(&self) -> u64 {
        self.0
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(PRIME);
        self.0 ^= self.0 >> 29; // whole words reach the high bits only by this
    }

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Target { flow, rate, state } => {
                self.words([11, u64::from(flow.0), rate.as_bps()]);
                self.text(state);
            }
            Fact::Phase { flow, from, to, reason } => {
                self.words([19, u64::from(flow.0)]);
                for text in [from, to, reason] {
                    self.text(text);
                }
            }
            Fact::PathClass { flow, class } => {
                self.words([20, u64::from(flow.0)]);
                self.text(class.name());
            }
            Fact::FrameSent { flow, frame, size, .. } => {
                self.words([12, u64::from(flow.0), frame ^ (size.as_bytes() << 32)]);
            }
            Fact::FrameComplete { flow, frame, delay, repaired } => {
                self.words([13 + u64::from(*repaired) * 16, u64::from(flow.0)]);
                self.words([*frame, delay.as_nanos() as u64]);
            }
            Fact::FrameLost { flow, frame } => self.words([14, u64::from(flow.0), *frame]),
            Fact::FrameShown { flow, frame, delay } => {
                self.words([15, u64::from(flow.0), frame ^ ((delay.as_nanos() as u64) << 20)]);
            }
            Fact::Froze { flow, length } => self.words([16, u64::from(flow.0), length.as_nanos() as u64]),
            Fact::LayerSwitched { flow, from, to } => {
                self.words([17, u64::from(flow.0), u64::from(*from) << 32 | u64::from(*to)]);
            }
            Fact::Violated { flow, detail, .. } => self.words([18, u64::from(flow.0), detail.len() as u64]),
            Fact::Computed { .. } => {} // how long it took differs from run to run
        }
    }

    fn text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.word(u64::from(byte)));
    }

    fn words<const N: usize>(&mut self, words: [u64; N]) {
        for word in words {
            self.word(word);
        }
    }
}

impl Observer for TraceHash {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Sent(packet) => {
                self.words([now.as_nanos(), 1, packet.size.as_bytes() << 32 | u64::from(packet.flow.0)]);
            }
            Event::Dropped { link, packet, cause } => {
                self.words([
                    now.as_nanos(),
                    2 + ((*cause as u64) << 8),
                    packet.number ^ ((link.0 as u64) << 48),
                ]);
            }
            Event::Passed { link, packet, queued } => {
                self.words([queued.as_nanos() as u64, 3, packet.number ^ ((link.0 as u64) << 48)]);
            }
            Event::Delivered(packet) => self.words([now.as_nanos(), 4, packet.number]),
            Event::Fact { fact, .. } => self.fact(fact),
            Event::Replanned { link, .. } => self.words([now.as_nanos(), 5, link.0 as u64]),
            Event::Spinning(_) | Event::WokenLate(_) | Event::Flooding(_) => self.words([now.as_nanos(), 6]),
            Event::Unroutable(packet) => self.words([now.as_nanos(), 7, packet.number]),
        }
    }
}
