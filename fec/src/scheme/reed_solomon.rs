//! Reed–Solomon sums: the arithmetic over GF(2^8) that lets any k of k + m packets restore the k (Plank 1997).
//!
//! In: packets and their numbers. Out: [`Sum`]. Time: none. Limit: 128 packets, 128 sums over them.
//!
//! The generator is systematic with a Cauchy matrix, every square part of which can be inverted: 1 / (x + y) with the
//! x from the row and the y from the packet's number, scaled so that row 0 is a plain XOR. An entry is computed when it is
//! needed, so a sum of any row can be made at any time, for a block of any size. The multiplying is left to
//! reed-solomon-erasure, whose vector code is the bulk of the time.

use proto::rtp::SeqNo;
use reed_solomon_erasure::galois_8;

/// The longest packet that is protected, in bytes: what fits an Ethernet frame.
pub const PACKET_MAX: usize = 1500;

/// Bytes of a sum that stand for the packets' lengths.
pub(super) const LENGTH_LEN: usize = 2;

/// Packets whose numbers differ by less than this have different factors in every row.
const COLUMNS: u16 = 128;

/// The factor, never 0, of the packet `number` in the sum `row`, which is below 128.
pub(super) fn factor(row: u8, number: SeqNo) -> u8 {
    let column = (number.0 % COLUMNS) as u8;
    galois_8::div(0x80 | column, 0x80 | (row ^ column))
}

/// What undoes multiplying by `factor`, which is not 0.
pub(super) fn inverse(factor: u8) -> u8 {
    galois_8::div(1, factor)
}

/// The product of two field elements.
pub(super) fn product(one: u8, other: u8) -> u8 {
    galois_8::mul(one, other)
}

/// A sum of packets, each times a factor: two bytes for their lengths, then the packets themselves, filled up with zeros.
///
/// Addition and subtraction are the same here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sum(Vec<u8>);

impl Sum {
    /// The sum of nothing, with room kept.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes over a sum as it came.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(bytes);
    }

    /// The sum as it is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a packet of that length can be in it.
    pub(super) fn holds(&self, packet: &[u8]) -> bool {
        LENGTH_LEN + packet.len() <= self.0.len()
    }

    /// Adds a packet, at most [`PACKET_MAX`] long.
    pub(super) fn add_packet(&mut self, factor: u8, packet: &[u8]) {
        self.grow(LENGTH_LEN + packet.len());
        let (length, body) = self.0.split_at_mut(LENGTH_LEN);
        for (sum, byte) in length.iter_mut().zip((packet.len() as u16).to_be_bytes()) {
            *sum ^= galois_8::mul(factor, byte);
        }
        add_multiple(factor, packet, body);
    }

    /// Adds another sum.
    pub(super) fn add_sum(&mut self, factor: u8, other: &Self) {
        self.grow(other.0.len());
        add_multiple(factor, &other.0, &mut self.0);
    }

    /// Multiplies the sum; `spare` is room for it.
    pub(super) fn scale(&mut self, factor: u8, spare: &mut Vec<u8>) {
        if factor == 1 || self.0.is_empty() {
            return;
        }
        spare.clear();
        spare.resize(self.0.len(), 0);
        galois_8::mul_slice(factor, &self.0, spare);
        core::mem::swap(&mut self.0, spare);
    }

    /// The packet, if this is the sum of one alone: its length fits and what follows it is zeros.
    pub(super) fn packet(&self) -> Option<&[u8]> {
        let (length, body) = self.0.split_first_chunk()?;
        let (packet, rest) = body.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest.iter().all(|&byte| byte == 0).then_some(packet)
    }

    fn grow(&mut self, len: usize) {
        if self.0.len() < len {
            self.0.resize(len, 0);
        }
    }
}

/// Adds `bytes` times a factor to the first of `sum`.
fn add_multiple(factor: u8, bytes: &[u8], sum: &mut [u8]) {
    let len = bytes.len().min(sum.len());
    if len > 0 {
        galois_8::mul_slice_xor(factor, &bytes[..len], &mut sum[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, bit by bit.
    fn slow_product(mut one: u8, mut other: u8) -> u8 {
        let mut sum = 0;
        while other > 0 {
            sum ^= if other & 1 == 1 { one } else { 0 };
            one = (one << 1) ^ if one & 0x80 == 0 { 0 } else { 0x1d };
            other >>= 1;
        }
        sum
    }

    #[test]
    fn the_field_is_the_one_with_0x11d() {
        for one in 0..=255 {
            for other in 0..=255 {
                assert_eq!(product(one, other), slow_product(one, other));
            }
            assert!(one == 0 || slow_product(one, inverse(one)) == 1);
        }
    }

    #[test]
    fn factors_are_those_of_a_cauchy_matrix_with_its_first_row_all_ones() {
        for row in 0..128_u8 {
            for number in 0..128_u16 {
                let cauchy = |row: u8| inverse((0x80 | row) ^ number as u8);
                let scaled = product(cauchy(row), inverse(cauchy(0)));
                assert_eq!(factor(row, SeqNo(number)), scaled);
                assert_ne!(scaled, 0);
            }
        }
        assert!((0..300).all(|number| factor(0, SeqNo(number)) == 1));
        assert_eq!(factor(9, SeqNo(5)), factor(9, SeqNo(5 + 128)));
    }

    #[test]
    fn a_sum_of_one_packet_is_that_packet() {
        let mut sum = Sum::default();
        let mut spare = Vec::new();
        sum.add_packet(7, &[1, 2, 3]);
        sum.add_packet(9, &[4; 10]);
        assert_eq!(sum.packet(), None);
        sum.add_packet(9, &[4; 10]);
        assert_ne!(sum.packet(), Some(&[1, 2, 3][..]), "still seven times the packet");
        sum.scale(inverse(7), &mut spare);
        assert_eq!(sum.packet(), Some(&[1, 2, 3][..]));
        assert!(sum.holds(&[0; 10]) && !sum.holds(&[0; 11]));
        let mut other = Sum::default();
        other.add_packet(5, &[]);
        other.add_sum(1, &sum);
        assert_eq!(other, sum, "an empty packet adds nothing but its length, which is 0");
        sum.set(&[0, 9, 1]);
        assert_eq!(sum.packet(), None, "longer than there is");
        sum.clear();
        sum.scale(3, &mut spare);
        assert_eq!((sum.packet(), sum.bytes()), (None, &[][..]));
    }
}
