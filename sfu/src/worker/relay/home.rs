//! Members at home in a room that spans workers: what the other shards are told of them, and what these say back.

use core::time::Duration;
use std::collections::BTreeMap;

use proto::signal::LeaveReason;
use proto::time::Instant;
use proto::units::Bitrate;

use super::outbox::Rank;
use super::{MemberState, Message, OfferedStream, PeerId, RelayedViewer};
use crate::control::demand::Range;
use crate::transport::connection::relayed::StreamState;
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rtp_recv::RtpRecvPipeline;
use crate::worker::Worker;
use crate::worker::client::{Binding, ClientKey};

/// A stream that is relayed to a peer.
#[derive(Debug, Clone, Copy)]
struct Tap {
    peer: PeerId,
    stream: StreamId,
    rank: Rank,
}

/// What others have of a member at home.
#[derive(Debug, Default)]
pub(in crate::worker) struct Spanned {
    taps: Vec<Tap>,
    /// What they were told last of what it sends.
    told: Vec<OfferedStream>,
    /// By peer and media section: who watches.
    viewers: BTreeMap<(PeerId, usize), Vec<RelayedViewer>>,
}

impl Spanned {
    /// Those over there who watch a media section.
    pub(in crate::worker) fn viewers(&self, section: usize) -> impl Iterator<Item = &RelayedViewer> {
        let of_section = self.viewers.iter().filter(move |((_, own), _)| *own == section);
        of_section.flat_map(|(_, viewers)| viewers)
    }

    /// A peer has no shard any more.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.taps.retain(|tap| tap.peer != peer);
        self.viewers.retain(|(own, _), _| *own != peer);
    }
}

impl Worker {
    /// Tells the other shards of somebody who joined, or has changed.
    pub(in crate::worker) fn relay_member(&mut self, key: ClientKey) {
        let room = self.clients[key.0].identity.room;
        for peer in self.span(room) {
            let (room, member) = (self.rooms[room].name().clone(), Box::new(self.member_state(key)));
            self.relays.outbox(peer).push(Message::Member { room, member });
        }
    }

    /// Tells the other shards of somebody who leaves.
    pub(in crate::worker) fn relay_left(&mut self, key: ClientKey, reason: LeaveReason) {
        let (room, number) = (self.clients[key.0].identity.room, self.clients[key.0].identity.number);
        for peer in self.span(room) {
            self.relays.outbox(peer).push(Message::Left { number, reason });
        }
    }

    /// Tells the other shards what a member sends, if it is not what they know.
    pub(in crate::worker) fn relay_streams(&mut self, now: Instant, key: ClientKey) {
        let peers = self.span(self.clients[key.0].identity.room);
        if peers.is_empty() {
            return;
        }
        let streams = self.offered_streams(now, key);
        let is_known = self.clients[key.0].spanned.as_ref().is_some_and(|spanned| {
            let known = spanned.told.iter().zip(&streams);
            spanned.told.len() == streams.len() && known.into_iter().all(|(old, new)| old.is_near(new))
        });
        if is_known {
            return;
        }
        for peer in peers {
            self.say_streams(peer, key, streams.clone());
        }
        let spanned = self.clients[key.0].spanned.get_or_insert_default();
        spanned.taps.retain_mut(|tap| {
            tap.rank = rank(&streams, tap.stream);
            streams.iter().any(|offered| offered.state.id == tap.stream)
        });
        spanned.told = streams;
    }

    /// Relays a packet of a member whom others have.
    pub(in crate::worker) fn relay_packet(
        &mut self,
        key: ClientKey,
        stream: StreamId,
        packet: &SourcePacket,
    ) {
        let Some(spanned) = &self.clients[key.0].spanned else { return };
        for tap in spanned.taps.iter().filter(|tap| tap.stream == stream) {
            self.relays.outbox(tap.peer).push_packet(stream, packet.clone(), tap.rank);
        }
    }

    /// Tells those who have a stream that packets of it were given up.
    pub(in crate::worker) fn relay_gap(&mut self, key: ClientKey, stream: StreamId) {
        let Some(spanned) = &self.clients[key.0].spanned else { return };
        for tap in spanned.taps.iter().filter(|tap| tap.stream == stream) {
            self.relays.outbox(tap.peer).push(Message::Gap { stream });
        }
    }

    /// Tells a peer of this shard in full.
    pub(super) fn say_hello(&mut self, now: Instant, to: PeerId, room: usize) {
        let own: Vec<ClientKey> =
            self.rooms[room].members().filter(|key| self.clients[key.0].guest.is_none()).collect();
        let members = own.iter().map(|key| self.member_state(*key)).collect();
        let name = self.rooms[room].name().clone();
        self.relays.greet(to, name, members);
        for key in own {
            let streams = self.offered_streams(now, key);
            self.say_streams(to, key, streams);
        }
    }

    /// Somebody over there is to be sent a stream.
    pub(super) fn handle_want(&mut self, now: Instant, from: PeerId, stream: StreamId) {
        let Some(key) = self.member_for(from, stream.connection) else { return };
        let Some(source) = self.clients[key.0].pipeline.stream(stream) else { return };
        let gop = if self.config.downlink.instant_start { source.gop(now).ok() } else { None };
        let outbox = self.relays.outbox(from);
        let gop = gop.filter(|gop| outbox.takes_beginning(source.packets(gop).count()));
        let packets: Vec<SourcePacket> = gop.iter().flat_map(|gop| source.packets(gop)).cloned().collect();
        let is_late = packets.is_empty() && source.has_key_frames();
        let began = gop.map_or(now, |gop| gop.began);
        outbox.push(Message::Begun { stream, began, packets });
        let spanned = self.clients[key.0].spanned.get_or_insert_default();
        spanned.taps.retain(|tap| (tap.peer, tap.stream) != (from, stream));
        spanned.taps.push(Tap { peer: from, stream, rank: rank(&spanned.told, stream) });
        if is_late {
            self.want_key_frame(now, stream);
        }
    }

    /// Nobody over there is to be sent a stream any more.
    pub(super) fn handle_unwant(&mut self, from: PeerId, stream: StreamId) {
        let Some(key) = self.member_for(from, stream.connection) else { return };
        if let Some(spanned) = &mut self.clients[key.0].spanned {
            spanned.taps.retain(|tap| (tap.peer, tap.stream) != (from, stream));
        }
    }

    /// Somebody over there needs a key frame.
    pub(super) fn handle_key_frame_wish(&mut self, now: Instant, from: PeerId, stream: StreamId) {
        if self.member_for(from, stream.connection).is_some() {
            self.want_key_frame(now, stream);
        }
    }

    /// What those over there can take who watch.
    pub(super) fn handle_viewers(
        &mut self,
        from: PeerId,
        number: u64,
        section: usize,
        viewers: Vec<RelayedViewer>,
    ) {
        let Some(key) = self.member_for(from, number) else { return };
        let client = &mut self.clients[key.0];
        if section < client.routes.len() {
            client.spanned.get_or_insert_default().viewers.insert((from, section), viewers);
        }
    }

    /// A member at home whom a peer may ask for, since it has a shard of the same room.
    fn member_for(&self, peer: PeerId, number: u64) -> Option<ClientKey> {
        let key = *self.by_number.get(&number)?;
        let client = &self.clients[key.0];
        let peers = self.relays.spans.get(self.rooms.get(client.identity.room)?.name())?;
        (client.guest.is_none() && peers.contains(&peer)).then_some(key)
    }

    fn member_state(&self, key: ClientKey) -> MemberState {
        let client = &self.clients[key.0];
        let identity = &client.identity;
        MemberState {
            number: identity.number,
            participant: identity.participant.clone(),
            identity: identity.grant.identity.clone(),
            name: identity.grant.name.clone(),
            joined: identity.joined,
            sections: client.pipeline.sections().to_vec(),
            tracks: self.rooms[identity.room].tracks(key).to_vec(),
        }
    }

    fn say_streams(&mut self, to: PeerId, key: ClientKey, streams: Vec<OfferedStream>) {
        let client = &self.clients[key.0];
        let (number, round_trip) = (client.identity.number, client.pipeline.round_trip());
        self.relays.outbox(to).push(Message::Streams { number, round_trip, streams });
    }

    fn offered_streams(&self, now: Instant, key: ClientKey) -> Vec<OfferedStream> {
        let pipeline = &self.clients[key.0].pipeline;
        let offered = |stream: &RtpRecvPipeline| {
            let binding = self.binding_of(key, stream.origin().section);
            let state = pipeline.state(now, stream.id())?;
            let rate = binding.as_ref().and_then(|binding| self.believed_rate(now, binding, stream));
            let state = StreamState { rate: rate.or(state.rate), ..state };
            Some(OfferedStream { state, range: UNKNOWN })
        };
        let mut streams: Vec<OfferedStream> = pipeline.all_streams().filter_map(offered).collect();
        for section in 0..pipeline.sections().len() {
            let choice = self.binding_of(key, section).and_then(|binding| self.all_of(now, &binding));
            let Some(choice) = choice else { continue };
            for (id, range) in choice.streams.iter().zip(choice.ranges) {
                if let Some(own) = streams.iter_mut().find(|offered| offered.state.id == *id) {
                    own.range = range;
                }
            }
        }
        streams
    }

    /// What a slot would have that showed a member's media section.
    fn binding_of(&self, key: ClientKey, section: usize) -> Option<Binding> {
        let client = &self.clients[key.0];
        let mid = client.pipeline.section_mid(section)?;
        let tracks = self.rooms[client.identity.room].tracks(key);
        let track = tracks.iter().find(|track| track.mid == *mid)?.id.clone();
        Some(Binding { publisher: key, section, track })
    }
}

impl OfferedStream {
    /// Whether it is much the same: rates and intervals waver.
    fn is_near(&self, other: &Self) -> bool {
        let near = |one: Bitrate, two: Bitrate| one == two || (one.ratio(two) - 1.0).abs() < NEAR;
        let (one, two) = (&self.state, &other.state);
        let interval = one.picture_interval.abs_diff(two.picture_interval);
        let what = |state: &StreamState| {
            let is_measured = state.rate.is_some();
            (state.id, state.is_alive, state.size, state.codec, state.origin.section, is_measured)
        };
        what(one) == what(two)
            && interval < one.picture_interval.mul_f64(NEAR) + Duration::from_millis(2)
            && near(one.rate.unwrap_or_default(), two.rate.unwrap_or_default())
            && near(self.range.floor, other.range.floor)
            && near(self.range.full, other.range.full)
    }
}

/// Of a stream that belongs to no track.
const UNKNOWN: Range = Range { rate: Bitrate::ZERO, floor: Bitrate::ZERO, full: Bitrate::ZERO };

/// Rates that differ by less are not told anew.
const NEAR: f64 = 0.05;

/// Whether a stream is a larger layer of its picture.
fn rank(streams: &[OfferedStream], stream: StreamId) -> Rank {
    let area =
        |state: &StreamState| state.size.map_or(0, |(width, height)| u64::from(width) * u64::from(height));
    let Some(own) = streams.iter().find(|offered| offered.state.id == stream) else { return Rank::Base };
    let is_smaller = |other: &&OfferedStream| {
        let (own, other) = (&own.state, &other.state);
        other.origin.section == own.origin.section && other.is_alive && area(other) < area(own)
    };
    if streams.iter().any(|other| is_smaller(&other)) { Rank::Enhancement } else { Rank::Base }
}
