//! One end of QUIC connections in virtual time: `quinn-proto` between a node's verbs.
//!
//! In: datagrams, `connect`. Out: datagrams, events. Time: `now`, monotonic; `poll_timeout`; quinn is told of it as the
//! standard library's `Instant`, counted from an epoch. Chance: a seed. Limit: what quinn holds.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use bytes::{Bytes, BytesMut};
use cc::Ecn;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::DataSize;
use quinn_proto::congestion::{ControllerFactory, CubicConfig, NewRenoConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, ConnectionId, ConnectionIdGenerator, DatagramEvent, Dir,
    Endpoint, EndpointConfig, Event, Incoming, ServerConfig, StreamEvent, StreamId, TransportConfig, VarInt,
};

use super::plain::Plain;
use crate::node::Node;
use crate::packet::{FlowId, IP_UDP_HEADERS, NodeId, Packet, Payload};
use crate::scenario::TcpControl;

/// The longest datagram: with its headers 1480 bytes, which every Ethernet carries.
const MTU: u16 = 1_452;

/// Ten segments (RFC 6928), as Linux begins.
const INITIAL_WINDOW: u64 = 10 * MTU as u64;

/// The most that is written and not acknowledged, in bytes: 300 ms at 400 Mbit/s.
const SEND_WINDOW: u64 = 16 << 20;

/// How often a connection whose timer is due at once is woken before it must wait for the next nanosecond.
const WAKES_MAX: usize = 16;

/// The port of every address; only the IP addresses differ.
const PORT: u16 = 4_433;

/// See the module's description.
///
/// After each `handle_*` and after use of a connection, drain [`Peer::poll_event`] and [`Peer::poll_packet`].
pub(super) struct Peer {
    flow: FlowId,
    epoch: StdInstant,
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    connections: BTreeMap<ConnectionHandle, Running>,
    /// Connections that may have something to send.
    ready: VecDeque<ConnectionHandle>,
    /// What the endpoint itself has to send.
    responses: VecDeque<(NodeId, Vec<u8>)>,
    events: VecDeque<(ConnectionHandle, Event)>,
    /// How many connections were begun.
    begun: u64,
}

struct Running {
    connection: Connection,
    wake: Option<Instant>,
    is_ready: bool,
}

impl Peer {
    /// An end that begins connections.
    pub(super) fn client(flow: FlowId, control: TcpControl, epoch: StdInstant, seed: &Seed) -> Self {
        Self::new(flow, control, None, epoch, seed)
    }

    /// An end that accepts them.
    fn server(flow: FlowId, epoch: StdInstant, seed: &Seed) -> Self {
        let mut config = ServerConfig::new(Arc::new(Plain), Arc::new(Plain));
        // What the server sends is not controlled: acknowledgements.
        config.transport_config(Arc::new(transport(TcpControl::Reno)));
        Self::new(flow, TcpControl::Reno, Some(Arc::new(config)), epoch, seed)
    }

    fn new(
        flow: FlowId,
        control: TcpControl,
        server: Option<Arc<ServerConfig>>,
        epoch: StdInstant,
        seed: &Seed,
    ) -> Self {
        let mut config = EndpointConfig::new(Arc::new(Plain));
        config.cid_generator(|| Box::new(Counter(0)));
        Self {
            flow,
            epoch,
            endpoint: Endpoint::new(Arc::new(config), server, false, Some(bytes_of(seed))),
            transport: Arc::new(transport(control)),
            connections: BTreeMap::new(),
            ready: VecDeque::new(),
            responses: VecDeque::new(),
            events: VecDeque::new(),
            begun: 0,
        }
    }

    /// Begins a connection.
    pub(super) fn connect(&mut self, now: Instant, peer: NodeId) -> ConnectionHandle {
        self.begun += 1;
        let first_id = ConnectionId::new(&(self.begun | u64::from(self.flow.0) << 32).to_be_bytes());
        let mut config = ClientConfig::new(Arc::new(Plain));
        config.transport_config(Arc::clone(&self.transport));
        config.initial_dst_cid_provider(Arc::new(move || first_id));
        let std = self.std(now);
        let (handle, connection) = self
            .endpoint
            .connect(std, config, address(peer), "peer")
            .expect("addresses and version are good, and there are 2^64 connection ids");
        self.insert(handle, connection);
        handle
    }

    pub(super) fn handle_packet(&mut self, now: Instant, packet: Packet) {
        let Payload::Datagram(bytes) = packet.payload else { return };
        let std = self.std(now);
        let data = BytesMut::from(Bytes::from(bytes));
        let mut response = Vec::new();
        match self.endpoint.handle(std, address(packet.from), None, None, data, &mut response) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(running) = self.connections.get_mut(&handle) {
                    running.connection.handle_event(event);
                    self.touch(handle);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.accept(std, packet.from, incoming),
            Some(DatagramEvent::Response(_)) => self.responses.push_back((packet.from, response)),
            None => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, running)| running.wake.is_some_and(|wake| wake <= now))
            .map(|(&handle, _)| handle)
            .collect();
        let std = self.std(now);
        for handle in due {
            if let Some(running) = self.connections.get_mut(&handle) {
                running.connection.handle_timeout(std);
                self.touch(handle);
            }
        }
    }

    /// What happened to a connection; poll until `None`.
    pub(super) fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        self.events.pop_front()
    }

    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        if let Some((to, bytes)) = self.responses.pop_front() {
            return Some(self.packet(now, to, bytes));
        }
        let std = self.std(now);
        while let Some(&handle) = self.ready.front() {
            if let Some(running) = self.connections.get_mut(&handle) {
                if let Some((to, bytes)) = running.transmit(std) {
                    return Some(self.packet(now, to, bytes));
                }
                running.is_ready = false;
                running.wake = running
                    .connection
                    .poll_timeout()
                    .map(|at| Instant::from_nanos(at.saturating_duration_since(self.epoch).as_nanos() as u64))
                    .map(|at| at.max(now + Duration::from_nanos(1)));
            }
            self.ready.pop_front();
        }
        None
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.connections.values().fold(None, |at, running| earliest(at, running.wake))
    }

    /// A connection, to use its streams or to close it; it is then asked for packets.
    pub(super) fn connection(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        self.touch(handle);
        self.connections.get_mut(&handle).map(|running| &mut running.connection)
    }

    /// A connection's congestion window in bytes.
    pub(super) fn window(&self, handle: ConnectionHandle) -> Option<u64> {
        self.connections.get(&handle).map(|running| running.connection.stats().path.cwnd)
    }

    /// Closes a connection at once, whatever is still to be sent.
    pub(super) fn close(&mut self, now: Instant, handle: ConnectionHandle) {
        let std = self.std(now);
        if let Some(connection) = self.connection(handle) {
            connection.close(std, VarInt::from_u32(0), Bytes::new());
        }
        self.touch(handle);
    }

    fn accept(&mut self, std: StdInstant, from: NodeId, incoming: Incoming) {
        let mut response = Vec::new();
        match self.endpoint.accept(incoming, std, &mut response, None) {
            Ok((handle, connection)) => self.insert(handle, connection),
            Err(error) if error.response.is_some() => self.responses.push_back((from, response)),
            Err(_) => {}
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, connection: Connection) {
        self.connections.insert(handle, Running { connection, wake: None, is_ready: false });
        self.touch(handle);
    }

    /// Carries a connection's events to where they belong, and has it asked for packets.
    fn touch(&mut self, handle: ConnectionHandle) {
        let Some(running) = self.connections.get_mut(&handle) else { return };
        if !std::mem::replace(&mut running.is_ready, true) {
            self.ready.push_back(handle);
        }
        let mut is_drained = false;
        while let Some(event) = running.connection.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(handle, event) {
                running.connection.handle_event(answer);
            }
        }
        while let Some(event) = running.connection.poll() {
            self.events.push_back((handle, event));
        }
        if is_drained {
            self.connections.remove(&handle);
        }
    }

    fn std(&self, now: Instant) -> StdInstant {
        self.epoch + Duration::from_nanos(now.as_nanos())
    }

    fn packet(&self, now: Instant, to: NodeId, bytes: Vec<u8>) -> Packet {
        Packet {
            number: 0, // the world's to give, as is who sent it
            flow: self.flow,
            from: NodeId(0),
            to,
            size: DataSize::bytes(bytes.len() as u64 + IP_UDP_HEADERS),
            ecn: Ecn::NotCapable,
            sent: now,
            payload: Payload::Datagram(bytes),
        }
    }
}

impl Running {
    /// The next datagram, if a timer that is due at once does not say otherwise again and again.
    fn transmit(&mut self, std: StdInstant) -> Option<(NodeId, Vec<u8>)> {
        for _ in 0..WAKES_MAX {
            let mut bytes = Vec::new();
            if let Some(transmit) = self.connection.poll_transmit(std, 1, &mut bytes) {
                bytes.truncate(transmit.size);
                return Some((node(transmit.destination), bytes));
            }
            if self.connection.poll_timeout().is_none_or(|at| at > std) {
                break;
            }
            self.connection.handle_timeout(std);
        }
        None
    }
}

/// The other end of cross traffic: accepts connections from any node, reads and forgets what comes.
pub struct Server {
    peer: Peer,
    received: DataSize,
}

impl Server {
    /// A server whose answers are counted with `flow`. `epoch` is the standard library's name for the beginning.
    pub fn new(flow: FlowId, epoch: StdInstant, seed: &Seed) -> Self {
        Self { peer: Peer::server(flow, epoch, seed), received: DataSize::ZERO }
    }

    /// What has been read from all streams so far.
    pub fn received(&self) -> DataSize {
        self.received
    }

    fn drain(&mut self) {
        while let Some((handle, event)) = self.peer.poll_event() {
            let Some(connection) = self.peer.connection(handle) else { continue };
            match event {
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    while let Some(id) = connection.streams().accept(Dir::Uni) {
                        self.received += read(connection, id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.received += read(connection, id),
                Event::Stream(
                    StreamEvent::Opened { dir: Dir::Bi }
                    | StreamEvent::Writable { .. }
                    | StreamEvent::Finished { .. }
                    | StreamEvent::Stopped { .. }
                    | StreamEvent::Available { .. },
                )
                | Event::HandshakeDataReady
                | Event::Connected
                | Event::ConnectionLost { .. }
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
    }
}

/// Reads what a stream has, so that it holds no memory, and says how much that was.
fn read(connection: &mut Connection, id: StreamId) -> DataSize {
    let mut stream = connection.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return DataSize::ZERO }; // finished before
    let mut size = 0;
    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
        size += chunk.bytes.len() as u64;
    }
    let _ = chunks.finalize(); // the connection is asked for packets anyway
    DataSize::bytes(size)
}

impl Node for Server {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        self.peer.handle_packet(now, packet);
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.peer.handle_timeout(now);
        self.drain();
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        self.peer.poll_packet(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.peer.poll_timeout()
    }
}

/// Connection ids by counting: eight bytes, as quinn's own are.
struct Counter(u64);

impl ConnectionIdGenerator for Counter {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0 += 1;
        ConnectionId::new(&self.0.to_be_bytes())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn transport(control: TcpControl) -> TransportConfig {
    let controller: Arc<dyn ControllerFactory + Send + Sync> = match control {
        TcpControl::Cubic => {
            let mut config = CubicConfig::default();
            config.initial_window(INITIAL_WINDOW);
            Arc::new(config)
        }
        TcpControl::Reno => {
            let mut config = NewRenoConfig::default();
            config.initial_window(INITIAL_WINDOW);
            Arc::new(config)
        }
    };
    let mut config = TransportConfig::default();
    config
        .congestion_controller_factory(controller)
        .initial_mtu(MTU)
        .min_mtu(MTU)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false)
        .stream_receive_window(VarInt::MAX)
        .receive_window(VarInt::MAX)
        .send_window(SEND_WINDOW)
        .max_idle_timeout(None)
        .allow_spin(false);
    config
}

/// A node's address, for quinn.
fn address(node: NodeId) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + node.0 as u32), PORT))
}

/// The node that has this address.
fn node(address: SocketAddr) -> NodeId {
    match address {
        SocketAddr::V4(address) => NodeId((address.ip().to_bits() - 0x0a00_0000) as usize),
        SocketAddr::V6(_) => unreachable!("connections are only made to addresses from `address`"),
    }
}

fn bytes_of(seed: &Seed) -> [u8; 32] {
    let mut chance = seed.fork("quic").generator();
    let mut bytes = [0; 32];
    for word in bytes.as_chunks_mut().0 {
        *word = chance.long_number().to_le_bytes();
    }
    bytes
}
