//! `sendmmsg` with segmentation offload: many runs of datagrams in one system call (Linux).
//!
//! In: runs. Out: how many of the first ones the kernel took. Time: none. Limit: [`BATCH_MAX`] runs a call. The only unsafe
//! code of the server: the structures that the kernel reads hold pointers, which are made and used within one call of
//! [`Sender::send`], while what they point to is borrowed.

#![expect(
    unsafe_code,
    reason = "no safe library sends runs of datagrams to several destinations in one call"
)]

use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use libc::{c_int, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, msghdr};
use sfu::worker::Run;
use socket2::SockAddr;

use super::{Shared, mapped};

/// Runs in one system call: beyond some dozens a call's own cost is not seen any more.
pub(super) const BATCH_MAX: usize = 64;

/// Room for the ancillary data of a message: a segment size and a source address of either family.
const CONTROL_LEN: usize = 88;

#[derive(Clone, Copy)]
#[repr(C, align(8))] // as cmsghdr wants it
struct Control([u8; CONTROL_LEN]);

/// See the module's description. What a call fills in anew is kept for its size.
pub(super) struct Sender {
    mapped: bool,
    addresses: Vec<SockAddr>,
    controls: Box<[Control; BATCH_MAX]>,
}

impl Sender {
    /// A sender for a socket that names IPv4 addresses by `::ffff:0:0/96`, if `mapped`.
    pub(super) fn new(mapped: bool) -> Self {
        let controls = Box::new([Control([0; CONTROL_LEN]); BATCH_MAX]);
        Self { mapped, addresses: Vec::with_capacity(BATCH_MAX), controls }
    }

    /// Sends the first of `runs`, [`BATCH_MAX`] at most, without waiting; tells how many. The error is the first one's.
    pub(super) fn send(&mut self, shared: &Shared, runs: &[Run<'_>]) -> io::Result<usize> {
        let runs = &runs[..runs.len().min(BATCH_MAX)];
        let is_mapped = self.mapped;
        self.addresses.clear();
        self.addresses.extend(runs.iter().map(|run| {
            let remote = run.path.remote;
            SockAddr::from(if is_mapped { mapped(remote) } else { remote })
        }));
        // SAFETY: all-zero is a valid value of these plain C structures.
        let (mut vectors, mut headers): ([iovec; BATCH_MAX], [mmsghdr; BATCH_MAX]) = unsafe { mem::zeroed() };
        for (index, run) in runs.iter().enumerate() {
            let (base, length) = (run.bytes.as_ptr().cast_mut(), run.bytes.len());
            vectors[index] = iovec { iov_base: base.cast(), iov_len: length };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = self.addresses[index].as_ptr().cast_mut().cast();
            header.msg_namelen = self.addresses[index].len();
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            write_control(header, &mut self.controls[index], run);
        }
        let (socket, count) = (shared.io.as_raw_fd(), runs.len() as u32);
        // SAFETY: the first `count` headers point to addresses, vectors and control data that live until the call returns,
        // and the vectors to bytes that `runs` borrows; the kernel only reads what they point to.
        let sent = unsafe { libc::sendmmsg(socket, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// Fills in the ancillary data of a message.
fn write_control(header: &mut msghdr, control: &mut Control, run: &Run<'_>) {
    let mut used = 0;
    if run.bytes.len() > run.segment {
        used += put(control, used, (libc::SOL_UDP, libc::UDP_SEGMENT), run.segment as u16);
    }
    match run.path.local {
        Some(IpAddr::V4(from)) => {
            let address = |ip: std::net::Ipv4Addr| libc::in_addr { s_addr: u32::from(ip).to_be() };
            let (ipi_spec_dst, ipi_addr) = (address(from), address(std::net::Ipv4Addr::UNSPECIFIED));
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr };
            used += put(control, used, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
        }
        Some(IpAddr::V6(from)) => {
            let info = in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
            used += put(control, used, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
        }
        None => {}
    }
    if used > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = used as _;
    }
}

/// Puts one piece of ancillary data at `at`, and tells how much room it takes.
fn put<T: Copy>(control: &mut Control, at: usize, (level, kind): (c_int, c_int), value: T) -> usize {
    // SAFETY: these compute sizes and touch no memory.
    let (space, length) =
        unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
    let room = &mut control.0[at..at + space as usize];
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut head: cmsghdr = unsafe { mem::zeroed() };
    (head.cmsg_len, head.cmsg_level, head.cmsg_type) = (length as _, level, kind);
    // SAFETY: `room` has `CMSG_SPACE` bytes, which is a header, padding up to the data, and the data; unaligned writes ask for
    // no alignment.
    unsafe {
        room.as_mut_ptr().cast::<cmsghdr>().write_unaligned(head);
        let data = room.as_mut_ptr().add(length as usize - size_of::<T>());
        data.cast::<T>().write_unaligned(value);
    }
    space as usize
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use sfu::network::path::Path;

    use super::super::{bind, share};
    use super::*;

    fn shared(address: &str) -> (Shared, bool) {
        let address: SocketAddr = address.parse().unwrap();
        (share(bind(address).unwrap()).unwrap(), address.is_ipv6())
    }

    #[tokio::test]
    async fn runs_arrive_as_datagrams_from_the_address_that_was_asked_for() {
        let long: Vec<u8> = (0..250).collect();
        let runs: [(&[u8], usize); 3] = [(&long, 100), (b"alone", 5), (&long[..20], 20)];
        let expected: [&[u8]; 5] = [&long[..100], &long[100..200], &long[200..], b"alone", &long[..20]];
        for (name, receiver, sender, from, seen) in [
            ("from anywhere", "127.0.0.1:0", "0.0.0.0:0", None, "127.0.0.1"),
            ("from another address", "127.0.0.1:0", "0.0.0.0:0", Some("127.0.0.2"), "127.0.0.2"),
            ("by IPv6", "[::1]:0", "[::]:0", Some("::1"), "::1"),
            ("IPv4 by a socket of both", "127.0.0.1:0", "[::]:0", Some("127.0.0.2"), "127.0.0.2"),
        ] {
            let Ok(receiver) = UdpSocket::bind(receiver) else { continue }; // a host without IPv6
            receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            let (shared, mapped) = shared(sender);
            let local = from.map(|from| from.parse().unwrap());
            let path = Path::udp(local, receiver.local_addr().unwrap());
            let runs = runs.map(|(bytes, segment)| Run { path, bytes, segment });
            assert_eq!(Sender::new(mapped).send(&shared, &runs).unwrap(), runs.len(), "{name}");
            let mut buffer = [0; 2_000];
            for expected in expected {
                let (length, from) = receiver.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..length], from.ip()), (expected, seen.parse().unwrap()), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_of_the_first_run_and_stops_before_a_later_one() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let good = receiver.local_addr().unwrap();
        let bad = "255.255.255.255:9".parse().unwrap(); // not without SO_BROADCAST
        let (shared, mapped) = shared("127.0.0.1:0");
        let run = |remote: &SocketAddr| Run { path: Path::udp(None, *remote), bytes: b"x", segment: 1 };
        for (to, expected) in [
            ([good, bad, good], Ok(1)),
            ([bad, good, good], Err(Some(libc::EACCES))),
            ([good, good, good], Ok(3)),
        ] {
            let sent = Sender::new(mapped).send(&shared, &to.each_ref().map(run));
            assert_eq!(sent.map_err(|error| error.raw_os_error()), expected, "{to:?}");
        }
    }
}
