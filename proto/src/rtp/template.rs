//! RTP headers that are written again and again with other values: laid out once, then copied and filled in.
//!
//! In: which extensions there are and how long; then fields and values. Out: bytes. Time: none. Limit: [`LENGTH_MAX`] bytes
//! and [`VALUES_MAX`] extensions.

use core::ops::Range;

use super::{ExtensionId, FIXED_LEN, RtpHeader, RtpView};
use super::{PayloadType, SeqNo, Ssrc};

/// The longest header that can be laid out, in bytes.
const LENGTH_MAX: usize = 64;

/// The most extensions.
const VALUES_MAX: usize = 5;

/// See the module's description.
#[derive(Debug, Clone)]
pub struct HeaderTemplate {
    bytes: [u8; LENGTH_MAX],
    length: u8,
    /// How many words the extensions take.
    words: u8,
    values: [Range<u8>; VALUES_MAX],
}

impl HeaderTemplate {
    /// The layout with these extensions, given by the lengths of their values; they take `words_min` words at least if there
    /// are any. `None` if there are too many or they are too long.
    pub fn new(extensions: &[(ExtensionId, usize)], words_min: usize) -> Option<Self> {
        if extensions.len() > VALUES_MAX {
            return None;
        }
        let zeros = [0; LENGTH_MAX];
        let mut values: [(ExtensionId, &[u8]); VALUES_MAX] = [(ExtensionId(0), &[]); VALUES_MAX];
        for (value, (id, length)) in values.iter_mut().zip(extensions) {
            *value = (*id, zeros.get(..*length)?);
        }
        let header = RtpHeader {
            payload_type: PayloadType(0),
            marker: false,
            seq: SeqNo(0),
            timestamp: 0,
            ssrc: Ssrc(0),
        };
        let mut out = Vec::new();
        let words = header.write_padded(&values[..extensions.len()], words_min, &mut out);
        let mut bytes = [0; LENGTH_MAX];
        bytes.get_mut(..out.len())?.copy_from_slice(&out);
        let view = RtpView::parse(&out).ok()?;
        let mut ranges = [const { 0..0 }; VALUES_MAX];
        for (range, (id, _)) in ranges.iter_mut().zip(extensions) {
            let (_, found) = view.extension_ranges().find(|(found, _)| found == id)?;
            *range = found.start as u8..found.end as u8; // below LENGTH_MAX
        }
        Some(Self { bytes, length: out.len() as u8, words: words as u8, values: ranges }) // both below LENGTH_MAX
    }

    /// How many words the extensions take.
    pub fn words(&self) -> usize {
        usize::from(self.words)
    }

    /// Appends the header; `values` are in the order in which the extensions were given, of the lengths that were given, and
    /// what has another length is left as zeros.
    pub fn write<'a>(&self, header: &RtpHeader, values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
        let mut bytes = self.bytes;
        bytes[1] = u8::from(header.marker) << 7 | (header.payload_type.0 & 0x7f);
        bytes[2..4].copy_from_slice(&header.seq.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
        bytes[8..FIXED_LEN].copy_from_slice(&header.ssrc.0.to_be_bytes());
        for (range, value) in self.values.iter().zip(values) {
            let place = &mut bytes[usize::from(range.start)..usize::from(range.end)];
            if place.len() == value.len() {
                place.copy_from_slice(value);
            }
        }
        out.extend_from_slice(&bytes[..usize::from(self.length)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_writes_what_a_header_writes(
            extensions in prop::collection::btree_map(1_u8..20, prop::collection::vec(any::<u8>(), 1..8), 0..5),
            fields in any::<(u8, bool, u16, u32, u32)>(), words in 0_usize..12,
        ) {
            let (payload_type, marker, seq, timestamp, ssrc) = fields;
            let header = RtpHeader {
                payload_type: PayloadType(payload_type), marker, seq: SeqNo(seq), timestamp, ssrc: Ssrc(ssrc),
            };
            let values: Vec<_> = extensions.iter().map(|(id, value)| (ExtensionId(*id), value.as_slice())).collect();
            let mut expected = Vec::new();
            let taken = header.write_padded(&values, words, &mut expected);
            let lengths: Vec<_> = values.iter().map(|(id, value)| (*id, value.len())).collect();
            let template = HeaderTemplate::new(&lengths, words).expect("not too long");
            let mut out = vec![0xee];
            template.write(&header, values.iter().map(|(_, value)| *value), &mut out);
            prop_assert_eq!(&out[1..], expected);
            prop_assert_eq!(template.words(), taken);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_laid_out() {
        let id = ExtensionId;
        assert!(HeaderTemplate::new(&[(id(1), 40), (id(2), 40)], 0).is_none(), "too long");
        assert!(HeaderTemplate::new(&[(id(1), 1); VALUES_MAX + 1], 0).is_none(), "too many");
        assert!(HeaderTemplate::new(&[(id(0), 1)], 0).is_none(), "no such identifier");
        assert!(HeaderTemplate::new(&[], 0).is_some());
    }
}
