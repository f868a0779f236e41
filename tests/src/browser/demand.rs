//! A publisher makes as much of its picture as its viewer's path carries.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::units::Bitrate;
use simulator::link::plan::{Depth, Queue, Rate};

use super::stage::{Entry, Probe, Stage};
use crate::chromium::Page;
use crate::media::{Camera, Detail};
use crate::relay::{self, LinkPlan};

const TOP_KBPS: f64 = 2_500.0;
const NARROW: Bitrate = Bitrate::mbps(2);
const WIDE: Bitrate = Bitrate::mbps(20);
const WARM_WITHIN: Duration = Duration::from_secs(40); // the browser's estimate grows from 300 kbit/s
const LARGE_WITHIN: Duration = Duration::from_secs(15);
const FREE_WITHIN: Duration = Duration::from_secs(40); // the estimate of the path, then steps of half as much more
const MEASURED: Duration = Duration::from_secs(15);
const KBPS_MIN: f64 = 1_200.0;
const FROZEN_MAX: f64 = 0.02; // of the time

/// The application itself allows more than the page would.
const ALLOW: &str = "
    const sender = window.lianmai.room.peerConnection.getSenders().find((one) => one.track?.kind === 'video');
    const parameters = sender.getParameters();
    parameters.encodings[0].maxBitrate = 2500000;
    await sender.setParameters(parameters);
";

/// The viewer states a tile of the picture's size, whatever room its page has for it.
const SHOW_LARGE: &str = "
    const { room } = window.lianmai;
    const tracks = [...room.participants.values()].flatMap((one) => [...one.tracks.values()]);
    const camera = tracks.find((track) => track.source === 'camera');
    const show = room.setLayout.bind(room);
    room.setLayout = () => {};
    show([{ track: camera.id, width: 1280, height: 720 }]);
";

/// The viewer's path is narrow at first and wide afterwards.
pub(super) async fn demand(stage: &mut Stage) -> Result<String> {
    stage.open(Camera { detail: Detail::Rich, ..Camera::LARGE }).await?;
    let (camera, window) = ((1280, 720), (1600, 1000));
    let sender = stage.join("ann", &Entry { camera, window, ..Entry::default() }).await?;
    sender.run(ALLOW).await?;
    sender.wait_for("sends all that is allowed", &aims_at(TOP_KBPS * 0.9), WARM_WITHIN).await?;

    let relay = relay::symmetric(stage.server()?.media(), &link(NARROW), &stage.seed)?;
    let media_port = Some(relay.address().port());
    let viewer =
        stage.join("bob", &Entry { camera: (320, 180), window, media_port, ..Entry::default() }).await?;
    viewer.sees(1, Duration::from_secs(10)).await?;
    viewer.run(SHOW_LARGE).await?;
    let large = "(probe.frames()[0]?.frames.at(-1)?.width ?? 0) >= 1272 || probe.frames()[0]?.frames.at(-1)";
    let waited = viewer.wait_for("receives the largest picture", large, LARGE_WITHIN).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (kbps, frozen) = watch(&viewer).await?;
    let report =
        format!("large after {} ms, {kbps:.0} kbit/s, frozen {:.1} %", waited.as_millis(), frozen * 1e2);
    ensure!(kbps >= KBPS_MIN && frozen <= FROZEN_MAX, "{report}; sent: {:?}", sender.sent().await?);

    relay.set_links(link(WIDE), link(WIDE))?;
    let freed = sender.wait_for("sends all again", &aims_at(TOP_KBPS * 0.9), FREE_WITHIN).await?;
    Ok(format!("{report}; all again after {} ms", freed.as_millis()))
}

/// Whether the largest encoding aims at so much.
fn aims_at(kbps: f64) -> String {
    format!("probe.sent().then((sent) => sent.some((one) => one.target_kbps >= {kbps}) || sent)")
}

fn link(rate: Bitrate) -> LinkPlan {
    LinkPlan {
        rate: Rate::Constant(rate),
        queue: Queue::DropTail(Depth::Time(Duration::from_millis(200))),
        delay: Duration::from_millis(20),
        ..LinkPlan::default()
    }
}

/// What a viewer receives for a while in kbit/s, and the share of the time for which it was frozen.
async fn watch(viewer: &Page) -> Result<(f64, f64)> {
    let old = viewer.videos().await?.pop().context("no video")?;
    tokio::time::sleep(MEASURED).await;
    let new = viewer.videos().await?.pop().context("no video any more")?;
    ensure!(new.width >= 1272, "the picture is {} wide now", new.width);
    let seconds = MEASURED.as_secs_f64();
    Ok(((new.bytes - old.bytes) * 8e-3 / seconds, (new.frozen_s - old.frozen_s) / seconds))
}
