//! The case `growth`: processor time against packets put out, memory a subscriber, and what an idle connection takes.
//!
//! One server has a room for each step. The rooms have their turn one after the other, again and again, up and down; what counts is
//! each one's median. Memory is read when the rooms come.

use anyhow::{Context, Result};
use serde_json::json;
use tokio::process::Command;

use super::built::Built;
use super::pinned::{generate, generate_on, party, serve};
use super::row::{Row, median, rounded};
use crate::load::plan::{Crowd, Load, Window};
use crate::load::report::Measured;

/// How many subscribers.
const STEPS: [u16; 7] = [8, 16, 32, 64, 128, 256, 512];

/// How straight the line is to be (R²).
const GOAL: f64 = 0.99;

/// What each receives, in kbit/s: two packets a picture, so that 512 subscribers do not fill a core.
const KBPS: u64 = 548;

/// Turns of each room.
const ROUNDS: usize = 6;

/// How many connections are idle when that is measured.
const IDLE: u16 = 256;

/// How long they are watched, in seconds: each wakes the server a few times in ten.
const IDLE_SECONDS: f64 = 6.0;

/// Measures all of it.
pub(super) async fn measure(built: &Built, seconds: f64) -> Result<Row> {
    let windows = rounds(built, seconds).await?;
    let of_step =
        |step: usize| windows.iter().filter(move |(of, _)| *of == step).map(|(_, measured)| measured);
    let outputs = |one: &Measured| one.datagrams as f64 / one.seconds;
    let time = |one: &Measured| one.usage.media_ns as f64 / 1e9 / one.seconds;
    let points: Vec<(f64, f64)> = (0..STEPS.len())
        .map(|step| (median(of_step(step).map(outputs)), median(of_step(step).map(time))))
        .collect();
    let present = |step: usize| STEPS[..=step].iter().copied().map(f64::from).sum::<f64>();
    let kib = |of: &Measured| of.usage.memory as f64 / 1_024.0;
    // The first windows are those of rooms that have just come, one by one.
    let memory: Vec<(f64, f64)> =
        windows.iter().take(STEPS.len()).map(|(step, first)| (present(*step), kib(first))).collect();
    let (line, held) = (Line::through(&points), Line::through(&memory));
    let lost: u64 = windows.iter().map(|(_, one)| one.counts.lost).sum();
    let (wakes, idle_kib) = idle(built).await?;
    let mut row = Row::new("growth", "r_squared");
    row.runs = vec![(line.r_squared, 1.0)];
    Ok(row
        .with("goal", GOAL)
        .with("ns_per_packet", rounded(line.slope * 1e9))
        .with("core_at_rest", rounded(line.offset))
        .with("kib_per_subscriber", rounded(held.slope))
        .with("idle_wakes_per_s", rounded(wakes))
        .with("idle_kib", rounded(idle_kib))
        .with("lost", lost)
        .with("points", json!(points.iter().map(|(x, y)| [rounded(*x), json!(y)]).collect::<Vec<_>>())))
}

/// Every window with its step, in their order.
async fn rounds(built: &Built, seconds: f64) -> Result<Vec<(usize, Measured)>> {
    let server = serve(&built.server()?).await?;
    let crowd = |subscribers| Crowd { publishers: 1, kbps: KBPS, slots: 0, subscribers, feedback: true };
    let parties = STEPS.map(|subscribers| party(&server, &format!("room{subscribers}"), crowd(subscribers)));
    let round = |round: usize| {
        let up = 0..STEPS.len();
        if round.is_multiple_of(2) { up.collect::<Vec<_>>() } else { up.rev().collect() }
    };
    let order: Vec<usize> = (0..ROUNDS).flat_map(round).collect();
    let windows = order.iter().map(|party| Window { party: *party, seconds, load: Load::Server }).collect();
    let parties = parties.into_iter().collect::<Result<_>>()?;
    let report = generate(Command::new(built.generator()), parties, windows).await;
    let report = report.with_context(|| format!("the server's log:\n{}", server.log()))?;
    Ok(order.into_iter().zip(report.windows).collect())
}

/// What an idle connection takes: times a second that the server wakes for it, and KiB.
async fn idle(built: &Built) -> Result<(f64, f64)> {
    let (nobody, idle) = (at_rest(built, 0).await?, at_rest(built, IDLE).await?);
    let each = |of: &dyn Fn(&Measured) -> f64| (of(&idle) - of(&nobody)) / f64::from(IDLE);
    let wakes = each(&|of| of.usage.sleeps as f64 / of.seconds);
    Ok((wakes, each(&|of| of.usage.memory as f64 / 1_024.0)))
}

async fn at_rest(built: &Built, subscribers: u16) -> Result<Measured> {
    let crowd = Crowd { publishers: 0, kbps: 0, slots: 0, subscribers, feedback: true };
    let window = Window { party: 0, seconds: IDLE_SECONDS, load: Load::Nobody };
    let report = generate_on(built, &built.server()?, crowd, vec![window]).await?;
    report.windows.into_iter().next().context("nothing was measured")
}

/// The straight line nearest to some points (least squares).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) slope: f64,
    /// Its height at zero.
    pub(super) offset: f64,
    /// The share of the variance that the line explains.
    pub(super) r_squared: f64,
}

impl Line {
    /// The line.
    pub(super) fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let slope = xy / xx;
        Self { slope, offset: y_mean - slope * x_mean, r_squared: xy * xy / (xx * yy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_how_well_it_fits() {
        for (points, slope, offset, r_squared) in [
            (&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)][..], 2.0, 1.0, 1.0),
            (&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)], 0.0, 1.0 / 3.0, 0.0),
            (&[(0.0, 0.0), (1.0, 2.0), (2.0, 2.0)], 1.0, 1.0 / 3.0, 0.75),
        ] {
            let line = Line::through(points);
            for (found, expected) in [(line.slope, slope), (line.offset, offset), (line.r_squared, r_squared)]
            {
                assert!((found - expected).abs() < 1e-9, "{line:?}");
            }
        }
    }
}
