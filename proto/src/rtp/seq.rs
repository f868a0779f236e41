//! Sequence numbers that do not wrap, from those on the wire (RFC 3550 §A.1).
//!
//! In: `unwrap`. Out: its result. Time: none. Limit: steps of less than 2^15 either way are told apart.

use super::SeqNo;

/// The number of wrapped sequence numbers; also what the first one is moved up by, so that older ones fit below it.
const CYCLE: u64 = 1 << 16;

/// Extends sequence numbers to 64 bits, relative to the highest one seen.
#[derive(Debug, Clone, Default)]
pub struct SeqUnwrapper {
    highest: Option<u64>,
}

impl SeqUnwrapper {
    /// The extended number of `seq`, which counts as seen from now on.
    ///
    /// The first number becomes 65536 + `seq`, so that packets reordered before it have a number as well.
    pub fn unwrap(&mut self, seq: SeqNo) -> u64 {
        let extended = self.peek(seq);
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
        extended
    }

    /// The extended number that `seq` has next to those seen so far, without counting it as seen.
    pub fn peek(&self, seq: SeqNo) -> u64 {
        match self.highest {
            None => CYCLE + u64::from(seq.0),
            Some(highest) => {
                let step = seq.distance(SeqNo(highest as u16));
                highest.saturating_add_signed(i64::from(step))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_extend_across_wraps_and_reordering() {
        for (name, seqs, extended) in [
            ("in order", &[7, 8, 9][..], &[65543, 65544, 65545][..]),
            ("the first may be 0 and older ones follow", &[0, 65535, 65534], &[65536, 65535, 65534]),
            ("a wrap", &[65534, 65535, 0, 1], &[131_070, 131_071, 131_072, 131_073]),
            ("reordered over the wrap", &[65535, 1, 0, 2], &[131_071, 131_073, 131_072, 131_074]),
            (
                "a late one does not move the reference",
                &[40_000, 10_000, 45_000],
                &[105_536, 75_536, 110_536],
            ),
            ("the longest way back", &[0, 32_768], &[65536, 32_768]),
            ("the longest way on", &[0, 32_767], &[65536, 98_303]),
        ] {
            let mut unwrapper = SeqUnwrapper::default();
            let got: Vec<u64> = seqs.iter().map(|&seq| unwrapper.unwrap(SeqNo(seq))).collect();
            assert_eq!(got, extended, "{name}");
        }
    }

    #[test]
    fn peeking_changes_nothing() {
        let mut unwrapper = SeqUnwrapper::default();
        assert_eq!(unwrapper.peek(SeqNo(5)), 65541);
        assert_eq!(unwrapper.unwrap(SeqNo(65535)), 131_071);
        assert_eq!(unwrapper.peek(SeqNo(20_000)), 151_072);
        assert_eq!(unwrapper.peek(SeqNo(40_000)), 105_536, "seen from 65535, not from the peeked 20000");
    }
}
