//! rtc-interceptor as the oracle: it restores from our repair packets, we restore from its.

use ::rtp::Packet;
use proptest::collection::vec;
use proptest::prelude::*;
use rtc_interceptor::{FlexFec03Decoder, FlexFec03Encoder};
use rtc_shared::marshal::{Marshal, Unmarshal};

use super::tests::{MEDIA, packet};
use super::*;

const REPAIR: u32 = 99;

fn theirs(bytes: &[u8]) -> Packet {
    Packet::unmarshal(&mut &bytes[..]).unwrap()
}

fn repair_packet(seq: u16, payload: &[u8]) -> Packet {
    let header = ::rtp::Header {
        version: 2,
        payload_type: 49,
        sequence_number: seq,
        ssrc: REPAIR,
        ..Default::default()
    };
    Packet { header, payload: payload.to_vec().into() }
}

fn sent(first: u16, lens: &[usize]) -> Vec<Vec<u8>> {
    let seqs = (0..lens.len()).map(|place| first.wrapping_add(place as u16));
    seqs.zip(lens).map(|(seq, &len)| packet(seq, 0, len)).collect()
}

proptest! {
    #[test]
    fn they_restore_from_our_repairs(first: u16, lens in vec(0_usize..1200, 2..60), lost: prop::sample::Index, columns in vec(1_u16..8, 60)) {
        let sent = sent(first, &lens);
        let lost = lost.index(sent.len());
        let mut encoder = FlexFecEncoder::new(MEDIA, &[]);
        encoder.start(3);
        for (packet, &column) in sent.iter().zip(&columns) {
            encoder.add(packet, Column(column)).unwrap();
        }
        let mut decoder = FlexFec03Decoder::new(REPAIR, MEDIA.0);
        for (_, packet) in sent.iter().enumerate().filter(|&(place, _)| place != lost) {
            decoder.decode(theirs(packet));
        }
        let (mut seq, mut payload, mut restored) = (0, Vec::new(), Vec::new());
        while encoder.poll_repair(&mut payload).is_some() {
            restored.extend(decoder.decode(repair_packet(seq, &payload)));
            payload.clear();
            seq += 1;
        }
        prop_assert_eq!(restored.len(), 1);
        prop_assert_eq!(&restored[0].marshal().unwrap()[..], &sent[lost][..]);
    }

    #[test]
    fn we_restore_from_their_repairs(first: u16, lens in vec(0_usize..1200, 2..100), lost: prop::sample::Index, rows in 1_u32..10) {
        let sent = sent(first, &lens);
        let lost = lost.index(sent.len());
        let packets: Vec<_> = sent.iter().map(|packet| theirs(packet)).collect();
        let repairs = FlexFec03Encoder::new(49, REPAIR).encode(&packets, rows);
        prop_assert!(!repairs.is_empty());
        let mut decoder = FlexFecDecoder::new(MEDIA, &[]);
        for (_, packet) in sent.iter().enumerate().filter(|&(place, _)| place != lost) {
            decoder.handle_media(packet).unwrap();
        }
        for repair in repairs {
            decoder.handle_repair(&repair.payload).unwrap();
        }
        prop_assert_eq!(decoder.poll_restored(), Some(&sent[lost][..]));
        prop_assert_eq!(decoder.poll_restored(), None);
    }
}
