//! A UDP relay: what clients send to its port goes to the server over one link, and back over another.
//!
//! In: datagrams, and what the handle is told. Out: the same datagrams, later, fewer. Time: its own thread's clock;
//! arrivals are those of the kernel's timestamps. Chance: one seed. Limit: [`Limits`], [`CAPTURED_MAX`],
//! [`RECORDS_MAX`]. Each client address has a socket of its own towards the server, so that the server tells clients
//! apart as it does on a real network.

mod clients;
mod run;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use proto::feedback::Ecn;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::DataSize;
use simulator::link::{LinkPlan, Parcel};

use crate::clock::Clock;
use crate::counts::{Counts, Way};
use crate::lane::way_seed;
use crate::socket::Socket;
use crate::thread::{Ended, Worker};
use crate::wait::Waiter;

/// Copies kept of what clients sent: a minute of one sender's media. The oldest goes first.
pub const CAPTURED_MAX: usize = 20_000;
/// Arrivals recorded: half an hour of one sender's media. Later ones are not.
pub const RECORDS_MAX: usize = 1_000_000;

/// What a relay is started with.
#[derive(Clone)]
pub struct RelayConfig {
    /// Where clients send to.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// The link from a client to the server.
    pub up: LinkPlan,
    /// The link from the server to a client.
    pub down: LinkPlan,
    /// Whose links they are.
    pub sharing: Sharing,
    /// What is bounded.
    pub limits: Limits,
    /// Whether the arrivals are recorded.
    pub record: Recording,
    /// Where the links' chance comes from.
    pub seed: Seed,
}

/// Whose links they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Each client has links of its own.
    #[default]
    Own,
    /// All clients share one pair of links: they meet in one bottleneck.
    Shared,
}

/// Whether arrivals are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recording {
    /// They are not.
    #[default]
    Off,
    /// They are, for [`Relay::records`].
    On,
}

/// What a relay may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients at a time. What others send is dropped.
    pub clients_max: usize,
    /// Bytes queued and in flight in each direction, of all clients together. What exceeds them is dropped.
    pub held_max: DataSize,
    /// A client that neither sent nor got anything for so long loses its place.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: 256,
            held_max: DataSize::kilobytes(64_000), // five seconds at 100 Mbit/s
            idle: Duration::from_secs(120), // ICE sends every few seconds, and NATs forget after 30 s to 120 s
        }
    }
}

impl RelayConfig {
    /// A relay to `to` at any port of the loopback interface, over links that change nothing.
    pub fn new(to: SocketAddr) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            to,
            up: LinkPlan::default(),
            down: LinkPlan::default(),
            sharing: Sharing::default(),
            limits: Limits::default(),
            record: Recording::default(),
            seed: Seed::from_number(0),
        }
    }
}

/// The seed of one link of a relay with `seed`: of the client with this number, or of all if they share.
pub fn link_seed(seed: &Seed, client: Option<usize>, way: Way) -> Seed {
    let seed = client.map_or_else(|| seed.fork("shared"), |number| seed.fork(&format!("client {number}")));
    way_seed(&seed, way)
}

/// A datagram that arrived at a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Which way it went.
    pub way: Way,
    /// Whose it was: clients are numbered in the order of their first datagrams.
    pub client: usize,
    /// When the link got it, by the relay's clock.
    pub at: Instant,
    /// Its size on the wire.
    pub size: DataSize,
    /// Its ECN bits.
    pub ecn: Ecn,
}

impl Parcel for Record {
    fn wire_size(&self) -> DataSize {
        self.size
    }

    fn ecn(&self) -> Ecn {
        self.ecn
    }

    fn mark_congested(&mut self) {
        self.ecn = Ecn::Congested;
    }
}

/// See the module's description. It ends when this is dropped.
pub struct Relay {
    address: SocketAddr,
    clock: Clock,
    worker: Worker<Command>,
}

/// What the thread is told.
enum Command {
    SetLinks(Box<(LinkPlan, LinkPlan)>),
    Cut(Cut),
    Capture,
    Captured(SyncSender<Vec<Vec<u8>>>),
    Inject(Vec<u8>),
    Counts(SyncSender<Counts>),
    Records(SyncSender<Vec<Record>>),
}

/// Whether the way is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Whole,
    Through,
}

impl Relay {
    /// Listens, and relays until it is dropped.
    pub fn start(config: RelayConfig) -> io::Result<Self> {
        let front = Socket::bind(config.listen)?;
        let address = front.address()?;
        let clock = Clock::start();
        let waiter = Waiter::new(clock)?;
        let wake = waiter.wake();
        let engine = run::Engine::new(config, clock, front, waiter)?;
        let worker = Worker::start("emu-relay", wake, |inbox| engine.run(&inbox))?;
        Ok(Self { address, clock, worker })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The clock that its times are of; rate steps and outages of plans count from this clock's zero.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Uses other links from now on; what is on its way stays there.
    pub fn set_links(&self, up: LinkPlan, down: LinkPlan) -> Result<(), Ended> {
        self.worker.tell(Command::SetLinks(Box::new((up, down))))
    }

    /// Loses whatever arrives, until [`Self::mend`].
    pub fn cut(&self) -> Result<(), Ended> {
        self.worker.tell(Command::Cut(Cut::Through))
    }

    /// Lets datagrams through again.
    pub fn mend(&self) -> Result<(), Ended> {
        self.worker.tell(Command::Cut(Cut::Whole))
    }

    /// Starts to keep copies of what clients send, lost or not.
    pub fn capture(&self) -> Result<(), Ended> {
        self.worker.tell(Command::Capture)
    }

    /// The copies kept so far, the oldest first.
    pub fn captured(&self) -> Result<Vec<Vec<u8>>, Ended> {
        self.worker.ask(Command::Captured)
    }

    /// Sends a datagram to the server from every address that a client has there, past the links.
    pub fn inject(&self, datagram: &[u8]) -> Result<(), Ended> {
        self.worker.tell(Command::Inject(datagram.to_vec()))
    }

    /// What became of the datagrams so far.
    pub fn counts(&self) -> Result<Counts, Ended> {
        self.worker.ask(Command::Counts)
    }

    /// The arrivals so far, in the order in which the links got them, if the config asked to record them.
    pub fn records(&self) -> Result<Vec<Record>, Ended> {
        self.worker.ask(Command::Records)
    }

    /// Ends it, and tells why it had ended by itself if it had.
    pub fn end(self) -> io::Result<()> {
        self.worker.end()
    }
}
