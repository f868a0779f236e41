//! `FlexFEC` repair payloads as browsers speak them, `video/flexfec-03` (draft-ietf-payload-flexible-fec-scheme-03 §4.2.2).
//!
//! In: a repair packet's payload; the fields of one. Out: [`FlexFecView`]; bytes. Time: none. Limit: one protected
//! stream and [`PLACES`] sequence numbers a packet, which is what libwebrtc reads. RFC 8627 is another format.
//!
//! A repair packet is the XOR of the packets that its mask names: of their first two bytes, of their length without
//! the fixed header, of their timestamps, and of everything behind the fixed header. The version's two bits say what
//! kind of repair packet this is (both 0), the sequence number is known from the mask.

use super::{SeqNo, Ssrc};

/// How many sequence numbers a mask can name: 15 in the first word, 31 in the second, 63 in the third.
pub const PLACES: u16 = 109;

/// The longest header in bytes: with all three words of the mask.
pub const HEADER_MAX: usize = 32;

/// The shortest header in bytes: with the mask's first word alone.
const HEADER_MIN: usize = 20;

/// The mask's words: where they begin, how long they are in bytes, and which places they name. The first bit of each
/// tells whether it is the last one.
const WORDS: [Word; 3] = [
    Word { at: 18, bytes: 2, first_place: 0 },
    Word { at: 20, bytes: 4, first_place: 15 },
    Word { at: 24, bytes: 8, first_place: 46 },
];

#[derive(Debug, Clone, Copy)]
struct Word {
    at: usize,
    bytes: usize,
    first_place: u32,
}

impl Word {
    /// How many places it names.
    const fn places(self) -> u32 {
        self.bytes as u32 * 8 - 1
    }

    const fn end(self) -> usize {
        self.at + self.bytes
    }
}

/// Which of the sequence numbers from a base on a repair packet protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketMask(u128);

impl PacketMask {
    /// A mask of these places, bit n being the number n places behind the base; `None` if one is beyond [`PLACES`].
    pub const fn from_bits(bits: u128) -> Option<Self> {
        if bits >> PLACES == 0 { Some(Self(bits)) } else { None }
    }

    /// The places as bits, bit n being the number n places behind the base.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Adds a place; `false` if it is beyond [`PLACES`].
    pub fn insert(&mut self, place: u16) -> bool {
        let fits = place < PLACES;
        if fits {
            self.0 |= 1 << place;
        }
        fits
    }

    /// The places, rising.
    pub fn places(self) -> impl Iterator<Item = u16> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let place = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (place < 128).then_some(place as u16)
        })
    }
}

/// Why a payload is not a repair packet that we can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlexFecError {
    /// It is shorter than the header that it states.
    #[error("{available} bytes, the header takes {needed}")]
    Truncated {
        /// The shortest length that the bytes read so far allow.
        needed: usize,
        /// The payload's length.
        available: usize,
    },
    /// It is a retransmission (R = 1), which is what RTX is for.
    #[error("a retransmission")]
    Retransmission,
    /// Its mask is a matrix of fixed shape (F = 1), which browsers do not read either.
    #[error("a fixed mask")]
    FixedMask,
    /// It does not protect one stream.
    #[error("{0} protected streams, not 1")]
    Streams(u8),
    /// The mask's third word is not its last.
    #[error("the mask does not end")]
    UnendedMask,
    /// It protects nothing.
    #[error("an empty mask")]
    EmptyMask,
}

/// The XOR of the header fields of the protected packets, as the first eight bytes of a repair payload have it.
///
/// First the two bytes of flags and payload type, then the length without the fixed header, then the timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderXor([u8; 8]);

impl HeaderXor {
    /// Adds a packet's header, or takes it away again; `None` if the packet is shorter than the fixed header, or so
    /// long that its length cannot be stated.
    pub fn add(&mut self, packet: &[u8]) -> Option<()> {
        let rest = u16::try_from(packet.len().checked_sub(super::FIXED_LEN)?).ok()?.to_be_bytes();
        let field = [packet[0], packet[1], rest[0], rest[1], packet[4], packet[5], packet[6], packet[7]];
        for (sum, byte) in self.0.iter_mut().zip(field) {
            *sum ^= byte;
        }
        Some(())
    }

    /// How long the packet is behind its fixed header, if this is the header of one alone.
    pub const fn rest_len(self) -> usize {
        u16::from_be_bytes([self.0[2], self.0[3]]) as usize
    }

    /// Writes the fixed header of the one packet left: version 2, these fields, that number and stream.
    pub fn restore(self, seq: SeqNo, ssrc: Ssrc, header: &mut [u8; 12]) {
        header[0] = 0x80 | (self.0[0] & 0x3f);
        header[1] = self.0[1];
        header[2..4].copy_from_slice(&seq.0.to_be_bytes());
        header[4..8].copy_from_slice(&self.0[4..]);
        header[8..].copy_from_slice(&ssrc.0.to_be_bytes());
    }
}

/// A repair packet's header, without that of RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlexFecHeader {
    /// The protected packets' header fields, added up.
    pub fields: HeaderXor,
    /// The stream of the protected packets.
    pub protected: Ssrc,
    /// The number that the mask counts from.
    pub base: SeqNo,
    /// Which numbers are protected.
    pub mask: PacketMask,
}

impl FlexFecHeader {
    /// Appends the header with the shortest mask that will do; the XOR of the packets' rests goes right behind it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.fields.0);
        out[start] &= 0x3f;
        out.extend_from_slice(&[1, 0, 0, 0]);
        out.extend_from_slice(&self.protected.0.to_be_bytes());
        out.extend_from_slice(&self.base.0.to_be_bytes());
        for word in WORDS {
            let behind = word.first_place + word.places();
            let is_last = self.mask.0 >> behind == 0;
            let places = (self.mask.0 >> word.first_place) as u64 & ((1 << word.places()) - 1);
            // The word's first place is the bit next to the flag, its last one the lowest.
            let bits = u64::from(is_last) << word.places() | places.reverse_bits() >> (64 - word.places());
            out.extend_from_slice(&bits.to_be_bytes()[8 - word.bytes..]);
            if is_last {
                return;
            }
        }
    }
}

/// A repair packet's payload, read in place.
#[derive(Debug, Clone, Copy)]
pub struct FlexFecView<'a> {
    header: FlexFecHeader,
    body: &'a [u8],
}

impl<'a> FlexFecView<'a> {
    /// A view of a repair packet's payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, FlexFecError> {
        let available = payload.len();
        let truncated = |needed| FlexFecError::Truncated { needed, available };
        let fixed = payload.first_chunk::<HEADER_MIN>().ok_or(truncated(HEADER_MIN))?;
        if fixed[0] & 0x80 != 0 {
            return Err(FlexFecError::Retransmission);
        }
        if fixed[0] & 0x40 != 0 {
            return Err(FlexFecError::FixedMask);
        }
        if fixed[8] != 1 {
            return Err(FlexFecError::Streams(fixed[8]));
        }
        let mut fields = HeaderXor::default();
        fields.0.copy_from_slice(&fixed[..8]);
        let (mask, header_len) = parse_mask(payload)?;
        let header = FlexFecHeader {
            fields,
            protected: Ssrc(u32::from_be_bytes([fixed[12], fixed[13], fixed[14], fixed[15]])),
            base: SeqNo(u16::from_be_bytes([fixed[16], fixed[17]])),
            mask,
        };
        Ok(Self { header, body: &payload[header_len..] })
    }

    /// The header's fields.
    pub const fn header(&self) -> &FlexFecHeader {
        &self.header
    }

    /// The XOR of what the protected packets have behind their fixed headers, shorter ones filled up with zeros.
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// The mask, and where it ends.
fn parse_mask(payload: &[u8]) -> Result<(PacketMask, usize), FlexFecError> {
    let mut mask = 0_u128;
    for word in WORDS {
        let bytes = payload
            .get(word.at..word.end())
            .ok_or(FlexFecError::Truncated { needed: word.end(), available: payload.len() })?;
        let bits = bytes.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        // Shifting the flag out leaves the word's first place as the highest bit, and reversed as the lowest.
        let places = (bits << (64 - word.places())).reverse_bits();
        mask |= u128::from(places) << word.first_place;
        if bits >> word.places() == 1 {
            return if mask == 0 { Err(FlexFecError::EmptyMask) } else { Ok((PacketMask(mask), word.end())) };
        }
    }
    Err(FlexFecError::UnendedMask)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header with these first bytes and this mask, and a body of two bytes.
    fn payload(first: u8, streams: u8, mask: &[u8]) -> Vec<u8> {
        let fixed =
            [first, 0x81, 0xab, 0xcd, 1, 2, 3, 4, streams, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0xaa, 0xbb];
        [&fixed, mask, &[42, 43]].concat()
    }

    fn mask_of(places: &[u16]) -> PacketMask {
        let mut mask = PacketMask::default();
        assert!(places.iter().all(|&place| mask.insert(place)));
        mask
    }

    #[test]
    fn the_mask_takes_as_many_words_as_its_last_place_asks_for() {
        for (name, places, words) in [
            ("the first place", &[0][..], &[0xc0, 0][..]),
            ("the last of the first word", &[0, 14], &[0xc0, 1]),
            ("the first of the second word", &[15], &[0, 0, 0xc0, 0, 0, 0]),
            ("the last of the second word", &[1, 45], &[0x20, 0, 0x80, 0, 0, 1]),
            ("the first of the third word", &[46], &[0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0]),
            ("the last place of all", &[0, 15, 108], &[0x40, 0, 0x40, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            let mut written = Vec::new();
            let view_of = payload(0x3f, 1, words);
            let view = FlexFecView::parse(&view_of).expect(name);
            assert_eq!(view.header().mask, mask_of(places), "{name}");
            assert_eq!(view.header().mask.places().collect::<Vec<_>>(), places, "{name}");
            assert_eq!(view.body(), [42, 43], "{name}");
            view.header().write(&mut written);
            assert_eq!(written, view_of[..view_of.len() - 2], "{name}");
        }
    }

    #[test]
    fn what_browsers_do_not_read_is_refused() {
        use FlexFecError::{EmptyMask, FixedMask, Retransmission, Streams, Truncated, UnendedMask};
        for (name, bytes, error) in [
            ("nothing", vec![], Truncated { needed: 20, available: 0 }),
            ("a byte short", payload(0, 1, &[0x80])[..19].to_vec(), Truncated { needed: 20, available: 19 }),
            ("no second word", payload(0, 1, &[0, 1]), Truncated { needed: 24, available: 22 }),
            ("no third word", payload(0, 1, &[0, 1, 0, 0, 0, 0]), Truncated { needed: 32, available: 26 }),
            ("R", payload(0x80, 1, &[0x80, 1]), Retransmission),
            ("F", payload(0x40, 1, &[0x80, 1]), FixedMask),
            ("no stream", payload(0, 0, &[0x80, 1]), Streams(0)),
            ("two streams", payload(0, 2, &[0x80, 1]), Streams(2)),
            ("no last word", payload(0, 1, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]), UnendedMask),
            ("nothing protected", payload(0, 1, &[0x80, 0]), EmptyMask),
        ] {
            assert_eq!(FlexFecView::parse(&bytes).err(), Some(error), "{name}");
        }
    }

    #[test]
    fn a_packets_header_is_what_is_left_when_the_others_are_taken_away() {
        let lost = [0x92, 0xe1, 0xff, 0xff, 9, 8, 7, 6, 0, 0, 0, 5, 1, 2, 3];
        let other = [0x80, 0x60, 0, 1, 0xff, 0, 1, 2, 0, 0, 0, 5, 1];
        let mut sum = HeaderXor::default();
        for packet in [&lost[..], &other, &other] {
            sum.add(packet).expect("a whole packet");
        }
        assert_eq!(sum.rest_len(), 3);
        let mut header = [0; 12];
        sum.restore(SeqNo(0x0102), Ssrc(5), &mut header);
        assert_eq!(header, [0x92, 0xe1, 1, 2, 9, 8, 7, 6, 0, 0, 0, 5]);
        assert_eq!(sum.add(&lost[..11]), None);
        assert_eq!(sum.add(&vec![0x80; 70_000]), None);
    }

    #[test]
    fn places_beyond_the_mask_are_refused() {
        let mut mask = PacketMask::default();
        assert!(mask.insert(108) && !mask.insert(109));
        assert_eq!(PacketMask::from_bits(1 << 108), Some(mask));
        assert_eq!(PacketMask::from_bits(1 << 109), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bits in 1..1_u128 << PLACES, fields: [u8; 8], protected: u32, base: u16) {
            let mut fields = HeaderXor(fields);
            fields.0[0] &= 0x3f;
            let mask = PacketMask::from_bits(bits).expect("within the places");
            let header = FlexFecHeader { fields, protected: Ssrc(protected), base: SeqNo(base), mask };
            let mut written = Vec::new();
            header.write(&mut written);
            prop_assert!(written.len() <= HEADER_MAX);
            let view = FlexFecView::parse(&written).expect("our own header");
            prop_assert_eq!((*view.header(), view.body().len()), (header, 0));
        }

        #[test]
        fn arbitrary_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(view) = FlexFecView::parse(&bytes) {
                let mut written = Vec::new();
                view.header().write(&mut written);
                prop_assert!(written.len() <= bytes.len() - view.body().len());
            }
        }
    }
}
