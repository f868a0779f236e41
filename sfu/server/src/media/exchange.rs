//! One SFU core with what its outputs touch: the socket's sending half, the TCP connections, the `WebSocket`s' queues, the
//! rooms, the log.
//!
//! In: inputs. Out: everything the core puts out, at `flush`. Limit: a WebSocket whose queue is full is cut off, and to the
//! core it has closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::time::Instant;
use sfu::worker::{Config, Event, Input, Output, SocketId, Stats, Worker};
use tokio::sync::mpsc::error::TrySendError;

use super::tcp::{Connections, Counts, Handed};
use super::udp::{Outgoing, Sent};
use super::{Cut, Line, Opened, events};
use crate::rooms::{Rooms, Seat};

/// See the module.
pub(super) struct Exchange {
    index: usize,
    worker: Worker,
    outgoing: Outgoing,
    connections: Connections,
    lines: BTreeMap<SocketId, Line>,
    /// `WebSocket`s that turned out to be stuck or gone while the core was drained; it is told afterwards.
    lost: Vec<(SocketId, Line)>,
    /// What closed `WebSocket`s held: until the rooms know of all that the core did before, or a room that has just opened
    /// would be unknown for a moment, and its next shard would not be told of it.
    closed: Vec<Seat>,
    overflowed: u64,
    rooms: Arc<Rooms>,
    /// The time of the last input.
    latest: Instant,
}

impl Exchange {
    /// An exchange around a new core.
    pub(super) fn new(index: usize, config: Config, outgoing: Outgoing, rooms: Arc<Rooms>) -> Self {
        Self {
            index,
            worker: Worker::new(config),
            outgoing,
            connections: Connections::new(),
            lines: BTreeMap::new(),
            lost: Vec::new(),
            closed: Vec::new(),
            overflowed: 0,
            rooms,
            latest: Instant::ZERO,
        }
    }

    /// A TCP connection came, and what it said first: it may stay if the core finds that true.
    pub(super) fn connect(&mut self, now: Instant, mut handed: Handed) {
        let path = handed.path;
        self.handle_input(now, Input::Datagram { path, bytes: &mut handed.first });
        if self.worker.checked_at(path).is_none() {
            self.connections.note_unproved();
        } else if let Err(error) = self.connections.insert(now, handed) {
            tracing::warn!("media worker {} cannot take a connection: {error}", self.index);
        }
    }

    /// Waits until a TCP connection may be read or written.
    pub(super) async fn ready(&self) {
        self.connections.ready().await;
    }

    /// Gives the core what came by TCP.
    pub(super) fn take_frames(&mut self, now: Instant) {
        let now = self.latest.max(now);
        self.latest = now;
        let worker = &mut self.worker;
        self.connections.receive(|path, bytes| worker.handle_input(now, Input::Datagram { path, bytes }));
    }

    /// Closes TCP connections that are of no use any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.connections.sweep(now, |path| self.worker.checked_at(path));
    }

    /// A WebSocket opened.
    pub(super) fn open(&mut self, now: Instant, opened: Opened) {
        let Opened { socket, grant, session, line } = opened;
        let others = line.seat.others().to_vec();
        self.lines.insert(socket, line);
        self.handle_input(now, Input::SocketOpened { socket, grant, session, others });
    }

    /// A WebSocket closed; nothing happens if the core closed it before.
    pub(super) fn close(&mut self, now: Instant, socket: SocketId) {
        if let Some(line) = self.lines.remove(&socket) {
            self.handle_input(now, Input::SocketClosed { socket });
            self.closed.push(line.seat);
        }
    }

    /// Gives `input` to the core. A datagram that arrived before the last input is given the time of that one: to the core,
    /// time does not go back.
    pub(super) fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let now = self.latest.max(now);
        self.latest = now;
        self.worker.handle_input(now, input);
    }

    /// Whether so much came that it should be carried out before more comes.
    pub(super) fn is_full(&self) -> bool {
        self.worker.is_full()
    }

    /// Carries out what the core says to all that it was given.
    pub(super) fn flush(&mut self) {
        self.carry_out();
        while let Some((socket, line)) = self.lost.pop() {
            self.worker.handle_input(self.latest, Input::SocketClosed { socket });
            self.carry_out();
            let _ = line.cut.send(Cut); // fails if the WebSocket has already ended
        }
        self.closed.clear();
    }

    /// When the core wants [`Input::Timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.worker.poll_timeout()
    }

    /// Whether everyone has been let go.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.participants() == 0
    }

    /// The worker's number.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The core, to be asked.
    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The core, to be relieved of what it has for others.
    pub(super) fn worker_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// The core's counters.
    pub(super) fn stats(&self) -> Stats {
        self.worker.stats()
    }

    /// What was sent.
    pub(super) fn sent(&self) -> Sent {
        self.outgoing.counts
    }

    /// What became of TCP connections and their frames, and how many there are.
    pub(super) fn tcp(&self) -> (Counts, usize) {
        (self.connections.counts, self.connections.len())
    }

    /// `WebSocket`s cut off since they did not read.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// How many participants are on this worker.
    pub(super) fn participants(&self) -> usize {
        self.rooms.participants(self.index)
    }

    fn carry_out(&mut self) {
        while let Some(transmits) = self.worker.poll_transmits() {
            self.outgoing.send(transmits);
            self.connections.send(self.latest, transmits);
            transmits.clear();
        }
        self.connections.flush(self.latest);
        while let Some(output) = self.worker.poll_output() {
            match output {
                Output::Message { socket, text } => self.send(socket, text),
                Output::CloseSocket { socket } => drop(self.lines.remove(&socket)),
                Output::Event(event) => self.tell(&event),
            }
        }
    }

    fn send(&mut self, socket: SocketId, text: String) {
        let Some(line) = self.lines.get(&socket) else { return };
        let Err(error) = line.messages.try_send(text) else { return };
        if matches!(error, TrySendError::Full(_)) {
            self.overflowed += 1;
        }
        self.lost.extend(self.lines.remove(&socket).map(|line| (socket, line)));
    }

    fn tell(&self, event: &Event) {
        self.rooms.handle_event(self.index, event);
        events::log(self.index, event);
    }
}

#[cfg(test)]
mod tests {
    use proto::seed::Seed;
    use sfu::network::dtls::Certificate;
    use sfu::worker::{DownlinkSettings, Grant, Protection, WorkerMark};
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::clock::Clock;
    use crate::media::udp;

    fn exchange(clock: Clock, rooms: &Arc<Rooms>) -> Exchange {
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
        let (_, outgoing) = udp::split(udp::bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        Exchange::new(0, config, outgoing, Arc::clone(rooms))
    }

    #[tokio::test]
    async fn to_the_core_time_does_not_go_back() {
        let mut exchange = exchange(Clock::start(), &Rooms::on_one());
        for (now, latest) in [(5, 5), (3, 5), (7, 7)] {
            exchange.handle_input(Instant::from_millis(now), Input::Timeout);
            assert_eq!(exchange.latest, Instant::from_millis(latest), "at {now}");
        }
    }

    #[tokio::test]
    async fn a_websocket_that_does_not_read_is_cut_off_and_others_are_not() {
        let clock = Clock::start();
        let rooms = Rooms::on_one();
        let mut exchange = exchange(clock, &rooms);
        let mut open = |number| {
            let grant = Grant {
                room: "r".into(),
                identity: format!("{number}"),
                name: String::new(),
                publish: Vec::new(),
                subscribe: true,
            };
            let (messages, outbox) = mpsc::channel(2);
            let (cut, was_cut) = oneshot::channel();
            let line = Line { seat: rooms.seat(&grant.room, None), messages, cut };
            exchange.open(clock.now(), Opened { socket: SocketId(number), grant, session: None, line });
            (outbox, was_cut)
        };
        let (mut lazy, mut lazy_cut) = open(1);
        let (mut eager, mut eager_cut) = open(2);
        for round in 0..3 {
            for socket in [SocketId(1), SocketId(2)] {
                exchange.handle_input(clock.now(), Input::SocketMessage { socket, text: "no JSON" });
            }
            exchange.flush();
            assert!(eager.try_recv().is_ok(), "round {round}");
        }
        assert_eq!((lazy_cut.try_recv(), eager_cut.try_recv().is_err()), (Ok(Cut), true));
        assert_eq!((exchange.overflowed(), exchange.lines.len()), (1, 1));
        let waiting = std::iter::from_fn(|| lazy.try_recv().ok()).count();
        assert_eq!(waiting, 2, "the third had no place");
        exchange.close(clock.now(), SocketId(2));
        assert_eq!(rooms.len(), 1, "what the core said before is yet to be carried out");
        exchange.flush();
        assert_eq!(rooms.len(), 0, "the seats are free");
    }
}
