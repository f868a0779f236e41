//! The SFU as a node: the real [`Worker`], whose UDP and WebSockets are the world's packets and messages.
//!
//! In: datagrams and messages of clients that were granted a room. Out: the worker's datagrams and messages. Time: the
//! worker's own. Limit: `OUTPUTS_MAX` outputs for one input; what a worker may not do is told as [`Fact::Violated`].

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use proto::seed::Seed;
use proto::time::{Instant, NtpTime};
use proto::units::{Bitrate, DataSize};
use sfu::worker::{
    Config, DownlinkSettings, Grant, Input, Output, Path, Protection, SocketId, Stats, Worker, WorkerMark,
};

use super::{Fact, Node};
use crate::packet::{FlowId, IP_UDP_HEADERS, NodeId, Packet, Payload};

/// The most that one input may cause: a join of the largest room tells everybody and moves dozens of slots.
const OUTPUTS_MAX: usize = 20_000;

/// The most participants of a room.
const PARTICIPANTS_MAX: usize = 200;

/// How often it is told what downlinks are allowed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Flows that each node has for itself: see [`flow_up`], [`flow_down`] and [`flow_of_slot`].
const FLOWS_EACH: u32 = 256;

/// The wall clock when a world begins: any time in this century.
pub(super) const WALL_START: NtpTime = NtpTime::from_bits(0xe9a1_0000_0000_0000);

/// What a client sends.
pub fn flow_up(client: NodeId) -> FlowId {
    FlowId(client.0 as u32 * FLOWS_EACH)
}

/// What a client receives.
pub fn flow_down(client: NodeId) -> FlowId {
    FlowId(client.0 as u32 * FLOWS_EACH + 1)
}

/// What a client shows in one of its slots for pictures, by the slot's place among them.
pub fn flow_of_slot(client: NodeId, slot: usize) -> FlowId {
    FlowId(client.0 as u32 * FLOWS_EACH + 2 + slot as u32)
}

/// See the module's description.
pub struct WorkerNode {
    worker: Worker,
    grants: BTreeMap<NodeId, Grant>,
    sockets: BTreeMap<NodeId, SocketId>,
    owners: BTreeMap<SocketId, NodeId>,
    next_socket: u64,
    outputs: usize,
    /// Made by the worker and not given to the world yet.
    datagrams: VecDeque<Packet>,
    /// What each client's downlink was allowed when last looked at, and when to look again.
    allowed: BTreeMap<NodeId, (Bitrate, &'static str)>,
    look_at: Instant,
    facts: VecDeque<Fact>,
}

impl WorkerNode {
    /// A worker that lets in whoever has a grant; a client's WebSocket opens with its first message.
    /// `downlink` decides how much viewers are sent.
    pub fn new(seed: &Seed, grants: BTreeMap<NodeId, Grant>, downlink: DownlinkSettings) -> Self {
        let config = Config {
            candidates: vec![SERVER],
            tcp_candidates: Vec::new(),
            mark: WorkerMark::FIRST,
            protection: Protection::Plain,
            seed: seed.fork("sfu"),
            wall_clock: WALL_START,
            room_participants_max: PARTICIPANTS_MAX,
            downlink,
        };
        Self {
            worker: Worker::new(config),
            grants,
            sockets: BTreeMap::new(),
            owners: BTreeMap::new(),
            next_socket: 1,
            outputs: 0,
            datagrams: VecDeque::new(),
            allowed: BTreeMap::new(),
            look_at: Instant::ZERO,
            facts: VecDeque::new(),
        }
    }

    /// The worker's numbers.
    pub fn stats(&self) -> Stats {
        self.worker.stats()
    }

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.worker.handle_input(now, input);
        self.outputs = 0;
        if now >= self.look_at {
            self.look_at = now + LOOK_INTERVAL;
            self.look();
        }
    }

    /// Tells what the downlinks are allowed, where that has changed.
    fn look(&mut self) {
        for (remote, rate, state) in self.worker.downlinks() {
            let Some(node) = node_at(remote) else { continue };
            if self.allowed.insert(node, (rate, state)) != Some((rate, state)) {
                self.facts.push_back(Fact::Target { flow: flow_down(node), rate, state });
            }
        }
    }

    fn handle_message(&mut self, now: Instant, from: NodeId, text: &str) {
        let Some(grant) = self.grants.get(&from) else {
            return self.violated("only-guests-speak", format!("{from:?} has no grant"));
        };
        if !self.sockets.contains_key(&from) {
            let (socket, grant) = (SocketId(self.next_socket), grant.clone());
            self.next_socket += 1;
            self.sockets.insert(from, socket);
            self.owners.insert(socket, from);
            self.handle_input(now, Input::SocketOpened { socket, grant, session: None, others: Vec::new() });
        }
        let socket = self.sockets[&from];
        self.handle_input(now, Input::SocketMessage { socket, text });
    }

    fn violated(&mut self, rule: &'static str, detail: String) {
        self.facts.push_back(Fact::Violated { flow: FlowId(0), rule, detail });
    }
}

impl WorkerNode {
    fn poll_datagram(&mut self) -> Option<Packet> {
        while self.datagrams.is_empty()
            && let Some(transmits) = self.worker.poll_transmits()
        {
            for run in transmits.runs() {
                let Some(to) = node_at(run.path.remote) else { continue };
                self.datagrams
                    .extend(run.datagrams().map(|bytes| datagram(flow_down(to), to, bytes.to_vec())));
            }
            transmits.clear();
        }
        let packet = self.datagrams.pop_front()?;
        self.note_output();
        Some(packet)
    }

    fn note_output(&mut self) {
        self.outputs += 1;
        if self.outputs == OUTPUTS_MAX {
            self.violated("outputs-come-to-an-end", format!("{OUTPUTS_MAX} for one input"));
        }
    }
}

impl Node for WorkerNode {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        match packet.payload {
            Payload::Datagram(mut bytes) => {
                let remote = address_of(packet.from);
                self.handle_input(now, Input::Datagram { path: Path::udp(None, remote), bytes: &mut bytes });
            }
            Payload::Message(text) => self.handle_message(now, packet.from, &text),
            Payload::Filler | Payload::Media(_) => {
                self.violated("packets-are-understood", format!("{:?} sends what no SFU reads", packet.from));
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_input(now, Input::Timeout);
        let wake = self.worker.poll_timeout();
        if let Some(at) = wake.filter(|at| *at <= now) {
            self.violated("no-wake-up-in-the-past", format!("the worker wants to wake at {at:?}"));
        }
    }

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        if let Some(packet) = self.poll_datagram() {
            return Some(packet);
        }
        while let Some(output) = self.worker.poll_output() {
            self.note_output();
            match output {
                Output::Message { socket, text } => {
                    let Some(&to) = self.owners.get(&socket) else { continue };
                    return Some(message(flow_down(to), to, text));
                }
                Output::CloseSocket { socket } => {
                    if let Some(owner) = self.owners.remove(&socket) {
                        self.sockets.remove(&owner);
                    }
                }
                Output::Event(_) => {}
            }
        }
        None
    }

    fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.worker.poll_timeout()
    }
}

/// A UDP datagram to a node; who sends it and when is the world's to say.
pub(super) fn datagram(flow: FlowId, to: NodeId, bytes: Vec<u8>) -> Packet {
    let size = DataSize::bytes(IP_UDP_HEADERS + bytes.len() as u64);
    outgoing(flow, to, size, Payload::Datagram(bytes))
}

/// A signaling message to a node.
pub(super) fn message(flow: FlowId, to: NodeId, text: String) -> Packet {
    let size = DataSize::bytes(IP_UDP_HEADERS + text.len() as u64);
    outgoing(flow, to, size, Payload::Message(text))
}

fn outgoing(flow: FlowId, to: NodeId, size: DataSize, payload: Payload) -> Packet {
    let (number, from, sent) = (0, to, Instant::ZERO);
    Packet { number, flow, from, to, size, ecn: cc::Ecn::NotCapable, sent, payload }
}

/// The worker's address.
const SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), 7882));

/// The port of every client.
const CLIENT_PORT: u16 = 50_000;

/// The address of a client's node: its number in a private network.
fn address_of(node: NodeId) -> SocketAddr {
    let [_, high, middle, low] = (node.0 as u32).to_be_bytes();
    SocketAddr::from(([10, high, middle, low], CLIENT_PORT))
}

/// The client's node at an address.
fn node_at(address: SocketAddr) -> Option<NodeId> {
    let SocketAddr::V4(address) = address else { return None };
    let [network, high, middle, low] = address.ip().octets();
    (network == 10).then(|| NodeId(u32::from_be_bytes([0, high, middle, low]) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_nodes() {
        for number in [0, 1, 255, 256, 70_000] {
            assert_eq!(node_at(address_of(NodeId(number))), Some(NodeId(number)));
        }
        assert_eq!(node_at(SERVER), None);
    }

    #[test]
    fn flows_of_nodes_do_not_meet() {
        let (one, two) = (NodeId(1), NodeId(2));
        assert!(flow_up(one) < flow_down(one) && flow_down(one) < flow_of_slot(one, 0));
        assert!(flow_of_slot(one, 31) < flow_up(two));
    }

    #[test]
    fn a_stranger_is_not_let_in() {
        let mut node = WorkerNode::new(&Seed::from_number(1), BTreeMap::new(), DownlinkSettings::default());
        let mut hello = message(FlowId(0), NodeId(0), "{}".to_owned());
        hello.from = NodeId(7);
        node.handle_packet(Instant::ZERO, hello);
        let fact = node.poll_fact();
        assert!(matches!(fact, Some(Fact::Violated { rule: "only-guests-speak", .. })), "{fact:?}");
    }
}
