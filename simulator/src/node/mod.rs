//! What sits at the ends of links: media senders and receivers, the SFU, and traffic that competes.

pub mod client;
pub mod cross;
pub mod receiver;
pub mod sender;
pub mod worker;

use std::time::Duration;

use proto::path_class::PathClass;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::packet::{FlowId, Packet};

/// A participant of a world.
///
/// After each `handle_*`, the world takes all packets and facts and then asks for the next wake-up, which must lie in
/// the future. Time is monotonic.
pub trait Node {
    /// A packet for this node arrived.
    fn handle_packet(&mut self, now: Instant, packet: Packet);

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come, or the world begins.
    fn handle_timeout(&mut self, now: Instant);

    /// The next packet to send.
    fn poll_packet(&mut self, now: Instant) -> Option<Packet>;

    /// The next thing that observers should know.
    fn poll_fact(&mut self) -> Option<Fact> {
        None
    }

    /// When to come back; `None` while there is nothing to wait for.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What a node tells observers beyond the packets that they see: what happened to pictures, and why rates changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A sender's estimator decided.
    Target {
        /// Whose.
        flow: FlowId,
        /// What it allows.
        rate: Bitrate,
        /// The phase that it is in.
        state: &'static str,
    },
    /// A sender's estimator changed its phase.
    Phase {
        /// Whose.
        flow: FlowId,
        /// The phase that ended.
        from: &'static str,
        /// The phase that began.
        to: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A sender's estimator takes its path for another kind than before.
    PathClass {
        /// Whose.
        flow: FlowId,
        /// What it takes it for now.
        class: PathClass,
    },
    /// A sender made a picture.
    FrameSent {
        /// Whose.
        flow: FlowId,
        /// Its number.
        frame: u64,
        /// Its size, all parts with their headers.
        size: DataSize,
        /// Whether it needs no earlier one.
        key: bool,
    },
    /// A receiver has all parts of a picture.
    FrameComplete {
        /// Whose.
        flow: FlowId,
        /// Its number.
        frame: u64,
        /// From when it was taken to now.
        delay: Duration,
        /// Whether a part of it came by repair.
        repaired: bool,
    },
    /// A receiver gave up a picture: its deadline is over and a part is missing.
    FrameLost {
        /// Whose.
        flow: FlowId,
        /// Its number.
        frame: u64,
    },
    /// A receiver showed a picture: it was complete, decodable, and its time had come.
    FrameShown {
        /// Whose.
        flow: FlowId,
        /// Its number.
        frame: u64,
        /// From when it was taken to now.
        delay: Duration,
    },
    /// A receiver's picture stood still for longer than 200 ms, and moves again.
    Froze {
        /// Whose.
        flow: FlowId,
        /// For how long.
        length: Duration,
    },
    /// A receiver gets another layer from now on.
    LayerSwitched {
        /// Whose.
        flow: FlowId,
        /// The picture's height before and now, in pixels.
        from: u32,
        /// See `from`.
        to: u32,
    },
    /// A node saw a rule broken (see [`crate::checker::Violation`]).
    Violated {
        /// Whose.
        flow: FlowId,
        /// The rule's name, kebab-case.
        rule: &'static str,
        /// What happened.
        detail: String,
    },
    /// What a node calculated and how long that took, in nanoseconds by the stopwatch that the run was given.
    Computed {
        /// Whose.
        flow: FlowId,
        /// For how many packets.
        packets: u64,
        /// Nanoseconds.
        nanos: u64,
    },
}

impl Fact {
    /// Whose fact it is.
    pub fn flow(&self) -> FlowId {
        match *self {
            Self::Target { flow, .. }
            | Self::Phase { flow, .. }
            | Self::PathClass { flow, .. }
            | Self::FrameSent { flow, .. }
            | Self::FrameComplete { flow, .. }
            | Self::FrameLost { flow, .. }
            | Self::FrameShown { flow, .. }
            | Self::Froze { flow, .. }
            | Self::LayerSwitched { flow, .. }
            | Self::Violated { flow, .. }
            | Self::Computed { flow, .. } => flow,
        }
    }
}
