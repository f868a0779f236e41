//! `cargo xtask screenshot`: a real room, as its guests see it.

use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use proto::seed::Seed;

use super::{cargo, install};
use crate::browser::stage::{Entry, Probe, Stage};
use crate::media::{Camera, Palette};

/// Where to put it, and how large.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file to write, from the repository's root.
    #[arg(long, value_name = "FILE", default_value = "docs/room.png")]
    file: String,
    /// The window's width in pixels.
    #[arg(long, default_value_t = 1280)]
    width: u32,
    /// The window's height in pixels.
    #[arg(long, default_value_t = 800)]
    height: u32,
    /// With each tile's readings.
    #[arg(long)]
    stats: bool,
}

/// Three people in three browsers, each with a camera of their own.
pub(super) async fn run(options: &Options) -> Result<()> {
    install::chromium()?;
    cargo::build_server()?;
    let mut stage = Stage::new(super::media_folder()?, Seed::from_number(0));
    let taken = take(&mut stage, options).await;
    let image = taken.inspect_err(|_| eprint!("{}", stage.remains()))?;
    let file = cargo::in_repository(&options.file);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&file, image).with_context(|| format!("writing {}", file.display()))?;
    eprintln!("{}", file.display());
    Ok(())
}

async fn take(stage: &mut Stage, options: &Options) -> Result<Vec<u8>> {
    let entry = Entry { room: "lianmai", window: (options.width, options.height), ..Entry::default() };
    stage.open(Camera::SMALL).await?;
    stage.join("Ann", &entry).await?;
    stage.add_browser(Camera { palette: Palette::Sea, ..Camera::SMALL }).await?;
    stage.join("Bo", &entry).await?;
    stage.add_browser(Camera { palette: Palette::Field, ..Camera::SMALL }).await?;
    let page = stage.join("Cleo", &entry).await?;
    page.sees(2, Duration::from_secs(20)).await?;
    if options.stats {
        page.run("document.querySelector('#stats').click()").await?;
        tokio::time::sleep(Duration::from_secs(40)).await; // until the curves are worth looking at
    }
    tokio::time::sleep(Duration::from_secs(5)).await; // until the large layers have arrived
    BASE64_STANDARD.decode(page.screenshot().await?).context("a screenshot in base64")
}
