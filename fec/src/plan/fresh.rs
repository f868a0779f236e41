//! Rounds towards receivers that decode every symbol: parity never sent before, so that each packet that arrives counts.
//!
//! The MDS case of references §4.3 (type-II HARQ): of `d` missing symbols, `S` fresh ones are sent; if `j` of those are
//! lost, max(0, d − S + j) are missing.

use super::losses::{Channel, RunLosses};
use super::solve::{Scheme, Send};

/// The most packets of a round: a code over GF(2⁸) has no more symbols.
const PACKETS_MAX: usize = 255;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Fresh {
    losses: RunLosses,
}

impl Fresh {
    /// Over a channel; `carry` as in [`RunLosses::new`].
    pub(super) fn new(channel: Channel, carry: f64) -> Self {
        Self { losses: RunLosses::new(channel, carry, PACKETS_MAX) }
    }
}

impl Scheme for Fresh {
    fn choices(&self, missing: usize) -> impl Iterator<Item = (Send, &[f64])> {
        (missing..=PACKETS_MAX).map(move |packets| {
            let lost_with_one_missing = packets - missing + 1;
            let chances = self.losses.likely_of(packets).get(lost_with_one_missing..).unwrap_or(&[]);
            (Send { packets: packets as u8, parities: 0 }, chances)
        })
    }
}
