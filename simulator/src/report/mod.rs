//! What people and programs read about runs: rows, tables, comparisons and pages.
//!
//! In: [`Group`]s, each a scenario with an estimator played with some seeds. Out: [`Row`]s (one JSON object each),
//! text tables, verdicts of one estimator against another, and one page of HTML that stands alone. Pure: no files.

pub mod bars;
pub mod compare;
pub mod goals;
pub mod log;
pub mod markdown;
#[cfg(feature = "cli")]
pub mod page;
#[cfg(feature = "cli")]
mod plot;
pub mod row;
pub mod table;

#[cfg(test)]
pub(crate) mod made_up;

pub use row::Row;

use proto::scene::Scene;

use crate::metrics::Metrics;
use crate::run::RunResult;
use crate::sweep::Seeds;
use crate::timeline::Timeline;

/// What a scene begins with among what was set, where a run's name has one.
pub const SCENE_KEY: &str = "scene=";

/// What was played with each seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The scenario's name.
    pub scenario: String,
    /// The estimator's name.
    pub estimator: String,
    /// The scene that estimators go by, if they do.
    pub scene: Scene,
    /// What was set by hand, as `key=value,…`; empty for nothing.
    pub set: String,
}

impl Case {
    /// The scenario with its scene, unless that is the default, and with what was set in it, as tables and headings name
    /// it.
    pub fn title(&self) -> String {
        let scene = (self.scene != Scene::default()).then(|| format!(" ({})", self.scene));
        let set = (!self.set.is_empty()).then(|| format!(" {}", self.set));
        [Some(self.scenario.clone()), scene, set].into_iter().flatten().collect()
    }

    /// What `sim replay` takes to play a seed of it again.
    pub fn replay(&self, seed: u64) -> String {
        let scene = (self.scene != Scene::default()).then(|| format!("{SCENE_KEY}{}", self.scene));
        let set = (!self.set.is_empty()).then(|| self.set.clone());
        let values: Vec<String> = scene.into_iter().chain(set).collect();
        let slash = if values.is_empty() { "" } else { "/" };
        format!("{}/{}/{seed}{slash}{}", self.scenario, self.estimator, values.join(","))
    }
}

/// A run of a case.
#[derive(Debug, Clone)]
pub struct SeedRun {
    /// With which seed.
    pub seed: u64,
    /// How good it was.
    pub metrics: Metrics,
    /// A hash over everything that happened.
    pub trace_hash: u64,
    /// How many packets were sent.
    pub packets: u64,
    /// How many rules it broke.
    pub violations: usize,
    /// What plots show, if recorded.
    pub timeline: Option<Timeline>,
}

impl SeedRun {
    /// What reports keep of a run.
    pub fn new(seed: u64, result: RunResult) -> Self {
        let RunResult { metrics, trace_hash, packets, violations, timeline } = result;
        Self { seed, metrics, trace_hash, packets, violations: violations.len(), timeline }
    }
}

/// A case with its runs.
#[derive(Debug, Clone)]
pub struct Group {
    /// What was played.
    pub case: Case,
    /// The seeds that were asked for.
    pub seeds: Seeds,
    /// The runs that ended, by seed.
    pub runs: Vec<SeedRun>,
}
