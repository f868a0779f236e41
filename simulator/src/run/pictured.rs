//! What a room looked like over time: for each person what they send and get, what they see and when it stood still.
//!
//! In: events. Out: [`Timeline`], a flow a person. Limit: memory grows with the pictures shown.

use std::time::Duration;

use proto::time::Instant;

use super::cause_of;
use crate::metrics::meter::{SPAN, span_of};
use crate::node::Fact;
use crate::node::worker::flow_down;
use crate::packet::{LinkId, NodeId, Packet, Payload};
use crate::room::{Person, RoomPlan, SERVER};
use crate::timeline::{FlowTimeline, Timeline, Transition};
use crate::world::{Event, Observer};

/// See the module's description.
pub(super) struct Pictured {
    timeline: Timeline,
    spans: usize,
}

impl Pictured {
    /// Watches a room; `bottleneck` is the link whose capacity is shown, if they share one.
    pub(super) fn new(plan: &RoomPlan, bottleneck: Option<LinkId>) -> Self {
        let spans = span_of(Instant::ZERO + plan.duration);
        let link = bottleneck.and_then(|link| plan.links.get(link.0));
        let carried = |span: usize| {
            let from = SPAN * span as u32;
            let size = link.and_then(|(_, plan)| plan.capacity(from, from + SPAN)).unwrap_or_default();
            mbit(size.as_bytes())
        };
        let flow = |name: &str| FlowTimeline {
            name: name.to_owned(),
            target: vec![0.0; spans],
            sent: vec![0.0; spans],
            received: vec![0.0; spans],
            lost_random: vec![0; spans],
            lost_overflow: vec![0; spans],
            lost_policer: vec![0; spans],
            ..FlowTimeline::default()
        };
        let timeline = Timeline {
            capacity: (0..spans).map(carried).collect(),
            queue_ms: vec![0.0; spans],
            others: vec![0.0; spans],
            flows: plan.people.iter().map(|person| flow(&person.client.identity)).collect(),
        };
        Self { timeline, spans }
    }

    /// What it looked like.
    pub(super) fn timeline(mut self) -> Timeline {
        for flow in &mut self.timeline.flows {
            let mut last = 0.0;
            for target in &mut flow.target {
                last = if *target > 0.0 { *target } else { last }; // it holds until the next one is said
                *target = last;
            }
        }
        self.timeline
    }

    /// Whom a fact is about: what the SFU's congestion control towards somebody does is told of who receives.
    fn person_of(&mut self, node: NodeId, fact: &Fact) -> Option<&mut FlowTimeline> {
        let mut people = (0..self.timeline.flows.len()).map(|number| Person(number).node());
        let receiver = people.find(|person| node == SERVER && flow_down(*person) == fact.flow());
        self.person(receiver.unwrap_or(node))
    }

    fn person(&mut self, node: NodeId) -> Option<&mut FlowTimeline> {
        let number = (0..self.timeline.flows.len()).find(|number| Person(*number).node() == node)?;
        self.timeline.flows.get_mut(number)
    }

    fn handle_fact(&mut self, now: Instant, node: NodeId, fact: &Fact) {
        let seconds = now.as_nanos() as f64 / 1e9;
        let span = span_of(now);
        let Some(person) = self.person_of(node, fact) else { return };
        match fact {
            Fact::Target { rate, state, .. } => {
                person.target[span] = rate.as_bps() as f64 / 1e6;
                if person.states.last().is_none_or(|(_, last)| last != state) {
                    person.states.push((seconds, state));
                }
            }
            Fact::Phase { from, to, reason, .. } => {
                person.transitions.push(Transition { at: seconds, from, to, reason });
            }
            Fact::PathClass { class, .. } => person.classes.push((seconds, class.name())),
            Fact::FrameShown { delay, .. } => person.frames.push((seconds, delay.as_secs_f64() * 1e3)),
            Fact::Froze { length, .. } => person.freezes.push((seconds - length.as_secs_f64(), seconds)),
            Fact::FrameSent { .. }
            | Fact::FrameComplete { .. }
            | Fact::FrameLost { .. }
            | Fact::LayerSwitched { .. }
            | Fact::Violated { .. }
            | Fact::Computed { .. } => {}
        }
    }

    /// A lost packet is shown at the person whom it came from or went to.
    fn handle_dropped(&mut self, now: Instant, packet: &Packet, cause: usize) {
        let span = span_of(now);
        let node = if packet.from == SERVER { packet.to } else { packet.from };
        let Some(person) = self.person(node) else { return };
        let lost = match cause {
            0 => &mut person.lost_random,
            1 => &mut person.lost_overflow,
            _ => &mut person.lost_policer,
        };
        lost[span] += 1;
    }

    fn handle_passed(&mut self, now: Instant, queued: Duration) {
        let longest = &mut self.timeline.queue_ms[span_of(now)];
        *longest = longest.max(queued.as_secs_f64() * 1e3);
    }
}

impl Observer for Pictured {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        let span = span_of(now);
        if span >= self.spans {
            return;
        }
        let is_datagram = |packet: &Packet| matches!(packet.payload, Payload::Datagram(_));
        match event {
            Event::Sent(packet) if is_datagram(packet) => {
                if let Some(person) = self.person(packet.from) {
                    person.sent[span] += mbit(packet.size.as_bytes());
                }
            }
            Event::Delivered(packet) if is_datagram(packet) => {
                if let Some(person) = self.person(packet.to) {
                    person.received[span] += mbit(packet.size.as_bytes());
                }
            }
            Event::Dropped { packet, cause, .. } => self.handle_dropped(now, packet, cause_of(*cause)),
            Event::Passed { queued, .. } => self.handle_passed(now, *queued),
            Event::Fact { node, fact } => self.handle_fact(now, *node, fact),
            Event::Sent(_)
            | Event::Delivered(_)
            | Event::Replanned { .. }
            | Event::Spinning(_)
            | Event::WokenLate(_)
            | Event::Flooding(_)
            | Event::Unroutable(_) => {}
        }
    }
}

/// Bytes in a span as Mbit/s.
fn mbit(bytes: u64) -> f64 {
    bytes as f64 * 8.0 / SPAN.as_secs_f64() / 1e6
}
