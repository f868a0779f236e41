//! The simulator: Lianmai's cores, its links and its peers in virtual time.
//!
//! A [`world::World`] holds nodes and the links between them and jumps from one wake-up to the next. Nodes are the
//! real cores (the SFU worker, congestion control, loss recovery) or real peers (quinn's CUBIC), links are models
//! that the emulator runs in real time too. A [`scenario`] says who is where, [`run`] plays it with one estimator and
//! one seed, a [`checker`] watches what must hold all along, and [`metrics`] say how good it was. The same scenario,
//! estimator and seed give the same trace hash.
//!
//! Sans-IO as every core: files, threads and clocks belong to the `sim` program.

pub mod baseline;
pub mod checker;
pub mod link;
pub mod media;
pub mod metrics;
pub mod node;
pub mod packet;
pub mod protected;
pub mod recovery;
pub mod report;
pub mod room;
pub mod run;
pub mod scenario;
pub mod sweep;
pub mod timeline;
mod trace;
pub mod world;
