//! The relay's thread: reads what has arrived, gives it to the links, sends what is due.
//!
//! What has arrived by a moment is read before the links are moved on to it, so that a thread that was late still gives
//! every link its arrivals in order and with their own times.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use proto::feedback::Ecn;
use proto::time::Instant;
use proto::units::DataSize;
use simulator::packet::IP_UDP_HEADERS;

use super::clients::{ClientId, Clients, Datagram, Due};
use super::{CAPTURED_MAX, Command, Cut, RECORDS_MAX, Record, Recording, RelayConfig};
use crate::clock::Clock;
use crate::counts::{Counts, Way};
use crate::socket::{Buffer, Socket};
use crate::thread::{Inbox, Mail};
use crate::wait::{Token, Waiter};

/// How much longer an IPv6 header is than an IPv4 header, in bytes.
const IPV6_EXTRA: u64 = 20;
/// The front socket's token; a client's is its place after that.
const FRONT: Token = Token(0);

/// See the module's description.
pub(super) struct Engine {
    clock: Clock,
    waiter: Waiter,
    front: Socket,
    buffer: Buffer,
    clients: Clients,
    counts: Counts,
    cut: Cut,
    captured: Option<VecDeque<Vec<u8>>>,
    recording: Recording,
    records: Vec<Record>,
    /// What one round of reading found, in the order of reading.
    arrived: Vec<Arrived>,
    due: Vec<Due>,
}

/// A datagram that was read and has no place yet in the order of arrivals.
struct Arrived {
    at: Instant,
    from: From,
    ecn: Ecn,
    bytes: Box<[u8]>,
}

/// Where a datagram came from.
#[derive(Clone, Copy)]
enum From {
    Client(SocketAddr),
    Server(ClientId),
}

impl Engine {
    /// An engine at rest.
    pub(super) fn new(config: RelayConfig, clock: Clock, front: Socket, waiter: Waiter) -> io::Result<Self> {
        waiter.watch(&front, FRONT)?;
        let recording = config.record;
        Ok(Self {
            clock,
            waiter,
            front,
            buffer: Buffer::default(),
            clients: Clients::new(config),
            counts: Counts::default(),
            cut: Cut::Whole,
            captured: None,
            recording,
            records: Vec::new(),
            arrived: Vec::new(),
            due: Vec::new(),
        })
    }

    /// Works until nobody holds the other end of `inbox`.
    pub(super) fn run(mut self, inbox: &Inbox<Command>) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.waiter.wait(self.clients.poll_timeout(), &mut ready)?;
            loop {
                match inbox.poll() {
                    Mail::Command(command) => self.handle_command(command),
                    Mail::Nothing => break,
                    Mail::End => return Ok(()),
                }
            }
            let now = self.clock.now(); // before reading: what has not been read then is younger
            for token in &ready {
                self.read(*token);
            }
            self.hand_to_links()?;
            self.send_due(now);
            self.clients.handle_timeout(now);
        }
    }

    fn handle_command(&mut self, command: Command) {
        // Who asked may be gone; then nobody misses the answer.
        match command {
            Command::SetLinks(links) => self.clients.set_links(self.clock.now(), links.0, links.1),
            Command::Cut(cut) => self.cut = cut,
            Command::Capture => drop(self.captured.get_or_insert_default()),
            Command::Captured(reply) => {
                let _ = reply.send(self.captured.iter().flatten().cloned().collect());
            }
            Command::Inject(datagram) => {
                for client in self.clients.iter() {
                    let _ = client.upstream.send(self.clients.server(), Ecn::NotCapable, &datagram);
                }
            }
            Command::Counts(reply) => {
                let _ = reply.send(Counts { clients: self.clients.len(), ..self.counts });
            }
            Command::Records(reply) => {
                let _ = reply.send(self.records.clone());
            }
        }
    }

    fn read(&mut self, token: Token) {
        let arrived = &mut self.arrived;
        if token == FRONT {
            self.front.receive(&self.clock, &mut self.buffer, |datagram| {
                let from = From::Client(datagram.from);
                arrived.push(Arrived {
                    at: datagram.at,
                    from,
                    ecn: datagram.ecn,
                    bytes: datagram.bytes.into(),
                });
            });
        } else if let Some(id) = self.clients.at(token.0 - 1)
            && let Some(client) = self.clients.client(id)
        {
            client.upstream.receive(&self.clock, &mut self.buffer, |datagram| {
                let from = From::Server(id);
                arrived.push(Arrived {
                    at: datagram.at,
                    from,
                    ecn: datagram.ecn,
                    bytes: datagram.bytes.into(),
                });
            });
        }
    }

    fn hand_to_links(&mut self) -> io::Result<()> {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.sort_by_key(|datagram| datagram.at); // each socket's are in order already, and stay so
        for datagram in arrived.drain(..) {
            self.hand_to_link(datagram)?;
        }
        self.arrived = arrived;
        Ok(())
    }

    fn hand_to_link(&mut self, arrived: Arrived) -> io::Result<()> {
        let Arrived { at, from, ecn, bytes } = arrived;
        let (way, client, extra) = match from {
            From::Server(client) => (Way::Down, client, self.clients.server().is_ipv6()),
            From::Client(address) => {
                self.capture(&bytes);
                let Some(client) = self.client(at, address)? else {
                    self.counts.refused += 1;
                    return Ok(());
                };
                (Way::Up, client, address.is_ipv6())
            }
        };
        let headers = if extra { IP_UDP_HEADERS + IPV6_EXTRA } else { IP_UDP_HEADERS };
        let size = DataSize::bytes(bytes.len() as u64 + headers);
        let counts = self.counts.way_mut(way);
        if self.cut == Cut::Through {
            counts.arrived += 1;
            counts.dropped.outage += 1;
            return Ok(());
        }
        let datagram = Datagram { client, ecn, size, bytes };
        let taken = self.clients.handle_arrival(at, way, datagram, counts);
        if let Some(at) = taken.filter(|_| self.recording == Recording::On)
            && self.records.len() < RECORDS_MAX
        {
            self.records.push(Record { way, client: client.number, at, size, ecn });
        }
        Ok(())
    }

    /// Who sends from `address`; a new client is given a place if there is one.
    fn client(&mut self, at: Instant, address: SocketAddr) -> io::Result<Option<ClientId>> {
        if let Some(client) = self.clients.find(address) {
            return Ok(Some(client));
        }
        let Some(id) = self.clients.admit(at, address) else { return Ok(None) };
        if let Some(client) = self.clients.client(id) {
            self.waiter.watch(&client.upstream, Token(id.place + 1))?; // closing it ends the watch
        }
        Ok(Some(id))
    }

    fn capture(&mut self, bytes: &[u8]) {
        let Some(captured) = &mut self.captured else { return };
        if captured.len() == CAPTURED_MAX {
            captured.pop_front();
        }
        captured.push_back(bytes.to_vec());
    }

    fn send_due(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.clients.take_due(now, &mut self.counts, &mut due);
        due.sort_by_key(|due| due.at);
        for Due { at, way, datagram } in due.drain(..) {
            let sent = self.clients.client(datagram.client).is_some_and(|client| {
                let (socket, to) = match way {
                    Way::Up => (&client.upstream, self.clients.server()),
                    Way::Down => (&self.front, client.address),
                };
                let sent = socket.send(to, datagram.ecn, &datagram.bytes);
                // The fate of an earlier datagram (nobody listened then) is reported to the next one: it goes again.
                sent.or_else(|_| socket.send(to, datagram.ecn, &datagram.bytes)).is_ok()
            });
            let counts = self.counts.way_mut(way);
            counts.unsent += u64::from(!sent);
            counts.count_late(self.clock.now(), at);
        }
        self.due = due;
    }
}
