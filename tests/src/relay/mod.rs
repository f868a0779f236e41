//! Relays between a browser and the server: networks that lose, delay and break, as a test asks them to.

mod tcp;
mod udp;

pub use tcp::TcpRelay;
pub use udp::{Direction, Link, UdpRelay};
