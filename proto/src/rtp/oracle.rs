//! Properties with rtc-rtp as the oracle: it reads what we write, we read what it writes, and where both accept
//! arbitrary bytes they agree.
//!
//! Where they differ on purpose, rtc-rtp
//! - does not look at the version,
//! - takes a padding count of 0 for no padding,
//! - knows only the profile 0x1000 of two-byte extensions,
//! - reads an identifier of 0 with a length, and a value that leaves its block, and so goes on from the wrong place,
//! - after an identifier of 15 takes the rest of the block for payload: its header is shorter than on the wire.

use ::rtp::{Packet, header};
use proptest::collection::vec;
use proptest::prelude::*;
use rtc_shared::marshal::{Marshal, Unmarshal};

use super::*;

/// A packet as rtc-rtp reads it, and how long it takes the header to be.
fn theirs(bytes: &[u8]) -> Option<(Packet, usize)> {
    let mut rest = bytes;
    ::rtp::Header::unmarshal(&mut rest).ok()?;
    let packet = Packet::unmarshal(&mut &bytes[..]).ok()?;
    Some((packet, bytes.len() - rest.len()))
}

fn assert_same_fields(ours: &RtpView<'_>, theirs: &::rtp::Header) {
    assert_eq!(ours.payload_type().0, theirs.payload_type);
    assert_eq!(ours.marker(), theirs.marker);
    assert_eq!(ours.seq().0, theirs.sequence_number);
    assert_eq!(ours.timestamp(), theirs.timestamp);
    assert_eq!(ours.ssrc().0, theirs.ssrc);
    assert_eq!(ours.csrcs().map(|csrc| csrc.0).collect::<Vec<_>>(), theirs.csrc);
}

fn extensions_of(view: &RtpView<'_>) -> Vec<(u8, Vec<u8>)> {
    view.extensions().map(|(id, value)| (id.0, value.to_vec())).collect()
}

fn our_header() -> impl Strategy<Value = RtpHeader> {
    (0..128_u8, any::<bool>(), any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(payload_type, marker, seq, timestamp, ssrc)| RtpHeader {
            payload_type: PayloadType(payload_type),
            marker,
            seq: SeqNo(seq),
            timestamp,
            ssrc: Ssrc(ssrc),
        },
    )
}

/// Elements for the one-byte form, or for either.
fn elements() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    prop_oneof![
        vec((1..=14_u8, vec(any::<u8>(), 1..=16)), 0..5),
        vec((1..=255_u8, vec(any::<u8>(), 0..=40)), 0..5),
        vec((1..=255_u8, vec(any::<u8>(), 250..=255)), 0..3),
    ]
}

fn their_packet() -> impl Strategy<Value = Packet> {
    let fields = (our_header(), vec(any::<u32>(), 0..=15), any::<bool>(), vec(any::<u8>(), 0..60));
    (fields, prop::option::of((any::<bool>(), elements()))).prop_map(
        |((fields, csrc, padding, payload), extensions)| {
            let mut header = ::rtp::Header {
                version: 2,
                padding,
                marker: fields.marker,
                payload_type: fields.payload_type.0,
                sequence_number: fields.seq.0,
                timestamp: fields.timestamp,
                ssrc: fields.ssrc.0,
                csrc,
                ..Default::default()
            };
            if let Some((two_byte, mut elements)) = extensions {
                header.extension = true;
                header.extension_profile = if two_byte {
                    header::EXTENSION_PROFILE_TWO_BYTE
                } else {
                    header::EXTENSION_PROFILE_ONE_BYTE
                };
                if !two_byte {
                    elements.retain(|(id, value)| *id <= 14 && (1..=16).contains(&value.len()));
                }
                header.extensions = elements
                    .into_iter()
                    .map(|(id, value)| header::Extension { id, payload: value.into() })
                    .collect();
            }
            Packet { header, payload: payload.into() }
        },
    )
}

/// Bytes that are close to a packet: the lengths in them are small, and the profiles often known.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let profile = prop_oneof![Just(0xbede_u16), Just(0x1000), Just(0x1003), any::<u16>()];
    let element_byte = prop_oneof![any::<u8>(), 0..4_u8, Just(0x10), Just(0x21), Just(0xf0)];
    (
        any::<u8>(),
        0..4_u8,
        vec(any::<u8>(), 11),
        vec(any::<u8>(), 12),
        profile,
        0..6_u16,
        vec(element_byte, 0..40),
    )
        .prop_map(|(first, csrcs, fixed, csrc, profile, words, behind)| {
            let mut bytes = vec![0x80 | first & 0x30 | csrcs];
            bytes.extend(fixed);
            bytes.extend(&csrc[..4 * usize::from(csrcs)]);
            if first & 0x10 != 0 {
                bytes.extend(profile.to_be_bytes());
                bytes.extend(words.to_be_bytes());
            }
            bytes.extend(behind);
            bytes
        })
}

proptest! {
    #[test]
    fn what_we_write_they_read(header in our_header(), elements in elements(), payload in vec(any::<u8>(), 0..60)) {
        let mut bytes = Vec::new();
        let borrowed: Vec<_> =
            elements.iter().map(|(id, value)| (ExtensionId(*id), &value[..])).collect();
        header.write(&borrowed, &mut bytes);
        let header_len = bytes.len();
        bytes.extend(&payload);

        let (packet, their_len) = theirs(&bytes).expect("they read it");
        let view = RtpView::parse(&bytes).expect("we read it");
        prop_assert_eq!((view.header_len(), their_len), (header_len, header_len));
        prop_assert_eq!((view.payload(), &packet.payload[..]), (&payload[..], &payload[..]));
        assert_same_fields(&view, &packet.header);
        let read = packet.header.extensions.iter().map(|element| (element.id, element.payload.to_vec()));
        prop_assert_eq!(read.collect::<Vec<_>>(), elements.clone());
        prop_assert_eq!(extensions_of(&view), elements);
        prop_assert_eq!(
            (view.payload_type(), view.marker(), view.seq(), view.timestamp(), view.ssrc()),
            (header.payload_type, header.marker, header.seq, header.timestamp, header.ssrc)
        );
    }

    #[test]
    fn what_they_write_we_read(packet in their_packet()) {
        let bytes = packet.marshal().expect("they write it");
        let view = RtpView::parse(&bytes).expect("we read it");
        assert_same_fields(&view, &packet.header);
        prop_assert_eq!(view.payload(), &packet.payload[..]);
        prop_assert_eq!(view.padding_len() > 0, packet.header.padding);
        prop_assert_eq!(view.header_len() + packet.payload.len() + view.padding_len(), bytes.len());
        let written = packet.header.extensions.iter().map(|element| (element.id, element.payload.to_vec()));
        prop_assert_eq!(extensions_of(&view), written.collect::<Vec<_>>());
    }

    #[test]
    fn where_both_read_bytes_they_agree(bytes in nearly_a_packet()) {
        let (Ok(view), Some((packet, their_len))) = (RtpView::parse(&bytes), theirs(&bytes)) else {
            return Ok(());
        };
        assert_same_fields(&view, &packet.header);
        let header = &packet.header;
        let known = [header::EXTENSION_PROFILE_ONE_BYTE, header::EXTENSION_PROFILE_TWO_BYTE];
        if header.extension && !known.contains(&header.extension_profile) {
            prop_assert!(header.extension_profile & 0xfff0 == 0x1000 || view.extensions().count() == 0);
        } else {
            // Theirs go on where ours stop; as far as ours go, they are the same.
            let ours = extensions_of(&view);
            let read: Vec<_> =
                header.extensions.iter().map(|element| (element.id, element.payload.to_vec())).collect();
            prop_assert!(read.starts_with(&ours), "{:?} but {:?}", ours, read);
            if ours.len() < read.len() {
                let next = &read[ours.len()];
                prop_assert!(next.0 == 0 || their_len > view.header_len(), "{:?} is missing", next);
            }
        }
        if their_len == view.header_len() {
            prop_assert_eq!(view.payload(), &packet.payload[..]);
        } else {
            // They stopped at identifier 15, or ran out of the block.
            prop_assert!(header.extension);
        }
    }

    #[test]
    fn lengths_always_add_up(bytes in prop_oneof![nearly_a_packet(), vec(any::<u8>(), 0..80)]) {
        if let Ok(view) = RtpView::parse(&bytes) {
            prop_assert_eq!(view.header_len() + view.payload().len() + view.padding_len(), bytes.len());
            let csrcs = usize::from(bytes[0] & 15);
            let extension = if bytes[0] & 0x10 == 0 {
                0
            } else {
                let at = 12 + 4 * csrcs + 2;
                4 + 4 * usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
            };
            prop_assert_eq!(view.header_len(), 12 + 4 * csrcs + extension, "always from the wire");
            let values: usize = view.extensions().map(|(_, value)| value.len() + 1).sum();
            prop_assert!(values <= extension);
        }
        let protected = RtpView::parse_protected(&bytes);
        prop_assert!(protected.is_ok() || RtpView::parse(&bytes).is_err());
    }
}

/// The defects of rtc-rtp that our regression rows are about, so that we notice when they are mended.
#[test]
fn the_oracle_still_differs_where_we_say() {
    let early_stop =
        [0x90, 0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xbe, 0xde, 0, 2, 0x10, 7, 0xf0, 0, 0, 0, 0, 0];
    let (_, their_len) = theirs(&early_stop).expect("they read it");
    assert_eq!(their_len, 19, "on the wire it is 24");
    let mut lying = early_stop[..20].to_vec();
    lying[15] = 1;
    lying[16..].copy_from_slice(&[0x1f, 0, 0, 0]);
    assert!(theirs(&lying).is_none(), "they refuse the packet, we the element");
    assert!(RtpView::parse(&lying).is_ok());
}
