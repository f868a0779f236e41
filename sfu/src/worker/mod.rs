//! `Worker`: the SFU itself, and the only place that knows all four layers.
//!
//! In: [`Input`], as many as there are at a time. Out: then [`Worker::poll_transmits`] until `None`, then
//! [`Worker::poll_output`] until `None`. Time: `now`, monotonic, with every input; `poll_timeout` names when to come back. A
//! worker owns whole rooms, or a shard of one that spans workers and [`relay`]s to each other: nothing is shared but packets that
//! nobody changes any more, so there is nothing to lock.
//!
//! A packet's way: [`network`](crate::network) tells what a datagram is and decrypts it, the publisher's
//! [`ConnectionPipeline`](crate::transport::connection::ConnectionPipeline) makes it a source packet, the route table says
//! whose slots it goes to. When all inputs of a batch are in, each subscriber gets its turn: its slots admit what came for
//! them, what may leave is written and encrypted one behind the other, so that it leaves in runs, and the rest waits.
//! A message's way: [`adapter`](crate::adapter) reads it, [`control`](crate::control) decides, and this carries it out.

mod api;
mod batch;
mod client;
mod connection;
mod datagrams;
mod demands;
mod downlinks;
mod instant;
mod lifecycle;
mod media;
mod negotiate;
pub mod relay;
pub mod report;
mod signaling;
mod stats;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use fec::plan::offline::OfflineMasks;
use proto::ids::{RoomName, SessionId};
use proto::seed::Chance;
use proto::time::{Instant, NtpTime, earliest};
use proto::units::Bitrate;
use slab::Slab;

pub use api::{
    Config, DownlinkSettings, EstimatorChoice, Event, Grant, Input, MakeEstimator, Output, Path, Protection,
    Protocol, RateLimits, SocketId, WorkerMark,
};
pub use instant::{InstantStats, NoStart};
pub use stats::{DownlinkStats, DropReason, Metric, MetricKind, Stats};

use crate::control::room::{MemberKey, Room};
pub use crate::network::transmits::{Run, Transmits};
use crate::transport::rtp_send::{Plaintext, Tables};
use batch::{Batch, Turn};
use client::{Client, ClientKey};
use relay::{PeerId, Relays};

/// The least time to the next wake-up: timers are no finer than this, and a worker cannot spin.
const TIMER_GRAIN: core::time::Duration = core::time::Duration::from_millis(1);

/// Connections are numbered apart on each worker, for workers tell each other of them: by these bits and the worker's number
/// above them.
const NUMBER_BITS: u32 = 48;

/// A WebSocket and what it may do.
struct Socket {
    grant: Grant,
    /// Who else may have a shard of its room.
    others: Vec<PeerId>,
    client: Option<ClientKey>,
}

/// See the module's description.
pub struct Worker {
    config: Config,
    chance: Chance,
    rooms: Slab<Room>,
    rooms_by_name: HashMap<RoomName, usize>,
    clients: Slab<Client>,
    sockets: BTreeMap<SocketId, Socket>,
    by_path: HashMap<Path, ClientKey>,
    by_ufrag: HashMap<String, ClientKey>,
    by_session: HashMap<SessionId, ClientKey>,
    by_number: HashMap<u64, ClientKey>,
    next_number: u64,
    timers: BTreeSet<(Instant, ClientKey)>,
    /// When pacers want to go on: apart from the other timers, for there are many of them and each has little to do.
    pacing: BTreeSet<(Instant, ClientKey)>,
    /// By when each new WebSocket must have joined, in the order of their opening.
    unjoined: VecDeque<(Instant, SocketId)>,
    outputs: VecDeque<Output>,
    transmits: Transmits,
    /// What came since the last turns, and whose turn it is.
    batch: Batch,
    relays: Relays,
    /// The time of the last input.
    now: Instant,
    plaintext: Plaintext,
    /// How much repair meets which goal on which leg: worked out once for all of them.
    plans: Tables,
    stats: Stats,
}

impl Worker {
    /// A worker without rooms.
    pub fn new(config: Config) -> Self {
        let chance = config.seed.fork("worker").generator();
        let next_number = (config.mark.worker() as u64) << NUMBER_BITS;
        Self {
            config,
            chance,
            rooms: Slab::new(),
            rooms_by_name: HashMap::new(),
            clients: Slab::new(),
            sockets: BTreeMap::new(),
            by_path: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_session: HashMap::new(),
            by_number: HashMap::new(),
            next_number,
            timers: BTreeSet::new(),
            pacing: BTreeSet::new(),
            unjoined: VecDeque::new(),
            outputs: VecDeque::new(),
            transmits: Transmits::default(),
            batch: Batch::default(),
            relays: Relays::default(),
            now: Instant::ZERO,
            plaintext: Plaintext::default(),
            plans: Tables::new(OfflineMasks),
            stats: Stats::default(),
        }
    }

    /// Something happened. After the last of what happened at a time [`Self::poll_transmits`] and [`Self::poll_output`] must
    /// be called until they have nothing more.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Datagram { path, bytes } => self.handle_datagram(now, path, bytes),
            Input::SocketOpened { socket, grant, session, others } => {
                self.handle_socket_opened(now, socket, (grant, others), session);
            }
            Input::SocketMessage { socket, text } => self.handle_socket_message(now, socket, text),
            Input::SocketClosed { socket } => self.handle_socket_closed(now, socket),
            Input::Relayed { from, batch } => self.handle_relayed(now, from, batch),
            Input::Drain => self.drain(),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// Whether so much came that [`Self::poll_transmits`] should be called before more is handed over.
    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Datagrams to be sent, now and in this order; whoever has sent them says so by [`Transmits::clear`].
    ///
    /// `None` when there are no more. They are made here, at the time of the last input.
    pub fn poll_transmits(&mut self) -> Option<&mut Transmits> {
        while !self.transmits.is_full()
            && let Some((key, turn)) = self.batch.pop_due()
        {
            self.take_turn(self.now, key, turn);
        }
        self.batch.finish();
        self.transmits.finish();
        (!self.transmits.is_empty()).then_some(&mut self.transmits)
    }

    /// What to do next; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`]; `None` if there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unjoined = self.unjoined.front().map(|(at, _)| *at);
        let pacing = self.pacing.first().map(|(at, _)| *at);
        earliest(earliest(self.timers.first().map(|(at, _)| *at), pacing), unjoined)
    }

    /// The worker's numbers.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.rooms = self.rooms.len() as u64;
        stats.participants = self.at_home().count() as u64;
        stats.rooms_spanning = self.rooms_spanning() as u64;
        stats.relay.dropped = self.relay_dropped();
        let tracks = |(key, client): (usize, &Client)| {
            self.rooms.get(client.identity.room).map_or(0, |room| room.tracks(MemberKey(key)).len() as u64)
        };
        stats.tracks = self.at_home().map(tracks).sum();
        let downlinks = self.clients.iter().filter_map(|(_, client)| client.pipeline.downlink());
        downlinks.for_each(|downlink| {
            stats.downlinks.add(downlink.target().rate, downlink.queue_time(), downlink.path_class());
        });
        stats
    }

    /// The downlinks of those subscribers that tell what arrives: where each goes, what it is allowed, and the phase that
    /// its estimator is in.
    pub fn downlinks(&self) -> impl Iterator<Item = (SocketAddr, Bitrate, &'static str)> {
        self.clients.iter().filter_map(|(_, client)| {
            let remote = client.connection.ice.selected()?.remote;
            let downlink = client.pipeline.downlink()?;
            Some((remote, downlink.target().rate, downlink.state()))
        })
    }

    /// When the client whose path this is proved for the last time that it is there; `None` if nobody has: a connection without
    /// is of no use.
    pub fn checked_at(&self, path: Path) -> Option<Instant> {
        let client = self.clients.get(self.by_path.get(&path)?.0)?;
        client.connection.ice.checked_at(path)
    }

    /// The clients that are connected to this worker.
    fn at_home(&self) -> impl Iterator<Item = (usize, &Client)> {
        self.clients.iter().filter(|(_, client)| client.guest.is_none())
    }

    fn wall(&self, now: Instant) -> NtpTime {
        self.config.wall_clock.offset_nanos(now.as_nanos() as i64)
    }

    /// Wakes a client no later than `at`.
    fn wake_at(&mut self, now: Instant, key: ClientKey, at: Option<Instant>) {
        let Some(at) = at.map(|at| at.max(now + TIMER_GRAIN)) else { return };
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if client.wake.is_some_and(|wake| wake <= at) {
            return;
        }
        if let Some(wake) = client.wake.replace(at) {
            self.timers.remove(&(wake, key));
        }
        self.timers.insert((at, key));
    }

    /// Something about a subscriber has changed; it gets its turn when all inputs are in.
    fn make_due(&mut self, key: ClientKey) {
        self.batch.make_due(key, Turn::Stirred);
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
