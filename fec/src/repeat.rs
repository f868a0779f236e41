//! Second copies of retransmissions: towards a receiver that loses packets, one answer too few costs a round trip more.
//!
//! In: media as it goes to a subscriber, answers to its NACKs. Out: `poll_repeat`. Time: `now`, monotonic.
//! Limit: `WAITING_MAX` copies at a time; their bytes are `RetransmitLimiter::admit_copy`'s affair.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;

/// Long enough that what dropped the first copy (a full queue, a collision in the air) is mostly over, and short beside a
/// round trip.
const COPY_AFTER: Duration = Duration::from_millis(5);

/// One lost of so many sent is lossy: below, an answer is lost so rarely that the player's own patience bridges it.
const LOSSY: u32 = 50;

const LOST_MIN: u32 = 2; // one lost packet is no rate
const WINDOW: Duration = Duration::from_secs(2); // one or two of them count: 5 % of 80 packets a second are 8 lost
const WAITING_MAX: usize = 64; // packets: 10 Mbit/s for `COPY_AFTER`, every one asked for

/// How often a lost packet has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// For the first time.
    First,
    /// It has been answered, but the answer was lost as well.
    Again,
}

/// Decides which answers to one subscriber's NACKs for one stream go twice, and when the second copy goes.
///
/// Where a share p of all packets is lost each way, a try (NACK and answer) fails with 2p, one that is answered twice
/// with p: the NACK alone can be lost then. What has been asked for again is answered twice whatever is lost.
#[derive(Debug, Default)]
pub struct Repeats {
    waiting: VecDeque<(Instant, u64)>, // the earliest first
    began: Instant,
    current: Counts,
    last: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    sent: u32,
    lost: u32,
}

impl Counts {
    const NONE: Self = Self { sent: 0, lost: 0 };
}

impl Repeats {
    /// Towards a subscriber that was sent nothing yet.
    pub const fn new() -> Self {
        Self { waiting: VecDeque::new(), began: Instant::ZERO, current: Counts::NONE, last: Counts::NONE }
    }

    /// A media packet was sent for the first time.
    pub fn note_media(&mut self, now: Instant) {
        self.turn(now);
        self.current.sent += 1;
    }

    /// The packet `seq` was sent again because the subscriber asked for it.
    pub fn handle_answer(&mut self, now: Instant, seq: u64, ask: Ask) {
        self.turn(now);
        let twice = match ask {
            Ask::First => {
                self.current.lost += 1;
                self.is_lossy()
            }
            Ask::Again => true,
        };
        if twice && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((now + COPY_AFTER, seq));
        }
    }

    /// The packet `seq` was sent again, and a plan has so many more copies of it, so far apart.
    pub fn schedule(&mut self, now: Instant, seq: u64, copies: usize, spacing: Duration) {
        self.turn(now);
        self.current.lost += 1;
        let mut at = now;
        for _ in 0..copies.min(WAITING_MAX - self.waiting.len().min(WAITING_MAX)) {
            at += spacing;
            let place = self.waiting.partition_point(|(other, _)| *other <= at);
            self.waiting.insert(place, (at, seq));
        }
    }

    /// The next packet of which a copy is due.
    pub fn poll_repeat(&mut self, now: Instant) -> Option<u64> {
        let (at, seq) = *self.waiting.front()?;
        if at > now {
            return None;
        }
        self.waiting.pop_front();
        Some(seq)
    }

    /// When to ask `poll_repeat`; `None` if nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    fn is_lossy(&self) -> bool {
        let (sent, lost) = (self.current.sent + self.last.sent, self.current.lost + self.last.lost);
        lost >= LOST_MIN && lost * LOSSY >= sent
    }

    /// Begins the next window if it is time.
    fn turn(&mut self, now: Instant) {
        let elapsed = now.since(self.began);
        if elapsed >= WINDOW {
            self.last = if elapsed < WINDOW * 2 { self.current } else { Counts::default() };
            self.current = Counts::default();
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Ten seconds of a packet each 10 ms of which every `one_in`th is lost once; how many are lost and go twice.
    fn play(one_in: u64) -> (u64, u64) {
        let mut repeats = Repeats::default();
        let (mut lost, mut twice) = (0, 0);
        for seq in 1..=1000 {
            let now = ms(seq * 10);
            repeats.note_media(now);
            if seq % one_in == 0 {
                repeats.handle_answer(now, seq, Ask::First);
                lost += 1;
            }
            twice += u64::from(repeats.poll_repeat(now + COPY_AFTER).is_some());
        }
        (lost, twice)
    }

    #[test]
    fn answers_go_twice_once_two_in_a_hundred_are_lost() {
        for (name, one_in, expected) in [
            ("nothing is lost", 2000, (0, 0)),
            ("one in a hundred", 100, (10, 0)),
            ("one in seventy", 70, (14, 0)),
            ("one in forty", 40, (25, 24)),
            ("one in twenty", 20, (50, 49)),
            ("one in three", 3, (333, 332)),
        ] {
            assert_eq!(play(one_in), expected, "{name}");
        }
    }

    #[test]
    fn what_is_asked_for_again_goes_twice_whatever_is_lost() {
        for (ask, copies) in [(Ask::First, 0), (Ask::Again, 1)] {
            let mut repeats = Repeats::default();
            (0..100).for_each(|seq| repeats.note_media(ms(seq)));
            repeats.handle_answer(ms(100), 7, ask);
            let due = std::iter::from_fn(|| repeats.poll_repeat(ms(105))).count();
            assert_eq!(due, copies, "{ask:?}");
        }
    }

    #[test]
    fn a_copy_goes_five_milliseconds_later_and_wakes_nobody_afterwards() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.poll_timeout(), None);
        repeats.handle_answer(ms(100), 7, Ask::Again);
        repeats.handle_answer(ms(102), 9, Ask::Again);
        assert_eq!((repeats.poll_timeout(), repeats.poll_repeat(ms(104))), (Some(ms(105)), None));
        assert_eq!((repeats.poll_repeat(ms(105)), repeats.poll_repeat(ms(105))), (Some(7), None));
        assert_eq!((repeats.poll_timeout(), repeats.poll_repeat(ms(200))), (Some(ms(107)), Some(9)));
        assert_eq!(repeats.poll_timeout(), None);
    }

    #[test]
    fn loss_is_forgotten_within_four_seconds_and_not_within_two() {
        for (after, twice) in [(1_900, true), (4_000, false)] {
            let mut repeats = Repeats::default();
            for seq in 0..10 {
                repeats.note_media(ms(2_000 + seq));
                repeats.handle_answer(ms(2_000 + seq), seq, Ask::First);
            }
            while repeats.poll_repeat(ms(3_000)).is_some() {}
            repeats.note_media(ms(2_010 + after));
            repeats.handle_answer(ms(2_010 + after), 99, Ask::First);
            assert_eq!(repeats.poll_timeout().is_some(), twice, "after {after} ms");
        }
    }

    #[test]
    fn a_flood_makes_no_more_copies_wait_than_the_limit() {
        let mut repeats = Repeats::default();
        (0..1000).for_each(|seq| repeats.handle_answer(ms(0), seq, Ask::Again));
        assert_eq!(std::iter::from_fn(|| repeats.poll_repeat(ms(5))).count(), WAITING_MAX);
    }
}
