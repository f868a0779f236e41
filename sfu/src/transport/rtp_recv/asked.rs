//! What others ask a [`RtpRecvPipeline`] for: its packets, its last key frame, its report, who it is.

use core::time::Duration;

use proto::rtp::Ssrc;
use proto::time::Instant;

use super::gop::{Gop, NoGop};
use super::{RtpRecvPipeline, StreamOrigin, Way};
use crate::transport::clock::RtpClock;
use crate::transport::packet::{SourcePacket, StreamId};

impl RtpRecvPipeline {
    /// The reception report on this stream (RFC 3550 §6.4.1).
    pub fn report(&mut self, now: Instant) -> Option<proto::rtcp::ReportBlock> {
        self.reception.report(now)
    }

    /// A packet of the last seconds, for sending it again.
    pub fn packet(&self, seq: u64) -> Option<&SourcePacket> {
        self.cache.get(seq)
    }

    /// Its last key frame and all that came since, for who begins to watch it now; or why that cannot be had.
    pub fn gop(&self, now: Instant) -> Result<Gop, NoGop> {
        self.newest_key_frame.gop(now, &self.cache)
    }

    /// The packets of a [`Gop`] that it has just told of.
    pub fn packets(&self, gop: &Gop) -> impl Iterator<Item = &SourcePacket> {
        self.cache.since(gop.packets.start).flatten()
    }

    /// Whether key frames can be asked for: it is a picture's.
    pub fn has_key_frames(&self) -> bool {
        self.key_frames.is_some()
    }

    /// In how long a key frame should come, if one was asked for less than a round trip and a picture ago.
    pub fn key_frame_due_in(&self, now: Instant) -> Option<Duration> {
        let due = self.key_frames.as_ref()?.due(now)?;
        Some(due.since(now) + self.picture_interval)
    }

    /// The usual time between two of its pictures.
    pub fn picture_interval(&self) -> Duration {
        self.picture_interval
    }

    /// When its first packet came.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// This stream's name.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Where it came from.
    pub fn origin(&self) -> &StreamOrigin {
        &self.origin
    }

    /// The stream of its retransmissions, once known.
    pub fn rtx_ssrc(&self) -> Option<Ssrc> {
        self.rtx_ssrc
    }

    /// How packets from this source come.
    pub fn way_of(&self, ssrc: Ssrc) -> Way {
        if self.rtx_ssrc == Some(ssrc) {
            Way::Retransmission
        } else if self.repair.as_ref().is_some_and(|repair| repair.ssrc() == ssrc) {
            Way::Repair
        } else {
            Way::Itself
        }
    }

    /// Whether its holes are known: only then a packet restored can be told from one that comes late.
    pub fn can_ask(&self) -> bool {
        self.nack.is_some()
    }

    /// Its clock, as well as it is known.
    pub fn clock(&self) -> RtpClock {
        self.clock
    }
}
