//! Forwarding without sockets: a worker with real SRTP, one publisher and many subscribers in memory, in virtual time on one core.
//!
//! In: an [`Order`]. Out: nanoseconds a packet put out, against sealing the same packet and nothing else; both are measured in
//! turns of a few hundred microseconds, and the result is the median of such turns, so that what else the machine does falls on
//! both or on neither. Time: virtual for the worker and the clients; what is measured is the real one.

use std::time::Duration;

use anyhow::{Result, ensure};
use proto::time::{Instant, earliest};
use proto::units::Bitrate;
use serde::{Deserialize, Serialize};
use sfu::network::demux::{PacketKind, classify};
use simulator::node::client::room::{News, RoomState};

use super::bare::Sealer;
use super::clock::Clock;
use super::house::House;
use super::lianmai::PING_INTERVAL;
use super::meter;
use super::peer::{Common, Feedback, Peer, Role};

/// What the publisher sends: 180 packets a second of 1140 bytes, headers not counted.
const RATE: Bitrate = Bitrate::bps(180 * 1_140 * 8);

/// What subscribers may be sent.
const MOST: Bitrate = Bitrate::mbps(25);

/// In which everybody has joined, in virtual time.
const JOIN_MAX: Duration = Duration::from_secs(20);

/// Before anything is measured, in virtual time: estimators and pacers have come to rest.
const WARM_UP: Duration = Duration::from_secs(8);

/// How long media lies before the clients have their turn: what they do is not to drive the worker's memory out of the
/// processor's caches with every packet, for in the world they are elsewhere.
const POST_EVERY: Duration = Duration::from_millis(60);

/// Packets of the publisher in one turn, a multiple of every batch.
const TURN: usize = 48;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// How many receive.
    pub subscribers: usize,
    /// Whether they tell when packets came.
    pub feedback: bool,
    /// How many datagrams come at a time.
    pub batch: usize,
    /// How long, in virtual time.
    pub seconds: f64,
    /// On which core.
    pub core: usize,
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Packets put out for each that came in.
    pub fanout: f64,
    /// Nanoseconds for each packet put out, from datagrams and timers.
    pub ours_ns: f64,
    /// Nanoseconds for sealing one.
    pub bare_ns: f64,
    /// Nanoseconds for each packet put out that subscribers' feedback takes beside that.
    pub feedback_ns: f64,
}

/// Measures.
pub fn run(order: &Order) -> Result<Measured> {
    meter::pin(order.core)?;
    let mut bench = Bench::new(order);
    bench.gather()?;
    let start = bench.now;
    bench.publish(start);
    bench.advance(start + WARM_UP);
    bench.turns.clear();
    bench.advance(start + WARM_UP + Duration::from_secs_f64(order.seconds));
    let turns = &bench.turns;
    ensure!(turns.len() > 2, "{} turns are too few", turns.len());
    let median = |of: fn(&Turn) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Ok(Measured {
        fanout: median(|turn| turn.outputs as f64 / TURN as f64),
        ours_ns: median(|turn| turn.each(turn.ours)),
        bare_ns: median(|turn| turn.each(turn.bare)),
        feedback_ns: median(|turn| turn.each(turn.feedback)),
    })
}

/// Some hundred microseconds of work.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    inputs: usize,
    outputs: usize,
    ours: Duration,
    bare: Duration,
    feedback: Duration,
}

impl Turn {
    fn each(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.outputs.max(1) as f64
    }
}

/// A client in memory.
struct Client {
    peer: Peer,
    room: RoomState,
    wake: Option<Instant>,
}

/// What the worker's time is spent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Media,
    Feedback,
}

struct Bench {
    clock: Clock,
    now: Instant,
    house: House,
    clients: Vec<Client>,
    batch: usize,
    /// Sealed packets of the publisher that wait for a batch.
    waiting: Vec<Vec<u8>>,
    /// Datagrams for the clients, copied out of the house, and when.
    post: Vec<(Instant, usize, Vec<u8>)>,
    sealer: Option<Sealer>,
    slab: Vec<u8>,
    next_key: usize,
    turn: Turn,
    turns: Vec<Turn>,
}

impl Bench {
    fn new(order: &Order) -> Self {
        let clock = Clock::start();
        let common = Common::new(clock.epoch());
        let now = Instant::from_millis(1);
        let feedback = if order.feedback { Feedback::Arrivals } else { Feedback::ReportsAlone };
        let publisher = Role { publishes: Some(RATE), slots: 0, feedback: Feedback::Arrivals };
        let subscriber = Role { publishes: None, slots: 1, feedback };
        let roles = std::iter::once(publisher).chain(std::iter::repeat_n(subscriber, order.subscribers));
        let client = |(number, role): (usize, Role)| {
            let peer = Peer::new(now, number as u16, role, &common);
            Client { peer, room: RoomState::new(PING_INTERVAL), wake: Some(now) }
        };
        Self {
            clock,
            now,
            house: House::new(clock.epoch(), MOST),
            clients: roles.enumerate().map(client).collect(),
            batch: order.batch,
            waiting: Vec::new(),
            post: Vec::new(),
            sealer: None,
            slab: Vec::new(),
            next_key: 0,
            turn: Turn::default(),
            turns: Vec::new(),
        }
    }

    /// Everybody joins.
    fn gather(&mut self) -> Result<()> {
        for number in 0..self.clients.len() {
            self.house.open(self.now, number);
            let client = &mut self.clients[number];
            client.room.join(self.now, client.peer.offer());
            self.talk(number);
        }
        let until = self.now + JOIN_MAX;
        while self.clients.iter().any(|client| !client.peer.is_open()) {
            ensure!(self.now < until, "not everybody has connected");
            self.advance(self.now + Duration::from_millis(20));
        }
        Ok(())
    }

    fn publish(&mut self, now: Instant) {
        let publisher = &mut self.clients[0];
        publisher.peer.publisher_mut().expect("the first one publishes").start(now);
        publisher.wake = Some(now);
    }

    /// Lets time pass.
    fn advance(&mut self, until: Instant) {
        loop {
            let next = self.clients.iter().fold(self.house.poll_timeout(), |at, one| earliest(at, one.wake));
            let next = earliest(next, self.post_at());
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if self.house.poll_timeout().is_some_and(|at| at <= self.now) {
                self.work(For::Media, House::handle_timeout);
            }
            if self.post_at().is_some_and(|at| at <= self.now) {
                self.deliver();
            }
            for number in 0..self.clients.len() {
                if self.clients[number].wake.is_some_and(|at| at <= self.now) {
                    self.wake(number);
                }
            }
        }
        self.now = self.now.max(until);
    }

    fn post_at(&self) -> Option<Instant> {
        self.post.first().map(|(at, ..)| *at + POST_EVERY)
    }

    fn wake(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.peer.handle_timeout(self.now);
        client.room.handle_timeout(self.now);
        self.settle(number);
        self.talk(number);
    }

    /// What a client puts out goes to the house; media in batches.
    fn settle(&mut self, number: usize) {
        while let Some(mut datagram) = self.clients[number].peer.poll_transmit() {
            if classify(&datagram) == PacketKind::Rtp {
                self.waiting.push(datagram);
            } else {
                self.work(For::Feedback, |house, now| house.handle_datagram(now, number, &mut datagram));
            }
        }
        if self.waiting.len() >= self.batch {
            let mut batch = std::mem::take(&mut self.waiting);
            self.turn.inputs += batch.len();
            self.work(For::Media, |house, now| {
                for datagram in &mut batch {
                    house.handle_datagram(now, number, datagram);
                }
            });
            if self.turn.inputs >= TURN {
                self.turns.push(std::mem::take(&mut self.turn));
            }
        }
        let client = &mut self.clients[number];
        client.wake = earliest(client.peer.poll_timeout(), client.room.poll_timeout());
    }

    fn talk(&mut self, number: usize) {
        while let Some(text) = self.clients[number].room.poll_message() {
            self.work(For::Feedback, |house, now| house.handle_message(now, number, &text));
        }
    }

    /// The house does something, and the time is taken; then its packets are sealed once more by nothing but the cipher.
    fn work(&mut self, reason: For, work: impl FnOnce(&mut House, Instant)) {
        work(&mut self.house, self.now);
        self.house.finish();
        let took = self.house.take_spent();
        let datagrams = self.house.take_datagrams();
        let messages = self.house.take_messages();
        let media = datagrams.iter().filter(|(_, bytes)| classify(bytes) == PacketKind::Rtp);
        let outputs = media.clone().count();
        if let Some((_, bytes)) = media.clone().next() {
            let keys = self.clients.len();
            self.sealer.get_or_insert_with(|| Sealer::new(keys, bytes.len()));
        }
        let is_urgent = datagrams.len() > outputs;
        self.post.extend(datagrams.into_iter().map(|(to, bytes)| (self.now, to, bytes)));
        self.turn.outputs += outputs;
        match reason {
            For::Media => self.turn.ours += took,
            For::Feedback => self.turn.feedback += took,
        }
        self.seal(outputs);
        for (to, text) in messages {
            self.tell(to, &text);
        }
        if is_urgent {
            self.deliver();
        }
    }

    /// The reference: as many packets, a key for each subscriber.
    fn seal(&mut self, packets: usize) {
        let Some(sealer) = self.sealer.as_mut().filter(|_| packets > 0) else { return };
        let size = sealer.size();
        self.slab.resize(size * packets.max(self.slab.len() / size), 0);
        let began = self.clock.now();
        for datagram in self.slab.chunks_exact_mut(size).take(packets) {
            sealer.seal(self.next_key, datagram);
            self.next_key = (self.next_key + 1) % self.clients.len();
        }
        self.turn.bare += self.clock.now().since(began);
    }

    fn tell(&mut self, number: usize, text: &str) {
        let client = &mut self.clients[number];
        if let Some(News::Joined(sdp) | News::Answered(sdp)) = client.room.handle_message(text) {
            client.peer.handle_answer(self.now, &sdp);
            client.wake = Some(self.now);
        }
    }

    fn deliver(&mut self) {
        for (at, to, mut datagram) in std::mem::take(&mut self.post) {
            self.clients[to].peer.handle_datagram(self.now, at, &mut datagram);
            self.settle(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_every_packet_and_both_are_measured() {
        for (feedback, batch) in [(true, 4), (false, 1)] {
            let order = Order { subscribers: 5, feedback, batch, seconds: 3.0, core: 0 };
            let measured = run(&order).expect("it runs");
            assert!((measured.fanout - 5.0).abs() < 0.3, "{measured:?}");
            assert!(measured.bare_ns > 20.0 && measured.ours_ns > measured.bare_ns / 2.0, "{measured:?}");
        }
    }
}
