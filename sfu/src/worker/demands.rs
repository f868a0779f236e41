//! What viewers' paths could take, and what publishers are told to make of it.
//!
//! Each viewer's allocation leaves a [`Wish`] for each picture; a publisher's wishes are weighed every
//! [`REVIEW_INTERVAL`] and become a `demand` where they change a cap. Nothing here is done for a packet.

use core::time::Duration;

use proto::ids::{Rid, TrackId};
use proto::signal::{Applied, Demand, DemandedLayer, Kind, ServerMessage};
use proto::time::Instant;
use proto::units::Bitrate;

use super::client::{Binding, Client, ClientKey, Route};
use super::downlinks::Shown;
use super::media::Choice;
use super::relay::RelayedViewer;
use super::{Event, Worker};
use crate::control::allocation::{Decision, Situation, typical};
use crate::control::demand::{Demands, Layer, Range, Stretch, Viewer, floor, next_step};
use crate::control::room::RoomTrack;
use crate::transport::downlink::PACKET_OVERHEAD;
use crate::transport::packet::StreamId;
use crate::transport::rtp_recv::RtpRecvPipeline;

/// A publisher's demands are thought about no more often.
const REVIEW_INTERVAL: Duration = Duration::from_millis(250);

/// A demand that is not confirmed is said again after so long,
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// and a publisher that confirms nothing for so long is taken for one that does not know demands, until it shows otherwise.
const HEEDED_WITHIN: Duration = Duration::from_millis(3_500);

/// A picture that a viewer has may take so much of what is allowed: measured rates and estimates waver.
const KEEP_SHARE: f64 = 0.97;

/// less what it takes to send what has waited for longer than this within a second: up to a limit.
const WAITS_LONG: Duration = Duration::from_millis(150);
const CATCH_UP_MAX: f64 = 0.25;

/// and so much of what suffices to take it, for the same reason.
const TAKE_SHARE: f64 = 0.95;

/// A picture that needs so much less than it may take asks for less room at once.
const SHORT: f64 = 0.93;

/// The payload of a full packet.
const PAYLOAD_MAX: u64 = 1_140;

/// Headers of half a packet for each of thirty pictures a second: what is left of the last one.
const REMAINDERS: Bitrate = Bitrate::bps(PACKET_OVERHEAD * 8 * 15);

/// What a subscriber's path could take of the picture in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// The best stream for its view.
    best: StreamId,
    /// The one that was chosen.
    held: Option<StreamId>,
    /// What it may take in what is held, and in something larger.
    keep: Bitrate,
    more: Bitrate,
}

/// What is demanded of one track.
pub(super) struct Demanded {
    track: TrackId,
    demands: Demands,
    epoch: u64,
    /// When it was said last, and since when none has been confirmed though there are new ones.
    said: Option<(Instant, Instant)>,
    /// The newest that was confirmed.
    confirmed: Option<u64>,
    /// What the publisher says that its layers take at most.
    stated: Vec<(Option<Rid>, Bitrate)>,
}

impl Demanded {
    fn new(track: TrackId) -> Self {
        let (demands, stated) = (Demands::default(), Vec::new());
        Self { track, demands, epoch: 0, said: None, confirmed: None, stated }
    }

    fn is_confirmed(&self) -> bool {
        self.epoch == 0 || self.confirmed == Some(self.epoch)
    }

    /// Whether its publisher seems not to know demands.
    fn is_unheeded(&self, now: Instant) -> bool {
        let in_vain = self.said.is_some_and(|(_, since)| now.since(since) >= HEEDED_WITHIN);
        in_vain && !self.is_confirmed()
    }

    /// What a layer takes, given what was measured: a new cap is believed before it can be measured.
    fn believed(&self, now: Instant, rid: Option<&Rid>, measured: Option<Bitrate>) -> Option<Bitrate> {
        let is_heeded = self.confirmed.is_some() && !self.is_unheeded(now);
        let expected = |measured| self.demands.expected(now, rid, measured);
        if is_heeded { measured.map(expected) } else { measured }
    }
}

impl Worker {
    /// What a stream takes, as far as is known.
    pub(super) fn believed_rate(
        &self,
        now: Instant,
        binding: &Binding,
        stream: &RtpRecvPipeline,
    ) -> Option<Bitrate> {
        let measured = stream.rate(now);
        let demanded = self.demanded(binding);
        demanded.map_or(measured, |demanded| demanded.believed(now, stream.origin().rid.as_ref(), measured))
    }

    /// Between which rates a picture's publisher would make its layers.
    pub(super) fn ranges(&self, now: Instant, binding: &Binding, choice: &Choice) -> Vec<Range> {
        let demanded = self.demanded(binding).filter(|demanded| !demanded.is_unheeded(now));
        let publisher = &self.clients[binding.publisher.0];
        let areas: Vec<u64> = choice.layers.iter().map(|layer| area(layer.size)).collect();
        let least = areas.iter().min().copied().unwrap_or_default();
        let range = |at: usize| {
            let stream = choice.streams[at];
            if let Some(told) = publisher.guest.as_ref().and_then(|guest| guest.range(stream)) {
                return told;
            }
            let rate = choice.rates[at].filter(|rate| *rate > Bitrate::ZERO);
            let rate = rate.unwrap_or_else(|| typical(areas[at]));
            let Some(demanded) = demanded else { return Range { rate, floor: rate, full: rate } };
            let rid = publisher.pipeline.stream(stream).and_then(|stream| stream.origin().rid.as_ref());
            let full = rate + demanded.demands.held_back(rid, rate);
            Range { rate, floor: floor(areas[at], areas[at] == least).min(rate), full }
        };
        (0..areas.len()).map(range).collect()
    }

    /// Notes what a subscriber's path could take of each picture, and what is worth proving that it can.
    pub(super) fn weigh_up(
        &mut self,
        now: Instant,
        key: ClientKey,
        shown: &[Shown],
        situation: &Situation<'_>,
        decision: &mut Decision,
    ) {
        let client = &self.clients[key.0];
        let margin = client.allocator.margin(now);
        let total = decision.current;
        let stretches: Vec<Stretch> = shown.iter().zip(&decision.chosen).map(stretch).collect();
        let hungry = stretches.iter().filter(|picture| picture.is_hungry()).count().max(1) as f64;
        let room = situation.rate.scaled(1.0 / margin);
        let step = next_step(&stretches, room.saturating_sub(total).scaled(1.0 / hungry));
        decision.next = step.map(|step| (total + step).scaled(margin));
        let catch_up = situation.queue.saturating_sub(WAITS_LONG).as_secs_f64().min(CATCH_UP_MAX);
        let (keep, take) = (situation.rate.scaled(KEEP_SHARE - catch_up), room.scaled(TAKE_SHARE));
        let mut wishes = vec![None; client.slots.len()];
        let mut short = Vec::new();
        for ((shown, picture), chosen) in shown.iter().zip(&stretches).zip(&decision.chosen) {
            let (Some(best), Some(wish)) = (shown.streams.last(), wishes.get_mut(shown.slot)) else {
                continue;
            };
            let own = picture.taken();
            // What is missing is taken from all by what they have, what is left is for those who can use it.
            let keep = if keep < total {
                own.scaled(keep.saturating_sub(situation.fixed).ratio(total.saturating_sub(situation.fixed)))
            } else {
                own + (keep - total).scaled(1.0 / hungry)
            };
            let more = own + take.saturating_sub(total).scaled(1.0 / hungry);
            let held = chosen.map(|layer| shown.streams[layer]);
            *wish = Some(Wish { best: *best, held, keep, more });
            if keep < own.scaled(SHORT) {
                short.push(best.connection);
            }
        }
        self.clients[key.0].wishes = wishes;
        for publisher in short {
            if let Some(&publisher) = self.by_number.get(&publisher) {
                self.review_demands(now, publisher);
            }
        }
    }

    /// Weighs what those who watch a publisher could take, and tells it what to make of that.
    pub(super) fn review_demands(&mut self, now: Instant, publisher: ClientKey) {
        let client = &mut self.clients[publisher.0];
        if client.demands_at.is_some_and(|at| now.since(at) < REVIEW_INTERVAL) {
            return;
        }
        client.demands_at = Some(now);
        let client = &self.clients[publisher.0];
        let tracks = self.rooms[client.identity.room].tracks(publisher).iter();
        let tracks: Vec<(usize, RoomTrack)> = tracks
            .filter(|track| track.kind() == Kind::Video)
            .filter_map(|track| Some((client.pipeline.section_of(&track.mid)?, track.clone())))
            .collect();
        let is_there = |section: &usize| tracks.iter().any(|(own, _)| own == section);
        self.clients[publisher.0].demanded.retain(|section, _| is_there(section));
        for (section, track) in &tracks {
            self.review_track(now, publisher, *section, track);
        }
    }

    /// A publisher says that it does what was demanded.
    pub(super) fn note_applied(&mut self, now: Instant, publisher: ClientKey, applied: &Applied) {
        let client = &mut self.clients[publisher.0];
        let Some((section, demanded)) =
            client.demanded.iter_mut().find(|(_, demanded)| demanded.track == applied.track)
        else {
            return; // it has ended meanwhile
        };
        if applied.epoch == 0 || applied.epoch > demanded.epoch || Some(applied.epoch) < demanded.confirmed {
            return; // never demanded, or something newer is confirmed
        }
        let is_news = demanded.confirmed.replace(applied.epoch) != Some(applied.epoch);
        demanded.said = demanded.said.map(|(at, since)| (at, if is_news { now } else { since }));
        let section = *section;
        demanded.stated.clear();
        for stream in client.pipeline.streams(section) {
            let rid = &stream.origin().rid;
            let layer = applied.layers.iter().find(|layer| layer.rid == *rid);
            if let Some(most) = layer.and_then(|layer| layer.max_kbps) {
                demanded.stated.push((rid.clone(), on_the_wire(most)));
            }
        }
        self.stats.demands_applied += u64::from(is_news);
        let routes = self.clients[publisher.0].routes.get(section).cloned().unwrap_or_default();
        for Route { subscriber, .. } in routes {
            if is_news {
                self.allocate(now, subscriber);
            }
        }
    }

    /// A publisher may have missed what was demanded.
    pub(super) fn repeat_demands(&mut self, now: Instant, publisher: ClientKey) {
        let sections: Vec<usize> = self.clients[publisher.0].demanded.keys().copied().collect();
        for section in sections {
            if let Some(demanded) = self.clients[publisher.0].demanded.get_mut(&section) {
                demanded.said = None;
                demanded.confirmed = None;
            }
            self.say(now, publisher, section);
        }
    }

    fn demanded(&self, binding: &Binding) -> Option<&Demanded> {
        let demanded = self.clients[binding.publisher.0].demanded.get(&binding.section)?;
        (demanded.track == binding.track).then_some(demanded)
    }

    fn review_track(&mut self, now: Instant, publisher: ClientKey, section: usize, track: &RoomTrack) {
        let mut layers = self.layers(now, publisher, section, track);
        layers.sort_by_key(|(_, layer)| (layer.area, layer.rate));
        let mut viewers = self.viewers(now, publisher, section, &layers);
        if self.clients[publisher.0].guest.is_some() {
            let id = |place: usize| layers[place].0;
            let relayed = |Viewer { best, held, keep, more }: Viewer| RelayedViewer {
                best: id(best),
                held: held.map(id),
                keep,
                more,
            };
            return self.relay_viewers(publisher, section, viewers.into_iter().map(relayed).collect());
        }
        viewers.extend(self.viewers_elsewhere(publisher, section, &layers));
        let client = &mut self.clients[publisher.0];
        let demanded = client.demanded.entry(section).or_insert_with(|| Demanded::new(track.id.clone()));
        if demanded.track != track.id {
            *demanded = Demanded::new(track.id.clone());
        }
        if demanded.is_unheeded(now) {
            return;
        }
        let layers: Vec<Layer> = layers.into_iter().map(|(_, layer)| layer).collect();
        let is_late = demanded.said.is_some_and(|(at, _)| now.since(at) >= SAY_AGAIN);
        if demanded.demands.plan(now, &layers, &viewers) {
            if demanded.is_confirmed() {
                demanded.said = None; // its confirmation is waited for from now on
            }
            demanded.epoch += 1;
            self.say(now, publisher, section);
        } else if is_late && !demanded.is_confirmed() {
            self.say(now, publisher, section);
        }
    }

    /// The layers of a track.
    fn layers(
        &self,
        now: Instant,
        publisher: ClientKey,
        section: usize,
        track: &RoomTrack,
    ) -> Vec<(StreamId, Layer)> {
        let client = &self.clients[publisher.0];
        let known = client.demanded.get(&section).filter(|known| known.track == track.id);
        let layer = |stream: &RtpRecvPipeline| {
            let rid = stream.origin().rid.clone();
            let said = track.layers.iter().find(|layer| Some(&layer.rid) == rid.as_ref());
            let size = said.map(|layer| (layer.width, layer.height)).or(stream.size());
            let stated = known.and_then(|known| known.stated.iter().find(|(own, _)| *own == rid));
            let rate = stream.rate(now).filter(|rate| *rate > Bitrate::ZERO);
            let stated = stated.map(|(_, stated)| *stated);
            (stream.id(), Layer { rid, rate, stated, area: area(size) })
        };
        client.pipeline.streams(section).map(layer).collect()
    }

    /// Those who watch a track.
    fn viewers(
        &self,
        now: Instant,
        publisher: ClientKey,
        section: usize,
        layers: &[(StreamId, Layer)],
    ) -> Vec<Viewer> {
        let place = |stream: StreamId| layers.iter().position(|(own, _)| *own == stream);
        let viewer = |route: &Route| {
            let subscriber: &Client = &self.clients[route.subscriber.0];
            if !subscriber.connection.is_open() {
                return None;
            }
            if subscriber.pipeline.downlink().is_none() {
                let best = place(self.choose_stream(now, *route)?)?;
                return Some(Viewer { best, held: Some(best), keep: Bitrate::MAX, more: Bitrate::MAX });
            }
            let wish = (*subscriber.wishes.get(route.slot)?)?;
            let (best, held) = (place(wish.best)?, wish.held.and_then(place));
            Some(Viewer { best, held, keep: wish.keep, more: wish.more })
        };
        let routes = self.clients[publisher.0].routes.get(section);
        routes.into_iter().flatten().filter_map(viewer).collect()
    }

    /// Those who watch a track on other workers.
    fn viewers_elsewhere(
        &self,
        publisher: ClientKey,
        section: usize,
        layers: &[(StreamId, Layer)],
    ) -> Vec<Viewer> {
        let place = |stream: StreamId| layers.iter().position(|(own, _)| *own == stream);
        let viewer = |RelayedViewer { best, held, keep, more }: &RelayedViewer| {
            let (best, held) = (place(*best)?, held.and_then(place));
            Some(Viewer { best, held, keep: *keep, more: *more })
        };
        let spanned = self.clients[publisher.0].spanned.iter();
        spanned.flat_map(|spanned| spanned.viewers(section)).filter_map(viewer).collect()
    }

    /// Tells a publisher what is demanded of a track.
    fn say(&mut self, now: Instant, publisher: ClientKey, section: usize) {
        let client = &mut self.clients[publisher.0];
        let Some(demanded) = client.demanded.get_mut(&section).filter(|demanded| demanded.epoch > 0) else {
            return;
        };
        demanded.said = Some((now, demanded.said.map_or(now, |(_, since)| since)));
        let layer = |stream: &RtpRecvPipeline| {
            let rid = stream.origin().rid.clone();
            let max_kbps = demanded.demands.cap(rid.as_ref()).map(encoded_kbps);
            DemandedLayer { rid, max_kbps, active: true }
        };
        let layers = client.pipeline.streams(section).map(layer).collect();
        let demand = Demand { epoch: demanded.epoch, track: demanded.track.clone(), layers };
        let participant = client.identity.participant.clone();
        let room = self.rooms[client.identity.room].name().clone();
        self.stats.demands += 1;
        self.notify(publisher, None, ServerMessage::Demand(demand.clone()));
        self.emit(Event::Demanded { room, participant, demand });
    }
}

/// A picture as its viewer has it.
fn stretch((shown, chosen): (&Shown, &Option<usize>)) -> Stretch {
    Stretch { held: *chosen, layers: shown.ranges.clone() }
}

fn area(size: Option<(u32, u32)>) -> u64 {
    size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
}

/// What an encoder makes of a rate, the rest being headers, in kbit/s.
fn encoded_kbps(rate: Bitrate) -> u32 {
    let full = (PAYLOAD_MAX + PACKET_OVERHEAD) as f64 / PAYLOAD_MAX as f64;
    u32::try_from(rate.saturating_sub(REMAINDERS).scaled(1.0 / full).as_bps() / 1_000).unwrap_or(u32::MAX)
}

/// What goes over the wire where an encoder makes so much: the opposite of [`encoded_kbps`].
fn on_the_wire(kbps: u32) -> Bitrate {
    let full = (PAYLOAD_MAX + PACKET_OVERHEAD) as f64 / PAYLOAD_MAX as f64;
    Bitrate::kbps(kbps.into()).scaled(full) + REMAINDERS
}
