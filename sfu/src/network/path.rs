//! A path: the two ends of one way that datagrams take.

use std::net::{IpAddr, SocketAddr};

/// One way between a client and this worker's socket.
///
/// The socket's port is not part of it, since a worker has one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The local address that the peer sends to, where the shell knows it; replies leave from there.
    pub local: Option<IpAddr>,
    /// The peer's address as seen here, after any NAT.
    pub remote: SocketAddr,
}
