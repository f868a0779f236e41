//! The simulator: Lianmai's cores, its links and its peers in virtual time.

pub mod link;
pub mod node;
pub mod packet;
pub mod world;
