//! HMAC-SHA1 with both keyed states computed once (RFC 2104 §4), cut to the 80 bits of SRTP (RFC 3711 §4.2.1).
//!
//! In: messages in two parts. Out: tags. Time: none. Limit: a message is shorter than 2^29 bytes.

use sha1::block_api::compress;

/// The length of a tag, in bytes.
pub(super) const TAG: usize = 10;

/// The length of a block of SHA-1, in bytes (FIPS 180-4 §1).
pub(super) const BLOCK: usize = 64;

const DIGEST: usize = 20; // bytes
const LENGTH: usize = 8; // bytes: where a message's last block tells its length in bits

const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]; // FIPS 180-4 §5.3.1

/// The state of SHA-1 between two blocks.
pub(super) type State = [u32; 5];

/// A key, as SHA-1's states behind the padded key's block.
#[derive(Clone, Copy)]
pub(super) struct HmacSha1 {
    /// Where the message goes on from.
    pub(super) inner: State,
    /// Where its digest goes on from.
    pub(super) outer: State,
}

impl HmacSha1 {
    pub(super) fn new(key: &[u8; DIGEST]) -> Self {
        let keyed = |padding: u8| {
            let mut block = [padding; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress(&mut state, &[block]);
            state
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The tag of a message and what is behind it, which is at most four bytes.
    pub(super) fn tag(&self, message: &[u8], trailer: &[u8]) -> [u8; TAG] {
        let (blocks, _) = message.as_chunks();
        let mut state = self.inner;
        compress(&mut state, blocks);
        let (end, count) = last_blocks(message, trailer);
        compress(&mut state, &end[..count]);
        let mut outer = self.outer;
        compress(&mut outer, &[outer_block(&state)]);
        tag(&outer)
    }
}

/// The blocks behind the whole ones of a message, and how many: the rest of it, the trailer, the padding and the length.
pub(super) fn last_blocks(message: &[u8], trailer: &[u8]) -> ([[u8; BLOCK]; 2], usize) {
    let mut blocks = [[0; BLOCK]; 2];
    let bytes = blocks.as_flattened_mut();
    let rest = message.as_chunks::<BLOCK>().1;
    let end = rest.len() + trailer.len();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()..end].copy_from_slice(trailer);
    bytes[end] = 0x80;
    let count = if end < BLOCK - LENGTH { 1 } else { 2 };
    let bits = 8 * (BLOCK + message.len() + trailer.len()) as u64; // the padded key is a block of the message
    bytes[count * BLOCK - LENGTH..count * BLOCK].copy_from_slice(&bits.to_be_bytes());
    (blocks, count)
}

/// The one block that the outer state takes: the inner digest, padded.
pub(super) fn outer_block(inner: &State) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (bytes, word) in block.as_chunks_mut().0.iter_mut().zip(inner) {
        *bytes = word.to_be_bytes();
    }
    block[DIGEST] = 0x80;
    block[BLOCK - LENGTH..].copy_from_slice(&(8 * (BLOCK + DIGEST) as u64).to_be_bytes());
    block
}

/// The tag that an outer state is the digest of.
pub(super) fn tag(outer: &State) -> [u8; TAG] {
    let mut tag = [0; TAG];
    for (bytes, word) in tag.chunks_mut(4).zip(outer) {
        bytes.copy_from_slice(&word.to_be_bytes()[..bytes.len()]);
    }
    tag
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

    use super::*;

    #[test]
    fn tags_are_those_of_aws_lc_at_every_length() {
        let key: [u8; DIGEST] = core::array::from_fn(|at| at as u8 * 7);
        let theirs = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        let ours = HmacSha1::new(&key);
        let message: Vec<u8> = (0..300_u16).map(|at| at as u8 ^ 0x55).collect();
        for length in 0..300 {
            for trailer in [&[][..], &[1, 2, 3, 4]] {
                let whole = [&message[..length], trailer].concat();
                let expected = sign(&theirs, &whole);
                assert_eq!(ours.tag(&message[..length], trailer), expected.as_ref()[..TAG], "{length}");
            }
        }
    }
}
