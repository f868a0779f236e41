//! All clients of a plan in one thread, on real sockets.
//!
//! In: a [`Party`] or several. Out: what came to one of them, by window. Time: [`Clock`]. Limit: `JOINING` clients join at a time, `JOIN_MAX` for all of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::time::{Instant, earliest};
use proto::units::Bitrate;

use super::clock::Clock;
use super::endpoint::{Buffers, Endpoint};
use super::janus::Janus;
use super::lianmai::Lianmai;
use super::peer::{Common, Feedback, Peer, Role};
use super::plan::{Kind, Mischief, Party};
use super::poll::Poll;
use super::signal::{Signal, candidate};
use super::subscriber::Arrived;
use super::tally::{Counts, Delays};

/// Clients that join at the same time.
const JOINING: usize = 8;

/// How long it may take until everybody has joined.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// The longest sleep. Sockets are looked at after it and do not end it: whoever sends would pay for waking us, datagram by
/// datagram, which no server on another machine does. When a datagram came the kernel has noted.
const SLEEP_MAX: Duration = Duration::from_millis(1);

/// Where the numbers of sockets begin that only count what comes.
const SINKS: usize = 1 << 32;

/// Between the requests of a client that floods.
const FLOOD: Duration = Duration::from_millis(1);

/// A client on real sockets.
struct Client {
    /// The place of its party among those that have joined.
    party: usize,
    peer: Peer,
    /// `None` once it is closed.
    endpoint: Option<Endpoint>,
    /// Whether the other end of that is known.
    is_connected: bool,
    signal: Signal,
    wake: Option<Instant>,
    mischief: Option<Mischief>,
}

/// What came in a window.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// Datagrams at the sockets of the party that is measured.
    pub(super) datagrams: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Datagrams at the other sockets.
    pub(super) sunk: u64,
    /// How long packets were under way.
    pub(super) delays: Delays,
}

/// See the module's description.
pub(super) struct Generator {
    clock: Clock,
    parties: Vec<Party>,
    /// The party that is measured.
    watched: usize,
    poll: Poll,
    buffers: Buffers,
    clients: Vec<Client>,
    sinks: Vec<Endpoint>,
    came: Came,
    arrived: Vec<(Instant, Arrived)>,
    ready: Vec<usize>,
    /// The number of the last publisher's stream at Janus.
    feed: u64,
    flooding: Option<(usize, Instant)>,
}

impl Generator {
    /// Nobody has joined.
    pub(super) fn new(clock: Clock) -> Result<Self> {
        Ok(Self {
            clock,
            parties: Vec::new(),
            watched: 0,
            poll: Poll::new()?,
            buffers: Buffers::new(),
            clients: Vec::new(),
            sinks: Vec::new(),
            came: Came::default(),
            arrived: Vec::new(),
            ready: Vec::new(),
            feed: 0,
            flooding: None,
        })
    }

    /// A party joins while nobody publishes, to be watched from then on; comes back when all of it have their keys. Tells its
    /// place.
    pub(super) fn gather(&mut self, party: Party) -> Result<usize> {
        self.publish(self.clock.now(), self.watched, Publishes::Nothing);
        let common = Common::new(self.clock.epoch());
        let crowd = party.crowd;
        self.watched = self.parties.len();
        self.parties.push(party);
        let first = self.clients.len();
        let publishers = first + usize::from(crowd.publishers);
        let all = publishers + usize::from(crowd.subscribers);
        let feedback = if crowd.feedback { Feedback::Arrivals } else { Feedback::ReportsAlone };
        let until = self.clock.now() + JOIN_MAX;
        let mut joining = BTreeSet::new();
        let mut next = first;
        while next < all || !joining.is_empty() {
            // Those who receive come when those who publish are there: a subscription names a publisher.
            let barrier = next == publishers && !joining.is_empty();
            if next < all && joining.len() < JOINING && !barrier {
                let publishes = (next < publishers).then(|| Bitrate::kbps(crowd.kbps));
                let slots = if publishes.is_some() { crowd.slots } else { 1 };
                self.join(next, Role { publishes, slots, feedback }, &common)?;
                joining.insert(next);
                next += 1;
            }
            self.step(self.clock.now() + Duration::from_millis(if next < all { 1 } else { 20 }))?;
            joining.retain(|place: &usize| !self.clients[*place].peer.is_open());
            let late = || joining.iter().map(|place| place - first).collect::<Vec<_>>();
            ensure!(
                self.clock.now() < until,
                "of {} clients these have not connected: {:?}",
                all - first,
                late()
            );
        }
        Ok(self.watched)
    }

    /// From now on what comes to this party counts, and it alone may send pictures.
    pub(super) fn publish(&mut self, now: Instant, party: usize, publishes: Publishes) {
        self.watched = party;
        for client in &mut self.clients {
            if let Some(publisher) = client.peer.publisher_mut() {
                if client.party == party && publishes == Publishes::Pictures {
                    publisher.start(now);
                } else {
                    publisher.stop();
                }
            }
            client.wake = Some(now);
        }
    }

    /// Goes on until then.
    pub(super) fn run_until(&mut self, until: Instant) -> Result<()> {
        while self.clock.now() < until {
            self.step(until)?;
        }
        Ok(())
    }

    /// What came since the last call.
    pub(super) fn take(&mut self) -> (Came, Counts) {
        let mut counts = Counts::default();
        for client in &mut self.clients {
            let its = client.peer.take();
            if client.mischief.is_none() && client.party == self.watched {
                counts.add(its);
            }
        }
        (std::mem::take(&mut self.came), counts)
    }

    /// Packets of pictures that publishers have sent.
    pub(super) fn published(&self) -> u64 {
        let publishers = self.clients.iter().filter_map(|client| client.peer.publisher());
        publishers.map(super::publisher::Publisher::packets).sum()
    }

    /// Streams that the clients of the party that is watched receive.
    pub(super) fn streams(&self) -> usize {
        let its = self.clients.iter().filter(|client| client.party == self.watched);
        its.map(|client| client.peer.streams()).sum()
    }

    /// The profile of the last client that came.
    pub(super) fn profile(&self) -> &'static str {
        let profile = self.clients.last().and_then(|client| client.peer.profile());
        profile.map_or("none", sfu::network::cipher::SrtpProfile::name)
    }

    /// Addresses of sockets that only count what comes.
    pub(super) fn sinks(&mut self, count: usize) -> Result<Vec<SocketAddr>> {
        while self.sinks.len() < count {
            let local = self.parties.get(self.watched).context("nobody has joined")?.server.local;
            let sink = Endpoint::new(local)?;
            self.poll.add(&sink, SINKS + self.sinks.len())?;
            self.sinks.push(sink);
        }
        Ok(self.sinks[..count].iter().map(Endpoint::address).collect::<Result<_, _>>()?)
    }

    /// The last client does this from now on, and nothing that it did before; what comes to it is not counted any more.
    pub(super) fn misbehave(&mut self, now: Instant, mischief: Mischief) -> Result<()> {
        let last = self.clients.len().checked_sub(1).context("nobody is there")?;
        let client = &mut self.clients[last];
        let had = client.mischief.replace(mischief);
        self.flooding = (mischief == Mischief::FloodsNacks).then_some((last, now));
        if had.is_none_or(|had| had == Mischief::FloodsNacks) && mischief != Mischief::FloodsNacks {
            self.poll.remove(client.signal.socket())?;
            let endpoint = client.endpoint.as_ref().context("it has no socket")?;
            endpoint.shrink();
            self.poll.remove(endpoint)?;
        }
        if mischief == Mischief::ClosesPort {
            client.endpoint = None;
        }
        Ok(())
    }

    fn join(&mut self, place: usize, role: Role, common: &Common) -> Result<()> {
        let now = self.clock.now();
        let number = u16::try_from(place).context("there are too many clients")?;
        let mut peer = Peer::new(now, number, role, common);
        let party = &self.parties[self.watched];
        let http = &party.server.http;
        let endpoint = Endpoint::new(party.server.local)?;
        let (signal, answer) = match party.server.kind {
            Kind::Lianmai => {
                let lianmai = Lianmai::join(now, http, (&party.room, &format!("c{number}")), peer.offer())?;
                (Signal::Lianmai(Box::new(lianmai)), None)
            }
            Kind::Janus if role.publishes.is_some() => {
                let (janus, feed, answer) = Janus::publish(http, &peer, endpoint.address()?)?;
                self.feed = feed;
                (Signal::Janus(Box::new(janus)), Some(answer))
            }
            Kind::Janus => {
                // Its subscribers are told no transport-wide numbers.
                let role = Role { feedback: Feedback::ReportsAlone, ..role };
                peer = Peer::new(now, number, role, common);
                let (janus, offer) = Janus::subscribe(http, self.feed, &peer, endpoint.address()?)?;
                (Signal::Janus(Box::new(janus)), Some(offer))
            }
        };
        self.poll.add(signal.socket(), place * 2 + 1)?;
        self.poll.add(&endpoint, place * 2)?;
        self.clients.push(Client {
            party: self.watched,
            peer,
            endpoint: Some(endpoint),
            is_connected: false,
            signal,
            wake: Some(now),
            mischief: None,
        });
        answer.map_or(Ok(()), |answer| self.handle_answer(place, &answer))
    }

    fn handle_answer(&mut self, place: usize, sdp: &str) -> Result<()> {
        let now = self.clock.now();
        let client = &mut self.clients[place];
        ensure!(client.peer.handle_answer(now, sdp), "the server's description cannot be read:\n{sdp}");
        if let Some(endpoint) = client.endpoint.as_ref().filter(|_| !client.is_connected) {
            let remote = candidate(sdp).with_context(|| format!("no candidate in\n{sdp}"))?;
            endpoint.connect(remote)?;
            client.peer.set_remote(remote);
            client.is_connected = true;
        }
        client.wake = Some(now);
        Ok(())
    }

    /// Waits for something, no longer than `until`, and does what is to be done then.
    fn step(&mut self, until: Instant) -> Result<()> {
        let wakes = self.clients.iter().filter_map(|client| client.wake);
        let due = wakes.chain(self.flooding.map(|(_, at)| at)).fold(until, Instant::min);
        self.clock.sleep_until(due.min(self.clock.now() + SLEEP_MAX));
        let mut ready = std::mem::take(&mut self.ready);
        ready.extend(self.poll.ready()?);
        let now = self.clock.now();
        for number in ready.drain(..) {
            self.handle_ready(now, number)?;
        }
        self.ready = ready;
        self.flood(now)?;
        let now = self.clock.now();
        for client in &mut self.clients {
            if client.wake.is_some_and(|at| at <= now) {
                client.handle_timeout(now)?;
            }
        }
        Ok(())
    }

    fn handle_ready(&mut self, now: Instant, number: usize) -> Result<()> {
        if let Some(sink) = number.checked_sub(SINKS) {
            self.came.sunk += self.sinks[sink].receive(&mut self.buffers, |_, _| {});
            return Ok(());
        }
        let place = number / 2;
        if number % 2 == 1 {
            let answer = self.clients[place].signal.handle_readable(now)?;
            return answer.map_or(Ok(()), |answer| self.handle_answer(place, &answer));
        }
        let (clock, came, arrived) = (self.clock, &mut self.came, &mut self.arrived);
        let client = &mut self.clients[place];
        let Some(endpoint) = &client.endpoint else { return Ok(()) };
        let peer = &mut client.peer;
        let counts = client.party == self.watched;
        let mut its_bytes = 0;
        let datagrams = endpoint.receive(&mut self.buffers, |stamped, bytes| {
            its_bytes += bytes.len() as u64;
            // The time of day may have been set meanwhile.
            let stamped = stamped.map(|at| clock.at_wall(at));
            let at =
                stamped.filter(|at| *at <= now && now.since(*at) < Duration::from_secs(2)).unwrap_or(now);
            arrived.extend(peer.handle_datagram(now, at, bytes).map(|packet| (at, packet)));
        });
        client.settle();
        if counts {
            came.datagrams += datagrams;
            came.bytes += its_bytes;
        }
        if client.mischief.is_some() || !counts {
            self.arrived.clear();
        }
        for (at, packet) in self.arrived.drain(..) {
            let publisher = self.clients.get(usize::from(packet.publisher));
            let publisher = publisher.and_then(|client| client.peer.publisher());
            if let Some(sent) = publisher.and_then(|publisher| publisher.sent_at(packet.serial)) {
                self.came.delays.note(at.since(sent).as_micros() as u64);
            }
        }
        Ok(())
    }

    fn flood(&mut self, now: Instant) -> Result<()> {
        let Some((place, at)) = self.flooding.filter(|(_, at)| *at <= now) else { return Ok(()) };
        self.flooding = Some((place, at.max(now - FLOOD) + FLOOD));
        let client = self.clients.get_mut(place).context("it is gone")?;
        client.peer.ask_for_everything();
        client.settle();
        Ok(())
    }
}

/// Whether publishers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publishes {
    /// They do.
    Pictures,
    /// They do not.
    Nothing,
}

impl Client {
    fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        match self.mischief {
            None | Some(Mischief::FloodsNacks) => {
                self.signal.handle_timeout(now)?;
                self.peer.handle_timeout(now);
            }
            Some(Mischief::StopsReading) => self.peer.handle_timeout(now),
            Some(Mischief::Vanishes | Mischief::ClosesPort) => {
                self.wake = None;
                return Ok(());
            }
        }
        self.settle();
        if self.mischief == Some(Mischief::StopsReading) {
            self.wake = self.peer.poll_timeout();
        }
        Ok(())
    }

    /// Sends what waits and notes when to come back.
    fn settle(&mut self) {
        while let Some(datagram) = self.peer.poll_transmit() {
            if let Some(endpoint) = &self.endpoint {
                endpoint.send(&datagram);
            }
        }
        self.wake = earliest(self.peer.poll_timeout(), self.signal.poll_timeout());
    }
}
