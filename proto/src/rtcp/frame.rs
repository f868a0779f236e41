//! Where one RTCP packet of a compound ends and the next begins (RFC 3550 §6.1, §A.2).
//!
//! In: a datagram. Out: [`Frame`]s. Time: none. Limit: a frame lies within the datagram, its padding is cut off.

use super::RtcpError;

/// The length of every packet's header, in bytes.
pub(super) const HEADER_LEN: usize = 4;

/// One packet of a compound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// The packet type (RFC 3550 §12.1).
    pub(super) kind: u8,
    /// The low five bits of the first byte: how many reports or sources, or which feedback format.
    pub(super) count: u8,
    /// Header and body without padding.
    packet: &'a [u8],
    /// Whether padding was cut off, so that the header's length and padding bit no longer fit.
    was_padded: bool,
}

impl<'a> Frame<'a> {
    /// The first packet of these bytes, which begin `at` bytes into the datagram, and the bytes behind it.
    pub(super) fn split(bytes: &'a [u8], at: usize) -> Result<(Self, &'a [u8]), RtcpError> {
        let truncated = |needed| RtcpError::Truncated { at, needed, available: bytes.len() };
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(truncated(HEADER_LEN))?;
        let version = header[0] >> 6;
        if version != 2 {
            return Err(RtcpError::Version { at, version });
        }
        let length = HEADER_LEN + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (packet, rest) = bytes.split_at_checked(length).ok_or(truncated(length))?;
        let was_padded = header[0] & 0x20 != 0;
        let mut frame = Self { kind: header[1], count: header[0] & 0x1f, packet, was_padded };
        if was_padded {
            let available = length - HEADER_LEN;
            let count = if available == 0 { 0 } else { packet[length - 1] };
            if count == 0 || usize::from(count) > available {
                return Err(RtcpError::Padding { at, count, available });
            }
            frame.packet = &packet[..length - usize::from(count)];
        }
        Ok((frame, rest))
    }

    /// What comes after the header.
    pub(super) fn body(&self) -> &'a [u8] {
        &self.packet[HEADER_LEN..]
    }

    /// Calls `read` with a whole packet that has no padding: rtc-rtcp takes padding for contents.
    pub(super) fn with_packet<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        if !self.was_padded {
            return read(self.packet);
        }
        let mut packet = self.packet.to_vec();
        packet.resize(packet.len().next_multiple_of(4), 0); // padding need not be whole words: rtc-rtcp's is not
        packet[0] &= !0x20;
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        read(&packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_its_length_says() {
        let bytes = [0x81, 201, 0, 1, 1, 2, 3, 4, 99];
        let (frame, rest) = Frame::split(&bytes, 0).expect("a whole packet");
        assert_eq!((frame.kind, frame.count, frame.body(), rest), (201, 1, &[1, 2, 3, 4][..], &[99][..]));
        frame.with_packet(|packet| assert_eq!(packet, &bytes[..8]));
    }

    #[test]
    fn padding_is_cut_off_and_the_header_mended() {
        for (name, bytes, body, whole) in [
            (
                "a word",
                &[0xa1, 205, 0, 2, 1, 2, 3, 4, 0, 0, 0, 4][..],
                &[1, 2, 3, 4][..],
                &[0x81, 205, 0, 1, 1, 2, 3, 4][..],
            ),
            ("less than a word", &[0xa1, 205, 0, 1, 1, 2, 0, 2], &[1, 2], &[0x81, 205, 0, 1, 1, 2, 0, 0]),
            ("all of it", &[0xa1, 205, 0, 1, 1, 2, 3, 4], &[], &[0x81, 205, 0, 0]),
        ] {
            let (frame, rest) = Frame::split(bytes, 0).expect(name);
            assert_eq!((frame.body(), rest), (body, &[][..]), "{name}");
            frame.with_packet(|packet| assert_eq!(packet, whole, "{name}"));
        }
    }

    #[test]
    fn frames_that_lie_are_refused() {
        use RtcpError::{Padding, Truncated, Version};
        for (name, bytes, error) in [
            ("nothing", &[][..], Truncated { at: 8, needed: 4, available: 0 }),
            ("half a header", &[0x80, 200, 0], Truncated { at: 8, needed: 4, available: 3 }),
            ("a byte short", &[0x80, 200, 0, 1, 1, 2, 3], Truncated { at: 8, needed: 8, available: 7 }),
            ("the longest lie", &[0x80, 200, 255, 255], Truncated { at: 8, needed: 262_144, available: 4 }),
            ("version 1", &[0x40, 200, 0, 0], Version { at: 8, version: 1 }),
            ("padding without a body", &[0xa0, 200, 0, 0], Padding { at: 8, count: 0, available: 0 }),
            ("padding of 0", &[0xa0, 200, 0, 1, 1, 1, 1, 0], Padding { at: 8, count: 0, available: 4 }),
            (
                "padding into the header",
                &[0xa0, 200, 0, 1, 1, 1, 1, 5],
                Padding { at: 8, count: 5, available: 4 },
            ),
        ] {
            assert_eq!(Frame::split(bytes, 8).err(), Some(error), "{name}");
        }
    }
}
