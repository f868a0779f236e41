//! The replay window of one SSRC (RFC 3711 §3.3.2).
//!
//! In: indices of packets, extended so that they never wrap. Out: whether one is new. Time: none. Limit: `WINDOW`
//! packets behind the highest one; what is older counts as received.

const WINDOW: u64 = 1024; // packets: a second at 10 Mbit/s, which no network reorders by; RFC 3711 asks for 64
const WORDS: usize = (WINDOW / 64) as usize;

/// Which of the last packets have been here.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplayWindow {
    highest: Option<u64>,
    seen: [u64; WORDS], // a ring: the bit of index i is i modulo WINDOW
}

impl ReplayWindow {
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

    proptest! {
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
