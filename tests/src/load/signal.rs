//! How a client comes to an agreement with its server.
//!
//! In: what the WebSocket brings. Out: the server's session description, messages. Time: `poll_timeout`.

use std::net::SocketAddr;

use anyhow::Result;
use proto::time::Instant;

use super::janus::Janus;
use super::lianmai::Lianmai;

/// See the module's description.
pub(super) enum Signal {
    /// Our signaling.
    Lianmai(Box<Lianmai>),
    /// That of Janus, which is over as soon as it began.
    Janus(Box<Janus>),
}

impl Signal {
    /// Reads what came; the server's description if it is among that.
    pub(super) fn handle_readable(&mut self, now: Instant) -> Result<Option<String>> {
        match self {
            Self::Lianmai(lianmai) => lianmai.handle_readable(now),
            Self::Janus(janus) => janus.handle_readable().map(|()| None),
        }
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        match self {
            Self::Lianmai(lianmai) => lianmai.handle_timeout(now),
            Self::Janus(_) => Ok(()),
        }
    }

    /// When to call [`Signal::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Lianmai(lianmai) => lianmai.poll_timeout(),
            Self::Janus(_) => None,
        }
    }

    /// The socket, to wait for.
    pub(super) fn socket(&self) -> &std::net::TcpStream {
        match self {
            Self::Lianmai(lianmai) => lianmai.socket(),
            Self::Janus(janus) => janus.socket(),
        }
    }
}

/// The first IPv4 address for UDP among the candidates of a description.
pub(super) fn candidate(sdp: &str) -> Option<SocketAddr> {
    let candidates = sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    candidates
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let (transport, address, port) = (fields.get(2)?, fields.get(4)?, fields.get(5)?);
            let address = format!("{address}:{port}").parse().ok()?;
            transport.eq_ignore_ascii_case("udp").then_some(address)
        })
        .find(SocketAddr::is_ipv4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_the_right_kind_is_taken() {
        for (claim, sdp, expected) in [
            ("one", "a=candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host\r\n", Some("127.0.0.1:7882")),
            (
                "TCP and IPv6 come before",
                "a=candidate:1 1 TCP 1 10.0.0.1 9 typ host\r\na=candidate:2 1 udp 1 ::1 9 typ host\r\n\
                 a=candidate:3 1 UDP 1 10.0.0.1 5 typ host\r\n",
                Some("10.0.0.1:5"),
            ),
            ("none", "a=mid:0\r\n", None),
            ("half of one", "a=candidate:1 1 udp\r\n", None),
        ] {
            assert_eq!(candidate(sdp), expected.map(|text| text.parse().expect("an address")), "{claim}");
        }
    }
}
