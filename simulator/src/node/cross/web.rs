//! Short transfers: connections that send 30 to 50 kB, idle, and send again (RFC 8868 §5.1).
//!
//! In: acknowledgements. Out: datagrams. Time: `now`, monotonic; `poll_timeout`. Chance: a generator for each connection.
//! Limit: one transfer a connection.
//!
//! Each transfer is a new QUIC connection: it begins with a handshake and in slow start, as TCP does after idling for
//! longer than its retransmission timeout (RFC 5681 §4.1), which quinn's long connections would not do. A transfer is
//! over when all of it is acknowledged; then the idle time begins.

use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use proto::seed::{Chance, Seed};
use proto::time::{Instant, earliest};
use quinn_proto::{Connection, ConnectionHandle, Dir, Event, StreamEvent};

use super::quic::Peer;
use crate::node::Node;
use crate::packet::{FlowId, NodeId, Packet};
use crate::scenario::TcpControl;

/// The sizes of transfers in bytes, both included.
const SIZE_MIN: u64 = 30_000;
const SIZE_MAX: u64 = 50_000;

/// What is sent.
static NOTHING: [u8; SIZE_MAX as usize] = [0; SIZE_MAX as usize];

/// What short transfers are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebPlan {
    /// Their congestion control.
    pub control: TcpControl,
    /// How many connections there are.
    pub connections: u32,
    /// How many of them begin with a transfer, the rest with idling.
    pub active: u32,
    /// How long a connection idles on average.
    pub idle: Duration,
}

/// The sending end of short transfers; the other one is a [`Server`](super::Server).
pub struct Web {
    peer: Peer,
    to: NodeId,
    idle: Duration,
    slots: Vec<Slot>,
    stop: Option<Instant>,
    finished: u64,
}

/// One of the plan's connections, which is a QUIC connection for each transfer.
struct Slot {
    chance: Chance,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle { until: Instant },
    Sending(ConnectionHandle),
}

impl Web {
    /// Transfers to `peer`. `epoch` is the standard library's name for the beginning.
    pub fn new(flow: FlowId, peer: NodeId, plan: WebPlan, epoch: StdInstant, seed: &Seed) -> Self {
        let slots = (0..plan.connections).map(|number| {
            let mut chance = seed.fork(&format!("web {number}")).generator();
            let wait =
                if number < plan.active { Duration::ZERO } else { exponential(&mut chance, plan.idle) };
            Slot { chance, state: State::Idle { until: Instant::ZERO + wait } }
        });
        Self {
            peer: Peer::client(flow, plan.control, epoch, seed),
            to: peer,
            idle: plan.idle,
            slots: slots.collect(),
            stop: None,
            finished: 0,
        }
    }

    /// The same, but from `stop` on there are no transfers, and those under way are broken off.
    #[must_use]
    pub fn stopping_at(self, stop: Duration) -> Self {
        Self { stop: Some(Instant::ZERO + stop), ..self }
    }

    /// How many transfers are over.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    fn drain(&mut self, now: Instant) {
        while let Some((handle, event)) = self.peer.poll_event() {
            let is_own = |slot: &&mut Slot| slot.state == State::Sending(handle);
            let Some(slot) = self.slots.iter_mut().find(is_own) else { continue };
            match event {
                Event::Connected => {
                    let size = SIZE_MIN + slot.chance.long_number() % (SIZE_MAX - SIZE_MIN + 1);
                    if let Some(connection) = self.peer.connection(handle) {
                        send(connection, size as usize);
                    }
                }
                Event::Stream(StreamEvent::Finished { .. }) => {
                    self.finished += 1;
                    slot.state = State::Idle { until: now + exponential(&mut slot.chance, self.idle) };
                    self.peer.close(now, handle);
                }
                Event::ConnectionLost { .. } => {
                    slot.state = State::Idle { until: now + exponential(&mut slot.chance, self.idle) };
                }
                Event::Stream(
                    StreamEvent::Opened { .. }
                    | StreamEvent::Readable { .. }
                    | StreamEvent::Writable { .. }
                    | StreamEvent::Stopped { .. }
                    | StreamEvent::Available { .. },
                )
                | Event::HandshakeDataReady
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
    }
}

/// Sends so many bytes on a stream of their own; no transfer fills the send window.
fn send(connection: &mut Connection, size: usize) {
    let Some(id) = connection.streams().open(Dir::Uni) else { return };
    let mut stream = connection.send_stream(id);
    let written = stream.write_chunks(&mut [Bytes::from_static(&NOTHING[..size])]);
    debug_assert!(written.is_ok_and(|written| written.bytes == size));
    let _ = stream.finish(); // it was opened just now
}

/// A time with this mean, at least a microsecond, to the microsecond.
fn exponential(chance: &mut Chance, mean: Duration) -> Duration {
    let uniform = (chance.long_number() >> 11) as f64 / (1_u64 << 53) as f64; // 0 to just below 1
    let micros = mean.as_micros() as f64 * -(1.0 - uniform).ln();
    Duration::from_micros((micros.round() as u64).max(1))
}

impl Node for Web {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        self.peer.handle_packet(now, packet);
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.stop.take_if(|stop| *stop <= now).is_some() {
            for slot in self.slots.drain(..) {
                if let State::Sending(handle) = slot.state {
                    self.peer.close(now, handle);
                }
            }
        }
        for slot in &mut self.slots {
            if matches!(slot.state, State::Idle { until } if until <= now) {
                slot.state = State::Sending(self.peer.connect(now, self.to));
            }
        }
        self.peer.handle_timeout(now);
        self.drain(now);
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        self.peer.poll_packet(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.slots.iter().fold(None, |at, slot| match slot.state {
            State::Idle { until } => earliest(at, Some(until)),
            State::Sending(_) => at,
        });
        earliest(earliest(idle, self.stop), self.peer.poll_timeout())
    }
}
