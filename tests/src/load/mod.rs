//! The load generator: publishers and subscribers that speak WebRTC for real, many in one thread, and what they measure.
//!
//! In: a [`plan::Plan`]. Out: a [`report::Report`]. Time: [`clock::Clock`], the machine's. Limit: the plan's budgets; it stops
//! by itself. One client is a [`peer::Peer`], which has no socket and no clock, so that the case `core` of `cargo xtask bench
//! forward` drives the very same ones in virtual time.

pub mod bare;
pub mod clock;
pub mod core;
mod endpoint;
mod generator;
mod house;
mod janus;
mod lianmai;
mod meter;
pub mod peer;
pub mod plan;
mod poll;
mod publisher;
pub mod report;
pub mod run;
mod signal;
mod subscriber;
mod tally;
mod transport;
