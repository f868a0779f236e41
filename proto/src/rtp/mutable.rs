//! Header extensions that are written anew on the way: for forward error correction they count as zeros.
//!
//! In: a packet, the identifiers of such extensions. Out: the packet with their values zeroed, or where those lie.
//! Time: none. Limit: none.
//!
//! A repair packet is made before the pacer stamps the packets that it protects, and those that a receiver holds bear
//! other stamps than the one lost. libwebrtc zeroes on both sides the transport sequence numbers, the transmission
//! offset, the absolute send time, and the video timing from its seventh byte on (`RtpPacket::ZeroMutableExtensions`).
//! Leaving that out restores packets with garbage in these extensions.

use core::ops::Range;

use super::{ExtensionId, RtpView};

/// An extension whose value changes on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MutableExtension {
    /// Its identifier in this session.
    pub id: ExtensionId,
    /// The first byte of its value that changes; 0 for the whole.
    pub from: usize,
}

impl MutableExtension {
    /// An extension all of whose value changes.
    pub const fn whole(id: ExtensionId) -> Self {
        Self { id, from: 0 }
    }

    /// Video timing, where what comes before the pacer stays (webrtc.org, docs/native-code/rtp-hdrext/video-timing).
    pub const fn video_timing(id: ExtensionId) -> Self {
        Self { id, from: 7 }
    }
}

impl MutableExtension {
    /// Where in the packet the bytes lie that change; `None` if it has none. The first one counts if there are several.
    pub fn range(self, view: &RtpView<'_>) -> Option<Range<usize>> {
        let (_, value) = view.extension_ranges().find(|&(id, _)| id == self.id)?;
        let from = value.start + self.from;
        (from < value.end).then_some(from..value.end)
    }
}

/// Zeroes what changes on the way; a packet without a good header is left alone.
pub fn zero_mutable(packet: &mut [u8], extensions: &[MutableExtension]) {
    for extension in extensions {
        let Ok(view) = RtpView::parse_protected(packet) else { return };
        if let Some(range) = extension.range(&view) {
            packet[range].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{PayloadType, RtpHeader, SeqNo, Ssrc};

    fn packet(values: &[(u8, &[u8])]) -> Vec<u8> {
        let header = RtpHeader {
            payload_type: PayloadType(96),
            marker: false,
            seq: SeqNo(1),
            timestamp: 2,
            ssrc: Ssrc(3),
        };
        let values: Vec<_> = values.iter().map(|&(id, value)| (ExtensionId(id), value)).collect();
        let mut packet = Vec::new();
        header.write(&values, &mut packet);
        packet.extend_from_slice(&[0xff; 3]);
        packet
    }

    #[test]
    fn the_values_that_change_are_zeroed_and_nothing_else() {
        let changing =
            [MutableExtension::whole(ExtensionId(3)), MutableExtension::video_timing(ExtensionId(5))];
        let long = [7; 13];
        let short = [7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0];
        for (name, before, after) in [
            ("none there", &[(1, &[9][..])][..], &[(1, &[9][..])][..]),
            ("no extensions", &[], &[]),
            ("a whole one", &[(1, &[9]), (3, &[8, 8]), (4, &[9])], &[(1, &[9]), (3, &[0, 0]), (4, &[9])]),
            ("one from a byte on", &[(3, &[1]), (5, &long)], &[(3, &[0]), (5, &short)]),
            ("one too short to change", &[(5, &[7; 7])], &[(5, &[7; 7])]),
            ("twice the same", &[(3, &[1]), (3, &[2])], &[(3, &[0]), (3, &[2])]),
            ("two-byte form", &[(200, &[1]), (3, &[1, 2, 3])], &[(200, &[1]), (3, &[0, 0, 0])]),
        ] {
            let mut zeroed = packet(before);
            zero_mutable(&mut zeroed, &changing);
            assert_eq!(zeroed, packet(after), "{name}");
        }
        let mut bad = vec![0x90, 1, 2];
        zero_mutable(&mut bad, &changing);
        assert_eq!(bad, [0x90, 1, 2]);
    }
}
