//! One client without socket and clock: its session description, its transport, what it publishes and what it receives.
//!
//! In: the answer, datagrams, `now`. Out: `poll_transmit`, which packets of whom came. Time: `poll_timeout`.

use std::net::SocketAddr;

use proto::rtcp;
use proto::rtp::extension::Extension;
use proto::rtp::{PayloadType, Ssrc};
use proto::seed::Seed;
use proto::signal::{Kind, Offer};
use proto::time::{Instant, earliest};
use proto::units::Bitrate;
use sfu::network::cipher::SrtpProfile;
use simulator::node::client::ice::Credentials;
use simulator::node::client::offer::{self, Answered, Dialect, Section};

use super::publisher::Publisher;
use super::subscriber::{Arrived, Subscriber, Tells};
use super::tally::Counts;
use super::transport::{Identity, Opened, Transport};

/// The payload type of repair packets, for who takes any.
const FLEXFEC: PayloadType = PayloadType(100);

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// What its camera takes; none if it publishes nothing.
    pub publishes: Option<Bitrate>,
    /// How many pictures of others it has room for.
    pub slots: usize,
    /// What it tells of arrivals.
    pub feedback: Feedback,
}

/// What a client tells of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// When each packet came, as browsers do.
    Arrivals,
    /// Losses and reports alone.
    ReportsAlone,
}

/// What all clients of a generator share.
#[derive(Clone)]
pub struct Common {
    identity: Identity,
    seed: Seed,
    epoch: std::time::Instant,
}

impl Common {
    /// The standard library's name for `Instant::ZERO` is `epoch`.
    pub fn new(epoch: std::time::Instant) -> Self {
        Self { identity: Identity::new(), seed: Seed::from_number(1), epoch }
    }
}

/// See the module's description.
pub struct Peer {
    transport: Transport,
    sections: Vec<Section>,
    dialect: Dialect,
    fingerprint: [u8; 32],
    publisher: Option<Publisher>,
    subscriber: Subscriber,
}

impl Peer {
    /// Client number `number`.
    pub fn new(now: Instant, number: u16, role: Role, common: &Common) -> Self {
        let seed = common.seed.fork(&format!("client {number}"));
        let mut dialect = Dialect::new(0);
        dialect.flexfec = Some(FLEXFEC);
        let publisher = role
            .publishes
            .map(|rate| Publisher::new((number, 0), dialect.clone(), rate, &seed.fork("publisher")));
        let tells = match role.feedback {
            Feedback::Arrivals => Tells::Arrivals(dialect.id(Extension::TransportSequence)),
            Feedback::ReportsAlone => {
                dialect = dialect.without_arrivals();
                Tells::Reports
            }
        };
        let camera = publisher.as_ref().map(|_| Section::Camera(Vec::new()));
        let slots = std::iter::repeat_n(Section::Slot(Kind::Video), role.slots);
        Self {
            transport: Transport::new(now, common.epoch, &common.identity, &seed),
            sections: camera.into_iter().chain(slots).collect(),
            dialect,
            fingerprint: common.identity.fingerprint(),
            publisher,
            subscriber: Subscriber::new(Ssrc(seed.fork("own").generator().number()), tells),
        }
    }

    /// What it says at its join.
    pub fn offer(&self) -> Offer {
        let credentials = self.transport.credentials();
        let sdp = offer::write(&self.sections, &self.dialect, credentials, &self.fingerprint);
        Offer { sdp, tracks: offer::published(&self.sections) }
    }

    /// What it says of its transport in an answer, where the server offers.
    pub(super) fn identity(&self) -> (&Credentials, &[u8; 32]) {
        (self.transport.credentials(), &self.fingerprint)
    }

    /// The server's description came. Tells whether it could be read.
    pub fn handle_answer(&mut self, now: Instant, sdp: &str) -> bool {
        let Some(Answered { theirs, streams }) = offer::read_answer(sdp) else { return false };
        for (media, rtx) in streams.into_values() {
            if let Some(rtx) = rtx {
                self.subscriber.add_rtx(media, rtx);
            }
        }
        self.transport.handle_answer(now, theirs);
        true
    }

    /// Where the server is reached.
    pub(super) fn set_remote(&mut self, remote: SocketAddr) {
        self.transport.set_remote(remote);
    }

    /// A datagram came, which the kernel had at `at`. Tells if it was a packet of pictures that came for the first time.
    pub(super) fn handle_datagram(&mut self, now: Instant, at: Instant, bytes: &mut [u8]) -> Option<Arrived> {
        match self.transport.handle_datagram(now, bytes) {
            Opened::Rtp(length) => self.subscriber.handle_rtp(at, &bytes[..length]),
            Opened::Rtcp(length) => {
                self.handle_rtcp(now, &bytes[..length]);
                None
            }
            Opened::Nothing => None,
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.transport.handle_timeout(now);
        if !self.is_open() {
            return;
        }
        if let Some(rtt) = self.transport.rtt() {
            self.subscriber.set_rtt(rtt);
        }
        let transport = &mut self.transport;
        self.subscriber.handle_timeout(now, |rtcp| transport.send_rtcp(rtcp));
        let Some(publisher) = &mut self.publisher else { return };
        if let Some(rtt) = transport.rtt() {
            publisher.set_rtt(rtt);
        }
        while let Some(packet) = publisher.poll_rtp(now) {
            transport.send_rtp(packet);
        }
        if let Some(rtcp) = publisher.poll_rtcp(now) {
            transport.send_rtcp(&rtcp);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transport.poll_transmit()
    }

    /// When to call [`Peer::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = self.transport.poll_timeout();
        if !self.is_open() {
            return own;
        }
        let media = self.publisher.as_ref().and_then(Publisher::poll_timeout);
        earliest(own, earliest(media, self.subscriber.poll_timeout()))
    }

    /// Whether the keys are there.
    pub fn is_open(&self) -> bool {
        self.transport.is_open()
    }

    /// What protects its packets, once the keys are there.
    pub fn profile(&self) -> Option<SrtpProfile> {
        self.transport.profile()
    }

    /// What it publishes.
    pub(super) fn publisher(&self) -> Option<&Publisher> {
        self.publisher.as_ref()
    }

    /// What it publishes.
    pub(super) fn publisher_mut(&mut self) -> Option<&mut Publisher> {
        self.publisher.as_mut()
    }

    /// The streams of pictures that came.
    pub(super) fn streams(&self) -> usize {
        self.subscriber.streams()
    }

    /// Asks for what came last once more, all of it: a hostile client.
    pub(super) fn ask_for_everything(&mut self) {
        let transport = &mut self.transport;
        self.subscriber.ask_for_everything(|rtcp| transport.send_rtcp(rtcp));
    }

    /// What came since the last call.
    pub(super) fn take(&mut self) -> Counts {
        self.subscriber.take()
    }

    fn handle_rtcp(&mut self, now: Instant, datagram: &[u8]) {
        let Ok(packets) = rtcp::parse(datagram) else { return };
        let transport = &mut self.transport;
        for packet in packets {
            self.subscriber.handle_rtcp(now, &packet);
            if let Some(publisher) = &mut self.publisher {
                publisher.handle_rtcp(now, &packet, |rtp| transport.send_rtp(rtp));
            }
        }
    }
}
