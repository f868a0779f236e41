//! A server on one core and a generator on the other.
//!
//! In: programs, plans. Out: reports. Both end with what holds them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::built::Built;
use crate::load::plan::{Crowd, Kind, Load, Plan, Server as Target, Window};
use crate::load::report::Report;
use crate::server::Server;

/// The server's core.
pub(super) const SERVER_CORE: usize = 0;

/// The generator's core.
pub(super) const GENERATOR_CORE: usize = 1;

/// What the server runs with: one pinned worker; room for all; estimates that begin high, so that what is measured is forwarding and
/// not the search for a rate.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("LIANMAI_RTC__PIN_WORKERS", "true"),
    ("LIANMAI_ROOM__MAX_PARTICIPANTS", "2000"),
    ("LIANMAI_DOWNLINK__START_KBPS", "25000"),
    ("LIANMAI_DOWNLINK__MAX_KBPS", "50000"),
    ("LIANMAI_LOG__LEVEL", "warn"),
];

/// How long a generator may take beyond what its plan says.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts a server on its core.
pub(super) async fn serve(program: &Path) -> Result<Server> {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(SERVER_CORE.to_string()).arg(program);
    Server::launch(command, &ENVIRONMENT).await
}

/// How a generator finds a server of ours.
pub(super) fn target(server: &Server) -> Result<Target> {
    let process = server.process().context("the server has ended")?;
    let metrics = Some(server.metrics_address().to_string());
    let (http, local) = (server.http().to_string(), Ipv4Addr::LOCALHOST);
    Ok(Target { kind: Kind::Lianmai, http, metrics, local, process })
}

/// A plan for a server.
pub(super) fn plan(server: Target, crowd: Crowd, windows: Vec<Window>) -> Plan {
    Plan { server, crowd, settle_s: 2.0, windows, core: Some(GENERATOR_CORE) }
}

/// As many turns of the server and then the bare loop.
pub(super) fn turns(runs: u32, seconds: f64, destinations: usize, run: usize) -> Vec<Window> {
    let bare = Load::Bare { destinations, run, core: SERVER_CORE };
    let turn = [Load::Server, bare].map(|load| Window { seconds, load });
    std::iter::repeat_n(turn, runs as usize).flatten().collect()
}

/// Lets a generator carry out a plan.
pub(super) async fn generate(built: &Built, plan: &Plan) -> Result<Report> {
    let seconds: f64 = plan.windows.iter().map(|window| window.seconds + 1.0).sum();
    let command = Command::new(built.generator());
    ask(command, "plan", plan, Duration::from_secs_f64(seconds + plan.settle_s) + PATIENCE).await
}

/// Starts a fresh server and lets a generator carry out windows on it.
pub(super) async fn generate_on(
    built: &Built,
    program: &Path,
    crowd: Crowd,
    windows: Vec<Window>,
) -> Result<Report> {
    let server = serve(program).await?;
    let report = generate(built, &plan(target(&server)?, crowd, windows)).await;
    report.with_context(|| format!("the server's log:\n{}", server.log()))
}

/// Gives the generator an order and reads its report.
pub(super) async fn ask<R: DeserializeOwned>(
    mut command: Command,
    word: &str,
    order: &impl Serialize,
    within: Duration,
) -> Result<R> {
    command.arg(word).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("starting the load generator")?;
    let mut input = child.stdin.take().context("stdin is piped")?;
    input.write_all(&serde_json::to_vec(order)?).await?;
    drop(input);
    let Ok(output) = tokio::time::timeout(within, child.wait_with_output()).await else {
        bail!("the load generator was not done within {within:?}");
    };
    let output = output?;
    ensure!(output.status.success(), "the load generator: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
