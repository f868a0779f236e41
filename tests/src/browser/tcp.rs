//! Media by TCP: for those whom UDP does not reach, and for nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::flows::everyone_sees_everyone;
use super::stage::{Entry, Probe, Stage, Video};
use crate::chromium::Page;
use crate::media::Camera;
use crate::relay::{self, LinkPlan};

const CODEC: &str = "vp8";
const FOUND_WITHIN: Duration = Duration::from_secs(30); // Chromium gives a path up after 15 s, and tries another one
const SENT: &str = "lianmai_tcp_sent_frames_total{worker=\"0\"}";
const RECEIVED: &str = "lianmai_tcp_received_frames_total{worker=\"0\"}";
const LOOPBACK_MAX_MS: f64 = 100.0; // a queue in the wrong place would show here, even on a busy machine

/// Both ends' UDP goes to a relay that loses everything.
pub(super) async fn alone(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let hole = relay::symmetric(stage.server()?.media(), &LinkPlan::default(), &stage.seed)?;
    hole.cut()?;
    let entry = Entry { media_port: Some(hole.address().port()), ..Entry::default() };
    let pages = [stage.join("ann", &entry).await?, stage.join("bob", &entry).await?];
    let flows = everyone_sees_everyone(&pages, CODEC).await?;
    let mut figures = Vec::new();
    for page in &pages {
        let round_trip_ms = goes_by(page, "tcp").await?;
        ensure!(round_trip_ms <= LOOPBACK_MAX_MS, "{}: {round_trip_ms} ms there and back", page.name());
        let videos = page.videos().await?;
        let video = videos.first().context("no video")?;
        figures.push(format!(
            "{} {} frames, {:.0} ms in the jitter buffer, {round_trip_ms:.0} ms there and back",
            page.name(),
            video.decoded,
            waited_ms(video)
        ));
    }
    let metrics = stage.server()?.metrics().await?;
    let (sent, received) = (count(&metrics, SENT)?, count(&metrics, RECEIVED)?);
    ensure!(sent > 500.0 && received > 500.0, "{sent} frames sent, {received} received");
    let dropped = count(&metrics, "lianmai_tcp_send_dropped_total{worker=\"0\",reason=\"queue_full\"}")?;
    ensure!(dropped == 0.0, "{dropped} frames dropped on loopback");
    Ok(format!("{flows}; {}; {sent} frames sent by TCP, {received} received", figures.join("; ")))
}

/// Nothing is in the way of UDP.
pub(super) async fn spare(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let tcp = stage.server()?.media_tcp();
    ensure!(tcp.is_some(), "the server does not listen");
    let pages = [stage.join("ann", &Entry::default()).await?, stage.join("bob", &Entry::default()).await?];
    let flows = everyone_sees_everyone(&pages, CODEC).await?;
    for page in &pages {
        goes_by(page, "udp").await?;
    }
    let metrics = stage.server()?.metrics().await?;
    let (by_tcp, by_udp) =
        (count(&metrics, SENT)?, count(&metrics, "lianmai_udp_sent_datagrams_total{worker=\"0\"}")?);
    ensure!(by_tcp * 20.0 < by_udp, "{by_tcp} frames sent by TCP, {by_udp} datagrams by UDP");
    Ok(format!("{flows}; {by_tcp} frames sent by TCP beside {by_udp} datagrams by UDP"))
}

/// Ann's UDP dies in the middle of a call, and works again later, which she may use or not.
pub(super) async fn moves(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let link = relay::symmetric(stage.server()?.media(), &LinkPlan::default(), &stage.seed)?;
    let entry = Entry { media_port: Some(link.address().port()), ..Entry::default() };
    let ann = stage.join("ann", &entry).await?;
    let bob = stage.join("bob", &Entry::default()).await?;
    for page in [&ann, &bob] {
        page.sees(1, Duration::from_secs(10)).await?;
    }
    goes_by(&ann, "udp").await?;
    let me: String = ann.eval("probe.me()").await?;
    link.cut()?;
    let away = moved(&ann, "tcp").await?;
    link.mend()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    everyone_sees_everyone(&[Arc::clone(&ann), Arc::clone(&bob)], CODEC).await?;
    ensure!(ann.eval::<String>("probe.me()").await? == me, "ann is somebody else");
    ensure!(ann.eval::<usize>("probe.said('joined').length").await? == 1, "ann joined anew");
    Ok(format!("by TCP {:.1} s after UDP died", away.as_secs_f64()))
}

/// That the page's media goes by `protocol`; how long there and back, in milliseconds.
async fn goes_by(page: &Page, protocol: &str) -> Result<f64> {
    let ways = page.ways().await?;
    let way = ways.first().with_context(|| format!("{}: no way", page.name()))?;
    ensure!(ways.iter().all(|way| way.protocol == protocol), "{}: {ways:?}, not {protocol}", page.name());
    Ok(way.round_trip_ms)
}

/// Waits until the page's media goes by `protocol`.
async fn moved(page: &Page, protocol: &str) -> Result<Duration> {
    let asked =
        format!("probe.ways().then((ways) => ways.every((way) => way.protocol === '{protocol}') || ways)");
    page.wait_for(&format!("goes by {protocol}"), &asked, FOUND_WITHIN).await
}

fn waited_ms(video: &Video) -> f64 {
    video.waited_s * 1_000.0 / video.emitted.max(1.0)
}

fn count(metrics: &BTreeMap<String, f64>, name: &str) -> Result<f64> {
    metrics.get(name).copied().with_context(|| format!("no metric {name}"))
}
