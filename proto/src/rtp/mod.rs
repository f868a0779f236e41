//! RTP's own words (RFC 3550 §5.1), and its packets read and written in place.
//!
//! In: datagrams. Out: views of them, and headers. Time: none. Limit: nothing is copied or allocated on reading.

pub mod dependency;
pub mod extension;
pub mod flexfec;
mod header;
mod mutable;
#[cfg(test)]
mod oracle;
pub mod red;
pub mod rtx;
mod seq;
pub mod symbol;
mod template;
mod view;

pub use header::RtpHeader;
pub use mutable::{MutableExtension, zero_mutable};
pub use seq::SeqUnwrapper;
pub use template::HeaderTemplate;
pub use view::{Extensions, RtpError, RtpView};

/// A synchronization source: the number that names one stream of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

/// What a payload is, as the session description numbers it; 0 to 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(pub u8);

/// A header extension's local identifier (RFC 8285); 1 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionId(pub u8);

/// A sequence number, which wraps at 2^16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// How far this number is ahead of `other`, taking the shorter way round; negative if it is behind.
    pub const fn distance(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }

    /// The number `count` places further on.
    #[must_use]
    pub const fn plus(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

/// The fixed header's length in bytes (RFC 3550 §5.1).
const FIXED_LEN: usize = 12;

/// The profile word of one-byte header extensions (RFC 8285 §4.2).
const PROFILE_ONE_BYTE: u16 = 0xbede;

/// The profile word of two-byte header extensions, whose last four bits are free (RFC 8285 §4.3).
const PROFILE_TWO_BYTE: u16 = 0x1000;
