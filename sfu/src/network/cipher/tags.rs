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
/// Many at once take less time each, where the processor has vectors; in any order, of any lengths and keys.
///
/// # Panics
/// If a range is not that of a packet that was sealed there.
pub fn authenticate(slab: &mut [u8], pending: &[(Range<usize>, PendingTag)]) {
    #[cfg(target_arch = "x86_64")]
    {
        use super::batch;
        use super::lanes::{Avx2, Avx512, Lanes};

        if pending.len() >= Avx512::WORTH
            && let Some(lanes) = Avx512::detect()
        {
            return batch::authenticate(&lanes, Avx512::WORTH, slab, pending);
        }
        if pending.len() >= Avx2::WORTH
            && let Some(lanes) = Avx2::detect()
        {
            return batch::authenticate(&lanes, Avx2::WORTH, slab, pending);
        }
    }
    one_by_one(slab, pending);
}

fn one_by_one(slab: &mut [u8], pending: &[(Range<usize>, PendingTag)]) {
    for (range, pending) in pending {
        let (message, tag) = slab[range.clone()].split_at_mut(range.len() - TAG);
        tag.copy_from_slice(&pending.mac.tag(message, &pending.rollover.to_be_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A slab of packets with gaps between them, all bytes different from their neighbors'.
    fn slab(lengths: &[(usize, usize)]) -> (Vec<u8>, Vec<(Range<usize>, PendingTag)>) {
        let (mut end, mut pending) = (0, Vec::new());
        for (number, (gap, length)) in lengths.iter().enumerate() {
            let range = end + gap..end + gap + length + TAG;
            end = range.end;
            let mac = HmacSha1::new(&core::array::from_fn(|at| (at * 5 + number) as u8));
            pending.push((range, PendingTag { mac, rollover: number as u32 * 3 }));
        }
        ((0..end + 3).map(|at| (at * 7 + at / 251) as u8).collect(), pending)
    }

    proptest! {
        /// However many, however long, and nothing but the tags is written.
        #[test]
        fn in_batches_as_one_by_one(
            lengths in prop::collection::vec((0..4_usize, prop_oneof![0..300_usize, 1_100..1_210_usize]), 0..60)
        ) {
            let (mut expected, pending) = slab(&lengths);
            let mut found = expected.clone();
            one_by_one(&mut expected, &pending);
            authenticate(&mut found, &pending);
            prop_assert_eq!(&found, &expected);
            #[cfg(target_arch = "x86_64")]
            for worth in [1, 3, 8] {
                use super::super::batch;
                use super::super::lanes::{Avx2, Avx512, Lanes};

                let mut found = slab(&lengths).0;
                if let Some(lanes) = Avx512::detect() {
                    batch::authenticate(&lanes, worth, &mut found, &pending);
                    prop_assert_eq!(&found, &expected, "sixteen lanes, {}", worth);
                }
                let mut found = slab(&lengths).0;
                if let Some(lanes) = Avx2::detect() {
                    batch::authenticate(&lanes, worth, &mut found, &pending);
                    prop_assert_eq!(&found, &expected, "eight lanes, {}", worth);
                }
            }
        }
    }
}
