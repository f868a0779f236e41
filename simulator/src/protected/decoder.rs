//! What a browser restores from repair packets: by peeling, one packet after the other.
//!
//! In: the pictures' packets and repair packets as they arrive. Out: `poll_restored`. Time: none. Limit: `PARITIES_MAX` repair
//! packets wait, the oldest is forgotten; what is `SPAN` behind the newest packet is not restored any more.
//!
//! Contents are not computed here: whether a set of repair packets restores a packet follows from what they protect alone
//! (`fec::scheme::flexfec` computes them, and its decoder does just this).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::packet::{Code, FramePart, Parity};

const PARITIES_MAX: usize = 48; // libwebrtc's kMaxFecPackets
const SPAN: u64 = 192; // packets: libwebrtc's kMaxTrackedMediaPackets

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The packets that are there; those from `newest` − [`SPAN`] on are remembered.
    there: BTreeSet<u64>,
    parities: VecDeque<Arc<Parity>>,
    restored: VecDeque<(u64, FramePart)>,
}

impl Decoder {
    /// A packet of the pictures is there, by itself or as a retransmission.
    pub(super) fn handle_packet(&mut self, seq: u64) {
        if self.insert(seq) {
            self.peel();
        }
    }

    /// A repair packet came.
    pub(super) fn handle_parity(&mut self, parity: &Arc<Parity>) {
        if self.parities.len() == PARITIES_MAX {
            self.parities.pop_front();
        }
        self.parities.push_back(Arc::clone(parity));
        self.peel();
    }

    /// The next packet that was restored.
    pub(super) fn poll_restored(&mut self) -> Option<(u64, FramePart)> {
        self.restored.pop_front()
    }

    fn insert(&mut self, seq: u64) -> bool {
        let is_new = self.there.insert(seq);
        while let Some((oldest, newest)) = self.there.first().zip(self.there.last())
            && *oldest + SPAN < *newest
        {
            self.there.pop_first();
        }
        is_new
    }

    fn peel(&mut self) {
        while let Some(place) = (0..self.parities.len()).find(|place| self.restores(*place)) {
            let parity = Arc::clone(&self.parities[place]);
            for (seq, part) in &parity.covered {
                if self.is_missing(*seq) {
                    self.insert(*seq);
                    self.restored.push_back((*seq, *part));
                }
            }
        }
        // What protects nothing that is missing has done its work.
        let parities = std::mem::take(&mut self.parities);
        self.parities = parities.into_iter().filter(|parity| self.missing(parity) > 0).collect();
    }

    fn restores(&self, place: usize) -> bool {
        let parity = &self.parities[place];
        let missing = self.missing(parity);
        let symbols = match parity.code {
            Code::Xor => 1,
            Code::Perfect { .. } => self.parities.iter().filter(|other| other.code == parity.code).count(),
        };
        (1..=symbols).contains(&missing)
    }

    fn missing(&self, parity: &Parity) -> usize {
        parity.covered.iter().filter(|(seq, _)| self.is_missing(*seq)).count()
    }

    fn is_missing(&self, seq: u64) -> bool {
        let is_remembered = self.there.last().is_none_or(|newest| seq + SPAN >= *newest);
        is_remembered && !self.there.contains(&seq)
    }
}

#[cfg(test)]
mod tests {
    use proto::time::Instant;

    use super::*;

    fn part(index: u64) -> FramePart {
        FramePart { frame: 0, index: index as u16, parts: 8, key: false, captured: Instant::ZERO }
    }

    fn parity(code: Code, seqs: &[u64]) -> Arc<Parity> {
        Arc::new(Parity { covered: seqs.iter().map(|seq| (*seq, part(*seq))).collect(), code })
    }

    const BLOCK: Code = Code::Perfect { block: 1 };

    #[test]
    fn what_is_restored_follows_from_what_is_there() {
        for (name, there, parities, restored) in [
            ("nothing is missing", &[1, 2, 3][..], &[(Code::Xor, &[1, 2, 3][..])][..], &[][..]),
            ("one is", &[1, 3], &[(Code::Xor, &[1, 2, 3])], &[2]),
            ("two are", &[3], &[(Code::Xor, &[1, 2, 3])], &[]),
            ("one after the other", &[3], &[(Code::Xor, &[1, 2, 3]), (Code::Xor, &[2, 3])], &[2, 1]),
            ("two in the same sets", &[3], &[(Code::Xor, &[1, 2, 3]), (Code::Xor, &[1, 2])], &[]),
            ("two by a perfect code", &[3], &[(BLOCK, &[1, 2, 3]), (BLOCK, &[1, 2, 3])], &[1, 2]),
            ("two by half of it", &[3], &[(BLOCK, &[1, 2, 3])], &[]),
        ] as [(_, &[u64], &[(Code, &[u64])], &[u64]); 7]
        {
            let mut decoder = Decoder::default();
            for seq in there {
                decoder.handle_packet(*seq);
            }
            for (code, seqs) in parities {
                decoder.handle_parity(&parity(*code, seqs));
            }
            let found: Vec<u64> =
                std::iter::from_fn(|| decoder.poll_restored()).map(|(seq, _)| seq).collect();
            assert_eq!(found, restored, "{name}");
        }
    }

    #[test]
    fn a_late_packet_lets_others_be_restored_and_old_ones_are_not() {
        let mut decoder = Decoder::default();
        decoder.handle_packet(3);
        decoder.handle_parity(&parity(Code::Xor, &[1, 2, 3]));
        assert_eq!(decoder.poll_restored(), None);
        decoder.handle_packet(1);
        assert_eq!(decoder.poll_restored(), Some((2, part(2))));
        decoder.handle_parity(&parity(Code::Xor, &[4, 5]));
        decoder.handle_packet(4 + SPAN + 2);
        decoder.handle_packet(5);
        assert_eq!(decoder.poll_restored(), None, "too old");
        for seq in 0..100 {
            decoder.handle_parity(&parity(Code::Xor, &[1_000 + seq, 2_000 + seq]));
        }
        assert_eq!(decoder.parities.len(), PARITIES_MAX);
    }
}
