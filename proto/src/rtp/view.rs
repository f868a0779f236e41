//! RTP packets read where they lie (RFC 3550 §5.1, RFC 8285 §4).
//!
//! In: a datagram. Out: [`RtpView`]. Time: none. Limit: nothing is copied; what a packet says of its own lengths is
//! checked against the datagram once, in `parse`.
//!
//! Where the payload begins is always taken from the wire, 12 + 4·CC + 4 + 4·length, and never computed from the
//! extensions found: an identifier of 15 ends the extensions early (RFC 8285 §4.2) but not the block that they are in.

use core::ops::Range;

use super::{ExtensionId, FIXED_LEN, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE, PayloadType, SeqNo, Ssrc};

/// Why a datagram is not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// It is shorter than the header that it states.
    #[error("{available} bytes, the header takes {needed}")]
    Truncated {
        /// The shortest length that the bytes read so far allow.
        needed: usize,
        /// The datagram's length.
        available: usize,
    },
    /// It is not of version 2.
    #[error("version {0}, not 2")]
    Version(u8),
    /// The padding bit is set but the last byte does not count padding that fits.
    #[error("{count} bytes of padding in {available}")]
    Padding {
        /// The padding's length as the last byte states it; 0 if there is no last byte.
        count: u8,
        /// The bytes behind the header.
        available: usize,
    },
}

/// A packet's fields, read in place.
#[derive(Debug, Clone, Copy)]
pub struct RtpView<'a> {
    packet: &'a [u8],
    /// Where the extension block's elements begin; equal to `header_len` if there are none.
    elements_at: usize,
    header_len: usize,
    padding_len: usize,
}

impl<'a> RtpView<'a> {
    /// A view of a packet in the clear.
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let mut view = Self::parse_protected(packet)?;
        if packet[0] & 0x20 != 0 {
            let available = packet.len() - view.header_len;
            let count = if available == 0 { 0 } else { packet[packet.len() - 1] };
            if count == 0 || usize::from(count) > available {
                return Err(RtpError::Padding { count, available });
            }
            view.padding_len = usize::from(count);
        }
        Ok(view)
    }

    /// A view of a packet whose payload is still encrypted (RFC 3711 §3.1): [`payload`](Self::payload) then has the
    /// padding, whose count is encrypted as well, and the authentication tag.
    pub fn parse_protected(packet: &'a [u8]) -> Result<Self, RtpError> {
        let available = packet.len();
        let truncated = |needed| RtpError::Truncated { needed, available };
        if available < FIXED_LEN {
            return Err(truncated(FIXED_LEN));
        }
        let version = packet[0] >> 6;
        if version != 2 {
            return Err(RtpError::Version(version));
        }
        let mut elements_at = FIXED_LEN + 4 * usize::from(packet[0] & 0x0f);
        let mut header_len = elements_at;
        if packet[0] & 0x10 != 0 {
            elements_at += 4;
            let words = packet.get(elements_at - 2..elements_at).ok_or(truncated(elements_at))?;
            header_len = elements_at + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if header_len > available {
            return Err(truncated(header_len));
        }
        Ok(Self { packet, elements_at, header_len, padding_len: 0 })
    }

    /// What the payload is.
    pub fn payload_type(&self) -> PayloadType {
        PayloadType(self.packet[1] & 0x7f)
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.packet[1] & 0x80 != 0
    }

    /// The packet's place in its stream.
    pub fn seq(&self) -> SeqNo {
        SeqNo(u16::from_be_bytes([self.packet[2], self.packet[3]]))
    }

    /// When the payload was captured, in units of the codec's clock.
    pub fn timestamp(&self) -> u32 {
        self.word(4)
    }

    /// The stream.
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(self.word(8))
    }

    /// The sources that a mixer made the payload of.
    pub fn csrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        let view = *self;
        (0..usize::from(self.packet[0] & 0x0f)).map(move |place| Ssrc(view.word(FIXED_LEN + 4 * place)))
    }

    /// The length of everything before the payload, in bytes.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// The payload without padding; empty for packets that are all padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.packet[self.header_len..self.packet.len() - self.padding_len]
    }

    /// The length of the padding in bytes, its count included; 0 without.
    pub fn padding_len(&self) -> usize {
        self.padding_len
    }

    /// The value of a header extension; the first one if there are several of that identifier.
    pub fn extension(&self, id: ExtensionId) -> Option<&'a [u8]> {
        self.extensions().find(|&(found, _)| found == id).map(|(_, value)| value)
    }

    /// The header extensions in order.
    pub fn extensions(&self) -> Extensions<'a> {
        let elements = &self.packet[self.elements_at..self.header_len];
        let form = if elements.is_empty() {
            Form::Unknown
        } else {
            match u16::from_be_bytes([self.packet[self.elements_at - 4], self.packet[self.elements_at - 3]]) {
                PROFILE_ONE_BYTE => Form::OneByte,
                profile if profile & 0xfff0 == PROFILE_TWO_BYTE => Form::TwoByte,
                _ => Form::Unknown,
            }
        };
        Extensions { form, elements }
    }

    /// Where in the packet the header extensions' values lie, in order.
    pub fn extension_ranges(&self) -> impl Iterator<Item = (ExtensionId, Range<usize>)> + use<'a> {
        let header_len = self.header_len;
        let mut extensions = self.extensions();
        core::iter::from_fn(move || {
            let (id, value) = extensions.next()?;
            let end = header_len - extensions.elements.len();
            Some((id, end - value.len()..end))
        })
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = &self.packet[at..at + 4];
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

/// The elements of a packet's extension block, from [`RtpView::extensions`].
///
/// It ends early at an element that RFC 8285 says to stop at, or whose value would leave the block; those before it
/// are good. A block of neither form has no elements.
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    form: Form,
    elements: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
    Unknown,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (ExtensionId, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_element();
        if item.is_none() {
            self.elements = &[];
        }
        item
    }
}

impl<'a> Extensions<'a> {
    fn next_element(&mut self) -> Option<(ExtensionId, &'a [u8])> {
        while let Some((0, rest)) = self.elements.split_first() {
            self.elements = rest; // padding between elements
        }
        let (&first, rest) = self.elements.split_first()?;
        let (id, length, rest) = match self.form {
            // An identifier of 0 with a length, and that of 15, end the block (RFC 8285 §4.2).
            Form::OneByte if matches!(first >> 4, 0 | 15) => return None,
            Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, rest),
            Form::TwoByte => {
                let (&length, rest) = rest.split_first()?;
                (first, usize::from(length), rest)
            }
            Form::Unknown => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.elements = rest;
        Some((ExtensionId(id), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with these first bytes, sequence number 0x0102, timestamp 0x03040506 and SSRC 0x0708090a.
    fn packet(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, second, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn the_fixed_fields_are_read() {
        let bytes = packet(0x80, 0xe0, &[42, 43]);
        let view = RtpView::parse(&bytes).expect("a whole packet");
        assert_eq!(view.payload_type(), PayloadType(96));
        assert!(view.marker());
        assert_eq!(view.seq(), SeqNo(0x0102));
        assert_eq!(view.timestamp(), 0x0304_0506);
        assert_eq!(view.ssrc(), Ssrc(0x0708_090a));
        assert_eq!(view.csrcs().count(), 0);
        assert_eq!((view.header_len(), view.padding_len()), (12, 0));
        assert_eq!(view.payload(), [42, 43]);
        assert_eq!(view.extensions().count(), 0);
        assert!(!RtpView::parse(&packet(0x80, 0x60, &[])).expect("no payload").marker());
    }

    #[test]
    fn contributing_sources_come_before_extensions() {
        let bytes = packet(0x92, 0x60, &[0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 99]);
        let view = RtpView::parse(&bytes).expect("a whole packet");
        assert_eq!(view.csrcs().collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
        assert_eq!(view.extension(ExtensionId(1)), Some(&[7][..]));
        assert_eq!((view.header_len(), view.payload()), (28, &[99][..]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        use RtpError::{Padding, Truncated, Version};
        for (name, bytes, error) in [
            ("nothing", vec![], Truncated { needed: 12, available: 0 }),
            ("a byte short", packet(0x80, 0x60, &[])[..11].to_vec(), Truncated { needed: 12, available: 11 }),
            ("version 0", packet(0x00, 0x60, &[]), Version(0)),
            ("version 3", packet(0xc0, 0x60, &[]), Version(3)),
            ("a source short", packet(0x81, 0x60, &[1, 2, 3]), Truncated { needed: 16, available: 15 }),
            ("extension bit, no block", packet(0x90, 0x60, &[]), Truncated { needed: 16, available: 12 }),
            (
                "half a block head",
                packet(0x90, 0x60, &[0xbe, 0xde, 0]),
                Truncated { needed: 16, available: 15 },
            ),
            (
                "a block word short",
                packet(0x90, 0x60, &[0xbe, 0xde, 0, 1]),
                Truncated { needed: 20, available: 16 },
            ),
            (
                "the longest lie",
                packet(0x9f, 0x60, &[0xff; 64]),
                Truncated { needed: 76 + 4 * 65535, available: 76 },
            ),
            ("padding bit, nothing behind", packet(0xa0, 0x60, &[]), Padding { count: 0, available: 0 }),
            ("padding of 0", packet(0xa0, 0x60, &[1, 0]), Padding { count: 0, available: 2 }),
            ("padding beyond the payload", packet(0xa0, 0x60, &[1, 3]), Padding { count: 3, available: 2 }),
            (
                "padding into the extensions",
                packet(0xb0, 0x60, &[0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 5]),
                Padding { count: 5, available: 1 },
            ),
        ] {
            assert_eq!(RtpView::parse(&bytes).err(), Some(error), "{name}");
        }
    }

    #[test]
    fn padding_is_cut_from_the_payload() {
        for (name, rest, payload, padding_len) in [
            ("one byte", &[42, 1][..], &[42][..], 1),
            ("some", &[42, 0, 0, 3], &[42], 3),
            ("nothing else", &[0, 2], &[], 2),
        ] {
            let bytes = packet(0xa0, 0x60, rest);
            let view = RtpView::parse(&bytes).expect(name);
            assert_eq!((view.payload(), view.padding_len()), (payload, padding_len), "{name}");
        }
    }

    #[test]
    fn encrypted_padding_is_not_believed() {
        let bytes = packet(0xa0, 0x60, &[1, 2, 200]);
        assert!(RtpView::parse(&bytes).is_err());
        let view = RtpView::parse_protected(&bytes).expect("the header is good");
        assert_eq!((view.payload(), view.padding_len()), (&[1, 2, 200][..], 0));
    }

    #[test]
    fn elements_are_read_up_to_the_first_bad_one() {
        for (name, profile, block, elements) in [
            ("empty", 0xbede, &[][..], &[][..]),
            ("two", 0xbede, &[0x10, 7, 0x21, 8, 9, 0, 0, 0], &[(1, &[7][..]), (2, &[8, 9])]),
            ("padding between", 0xbede, &[0, 0x10, 7, 0, 0, 0x20, 8, 0], &[(1, &[7]), (2, &[8])]),
            (
                "sixteen bytes",
                0xbede,
                &[0x1f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0],
                &[(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])],
            ),
            ("identifier 15 stops", 0xbede, &[0x10, 7, 0xf0, 1, 0x20, 8, 0, 0], &[(1, &[7])]),
            ("identifier 0 with a length stops", 0xbede, &[0x10, 7, 0x01, 1, 0x20, 8, 0, 0], &[(1, &[7])]),
            ("a value beyond the block stops", 0xbede, &[0x10, 7, 0x22, 8], &[(1, &[7])]),
            ("two-byte form", 0x1000, &[1, 1, 7, 200, 2, 8, 9, 0], &[(1, &[7]), (200, &[8, 9])]),
            ("two-byte form, other free bits", 0x100f, &[15, 1, 7, 0], &[(15, &[7])]),
            ("two-byte form, empty value", 0x1000, &[1, 0, 2, 0], &[(1, &[]), (2, &[])]),
            ("two-byte form, no length", 0x1000, &[1, 1, 7, 2], &[(1, &[7])]),
            ("two-byte form, beyond the block", 0x1000, &[1, 1, 7, 0, 2, 3, 8, 9], &[(1, &[7])]),
            ("another form", 0x1234, &[0x10, 7, 0, 0], &[]),
        ] {
            let mut rest = [u16::to_be_bytes(profile), u16::to_be_bytes((block.len() / 4) as u16)].concat();
            rest.extend_from_slice(block);
            rest.extend_from_slice(&[99; 20]); // a lying value must not reach into the payload
            let bytes = packet(0x90, 0x60, &rest);
            let view = RtpView::parse(&bytes).expect(name);
            let found: Vec<_> = view.extensions().map(|(id, value)| (id.0, value)).collect();
            assert_eq!(found, elements, "{name}");
            assert_eq!(view.header_len(), 16 + block.len(), "{name}");
            assert_eq!(view.payload(), [99; 20], "{name}");
            let mut ended = view.extensions();
            assert_eq!(ended.by_ref().count(), elements.len());
            assert!(ended.next().is_none(), "{name}: it stays ended");
        }
    }

    /// rtp 0.17.2 panics on this packet: an element of 16 bytes in a block of 4, at the packet's end.
    #[test]
    fn regression_an_element_longer_than_the_packet() {
        let bytes = packet(0x90, 0x60, &[0xbe, 0xde, 0, 1, 0x1f, 0, 0, 0]);
        assert_eq!(bytes.len(), 20);
        let view = RtpView::parse(&bytes).expect("the block itself fits");
        assert_eq!(view.extensions().count(), 0);
        assert_eq!((view.header_len(), view.payload()), (20, &[][..]));
    }

    /// rtc-rtp computes a header of 20 bytes for this packet; on the wire it is 24, and SRTP needs to know.
    #[test]
    fn regression_identifier_15_stops_the_elements_not_the_header() {
        let bytes = packet(0x90, 0x60, &[0xbe, 0xde, 0, 2, 0x10, 7, 0xf0, 0, 0, 0, 0, 0, 42, 43]);
        let view = RtpView::parse(&bytes).expect("a whole packet");
        assert_eq!(view.extension(ExtensionId(1)), Some(&[7][..]));
        assert_eq!(view.extensions().count(), 1);
        assert_eq!((view.header_len(), view.payload()), (24, &[42, 43][..]));
    }

    #[test]
    fn the_first_of_equal_identifiers_counts() {
        let bytes = packet(0x90, 0x60, &[0xbe, 0xde, 0, 1, 0x10, 7, 0x10, 8]);
        let view = RtpView::parse(&bytes).expect("a whole packet");
        assert_eq!(view.extension(ExtensionId(1)), Some(&[7][..]));
        assert_eq!(view.extension(ExtensionId(2)), None);
    }
}
