//! A publisher's packet after decryption and recovery: what every subscriber of its stream gets a rewritten copy of.

use core::ops::Deref;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use proto::codec::{Codec, PictureIds, Temporal};
use proto::rtp::PayloadType;

use super::clock::RtpClock;

/// One stream of a publisher: a track, or one simulcast layer of it. Never used twice on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The worker's number for the publisher's connection, never used twice.
    pub connection: u64,
    /// The connection's number for the stream, never used twice.
    pub index: u32,
}

/// What a packet's header says, apart from its payload.
#[derive(Debug, Clone, Copy)]
pub struct SourceHeader {
    /// The stream's extended sequence number.
    pub seq: u64,
    /// The publisher's RTP timestamp.
    pub timestamp: u32,
    /// The marker bit: the last packet of a picture.
    pub marker: bool,
    /// The publisher's payload type.
    pub payload_type: PayloadType,
    /// What the payload is.
    pub codec: Codec,
    /// The stream's clock when the packet arrived.
    pub clock: RtpClock,
    /// The loudness that the publisher measured (RFC 6464), as its one byte.
    pub audio_level: Option<u8>,
    /// How the publisher's camera is held (3GPP TS 26.114 §7.4.5), as its one byte.
    pub orientation: Option<u8>,
    /// How late repaired packets of the stream come: playout should wait so long.
    pub repair_time: Duration,
}

impl SourceHeader {
    /// Whether it is sound.
    pub fn is_sound(&self) -> bool {
        matches!(self.codec, Codec::Opus | Codec::Red)
    }
}

/// What a packet's dependency descriptor says of its picture.
#[derive(Debug, Clone, Copy, Default)]
pub struct Described<'a> {
    /// The descriptor itself; empty if the packet has none.
    pub descriptor: &'a [u8],
    /// The picture's temporal layer, if the descriptor could be read.
    pub temporal: Option<Temporal>,
}

/// A source packet: its header's fields, and its payload. Clones share it.
#[derive(Debug, Clone)]
pub struct SourcePacket(Arc<Stored>);

#[derive(Debug)]
struct Stored {
    header: SourceHeader,
    is_key_frame: bool,
    picture_ids: PictureIds,
    temporal: Option<Temporal>,
    descriptor: Vec<u8>,
    payload: Vec<u8>,
}

impl Stored {
    /// A packet with this descriptor and payload; the former says of temporal layers what the latter leaves open.
    fn new(header: SourceHeader, told: Option<Temporal>, (descriptor, payload): (Vec<u8>, Vec<u8>)) -> Self {
        let is_key_frame = proto::codec::starts_key_frame(header.codec, &payload);
        let picture_ids = PictureIds::read(header.codec, &payload);
        let temporal = proto::codec::temporal(header.codec, &payload).or(told);
        Self { header, is_key_frame, picture_ids, temporal, descriptor, payload }
    }
}

impl SourcePacket {
    /// A packet with this payload, without padding.
    pub fn new(header: SourceHeader, payload: &[u8]) -> Self {
        Self::described(header, payload, Described::default())
    }

    /// The same with a dependency descriptor.
    pub fn described(header: SourceHeader, payload: &[u8], described: Described<'_>) -> Self {
        let Described { descriptor, temporal } = described;
        Self(Arc::new(Stored::new(header, temporal, (descriptor.to_vec(), payload.to_vec()))))
    }

    /// Whether it starts a key frame.
    pub fn is_key_frame(&self) -> bool {
        self.0.is_key_frame
    }

    /// The ids of its picture.
    pub fn picture_ids(&self) -> PictureIds {
        self.0.picture_ids
    }

    /// The temporal layer of its picture, where the payload or the dependency descriptor says it.
    pub fn temporal(&self) -> Option<Temporal> {
        self.0.temporal
    }

    /// Its dependency descriptor; empty if it has none.
    pub fn descriptor(&self) -> &[u8] {
        &self.0.descriptor
    }

    /// The media payload, without padding.
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Deref for SourcePacket {
    type Target = SourceHeader;

    fn deref(&self) -> &SourceHeader {
        &self.0.header
    }
}

/// Packets that nobody holds any more beyond these are given back to the allocator, one with each new packet. Fewer are
/// kept, for the next packets are as many.
const SPARE: usize = 32;

/// Where a stream's packets are stored, each once: the memory of those that nobody holds any more serves the next.
///
/// It keeps as many as are held and [`SPARE`], so it is as large as what caches and queues may hold.
#[derive(Debug, Default)]
pub struct PacketPool {
    /// In the order in which they were stored, which is about that in which they are let go.
    packets: VecDeque<SourcePacket>,
}

impl PacketPool {
    /// Stores a packet without a dependency descriptor.
    pub fn store(&mut self, header: SourceHeader, payload: &[u8]) -> SourcePacket {
        self.store_described(header, payload, Described::default())
    }

    /// Stores a packet.
    pub fn store_described(
        &mut self,
        header: SourceHeader,
        payload: &[u8],
        described: Described<'_>,
    ) -> SourcePacket {
        let packet = self.reuse(header, payload, described);
        let packet = packet.unwrap_or_else(|| SourcePacket::described(header, payload, described));
        self.packets.push_back(packet.clone());
        packet
    }

    fn reuse(
        &mut self,
        header: SourceHeader,
        payload: &[u8],
        described: Described<'_>,
    ) -> Option<SourcePacket> {
        if self.packets.get(SPARE).is_some_and(|packet| !packet.is_shared()) {
            self.packets.pop_front();
        }
        self.packets.front().filter(|packet| !packet.is_shared())?;
        let mut packet = self.packets.pop_front()?;
        let stored = Arc::get_mut(&mut packet.0)?;
        let refilled = |memory: &mut Vec<u8>, content: &[u8]| {
            let mut bytes = core::mem::take(memory);
            bytes.clear();
            bytes.extend_from_slice(content);
            bytes
        };
        let descriptor = refilled(&mut stored.descriptor, described.descriptor);
        let payload = refilled(&mut stored.payload, payload);
        *stored = Stored::new(header, described.temporal, (descriptor, payload));
        Some(packet)
    }
}

#[cfg(test)]
impl SourceHeader {
    /// That of a packet of which only the number matters, for tests.
    pub(crate) fn numbered(seq: u64) -> Self {
        Self {
            seq,
            timestamp: 0,
            marker: false,
            payload_type: PayloadType(96),
            codec: Codec::Vp8,
            clock: RtpClock { at: proto::time::NtpTime::from_bits(0), rtp: 0, rate: 90_000 },
            audio_level: None,
            orientation: None,
            repair_time: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_holds_it_and_never_before() {
        let mut pool = PacketPool::default();
        let mut held = VecDeque::new();
        for seq in 0..1_000_u64 {
            let size = 1 + seq as usize % 7;
            held.push_back(pool.store(SourceHeader::numbered(seq), &vec![seq as u8; size]));
            if held.len() > 100 {
                held.pop_front();
            }
            for packet in &held {
                assert_eq!(packet.payload(), vec![packet.seq as u8; 1 + packet.seq as usize % 7]);
            }
        }
        assert_eq!(pool.packets.len(), 101, "as many as were held at a time");
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut pool = PacketPool::default();
        let burst: Vec<_> = (0..500).map(|seq| pool.store(SourceHeader::numbered(seq), &[1])).collect();
        assert_eq!(pool.packets.len(), 500);
        drop(burst);
        for seq in 500..2_000 {
            pool.store(SourceHeader::numbered(seq), &[1]);
        }
        assert_eq!(pool.packets.len(), SPARE);
    }

    #[test]
    fn a_packet_says_whether_it_starts_a_key_frame_also_in_used_memory() {
        let mut pool = PacketPool::default();
        for (seq, payload, key) in [(0, [0x10, 0], true), (1, [0x10, 1], false), (2, [0x10, 0], true)] {
            assert_eq!(pool.store(SourceHeader::numbered(seq), &payload).is_key_frame(), key, "{seq}");
        }
    }

    #[test]
    fn a_packet_has_its_own_descriptor_also_in_used_memory_and_its_payload_goes_first() {
        let mut pool = PacketPool::default();
        let upper = Some(Temporal { layer: 1, joins: true });
        let av1 = SourceHeader { codec: Codec::Av1, ..SourceHeader::numbered(0) };
        for (claim, header, payload, descriptor, told, temporal) in [
            ("the descriptor says it", av1, &[0x10, 1][..], &[1, 2, 3][..], upper, upper),
            ("nothing says it", av1, &[0x10, 1], &[], None, None),
            ("the descriptor cannot be read", av1, &[0x10, 1], &[9; 4], None, None),
            (
                "the payload says it",
                SourceHeader::numbered(3),
                &[0x90, 0x20, 0x80, 1],
                &[1, 2, 3],
                upper,
                Some(Temporal { layer: 2, joins: false }),
            ),
        ] {
            let packet = pool.store_described(header, payload, Described { descriptor, temporal: told });
            assert_eq!((packet.descriptor(), packet.temporal()), (descriptor, temporal), "{claim}");
        }
    }
}
