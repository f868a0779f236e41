//! What is seen of layers on the wire between a publisher, the SFU and viewers, for [`LayerMeter`].
//!
//! In: events of a room with one publisher and a bottleneck before each viewer, all of a kind. Every payload says which layer it
//! is of; a packet of RTP without payload is padding.

use std::time::Duration;

use proto::rtp::{PayloadType, RtpView};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};
use sfu::network::demux::{PacketKind, classify};

use super::cause_of;
use crate::link::LinkPlan;
use crate::metrics::layers::{Layer, LayerMeter, LayerMetrics};
use crate::metrics::meter::SPAN;
use crate::node::Fact;
use crate::node::client::payload;
use crate::packet::{LinkId, Packet, Payload};
use crate::room::{LayerPlan, LayoutPlan, Person, RoomPlan, SERVER};
use crate::world::{Event, Observer};

/// A layer's rate counts payloads; headers of IP, UDP, RTP and extensions come on top, by about this factor.
const HEADERS: f64 = 1.06;

/// See the module's description.
pub(super) struct Tiers(LayerMeter);

impl Tiers {
    /// Watches a room after so much of it; `None` if it has not one publisher of layers.
    pub(super) fn new(plan: &RoomPlan, bottleneck: LinkId, warm_up: Duration) -> Option<Self> {
        let cameras = plan.people.iter().filter_map(|person| person.client.camera.as_ref());
        let mut layers = cameras.map(|camera| camera.layers.as_slice());
        let (Some(layers), None) = (layers.next(), layers.next()) else { return None };
        let spans = (plan.duration.as_nanos() / SPAN.as_nanos()) as u32;
        let carried = |from| carried(plan, bottleneck, from).map_or(u64::MAX, DataSize::as_bytes);
        let viewers = plan.people.iter().enumerate().filter_map(|(number, person)| {
            let (_, layout) = person.client.layouts.first()?;
            Some((Person(number).node(), wanted(layout, layers)?))
        });
        let most = layers.iter().map(|layer| (layer.max.scaled(HEADERS) * SPAN).as_bytes()).collect();
        let times = (Instant::ZERO + warm_up, Instant::ZERO + plan.duration);
        let capacity = (0..spans).map(|span| carried(SPAN * span)).collect();
        Some(Self(LayerMeter::new(times, capacity, most, viewers)))
    }

    pub(super) fn metrics(&self) -> LayerMetrics {
        self.0.metrics()
    }

    fn handle_sent(&mut self, now: Instant, packet: &Packet) {
        if packet.from != SERVER || !matches!(packet.payload, Payload::Datagram(_)) {
            return;
        }
        let content = content(packet);
        self.0.note_sent(now, packet.to, packet.size, content == Some(Content::Padding));
        if let Some(Content::Picture(layer)) = content {
            self.0.note_layer(now, packet.to, layer);
        }
    }

    fn handle_delivered(&mut self, now: Instant, packet: &Packet) {
        if packet.to != SERVER {
            return;
        }
        match content(packet) {
            Some(Content::Picture(layer)) => self.0.note_source(now, Some(layer), packet.size),
            Some(Content::Sound) => self.0.note_source(now, None, packet.size),
            Some(Content::Padding | Content::Repair) | None => {}
        }
    }
}

impl Observer for Tiers {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Sent(packet) => self.handle_sent(now, packet),
            Event::Delivered(packet) => self.handle_delivered(now, packet),
            Event::Dropped { packet, cause, .. } if cause_of(*cause) > 0 => {
                self.0.note_overrun(now, packet.to);
            }
            Event::Fact { node, fact: Fact::Froze { length, .. } } => self.0.note_freeze(now, *node, *length),
            Event::Dropped { .. }
            | Event::Passed { .. }
            | Event::Fact { .. }
            | Event::Replanned { .. }
            | Event::Spinning(_)
            | Event::WokenLate(_)
            | Event::Flooding(_)
            | Event::Unroutable(_) => {}
        }
    }
}

/// The smallest layer that is not smaller than a layout's tiles; the best if all are.
fn wanted(layout: &LayoutPlan, layers: &[LayerPlan]) -> Option<Layer> {
    let height = match layout {
        LayoutPlan::Everybody(_, height) => *height,
        LayoutPlan::Some(tiles) => tiles.iter().map(|(_, _, height)| *height).max()?,
        LayoutPlan::Nothing => return None,
    };
    let fits = layers.iter().rposition(|layer| u32::from(layer.height) >= height);
    Some(Layer(fits.unwrap_or(0)))
}

/// What a viewer's bottleneck carries from each time on: for those who are told.
pub(super) fn shares(plan: &RoomPlan, bottleneck: LinkId) -> Vec<(Duration, Bitrate)> {
    let spans = (plan.duration.as_nanos() / SPAN.as_nanos()) as u32;
    let mut shares: Vec<(Duration, Bitrate)> = Vec::new();
    for from in (0..spans).map(|span| SPAN * span) {
        let rate =
            carried(plan, bottleneck, from).and_then(|size| Bitrate::of(size, SPAN)).unwrap_or(Bitrate::MAX);
        if shares.last().is_none_or(|(_, last)| *last != rate) {
            shares.push((from, rate));
        }
    }
    shares
}

/// What a link carries in the span that begins at a time.
fn carried(plan: &RoomPlan, link: LinkId, from: Duration) -> Option<DataSize> {
    link_at(plan, link, from).and_then(|link| link.capacity(from, from + SPAN))
}

/// The plan that a link works by at a time.
fn link_at(plan: &RoomPlan, link: LinkId, at: Duration) -> Option<&LinkPlan> {
    let changed = plan.changes.iter().rfind(|(when, which, _)| *when <= at && which.0 == link.0);
    changed.map(|(_, _, changed)| changed).or_else(|| plan.links.get(link.0).map(|(_, first)| first))
}

/// What a packet of RTP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Sound,
    Picture(Layer),
    Repair,
    Padding,
}

fn content(packet: &Packet) -> Option<Content> {
    let Payload::Datagram(bytes) = &packet.payload else { return None };
    if classify(bytes) != PacketKind::Rtp {
        return None;
    }
    let view = RtpView::parse(bytes).ok()?;
    if view.payload().is_empty() {
        return Some(Content::Padding);
    }
    // Every client of the simulator offers one of two sets of payload types.
    Some(match view.payload_type() {
        PayloadType(110 | 111) => Content::Sound,
        PayloadType(96 | 120) => {
            let stamp = payload::read(view.payload(), true)?.stamp;
            Content::Picture(Layer(stamp.layer.into()))
        }
        PayloadType(_) => Content::Repair,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::LAYERS;

    #[test]
    fn a_tile_wants_the_smallest_layer_that_fills_it() {
        for (layout, layer) in [
            (LayoutPlan::Everybody(1280, 720), Some(0)),
            (LayoutPlan::Everybody(640, 360), Some(1)),
            (LayoutPlan::Everybody(640, 361), Some(0)),
            (LayoutPlan::Everybody(320, 180), Some(2)),
            (LayoutPlan::Everybody(3840, 2160), Some(0)),
            (LayoutPlan::Nothing, None),
        ] {
            assert_eq!(wanted(&layout, &LAYERS), layer.map(Layer), "{layout:?}");
        }
    }
}
