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
    /// Media by TCP, one for all workers, if it is wanted.
    pub(crate) media_tcp: Option<TcpListener>,
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
        let tcp = config.rtc.use_tcp.then_some(SocketAddr::new(bound, config.rtc.tcp_port));
        let media_tcp = tcp.map(|address| listen(address, "tcp-port", "rtc.tcp_port")).transpose()?;
        Ok(Self { bound, listener, metrics, media, media_tcp })
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

    /// A configuration of free ports but for these.
    fn config(ports: &[(&str, u16)]) -> Config {
        let free = ["PORT", "METRICS__PORT", "RTC__TCP_PORT"].map(|name| (name, "0".to_owned()));
        let free = [("BIND", "127.0.0.1".to_owned())].into_iter().chain(free);
        let named = ports.iter().map(|(name, port)| (*name, port.to_string()));
        let variables = free.chain(named);
        let environment = variables.map(|(name, value)| (format!("LIANMAI_{name}"), value)).collect();
        Config::load(Sources { environment, cores: 1, ..Sources::default() }).unwrap()
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_way_to_another() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let config = config(&[("RTC__UDP_PORT", port)]);
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

    #[tokio::test]
    async fn media_by_tcp_has_a_port_unless_it_is_not_wanted() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut config = config(&[("RTC__UDP_PORT", 0), ("RTC__TCP_PORT", port)]);
        let Err(error) = Ports::open(&config) else { panic!("the port is taken") };
        assert!(error.to_string().contains("--tcp-port or rtc.tcp_port"), "{error}");
        config.rtc.tcp_port = 0;
        assert!(Ports::open(&config).unwrap().media_tcp.is_some());
        config.rtc.use_tcp = false;
        assert!(Ports::open(&config).unwrap().media_tcp.is_none());
    }

    #[test]
    fn each_worker_has_its_port() {
        assert_eq!([media_port(7882, 0), media_port(7882, 3), media_port(0, 3)], [7882, 7885, 0]);
    }
}
