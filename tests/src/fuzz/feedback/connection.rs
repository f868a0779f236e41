//! A sender's congestion control, put together as a connection does it, and what must hold of it whatever it hears.
//!
//! In: what a program does. Out: a panic where a claim fails. Time: its own, moved by `pass`. Limit: the program's.

use std::collections::BTreeSet;
use std::time::Duration;

use cc::estimator::hybrid::{Hybrid, Settings};
use cc::history::{self, Departure, SendHistory};
use cc::pacer::{self, Paced, Pacer};
use cc::{Demand, Estimator, PacketClass, PacketResult, ProbeCluster, ProbeId, Target};
use proto::feedback::{Arrival, CcfbClock, Ecn, TwccClock};
use proto::rtcp::{self, Rtcp};
use proto::rtp::SeqNo;
use proto::scene::Scene;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

const START: Instant = Instant::from_millis(1_000);
/// What the receiver's clock is ahead.
const AHEAD: Duration = Duration::from_secs(5_000_000);
/// A picture at 30 a second.
const FRAME: Duration = Duration::from_millis(33);
const PACKET: DataSize = DataSize::bytes(1_200);

/// Pictures leave faster than the rate, each one a probe: a quarter is the most that a scene asks for.
const PACE_MAX: f64 = 1.25;
/// What may be in flight: the longest round trip and the longest queues that are believed, and some.
const WINDOW_MAX: Duration = Duration::from_secs(4);
/// What waits longer in the pacer is dropped at the next poll.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Of a cluster, a timer's grain and the packets at both of its ends are beyond its rate.
const GRAIN: Duration = Duration::from_millis(1);
/// Clusters that one event may ask for (libwebrtc asks for three), and how much faster than the most allowed.
const CLUSTERS_MAX: usize = 8;
const CLUSTER_TIMES: u64 = 3;
const CLUSTER_TIME: Duration = Duration::from_secs(1);
const CLUSTER_PACKETS: u32 = 1_000;
/// The packets that leave at one time: all that can wait, and probes.
const AT_ONCE_MAX: usize = pacer::PACKETS_MAX + 1_024;
/// Wake-ups of the pacer at which nothing leaves, because the rate has changed meanwhile.
const IDLE_WAKES_MAX: usize = 16;
/// The timers that a connection has at rest: the estimator's cuts, and what is in flight.
const REST_WAKES_MAX: usize = 2 * history::PACKETS_MAX;

/// What is sent when padding is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filler {
    /// Padding of that size.
    AsAsked,
    /// Nothing: there is nothing to send it with.
    Nothing,
    /// A short packet.
    Small,
    /// Two packets that are longer together.
    Large,
}

/// A path with a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub(super) delay: Duration,
    /// Nothing for no limit.
    pub(super) capacity: Bitrate,
    /// Which of eight packets are lost.
    pub(super) lost: u8,
    /// What would wait longer is dropped; nothing for no limit.
    pub(super) buffer: Duration,
}

/// What was heard of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Lost,
    Received,
}

#[derive(Debug)]
struct Gone {
    at: Instant,
    size: DataSize,
    heard: Heard,
}

/// A cluster in the pacer, and what of it has left.
#[derive(Debug)]
struct Running {
    cluster: ProbeCluster,
    sent: DataSize,
    largest: DataSize,
}

/// See the module's description.
pub(super) struct Connection {
    now: Instant,
    settings: Settings,
    filler: Filler,
    estimator: Hybrid,
    target: Target,
    history: SendHistory,
    pacer: Pacer<()>,
    twcc: TwccClock,
    ccfb: CcfbClock,
    /// All that has left, by number.
    gone: Vec<Gone>,
    probes: Vec<Running>,
    /// The first packet that no path has carried, and until when the last one was busy.
    on_way: usize,
    busy_until: Instant,
    phases: BTreeSet<&'static str>,
}

impl Connection {
    pub(super) fn new(settings: Settings, filler: Filler) -> Self {
        let estimator = Hybrid::new(settings, &Seed::from_number(1));
        let target = estimator.target();
        Self {
            now: START,
            settings,
            filler,
            estimator,
            target,
            history: SendHistory::new(),
            pacer: Pacer::new(target),
            twcc: TwccClock::default(),
            ccfb: CcfbClock::default(),
            gone: Vec::new(),
            probes: Vec::new(),
            on_way: 0,
            busy_until: START,
            phases: BTreeSet::new(),
        }
    }

    pub(super) fn departures(&self) -> usize {
        self.gone.len()
    }

    /// The phases that the estimator was in.
    #[cfg(test)]
    pub(super) fn phases(&self) -> &BTreeSet<&'static str> {
        &self.phases
    }

    /// How many packets there are results of.
    #[cfg(test)]
    pub(super) fn heard(&self) -> usize {
        self.gone.iter().filter(|gone| gone.heard != Heard::Nothing).count()
    }

    pub(super) fn newest(&self) -> SeqNo {
        SeqNo(self.history.next_number().wrapping_sub(1) as u16)
    }

    pub(super) fn receiver_clock(&self) -> Instant {
        self.now + AHEAD
    }

    /// A packet leaves, whatever the pacer would say to it.
    pub(super) fn leave(&mut self, departure: Departure) {
        let sent = self.history.handle_sent(self.now, departure);
        assert_eq!(sent.number, self.gone.len() as u64, "numbers go on");
        self.gone.push(Gone { at: self.now, size: departure.size, heard: Heard::Nothing });
        self.estimator.handle_sent(self.now, &sent);
        self.settle();
    }

    pub(super) fn enqueue(&mut self, class: PacketClass, count: usize, size: DataSize) {
        for _ in 0..count {
            let full = self.pacer.len() >= pacer::PACKETS_MAX;
            let refused = self.pacer.enqueue(self.now, class, size, ()).is_err();
            assert!(full || !refused, "refused with {} packets", self.pacer.len());
        }
    }

    /// Time passes as for a shell that wakes when it is asked to.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut idle = 0;
        self.wake();
        while let Some(at) = self.poll_timeout().filter(|at| *at <= end) {
            let is_pacer = self.pacer.poll_timeout(self.history.in_flight()) == Some(at);
            self.now = at;
            let left = self.wake();
            idle += usize::from(is_pacer && left == 0);
            assert!(idle <= IDLE_WAKES_MAX, "the pacer wakes for nothing");
        }
        self.now = end;
        self.wake();
    }

    /// Time passes, and all timers are late.
    pub(super) fn oversleep(&mut self, time: Duration) {
        self.now += time;
        self.wake();
    }

    /// Nothing more happens.
    pub(super) fn rest(&mut self) {
        self.pacer.clear(self.now);
        for _ in 0..REST_WAKES_MAX {
            let timeout = earliest(self.estimator.poll_timeout(), self.history.poll_timeout());
            let Some(at) = timeout else { return };
            self.now = self.now.max(at);
            self.handle_timeout();
        }
        panic!("timers without end: {:?}", self.estimator.state());
    }

    /// A picture as large as allowed, its time, and what comes of it.
    pub(super) fn live(&mut self, path: Path) {
        let budget = self.pacer.frame_budget(self.now, FRAME, self.history.in_flight());
        let frame = budget.min(self.target.rate * FRAME);
        self.enqueue(PacketClass::Video, (frame.as_bytes() / PACKET.as_bytes()) as usize + 1, PACKET);
        self.pass(FRAME);
        self.report(path);
    }

    /// What a path has carried by now.
    pub(super) fn report(&mut self, path: Path) {
        let mut arrivals = Vec::new();
        for (number, gone) in self.gone.iter().enumerate().skip(self.on_way) {
            let from = self.busy_until.max(gone.at);
            let is_dropped = !path.buffer.is_zero() && from.since(gone.at) > path.buffer;
            let is_free = is_dropped || path.capacity == Bitrate::ZERO;
            let out = from + if is_free { Duration::ZERO } else { gone.size / path.capacity };
            if out + path.delay > self.now {
                break;
            }
            let is_lost = is_dropped || path.lost >> (number % 8) & 1 == 1;
            let received = (!is_lost).then(|| out + path.delay / 2 + AHEAD);
            arrivals.push(Arrival { seq: SeqNo(number as u16), received, ecn: Ecn::NotCapable });
            self.busy_until = out;
            self.on_way = number + 1;
        }
        self.handle_arrivals(&arrivals);
    }

    /// What a datagram of RTCP says, if it is one.
    pub(super) fn handle_datagram(&mut self, bytes: &[u8]) {
        let Ok(packets) = rtcp::parse(bytes) else { return };
        let mut arrivals = Vec::new();
        for packet in &packets {
            if let Rtcp::TransportFeedback(feedback) = packet {
                arrivals.extend(self.twcc.arrivals(feedback));
            }
            if let Rtcp::CongestionFeedback(feedback) = packet {
                arrivals.extend(self.ccfb.arrivals(feedback).map(|(_, arrival)| arrival));
            }
        }
        self.handle_arrivals(&arrivals);
    }

    pub(super) fn handle_arrivals(&mut self, arrivals: &[Arrival]) {
        let results = self.history.handle_arrivals(self.now, arrivals.iter().copied());
        check_results(&mut self.gone, results);
        self.estimator.handle_feedback(self.now, results);
        self.settle();
    }

    pub(super) fn set_demand(&mut self, demand: Demand) {
        self.estimator.set_demand(self.now, demand);
        self.settle();
    }

    pub(super) fn set_scene(&mut self, scene: Scene) {
        self.settings.scene = scene;
        self.estimator.set_scene(self.now, scene);
        self.settle();
    }

    /// The path is another one: all begins anew but the numbers and the receiver's clock.
    pub(super) fn handle_route_change(&mut self) {
        self.estimator = Hybrid::new(self.settings, &Seed::from_number(1));
        self.history.handle_route_change(self.now);
        self.pacer.clear(self.now);
        assert_eq!((self.history.in_flight(), self.pacer.queued()), (DataSize::ZERO, DataSize::ZERO));
        self.on_way = self.gone.len();
        self.busy_until = self.now;
        self.settle();
    }

    pub(super) fn probe(&mut self, cluster: impl FnOnce(ProbeId) -> ProbeCluster) {
        let id = ProbeId(1_000 + self.probes.len() as u32);
        self.ask(cluster(id));
    }

    pub(super) fn abort_probes(&mut self) {
        self.pacer.abort_probes(self.now);
    }

    /// What holds between any two steps.
    pub(super) fn check(&mut self) {
        let Target { rate, pacing, burst, window, padding } = self.estimator.target();
        let limits = self.settings.limits;
        assert!(rate >= limits.min && rate <= limits.max, "{rate} in {}", self.estimator.state());
        let most = limits.max.scaled(PACE_MAX);
        assert!(pacing > Bitrate::ZERO && pacing <= most, "paced at {pacing} in {}", self.estimator.state());
        assert!(padding <= most, "padded up to {padding} in {}", self.estimator.state());
        assert!(burst <= FRAME, "bursts of {burst:?}");
        let window = window.unwrap_or_default();
        assert!(window >= PACKET && window <= most * WINDOW_MAX, "{window} in flight");
        assert!(self.pacer.len() <= pacer::PACKETS_MAX && self.history.len() <= history::PACKETS_MAX);
        let remembered: DataSize =
            self.gone.iter().rev().take(self.history.len()).map(|gone| gone.size).sum();
        assert!(self.history.in_flight() <= remembered, "more in flight than is remembered");
        assert_eq!(self.pacer.is_empty(), self.pacer.queue_delay(self.now + FRAME) == Duration::ZERO);
        while let Some(transition) = self.estimator.poll_transition() {
            assert!(transition.at <= self.now && transition.from != transition.to, "{transition:?}");
        }
        self.estimator.path_class();
        self.phases.insert(self.estimator.state());
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let pacer = self.pacer.poll_timeout(self.history.in_flight());
        earliest(pacer, earliest(self.estimator.poll_timeout(), self.history.poll_timeout()))
    }

    /// What a shell does when it wakes up; says how much left.
    fn wake(&mut self) -> usize {
        self.handle_timeout();
        let mut left = 0;
        while let Some(paced) = self.pacer.poll(self.now, self.history.in_flight()) {
            left += 1;
            assert!(left <= AT_ONCE_MAX, "the pacer lets packets go without end");
            self.send(&paced);
        }
        assert!(self.poll_timeout().is_none_or(|at| at > self.now), "a wake-up in the past");
        assert!(self.pacer.queue_delay(self.now) <= WAIT_MAX, "what is too old waits");
        left
    }

    fn handle_timeout(&mut self) {
        self.history.handle_timeout(self.now);
        if self.estimator.poll_timeout().is_some_and(|at| at <= self.now) {
            self.estimator.handle_timeout(self.now);
        }
        self.settle();
        let timeout = earliest(self.estimator.poll_timeout(), self.history.poll_timeout());
        assert!(timeout.is_none_or(|at| at > self.now), "{timeout:?} at {:?}", self.now);
    }

    /// A packet that the pacer let go leaves.
    fn send(&mut self, paced: &Paced<()>) {
        let app_limited = self.pacer.is_app_limited(self.now);
        let (class, probe, size, more) = match *paced {
            Paced::Packet { class, size, probe, packet: () } => (class, probe, size, None),
            Paced::Padding { size, probe } => {
                assert!(size > DataSize::ZERO && size <= DataSize::bytes(1_500), "padding of {size}");
                let (size, more) = match self.filler {
                    Filler::AsAsked => (size, None),
                    Filler::Nothing => (DataSize::ZERO, None),
                    Filler::Small => (DataSize::bytes(90), None),
                    Filler::Large => (PACKET, Some(PACKET)),
                };
                self.pacer.note_padding_sent(self.now, size + more.unwrap_or_default());
                (PacketClass::Padding, probe, size, more)
            }
        };
        for size in [Some(size), more].into_iter().flatten() {
            if size > DataSize::ZERO || class != PacketClass::Padding {
                self.leave(Departure { size, class, probe, app_limited });
            }
        }
        self.check_probe(probe, size + more.unwrap_or_default());
    }

    /// Does what the estimator wants after it was told something.
    fn settle(&mut self) {
        if self.estimator.poll_probe_abort() {
            self.pacer.abort_probes(self.now);
        }
        let mut count = 0;
        while let Some(cluster) = self.estimator.poll_probe() {
            count += 1;
            assert!(count <= CLUSTERS_MAX, "probes without end");
            assert!(cluster.rate <= self.settings.limits.max * CLUSTER_TIMES, "{cluster:?}");
            assert!(cluster.duration <= CLUSTER_TIME && cluster.packets <= CLUSTER_PACKETS, "{cluster:?}");
            self.ask(cluster);
        }
        let target = self.estimator.target();
        if target != self.target {
            self.target = target;
            self.pacer.set_target(self.now, target);
        }
    }

    fn ask(&mut self, cluster: ProbeCluster) {
        self.pacer.handle_probe(self.now, cluster);
        self.probes.push(Running { cluster, sent: DataSize::ZERO, largest: DataSize::ZERO });
    }

    /// A cluster sends what it is to prove and hardly more.
    fn check_probe(&mut self, probe: Option<ProbeId>, size: DataSize) {
        let Some(running) = self.probes.iter_mut().rev().find(|running| Some(running.cluster.id) == probe)
        else {
            return assert_eq!(probe, None, "nobody asked for it");
        };
        let ProbeCluster { rate, duration, packets, .. } = running.cluster;
        running.sent += size;
        running.largest = running.largest.max(size);
        let most = rate * (duration + GRAIN) + running.largest * (u64::from(packets) + 2);
        assert!(running.sent <= most, "{} of {:?}", running.sent, running.cluster);
    }
}

/// Results come in the order sent, each packet once; one taken for lost may come again as received.
fn check_results(gone: &mut [Gone], results: &[PacketResult]) {
    assert!(results.is_sorted_by_key(|result| result.sent.number), "out of order");
    for result in results {
        let packet = &mut gone[result.sent.number as usize];
        assert_eq!((packet.at, packet.size), (result.sent.sent, result.sent.size));
        let heard = if result.received.is_some() { Heard::Received } else { Heard::Lost };
        let is_news = match packet.heard {
            Heard::Nothing => true,
            Heard::Lost => heard == Heard::Received,
            Heard::Received => false,
        };
        assert!(is_news, "{heard:?} after {:?}: packet {}", packet.heard, result.sent.number);
        packet.heard = heard;
    }
}
