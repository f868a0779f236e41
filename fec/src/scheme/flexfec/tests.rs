//! Encoder and decoder against each other: whatever peeling can restore is restored to the byte.

use proptest::collection::vec;
use proptest::prelude::*;
use proto::rtp::flexfec::FlexFecError;
use proto::rtp::{ExtensionId, PayloadType, RtpHeader};

use super::*;

pub(super) const MEDIA: Ssrc = Ssrc(0x0102_0304);
pub(super) const STAMP: MutableExtension = MutableExtension::whole(ExtensionId(3));

/// A packet with a transport sequence number of `stamp` and a payload of that length.
pub(super) fn packet(seq: u16, stamp: u16, payload_len: usize) -> Vec<u8> {
    let header = RtpHeader {
        payload_type: PayloadType(96 + (seq % 3) as u8),
        marker: seq.is_multiple_of(4),
        seq: SeqNo(seq),
        timestamp: u32::from(seq) * 3000,
        ssrc: MEDIA,
    };
    let mut packet = Vec::new();
    header.write(&[(ExtensionId(3), &stamp.to_be_bytes()), (ExtensionId(4), b"mid")], &mut packet);
    packet.extend((0..payload_len).map(|at| (at as u16 ^ seq.wrapping_mul(31)) as u8));
    packet
}

/// The repair payloads for these packets, and what each protects.
fn encode(packets: &[Vec<u8>], columns: &[u16], rows: usize) -> Vec<(Vec<u8>, Protection)> {
    let mut encoder = FlexFecEncoder::new(MEDIA, &[STAMP]);
    encoder.start(rows);
    for (packet, &column) in packets.iter().zip(columns) {
        encoder.add(packet, Column(column)).unwrap();
    }
    let mut repairs = Vec::new();
    let mut payload = Vec::new();
    while let Some(protection) = encoder.poll_repair(&mut payload) {
        repairs.push((std::mem::take(&mut payload), protection));
    }
    repairs
}

fn drain(decoder: &mut FlexFecDecoder) -> Vec<Vec<u8>> {
    let mut restored = Vec::new();
    while let Some(packet) = decoder.poll_restored() {
        restored.push(packet.to_vec());
    }
    restored
}

/// The packet as it is restored: without its stamp.
fn unstamped(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    proto::rtp::zero_mutable(&mut packet, &[STAMP]);
    packet
}

#[test]
fn one_repair_packet_restores_any_one_packet_whatever_its_stamp() {
    let sent: Vec<_> =
        [30, 0, 1200].iter().zip(65_534..).map(|(&len, seq): (_, u32)| packet(seq as u16, 7, len)).collect();
    let repairs = encode(&sent, &[1, 1, 1], 1);
    assert_eq!(repairs.len(), 1);
    assert_eq!(repairs[0].1, Protection { base: SeqNo(65_534), mask: PacketMask::from_bits(0b111).unwrap() });
    for lost in 0..3 {
        let mut decoder = FlexFecDecoder::new(MEDIA, &[STAMP]);
        for (place, _) in sent.iter().enumerate().filter(|&(place, _)| place != lost) {
            let len = sent[place].len() - 12 - 12;
            let restamped = packet(65_534_u16.wrapping_add(place as u16), 900 + place as u16, len);
            decoder.handle_media(&restamped).unwrap();
        }
        decoder.handle_repair(&repairs[0].0).unwrap();
        assert_eq!(drain(&mut decoder), [unstamped(&sent[lost])]);
        let expected = DecoderStats { repairs: 1, restored: 1, ..DecoderStats::default() };
        assert_eq!(decoder.stats(), expected);
    }
}

#[test]
fn a_restored_packet_helps_to_restore_another() {
    let sent: Vec<_> = (10..14).map(|seq| packet(seq, 0, usize::from(seq) * 9)).collect();
    // Rows {0, 1}, {1, 2}, {2, 3}: packet 0 is there, the others follow one from another.
    let repairs = encode(&sent, &[0b001, 0b011, 0b110, 0b100], 3);
    let mut decoder = FlexFecDecoder::new(MEDIA, &[STAMP]);
    decoder.handle_media(&sent[0]).unwrap();
    for (repair, _) in repairs.iter().rev() {
        assert!(drain(&mut decoder).is_empty());
        decoder.handle_repair(repair).unwrap();
    }
    assert_eq!(drain(&mut decoder), [1, 2, 3].map(|place| unstamped(&sent[place])));
}

#[test]
fn a_block_starts_afresh_and_its_buffers_are_kept() {
    let mut encoder = FlexFecEncoder::new(MEDIA, &[]);
    let mut out = Vec::new();
    assert_eq!(encoder.poll_repair(&mut out), None, "no block yet");
    encoder.start(2);
    encoder.add(&packet(1, 0, 1000), Column(0b11)).unwrap();
    encoder.start(2);
    encoder.add(&packet(7, 0, 10), Column(0b10)).unwrap();
    let protection = encoder.poll_repair(&mut out).expect("the second row");
    assert_eq!(protection, Protection { base: SeqNo(7), mask: PacketMask::from_bits(1).unwrap() });
    assert_eq!(out.len(), 20 + packet(7, 0, 10).len() - 12, "nothing of the longer packet is left");
    assert_eq!(encoder.poll_repair(&mut out), None, "the first row protects nothing");
    encoder.start(0);
    encoder.add(&packet(8, 0, 10), Column(u16::MAX)).unwrap();
    assert_eq!(encoder.poll_repair(&mut out), None, "no rows, no repair");
}

#[test]
fn packets_that_cannot_be_protected_are_named() {
    let mut encoder = FlexFecEncoder::new(MEDIA, &[]);
    encoder.start(1);
    encoder.add(&packet(65_500, 0, 10), Column(1)).unwrap();
    let truncated = RtpError::Truncated { needed: 12, available: 3 };
    for (name, bytes, error) in [
        ("no packet", vec![0x80, 0, 0], AddError::Packet(truncated)),
        ("too long", packet(65_501, 0, 1477), AddError::TooLong(1501)),
        ("older than the first", packet(65_499, 0, 1), AddError::TooFar(-1)),
        ("beyond the mask", packet(65_500_u16.wrapping_add(109), 0, 1), AddError::TooFar(109)),
        ("again", packet(65_500, 0, 10), AddError::Twice(SeqNo(65_500))),
    ] {
        assert_eq!(encoder.add(&bytes, Column(1)), Err(error), "{name}");
    }
    encoder.add(&packet(65_500_u16.wrapping_add(108), 0, 1476), Column(1)).unwrap();
}

#[test]
fn hostile_packets_are_refused_and_counted() {
    let sent: Vec<_> = (500..504).map(|seq| packet(seq, 0, 100)).collect();
    let good = encode(&sent, &[1, 1, 1, 1], 1).remove(0).0;
    let with = |at: usize, bytes: &[u8]| {
        let mut payload = good.clone();
        payload[at..at + bytes.len()].copy_from_slice(bytes);
        payload
    };
    let mut decoder = FlexFecDecoder::new(MEDIA, &[]);
    assert_eq!(decoder.handle_repair(&good), Err(Refusal::TooFar(SeqNo(500))), "before any media");
    decoder.handle_media(&packet(700, 0, 10)).unwrap();
    for (name, payload, refusal) in [
        (
            "cut off",
            good[..10].to_vec(),
            Refusal::Header(FlexFecError::Truncated { needed: 20, available: 10 }),
        ),
        ("another stream", with(12, &[9, 9, 9, 9]), Refusal::Stream(Ssrc(0x0909_0909))),
        ("far ahead", with(16, &900_u16.to_be_bytes()), Refusal::TooFar(SeqNo(900))),
        ("far behind", good.clone(), Refusal::TooOld(SeqNo(500))),
        ("too long", [&good[..], &[0; 1500]].concat(), Refusal::TooLong(1612)),
    ] {
        assert_eq!(decoder.handle_repair(&payload), Err(refusal), "{name}");
    }
    let mut strange = packet(701, 0, 10);
    strange[8] = 9;
    for (name, bytes, refusal) in [
        ("too old", packet(508, 0, 1), Refusal::TooOld(SeqNo(508))),
        ("another stream", strange, Refusal::Stream(Ssrc(0x0902_0304))),
        ("too long", packet(701, 0, 1500), Refusal::TooLong(1524)),
        ("no packet", vec![0x80], Refusal::Packet(RtpError::Truncated { needed: 12, available: 1 })),
    ] {
        assert_eq!(decoder.handle_media(&bytes), Err(refusal), "{name}");
    }
    assert_eq!((decoder.stats().refused, decoder.stats().inconsistent), (10, 0));
}

#[test]
fn sums_of_no_packet_are_dropped_and_counted() {
    let sent: Vec<_> = (500..503).map(|seq| packet(seq, 0, 100)).collect();
    let good = encode(&sent, &[1, 1, 1], 1).remove(0).0;
    let mut long = good.clone();
    long[2] ^= 0x40; // a length recovered of 16 kB
    let cut = good[..60].to_vec(); // shorter than what it protects
    let mut lying = good.clone();
    lying[20] ^= 0xff; // the extension block's form, which is no matter
    lying[23] ^= 0xff; // its length
    for (name, payload) in [("length", long), ("body", cut), ("header", lying)] {
        let mut decoder = FlexFecDecoder::new(MEDIA, &[]);
        decoder.handle_media(&sent[0]).unwrap();
        decoder.handle_media(&sent[2]).unwrap();
        decoder.handle_repair(&payload).unwrap();
        assert_eq!(drain(&mut decoder), Vec::<Vec<u8>>::new(), "{name}");
        assert_eq!(decoder.stats().inconsistent, 1, "{name}");
        decoder.handle_repair(&good).unwrap();
        assert_eq!(drain(&mut decoder), [sent[1].clone()], "{name}: and no harm is done");
    }
}

#[test]
fn what_waits_is_bounded_and_ages() {
    let mut decoder = FlexFecDecoder::new(MEDIA, &[]);
    decoder.handle_media(&packet(1000, 0, 10)).unwrap();
    let hopeless: Vec<_> = (1001..1003).map(|seq| packet(seq, 0, 10)).collect();
    let repair = encode(&hopeless, &[1, 1], 1).remove(0).0;
    for _ in 0..100 {
        decoder.handle_repair(&repair).unwrap();
    }
    assert_eq!(decoder.waiting(), REPAIRS_MAX);
    assert_eq!(decoder.stats().expired, 100 - REPAIRS_MAX as u64);
    decoder.handle_media(&packet(1001 + 191, 0, 10)).unwrap();
    assert_eq!(decoder.waiting(), REPAIRS_MAX, "its first packet could still come");
    decoder.handle_media(&packet(1001 + 192, 0, 10)).unwrap();
    assert_eq!((decoder.waiting(), decoder.stats().expired), (0, 100));
    decoder.handle_repair(&encode(&[packet(1193, 0, 10)], &[1], 1).remove(0).0).unwrap();
    assert_eq!(decoder.stats().unneeded, 1);
    decoder.reset();
    assert!(decoder.handle_media(&packet(5, 0, 10)).is_ok(), "a source that counts anew");
}

const REPAIRS_MAX: usize = 48;

/// What peeling restores, computed the slow way: places lost, rows that arrived.
fn peel(columns: &[u16], lost: &[bool], rows: &[bool]) -> Vec<bool> {
    let mut missing = lost.to_vec();
    loop {
        let solved = (0..rows.len()).filter(|&row| rows[row]).find_map(|row| {
            let mut open =
                (0..columns.len()).filter(|&place| missing[place] && columns[place] >> row & 1 == 1);
            open.next().filter(|_| open.next().is_none())
        });
        let Some(place) = solved else { return missing };
        missing[place] = false;
    }
}

proptest! {
    #[test]
    fn whatever_peeling_can_restore_is_restored_to_the_byte(
        first: u16,
        block in vec((0_usize..1300, any::<u16>(), any::<bool>()), 1..48),
        arrived in vec(any::<bool>(), ROWS_MAX),
        order: u64,
    ) {
        let seqs = (0..block.len()).map(|place| first.wrapping_add(place as u16));
        let sent: Vec<_> = seqs.zip(&block).map(|(seq, &(len, stamp, _))| packet(seq, stamp, len)).collect();
        let columns: Vec<_> = block.iter().map(|&(_, column, _)| column & 0xfff).collect();
        let mut lost: Vec<_> = block.iter().map(|&(_, _, lost)| lost).collect();
        lost[0] = false; // something must say where we are
        let repairs = encode(&sent, &columns, ROWS_MAX);
        let used: Vec<_> = (0..ROWS_MAX).filter(|row| columns.iter().any(|column| column >> row & 1 == 1)).collect();
        prop_assert_eq!(repairs.len(), used.len());

        let mut decoder = FlexFecDecoder::new(MEDIA, &[STAMP]);
        decoder.handle_media(&sent[0]).unwrap();
        let media = sent.iter().zip(&lost).skip(1).filter(|(_, lost)| !**lost).map(|(packet, _)| (true, packet));
        let repair = repairs.iter().zip(&used).filter(|(_, row)| arrived[**row]).map(|((payload, _), _)| (false, payload));
        let mut events: Vec<_> = media.chain(repair).collect();
        let len = events.len().max(1);
        events.rotate_left(order as usize % len);
        for (is_media, bytes) in events {
            let done = if is_media { decoder.handle_media(bytes) } else { decoder.handle_repair(bytes) };
            prop_assert_eq!(done, Ok(()));
        }
        let missing = peel(&columns, &lost, &arrived);
        let mut restored = drain(&mut decoder);
        let mut expected: Vec<_> = (0..sent.len())
            .filter(|&place| lost[place] && !missing[place])
            .map(|place| unstamped(&sent[place]))
            .collect();
        restored.sort();
        expected.sort();
        // One that came after it had been restored counts among those restored.
        for packet in &expected {
            prop_assert!(restored.contains(packet));
        }
        let sent: Vec<_> = sent.iter().map(|packet| unstamped(packet)).collect();
        prop_assert!(restored.iter().all(|packet| sent.contains(packet)));
        prop_assert_eq!(decoder.stats().inconsistent, 0);
    }

    #[test]
    fn arbitrary_repairs_are_borne(payloads in vec(vec(any::<u8>(), 0..80), 0..40), flips in vec((0_usize..60, any::<u8>()), 0..40)) {
        let sent: Vec<_> = (500..510).map(|seq| packet(seq, 0, 30)).collect();
        let mut decoder = FlexFecDecoder::new(MEDIA, &[STAMP]);
        decoder.handle_media(&sent[0]).unwrap();
        let mut good = encode(&sent, &[1; 10], 1).remove(0).0;
        for payload in payloads {
            let _ = decoder.handle_repair(&payload);
        }
        for (at, flip) in flips {
            if let Some(byte) = good.get_mut(at) {
                *byte ^= flip;
            }
            let _ = decoder.handle_repair(&good);
            let _ = decoder.handle_media(&good);
            while let Some(packet) = decoder.poll_restored() {
                prop_assert!(packet.len() <= PACKET_MAX);
            }
        }
    }
}
