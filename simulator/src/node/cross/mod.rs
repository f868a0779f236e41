//! Other people's traffic: a constant rate, long transfers by TCP's congestion controls, short web-like transfers.
//!
//! TCP is played by QUIC: real `quinn-proto` connections with its CUBIC or `NewReno`, one node at each end. Loss recovery
//! is RFC 9002's, acknowledgements come with every second packet, and packets are paced in bursts of ten. There is no
//! cipher, no path MTU discovery, no segmentation offload and no ECN; windows are so large that the path is the limit.

pub mod bulk;
pub mod constant;
mod plain;
mod quic;
pub mod web;

pub use quic::Server;

#[cfg(test)]
mod tests;
