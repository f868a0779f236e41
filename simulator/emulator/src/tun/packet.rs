//! IP packets as links see them: their size and their ECN bits (RFC 791, RFC 8200, RFC 3168).

use proto::feedback::Ecn;
use proto::units::DataSize;
use simulator::link::Parcel;

/// An IP packet.
pub(super) struct IpPacket(pub(super) Box<[u8]>);

/// Where the ECN bits are.
enum Version {
    V4,
    V6,
    Unknown,
}

impl IpPacket {
    fn version(&self) -> Version {
        match self.0.first().map(|byte| byte >> 4) {
            Some(4) if self.0.len() >= 20 => Version::V4,
            Some(6) if self.0.len() >= 40 => Version::V6,
            Some(_) | None => Version::Unknown,
        }
    }
}

impl Parcel for IpPacket {
    fn wire_size(&self) -> DataSize {
        DataSize::bytes(self.0.len() as u64)
    }

    fn ecn(&self) -> Ecn {
        let bits = match self.version() {
            Version::V4 => self.0[1],
            Version::V6 => self.0[1] >> 4,
            Version::Unknown => 0,
        };
        match bits & 0b11 {
            0b00 => Ecn::NotCapable,
            0b01 => Ecn::Capable1,
            0b10 => Ecn::Capable0,
            _ => Ecn::Congested,
        }
    }

    fn mark_congested(&mut self) {
        match self.version() {
            Version::V4 => {
                let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
                let before = word(&self.0, 0);
                self.0[1] |= 0b11;
                // The header's checksum follows the changed word (RFC 1624, equation 3).
                let sum = u32::from(!word(&self.0, 10)) + u32::from(!before) + u32::from(word(&self.0, 0));
                let folded = (sum & 0xffff) + (sum >> 16);
                let folded = (folded & 0xffff) + (folded >> 16);
                self.0[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
            }
            Version::V6 => self.0[1] |= 0b11 << 4,
            Version::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header's checksum (RFC 1071), which is zero over a header that has a right one.
    fn sum(header: &[u8]) -> u16 {
        let sum: u32 =
            header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        !((folded & 0xffff) + (folded >> 16)) as u16
    }

    fn v4(tos: u8) -> IpPacket {
        let mut bytes =
            vec![0x45, tos, 0, 24, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2, 1, 2, 3, 4];
        let checksum = sum(&bytes[..20]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        IpPacket(bytes.into())
    }

    #[test]
    fn a_mark_is_seen_and_the_checksum_is_right() {
        for (tos, ecn) in
            [(0xb8, Ecn::NotCapable), (0x01, Ecn::Capable1), (0x02, Ecn::Capable0), (0xff, Ecn::Congested)]
        {
            let mut packet = v4(tos);
            assert_eq!((packet.ecn(), packet.wire_size().as_bytes()), (ecn, 24));
            packet.mark_congested();
            assert_eq!(packet.ecn(), Ecn::Congested);
            assert_eq!((sum(&packet.0[..20]), packet.0[1] >> 2), (0, tos >> 2), "of {tos:#x}");
        }
        let mut v6 = [0_u8; 40];
        v6[..2].copy_from_slice(&[0x6a, 0xa5]);
        let mut packet = IpPacket(v6.into());
        assert_eq!(packet.ecn(), Ecn::Capable0);
        packet.mark_congested();
        assert_eq!((packet.ecn(), &packet.0[..2]), (Ecn::Congested, &[0x6a, 0xb5][..]));
    }

    #[test]
    fn what_is_no_ip_packet_stays_as_it_is() {
        for bytes in [&[][..], &[0x45, 1][..], &[0x6f; 39][..], &[0xff; 60][..]] {
            let mut packet = IpPacket(bytes.into());
            packet.mark_congested();
            assert_eq!((packet.ecn(), &packet.0[..]), (Ecn::NotCapable, bytes));
        }
    }
}
