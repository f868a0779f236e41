//! What a client sends: a microphone's packet every 20 ms, a camera's frame every 40 ms on each of its layers.
//!
//! In: `now`, RTCP about its streams. Out: plaintext RTP and RTCP. Each stream has a sequence, a clock and picture ids
//! that begin anywhere, and keeps its packets for retransmission.

use std::collections::BTreeMap;
use std::time::Duration;

use fec::scheme::red::RedEncoder;
use proto::ids::Rid;
use proto::rtcp::{Rtcp, SenderReport};
use proto::rtp::extension::Extension;
use proto::rtp::{ExtensionId, PayloadType, RtpHeader, SeqNo, Ssrc, rtx};
use proto::seed::Chance;
use proto::signal::{Demand, Kind};
use proto::time::{Instant, NtpTime, earliest};

use super::offer::{Dialect, Sound, Use};
use super::repairer::Repairer;
use super::stamp::{MORE, PictureIds, RIDS, SIZES, Stamp, read};

const REPORT_FIRST: Duration = Duration::from_millis(300); // after the first packet; Chromium's come about then
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const HISTORY: usize = 400; // packets: two seconds of the largest layer

/// What leaves, before encryption.
#[derive(Debug)]
pub(crate) enum Leaving {
    Rtp(Vec<u8>),
    Rtcp(Vec<Rtcp>),
}

/// One RTP stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) ssrc: Ssrc,
    rtx_ssrc: Ssrc,
    repairer: Option<Repairer>,
    /// Whether it is sent now.
    pub(crate) active: bool,
    layer: u8,
    /// The most that its encoder makes, in kbit/s.
    most: Option<u32>,
    seq: SeqNo,
    rtx_seq: SeqNo,
    clock_start: u32,
    frame: u32,
    ids: PictureIds,
    history: BTreeMap<u64, (SeqNo, RtpHeader, Vec<u8>)>,
    packets: u32,
    octets: u32,
    report_at: Option<Instant>,
    /// When its key frame was asked for.
    pub(crate) plis: Vec<Instant>,
    /// The packets asked for again.
    pub(crate) nacked: Vec<SeqNo>,
    /// How many packets were sent again.
    pub(crate) retransmitted: usize,
    answered: BTreeMap<u16, Instant>,
}

/// Within a round trip libwebrtc sends no packet again twice.
const ROUND_TRIP: Duration = Duration::from_millis(30);

/// A media section in which something is sent.
#[derive(Debug)]
pub(crate) struct Track {
    section: u8,
    kind: Kind,
    simulcast: bool,
    next: Instant,
    key_wanted: bool,
    /// How much larger packets of pictures are.
    pub(crate) more: usize,
    /// How many packets more the pictures of the largest layer have.
    pub(crate) more_parts: u8,
    pub(crate) streams: Vec<Stream>,
    /// Where sound leaves as RED.
    red: Option<RedEncoder>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Sender {
    peer: u16,
    dialect: Dialect,
    wall_start: NtpTime,
    transport_seq: u16,
    first_transport: u16,
    /// By transport sequence number: whether the server said that the packet arrived.
    pub(crate) told: BTreeMap<u16, bool>,
    pub(crate) tracks: BTreeMap<u8, Track>,
    chance: Chance,
}

impl Sender {
    /// Nothing is sent yet; `wall_start` is what the client's clock shows at `Instant::ZERO`.
    pub(crate) fn new(peer: u16, dialect: Dialect, wall_start: NtpTime, mut chance: Chance) -> Self {
        let transport_seq = chance.number() as u16;
        let (told, tracks) = (BTreeMap::new(), BTreeMap::new());
        let first_transport = transport_seq;
        Self { peer, dialect, wall_start, transport_seq, first_transport, told, tracks, chance }
    }

    /// How many packets were sent, up to 65,535.
    pub(crate) fn transport_packets(&self) -> usize {
        self.transport_seq.wrapping_sub(self.first_transport).into()
    }

    /// Sends in these sections from now on.
    pub(crate) fn set_sections(&mut self, now: Instant, sections: &[Use]) {
        for (index, section) in sections.iter().enumerate() {
            let index = index as u8;
            if section.source().is_none() {
                self.tracks.remove(&index);
            } else if !self.tracks.contains_key(&index) {
                let track = self.start(now, index, *section);
                self.tracks.insert(index, track);
            }
        }
    }

    /// The stream of a layer (0 if there is one stream).
    pub(crate) fn stream_mut(&mut self, section: u8, layer: usize) -> &mut Stream {
        &mut self.tracks.get_mut(&section).expect("sent").streams[layer]
    }

    /// Makes pictures no larger than is demanded.
    pub(crate) fn meet(&mut self, demand: &Demand) {
        for stream in self.tracks.values_mut().filter(|track| track.kind == Kind::Video).flat_map(|track| {
            let simulcast = track.simulcast;
            track.streams.iter_mut().map(move |stream| (simulcast, stream))
        }) {
            let (simulcast, stream) = stream;
            let rid = simulcast.then_some(RIDS[usize::from(stream.layer)]);
            let own = demand.layers.iter().find(|layer| layer.rid.as_ref().map(Rid::as_str) == rid);
            stream.most = own.map_or(stream.most, |layer| layer.max_kbps);
        }
    }

    /// A repair packet with this payload, from this source if it is not the usual one.
    pub(crate) fn repair_packet(&mut self, section: u8, ssrc: Option<Ssrc>, payload: &[u8]) -> Vec<u8> {
        let header = self.stream_mut(section, 0).repairer().header(0);
        let header = RtpHeader { ssrc: ssrc.unwrap_or(header.ssrc), ..header };
        packet(&header, section, None, &self.dialect, &mut self.transport_seq, payload)
    }

    /// A retransmission whose payload begins so far from the newest packet's number, and this payload type if it is
    /// not the usual one.
    pub(crate) fn rtx_packet(
        &mut self,
        section: u8,
        payload_type: Option<PayloadType>,
        payload: &[u8],
    ) -> Vec<u8> {
        let payload_type = payload_type.unwrap_or(self.dialect.vp8_rtx);
        let stream = self.stream_mut(section, 0);
        let mut payload = payload.to_vec();
        if let Some(number) = payload.first_chunk_mut::<2>() {
            *number = stream.last_seq().plus(u16::from_be_bytes(*number)).0.to_be_bytes();
        }
        let (seq, ssrc) = (stream.rtx_seq, stream.rtx_ssrc);
        stream.rtx_seq = seq.plus(1);
        let header = RtpHeader { payload_type, marker: false, seq, timestamp: 0, ssrc };
        packet(&header, section, None, &self.dialect, &mut self.transport_seq, &payload)
    }

    /// All key frame requests of a section.
    pub(crate) fn plis(&self, section: u8) -> Vec<Instant> {
        self.tracks[&section].streams.iter().flat_map(|stream| stream.plis.iter().copied()).collect()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Leaving>) {
        let Self { tracks, dialect, transport_seq, peer, wall_start, .. } = self;
        for track in tracks.values_mut() {
            while track.next <= now {
                track.send_frame(now, *peer, dialect, transport_seq, out);
            }
            for stream in &mut track.streams {
                if stream.report_at.is_some_and(|at| at <= now) {
                    stream.report_at = Some(now + REPORT_INTERVAL);
                    out.push(Leaving::Rtcp(vec![stream.report(now, track.kind, *wall_start)]));
                }
            }
        }
    }

    pub(crate) fn handle_rtcp(&mut self, now: Instant, packet: &Rtcp, out: &mut Vec<Leaving>) {
        let Self { tracks, dialect, transport_seq, told, .. } = self;
        if let Rtcp::TransportFeedback(feedback) = packet {
            for (offset, arrival) in feedback.arrivals.iter().enumerate() {
                *told.entry(feedback.base.plus(offset as u16).0).or_default() |= arrival.is_some();
            }
        }
        let (media, lost) = match packet {
            Rtcp::Pli { media, .. } => (*media, None),
            Rtcp::Nack { media, lost, .. } => (*media, Some(lost)),
            Rtcp::SenderReport(_)
            | Rtcp::ReceiverReport(_)
            | Rtcp::SourceDescription { .. }
            | Rtcp::Bye { .. }
            | Rtcp::Fir { .. }
            | Rtcp::TransportFeedback(_)
            | Rtcp::CongestionFeedback(_) => return,
        };
        for track in tracks.values_mut() {
            let (section, simulcast) = (track.section, track.simulcast);
            let Some(stream) = track.streams.iter_mut().find(|stream| stream.ssrc == media) else { continue };
            match lost {
                None => {
                    stream.plis.push(now);
                    track.key_wanted = true; // on all layers, as libwebrtc answers
                }
                Some(lost) => {
                    stream.nacked.extend(lost);
                    for seq in lost {
                        let last = stream.answered.insert(seq.0, now);
                        if last.is_some_and(|last| now.since(last) < ROUND_TRIP) {
                            continue;
                        }
                        stream.send_again(*seq, section, simulcast, dialect, transport_seq, out);
                    }
                }
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let tracks = self.tracks.values().fold(None, |at, track| earliest(at, Some(track.next)));
        let streams = self.tracks.values().flat_map(|track| &track.streams);
        streams.fold(tracks, |at, stream| earliest(at, stream.report_at))
    }

    fn start(&mut self, now: Instant, section: u8, used: Use) -> Track {
        let simulcast = matches!(used, Use::Simulcast(_));
        let layers = if simulcast { RIDS.len() as u8 } else { 1 };
        let (chance, dialect) = (&mut self.chance, &self.dialect);
        let stream = |layer: u8| Stream {
            ssrc: Ssrc(chance.number()),
            rtx_ssrc: Ssrc(chance.number()),
            repairer: None,
            active: true,
            layer,
            most: None,
            // Near the wrap, so that every run crosses it.
            seq: SeqNo(65_535 - (chance.number() % 600) as u16),
            rtx_seq: SeqNo(chance.number() as u16 & 0x7fff),
            clock_start: chance.number(),
            frame: 0,
            ids: PictureIds { picture: 0x7fff - (chance.number() % 200) as u16, tl0: chance.number() as u8 },
            history: BTreeMap::new(),
            packets: 0,
            octets: 0,
            report_at: None,
            plis: Vec::new(),
            nacked: Vec::new(),
            retransmitted: 0,
            answered: BTreeMap::new(),
        };
        let mut streams: Vec<Stream> = (0..layers).map(stream).collect();
        if let (Use::Repaired(_), [stream]) = (used, &mut streams[..]) {
            stream.repairer = Some(Repairer::new(stream.ssrc, Ssrc(stream.ssrc.0 ^ 1), dialect));
        }
        let is_red = dialect.sound == Sound::SendsRed && used.kind() == Kind::Audio;
        let red = is_red.then(|| RedEncoder::new(dialect.opus));
        Track {
            section,
            kind: used.kind(),
            simulcast,
            next: now,
            key_wanted: true,
            more: 0,
            more_parts: 0,
            streams,
            red,
        }
    }
}

impl Track {
    fn send_frame(
        &mut self,
        now: Instant,
        peer: u16,
        dialect: &Dialect,
        transport_seq: &mut u16,
        out: &mut Vec<Leaving>,
    ) {
        let is_video = self.kind == Kind::Video;
        self.next += Duration::from_millis(if is_video { 40 } else { 20 });
        let key = std::mem::take(&mut self.key_wanted) && is_video;
        for stream in self.streams.iter_mut().filter(|stream| stream.active) {
            stream.report_at.get_or_insert(now + REPORT_FIRST);
            let parts = match (is_video, stream.layer) {
                (false, _) => 1,
                (true, 0) => 3 + self.more_parts,
                (true, layer) => 3 - layer,
            } + u8::from(key);
            for part in 0..parts {
                let stamp = Stamp {
                    publisher: peer,
                    section: self.section,
                    layer: stream.layer,
                    frame: stream.frame,
                    part,
                    parts,
                    key,
                    captured: now,
                };
                let size = SIZES[usize::from(stream.layer)];
                let mut payload = if is_video { stamp.video(stream.ids, size) } else { stamp.audio() };
                if is_video {
                    let packets = 25 * u32::from(parts); // a second
                    let most = stream.most.map_or(usize::MAX, |most| (most * 125 / packets) as usize);
                    payload.resize((payload.len() + self.more).min(most).max(payload.len()), MORE);
                }
                let (rate, mut payload_type) =
                    if is_video { (90_000, dialect.vp8) } else { (48_000, dialect.opus) };
                if let Some(red) = &mut self.red {
                    let plain = std::mem::take(&mut payload);
                    red.encode(stream.clock_at(now, rate), &plain, 2, &mut payload);
                    payload_type = dialect.red;
                }
                let header = RtpHeader {
                    payload_type,
                    marker: part + 1 == parts && is_video,
                    seq: stream.seq,
                    timestamp: stream.clock_at(now, rate),
                    ssrc: stream.ssrc,
                };
                stream.seq = stream.seq.plus(1);
                stream.packets += 1;
                stream.octets += payload.len() as u32;
                let rid = self.simulcast.then_some((Extension::Rid, RIDS[usize::from(stream.layer)]));
                let bytes = packet(&header, self.section, rid, dialect, transport_seq, &payload);
                stream.repairer.iter_mut().for_each(|repairer| repairer.add(&bytes));
                out.push(Leaving::Rtp(bytes));
                stream.remember(header, payload);
            }
            if let Some(repairer) = &mut stream.repairer {
                let (header, payload) = repairer.finish(0);
                out.push(Leaving::Rtp(packet(&header, self.section, None, dialect, transport_seq, &payload)));
            }
            stream.frame += 1;
            stream.ids.picture = (stream.ids.picture + 1) & 0x7fff;
            stream.ids.tl0 = stream.ids.tl0.wrapping_add(1);
        }
    }
}

impl Stream {
    /// What makes its repair packets.
    pub(crate) fn repairer(&mut self) -> &mut Repairer {
        self.repairer.as_mut().expect("it is repaired")
    }

    /// The source of its retransmissions.
    pub(crate) fn rtx_ssrc(&self) -> Ssrc {
        self.rtx_ssrc
    }

    /// The number of its newest packet.
    pub(crate) fn last_seq(&self) -> SeqNo {
        SeqNo(self.seq.0.wrapping_sub(1))
    }

    fn clock_at(&self, now: Instant, rate: u64) -> u32 {
        let ticks = u128::from(now.as_nanos()) * u128::from(rate) / 1_000_000_000;
        self.clock_start.wrapping_add(ticks as u32)
    }

    fn remember(&mut self, header: RtpHeader, payload: Vec<u8>) {
        let place = self.packets.into();
        self.history.insert(place, (header.seq, header, payload));
        if self.history.len() > HISTORY {
            self.history.pop_first();
        }
    }

    fn report(&self, now: Instant, kind: Kind, wall_start: NtpTime) -> Rtcp {
        let rate = if kind == Kind::Video { 90_000 } else { 48_000 };
        Rtcp::SenderReport(SenderReport {
            ssrc: self.ssrc,
            ntp: wall_start.offset_nanos(now.as_nanos() as i64),
            rtp_timestamp: self.clock_at(now, rate),
            packets: self.packets,
            octets: self.octets,
            reports: Vec::new(),
        })
    }

    fn send_again(
        &mut self,
        lost: SeqNo,
        section: u8,
        simulcast: bool,
        dialect: &Dialect,
        transport_seq: &mut u16,
        out: &mut Vec<Leaving>,
    ) {
        let found = self.history.values().rev().find(|(seq, ..)| *seq == lost);
        let Some((_, header, media)) = found else { return };
        let mut payload = Vec::new();
        rtx::write(lost, media, &mut payload);
        let rid = simulcast.then_some((Extension::RepairedRid, RIDS[usize::from(self.layer)]));
        let header =
            RtpHeader { payload_type: dialect.vp8_rtx, seq: self.rtx_seq, ssrc: self.rtx_ssrc, ..*header };
        self.rtx_seq = self.rtx_seq.plus(1);
        self.retransmitted += 1;
        out.push(Leaving::Rtp(packet(&header, section, rid, dialect, transport_seq, &payload)));
    }
}

/// A packet with the header extensions that a browser sends.
fn packet(
    header: &RtpHeader,
    section: u8,
    rid: Option<(Extension, &str)>,
    dialect: &Dialect,
    transport_seq: &mut u16,
    payload: &[u8],
) -> Vec<u8> {
    let id = |extension| dialect.extensions.id(extension).expect("all are set");
    let mid = section.to_string();
    let number = transport_seq.to_be_bytes();
    *transport_seq = transport_seq.wrapping_add(1);
    let mut extensions: Vec<(ExtensionId, &[u8])> =
        vec![(id(Extension::Mid), mid.as_bytes()), (id(Extension::TransportSequence), &number)];
    if let Some((extension, rid)) = rid {
        extensions.push((id(extension), rid.as_bytes()));
    }
    if header.payload_type == dialect.opus {
        extensions.push((id(Extension::AudioLevel), &[0x9e]));
    }
    let media = match header.payload_type {
        own if own == dialect.vp8 => Some(payload),
        own if own == dialect.vp8_rtx => payload.get(2..),
        _ => None,
    };
    let descriptor = media.and_then(read).map(|read| read.stamp.descriptor());
    extensions.extend(descriptor.iter().map(|own| (id(Extension::DependencyDescriptor), own.as_slice())));
    let mut out = Vec::new();
    header.write(&extensions, &mut out);
    out.extend_from_slice(payload);
    out
}

/// A packet of any stream, for those who lie about theirs; `mid` with the number of its header extension.
pub(crate) fn forged(
    ssrc: Ssrc,
    payload_type: PayloadType,
    seq: u16,
    mid: Option<(ExtensionId, &str)>,
) -> Vec<u8> {
    let header = RtpHeader { payload_type, marker: true, seq: SeqNo(seq), timestamp: 77_777, ssrc };
    let extensions: Vec<(ExtensionId, &[u8])> = mid.iter().map(|(id, mid)| (*id, mid.as_bytes())).collect();
    let mut out = Vec::new();
    header.write(&extensions, &mut out);
    out.extend_from_slice(&[0x90; 50]);
    out
}
