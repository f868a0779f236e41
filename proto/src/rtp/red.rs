//! Redundant audio data (RFC 2198): a packet that carries earlier packets' payloads before its own.
//!
//! In: payloads. Out: [`RedView`], bytes. Time: none. Limit: [`BLOCKS_MAX`] earlier payloads of at most [`LENGTH_MAX`]
//! bytes and [`OFFSET_MAX`] units of time back, which is what the format can say or what receivers take.

use super::PayloadType;

/// Earlier payloads in one packet at most (libwebrtc takes 32).
pub const BLOCKS_MAX: usize = 32;

/// The longest earlier payload, in bytes: ten bits.
pub const LENGTH_MAX: usize = 0x3ff;

/// The earliest earlier payload, in units of the codec's clock: fourteen bits, 341 ms at 48 kHz.
pub const OFFSET_MAX: u32 = 0x3fff;

/// Bytes that each earlier payload takes beside its own, in the packet's header.
pub const BLOCK_HEADER_LEN: usize = 4;

/// Why a payload is not RED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedError {
    /// It ends before its headers or the payloads that they announce do.
    #[error("{available} bytes, {needed} announced")]
    Truncated {
        /// The shortest length that the bytes read so far allow.
        needed: usize,
        /// The payload's length.
        available: usize,
    },
    /// It announces more than [`BLOCKS_MAX`] earlier payloads.
    #[error("more than {BLOCKS_MAX} blocks")]
    TooMany,
    /// Its payloads are not ordered from the earliest on.
    #[error("a payload {0} before the packet's own comes after a later one")]
    Unordered(u16),
}

/// One of the earlier payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedBlock<'a> {
    /// What it is.
    pub payload_type: PayloadType,
    /// How long before the packet's own payload it was captured, in units of the codec's clock; 0 to [`OFFSET_MAX`].
    pub offset: u16,
    /// The payload; at most [`LENGTH_MAX`] bytes.
    pub payload: &'a [u8],
}

/// A RED payload, read in place; all lengths are checked.
#[derive(Debug, Clone, Copy)]
pub struct RedView<'a> {
    bytes: &'a [u8],
    headers: usize, // of earlier payloads
    primary_at: usize,
}

impl<'a> RedView<'a> {
    /// A view of a packet's payload.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RedError> {
        let available = bytes.len();
        let (mut headers, mut announced, mut last) = (0, 0, u16::MAX);
        loop {
            let at = headers * BLOCK_HEADER_LEN;
            let first = *bytes.get(at).ok_or(RedError::Truncated { needed: at + 1, available })?;
            if first & 0x80 == 0 {
                let primary_at = at + 1 + announced;
                if primary_at > available {
                    return Err(RedError::Truncated { needed: primary_at, available });
                }
                return Ok(Self { bytes, headers, primary_at });
            }
            let header = bytes.get(at..).and_then(<[u8]>::first_chunk);
            let header = header.ok_or(RedError::Truncated { needed: at + BLOCK_HEADER_LEN, available })?;
            let (_, offset, length) = read_header(*header);
            if headers == BLOCKS_MAX {
                return Err(RedError::TooMany);
            }
            if offset > last {
                return Err(RedError::Unordered(offset));
            }
            last = offset;
            announced += length;
            headers += 1;
        }
    }

    /// What the packet's own payload is.
    pub fn payload_type(&self) -> PayloadType {
        PayloadType(self.bytes[self.headers * BLOCK_HEADER_LEN] & 0x7f)
    }

    /// The packet's own payload.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.primary_at..]
    }

    /// The earlier payloads, the earliest first.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = RedBlock<'a>> + use<'a> {
        let view = *self;
        let mut blocks = [None; BLOCKS_MAX];
        let mut at = view.headers * BLOCK_HEADER_LEN + 1;
        let headers = view.bytes.chunks_exact(BLOCK_HEADER_LEN).filter_map(<[u8]>::first_chunk);
        for (block, header) in blocks.iter_mut().zip(headers).take(view.headers) {
            let (payload_type, offset, length) = read_header(*header);
            *block = Some(RedBlock { payload_type, offset, payload: &view.bytes[at..at + length] });
            at += length;
        }
        blocks.into_iter().flatten()
    }
}

/// Payload type, offset and length.
const fn read_header(header: [u8; BLOCK_HEADER_LEN]) -> (PayloadType, u16, usize) {
    let word = u32::from_be_bytes(header);
    (PayloadType((word >> 24) as u8 & 0x7f), (word >> 10) as u16 & 0x3fff, word as usize & 0x3ff)
}

/// Appends a RED payload: the packet's own payload, and before it these earlier ones, the earliest first.
///
/// Those that the format cannot express are left out: too long, too early, or more than [`BLOCKS_MAX`]. All are of one type.
pub fn write<'a>(
    payload_type: PayloadType,
    blocks: impl Iterator<Item = (u32, &'a [u8])> + Clone,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let blocks = blocks
        .filter(|(offset, payload)| *offset <= OFFSET_MAX && payload.len() <= LENGTH_MAX)
        .take(BLOCKS_MAX);
    for (offset, payload) in blocks.clone() {
        let header = 1 << 31 | u32::from(payload_type.0 & 0x7f) << 24 | offset << 10 | payload.len() as u32;
        out.extend_from_slice(&header.to_be_bytes());
    }
    out.push(payload_type.0 & 0x7f);
    for (_, payload) in blocks {
        out.extend_from_slice(payload);
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const OPUS: PayloadType = PayloadType(111);

    #[test]
    fn the_bytes_are_as_in_the_rfc() {
        let mut written = vec![9];
        let blocks = [(1920, &[1, 2, 3][..]), (960, &[4])];
        write(OPUS, blocks.into_iter(), &[5, 6], &mut written);
        assert_eq!(written, [9, 0xef, 0x1e, 0, 3, 0xef, 0x0f, 0, 1, 111, 1, 2, 3, 4, 5, 6]);
        let view = RedView::parse(&written[1..]).expect("our own");
        assert_eq!((view.payload_type(), view.payload()), (OPUS, &[5, 6][..]));
        let read: Vec<_> = view.blocks().map(|block| (u32::from(block.offset), block.payload)).collect();
        assert_eq!(read, blocks);
        assert!(view.blocks().all(|block| block.payload_type == OPUS));
    }

    #[test]
    fn what_the_format_cannot_express_is_left_out() {
        let (long, most) = ([7; 1024], [7; 1023]);
        let blocks = [(16_384, &[1][..]), (16_383, &most), (960, &long), (480, &[2])];
        let mut written = Vec::new();
        write(OPUS, blocks.into_iter(), &[3], &mut written);
        let view = RedView::parse(&written).expect("our own");
        let read: Vec<_> = view.blocks().map(|block| (block.offset, block.payload)).collect();
        assert_eq!(read, [(16_383, &most[..]), (480, &[2])]);
        written.clear();
        write(OPUS, (0..40).map(|_| (5, &[][..])), &[], &mut written);
        assert_eq!(RedView::parse(&written).expect("our own").blocks().count(), BLOCKS_MAX);
    }

    #[test]
    fn hostile_payloads_are_refused() {
        use RedError::{TooMany, Truncated, Unordered};
        let many = [[0xef, 0, 0, 0].repeat(33), vec![111]].concat();
        for (name, bytes, error) in [
            ("nothing", &[][..], Truncated { needed: 1, available: 0 }),
            ("half a header", &[0xef, 0, 0], Truncated { needed: 4, available: 3 }),
            ("no own header", &[0xef, 0, 0, 0], Truncated { needed: 5, available: 4 }),
            ("longer than the packet", &[0xef, 0, 0, 2, 111, 1], Truncated { needed: 7, available: 6 }),
            ("33 blocks", &many, TooMany),
            ("later first", &[0xef, 0, 4, 0, 0xef, 0, 8, 0, 111], Unordered(2)),
        ] {
            assert_eq!(RedView::parse(bytes).err(), Some(error), "{name}");
        }
        assert!(RedView::parse(&[111]).expect("an empty payload").payload().is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_borne(bytes in vec(any::<u8>(), 0..200), heads in vec((0x80_u8.., 0_u8..4, 0_u8..40), 0..6)) {
            let heads: Vec<_> = heads.into_iter().flat_map(|(first, high, low)| [first, 0, high, low]).collect();
            let bytes = [heads, bytes].concat();
            let Ok(view) = RedView::parse(&bytes) else { return Ok(()) };
            let payloads: usize = view.blocks().map(|block| block.payload.len()).sum();
            prop_assert_eq!(view.blocks().count() * 4 + 1 + payloads + view.payload().len(), bytes.len());
        }
    }
}
