//! `cargo xtask bench fec-forwarding`: what loss recovery costs where nothing is lost, against its being compiled out.
//!
//! In: nothing. Out: one row: ns a forwarded packet with and without, and their ratio. The same program
//! (`sfu/examples/repair_cost.rs`) is built both ways, and the two run in turns, so that whatever else the machine does falls
//! on both.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use crate::xtask::cargo;

/// How much more than without it may cost.
const RATIO_MAX: f64 = 1.01;

/// How often to measure.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// Runs of each; the ratio is the median of pairs.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
    /// Fails if it costs more than a hundredth.
    #[arg(long)]
    check: bool,
}

/// Builds both and measures.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    let program = ["--package", "lianmai-sfu", "--example", "repair_cost"];
    cargo::build_release(&with, &program)?;
    cargo::build_release(&without, &[&program[..], &["--features", "without-repair"]].concat())?;
    let mut pairs = Vec::new();
    for run in 0..options.runs {
        pairs.push((measure(&with)?, measure(&without)?));
        eprint!("\r{} of {} runs ", run + 1, options.runs);
    }
    let (ours, reference) =
        (median(pairs.iter().map(|pair| pair.0)), median(pairs.iter().map(|pair| pair.1)));
    let ratio = median(pairs.iter().map(|pair| pair.0 / pair.1));
    eprintln!(
        "\rforwarding a packet: {ours:.1} ns with loss recovery, {reference:.1} ns without, ratio {ratio:.3}"
    );
    if options.json {
        let row = json!({
            "bench": "fec-forwarding", "case": "no-loss", "ours": ours, "reference": reference, "unit": "ns", "ratio": ratio
        });
        println!("{row}");
    }
    Ok(if options.check && ratio > RATIO_MAX { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn measure(program: &Path) -> Result<f64> {
    let output = Command::new(program).output().with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("{} printed {text:?}", program.display()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        for (values, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[5.0], 5.0), (&[4.0, 1.0], 4.0)] {
            assert!((median(values.iter().copied()) - expected).abs() < 1e-12, "{values:?}");
        }
    }
}
