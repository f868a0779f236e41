//! Sweeps: which runs there are to make, and what their numbers say together.
//!
//! A [`Plan`] (TOML) or a command line names scenarios, values to [`set`](Set) in them, estimators and
//! [`Seeds`]; every combination is a run. [`METRICS`] says how the runs of all seeds become one row: the mean of each
//! metric and its worst value. Pure: who has threads and files (the `sim` program) plays them.

mod metric;
mod names;
mod plan;
mod seeds;
mod set;

pub(crate) use metric::IN_TABLES;
pub use metric::{Better, METRICS, Metric, Summary};
pub use names::nearest;
pub use plan::{Ask, Plan};
pub use seeds::{Seeds, SeedsError};
pub use set::{Set, SetError};
