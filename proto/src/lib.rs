//! Lianmai's vocabulary and wire formats.
//!
//! Everything here is a value or a pure function: no clock, no socket, no randomness of its own. The other crates
//! share these types and nothing else, so two layers can exchange a plan without knowing each other.

pub mod codec;
pub mod feedback;
pub mod ids;
pub mod path_class;
pub mod rtcp;
pub mod rtp;
pub mod scene;
pub mod sdp;
pub mod seed;
pub mod signal;
pub mod signal_page;
pub mod time;
pub mod units;
