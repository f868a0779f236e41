//! `cargo xtask bench forward`: what forwarding costs, as ratios measured within one run.
//!
//! In: options. Out: rows of JSON on the standard output, a table for people on the standard error, a page with plots. The server runs
//! on core 0, the load generator (`tests/examples/load.rs`) on core 1, both built in release. What is compared has the same core in short
//! turns, so that whatever else the machine does falls on both; a ratio is the median of those of the turns. Limit: every run has
//! its time, and ends what it began.

mod built;
mod features;
mod growth;
mod janus;
mod page;
mod pinned;
mod ratios;
mod residence;
mod row;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use built::Built;
use row::Row;

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// One case; all but `janus` if none is named.
    #[arg(long, value_name = "NAME", value_enum)]
    case: Option<Case>,
    /// Measures Janus too, which is installed with apt-get unless it is there.
    #[arg(long)]
    peers: bool,
    /// Turns of ours and the reference; results are medians.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long each of both has in a turn, in seconds.
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = seconds)]
    seconds: f64,
    /// Prints a JSON object a line.
    #[arg(long)]
    json: bool,
    /// Writes a page with every run plotted.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Without sockets: against sealing each packet.
    Core,
    /// One publisher, 64 subscribers: against sealing and sending each packet.
    #[value(name = "fanout-64")]
    Fanout64,
    /// Nine who all see each other: against sealing and sending runs as long as ours.
    NineGrid,
    /// Against a server without congestion control, loss recovery and statistics.
    Full,
    /// Against a server without loss recovery.
    FecOff,
    /// Against Debian's Janus.
    Janus,
    /// How many subscribers one core serves, and how long packets stay.
    Residence,
    /// How cost and memory grow with subscribers.
    Growth,
}

impl Case {
    /// Those that need nothing of others.
    const OURS: [Self; 7] =
        [Self::Core, Self::Fanout64, Self::NineGrid, Self::Full, Self::FecOff, Self::Residence, Self::Growth];
}

/// A turn: long enough to have packets in it, short enough to be one of many.
fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|error| format!("{error}"))?;
    if (0.2..=60.0).contains(&number) { Ok(number) } else { Err("it is not from 0.2 to 60".to_owned()) }
}

/// Builds what it takes, and measures. A case that fails is tried once more, and does not keep the others from being measured.
pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    let mut cases = options.case.map_or_else(|| Case::OURS.to_vec(), |case| vec![case]);
    if options.peers && options.case.is_none() {
        cases.push(Case::Janus);
    }
    anyhow::ensure!(options.peers || options.case != Some(Case::Janus), "the case janus needs --peers");
    let built = Built::new()?;
    let (mut rows, mut failed) = (Vec::new(), false);
    for case in cases {
        let mut measured = measure(case, &built, options).await;
        if let Err(error) = &measured {
            // A machine that is busy with something else may keep clients from being heard in time.
            eprintln!("\r{case:?} failed and is tried once more: {error:#}");
            measured = measure(case, &built, options).await;
        }
        let measured = measured.unwrap_or_else(|error| {
            eprintln!("\r{case:?} failed again: {error:#}");
            failed = true;
            Vec::new()
        });
        for row in &measured {
            row.show();
            if options.json {
                println!("{}", row.json());
            }
        }
        rows.extend(measured);
    }
    if let Some(file) = &options.html {
        page::write(&rows, file)?;
        eprintln!("plotted in {}", file.display());
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(case: Case, built: &Built, options: &Options) -> Result<Vec<Row>> {
    let (runs, seconds) = (options.runs, options.seconds);
    match case {
        Case::Core => ratios::core(built).await,
        Case::Fanout64 => Ok(vec![ratios::fanout(built, runs, seconds).await?]),
        Case::NineGrid => Ok(vec![ratios::nine_grid(built, runs, seconds).await?]),
        Case::Full => Ok(vec![features::full(built, runs, seconds).await?]),
        Case::FecOff => Ok(vec![features::fec_off(built, runs, seconds).await?]),
        Case::Janus => Ok(vec![janus::measure(built, runs, seconds).await?]),
        Case::Residence => Ok(vec![residence::measure(built).await?]),
        Case::Growth => Ok(vec![growth::measure(built, seconds).await?]),
    }
}
