//! The cases that are compared with a server that lacks something: `full`, `fec-off`.

use std::path::Path;

use anyhow::Result;

use super::built::{Built, Without};
use super::pinned::generate_on;
use super::row::Row;
use crate::load::plan::{Crowd, Load, Window};
use crate::load::report::Measured;

/// The same load for both.
const CROWD: Crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers: 64, feedback: true };

/// Against a server without congestion control and loss recovery.
pub(super) async fn full(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    compare("full", Without::RepairAndControl, built, runs, seconds).await
}

/// Against a server without loss recovery.
pub(super) async fn fec_off(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    compare("fec-off", Without::Repair, built, runs, seconds).await
}

/// Both in turns, each run with a fresh server.
async fn compare(
    case: &'static str,
    without: Without,
    built: &Built,
    runs: u32,
    seconds: f64,
) -> Result<Row> {
    let (with, without) = (built.server()?, built.server_without(without)?);
    let mut row = Row::new(case, "ns/packet");
    let mut losses = Vec::new();
    for run in 0..runs {
        eprint!("\r{case}: run {} of {runs} ", run + 1);
        // Whoever comes second may find another machine than the first: they take turns at that, too.
        let order: [&Path; 2] = if run % 2 == 0 { [&with, &without] } else { [&without, &with] };
        let first = once(built, order[0], seconds).await?;
        let second = once(built, order[1], seconds).await?;
        let (ours, reference) = if run % 2 == 0 { (first, second) } else { (second, first) };
        row.runs.push((ours.per_datagram(), reference.per_datagram()));
        losses.extend([ours.loss(), reference.loss()]);
    }
    Ok(row.with_median("loss", losses))
}

async fn once(built: &Built, program: &Path, seconds: f64) -> Result<Measured> {
    let window = Window { seconds, load: Load::Server };
    let report = generate_on(built, program, CROWD, vec![window]).await?;
    Ok(report.windows.into_iter().next().unwrap_or_default())
}
