//! Retransmissions held off while repair packets under way do the same: a lost packet shall not be paid twice.
//!
//! In: repair packets as they leave and what became of them, NACKs. Out: what to answer at once, and `poll_release`.
//! Time: `now`, monotonic. Limit: `ASKED_MAX` packets asked for and `PARITIES_MAX` repair packets are remembered, the
//! oldest make room; a packet is held once, for at most `WAIT_MAX`.
//!
//! Chromium asks the moment it sees a gap, before the repair packets of the block can be there. We know which packets it
//! misses (it says so) and what every repair packet protects, so whether those under way will do is no guess but for
//! their own loss. An answer goes out when one of them is known to be lost, when the receiver asks again, or when it is
//! time; it is spared when they have arrived.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::{Instant, earliest};

const ASKED_MAX: usize = 128; // packets: half a second at 2.5 Mbit/s, every one lost
const PARITIES_MAX: usize = 48; // what a receiver keeps (libwebrtc, kMaxFecPackets)
const AGE_MAX: Duration = Duration::from_secs(2); // afterwards nobody asks for it again
const WAIT_MAX: Duration = Duration::from_millis(250); // an answer held for longer than that comes too late for talk
const MARGIN: Duration = Duration::from_millis(10); // for timers and jitter, at least; else a tenth of a round trip
const TURNAROUND: Duration = Duration::from_millis(20); // the interval of libwebrtc's NACK timer

/// So many packets of a NACK are answered one by one until repair packets do for the rest; then all are.
const STUCK_MAX: usize = 16;

/// The probability that a hold is in vain which is still worth it: it then costs a short delay, for the answer goes out as
/// soon as feedback tells, and no packet.
const VAIN_MAX: f64 = 0.9;

/// What became of a repair packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has it.
    Arrived,
    /// The receiver does not have it, though it has later packets.
    Lost,
}

/// What is known of the way to the receiver and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathFacts {
    /// The round trip.
    pub rtt: Duration,
    /// From here to there, or back, whichever is longer; half the round trip if nothing better is known.
    pub one_way: Duration,
    /// How long the receiver gathers what has arrived before it reports; libwebrtc's 50 to 250 ms.
    pub report: Duration,
    /// The share of packets lost, 0 to 1.
    pub lost: f64,
}

impl PathFacts {
    /// How long after its departure a packet can be asked for by a receiver that has not seen it.
    fn unseen_for(&self) -> Duration {
        self.one_way * 2 + MARGIN.max(self.rtt / 10)
    }

    /// How long after its departure we have heard of a packet's fate.
    fn told_after(&self) -> Duration {
        self.unseen_for() + self.report
    }
}

/// What a [`HoldOff`] did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HoldStats {
    /// Packets whose answer was held.
    pub held: u64,
    /// Of those, answers spared: what was needed arrived.
    pub spared: u64,
    /// Answers released because a repair packet was lost.
    pub released_lost: u64,
    /// Answers released because it was time.
    pub released_late: u64,
    /// Answers released because the receiver asked again.
    pub released_asked: u64,
    /// Questions repeated by a receiver that cannot have seen what is to answer them.
    pub repeated: u64,
}

/// Holds one stream's retransmissions to one receiver.
///
/// After each `handle_*`, drain [`HoldOff::poll_release`].
#[derive(Debug)]
pub struct HoldOff {
    path: PathFacts,
    parities: VecDeque<Parity>, // as they left
    asked: VecDeque<Asked>,     // as they were asked for, each packet once
    release: VecDeque<u64>,
    stats: HoldStats,
}

#[derive(Debug, Clone, Copy)]
struct Parity {
    id: u64,
    sent: Instant,
    first: u64,
    mask: u128,
    arrived: bool,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    seq: u64,
    at: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was asked for just now.
    New,
    /// Until we must have heard of what is to repair it; before `in_vain`, a receiver that asks again has not seen that.
    Held {
        until: Instant,
        in_vain: Instant,
    },
    Answered,
    Repaired,
}

impl HoldOff {
    /// A hold-off that knows of no repair packets, and so holds nothing.
    pub fn new(path: PathFacts) -> Self {
        Self {
            path,
            parities: VecDeque::new(),
            asked: VecDeque::new(),
            release: VecDeque::new(),
            stats: HoldStats::default(),
        }
    }

    /// The way to the receiver, whenever it was measured anew.
    pub fn set_path(&mut self, path: PathFacts) {
        self.path = path;
    }

    /// A repair packet left, which protects the packets `first` + n for each bit n of `mask`.
    ///
    /// `id` is the caller's name for it, under which [`handle_fate`](Self::handle_fate) will report.
    pub fn handle_parity(&mut self, now: Instant, id: u64, first: u64, mask: u128) {
        if self.parities.len() == PARITIES_MAX {
            self.parities.pop_front();
        }
        self.parities.push_back(Parity { id, sent: now, first, mask, arrived: false });
    }

    /// The receiver asks for these packets, by extended sequence number; appends to `answer` those to send at once.
    ///
    /// `deadline` is when the first of them must be there. What was answered before counts as there: if that answer is
    /// lost, it is asked for again, and whatever it would have helped to repair is late with it in any case.
    pub fn handle_nack(&mut self, now: Instant, asked: &[u64], deadline: Instant, answer: &mut Vec<u64>) {
        self.forget(now);
        let known = self.asked.len();
        for &seq in asked {
            match self.asked.iter_mut().find(|known| known.seq == seq) {
                Some(again) if again.at == now && again.state != State::Repaired => {} // twice in one NACK
                Some(Asked { state: State::Held { in_vain, .. }, .. }) if now < *in_vain => {
                    self.stats.repeated += 1;
                }
                Some(again) => {
                    self.stats.released_asked += u64::from(matches!(again.state, State::Held { .. }));
                    *again = Asked { seq, at: now, state: State::Answered };
                    answer.push(seq);
                }
                None => self.asked.push_back(Asked { seq, at: now, state: State::New }),
            }
        }
        for _ in 0..STUCK_MAX {
            let plan = self.hold_plan(now, deadline);
            let stuck = |new: &&mut Asked| new.state == State::New && !plan.repairs(new.seq);
            let Some(stuck) = self.asked.iter_mut().skip(known).find(stuck) else { break };
            stuck.state = State::Answered;
            answer.push(stuck.seq);
        }
        let plan = self.hold_plan(now, deadline);
        for new in self.asked.iter_mut().skip(known).filter(|new| new.state == State::New) {
            if let Some(until) = plan.until(self.path).filter(|_| plan.repairs(new.seq)) {
                let in_vain = plan.last.map_or(now, |sent| sent + self.path.one_way * 2);
                new.state = State::Held { until, in_vain };
                self.stats.held += 1;
            } else {
                new.state = State::Answered;
                answer.push(new.seq);
            }
        }
        while self.asked.len() > ASKED_MAX {
            let oldest = self.asked.pop_front();
            self.release.extend(oldest.filter(Asked::is_held).map(|oldest| oldest.seq));
        }
    }

    /// Feedback told what became of a repair packet.
    pub fn handle_fate(&mut self, now: Instant, id: u64, fate: Fate) {
        let Some(index) = self.parities.iter().position(|parity| parity.id == id) else { return };
        match fate {
            Fate::Arrived => {
                self.parities[index].arrived = true;
                let there = peel(&self.parities, &self.asked, |parity| parity.arrived);
                for asked in self.asked.iter_mut().filter(|asked| asked.is_held()) {
                    if there.repairs(asked.seq) {
                        asked.state = State::Repaired;
                        self.stats.spared += 1;
                    }
                }
            }
            Fate::Lost => {
                self.parities.remove(index);
                let still = self.repairable(now, self.path.told_after());
                self.release_where(|asked, _| !still.repairs(asked.seq), |stats| &mut stats.released_lost);
            }
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.release_where(|_, until| until <= now, |stats| &mut stats.released_late);
    }

    /// The next packet whose answer shall wait no longer; poll until `None`.
    pub fn poll_release(&mut self) -> Option<u64> {
        self.release.pop_front()
    }

    /// When to call [`HoldOff::handle_timeout`]; `None` while nothing is held.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let until = self.asked.iter().map(|asked| match asked.state {
            State::Held { until, .. } => Some(until),
            State::New | State::Answered | State::Repaired => None,
        });
        until.fold(None, earliest)
    }

    /// What happened since the hold-off was made.
    pub const fn stats(&self) -> HoldStats {
        self.stats
    }

    /// What the repair packets that arrived or are under way will repair; they are under way for so long after they left.
    fn repairable(&self, now: Instant, under_way: Duration) -> Peeled {
        peel(&self.parities, &self.asked, |parity| parity.arrived || now < parity.sent + under_way)
    }

    /// What repair packets under way will repair of what is asked for now, or nothing where that is not worth waiting for.
    ///
    /// One that the receiver must have had when it asked is of no use to what it asked for, unless it is known to have
    /// arrived: then it may wait for another.
    fn hold_plan(&self, now: Instant, deadline: Instant) -> Peeled {
        let plan = self.repairable(now, self.path.unseen_for());
        let is_worth = (1.0 - self.path.lost).powi(plan.awaited) >= 1.0 - VAIN_MAX;
        let is_in_time = plan.until(self.path).is_some_and(|until| {
            until > now && until.since(now) <= WAIT_MAX && until + self.path.rtt + TURNAROUND <= deadline
        });
        if is_worth && is_in_time { plan } else { Peeled::default() }
    }

    fn release_where(
        &mut self,
        due: impl Fn(&Asked, Instant) -> bool,
        counter: impl Fn(&mut HoldStats) -> &mut u64,
    ) {
        for asked in &mut self.asked {
            if let State::Held { until, .. } = asked.state
                && due(asked, until)
            {
                asked.state = State::Answered;
                self.release.push_back(asked.seq);
                *counter(&mut self.stats) += 1;
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.parities.front().is_some_and(|parity| now.since(parity.sent) > AGE_MAX) {
            self.parities.pop_front();
        }
        while self.asked.front().is_some_and(|asked| now.since(asked.at) > AGE_MAX) {
            self.asked.pop_front();
        }
    }
}

impl Asked {
    const fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }
}

/// What a set of repair packets restores.
#[derive(Debug, Default)]
struct Peeled {
    repaired: Vec<u64>,
    awaited: i32,          // repair packets used that have not arrived yet
    last: Option<Instant>, // when the last of those left
}

impl Peeled {
    fn repairs(&self, seq: u64) -> bool {
        self.repaired.contains(&seq)
    }

    /// When feedback must have told of the last repair packet; `None` if none is awaited.
    fn until(&self, path: PathFacts) -> Option<Instant> {
        self.last.map(|sent| sent + path.told_after())
    }
}

/// Peels as the receiver does: a repair packet that protects one missing packet restores it.
fn peel(parities: &VecDeque<Parity>, asked: &VecDeque<Asked>, usable: impl Fn(&Parity) -> bool) -> Peeled {
    let is_missing = |asked: &&Asked| matches!(asked.state, State::New | State::Held { .. });
    let mut missing: Vec<u64> = asked.iter().filter(is_missing).map(|asked| asked.seq).collect();
    let mut peeled = Peeled::default();
    loop {
        let solved = parities.iter().filter(|parity| usable(parity)).find_map(|parity| {
            let mut open = missing.iter().enumerate().filter(|(_, seq)| parity.protects(**seq));
            let (index, _) = open.next()?;
            open.next().is_none().then_some((parity, index))
        });
        let Some((parity, index)) = solved else { return peeled };
        peeled.repaired.push(missing.swap_remove(index));
        if !parity.arrived {
            peeled.awaited += 1;
            peeled.last = peeled.last.max(Some(parity.sent));
        }
    }
}

impl Parity {
    fn protects(&self, seq: u64) -> bool {
        seq.checked_sub(self.first).is_some_and(|place| place < 128 && self.mask >> place & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATH: PathFacts = PathFacts {
        rtt: Duration::from_millis(100),
        one_way: Duration::from_millis(50),
        report: Duration::ZERO,
        lost: 0.02,
    };

    const NONE: [u64; 0] = [];

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A NACK with a deadline far away: what is answered at once.
    fn nack(hold: &mut HoldOff, now: u64, asked: &[u64]) -> Vec<u64> {
        let mut answer = Vec::new();
        hold.handle_nack(ms(now), asked, ms(now + 1000), &mut answer);
        answer
    }

    fn released(hold: &mut HoldOff) -> Vec<u64> {
        std::iter::from_fn(|| hold.poll_release()).collect()
    }

    /// Repair packets 1, 2, … that left at these times and protect 100 + n for each bit n.
    fn holding(path: PathFacts, parities: &[(u64, u128)]) -> HoldOff {
        let mut hold = HoldOff::new(path);
        for (id, &(sent, mask)) in (1..).zip(parities) {
            hold.handle_parity(ms(sent), id, 100, mask);
        }
        hold
    }

    #[test]
    fn what_repair_packets_under_way_restore_is_held_and_nothing_else() {
        for (name, parities, lost, now, asked, answered) in [
            ("no repair packets", &[][..], 0.02, 1060, &[101][..], &[101][..]),
            ("one does", &[(1000, 0b11)], 0.02, 1060, &[101], &[]),
            ("it protects others", &[(1000, 0b11)], 0.02, 1060, &[102], &[102]),
            ("it protects none that high", &[(1000, 1)], 0.02, 1060, &[100 + 128], &[100 + 128]),
            ("two missing, one repair packet", &[(1000, 0b11)], 0.02, 1060, &[100, 101], &[100]),
            ("two missing, two repair packets", &[(1000, 0b11), (1001, 0b10)], 0.02, 1060, &[100, 101], &[]),
            ("one of two", &[(1000, 0b01)], 0.02, 1060, &[100, 101], &[101]),
            ("named twice", &[(1000, 0b01)], 0.02, 1060, &[100, 100], &[]),
            ("it was there when the receiver asked", &[(1000, 0b11)], 0.02, 1111, &[101], &[101]),
            ("lossy", &[(1000, 0b11)], 0.5, 1060, &[101], &[]),
            ("too lossy", &[(1000, 0b11)], 0.91, 1060, &[101], &[101]),
            ("too lossy for two", &[(1000, 0b11), (1001, 0b10)], 0.7, 1060, &[100, 101], &[100]),
        ] {
            let mut hold = holding(PathFacts { lost, ..PATH }, parities);
            assert_eq!(nack(&mut hold, now, asked), answered, "{name}");
            assert!(released(&mut hold).is_empty(), "{name}");
            assert_eq!(hold.poll_timeout().is_some(), hold.stats().held > 0, "{name}");
        }
    }

    #[test]
    fn a_deadline_that_would_be_missed_is_not_risked() {
        // Known at 1000 + 2 × 50 + 10; then a round trip and the NACK timer.
        for (deadline, held) in [(1000 + 110 + 100 + 20, 1), (1000 + 110 + 100 + 19, 0)] {
            let mut hold = holding(PATH, &[(1000, 0b11)]);
            let mut answer = Vec::new();
            hold.handle_nack(ms(1060), &[101], ms(deadline), &mut answer);
            assert_eq!((hold.stats().held, answer.len()), (held, 1 - held as usize));
        }
        let far = PathFacts { rtt: Duration::from_millis(600), one_way: Duration::from_millis(300), ..PATH };
        assert_eq!(nack(&mut holding(far, &[(1000, 0b11)]), 1100, &[101]), [101], "too long a wait");
    }

    #[test]
    fn an_answer_is_released_once_for_each_reason() {
        let mut hold =
            holding(PathFacts { lost: 0.0, ..PATH }, &[(1000, 1), (1001, 2), (1002, 4), (1003, 8)]);
        assert!(nack(&mut hold, 1060, &[100, 101, 102, 103]).is_empty());
        hold.handle_fate(ms(1070), 1, Fate::Arrived);
        hold.handle_fate(ms(1070), 2, Fate::Lost);
        hold.handle_fate(ms(1070), 9, Fate::Lost);
        assert_eq!(released(&mut hold), [101], "its repair packet is lost");
        assert_eq!(nack(&mut hold, 1101, &[102, 103]), NONE, "asked for again by who cannot have seen it");
        assert_eq!(nack(&mut hold, 1103, &[102]), [102], "and by who must have");
        assert_eq!(hold.poll_timeout(), Some(ms(1003 + 110)));
        hold.handle_timeout(ms(1112));
        assert_eq!(released(&mut hold), NONE);
        hold.handle_timeout(ms(1113));
        assert_eq!(released(&mut hold), [103], "nothing was heard of it");
        assert_eq!(hold.poll_timeout(), None, "and 100 was repaired");
        let stats = HoldStats {
            held: 4,
            spared: 1,
            released_lost: 1,
            released_late: 1,
            released_asked: 1,
            repeated: 2,
        };
        assert_eq!(hold.stats(), stats);
        assert_eq!(
            nack(&mut hold, 1200, &[100]),
            [100],
            "if it was not, the receiver says so and is believed"
        );
    }

    #[test]
    fn what_is_held_counts_as_missing_and_what_was_answered_as_there() {
        let mut hold = holding(PATH, &[(1000, 0b11)]);
        assert_eq!(nack(&mut hold, 1060, &[300]), [300]);
        assert_eq!(nack(&mut hold, 1061, &[100]), NONE);
        assert_eq!(nack(&mut hold, 1062, &[101]), [101], "the one repair packet is promised to 100");
        hold.handle_fate(ms(1070), 1, Fate::Arrived);
        assert_eq!(hold.stats().spared, 1, "and restores it as soon as 101 is there");
        assert_eq!(nack(&mut hold, 1180, &[100, 101]), [100, 101], "unless that is lost again");
    }

    #[test]
    fn a_repair_packet_that_arrived_waits_for_the_one_that_follows() {
        let mut hold = holding(PATH, &[(900, 0b11), (1000, 0b10)]);
        hold.handle_fate(ms(1010), 1, Fate::Arrived);
        assert_eq!(nack(&mut hold, 1060, &[100, 101]), NONE);
        hold.handle_fate(ms(1070), 2, Fate::Arrived);
        assert_eq!(hold.stats().spared, 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hold = HoldOff::new(PathFacts { lost: 0.0, ..PATH });
        let mut answered = 0;
        for seq in 0..1000 {
            hold.handle_parity(ms(1000), seq, seq, 1);
            answered += nack(&mut hold, 1050, &[seq]).len();
        }
        assert_eq!((hold.asked.len(), hold.parities.len(), answered), (ASKED_MAX, PARITIES_MAX, 0));
        assert_eq!(released(&mut hold).len(), 1000 - ASKED_MAX);
        assert_eq!(nack(&mut hold, 3100, &[5]), [5]);
        assert_eq!((hold.asked.len(), hold.parities.len()), (1, 0), "two seconds later");
    }

    proptest! {
        #[test]
        fn every_packet_asked_for_is_answered_or_spared(
            steps in prop::collection::vec((1_u64..40, 0_u8..4, 0_u64..30, any::<u16>()), 1..200),
        ) {
            let mut hold = HoldOff::new(PATH);
            let (mut now, mut id) = (1000, 0);
            let (mut asked, mut answered) = (0_u64, 0);
            for (wait, what, number, bits) in steps {
                now += wait;
                match what {
                    0 => {
                        id += 1;
                        hold.handle_parity(ms(now), id, number, bits.into());
                    }
                    1 => {
                        asked += 1;
                        answered += nack(&mut hold, now, &[number]).len() as u64;
                    }
                    2 => hold.handle_fate(ms(now), number, if bits & 1 == 0 { Fate::Arrived } else { Fate::Lost }),
                    _ => hold.handle_timeout(ms(now)),
                }
                answered += released(&mut hold).len() as u64;
                prop_assert!(hold.poll_timeout().is_none_or(|at| at <= ms(now) + WAIT_MAX));
            }
            hold.handle_timeout(ms(now) + WAIT_MAX);
            answered += released(&mut hold).len() as u64;
            // Asked for twice while held, a packet is answered once: the second time.
            let HoldStats { spared, released_asked, repeated, .. } = hold.stats();
            prop_assert_eq!(answered + spared + released_asked + repeated, asked);
            prop_assert_eq!(hold.poll_timeout(), None);
        }
    }
}
