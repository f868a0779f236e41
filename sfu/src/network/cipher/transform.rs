//! The cryptographic transform of one direction of SRTP or SRTCP, by its profile.
//!
//! In: packets, and the index of each. Out: the same, sealed or opened. Time: none. Limit: who calls sees to it that no
//! index is sealed twice, that there is room, and that a packet is not longer than `PACKET_MAX`.

use proto::rtp::Ssrc;

use super::counter_mode::CounterMode;
use super::gcm::Gcm;
use super::keys::{KeyDerivation, Protocol};
use super::{CipherError, PendingTag, SrtpProfile};

/// No datagram is longer, and AES in counter mode has 2^16 blocks for one.
pub(super) const PACKET_MAX: usize = 65_535;

/// What of a compound RTCP packet stays readable: the first header and SSRC (RFC 3711 §3.4).
pub(super) const RTCP_HEADER: usize = 8;

/// The index of an SRTCP packet and the E bit before it (RFC 3711 §3.4).
pub(super) const RTCP_TRAILER: usize = 4;

/// The E bit: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// One direction's keys and what is done with them.
pub(super) enum Transform {
    Gcm(Gcm),
    CounterMode(Box<CounterMode>),
}

/// Where a packet is in the sequence of packets under a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) ssrc: Ssrc,
    /// SRTP: rollover counter and sequence number, 48 bits. SRTCP: the number that the packet tells, 31 bits.
    pub(super) index: u64,
}

/// Where the payload is that is to be sealed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    /// In memory that others read, too.
    Apart(&'a [u8]),
    /// Behind the header, so many bytes.
    InPlace(usize),
}

impl Payload<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Apart(bytes) => bytes.len(),
            Self::InPlace(length) => length,
        }
    }
}

impl Transform {
    pub(super) fn new(profile: SrtpProfile, derivation: &KeyDerivation, protocol: Protocol) -> Self {
        match profile {
            SrtpProfile::AeadAes256Gcm => Self::Gcm(Gcm::with_256(derivation, protocol)),
            SrtpProfile::AeadAes128Gcm => Self::Gcm(Gcm::with_128(derivation, protocol)),
            SrtpProfile::Aes128CmSha1_80 => {
                Self::CounterMode(Box::new(CounterMode::new(derivation, protocol)))
            }
        }
    }

    /// What sealing appends to the text, in bytes; SRTCP has `RTCP_TRAILER` besides.
    pub(super) fn tag_bytes(&self) -> usize {
        match self {
            Self::Gcm(_) => Gcm::TAG,
            Self::CounterMode(_) => CounterMode::TAG,
        }
    }

    /// Opens an SRTP packet with a header of so many bytes; the length of what is in the clear.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        place: Place,
    ) -> Result<usize, CipherError> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtp(packet, header, place),
            Self::CounterMode(mode) => mode.open_rtp(packet, header, place),
        }
    }

    /// Seals an SRTP packet, which `out` is with the room for the tag.
    pub(super) fn seal_rtp(
        &self,
        out: &mut [u8],
        header: usize,
        payload: Payload<'_>,
        place: Place,
    ) -> Option<PendingTag> {
        match self {
            Self::Gcm(gcm) => {
                gcm.seal_rtp(out, header, payload, place);
                None
            }
            Self::CounterMode(mode) => Some(mode.seal_rtp(out, header, payload, place)),
        }
    }

    /// The trailer of an SRTCP packet, which stands before the tag (RFC 3711 §3.4) or after it (RFC 7714 §9.1).
    pub(super) fn rtcp_trailer(&self, packet: &[u8]) -> Option<u32> {
        let behind = match self {
            Self::Gcm(_) => 0,
            Self::CounterMode(_) => CounterMode::TAG,
        };
        let end = packet.len().checked_sub(behind)?;
        packet[..end].last_chunk().copied().map(u32::from_be_bytes)
    }

    /// Opens an SRTCP packet; the length of what is in the clear.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], place: Place) -> Result<usize, CipherError> {
        let around = RTCP_HEADER + self.tag_bytes() + RTCP_TRAILER;
        let text = packet.len().checked_sub(around).ok_or(CipherError::Authentication)?;
        match self {
            Self::Gcm(gcm) => gcm.open_rtcp(packet, text, place)?,
            Self::CounterMode(mode) => mode.open_rtcp(packet, text, place)?,
        }
        Ok(RTCP_HEADER + text)
    }

    /// Seals an SRTCP packet, which `out` is with the room for trailer and tag.
    pub(super) fn seal_rtcp(&self, out: &mut [u8], place: Place) {
        match self {
            Self::Gcm(gcm) => gcm.seal_rtcp(out, place),
            Self::CounterMode(mode) => mode.seal_rtcp(out, place),
        }
    }
}
