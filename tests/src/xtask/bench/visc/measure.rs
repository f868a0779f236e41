//! One instance with all its seeds: every algorithm, the optimum, uplinks, times.
//!
//! In: an instance, seeds, settings. Out: a row for each algorithm.

use anyhow::{Result, anyhow};
use proto::time::Instant;
use rustix::time::{ClockId, clock_gettime};
use sfu::control::visc::{Planner, Problem, Rules};
use simulator::sweep::Seeds;

use super::instances::{self, Name};
use super::optimum;
use super::room::Room;
use super::row::{Algorithm, Row, Run};
use super::settings::Settings;
use super::wavering::{self, Wavering};
use super::{kmr, three_layer};

/// Rounds of the certificate.
const ROUNDS: usize = 200;

/// How often each plan is made, for the time that it takes.
const TIMES: usize = 5;

/// Halvings of the price of uplinks.
const HALVINGS: usize = 14;

/// Prices of uplinks between which is looked, utility a Mbit/s.
const PRICES: (f64, f64) = (1e-4, 30.0);

/// Measures.
pub(super) fn measure(name: Name, seeds: Seeds, settings: &Settings, seconds: u32) -> Result<Vec<Row>> {
    let mut runs = Vec::new();
    for seed in seeds.iter() {
        runs.push(run(name, seed, settings, seconds)?);
    }
    if !name.is_timed_only() {
        let problems: Vec<Problem> =
            seeds.iter().map(|seed| instances::problem(name, seed, settings)).collect();
        let least = least_uplinks(&problems, runs.iter().map(|run| run.three_layer).sum())?;
        runs.iter_mut().zip(least).for_each(|(run, least)| run.uplink[0] = least);
    }
    let algorithms = if name.is_timed_only() { &Algorithm::ALL[..1] } else { &Algorithm::ALL[..] };
    Ok(algorithms.iter().map(|algorithm| Row::new(name, *algorithm, seeds, &runs)).collect())
}

fn run(name: Name, seed: u64, settings: &Settings, seconds: u32) -> Result<Run> {
    let problem = instances::problem(name, seed, settings);
    let room = Room::new(&problem);
    let mut run = Run { plan_ms: timed(&problem)?, ..Run::default() };
    let mut planner = Planner::new(Rules::BEST);
    let plan = planner.plan(START, &problem)?;
    let given = room.check(&problem, plan).map_err(|broken| anyhow!("{} {seed}: {broken}", name.text()))?;
    run.ours = room.worth(&given);
    run.floor[0] = room.floor(&given);
    let before = clock();
    run.gap = planner.certify(ROUNDS).gap;
    run.certify_ms = clock() - before;
    if name.is_timed_only() {
        return Ok(run);
    }
    let before = clock();
    let theirs = kmr::solve(&room);
    run.other_ms[0] = clock() - before;
    room.check_viewers(&theirs.given).map_err(|broken| anyhow!("kmr-style: {broken}"))?;
    (run.kmr, run.floor[1]) = (room.worth(&theirs.given), room.floor(&theirs.given));
    let before = clock();
    let classic = three_layer::solve(&problem, &room);
    run.other_ms[1] = clock() - before;
    (run.three_layer, run.floor[2]) = (classic.utility, classic.floor);
    let best = optimum::solve(&room, seconds)?;
    run.optimum = best.found.max(run.ours);
    run.bound = best.bound.max(run.optimum);
    run.uplink = [0.0, theirs.uplink, classic.uplink]; // ours follows when all rooms are known
    let Wavering { changes, utility } = wavering::play(&problem, &room, seed)?;
    (run.changes, run.wavering) = (changes, utility);
    Ok(run)
}

const START: Instant = Instant::from_millis(0);

/// What planning takes from nothing, in milliseconds of the processor.
fn timed(problem: &Problem) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let mut planner = Planner::new(Rules::BEST);
        let before = clock();
        planner.plan(START, problem)?;
        times.push(clock() - before);
    }
    Ok(times)
}

/// The processor's time of this thread, in milliseconds: whatever else the machine does, it is not counted.
fn clock() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// What our uplinks carry at no less utility than three layers give, room by room, in Mbit/s: one price of a Mbit/s for all
/// rooms, the highest at which all together are worth no less.
fn least_uplinks(problems: &[Problem], utility: f64) -> Result<Vec<f64>> {
    let at = |price: f64| -> Result<(f64, Vec<f64>)> {
        let rules = Rules { uplink_price: price, ..Rules::BEST };
        let (mut total, mut uplinks) = (0.0, Vec::new());
        for problem in problems {
            let mut planner = Planner::new(rules);
            let plan = planner.plan(START, problem)?;
            total += plan.utility;
            uplinks.push(plan.uplink().as_bps() as f64 / 1e6);
        }
        Ok((total, uplinks))
    };
    let (mut low, mut high) = PRICES;
    let (_, mut least) = at(low)?;
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        let (found, uplinks) = at(middle)?;
        if found + 1e-9 >= utility {
            (least, low) = (uplinks, middle);
        } else {
            high = middle;
        }
    }
    Ok(least)
}
