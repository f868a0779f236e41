//! Joining and renegotiating on a worker: an offer becomes media sections, slots, tracks and an answer.

use proto::ids::{ParticipantId, SessionId, TrackId};
use proto::rtp::Ssrc;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::sdp::{self, Answer, AnswerSection, Section, SectionCodec};
use proto::seed::Chance;
use proto::signal::{
    ErrorCode, Join, Joined, MESSAGE_MAX, Notice, Offer, Publish, ServerMessage, Track, VERSION,
};
use proto::time::Instant;

use super::client::{Client, ClientKey, Identity, PING_INTERVAL, RESUME_WITHIN, Route};
use super::connection::{Connection, IcePair};
use super::{Event, Grant, Protection, SocketId, Worker};
use crate::adapter::negotiation::{self, Allowed, NegotiationError, SectionPlan};
use crate::control::room::{MemberKey, Newcomer, Room, RoomTrack, SLOTS_MAX, TRACKS_MAX};
use crate::network::dtls::{DtlsServer, FingerprintAlgorithm, PeerFingerprint};
use crate::network::ice_lite::Credentials;
use crate::transport::connection::{ConnectionPipeline, ReceiveSection};
use crate::transport::rtp_send::{Repair, RtpSendPipeline};
use crate::transport::strategy::{Repairs, Strategy};

/// What a publisher's packets may carry in their headers.
const RECEIVED: [Extension; 7] = [
    Extension::Mid,
    Extension::Rid,
    Extension::RepairedRid,
    Extension::TransportSequence,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::DependencyDescriptor,
];

/// What a subscriber's packets may carry in their headers.
const SENT: [Extension; 3] = [Extension::AudioLevel, Extension::VideoOrientation, Extension::PlayoutDelay];

/// What they carry besides if the subscriber tells when they arrive.
const SENT_IF_TOLD: [Extension; 1] = [Extension::TransportSequence];

/// What they carry besides if some packets may have longer extensions than others (RFC 8285 §4.1.2): a key frame's descriptor
/// is long, and who gets none with that cannot read the others.
const SENT_IF_MIXED: [Extension; 1] = [Extension::DependencyDescriptor];

/// Why a join or offer is refused.
struct Refusal(ErrorCode, String);

impl From<sdp::SdpError> for Refusal {
    fn from(error: sdp::SdpError) -> Self {
        Self(ErrorCode::BadOffer, error.to_string())
    }
}

impl From<NegotiationError> for Refusal {
    fn from(error: NegotiationError) -> Self {
        let code = match error {
            NegotiationError::NotAllowed(_) => ErrorCode::NotAllowed,
            NegotiationError::TooManyTracks(..) => ErrorCode::LimitReached,
            NegotiationError::NoSection(_)
            | NegotiationError::SectionTwice(_)
            | NegotiationError::NotSending(_)
            | NegotiationError::WrongKind { .. }
            | NegotiationError::NoCodec(_)
            | NegotiationError::BadLayers(_)
            | NegotiationError::BadStrategy(..) => ErrorCode::BadOffer,
        };
        Self(code, error.to_string())
    }
}

impl Worker {
    /// A client enters a room.
    pub(super) fn join(&mut self, now: Instant, socket: SocketId, id: u64, join: &Join) {
        if let Err(Refusal(code, reason)) = self.try_join(now, socket, id, join) {
            self.refuse(socket, Some(id), code, &reason);
        }
    }

    fn try_join(&mut self, now: Instant, socket: SocketId, id: u64, join: &Join) -> Result<(), Refusal> {
        if join.protocol != VERSION {
            let reason = format!("this server speaks protocol version {VERSION}, not {}", join.protocol);
            return Err(Refusal(ErrorCode::UnsupportedVersion, reason));
        }
        let (grant, others) = (self.sockets[&socket].grant.clone(), self.sockets[&socket].others.clone());
        let (offer, plan) = read_offer(&join.offer, &grant)?;
        let known = self.rooms_by_name.get(&grant.room).map(|room| &self.rooms[*room]);
        let old = known.and_then(|room| room.member_by_identity(&grant.identity));
        let others_there = known.map_or(0, Room::member_count) - usize::from(old.is_some());
        let most = self.config.room_participants_max;
        if others_there >= most {
            return Err(Refusal(ErrorCode::LimitReached, format!("the room is full: {most} participants")));
        }
        if let Some(old) = old {
            self.replace(now, old); // only now: who is refused leaves all as it is
        }
        let room = self.room_for(&grant, &others);
        let key = self.add_client(now, socket, room, grant.clone(), &offer);
        let client = &self.clients[key.0];
        let (participant, session) = (client.identity.participant.clone(), client.identity.session.clone());
        let newcomer = Newcomer {
            key,
            id: participant.clone(),
            identity: grant.identity.clone(),
            name: grant.name.clone(),
            subscribe: grant.subscribe,
        };
        self.rooms[room].join(newcomer);
        self.apply_offer(key, &offer, &plan, &join.offer.tracks);
        let joined = Joined {
            protocol: VERSION,
            server: concat!("lianmai/", env!("CARGO_PKG_VERSION")).to_owned(),
            session,
            participant: participant.clone(),
            room: self.rooms[room].announced_to(key),
            sdp: self.answer(key, &offer, &plan),
            tracks: self.published(key),
            slots: self.rooms[room].bindings(key),
            ping_interval_ms: PING_INTERVAL.as_millis() as u32,
            resume_within_ms: RESUME_WITHIN.as_millis() as u32,
        };
        self.notify(key, Some(id), ServerMessage::Joined(Box::new(joined)));
        let (room_name, identity) = (grant.room, grant.identity);
        let client = join.client.chars().take(64).collect();
        self.emit(Event::ParticipantJoined { room: room_name, participant, identity, client });
        self.settle_room(now, room);
        self.relay_member(key);
        self.settle_session(now, key);
        Ok(())
    }

    /// A client in a room offers again.
    pub(super) fn renegotiate(
        &mut self,
        now: Instant,
        socket: SocketId,
        key: ClientKey,
        id: u64,
        offer: &Offer,
    ) {
        let grant = self.clients[key.0].identity.grant.clone();
        let published = &offer.tracks;
        let (offer, plan) = match read_offer(offer, &grant) {
            Ok(read) => read,
            Err(Refusal(code, reason)) => return self.refuse(socket, Some(id), code, &reason),
        };
        self.restart_ice(key, &offer);
        self.apply_offer(key, &offer, &plan, published);
        self.clients[key.0].sdp_version += 1;
        let (sdp, tracks) = (self.answer(key, &offer, &plan), self.published(key));
        self.send_notice(socket, &Notice { re: Some(id), message: ServerMessage::Answer { sdp, tracks } });
        let room = self.clients[key.0].identity.room;
        self.settle_room(now, room);
        self.remap(now, key);
        self.relay_member(key);
        self.relay_streams(now, key);
        self.settle_session(now, key);
    }

    fn add_client(
        &mut self,
        now: Instant,
        socket: SocketId,
        room: usize,
        grant: Grant,
        offer: &sdp::Offer,
    ) -> ClientKey {
        let number = self.next_number;
        self.next_number += 1;
        let participant = ParticipantId(format!("PA_{}", self.chance.text(12)));
        let session = SessionId(format!("{}{}", self.config.mark.letter(), self.chance.text(32)));
        let ours = Credentials::generate(self.config.mark, &mut self.chance);
        self.by_session.insert(session.clone(), MemberKey(self.clients.vacant_key()));
        let credentials = IcePair { ours, theirs: peer_credentials(offer) };
        let peers = offer.fingerprints.iter().map(peer_fingerprint).collect();
        let dtls = match &self.config.protection {
            Protection::Srtp { certificate, epoch } => Some(DtlsServer::new(certificate, peers, *epoch, now)),
            Protection::Plain => None,
        };
        let own_ssrc = Ssrc(self.chance.number());
        let pipeline = ConnectionPipeline::new(own_ssrc, participant.to_string(), number);
        let sdp_session = self.chance.long_number() >> 2; // a decimal that fits 63 bits (RFC 8829 §5.2.1)
        let connection = Connection::new(now, credentials, dtls);
        let identity = Identity { room, number, participant, session, grant, sdp_session, joined: now };
        let client = Client::new(now, identity, socket, connection, pipeline);
        let key = MemberKey(self.clients.insert(client));
        self.by_number.insert(number, key);
        self.note_ufrags(key);
        if let Some(state) = self.sockets.get_mut(&socket) {
            state.client = Some(key);
        }
        key
    }

    /// Other credentials in an offer are an ICE restart (RFC 8445 §2.4); media goes on by the old path meanwhile.
    fn restart_ice(&mut self, key: ClientKey, offer: &sdp::Offer) {
        let theirs = peer_credentials(offer);
        if self.clients[key.0].connection.credentials().theirs == theirs {
            return;
        }
        let ours = Credentials::generate(self.config.mark, &mut self.chance);
        self.clients[key.0].connection.restart(IcePair { ours, theirs });
        self.note_ufrags(key);
    }

    fn note_ufrags(&mut self, key: ClientKey) {
        self.by_ufrag.retain(|_, owner| *owner != key);
        for ufrag in self.clients[key.0].connection.ice.ufrags() {
            self.by_ufrag.insert(ufrag.to_owned(), key);
        }
    }

    /// Makes a client's pipeline and its member in the room what a planned offer says.
    fn apply_offer(
        &mut self,
        key: ClientKey,
        offer: &sdp::Offer,
        plan: &[SectionPlan],
        published: &[Publish],
    ) {
        let mut extensions = ExtensionMap::default();
        let (room_strategy, forward_repair) =
            (self.config.downlink.strategy(), self.config.downlink.forward_repair);
        let sections = offer.sections.iter().zip(plan).map(|(section, plan)| {
            let SectionPlan::Publish(publish) = plan else { return None };
            merge(&mut extensions, &section.extensions, &RECEIVED);
            Some(ReceiveSection {
                mid: section.mid.clone(),
                codecs: accepted(section).into(),
                flexfec: section.flexfec,
                ssrcs: section.ssrcs.clone(),
                rids: section.rids.iter().map(|offer| offer.rid.clone()).collect(),
                strategy: Strategy { repair: Repairs::ALL, ..room_strategy }.stated(&publish.strategy),
            })
        });
        let sections: Vec<Option<ReceiveSection>> = sections.collect();
        let client = &mut self.clients[key.0];
        client.routes.resize(offer.sections.len(), Vec::new());
        client.pipeline.set_sections(sections, extensions);
        let room = &mut self.rooms[client.identity.room];
        // Slots first: tracks make the room plan, and it would find this client without any.
        let numbers = room.set_slots(key, &negotiation::slots(offer, plan));
        let tracks = tracks(room.tracks(key), published, &mut self.chance);
        room.set_tracks(key, &tracks);
        let slots = offer.sections.iter().zip(plan).filter(|(_, plan)| matches!(plan, SectionPlan::Slot(_)));
        for ((section, _), number) in slots.zip(numbers) {
            let mut extensions = ExtensionMap::default();
            merge(&mut extensions, &section.extensions, &SENT);
            if offer.extmap_allow_mixed {
                merge(&mut extensions, &section.extensions, &SENT_IF_MIXED);
            }
            let codecs = accepted(section);
            if codecs.iter().any(|codec| codec.transport_cc) {
                merge(&mut extensions, &section.extensions, &SENT_IF_TOLD);
            }
            if let Some((mid, _)) = client.slots.get_mut(number) {
                *mid = section.mid.clone();
                client.pipeline.slots_mut()[number].renegotiate(codecs, extensions);
            } else {
                client.slots.reserve_exact(1);
                client.slots.push((section.mid.clone(), None));
                client.pipeline.add_slot(RtpSendPipeline::new(codecs, extensions, &mut self.chance));
            }
            let strategy = room_strategy.stated(&self.rooms[client.identity.room].strategy(key, number));
            client.pipeline.set_strategy(number, strategy);
            let flexfec = section.flexfec.filter(|_| forward_repair);
            client.pipeline.slots_mut()[number].protect(flexfec, &mut self.chance);
        }
        self.prepare_downlink(key);
    }

    /// Maps payload types anew after an offer, in the client's own slots and wherever its tracks are seen, and chooses
    /// layers anew, for their sizes may have changed.
    pub(super) fn remap(&mut self, now: Instant, key: ClientKey) {
        let own = (0..self.clients[key.0].slots.len()).map(|slot| Route { subscriber: key, slot });
        let seen = self.clients[key.0].routes.iter().flatten().copied();
        for route in own.chain(seen).collect::<Vec<_>>() {
            let Some((_, Some(binding))) = self.clients[route.subscriber.0].slots.get(route.slot) else {
                continue;
            };
            let publisher = &self.clients[binding.publisher.0].pipeline;
            let Some(codecs) = publisher.section_codecs(binding.section).map(<[_]>::to_vec) else { continue };
            self.take_in(now, route.subscriber); // what came as it was named before
            self.clients[route.subscriber.0].pipeline.slots_mut()[route.slot].map(&codecs);
            self.retarget(now, route);
        }
    }

    fn published(&self, key: ClientKey) -> Vec<Track> {
        self.rooms[self.clients[key.0].identity.room].own_tracks(key)
    }

    fn answer(&self, key: ClientKey, offer: &sdp::Offer, plan: &[SectionPlan]) -> String {
        let client = &self.clients[key.0];
        let sections = offer.sections.iter().zip(plan).map(|(section, plan)| match plan {
            SectionPlan::Publish(_) => receive_section(section),
            SectionPlan::Slot(_) => self.send_section(client, key, section),
            SectionPlan::Inactive => AnswerSection::Inactive,
            SectionPlan::Rejected => AnswerSection::Rejected,
        });
        let ours = &client.connection.credentials().ours;
        let answer = Answer {
            ice: sdp::IceCredentials { ufrag: ours.ufrag.clone(), pwd: ours.pwd.clone() },
            fingerprint: sdp::Fingerprint {
                algorithm: sdp::HashAlgorithm::Sha256,
                digest: match &self.config.protection {
                    Protection::Srtp { certificate, .. } => certificate.fingerprint().to_vec(),
                    Protection::Plain => vec![0; 32], // of nothing: nobody shows a certificate
                },
            },
            candidates: self.config.candidates.clone(),
            tcp_candidates: self.config.tcp_candidates.clone(),
            session_id: client.identity.sdp_session,
            version: client.sdp_version,
            sections: sections.collect(),
        };
        sdp::write_answer(offer, &answer)
    }

    fn send_section(&self, client: &Client, key: ClientKey, section: &Section) -> AnswerSection {
        let slot = client.slots.iter().position(|(mid, _)| *mid == section.mid).expect("apply_offer made it");
        let pipeline = &client.pipeline.slots()[slot];
        let seated = self.rooms[client.identity.room].slot(key, slot).expect("apply_offer made it");
        let mut extensions = ExtensionMap::default();
        merge(&mut extensions, &section.extensions, &SENT);
        // Chromium offers in later sections only what earlier ones of their kind negotiated: what sending needs, too.
        merge(&mut extensions, &section.extensions, &RECEIVED);
        let repairs = accepted(section).iter().any(|codec| codec.rtx.is_some());
        AnswerSection::Send {
            codecs: section.sendable_codecs(),
            extensions,
            ssrc: pipeline.ssrc(),
            rtx_ssrc: repairs.then(|| pipeline.rtx_ssrc()),
            fec_ssrc: pipeline.repair().and_then(Repair::ssrc),
            cname: client.identity.participant.to_string(),
            stream: format!("seat-{}", seated.seat),
            track: format!("slot-{}", section.mid),
        }
    }
}

fn read_offer(offer: &Offer, grant: &Grant) -> Result<(sdp::Offer, Vec<SectionPlan>), Refusal> {
    if offer.sdp.len() > MESSAGE_MAX {
        return Err(Refusal(ErrorCode::BadOffer, format!("an offer may have {MESSAGE_MAX} bytes")));
    }
    let parsed = sdp::Offer::parse(&offer.sdp)?;
    let allowed = Allowed { publish: &grant.publish, tracks_max: TRACKS_MAX, slots_max: SLOTS_MAX };
    let plan = negotiation::plan(&parsed, &offer.tracks, allowed)?;
    Ok((parsed, plan))
}

/// The tracks of an offer; one that was there before keeps its name.
fn tracks(known: &[RoomTrack], published: &[Publish], chance: &mut Chance) -> Vec<RoomTrack> {
    let mut tracks = Vec::new();
    for publish in published {
        let known = known.iter().find(|track| track.mid == publish.mid && track.source == publish.source);
        tracks.push(RoomTrack {
            id: known.map_or_else(|| TrackId(format!("TR_{}", chance.text(12))), |track| track.id.clone()),
            mid: publish.mid.clone(),
            source: publish.source,
            muted: publish.muted,
            layers: publish.layers.clone(),
            strategy: publish.strategy.clone(),
        });
    }
    tracks
}

fn receive_section(section: &Section) -> AnswerSection {
    let mut extensions = ExtensionMap::default();
    merge(&mut extensions, &section.extensions, &RECEIVED);
    AnswerSection::Receive {
        codecs: section.receivable_codecs(),
        extensions,
        rids: section.rids.iter().map(|offer| offer.rid.clone()).collect(),
    }
}

fn merge(into: &mut ExtensionMap, offered: &ExtensionMap, wanted: &[Extension]) {
    for &extension in wanted {
        if let Some(id) = offered.id(extension) {
            into.set(extension, id);
        }
    }
}

/// The codecs of a section that media may flow in.
fn accepted(section: &Section) -> Vec<SectionCodec> {
    section.receivable_codecs().into_iter().filter_map(|number| section.codec(number).cloned()).collect()
}

fn peer_fingerprint(fingerprint: &sdp::Fingerprint) -> PeerFingerprint {
    let algorithm = match fingerprint.algorithm {
        sdp::HashAlgorithm::Sha256 => FingerprintAlgorithm::Sha256,
        sdp::HashAlgorithm::Sha384 => FingerprintAlgorithm::Sha384,
        sdp::HashAlgorithm::Sha512 => FingerprintAlgorithm::Sha512,
    };
    PeerFingerprint { algorithm, digest: fingerprint.digest.clone() }
}

fn peer_credentials(offer: &sdp::Offer) -> Credentials {
    Credentials { ufrag: offer.ice.ufrag.clone(), pwd: offer.ice.pwd.clone() }
}
