//! What a [`RtpRecvPipeline`] counts and knows of itself, for statistics.

use fec::nack::{NackGenerator, NackStats};
use proto::codec::Codec;
use proto::time::Instant;
use proto::units::Bitrate;

use super::{RtpRecvPipeline, Way};
use crate::transport::keyframes::{KeyFrameRequester, KeyFrameStats};
use crate::transport::packet::SourcePacket;
use crate::transport::reception::Reception;
use crate::transport::stats::{StreamCounts, count};

impl RtpRecvPipeline {
    /// What it is coded with; `None` if that is not known here.
    pub fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// What a copy of the stream takes with all headers, as it came of late; `None` before it is measured.
    pub fn rate(&self, now: Instant) -> Option<Bitrate> {
        self.relayed.as_ref().map_or_else(|| self.meter.rate(now), |relayed| relayed.rate)
    }

    /// Width and height of its pictures, as its last key frame said.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// What it has brought so far.
    pub fn counts(&self) -> StreamCounts {
        self.counts
    }

    /// What was asked for again and what came of it; `None` where nothing can be asked for.
    pub fn nack_stats(&self) -> Option<NackStats> {
        self.nack.as_ref().map(NackGenerator::stats)
    }

    /// What was asked for of key frames; `None` where none can be.
    pub fn key_frame_stats(&self) -> Option<KeyFrameStats> {
        self.key_frames.as_ref().map(KeyFrameRequester::stats)
    }

    /// What its reception reports say.
    pub fn reception(&self) -> &Reception {
        &self.reception
    }

    /// Counts a packet that goes on to the subscribers.
    pub(super) fn count(&mut self, packet: &SourcePacket, way: Way) {
        self.codec = Some(packet.codec);
        self.counts.packets.add(packet.payload().len());
        match way {
            Way::Itself => {}
            Way::Retransmission => count(&mut self.counts.retransmitted, 1),
            Way::Repair => count(&mut self.counts.restored, 1),
        }
        count(&mut self.counts.pictures, u64::from(packet.marker && !packet.is_sound()));
        count(&mut self.counts.key_frames, u64::from(packet.is_key_frame()));
    }
}
