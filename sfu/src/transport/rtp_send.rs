//! `RtpSendPipeline`: one slot of a subscriber, from a publisher's packet to the plaintext RTP packet that leaves.
//!
//! In: packets of the slot's track, NACKs. Out: RTP packets in a buffer of the caller's. Order on the way: selector,
//! rewriter, header; a retransmission is traced back to its source packet, so nothing is stored per subscriber.
//!
//! What the selector admits is a [`Pending`] that shares the source's payload; it may wait in a pacer before it is
//! written. Sequence numbers are given when it is, so what a pacer gives up leaves no hole that a subscriber would ask
//! to fill.

mod again;
mod carried;
mod forward_repair;
mod headers;
mod patience;
mod pending;
mod plaintext;
mod redundant_audio;
mod repair;
mod thinning;
mod write;

use core::time::Duration;

use cc::PacketClass;
use cc::pacer::lanes::Lane;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{PayloadType, SeqNo, Ssrc};
use proto::sdp::SectionCodec;
use proto::seed::Chance;
use proto::time::{Instant, NtpTime, earliest};
use proto::units::Bitrate;

pub use forward_repair::Covered;
pub use pending::{Admitted, Pending, SendStats, Written};
pub use plaintext::Plaintext;
pub use redundant_audio::{RedundantAudio, RepeatedAudio};
pub use repair::{Leg, Repair, Tables};
pub use thinning::Thinning;

use super::on_demand::OnDemand;
use super::packet::{SourcePacket, StreamId};
use super::rewriter::{CatchUp, Rewriter};
use super::rtp_recv::Gop;
use super::selector::{Admission, First, Selector};
use super::stats::{LegCounts, Pace};
use super::strategy::Strategy;
use crate::fetch;
use carried::Carried;
use headers::Headers;
use pending::{PayloadMapping, What};
use repair::Answer;

/// The round trip assumed before the subscriber's first report.
const RTT_DEFAULT: Duration = Duration::from_millis(100);

/// Packets remembered that came late: what a publisher's uplink loses within a round trip.
const LATE_MAX: usize = 32;

/// How much older than what a viewer was shown last the pictures may be with which it catches up: six at 30 a second are
/// decoded before they are noticed. Where nothing was shown they may be of any age.
const BACK_MAX: Duration = Duration::from_millis(200);

/// The most bytes of padding in one packet: their count takes one byte (RFC 3550 §5.1).
pub const PADDING_MAX: usize = 255;

/// One slot of a subscriber; see the module's description.
///
/// Its fields are in the order in which a packet needs them: what each one reads lies together, and what is seldom needed
/// takes nothing of the cache.
#[derive(Debug)]
#[repr(C)]
pub struct RtpSendPipeline {
    payload_types: Vec<PayloadMapping>,
    selector: Selector,
    carried: OnDemand<Carried>,
    strategy: Strategy,
    /// What of a picture's rates does not go to the subscriber for the moment.
    thinning: Thinning,
    has_asked_playout: bool,
    /// Whether its layer is to be left: what waits of it shall make room.
    is_leaving: bool,
    ssrc: Ssrc,
    redundant_audio: Option<Box<RedundantAudio>>,
    rewriter: Rewriter,
    headers: Headers,
    /// There is none before anything can be lost.
    repair: Option<Box<Repair>>,
    rtx_ssrc: Ssrc,
    rtx_next: SeqNo,
    rtt: Duration,
    /// The answer that was polled last: how it is to be given.
    planned: Option<(SeqNo, Answer)>,
    pace: Pace,
    negotiated: Vec<SectionCodec>,
    extensions: ExtensionMap,
}

impl RtpSendPipeline {
    /// A slot with `negotiated` payload types and header extensions.
    pub fn new(negotiated: Vec<SectionCodec>, extensions: ExtensionMap, chance: &mut Chance) -> Self {
        Self {
            ssrc: Ssrc(chance.number()),
            rtx_ssrc: Ssrc(chance.number()),
            rtx_next: SeqNo(chance.number() as u16 & 0x7fff),
            negotiated,
            headers: Headers::new(&extensions),
            extensions,
            payload_types: Vec::new(),
            selector: Selector::default(),
            rewriter: Rewriter::new(chance),
            rtt: RTT_DEFAULT,
            carried: OnDemand::default(),
            strategy: Strategy::default(),
            is_leaving: false,
            thinning: Thinning::default(),
            has_asked_playout: false,
            repair: None,
            planned: None,
            redundant_audio: None,
            pace: Pace::default(),
        }
    }

    /// Can repair pictures before anybody asks if there is a payload type for repair packets, and sound if the negotiated
    /// codecs allow it; whether it does is the strategy's to say.
    pub fn protect(&mut self, flexfec: Option<PayloadType>, chance: &mut Chance) {
        let transport = self.extensions.id(Extension::TransportSequence);
        if flexfec.is_some() || self.repair.is_some() {
            let ssrc = self.ssrc;
            self.repair_mut().set_flexfec(ssrc, flexfec, transport, chance);
        }
        self.repeat_sound();
    }

    /// Is carried in this way from now on. Nothing is negotiated anew, and nothing that waits is lost; what waits in a
    /// pacer must be given the new priority there.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
        if let Some(repair) = &mut self.repair {
            repair.set_strategy(&strategy);
        }
        self.repeat_sound();
    }

    /// Asks for what the next packet needs beyond the slot itself.
    pub fn fetch_within(&self) {
        fetch::ahead(&*self.carried, size_of::<Carried>());
        if let Some(repair) = &self.repair {
            fetch::ahead(&**repair, 256);
        }
    }

    /// How it is carried.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// What repairs losses by a plan; `None` if it has never been told anything.
    pub fn repair(&self) -> Option<&Repair> {
        self.repair.as_deref()
    }

    /// The same, to let it go on.
    pub fn planned_repair_mut(&mut self) -> Option<&mut Repair> {
        self.repair.as_deref_mut()
    }

    /// The same, to tell it something.
    pub fn repair_mut(&mut self) -> &mut Repair {
        self.repair.get_or_insert_with(|| Box::new(Repair::new(&self.strategy)))
    }

    /// A repair packet to be sent.
    pub fn poll_parity(&mut self) -> Option<Pending> {
        self.repair.as_mut()?.poll_parity().map(Pending::parity)
    }

    /// The subscriber asks for packets again; see [`Self::poll_answer`].
    pub fn handle_nack(&mut self, now: Instant, lost: &[SeqNo]) {
        self.carried.counts.nacked += lost.len() as u64;
        self.repair_mut().handle_nack(now, lost);
    }

    /// The subscriber asks for a key frame.
    pub fn note_key_frame_asked(&mut self) {
        self.carried.counts.key_frames_asked += 1;
    }

    /// A packet that was asked for and is to be sent again now.
    pub fn poll_answer(&mut self) -> Option<SeqNo> {
        self.planned = self.repair.as_mut()?.poll_answer();
        self.planned.map(|(seq, _)| seq)
    }

    /// Carries another track from now on, whose publisher negotiated `source`; `None` empties the slot.
    pub fn bind(&mut self, source: Option<&[SectionCodec]>) {
        self.selector.reset();
        if let Some(carried) = self.carried.made_mut() {
            carried.pictured_at = None;
            carried.newest = None;
            carried.refused = None;
        }
        self.map(source.unwrap_or_default());
    }

    /// Maps the publisher's payload types to the subscriber's; either may have offered others since.
    pub fn map(&mut self, source: &[SectionCodec]) {
        self.payload_types.clear();
        for source in source {
            let Some(own) = self.negotiated.iter().find(|own| own.matches(source)) else { continue };
            let mapping = PayloadMapping { source: source.payload_type, out: own.payload_type, rtx: own.rtx };
            self.payload_types.push(mapping);
        }
    }

    /// Whether its layer is to be left for a smaller one.
    pub fn set_leaving(&mut self, is_leaving: bool) {
        self.is_leaving = is_leaving;
    }

    /// Whether what waits of its layer shall make room for a smaller one.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving && self.awaited().is_some()
    }

    /// The lane in which a packet of a stream waits.
    pub fn lane(&self, stream: StreamId) -> Lane {
        let class = if self.selector.is_smallest(stream) { PacketClass::Base } else { PacketClass::Video };
        Lane { class, priority: self.strategy.priority }
    }

    /// Waits for a key frame again: the subscriber has missed too much.
    pub fn restart(&mut self) {
        self.selector.restart();
        self.thinning = Thinning::default();
    }

    /// Takes what a new offer says about the slot; its payload types must be mapped anew.
    pub fn renegotiate(&mut self, negotiated: Vec<SectionCodec>, extensions: ExtensionMap) {
        self.negotiated = negotiated;
        self.headers = Headers::new(&extensions);
        self.extensions = extensions;
    }

    /// Wants `stream` from its next key frame on, and `first` until there is one; `None` stops at once.
    pub fn set_target(&mut self, stream: Option<StreamId>, first: First) {
        self.selector.set_target(stream, first);
    }

    /// Whether a packet of `stream` goes to the subscriber.
    pub fn admit(&mut self, now: Instant, stream: StreamId, packet: &SourcePacket) -> Admitted {
        let Some(mapping) = self.mapping(packet.payload_type) else {
            return Admitted::Unmapped;
        };
        let joinable = packet.is_key_frame() || packet.is_sound();
        let admission = self.selector.admit(stream, joinable);
        if admission == Admission::Drop {
            return Admitted::No;
        }
        self.note_picture(now, stream, packet);
        if packet.is_key_frame() {
            self.carried.key_picture = self.carried.picture;
        }
        self.note_order(now, stream, packet.seq);
        let class = if packet.is_sound() { PacketClass::Audio } else { self.lane(stream).class };
        if admission == Admission::Switch {
            self.thinning = Thinning::default();
        }
        let predecessors = self.plan_predecessors(packet);
        let what = What::Media { stream, admission, mapping, packet: packet.clone(), predecessors };
        Admitted::Yes(Pending { class, what })
    }

    /// The stream's packet `first` begins the slot if it is admitted next, and more follows that is to be caught up with.
    pub fn expect_catch_up(&mut self, stream: StreamId, first: u64, catch_up: CatchUp) {
        self.carried.catch_up = Some((stream, first, catch_up));
    }

    /// Whether the viewer was shown pictures of this group of a stream, or others that are much later than its key frame.
    pub fn is_past(&self, stream: StreamId, gop: &Gop) -> bool {
        self.carried.newest.is_some_and(|(of, seq)| of == stream && seq >= gop.packets.start)
            || self.carried.pictured_at.is_some_and(|at| gop.began + BACK_MAX < at)
    }

    /// Notes that the stream awaited could not be begun with at once; whether that is news.
    pub fn note_refused(&mut self, awaited: StreamId) -> bool {
        self.carried.refused.replace(awaited) != Some(awaited)
    }

    /// The stream that may be shown until the awaited one can be, while nothing is.
    pub fn stand_in(&self) -> Option<StreamId> {
        self.selector.stand_in()
    }

    /// Whether a packet of `stream` begins another picture than the last one that was admitted.
    pub fn begins_picture(&self, stream: StreamId, packet: &SourcePacket) -> bool {
        self.carried.picture != Some((stream, packet.timestamp))
    }

    /// A packet of a picture that others do not lean on, which does not go to the subscriber: its number is not used.
    pub fn leave_out(&mut self, stream: StreamId, packet: &SourcePacket) -> Pending {
        self.carried.left_out = Some((stream, packet.timestamp));
        let what = What::LeftOut { stream, seq: packet.seq, codec: packet.codec };
        Pending { class: self.lane(stream).class, what }
    }

    /// Whether a packet is of the picture that was left out last.
    pub fn is_left_out(&self, stream: StreamId, packet: &SourcePacket) -> bool {
        self.carried.left_out == Some((stream, packet.timestamp))
    }

    /// What of a picture's rates does not go to the subscriber for the moment.
    pub fn thinning_mut(&mut self) -> &mut Thinning {
        &mut self.thinning
    }

    /// Whether the subscriber gets all temporal layers of its stream.
    pub fn is_whole(&self) -> bool {
        self.thinning.is_idle()
    }

    /// Whether a packet that was admitted just now is of a key frame.
    pub fn is_key_frame(&self, packet: &SourcePacket) -> bool {
        let of_last = |(_, timestamp)| timestamp == packet.timestamp;
        self.carried.key_picture == self.carried.picture && self.carried.key_picture.is_some_and(of_last)
    }

    /// A packet is about to be written.
    pub fn note_leaving(&mut self, pending: &Pending) {
        if let Some((stream, packet)) = pending.media() {
            self.carried.partial = (!packet.marker).then_some((stream, packet.timestamp));
        }
    }

    /// The picture of which some packets have left and others have not.
    pub fn partial(&self) -> Option<(StreamId, u32)> {
        self.carried.partial
    }

    /// When to ask `poll_repeat` and to tell forward repair that time has passed; `None` if nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let repair = self.repair.as_ref().and_then(|repair| repair.poll_timeout());
        earliest(self.carried.repeats.poll_timeout(), repair)
    }

    /// Notes the round trip to the subscriber: within most of it, no packet is answered twice.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// The outgoing stream's RTP timestamp at wall-clock time `wall`, for its sender report.
    pub fn timestamp_at(&self, wall: NtpTime) -> Option<u32> {
        self.rewriter.timestamp_at(wall)
    }

    /// The outgoing stream.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The stream of retransmissions.
    pub fn rtx_ssrc(&self) -> Ssrc {
        self.rtx_ssrc
    }

    /// The stream of which a subscriber that asks for a key frame now needs one; `None` if it asked before the one on its
    /// way could have reached it.
    pub fn stream_to_refresh(&self, now: Instant) -> Option<StreamId> {
        let crossed = self.carried.key_frame_at.is_some_and(|at| now.since(at) < self.rtt);
        self.selector.current().filter(|_| !crossed)
    }

    /// The stream that the subscriber sees now.
    pub fn current(&self) -> Option<StreamId> {
        self.selector.current()
    }

    /// The stream that a key frame is needed of.
    pub fn awaited(&self) -> Option<StreamId> {
        self.selector.awaited()
    }

    /// The stream that is wanted.
    pub fn target(&self) -> Option<StreamId> {
        self.selector.target()
    }

    /// Whether its packets carry transport-wide numbers.
    pub fn is_numbered(&self) -> bool {
        self.headers.is_numbered()
    }

    /// Whether it has a stream of retransmissions.
    pub fn repairs(&self) -> bool {
        self.rtx_payload_type().is_some()
    }

    /// Reads how fast media leaves; to be called about once a second.
    pub fn read_pace(&mut self, now: Instant) {
        self.pace.read(now, self.carried.counts.media.bytes);
    }

    /// How fast media has left of late, retransmissions and repair left out.
    pub fn rate(&self, now: Instant) -> Bitrate {
        self.pace.rate(now)
    }

    /// What was sent and asked for so far.
    pub fn counts(&self) -> LegCounts {
        self.carried.counts
    }

    /// Numbers for reports.
    pub fn stats(&self) -> SendStats {
        self.carried.stats
    }

    fn mapping(&self, source: PayloadType) -> Option<PayloadMapping> {
        self.payload_types.iter().find(|mapping| mapping.source == source).copied()
    }

    fn note_picture(&mut self, now: Instant, stream: StreamId, packet: &SourcePacket) {
        self.carried.pictured_at = Some(now);
        if self.begins_picture(stream, packet) {
            self.carried.picture = Some((stream, packet.timestamp));
            self.carried.largest = 0;
        }
        self.carried.largest = self.carried.largest.max(packet.payload().len());
    }

    /// Whether another packet of the same picture, of those that came so far, is just a byte longer: libwebrtc cuts pictures
    /// into packets that differ by no more.
    fn is_a_byte_short(&self, packet: &SourcePacket) -> bool {
        self.carried.picture.is_some_and(|(_, timestamp)| timestamp == packet.timestamp)
            && packet.payload().len() + 1 == self.carried.largest
    }

    /// Notes whether a packet comes after later ones.
    fn note_order(&mut self, now: Instant, stream: StreamId, seq: u64) {
        if self.carried.newest.is_none_or(|newest| newest.0 != stream || newest.1 < seq) {
            self.carried.newest = Some((stream, seq));
            return;
        }
        if self.carried.late.len() == LATE_MAX {
            self.carried.late.pop_front();
        }
        self.carried.late.push_back((stream, seq, now));
    }

    fn rtx_payload_type(&self) -> Option<PayloadType> {
        let bound = self.payload_types.iter().find_map(|mapping| mapping.rtx);
        bound.or_else(|| self.negotiated.iter().find_map(|codec| codec.rtx))
    }

    fn next_rtx(&mut self) -> SeqNo {
        let seq = self.rtx_next;
        self.rtx_next = seq.plus(1);
        seq
    }
}
