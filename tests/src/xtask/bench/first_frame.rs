//! `cargo xtask bench first-frame`: from joining to the first decoded frame, against a direct `PeerConnection`; with
//! `--late`, for many who come one after the other, with instant start and without.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use proto::seed::Seed;
use serde_json::json;

use crate::browser::first_frame;
use crate::browser::late_joiners::{self, LateJoiners};
use crate::browser::stage::Stage;
use crate::xtask::{cargo, install};

/// How to measure the time to the first frame.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// Prints the result as one JSON object.
    #[arg(long)]
    json: bool,
    /// Writes a page with every run plotted.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Runs each way; the result is their median.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measures so many viewers who come one after the other instead, with instant start and without.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    late: Option<u32>,
}

/// Measures it.
pub(super) async fn run(options: &Options) -> Result<()> {
    install::chromium()?;
    cargo::build_server()?;
    if let Some(joiners) = options.late {
        return late(joiners as usize, options.json).await;
    }
    let mut stage = Stage::new(crate::xtask::media_folder()?, Seed::from_number(0));
    let times = first_frame::measure(&mut stage, options.runs as usize, |line| eprintln!("{line}")).await;
    let times = times.inspect_err(|_| eprint!("{}", stage.remains()))?;

    let (sfu, direct, ratio) = (times.sfu_median_ms(), times.direct_median_ms(), times.ratio());
    eprintln!("{:>5} {:>12} {:>12}", "run", "server, ms", "direct, ms");
    for (run, (sfu, direct)) in times.sfu_ms.iter().zip(&times.direct_ms).enumerate() {
        eprintln!("{:>5} {sfu:>12.0} {direct:>12.0}", run + 1);
    }
    eprintln!("median {sfu:>11.0} {direct:>12.0}   ratio {ratio:.2}");
    if options.json {
        let row = json!({
            "bench": "first-frame",
            "sfu_ms": tenths(sfu),
            "direct_ms": tenths(direct),
            "ratio": (ratio * 100.0).round() / 100.0,
            "runs": options.runs,
        });
        println!("{row}");
    }
    if let Some(file) = &options.html {
        first_frame::write_html(&times, file)?;
        eprintln!("plotted in {}", file.display());
    }
    Ok(())
}

/// Measures viewers who come late, each way on a stage of its own.
async fn late(joiners: usize, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for instant_start in [true, false] {
        let mut stage = Stage::new(crate::xtask::media_folder()?, Seed::from_number(0));
        if !instant_start {
            stage.serve_with(&[late_joiners::WITHOUT]).await?;
        }
        let late = late_joiners::measure(&mut stage, joiners, |line| eprintln!("{line}")).await;
        rows.push((instant_start, late.inspect_err(|_| eprint!("{}", stage.remains()))?));
    }
    eprintln!("{:>13} {:>8} {:>8} {:>9} {:>8}", "instant start", "p50, ms", "p95, ms", "wait, ms", "freezes");
    for (instant_start, late) in &rows {
        let LateJoiners { freezes, .. } = late;
        let (p50, p95) = (late.percentile_ms(50), late.percentile_ms(95));
        let wait = late.wait_median_ms();
        eprintln!("{instant_start:>13} {p50:>8.0} {p95:>8.0} {wait:>9.0} {freezes:>8}");
        if json {
            let row = json!({
                "bench": "first-frame",
                "case": "late-joiners",
                "instant_start": instant_start,
                "p50_ms": tenths(p50),
                "p95_ms": tenths(p95),
                "wait_ms": tenths(wait),
                "freezes": freezes,
                "runs": joiners,
            });
            println!("{row}");
        }
    }
    Ok(())
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
