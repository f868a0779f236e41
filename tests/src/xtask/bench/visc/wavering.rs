//! Estimates that waver: how often plans change, and what is left of them.
//!
//! In: a room. Out: changes of a stream in a minute, and the utility as a share of what perfect estimates give. Every second
//! each estimate is up to a fifth off, up or down, independently; what is sent by the plan is then shared out by the true rates, as the
//! allocation of each subscriber does.

use anyhow::Result;
use proto::seed::Seed;
use proto::time::Instant;
use sfu::control::visc::{Demand, Planner, Problem, Rules};

use super::instances::share;
use super::knapsack;
use super::room::Room;

/// How long, and how long to settle before.
const SECONDS: u64 = 90;
const SETTLING: u64 = 30;

/// How far estimates are off.
const OFF: f64 = 0.2;

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wavering {
    /// Changes of tier of a stream in a minute.
    pub(super) changes: f64,
    /// Of the utility with perfect estimates.
    pub(super) utility: f64,
}

/// Plays a room.
pub(super) fn play(problem: &Problem, room: &Room, seed: u64) -> Result<Wavering> {
    let mut chance = Seed::from_number(seed).fork("wavering").generator();
    let mut planner = Planner::new(Rules::default());
    let (mut before, mut changes, mut streams, mut utility): (Vec<Demand>, usize, usize, f64) =
        (Vec::new(), 0, 0, 0.0);
    for second in 0..SECONDS {
        let mut estimated = problem.clone();
        let mut off = || 1.0 - OFF + 2.0 * OFF * share(&mut chance);
        for publisher in &mut estimated.publishers {
            publisher.uplink = publisher.uplink.scaled(off());
        }
        for subscriber in &mut estimated.subscribers {
            subscriber.downlink = subscriber.downlink.scaled(off());
        }
        let plan = planner.plan(Instant::from_millis(second * 1_000), &estimated)?;
        if second >= SETTLING {
            let started =
                plan.demands.iter().filter(|demand| !before.iter().any(|other| is_same(other, demand)));
            changes += started.count();
            streams += plan.demands.len();
            utility += room.worth(&knapsack::fit(room, &sent(room, &plan.demands)));
        }
        before.clone_from(&plan.demands);
    }
    let perfect = Planner::new(Rules::BEST).plan(Instant::from_millis(0), problem)?.demands.clone();
    let perfect = room.worth(&knapsack::fit(room, &sent(room, &perfect)));
    let seconds = (SECONDS - SETTLING) as f64;
    Ok(Wavering {
        changes: changes as f64 * 60.0 / (streams as f64).max(1.0),
        utility: if perfect > 0.0 { utility / seconds / perfect } else { 1.0 },
    })
}

fn is_same(one: &Demand, other: &Demand) -> bool {
    (one.source, one.tier) == (other.source, other.tier)
}

fn sent(room: &Room, demands: &[Demand]) -> Vec<Vec<bool>> {
    let is_sent = |key, tier| demands.iter().any(|demand| demand.source == key && demand.tier == tier);
    room.feeds
        .iter()
        .map(|feed| (0..feed.rates.len()).map(|tier| is_sent(feed.key, tier)).collect())
        .collect()
}
