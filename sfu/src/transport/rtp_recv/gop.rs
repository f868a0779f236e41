//! The newest group of pictures of a stream: its last key frame and all that came since, for who begins to watch now.
//!
//! In: packets that start key frames, the stream's cache for retransmissions. Out: [`Gop`], or why there is none. Nothing is
//! stored twice and nothing is counted per packet: this remembers where the newest key frame begins, and looks into the
//! cache when somebody asks. Time: `now`, monotonic. Limit: [`AGE_MAX`] and [`SIZE_MAX`], and what the cache keeps.

use core::ops::Range;
use core::time::Duration;

use fec::retransmit::PacketCache;
use proto::time::Instant;
use proto::units::DataSize;

use crate::transport::clock::RtpClock;
use crate::transport::downlink::PACKET_OVERHEAD;
use crate::transport::packet::SourcePacket;

/// An older key frame is not begun with: the cache keeps no more, and a viewer would have 60 pictures to decode before the
/// first that is new.
const AGE_MAX: Duration = Duration::from_secs(2);

/// A larger group is not begun with: two seconds at 4 Mbit/s, more than a path that nobody knows yet shall be given at once.
const SIZE_MAX: DataSize = DataSize::bytes(1_000_000);

/// A group of pictures: all packets of a stream from a key frame to the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gop {
    /// Their extended sequence numbers; none is missing.
    pub packets: Range<u64>,
    /// What they take with all headers.
    pub size: DataSize,
    /// When the key frame began to arrive.
    pub began: Instant,
    /// The timestamp of the newest picture.
    pub newest: u32,
    /// The stream's clock when it came.
    pub clock: RtpClock,
}

/// Why there is no group to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoGop {
    /// No key frame has come of late.
    #[error("no key frame of late")]
    NoKeyFrame,
    /// A packet since the key frame is missing.
    #[error("packet {0} is missing")]
    Hole(u64),
    /// It takes more than [`SIZE_MAX`].
    #[error("more than {SIZE_MAX:?}")]
    TooLarge,
}

/// Where a stream's newest key frame begins; see the module's description.
#[derive(Debug, Default)]
pub(super) struct NewestKeyFrame {
    start: Option<Start>,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    seq: u64,
    timestamp: u32,
    at: Instant,
}

impl NewestKeyFrame {
    /// A packet came that starts a key frame. In H.264 two of one picture may, in any order.
    pub(super) fn handle_start(&mut self, now: Instant, packet: &SourcePacket) {
        let (seq, timestamp) = (packet.seq, packet.timestamp);
        self.start = Some(match self.start {
            Some(start) if start.timestamp == timestamp => Start { seq: start.seq.min(seq), ..start },
            Some(start) if start.seq > seq => start, // an older key frame that comes late
            Some(_) | None => Start { seq, timestamp, at: now },
        });
    }

    /// The group that it begins, if all of it is in `cache` and within the limits.
    pub(super) fn gop(&self, now: Instant, cache: &PacketCache<SourcePacket>) -> Result<Gop, NoGop> {
        let recent = self.start.filter(|start| now.since(start.at) <= AGE_MAX);
        let start = recent.filter(|start| cache.get(start.seq).is_some()).ok_or(NoGop::NoKeyFrame)?;
        let (mut size, mut end, mut newest) = (DataSize::ZERO, start.seq, None);
        for packet in cache.since(start.seq) {
            let packet = packet.ok_or(NoGop::Hole(end))?;
            size += DataSize::bytes(packet.payload().len() as u64 + PACKET_OVERHEAD);
            if size > SIZE_MAX {
                return Err(NoGop::TooLarge);
            }
            newest = Some((packet.timestamp, packet.clock));
            end += 1;
        }
        let (newest, clock) = newest.ok_or(NoGop::NoKeyFrame)?;
        Ok(Gop { packets: start.seq..end, size, began: start.at, newest, clock })
    }
}

#[cfg(test)]
mod tests {
    use proto::codec::Codec;
    use proto::rtp::PayloadType;
    use proto::time::NtpTime;

    use super::*;
    use crate::transport::packet::SourceHeader;

    const CLOCK: RtpClock = RtpClock { at: NtpTime::from_bits(0), rtp: 0, rate: 90_000 };

    fn packet(seq: u64, timestamp: u32, size: usize) -> SourcePacket {
        let header = SourceHeader {
            seq,
            timestamp,
            marker: false,
            payload_type: PayloadType(96),
            codec: Codec::Vp8,
            clock: CLOCK,
            audio_level: None,
            orientation: None,
            repair_time: Duration::ZERO,
        };
        SourcePacket::new(header, &vec![0x11; size])
    }

    /// What the rows of the tests below are made of.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// A packet of the picture with this timestamp comes, and whether it starts a key frame.
        Comes { seq: u64, timestamp: u32, starts: bool },
        /// So many milliseconds pass.
        Passes(u64),
    }
    use Event::Passes;

    fn key(seq: u64, timestamp: u32) -> Event {
        Event::Comes { seq, timestamp, starts: true }
    }

    fn delta(seq: u64, timestamp: u32) -> Event {
        Event::Comes { seq, timestamp, starts: false }
    }

    fn after(events: &[Event], size: usize) -> Result<Gop, NoGop> {
        let (mut now, mut newest, mut cache) =
            (Instant::from_millis(0), NewestKeyFrame::default(), PacketCache::default());
        for event in events {
            match *event {
                Passes(millis) => now += Duration::from_millis(millis),
                Event::Comes { seq, timestamp, starts } => {
                    let packet = packet(seq, timestamp, size);
                    if starts {
                        newest.handle_start(now, &packet);
                    }
                    cache.insert(now, seq, packet);
                }
            }
        }
        newest.gop(now, &cache)
    }

    #[test]
    fn a_group_is_all_since_the_newest_key_frame_and_only_if_it_is_whole() {
        for (claim, events, expected) in [
            ("nothing came", &[][..], Err(NoGop::NoKeyFrame)),
            ("no key frame", &[delta(1, 0), delta(2, 3_000)], Err(NoGop::NoKeyFrame)),
            ("a key frame alone", &[key(5, 0)], Ok(5..6)),
            ("and what follows", &[key(5, 0), delta(6, 0), delta(7, 3_000)], Ok(5..8)),
            ("what was before does not count", &[delta(3, 0), key(5, 3_000), delta(6, 6_000)], Ok(5..7)),
            ("a hole", &[key(5, 0), delta(7, 3_000)], Err(NoGop::Hole(6))),
            ("a hole that was filled", &[key(5, 0), delta(7, 3_000), delta(6, 0)], Ok(5..8)),
            ("the next key frame begins anew", &[key(5, 0), delta(7, 0), key(8, 3_000)], Ok(8..9)),
            ("an older one that comes late", &[key(8, 3_000), key(5, 0), delta(9, 6_000)], Ok(8..10)),
            ("two starts of one picture", &[key(5, 0), key(6, 0), delta(7, 0)], Ok(5..8)),
            ("the same in the wrong order", &[key(6, 0), key(5, 0), delta(7, 0)], Ok(5..8)),
            ("a key frame that came after what leans on it", &[delta(6, 3_000), key(5, 0)], Ok(5..7)),
            ("old, but not too old", &[key(5, 0), Passes(1_999), delta(6, 3_000)], Ok(5..7)),
            ("too old", &[key(5, 0), delta(6, 0), Passes(2_001)], Err(NoGop::NoKeyFrame)),
        ] {
            assert_eq!(after(events, 100).map(|gop| gop.packets), expected, "{claim}");
        }
    }

    #[test]
    fn a_group_says_what_it_takes_and_is_bounded() {
        let packets = |count: u64| -> Vec<Event> {
            [key(0, 0)].into_iter().chain((1..count).map(|seq| delta(seq, 3_000 * seq as u32))).collect()
        };
        let gop = after(&packets(10), 1_000).unwrap();
        assert_eq!((gop.size, gop.newest), (DataSize::bytes(10 * (1_000 + PACKET_OVERHEAD)), 27_000));
        let most = SIZE_MAX.as_bytes() / (1_132 + PACKET_OVERHEAD);
        assert_eq!(after(&packets(most), 1_132).map(|gop| gop.packets), Ok(0..most));
        assert_eq!(after(&packets(most + 1), 1_132), Err(NoGop::TooLarge));
        assert_eq!(after(&packets(1_025), 10), Err(NoGop::NoKeyFrame), "the cache keeps 1024");
    }
}
