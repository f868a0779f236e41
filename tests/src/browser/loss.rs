//! A network that loses every twentieth packet each way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use simulator::link::plan::Loss;

use super::stage::{Entry, Probe, Stage};
use crate::chromium::Page;
use crate::media::Camera;
use crate::relay::{self, LinkPlan, Relay};

const LOSS: f64 = 0.05;
const RTT: Duration = Duration::from_millis(60);
const SETTLES: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(60); // a freeze is worth 0.3 %: fewer seconds measure luck
const FROZEN_MAX: f64 = 0.02; // of the time
const FRAME_RATE_MIN: f64 = 20.0;

/// Who of the two is behind the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// The viewer: what the server sends is lost on the way.
    Viewer,
    /// The sender: what the server should receive is lost.
    Sender,
    /// Both.
    Both,
}

/// The viewer is behind such a network: what it sees all but never freezes.
pub(super) async fn viewer(stage: &mut Stage) -> Result<String> {
    loss(stage, Behind::Viewer).await
}

/// The sender is behind such a network: whoever sees it sees it all but never freeze.
pub(super) async fn sender(stage: &mut Stage) -> Result<String> {
    loss(stage, Behind::Sender).await
}

/// Both are behind such a network, so every packet crosses it twice.
pub(super) async fn both(stage: &mut Stage) -> Result<String> {
    loss(stage, Behind::Both).await
}

async fn loss(stage: &mut Stage, behind: Behind) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let link = LinkPlan { loss: Loss::Independent(LOSS), delay: RTT / 2, ..LinkPlan::default() };
    let relay = relay::symmetric(stage.server()?.media(), &link, &stage.seed)?;
    let relayed = Entry { media_port: Some(relay.address().port()), ..Entry::default() };
    let direct = Entry::default();
    let near = stage.join("ann", if behind == Behind::Both { &relayed } else { &direct }).await?;
    let far = stage.join("bob", &relayed).await?;
    for page in [&near, &far] {
        page.sees(1, Duration::from_secs(15)).await?;
    }
    tokio::time::sleep(SETTLES).await;
    let measured = match behind {
        Behind::Viewer => watch(&far, &near).await?,
        Behind::Sender | Behind::Both => watch(&near, &far).await?,
    };
    check_the_relay(&relay)?;
    Ok(measured)
}

/// How `viewer` sees `sender` for a while.
async fn watch(viewer: &Page, sender: &Page) -> Result<String> {
    let old = viewer.videos().await?.pop().context("no video")?;
    tokio::time::sleep(MEASURED).await;
    let new = viewer.videos().await?.pop().context("no video any more")?;
    let frozen = (new.frozen_s - old.frozen_s) / MEASURED.as_secs_f64();
    let rate = (new.decoded - old.decoded) / MEASURED.as_secs_f64();
    let freezes = new.freezes - old.freezes;
    let waited = (new.waited_s - old.waited_s) / (new.emitted - old.emitted).max(1.0) * 1e3;
    let report = format!(
        "frozen {:.2} % of the time in {freezes} freezes, {rate:.1} frames a second, buffered {waited:.0} ms",
        frozen * 100.0
    );
    let fine = frozen <= FROZEN_MAX && rate >= FRAME_RATE_MIN;
    ensure!(fine, "{report}: from {old:?} to {new:?}; sent: {:?}", sender.sent().await?);
    Ok(report)
}

/// That the network was as bad as claimed.
fn check_the_relay(relay: &Relay) -> Result<()> {
    let counts = relay.counts()?;
    for way in [counts.up, counts.down] {
        let (carried, lost) = (way.passed, way.lost());
        let share = lost as f64 / (carried + lost) as f64;
        ensure!((0.04..0.06).contains(&share), "the relay lost {lost} of {}", carried + lost);
    }
    Ok(())
}
