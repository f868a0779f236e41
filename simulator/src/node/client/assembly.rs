//! Pictures from their packets: which are complete, and which will never be.
//!
//! In: parts of pictures. Out: `handle_part`'s result, `poll_lost`. Time: `now`; a picture that lacks something
//! `PATIENCE` after it was first seen or skipped is lost. Limit: `PICTURES_MAX` pictures; the oldest is lost when one
//! more comes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::time::Instant;

use crate::packet::FramePart;

/// As long as NACKs are sent for a packet.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ten seconds of pictures.
const PICTURES_MAX: usize = 300;

/// A picture of which something is there, or that was skipped.
#[derive(Debug)]
struct Gathering {
    since: Instant,
    /// Which parts are there; `None` before the first of them.
    parts: Option<Vec<bool>>,
    missing: usize,
    repaired: bool,
}

/// A picture that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    /// What its last part said of it.
    pub(super) part: FramePart,
    /// Whether a part of it came by repair.
    pub(super) repaired: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    open: BTreeMap<u64, Gathering>,
    /// Above all pictures seen or skipped; `None` before the first one.
    next: Option<u64>,
    lost: VecDeque<u64>,
}

impl Assembly {
    /// A part came; the picture, if this was all that it lacked.
    pub(super) fn handle_part(&mut self, now: Instant, part: FramePart, repaired: bool) -> Option<Complete> {
        let next = *self.next.get_or_insert(part.frame);
        let skipped_from = next.max((part.frame + 1).saturating_sub(PICTURES_MAX as u64));
        for frame in skipped_from..=part.frame {
            self.open.insert(frame, Gathering { since: now, parts: None, missing: 0, repaired: false });
        }
        self.next = Some(next.max(part.frame + 1));
        while self.open.len() > PICTURES_MAX {
            self.lost.extend(self.open.pop_first().map(|(frame, _)| frame));
        }
        let gathering = self.open.get_mut(&part.frame)?;
        let parts = gathering.parts.get_or_insert_with(|| {
            gathering.missing = part.parts.into();
            vec![false; part.parts.into()]
        });
        let is_there = parts.get_mut(usize::from(part.index))?;
        if std::mem::replace(is_there, true) {
            return None;
        }
        gathering.repaired |= repaired;
        gathering.missing -= 1;
        let repaired = gathering.repaired;
        (gathering.missing == 0).then(|| {
            self.open.remove(&part.frame);
            Complete { part, repaired }
        })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.open.first_entry().filter(|entry| now >= entry.get().since + PATIENCE) {
            self.lost.push_back(*entry.key());
            entry.remove();
        }
    }

    /// The next picture that will never be complete.
    pub(super) fn poll_lost(&mut self) -> Option<u64> {
        self.lost.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        // Numbers and times rise together.
        self.open.first_key_value().map(|(_, gathering)| gathering.since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(frame: u64, index: u16, parts: u16) -> FramePart {
        FramePart { frame, index, parts, key: false, captured: Instant::ZERO }
    }

    #[test]
    fn pictures_complete_in_any_order_and_once() {
        let mut assembly = Assembly::default();
        let mut complete = Vec::new();
        for (frame, index, parts) in
            [(7, 0, 2), (8, 0, 1), (7, 0, 2), (7, 1, 2), (7, 1, 2), (6, 0, 1), (10, 1, 2)]
        {
            let done = assembly.handle_part(Instant::ZERO, part(frame, index, parts), index == 1);
            complete.extend(done.map(|done| (done.part.frame, done.repaired)));
        }
        assert_eq!(complete, [(8, false), (7, true)], "what is from before the first one does not count");
        assembly.handle_timeout(Instant::ZERO + PATIENCE - Duration::from_nanos(1));
        assert_eq!(assembly.poll_lost(), None);
        assembly.handle_timeout(Instant::ZERO + PATIENCE);
        let lost: Vec<u64> = std::iter::from_fn(|| assembly.poll_lost()).collect();
        assert_eq!((lost, assembly.poll_timeout()), (vec![9, 10], None), "one skipped, one cut short");
    }

    #[test]
    fn a_leap_does_not_fill_memory() {
        let mut assembly = Assembly::default();
        assembly.handle_part(Instant::ZERO, part(1, 0, 2), false);
        assembly.handle_part(Instant::ZERO, part(1_000_000, 0, 2), false);
        assert_eq!(assembly.open.len(), PICTURES_MAX);
        assert_eq!(assembly.poll_lost(), Some(1));
    }
}
