//! `sim bench`: estimators in scenarios over seeds; `cargo xtask bench cc` is this.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use simulator::sweep::{Seeds, Set};

use crate::ask::{self, Ask};
use crate::output::{Output, Words};
use crate::sweep::PLOTTED_MAX;

/// What `--peers` promises to be there.
const PEER: &str = "googcc";

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Scenarios (see `sim list`); all of the catalog if left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    scenario: Vec<String>,
    /// Estimators; all of this build if left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    estimator: Vec<String>,
    /// What estimators are tuned for: game, chorus, pk, chat, watch
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
    /// The seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..10")]
    seeds: Seeds,
    /// The recorded link of the scenario `trace`: mahimahi's format, or lines of seconds and Mbit/s
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Sets values in the scenarios, such as rate=2500k,owd=40ms,queue=15ms
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", hide_default_value = true)]
    set: Set,
    /// Demands that other people's estimators are in this build
    #[arg(long)]
    peers: bool,
    #[command(flatten)]
    output: Output,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.peers {
        ask::check_estimator(PEER)?;
    }
    if let Some(scene) = &options.scene {
        ask::check_scene(scene)?;
    }
    options.estimator.iter().try_for_each(|name| ask::check_estimator(name))?;
    let or =
        |named: &[String], all: fn() -> Vec<String>| if named.is_empty() { all() } else { named.to_vec() };
    let all_scenarios = || if options.trace.is_some() { vec!["trace".to_owned()] } else { ask::suitable() };
    let ask = Ask {
        scenarios: if options.scenario.is_empty() { all_scenarios() } else { options.scenario.clone() },
        estimators: or(&options.estimator, ask::built),
        scene: options.scene.clone(),
        trace: options.trace.clone(),
        sets: vec![options.set.clone()],
    };
    ensure!(
        options.trace.is_none() || ask.scenarios.iter().any(|name| name == "trace"),
        "--trace is for the scenario trace, which is not asked for"
    );
    let mut jobs = ask.jobs(options.seeds, false)?;
    let plotted = options.output.html.is_some() && jobs.len() <= PLOTTED_MAX;
    for job in &mut jobs {
        job.record = plotted;
    }
    let words = Words {
        title: "Congestion control".to_owned(),
        about: format!("{} estimators in {} scenarios.", ask.estimators.len(), ask.scenarios.len()),
        parameters: [
            ("estimators", ask.estimators.join(", ")),
            ("seeds", options.seeds.to_string()),
            ("runs", (jobs.len() * options.seeds.count()).to_string()),
            ("scene", options.scene.clone().unwrap_or_default()),
            ("set", options.set.to_string()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect(),
    };
    options.output.play(&jobs, words)
}
