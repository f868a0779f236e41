use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cc::estimator::Target;
use cc::{Estimator, PacketResult, SentPacket};
use proptest::prelude::*;
use proto::codec::{Codec, Temporal};
use proto::rtp::extension::ExtensionMap;
use proto::rtp::{PayloadType, RtpView, Ssrc};
use proto::scene::Scene;
use proto::sdp::{Fmtp, SectionCodec};
use proto::seed::Seed;
use proto::time::NtpTime;

use super::*;
use crate::transport::clock::RtpClock;
use crate::transport::connection::outgoing::Offered;
use crate::transport::downlink::{Controller, PACKET_OVERHEAD};
use crate::transport::packet::{Described, SourceHeader};
use crate::transport::rtp_send::Plaintext;
use crate::transport::selector::First;
use crate::transport::strategy::Strategy as Carried;

const WALL: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);
const STREAM: StreamId = StreamId { connection: 1, index: 0 };
const LARGER: StreamId = StreamId { connection: 1, index: 1 };
const TYPE: PayloadType = PayloadType(96);

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// What a test allows.
#[derive(Debug, Clone)]
struct Allowed(Arc<AtomicU64>);

impl Estimator for Allowed {
    fn handle_sent(&mut self, _now: Instant, _packet: &SentPacket) {}

    fn handle_feedback(&mut self, _now: Instant, _results: &[PacketResult]) {}

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn target(&self) -> Target {
        let (rate, burst) = (Bitrate::bps(self.0.load(Ordering::Relaxed)), Duration::ZERO);
        Target { rate, pacing: rate, burst, window: None, padding: Bitrate::ZERO }
    }

    fn state(&self) -> &'static str {
        "allowed"
    }
}

/// A picture that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    key: bool,
    temporal: (u8, bool),
    parts: u8,
}

const KEY: Picture = Picture { key: true, temporal: (0, false), parts: 1 };
const LOW: Picture = Picture { key: false, temporal: (0, false), parts: 1 };
const UPPER: Picture = Picture { key: false, temporal: (1, false), parts: 1 };
const JOINS: Picture = Picture { key: false, temporal: (1, true), parts: 1 };

/// A packet that left.
#[derive(Debug, Clone, Copy)]
struct Left {
    seq: u16,
    /// Which picture it was, by its place among all that were offered.
    picture: usize,
    id: u16,
    layer: u8,
    key: bool,
    marker: bool,
    waited: Duration,
}

/// One slot with a pacer, and whoever offers it pictures.
struct Bench {
    /// What the pictures are of.
    stream: StreamId,
    /// VP8, or AV1, of whose temporal layers only a descriptor tells.
    codec: Codec,
    rate: Arc<AtomicU64>,
    pipeline: ConnectionPipeline,
    now: Instant,
    next_seq: u64,
    offered: Vec<(Instant, Picture)>,
    left: Vec<Left>,
}

impl Bench {
    fn new(scene: Scene, rate: Bitrate) -> Self {
        let codec = SectionCodec {
            payload_type: TYPE,
            codec: Some(Codec::Vp8),
            clock_rate: 90_000,
            channels: 1,
            fmtp: Fmtp::new(""),
            rtx: None,
            nack: true,
            pli: true,
            fir: false,
            transport_cc: true,
        };
        let mut chance = Seed::from_number(1).generator();
        let mut pipeline = ConnectionPipeline::new(Ssrc(9), "cname".to_owned(), 0);
        let mut slot = RtpSendPipeline::new(vec![codec.clone()], ExtensionMap::default(), &mut chance);
        slot.bind(Some(&[codec]));
        slot.set_target(Some(STREAM), First::Smallest(STREAM));
        pipeline.add_slot(slot);
        pipeline.set_strategy(0, Carried::of(scene));
        let rate = Arc::new(AtomicU64::new(rate.as_bps()));
        let controller = Controller::Custom(Box::new(Allowed(Arc::clone(&rate))));
        pipeline.set_downlink(Downlink::new(controller));
        Self {
            stream: STREAM,
            codec: Codec::Vp8,
            rate,
            pipeline,
            now: ms(1_000),
            next_seq: 70_000,
            offered: Vec::new(),
            left: Vec::new(),
        }
    }

    fn set_rate(&mut self, rate: Bitrate) {
        self.rate.store(rate.as_bps(), Ordering::Relaxed);
        self.pipeline.downlink_mut().unwrap().handle_timeout(self.now);
    }

    fn offer(&mut self, picture: Picture) -> Vec<Offered> {
        let number = self.offered.len();
        self.offered.push((self.now, picture));
        let parts = (0..picture.parts).map(|part| self.packet(number, part));
        let packets: Vec<SourcePacket> = parts.collect();
        self.next_seq += u64::from(picture.parts);
        let now = self.now;
        packets.iter().map(|packet| self.pipeline.offer(now, 0, self.stream, packet)).collect()
    }

    fn packet(&self, number: usize, part: u8) -> SourcePacket {
        let picture = self.offered[number].1;
        let (tid, joins) = picture.temporal;
        let mut payload = vec![0x80 | u8::from(part == 0) << 4, 0xe0];
        payload.extend_from_slice(&(0x8000 | number as u16).to_be_bytes());
        payload.extend_from_slice(&[7, tid << 6 | u8::from(joins) << 5]);
        payload.push(u8::from(!picture.key || part > 0));
        payload.extend_from_slice(&(number as u16).to_be_bytes());
        payload.resize(1_000 - PACKET_OVERHEAD as usize, 0);
        let header = SourceHeader {
            seq: self.next_seq + u64::from(part),
            timestamp: number as u32 * 3_000,
            marker: part + 1 == picture.parts,
            payload_type: TYPE,
            codec: self.codec,
            clock: RtpClock { at: WALL, rtp: 0, rate: 90_000 },
            audio_level: None,
            orientation: None,
            repair_time: Duration::ZERO,
        };
        if self.codec == Codec::Vp8 {
            return SourcePacket::new(header, &payload);
        }
        let starts = picture.key && part == 0;
        payload[..2].copy_from_slice(if starts { &[0x18, 0x08] } else { &[0x10, 0x30] }); // a sequence header, or a frame
        let temporal = Some(Temporal { layer: tid, joins });
        SourcePacket::described(header, &payload, Described { descriptor: &[0xc0, 0, 1], temporal })
    }

    /// Lets time pass; what leaves is noted.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut out = Plaintext::default();
            while self.pipeline.poll_rtp(self.now, WALL, &mut out).is_some() {
                self.note(out.contiguous());
                out.clear();
            }
            if self.now >= end {
                return;
            }
            self.now += Duration::from_millis(1);
        }
    }

    fn note(&mut self, packet: &[u8]) {
        let view = RtpView::parse(packet).unwrap();
        let &[_, _, high, low, _, tid, key, number_high, number_low, ..] = view.payload() else {
            panic!("a packet of ours")
        };
        let picture = usize::from(u16::from_be_bytes([number_high, number_low]));
        self.left.push(Left {
            seq: view.seq().0,
            picture,
            id: u16::from_be_bytes([high, low]) & 0x7fff,
            layer: tid >> 6,
            key: key == 0,
            marker: view.marker(),
            waited: self.now.since(self.offered[picture].0),
        });
    }

    fn dropped(&mut self) -> [u64; 4] {
        let dropped = self.pipeline.take_dropped();
        Step::ALL.map(|step| dropped.of_step(step))
    }

    /// What a decoder demands: consecutive numbers, whole pictures, and none that leans on one that is missing.
    fn check(&self, is_empty: bool) {
        for pair in self.left.windows(2) {
            let [one, two] = pair else { panic!("a pair") };
            assert_eq!(two.seq, one.seq.wrapping_add(1), "{one:?} {two:?}");
            assert_eq!(one.marker, one.picture != two.picture, "pictures are whole: {one:?} {two:?}");
            if self.codec == Codec::Av1 {
                continue; // its pictures have no numbers
            }
            let ids = two.id.wrapping_sub(one.id) & 0x7fff;
            assert_eq!(ids, u16::from(one.picture != two.picture), "{one:?} {two:?}");
        }
        assert!(!is_empty || self.left.last().is_none_or(|last| last.marker), "so is the last");
        let missing = |range: core::ops::Range<usize>, layer: u8| {
            let leans = |at: &usize| self.offered[*at].1.temporal.0 <= layer;
            range.filter(leans).find(|at| !self.left.iter().any(|left| left.picture == *at))
        };
        for left in self.left.iter().filter(|left| left.marker && !self.offered[left.picture].1.key) {
            let (layer, joins) = self.offered[left.picture].1.temporal;
            let on = if joins { 0 } else { layer };
            let keys = self.left.iter().filter(|key| key.key && key.picture < left.picture);
            let key = keys.map(|key| key.picture).max().unwrap();
            let joined = (key..left.picture).rfind(|at| self.offered[*at].1.temporal == (layer, true));
            let since = if layer > 0 { joined.unwrap_or(key) } else { key };
            assert_eq!(missing(since..left.picture, on), None, "{left:?} leans on it");
        }
    }
}

const FRAME: Duration = Duration::from_millis(33);

#[test]
fn upper_layers_go_first_and_come_back_where_a_decoder_may_join_them() {
    for codec in [Codec::Vp8, Codec::Av1] {
        // 242 kbit/s, half of it in the upper layer, where 160 are allowed.
        let mut bench = Bench { codec, ..Bench::new(Scene::Pk, Bitrate::kbps(160)) };
        bench.offer(KEY);
        for frame in 1..200_u64 {
            bench.run(FRAME);
            bench.offer(match frame % 8 {
                3 => JOINS,
                1 | 5 | 7 => UPPER,
                _ => LOW,
            });
        }
        bench.run(Duration::from_secs(1));
        bench.check(true);
        let [temporal, tail, tier, video] = bench.dropped();
        assert!(temporal > 40 && (tail, tier, video) == (0, 0, 0), "{temporal} {tail} {tier} {video}");
        let of = |layer| bench.left.iter().filter(|left| left.layer == layer).count();
        assert_eq!(of(0), 100, "{codec:?}: the lowest is whole");
        assert!(of(1) > 5, "{codec:?}: what fits of the upper one is there: {}", of(1));
        let most = bench.left.iter().map(|left| left.waited).max().unwrap();
        let bound = Duration::from_millis(200 + 2 * 50);
        assert!(most <= bound, "{codec:?}: {most:?}, for the key frame and a packet excuse 50 ms each");
    }
}

#[test]
fn the_newest_go_next_and_the_slot_goes_on_with_a_key_frame() {
    for (scene, limit) in [(Scene::Game, 80), (Scene::Pk, 200), (Scene::Watch, 800)] {
        // 242 kbit/s where 80 are allowed: 100 ms a packet.
        let mut bench = Bench::new(scene, Bitrate::kbps(80));
        bench.offer(KEY);
        let mut given_up = None;
        for frame in 1..100 {
            bench.run(FRAME);
            if bench.offer(LOW) == [Offered::GivenUp] {
                given_up.get_or_insert(frame);
            }
        }
        bench.run(Duration::from_secs(1));
        bench.check(true);
        let most = bench.left.iter().map(|left| left.waited.as_millis() as u64).max().unwrap();
        // The key frame excuses 100 ms, and what is leaving takes 100 at most.
        assert!((limit..=limit + 200).contains(&most), "{scene}: {most} ms");
        assert_eq!(bench.dropped(), [0, 1, 0, 0], "{scene}: what follows is not let in");
        assert!(bench.pipeline.is_strained(), "{scene}: a smaller layer is wanted");
        let stopped = bench.left.last().unwrap().picture;
        assert_eq!(Some(stopped + 1), given_up, "{scene}: all before it has left");
        assert_eq!((bench.offer(LOW), bench.offer(KEY)), (vec![Offered::Refused], vec![Offered::Queued]));
        assert!(bench.pipeline.take_strained() && !bench.pipeline.is_strained());
    }
}

#[test]
fn a_rate_that_collapses_costs_the_newest_of_what_waits() {
    // 40 ms a packet: what waits is within the limit, until it is 100 ms a packet.
    let mut bench = Bench::new(Scene::Watch, Bitrate::kbps(200));
    bench.offer(KEY);
    for _ in 1..=8 {
        assert_eq!(bench.offer(Picture { parts: 2, ..LOW }), [Offered::Queued; 2]);
    }
    bench.run(Duration::from_millis(100)); // one picture has left, but for its last packet
    bench.set_rate(Bitrate::kbps(80));
    assert_eq!(bench.offer(LOW), [Offered::GivenUp]);
    let [temporal, tail, tier, video] = bench.dropped();
    assert!((2..=5).contains(&tail) && (temporal, tier, video) == (0, 0, 0), "{tail} of eight");
    bench.run(Duration::from_secs(2));
    bench.check(true);
    assert_eq!(bench.left.last().unwrap().picture as u64, 9 - tail, "the oldest have all left");
}

#[test]
fn all_goes_when_the_path_stands_still_but_what_has_begun_to_leave() {
    let mut bench = Bench::new(Scene::Pk, Bitrate::kbps(400));
    for picture in [KEY, Picture { parts: 3, ..LOW }, LOW, LOW] {
        bench.offer(picture);
    }
    bench.run(Duration::from_millis(30)); // the second picture's first packet is the last one that leaves
    bench.set_rate(Bitrate::bps(1));
    bench.run(Duration::from_millis(150));
    assert!(!bench.pipeline.relieve(bench.now), "it may begin to move again");
    bench.run(Duration::from_millis(900));
    assert!(bench.pipeline.relieve(bench.now));
    assert_eq!(bench.dropped(), [0, 0, 0, 2]);
    bench.set_rate(Bitrate::kbps(400));
    bench.run(Duration::from_millis(200));
    bench.check(true);
    assert_eq!((bench.left.len(), bench.offer(LOW)), (4, vec![Offered::Refused]));
    assert_eq!(bench.offer(KEY), [Offered::Queued], "there is room again");
}

#[test]
fn a_larger_picture_is_finished_before_the_smallest_key_frame_unless_that_takes_long() {
    // How much is allowed when the key frame comes, and in how many parts of two the picture before it leaves.
    for (claim, kbps, finished, dropped) in [
        ("finished within 50 ms", 800, true, 1),
        ("it would take 80 ms", 200, false, 2),
        ("it would take for ever", 1, false, 2),
    ] {
        let mut bench = Bench::new(Scene::Watch, Bitrate::kbps(400));
        let slot = |bench: &mut Bench, target| {
            bench.stream = target;
            bench.pipeline.slot_mut(0).unwrap().set_target(Some(target), First::Smallest(STREAM));
        };
        slot(&mut bench, LARGER);
        for picture in [KEY, Picture { parts: 4, ..LOW }, LOW] {
            bench.offer(picture);
        }
        bench.run(Duration::from_millis(50)); // the key frame has left, and half of the picture after it
        assert_eq!(bench.left.iter().map(|left| left.picture).collect::<Vec<_>>(), [0, 1, 1], "{claim}");
        bench.set_rate(Bitrate::kbps(kbps));
        slot(&mut bench, STREAM);
        assert_eq!(bench.offer(KEY), [Offered::Queued], "{claim}");
        bench.set_rate(Bitrate::kbps(400));
        bench.run(Duration::from_millis(200));
        let left: Vec<usize> = bench.left.iter().map(|left| left.picture).collect();
        let expected = if finished { &[0, 1, 1, 1, 1, 3][..] } else { &[0, 1, 1, 3] };
        assert_eq!(left, expected, "{claim}");
        assert_eq!(bench.dropped(), [0, 0, dropped, 0], "{claim}");
        for pair in bench.left.windows(2) {
            assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{claim}: no hole is left");
        }
        if finished {
            bench.check(true);
        }
    }
}

#[test]
fn a_larger_picture_of_which_more_is_to_come_is_not_waited_for() {
    let mut bench = Bench::new(Scene::Watch, Bitrate::kbps(400));
    bench.stream = LARGER;
    bench.pipeline.slot_mut(0).unwrap().set_target(Some(LARGER), First::Smallest(STREAM));
    bench.offer(KEY);
    let number = bench.offered.len();
    bench.offered.push((bench.now, Picture { parts: 4, ..LOW }));
    for part in 0..3 {
        let packet = bench.packet(number, part);
        bench.pipeline.offer(bench.now, 0, LARGER, &packet);
    }
    bench.next_seq += 4;
    bench.run(Duration::from_millis(50));
    bench.stream = STREAM;
    bench.pipeline.slot_mut(0).unwrap().set_target(Some(STREAM), First::Smallest(STREAM));
    bench.offer(KEY);
    bench.run(Duration::from_millis(200));
    assert_eq!(bench.left.iter().map(|left| left.picture).collect::<Vec<_>>(), [0, 1, 1, 2]);
}

#[test]
fn what_is_dropped_is_counted_by_step_and_class() {
    let mut all = Dropped::default();
    let mut one = Dropped::default();
    one.add(Step::Tail, PacketClass::Video, 2);
    one.add(Step::Tail, PacketClass::Base, 1);
    one.add(Step::Video, PacketClass::Base, 4);
    one.add(Step::Video, PacketClass::Audio, 9);
    all += one;
    all += one;
    assert_eq!(Step::ALL.map(|step| all.of_step(step)), [0, 6, 0, 8]);
    let classes =
        [PacketClass::Base, PacketClass::Video, PacketClass::Audio].map(|class| all.of_class(class));
    assert_eq!(classes, [10, 4, 0], "sound is never dropped");
}

fn any_picture() -> impl Strategy<Value = (Picture, u64)> {
    let kind = prop_oneof![1 => Just(KEY), 6 => Just(LOW), 4 => Just(UPPER), 1 => Just(JOINS)];
    (kind, 1_u8..4, 5_u64..60).prop_map(|(kind, parts, after)| (Picture { parts, ..kind }, after))
}

proptest! {
    #[test]
    fn whatever_comes_what_leaves_is_whole_in_order_and_not_too_old(
        scene in prop::sample::select(Scene::ALL.to_vec()),
        rate in 60_u64..600, // from the least that a downlink is ever given
        pictures in prop::collection::vec(any_picture(), 1..120),
    ) {
        let mut bench = Bench::new(scene, Bitrate::kbps(rate));
        bench.offer(KEY);
        for (picture, after) in pictures {
            bench.run(Duration::from_millis(after));
            bench.pipeline.relieve(bench.now);
            bench.offer(picture);
        }
        bench.run(Duration::from_secs(3));
        bench.check(true);
        // A picture that is let in just below the limit leaves behind it, and so does the rest of it.
        let own = Bitrate::kbps(rate);
        let most = LIMIT_MAX + DataSize::bytes(4 * 1_000) / own;
        prop_assert!(bench.left.iter().all(|left| left.waited <= most.max(Duration::from_millis(2_001))));
        prop_assert!(bench.pipeline.downlink().unwrap().is_empty());
    }
}
