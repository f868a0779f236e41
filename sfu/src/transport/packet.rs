//! A publisher's packet after decryption and recovery: what every subscriber of its stream gets a rewritten copy of.

use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;
use proto::codec::Codec;
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

/// A source packet. Clones share the payload.
#[derive(Debug, Clone)]
pub struct SourcePacket {
    bytes: Bytes,
    payload: Range<usize>,
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
    /// Whether it starts a key frame.
    pub key_frame: bool,
    /// The stream's clock when the packet arrived.
    pub clock: RtpClock,
    /// The loudness that the publisher measured (RFC 6464), as its one byte.
    pub audio_level: Option<u8>,
    /// How the publisher's camera is held (3GPP TS 26.114 §7.4.5), as its one byte.
    pub orientation: Option<u8>,
    /// How late repaired packets of the stream come: playout should wait so long.
    pub repair_time: Duration,
}

/// What a packet's header says, apart from its payload.
#[derive(Debug, Clone, Copy)]
pub struct SourceHeader {
    /// See [`SourcePacket::seq`].
    pub seq: u64,
    /// See [`SourcePacket::timestamp`].
    pub timestamp: u32,
    /// See [`SourcePacket::marker`].
    pub marker: bool,
    /// See [`SourcePacket::payload_type`].
    pub payload_type: PayloadType,
    /// See [`SourcePacket::codec`].
    pub codec: Codec,
    /// See [`SourcePacket::clock`].
    pub clock: RtpClock,
    /// See [`SourcePacket::audio_level`].
    pub audio_level: Option<u8>,
    /// See [`SourcePacket::orientation`].
    pub orientation: Option<u8>,
    /// See [`SourcePacket::repair_time`].
    pub repair_time: Duration,
}

impl SourcePacket {
    /// The packet whose payload lies at `payload` of `bytes`.
    pub fn new(header: SourceHeader, bytes: Bytes, payload: Range<usize>) -> Self {
        let key_frame = proto::codec::starts_key_frame(header.codec, &bytes[payload.clone()]);
        Self {
            bytes,
            payload,
            seq: header.seq,
            timestamp: header.timestamp,
            marker: header.marker,
            payload_type: header.payload_type,
            codec: header.codec,
            key_frame,
            clock: header.clock,
            audio_level: header.audio_level,
            orientation: header.orientation,
            repair_time: header.repair_time,
        }
    }

    /// Whether it is sound.
    pub fn is_sound(&self) -> bool {
        matches!(self.codec, Codec::Opus | Codec::Red)
    }

    /// The media payload, without padding.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }
}
