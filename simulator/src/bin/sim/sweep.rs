//! `sim sweep`: a plan from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use simulator::sweep::{Ask as PlanAsk, Plan};

use crate::ask::{self, Ask};
use crate::output::{Output, Words};

/// The most cases of a page whose first runs are plotted: more would make it too large to open.
pub(crate) const PLOTTED_MAX: usize = 12;

/// Which plan.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The plan, in TOML (`simulator/plans` has some)
    plan: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Plays it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let file = options.plan.display();
    let text = std::fs::read_to_string(&options.plan).with_context(|| format!("reading {file}"))?;
    let plan = Plan::parse(&text, &check).with_context(|| file.to_string())?;
    let ask = Ask {
        scenarios: plan.scenarios,
        estimators: plan.estimators.unwrap_or_else(ask::built),
        scenes: plan.scenes,
        trace: None,
        sets: plan.sets,
    };
    let mut jobs = ask.jobs(plan.seeds, false)?;
    let plotted = options.output.html.is_some() && jobs.len() <= PLOTTED_MAX;
    for job in &mut jobs {
        job.record = plotted;
    }
    let words = Words {
        title: plan.title.unwrap_or_else(|| "A sweep".to_owned()),
        about: plan.about.unwrap_or_default(),
        parameters: vec![
            ("scenarios".to_owned(), ask.scenarios.join(", ")),
            ("estimators".to_owned(), ask.estimators.join(", ")),
            ("scenes".to_owned(), ask.scenes.iter().map(|scene| scene.name()).collect::<Vec<_>>().join(", ")),
            ("seeds".to_owned(), plan.seeds.to_string()),
            ("runs".to_owned(), (jobs.len() * plan.seeds.count()).to_string()),
        ],
    };
    options.output.play(&jobs, words)
}

/// Whether there is what a plan asks for.
fn check(asked: PlanAsk<'_>) -> Result<(), String> {
    let checked = match asked {
        PlanAsk::Scenario(name) => ask::find(name, None).map(|_| ()),
        PlanAsk::Estimator(name) => ask::check_estimator(name),
        PlanAsk::Set(name, set) => {
            ask::find(name, None).and_then(|mut scenario| Ok(set.apply(&mut scenario)?))
        }
    };
    checked.map_err(|error| format!("{error:#}"))
}
