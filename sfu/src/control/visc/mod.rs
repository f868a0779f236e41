//! VISC: which tiers each publisher sends, chosen for all subscribers together.
//!
//! In: what everybody sees and what every path and device carries, a [`Problem`]. Out: a [`Plan`]: the tiers that each
//! source is to send, the one that each subscriber is to get, and by how much, at most, a better plan could be better. Time:
//! `now`, for steadiness alone; no timer, the caller plans when something has changed. Limit: [`problem`]'s maxima.
//!
//! The parts, each with its own description: [`ladder`] (tiers), [`problem`] (what is given), [`utility`] (what a picture is
//! worth), `steady` (estimates that waver), `instance` (who can be served), `subsets` (sets of tiers), `fit` (a subscriber's
//! share), `solve` (prices and the bound), `certify` (a tighter one), [`plan`] (what comes of it).

pub mod ladder;
pub mod plan;
pub mod problem;
pub mod utility;

mod certify;
mod fit;
mod instance;
mod solve;
mod steady;
mod subsets;

pub use ladder::{Ladder, LadderError, PixelRate, Tier};
pub use plan::{Demand, Plan, Planner, Rules, Served};
pub use problem::{Problem, ProblemError};

#[cfg(test)]
mod tests;
