//! `cargo xtask test`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::cargo::Counts;
use super::{browsers, cargo, fuzzing, install};
use crate::{browser, clock, fuzz};

/// What to test, and how long.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only the tests whose name contains this: unit tests, fuzz targets, browser tests.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Without the tests in Chromium.
    #[arg(long)]
    skip_browser: bool,
    /// How long to fuzz each parser.
    #[arg(long, value_name = "SECONDS", default_value_t = 12)]
    fuzz_seconds: u64,
    /// The seed of fuzzing and of the networks in the browser tests; another one each time if left out.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs everything, even after a failure; the last line is `N passed, N failed`.
pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    let started = clock::now();
    let only = options.only.as_deref();
    let seed = options.seed.unwrap_or_else(clock::arbitrary_seed);
    let program = crate::server::program()?; // asked before cargo replaces this binary

    let mut counts = Counts::default();
    if has_units(only) {
        step("unit and property tests");
        install::libopus()?;
        counts.include(cargo::test(only)?);
    }
    if options.fuzz_seconds > 0 {
        step("fuzzing");
        counts.include(fuzzing::run(only, seed, Duration::from_secs(options.fuzz_seconds)));
    }
    if !options.skip_browser && has_browsers(only) {
        step("real browsers");
        install::chromium()?;
        cargo::build_server()?;
        println!("server: {}", program.display());
        counts.include(browsers::run(only, seed).await?);
    }
    println!("took {:.0} s, seed {seed}", started.elapsed().as_secs_f64());
    if counts == Counts::default() {
        println!("no test has {:?} in its name", only.unwrap_or_default());
        counts.failed = 1;
    }
    println!("{} passed, {} failed", counts.passed, counts.failed);
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn step(name: &str) {
    println!("== {name}");
}

/// A name that is exactly a browser test's or a fuzz target's leaves cargo's tests alone: they take minutes to build.
fn has_units(only: Option<&str>) -> bool {
    only.is_none_or(|only| {
        !browser::all().iter().any(|case| case.name == only)
            && !fuzz::all().iter().any(|target| target.name == only)
    })
}

fn has_browsers(only: Option<&str>) -> bool {
    only.is_none_or(|only| browser::all().iter().any(|case| case.name.contains(only)))
}
