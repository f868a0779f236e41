//! VP8: the payload descriptor and the key frame's header (RFC 7741 §4.2, §4.3; RFC 6386 §9.1).
//!
//! In: an RTP payload. Out: facts of it. Time: none. Limit: a descriptor is at most six bytes.

use super::Temporal;
use super::picture_id::{PictureIdField, PictureIds, Tl0Field};

/// What the descriptor says and the VP8 bytes after it.
struct Vp8<'a> {
    starts_frame: bool,
    ids: PictureIds,
    temporal: Option<Temporal>,
    frame: &'a [u8],
}

/// Where the payload's ids are; `None` if the descriptor is cut short.
pub(super) fn picture_ids(payload: &[u8]) -> Option<PictureIds> {
    parse(payload).map(|vp8| vp8.ids)
}

/// The picture's temporal layer, if the descriptor has it.
pub(super) fn temporal(payload: &[u8]) -> Option<Temporal> {
    parse(payload)?.temporal
}

/// Whether the frame that begins with this packet, if one does, is a key frame.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    key_frame(payload).is_some()
}

/// Width and height of the key frame, before its header's hint of scaling.
pub(super) fn picture_size(payload: &[u8]) -> Option<(u32, u32)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, size @ ..] = key_frame(payload)? else { return None };
    let [width_low, width_high, height_low, height_high, ..] = *size else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff); // two bits are the scaling
    let (width, height) = (side(width_low, width_high), side(height_low, height_high));
    (width > 0 && height > 0).then_some((width, height))
}

fn key_frame(payload: &[u8]) -> Option<&[u8]> {
    let vp8 = parse(payload)?;
    let inter = vp8.frame.first()? & 0x01 != 0; // P: the frame leans on others
    (vp8.starts_frame && !inter).then_some(vp8.frame)
}

fn parse(payload: &[u8]) -> Option<Vp8<'_>> {
    let first = *payload.first()?;
    let starts_frame = first & 0x17 == 0x10; // S=1, PID=0
    let mut at = 1;
    let (mut ids, mut temporal) = (PictureIds::default(), None);
    if first & 0x80 != 0 {
        let present = *payload.get(at)?;
        at += 1;
        if present & 0x80 != 0 {
            let picture = PictureIdField::parse(payload, at)?;
            at += picture.width();
            ids.picture = Some(picture);
        }
        if present & 0x40 != 0 {
            ids.tl0 = Some(Tl0Field::parse(payload, at)?);
            at += 1;
        }
        if present & 0x30 != 0 {
            let byte = *payload.get(at)?; // TID, Y, KEYIDX
            let own = Temporal { layer: byte >> 6, joins: byte & 0x20 != 0 };
            temporal = (present & 0x20 != 0).then_some(own);
            at += 1;
        }
    }
    Some(Vp8 { starts_frame, ids, temporal, frame: payload.get(at..)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codec::vp8::Vp8Packet;
    use rtp::packetizer::Depacketizer;

    /// A key frame's first bytes: 640 x 360, with scaling bits that are not part of the size.
    const KEY: [u8; 10] = [0x50, 0x2a, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0x68, 0x81];
    const SIZE: Option<(u32, u32)> = Some((640, 360));

    #[test]
    fn a_key_frame_starts_where_the_first_partition_of_an_intra_frame_does() {
        for (name, descriptor, frame, starts, size) in [
            ("bare descriptor", &[0x10][..], &KEY[..], true, SIZE),
            ("extended, nothing present", &[0x90, 0x00], &KEY, true, SIZE),
            ("7-bit picture id", &[0x90, 0x80, 0x11], &KEY, true, SIZE),
            ("15-bit picture id", &[0x90, 0x80, 0x91, 0x22], &KEY, true, SIZE),
            ("picture id and TL0PICIDX and TID", &[0x90, 0xe0, 0x91, 0x22, 0x33, 0x20], &KEY, true, SIZE),
            ("KEYIDX alone", &[0x90, 0x10, 0x01], &KEY, true, SIZE),
            ("TL0PICIDX alone", &[0x90, 0x40, 0x01], &KEY, true, SIZE),
            ("non-reference and reserved bits", &[0x78], &KEY, true, SIZE),
            ("header only, no size", &[0x10], &KEY[..3], true, None),
            ("one byte of frame", &[0x10], &KEY[..1], true, None),
            ("size cut short", &[0x10], &KEY[..9], true, None),
            ("start code wrong", &[0x10], &[0x50, 0, 0, 0x9d, 0x01, 0x2b, 0x80, 2, 0x68, 1], true, None),
            ("size of zero", &[0x10], &[0x50, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0, 0x40], true, None),
            ("inter frame", &[0x10], &[0x51, 0x2a, 0x00, 0x9d, 0x01, 0x2a, 0x80, 2, 0x68, 1], false, None),
            ("continuation", &[0x00], &KEY, false, None),
            ("second partition", &[0x11], &KEY, false, None),
            ("highest partition", &[0x17], &KEY, false, None),
            ("descriptor without frame", &[0x90, 0x80, 0x91, 0x22], &[], false, None),
            ("picture id cut short", &[0x90, 0x80, 0x91], &[], false, None),
            ("extension cut short", &[0x90], &[], false, None),
            ("nothing", &[], &[], false, None),
        ] {
            let payload = [descriptor, frame].concat();
            assert_eq!(starts_key_frame(&payload), starts, "{name}");
            assert_eq!(picture_size(&payload), size, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_descriptor_reads_as_rtc_rtp_reads_it(payload in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut oracle = Vp8Packet::default();
            let Ok(frame) = oracle.depacketize(&Bytes::copy_from_slice(&payload)) else { return Ok(()) };
            let ours = parse(&payload).expect("the oracle read it");
            prop_assert_eq!(ours.frame, &frame[..]);
            prop_assert_eq!(ours.starts_frame, oracle.s == 1 && oracle.pid == 0);
            let picture = (oracle.i == 1).then_some(oracle.picture_id);
            prop_assert_eq!(ours.ids.picture.map(|field| field.id), picture);
            let tl0 = (oracle.l == 1).then_some(oracle.tl0_pic_idx);
            prop_assert_eq!(ours.ids.tl0.map(|field| field.index), tl0);
            let layer = (oracle.t == 1).then_some((oracle.tid, oracle.y == 1));
            prop_assert_eq!(ours.temporal.map(|own| (own.layer, own.joins)), layer);
            prop_assert_eq!(starts_key_frame(&payload), oracle.s == 1 && oracle.pid == 0 && frame[0] & 1 == 0);
        }
    }
}
