//! `FlexFEC`-03 repair packets (draft-ietf-payload-flexible-fec-scheme-03): XOR over the sets of packets that masks name.
//!
//! In: RTP packets as they leave, or as they arrive. Out: repair payloads from [`FlexFecEncoder`], restored packets from
//! [`FlexFecDecoder`]. Time: none. Limit: `ROWS_MAX` repair packets a block, which may span 109 sequence numbers.

mod decoder;

use proto::rtp::flexfec::{FlexFecHeader, HeaderXor, PacketMask};
use proto::rtp::{MutableExtension, RtpError, RtpView, SeqNo, Ssrc};

pub use decoder::{DecoderStats, FlexFecDecoder, Refusal};

/// Repair packets a block at most.
pub const ROWS_MAX: usize = 12;

/// The longest packet that is protected, in bytes: what fits an Ethernet frame.
pub const PACKET_MAX: usize = 1500;

/// The fixed RTP header, whose fields a repair packet covers in its own header (RFC 3550 §5.1).
const FIXED_LEN: usize = 12;

/// The repair packets that protect one media packet: bit n for the one of row n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Column(pub u16);

/// Why a packet cannot be protected in this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// It is no RTP packet.
    #[error(transparent)]
    Packet(#[from] RtpError),
    /// It is longer than [`PACKET_MAX`].
    #[error("{0} bytes")]
    TooLong(usize),
    /// It is not within 109 numbers from the block's first packet on.
    #[error("{0} places from the first packet")]
    TooFar(i16),
    /// It is in the block already.
    #[error("{0:?} is in the block already")]
    Twice(SeqNo),
}

/// Adds packets up into a block's repair packets while they pass by.
///
/// [`start`](Self::start) says how many repair packets there will be; each [`add`](Self::add) costs one XOR of the packet for
/// every row of its column; [`poll_repair`](Self::poll_repair) then writes them. Buffers are kept from block to block.
#[derive(Debug)]
pub struct FlexFecEncoder {
    protected: Ssrc,
    mutable: Vec<MutableExtension>,
    base: Option<SeqNo>,
    added: PacketMask,
    rows: Vec<Row>,
    active: usize, // rows of the block
    polled: usize, // rows of it that have been written
}

#[derive(Debug, Clone, Default)]
struct Row {
    mask: PacketMask,
    fields: HeaderXor,
    body: Vec<u8>,
}

/// What a repair packet protects, for whoever wants to know later whether it can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// The number that the mask counts from.
    pub base: SeqNo,
    /// Which packets of the stream are protected.
    pub mask: PacketMask,
}

impl FlexFecEncoder {
    /// An encoder for one stream. `mutable` are the header extensions that are stamped after this, or otherwise differ
    /// from what the receiver will see.
    pub fn new(protected: Ssrc, mutable: &[MutableExtension]) -> Self {
        Self {
            protected,
            mutable: mutable.to_vec(),
            base: None,
            added: PacketMask::default(),
            rows: Vec::new(),
            active: 0,
            polled: 0,
        }
    }

    /// Begins a block of `rows` repair packets, at most [`ROWS_MAX`]; what the last one still had to say is forgotten.
    pub fn start(&mut self, rows: usize) {
        self.active = rows.min(ROWS_MAX);
        self.polled = 0;
        self.base = None;
        self.added = PacketMask::default();
        if self.rows.len() < self.active {
            self.rows.resize_with(self.active, Row::default);
        }
        for row in &mut self.rows[..self.active] {
            row.clear();
        }
    }

    /// A packet of the block, whole and in the clear, and which rows shall protect it; rows that there are not are ignored.
    ///
    /// The oldest packet comes first, the others in any order.
    pub fn add(&mut self, packet: &[u8], column: Column) -> Result<(), AddError> {
        let view = RtpView::parse_protected(packet)?;
        if packet.len() > PACKET_MAX {
            return Err(AddError::TooLong(packet.len()));
        }
        let base = *self.base.get_or_insert(view.seq());
        let distance = view.seq().distance(base);
        let before = self.added;
        let place = u16::try_from(distance).ok().filter(|&place| self.added.insert(place));
        let place = place.ok_or(AddError::TooFar(distance))?;
        if self.added == before {
            return Err(AddError::Twice(view.seq()));
        }
        for (number, row) in self.rows[..self.active].iter_mut().enumerate() {
            if column.0 >> number & 1 == 1 {
                row.add(packet, place);
                for range in self.mutable.iter().filter_map(|extension| extension.range(&view)) {
                    // Added twice, they are not there: as if they had been zeros.
                    xor(&mut row.body[range.start - FIXED_LEN..], &packet[range]);
                }
            }
        }
        Ok(())
    }

    /// Appends the payload of the block's next repair packet and tells what it protects; `None` after the last one.
    ///
    /// Rows that protect nothing are skipped.
    pub fn poll_repair(&mut self, out: &mut Vec<u8>) -> Option<Protection> {
        let base = self.base?;
        while self.polled < self.active {
            let row = &self.rows[self.polled];
            self.polled += 1;
            if row.mask.bits() != 0 {
                FlexFecHeader { fields: row.fields, protected: self.protected, base, mask: row.mask }
                    .write(out);
                out.extend_from_slice(&row.body);
                return Some(Protection { base, mask: row.mask });
            }
        }
        None
    }
}

impl Row {
    fn clear(&mut self) {
        self.mask = PacketMask::default();
        self.fields = HeaderXor::default();
        self.body.clear();
    }

    /// Adds a whole packet that is not longer than [`PACKET_MAX`].
    fn add(&mut self, packet: &[u8], place: u16) {
        let rest = &packet[FIXED_LEN..];
        if self.body.len() < rest.len() {
            self.body.resize(rest.len(), 0);
        }
        xor(&mut self.body, rest);
        self.fields.add(packet);
        self.mask.insert(place);
    }
}

/// Adds `bytes` to the first of `sum`.
fn xor(sum: &mut [u8], bytes: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(bytes) {
        *sum ^= byte;
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
