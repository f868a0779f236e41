//! A run of `emu` from its start to its end: signals, the plan file's changes, a line each second, the command.
//!
//! In: signals, the plan file. Out: plans for the emulator, lines on stderr. Time: the emulator's clock; looks around
//! each [`TICK`].

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use emulator::clock::Clock;
use emulator::counts::Counts;
use emulator::plan::{PlanError, Plans, Watch};
use emulator::relay::{Relay, Sharing};
use emulator::tun::{End, Tun};
use proto::time::Instant;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How often the plan file and the command are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often counters are printed, if asked for.
const STATS_EVERY: Duration = Duration::from_secs(1);
/// How long a command may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);

/// What is running.
pub(crate) enum Emulator {
    /// A UDP relay.
    Relay(Relay),
    /// Two namespaces.
    Tun(Tun),
}

/// How a run ended.
pub(crate) enum Ended {
    /// By a signal.
    Interrupted,
    /// With its command, which had this exit code.
    Command(u8),
}

/// See the module's description.
pub(crate) struct Session {
    watch: Watch,
    sharing: Sharing,
    stats: bool,
    signals: Receiver<i32>,
}

/// The counters as they were last printed.
struct Printed {
    at: Instant,
    counts: Counts,
}

/// The command, if there is one.
struct Run {
    child: Option<Child>,
    told_to_end: Option<Instant>,
}

/// The command to run on the left, if there is one; not started yet.
pub(crate) fn command(left: &End, right: &End, words: &[String]) -> Result<Option<Child>> {
    let [program, arguments @ ..] = words else { return Ok(None) };
    let child = Command::new("ip")
        .args(["netns", "exec", &left.namespace, program])
        .args(arguments)
        .env("EMU_LEFT", left.address.to_string())
        .env("EMU_RIGHT", right.address.to_string())
        .env("EMU_LEFT_NETNS", &left.namespace)
        .env("EMU_RIGHT_NETNS", &right.namespace)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    Ok(Some(child))
}

impl Session {
    /// A session that listens to signals from now on.
    pub(crate) fn new(watch: Watch, sharing: Sharing, stats: bool) -> Result<Self> {
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]).context("cannot handle signals")?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || signals.forever().try_for_each(|signal| sender.send(signal)));
        Ok(Self { watch, sharing, stats, signals: receiver })
    }

    /// Runs until a signal or the command's end.
    pub(crate) fn run(mut self, emulator: Emulator, command: Option<Child>) -> Result<Ended> {
        let _ = std::io::stdout().flush(); // the address, for whoever reads it through a pipe
        let clock = emulator.clock();
        let start = Printed { at: Instant::ZERO, counts: Counts::default() };
        let mut printed = Printed { at: clock.now(), counts: Counts::default() };
        let mut run = Run { child: command, told_to_end: None };
        let ended = loop {
            if let Some(ended) = self.handle_signal(&emulator, &mut run, clock.now())? {
                break ended;
            }
            if let Some(status) = run.poll(clock.now())? {
                break Ended::Command(exit_code(status));
            }
            if let Some(plans) = self.watch.poll() {
                self.apply(&emulator, plans)?;
            }
            let Ok(counts) = emulator.counts() else {
                return emulator.end().map(|()| Ended::Interrupted).context("the emulator failed");
            };
            let now = clock.now();
            if self.stats && now.since(printed.at) >= STATS_EVERY {
                print(now, &counts, &printed);
                printed = Printed { at: now, counts };
            }
        };
        if self.stats
            && let Ok(counts) = emulator.counts()
        {
            eprint!("in all: ");
            print(clock.now(), &counts, &start);
        }
        emulator.end().context("the emulator failed")?;
        Ok(ended)
    }

    /// Waits for a signal or for the next tick.
    fn handle_signal(&mut self, emulator: &Emulator, run: &mut Run, now: Instant) -> Result<Option<Ended>> {
        match self.signals.recv_timeout(TICK) {
            Ok(SIGHUP) => {
                let plans = self.watch.read_now();
                self.apply(emulator, plans)?;
            }
            Ok(SIGCHLD) | Err(RecvTimeoutError::Timeout) => {}
            Ok(_) if run.child.is_some() => run.end(now),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Ok(Some(Ended::Interrupted)),
        }
        Ok(None)
    }

    /// Uses new plans, or says why not.
    fn apply(&self, emulator: &Emulator, plans: Result<Plans, PlanError>) -> Result<()> {
        match plans {
            Ok(plans) => {
                emulator.set_links(&plans)?;
                eprintln!("emu: {}: read again, in force now", self.watch.path().display());
                if plans.sharing != self.sharing {
                    eprintln!("emu: whose links they are changes at the next start only");
                }
            }
            Err(error) => eprintln!("emu: {error}; the plan before it stays"),
        }
        Ok(())
    }
}

fn print(now: Instant, counts: &Counts, printed: &Printed) {
    let time = now.since(Instant::ZERO).as_secs_f64();
    eprintln!("{time:.1} s: {}", counts.line_since(&printed.counts, now.since(printed.at)));
}

impl Run {
    /// Tells the command to end.
    fn end(&mut self, now: Instant) {
        self.told_to_end.get_or_insert(now);
        self.kill(Signal::TERM);
    }

    /// How the command ended, if it has.
    fn poll(&mut self, now: Instant) -> Result<Option<ExitStatus>> {
        if self.told_to_end.is_some_and(|at| now.since(at) >= GRACE) {
            self.kill(Signal::KILL);
        }
        let Some(child) = &mut self.child else { return Ok(None) };
        child.try_wait().context("cannot wait for the command")
    }

    fn kill(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let _ = kill_process(Pid::from_child(child), signal); // it may have ended by itself
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && !matches!(child.try_wait(), Ok(Some(_)))
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// As shells have it: 128 and the signal, if it was one.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

impl Emulator {
    fn clock(&self) -> Clock {
        match self {
            Self::Relay(relay) => relay.clock(),
            Self::Tun(tun) => tun.clock(),
        }
    }

    fn counts(&self) -> Result<Counts, emulator::Ended> {
        match self {
            Self::Relay(relay) => relay.counts(),
            Self::Tun(tun) => tun.counts(),
        }
    }

    fn set_links(&self, plans: &Plans) -> Result<(), emulator::Ended> {
        let (up, down) = (plans.up.clone(), plans.down.clone());
        match self {
            Self::Relay(relay) => relay.set_links(up, down),
            Self::Tun(tun) => tun.set_links(up, down),
        }
    }

    fn end(self) -> std::io::Result<()> {
        match self {
            Self::Relay(relay) => relay.end(),
            Self::Tun(tun) => tun.end(),
        }
    }
}
