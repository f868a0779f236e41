//! Plays a room and tells how good it was.
//!
//! The estimator is that of the SFU's downlinks, one for each viewer. In a room of the catalog publishers' uplinks have
//! it, too, as browsers have one; where a scenario is played with tiers, the publisher's uplink is known and ample, so
//! that only downlinks are compared.

use std::sync::Arc;
use std::time::Duration;

use proto::seed::Seed;
use proto::time::Instant;

use super::pictured::Pictured;
use super::tiers;
use super::tiers::Tiers;
use super::{RunError, RunOptions, RunResult};
use crate::baseline::{self, Setup};
use crate::link::DropCause;
use crate::metrics::Metrics;
use crate::metrics::meter::{percentile, share};
use crate::node::Fact;
use crate::packet::{LinkId, Packet, Payload};
use crate::report::goals::OURS;
use crate::report::log::EventLog;
use crate::room::{PersonPlan, RoomPlan, run_room_with, tier_links};
use crate::scenario::Scenario;
use crate::world::{Event, Observer};
use cc::RateLimits;
use proto::units::{Bitrate, DataSize};
use sfu::worker::{DownlinkSettings, EstimatorChoice};

/// What a publisher's estimator may choose: browsers start at 300 kbit/s; three layers take less than 4 Mbit/s.
const LIMITS: RateLimits =
    RateLimits { min: Bitrate::kbps(100), start: Bitrate::kbps(300), max: Bitrate::mbps(5) };

/// How long the oracle knows an uplink to stay as it is: its plan's rate of the beginning counts.
const SPAN: Duration = Duration::from_secs(1);

/// Plays it; the log gets every event.
pub(super) fn play(
    scenario: &Scenario,
    plan: &RoomPlan,
    options: &RunOptions,
    log: Option<EventLog>,
) -> Result<(RunResult, Vec<String>), RunError> {
    let seed = Seed::from_number(options.seed);
    let bottleneck =
        scenario.bottlenecks.first().map(|_| LinkId(tier_links().next().map_or(0, |link| link.0)));
    let uplinks = if bottleneck.is_some() { KNOWN } else { options.estimator.as_str() };
    let setup = |person: &PersonPlan| Setup {
        limits: LIMITS,
        scene: options.scene,
        weight: 1.0,
        share: vec![(Duration::ZERO, uplink(plan, person))],
        seed: seed.fork(&format!("estimator {}", person.client.identity)),
        epoch: options.epoch,
    };
    for person in &plan.people {
        baseline::make(&options.estimator, &setup(person))?; // a name that is unknown is said before anything runs
    }
    let mut meter = RoomMeter::new(scenario, plan, bottleneck, log);
    meter.pictured = options.record.then(|| Pictured::new(plan, bottleneck));
    let estimator = |person: &PersonPlan| baseline::make(uplinks, &setup(person)).ok();
    let downlink = downlink(plan, options, bottleneck);
    let result = run_room_with(plan, options.seed, estimator, downlink, &mut meter);
    let metrics = meter.metrics(plan);
    let log = meter.log.map(EventLog::into_lines).unwrap_or_default();
    let result = RunResult {
        metrics,
        trace_hash: result.trace_hash,
        packets: result.packets,
        violations: result.violations,
        timeline: meter.pictured.map(Pictured::timeline),
    };
    Ok((result, log))
}

/// Who decides for an uplink that is known.
const KNOWN: &str = "oracle";

/// Who decides how much viewers are sent: ours as the product has it, or another in its place.
fn downlink(plan: &RoomPlan, options: &RunOptions, bottleneck: Option<LinkId>) -> DownlinkSettings {
    let settings = DownlinkSettings { scene: options.scene, ..DownlinkSettings::default() };
    if options.estimator == OURS {
        return settings;
    }
    let setup = Setup {
        limits: settings.limits,
        scene: options.scene,
        weight: 1.0,
        share: bottleneck.map(|link| tiers::shares(plan, link)).unwrap_or_default(),
        seed: Seed::from_number(options.seed),
        epoch: options.epoch,
    };
    let name = options.estimator.clone();
    let make = move |seed: &Seed| {
        let setup = Setup { seed: seed.clone(), ..setup.clone() };
        baseline::make(&name, &setup).expect("it was made before anything ran")
    };
    DownlinkSettings { estimator: EstimatorChoice::Custom(Arc::new(make)), ..settings }
}

/// What a person's uplink carries at the beginning.
fn uplink(plan: &RoomPlan, person: &PersonPlan) -> Bitrate {
    let carried = |link: &crate::scenario::LinkIndex| {
        let size = plan.links[link.0].1.capacity(Duration::ZERO, SPAN)?;
        Bitrate::of(size, SPAN)
    };
    person.way.forward.iter().filter_map(carried).min().unwrap_or(LIMITS.max)
}

/// Watches a room for what its metrics are made of, after the warm-up and before the healing.
struct RoomMeter {
    begin: Instant,
    end: Instant,
    bottleneck: Option<LinkId>,
    capacity: Option<DataSize>,
    passed: DataSize,
    waits: Vec<Duration>,
    sent: u64,
    lost: [u64; 3],
    ages: Vec<Duration>,
    frozen: Duration,
    switches: u64,
    log: Option<EventLog>,
    pictured: Option<Pictured>,
    tiers: Option<Tiers>,
}

impl RoomMeter {
    fn new(scenario: &Scenario, plan: &RoomPlan, bottleneck: Option<LinkId>, log: Option<EventLog>) -> Self {
        let capacity = bottleneck.and_then(|link| plan.links.get(link.0));
        Self {
            begin: Instant::ZERO + scenario.warm_up,
            end: Instant::ZERO + plan.duration,
            bottleneck,
            capacity: capacity
                .and_then(|(_, link)| link.capacity(scenario.warm_up, plan.duration))
                .map(|one| one * tier_links().count() as u64),
            passed: DataSize::ZERO,
            waits: Vec::new(),
            sent: 0,
            lost: [0; 3],
            ages: Vec::new(),
            frozen: Duration::ZERO,
            switches: 0,
            log,
            pictured: None,
            tiers: bottleneck.and_then(|link| Tiers::new(plan, link, scenario.warm_up)),
        }
    }

    fn handle_dropped(&mut self, packet: &Packet, cause: DropCause) {
        if matches!(packet.payload, Payload::Datagram(_)) {
            self.lost[super::cause_of(cause)] += 1;
        }
    }

    fn handle_passed(&mut self, link: LinkId, packet: &Packet, queued: Duration) {
        if self.bottleneck.is_some() && tier_links().any(|tier| tier.0 == link.0) {
            self.passed += packet.size;
            self.waits.push(queued);
        }
    }

    fn handle_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::FrameShown { delay, .. } => self.ages.push(*delay),
            Fact::Froze { length, .. } => self.frozen += *length,
            Fact::LayerSwitched { .. } => self.switches += 1,
            Fact::Target { .. }
            | Fact::Phase { .. }
            | Fact::PathClass { .. }
            | Fact::FrameSent { .. }
            | Fact::FrameComplete { .. }
            | Fact::FrameLost { .. }
            | Fact::Violated { .. }
            | Fact::Computed { .. } => {}
        }
    }

    fn metrics(&mut self, plan: &RoomPlan) -> Metrics {
        self.waits.sort_unstable();
        self.ages.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let wait = |at: f64| percentile(&self.waits, at).map(ms);
        let lost = |cause: usize| share(self.lost[cause] as f64, self.sent as f64);
        let shown: usize =
            (0..plan.people.len()).map(|person| plan.pictures_shown(person, plan.duration / 2)).sum();
        let layers = self.tiers.as_ref().map(Tiers::metrics).unwrap_or_default();
        let minutes = self.end.since(self.begin).as_secs_f64() / 60.0 * shown as f64;
        Metrics {
            util: self.capacity.and_then(|all| share(self.passed.as_bytes() as f64, all.as_bytes() as f64)),
            q50_ms: wait(0.50),
            q95_ms: wait(0.95),
            q99_ms: wait(0.99),
            loss: share(self.lost.iter().sum::<u64>() as f64, self.sent as f64),
            loss_random: lost(0),
            loss_overflow: lost(1),
            loss_policer: lost(2),
            frame_p95_ms: percentile(&self.ages, 0.95).map(ms),
            stall_s_per_min: share(self.frozen.as_secs_f64(), minutes),
            switches_per_min: share(self.switches as f64, minutes),
            right_tier_share: layers.right,
            own_freeze_s_per_min: layers.own_freeze_s_per_min,
            padding_share: layers.padding,
            padding_satisfied_share: layers.padding_satisfied,
            ..Metrics::default()
        }
    }
}

impl Observer for RoomMeter {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        if let Some(log) = &mut self.log {
            log.observe(now, event);
        }
        if let Some(pictured) = &mut self.pictured {
            pictured.observe(now, event);
        }
        if let Some(tiers) = &mut self.tiers {
            tiers.observe(now, event);
        }
        if now < self.begin || now >= self.end {
            return;
        }
        match event {
            Event::Sent(packet) => self.sent += u64::from(matches!(packet.payload, Payload::Datagram(_))),
            Event::Dropped { packet, cause, .. } => self.handle_dropped(packet, *cause),
            Event::Passed { link, packet, queued } => self.handle_passed(*link, packet, *queued),
            Event::Fact { fact, .. } => self.handle_fact(fact),
            Event::Delivered(_)
            | Event::Replanned { .. }
            | Event::Spinning(_)
            | Event::WokenLate(_)
            | Event::Flooding(_)
            | Event::Unroutable(_) => {}
        }
    }
}
