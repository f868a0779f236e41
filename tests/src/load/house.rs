//! The SFU's core without sockets: the one place here that knows what a worker is told and what it puts out.
//!
//! In: datagrams, messages, time. Out: what the worker puts out, as [`Letter`]s. A client's number is its address and its
//! WebSocket's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use proto::seed::Seed;
use proto::signal::Source;
use proto::time::{Instant, NtpTime};
use proto::units::Bitrate;
use sfu::network::dtls::Certificate;
use sfu::worker::{
    Config, DownlinkSettings, Grant, Input, Output, Path, Protection, RateLimits, SocketId, Worker,
    WorkerMark,
};

use super::clock::Clock;

/// Where clients send to.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7882);

/// The port of the first client.
const FIRST_PORT: u16 = 1_024;

/// What the clock on the wall shows at the start.
const WALL_START: NtpTime = NtpTime::from_bits(0xE900_0000_0000_0000);

/// See the module's description.
pub(super) struct House {
    worker: Worker,
    clock: Clock,
    /// What the worker took since it was asked last.
    spent: Duration,
    datagrams: Vec<(usize, Vec<u8>)>,
    messages: Vec<(usize, String)>,
}

impl House {
    /// An empty one. Subscribers may be sent `most` from the beginning, so that nobody waits for an estimate.
    pub(super) fn new(epoch: std::time::Instant, most: Bitrate) -> Self {
        let usual = DownlinkSettings::default();
        let limits = RateLimits { start: most, max: most, ..usual.limits };
        let config = Config {
            candidates: vec![SERVER],
            tcp_candidates: Vec::new(),
            mark: WorkerMark::FIRST,
            protection: Protection::Srtp { certificate: Certificate::generate(), epoch },
            seed: Seed::from_number(1),
            wall_clock: WALL_START,
            room_participants_max: 10_000,
            downlink: DownlinkSettings { limits, ..usual },
        };
        let clock = Clock::start();
        let (datagrams, messages) = (Vec::new(), Vec::new());
        Self { worker: Worker::new(config), clock, spent: Duration::ZERO, datagrams, messages }
    }

    /// A client's WebSocket opened.
    pub(super) fn open(&mut self, now: Instant, client: usize) {
        let grant = Grant {
            room: "load".into(),
            identity: format!("c{client}"),
            name: String::new(),
            publish: vec![Source::Camera],
            subscribe: true,
        };
        let socket = SocketId(client as u64);
        self.handle(now, Input::SocketOpened { socket, grant, session: None, others: Vec::new() });
    }

    /// A message came from a client.
    pub(super) fn handle_message(&mut self, now: Instant, client: usize, text: &str) {
        self.handle(now, Input::SocketMessage { socket: SocketId(client as u64), text });
    }

    /// A datagram came from a client.
    pub(super) fn handle_datagram(&mut self, now: Instant, client: usize, bytes: &mut [u8]) {
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), FIRST_PORT + client as u16);
        self.handle(now, Input::Datagram { path: Path::udp(None, remote), bytes });
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.handle(now, Input::Timeout);
    }

    /// When to call [`House::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.worker.poll_timeout()
    }

    /// Takes what the worker puts out.
    pub(super) fn finish(&mut self) {
        loop {
            let began = self.clock.now();
            let transmits = self.worker.poll_transmits();
            self.spent += self.clock.now().since(began);
            let Some(transmits) = transmits else { break };
            for run in transmits.runs() {
                let client = usize::from(run.path.remote.port() - FIRST_PORT);
                self.datagrams.extend(run.datagrams().map(|bytes| (client, bytes.to_vec())));
            }
            transmits.clear();
        }
        while let Some(output) = self.worker.poll_output() {
            match output {
                Output::Message { socket, text } => self.messages.push((socket.0 as usize, text)),
                Output::CloseSocket { .. } | Output::Event(_) => {}
            }
        }
    }

    /// The datagrams that were put out.
    pub(super) fn take_datagrams(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.datagrams)
    }

    /// The messages that were put out.
    pub(super) fn take_messages(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.messages)
    }

    /// What the worker took since the last call.
    pub(super) fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    fn handle(&mut self, now: Instant, input: Input<'_>) {
        let began = self.clock.now();
        self.worker.handle_input(now, input);
        self.spent += self.clock.now().since(began);
    }
}
