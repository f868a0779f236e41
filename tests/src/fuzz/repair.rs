//! The decoders of repair packets, each fed a whole exchange: what it restores must be possible, what it keeps bounded.
//!
//! An input is a row of packets, two bytes of length before each.

use std::collections::BTreeSet;

use bytes::Bytes;
use fec::scheme::flexfec::{self, Column, FlexFecDecoder, FlexFecEncoder};
use fec::scheme::red::{DEPTH_TAKEN_MAX, RedDecoder, RedEncoder};
use fec::scheme::window::{self, WindowDecoder, WindowEncoder};
use proto::codec::Codec;
use proto::rtp::extension::ExtensionMap;
use proto::rtp::flexfec::FlexFecView;
use proto::rtp::red::RedView;
use proto::rtp::symbol::Symbol;
use proto::rtp::{ExtensionId, MutableExtension, PayloadType, RtpHeader, RtpView, SeqNo, Ssrc};
use proto::sdp::{Fmtp, SectionCodec};
use proto::time::{Instant, NtpTime};
use sfu::transport::packet::StreamId;
use sfu::transport::rtp_recv::{Arrival, RtpRecvPipeline, StreamOrigin};

const MEDIA: Ssrc = Ssrc(0x1234_5678);
const OPUS: PayloadType = PayloadType(111);
const RED: PayloadType = PayloadType(63);
const WALL: NtpTime = NtpTime::from_bits(0xe9a1_0000_0000_0000);
const STAMP: MutableExtension = MutableExtension::whole(ExtensionId(3));
const WAITING_MAX: usize = 64; // more than any decoder keeps

/// Packets as one input.
fn joined(packets: &[Vec<u8>]) -> Vec<u8> {
    packets.iter().flat_map(|packet| [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat()).collect()
}

/// An input's packets; a length beyond the end means up to the end.
fn parts(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, behind) = input.split_first_chunk::<2>()?;
        let (part, rest) = behind.split_at(usize::from(u16::from_be_bytes(*length)).min(behind.len()));
        input = rest;
        Some(part)
    })
}

fn media(seq: u16) -> Vec<u8> {
    let header = RtpHeader {
        payload_type: PayloadType(96),
        marker: seq.is_multiple_of(4),
        seq: SeqNo(seq),
        timestamp: u32::from(seq) * 3000,
        ssrc: MEDIA,
    };
    let mut packet = Vec::new();
    header.write(&[(ExtensionId(3), &seq.to_be_bytes())], &mut packet);
    packet.resize(packet.len() + usize::from(seq % 7) * 10, seq as u8);
    packet
}

/// Blocks of which some packets are lost; a repair payload begins with a byte below 0x40, a media packet with one above.
pub(super) fn flexfec_corpus() -> Vec<Vec<u8>> {
    let exchange = |first: u16, count: u16, lost: &[u16]| {
        let mut encoder = FlexFecEncoder::new(MEDIA, &[STAMP]);
        encoder.start(4);
        let mut packets = Vec::new();
        for place in 0..count {
            let packet = media(first.wrapping_add(place));
            encoder
                .add(&packet, Column(1 << (place % 4) | 1 << (place / 4 % 4)))
                .expect("a packet of our own");
            packets.extend((!lost.contains(&place)).then_some(packet));
        }
        let mut payload = Vec::new();
        while encoder.poll_repair(&mut payload).is_some() {
            packets.push(std::mem::take(&mut payload));
        }
        joined(&packets)
    };
    vec![exchange(65_530, 10, &[3, 7]), exchange(5, 30, &[0, 1, 29]), exchange(100, 100, &[50])]
}

pub(super) fn flexfec(input: &[u8]) {
    let mut decoder = FlexFecDecoder::new(MEDIA, &[STAMP]);
    for part in parts(input) {
        if let Ok(view) = FlexFecView::parse(part) {
            let mut written = Vec::new();
            view.header().write(&mut written);
            assert_eq!(FlexFecView::parse(&written).expect("our own header").header(), view.header());
        }
        let is_repair = part.first().is_some_and(|first| first & 0xc0 == 0);
        let _ = if is_repair { decoder.handle_repair(part) } else { decoder.handle_media(part) };
        assert!(decoder.waiting() <= WAITING_MAX);
        while let Some(packet) = decoder.poll_restored() {
            let view = RtpView::parse(packet).expect("what is restored is a packet");
            assert!(view.ssrc() == MEDIA && packet.len() <= flexfec::PACKET_MAX);
        }
    }
}

/// Packets with two predecessors each, some of them lost; two bytes of sequence number before each.
pub(super) fn red_corpus() -> Vec<Vec<u8>> {
    let mut encoder = RedEncoder::new(OPUS);
    let packets = (0..30_u16).filter_map(|seq| {
        let mut packet = seq.wrapping_add(65_530).to_be_bytes().to_vec();
        let (timestamp, speech) = (u32::from(seq) * 960, [0xf8, 1, 2, seq as u8]);
        if seq % 7 == 4 {
            encoder.note(timestamp, &speech);
            packet.extend_from_slice(&speech); // plain, as senders of RED may send it too
        } else {
            encoder.encode(timestamp, &speech, 2, &mut packet);
        }
        (seq % 5 != 3).then_some(packet)
    });
    vec![joined(&packets.collect::<Vec<_>>())]
}

pub(super) fn red(input: &[u8]) {
    let mut decoder = RedDecoder::new(OPUS);
    for part in parts(input) {
        let Some((seq, payload)) = part.split_first_chunk() else { continue };
        let seq = SeqNo(u16::from_be_bytes(*seq));
        if let Ok(view) = RedView::parse(payload) {
            let inside: usize = view.blocks().map(|block| block.payload.len()).sum();
            assert!(inside + view.payload().len() < payload.len());
        }
        let mut taken = 0;
        let done = decoder.decode(seq, 0, payload, |packet| {
            taken += packet.payload.len();
            assert!(packet.seq == seq || packet.seq.distance(seq) < 0, "a predecessor comes before");
        });
        assert!(if done.is_ok() { taken < payload.len() } else { taken == 0 });
    }
}

/// A publisher's whole way in: what leaves is Opus, each number once, and no more than a packet can restore.
pub(super) fn red_uplink(input: &[u8]) {
    let codec = |payload_type, codec, fmtp| SectionCodec {
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
    };
    let codecs = [codec(OPUS, Codec::Opus, ""), codec(RED, Codec::Red, "111/111")];
    let origin = StreamOrigin { section: 0, rid: None, ssrc: MEDIA };
    let id = StreamId { connection: 0, index: 0 };
    let mut stream = RtpRecvPipeline::new(Instant::ZERO, WALL, id, origin, &codecs[1], 0);
    let mut restored = BTreeSet::new();
    for part in parts(input) {
        let Some((seq, payload)) = part.split_first_chunk() else { continue };
        // What is not RED is told by its first byte, as the corpus has it.
        let payload_type = if payload.first() == Some(&0xf8) { OPUS } else { RED };
        let seq = SeqNo(u16::from_be_bytes(*seq));
        let timestamp = u32::from(seq.0) * 960;
        let header = RtpHeader { payload_type, marker: false, seq, timestamp, ssrc: MEDIA };
        let mut bytes = Vec::new();
        header.write(&[], &mut bytes);
        bytes.extend_from_slice(payload);
        let bytes = Bytes::from(bytes);
        let view = RtpView::parse(&bytes).expect("a header of our own");
        let arrival = Arrival { view, bytes: &bytes, codecs: &codecs, extensions: &ExtensionMap::default() };
        let own = stream.handle_packet(Instant::ZERO, &arrival);
        let before = restored.len();
        while let Some(packet) = stream.poll_restored(Instant::ZERO, &codecs, &ExtensionMap::default()) {
            let packet = packet.expect("redundancy restores what is right or nothing");
            assert!(packet.codec == Codec::Opus && packet.payload_type == OPUS);
            assert!(restored.insert(packet.seq), "restored twice");
        }
        assert!(restored.len() - before <= DEPTH_TAKEN_MAX);
        assert!(own.is_err() || own.is_ok_and(|packet| packet.codec == Codec::Opus));
    }
}

/// Blocks and windows of which some packets are lost.
pub(super) fn symbols_corpus() -> Vec<Vec<u8>> {
    let exchange = |span: u8, lost: &[u8]| {
        let mut encoder = WindowEncoder::new();
        let mut symbols = Vec::new();
        for packet in 0..40_u8 {
            let number = encoder.add(&vec![packet; usize::from(packet) * 9 + 1]).expect("a short packet");
            let mut symbol = Vec::new();
            Symbol::write_source(number, &mut symbol);
            symbol.resize(symbol.len() + usize::from(packet) * 9 + 1, packet);
            symbols.extend((!lost.contains(&packet)).then_some(symbol));
            if packet % 4 == 3 && packet >= span {
                let mut symbol = Vec::new();
                let first = SeqNo(number.0 + 1 - u16::from(span));
                encoder.write_repair(first, span, &mut symbol).expect("packets that were added");
                symbols.push(symbol);
            }
        }
        joined(&symbols)
    };
    vec![exchange(4, &[5, 10, 22]), exchange(16, &[20, 21, 22])]
}

pub(super) fn symbols(input: &[u8]) {
    let mut decoder = WindowDecoder::new();
    for part in parts(input) {
        let _ = decoder.handle_symbol(part);
        assert!(decoder.waiting() <= WAITING_MAX);
        while let Some((_, packet)) = decoder.poll_restored() {
            assert!((1..=window::PACKET_MAX).contains(&packet.len()));
        }
    }
}
