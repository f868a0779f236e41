//! A long transfer: one QUIC connection that has always something to send.
//!
//! In: acknowledgements. Out: datagrams. Time: `now`, monotonic; `poll_timeout`. Limit: `quic`'s send window.

use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use quinn_proto::{Connection, ConnectionHandle, Dir, Event, StreamEvent, StreamId};

use super::quic::Peer;
use crate::node::Node;
use crate::packet::{FlowId, NodeId, Packet};
use crate::scenario::TcpControl;

/// What is sent, again and again.
static NOTHING: [u8; 1 << 16] = [0; 1 << 16];

/// What a long transfer is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkPlan {
    /// Its congestion control.
    pub control: TcpControl,
    /// When it starts.
    pub start: Duration,
    /// When it stops, if ever: at once, as when a browser's tab is closed.
    pub stop: Option<Duration>,
}

/// The sending end of a long transfer; the other one is a [`Server`](super::Server).
pub struct Bulk {
    peer: Peer,
    to: NodeId,
    start: Option<Instant>,
    stop: Option<Instant>,
    connection: Option<ConnectionHandle>,
}

impl Bulk {
    /// A transfer to `peer`. `epoch` is the standard library's name for the beginning.
    pub fn new(flow: FlowId, peer: NodeId, plan: BulkPlan, epoch: StdInstant, seed: &Seed) -> Self {
        Self {
            peer: Peer::client(flow, plan.control, epoch, seed),
            to: peer,
            start: Some(Instant::ZERO + plan.start),
            stop: plan.stop.map(|stop| Instant::ZERO + stop),
            connection: None,
        }
    }

    /// The congestion window in bytes; `None` before the start and after the stop.
    pub fn window(&self) -> Option<u64> {
        self.peer.window(self.connection?)
    }

    fn drain(&mut self) {
        while let Some((handle, event)) = self.peer.poll_event() {
            let Some(connection) = self.peer.connection(handle) else { continue };
            match event {
                Event::Connected => {
                    if let Some(id) = connection.streams().open(Dir::Uni) {
                        fill(connection, id);
                    }
                }
                Event::Stream(StreamEvent::Writable { id }) => fill(connection, id),
                Event::Stream(
                    StreamEvent::Opened { .. }
                    | StreamEvent::Readable { .. }
                    | StreamEvent::Finished { .. }
                    | StreamEvent::Stopped { .. }
                    | StreamEvent::Available { .. },
                )
                | Event::HandshakeDataReady
                | Event::ConnectionLost { .. }
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
    }
}

/// Writes until the send window is full.
fn fill(connection: &mut Connection, id: StreamId) {
    let mut stream = connection.send_stream(id);
    while stream.write_chunks(&mut [Bytes::from_static(&NOTHING)]).is_ok() {}
}

impl Node for Bulk {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        self.peer.handle_packet(now, packet);
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.start.take_if(|start| *start <= now).is_some() {
            self.connection = Some(self.peer.connect(now, self.to));
        }
        if self.stop.take_if(|stop| *stop <= now).is_some() {
            self.start = None;
            if let Some(handle) = self.connection.take() {
                self.peer.close(now, handle);
            }
        }
        self.peer.handle_timeout(now);
        self.drain();
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        self.peer.poll_packet(now)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(earliest(self.start, self.stop), self.peer.poll_timeout())
    }
}
