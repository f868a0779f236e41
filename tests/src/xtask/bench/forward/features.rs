//! The cases that are compared with a server that lacks something: `full`, `fec-off`.
//!
//! Both servers are there all the time, each with a party of its own, and have the same core in turns.

use anyhow::{Context, Result};
use tokio::process::Command;

use super::built::{Built, Without};
use super::pinned::{generate, pairs, party, serve, turns};
use super::row::Row;
use crate::load::plan::{Crowd, Load, Window};
use crate::load::report::Measured;

/// The same load for both.
const CROWD: Crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers: 64, feedback: true };

/// Against a server without congestion control, loss recovery and statistics.
pub(super) async fn full(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    compare("full", Without::Everything, built, runs, seconds).await
}

/// Against a server without loss recovery.
pub(super) async fn fec_off(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    compare("fec-off", Without::Repair, built, runs, seconds).await
}

async fn compare(
    case: &'static str,
    without: Without,
    built: &Built,
    runs: u32,
    seconds: f64,
) -> Result<Row> {
    let with = serve(&built.server()?).await?;
    let without = serve(&built.server_without(without)?).await?;
    let parties = vec![party(&with, "load", CROWD)?, party(&without, "load", CROWD)?];
    let [ours, reference] = [0, 1].map(|party| Window { party, seconds, load: Load::Server });
    let report = generate(Command::new(built.generator()), parties, turns(runs, ours, reference)).await;
    let report = report.with_context(|| format!("the servers' logs:\n{}\n{}", with.log(), without.log()))?;
    let (ours, reference): (Vec<&Measured>, Vec<&Measured>) = pairs(&report.windows)?.into_iter().unzip();
    let mut row = Row::new(case, "ns/packet");
    row.goal = Some(1.05);
    row.runs = ours.iter().zip(&reference).map(|(a, b)| (a.per_datagram(), b.per_datagram())).collect();
    Ok(row
        .with_median("loss", ours.iter().map(|run| run.loss()))
        .with_median("reference_loss", reference.iter().map(|run| run.loss()))
        .with_median("packets_per_s", ours.iter().map(|run| run.datagrams as f64 / run.seconds))
        .with_median(
            "reference_packets_per_s",
            reference.iter().map(|run| run.datagrams as f64 / run.seconds),
        )
        .with_median("p99_ms", ours.iter().map(|run| run.p99_ms))
        .with_median("reference_p99_ms", reference.iter().map(|run| run.p99_ms)))
}
