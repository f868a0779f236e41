//! Who wakes when: a heap of wake-ups, of which only each entity's latest one counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proto::time::Instant;

use crate::packet::{LinkId, NodeId};

/// Something that wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// A link.
    Link(LinkId),
    /// A node.
    Node(NodeId),
    /// A change of a link's plan.
    Change,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// By time, then by when it was scheduled.
    wakes: BinaryHeap<Reverse<(Instant, u64, Entity)>>,
    /// What counts for each link and node: the time and the number of its latest wake-up.
    links: Vec<Option<(Instant, u64)>>,
    nodes: Vec<Option<(Instant, u64)>>,
    scheduled: u64,
}

impl Clock {
    /// Wakes `entity` at `at` and no more at what was said before.
    pub(super) fn schedule(&mut self, entity: Entity, at: Option<Instant>) {
        let number = self.scheduled;
        let Some(slot) = self.slot(entity) else { return };
        if slot.map(|(wake, _)| wake) == at {
            return;
        }
        *slot = at.map(|at| (at, number));
        if let Some(at) = at {
            self.scheduled += 1;
            self.wakes.push(Reverse((at, number, entity)));
        }
    }

    /// The next wake-up.
    pub(super) fn next(&mut self) -> Option<(Instant, Entity)> {
        while let Some(&Reverse((at, number, entity))) = self.wakes.peek() {
            if self.slot(entity).is_some_and(|slot| *slot == Some((at, number))) {
                return Some((at, entity));
            }
            self.wakes.pop();
        }
        None
    }

    /// Takes the wake-up that `next` told.
    pub(super) fn take(&mut self) {
        if let Some(Reverse((_, _, entity))) = self.wakes.pop()
            && let Some(slot) = self.slot(entity)
        {
            *slot = None;
        }
    }

    fn slot(&mut self, entity: Entity) -> Option<&mut Option<(Instant, u64)>> {
        let (slots, index) = match entity {
            Entity::Link(id) => (&mut self.links, id.0),
            Entity::Node(id) => (&mut self.nodes, id.0),
            Entity::Change => return None,
        };
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        slots.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_wake_up_counts_and_ties_go_by_age() {
        let mut clock = Clock::default();
        let (a, b) = (Entity::Node(NodeId(0)), Entity::Link(LinkId(3)));
        let ms = Instant::from_millis;
        clock.schedule(a, Some(ms(5)));
        clock.schedule(b, Some(ms(7)));
        clock.schedule(a, Some(ms(7)));
        let mut woken = Vec::new();
        while let Some((at, entity)) = clock.next() {
            clock.take();
            woken.push((at, entity));
        }
        assert_eq!(woken, [(ms(7), b), (ms(7), a)]);
    }
}
