//! Arrivals as every feedback format tells them: the one thing that senders see of TWCC, RFC 8888 and QUIC.
//!
//! In: packets of feedback. Out: [`Arrival`]s. Time: the receiver's, which packets tell modulo some hours or days and
//! which the clocks here put together. Limit: an arrival for each packet that feedback speaks of.

use crate::rtcp::ccfb::{self, ArrivalOffset, CongestionFeedback};
use crate::rtcp::twcc::TransportFeedback;
use crate::rtp::{SeqNo, Ssrc};
use crate::time::Instant;

/// The two bits of Explicit Congestion Notification (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Ecn {
    /// The transport does not do ECN.
    #[default]
    NotCapable,
    /// ECT(0).
    Capable0,
    /// ECT(1), which L4S uses (RFC 9331).
    Capable1,
    /// Congestion experienced.
    Congested,
}

/// What a receiver says of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The packet: its transport-wide number, or its number in its stream, as the format counts.
    pub seq: SeqNo,
    /// When it arrived by the receiver's clock, whose zero is unknown; `None` if it had not arrived.
    pub received: Option<Instant>,
    /// Its ECN bits as they arrived, where the format tells; [`Ecn::NotCapable`] where not.
    pub ecn: Ecn,
}

/// The clock of a receiver that sends transport-wide feedback, put together from 24 bits a packet.
///
/// Its zero is unknown, and is chosen so that nothing lies before it. Feedback may be lost or out of order, as long as
/// one packet's reference time is within six days of the one before it.
#[derive(Debug, Clone, Default)]
pub struct TwccClock {
    /// The last packet's reference time without wrapping, in 64 ms.
    reference: Option<i64>,
}

impl TwccClock {
    /// What a packet says of each of its packets, from its base on.
    pub fn arrivals<'a>(
        &mut self,
        feedback: &'a TransportFeedback,
    ) -> impl Iterator<Item = Arrival> + use<'a> {
        let told = i64::from(feedback.reference_time & 0xff_ffff);
        let reference = match self.reference {
            None => told + (1 << 24), // so that arrivals before the reference time have room
            Some(last) => last + ((told - last) << 40 >> 40), // the shorter way round in 24 bits
        };
        self.reference = Some(reference);
        feedback.arrivals.iter().enumerate().map(move |(place, arrival)| Arrival {
            seq: feedback.base.plus(place as u16),
            received: arrival.map(|micros| {
                let micros = reference.saturating_mul(64_000).saturating_add(micros);
                Instant::from_nanos((micros.max(0) as u64).saturating_mul(1_000))
            }),
            ecn: Ecn::NotCapable,
        })
    }
}

/// The clock of a receiver that sends feedback by RFC 8888, put together from 32 bits a packet.
///
/// Its zero is unknown, and is chosen so that nothing lies before it. Feedback may be lost or out of order, as long as
/// one packet's timestamp is within nine hours of the one before it.
#[derive(Debug, Clone, Default)]
pub struct CcfbClock {
    /// The last packet's timestamp without wrapping, in 1/65536 s.
    timestamp: Option<i64>,
}

impl CcfbClock {
    /// What a packet says of each packet of each stream.
    ///
    /// A packet that arrived longer ago than the format can say counts as arrived 8190/1024 s before the report, one
    /// that arrived at an unknown time as arrived when the report was made: both are no loss, and that matters more.
    pub fn arrivals<'a>(
        &mut self,
        feedback: &'a CongestionFeedback,
    ) -> impl Iterator<Item = (Ssrc, Arrival)> + use<'a> {
        let timestamp = match self.timestamp {
            None => i64::from(feedback.timestamp) + (1 << 32), // so that arrivals before it have room
            Some(last) => last + i64::from(feedback.timestamp.wrapping_sub(last as u32) as i32),
        };
        self.timestamp = Some(timestamp);
        feedback.streams.iter().flat_map(move |stream| {
            stream.packets.iter().enumerate().map(move |(place, packet)| {
                let arrival = Arrival {
                    seq: stream.base.plus(place as u16),
                    received: packet.map(|packet| before(timestamp, packet.offset)),
                    ecn: packet.map_or(Ecn::NotCapable, |packet| packet.ecn),
                };
                (stream.media, arrival)
            })
        })
    }
}

/// The time an offset before a report's.
fn before(timestamp: i64, offset: ArrivalOffset) -> Instant {
    let ticks = match offset {
        ArrivalOffset::Ticks(ticks) => i64::from(ticks),
        ArrivalOffset::TooLong => 8_190,
        ArrivalOffset::Unknown => 0,
    };
    let per_tick = (ccfb::TIMESTAMP_RATE / ccfb::OFFSET_RATE) as i64;
    let at = timestamp.saturating_sub(ticks * per_tick).max(0);
    let nanos = at as u128 * 1_000_000_000 / ccfb::TIMESTAMP_RATE;
    Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SENDER: Ssrc = Ssrc(1);
    const MEDIA: Ssrc = Ssrc(2);

    /// How far apart two clocks' names for the same things may be, once the difference of their zeros is known.
    fn assert_same(told: &[Arrival], true_ones: &[Option<Instant>], error: Duration) {
        assert_eq!(told.len(), true_ones.len());
        let pairs: Vec<_> = told.iter().zip(true_ones).map(|(told, real)| (told.received, *real)).collect();
        let offset = pairs.iter().find_map(|(told, real)| {
            Some(told.as_ref()?.as_nanos() as i128 - real.as_ref()?.as_nanos() as i128)
        });
        for (told, real) in pairs {
            assert_eq!(told.is_some(), real.is_some());
            if let (Some(told), Some(real), Some(offset)) = (told, real, offset) {
                let off = told.as_nanos() as i128 - real.as_nanos() as i128 - offset;
                assert!(off.unsigned_abs() <= error.as_nanos(), "{real:?} told as {told:?}: off by {off} ns");
            }
        }
    }

    /// Packets each 50 ms by a clock that wraps on the way, one in five of them lost.
    fn across(wrap: Instant) -> Vec<Option<Instant>> {
        let start = wrap - Duration::from_secs(20);
        (0..800_u32).map(|at| (at % 5 != 3).then(|| start + Duration::from_micros(50_137) * at)).collect()
    }

    #[test]
    fn the_24_bits_of_transport_feedback_wrap_without_a_step() {
        let wrap = Instant::from_millis(64 << 24);
        let arrivals = across(wrap);
        let mut clock = TwccClock::default();
        let mut told = Vec::new();
        for (place, part) in arrivals.chunks(4).enumerate() {
            for report in TransportFeedback::reports(SENDER, MEDIA, 0, SeqNo(place as u16 * 4), part) {
                told.extend(clock.arrivals(&report));
            }
        }
        assert_same(&told, &arrivals, Duration::from_micros(250));
        assert!(told.iter().enumerate().all(|(place, arrival)| arrival.seq == SeqNo(place as u16)));
        assert!(told.iter().filter_map(|arrival| arrival.received).is_sorted());
    }

    #[test]
    fn the_32_bits_of_congestion_feedback_wrap_without_a_step() {
        let wrap = Instant::from_millis(65_536_000);
        let arrivals = across(wrap);
        let marked: Vec<_> = arrivals.iter().map(|at| at.map(|at| (at, Ecn::Capable1))).collect();
        let mut clock = CcfbClock::default();
        let mut told = Vec::new();
        for (place, part) in marked.chunks(4).enumerate() {
            let Some((last, _)) = part.iter().flatten().last() else { continue };
            let now = *last + Duration::from_millis(3);
            for report in CongestionFeedback::reports(SENDER, MEDIA, now, SeqNo(place as u16 * 4), part) {
                told.extend(clock.arrivals(&report).map(|(media, arrival)| {
                    assert_eq!(media, MEDIA);
                    arrival
                }));
            }
        }
        assert_same(&told, &arrivals, Duration::from_millis(1));
        assert!(told.iter().all(|arrival| (arrival.ecn == Ecn::Capable1) == arrival.received.is_some()));
    }

    #[test]
    fn feedback_out_of_order_does_not_move_the_clock() {
        let report = |at: u64| {
            TransportFeedback::reports(SENDER, MEDIA, 0, SeqNo(0), &[Some(Instant::from_millis(at))])
                .remove(0)
        };
        let mut clock = TwccClock::default();
        let mut told =
            |at| clock.arrivals(&report(at)).next().and_then(|arrival| arrival.received).expect("arrived");
        let (first, third, second, fourth) = (told(100), told(700), told(400), told(1_000));
        assert_eq!(second.since(first), Duration::from_millis(300));
        assert_eq!(third.since(second), Duration::from_millis(300));
        assert_eq!(fourth.since(third), Duration::from_millis(300));
    }

    #[test]
    fn unknown_times_are_arrivals_all_the_same() {
        use ccfb::{Reception, StreamReport};
        let ecn = Ecn::Congested;
        let offsets = [
            ArrivalOffset::TooLong,
            ArrivalOffset::Ticks(8_189),
            ArrivalOffset::Ticks(0),
            ArrivalOffset::Unknown,
        ];
        let packets = offsets.map(|offset| Some(Reception { ecn, offset })).to_vec();
        let feedback = CongestionFeedback {
            sender: SENDER,
            streams: vec![
                StreamReport { media: MEDIA, base: SeqNo(65_535), packets },
                StreamReport { media: Ssrc(3), base: SeqNo(7), packets: vec![None] },
            ],
            timestamp: 5,
        };
        let told: Vec<_> = CcfbClock::default().arrivals(&feedback).collect();
        let now = told[2].1.received.expect("arrived");
        for (place, ticks) in [8_190_u64, 8_189, 0, 0].into_iter().enumerate() {
            let received = now - Duration::from_nanos(ticks * 1_000_000_000 / 1_024);
            let seq = SeqNo(65_535).plus(place as u16);
            let off = told[place].1.received.expect("arrived").as_nanos().abs_diff(received.as_nanos());
            assert!(off <= 1, "{place}: off by {off} ns");
            assert_eq!((told[place].0, told[place].1.seq, told[place].1.ecn), (MEDIA, seq, ecn));
        }
        assert_eq!(told[4], (Ssrc(3), Arrival { seq: SeqNo(7), received: None, ecn: Ecn::NotCapable }));
    }

    proptest! {
        #[test]
        fn whatever_is_told_the_clocks_run(times in proptest::collection::vec((any::<u32>(), any::<i64>()), 1..50)) {
            let (mut twcc, mut ccfb) = (TwccClock::default(), CcfbClock::default());
            for (at, micros) in times {
                let feedback = TransportFeedback {
                    sender: SENDER,
                    media: MEDIA,
                    feedback_count: 0,
                    base: SeqNo(0),
                    reference_time: at,
                    arrivals: vec![Some(micros), None],
                };
                prop_assert_eq!(twcc.arrivals(&feedback).count(), 2);
                let packets = vec![None; 3];
                let streams = vec![ccfb::StreamReport { media: MEDIA, base: SeqNo(0), packets }];
                let feedback = CongestionFeedback { sender: SENDER, streams, timestamp: at };
                prop_assert_eq!(ccfb.arrivals(&feedback).count(), 3);
            }
        }
    }
}
