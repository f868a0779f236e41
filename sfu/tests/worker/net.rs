//! A worker, or several that relay to each other, and their clients in virtual time, and what lies between them: delay, loss, other addresses, silence.
//!
//! Whoever wakes next says what time it is. After every input the worker is drained, and a wake-up that is not in the
//! future, or more outputs than any input can cause, end the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cc::Estimator;
use cc::estimator::fixed::Fixed;
use proto::ids::{RoomName, SessionId};
use proto::rtp::{RtpView, Ssrc};
use proto::seed::{Chance, Seed};
use proto::signal::Source;
use proto::time::{Instant, NtpTime, earliest};
use proto::units::{Bitrate, DataSize};
use sfu::network::demux::{PacketKind, classify};
use sfu::network::dtls::Certificate;
use sfu::worker::relay::{Batch, PeerId};
use sfu::worker::{
    Config, DownlinkSettings, EstimatorChoice, Event, Grant, Input, Output, Path, Protection, Protocol,
    SocketId, Worker, WorkerMark,
};

use super::allocations::Allocations;
use super::peer::{Peer, Plan};

/// How long a batch takes from worker to worker.
const HANDOVER: Duration = Duration::from_micros(200);

const OUTPUTS_MAX: usize = 5_000; // an input of one datagram reaches at most some dozens of slots

/// The worker's address.
pub(crate) const SERVER: &str = "203.0.113.1:7882";

/// Where the server's TCP listener is, which stands before the worker.
pub(crate) const TCP_SERVER: &str = "203.0.113.1:7881";

/// Whether a datagram arrives.
pub(crate) type Filter = Box<dyn FnMut(Instant, &[u8]) -> bool>;

/// The way between a client and the worker.
pub(crate) struct Link {
    pub(crate) delay: Duration,
    /// Up to so much more, by chance, so that packets overtake each other.
    pub(crate) jitter: Duration,
    /// Datagrams lost of a thousand, to the worker.
    pub(crate) up_loss: u32,
    /// Datagrams lost of a thousand, from the worker.
    pub(crate) down_loss: u32,
    /// A stream that arrives so much later than others, as a pacer keeps a large layer back.
    pub(crate) slow: Option<(Ssrc, Duration)>,
    /// What goes through to the client, and how long what comes too fast may wait.
    pub(crate) narrow: Option<(Bitrate, Duration)>,
    /// When what waits at the narrow place has gone through.
    narrow_until: Instant,
    pub(crate) up: Option<Filter>,
    pub(crate) down: Option<Filter>,
    /// Nothing arrives any more, neither datagrams nor messages, and nobody says so.
    pub(crate) silent: bool,
    /// No UDP datagram arrives any more.
    pub(crate) udp_silent: bool,
    pub(crate) address: SocketAddr,
    /// What carries its datagrams.
    pub(crate) protocol: Protocol,
    pub(crate) socket: Option<SocketId>,
    /// Which worker it is connected to, from its next WebSocket on.
    pub(crate) worker: usize,
}

#[derive(Debug)]
enum Delivery {
    Datagram { to: usize, path: Path, bytes: Vec<u8> },
    Open { socket: SocketId, peer: usize, session: Option<SessionId> },
    Up { to: usize, socket: SocketId, text: String },
    Broken { to: usize, socket: SocketId },
    Relay { from: PeerId, to: usize, batch: Batch },
    Down { peer: usize, socket: SocketId, text: String },
    DatagramDown { peer: usize, bytes: Vec<u8> },
}

/// See the module's description.
pub(crate) struct Net {
    pub(crate) now: Instant,
    /// The only worker, or the first one.
    pub(crate) worker: Worker,
    /// The others: they relay to each other and to the first.
    pub(crate) others: Vec<Worker>,
    /// Whether batches are handed over; otherwise they stay with who has them.
    pub(crate) relays: bool,
    /// The workers that one is told of with a WebSocket, as those that may have a shard; all of them if nothing is said.
    pub(crate) told: Option<Vec<PeerId>>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) links: Vec<Link>,
    pub(crate) events: Vec<(Instant, Event)>,
    /// Datagrams that reached the worker, if it is wished.
    pub(crate) captured: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// What the worker allocates, if that is wished.
    pub(crate) allocations: Option<Allocations>,
    in_flight: BTreeMap<(Instant, u64), Delivery>,
    sent: u64,
    next_socket: u64,
    chance: Chance,
    seed: Seed,
    epoch: std::time::Instant,
    wall_start: NtpTime,
    peer_wakes: Vec<Option<Instant>>,
}

impl Net {
    pub(crate) fn new(number: u64) -> Self {
        Self::with_downlink(number, DownlinkSettings::default())
    }

    /// A net whose worker takes it that subscribers' paths carry whatever there is, and probes for nothing.
    pub(crate) fn generous(number: u64) -> Self {
        let make = |_: &Seed| Box::new(Fixed::new(Bitrate::mbps(20))) as Box<dyn Estimator>;
        let estimator = EstimatorChoice::Custom(Arc::new(make));
        Self::with_downlink(number, DownlinkSettings { estimator, ..DownlinkSettings::default() })
    }

    /// A net whose worker sends to subscribers as fast as these settings say.
    pub(crate) fn with_downlink(number: u64, downlink: DownlinkSettings) -> Self {
        Self::with_workers(number, 1, downlink)
    }

    /// A net with so many workers.
    pub(crate) fn with_workers(number: u64, workers: usize, downlink: DownlinkSettings) -> Self {
        Self::with_rooms_of(50, number, workers, downlink)
    }

    /// The same with rooms for so many participants.
    #[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
    pub(crate) fn with_rooms_of(
        most: usize,
        number: u64,
        workers: usize,
        downlink: DownlinkSettings,
    ) -> Self {
        let (seed, epoch) = (Seed::from_number(number), std::time::Instant::now());
        let wall_start = NtpTime::from_bits(0xe9a1_0000_0000_0000);
        let config = |worker: usize, downlink: DownlinkSettings| Config {
            candidates: vec![SERVER.parse().expect("an address")],
            tcp_candidates: vec![TCP_SERVER.parse().expect("an address")],
            mark: WorkerMark::new(worker).expect("few"),
            protection: Protection::Srtp { certificate: Certificate::generate(), epoch },
            seed: if worker == 0 { seed.fork("server") } else { seed.fork(&format!("server {worker}")) },
            wall_clock: wall_start,
            room_participants_max: most,
            downlink,
        };
        let others = (1..workers).map(|worker| Worker::new(config(worker, downlink.clone()))).collect();
        Self {
            now: Instant::from_millis(1_000),
            worker: Worker::new(config(0, downlink)),
            others,
            relays: true,
            told: None,
            peers: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            captured: None,
            allocations: None,
            in_flight: BTreeMap::new(),
            sent: 0,
            next_socket: 1,
            chance: seed.fork("net").generator(),
            seed,
            epoch,
            wall_start,
            peer_wakes: Vec::new(),
        }
    }

    /// Somebody opens a WebSocket and joins; tells their number.
    pub(crate) fn join(&mut self, room: &str, identity: &str, plan: Plan) -> usize {
        let peer = self.prepare(room, identity, plan);
        self.enter(peer);
        peer
    }

    /// Somebody joins a room that spans workers, on this one.
    pub(crate) fn join_at(&mut self, worker: usize, room: &str, identity: &str, plan: Plan) -> usize {
        let peer = self.prepare(room, identity, plan);
        self.links[peer].worker = worker;
        self.enter(peer);
        peer
    }

    /// Makes a client that has not joined yet.
    pub(crate) fn prepare(&mut self, room: &str, identity: &str, plan: Plan) -> usize {
        let number = self.peers.len();
        let world = (&self.seed, self.epoch, self.wall_start);
        self.peers.push(Peer::new(self.now, number, (room, identity), plan, world));
        self.links.push(Link {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            up_loss: 0,
            down_loss: 0,
            slow: None,
            narrow: None,
            narrow_until: Instant::ZERO,
            up: None,
            down: None,
            silent: false,
            udp_silent: false,
            address: SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 50_000)),
            protocol: Protocol::Udp,
            socket: None,
            worker: 0,
        });
        self.peer_wakes.push(None);
        number
    }

    /// A client that was prepared joins.
    pub(crate) fn enter(&mut self, peer: usize) {
        self.open_socket(peer, None);
        self.peers[peer].join(self.now);
        self.settle_peer(peer);
    }

    /// A client's WebSocket breaks, and both ends know.
    pub(crate) fn break_socket(&mut self, peer: usize) {
        if let Some(socket) = self.links[peer].socket.take() {
            let to = self.links[peer].worker;
            self.deliver(peer, Delivery::Broken { to, socket });
            self.peers[peer].handle_socket_gone();
        }
    }

    /// A client opens another WebSocket to take up its session.
    pub(crate) fn resume(&mut self, peer: usize) {
        let session = self.peers[peer].knows.session.clone();
        self.peers[peer].handle_socket_gone();
        self.peers[peer].handle_socket_open(self.now);
        self.open_socket(peer, session);
        self.settle_peer(peer);
    }

    /// A client's datagrams come from another address from now on; the old one receives nothing.
    pub(crate) fn move_peer(&mut self, peer: usize, address: SocketAddr) {
        self.links[peer].address = address;
        self.peers[peer].transport.check_soon(self.now);
        self.settle_peer(peer);
    }

    /// A client's datagrams go by this protocol from now on, and from another port.
    pub(crate) fn carry(&mut self, peer: usize, protocol: Protocol) {
        let link = &mut self.links[peer];
        link.protocol = protocol;
        link.address.set_port(link.address.port() + 1);
        self.peers[peer].transport.check_soon(self.now);
        self.settle_peer(peer);
    }

    /// Does something with a client at this moment.
    pub(crate) fn with<T>(&mut self, peer: usize, act: impl FnOnce(&mut Peer) -> T) -> T {
        let done = act(&mut self.peers[peer]);
        self.settle_peer(peer);
        done
    }

    /// Gives the worker an input at this moment.
    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.input_at(0, input);
    }

    /// The same to one of several workers.
    pub(crate) fn input_at(&mut self, worker: usize, input: Input<'_>) {
        let now = self.now;
        let is_media = matches!(&input, Input::Datagram { bytes, .. } if classify(bytes) == PacketKind::Rtp);
        match self.allocations.as_mut().filter(|_| is_media && worker == 0) {
            Some(allocations) => allocations.watch(&mut self.worker, now, input),
            None => self.worker_mut(worker).handle_input(now, input),
        }
        self.settle_worker(worker);
    }

    /// Hands over what waited while batches were not.
    pub(crate) fn resume_relays(&mut self) {
        self.relays = true;
        (0..=self.others.len()).for_each(|worker| self.hand_over(worker));
    }

    /// One of the workers.
    pub(crate) fn worker_at(&self, worker: usize) -> &Worker {
        worker.checked_sub(1).map_or(&self.worker, |other| &self.others[other])
    }

    fn worker_mut(&mut self, worker: usize) -> &mut Worker {
        match worker.checked_sub(1) {
            None => &mut self.worker,
            Some(other) => &mut self.others[other],
        }
    }

    /// Gives the worker a datagram at this moment, from any address.
    pub(crate) fn inject(&mut self, remote: SocketAddr, bytes: &[u8]) {
        self.inject_by(Path::udp(None, remote), bytes);
    }

    /// Gives the worker a datagram at this moment that came this way.
    pub(crate) fn inject_by(&mut self, path: Path, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.input(Input::Datagram { path, bytes: &mut bytes });
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.in_flight.first_key_value().map(|(&(at, _), _)| at);
            let workers = 0..=self.others.len();
            let wakes = workers.clone().map(|worker| self.worker_at(worker).poll_timeout());
            let wakes = wakes.chain(self.peer_wakes.iter().copied()).fold(None, earliest);
            let Some(next) = earliest(arrival, wakes).filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for worker in workers {
                if self.worker_at(worker).poll_timeout().is_some_and(|at| at <= self.now) {
                    self.input_at(worker, Input::Timeout);
                    let wake = self.worker_at(worker).poll_timeout();
                    assert!(wake.is_none_or(|at| at > self.now), "wakes at {wake:?}, it is {:?}", self.now);
                }
            }
            for peer in 0..self.peers.len() {
                if self.peer_wakes[peer].is_some_and(|at| at <= self.now) {
                    self.peers[peer].handle_timeout(self.now);
                    self.settle_peer(peer);
                }
            }
            while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let delivery = entry.remove();
                self.arrive(delivery);
            }
        }
        self.now = end;
    }

    /// Lets time pass until something holds; whether it did within `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.now >= end {
                return false;
            }
            self.run(Duration::from_millis(5));
        }
        true
    }

    fn open_socket(&mut self, peer: usize, session: Option<SessionId>) {
        let socket = SocketId(self.next_socket);
        self.next_socket += 1;
        self.links[peer].socket = Some(socket);
        self.deliver(peer, Delivery::Open { socket, peer, session });
    }

    fn arrive(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Datagram { to, path, mut bytes } => {
                if let Some(captured) = &mut self.captured {
                    captured.push((path.remote, bytes.clone()));
                }
                self.input_at(to, Input::Datagram { path, bytes: &mut bytes });
            }
            Delivery::Open { socket, peer, session } => {
                let Peer { room, identity, .. } = &self.peers[peer];
                let grant = Grant {
                    room: RoomName::from(room.as_str()),
                    identity: identity.clone(),
                    name: identity.clone(),
                    publish: vec![Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio],
                    subscribe: true,
                };
                let others = if self.others.is_empty() { 0..0 } else { 0..self.others.len() as u32 + 1 };
                let others = self.told.clone().unwrap_or_else(|| others.map(PeerId).collect());
                let to = self.links[peer].worker;
                self.input_at(to, Input::SocketOpened { socket, grant, session, others });
            }
            Delivery::Up { to, socket, text } => {
                self.input_at(to, Input::SocketMessage { socket, text: &text });
            }
            Delivery::Broken { to, socket } => self.input_at(to, Input::SocketClosed { socket }),
            Delivery::Relay { from, to, batch } => self.input_at(to, Input::Relayed { from, batch }),
            Delivery::Down { peer, socket, text } => {
                if self.links[peer].socket == Some(socket) {
                    self.peers[peer].handle_message(self.now, &text);
                    self.settle_peer(peer);
                }
            }
            Delivery::DatagramDown { peer, bytes } => {
                self.peers[peer].handle_datagram(self.now, &bytes);
                self.settle_peer(peer);
            }
        }
    }

    /// Sends what a client has to send.
    fn settle_peer(&mut self, peer: usize) {
        while let Some(bytes) = self.peers[peer].poll_transmit() {
            let loss = self.links[peer].up_loss;
            let lost = loss > 0 && self.chance.number() % 1_000 < loss;
            let link = &mut self.links[peer];
            let passes = link.up.as_mut().is_none_or(|passes| passes(self.now, &bytes));
            if passes && !lost && link.carries() {
                let (to, path) = (link.worker, link.path());
                self.deliver(peer, Delivery::Datagram { to, path, bytes });
            }
        }
        while let Some(text) = self.peers[peer].poll_message() {
            let Link { socket: Some(socket), silent: false, worker: to, .. } = self.links[peer] else {
                continue;
            };
            self.deliver(peer, Delivery::Up { to, socket, text });
        }
        let wake = self.peers[peer].poll_timeout();
        self.peer_wakes[peer] = wake.map(|at| at.max(self.now + Duration::from_micros(100)));
    }

    /// Does what a worker says.
    fn settle_worker(&mut self, worker: usize) {
        self.send_all(worker);
        self.carry_out(worker);
        if self.relays {
            self.hand_over(worker);
        }
    }

    fn send_all(&mut self, worker: usize) {
        loop {
            let core = match worker.checked_sub(1) {
                None => &mut self.worker,
                Some(other) => &mut self.others[other],
            };
            let Some(transmits) = core.poll_transmits() else { return };
            assert!(transmits.datagrams() < OUTPUTS_MAX, "the worker does not come to an end");
            let mut sent = Vec::new();
            for run in transmits.runs() {
                let found = self.links.iter().position(|link| link.path() == run.path);
                let Some(peer) = found else { continue };
                sent.extend(run.datagrams().map(|datagram| (peer, datagram.to_vec())));
            }
            transmits.clear();
            for (peer, datagram) in sent {
                assert!(datagram.len() <= 1_300, "{} bytes", datagram.len());
                self.send_down(peer, datagram);
            }
        }
    }

    fn carry_out(&mut self, worker: usize) {
        for count in 0.. {
            assert!(count < OUTPUTS_MAX, "the worker does not come to an end");
            let Some(output) = self.worker_mut(worker).poll_output() else { return };
            match output {
                Output::Message { socket, text } => {
                    let found = self.links.iter().position(|link| link.socket == Some(socket));
                    if let Some(peer) = found.filter(|peer| !self.links[*peer].silent) {
                        self.deliver(peer, Delivery::Down { peer, socket, text });
                    }
                }
                Output::CloseSocket { socket } => {
                    let found = self.links.iter().position(|link| link.socket == Some(socket));
                    if let Some(peer) = found {
                        self.peers[peer].handle_socket_gone();
                    }
                }
                Output::Event(event) => self.events.push((self.now, event)),
            }
        }
    }

    /// Hands over what a worker has for others.
    fn hand_over(&mut self, worker: usize) {
        let peers: Vec<PeerId> = self.worker_at(worker).relays().collect();
        for peer in peers {
            let batch = self.worker_mut(worker).take_relay(peer);
            let (from, to) = (PeerId(worker as u32), peer.0 as usize);
            self.sent += 1;
            self.in_flight.insert((self.now + HANDOVER, self.sent), Delivery::Relay { from, to, batch });
        }
    }

    fn send_down(&mut self, peer: usize, bytes: Vec<u8>) {
        let loss = self.links[peer].down_loss;
        let lost = loss > 0 && self.chance.number() % 1_000 < loss;
        let link = &mut self.links[peer];
        let passes = link.down.as_mut().is_none_or(|passes| passes(self.now, &bytes));
        let waited = link.pass(self.now, bytes.len());
        if passes
            && !lost
            && link.carries()
            && let Some(waited) = waited
        {
            self.deliver_after(peer, Delivery::DatagramDown { peer, bytes }, waited);
        }
    }

    fn deliver(&mut self, peer: usize, delivery: Delivery) {
        self.deliver_after(peer, delivery, Duration::ZERO);
    }

    fn deliver_after(&mut self, peer: usize, delivery: Delivery, waited: Duration) {
        let Link { delay, jitter, .. } = self.links[peer];
        let is_datagram = matches!(delivery, Delivery::Datagram { .. } | Delivery::DatagramDown { .. });
        let more = if is_datagram && !jitter.is_zero() {
            Duration::from_micros(u64::from(self.chance.number()) % jitter.as_micros() as u64)
        } else {
            Duration::ZERO
        };
        let late = match (&delivery, self.links[peer].slow) {
            (Delivery::Datagram { bytes, .. }, Some((ssrc, late))) if is_of(bytes, ssrc) => late,
            _ => Duration::ZERO,
        };
        self.sent += 1;
        self.in_flight.insert((self.now + waited + delay + more + late, self.sent), delivery);
    }
}

impl Link {
    /// The client's way, as the worker sees it.
    pub(crate) fn path(&self) -> Path {
        Path { protocol: self.protocol, local: None, remote: self.address }
    }

    fn carries(&self) -> bool {
        !self.silent && (self.protocol == Protocol::Tcp || !self.udp_silent)
    }

    /// How long a datagram to the client waits at the narrow place; `None` if it does not fit.
    fn pass(&mut self, now: Instant, bytes: usize) -> Option<Duration> {
        let Some((rate, queue)) = self.narrow else { return Some(Duration::ZERO) };
        let begins = self.narrow_until.max(now);
        if begins.since(now) > queue {
            return None;
        }
        self.narrow_until = begins + DataSize::bytes(bytes as u64 + 28) / rate;
        Some(self.narrow_until.since(now))
    }
}

/// Whether a datagram is a media packet of a stream.
pub(crate) fn is_of(bytes: &[u8], ssrc: Ssrc) -> bool {
    classify(bytes) == PacketKind::Rtp
        && RtpView::parse_protected(bytes).is_ok_and(|view| view.ssrc() == ssrc)
}
