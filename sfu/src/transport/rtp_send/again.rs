//! What is sent again: answers to NACKs (RFC 4588), their copies, and packets that serve as padding.
//!
//! In: numbers that the subscriber lost, the source's packets. Out: [`Pending`]s. Time: `now`, monotonic. Limit: that of the
//! limiter of retransmissions.

use cc::PacketClass;
use fec::repeat::Ask;
use proto::rtp::SeqNo;
use proto::time::Instant;

use super::RtpSendPipeline;
use super::pending::{Pending, What};
use super::repair::Answer;
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rewriter::Traced;

impl RtpSendPipeline {
    /// Traces a packet that the subscriber lost; the caller looks it up among the stream's packets.
    pub fn trace(&self, lost: SeqNo) -> Option<Traced> {
        self.rewriter.trace(lost)
    }

    /// The retransmission (RFC 4588 §4) of a traced packet, if it may be sent; then it counts as sent.
    pub fn retransmit(
        &mut self,
        now: Instant,
        traced: Traced,
        packet: Option<&SourcePacket>,
    ) -> Option<Pending> {
        let is_it = |(stream, seq, at): &(StreamId, u64, Instant)| {
            (*stream, *seq) == (traced.stream, traced.source_seq) && now.since(*at) < self.rtt
        };
        if self.carried.late.iter().any(is_it) {
            return None; // it was lost before it came here, and is on its way now
        }
        let pending = self.again(traced, packet?.clone())?;
        let seq = u64::from(traced.seq.0);
        self.carried.limiter.set_rtt(self.rtt);
        let ask = if self.carried.limiter.has_answered(now, seq) { Ask::Again } else { Ask::First };
        if !self.carried.limiter.admit(now, seq, pending.payload_len()) {
            return None;
        }
        match self.planned.take().filter(|(planned, _)| *planned == traced.seq) {
            Some((_, Answer { copies, spacing, .. }))
                if self.repair.as_ref().is_some_and(|repair| !repair.is_idle()) =>
            {
                self.carried.repeats.schedule(now, seq, copies, spacing);
            }
            Some(_) | None => self.carried.repeats.handle_answer(now, seq, ask),
        }
        Some(pending)
    }

    /// A packet that was sent as `seq` not long ago, to be sent again although nobody asked: as useful padding.
    pub fn pad_with(&self, seq: SeqNo, packet: &SourcePacket) -> Option<Pending> {
        let pending = self.again(self.rewriter.trace(seq)?, packet.clone())?;
        Some(Pending { class: PacketClass::Padding, ..pending })
    }

    /// A packet whose retransmission is due to go once more, by `repeat`.
    pub fn poll_repeat(&mut self, now: Instant) -> Option<SeqNo> {
        self.carried.made_mut()?.repeats.poll_repeat(now).map(|seq| SeqNo(seq as u16))
    }

    /// The second copy of a retransmission, if it may be sent. It gets a number of its own in the stream of
    /// retransmissions, or its receiver would take it for a replay (RFC 3711 §3.3.2).
    pub fn repeat(&mut self, traced: Traced, packet: Option<&SourcePacket>) -> Option<Pending> {
        let pending = self.again(traced, packet?.clone())?;
        self.carried.limiter.admit_copy(pending.payload_len()).then_some(pending)
    }

    pub(super) fn again(&self, traced: Traced, packet: SourcePacket) -> Option<Pending> {
        let payload_type = self.mapping(packet.payload_type)?.rtx?;
        Some(Pending { class: PacketClass::Repair, what: What::Again { traced, payload_type, packet } })
    }
}
