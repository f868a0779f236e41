//! `RtpRecvPipeline`: one stream of a publisher, from decrypted packets to source packets in the router's hands.
//!
//! In: RTP packets of the stream, of its retransmissions and of its repair packets, sender reports. Out:
//! [`SourcePacket`]s, NACKs, key-frame requests, reception reports. Order on the way: extend the sequence number, undo RTX,
//! RED and repair, note holes, keep for retransmission. Time: `now`, monotonic; `wall`, the server's wall clock at `now`.

mod asked;
mod dependencies;
mod forward_repair;
mod gop;
mod redundant_audio;
mod relayed;
mod stats;

use core::time::Duration;
use std::collections::VecDeque;

use fec::nack::NackGenerator;
use fec::repair_time::RepairTime;
use fec::retransmit::PacketCache;
use fec::scheme::flexfec::Refusal;
use proto::codec::Codec;
use proto::ids::Rid;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{RtpView, SeqNo, SeqUnwrapper, Ssrc, rtx};
use proto::sdp::SectionCodec;
use proto::time::{Instant, NtpTime, earliest};
use proto::units::DataSize;

use super::clock::RtpClock;
use super::downlink::PACKET_OVERHEAD;
use super::keyframes::KeyFrameRequester;
use super::meter::RateMeter;
use super::packet::{PacketPool, SourceHeader, SourcePacket, StreamId};
use super::reception::Reception;
use super::stats::StreamCounts;
use super::strategy::Strategy;
use dependencies::Dependencies;
use forward_repair::RepairReceiver;
use gop::NewestKeyFrame;
pub use gop::{Gop, NoGop};
use redundant_audio::RedundantAudio;
use relayed::Relayed;

/// A stream without a picture for four times its usual interval is not being sent: its publisher's bandwidth or a mute
/// stopped it. At least `IDLE_MIN`, which an encoder that hesitates may take, at most `IDLE_MAX`.
const IDLE_INTERVALS: u32 = 4;
const IDLE_MIN: Duration = Duration::from_millis(300);
const IDLE_MAX: Duration = Duration::from_secs(1);

/// A request for lost packets is said once more so much later, apart enough not to be lost with the first: it crosses
/// the same network as what it asks for, and its own loss costs a whole retry. The publisher answers once (libwebrtc
/// sends no packet again within a round trip).
const ECHO_AFTER: Duration = Duration::from_millis(10);

/// Requests that wait to be said once more; the oldest goes first.
const ECHOES_MAX: usize = 16;

/// The most that waiting for the next picture adds to a repair: at 20 pictures a second and fewer, freezes are judged
/// more mildly anyway.
const UNNOTICED_MAX: Duration = Duration::from_millis(50);

/// What a stream is, before its first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOrigin {
    /// The media section it came in, by its place in the offer.
    pub section: usize,
    /// Its simulcast layer, if it is one.
    pub rid: Option<Rid>,
    /// Its source.
    pub ssrc: Ssrc,
}

/// A packet of a stream and what was negotiated for its media section.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its header, read.
    pub view: RtpView<'a>,
    /// All of it.
    pub bytes: &'a [u8],
    /// The section's codecs.
    pub codecs: &'a [SectionCodec],
    /// The connection's header extensions.
    pub extensions: &'a ExtensionMap,
}

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvDrop {
    /// Its payload type is not one that was negotiated for the media section.
    #[error("payload type {0} was not negotiated")]
    UnknownPayloadType(u8),
    /// It came twice.
    #[error("came twice")]
    Duplicate,
    /// A retransmission without a payload: the publisher probes for bandwidth.
    #[error("padding alone")]
    Padding,
    /// Redundant audio that is not as its negotiation or RFC 2198 has it.
    #[error("malformed redundancy")]
    Redundancy,
    /// A retransmission of what its payload type does not say, a retransmission's included.
    #[error("payload type {0} retransmits nothing that was negotiated")]
    UnknownRetransmission(u8),
    /// A retransmission without room for the number of what it retransmits.
    #[error("a retransmission of one byte")]
    ShortRetransmission,
    /// A retransmission of what cannot have been sent yet.
    #[error("a retransmission of {0:?}, far ahead of its stream")]
    EarlyRetransmission(SeqNo),
    /// A repair packet, or what it restores, is not what it should be.
    #[error("a repair packet: {0}")]
    Repair(Refusal),
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As it was sent first.
    Itself,
    /// In a stream of retransmissions (RFC 4588).
    Retransmission,
    /// In a stream of repair packets, or restored from them or from redundancy.
    Repair,
}

/// One stream of a publisher; see the module's description.
#[derive(Debug)]
pub struct RtpRecvPipeline {
    id: StreamId,
    origin: StreamOrigin,
    rtx_ssrc: Option<Ssrc>,
    /// None while the publisher sends no repair packets for the stream.
    repair: Option<RepairReceiver>,
    seq: SeqUnwrapper,
    nack: Option<NackGenerator>,
    strategy: Strategy,
    /// Requests to say once more, and when.
    echoes: VecDeque<(Instant, Vec<u64>)>,
    /// Packets to ask for once more now.
    again: Vec<u64>,
    now: Instant,
    repair_time: RepairTime,
    pool: PacketPool,
    cache: PacketCache<SourcePacket>,
    redundant_audio: RedundantAudio,
    reception: Reception,
    /// None for sound, and where PLI was not negotiated.
    key_frames: Option<KeyFrameRequester>,
    newest_key_frame: NewestKeyFrame,
    dependencies: Dependencies,
    clock: RtpClock,
    size: Option<(u32, u32)>,
    since: Instant,
    last_arrival: Instant,
    last_picture: Instant,
    picture_interval: Duration,
    has_gap: bool,
    meter: RateMeter,
    counts: StreamCounts,
    codec: Option<Codec>,
    /// What is told of it, if its packets come from another worker.
    relayed: Option<Box<Relayed>>,
}

impl RtpRecvPipeline {
    /// A stream whose first packet, with timestamp `rtp`, is about to be handled.
    pub fn new(
        now: Instant,
        wall: NtpTime,
        id: StreamId,
        origin: StreamOrigin,
        codec: &SectionCodec,
        rtp: u32,
    ) -> Self {
        Self {
            id,
            reception: Reception::new(origin.ssrc),
            origin,
            rtx_ssrc: None,
            repair: None,
            seq: SeqUnwrapper::default(),
            nack: codec.nack.then(NackGenerator::default),
            strategy: Strategy::default(),
            echoes: VecDeque::new(),
            again: Vec::new(),
            now,
            repair_time: RepairTime::default(),
            pool: PacketPool::default(),
            cache: PacketCache::default(),
            redundant_audio: RedundantAudio::default(),
            key_frames: codec.pli.then(KeyFrameRequester::default),
            newest_key_frame: NewestKeyFrame::default(),
            dependencies: Dependencies::default(),
            clock: RtpClock { at: wall, rtp, rate: codec.clock_rate },
            size: None,
            since: now,
            last_arrival: now,
            last_picture: now,
            picture_interval: IDLE_MAX / IDLE_INTERVALS,
            has_gap: false,
            meter: RateMeter::default(),
            counts: StreamCounts::default(),
            codec: codec.codec,
            relayed: None,
        }
    }

    /// A packet of the stream itself.
    pub fn handle_packet(&mut self, now: Instant, arrival: &Arrival<'_>) -> Result<SourcePacket, RecvDrop> {
        let view = &arrival.view;
        if let Some(red) = arrival.red() {
            return self.handle_red(now, arrival, red);
        }
        let packet = self.source_packet(now, arrival)?;
        self.reception.handle_packet(now, view.seq(), view.timestamp(), self.clock.rate);
        self.redundant_audio.handle_plain(&packet)?;
        let packet = self.accept(now, packet, Way::Itself)?;
        if let Some(repair) = &mut self.repair {
            repair.handle_media(arrival.bytes);
        }
        Ok(packet)
    }

    /// A packet of the stream's retransmissions (RFC 4588): the original in another wrapping.
    pub fn handle_retransmission(
        &mut self,
        now: Instant,
        arrival: &Arrival<'_>,
    ) -> Result<SourcePacket, RecvDrop> {
        let view = &arrival.view;
        let short = if view.payload().is_empty() { RecvDrop::Padding } else { RecvDrop::ShortRetransmission };
        let (original, rest) = rtx::unwrap(view.payload()).ok_or(short)?;
        let unknown = RecvDrop::UnknownRetransmission(view.payload_type().0);
        let codec = arrival.codecs.iter().find(|codec| codec.rtx == Some(view.payload_type()));
        let codec = codec.ok_or(unknown)?;
        let mut header = self.header(now, arrival, codec.codec.ok_or(unknown)?, original);
        if self.nack.as_ref().is_some_and(|nack| !nack.is_credible(header.seq)) {
            return Err(RecvDrop::EarlyRetransmission(original));
        }
        header.payload_type = codec.payload_type;
        let described = self.dependencies.describe(arrival, header.codec, header.seq);
        let packet = self.pool.store_described(header, rest, described);
        self.accept(now, packet, Way::Retransmission)
    }

    /// A packet of the stream's repair packets; what it restores is for `poll_restored`.
    pub fn handle_repair(&mut self, now: Instant, arrival: &Arrival<'_>) -> Result<(), RecvDrop> {
        let Some(repair) = self.repair.as_mut().filter(|_| self.strategy.repair.forward) else {
            return Ok(());
        };
        let payload = arrival.view.payload();
        repair.handle_repair(now, self.origin.ssrc, arrival.extensions, payload).map_err(RecvDrop::Repair)
    }

    /// A packet that was missing and is restored; poll until `None` after each packet of the stream and of its repair.
    pub fn poll_restored(
        &mut self,
        now: Instant,
        codecs: &[SectionCodec],
        extensions: &ExtensionMap,
    ) -> Option<Result<SourcePacket, RecvDrop>> {
        if let Some(packet) = self.redundant_audio.poll_restored() {
            return Some(Ok(packet));
        }
        loop {
            let bytes = self.repair.as_mut()?.poll_restored()?;
            let Ok(view) = RtpView::parse(&bytes) else { continue }; // the decoder has seen to it
            let arrival = Arrival { view, bytes: &bytes, codecs, extensions };
            let packet = self.source_packet(now, &arrival);
            match packet.and_then(|packet| self.accept(now, packet, Way::Repair)) {
                Err(RecvDrop::Duplicate) => {} // a retransmission was faster
                taken => return Some(taken),
            }
        }
    }

    /// A sender report of the stream; `at` is its wall clock mapped to the server's.
    pub fn handle_sender_report(&mut self, now: Instant, reported: NtpTime, at: NtpTime, rtp: u32) {
        self.reception.handle_sender_report(now, reported, rtp);
        self.clock = RtpClock { at, rtp, ..self.clock };
    }

    /// A subscriber cannot go on without a key frame.
    pub fn want_key_frame(&mut self, now: Instant) {
        if let Some(key_frames) = &mut self.key_frames {
            key_frames.want(now);
        }
    }

    /// Comes in this way from now on.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
    }

    /// Notes the round trip to the publisher.
    pub fn set_rtt(&mut self, rtt: Duration) {
        if let Some(nack) = &mut self.nack {
            nack.set_rtt(rtt);
        }
        if let Some(key_frames) = &mut self.key_frames {
            key_frames.set_rtt(rtt);
        }
    }

    /// Notes which stream carries the retransmissions.
    pub fn set_rtx(&mut self, ssrc: Ssrc) {
        self.rtx_ssrc = Some(ssrc);
    }

    /// Notes which stream carries the repair packets, and tells which one did before.
    pub fn set_repair(&mut self, now: Instant, ssrc: Ssrc) -> Option<Ssrc> {
        self.repair.replace(RepairReceiver::new(now, ssrc)).map(|old| old.ssrc())
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if let Some(repair) = &mut self.repair {
            repair.handle_timeout(now);
        }
        if let Some(nack) = &mut self.nack {
            nack.handle_timeout(now);
            while self.echoes.front().is_some_and(|(at, _)| *at <= now) {
                let (_, lost) = self.echoes.pop_front().expect("there is a front");
                self.again.extend(lost.into_iter().filter(|seq| nack.missing_since(*seq).is_some()));
            }
            self.has_gap |= nack.take_given_up() > 0;
        }
        if let Some(key_frames) = &mut self.key_frames {
            key_frames.handle_timeout(now);
        }
        self.cache.evict(now);
    }

    /// The packets to ask for again now.
    pub fn poll_nack(&mut self) -> Option<Vec<SeqNo>> {
        let numbers = |lost: &[u64]| lost.iter().map(|seq| SeqNo(*seq as u16)).collect();
        if !self.again.is_empty() {
            return Some(numbers(&std::mem::take(&mut self.again)));
        }
        let lost = self.nack.as_mut()?.poll_nack()?;
        if !self.strategy.repair.retransmission {
            return None; // holes are known all the same: what else restores them is told from what comes late
        }
        let asked = numbers(&lost);
        if self.echoes.len() == ECHOES_MAX {
            self.echoes.pop_front();
        }
        self.echoes.push_back((self.now + ECHO_AFTER, lost));
        Some(asked)
    }

    /// Whether `poll_nack` has something.
    pub fn is_nack_due(&self) -> bool {
        self.strategy.repair.retransmission && self.nack.as_ref().is_some_and(NackGenerator::is_due)
    }

    /// Whether to ask for a key frame now.
    pub fn poll_key_frame_request(&mut self) -> bool {
        self.key_frames.as_mut().is_some_and(KeyFrameRequester::poll_request)
    }

    /// Whether packets were given up since the last call: who watches this stream needs a key frame.
    pub fn poll_gap(&mut self) -> bool {
        std::mem::take(&mut self.has_gap)
    }

    /// When to wake; `None` if there is nothing to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let nack = self.nack.as_ref().and_then(NackGenerator::poll_timeout);
        let nack = earliest(nack, self.echoes.front().map(|(at, _)| *at));
        earliest(nack, self.key_frames.as_ref().and_then(KeyFrameRequester::poll_timeout))
    }

    /// Whether packets have come of late.
    pub fn is_alive(&self, now: Instant) -> bool {
        if let Some(relayed) = &self.relayed {
            return relayed.is_alive;
        }
        let patience = (self.picture_interval * IDLE_INTERVALS).clamp(IDLE_MIN, IDLE_MAX);
        now.since(self.last_arrival) < patience
    }

    /// Whether repair packets come for it, or redundancy has restored something.
    pub fn is_repaired(&self) -> bool {
        self.repair.as_ref().is_some_and(RepairReceiver::is_awake) || self.redundant_audio.has_restored()
    }

    /// The packet of an arrival whose header is the original's.
    fn source_packet(&mut self, now: Instant, arrival: &Arrival<'_>) -> Result<SourcePacket, RecvDrop> {
        let view = &arrival.view;
        let codec = arrival.codecs.iter().find(|codec| codec.payload_type == view.payload_type());
        let unknown = RecvDrop::UnknownPayloadType(view.payload_type().0);
        let known = codec.and_then(|codec| codec.codec).ok_or(unknown)?;
        let header = self.header(now, arrival, known, view.seq());
        let described = self.dependencies.describe(arrival, known, header.seq);
        Ok(self.pool.store_described(header, view.payload(), described))
    }

    fn header(&self, now: Instant, arrival: &Arrival<'_>, codec: Codec, seq: SeqNo) -> SourceHeader {
        let Arrival { view, extensions, .. } = arrival;
        let one_byte = |extension| {
            let value = view.extension(extensions.id(extension)?)?;
            value.first().copied()
        };
        SourceHeader {
            seq: self.seq.peek(seq),
            timestamp: view.timestamp(),
            marker: view.marker(),
            payload_type: view.payload_type(),
            codec,
            clock: self.clock,
            audio_level: one_byte(Extension::AudioLevel),
            orientation: one_byte(Extension::VideoOrientation),
            repair_time: self.playout_floor(now),
        }
    }

    /// How long playout should wait for repairs. The loss of a picture's last packet shows only with the next picture.
    pub fn playout_floor(&self, now: Instant) -> Duration {
        match self.repair_time.floor(now) {
            Duration::ZERO => Duration::ZERO,
            floor => floor + self.picture_interval.min(UNNOTICED_MAX),
        }
    }

    fn accept(&mut self, now: Instant, packet: SourcePacket, way: Way) -> Result<SourcePacket, RecvDrop> {
        match (&mut self.nack, way) {
            (Some(nack), Way::Retransmission | Way::Repair) => {
                // Publishers probe with old packets in new wrappings: only what was missing is news.
                if let Some(since) = nack.missing_since(packet.seq) {
                    self.repair_time.handle_repair(now, now.since(since));
                }
                let was_missing = match way {
                    Way::Repair => nack.handle_restored(now, packet.seq),
                    Way::Itself | Way::Retransmission => nack.handle_recovered(now, packet.seq),
                };
                if !was_missing {
                    return Err(RecvDrop::Duplicate);
                }
            }
            (Some(nack), Way::Itself) => {
                if self.cache.get(packet.seq).is_some() {
                    return Err(RecvDrop::Duplicate);
                }
                nack.handle_arrival(now, packet.seq);
            }
            (None, Way::Itself | Way::Retransmission | Way::Repair) => {}
        }
        self.seq.unwrap(SeqNo(packet.seq as u16));
        self.now = now;
        self.meter.add(now, DataSize::bytes(packet.payload().len() as u64 + PACKET_OVERHEAD));
        self.last_arrival = now;
        self.count(&packet, way);
        if self.nack.is_some() {
            self.cache.insert(now, packet.seq, packet.clone());
        }
        if packet.marker && way == Way::Itself {
            self.picture_interval =
                (self.picture_interval * 7 + now.since(self.last_picture).min(IDLE_MAX)) / 8;
            self.last_picture = now;
        }
        if packet.is_key_frame() {
            if let Some(key_frames) = &mut self.key_frames {
                key_frames.handle_key_frame(now);
            }
            self.newest_key_frame.handle_start(now, &packet);
            self.size = proto::codec::picture_size(packet.codec, packet.payload()).or(self.size);
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use proto::rtp::{PayloadType, RtpHeader};
    use proto::sdp::Fmtp;

    use super::*;

    const WALL: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);

    fn codec() -> SectionCodec {
        SectionCodec {
            payload_type: PayloadType(96),
            codec: Some(Codec::Vp8),
            clock_rate: 90_000,
            channels: 1,
            fmtp: Fmtp::new(""),
            rtx: Some(PayloadType(97)),
            nack: true,
            pli: true,
            fir: false,
            transport_cc: false,
        }
    }

    fn stream() -> RtpRecvPipeline {
        let origin = StreamOrigin { section: 0, rid: None, ssrc: Ssrc(1) };
        let id = StreamId { connection: 0, index: 0 };
        RtpRecvPipeline::new(Instant::ZERO, WALL, id, origin, &codec(), 0)
    }

    /// The stream's packet `seq`, by itself or as a retransmission, arrives after `millis`.
    fn arrive(
        stream: &mut RtpRecvPipeline,
        millis: u64,
        seq: u16,
        way: Way,
    ) -> Result<SourcePacket, RecvDrop> {
        let payload_type = PayloadType(if way == Way::Itself { 96 } else { 97 });
        let header = RtpHeader { payload_type, marker: true, seq: SeqNo(seq), timestamp: 0, ssrc: Ssrc(1) };
        let mut bytes = Vec::new();
        header.write(&[], &mut bytes);
        if way == Way::Retransmission {
            bytes.extend_from_slice(&seq.to_be_bytes());
        }
        bytes.extend_from_slice(&[0x11, 0, 0, 0]);
        let view = RtpView::parse(&bytes).unwrap();
        let (codecs, extensions) = ([codec()], ExtensionMap::default());
        let arrival = Arrival { view, bytes: &bytes, codecs: &codecs, extensions: &extensions };
        let now = Instant::from_millis(millis);
        match way {
            Way::Itself => stream.handle_packet(now, &arrival),
            Way::Retransmission => stream.handle_retransmission(now, &arrival),
            Way::Repair => unreachable!("not by itself"),
        }
    }

    fn asked(stream: &mut RtpRecvPipeline, millis: u64) -> Vec<u16> {
        stream.handle_timeout(Instant::from_millis(millis));
        std::iter::from_fn(|| stream.poll_nack()).flatten().map(|seq| seq.0).collect()
    }

    #[test]
    fn a_lost_packet_is_asked_for_twice_in_short_order_unless_it_came() {
        for (comes, again) in [(false, &[2][..]), (true, &[])] {
            let mut stream = stream();
            for seq in [1, 3, 4] {
                arrive(&mut stream, 0, seq, Way::Itself).unwrap();
            }
            assert_eq!(asked(&mut stream, 0), [2]);
            assert!(asked(&mut stream, 9).is_empty());
            if comes {
                arrive(&mut stream, 9, 2, Way::Retransmission).unwrap();
            }
            assert_eq!(asked(&mut stream, 10), again);
        }
    }

    #[test]
    fn playout_shall_wait_for_repairs_once_there_are_some() {
        let mut stream = stream();
        for seq in [1, 3, 4] {
            assert_eq!(arrive(&mut stream, 0, seq, Way::Itself).unwrap().repair_time, Duration::ZERO);
        }
        asked(&mut stream, 0);
        arrive(&mut stream, 80, 2, Way::Retransmission).unwrap();
        let wait = arrive(&mut stream, 90, 5, Way::Itself).unwrap().repair_time;
        assert!((Duration::from_millis(36)..=Duration::from_millis(130)).contains(&wait), "{wait:?}");
        assert_eq!(arrive(&mut stream, 95, 2, Way::Retransmission).unwrap_err(), RecvDrop::Duplicate);
    }
}
