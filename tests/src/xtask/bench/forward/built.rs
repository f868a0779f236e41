//! The programs that are measured, built in release: the server with and without what is measured, and the load generator.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::xtask::cargo;

/// What is built for a server.
const SERVER: [&str; 2] = ["--package", "lianmai-server"];

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
    /// Loss recovery, congestion control with all that it counts, and statistics.
    Everything,
}

impl Built {
    /// Builds the generator; the rest is built when it is needed.
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let generator = folder.path().join("load");
        cargo::build_release(&generator, &["--package", "lianmai-tests", "--example", "load"])?;
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
        let server = self.folder.path().join("lianmai");
        cargo::build_release(&server, &SERVER)?;
        Ok(self.server.get_or_init(|| server).clone())
    }

    /// The server without something.
    pub(super) fn server_without(&self, what: Without) -> Result<PathBuf> {
        let (name, features) = match what {
            Without::Repair => ("without-repair", "without-repair"),
            Without::Everything => ("without-everything", "without-repair,without-control,without-stats"),
        };
        let server = self.folder.path().join(name);
        cargo::build_release(&server, &[&SERVER[..], &["--features", features]].concat())?;
        Ok(server)
    }
}
