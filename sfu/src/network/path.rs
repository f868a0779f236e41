//! A path: the two ends of one way that datagrams take, and the protocol that carries them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What carries datagrams between a client and this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Each by itself.
    Udp,
    /// One behind the other in a connection that the client opened, framed as RFC 4571 says: where UDP does not get through.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// One way between a client and this worker. By TCP it is a connection: its addresses are no other's while it is open.
///
/// The local port is not part of it, since a worker has one UDP socket and the server one TCP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// What carries the datagrams; replies go the way they came.
    pub protocol: Protocol,
    /// The local address that the peer sends to, where the shell knows it; replies leave from there.
    pub local: Option<IpAddr>,
    /// The peer's address as seen here, after any NAT.
    pub remote: SocketAddr,
}

impl Path {
    /// The way of UDP datagrams between these addresses.
    pub fn udp(local: Option<IpAddr>, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Udp, local, remote }
    }

    /// A TCP connection between these addresses.
    pub fn tcp(local: Option<IpAddr>, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Tcp, local, remote }
    }
}
