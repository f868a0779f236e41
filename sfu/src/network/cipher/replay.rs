//! The replay window of one SSRC (RFC 3711 §3.3.2), and the index of its packets (§3.3.1).
//!
//! In: sequence numbers, indices. Out: indices, which never wrap, and whether one is new. Time: none. Limit: `WINDOW`
//! packets behind the highest one; what is older counts as received.

use proto::rtp::SeqNo;

const WINDOW: u64 = 1024; // packets: a second at 10 Mbit/s, which no network reorders by; RFC 3711 asks for 64
const WORDS: usize = (WINDOW / 64) as usize;
const HALF: u16 = 1 << 15; // half the sequence numbers: the farther half is the other way round

/// Which of the last packets have been here.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplayWindow {
    pub(super) highest: Option<u64>,
    seen: [u64; WORDS], // a ring: the bit of index i is i modulo WINDOW
}

impl ReplayWindow {
    /// The 48-bit index of a sequence number: rollover counter and number; `None` when there are no more.
    ///
    /// It is the one nearest to the highest index so far. The counter begins at zero and is not taken below it.
    pub(super) fn extend(&self, seq: SeqNo) -> Option<u64> {
        let Some(highest) = self.highest else {
            return Some(u64::from(seq.0));
        };
        let (rollover, highest_seq) = (highest >> 16, highest as u16);
        let rollover = if highest_seq < HALF && seq.0 > highest_seq + HALF {
            rollover.saturating_sub(1)
        } else if highest_seq >= HALF && highest_seq - HALF > seq.0 {
            rollover + 1
        } else {
            rollover
        };
        u32::try_from(rollover).is_ok().then_some(rollover << 16 | u64::from(seq.0))
    }

    /// Whether a packet with this index was not here before. Changes nothing: it may yet fail to authenticate.
    pub(super) fn admits(&self, index: u64) -> bool {
        match self.highest {
            None => true,
            Some(highest) if index > highest => true,
            Some(highest) => highest - index < WINDOW && self.seen[word(index)] & bit(index) == 0,
        }
    }

    /// Notes a packet that [`Self::admits`] let pass and that authenticated.
    pub(super) fn record(&mut self, index: u64) {
        let highest = self.highest.unwrap_or(index);
        if index > highest {
            if index - highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in highest + 1..index {
                    self.seen[word(skipped)] &= !bit(skipped);
                }
            }
        }
        self.seen[word(index)] |= bit(index);
        self.highest = Some(highest.max(index));
    }
}

fn word(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_index_passes_once() {
        for (name, indices, passed) in [
            ("in order", &[1, 2, 3][..], &[true, true, true][..]),
            ("twice", &[1, 1], &[true, false]),
            ("reordered", &[5, 3, 4, 3], &[true, true, true, false]),
            ("the last of the window", &[1023, 0, 0], &[true, true, false]),
            ("just outside the window", &[1024, 0], &[true, false]),
            ("a whole window further", &[0, 1024, 1, 0], &[true, true, true, false]),
            (
                "a jump clears what it skips",
                &[70, 71, 1094, 1093, 1095, 1094],
                &[true, true, true, true, true, false],
            ),
            ("a long jump", &[7, 1 << 40, (1 << 40) - 1, 7], &[true, true, true, false]),
        ] {
            let mut window = ReplayWindow::default();
            let found = indices.iter().map(|&index| {
                let passes = window.admits(index);
                if passes {
                    window.record(index);
                }
                passes
            });
            assert_eq!(found.collect::<Vec<_>>(), passed, "{name}");
        }
    }

    const ROUND: u64 = 1 << 16;

    #[test]
    fn the_index_is_the_nearest_to_the_highest() {
        for (name, highest, seq, index) in [
            ("the first", None, 65_535, Some(65_535)),
            ("the next", Some(7), 8, Some(8)),
            ("one before", Some(7), 6, Some(6)),
            ("half of them further", Some(100), 32_868, Some(32_868)),
            ("farther than half, but nothing is below zero", Some(100), 32_869, Some(32_869)),
            ("farther than half", Some(ROUND + 100), 32_869, Some(32_869)),
            ("not so far", Some(ROUND + 100), 32_868, Some(ROUND + 32_868)),
            ("over the wrap", Some(65_535), 0, Some(ROUND)),
            ("half of them back", Some(40_000), 7_232, Some(7_232)),
            ("farther back than half", Some(40_000), 7_231, Some(ROUND + 7_231)),
            ("the last of all", Some((1 << 48) - 2), 65_535, Some((1 << 48) - 1)),
            ("none left", Some((1 << 48) - 1), 0, None),
        ] {
            let window = ReplayWindow { highest, ..ReplayWindow::default() };
            assert_eq!(window.extend(SeqNo(seq)), index, "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_index_is_found_again_within_half_the_numbers(
            highest in 0_u64..1 << 40, step in -32_767_i64..=32_767
        ) {
            let index = highest.saturating_add_signed(step);
            let window = ReplayWindow { highest: Some(highest), ..ReplayWindow::default() };
            prop_assert_eq!(window.extend(SeqNo(index as u16)), Some(index));
        }

        #[test]
        fn it_agrees_with_a_set_of_all_indices(steps in prop::collection::vec(-1500_i64..1500, 1..400)) {
            let (mut window, mut all, mut at) = (ReplayWindow::default(), BTreeSet::new(), 1_u64 << 20);
            for step in steps {
                at = at.saturating_add_signed(step);
                let is_recent = all.last().is_none_or(|&highest: &u64| at + WINDOW > highest);
                let is_new = is_recent && !all.contains(&at);
                prop_assert_eq!(window.admits(at), is_new);
                if is_new {
                    window.record(at);
                    all.insert(at);
                }
            }
        }
    }
}
