//! `World`: nodes, the links between them, and the clock that jumps from one wake-up to the next.
//!
//! In: nodes, links and routes. Out: [`Event`]s to an [`Observer`]. Time: virtual; whoever wakes earliest says what time
//! it is, ties go by age of the wake-up. Nothing here is random: chance belongs to nodes and links.

mod clock;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::seed::Seed;
use proto::time::Instant;

use crate::link::{DropCause, Link, LinkPlan, Parcel};
use crate::node::{Fact, Node};
use crate::packet::{LinkId, NodeId, Packet, Payload};
use clock::Clock;
pub use clock::Entity;

/// The most packets that a node may send at one instant: above any burst that a sane sender makes.
const POLLS_MAX: usize = 100_000;

/// The most wake-ups at one instant: a node that is due again and again without time passing is broken.
const WAKES_MAX: u32 = 10_000;

/// Something that happened in a world.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A node sent a packet.
    Sent(&'a Packet),
    /// A link dropped a packet.
    Dropped {
        /// Which link.
        link: LinkId,
        /// The packet.
        packet: &'a Packet,
        /// Why.
        cause: DropCause,
    },
    /// A packet reached the far end of a link.
    Passed {
        /// Which link.
        link: LinkId,
        /// The packet.
        packet: &'a Packet,
        /// How long it waited in the queue.
        queued: Duration,
    },
    /// A packet reached its node.
    Delivered(&'a Packet),
    /// A node has something to tell.
    Fact {
        /// Which node.
        node: NodeId,
        /// What.
        fact: &'a Fact,
    },
    /// A link works by another plan from now on.
    Replanned {
        /// Which link.
        link: LinkId,
        /// How.
        plan: &'a LinkPlan,
    },
    /// Time stands still: a node or link is due again and again.
    Spinning(Entity),
    /// A node or link wanted to be woken before now.
    WokenLate(Entity),
    /// A node has more to send at one instant than any sane one, and was stopped.
    Flooding(NodeId),
    /// A packet has no way to where it shall go.
    Unroutable(&'a Packet),
}

/// Who is told of all that happens.
pub trait Observer {
    /// Something happened at `now`; times never go back.
    fn observe(&mut self, now: Instant, event: &Event<'_>);
}

/// A packet with the way it takes.
#[derive(Debug)]
struct Transit {
    packet: Packet,
    /// The links still before it are `route[hop..]`.
    route: usize,
    hop: usize,
}

impl Parcel for Transit {
    fn wire_size(&self) -> proto::units::DataSize {
        self.packet.size
    }

    fn ecn(&self) -> cc::Ecn {
        self.packet.ecn
    }

    fn mark_congested(&mut self) {
        self.packet.mark_congested();
    }
}

/// See the module's description.
pub struct World<O> {
    now: Instant,
    seed: Seed,
    nodes: Vec<Box<dyn Node>>,
    links: Vec<Link<Transit>>,
    /// Each way as links; a packet between two nodes takes the route of that pair.
    routes: Vec<Vec<LinkId>>,
    route_of: BTreeMap<(NodeId, NodeId), usize>,
    /// The routes of messages, where they differ from those of other packets.
    message_route_of: BTreeMap<(NodeId, NodeId), usize>,
    clock: Clock,
    /// Packets that go on at this instant, the first first.
    moving: VecDeque<Transit>,
    /// Changes of links that are still to come, the latest first.
    changes: Vec<(Instant, LinkId, LinkPlan)>,
    sent: u64,
    spins: u32,
    observer: O,
}

impl<O: Observer> World<O> {
    /// An empty world; what its links leave to chance comes from `seed`.
    pub fn new(seed: Seed, observer: O) -> Self {
        Self {
            now: Instant::ZERO,
            seed,
            nodes: Vec::new(),
            links: Vec::new(),
            routes: Vec::new(),
            route_of: BTreeMap::new(),
            message_route_of: BTreeMap::new(),
            clock: Clock::default(),
            moving: VecDeque::new(),
            changes: Vec::new(),
            sent: 0,
            spins: 0,
            observer,
        }
    }

    /// Adds a node. It is first asked for packets and its wake-up when the world runs.
    pub fn add_node(&mut self, node: Box<dyn Node>) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        self.clock.schedule(Entity::Node(id), Some(self.now));
        id
    }

    /// Adds a link. Its chance depends on the world's seed and on how many links came before.
    pub fn add_link(&mut self, plan: LinkPlan) -> LinkId {
        let id = LinkId(self.links.len());
        self.observer.observe(self.now, &Event::Replanned { link: id, plan: &plan });
        self.links.push(Link::new(plan, &self.seed.fork(&format!("link {}", id.0))));
        id
    }

    /// Packets from one node to another go over these links, in this order; over none they arrive at once.
    pub fn add_route(&mut self, from: NodeId, to: NodeId, links: &[LinkId]) {
        let route = self.routes.len();
        self.routes.push(links.to_vec());
        self.route_of.insert((from, to), route);
    }

    /// Messages from one node to another go over these links instead: TCP's, which only delay.
    pub fn add_message_route(&mut self, from: NodeId, to: NodeId, links: &[LinkId]) {
        let route = self.routes.len();
        self.routes.push(links.to_vec());
        self.message_route_of.insert((from, to), route);
    }

    /// Changes a link's plan at a time to come.
    pub fn change_link(&mut self, at: Instant, link: LinkId, plan: LinkPlan) {
        let later = self.changes.partition_point(|(other, ..)| *other > at);
        self.changes.insert(later, (at, link, plan));
    }

    /// Lets the world run until `end`.
    pub fn run_until(&mut self, end: Instant) {
        while let Some((at, entity)) = self.next_wake(end) {
            if at < self.now {
                self.observer.observe(self.now, &Event::WokenLate(entity));
            }
            self.spins = if at > self.now { 0 } else { self.spins + 1 };
            self.now = self.now.max(at);
            if self.spins > WAKES_MAX {
                self.observer.observe(self.now, &Event::Spinning(entity));
                return;
            }
            self.wake(entity);
            self.settle();
        }
        self.now = self.now.max(end);
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Who watches.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Who watches, to ask for what it has found.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// Ends the world and hands out who watched.
    pub fn into_observer(self) -> O {
        self.observer
    }

    /// How many nodes there are; the next one gets this number.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// How many packets are inside links.
    pub fn held(&self) -> usize {
        self.links.iter().map(Link::held).sum()
    }

    /// Takes the next wake-up; one after `end` stays for the next run.
    fn next_wake(&mut self, end: Instant) -> Option<(Instant, Entity)> {
        let wake = self.clock.next();
        let (at, entity) = match self.changes.last() {
            Some((at, ..)) if wake.is_none_or(|(wake, _)| *at <= wake) => (*at, Entity::Change),
            Some(_) | None => wake?,
        };
        if at > end {
            return None;
        }
        if entity != Entity::Change {
            self.clock.take();
        }
        Some((at, entity))
    }

    fn wake(&mut self, entity: Entity) {
        match entity {
            Entity::Node(id) => {
                self.nodes[id.0].handle_timeout(self.now);
                self.drain_node(id);
            }
            Entity::Link(id) => {
                self.links[id.0].handle_timeout(self.now);
                self.drain_link(id);
            }
            Entity::Change => self.apply_change(),
        }
    }

    fn apply_change(&mut self) {
        let Some((_, link, plan)) = self.changes.pop() else { return };
        self.observer.observe(self.now, &Event::Replanned { link, plan: &plan });
        self.links[link.0].set_plan(self.now, plan);
        self.drain_link(link);
    }

    /// Moves packets on until each of them waits for its time.
    fn settle(&mut self) {
        let mut hops = 0;
        while let Some(transit) = self.moving.pop_front() {
            hops += 1;
            if hops == POLLS_MAX {
                // A ping-pong without delay: nobody's time would ever come.
                self.observer.observe(self.now, &Event::Flooding(transit.packet.from));
                self.spins = WAKES_MAX;
                return;
            }
            self.forward(transit);
        }
    }

    fn drain_node(&mut self, id: NodeId) {
        let mut polls = 0;
        while let Some(packet) = self.nodes[id.0].poll_packet(self.now) {
            self.send(id, packet);
            polls += 1;
            if polls == POLLS_MAX {
                self.observer.observe(self.now, &Event::Flooding(id));
                break;
            }
        }
        while let Some(fact) = self.nodes[id.0].poll_fact() {
            self.observer.observe(self.now, &Event::Fact { node: id, fact: &fact });
        }
        self.clock.schedule(Entity::Node(id), self.nodes[id.0].poll_timeout());
    }

    fn send(&mut self, from: NodeId, mut packet: Packet) {
        packet.number = self.sent;
        packet.from = from;
        packet.sent = self.now;
        self.sent += 1;
        self.observer.observe(self.now, &Event::Sent(&packet));
        let pair = (from, packet.to);
        let is_message = matches!(packet.payload, Payload::Message(_));
        let own = is_message.then(|| self.message_route_of.get(&pair)).flatten();
        match own.or_else(|| self.route_of.get(&pair)) {
            Some(&route) => self.moving.push_back(Transit { packet, route, hop: 0 }),
            None => self.observer.observe(self.now, &Event::Unroutable(&packet)),
        }
    }

    /// Hands a packet to the next link of its way, or to its node.
    fn forward(&mut self, mut transit: Transit) {
        if let Some(&link) = self.routes[transit.route].get(transit.hop) {
            transit.hop += 1;
            self.links[link.0].handle_parcel(self.now, transit);
            self.drain_link(link);
        } else {
            self.observer.observe(self.now, &Event::Delivered(&transit.packet));
            let to = transit.packet.to;
            self.nodes[to.0].handle_packet(self.now, transit.packet);
            self.drain_node(to);
        }
    }

    fn drain_link(&mut self, id: LinkId) {
        while let Some(dropped) = self.links[id.0].poll_dropped() {
            let (packet, cause) = (&dropped.parcel.packet, dropped.cause);
            self.observer.observe(self.now, &Event::Dropped { link: id, packet, cause });
        }
        while let Some(passed) = self.links[id.0].poll_passed(self.now) {
            let (packet, queued) = (&passed.parcel.packet, passed.queued);
            self.observer.observe(self.now, &Event::Passed { link: id, packet, queued });
            self.moving.push_back(passed.parcel);
        }
        self.clock.schedule(Entity::Link(id), self.links[id.0].poll_timeout());
    }
}
