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
use crate::load::plan::{Crowd, Kind, Party, Plan, Server as Target, Window};
use crate::load::report::{Measured, Report};
use crate::server::Server;

/// The server's core.
pub(super) const SERVER_CORE: usize = 0;

/// The generator's core.
pub(super) const GENERATOR_CORE: usize = 1;

/// What the server runs with: one pinned worker; room for all; estimates that begin high, so that what is measured is forwarding and
/// not the search for a rate.
pub(super) const ENVIRONMENT: [(&str, &str); 5] = [
    ("LIANMAI_RTC__PIN_WORKERS", "true"),
    ("LIANMAI_ROOM__MAX_PARTICIPANTS", "2000"),
    ("LIANMAI_DOWNLINK__START_KBPS", "25000"),
    ("LIANMAI_DOWNLINK__MAX_KBPS", "50000"),
    ("LIANMAI_LOG__LEVEL", "warn"),
];

/// How long a generator may take beyond what its plan says, and for each party.
const PATIENCE: Duration = Duration::from_secs(90);

/// What it takes beyond a window's time.
const AROUND_WINDOW: f64 = 1.0;

/// How long a party is left alone once it has joined, in seconds.
const SETTLE: f64 = 3.0;

/// Starts a server on its core.
pub(super) async fn serve(program: &Path) -> Result<Server> {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(SERVER_CORE.to_string()).arg(program);
    Server::launch(command, &ENVIRONMENT).await
}

/// Those in a room of a server of ours.
pub(super) fn party(server: &Server, room: &str, crowd: Crowd) -> Result<Party> {
    let process = server.process().context("the server has ended")?;
    let metrics = Some(server.metrics_address().to_string());
    let (http, local) = (server.http().to_string(), Ipv4Addr::LOCALHOST);
    let server = Target { kind: Kind::Lianmai, http, metrics, local, process };
    Ok(Party { server, room: room.to_owned(), crowd })
}

/// Windows of two parties, or of one and what it is compared with: whoever is second in a turn is first in the next, so that
/// what the machine does beside, and what it did before, falls on both alike.
pub(super) fn turns(runs: u32, ours: Window, reference: Window) -> Vec<Window> {
    let turn = |run: u32| if run.is_multiple_of(2) { [ours, reference] } else { [reference, ours] };
    (0..runs).flat_map(turn).collect()
}

/// What was measured in such turns, ours and the reference. Turns in which one of both had no processor at all are left out, but
/// not more than half of them.
pub(super) fn pairs(windows: &[Measured]) -> Result<Vec<(&Measured, &Measured)>> {
    let turns = windows.chunks_exact(2).enumerate();
    let pairs =
        turns.map(|(run, turn)| if run % 2 == 0 { (&turn[0], &turn[1]) } else { (&turn[1], &turn[0]) });
    let whole: Vec<_> = pairs.filter(|(ours, other)| ours.datagrams > 0 && other.datagrams > 0).collect();
    ensure!(whole.len() * 4 >= windows.len().max(1), "in most turns nothing was forwarded");
    Ok(whole)
}

/// Lets a generator carry out windows; `command` starts it.
pub(super) async fn generate(command: Command, parties: Vec<Party>, windows: Vec<Window>) -> Result<Report> {
    let time: f64 = windows.iter().map(|window| window.seconds + AROUND_WINDOW).sum();
    let within = Duration::from_secs_f64(time) + PATIENCE * (parties.len() as u32 + 1);
    let plan = Plan { parties, settle_s: SETTLE, windows, core: Some(GENERATOR_CORE) };
    ask(command, "plan", &plan, within).await
}

/// Starts a fresh server and lets a generator carry out windows of one party on it.
pub(super) async fn generate_on(
    built: &Built,
    program: &Path,
    crowd: Crowd,
    windows: Vec<Window>,
) -> Result<Report> {
    let server = serve(program).await?;
    let parties = vec![party(&server, "load", crowd)?];
    let report = generate(Command::new(built.generator()), parties, windows).await;
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
