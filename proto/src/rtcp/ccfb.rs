//! Congestion control feedback: which packets of each stream arrived, when, and how they were marked (RFC 8888 §3.1).
//!
//! In: arrivals, or a packet. Out: packets, or arrivals. Time: the report's own, to 1/65536 s; arrivals, to 1/1024 s
//! before it. Limit: [`PACKETS_MAX`] packets a stream; the datagram bounds the rest, for each packet takes two bytes.
//!
//! Not rtc-rtcp: it reads blocks longer than the RFC allows, and leaves the two special offsets to its user.

use super::RtcpError;
use super::frame::Frame;
use crate::feedback::Ecn;
use crate::rtp::{SeqNo, Ssrc};
use crate::time::Instant;

/// The most packets that one report may speak of: a quarter of the sequence numbers (RFC 8888 §3.1).
pub const PACKETS_MAX: usize = 16_384;

/// The most packets that [`CongestionFeedback::reports`] puts into one packet: it then takes 1020 bytes.
const REPORT_PACKETS: usize = 500;

/// The packet type and format.
pub(super) const KIND: u8 = 205;
pub(super) const FORMAT: u8 = 11;

/// A report's bytes before its first packet: stream, first number, count.
const REPORT_HEADER_LEN: usize = 8;

/// What [`CongestionFeedback::timestamp`] counts: this many a second.
pub(crate) const TIMESTAMP_RATE: u128 = 65_536;

/// What [`ArrivalOffset::Ticks`] counts: this many a second.
pub(crate) const OFFSET_RATE: u128 = 1_024;

/// The longest offset that is a time.
const OFFSET_MAX: u16 = 0x1ffd;
const OFFSET_TOO_LONG: u16 = 0x1ffe;
const OFFSET_UNKNOWN: u16 = 0x1fff;

const NANOS: u128 = 1_000_000_000;

/// Why a packet is not congestion control feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CcfbError {
    /// It has no room for its sender and its timestamp.
    #[error("{0} bytes, the fixed parts take 8")]
    Truncated(usize),
    /// It is another RTCP packet.
    #[error("packet type {kind} format {format}, not 205 and 11")]
    OtherPacket {
        /// Its packet type.
        kind: u8,
        /// Its feedback format, or what else the header counts.
        format: u8,
    },
    /// What lies behind the last report is too short to be one.
    #[error("{0} bytes where a report's header takes 8")]
    PartialReport(usize),
    /// A report speaks of more packets than one may.
    #[error("{0} packets, at most 16384 may be in a report")]
    TooMany(usize),
    /// A report ends before its count.
    #[error("{found} bytes of a report's packets, {needed} needed")]
    MissingPackets {
        /// The bytes there are.
        found: usize,
        /// The bytes that its count asks for, the filling to a whole word included.
        needed: usize,
    },
}

/// Which packets of some streams arrived, when, and how they were marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CongestionFeedback {
    /// Who says it.
    pub sender: Ssrc,
    /// One for each stream.
    pub streams: Vec<StreamReport>,
    /// When this was said, by the receiver's clock, in 1/65536 s; it wraps every 18 hours.
    pub timestamp: u32,
}

/// Which packets of one stream arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    /// The stream.
    pub media: Ssrc,
    /// The sequence number of the first of `packets`.
    pub base: SeqNo,
    /// For each packet from `base` on, how it arrived, if it did.
    pub packets: Vec<Option<Reception>>,
}

/// How a packet arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    /// How it was marked; if it came more than once, congestion counts (RFC 8888 §3.1).
    pub ecn: Ecn,
    /// When, the first time.
    pub offset: ArrivalOffset,
}

/// How long before [`CongestionFeedback::timestamp`] a packet arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalOffset {
    /// In 1/1024 s, at most 8189; more is written as [`TooLong`](Self::TooLong).
    Ticks(u16),
    /// Longer than the format can say: more than 8189/1024 s.
    TooLong,
    /// Not known, or after the timestamp.
    Unknown,
}

impl CongestionFeedback {
    /// Feedback for the packets of one stream from `base` on, in as many parts as datagrams of 1200 bytes need.
    ///
    /// `arrivals` says for each packet when it arrived and how it was marked, if it did arrive; `now` is when the
    /// report is made. Both are by the receiver's clock. There are none if there are no packets to speak of.
    pub fn reports(
        sender: Ssrc,
        media: Ssrc,
        now: Instant,
        base: SeqNo,
        arrivals: &[Option<(Instant, Ecn)>],
    ) -> Vec<Self> {
        // Rounded up, so that what arrived just now is not after the report.
        let ticks = (u128::from(now.as_nanos()) * TIMESTAMP_RATE).div_ceil(NANOS);
        let reception = |&arrival: &Option<(Instant, Ecn)>| {
            arrival.map(|(at, ecn)| Reception { ecn, offset: ArrivalOffset::of(at, ticks) })
        };
        let parts = arrivals.chunks(REPORT_PACKETS).enumerate().map(|(place, part)| {
            let packets = part.iter().map(reception).collect();
            let base = base.plus((place * REPORT_PACKETS) as u16);
            Self { sender, streams: vec![StreamReport { media, base, packets }], timestamp: ticks as u32 }
        });
        parts.collect()
    }

    /// Appends the packet.
    ///
    /// Of each stream at most the first [`PACKETS_MAX`] packets are written, and of the streams only as many as a
    /// packet's length can count: 256 KiB, which no datagram holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0x80 | FORMAT, KIND, 0, 0]);
        out.extend_from_slice(&self.sender.0.to_be_bytes());
        let most = usize::from(u16::MAX) * 4; // the timestamp takes the word that the length does not count
        for stream in &self.streams {
            let packets = &stream.packets[..stream.packets.len().min(PACKETS_MAX)];
            if out.len() - start + REPORT_HEADER_LEN + padded(packets.len()) > most {
                break;
            }
            out.extend_from_slice(&stream.media.0.to_be_bytes());
            out.extend_from_slice(&stream.base.0.to_be_bytes());
            out.extend_from_slice(&(packets.len() as u16).to_be_bytes());
            for packet in packets {
                out.extend_from_slice(&packet.map_or(0, Reception::bits).to_be_bytes());
            }
            if packets.len() % 2 == 1 {
                out.extend_from_slice(&[0, 0]);
            }
        }
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        let words = ((out.len() - start) / 4 - 1) as u16;
        out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }

    /// Reads one whole RTCP packet.
    pub fn decode(packet: &[u8]) -> Result<Self, RtcpError> {
        let (frame, _) = Frame::split(packet, 0)?;
        if (frame.kind, frame.count) != (KIND, FORMAT) {
            return Err(CcfbError::OtherPacket { kind: frame.kind, format: frame.count }.into());
        }
        Ok(Self::read(frame.body())?)
    }

    /// Reads what comes after the header.
    pub(super) fn read(body: &[u8]) -> Result<Self, CcfbError> {
        let truncated = CcfbError::Truncated(body.len());
        let (sender, rest) = body.split_first_chunk().ok_or(truncated)?;
        let (mut rest, timestamp) = rest.split_last_chunk().ok_or(truncated)?;
        let mut streams = Vec::new();
        while !rest.is_empty() {
            let (stream, behind) = StreamReport::read(rest)?;
            streams.push(stream);
            rest = behind;
        }
        let timestamp = u32::from_be_bytes(*timestamp);
        Ok(Self { sender: Ssrc(u32::from_be_bytes(*sender)), streams, timestamp })
    }
}

impl StreamReport {
    /// The report that these bytes begin with, and the bytes behind it.
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), CcfbError> {
        let (header, rest) =
            bytes.split_first_chunk::<REPORT_HEADER_LEN>().ok_or(CcfbError::PartialReport(bytes.len()))?;
        let [s0, s1, s2, s3, b0, b1, n0, n1] = *header;
        let count = usize::from(u16::from_be_bytes([n0, n1]));
        if count > PACKETS_MAX {
            return Err(CcfbError::TooMany(count));
        }
        let needed = padded(count);
        let (packets, behind) =
            rest.split_at_checked(needed).ok_or(CcfbError::MissingPackets { found: rest.len(), needed })?;
        let (pairs, _) = packets[..2 * count].as_chunks::<2>();
        let report = Self {
            media: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
            base: SeqNo(u16::from_be_bytes([b0, b1])),
            packets: pairs.iter().map(|&pair| Reception::from_bits(u16::from_be_bytes(pair))).collect(),
        };
        Ok((report, behind))
    }
}

/// The bytes that so many packets take, in whole words.
fn padded(packets: usize) -> usize {
    4 * packets.div_ceil(2)
}

impl Reception {
    /// The sixteen bits of a packet that arrived: R, ECN, arrival time offset.
    fn bits(self) -> u16 {
        // The order of RFC 3168: ECT(1) comes before ECT(0).
        let ecn = match self.ecn {
            Ecn::NotCapable => 0,
            Ecn::Capable1 => 1,
            Ecn::Capable0 => 2,
            Ecn::Congested => 3,
        };
        let offset = match self.offset {
            ArrivalOffset::Ticks(ticks) => ticks.min(OFFSET_TOO_LONG),
            ArrivalOffset::TooLong => OFFSET_TOO_LONG,
            ArrivalOffset::Unknown => OFFSET_UNKNOWN,
        };
        0x8000 | ecn << 13 | offset
    }

    /// What the bits of a packet that did not arrive say besides is not looked at.
    fn from_bits(bits: u16) -> Option<Self> {
        let ecn = match bits >> 13 & 3 {
            0 => Ecn::NotCapable,
            1 => Ecn::Capable1,
            2 => Ecn::Capable0,
            _ => Ecn::Congested,
        };
        let offset = match bits & 0x1fff {
            OFFSET_TOO_LONG => ArrivalOffset::TooLong,
            OFFSET_UNKNOWN => ArrivalOffset::Unknown,
            ticks => ArrivalOffset::Ticks(ticks),
        };
        (bits & 0x8000 != 0).then_some(Self { ecn, offset })
    }
}

impl ArrivalOffset {
    /// From an arrival to a report's timestamp, which has not wrapped here; to the nearest tick.
    fn of(arrival: Instant, timestamp: u128) -> Self {
        let (report, arrival) = (timestamp * NANOS, u128::from(arrival.as_nanos()) * TIMESTAMP_RATE);
        let Some(before) = report.checked_sub(arrival) else { return Self::Unknown };
        let unit = NANOS * TIMESTAMP_RATE / OFFSET_RATE;
        match u16::try_from((before + unit / 2) / unit) {
            Ok(ticks) if ticks <= OFFSET_MAX => Self::Ticks(ticks),
            Ok(_) | Err(_) => Self::TooLong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(ecn: Ecn, offset: ArrivalOffset) -> Reception {
        Reception { ecn, offset }
    }

    fn feedback(packets: &[&[Option<Reception>]]) -> CongestionFeedback {
        let streams = packets.iter().enumerate().map(|(place, packets)| StreamReport {
            media: Ssrc(0x0506_0708 + place as u32),
            base: SeqNo(0x1122),
            packets: packets.to_vec(),
        });
        CongestionFeedback { sender: Ssrc(0x0102_0304), streams: streams.collect(), timestamp: 0xaabb_ccdd }
    }

    /// A packet with these bytes between its sender and its timestamp.
    fn packet(reports: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x8b, 205, 0, 0, 1, 2, 3, 4];
        packet.extend_from_slice(reports);
        packet.extend_from_slice(&[0xaa, 0xbb, 0xcc, 0xdd]);
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        packet
    }

    #[test]
    fn packets_are_as_in_the_rfc() {
        use ArrivalOffset::{Ticks, TooLong, Unknown};
        use Ecn::{Capable0, Capable1, Congested, NotCapable};
        let head = [5, 6, 7, 8, 0x11, 0x22, 0];
        let second = [5, 6, 7, 9, 0x11, 0x22, 0];
        for (name, feedback, reports) in [
            ("no stream", feedback(&[]), vec![]),
            ("no packet", feedback(&[&[][..]]), [&head[..], &[0]].concat()),
            ("lost, and a filling", feedback(&[&[None]]), [&head[..], &[1, 0, 0, 0, 0]].concat()),
            (
                "each marking",
                feedback(&[
                    &[NotCapable, Capable1, Capable0, Congested].map(|ecn| Some(received(ecn, Ticks(1))))[..]
                ]),
                [&head[..], &[4, 0x80, 1, 0xa0, 1, 0xc0, 1, 0xe0, 1]].concat(),
            ),
            (
                "each kind of offset",
                feedback(&[
                    &[Ticks(0), Ticks(0x1ffd), TooLong, Unknown].map(|at| Some(received(Congested, at)))
                ]),
                [&head[..], &[4, 0xe0, 0, 0xff, 0xfd, 0xff, 0xfe, 0xff, 0xff]].concat(),
            ),
            (
                "two streams",
                feedback(&[
                    &[None, Some(received(NotCapable, Ticks(2))), None],
                    &[Some(received(Capable1, Ticks(3)))],
                ]),
                [&head[..], &[3, 0, 0, 0x80, 2, 0, 0, 0, 0], &second, &[1, 0xa0, 3, 0, 0]].concat(),
            ),
        ] {
            let mut out = vec![7];
            feedback.encode(&mut out);
            assert_eq!(out[0], 7, "{name}: it is appended");
            assert_eq!(out[1..], packet(&reports), "{name}");
            assert_eq!(CongestionFeedback::decode(&out[1..]), Ok(feedback), "{name}");
        }
    }

    #[test]
    fn packets_that_lie_are_refused() {
        use CcfbError::{MissingPackets, OtherPacket, PartialReport, TooMany, Truncated};
        let mut other = packet(&[]);
        other[0] = 0x8f;
        let head = [5, 6, 7, 8, 0x11, 0x22];
        for (name, bytes, error) in [
            ("no timestamp", vec![0x8b, 205, 0, 1, 0, 0, 0, 0], Truncated(4)),
            ("nothing", vec![0x8b, 205, 0, 0], Truncated(0)),
            ("another format", other, OtherPacket { kind: 205, format: 15 }),
            ("half a header", packet(&[1, 2, 3, 4]), PartialReport(4)),
            (
                "more than there are",
                packet(&[&head[..], &[0, 3, 0, 0, 0, 0]].concat()),
                MissingPackets { found: 4, needed: 8 },
            ),
            (
                "without packets",
                packet(&[&head[..], &[0x40, 0]].concat()),
                MissingPackets { found: 0, needed: 32_768 },
            ),
            ("more than may be", packet(&[&head[..], &[0x40, 1]].concat()), TooMany(16_385)),
        ] {
            assert_eq!(
                CongestionFeedback::decode(&bytes),
                Err(RtcpError::CongestionFeedback(error)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_said_of_lost_packets_is_not_looked_at() {
        let decoded =
            CongestionFeedback::decode(&packet(&[5, 6, 7, 8, 0x11, 0x22, 0, 1, 0x7f, 0xff, 0xff, 0xff]));
        assert_eq!(decoded, Ok(feedback(&[&[None]])), "nor what fills the word");
    }

    #[test]
    fn what_cannot_be_said_is_cut() {
        let beyond = Some(received(Ecn::NotCapable, ArrivalOffset::Ticks(u16::MAX)));
        let mut out = Vec::new();
        feedback(&[&[beyond]]).encode(&mut out);
        let read = CongestionFeedback::decode(&out).expect("what we wrote");
        assert_eq!(read.streams[0].packets, [Some(received(Ecn::NotCapable, ArrivalOffset::TooLong))]);
        let long = vec![None; PACKETS_MAX + 9];
        let mut out = Vec::new();
        feedback(&[&long[..]; 9]).encode(&mut out);
        let read = CongestionFeedback::decode(&out).expect("what we wrote");
        assert_eq!(read.streams.len(), 7, "a packet of 256 KiB has no room for the eighth");
        assert!(read.streams.iter().all(|stream| stream.packets.len() == PACKETS_MAX));
        assert_eq!(read.timestamp, 0xaabb_ccdd);
    }

    #[test]
    fn reports_say_how_long_ago() {
        use ArrivalOffset::{Ticks, TooLong, Unknown};
        let at = |nanos| Instant::from_nanos(nanos);
        let second = 1_000_000_000;
        for (name, now, arrival, timestamp, offset) in [
            ("just now", at(second), at(second), 65_536, Ticks(0)),
            ("just now, between two ticks", at(second + 1), at(second + 1), 65_537, Ticks(0)),
            ("a second", at(2 * second), at(second), 131_072, Ticks(1_024)),
            ("the nearest tick below", at(second), at(second - 1_464_000), 65_536, Ticks(1)),
            ("the nearest tick above", at(second), at(second - 1_465_000), 65_536, Ticks(2)),
            ("the longest", at(9 * second), at(9 * second - 7_997_070_312), 589_824, Ticks(8_189)),
            ("longer", at(9 * second), at(second), 589_824, TooLong),
            ("in the future", at(second), at(second + 1), 65_536, Unknown),
            ("after a wrap", at(65_537 * second), at(65_536 * second), 65_536, Ticks(1_024)),
        ] {
            let reports = CongestionFeedback::reports(
                Ssrc(1),
                Ssrc(2),
                now,
                SeqNo(9),
                &[Some((arrival, Ecn::Capable1)), None],
            );
            let packets = vec![Some(received(Ecn::Capable1, offset)), None];
            let streams = vec![StreamReport { media: Ssrc(2), base: SeqNo(9), packets }];
            assert_eq!(reports, [CongestionFeedback { sender: Ssrc(1), streams, timestamp }], "{name}");
        }
    }

    #[test]
    fn long_reports_are_split_to_fit_datagrams() {
        for (count, parts) in
            [(0, &[][..]), (1, &[(65_500, 1)]), (500, &[(65_500, 500)]), (501, &[(65_500, 500), (464, 1)])]
        {
            let arrivals = vec![Some((Instant::ZERO, Ecn::NotCapable)); count];
            let got = CongestionFeedback::reports(Ssrc(1), Ssrc(2), Instant::ZERO, SeqNo(65_500), &arrivals);
            let summary: Vec<_> =
                got.iter().map(|part| (part.streams[0].base.0, part.streams[0].packets.len())).collect();
            assert_eq!(summary, parts, "{count}");
            for part in got {
                let mut out = Vec::new();
                part.encode(&mut out);
                assert!(out.len() <= 1_020, "{} bytes", out.len());
            }
        }
    }
}
