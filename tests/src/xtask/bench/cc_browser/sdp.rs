//! Session descriptions of a direct call, changed so that its media goes through the relay (RFC 8839 §5.1).

use std::net::{IpAddr, SocketAddr};

const CANDIDATE: &str = "a=candidate:";

/// The description without any address: whoever gets it learns the other side's from its first check.
pub(super) fn without_candidates(sdp: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with(CANDIDATE) && !line.starts_with("a=end-of-candidates");
    sdp.split_inclusive('\n').filter(is_kept).collect()
}

/// The description of a single media section, with this address only.
pub(super) fn with_candidate(sdp: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    let sdp = without_candidates(sdp);
    format!("{sdp}{CANDIDATE}1 1 udp 2130706431 {ip} {port} typ host generation 0\r\n")
}

/// Where its owner receives UDP on the loopback interface.
pub(super) fn loopback(sdp: &str) -> Option<SocketAddr> {
    let addresses = sdp.lines().filter_map(|line| {
        let words: Vec<&str> = line.strip_prefix(CANDIDATE)?.split_whitespace().collect();
        let [_, "1", transport, _, ip, port, "typ", "host", ..] = words[..] else { return None };
        let ip: IpAddr = ip.parse().ok()?;
        transport.eq_ignore_ascii_case("udp").then_some(SocketAddr::new(ip, port.parse().ok()?))
    });
    addresses.into_iter().find(|address| address.is_ipv4() && address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\nm=video 40001 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 10.0.0.7\r\n\
        a=candidate:1 1 udp 2122260223 10.0.0.7 40001 typ host generation 0 network-id 1\r\n\
        a=candidate:2 1 tcp 1518283007 127.0.0.1 9 typ host tcptype active\r\n\
        a=candidate:3 1 udp 2122194687 127.0.0.1 40002 typ host generation 0 network-id 2\r\n\
        a=candidate:4 1 udp 2122194687 1f3e.local 40003 typ host\r\n\
        a=end-of-candidates\r\na=ice-ufrag:abcd\r\na=mid:0\r\n";

    #[test]
    fn the_loopback_address_is_found_among_others_or_there_is_none() {
        assert_eq!(loopback(ANSWER), Some(([127, 0, 0, 1], 40_002).into()));
        assert_eq!(loopback(&without_candidates(ANSWER)), None);
        assert_eq!(loopback(&ANSWER.replace(" 127.0.0.1 40002", " 9a.local 40002")), None);
    }

    #[test]
    fn only_candidates_go_and_one_comes_in_their_place() {
        let bare = "v=0\r\nm=video 40001 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 10.0.0.7\r\na=ice-ufrag:abcd\r\na=mid:0\r\n";
        assert_eq!(without_candidates(ANSWER), bare);
        let relayed = with_candidate(ANSWER, ([127, 0, 0, 1], 7).into());
        assert_eq!(relayed.matches(CANDIDATE).count(), 1);
        assert_eq!(loopback(&relayed), Some(([127, 0, 0, 1], 7).into()));
        assert!(relayed.starts_with(bare) && relayed.ends_with("\r\n"), "{relayed}");
    }
}
