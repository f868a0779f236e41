//! A worker's UDP socket: receives in batches (recvmmsg, GRO), sends in runs (GSO).
//!
//! In: datagrams to send. Out: datagrams received, with IPv4 addresses never mapped into IPv6. Limit: [`BATCH_MAX`]
//! datagrams wait for [`Outgoing::flush`]; one that the kernel does not take at once is dropped and counted, as any
//! router on the way would do.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proto::time::Instant;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use sfu::worker::Transmit;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::arrival::ArrivalClock;
use crate::clock::Clock;

/// What is asked of the kernel for each direction, in bytes: 13 ms at 2.5 Gbit/s. The kernel may grant less.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;
/// A received buffer, in bytes: the most that GRO joins.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Datagrams that wait for one flush.
const BATCH_MAX: usize = 256;
/// The most bytes of one GSO run: a UDP payload's limit, less room for headers.
const RUN_MAX: usize = 65_000;

/// Opens a non-blocking UDP socket; one on `::` takes IPv4 too.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Less than asked is no failure: the socket works, and drops sooner in a burst.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Both halves of `socket`. Called within the runtime that shall wait for it.
pub(super) fn split(socket: std::net::UdpSocket) -> io::Result<(Incoming, Outgoing)> {
    let state = UdpSocketState::new((&socket).into())?;
    let mapped = socket.local_addr()?.is_ipv6();
    let shared = Arc::new(Shared { io: UdpSocket::from_std(socket)?, state });
    let incoming = Incoming {
        shared: Arc::clone(&shared),
        buffer: vec![0; RECEIVE_BUFFER * BATCH_SIZE].into(),
        arrivals: ArrivalClock::default(),
        unanswerable: 0,
    };
    let outgoing = Outgoing {
        shared,
        mapped,
        batch: Vec::with_capacity(BATCH_MAX),
        run: Vec::new(),
        counts: Sent::default(),
    };
    Ok((incoming, outgoing))
}

struct Shared {
    io: UdpSocket,
    state: UdpSocketState,
}

/// The receiving half.
pub(super) struct Incoming {
    shared: Arc<Shared>,
    buffer: Box<[u8]>,
    arrivals: ArrivalClock,
    /// Datagrams that claim to come from port 0, to which nothing can be sent.
    pub(super) unanswerable: u64,
}

/// A datagram as it arrived.
pub(super) struct Arrival<'a> {
    /// When the kernel had it.
    pub(super) at: Instant,
    /// The address it was sent to.
    pub(super) local: Option<IpAddr>,
    /// Where it came from.
    pub(super) remote: SocketAddr,
    /// Its bytes.
    pub(super) bytes: &'a mut [u8],
}

impl Incoming {
    /// Waits until something may have arrived.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.shared.io.readable().await
    }

    /// Takes one batch and gives each datagram to `handle`. False if there was nothing.
    pub(super) fn receive(&mut self, clock: &Clock, mut handle: impl FnMut(Arrival<'_>)) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut chunks = self.buffer.chunks_exact_mut(RECEIVE_BUFFER);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let Shared { io, state } = &*self.shared;
        let received = io.try_io(Interest::READABLE, || state.recv(io.into(), &mut slices, &mut metas));
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let read = clock.now();
        metas.iter().take(count).for_each(|meta| self.arrivals.note(read, meta.timestamp));
        for (meta, slice) in metas.iter().zip(&mut slices).take(count) {
            let remote = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            let local = meta.dst_ip.map(|ip| ip.to_canonical());
            let at = self.arrivals.place(read, meta.timestamp);
            for bytes in slice[..meta.len].chunks_mut(meta.stride.max(1)) {
                if remote.port() == 0 {
                    // An answer would fail with EINVAL, which quinn-udp takes for a kernel without GSO.
                    self.unanswerable += 1;
                    continue;
                }
                handle(Arrival { at, local, remote, bytes });
            }
        }
        Ok(true)
    }
}

/// What was sent.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sent {
    /// Datagrams the kernel took.
    pub(super) datagrams: u64,
    /// System calls made.
    pub(super) calls: u64,
    /// Datagrams dropped since the kernel's buffer was full.
    pub(super) full: u64,
    /// Datagrams the kernel refused, such as without a route.
    pub(super) failed: u64,
}

/// The sending half.
pub(super) struct Outgoing {
    shared: Arc<Shared>,
    /// Whether the socket is an IPv6 one, to which IPv4 is `::ffff:0:0/96`.
    mapped: bool,
    batch: Vec<Transmit>,
    run: Vec<u8>,
    /// What was sent so far.
    pub(super) counts: Sent,
}

impl Outgoing {
    /// Adds a datagram to the batch.
    pub(super) fn push(&mut self, transmit: Transmit) {
        self.batch.push(transmit);
        if self.batch.len() == BATCH_MAX {
            self.flush();
        }
    }

    /// Sends the batch. Datagrams to one destination stay in order; those of equal size go in one system call.
    pub(super) fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.sort_by_key(|transmit| (transmit.remote, transmit.local));
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_length(rest, self.shared.state.max_gso_segments()));
            self.send_run(run);
            rest = after;
        }
        batch.clear();
        self.batch = batch;
    }

    fn send_run(&mut self, run: &[Transmit]) {
        if let [one] = run {
            return self.send(one, &one.bytes, None, 1);
        }
        let mut joined = std::mem::take(&mut self.run);
        joined.clear();
        for transmit in run {
            joined.extend_from_slice(&transmit.bytes);
        }
        self.send(&run[0], &joined, Some(run[0].bytes.len()), run.len() as u64);
        self.run = joined;
    }

    fn send(&mut self, to: &Transmit, contents: &[u8], segment_size: Option<usize>, datagrams: u64) {
        let Shared { io, state } = &*self.shared;
        let destination = if self.mapped { mapped(to.remote) } else { to.remote };
        let transmit =
            quinn_udp::Transmit { destination, ecn: None, contents, segment_size, src_ip: to.local };
        self.counts.calls += 1;
        match state.try_send(io.into(), &transmit) {
            Ok(()) => self.counts.datagrams += datagrams,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.counts.full += datagrams,
            Err(_) if segment_size.is_some() => {
                // The path has no segmentation offload; quinn-udp has noticed and offers none from now on.
                for bytes in contents.chunks(segment_size.unwrap_or(contents.len())) {
                    self.send(to, bytes, None, 1);
                }
            }
            Err(error) => {
                self.counts.failed += datagrams;
                tracing::debug!("cannot send to {}: {error}", to.remote);
            }
        }
    }
}

/// How many of the first datagrams one system call can take: same way, equal sizes, only the last one shorter.
fn run_length(batch: &[Transmit], segments_max: usize) -> usize {
    let Some(first) = batch.first() else { return 0 };
    let size = first.bytes.len();
    let count_max = segments_max.min(RUN_MAX / size.max(1)).max(1);
    let mut count = 1;
    for next in batch.iter().take(count_max).skip(1) {
        let same_way = (next.remote, next.local) == (first.remote, first.local);
        if !same_way || next.bytes.len() > size || next.bytes.is_empty() {
            break;
        }
        count += 1;
        if next.bytes.len() < size {
            break;
        }
    }
    count
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(remote: &str, size: usize) -> Transmit {
        let bytes = vec![size as u8; size].as_slice().into();
        Transmit { local: None, remote: remote.parse().unwrap(), bytes }
    }

    #[test]
    fn runs_are_of_equal_sizes_and_one_destination() {
        let (a, b) = ("192.0.2.1:1", "192.0.2.2:1");
        for (name, batch, segments, expected) in [
            ("nothing", &[][..], 64, 0),
            ("one", &[(a, 100)], 64, 1),
            ("equal", &[(a, 100), (a, 100), (a, 100)], 64, 3),
            ("the last is shorter", &[(a, 100), (a, 60), (a, 60)], 64, 2),
            ("the next is longer", &[(a, 60), (a, 100)], 64, 1),
            ("another destination", &[(a, 100), (b, 100)], 64, 1),
            ("more than the kernel joins", &[(a, 100), (a, 100), (a, 100)], 2, 2),
            ("no offload", &[(a, 100), (a, 100)], 1, 1),
            ("more than a datagram's limit", &[(a, 30_000), (a, 30_000), (a, 30_000)], 64, 2),
            ("an empty one ends nothing", &[(a, 100), (a, 0)], 64, 1),
        ] {
            let batch: Vec<_> = batch.iter().map(|&(remote, size)| to(remote, size)).collect();
            assert_eq!(run_length(&batch, segments), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn a_batch_keeps_the_times_of_its_arrivals() {
        let server = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = server.local_addr().unwrap();
        let (mut incoming, _) = split(server).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let clock = Clock::start();
        let gap = std::time::Duration::from_millis(20);
        for size in [100, 200, 300] {
            tokio::time::sleep(gap).await;
            peer.send_to(&vec![7; size], target).await.unwrap();
        }
        let mut arrived = Vec::new();
        incoming.readable().await.unwrap();
        incoming.receive(&clock, |arrival| arrived.push(arrival.at)).unwrap();
        let read = clock.now();
        assert_eq!(arrived.len(), 3, "one batch");
        for (earlier, later) in [(arrived[0], arrived[1]), (arrived[1], arrived[2])] {
            assert!(later.since(earlier) >= gap / 2 && later <= read, "{arrived:?}, read at {read:?}");
        }
    }

    #[tokio::test]
    async fn datagrams_arrive_whole_in_order_and_unmapped() {
        let Ok(server) = bind("[::]:0".parse().unwrap()) else { return }; // a host without IPv6
        let port = server.local_addr().unwrap().port();
        let (mut incoming, mut outgoing) = split(server).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target: SocketAddr = ([127, 0, 0, 1], port).into();
        for size in [300, 300, 200, 300] {
            peer.send_to(&vec![7; size], target).await.unwrap();
        }
        let clock = Clock::start();
        let mut arrived = Vec::new();
        while arrived.len() < 4 {
            incoming.readable().await.unwrap();
            let sink =
                |arrival: Arrival<'_>| arrived.push((arrival.local, arrival.remote, arrival.bytes.len()));
            incoming.receive(&clock, sink).unwrap();
        }
        let peer_address = peer.local_addr().unwrap();
        let expected = |size| (Some(IpAddr::from([127, 0, 0, 1])), peer_address, size);
        assert_eq!(arrived, [300, 300, 200, 300].map(expected));

        let sizes = [500, 500, 500, 100, 500, 700];
        for size in sizes {
            let bytes = vec![1; size].as_slice().into();
            outgoing.push(Transmit { local: arrived[0].0, remote: peer_address, bytes });
        }
        outgoing.flush();
        let mut buffer = [0; 2000];
        for size in sizes {
            let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
            assert_eq!((length, from), (size, target));
        }
        assert_eq!((outgoing.counts.datagrams, outgoing.counts.full, outgoing.counts.failed), (6, 0, 0));
        assert!(outgoing.counts.calls <= 6, "runs save calls: {}", outgoing.counts.calls);
    }
}
