//! NACK generation: which missing packets to ask for, and when (RFC 4585 §6.2.1).
//!
//! In: arrivals by extended sequence number, and the round trip. Out: `poll_nack`, `take_given_up`. Time: `now`,
//! monotonic. Limit: `HOLES_MAX`; the oldest hole is given up when one more is found.

mod learnt;

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::{Instant, earliest};

use learnt::{Patience, RoundTrip};

const HOLES_MAX: usize = 256; // packets: one second at 2.5 Mbit/s, every one lost; beyond that a key frame is cheaper
const JUMP_MAX: u64 = HOLES_MAX as u64; // packets: a wider gap could not be asked for anyway, so it is a restart
const BATCH_MAX: usize = 64; // sequence numbers: at most 4 × 64 = 256 bytes of RTCP, well within one datagram
const RESTART_PACKETS: u8 = 8; // consecutive numbers far behind: late packets do not come in runs, a restart does

/// How long a hole may be a mere reordering before it is asked for.
///
/// The second newer packet ends the wait earlier: paced video reorders by one place if at all, and asking for
/// nothing costs one retransmission while waiting costs every real loss its delay. Chromium asks at once.
///
/// Where most holes fill unasked, by packets out of order or by repair packets, the time that this takes is waited
/// instead, however many packets come meanwhile (see [`Patience`]).
const REORDER_GRACE: Duration = Duration::from_millis(5);

const RETRY_MIN: Duration = Duration::from_millis(20); // a sender's pacer may hold an answer that long on any path
const RETRY_MARGIN_MIN: Duration = Duration::from_millis(10); // jitter to allow for on short paths
const RETRY_MAX: Duration = Duration::from_millis(500); // where backing off ends, unless the round trip is longer
const TRIES_MAX: u8 = 10; // Chromium's limit
const AGE_MAX: Duration = Duration::from_secs(1); // older packets are asked no more: their frame is long late

/// The receiver's side of retransmission for one stream of packets.
///
/// After each `handle_*`, drain [`NackGenerator::poll_nack`].
#[derive(Debug)]
pub struct NackGenerator {
    holes: VecDeque<Hole>, // by rising sequence number: holes only ever appear above all others
    pending: usize,        // holes to be named by the next `poll_nack`
    next: Option<Instant>, // no hole is due before; may be early after a hole was filled
    highest: Option<u64>,
    behind: Option<(u64, u8)>, // the last packet from far behind and how many came in a row
    round_trip: RoundTrip,
    patience: Patience,
    now: Instant,
    given_up: u32,
    stats: NackStats,
}

/// What a [`NackGenerator`] did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NackStats {
    /// Sequence numbers asked for, each as often as it was.
    pub asked: u64,
    /// Holes filled after they had been asked for.
    pub recovered: u64,
    /// Holes filled before they were asked for: packets out of order.
    pub reordered: u64,
    /// Holes filled from repair packets, asked for or not.
    pub restored: u64,
    /// Holes abandoned; a jump counts as one.
    pub given_up: u64,
}

#[derive(Debug, Clone, Copy)]
struct Hole {
    seq: u64,
    found: Instant,
    first_asked: Instant, // meaningless before the first try
    due: Instant,
    tries: u8,
    ask: Ask,
}

/// How a packet came that fills a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Itself,
    Retransmission,
    Repair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Waiting,
    Pending,
}

impl Default for NackGenerator {
    fn default() -> Self {
        Self::new()
    }
}

impl NackGenerator {
    /// A generator that has seen no packet; the first one sets where the stream begins.
    pub fn new() -> Self {
        Self {
            holes: VecDeque::new(),
            pending: 0,
            next: None,
            highest: None,
            behind: None,
            round_trip: RoundTrip::default(),
            patience: Patience::default(),
            now: Instant::ZERO,
            given_up: 0,
            stats: NackStats::default(),
        }
    }

    /// The packet with extended sequence number `seq` arrived as itself.
    pub fn handle_arrival(&mut self, now: Instant, seq: u64) {
        self.now = now;
        match self.highest {
            None => self.highest = Some(seq),
            Some(highest) if seq > highest + JUMP_MAX => self.restart(seq),
            Some(highest) if seq > highest => self.advance(highest, seq),
            Some(highest) if seq + JUMP_MAX < highest => self.note_behind(seq),
            Some(_) => {
                self.fill(seq, Way::Itself);
            }
        }
        self.handle_timeout(now);
    }

    /// The packet with extended sequence number `seq` came by a retransmission.
    /// Tells whether it was missing; if not, it came twice, or so late that it had been given up.
    pub fn handle_recovered(&mut self, now: Instant, seq: u64) -> bool {
        self.handle_late(now, seq, Way::Retransmission)
    }

    /// The packet with extended sequence number `seq` was restored from repair packets. Tells whether it was missing.
    pub fn handle_restored(&mut self, now: Instant, seq: u64) -> bool {
        self.handle_late(now, seq, Way::Repair)
    }

    /// The round trip to whoever answers, at most a second. Until it is told, it is learnt from the answers.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.round_trip.tell(rtt);
    }

    /// Whether a packet with extended sequence number `seq` can have been sent yet: none is so far ahead of the newest.
    pub fn is_credible(&self, seq: u64) -> bool {
        self.highest.is_some_and(|highest| seq <= highest + JUMP_MAX)
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.next.is_some_and(|next| next <= now) {
            self.mark_due();
        }
    }

    /// Sequence numbers to ask for now, rising, at most 64; poll until `None`.
    pub fn poll_nack(&mut self) -> Option<Vec<u64>> {
        if self.pending == 0 {
            return None;
        }
        let mut batch = Vec::with_capacity(self.pending.min(BATCH_MAX));
        for hole in self.holes.iter_mut().filter(|hole| hole.ask == Ask::Pending).take(BATCH_MAX) {
            hole.ask = Ask::Waiting;
            batch.push(hole.seq);
        }
        self.pending -= batch.len();
        self.stats.asked += batch.len() as u64;
        Some(batch)
    }

    /// How many holes were abandoned since the last call.
    ///
    /// Not zero means that the stream cannot be decoded before its next key frame: the receiver wants one.
    pub fn take_given_up(&mut self) -> u32 {
        core::mem::take(&mut self.given_up)
    }

    /// Forgets all packets, as when another source takes the stream over; the round trip and the counters stay.
    pub fn reset(&mut self) {
        self.holes.clear();
        self.pending = 0;
        self.next = None;
        self.highest = None;
        self.behind = None;
    }

    /// When to call [`NackGenerator::handle_timeout`]; `None` while nothing is missing.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Whether [`NackGenerator::poll_nack`] has something, so that the caller need not wait for a timeout.
    pub fn is_due(&self) -> bool {
        self.pending > 0
    }

    /// Since when a packet is missing; `None` if it is not, or was given up.
    pub fn missing_since(&self, seq: u64) -> Option<Instant> {
        let index = self.holes.binary_search_by_key(&seq, |hole| hole.seq).ok()?;
        self.holes.get(index).map(|hole| hole.found)
    }

    /// How many packets are missing and not given up.
    pub fn holes(&self) -> usize {
        self.holes.len()
    }

    /// What happened since the generator was made.
    pub fn stats(&self) -> NackStats {
        self.stats
    }

    fn handle_late(&mut self, now: Instant, seq: u64, way: Way) -> bool {
        self.now = now;
        let was_missing = match self.highest {
            Some(highest) if seq > highest && self.is_credible(seq) => {
                self.advance(highest, seq);
                true
            }
            Some(highest) if seq <= highest => self.fill(seq, way),
            // Nothing to compare with: only packets that came as themselves say where we are.
            Some(_) | None => false,
        };
        self.handle_timeout(now);
        was_missing
    }

    /// `seq` is the newest packet: the numbers between `highest` and it are missing, and the holes that the newest
    /// one before it had shown have now been passed by two packets.
    fn advance(&mut self, highest: u64, seq: u64) {
        self.highest = Some(seq);
        self.behind = None;
        let now = self.now;
        let patience = self.patience.wait(self.round_trip.get()).map(|wait| wait.max(REORDER_GRACE));
        let unasked = self.holes.iter_mut().rev().take_while(|hole| hole.tries == 0);
        for hole in unasked.filter(|_| patience.is_none()) {
            hole.due = hole.due.min(now);
            self.next = earliest(self.next, Some(hole.due));
        }
        for missing in highest + 1..seq {
            if self.holes.len() == HOLES_MAX {
                self.give_up_oldest();
            }
            let due = now + patience.unwrap_or(REORDER_GRACE);
            let (tries, ask) = (0, Ask::Waiting);
            self.holes.push_back(Hole { seq: missing, found: now, first_asked: now, due, tries, ask });
            self.next = earliest(self.next, Some(due));
        }
    }

    /// Whether `seq` was missing; it is not any more.
    fn fill(&mut self, seq: u64, way: Way) -> bool {
        let Ok(index) = self.holes.binary_search_by_key(&seq, |hole| hole.seq) else { return false };
        let hole = self.holes.remove(index).expect("the index was found");
        self.pending -= usize::from(hole.ask == Ask::Pending);
        match (way, hole.tries) {
            (Way::Repair, _) => self.stats.restored += 1,
            (Way::Itself | Way::Retransmission, 0) => self.stats.reordered += 1,
            (Way::Itself | Way::Retransmission, _) => self.stats.recovered += 1,
        }
        match way {
            Way::Itself | Way::Repair => self.patience.note_came(self.now.since(hole.found)),
            Way::Retransmission if hole.tries > 0 => {
                self.patience.note_lost();
                self.round_trip.note_answer(self.now.since(hole.first_asked));
            }
            Way::Retransmission => {} // a probe for bandwidth that happened to be of use
        }
        if self.holes.is_empty() {
            self.next = None;
        }
        true
    }

    /// A packet from further back than any hole can be: a straggler, or the source counting anew.
    fn note_behind(&mut self, seq: u64) {
        let run = match self.behind {
            Some((last, run)) if seq == last + 1 => run + 1,
            Some(_) | None => 1,
        };
        self.behind = Some((seq, run));
        if run >= RESTART_PACKETS {
            self.restart(seq);
        }
    }

    fn restart(&mut self, seq: u64) {
        self.count_given_up(self.holes.len() as u32 + 1);
        self.reset();
        self.highest = Some(seq);
    }

    fn give_up_oldest(&mut self) {
        if let Some(hole) = self.holes.pop_front() {
            self.pending -= usize::from(hole.ask == Ask::Pending);
            self.count_given_up(1);
        }
    }

    /// Every hole that is due becomes one to ask for, or is given up.
    fn mark_due(&mut self) {
        let (now, rtt) = (self.now, self.round_trip.get());
        let mut next = None;
        let mut given_up = 0;
        self.holes.retain_mut(|hole| {
            if hole.due <= now && hole.ask == Ask::Waiting {
                if hole.tries == TRIES_MAX || (hole.tries > 0 && now.since(hole.found) >= AGE_MAX) {
                    given_up += 1;
                    return false;
                }
                if hole.tries == 0 {
                    hole.first_asked = now;
                }
                hole.tries += 1;
                hole.ask = Ask::Pending;
                self.pending += 1;
            }
            if hole.due <= now {
                hole.due = now + retry_interval(rtt, hole.tries);
            }
            next = earliest(next, Some(hole.due));
            true
        });
        self.next = next;
        self.count_given_up(given_up);
    }

    fn count_given_up(&mut self, holes: u32) {
        (0..holes).for_each(|_| self.patience.note_lost());
        self.given_up = self.given_up.saturating_add(holes);
        self.stats.given_up += u64::from(holes);
    }
}

/// How long to wait for the answer to the `tries`-th time of asking.
///
/// A quarter over the round trip, so that an answer on its way is not asked for twice. From the fourth time on a quarter
/// more with every try: what did not help three times is no chance loss but a queue or an outage, which asking more does
/// not clear.
fn retry_interval(rtt: Duration, tries: u8) -> Duration {
    let first = (rtt + (rtt / 4).max(RETRY_MARGIN_MIN)).max(RETRY_MIN);
    let longest = first.max(RETRY_MAX);
    (3..tries).fold(first, |wait, _| (wait * 5 / 4).min(longest))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn drain(nack: &mut NackGenerator) -> Vec<u64> {
        core::iter::from_fn(|| nack.poll_nack()).flatten().collect()
    }

    /// All that is asked for while time runs to `until`, with when.
    fn run(nack: &mut NackGenerator, until: Instant) -> Vec<(u64, Vec<u64>)> {
        let mut asked = Vec::new();
        while let Some(at) = nack.poll_timeout().filter(|&at| at <= until) {
            nack.handle_timeout(at);
            assert!(nack.poll_timeout().is_none_or(|next| next > at), "a wake-up in the past");
            let batch = drain(nack);
            if !batch.is_empty() {
                asked.push((at.as_micros() / 1000, batch));
            }
        }
        asked
    }

    #[test]
    fn holes_are_asked_for_after_the_second_newer_packet_or_the_grace() {
        for (name, arrivals, at_once, after_grace) in [
            ("in order", &[1, 2, 3][..], &[][..], &[][..]),
            ("reordered by one", &[1, 3, 2, 4], &[], &[]),
            ("a hole, one packet after it", &[1, 3], &[], &[2]),
            ("a hole, two packets after it", &[1, 3, 4], &[2], &[]),
            ("a hole of three, two packets after it", &[1, 5, 6], &[2, 3, 4], &[]),
            ("two holes, the later one fresh", &[1, 3, 5], &[2], &[4]),
            ("an older packet after the hole does not count as newer", &[1, 3, 1], &[], &[2]),
            ("duplicates", &[1, 1, 2, 2, 3, 3], &[], &[]),
            ("packets before the first are not missed", &[5, 3, 6, 7], &[], &[]),
        ] {
            let mut nack = NackGenerator::new();
            for &seq in arrivals {
                nack.handle_arrival(ms(10), seq);
            }
            assert_eq!(drain(&mut nack), at_once, "{name}: at once");
            nack.handle_timeout(ms(14));
            assert!(drain(&mut nack).is_empty(), "{name}: within the grace");
            nack.handle_timeout(ms(15));
            assert_eq!(drain(&mut nack), after_grace, "{name}: after it");
        }
    }

    #[test]
    fn retries_follow_the_round_trip_and_back_off() {
        for (rtt, times) in [
            (1, &[5, 25, 45, 65, 90, 121, 160, 209, 270, 346][..]), // ten tries
            (60, &[5, 80, 155, 230, 323, 440, 587, 770, 999]),      // none after a second
            (200, &[5, 255, 505, 755]),
            (700, &[5, 880]), // at least one more, however long the way
        ] {
            let mut nack = NackGenerator::new();
            nack.set_rtt(Duration::from_millis(rtt));
            nack.handle_arrival(ms(0), 1);
            nack.handle_arrival(ms(0), 3);
            let asked = run(&mut nack, ms(60_000));
            let at: Vec<u64> = asked.iter().map(|(at, _)| *at).collect();
            assert_eq!(at, times, "round trip {rtt} ms");
            assert!(asked.iter().all(|(_, batch)| batch == &[2]));
            assert_eq!((nack.take_given_up(), nack.take_given_up()), (1, 0));
            assert_eq!((nack.poll_timeout(), nack.holes()), (None, 0));
        }
    }

    #[test]
    fn what_arrives_or_is_recovered_is_asked_for_no_more() {
        let mut nack = NackGenerator::new();
        for seq in [1, 5, 6] {
            nack.handle_arrival(ms(0), seq);
        }
        nack.handle_recovered(ms(0), 2); // while it waits to be polled
        assert_eq!(drain(&mut nack), [3, 4]);
        nack.handle_arrival(ms(50), 3);
        nack.handle_recovered(ms(50), 4);
        assert_eq!((nack.poll_timeout(), nack.poll_nack()), (None, None));
        let stats = NackStats { asked: 2, recovered: 3, reordered: 0, restored: 0, given_up: 0 };
        assert_eq!((nack.stats(), nack.take_given_up()), (stats, 0));
    }

    /// Every second packet of the first `holes` pairs is missing for `took` milliseconds, then fills in this `way`;
    /// packets come every 2 ms, pairs every 20. Gives what was asked for, and the time of the last arrival.
    fn teach(nack: &mut NackGenerator, holes: u64, took: u64, way: Way) -> (Vec<u64>, u64) {
        let mut asked = Vec::new();
        for pair in 0..holes {
            let (at, seq) = (100 + pair * 60, 1_000 + pair * 4);
            for (later, seq) in [(0, seq), (2, seq + 2), (4, seq + 3)] {
                nack.handle_arrival(ms(at + later), seq);
                asked.extend(drain(nack));
            }
            asked.extend(run(nack, ms(at + 2 + took)).into_iter().flat_map(|(_, batch)| batch));
            match way {
                Way::Itself => nack.handle_arrival(ms(at + 2 + took), seq + 1),
                Way::Repair => assert!(nack.handle_restored(ms(at + 2 + took), seq + 1)),
                Way::Retransmission => assert!(nack.handle_recovered(ms(at + 2 + took), seq + 1)),
            }
            assert!(drain(nack).is_empty());
        }
        (asked, 100 + holes * 60)
    }

    #[test]
    fn where_holes_fill_by_themselves_they_are_waited_for() {
        // Of 40 holes those before the 17th are asked for in any case: nothing is known yet.
        for (name, way, took, rtt, asked, restored) in [
            ("parity with the picture", Way::Repair, 12, 100, 16, 40),
            ("packets out of order by 12 ms", Way::Itself, 12, 100, 16, 0),
            ("parity pictures later", Way::Repair, 40, 100, 40, 40),
            ("asking is quicker", Way::Repair, 12, 8, 40, 40),
            ("only asking helps", Way::Retransmission, 12, 100, 40, 0),
        ] {
            let mut nack = NackGenerator::new();
            nack.set_rtt(Duration::from_millis(rtt));
            let (mut all, _) = teach(&mut nack, 40, took, way);
            all.dedup();
            assert_eq!(all.len(), asked, "{name}");
            assert_eq!(
                (nack.stats().restored, nack.holes(), nack.take_given_up()),
                (restored, 0, 0),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_waited_for_in_vain_is_asked_for_all_the_same() {
        let mut nack = NackGenerator::new();
        let (_, end) = teach(&mut nack, 32, 12, Way::Repair);
        for (at, seq) in [(end, 5_000), (end, 5_002), (end + 1, 5_003), (end + 2, 5_004)] {
            nack.handle_arrival(ms(at), seq);
        }
        assert!(drain(&mut nack).iter().all(|&seq| seq < 5_000), "5001 may still come");
        let asked = run(&mut nack, ms(end + 30));
        assert_eq!(asked, [(end + 15, vec![5_001])], "12 ms and a quarter");
    }

    #[test]
    fn the_round_trip_is_learnt_from_the_answers() {
        for (rtt, second) in [(10, 20), (300, 375)] {
            let mut nack = NackGenerator::new();
            teach(&mut nack, 1, rtt + 2, Way::Retransmission); // asked for after 2 ms
            let seq = nack.highest.unwrap();
            nack.handle_arrival(ms(5_000), seq + 2);
            nack.handle_arrival(ms(5_000), seq + 3);
            assert_eq!(drain(&mut nack), [seq + 1]);
            assert_eq!(run(&mut nack, ms(5_400))[0], (5_000 + second, vec![seq + 1]), "{rtt} ms");
        }
    }

    #[test]
    fn what_cannot_have_been_sent_is_not_credible() {
        let mut nack = NackGenerator::new();
        assert!(!nack.is_credible(1));
        nack.handle_arrival(ms(0), 1_000);
        assert!(nack.is_credible(1) && nack.is_credible(1_256) && !nack.is_credible(1_257));
        assert!(!nack.handle_recovered(ms(0), 1_257) && !nack.handle_restored(ms(0), 1_257));
        assert_eq!((nack.highest, nack.holes()), (Some(1_000), 0));
    }

    #[test]
    fn a_retransmission_ahead_of_its_stream_is_no_hole_later() {
        let mut nack = NackGenerator::new();
        nack.handle_arrival(ms(0), 1);
        nack.handle_recovered(ms(0), 3);
        nack.handle_arrival(ms(1), 4);
        assert_eq!(drain(&mut nack), [2], "2 has two newer ones, 3 came");
    }

    #[test]
    fn a_batch_has_at_most_64_numbers_and_none_is_left_out() {
        let mut nack = NackGenerator::new();
        for seq in [0, 151, 152] {
            nack.handle_arrival(ms(0), seq);
        }
        let batches: Vec<Vec<u64>> = core::iter::from_fn(|| nack.poll_nack()).collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
        assert_eq!(batches.concat(), (1..=150).collect::<Vec<_>>());
    }

    #[test]
    fn jumps_restart_and_too_many_holes_drop_the_oldest() {
        for (name, arrivals, asked, given_up) in [
            ("256 ahead is a long loss", vec![1000, 1256, 1257], 255, 0),
            ("257 ahead is a restart", vec![1000, 1257, 1258], 0, 1),
            ("a restart gives up the old holes", vec![1000, 1002, 5000, 5001], 0, 2),
            ("one straggler is nothing", vec![1000, 500, 1001, 1002], 0, 0),
            ("eight in a row from behind are a restart", (1000..1001).chain(500..508).collect(), 0, 1),
            ("seven are not", (1000..1001).chain(500..507).collect(), 0, 0),
            ("300 holes: 44 given up", vec![1000, 1151, 1302, 1303], 256, 44),
        ] {
            let mut nack = NackGenerator::new();
            for seq in arrivals {
                nack.handle_arrival(ms(0), seq);
            }
            nack.handle_timeout(ms(5));
            assert_eq!((drain(&mut nack).len(), nack.take_given_up()), (asked, given_up), "{name}");
        }
    }

    #[test]
    fn after_a_restart_the_new_numbers_are_watched() {
        let mut nack = NackGenerator::new();
        for seq in [9000].into_iter().chain(500..508).chain([510, 511]) {
            nack.handle_arrival(ms(0), seq);
        }
        assert_eq!(drain(&mut nack), [508, 509]);
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Arrival(u64),
        Answer(u64),
    }

    /// Arrivals of packets sent every 4 ms, in milliseconds: by fate lost, late by as much as told, or doubled.
    fn packets(fates: &[(u8, u64, u8)]) -> BTreeMap<(u64, usize), Event> {
        let mut events = BTreeMap::new();
        for (index, &(fate, delay, _)) in fates.iter().enumerate() {
            let (seq, sent) = (65_536 + index as u64, 4 * index as u64);
            if fate >= 2 || index == 0 {
                events.insert((sent + if fate < 4 { delay } else { 0 }, index), Event::Arrival(seq));
            }
            if fate == 9 {
                events.insert((sent + delay, 1000 + index), Event::Arrival(seq));
            }
        }
        events
    }

    proptest! {
        /// Packets every 4 ms, each lost, or delayed and perhaps doubled; answers to NACKs lost as well.
        #[test]
        fn every_hole_is_asked_for_and_nothing_that_came(
            fates in prop::collection::vec((0_u8..10, 0_u64..30, 0_u8..10), 1..200),
            rtt in 1_u64..400,
        ) {
            let mut events = packets(&fates);
            let mut nack = NackGenerator::new();
            nack.set_rtt(Duration::from_millis(rtt));
            let mut came = BTreeSet::new();
            let mut asked: BTreeMap<u64, u32> = BTreeMap::new();
            let mut first = None;
            let mut answers = 0;
            loop {
                let event = events.first_key_value().map(|(&key, &event)| (key, event));
                let wake = nack.poll_timeout().map(|at| at.as_nanos().div_ceil(1_000_000));
                let now = match (event, wake) {
                    (None, None) => break,
                    (Some(((at, _), _)), None) => at,
                    (None, Some(wake)) => wake,
                    (Some(((at, _), _)), Some(wake)) => at.min(wake),
                };
                match event {
                    Some((key, event)) if key.0 == now => {
                        events.remove(&key);
                        match event {
                            Event::Arrival(seq) => {
                                first = first.or(Some(seq));
                                came.insert(seq);
                                nack.handle_arrival(ms(now), seq);
                            }
                            Event::Answer(seq) => {
                                came.insert(seq);
                                nack.handle_recovered(ms(now), seq);
                            }
                        }
                    }
                    Some(_) | None => {
                        nack.handle_timeout(ms(now));
                        prop_assert!(nack.poll_timeout().is_none_or(|next| next > ms(now)));
                    }
                }
                while let Some(batch) = nack.poll_nack() {
                    prop_assert!(batch.len() <= 64 && batch.is_sorted());
                    for seq in batch {
                        prop_assert!(!came.contains(&seq), "{seq} came and is asked for");
                        *asked.entry(seq).or_default() += 1;
                        let (.., luck) = fates[(seq - 65_536) as usize];
                        if luck >= 5 {
                            answers += 1;
                            events.insert((now + rtt, 10_000 + answers), Event::Answer(seq));
                        }
                    }
                }
            }
            let (first, last) = (first.expect("the first packet is never lost"), came.last().copied());
            let last = last.expect("the first packet is never lost");
            let lost: Vec<u64> = (first..last).filter(|seq| !came.contains(seq)).collect();
            for seq in &lost {
                prop_assert!(asked.contains_key(seq), "{seq} was never asked for");
            }
            prop_assert!(asked.values().all(|&times| times <= u32::from(TRIES_MAX)));
            prop_assert_eq!(nack.take_given_up() as usize, lost.len());
            prop_assert_eq!(nack.stats().asked, asked.values().map(|&times| u64::from(times)).sum::<u64>());
        }

        #[test]
        fn any_numbers_keep_it_bounded_and_awake_in_the_future(
            steps in prop::collection::vec((0_u64..40, 0_u64..200_000, any::<bool>()), 1..300),
        ) {
            let mut nack = NackGenerator::new();
            let mut now = Instant::ZERO;
            for (wait, seq, narrow) in steps {
                now += Duration::from_millis(wait);
                nack.handle_arrival(now, if narrow { 100_000 + seq % 400 } else { seq });
                prop_assert!(nack.holes() <= HOLES_MAX);
                prop_assert!(nack.poll_timeout().is_none_or(|next| next > now));
                prop_assert!(drain(&mut nack).len() <= HOLES_MAX);
                prop_assert_eq!(nack.poll_timeout().is_some(), nack.holes() > 0);
            }
        }
    }
}
