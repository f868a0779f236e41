//! `sim compare`: two estimators, or the rows of two files.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use proto::scene::Scene;
use simulator::report::Row;
use simulator::report::compare::{Match, compare, matching};
use simulator::sweep::{Seeds, Set};

use crate::ask::{self, Ask};
use crate::output::{print, verdict};
use crate::play::play;

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// An estimator, or a file of rows (what `--json` prints)
    a: String,
    /// Another one of the same kind
    b: String,
    /// Only in these scenarios, for estimators; all of the catalog if left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    scenario: Vec<String>,
    /// What estimators that know scenes are tuned for
    #[arg(long, value_name = "NAME", default_value_t)]
    scene: Scene,
    /// The seeds of estimators, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..3")]
    seeds: Seeds,
    /// Sets values in the scenarios
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", hide_default_value = true)]
    set: Set,
}

/// Compares.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    match (is_file(&options.a), is_file(&options.b)) {
        (true, true) => {
            let (a, b) = (read(&options.a)?, read(&options.b)?);
            show(&a, &b, matching(&a, &b))?;
            Ok(ExitCode::SUCCESS)
        }
        (false, false) => run_estimators(options),
        (true, false) | (false, true) => {
            bail!("{} and {}: two estimators or two files, not one of each", options.a, options.b)
        }
    }
}

/// Whether it is meant as a file: an estimator has no point or slash in its name.
fn is_file(name: &str) -> bool {
    name.contains(['.', '/', '\\']) || Path::new(name).is_file()
}

fn run_estimators(options: &Options) -> Result<ExitCode> {
    ask::check_estimator(&options.a)?;
    ask::check_estimator(&options.b)?;
    let ask = Ask {
        scenarios: if options.scenario.is_empty() { ask::suitable() } else { options.scenario.clone() },
        estimators: vec![options.a.clone(), options.b.clone()],
        scenes: vec![options.scene],
        sets: vec![options.set.clone()],
        ..Ask::default()
    };
    let played = play(&ask.jobs(options.seeds, false)?, |_| Ok(()))?;
    let rows: Vec<Row> = played.groups.iter().map(Row::of).collect();
    let of = |name: &str| rows.iter().filter(|row| row.case.estimator == name).cloned().collect::<Vec<_>>();
    show(&of(&options.a), &of(&options.b), Match::Scenario)?;
    Ok(verdict(&played))
}

fn show(a: &[Row], b: &[Row], by: Match) -> Result<()> {
    compare(a, b, by).lines().iter().try_for_each(|line| print(line))
}

/// The rows of a file, one JSON object a line.
fn read(file: &str) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows = lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("{file}, line {}: no row", number + 1))
        })
        .collect::<Result<Vec<Row>>>()?;
    if rows.is_empty() {
        bail!("{file} has no rows");
    }
    Ok(rows)
}
