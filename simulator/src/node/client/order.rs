//! What a decoder demands of a slot's packets, whatever the network did: the rules that the SFU's rewriting keeps.
//!
//! In: packets by extended sequence number and extended picture id. Out: the first rule that a packet breaks. Limit:
//! `PICTURES_MAX` pictures remembered, so that packets that come late or again are compared with their neighbors.

use std::collections::BTreeMap;

use super::payload::Stamp;

/// Four seconds of pictures: longer than any repair takes.
const PICTURES_MAX: usize = 128;

/// A rule's name and what happened.
pub(super) type Breach = (&'static str, String);

/// What is known of a picture from any of its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// The sequence number of its first packet.
    base: u64,
    parts: u16,
    timestamp: u32,
    source: (u16, u8, u8),
    frame: u32,
    key: bool,
}

/// The order of a slot's pictures.
#[derive(Debug, Default)]
pub(super) struct PictureOrder {
    spans: BTreeMap<u64, Span>,
}

impl PictureOrder {
    /// A packet came; `Err` says what is wrong with it.
    pub(super) fn check(
        &mut self,
        picture: u64,
        seq: u64,
        timestamp: u32,
        stamp: &Stamp,
    ) -> Result<(), Breach> {
        let span = Span {
            base: seq.wrapping_sub(stamp.part.into()),
            parts: stamp.parts,
            timestamp,
            source: (stamp.publisher, stamp.section, stamp.layer),
            frame: stamp.frame,
            key: stamp.key,
        };
        if let Some(known) = self.spans.get(&picture) {
            let same = *known == span;
            return if same { Ok(()) } else { Err(("a-picture-is-one", format!("{span:?} and {known:?}"))) };
        }
        let before = picture.checked_sub(1).and_then(|before| self.spans.get(&before));
        let result = before.map_or(Ok(()), |before| follows(before, &span));
        let result = result
            .and_then(|()| self.spans.get(&(picture + 1)).map_or(Ok(()), |after| follows(&span, after)));
        self.spans.insert(picture, span);
        if self.spans.len() > PICTURES_MAX {
            self.spans.pop_first();
        }
        result
    }
}

/// Whether a picture may follow the one whose picture id is one less.
fn follows(before: &Span, after: &Span) -> Result<(), Breach> {
    let ticks = after.timestamp.wrapping_sub(before.timestamp) as i32;
    if ticks <= 0 {
        return Err(("timestamps-are-monotone", format!("{after:?} is {ticks} ticks after {before:?}")));
    }
    let goes_on = after.source == before.source && after.frame == before.frame.wrapping_add(1);
    if !goes_on && !after.key {
        return Err(("streams-switch-at-key-frames", format!("{after:?} after {before:?}")));
    }
    let end = before.base + u64::from(before.parts);
    // A switch may cut the last picture of the old stream short.
    let joined = if goes_on { after.base == end } else { after.base > before.base && after.base <= end };
    if joined {
        Ok(())
    } else {
        Err(("sequence-numbers-have-no-gaps", format!("{after:?} after {before:?}")))
    }
}

/// The order of a slot's sound.
#[derive(Debug, Default)]
pub(super) struct SoundOrder {
    last: Option<(u64, u32, u16)>,
}

impl SoundOrder {
    /// A packet came; one that comes late is not compared.
    pub(super) fn check(&mut self, seq: u64, timestamp: u32, stamp: &Stamp) -> Result<(), Breach> {
        let last = self.last;
        if last.is_some_and(|(last, ..)| seq <= last) {
            return Ok(());
        }
        self.last = Some((seq, timestamp, stamp.publisher));
        let ticks = last.map_or(1, |(_, last, _)| timestamp.wrapping_sub(last) as i32);
        let told = || format!("sound {seq} of {} is {ticks} ticks after {last:?}", stamp.publisher);
        if ticks > 0 { Ok(()) } else { Err(("timestamps-are-monotone", told())) }
    }
}

#[cfg(test)]
mod tests {
    use proto::time::Instant;

    use super::*;

    fn stamp(layer: u8, frame: u32, part: u16, key: bool) -> Stamp {
        let (publisher, section, parts, serial, captured) = (1, 0, 2, 0, Instant::ZERO);
        Stamp { publisher, section, layer, key, frame, part, parts, serial, captured }
    }

    #[test]
    fn what_a_decoder_stands_passes_and_nothing_else() {
        let first = stamp(0, 7, 0, true);
        for (claim, picture, seq, timestamp, next, expected) in [
            ("the next picture", 101, 12, 3_000, stamp(0, 8, 0, false), None),
            ("its second packet first", 101, 13, 3_000, stamp(0, 8, 1, false), None),
            ("a key frame of another layer", 101, 12, 3_000, stamp(1, 3, 0, true), None),
            ("which cuts the last picture short", 101, 11, 3_000, stamp(1, 3, 0, true), None),
            ("a picture in between was lost", 102, 17, 6_000, stamp(0, 9, 0, false), None),
            (
                "a number is left out",
                101,
                13,
                3_000,
                stamp(0, 8, 0, false),
                Some("sequence-numbers-have-no-gaps"),
            ),
            ("time stands still", 101, 12, 0, stamp(0, 8, 0, false), Some("timestamps-are-monotone")),
            (
                "a switch in mid-stream",
                101,
                12,
                3_000,
                stamp(1, 3, 0, false),
                Some("streams-switch-at-key-frames"),
            ),
            ("a picture id is used twice", 100, 12, 3_000, stamp(0, 8, 0, false), Some("a-picture-is-one")),
        ] {
            let mut order = PictureOrder::default();
            assert_eq!(order.check(100, 10, 0, &first), Ok(()));
            assert_eq!(order.check(100, 11, 0, &stamp(0, 7, 1, true)), Ok(()));
            let result = order.check(picture, seq, timestamp, &next);
            assert_eq!(result.err().map(|(rule, _)| rule), expected, "{claim}");
        }
    }

    #[test]
    fn sound_moves_on() {
        let mut order = SoundOrder::default();
        let stamp = stamp(0, 0, 0, false);
        for (seq, timestamp, good) in [(5, 960, true), (7, 2_880, true), (6, 0, true), (8, 2_880, false)] {
            assert_eq!(order.check(seq, timestamp, &stamp).is_ok(), good, "{seq}");
        }
    }
}
