//! A publisher's whole way in: media, retransmissions and repair packets, of which any may lie.
//!
//! An input is a row of packets, two bytes of length before each, of which the top four bits are the time since the last
//! one in milliseconds.

use fec::scheme::flexfec::{Column, FlexFecEncoder};
use proto::codec::Codec;
use proto::rtcp::Rtcp;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, MutableExtension, PayloadType, RtpHeader, SeqNo, Ssrc, rtx};
use proto::sdp::{Fmtp, SectionCodec};
use proto::time::{Instant, NtpTime};
use sfu::transport::connection::{ConnectionPipeline, ReceiveSection};
use sfu::transport::strategy::Strategy;

const VP8: PayloadType = PayloadType(96);
const RTX: PayloadType = PayloadType(97);
const FLEXFEC: PayloadType = PayloadType(49);
const STAMP: ExtensionId = ExtensionId(3);
const MID: ExtensionId = ExtensionId(4);
const MEDIA: Ssrc = Ssrc(0x1234_5678);

const WALL: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);
const LENGTH_BITS: u32 = 12;

const RESTORED_MAX: usize = 64; // by one packet: more than the decoder keeps repair packets
const RTCP_MAX: usize = 64; // at one time: a few requests and reports for each of the few streams an input can open

fn packet(payload_type: PayloadType, ssrc: Ssrc, seq: u16, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader {
        payload_type,
        marker: seq.is_multiple_of(4),
        seq: SeqNo(seq),
        timestamp: u32::from(seq / 4) * 3000,
        ssrc,
    };
    let mut packet = Vec::new();
    header.write(&[(STAMP, &seq.to_be_bytes()), (MID, b"0")], &mut packet);
    packet.extend_from_slice(payload);
    packet
}

/// Twelve pictures of four packets and a repair packet each; what is lost comes again if it is to.
fn exchange(first: u16, lost: &[u16], again: &[u16]) -> Vec<u8> {
    let mut encoder = FlexFecEncoder::new(MEDIA, &[MutableExtension::whole(STAMP)]);
    let mut input = Vec::new();
    let mut add = |millis: u16, packet: &[u8]| {
        input.extend_from_slice(&(millis << LENGTH_BITS | packet.len() as u16).to_be_bytes());
        input.extend_from_slice(packet);
    };
    for picture in 0..12_u16 {
        encoder.start(1);
        for part in 0..4 {
            let place = picture * 4 + part;
            let payload = vec![0x11; 20 + usize::from(place)];
            let media = packet(VP8, MEDIA, first.wrapping_add(place), &payload);
            encoder.add(&media, Column(1)).expect("a packet of our own");
            if !lost.contains(&place) {
                add(if part == 0 { 15 } else { 0 }, &media);
            }
            if again.contains(&place) {
                let mut payload = Vec::new();
                rtx::write(SeqNo(first.wrapping_add(place)), &[0x11; 20], &mut payload);
                add(3, &packet(RTX, Ssrc(2), place, &payload));
            }
        }
        let mut payload = Vec::new();
        encoder.poll_repair(&mut payload).expect("a block of four");
        add(1, &packet(FLEXFEC, Ssrc(3), picture, &payload));
    }
    input
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    vec![
        exchange(65_520, &[5, 11, 21, 47], &[]),
        exchange(100, &[8, 9, 10, 30], &[8, 9]),
        exchange(7, &[20, 21], &[20, 21, 22]),
    ]
}

fn pipeline() -> ConnectionPipeline {
    let codec = SectionCodec {
        payload_type: VP8,
        codec: Some(Codec::Vp8),
        clock_rate: 90_000,
        channels: 1,
        fmtp: Fmtp::new(""),
        rtx: Some(RTX),
        nack: true,
        pli: true,
        fir: false,
        transport_cc: true,
    };
    let (codecs, flexfec) = ([codec].into(), Some(FLEXFEC));
    let section = ReceiveSection {
        mid: "0".into(),
        codecs,
        flexfec,
        ssrcs: Vec::new(),
        rids: Vec::new(),
        strategy: Strategy::default(),
    };
    let mut extensions = ExtensionMap::default();
    extensions.set(Extension::Mid, MID);
    extensions.set(Extension::TransportSequence, STAMP);
    let mut pipeline = ConnectionPipeline::new(Ssrc(9), "cname".to_owned(), 0);
    pipeline.set_sections(vec![Some(section)], extensions);
    pipeline
}

pub(super) fn run(mut input: &[u8]) {
    let mut pipeline = pipeline();
    let mut now = Instant::from_millis(1);
    while let Some((head, behind)) = input.split_first_chunk::<2>() {
        let head = u16::from_be_bytes(*head);
        let length = usize::from(head & ((1 << LENGTH_BITS) - 1)).min(behind.len());
        let (packet, rest) = behind.split_at(length);
        input = rest;
        let next = Instant::from_millis(now.as_micros() / 1_000 + u64::from(head >> LENGTH_BITS));
        wake(&mut pipeline, next);
        now = next;
        let _ = pipeline.handle_rtp(now, WALL, packet);
        let restored = std::iter::from_fn(|| pipeline.poll_restored(now)).count();
        assert!(restored <= RESTORED_MAX, "{restored} restored at once");
        take_rtcp(&mut pipeline);
    }
}

/// What a shell does until `now`.
fn wake(pipeline: &mut ConnectionPipeline, now: Instant) {
    while let Some(at) = pipeline.poll_timeout().filter(|&at| at <= now) {
        pipeline.handle_timeout(at, WALL);
        take_rtcp(pipeline);
        assert!(pipeline.poll_timeout().is_none_or(|next| next > at), "a wake-up in the past");
    }
}

fn take_rtcp(pipeline: &mut ConnectionPipeline) {
    let packets = pipeline.poll_rtcp();
    assert!(packets.len() <= RTCP_MAX, "{} packets of RTCP at once", packets.len());
    for packet in packets {
        if let Rtcp::Nack { lost, .. } = packet {
            assert!((1..=256).contains(&lost.len()), "{} numbers asked for", lost.len());
        }
    }
}
