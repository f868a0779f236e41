//! UDP sockets of clients: large buffers, GRO, the kernel's time stamps.
//!
//! In: nothing but what the network brings. Out: datagrams with the time at which the kernel had them. Limit: `BATCH` buffers a
//! call.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// What is asked of the kernel for each direction, in bytes; it may grant less.
const KERNEL_BUFFER: usize = 8 * 1024 * 1024;

/// Buffers a call: a client seldom has more waiting.
const BATCH: usize = 8;

/// The most that GRO joins, in bytes.
const JOINED_MAX: usize = 64 * 1024;

/// A client's socket.
pub(super) struct Endpoint {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// Where datagrams are received, for all sockets in turn.
pub(super) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    pub(super) fn new() -> Self {
        Self(vec![vec![0; JOINED_MAX]; BATCH])
    }
}

impl Endpoint {
    /// A socket on a port of the system's choice.
    pub(super) fn new(local: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER); // less than asked shows as losses, if at all
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((local, 0)).into())?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket, state })
    }

    /// The other end is known.
    pub(super) fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.socket.connect(remote)
    }

    /// Its own address.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a datagram to the other end, if it takes any.
    pub(super) fn send(&self, bytes: &[u8]) {
        let _ = self.socket.send(bytes); // what is lost here is lost on the way
    }

    /// The kernel keeps next to nothing for it from now on, and drops the rest.
    pub(super) fn shrink(&self) {
        let _ = SockRef::from(&self.socket).set_recv_buffer_size(1);
    }

    /// Hands over what waits, with the time of day at which the kernel had it; tells how many datagrams that was.
    pub(super) fn receive(
        &self,
        buffers: &mut Buffers,
        mut take: impl FnMut(Option<Duration>, &mut [u8]),
    ) -> u64 {
        let mut count = 0;
        loop {
            let mut metas = [RecvMeta::default(); BATCH];
            let mut slices: Vec<IoSliceMut<'_>> =
                buffers.0.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            // An error is another end that does not listen (yet), or nothing that waits.
            let got = self.state.recv((&self.socket).into(), &mut slices, &mut metas).unwrap_or(0);
            for (buffer, meta) in buffers.0.iter_mut().zip(&metas).take(got) {
                for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                    take(meta.timestamp, datagram);
                    count += 1;
                }
            }
            if got < BATCH {
                return count;
            }
        }
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
