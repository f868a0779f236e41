//! Guests: members of a room who are at home on another worker, and what is asked of that worker for those who watch them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use proto::ids::SessionId;
use proto::rtp::Ssrc;
use proto::rtp::extension::ExtensionMap;
use proto::signal::{CloseCode, LeaveReason};
use proto::time::Instant;

use super::{MemberState, Message, OfferedStream, PeerId, RelayedViewer};
use crate::control::demand::Range;
use crate::control::room::{MemberKey, Newcomer, RoomTrack};
use crate::transport::connection::ConnectionPipeline;
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rtp_send::RtpSendPipeline;
use crate::worker::batch::Incoming;
use crate::worker::client::{Client, ClientKey, Identity};
use crate::worker::{Grant, Worker};

/// A stream that nobody is to be sent is relayed for so long still: layouts change to and fro, and NACKs come late.
const LINGER: Duration = Duration::from_secs(2);

/// Viewers of one picture whose wishes are told; those who can take least are left out, for caps follow the others.
const VIEWERS_MAX: usize = 64;

/// What a guest is besides a client.
#[derive(Debug)]
pub(in crate::worker) struct Guest {
    pub(in crate::worker) home: PeerId,
    /// Between which rates its layers are made.
    ranges: BTreeMap<StreamId, Range>,
    /// Its streams that are asked for.
    wanted: BTreeMap<StreamId, Wanted>,
    /// By media section: the viewers that its home was told of last.
    viewers: BTreeMap<usize, Vec<RelayedViewer>>,
}

/// A stream that is asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    /// Whether it has begun: before, no key frame need be asked for, its home does that.
    has_begun: bool,
    /// Since when nobody is to be sent it.
    idle_since: Option<Instant>,
}

impl Guest {
    /// Between which rates a layer is made, as its home says.
    pub(in crate::worker) fn range(&self, stream: StreamId) -> Option<Range> {
        self.ranges.get(&stream).copied()
    }
}

impl Worker {
    /// Makes a guest what its home says, or lets it in.
    pub(super) fn mirror(&mut self, now: Instant, from: PeerId, room: usize, member: MemberState) {
        if let Some(&key) = self.by_number.get(&member.number) {
            if self.clients[key.0].guest_of(from) {
                self.change_guest(now, key, member);
            }
            return;
        }
        let name = self.rooms[room].name().clone();
        if let Some(old) = self.rooms[room].member_by_identity(&member.identity) {
            let known = &self.clients[old.0].identity;
            if (known.joined, known.number) > (member.joined, member.number) {
                return; // it joined again meanwhile, and its home is told so
            }
            self.replace(now, old);
        }
        if let Some(&room) = self.rooms_by_name.get(&name) {
            self.add_guest(now, from, room, member);
        }
    }

    /// Ends the stay of whoever joined again from elsewhere.
    pub(in crate::worker) fn replace(&mut self, now: Instant, old: ClientKey) {
        if self.clients[old.0].guest.is_some() {
            return self.remove_guest(now, old, LeaveReason::Replaced);
        }
        let reason = "the same identity joined from elsewhere";
        self.end(now, old, LeaveReason::Replaced, CloseCode::Replaced, reason);
    }

    /// A guest goes.
    pub(super) fn remove_guest(&mut self, now: Instant, key: ClientKey, reason: LeaveReason) {
        let room = self.clients[key.0].identity.room;
        self.rooms[room].leave(key, reason);
        self.settle_room(now, room);
        self.forget(key);
    }

    /// A guest's home says that it left.
    pub(super) fn handle_left(&mut self, now: Instant, from: PeerId, number: u64, reason: LeaveReason) {
        if let Some(key) = self.guest_from(from, number) {
            self.remove_guest(now, key, reason);
        }
    }

    /// A guest's home says what it sends.
    pub(super) fn handle_streams(
        &mut self,
        now: Instant,
        from: PeerId,
        (number, round_trip): (u64, Option<Duration>),
        streams: Vec<OfferedStream>,
    ) {
        let Some(key) = self.guest_from(from, number) else { return };
        let client = &mut self.clients[key.0];
        let ranges = streams.iter().map(|offered| (offered.state.id, offered.range)).collect();
        let is_there = |id: &StreamId| streams.iter().any(|offered| offered.state.id == *id);
        if let Some(guest) = &mut client.guest {
            guest.ranges = ranges;
            guest.wanted.retain(|id, _| is_there(id));
        }
        let states = streams.into_iter().map(|offered| offered.state).collect();
        let sections = client.pipeline.mirror_streams(now, round_trip, states);
        for section in sections {
            self.each_route(key, section, |worker, route| worker.retarget(now, route));
        }
        self.check_layers(now, key);
    }

    /// A stream that was asked for begins.
    pub(super) fn handle_begun(
        &mut self,
        now: Instant,
        from: PeerId,
        stream: StreamId,
        (began, packets): (Instant, Vec<SourcePacket>),
    ) {
        let Some(key) = self.guest_from(from, stream.connection) else { return };
        let client = &mut self.clients[key.0];
        let wanted = client.guest.as_mut().and_then(|guest| guest.wanted.get_mut(&stream));
        let Some(wanted) = wanted else { return }; // it is not wanted any more
        wanted.has_begun = true;
        if let Some(section) = client.pipeline.begin_relayed(now, stream, (began, packets)) {
            self.each_route(key, section, |worker, route| worker.press(now, route));
        }
    }

    /// A packet of a guest's stream.
    pub(super) fn handle_relayed_packet(
        &mut self,
        now: Instant,
        from: PeerId,
        stream: StreamId,
        packet: SourcePacket,
    ) {
        let Some(key) = self.guest_from(from, stream.connection) else { return };
        let client = &mut self.clients[key.0];
        let Some(section) = client.pipeline.handle_relayed(now, stream, &packet) else { return };
        if let Some(routes) = client.routes.get(section) {
            self.batch.add(Incoming { stream, packet }, routes);
        }
    }

    /// Packets of a guest's stream are missing for good: whoever watches it needs a key frame.
    pub(super) fn handle_relayed_gap(&mut self, now: Instant, from: PeerId, stream: StreamId) {
        if let Some(key) = self.guest_from(from, stream.connection)
            && self.is_seen(key, stream)
        {
            self.want_key_frame(now, stream);
        }
    }

    /// Somebody here could begin with a guest's stream, or needs a key frame of it.
    pub(in crate::worker) fn want_relayed(&mut self, now: Instant, key: ClientKey, stream: StreamId) {
        let client = &mut self.clients[key.0];
        let Some(guest) = &mut client.guest else { return };
        let home = guest.home;
        let Some(wanted) = guest.wanted.get(&stream) else {
            guest.wanted.insert(stream, Wanted::default());
            return self.relays.outbox(home).push(Message::Want { stream });
        };
        if wanted.has_begun {
            if let Some(source) = client.pipeline.stream_mut(stream) {
                source.want_key_frame(now);
            }
            self.relay_wishes(key);
            let at = self.clients[key.0].pipeline.poll_timeout();
            self.wake_at(now, key, at);
        }
    }

    /// Sees to a guest: its wishes for key frames, its layers, who watches it, what need not be relayed any more.
    pub(in crate::worker) fn handle_guest_timeout(&mut self, now: Instant, key: ClientKey) {
        let wall = self.wall(now);
        let client = &mut self.clients[key.0];
        client.pipeline.handle_timeout(now, wall);
        let layers_due = client.layers_due(now);
        self.relay_wishes(key);
        if layers_due {
            self.check_layers(now, key);
            self.review_demands(now, key);
            self.review_wanted(now, key);
        }
        let at = self.clients[key.0].poll_timeout();
        self.wake_at(now, key, at);
    }

    /// Tells a guest's home what those here can take who watch it.
    pub(in crate::worker) fn relay_viewers(
        &mut self,
        key: ClientKey,
        section: usize,
        mut viewers: Vec<RelayedViewer>,
    ) {
        viewers
            .sort_by_key(|viewer| (core::cmp::Reverse((viewer.more, viewer.keep)), viewer.best, viewer.held));
        viewers.dedup();
        viewers.truncate(VIEWERS_MAX);
        let client = &mut self.clients[key.0];
        let (number, Some(guest)) = (client.identity.number, &mut client.guest) else { return };
        let known = guest.viewers.entry(section).or_default();
        if *known != viewers {
            known.clone_from(&viewers);
            let home = guest.home;
            self.relays.outbox(home).push(Message::Viewers { number, section, viewers });
        }
    }

    fn add_guest(&mut self, now: Instant, from: PeerId, room: usize, member: MemberState) {
        let MemberState { number, participant, identity, name, joined, sections, tracks } = member;
        let newcomer = |key| Newcomer {
            key,
            id: participant.clone(),
            identity: identity.clone(),
            name: name.clone(),
            subscribe: false,
        };
        let newcomer = newcomer(MemberKey(self.clients.vacant_key()));
        let pipeline = ConnectionPipeline::new(Ssrc(0), participant.to_string(), number);
        let room_name = self.rooms[room].name().clone();
        let grant = Grant { room: room_name, identity, name, publish: Vec::new(), subscribe: false };
        let session = SessionId(String::new());
        let identity = Identity { room, number, participant, session, grant, sdp_session: 0, joined };
        let guest =
            Guest { home: from, ranges: BTreeMap::new(), wanted: BTreeMap::new(), viewers: BTreeMap::new() };
        let mut client = Client::guest(now, identity, guest, pipeline);
        client.routes.resize(sections.len(), Vec::new());
        if !tracks.is_empty() {
            client.watch_layers(now); // who sends nothing needs no looking after
        }
        client.pipeline.set_sections(sections, ExtensionMap::default());
        let key = MemberKey(self.clients.insert(client));
        self.by_number.insert(number, key);
        self.rooms[room].join(newcomer);
        self.rooms[room].set_tracks(key, &tracks);
        self.settle_room(now, room);
        let at = self.clients[key.0].poll_timeout();
        self.wake_at(now, key, at);
    }

    fn change_guest(&mut self, now: Instant, key: ClientKey, member: MemberState) {
        let client = &mut self.clients[key.0];
        let room = client.identity.room;
        // Otherwise it muted something or so, and those who watch need not begin anew.
        let is_new_offer = client.pipeline.sections() != member.sections
            || !is_same_media(self.rooms[room].tracks(key), &member.tracks);
        if is_new_offer {
            client.routes.resize(member.sections.len(), Vec::new());
            if !member.tracks.is_empty() {
                client.watch_layers(now);
            }
            client.pipeline.set_sections(member.sections, ExtensionMap::default());
        }
        self.rooms[room].set_tracks(key, &member.tracks);
        self.settle_room(now, room);
        if is_new_offer {
            self.remap(now, key);
        }
        let at = self.clients[key.0].poll_timeout();
        self.wake_at(now, key, at);
    }

    /// Asks a guest's home for the key frames that are due to be asked for.
    fn relay_wishes(&mut self, key: ClientKey) {
        let client = &mut self.clients[key.0];
        let Some(guest) = &client.guest else { return };
        while let Some(stream) = client.pipeline.poll_wish() {
            self.relays.outbox(guest.home).push(Message::KeyFrame { stream });
        }
    }

    /// Asks for what is to be sent to somebody, and for what has not been for [`LINGER`] no more.
    fn review_wanted(&mut self, now: Instant, key: ClientKey) {
        let shown = self.shown_streams(key);
        for stream in &shown {
            let guest = self.clients[key.0].guest.as_ref();
            if guest.is_some_and(|guest| !guest.wanted.contains_key(stream)) {
                self.want_relayed(now, key, *stream);
            }
        }
        let client = &mut self.clients[key.0];
        let Some(guest) = &mut client.guest else { return };
        let mut ended = Vec::new();
        for (stream, wanted) in &mut guest.wanted {
            if shown.contains(stream) {
                wanted.idle_since = None;
            } else if now.since(*wanted.idle_since.get_or_insert(now)) >= LINGER {
                ended.push(*stream);
            }
        }
        for stream in ended {
            guest.wanted.remove(&stream);
            client.pipeline.end_relayed(stream);
            self.relays.outbox(guest.home).push(Message::Unwant { stream });
        }
    }

    /// A guest's streams that somebody here is sent, is to be sent, or may be until then.
    fn shown_streams(&self, key: ClientKey) -> BTreeSet<StreamId> {
        let client = &self.clients[key.0];
        let slots = client
            .routes
            .iter()
            .flatten()
            .filter_map(|route| self.clients[route.subscriber.0].pipeline.slots().get(route.slot));
        let streams = |slot: &RtpSendPipeline| [slot.current(), slot.target(), slot.stand_in()];
        let number = client.identity.number;
        slots.flat_map(streams).flatten().filter(|stream| stream.connection == number).collect()
    }
}

/// Whether tracks differ at most in what changes nothing about their media: whether they are muted, how they are carried.
fn is_same_media(one: &[RoomTrack], other: &[RoomTrack]) -> bool {
    let is_same = |(one, other): (&RoomTrack, &RoomTrack)| {
        (&one.id, &one.mid, one.source, &one.layers) == (&other.id, &other.mid, other.source, &other.layers)
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}
