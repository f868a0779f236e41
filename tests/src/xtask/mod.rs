//! The commands of `cargo xtask`.

mod bench;
mod browsers;
mod cargo;
mod fuzzing;
mod install;
mod screenshot;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The tests, benches and pictures of Lianmai.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every test: units, properties, fuzzing, real browsers. The last line is `N passed, N failed`.
    Test(test::Options),
    /// Measures something against a reference in the same run.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        bench: bench::Bench,
    },
    /// Takes the README's picture of a real room.
    Screenshot(screenshot::Options),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = runtime().and_then(|runtime| {
        runtime.block_on(async {
            match cli.command {
                Command::Test(options) => test::run(&options).await,
                Command::Bench { bench } => bench::run(&bench).await,
                Command::Screenshot(options) => screenshot::run(&options).await.map(|()| ExitCode::SUCCESS),
            }
        })
    });
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' folder lies in the root")
}

/// Where films and sounds are kept between runs: beside the binaries, never in the repository.
fn media_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new(".")).join("lianmai-media"))
}
