//! How good a run was, in numbers: the definitions of design and references, one field each.

pub(crate) mod capacity;
pub(crate) mod layers;
pub(crate) mod meter;
mod rates;
mod stalls;

use serde::Serialize;

/// A run's numbers. Shares are 0 to 1; `None` where a number has no meaning for the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Metrics {
    /// Own bytes that bottlenecks delivered after the warm-up, as a share of what they could carry for media, second by
    /// second and never more than that.
    pub util: Option<f64>,
    /// The share of delivered own bytes that is media, neither padding nor repair.
    pub media_share: Option<f64>,
    /// Queue delay at the bottleneck, median over own packets, ms.
    pub q50_ms: Option<f64>,
    /// Its 95th percentile.
    pub q95_ms: Option<f64>,
    /// Its 99th percentile.
    pub q99_ms: Option<f64>,
    /// Own packets lost, as a share of those sent.
    pub loss: Option<f64>,
    /// The part of it that the loss model chose.
    pub loss_random: Option<f64>,
    /// The part of it that found the queue full or was dropped by its management.
    pub loss_overflow: Option<f64>,
    /// The part of it that exceeded a policer.
    pub loss_policer: Option<f64>,
    /// Pictures with at least one lost packet, as a share of pictures made, before repair.
    pub frames_hit: Option<f64>,
    /// From a picture's taking to its completion, 95th percentile, ms.
    pub frame_p95_ms: Option<f64>,
    /// Pictures that were not complete by the scenario's deadline, or never if it has none, as a share of pictures made.
    pub frames_missed: Option<f64>,
    /// Seconds a minute in gaps of more than 200 ms between complete pictures, after repair.
    pub stall_s_per_min: Option<f64>,
    /// The same, of pictures that needed no repair.
    pub stall_before_repair_s_per_min: Option<f64>,
    /// Jain's fairness index of own flows over spans of 1 s, mean.
    pub jain_1s: Option<f64>,
    /// The same over 5 s.
    pub jain: Option<f64>,
    /// The same over 20 s.
    pub jain_20s: Option<f64>,
    /// Own flows' share of the bottleneck's capacity while TCP was there.
    pub own_share: Option<f64>,
    /// TCP's share of the bottleneck's capacity while it was there.
    pub tcp_share: Option<f64>,
    /// From a flow's start until its rate over 1 s first reaches 80 % of its share, s, mean over flows.
    pub converge_s: Option<f64>,
    /// From a rise of what media may have (a link's rate, others' constant traffic, the source's own cap, TCP that is
    /// over) until 80 % of it arrives or it falls again, s, mean over rises.
    pub recover_s: Option<f64>,
    /// From the end of the last long TCP transfer until 80 % of what media may then have arrives, s.
    pub after_tcp_s: Option<f64>,
    /// The greatest rate over 200 ms sent, over the capacity of that time.
    pub overshoot: Option<f64>,
    /// Mean of |change| of the target between spans of 500 ms, over the mean target.
    pub oscillation: Option<f64>,
    /// Padding as a share of own bytes sent.
    pub padding_share: Option<f64>,
    /// Repair as a share of own bytes sent.
    pub redundancy_share: Option<f64>,
    /// Padding as a share of all bytes sent to viewers who have the layer that their picture is shown in.
    pub padding_satisfied_share: Option<f64>,
    /// Layer switches a minute a receiver.
    pub switches_per_min: Option<f64>,
    /// The share of the time in which a viewer gets the best layer that the capacity allows (`metrics/layers.rs` defines it).
    pub right_tier_share: Option<f64>,
    /// Seconds a minute a viewer's picture stood still after packets to the viewer had found a queue full or exceeded a
    /// policer: what sending too much has cost.
    pub own_freeze_s_per_min: Option<f64>,
    /// What the estimator costs, ns of CPU for each packet sent.
    pub cpu_ns_per_packet: Option<f64>,
}
