//! `cargo xtask bench fec`: the simulator's `sim fec`, built as it should run.
//!
//! In: the options of `sim fec`, passed on as they are. Out: its rows, its table and its exit code.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::xtask::cargo;

/// The options of `sim fec`.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// What `sim fec` takes: --rtt, --deadline, --loss, --burst, --k, --policy, --eps, --seeds, --blocks, --prompt, --check,
    /// --json, --html.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Builds the simulator and runs it.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let status = command(&options.options).status().context("starting cargo run")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// In release, and in the caller's folder, so that files mean what they say.
fn command(options: &[OsString]) -> Command {
    let mut command = cargo::in_place("run");
    command.args(["--release", "--package", "lianmai-simulator", "--bin", "sim", "--", "fec"]).args(options);
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

    #[test]
    fn options_are_passed_on_as_they_are() {
        for line in
            ["bench fec --rtt 60 --loss 0.05 --burst L3 --json", "bench fec --check", "bench fec --help"]
        {
            let Bench::Fec(options) = Cli::parse_from(line.split(' ')).bench else {
                panic!("fec was asked for")
            };
            let command = command(&options.options);
            let passed: Vec<&str> = command.get_args().map(|argument| argument.to_str().unwrap()).collect();
            let place = passed.iter().position(|argument| *argument == "--").unwrap();
            let expected: Vec<&str> = line.split(' ').skip(1).collect();
            assert_eq!(passed[place + 1..], expected, "{line}");
        }
    }
}
