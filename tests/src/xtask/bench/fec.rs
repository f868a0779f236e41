//! `cargo xtask bench fec`: the simulator's `sim fec`, built as it should run; with `--combined` its `sim recovery`.
//!
//! In: the options of either, passed on as they are. Out: its rows, its table and its exit code. `--combined` is against
//! other people's congestion control, which is installed and built in first. With `--audio` it is [`fec_audio`] instead.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use super::fec_audio;
use crate::xtask::{cargo, install};

/// The option that asks for congestion control beside loss recovery.
const COMBINED: &str = "--combined";

/// The feature that has other people's.
const PEERS_FEATURE: &str = "peer-googcc";

/// The options of `sim fec`.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// What `sim fec` takes: --rtt, --deadline, --loss, --burst, --k, --policy, --eps, --seeds, --blocks, --prompt, --check,
    /// --json, --html. With --combined what `sim recovery` takes: --scenario, --policy, --scene, --seeds, --set, --check,
    /// --json, --html.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Builds the simulator and runs it.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(options) = fec_audio::options(&options.options) {
        return fec_audio::run(&options?);
    }
    if is_combined(&options.options) {
        install::tgowt()?;
    }
    let status = command(&options.options).status().context("starting cargo run")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn is_combined(options: &[OsString]) -> bool {
    options.iter().any(|option| option == COMBINED)
}

/// In release, and in the caller's folder, so that files mean what they say.
fn command(options: &[OsString]) -> Command {
    let mut command = cargo::in_place("run");
    command.args(["--release", "--package", "lianmai-simulator", "--bin", "sim"]);
    if is_combined(options) {
        command.args(["--features", PEERS_FEATURE, "--", "recovery"]);
    } else {
        command.args(["--", "fec"]);
    }
    command.args(options.iter().filter(|option| *option != COMBINED));
    command
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::xtask::bench::Bench;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        bench: Bench,
    }

    fn arguments(line: &str) -> Vec<String> {
        let Bench::Fec(options) = Cli::parse_from(line.split(' ')).bench else { panic!("fec was asked for") };
        command(&options.options).get_args().map(|argument| argument.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn options_are_passed_on_as_they_are() {
        for line in
            ["bench fec --rtt 60 --loss 0.05 --burst L3 --json", "bench fec --check", "bench fec --help"]
        {
            let passed = arguments(line);
            let place = passed.iter().position(|argument| *argument == "--").unwrap();
            let expected: Vec<&str> = line.split(' ').skip(1).collect();
            assert_eq!(passed[place + 1..], expected, "{line}");
            assert!(!passed.contains(&PEERS_FEATURE.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_combination_is_another_command_with_peers() {
        for line in ["bench fec --combined --check --seeds 1..3", "bench fec --check --seeds 1..3 --combined"]
        {
            let passed = arguments(line);
            let place = passed.iter().position(|argument| *argument == "--").unwrap();
            assert_eq!(passed[place + 1..], ["recovery", "--check", "--seeds", "1..3"], "{line}");
            let features = passed.iter().position(|argument| argument == "--features").unwrap();
            assert_eq!(passed[features + 1], PEERS_FEATURE, "{line}");
        }
    }
}
