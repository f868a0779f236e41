//! `sim bench`: estimators in scenarios over seeds; `cargo xtask bench cc` is this.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use proto::scene::Scene;
use simulator::report::goals::{self, Mark};
use simulator::report::{Row, bars, markdown};
use simulator::sweep::{Seeds, Set};

use crate::ask::{self, Ask};
use crate::cpu;
use crate::output::{BROKEN, Output, Words, check_folder, command, print};
use crate::play::Job;
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
    /// What estimators that know scenes are tuned for: game, chorus, pk (the default), chat, watch
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    scene: Vec<Scene>,
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
    judged: Judged,
    #[command(flatten)]
    output: Output,
}

/// What is made of the numbers beside rows.
#[derive(Debug, Args)]
struct Judged {
    /// Ends with 1 if a goal is missed: in those that hybrid has in the scenarios that are played
    #[arg(long)]
    check: bool,
    /// Prints the table of the README instead of rows; without --scenario of all scenarios that have goals
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Draws how much of each path estimators use, as an image that stands alone
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measures only what estimators cost, all told of the same packets, in a loop
    #[arg(long)]
    cpu: bool,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.peers {
        ask::check_estimator(PEER)?;
    }
    options.estimator.iter().try_for_each(|name| ask::check_estimator(name))?;
    options.judged.svg.as_deref().map_or(Ok(()), check_folder)?;
    if options.judged.cpu {
        return cpu::run(&options.estimator, options.output.json);
    }
    let or =
        |named: &[String], all: fn() -> Vec<String>| if named.is_empty() { all() } else { named.to_vec() };
    let all_scenarios = || if options.trace.is_some() { vec!["trace".to_owned()] } else { ask::suitable() };
    let mut ask = Ask {
        scenarios: if options.scenario.is_empty() { all_scenarios() } else { options.scenario.clone() },
        estimators: or(&options.estimator, ask::built),
        scenes: options.scene.clone(),
        trace: options.trace.clone(),
        sets: vec![options.set.clone()],
    };
    ensure!(
        options.trace.is_none() || ask.scenarios.iter().any(|name| name == "trace"),
        "--trace is for the scenario trace, which is not asked for"
    );
    let mut jobs = if options.judged.markdown && options.scenario.is_empty() && options.trace.is_none() {
        jobs_with_goals(&mut ask, options.seeds)?
    } else {
        ask.jobs(options.seeds, false)?
    };
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
            ("scene", options.scene.iter().map(|scene| scene.name()).collect::<Vec<_>>().join(", ")),
            ("set", options.set.to_string()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect(),
    };
    let mut short = 0;
    let code = options.output.play_and(&jobs, words, |played| {
        let rows: Vec<Row> = played.groups.iter().map(Row::of).collect();
        short = show_goals(&rows);
        if let Some(line) = cpu::ratio(&rows) {
            eprintln!("{line}");
        }
        if options.judged.markdown {
            markdown::lines(&rows, &command()).iter().try_for_each(|line| print(line))?;
        }
        if let Some(file) = &options.judged.svg {
            std::fs::write(file, bars::svg(&rows)).with_context(|| format!("writing {}", file.display()))?;
            eprintln!("drawn in {}", file.display());
        }
        Ok(())
    })?;
    Ok(if options.judged.check && short > 0 { ExitCode::from(BROKEN) } else { code })
}

/// Shows what must be reached beside what was; how much of it was missed.
fn show_goals(rows: &[Row]) -> usize {
    let judged = goals::judge(rows);
    if judged.is_empty() {
        return 0;
    }
    eprintln!();
    for line in goals::lines(&judged) {
        eprintln!("{line}");
    }
    judged.iter().filter(|one| one.mark == Mark::Short).count()
}

/// A job for each scenario, scene and estimator with a goal; only ours goes by scenes.
fn jobs_with_goals(ask: &mut Ask, seeds: Seeds) -> Result<Vec<Job>> {
    let estimators = ask.estimators.clone();
    let mut jobs: Vec<Job> = Vec::new();
    for (scenario, scene) in goals::scenarios() {
        ask.scenarios = vec![scenario.to_owned()];
        ask.scenes = vec![scene];
        let is_again = jobs.iter().any(|job| job.case.scenario == scenario);
        let ours = |name: &&String| !is_again || name.as_str() == goals::OURS;
        ask.estimators = estimators.iter().filter(ours).cloned().collect();
        jobs.extend(ask.jobs(seeds, false)?);
    }
    ask.scenarios = goals::scenarios().map(|(scenario, _)| scenario.to_owned()).collect();
    ask.estimators = estimators;
    Ok(jobs)
}
