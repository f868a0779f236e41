//! A call between two pages with a bad network before the viewer: through the server, or from page to page.
//!
//! In both, the publisher's own way out is clean as far as the network in question, and what the viewer sends back
//! only takes its time. Without sound: a receiver would hold pictures back to keep them with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use emulator::counts::{Way, WayCounts};
use emulator::relay::{Relay, RelayConfig};
use proto::seed::Seed;
use proto::time::Instant;
use serde::{Deserialize, Serialize};
use simulator::link::LinkPlan;

use super::plan::Plan;
use super::sdp;
use crate::browser::stage::Stage;
use crate::chromium::Page;
use crate::media::Camera;
use crate::server::Server;

const SCRIPT: &str = include_str!("call.js");
/// Until a clean uplink carries every encoding at its full rate: the browser's estimate grows from 300 kbit/s.
const WARM_WITHIN: Duration = Duration::from_secs(40);
const CONNECTS_WITHIN: Duration = Duration::from_secs(20);
const PICTURE_WITHIN: Duration = Duration::from_secs(5);

/// How media gets to the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::xtask::bench) enum Path {
    /// Publisher, server, network, viewer.
    Sfu,
    /// Publisher, network, viewer.
    Direct,
}

impl Path {
    /// As rows have it.
    pub(in crate::xtask::bench) fn name(self) -> &'static str {
        match self {
            Self::Sfu => "sfu",
            Self::Direct => "direct",
        }
    }

    /// Which way through the relay leads to the viewer: a relay's client is who speaks first.
    fn forward(self) -> Way {
        match self {
            Self::Sfu => Way::Down,
            Self::Direct => Way::Up,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(in crate::xtask::bench) struct Source {
    /// The picture.
    pub(in crate::xtask::bench) camera: Camera,
    /// The codec, as the browser names it in lower case.
    pub(in crate::xtask::bench) codec: String,
    /// The highest rate of the only or the largest encoding, in kbit/s.
    pub(in crate::xtask::bench) top_kbps: u32,
    /// What the direct stream gives up first.
    pub(in crate::xtask::bench) preference: Preference,
}

/// What an encoder gives up first when the network is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::xtask::bench) enum Preference {
    /// As the browser likes.
    Default,
    /// Frames, not size.
    KeepSize,
}

impl Source {
    fn size(&self) -> String {
        format!("[{}, {}]", self.camera.width, self.camera.height)
    }
}

/// The two pages; they serve one call after the other.
pub(in crate::xtask::bench) struct Pages {
    publisher: Arc<Page>,
    viewer: Arc<Page>,
}

impl Pages {
    /// Starts a server and a browser, and opens both pages in it.
    pub(in crate::xtask::bench) async fn open(stage: &mut Stage, source: &Source) -> Result<Self> {
        stage.open(source.camera).await?;
        let pages =
            Self { publisher: empty(stage, "publisher").await?, viewer: empty(stage, "viewer").await? };
        pages.publisher.run(&format!("await call.openCamera({})", source.size())).await?;
        pages.viewer.run("await call.askForDevices()").await?;
        pages.publisher.run("call.tellClock('clock')").await?;
        Ok(pages)
    }

    /// How far the publisher's clock is ahead of the viewer's, in milliseconds, and how wrong that may be.
    pub(in crate::xtask::bench) async fn clock_offset_ms(&self) -> Result<(f64, f64)> {
        #[derive(Deserialize)]
        struct Offset {
            ahead: f64,
            took: f64,
        }
        let offset: Offset = self.viewer.eval("call.clockOf('clock')").await?;
        Ok((offset.ahead, offset.took / 2.0))
    }
}

async fn empty(stage: &mut Stage, name: &str) -> Result<Arc<Page>> {
    let page = stage.page(name).await?;
    page.open(&format!("http://{}/healthz", stage.server()?.http())).await?;
    let loaded = "document.readyState === 'complete' && location.pathname === '/healthz' && !!document.body";
    page.wait_for("loads an empty page", loaded, Duration::from_secs(10)).await?;
    page.eval::<serde_json::Value>(&format!("{{ {SCRIPT} }} null")).await?;
    Ok(page)
}

/// A call that is up.
pub(in crate::xtask::bench) struct Call<'a> {
    pages: &'a Pages,
    /// The server, if it has a part in it.
    server: Option<&'a Server>,
    path: Path,
    relay: Relay,
}

impl<'a> Call<'a> {
    /// Sets a call up behind `plan`. The viewer's first frame has come when this returns, if it comes soon: a network
    /// on which no picture comes is measured all the same.
    pub(in crate::xtask::bench) async fn start(
        stage: &'a Stage,
        pages: &'a Pages,
        source: &Source,
        (path, plan): (Path, &Plan),
        seed: &Seed,
    ) -> Result<Self> {
        let seed = seed.fork(plan.name);
        let relay = match path {
            Path::Sfu => through_the_server(stage, pages, source, (plan, seed)).await?,
            Path::Direct => directly(pages, source, (plan, seed)).await?,
        };
        let connected = "call.connected()";
        pages.viewer.wait_for("is connected", connected, CONNECTS_WITHIN).await?;
        let seen = "call.sample().then(({ received }) => received?.decoded > 0)";
        let _late = pages.viewer.wait_for("sees the publisher", seen, PICTURE_WITHIN).await;
        let server = (path == Path::Sfu).then(|| stage.server()).transpose()?;
        Ok(Self { pages, server, path, relay })
    }

    /// The relay's clock.
    pub(in crate::xtask::bench) fn now(&self) -> Duration {
        self.relay.clock().now().since(Instant::ZERO)
    }

    /// Uses another link towards the viewer from now on.
    pub(in crate::xtask::bench) fn set_forward(&self, forward: LinkPlan) -> Result<()> {
        let (up, down) = ordered(self.path, forward);
        Ok(self.relay.set_links(up, down)?)
    }

    /// What happened since the sample before.
    pub(in crate::xtask::bench) async fn sample(&self) -> Result<Sample> {
        let ask = "call.sample()";
        let (viewer, publisher) =
            tokio::try_join!(self.pages.viewer.eval(ask), self.pages.publisher.eval(ask))?;
        let counts = self.relay.counts()?;
        let link = Link::of(counts.way(self.path.forward()));
        let server = match self.server {
            Some(server) => server.metrics().await?,
            None => BTreeMap::new(),
        };
        Ok(Sample { viewer, publisher, link, server })
    }

    /// Ends the call.
    pub(in crate::xtask::bench) async fn hang_up(self) -> Result<()> {
        self.pages.viewer.run("call.hangUp()").await?;
        self.pages.publisher.run("call.hangUp()").await
    }
}

async fn through_the_server(
    stage: &Stage,
    pages: &Pages,
    source: &Source,
    (plan, seed): (&Plan, Seed),
) -> Result<Relay> {
    let Source { codec, top_kbps, .. } = source;
    pages.publisher.run(&format!("await call.publish('{codec}', {top_kbps})")).await?;
    let warm = format!(
        "call.sample().then(({{ sent }}) => sent.some((one) => one.target_kbps >= {top_kbps} * 0.9) || sent)"
    );
    pages.publisher.wait_for("sends the largest encoding at its full rate", &warm, WARM_WITHIN).await?;
    let relay = relay(Path::Sfu, stage.server()?.media(), plan, seed)?;
    let (port, size) = (relay.address().port(), source.size());
    pages.viewer.run(&format!("await call.view('{codec}', {port}, {size})")).await?;
    Ok(relay)
}

async fn directly(pages: &Pages, source: &Source, (plan, seed): (&Plan, Seed)) -> Result<Relay> {
    let Source { codec, top_kbps, .. } = source;
    let keep = source.preference == Preference::KeepSize;
    let offer: String = pages.publisher.eval(&format!("call.offer('{codec}', {top_kbps}, {keep})")).await?;
    let offer = serde_json::to_string(&sdp::without_candidates(&offer))?;
    let answer: String = pages.viewer.eval(&format!("call.answer({offer})")).await?;
    let viewer = sdp::loopback(&answer).with_context(|| format!("no loopback address in {answer}"))?;
    let relay = relay(Path::Direct, viewer, plan, seed)?;
    let answer = serde_json::to_string(&sdp::with_candidate(&answer, relay.address()))?;
    pages.publisher.run(&format!("await call.accept({answer})")).await?;
    Ok(relay)
}

fn relay(path: Path, to: std::net::SocketAddr, plan: &Plan, seed: Seed) -> Result<Relay> {
    let (up, down) = ordered(path, plan.settling());
    Ok(Relay::start(RelayConfig { up, down, seed, ..RelayConfig::new(to) })?)
}

/// The links up and down, given the one towards the viewer.
fn ordered(path: Path, forward: LinkPlan) -> (LinkPlan, LinkPlan) {
    let backward = LinkPlan { delay: forward.delay, ..LinkPlan::default() }; // it only takes its time
    match path.forward() {
        Way::Up => (forward, backward),
        Way::Down => (backward, forward),
    }
}

/// What happened in a call since the sample before, and counters since its start.
#[derive(Debug, Clone, Serialize)]
pub(in crate::xtask::bench) struct Sample {
    /// At the viewer.
    pub(in crate::xtask::bench) viewer: End,
    /// At the publisher.
    pub(in crate::xtask::bench) publisher: End,
    /// On the link towards the viewer.
    pub(in crate::xtask::bench) link: Link,
    /// The server's metrics; empty without one.
    pub(in crate::xtask::bench) server: BTreeMap<String, f64>,
}

/// What happened at one page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::xtask::bench) struct End {
    /// When, by the page's clock.
    pub(in crate::xtask::bench) at_ms: f64,
    /// The frames that its camera gave, or that it decoded, since the sample before.
    pub(in crate::xtask::bench) frames: Vec<Frame>,
    /// What it received.
    pub(in crate::xtask::bench) received: Option<Received>,
    /// What it sent, an entry for each encoding.
    pub(in crate::xtask::bench) sent: Vec<Sent>,
    /// What its own estimator finds, 0 if it has none.
    pub(in crate::xtask::bench) available_kbps: f64,
}

/// A frame: when it was there by the page's clock, its number if readable, its width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(in crate::xtask::bench) struct Frame(pub(super) f64, pub(super) Option<u32>, pub(super) u32);

/// Counters of the received video, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::xtask::bench) struct Received {
    /// Payload bytes, repair included.
    pub(in crate::xtask::bench) bytes: f64,
    /// Bytes of the frames that came to the decoder.
    pub(in crate::xtask::bench) decodable: f64,
    /// Bytes of headers and padding.
    pub(in crate::xtask::bench) headers: f64,
    /// Of the payload, what came on the stream for retransmissions.
    pub(in crate::xtask::bench) retransmitted_bytes: f64,
    /// Packets.
    pub(in crate::xtask::bench) packets: f64,
    /// Packets that came again.
    pub(in crate::xtask::bench) retransmitted: f64,
    /// Packets that never came.
    pub(in crate::xtask::bench) lost: f64,
    /// Frames decoded.
    pub(in crate::xtask::bench) decoded: f64,
    /// Frames not decoded, or decoded too late to be shown.
    pub(in crate::xtask::bench) dropped: f64,
    /// How long it was frozen, freezes that are over only.
    pub(in crate::xtask::bench) frozen_s: f64,
    /// How often.
    pub(in crate::xtask::bench) freezes: f64,
    /// Packets asked for again.
    pub(in crate::xtask::bench) nacks: f64,
    /// Key frames asked for.
    pub(in crate::xtask::bench) plis: f64,
    /// How long frames waited in the jitter buffer, summed.
    pub(in crate::xtask::bench) waited_s: f64,
    /// How many those were.
    pub(in crate::xtask::bench) emitted: f64,
    /// How long they should have waited, summed.
    pub(in crate::xtask::bench) wait_wanted_s: f64,
    /// From the first to the last packet of each frame of several, summed.
    pub(in crate::xtask::bench) assembling_s: f64,
    /// How long decoding took, summed.
    pub(in crate::xtask::bench) decoding_s: f64,
    /// The jitter of RFC 3550, now.
    pub(in crate::xtask::bench) jitter_s: f64,
}

/// Counters of an encoding that is sent, since its start, and its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::xtask::bench) struct Sent {
    /// Its rid, empty if it is the only one.
    pub(in crate::xtask::bench) rid: String,
    /// The encoder.
    pub(in crate::xtask::bench) codec: String,
    /// Payload bytes, repair included.
    pub(in crate::xtask::bench) bytes: f64,
    /// Of them, repair.
    pub(in crate::xtask::bench) repair: f64,
    /// Frames.
    pub(in crate::xtask::bench) frames: f64,
    /// The newest frame's width.
    pub(in crate::xtask::bench) width: u32,
    /// What the encoder aims at.
    pub(in crate::xtask::bench) target_kbps: f64,
    /// `none`, `cpu`, `bandwidth` or `other`.
    pub(in crate::xtask::bench) limited_by: String,
    /// For how long it was the processor.
    pub(in crate::xtask::bench) cpu_limited_s: f64,
    /// How long encoding took, summed.
    pub(in crate::xtask::bench) encoding_s: f64,
}

/// Counters of the link towards the viewer, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(in crate::xtask::bench) struct Link {
    /// Packets that came.
    pub(in crate::xtask::bench) arrived: u64,
    /// Packets that were dropped.
    pub(in crate::xtask::bench) dropped: u64,
    /// Packets handed on.
    pub(in crate::xtask::bench) passed: u64,
    /// Their bytes, with UDP and IP.
    pub(in crate::xtask::bench) passed_bytes: u64,
    /// How long they waited in the queue, summed, in seconds.
    pub(in crate::xtask::bench) queued_s: f64,
    /// How late the emulator itself was, summed, in seconds.
    pub(in crate::xtask::bench) late_s: f64,
}

impl Link {
    fn of(counts: &WayCounts) -> Self {
        Self {
            arrived: counts.arrived,
            dropped: counts.lost(),
            passed: counts.passed,
            passed_bytes: counts.passed_size.as_bytes(),
            queued_s: counts.queued.as_secs_f64(),
            late_s: counts.late.as_secs_f64(),
        }
    }
}
