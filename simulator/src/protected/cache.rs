//! The pictures' packets that left lately, to be sent again.
//!
//! In: packets as they leave, the numbers that receivers ask for. Out: packets. Time: `now`, monotonic. Limit: that of
//! [`fec::retransmit::PacketCache`].

use cc::PacketClass;
use fec::retransmit::PacketCache;
use proto::rtp::SeqNo;
use proto::time::Instant;
use proto::units::DataSize;

use crate::packet::MediaPacket;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Cache {
    packets: PacketCache<(MediaPacket, DataSize)>,
    newest: u64,
}

impl Cache {
    /// A picture's packet leaves for the first time.
    pub(super) fn insert(&mut self, now: Instant, packet: &MediaPacket, size: DataSize) {
        self.newest = packet.seq;
        self.packets.insert(now, packet.seq, (packet.clone(), size));
    }

    /// Which packet a number means that was asked for.
    pub(super) fn number(&self, seq: SeqNo) -> Option<u64> {
        self.newest.checked_add_signed(i64::from(seq.distance(SeqNo(self.newest as u16))))
    }

    /// A packet to be sent again.
    pub(super) fn again(&self, seq: u64) -> Option<(MediaPacket, DataSize)> {
        let (packet, size) = self.packets.get(seq)?;
        Some((MediaPacket { class: PacketClass::Repair, ..packet.clone() }, *size))
    }
}
