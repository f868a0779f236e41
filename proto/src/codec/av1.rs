//! AV1: the aggregation header, its OBU elements and the sequence header (AV1 RTP §4.4, §4.5; AV1 §5.3 to §5.9).
//!
//! In: an RTP payload. Out: facts of it. Time: none. Limit: the payload's length; `LEB128_MAX`.

use super::bits::{BitReader, Escapes};

const LEB128_MAX: usize = 8; // bytes of a length (AV1 §4.10.5)
const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// Whether a coded video sequence begins here: its sequence header is in the packet, and N or a key frame's header too.
///
/// N alone is not enough, a decoder could not start; nor is a sequence header, which may be repeated before any frame.
/// A sender that leaves N out is believed when the frame's header is in the same packet.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    let Some(&aggregation) = payload.first() else { return false };
    let (continues, new_sequence) = (aggregation & 0x80 != 0, aggregation & 0x08 != 0);
    // Z: the first element is the rest of an OBU, so the frame has begun before.
    if continues || sequence_header(payload).is_none() {
        return false;
    }
    new_sequence || obus(payload).any(|obu| is_key_frame(&obu))
}

/// The largest width and height that the sequence header allows a frame.
pub(super) fn picture_size(payload: &[u8]) -> Option<(u32, u32)> {
    if !starts_key_frame(payload) {
        return None;
    }
    sequence_size(sequence_header(payload)?)
}

/// An OBU that begins in the packet.
struct Obu<'a> {
    kind: u8,
    /// What follows the OBU's header, as far as the packet goes.
    body: &'a [u8],
}

fn sequence_header(payload: &[u8]) -> Option<&[u8]> {
    obus(payload).find(|obu| obu.kind == SEQUENCE_HEADER).map(|obu| obu.body)
}

/// `show_existing_frame` is 0 and `frame_type` is `KEY_FRAME`; still pictures' reduced headers, which nobody sends in
/// a call, do not begin so.
fn is_key_frame(obu: &Obu<'_>) -> bool {
    matches!(obu.kind, FRAME_HEADER | FRAME) && obu.body.first().is_some_and(|byte| byte & 0xe0 == 0)
}

/// The OBUs that begin in a packet without Z, until the first one that is cut short.
fn obus(payload: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let elements = Elements {
        rest: payload.get(1..).unwrap_or_default(),
        unsized_in: match payload.first().map_or(0, |aggregation| aggregation >> 4 & 0x03) {
            0 => None,
            count => Some(count - 1),
        },
    };
    elements.filter_map(parse_obu)
}

/// The elements of a packet: OBUs, but for the first and the last, which may be fragments.
struct Elements<'a> {
    rest: &'a [u8],
    /// How many elements come before the one without a length; `None` if all have one (W = 0).
    unsized_in: Option<u8>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        if self.unsized_in == Some(0) {
            return Some(std::mem::take(&mut self.rest));
        }
        self.unsized_in = self.unsized_in.map(|count| count - 1);
        let (length, after) = leb128(self.rest)?;
        let (element, rest) = after.split_at_checked(length)?;
        self.rest = rest;
        Some(element)
    }
}

/// `None` for an empty element and for one whose header is cut short.
fn parse_obu(element: &[u8]) -> Option<Obu<'_>> {
    let (&header, mut body) = element.split_first()?;
    if header & 0x04 != 0 {
        body = body.get(1..)?; // temporal and spatial id
    }
    if header & 0x02 != 0 {
        (_, body) = leb128(body)?; // a size, which RTP senders should leave out; the rest may be in the next packet
    }
    Some(Obu { kind: header >> 3 & 0x0f, body })
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for (place, &byte) in bytes.iter().take(LEB128_MAX).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(number).ok()?, &bytes[place + 1..]));
        }
    }
    None
}

/// `max_frame_width` and `max_frame_height` from what follows a sequence header's OBU header (AV1 §5.5.1).
fn sequence_size(header: &[u8]) -> Option<(u32, u32)> {
    let mut reader = BitReader::new(header, Escapes::None);
    reader.skip(4)?; // seq_profile, still_picture
    if reader.flag()? {
        reader.skip(5)?; // reduced_still_picture_header: seq_level_idx
    } else {
        skip_operating_points(&mut reader)?;
    }
    let (width_bits, height_bits) = (reader.bits(4)? + 1, reader.bits(4)? + 1);
    Some((reader.bits(width_bits)? + 1, reader.bits(height_bits)? + 1))
}

fn skip_operating_points(reader: &mut BitReader<'_>) -> Option<()> {
    let mut delay_bits = None; // decoder_model_info_present_flag, and how long its delays are
    if reader.flag()? {
        reader.skip(64)?; // timing_info: num_units_in_display_tick, time_scale
        if reader.flag()? {
            reader.exp_golomb()?; // num_ticks_per_picture_minus_1
        }
        if reader.flag()? {
            delay_bits = Some(reader.bits(5)? + 1);
            reader.skip(32 + 5 + 5)?; // num_units_in_decoding_tick and two lengths
        }
    }
    let display_delays = reader.flag()?;
    let points = reader.bits(5)? + 1;
    for _ in 0..points {
        reader.skip(12)?; // operating_point_idc
        if reader.bits(5)? > 7 {
            reader.skip(1)?; // seq_tier, from level 4.0 on
        }
        if let Some(bits) = delay_bits
            && reader.flag()?
        {
            reader.skip(2 * bits + 1)?; // two buffer delays, low_delay_mode_flag
        }
        if display_delays && reader.flag()? {
            reader.skip(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::bits::tests::BitWriter;
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codec::av1::{Av1Depacketizer, Av1Payloader};
    use rtp::packetizer::{Depacketizer, Payloader};

    /// A sequence header OBU by libaom, 960 x 540, without a size.
    const SEQUENCE: [u8; 12] = [0x08, 0x00, 0x00, 0x00, 0x24, 0xcf, 0x7f, 0x0d, 0xbf, 0xff, 0x30, 0x08];
    const SIZE: Option<(u32, u32)> = Some((960, 540));
    const KEY_FRAME: [u8; 4] = [0x30, 0x10, 0xaa, 0xbb];
    const INTER_FRAME: [u8; 4] = [0x30, 0x30, 0xaa, 0xbb];

    /// A packet of `elements`: all with their lengths, but the last one if W says how many there are.
    fn packet(aggregation: u8, elements: &[&[u8]]) -> Vec<u8> {
        let count = usize::from(aggregation >> 4 & 3);
        let mut packet = vec![aggregation];
        for (place, element) in elements.iter().enumerate() {
            if place + 1 != count {
                packet.push(element.len() as u8);
            }
            packet.extend_from_slice(element);
        }
        packet
    }

    #[test]
    fn a_key_frame_starts_where_a_coded_video_sequence_does() {
        let sized = [&[0x0a, 11], &SEQUENCE[1..]].concat();
        let extended = [&[0x0c, 0x00], &SEQUENCE[1..]].concat();
        let delimiter = [0x10];
        for (name, payload, starts, size) in [
            ("W=1", packet(0x18, &[&SEQUENCE]), true, SIZE),
            ("W=2", packet(0x28, &[&SEQUENCE, &KEY_FRAME]), true, SIZE),
            ("W=3", packet(0x38, &[&delimiter, &SEQUENCE, &KEY_FRAME]), true, SIZE),
            ("W=0", packet(0x08, &[&SEQUENCE, &KEY_FRAME]), true, SIZE),
            (
                "W=0 with four elements",
                packet(0x08, &[&delimiter, &[0x28, 1], &SEQUENCE, &KEY_FRAME]),
                true,
                SIZE,
            ),
            ("Y: the frame goes on", packet(0x68, &[&SEQUENCE, &KEY_FRAME[..2]]), true, SIZE),
            ("Y: the sequence header goes on", packet(0x58, &[&SEQUENCE[..6]]), true, None),
            ("OBU with a size", packet(0x28, &[&sized, &KEY_FRAME]), true, SIZE),
            ("OBU with an extension", packet(0x28, &[&extended, &KEY_FRAME]), true, SIZE),
            ("empty element first", packet(0x28, &[&[], &SEQUENCE]), true, SIZE),
            ("W says more than there are", packet(0x38, &[&SEQUENCE, &KEY_FRAME]), true, SIZE),
            ("N missing, key frame in sight", packet(0x20, &[&SEQUENCE, &KEY_FRAME]), true, SIZE),
            ("N missing, inter frame", packet(0x20, &[&SEQUENCE, &INTER_FRAME]), false, None),
            ("N missing, frame out of sight", packet(0x10, &[&SEQUENCE]), false, None),
            ("N without sequence header", packet(0x18, &[&KEY_FRAME]), false, None),
            ("Z: the first OBU is a fragment", packet(0x98, &[&SEQUENCE]), false, None),
            ("Z and N contradict", packet(0xa8, &[&[1, 2, 3], &SEQUENCE]), false, None),
            ("inter frame", packet(0x10, &[&INTER_FRAME]), false, None),
            ("key frame alone", packet(0x10, &[&KEY_FRAME]), false, None),
            ("length beyond the packet", vec![0x08, 13, 0x08, 0, 0], false, None),
            (
                "length without end",
                vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
                false,
                None,
            ),
            (
                "longest length",
                [&[0x08, 0x8c, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0][..], &SEQUENCE].concat(),
                true,
                SIZE,
            ),
            ("extension cut short", packet(0x18, &[&[0x0c]]), false, None),
            ("aggregation header only", vec![0x18], false, None),
            ("nothing", vec![], false, None),
        ] {
            assert_eq!(starts_key_frame(&payload), starts, "{name}");
            assert_eq!(picture_size(&payload), size, "{name}");
        }
    }

    #[test]
    fn the_size_is_read_from_every_form_of_sequence_header() {
        let ended =
            |head: BitWriter| head.bits(4, 9).bits(4, 8).bits(10, 639).bits(9, 359).bits(30, 0).finish();
        let start = || BitWriter::default().bits(3, 0).bits(1, 0);
        let timing = |more: u64| start().bits(2, 0b01).bits(32, 1001).bits(32, 30_000).bits(1, more);
        let model = || timing(0).bits(1, 1).bits(5, 9).bits(32, 90_000).bits(5, 3).bits(5, 4);
        for (name, header) in [
            ("one operating point", start().bits(3, 0).bits(5, 0).bits(12, 0).bits(5, 7)),
            ("level with a tier", start().bits(3, 0).bits(5, 0).bits(12, 0).bits(5, 8).bits(1, 1)),
            ("reduced", start().bits(1, 1).bits(5, 31)),
            (
                "three operating points",
                (0..3).fold(start().bits(3, 0).bits(5, 2), |bits, point| bits.bits(12, point).bits(5, 5)),
            ),
            (
                "display delays",
                start().bits(3, 1).bits(5, 1).bits(17, 3).bits(1, 1).bits(4, 9).bits(17, 2).bits(1, 0),
            ),
            ("timing", timing(0).bits(2, 0).bits(5, 0).bits(17, 4)),
            ("timing at equal intervals", timing(1).exp_golomb(70_000).bits(2, 0).bits(5, 0).bits(17, 4)),
            (
                "decoder model",
                model()
                    .bits(1, 0)
                    .bits(5, 1)
                    .bits(17, 4)
                    .bits(1, 1)
                    .bits(21, 0xf_f0f0)
                    .bits(17, 4)
                    .bits(1, 0),
            ),
        ] {
            let header = ended(header);
            assert_eq!(sequence_size(&header), Some((640, 360)), "{name}");
            for length in 0..header.len() - 5 {
                assert_eq!(sequence_size(&header[..length]), None, "{name}, cut to {length} bytes");
            }
        }
        let smallest = start().bits(1, 1).bits(5, 0).bits(4, 0).bits(4, 0).bits(2, 0).finish();
        assert_eq!(sequence_size(&smallest), Some((1, 1)));
        let largest = start().bits(1, 1).bits(5, 0).bits(8, 0xff).bits(32, 0xffff_ffff).finish();
        assert_eq!(sequence_size(&largest), Some((65_536, 65_536)));
    }

    /// The same OBU as a file has it: with its size.
    fn with_size(obu: &[u8]) -> Vec<u8> {
        let mut size = obu.len() - 1;
        let mut sized = vec![obu[0] | 0x02];
        while size > 0x7f {
            sized.push(size as u8 | 0x80);
            size >>= 7;
        }
        sized.push(size as u8);
        sized.extend_from_slice(&obu[1..]);
        sized
    }

    proptest! {
        #[test]
        fn rtc_rtps_first_packet_of_a_sequence_starts_it_and_no_other_does(
            frame in prop::collection::vec(any::<u8>(), 0..5000), mtu in 40_usize..1200,
        ) {
            let key = [&KEY_FRAME[..], &frame].concat();
            let unit = [with_size(&[0x10]), with_size(&SEQUENCE), with_size(&key)].concat();
            let packets = Av1Payloader::default().payload(mtu, &unit.into()).expect("a temporal unit");
            for (place, packet) in packets.iter().enumerate() {
                prop_assert_eq!(starts_key_frame(packet), place == 0, "packet {}", place);
                prop_assert_eq!(picture_size(packet), SIZE.filter(|_| place == 0), "packet {}", place);
            }
            let inter = [&INTER_FRAME[..], &frame].concat();
            for packet in Av1Payloader::default().payload(mtu, &with_size(&inter).into()).expect("a frame") {
                prop_assert!(!starts_key_frame(&packet));
            }
        }

        #[test]
        fn elements_read_as_rtc_rtp_reads_them(
            bodies in prop::collection::vec((3_u8..8, prop::collection::vec(any::<u8>(), 1..120)), 1..4),
            counted in any::<bool>(),
        ) {
            let obus_in: Vec<Vec<u8>> = bodies.iter().map(|(kind, body)| [&[kind << 3], &body[..]].concat()).collect();
            let slices: Vec<&[u8]> = obus_in.iter().map(Vec::as_slice).collect();
            let packet = packet(if counted { (slices.len() as u8) << 4 } else { 0 }, &slices);
            let theirs = Av1Depacketizer::new().depacketize(&Bytes::copy_from_slice(&packet)).expect("well formed");
            let ours: Vec<u8> =
                obus(&packet).flat_map(|obu| with_size(&[&[obu.kind << 3], obu.body].concat())).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
