//! What a run looked like over time, for plots.

use serde::Serialize;

/// Over what the series are averaged, in milliseconds.
pub const SPAN_MS: u64 = 100;

/// A run's series. All have one value for each [`SPAN_MS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// What the bottleneck could carry, Mbit/s.
    pub capacity: Vec<f64>,
    /// The greatest queue delay at the bottleneck, ms.
    pub queue_ms: Vec<f64>,
    /// Packets that others (TCP, constant-rate) got through, Mbit/s.
    pub others: Vec<f64>,
    /// Own flows.
    pub flows: Vec<FlowTimeline>,
}

/// One flow's series.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FlowTimeline {
    /// Its name.
    pub name: String,
    /// What its estimator allowed, Mbit/s.
    pub target: Vec<f64>,
    /// What it sent, Mbit/s.
    pub sent: Vec<f64>,
    /// What arrived, Mbit/s.
    pub received: Vec<f64>,
    /// Packets lost by the loss model.
    pub lost_random: Vec<u32>,
    /// Packets lost to full or managed queues.
    pub lost_overflow: Vec<u32>,
    /// Packets lost to policers and outages.
    pub lost_policer: Vec<u32>,
    /// The estimator's phases: from which second on which.
    pub states: Vec<(f64, &'static str)>,
    /// Why they changed, where the estimator says so.
    pub transitions: Vec<Transition>,
    /// What kind of path the estimator took it for: from which second on which (see [`proto::path_class`]).
    pub classes: Vec<(f64, &'static str)>,
    /// Complete pictures: when (s), and how long after they were taken (ms).
    pub frames: Vec<(f64, f64)>,
    /// Freezes: from, to (s).
    pub freezes: Vec<(f64, f64)>,
}

/// A change of an estimator's phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Transition {
    /// When, s.
    pub at: f64,
    /// The phase that ended.
    pub from: &'static str,
    /// The phase that began.
    pub to: &'static str,
    /// Why.
    pub reason: &'static str,
}
