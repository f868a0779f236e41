//! The size of a tile decides which layer its viewer receives.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::stage::{Entry, Probe, Stage};
use crate::chromium::Page;
use crate::media::Camera;

const SWITCHES_WITHIN: Duration = Duration::from_secs(2);
const ALL_LAYERS_WITHIN: Duration = Duration::from_secs(30); // the browser's estimate grows from 300 kbit/s
const GAP_MAX_MS: f64 = 400.0;
const WATCHED_AFTER: Duration = Duration::from_secs(1); // a late gap belongs to the switch as well

/// From here on the test states the layout; the page's own idea of it is not sent any more.
const TAKE_OVER: &str = "
    const room = window.lianmai.room;
    window.stateLayout = room.setLayout.bind(room);
    room.setLayout = () => {};
";

/// A viewer makes a tile large, small, medium and large again, then its whole window small.
pub(super) async fn layers(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::LARGE).await?;
    let sender = stage.join("ann", &Entry { camera: (1280, 720), ..Entry::default() }).await?;
    let window = (1600, 1000);
    let viewer = stage.join("bob", &Entry { camera: (320, 180), window, ..Entry::default() }).await?;
    viewer.sees(1, Duration::from_secs(10)).await?;
    let all = "probe.sent().then((sent) => sent.length === 3 && sent.every((e) => e.frames > 30) || sent)";
    sender.wait_for("sends three layers", all, ALL_LAYERS_WITHIN).await?;

    let mut report = String::new();
    shrink_window(&viewer, &mut report).await?;
    viewer.run(TAKE_OVER).await?;
    for (name, width, height) in [
        ("large", 1280, 720),
        ("small", 320, 180),
        ("medium", 640, 360),
        ("large", 1280, 720),
        ("small", 240, 135),
    ] {
        let layer =
            [320, 640, 1280].into_iter().find(|layer| *layer >= width).context("no layer so large")?;
        switch(&viewer, name, (width, height), layer, &mut report).await?;
    }
    Ok(report)
}

/// States a tile of `size` and waits for pictures of width `layer`.
async fn switch(
    viewer: &Page,
    name: &str,
    (width, height): (u32, u32),
    layer: u32,
    report: &mut String,
) -> Result<()> {
    viewer.run("probe.forget()").await?;
    viewer
        .run(&format!(
            "const tracks = [...window.lianmai.room.participants.values()].flatMap((p) => [...p.tracks.values()]);
             const camera = tracks.find((track) => track.source === 'camera');
             window.stateLayout([{{ track: camera.id, width: {width}, height: {height} }}]);"
        ))
        .await?;
    let claim = format!("made {name}, the tile receives the layer of width {layer}");
    let arrived = format!("Math.abs((probe.frames()[0]?.frames.at(-1)?.width ?? 0) - {layer}) <= 8");
    let waited = viewer.wait_for(&claim, &arrived, SWITCHES_WITHIN).await?;
    let gap = gap_after(viewer).await?;
    ensure!(gap <= GAP_MAX_MS, "{gap:.0} ms without a frame when the tile was made {name}");
    write!(report, "{name} after {} ms (gap {gap:.0} ms), ", waited.as_millis())?;
    Ok(())
}

/// The window becomes a phone's: the page itself must state smaller tiles.
async fn shrink_window(viewer: &Page, report: &mut String) -> Result<()> {
    let width = "(probe.frames()[0]?.frames.at(-1)?.width ?? 9999)";
    let large = "(probe.frames()[0]?.frames.at(-1)?.width ?? 0) >= 640 || probe.frames()[0]?.frames.at(-1)";
    viewer.wait_for("a large window receives a large layer", large, Duration::from_secs(10)).await?;
    let before: u32 = viewer.eval(width).await?;
    viewer.run("probe.forget()").await?;
    viewer.resize(320, 480).await?;
    let smaller = format!("{width} < {before} || {width}");
    let waited =
        viewer.wait_for("a small window receives a smaller layer", &smaller, SWITCHES_WITHIN).await?;
    let gap = gap_after(viewer).await?;
    ensure!(gap <= GAP_MAX_MS, "{gap:.0} ms without a frame when the window was made small");
    write!(report, "window small after {} ms (gap {gap:.0} ms), ", waited.as_millis())?;
    Ok(())
}

async fn gap_after(viewer: &Page) -> Result<f64> {
    tokio::time::sleep(WATCHED_AFTER).await;
    let frames = viewer.frames().await?;
    Ok(frames.first().context("no frames")?.longest_gap_ms())
}
