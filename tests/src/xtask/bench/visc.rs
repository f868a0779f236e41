//! `cargo xtask bench visc`: which tiers publishers send, against the optimum, against three layers, against KMR.
//!
//! In: instances, seeds, settings. Out: rows of JSON on the standard output, a table for people on the standard error, a page
//! with plots. What is measured runs in release; the optimum is found by Debian's `coinor-cbc`, which is installed with
//! apt-get unless it is there. Limit: the solver's time a room; where it ends without proof, the row says how far it was.

mod instances;
mod kmr;
mod knapsack;
mod measure;
mod optimum;
mod page;
mod room;
mod row;
mod settings;
mod three_layer;
mod wavering;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use simulator::sweep::Seeds;

use crate::xtask::cargo;
use instances::Name;
use row::Row;
use settings::Settings;

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// Instances: nine-grid, 6v6, 4x40, 4x6, 2x9, and for time alone 12x12 and 18x100; all if none is named.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    instance: Vec<Name>,
    /// The seeds, both ends included.
    #[arg(long, value_name = "A..B", default_value = "1..6")]
    seeds: Seeds,
    /// Other rooms than the usual, as KEY=VALUE: downlink, uplink (medians, Mbit/s), downlink-spread, uplink-spread, streams,
    /// layers (1 to 3, temporal), hidden, weak (shares of slots and of devices), ladder (a file of tiers).
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    set: Vec<settings::Setting>,
    /// How long the solver may take for a room, in seconds.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Ends with 1 if a goal is missed.
    #[arg(long)]
    check: bool,
    /// Prints a JSON object a line.
    #[arg(long)]
    json: bool,
    /// Writes a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Measures, in release.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        return again_in_release();
    }
    solver()?;
    let settings = Settings::new(&options.set)?;
    let names = if options.instance.is_empty() { &Name::ALL[..] } else { &options.instance };
    let mut rows: Vec<Row> = Vec::new();
    eprintln!("{}", row::HEAD);
    for name in names {
        let measured = measure::measure(*name, options.seeds, &settings, options.seconds)?;
        for row in &measured {
            eprintln!("{}", row.line());
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
    let missed: Vec<String> = rows.iter().flat_map(Row::missed).collect();
    for line in &missed {
        eprintln!("missed: {line}");
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The same command, built as it should run: plans are timed.
fn again_in_release() -> Result<ExitCode> {
    let mut command = cargo::in_place("run");
    command
        .args(["--release", "--package", "lianmai-tests", "--bin", "xtask", "--"])
        .args(std::env::args_os().skip(1));
    let status = command.status().context("starting cargo run")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Installs the solver unless it is there.
fn solver() -> Result<()> {
    let is_there = || Path::new("/usr/bin/cbc").is_file() || Path::new("/usr/local/bin/cbc").is_file();
    if is_there() {
        return Ok(());
    }
    eprintln!("installing Debian's coinor-cbc (apt-get), as this machine has none …");
    let mut apt_get = Command::new("apt-get");
    apt_get
        .args(["install", "--yes", "--no-install-recommends", "coinor-cbc"])
        .stdout(std::process::Stdio::null());
    let status = apt_get.status().context("starting apt-get; install coinor-cbc by hand")?;
    ensure!(status.success() && is_there(), "apt-get ended with {status}; install coinor-cbc by hand");
    Ok(())
}
