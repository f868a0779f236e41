//! A sender whose pictures are lost on the way up, with and without repair packets of its own.
//!
//! Chromium sends such (FlexFEC-03) if two field trials say so, and only for a camera with a single encoding, which the
//! page chooses where half the size would be too small.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use simulator::link::plan::Loss;

use super::stage::{Entry, Probe, Stage};
use crate::chromium::Page;
use crate::media::{Camera, Detail};
use crate::relay::{self, LinkPlan};
use crate::server::Server;

const TRIALS: &str = "--force-fieldtrials=WebRTC-FlexFEC-03-Advertised/Enabled/WebRTC-FlexFEC-03/Enabled/";

const LOSS: f64 = 0.05;
const RTT: Duration = Duration::from_millis(60);
const SETTLES: Duration = Duration::from_secs(8); // its losses must be reported before it repairs them
const MEASURED: Duration = Duration::from_secs(40);
const SHARE_MIN: f64 = 0.98; // of the frames sent
const FRAME_RATE_MIN: f64 = 20.0;

/// One encoding with several packets a picture: half of 176 lines is too small for a second one.
const WIDE: Camera = Camera { width: 1280, height: 176, detail: Detail::Rich, ..Camera::SMALL };

/// What the server has counted.
#[derive(Debug)]
struct Counts {
    received: f64,
    recovered: f64,
    refused: f64,
    retransmitted: f64,
}

/// It sends repair packets: they restore what is lost.
pub(super) async fn with_trial(stage: &mut Stage) -> Result<String> {
    let (report, counts) = watch(stage, &[TRIALS]).await?;
    let Counts { received, recovered, refused, retransmitted } = counts;
    let report =
        format!("{report}; {received} repair packets restored {recovered}, and {retransmitted} came again");
    ensure!(received > 100.0 && recovered > 20.0 && refused == 0.0, "{report}, {refused} refused");
    ensure!(recovered > retransmitted, "{report}: paid twice");
    Ok(report)
}

/// It sends none: what is lost comes again.
pub(super) async fn without_trial(stage: &mut Stage) -> Result<String> {
    let (report, counts) = watch(stage, &[]).await?;
    let none = counts.received + counts.recovered + counts.refused == 0.0;
    ensure!(none && counts.retransmitted > 20.0, "{report}: {counts:?}");
    Ok(format!("{report}; {} came again", counts.retransmitted))
}

async fn watch(stage: &mut Stage, flags: &[&str]) -> Result<(String, Counts)> {
    stage.open(Camera::SMALL).await?;
    let viewer = stage.join("ann", &Entry::default()).await?;
    let lossy = LinkPlan { loss: Loss::Independent(LOSS), delay: RTT / 2, ..LinkPlan::default() };
    let back = LinkPlan { delay: RTT / 2, ..LinkPlan::default() };
    let relay = relay::between(stage.server()?.media(), &lossy, &back, &stage.seed)?;
    stage.add_browser_with(WIDE, flags).await?;
    let media_port = Some(relay.address().port());
    let camera = (WIDE.width, WIDE.height);
    let sender = stage.join("bob", &Entry { camera, media_port, ..Entry::default() }).await?;
    viewer.sees(1, Duration::from_secs(15)).await?;
    tokio::time::sleep(SETTLES).await;
    let (before, sent_before, seen_before) = look(stage.server()?, &sender, &viewer).await?;
    tokio::time::sleep(MEASURED).await;
    let (after, sent_after, seen_after) = look(stage.server()?, &sender, &viewer).await?;
    let (sent, seen) = (sent_after - sent_before, seen_after - seen_before);
    let report = format!("{seen} of {sent} frames seen, {:.1} %", seen / sent * 100.0);
    let fine = seen / sent >= SHARE_MIN && sent / MEASURED.as_secs_f64() >= FRAME_RATE_MIN;
    ensure!(fine, "{report}: {:?} and {:?}", sender.sent().await?, viewer.videos().await?);
    let counts = Counts {
        received: after.received - before.received,
        recovered: after.recovered - before.recovered,
        refused: after.refused, // from the first packet on
        retransmitted: after.retransmitted - before.retransmitted,
    };
    Ok((report, counts))
}

/// What the server counts, how many frames were sent, and how many decoded.
async fn look(server: &Server, sender: &Page, viewer: &Page) -> Result<(Counts, f64, f64)> {
    let sent = sender.sent().await?;
    ensure!(sent.len() == 1, "not one encoding: {sent:?}");
    let seen = viewer.videos().await?.pop().context("no video")?.decoded;
    let metrics = server.metrics().await?;
    let total =
        |name: &str| metrics.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum();
    let counts = Counts {
        received: total("lianmai_fec_received_total"),
        recovered: total("lianmai_fec_recovered_total"),
        refused: total("lianmai_fec_refused_total") + total("lianmai_rtx_refused_total"),
        retransmitted: total("lianmai_packets_recovered_total"),
    };
    Ok((counts, sent[0].frames, seen))
}
