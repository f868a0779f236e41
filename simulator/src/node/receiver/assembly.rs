//! Pictures out of their parts: when one is complete, and when it never will be.
//!
//! In: parts. Out: [`Complete`], `poll_lost`. Time: `now`, monotonic; `poll_timeout`. Limit: [`OPEN_MAX`] pictures are
//! open, the oldest is given up.

use std::collections::VecDeque;
use std::time::Duration;

use proto::time::Instant;

use crate::packet::FramePart;

/// The most pictures that are open at once: ten seconds of them.
const OPEN_MAX: usize = 300;

/// A complete picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Complete {
    pub(crate) frame: u64,
    pub(crate) key: bool,
    pub(crate) captured: Instant,
    /// Whether a part of it came by repair.
    pub(crate) repaired: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Assembly {
    /// The picture `first + index`; the first one is not complete.
    open: VecDeque<Open>,
    first: u64,
    /// How long a picture is waited for once a later one has begun to come.
    patience: Duration,
    lost: VecDeque<u64>,
    /// Bits of pictures that are gone, to use again.
    spare: Vec<Vec<u64>>,
}

/// A picture of which not all parts are there, or which waits behind such a one.
#[derive(Debug, Default)]
struct Open {
    /// How many parts it has; 0 before the first one.
    parts: u16,
    missing: u16,
    /// A bit for each part that is there.
    there: Vec<u64>,
    repaired: bool,
    /// When a later picture began to come.
    passed: Option<Instant>,
}

impl Assembly {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { open: VecDeque::new(), first: 0, patience, lost: VecDeque::new(), spare: Vec::new() }
    }

    /// A part came; the last one that was missing completes the picture.
    pub(crate) fn handle_part(&mut self, now: Instant, part: &FramePart, repaired: bool) -> Option<Complete> {
        let place = part.frame.checked_sub(self.first)? as usize;
        if place >= self.open.len() {
            self.begin(now, part.frame);
        }
        let open = self.open.get_mut((part.frame - self.first) as usize)?;
        if open.parts == 0 {
            (open.parts, open.missing) = (part.parts, part.parts);
            open.there = self.spare.pop().unwrap_or_default();
            open.there.resize(usize::from(part.parts).div_ceil(64), 0);
        }
        let word = open.there.get_mut(usize::from(part.index) / 64)?;
        let bit = 1 << (part.index % 64);
        if part.index >= open.parts || *word & bit != 0 {
            return None;
        }
        *word |= bit;
        open.missing -= 1;
        open.repaired |= repaired;
        if open.missing > 0 {
            return None;
        }
        let complete =
            Complete { frame: part.frame, key: part.key, captured: part.captured, repaired: open.repaired };
        while self.open.front().is_some_and(Open::is_complete) {
            self.close_first();
        }
        Some(complete)
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            self.close_first();
        }
    }

    /// The next picture that was given up.
    pub(crate) fn poll_lost(&mut self) -> Option<u64> {
        self.lost.pop_front()
    }

    /// When the oldest picture is given up; `None` while nothing later has come.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.open.front()?.passed.map(|passed| passed + self.patience)
    }

    /// Opens all pictures up to this one.
    fn begin(&mut self, now: Instant, frame: u64) {
        for open in self.open.iter_mut().rev().take_while(|open| open.passed.is_none()) {
            open.passed = Some(now);
        }
        while self.first + (self.open.len() as u64) < frame {
            self.push(Some(now));
        }
        self.push(None);
    }

    fn push(&mut self, passed: Option<Instant>) {
        self.open.push_back(Open { passed, ..Open::default() });
        if self.open.len() > OPEN_MAX {
            self.close_first();
        }
    }

    /// Closes the first picture, and those behind it that waited only for it.
    fn close_first(&mut self) {
        while let Some(mut open) = self.open.pop_front() {
            if !open.is_complete() {
                self.lost.push_back(self.first);
            }
            self.first += 1;
            open.there.clear();
            self.spare.push(open.there);
            if self.open.front().is_none_or(|next| !next.is_complete()) {
                break;
            }
        }
    }
}

impl Open {
    fn is_complete(&self) -> bool {
        self.parts > 0 && self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn part(frame: u64, index: u16, parts: u16) -> FramePart {
        FramePart { frame, index, parts, key: frame == 0, captured: ms(frame * 40) }
    }

    #[test]
    fn pictures_complete_with_their_last_part_and_are_given_up_after_a_while() {
        type Step = (u64, u64, u16, u16);
        for (name, steps, complete, lost) in [
            ("one part", &[(0, 0, 0, 1)][..], &[(0, 0)][..], &[][..]),
            ("three parts", &[(0, 0, 0, 3), (1, 0, 1, 3), (2, 0, 2, 3)], &[(2, 0)], &[]),
            ("out of order", &[(0, 0, 2, 3), (1, 0, 0, 3), (2, 0, 1, 3)], &[(2, 0)], &[]),
            ("twice", &[(0, 0, 0, 2), (1, 0, 0, 2), (2, 0, 1, 2), (3, 0, 1, 2)], &[(2, 0)], &[]),
            ("nothing later came", &[(0, 0, 0, 2)], &[], &[]),
            ("a part is missing", &[(0, 0, 0, 2), (40, 1, 0, 1)], &[(40, 1)], &[(140, 0)]),
            ("it comes in time", &[(0, 0, 0, 2), (40, 1, 0, 1), (139, 0, 1, 2)], &[(40, 1), (139, 0)], &[]),
            ("it comes late", &[(0, 0, 0, 2), (40, 1, 0, 1), (140, 0, 1, 2)], &[(40, 1)], &[(140, 0)]),
            ("all of them are", &[(0, 0, 0, 1), (80, 3, 0, 1)], &[(0, 0), (80, 3)], &[(180, 1), (180, 2)]),
            ("the first one is", &[(40, 1, 0, 1)], &[(40, 1)], &[(140, 0)]),
            ("two in turn", &[(0, 0, 0, 2), (40, 1, 0, 2), (80, 2, 0, 1)], &[(80, 2)], &[(140, 0), (180, 1)]),
            ("a part that cannot be", &[(0, 0, 5, 2), (1, 0, 64, 2)], &[], &[]),
        ] as [(_, &[Step], &[(u64, u64)], &[(u64, u64)]); 12]
        {
            let mut assembly = Assembly::new(Duration::from_millis(100));
            let (mut completed, mut given_up) = (Vec::new(), Vec::new());
            for &(at, frame, index, parts) in steps.iter().chain(&[(1_000, 0, 0, 1)]) {
                while let Some(wake) = assembly.poll_timeout().filter(|&wake| wake <= ms(at)) {
                    assembly.handle_timeout(wake);
                    let millis = wake.as_micros() / 1_000;
                    given_up.extend(std::iter::from_fn(|| assembly.poll_lost()).map(|frame| (millis, frame)));
                }
                if let Some(done) = assembly.handle_part(ms(at), &part(frame, index, parts), false) {
                    assert_eq!((done.key, done.captured), (frame == 0, ms(frame * 40)), "{name}");
                    completed.push((at, done.frame));
                }
            }
            completed.retain(|&(at, _)| at < 1_000);
            assert_eq!(completed, complete, "{name}");
            assert_eq!(given_up, lost, "{name}");
        }
    }

    #[test]
    fn repaired_pictures_say_so() {
        let mut assembly = Assembly::new(Duration::from_millis(100));
        for (frame, repaired) in [(0, [false, false]), (1, [false, true]), (2, [true, false])] {
            assert_eq!(assembly.handle_part(ms(0), &part(frame, 0, 2), repaired[0]), None);
            let done = assembly.handle_part(ms(0), &part(frame, 1, 2), repaired[1]).expect("all are there");
            assert_eq!(done.repaired, repaired != [false, false], "{frame}");
        }
    }

    #[test]
    fn no_more_are_open_than_there_is_room_for() {
        let mut assembly = Assembly::new(Duration::from_secs(1_000));
        for frame in 0..2_000 {
            assembly.handle_part(ms(frame), &part(frame, 0, 2), false);
        }
        let lost = std::iter::from_fn(|| assembly.poll_lost()).count();
        assert_eq!((lost, assembly.open.len()), (2_000 - OPEN_MAX, OPEN_MAX));
        assembly.handle_part(ms(3_000), &part(1_000_000, 0, 1), false);
        assert_eq!(assembly.open.len(), OPEN_MAX);
    }
}
