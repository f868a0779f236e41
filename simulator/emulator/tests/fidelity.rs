//! The emulator against the simulator: the same packets through the same links, in real time and in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use emulator::clock::Clock;
use emulator::counts::Way;
use emulator::relay::{Record, Recording, Relay, RelayConfig, link_seed};
use emulator::socket::{Buffer, Socket};
use proto::feedback::Ecn;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};
use simulator::link::plan::{Depth, Jitter, Loss, Queue, Rate};
use simulator::link::{DropCause, Link, LinkPlan, Parcel};

const MEDIAN_MAX: Duration = Duration::from_millis(2);
const P99_MAX: Duration = Duration::from_millis(6);

/// How often punctuality is tried.
const ATTEMPTS: u32 = 3;
const LASTS: Duration = Duration::from_secs(6);
const STEADY: Duration = Duration::from_micros(2_600); // 95 % of the link's rate
const BURST_EVERY: usize = 160; // datagrams: about 0.4 s
const BURST: usize = 30; // more than the queue takes

fn plan() -> LinkPlan {
    LinkPlan {
        rate: Rate::Constant(Bitrate::mbps(4)),
        queue: Queue::DropTail(Depth::Time(Duration::from_millis(50))),
        loss: Loss::Independent(0.02),
        delay: Duration::from_millis(25),
        jitter: Some(Jitter { sigma: Duration::from_millis(4), sigmas_max: 3.0, reorder: false }),
        ..LinkPlan::default()
    }
}

/// A datagram of the trace in virtual time.
struct Numbered(usize, Record);

impl Parcel for Numbered {
    fn wire_size(&self) -> DataSize {
        self.1.wire_size()
    }

    fn ecn(&self) -> Ecn {
        self.1.ecn()
    }

    fn mark_congested(&mut self) {
        self.1.mark_congested();
    }
}

/// What became of each datagram in virtual time.
#[derive(Default)]
struct Fates {
    passed: BTreeMap<usize, Instant>,
    dropped: BTreeMap<usize, DropCause>,
}

/// The recorded arrivals through a link of its own in virtual time.
fn simulate(arrivals: Vec<Record>, seed: &Seed) -> Fates {
    let mut link = Link::new(plan(), seed);
    let mut fates = Fates::default();
    let mut arrivals: VecDeque<_> =
        arrivals.into_iter().enumerate().map(|(number, record)| Numbered(number, record)).collect();
    loop {
        let arrives = arrivals.front().map(|next| next.1.at);
        let now = match (arrives, link.poll_timeout()) {
            (None, None) => return fates,
            (Some(at), None) | (None, Some(at)) => at,
            (Some(at), Some(due)) => at.min(due),
        };
        link.handle_timeout(now);
        if arrives == Some(now)
            && let Some(next) = arrivals.pop_front()
        {
            link.handle_parcel(now, next);
        }
        while let Some(passed) = link.poll_passed(now) {
            fates.passed.insert(passed.parcel.0, passed.at);
        }
        while let Some(dropped) = link.poll_dropped() {
            fates.dropped.insert(dropped.parcel.0, dropped.cause);
        }
    }
}

/// Sends the trace: a rate near the link's, bursts in between, each datagram with its number.
fn send_trace(socket: &Socket, to: SocketAddr, clock: &Clock) -> usize {
    let began = clock.now();
    let mut sent = 0_usize;
    let mut steady = 0_usize;
    let mut send = |size: usize| {
        let mut datagram = vec![0; size];
        datagram[..8].copy_from_slice(&(sent as u64).to_be_bytes());
        socket.send(to, Ecn::NotCapable, &datagram).expect("the kernel takes it");
        sent += 1;
    };
    loop {
        let due = began + STEADY * steady as u32;
        let wait = due.since(clock.now());
        if !wait.is_zero() {
            std::thread::park_timeout(wait);
            continue;
        }
        if due.since(began) >= LASTS {
            return sent;
        }
        send(1_200);
        steady += 1;
        if steady.is_multiple_of(BURST_EVERY) {
            (0..BURST).for_each(|number| send(400 + 25 * number));
        }
    }
}

/// Notes when which datagram arrived, until told to stop.
fn receive(socket: &Socket, clock: &Clock, stop: &Receiver<()>) -> Vec<(usize, Instant)> {
    let mut buffer = Buffer::default();
    let mut received = Vec::new();
    loop {
        let ended = stop.recv_timeout(Duration::from_millis(5)) != Err(RecvTimeoutError::Timeout);
        socket.receive(clock, &mut buffer, |arrival| {
            let number = arrival.bytes.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
            received.push((number as usize, arrival.at));
        });
        if ended {
            return received;
        }
    }
}

/// The relay's address on the server's side, learned from a first datagram that a client sends through it.
fn meet(client: &Socket, server: &Socket, relay: &Relay) -> SocketAddr {
    let mut buffer = Buffer::default();
    for _ in 0..1_000 {
        client.send(relay.address(), Ecn::NotCapable, &u64::MAX.to_be_bytes()).expect("the kernel takes it");
        std::thread::park_timeout(Duration::from_millis(50));
        let mut from = None;
        server.receive(&relay.clock(), &mut buffer, |arrival| from = Some(arrival.from));
        if let Some(from) = from {
            return from;
        }
    }
    panic!("nothing comes through the relay");
}

#[test]
fn real_time_drops_what_virtual_time_drops_and_departs_when_it_departs() {
    // A virtual machine that stands still for 50 ms takes one packet in a hundred with it, and no program in it can
    // help that: punctuality has three tries. What is dropped must be the same in each of them.
    for attempt in 1..=ATTEMPTS {
        let apart = play();
        let punctual = |(median, p99): &(Duration, Duration)| *median <= MEDIAN_MAX && *p99 <= P99_MAX;
        if apart.iter().all(punctual) {
            return;
        }
        println!("attempt {attempt}: too far apart");
    }
    panic!("departures were too far from when they were due in each of {ATTEMPTS} attempts");
}

/// Plays the trace both ways, compares what was dropped, and tells how far departures were from when they were due:
/// the median and the 99th percentile of each way.
fn play() -> [(Duration, Duration); 2] {
    let seed = Seed::from_number(8);
    let server = Socket::bind(([127, 0, 0, 1], 0).into()).expect("loopback has ports");
    let relay = Relay::start(RelayConfig {
        up: plan(),
        down: plan(),
        record: Recording::On,
        seed: seed.clone(),
        ..RelayConfig::new(server.address().expect("it is bound"))
    })
    .expect("the relay starts");
    let client = Socket::connect(relay.address()).expect("loopback has ports");
    let clock = relay.clock();
    let (client, server) = (&client, &server);
    let back = meet(client, server, &relay);
    let first = relay.records().expect("it runs").len(); // what was needed to meet is part of the trace that the link saw

    let (stop_client, client_stopped) = channel();
    let (stop_server, server_stopped) = channel();
    let stoppers: [Sender<()>; 2] = [stop_client, stop_server];
    let (came_up, came_down) = std::thread::scope(|scope| {
        let up = scope.spawn(|| send_trace(client, relay.address(), &clock));
        let down = scope.spawn(|| send_trace(server, back, &clock));
        let at_server = scope.spawn(move || receive(server, &clock, &server_stopped));
        let at_client = scope.spawn(move || receive(client, &clock, &client_stopped));
        let sent = up.join().expect("it sends") + down.join().expect("it sends") + first;
        wait_until_settled(&relay, sent);
        drop(stoppers);
        (at_server.join().expect("it receives"), at_client.join().expect("it receives"))
    });
    let records = relay.records().expect("it runs");
    [(Way::Up, came_up, first), (Way::Down, came_down, 0)].map(|(way, came, before)| {
        let arrivals: Vec<Record> = records.iter().filter(|record| record.way == way).copied().collect();
        let fates = simulate(arrivals, &link_seed(&seed, Some(0), way));
        compare(&relay, way, &fates, &came.into_iter().map(|(number, at)| (number + before, at)).collect())
    })
}

/// Waits until the relay has nothing left of what was sent.
fn wait_until_settled(relay: &Relay, sent: usize) {
    for _ in 0..200 {
        let counts = relay.counts().expect("it runs");
        let done = [counts.up, counts.down].map(|way| way.passed + way.lost()).iter().sum::<u64>();
        if done == sent as u64 {
            std::thread::park_timeout(Duration::from_millis(50)); // for the last one to be received
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("{sent} sent, but {:?}", relay.counts());
}

fn compare(relay: &Relay, way: Way, fates: &Fates, came: &BTreeMap<usize, Instant>) -> (Duration, Duration) {
    let counts = *relay.counts().expect("it runs").way(way);
    assert_eq!(counts.unsent, 0, "{way:?}: the kernel took all");
    let count = |cause| fates.dropped.values().filter(|dropped| **dropped == cause).count() as u64;
    let (random, overflow) = (count(DropCause::Random), count(DropCause::Overflow));
    assert_eq!(
        (counts.dropped.random, counts.dropped.overflow),
        (random, overflow),
        "{way:?}: the same drops"
    );
    assert_eq!(counts.lost(), random + overflow, "{way:?}: no drops of other causes");
    assert!(overflow > 50 && random > 20, "{way:?}: a trace that tests both: {overflow}, {random}");

    let mut apart = Vec::new();
    for (number, due) in &fates.passed {
        let Some(at) = came.get(number) else {
            assert_eq!(way, Way::Up, "{number} passed in virtual time only");
            continue; // sent before the trace began
        };
        apart.push(at.since(*due).max(due.since(*at)));
    }
    for number in fates.dropped.keys() {
        assert!(!came.contains_key(number), "{way:?}: {number} passed in real time only");
    }
    assert_eq!(apart.len(), came.len(), "{way:?}: each that came was due");
    apart.sort_unstable();
    let at = |share: f64| apart[((apart.len() - 1) as f64 * share) as usize];
    let (median, p99, most) = (at(0.5), at(0.99), at(1.0));
    println!(
        "{way:?}: {} arrivals, {overflow} overflowed, {random} lost at random; departures of {} differ by \
         {median:?} (median), {p99:?} (p99), {most:?} (most)",
        counts.arrived,
        apart.len(),
    );
    (median, p99)
}
