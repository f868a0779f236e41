//! Cargo run as a child, its progress passed on and its test results counted.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Those that passed.
    pub(super) passed: usize,
    /// Those that failed.
    pub(super) failed: usize,
}

impl Counts {
    /// One more test.
    pub(super) fn add(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// All the tests of `other` as well.
    pub(super) fn include(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs the unit and property tests whose name contains `only`; prints what cargo prints.
pub(super) fn test(only: Option<&str>) -> Result<Counts> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(only).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting cargo test")?;
    let mut counts = Counts::default();
    for line in BufReader::new(child.stdout.take().context("stdout is piped")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some(more) = counts_in(&line) {
            counts.include(more);
        }
    }
    let ended_well = child.wait()?.success();
    if !ended_well && counts.failed == 0 {
        counts.failed = 1; // it did not even compile, or a test took the process with it
    }
    Ok(counts)
}

/// Builds the server; its binary lies beside this one.
pub(super) fn build_server() -> Result<PathBuf> {
    // The whole workspace decides on features, as when its tests were built: nothing is built twice.
    let arguments = ["build", "--workspace", "--bin", "lianmai"];
    let status = cargo().args(arguments).status().context("starting cargo build")?;
    ensure!(status.success(), "the server does not build");
    crate::server::program()
}

/// Builds a program in release and keeps a copy as `kept`: the next build, with other features, gives it the same name elsewhere. What
/// both builds share is compiled once, and what they do not share stays in cargo's own folder.
pub(super) fn build_release(kept: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = in_place("build");
    command.args(["--release", "--message-format", "json"]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().context("starting cargo build")?;
    ensure!(output.status.success(), "{} does not build", kept.display());
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let built = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    std::fs::copy(built.context("cargo names no program")?, kept)?;
    Ok(())
}

fn cargo() -> Command {
    let mut command = program();
    command.current_dir(super::root());
    command
}

/// Cargo for this repository, in the folder that the caller is in.
pub(super) fn in_place(subcommand: &str) -> Command {
    let mut command = program();
    command.arg(subcommand).arg("--manifest-path").arg(super::root().join("Cargo.toml"));
    command
}

fn program() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The numbers of a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn counts_in(line: &str) -> Option<Counts> {
    let result = line.strip_prefix("test result: ")?;
    let number_before = |word: &str| {
        let (before, _) = result.split_once(word)?;
        before.split_whitespace().last()?.parse().ok()
    };
    Some(Counts { passed: number_before(" passed")?, failed: number_before(" failed")? })
}

/// A folder under the repository's root.
pub(super) fn in_repository(path: &str) -> PathBuf {
    let path = Path::new(path);
    if path.is_absolute() { path.to_owned() } else { super::root().join(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_from_cargos_lines() {
        for (line, counts) in [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured", Some((12, 0))),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", Some((3, 2))),
            ("test sfu::demux ... ok", None),
        ] {
            let expected = counts.map(|(passed, failed)| Counts { passed, failed });
            assert_eq!(counts_in(line), expected, "{line}");
        }
    }
}
