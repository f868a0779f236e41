//! Joins the streams that a subscriber is switched between into one that has no seams (RFC 3550 §5.1).
//!
//! In: source packets in the selector's order. Out: sequence numbers, timestamps and picture ids of the outgoing
//! stream. Within a [`Segment`] everything is a constant shift, so reordered and lost packets stay reordered and lost
//! as they were, and an outgoing number can be traced back to its source for a retransmission. Limit: `SEGMENTS_MAX`.

use std::collections::VecDeque;

use proto::codec::{Codec, PictureIdOffsets, PictureIdRewriter};
use proto::rtp::SeqNo;
use proto::seed::Chance;
use proto::time::NtpTime;

use super::clock::RtpClock;
use super::packet::{SourcePacket, StreamId};

/// Segments remembered; the oldest goes first. A retransmission asked for from before 32 switches is long too late.
const SEGMENTS_MAX: usize = 32;

/// How far the source's clock may lead away from the time really passed since the last packet before it is not believed.
const CLOCK_ERROR_MAX_NANOS: i64 = 2_000_000_000;

/// A run of source packets under one constant shift.
#[derive(Debug, Clone, Copy)]
struct Segment {
    stream: StreamId,
    first_source: u64,
    first_out: u64,
    timestamp_shift: u32,
    /// Ticks that `timestamp_shift` has beyond the clock's true shift, so that time never stands still at a switch.
    nudge: u32,
    picture_ids: PictureIdOffsets,
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
    picture_ids: PictureIdOffsets,
}

impl Traced {
    /// The timestamp that the packet was sent with first.
    pub fn timestamp(&self, packet: &SourcePacket) -> u32 {
        packet.timestamp.wrapping_add(self.timestamp_shift)
    }

    /// How the picture ids of its payload are shifted.
    pub fn picture_ids(&self) -> PictureIdOffsets {
        self.picture_ids
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Rewriter {
    segments: VecDeque<Segment>,
    picture_ids: PictureIdRewriter,
    next_out: u64,
    last: Option<Last>,
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
            first_timestamp: chance.number(),
        }
    }

    /// Begins a segment: `packet` is the first of `stream` that the subscriber gets, at wall-clock time `wall`.
    pub fn switch(&mut self, wall: NtpTime, stream: StreamId, packet: &SourcePacket) {
        let (timestamp, nudge) = self.joined_timestamp(wall, packet);
        if !self.segments.is_empty() {
            self.picture_ids.switch();
        }
        self.push(Segment {
            stream,
            first_source: packet.seq,
            first_out: self.next_out,
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
            nudge,
            picture_ids: PictureIdOffsets::default(), // until its first packet leaves
        });
    }

    /// The stream of the newest segment; `None` before the first.
    pub fn stream(&self) -> Option<StreamId> {
        self.segments.back().map(|segment| segment.stream)
    }

    /// The place of a packet of the current stream; `None` if it is from before the switch.
    pub fn place(&mut self, wall: NtpTime, packet: &SourcePacket) -> Option<Place> {
        let (segment, out_seq) = self.locate(packet.seq)?;
        let timestamp = packet.timestamp.wrapping_add(self.segments[segment].timestamp_shift);
        if out_seq >= self.next_out {
            self.next_out = out_seq + 1;
            self.last = Some(Last { timestamp, sent: wall, clock: packet.clock });
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
            picture_ids: segment.picture_ids,
        })
    }

    /// The outgoing timestamp at wall-clock time `wall`, by the source's own clock; `None` before the first packet.
    pub fn timestamp_at(&self, wall: NtpTime) -> Option<u32> {
        let segment = self.segments.back()?;
        Some(self.last?.clock.rtp_at(wall).wrapping_add(segment.timestamp_shift))
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

    /// The timestamp with which `packet` continues the outgoing stream, and how much of it is a nudge.
    fn joined_timestamp(&self, wall: NtpTime, packet: &SourcePacket) -> (u32, u32) {
        let (Some(last), Some(segment)) = (self.last, self.segments.back()) else {
            return (self.first_timestamp, 0);
        };
        let rate = i64::from(packet.clock.rate);
        let passed = wall.nanos_since(last.sent).max(0);
        let by_arrival =
            last.timestamp.wrapping_add((i128::from(passed) * i128::from(rate) / 1_000_000_000) as u32);
        let true_shift = segment.timestamp_shift.wrapping_sub(segment.nudge);
        let by_clock = last.clock.rtp_at(packet.clock.time_of(packet.timestamp)).wrapping_add(true_shift);
        let error_nanos = i64::from(by_clock.wrapping_sub(by_arrival) as i32) * 1_000_000_000 / rate;
        let wanted = if error_nanos.abs() <= CLOCK_ERROR_MAX_NANOS { by_clock } else { by_arrival };
        // A millisecond later than the last picture at least: a decoder takes equal timestamps for one picture.
        let least = last.timestamp.wrapping_add(packet.clock.rate / 1_000);
        match wanted.wrapping_sub(least) as i32 {
            0.. => (wanted, 0),
            behind => (least, behind.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::packet::SourceHeader;
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
    fn a_switch_leaves_no_seam_in_numbers_and_follows_the_clock_in_time() {
        let mut rewriter = rewriter();
        let first = packet(70_000, 1_000, 0);
        rewriter.switch(wall(30), LOW, &first);
        let one = send(&mut rewriter, wall(30), &first).unwrap();
        let two = send(&mut rewriter, wall(63), &packet(70_001, 1_000, 33)).unwrap();
        assert_eq!((two.seq.distance(one.seq), two.timestamp.wrapping_sub(one.timestamp)), (1, 33 * 90));
        // The other layer's picture was captured at 66 ms and came late, through a queue.
        let key = packet(90_000, 777_000, 66);
        rewriter.switch(wall(180), HIGH, &key);
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
            rewriter.switch(wall(i64::from(millis)), stream, &packet);
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
        rewriter.switch(wall(0), LOW, &first);
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
}
