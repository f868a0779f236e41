//! Two network namespaces with a link between them: its delay and its rate, as programs in them see it.
//!
//! Needs root, iproute2 and `/dev/net/tun`; says so and passes where they are missing.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use emulator::clock::Clock;
use rustix::thread::{CapabilitySet, capabilities};

/// What the plan says: the round trip is 60 ms, and 8 Mbit/s go to the right.
const PLAN: &str = "\
[links.up]
rate = \"8mbit\"
queue = \"150ms\"
delay = \"25ms\"
[links.down]
rate = \"20mbit\"
delay = \"35ms\"
";
const ROUND_TRIP_MS: u128 = 60;
const RATE: f64 = 8e6;
const PORT: u16 = 7;
const LONG: Duration = Duration::from_secs(20);
/// Sent over TCP: two seconds at the link's rate.
const SENT: usize = 2_000_000;

const NOT_ROOT: &str = "the test is not run by root";

/// Why there can be no TUN devices here.
fn missing() -> Option<&'static str> {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if !effective.contains(CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN) {
        return Some(NOT_ROOT);
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun");
    }
    let ip = Command::new("ip").args(["netns", "list"]).output();
    ip.map_or(true, |output| !output.status.success())
        .then_some("iproute2 is not installed or may not do its work")
}

fn run(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emu"));
    command.arg("tun").args(arguments);
    command
}

#[test]
fn delay_and_rate_between_namespaces_are_those_of_the_plan() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, PLAN).unwrap();
    let names = ["left", "right"].map(|side| format!("emu-test-{side}-{}", std::process::id()));
    let [left, right] = names.each_ref().map(String::as_str);
    let output = run(&["--plan", plan.to_str().unwrap(), "--left", left, "--right", right, "--stats", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "on_the_left", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{out}");
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    assert!(err.contains("in all: "), "{err}");
    for name in names {
        assert!(!Path::new("/run/netns").join(&name).exists(), "{name} is left over");
    }
}

#[test]
fn the_commands_exit_code_is_passed_on_and_a_namespace_that_was_there_stays() {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, PLAN).unwrap();
    let names = ["old", "new"].map(|side| format!("emu-test-{side}-{}", std::process::id()));
    let [old, new] = names.each_ref().map(String::as_str);
    let ip = |arguments: &[&str]| assert!(Command::new("ip").args(arguments).status().unwrap().success());
    ip(&["netns", "add", old]);
    let status = run(&["--plan", plan.to_str().unwrap(), "--left", old, "--right", new])
        .args(["--", "sh", "-c", "test $EMU_LEFT-$EMU_RIGHT = 10.99.0.1-10.99.0.2 && exit 42"])
        .status()
        .unwrap();
    let stays = [old, new].map(|name| Path::new("/run/netns").join(name).exists());
    ip(&["netns", "delete", old]);
    assert_eq!((status.code(), stays), (Some(42), [true, false]));
}

#[test]
fn without_rights_it_says_what_is_missing_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, PLAN).unwrap();
    let plan = plan.to_str().unwrap();
    let output = if missing() == Some(NOT_ROOT) {
        run(&["--plan", plan]).output().unwrap()
    } else {
        // Root with its rights taken away: the paths here may be closed to anybody else.
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"]);
        match command.args([env!("CARGO_BIN_EXE_emu"), "tun", "--plan", plan]).output() {
            Ok(output) => output,
            Err(error) => return println!("skipped: setpriv: {error}"),
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_ADMIN is missing") && said.contains("as root"), "{said}");
}

/// The echo and the sink of the right side, in its namespace; ends with this.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "run in a namespace by another test"]
fn on_the_left() {
    if std::env::var("EMU_RIGHT").is_err() {
        return; // somebody runs what is to be ignored
    }
    let variable = |name: &str| std::env::var(name).expect("set by emu");
    let right: IpAddr = variable("EMU_RIGHT").parse().unwrap();
    let left: IpAddr = variable("EMU_LEFT").parse().unwrap();
    let peer = Command::new("ip")
        .args(["netns", "exec", &variable("EMU_RIGHT_NETNS")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "on_the_right", "--ignored"])
        .spawn()
        .unwrap();
    let _peer = Peer(peer);
    let clock = Clock::start();

    let socket = UdpSocket::bind((left, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.connect((right, PORT)).unwrap();
    let mut trips = Vec::new();
    for _ in 0..200 {
        let sent = clock.now();
        if socket.send(b"ping").is_ok() && socket.recv(&mut [0; 9]).is_ok() {
            trips.push(clock.now().since(sent));
        }
        if trips.len() == 21 {
            break;
        }
    }
    trips.sort_unstable();
    let median = trips[trips.len() / 2];
    println!("round trip: {:?} to {:?}, median {median:?}", trips[0], trips[trips.len() - 1]);
    assert!(trips[0].as_millis() >= ROUND_TRIP_MS, "faster than the plan");
    assert!(median.as_millis() <= ROUND_TRIP_MS + 10, "slower than the plan");

    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(right, PORT), LONG).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let began = clock.now();
    stream.write_all(&vec![7; SENT]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    let took = clock.now().since(began);
    assert_eq!(u64::from_be_bytes(answer), SENT as u64);
    let rate = SENT as f64 * 8.0 / took.as_secs_f64();
    println!("TCP: {:.2} Mbit/s", rate / 1e6);
    assert!((0.75..1.0).contains(&(rate / RATE)), "{:.2} Mbit/s over a link of 8 Mbit/s", rate / 1e6);
}

#[test]
#[ignore = "run in a namespace by another test"]
fn on_the_right() {
    if std::env::var("EMU_RIGHT").is_err() {
        return;
    }
    let address = (std::net::Ipv4Addr::UNSPECIFIED, PORT);
    let echo = UdpSocket::bind(address).unwrap();
    let sink = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            echo.send_to(&buffer[..length], from).ok();
        }
    });
    let (mut stream, _) = sink.accept().unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    stream.write_all(&(received.len() as u64).to_be_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).ok();
}
