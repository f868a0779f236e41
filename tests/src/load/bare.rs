//! What forwarding cannot cost less than: copies of a packet sealed with a key each, and sent. Nothing else.
//!
//! In: destinations, sizes. Out: datagrams, the thread's own processor time. Time: as many bursts a second as it is told, the first
//! few of which find cold caches and do not count. The socket is like the server's: both families, large buffers. Runs of one are
//! sent by `sendmmsg`, longer ones by GSO.

use std::io::{self, IoSlice};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use proto::time::Instant;
use quinn_udp::{Transmit, UdpSocketState};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use sfu::network::cipher::SrtpProfile;
use socket2::{Domain, Protocol, Socket, Type};

use super::clock::{Clock, thread_time};
use super::meter;
use super::plan::Leaves;

/// An RTP header with the extensions that we send, in bytes: authenticated, not encrypted.
pub const HEADER: usize = 12 + 4 + 8;

/// An authentication tag, in bytes.
pub const TAG: usize = 16;

/// What is asked of the kernel, in bytes.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;

/// The cipher's name as an SRTP profile: what servers are compared with it agree on the same.
pub const PROFILE: SrtpProfile = SrtpProfile::AeadAes256Gcm;

/// Bursts that only warm up.
const WARM_UP: usize = 20;

/// Keys, and a packet to seal with each.
pub struct Sealer {
    keys: Vec<LessSafeKey>,
    header: [u8; HEADER],
    payload: Vec<u8>,
    number: u64,
}

impl Sealer {
    /// `keys` keys; each sealed packet has `size` bytes.
    pub fn new(keys: usize, size: usize) -> Self {
        let key = |number: usize| {
            let bytes: [u8; 32] = core::array::from_fn(|at| (number * 7 + at) as u8);
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes are a key"))
        };
        let payload = vec![0x55; size.saturating_sub(HEADER + TAG)];
        Self { keys: (0..keys).map(key).collect(), header: [0x90; HEADER], payload, number: 0 }
    }

    /// The bytes of a sealed packet.
    pub fn size(&self) -> usize {
        HEADER + self.payload.len() + TAG
    }

    /// Seals the next packet for destination `key` into `out`, which has [`Sealer::size`] bytes.
    pub fn seal(&mut self, key: usize, out: &mut [u8]) {
        self.number += 1;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        self.header[4..12].copy_from_slice(&self.number.to_be_bytes());
        let (header, rest) = out.split_at_mut(HEADER);
        header.copy_from_slice(&self.header);
        let (sealed, tag) = rest.split_at_mut(self.payload.len());
        sealed.copy_from_slice(&self.payload);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let result = self.keys[key].seal_in_place_scatter(nonce, Aad::from(&self.header), sealed, &[], tag);
        result.expect("the buffers have the sizes that sealing needs");
    }
}

/// What a bare loop shall do.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// Where to.
    pub(super) destinations: Vec<SocketAddr>,
    /// Datagrams in a row to each of them.
    pub(super) run: usize,
    /// How these leave.
    pub(super) leaves: Leaves,
    /// Bytes of a datagram.
    pub(super) size: usize,
    /// Datagrams a second, to all together.
    pub(super) rate: f64,
    /// Until when.
    pub(super) until: Instant,
    /// On which core.
    pub(super) core: usize,
}

/// What it did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// Datagrams that the kernel took.
    pub(super) sent: u64,
    /// Those of them that count.
    pub(super) measured: u64,
    /// How long sending those took by the clock on the wall, in seconds.
    pub(super) seconds: f64,
    /// Processor time of these.
    pub(super) took: Duration,
}

/// Sends until the time is over. Called in a thread of its own.
pub(super) fn run(clock: Clock, orders: &Orders) -> io::Result<Done> {
    meter::pin(orders.core).map_err(io::Error::other)?;
    let socket = socket()?;
    let state = UdpSocketState::new((&socket).into())?;
    let mut sealer = Sealer::new(orders.destinations.len(), orders.size);
    let size = sealer.size();
    let mut slab = vec![0; size * orders.run * orders.destinations.len()];
    let addresses: Vec<SocketAddr> = orders.destinations.iter().copied().map(mapped).collect();
    let names: Vec<SocketAddrAny> = addresses.iter().map(|address| SocketAddrAny::from(*address)).collect();
    let burst = orders.run * orders.destinations.len();
    let interval = Duration::from_secs_f64(burst as f64 / orders.rate.max(1.0));
    let (mut due, mut sent, mut warm) = (clock.now(), 0, 0);
    let (mut began, mut before) = (clock.now(), thread_time());
    for burst in 0.. {
        if due >= orders.until {
            break;
        }
        clock.sleep_until(due);
        if burst == WARM_UP {
            (began, before, warm) = (clock.now(), thread_time(), sent);
        }
        due += interval;
        for (place, datagram) in slab.chunks_exact_mut(size).enumerate() {
            sealer.seal(place / orders.run, datagram);
        }
        let rounds = slab.chunks_exact(size);
        sent += match orders.leaves {
            Leaves::InRuns if orders.run > 1 => send_runs(&socket, &state, &addresses, &slab, size),
            Leaves::InRuns | Leaves::Singly => (0..orders.run)
                .map(|round| send_singly(&socket, &names, rounds.clone().skip(round).step_by(orders.run)))
                .sum(),
        };
    }
    let took = thread_time().saturating_sub(before);
    Ok(Done { sent, measured: sent - warm, seconds: clock.now().since(began).as_secs_f64(), took })
}

/// One datagram to each, in one call.
fn send_singly<'a>(
    socket: &UdpSocket,
    addresses: &[SocketAddrAny],
    datagrams: impl Iterator<Item = &'a [u8]>,
) -> u64 {
    let slices: Vec<[IoSlice<'_>; 1]> = datagrams.map(|one| [IoSlice::new(one)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        addresses.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let headers = addresses.iter().zip(&slices).zip(&mut controls);
    let mut headers: Vec<MMsgHdr<'_>> =
        headers.map(|((address, slice), control)| MMsgHdr::new_with_addr(address, slice, control)).collect();
    sendmmsg(socket, &mut headers, SendFlags::empty()).unwrap_or(0) as u64
}

/// A run to each, in one call each.
fn send_runs(
    socket: &UdpSocket,
    state: &UdpSocketState,
    addresses: &[SocketAddr],
    slab: &[u8],
    size: usize,
) -> u64 {
    let mut sent = 0;
    for (address, run) in addresses.iter().zip(slab.chunks_exact(slab.len() / addresses.len().max(1))) {
        let transmit = Transmit {
            destination: *address,
            ecn: None,
            contents: run,
            segment_size: Some(size),
            src_ip: None,
        };
        if state.try_send(socket.into(), &transmit).is_ok() {
            sent += (run.len() / size) as u64;
        }
    }
    sent
}

/// A socket as the server's.
fn socket() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    Ok(socket.into())
}

/// An IPv4 address as a socket of both families names it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        SocketAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_sent_as_was_ordered_and_it_arrives() {
        for (run_length, destinations, leaves) in
            [(1, 3, Leaves::InRuns), (4, 2, Leaves::InRuns), (4, 2, Leaves::Singly)]
        {
            let peers: Vec<UdpSocket> =
                (0..destinations).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port")).collect();
            let addresses = peers.iter().map(|peer| peer.local_addr().expect("bound")).collect();
            let clock = Clock::start();
            let until = clock.now() + Duration::from_millis(200);
            let (size, rate) = (700, 600.0);
            let orders =
                Orders { destinations: addresses, run: run_length, leaves, size, rate, until, core: 0 };
            let done = run(clock, &orders).expect("loopback takes it");
            assert!((90..=140).contains(&done.sent), "{} datagrams, not 120", done.sent);
            assert!(done.took > Duration::ZERO && done.took < Duration::from_millis(100), "{:?}", done.took);
            let mut buffer = [0; 2_000];
            let received = peers.iter().map(|peer| {
                peer.set_read_timeout(Some(Duration::from_millis(50))).expect("supported");
                let lengths = std::iter::from_fn(|| peer.recv(&mut buffer).ok());
                lengths.inspect(|length| assert_eq!(*length, size)).count() as u64
            });
            assert_eq!(received.sum::<u64>(), done.sent, "runs of {run_length}, {leaves:?}");
        }
    }
}
