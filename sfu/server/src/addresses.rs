//! Which addresses clients are told to send media to.
//!
//! In: the configuration, the interfaces. Out: a list without doubles. Limit: [`ADDRESSES_MAX`], since each becomes an
//! ICE candidate that every client probes.

use std::net::IpAddr;

use crate::config::Config;

/// The most addresses announced; a host with more has container bridges that no client reaches.
const ADDRESSES_MAX: usize = 16;

/// The addresses of this host's network interfaces that are up.
pub(crate) fn interfaces() -> std::io::Result<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs()?;
    Ok(all.into_iter().filter(if_addrs::Interface::is_oper_up).map(|interface| interface.ip()).collect())
}

/// The addresses to announce when listening on `bound`, the best for a client from elsewhere first.
pub(crate) fn announced(config: &Config, bound: IpAddr, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    let own: Vec<IpAddr> = if !config.rtc.node_ip.is_empty() {
        config.rtc.node_ip.clone()
    } else if bound.is_unspecified() {
        let wanted = |ip: &&IpAddr| {
            let heard = bound.is_ipv6() || ip.is_ipv4(); // "::" hears both
            heard && !is_link_local(**ip) && (config.rtc.use_loopback || !ip.is_loopback())
        };
        let mut wanted: Vec<IpAddr> = interfaces.iter().filter(wanted).copied().collect();
        wanted.sort_by_key(|ip| (ip.is_loopback(), is_private(*ip), ip.is_ipv6()));
        wanted
    } else {
        vec![bound]
    };
    let mut list: Vec<IpAddr> = Vec::new();
    for ip in config.rtc.external_ip.into_iter().chain(own) {
        if !list.contains(&ip) && list.len() < ADDRESSES_MAX {
            list.push(ip);
        }
    }
    list
}

/// Whether an address is reached from its own network or host only.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64; // RFC 6598
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn what_is_announced() {
        const HOST: &[&str] = &["127.0.0.1", "10.0.0.5", "::1", "fe80::1", "2001:db8::5", "169.254.1.1"];
        for (name, bound, settings, expected) in [
            ("every address", "::", &[][..], &["2001:db8::5", "10.0.0.5", "127.0.0.1", "::1"][..]),
            ("without loopback", "::", &[("RTC__USE_LOOPBACK", "false")], &["2001:db8::5", "10.0.0.5"]),
            ("IPv4 only", "0.0.0.0", &[("RTC__USE_LOOPBACK", "false")], &["10.0.0.5"]),
            ("one address", "127.0.0.1", &[("RTC__USE_LOOPBACK", "false")], &["127.0.0.1"]),
            ("named ones", "::", &[("RTC__NODE_IP", "192.0.2.1,192.0.2.1")], &["192.0.2.1"]),
            (
                "behind NAT",
                "0.0.0.0",
                &[("RTC__USE_LOOPBACK", "false"), ("RTC__EXTERNAL_IP", "203.0.113.7")],
                &["203.0.113.7", "10.0.0.5"],
            ),
        ] {
            let environment = settings
                .iter()
                .map(|(name, value)| (format!("LIANMAI_{name}"), (*value).to_owned()))
                .collect();
            let config = Config::load(Sources { environment, cores: 1, ..Sources::default() }).unwrap();
            let host: Vec<IpAddr> = HOST.iter().map(|ip| ip.parse().unwrap()).collect();
            let list: Vec<String> =
                announced(&config, bound.parse().unwrap(), &host).iter().map(ToString::to_string).collect();
            assert_eq!(list, expected, "{name}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for (ip, private) in [
            ("10.1.2.3", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("127.0.0.1", true),
            ("192.0.2.1", false),
            ("fd00::1", true),
            ("::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
        }
    }
}
