//! A client's life on a worker: its timers, the loss and return of its media, and its end.

use proto::ids::ParticipantId;
use proto::signal::{CloseCode, LeaveReason};
use proto::time::Instant;

use super::client::{ClientKey, Lapse, Route};
use super::{Event, Output, Worker};
use crate::control::room::MemberKey;

impl Worker {
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, socket)) = self.unjoined.front().copied() {
            if at > now {
                break;
            }
            self.unjoined.pop_front();
            if self.sockets.get(&socket).is_some_and(|state| state.client.is_none()) {
                self.close_socket(socket, CloseCode::Refused, "no join came in time");
            }
        }
        while let Some((at, key)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(client) = self.clients.get_mut(key.0) {
                client.wake = None;
                self.handle_client_timeout(now, key);
            }
        }
        self.handle_pacing(now);
    }

    fn handle_client_timeout(&mut self, now: Instant, key: ClientKey) {
        if self.clients[key.0].guest.is_some() {
            return self.handle_guest_timeout(now, key);
        }
        let wall = self.wall(now);
        let client = &mut self.clients[key.0];
        client.connection.handle_timeout(now);
        client.pipeline.handle_timeout(now, wall);
        let layers_due = client.layers_due(now);
        self.settle_connection(now, key);
        self.fill_gaps(now, key);
        self.repeat_answers(now, key);
        self.answer_nacks(now, key);
        self.flush_rtcp(now, key);
        if layers_due {
            self.check_layers(now, key);
            self.review_demands(now, key);
            self.relay_streams(now, key);
        }
        self.settle_session(now, key);
    }

    /// Ends a session whose time has come, else wakes it in time.
    pub(super) fn settle_session(&mut self, now: Instant, key: ClientKey) {
        match self.clients[key.0].lapse(now) {
            None => {
                let at = self.clients[key.0].poll_timeout();
                self.wake_at(now, key, at);
            }
            Some(Lapse::ConnectionLost) => {
                let reason = "neither the WebSocket nor media came back in time";
                self.end(now, key, LeaveReason::ConnectionLost, CloseCode::SessionOver, reason);
            }
            Some(Lapse::MediaLost) => {
                let reason = "no media path to the server works: are its media ports reachable from the client's network?";
                self.end(now, key, LeaveReason::ConnectionLost, CloseCode::MediaLost, reason);
            }
            Some(Lapse::SocketSilent) => {
                if let Some(socket) = self.clients[key.0].socket {
                    self.outputs.push_back(Output::CloseSocket { socket });
                    self.sockets.remove(&socket);
                }
                self.clients[key.0].detach(now);
                self.settle_session(now, key);
            }
        }
    }

    /// Media can flow to a client: its slots need key frames now.
    pub(super) fn handle_media_open(&mut self, now: Instant, key: ClientKey) {
        for slot in 0..self.clients[key.0].slots.len() {
            self.retarget(now, Route { subscriber: key, slot });
        }
        self.make_due(key);
    }

    /// Ends a client's stay: it is told, its room is told, and nothing of it remains.
    pub(super) fn end(
        &mut self,
        now: Instant,
        key: ClientKey,
        reason: LeaveReason,
        code: CloseCode,
        words: &str,
    ) {
        self.say_goodbye(key);
        if let Some(socket) = self.clients[key.0].socket.take() {
            self.close_socket(socket, code, words);
        }
        let room = self.clients[key.0].identity.room;
        self.rooms[room].leave(key, reason);
        self.settle_room(now, room);
        self.relay_left(key, reason);
        let participant = self.forget(key);
        let name = self.rooms[room].name().clone();
        self.emit(Event::ParticipantLeft { room: name.clone(), participant, reason });
        if self.is_deserted(room) {
            self.close_shard(room);
            self.rooms.remove(room);
            self.rooms_by_name.remove(&name);
            self.emit(Event::RoomClosed { room: name });
        }
    }

    /// Tells everybody that the server stops, and nobody of anybody else: they all go.
    pub(super) fn drain(&mut self) {
        let words = "the server is shutting down";
        for socket in self.sockets.keys().copied().collect::<Vec<_>>() {
            self.close_socket(socket, CloseCode::ServerClosing, words);
        }
        let keys: Vec<ClientKey> = self.clients.iter().map(|(key, _)| MemberKey(key)).collect();
        for key in keys {
            if self.clients[key.0].guest.is_some() {
                self.forget(key);
                continue;
            }
            self.say_goodbye(key);
            let room = self.rooms[self.clients[key.0].identity.room].name().clone();
            let participant = self.forget(key);
            self.emit(Event::ParticipantLeft { room, participant, reason: LeaveReason::ServerClosing });
        }
        self.unjoined.clear();
        self.rooms_by_name.clear();
        for room in self.rooms.drain().collect::<Vec<_>>() {
            self.emit(Event::RoomClosed { room: room.name().clone() });
        }
    }

    fn say_goodbye(&mut self, key: ClientKey) {
        self.clients[key.0].connection.close();
        while let Some((path, bytes)) = self.clients[key.0].connection.poll_transmit() {
            self.transmit(path, &bytes);
        }
    }

    /// Removes a client from every table.
    pub(super) fn forget(&mut self, key: ClientKey) -> ParticipantId {
        let client = self.clients.remove(key.0);
        self.batch.forget(key);
        for (_, binding) in &client.slots {
            let Some(binding) = binding else { continue };
            let publisher = self.clients.get_mut(binding.publisher.0);
            if let Some(routes) = publisher.and_then(|publisher| publisher.routes.get_mut(binding.section)) {
                routes.retain(|route| route.subscriber != key);
            }
        }
        if let Some(wake) = client.wake {
            self.timers.remove(&(wake, key));
        }
        if let Some(pace) = client.pace {
            self.pacing.remove(&(pace, key));
        }
        self.by_session.remove(&client.identity.session);
        self.by_number.remove(&client.identity.number);
        self.by_path.retain(|_, owner| *owner != key);
        self.by_ufrag.retain(|_, owner| *owner != key);
        client.identity.participant
    }
}
