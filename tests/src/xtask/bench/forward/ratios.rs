//! The cases that are compared with a bare loop in the same run: `core`, `fanout-64`, `nine-grid`.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::built::Built;
use super::pinned::{GENERATOR_CORE, SERVER_CORE, ask, generate_on, pairs, turns};
use super::row::Row;
use crate::load::bare::PROFILE;
use crate::load::core::{Measured as Core, Order};
use crate::load::plan::{Crowd, Leaves, Load, Window};
use crate::load::report::{Measured, Report};

/// Subscribers of one publisher.
const SUBSCRIBERS: u16 = 64;

/// How many datagrams come at a time.
const BATCHES: [usize; 3] = [1, 4, 16];

/// How long the core is measured in one run, in virtual seconds: a thousand and more turns of ours and sealing alone.
const VIRTUAL: f64 = 20.0;

/// Runs of the core, each in a process of its own.
const CORE_RUNS: u32 = 5;

/// How long one measurement of the core may take.
const CORE_MAX: Duration = Duration::from_secs(120);

/// Without sockets, a row for each batch, with subscribers who tell of arrivals and with such as do not.
pub(super) async fn core(built: &Built) -> Result<Vec<Row>> {
    let kinds = [false, true].into_iter().flat_map(|feedback| BATCHES.map(|batch| (feedback, batch)));
    let mut measured: Vec<((bool, usize), Vec<Core>)> = kinds.map(|kind| (kind, Vec::new())).collect();
    for run in 0..CORE_RUNS {
        eprint!("\rcore: run {} of {CORE_RUNS} ", run + 1);
        for ((feedback, batch), its) in &mut measured {
            let (subscribers, feedback, batch) = (SUBSCRIBERS.into(), *feedback, *batch);
            let order = Order { subscribers, feedback, batch, seconds: VIRTUAL, core: GENERATOR_CORE };
            its.push(ask(Command::new(built.generator()), "core", &order, CORE_MAX).await?);
        }
    }
    let row = |((feedback, batch), its): &((bool, usize), Vec<Core>)| {
        let mut row = Row::new("core", "ns/packet");
        row.variant = format!("{batch} at a time{}", if *feedback { ", feedback" } else { "" });
        row.goal = Some(1.5).filter(|_| !feedback);
        row.runs = its.iter().map(|run| (run.ours_ns, run.bare_ns)).collect();
        row.with("batch", *batch)
            .with("feedback", *feedback)
            .with_median("feedback_ns", its.iter().map(|run| run.feedback_ns))
            .with_median("fanout", its.iter().map(|run| run.fanout))
    };
    Ok(measured.iter().map(row).collect())
}

/// One publisher, 64 subscribers.
pub(super) async fn fanout(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    let crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers: SUBSCRIBERS, feedback: true };
    let server = built.server()?;
    let windows = |leaves| with_bare(runs, seconds, SUBSCRIBERS.into(), leaves);
    let report = generate_on(built, &server, crowd, windows(Leaves::Singly)).await?;
    let row = compared("fanout-64", 1.15, &report)?;
    // What is left beside the calls that runs save.
    let report = generate_on(built, &server, crowd, windows(Leaves::InRuns)).await?;
    let in_runs = compared("fanout-64", 1.15, &report)?;
    Ok(row.with("reference_in_runs", in_runs.reference()).with("ratio_in_runs", in_runs.ratio()))
}

/// Nine who publish, and each sees the eight others.
pub(super) async fn nine_grid(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    let crowd = Crowd { publishers: 9, kbps: 2_500, slots: 8, subscribers: 0, feedback: true };
    let report =
        generate_on(built, &built.server()?, crowd, with_bare(runs, seconds, 9, Leaves::InRuns)).await?;
    compared("nine-grid", 1.25, &report)
}

/// Turns of the server and of the bare loop, which sends as many in a row: what is late goes out together, which is cheaper.
fn with_bare(runs: u32, seconds: f64, destinations: usize, leaves: Leaves) -> Vec<Window> {
    let bare = Load::Bare { destinations, core: SERVER_CORE, leaves };
    let [ours, bare] = [Load::Server, bare].map(|load| Window { party: 0, seconds, load });
    turns(runs, ours, bare)
}

/// Turns of the server and of the bare loop, pair by pair.
fn compared(case: &'static str, goal: f64, report: &Report) -> Result<Row> {
    let (ours, bare): (Vec<&Measured>, Vec<&Measured>) = pairs(&report.windows)?.into_iter().unzip();
    let profile = report.profiles.concat();
    ensure!(profile == PROFILE.name(), "the server seals by {profile}, the bare loop by {}", PROFILE.name());
    let mut row = Row::new(case, "ns/packet");
    row.goal = Some(goal);
    row.runs =
        ours.iter().zip(&bare).map(|(ours, bare)| (ours.per_datagram(), bare.per_datagram())).collect();
    let of_ours = |of: fn(&Measured) -> f64| ours.iter().map(move |run| of(run));
    Ok(row
        .with_median("run_length", of_ours(|run| run.run))
        .with_median("bare_run_length", bare.iter().map(|run| run.run))
        .with_median("packets_per_s", of_ours(|run| run.datagrams as f64 / run.seconds))
        .with_median("bare_packets_per_s", bare.iter().map(|run| run.datagrams as f64 / run.seconds))
        .with_median("loss", of_ours(Measured::loss))
        .with_median("p50_ms", of_ours(|run| run.p50_ms))
        .with_median("p99_ms", of_ours(|run| run.p99_ms))
        .with_median("generator_share", of_ours(|run| run.generator))
        .with_median("whole_process_ns", of_ours(|run| run.usage.all_ns as f64 / run.datagrams as f64))
        .with("profile", profile)
        .with("server_core", SERVER_CORE))
}
