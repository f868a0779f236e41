//! Cross traffic over the links of a world: does it take what TCP would, and the same each time?

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant as StdInstant};

use proto::seed::Seed;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::bulk::{Bulk, BulkPlan};
use super::web::{Web, WebPlan};
use super::*;
use crate::link::LinkPlan;
use crate::link::plan::{Depth, Queue, Rate};
use crate::node::Node;
use crate::packet::{FlowId, LinkId, NodeId, Packet};
use crate::scenario::TcpControl;
use crate::world::{Event, Observer, World};

/// What reached the far end of link 0, and all that was sent.
#[derive(Debug, Default)]
struct Watch {
    passed: BTreeMap<FlowId, Vec<(Instant, DataSize)>>,
    sent: Vec<(Instant, Packet)>,
    dropped: u64,
}

impl Watch {
    /// The rate of a flow at the far end of link 0 between two times.
    fn rate(&self, flow: u32, from: Duration, to: Duration) -> f64 {
        let span = Instant::ZERO + from..Instant::ZERO + to;
        let passed = self.passed.get(&FlowId(flow)).into_iter().flatten();
        let size: DataSize = passed.filter(|(at, _)| span.contains(at)).map(|(_, size)| *size).sum();
        size.as_bits() as f64 / to.saturating_sub(from).as_secs_f64()
    }
}

impl Observer for Watch {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Sent(packet) => self.sent.push((now, (*packet).clone())),
            Event::Passed { link: LinkId(0), packet, .. } => {
                self.passed.entry(packet.flow).or_default().push((now, packet.size));
            }
            Event::Dropped { .. } => self.dropped += 1,
            Event::Spinning(entity) | Event::WokenLate(entity) => panic!("{entity:?} spins at {now:?}"),
            Event::Flooding(node) => panic!("{node:?} floods at {now:?}"),
            Event::Unroutable(packet) => panic!("{packet:?} has no way"),
            Event::Passed { .. } | Event::Delivered(_) | Event::Fact { .. } | Event::Replanned { .. } => {}
        }
    }
}

/// A node that can be looked at while it is in a world.
struct Seen<N>(Rc<RefCell<N>>);

impl<N: Node> Node for Seen<N> {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        self.0.borrow_mut().handle_packet(now, packet);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.borrow_mut().handle_timeout(now);
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        self.0.borrow_mut().poll_packet(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.borrow().poll_timeout()
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn link(rate: Bitrate, queue: Duration, delay: Duration) -> LinkPlan {
    LinkPlan {
        rate: Rate::Constant(rate),
        queue: Queue::DropTail(Depth::Time(queue)),
        delay,
        ..LinkPlan::default()
    }
}

/// Some beginning; nothing depends on which it is.
#[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
fn epoch() -> StdInstant {
    StdInstant::now()
}

/// A world of two links, there and back, that clients and their servers share.
struct Bench {
    world: World<Watch>,
    epoch: StdInstant,
    seed: Seed,
}

impl Bench {
    fn new(seed: u64, rate: Bitrate, queue: Duration, round_trip: Duration) -> Self {
        let seed = Seed::from_number(seed);
        let mut world = World::new(seed.fork("world"), Watch::default());
        world.add_link(link(rate, queue, round_trip / 2));
        world.add_link(link(Bitrate::mbps(1_000), secs(1), round_trip / 2));
        Self { world, epoch: epoch(), seed }
    }

    /// Adds a client and its server.
    fn add<N: Node + 'static>(
        &mut self,
        flow: u32,
        client: impl FnOnce(FlowId, NodeId, StdInstant, &Seed) -> N,
    ) -> (Rc<RefCell<N>>, Rc<RefCell<Server>>) {
        let (flow, seed) = (FlowId(flow), self.seed.fork(&format!("flow {flow}")));
        let server = Rc::new(RefCell::new(Server::new(flow, self.epoch, &seed.fork("server"))));
        let server_id = self.world.add_node(Box::new(Seen(Rc::clone(&server))));
        let client = Rc::new(RefCell::new(client(flow, server_id, self.epoch, &seed)));
        let client_id = self.world.add_node(Box::new(Seen(Rc::clone(&client))));
        self.world.add_route(client_id, server_id, &[LinkId(0)]);
        self.world.add_route(server_id, client_id, &[LinkId(1)]);
        (client, server)
    }

    fn add_bulk(&mut self, flow: u32, plan: BulkPlan) -> (Rc<RefCell<Bulk>>, Rc<RefCell<Server>>) {
        self.add(flow, |flow, peer, epoch, seed| Bulk::new(flow, peer, plan, epoch, seed))
    }

    fn run(&mut self, until: Duration) {
        self.world.run_until(Instant::ZERO + until);
    }

    fn watch(&self) -> &Watch {
        self.world.observer()
    }
}

fn endless(control: TcpControl) -> BulkPlan {
    BulkPlan { control, start: Duration::ZERO, stop: None }
}

#[test]
fn two_connections_share_a_link_and_fill_it() {
    for control in [TcpControl::Cubic, TcpControl::Reno] {
        for seed in 1..4 {
            let mut bench =
                Bench::new(seed, Bitrate::mbps(4), Duration::from_millis(300), Duration::from_millis(50));
            bench.add_bulk(0, endless(control));
            bench.add_bulk(1, BulkPlan { start: secs(2), ..endless(control) });
            bench.run(secs(120));
            let rates = [0, 1].map(|flow| bench.watch().rate(flow, secs(20), secs(120)));
            let (used, ratio) = (rates.iter().sum::<f64>() / 4e6, rates[0] / rates[1]);
            assert!((0.9..=1.001).contains(&used), "{control:?} {seed}: {used:.3} of the link");
            assert!((0.75..=1.34).contains(&ratio), "{control:?} {seed}: {rates:?}");
            assert!(bench.watch().dropped > 0, "{control:?} {seed}: that is how they know");
        }
    }
}

#[test]
fn windows_shrink_by_the_books_on_loss_and_grow_in_between() {
    for (control, factor) in [(TcpControl::Reno, 0.5), (TcpControl::Cubic, 0.7)] {
        let mut bench =
            Bench::new(1, Bitrate::mbps(4), Duration::from_millis(100), Duration::from_millis(50));
        let (client, _) = bench.add_bulk(0, endless(control));
        let mut windows = Vec::new();
        for tick in 1..60_000 {
            bench.run(Duration::from_millis(tick));
            windows.extend(client.borrow().window());
        }
        let drops: Vec<f64> = windows
            .windows(2)
            .filter(|pair| pair[1] < pair[0])
            .map(|pair| pair[1] as f64 / pair[0] as f64)
            .collect();
        assert!(drops.len() >= 4, "{control:?}: {} drops in a minute", drops.len());
        assert!(drops.iter().all(|drop| (drop - factor).abs() < 0.02), "{control:?}: {drops:?}");
        // At 4 Mbit/s a window of 75 kB fills pipe and queue: between losses it is never far from there.
        let late = &windows[10_000..];
        let (least, most) = (late.iter().min().copied(), late.iter().max().copied());
        assert!(least.is_some_and(|least| least > 25_000), "{control:?}: {least:?}");
        assert!(most.is_some_and(|most| (70_000..100_000).contains(&most)), "{control:?}: {most:?}");
        if control == TcpControl::Reno {
            assert_growth_is_a_segment_a_round_trip(late);
        }
    }
}

/// Between two losses, in so many milliseconds of round trips of 50 to 150 ms.
fn assert_growth_is_a_segment_a_round_trip(windows: &[u64]) {
    let lengths: Vec<(usize, u64)> = windows
        .chunk_by(|a, b| b >= a)
        .filter(|grown| grown.len() > 2_000)
        .map(|grown| (grown.len(), grown[grown.len() - 1] - grown[0]))
        .collect();
    assert!(lengths.len() > 3);
    for (millis, grown) in lengths {
        let segments = grown / 1_452;
        let round_trips = (millis as u64 / 160)..=(millis as u64 / 50);
        assert!(round_trips.contains(&segments), "{segments} segments in {millis} ms");
    }
}

#[test]
fn a_transfer_begins_and_ends_when_it_shall() {
    let mut bench = Bench::new(1, Bitrate::mbps(4), Duration::from_millis(300), Duration::from_millis(50));
    let plan = BulkPlan { start: secs(3), stop: Some(secs(10)), ..endless(TcpControl::Cubic) };
    let (client, server) = bench.add_bulk(0, plan);
    bench.run(secs(60));
    let sent = &bench.watch().sent;
    let (first, last) = (sent[0].0, sent[sent.len() - 1].0);
    assert_eq!(first, Instant::ZERO + secs(3));
    assert!(
        last.since(Instant::ZERO + secs(10)) < Duration::from_millis(500),
        "{last:?}: but for what was under way"
    );
    assert!(bench.watch().rate(0, secs(4), secs(10)) > 3.6e6);
    assert!(server.borrow().received() > DataSize::kilobytes(2_800));
    assert_eq!(client.borrow().window(), None);
    assert_eq!(
        (client.borrow().poll_timeout(), server.borrow().poll_timeout()),
        (None, None),
        "all is forgotten"
    );
    let sizes: Vec<u64> = sent.iter().map(|(_, packet)| packet.size.as_bytes()).collect();
    assert_eq!(sizes.iter().max(), Some(&1_480));
    let full = sizes.iter().filter(|&&size| size == 1_480).count();
    let small = sizes.iter().filter(|&&size| size < 100).count();
    assert!((0.4..0.7).contains(&(small as f64 / full as f64)), "{small} acknowledgements of {full} packets");
}

#[test]
fn web_transfers_have_the_right_sizes_and_rates() {
    let mut bench = Bench::new(5, Bitrate::mbps(50), Duration::from_millis(300), Duration::from_millis(50));
    let plan = WebPlan { control: TcpControl::Reno, connections: 20, active: 5, idle: secs(10) };
    let (client, server) = bench.add(0, |flow, peer, epoch, seed| Web::new(flow, peer, plan, epoch, seed));
    bench.run(Duration::from_millis(1));
    assert_eq!(bench.watch().sent.len(), 5, "so many begin");
    bench.run(secs(1_000));
    let finished = client.borrow().finished() as f64;
    let exact = 20.0 * 1_000.0 / 10.2; // each takes four round trips
    assert!((0.92..1.08).contains(&(finished / exact)), "{finished} transfers, {exact:.0} are right");
    let mean = server.borrow().received().as_bytes() as f64 / finished;
    assert!((39_400.0..40_600.0).contains(&mean), "{mean:.0} bytes each");
}

#[test]
fn web_transfers_end_when_they_shall() {
    let mut bench = Bench::new(1, Bitrate::mbps(1), Duration::from_millis(300), Duration::from_millis(50));
    let plan = WebPlan { control: TcpControl::Cubic, connections: 20, active: 20, idle: secs(1) };
    let (client, server) =
        bench.add(0, |flow, peer, epoch, seed| Web::new(flow, peer, plan, epoch, seed).stopping_at(secs(10)));
    bench.run(secs(60));
    let (busy, idle) = (bench.watch().rate(0, secs(8), secs(10)), bench.watch().rate(0, secs(11), secs(60)));
    assert!(busy > 0.8e6 && idle < 1e4, "{busy:.0} bit/s, then {idle:.0}");
    assert_eq!(
        (client.borrow().poll_timeout(), server.borrow().poll_timeout()),
        (None, None),
        "all is forgotten"
    );
}

#[test]
fn a_web_transfer_takes_a_handshake_and_slow_start() {
    for seed in 1..20 {
        let mut bench =
            Bench::new(seed, Bitrate::mbps(100), Duration::from_millis(300), Duration::from_millis(100));
        let plan = WebPlan { control: TcpControl::Cubic, connections: 1, active: 1, idle: secs(1_000_000) };
        let (client, server) =
            bench.add(0, |flow, peer, epoch, seed| Web::new(flow, peer, plan, epoch, seed));
        let mut millis = 0;
        while client.borrow().finished() == 0 {
            millis += 1;
            bench.run(Duration::from_millis(millis));
        }
        let received = server.borrow().received();
        assert!((30_000..=50_000).contains(&received.as_bytes()), "{received}");
        // One round trip to shake hands, one for ten segments, one for twenty, one for the rest, if there is some; and
        // the last acknowledgement may wait for 25 ms.
        let round_trips = if received < DataSize::kilobytes(38) { 300..380 } else { 300..480 };
        assert!(round_trips.contains(&millis), "{seed}: {received} took {millis} ms");
    }
}

#[test]
fn the_same_seed_sends_the_same_packets_at_the_same_times() {
    let run = |seed| {
        let mut bench =
            Bench::new(seed, Bitrate::mbps(3), Duration::from_millis(60), Duration::from_millis(50));
        bench.add_bulk(0, endless(TcpControl::Cubic));
        bench.add_bulk(1, endless(TcpControl::Reno));
        let plan = WebPlan { control: TcpControl::Reno, connections: 4, active: 2, idle: secs(2) };
        bench.add(2, |flow, peer, epoch, seed| Web::new(flow, peer, plan, epoch, seed));
        bench.run(secs(20));
        bench.world.into_observer().sent
    };
    let (one, again, other) = (run(1), run(1), run(2));
    assert!(one.len() > 5_000);
    assert!(one == again, "to the byte");
    assert!(one != other);
}
