//! `sim recovery`: loss recovery and congestion control together; `cargo xtask bench fec --combined` is this.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use proto::scene::Scene;
use simulator::protected::{self, Contender, Outcome, Row, SCENARIOS, check};
use simulator::report::page::protected as page;
use simulator::scenario::Scenario;
use simulator::sweep::{Seeds, Set};

use crate::ask;
use crate::clock;
use crate::output::{BROKEN, check_folder, command, print};
use crate::progress::Progress;

/// What to play.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Scenarios of one flow (see `sim list`), and policer-1m; those with losses if left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_values_t = SCENARIOS.map(str::to_owned))]
    scenario: Vec<String>,
    /// Who is compared: an estimator, plan, libwebrtc or nack, and what of the rate they take
    #[arg(long, value_name = "ESTIMATOR+REPAIR[@PERCENT],…", value_delimiter = ',', default_values_t = contenders())]
    policy: Vec<Contender>,
    /// What people do
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_values_t = [Scene::Pk])]
    scene: Vec<Scene>,
    /// The seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..3")]
    seeds: Seeds,
    /// Sets values in the scenarios, such as rate=2500k,owd=40ms,queue=15ms
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", hide_default_value = true)]
    set: Set,
    /// Ends with 1 if a goal is missed in what is played
    #[arg(long)]
    check: bool,
    /// Prints a JSON object a line for each scenario and policy; the table goes to the standard error all the same
    #[arg(long)]
    json: bool,
    /// Writes a page with a table and plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A scenario with a contender in a scene.
struct Job {
    scenario: Scenario,
    contender: Contender,
    scene: Scene,
}

fn contenders() -> Vec<Contender> {
    let all = Contender::ALL.iter().map(|name| name.parse().expect("a known one is read"));
    all.filter(|contender: &Contender| ask::check_estimator(&contender.estimator).is_ok()).collect()
}

/// Plays and judges.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    options.html.as_deref().map_or(Ok(()), check_folder)?;
    options.policy.iter().try_for_each(|contender| ask::check_estimator(&contender.estimator))?;
    let jobs = jobs(options)?;
    let rows = play(&jobs, options)?;
    for line in protected::lines(&rows) {
        eprintln!("{line}");
    }
    let verdicts = check::judge(&rows);
    if !verdicts.is_empty() {
        eprintln!();
    }
    for line in check::lines(&verdicts) {
        eprintln!("{line}");
    }
    if let Some(file) = &options.html {
        let page = page::html(&rows, &verdicts, &command())?;
        std::fs::write(file, page).with_context(|| format!("writing {}", file.display()))?;
        eprintln!("plotted in {}", file.display());
    }
    let missed = verdicts.iter().any(|verdict| !verdict.is_met);
    Ok(if options.check && missed { ExitCode::from(BROKEN) } else { ExitCode::SUCCESS })
}

fn jobs(options: &Options) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for name in &options.scenario {
        let mut scenario =
            protected::scenario(name).with_context(|| format!("no scenario {name:?}; see `sim list`"))?;
        options.set.apply(&mut scenario)?;
        for scene in &options.scene {
            for contender in &options.policy {
                let (scenario, contender) = (scenario.clone(), contender.clone());
                jobs.push(Job { scenario, contender, scene: *scene });
            }
        }
    }
    Ok(jobs)
}

/// Plays jobs on all processors; rows are printed in the jobs' order as soon as all before them are there.
fn play(jobs: &[Job], options: &Options) -> Result<Vec<Row>> {
    let seeds = options.seeds.count() as u32;
    let time = jobs.iter().map(|job| job.scenario.duration * seeds).sum();
    let progress = Progress::new(jobs.len(), time);
    let collected = Mutex::new((vec![None; jobs.len()], 0, progress, Ok(())));
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(place) else { break };
                    let played = play_one(job, options);
                    let mut locked = collected.lock().expect("nobody panics while holding it");
                    let (rows, printed, progress, outcome) = &mut *locked;
                    match played {
                        Ok(row) => rows[place] = Some(row),
                        Err(error) => *outcome = Err(error),
                    }
                    progress.advance(job.scenario.duration * seeds);
                    while let Some(row) = rows.get(*printed).and_then(Option::as_ref) {
                        *printed += 1;
                        if options.json && outcome.is_ok() {
                            *outcome = progress.aside(|| print(&serde_json::to_string(row)?));
                        }
                    }
                    if outcome.is_err() {
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (rows, _, progress, outcome) = collected.into_inner().expect("as before");
    progress.finish();
    outcome?;
    Ok(rows.into_iter().flatten().collect())
}

fn play_one(job: &Job, options: &Options) -> Result<Row> {
    let Job { scenario, contender, scene } = job;
    let runs: Vec<Outcome> = options
        .seeds
        .iter()
        .map(|seed| {
            let options = protected::Options { scene: *scene, seed, epoch: clock::now() };
            protected::play(scenario, contender, options)
        })
        .collect::<Result<_, _>>()?;
    Ok(Row::new(&scenario.name, contender, (*scene, options.set.to_string()), options.seeds, &runs))
}
