//! What is measured, as rows: for programs, for people, against goals.
//!
//! In: what each seed gave. Out: a JSON object, a line of the table, what a goal misses.

use serde_json::{Value, json};
use simulator::sweep::Seeds;

use super::instances::Name;

/// Who plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Ours.
    Lianmai,
    /// Knapsack, merge, reduction.
    KmrStyle,
    /// Three layers, greedy, dynacast.
    ThreeLayer,
}

impl Algorithm {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Lianmai, Self::KmrStyle, Self::ThreeLayer];

    /// As people write it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Lianmai => "lianmai",
            Self::KmrStyle => "kmr-style",
            Self::ThreeLayer => "three-layer",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Lianmai => 0,
            Self::KmrStyle => 1,
            Self::ThreeLayer => 2,
        }
    }
}

/// What a seed gave: utilities; Mbit/s and floors by algorithm; milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) ours: f64,
    pub(super) kmr: f64,
    pub(super) three_layer: f64,
    /// The best plan that is known, and what none can exceed.
    pub(super) optimum: f64,
    pub(super) bound: f64,
    /// Ours is the least at no less utility than three layers give.
    pub(super) uplink: [f64; 3],
    pub(super) floor: [f64; 3],
    pub(super) gap: f64,
    pub(super) plan_ms: Vec<f64>,
    pub(super) certify_ms: f64,
    pub(super) other_ms: [f64; 2],
    /// A minute and stream, and the utility left, with wavering estimates.
    pub(super) changes: f64,
    pub(super) wavering: f64,
}

impl Run {
    /// The share of `of` that an algorithm reaches; all of nothing.
    pub(super) fn share(&self, algorithm: Algorithm, of: f64) -> f64 {
        let utility = match algorithm {
            Algorithm::Lianmai => self.ours,
            Algorithm::KmrStyle => self.kmr,
            Algorithm::ThreeLayer => self.three_layer,
        };
        if of > 0.0 { utility / of } else { 1.0 }
    }
}

/// One algorithm on one instance.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: Name,
    pub(super) algorithm: Algorithm,
    pub(super) runs: Vec<Run>,
    seeds: Seeds,
    pub(super) utility_mean: f64,
    pub(super) utility_worst: f64,
    /// Against what no plan can exceed.
    proven_mean: f64,
    floor: f64,
    pub(super) gap: f64,
    pub(super) gap_worst: f64,
    pub(super) uplink_ratio: f64,
    pub(super) plan_ms_p99: f64,
    certify_ms: f64,
    changes: f64,
    wavering: f64,
}

/// Above the table.
pub(super) const HEAD: &str = "instance   algorithm    utility  worst  proven  floor  gap (worst)      uplink  p99 ms  changes/min  wavering";

impl Row {
    /// Sums up.
    pub(super) fn new(name: Name, algorithm: Algorithm, seeds: Seeds, runs: &[Run]) -> Self {
        let mean = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / (runs.len() as f64).max(1.0);
        let place = algorithm.place();
        let mut times: Vec<f64> = match algorithm {
            Algorithm::Lianmai => runs.iter().flat_map(|run| run.plan_ms.iter().copied()).collect(),
            Algorithm::KmrStyle | Algorithm::ThreeLayer => {
                runs.iter().map(|run| run.other_ms[place - 1]).collect()
            }
        };
        times.sort_by(f64::total_cmp);
        let last = (times.len() as f64 * 0.99).ceil() as usize;
        let uplink = |place: usize| runs.iter().map(|run| run.uplink[place]).sum::<f64>();
        Self {
            name,
            algorithm,
            runs: runs.to_vec(),
            seeds,
            utility_mean: mean(&|run| run.share(algorithm, run.optimum)),
            utility_worst: runs.iter().map(|run| run.share(algorithm, run.optimum)).fold(1.0, f64::min),
            proven_mean: mean(&|run| run.share(algorithm, run.bound)),
            floor: mean(&|run| run.floor[place]),
            gap: mean(&|run| run.gap),
            gap_worst: runs.iter().map(|run| run.gap).fold(0.0, f64::max),
            uplink_ratio: if uplink(2) > 0.0 { uplink(place) / uplink(2) } else { 1.0 },
            plan_ms_p99: times.get(last.saturating_sub(1)).copied().unwrap_or(0.0),
            certify_ms: mean(&|run| run.certify_ms),
            changes: mean(&|run| run.changes),
            wavering: mean(&|run| run.wavering),
        }
    }

    fn is_ours(&self) -> bool {
        self.algorithm == Algorithm::Lianmai
    }

    /// For programs; what has no meaning is null.
    pub(super) fn json(&self) -> Value {
        let rated = |value: f64| if self.name.is_timed_only() { Value::Null } else { rounded(value) };
        let ours = |value: f64| if self.is_ours() { rounded(value) } else { Value::Null };
        let ours_rated = |value: f64| if self.is_ours() { rated(value) } else { Value::Null };
        json!({
            "instance": self.name.text(),
            "algorithm": self.algorithm.text(),
            "seeds": self.seeds.to_string(),
            "utility_mean": rated(self.utility_mean),
            "utility_worst": rated(self.utility_worst),
            "utility_mean_proven": rated(self.proven_mean),
            "floor": rounded(self.floor),
            "gap": ours(self.gap),
            "gap_worst": ours(self.gap_worst),
            "uplink_ratio": rated(self.uplink_ratio),
            "plan_ms_p99": rounded(self.plan_ms_p99),
            "certify_ms": ours(self.certify_ms),
            "changes_per_minute": ours_rated(self.changes),
            "utility_wavering": ours_rated(self.wavering),
        })
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let Self { utility_mean, utility_worst, proven_mean, floor, plan_ms_p99, .. } = self;
        let names = format!("{:10} {:11}", self.name.text(), self.algorithm.text());
        let gaps =
            if self.is_ours() { format!("{:.4} ({:.4})", self.gap, self.gap_worst) } else { String::new() };
        if self.name.is_timed_only() {
            return format!("{names}  {:31}  {gaps:15}  {:6}  {plan_ms_p99:6.3}", "", "");
        }
        let shares = format!("{utility_mean:.4}  {utility_worst:.3}   {proven_mean:.3}  {floor:.3}");
        let steady = if self.is_ours() {
            format!("  {:11.2}  {:8.3}", self.changes, self.wavering)
        } else {
            String::new()
        };
        format!("{names}  {shares}  {gaps:15}  {:6.3}  {plan_ms_p99:6.3}{steady}", self.uplink_ratio)
    }

    /// The goals that it misses.
    pub(super) fn missed(&self) -> Vec<String> {
        if !self.is_ours() {
            return Vec::new();
        }
        let time = match self.name {
            Name::SixVSix | Name::TwelveByTwelve => 1.0,
            Name::NineGrid
            | Name::FourByForty
            | Name::FourBySix
            | Name::TwoByNine
            | Name::EighteenByHundred => 10.0,
        };
        let mut goals = vec![("plan_ms_p99", self.plan_ms_p99, "at most", time)];
        if !self.name.is_timed_only() {
            goals.extend([
                ("utility_mean", self.utility_mean, "at least", 0.985),
                ("utility_worst", self.utility_worst, "at least", 0.95),
                ("floor", self.floor, "at least", 1.0),
                ("gap", self.gap, "at most", 0.03),
                ("changes_per_minute", self.changes, "at most", 2.0),
                ("utility_wavering", self.wavering, "at least", 0.95),
            ]);
        }
        goals.extend(uplink_goal(self.name).map(|goal| ("uplink_ratio", self.uplink_ratio, "at most", goal)));
        let is_missed = |(_, value, side, goal): &(&str, f64, &str, f64)| {
            if *side == "at most" { value > goal } else { *value < goal - 1e-9 }
        };
        let words = |(what, value, side, goal): (&str, f64, &str, f64)| {
            format!("{} {what} {value:.4}, {side} {goal}", self.name.text())
        };
        goals.into_iter().filter(is_missed).map(words).collect()
    }
}

/// The most that our uplinks may carry, as a share of what three layers need.
pub(super) fn uplink_goal(name: Name) -> Option<f64> {
    match name {
        Name::NineGrid => Some(0.65),
        Name::SixVSix => Some(0.60),
        Name::TwoByNine => Some(0.45),
        Name::FourByForty | Name::FourBySix | Name::TwelveByTwelve | Name::EighteenByHundred => None,
    }
}

fn rounded(value: f64) -> Value {
    json!((value * 1e5).round() / 1e5)
}
