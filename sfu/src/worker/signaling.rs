//! Room signaling on a worker: `WebSockets` come and go, their messages change rooms, rooms tell their members.

use core::time::Duration;

use proto::ids::{SessionId, TrackId};
use proto::signal::{
    ClientMessage, CloseCode, ErrorCode, Layout, LeaveReason, Notice, Request, ServerMessage, Strategy,
    TILES_MAX,
};
use proto::time::Instant;
use proto::units::DataSize;

use super::client::{Binding, ClientKey, Route};
use super::relay::PeerId;
use super::{Event, Grant, Output, Socket, SocketId, Worker};
use crate::adapter::room_signal;
use crate::control::room::{Room, RoomEvent, RoomTrack};
use crate::transport::strategy::{self as transport, Repairs};

/// How long a WebSocket may be open without a join or a session taken up again.
const JOIN_WITHIN: Duration = Duration::from_secs(15);

/// What a WebSocket's text message has around it: headers of IP, TCP with timestamps, TLS and the frame.
const SOCKET_OVERHEAD: u64 = 20 + 32 + 22 + 4;

impl Worker {
    pub(super) fn handle_socket_opened(
        &mut self,
        now: Instant,
        socket: SocketId,
        (grant, others): (Grant, Vec<PeerId>),
        session: Option<SessionId>,
    ) {
        self.sockets.insert(socket, Socket { grant, others, client: None });
        self.unjoined.push_back((now + JOIN_WITHIN, socket));
        if let Some(session) = session {
            self.resume(now, socket, &session);
        }
    }

    pub(super) fn handle_socket_message(&mut self, now: Instant, socket: SocketId, text: &str) {
        let Some(state) = self.sockets.get(&socket) else { return };
        let client = state.client;
        if let Some(key) = client {
            self.clients[key.0].note_heard(now);
        }
        match room_signal::decode(text) {
            Ok(request) => self.handle_request(now, socket, client, request),
            Err(notice) => self.send_notice(socket, &notice),
        }
    }

    pub(super) fn handle_socket_closed(&mut self, now: Instant, socket: SocketId) {
        let Some(Socket { client: Some(key), .. }) = self.sockets.remove(&socket) else { return };
        self.clients[key.0].detach(now);
        self.settle_session(now, key);
    }

    /// Sends a message to a client, if its WebSocket works; otherwise it learns the state when it resumes.
    pub(super) fn notify(&mut self, key: ClientKey, re: Option<u64>, message: ServerMessage) {
        if let Some(socket) = self.clients[key.0].socket {
            self.send_notice(socket, &Notice { re, message });
        }
    }

    pub(super) fn send_notice(&mut self, socket: SocketId, notice: &Notice) {
        let text = room_signal::encode(notice);
        if let Some(key) = self.sockets.get(&socket).and_then(|socket| socket.client) {
            self.clients[key.0].told += DataSize::bytes(text.len() as u64 + SOCKET_OVERHEAD);
        }
        self.outputs.push_back(Output::Message { socket, text });
    }

    /// Says why and closes a WebSocket.
    pub(super) fn close_socket(&mut self, socket: SocketId, code: CloseCode, reason: &str) {
        let message = ServerMessage::Closed { code, reason: reason.to_owned() };
        self.send_notice(socket, &Notice { re: None, message });
        self.outputs.push_back(Output::CloseSocket { socket });
        self.sockets.remove(&socket);
    }

    /// Carries out what a room has decided, until it has nothing more.
    pub(super) fn settle_room(&mut self, now: Instant, room: usize) {
        while let Some(event) = self.rooms.get_mut(room).and_then(Room::poll_event) {
            match event {
                RoomEvent::Notify { to, message } => self.notify(to, None, message),
                RoomEvent::Carry { subscriber, slot } => self.carry(Route { subscriber, slot }),
                RoomEvent::ViewChanged { subscriber, slot } => self.retarget(now, Route { subscriber, slot }),
                RoomEvent::Bind { subscriber, slot, track } => {
                    let binding = track.and_then(|(publisher, track)| {
                        let tracks = self.rooms[room].tracks(publisher);
                        let mid = &tracks.iter().find(|known| known.id == track)?.mid;
                        let section = self.clients.get(publisher.0)?.pipeline.section_of(mid)?;
                        Some(Binding { publisher, section, track })
                    });
                    self.bind(now, subscriber, slot, binding.as_ref());
                }
            }
        }
    }

    fn handle_request(
        &mut self,
        now: Instant,
        socket: SocketId,
        client: Option<ClientKey>,
        request: Request,
    ) {
        let re = Some(request.id);
        match (request.message, client) {
            (ClientMessage::Ping { sent_ms }, _) => {
                self.send_notice(socket, &Notice { re, message: ServerMessage::Pong { sent_ms } });
            }
            (ClientMessage::Join(join), None) => self.join(now, socket, request.id, &join),
            (ClientMessage::Join(_), Some(_)) => {
                self.refuse(
                    socket,
                    re,
                    ErrorCode::BadState,
                    "this session has joined already; send an offer instead",
                );
            }
            (_, None) => {
                self.refuse(socket, re, ErrorCode::BadState, "the first message of a session must be a join");
            }
            (ClientMessage::Offer(offer), Some(key)) => {
                self.renegotiate(now, socket, key, request.id, &offer);
            }
            (ClientMessage::Layout(layout), Some(key)) => self.set_layout(now, socket, key, re, layout),
            (ClientMessage::Mute { track, muted }, Some(key)) => {
                let room = self.clients[key.0].identity.room;
                let is_as_before = |own: &RoomTrack| own.id == track && own.muted == muted;
                let is_news = !self.rooms[room].tracks(key).iter().any(is_as_before);
                if self.rooms[room].set_muted(key, &track, muted) {
                    self.settle_room(now, room);
                    if is_news {
                        self.relay_member(key);
                    }
                } else {
                    let reason = format!("{track} is not a track that this session publishes");
                    self.refuse(socket, re, ErrorCode::UnknownTrack, &reason);
                }
            }
            (ClientMessage::Carry { track, strategy }, Some(key)) => {
                self.set_strategy(now, (socket, re), key, &track, &strategy);
            }
            (ClientMessage::Applied(applied), Some(key)) => self.note_applied(now, key, &applied),
            (ClientMessage::Leave, Some(key)) => {
                self.end(now, key, LeaveReason::Left, CloseCode::Left, "left as asked");
            }
        }
    }

    pub(super) fn refuse(&mut self, socket: SocketId, re: Option<u64>, code: ErrorCode, reason: &str) {
        self.send_notice(socket, &room_signal::error(re, code, reason));
    }

    fn set_layout(
        &mut self,
        now: Instant,
        socket: SocketId,
        key: ClientKey,
        re: Option<u64>,
        layout: Layout,
    ) {
        if layout.tiles.len() > TILES_MAX {
            let reason = format!("a layout may have {TILES_MAX} tiles, this one has {}", layout.tiles.len());
            return self.refuse(socket, re, ErrorCode::LimitReached, &reason);
        }
        if let Err(fault) = layout.tiles.iter().try_for_each(|tile| tile.strategy.check()) {
            return self.refuse(socket, re, ErrorCode::BadMessage, &fault.to_string());
        }
        let room = self.clients[key.0].identity.room;
        self.rooms[room].set_layout(key, layout);
        self.settle_room(now, room);
    }

    /// A publisher has one of its tracks carried in another way.
    fn set_strategy(
        &mut self,
        now: Instant,
        (socket, re): (SocketId, Option<u64>),
        key: ClientKey,
        track: &TrackId,
        strategy: &Strategy,
    ) {
        if let Err(fault) = strategy.check() {
            return self.refuse(socket, re, ErrorCode::BadMessage, &fault.to_string());
        }
        let room = self.clients[key.0].identity.room;
        let is_as_before = |own: &RoomTrack| own.id == *track && own.strategy == *strategy;
        let is_news = !self.rooms[room].tracks(key).iter().any(is_as_before);
        if !self.rooms[room].set_strategy(key, track, strategy.clone()) {
            let reason = format!("{track} is not a track that this session publishes");
            return self.refuse(socket, re, ErrorCode::UnknownTrack, &reason);
        }
        let own = self.rooms[room].tracks(key).iter().find(|own| own.id == *track);
        let pipeline = &mut self.clients[key.0].pipeline;
        if let Some(section) = own.and_then(|own| pipeline.section_of(&own.mid)) {
            let room = transport::Strategy { repair: Repairs::ALL, ..self.config.downlink.strategy() };
            pipeline.set_section_strategy(section, room.stated(strategy));
        }
        self.settle_room(now, room);
        if is_news {
            self.relay_member(key);
        }
    }

    /// Carries what is in a slot as its viewer, its publisher and the room have it.
    fn carry(&mut self, Route { subscriber, slot }: Route) {
        let client = &mut self.clients[subscriber.0];
        let stated = self.rooms[client.identity.room].strategy(subscriber, slot);
        client.pipeline.set_strategy(slot, self.config.downlink.strategy().stated(&stated));
    }

    /// Takes a session up again on another WebSocket.
    fn resume(&mut self, now: Instant, socket: SocketId, session: &SessionId) {
        let grant = &self.sockets[&socket].grant;
        let key = self.by_session.get(session).copied().filter(|key| {
            let own = &self.clients[key.0].identity.grant;
            (&own.identity, &own.room) == (&grant.identity, &grant.room)
        });
        let Some(key) = key else {
            return self.close_socket(socket, CloseCode::SessionOver, "this session is over; join anew");
        };
        if let Some(state) = self.sockets.get_mut(&socket) {
            state.client = Some(key);
        }
        if let Some(old) = self.clients[key.0].attach(now, socket) {
            self.close_socket(old, CloseCode::Replaced, "the session goes on over another WebSocket");
        }
        let room = &self.rooms[self.clients[key.0].identity.room];
        let message = ServerMessage::Resumed {
            room: room.announced_to(key),
            tracks: room.own_tracks(key),
            slots: room.bindings(key),
        };
        self.notify(key, None, message);
        if self.clients[key.0].connection.is_lost() {
            self.notify(key, None, ServerMessage::IceRestartNeeded);
        }
        self.announce_layers(key);
        self.repeat_demands(now, key);
        let room = self.clients[key.0].identity.room;
        self.rooms[room].remind(key);
        self.settle_room(now, room);
        self.settle_session(now, key);
    }

    /// Puts a track into a slot, or empties it, and moves its route.
    fn bind(&mut self, now: Instant, subscriber: ClientKey, slot: usize, binding: Option<&Binding>) {
        self.take_in(now, subscriber); // what came for the track that the slot still shows
        let route = Route { subscriber, slot };
        let client = &mut self.clients[subscriber.0];
        let Some((_, carried)) = client.slots.get_mut(slot) else { return };
        let before = std::mem::replace(carried, binding.cloned());
        if let Some(old) = before.and_then(|old| self.routes_mut(&old)) {
            old.retain(|other| *other != route);
        }
        let codecs = binding.and_then(|binding| {
            self.clients[binding.publisher.0].pipeline.section_codecs(binding.section).map(<[_]>::to_vec)
        });
        if let Some(pipeline) = self.clients[subscriber.0].pipeline.slot_mut(slot) {
            pipeline.bind(codecs.as_deref());
        }
        self.carry(route);
        if let Some(routes) = binding.and_then(|binding| self.routes_mut(binding)) {
            routes.push(route);
            self.retarget(now, route);
        }
    }

    fn routes_mut(&mut self, binding: &Binding) -> Option<&mut Vec<Route>> {
        self.clients.get_mut(binding.publisher.0)?.routes.get_mut(binding.section)
    }

    /// The room that `grant` names, made if it is not there; `others` may have shards of it.
    pub(super) fn room_for(&mut self, grant: &Grant, others: &[PeerId]) -> usize {
        let known = self.rooms_by_name.get(&grant.room).copied();
        let room = known.unwrap_or_else(|| {
            let room = self.rooms.insert(Room::new(grant.room.clone()));
            self.rooms_by_name.insert(grant.room.clone(), room);
            self.emit(Event::RoomOpened { room: grant.room.clone() });
            room
        });
        self.greet(room, others);
        room
    }
}
