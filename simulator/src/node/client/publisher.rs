//! What a client sends: its microphone and the layers of its camera, paced, with what its server asked for again.
//!
//! In: `now`, RTCP of the server. Out: RTP and RTCP datagrams, facts. Time: `poll_timeout`. Limit: the pacer's queue.

use std::collections::VecDeque;
use std::time::Duration;

use cc::{Estimator, PacketClass};
use proto::ids::Rid;
use proto::rtcp::{self, Rtcp};
use proto::rtp::{SeqNo, Ssrc};
use proto::seed::Seed;
use proto::signal::{Applied, AppliedLayer, Demand};
use proto::time::{Instant, NtpTime, earliest};
use proto::units::{Bitrate, DataSize};

use super::offer::{Dialect, Section};
use super::plan::{ClientPlan, Encoding, LayerPlan, VideoPlan, allocate, best_layer};
use super::stream::{Encoded, Origin, SendStream};
use super::uplink::{Queued, Uplink};
use crate::media::camera::Camera;
use crate::media::microphone::Microphone;
use crate::node::Fact;
use crate::node::worker::flow_up;
use crate::packet::{IP_UDP_HEADERS, NodeId};

/// Between a stream's first packet and its first sender report; Chromium's come about then.
const REPORT_FIRST: Duration = Duration::from_millis(300);

/// Between sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The header of a packet with its extensions, about.
const RTP_OVERHEAD: u64 = 12 + 16 + IP_UDP_HEADERS;

/// No picture is encoded that would wait longer than this in the pacer: it would come too late for a conversation, for
/// which ITU-T G.114 counts 400 ms as the most.
const BACKLOG_MAX: Duration = Duration::from_millis(500);

/// What Opus with all headers takes of the rate at most.
const SOUND_RATE: Bitrate = Bitrate::kbps(60);

/// What of the rest is payload: packets of 1140 bytes have about 56 of headers, small ones more.
const PAYLOAD_SHARE: f64 = 0.93;

/// The camera's part.
struct Pictures {
    plan: VideoPlan,
    /// A camera for each stream.
    cameras: Vec<Camera>,
    /// The first of its streams.
    first: usize,
    /// The layers that are sent, the largest first; with one stream, the one that it has.
    on: Vec<bool>,
    /// The newest demand, which its encoders keep to.
    demand: Option<Demand>,
}

/// See the module's description.
pub(super) struct Publisher {
    node: NodeId,
    plan: ClientPlan,
    seed: Seed,
    dialect: Dialect,
    wall_start: NtpTime,
    is_open: bool,
    streams: Vec<SendStream>,
    microphone: Option<(usize, Microphone)>,
    pictures: Option<Pictures>,
    uplink: Uplink,
    /// What all media may take, headers not counted.
    media_rate: Bitrate,
    /// The estimator's last word, as it was told.
    target: Option<(Bitrate, &'static str)>,
    report_at: Option<Instant>,
    rtt: Duration,
    out: VecDeque<Vec<u8>>,
    facts: VecDeque<Fact>,
}

impl Publisher {
    /// Nothing is sent before [`Self::open`]; `wall_start` is what the client's clock shows at `Instant::ZERO`.
    pub(super) fn new(
        node: NodeId,
        plan: &ClientPlan,
        wall_start: NtpTime,
        estimator: Option<Box<dyn Estimator>>,
        seed: &Seed,
    ) -> Self {
        Self {
            node,
            plan: plan.clone(),
            seed: seed.clone(),
            dialect: Dialect::new(node.0),
            wall_start,
            is_open: false,
            streams: Vec::new(),
            microphone: None,
            pictures: None,
            uplink: Uplink::new(estimator),
            media_rate: Bitrate::MAX,
            target: None,
            report_at: None,
            rtt: Duration::from_millis(100),
            out: VecDeque::new(),
            facts: VecDeque::new(),
        }
    }

    /// Media may flow from now on.
    pub(super) fn open(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_open, true) {
            return;
        }
        let mut chance = self.seed.fork("streams").generator();
        let publisher = self.node.0 as u16;
        for (section, used) in Section::all(&self.plan).iter().enumerate() {
            let origin =
                |layer, rid, is_video| Origin { publisher, section: section as u8, layer, rid, is_video };
            let first = self.streams.len();
            match (used, &self.plan.microphone, &self.plan.camera) {
                (Section::Microphone, Some(plan), _) => {
                    self.streams.push(SendStream::new(origin(0, None, false), &mut chance));
                    let seed = self.seed.fork("microphone");
                    self.microphone = Some((first, Microphone::new(plan.clone(), now, &seed)));
                }
                (Section::Camera(layers), _, Some(plan)) => {
                    let rids: Vec<Option<&'static str>> = match plan.encoding {
                        Encoding::Simulcast => layers.iter().map(|layer| Some(layer.rid)).collect(),
                        Encoding::Single => vec![None],
                    };
                    let streams = rids.iter().enumerate();
                    let streams = streams
                        .map(|(layer, rid)| SendStream::new(origin(layer as u8, *rid, true), &mut chance));
                    self.streams.extend(streams);
                    // The same chance for all: they encode the same pictures.
                    let seed = self.seed.fork("camera");
                    let cameras = rids.iter().map(|_| Camera::new(plan.camera.clone(), now, &seed)).collect();
                    let on = vec![false; plan.layers.len()];
                    let plan = plan.clone();
                    self.pictures = Some(Pictures { plan, cameras, first, on, demand: None });
                }
                (Section::Microphone | Section::Camera(_) | Section::Slot(_), _, _) => {}
            }
        }
        self.report_at = Some(now + REPORT_FIRST);
        self.follow_target(now);
        if self.target.is_none() {
            self.apply_rate(now, Bitrate::MAX);
        }
        self.pace(now); // what an estimator has wanted since before there was a way
    }

    /// Nothing is sent any more.
    pub(super) fn close(&mut self, now: Instant) {
        self.is_open = false;
        self.microphone = None;
        self.pictures = None;
        self.uplink.close(now);
    }

    /// The round trip to the server.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    pub(super) fn handle_rtcp(&mut self, now: Instant, packet: &Rtcp) {
        match packet {
            Rtcp::Nack { media, lost, .. } => self.repair(now, *media, lost),
            Rtcp::Pli { media, .. } => self.want_key_frame(*media),
            Rtcp::Fir { requests, .. } => {
                for (media, _) in requests {
                    self.want_key_frame(*media);
                }
            }
            Rtcp::TransportFeedback(feedback) => {
                self.uplink.handle_feedback(now, feedback);
                self.follow_target(now);
                self.pace(now);
            }
            Rtcp::SenderReport(_)
            | Rtcp::ReceiverReport(_)
            | Rtcp::CongestionFeedback(_)
            | Rtcp::SourceDescription { .. }
            | Rtcp::Bye { .. } => {}
        }
    }

    /// Does what the server demands of the camera, as a browser whose `maxBitrate` is set; `None` if a newer demand came
    /// first, or there is no camera.
    pub(super) fn meet(&mut self, now: Instant, demand: &Demand) -> Option<Applied> {
        let pictures = self.pictures.as_mut()?;
        if pictures.demand.as_ref().is_some_and(|newer| newer.epoch > demand.epoch) {
            return None;
        }
        pictures.demand = Some(demand.clone());
        let layers = demand.layers.iter().map(|layer| AppliedLayer {
            rid: layer.rid.clone(),
            max_kbps: Some((pictures.most(layer.rid.as_ref()).as_bps() / 1_000) as u32),
        });
        let layers = layers.collect();
        self.apply_rate(now, self.media_rate);
        Some(Applied { track: demand.track.clone(), epoch: demand.epoch, layers })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if !self.is_open {
            return;
        }
        self.uplink.handle_timeout(now);
        self.follow_target(now);
        self.capture_sound(now);
        self.capture_pictures(now);
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + REPORT_INTERVAL);
            let wall = self.wall_start.offset_nanos(now.as_nanos() as i64);
            let begun = self.streams.iter().filter(|stream| stream.has_begun());
            let reports: Vec<Rtcp> = begun.map(|stream| stream.report(now, wall)).collect();
            if !reports.is_empty() {
                self.out.push_back(rtcp::write(&reports));
            }
        }
        self.pace(now);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if !self.is_open {
            return None;
        }
        let sound = self.microphone.as_ref().and_then(|(_, microphone)| microphone.poll_timeout());
        let cameras = self.pictures.iter().flat_map(|pictures| &pictures.cameras);
        let capture = cameras.fold(sound, |at, camera| earliest(at, camera.poll_timeout()));
        earliest(earliest(capture, self.uplink.poll_timeout()), self.report_at)
    }

    fn capture_sound(&mut self, now: Instant) {
        let Some((stream, microphone)) = &mut self.microphone else { return };
        while let Some(sound) = microphone.poll_packet(now) {
            let encoded = Encoded { captured: sound.captured, size: sound.size, key: false, pixels: (0, 0) };
            let media = &mut self.streams[*stream];
            enqueue(now, PacketClass::Audio, (*stream, media), &encoded, &mut self.uplink);
        }
    }

    fn capture_pictures(&mut self, now: Instant) {
        let Some(pictures) = &mut self.pictures else { return };
        if self.uplink.take_dropped() {
            pictures.cameras.iter_mut().for_each(Camera::request_key_frame); // the next refer to what was dropped
        }
        if self.uplink.queue_time() > BACKLOG_MAX {
            pictures.cameras.iter_mut().for_each(|camera| camera.skip(now));
        }
        for (index, camera) in pictures.cameras.iter_mut().enumerate() {
            while let Some(frame) = camera.poll_frame(now) {
                let layer = match pictures.plan.encoding {
                    Encoding::Simulcast => index,
                    Encoding::Single => pictures.on.iter().position(|on| *on).unwrap_or(0),
                };
                let pixels = (pictures.plan.layers[layer].width, pictures.plan.layers[layer].height);
                let encoded = Encoded { captured: frame.captured, size: frame.size, key: frame.key, pixels };
                let stream = pictures.first + index;
                let media = &mut self.streams[stream];
                enqueue(now, PacketClass::Video, (stream, media), &encoded, &mut self.uplink);
            }
        }
    }

    /// Does what the estimator says now, if there is one and it says something else than before.
    fn follow_target(&mut self, now: Instant) {
        let target = self.uplink.target();
        let Some((rate, state)) = target.filter(|_| target != self.target) else { return };
        self.target = target;
        self.facts.push_back(Fact::Target { flow: flow_up(self.node), rate, state });
        let sound = if self.microphone.is_some() { SOUND_RATE } else { Bitrate::ZERO };
        self.apply_rate(now, rate.saturating_sub(sound).scaled(PAYLOAD_SHARE));
    }

    /// Shares out what all media together may have.
    fn apply_rate(&mut self, now: Instant, rate: Bitrate) {
        self.media_rate = rate;
        let Some(pictures) = &mut self.pictures else { return };
        let layers = &pictures.capped();
        match pictures.plan.encoding {
            Encoding::Simulcast => {
                let rates = allocate(rate, layers, &pictures.on);
                self.uplink.set_media_rate(now, rates.iter().flatten().copied().sum());
                for ((camera, rate), on) in pictures.cameras.iter_mut().zip(&rates).zip(&mut pictures.on) {
                    let was_on = std::mem::replace(on, rate.is_some());
                    match (was_on, rate) {
                        (true, None) => camera.pause(),
                        (false, Some(_)) => {
                            camera.resume(now);
                            camera.request_key_frame();
                        }
                        (true, Some(_)) | (false, None) => {}
                    }
                    if let Some(rate) = rate {
                        camera.set_rate(now, *rate);
                    }
                }
            }
            Encoding::Single => {
                let before = pictures.on.iter().position(|on| *on).unwrap_or(0);
                let best = best_layer(rate, layers, before);
                let Some(layer) = layers.get(best) else { return };
                if best != before {
                    pictures.cameras[0].request_key_frame();
                }
                pictures.on = (0..layers.len()).map(|index| index == best).collect();
                let rate = rate.min(layer.max).max(layers.last().map_or(Bitrate::ZERO, |least| least.min));
                self.uplink.set_media_rate(now, rate);
                pictures.cameras[0].set_rate(now, rate);
            }
        }
    }

    /// Sends a key frame on all layers, as libwebrtc answers a request for one.
    fn want_key_frame(&mut self, media: Ssrc) {
        let Some(pictures) = &mut self.pictures else { return };
        if self.streams[pictures.first..].iter().any(|stream| stream.ssrc() == media) {
            pictures.cameras.iter_mut().for_each(Camera::request_key_frame);
        }
    }

    fn repair(&mut self, now: Instant, media: Ssrc, lost: &[SeqNo]) {
        let Some(stream) = self.streams.iter().position(|stream| stream.ssrc() == media) else { return };
        for seq in lost {
            let Some(seq) = self.streams[stream].repair_of(now, *seq, self.rtt) else { continue };
            let size = self.streams[stream].length(seq) + DataSize::bytes(RTP_OVERHEAD);
            self.uplink.enqueue(now, PacketClass::Repair, size, Queued { stream, seq });
        }
        self.pace(now);
    }

    /// Lets go what its time has come for.
    fn pace(&mut self, now: Instant) {
        while let Some(leaving) = self.uplink.poll(now) {
            let number = self.uplink.next_number();
            let mut out = Vec::with_capacity(1_200);
            let again = leaving.class == PacketClass::Repair || leaving.packet.is_none();
            // Padding repeats what was sent. Before anything was, its turn passes.
            let Some(packet) = leaving.packet.or_else(|| self.padding()) else { continue };
            let stream = &mut self.streams[packet.stream];
            if again {
                stream.write_again(packet.seq, number, &self.dialect, &mut out);
            } else {
                stream.write(now, (packet.seq, number), &self.dialect, &mut out);
            }
            if out.is_empty() {
                continue; // it waited so long that it was forgotten
            }
            let size = DataSize::bytes(out.len() as u64 + IP_UDP_HEADERS);
            self.uplink.handle_sent(now, size, &leaving);
            self.out.push_back(out);
        }
        self.follow_target(now);
    }

    /// A packet without use: the newest of the camera, sent again (libwebrtc pads so where RTX is negotiated).
    fn padding(&self) -> Option<Queued> {
        let first = self.pictures.as_ref()?.first;
        let begun = self.streams[first..].iter().position(SendStream::has_begun)?;
        let stream = first + begun;
        Some(Queued { stream, seq: self.streams[stream].newest() })
    }
}

impl Pictures {
    /// The layers with what they may take now. A cap below what a layer is worth sending at lowers that, too (libwebrtc
    /// takes the lesser of the two for its minimum).
    fn capped(&self) -> Vec<LayerPlan> {
        let demanded = |layer: &LayerPlan| {
            let layers = self.demand.iter().flat_map(|demand| &demand.layers);
            let mut own = layers.filter(|own| own.rid.as_ref().is_none_or(|rid| rid.as_str() == layer.rid));
            own.find_map(|own| own.max_kbps).map_or(layer.max, |most| Bitrate::kbps(most.into()))
        };
        let cap = |layer: &LayerPlan| {
            let max = layer.max.min(demanded(layer));
            LayerPlan { max, min: layer.min.min(max), ..*layer }
        };
        self.plan.layers.iter().map(cap).collect()
    }

    /// What a layer takes at most by its plan; that of the largest for the only stream.
    fn most(&self, rid: Option<&Rid>) -> Bitrate {
        let mut layers = self.plan.layers.iter();
        let own = layers.find(|layer| rid.is_none_or(|rid| rid.as_str() == layer.rid));
        own.map_or(Bitrate::ZERO, |layer| layer.max)
    }
}

/// Makes the packets of a picture or a sound and hands them to the pacer.
fn enqueue(
    now: Instant,
    class: PacketClass,
    (place, stream): (usize, &mut SendStream),
    encoded: &Encoded,
    uplink: &mut Uplink,
) {
    for seq in stream.packetize(encoded) {
        let size = stream.length(seq) + DataSize::bytes(RTP_OVERHEAD);
        uplink.enqueue(now, class, size, Queued { stream: place, seq });
    }
}
