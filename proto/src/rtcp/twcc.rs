//! Transport-wide congestion control feedback: which packets of a connection arrived, and when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//!
//! In: arrivals, or a packet. Out: packets, or arrivals. Time: arrivals, to 250 µs. Limit: [`STATUSES_MAX`] packets a
//! feedback, because a run of lost ones takes two bytes however long it is.
//!
//! Not rtc-rtcp: it makes a delta of 16 bytes for each of up to 65535 packets before it sees that none is there,
//! takes symbols beyond the status count for packets, and refuses feedback whose last packets are all lost.

use super::RtcpError;
use super::frame::Frame;
use crate::rtp::{SeqNo, Ssrc};
use crate::time::Instant;

/// The most packets that one feedback may speak of: two seconds at 40 Mbit/s, every one lost.
pub const STATUSES_MAX: usize = 8192;

/// The most packets that [`TransportFeedback::reports`] puts into one feedback: it then takes at most 1165 bytes.
const REPORT_STATUSES: usize = 500;

/// The packet type and format.
pub(super) const KIND: u8 = 205;
pub(super) const FORMAT: u8 = 15;

/// The body's bytes before the first chunk.
const FIXED_LEN: usize = 16;

/// What [`TransportFeedback::reference_time`] counts, in microseconds.
const REFERENCE_MICROS: i64 = 64_000;

/// What deltas count, in microseconds.
const TICK_MICROS: i64 = 250;

/// Why a packet is not transport feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TwccError {
    /// It has no room for the fixed part.
    #[error("{0} bytes, the fixed part takes 16")]
    Truncated(usize),
    /// It is another RTCP packet.
    #[error("packet type {kind} format {format}, not 205 and 15")]
    OtherPacket {
        /// Its packet type.
        kind: u8,
        /// Its feedback format, or what else the header counts.
        format: u8,
    },
    /// It speaks of more packets than one datagram may.
    #[error("{0} statuses, at most 8192 are read")]
    TooMany(usize),
    /// Its chunks end before its status count.
    #[error("{found} statuses, {declared} declared")]
    MissingStatuses {
        /// How many packets the chunks speak of.
        found: usize,
        /// How many the fixed part counts.
        declared: usize,
    },
    /// It has the symbol that the draft reserves (§3.1.1).
    #[error("reserved symbol for packet {0} behind the base")]
    ReservedSymbol(usize),
    /// It ends before the deltas of the packets that arrived.
    #[error("{found} bytes of deltas, {needed} needed")]
    MissingDeltas {
        /// The bytes behind the chunks.
        found: usize,
        /// The bytes that the statuses ask for.
        needed: usize,
    },
}

/// Which of a range of packets arrived, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportFeedback {
    /// Who says it.
    pub sender: Ssrc,
    /// A stream of the connection; which one does not matter.
    pub media: Ssrc,
    /// This feedback's own number, so that the sender sees lost feedback.
    pub feedback_count: u8,
    /// The transport sequence number of the first of `arrivals`.
    pub base: SeqNo,
    /// When the arrivals are counted from, in 64 ms since the receiver's epoch; 24 bits, which wrap every 12 days.
    pub reference_time: u32,
    /// For each packet from `base` on, when it arrived in microseconds since `reference_time`, if it did.
    ///
    /// On the wire these are multiples of 250 µs, with at most 8.19 s from one to the next.
    pub arrivals: Vec<Option<i64>>,
}

impl TransportFeedback {
    /// Feedback for the packets from `base` on, in as many parts as the format and a datagram of 1200 bytes need.
    ///
    /// `arrivals` says for each packet when it arrived, if it did; the receiver's clock is what it counts. The parts
    /// are numbered from `first_count`, wrapping. There are none if nothing arrived.
    pub fn reports(
        sender: Ssrc,
        media: Ssrc,
        first_count: u8,
        base: SeqNo,
        arrivals: &[Option<Instant>],
    ) -> Vec<Self> {
        let micros: Vec<Option<i64>> = arrivals.iter().map(|at| at.map(|at| at.as_micros() as i64)).collect();
        let mut parts = Vec::new();
        let Some(mut reference) = micros.iter().flatten().next().map(|at| at / REFERENCE_MICROS) else {
            return parts;
        };
        let mut start = 0;
        while start < micros.len() {
            let range = &micros[start..micros.len().min(start + REPORT_STATUSES)];
            if let Some(first) = range.iter().flatten().next() {
                reference = first / REFERENCE_MICROS;
            }
            let mut part = Self {
                sender,
                media,
                feedback_count: first_count.wrapping_add(parts.len() as u8),
                base: base.plus(start as u16),
                reference_time: (reference & 0xff_ffff) as u32,
                arrivals: range.iter().map(|at| at.map(|at| at - reference * REFERENCE_MICROS)).collect(),
            };
            // At least one: the first to arrive is less than 64 ms behind the reference.
            let fits = Statuses::of(&part.arrivals).symbols.len();
            part.arrivals.truncate(fits);
            start += fits;
            parts.push(part);
        }
        parts
    }

    /// Appends the packet, and says how many of the arrivals are in it.
    ///
    /// All of them are, up to [`STATUSES_MAX`], unless one is more than 8.19 s from the one before it or from the
    /// reference time: the format cannot say that, and the packet ends before it.
    pub fn encode(&self, out: &mut Vec<u8>) -> usize {
        let statuses = Statuses::of(&self.arrivals);
        let start = out.len();
        out.extend_from_slice(&[0x80 | FORMAT, KIND, 0, 0]);
        out.extend_from_slice(&self.sender.0.to_be_bytes());
        out.extend_from_slice(&self.media.0.to_be_bytes());
        out.extend_from_slice(&self.base.0.to_be_bytes());
        out.extend_from_slice(&(statuses.symbols.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.reference_time.to_be_bytes()[1..]);
        out.push(self.feedback_count);
        write_chunks(&statuses.symbols, out);
        out.extend_from_slice(&statuses.deltas);
        let padding = (out.len() - start).next_multiple_of(4) - (out.len() - start);
        if padding > 0 {
            out[start] |= 0x20;
            out.resize(out.len() + padding - 1, 0);
            out.push(padding as u8);
        }
        let words = ((out.len() - start) / 4 - 1) as u16;
        out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        statuses.symbols.len()
    }

    /// Reads one whole RTCP packet.
    pub fn decode(packet: &[u8]) -> Result<Self, RtcpError> {
        let (frame, _) = Frame::split(packet, 0)?;
        if (frame.kind, frame.count) != (KIND, FORMAT) {
            return Err(TwccError::OtherPacket { kind: frame.kind, format: frame.count }.into());
        }
        Ok(Self::read(frame.body())?)
    }

    /// Reads what comes after the header.
    pub(super) fn read(body: &[u8]) -> Result<Self, TwccError> {
        let (fixed, rest) = body.split_first_chunk::<FIXED_LEN>().ok_or(TwccError::Truncated(body.len()))?;
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (symbols, deltas) = read_symbols(usize::from(word(8) as u16), rest)?;
        Ok(Self {
            sender: Ssrc(word(0)),
            media: Ssrc(word(4)),
            feedback_count: fixed[15],
            base: SeqNo((word(8) >> 16) as u16),
            reference_time: word(12) >> 8,
            arrivals: read_arrivals(&symbols, deltas)?,
        })
    }
}

/// What the format says of one packet: how many bytes its delta takes (§3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Lost = 0,
    Small = 1,
    Large = 2,
}

impl Symbol {
    fn from_bits(bits: u16, place: usize) -> Result<Self, TwccError> {
        match bits & 3 {
            0 => Ok(Self::Lost),
            1 => Ok(Self::Small),
            2 => Ok(Self::Large),
            _ => Err(TwccError::ReservedSymbol(place)),
        }
    }
}

/// The longest prefix of arrivals that the format can say, as it says them.
struct Statuses {
    symbols: Vec<Symbol>,
    deltas: Vec<u8>,
}

impl Statuses {
    fn of(arrivals: &[Option<i64>]) -> Self {
        let mut statuses = Self { symbols: Vec::with_capacity(arrivals.len()), deltas: Vec::new() };
        let mut last_tick = 0;
        for arrival in arrivals.iter().take(STATUSES_MAX) {
            let Some(micros) = arrival else {
                statuses.symbols.push(Symbol::Lost);
                continue;
            };
            // Nearest tick, and deltas between ticks: errors stay within 125 µs and do not add up.
            let tick = micros.saturating_add(TICK_MICROS / 2).div_euclid(TICK_MICROS);
            let delta = tick - last_tick;
            if let Ok(small) = u8::try_from(delta) {
                statuses.symbols.push(Symbol::Small);
                statuses.deltas.push(small);
            } else if let Ok(large) = i16::try_from(delta) {
                statuses.symbols.push(Symbol::Large);
                statuses.deltas.extend_from_slice(&large.to_be_bytes());
            } else {
                break;
            }
            last_tick = tick;
        }
        statuses
    }
}

/// The longest run that a chunk can state: 13 bits.
const RUN_MAX: usize = 0x1fff;
/// Packets in a vector chunk of one bit each.
const ONE_BIT_LEN: usize = 14;
/// Packets in a vector chunk of two bits each.
const TWO_BIT_LEN: usize = 7;

/// Appends chunks for these symbols, each time the one that covers most (§3.1.2 to §3.1.4).
fn write_chunks(symbols: &[Symbol], out: &mut Vec<u8>) {
    let mut rest = symbols;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take(RUN_MAX).take_while(|&&symbol| symbol == first).count();
        let one_bit = rest.iter().take(ONE_BIT_LEN).take_while(|&&symbol| symbol != Symbol::Large).count();
        let two_bit = rest.len().min(TWO_BIT_LEN);
        // A vector is always full; only the last one may have symbols that are not looked at.
        let one_bit_is_full = one_bit == ONE_BIT_LEN || one_bit == rest.len();
        let (covered, chunk) = if run >= two_bit && (run >= one_bit || !one_bit_is_full) {
            (run, (first as u16) << 13 | run as u16)
        } else if one_bit_is_full && one_bit >= two_bit {
            (one_bit, 0x8000 | vector(&rest[..one_bit], 1))
        } else {
            (two_bit, 0xc000 | vector(&rest[..two_bit], 2))
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        rest = &rest[covered..];
    }
}

/// The low 14 bits of a vector chunk, the first symbol uppermost.
fn vector(symbols: &[Symbol], bits: usize) -> u16 {
    symbols
        .iter()
        .enumerate()
        .fold(0, |all, (place, &symbol)| all | (symbol as u16) << (14 - bits * (place + 1)))
}

/// The symbols of `declared` packets, and the bytes behind their chunks.
fn read_symbols(declared: usize, mut bytes: &[u8]) -> Result<(Vec<Symbol>, &[u8]), TwccError> {
    if declared > STATUSES_MAX {
        return Err(TwccError::TooMany(declared));
    }
    let mut symbols = Vec::with_capacity(declared);
    while symbols.len() < declared {
        let found = symbols.len();
        let missing = declared - found;
        let (chunk, rest) =
            bytes.split_first_chunk().ok_or(TwccError::MissingStatuses { found, declared })?;
        let chunk = u16::from_be_bytes(*chunk);
        bytes = rest;
        if chunk & 0x8000 == 0 {
            let run = usize::from(chunk & 0x1fff).min(missing);
            if run > 0 {
                symbols.resize(found + run, Symbol::from_bits(chunk >> 13, found)?);
            }
            continue;
        }
        let (length, bits, mask) =
            if chunk & 0x4000 == 0 { (ONE_BIT_LEN, 1, 1) } else { (TWO_BIT_LEN, 2, 3) };
        for place in 0..length.min(missing) {
            let symbol = (chunk >> (14 - bits * (place + 1))) & mask;
            symbols.push(Symbol::from_bits(symbol, found + place)?);
        }
    }
    Ok((symbols, bytes))
}

/// When the packets of these symbols arrived, in microseconds since the reference time (§3.1.5).
fn read_arrivals(symbols: &[Symbol], deltas: &[u8]) -> Result<Vec<Option<i64>>, TwccError> {
    let needed = symbols.iter().map(|&symbol| symbol as usize).sum();
    if needed > deltas.len() {
        return Err(TwccError::MissingDeltas { found: deltas.len(), needed });
    }
    let mut micros = 0;
    let mut rest = deltas;
    let arrivals = symbols.iter().map(|&symbol| {
        let (delta, after) = rest.split_at(symbol as usize);
        rest = after;
        let ticks = match *delta {
            [small] => i64::from(small),
            [high, low] => i64::from(i16::from_be_bytes([high, low])),
            _ => return None, // lost: no delta
        };
        micros += ticks * TICK_MICROS;
        Some(micros)
    });
    Ok(arrivals.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the chunks begin in a whole packet.
    const CHUNKS_AT: usize = super::super::frame::HEADER_LEN + FIXED_LEN;

    fn feedback(arrivals: Vec<Option<i64>>) -> TransportFeedback {
        TransportFeedback {
            sender: Ssrc(0x0102_0304),
            media: Ssrc(0x0506_0708),
            feedback_count: 0xaa,
            base: SeqNo(0x1122),
            reference_time: 0x0033_4455,
            arrivals,
        }
    }

    /// A packet with these statuses, declared in the fixed part, and what comes behind it.
    fn packet(declared: u16, behind: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x8f, 205, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x22];
        packet.extend_from_slice(&declared.to_be_bytes());
        packet.extend_from_slice(&[0x33, 0x44, 0x55, 0xaa]);
        packet.extend_from_slice(behind);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = (packet.len() / 4 - 1) as u8;
        packet
    }

    fn encoded(arrivals: Vec<Option<i64>>) -> Vec<u8> {
        let feedback = feedback(arrivals);
        let mut out = vec![7];
        let count = feedback.encode(&mut out);
        assert_eq!(count, feedback.arrivals.len(), "all of it can be said");
        assert_eq!(out[0], 7, "it is appended");
        assert_eq!(TransportFeedback::decode(&out[1..]), Ok(feedback));
        out.split_off(1)
    }

    #[test]
    fn the_fixed_part_and_padding_are_as_in_the_draft() {
        assert_eq!(
            encoded(vec![Some(0), Some(250)]),
            [0xaf, 205, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x22, 0, 2, 0x33, 0x44, 0x55, 0xaa]
                .iter()
                .chain(&[0x20, 2, 0, 1]) // a run of two small ones; deltas of 0 and 1
                .copied()
                .enumerate()
                .map(|(at, byte)| if at == 0 { 0x8f } else { byte })
                .collect::<Vec<u8>>(),
        );
        let padded = encoded(vec![Some(0)]);
        assert_eq!((padded[0], &padded[20..]), (0xaf, &[0x20, 1, 0, 1][..]), "one byte of padding");
        let padded = encoded(vec![None]);
        assert_eq!((padded[0], &padded[20..]), (0xaf, &[0x00, 1, 0, 2][..]), "two bytes of padding");
    }

    #[test]
    fn each_chunk_covers_as_much_as_it_can() {
        let (lost, small, large) = (None, Some(0_i64), Some(64_000_i64));
        let alternate = |count: usize| (0..count).map(|at| if at % 2 == 0 { Some(1) } else { None });
        let mixed = |symbols: &[Option<i64>]| {
            let mut now = 0;
            symbols
                .iter()
                .map(|delta| {
                    delta.map(|delta| {
                        now += delta;
                        now
                    })
                })
                .collect::<Vec<_>>()
        };
        for (name, arrivals, chunks) in [
            ("nothing", vec![], &[][..]),
            ("a run of small ones", vec![Some(0); 20], &[0x2014]),
            ("a run of lost ones", [vec![None; 100], vec![Some(0)]].concat(), &[0x0064, 0x2001]),
            ("a run of large ones", mixed(&[large; 9]), &[0x4009]),
            ("a run longer than a chunk", vec![None; 8192], &[0x1fff, 0x0001]),
            ("one bit each", alternate(14).map(|at| at.map(|_| 0)).collect(), &[0xaaaa]),
            ("one bit each, not full", alternate(9).map(|at| at.map(|_| 0)).collect(), &[0xaaa0]),
            ("two bits each", mixed(&[large, small, lost, large, small, lost, large]), &[0xe492]),
            ("two bits each, not full", mixed(&[lost, large]), &[0xc800]),
            (
                "one bit is not enough for the eighth",
                mixed(&[small, lost, small, lost, small, lost, small, large]),
                &[0xd111, 0x4001],
            ),
            ("a run where a vector would cover less", vec![Some(0); 15], &[0x200f]),
            ("a vector where a run would cover less", mixed(&[small, small, lost, small]), &[0xb400]),
        ] {
            let count = arrivals.len();
            let packet = encoded(arrivals);
            let bytes: Vec<u8> = chunks.iter().flat_map(|&chunk: &u16| chunk.to_be_bytes()).collect();
            assert_eq!(packet[CHUNKS_AT..CHUNKS_AT + bytes.len()], *bytes, "{name}");
            assert_eq!(usize::from(u16::from_be_bytes([packet[14], packet[15]])), count, "{name}");
        }
    }

    #[test]
    fn deltas_are_small_large_or_negative() {
        for (name, arrivals, deltas) in [
            ("small", vec![Some(0), Some(63_750)], &[0, 255][..]),
            ("just too large for small", vec![Some(64_000)], &[1, 0]),
            ("the largest", vec![Some(8_191_750)], &[0x7f, 0xff]),
            ("the most negative", vec![Some(-8_192_000)], &[0x80, 0x00]),
            ("reordered", vec![Some(1_000), Some(750)], &[4, 0xff, 0xff]),
            ("lost between", vec![Some(250), None, Some(500)], &[1, 1]),
        ] {
            let packet = encoded(arrivals);
            assert_eq!(packet[CHUNKS_AT + 2..CHUNKS_AT + 2 + deltas.len()], *deltas, "{name}");
        }
    }

    #[test]
    fn times_go_to_the_nearest_tick_and_errors_do_not_add_up() {
        let exact: Vec<i64> = (0..400).map(|at| at * 1_124 - 3_333).collect();
        let mut out = Vec::new();
        feedback(exact.iter().copied().map(Some).collect()).encode(&mut out);
        let decoded = TransportFeedback::decode(&out).expect("what we wrote");
        for (exact, decoded) in exact.iter().zip(decoded.arrivals) {
            let error = decoded.expect("arrived") - exact;
            assert!((-125..=125).contains(&error), "{exact}: off by {error} µs");
        }
    }

    #[test]
    fn what_cannot_be_said_ends_the_packet() {
        for (name, arrivals, written) in [
            ("far behind the reference", vec![None, Some(8_192_000)], 1),
            ("far before the reference", vec![Some(-8_192_250)], 0),
            ("far from the one before", vec![Some(5_000_000), None, Some(-4_000_000), Some(0)], 2),
            ("as far as i64 goes", vec![Some(0), Some(i64::MAX)], 1),
            ("as far back as i64 goes", vec![Some(0), Some(i64::MIN)], 1),
            ("too many", vec![None; STATUSES_MAX + 1], STATUSES_MAX),
        ] {
            let mut out = Vec::new();
            assert_eq!(feedback(arrivals.clone()).encode(&mut out), written, "{name}");
            let decoded = TransportFeedback::decode(&out).expect("what we wrote");
            assert_eq!(decoded.arrivals, arrivals[..written], "{name}");
        }
    }

    #[test]
    fn packets_that_lie_are_refused() {
        use TwccError::{MissingDeltas, MissingStatuses, OtherPacket, ReservedSymbol, TooMany, Truncated};
        let mut other = packet(1, &[0, 1]);
        other[0] = 0x81;
        for (name, bytes, error) in [
            ("no fixed part", vec![0x8f, 205, 0, 1, 0, 0, 0, 0], Truncated(4)),
            ("another format", other, OtherPacket { kind: 205, format: 1 }),
            ("no chunk", packet(1, &[]), MissingStatuses { found: 0, declared: 1 }),
            ("runs too short", packet(20, &[0, 9, 0, 9]), MissingStatuses { found: 18, declared: 20 }),
            ("empty runs", packet(1, &[0, 0, 0, 0]), MissingStatuses { found: 0, declared: 1 }),
            ("too many", packet(8193, &[0x1f, 0xff, 0x1f, 0xff]), TooMany(8193)),
            ("a reserved run", packet(2, &[0, 1, 0x60, 1]), ReservedSymbol(1)),
            ("a reserved vector", packet(7, &[0xc0, 0x03, 0, 0]), ReservedSymbol(6)),
            ("no deltas", packet(8000, &[0x3f, 0xff]), MissingDeltas { found: 2, needed: 8000 }),
            ("half a delta", packet(2, &[0xe8, 0x00, 0, 1]), MissingDeltas { found: 2, needed: 4 }),
        ] {
            assert_eq!(TransportFeedback::decode(&bytes), Err(RtcpError::Feedback(error)), "{name}");
        }
    }

    #[test]
    fn symbols_beyond_the_count_are_not_looked_at() {
        for (name, declared, behind, arrivals) in [
            ("one bit", 2, &[0xbf, 0xff, 4, 8][..], &[Some(1_000), Some(3_000)][..]),
            ("two bits, even reserved ones", 2, &[0xd7, 0xff, 4, 8], &[Some(1_000), Some(3_000)]),
            ("a run", 2, &[0x3f, 0xff, 4, 8], &[Some(1_000), Some(3_000)]),
            ("an empty run of reserved ones", 1, &[0x60, 0, 0x20, 1, 4], &[Some(1_000)]),
            ("none at all", 0, &[], &[]),
            ("all lost, without deltas", 30, &[0x00, 15, 0x00, 15], &[None; 30]),
        ] {
            let decoded = TransportFeedback::decode(&packet(declared, behind)).expect(name);
            assert_eq!(decoded, feedback(arrivals.to_vec()), "{name}");
        }
    }

    #[test]
    fn reports_are_split_where_the_format_or_the_datagram_ends() {
        let at = |micros: u64| Some(Instant::from_nanos(micros * 1_000));
        for (name, arrivals, parts) in [
            ("nothing arrived", vec![None; 9], &[][..]),
            ("one", vec![at(64_250)], &[(100, 1, 1)]),
            ("lost ones before and behind", vec![None, at(64_250), None], &[(100, 3, 1)]),
            ("a pause", vec![at(0), None, at(9_000_000), None], &[(100, 2, 0), (102, 2, 140)]),
            (
                "more than fits",
                [vec![at(128_000); 500], vec![None; 500], vec![at(200_000)]].concat(),
                &[(100, 500, 2), (600, 500, 2), (1100, 1, 3)],
            ),
            ("an epoch long ago", vec![at(64_000 << 24)], &[(100, 1, 0)]),
        ] {
            let got = TransportFeedback::reports(Ssrc(1), Ssrc(2), 255, SeqNo(100), &arrivals);
            let summary: Vec<_> =
                got.iter().map(|part| (part.base.0, part.arrivals.len(), part.reference_time)).collect();
            assert_eq!(summary, parts, "{name}");
            for (place, part) in got.iter().enumerate() {
                assert_eq!(part.feedback_count, 255_u8.wrapping_add(place as u8), "{name}");
                assert_eq!(part.encode(&mut Vec::new()), part.arrivals.len(), "{name}");
            }
        }
        let arrivals = TransportFeedback::reports(Ssrc(1), Ssrc(2), 0, SeqNo(0), &[at(64_251), at(64_000)]);
        assert_eq!(arrivals[0].arrivals, [Some(251), Some(0)], "since the reference");
    }

    #[test]
    fn the_longest_report_fits_a_datagram() {
        let worst: Vec<_> =
            (0..500).map(|at| Some(Instant::from_millis(1_000 + if at % 2 == 0 { 0 } else { 64 }))).collect();
        let parts = TransportFeedback::reports(Ssrc(1), Ssrc(2), 0, SeqNo(0), &worst);
        let mut out = Vec::new();
        parts[0].encode(&mut out);
        assert_eq!(parts.len(), 1);
        assert!(out.len() <= 1_168, "{} bytes", out.len());
    }
}
