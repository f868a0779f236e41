//! H.264: NAL units in an RTP payload and the sequence parameter set (RFC 6184 §5; H.264 §7.3.2.1.1).
//!
//! In: an RTP payload. Out: facts of it. Time: none. Limit: the payload's length; `POC_CYCLE_MAX`.

use super::bits::{BitReader, Escapes};

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const MTAP16: u8 = 26;
const MTAP24: u8 = 27;
const FU_A: u8 = 28;
const FU_B: u8 = 29;

const POC_CYCLE_MAX: u32 = 255; // num_ref_frames_in_pic_order_cnt_cycle (H.264 §7.4.2.1.1)
const SIDE_MAX: u32 = 65_536; // samples; level 6.2 allows 16,880 and RTP senders far less

/// Whether an SPS or an IDR picture's first slice begins here; both do in a key frame that has them in two packets.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    NalUnits::new(payload).any(|unit| match unit.kind {
        SPS => true,
        // first_mb_in_slice is ue(v): one set bit says 0. A later slice would leave the upper part of the picture
        // undecodable. Where the fragment ends before it, the unit's kind must do.
        IDR => unit.body.first().is_none_or(|byte| byte & 0x80 != 0),
        _ => false,
    })
}

/// Width and height of the picture within its cropping rectangle, from the first SPS.
pub(super) fn picture_size(payload: &[u8]) -> Option<(u32, u32)> {
    let sps = NalUnits::new(payload).find(|unit| unit.kind == SPS)?;
    sps_size(sps.body)
}

/// A NAL unit that begins in the packet.
struct NalUnit<'a> {
    kind: u8,
    /// What follows the unit's header, as far as the packet goes.
    body: &'a [u8],
}

/// The NAL units that begin in a packet, until the first one that is cut short.
struct NalUnits<'a> {
    rest: &'a [u8],
    packing: Packing,
}

/// How NAL units lie in a payload (RFC 6184 §5.2).
#[derive(Clone, Copy)]
enum Packing {
    /// The rest is one unit.
    Single,
    /// A fragment's payload: the first byte has been replaced by the unit's header.
    Fragment { header: u8 },
    /// Units with their sizes, and `gap` bytes of decoding order and time between size and unit.
    Aggregate { gap: usize },
}

impl<'a> NalUnits<'a> {
    fn new(payload: &'a [u8]) -> Self {
        let from =
            |skipped: usize, packing| Self { rest: payload.get(skipped..).unwrap_or_default(), packing };
        let Some(&first) = payload.first() else { return from(0, Packing::Single) };
        match first & 0x1f {
            STAP_A => from(1, Packing::Aggregate { gap: 0 }),
            STAP_B => from(3, Packing::Aggregate { gap: 0 }), // a decoding order number first
            MTAP16 => from(3, Packing::Aggregate { gap: 3 }), // its base first; DOND and 16 bits of time each
            MTAP24 => from(3, Packing::Aggregate { gap: 4 }),
            fragment @ (FU_A | FU_B) => match payload.get(1) {
                Some(&header) if header & 0x80 != 0 => {
                    from(if fragment == FU_A { 2 } else { 4 }, Packing::Fragment { header })
                }
                _ => from(payload.len(), Packing::Single), // nothing begins here
            },
            _ => from(0, Packing::Single),
        }
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = NalUnit<'a>;

    fn next(&mut self) -> Option<NalUnit<'a>> {
        let (header, body) = match self.packing {
            Packing::Single => {
                let (&header, body) = std::mem::take(&mut self.rest).split_first()?;
                (header, body)
            }
            Packing::Fragment { header } => {
                self.packing = Packing::Single;
                (header, std::mem::take(&mut self.rest))
            }
            Packing::Aggregate { gap } => {
                let (&[high, low], after) = self.rest.split_first_chunk()?;
                let unit = after.get(gap..)?;
                let (unit, rest) = unit.split_at_checked(u16::from_be_bytes([high, low]).into())?;
                self.rest = rest;
                let (&header, body) = unit.split_first()?;
                (header, body)
            }
        };
        Some(NalUnit { kind: header & 0x1f, body })
    }
}

/// Width and height from what follows an SPS's NAL unit header.
fn sps_size(sps: &[u8]) -> Option<(u32, u32)> {
    let mut reader = BitReader::new(sps, Escapes::AfterTwoZeros);
    let profile = reader.bits(8)?;
    reader.skip(16)?; // constraints, level
    reader.exp_golomb()?; // seq_parameter_set_id
    let chroma = if says_chroma(profile) { chroma_array_type(&mut reader)? } else { 1 };
    reader.exp_golomb()?; // log2_max_frame_num_minus4
    skip_picture_order(&mut reader)?;
    reader.exp_golomb()?; // max_num_ref_frames
    reader.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let blocks_across = reader.exp_golomb()?.checked_add(1)?;
    let map_units_down = reader.exp_golomb()?.checked_add(1)?;
    let fields = if reader.flag()? { 1 } else { 2 }; // frame_mbs_only_flag
    reader.skip(if fields == 2 { 2 } else { 1 })?; // mb_adaptive_frame_field_flag, direct_8x8_inference_flag
    let (unit_across, unit_down) = match chroma {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields), // monochrome, 4:4:4
    };
    let (mut crop_across, mut crop_down) = (0, 0);
    if reader.flag()? {
        let mut edges = |unit: u32| {
            let (one, other) = (reader.exp_golomb()?, reader.exp_golomb()?);
            one.checked_add(other)?.checked_mul(unit)
        };
        (crop_across, crop_down) = (edges(unit_across)?, edges(unit_down)?);
    }
    let width = blocks_across.checked_mul(16)?.checked_sub(crop_across)?;
    let height = map_units_down.checked_mul(16 * fields)?.checked_sub(crop_down)?;
    let side = 1..=SIDE_MAX;
    (side.contains(&width) && side.contains(&height)).then_some((width, height))
}

/// The profiles whose SPS has a chroma format, bit depths and scaling lists.
fn says_chroma(profile: u32) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// Reads what only the higher profiles have; gives `ChromaArrayType`.
fn chroma_array_type(reader: &mut BitReader<'_>) -> Option<u32> {
    let format = reader.exp_golomb()?;
    if format > 3 {
        return None;
    }
    let separate_planes = format == 3 && reader.flag()?;
    reader.exp_golomb()?; // bit_depth_luma_minus8
    reader.exp_golomb()?; // bit_depth_chroma_minus8
    reader.skip(1)?; // qpprime_y_zero_transform_bypass_flag
    if reader.flag()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if reader.flag()? {
                skip_scaling_list(reader, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(if separate_planes { 0 } else { format })
}

/// A list ends early where its next scale comes out as 0 (H.264 §7.3.2.1.1.1).
fn skip_scaling_list(reader: &mut BitReader<'_>, size: u32) -> Option<()> {
    let mut scale = 8_u8;
    for _ in 0..size {
        scale = scale.wrapping_add(reader.signed_exp_golomb()? as u8);
        if scale == 0 {
            break;
        }
    }
    Some(())
}

fn skip_picture_order(reader: &mut BitReader<'_>) -> Option<()> {
    match reader.exp_golomb()? {
        0 => reader.exp_golomb().map(drop), // log2_max_pic_order_cnt_lsb_minus4
        1 => {
            reader.skip(1)?; // delta_pic_order_always_zero_flag
            reader.exp_golomb()?; // offset_for_non_ref_pic
            reader.exp_golomb()?; // offset_for_top_to_bottom_field
            let cycle = reader.exp_golomb()?;
            (cycle <= POC_CYCLE_MAX).then_some(())?;
            (0..cycle).try_for_each(|_| reader.exp_golomb().map(drop)) // offset_for_ref_frame
        }
        2 => Some(()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::tests::BitWriter;
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codec::h264::{H264Packet, H264Payloader};
    use rtp::packetizer::{Depacketizer, Payloader};

    /// An SPS by x264: high profile, level 3.1, 1280 x 720.
    const SPS_720P: [u8; 24] = [
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
        0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83,
    ];
    /// A baseline SPS without escapes or cropping, 128 x 96.
    const SPS_128: [u8; 7] = [0x67, 0x42, 0x00, 0x0a, 0xf8, 0x41, 0xa2];
    const PPS: [u8; 4] = [0x68, 0xce, 0x38, 0x80];
    const IDR_FIRST: [u8; 4] = [0x65, 0x88, 0x84, 0x00];
    const IDR_LATER: [u8; 4] = [0x65, 0x48, 0x84, 0x00];
    const INTER: [u8; 4] = [0x61, 0x88, 0x84, 0x00];

    /// An aggregation packet: `head`, then each unit with its size and `gap` bytes before it.
    fn aggregate(head: &[u8], gap: &[u8], units: &[&[u8]]) -> Vec<u8> {
        let sized = |unit: &&[u8]| [&(unit.len() as u16).to_be_bytes()[..], gap, unit].concat();
        [head.to_vec(), units.iter().flat_map(sized).collect()].concat()
    }

    #[test]
    fn a_key_frame_starts_at_an_sps_or_at_the_first_slice_of_an_idr_picture() {
        let hd = Some((1280, 720));
        let fragment = |indicator: &[u8], unit: &[u8]| [indicator, &unit[1..]].concat();
        let lying = [aggregate(&[0x78], &[], &[&PPS]), vec![0xff, 0xff], SPS_128.to_vec()].concat();
        for (name, payload, starts, size) in [
            ("SPS", SPS_720P.to_vec(), true, hd),
            ("SPS without content", vec![0x67], true, None),
            ("IDR, first slice", IDR_FIRST.to_vec(), true, None),
            ("IDR, later slice", IDR_LATER.to_vec(), false, None),
            ("inter slice", INTER.to_vec(), false, None),
            ("PPS", PPS.to_vec(), false, None),
            ("STAP-A of SPS and PPS", aggregate(&[0x78], &[], &[&SPS_720P, &PPS]), true, hd),
            ("STAP-A with the SPS last", aggregate(&[0x78], &[], &[&[9, 0xf0], &PPS, &SPS_720P]), true, hd),
            ("STAP-A of PPS and IDR", aggregate(&[0x78], &[], &[&PPS, &IDR_FIRST]), true, None),
            ("STAP-A of PPS and a later slice", aggregate(&[0x78], &[], &[&PPS, &IDR_LATER]), false, None),
            ("STAP-A of inter slices", aggregate(&[0x78], &[], &[&INTER, &INTER]), false, None),
            ("STAP-A, an empty unit ends it", aggregate(&[0x78], &[], &[&[], &SPS_720P]), false, None),
            ("STAP-A whose second size lies", lying, false, None),
            ("STAP-A without units", vec![0x78], false, None),
            ("STAP-A with half a size", vec![0x78, 0], false, None),
            ("STAP-B", aggregate(&[0x79, 0, 1], &[], &[&SPS_720P]), true, hd),
            ("STAP-B cut short", vec![0x79, 0], false, None),
            ("MTAP16", aggregate(&[0x7a, 0, 1], &[0, 0, 9], &[&PPS, &SPS_720P]), true, hd),
            ("MTAP24", aggregate(&[0x7b, 0, 1], &[0, 0, 0, 9], &[&PPS, &SPS_720P]), true, hd),
            ("FU-A, IDR starts", fragment(&[0x7c, 0x85], &IDR_FIRST), true, None),
            ("FU-A, a later slice starts", fragment(&[0x7c, 0x85], &IDR_LATER), false, None),
            ("FU-A, IDR starts and no more", vec![0x7c, 0x85], true, None),
            ("FU-A, IDR goes on", fragment(&[0x7c, 0x05], &IDR_FIRST), false, None),
            ("FU-A, IDR ends", fragment(&[0x7c, 0x45], &IDR_FIRST), false, None),
            ("FU-A, inter slice starts", fragment(&[0x7c, 0x81], &INTER), false, None),
            ("FU-A, SPS starts", fragment(&[0x7c, 0x87], &SPS_720P), true, hd),
            ("FU-A cut short", vec![0x7c], false, None),
            ("FU-B, IDR starts", fragment(&[0x7d, 0x85, 0, 1], &IDR_FIRST), true, None),
            ("FU-B, SPS starts", fragment(&[0x7d, 0x87, 0, 1], &SPS_720P), true, hd),
            ("reserved kind", vec![0x7e, 0x85, 0x88], false, None),
            ("nothing", vec![], false, None),
        ] {
            assert_eq!(starts_key_frame(&payload), starts, "{name}");
            assert_eq!(picture_size(&payload), size, "{name}");
        }
    }

    /// The parts of an SPS that move or change the size.
    #[derive(Clone, Copy)]
    struct Sps {
        profile: u32,
        chroma_format: u32,
        separate_planes: u32,
        scaling: ScalingLists,
        picture_order: u32,
        blocks: (u32, u32),
        frames_only: bool,
        crop: Option<[u32; 4]>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum ScalingLists {
        Absent,
        Whole,
        EndingEarly,
    }

    const PLAIN: Sps = Sps {
        profile: 66,
        chroma_format: 1,
        separate_planes: 0,
        scaling: ScalingLists::Absent,
        picture_order: 2,
        blocks: (40, 23),
        frames_only: true,
        crop: None,
    };
    const HIGH: Sps = Sps { profile: 100, ..PLAIN };

    impl Sps {
        fn bytes(self) -> Vec<u8> {
            let mut bits = BitWriter::default().bits(8, self.profile.into()).bits(16, 0xc01f).exp_golomb(0);
            if says_chroma(self.profile) {
                bits = bits.exp_golomb(self.chroma_format);
                if self.chroma_format == 3 {
                    bits = bits.bits(1, self.separate_planes.into());
                }
                bits = self.scaling_lists(bits.exp_golomb(0).exp_golomb(0).bits(1, 0));
            }
            bits = bits.exp_golomb(4).exp_golomb(self.picture_order);
            bits = match self.picture_order {
                0 => bits.exp_golomb(2),
                1 => [-3, 70_000].iter().fold(
                    bits.bits(1, 0).signed_exp_golomb(-5).signed_exp_golomb(9).exp_golomb(2),
                    |bits, &offset| bits.signed_exp_golomb(offset),
                ),
                _ => bits,
            };
            bits = bits.exp_golomb(4).bits(1, 0).exp_golomb(self.blocks.0 - 1).exp_golomb(self.blocks.1 - 1);
            bits = bits.bits(1, self.frames_only.into()).bits(if self.frames_only { 1 } else { 2 }, 1);
            bits = bits.bits(1, self.crop.is_some().into());
            bits = self.crop.into_iter().flatten().fold(bits, BitWriter::exp_golomb);
            escape(&bits.bits(1, 0).finish())
        }

        fn scaling_lists(self, bits: BitWriter) -> BitWriter {
            if self.scaling == ScalingLists::Absent {
                return bits.bits(1, 0);
            }
            let lists = if self.chroma_format == 3 { 12 } else { 8 };
            (0..lists).fold(bits.bits(1, 1), |bits, list| match (list % 2, self.scaling) {
                (0, _) => bits.bits(1, 0),
                (_, ScalingLists::EndingEarly) => bits.bits(1, 1).signed_exp_golomb(4).signed_exp_golomb(-12),
                (_, _) => (0..if list < 6 { 16 } else { 64 }).fold(bits.bits(1, 1), |bits, place| {
                    // 8 + 120, then up and down between 128 and 255: never 0, which would end the list.
                    bits.signed_exp_golomb(match place {
                        0 => 120,
                        odd if odd % 2 == 1 => 127,
                        _ => -127,
                    })
                }),
            })
        }
    }

    /// Emulation prevention, as an encoder does it (H.264 §7.4.1).
    fn escape(raw: &[u8]) -> Vec<u8> {
        let mut escaped = Vec::new();
        for &byte in raw {
            if byte <= 3 && escaped.ends_with(&[0, 0]) {
                escaped.push(3);
            }
            escaped.push(byte);
        }
        escaped
    }

    #[test]
    fn the_size_is_read_from_every_form_of_sps() {
        let hd = Sps { blocks: (120, 68), ..HIGH };
        for (name, sps, size) in [
            ("baseline", PLAIN, Some((640, 368))),
            ("cropped to 360 lines", Sps { crop: Some([0, 0, 0, 4]), ..PLAIN }, Some((640, 360))),
            ("cropped on all sides", Sps { crop: Some([1, 2, 3, 4]), ..PLAIN }, Some((634, 354))),
            ("cropped to nothing", Sps { crop: Some([160, 160, 0, 0]), ..PLAIN }, None),
            ("cropped beyond", Sps { crop: Some([0, 0, 1000, 0]), ..PLAIN }, None),
            ("crop overflows", Sps { crop: Some([u32::MAX - 1, 9, 0, 0]), ..PLAIN }, None),
            ("crop overflows times unit", Sps { crop: Some([0, 0, 0x8000_0000, 0]), ..PLAIN }, None),
            ("largest side", Sps { blocks: (4096, 1), ..PLAIN }, Some((65_536, 16))),
            ("side too large", Sps { blocks: (4097, 1), ..PLAIN }, None),
            ("width overflows", Sps { blocks: (0x1000_0001, 1), ..PLAIN }, None),
            ("high", Sps { crop: Some([0, 0, 0, 4]), ..hd }, Some((1920, 1080))),
            (
                "interlaced",
                Sps { frames_only: false, blocks: (120, 34), crop: Some([0, 0, 0, 2]), ..HIGH },
                Some((1920, 1080)),
            ),
            ("monochrome", Sps { chroma_format: 0, crop: Some([0, 0, 0, 8]), ..hd }, Some((1920, 1080))),
            ("4:2:2", Sps { chroma_format: 2, crop: Some([0, 1, 0, 8]), ..hd }, Some((1918, 1080))),
            ("4:4:4", Sps { chroma_format: 3, crop: Some([0, 1, 0, 8]), ..hd }, Some((1919, 1080))),
            (
                "separate planes",
                Sps { chroma_format: 3, separate_planes: 1, crop: Some([0, 1, 0, 8]), ..hd },
                Some((1919, 1080)),
            ),
            ("no such chroma format", Sps { chroma_format: 4, ..hd }, None),
            ("scaling lists", Sps { scaling: ScalingLists::Whole, ..hd }, Some((1920, 1088))),
            (
                "scaling lists of 4:4:4",
                Sps { chroma_format: 3, scaling: ScalingLists::Whole, ..hd },
                Some((1920, 1088)),
            ),
            (
                "scaling lists that end early",
                Sps { scaling: ScalingLists::EndingEarly, ..hd },
                Some((1920, 1088)),
            ),
            ("picture order by low bits", Sps { picture_order: 0, ..PLAIN }, Some((640, 368))),
            ("picture order by cycle", Sps { picture_order: 1, ..PLAIN }, Some((640, 368))),
            ("no such picture order", Sps { picture_order: 3, ..PLAIN }, None),
        ] {
            let bytes = sps.bytes();
            assert_eq!(sps_size(&bytes), size, "{name}");
            for length in 0..bytes.len() - 1 {
                assert_eq!(sps_size(&bytes[..length]), None, "{name}, cut to {length} bytes");
            }
        }
        assert_eq!(picture_size(&SPS_128), Some((128, 96)));
    }

    proptest! {
        #[test]
        fn rtc_rtps_packets_of_a_key_frame_start_it_and_no_others_do(
            slice in prop::collection::vec(any::<u8>(), 2..4000), mtu in 60_usize..1200,
        ) {
            let unit = |header: &[u8], rest: &[u8]| [&[0, 0, 0, 1], header, rest].concat();
            // Ones only, lest the slice holds a start code.
            let slice: Vec<u8> = slice.iter().map(|byte| byte | 0x81).collect();
            let frame = [unit(&SPS_720P, &[]), unit(&PPS, &[]), unit(&[0x65], &slice)].concat();
            let packets = H264Payloader::default().payload(mtu, &frame.into()).expect("a frame");
            prop_assert_eq!(picture_size(&packets[0]), Some((1280, 720)));
            for (place, packet) in packets.iter().enumerate() {
                prop_assert_eq!(starts_key_frame(packet), place < 2, "packet {}", place);
            }
            let inter = unit(&[0x61], &slice);
            for packet in H264Payloader::default().payload(mtu, &inter.into()).expect("a frame") {
                prop_assert!(!starts_key_frame(&packet));
            }
        }

        #[test]
        fn an_aggregate_reads_as_rtc_rtp_reads_it(
            units in prop::collection::vec(prop::collection::vec(1_u8.., 1..30), 1..6),
        ) {
            let packet = aggregate(&[0x78], &[], &units.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut oracle = H264Packet::default();
            oracle.is_avc = true;
            let theirs = oracle.depacketize(&Bytes::copy_from_slice(&packet)).expect("well formed");
            let mut ours = Vec::new();
            for (unit, original) in NalUnits::new(&packet).zip(&units) {
                prop_assert_eq!(unit.kind, original[0] & 0x1f);
                ours.extend((unit.body.len() as u32 + 1).to_be_bytes());
                ours.push(original[0]);
                ours.extend(unit.body);
            }
            prop_assert_eq!(ours, theirs);
        }
    }
}
