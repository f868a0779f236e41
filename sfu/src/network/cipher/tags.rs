//! Tags of packets that were sealed in counter mode, many at once.
//!
//! In: sealed packets that lie in one slab, with the room for their tags. Out: the tags, in that room. Time: none.
//! Limit: none; nothing is kept.

use core::fmt;
use core::ops::Range;

use super::hmac::{HmacSha1, TAG};

/// What a packet's tag is to be computed from, besides the packet: the key and the rollover counter.
#[derive(Clone, Copy)]
pub struct PendingTag {
    pub(super) mac: HmacSha1,
    pub(super) rollover: u32,
}

impl fmt::Debug for PendingTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingTag").field("rollover", &self.rollover).finish_non_exhaustive()
    }
}

/// Computes the tags that `seal_rtp` left open: `slab[range]` is a whole packet, of `Sealed::length` bytes.
///
/// # Panics
/// If a range is not that of a packet that was sealed there.
pub fn authenticate(slab: &mut [u8], pending: &[(Range<usize>, PendingTag)]) {
    for (range, pending) in pending {
        let packet = &mut slab[range.clone()];
        let (message, tag) = packet.split_at_mut(packet.len() - TAG);
        tag.copy_from_slice(&pending.mac.tag(message, &pending.rollover.to_be_bytes()));
    }
}
