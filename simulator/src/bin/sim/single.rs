//! `sim run`: one scenario once.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use proto::scene::Scene;
use simulator::report::log;
use simulator::sweep::{Seeds, Set};

use crate::ask::{self, Ask};
use crate::output::{Output, Words};

/// What to play.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario's name (see `sim list`)
    scenario: String,
    /// The estimator's name
    #[arg(long, default_value = "gcc")]
    estimator: String,
    /// What the estimator is tuned for: game, chorus, pk, chat, watch
    #[arg(long, value_name = "NAME", default_value_t)]
    scene: Scene,
    /// The seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Sets values in the scenario, such as rate=2500k,owd=40ms,queue=15ms
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", hide_default_value = true)]
    set: Set,
    /// The recorded link of the scenario `trace`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Shows each change of the estimator's phase and of what it takes the path for
    #[arg(long)]
    phases: bool,
    #[command(flatten)]
    output: Output,
}

/// Plays it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ask::check_estimator(&options.estimator)?;
    let ask = Ask {
        scenarios: vec![options.scenario.clone()],
        estimators: vec![options.estimator.clone()],
        scenes: vec![options.scene],
        trace: options.trace.clone(),
        sets: vec![options.set.clone()],
    };
    let record = options.phases || options.output.html.is_some();
    let jobs = ask.jobs(Seeds::one(options.seed), record)?;
    let mut words = Words {
        title: format!("{} with {}", options.scenario, options.estimator),
        about: String::new(),
        parameters: vec![
            ("seed".to_owned(), options.seed.to_string()),
            ("scene".to_owned(), options.scene.to_string()),
        ],
    };
    if let Some(job) = jobs.first() {
        words.about.clone_from(&job.scenario.about);
        words.parameters.push(("length".to_owned(), format!("{} s", job.scenario.duration.as_secs_f64())));
        if !job.case.set.is_empty() {
            words.parameters.push(("set".to_owned(), job.case.set.clone()));
        }
    }
    options.output.play_and(&jobs, words, |played| {
        let runs = played.groups.iter().flat_map(|group| &group.runs).filter(|_| options.phases);
        for line in runs.filter_map(|run| run.timeline.as_ref()).flat_map(log::phases) {
            eprintln!("{line}");
        }
        Ok(())
    })
}
