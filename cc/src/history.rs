//! What left, joined with what feedback says of it: every congestion controller's one source of facts.
//!
//! In: packets as they leave, arrivals as any format of feedback tells them. Out: [`PacketResult`]s, in the order in which
//! the packets were sent, each once; a packet taken for lost may come again as received. Time: `now`, monotonic;
//! `poll_timeout` for what is never reported. Limit: `PACKETS_MAX` packets of at most `AGE_MAX`, the oldest go first.
//!
//! **Lost** is what a report covers as missing once a packet at least `REORDER_PACKETS` later is known to have arrived
//! (RFC 9002 §6.1.1). What no report covers, because the report was lost, is neither lost nor received: it has no result.
//! **In flight** is what may still be in the network. A packet leaves it when it is reported received, when one
//! `REORDER_PACKETS` later is, covered or not (a path that keeps its order has then carried or lost it; libwebrtc too
//! counts only what left after the newest packet that feedback speaks of), or when nothing is heard for `AGE_MAX`.

use core::time::Duration;
use std::collections::VecDeque;

use proto::feedback::{Arrival, Ecn};
use proto::rtp::SeqNo;
use proto::time::Instant;
use proto::units::DataSize;

use crate::packet::{PacketClass, PacketResult, ProbeId, SentPacket};

/// The most packets remembered: 2.7 s at 3000 packets a second (30 Mbit/s). Beyond it the oldest is forgotten.
pub const PACKETS_MAX: usize = 8192;

/// How long a packet waits for its report: longer than the longest queue (2 s) and round trip (600 ms) of RFC 8868 together.
const AGE_MAX: Duration = Duration::from_secs(3);

/// How many numbers later than a missing packet another must have arrived (`kPacketThreshold` of RFC 9002 §6.1.1).
const REORDER_PACKETS: u64 = 3;

/// A new round trip counts one part in so many (RFC 6298 §2).
const RTT_WEIGHT: u32 = 8;

/// What a packet is when it leaves; the history adds its number, its time and what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// Its size with its IP and UDP headers.
    pub size: DataSize,
    /// What it carries.
    pub class: PacketClass,
    /// The probe cluster it belongs to.
    pub probe: Option<ProbeId>,
    /// Whether the sender had less to send than it was allowed.
    pub app_limited: bool,
}

/// What is known of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No report covers it.
    Unknown,
    /// A report says that it had not arrived; it may be late.
    Missing,
    /// It was given out as lost.
    Lost,
    /// It arrived, and that is still to be given out.
    Heard(Instant, Ecn),
    /// It was given out as received.
    Received,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    sent: SentPacket,
    fate: Fate,
    in_flight: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
#[repr(C)] // what each packet that leaves needs comes first
pub struct SendHistory {
    in_flight: DataSize,
    next: u64,
    /// The packets `first..next`, the oldest in front.
    entries: VecDeque<Entry>,
    /// Whatever has a lower number is not in flight.
    passed: u64,
    /// No packet before this one is [`Fate::Missing`].
    missing_from: u64,
    /// The number behind the newest packet known to have arrived.
    arrived_end: u64,
    smoothed_rtt: Option<Duration>,
    results: Vec<PacketResult>,
}

impl SendHistory {
    /// The history of a connection that has sent nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet leaves now; its number is [`Self::next_number`].
    pub fn handle_sent(&mut self, now: Instant, departure: Departure) -> SentPacket {
        self.handle_timeout(now);
        while self.entries.len() >= PACKETS_MAX {
            self.forget_first();
        }
        let Departure { size, class, probe, app_limited } = departure;
        let number = self.next;
        let sent =
            SentPacket { number, size, sent: now, class, probe, in_flight: self.in_flight, app_limited };
        self.entries.push_back(Entry { sent, fate: Fate::Unknown, in_flight: true });
        self.next += 1;
        self.in_flight += size;
        sent
    }

    /// What a report says; the reports of one datagram belong into one call.
    ///
    /// Sequence numbers are those of [`Self::next_number`], taken for the nearest to the newest packet sent. Numbers that
    /// were not sent or are forgotten say nothing, and of several reports of a packet the first arrival counts.
    pub fn handle_arrivals(
        &mut self,
        now: Instant,
        arrivals: impl IntoIterator<Item = Arrival>,
    ) -> &[PacketResult] {
        self.handle_timeout(now);
        self.results.clear();
        let (mut low, mut high) = (self.missing_from, 0);
        for arrival in arrivals {
            let Some(number) = self.note(&arrival) else { continue };
            low = low.min(number);
            high = high.max(number + 1);
        }
        self.measure_rtt(now, high);
        self.pass();
        self.give_out(low, high.max(self.lost_end()));
        self.forget();
        &self.results
    }

    /// Forgets what is too old to hear of.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.entries.front().is_some_and(|entry| now.since(entry.sent.sent) >= AGE_MAX) {
            self.forget_first();
        }
        self.forget();
    }

    /// The path is another one from now on: what is on its way on the old one is forgotten, reports of it say nothing.
    ///
    /// Nothing is in flight and no round trip is known; numbers go on, so that receivers see no jump.
    pub fn handle_route_change(&mut self, _now: Instant) {
        self.entries.clear();
        self.in_flight = DataSize::ZERO;
        (self.passed, self.missing_from, self.arrived_end) = (self.next, self.next, self.next);
        self.smoothed_rtt = None;
        self.results.clear();
    }

    /// Gives back the memory that it has grown to and does not need now.
    pub fn shrink(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.entries.shrink_to_fit();
        self.results = Vec::new();
    }

    /// When something in flight is given up.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.entry(self.passed.max(self.first()))?;
        (self.in_flight > DataSize::ZERO).then(|| oldest.sent.sent + AGE_MAX)
    }

    /// The number that the next packet gets; its low 16 bits are its transport-wide sequence number.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// What was sent and may still be in the network.
    pub fn in_flight(&self) -> DataSize {
        self.in_flight
    }

    /// The mean of what lies between a packet's leaving and its report, weighted to the latest; `None` before the first.
    ///
    /// It counts the newest packet of each report, so it has the receiver's waiting for the report in it.
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.smoothed_rtt
    }

    /// The packet that left last, if it is remembered.
    pub fn newest(&self) -> Option<&SentPacket> {
        self.entries.back().map(|entry| &entry.sent)
    }

    /// How many packets are remembered, at most [`PACKETS_MAX`].
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no packet is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes what is said of a packet, and which one it is if that is news.
    fn note(&mut self, arrival: &Arrival) -> Option<u64> {
        let newest = self.next.checked_sub(1)?;
        let step = arrival.seq.distance(SeqNo(newest as u16));
        let number = newest.checked_add_signed(i64::from(step)).filter(|&number| number <= newest)?;
        let index = number.checked_sub(self.first())?;
        let entry = self.entries.get_mut(index as usize)?;
        match (arrival.received, entry.fate) {
            (Some(at), Fate::Unknown | Fate::Missing | Fate::Lost) => {
                entry.fate = Fate::Heard(at, arrival.ecn);
                if entry.in_flight {
                    entry.in_flight = false;
                    self.in_flight -= entry.sent.size;
                }
                self.arrived_end = self.arrived_end.max(number + 1);
            }
            (None, Fate::Unknown) => entry.fate = Fate::Missing,
            (Some(_), Fate::Heard(..) | Fate::Received)
            | (None, Fate::Missing | Fate::Lost | Fate::Heard(..) | Fate::Received) => return None,
        }
        Some(number)
    }

    fn measure_rtt(&mut self, now: Instant, high: u64) {
        if high != self.arrived_end {
            return; // the newest packet that the report speaks of is missing, or came out of order
        }
        let Some(newest) = high.checked_sub(1).and_then(|number| self.entry(number)) else { return };
        let sample = now.since(newest.sent.sent);
        let smoothed =
            self.smoothed_rtt.map_or(sample, |mean| (mean * (RTT_WEIGHT - 1) + sample) / RTT_WEIGHT);
        self.smoothed_rtt = Some(smoothed);
    }

    /// Takes out of flight what others have passed.
    fn pass(&mut self) {
        let end = self.lost_end();
        self.passed = self.passed.max(self.first());
        while self.passed < end {
            self.land(self.passed);
            self.passed += 1;
        }
        // What arrived in order directly behind is out of flight already: the timer is the first one's that is not.
        while self.entry(self.passed).is_some_and(|entry| !entry.in_flight) {
            self.passed += 1;
        }
    }

    /// Gives out what is new of the packets from `low` to before `high`.
    fn give_out(&mut self, low: u64, high: u64) {
        let (first, lost_end) = (self.first(), self.lost_end());
        let low = low.max(first);
        let mut missing_from = None;
        for number in low..high.min(self.next) {
            let entry = &mut self.entries[(number - first) as usize];
            let (received, ecn) = match entry.fate {
                Fate::Heard(at, ecn) => (Some(at), ecn),
                Fate::Missing if number < lost_end => (None, Ecn::NotCapable),
                Fate::Missing => {
                    missing_from = missing_from.or(Some(number));
                    continue;
                }
                Fate::Unknown | Fate::Lost | Fate::Received => continue,
            };
            entry.fate = if received.is_some() { Fate::Received } else { Fate::Lost };
            self.results.push(PacketResult { sent: entry.sent, received, ecn });
        }
        self.missing_from = missing_from.unwrap_or_else(|| high.max(low));
    }

    /// What is missing before this number is lost.
    fn lost_end(&self) -> u64 {
        self.arrived_end.saturating_sub(REORDER_PACKETS)
    }

    /// Forgets what nothing more can be said of.
    fn forget(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.fate == Fate::Received) {
            self.entries.pop_front();
        }
    }

    fn forget_first(&mut self) {
        self.land(self.first());
        self.entries.pop_front();
        self.passed = self.passed.max(self.first());
    }

    fn land(&mut self, number: u64) {
        let first = self.first();
        let Some(entry) = number.checked_sub(first).and_then(|at| self.entries.get_mut(at as usize)) else {
            return;
        };
        if entry.in_flight {
            entry.in_flight = false;
            self.in_flight -= entry.sent.size;
        }
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(number.checked_sub(self.first())? as usize)
    }

    fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: DataSize = DataSize::bytes(1_000);

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn departure() -> Departure {
        Departure { size: SIZE, class: PacketClass::Video, probe: None, app_limited: false }
    }

    /// A history that has sent the packets `0..count`, one each millisecond.
    fn sent(count: u64) -> SendHistory {
        let mut history = SendHistory::new();
        for number in 0..count {
            assert_eq!(history.handle_sent(ms(number), departure()).number, number);
        }
        history
    }

    /// A report from `base` on: `1` arrived, `0` did not, `.` is not covered.
    fn report(base: u64, marks: &str) -> Vec<Arrival> {
        let arrival = |(place, mark): (usize, char)| {
            let number = base + place as u64;
            let received = (mark == '1').then(|| ms(number + 5_000_000));
            Arrival { seq: SeqNo(number as u16), received, ecn: Ecn::NotCapable }
        };
        marks.chars().enumerate().filter(|(_, mark)| *mark != '.').map(arrival).collect()
    }

    /// What the reports give: `+5` for received, `-5` for lost.
    fn told(history: &mut SendHistory, now: Instant, arrivals: Vec<Arrival>) -> String {
        let results = history.handle_arrivals(now, arrivals);
        let words = results.iter().map(|result| match result.received {
            Some(at) => {
                assert_eq!(at, ms(result.sent.number + 5_000_000));
                format!("+{}", result.sent.number)
            }
            None => format!("-{}", result.sent.number),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reports_become_results_in_the_order_sent_and_each_once() {
        type Reports = &'static [(u64, &'static str, &'static str)]; // base, what it says, what comes of it
        let rows: [(&str, Reports, u64); 13] = [
            ("all arrived", &[(0, "111", "+0 +1 +2")], 17),
            ("a hole that no report covers", &[(0, "1.1111", "+0 +2 +3 +4 +5"), (6, "1", "+6")], 13),
            ("a hole that three follow", &[(0, "10111", "+0 -1 +2 +3 +4")], 15),
            ("a hole that two follow waits", &[(0, "1011", "+0 +2 +3"), (4, "1", "-1 +4")], 15),
            (
                "the end of a report waits",
                &[(0, "1000", "+0"), (4, "1", "-1 +4"), (5, "11", "-2 -3 +5 +6")],
                13,
            ),
            ("an overlap", &[(0, "1111", "+0 +1 +2 +3"), (2, "1111", "+4 +5")], 14),
            ("an overlap that heals", &[(0, "1011", "+0 +2 +3"), (1, "1111", "+1 +4")], 15),
            ("a late arrival after lost", &[(0, "10111", "+0 -1 +2 +3 +4"), (1, "11", "+1")], 15),
            ("an arrival is not taken back", &[(0, "11", "+0 +1"), (0, "0011", "+2 +3"), (0, "00", "")], 16),
            ("a lost report has no results", &[(0, "11", "+0 +1"), (6, "1111", "+6 +7 +8 +9")], 10),
            (
                "a lost report's packets told later",
                &[(6, "1111", "+6 +7 +8 +9"), (0, "110111", "+0 +1 -2 +3 +4 +5")],
                10,
            ),
            ("reports in the wrong order", &[(4, "11", "+4 +5"), (0, "1011", "+0 -1 +2 +3")], 14),
            ("numbers that were not sent", &[(18, "11111", "+18 +19"), (40_000, "1111", "")], 1),
        ];
        for (name, reports, left) in rows {
            let mut history = sent(20);
            for &(base, marks, results) in reports {
                assert_eq!(told(&mut history, ms(100), report(base, marks)), results, "{name}");
            }
            assert_eq!(history.in_flight(), SIZE * left, "{name}");
        }
    }

    #[test]
    fn what_was_sent_before_is_in_flight_until_it_is_heard_of() {
        let mut history = sent(5);
        assert_eq!((history.next_number(), history.in_flight()), (5, SIZE * 5));
        let before = history.handle_sent(ms(5), departure());
        assert_eq!((before.in_flight, before.sent), (SIZE * 5, ms(5)), "itself not counted");
        told(&mut history, ms(60), report(0, "111111"));
        let after = history.handle_sent(ms(61), departure());
        assert_eq!((after.in_flight, history.in_flight(), history.len()), (DataSize::ZERO, SIZE, 1));
    }

    #[test]
    fn numbers_wrap_on_the_wire_and_not_here() {
        let mut history = sent(0);
        let mut received = 0;
        for number in 0..200_000 {
            history.handle_sent(ms(number), departure());
            if number % 10 == 9 {
                let results = history.handle_arrivals(ms(number), report(number - 9, "1111111111"));
                received += results.len();
                assert_eq!(results[0].sent.number, number - 9);
            }
        }
        assert_eq!((received, history.in_flight(), history.len()), (200_000, DataSize::ZERO, 0));
    }

    #[test]
    fn what_is_never_reported_is_given_up_after_three_seconds_and_has_no_result() {
        let mut history = sent(3);
        assert_eq!(history.poll_timeout(), Some(ms(3_000)));
        history.handle_timeout(ms(2_999));
        assert_eq!((history.in_flight(), history.len()), (SIZE * 3, 3));
        history.handle_timeout(ms(3_001));
        assert_eq!((history.in_flight(), history.poll_timeout()), (SIZE, Some(ms(3_002))));
        assert_eq!(told(&mut history, ms(3_001), report(0, "111")), "+2", "two are forgotten");
        assert_eq!((history.in_flight(), history.poll_timeout()), (DataSize::ZERO, None));
    }

    #[test]
    fn the_timer_is_of_the_oldest_in_flight() {
        let mut history = sent(10);
        told(&mut history, ms(10), report(0, "1.11.1"));
        assert_eq!(history.poll_timeout(), Some(ms(3_004)), "1 was passed, 4 was not");
        told(&mut history, ms(11), report(6, "1111"));
        assert_eq!(history.poll_timeout(), None);
        assert_eq!(history.len(), 9, "from 1 on, which may still be told");
    }

    #[test]
    fn the_history_is_bounded_and_forgets_the_oldest() {
        let mut history = SendHistory::new();
        for _ in 0..PACKETS_MAX + 2 {
            history.handle_sent(ms(0), departure());
        }
        assert_eq!((history.len(), history.in_flight()), (PACKETS_MAX, SIZE * PACKETS_MAX as u64));
        assert_eq!(told(&mut history, ms(1), report(0, "1111")), "+2 +3");
    }

    #[test]
    fn the_round_trip_is_of_the_newest_packet_reported_and_smoothed() {
        let mut history = sent(100);
        assert_eq!(history.smoothed_rtt(), None);
        told(&mut history, ms(51), report(0, "11"));
        assert_eq!(history.smoothed_rtt(), Some(Duration::from_millis(50)));
        told(&mut history, ms(140), report(2, "111111111"));
        assert_eq!(history.smoothed_rtt(), Some(Duration::from_millis(60)), "130 counts an eighth");
        told(&mut history, ms(500), report(11, "100"));
        assert_eq!(
            history.smoothed_rtt(),
            Some(Duration::from_millis(60)),
            "a report that ends with missing ones"
        );
        told(&mut history, ms(600), report(20, "1"));
        let rtt = history.smoothed_rtt();
        told(&mut history, ms(900), report(12, "11"));
        assert_eq!(history.smoothed_rtt(), rtt, "late arrivals");
    }

    #[test]
    fn marks_and_probes_come_back() {
        let mut history = SendHistory::new();
        let probe = Some(ProbeId(7));
        history.handle_sent(ms(0), Departure { probe, class: PacketClass::Padding, ..departure() });
        let arrival = Arrival { seq: SeqNo(0), received: Some(ms(9)), ecn: Ecn::Congested };
        let results = history.handle_arrivals(ms(20), [arrival]);
        assert_eq!((results[0].ecn, results[0].sent.probe), (Ecn::Congested, probe));
        assert_eq!(results[0].sent.class, PacketClass::Padding);
    }

    #[test]
    fn another_route_begins_with_nothing_in_flight_and_the_next_number() {
        let mut history = sent(10);
        told(&mut history, ms(50), report(0, "101"));
        history.handle_route_change(ms(51));
        assert_eq!((history.in_flight(), history.len(), history.next_number()), (DataSize::ZERO, 0, 10));
        assert_eq!((history.smoothed_rtt(), history.poll_timeout()), (None, None));
        assert_eq!(told(&mut history, ms(60), report(0, "1111111111")), "", "of the old route");
        assert_eq!(history.smoothed_rtt(), None);
        for number in 10..16 {
            assert_eq!(history.handle_sent(ms(70), departure()).number, number);
        }
        assert_eq!(told(&mut history, ms(90), report(4, "000000101111")), "+10 -11 +12 +13 +14 +15");
        assert_eq!(history.smoothed_rtt(), Some(Duration::from_millis(20)), "of the new route alone");
        assert_eq!(history.in_flight(), DataSize::ZERO);
    }

    #[test]
    fn the_receivers_clock_decides_nothing_here() {
        type Clock = fn(u64) -> Instant;
        let clocks: [(&str, Clock); 4] = [
            ("steady", |number| ms(number + 7_000_000)),
            ("a twentieth too fast", |number| ms(number * 21 / 20)),
            ("backwards", |number| ms(1_000_000 - number)),
            ("to and fro", |number| Instant::from_nanos(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        ];
        for (name, clock) in clocks {
            let mut history = sent(100);
            for base in (0..100).step_by(10) {
                let arrival = |number: u64| Arrival {
                    seq: SeqNo(number as u16),
                    received: (number % 10 != 3).then(|| clock(number)),
                    ecn: Ecn::NotCapable,
                };
                let results = history.handle_arrivals(ms(base + 39), (base..base + 10).map(arrival));
                assert_eq!(results.len(), 10, "{name}");
                for result in results {
                    let number = result.sent.number;
                    assert_eq!(result.received, (number % 10 != 3).then(|| clock(number)), "{name}");
                }
            }
            assert_eq!(history.smoothed_rtt(), Some(Duration::from_millis(30)), "{name}");
            assert_eq!((history.in_flight(), history.poll_timeout()), (DataSize::ZERO, None), "{name}");
        }
    }

    proptest! {
        #[test]
        fn hostile_reports_tell_of_nothing_that_was_not_sent_and_take_no_memory(
            steps in prop::collection::vec(
                (0_u64..100, 0_u64..2_000, prop::collection::vec((any::<u16>(), any::<Option<u64>>()), 0..300), any::<bool>()),
                1..60,
            ),
        ) {
            let mut history = SendHistory::new();
            let mut now = ms(0);
            let mut known = 0;
            for (count, millis, said, change) in steps {
                now += Duration::from_millis(millis);
                for _ in 0..count {
                    history.handle_sent(now, departure());
                }
                if change && millis % 10 == 0 {
                    history.handle_route_change(now);
                    known = history.next_number();
                }
                let next = history.next_number();
                // Half of the numbers are near what was sent, half anywhere.
                let arrivals = said.into_iter().map(|(word, received)| {
                    let near = (next as u16).wrapping_sub(word % 256).wrapping_add(8);
                    let seq = SeqNo(if word % 2 == 0 { near } else { word });
                    Arrival { seq, received: received.map(Instant::from_nanos), ecn: Ecn::NotCapable }
                });
                for result in history.handle_arrivals(now, arrivals) {
                    prop_assert!((known..next).contains(&result.sent.number) && result.sent.sent <= now);
                }
                prop_assert!(history.len() <= PACKETS_MAX && history.in_flight() <= SIZE * history.len() as u64);
                prop_assert!(history.smoothed_rtt().is_none_or(|rtt| rtt <= AGE_MAX));
                prop_assert!(history.poll_timeout().is_none_or(|at| at > now));
            }
        }

        #[test]
        fn each_packet_has_at_most_one_loss_and_one_arrival_and_flight_never_leaks(
            steps in prop::collection::vec((0_u64..40, 0_u64..60, "[01.]{0,30}"), 1..200),
        ) {
            let mut history = SendHistory::new();
            let mut now = ms(0);
            let (mut lost, mut received) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for (count, back, marks) in steps {
                now += Duration::from_millis(back);
                for _ in 0..count {
                    history.handle_sent(now, departure());
                }
                let base = history.next_number().saturating_sub(back);
                let mut last = None;
                let results = history.handle_arrivals(now, report(base, &marks)).to_vec();
                for result in results {
                    let number = result.sent.number;
                    prop_assert!(last.is_none_or(|last| last < number), "in order, each once");
                    last = Some(number);
                    prop_assert!(!received.contains(&number));
                    let new = if result.received.is_some() { &mut received } else { &mut lost };
                    prop_assert!(new.insert(number), "{number} twice");
                }
                let flying: DataSize = history.entries.iter().filter(|entry| entry.in_flight).map(|entry| entry.sent.size).sum();
                prop_assert_eq!(history.in_flight(), flying);
                prop_assert!(history.poll_timeout().is_none_or(|at| at > now));
                prop_assert_eq!(history.poll_timeout().is_some(), flying > DataSize::ZERO);
            }
        }
    }
}
