//! RED from a publisher (RFC 2198), undone: its packets become plain Opus, and so do those that the uplink lost.
//!
//! In: packets of the stream, RED or not. Out: one plain packet for each, and the predecessors that it restores. Time:
//! `now`, passed on. Limit: [`fec::scheme::red::DEPTH_TAKEN_MAX`] predecessors a packet, each restored once.
//!
//! Subscribers get Opus alone, or RED of their own leg's making; so the publisher's ends here. One who never sends RED
//! costs nothing.

use std::collections::VecDeque;

use fec::scheme::red::{RedDecoder, Taken};
use proto::codec::Codec;
use proto::rtp::SeqNo;
use proto::sdp::SectionCodec;
use proto::time::Instant;

use super::{Arrival, RecvDrop, RtpRecvPipeline, Way};
use crate::transport::packet::{SourceHeader, SourcePacket};

/// Which packets have gone on, by numbers that do not wrap: none may twice, whatever a publisher says, for what goes on is
/// encrypted under its number.
#[derive(Debug, Clone, Copy, Default)]
struct Delivered {
    newest: Option<u64>,
    /// A bit for each packet before the newest, the newest itself first.
    known: u64,
}

impl Delivered {
    /// Whether a packet is news; if so, it counts as gone on. What is too far behind the newest to be known is none.
    fn admit(&mut self, seq: u64) -> bool {
        let Some(newest) = self.newest else {
            (self.newest, self.known) = (Some(seq), u64::MAX); // what was before was not RED's affair
            return true;
        };
        if let Some(ahead @ 1..) = seq.checked_sub(newest) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            (self.newest, self.known) = (Some(seq), self.known.checked_shl(shift).unwrap_or(0) | 1);
            return true;
        }
        let bit = u32::try_from(newest - seq).ok().and_then(|behind| 1_u64.checked_shl(behind));
        let bit = bit.filter(|bit| self.known & bit == 0);
        self.known |= bit.unwrap_or(0);
        bit.is_some()
    }
}

/// What a stream remembers of its redundancy.
#[derive(Debug, Default)]
pub(super) struct RedundantAudio {
    /// There since the first RED packet.
    decoder: Option<RedDecoder>,
    delivered: Delivered,
    /// The earliest first.
    restored: VecDeque<SourcePacket>,
}

impl RedundantAudio {
    /// Notes a packet that is not RED; refuses one that was restored before it came.
    pub(super) fn handle_plain(&mut self, packet: &SourcePacket) -> Result<(), RecvDrop> {
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let seq = SeqNo(packet.seq as u16);
        if decoder.has(seq) || !self.delivered.admit(packet.seq) {
            return Err(RecvDrop::Duplicate);
        }
        decoder.note(seq);
        Ok(())
    }

    /// A packet that was restored.
    pub(super) fn poll_restored(&mut self) -> Option<SourcePacket> {
        self.restored.pop_front()
    }

    /// Whether there is one.
    pub(super) fn has_restored(&self) -> bool {
        !self.restored.is_empty()
    }
}

impl<'a> Arrival<'a> {
    /// What was negotiated for it, if it is RED.
    pub(super) fn red(&self) -> Option<&'a SectionCodec> {
        let payload_type = self.view.payload_type();
        let codec = self.codecs.iter().find(|codec| codec.payload_type == payload_type);
        codec.filter(|codec| codec.codec == Some(Codec::Red))
    }
}

impl RtpRecvPipeline {
    /// A RED packet: gives what is its own; [`Self::poll_restored`] gives what it restores, even if it came before itself.
    pub(super) fn handle_red(
        &mut self,
        now: Instant,
        arrival: &Arrival<'_>,
        codec: &SectionCodec,
    ) -> Result<SourcePacket, RecvDrop> {
        let view = &arrival.view;
        self.reception.handle_packet(now, view.seq(), view.timestamp(), self.clock.rate);
        let inside = codec.red_inside().ok_or(RecvDrop::UnknownPayloadType(view.payload_type().0))?;
        let mut header = self.header(now, arrival, Codec::Opus, view.seq());
        header.payload_type = inside;
        let Self { pool, redundant_audio: RedundantAudio { decoder, restored, .. }, .. } = self;
        let decoder = decoder.get_or_insert_with(|| RedDecoder::joining(inside, view.seq()));
        let was_there = decoder.has(view.seq());
        let mut own = None;
        let take = |taken: Taken<'_>| {
            if taken.seq == view.seq() {
                own = Some(pool.store(header, taken.payload));
                return;
            }
            let behind = u64::from(view.seq().0.wrapping_sub(taken.seq.0));
            // What the header tells of loudness is the packet's own.
            let header = SourceHeader {
                seq: header.seq.saturating_sub(behind),
                timestamp: taken.timestamp,
                marker: false,
                audio_level: None,
                ..header
            };
            restored.push_back(pool.store(header, taken.payload));
        };
        decoder
            .decode(view.seq(), view.timestamp(), view.payload(), take)
            .map_err(|_| RecvDrop::Redundancy)?;
        // The packet first, for only it tells the stream that others are missing.
        let RedundantAudio { delivered, restored, .. } = &mut self.redundant_audio;
        let own = own.filter(|own| !was_there && delivered.admit(own.seq)).ok_or(RecvDrop::Duplicate);
        restored.retain(|packet| delivered.admit(packet.seq));
        let own = own.and_then(|own| self.accept(now, own, Way::Itself));
        for _ in 0..self.redundant_audio.restored.len() {
            let restored = self.redundant_audio.poll_restored();
            let restored = restored.map(|packet| self.accept(now, packet, Way::Repair));
            self.redundant_audio.restored.extend(restored.and_then(Result::ok));
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fec::scheme::red::RedEncoder;
    use proto::rtp::extension::{Extension, ExtensionMap};
    use proto::rtp::{ExtensionId, PayloadType, RtpHeader, RtpView, Ssrc};
    use proto::sdp::Fmtp;
    use proto::time::NtpTime;

    use super::*;
    use crate::transport::packet::StreamId;
    use crate::transport::rtp_recv::StreamOrigin;

    const OPUS: PayloadType = PayloadType(111);
    const RED: PayloadType = PayloadType(63);
    const LEVEL: ExtensionId = ExtensionId(1);
    const FRAME: u32 = 960;
    const FIRST: u16 = 65_530; // so that the numbers wrap
    const NONE: [u16; 0] = [];

    fn codec(payload_type: PayloadType, codec: Codec, fmtp: &str) -> SectionCodec {
        SectionCodec {
            payload_type,
            codec: Some(codec),
            clock_rate: 48_000,
            channels: 2,
            fmtp: Fmtp::new(fmtp),
            rtx: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: true,
        }
    }

    /// A publisher of sound, and what comes of its packets; numbers count from [`FIRST`].
    struct Uplink {
        codecs: [SectionCodec; 2],
        stream: RtpRecvPipeline,
        encoder: RedEncoder,
    }

    impl Uplink {
        fn new() -> Self {
            let codecs = [codec(OPUS, Codec::Opus, ""), codec(RED, Codec::Red, "111/111")];
            let origin = StreamOrigin { section: 0, rid: None, ssrc: Ssrc(1) };
            let id = StreamId { connection: 0, index: 0 };
            let wall = NtpTime::from_bits(0xE000_0000_0000_0000);
            let stream = RtpRecvPipeline::new(Instant::ZERO, wall, id, origin, &codecs[0], 0);
            Self { codecs, stream, encoder: RedEncoder::new(OPUS) }
        }

        /// What is sent as the packet `number`, with `depth` predecessors; `None` makes it plain.
        fn packet(&mut self, number: u16, depth: Option<usize>) -> Bytes {
            let payload_type = if depth.is_some() { RED } else { OPUS };
            let (seq, timestamp) = (SeqNo(FIRST.wrapping_add(number)), u32::from(number) * FRAME);
            let header = RtpHeader { payload_type, marker: number == 0, seq, timestamp, ssrc: Ssrc(1) };
            let mut bytes = Vec::new();
            header.write(&[(LEVEL, &[0x90])], &mut bytes);
            if let Some(depth) = depth {
                self.encoder.encode(timestamp, &speech(number), depth, &mut bytes);
            } else {
                self.encoder.note(timestamp, &speech(number));
                bytes.extend_from_slice(&speech(number));
            }
            Bytes::from(bytes)
        }

        /// A packet arrives: what is forwarded of it, in order.
        fn arrive(&mut self, bytes: &Bytes) -> (Vec<SourcePacket>, Result<(), RecvDrop>) {
            let mut extensions = ExtensionMap::default();
            extensions.set(Extension::AudioLevel, LEVEL);
            let view = RtpView::parse(bytes).unwrap();
            let arrival = Arrival { view, bytes, codecs: &self.codecs, extensions: &extensions };
            let own = self.stream.handle_packet(Instant::ZERO, &arrival);
            let restored =
                std::iter::from_fn(|| self.stream.poll_restored(Instant::ZERO, &self.codecs, &extensions));
            let mut packets: Vec<_> = restored.map(Result::unwrap).collect();
            packets.extend(own.as_ref().ok().cloned());
            (packets, own.map(|_| ()))
        }
    }

    fn speech(number: u16) -> Vec<u8> {
        vec![0xf8, number as u8, 7, 7]
    }

    #[test]
    fn whatever_arrives_leaves_as_plain_opus_in_its_own_place_once() {
        let mut uplink = Uplink::new();
        let sent: Vec<Bytes> = (0..12)
            .map(|number| uplink.packet(number, [Some(2), None][usize::from(number == 1 || number == 9)]))
            .collect();
        for (name, number, forwarded, dropped) in [
            ("the first restores nothing", 0_u16, &[0_u16][..], None),
            ("plain Opus", 1, &[1], None),
            ("two are lost", 4, &[2, 3, 4], None),
            ("one that was restored comes late", 3, &NONE, Some(RecvDrop::Duplicate)),
            ("nothing is missing", 5, &[5], None),
            ("three are lost, two there", 9, &[9], None),
            ("its successor brings one of them", 10, &[8, 10], None),
            ("one that nobody brought comes late, and brings another", 7, &[6, 7], None),
            ("a plain one twice", 9, &NONE, Some(RecvDrop::Duplicate)),
        ] {
            let (packets, outcome) = uplink.arrive(&sent[usize::from(number)]);
            let found: Vec<u16> =
                packets.iter().map(|packet| (packet.seq as u16).wrapping_sub(FIRST)).collect();
            assert_eq!((&found[..], outcome.err()), (forwarded, dropped), "{name}");
            for packet in packets {
                let place = (packet.seq as u16).wrapping_sub(FIRST);
                assert_eq!(packet.payload(), speech(place), "{name}");
                assert_eq!((packet.payload_type, packet.codec), (OPUS, Codec::Opus), "{name}");
                assert_eq!(packet.timestamp, u32::from(place) * FRAME, "{name}");
                let level = (place == number).then_some(0x90);
                assert_eq!(packet.audio_level, level, "{name}: loudness is the packet's own");
            }
        }
    }

    #[test]
    fn a_late_red_packet_that_was_restored_still_restores_others() {
        let mut uplink = Uplink::new();
        let sent: Vec<Bytes> = (0..6).map(|number| uplink.packet(number, Some(1))).collect();
        for (number, forwarded, dropped) in
            [(0_u16, &[0_u16][..], None), (3, &[2, 3], None), (2, &[1], Some(RecvDrop::Duplicate))]
        {
            let (packets, outcome) = uplink.arrive(&sent[usize::from(number)]);
            let found: Vec<u16> =
                packets.iter().map(|packet| (packet.seq as u16).wrapping_sub(FIRST)).collect();
            assert_eq!((&found[..], outcome.err()), (forwarded, dropped), "{number}");
        }
    }

    #[test]
    fn hostile_red_is_refused_and_what_follows_is_not() {
        let mut uplink = Uplink::new();
        let header = |number: u16| {
            let seq = SeqNo(FIRST.wrapping_add(number));
            let header = RtpHeader { payload_type: RED, marker: false, seq, timestamp: 0, ssrc: Ssrc(1) };
            let mut bytes = Vec::new();
            header.write(&[], &mut bytes);
            bytes
        };
        let deep = [[0xef, 0x0f, 0, 0].repeat(10), vec![111]].concat();
        for (name, payload) in [
            ("nothing", &[][..]),
            ("half a header", &[0xef, 0]),
            ("a length beyond the end", &[0xef, 0x0f, 0, 200, 111, 1]),
            ("offsets out of order", &[0xef, 0, 4, 0, 0xef, 0, 8, 0, 111]),
            ("RED inside", &[63, 0xf8]),
            ("too deep", &deep),
        ] {
            let bytes = Bytes::from([header(1), payload.to_vec()].concat());
            let (packets, outcome) = uplink.arrive(&bytes);
            assert_eq!((packets.len(), outcome), (0, Err(RecvDrop::Redundancy)), "{name}");
        }
        let fine = uplink.packet(1, Some(2));
        assert_eq!(uplink.arrive(&fine).0.len(), 1);
    }
}
