//! `cargo xtask bench cc`: the simulator's `sim bench`, built as it should run.
//!
//! In: the options of `sim bench`, passed on as they are. Out: its rows, its table and its exit code. With `--peers`
//! other people's estimators are installed and built in first.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::xtask::{cargo, install};

/// The option that asks for other people's estimators.
const PEERS: &str = "--peers";

/// The feature that has them.
const PEERS_FEATURE: &str = "peer-googcc";

/// The options of `sim bench`.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// What `sim bench` takes: --scenario, --estimator, --scene, --seeds, --trace, --set, --peers, --check, --cpu, --json,
    /// --markdown, --html, --svg.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Builds the simulator and runs it.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    if wants_peers(&options.options) {
        install::tgowt()?;
    }
    let status = command(&options.options).status().context("starting cargo run")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn wants_peers(options: &[OsString]) -> bool {
    options.iter().any(|option| option == PEERS)
}

/// In release: this program is built for quick builds, but what it measures should run as fast as it can. The folder
/// stays the caller's, so that files mean what they say.
fn command(options: &[OsString]) -> Command {
    let mut command = cargo::in_place("run");
    command.args(["--release", "--package", "lianmai-simulator", "--bin", "sim"]);
    if wants_peers(options) {
        command.args(["--features", PEERS_FEATURE]);
    }
    command.args(["--", "bench"]).args(options);
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
        let Bench::Cc(options) = Cli::parse_from(line.split(' ')).bench else { panic!("cc was asked for") };
        command(&options.options).get_args().map(|argument| argument.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn options_are_passed_on_as_they_are() {
        for line in [
            "bench cc --scenario shallow-20,startup --estimator gcc --seeds 1..3 --json",
            "bench cc --set rate=2500k,owd=40ms --html a.html",
            "bench cc --help",
            "bench cc",
        ] {
            let passed = arguments(line);
            let place = passed.iter().position(|argument| argument == "--").unwrap();
            let expected: Vec<&str> = std::iter::once("bench").chain(line.split(' ').skip(2)).collect();
            assert_eq!(passed[place + 1..], expected, "{line}");
            assert!(!passed.contains(&PEERS_FEATURE.to_owned()), "{line}");
            assert!(passed.contains(&"--release".to_owned()), "{line}");
        }
    }

    #[test]
    fn peers_are_built_in_when_asked_for_wherever_that_is_said() {
        for line in ["bench cc --peers --seeds 1", "bench cc --seeds 1 --peers", "bench cc --peers"] {
            let passed = arguments(line);
            let features = passed.iter().position(|argument| argument == "--features").unwrap();
            assert_eq!(passed[features + 1], PEERS_FEATURE, "{line}");
            assert_eq!(
                passed.iter().filter(|argument| *argument == PEERS).count(),
                1,
                "{line}: sim checks it"
            );
        }
    }
}
