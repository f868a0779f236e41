//! The programs that are measured, built in release: the server with and without what is measured, and the load generator.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::xtask::cargo;

/// See the module's description.
pub(super) struct Built {
    folder: TempDir,
    generator: PathBuf,
    server: OnceCell<PathBuf>,
}

/// A server with parts of it left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Loss recovery.
    Repair,
    /// Loss recovery, and congestion control with all that it counts.
    RepairAndControl,
}

impl Built {
    /// Builds the generator; the rest is built when it is needed.
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let generator = build(folder.path(), "load", &["--package", "lianmai-tests", "--example", "load"])?;
        Ok(Self { folder, generator, server: OnceCell::new() })
    }

    /// The load generator.
    pub(super) fn generator(&self) -> &Path {
        &self.generator
    }

    /// The server as it is.
    pub(super) fn server(&self) -> Result<PathBuf> {
        if let Some(server) = self.server.get() {
            return Ok(server.clone());
        }
        let server = build(self.folder.path(), "lianmai", &["--package", "lianmai-server"])?;
        Ok(self.server.get_or_init(|| server).clone())
    }

    /// The server without something.
    pub(super) fn server_without(&self, what: Without) -> Result<PathBuf> {
        let (name, features) = match what {
            Without::Repair => ("without-repair", "without-repair"),
            Without::RepairAndControl => ("without-control", "without-repair,without-control"),
        };
        build(self.folder.path(), name, &["--package", "lianmai-server", "--features", features])
    }
}

/// Builds a program and keeps it under a name of its own: the next build has the same name elsewhere.
fn build(folder: &Path, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let mut command = cargo::in_place("build");
    command.args(["--release", "--message-format", "json"]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().context("starting cargo")?;
    ensure!(output.status.success(), "{name} does not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let built = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    let kept = folder.join(name);
    std::fs::copy(built.context("cargo names no program")?, &kept)?;
    Ok(kept)
}
