//! Lianmai's SFU core: rooms, pipelines and connections, told the time and the bytes, without clock, socket or thread.
//!
//! The four layers of the transport framework are its four folders. They do not know each other: they exchange values,
//! and [`worker`] joins them.
//!
//! On the way out, from the wire inward: encrypt, send history and transport-wide number, rewriter, pacer, retransmission,
//! selector. The rewriter comes behind the pacer: what waits is the source packet, whose payload all subscribers share, so
//! that nothing is copied to wait, and what the pacer gives up leaves no hole in the numbers.

pub mod adapter;
pub mod control;
mod fetch;
pub mod network;
pub mod transport;
pub mod worker;
