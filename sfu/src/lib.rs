//! Lianmai's SFU core: rooms, pipelines and connections, told the time and the bytes, without clock, socket or thread.
//!
//! The four layers of the transport framework are its four folders. They do not know each other: they exchange values,
//! and [`worker`] joins them.

pub mod adapter;
pub mod control;
pub mod network;
pub mod transport;
pub mod worker;
