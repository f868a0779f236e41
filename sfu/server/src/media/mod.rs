//! Media workers: each a thread that carries one SFU core between a UDP socket, TCP connections and the `WebSocket`s.
//!
//! In: datagrams, [`Command`]s. Out: datagrams, messages to `WebSocket`s, log lines, metrics. Time: the process's
//! [`Clock`], read once a batch; of a datagram, when the kernel had it. Limit: [`COMMANDS_MAX`] commands wait, then whoever sends one waits; [`MESSAGES_MAX`]
//! messages wait for a WebSocket, then it is closed. Nothing here decides: the core does.

mod arrival;
mod busy;
mod events;
mod exchange;
mod failures;
pub(crate) mod relay;
mod residence;
mod stats;
pub(crate) mod tcp;
mod udp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use proto::ids::SessionId;
use proto::time::{Instant, earliest};
use sfu::worker::{Config, Grant, Input, Path, SocketId};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::rooms::{Rooms, Seat};
use busy::Busy;
use exchange::Exchange;
use failures::{Failures, Verdict};
use relay::{Links, TRY_AGAIN};
use residence::Residence;
pub(crate) use residence::{Published, render as render_residence};
pub(crate) use stats::{Answer, Question, describe as describe_metrics, recorder};
pub(crate) use udp::bind;
use udp::{Arrival, Incoming};

/// Commands that wait for one worker: at 256 KiB each at most 64 MiB.
const COMMANDS_MAX: usize = 256;
/// Messages that wait for one WebSocket. A client that reads so little is cut off and may resume.
pub(crate) const MESSAGES_MAX: usize = 256;
/// Batches of datagrams taken before commands get their turn.
const RECEIVE_BUDGET: usize = 4;
/// Commands, and batches of other workers, taken before datagrams get their turn.
const COMMAND_BUDGET: usize = 64;
/// How often metrics are published.
const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a draining worker may take to let everyone go.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// What the control plane tells a worker.
pub(crate) enum Command {
    /// A TCP connection came whose first frame is for this worker.
    Connected(tcp::Handed),
    /// One opened.
    Opened(Opened),
    /// A message came on one.
    Message(SocketId, Utf8Bytes),
    /// One closed or broke.
    Closed(SocketId),
    /// Somebody asks what a room looks like.
    Stats(Question),
    /// The server is shutting down.
    Drain,
}

/// A WebSocket that opened.
pub(crate) struct Opened {
    /// Its number.
    pub(crate) socket: SocketId,
    /// What its token allows.
    pub(crate) grant: Grant,
    /// The session it wants to take up again.
    pub(crate) session: Option<SessionId>,
    /// The rest is kept until it closes.
    pub(crate) line: Line,
}

/// A worker's end of a WebSocket.
pub(crate) struct Line {
    /// Its hold on the room.
    pub(crate) seat: Seat,
    /// Where its messages go. When the worker drops this, the WebSocket closes after what was sent.
    pub(crate) messages: mpsc::Sender<String>,
    /// Tells the WebSocket to close at once, without what waits.
    pub(crate) cut: oneshot::Sender<Cut>,
}

/// A WebSocket that is closed before its messages are sent: [`MESSAGES_MAX`] of them waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut;

/// What a worker thread is started with.
pub(crate) struct Start {
    /// Its number, from 0.
    pub(crate) index: usize,
    /// Its socket, from [`bind`].
    pub(crate) socket: std::net::UdpSocket,
    /// What its core is made of.
    pub(crate) config: Config,
    /// Where rooms are, to be told of events.
    pub(crate) rooms: Arc<Rooms>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// Whether to stay on one core.
    pub(crate) pin: Pin,
    /// Where residence times are published.
    pub(crate) residence: Arc<Published>,
    /// Its ways to and from other workers.
    pub(crate) links: Links,
}

/// Whether a worker's thread may move between cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    /// It stays on the core with its number.
    ToCore,
    /// The kernel decides.
    Nowhere,
}

/// Starts a worker's thread and returns where its commands go. When it ends, for whatever reason, it tells `ended`.
pub(crate) fn spawn(start: Start, ended: mpsc::Sender<usize>) -> io::Result<mpsc::Sender<Command>> {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let index = start.index;
    std::thread::Builder::new().name(format!("media-{index}")).spawn(move || {
        let _tell = TellEnd { index, ended };
        if start.pin == Pin::ToCore {
            pin(index);
        }
        if let Err(error) = run(start, inbox) {
            tracing::error!("media worker {index} failed: {error}");
        }
    })?;
    Ok(commands)
}

/// Tells that the thread ended, also if it panicked.
struct TellEnd {
    index: usize,
    ended: mpsc::Sender<usize>,
}

impl Drop for TellEnd {
    fn drop(&mut self) {
        let _ = self.ended.try_send(self.index); // fails if the server is gone
    }
}

fn run(start: Start, inbox: mpsc::Receiver<Command>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Media::new(start, inbox)?.run().await })
}

/// The thread's state.
struct Media {
    clock: Clock,
    incoming: Incoming,
    inbox: mpsc::Receiver<Command>,
    exchange: Exchange,
    links: Links,
    rooms: Arc<Rooms>,
    busy: Busy,
    failures: Failures,
    residence: Residence,
    published: Arc<Published>,
    stats_due: Instant,
    /// Until when a draining worker may go on; none if it is not draining.
    drain_until: Option<Instant>,
}

impl Media {
    fn new(start: Start, inbox: mpsc::Receiver<Command>) -> io::Result<Self> {
        let (incoming, outgoing) = udp::split(start.socket)?;
        let exchange = Exchange::new(start.index, start.config, outgoing, Arc::clone(&start.rooms));
        let stats_due = start.clock.now();
        let failures = Failures::default();
        Ok(Self {
            clock: start.clock,
            incoming,
            inbox,
            exchange,
            links: start.links,
            rooms: start.rooms,
            busy: Busy::default(),
            failures,
            residence: Residence::default(),
            published: start.residence,
            stats_due,
            drain_until: None,
        })
    }

    async fn run(mut self) -> io::Result<()> {
        while !self.is_done() {
            let now = self.wait().await?; // from before the datagrams: what waits in the kernel still is not older
            self.take_datagrams()?;
            self.exchange.take_frames(now);
            self.take_commands(now);
            self.take_relayed(now);
            if self.exchange.poll_timeout().is_some_and(|at| at <= now) {
                self.exchange.handle_input(now, Input::Timeout);
            }
            self.exchange.flush();
            self.links.hand_over(self.exchange.worker_mut());
            if self.residence.is_waiting() {
                self.residence.handle_flushed(self.clock.now());
            }
            if self.stats_due <= now {
                self.exchange.sweep(now);
                stats::publish(&self.exchange, &self.incoming, &self.failures);
                self.published.store(self.residence.histogram());
                self.stats_due = now + STATS_INTERVAL;
                self.rooms.note_busy(self.exchange.index(), self.busy.share(now));
            }
            self.busy.note(now, self.clock.now());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.drain_until.is_some_and(|until| self.exchange.is_empty() || until <= self.clock.now())
    }

    /// Sleeps until a datagram, a command, a batch of another worker or a deadline, and tells when that was. A command or batch that
    /// came is handled.
    async fn wait(&mut self) -> io::Result<Instant> {
        let paused = self.failures.pause_until();
        let again = self.links.is_held_up().then(|| self.clock.now() + TRY_AGAIN);
        let due = [self.exchange.poll_timeout(), Some(self.stats_due), self.drain_until, paused, again];
        let due = due.into_iter().fold(None, earliest);
        let due = due.map_or_else(tokio::time::Instant::now, |at| self.clock.deadline(at));
        let mut woke = None;
        tokio::select! {
            readable = self.incoming.readable(), if paused.is_none() => readable?,
            () = self.exchange.ready() => {}
            Some(command) = self.inbox.recv() => {
                let now = *woke.insert(self.clock.now());
                self.handle_command(now, command);
            }
            Some((from, batch)) = self.links.receive() => {
                let now = *woke.insert(self.clock.now());
                self.exchange.handle_input(now, Input::Relayed { from, batch });
            }
            () = tokio::time::sleep_until(due) => {}
        }
        Ok(woke.unwrap_or_else(|| self.clock.now()))
    }

    fn take_datagrams(&mut self) -> io::Result<()> {
        if self.failures.pause_until().is_some_and(|until| self.clock.now() < until) {
            return Ok(());
        }
        for _ in 0..RECEIVE_BUDGET {
            let (exchange, residence) = (&mut self.exchange, &mut self.residence);
            let received = self.incoming.receive(&self.clock, |Arrival { at, local, remote, bytes }| {
                residence.handle_arrival(at);
                exchange.handle_input(at, Input::Datagram { path: Path::udp(local, remote), bytes });
            });
            match received {
                Ok(more) => {
                    self.failures.handle_success();
                    if !more || self.exchange.is_full() {
                        break;
                    }
                }
                Err(error) => self.handle_failure(error)?,
            }
        }
        Ok(())
    }

    /// A failed receive says something of the network or of the kernel's memory, seldom of the socket: the rooms go on.
    fn handle_failure(&mut self, error: io::Error) -> io::Result<()> {
        match self.failures.handle_failure(self.clock.now()) {
            Verdict::GoOn => Ok(()),
            Verdict::Say => {
                let (index, count) = (self.exchange.index(), self.failures.count);
                tracing::warn!("media worker {index} cannot receive, for the {count}. time: {error}");
                Ok(())
            }
            Verdict::GiveUp => Err(error),
        }
    }

    fn take_commands(&mut self, now: Instant) {
        for _ in 0..COMMAND_BUDGET {
            let Ok(command) = self.inbox.try_recv() else { break };
            self.handle_command(now, command);
        }
    }

    fn take_relayed(&mut self, now: Instant) {
        for _ in 0..COMMAND_BUDGET {
            let Some((from, batch)) = self.links.take() else { break };
            self.exchange.handle_input(now, Input::Relayed { from, batch });
        }
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Connected(handed) => self.exchange.connect(now, handed),
            Command::Opened(opened) => self.exchange.open(now, opened),
            Command::Message(socket, text) => {
                self.exchange.handle_input(now, Input::SocketMessage { socket, text: &text });
            }
            Command::Closed(socket) => self.exchange.close(now, socket),
            Command::Stats(question) => question.answer(now, &self.exchange, &self.residence),
            Command::Drain => {
                self.drain_until.get_or_insert(now + DRAIN_MAX);
                self.exchange.handle_input(now, Input::Drain);
            }
        }
    }
}

/// Keeps the calling thread on core number `index` of those that the process may use; a wish, not a condition.
fn pin(index: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let Some(core) = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).nth(index) else { return };
    let mut only = CpuSet::new();
    only.set(core);
    if let Err(error) = sched_setaffinity(None, &only) {
        tracing::warn!("media worker {index} is not pinned to core {core}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use proto::seed::Seed;
    use sfu::network::dtls::Certificate;
    use sfu::worker::{DownlinkSettings, Protection, WorkerMark};

    use super::*;

    fn media(socket: UdpSocket) -> Media {
        let clock = Clock::start();
        let config = Config {
            candidates: Vec::new(),
            tcp_candidates: Vec::new(),
            mark: WorkerMark::FIRST,
            protection: Protection::Srtp { certificate: Certificate::generate(), epoch: clock.epoch() },
            seed: Seed::from_number(1),
            wall_clock: clock.wall_clock(),
            room_participants_max: 2,
            downlink: DownlinkSettings::default(),
        };
        let rooms = Rooms::on_one();
        let (_, inbox) = mpsc::channel(1);
        let residence = Arc::default();
        let links = relay::links(1).remove(0);
        let start = Start { index: 0, socket, config, rooms, clock, pin: Pin::Nowhere, residence, links };
        Media::new(start, inbox).unwrap()
    }

    #[tokio::test]
    async fn a_failed_receive_is_counted_and_the_next_one_works() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer_address = peer.local_addr().unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        socket.connect(peer_address).unwrap(); // only a connected socket hears of a port without a listener
        let same = socket.try_clone().unwrap();
        let mut media = media(socket);
        drop(peer);
        same.send(b"nobody listens").unwrap(); // and the answer to that is what the first receive meets
        let peer = UdpSocket::bind(peer_address).unwrap();
        peer.send_to(b"somebody does", address).unwrap();
        let receive = async {
            while media.exchange.stats().datagrams_in == 0 {
                media.wait().await.unwrap();
                media.take_datagrams().unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(5), receive).await.expect("the datagram comes");
        assert_eq!((media.failures.count, media.failures.pause_until()), (1, None));
    }
}
