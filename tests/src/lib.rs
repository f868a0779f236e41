//! Lianmai's tests in the real world: Chromium in a room, bad networks, hostile datagrams, fuzzed parsers.
//!
//! Everything here is run by `cargo xtask test`; the claims about browsers are in [`browser`], one function each.

pub mod browser;
pub mod chromium;
pub mod clock;
pub mod fuzz;
pub mod load;
pub mod media;
pub mod relay;
pub mod server;
pub mod sound;
pub mod xtask;
