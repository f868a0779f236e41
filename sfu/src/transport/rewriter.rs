//! Joins the streams that a subscriber is switched between into one that has no seams (RFC 3550 §5.1).
//!
//! In: source packets in the selector's order. Out: sequence numbers, timestamps and picture ids of the outgoing
//! stream. Within a [`Segment`] everything is a constant shift, so reordered and lost packets stay reordered and lost
//! as they were, and an outgoing number can be traced back to its source for a retransmission. Limit: `SEGMENTS_MAX`.

use std::collections::VecDeque;

use proto::codec::{Codec, PictureIdOffsets, PictureIdRewriter};
use proto::rtp::SeqNo;
use proto::rtp::dependency::{brings_structure, frame_number};
use proto::seed::Chance;
use proto::time::NtpTime;

use super::clock::RtpClock;
use super::packet::{SourcePacket, StreamId};

/// Segments remembered; the oldest goes first. A retransmission asked for from before 32 switches is long too late.
const SEGMENTS_MAX: usize = 32;

/// How far the source's clock may lead away from the time really passed since the last packet before it is not believed.
const CLOCK_ERROR_MAX_NANOS: i64 = 2_000_000_000;

/// Older pictures that a segment begins with to catch up are so many times nearer to each other than they were: a
/// millisecond apart at 30 a second, so that a player shows them as fast as it can decode them and is not behind for ever.
/// They remain apart: libwebrtc takes equal timestamps for one picture.
const SQUEEZE: u32 = 32;

/// The pictures of the past that a stream begins with, up to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// The source number after the last of their packets.
    pub end: u64,
    /// The source's timestamp of the newest picture: that one's and all later ones' are under the constant shift.
    pub newest: u32,
    /// The source's clock when the newest came.
    pub clock: RtpClock,
}

/// The same, as a segment remembers it: what is sent again has the same timestamps.
#[derive(Debug, Clone, Copy, Default)]
struct Squeezed {
    end: u64,
    newest: u32,
}

impl Squeezed {
    /// The timestamp of a packet, before the shift: nearer to the newest if it is older.
    fn timestamp(self, packet: &SourcePacket) -> u32 {
        if packet.seq >= self.end {
            return packet.timestamp;
        }
        match self.newest.wrapping_sub(packet.timestamp) {
            older @ 0..=OLDER_MAX => self.newest.wrapping_sub(older / SQUEEZE),
            _ => packet.timestamp, // it is not older, whatever it is
        }
    }
}

/// What can be older at all, in ticks: half of the numbers (RFC 3550 §5.1: timestamps wrap).
const OLDER_MAX: u32 = i32::MAX as u32;

/// A run of source packets under one constant shift.
#[derive(Debug, Clone, Copy)]
struct Segment {
    stream: StreamId,
    first_source: u64,
    first_out: u64,
    timestamp_shift: u32,
    squeezed: Squeezed,
    /// Ticks that `timestamp_shift` has beyond the clock's true shift, so that time never stands still at a switch.
    nudge: u32,
    picture_ids: PictureIdOffsets,
    frame_shift: Option<u16>,
}

/// A source packet's place in the outgoing stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The outgoing sequence number.
    pub seq: SeqNo,
    /// The outgoing timestamp.
    pub timestamp: u32,
    segment: usize,
}

/// An outgoing packet traced back to its source.
#[derive(Debug, Clone, Copy)]
pub struct Traced {
    /// The stream it came from.
    pub stream: StreamId,
    /// Its extended sequence number there.
    pub source_seq: u64,
    /// Its outgoing sequence number.
    pub seq: SeqNo,
    timestamp_shift: u32,
    squeezed: Squeezed,
    picture_ids: PictureIdOffsets,
    frame_shift: Option<u16>,
}

impl Traced {
    /// The timestamp that the packet was sent with first.
    pub fn timestamp(&self, packet: &SourcePacket) -> u32 {
        self.squeezed.timestamp(packet).wrapping_add(self.timestamp_shift)
    }

    /// How the picture ids of its payload are shifted.
    pub fn picture_ids(&self) -> PictureIdOffsets {
        self.picture_ids
    }

    /// How the frame number of its dependency descriptor is shifted.
    pub fn frame_shift(&self) -> Option<u16> {
        self.frame_shift
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Rewriter {
    segments: VecDeque<Segment>,
    picture_ids: PictureIdRewriter,
    next_out: u64,
    last: Option<Last>,
    /// The newest frame number sent.
    last_frame: Option<u16>,
    first_timestamp: u32,
}

/// The newest packet sent.
#[derive(Debug, Clone, Copy)]
struct Last {
    timestamp: u32,
    sent: NtpTime,
    clock: RtpClock,
}

impl Rewriter {
    /// A rewriter whose numbers start anywhere (RFC 3550 §5.1: random, against known-plaintext attacks).
    pub fn new(chance: &mut Chance) -> Self {
        Self {
            segments: VecDeque::new(),
            picture_ids: PictureIdRewriter::default(),
            // In the lower half, so that an early reordering does not cross the first rollover (RFC 3711 §3.3.1).
            next_out: 0x1_0000 + u64::from(chance.number() & 0x7fff),
            last: None,
            last_frame: None,
            first_timestamp: chance.number(),
        }
    }

    /// Begins a segment: `packet` is the first of `stream` that the subscriber gets, at wall-clock time `wall`; it may be
    /// followed by more that is to be caught up with.
    pub fn switch(
        &mut self,
        wall: NtpTime,
        stream: StreamId,
        packet: &SourcePacket,
        catch_up: Option<CatchUp>,
    ) {
        let now = CatchUp { end: packet.seq, newest: packet.timestamp, clock: packet.clock };
        let CatchUp { end, newest, clock } = catch_up.unwrap_or(now);
        let squeezed = Squeezed { end, newest };
        let lead = newest.wrapping_sub(squeezed.timestamp(packet));
        let (timestamp, nudge) = self.joined_timestamp(wall, (newest, clock), lead);
        if !self.segments.is_empty() {
            self.picture_ids.switch();
        }
        self.push(Segment {
            stream,
            first_source: packet.seq,
            first_out: self.next_out,
            timestamp_shift: timestamp.wrapping_sub(newest),
            squeezed,
            nudge,
            picture_ids: PictureIdOffsets::default(), // until its first packet leaves
            frame_shift: self.frame_shift(packet),
        });
    }

    /// The stream of the newest segment; `None` before the first.
    pub fn stream(&self) -> Option<StreamId> {
        self.segments.back().map(|segment| segment.stream)
    }

    /// The place of a packet of the current stream; `None` if it is from before the switch.
    pub fn place(&mut self, wall: NtpTime, packet: &SourcePacket) -> Option<Place> {
        let (segment, out_seq) = self.locate(packet.seq)?;
        let Segment { timestamp_shift, squeezed, .. } = self.segments[segment];
        let timestamp = squeezed.timestamp(packet).wrapping_add(timestamp_shift);
        if out_seq >= self.next_out {
            self.next_out = out_seq + 1;
            self.last = Some(Last { timestamp, sent: wall, clock: packet.clock });
            let frame = frame_number(packet.descriptor()).zip(self.segments[segment].frame_shift);
            self.last_frame = frame.map(|(frame, shift)| frame.wrapping_add(shift)).or(self.last_frame);
        }
        Some(Place { seq: SeqNo(out_seq as u16), timestamp, segment })
    }

    /// How the picture ids are shifted in the payload of the packet that was given `place` just now.
    pub fn picture_ids(&mut self, place: Place, packet: &SourcePacket) -> PictureIdOffsets {
        let index = place.segment;
        if index + 1 == self.segments.len() {
            self.segments[index].picture_ids = self.picture_ids.follow(packet.picture_ids());
        }
        self.segments[index].picture_ids
    }

    /// How the frame number of a dependency descriptor is shifted in the packet that was given `place`.
    pub fn frame_shift_at(&self, place: Place) -> Option<u16> {
        self.segments[place.segment].frame_shift
    }

    /// Closes the hole that a packet of the current stream leaves which the subscriber does not need (padding alone).
    pub fn skip(&mut self, source_seq: u64) {
        let Some((index, out_seq)) = self.locate(source_seq) else { return };
        if index + 1 != self.segments.len() || out_seq != self.next_out {
            return; // later ones went out already: their numbers are fixed, the hole stays
        }
        let segment = self.segments[index];
        let rest = Segment { first_source: source_seq + 1, first_out: out_seq, ..segment };
        if segment.first_source == source_seq {
            self.segments[index] = rest; // nothing of it was sent
        } else {
            self.push(rest);
        }
    }

    /// Closes the hole of a packet that was left out with all of its picture, which no other leans on.
    pub fn leave_out(&mut self, stream: StreamId, source_seq: u64, codec: Codec) {
        if self.stream() == Some(stream) {
            self.skip(source_seq);
            self.picture_ids.leave_out(codec);
        }
    }

    /// The source of the outgoing packet `seq`, if it is among the last 2^15 and its segment is remembered.
    pub fn trace(&self, seq: SeqNo) -> Option<Traced> {
        let newest = self.next_out.checked_sub(1)?;
        let behind = SeqNo(newest as u16).distance(seq);
        let out_seq = newest.checked_sub(u64::try_from(behind).ok()?)?;
        let segment = self.segments.iter().rev().find(|segment| segment.first_out <= out_seq)?;
        Some(Traced {
            stream: segment.stream,
            source_seq: segment.first_source + (out_seq - segment.first_out),
            seq,
            timestamp_shift: segment.timestamp_shift,
            squeezed: segment.squeezed,
            picture_ids: segment.picture_ids,
            frame_shift: segment.frame_shift,
        })
    }

    /// The outgoing timestamp at wall-clock time `wall`, by the source's own clock; `None` before the first packet.
    pub fn timestamp_at(&self, wall: NtpTime) -> Option<u32> {
        let segment = self.segments.back()?;
        Some(self.last?.clock.rtp_at(wall).wrapping_add(segment.timestamp_shift))
    }

    /// What makes the number of a segment's first frame follow the last one: libwebrtc gives up key frames whose number is
    /// older than that of the one before. `None` if the segment does not begin with a structure, without which its
    /// descriptors are of no use and would be waited for.
    fn frame_shift(&self, first: &SourcePacket) -> Option<u16> {
        let frame = frame_number(first.descriptor()).filter(|_| brings_structure(first.descriptor()))?;
        Some(self.last_frame.map_or(0, |last| last.wrapping_add(1).wrapping_sub(frame)))
    }

    fn push(&mut self, segment: Segment) {
        if self.segments.len() == SEGMENTS_MAX {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }

    /// The segment of a source packet and its outgoing number.
    fn locate(&self, source_seq: u64) -> Option<(usize, u64)> {
        let stream = self.segments.back()?.stream;
        let mut end = u64::MAX;
        for (index, segment) in self.segments.iter().enumerate().rev() {
            if segment.stream != stream {
                return None;
            }
            if source_seq >= segment.first_source {
                let out_seq = segment.first_out + (source_seq - segment.first_source);
                return (out_seq < end).then_some((index, out_seq));
            }
            end = segment.first_out;
        }
        None
    }

    /// The outgoing timestamp of a source's, and how much of it is a nudge; what goes before it leads by `lead` ticks.
    fn joined_timestamp(&self, wall: NtpTime, (timestamp, clock): (u32, RtpClock), lead: u32) -> (u32, u32) {
        let (Some(last), Some(segment)) = (self.last, self.segments.back()) else {
            return (self.first_timestamp, 0);
        };
        let rate = i64::from(clock.rate);
        let passed = wall.nanos_since(last.sent).max(0);
        let by_arrival =
            last.timestamp.wrapping_add((i128::from(passed) * i128::from(rate) / 1_000_000_000) as u32);
        let true_shift = segment.timestamp_shift.wrapping_sub(segment.nudge);
        let by_clock = last.clock.rtp_at(clock.time_of(timestamp)).wrapping_add(true_shift);
        let error_nanos = i64::from(by_clock.wrapping_sub(by_arrival) as i32) * 1_000_000_000 / rate;
        let wanted = if error_nanos.abs() <= CLOCK_ERROR_MAX_NANOS { by_clock } else { by_arrival };
        // A millisecond later than the last picture at least: a decoder takes equal timestamps for one picture.
        let least = last.timestamp.wrapping_add(clock.rate / 1_000).wrapping_add(lead);
        match wanted.wrapping_sub(least) as i32 {
            0.. => (wanted, 0),
            behind => (least, behind.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::packet::{Described, SourceHeader};
    use proto::rtp::PayloadType;
    use proto::seed::Seed;

    const START: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);
    const LOW: StreamId = StreamId { connection: 1, index: 0 };
    const HIGH: StreamId = StreamId { connection: 1, index: 1 };

    fn wall(millis: i64) -> NtpTime {
        START.offset_nanos(millis * 1_000_000)
    }

    /// A packet captured `millis` after the start, on a layer whose timestamps began at `base`.
    fn packet(seq: u64, base: u32, millis: u32) -> SourcePacket {
        let header = SourceHeader {
            seq,
            timestamp: base.wrapping_add(millis * 90),
            marker: true,
            payload_type: PayloadType(102),
            codec: Codec::H264,
            clock: RtpClock { at: START, rtp: base, rate: 90_000 },
            audio_level: None,
            orientation: None,
            repair_time: core::time::Duration::ZERO,
        };
        SourcePacket::new(header, &[0x41, 0])
    }

    fn send(rewriter: &mut Rewriter, wall: NtpTime, packet: &SourcePacket) -> Option<Place> {
        let place = rewriter.place(wall, packet)?;
        let picture_ids = rewriter.picture_ids(place, packet);
        assert!(!picture_ids.alter(packet.picture_ids()), "H264 has no picture ids");
        Some(place)
    }

    fn rewriter() -> Rewriter {
        Rewriter::new(&mut Seed::from_number(1).generator())
    }

    #[test]
    fn frame_numbers_go_on_rising_through_switches_and_stay_with_what_is_sent_again() {
        let mut rewriter = rewriter();
        let framed = |seq, frame: Option<u16>| {
            // Those of switches bring a structure, as far as it is looked at.
            let flags = if [70_000, 90_000, 90_050].contains(&seq) { &[0x80][..] } else { &[] };
            let bytes =
                frame.map(|frame| [&[0xc0], &frame.to_be_bytes()[..], flags].concat()).unwrap_or_default();
            let described = Described { descriptor: &bytes, temporal: None };
            SourcePacket::described(*packet(seq, 0, 0), &[0x41, 0], described)
        };
        let mut numbers = Vec::new();
        for (stream, switches, seq, frame) in [
            (LOW, true, 70_000, Some(65_000)),
            (LOW, false, 70_001, Some(65_001)),
            (LOW, false, 70_003, Some(65_003)),
            (LOW, false, 70_002, Some(65_002)),
            (HIGH, true, 90_000, Some(500)),
            (HIGH, false, 90_001, Some(502)),
            (LOW, true, 70_100, None),
            (LOW, false, 70_101, Some(65_010)),
            (HIGH, true, 90_050, Some(40_000)),
        ] {
            let packet = framed(seq, frame);
            if switches {
                rewriter.switch(wall(30), stream, &packet, None);
            }
            let place = send(&mut rewriter, wall(30), &packet).unwrap();
            let shift = rewriter.frame_shift_at(place);
            assert_eq!(rewriter.trace(place.seq).unwrap().frame_shift(), shift, "{stream:?} {seq}");
            numbers.extend(frame.zip(shift).map(|(frame, shift)| frame.wrapping_add(shift)));
        }
        let expected = [65_000, 65_001, 65_003, 65_002, 65_004, 65_006, 65_007];
        assert_eq!(numbers, expected, "none where a segment begins without a structure");
    }

    #[test]
    fn a_switch_leaves_no_seam_in_numbers_and_follows_the_clock_in_time() {
        let mut rewriter = rewriter();
        let first = packet(70_000, 1_000, 0);
        rewriter.switch(wall(30), LOW, &first, None);
        let one = send(&mut rewriter, wall(30), &first).unwrap();
        let two = send(&mut rewriter, wall(63), &packet(70_001, 1_000, 33)).unwrap();
        assert_eq!((two.seq.distance(one.seq), two.timestamp.wrapping_sub(one.timestamp)), (1, 33 * 90));
        // The other layer's picture was captured at 66 ms and came late, through a queue.
        let key = packet(90_000, 777_000, 66);
        rewriter.switch(wall(180), HIGH, &key, None);
        let three = send(&mut rewriter, wall(180), &key).unwrap();
        assert_eq!(three.seq.distance(two.seq), 1);
        assert!(
            three.timestamp.wrapping_sub(two.timestamp).abs_diff(33 * 90) <= 2,
            "capture time, not arrival"
        );
        assert!(send(&mut rewriter, wall(181), &packet(89_999, 777_000, 60)).is_none(), "before the switch");
    }

    #[test]
    fn time_never_stands_still_at_a_switch_and_the_nudge_is_not_kept() {
        let mut rewriter = rewriter();
        let mut last = None;
        for (stream, base, millis) in [(LOW, 0, 0), (HIGH, 5_000, 0), (LOW, 0, 0), (HIGH, 5_000, 100)] {
            let packet = packet(70_000, base, millis);
            rewriter.switch(wall(i64::from(millis)), stream, &packet, None);
            let timestamp = send(&mut rewriter, wall(i64::from(millis)), &packet).unwrap().timestamp;
            if let Some(last) = last.replace(timestamp) {
                assert!(timestamp.wrapping_sub(last) as i32 > 0, "{stream:?} at {millis}");
            }
        }
        let total = last.unwrap().wrapping_sub(rewriter.first_timestamp);
        assert!(total.abs_diff(100 * 90) <= 4, "nudges add up: {total}");
    }

    #[test]
    fn padding_leaves_no_hole_and_every_packet_can_be_traced() {
        let mut rewriter = rewriter();
        let first = packet(70_000, 0, 0);
        rewriter.switch(wall(0), LOW, &first, None);
        let one = send(&mut rewriter, wall(0), &first).unwrap();
        rewriter.skip(70_001);
        let two = send(&mut rewriter, wall(1), &packet(70_002, 0, 1)).unwrap();
        assert_eq!(two.seq.distance(one.seq), 1);
        // A lost packet leaves its hole, and the hole leads back to it.
        let four = send(&mut rewriter, wall(2), &packet(70_004, 0, 2)).unwrap();
        assert_eq!(four.seq.distance(two.seq), 2);
        for (seq, source) in
            [(one.seq, 70_000), (two.seq, 70_002), (two.seq.plus(1), 70_003), (four.seq, 70_004)]
        {
            let traced = rewriter.trace(seq).unwrap();
            assert_eq!((traced.stream, traced.source_seq), (LOW, source));
        }
        assert!(rewriter.trace(four.seq.plus(1)).is_none(), "not sent yet");
        let late = send(&mut rewriter, wall(3), &packet(70_003, 0, 1)).unwrap();
        assert_eq!(late.seq, two.seq.plus(1), "a late packet takes its place");
        let traced = rewriter.trace(late.seq).unwrap();
        assert_eq!(traced.timestamp(&packet(70_003, 0, 1)), late.timestamp);
    }

    /// A group from `first` on of pictures every 33 ms, the newest at `newest_ms`, of one packet each.
    fn catch_up(first: u64, packets: u64, newest_ms: u32) -> CatchUp {
        let clock = RtpClock { at: START, rtp: 0, rate: 90_000 };
        CatchUp { end: first + packets, newest: newest_ms * 90, clock }
    }

    #[test]
    fn the_past_is_squeezed_in_order_before_the_newest_and_what_follows_is_not() {
        let mut rewriter = rewriter();
        let old = |index: u64| packet(70_000 + index, 0, 1_000 + 33 * index as u32);
        rewriter.switch(wall(2_980), LOW, &old(0), Some(catch_up(70_000, 61, 2_980)));
        let stamps: Vec<u32> =
            (0..64).map(|index| send(&mut rewriter, wall(2_980), &old(index)).unwrap().timestamp).collect();
        for (index, pair) in stamps.windows(2).enumerate() {
            let ticks = pair[1].wrapping_sub(pair[0]);
            let expected = if index < 60 { 92..=93 } else { 2_970..=2_970 };
            assert!(expected.contains(&ticks), "{ticks} ticks after picture {index}");
        }
        assert_eq!(stamps[60], rewriter.first_timestamp, "the newest is where it belongs");
        let time = rewriter.timestamp_at(wall(2_980)).unwrap();
        assert!(time.wrapping_sub(stamps[60]).wrapping_add(1) <= 2, "reports go by the newest");
        for index in [0, 1, 30, 59, 60, 61, 63] {
            let traced = rewriter.trace(SeqNo((rewriter.next_out - 64 + index) as u16)).unwrap();
            assert_eq!(traced.timestamp(&old(index)), stamps[index as usize], "sent again: {index}");
        }
    }

    #[test]
    fn time_never_goes_back_where_the_past_finds_no_room_and_the_nudge_is_not_kept() {
        let mut rewriter = rewriter();
        let first = packet(70_000, 0, 3_000);
        rewriter.switch(wall(3_000), LOW, &first, None);
        let mut last = send(&mut rewriter, wall(3_000), &first).unwrap().timestamp;
        let start = last;
        // The other layer's newest picture is the same moment as what was shown last.
        let old = |index: u64| packet(90_000 + index, 0, 2_010 + 33 * index as u32);
        rewriter.switch(wall(3_000), HIGH, &old(0), Some(catch_up(90_000, 31, 3_000)));
        for index in 0..31 {
            let timestamp = send(&mut rewriter, wall(3_000), &old(index)).unwrap().timestamp;
            assert!((90..=93).contains(&timestamp.wrapping_sub(last)), "picture {index}");
            last = timestamp;
        }
        let next = packet(70_003, 0, 3_099);
        rewriter.switch(wall(3_099), LOW, &next, None);
        let next = send(&mut rewriter, wall(3_099), &next).unwrap().timestamp;
        assert!(next.wrapping_sub(start).abs_diff(99 * 90) <= 2, "{}", next.wrapping_sub(start));
    }
}
