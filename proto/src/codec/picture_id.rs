//! Picture ids that go on without a gap when a stream changes its source (RFC 7741 §4.2, RFC 9628 §4.2).
//!
//! In: payloads, and `switch` between two sources. Out: payloads with `PictureID` and `TL0PICIDX` shifted. Time: none.
//! Limit: a payload grows by one byte at most.
//!
//! A source's ids are shifted by an offset that stays the same until the next switch, so that late packets and
//! retransmissions come out right whatever their order. Picture ids are always written in 15 bits, as a receiver may
//! otherwise see the width change with the source. A source that counts in 7 bits is unwrapped: its ids are taken to
//! be within 64 pictures of the newest one.

use super::{Codec, vp8, vp9};

const PICTURE_MASK: u16 = 0x7fff; // 15 bits
const NARROW_MASK: u16 = 0x7f; // 7 bits

/// A payload's ids, and where its descriptor has them; the picture id, if any, comes before the `TL0PICIDX`.
///
/// Only VP8 and VP9 have ids; payloads of other codecs, those without ids and those too short to read have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PictureIds {
    pub(super) picture: Option<PictureIdField>,
    pub(super) tl0: Option<Tl0Field>,
}

impl PictureIds {
    /// The ids of a payload.
    pub fn read(codec: Codec, payload: &[u8]) -> Self {
        let ids = match codec {
            Codec::Vp8 => vp8::picture_ids(payload),
            Codec::Vp9 => vp9::picture_ids(payload),
            Codec::H264 | Codec::Av1 | Codec::Opus | Codec::Red => None,
        };
        ids.unwrap_or_default()
    }
}

/// A `PictureID`, of either width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PictureIdField {
    at: u8,
    width: Width,
    pub(super) id: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Narrow,
    Wide,
}

impl PictureIdField {
    /// The M bit and the 7 or 15 bits after it, at byte `at`.
    pub(super) fn parse(payload: &[u8], at: usize) -> Option<Self> {
        let (first, place) = (*payload.get(at)?, u8::try_from(at).ok()?);
        if first & 0x80 == 0 {
            return Some(Self { at: place, width: Width::Narrow, id: first.into() });
        }
        let id = u16::from_be_bytes([first, *payload.get(at + 1)?]) & PICTURE_MASK;
        Some(Self { at: place, width: Width::Wide, id })
    }

    /// Bytes on the wire.
    pub(super) const fn width(self) -> usize {
        match self.width {
            Width::Narrow => 1,
            Width::Wide => 2,
        }
    }
}

/// A `TL0PICIDX`: the running number of pictures in temporal layer 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tl0Field {
    at: u8,
    pub(super) index: u8,
}

impl Tl0Field {
    pub(super) fn parse(payload: &[u8], at: usize) -> Option<Self> {
        Some(Self { index: *payload.get(at)?, at: u8::try_from(at).ok()? })
    }
}

/// Lets the picture ids of one stream go on over changes of its source.
#[derive(Debug, Clone, Default)]
pub struct PictureIdRewriter {
    offsets: PictureIdOffsets,
    /// The newest ids sent; `None` before the first.
    picture: Option<u16>,
    tl0: Option<u8>,
    /// A switch whose first picture id, or `TL0PICIDX`, is still to come.
    picture_switch: bool,
    tl0_switch: bool,
}

/// How far a source's ids are shifted: enough to rewrite one of its packets again to the same bytes.
///
/// With a source that counts in 15 bits, which is usual, they are equal for all its packets between two switches.
/// With one that counts in 7 bits they follow the newest picture, and those taken for one packet serve packets up to
/// 64 pictures before it and 63 after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PictureIdOffsets {
    picture: u16,
    tl0: u8,
    /// The newest picture id sent, while the source counts in 7 bits.
    narrow: Option<u16>,
}

impl PictureIdRewriter {
    /// Another source is next: its first packet gets the ids after the newest ones sent.
    ///
    /// That packet must start the key frame that the stream switches at; earlier ones of the same source must not be
    /// given at all, and late ones of the former source are rewritten by its own offsets. After a pause of the same
    /// source this closes the gap too.
    pub fn switch(&mut self) {
        self.picture_switch = true;
        self.tl0_switch = true;
    }

    /// Pictures of the present source were left out that no other leans on: the next one gets the id after the newest one
    /// sent, for a VP8 decoder would wait for those missing (RFC 7741 §4.2: ids count each picture). VP9's ids keep the
    /// gap, for its pictures name others by how far they are away (RFC 9628 §4.2.1, `P_DIFF`).
    pub fn leave_out(&mut self, codec: Codec) {
        self.picture_switch |= codec == Codec::Vp8;
    }

    /// A packet with these ids is next: the offsets by which it follows those sent before, and by which it can be rewritten
    /// again.
    pub fn follow(&mut self, ids: PictureIds) -> PictureIdOffsets {
        let newest = ids.picture.map(|picture| self.follow_picture(picture));
        if let Some(tl0) = ids.tl0 {
            self.follow_tl0(tl0, newest);
        }
        self.offsets
    }

    /// Takes note of a picture; says whether it is of the newest one.
    fn follow_picture(&mut self, field: PictureIdField) -> Age {
        let switched = std::mem::take(&mut self.picture_switch);
        let (id, age) = match self.picture {
            None => (field.id, Age::Newest),
            Some(newest) if switched => ((newest + 1) & PICTURE_MASK, Age::Newest),
            Some(newest) => {
                let id = match field.width {
                    Width::Narrow => nearest(newest, field.id.wrapping_add(self.offsets.picture)),
                    Width::Wide => field.id.wrapping_add(self.offsets.picture) & PICTURE_MASK,
                };
                let behind = newest.wrapping_sub(id) & PICTURE_MASK;
                (id, if (1..=PICTURE_MASK / 2).contains(&behind) { Age::Older } else { Age::Newest })
            }
        };
        if age == Age::Newest {
            self.picture = Some(id);
            self.offsets.picture = id.wrapping_sub(field.id) & PICTURE_MASK;
        }
        self.offsets.narrow = self.picture.filter(|_| field.width == Width::Narrow);
        age
    }

    /// Takes note of a base layer's index; `age` is that of the packet's picture, if it has an id.
    fn follow_tl0(&mut self, field: Tl0Field, age: Option<Age>) {
        let switched = std::mem::take(&mut self.tl0_switch);
        if let (true, Some(newest)) = (switched, self.tl0) {
            self.offsets.tl0 = newest.wrapping_add(1).wrapping_sub(field.index);
        }
        let index = field.index.wrapping_add(self.offsets.tl0);
        let behind = self.tl0.map_or(0, |newest| newest.wrapping_sub(index));
        let by_itself = if (1..=127).contains(&behind) { Age::Older } else { Age::Newest };
        if switched || age.unwrap_or(by_itself) == Age::Newest {
            self.tl0 = Some(index);
        }
    }
}

/// Whether a packet is of the newest picture sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Newest,
    Older,
}

impl PictureIdOffsets {
    /// Whether they change anything in a payload with such ids.
    pub fn alter(self, ids: PictureIds) -> bool {
        ids.picture.is_some_and(|field| field.width == Width::Narrow || self.picture != 0)
            || ids.tl0.is_some() && self.tl0 != 0
    }

    /// Appends a payload, which has these ids, to `out`, its ids shifted.
    pub fn rewrite(self, ids: PictureIds, payload: &[u8], out: &mut Vec<u8>) {
        let mut from = 0;
        if let Some(field) = ids.picture {
            let plain = field.id.wrapping_add(self.picture) & PICTURE_MASK;
            let id = match (field.width, self.narrow) {
                (Width::Narrow, Some(newest)) => nearest(newest, plain),
                (Width::Narrow, None) | (Width::Wide, _) => plain,
            };
            out.extend_from_slice(&payload[..usize::from(field.at)]);
            out.extend_from_slice(&(id | !PICTURE_MASK).to_be_bytes());
            from = usize::from(field.at) + field.width();
        }
        if let Some(field) = ids.tl0 {
            let at = usize::from(field.at);
            out.extend_from_slice(&payload[from..at]);
            out.push(field.index.wrapping_add(self.tl0));
            from = at + 1;
        }
        out.extend_from_slice(&payload[from..]);
    }
}

/// The 15-bit id nearest to `newest` whose low 7 bits are those of `id`: at most 64 before it, 63 after it.
fn nearest(newest: u16, id: u16) -> u16 {
    let ahead = id.wrapping_sub(newest) & NARROW_MASK;
    let id = newest.wrapping_add(ahead);
    (if ahead < 64 { id } else { id.wrapping_sub(NARROW_MASK + 1) }) & PICTURE_MASK
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codec::vp8::{Vp8Packet, Vp8Payloader};
    use rtp::codec::vp9::Vp9Packet;
    use rtp::packetizer::{Depacketizer, Payloader};

    const FRAME: [u8; 4] = [0x50, 0x2a, 0x00, 0x9d];

    /// A packet's ids: `PictureID` and `TL0PICIDX`.
    type Ids = (Option<u16>, Option<u8>);

    fn packet(codec: Codec, width: Width, (picture, tl0): Ids) -> Vec<u8> {
        let mut payload = match codec {
            Codec::Vp8 => {
                vec![0x90, u8::from(picture.is_some()) << 7 | u8::from(tl0.is_some()) << 6 | 0x20]
            }
            Codec::Vp9 => vec![u8::from(picture.is_some()) << 7 | u8::from(tl0.is_some()) << 5 | 0x08],
            Codec::H264 | Codec::Av1 | Codec::Opus | Codec::Red => vec![],
        };
        match (width, picture) {
            (Width::Narrow, Some(id)) => payload.push(id as u8 & 0x7f),
            (Width::Wide, Some(id)) => payload.extend((id | 0x8000).to_be_bytes()),
            (_, None) => {}
        }
        if codec == Codec::Vp9 && tl0.is_some() {
            payload.push(0x50); // temporal layer 2, U
        }
        payload.extend(tl0);
        if codec == Codec::Vp8 {
            payload.push(0x60); // TID 1, Y
        }
        payload.extend(FRAME);
        payload
    }

    /// The ids as rtc-rtp reads them, after checking that the rest of the packet is as it was and the id 15 bits wide.
    fn read(codec: Codec, payload: &[u8]) -> Ids {
        let bytes = Bytes::copy_from_slice(payload);
        let (ids, frame) = if codec == Codec::Vp8 {
            let mut vp8 = Vp8Packet::default();
            let frame = vp8.depacketize(&bytes).expect("a VP8 descriptor");
            assert_eq!((vp8.x, vp8.s, vp8.pid, vp8.t, vp8.tid, vp8.y, vp8.k), (1, 1, 0, 1, 1, 1, 0));
            (((vp8.i == 1).then_some(vp8.picture_id), (vp8.l == 1).then_some(vp8.tl0_pic_idx)), frame)
        } else {
            let mut vp9 = Vp9Packet::default();
            let frame = vp9.depacketize(&bytes).expect("a VP9 descriptor");
            assert_eq!((vp9.p, vp9.f, vp9.b, vp9.e, vp9.v, vp9.z), (false, false, true, false, false, false));
            if vp9.l {
                assert_eq!((vp9.tid, vp9.u, vp9.sid, vp9.d), (2, true, 0, false));
            }
            ((vp9.i.then_some(vp9.picture_id), vp9.l.then_some(vp9.tl0picidx)), frame)
        };
        assert_eq!(frame, &FRAME[..], "the frame is as it was");
        let read = PictureIds::read(codec, payload);
        assert!(read.picture.is_none_or(|field| field.width == Width::Wide), "15 bits");
        ids
    }

    fn is_narrow(ids: PictureIds) -> bool {
        ids.picture.is_some_and(|field| field.width == Width::Narrow)
    }

    /// Rewrites, and checks that a change is told.
    fn rewrite(rewriter: &mut PictureIdRewriter, codec: Codec, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0xee; 3];
        let ids = PictureIds::read(codec, payload);
        let offsets = rewriter.follow(ids);
        offsets.rewrite(ids, payload, &mut out);
        assert_eq!(out[..3], [0xee; 3], "the payload is appended");
        assert_eq!(
            offsets.alter(ids),
            out[3..] != *payload || is_narrow(ids),
            "it is told whether it changes"
        );
        out.split_off(3)
    }

    enum Step {
        /// A packet: how wide its source writes picture ids, its ids there, its ids as sent.
        Sent(Width, Ids, Ids),
        Switch,
    }

    const SWITCH: Step = Step::Switch;

    /// A step with a picture id and a `TL0PICIDX`, from the source's to those sent.
    fn both(width: Width, source: (u16, u8), sent: (u16, u8)) -> Step {
        Step::Sent(width, (Some(source.0), Some(source.1)), (Some(sent.0), Some(sent.1)))
    }

    fn picture(width: Width, source: u16, sent: u16) -> Step {
        Step::Sent(width, (Some(source), None), (Some(sent), None))
    }

    fn tl0(source: u8, sent: u8) -> Step {
        Step::Sent(Width::Wide, (None, Some(source)), (None, Some(sent)))
    }

    fn check(name: &str, steps: &[Step]) {
        for codec in [Codec::Vp8, Codec::Vp9] {
            let mut rewriter = PictureIdRewriter::default();
            for (place, step) in steps.iter().enumerate() {
                let Step::Sent(width, source, sent) = *step else {
                    rewriter.switch();
                    continue;
                };
                let out = rewrite(&mut rewriter, codec, &packet(codec, width, source));
                assert_eq!(read(codec, &out), sent, "{name}, {codec:?}, step {place}");
            }
        }
    }

    #[test]
    fn ids_go_on_by_one_after_a_switch() {
        let both = |source, sent| both(Width::Wide, source, sent);
        for (name, steps) in [
            ("one source passes", &[both((9, 3), (9, 3)), both((11, 4), (11, 4))][..]),
            (
                "switch before anything was sent",
                &[SWITCH, both((700, 3), (700, 3)), both((701, 4), (701, 4))],
            ),
            (
                "two packets a picture, then a third source",
                &[
                    both((9, 3), (9, 3)),
                    SWITCH,
                    both((700, 200), (10, 4)),
                    both((700, 200), (10, 4)),
                    both((702, 201), (12, 5)),
                    SWITCH,
                    SWITCH,
                    both((30_000, 0), (13, 6)),
                ],
            ),
            (
                "reordered: older packets keep their place and the newest id counts",
                &[
                    both((100, 50), (100, 50)),
                    SWITCH,
                    both((5, 5), (101, 51)),
                    both((8, 8), (104, 54)),
                    both((6, 6), (102, 52)),
                    SWITCH,
                    both((1, 1), (105, 55)),
                ],
            ),
            (
                "a long gap of temporal layer 0 shows in the picture id",
                &[both((10, 10), (10, 10)), both((500, 210), (500, 210)), SWITCH, both((0, 0), (501, 211))],
            ),
        ] {
            check(name, steps);
        }
    }

    #[test]
    fn picture_ids_wrap_at_15_bits_and_base_layer_indices_at_8() {
        let both = |source, sent| both(Width::Wide, source, sent);
        for (name, steps) in [
            (
                "the source's ids",
                &[
                    both((32_766, 254), (32_766, 254)),
                    SWITCH,
                    both((32_767, 255), (32_767, 255)),
                    both((0, 0), (0, 0)),
                    SWITCH,
                    both((32_767, 255), (1, 1)),
                    both((0, 0), (2, 2)),
                ][..],
            ),
            (
                "the shifted ids",
                &[
                    both((32_767, 255), (32_767, 255)),
                    SWITCH,
                    both((20_000, 77), (0, 0)),
                    both((19_999, 76), (32_767, 255)),
                    both((20_001, 78), (1, 1)),
                ],
            ),
        ] {
            check(name, steps);
        }
    }

    #[test]
    fn picture_ids_of_7_bits_become_15_and_go_on_past_127() {
        let (narrow, wide) = (
            |source, sent| picture(Width::Narrow, source, sent),
            |source, sent| picture(Width::Wide, source, sent),
        );
        for (name, steps) in [
            (
                "one source, reordered where it wraps",
                &[narrow(126, 126), narrow(127, 127), narrow(0, 128), narrow(127, 127), narrow(63, 191)][..],
            ),
            (
                "two rounds",
                &[narrow(100, 100), narrow(30, 158), narrow(90, 218), narrow(20, 276), narrow(80, 336)],
            ),
            (
                "from 15 bits to 7 and back",
                &[
                    wide(1000, 1000),
                    SWITCH,
                    narrow(127, 1001),
                    narrow(0, 1002),
                    narrow(126, 1000),
                    SWITCH,
                    wide(5, 1003),
                ],
            ),
            (
                "a source that widens after 127, having wrapped once",
                &[
                    narrow(127, 127),
                    narrow(60, 188),
                    narrow(120, 248),
                    narrow(127, 255),
                    wide(128, 256),
                    narrow(126, 254),
                    wide(129, 257),
                ],
            ),
        ] {
            check(name, steps);
        }
    }

    #[test]
    fn seven_bits_are_unwrapped_to_64_before_and_63_after_the_newest() {
        for (newest, id, unwrapped) in [
            (1000, 1000, 1000),
            (1000, 1063, 1063),
            (1000, 1064, 936),
            (0, 63, 63),
            (0, 64, 32_704),
            (32_767, 0, 0),
        ] {
            for same in [id, id & NARROW_MASK, id.wrapping_add(128 * 77)] {
                assert_eq!(nearest(newest, same), unwrapped, "{same} by {newest}");
            }
        }
    }

    #[test]
    fn a_source_that_lacks_an_id_leaves_it_where_it_was() {
        let both = |source, sent| both(Width::Wide, source, sent);
        let without = || Step::Sent(Width::Wide, (None, None), (None, None));
        for (name, steps) in [
            (
                "TL0PICIDX only",
                &[tl0(10, 10), SWITCH, tl0(200, 11), tl0(202, 13), tl0(201, 12), SWITCH, tl0(0, 14)][..],
            ),
            ("no ids", &[both((10, 10), (10, 10)), SWITCH, without(), SWITCH, both((400, 40), (11, 11))]),
            (
                "no TL0PICIDX",
                &[
                    both((10, 10), (10, 10)),
                    SWITCH,
                    picture(Width::Wide, 70, 11),
                    SWITCH,
                    both((400, 40), (12, 11)),
                ],
            ),
        ] {
            check(name, steps);
        }
    }

    #[test]
    fn a_flexible_vp9_packet_keeps_its_references_and_has_no_base_layer_index() {
        let mut rewriter = PictureIdRewriter::default();
        rewrite(&mut rewriter, Codec::Vp9, &[0x98, 0x80, 0x09, 0x82]);
        rewriter.switch();
        for (source, sent) in [
            (&[0xb8, 0x92, 0x34, 0x22, 0x82][..], &[0xb8, 0x80, 0x0a, 0x22, 0x82][..]),
            (&[0xf8, 0x92, 0x35, 0x22, 0x03, 0x04, 0x82], &[0xf8, 0x80, 0x0b, 0x22, 0x03, 0x04, 0x82]),
        ] {
            assert_eq!(rewrite(&mut rewriter, Codec::Vp9, source), sent);
        }
    }

    #[test]
    fn what_has_no_readable_ids_is_copied_and_changes_nothing() {
        let mut rewriter = PictureIdRewriter::default();
        rewrite(&mut rewriter, Codec::Vp8, &packet(Codec::Vp8, Width::Wide, (Some(9), Some(9))));
        rewriter.switch();
        for (codec, payload) in [
            (Codec::Vp8, &[0x10, 1, 2, 3][..]),
            (Codec::Vp8, &[0x90, 0x80, 0x91]),
            (Codec::Vp8, &[0x90, 0x40]),
            (Codec::Vp8, &[]),
            (Codec::Vp9, &[0x08, 1, 2]),
            (Codec::Vp9, &[0xa0, 0x12, 0x00]),
            (Codec::Vp9, &[]),
            (Codec::H264, &[0x90, 0x80, 0x91, 0x22, 1]),
            (Codec::Av1, &[0x90, 0x80, 0x91, 0x22, 1]),
            (Codec::Opus, &[0x90, 0x80, 0x91, 0x22, 1]),
            (Codec::Red, &[0x90, 0x80, 0x91, 0x22, 1]),
        ] {
            assert_eq!(rewrite(&mut rewriter, codec, payload), payload, "{codec:?}");
        }
        let out = rewrite(&mut rewriter, Codec::Vp8, &packet(Codec::Vp8, Width::Wide, (Some(99), Some(99))));
        assert_eq!(read(Codec::Vp8, &out), (Some(10), Some(10)), "the switch was still to come");
    }

    #[test]
    fn rtc_rtps_payloader_goes_on_through_its_change_of_width() {
        let mut payloader = Vp8Payloader::default();
        payloader.enable_picture_id = true;
        let mut rewriter = PictureIdRewriter::default();
        for picture in 0..0x8010_u32 {
            let payloads = payloader.payload(1200, &Bytes::from_static(&FRAME)).expect("a frame");
            let mut out = Vec::new();
            let ids = PictureIds::read(Codec::Vp8, &payloads[0]);
            rewriter.follow(ids).rewrite(ids, &payloads[0], &mut out);
            let mut vp8 = Vp8Packet::default();
            vp8.depacketize(&out.into()).expect("a VP8 descriptor");
            assert_eq!(vp8.picture_id, picture as u16 & PICTURE_MASK);
        }
    }

    /// A source of a random stream: where its ids start, how wide they are, how many pictures it gives.
    #[derive(Debug, Clone)]
    struct Source {
        width: Width,
        picture: u16,
        tl0: u8,
        /// For each picture, how many places it comes late; the first one comes first.
        late: Vec<u8>,
    }

    fn source() -> impl Strategy<Value = Source> {
        let width = prop_oneof![Just(Width::Narrow), Just(Width::Wide)];
        let start = prop_oneof![0..=PICTURE_MASK, PICTURE_MASK - 20..=PICTURE_MASK, 100..=127_u16];
        (width, start, any::<u8>(), prop::collection::vec(0_u8..20, 1..300))
            .prop_map(|(width, picture, tl0, late)| Source { width, picture, tl0, late })
    }

    proptest! {
        #[test]
        fn ids_are_continuous_whatever_the_switches_and_the_order(
            sources in prop::collection::vec(source(), 1..8), vp9 in any::<bool>(),
        ) {
            let codec = if vp9 { Codec::Vp9 } else { Codec::Vp8 };
            let mut rewriter = PictureIdRewriter::default();
            let mut expected: Option<(u16, u8)> = None; // of the source's first picture
            for source in &sources {
                let mut order: Vec<usize> = (0..source.late.len()).collect();
                order[1..].sort_by_key(|&place| place + usize::from(source.late[place]));
                let mask = if source.width == Width::Narrow { NARROW_MASK } else { PICTURE_MASK };
                let (picture, tl0) = *expected.get_or_insert((source.picture & mask, source.tl0));
                let mut constant = None;
                for &place in &order {
                    let place = place as u16;
                    let ids = (Some(source.picture.wrapping_add(place)), Some(source.tl0.wrapping_add(place as u8)));
                    let payload = packet(codec, source.width, ids);
                    let sent = rewrite(&mut rewriter, codec, &payload);
                    let want = (picture.wrapping_add(place) & PICTURE_MASK, tl0.wrapping_add(place as u8));
                    prop_assert_eq!(read(codec, &sent), (Some(want.0), Some(want.1)));
                    if source.width == Width::Wide {
                        let offsets = rewriter.offsets;
                        prop_assert_eq!(*constant.get_or_insert(offsets), offsets);
                    }
                }
                let count = source.late.len() as u16;
                expected = Some((picture.wrapping_add(count) & PICTURE_MASK, tl0.wrapping_add(count as u8)));
                rewriter.switch();
            }
        }

        #[test]
        fn offsets_serve_a_7_bit_sources_neighbors(start in 0..=NARROW_MASK, count in 1_u16..1000, other in -64_i32..=63) {
            let mut rewriter = PictureIdRewriter::default();
            let mut ids = |picture: u16| {
                let payload = packet(Codec::Vp8, Width::Narrow, (Some(picture), None));
                let out = rewrite(&mut rewriter, Codec::Vp8, &payload);
                (out, rewriter.offsets)
            };
            let newest = start + count;
            let offsets = (start..=newest).map(&mut ids).last().expect("at least two").1;
            let neighbor = (i32::from(newest) + other) as u16 & PICTURE_MASK;
            let mut out = Vec::new();
            let payload = packet(Codec::Vp8, Width::Narrow, (Some(neighbor), None));
            offsets.rewrite(PictureIds::read(Codec::Vp8, &payload), &payload, &mut out);
            prop_assert_eq!(read(Codec::Vp8, &out).0, Some(neighbor));
        }

        #[test]
        fn rewriting_keeps_everything_but_the_ids(
            payload in prop::collection::vec(any::<u8>(), 0..40), codec in prop_oneof![Just(Codec::Vp8), Just(Codec::Vp9)],
            picture in 0..=PICTURE_MASK, tl0 in any::<u8>(),
        ) {
            let mut rewriter = PictureIdRewriter::default();
            rewrite(&mut rewriter, codec, &packet(codec, Width::Wide, (Some(picture), Some(tl0))));
            rewriter.switch();
            let out = rewrite(&mut rewriter, codec, &payload);
            let (fields, written) = (PictureIds::read(codec, &payload), PictureIds::read(codec, &out));
            let next = fields.picture.map(|_| (picture + 1) & PICTURE_MASK);
            prop_assert_eq!(written.picture.map(|field| field.id), next);
            prop_assert_eq!(written.tl0.map(|field| field.index), fields.tl0.map(|_| tl0.wrapping_add(1)));
            prop_assert_eq!(without_ids(&out, written), without_ids(&payload, fields));
        }
    }

    fn without_ids(payload: &[u8], fields: PictureIds) -> Vec<u8> {
        let mut rest = payload.to_vec();
        fields.tl0.map(|field| rest.remove(usize::from(field.at)));
        let range = |field: PictureIdField| usize::from(field.at)..usize::from(field.at) + field.width();
        fields.picture.map(|field| rest.drain(range(field)).count());
        rest
    }
}
