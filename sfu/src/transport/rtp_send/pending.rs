//! Packets on their way to a subscriber, before they are written and after.

use cc::PacketClass;
use proto::codec::Codec;
use proto::rtp::{PayloadType, SeqNo};
use proto::units::DataSize;

use super::super::packet::{SourcePacket, StreamId};
use super::super::rewriter::Traced;
use super::super::selector::Admission;
use super::forward_repair::{Covered, Parity};
use super::redundant_audio::Predecessors;

/// How one of the publisher's payload types is called here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PayloadMapping {
    pub(super) source: PayloadType,
    pub(super) out: PayloadType,
    pub(super) rtx: Option<PayloadType>,
}

/// Whether a packet goes to the subscriber.
#[derive(Debug)]
pub enum Admitted {
    /// It does.
    Yes(Pending),
    /// The subscriber does not get it.
    No,
    /// The subscriber did not negotiate its payload type.
    Unmapped,
}

/// A packet on its way to the subscriber that is not written yet.
#[derive(Debug)]
pub struct Pending {
    pub(super) class: PacketClass,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A packet of `stream`, for the first time.
    Media {
        stream: StreamId,
        admission: Admission,
        mapping: PayloadMapping,
        packet: SourcePacket,
        predecessors: Predecessors,
    },
    /// A packet of `stream` that was left out: only its number is skipped.
    LeftOut { stream: StreamId, seq: u64, codec: Codec },
    /// A packet that was sent before, as a retransmission of this payload type.
    Again { traced: Traced, payload_type: PayloadType, packet: SourcePacket },
    /// Repair of packets that may have been lost.
    Parity(Parity),
}

impl Pending {
    /// Repair that nobody asked for.
    pub(super) fn parity(parity: Parity) -> Self {
        Self { class: PacketClass::Repair, what: What::Parity(parity) }
    }

    /// The payload's length; the headers come on top.
    pub fn payload_len(&self) -> usize {
        match &self.what {
            What::Media { packet, predecessors, .. } => packet.payload().len() + predecessors.size,
            What::LeftOut { .. } => 0,
            What::Again { packet, .. } => packet.payload().len(),
            What::Parity(parity) => parity.payload.len(),
        }
    }

    /// What the packets before it that it shall carry make of its length.
    pub fn predecessors(&self) -> DataSize {
        match &self.what {
            What::Media { predecessors, .. } => DataSize::bytes(predecessors.size as u64),
            What::LeftOut { .. } | What::Again { .. } | What::Parity(_) => DataSize::ZERO,
        }
    }

    /// It shall carry none of them after all.
    pub fn forgo_predecessors(&mut self) {
        if let What::Media { predecessors, .. } = &mut self.what {
            *predecessors = Predecessors::default();
        }
    }

    /// What it carries: pictures of the smallest layer are the base of all.
    pub fn class(&self) -> PacketClass {
        self.class
    }

    /// Whether it is a picture's, sent for the first time.
    pub fn is_picture(&self) -> bool {
        matches!(self.class, PacketClass::Base | PacketClass::Video)
    }

    /// Whether the slot shows another stream from this packet on.
    pub fn switches(&self) -> bool {
        matches!(self.what, What::Media { admission: Admission::Switch, .. })
    }

    /// The packet that it is made of, if it is made of one.
    pub fn into_packet(self) -> Option<SourcePacket> {
        match self.what {
            What::Media { packet, .. } | What::Again { packet, .. } => Some(packet),
            What::LeftOut { .. } | What::Parity(_) => None,
        }
    }

    /// The picture that it is a part of, if it is sent for the first time: its stream and the source's timestamp.
    pub fn picture(&self) -> Option<(StreamId, u32)> {
        self.media().map(|(stream, packet)| (stream, packet.timestamp))
    }

    /// The packet of a picture that it sends for the first time, and its stream.
    pub fn media(&self) -> Option<(StreamId, &SourcePacket)> {
        match &self.what {
            What::Media { stream, packet, .. } if self.is_picture() => Some((*stream, packet)),
            What::Media { .. } | What::LeftOut { .. } | What::Again { .. } | What::Parity(_) => None,
        }
    }

    /// The same packet in the class of pictures of the smallest layer, if it is a picture's.
    pub fn as_base(&self) -> Option<Self> {
        let What::Media { stream, admission, mapping, packet, predecessors } = &self.what else {
            return None;
        };
        let (stream, admission, mapping) = (*stream, *admission, *mapping);
        let (packet, predecessors) = (packet.clone(), *predecessors);
        let what = What::Media { stream, admission, mapping, packet, predecessors };
        self.is_picture().then_some(Self { class: PacketClass::Base, what })
    }

    /// Is not sent after all: nothing leans on its picture.
    pub fn leave_out(&mut self) {
        if let What::Media { stream, packet, .. } = &self.what {
            self.what = What::LeftOut { stream: *stream, seq: packet.seq, codec: packet.codec };
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A packet of what the subscriber sees, with this number.
    Media(SeqNo),
    /// The same, and the slot's first from this other stream.
    Switched(SeqNo, StreamId),
    /// A packet that was sent before.
    Again,
    /// Repair that nobody asked for, and what it can repair.
    Parity(Covered),
    /// Nothing: it had no content, or came too late.
    Nothing,
}

/// Numbers for reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Packets sent, without retransmissions.
    pub packets: u32,
    /// Payload bytes sent, without retransmissions.
    pub octets: u32,
}
