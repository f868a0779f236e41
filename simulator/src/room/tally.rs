//! What people in a room saw and heard, in numbers.
//!
//! In: events. Out: [`Tallies`]. Limit: one entry for each slot, and for each pair of people who hear each other.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::time::Instant;

use crate::node::Fact;
use crate::packet::{FlowId, NodeId};

/// What a slot showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PictureTally {
    /// Pictures shown.
    pub shown: u64,
    /// When the first was.
    pub first: Option<Instant>,
    /// When the last was.
    pub last: Option<Instant>,
    /// The sum of their delays, from camera to screen.
    pub delays: Duration,
    /// The longest of them.
    pub delay_max: Duration,
    /// Pictures that were complete thanks to a repair.
    pub repaired: u64,
    /// Pictures given up.
    pub lost: u64,
    /// How often the picture stood still.
    pub freezes: u32,
    /// For how long in all.
    pub frozen: Duration,
    /// Changes of its layer: when, and the heights before and after.
    pub switches: Vec<(Instant, u32, u32)>,
}

impl PictureTally {
    /// The mean delay from camera to screen.
    pub fn delay(&self) -> Duration {
        mean(self.delays, self.shown)
    }
}

/// What somebody heard of somebody else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoundTally {
    /// Packets that arrived.
    pub packets: u64,
    /// The sum of their delays, from microphone to arrival.
    pub delays: Duration,
    /// The longest of them.
    pub delay_max: Duration,
}

impl SoundTally {
    /// The mean delay from microphone to arrival.
    pub fn delay(&self) -> Duration {
        mean(self.delays, self.packets)
    }

    pub(super) fn count(&mut self, delay: Duration) {
        self.packets += 1;
        self.delays += delay;
        self.delay_max = self.delay_max.max(delay);
    }
}

/// What everybody saw and heard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tallies {
    /// By slot (see [`crate::node::worker::flow_of_slot`]).
    pub pictures: BTreeMap<FlowId, PictureTally>,
    /// By listener and speaker.
    pub sound: BTreeMap<(NodeId, NodeId), SoundTally>,
}

impl Tallies {
    pub(super) fn handle_fact(&mut self, now: Instant, fact: &Fact) {
        let tally = match fact {
            Fact::FrameComplete { .. }
            | Fact::FrameLost { .. }
            | Fact::FrameShown { .. }
            | Fact::Froze { .. }
            | Fact::LayerSwitched { .. } => self.pictures.entry(fact.flow()).or_default(),
            Fact::Target { .. }
            | Fact::Phase { .. }
            | Fact::PathClass { .. }
            | Fact::FrameSent { .. }
            | Fact::Violated { .. }
            | Fact::Computed { .. } => return,
        };
        match fact {
            Fact::FrameComplete { repaired, .. } => tally.repaired += u64::from(*repaired),
            Fact::FrameLost { .. } => tally.lost += 1,
            Fact::FrameShown { delay, .. } => {
                tally.shown += 1;
                tally.first.get_or_insert(now);
                tally.last = Some(now);
                tally.delays += *delay;
                tally.delay_max = tally.delay_max.max(*delay);
            }
            Fact::Froze { length, .. } => {
                tally.freezes += 1;
                tally.frozen += *length;
            }
            Fact::LayerSwitched { from, to, .. } => tally.switches.push((now, *from, *to)),
            Fact::Target { .. }
            | Fact::Phase { .. }
            | Fact::PathClass { .. }
            | Fact::FrameSent { .. }
            | Fact::Violated { .. }
            | Fact::Computed { .. } => {}
        }
    }
}

fn mean(sum: Duration, count: u64) -> Duration {
    Duration::from_nanos(sum.as_nanos().checked_div(count.into()).unwrap_or(0) as u64)
}
