//! The case `residence`: how many subscribers one core serves without loss and delay, and how long packets stay at half of that.
//!
//! Delays are from the publisher's sending to the kernel's time stamp at the subscriber: both ways on loopback, and the server.

use anyhow::Result;

use super::built::Built;
use super::pinned::generate_on;
use super::row::{Row, rounded};
use crate::load::plan::{Crowd, Load, Window};
use crate::load::report::Measured;

/// What is tried, upwards until it fails.
const STEPS: [u16; 10] = [32, 48, 64, 96, 128, 192, 256, 352, 448, 512];

/// How long 99 of 100 packets may be under way.
const P99_MAX_MS: f64 = 10.0;

/// The share of its core from which on the generator may be what limits.
const GENERATOR_MAX: f64 = 0.85;

/// Searches upwards, and measures at half of what was found.
pub(super) async fn measure(built: &Built, seconds: f64) -> Result<Row> {
    let (mut most, mut bounded_by) = (0, "search");
    for subscribers in STEPS {
        let measured = once(built, subscribers, seconds).await?;
        eprintln!(
            "\rresidence: {subscribers} subscribers, loss {:.4}, p99 {:.2} ms, generator {:.2}, server {:.2}",
            measured.loss(),
            measured.p99_ms,
            measured.generator,
            measured.usage.all_ns as f64 / 1e9 / measured.seconds
        );
        if measured.counts.lost > 0 || measured.p99_ms > P99_MAX_MS {
            bounded_by = if measured.generator >= GENERATOR_MAX { "generator" } else { "server" };
            break;
        }
        most = subscribers;
    }
    let half = once(built, (most / 2).max(1), seconds).await?;
    let mut row = Row::new("residence", "subscribers");
    row.runs = vec![(f64::from(most), f64::NAN)];
    Ok(row
        .with("bounded_by", bounded_by)
        .with("half", most / 2)
        .with("p50_ms", rounded(half.p50_ms))
        .with("p99_ms", rounded(half.p99_ms))
        .with("loss", rounded(half.loss())))
}

async fn once(built: &Built, subscribers: u16, seconds: f64) -> Result<Measured> {
    let crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers, feedback: true };
    let window = Window { seconds, load: Load::Server };
    let report = generate_on(built, &built.server()?, crowd, vec![window]).await?;
    Ok(report.windows.into_iter().next().unwrap_or_default())
}
