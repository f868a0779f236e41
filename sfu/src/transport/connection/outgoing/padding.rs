//! Padding: what is sent to learn whether the path carries more. It is something useful if there is, else nothing but filling.
//!
//! In: what the pacer asks for. Out: packets. Time: `now`, monotonic. Limit: what was asked for.

use proto::time::{Instant, NtpTime};

use super::{ConnectionPipeline, Padding, Recent};
use crate::transport::downlink::PACKET_OVERHEAD;
use crate::transport::rtp_send::{PADDING_MAX, Plaintext};

/// Less than this is not worth a packet of padding, which has a third of it in headers.
const PADDING_LEAST: u64 = 200;

impl ConnectionPipeline {
    /// Writes one packet of padding: something useful if there is, else nothing but filling. Tells whether it has a number;
    /// `None` if there is enough, or no stream to send it in.
    pub(super) fn write_padding(
        &mut self,
        now: Instant,
        wall: NtpTime,
        padding: Padding,
        out: &mut Plaintext,
    ) -> Option<bool> {
        let left = (padding.wanted - padding.sent).as_bytes();
        if left < PADDING_LEAST {
            return None;
        }
        let number = self.downlink.as_ref()?.next_number();
        // What has not arrived may be lost, and the oldest of it most likely; what has arrived is large at least.
        let fits = |recent: &&mut Recent| recent.packet.payload().len() as u64 <= left;
        let recent = self.outgoing.recent.iter_mut().filter(fits);
        let best = recent.min_by_key(|recent| (recent.used, recent.arrived));
        if let Some(recent) = best {
            recent.used += 1;
            let send = &mut self.slots[recent.slot];
            if let Some(pending) = send.pad_with(recent.seq, &recent.packet) {
                let numbered = send.is_numbered();
                send.write(now, wall, &pending, numbered.then_some(number), out);
                return Some(numbered);
            }
        }
        let send = self.slots.iter_mut().find(|slot| slot.repairs() && slot.is_numbered())?;
        let length = (left.saturating_sub(PACKET_OVERHEAD) as usize).clamp(1, PADDING_MAX);
        send.write_padding(length, Some(number), out).then_some(true)
    }
}
