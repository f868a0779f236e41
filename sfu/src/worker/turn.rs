//! A subscriber's turn: what came for it, what its pacer lets go, and when it goes on.
//!
//! In: a client, once all inputs of a batch are in. Out: sealed datagrams in [`Transmits`](super::Transmits), one behind the
//! other. Time: `now`, the last input's. Limit: of what came, that of the send queue; of what leaves, the pacer's burst.
//!
//! **What is idle costs nothing.** Where nothing waits and the pacer allows it, a packet is written and sealed at once, without
//! a place in the queue. A subscriber of whom nothing was heard since its last turn has that alone done: its estimator has
//! nothing new to say, and its timer is one that was set before.

use core::time::Duration;

use cc::PacketClass;
use proto::time::{Instant, earliest};
use proto::units::DataSize;

use super::batch::{Incoming, Turn};
use super::client::{ClientKey, Route};
use super::{DropReason, Worker};
use crate::transport::connection::outgoing::{Leaving, Offered};
use crate::transport::downlink::IP_UDP_HEADERS;
use crate::transport::packet::StreamId;
use crate::transport::rtp_send::RtpSendPipeline;
use crate::transport::stats::count;

/// While packets are in flight timers are looked at so often: a packet that leaves sets none by itself, and estimators wait
/// half a second at least to be told of one.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How a subscriber's copies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// At once where nothing waits.
    Direct,
    /// Into the queue: it is not the subscriber's turn.
    Queue,
}

impl Worker {
    /// Gives a client its turn.
    pub(super) fn take_turn(&mut self, now: Instant, key: ClientKey, turn: Turn) {
        self.fetch_ahead();
        self.take_copies(now, key, Way::Direct);
        if turn == Turn::Stirred || self.is_pump_due(now, key) {
            self.pump(now, key);
        }
    }

    /// Asks for what the next turns need: first for a client, when that is here for what it points at, and so on.
    fn fetch_ahead(&self) {
        let client = |(key, slot): (ClientKey, Option<usize>)| Some((self.clients.get(key.0)?, slot));
        if let Some((next, Some(slot))) = self.batch.due_after(0).and_then(client) {
            next.pipeline.fetch_within(slot);
        }
        if let Some((later, slot)) = self.batch.due_after(1).and_then(client) {
            later.connection.fetch_behind();
            later.pipeline.fetch_behind(slot);
        }
        if let Some((later, _)) = self.batch.due_after(2).and_then(client) {
            later.connection.fetch_ahead();
            later.pipeline.fetch_ahead();
        }
    }

    /// Lets into a subscriber's queue what came for it and has not had its turn: whoever is to know what it shows must do so
    /// first.
    pub(super) fn take_in(&mut self, now: Instant, key: ClientKey) {
        self.take_copies(now, key, Way::Queue);
    }

    /// Sends what came for a subscriber, or lets it into its queue.
    fn take_copies(&mut self, now: Instant, key: ClientKey, way: Way) {
        let wall = self.wall(now);
        while let Some((slot, place)) = self.batch.take(key) {
            let Some(client) = self.clients.get_mut(key.0).filter(|client| client.connection.is_open())
            else {
                continue;
            };
            let Incoming { stream, packet } = self.batch.packet(place);
            let stream = *stream;
            let offered = match way {
                Way::Direct => {
                    self.plaintext.clear();
                    client.pipeline.forward((now, wall), slot, stream, packet, &mut self.plaintext)
                }
                Way::Queue => client.pipeline.offer(now, slot, stream, packet),
            };
            match offered {
                Offered::Leaving(leaving) => {
                    if !self.send(now, key, &leaving) {
                        self.clients[key.0].pipeline.drop_waiting(now); // no more keys: nothing can leave
                    }
                }
                Offered::Queued if way == Way::Queue => self.make_due(key),
                offered => self.note_offered(now, Route { subscriber: key, slot }, stream, &offered),
            }
        }
    }

    /// Sees to what follows from what became of a copy.
    fn note_offered(&mut self, now: Instant, route: Route, stream: StreamId, offered: &Offered) {
        let pipeline = &self.clients[route.subscriber.0].pipeline;
        match offered {
            Offered::Leaving(_) | Offered::Queued => {}
            Offered::Refused => {
                let awaited = pipeline.slots().get(route.slot).and_then(RtpSendPipeline::awaited);
                if awaited == Some(stream) && pipeline.has_room(now, route.slot) {
                    self.want_key_frame(now, stream);
                }
            }
            Offered::GivenUp => {
                self.stats.given_up += 1;
                self.make_due(route.subscriber); // its layers are chosen anew
            }
            Offered::Unmapped => self.stats.count_drop(DropReason::UnknownPayloadType),
        }
    }

    /// Whether a subscriber of whom nothing was heard has more to do than to send what came for it.
    fn is_pump_due(&self, now: Instant, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key.0) else { return false };
        if client.pipeline.has_waiting() || client.told > DataSize::ZERO {
            return true;
        }
        let has_timer = client.pace.is_some_and(|at| at <= now + LOOK_AGAIN);
        client.pipeline.downlink().is_some() && (!has_timer || self.is_allocation_due(now, key))
    }

    /// Sends what a subscriber's pacer lets go, and sees to it that it goes on.
    fn pump(&mut self, now: Instant, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let told = std::mem::take(&mut client.told);
        if let Some(downlink) = client.pipeline.downlink_mut().filter(|_| told > DataSize::ZERO) {
            downlink.note_control_sent(now, told);
        }
        self.send_waiting(now, key);
        self.tell_transitions(key);
        let Some(downlink) = self.clients[key.0].pipeline.downlink() else { return };
        let again = downlink.is_in_flight().then_some(now + LOOK_AGAIN);
        let at = earliest(downlink.poll_timeout(), again);
        let at = if self.is_allocation_due(now, key) { Some(now) } else { at };
        self.pace_at(now, key, at);
    }

    fn send_waiting(&mut self, now: Instant, key: ClientKey) {
        let wall = self.wall(now);
        loop {
            let client = &mut self.clients[key.0];
            if !client.connection.is_open() {
                return client.pipeline.drop_waiting(now);
            }
            self.plaintext.clear();
            let Some(leaving) = client.pipeline.poll_rtp(now, wall, &mut self.plaintext) else { return };
            if !self.send(now, key, &leaving) {
                return self.clients[key.0].pipeline.drop_waiting(now); // no more keys: nothing can leave
            }
        }
    }

    /// Seals what was written; whether that could be done.
    fn send(&mut self, now: Instant, key: ClientKey, leaving: &Leaving) -> bool {
        let client = &mut self.clients[key.0];
        let Some(length) = client.connection.seal_rtp(&self.plaintext, &mut self.transmits) else {
            return false;
        };
        let size = DataSize::bytes(length as u64 + IP_UDP_HEADERS);
        client.pipeline.handle_sent(now, leaving, size);
        match leaving.class {
            PacketClass::Control => {} // written by others, who count it
            PacketClass::Audio | PacketClass::Base | PacketClass::Video => {
                count(&mut self.stats.forwarded, 1);
            }
            PacketClass::Repair if leaving.is_parity => {
                self.stats.parities += 1;
                self.stats.parity_bytes += size.as_bytes();
            }
            PacketClass::Repair => self.stats.retransmitted += 1,
            PacketClass::Padding => self.stats.padding_bytes += size.as_bytes(),
        }
        self.count_sent(length);
        if let Some((slot, stream)) = leaving.switched {
            self.stats.layer_switches += 1;
            self.note_switched(now, Route { subscriber: key, slot }, stream);
        }
        true
    }
}
