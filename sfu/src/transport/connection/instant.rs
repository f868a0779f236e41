//! Instant start: a slot begins with a stream's last key frame and all that came since, if the path carries that soon.
//!
//! In: a stream's [`Gop`]. Out: its packets wait in the downlink's pacer, behind what waits already and behind sound, and
//! leave at its pace. Limit: [`BURST_MAX`] for all that waits then, for which the queue is excused.

use core::time::Duration;

use proto::time::Instant;
use proto::units::DataSize;

use super::ConnectionPipeline;
use super::outgoing::Offered;
use crate::transport::downlink::PACKET_OVERHEAD;
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rewriter::CatchUp;
use crate::transport::rtp_recv::Gop;

/// What waits when a slot has begun takes no longer than this at the pacing rate: the viewer is at the live
/// moment soon, and estimators' windows hold as much. A path of which little is known has a low rate and takes little.
const BURST_MAX: Duration = Duration::from_millis(200);

impl ConnectionPipeline {
    /// How long so much more takes to leave, behind what waits; `None` if that is more than may be put in at once, or if the
    /// subscriber does not tell what arrives, so that nothing is known of its path.
    pub fn burst_time(&self, size: DataSize) -> Option<Duration> {
        let downlink = self.downlink.as_ref()?;
        let takes = downlink.queue_time().saturating_add(size / downlink.target().pacing);
        (takes <= BURST_MAX).then_some(takes)
    }

    /// Switches a slot to a stream of its track with all of `gop`, whose packets these are; whether all of them wait now.
    ///
    /// The queue is excused for it as for a key frame: for a second it is no reason to drop pictures (`queue`).
    pub fn offer_gop<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        (stream, gop): (StreamId, &Gop),
        packets: impl Iterator<Item = &'a SourcePacket>,
    ) -> bool {
        let catch_up = CatchUp { end: gop.packets.end, newest: gop.newest, clock: gop.clock };
        let Some(send) = self.slots.get_mut(slot) else { return false };
        send.expect_catch_up(stream, gop.packets.start, catch_up);
        let mut past = DataSize::ZERO;
        for packet in packets {
            match self.admit(now, slot, stream, packet) {
                Offered::Queued if self.slots[slot].is_key_frame(packet) => {}
                Offered::Queued => past += DataSize::bytes(packet.payload().len() as u64 + PACKET_OVERHEAD),
                Offered::Leaving(_) | Offered::Refused | Offered::GivenUp | Offered::Unmapped => {
                    return false;
                }
            }
        }
        self.outgoing.queue.note_key_frame(now, past);
        true
    }
}
