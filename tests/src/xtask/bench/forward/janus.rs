//! The case `janus`: Debian's Janus and its `VideoRoom` against ours, in network namespaces with a pair of virtual interfaces.
//!
//! Out: processor seconds of the whole process for a million packets that arrived; the ratio is Janus's by ours. Both servers are there
//! all the time, each with its own publisher and subscribers out of one generator, and have the same core in turns. Limit: it needs
//! root; the namespaces are gone afterwards.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::process::{Child, Command};

use super::built::Built;
use super::pinned::{ENVIRONMENT, GENERATOR_CORE, SERVER_CORE, generate, pairs, turns};
use super::row::Row;
use crate::load::plan::{Crowd, Kind, Load, Party, Server as Target, Window};
use crate::load::report::{Measured, Report};
use crate::server::Server;
use crate::xtask::install;

const SERVER_SPACE: &str = "lianmai-server";
const CLIENT_SPACE: &str = "lianmai-load";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const JANUS_PORT: u16 = 8188;

/// One publisher to so many.
const CROWD: Crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers: 100, feedback: true };

/// How long Janus may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Janus has more threads than fit into a short window, and what they do is uneven: windows are so many times as long.
const LONGER: f64 = 4.0;

/// Measures both.
pub(super) async fn measure(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    install::janus()?;
    let program = built.server()?;
    let spaces = Spaces::new()?;
    let ours = start_ours(&program).await?;
    let janus = Janus::start().await?;
    let process = ours.process().context("the server has ended")?;
    let at = |port| SocketAddr::from((SERVER, port)).to_string();
    let metrics = Some(at(ours.metrics_address().port()));
    let [ours_at, janus_at] = [
        Target { kind: Kind::Lianmai, http: at(ours.http().port()), metrics, local: CLIENT, process },
        Target {
            kind: Kind::Janus,
            http: at(JANUS_PORT),
            metrics: None,
            local: CLIENT,
            process: janus.process,
        },
    ];
    let parties = [ours_at, janus_at].map(|server| Party { server, room: "load".to_owned(), crowd: CROWD });
    let windows = [0, 1].map(|party| Window { party, seconds: seconds * LONGER, load: Load::Server });
    let mut generator = inside(CLIENT_SPACE, GENERATOR_CORE);
    generator.arg(built.generator());
    let report = generate(generator, parties.to_vec(), turns(runs, windows[0], windows[1])).await;
    let report = report.with_context(|| format!("our server's log:\n{}", ours.log()))?;
    drop((ours, janus, spaces));
    row(&report)
}

fn row(report: &Report) -> Result<Row> {
    let (ours, janus): (Vec<&Measured>, Vec<&Measured>) = pairs(&report.windows)?.into_iter().unzip();
    let mut row = Row::new("janus", "cpu_s/Mpacket");
    (row.inverse, row.goal) = (true, Some(7.0));
    row.runs = ours.iter().zip(&janus).map(|(ours, janus)| (cost(ours), cost(janus))).collect();
    let bytes = |run: &Measured| run.bytes as f64 / run.datagrams.max(1) as f64;
    for (prefix, runs) in [("", &ours), ("janus_", &janus)] {
        row = row
            .with_median(&format!("{prefix}loss"), runs.iter().map(|run| run.loss()))
            .with_median(&format!("{prefix}p50_ms"), runs.iter().map(|run| run.p50_ms))
            .with_median(&format!("{prefix}p99_ms"), runs.iter().map(|run| run.p99_ms))
            .with_median(
                &format!("{prefix}packets_per_s"),
                runs.iter().map(|run| run.counts.received as f64 / run.seconds),
            )
            .with_median(&format!("{prefix}datagram_bytes"), runs.iter().map(|run| bytes(run)))
            .with_median(
                &format!("{prefix}core"),
                runs.iter().map(|run| run.usage.all_ns as f64 / 1e9 / run.seconds),
            );
    }
    Ok(row.with("profiles", json!(report.profiles)))
}

/// Processor seconds of all threads, in the kernel too, for a million packets of pictures that came.
fn cost(measured: &Measured) -> f64 {
    measured.usage.all_ns as f64 / 1e3 / measured.counts.received.max(1) as f64
}

/// Our server in its namespace, with its settings for all cases but addresses.
async fn start_ours(program: &Path) -> Result<Server> {
    let mut command = inside(SERVER_SPACE, SERVER_CORE);
    command.arg(program);
    let address = SERVER.to_string();
    let here = [
        ("LIANMAI_RTC__NODE_IP", address.as_str()),
        ("LIANMAI_RTC__USE_LOOPBACK", "false"),
        ("LIANMAI_METRICS__BIND", "0.0.0.0"),
    ];
    Server::launch(command, &[&ENVIRONMENT[..], &here].concat()).await
}

/// Janus in the same namespace and on the same core; it ends when this is dropped.
struct Janus {
    process: u32,
    _child: Child,
    _configuration: tempfile::TempDir,
}

impl Janus {
    /// Starts it and waits until it listens.
    async fn start() -> Result<Self> {
        let configuration = configuration()?;
        let mut command = inside(SERVER_SPACE, SERVER_CORE);
        command.arg("janus").arg(format!("--configs-folder={}", configuration.path().display()));
        command.args(["--interface", &SERVER.to_string(), "--debug-level=2"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("starting janus")?;
        // `ip netns exec` and `taskset` become what they start: the process is Janus itself.
        let process = child.id().context("janus has ended")?;
        wait_for(&mut child).await?;
        Ok(Self { process, _child: child, _configuration: configuration })
    }
}

/// A command in a namespace, on a core.
fn inside(space: &str, core: usize) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space, "taskset", "--cpu-list", &core.to_string()]);
    command
}

/// Waits until Janus listens; seen from its own namespace, for we are in neither.
async fn wait_for(janus: &mut Child) -> Result<()> {
    let listens = format!("sport = :{JANUS_PORT}");
    let until = tokio::time::Instant::now() + READY_WITHIN;
    while tokio::time::Instant::now() < until {
        let sockets = Command::new("ip")
            .args(["netns", "exec", SERVER_SPACE, "ss", "--listening", "--tcp", "--no-header", &listens])
            .output()
            .await?;
        if !sockets.stdout.is_empty() {
            return Ok(());
        }
        if let Some(status) = janus.try_wait()? {
            bail!("janus ended: {status}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("janus does not listen")
}

/// What Janus runs with: one plugin, one transport, nothing in a log.
fn configuration() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let general = "general: { session_timeout = 0, debug_level = 2 }\n\
        media: { rtp_port_range = \"20000-40000\" }\nnat: { ice_lite = true, full_trickle = false }\n\
        plugins: { disable = \"libjanus_audiobridge.so,libjanus_echotest.so,libjanus_nosip.so,libjanus_recordplay.so,\
        libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so,\
        libjanus_lua.so,libjanus_duktape.so\" }\n\
        transports: { disable = \"libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,\
        libjanus_rabbitmq.so\" }\n";
    let websockets = format!(
        "general: {{ ws = true, ws_port = {JANUS_PORT}, ws_ip = \"{SERVER}\", json = \"compact\" }}\n"
    );
    let room = "room-1234: { description = \"load\", publishers = 20, bitrate = 0, fir_freq = 1, \
        videocodec = \"vp8\", require_pvtid = false, record = false }\n";
    for (name, text) in [
        ("janus.jcfg", general),
        ("janus.transport.websockets.jcfg", &websockets),
        ("janus.plugin.videoroom.jcfg", room),
    ] {
        std::fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}

/// Two network namespaces with a pair of interfaces between them; gone when this is dropped.
struct Spaces;

impl Spaces {
    fn new() -> Result<Self> {
        let spaces = Self; // what is there of it is removed, also if something fails below
        Self::remove();
        for space in [SERVER_SPACE, CLIENT_SPACE] {
            ip(&["netns", "add", space])?;
        }
        ip(&[
            "link",
            "add",
            "lmv0",
            "netns",
            SERVER_SPACE,
            "type",
            "veth",
            "peer",
            "lmv1",
            "netns",
            CLIENT_SPACE,
        ])?;
        for (space, interface, address) in [(SERVER_SPACE, "lmv0", SERVER), (CLIENT_SPACE, "lmv1", CLIENT)] {
            ip(&["-n", space, "link", "set", "lo", "up"])?;
            ip(&["-n", space, "addr", "add", &format!("{address}/24"), "dev", interface])?;
            ip(&["-n", space, "link", "set", interface, "up"])?;
        }
        Ok(spaces)
    }

    fn remove() {
        for space in [SERVER_SPACE, CLIENT_SPACE] {
            let removed = std::process::Command::new("ip").args(["netns", "del", space]).output();
            drop(removed); // there may be none
        }
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        Self::remove();
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output =
        std::process::Command::new("ip").args(arguments).output().context("there is no `ip` here")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {said}", arguments.join(" "));
    Ok(())
}
