//! The clients of a relay: their sockets towards the server, their links, and who has been idle for too long.
//!
//! In: addresses. Out: places. Limit: `Limits::clients_max` places; `Limits::idle` frees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::feedback::Ecn;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::DataSize;
use simulator::link::{LinkPlan, Parcel};
use slab::Slab;

use super::{Limits, Sharing, link_seed};
use crate::counts::{Counts, Way, WayCounts};
use crate::lane::Lane;
use crate::socket::Socket;

/// A client's place, and its number: a place is used again, a number is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientId {
    pub(super) place: usize,
    pub(super) number: usize,
}

/// One client.
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) address: SocketAddr,
    /// Its socket towards the server.
    pub(super) upstream: Socket,
    /// Which pair of links it uses.
    pair: usize,
    active: Instant,
}

/// A datagram on its way.
pub(super) struct Datagram {
    pub(super) client: ClientId,
    pub(super) ecn: Ecn,
    pub(super) size: DataSize,
    pub(super) bytes: Box<[u8]>,
}

/// A datagram that is to be handed on.
pub(super) struct Due {
    /// Since when.
    pub(super) at: Instant,
    pub(super) way: Way,
    pub(super) datagram: Datagram,
}

/// The links of one client, or of all.
struct Pair {
    up: Lane<Datagram>,
    down: Lane<Datagram>,
}

/// See the module's description.
pub(super) struct Clients {
    to: SocketAddr,
    limits: Limits,
    sharing: Sharing,
    seed: Seed,
    up: LinkPlan,
    down: LinkPlan,
    places: Slab<Client>,
    by_address: BTreeMap<SocketAddr, usize>,
    pairs: Slab<Pair>,
    seen: usize,
    idle_checked: Instant,
}

impl Clients {
    /// No clients yet.
    pub(super) fn new(config: super::RelayConfig) -> Self {
        let super::RelayConfig { to, limits, sharing, seed, up, down, listen: _, record: _ } = config;
        let mut pairs = Slab::new();
        if sharing == Sharing::Shared {
            pairs.insert(Pair::new(&up, &down, |way| link_seed(&seed, None, way)));
        }
        Self {
            to,
            limits,
            sharing,
            seed,
            up,
            down,
            places: Slab::new(),
            by_address: BTreeMap::new(),
            pairs,
            seen: 0,
            idle_checked: Instant::ZERO,
        }
    }

    /// The place of whoever sends from `address`, if it has one.
    pub(super) fn find(&self, address: SocketAddr) -> Option<ClientId> {
        self.by_address.get(&address).map(|&place| ClientId { place, number: self.places[place].number })
    }

    /// A place for `address`, which has none yet; `None` if all are taken or no socket is to be had.
    pub(super) fn admit(&mut self, now: Instant, address: SocketAddr) -> Option<ClientId> {
        if self.places.len() >= self.limits.clients_max {
            return None;
        }
        let upstream = Socket::connect(self.to).ok()?;
        let number = self.seen;
        self.seen += 1;
        let pair = match self.sharing {
            Sharing::Shared => 0,
            Sharing::Own => self
                .pairs
                .insert(Pair::new(&self.up, &self.down, |way| link_seed(&self.seed, Some(number), way))),
        };
        let place = self.places.insert(Client { number, address, upstream, pair, active: now });
        self.by_address.insert(address, place);
        Some(ClientId { place, number })
    }

    /// Frees the places of the idle. Called at [`Self::poll_timeout`] or when it is convenient.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now.since(self.idle_checked) < self.limits.idle / 4 {
            return;
        }
        self.idle_checked = now;
        let (idle, pairs, sharing) = (self.limits.idle, &mut self.pairs, self.sharing);
        let by_address = &mut self.by_address;
        self.places.retain(|_, client| {
            let pair = &pairs[client.pair];
            let holds = sharing == Sharing::Own && !(pair.up.is_empty() && pair.down.is_empty());
            let stays = holds || now.since(client.active) < idle;
            if !stays {
                by_address.remove(&client.address);
                if sharing == Sharing::Own {
                    pairs.remove(client.pair);
                }
            }
            stays
        });
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let idle = (!self.places.is_empty()).then(|| self.idle_checked + self.limits.idle / 4);
        let links =
            self.pairs.iter().flat_map(|(_, pair)| [pair.up.poll_timeout(), pair.down.poll_timeout()]);
        links.fold(idle, earliest)
    }

    /// Uses other links from now on.
    pub(super) fn set_links(&mut self, now: Instant, up: LinkPlan, down: LinkPlan) {
        for (_, pair) in &mut self.pairs {
            pair.up.set_plan(now, up.clone());
            pair.down.set_plan(now, down.clone());
        }
        (self.up, self.down) = (up, down);
    }

    /// The client at a place, if it is still the same one.
    pub(super) fn client(&self, id: ClientId) -> Option<&Client> {
        self.places.get(id.place).filter(|client| client.number == id.number)
    }

    /// The client that has a place now.
    pub(super) fn at(&self, place: usize) -> Option<ClientId> {
        self.places.get(place).map(|client| ClientId { place, number: client.number })
    }

    /// A datagram of a client arrived; gives the time at which its link got it, if it did.
    pub(super) fn handle_arrival(
        &mut self,
        at: Instant,
        way: Way,
        datagram: Datagram,
        counts: &mut WayCounts,
    ) -> Option<Instant> {
        let id = datagram.client;
        let client = self.places.get_mut(id.place).filter(|client| client.number == id.number)?;
        client.active = at;
        let lane = self.pairs[client.pair].lane_mut(way);
        lane.handle_arrival(at, datagram, counts, self.limits.held_max)
    }

    /// Moves to `due` what is due by `now`.
    pub(super) fn take_due(&mut self, now: Instant, counts: &mut Counts, due: &mut Vec<Due>) {
        for (_, pair) in &mut self.pairs {
            for way in [Way::Up, Way::Down] {
                let counts = counts.way_mut(way);
                while let Some(passed) = pair.lane_mut(way).poll_passed(now, counts) {
                    due.push(Due { at: passed.at, way, datagram: passed.parcel });
                }
            }
        }
    }

    /// Everyone who has a place.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.places.iter().map(|(_, client)| client)
    }

    /// How many have a place.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The server.
    pub(super) fn server(&self) -> SocketAddr {
        self.to
    }
}

impl Pair {
    fn new(up: &LinkPlan, down: &LinkPlan, seed: impl Fn(Way) -> Seed) -> Self {
        Self { up: Lane::new(up.clone(), &seed(Way::Up)), down: Lane::new(down.clone(), &seed(Way::Down)) }
    }

    fn lane_mut(&mut self, way: Way) -> &mut Lane<Datagram> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Parcel for Datagram {
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
