//! `emu`: the simulator's links in real time, as a UDP relay and between network namespaces.

mod session;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use emulator::plan::{Names, Plans, Watch};
use emulator::relay::{Limits, Relay, RelayConfig};
use emulator::tun::{End, Tun, TunConfig};
use proto::seed::Seed;

use session::{Emulator, Ended, Session};

/// Bad networks in real time: the simulator's links, for browsers (a UDP relay) and for whole hosts (TUN devices).
#[derive(Parser)]
#[command(name = "emu", version, after_help = PLANS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the help says of plan files.
const PLANS: &str = r#"A plan file states the links as TOML; [links.up] and [links.down] are used unless --up and --down name others:

  [links.up]                  # from clients to the server, or from the left namespace to the right one
  rate = "2mbit"
  queue = "200ms"
  delay = "20ms"

  [links.down]                # back
  rate = [["0s", "8mbit"], ["30s", "1mbit"]]
  loss = "1%"
  delay = "20ms"
  jitter = "5ms"

The file is read again when it changes and at SIGHUP; a mistake in it is told, and the plan before it stays. Times in it
count from the start of the emulator."#;

#[derive(Subcommand)]
enum Command {
    /// Relays UDP between clients and a server; needs no rights.
    ///
    /// Each client has a port of its own towards the server, and links of its own unless the plan has `[relay]` with
    /// `clients = "shared"`.
    Relay(RelayArguments),
    /// Links two network namespaces, for programs that cannot be told of a relay; needs root.
    ///
    /// Runs until it is interrupted, or until COMMAND ends. COMMAND runs in the left namespace with `EMU_LEFT` and
    /// `EMU_RIGHT` (the addresses), `EMU_LEFT_NETNS` and `EMU_RIGHT_NETNS` (the names) in its environment, so that
    /// `ip netns exec $EMU_RIGHT_NETNS …` starts its peer; its exit code is that of `emu`.
    Tun(TunArguments),
}

#[derive(Args)]
struct PlanArguments {
    /// The file that states the links.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// The link up: from clients to the server, from left to right.
    #[arg(long, value_name = "NAME", default_value = "up")]
    up: String,
    /// The link down: from the server to clients, from right to left.
    #[arg(long, value_name = "NAME", default_value = "down")]
    down: String,
    /// Where chance comes from: the same seed loses the same of the same packets.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Prints each second what became of the packets.
    #[arg(long)]
    stats: bool,
}

#[derive(Args)]
struct RelayArguments {
    /// Where clients send to, such as 127.0.0.1:5000; port 0 for any, which is printed.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The server, such as 127.0.0.1:3478.
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
    #[command(flatten)]
    plan: PlanArguments,
    /// How many clients have a place at a time; what others send is dropped.
    #[arg(long, value_name = "N", default_value_t = Limits::default().clients_max)]
    clients_max: usize,
    /// After how many seconds of silence a client loses its place.
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().idle.as_secs())]
    idle: u64,
}

#[derive(Args)]
struct TunArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// The namespace on the left; made if it is not there, and then removed at the end.
    #[arg(long, value_name = "NETNS", default_value = "emu-left")]
    left: String,
    /// The namespace on the right.
    #[arg(long, value_name = "NETNS", default_value = "emu-right")]
    right: String,
    /// The address on the left.
    #[arg(long, value_name = "ADDR", default_value_t = Ipv4Addr::new(10, 99, 0, 1).into())]
    left_address: IpAddr,
    /// The address on the right.
    #[arg(long, value_name = "ADDR", default_value_t = Ipv4Addr::new(10, 99, 0, 2).into())]
    right_address: IpAddr,
    /// What to run in the left namespace.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Relay(arguments) => relay(arguments),
        Command::Tun(arguments) => tun(arguments),
    };
    match ended {
        Ok(Ended::Interrupted) => ExitCode::SUCCESS,
        Ok(Ended::Command(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("emu: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn relay(arguments: RelayArguments) -> Result<Ended> {
    let (session, plans) = session(&arguments.plan)?;
    let RelayArguments { listen, to, plan, clients_max, idle } = arguments;
    let limits = Limits { clients_max, idle: Duration::from_secs(idle.max(1)), ..Limits::default() };
    let Plans { up, down, sharing } = plans;
    let seed = Seed::from_number(plan.seed);
    let config = RelayConfig { listen, up, down, sharing, limits, seed, ..RelayConfig::new(to) };
    let relay = Relay::start(config).with_context(|| format!("cannot listen on {listen}"))?;
    println!("relaying {} to {to}", relay.address());
    session.run(Emulator::Relay(relay), None)
}

fn tun(arguments: TunArguments) -> Result<Ended> {
    let (session, Plans { up, down, sharing: _ }) = session(&arguments.plan)?;
    let left = End { namespace: arguments.left, address: arguments.left_address };
    let right = End { namespace: arguments.right, address: arguments.right_address };
    let config = TunConfig {
        left: left.clone(),
        right: right.clone(),
        up,
        down,
        held_max: Limits::default().held_max,
        seed: Seed::from_number(arguments.plan.seed),
    };
    let tun = Tun::start(config)?;
    println!("linking {} in {} to {} in {}", left.address, left.namespace, right.address, right.namespace);
    let command = session::command(&left, &right, &arguments.command)?;
    session.run(Emulator::Tun(tun), command)
}

fn session(arguments: &PlanArguments) -> Result<(Session, Plans)> {
    let names = Names { up: arguments.up.clone(), down: arguments.down.clone() };
    let (watch, plans) = Watch::start(arguments.plan.clone(), names)?;
    Ok((Session::new(watch, plans.sharing, arguments.stats)?, plans))
}
