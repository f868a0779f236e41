//! A real Chromium, driven from Rust: headless, with the fake camera and microphone of [`crate::media`].

mod cdp;
mod page;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub use page::Page;

use crate::media::{self, Camera};
use cdp::Cdp;

const STARTS_WITHIN: Duration = Duration::from_secs(60); // cold caches, two cores, three more starting beside it

/// Where distributions put it.
const PROGRAMS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];

const FLAGS: [&str; 20] = [
    "--headless",
    "--no-sandbox", // CI runs as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--mute-audio",
    "--hide-scrollbars",
];

/// The Chromium of this machine, if it has one. `CHROMIUM` in the environment names another.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    named.into_iter().chain(PROGRAMS.map(PathBuf::from)).find(|path| path.exists())
}

/// A running browser with a fresh profile; it ends when this is dropped.
pub struct Browser {
    process: Child,
    cdp: Cdp,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser whose camera is `camera`, with these command-line flags besides the usual ones. The films are
    /// kept in `media_folder`.
    pub async fn start(camera: Camera, media_folder: &Path, flags: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(media_folder)?;
        let film = camera.file(media_folder).context("the fake camera's film")?;
        let sound = media::microphone(media_folder).context("the fake microphone's sound")?;
        let profile = tempfile::Builder::new().prefix("lianmai-chromium-").tempdir()?;
        let program =
            program().context("no Chromium on this machine; `apt-get install chromium` gets one")?;
        let process = Command::new(program)
            .args(FLAGS)
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--use-file-for-fake-video-capture={}", film.display()))
            .arg(format!("--use-file-for-fake-audio-capture={}", sound.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // so that its children can be ended with it
            .kill_on_drop(true)
            .spawn()
            .context("starting Chromium")?;
        let address = debugging_address(profile.path()).await?;
        let cdp = Cdp::connect(&address).await.context("connecting to Chromium")?;
        Ok(Self { process, cdp, _profile: profile })
    }

    /// Opens an empty page in a window of its own, so that it counts as visible beside the others.
    pub async fn page(&self, name: &str) -> Result<Page> {
        let target = self
            .cdp
            .call(None, "Target.createTarget", json!({ "url": "about:blank", "newWindow": true }))
            .await?;
        let target = text(&target, "targetId")?;
        let attached = self
            .cdp
            .call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }))
            .await?;
        Page::new(self.cdp.clone(), name, target, text(&attached, "sessionId")?).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = self.process.id() {
            // The browser has a dozen child processes: the whole group ends, at once.
            std::process::Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status().ok();
        }
    }
}

/// Chromium writes the port and path of its debugger into its profile as soon as it listens.
async fn debugging_address(profile: &Path) -> Result<String> {
    let file = profile.join("DevToolsActivePort");
    let started = tokio::time::Instant::now();
    while started.elapsed() < STARTS_WITHIN {
        if let Ok(text) = std::fs::read_to_string(&file)
            && let Some((port, path)) = text.trim().split_once('\n')
        {
            return Ok(format!("ws://127.0.0.1:{port}{path}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("Chromium did not start within {STARTS_WITHIN:?}")
}

fn text(value: &Value, field: &str) -> Result<String> {
    Ok(value[field].as_str().with_context(|| format!("no {field} in {value}"))?.to_owned())
}
