//! The case `janus`: Debian's Janus and its `VideoRoom` against ours, in network namespaces with a pair of virtual interfaces.
//!
//! Out: processor seconds of the whole process for a million packets that arrived; the ratio is Janus's by ours. Each run has a fresh
//! server, and they take turns. Limit: it needs root; the namespaces are gone afterwards.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::{Child, Command};

use super::built::Built;
use super::pinned::{GENERATOR_CORE, SERVER_CORE, ask, plan};
use super::row::Row;
use crate::load::plan::{Crowd, Kind, Load, Server as Target, Window};
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

/// How long a generator may take to have everybody joined.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures both.
pub(super) async fn measure(built: &Built, runs: u32, seconds: f64) -> Result<Row> {
    install::janus()?;
    let program = built.server()?;
    let spaces = Spaces::new()?;
    let mut row = Row::new("janus", "cpu_s/Mpacket");
    row.inverse = true;
    let (mut ours_all, mut janus_all) = (Vec::new(), Vec::new());
    for run in 0..runs {
        eprint!("\rjanus: run {} of {runs} ", run + 1);
        let ours = run_ours(built, &program, seconds).await?;
        let janus = run_janus(built, seconds).await?;
        row.runs.push((cost(&ours), cost(&janus)));
        ours_all.push(ours);
        janus_all.push(janus);
    }
    drop(spaces);
    Ok(row
        .with_median("loss", ours_all.iter().map(Measured::loss))
        .with_median("p99_ms", ours_all.iter().map(|run| run.p99_ms))
        .with_median("janus_loss", janus_all.iter().map(Measured::loss))
        .with_median("janus_p99_ms", janus_all.iter().map(|run| run.p99_ms))
        .with_median("packets_per_s", ours_all.iter().map(|run| run.datagrams as f64 / run.seconds)))
}

/// Processor seconds for a million packets of pictures.
fn cost(measured: &Measured) -> f64 {
    measured.usage.all_ns as f64 / 1e3 / measured.counts.received.max(1) as f64
}

async fn run_ours(built: &Built, program: &Path, seconds: f64) -> Result<Measured> {
    let mut command = inside(SERVER_SPACE, SERVER_CORE);
    command.arg(program);
    let address = SERVER.to_string();
    let environment = [
        ("LIANMAI_RTC__NODE_IP", address.as_str()),
        ("LIANMAI_RTC__USE_LOOPBACK", "false"),
        ("LIANMAI_DOWNLINK__START_KBPS", "25000"),
        ("LIANMAI_METRICS__BIND", "0.0.0.0"),
        ("LIANMAI_LOG__LEVEL", "warn"),
    ];
    let server = Server::launch(command, &environment).await?;
    let http = SocketAddr::from((SERVER, server.http().port())).to_string();
    let process = server.process().context("the server has ended")?;
    let metrics = Some(SocketAddr::from((SERVER, server.metrics_address().port())).to_string());
    let target = Target { kind: Kind::Lianmai, http, metrics, local: CLIENT, process };
    generate(built, target, seconds).await.with_context(|| format!("the server's log:\n{}", server.log()))
}

async fn run_janus(built: &Built, seconds: f64) -> Result<Measured> {
    let configuration = configuration()?;
    let mut command = inside(SERVER_SPACE, SERVER_CORE);
    command.arg("janus").arg(format!("--configs-folder={}", configuration.path().display()));
    command.args(["--interface", &SERVER.to_string(), "--debug-level=2"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut janus = command.spawn().context("starting janus")?;
    // `ip netns exec` and `taskset` become what they start: the process is Janus itself.
    let process = janus.id().context("janus has ended")?;
    wait_for(&mut janus).await?;
    let http = SocketAddr::from((SERVER, JANUS_PORT)).to_string();
    let target = Target { kind: Kind::Janus, http, metrics: None, local: CLIENT, process };
    let measured = generate(built, target, seconds).await;
    janus.kill().await?;
    measured
}

async fn generate(built: &Built, target: Target, seconds: f64) -> Result<Measured> {
    let window = Window { seconds, load: Load::Server };
    let mut plan = plan(target, CROWD, vec![window]);
    plan.settle_s = 3.0;
    let mut command = inside(CLIENT_SPACE, GENERATOR_CORE);
    command.arg(built.generator());
    let report: Report = ask(command, "plan", &plan, Duration::from_secs_f64(seconds) + PATIENCE).await?;
    report.windows.into_iter().next().context("nothing was measured")
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
