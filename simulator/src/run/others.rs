//! Puts other people's traffic into a world.

use std::time::Duration;

use proto::seed::Seed;
use proto::units::Bitrate;

use super::Watch;
use super::stage::{link_ids, route};
use crate::node::cross::Server;
use crate::node::cross::bulk::{Bulk, BulkPlan};
use crate::node::cross::constant::{Constant, Sink};
use crate::node::cross::web::{Web, WebPlan};
use crate::packet::{FlowId, NodeId};
use crate::scenario::{CrossPlan, Way};
use crate::world::World;

/// What every kind of traffic is made with.
pub(super) struct Place<'a> {
    pub(super) flow: FlowId,
    pub(super) seed: &'a Seed,
    pub(super) epoch: std::time::Instant,
    /// When the scenario is over: others leave, so that the network can heal.
    pub(super) end: Duration,
}

/// Adds traffic: a node that sends and one that takes.
pub(super) fn add(world: &mut World<Watch>, cross: &CrossPlan, place: &Place<'_>) {
    let Place { flow, seed, epoch, end } = *place;
    let sink = NodeId(world.nodes() + 1);
    match cross {
        CrossPlan::Constant { links, rates } => {
            let mut rates: Vec<(Duration, Bitrate)> =
                rates.iter().copied().filter(|(at, _)| *at < end).collect();
            rates.push((end, Bitrate::ZERO));
            let source = world.add_node(Box::new(Constant::new(flow, sink, &rates)));
            world.add_node(Box::new(Sink));
            world.add_route(source, sink, &link_ids(links));
        }
        CrossPlan::Bulk { way, control, start, stop } => {
            let stop = Some(stop.unwrap_or(end).min(end));
            let plan = BulkPlan { control: *control, start: *start, stop };
            let client = Bulk::new(flow, sink, plan, epoch, &seed.fork("client"));
            let source = world.add_node(Box::new(client));
            serve(world, (source, sink), way, place);
        }
        CrossPlan::Web { way, control, connections, active, idle } => {
            let plan = WebPlan { control: *control, connections: *connections, active: *active, idle: *idle };
            let client = Web::new(flow, sink, plan, epoch, &seed.fork("client")).stopping_at(end);
            let source = world.add_node(Box::new(client));
            serve(world, (source, sink), way, place);
        }
    }
}

fn serve(world: &mut World<Watch>, (source, sink): (NodeId, NodeId), way: &Way, place: &Place<'_>) {
    world.add_node(Box::new(Server::new(place.flow, place.epoch, &place.seed.fork("server"))));
    route(world, source, sink, way);
}
