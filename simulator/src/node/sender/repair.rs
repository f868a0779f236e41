//! Answers to NACKs: the pictures' packets of the last two seconds, and how many of them may go again.
//!
//! In: packets as they leave, NACKs. Out: packets to send again. Time: `now`, monotonic. Limit: that of
//! [`fec::retransmit`], which this is: the cache and the limiter that the SFU answers its subscribers with.

use std::collections::VecDeque;
use std::time::Duration;

use cc::PacketClass;
use fec::retransmit::{PacketCache, RetransmitLimiter};
use proto::rtp::SeqNo;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::meter::Meter;
use super::protection::Protection;
use crate::packet::MediaPacket;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Repair {
    cache: PacketCache<(MediaPacket, DataSize)>,
    limiter: RetransmitLimiter,
    newest: u64,
    asked: VecDeque<SeqNo>,
    again: Meter,
}

impl Protection for Repair {
    fn note_sent(&mut self, now: Instant, packet: &MediaPacket, size: DataSize) {
        if packet.class == PacketClass::Video {
            self.newest = packet.seq;
            self.limiter.note_media(now, size.as_bytes() as usize);
            self.cache.insert(now, packet.seq, (packet.clone(), size));
        }
    }

    /// Within it a packet goes again only once.
    fn set_rtt(&mut self, rtt: Duration) {
        self.limiter.set_rtt(rtt);
    }

    fn handle_nack(&mut self, _now: Instant, lost: &[SeqNo]) {
        self.asked.extend(lost);
    }

    fn poll(&mut self, now: Instant) -> Option<(MediaPacket, DataSize)> {
        while let Some(seq) = self.asked.pop_front() {
            let number = self.newest.checked_add_signed(i64::from(seq.distance(SeqNo(self.newest as u16))));
            let Some(number) = number else { continue };
            let Some((packet, size)) = self.cache.get(number) else { continue };
            if self.limiter.admit(now, number, size.as_bytes() as usize) {
                self.again.add(now, *size);
                return Some((MediaPacket { class: PacketClass::Repair, ..packet.clone() }, *size));
            }
        }
        None
    }

    /// What packets took lately that went again is left free.
    fn media_rate(&mut self, now: Instant, allowed: Bitrate) -> Bitrate {
        allowed - self.again.rate(now)
    }
}
