//! One run: a scenario, an estimator, a seed; out come metrics, a trace hash and what the checkers found.
//!
//! After the scenario's time the network heals: links lose their faults and the checker demands that pictures arrive
//! again. Metrics leave that out.

mod others;
mod pictured;
mod room;
mod share;
mod stage;
mod tiers;

use std::ops::RangeInclusive;

use proto::scene::Scene;
use proto::time::Instant;

use crate::checker::{Checker, HEALING, Violation};
use crate::link::DropCause;
use crate::metrics::Metrics;
use crate::metrics::meter::Meter;
use crate::report::log::EventLog;
use crate::scenario::{Kind, Scenario};
use crate::timeline::Timeline;
use crate::trace::TraceHash;
use crate::world::{Event, Observer};

/// How to run a scenario.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The estimator's name (see [`crate::baseline::NAMES`]).
    pub estimator: String,
    /// What people do, which the hybrid goes by.
    pub scene: Scene,
    /// The seed: all chance of the run comes from it.
    pub seed: u64,
    /// Whether to keep the timeline for plots.
    pub record: bool,
    /// The standard library's name for the run's beginning, for libraries that want such a one.
    pub epoch: std::time::Instant,
    /// A clock in nanoseconds to tell what estimators cost; it changes no decision.
    pub stopwatch: Option<fn() -> u64>,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// How good it was.
    pub metrics: Metrics,
    /// A hash over everything that happened.
    pub trace_hash: u64,
    /// How many packets were sent.
    pub packets: u64,
    /// What the checkers found; empty if all is well.
    pub violations: Vec<Violation>,
    /// What plots show, if recorded.
    pub timeline: Option<Timeline>,
}

/// Why a run cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// There is no such estimator.
    #[error("no estimator {0:?}; there are {1}")]
    UnknownEstimator(String, String),
    /// The estimator is not in this build.
    #[error("estimator {0} needs the feature `{1}`; `cargo xtask bench cc --peers` builds with it")]
    NotBuilt(String, &'static str),
    /// The scenario has no place for this estimator.
    #[error("scenario {scenario} does not run with estimator {estimator}: {reason}")]
    Unsuitable {
        /// The scenario.
        scenario: String,
        /// The estimator.
        estimator: String,
        /// Why.
        reason: &'static str,
    },
}

/// Everybody who watches a run.
pub(crate) struct Watch {
    hash: TraceHash,
    meter: Meter,
    checker: Checker,
    packets: u64,
    log: Option<EventLog>,
}

impl Observer for Watch {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.packets += u64::from(matches!(event, Event::Sent(_)));
        self.hash.observe(now, event);
        self.meter.observe(now, event);
        self.checker.observe(now, event);
        if let Some(log) = &mut self.log {
            log.observe(now, event);
        }
    }
}

/// Which of three losses a drop counts as: by chance (or an outage), in a queue, by a policer.
pub(crate) fn cause_of(cause: DropCause) -> usize {
    match cause {
        DropCause::Random | DropCause::Outage => 0,
        DropCause::Overflow | DropCause::Early => 1,
        DropCause::Policer => 2,
    }
}

/// Runs a scenario once.
pub fn run(scenario: &Scenario, options: &RunOptions) -> Result<RunResult, RunError> {
    play(scenario, options, None).map(|(result, _)| result)
}

/// Runs a scenario once and writes down every event of some time, a line each.
pub fn run_logged(
    scenario: &Scenario,
    options: &RunOptions,
    times: RangeInclusive<Instant>,
) -> Result<(RunResult, Vec<String>), RunError> {
    play(scenario, options, Some(EventLog::new(times)))
}

fn play(
    scenario: &Scenario,
    options: &RunOptions,
    log: Option<EventLog>,
) -> Result<(RunResult, Vec<String>), RunError> {
    match &scenario.kind {
        Kind::Flows => {}
        Kind::Room(plan) => return room::play(scenario, plan, options, log),
        Kind::Tiers => {
            let plan = crate::room::of_scenario(scenario);
            return room::play(scenario, &plan, options, log);
        }
    }
    let watch = Watch {
        hash: TraceHash::new(),
        meter: Meter::new(scenario, stage::tcp_flows(scenario)),
        checker: Checker::new(scenario, stage::asked(scenario, &options.estimator)),
        packets: 0,
        log,
    };
    let mut world = stage::set(scenario, options, watch)?;
    world.run_until(Instant::ZERO + scenario.duration + HEALING);
    let (now, held) = (world.now(), world.held());
    let mut watch = world.into_observer();
    let metrics = watch.meter.metrics(scenario);
    let log = watch.log.take().map(EventLog::into_lines).unwrap_or_default();
    let result = RunResult {
        metrics,
        trace_hash: watch.hash.value(),
        packets: watch.packets,
        violations: watch.checker.finish(now, held, scenario),
        timeline: options.record.then(|| watch.meter.timeline()),
    };
    Ok((result, log))
}
