//! AES in counter mode with 80 bits of HMAC-SHA1, for SRTP and SRTCP (RFC 3711 §4.1.1, §4.2.1).
//!
//! In: packets and their place. Out: the same, sealed or opened where they lie; the tag of a sealed SRTP packet is left
//! to `authenticate`, which is faster at many at once. Time: none. Limit: see `transform`.

use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::CipherError;
use super::hmac::{HmacSha1, TAG};
use super::keys::{KeyDerivation, Protocol, Purpose, apply_keystream, counter_mode};
use super::tags::PendingTag;
use super::transform::{ENCRYPTED, Payload, Place, RTCP_HEADER, RTCP_TRAILER};

/// The keys and salt of one direction of one protocol.
pub(super) struct CounterMode {
    key: EncryptingKey,
    salt: u128, // shifted left by the 16 bits of the block counter
    mac: HmacSha1,
}

impl CounterMode {
    /// The length of a tag, in bytes.
    pub(super) const TAG: usize = TAG;

    pub(super) fn new(derivation: &KeyDerivation, protocol: Protocol) -> Self {
        let key: [u8; 16] = derivation.derive(protocol, Purpose::Encryption);
        let mut salt = [0; 16];
        salt[..14].copy_from_slice(&derivation.derive::<14>(protocol, Purpose::Salt));
        Self {
            key: counter_mode(&key),
            salt: u128::from_be_bytes(salt),
            mac: HmacSha1::new(&derivation.derive(protocol, Purpose::Authentication)),
        }
    }

    /// Opens a packet: all of it is authenticated with the rollover counter, what is behind the header encrypted.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        place: Place,
    ) -> Result<usize, CipherError> {
        let end = packet.len().checked_sub(TAG).filter(|end| *end >= header);
        let (packet, tag) = packet.split_at_mut(end.ok_or(CipherError::Authentication)?);
        self.verify(packet, &rollover(place).to_be_bytes(), tag)?;
        self.apply(place, &mut packet[header..]);
        Ok(packet.len())
    }

    /// Seals a packet that fills `out` but for the tag, which is still to be computed.
    pub(super) fn seal_rtp(
        &self,
        out: &mut [u8],
        header: usize,
        payload: Payload<'_>,
        place: Place,
    ) -> PendingTag {
        let text = &mut out[header..header + payload.len()];
        if let Payload::Apart(payload) = payload {
            text.copy_from_slice(payload);
        }
        self.apply(place, text);
        PendingTag { mac: self.mac, rollover: rollover(place) }
    }

    /// Opens a packet of which `text` bytes are encrypted.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], text: usize, place: Place) -> Result<(), CipherError> {
        let (packet, tag) = packet.split_at_mut(RTCP_HEADER + text + RTCP_TRAILER);
        self.verify(packet, &[], tag)?;
        self.apply(place, &mut packet[RTCP_HEADER..RTCP_HEADER + text]);
        Ok(())
    }

    /// Seals a packet that fills `out` but for the trailer and the tag behind it.
    pub(super) fn seal_rtcp(&self, out: &mut [u8], place: Place) {
        let (packet, tag) = out.split_at_mut(out.len() - TAG);
        let (text, trailer) = packet.split_at_mut(packet.len() - RTCP_TRAILER);
        self.apply(place, &mut text[RTCP_HEADER..]);
        trailer.copy_from_slice(&(ENCRYPTED | place.index as u32).to_be_bytes());
        tag.copy_from_slice(&self.mac.tag(packet, &[]));
    }

    fn verify(&self, message: &[u8], trailer: &[u8], tag: &[u8]) -> Result<(), CipherError> {
        verify_slices_are_equal(&self.mac.tag(message, trailer), tag).map_err(|_| CipherError::Authentication)
    }

    /// Encrypts or decrypts. The first counter block (RFC 3711 §4.1.1) is the salt, the SSRC and the index added.
    fn apply(&self, place: Place, text: &mut [u8]) {
        let block = self.salt ^ (u128::from(place.ssrc.0) << 64) ^ (u128::from(place.index) << 16);
        apply_keystream(&self.key, block, text);
    }
}

/// The rollover counter of an SRTP packet's index.
fn rollover(place: Place) -> u32 {
    (place.index >> 16) as u32
}
