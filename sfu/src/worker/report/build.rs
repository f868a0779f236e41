//! How a [`RoomStats`] is made: each layer is asked for its numbers, nothing is changed.

use core::time::Duration;

use proto::codec::Codec;
use proto::ids::{ParticipantId, Rid, RoomName};
use proto::path_class::PathClass;
use proto::signal::Kind;
use proto::time::Instant;
use proto::units::Bitrate;

use super::{
    ConnectionStats, LegStats, LimitedBy, PARTICIPANTS_MAX, ParticipantStats, Protocol, RoomStats, Selection,
    SendingStats, StreamStats,
};
use crate::control::room::RoomTrack;
use crate::control::selection::{LayerState, View, choose_layer};
use crate::transport::connection::ConnectionPipeline;
use crate::transport::packet::StreamId;
use crate::transport::rtp_recv::RtpRecvPipeline;
use crate::transport::rtp_send::{Repair, RtpSendPipeline};
use crate::worker::Worker;
use crate::worker::client::{Binding, Client, ClientKey, Route};
use crate::worker::media::Choice;

/// What one subscriber's path is like now, for summaries over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathNow {
    /// What weakens it.
    pub class: PathClass,
    /// What it may carry.
    pub allowed: Bitrate,
    /// How long a packet takes to leave the pacer.
    pub queue: Duration,
    /// The round trip; `None` before the first report.
    pub round_trip: Option<Duration>,
}

impl Worker {
    /// What a room looks like from inside; `None` if there is no such room here.
    pub fn room_stats(&self, now: Instant, room: &RoomName, selection: &Selection) -> Option<RoomStats> {
        let room = &self.rooms[*self.rooms_by_name.get(room)?];
        let identity = |key: &ClientKey| &self.clients[key.0].identity;
        let joined = |key: &ClientKey| (identity(key).joined, identity(key).number);
        let after = selection
            .after
            .as_ref()
            .map(|name| room.members().find(|key| identity(key).participant == *name).as_ref().map(joined));
        let is_selected = |key: &ClientKey| {
            let is_named =
                selection.participant.as_ref().is_none_or(|only| *only == identity(key).participant);
            is_named && after.is_none_or(|after| after.is_some_and(|after| joined(key) > after))
        };
        let mut members: Vec<ClientKey> =
            room.members().filter(|key| self.clients[key.0].guest.is_none()).collect();
        members.sort_by_key(joined); // the same order on all workers
        let selected = members.into_iter().filter(is_selected).take(PARTICIPANTS_MAX);
        Some(RoomStats {
            at_ms: milliseconds(now.since(Instant::ZERO)),
            room: room.name().clone(),
            participant_count: room.member_count(),
            participants: selected.map(|key| self.participant_stats(now, key)).collect(),
        })
    }

    /// The paths to those subscribers that tell what arrives.
    pub fn paths(&self) -> impl Iterator<Item = PathNow> {
        self.clients.iter().filter_map(|(_, Client { pipeline, .. })| {
            let downlink = pipeline.downlink()?;
            let (class, allowed) = (downlink.path_class(), downlink.target().rate);
            Some(PathNow { class, allowed, queue: downlink.queue_time(), round_trip: pipeline.round_trip() })
        })
    }

    fn participant_stats(&self, now: Instant, key: ClientKey) -> ParticipantStats {
        let client = &self.clients[key.0];
        let tracks = self.rooms[client.identity.room].tracks(key);
        let streams = client.pipeline.all_streams().map(|stream| {
            let mid = client.pipeline.section_mid(stream.origin().section);
            stream_stats(now, stream, tracks.iter().find(|track| Some(&track.mid) == mid))
        });
        let slots = 0..client.slots.len();
        ParticipantStats {
            participant: client.identity.participant.clone(),
            identity: client.identity.grant.identity.clone(),
            joined_ms: milliseconds(client.identity.joined.since(Instant::ZERO)),
            connection: connection_stats(client),
            streams: streams.collect(),
            legs: slots.filter_map(|slot| self.leg_stats(now, Route { subscriber: key, slot })).collect(),
        }
    }

    fn leg_stats(&self, now: Instant, route: Route) -> Option<LegStats> {
        let client = &self.clients[route.subscriber.0];
        let (mid, binding) = client.slots.get(route.slot)?;
        let (binding, slot) = (binding.as_ref()?, client.pipeline.slots().get(route.slot)?);
        let track = self.rooms[client.identity.room].tracks(binding.publisher);
        let track = track.iter().find(|track| track.id == binding.track)?;
        let choice = self.choice(now, route)?;
        let publisher = &self.clients[binding.publisher.0].pipeline;
        let rid = |stream: StreamId| -> Option<Rid> { publisher.stream(stream)?.origin().rid.clone() };
        let suits = suiting(&choice).map(|place| choice.streams[place]);
        let recovery = slot.current().and_then(|current| publisher.stream(current));
        let recovery = recovery.map_or(Duration::ZERO, |stream| stream.playout_floor(now));
        let repair = slot.repair().filter(|_| choice.kind != Kind::Audio);
        let patience = repair.map(Repair::patience).unwrap_or_default();
        let counts = slot.counts();
        Some(LegStats {
            mid: mid.clone(),
            participant: self.publisher_of(binding).clone(),
            track: binding.track.clone(),
            kind: choice.kind,
            active: slot.current().is_some(),
            rid: slot.current().and_then(rid),
            target_rid: slot.target().and_then(rid),
            wanted_rid: suits.and_then(rid),
            limited_by: limited_by(client, slot, track, &choice),
            kbps: kilobits(slot.rate(now)),
            packets_sent: counts.media.packets,
            bytes_sent: counts.media.bytes,
            retransmitted_packets_sent: counts.retransmitted.packets,
            retransmitted_bytes_sent: counts.retransmitted.bytes,
            fec_packets_sent: counts.parity.packets,
            fec_bytes_sent: counts.parity.bytes,
            nacked_packets: counts.nacked,
            key_frames_asked: counts.key_frames_asked,
            playout_delay_ms: milliseconds(recovery.max(patience)),
        })
    }

    fn publisher_of(&self, binding: &Binding) -> &ParticipantId {
        &self.clients[binding.publisher.0].identity.participant
    }
}

fn connection_stats(client: &Client) -> ConnectionStats {
    let Client { connection, pipeline, .. } = client;
    let traffic = connection.traffic();
    ConnectionStats {
        connected: connection.is_open(),
        protocol: Protocol::Udp,
        srtp_profile: connection.profile().map(ToOwned::to_owned),
        rtt_ms: pipeline.round_trip().map(milliseconds),
        packets_received: traffic.received.packets,
        bytes_received: traffic.received.bytes,
        packets_sent: traffic.sent.packets,
        bytes_sent: traffic.sent.bytes,
        sending: sending_stats(pipeline),
    }
}

fn sending_stats(pipeline: &ConnectionPipeline) -> Option<SendingStats> {
    let downlink = pipeline.downlink()?;
    let (counts, losses) = (pipeline.loss_counts(), pipeline.losses());
    Some(SendingStats {
        target_kbps: kilobits(downlink.target().rate),
        estimator_state: downlink.state().to_owned(),
        path_class: downlink.path_class().name().to_owned(),
        queue_ms: milliseconds(downlink.queue_time()),
        packets_told: counts.told,
        packets_lost_path: counts.path,
        packets_lost_congestion: counts.congestion,
        loss_path: share(losses.loss),
        loss_congestion: share(losses.congestion),
        loss_burst: share(losses.burst()),
        redundancy: share(pipeline.redundancy()),
    })
}

fn stream_stats(now: Instant, stream: &RtpRecvPipeline, track: Option<&RoomTrack>) -> StreamStats {
    let (counts, active) = (stream.counts(), stream.is_alive(now));
    let (nacks, key_frames) = (stream.nack_stats().unwrap_or_default(), stream.key_frame_stats());
    let kind = stream.codec().map(Codec::kind);
    let is_moving = active && kind == Some(Kind::Video);
    let rate = if active { stream.rate(now) } else { None };
    StreamStats {
        track: track.map(|track| track.id.clone()),
        rid: stream.origin().rid.clone(),
        kind,
        source: track.map(|track| track.source),
        codec: stream.codec().map(|codec| codec.name().to_owned()),
        active,
        width: stream.size().map(|(width, _)| width),
        height: stream.size().map(|(_, height)| height),
        kbps: kilobits(rate.unwrap_or_default()),
        frames_per_second: if is_moving { per_second(stream.picture_interval()) } else { 0.0 },
        frames_received: counts.pictures,
        key_frames_received: counts.key_frames,
        packets_received: counts.packets.packets,
        bytes_received: counts.packets.bytes,
        packets_lost: u64::try_from(stream.reception().lost()).unwrap_or(0),
        packets_retransmitted: counts.retransmitted,
        packets_restored: counts.restored,
        packets_given_up: nacks.given_up,
        nacked_packets: nacks.asked,
        pli_count: key_frames.unwrap_or_default().asked,
        jitter_ms: milliseconds(stream.reception().jitter()),
        recovery_ms: milliseconds(stream.playout_floor(now)),
    }
}

/// Why less is sent than suits the view.
fn limited_by(client: &Client, slot: &RtpSendPipeline, track: &RoomTrack, choice: &Choice) -> LimitedBy {
    if !client.connection.is_open() {
        return LimitedBy::Disconnected;
    }
    if track.muted {
        return LimitedBy::Muted;
    }
    if choice.view == View::Hidden {
        return LimitedBy::Hidden;
    }
    let place = |stream: Option<StreamId>| choice.streams.iter().position(|own| Some(*own) == stream);
    let area = |place: Option<usize>| {
        let size = place.and_then(|place| choice.layers[place].size);
        size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    };
    let possible = choose_layer(choice.view, &choice.layers).filter(|place| choice.layers[*place].alive);
    let target = place(slot.target());
    if possible.is_none() {
        LimitedBy::Publisher
    } else if target.is_none() || area(target) < area(possible) {
        LimitedBy::Bandwidth
    } else if slot.awaited().is_some() {
        LimitedBy::KeyFrame
    } else if area(possible) < area(suiting(choice)) {
        LimitedBy::Publisher
    } else {
        LimitedBy::None
    }
}

/// The layer that would suit the view best if all of them were sent.
fn suiting(choice: &Choice) -> Option<usize> {
    let all: Vec<LayerState> =
        choice.layers.iter().map(|layer| LayerState { alive: true, ..*layer }).collect();
    choose_layer(choice.view, &all)
}

fn kilobits(rate: Bitrate) -> u64 {
    (rate.as_bps() + 500) / 1_000
}

/// With two decimals: more would be noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_micros() as f64 / 10.0).round() / 100.0
}

fn per_second(interval: Duration) -> f64 {
    if interval.is_zero() { 0.0 } else { (10.0 / interval.as_secs_f64()).round() / 10.0 }
}

/// With four decimals.
fn share(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}
