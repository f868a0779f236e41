//! A worker's UDP socket: receives in batches (recvmmsg, GRO), sends in runs (GSO), many of them at a time (sendmmsg).
//!
//! In: runs of datagrams to send. Out: datagrams received, with IPv4 addresses never mapped into IPv6. Limit: nothing waits
//! here; what the kernel does not take at once is dropped and counted, as any router on the way would do.
//!
//! There are no connected sockets, one for each subscriber: a call of theirs costs 17 % less, but each takes a file and a route,
//! and no `sendmmsg` goes to several of them.

#[cfg(target_os = "linux")]
mod mmsg;
#[cfg(not(target_os = "linux"))]
mod one_by_one;
mod outgoing;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proto::time::Instant;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::arrival::ArrivalClock;
use crate::clock::Clock;
pub(super) use outgoing::{Outgoing, Sent};

/// What is asked of the kernel for each direction, in bytes: 13 ms at 2.5 Gbit/s. The kernel may grant less.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;
/// A received buffer, in bytes: the most that GRO joins.
const RECEIVE_BUFFER: usize = 64 * 1024;

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
    let mapped = socket.local_addr()?.is_ipv6();
    let shared = Arc::new(share(socket)?);
    let incoming = Incoming {
        shared: Arc::clone(&shared),
        buffer: vec![0; RECEIVE_BUFFER * BATCH_SIZE].into(),
        arrivals: ArrivalClock::default(),
        unanswerable: 0,
    };
    Ok((incoming, Outgoing::new(shared, mapped)))
}

struct Shared {
    io: UdpSocket,
    state: UdpSocketState,
}

fn share(socket: std::net::UdpSocket) -> io::Result<Shared> {
    let state = UdpSocketState::new((&socket).into())?;
    Ok(Shared { io: UdpSocket::from_std(socket)?, state })
}

/// An address as an IPv6 socket names it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
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

#[cfg(test)]
mod tests {
    use sfu::network::path::Path;
    use sfu::worker::Transmits;

    use super::*;

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
        let mut transmits = Transmits::default();
        for size in sizes {
            transmits.push(Path::udp(arrived[0].0, peer_address), &vec![1; size]);
        }
        outgoing.send(&transmits);
        let mut buffer = [0; 2000];
        for size in sizes {
            let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
            assert_eq!((length, from), (size, target));
        }
        let Sent { datagrams, runs, full, failed, .. } = outgoing.counts;
        assert_eq!((datagrams, runs, full, failed), (6, 3, 0, 0));
    }
}
