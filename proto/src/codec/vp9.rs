//! VP9: the payload descriptor and the uncompressed header (RFC 9628 §4.2; VP9 bitstream §6.2, §7.2).
//!
//! In: an RTP payload. Out: facts of it. Time: none. Limit: the payload's length.

use super::Temporal;
use super::bits::{BitReader, Escapes};
use super::picture_id::{PictureIdField, PictureIds, Tl0Field};

const SYNC_CODE: u32 = 0x49_83_42;
const COLOR_SPACE_RGB: u32 = 7;

/// The first packet of a key frame.
struct KeyFrame<'a> {
    /// The size that the scalability structure states for the highest spatial layer.
    size: Option<(u32, u32)>,
    /// The VP9 bytes after the descriptor; not empty.
    frame: &'a [u8],
}

/// The descriptor up to the ids: all that rewriting looks at.
struct Head {
    flags: u8,
    ids: PictureIds,
    spatial_layer: u8,
    temporal: Option<Temporal>,
    length: usize,
}

/// Where the payload's ids are; `None` if the descriptor is cut short.
pub(super) fn picture_ids(payload: &[u8]) -> Option<PictureIds> {
    parse_head(payload).map(|head| head.ids)
}

/// The picture's temporal layer, if the descriptor has layer indices.
pub(super) fn temporal(payload: &[u8]) -> Option<Temporal> {
    parse_head(payload)?.temporal
}

/// Whether a picture begins here, at spatial layer 0, that leans on no other picture.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    key_frame(payload).is_some()
}

/// The size of the highest spatial layer if the scalability structure is there and says it, else the frame's own.
pub(super) fn picture_size(payload: &[u8]) -> Option<(u32, u32)> {
    let key = key_frame(payload)?;
    key.size.or_else(|| frame_size(key.frame))
}

fn key_frame(payload: &[u8]) -> Option<KeyFrame<'_>> {
    let head = parse_head(payload)?;
    let (inter, starts, structured) = (head.flags & 0x40, head.flags & 0x08, head.flags & 0x02); // P, B, V
    if inter != 0 || starts == 0 || head.spatial_layer != 0 {
        return None;
    }
    let rest = payload.get(head.length..)?; // P_DIFFs would come first, but only inter pictures have them
    let (size, frame) = if structured != 0 { parse_structure(rest)? } else { (None, rest) };
    (!frame.is_empty()).then_some(KeyFrame { size, frame })
}

fn parse_head(payload: &[u8]) -> Option<Head> {
    let flags = *payload.first()?;
    let mut head = Head { flags, ids: PictureIds::default(), spatial_layer: 0, temporal: None, length: 1 };
    if flags & 0x80 != 0 {
        let picture = PictureIdField::parse(payload, head.length)?;
        head.length += picture.width();
        head.ids.picture = Some(picture);
    }
    if flags & 0x20 != 0 {
        let byte = *payload.get(head.length)?; // T, U, S, D
        head.spatial_layer = byte >> 1 & 0x07;
        head.temporal = Some(Temporal { layer: byte >> 5, joins: byte & 0x10 != 0 });
        head.length += 1;
        if flags & 0x10 == 0 {
            head.ids.tl0 = Some(Tl0Field::parse(payload, head.length)?);
            head.length += 1;
        }
    }
    Some(head)
}

/// The highest layer's size, if stated, and what follows the scalability structure.
type Structure<'a> = (Option<(u32, u32)>, &'a [u8]);

fn parse_structure(bytes: &[u8]) -> Option<Structure<'_>> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut size = None;
    if first & 0x10 != 0 {
        let layers = usize::from(first >> 5) + 1;
        let (sizes, after) = rest.split_at_checked(layers * 4)?;
        let &[w1, w0, h1, h0] = sizes.last_chunk()?;
        size = sane(u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
        rest = after;
    }
    if first & 0x08 != 0 {
        let (&pictures, mut after) = rest.split_first()?;
        for _ in 0..pictures {
            let references = usize::from(after.first()? >> 2 & 0x03);
            after = after.get(1 + references..)?;
        }
        rest = after;
    }
    Some((size, rest))
}

fn sane(width: u32, height: u32) -> Option<(u32, u32)> {
    (width > 0 && height > 0).then_some((width, height))
}

/// Width and height from a key frame's uncompressed header.
fn frame_size(frame: &[u8]) -> Option<(u32, u32)> {
    let mut reader = BitReader::new(frame, Escapes::None);
    let marker = reader.bits(2)?;
    let profile = reader.bits(1)? | reader.bits(1)? << 1;
    if marker != 2 || (profile == 3 && reader.flag()?) {
        return None;
    }
    let shows_existing = reader.flag()?;
    let inter = reader.flag()?;
    reader.skip(2)?; // show_frame, error_resilient_mode
    if shows_existing || inter || reader.bits(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        reader.skip(1)?; // ten_or_twelve_bit
    }
    let odd_profile = profile % 2 == 1;
    if reader.bits(3)? != COLOR_SPACE_RGB {
        reader.skip(if odd_profile { 4 } else { 1 })?; // color_range; subsampling_x, subsampling_y, reserved
    } else if odd_profile {
        reader.skip(1)?; // reserved
    } else {
        return None; // RGB is for 4:4:4 profiles only
    }
    Some((reader.bits(16)? + 1, reader.bits(16)? + 1))
}

#[cfg(test)]
mod tests {
    use super::super::bits::tests::BitWriter;
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codec::vp9::Vp9Packet;
    use rtp::packetizer::Depacketizer;

    /// The uncompressed header of a key frame of 640 x 360 in `profile` and `color_space`.
    fn header(profile: u64, color_space: u64) -> Vec<u8> {
        let header = BitWriter::default().bits(2, 2).bits(1, profile & 1).bits(1, profile >> 1);
        let header = if profile == 3 { header.bits(1, 0) } else { header };
        let header = header.bits(4, 0b0010).bits(24, SYNC_CODE.into());
        let header = if profile >= 2 { header.bits(1, 1) } else { header };
        let header = header.bits(3, color_space);
        let header = match (color_space, profile % 2) {
            (7, 0) => header,
            (7, _) => header.bits(1, 0),
            (_, 0) => header.bits(1, 1),
            (_, _) => header.bits(4, 0b1000),
        };
        header.bits(16, 639).bits(16, 359).finish()
    }

    #[test]
    fn a_key_frame_starts_at_spatial_layer_0_of_a_picture_without_references() {
        let key = header(0, 2);
        let own = Some((640, 360));
        for (name, descriptor, starts, size) in [
            ("flexible", &[0x98, 0x92, 0x34][..], true, own),
            ("flexible, 7-bit id, end of frame too", &[0x9c, 0x12], true, own),
            ("flexible with layer indices", &[0xb8, 0x92, 0x34, 0x00], true, own),
            ("non-flexible with TL0PICIDX", &[0xa8, 0x92, 0x34, 0x10, 0x07], true, own),
            ("non-flexible without layers or id", &[0x08], true, own),
            ("upper spatial layer of a key picture", &[0xa8, 0x92, 0x34, 0x03, 0x07], false, None),
            ("middle of a frame", &[0xa0, 0x92, 0x34, 0x00, 0x07], false, None),
            ("inter, non-flexible", &[0xe8, 0x92, 0x34, 0x00, 0x07], false, None),
            ("inter, flexible", &[0xd8, 0x92, 0x34, 0x02], false, None),
            ("inter, three references", &[0xd8, 0x92, 0x34, 0x03, 0x05, 0x06], false, None),
            ("structure with one size", &[0x8a, 0x12, 0x10, 5, 0, 2, 208], true, Some((1280, 720))),
            ("structure with two sizes", &[0x8a, 0x12, 0x30, 1, 64, 0, 180, 2, 128, 1, 104], true, own),
            ("structure without size", &[0x8a, 0x12, 0x00], true, own),
            ("structure with a size of zero", &[0x8a, 0x12, 0x10, 0, 0, 2, 208], true, own),
            (
                "structure with picture group",
                &[0xaa, 0x92, 0x34, 0x00, 0x07, 0x18, 5, 0, 2, 208, 2, 0x04, 1, 0x58, 1, 2],
                true,
                Some((1280, 720)),
            ),
            ("picture group longer than the packet", &[0x8a, 0x12, 0x08, 255], false, None),
        ] {
            let payload = [descriptor, &key].concat();
            assert_eq!(starts_key_frame(&payload), starts, "{name}");
            assert_eq!(picture_size(&payload), size, "{name}");
        }
    }

    #[test]
    fn a_descriptor_that_is_cut_short_starts_nothing() {
        let descriptor = [0xaa, 0x92, 0x34, 0x00, 0x07, 0x18, 5, 0, 2, 208, 2, 0x04, 1, 0x58, 1, 2];
        for length in 0..=descriptor.len() {
            assert!(!starts_key_frame(&descriptor[..length]), "{length} bytes");
            assert_eq!(picture_size(&descriptor[..length]), None, "{length} bytes");
        }
        assert!(starts_key_frame(&[&descriptor[..], &[0x82]].concat()), "with one byte of frame");
    }

    #[test]
    fn the_uncompressed_header_is_read_in_every_profile() {
        for (profile, color_space, readable) in [
            (0, 2, true),
            (1, 2, true),
            (1, 7, true),
            (2, 1, true),
            (3, 2, true),
            (3, 7, true),
            (0, 7, false),
            (2, 7, false),
        ] {
            let frame = header(profile, color_space);
            let size = readable.then_some((640, 360));
            assert_eq!(frame_size(&frame), size, "profile {profile}, color space {color_space}");
            assert_eq!(
                frame_size(&frame[..7]),
                None,
                "cut short: profile {profile}, color space {color_space}"
            );
        }
        for (name, at, bits) in [
            ("frame marker", 0, 0x40),
            ("shows an existing frame", 0, 0x08),
            ("inter frame", 0, 0x04),
            ("sync code", 2, 0x01),
        ] {
            let mut frame = header(0, 2);
            frame[at] ^= bits;
            assert_eq!(frame_size(&frame), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_descriptor_reads_as_rtc_rtp_reads_it(payload in prop::collection::vec(any::<u8>(), 1..40)) {
            let mut oracle = Vp9Packet::default();
            let Ok(frame) = oracle.depacketize(&Bytes::copy_from_slice(&payload)) else { return Ok(()) };
            let head = parse_head(&payload).expect("the oracle read it");
            prop_assert_eq!(head.ids.picture.map(|field| field.id), oracle.i.then_some(oracle.picture_id));
            let tl0 = (oracle.l && !oracle.f).then_some(oracle.tl0picidx);
            prop_assert_eq!(head.ids.tl0.map(|field| field.index), tl0);
            // The oracle takes two reserved bits of the structure for its G bit: ask it about others only.
            if oracle.v && !oracle.p && payload[head.length] & 0x06 != 0 {
                return Ok(());
            }
            let key = key_frame(&payload);
            let starts = !oracle.p && oracle.b && oracle.sid == 0 && !frame.is_empty();
            prop_assert_eq!(key.is_some(), starts);
            let Some(key) = key else { return Ok(()) };
            prop_assert_eq!(key.frame, &frame[..]);
            let size = oracle.width.last().zip(oracle.height.last());
            let size = size.map(|(&width, &height)| (u32::from(width), u32::from(height)));
            prop_assert_eq!(key.size, size.filter(|&(width, height)| width > 0 && height > 0));
        }
    }
}
