//! Estimators: how much a path carries. One file each, behind one small seam.
//!
//! An estimator is told what left and what became of it, and says how fast media may be made, how fast packets may
//! leave, and what to probe. It never sees the wire format of feedback, a socket or a clock.
//!
//! - [`fixed`]: one rate for ever, the floor of every comparison.
//! - [`bbr`]: `BBRv3` by draft-ietf-ccwg-bbr-06. It models the path by the greatest rate delivered and the least round
//!   trip, and probes for more each few seconds; its window binds. Keeps to the rate through short disturbance; slow
//!   to believe a fall, and small windows make it shy of random loss.
//! - [`nada`]: RFC 8698. One signal of delay, loss and marks, and a rate that settles where the signal equals
//!   priority × 10 ms × greatest rate ÷ rate. Smooth and fair by weight; keeps a queue by design, and a fraction of
//!   the link under random loss.
//! - [`hybrid`]: ours. BBR's model of the path with GCC's early warning and a test of what a loss means.

pub mod bbr;
pub mod fixed;
pub mod hybrid;
#[cfg(test)]
mod model;
pub mod nada;

use core::time::Duration;

use proto::path_class::PathClass;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::packet::{PacketResult, ProbeId, SentPacket};

/// The rates between which an estimator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Never less than this.
    pub min: Bitrate,
    /// What to begin with.
    pub start: Bitrate,
    /// Never more than this.
    pub max: Bitrate,
}

/// What an estimator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// How fast packets of all kinds may be made, headers included: what encoders and repair share.
    pub rate: Bitrate,
    /// How fast the pacer lets packets go.
    pub pacing: Bitrate,
    /// How much time's worth of packets the pacer may let go at once; zero for one packet at a time.
    pub burst: Duration,
    /// The most that may be in flight; `None` if only the rate limits.
    pub window: Option<DataSize>,
    /// The rate up to which packets without use are to fill what media leaves free; zero for none.
    pub padding: Bitrate,
}

/// A run of packets sent faster than the estimate, to learn whether the path carries more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeCluster {
    /// Its number, which [`SentPacket::probe`] repeats.
    pub id: ProbeId,
    /// How fast.
    pub rate: Bitrate,
    /// For how long at least.
    pub duration: Duration,
    /// How many packets at least.
    pub packets: u32,
}

/// What the sender could make use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// Its encoders follow [`Target::rate`] wherever it goes.
    #[default]
    Elastic,
    /// It chooses from steps: tiers, layers.
    Steps {
        /// What it takes as it is now.
        current: Bitrate,
        /// What it would take with the next better step; `None` if it has the best, and nothing need be probed.
        next: Option<Bitrate>,
    },
}

/// A change of phase, for logs and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// The phase that ended, as [`Estimator::state`] names it.
    pub from: &'static str,
    /// The phase that began.
    pub to: &'static str,
    /// Why: a few words from a fixed set.
    pub reason: &'static str,
}

/// The seam between the transport and an algorithm.
///
/// After each `handle_*`, [`poll_probe_abort`](Self::poll_probe_abort) is called once, then
/// [`poll_probe`](Self::poll_probe) until it has no more, and [`target`](Self::target) is read. Time is monotonic.
pub trait Estimator {
    /// A packet left.
    fn handle_sent(&mut self, now: Instant, packet: &SentPacket);

    /// Feedback arrived: results in the order in which the packets were sent, each packet once (a packet reported
    /// lost may come again as received).
    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]);

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    fn handle_timeout(&mut self, now: Instant);

    /// When to come back; `None` while there is nothing to wait for.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Whether the probe that runs and those that wait are called off; it is asked before
    /// [`poll_probe`](Self::poll_probe), whose probes are new ones. Packets of theirs that left keep their marks.
    fn poll_probe_abort(&mut self) -> bool {
        false
    }

    /// The next probe to send.
    fn poll_probe(&mut self) -> Option<ProbeCluster> {
        None
    }

    /// The sender could make use of something else from now on.
    fn set_demand(&mut self, _now: Instant, _demand: Demand) {}

    /// The next change of phase since it was last asked; those that nobody asks for are forgotten.
    fn poll_transition(&mut self) -> Option<Transition> {
        None
    }

    /// Whether pictures are to leave within an interval and to be made smaller or left out where they could not, instead
    /// of waiting in the pacer. It suits whoever paces faster than [`Target::rate`]; one whose pacing takes turns below
    /// it, as BBR's does, takes the source for its limit when what would wait is not made.
    fn bounds_frames(&self) -> bool {
        false
    }

    /// What kind of path this is, as far as the algorithm tells.
    fn path_class(&self) -> PathClass {
        PathClass::Unknown
    }

    /// What is allowed now.
    fn target(&self) -> Target;

    /// The name of the phase that the algorithm is in, for reports; short, lower case, from a fixed set.
    fn state(&self) -> &'static str;
}
