//! `Meter`: watches a run and keeps what metrics and plots are made of, in spans of [`SPAN`].
//!
//! In: events. Out: [`Meter::metrics`], [`Meter::timeline`]. What happens after the scenario's end (healing) is not
//! counted. Limit: memory grows with the run's length, by some bytes a packet.

use std::collections::BTreeMap;
use std::time::Duration;

use cc::PacketClass;
use proto::time::Instant;

use super::capacity::Capacity;
use super::{Metrics, rates, stalls};
use crate::checker::HEALING;
use crate::link::DropCause;
use crate::node::Fact;
use crate::packet::{FlowId, LinkId, Packet, Payload};
use crate::run::cause_of;
use crate::scenario::Scenario;
use crate::timeline::{FlowTimeline, SPAN_MS, Timeline, Transition};
use crate::world::{Event, Observer};

/// The spans in which bytes are counted.
pub(crate) const SPAN: Duration = Duration::from_millis(SPAN_MS);

/// Without a deadline, a picture that is not complete after this long never will be...
const SETTLED: Duration = Duration::from_secs(2);

/// ... and no age is too great.
const NEVER: Duration = Duration::MAX;

/// What became of a picture.
#[derive(Debug, Clone, Copy)]
struct Picture {
    made: Instant,
    /// Whether a packet of it was lost on its way.
    hit: bool,
    /// When it was complete, and how old.
    complete: Option<(Instant, Duration)>,
}

/// What became of one flow's packets and pictures.
#[derive(Debug, Default)]
pub(super) struct FlowMeter {
    /// Bytes sent a span.
    pub(super) sent: Vec<u64>,
    /// Bytes that reached the receiver a span, and for [`HEALING`] after the scenario's end.
    pub(super) received: Vec<u64>,
    /// Packets lost a span: by the loss model or an outage, in a queue, by a policer.
    pub(super) lost: [Vec<u32>; 3],
    /// The target at the end of each span, bits a second.
    pub(super) target: Vec<u64>,
    pub(super) states: Vec<(f64, &'static str)>,
    transitions: Vec<Transition>,
    classes: Vec<(f64, &'static str)>,
    /// When pictures were complete, and whether by repair.
    pub(super) complete: Vec<(Instant, bool)>,
    /// What became of each picture, by its number.
    pictures: Vec<Option<Picture>>,
    pub(super) freezes: Vec<(f64, f64)>,
    /// After the warm-up.
    packets: u64,
    /// After the warm-up, by cause as in `lost`.
    losses: [u64; 3],
    bytes: BTreeMap<PacketClass, u64>,
    bytes_received: BTreeMap<PacketClass, u64>,
    computed: (u64, u64),
    switches: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Meter {
    capacity: Capacity,
    warm_up: Instant,
    end: Instant,
    bottlenecks: Vec<LinkId>,
    names: Vec<String>,
    pub(super) flows: Vec<FlowMeter>,
    tcp: Vec<FlowId>,
    /// Bytes a span that each bottleneck passed: of media flows, of TCP, of others.
    passed: Vec<[Vec<u64>; 3]>,
    /// The greatest queue delay a span at a bottleneck, over all packets.
    queue: Vec<Duration>,
    /// Queue delays of media packets at bottlenecks after the warm-up, in microseconds.
    waits: Vec<u32>,
    deadline: Option<Duration>,
}

impl Meter {
    /// A meter for a scenario's run, in which `tcp` are the flows of TCP.
    pub(crate) fn new(scenario: &Scenario, tcp: Vec<FlowId>) -> Self {
        let capacity = Capacity::of(scenario, SPAN);
        let spans = capacity.spans();
        let healing = (HEALING.as_nanos() / SPAN.as_nanos()) as usize;
        Self {
            capacity,
            warm_up: Instant::ZERO + scenario.warm_up,
            end: Instant::ZERO + scenario.duration,
            bottlenecks: scenario.bottlenecks.iter().map(|link| LinkId(link.0)).collect(),
            names: scenario.flows.iter().map(|flow| flow.name.clone()).collect(),
            flows: scenario.flows.iter().map(|_| FlowMeter::new(spans, healing)).collect(),
            tcp,
            passed: vec![[vec![0; spans], vec![0; spans], vec![0; spans]]; scenario.bottlenecks.len()],
            queue: vec![Duration::ZERO; spans],
            waits: Vec::new(),
            deadline: scenario.deadline,
        }
    }

    fn handle_sent(&mut self, now: Instant, packet: &Packet) {
        let (Some(flow), Payload::Media(media)) =
            (self.flows.get_mut(packet.flow.0 as usize), &packet.payload)
        else {
            return;
        };
        add(&mut flow.sent, now, packet.size.as_bytes());
        if now >= self.warm_up {
            flow.packets += 1;
            *flow.bytes.entry(media.class).or_default() += packet.size.as_bytes();
        }
    }

    fn handle_dropped(&mut self, now: Instant, packet: &Packet, cause: DropCause) {
        let (Some(flow), Payload::Media(media)) =
            (self.flows.get_mut(packet.flow.0 as usize), &packet.payload)
        else {
            return;
        };
        let cause = cause_of(cause);
        if let Some(span) = flow.lost[cause].get_mut(span_of(now)) {
            *span += 1;
        }
        if packet.sent >= self.warm_up {
            flow.losses[cause] += 1;
        }
        if let Some(part) = media.part
            && let Some(Some(picture)) = flow.pictures.get_mut(part.frame as usize)
        {
            picture.hit = true;
        }
    }

    fn handle_passed(&mut self, now: Instant, link: LinkId, packet: &Packet, queued: Duration) {
        let Some(bottleneck) = self.bottlenecks.iter().position(|other| *other == link) else { return };
        let own = (packet.flow.0 as usize) < self.flows.len() && matches!(packet.payload, Payload::Media(_));
        let kind = if own {
            0
        } else if self.tcp.contains(&packet.flow) {
            1
        } else {
            2
        };
        add(&mut self.passed[bottleneck][kind], now, packet.size.as_bytes());
        if let Some(most) = self.queue.get_mut(span_of(now)) {
            *most = (*most).max(queued);
        }
        if own && now >= self.warm_up {
            self.waits.push(queued.as_micros() as u32);
        }
    }

    fn handle_delivered(&mut self, now: Instant, packet: &Packet) {
        let (Some(flow), Payload::Media(media)) =
            (self.flows.get_mut(packet.flow.0 as usize), &packet.payload)
        else {
            return;
        };
        add(&mut flow.received, now, packet.size.as_bytes());
        if (self.warm_up..self.end).contains(&now) {
            *flow.bytes_received.entry(media.class).or_default() += packet.size.as_bytes();
        }
    }

    fn handle_fact(&mut self, now: Instant, fact: &Fact) {
        let seconds = now.as_nanos() as f64 / 1e9;
        let Some(flow) = self.flows.get_mut(fact.flow().0 as usize) else { return };
        match *fact {
            Fact::Target { rate, state, .. } => {
                if let Some(target) = flow.target.get_mut(span_of(now)) {
                    *target = rate.as_bps();
                }
                if flow.states.last().is_none_or(|(_, last)| *last != state) {
                    flow.states.push((seconds, state));
                }
            }
            Fact::Phase { from, to, reason, .. } => {
                flow.transitions.push(Transition { at: seconds, from, to, reason });
            }
            Fact::PathClass { class, .. } => flow.classes.push((seconds, class.name())),
            Fact::FrameSent { frame, .. } => {
                let number = frame as usize;
                flow.pictures.resize(flow.pictures.len().max(number + 1), None);
                flow.pictures[number] = Some(Picture { made: now, hit: false, complete: None });
            }
            Fact::FrameComplete { frame, delay, repaired, .. } => {
                flow.complete.push((now, repaired));
                if let Some(Some(picture)) = flow.pictures.get_mut(frame as usize) {
                    picture.complete = Some((now, delay));
                }
            }
            Fact::Froze { length, .. } => flow.freezes.push((seconds - length.as_secs_f64(), seconds)),
            Fact::LayerSwitched { .. } => flow.switches += 1,
            Fact::Computed { packets, nanos, .. } => {
                flow.computed.0 += packets;
                flow.computed.1 += nanos;
            }
            Fact::FrameLost { .. } | Fact::FrameShown { .. } | Fact::Violated { .. } => {}
        }
    }

    /// The run's numbers.
    pub(crate) fn metrics(&mut self, scenario: &Scenario) -> Metrics {
        let from = span_of(self.warm_up);
        for flow in &mut self.flows {
            fill_forward(&mut flow.target);
        }
        let mut metrics = Metrics::default();
        self.fill_shares(&mut metrics, from);
        self.fill_losses(&mut metrics);
        self.fill_delays(&mut metrics);
        let minutes = scenario.duration.saturating_sub(scenario.warm_up).as_secs_f64() / 60.0;
        metrics.stall_s_per_min = stalls::seconds_per_minute(scenario, &self.flows, self.warm_up, |_| true);
        metrics.stall_before_repair_s_per_min =
            stalls::seconds_per_minute(scenario, &self.flows, self.warm_up, |repaired| !repaired);
        rates::fill(&mut metrics, scenario, &self.flows, &self.capacity);
        if !self.flows.is_empty() && minutes > 0.0 {
            let switches: u64 = self.flows.iter().map(|flow| flow.switches).sum();
            metrics.switches_per_min = Some(switches as f64 / minutes / self.flows.len() as f64);
        }
        metrics
    }

    fn fill_shares(&self, metrics: &mut Metrics, from: usize) {
        metrics.util = self.utilization(from);
        if !self.tcp.is_empty() {
            let spans: Vec<usize> =
                (from..self.capacity.spans()).filter(|span| self.carried(1, *span) > 0).collect();
            let sum = |of: &dyn Fn(usize) -> u64| spans.iter().map(|span| of(*span)).sum::<u64>() as f64;
            let raw = sum(&|span| self.capacity.raw(span));
            metrics.tcp_share = share(sum(&|span| self.carried(1, span)), raw);
            metrics.own_share = share(sum(&|span| self.carried(0, span)), raw);
        }
        let total = |pick: fn(&FlowMeter) -> &BTreeMap<PacketClass, u64>, class: Option<PacketClass>| {
            let of = |bytes: &BTreeMap<PacketClass, u64>| match class {
                Some(class) => bytes.get(&class).copied().unwrap_or(0),
                None => bytes.values().sum(),
            };
            self.flows.iter().map(|flow| of(pick(flow))).sum::<u64>() as f64
        };
        let sent = total(|flow| &flow.bytes, None);
        metrics.padding_share = share(total(|flow| &flow.bytes, Some(PacketClass::Padding)), sent);
        metrics.redundancy_share = share(total(|flow| &flow.bytes, Some(PacketClass::Repair)), sent);
        let received = |class| total(|flow| &flow.bytes_received, class);
        let media = [PacketClass::Audio, PacketClass::Base, PacketClass::Video];
        let media: f64 = media.into_iter().map(|class| received(Some(class))).sum();
        metrics.media_share = share(media, received(None));
    }

    /// What bottlenecks passed of one kind of traffic in a span.
    fn carried(&self, kind: usize, span: usize) -> u64 {
        self.passed.iter().map(|passed| passed[kind][span]).sum()
    }

    /// What media got of what it could, second by second: who takes more than is left in one second has not used
    /// another one.
    fn utilization(&self, from: usize) -> Option<f64> {
        let (mut used, mut free) = (0, 0);
        let second = (1_000 / SPAN_MS) as usize;
        for (link, passed) in self.capacity.links().iter().zip(&self.passed) {
            let sums = |spans: &[u64]| -> Vec<u64> {
                spans.get(from..).unwrap_or_default().chunks(second).map(|spans| spans.iter().sum()).collect()
            };
            for (own, media) in sums(&passed[0]).into_iter().zip(sums(&link.media)) {
                used += own.min(media);
                free += media;
            }
        }
        share(used as f64, free as f64)
    }

    fn fill_losses(&self, metrics: &mut Metrics) {
        let packets: u64 = self.flows.iter().map(|flow| flow.packets).sum();
        let lost = |cause: usize| self.flows.iter().map(|flow| flow.losses[cause]).sum::<u64>() as f64;
        let of_sent = |lost: f64| share(lost, packets as f64);
        metrics.loss = of_sent(lost(0) + lost(1) + lost(2));
        metrics.loss_random = of_sent(lost(0));
        metrics.loss_overflow = of_sent(lost(1));
        metrics.loss_policer = of_sent(lost(2));
        let pictures: Vec<&Picture> = self.pictures().collect();
        let hit = pictures.iter().filter(|picture| picture.hit).count();
        metrics.frames_hit = share(hit as f64, pictures.len() as f64);
        let nanos: u64 = self.flows.iter().map(|flow| flow.computed.1).sum();
        let computed: u64 = self.flows.iter().map(|flow| flow.computed.0).sum();
        metrics.cpu_ns_per_packet = share(nanos as f64, computed as f64);
    }

    fn fill_delays(&mut self, metrics: &mut Metrics) {
        self.waits.sort_unstable();
        let wait = |share: f64| percentile(&self.waits, share).map(|micros| f64::from(micros) / 1e3);
        (metrics.q50_ms, metrics.q95_ms, metrics.q99_ms) = (wait(0.50), wait(0.95), wait(0.99));
        let ages = self.pictures().filter_map(|picture| picture.complete.map(|(_, age)| age));
        let mut ages: Vec<Duration> = ages.collect();
        ages.sort_unstable();
        metrics.frame_p95_ms = percentile(&ages, 0.95).map(|age| age.as_secs_f64() * 1e3);
        let late = self.deadline.unwrap_or(NEVER);
        let due: Vec<&Picture> = self
            .pictures()
            .filter(|picture| picture.made + self.deadline.unwrap_or(SETTLED) < self.end)
            .collect();
        let missed = due.iter().filter(|picture| picture.complete.is_none_or(|(_, age)| age > late)).count();
        metrics.frames_missed = share(missed as f64, due.len() as f64);
    }

    /// The pictures made after the warm-up.
    fn pictures(&self) -> impl Iterator<Item = &Picture> {
        let all = self.flows.iter().flat_map(|flow| flow.pictures.iter().flatten());
        all.filter(|picture| picture.made >= self.warm_up)
    }

    /// What the run looked like.
    pub(crate) fn timeline(&self) -> Timeline {
        let spans = self.capacity.spans();
        let mbps = |bytes: &u64| *bytes as f64 * 8.0 / SPAN.as_secs_f64() / 1e6;
        let flow = |(flow, name): (&FlowMeter, &String)| FlowTimeline {
            name: name.clone(),
            target: flow.target.iter().map(|bits| *bits as f64 / 1e6).collect(),
            sent: flow.sent.iter().map(mbps).collect(),
            received: flow.received.iter().take(spans).map(mbps).collect(),
            lost_random: flow.lost[0].clone(),
            lost_overflow: flow.lost[1].clone(),
            lost_policer: flow.lost[2].clone(),
            states: flow.states.clone(),
            transitions: flow.transitions.clone(),
            classes: flow.classes.clone(),
            frames: flow
                .pictures
                .iter()
                .flatten()
                .filter_map(|picture| picture.complete)
                .map(|(at, age)| (at.as_nanos() as f64 / 1e9, age.as_secs_f64() * 1e3))
                .collect(),
            freezes: flow.freezes.clone(),
        };
        Timeline {
            capacity: (0..spans).map(|span| mbps(&self.capacity.raw(span))).collect(),
            queue_ms: self.queue.iter().map(|queue| queue.as_secs_f64() * 1e3).collect(),
            others: (0..spans).map(|span| mbps(&(self.carried(1, span) + self.carried(2, span)))).collect(),
            flows: self.flows.iter().zip(&self.names).map(flow).collect(),
        }
    }
}

impl FlowMeter {
    /// What arrives is counted while the network heals, too.
    fn new(spans: usize, healing: usize) -> Self {
        Self {
            sent: vec![0; spans],
            received: vec![0; spans + healing],
            lost: [vec![0; spans], vec![0; spans], vec![0; spans]],
            target: vec![0; spans],
            ..Self::default()
        }
    }
}

impl Observer for Meter {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        if now >= self.end {
            if let Event::Delivered(packet) = event {
                self.handle_delivered(now, packet);
            }
            return;
        }
        match event {
            Event::Sent(packet) => self.handle_sent(now, packet),
            Event::Dropped { packet, cause, .. } => self.handle_dropped(now, packet, *cause),
            Event::Passed { link, packet, queued } => self.handle_passed(now, *link, packet, *queued),
            Event::Delivered(packet) => self.handle_delivered(now, packet),
            Event::Fact { fact, .. } => self.handle_fact(now, fact),
            Event::Replanned { .. }
            | Event::Spinning(_)
            | Event::WokenLate(_)
            | Event::Flooding(_)
            | Event::Unroutable(_) => {}
        }
    }
}

/// Which span a time lies in.
pub(crate) fn span_of(at: Instant) -> usize {
    (at.as_nanos() / SPAN.as_nanos() as u64) as usize
}

fn add(spans: &mut [u64], now: Instant, bytes: u64) {
    if let Some(span) = spans.get_mut(span_of(now)) {
        *span += bytes;
    }
}

/// A target holds until the next one is said.
fn fill_forward(target: &mut [u64]) {
    let mut last = 0;
    for value in target {
        if *value == 0 {
            *value = last;
        }
        last = *value;
    }
}

/// A part of a whole; `None` if there is no whole.
pub(crate) fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The value below which `share` of the sorted values lie (nearest rank).
pub(crate) fn percentile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
