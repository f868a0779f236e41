//! What a receiver tells about one stream: loss, jitter and the echo of sender reports (RFC 3550 §6.4.1, A.1, A.3, A.8).
//!
//! In: packets and sender reports. Out: `report`. Time: `now`, monotonic. Limit: constant memory.

use core::time::Duration;

use proto::rtcp::ReportBlock;
use proto::rtp::{SeqNo, Ssrc};
use proto::time::{Instant, NtpTime};

const DROPOUT_MAX: u16 = 3000; // packets ahead that may be lost in one piece (A.1)
const MISORDER_MAX: u16 = 100; // packets behind that may still come (A.1)
const SEQUENTIAL_MIN: u8 = 2; // packets in a row that make a source valid (A.1)
const TRANSIT_STEP_MAX: u64 = 5; // seconds: a larger one is another clock, not jitter
const LOST_MAX: i64 = 0x7f_ffff; // the 24 signed bits of the cumulative number lost
const LOST_MIN: i64 = -0x80_0000;

/// Receiver statistics of one synchronization source.
#[derive(Debug)]
pub struct Reception {
    ssrc: Ssrc,
    validity: Validity,
    count: Count,
    jitter: Jitter,
    sender_clock: Option<SenderClock>,
}

/// What the last sender report said, and when it came: the publisher's wall clock for its RTP timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderClock {
    /// The sender's wall clock.
    pub ntp: NtpTime,
    /// The RTP timestamp of the same moment.
    pub rtp_timestamp: u32,
    /// When the report arrived.
    pub received: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    Unknown,
    Probation { next: SeqNo, missing: u8 },
    Valid { jumped_to: Option<SeqNo> },
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    base: u64,    // the first valid number
    highest: u64, // extended
    received: u64,
    expected_before: u64, // at the last report
    received_before: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Jitter {
    scaled: u64, // timestamp units × 16 (A.8)
    transit: Option<u32>,
    clock_rate: u32,
}

impl Reception {
    /// Statistics of `ssrc`, of which no packet was seen.
    pub fn new(ssrc: Ssrc) -> Self {
        Self {
            ssrc,
            validity: Validity::Unknown,
            count: Count::default(),
            jitter: Jitter::default(),
            sender_clock: None,
        }
    }

    /// A packet arrived; `clock_rate` is its payload type's, in Hz.
    ///
    /// Two packets in a row make the source valid, at first and after a jump, which starts the counts again (A.1).
    pub fn handle_packet(&mut self, now: Instant, seq: SeqNo, rtp_timestamp: u32, clock_rate: u32) {
        if self.accept(seq) {
            self.count.received += 1;
            self.jitter.update(now, rtp_timestamp, clock_rate);
        }
    }

    /// A sender report of this source arrived.
    pub fn handle_sender_report(&mut self, now: Instant, ntp: NtpTime, rtp_timestamp: u32) {
        self.sender_clock = Some(SenderClock { ntp, rtp_timestamp, received: now });
    }

    /// The block for the next receiver report, which begins a new interval for the fraction lost.
    ///
    /// `None` until the source is valid.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        if !self.is_valid() {
            return None;
        }
        let lost = self.lost();
        let count = &mut self.count;
        let expected = count.expected();
        let expected_now = expected - count.expected_before;
        let received_now = count.received - count.received_before;
        count.expected_before = expected;
        count.received_before = count.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0);
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction.min(255) as u8, // 256 when all were lost, which eight bits cannot say
            lost,
            highest_seq: count.highest as u32,
            jitter: (self.jitter.scaled >> 4).min(u64::from(u32::MAX)) as u32,
            last_sr: self.sender_clock.map_or(0, |clock| clock.ntp.compact()),
            delay_since_last_sr: self
                .sender_clock
                .map_or(0, |clock| fraction_of_second(now.since(clock.received))),
        })
    }

    /// Whether enough packets came in sequence to believe in the source.
    pub const fn is_valid(&self) -> bool {
        matches!(self.validity, Validity::Valid { .. })
    }

    /// How many packets came since the source was valid or began anew, duplicates included.
    pub const fn received(&self) -> u64 {
        self.count.received
    }

    /// How many packets are missing altogether, in the 24 signed bits that a report has; duplicates count against it.
    pub fn lost(&self) -> i32 {
        if !self.is_valid() {
            return 0;
        }
        (self.count.expected() as i64 - self.count.received as i64).clamp(LOST_MIN, LOST_MAX) as i32
    }

    /// How unevenly packets arrive (A.8).
    pub fn jitter(&self) -> Duration {
        let nanos = u128::from(self.jitter.scaled) * 1_000_000_000 / 16;
        let nanos = nanos.checked_div(u128::from(self.jitter.clock_rate)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// What the last sender report said.
    pub const fn sender_clock(&self) -> Option<SenderClock> {
        self.sender_clock
    }

    /// Whether the packet counts: `update_seq` of A.1.
    fn accept(&mut self, seq: SeqNo) -> bool {
        match self.validity {
            Validity::Unknown => {
                self.validity = Validity::Probation { next: seq.plus(1), missing: SEQUENTIAL_MIN - 1 };
                false
            }
            Validity::Probation { next, missing } => {
                let missing = if seq == next { missing - 1 } else { SEQUENTIAL_MIN - 1 };
                if missing > 0 {
                    self.validity = Validity::Probation { next: seq.plus(1), missing };
                    return false;
                }
                self.begin(seq);
                true
            }
            Validity::Valid { jumped_to } => {
                let ahead = seq.0.wrapping_sub(self.count.highest as u16);
                if ahead < DROPOUT_MAX {
                    self.count.highest += u64::from(ahead);
                } else if ahead <= u16::MAX - MISORDER_MAX + 1 {
                    if jumped_to != Some(seq) {
                        self.validity = Validity::Valid { jumped_to: Some(seq.plus(1)) };
                        return false;
                    }
                    self.begin(seq);
                }
                true
            }
        }
    }

    fn begin(&mut self, seq: SeqNo) {
        self.validity = Validity::Valid { jumped_to: None };
        let first = u64::from(seq.0);
        self.count = Count { base: first, highest: first, ..Count::default() };
        self.jitter.transit = None;
    }
}

impl Count {
    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }
}

impl Jitter {
    fn update(&mut self, now: Instant, rtp_timestamp: u32, clock_rate: u32) {
        let arrival = u128::from(now.as_nanos()) * u128::from(clock_rate) / 1_000_000_000;
        let transit = (arrival as u32).wrapping_sub(rtp_timestamp);
        let step = match self.transit.replace(transit) {
            Some(before) if self.clock_rate == clock_rate => {
                u64::from((transit.wrapping_sub(before) as i32).unsigned_abs())
            }
            Some(_) | None => 0,
        };
        let counts = self.clock_rate == clock_rate && step <= TRANSIT_STEP_MAX * u64::from(clock_rate);
        self.clock_rate = clock_rate;
        if counts {
            self.scaled = self.scaled + step - ((self.scaled + 8) >> 4);
        }
    }
}

/// The round trip that a report block about our own stream shows, when it arrives at `now` of our wall clock
/// (RFC 3550 §6.4.1).
///
/// `None` if the peer had no sender report to echo, or echoes nonsense: more than ten seconds or less than nothing.
pub fn round_trip(block: &ReportBlock, now: NtpTime) -> Option<Duration> {
    const ROUNDING_MAX: i32 = 66; // 1/65536 s: one millisecond, for the peer's rounding and clock drift
    const ROUND_TRIP_MAX: i32 = 10 << 16; // 1/65536 s

    if block.last_sr == 0 {
        return None;
    }
    let elapsed = now.compact().wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr) as i32;
    if !(-ROUNDING_MAX..=ROUND_TRIP_MAX).contains(&elapsed) {
        return None;
    }
    Some(Duration::from_nanos((elapsed.max(0) as u64 * 1_000_000_000) >> 16))
}

/// A length of time in 1/65536 s, as DLSR has it; at most what 32 bits hold.
fn fraction_of_second(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn receive(seqs: &[u16]) -> Reception {
        let mut reception = Reception::new(Ssrc(7));
        for &seq in seqs {
            reception.handle_packet(ms(0), SeqNo(seq), 0, 90_000);
        }
        reception
    }

    #[test]
    fn reports_count_what_is_missing() {
        for (name, seqs, expected) in [
            ("nothing", &[][..], None),
            ("one packet is no source", &[1], None),
            ("two out of sequence neither", &[1, 3], None),
            ("two in sequence; the first was for probation", &[1, 2], Some((2, 0, 0))),
            ("one of four lost", &[1, 2, 3, 5], Some((5, 1, 64))),
            ("reordered", &[1, 2, 4, 3, 5], Some((5, 0, 0))),
            ("a duplicate makes up for a loss, as A.3 counts", &[1, 2, 3, 3, 5], Some((5, 0, 0))),
            ("more duplicates than losses", &[1, 2, 2, 2], Some((2, -2, 0))),
            ("over the wrap", &[65_534, 65_535, 0, 2], Some((65_538, 1, 64))),
            ("a late one from before the wrap", &[65_533, 65_534, 0, 65_535], Some((65_536, 0, 0))),
            ("2999 ahead are lost", &[1, 2, 3001], Some((3001, 2998, 255))),
            ("3000 ahead is ignored once", &[1, 2, 3002], Some((2, 0, 0))),
            ("and begins anew the second time", &[1, 2, 3002, 3003], Some((3003, 0, 0))),
            ("a restart from below as well", &[9000, 9001, 10, 11, 12], Some((12, 0, 0))),
            ("99 behind is late", &[9000, 9001, 8902], Some((9001, -1, 0))),
        ] {
            let report = receive(seqs).report(ms(10));
            let got = report.map(|block| (block.highest_seq, block.lost, block.fraction_lost));
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn the_fraction_is_that_of_the_interval_and_the_loss_that_of_all() {
        let mut reception = receive(&[0, 1, 2, 4]);
        let mut tell = |seqs: &[u16]| {
            for &seq in seqs {
                reception.handle_packet(ms(0), SeqNo(seq), 0, 90_000);
            }
            reception.report(ms(0)).map(|block| (block.fraction_lost, block.lost))
        };
        assert_eq!(tell(&[]), Some((64, 1)));
        assert_eq!(tell(&[]), Some((0, 1)), "nothing was expected");
        assert_eq!(tell(&[5, 6, 7, 8]), Some((0, 1)));
        assert_eq!(tell(&[10]), Some((128, 2)));
        assert_eq!(tell(&[9, 9, 11]), Some((0, 0)), "a late one and its copy: no loss, not less than none");
    }

    #[test]
    fn losses_stay_within_24_bits() {
        let mut reception = receive(&[0, 1]);
        for step in 1..4000_u32 {
            reception.handle_packet(ms(0), SeqNo((1 + step * 2999) as u16), 0, 90_000);
        }
        assert_eq!(reception.lost(), 0x7f_ffff);
        assert_eq!(reception.report(ms(0)).map(|block| block.highest_seq), Some(1 + 3999 * 2999));
    }

    #[test]
    fn jitter_is_that_of_a_8() {
        for (name, packets, jitter) in [
            ("even", &[(0, 0, 90_000), (10, 900, 90_000), (20, 1800, 90_000)][..], 0),
            ("the first to count has nothing to compare with", &[(0, 0, 90_000), (900, 0, 90_000)], 0),
            ("one 16 ms late", &[(0, 0, 90_000), (0, 0, 90_000), (16, 0, 90_000)], 1440 / 16),
            ("one early", &[(16, 1440, 90_000), (16, 1440, 90_000), (16, 2880, 90_000)], 1440 / 16),
            ("timestamps that wrap", &[(0, 0, 90_000), (0, u32::MAX - 899, 90_000), (10, 0, 90_000)], 0),
            ("another clock", &[(0, 0, 90_000), (0, 0, 90_000), (10, 77_777, 48_000)], 0),
            ("another timeline", &[(0, 0, 90_000), (0, 0, 90_000), (10, 2_000_000_000, 90_000)], 0),
        ] {
            let mut reception = Reception::new(Ssrc(7));
            for (index, &(at, timestamp, clock_rate)) in packets.iter().enumerate() {
                reception.handle_packet(ms(at), SeqNo(index as u16), timestamp, clock_rate);
            }
            assert_eq!(reception.report(ms(1000)).map(|block| block.jitter), Some(jitter), "{name}");
        }
        let mut reception = receive(&[0, 1]);
        reception.handle_packet(ms(16), SeqNo(2), 0, 90_000);
        assert_eq!(reception.jitter(), Duration::from_millis(1));
        assert_eq!(Reception::new(Ssrc(7)).jitter(), Duration::ZERO);
    }

    #[test]
    fn reports_echo_the_last_sender_report() {
        let mut reception = receive(&[0, 1]);
        let echo = |reception: &mut Reception, at| {
            reception.report(at).map(|block| (block.ssrc, block.last_sr, block.delay_since_last_sr))
        };
        assert_eq!(echo(&mut reception, ms(0)), Some((Ssrc(7), 0, 0)));
        let ntp = NtpTime::from_bits(0x1234_5678_9abc_def0);
        reception.handle_sender_report(ms(1000), ntp, 4242);
        assert_eq!(echo(&mut reception, ms(1500)), Some((Ssrc(7), 0x5678_9abc, 0x8000)));
        let clock = SenderClock { ntp, rtp_timestamp: 4242, received: ms(1000) };
        assert_eq!(reception.sender_clock(), Some(clock));
    }

    #[test]
    fn the_round_trip_is_what_the_peer_did_not_hold() {
        let sent = NtpTime::from_bits(0xe123_ffff_8000_0000);
        let block = |last_sr, held_ms: u64| ReportBlock {
            ssrc: Ssrc(7),
            fraction_lost: 0,
            lost: 0,
            highest_seq: 0,
            jitter: 0,
            last_sr,
            delay_since_last_sr: fraction_of_second(Duration::from_millis(held_ms)),
        };
        for (name, last_sr, held, elapsed, expected) in [
            ("60 ms", sent.compact(), 500, 560, Some(60)),
            ("over the wrap of 16 bits of seconds", sent.compact(), 900, 1000, Some(100)),
            ("no sender report yet", 0, 500, 560, None),
            ("half a millisecond less than nothing is rounding", sent.compact(), 560, 560, Some(0)),
            ("ten is not", sent.compact(), 570, 560, None),
            ("ten seconds", sent.compact(), 500, 10_500, Some(10_000)),
            ("eleven", sent.compact(), 500, 11_500, None),
            ("an echo of the future", sent.compact().wrapping_add(0x8_0000), 0, 560, None),
        ] {
            let now = sent.offset_nanos(elapsed * 1_000_000);
            let got = round_trip(&block(last_sr, held), now);
            let near = match (got, expected) {
                (None, None) => true,
                (Some(got), Some(expected)) => {
                    got.abs_diff(Duration::from_millis(expected)) < Duration::from_micros(50)
                }
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(near, "{name}: {got:?}, not {expected:?} ms");
        }
    }

    proptest! {
        /// Against counting by hand: a stream that is lost, reordered by up to 20 and doubled, and reported at times.
        #[test]
        fn reports_are_what_counting_by_hand_gives(
            start in any::<u16>(),
            fates in prop::collection::vec((0_u8..10, 0_u64..20, 0_u64..20_000, any::<bool>()), 1..300),
        ) {
            let first = 65_536 + u64::from(start);
            let mut order: Vec<(u64, u64, u64, bool)> = vec![(0, first - 1, 0, false), (1, first, 0, false)];
            for (index, &(fate, late, wait, reports)) in fates.iter().enumerate() {
                let number = first + 1 + index as u64;
                if fate >= 2 {
                    order.push((10 * number + if fate < 5 { 10 * late } else { 0 }, number, wait, reports));
                }
                if fate == 9 {
                    order.push((10 * number + 10 * late + 1, number, wait, reports));
                }
            }
            order.sort_by_key(|&(place, ..)| place);

            let mut reception = Reception::new(Ssrc(7));
            let mut numbers = BTreeSet::new();
            let (mut received, mut micros) = (0_i64, 5_000_000_u64);
            let (mut expected_before, mut received_before) = (0, 0);
            let (mut transit_before, mut jitter) = (None, 0_i64);
            for (place, number, wait, reports) in order {
                micros += wait;
                let now = Instant::from_nanos(micros * 1000);
                let timestamp = (number * 3000) as u32;
                reception.handle_packet(now, SeqNo(number as u16), timestamp, 90_000);
                if place > 0 {
                    numbers.insert(number);
                    received += 1;
                    let transit = (micros * 90 / 1000) as i64 - (number * 3000) as i64;
                    if let Some(before) = transit_before.replace(transit) {
                        let step: i64 = transit - before;
                        jitter += if step.abs() > 450_000 { 0 } else { step.abs() - ((jitter + 8) >> 4) };
                    }
                }
                if !reports || place == 0 {
                    continue;
                }
                let highest = *numbers.last().expect("one came");
                let expected = (highest - first) as i64 + 1;
                let (expected_now, received_now) = (expected - expected_before, received - received_before);
                (expected_before, received_before) = (expected, received);
                let lost_now = (expected_now - received_now).max(0);
                let fraction = if expected_now == 0 { 0 } else { (lost_now * 256 / expected_now).min(255) };
                let report = reception.report(now).expect("two in sequence came");
                prop_assert_eq!(i64::from(report.fraction_lost), fraction);
                prop_assert_eq!(i64::from(report.lost), expected - received);
                prop_assert_eq!(u64::from(report.highest_seq), highest - 65_536);
                prop_assert_eq!(i64::from(report.jitter), jitter >> 4);
            }
        }

        #[test]
        fn no_stream_makes_it_panic(
            packets in prop::collection::vec((any::<u64>(), any::<u16>(), any::<u32>(), 0_u32..100_000, any::<bool>()), 1..200),
        ) {
            let mut reception = Reception::new(Ssrc(7));
            let mut last = 0_u16;
            for (at, seq, timestamp, clock_rate, next) in packets {
                last = if next { last.wrapping_add(1) } else { seq };
                let now = Instant::from_nanos(at);
                reception.handle_packet(now, SeqNo(last), timestamp, clock_rate);
                reception.jitter();
                if seq % 7 == 0 {
                    prop_assert_eq!(reception.report(now).is_some(), reception.is_valid());
                }
            }
        }
    }
}
