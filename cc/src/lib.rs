//! Congestion control: how fast to send.
//!
//! In: what left ([`SentPacket`]) and what became of it ([`PacketResult`]). Out: a [`Target`] and
//! [`ProbeCluster`]s. The wire format of feedback stops before this crate, so TWCC, RFC 8888 and QUIC
//! acknowledgements feed it alike. Sans-IO: time is an argument, and what chance an estimator takes
//! comes from a seed.

pub mod estimator;
pub mod filter;
pub mod history;
pub mod pacer;
pub mod packet;
pub mod recognizer;

pub use estimator::{Demand, Estimator, ProbeCluster, RateLimits, Target, Transition};
pub use packet::{Ecn, PacketClass, PacketResult, ProbeId, SentPacket};
