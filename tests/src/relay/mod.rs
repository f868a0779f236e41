//! Relays between a browser and the server: networks that lose, delay and break, as a test asks them to.
//!
//! Media goes through the link emulator, the WebSocket through a TCP relay that can be cut.

mod tcp;

use std::net::SocketAddr;

use anyhow::Result;
pub use emulator::relay::Relay;
use emulator::relay::RelayConfig;
use proto::seed::Seed;
pub use simulator::link::LinkPlan;
pub use tcp::TcpRelay;

/// A UDP relay to `target` at a port of its own, over the same kind of link each way.
pub fn symmetric(target: SocketAddr, link: &LinkPlan, seed: &Seed) -> Result<Relay> {
    between(target, link, link, seed)
}

/// A UDP relay to `target` at a port of its own, over these links to it and back.
pub fn between(target: SocketAddr, up: &LinkPlan, down: &LinkPlan, seed: &Seed) -> Result<Relay> {
    let (up, down, seed) = (up.clone(), down.clone(), seed.clone());
    Ok(Relay::start(RelayConfig { up, down, seed, ..RelayConfig::new(target) })?)
}
