//! Answers to NACKs: the pictures' packets of the last two seconds, and how many of them may go again.
//!
//! In: packets as they leave, NACKs. Out: packets to send again. Time: `now`, monotonic. Limit: that of
//! [`fec::retransmit`], which this is: the cache and the limiter that the SFU answers its subscribers with.

use std::time::Duration;

use fec::retransmit::{PacketCache, RetransmitLimiter};
use proto::rtp::SeqNo;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::meter::Meter;
use crate::packet::MediaPacket;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Repair {
    cache: PacketCache<(MediaPacket, DataSize)>,
    limiter: RetransmitLimiter,
    newest: u64,
    again: Meter,
}

impl Repair {
    /// A picture's packet leaves for the first time.
    pub(super) fn note_sent(&mut self, now: Instant, packet: MediaPacket, size: DataSize) {
        self.newest = packet.seq;
        self.limiter.note_media(now, size.as_bytes() as usize);
        self.cache.insert(now, packet.seq, (packet, size));
    }

    /// The round trip, within which a packet goes again only once.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.limiter.set_rtt(rtt);
    }

    /// A packet was asked for: it, if it may go again.
    pub(super) fn handle_nack(&mut self, now: Instant, seq: SeqNo) -> Option<(MediaPacket, DataSize)> {
        let number = self.newest.checked_add_signed(i64::from(seq.distance(SeqNo(self.newest as u16))))?;
        let &(packet, size) = self.cache.get(number)?;
        if !self.limiter.admit(now, number, size.as_bytes() as usize) {
            return None;
        }
        self.again.add(now, size);
        Some((packet, size))
    }

    /// How fast packets went again lately: what the encoder shall leave free.
    pub(super) fn rate(&mut self, now: Instant) -> Bitrate {
        self.again.rate(now)
    }
}
