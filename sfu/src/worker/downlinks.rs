//! How fast packets leave to subscribers: their pacers' timers, and the layers that their paths carry.

use core::time::Duration;

use cc::Demand;
use proto::signal::Kind;
use proto::time::Instant;
use proto::units::Bitrate;

use super::client::{ClientKey, Route};
use super::media::Choice;
use super::{Event, Output, TIMER_GRAIN, Worker};
use crate::control::allocation::{Allocator, Decision, Layer, Picture, Situation};
use crate::control::demand::Range;
use crate::control::selection::{View, choose_layer};
use crate::transport::downlink::{Controller, Downlink};
use crate::transport::packet::StreamId;
use crate::transport::rtp_send::RedundantAudio;
use crate::transport::selector::First;

/// Layers are chosen anew no more often than this, unless the rate has fallen far.
const ALLOCATE_INTERVAL: Duration = Duration::from_millis(100);

/// The same where all that is wanted fits by far: layers grow, but not so much at once.
const AMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// What is wanted fits by far if so many times as much is allowed, and no longer if less than so many times is.
const AMPLE: f64 = 1.5;
const AMPLE_STILL: f64 = 1.25;

/// How far the rate must fall to be looked at at once.
const FALLEN: f64 = 0.85;

/// A slot's picture among those that share a downlink.
pub(super) struct Shown {
    pub(super) slot: usize,
    /// The streams of the picture's layers.
    pub(super) streams: Vec<StreamId>,
    /// Between which rates these are made.
    pub(super) ranges: Vec<Range>,
}

impl Worker {
    /// Gives a subscriber that tells what arrives a downlink of its own.
    pub(super) fn prepare_downlink(&mut self, key: ClientKey) {
        let pipeline = &self.clients[key.0].pipeline;
        let wanted = !cfg!(feature = "without-control") && pipeline.tells_arrivals();
        if wanted && pipeline.downlink().is_none() {
            let downlink = Downlink::new(self.controller(key));
            self.clients[key.0].pipeline.set_downlink(downlink);
        }
    }

    /// A subscriber is reached by another path from now on: what was learned of the old one does not hold.
    pub(super) fn renew_downlink(&mut self, now: Instant, key: ClientKey) {
        let controller = self.controller(key);
        let client = &mut self.clients[key.0];
        client.pipeline.drop_waiting(now);
        client.allocator = Allocator::default();
        if let Some(downlink) = client.pipeline.downlink_mut() {
            downlink.handle_route_change(now, controller);
        }
    }

    fn controller(&self, key: ClientKey) -> Controller {
        let seed = self.config.seed.fork(&format!("downlink {}", self.clients[key.0].identity.number));
        Controller::new(&self.config.downlink, &seed)
    }

    /// Chooses a subscriber's layers anew: by a timer, for it takes longer than a packet may.
    fn reconsider(&mut self, now: Instant, key: ClientKey) {
        let pipeline = &mut self.clients[key.0].pipeline;
        if pipeline.relieve(now) {
            self.stats.given_up += 1;
        }
        self.stats.queue_dropped += pipeline.take_dropped();
        self.allocate(now, key);
        for slot in 0..self.clients[key.0].slots.len() {
            self.press(now, Route { subscriber: key, slot });
        }
    }

    /// Tells what has become of a subscriber's congestion control.
    pub(super) fn tell_transitions(&mut self, key: ClientKey) {
        let client = &mut self.clients[key.0];
        let Some(downlink) = client.pipeline.downlink_mut() else { return };
        while let Some(transition) = downlink.poll_transition() {
            let room = self.rooms[client.identity.room].name().clone();
            let participant = client.identity.participant.clone();
            let allowed = downlink.target().rate;
            let event = Event::DownlinkChanged { room, participant, transition, allowed };
            self.outputs.push_back(Output::Event(event));
        }
        self.stats.probes += downlink.take_probes();
    }

    /// The time of some pacers has come.
    pub(super) fn handle_pacing(&mut self, now: Instant) {
        while let Some((at, key)) = self.pacing.first().copied() {
            if at > now {
                break;
            }
            self.pacing.pop_first();
            let Some(client) = self.clients.get_mut(key.0) else { continue };
            client.pace = None;
            let downlink = client.pipeline.downlink_mut();
            if let Some(downlink) = downlink.filter(|own| own.poll_timeout().is_some_and(|at| at <= now)) {
                downlink.handle_timeout(now);
            }
            if self.is_allocation_due(now, key) {
                self.reconsider(now, key);
            }
            self.make_due(key);
        }
    }

    /// Chooses the layers of all of a subscriber's slots by what its path carries.
    pub(super) fn allocate(&mut self, now: Instant, key: ClientKey) {
        let client = &self.clients[key.0];
        let Some(downlink) = client.pipeline.downlink() else { return };
        let (allowed, queue) = (downlink.target().rate, downlink.queue_time());
        // What the plan says of repair holds for any layer, what was measured for the one that is sent.
        let repair = 1.0 + client.pipeline.redundancy();
        let measured = if repair > 1.0 { Bitrate::ZERO } else { downlink.repair_rate(now) };
        let (rate, mut fixed) = (allowed.scaled(1.0 / repair), measured);
        let (mut shown, mut pictures) = (Vec::new(), Vec::new());
        for slot in 0..client.slots.len() {
            let choice = self.choice(now, Route { subscriber: key, slot });
            let Some(choice) = choice.filter(|choice| choice.view != View::Hidden) else {
                self.set_target(key, slot, None, None);
                continue;
            };
            if choice.kind == Kind::Audio {
                let target = choose_layer(choice.view, &choice.layers).map(|index| choice.streams[index]);
                fixed += choice.rates.first().copied().flatten().unwrap_or_default();
                let repeated = self.clients[key.0].pipeline.slots()[slot].redundant_audio();
                fixed += repeated.map_or(Bitrate::ZERO, RedundantAudio::rate);
                self.set_target(key, slot, target, target);
                continue;
            }
            let held = self.clients[key.0].pipeline.slots()[slot].target();
            let (streams, picture) = picture(&choice, held);
            let ranges = ranges(&choice, &streams);
            shown.push(Shown { slot, streams, ranges });
            pictures.push(picture);
        }
        let client = &mut self.clients[key.0];
        let is_strained = client.pipeline.take_strained();
        let situation = Situation { rate, queue, is_strained, fixed, pictures: &pictures };
        client.allocated = Some((now, allowed));
        let mut decision = client.allocator.allocate(now, &situation);
        self.weigh_up(now, key, &shown, &situation, &mut decision);
        decision.current = decision.current.scaled(repair);
        decision.next = decision.next.map(|next| next.scaled(repair));
        let is_ample = decision.next.is_none() && allowed >= decision.current.scaled(AMPLE);
        self.clients[key.0].ample = is_ample.then(|| decision.current.scaled(AMPLE_STILL));
        self.carry_out(now, key, &shown, &decision);
    }

    fn carry_out(&mut self, now: Instant, key: ClientKey, shown: &[Shown], decision: &Decision) {
        for (Shown { slot, streams, .. }, chosen) in shown.iter().zip(&decision.chosen) {
            let target = chosen.map(|layer| streams[layer]);
            let place = |stream: Option<StreamId>| streams.iter().position(|own| Some(*own) == stream);
            let current = self.clients[key.0].pipeline.slots()[*slot].current();
            let leaving = place(target) < place(current);
            self.set_target(key, *slot, target, streams.first().copied());
            let slot = &mut self.clients[key.0].pipeline.slots_mut()[*slot];
            slot.set_leaving(leaving);
        }
        let demand = Demand::Steps { current: decision.current, next: decision.next };
        if let Some(downlink) = self.clients[key.0].pipeline.downlink_mut() {
            downlink.set_demand(now, demand);
        }
    }

    fn set_target(
        &mut self,
        key: ClientKey,
        slot: usize,
        target: Option<StreamId>,
        smallest: Option<StreamId>,
    ) {
        let Some(slot) = self.clients[key.0].pipeline.slot_mut(slot) else { return };
        slot.set_target(target, smallest.map_or(First::Any, First::Smallest));
    }

    /// Whether it is time to choose a subscriber's layers anew.
    pub(super) fn is_allocation_due(&self, now: Instant, key: ClientKey) -> bool {
        let client = &self.clients[key.0];
        let Some(downlink) = client.pipeline.downlink() else { return false };
        client.allocated.is_none_or(|(at, rate)| {
            let allowed = downlink.target().rate;
            let since = now.since(at);
            if client.pipeline.is_strained() {
                return since > TIMER_GRAIN * 20;
            }
            if client.ample.is_some_and(|ample| allowed > ample) {
                return since >= AMPLE_INTERVAL;
            }
            since >= ALLOCATE_INTERVAL || allowed < rate.scaled(FALLEN)
        })
    }

    /// Gives a subscriber's pacer its turn at `at`.
    pub(super) fn pace_at(&mut self, now: Instant, key: ClientKey, at: Option<Instant>) {
        let at = at.map(|at| at.max(now + TIMER_GRAIN));
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let Some(at) = at else { return }; // a wake-up for nothing is cheaper than to look for it
        if client.pace.is_some_and(|pace| pace <= at) {
            return; // it looks again then
        }
        if let Some(pace) = client.pace.replace(at) {
            self.pacing.remove(&(pace, key));
        }
        self.pacing.insert((at, key));
    }
}

/// What there is of a picture for its view, the smallest first, and the streams of that.
fn picture(choice: &Choice, held: Option<StreamId>) -> (Vec<StreamId>, Picture) {
    let area =
        |size: Option<(u32, u32)>| size.map_or(0, |(width, height)| u64::from(width) * u64::from(height));
    let wanted = choose_layer(choice.view, &choice.layers);
    let most = wanted.map_or(0, |wanted| area(choice.layers[wanted].size));
    let mut order: Vec<usize> = (0..choice.layers.len())
        .filter(|at| {
            let layer = choice.layers[*at];
            Some(*at) == wanted || layer.alive && area(layer.size) < most
        })
        .collect();
    order.sort_by_key(|at| (area(choice.layers[*at].size), choice.rates[*at]));
    let layers = order.iter().map(|at| Layer {
        rate: choice.rates[*at].filter(|rate| *rate > Bitrate::ZERO),
        area: area(choice.layers[*at].size),
    });
    let layers: Vec<Layer> = layers.collect();
    let held = held.and_then(|held| {
        let own = choice.streams.iter().position(|stream| *stream == held)?;
        let area = area(choice.layers[own].size);
        Some(layers.iter().rposition(|layer| layer.area <= area).unwrap_or(0))
    });
    let streams = order.iter().map(|at| choice.streams[*at]).collect();
    let view = match choice.view {
        View::Hidden => 0,
        View::Size(width, height) => u64::from(width) * u64::from(height),
    };
    (streams, Picture { view, layers, held })
}

/// Between which rates some of a picture's streams are made.
fn ranges(choice: &Choice, streams: &[StreamId]) -> Vec<Range> {
    let place = |stream: &StreamId| choice.streams.iter().position(|own| own == stream);
    streams.iter().filter_map(|stream| Some(choice.ranges[place(stream)?])).collect()
}
