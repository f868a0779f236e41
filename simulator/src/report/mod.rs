//! What people and programs read about runs: rows, tables, comparisons and pages.
//!
//! In: [`Group`]s, each a scenario with an estimator played with some seeds. Out: [`Row`]s (one JSON object each),
//! text tables, verdicts of one estimator against another, and one page of HTML that stands alone. Pure: no files.

pub mod compare;
pub mod log;
#[cfg(feature = "cli")]
pub mod page;
#[cfg(feature = "cli")]
mod plot;
pub mod row;
pub mod table;

#[cfg(test)]
pub(crate) mod made_up;

pub use row::Row;

use crate::metrics::Metrics;
use crate::run::RunResult;
use crate::sweep::Seeds;
use crate::timeline::Timeline;

/// What was played with each seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The scenario's name.
    pub scenario: String,
    /// The estimator's name.
    pub estimator: String,
    /// The scene that tunes the estimator, if one was named.
    pub scene: Option<String>,
    /// What was set by hand, as `key=value,…`; empty for nothing.
    pub set: String,
}

impl Case {
    /// The scenario with what was set in it, as tables and headings name it.
    pub fn title(&self) -> String {
        if self.set.is_empty() { self.scenario.clone() } else { format!("{} {}", self.scenario, self.set) }
    }

    /// What `sim replay` takes to play a seed of it again.
    pub fn replay(&self, seed: u64) -> String {
        let set = if self.set.is_empty() { String::new() } else { format!("/{}", self.set) };
        format!("{}/{}/{seed}{set}", self.scenario, self.estimator)
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
