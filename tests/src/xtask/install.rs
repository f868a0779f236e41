//! What a fresh machine lacks: Chromium, libopus, and libwebrtc with a compiler for it, from Debian.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libopus::Opus;

use crate::chromium;

/// Installs Chromium with apt-get unless there is one.
pub(super) fn chromium() -> Result<()> {
    if chromium::program().is_some() {
        return Ok(());
    }
    eprintln!("installing Debian's chromium (apt-get), as this machine has none …");
    apt_get(&["chromium"]).context("install Chromium by hand, or name it in CHROMIUM")?;
    ensure!(chromium::program().is_some(), "apt-get installed chromium, but it is not to be found");
    Ok(())
}

/// Loads libopus, which `libopus0` is installed for with apt-get unless it is there.
pub(super) fn libopus() -> Result<Opus> {
    if let Ok(opus) = Opus::load() {
        return Ok(opus);
    }
    eprintln!("installing Debian's libopus0 (apt-get), as this machine has none …");
    apt_get(&["libopus0"]).context("install libopus0 by hand")?;
    Ok(Opus::load()?)
}

/// Installs libwebrtc (Debian's libtgowt-dev) and a C++ compiler with apt-get unless they are there: what the feature
/// `peer-googcc` is built with.
pub(super) fn tgowt() -> Result<()> {
    if has_tgowt() && has_compiler() {
        return Ok(());
    }
    eprintln!("installing Debian's libtgowt-dev and g++ (apt-get), as this machine lacks them …");
    apt_get(&["libtgowt-dev", "g++"]).context("install libtgowt-dev and g++ by hand")?;
    ensure!(
        has_tgowt() && has_compiler(),
        "apt-get installed libtgowt-dev and g++, but they are not to be found"
    );
    Ok(())
}

/// Installs Janus with apt-get unless it is there.
pub(super) fn janus() -> Result<()> {
    let has_janus =
        || ["/usr/bin/janus", "/usr/local/bin/janus"].iter().any(|path| Path::new(path).is_file());
    if has_janus() {
        return Ok(());
    }
    eprintln!("installing Debian's janus (apt-get), as this machine has none …");
    apt_get(&["janus"]).context("install Janus by hand")?;
    ensure!(has_janus(), "apt-get installed janus, but it is not to be found");
    Ok(())
}

fn has_tgowt() -> bool {
    Path::new("/usr/include/tg_owt/api/transport/goog_cc_factory.h").is_file()
}

fn has_compiler() -> bool {
    Command::new("c++").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn apt_get(packages: &[&str]) -> Result<()> {
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    for arguments in [&["update"][..], &install] {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::io::stderr()) // results alone go to the standard output
            .status()
            .context("there is no apt-get here")?;
        ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}
