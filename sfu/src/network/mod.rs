//! The connection layer: what a datagram is, where it may be answered to, and the keys that open it.
//!
//! Parts that do not know each other: [`demux`] sorts datagrams by their first bytes, [`ice_lite`] decides which paths are
//! proved and which one is used, [`dtls`] agrees on keys, [`cipher`] uses them, [`transmits`] collects what leaves,
//! [`framing`] finds datagrams in a stream of bytes. The worker joins them.

pub mod cipher;
pub mod demux;
pub mod dtls;
pub mod framing;
pub mod ice_lite;
pub mod path;
pub mod stun;
pub mod transmits;
