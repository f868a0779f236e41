//! What libwebrtc does about losses: parity by its table, and whatever is asked for again, both in full (references §1.1).
//!
//! In: packets as they leave, NACKs, what became of packets. Out: repair packets and retransmissions. Time: `now`, monotonic.
//! Limit: `MEDIA_MAX` packets share repair packets; ten seconds of losses, two seconds of packets.
//!
//! Up to `PERFECT_MAX` packets share repair packets as if its masks were the best code there is, which flatters it; beyond
//! that they are interleaved, as its masks are.

use std::collections::VecDeque;
use std::time::Duration;

use cc::{PacketClass, PacketResult};
use proto::rtp::SeqNo;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::cache::Cache;
use super::cost::Cost;
use super::parity;
use crate::node::sender::protection::{PathNow, Protection};
use crate::packet::{Code, FramePart, MediaPacket};

const MEDIA_MAX: usize = 48; // kMaxMediaPackets
const PERFECT_MAX: usize = 12; // beyond it masks are interleaved
const SECONDS: usize = 10; // kLossPrHistorySize
const FRAMES_MAX: f64 = 6.0; // kUpperLimitFramesFec
const RTT_MIN: Duration = Duration::from_millis(20); // kLowRttNackMs: below it there is no parity
/// Pictures of fewer bytes have no parity at short round trips, of the smallest formats.
const BYTES_MIN: f64 = 400.0;
const BYTES_RTT: Duration = Duration::from_millis(200);
/// A group closes when rounding to whole packets costs no more than that (kMaxExcessOverhead).
const EXCESS_MAX: f64 = 50.0 / 256.0;
/// From so much parity on a group has so many packets (kHighProtectionThreshold, kMinMediaPackets).
const HIGH: f64 = 80.0 / 255.0;
const PACKETS_HIGH: usize = 4;
/// What repair took of all that was sent is kept from the encoder, up to a half.
const COST_MAX: f64 = 0.5;
/// New pictures count one part in so many for what pictures are like.
const WEIGHT: f64 = 1.0 / 16.0;
/// Answers that are remembered, so that none goes twice in a round trip.
const ANSWERS_MAX: usize = 1_024;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Libwebrtc {
    cache: Cache,
    answers: VecDeque<(u64, Instant)>,
    rtt: Duration,
    /// Packets reported and lost, by second, the current one last.
    seconds: VecDeque<(u64, u32, u32)>,
    /// The packets of the pictures that will share repair packets, and how many pictures.
    group: Vec<(u64, FramePart, DataSize)>,
    frames: u32,
    /// Of pictures lately: packets, bytes, and time between two.
    packets: f64,
    bytes: f64,
    interval: f64,
    last: Option<Instant>,
    cost: Cost,
    /// What of the rate the encoder and repair take.
    share: f64,
    next: u64,
    out: VecDeque<(MediaPacket, DataSize)>,
}

impl Default for Libwebrtc {
    fn default() -> Self {
        Self {
            cache: Cache::default(),
            answers: VecDeque::new(),
            rtt: Duration::from_millis(100),
            seconds: VecDeque::new(),
            group: Vec::new(),
            frames: 0,
            packets: 1.0,
            bytes: BYTES_MIN,
            interval: 1.0 / 30.0,
            last: None,
            cost: Cost::default(),
            share: 1.0,
            next: 0,
            out: VecDeque::new(),
        }
    }
}

impl Libwebrtc {
    /// The same with an encoder that leaves something of the rate free.
    pub(super) fn within(self, share: f64) -> Self {
        Self { share, ..self }
    }

    /// The most that was lost in one of the last ten whole seconds.
    fn loss(&self) -> f64 {
        let whole = self.seconds.iter().take(self.seconds.len().saturating_sub(1));
        whole.map(|(_, reported, lost)| f64::from(*lost) / f64::from((*reported).max(1))).fold(0.0, f64::max)
    }

    /// A picture has left: parity, if enough of them have.
    fn close(&mut self, now: Instant, part: &FramePart) {
        let first = self.group.len() - usize::from(part.parts).min(self.group.len());
        let bytes: u64 = self.group[first..].iter().map(|(_, _, size)| size.as_bytes()).sum();
        self.packets += (f64::from(part.parts) - self.packets) * WEIGHT;
        self.bytes += (bytes as f64 - self.bytes) * WEIGHT;
        if let Some(last) = self.last.replace(now) {
            self.interval += (now.since(last).as_secs_f64().min(0.5) - self.interval) * WEIGHT;
        }
        self.frames += 1;
        let factor = self.factor(part);
        let packets = self.group.len();
        let few = if factor > HIGH { PACKETS_HIGH } else { 1 } + usize::from(self.packets >= 2.0);
        let parities = parities(packets, factor);
        let excess = parities as f64 / packets as f64 - factor;
        let frames_max = (2.0 * self.rtt.as_secs_f64() / self.interval + 0.5).floor().clamp(1.0, FRAMES_MAX);
        let is_full = f64::from(self.frames) >= frames_max || packets >= MEDIA_MAX;
        if is_full || (excess < EXCESS_MAX && packets >= few) {
            self.frames = 0;
            let group = std::mem::take(&mut self.group);
            self.protect(&group, factor);
        }
    }

    /// How much parity there is for each packet.
    fn factor(&self, part: &FramePart) -> f64 {
        let is_small = self.bytes < BYTES_MIN && self.rtt < BYTES_RTT;
        if self.rtt < RTT_MIN || is_small {
            return 0.0;
        }
        let delta = factor(self.packets, self.loss());
        if !part.key {
            return delta;
        }
        // Of all packets twice the share, up to a half, or what so large pictures always get.
        let of_all = (2.0 * delta / (1.0 + delta)).min(0.5);
        (of_all / (1.0 - of_all)).max(factor(f64::from(part.parts), self.loss()))
    }

    fn protect(&mut self, group: &[(u64, FramePart, DataSize)], factor: f64) {
        for block in group.chunks(MEDIA_MAX) {
            let parities = parities(block.len(), factor);
            for row in 0..parities {
                let code =
                    if block.len() <= PERFECT_MAX { Code::Perfect { block: block[0].0 } } else { Code::Xor };
                let is_in = |place: usize| code != Code::Xor || place % parities == row;
                let covered =
                    block.iter().enumerate().filter(|(place, _)| is_in(*place)).map(|(_, one)| *one);
                self.out.push_back(parity::packet(self.next, covered, code));
                self.next += 1;
            }
        }
    }

    fn has_answered(&self, now: Instant, seq: u64) -> bool {
        self.answers.iter().any(|(answered, at)| *answered == seq && now.since(*at) < self.rtt)
    }
}

impl Protection for Libwebrtc {
    fn note_sent(&mut self, now: Instant, packet: &MediaPacket, size: DataSize) {
        match (packet.class, packet.part) {
            (PacketClass::Video, Some(part)) => {
                self.cost.add_picture(now, size);
                self.cache.insert(now, packet, size);
                self.group.push((packet.seq, part, size));
                if part.index + 1 == part.parts {
                    self.close(now, &part);
                }
            }
            (PacketClass::Repair, _) => self.cost.add_repair(now, size),
            (
                PacketClass::Control
                | PacketClass::Video
                | PacketClass::Audio
                | PacketClass::Base
                | PacketClass::Padding,
                _,
            ) => {}
        }
    }

    fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    fn handle_nack(&mut self, now: Instant, lost: &[SeqNo]) {
        for seq in lost {
            let Some(seq) = self.cache.number(*seq).filter(|seq| !self.has_answered(now, *seq)) else {
                continue;
            };
            let Some(again) = self.cache.again(seq) else { continue };
            self.answers.push_back((seq, now));
            self.out.push_back(again);
        }
        while self.answers.len() > ANSWERS_MAX {
            self.answers.pop_front();
        }
    }

    fn handle_results(&mut self, now: Instant, results: &[PacketResult], _path: &PathNow) {
        let second = now.as_micros() / 1_000_000;
        if self.seconds.back().is_none_or(|(last, ..)| *last != second) {
            self.seconds.push_back((second, 0, 0));
        }
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        if let Some((_, reported, lost)) = self.seconds.back_mut() {
            *reported += results.len() as u32;
            *lost += results.iter().filter(|result| result.received.is_none()).count() as u32;
        }
    }

    fn poll(&mut self, _now: Instant) -> Option<(MediaPacket, DataSize)> {
        self.out.pop_front()
    }

    fn media_rate(&mut self, now: Instant, allowed: Bitrate) -> Bitrate {
        let redundancy = self.cost.redundancy(now);
        allowed.scaled(self.share * (1.0 - (redundancy / (1.0 + redundancy)).min(COST_MAX)))
    }
}

/// What its table gives, as it was run (references §1.1): packets a picture, then parity over media at each of [`LOSSES`]. The
/// table itself is not copied; between its points straight lines are drawn.
const TABLE: [(f64, [f64; 6]); 5] = [
    (2.0, [0.25, 0.25, 0.25, 0.25, 0.25, 0.80]),
    (5.0, [0.25, 0.25, 0.25, 0.25, 0.40, 0.80]),
    (12.0, [0.25, 0.25, 0.25, 0.417, 0.917, 1.0]),
    (14.0, [0.29, 0.29, 0.29, 0.36, 0.79, 1.0]),
    (32.0, [0.25, 0.25, 0.281, 0.656, 0.875, 1.0]),
];
const LOSSES: [f64; 6] = [0.005, 0.01, 0.02, 0.05, 0.10, 0.20];
/// Below that, reported loss is rounded to nothing (1/255).
const LOSS_MIN: f64 = 0.004;
/// Pictures of single packets have parity only from there on.
const SINGLE_LOSS: f64 = 0.2;
const SINGLE: f64 = 1.05; // packets a picture

fn factor(packets: f64, loss: f64) -> f64 {
    if loss < LOSS_MIN || (packets < SINGLE && loss < SINGLE_LOSS) {
        return 0.0;
    }
    let at = |row: &[f64; 6]| interpolate(LOSSES.iter().copied().zip(row.iter().copied()), loss);
    interpolate(TABLE.iter().map(|(packets, row)| (*packets, at(row))), packets)
}

/// The value at `x` on straight lines between points by ascending x; beyond the ends, theirs.
fn interpolate(points: impl Iterator<Item = (f64, f64)>, x: f64) -> f64 {
    let mut last: Option<(f64, f64)> = None;
    for (at, value) in points {
        if x <= at {
            return last.map_or(value, |(before, from)| from + (value - from) * (x - before) / (at - before));
        }
        last = Some((at, value));
    }
    last.map_or(0.0, |(_, value)| value)
}

/// How many repair packets so many packets have.
fn parities(packets: usize, factor: f64) -> usize {
    let rounded = (packets as f64 * factor).round() as usize;
    rounded.max(usize::from(factor > 0.0)).min(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sends_what_its_table_was_seen_to_give() {
        for (packets, loss, expected) in [
            (5, 0.02, 1),
            (5, 0.10, 2),
            (5, 0.20, 4),
            (14, 0.01, 4),
            (14, 0.05, 5),
            (14, 0.10, 11),
            (12, 0.02, 3),
            (32, 0.05, 21),
            (1, 0.10, 0),
            (1, 0.25, 1),
            (12, 0.003, 0),
        ] {
            let found = parities(packets, factor(packets as f64, loss));
            assert_eq!(found, expected, "{packets} packets at {loss}");
        }
    }

    /// Pictures of so many packets after a tenth was lost; how many repair packets there are for each, and for how many.
    fn play(parts: u16, rtt: u64, frames: u64) -> Vec<(usize, usize)> {
        let mut peer = Libwebrtc::default();
        peer.set_rtt(Duration::from_millis(rtt));
        peer.seconds.extend([(0, 100, 10), (1, 0, 0)]);
        let mut found = Vec::new();
        for frame in 0..frames {
            let now = Instant::from_millis(1_000 + frame * 33);
            for index in 0..parts {
                let part = FramePart { frame, index, parts, key: false, captured: now };
                let (class, seq) = (PacketClass::Video, frame * u64::from(parts) + u64::from(index));
                let packet = MediaPacket { transport_seq: seq, seq, class, part: Some(part), parity: None };
                peer.note_sent(now, &packet, DataSize::bytes(1_200));
            }
            let made: Vec<_> = std::iter::from_fn(|| peer.poll(now)).collect();
            let covered =
                made.iter().map(|(packet, _)| packet.parity.as_ref().map_or(0, |own| own.covered.len()));
            found.push((made.len(), covered.sum()));
        }
        found
    }

    #[test]
    fn small_pictures_share_repair_and_large_ones_are_interleaved() {
        assert_eq!(play(12, 60, 120)[119], (11, 11 * 12), "each repairs any");
        assert_eq!(play(24, 60, 120)[119], (20, 24), "each is in one only");
        let small = play(2, 60, 80);
        assert!(small[76..].contains(&(0, 0)) && small[76..].contains(&(1, 4)), "{:?}", &small[70..]);
        assert!(play(12, 10, 40).iter().all(|made| *made == (0, 0)), "the round trip is short");
    }

    #[test]
    fn the_worst_of_ten_seconds_counts_and_answers_go_once_a_round_trip() {
        let mut peer = Libwebrtc::default();
        peer.seconds.extend((0..10).map(|second| (second, 100, if second == 4 { 20 } else { 1 })));
        assert!((peer.loss() - 0.2).abs() < 1e-9);
        peer.set_rtt(Duration::from_millis(50));
        let part = FramePart { frame: 0, index: 0, parts: 9, key: false, captured: Instant::ZERO };
        let packet = MediaPacket {
            transport_seq: 0,
            seq: 0,
            class: PacketClass::Video,
            part: Some(part),
            parity: None,
        };
        peer.note_sent(Instant::ZERO, &packet, DataSize::bytes(1_200));
        for (at, answers) in [(10, 1), (59, 0), (60, 1)] {
            peer.handle_nack(Instant::from_millis(at), &[SeqNo(0)]);
            assert_eq!(
                std::iter::from_fn(|| peer.poll(Instant::from_millis(at))).count(),
                answers,
                "{at} ms"
            );
        }
    }
}
