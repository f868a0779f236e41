//! Demultiplexing: what a datagram holds, told by its first two bytes (RFC 7983 §7, RFC 5761 §4).
//!
//! In: a datagram's bytes. Out: its kind. Time: none. Limit: reads two bytes and the length, keeps nothing.

const RTP_HEADER_BYTES: usize = 12; // RFC 3550 §5.1: the fixed part
const RTCP_HEADER_BYTES: usize = 8; // RFC 3550 §6.4: the header and one SSRC

/// What a datagram on the media port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketKind {
    /// A STUN message.
    Stun,
    /// One or more DTLS records.
    Dtls,
    /// An RTP or SRTP packet.
    Rtp,
    /// An RTCP or SRTCP packet, perhaps compound.
    Rtcp,
    /// Nothing that is spoken here: too short, ZRTP, a TURN channel, QUIC.
    Unknown,
}

/// The kind of a datagram; its content is not checked any further.
pub fn classify(datagram: &[u8]) -> PacketKind {
    match *datagram {
        [0..=3, ..] => PacketKind::Stun,
        [20..=63, ..] => PacketKind::Dtls,
        [128..=191, second, ..] => {
            let is_rtcp = matches!(second & 0x7f, 64..=95); // RFC 5761 §4: RTCP's 192 to 223 without the marker bit
            match (is_rtcp, datagram.len()) {
                (true, RTCP_HEADER_BYTES..) => PacketKind::Rtcp,
                (false, RTP_HEADER_BYTES..) => PacketKind::Rtp,
                (true | false, _) => PacketKind::Unknown,
            }
        }
        _ => PacketKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_bytes_tell_the_kind() {
        let packet = |first: u8, second: u8, length: usize| {
            let mut bytes = vec![0; length];
            bytes[0] = first;
            if let Some(byte) = bytes.get_mut(1) {
                *byte = second;
            }
            bytes
        };
        for (name, bytes, kind) in [
            ("nothing", vec![], PacketKind::Unknown),
            ("a binding request", packet(0, 1, 20), PacketKind::Stun),
            ("the last of STUN", packet(3, 0, 20), PacketKind::Stun),
            ("between STUN and ZRTP", packet(4, 0, 20), PacketKind::Unknown),
            ("ZRTP", packet(16, 0, 20), PacketKind::Unknown),
            ("the first of DTLS", packet(20, 0, 13), PacketKind::Dtls),
            ("a DTLS handshake", packet(22, 254, 13), PacketKind::Dtls),
            ("the last of DTLS", packet(63, 0, 13), PacketKind::Dtls),
            ("a TURN channel", packet(64, 0, 20), PacketKind::Unknown),
            ("QUIC", packet(127, 0, 1200), PacketKind::Unknown),
            ("RTP, payload type 0", packet(128, 0, 12), PacketKind::Rtp),
            ("RTP, payload type 63", packet(128, 63, 12), PacketKind::Rtp),
            ("RTP, payload type 96 with marker", packet(0x90, 0xe0, 40), PacketKind::Rtp),
            ("RTP too short", packet(128, 96, 11), PacketKind::Unknown),
            ("RTCP, the first type", packet(128, 192, 8), PacketKind::Rtcp),
            ("a sender report", packet(128, 200, 28), PacketKind::Rtcp),
            ("RTCP, the last type", packet(191, 223, 8), PacketKind::Rtcp),
            ("RTCP too short", packet(128, 200, 7), PacketKind::Unknown),
            ("one byte of RTP", packet(128, 0, 1), PacketKind::Unknown),
            ("beyond RTP", packet(192, 0, 40), PacketKind::Unknown),
        ] {
            assert_eq!(classify(&bytes), kind, "{name}");
        }
    }
}
