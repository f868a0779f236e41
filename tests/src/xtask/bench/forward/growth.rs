//! The case `growth`: processor time against packets put out, memory a subscriber, and what an idle connection takes.

use anyhow::Result;
use serde_json::json;

use super::built::Built;
use super::pinned::generate_on;
use super::row::{Row, rounded};
use crate::load::plan::{Crowd, Load, Window};
use crate::load::report::Measured;

/// How many subscribers.
const STEPS: [u16; 7] = [8, 16, 32, 64, 128, 256, 512];

/// What each receives, in kbit/s: two packets a picture, so that 512 subscribers do not fill a core.
const KBPS: u64 = 548;

/// How many connections are idle when that is measured.
const IDLE: u16 = 256;

/// Measures all of it.
pub(super) async fn measure(built: &Built, seconds: f64) -> Result<Row> {
    let mut points = Vec::new();
    let mut memory = Vec::new();
    for subscribers in STEPS {
        eprint!("\rgrowth: {subscribers} subscribers ");
        let measured = once(built, 1, subscribers, Load::Server, seconds).await?;
        let outputs = measured.datagrams as f64 / measured.seconds;
        let time = measured.usage.media_ns as f64 / 1e9 / measured.seconds;
        points.push((outputs, time));
        memory.push((f64::from(subscribers), measured.usage.memory as f64 / 1_024.0));
    }
    let nobody = once(built, 0, 0, Load::Nobody, seconds).await?;
    let idle = once(built, 0, IDLE, Load::Nobody, seconds).await?;
    let wakes = |of: &Measured| of.usage.sleeps as f64 / of.seconds;
    let each = |more: f64| rounded(more / f64::from(IDLE));
    let kib = |of: &Measured| of.usage.memory as f64 / 1_024.0;
    let (line, held) = (Line::through(&points), Line::through(&memory));
    let mut row = Row::new("growth", "r_squared");
    row.runs = vec![(line.r_squared, 1.0)];
    Ok(row
        .with("ns_per_packet", rounded(line.slope * 1e9))
        .with("kib_per_subscriber", rounded(held.slope))
        .with("idle_wakes_per_s", each(wakes(&idle) - wakes(&nobody)))
        .with("idle_kib", each(kib(&idle) - kib(&nobody)))
        .with("points", json!(points.iter().map(|(x, y)| [rounded(*x), json!(y)]).collect::<Vec<_>>())))
}

async fn once(
    built: &Built,
    publishers: u16,
    subscribers: u16,
    load: Load,
    seconds: f64,
) -> Result<Measured> {
    let crowd = Crowd { publishers, kbps: KBPS, slots: 0, subscribers, feedback: true };
    let report = generate_on(built, &built.server()?, crowd, vec![Window { seconds, load }]).await?;
    Ok(report.windows.into_iter().next().unwrap_or_default())
}

/// The straight line nearest to some points (least squares).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    slope: f64,
    /// The share of the variance that the line explains.
    r_squared: f64,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| of(x - x_mean, y - y_mean)).sum()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        Self { slope: xy / xx, r_squared: xy * xy / (xx * yy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_how_well_it_fits() {
        for (points, slope, r_squared) in [
            (&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)][..], 2.0, 1.0),
            (&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)], 0.0, 0.0),
            (&[(0.0, 0.0), (1.0, 2.0), (2.0, 2.0)], 1.0, 0.75),
        ] {
            let line = Line::through(points);
            assert!(
                (line.slope - slope).abs() < 1e-9 && (line.r_squared - r_squared).abs() < 1e-9,
                "{line:?}"
            );
        }
    }
}
