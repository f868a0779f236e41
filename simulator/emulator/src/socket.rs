//! A UDP socket that knows when its datagrams arrived, and their ECN bits.
//!
//! In: datagrams. Out: the same, with the kernel's receive timestamps on our clock: a thread that comes late to read
//! does not make them younger. Limit: [`BATCHES_MAX`] batches in one go, so that a flood does not keep what is due
//! from being sent; the kernel's buffers.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use proto::feedback::Ecn;
use proto::time::Instant;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use crate::clock::Clock;

/// What is asked of the kernel for each direction, in bytes: more than a link of 100 Mbit/s brings in 50 ms, counted
/// as the kernel counts (its own structures twice). It may grant less to a process without `CAP_NET_ADMIN`.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;
/// A received buffer, in bytes: the most that GRO joins.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Batches read in one go: 32 datagrams each, so at most some ms of work.
const BATCHES_MAX: usize = 16;

/// See the module's description.
pub struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// Whether it is an IPv6 one, to which IPv4 is `::ffff:0:0/96`.
    mapped: bool,
}

/// Room for a batch of datagrams, for any number of sockets of one thread.
pub struct Buffer(Box<[u8]>);

/// A datagram as it arrived.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// When the kernel had it.
    pub at: Instant,
    /// Where it came from.
    pub from: SocketAddr,
    /// Its ECN bits.
    pub ecn: Ecn,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Socket {
    /// A socket at `address`, which never blocks.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // Less than asked is no failure: the socket works, and loses sooner in a burst.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        }
        if rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, KERNEL_BUFFER).is_err() {
            let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        }
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let io = UdpSocket::from(socket);
        let state = UdpSocketState::new((&io).into())?;
        Ok(Self { io, state, mapped: address.is_ipv6() })
    }

    /// A socket at any port that hears `peer` only.
    pub fn connect(peer: SocketAddr) -> io::Result<Self> {
        let any = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = Self::bind(any)?;
        socket.io.connect(peer)?;
        Ok(socket)
    }

    /// Where it is.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Gives to `handle` what has arrived, in the order of arrival.
    ///
    /// Failures to receive say something of earlier datagrams (nobody listens at the peer's port), not of the socket,
    /// so they are passed over.
    pub fn receive(&self, clock: &Clock, buffer: &mut Buffer, mut handle: impl FnMut(Arrival<'_>)) {
        for _ in 0..BATCHES_MAX {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = buffer.0.chunks_exact_mut(RECEIVE_BUFFER);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let count = match self.state.recv((&self.io).into(), &mut slices, &mut metas) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let reading = clock.read();
            for (meta, slice) in metas.iter().zip(&slices).take(count) {
                let at = meta.timestamp.map_or(reading.at, |stamp| reading.place(stamp));
                let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
                let ecn = ecn(meta.ecn);
                if meta.len == 0 {
                    handle(Arrival { at, from, ecn, bytes: &[] });
                }
                for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                    handle(Arrival { at, from, ecn, bytes });
                }
            }
        }
    }

    /// Sends a datagram.
    pub fn send(&self, to: SocketAddr, ecn: Ecn, bytes: &[u8]) -> io::Result<()> {
        let destination = match to.ip() {
            IpAddr::V4(ip) if self.mapped => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => to,
        };
        let ecn = codepoint(ecn);
        let transmit = Transmit { destination, ecn, contents: bytes, segment_size: None, src_ip: None };
        self.state.try_send((&self.io).into(), &transmit)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; RECEIVE_BUFFER * BATCH_SIZE].into())
    }
}

fn ecn(codepoint: Option<EcnCodepoint>) -> Ecn {
    match codepoint {
        None => Ecn::NotCapable,
        Some(EcnCodepoint::Ect0) => Ecn::Capable0,
        Some(EcnCodepoint::Ect1) => Ecn::Capable1,
        Some(EcnCodepoint::Ce) => Ecn::Congested,
    }
}

fn codepoint(ecn: Ecn) -> Option<EcnCodepoint> {
    match ecn {
        Ecn::NotCapable => None,
        Ecn::Capable0 => Some(EcnCodepoint::Ect0),
        Ecn::Capable1 => Some(EcnCodepoint::Ect1),
        Ecn::Congested => Some(EcnCodepoint::Ce),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn drain(socket: &Socket, clock: &Clock) -> Vec<(Instant, Ecn, usize)> {
        let mut arrived = Vec::new();
        socket.receive(clock, &mut Buffer::default(), |arrival| {
            arrived.push((arrival.at, arrival.ecn, arrival.bytes.len()));
        });
        arrived
    }

    #[test]
    fn datagrams_keep_their_times_and_their_ecn_bits() {
        let clock = Clock::start();
        let receiver = Socket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = receiver.address().unwrap();
        let sender = Socket::connect(address).unwrap();
        let mut waiter = crate::wait::Waiter::new(clock).unwrap();
        let mut pause =
            || waiter.wait(Some(clock.now() + Duration::from_millis(2)), &mut Vec::new()).unwrap();
        let slack = Duration::from_micros(200); // of two readings of two clocks
        // The kernel switches its timestamps on in its own time, when the first socket asks for them.
        let stamped = (0..1_000).any(|_| {
            sender.send(address, Ecn::NotCapable, b"!").unwrap();
            let sent = clock.now();
            pause();
            drain(&receiver, &clock).iter().all(|(at, ..)| *at <= sent + slack)
        });
        assert!(stamped, "the kernel gives timestamps");
        let mut expected = Vec::new();
        for (ecn, size) in
            [(Ecn::NotCapable, 0), (Ecn::Capable0, 1_200), (Ecn::Capable1, 900), (Ecn::Congested, 1)]
        {
            let before = clock.now();
            sender.send(address, ecn, &vec![1; size]).unwrap();
            expected.push((before, clock.now(), ecn, size));
            pause();
        }
        let arrived = drain(&receiver, &clock);
        assert_eq!(arrived.len(), expected.len());
        for ((at, ecn, size), (before, after, ecn_sent, size_sent)) in arrived.into_iter().zip(expected) {
            assert_eq!((ecn, size), (ecn_sent, size_sent));
            assert!(at + slack >= before && at <= after + slack, "{before:?} {at:?} {after:?}");
        }
        assert!(drain(&receiver, &clock).is_empty());
    }

    #[test]
    fn a_peer_that_is_not_there_is_no_failure() {
        let clock = Clock::start();
        let nobody = Socket::bind(([127, 0, 0, 1], 0).into()).unwrap().address().unwrap();
        let socket = Socket::connect(nobody).unwrap();
        for _ in 0..3 {
            let _ = socket.send(nobody, Ecn::NotCapable, b"?"); // the second hears of the first's fate
        }
        assert!(drain(&socket, &clock).is_empty());
    }
}
