//! The relay: a room that spans workers has a shard on each, and what happens in one shard is told to the others.
//!
//! In: [`Batch`]es of other workers. Out: [`Worker::take_relay`], a batch for each peer, once a turn. Time: `now`, the
//! receiver's. Limit: [`outbox::MEDIA_MAX`] packets as they come and [`outbox::BEGINNINGS_MAX`] with which streams begin wait for a
//! peer; what is told besides is never dropped, but what is newer replaces it: [`outbox`] tells how much that can be.
//!
//! Whose connection is on a worker is a member at home there. The other shards have it as a *guest*: a client without
//! WebSocket, connection and downlink, whose streams are fed by packets relayed in the clear. So all that serves a
//! subscriber (history for NACKs, the last key frame, layer choice, rates) is the same for guests' streams as for those
//! of members at home. A stream is relayed only while a slot over there is to show it.
//!
//! **Acquaintance.** A shard that opens says `Hello` to all workers that have, or may soon have, one, and later to those
//! that it hears of only then. Who hears it the first time answers with its own, in full; who has no shard remembers it until
//! `Bye`, and greets it when it opens one. A shard that ends says `Bye` to all that it has greeted, whether or not they have
//! one still. So a worker knows of another's shard from its `Hello` to its `Bye`, and two shards know each other, whichever
//! began and whichever ended before.
//!
//! **Seam.** A batch is a list of plain values. The one thing that is shared is a packet, behind its `Arc`; a relay between
//! nodes would write it out instead.

mod guest;
mod home;
mod outbox;

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use proto::ids::{ParticipantId, RoomName};
use proto::signal::LeaveReason;
use proto::time::Instant;
use proto::units::Bitrate;

use super::Worker;
use super::client::{Client, ClientKey};
use crate::control::demand::Range;
use crate::control::room::{MemberKey, RoomTrack};
use crate::transport::connection::ReceiveSection;
use crate::transport::connection::relayed::StreamState;
use crate::transport::packet::{SourcePacket, StreamId};
pub(super) use guest::Guest;
pub(super) use home::Spanned;
pub use outbox::Batch;
use outbox::Outbox;

/// Another worker, by its number: no two that relay to each other have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// What one worker tells another.
#[derive(Debug)]
enum Message {
    /// The sender has a shard of a room; its members at home, in full.
    Hello { room: RoomName, members: Vec<MemberState> },
    /// The sender has no shard of a room any more.
    Bye { room: RoomName },
    /// Somebody joined, or something about a member has changed.
    Member { room: RoomName, member: Box<MemberState> },
    /// A member left.
    Left { number: u64, reason: LeaveReason },
    /// What a member sends, in full.
    Streams { number: u64, round_trip: Option<Duration>, streams: Vec<OfferedStream> },
    /// A stream that was asked for follows. First its newest key frame and what came since, which began at `began`; nothing if
    /// that cannot be had.
    Begun { stream: StreamId, began: Instant, packets: Vec<SourcePacket> },
    /// A packet of a stream that is relayed.
    Packet { stream: StreamId, packet: SourcePacket },
    /// Packets of a stream are missing for good.
    Gap { stream: StreamId },
    /// Somebody over there is to be sent a stream.
    Want { stream: StreamId },
    /// Nobody is any more.
    Unwant { stream: StreamId },
    /// Somebody over there needs a key frame.
    KeyFrame { stream: StreamId },
    /// What those over there who watch a member's media section can take.
    Viewers { number: u64, section: usize, viewers: Vec<RelayedViewer> },
}

/// A member at home on the worker that tells it.
#[derive(Debug, Clone)]
struct MemberState {
    /// The number of its connection, unique among all peers.
    number: u64,
    participant: ParticipantId,
    identity: String,
    name: String,
    joined: Instant,
    sections: Vec<Option<ReceiveSection>>,
    tracks: Vec<RoomTrack>,
}

/// A stream that may be asked for.
#[derive(Debug, Clone, PartialEq)]
struct OfferedStream {
    state: StreamState,
    /// Between which rates its publisher would make it.
    range: Range,
}

/// What a viewer over there can take of a picture; see [`Viewer`](crate::control::demand::Viewer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RelayedViewer {
    pub(super) best: StreamId,
    pub(super) held: Option<StreamId>,
    pub(super) keep: Bitrate,
    pub(super) more: Bitrate,
}

/// A worker's acquaintances.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// By room: who has a shard of it, for it said `Hello` and no `Bye` since.
    spans: BTreeMap<RoomName, BTreeSet<PeerId>>,
    /// By room with a shard here: to whom this shard said `Hello`, and owes a `Bye`.
    greeted: BTreeMap<RoomName, BTreeSet<PeerId>>,
    outboxes: BTreeMap<PeerId, Outbox>,
}

impl Relays {
    fn outbox(&mut self, peer: PeerId) -> &mut Outbox {
        self.outboxes.entry(peer).or_default()
    }

    /// Says hello, and that it was said.
    fn greet(&mut self, to: PeerId, room: RoomName, members: Vec<MemberState>) {
        self.greeted.entry(room.clone()).or_default().insert(to);
        self.outbox(to).push(Message::Hello { room, members });
    }
}

impl Worker {
    /// The peers for whom there is something to take by [`Self::take_relay`], in the order of their numbers.
    pub fn relays(&self) -> impl Iterator<Item = PeerId> {
        self.relays.outboxes.iter().filter(|(_, outbox)| !outbox.is_empty()).map(|(peer, _)| *peer)
    }

    /// What is to be handed to a peer, in its [`Input::Relayed`](super::Input::Relayed). Batches must arrive in the order in
    /// which they were taken; whoever cannot hand one over yet leaves it here, where it has its limit.
    pub fn take_relay(&mut self, peer: PeerId) -> Batch {
        let batch = self.relays.outboxes.get_mut(&peer).map(Outbox::take).unwrap_or_default();
        self.stats.relay.count(&batch);
        batch
    }

    /// Another worker has something to say.
    pub(super) fn handle_relayed(&mut self, now: Instant, from: PeerId, batch: Batch) {
        for message in batch.into_messages() {
            match message {
                Message::Hello { room, members } => self.handle_hello(now, from, &room, members),
                Message::Bye { room } => self.handle_bye(now, from, &room),
                Message::Member { room, member } => {
                    if let Some(&room) = self.rooms_by_name.get(&room) {
                        self.mirror(now, from, room, *member);
                    }
                }
                Message::Left { number, reason } => self.handle_left(now, from, number, reason),
                Message::Streams { number, round_trip, streams } => {
                    self.handle_streams(now, from, (number, round_trip), streams);
                }
                Message::Begun { stream, began, packets } => {
                    self.handle_begun(now, from, stream, (began, packets));
                }
                Message::Packet { stream, packet } => self.handle_relayed_packet(now, from, stream, packet),
                Message::Gap { stream } => self.handle_relayed_gap(now, from, stream),
                Message::Want { stream } => self.handle_want(now, from, stream),
                Message::Unwant { stream } => self.handle_unwant(from, stream),
                Message::KeyFrame { stream } => self.handle_key_frame_wish(now, from, stream),
                Message::Viewers { number, section, viewers } => {
                    self.handle_viewers(from, number, section, viewers);
                }
            }
        }
    }

    /// How many shards this worker knows of that others have, of all rooms: none when they have none.
    pub fn shards_elsewhere(&self) -> usize {
        self.relays.spans.values().map(BTreeSet::len).sum()
    }

    /// Says hello, once to each, to whoever else has a shard of a room, or may have: `others`.
    pub(super) fn greet(&mut self, room: usize, others: &[PeerId]) {
        let (name, own) = (self.rooms[room].name().clone(), self.own_id());
        let known = self.relays.spans.get(&name).into_iter().flatten().copied();
        let greeted = self.relays.greeted.get(&name);
        let is_new = |peer: &PeerId| *peer != own && greeted.is_none_or(|greeted| !greeted.contains(peer));
        let peers: BTreeSet<PeerId> = known.chain(others.iter().copied()).filter(is_new).collect();
        for peer in peers {
            self.relays.greet(peer, name.clone(), Vec::new());
        }
    }

    /// Says goodbye: nobody is at home in this shard any more, and its guests go with it.
    pub(super) fn close_shard(&mut self, room: usize) {
        let name = self.rooms[room].name().clone();
        let guests: Vec<ClientKey> = self.rooms[room].members().collect();
        for guest in guests {
            self.forget(guest);
        }
        for peer in self.relays.greeted.remove(&name).unwrap_or_default() {
            self.relays.outbox(peer).push(Message::Bye { room: name.clone() });
        }
    }

    /// Whether nobody is at home in a shard.
    pub(super) fn is_deserted(&self, room: usize) -> bool {
        self.rooms[room].members().all(|key| self.clients[key.0].guest.is_some())
    }

    /// How many rooms have shards here and elsewhere.
    pub(super) fn rooms_spanning(&self) -> usize {
        self.relays.spans.keys().filter(|name| self.rooms_by_name.contains_key(*name)).count()
    }

    /// How many packets were dropped since peers did not take them.
    pub(super) fn relay_dropped(&self) -> u64 {
        self.relays.outboxes.values().map(Outbox::dropped).sum()
    }

    /// The number under which others know this worker.
    fn own_id(&self) -> PeerId {
        PeerId(self.config.mark.worker() as u32)
    }

    /// The others that have a shard of a room.
    fn span(&self, room: usize) -> Vec<PeerId> {
        if self.relays.spans.is_empty() {
            return Vec::new();
        }
        let name = self.rooms.get(room).map(crate::control::room::Room::name);
        let peers = name.and_then(|name| self.relays.spans.get(name));
        peers.into_iter().flatten().copied().collect()
    }

    fn handle_hello(&mut self, now: Instant, from: PeerId, name: &RoomName, members: Vec<MemberState>) {
        let is_new = self.relays.spans.entry(name.clone()).or_default().insert(from);
        let Some(&room) = self.rooms_by_name.get(name) else { return };
        if is_new {
            self.say_hello(now, from, room);
        }
        let is_gone = |client: &Client| {
            let number = client.identity.number;
            client.guest_of(from) && members.iter().all(|member| member.number != number)
        };
        let gone = self.rooms[room].members().filter(|key| is_gone(&self.clients[key.0]));
        for key in gone.collect::<Vec<_>>() {
            self.remove_guest(now, key, LeaveReason::Left);
        }
        for member in members {
            let Some(&room) = self.rooms_by_name.get(name) else { return }; // the last one here was replaced
            self.mirror(now, from, room, member);
        }
    }

    fn handle_bye(&mut self, now: Instant, from: PeerId, name: &RoomName) {
        if let Some(peers) = self.relays.spans.get_mut(name) {
            peers.remove(&from);
            if peers.is_empty() {
                self.relays.spans.remove(name);
            }
        }
        let Some(&room) = self.rooms_by_name.get(name) else { return };
        for key in self.rooms[room].members().collect::<Vec<_>>() {
            if self.clients[key.0].guest_of(from) {
                self.remove_guest(now, key, LeaveReason::Left);
            } else if let Some(spanned) = &mut self.clients[key.0].spanned {
                spanned.forget(from);
            }
        }
    }

    /// The client that sends a stream, if it is a guest from there.
    fn guest_from(&self, from: PeerId, number: u64) -> Option<MemberKey> {
        let key = *self.by_number.get(&number)?;
        self.clients[key.0].guest_of(from).then_some(key)
    }
}
