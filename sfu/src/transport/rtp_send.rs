//! `RtpSendPipeline`: one slot of a subscriber, from a publisher's packet to the plaintext RTP packet that leaves.
//!
//! In: packets of the slot's track, NACKs. Out: RTP packets in a buffer of the caller's. Order on the way: selector,
//! rewriter, header; a retransmission is traced back to its source packet, so nothing is stored per subscriber.

use core::time::Duration;

use fec::retransmit::RetransmitLimiter;
use proto::codec::Codec;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, PayloadType, RtpHeader, SeqNo, Ssrc, rtx};
use proto::sdp::SectionCodec;
use proto::seed::Chance;
use proto::time::{Instant, NtpTime};

use super::packet::{SourcePacket, StreamId};
use super::rewriter::{Rewriter, Traced};
use super::selector::{Admission, Selector};

/// The round trip assumed before the subscriber's first report.
const RTT_DEFAULT: Duration = Duration::from_millis(100);

/// The longest playout delay that is asked for, in units of 10 ms: libwebrtc's own limit of 10 s.
const PLAYOUT_MAX: u32 = 1_000;

/// How one of the publisher's payload types is called here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PayloadMapping {
    source: PayloadType,
    out: PayloadType,
    rtx: Option<PayloadType>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is in the buffer.
    Yes,
    /// It is in the buffer and the slot's first from another stream.
    Switched,
    /// The subscriber does not get it.
    No,
    /// The subscriber did not negotiate its payload type.
    Unmapped,
}

/// Numbers for reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Packets sent, without retransmissions.
    pub packets: u32,
    /// Payload bytes sent, without retransmissions.
    pub octets: u32,
}

/// One slot of a subscriber; see the module's description.
#[derive(Debug)]
pub struct RtpSendPipeline {
    ssrc: Ssrc,
    rtx_ssrc: Ssrc,
    rtx_next: SeqNo,
    negotiated: Vec<SectionCodec>,
    extensions: ExtensionMap,
    payload_types: Vec<PayloadMapping>,
    selector: Selector,
    rewriter: Rewriter,
    limiter: RetransmitLimiter,
    rtt: Duration,
    key_frame_at: Option<Instant>,
    has_asked_playout: bool,
    stats: SendStats,
}

impl RtpSendPipeline {
    /// A slot with `negotiated` payload types and header extensions.
    pub fn new(negotiated: Vec<SectionCodec>, extensions: ExtensionMap, chance: &mut Chance) -> Self {
        Self {
            ssrc: Ssrc(chance.number()),
            rtx_ssrc: Ssrc(chance.number()),
            rtx_next: SeqNo(chance.number() as u16 & 0x7fff),
            negotiated,
            extensions,
            payload_types: Vec::new(),
            selector: Selector::default(),
            rewriter: Rewriter::new(chance),
            limiter: RetransmitLimiter::default(),
            rtt: RTT_DEFAULT,
            key_frame_at: None,
            has_asked_playout: false,
            stats: SendStats::default(),
        }
    }

    /// Carries another track from now on, whose publisher negotiated `source`; `None` empties the slot.
    pub fn bind(&mut self, source: Option<&[SectionCodec]>) {
        self.selector.reset();
        self.map(source.unwrap_or_default());
    }

    /// Maps the publisher's payload types to the subscriber's; either may have offered others since.
    pub fn map(&mut self, source: &[SectionCodec]) {
        self.payload_types.clear();
        for source in source {
            let Some(own) = self.negotiated.iter().find(|own| own.matches(source)) else { continue };
            let mapping = PayloadMapping { source: source.payload_type, out: own.payload_type, rtx: own.rtx };
            self.payload_types.push(mapping);
        }
    }

    /// Waits for a key frame again: the subscriber has missed too much.
    pub fn restart(&mut self) {
        self.selector.restart();
    }

    /// Takes what a new offer says about the slot; its payload types must be mapped anew.
    pub fn renegotiate(&mut self, negotiated: Vec<SectionCodec>, extensions: ExtensionMap) {
        self.negotiated = negotiated;
        self.extensions = extensions;
    }

    /// Wants `stream` from its next key frame on; `None` stops at once.
    pub fn set_target(&mut self, stream: Option<StreamId>) {
        self.selector.set_target(stream);
    }

    /// Writes the subscriber's copy of a packet of `stream` to `out`, which must be empty.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        wall: NtpTime,
        stream: StreamId,
        packet: &SourcePacket,
        out: &mut Vec<u8>,
    ) -> Sent {
        let Some(mapping) = self.mapping(packet.payload_type) else {
            return Sent::Unmapped;
        };
        let joinable = packet.key_frame || matches!(packet.codec, Codec::Opus | Codec::Red);
        let sent = match self.selector.admit(stream, joinable) {
            Admission::Drop => return Sent::No,
            Admission::Forward => Sent::Yes,
            Admission::Switch => {
                self.rewriter.switch(wall, stream, packet);
                Sent::Switched
            }
        };
        if packet.payload().is_empty() {
            self.rewriter.skip(packet.seq);
            return Sent::No;
        }
        let Some(place) = self.rewriter.place(wall, packet) else { return Sent::No };
        self.has_asked_playout |= packet.repair_time > Duration::ZERO;
        let header = RtpHeader {
            payload_type: mapping.out,
            marker: packet.marker,
            seq: place.seq,
            timestamp: place.timestamp,
            ssrc: self.ssrc,
        };
        self.write(&header, packet, out);
        self.rewriter.rewrite(place, packet, out);
        if packet.key_frame {
            self.key_frame_at = Some(now);
        }
        self.stats.packets = self.stats.packets.wrapping_add(1);
        self.stats.octets = self.stats.octets.wrapping_add(packet.payload().len() as u32);
        self.limiter.note_media(now, out.len());
        sent
    }

    /// Traces a packet that the subscriber lost; the caller looks it up among the stream's packets.
    pub fn handle_nack(&self, lost: SeqNo) -> Option<Traced> {
        self.rewriter.trace(lost)
    }

    /// Writes the retransmission (RFC 4588 §4) of a traced packet to `out`, which must be empty; whether it may be sent.
    pub fn retransmit(
        &mut self,
        now: Instant,
        traced: &Traced,
        packet: Option<&SourcePacket>,
        out: &mut Vec<u8>,
    ) -> bool {
        packet.is_some_and(|packet| self.write_retransmission(now, traced, packet, out))
    }

    /// Notes the round trip to the subscriber: no packet is sent again twice within it.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
        self.limiter.set_rtt(rtt);
    }

    /// The outgoing stream's RTP timestamp at wall-clock time `wall`, for its sender report.
    pub fn timestamp_at(&self, wall: NtpTime) -> Option<u32> {
        self.rewriter.timestamp_at(wall)
    }

    /// The outgoing stream.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The stream of retransmissions.
    pub fn rtx_ssrc(&self) -> Ssrc {
        self.rtx_ssrc
    }

    /// The stream of which a subscriber that asks for a key frame now needs one; `None` if it asked before the one on its
    /// way could have reached it.
    pub fn stream_to_refresh(&self, now: Instant) -> Option<StreamId> {
        let crossed = self.key_frame_at.is_some_and(|at| now.since(at) < self.rtt);
        self.selector.current().filter(|_| !crossed)
    }

    /// The stream that the subscriber sees now.
    pub fn current(&self) -> Option<StreamId> {
        self.selector.current()
    }

    /// The stream that a key frame is needed of.
    pub fn awaited(&self) -> Option<StreamId> {
        self.selector.awaited()
    }

    /// Numbers for reports.
    pub fn stats(&self) -> SendStats {
        self.stats
    }

    fn mapping(&self, source: PayloadType) -> Option<PayloadMapping> {
        self.payload_types.iter().find(|mapping| mapping.source == source).copied()
    }

    fn write_retransmission(
        &mut self,
        now: Instant,
        traced: &Traced,
        packet: &SourcePacket,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(payload_type) = self.mapping(packet.payload_type).and_then(|mapping| mapping.rtx) else {
            return false;
        };
        if !self.limiter.admit(now, u64::from(traced.seq.0), packet.payload().len()) {
            return false;
        }
        let header = RtpHeader {
            payload_type,
            marker: packet.marker,
            seq: self.rtx_next,
            timestamp: traced.timestamp(packet),
            ssrc: self.rtx_ssrc,
        };
        self.rtx_next = self.rtx_next.plus(1);
        self.write(&header, packet, out);
        rtx::write(traced.seq, &[], out);
        traced.rewrite(packet, out);
        true
    }

    /// The header with those of the publisher's header extensions that the subscriber negotiated.
    fn write(&self, header: &RtpHeader, packet: &SourcePacket, out: &mut Vec<u8>) {
        let mut extensions: [(ExtensionId, &[u8]); 3] = [(ExtensionId(0), &[]); 3];
        let mut count = 0;
        let playout = self.playout(packet);
        for (extension, value) in [
            (Extension::AudioLevel, packet.audio_level.as_ref().map(core::slice::from_ref)),
            (Extension::VideoOrientation, packet.orientation.as_ref().map(core::slice::from_ref)),
            (Extension::PlayoutDelay, playout.as_ref().map(<[u8; 3]>::as_slice)),
        ] {
            if let (Some(id), Some(value)) = (self.extensions.id(extension), value) {
                extensions[count] = (id, value);
                count += 1;
            }
        }
        header.write(&extensions[..count], out);
    }

    /// The playout delay to ask for (at least, at most), once the publisher's side has lost packets: the viewer's own
    /// round trip tells it nothing about how late repairs from there come. It is stated in every packet from then on,
    /// so that it also ends.
    fn playout(&self, packet: &SourcePacket) -> Option<[u8; 3]> {
        self.has_asked_playout.then(|| {
            let least = packet.repair_time.as_millis().div_ceil(10) as u32;
            let [_, high, middle, low] = (least << 12 | PLAYOUT_MAX).to_be_bytes();
            [high, middle, low]
        })
    }
}
