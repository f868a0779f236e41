//! Coded symbols on legs to receivers of our own: the four bytes before each packet of a protected stream.
//!
//! In: a datagram's payload. Out: [`Symbol`]; bytes. Time: none. Limit: [`SPAN_MAX`] source packets a repair symbol,
//! [`ROWS_MAX`] repair symbols over the same ones.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            number             |     span      |      row      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//! A source symbol has its own number, a span and a row of 0, and the packet behind. A repair symbol has the number of
//! the first packet that it protects, how many there are from there on, and which of the sums over them it is. Number
//! and span name a block as well as a window over several frames: nothing need be known when its packets leave, not
//! even where it will end, and a sum that was never sent before can follow in any later round.

use super::SeqNo;

/// The header's length in bytes.
pub const HEADER_LEN: usize = 4;

/// Source packets that one repair symbol protects at most.
pub const SPAN_MAX: u8 = 64;

/// Repair symbols over the same packets: rows are 0 to 127.
pub const ROWS_MAX: u8 = 128;

/// Why a payload is not a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SymbolError {
    /// It is shorter than the header, or has nothing behind it.
    #[error("{0} bytes")]
    Truncated(usize),
    /// It protects more than [`SPAN_MAX`] packets.
    #[error("a span of {0}")]
    Span(u8),
    /// It is of a row beyond [`ROWS_MAX`], or a source symbol with a row.
    #[error("a row of {0}")]
    Row(u8),
}

/// Which sum over which packets a repair symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairId {
    /// The first packet that it protects.
    pub first: SeqNo,
    /// How many packets it protects, 1 to [`SPAN_MAX`].
    pub span: u8,
    /// Which sum it is, 0 to 127.
    pub row: u8,
}

/// A symbol, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol<'a> {
    /// A packet as it is.
    Source {
        /// Its number.
        number: SeqNo,
        /// The packet.
        packet: &'a [u8],
    },
    /// A sum of packets.
    Repair {
        /// Which one.
        id: RepairId,
        /// The sum.
        sum: &'a [u8],
    },
}

impl<'a> Symbol<'a> {
    /// Reads a payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, SymbolError> {
        let (&[high, low, span, row], rest) = payload
            .split_first_chunk()
            .filter(|(_, rest)| !rest.is_empty())
            .ok_or(SymbolError::Truncated(payload.len()))?;
        let first = SeqNo(u16::from_be_bytes([high, low]));
        if span > SPAN_MAX {
            return Err(SymbolError::Span(span));
        }
        if row >= ROWS_MAX || (span == 0 && row != 0) {
            return Err(SymbolError::Row(row));
        }
        Ok(match span {
            0 => Self::Source { number: first, packet: rest },
            1.. => Self::Repair { id: RepairId { first, span, row }, sum: rest },
        })
    }

    /// Appends the header of a source symbol; the packet goes right behind it.
    pub fn write_source(number: SeqNo, out: &mut Vec<u8>) {
        out.extend_from_slice(&number.0.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
    }
}

impl RepairId {
    /// Appends the header of a repair symbol; the sum goes right behind it.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.0.to_be_bytes());
        out.extend_from_slice(&[self.span, self.row]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut source = Vec::new();
        Symbol::write_source(SeqNo(0x0102), &mut source);
        assert_eq!(source, [1, 2, 0, 0]);
        source.push(42);
        assert_eq!(Symbol::parse(&source), Ok(Symbol::Source { number: SeqNo(0x0102), packet: &[42] }));
        let id = RepairId { first: SeqNo(0xfffe), span: 64, row: 127 };
        let mut repair = Vec::new();
        id.write(&mut repair);
        assert_eq!(repair, [0xff, 0xfe, 64, 127]);
        repair.extend_from_slice(&[0, 1, 9]);
        assert_eq!(Symbol::parse(&repair), Ok(Symbol::Repair { id, sum: &[0, 1, 9] }));
    }

    #[test]
    fn what_no_sender_of_ours_writes_is_refused() {
        for (name, bytes, error) in [
            ("nothing", &[][..], SymbolError::Truncated(0)),
            ("half a header", &[1, 2, 0], SymbolError::Truncated(3)),
            ("nothing behind it", &[1, 2, 0, 0], SymbolError::Truncated(4)),
            ("too wide", &[1, 2, 65, 0, 1], SymbolError::Span(65)),
            ("too many rows", &[1, 2, 1, 128, 1], SymbolError::Row(128)),
            ("a source's row", &[1, 2, 0, 1, 1], SymbolError::Row(1)),
        ] {
            assert_eq!(Symbol::parse(bytes), Err(error), "{name}");
        }
    }
}
