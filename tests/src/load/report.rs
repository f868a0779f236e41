//! What a generator measured.

use serde::{Deserialize, Serialize};

use super::meter::Usage;
use super::tally::Counts;

/// All windows of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How the packets of each party were protected: the SRTP profile of its last client.
    pub profiles: Vec<String>,
    /// What each window brought.
    pub windows: Vec<Measured>,
}

/// A window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its length in seconds.
    pub seconds: f64,
    /// Packets that publishers sent.
    pub published: u64,
    /// Datagrams that came from the server, or from the bare loop.
    pub datagrams: u64,
    /// Their bytes, IP and UDP headers not counted.
    pub bytes: u64,
    /// Packets of pictures, among these.
    pub counts: Counts,
    /// How long packets were under way, in ms: the half, 95 and 99 of 100 were not longer.
    pub p50_ms: f64,
    /// See above.
    pub p95_ms: f64,
    /// See above.
    pub p99_ms: f64,
    /// The same as a histogram: upper bounds in ms, growing by a quarter of their octave, and how many packets there are below.
    pub delays: Vec<(f64, u64)>,
    /// What the server took; of the bare loop its thread's time is `media_ns`.
    pub usage: Usage,
    /// The share of its core that the generator took, 0 to 1.
    pub generator: f64,
    /// Datagrams in a run, by the server's own metrics since the party came or by the bare loop's plan; 0 where it has none.
    pub run: f64,
}

impl Measured {
    /// Processor time for each datagram that came, in nanoseconds.
    pub fn per_datagram(&self) -> f64 {
        self.usage.media_ns as f64 / self.datagrams.max(1) as f64
    }

    /// The share of packets lost, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.counts.lost as f64 / (self.counts.lost + self.counts.received).max(1) as f64
    }
}
