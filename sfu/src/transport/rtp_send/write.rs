//! How the packets of a slot are written when they leave: headers with the extensions that the subscriber negotiated, and
//! retransmissions, padding and repair in their own streams.

use core::time::Duration;

use cc::PacketClass;
use proto::rtp::extension::Extension;
use proto::rtp::{PayloadType, RtpHeader, SeqNo, rtx};
use proto::time::{Instant, NtpTime};

use super::headers::Values;
use super::pending::{Pending, What, Written};
use super::plaintext::Plaintext;
use super::redundant_audio::Predecessors;
use super::{PADDING_MAX, Repair, RtpSendPipeline};
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rewriter::Traced;
use crate::transport::selector::Admission;

/// The longest playout delay that is asked for, in units of 10 ms: libwebrtc's own limit of 10 s.
const PLAYOUT_MAX: u32 = 1_000;

impl RtpSendPipeline {
    /// Writes a packet to `out`, which must be empty; with the transport-wide number that it leaves with, if it has one.
    /// Packets must be written in the order in which they were admitted.
    pub fn write(
        &mut self,
        now: Instant,
        wall: NtpTime,
        pending: &Pending,
        transport: Option<SeqNo>,
        out: &mut Plaintext,
    ) -> Written {
        match &pending.what {
            What::Media { stream, admission, mapping, packet, predecessors } => {
                let to = (*stream, *admission, mapping.out);
                let written = self.write_media(wall, to, (packet, *predecessors), transport, out);
                if let Written::Media(seq) | Written::Switched(seq, _) = written {
                    self.finish_media(now, packet, seq, out);
                }
                written
            }
            What::LeftOut { stream, seq, codec } => {
                self.rewriter.leave_out(*stream, *seq, *codec);
                Written::Nothing
            }
            What::Again { traced, payload_type, packet } => {
                self.write_retransmission(*payload_type, traced, packet, transport, out);
                if pending.class == PacketClass::Repair {
                    self.carried.counts.retransmitted.add(out.len()); // else it is padding that nobody asked for
                }
                Written::Again
            }
            What::Parity(parity) => {
                let transport = self.extensions.id(Extension::TransportSequence).zip(transport);
                let Some(covered) =
                    self.repair.as_mut().and_then(|repair| repair.write(parity, transport, out))
                else {
                    return Written::Nothing;
                };
                self.carried.counts.parity.add(out.len());
                Written::Parity(covered)
            }
        }
    }

    /// Writes a packet of the stream of retransmissions with nothing but `length` bytes of padding, at most
    /// [`PADDING_MAX`], to `out`, which must be empty; whether the subscriber negotiated such a stream.
    pub fn write_padding(&mut self, length: usize, transport: Option<SeqNo>, out: &mut Plaintext) -> bool {
        let Some(payload_type) = self.rtx_payload_type() else { return false };
        let seq = self.next_rtx();
        let header = RtpHeader { payload_type, marker: false, seq, timestamp: 0, ssrc: self.rtx_ssrc };
        self.headers.write(&header, Values { transport, ..Values::default() }, out);
        out.pad(length.min(PADDING_MAX));
        true
    }

    fn write_media(
        &mut self,
        wall: NtpTime,
        (stream, admission, payload_type): (StreamId, Admission, PayloadType),
        (packet, predecessors): (&SourcePacket, Predecessors),
        transport: Option<SeqNo>,
        out: &mut Plaintext,
    ) -> Written {
        if admission == Admission::Switch {
            let is_of = |(of, first, _): &mut (_, _, _)| (*of, *first) == (stream, packet.seq);
            let catch_up = self.carried.catch_up.take_if(is_of).map(|(_, _, catch_up)| catch_up);
            self.rewriter.switch(wall, stream, packet, catch_up);
        } else if self.rewriter.stream() != Some(stream) {
            return Written::Nothing; // the slot's next stream has overtaken it
        }
        if packet.payload().is_empty() {
            self.rewriter.skip(packet.seq);
            return Written::Nothing;
        }
        let Some(place) = self.rewriter.place(wall, packet) else { return Written::Nothing };
        self.has_asked_playout |= self.playout_least(packet) > Duration::ZERO;
        let carrying = self.carry((payload_type, place.timestamp), packet, predecessors);
        let header = RtpHeader {
            payload_type: carrying.map_or(payload_type, |carrying| carrying.payload_type),
            marker: packet.marker,
            seq: place.seq,
            timestamp: place.timestamp,
            ssrc: self.ssrc,
        };
        self.write_header(&header, (packet, self.rewriter.frame_shift_at(place)), transport, out);
        self.write_payload(carrying, place, packet, out);
        match admission {
            Admission::Switch => Written::Switched(place.seq, stream),
            Admission::Forward | Admission::Drop => Written::Media(place.seq),
        }
    }

    /// What becomes of a packet when it has been written: repair has to know it, and its size may be rounded up to that of
    /// its picture's largest, so that they leave in one run.
    fn finish_media(&mut self, now: Instant, packet: &SourcePacket, seq: SeqNo, written: &mut Plaintext) {
        if packet.is_sound() {
            // Sound packets stand alone.
        } else if let Some(repair) = self.repair.as_mut().filter(|repair| repair.is_watching()) {
            repair.note_media(now, packet, seq, written.contiguous());
        } else if self.is_a_byte_short(packet) {
            written.pad(1);
        }
        if packet.is_key_frame() {
            self.carried.key_frame_at = Some(now);
        }
        self.carried.stats.packets = self.carried.stats.packets.wrapping_add(1);
        self.carried.stats.octets = self.carried.stats.octets.wrapping_add(packet.payload().len() as u32);
        self.carried.counts.media.add(written.len());
        self.carried.limiter.note_media(now, written.len());
        self.carried.repeats.note_media(now);
    }

    fn write_retransmission(
        &mut self,
        payload_type: PayloadType,
        traced: &Traced,
        packet: &SourcePacket,
        transport: Option<SeqNo>,
        out: &mut Plaintext,
    ) {
        let header = RtpHeader {
            payload_type,
            marker: packet.marker,
            seq: self.next_rtx(),
            timestamp: traced.timestamp(packet),
            ssrc: self.rtx_ssrc,
        };
        self.write_header(&header, (packet, traced.frame_shift()), transport, out);
        out.put_payload(|out| rtx::write(traced.seq, &[], out));
        out.put_source(packet, traced.picture_ids());
        self.repair_mut().note_retransmission(out.len());
    }

    /// The header with those of the publisher's header extensions that the subscriber negotiated.
    fn write_header(
        &mut self,
        header: &RtpHeader,
        (packet, frame_shift): (&SourcePacket, Option<u16>),
        transport: Option<SeqNo>,
        out: &mut Plaintext,
    ) {
        let values = Values {
            transport,
            audio_level: packet.audio_level,
            orientation: packet.orientation,
            playout: self.playout(packet),
            descriptor: if frame_shift.is_some() { packet.descriptor() } else { &[] },
            frame_shift: frame_shift.unwrap_or_default(),
        };
        self.headers.write(header, values, out);
    }

    /// The playout delay to ask for (at least, at most), once packets were lost: the viewer's own round trip tells it
    /// nothing about how late repairs from the publisher's side come, and where forward repair was negotiated libwebrtc's
    /// player does not wait for retransmissions by itself. It is stated in every packet from then on, so that it also ends.
    fn playout(&self, packet: &SourcePacket) -> Option<[u8; 3]> {
        self.has_asked_playout.then(|| {
            let least = self.playout_least(packet).as_millis().div_ceil(10) as u32;
            let [_, high, middle, low] = (least << 12 | PLAYOUT_MAX).to_be_bytes();
            [high, middle, low]
        })
    }

    fn playout_least(&self, packet: &SourcePacket) -> Duration {
        let patience = self.repair().filter(|_| !packet.is_sound()).map(Repair::patience);
        packet.repair_time.max(patience.unwrap_or_default())
    }
}
