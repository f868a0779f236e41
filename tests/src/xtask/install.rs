//! What a fresh machine lacks: Chromium, from Debian.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::chromium;

/// Installs Chromium with apt-get unless there is one.
pub(super) fn chromium() -> Result<()> {
    if chromium::program().is_some() {
        return Ok(());
    }
    eprintln!("installing Debian's chromium (apt-get), as this machine has none …");
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "chromium"]] {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("there is no apt-get here: install Chromium by hand, or name it in CHROMIUM")?;
        ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    }
    ensure!(chromium::program().is_some(), "apt-get installed chromium, but it is not to be found");
    Ok(())
}
