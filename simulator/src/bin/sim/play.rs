//! Plays runs on all processors: each run on one thread, results in the order of the jobs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use proto::time::Instant;
use simulator::report::{Case, Group, SeedRun};
use simulator::run::{RunOptions, RunResult, run};
use simulator::scenario::Scenario;
use simulator::sweep::Seeds;

use crate::clock;
use crate::progress::Progress;

/// A scenario to be played with an estimator and some seeds.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// What it is called.
    pub(crate) case: Case,
    /// The scenario, everything set.
    pub(crate) scenario: Scenario,
    /// With which seeds.
    pub(crate) seeds: Seeds,
    /// Whether the run with the first seed is to be plotted.
    pub(crate) record: bool,
}

/// What jobs gave.
#[derive(Debug)]
pub(crate) struct Played {
    /// For each job that could be played, in the jobs' order.
    pub(crate) groups: Vec<Group>,
    /// How many runs broke a rule.
    pub(crate) broken: usize,
}

/// What one run gave.
enum Outcome {
    Over(Box<RunResult>),
    /// The scenario has no place for the estimator, or there is no such estimator.
    Refused(String),
    /// The code under test gave up.
    Panicked,
}

/// Runs of a job that are over, until all are.
struct Collected {
    outcomes: Vec<Vec<Option<Outcome>>>,
    /// How many jobs have been handed on.
    handed_on: usize,
    groups: Vec<Group>,
    broken: usize,
    refused: Vec<String>,
    progress: Progress,
    error: Option<anyhow::Error>,
}

/// The options of a run that decides nothing by clocks.
pub(crate) fn options(case: &Case, seed: u64, record: bool) -> RunOptions {
    RunOptions {
        scene: case.scene,
        estimator: case.estimator.clone(),
        seed,
        record,
        epoch: clock::epoch(),
        stopwatch: Some(clock::stopwatch),
    }
}

/// Plays all jobs; `done` gets each group as soon as it and all before it are over.
pub(crate) fn play(jobs: &[Job], done: impl FnMut(&Group) -> Result<()> + Send) -> Result<Played> {
    let runs: Vec<(usize, usize, u64)> = jobs
        .iter()
        .enumerate()
        .flat_map(|(job, of)| of.seeds.iter().enumerate().map(move |(place, seed)| (job, place, seed)))
        .collect();
    let simulated = runs.iter().map(|(job, ..)| jobs[*job].scenario.duration).sum();
    let collected = Mutex::new((
        Collected {
            outcomes: jobs.iter().map(|job| (0..job.seeds.count()).map(|_| None).collect()).collect(),
            handed_on: 0,
            groups: Vec::new(),
            broken: 0,
            refused: Vec::new(),
            progress: Progress::new(runs.len(), simulated),
            error: None,
        },
        done,
    ));
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(runs.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(job, place, seed)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play_one(&jobs[job], seed, place == 0);
                    let mut locked = collected.lock().expect("panics of runs are caught");
                    let (collected, done) = &mut *locked;
                    collected.take(jobs, (job, place), outcome, done);
                    if collected.error.is_some() {
                        next.store(runs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (collected, _) = collected.into_inner().expect("as before");
    collected.finish()
}

fn play_one(job: &Job, seed: u64, is_first: bool) -> Outcome {
    let options = options(&job.case, seed, job.record && is_first);
    match catch_unwind(AssertUnwindSafe(|| run(&job.scenario, &options))) {
        Ok(Ok(result)) => Outcome::Over(Box::new(result)),
        Ok(Err(error)) => Outcome::Refused(error.to_string()),
        Err(_) => Outcome::Panicked,
    }
}

impl Collected {
    fn take(
        &mut self,
        jobs: &[Job],
        (job, place): (usize, usize),
        outcome: Outcome,
        done: &mut impl FnMut(&Group) -> Result<()>,
    ) {
        self.outcomes[job][place] = Some(outcome);
        self.progress.advance(jobs[job].scenario.duration);
        while let Some(outcomes) = self.outcomes.get_mut(self.handed_on) {
            if outcomes.iter().any(Option::is_none) {
                break;
            }
            let outcomes = std::mem::take(outcomes);
            let job = &jobs[self.handed_on];
            self.handed_on += 1;
            let Some(group) = self.group(job, outcomes.into_iter().flatten()) else { continue };
            if let Err(error) = self.progress.aside(|| done(&group)) {
                self.error.get_or_insert(error);
            }
            self.groups.push(group);
        }
    }

    /// The group of a job's outcomes; what went wrong is told. `None` if the job could not be played at all.
    fn group(&mut self, job: &Job, outcomes: impl Iterator<Item = Outcome>) -> Option<Group> {
        let mut runs = Vec::new();
        let mut refused = None;
        for (seed, outcome) in job.seeds.iter().zip(outcomes) {
            let again = job.case.replay(seed);
            match outcome {
                Outcome::Over(result) => {
                    if !result.violations.is_empty() {
                        self.broken += 1;
                        self.progress.aside(|| tell_violations(&result, &again));
                    }
                    runs.push(SeedRun::new(seed, *result));
                }
                Outcome::Refused(reason) => refused = Some(reason),
                Outcome::Panicked => {
                    self.broken += 1;
                    self.progress.aside(|| eprintln!("PANIC in {again}\n  again: sim replay \"{again}\""));
                }
            }
        }
        if let Some(reason) = refused {
            self.refused.push(reason);
            return None;
        }
        Some(Group { case: job.case.clone(), seeds: job.seeds, runs })
    }

    fn finish(self) -> Result<Played> {
        self.progress.finish();
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.groups.is_empty() {
            bail!(self.refused.into_iter().next().unwrap_or_else(|| "there is nothing to play".to_owned()));
        }
        for reason in &self.refused {
            eprintln!("left out: {reason}");
        }
        Ok(Played { groups: self.groups, broken: self.broken })
    }
}

/// What rules a run broke, and how to see it again.
pub(crate) fn tell_violations(result: &RunResult, again: &str) {
    eprintln!("VIOLATION in {again}");
    for violation in &result.violations {
        eprintln!("  {} at {}: {}", violation.rule, seconds(violation.at), violation.detail);
    }
    eprintln!("  again: sim replay \"{again}\"");
}

/// A moment of a run.
pub(crate) fn seconds(at: Instant) -> String {
    format!("{:.6} s", at.as_nanos() as f64 / 1e9)
}
