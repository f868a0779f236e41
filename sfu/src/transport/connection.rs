//! `ConnectionPipeline`: everything RTP of one client, over one connection: its receive and send pipelines, the log of
//! arrivals for transport-wide feedback, and RTCP for all of them.
//!
//! In: decrypted RTP and RTCP packets, the negotiated sections. Out: source packets for the router, requests of the
//! subscriber, RTCP packets. The worker decrypts before and encrypts after, so this layer knows no ciphers.
//! Limits: `STREAMS_MAX`.

mod instant;
pub mod outgoing;
pub mod queue;
mod recovery;
pub mod relayed;
mod reports;
mod stats;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use core::time::Duration;

use fec::loss_model::LossModel;
use proto::ids::{Mid, Rid};
use proto::rtcp::Rtcp;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{PayloadType, RtpError, RtpView, SeqNo, Ssrc};
use proto::sdp::{SectionCodec, SsrcOffer};
use proto::time::{Instant, NtpTime, earliest};

use super::arrivals::ArrivalLog;
use super::clock::PublisherClock;
use super::downlink::Downlink;
use super::packet::{SourcePacket, StreamId};
use super::rtp_recv::{Arrival, RecvDrop, RtpRecvPipeline, Way};
use super::rtp_send::{Leg, Repair, RepeatedAudio, RtpSendPipeline, Tables};
use super::strategy::Strategy;
use outgoing::{Outgoing, Queued};

/// The least time between two streams of the same layer: an encoder that begins anew takes longer, and each beginning
/// costs the subscribers a switch.
const RESTART_INTERVAL: Duration = Duration::from_millis(500);

/// How many half times rarer the pictures of a layer may be than those of the liveliest: 15 against 30 a second is usual
/// for small tiers, 12 is still fair, and one that is watched may fall to 6.
const RARER: u32 = 5;
const RARER_WATCHED: u32 = 10;

/// Streams of one publisher: ten media sections of three layers. The one silent longest goes first.
const STREAMS_MAX: usize = 32;

/// Repair is planned anew no more often: a batch of feedback comes about as often.
const PLAN_INTERVAL: Duration = Duration::from_millis(50);

/// Between two rounds of sender and receiver reports; libwebrtc's own interval for video.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The first reports come sooner: they carry the clocks without which sound and picture are not in sync.
const FIRST_REPORT_AFTER: Duration = Duration::from_millis(150);

/// A media section in which the client sends.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiveSection {
    /// Its name.
    pub mid: Mid,
    /// What was negotiated.
    pub codecs: Arc<[SectionCodec]>,
    /// The payload type of repair packets by XOR, if the client may send them.
    pub flexfec: Option<PayloadType>,
    /// The streams that the offer names, if it does.
    pub ssrcs: Vec<SsrcOffer>,
    /// The simulcast layers that the offer names; empty if there is one stream.
    pub rids: Vec<Rid>,
    /// How its streams are carried here.
    pub strategy: Strategy,
}

/// A packet that goes on to the subscribers.
#[derive(Debug)]
pub struct Received {
    /// The media section it came in, by its place in the offer.
    pub section: usize,
    /// Its stream.
    pub stream: StreamId,
    /// Whether this is the stream's first packet.
    pub is_new_stream: bool,
    /// How it came.
    pub way: Way,
    /// The packet.
    pub packet: SourcePacket,
}

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpDrop {
    /// It is not RTP.
    #[error("not RTP: {0}")]
    Malformed(#[from] RtpError),
    /// No media section claims its source.
    #[error("stream {0:?} belongs to no media section")]
    UnknownStream(Ssrc),
    /// Its stream would replace one that has only just begun.
    #[error("stream {0:?} begins too soon after the last one of its kind")]
    TooManyStreams(Ssrc),
    /// Its stream refused it.
    #[error(transparent)]
    Refused(#[from] RecvDrop),
}

/// See the module's description.
///
/// Its fields are in the order in which a packet that leaves needs them; see [`RtpSendPipeline`].
#[derive(Debug)]
#[repr(C)]
pub struct ConnectionPipeline {
    slots: Vec<RtpSendPipeline>,
    outgoing: Outgoing,
    downlink: Option<Downlink<Queued>>,
    /// The stream of which the last packet may have restored others.
    restoring: Option<StreamId>,
    by_ssrc: BTreeMap<Ssrc, StreamId>,
    streams: BTreeMap<StreamId, RtpRecvPipeline>,
    sections: Vec<Option<ReceiveSection>>,
    extensions: ExtensionMap,
    arrivals: ArrivalLog,
    publisher_clock: PublisherClock,
    report_at: Option<Instant>,
    rtt: Option<Duration>,
    planned_at: Option<Instant>,
    losses: LossModel,
    connection: u64,
    next_stream: u32,
    own_ssrc: Ssrc,
    cname: String,
    waiting: Vec<Rtcp>,
}

impl ConnectionPipeline {
    /// A pipeline without sections; `connection` is the worker's number for it, never used twice.
    pub fn new(own_ssrc: Ssrc, cname: String, connection: u64) -> Self {
        Self {
            own_ssrc,
            cname,
            sections: Vec::new(),
            extensions: ExtensionMap::default(),
            streams: BTreeMap::new(),
            by_ssrc: BTreeMap::new(),
            restoring: None,
            connection,
            next_stream: 0,
            slots: Vec::new(),
            downlink: None,
            outgoing: Outgoing::default(),
            losses: LossModel::default(),
            planned_at: None,
            arrivals: ArrivalLog::new(own_ssrc, Ssrc(0)),
            publisher_clock: PublisherClock::default(),
            rtt: None,
            report_at: None,
            waiting: Vec::new(),
        }
    }

    /// Takes the sections of an offer in its order; `None` where the client does not send. Streams of sections that are
    /// gone end.
    pub fn set_sections(&mut self, sections: Vec<Option<ReceiveSection>>, extensions: ExtensionMap) {
        let mid = |sections: &[Option<ReceiveSection>], index: usize| {
            sections.get(index).and_then(Option::as_ref).map(|section| section.mid.clone())
        };
        let origins = self.streams.values().map(|stream| (stream.id(), stream.origin().section));
        // A section's place may go to another mid (RFC 8829 §5.2.2).
        let gone = origins.filter(|(_, index)| mid(&self.sections, *index) != mid(&sections, *index));
        let gone: Vec<StreamId> = gone.map(|(id, _)| id).collect();
        self.sections = sections;
        let used = self.sections.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.sections.truncate(used); // browsers offer what they receive behind what they send
        self.sections.shrink_to_fit();
        self.extensions = extensions;
        for stream in self.streams.values_mut() {
            if let Some(Some(section)) = self.sections.get(stream.origin().section) {
                stream.set_strategy(section.strategy);
            }
        }
        for id in gone {
            self.remove_stream(id);
        }
    }

    /// Adds a slot and tells its number.
    pub fn add_slot(&mut self, slot: RtpSendPipeline) -> usize {
        self.slots.reserve_exact(1); // slots are large, and seldom added
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// A decrypted RTP packet. A repair packet is `None`; after any, drain [`Self::poll_restored`].
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        wall: NtpTime,
        bytes: &[u8],
    ) -> Result<Option<Received>, RtpDrop> {
        let view = RtpView::parse(bytes)?;
        self.note_arrival(now, &view);
        let known = self.by_ssrc.get(&view.ssrc()).copied();
        let id = match known {
            Some(id) => id,
            None => self.add_stream(now, wall, &view)?,
        };
        let stream = self.streams.get_mut(&id).expect("by_ssrc names streams that exist");
        let section = stream.origin().section;
        let codecs = self.sections[section].as_ref().map(|section| Arc::clone(&section.codecs));
        let codecs = codecs.ok_or(RtpDrop::UnknownStream(view.ssrc()))?;
        let is_new_stream = known.is_none() && stream.origin().ssrc == view.ssrc();
        let way = stream.way_of(view.ssrc());
        let arrival = Arrival { view, bytes, codecs: &codecs, extensions: &self.extensions };
        let packet = match way {
            Way::Itself => stream.handle_packet(now, &arrival).map(Some),
            Way::Retransmission => stream.handle_retransmission(now, &arrival).map(Some),
            Way::Repair => stream.handle_repair(now, &arrival).map(|()| None),
        };
        self.restoring = stream.is_repaired().then_some(id);
        let packet = packet?;
        self.report_at.get_or_insert(now + FIRST_REPORT_AFTER);
        Ok(packet.map(|packet| Received { section, stream: id, is_new_stream, way, packet }))
    }

    /// Decrypted RTCP packets; returns the slots whose decoders cannot go on.
    pub fn handle_rtcp(&mut self, now: Instant, wall: NtpTime, packets: Vec<Rtcp>) -> Vec<usize> {
        let mut wanting = Vec::new();
        for packet in packets {
            match packet {
                Rtcp::SenderReport(report) => {
                    self.handle_sender_report(now, wall, &report);
                    self.handle_report_blocks(wall, &report.reports);
                }
                Rtcp::ReceiverReport(report) => self.handle_report_blocks(wall, &report.reports),
                Rtcp::Nack { media, lost, .. } => {
                    if let Some(slot) = self.slot_of(media) {
                        self.slots[slot].handle_nack(now, &lost);
                    }
                }
                Rtcp::Pli { media, .. } => {
                    wanting.extend(self.slot_of(media));
                }
                Rtcp::Fir { requests, .. } => {
                    wanting.extend(requests.iter().filter_map(|(media, _)| self.slot_of(*media)));
                }
                Rtcp::TransportFeedback(arrivals) => {
                    self.downlink.iter_mut().for_each(|downlink| downlink.note_feedback(&arrivals));
                }
                Rtcp::SourceDescription { .. } | Rtcp::Bye { .. } | Rtcp::CongestionFeedback(_) => {}
            }
        }
        for slot in &wanting {
            self.slots[*slot].note_key_frame_asked();
        }
        self.settle_arrivals(now);
        wanting
    }

    /// Plans the slots' repair anew, by what feedback has told.
    pub fn plan_repair(&mut self, now: Instant, tables: &mut Tables) {
        let due = self.planned_at.is_none_or(|at| now.since(at) >= PLAN_INTERVAL);
        let Some(round_trip) = self.rtt.filter(|_| due) else { return };
        self.planned_at = Some(now);
        let losses = self.losses.estimate();
        let (report, lost) = (self.outgoing.report_interval(), self.outgoing.lost_lately());
        let may_protect = self.outgoing.may_protect();
        let leg = Leg { losses: &losses, round_trip, report, lost, may_protect };
        for slot in &mut self.slots {
            slot.repair_mut().handle_feedback(now, &leg, tables);
            if let Some(redundant_audio) = slot.redundant_audio_mut() {
                redundant_audio.handle_feedback(now, &self.losses, round_trip);
            }
        }
    }

    /// What was sent since the last call of sound with what came before it.
    pub fn take_repeated(&mut self) -> RepeatedAudio {
        let mut repeated = RepeatedAudio::default();
        let sounds = self.slots.iter_mut().filter_map(RtpSendPipeline::redundant_audio_mut);
        sounds.for_each(|redundant_audio| repeated += redundant_audio.take_sent());
        repeated
    }

    /// How many retransmissions repair packets have spared since the last call.
    pub fn take_spared(&mut self) -> u64 {
        self.slots.iter_mut().filter_map(RtpSendPipeline::planned_repair_mut).map(Repair::take_spared).sum()
    }

    /// A packet that was asked for and is to be sent again now, and its slot.
    pub fn poll_answer(&mut self) -> Option<(usize, SeqNo)> {
        let mut slots = self.slots.iter_mut().enumerate();
        slots.find_map(|(index, slot)| Some((index, slot.poll_answer()?)))
    }

    /// What repair costs on average, as a share of the pictures.
    pub fn redundancy(&self) -> f64 {
        self.slots.iter().filter_map(RtpSendPipeline::repair).map(Repair::redundancy).fold(0.0, f64::max)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, wall: NtpTime) {
        self.arrivals.handle_timeout(now);
        for repair in self.slots.iter_mut().filter_map(RtpSendPipeline::planned_repair_mut) {
            repair.handle_timeout(now);
        }
        for stream in self.streams.values_mut() {
            stream.handle_timeout(now);
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.report(now, wall);
            self.report_at = Some(now + REPORT_INTERVAL);
        }
    }

    /// A stream in which packets were given up: whoever watches it needs a key frame.
    pub fn poll_gap(&mut self) -> Option<StreamId> {
        self.streams.values_mut().find_map(|stream| stream.poll_gap().then(|| stream.id()))
    }

    /// A packet whose retransmission is due to go once more, and its slot.
    pub fn poll_repeat(&mut self, now: Instant) -> Option<(usize, SeqNo)> {
        let mut slots = self.slots.iter_mut().enumerate();
        slots.find_map(|(index, slot)| Some((index, slot.poll_repeat(now)?)))
    }

    /// The RTCP packets to send now, as one compound; empty if there are none.
    pub fn poll_rtcp(&mut self) -> Vec<Rtcp> {
        let mut packets = std::mem::take(&mut self.waiting);
        let (sender, streams) = (self.own_ssrc, &mut self.streams);
        while let Some(feedback) = self.arrivals.poll_feedback() {
            packets.push(Rtcp::TransportFeedback(feedback));
        }
        for stream in streams.values_mut() {
            let media = stream.origin().ssrc;
            while let Some(lost) = stream.poll_nack() {
                packets.push(Rtcp::Nack { sender, media, lost });
            }
            if stream.poll_key_frame_request() {
                packets.push(Rtcp::Pli { sender, media });
            }
        }
        packets
    }

    /// When to wake; `None` if there is nothing to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = earliest(self.report_at, self.arrivals.poll_timeout());
        let own = self.slots.iter().fold(own, |at, slot| earliest(at, slot.poll_timeout()));
        self.streams.values().fold(own, |at, stream| earliest(at, stream.poll_timeout()))
    }

    /// When what a packet of `stream` started wants attention: cheaper than asking all streams.
    pub fn poll_arrival_timeout(&self, stream: Option<StreamId>) -> Option<Instant> {
        let own = earliest(self.report_at, self.arrivals.poll_timeout());
        let stream = stream.and_then(|stream| self.streams.get(&stream));
        earliest(own, stream.and_then(RtpRecvPipeline::poll_timeout))
    }

    /// Whether a stream has something to ask for again at once.
    pub fn is_nack_due(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(RtpRecvPipeline::is_nack_due)
    }

    /// Sends the next reports soon: a slot carries another stream, whose clocks its receiver does not know. Tells when.
    pub fn hasten_report(&mut self, now: Instant) -> Instant {
        let soon = now + FIRST_REPORT_AFTER;
        let at = self.report_at.map_or(soon, |at| at.min(soon));
        self.report_at = Some(at);
        at
    }

    /// A slot.
    pub fn slot_mut(&mut self, slot: usize) -> Option<&mut RtpSendPipeline> {
        self.slots.get_mut(slot)
    }

    /// The slots, in the order of their adding.
    pub fn slots(&self) -> &[RtpSendPipeline] {
        &self.slots
    }

    /// The slots, to change them.
    pub fn slots_mut(&mut self) -> &mut [RtpSendPipeline] {
        &mut self.slots
    }

    /// A stream.
    pub fn stream(&self, id: StreamId) -> Option<&RtpRecvPipeline> {
        self.streams.get(&id)
    }

    /// A stream, to change it.
    pub fn stream_mut(&mut self, id: StreamId) -> Option<&mut RtpRecvPipeline> {
        self.streams.get_mut(&id)
    }

    /// The streams of a media section.
    pub fn streams(&self, section: usize) -> impl Iterator<Item = &RtpRecvPipeline> {
        self.streams.values().filter(move |stream| stream.origin().section == section)
    }

    /// The streams of a media section that are fit to be watched: alive, and with pictures not much rarer than those of
    /// the liveliest. A layer that its publisher's bandwidth hardly carries is worse than the next smaller one.
    /// `watched` is judged more mildly, so that it is not left for a moment's weakness.
    pub fn fit_streams(&self, now: Instant, section: usize, watched: Option<StreamId>) -> Vec<StreamId> {
        let alive = || self.streams(section).filter(|stream| stream.is_alive(now));
        let liveliest = alive().map(RtpRecvPipeline::picture_interval).min().unwrap_or_default();
        let is_fit = |stream: &&RtpRecvPipeline| {
            let rarer = if watched == Some(stream.id()) { RARER_WATCHED } else { RARER };
            stream.picture_interval() <= liveliest * rarer / 2
        };
        alive().filter(is_fit).map(RtpRecvPipeline::id).collect()
    }

    /// The streams of a media section that whoever watches them would stay with.
    pub fn streams_fit_if_watched(&self, now: Instant, section: usize) -> Vec<StreamId> {
        let ids = self.streams(section).map(RtpRecvPipeline::id);
        ids.filter(|id| self.fit_streams(now, section, Some(*id)).contains(id)).collect()
    }

    /// The codecs negotiated for a media section in which the client sends.
    pub fn section_codecs(&self, section: usize) -> Option<&[SectionCodec]> {
        Some(&self.sections.get(section)?.as_ref()?.codecs)
    }

    /// The place in the offer of a media section in which the client sends.
    pub fn section_of(&self, mid: &Mid) -> Option<usize> {
        self.sections.iter().position(|section| section.as_ref().is_some_and(|section| section.mid == *mid))
    }

    fn note_arrival(&mut self, now: Instant, view: &RtpView<'_>) {
        let Some(id) = self.extensions.id(Extension::TransportSequence) else { return };
        if let Some(&[high, low]) = view.extension(id).and_then(|value| value.first_chunk::<2>()) {
            self.arrivals.set_media(view.ssrc());
            self.arrivals.handle_arrival(now, SeqNo(u16::from_be_bytes([high, low])));
        }
    }

    fn slot_of(&self, media: Ssrc) -> Option<usize> {
        self.slots.iter().position(|slot| slot.ssrc() == media)
    }
}

#[cfg(test)]
mod tests {
    use proto::codec::Codec;
    use proto::rtp::{ExtensionId, PayloadType, RtpHeader};
    use proto::sdp::Fmtp;

    use super::*;

    const WALL: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);
    const MID: ExtensionId = ExtensionId(1);
    const RID: ExtensionId = ExtensionId(2);

    fn pipeline() -> ConnectionPipeline {
        let codec = SectionCodec {
            payload_type: PayloadType(96),
            codec: Some(Codec::Vp8),
            clock_rate: 90_000,
            channels: 1,
            fmtp: Fmtp::new(""),
            rtx: None,
            nack: true,
            pli: true,
            fir: false,
            transport_cc: false,
        };
        let rids = vec![Rid::from("h"), Rid::from("m")];
        let (codecs, ssrcs) = ([codec].into(), Vec::new());
        let strategy = Strategy::default();
        let section = ReceiveSection { mid: "0".into(), codecs, flexfec: None, ssrcs, rids, strategy };
        let mut extensions = ExtensionMap::default();
        extensions.set(Extension::Mid, MID);
        extensions.set(Extension::Rid, RID);
        let mut pipeline = ConnectionPipeline::new(Ssrc(9), "cname".to_owned(), 0);
        pipeline.set_sections(vec![Some(section)], extensions);
        pipeline
    }

    fn arrive(pipeline: &mut ConnectionPipeline, millis: u64, rid: &str, seq: u16) -> StreamId {
        let ssrc = Ssrc(u32::from(rid.as_bytes()[0]));
        let header =
            RtpHeader { payload_type: PayloadType(96), marker: true, seq: SeqNo(seq), timestamp: 0, ssrc };
        let mut bytes = Vec::new();
        header.write(&[(MID, b"0"), (RID, rid.as_bytes())], &mut bytes);
        bytes.extend_from_slice(&[0x11, 0, 0, 0]);
        let received = pipeline.handle_rtp(Instant::from_millis(millis), WALL, &bytes);
        received.unwrap().unwrap().stream
    }

    #[test]
    fn a_layer_with_rare_pictures_is_not_fit_and_one_that_is_watched_is_judged_more_mildly() {
        // Against 30 pictures a second: 15 are usual, 8 too few to begin with, 4 too few to stay with.
        for (every, fit, fit_if_watched) in [(2, true, true), (4, false, true), (8, false, false)] {
            let mut pipeline = pipeline();
            let mut high = None;
            for picture in 0..240_u16 {
                let millis = u64::from(picture) * 33;
                arrive(&mut pipeline, millis, "m", picture);
                if picture % every == 0 {
                    high = Some(arrive(&mut pipeline, millis, "h", picture / every));
                }
            }
            let (now, high) = (Instant::from_millis(240 * 33), high.unwrap());
            assert_eq!(pipeline.fit_streams(now, 0, None).contains(&high), fit, "every {every}th");
            let watched = pipeline.fit_streams(now, 0, Some(high));
            assert_eq!(watched.contains(&high), fit_if_watched, "every {every}th, watched");
        }
    }
}
