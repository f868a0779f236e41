//! Plays a scenario with a contender.

use std::time::Duration;

use proto::scene::Scene;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::Bitrate;

use super::contender::{Contender, Repair};
use super::libwebrtc::Libwebrtc;
use super::planned::{ParityUse, Planned};
use super::receiver::{Receiver, Setup as Receiving};
use super::tally::{Outcome, Tally};
use crate::baseline::{self, Setup};
use crate::node::sender::{Sender, SenderSetup};
use crate::packet::{FlowId, LinkId, NodeId};
use crate::run::RunError;
use crate::scenario::{self, FlowPlan, Kind, LinkIndex, Scenario};
use crate::world::World;

/// Where losses are the matter: those of `sim bench` and a narrower policer.
pub const SCENARIOS: [&str; 12] = [
    "shallow-10",
    "shallow-20",
    "shallow-40",
    "shallow-1m-30",
    "policer-3m",
    POLICER,
    "random-1",
    "random-2",
    "random-5",
    "random-10",
    "gilbert-elliott",
    "feedback-loss-30",
];

/// `policer-3m` with a third of its rate.
pub(super) const POLICER: &str = "policer-1m";
const POLICED: Bitrate = Bitrate::mbps(1);

/// A key picture is as large as so many others.
const KEY_FACTOR: f64 = 4.0;

/// How to play.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What people do, which the hybrid and the plan go by.
    pub scene: Scene,
    /// The seed: all chance of the run comes from it.
    pub seed: u64,
    /// The standard library's name for the run's beginning, for libraries that want such a one.
    pub epoch: std::time::Instant,
}

/// The scenario of that name as it is played here: key pictures are larger than others.
pub fn scenario(name: &str) -> Option<Scenario> {
    let mut found = if name == POLICER { policer() } else { scenario::find(name) }?;
    for flow in &mut found.flows {
        flow.camera.key_factor = KEY_FACTOR;
    }
    Some(found)
}

fn policer() -> Option<Scenario> {
    let mut found = scenario::find("policer-3m")?;
    POLICER.clone_into(&mut found.name);
    "a policer of 1 Mbit/s and 30 kB before a fast link".clone_into(&mut found.about);
    for policer in found.links.iter_mut().filter_map(|(_, plan)| plan.policer.as_mut()) {
        policer.rate = POLICED;
    }
    Some(found)
}

/// Plays a scenario of one flow once.
pub fn play(scenario: &Scenario, contender: &Contender, options: Options) -> Result<Outcome, RunError> {
    let unsuitable = |reason| RunError::Unsuitable {
        scenario: scenario.name.clone(),
        estimator: contender.to_string(),
        reason,
    };
    let [flow] = &scenario.flows[..] else { return Err(unsuitable("it has not one flow")) };
    if scenario.kind != Kind::Flows || !scenario.cross.is_empty() {
        return Err(unsuitable("there are others on its links"));
    }
    let seed = Seed::from_number(options.seed);
    let mut world = World::new(seed.fork("world"), Tally::new(Instant::ZERO + scenario.warm_up));
    for (_, plan) in &scenario.links {
        world.add_link(plan.clone());
    }
    for (at, link, plan) in &scenario.changes {
        world.change_link(Instant::ZERO + *at, LinkId(link.0), plan.clone());
    }
    let (sender, receiver) = (NodeId(0), NodeId(1));
    world.add_node(Box::new(sending(flow, contender, options, &seed)?));
    let receiving =
        Receiving { flow: FlowId(0), sender, plan: flow.feedback, rtt: round_trip(scenario, flow) };
    world.add_node(Box::new(Receiver::new(receiving, &seed.fork("receiver"))));
    world.add_route(sender, receiver, &links(&flow.way.forward));
    world.add_route(receiver, sender, &links(&flow.way.backward));
    let end = Instant::ZERO + scenario.duration;
    world.run_until(end);
    Ok(world.into_observer().outcome(end))
}

fn sending(
    flow: &FlowPlan,
    contender: &Contender,
    options: Options,
    seed: &Seed,
) -> Result<Sender, RunError> {
    let setup = Setup {
        limits: flow.limits,
        scene: options.scene,
        weight: flow.weight,
        share: Vec::new(),
        seed: seed.fork("estimator"),
        epoch: options.epoch,
    };
    let estimator = baseline::make(&contender.estimator, &setup)?;
    let plan = FlowPlan { repair: true, ..flow.clone() };
    let setup = SenderSetup { flow: FlowId(0), receiver: NodeId(1), plan, stopwatch: None };
    let sender = Sender::new(setup, estimator, &seed.fork("sender"));
    let share = contender.share();
    let planned = |parity| Planned::new(options.scene, flow.limits.start, parity).within(share);
    Ok(match contender.repair {
        Repair::Plan => sender.protected(Box::new(planned(ParityUse::Planned))),
        Repair::Libwebrtc => sender.protected(Box::new(Libwebrtc::default().within(share))),
        Repair::Nack => sender.protected(Box::new(planned(ParityUse::Never))),
    })
}

/// What the flow's links delay packets by, there and back.
fn round_trip(scenario: &Scenario, flow: &FlowPlan) -> Duration {
    let links = flow.way.forward.iter().chain(&flow.way.backward);
    links.filter_map(|link| scenario.links.get(link.0)).map(|(_, plan)| plan.delay).sum()
}

fn links(links: &[LinkIndex]) -> Vec<LinkId> {
    links.iter().map(|link| LinkId(link.0)).collect()
}
