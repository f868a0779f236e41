//! The cases that are compared with a bare loop in the same run: `core`, `fanout-64`, `nine-grid`.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::built::Built;
use super::pinned::{GENERATOR_CORE, SERVER_CORE, ask, generate_on, turns};
use super::row::Row;
use crate::load::core::{Measured as Core, Order};
use crate::load::plan::Crowd;
use crate::load::report::{Measured, Report};

/// Subscribers of one publisher.
const SUBSCRIBERS: u16 = 64;

/// How many datagrams come at a time.
const BATCHES: [usize; 3] = [1, 4, 16];

/// Virtual seconds for each real one: the core runs faster than time.
const VIRTUAL: f64 = 5.0;

/// How long one measurement of the core may take.
const CORE_MAX: Duration = Duration::from_secs(120);

/// Without sockets, a row for each batch.
pub(super) async fn core(built: &Built, runs: u32, seconds: f64) -> Result<Vec<Row>> {
    let mut measured: Vec<[Vec<Core>; 2]> = BATCHES.map(|_| [Vec::new(), Vec::new()]).to_vec();
    for run in 0..runs {
        eprint!("\rcore: run {} of {runs} ", run + 1);
        for (kinds, batch) in measured.iter_mut().zip(BATCHES) {
            for (kind, feedback) in kinds.iter_mut().zip([true, false]) {
                let subscribers = SUBSCRIBERS.into();
                let order =
                    Order { subscribers, feedback, batch, seconds: seconds * VIRTUAL, core: GENERATOR_CORE };
                kind.push(ask(Command::new(built.generator()), "core", &order, CORE_MAX).await?);
            }
        }
    }
    let row = |([telling, plain], batch): (&[Vec<Core>; 2], usize)| {
        let mut row = Row::new("core", "ns/packet");
        row.runs = telling.iter().map(|run| (run.ours_ns, run.bare_ns)).collect();
        row.with("batch", batch)
            .with_median("feedback_ns", telling.iter().map(|run| run.feedback_ns))
            .with_median("fanout", telling.iter().map(|run| run.fanout))
            .with_median("ours_without_feedback", plain.iter().map(|run| run.ours_ns))
            .with_median("ratio_without_feedback", plain.iter().map(|run| run.ours_ns / run.bare_ns))
    };
    Ok(measured.iter().zip(BATCHES).map(row).collect())
}

/// One publisher, 64 subscribers.
pub(super) async fn fanout(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    let crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers: SUBSCRIBERS, feedback: true };
    let windows = turns(runs, seconds, SUBSCRIBERS.into(), 1);
    let report = generate_on(built, &built.server()?, crowd, windows).await?;
    compared("fanout-64", &report)
}

/// Nine who publish, and each sees the eight others.
pub(super) async fn nine_grid(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    let crowd = Crowd { publishers: 9, kbps: 2_500, slots: 8, subscribers: 0, feedback: true };
    let report = generate_on(built, &built.server()?, crowd, turns(runs, seconds, 9, 0)).await?;
    compared("nine-grid", &report)
}

/// Turns of the server and of the bare loop, pair by pair.
fn compared(case: &'static str, report: &Report) -> Result<Row> {
    let (ours, bare): (Vec<&Measured>, Vec<&Measured>) =
        report.windows.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).unzip();
    ensure!(ours.iter().all(|run| run.counts.received > 0), "nothing was forwarded");
    let mut row = Row::new(case, "ns/packet");
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
        .with("profile", report.profile.clone())
        .with("server_core", SERVER_CORE))
}
