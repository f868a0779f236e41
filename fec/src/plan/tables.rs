//! The plan's tables: a grid of kinds of paths, each entry solved when it is first needed and kept.
//!
//! In: what a leg loses. Out: [`Mix`], the entries around it. Limit: [`NODES_MAX`] entries, the one unused for longest goes.
//! An entry takes under a millisecond for blocks of up to 16 packets and some milliseconds for larger ones; a leg asks for
//! one a feedback at most, so that no packet waits for more than that. Who has time may have all of them at once.
//!
//! Losses between two entries of the grid are planned by both in turns, in shares by how near they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::losses::Channel;
use super::masks::MaskQuality;
use super::node::{MEDIA_MAX, Node, Path, Receiver};

/// Shares of losses: from the least that is repaired by plan, each a ninth above the one before, to 65 %.
const LOSSES: usize = 69;
const LOSS_MIN: f64 = 0.0005;
const LOSS_STEP: f64 = 1.11;
/// Correlations of the fates of two packets in a row, each for runs about a fifth longer than the one before: 1 to 1000.
const CORRELATIONS: [f64; 39] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.58, 0.65, 0.71, 0.76, 0.8, 0.833, 0.86, 0.882, 0.9, 0.92, 0.9344, 0.9463,
    0.9559, 0.9639, 0.9704, 0.9757, 0.9801, 0.9837, 0.9866, 0.989, 0.99102, 0.99264, 0.99397, 0.99506,
    0.99595, 0.99668, 0.99728, 0.99777, 0.99817, 0.9985, 0.99877, 0.99899, 0.99917,
];
/// Correlations c from one round to the next, by c/(1 − c), each a twentieth above the one before: 1 to 98 %; what lies between
/// counts as the nearer. Below the least, a percent more loss than elsewhere changes no plan.
const CARRIES: usize = 180;
const CARRY_MIN: f64 = 0.01;
const CARRY_STEP: f64 = 1.05;
/// What a further round costs, in packets; what lies between counts as the nearest below.
const LATE: [f64; 6] = [0.0, 0.5, 1.0, 2.0, 4.0, 8.0];

/// Blocks of up to so many packets have entries of their own, which take less time to solve.
const SMALL: usize = 16;
/// How many entries are kept: about 20 MB, were all of them large.
const NODES_MAX: usize = 128;

/// How large blocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    const fn media_max(self) -> usize {
        match self {
            Self::Small => SMALL,
            Self::Large => MEDIA_MAX,
        }
    }

    /// The size of a block of so many packets.
    pub(super) const fn of(media: usize) -> Self {
        if media <= SMALL { Self::Small } else { Self::Large }
    }
}

/// A place of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    receiver: Receiver,
    size: Size,
    loss: usize,
    correlation: usize,
    carry: usize,
    late: usize,
}

/// What a leg loses, as the grid is asked for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conditions {
    pub(super) receiver: Receiver,
    pub(super) loss: f64,
    pub(super) correlation: f64,
    /// The correlation from one round to the next.
    pub(super) carry: f64,
    /// What a further round costs, in packets.
    pub(super) late: f64,
}

/// The entries around what a leg loses.
#[derive(Debug, Clone, Default)]
pub(super) struct Mix {
    /// By share of losses and correlation, the lower of each first; `None` if not solved yet.
    nodes: [[Option<Arc<Node>>; 2]; 2],
    /// How near the upper one is, of each, 0 to 1.
    upper: [f32; 2],
}

impl Mix {
    /// The entry whose turn it is; which one for [`Mix::at`]. An entry that is not solved yet gives its turn to a worse path.
    pub(super) fn pick(&self, turns: [f32; 2]) -> Option<(u8, &Node)> {
        let wanted = usize::from(turns[0] < self.upper[0]) * 2 + usize::from(turns[1] < self.upper[1]);
        let order = [wanted, wanted | 1, wanted | 2, 3];
        order.into_iter().find_map(|place| Some((place as u8, self.at(place as u8)?)))
    }

    /// An entry that was picked before.
    pub(super) fn at(&self, place: u8) -> Option<&Node> {
        let place = usize::from(place);
        self.nodes.get(place / 2)?.get(place % 2)?.as_deref()
    }
}

/// The tables of all legs of a worker; see the module's description.
#[derive(Debug)]
pub struct Tables<M> {
    masks: M,
    losses: [f64; LOSSES],
    carries: [f64; CARRIES],
    nodes: BTreeMap<Key, Entry>,
    asked: u64,
    /// How many entries are solved for one question.
    at_once: usize,
}

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    /// When it was last asked for, by count of questions.
    asked: u64,
}

impl<M: MaskQuality> Tables<M> {
    /// Empty tables, for parity towards browsers by these masks.
    pub fn new(masks: M) -> Self {
        let mut loss = LOSS_MIN;
        let losses = [(); LOSSES].map(|()| {
            let here = loss;
            loss *= LOSS_STEP;
            here
        });
        let mut odds = CARRY_MIN;
        let mut carries = [0.0; CARRIES];
        for carry in &mut carries[1..] {
            *carry = odds / (1.0 + odds);
            odds *= CARRY_STEP;
        }
        Self { masks, losses, carries, nodes: BTreeMap::new(), asked: 0, at_once: 1 }
    }

    /// The same for who does not mind waiting for all entries of a question at once: a simulation, which then finds the
    /// same whatever the tables were asked before.
    #[must_use]
    pub fn unhurried(self) -> Self {
        Self { at_once: usize::MAX, ..self }
    }

    /// The entries around some conditions: those there are, and as many others as may be solved at once.
    pub(super) fn mix(&mut self, conditions: &Conditions, size: Size) -> Mix {
        let mut solve = self.at_once;
        let (loss, upper_loss) = between(&self.losses, conditions.loss);
        let (correlation, upper_correlation) = between(&CORRELATIONS, conditions.correlation);
        let (carry, upper_carry) = between(&self.carries, conditions.carry);
        let carry = carry + usize::from(upper_carry >= 0.5);
        let mut mix = Mix { upper: [upper_loss, upper_correlation], ..Mix::default() };
        // The worst first: as long as the others are not solved, it stands in for them.
        for (worse, more) in [(1, 1), (1, 0), (0, 1), (0, 0)] {
            if is_never(worse, upper_loss) || is_never(more, upper_correlation) {
                continue;
            }
            let key = Key {
                receiver: conditions.receiver,
                size,
                loss: (loss + worse).min(LOSSES - 1),
                correlation: (correlation + more).min(CORRELATIONS.len() - 1),
                carry: carry.min(CARRIES - 1),
                late: LATE.partition_point(|have| *have <= conditions.late).saturating_sub(1),
            };
            mix.nodes[worse][more] = self.node(key, &mut solve);
        }
        mix
    }

    fn node(&mut self, key: Key, solve: &mut usize) -> Option<Arc<Node>> {
        self.asked += 1;
        if let Some(entry) = self.nodes.get_mut(&key) {
            entry.asked = self.asked;
            return Some(entry.node.clone());
        }
        *solve = solve.checked_sub(1)?;
        let channel = Channel { loss: self.losses[key.loss], correlation: CORRELATIONS[key.correlation] };
        let path = Path { channel, carry: self.carries[key.carry], late: LATE[key.late] };
        let node = Arc::new(Node::new(path, key.receiver, &self.masks, key.size.media_max()));
        if self.nodes.len() >= NODES_MAX {
            let oldest = self.nodes.iter().min_by_key(|(_, entry)| entry.asked).map(|(key, _)| *key);
            oldest.map(|key| self.nodes.remove(&key));
        }
        self.nodes.insert(key, Entry { node: node.clone(), asked: self.asked });
        Some(node)
    }
}

/// Whether the lower (0) or upper (1) of two entries has no share at all.
fn is_never(which: usize, upper: f32) -> bool {
    if which == 0 { upper >= 1.0 } else { upper <= 0.0 }
}

/// The place of the last entry not above a value, and how near the next one is.
fn between(entries: &[f64], value: f64) -> (usize, f32) {
    let above = entries.partition_point(|entry| *entry <= value);
    let (Some(lower), Some(upper)) = (above.checked_sub(1).map(|at| entries[at]), entries.get(above)) else {
        return (above.saturating_sub(1), if above == 0 { 0.0 } else { 1.0 });
    };
    (above - 1, ((value - lower) / (upper - lower)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::masks::Interleaved;

    fn conditions(loss: f64, correlation: f64) -> Conditions {
        Conditions { receiver: Receiver::Native, loss, correlation, carry: 0.0, late: 0.0 }
    }

    #[test]
    fn values_lie_between_their_neighbors() {
        for (value, place, upper) in
            [(0.0, 0, 0.0), (0.1, 1, 0.0), (0.15, 1, 0.5), (0.99917, 38, 1.0), (2.0, 38, 1.0)]
        {
            let (found, near) = between(&CORRELATIONS, value);
            assert!(found == place && (near - upper).abs() < 1e-6, "{value}: {found} {near}");
        }
    }

    #[test]
    fn entries_are_solved_once_a_few_at_a_time_and_the_worst_first() {
        let mut tables = Tables::new(Interleaved);
        let here = conditions(0.0301, 0.25);
        let first = tables.mix(&here, Size::Small);
        assert_eq!((tables.nodes.len(), first.pick([0.99, 0.99]).map(|(place, _)| place)), (1, Some(3)));
        for solved in [2, 3, 4, 4] {
            tables.mix(&here, Size::Small);
            assert_eq!(tables.nodes.len(), solved);
        }
        let all = tables.mix(&here, Size::Small);
        assert_eq!(all.pick([0.99, 0.99]).map(|(place, _)| place), Some(0));
        assert_eq!(all.pick([0.0, 0.0]).map(|(place, _)| place), Some(3));
    }

    #[test]
    fn turns_are_taken_in_shares() {
        let mut tables = Tables::new(Interleaved).unhurried();
        let mix = tables.mix(&conditions(0.0301, 0.25), Size::Small);
        assert_eq!(tables.nodes.len(), 4, "all at once");
        let bursty =
            (0..1_000).filter(|turn| mix.pick([0.5, *turn as f32 / 1e3]).is_some_and(|(at, _)| at % 2 == 1));
        assert!((450..=550).contains(&bursty.count()));
    }

    #[test]
    fn the_entry_unused_for_longest_goes() {
        let mut tables = Tables::new(Interleaved);
        for place in 0..LOSSES - 1 {
            for correlation in [0.0, 0.1, 0.2] {
                tables.mix(&conditions(tables.losses[place] * 1.0001, correlation), Size::Small);
            }
        }
        assert_eq!(tables.nodes.len(), NODES_MAX);
        assert!(tables.nodes.keys().all(|key| key.loss > 5), "the first are forgotten");
    }
}
