//! A path for the tests of estimators: a pacer, a bottleneck with a drop-tail queue, a delay, feedback each 50 ms.
//!
//! Smaller than the simulator on purpose: if both say the same of an estimator, neither is likely to be wrong.

use core::time::Duration;

use cc::{Ecn, Estimator, PacketClass, PacketResult, ProbeCluster, SentPacket};
use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

const PACKET: DataSize = DataSize::bytes(1_200);
const FRAME: Duration = Duration::from_nanos(33_333_333);
const REPORT: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(super) struct Path {
    /// From when on it carries how much, ascending, the first from the beginning.
    pub(super) capacity: Vec<(Duration, Bitrate)>,
    /// How long the longest queue takes to send.
    pub(super) queue: Duration,
    /// One way.
    pub(super) delay: Duration,
    /// Standard deviation of what the path adds after the bottleneck, cut at three times that, without reordering.
    pub(super) jitter: Duration,
    /// What the application has to send at most.
    pub(super) demand: Option<Bitrate>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// The target after each report.
    pub(super) rates: Vec<(Instant, Bitrate)>,
    /// What arrived after the first five seconds, over the capacity.
    pub(super) utilization: f64,
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) probes: u64,
    pub(super) queue_p95: Duration,
}

impl Outcome {
    /// The mean target between two points in time, in seconds.
    pub(super) fn rate_between(&self, from: u64, to: u64) -> f64 {
        let within = |at: &Instant| {
            *at >= Instant::from_millis(from * 1_000) && *at < Instant::from_millis(to * 1_000)
        };
        let rates: Vec<f64> =
            self.rates.iter().filter(|(at, _)| within(at)).map(|(_, rate)| rate.as_bps() as f64).collect();
        rates.iter().sum::<f64>() / rates.len() as f64
    }
}

struct Play<'a> {
    path: &'a Path,
    chance: Chance,
    now: Instant,
    /// What the encoder has made and the pacer has not sent, bytes.
    backlog: f64,
    /// When the pacer has caught up with what it sent.
    paced_until: Instant,
    probe: Option<(ProbeCluster, DataSize, u32)>,
    waiting_probes: Vec<ProbeCluster>,
    bottleneck_free: Instant,
    last_arrival: Instant,
    /// Those not reported yet, in order.
    flying: Vec<PacketResult>,
    queues: Vec<Duration>,
    arrived: DataSize,
    carried: f64,
    outcome: Outcome,
}

impl Path {
    /// A link of the reference's harness, without its jitter: 300 ms of queue, 25 ms one way.
    pub(super) fn new(capacity: Bitrate) -> Self {
        Self {
            capacity: vec![(Duration::ZERO, capacity)],
            queue: Duration::from_millis(300),
            delay: Duration::from_millis(25),
            jitter: Duration::ZERO,
            demand: None,
        }
    }

    /// The same with the jitter of that harness.
    pub(super) fn jittery(capacity: Bitrate) -> Self {
        Self { jitter: Duration::from_millis(5), ..Self::new(capacity) }
    }

    /// Lets `estimator` send over this path.
    pub(super) fn play(&self, estimator: &mut dyn Estimator, length: Duration) -> Outcome {
        let mut play = Play::new(self);
        let end = Instant::ZERO + length;
        let (mut frame, mut report) = (Instant::ZERO, Instant::ZERO + REPORT);
        loop {
            let wakes = [
                Some(frame),
                Some(report + self.delay),
                estimator.poll_timeout(),
                play.pacer_wake(estimator),
            ];
            play.now = wakes.into_iter().flatten().min().expect("frames go on").max(play.now);
            if play.now >= end {
                return play.finish();
            }
            if play.now >= frame {
                play.make_frame(estimator);
                frame += FRAME;
            }
            play.send(estimator);
            if play.now >= report + self.delay {
                play.report(estimator, report);
                report += REPORT;
            }
            if estimator.poll_timeout().is_some_and(|at| at <= play.now) {
                estimator.handle_timeout(play.now);
                assert!(
                    estimator.poll_timeout().is_none_or(|at| at > play.now),
                    "it wants to wake in the past"
                );
            }
            while let Some(probe) = estimator.poll_probe() {
                play.waiting_probes.push(probe);
                play.outcome.probes += 1;
            }
        }
    }

    fn capacity_at(&self, at: Instant) -> Bitrate {
        let since = self.capacity.partition_point(|(from, _)| Instant::ZERO + *from <= at);
        self.capacity[since - 1].1
    }
}

impl<'a> Play<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            chance: Seed::from_number(7).fork("path").generator(),
            now: Instant::ZERO,
            backlog: 0.0,
            paced_until: Instant::ZERO,
            probe: None,
            waiting_probes: Vec::new(),
            bottleneck_free: Instant::ZERO,
            last_arrival: Instant::ZERO,
            flying: Vec::new(),
            queues: Vec::new(),
            arrived: DataSize::ZERO,
            carried: 0.0,
            outcome: Outcome::default(),
        }
    }

    fn make_frame(&mut self, estimator: &dyn Estimator) {
        let rate = estimator.target().rate;
        let rate = self.path.demand.map_or(rate, |demand| rate.min(demand));
        let variation = 0.95 + 0.1 * self.uniform();
        self.backlog += (rate * FRAME).scaled(variation).as_bytes() as f64;
    }

    fn uniform(&mut self) -> f64 {
        f64::from(self.chance.number()) / f64::from(u32::MAX)
    }

    /// When the next packet may leave.
    fn pacer_wake(&self, estimator: &dyn Estimator) -> Option<Instant> {
        let probing = self.probe.is_some();
        let burst = if probing { Duration::ZERO } else { estimator.target().burst };
        (probing || self.backlog >= PACKET.as_bytes() as f64).then(|| self.paced_until - burst)
    }

    fn send(&mut self, estimator: &mut dyn Estimator) {
        if self.probe.is_none() && !self.waiting_probes.is_empty() && self.outcome.sent > 0 {
            self.probe = Some((self.waiting_probes.remove(0), DataSize::ZERO, 0));
        }
        while self.pacer_wake(estimator).is_some_and(|at| at <= self.now) {
            let full = self.backlog >= PACKET.as_bytes() as f64;
            self.backlog = (self.backlog - PACKET.as_bytes() as f64).max(0.0);
            let probe = self.probe.map(|(cluster, ..)| cluster);
            let pace = probe.map_or(estimator.target().pacing, |cluster| cluster.rate);
            self.paced_until = self.paced_until.max(self.now) + PACKET / pace;
            self.count_probe();
            let packet = SentPacket {
                number: self.outcome.sent,
                size: PACKET,
                sent: self.now,
                class: if full { PacketClass::Video } else { PacketClass::Padding },
                probe: probe.map(|cluster| cluster.id),
                in_flight: self.flying.iter().map(|result| result.sent.size).sum(),
                app_limited: false,
            };
            self.outcome.sent += 1;
            estimator.handle_sent(self.now, &packet);
            self.cross(packet);
        }
    }

    fn count_probe(&mut self) {
        let Some((cluster, size, packets)) = &mut self.probe else { return };
        *size += PACKET;
        *packets += 1;
        if *size >= cluster.rate * cluster.duration && *packets >= cluster.packets {
            self.probe = None;
        }
    }

    fn cross(&mut self, sent: SentPacket) {
        let queued = self.bottleneck_free.since(self.now);
        let mut received = None;
        if queued <= self.path.queue {
            let starts = self.bottleneck_free.max(self.now);
            self.bottleneck_free = starts + PACKET / self.path.capacity_at(starts);
            // Four uniform numbers make a bell of variance 1/3.
            let bell = (0..4).map(|_| self.uniform() - 0.5).sum::<f64>() * 3f64.sqrt();
            let late = self.path.jitter.mul_f64((bell.clamp(-3.0, 3.0) + 3.0).max(0.0));
            let arrival = (self.bottleneck_free + self.path.delay + late).max(self.last_arrival);
            self.last_arrival = arrival;
            received = Some(arrival);
            self.queues.push(queued);
        }
        self.flying.push(PacketResult { sent, received, ecn: Ecn::NotCapable });
    }

    /// The report that the receiver made at `at` arrives.
    fn report(&mut self, estimator: &mut dyn Estimator, at: Instant) {
        let seen =
            self.flying.iter().rposition(|result| result.received.is_some_and(|received| received <= at));
        let count = seen.map_or(0, |last| last + 1);
        let results: Vec<PacketResult> = self.flying.drain(..count).collect();
        for result in &results {
            match result.received {
                Some(received) if received >= Instant::from_millis(5_000) => self.arrived += result.sent.size,
                Some(_) => {}
                None => self.outcome.lost += 1,
            }
        }
        if at >= Instant::from_millis(5_000) {
            self.carried += self.path.capacity_at(at).as_bps() as f64 * REPORT.as_secs_f64();
        }
        if !results.is_empty() {
            estimator.handle_feedback(self.now, &results);
        }
        self.outcome.rates.push((self.now, estimator.target().rate));
    }

    fn finish(mut self) -> Outcome {
        self.queues.sort_unstable();
        self.outcome.utilization = self.arrived.as_bits() as f64 / self.carried;
        self.outcome.queue_p95 = self.queues.get(self.queues.len() * 95 / 100).copied().unwrap_or_default();
        self.outcome
    }
}
