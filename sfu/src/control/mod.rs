//! Application control: who is in a room, who publishes what, who sees what and how large.
//!
//! This layer decides and says so in values; it knows no packets, no addresses and no text formats.

pub mod allocation;
pub mod demand;
pub mod room;
pub mod seats;
pub mod selection;
pub mod visc;
