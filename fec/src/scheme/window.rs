//! Repair for receivers of our own: Reed–Solomon blocks, and windows that slide over several frames (as in RFC 8681).
//!
//! In: packets, or symbols as they arrive. Out: repair symbols from [`WindowEncoder`], restored packets from
//! [`WindowDecoder`]. Time: none. Limit: `HORIZON` packets are kept on either side, `EQUATIONS_MAX` sums wait at a time.
//!
//! Both are the same code: a repair symbol is a sum over any run of at most 64 packets. Over one block, any k symbols
//! of it restore all k packets; a sum over the last few frames helps with whichever of them a burst hit. Where windows
//! overlap, the sums are of different rows, so that as good as always each counts.

mod decoder;

use proto::rtp::SeqNo;
use proto::rtp::symbol::{ROWS_MAX, RepairId, SPAN_MAX};

use super::reed_solomon::{Sum, factor};

pub use super::reed_solomon::PACKET_MAX;
pub use decoder::{Refusal, WindowDecoder, WindowStats};

/// Packets that are kept: 0.3 s at 8 Mbit/s, beyond which a deadline has passed. A power of two for the ring.
const HORIZON: u16 = 256;

/// Why there is no such repair symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The packet is longer than [`PACKET_MAX`], or empty.
    #[error("{0} bytes")]
    Size(usize),
    /// The span is none, or wider than [`SPAN_MAX`].
    #[error("a span of {0}")]
    Span(u8),
    /// Some of the packets have not been added yet, or are not kept any more.
    #[error("{first:?} and {span} packets from there are not all there")]
    NotThere {
        /// The first packet asked for.
        first: SeqNo,
        /// How many.
        span: u8,
    },
}

/// Numbers a stream's packets and makes sums of them.
#[derive(Debug)]
pub struct WindowEncoder {
    packets: Vec<Vec<u8>>, // by number modulo `HORIZON`
    added: u64,            // packets so far; the next one's number is the lower half
    row: u8,               // of the next sum
    sum: Sum,
}

impl Default for WindowEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl WindowEncoder {
    /// An encoder that begins with packet 0.
    pub fn new() -> Self {
        Self { packets: Vec::new(), added: 0, row: 0, sum: Sum::default() }
    }

    /// Keeps the stream's next packet and tells its number, with which it goes out as a source symbol.
    pub fn add(&mut self, packet: &[u8]) -> Result<SeqNo, EncodeError> {
        if packet.is_empty() || packet.len() > PACKET_MAX {
            return Err(EncodeError::Size(packet.len()));
        }
        let number = SeqNo(self.added as u16);
        if self.packets.len() < usize::from(HORIZON) {
            self.packets.push(packet.to_vec());
        } else {
            let kept = &mut self.packets[slot(self.added)];
            kept.clear();
            kept.extend_from_slice(packet);
        }
        self.added += 1;
        Ok(number)
    }

    /// Appends a repair symbol over `span` packets from `first` on, another one each time.
    ///
    /// It costs one multiplication of every packet. Rows take turns, so that any 128 symbols in a row differ.
    pub fn write_repair(
        &mut self,
        first: SeqNo,
        span: u8,
        out: &mut Vec<u8>,
    ) -> Result<RepairId, EncodeError> {
        if !(1..=SPAN_MAX).contains(&span) {
            return Err(EncodeError::Span(span));
        }
        let not_there = EncodeError::NotThere { first, span };
        let back = SeqNo(self.added as u16).distance(first);
        let back = u64::try_from(back).ok().filter(|&back| back >= u64::from(span)).ok_or(not_there)?;
        let begin = self.added.checked_sub(back).filter(|_| back <= u64::from(HORIZON)).ok_or(not_there)?;
        let end = begin + u64::from(span);
        let id = RepairId { first, span, row: self.row };
        self.row = (self.row + 1) % ROWS_MAX;
        self.sum.clear();
        for number in begin..end {
            self.sum.add_packet(factor(id.row, SeqNo(number as u16)), &self.packets[slot(number)]);
        }
        id.write(out);
        out.extend_from_slice(self.sum.bytes());
        Ok(id)
    }
}

/// Where a packet is kept.
const fn slot(number: u64) -> usize {
    (number % HORIZON as u64) as usize
}

#[cfg(test)]
mod tests;
