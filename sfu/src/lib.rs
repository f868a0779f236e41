//! Lianmai's SFU core, told the time and the bytes, without clock, socket or thread.

pub mod adapter;
pub mod control;
pub mod network;
pub mod transport;
