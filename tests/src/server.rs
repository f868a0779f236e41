//! The server under test: the real binary in a process of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const READY_WITHIN: Duration = Duration::from_secs(20);
const LOG_LINES_MAX: usize = 10_000;

/// What the server runs with: one worker, loopback only, ports of the system's choice.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("LIANMAI_METRICS__PORT", "0"),
    ("LIANMAI_RTC__UDP_PORT", "0"),
    ("LIANMAI_RTC__TCP_PORT", "0"),
    ("LIANMAI_RTC__WORKERS", "1"),
    ("LIANMAI_RTC__USE_LOOPBACK", "true"),
    ("LIANMAI_RTC__NODE_IP", "127.0.0.1"),
];

/// The line that the server prints when it listens.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where metrics are.
    pub metrics: SocketAddr,
    /// The media port of each worker.
    pub udp: Vec<u16>,
    /// The media port of all workers by TCP, if there is one.
    pub tcp: Option<u16>,
    /// The name of the key that tokens are signed with.
    pub key: String,
    /// That key.
    pub secret: String,
}

/// A running server; it ends when this is dropped.
pub struct Server {
    process: Child,
    ready: Ready,
    log: Arc<Mutex<Vec<String>>>,
}

/// The server's binary: beside this one, or where `LIANMAI` in the environment says.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LIANMAI") {
        return Ok(named.into());
    }
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program without a folder")?.join("lianmai"))
}

impl Server {
    /// Starts a server with default settings.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server with further environment variables.
    pub async fn start_with(environment: &[(&str, &str)]) -> Result<Self> {
        Self::launch(Command::new(program()?), environment).await
    }

    /// Starts the server that a command names, which may begin with programs that become what they start, as `taskset` does.
    pub async fn launch(mut command: Command, environment: &[(&str, &str)]) -> Result<Self> {
        let program = format!("{:?}", command.as_std());
        let mut process = command
            .args(["serve", "--port", "0", "--print-ready"])
            .envs(ENVIRONMENT)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let log = Arc::<Mutex<Vec<String>>>::default();
        tokio::spawn(collect(process.stderr.take().context("stderr is piped")?, Arc::clone(&log)));
        let mut lines = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        let first = tokio::time::timeout(READY_WITHIN, async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with('{') {
                    return Ok(line);
                }
                push(&log, line);
            }
            bail!("the server ended before it was ready")
        });
        let first = match first.await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Err(error.context(joined(&log))),
            Err(_) => bail!("the server was not ready within {READY_WITHIN:?}; its log:\n{}", joined(&log)),
        };
        let ready = serde_json::from_str(&first).with_context(|| format!("the ready line: {first}"))?;
        tokio::spawn(collect(lines.into_inner(), Arc::clone(&log)));
        Ok(Self { process, ready, log })
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.ready.http
    }

    /// Where its metrics are read.
    pub fn metrics_address(&self) -> SocketAddr {
        self.ready.metrics
    }

    /// Where the only worker receives media.
    pub fn media(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ready.udp.first().copied().unwrap_or_default()))
    }

    /// Where it receives media by TCP, if it does.
    pub fn media_tcp(&self) -> Option<SocketAddr> {
        self.ready.tcp.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Everything that it logged so far, for a failure's report.
    pub fn log(&self) -> String {
        joined(&self.log)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// The number of its process, while it runs.
    pub fn process(&self) -> Option<u32> {
        self.process.id()
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> Result<u64> {
        let id = self.process.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// Its metrics by name and labels, such as `lianmai_datagrams_dropped_total{reason="unknown"}`.
    pub async fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let text = fetch(self.ready.metrics, "/metrics").await?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        Ok(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// The body of `GET path`.
    pub async fn fetch(&self, path: &str) -> Result<String> {
        fetch(self.http(), path).await
    }
}

async fn fetch(from: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(from).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {from}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let (head, body) = reply.split_once("\r\n\r\n").context("a reply without a body")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("GET {path}: {head}");
    }
    Ok(body.to_owned())
}

async fn collect(stream: impl AsyncRead + Unpin, log: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        push(&log, line);
    }
}

fn push(log: &Mutex<Vec<String>>, line: String) {
    let mut lines = log.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() < LOG_LINES_MAX {
        lines.push(line);
    }
}

fn joined(log: &Mutex<Vec<String>>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
}
