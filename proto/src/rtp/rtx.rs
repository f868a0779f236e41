//! Retransmissions in a stream of their own (RFC 4588 §4): the original sequence number before the original payload.
//!
//! In: payloads. Out: payloads. Time: none. Limit: none.

use super::SeqNo;

/// The length in bytes that a retransmission's payload has over the original one.
pub const OVERHEAD: usize = 2;

/// The original packet's sequence number and payload, from a retransmission's payload.
///
/// `None` if there is no room for the number: such a packet is padding, which probes send in RTX streams.
pub fn unwrap(payload: &[u8]) -> Option<(SeqNo, &[u8])> {
    let (number, rest) = payload.split_first_chunk()?;
    Some((SeqNo(u16::from_be_bytes(*number)), rest))
}

/// Appends a retransmission's payload: the original packet's sequence number, then its payload.
pub fn write(original: SeqNo, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&original.0.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_unwrapped() {
        let mut wrapped = vec![9];
        write(SeqNo(0x1234), &[1, 2, 3], &mut wrapped);
        assert_eq!(wrapped, [9, 0x12, 0x34, 1, 2, 3], "it is appended");
        assert_eq!(unwrap(&wrapped[1..]), Some((SeqNo(0x1234), &[1, 2, 3][..])));
        assert_eq!(wrapped.len() - 1, 3 + OVERHEAD);
    }

    #[test]
    fn payloads_without_a_number_are_padding() {
        for (name, payload, unwrapped) in [
            ("nothing", &[][..], None),
            ("half a number", &[1], None),
            ("a number alone", &[1, 2], Some((SeqNo(0x0102), &[][..]))),
        ] {
            assert_eq!(unwrap(payload), unwrapped, "{name}");
        }
    }
}
