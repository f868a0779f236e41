//! SRTP and SRTCP (RFC 3711, RFC 7714) with one peer.
//!
//! In: packets. Out: packets, sealed or opened where they lie. Time: none. Limit: `SSRCS_MAX` SSRCs each for RTP and RTCP in
//! each direction, of which those of the peer have authenticated; beyond these new ones are refused.
//!
//! - An unknown SSRC is remembered when a packet of it authenticated, not before. Its rollover counter begins at zero.
//! - The replay window is on the whole index of a packet, not on the 16 bits that it has of it.
//! - No index is sealed twice under one key and SSRC, and no more than the key may seal (RFC 3711 §9.2).
//! - The wire says where the payload begins, whatever a reader makes of the extensions.
//! - SRTCP without the E bit, which is not encrypted, is refused: no WebRTC endpoint sends that.

use core::fmt;

use proto::rtp::{RtpView, SeqNo, Ssrc};

use super::keys::{KeyDerivation, Protocol};
use super::replay::ReplayWindow;
use super::sources::Sources;
use super::transform::{ENCRYPTED, PACKET_MAX, Payload, Place, RTCP_HEADER, RTCP_TRAILER, Transform};
use super::{CipherError, Sealed, SrtpKeys, SrtpProfile};
use crate::fetch;

const SRTCP_PACKETS_MAX: u32 = 0x7fff_ffff; // RFC 3711 §9.2

/// Both directions of SRTP and SRTCP with one peer.
pub struct SrtpCipher {
    profile: SrtpProfile,
    inbound: Inbound,
    outbound: Outbound,
}

impl SrtpCipher {
    /// The cipher of the end that was the DTLS server.
    pub fn server(keys: &SrtpKeys) -> Result<Self, CipherError> {
        let theirs = DirectionKeys::new(keys.profile, &keys.client_key, &keys.client_salt)?;
        let ours = DirectionKeys::new(keys.profile, &keys.server_key, &keys.server_salt)?;
        Ok(Self::new(keys.profile, theirs, ours))
    }

    /// The cipher of the end that was the DTLS client.
    pub fn client(keys: &SrtpKeys) -> Result<Self, CipherError> {
        let theirs = DirectionKeys::new(keys.profile, &keys.server_key, &keys.server_salt)?;
        let ours = DirectionKeys::new(keys.profile, &keys.client_key, &keys.client_salt)?;
        Ok(Self::new(keys.profile, theirs, ours))
    }

    fn new(profile: SrtpProfile, theirs: DirectionKeys, ours: DirectionKeys) -> Self {
        Self { profile, inbound: Inbound::new(theirs), outbound: Outbound::new(ours) }
    }

    /// The profile that was agreed on.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Opens an SRTP packet where it lies; the packet in the clear is its first bytes, as many as returned.
    ///
    /// What is in `packet` after an error is of no use.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, CipherError> {
        self.inbound.open_rtp(packet)
    }

    /// Opens an SRTCP packet, as [`Self::open_rtp`] an SRTP packet.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, CipherError> {
        self.inbound.open_rtcp(packet)
    }

    /// Seals an RTP packet: its header is `out[..header]`, and `payload` is written behind it.
    ///
    /// A sequence number of one SSRC is sealed once and not much later than its neighbors: two different packets with
    /// one index would give the key away.
    pub fn seal_rtp(&mut self, out: &mut [u8], header: usize, payload: &[u8]) -> Result<Sealed, CipherError> {
        self.outbound.seal_rtp(out, header, Payload::Apart(payload))
    }

    /// Seals an RTP packet with `payload` bytes behind its header in `out` already, as [`Self::seal_rtp`] does.
    pub fn seal_rtp_in_place(
        &mut self,
        out: &mut [u8],
        header: usize,
        payload: usize,
    ) -> Result<Sealed, CipherError> {
        self.outbound.seal_rtp(out, header, Payload::InPlace(payload))
    }

    /// Seals the compound RTCP packet that is `out[..length]`; the length that it has then.
    pub fn seal_rtcp(&mut self, out: &mut [u8], length: usize) -> Result<usize, CipherError> {
        self.outbound.seal_rtcp(out, length)
    }
}

impl SrtpCipher {
    /// Asks for what the next packet that is sealed needs.
    pub(super) fn fetch_ahead(&self) {
        fetch::ahead(&self.outbound, size_of::<Outbound>());
    }
}

impl fmt::Debug for SrtpCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpCipher").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// What one direction is sealed and opened with.
struct DirectionKeys {
    rtp: Transform,
    rtcp: Transform,
}

impl DirectionKeys {
    fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, CipherError> {
        for (found, needed) in [(key.len(), profile.key_bytes()), (salt.len(), profile.salt_bytes())] {
            if found != needed {
                return Err(CipherError::KeyLength { found, needed });
            }
        }
        let derivation = KeyDerivation::new(key, salt);
        Ok(Self {
            rtp: Transform::new(profile, &derivation, Protocol::Srtp),
            rtcp: Transform::new(profile, &derivation, Protocol::Srtcp),
        })
    }
}

/// What is received.
struct Inbound {
    keys: DirectionKeys,
    rtp: Sources<ReplayWindow>,
    rtcp: Sources<ReplayWindow>,
}

impl Inbound {
    fn new(keys: DirectionKeys) -> Self {
        Self { keys, rtp: Sources::new(), rtcp: Sources::new() }
    }

    fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, CipherError> {
        let RtpPacket { header, ssrc, seq } = RtpPacket::parse(packet)?;
        let open = |place| self.keys.rtp.open_rtp(packet, header, place);
        match self.rtp.find(ssrc) {
            Some(at) => {
                let window = &mut self.rtp[at];
                let index = window.extend(seq).ok_or(CipherError::Exhausted)?;
                open_once(window, Place { ssrc, index }, open)
            }
            None => open_first(&mut self.rtp, Place { ssrc, index: u64::from(seq.0) }, open),
        }
    }

    fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, CipherError> {
        let ssrc = rtcp_ssrc(packet)?;
        let trailer = self.keys.rtcp.rtcp_trailer(packet).ok_or(CipherError::Malformed)?;
        if trailer & ENCRYPTED == 0 {
            return Err(CipherError::Malformed);
        }
        let place = Place { ssrc, index: u64::from(trailer & !ENCRYPTED) };
        let open = |place| self.keys.rtcp.open_rtcp(packet, place);
        match self.rtcp.find(ssrc) {
            Some(at) => open_once(&mut self.rtcp[at], place, open),
            None => open_first(&mut self.rtcp, place, open),
        }
    }
}

/// Opens a packet of an SSRC that is known, unless it was here before.
fn open_once(
    window: &mut ReplayWindow,
    place: Place,
    open: impl FnOnce(Place) -> Result<usize, CipherError>,
) -> Result<usize, CipherError> {
    if !window.admits(place.index) {
        return Err(CipherError::Replayed);
    }
    let length = open(place)?;
    window.record(place.index);
    Ok(length)
}

/// Opens a packet of an unknown SSRC, which is known then; if it does not authenticate nothing is remembered.
fn open_first(
    sources: &mut Sources<ReplayWindow>,
    place: Place,
    open: impl FnOnce(Place) -> Result<usize, CipherError>,
) -> Result<usize, CipherError> {
    sources.check_room()?;
    let length = open(place)?;
    let mut window = ReplayWindow::default();
    window.record(place.index);
    sources.insert(place.ssrc, window)?;
    Ok(length)
}

/// What is sent.
struct Outbound {
    keys: DirectionKeys,
    rtp: Sources<ReplayWindow>,
    rtcp: Sources<u32>, // packets sealed
}

impl Outbound {
    fn new(keys: DirectionKeys) -> Self {
        Self { keys, rtp: Sources::new(), rtcp: Sources::new() }
    }

    fn seal_rtp(
        &mut self,
        out: &mut [u8],
        header: usize,
        payload: Payload<'_>,
    ) -> Result<Sealed, CipherError> {
        let packet = RtpPacket::parse(out.get(..header).ok_or(CipherError::NoRoom)?)?;
        if packet.header != header {
            return Err(CipherError::Malformed);
        }
        let length = header.saturating_add(payload.len()).saturating_add(self.keys.rtp.tag_bytes());
        let out = room(out, length)?;
        let at = self.rtp.find_or_insert(packet.ssrc)?;
        let window = &mut self.rtp[at];
        let index = window.extend(packet.seq).ok_or(CipherError::Exhausted)?;
        if !window.admits(index) {
            return Err(CipherError::Reused);
        }
        let tag = self.keys.rtp.seal_rtp(out, header, payload, Place { ssrc: packet.ssrc, index });
        window.record(index);
        Ok(Sealed { length, tag })
    }

    fn seal_rtcp(&mut self, out: &mut [u8], length: usize) -> Result<usize, CipherError> {
        let ssrc = rtcp_ssrc(out.get(..length).ok_or(CipherError::NoRoom)?)?;
        let length = length.saturating_add(self.keys.rtcp.tag_bytes() + RTCP_TRAILER);
        let out = room(out, length)?;
        let at = self.rtcp.find_or_insert(ssrc)?;
        let sealed = &mut self.rtcp[at];
        if *sealed >= SRTCP_PACKETS_MAX {
            return Err(CipherError::Exhausted);
        }
        *sealed += 1;
        self.keys.rtcp.seal_rtcp(out, Place { ssrc, index: u64::from(*sealed) });
        Ok(length)
    }
}

/// The place for a sealed packet of some length.
fn room(out: &mut [u8], length: usize) -> Result<&mut [u8], CipherError> {
    if length > PACKET_MAX {
        return Err(CipherError::Malformed);
    }
    out.get_mut(..length).ok_or(CipherError::NoRoom)
}

/// What the cipher needs of an RTP header.
struct RtpPacket {
    header: usize, // bytes, as on the wire
    ssrc: Ssrc,
    seq: SeqNo,
}

impl RtpPacket {
    fn parse(packet: &[u8]) -> Result<Self, CipherError> {
        let view = RtpView::parse_protected(packet).map_err(|_| CipherError::Malformed)?;
        Ok(Self { header: view.header_len(), ssrc: view.ssrc(), seq: view.seq() })
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<Ssrc, CipherError> {
    let fixed: &[u8; RTCP_HEADER] = packet.first_chunk().ok_or(CipherError::Malformed)?;
    if fixed[0] >> 6 != 2 {
        return Err(CipherError::Malformed);
    }
    Ok(Ssrc(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])))
}

#[cfg(test)]
mod tests;
