//! What came of a run: pictures, stalls, and what repair took.
//!
//! In: events. Out: [`Outcome`]. What happens before the warm-up is over is not counted. Limit: memory grows with the run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cc::PacketClass;
use proto::time::Instant;
use proto::units::DataSize;

use super::decoder::Decoder;
use crate::node::Fact;
use crate::packet::{MediaPacket, Packet, Payload};
use crate::trace::TraceHash;
use crate::world::{Event, Observer};

/// What came of one run.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Outcome {
    /// How long the picture stood still, in seconds a minute; stills of less than 200 ms do not count.
    pub stall_s_per_min: f64,
    /// How often it did, a minute.
    pub stalls_per_min: f64,
    /// From when a picture was taken until it was complete, in milliseconds: of half of those that were...
    pub frame_p50_ms: f64,
    /// ... and of nineteen in twenty.
    pub frame_p95_ms: f64,
    /// The share of pictures that never were.
    pub incomplete: f64,
    /// Repair over pictures as sent first, in bytes.
    pub redundancy: f64,
    /// The part of it that is repair packets, not retransmissions.
    pub parity: f64,
    /// The pictures that were complete, in kbit/s with headers.
    pub media_kbps: f64,
    /// The share of the pictures' packets that were lost.
    pub loss: f64,
    /// The share of those that were restored and sent again as well.
    pub paid_twice: f64,
    /// A hash over everything that happened.
    #[serde(skip)]
    pub trace_hash: u64,
}

/// See the module's description.
pub(super) struct Tally {
    hash: TraceHash,
    warm_up: Instant,
    /// What the receiver restores, found out as it does.
    decoder: Decoder,
    restored: BTreeSet<u64>,
    again: BTreeSet<u64>,
    lost: u64,
    packets: u64,
    pictures: DataSize,
    retransmitted: DataSize,
    parity: DataSize,
    sizes: BTreeMap<u64, DataSize>,
    complete: DataSize,
    delays: Vec<Duration>,
    given_up: u64,
    stills: Vec<Duration>,
}

impl Tally {
    pub(super) fn new(warm_up: Instant) -> Self {
        Self {
            hash: TraceHash::new(),
            warm_up,
            decoder: Decoder::default(),
            restored: BTreeSet::new(),
            again: BTreeSet::new(),
            lost: 0,
            packets: 0,
            pictures: DataSize::ZERO,
            retransmitted: DataSize::ZERO,
            parity: DataSize::ZERO,
            sizes: BTreeMap::new(),
            complete: DataSize::ZERO,
            delays: Vec::new(),
            given_up: 0,
            stills: Vec::new(),
        }
    }

    /// What came of the run, which ended at that time.
    pub(super) fn outcome(mut self, end: Instant) -> Outcome {
        let watched = end.since(self.warm_up).as_secs_f64().max(1e-9);
        let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
        let bytes = |size: DataSize| share(size.as_bytes(), self.pictures.as_bytes());
        let both = self.again.intersection(&self.restored).count() as u64;
        self.delays.sort_unstable();
        let quantile = |of: usize| {
            let place = self.delays.len().saturating_sub(1) * of / 100;
            self.delays.get(place).map_or(0.0, |delay| delay.as_secs_f64() * 1e3)
        };
        let still: Duration = self.stills.iter().sum();
        Outcome {
            stall_s_per_min: still.as_secs_f64() * 60.0 / watched,
            stalls_per_min: self.stills.len() as f64 * 60.0 / watched,
            frame_p50_ms: quantile(50),
            frame_p95_ms: quantile(95),
            incomplete: share(self.given_up, self.given_up + self.delays.len() as u64),
            redundancy: bytes(self.retransmitted + self.parity),
            parity: bytes(self.parity),
            media_kbps: self.complete.as_bits() as f64 / watched / 1e3,
            loss: share(self.lost, self.packets),
            paid_twice: share(both, self.lost),
            trace_hash: self.hash.value(),
        }
    }

    fn handle_sent(&mut self, packet: &Packet) {
        let Some(media) = media(packet) else { return };
        match (media.class, &media.parity) {
            (PacketClass::Video, _) => {
                self.packets += 1;
                self.pictures += packet.size;
            }
            (PacketClass::Repair, Some(_)) => self.parity += packet.size,
            (PacketClass::Repair, None) => {
                self.again.insert(media.seq);
                self.retransmitted += packet.size;
            }
            (PacketClass::Control | PacketClass::Audio | PacketClass::Base | PacketClass::Padding, _) => {}
        }
    }

    fn handle_delivered(&mut self, packet: &Packet) {
        let Some(media) = media(packet) else { return };
        if let Some(parity) = &media.parity {
            self.decoder.handle_parity(parity);
        } else if media.part.is_some() {
            self.decoder.handle_packet(media.seq);
        }
        while let Some((seq, _)) = self.decoder.poll_restored() {
            self.restored.insert(seq);
        }
    }

    fn handle_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::FrameSent { frame, size, .. } => {
                self.sizes.insert(*frame, *size);
            }
            Fact::FrameComplete { frame, delay, .. } => {
                self.complete += self.sizes.remove(frame).unwrap_or_default();
                self.delays.push(*delay);
            }
            Fact::FrameLost { .. } => self.given_up += 1,
            Fact::Froze { length, .. } => self.stills.push(*length),
            Fact::Target { .. }
            | Fact::Phase { .. }
            | Fact::PathClass { .. }
            | Fact::FrameShown { .. }
            | Fact::LayerSwitched { .. }
            | Fact::Violated { .. }
            | Fact::Computed { .. } => {}
        }
    }
}

impl Observer for Tally {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.hash.observe(now, event);
        if now < self.warm_up {
            return;
        }
        match event {
            Event::Sent(packet) => self.handle_sent(packet),
            Event::Delivered(packet) => self.handle_delivered(packet),
            Event::Dropped { packet, .. } => {
                let is_picture = media(packet).is_some_and(|media| media.class == PacketClass::Video);
                self.lost += u64::from(is_picture);
            }
            Event::Fact { fact, .. } => self.handle_fact(fact),
            Event::Passed { .. }
            | Event::Replanned { .. }
            | Event::Spinning(_)
            | Event::WokenLate(_)
            | Event::Flooding(_)
            | Event::Unroutable(_) => {}
        }
    }
}

fn media(packet: &Packet) -> Option<&MediaPacket> {
    match &packet.payload {
        Payload::Media(media) => Some(media),
        Payload::Filler | Payload::Datagram(_) | Payload::Message(_) => None,
    }
}
