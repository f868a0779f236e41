//! Media's way through the worker: from a publisher's stream to the slots that show it, and what comes back.

use proto::ids::Rid;
use proto::path_class::PathClass;
use proto::rtcp::{self, Rtcp};
use proto::rtp::SeqNo;
use proto::signal::{Kind, ServerMessage};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::batch::Incoming;
use super::client::{Binding, ClientKey, Route};
use super::{DropReason, Worker};
use crate::control::demand::Range;
use crate::control::selection::{LayerState, View, choose_layer};
use crate::transport::connection::{Received, RtpDrop};
use crate::transport::downlink::{Downlink, IP_UDP_HEADERS};
use crate::transport::packet::StreamId;
use crate::transport::rtp_recv::{RecvDrop, Way};
use crate::transport::rtp_send::RtpSendPipeline;
use crate::transport::selector::First;

/// What a slot can show.
pub(super) struct Choice {
    pub(super) kind: Kind,
    pub(super) view: View,
    /// The track's streams, what they are, and what each takes.
    pub(super) streams: Vec<StreamId>,
    pub(super) layers: Vec<LayerState>,
    pub(super) rates: Vec<Option<Bitrate>>,
    pub(super) ranges: Vec<Range>,
}

/// Which copy of the answer to a NACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The one that was asked for.
    First,
    /// Another, in case the first is lost.
    Second,
}

/// The most bytes of RTCP in one datagram: what remains of 1200 after SRTCP's index and tag.
const RTCP_MAX: usize = 1_150;

impl Worker {
    /// A decrypted RTP packet of a publisher.
    pub(super) fn handle_rtp(
        &mut self,
        now: Instant,
        key: ClientKey,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let wall = self.wall(now);
        let client = &mut self.clients[key.0];
        let received = client.pipeline.handle_rtp(now, wall, bytes).map_err(rtp_drop);
        let stream = received.as_ref().ok().and_then(Option::as_ref).map(|received| received.stream);
        self.ask_for_lost(now, key, stream);
        let is_sound = matches!(&received, Ok(Some(received)) if received.packet.is_sound());
        if is_sound {
            self.handle_restored(now, key); // what a packet of sound repeats was before it
        }
        let handled = match received {
            Ok(Some(received)) => {
                self.handle_received(now, key, received);
                Ok(())
            }
            Ok(None) => {
                self.stats.fec_received += 1;
                Ok(())
            }
            Err(reason) => Err(reason),
        };
        self.handle_restored(now, key);
        handled
    }

    /// The packets that a publisher's last one has restored.
    fn handle_restored(&mut self, now: Instant, key: ClientKey) {
        while let Some(restored) = self.clients[key.0].pipeline.poll_restored(now) {
            match restored {
                Ok(restored) => {
                    self.ask_for_lost(now, key, Some(restored.stream));
                    self.handle_received(now, key, restored);
                }
                Err(_) => self.stats.count_drop(DropReason::FecRefused),
            }
        }
    }

    /// Asks a publisher for what a packet of `stream` showed to be missing, or sees to it that it is done in time.
    fn ask_for_lost(&mut self, now: Instant, key: ClientKey, stream: Option<StreamId>) {
        if stream.is_some_and(|stream| self.clients[key.0].pipeline.is_nack_due(stream)) {
            self.flush_rtcp(now, key);
        }
        let at = self.clients[key.0].pipeline.poll_arrival_timeout(stream);
        self.wake_at(now, key, at);
    }

    /// A packet of a publisher's stream, however it came: every slot that shows its track is to get a copy.
    fn handle_received(&mut self, now: Instant, key: ClientKey, received: Received) {
        match received.way {
            Way::Itself => {}
            Way::Retransmission => self.stats.recovered += 1,
            Way::Repair => self.stats.fec_recovered += 1,
        }
        if received.is_new_stream {
            self.clients[key.0].watch_layers(now);
            self.relay_streams(now, key);
            self.each_route(key, received.section, |worker, route| worker.aim(now, route));
        }
        let Received { section, stream, is_new_stream, packet, .. } = received;
        if self.clients[key.0].spanned.is_some() {
            self.relay_packet(key, stream, &packet);
        }
        if let Some(routes) = self.clients[key.0].routes.get(section) {
            self.batch.add(Incoming { stream, packet }, routes);
        }
        if is_new_stream {
            // Only now: a stream's first packet starts a key frame more often than not.
            self.each_route(key, section, |worker, route| worker.press(now, route));
        }
    }

    /// A decrypted RTCP packet, compound or not.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        key: ClientKey,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let packets = rtcp::parse(bytes).map_err(|_| DropReason::Malformed)?;
        let wall = self.wall(now);
        for slot in self.clients[key.0].pipeline.handle_rtcp(now, wall, packets) {
            if let Some(stream) = self.clients[key.0].pipeline.slots()[slot].stream_to_refresh(now) {
                self.want_key_frame(now, stream);
            }
        }
        self.clients[key.0].pipeline.plan_repair(now, &mut self.plans);
        self.stats.answers_spared += self.clients[key.0].pipeline.take_spared();
        self.stats.repeated_audio += self.clients[key.0].pipeline.take_repeated();
        self.answer_nacks(now, key);
        let at = self.clients[key.0].pipeline.poll_timeout();
        self.wake_at(now, key, at);
        self.make_due(key);
        Ok(())
    }

    /// Answers a subscriber's NACKs, those that need wait no longer for repair packets.
    pub(super) fn answer_nacks(&mut self, now: Instant, subscriber: ClientKey) {
        while let Some((slot, lost)) = self.clients[subscriber.0].pipeline.poll_answer() {
            self.retransmit(now, Route { subscriber, slot }, lost, Answer::First);
        }
    }

    /// Sends the RTCP that a client's pipeline has ready.
    pub(super) fn flush_rtcp(&mut self, now: Instant, key: ClientKey) {
        let mut datagram = Vec::new();
        for packet in self.clients[key.0].pipeline.poll_rtcp() {
            self.stats.key_frame_requests += u64::from(matches!(packet, Rtcp::Pli { .. }));
            let bytes = rtcp::write(std::slice::from_ref(&packet));
            if !datagram.is_empty() && datagram.len() + bytes.len() > RTCP_MAX {
                self.send_rtcp(now, key, &datagram);
                datagram.clear();
            }
            datagram.extend_from_slice(&bytes);
        }
        if !datagram.is_empty() {
            self.send_rtcp(now, key, &datagram);
        }
    }

    /// A key frame of a stream is needed; many wishes become one request.
    pub(super) fn want_key_frame(&mut self, now: Instant, stream: StreamId) {
        let Some(&publisher) = self.by_number.get(&stream.connection) else { return };
        if self.clients[publisher.0].guest.is_some() {
            return self.want_relayed(now, publisher, stream);
        }
        let pipeline = &mut self.clients[publisher.0].pipeline;
        let Some(receive) = pipeline.stream_mut(stream) else { return };
        receive.want_key_frame(now);
        let at = pipeline.poll_timeout();
        self.flush_rtcp(now, publisher);
        self.wake_at(now, publisher, at);
    }

    /// Chooses the layer of a slot and asks for its key frame if the subscriber does not have it yet.
    pub(super) fn retarget(&mut self, now: Instant, route: Route) {
        self.aim(now, route);
        self.press(now, route);
    }

    /// Chooses the layer of a slot; with a downlink that has limits, those of all its subscriber's.
    fn aim(&mut self, now: Instant, route: Route) {
        if self.clients[route.subscriber.0].pipeline.downlink().is_some() {
            return self.allocate(now, route.subscriber);
        }
        let target = self.choose_stream(now, route);
        if let Some(slot) = self.clients[route.subscriber.0].pipeline.slot_mut(route.slot) {
            slot.set_target(target, First::Any);
        }
    }

    /// Begins with the last key frame of the stream that a slot waits for, or asks for one, if its subscriber could get it.
    pub(super) fn press(&mut self, now: Instant, route: Route) {
        self.take_in(now, route.subscriber); // it may have what it waits for
        let client = &self.clients[route.subscriber.0];
        let awaited = client.pipeline.slots().get(route.slot).and_then(RtpSendPipeline::awaited);
        let may_come = client.connection.is_open() && client.pipeline.has_room(now, route.slot);
        if let Some(awaited) = awaited.filter(|_| may_come)
            && !self.start_instantly(now, route, awaited)
        {
            self.want_key_frame(now, awaited);
        }
    }

    pub(super) fn each_route(
        &mut self,
        publisher: ClientKey,
        section: usize,
        mut visit: impl FnMut(&mut Self, Route),
    ) {
        let routes = self.clients[publisher.0].routes.get(section).cloned().unwrap_or_default();
        for route in routes {
            visit(self, route);
        }
    }

    /// Looks whether the layers that a publisher sends have changed, and chooses anew if so.
    pub(super) fn check_layers(&mut self, now: Instant, publisher: ClientKey) {
        let client = &mut self.clients[publisher.0];
        let sections = client.routes.len();
        // Both judgments: what is watched may be alive by the milder one alone, and its end must be noticed too.
        let fit = (0..sections).flat_map(|section| {
            let mut fit = client.pipeline.fit_streams(now, section, None);
            fit.extend(client.pipeline.streams_fit_if_watched(now, section));
            fit
        });
        let fit: Vec<StreamId> = fit.collect();
        if fit == client.fit {
            return;
        }
        client.fit = fit;
        for section in 0..sections {
            self.each_route(publisher, section, |worker, route| worker.retarget(now, route));
        }
    }

    pub(super) fn choose_stream(&self, now: Instant, route: Route) -> Option<StreamId> {
        let choice = self.choice(now, route)?;
        choose_layer(choice.view, &choice.layers).map(|index| choice.streams[index])
    }

    /// What a slot can show: its track's streams and how large it is seen. `None` if it is empty.
    pub(super) fn choice(&self, now: Instant, Route { subscriber, slot }: Route) -> Option<Choice> {
        let client = &self.clients[subscriber.0];
        let binding = client.slots.get(slot)?.1.as_ref()?;
        let view = self.rooms[client.identity.room].view(subscriber, slot);
        let watched = client.pipeline.slots().get(slot).and_then(RtpSendPipeline::current);
        self.choice_of(now, binding, view, watched)
    }

    /// What there is of a track, whoever may see it.
    pub(super) fn all_of(&self, now: Instant, binding: &Binding) -> Option<Choice> {
        self.choice_of(now, binding, View::Hidden, None)
    }

    fn choice_of(
        &self,
        now: Instant,
        binding: &Binding,
        view: View,
        watched: Option<StreamId>,
    ) -> Option<Choice> {
        let room = &self.rooms[self.clients[binding.publisher.0].identity.room];
        let track = room.tracks(binding.publisher).iter().find(|track| track.id == binding.track)?;
        let stated = |rid: Option<&Rid>| {
            let layer = track.layers.iter().find(|layer| Some(&layer.rid) == rid)?;
            Some((layer.width, layer.height))
        };
        let publisher = &self.clients[binding.publisher.0].pipeline;
        let fit = publisher.fit_streams(now, binding.section, watched);
        let mut choice = Choice {
            kind: track.kind(),
            view,
            streams: Vec::new(),
            layers: Vec::new(),
            rates: Vec::new(),
            ranges: Vec::new(),
        };
        for stream in publisher.streams(binding.section) {
            let size = stated(stream.origin().rid.as_ref()).or(stream.size());
            choice.streams.push(stream.id());
            choice.layers.push(LayerState { size, alive: fit.contains(&stream.id()) });
            choice.rates.push(self.believed_rate(now, binding, stream));
        }
        choice.ranges = self.ranges(now, binding, &choice);
        Some(choice)
    }

    /// A slot shows another stream now: its clocks are needed soon, and its layer is worth showing.
    pub(super) fn note_switched(&mut self, now: Instant, route: Route, stream: StreamId) {
        let at = self.clients[route.subscriber.0].pipeline.hasten_report(now);
        self.wake_at(now, route.subscriber, Some(at));
        self.announce_layer(route, stream);
    }

    /// Tells a subscriber which simulcast layer it sees.
    fn announce_layer(&mut self, route: Route, stream: StreamId) {
        let client = &self.clients[route.subscriber.0];
        let Some((mid, Some(binding))) = client.slots.get(route.slot).cloned() else { return };
        let publisher = &self.clients[binding.publisher.0].pipeline;
        let rid = publisher.stream(stream).and_then(|stream| stream.origin().rid.clone());
        if rid.is_some() {
            self.notify(route.subscriber, None, ServerMessage::SlotLayer { mid, track: binding.track, rid });
        }
    }

    /// Tells a subscriber all the layers that it sees.
    pub(super) fn announce_layers(&mut self, subscriber: ClientKey) {
        for slot in 0..self.clients[subscriber.0].slots.len() {
            if let Some(stream) = self.clients[subscriber.0].pipeline.slots()[slot].current() {
                self.announce_layer(Route { subscriber, slot }, stream);
            }
        }
    }

    /// Asks for key frames of a publisher's streams that lost packets for good, if anybody sees them.
    pub(super) fn fill_gaps(&mut self, now: Instant, publisher: ClientKey) {
        while let Some(stream) = self.clients[publisher.0].pipeline.poll_gap() {
            self.relay_gap(publisher, stream);
            if self.is_seen(publisher, stream) {
                self.want_key_frame(now, stream);
            }
        }
    }

    /// Whether anybody here sees a publisher's stream.
    pub(super) fn is_seen(&self, publisher: ClientKey, stream: StreamId) -> bool {
        let client = &self.clients[publisher.0];
        let section = client.pipeline.stream(stream).map(|stream| stream.origin().section);
        let routes = section.and_then(|section| client.routes.get(section));
        let sees = |route: &Route| {
            let slots = self.clients[route.subscriber.0].pipeline.slots();
            slots.get(route.slot).is_some_and(|slot| slot.current() == Some(stream))
        };
        routes.is_some_and(|routes| routes.iter().any(sees))
    }

    /// Answers one lost packet (RFC 4585 §6.2.1) from the publisher's packets.
    fn retransmit(&mut self, now: Instant, route: Route, lost: SeqNo, answer: Answer) {
        let Route { subscriber, slot } = route;
        let Some(pipeline) = self.clients[subscriber.0].pipeline.slot_mut(slot) else { return };
        let Some(traced) = pipeline.trace(lost) else {
            self.stats.retransmissions_refused += 1;
            return;
        };
        let publisher = self.by_number.get(&traced.stream.connection);
        let packet = publisher.and_then(|publisher| {
            self.clients[publisher.0].pipeline.stream(traced.stream)?.packet(traced.source_seq).cloned()
        });
        let client = &mut self.clients[subscriber.0];
        let Some(pipeline) = client.pipeline.slot_mut(slot) else { return };
        let pending = match answer {
            Answer::First => pipeline.retransmit(now, traced, packet.as_ref()),
            Answer::Second => pipeline.repeat(traced, packet.as_ref()),
        };
        let Some(pending) = pending else {
            self.stats.retransmissions_refused += 1;
            return;
        };
        if client.pipeline.offer_repair(now, slot, pending) {
            self.make_due(subscriber);
        } else {
            self.stats.retransmissions_refused += 1;
        }
    }

    /// Sends the second copies of a subscriber's retransmissions that are due.
    pub(super) fn repeat_answers(&mut self, now: Instant, subscriber: ClientKey) {
        let mut any = false;
        let class = self.clients[subscriber.0].pipeline.downlink().map(Downlink::path_class);
        // What is lost because too much came would be lost all the more.
        let is_overrun = matches!(class, Some(PathClass::Shallow | PathClass::Policed));
        while let Some((slot, lost)) = self.clients[subscriber.0].pipeline.poll_repeat(now) {
            if is_overrun {
                continue;
            }
            self.retransmit(now, Route { subscriber, slot }, lost, Answer::Second);
            any = true;
        }
        if any {
            self.make_due(subscriber);
        }
    }

    fn send_rtcp(&mut self, now: Instant, key: ClientKey, datagram: &[u8]) {
        let client = &mut self.clients[key.0];
        let Some(length) = client.connection.seal_rtcp(datagram, &mut self.transmits) else { return };
        if let Some(downlink) = client.pipeline.downlink_mut() {
            downlink.note_control_sent(now, DataSize::bytes(length as u64 + IP_UDP_HEADERS));
        }
        self.count_sent(length);
    }
}

fn rtp_drop(error: RtpDrop) -> DropReason {
    match error {
        RtpDrop::Malformed(_) => DropReason::Malformed,
        RtpDrop::UnknownStream(_) => DropReason::UnknownStream,
        RtpDrop::TooManyStreams(_) => DropReason::TooManyStreams,
        RtpDrop::Refused(RecvDrop::UnknownPayloadType(_)) => DropReason::UnknownPayloadType,
        RtpDrop::Refused(RecvDrop::Duplicate) => DropReason::Duplicate,
        RtpDrop::Refused(RecvDrop::Padding) => DropReason::Padding,
        RtpDrop::Refused(RecvDrop::Redundancy) => DropReason::MalformedRedundancy,
        RtpDrop::Refused(
            RecvDrop::UnknownRetransmission(_)
            | RecvDrop::ShortRetransmission
            | RecvDrop::EarlyRetransmission(_),
        ) => DropReason::RtxRefused,
        RtpDrop::Refused(RecvDrop::Repair(_)) => DropReason::FecRefused,
    }
}
