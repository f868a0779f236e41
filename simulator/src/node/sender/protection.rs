//! What a sender does about losses, behind one seam: answers to NACKs, repair packets, or both.
//!
//! In: packets as they leave, NACKs, what became of packets. Out: `poll`, packets of repair for the pacer; what of the rate
//! is left to pictures. Time: `now`, monotonic; `poll_timeout`. After each call, drain `poll`.

use std::time::Duration;

use cc::PacketResult;
use proto::path_class::PathClass;
use proto::rtp::SeqNo;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::packet::MediaPacket;

/// What the sender's estimator says of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathNow {
    /// The kind of path.
    pub(crate) class: PathClass,
    /// What it carries.
    pub(crate) target: Bitrate,
}

/// See the module's description.
pub(crate) trait Protection {
    /// A packet leaves, of whatever class, with its transport-wide number.
    fn note_sent(&mut self, now: Instant, packet: &MediaPacket, size: DataSize);

    /// The round trip.
    fn set_rtt(&mut self, rtt: Duration);

    /// The receiver asks for packets of the pictures.
    fn handle_nack(&mut self, now: Instant, lost: &[SeqNo]);

    /// Feedback told what became of packets.
    fn handle_results(&mut self, _now: Instant, _results: &[PacketResult], _path: &PathNow) {}

    /// Time passed.
    fn handle_timeout(&mut self, _now: Instant) {}

    /// The next packet of repair to queue, with its size.
    fn poll(&mut self, now: Instant) -> Option<(MediaPacket, DataSize)>;

    /// When to call [`Self::handle_timeout`]; `None` while there is nothing to wait for.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What pictures may take, with their headers, when they and their repair may take `allowed`.
    fn media_rate(&mut self, now: Instant, allowed: Bitrate) -> Bitrate;

    /// What of the time until the next picture a picture may take, its own repair packets taking the rest; 0 to 1.
    fn picture_share(&self) -> f64 {
        1.0
    }
}
