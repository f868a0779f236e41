//! A synthetic client: signaling, transport, what it sends and what it receives.
//!
//! In: datagrams, signaling messages, `now`, wishes. Out: `poll_transmit`, `poll_message`. Time: `poll_timeout`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::ids::{Mid, ParticipantId, SessionId, TrackId};
use proto::rtcp::{self, Rtcp};
use proto::rtp::extension::Extension;
use proto::rtp::{ExtensionId, PayloadType, Ssrc};
use proto::seed::Seed;
use proto::signal::{
    Applied, ClientMessage, CloseCode, Demand, ErrorCode, Join, Kind, Layout, Notice, Offer, Participant,
    Request, ServerMessage, SlotBinding, Source, Strategy, Tile, Track, VERSION,
};
use proto::time::{Instant, NtpTime, earliest};

use super::offer::{self, Answered, Dialect, Sound, Tells, Use};
use super::receiver::{Receiver, Slot};
use super::sender::{Leaving, Sender};
use super::transport::{Packet, Transport};

const PING_INTERVAL: Duration = Duration::from_secs(5);

/// What a client offers at its join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) microphone: bool,
    pub(crate) camera: Camera,
    /// Slots of each kind.
    pub(crate) slots: usize,
    pub(crate) tells: Tells,
    pub(crate) heeds: Heeds,
    pub(crate) sound: Sound,
}

/// What a client does when it is told how much its layers shall take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heeds {
    /// Nothing: it does not know such messages.
    Nothing,
    /// What it is told.
    Demands,
}

/// How a camera is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Camera {
    Off,
    Single,
    /// In one stream, with repair packets.
    Repaired,
    Simulcast,
}

impl Plan {
    /// Speaks, shows three layers, and has room for four others.
    pub(crate) const TALKER: Self = Self {
        microphone: true,
        camera: Camera::Simulcast,
        slots: 4,
        tells: Tells::Arrivals,
        heeds: Heeds::Nothing,
        sound: Sound::Opus,
    };
    /// Only looks and listens.
    pub(crate) const VIEWER: Self = Self {
        microphone: false,
        camera: Camera::Off,
        slots: 4,
        tells: Tells::Arrivals,
        heeds: Heeds::Nothing,
        sound: Sound::Opus,
    };

    fn sections(self) -> Vec<Use> {
        let camera = match self.camera {
            Camera::Off => None,
            Camera::Single => Some(Use::Send(Source::Camera)),
            Camera::Repaired => Some(Use::Repaired(Source::Camera)),
            Camera::Simulcast => Some(Use::Simulcast(Source::Camera)),
        };
        let microphone = self.microphone.then_some(Use::Send(Source::Microphone));
        let slots = |kind| std::iter::repeat_n(Use::Slot(kind), self.slots);
        microphone.into_iter().chain(camera).chain(slots(Kind::Audio)).chain(slots(Kind::Video)).collect()
    }
}

/// The room as the client knows it from what it was told.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) participant: Option<ParticipantId>,
    pub(crate) session: Option<SessionId>,
    pub(crate) others: BTreeMap<ParticipantId, Participant>,
    pub(crate) own: Vec<Track>,
    pub(crate) slots: BTreeMap<Mid, SlotBinding>,
    pub(crate) slots_needed: Vec<(u32, u32)>,
    pub(crate) layers: Vec<(Instant, Mid, Option<String>)>,
    pub(crate) errors: Vec<(ErrorCode, String)>,
    pub(crate) demands: Vec<(Instant, Demand)>,
    pub(crate) closed: Option<CloseCode>,
    pub(crate) resumed: usize,
    pub(crate) restarts_asked: usize,
}

/// See the module's description.
pub(crate) struct Peer {
    pub(crate) number: usize,
    pub(crate) identity: String,
    pub(crate) room: String,
    pub(crate) sections: Vec<Use>,
    tells: Tells,
    heeds: Heeds,
    dialect: Dialect,
    pub(crate) transport: Transport,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) knows: Knowledge,
    pub(crate) answered: Answered,
    /// The tiles it shows; `None` before its first layout.
    pub(crate) tiles: Option<Vec<TrackId>>,
    /// All that it was told, and when.
    pub(crate) notices: Vec<(Instant, Notice)>,
    own_ssrc: Ssrc,
    server_wall_start: NtpTime,
    next_request: u64,
    messages: VecDeque<String>,
    ping_at: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(
        now: Instant,
        number: usize,
        (room, identity): (&str, &str),
        plan: Plan,
        (seed, epoch, server_wall_start): (&Seed, std::time::Instant, NtpTime),
    ) -> Self {
        let chance = |name: &str| seed.fork(&format!("peer {number} {name}")).generator();
        let dialect = Dialect::new(number, plan.sound);
        let mut own = chance("own");
        // Its clock is some minutes off the server's.
        let off = i64::from(own.number() % 600_000) * 1_000_000 - 300_000_000_000;
        let wall_start = server_wall_start.offset_nanos(off);
        let own_ssrc = Ssrc(own.number());
        Self {
            number,
            identity: identity.to_owned(),
            room: room.to_owned(),
            sections: plan.sections(),
            tells: plan.tells,
            heeds: plan.heeds,
            transport: Transport::new(now, epoch, chance("transport")),
            sender: Sender::new(number as u16, dialect.clone(), wall_start, chance("sender")),
            receiver: Receiver::new(own_ssrc, &dialect),
            dialect,
            knows: Knowledge::default(),
            answered: Answered::default(),
            tiles: None,
            notices: Vec::new(),
            own_ssrc,
            server_wall_start,
            next_request: 1,
            messages: VecDeque::new(),
            ping_at: None,
        }
    }

    pub(crate) fn join(&mut self, now: Instant) {
        let offer = self.make_offer();
        self.ping_at = Some(now + PING_INTERVAL);
        self.request(ClientMessage::Join(Join { protocol: VERSION, client: "synthetic/1".into(), offer }));
    }

    /// Offers the present sections again.
    pub(crate) fn offer_again(&mut self) {
        let offer = self.make_offer();
        self.request(ClientMessage::Offer(offer));
    }

    pub(crate) fn lay_out(&mut self, tiles: &[(TrackId, u32, u32)]) {
        let plain = |(track, width, height): &(TrackId, u32, u32)| Tile {
            track: track.clone(),
            width: *width,
            height: *height,
            strategy: Strategy::default(),
        };
        self.lay_out_tiles(tiles.iter().map(plain).collect());
    }

    /// The same with everything that a tile can say.
    pub(crate) fn lay_out_tiles(&mut self, tiles: Vec<Tile>) {
        let visible = tiles.iter().filter(|tile| tile.width * tile.height > 0);
        self.tiles = Some(visible.map(|tile| tile.track.clone()).collect());
        self.request(ClientMessage::Layout(Layout { tiles }));
    }

    pub(crate) fn request(&mut self, message: ClientMessage) {
        let request = Request { id: self.next_request, message };
        self.next_request += 1;
        self.messages.push_back(serde_json::to_string(&request).expect("plain data"));
    }

    /// Its own track from `source`.
    pub(crate) fn track(&self, source: Source) -> Option<TrackId> {
        self.knows.own.iter().find(|track| track.source == source).map(|track| track.id.clone())
    }

    /// The slot that carries a track, by what it was told.
    pub(crate) fn slot_of(&self, track: &TrackId) -> Option<(&Mid, &Slot)> {
        let binding = self.knows.slots.values().find(|binding| binding.track == *track)?;
        self.receiver.slots.get_key_value(&binding.mid)
    }

    /// What a decoder could not stand, in all slots.
    pub(crate) fn faults(&self) -> Vec<String> {
        let slots = self.receiver.slots.iter();
        let named = |(mid, slot): (&Mid, &Slot)| {
            let faults = slot.faults.iter().take(3);
            faults.map(|fault| format!("{} slot {mid}: {fault}", self.identity)).collect::<Vec<_>>()
        };
        let strangers = self.receiver.strangers;
        let strange = (strangers > 0).then(|| format!("{} got {strangers} stray packets", self.identity));
        slots.flat_map(named).chain(strange).collect()
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let was_open = self.transport.is_open();
        match self.transport.handle_datagram(now, bytes) {
            Some(Packet::Rtp(packet)) => self.receiver.handle_rtp(now, self.server_wall_start, &packet),
            Some(Packet::Rtcp(packet)) => {
                let mut out = Vec::new();
                for packet in rtcp::parse(&packet).expect("the server's RTCP can be read") {
                    self.sender.handle_rtcp(now, &packet, &mut out);
                    self.receiver.handle_rtcp(now, &packet);
                }
                self.send(out);
            }
            None => {}
        }
        if !was_open && self.transport.is_open() {
            self.sender.set_sections(now, &self.sections);
        }
        self.handle_timeout(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.transport.handle_timeout(now);
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + PING_INTERVAL);
            self.request(ClientMessage::Ping { sent_ms: now.as_micros() as f64 / 1e3 });
        }
        if !self.transport.is_open() {
            return;
        }
        let mut out = Vec::new();
        self.sender.handle_timeout(now, &mut out);
        self.send(out);
        let (knows, tiles) = (&self.knows, &self.tiles);
        let wanted = |mid: &Mid| {
            let binding = knows.slots.get(mid);
            binding.is_some_and(|binding| tiles.as_ref().is_none_or(|tiles| tiles.contains(&binding.track)))
        };
        let packets = self.receiver.handle_timeout(now, self.own_ssrc, wanted);
        if !packets.is_empty() {
            self.transport.send_rtcp(&rtcp::write(&packets));
        }
    }

    pub(crate) fn send_rtcp(&mut self, packet: Rtcp) {
        self.transport.send_rtcp(&rtcp::write(&[packet]));
    }

    pub(crate) fn own_ssrc(&self) -> Ssrc {
        self.own_ssrc
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transport.poll_transmit()
    }

    pub(crate) fn poll_message(&mut self) -> Option<String> {
        self.messages.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let media =
            self.transport.is_open().then(|| [self.sender.poll_timeout(), self.receiver.poll_timeout()]);
        let media = media.into_iter().flatten().fold(None, earliest);
        earliest(earliest(media, self.ping_at), self.transport.poll_timeout())
    }

    /// The WebSocket is gone: nothing is said any more.
    pub(crate) fn handle_socket_gone(&mut self) {
        self.ping_at = None;
        self.messages.clear();
    }

    /// There is another WebSocket.
    pub(crate) fn handle_socket_open(&mut self, now: Instant) {
        self.ping_at = Some(now + PING_INTERVAL);
    }

    pub(crate) fn handle_message(&mut self, now: Instant, text: &str) {
        let notice: Notice = serde_json::from_str(text).expect("the server keeps to the protocol");
        self.notices.push((now, notice.clone()));
        let knows = &mut self.knows;
        match notice.message {
            ServerMessage::Joined(joined) => {
                knows.participant = Some(joined.participant);
                knows.session = Some(joined.session);
                knows.own = joined.tracks;
                knows.replace_room(joined.room.participants, joined.slots);
                self.handle_answer(now, &joined.sdp);
            }
            ServerMessage::Resumed { room, tracks, slots } => {
                knows.resumed += 1;
                knows.own = tracks;
                knows.replace_room(room.participants, slots);
            }
            ServerMessage::Answer { sdp, tracks } => {
                knows.own = tracks;
                self.handle_answer(now, &sdp);
                if self.transport.is_open() {
                    self.sender.set_sections(now, &self.sections);
                }
            }
            ServerMessage::Demand(demand) => {
                knows.demands.push((now, demand.clone()));
                if self.heeds == Heeds::Demands {
                    self.meet(demand);
                }
            }
            other => knows.learn(now, other),
        }
    }

    /// Makes its layers no larger than is demanded, and says so.
    fn meet(&mut self, demand: Demand) {
        self.sender.meet(&demand);
        let (track, epoch, layers) = (demand.track, demand.epoch, Vec::new());
        self.request(ClientMessage::Applied(Applied { track, epoch, layers }));
    }

    fn handle_answer(&mut self, now: Instant, sdp: &str) {
        self.answered = offer::read_answer(sdp);
        self.transport.handle_answer(now, &self.answered);
        let sections = &self.sections;
        let kind = |mid: &Mid| sections[mid.0.parse::<usize>().expect("our own")].kind();
        self.receiver.handle_answer(&self.answered, kind);
    }

    fn make_offer(&self) -> Offer {
        let sdp = offer::write(&self.sections, &self.dialect, self.transport.offer(), self.tells);
        Offer { sdp, tracks: offer::published(&self.sections) }
    }

    fn send(&mut self, leaving: Vec<Leaving>) {
        for leaving in leaving {
            match leaving {
                Leaving::Rtp(packet) => self.transport.send_rtp(&packet),
                Leaving::Rtcp(packets) => self.transport.send_rtcp(&rtcp::write(&packets)),
            }
        }
    }

    /// Sends a repair packet with this payload in a section that has such, from this source if it is not the usual one.
    pub(crate) fn send_repair(&mut self, section: u8, ssrc: Option<Ssrc>, payload: &[u8]) {
        let packet = self.sender.repair_packet(section, ssrc, payload);
        self.transport.send_rtp(&packet);
    }

    /// Sends a retransmission with this payload, after which the number of the newest packet is counted, and this payload
    /// type if it is not the usual one.
    pub(crate) fn send_rtx(&mut self, section: u8, payload_type: Option<PayloadType>, payload: &[u8]) {
        let packet = self.sender.rtx_packet(section, payload_type, payload);
        self.transport.send_rtp(&packet);
    }

    /// Its payload types and header extensions.
    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// The number of its header extension for the mid.
    pub(crate) fn mid_extension(&self) -> ExtensionId {
        self.dialect.extensions.id(Extension::Mid).expect("all are set")
    }
}

impl Knowledge {
    fn replace_room(&mut self, participants: Vec<Participant>, slots: Vec<SlotBinding>) {
        self.others = participants.into_iter().map(|other| (other.id.clone(), other)).collect();
        self.replace_slots(slots);
    }

    fn replace_slots(&mut self, slots: Vec<SlotBinding>) {
        self.slots = slots.into_iter().map(|slot| (slot.mid.clone(), slot)).collect();
    }

    fn learn(&mut self, now: Instant, message: ServerMessage) {
        match message {
            ServerMessage::ParticipantJoined { participant } => {
                self.others.insert(participant.id.clone(), participant);
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                assert!(self.others.remove(&participant).is_some(), "{participant} was not here");
            }
            ServerMessage::TrackPublished { participant, track } => {
                let other = self.others.get_mut(&participant).expect("only those who are here publish");
                other.tracks.push(track);
            }
            ServerMessage::TrackUnpublished { participant, track } => {
                let other = self.others.get_mut(&participant).expect("only those who are here unpublish");
                other.tracks.retain(|known| known.id != track);
            }
            ServerMessage::TrackMuted { participant, track, muted } => {
                let other = self.others.get_mut(&participant).expect("only those who are here mute");
                let found = other.tracks.iter_mut().find(|known| known.id == track);
                found.expect("only tracks that are here are muted").muted = muted;
            }
            ServerMessage::Slots { slots } => self.replace_slots(slots),
            ServerMessage::SlotLayer { mid, rid, .. } => {
                self.layers.push((now, mid, rid.map(|rid| rid.0)));
            }
            ServerMessage::SlotsNeeded { audio, video } => self.slots_needed.push((audio, video)),
            ServerMessage::IceRestartNeeded => self.restarts_asked += 1,
            ServerMessage::Error { code, reason } => self.errors.push((code, reason)),
            ServerMessage::Closed { code, .. } => self.closed = Some(code),
            ServerMessage::Joined(_)
            | ServerMessage::Resumed { .. }
            | ServerMessage::Answer { .. }
            | ServerMessage::Demand(_)
            | ServerMessage::Pong { .. } => {}
        }
    }
}
