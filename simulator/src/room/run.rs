//! Plays a room: builds its world, lets it run, heals the network, and sees whether everybody recovers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cc::Estimator;
use proto::ids::RoomName;
use proto::seed::Seed;
use proto::signal::Source;
use proto::time::Instant;
use sfu::worker::{DownlinkSettings, Grant};

use super::checker::{MOVING, RoomChecker};
use super::tally::Tallies;
use super::{Person, PersonPlan, RoomPlan, SERVER, SIGNAL_DELAY, Signaling};
use crate::checker::Violation;
use crate::link::LinkPlan;
use crate::link::plan::{Loss, Rate};
use crate::node::client::{ClientNode, Directory};
use crate::node::worker::WorkerNode;
use crate::packet::LinkId;
use crate::scenario::LinkIndex;
use crate::trace::TraceHash;
use crate::world::{Event, Observer, World};

/// How long after the network has healed every picture must move again.
pub(super) const HEALED_WITHIN: Duration = Duration::from_secs(5);

/// What a run of a room gave.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomResult {
    /// What people saw and heard, the healing included.
    pub tallies: Tallies,
    /// What the checkers found; empty if all is well.
    pub violations: Vec<Violation>,
    /// A hash over everything that happened.
    pub trace_hash: u64,
    /// How many packets were sent, messages included.
    pub packets: u64,
}

/// Everybody who watches.
struct Watch<'a, O> {
    hash: TraceHash,
    checker: RoomChecker,
    packets: u64,
    observer: &'a mut O,
}

impl<O: Observer> Observer for Watch<'_, O> {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.packets += u64::from(matches!(event, Event::Sent(_)));
        self.hash.observe(now, event);
        self.checker.observe(now, event);
        self.observer.observe(now, event);
    }
}

/// Plays a room with one seed; `estimator` makes each publisher's, or none if it is to send all that it has. The SFU's
/// downlinks have the product's own: see [`run_room_with`].
pub fn run_room<O: Observer>(
    plan: &RoomPlan,
    seed: u64,
    estimator: impl FnMut(&PersonPlan) -> Option<Box<dyn Estimator>>,
    observer: &mut O,
) -> RoomResult {
    run_room_with(plan, seed, estimator, DownlinkSettings::default(), observer)
}

/// Plays a room with one seed; `estimator` makes each publisher's, or none if it is to send all that it has, and
/// `downlink` says what the SFU's are.
///
/// When the plan's time is over, all links become fast and faultless and keep their delay. Five seconds later every
/// picture that is shown must move.
pub fn run_room_with<O: Observer>(
    plan: &RoomPlan,
    seed: u64,
    mut estimator: impl FnMut(&PersonPlan) -> Option<Box<dyn Estimator>>,
    downlink: DownlinkSettings,
    observer: &mut O,
) -> RoomResult {
    let seed = Seed::from_number(seed);
    let watch = Watch { hash: TraceHash::new(), checker: RoomChecker::default(), packets: 0, observer };
    let mut world = World::new(seed.fork("world"), watch);
    for (_, link) in &plan.links {
        world.add_link(link.clone());
    }
    let signal = world.add_link(LinkPlan { delay: SIGNAL_DELAY, ..LinkPlan::default() });
    for (at, link, change) in &plan.changes {
        world.change_link(Instant::ZERO + *at, LinkId(link.0), change.clone());
    }
    let node = |number: usize| Person(number).node();
    let identities = plan.people.iter().map(|person| person.client.identity.clone()).enumerate();
    let directory: BTreeMap<String, u16> =
        identities.map(|(number, identity)| (identity, node(number).0 as u16)).collect();
    let directory: Directory = Arc::new(directory);
    let grants = plan.people.iter().enumerate().map(|(number, person)| (node(number), grant(person)));
    world.add_node(Box::new(WorkerNode::new(&seed, grants.collect(), downlink)));
    for (number, person) in plan.people.iter().enumerate() {
        let (ids, directory) = ((node(number), SERVER), Arc::clone(&directory));
        let client = ClientNode::new(ids, person.client.clone(), directory, estimator(person), &seed);
        let id = world.add_node(Box::new(client));
        world.add_route(id, SERVER, &links(&person.way.forward));
        world.add_route(SERVER, id, &links(&person.way.backward));
        if plan.signaling == Signaling::Beside {
            world.add_message_route(id, SERVER, &[signal]);
            world.add_message_route(SERVER, id, &[signal]);
        }
    }
    heal(&mut world, plan);
    world.run_until(Instant::ZERO + plan.duration + HEALED_WITHIN + MOVING);
    let now = world.now();
    let watch = world.into_observer();
    let (violations, tallies) = watch.checker.finish(now, plan);
    RoomResult { tallies, violations, trace_hash: watch.hash.value(), packets: watch.packets }
}

fn grant(PersonPlan { client, .. }: &PersonPlan) -> Grant {
    Grant {
        room: RoomName::from(client.room.as_str()),
        identity: client.identity.clone(),
        name: client.identity.clone(),
        publish: vec![Source::Camera, Source::Microphone],
        subscribe: true,
    }
}

fn links(way: &[LinkIndex]) -> Vec<LinkId> {
    way.iter().map(|link| LinkId(link.0)).collect()
}

/// When the plan's time is over, every link is fast and without faults.
fn heal<O: Observer>(world: &mut World<O>, plan: &RoomPlan) {
    let at = Instant::ZERO + plan.duration;
    for (number, (_, link)) in plan.links.iter().enumerate() {
        let healed = LinkPlan {
            rate: Rate::Unlimited,
            policer: None,
            stalls: None,
            outages: Vec::new(),
            loss: Loss::None,
            jitter: None,
            ..link.clone()
        };
        world.change_link(at, LinkId(number), healed);
    }
}
