//! `ForwardRepair`: repair packets by XOR over one slot's pictures (FlexFEC-03), as many as the plan wants.
//!
//! In: packets as they leave, how many repair packets a picture gets. Out: [`Parity`]s to be sent behind it. Time: none.
//! Limit: the packets of the last [`FRAMES_MAX`] pictures, [`KEPT_MAX`] at most; a larger picture goes without.

use std::collections::VecDeque;

use fec::plan::MEDIA_MAX;
use fec::scheme::flexfec::FlexFecEncoder;
use fec::scheme::masks::{Loss, Mask};
use proto::rtp::flexfec::PacketMask;
use proto::rtp::{ExtensionId, MutableExtension, PayloadType, RtpHeader, SeqNo, SeqUnwrapper, Ssrc};
use proto::seed::Chance;

use super::plaintext::Plaintext;

/// Numbers within a picture that a mask can name (draft-ietf-payload-flexible-fec-scheme-03 §4.2.2.1).
const SPAN_MAX: usize = 109;

/// Pictures that share repair at most.
const FRAMES_MAX: u64 = 6;

/// Packets that are kept at most: six blocks, more than any key frame has that fits into a second.
const KEPT_MAX: usize = 6 * MEDIA_MAX;

/// What a repair packet can repair, by numbers of the stream that do not wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// The first number that the mask names.
    pub(super) first: u64,
    /// Which of those from there on.
    pub(super) mask: PacketMask,
}

/// A repair packet to be sent.
#[derive(Debug)]
pub(super) struct Parity {
    pub(super) payload: Vec<u8>,
    timestamp: u32,
    covered: Covered,
}

/// How the picture that is complete is to be protected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Its number.
    pub(super) frame: u64,
    /// How many pictures, with this one, share the repair packets.
    pub(super) frames: usize,
    /// Into how many blocks it is divided.
    pub(super) blocks: usize,
    /// How many repair packets each block gets.
    pub(super) parities: usize,
    /// What losses are like.
    pub(super) losses: Loss,
    /// The RTP timestamp of the picture.
    pub(super) timestamp: u32,
}

/// A packet that is still kept, whole as it left.
#[derive(Debug)]
struct Kept {
    frame: u64,
    bytes: Vec<u8>,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct ForwardRepair {
    payload_type: PayloadType,
    ssrc: Ssrc,
    next: SeqNo,
    encoder: FlexFecEncoder,
    kept: VecDeque<Kept>,
    spare: Vec<Vec<u8>>,
    ready: VecDeque<Parity>,
}

impl ForwardRepair {
    /// Repair of the stream `media`, with repair packets of this payload type; `transport` is the header extension whose
    /// value says how a packet went and is not repaired.
    pub(super) fn new(
        media: Ssrc,
        payload_type: PayloadType,
        transport: Option<ExtensionId>,
        chance: &mut Chance,
    ) -> Self {
        let mutable: Vec<MutableExtension> = transport.into_iter().map(MutableExtension::whole).collect();
        Self {
            payload_type,
            ssrc: Ssrc(chance.number()),
            next: SeqNo(chance.number() as u16 & 0x7fff),
            encoder: FlexFecEncoder::new(media, &mutable),
            kept: VecDeque::new(),
            spare: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// The stream of repair packets.
    pub(super) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The payload type as a new offer has it.
    pub(super) fn set_payload_type(&mut self, payload_type: PayloadType) {
        self.payload_type = payload_type;
    }

    /// A packet of a picture leaves as `written`, whole and in the clear.
    pub(super) fn note_media(&mut self, frame: u64, written: &[u8]) {
        if self.kept.len() == KEPT_MAX {
            self.spare.extend(self.kept.pop_front().map(|kept| kept.bytes));
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(written);
        self.kept.push_back(Kept { frame, bytes });
    }

    /// A picture is complete: repair packets for it, and for those before it that share them.
    pub(super) fn protect(&mut self, order: &Order, numbers: &mut SeqUnwrapper) {
        if order.parities > 0 {
            let first = (order.frame + 1).saturating_sub(order.frames as u64);
            let own = self.kept.partition_point(|kept| kept.frame < first);
            let shared = self.kept.len().saturating_sub(MEDIA_MAX);
            self.encode(if order.frames > 1 { own.max(shared) } else { own }, order, numbers);
        }
        self.forget((order.frame + 2).saturating_sub(FRAMES_MAX));
    }

    /// The next repair packet to be sent.
    pub(super) fn poll_parity(&mut self) -> Option<Parity> {
        self.ready.pop_front()
    }

    /// Writes a repair packet to `out`, which must be empty, with the transport-wide number that it leaves with.
    pub(super) fn write(
        &mut self,
        parity: &Parity,
        transport: Option<(ExtensionId, SeqNo)>,
        out: &mut Plaintext,
    ) -> Covered {
        let seq = self.next;
        self.next = seq.plus(1);
        let Parity { payload, timestamp, covered } = parity;
        let header = RtpHeader {
            payload_type: self.payload_type,
            marker: false,
            seq,
            timestamp: *timestamp,
            ssrc: self.ssrc,
        };
        let number = transport.map(|(id, number)| (id, number.0.to_be_bytes()));
        let number = number.as_ref().map(|(id, number)| (*id, number.as_slice()));
        out.put_header(|out| header.write(number.as_slice(), out));
        out.put_payload(|out| out.extend_from_slice(payload));
        *covered
    }

    /// Forgets packets of pictures before this one.
    pub(super) fn forget(&mut self, frame: u64) {
        let old = self.kept.partition_point(|kept| kept.frame < frame);
        self.spare.extend(self.kept.drain(..old).map(|kept| kept.bytes));
        self.spare.truncate(2 * MEDIA_MAX);
    }

    /// Repair of what is kept from some place on.
    fn encode(&mut self, from: usize, order: &Order, numbers: &mut SeqUnwrapper) {
        let (packets, blocks) = (self.kept.len() - from, order.blocks.max(1));
        for block in 0..blocks {
            // Neighbors are in different blocks, unless a mask cannot reach so far.
            let places: Vec<usize> = if packets <= SPAN_MAX {
                (from + block..from + packets).step_by(blocks).collect()
            } else {
                let size = packets.div_ceil(blocks);
                (from + block * size..(from + (block + 1) * size).min(from + packets)).collect()
            };
            let Some(mask) = Mask::of(order.losses, places.len(), order.parities) else { continue };
            self.encoder.start(order.parities);
            for (place, column) in places.into_iter().zip(mask.columns()) {
                // A packet that does not fit goes without: others are repaired nevertheless.
                let _unprotected = self.encoder.add(&self.kept[place].bytes, column).is_err();
            }
            let mut payload = Vec::new();
            while let Some(protection) = self.encoder.poll_repair(&mut payload) {
                let covered = Covered { first: numbers.unwrap(protection.base), mask: protection.mask };
                let payload = core::mem::take(&mut payload);
                self.ready.push_back(Parity { payload, timestamp: order.timestamp, covered });
            }
        }
    }
}
