//! A client of the SFU as a node: signaling, ICE, what it sends and what it shows, as a browser does it.
//!
//! In: the worker's messages and datagrams. Out: messages, datagrams, [`Fact`]s about the pictures it shows, one flow for
//! each slot. Time: its plan's, and what its parts want. Chance: one seed. Packets are not encrypted: the worker is
//! made with `Protection::Plain`.

mod assembly;
pub mod ice;
pub mod offer;
mod order;
pub mod payload;
pub mod plan;
mod publisher;
pub mod room;
mod slot;
pub mod stream;
mod subscriber;
mod uplink;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cc::Estimator;
use proto::ids::Mid;
use proto::rtcp::{self, Rtcp};
use proto::rtp::Ssrc;
use proto::rtp::extension::Extension;
use proto::seed::Seed;
use proto::signal::{Kind, Offer};
use proto::time::{Instant, earliest};
use sfu::network::demux::{PacketKind, classify};

use super::worker::{WALL_START, datagram, flow_down, flow_up, message};
use super::{Fact, Node};
use crate::packet::{NodeId, Packet, Payload};
use ice::Ice;
use offer::{Answered, Dialect, Section};
use plan::{ClientPlan, LayoutPlan};
use publisher::Publisher;
use room::{News, RoomState};
use subscriber::Subscriber;

/// Where a client is in its stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// It has not come yet.
    Before,
    /// It is there, or on its way in.
    During,
    /// It has left, or was thrown out.
    After,
}

/// Who is who in a world: a client's identity and its node's number.
pub type Directory = Arc<BTreeMap<String, u16>>;

/// See the module's description.
pub struct ClientNode {
    node: NodeId,
    server: NodeId,
    plan: ClientPlan,
    directory: Directory,
    stay: Stay,
    sections: Vec<Section>,
    dialect: Dialect,
    ice: Ice,
    room: RoomState,
    publisher: Publisher,
    subscriber: Subscriber,
    /// The plan's layout that holds, by its place.
    layout: Option<usize>,
    out: VecDeque<Packet>,
    facts: VecDeque<Fact>,
}

impl ClientNode {
    /// A client that will be the node `node` and talks to the worker at `server`; `estimator` decides how much it sends,
    /// without one it sends all that its plan has.
    pub fn new(
        (node, server): (NodeId, NodeId),
        plan: ClientPlan,
        directory: Directory,
        estimator: Option<Box<dyn Estimator>>,
        seed: &Seed,
    ) -> Self {
        let seed = seed.fork(&format!("client {}", node.0));
        let mut own = seed.fork("own").generator();
        // Its clock is some minutes off the server's.
        let off = i64::from(own.number() % 600_000) * 1_000_000 - 300_000_000_000;
        let dialect = Dialect::new(node.0);
        let transport_id = dialect.id(Extension::TransportSequence);
        Self {
            node,
            server,
            stay: Stay::Before,
            sections: Section::all(&plan),
            dialect,
            ice: Ice::new(seed.fork("ice").generator()),
            room: RoomState::new(plan.ping),
            publisher: Publisher::new(node, &plan, WALL_START.offset_nanos(off), estimator, &seed),
            subscriber: Subscriber::new(node, Ssrc(own.number()), transport_id),
            plan,
            directory,
            layout: None,
            out: VecDeque::new(),
            facts: VecDeque::new(),
        }
    }

    fn handle_message(&mut self, now: Instant, text: &str) {
        let Some(news) = self.room.handle_message(text) else {
            return self.violated("messages-are-understood", text.chars().take(200).collect());
        };
        match news {
            News::Joined(sdp) => {
                let Some(answered) = self.handle_answer(now, &sdp) else { return };
                self.add_slots(&answered);
                self.refresh(now);
            }
            News::Answered(sdp) => {
                self.handle_answer(now, &sdp);
            }
            News::PathLost => {
                self.ice.restart();
                let offer = self.offer();
                self.room.offer_again(offer);
            }
            News::Changed => self.refresh(now),
            News::Closed(reason) => {
                if self.stay == Stay::During {
                    self.violated("sessions-last", reason);
                }
                self.end(now);
            }
            News::Refused(reason) => self.violated("requests-are-met", reason),
            News::Demanded(demand) => {
                if let Some(applied) = self.publisher.meet(now, &demand) {
                    self.room.applied(applied);
                }
            }
            News::Nothing => {}
        }
    }

    fn handle_answer(&mut self, now: Instant, sdp: &str) -> Option<Answered> {
        let answered = offer::read_answer(sdp);
        match &answered {
            Some(answered) => self.ice.handle_answer(now, answered.theirs.clone()),
            None => self.violated("messages-are-understood", "an answer that cannot be read".to_owned()),
        }
        answered
    }

    fn offer(&self) -> Offer {
        let no_certificate = [0; 32]; // packets are not protected here
        let sdp = offer::write(&self.sections, &self.dialect, self.ice.ours(), &no_certificate);
        Offer { sdp, tracks: offer::published(&self.sections) }
    }

    fn add_slots(&mut self, answered: &Answered) {
        let mut places: BTreeMap<Kind, usize> = BTreeMap::new();
        for (index, section) in self.sections.iter().enumerate() {
            let Section::Slot(kind) = section else { continue };
            let mid = Mid(index.to_string());
            let Some(&streams) = answered.streams.get(&mid) else { continue };
            let place = places.entry(*kind).or_insert(0);
            self.subscriber.add_slot(mid, *kind, streams, *place);
            *place += 1;
        }
    }

    fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        match classify(bytes) {
            PacketKind::Stun => {
                self.ice.handle_stun(now, bytes);
                if let Some(rtt) = self.ice.rtt() {
                    self.publisher.set_rtt(rtt);
                    self.subscriber.set_rtt(rtt);
                }
                if self.ice.is_open() {
                    self.publisher.open(now);
                }
            }
            PacketKind::Rtp => self.subscriber.handle_rtp(now, bytes),
            PacketKind::Rtcp => self.handle_rtcp(now, bytes),
            PacketKind::Dtls | PacketKind::Unknown => {
                self.violated("packets-are-understood", format!("a datagram of {} bytes", bytes.len()));
            }
        }
    }

    fn handle_rtcp(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(packets) = rtcp::parse(bytes) else {
            return self.violated("packets-are-understood", "RTCP that cannot be read".to_owned());
        };
        for packet in &packets {
            if let Rtcp::SenderReport(report) = packet {
                self.subscriber.handle_sender_report(now, report);
            }
            self.publisher.handle_rtcp(now, packet);
        }
    }

    /// Comes, goes and looks elsewhere as planned.
    fn follow_plan(&mut self, now: Instant) {
        if self.stay == Stay::Before && now >= Instant::ZERO + self.plan.join {
            self.stay = Stay::During;
            let offer = self.offer();
            self.room.join(now, offer);
        }
        if self.stay == Stay::During && self.plan.leave.is_some_and(|leave| now >= Instant::ZERO + leave) {
            self.room.leave();
            self.end(now);
        }
        let layout = self.plan.layouts.iter().rposition(|(at, _)| now >= Instant::ZERO + *at);
        if layout != self.layout {
            self.layout = layout;
            self.refresh(now);
        }
    }

    /// When the plan goes on.
    fn next_in_plan(&self) -> Option<Instant> {
        let at = |time| Instant::ZERO + time;
        match self.stay {
            Stay::Before => Some(at(self.plan.join)),
            Stay::During => {
                let next = self.layout.map_or(0, |layout| layout + 1);
                let layout = self.plan.layouts.get(next).map(|(time, _)| at(*time));
                earliest(layout, self.plan.leave.map(at))
            }
            Stay::After => None,
        }
    }

    /// Says what is shown, and tells the slots what they carry.
    fn refresh(&mut self, now: Instant) {
        if self.stay != Stay::During {
            return;
        }
        let layout: Option<&LayoutPlan> =
            self.layout.and_then(|layout| self.plan.layouts.get(layout)).map(|(_, plan)| plan);
        self.room.lay_out(layout);
        let (room, directory) = (&self.room, &self.directory);
        self.subscriber.bind(now, |mid| {
            let (publisher, shown) = room.carried(mid);
            (publisher.and_then(|identity| directory.get(identity).copied()), shown)
        });
    }

    fn end(&mut self, now: Instant) {
        self.stay = Stay::After;
        self.publisher.close(now);
        self.ice.close();
    }

    /// Collects what the parts have to say.
    fn settle(&mut self) {
        let flow = flow_up(self.node);
        while let Some(text) = self.room.poll_message() {
            self.out.push_back(message(flow, self.server, text));
        }
        while let Some(fact) = self.publisher.poll_fact() {
            self.facts.push_back(fact);
        }
        while let Some(fact) = self.subscriber.poll_fact() {
            self.facts.push_back(fact);
        }
        while let Some(bytes) = self.ice.poll_transmit() {
            self.out.push_back(datagram(flow, self.server, bytes));
        }
        while let Some(bytes) = self.subscriber.poll_transmit() {
            self.out.push_back(datagram(flow, self.server, bytes));
        }
        while let Some(bytes) = self.publisher.poll_transmit() {
            self.out.push_back(datagram(flow, self.server, bytes));
        }
    }

    fn violated(&mut self, rule: &'static str, detail: String) {
        self.facts.push_back(Fact::Violated { flow: flow_down(self.node), rule, detail });
    }
}

impl Node for ClientNode {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        match (packet.payload, self.stay) {
            (_, Stay::After | Stay::Before) => {} // what was on its way when it left
            (Payload::Datagram(bytes), Stay::During) => self.handle_datagram(now, &bytes),
            (Payload::Message(text), Stay::During) => self.handle_message(now, &text),
            (Payload::Filler | Payload::Media(_), Stay::During) => {
                self.violated("packets-are-understood", "not a packet of an SFU".to_owned());
            }
        }
        self.settle();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.follow_plan(now);
        if self.stay == Stay::During {
            self.room.handle_timeout(now);
            self.ice.handle_timeout(now);
            self.publisher.handle_timeout(now);
            self.subscriber.handle_timeout(now);
        }
        self.settle();
    }

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        self.out.pop_front()
    }

    fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let plan = self.next_in_plan();
        if self.stay != Stay::During {
            return plan;
        }
        let network = earliest(self.room.poll_timeout(), self.ice.poll_timeout());
        let media = earliest(self.publisher.poll_timeout(), self.subscriber.poll_timeout());
        earliest(plan, earliest(network, media))
    }
}
