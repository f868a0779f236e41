//! `sim`: plays scenarios in virtual time and tells how good estimators are.
//!
//! A shell: it has files, threads and clocks and decides nothing. Rows go to the standard output, one JSON object a line;
//! everything for people goes to the standard error. It ends with 0 if all is well, 1 if a run broke a rule, 2 if
//! it was asked for what there is not.

mod ask;
mod bench;
mod clock;
mod compare;
mod cpu;
mod fec;
mod list;
mod output;
mod play;
mod progress;
mod protected;
mod replay;
mod single;
mod speed;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the program ends with if it was asked for what there is not.
const REFUSED: u8 = 2;

/// Lianmai's simulator: networks, media and congestion control in virtual time.
#[derive(Debug, Parser)]
#[command(name = "sim", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows scenarios and estimators.
    List(list::Options),
    /// Plays one scenario once.
    Run(single::Options),
    /// Plays a plan: scenarios, values, estimators and seeds, in every combination.
    Sweep(sweep::Options),
    /// Plays a run again, as a violation names it, and shows what happened around it.
    Replay(replay::Options),
    /// Sets two estimators, or the rows of two files, against each other.
    Compare(compare::Options),
    /// Measures estimators in scenarios: `cargo xtask bench cc`.
    Bench(bench::Options),
    /// Measures what repairs losses in time, and what it costs: `cargo xtask bench fec`.
    Fec(fec::Options),
    /// Plays loss recovery and congestion control together: `cargo xtask bench fec --combined`.
    Recovery(protected::Options),
    /// Measures how much faster than real time runs are.
    Speed(speed::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::List(options) => list::run(&options),
        Command::Run(options) => single::run(&options),
        Command::Sweep(options) => sweep::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Fec(options) => fec::run(&options),
        Command::Recovery(options) => protected::run(&options),
        Command::Speed(options) => speed::run(&options),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads only the first lines closes the pipe: that is no fault.
        let is_closed = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(is_closed) {
            return ExitCode::SUCCESS;
        }
        eprintln!("sim: {error:#}");
        ExitCode::from(REFUSED)
    })
}
