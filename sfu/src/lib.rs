//! Lianmai's SFU core, told the time and the bytes, without clock, socket or thread.

pub mod network;
pub mod transport;
