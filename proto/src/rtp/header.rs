//! RTP headers as we write them (RFC 3550 §5.1, RFC 8285): never padding, never contributing sources.
//!
//! In: fields and extension values. Out: bytes. Time: none. Limit: `ELEMENTS_MAX`.

use super::{ExtensionId, FIXED_LEN, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE, PayloadType, SeqNo, Ssrc};

/// Extension elements in one header: identifiers are 8 bits and differ.
const ELEMENTS_MAX: usize = 255;

/// What a block of extensions can be padded to, in words: more than any that is sent.
const WORDS_MAX: usize = 64;

/// The longest extension value that fits any form, in bytes (RFC 8285 §4.3).
const VALUE_MAX: usize = 255;

/// The fields of an RTP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// What the payload is; 0 to 127, a higher bit is cut off.
    pub payload_type: PayloadType,
    /// The marker bit: the last packet of a picture, or the first after silence.
    pub marker: bool,
    /// The packet's place in its stream.
    pub seq: SeqNo,
    /// When the payload was captured, in units of the codec's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: Ssrc,
}

impl RtpHeader {
    /// Appends the header with these extensions; the payload goes right behind it.
    ///
    /// The one-byte form is used unless an identifier is above 14 or a value is empty or longer than 16 bytes. What
    /// no form can express is left out: an identifier of 0, a value longer than 255 bytes.
    pub fn write(&self, extensions: &[(ExtensionId, &[u8])], out: &mut Vec<u8>) {
        self.write_padded(extensions, 0, out);
    }

    /// The same, the extensions taking `words_min` words of 32 bits at least if there are any, so that headers of one
    /// stream can be equally long; tells how many they take.
    pub fn write_padded(
        &self,
        extensions: &[(ExtensionId, &[u8])],
        words_min: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        out.reserve(FIXED_LEN);
        out.push(0x80);
        out.push(u8::from(self.marker) << 7 | (self.payload_type.0 & 0x7f));
        out.extend_from_slice(&self.seq.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.0.to_be_bytes());

        let written = || extensions.iter().filter(|(id, value)| is_writable(*id, value)).take(ELEMENTS_MAX);
        if written().next().is_none() {
            return 0;
        }
        out[start] |= 0x10;
        let one_byte = written().all(|(id, value)| id.0 <= 14 && (1..=16).contains(&value.len()));
        let profile = if one_byte { PROFILE_ONE_BYTE } else { PROFILE_TWO_BYTE };
        out.extend_from_slice(&profile.to_be_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let block = out.len();
        for (id, value) in written() {
            if one_byte {
                out.push(id.0 << 4 | (value.len() - 1) as u8);
            } else {
                out.extend_from_slice(&[id.0, value.len() as u8]);
            }
            out.extend_from_slice(value);
        }
        let words = (out.len() - block).div_ceil(4).max(words_min.min(WORDS_MAX));
        out.resize(block + words * 4, 0);
        out[length_at..block].copy_from_slice(&(words as u16).to_be_bytes());
        words
    }
}

fn is_writable(id: ExtensionId, value: &[u8]) -> bool {
    id.0 != 0 && value.len() <= VALUE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RtpHeader = RtpHeader {
        payload_type: PayloadType(96),
        marker: true,
        seq: SeqNo(0x0102),
        timestamp: 0x0304_0506,
        ssrc: Ssrc(0x0708_090a),
    };

    fn written(extensions: &[(ExtensionId, &[u8])]) -> Vec<u8> {
        let mut out = vec![0xff];
        HEADER.write(extensions, &mut out);
        assert_eq!(out[0], 0xff, "it is appended");
        out.split_off(1)
    }

    #[test]
    fn the_fixed_part_is_as_in_the_rfc() {
        assert_eq!(written(&[]), [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let mut out = Vec::new();
        RtpHeader { marker: false, payload_type: PayloadType(0xff), ..HEADER }.write(&[], &mut out);
        assert_eq!(out[1], 0x7f, "a payload type of 8 bits does not set the marker");
    }

    #[test]
    fn the_form_follows_from_identifiers_and_lengths() {
        let long = [7; 256];
        for (name, extensions, block) in [
            ("one byte", &[(1, &[0xaa][..])][..], &[0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0][..]),
            (
                "two elements",
                &[(1, &[0xaa]), (14, &[1, 2])],
                &[0xbe, 0xde, 0, 2, 0x10, 0xaa, 0xe1, 1, 2, 0, 0, 0],
            ),
            ("no padding needed", &[(3, &[1, 2, 3])], &[0xbe, 0xde, 0, 1, 0x32, 1, 2, 3]),
            ("identifier 15", &[(15, &[1])], &[0x10, 0, 0, 1, 15, 1, 1, 0]),
            (
                "one high identifier moves all",
                &[(1, &[1]), (200, &[2])],
                &[0x10, 0, 0, 2, 1, 1, 1, 200, 1, 2, 0, 0],
            ),
            ("an empty value", &[(1, &[])], &[0x10, 0, 0, 1, 1, 0, 0, 0]),
            ("identifier 0 is left out", &[(0, &[9]), (1, &[1])], &[0xbe, 0xde, 0, 1, 0x10, 1, 0, 0]),
            ("too long is left out", &[(1, &long), (2, &[1])], &[0xbe, 0xde, 0, 1, 0x20, 1, 0, 0]),
            ("nothing that can be written", &[(0, &[1]), (1, &long)], &[]),
        ] {
            let extensions: Vec<_> = extensions.iter().map(|&(id, value)| (ExtensionId(id), value)).collect();
            let packet = written(&extensions);
            assert_eq!(packet[0] & 0x10 != 0, !block.is_empty(), "{name}: the extension bit");
            assert_eq!(packet[12..], *block, "{name}");
        }
    }

    #[test]
    fn headers_can_be_equally_long_whatever_they_carry() {
        for (name, extensions, least, words) in [
            ("nothing to pad", &[][..], 3, 0),
            ("shorter", &[(1, &[7][..])], 3, 3),
            ("long enough", &[(1, &[7; 16][..])], 3, 5),
            ("more than is sensible", &[(1, &[7][..])], 9_000, WORDS_MAX),
        ] {
            let extensions: Vec<_> = extensions.iter().map(|&(id, value)| (ExtensionId(id), value)).collect();
            let mut out = Vec::new();
            assert_eq!(HEADER.write_padded(&extensions, least, &mut out), words, "{name}");
            let block = if words > 0 { 4 + 4 * words } else { 0 };
            assert_eq!(out.len(), FIXED_LEN + block, "{name}");
            let read = crate::rtp::RtpView::parse(&out).expect("a whole packet");
            assert_eq!(read.extensions().count(), extensions.len(), "{name}: padding is no element");
        }
    }

    #[test]
    fn the_form_changes_at_16_bytes() {
        let value = [5; 17];
        assert_eq!(written(&[(ExtensionId(1), &value[..16])])[12..17], [0xbe, 0xde, 0, 5, 0x1f]);
        assert_eq!(written(&[(ExtensionId(1), &value)])[12..18], [0x10, 0, 0, 5, 1, 17]);
    }
}
