//! AES in Galois/counter mode for SRTP and SRTCP (RFC 7714).
//!
//! In: packets and their place. Out: the same, sealed or opened where they lie. Time: none. Limit: see `transform`.
//!
//! A payload that others read, too, is copied and encrypted in one pass, which is how one packet goes out to many.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use super::CipherError;
use super::keys::{KeyDerivation, Protocol, Purpose};
use super::transform::{ENCRYPTED, Payload, Place, RTCP_HEADER, RTCP_TRAILER};

const SEALS: &str = "AES-GCM takes any text that fits into a datagram";

/// The key and salt of one direction of one protocol.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: u128, // the lower 96 bits
}

impl Gcm {
    /// The length of a tag, in bytes.
    pub(super) const TAG: usize = 16;

    pub(super) fn with_128(derivation: &KeyDerivation, protocol: Protocol) -> Self {
        let key: [u8; 16] = derivation.derive(protocol, Purpose::Encryption);
        Self::new(&AES_128_GCM, &key, derivation, protocol)
    }

    pub(super) fn with_256(derivation: &KeyDerivation, protocol: Protocol) -> Self {
        let key: [u8; 32] = derivation.derive(protocol, Purpose::Encryption);
        Self::new(&AES_256_GCM, &key, derivation, protocol)
    }

    fn new(
        algorithm: &'static Algorithm,
        key: &[u8],
        derivation: &KeyDerivation,
        protocol: Protocol,
    ) -> Self {
        let key = UnboundKey::new(algorithm, key).expect("the key has the algorithm's length");
        let mut salt = [0; 16];
        salt[4..].copy_from_slice(&derivation.derive::<12>(protocol, Purpose::Salt));
        Self { key: LessSafeKey::new(key), salt: u128::from_be_bytes(salt) }
    }

    /// Opens a packet: the header is authenticated, what is behind it encrypted as well.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        place: Place,
    ) -> Result<usize, CipherError> {
        let (header, sealed) = packet.split_at_mut(header);
        let text = self.key.open_in_place(self.nonce(place), Aad::from(&*header), sealed);
        Ok(header.len() + text.map_err(|_| CipherError::Authentication)?.len())
    }

    /// Seals a packet that fills `out` but for the tag.
    pub(super) fn seal_rtp(&self, out: &mut [u8], header: usize, payload: Payload<'_>, place: Place) {
        let (header, behind) = out.split_at_mut(header);
        let (text, tag) = behind.split_at_mut(payload.len());
        let (nonce, header) = (self.nonce(place), Aad::from(&*header));
        match payload {
            Payload::Apart(payload) => {
                self.key.seal_out_of_place_scatter(nonce, header, payload, text, &[], tag).expect(SEALS);
            }
            Payload::InPlace(_) => {
                let sealed = self.key.seal_in_place_separate_tag(nonce, header, text).expect(SEALS);
                tag.copy_from_slice(sealed.as_ref());
            }
        }
    }

    /// Opens a packet of which `text` bytes are encrypted.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], text: usize, place: Place) -> Result<(), CipherError> {
        let aad = rtcp_aad(packet, place);
        let (text, behind) = packet[RTCP_HEADER..].split_at_mut(text);
        let tag = &behind[..Self::TAG];
        let opened = self.key.open_in_place_separate_tag(self.nonce(place), Aad::from(aad), tag, text);
        opened.map(|_| ()).map_err(|_| CipherError::Authentication)
    }

    /// Seals a packet that fills `out` but for the tag and the trailer behind it.
    pub(super) fn seal_rtcp(&self, out: &mut [u8], place: Place) {
        let aad = rtcp_aad(out, place);
        let (sealed, trailer) = out.split_at_mut(out.len() - RTCP_TRAILER);
        trailer.copy_from_slice(&aad[RTCP_HEADER..]);
        let (packet, tag) = sealed.split_at_mut(sealed.len() - Self::TAG);
        let text = &mut packet[RTCP_HEADER..];
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(place), Aad::from(aad), text);
        tag.copy_from_slice(sealed.expect(SEALS).as_ref());
    }

    /// The nonce (RFC 7714 §8.1, §9.1): two bytes of zeros, the SSRC, 48 bits of index, all with the salt added.
    fn nonce(&self, place: Place) -> Nonce {
        let mixed = self.salt ^ (u128::from(place.ssrc.0) << 48 | u128::from(place.index));
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&mixed.to_be_bytes()[4..]);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What of an SRTCP packet is authenticated and not encrypted (RFC 7714 §9.2): its first bytes and the trailer.
fn rtcp_aad(packet: &[u8], place: Place) -> [u8; RTCP_HEADER + RTCP_TRAILER] {
    let mut aad = [0; RTCP_HEADER + RTCP_TRAILER];
    aad[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    aad[RTCP_HEADER..].copy_from_slice(&(ENCRYPTED | place.index as u32).to_be_bytes());
    aad
}
