//! How the others learn that somebody is gone.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::{Entry, Probe, Stage};
use crate::chromium::Page;
use crate::media::Camera;

const LEAVES_WITHIN: Duration = Duration::from_secs(1);
const VANISHES_WITHIN: Duration = Duration::from_secs(15);

/// Somebody leaves by the page's button, another one closes the tab: both are gone at once.
pub(super) async fn leave(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let [ann, bob, cyd] = [
        stage.join("ann", &Entry::default()).await?,
        stage.join("bob", &Entry::default()).await?,
        stage.join("cyd", &Entry::default()).await?,
    ];
    ann.sees(2, Duration::from_secs(10)).await?;
    let bob_id = id(&bob).await?;
    bob.run("window.lianmai.room.leave()").await?;
    let left = gone(&ann, &bob_id, LEAVES_WITHIN).await?;
    ensure!(reason(&ann, &bob_id).await? == "left", "bob left, but the reason is another");
    let cyd_id = id(&cyd).await?;
    cyd.close().await?;
    let closed = gone(&ann, &cyd_id, VANISHES_WITHIN).await?;
    Ok(format!("left after {} ms, a closed tab after {} ms", left.as_millis(), closed.as_millis()))
}

/// Somebody's page crashes: neither its WebSocket nor its media path comes back.
pub(super) async fn crash(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let ann = stage.join("ann", &Entry::default()).await?;
    let bob = stage.join("bob", &Entry::default()).await?;
    ann.sees(1, Duration::from_secs(10)).await?;
    let bob_id = id(&bob).await?;
    bob.crash();
    let waited = gone(&ann, &bob_id, VANISHES_WITHIN).await?;
    ensure!(reason(&ann, &bob_id).await? == "connection_lost", "bob vanished, but the reason is another");
    Ok(format!("gone after {:.1} s", waited.as_secs_f64()))
}

async fn id(page: &Page) -> Result<String> {
    page.eval("probe.me()").await
}

async fn gone(page: &Page, participant: &str, within: Duration) -> Result<Duration> {
    let gone =
        format!("probe.said('participant_left').some((notice) => notice.participant === '{participant}')");
    page.wait_for("the other one is gone", &gone, within).await
}

async fn reason(page: &Page, participant: &str) -> Result<String> {
    page.eval(&format!(
        "probe.said('participant_left').find((notice) => notice.participant === '{participant}').reason"
    ))
    .await
}
