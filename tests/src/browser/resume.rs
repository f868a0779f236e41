//! A WebSocket that breaks while media flows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::stage::{Entry, Probe, Stage};
use crate::media::Camera;
use crate::relay::TcpRelay;

const CUT: Duration = Duration::from_secs(5);
const RESUMES_WITHIN: Duration = Duration::from_secs(10); // after the cut: the page waits between its attempts
const GAP_MAX_MS: f64 = 400.0;

/// Ann's WebSocket is cut for five seconds: she stays who she is, and nobody misses a frame.
pub(super) async fn resume(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let relay = TcpRelay::start(stage.server()?.http()).await?;
    let ann = stage.join("ann", &Entry { through: Some(relay.address()), ..Entry::default() }).await?;
    let bob = stage.join("bob", &Entry::default()).await?;
    for page in [&ann, &bob] {
        page.sees(1, Duration::from_secs(10)).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let me: String = ann.eval("probe.me()").await?;
    for page in [&ann, &bob] {
        page.run("probe.forget()").await?;
    }

    relay.cut();
    let broken = "probe.sockets.every((socket) => socket.readyState > 1) || probe.sockets.length";
    ann.wait_for("the WebSocket is broken", broken, Duration::from_secs(2)).await?;
    tokio::time::sleep(CUT).await;
    relay.mend();
    let resumed = "probe.said('resumed').length === 1 || probe.notices.at(-1)";
    let waited = ann.wait_for("takes its session up again", resumed, RESUMES_WITHIN).await?;

    ensure!(ann.eval::<String>("probe.me()").await? == me, "ann is somebody else after the cut");
    ensure!(ann.eval::<usize>("probe.said('joined').length").await? == 1, "ann joined anew");
    let left: usize = bob.eval("probe.said('participant_left').length").await?;
    ensure!(left == 0, "bob was told that ann left");
    let mut worst: f64 = 0.0;
    for page in [&ann, &bob] {
        let frames = page.frames().await?;
        let gap = frames.first().context("no frames")?.longest_gap_ms();
        ensure!(gap <= GAP_MAX_MS, "{}: {gap:.0} ms without a frame", page.name());
        worst = worst.max(gap);
    }
    ann.run("window.lianmai.room.mute('microphone', true)").await?;
    let told = "probe.said('track_muted').length === 1";
    bob.wait_for("hears of ann's muting over the new WebSocket", told, Duration::from_secs(2)).await?;
    Ok(format!("resumed {} ms after the cut; longest gap {worst:.0} ms", waited.as_millis()))
}
