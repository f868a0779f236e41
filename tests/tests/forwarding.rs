//! The server in the real world under load: one bad subscriber is nobody else's trouble.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use lianmai_tests::load::plan::{Crowd, Kind, Load, Mischief, Party, Plan, Server as Target, Window};
use lianmai_tests::load::report::{Measured, Report};
use lianmai_tests::load::run;
use lianmai_tests::server::Server;

/// Delays move no more than by this share, and this floor in ms: what the machine does beside.
const SHARE: f64 = 1.1;
const FLOOR_MS: f64 = 1.0;

/// Windows of each kind: the best one counts, for other work on the machine only makes delays longer.
const WINDOWS: usize = 3;

/// A machine that is busy with something else may spoil all windows of a kind.
const ATTEMPTS: usize = 2;

/// Subscribers are sent pictures at once: the search for a rate is another test's.
const ENVIRONMENT: [(&str, &str); 1] = [("LIANMAI_DOWNLINK__START_KBPS", "10000")];

const MISCHIEFS: [Mischief; 4] =
    [Mischief::FloodsNacks, Mischief::StopsReading, Mischief::Vanishes, Mischief::ClosesPort];

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_bad_subscriber_delays_nobody() {
    let program = server();
    let mut complaints = Vec::new();
    for _ in 0..ATTEMPTS {
        let server = Server::launch(tokio::process::Command::new(&program), &ENVIRONMENT).await.unwrap();
        let plan = plan(&server);
        let report = tokio::task::spawn_blocking(move || run::run(&plan)).await.unwrap();
        let report = report.unwrap_or_else(|error| panic!("{error:#}\n{}", server.log()));
        complaints = complain(&report);
        if complaints.is_empty() {
            return;
        }
    }
    panic!("{}", complaints.join("\n"));
}

/// One window of each kind after the other: nobody misbehaves, then the last subscriber in every way.
fn plan(server: &Server) -> Plan {
    let (http, process) = (server.http().to_string(), server.process().expect("it runs"));
    let metrics = Some(server.metrics_address().to_string());
    let loads = [Load::Server].into_iter().chain(MISCHIEFS.map(Load::Misbehaving));
    let window = |load| Window { party: 0, seconds: 0.8, load };
    let party = Party {
        server: Target { kind: Kind::Lianmai, http, metrics, local: Ipv4Addr::LOCALHOST, process },
        room: "load".to_owned(),
        crowd: Crowd { publishers: 1, kbps: 548, slots: 0, subscribers: 8, feedback: true },
    };
    Plan {
        parties: vec![party],
        settle_s: 1.5,
        windows: loads.flat_map(|load| std::iter::repeat_n(window(load), WINDOWS)).collect(),
        core: None,
    }
}

/// What is wrong with the delays or the losses of the others.
fn complain(report: &Report) -> Vec<String> {
    let best =
        |windows: &[Measured]| windows.iter().map(|window| window.p99_ms).fold(f64::INFINITY, f64::min);
    let mut kinds = report.windows.chunks_exact(WINDOWS);
    let usual = best(kinds.next().expect("the first windows are without mischief"));
    let mut complaints = Vec::new();
    for (mischief, windows) in MISCHIEFS.into_iter().zip(kinds) {
        assert!(windows.iter().all(|one| one.counts.received > 100), "{mischief:?}: {windows:?}");
        let p99 = best(windows);
        if p99 > usual * SHARE + FLOOR_MS {
            complaints.push(format!("{mischief:?}: p99 {p99:.2} ms, {usual:.2} ms without"));
        }
        if windows.iter().all(|one| one.counts.lost > 0) {
            complaints.push(format!("{mischief:?}: others lose packets"));
        }
    }
    complaints
}

/// The server's program, built as the rest of the workspace is.
fn server() -> PathBuf {
    if let Some(named) = std::env::var_os("LIANMAI") {
        return named.into();
    }
    let arguments = ["build", "--quiet", "--workspace", "--bin", "lianmai"];
    let status = Command::new(env!("CARGO")).args(arguments).status().expect("cargo runs us");
    assert!(status.success(), "the server does not build");
    let own = std::env::current_exe().expect("we run");
    own.ancestors().nth(2).expect("it lies in target/debug/deps").join("lianmai")
}
