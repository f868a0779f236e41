//! What the server says when it starts, so that nobody needs to look anything up.
//!
//! In: what listens where. Out: lines for people, one line for programs.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use crate::addresses::is_private;
use crate::config::{FILE, Secret};

/// What there is to say.
pub(crate) struct Started<'a> {
    /// The address of HTTP.
    pub(crate) http: SocketAddr,
    /// The TCP address of metrics.
    pub(crate) metrics: SocketAddr,
    /// The workers' UDP ports.
    pub(crate) udp: &'a [u16],
    /// The port for media by TCP, if there is one.
    pub(crate) tcp: Option<u16>,
    /// The addresses announced for media.
    pub(crate) announced: &'a [IpAddr],
    /// Whether a public address was configured.
    pub(crate) external_ip: Option<IpAddr>,
    /// The names of the keys.
    pub(crate) keys: Vec<&'a str>,
    /// The development key, if it was made.
    pub(crate) dev_key: Option<(&'a str, &'a Secret)>,
}

impl Started<'_> {
    /// The lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let port = self.http.port();
        let host = match self.http.ip() {
            ip if ip.is_unspecified() || ip.is_loopback() => "localhost".to_owned(),
            ip => in_address(ip),
        };
        let tcp = self.tcp.map(|port| format!(" and TCP {port}")).unwrap_or_default();
        let mut lines = vec![
            format!("lianmai {}", env!("CARGO_PKG_VERSION")),
            format!("  page       http://{host}:{port}/"),
            format!("  signaling  ws://{host}:{port}/v1/signal?access_token=TOKEN"),
            format!("  metrics    http://{}/metrics", self.metrics),
            format!("  media      UDP {}{tcp}, announced at {}", list(self.udp), list(self.announced)),
        ];
        if let Some((name, secret)) = self.dev_key {
            lines.push(format!("  key        {name}, made for this run; its secret is {}", secret.reveal()));
        } else {
            lines.push(format!("  keys       {}", list(&self.keys)));
        }
        lines.push(format!(
            "  configure  ./{FILE}, LIANMAI_… variables or flags; `lianmai config --defaults` explains every key"
        ));
        lines.push("  stop       Ctrl-C".to_owned());
        lines.extend(self.warnings().into_iter().map(|warning| format!("warning: {warning}")));
        lines
    }

    /// The line for programs.
    pub(crate) fn ready(&self) -> String {
        let (http, metrics) = (reachable(self.http), reachable(self.metrics));
        let (key, secret) = self.dev_key.map(|(name, secret)| (name, secret.reveal())).unzip();
        let (udp, tcp) = (self.udp, self.tcp);
        json!({"http": http, "metrics": metrics, "udp": udp, "tcp": tcp, "key": key, "secret": secret})
            .to_string()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.dev_key.is_some() {
            warnings.push(
                "with the development key, everyone who reaches the page may join any room; \
                 set [keys] name = \"secret\" before others can reach it"
                    .to_owned(),
            );
        }
        if self.announced.is_empty() {
            warnings.push("no address to announce: nobody can send media; set rtc.node_ip".to_owned());
        } else if self.external_ip.is_none() && self.announced.iter().all(|ip| is_private(*ip)) {
            warnings.push(
                "only private addresses are announced: media works from this network only; \
                 behind NAT set rtc.external_ip to the public address and forward the media ports"
                    .to_owned(),
            );
        }
        if !self.http.ip().is_loopback() {
            warnings.push(
                "browsers give camera and microphone to https:// pages and to localhost only; \
                 for other machines put a proxy with TLS in front"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// An address at which this machine reaches it.
fn reachable(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(), // "::" hears IPv4 too
        ip => in_address(ip),
    };
    format!("{host}:{}", address.port())
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn in_address(ip: IpAddr) -> String {
    SocketAddr::new(ip, 0).to_string().trim_end_matches(":0").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));
    const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn started<'a>(announced: &'a [IpAddr], dev_key: Option<(&'a str, &'a Secret)>) -> Started<'a> {
        let http = "[::]:7880".parse().unwrap();
        let metrics = "127.0.0.1:6789".parse().unwrap();
        let (udp, tcp, external_ip, keys) = (&[7882, 7883][..], Some(7881), None, vec!["app"]);
        Started { http, metrics, udp, tcp, announced, external_ip, keys, dev_key }
    }

    #[test]
    fn addresses_are_such_as_can_be_opened() {
        let secret = Secret::new("s".repeat(32));
        let text = started(&[PRIVATE], Some(("devkey", &secret))).lines().join("\n");
        for part in [
            "http://localhost:7880/",
            "http://127.0.0.1:6789/metrics",
            "UDP 7882, 7883 and TCP 7881, announced at 10.0.0.5",
            "devkey",
            &"s".repeat(32),
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let without = Started { tcp: None, ..started(&[PRIVATE], None) };
        assert!(without.lines().join("\n").contains("UDP 7882, 7883, announced"));
        assert_eq!(in_address("2001:db8::1".parse().unwrap()), "[2001:db8::1]");
    }

    #[test]
    fn a_warning_comes_when_it_applies_and_not_otherwise() {
        let secret = Secret::new("s".repeat(32));
        let dev = Some(("devkey", &secret));
        for (name, announced, dev_key, word, expected) in [
            ("development key", &[PUBLIC][..], dev, "development key", true),
            ("own keys", &[PUBLIC], None, "development key", false),
            ("private", &[PRIVATE], None, "external_ip", true),
            ("one is public", &[PRIVATE, PUBLIC], None, "external_ip", false),
            ("nothing", &[], None, "node_ip", true),
        ] {
            let warned = started(announced, dev_key).warnings().iter().any(|warning| warning.contains(word));
            assert_eq!(warned, expected, "{name}");
        }
    }

    #[test]
    fn the_ready_line_is_json() {
        let secret = Secret::new("s".repeat(32));
        let line: serde_json::Value =
            serde_json::from_str(&started(&[PRIVATE], Some(("devkey", &secret))).ready()).unwrap();
        assert_eq!(
            line,
            json!({
                "http": "127.0.0.1:7880",
                "metrics": "127.0.0.1:6789",
                "udp": [7882, 7883],
                "tcp": 7881,
                "key": "devkey",
                "secret": "s".repeat(32),
            })
        );
        let line: serde_json::Value = serde_json::from_str(&started(&[PRIVATE], None).ready()).unwrap();
        assert_eq!(line["key"], serde_json::Value::Null);
    }
}
