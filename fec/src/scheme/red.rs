//! Redundant Opus (RFC 2198): each packet carries the last few before it, so that a lost one comes with the next.
//!
//! In: Opus payloads, RED payloads. Out: RED payloads from [`RedEncoder`], a packet's own and its restored predecessors
//! from [`RedDecoder`]. Time: none; timestamps are the packets'. Limit: `DEPTH_MAX` predecessors, [`SIZE_MAX`] bytes.
//!
//! Chromium does not ask for lost audio, and a round trip is more than speech can wait anyway. One encoder a leg: how
//! many predecessors pay depends on what that leg loses. The stripper is [`RedDecoder`] too, or
//! [`proto::rtp::red::RedView::payload`] where nothing shall be restored.

use std::collections::VecDeque;

use proto::codec::opus;
use proto::rtp::red::{BLOCK_HEADER_LEN, LENGTH_MAX, OFFSET_MAX, RedError, RedView, write};
use proto::rtp::{PayloadType, SeqNo};

/// Predecessors that a packet carries at most: at 20 ms, more would come too late to be played.
pub const DEPTH_MAX: usize = 3;

/// A RED payload's length at most, in bytes: what is left of 1200 with headers, extensions and the cipher's tag.
pub const SIZE_MAX: usize = 1100;

/// Predecessors that are taken from a packet at most: browsers send one, nine if asked to (libwebrtc's field trial
/// `WebRTC-Audio-Red-For-Opus`). One packet from outside must not become any number of them here.
pub const DEPTH_TAKEN_MAX: usize = 9;

/// Packets of which the decoder knows whether they came.
const KNOWN: u16 = 64;

/// Puts predecessors before one leg's Opus packets.
#[derive(Debug)]
pub struct RedEncoder {
    opus: PayloadType,
    recent: VecDeque<Recent>, // the earliest first
}

#[derive(Debug, Default)]
struct Recent {
    timestamp: u32,
    payload: Vec<u8>,
}

impl RedEncoder {
    /// An encoder for packets of this type, as the leg numbers it.
    pub fn new(opus: PayloadType) -> Self {
        Self { opus, recent: VecDeque::with_capacity(DEPTH_MAX) }
    }

    /// How many predecessors a packet with a payload of `length` bytes has if it shall have `depth`.
    ///
    /// Predecessors are those that went through here, as far as they are within 341 ms, at most 1023 bytes long, and all
    /// together leave room in [`SIZE_MAX`]; the earliest gives way first.
    pub fn carried(&self, timestamp: u32, length: usize, depth: usize) -> usize {
        let mut room = SIZE_MAX.saturating_sub(1 + length);
        let fitting = self.recent.iter().rev().take(depth).take_while(|recent| {
            let offset = timestamp.wrapping_sub(recent.timestamp);
            let fits = (1..=OFFSET_MAX).contains(&offset) && recent.payload.len() <= LENGTH_MAX;
            let left = room.checked_sub(BLOCK_HEADER_LEN + recent.payload.len()).filter(|_| fits);
            room = left.unwrap_or(room);
            left.is_some()
        });
        fitting.count()
    }

    /// Appends the RED payload of a packet with `depth` predecessors, or as many as [`Self::carried`] tells.
    ///
    /// With a depth of 0 it has none, and is one byte longer than Opus alone.
    pub fn encode(&mut self, timestamp: u32, payload: &[u8], depth: usize, out: &mut Vec<u8>) {
        let carried = self.carried(timestamp, payload.len(), depth);
        let recent = self.recent.iter().skip(self.recent.len() - carried);
        let blocks = recent.map(|recent| (timestamp.wrapping_sub(recent.timestamp), &recent.payload[..]));
        write(self.opus, blocks, payload, out);
        self.note(timestamp, payload);
    }

    /// A packet leaves as Opus alone; later ones may carry it. What comes after its successors is not carried: blocks are
    /// in order.
    pub fn note(&mut self, timestamp: u32, payload: &[u8]) {
        let behind = self.recent.back().map(|last| last.timestamp.wrapping_sub(timestamp));
        if behind.is_some_and(|behind| behind <= OFFSET_MAX) {
            return;
        }
        if behind.is_some_and(|behind| behind.cast_signed() > 0) {
            self.reset(); // another clock
        }
        let mut newest =
            if self.recent.len() == DEPTH_MAX { self.recent.pop_front() } else { None }.unwrap_or_default();
        newest.timestamp = timestamp;
        newest.payload.clear();
        newest.payload.extend_from_slice(payload);
        self.recent.push_back(newest);
    }

    /// Forgets the predecessors, as when another source takes the stream over.
    pub fn reset(&mut self) {
        self.recent.clear();
    }
}

/// Why a RED packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not RED.
    #[error(transparent)]
    Red(#[from] RedError),
    /// It carries something other than the codec that was agreed upon, such as RED again.
    #[error("{0:?} inside")]
    PayloadType(PayloadType),
    /// It carries more than [`DEPTH_TAKEN_MAX`] predecessors.
    #[error("{0} predecessors")]
    TooDeep(usize),
}

/// What a [`RedDecoder`] did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedStats {
    /// Predecessors taken out because they had not come themselves.
    pub restored: u64,
    /// Packets refused.
    pub refused: u64,
    /// Predecessors whose place in the sequence is not certain.
    pub unplaced: u64,
}

/// An Opus packet out of a RED packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<'a> {
    /// Its place in the stream.
    pub seq: SeqNo,
    /// When it was captured.
    pub timestamp: u32,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Takes a publisher's packets apart, and out of them the predecessors that are missing.
#[derive(Debug, Clone)]
pub struct RedDecoder {
    opus: PayloadType,
    newest: Option<SeqNo>,
    known: u64, // bit n: the packet n before the newest is there
    stats: RedStats,
}

impl RedDecoder {
    /// A decoder for packets that carry this type and nothing else.
    pub fn new(opus: PayloadType) -> Self {
        Self { opus, newest: None, known: 0, stats: RedStats::default() }
    }

    /// The same for a stream that was not RED so far: whatever came before this packet is not missing.
    pub fn joining(opus: PayloadType, seq: SeqNo) -> Self {
        Self { newest: Some(SeqNo(seq.0.wrapping_sub(1))), known: u64::MAX, ..Self::new(opus) }
    }

    /// Whether a packet is there already, by itself or out of a later one.
    pub fn has(&self, seq: SeqNo) -> bool {
        let behind = self.newest.map(|newest| newest.distance(seq));
        let behind = behind.and_then(|behind| u16::try_from(behind).ok()).filter(|behind| *behind < KNOWN);
        behind.is_some_and(|behind| self.known >> behind & 1 == 1)
    }

    /// A packet of the stream that is not RED, or came by another way, is there.
    pub fn note(&mut self, seq: SeqNo) {
        match self.newest.map(|newest| seq.distance(newest)) {
            None => (self.newest, self.known) = (Some(seq), 1),
            Some(ahead @ 1..) => {
                self.known = self.known.checked_shl(ahead as u32).unwrap_or(0) | 1;
                self.newest = Some(seq);
            }
            Some(behind) => self.known |= 1_u64.checked_shl(behind.unsigned_abs().into()).unwrap_or(0),
        }
    }

    /// Takes a RED packet apart: `then` gets the missing predecessors, the earliest first, and the packet's own payload
    /// last.
    ///
    /// The packets in a row are told by their lengths in time: a predecessor that does not end where its successor
    /// begins, as after silence, has no certain number and is left out.
    pub fn decode(
        &mut self,
        seq: SeqNo,
        timestamp: u32,
        payload: &[u8],
        mut then: impl FnMut(Taken<'_>),
    ) -> Result<(), Refusal> {
        let view = self.checked(payload).inspect_err(|_| self.stats.refused += 1)?;
        let places = self.places(&view);
        self.note(seq);
        for (block, place) in view.blocks().zip(places.iter()) {
            let Some(place) = place else { continue };
            let earlier = SeqNo(seq.0.wrapping_sub(*place));
            if self.has(earlier) || self.is_old(earlier) {
                continue;
            }
            self.note(earlier);
            self.stats.restored += 1;
            let timestamp = timestamp.wrapping_sub(block.offset.into());
            then(Taken { seq: earlier, timestamp, payload: block.payload });
        }
        then(Taken { seq, timestamp, payload: view.payload() });
        Ok(())
    }

    /// What happened since the decoder was made.
    pub const fn stats(&self) -> RedStats {
        self.stats
    }

    fn checked<'a>(&self, payload: &'a [u8]) -> Result<RedView<'a>, Refusal> {
        let view = RedView::parse(payload)?;
        let depth = view.blocks().count();
        if depth > DEPTH_TAKEN_MAX {
            return Err(Refusal::TooDeep(depth));
        }
        let inside = view.blocks().map(|block| block.payload_type).chain([view.payload_type()]);
        match inside.into_iter().find(|&inside| inside != self.opus) {
            Some(other) => Err(Refusal::PayloadType(other)),
            None => Ok(view),
        }
    }

    /// How many packets before the RED packet each of its blocks is, where that is certain.
    fn places(&mut self, view: &RedView<'_>) -> [Option<u16>; proto::rtp::red::BLOCKS_MAX] {
        let mut places = [None; proto::rtp::red::BLOCKS_MAX];
        let count = view.blocks().count();
        let mut next = 0_u32; // where the successor begins, before the packet's own payload
        for (back, block) in view.blocks().rev().enumerate() {
            let offset = u32::from(block.offset);
            if offset == 0 || opus::duration(block.payload) != Some(offset - next.min(offset)) {
                self.stats.unplaced += (count - back) as u64;
                break;
            }
            next = offset;
            places[count - 1 - back] = Some(back as u16 + 1);
        }
        places
    }

    fn is_old(&self, seq: SeqNo) -> bool {
        self.newest.is_some_and(|newest| newest.distance(seq) >= KNOWN as i16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPUS: PayloadType = PayloadType(111);
    const FRAME: u32 = 960;
    const NONE: [u16; 0] = [];

    /// An Opus payload of 20 ms that tells which one it is.
    fn speech(number: u16, len: usize) -> Vec<u8> {
        let mut payload = vec![0xf8];
        payload.extend(number.to_be_bytes());
        payload.resize(len.max(3), number as u8);
        payload
    }

    fn taken(decoder: &mut RedDecoder, seq: u16, red: &[u8]) -> Vec<(u16, u32, Vec<u8>)> {
        let mut all = Vec::new();
        let timestamp = u32::from(seq) * FRAME;
        let take = |taken: Taken<'_>| all.push((taken.seq.0, taken.timestamp, taken.payload.to_vec()));
        decoder.decode(SeqNo(seq), timestamp, red, take).unwrap();
        all
    }

    fn reds(depth: usize, payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut encoder = RedEncoder::new(OPUS);
        let encode = |(seq, payload): (usize, &Vec<u8>)| {
            let mut red = Vec::new();
            encoder.encode(seq as u32 * FRAME, payload, depth, &mut red);
            red
        };
        payloads.iter().enumerate().map(encode).collect()
    }

    #[test]
    fn a_packet_carries_as_many_predecessors_as_asked_and_there_is_room_for() {
        let small: Vec<_> = (0..6).map(|number| speech(number, 50)).collect();
        let large: Vec<_> = (0..6).map(|number| speech(number, 400)).collect();
        for (name, depth, payloads, carried) in [
            ("none", 0, &small, 0),
            ("one", 1, &small, 1),
            ("three", 3, &small, 3),
            ("four are too many", 4, &small, 3),
            ("no room for a second", 3, &large, 1),
        ] {
            let reds = reds(depth, payloads);
            let view = RedView::parse(&reds[5]).unwrap();
            let found: Vec<_> = view.blocks().map(|block| block.payload).collect();
            assert_eq!(found, payloads[5 - carried..5], "{name}");
            assert_eq!(view.payload(), payloads[5], "{name}");
            assert!(reds[5].len() <= SIZE_MAX, "{name}");
            assert_eq!(RedView::parse(&reds[0]).unwrap().blocks().count(), 0, "{name}: the first has none");
        }
    }

    #[test]
    fn predecessors_too_early_or_of_another_source_are_not_carried() {
        let mut encoder = RedEncoder::new(OPUS);
        let mut carried = |timestamp: u32| {
            let mut red = Vec::new();
            encoder.encode(timestamp, &speech(1, 40), 2, &mut red);
            RedView::parse(&red).unwrap().blocks().map(|block| block.offset).collect::<Vec<_>>()
        };
        let late = 0xffff_ff00_u32;
        assert_eq!(carried(late), NONE);
        assert_eq!(carried(late.wrapping_add(960)), [960], "over the wrap");
        assert_eq!(carried(late.wrapping_add(960 + 16_383)), [16_383], "the earliest is too early");
        assert_eq!(carried(late.wrapping_add(960 + 16_383 + 16_384)), NONE);
        assert_eq!(carried(5), NONE, "the clock went back");
        encoder.reset();
        let mut red = Vec::new();
        encoder.encode(965, &speech(1, 40), 2, &mut red);
        assert_eq!(RedView::parse(&red).unwrap().blocks().count(), 0);
    }

    #[test]
    fn packets_that_went_alone_are_carried_and_late_ones_are_not() {
        let mut encoder = RedEncoder::new(OPUS);
        let payloads: Vec<_> = (0..8).map(|number| speech(number, 30)).collect();
        for (name, number, depth, carried) in [
            ("nothing before it", 0_u16, 2, &[][..]),
            ("alone", 2, 0, &[]),
            ("late", 1, 2, &[]),
            ("after a late one", 3, 3, &[0, 2]),
            ("one", 4, 1, &[3]),
        ] {
            let (timestamp, payload) = (u32::from(number) * FRAME, &payloads[usize::from(number)]);
            if depth == 0 {
                encoder.note(timestamp, payload);
                continue;
            }
            assert_eq!(encoder.carried(timestamp, payload.len(), depth), carried.len(), "{name}");
            let mut red = Vec::new();
            encoder.encode(timestamp, payload, depth, &mut red);
            let found: Vec<_> = RedView::parse(&red).unwrap().blocks().map(|block| block.payload).collect();
            let expected: Vec<_> = carried.iter().map(|&number: &usize| &payloads[number][..]).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_stream_that_becomes_red_misses_nothing_from_before() {
        let reds = reds(2, &(0..9).map(|number| speech(number, 30)).collect::<Vec<_>>());
        let mut decoder = RedDecoder::joining(OPUS, SeqNo(4));
        assert!(decoder.has(SeqNo(3)) && !decoder.has(SeqNo(4)));
        assert_eq!(taken(&mut decoder, 4, &reds[4]).len(), 1);
        assert_eq!(taken(&mut decoder, 6, &reds[6]).len(), 2, "but what is lost from then on");
        for (seq, has) in [(3, true), (4, true), (5, true), (6, true), (7, false), (60_000, false)] {
            assert_eq!(decoder.has(SeqNo(seq)), has, "{seq}");
        }
    }

    #[test]
    fn only_what_is_missing_is_taken_out_and_only_once() {
        let payloads: Vec<_> = (0..9).map(|number| speech(number, 30)).collect();
        let reds = reds(2, &payloads);
        let mut decoder = RedDecoder::new(OPUS);
        for (name, seq, expected) in [
            ("the first", 0, &[0][..]),
            ("nothing missing", 1, &[1]),
            ("two missing", 4, &[2, 3, 4]),
            ("again", 4, &[4]),
            ("the same ones missing for another", 5, &[5]),
            ("three missing, two there", 8, &[6, 7, 8]),
            ("one that comes late", 3, &[3]),
        ] {
            let found = taken(&mut decoder, seq, &reds[usize::from(seq)]);
            let expected: Vec<_> = expected
                .iter()
                .map(|&seq| (seq, u32::from(seq) * FRAME, payloads[usize::from(seq)].clone()))
                .collect();
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(decoder.stats(), RedStats { restored: 4, ..RedStats::default() });
    }

    #[test]
    fn predecessors_without_a_certain_place_are_left_out() {
        let mut decoder = RedDecoder::new(OPUS);
        decoder.note(SeqNo(1));
        let mut red = Vec::new();
        // 20 ms of speech that ended 40 ms before, then silence.
        write(OPUS, [(2880, &speech(1, 9)[..])].into_iter(), &speech(5, 9), &mut red);
        assert_eq!(taken(&mut decoder, 5, &red).len(), 1);
        red.clear();
        write(OPUS, [(1920, &speech(3, 9)[..]), (960, &[])].into_iter(), &speech(5, 9), &mut red);
        assert_eq!(taken(&mut decoder, 6, &red).len(), 1);
        assert_eq!(decoder.stats(), RedStats { unplaced: 3, ..RedStats::default() });
    }

    #[test]
    fn hostile_red_is_refused_and_counted() {
        let mut decoder = RedDecoder::new(OPUS);
        let mut nested = Vec::new();
        write(PayloadType(63), [(960, &[1][..])].into_iter(), &[1], &mut nested);
        let mut deep = Vec::new();
        write(OPUS, [(960, &[][..]); 10].into_iter(), &[1], &mut deep);
        let truncated = RedError::Truncated { needed: 1, available: 0 };
        for (red, refusal) in [
            (&[][..], Refusal::Red(truncated)),
            (&nested, Refusal::PayloadType(PayloadType(63))),
            (&[0], Refusal::PayloadType(PayloadType(0))),
            (&deep, Refusal::TooDeep(10)),
        ] {
            let found = decoder.decode(SeqNo(7), 0, red, |_| panic!("nothing comes out of it"));
            assert_eq!(found, Err(refusal));
        }
        assert_eq!(decoder.stats().refused, 4);
    }

    proptest! {
        #[test]
        fn what_depth_allows_is_restored_to_the_byte(
            depth in 0_usize..=3,
            lost in prop::collection::vec(any::<bool>(), 1..200),
            lens in prop::collection::vec(3_usize..200, 200),
        ) {
            let payloads: Vec<_> = (0..lost.len()).map(|number| speech(number as u16, lens[number])).collect();
            let mut decoder = RedDecoder::new(OPUS);
            let mut there = vec![None; lost.len()];
            for (seq, red) in reds(depth, &payloads).iter().enumerate().filter(|(seq, _)| !lost[*seq]) {
                for (seq, timestamp, payload) in taken(&mut decoder, seq as u16, red) {
                    prop_assert_eq!(timestamp, u32::from(seq) * FRAME);
                    prop_assert_eq!(there[usize::from(seq)].replace(payload), None, "once each");
                }
            }
            for (seq, found) in there.iter().enumerate() {
                let expected = (seq..=seq + depth).any(|by| lost.get(by) == Some(&false));
                prop_assert_eq!(found.as_ref(), expected.then_some(&payloads[seq]));
            }
        }

        #[test]
        fn arbitrary_red_is_borne(reds in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..60)), 0..40)) {
            let mut decoder = RedDecoder::new(PayloadType(0x6f));
            for (seq, red) in reds {
                let mut count = 0;
                let done = decoder.decode(SeqNo(seq), 0, &red, |_| count += 1);
                prop_assert_eq!(done.is_ok(), count > 0);
            }
        }
    }
}
