//! The link emulator: the simulator's links in real time.
//!
//! A [`relay`] carries UDP between clients (browsers, for which it needs no rights) and a server; a [`tun`] carries all
//! of IP between two network namespaces. Each direction is a `simulator::link::Link`, the very type that the simulator
//! runs in virtual time: for the same seed and arrivals it drops the same packets and lets the others leave at the same
//! times, to within the precision of a thread's wake-up. Which link it is says a [`plan`] file.
//!
//! A shell: it has clocks, sockets and threads, and decides nothing. Linux only.

pub mod clock;
pub mod counts;
mod lane;
pub mod plan;
pub mod relay;
pub mod socket;
mod thread;
pub mod tun;
mod wait;

pub use thread::Ended;
