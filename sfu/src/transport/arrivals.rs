//! The arrival log: what came in and when, told to the sender's congestion controller
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! In: arrivals by transport-wide sequence number. Out: `poll_feedback`. Time: `now`, monotonic. Limit: `SPAN_MAX`
//! numbers remembered; a packet further ahead begins a new log.

use core::time::Duration;
use std::collections::VecDeque;

use proto::rtcp::twcc::{STATUSES_MAX, TransportFeedback};
use proto::rtp::{SeqNo, Ssrc};
use proto::time::Instant;

const SPAN_MAX: u64 = STATUSES_MAX as u64; // numbers: 600 ms (`HISTORY` and one interval) of 1200-byte packets at 130 Mbit/s
const RESTART_PACKETS: u8 = 8; // consecutive numbers too old to report: late packets do not come in runs

/// How long an arrival can be reported again, when one before it comes late. As long as libwebrtc waits.
const HISTORY: Duration = Duration::from_millis(500);

const INTERVAL_SLOW: Duration = Duration::from_millis(100);
const INTERVAL_FAST: Duration = Duration::from_millis(50);
const FAST_RATE: u64 = 100; // packets per second, about 1 Mbit/s: beyond it, news is worth 20 reports a second

/// Collects arrivals and makes a feedback every 50 to 100 ms.
///
/// Every number from the first packet's on is reported: each feedback begins where the last one ended, or at a packet
/// that came after it had been reported lost. While nothing arrives, nothing is sent and nothing scheduled. After each
/// `handle_*`, drain [`ArrivalLog::poll_feedback`].
#[derive(Debug)]
pub struct ArrivalLog {
    sender: Ssrc,
    media: Ssrc,
    arrivals: VecDeque<Option<Instant>>, // when the packet `first + index` came; the last one did
    first: u64,
    unreported: u64, // the first number for the next feedback
    fresh: u64,      // packets since the last feedback
    behind: Option<(SeqNo, u8)>,
    due: Option<Instant>,
    last_feedback: Option<Instant>,
    interval: Duration,
    feedback_count: u8,
    ready: VecDeque<TransportFeedback>,
}

impl ArrivalLog {
    /// An empty log. `sender` is our own SSRC; `media` one that the peer sends: some libwebrtc ignore others.
    pub fn new(sender: Ssrc, media: Ssrc) -> Self {
        Self {
            sender,
            media,
            arrivals: VecDeque::new(),
            first: 0,
            unreported: 0,
            fresh: 0,
            behind: None,
            due: None,
            last_feedback: None,
            interval: INTERVAL_SLOW,
            feedback_count: 0,
            ready: VecDeque::new(),
        }
    }

    /// Names another of the peer's streams, as when the first one ended.
    pub fn set_media(&mut self, media: Ssrc) {
        self.media = media;
    }

    /// A packet with the transport-wide sequence number `seq` arrived; of duplicates the first counts.
    pub fn handle_arrival(&mut self, now: Instant, seq: SeqNo) {
        if self.arrivals.is_empty() {
            self.begin(now, seq);
        } else {
            let ahead = seq.distance(SeqNo((self.end() - 1) as u16));
            let number = (self.end() - 1).saturating_add_signed(i64::from(ahead));
            if number >= self.first + SPAN_MAX {
                self.make_feedback(now);
                self.begin(now, seq);
            } else if number >= self.end() {
                let missing = (number - self.end()) as usize;
                self.arrivals.extend(core::iter::repeat_n(None, missing));
                self.arrivals.push_back(Some(now));
                self.behind = None;
            } else if number < self.first {
                self.note_behind(now, seq);
                return;
            } else {
                let place = &mut self.arrivals[(number - self.first) as usize];
                if place.is_some() {
                    return;
                }
                *place = Some(now);
                self.unreported = self.unreported.min(number);
            }
        }
        self.fresh += 1;
        self.schedule(now);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.make_feedback(now);
        }
    }

    /// The next feedback to send; poll until `None`.
    pub fn poll_feedback(&mut self) -> Option<TransportFeedback> {
        self.ready.pop_front()
    }

    /// When to call [`ArrivalLog::handle_timeout`]; `None` while there is nothing to report.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The number after the newest.
    fn end(&self) -> u64 {
        self.first + self.arrivals.len() as u64
    }

    /// Starts over at `seq`. Numbers are kept well above zero, so that older ones have room below.
    fn begin(&mut self, now: Instant, seq: SeqNo) {
        self.arrivals.clear();
        self.arrivals.push_back(Some(now));
        self.first = (1 << 16) + u64::from(seq.0);
        self.unreported = self.first;
        self.behind = None;
    }

    /// A packet too old to report: a straggler, or the sender counting anew.
    fn note_behind(&mut self, now: Instant, seq: SeqNo) {
        let run = match self.behind {
            Some((last, run)) if seq == last.plus(1) => run + 1,
            Some(_) | None => 1,
        };
        self.behind = Some((seq, run));
        if run >= RESTART_PACKETS {
            self.make_feedback(now);
            self.begin(now, seq);
            self.fresh += 1;
            self.schedule(now);
        }
    }

    /// The first unreported packet sets when the next feedback goes: one interval after the last, and after a pause a
    /// short interval later, for a first packet seldom comes alone.
    fn schedule(&mut self, now: Instant) {
        if self.due.is_none() {
            let regular = self.last_feedback.map(|last| last + self.interval);
            self.due = Some(regular.filter(|&due| due > now).unwrap_or(now + INTERVAL_FAST));
        }
    }

    fn make_feedback(&mut self, now: Instant) {
        self.due = None;
        if self.fresh == 0 {
            return;
        }
        let elapsed = self.last_feedback.map_or(INTERVAL_SLOW, |last| now.since(last));
        let busy = u128::from(self.fresh) * 1000 >= u128::from(FAST_RATE) * elapsed.as_millis();
        self.interval = if busy { INTERVAL_FAST } else { INTERVAL_SLOW };
        self.last_feedback = Some(now);
        self.fresh = 0;
        let start = (self.unreported - self.first) as usize;
        let reports = TransportFeedback::reports(
            self.sender,
            self.media,
            self.feedback_count,
            SeqNo(self.unreported as u16),
            &self.arrivals.make_contiguous()[start..],
        );
        self.feedback_count = self.feedback_count.wrapping_add(reports.len() as u8);
        self.ready.extend(reports);
        self.unreported = self.end();
        self.forget(now);
    }

    /// Drops reported arrivals that are too old to be reported again; the newest stays to compare with.
    ///
    /// What is missing is kept for as long as the next one that came, for it may still come as late.
    fn forget(&mut self, now: Instant) {
        while let Some(missing) = self.arrivals.iter().position(Option::is_some)
            && missing + 1 < self.arrivals.len()
            && self.arrivals[missing].is_some_and(|at| now.since(at) > HISTORY)
        {
            self.arrivals.drain(..=missing);
            self.first += missing as u64 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use core::ops::RangeInclusive;

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn log() -> ArrivalLog {
        ArrivalLog::new(Ssrc(1), Ssrc(2))
    }

    fn arrive(log: &mut ArrivalLog, at: u64, seqs: RangeInclusive<u16>) {
        for seq in seqs {
            log.handle_arrival(ms(at), SeqNo(seq));
        }
    }

    /// The feedback at the next wake-up: base and arrivals in milliseconds.
    fn feedback(log: &mut ArrivalLog) -> (u16, Vec<Option<i64>>) {
        let at = log.poll_timeout().expect("something arrived");
        log.handle_timeout(at);
        let feedback = log.poll_feedback().expect("it is time");
        assert_eq!(log.poll_feedback(), None);
        let reference = i64::from(feedback.reference_time) * 64;
        let arrivals = feedback.arrivals.iter().map(|at| at.map(|micros| reference + micros / 1000));
        (feedback.base.0, arrivals.collect())
    }

    #[test]
    fn each_feedback_begins_where_the_last_one_ended() {
        let mut log = log();
        arrive(&mut log, 10, 65_533..=65_535);
        arrive(&mut log, 20, 1..=1);
        assert_eq!(feedback(&mut log), (65_533, vec![Some(10), Some(10), Some(10), None, Some(20)]));
        arrive(&mut log, 90, 4..=4);
        assert_eq!(feedback(&mut log), (2, vec![None, None, Some(90)]));
    }

    #[test]
    fn a_late_packet_is_reported_with_all_after_it_and_a_duplicate_is_not() {
        let mut log = log();
        arrive(&mut log, 10, 1..=2);
        arrive(&mut log, 12, 5..=5);
        assert_eq!(feedback(&mut log), (1, vec![Some(10), Some(10), None, None, Some(12)]));
        arrive(&mut log, 70, 5..=5);
        assert_eq!(log.poll_timeout(), None);
        arrive(&mut log, 80, 4..=4);
        assert_eq!(feedback(&mut log), (4, vec![Some(80), Some(12)]));
        arrive(&mut log, 200, 6..=6);
        assert_eq!(feedback(&mut log), (6, vec![Some(200)]));
    }

    #[test]
    fn a_packet_missing_since_a_pause_may_come_as_late_as_any() {
        let mut log = log();
        arrive(&mut log, 0, 1..=1);
        assert_eq!(feedback(&mut log), (1, vec![Some(0)]));
        arrive(&mut log, 1000, 3..=3);
        assert_eq!(feedback(&mut log), (2, vec![None, Some(1000)]));
        arrive(&mut log, 1400, 2..=2);
        assert_eq!(feedback(&mut log), (2, vec![Some(1400), Some(1000)]));
        arrive(&mut log, 1600, 5..=5);
        assert_eq!(feedback(&mut log), (4, vec![None, Some(1600)]));
        arrive(&mut log, 2200, 6..=6);
        assert_eq!(feedback(&mut log), (6, vec![Some(2200)]));
        arrive(&mut log, 2210, 4..=4);
        assert_eq!(log.poll_timeout(), None, "610 ms after the one behind it");
    }

    #[test]
    fn feedback_goes_every_50_ms_when_busy_and_100_when_not_and_never_when_idle() {
        for (name, gap, expected) in [
            ("audio alone, 50 packets a second", 20, 100..=100),
            ("video, 250 packets a second", 4, 50..=50),
            ("one packet each 300 ms", 300, 300..=300),
        ] {
            let mut log = log();
            assert_eq!(log.poll_timeout(), None, "{name}: before the first packet");
            let mut sent: Vec<Instant> = Vec::new();
            for index in 0..500 {
                let at = ms(index * gap);
                while let Some(due) = log.poll_timeout().filter(|&due| due <= at) {
                    log.handle_timeout(due);
                    assert_eq!(log.poll_timeout(), None, "{name}: nothing new");
                    sent.extend(log.poll_feedback().map(|_| due));
                }
                log.handle_arrival(at, SeqNo(index as u16));
            }
            for pair in sent.windows(2).skip(1) {
                let interval = pair[1].since(pair[0]).as_millis() as u64;
                assert!(expected.contains(&interval), "{name}: {interval} ms");
            }
            assert!(sent.len() > 30, "{name}");
        }
    }

    #[test]
    fn jumps_begin_a_new_log_after_what_came_before_is_told() {
        for (name, before, after, bases) in [
            ("8191 ahead is a loss", 10, 8201..=8201, &[10][..]),
            ("8192 ahead is a restart", 10, 8202..=8202, &[10, 8202]),
            ("one straggler is nothing", 9000, 10..=10, &[9000]),
            ("seven are nothing", 9000, 10..=16, &[9000]),
            ("eight in a row are a restart", 9000, 10..=17, &[9000, 17]),
        ] {
            let mut log = log();
            arrive(&mut log, 0, before..=before);
            arrive(&mut log, 10, after);
            log.handle_timeout(ms(500));
            let mut parts = Vec::new();
            while let Some(feedback) = log.poll_feedback() {
                let ends = parts.last().is_some_and(|&(_, end)| end == feedback.base.0);
                let end = feedback.base.plus(feedback.arrivals.len() as u16).0;
                match parts.last_mut().filter(|_| ends) {
                    Some(part) => part.1 = end,
                    None => parts.push((feedback.base.0, end)),
                }
            }
            assert_eq!(parts.iter().map(|&(base, _)| base).collect::<Vec<_>>(), bases, "{name}");
        }
    }

    #[test]
    fn feedback_numbers_wrap_and_the_stream_named_can_change() {
        let mut log = log();
        for index in 0..300_u16 {
            log.set_media(Ssrc(u32::from(index)));
            log.handle_arrival(ms(u64::from(index) * 100), SeqNo(index));
            log.handle_timeout(ms(u64::from(index) * 100 + 50));
            let feedback = log.poll_feedback().expect("it is time");
            let named = (feedback.feedback_count, feedback.sender, feedback.media);
            assert_eq!(named, (index as u8, Ssrc(1), Ssrc(u32::from(index))));
        }
    }

    #[test]
    fn a_busy_interval_is_split_into_datagrams() {
        let mut log = log();
        for index in 0..3000_u64 {
            let at = Instant::from_nanos(index * 16_000 + index % 2 * 70_000_000);
            log.handle_arrival(at, SeqNo((index * 2) as u16));
        }
        log.handle_timeout(ms(200));
        let mut next = 0;
        while let Some(feedback) = log.poll_feedback() {
            let mut datagram = Vec::new();
            assert_eq!(feedback.encode(&mut datagram), feedback.arrivals.len());
            assert!(datagram.len() <= 1200, "{} bytes", datagram.len());
            assert_eq!(feedback.base, SeqNo(next));
            next += feedback.arrivals.len() as u16;
        }
        assert_eq!(next, 5999);
    }

    proptest! {
        /// Packets with random gaps in time, each lost, on time, or up to 400 ms late, and some twice.
        #[test]
        fn all_feedbacks_together_say_of_every_packet_what_happened_to_it(
            start in any::<u16>(),
            fates in prop::collection::vec((0_u8..12, 0_u64..400_000, prop_oneof![9 => 0_u64..8_000, 1 => 0_u64..700_000]), 1..400),
        ) {
            let mut events: BTreeMap<(u64, u64), u64> = BTreeMap::new();
            let mut sent = 1_000_000;
            for (index, &(fate, delay, pause)) in fates.iter().enumerate() {
                sent += pause;
                let number = 65_536 + u64::from(start) + index as u64;
                if fate >= 3 || index == 0 {
                    events.insert((sent + if fate < 6 && index > 0 { delay } else { 0 }, 2 * index as u64), number);
                }
                if fate == 11 {
                    events.insert((sent + delay, 2 * index as u64 + 1), number);
                }
            }
            let mut log = log();
            let mut came: BTreeMap<u64, i64> = BTreeMap::new();
            let mut told: BTreeMap<u64, Option<i64>> = BTreeMap::new();
            let mut end = 65_536 + u64::from(start);
            let mut events = events.into_iter().peekable();
            loop {
                let now = match (events.peek().map(|&((at, _), _)| at * 1000), log.poll_timeout()) {
                    (None, None) => break,
                    (Some(at), None) => Instant::from_nanos(at),
                    (None, Some(due)) => due,
                    (Some(at), Some(due)) => due.min(Instant::from_nanos(at)),
                };
                if events.peek().is_some_and(|&((at, _), _)| at * 1000 == now.as_nanos()) {
                    let (_, number) = events.next().expect("it was peeked");
                    came.entry(number).or_insert(now.as_micros() as i64);
                    log.handle_arrival(now, SeqNo(number as u16));
                    prop_assert!(log.poll_timeout().is_none_or(|due| due >= now));
                    continue;
                }
                log.handle_timeout(now);
                prop_assert!(log.poll_timeout().is_none_or(|due| due > now));
                while let Some(feedback) = log.poll_feedback() {
                    let mut datagram = Vec::new();
                    feedback.encode(&mut datagram);
                    prop_assert!(datagram.len() <= 1200);
                    let feedback = TransportFeedback::decode(&datagram).expect("we wrote it");
                    let base = end.saturating_add_signed(i64::from(feedback.base.distance(SeqNo(end as u16))));
                    prop_assert!(base <= end, "a gap from {end} to {base}");
                    for (number, &arrival) in (base..).zip(&feedback.arrivals) {
                        let at = arrival.map(|micros| i64::from(feedback.reference_time) * 64_000 + micros);
                        prop_assert!(at.is_some() || !matches!(told.get(&number), Some(Some(_))), "taken back");
                        told.insert(number, at);
                        end = end.max(number + 1);
                    }
                }
            }
            let last = *came.keys().next_back().expect("the first packet is never lost");
            prop_assert_eq!(end, last + 1);
            for number in 65_536 + u64::from(start)..end {
                match (told[&number], came.get(&number)) {
                    (Some(told), Some(came)) => prop_assert!((told - came).abs() <= 250, "{told} for {came}"),
                    (None, None) => {}
                    (told, came) => prop_assert!(false, "{number}: {told:?} told, {came:?} true"),
                }
            }
        }

        #[test]
        fn any_numbers_keep_it_bounded(steps in prop::collection::vec((0_u64..120, any::<u16>(), any::<bool>()), 1..300)) {
            let mut log = log();
            let mut now = Instant::ZERO;
            for (wait, seq, narrow) in steps {
                now += Duration::from_millis(wait);
                log.handle_timeout(now);
                log.handle_arrival(now, SeqNo(if narrow { seq % 300 } else { seq }));
                prop_assert!(log.arrivals.len() <= SPAN_MAX as usize);
                prop_assert!(log.poll_timeout().is_none_or(|due| due > now));
                while let Some(feedback) = log.poll_feedback() {
                    prop_assert_eq!(feedback.encode(&mut Vec::new()), feedback.arrivals.len());
                }
            }
        }
    }
}
