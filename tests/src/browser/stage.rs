//! What a browser test plays on: a server, a browser with some pages in it, and their remains after a failure.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::seed::Seed;
use serde::Deserialize;

use crate::chromium::{Browser, Page};
use crate::media::Camera;
use crate::server::Server;

const PROBE: &str = include_str!("probe.js");
const CONNECTS_WITHIN: Duration = Duration::from_secs(20); // three pages start at once on two cores
const LOG_LINES_SHOWN: usize = 60;

/// One test's server and browsers.
pub struct Stage {
    /// Where films are kept between tests.
    pub media_folder: PathBuf,
    /// The chance of this test.
    pub seed: Seed,
    server: Option<Server>,
    browsers: Vec<Browser>,
    pages: Vec<Arc<Page>>,
}

/// How a page enters a room.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The codec to send pictures with.
    pub codec: &'a str,
    /// What the camera is asked for: width and height.
    pub camera: (u32, u32),
    /// The window's width and height.
    pub window: (u32, u32),
    /// Where the page is loaded from, if not from the server itself.
    pub through: Option<SocketAddr>,
    /// The port that media goes to, if not the server's own.
    pub media_port: Option<u16>,
    /// What sound is sent and taken as.
    pub sound: Sound,
}

/// What a page sends sound as, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Opus, and takes RED: the default.
    TakesRed,
    /// Opus, and takes nothing else.
    PlainOnly,
    /// RED, and takes it.
    SendsRed,
}

impl Default for Entry<'_> {
    fn default() -> Self {
        let (camera, window) = ((640, 360), (1280, 800));
        Self {
            room: "stage",
            codec: "vp8",
            camera,
            window,
            through: None,
            media_port: None,
            sound: Sound::TakesRed,
        }
    }
}

impl Stage {
    /// An empty stage.
    pub fn new(media_folder: PathBuf, seed: Seed) -> Self {
        Self { media_folder, seed, server: None, browsers: Vec::new(), pages: Vec::new() }
    }

    /// Starts the server, unless it runs already, and a browser whose camera is `camera`.
    pub async fn open(&mut self, camera: Camera) -> Result<()> {
        if self.server.is_none() {
            self.serve_with(&[]).await?;
        }
        self.add_browser(camera).await
    }

    /// Starts the server with further environment variables.
    pub async fn serve_with(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.server = Some(Server::start_with(environment).await?);
        Ok(())
    }

    /// Starts one more browser; pages open in the newest.
    pub async fn add_browser(&mut self, camera: Camera) -> Result<()> {
        self.add_browser_with(camera, &[]).await
    }

    /// Starts one more browser with further command-line flags.
    pub async fn add_browser_with(&mut self, camera: Camera, flags: &[&str]) -> Result<()> {
        self.browsers.push(Browser::start(camera, &self.media_folder, flags).await?);
        Ok(())
    }

    /// The server.
    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("no server on this stage")
    }

    /// An empty page with the probe in it.
    pub async fn page(&mut self, name: &str) -> Result<Arc<Page>> {
        let browser = self.browsers.last().context("no browser on this stage")?;
        let page = Arc::new(browser.page(name).await?);
        page.run_before_load(PROBE).await?;
        self.pages.push(Arc::clone(&page));
        Ok(page)
    }

    /// A page that enters a room; it is connected when this returns.
    pub async fn join(&mut self, name: &str, entry: &Entry<'_>) -> Result<Arc<Page>> {
        let page = self.page(name).await?;
        let (width, height) = entry.window;
        page.resize(width, height).await?;
        if let Some(port) = entry.media_port {
            page.run_before_load(&format!("probe.relay.port = {port};")).await?;
        }
        if entry.sound == Sound::PlainOnly {
            page.run_before_load("probe.plainSound();").await?;
        }
        let red = u8::from(entry.sound == Sound::SendsRed);
        let http = entry.through.map_or_else(|| self.server().map(Server::http), Ok)?;
        let (room, codec, (width, height)) = (entry.room, entry.codec, entry.camera);
        page.open(&format!(
            "http://{http}/?room={room}&name={name}&autojoin=1&codec={codec}&red={red}&width={width}&height={height}&slots=3"
        ))
        .await?;
        page.wait_for("is connected to the server", "!!window.probe?.connected()", CONNECTS_WITHIN).await?;
        Ok(page)
    }

    /// What everyone left behind, for a failure's report.
    pub fn remains(&mut self) -> String {
        let mut text = String::new();
        for page in &self.pages {
            let lines = page.console();
            for line in lines.iter().rev().take(LOG_LINES_SHOWN).rev() {
                let _ = writeln!(text, "  page {}: {}: {}", page.name(), line.level, line.text);
            }
        }
        if let Some(server) = &mut self.server {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
                let _ = writeln!(text, "  server: {line}");
            }
            if !server.is_running() {
                text.push_str("  the server has ended\n");
            }
        }
        text
    }

    /// That no page complained and the server still runs: asked at the end of each test.
    pub fn check_calm(&mut self) -> Result<()> {
        let server = self.server.as_mut();
        ensure!(server.is_none_or(Server::is_running), "the server has ended");
        Ok(())
    }
}

/// One remote video of a page, as `getStats` has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Video {
    /// The media section that it arrives in.
    pub mid: String,
    /// Such as `video/VP8`.
    pub codec: String,
    /// Frames decoded since the beginning.
    pub decoded: f64,
    /// The newest frame's width.
    pub width: u32,
    /// The newest frame's height.
    pub height: u32,
    /// How often it froze.
    pub freezes: f64,
    /// For how long in all, in seconds.
    pub frozen_s: f64,
    /// How long its frames waited in the jitter buffer, all together, in seconds.
    pub waited_s: f64,
    /// How many frames did.
    pub emitted: f64,
    /// Packets lost and never recovered.
    pub lost: f64,
    /// Packets that came.
    pub received: f64,
    /// Bytes of payload that came, repair included.
    pub bytes: f64,
    /// Of them, those that came by retransmission.
    pub recovered: f64,
    /// NACKs sent.
    pub nacks: f64,
    /// Key frames asked for.
    pub plis: f64,
}

/// One remote sound of a page, as `getStats` has it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Listened {
    /// Samples played since the beginning.
    pub samples: f64,
    /// Of them, those that were made up.
    pub concealed: f64,
    /// Packets that came.
    pub received: f64,
    /// Packets lost.
    pub lost: f64,
}

/// One encoding that a page sends.
#[derive(Debug, Clone, Deserialize)]
pub struct Encoding {
    /// Its rid, empty if there is one encoding only.
    pub rid: String,
    /// Such as `video/VP8`.
    pub codec: String,
    /// Frames sent since the beginning.
    pub frames: f64,
    /// The newest frame's width.
    pub width: u32,
    /// The newest frame's height.
    pub height: u32,
    /// Key frames since the beginning.
    pub key_frames: f64,
    /// `none`, `cpu`, `bandwidth` or `other`.
    pub limited_by: String,
    /// What its encoder aims at.
    pub target_kbps: f64,
    /// NACKs that arrived.
    pub nacks: f64,
    /// Key frames that were asked for.
    pub plis: f64,
}

/// When the frames of one remote video arrived, and how large they were.
#[derive(Debug, Clone, Deserialize)]
pub struct Frames {
    /// The media section that it arrives in.
    pub mid: String,
    /// In the order of their arrival.
    pub frames: Vec<Frame>,
}

/// One decoded frame.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Frame {
    /// When it was there, by the page's clock.
    pub at_ms: f64,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

impl Frames {
    /// The longest time without a frame, in milliseconds.
    pub fn longest_gap_ms(&self) -> f64 {
        self.frames.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).fold(0.0, f64::max)
    }
}

/// What the newest frame of one remote video shows.
#[derive(Debug, Clone, Deserialize)]
pub struct Picture {
    /// The media section that it arrives in.
    pub mid: String,
    /// The colors of its four patches.
    pub patches: [[u8; 3]; 4],
    /// The number in its bar code; absent if there is none.
    pub number: Option<u32>,
}

/// The strongest frequency in one remote audio.
#[derive(Debug, Clone, Deserialize)]
pub struct Tone {
    /// The media section that it arrives in.
    pub mid: String,
    /// The frequency.
    pub hertz: f64,
    /// How far it stands above the middle of the spectrum, in decibels.
    pub above_db: f64,
}

/// The way that a page's media goes.
#[derive(Debug, Clone, Deserialize)]
pub struct Way {
    /// `udp` or `tcp`.
    pub protocol: String,
    /// The last check's time there and back, in milliseconds.
    pub round_trip_ms: f64,
}

/// Questions to the probe in a page.
pub trait Probe {
    /// The remote videos that have been decoded at all.
    fn videos(&self) -> impl Future<Output = Result<Vec<Video>>> + Send;
    /// The remote sounds of which packets have come.
    fn sounds(&self) -> impl Future<Output = Result<Vec<Listened>>> + Send;
    /// The encodings sent.
    fn sent(&self) -> impl Future<Output = Result<Vec<Encoding>>> + Send;
    /// The frames that arrived since `probe.watch()` or `probe.forget()`.
    fn frames(&self) -> impl Future<Output = Result<Vec<Frames>>> + Send;
    /// What the newest frames show.
    fn pictures(&self) -> impl Future<Output = Result<Vec<Picture>>> + Send;
    /// What can be heard.
    fn tones(&self) -> impl Future<Output = Result<Vec<Tone>>> + Send;
    /// The ways of its connections.
    fn ways(&self) -> impl Future<Output = Result<Vec<Way>>> + Send;
    /// Waits until `count` remote videos are being decoded, and watches them.
    fn sees(&self, count: usize, within: Duration) -> impl Future<Output = Result<Duration>> + Send;
}

impl Probe for Page {
    async fn videos(&self) -> Result<Vec<Video>> {
        self.eval("probe.videos()").await
    }

    async fn sounds(&self) -> Result<Vec<Listened>> {
        self.eval("probe.sounds()").await
    }

    async fn sent(&self) -> Result<Vec<Encoding>> {
        self.eval("probe.sent()").await
    }

    async fn frames(&self) -> Result<Vec<Frames>> {
        self.eval("probe.frames()").await
    }

    async fn pictures(&self) -> Result<Vec<Picture>> {
        self.eval("probe.pictures()").await
    }

    async fn tones(&self) -> Result<Vec<Tone>> {
        self.eval("probe.tones()").await
    }

    async fn ways(&self) -> Result<Vec<Way>> {
        self.eval("probe.ways()").await
    }

    async fn sees(&self, count: usize, within: Duration) -> Result<Duration> {
        let waited = self
            .wait_for(
                &format!("decodes {count} remote videos"),
                &format!("probe.videos().then((videos) => videos.length >= {count} || videos.length)"),
                within,
            )
            .await?;
        self.run("probe.watch()").await?;
        let arrives = format!("probe.frames().length >= {count} || probe.frames().length");
        self.wait_for("frames arrive", &arrives, within).await?;
        Ok(waited)
    }
}
