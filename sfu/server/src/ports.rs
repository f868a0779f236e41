//! The ports that the server listens on.
//!
//! In: the configuration. Out: bound sockets, or which port is taken and how to choose another.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::TcpListener;

use crate::config::Config;
use crate::{http, media};

/// Every socket, bound.
pub(crate) struct Ports {
    /// The address they are bound to.
    pub(crate) bound: IpAddr,
    /// HTTP.
    pub(crate) listener: TcpListener,
    /// Metrics.
    pub(crate) metrics: TcpListener,
    /// Media, one for each worker.
    pub(crate) media: Vec<UdpSocket>,
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {kind} {address}: {error}; choose another port with --{flag} or {key}")]
pub(crate) struct PortError {
    kind: &'static str,
    address: SocketAddr,
    error: io::Error,
    flag: &'static str,
    key: &'static str,
}

impl Ports {
    /// Binds all of them.
    pub(crate) fn open(config: &Config) -> Result<Self, PortError> {
        let bound = usable(config.bind);
        let listener = listen(SocketAddr::new(bound, config.port), "port", "port")?;
        let metrics = SocketAddr::new(usable(config.metrics.bind), config.metrics.port);
        let metrics = listen(metrics, "metrics-port", "metrics.port")?;
        let media = (0..config.rtc.workers)
            .map(|index| bind_media(SocketAddr::new(bound, media_port(config.rtc.udp_port, index))))
            .collect::<Result<_, _>>()?;
        Ok(Self { bound, listener, metrics, media })
    }
}

fn listen(address: SocketAddr, flag: &'static str, key: &'static str) -> Result<TcpListener, PortError> {
    let failed = |error| PortError { kind: "TCP", address, error, flag, key };
    http::accept::listen(address).map_err(failed)
}

fn bind_media(address: SocketAddr) -> Result<UdpSocket, PortError> {
    let failed = |error| PortError { kind: "UDP", address, error, flag: "udp-port", key: "rtc.udp_port" };
    media::bind(address).map_err(failed)
}

/// Worker `index`'s port; 0 lets the system choose for each.
fn media_port(first: u16, index: usize) -> u16 {
    if first == 0 { 0 } else { first + index as u16 } // the configuration is checked not to run over
}

/// `bind`, or `0.0.0.0` in place of `::` on a host without IPv6.
fn usable(bind: IpAddr) -> IpAddr {
    if bind == Ipv6Addr::UNSPECIFIED && media::bind(SocketAddr::new(bind, 0)).is_err() {
        tracing::info!("this host has no IPv6: listening on 0.0.0.0");
        return Ipv4Addr::UNSPECIFIED.into();
    }
    bind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_way_to_another() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let variables = [
            ("BIND", "127.0.0.1".to_owned()),
            ("PORT", "0".to_owned()),
            ("METRICS__PORT", "0".to_owned()),
            ("RTC__UDP_PORT", port.to_string()),
        ];
        let environment = variables.map(|(name, value)| (format!("LIANMAI_{name}"), value)).into();
        let config = Config::load(Sources { environment, cores: 1, ..Sources::default() }).unwrap();
        let Err(error) = Ports::open(&config) else { panic!("the port is taken") };
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on UDP 127.0.0.1:{port}: ")), "{text}");
        assert!(text.contains("--udp-port or rtc.udp_port"), "{text}");
        drop(taken);
        assert_eq!(
            Ports::open(&config).map(|ports| ports.media.len()).map_err(|error| error.to_string()),
            Ok(1)
        );
    }

    #[test]
    fn each_worker_has_its_port() {
        assert_eq!([media_port(7882, 0), media_port(7882, 3), media_port(0, 3)], [7882, 7885, 0]);
    }
}
