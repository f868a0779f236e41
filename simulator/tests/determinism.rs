//! Every scenario of the catalog runs twice: the same seed gives the same trace, and no checker finds anything.

use simulator::run::{RunOptions, RunResult, run};
use simulator::scenario::{Scenario, catalog, grids};

/// Estimators take turns, so that each of them meets many scenarios.
const ESTIMATORS: [&str; 5] = ["bbr", "gcc", "nada", "oracle", "hybrid"];

/// How much of the grids is run: every so manieth cell.
const GRID_STEP: usize = 97;

fn play(scenario: &Scenario, estimator: &str, seed: u64) -> RunResult {
    let options = RunOptions {
        estimator: estimator.to_owned(),
        scene: proto::scene::Scene::default(),
        seed,
        record: false,
        epoch: epoch(),
        stopwatch: None,
    };
    run(scenario, &options).expect("the estimators are in every build")
}

#[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
fn epoch() -> std::time::Instant {
    std::time::Instant::now()
}

fn repeat(number: usize, scenario: &Scenario) -> Vec<String> {
    let estimator = ESTIMATORS[number % ESTIMATORS.len()];
    let seed = number as u64 + 1;
    let (first, second) = (play(scenario, estimator, seed), play(scenario, estimator, seed));
    let mut faults: Vec<String> = first
        .violations
        .iter()
        .map(|violation| format!("{:?} {}: {}", violation.at, violation.rule, violation.detail))
        .collect();
    if first.trace_hash != second.trace_hash {
        faults.push(format!("hashes {:x} and {:x}", first.trace_hash, second.trace_hash));
    }
    let name = &scenario.name;
    faults.into_iter().map(|fault| format!("sim replay {name}/{estimator}/{seed}: {fault}")).collect()
}

/// Runs scenarios on all cores and tells every fault at once.
fn repeat_all(scenarios: &[Scenario]) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut faults = Vec::new();
        loop {
            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(scenario) = scenarios.get(number) else { return faults };
            faults.extend(repeat(number, scenario));
        }
    };
    let faults: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_scenario_repeats_itself_and_breaks_no_rule() {
    repeat_all(&catalog());
}

#[test]
fn cells_of_the_grids_repeat_themselves_and_break_no_rule() {
    repeat_all(&grids().step_by(GRID_STEP).collect::<Vec<_>>());
}

#[test]
fn another_seed_gives_another_trace() {
    let scenario = simulator::scenario::find("fixed-4m").unwrap();
    assert_ne!(play(&scenario, "bbr", 1).trace_hash, play(&scenario, "bbr", 2).trace_hash);
}
