//! `sim fec`: what repairs losses in time, and what it costs; `cargo xtask bench fec` is this.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::fec::loss_model::LossEstimate;
use ::fec::plan::offline::OfflineMasks;
use ::fec::plan::{Goal, Kind, MEDIA_MAX, Planner, Promptness, Receiver, Tables, Timing};
use anyhow::{Context, Result, ensure};
use clap::Args;
use proto::scene::Scene;
use proto::time::Instant;
use simulator::recovery::check::{self, Verdict};
use simulator::recovery::{Burst, Cell, Experience, Optimum, Policy, Row, Tally, lines};
use simulator::report::page::recovery;
use simulator::sweep::Seeds;

use crate::clock;
use crate::output::{BROKEN, check_folder, command, print};
use crate::progress::Progress;

/// Blocks leave so far apart.
const INTERVAL: Duration = Duration::from_millis(33);

/// What to measure; what is left out is all of the grid.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Round trips, in milliseconds
    #[arg(long, value_name = "MS,…", value_delimiter = ',', default_values_t = [10, 30, 60, 100, 200, 400])]
    rtt: Vec<u64>,
    /// Deadlines, in milliseconds from when a block's first packet leaves
    #[arg(long, value_name = "MS,…", value_delimiter = ',', default_values_t = [60, 100, 150, 250, 400, 800])]
    deadline: Vec<u64>,
    /// Shares of packets lost, 0 to 1
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',',
        default_values_t = [0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3])]
    loss: Vec<f64>,
    /// How losses hang together: iid, L3, L8 (so many in a row), outage (50 ms)
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_values_t = Burst::GRID)]
    burst: Vec<Burst>,
    /// Packets a block
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 4, 12, 32, 48])]
    k: Vec<usize>,
    /// Policies; all of them, or with --check those that goals are about
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    policy: Vec<Policy>,
    /// The share of blocks that may not be whole by the deadline
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    eps: f64,
    /// The seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..1")]
    seeds: Seeds,
    /// How many blocks are sent with each seed; 10 000, or with --check 1 000, and 20 000 more with other seeds where those
    /// miss a goal: what counts then are these
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    /// Plans for one repair instead of for all rounds there is time for, as scenes do that mind delay
    #[arg(long)]
    prompt: bool,
    /// Ends with 1 if a goal is missed in what is played; plans for one repair are played beside
    #[arg(long)]
    check: bool,
    /// Prints a JSON object a line for each cell and policy; the table goes to the standard error all the same
    #[arg(long)]
    json: bool,
    /// Writes a page with a table and plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How many blocks are sent; how many to see whether a goal may be missed, and how many to be sure.
const BLOCKS: u64 = 10_000;
const BLOCKS_LOOK: u64 = 1_000;
const BLOCKS_SURE: u64 = 20_000;
/// Seeds so far from those that were asked for are others.
const OTHER_SEEDS: u64 = 1 << 32;

/// What planning a block may take, in nanoseconds.
const LOOK_UP_NS: f64 = 50.0;

/// A cell with a policy.
type Job = (Cell, Policy);

/// Measures.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    options.validate()?;
    options.html.as_deref().map_or(Ok(()), check_folder)?;
    let jobs = options.jobs();
    ensure!(!jobs.is_empty(), "in no cell even the media arrives before the deadline");
    let mut rows = play(&jobs, options)?;
    if options.check && options.blocks.is_none() {
        play_again(&jobs, &mut rows, options);
    }
    for line in lines(&rows) {
        eprintln!("{line}");
    }
    if let Some(file) = &options.html {
        write_page(file, &rows)?;
    }
    let mut verdicts = check::judge(&rows);
    if options.check {
        verdicts.extend(look_up());
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met).count();
    if !verdicts.is_empty() {
        eprintln!();
        for line in check::lines(&verdicts) {
            eprintln!("{line}");
        }
    }
    Ok(if options.check && missed > 0 { ExitCode::from(BROKEN) } else { ExitCode::SUCCESS })
}

impl Options {
    fn validate(&self) -> Result<()> {
        ensure!(self.loss.iter().all(|loss| (0.0..=0.6).contains(loss)), "--loss is a share from 0 to 0.6");
        ensure!(self.k.iter().all(|media| (1..=MEDIA_MAX).contains(media)), "--k is from 1 to {MEDIA_MAX}");
        ensure!((1e-6..=0.5).contains(&self.eps), "--eps is a share from 1e-6 to 0.5");
        let blocks = self.blocks.unwrap_or(BLOCKS);
        ensure!((1..=10_000_000).contains(&blocks), "--blocks is from 1 to ten million");
        let is_sane = |millis: &u64| (1..=60_000).contains(millis);
        let times = self.rtt.iter().chain(&self.deadline);
        ensure!(times.into_iter().all(is_sane), "--rtt and --deadline are from 1 ms to a minute");
        Ok(())
    }

    /// All cells in which at least the media arrives in time, with each policy: those together that have much in common.
    fn jobs(&self) -> Vec<Job> {
        let promptness = if self.prompt { Promptness::OneRepair } else { Promptness::ByDeadline };
        let ms = Duration::from_millis;
        let policies = self.policies();
        let mut jobs = Vec::new();
        let paths: Vec<(f64, Burst)> = pairs(&self.loss, &self.burst).collect();
        let times: Vec<(u64, u64)> = pairs(&self.rtt, &self.deadline).collect();
        for ((loss, burst), media) in pairs(&paths, &self.k) {
            for (rtt, deadline) in &times {
                let (round_trip, deadline, eps) = (ms(*rtt), ms(*deadline), self.eps);
                let cell = Cell { round_trip, deadline, loss, burst, media, eps, promptness };
                if cell.rounds() == 0 {
                    continue;
                }
                jobs.extend(policies.iter().map(|policy| (cell, *policy)));
                let is_prompt = loss > 0.0 && loss <= PROMPT_LOSS && cell.rounds() > 2;
                if self.check && is_prompt && policies.contains(&Policy::LianmaiNative) {
                    jobs.push((Cell { promptness: Promptness::OneRepair, ..cell }, Policy::LianmaiNative));
                }
            }
        }
        jobs
    }

    fn policies(&self) -> &[Policy] {
        match self.policy.as_slice() {
            [] if self.check => &[Policy::LianmaiNative, Policy::LianmaiBrowser, Policy::Hairpin],
            [] => &Policy::ALL,
            asked => asked,
        }
    }

    fn blocks(&self) -> u64 {
        self.blocks.unwrap_or(if self.check { BLOCKS_LOOK } else { BLOCKS })
    }
}

/// Up to so much loss repair is to be prompt.
const PROMPT_LOSS: f64 = 0.05;

fn pairs<A: Copy, B: Copy>(a: &[A], b: &[B]) -> impl Iterator<Item = (A, B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (*a, *b)))
}

/// Plays what missed a goal once more, for longer and with other seeds: of thousands of cells chance alone spoils some.
fn play_again(jobs: &[Job], rows: &mut [Row], options: &Options) {
    let missed: BTreeSet<String> = check::judge(rows)
        .into_iter()
        .filter(|verdict| !verdict.is_met)
        .map(|verdict| verdict.cell)
        .collect();
    let again: Vec<usize> = (0..rows.len()).filter(|place| missed.contains(&rows[*place].title())).collect();
    let time = INTERVAL * BLOCKS_SURE as u32;
    let mut progress = Progress::new(again.len(), time * again.len() as u32);
    let mut experience = Experience::default();
    for place in again {
        let (cell, policy) = &jobs[place];
        let seed = options.seeds.iter().next().unwrap_or_default().wrapping_add(OTHER_SEEDS);
        let tally = Tally::play(*policy, cell, BLOCKS_SURE, seed, &mut experience);
        let optimum = Optimum::of(cell, &mut experience);
        rows[place] = Row::new(cell, *policy, Seeds::one(seed), optimum, &tally);
        progress.advance(time);
    }
    progress.finish();
}

/// Plays jobs on all processors; rows are printed in the jobs' order as soon as all before them are there.
fn play(jobs: &[Job], options: &Options) -> Result<Vec<Row>> {
    let time = INTERVAL * u32::try_from(options.blocks()).unwrap_or(u32::MAX);
    let progress = Progress::new(jobs.len(), time * jobs.len() as u32);
    let collected = Mutex::new((vec![None; jobs.len()], 0, progress, Ok(())));
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut experience = Experience::default();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some((cell, policy)) = jobs.get(place) else { break };
                    let row = play_one(cell, *policy, options, &mut experience);
                    let mut locked = collected.lock().expect("nobody panics while holding it");
                    let (rows, printed, progress, outcome) = &mut *locked;
                    rows[place] = Some(row);
                    progress.advance(time);
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

fn play_one(cell: &Cell, policy: Policy, options: &Options, experience: &mut Experience) -> Row {
    let mut tally = Tally::default();
    for seed in options.seeds.iter() {
        tally.merge(Tally::play(policy, cell, options.blocks(), seed, experience));
    }
    let optimum = Optimum::of(cell, experience);
    Row::new(cell, policy, options.seeds, optimum, &tally)
}

/// What planning a block takes, without loss and with: the best of some runs, the processor is not ours alone.
fn look_up() -> Vec<Verdict> {
    const BLOCKS: u32 = 200_000;
    const RUNS: usize = 9;
    [("nothing lost", 0.0), ("5 % lost", 0.05)]
        .map(|(place, loss)| {
            let mut planner = Planner::new(Receiver::Native);
            let mut tables = Tables::new(OfflineMasks);
            let estimate =
                LossEstimate { loss, bound: loss, correlation: 0.0, packets: 1e5, ..LossEstimate::COLD };
            let [round_trip, turnaround, pacing] = [60, 10, 5].map(Duration::from_millis);
            let timing = Timing::symmetric(round_trip, turnaround, pacing);
            for feedback in 0..8 {
                planner.handle_feedback(Instant::from_millis(feedback * 50), &estimate, timing, &mut tables);
            }
            let goal = Goal::new(Scene::Pk, Kind::Other);
            let nanos = (0..RUNS).map(|_| {
                let before = clock::stopwatch();
                let parities: usize = (0..BLOCKS).map(|_| planner.plan_block(12, &goal, None).parities).sum();
                black_box(parities);
                (clock::stopwatch() - before) as f64 / f64::from(BLOCKS)
            });
            let nanos = nanos.fold(f64::INFINITY, f64::min);
            let words = format!("{nanos:.1} ns a block, at most {LOOK_UP_NS}");
            eprintln!("look-up, {place}: {words}");
            Verdict {
                goal: "T7 look-up",
                cell: String::new(),
                place: place.to_owned(),
                words,
                is_met: nanos <= LOOK_UP_NS,
            }
        })
        .to_vec()
}

fn write_page(file: &Path, rows: &[Row]) -> Result<()> {
    let page = recovery::html(rows, &command())?;
    std::fs::write(file, page).with_context(|| format!("writing {}", file.display()))?;
    eprintln!("plotted in {}", file.display());
    Ok(())
}
