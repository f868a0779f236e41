//! Sets the stage: makes a world of a scenario.

use std::time::Duration;

use proto::seed::Seed;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::others::{self, Place};
use super::{RunError, RunOptions, Watch, share};
use crate::baseline::{self, Setup};
use crate::checker::Asked;
use crate::link::LinkPlan;
use crate::link::plan::{Depth, Loss, Queue, Rate};
use crate::media::playout::Decoding;
use crate::metrics::capacity::Capacity;
use crate::node::receiver::{Receiver, ReceiverSetup};
use crate::node::sender::{Sender, SenderSetup};
use crate::packet::{FlowId, LinkId, NodeId};
use crate::report::goals::OURS;
use crate::scenario::{CrossPlan, LinkIndex, Scenario, Way};
use crate::world::World;

/// The flows of TCP: cross traffic is numbered behind the media flows.
pub(super) fn tcp_flows(scenario: &Scenario) -> Vec<FlowId> {
    let is_tcp = |cross: &CrossPlan| matches!(cross, CrossPlan::Bulk { .. } | CrossPlan::Web { .. });
    let numbered = scenario.cross.iter().enumerate().filter(|(_, cross)| is_tcp(cross));
    numbered.map(|(number, _)| cross_flow(scenario, number)).collect()
}

fn cross_flow(scenario: &Scenario, number: usize) -> FlowId {
    FlowId((scenario.flows.len() + number) as u32)
}

/// A world with everybody in place.
pub(super) fn set(scenario: &Scenario, options: &RunOptions, watch: Watch) -> Result<World<Watch>, RunError> {
    let seed = Seed::from_number(options.seed);
    let mut world = World::new(seed.fork("world"), watch);
    for (_, plan) in &scenario.links {
        world.add_link(plan.clone());
    }
    for (at, link, plan) in &scenario.changes {
        world.change_link(Instant::ZERO + *at, LinkId(link.0), plan.clone());
    }
    let shares = share::shares(scenario);
    for (number, (plan, share)) in scenario.flows.iter().zip(shares).enumerate() {
        let (flow, own) = (FlowId(number as u32), seed.fork(&format!("flow {number}")));
        let setup = Setup {
            limits: plan.limits,
            scene: options.scene,
            weight: plan.weight,
            share,
            seed: own.fork("estimator"),
            epoch: options.epoch,
        };
        let estimator = baseline::make(&options.estimator, &setup)?;
        let (sender, receiver) = (NodeId(2 * number), NodeId(2 * number + 1));
        let sending = SenderSetup { flow, receiver, plan: plan.clone(), stopwatch: options.stopwatch };
        world.add_node(Box::new(Sender::new(sending, estimator, &own.fork("sender"))));
        let decoding = if plan.repair { Decoding::Chained } else { Decoding::Standalone };
        let receiving = ReceiverSetup { flow, sender, plan: plan.feedback, repair: plan.repair, decoding };
        world.add_node(Box::new(Receiver::new(receiving, &own.fork("receiver"))));
        route(&mut world, sender, receiver, &plan.way);
    }
    for (number, cross) in scenario.cross.iter().enumerate() {
        let place = Place {
            flow: cross_flow(scenario, number),
            seed: &seed.fork(&format!("cross {number}")),
            epoch: options.epoch,
            end: scenario.duration,
        };
        others::add(&mut world, cross, &place);
    }
    heal(&mut world, scenario);
    Ok(world)
}

/// Both directions of a way between two nodes.
pub(super) fn route(world: &mut World<Watch>, from: NodeId, to: NodeId, way: &Way) {
    world.add_route(from, to, &link_ids(&way.forward));
    world.add_route(to, from, &link_ids(&way.backward));
}

/// The world numbers links as the scenario does.
pub(super) fn link_ids(links: &[LinkIndex]) -> Vec<LinkId> {
    links.iter().map(|link| LinkId(link.0)).collect()
}

/// When the scenario is over every link works without faults, at its first rate.
fn heal(world: &mut World<Watch>, scenario: &Scenario) {
    let at = Instant::ZERO + scenario.duration;
    for (number, (_, plan)) in scenario.links.iter().enumerate() {
        world.change_link(at, LinkId(number), healed(plan));
    }
}

/// What is asked of an estimator when the network has healed.
pub(super) fn asked(scenario: &Scenario, estimator: &str) -> Asked {
    if !baseline::adapts(estimator) {
        return Asked::Pictures;
    }
    let carried = healed_rate(scenario);
    let is_ceiled = scenario.links.iter().any(|(_, plan)| has_ceiling(plan));
    if estimator == OURS && !is_ceiled { Asked::Nearly(carried) } else { Asked::Half(carried) }
}

/// What media flows can use of the healed network.
/// Whether a link drops without much of a queue: what was learnt of it is tried anew only each half minute.
fn has_ceiling(plan: &LinkPlan) -> bool {
    plan.policer.is_some() || matches!(plan.queue, Queue::DropTail(Depth::Time(depth)) if depth < SHALLOW)
}

fn healed_rate(scenario: &Scenario) -> Bitrate {
    let mut after = Scenario { changes: Vec::new(), ..scenario.clone() };
    for (_, plan) in &mut after.links {
        *plan = healed(plan);
    }
    let end = scenario.duration.saturating_sub(Duration::from_secs(1));
    after.cross.clear();
    let capacity = Capacity::of(&after, Duration::from_secs(1));
    let last = (end.as_secs() as usize).min(capacity.spans().saturating_sub(1));
    let shares = (0..after.flows.len()).map(|flow| DataSize::bytes(capacity.share(flow, last)));
    Bitrate::of(shares.sum(), Duration::from_secs(1)).unwrap_or_default()
}

/// A queue of less overflows before it is too long for a conversation.
const SHALLOW: Duration = Duration::from_millis(60);

/// A healed link's queue: deep enough for what an estimator overshoots by.
const HEALED_QUEUE: Duration = Duration::from_secs(1);

/// A plan without its faults.
fn healed(plan: &LinkPlan) -> LinkPlan {
    let rate = match &plan.rate {
        Rate::Steps(steps) => {
            Rate::Constant(steps.iter().map(|(_, rate)| *rate).max().unwrap_or(Bitrate::mbps(1)))
        }
        Rate::Wifi(channel) => Rate::Constant(channel.rate),
        Rate::Opportunities(_) | Rate::Lte(_) => Rate::Constant(Bitrate::mbps(10)),
        Rate::Unlimited | Rate::Constant(_) => plan.rate.clone(),
    };
    LinkPlan {
        rate,
        queue: Queue::DropTail(Depth::Time(HEALED_QUEUE)),
        policer: None,
        stalls: None,
        outages: Vec::new(),
        loss: Loss::None,
        jitter: None,
        ..plan.clone()
    }
}
