//! `emu` as people run it: what it says of bad plans, and that a plan changes while it runs.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use emulator::clock::Clock;

const GOOD: &str = "[links.up]\ndelay = \"5ms\"\n[links.down]\n";
const LONG: Duration = Duration::from_secs(10);

fn emu(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emu")).args(arguments).output().expect("it runs")
}

fn relay_arguments<'a>(plan: &'a str, to: &'a str) -> Vec<&'a str> {
    vec!["relay", "--listen", "127.0.0.1:0", "--to", to, "--plan", plan]
}

#[test]
fn bad_plans_are_refused_with_line_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    let path_text = path.to_str().unwrap();
    fs::write(folder.path().join("nothing.down"), "").unwrap();
    let trace = "[links.up]\n[links.down]\nrate = { trace = \"FILE\", format = \"mahimahi\" }\n";
    for (name, text, line, reason) in [
        ("a negative rate", "[links.up]\nrate = \"-2mbit\"\n[links.down]\n", 2, "-2mbit"),
        (
            "an unknown key",
            "[links.up]\n\n\nlos = 0.1\n[links.down]\n",
            4,
            "unknown key `los`; did you mean `loss`?",
        ),
        ("a missing trace", &trace.replace("FILE", "none.down"), 3, "none.down"),
        ("a trace of zero capacity", &trace.replace("FILE", "nothing.down"), 3, "nothing.down"),
        ("more than all is lost", "[links.up]\n[links.down]\nloss = 1.5\n", 3, "1.5"),
        ("not TOML", "[links.up]\n[links.down]\nloss =\n", 3, ""),
    ] {
        fs::write(&path, text).unwrap();
        let output = emu(&relay_arguments(path_text, "127.0.0.1:9"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.starts_with(&format!("emu: {path_text}:{line}: ")), "{name}: {said}");
        assert!(said.contains(reason) && said.trim_end().lines().count() < 3, "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}: it does not start");
    }
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    let path = path.to_str().unwrap();
    let said = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said(emu(&relay_arguments(path, "127.0.0.1:9"))).contains("No such file"));
    fs::write(path, GOOD).unwrap();
    let mut arguments = relay_arguments(path, "127.0.0.1:9");
    arguments.extend(["--down", "wlan"]);
    assert!(said(emu(&arguments)).contains("there is no [links.wlan]; there is [links.down], [links.up]"));
    assert!(said(emu(&relay_arguments(path, "server:9"))).contains("invalid socket address"));
}

/// A running relay; killed if the test fails.
struct Running {
    child: Child,
    address: SocketAddr,
    said: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(plan: &Path, to: SocketAddr, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_emu"))
            .args(relay_arguments(plan.to_str().expect("a path"), &to.to_string()))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut first).expect("it says where it listens");
        let address = first.split(' ').nth(1).and_then(|address| address.parse().ok()).expect("an address");
        let said = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, address, said }
    }

    fn says(&mut self, what: &str) {
        for line in self.said.by_ref() {
            if line.expect("text").contains(what) {
                return;
            }
        }
        panic!("it ended and did not say {what:?}");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is there");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_plan_changes_while_it_runs_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    fs::write(&path, GOOD).unwrap();
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    let mut relay = Running::start(&path, server.local_addr().unwrap(), &["--stats"]);
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let clock = Clock::start();
    let address = relay.address;
    let took = || {
        let sent = clock.now();
        client.send_to(b"?", address).unwrap();
        server.recv_from(&mut [0; 9]).unwrap();
        clock.now().since(sent).as_millis()
    };
    let before = took();
    assert!((5..250).contains(&before), "{before} ms");

    fs::write(&path, GOOD.replace("5ms", "300ms")).unwrap();
    relay.says("read again, in force now");
    let after = took();
    assert!((300..550).contains(&after), "{after} ms");

    fs::write(&path, GOOD.replace("5ms", "5 parsecs")).unwrap();
    relay.says("plan.toml:2: ");
    relay.signal(rustix::process::Signal::HUP);
    relay.says("the plan before it stays"); // read because it was asked to, changed or not
    let still = took();
    assert!((300..550).contains(&still), "{still} ms");

    relay.signal(rustix::process::Signal::INT);
    relay.says("in all: ");
    assert_eq!(relay.child.wait().unwrap().code(), Some(0));
}
