//! Ways to send packets so that lost ones can be computed from those that arrive.
//!
//! One file each: [`flexfec`] is what browsers understand (XOR over sets of packets, chosen by [`masks`]);
//! [`window`] is for receivers of our own (Reed–Solomon blocks, and windows that slide over several frames); [`red`] is
//! for speech, where a packet carries its predecessors.
//!
//! None of them decides how much to send, and none does anything before the first repair packet is wanted.

pub mod flexfec;
pub mod masks;
pub mod red;
mod reed_solomon;
pub mod window;
