//! Repair packets as the simulated senders make them.

use std::sync::Arc;

use cc::PacketClass;
use proto::units::DataSize;

use crate::packet::{Code, FramePart, MediaPacket, Parity};

/// What a repair packet has more than the longest packet that it protects: its own header takes the place of that one's, and
/// `FlexFEC`'s comes with it, for masks of up to 15, 46 and 109 packets.
const HEADERS: [(u64, u64); 3] = [(15, 28), (46, 32), (u64::MAX, 40)];

/// The repair packet with this number over packets with their sizes, the oldest first.
pub(super) fn packet(
    seq: u64,
    covered: impl Iterator<Item = (u64, FramePart, DataSize)>,
    code: Code,
) -> (MediaPacket, DataSize) {
    let (mut longest, mut parts) = (DataSize::ZERO, Vec::new());
    for (number, part, size) in covered {
        longest = longest.max(size);
        parts.push((number, part));
    }
    let span = parts.first().zip(parts.last()).map_or(0, |(first, last)| last.0 - first.0 + 1);
    let header = HEADERS.iter().find(|(most, _)| span <= *most).map_or(0, |(_, bytes)| *bytes);
    let parity = Some(Arc::new(Parity { covered: parts, code }));
    let packet = MediaPacket { transport_seq: 0, seq, class: PacketClass::Repair, part: None, parity };
    (packet, longest + DataSize::bytes(header))
}
