//! What protects media on its way: SRTP with the keys that DTLS agreed on, or nothing where a lower layer does it.
//!
//! In: packets as they are on the wire or in the house. Out: the same the other way round, where they lie.
//! Time: none. Limit: see [`SrtpCipher`].
//!
//! `srtp` guards the sequence of packets, by `replay` and `sources`; `transform` seals and opens one, in `gcm` or in
//! `counter_mode`; the latter's `tags` are computed many at once.

#[cfg(target_arch = "x86_64")]
mod batch;
mod counter_mode;
mod gcm;
mod hmac;
mod keys;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod replay;
mod single;
mod sources;
mod srtp;
mod tags;
mod transform;

use core::fmt;

pub use self::srtp::SrtpCipher;
pub use self::tags::{PendingTag, authenticate};

/// The most bytes that sealing appends to a packet: SRTCP's tag in AES-GCM and trailer (RFC 7714 §9).
pub const OVERHEAD_MAX: usize = gcm::Gcm::TAG + transform::RTCP_TRAILER;

/// How packets are protected.
pub enum Cipher {
    /// By SRTP and SRTCP.
    Srtp(Box<SrtpCipher>),
    /// Not at all: in simulations, and where QUIC protects them.
    Plain,
}

impl Cipher {
    /// Asks for what the next packet that is sealed needs.
    pub fn fetch_ahead(&self) {
        match self {
            Self::Srtp(cipher) => cipher.fetch_ahead(),
            Self::Plain => {}
        }
    }

    /// Opens an RTP packet where it lies; the packet in the clear is its first bytes, as many as returned.
    ///
    /// What is in `packet` after an error is of no use.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, CipherError> {
        match self {
            Self::Srtp(srtp) => srtp.open_rtp(packet),
            Self::Plain => Ok(packet.len()),
        }
    }

    /// Opens a compound RTCP packet, as [`Self::open_rtp`] an RTP packet.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, CipherError> {
        match self {
            Self::Srtp(srtp) => srtp.open_rtcp(packet),
            Self::Plain => Ok(packet.len()),
        }
    }

    /// Seals an RTP packet: its header is `out[..header]`, and `payload` is written behind it, copied and encrypted in
    /// one pass. `out` has room for [`OVERHEAD_MAX`] more bytes.
    pub fn seal_rtp(&mut self, out: &mut [u8], header: usize, payload: &[u8]) -> Result<Sealed, CipherError> {
        match self {
            Self::Srtp(srtp) => srtp.seal_rtp(out, header, payload),
            Self::Plain => {
                let behind = out.get_mut(header..).and_then(|out| out.get_mut(..payload.len()));
                behind.ok_or(CipherError::NoRoom)?.copy_from_slice(payload);
                Ok(Sealed { length: header + payload.len(), tag: None })
            }
        }
    }

    /// Seals an RTP packet with `payload` bytes behind its header in `out` already, as [`Self::seal_rtp`] does.
    pub fn seal_rtp_in_place(
        &mut self,
        out: &mut [u8],
        header: usize,
        payload: usize,
    ) -> Result<Sealed, CipherError> {
        match self {
            Self::Srtp(srtp) => srtp.seal_rtp_in_place(out, header, payload),
            Self::Plain => {
                let length = header.saturating_add(payload);
                if length > out.len() { Err(CipherError::NoRoom) } else { Ok(Sealed { length, tag: None }) }
            }
        }
    }

    /// Seals the compound RTCP packet that is `out[..length]`, with its tag; the length that it has then.
    pub fn seal_rtcp(&mut self, out: &mut [u8], length: usize) -> Result<usize, CipherError> {
        match self {
            Self::Srtp(srtp) => srtp.seal_rtcp(out, length),
            Self::Plain if length > out.len() => Err(CipherError::NoRoom),
            Self::Plain => Ok(length),
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Srtp(_) => "Srtp",
            Self::Plain => "Plain",
        })
    }
}

/// A packet that was sealed.
#[derive(Debug, Clone, Copy)]
#[must_use = "a packet without its tag is no packet"]
pub struct Sealed {
    /// Its length in bytes, with the room for the tag.
    pub length: usize,
    /// What [`authenticate`] computes the tag from before the packet may leave; `None` if it is complete.
    pub tag: Option<PendingTag>,
}

/// Why a packet was not opened or sealed; it is to be dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The packet was altered, or made by somebody without the key.
    #[error("the packet does not authenticate")]
    Authentication,
    /// The packet was here before, or is too old to tell.
    #[error("the packet was received before, or is older than the replay window")]
    Replayed,
    /// The packet's length is not what its header says, nor that of any datagram, or it is not encrypted at all.
    #[error("the packet is malformed")]
    Malformed,
    /// There is no room for the sealed packet.
    #[error("the sealed packet does not fit into the room for it")]
    NoRoom,
    /// There are already as many SSRCs as one peer may have.
    #[error("more SSRCs than one peer may have")]
    TooManySources,
    /// As many packets were sealed as one key allows (RFC 3711 §9.2).
    #[error("the key has sealed as many packets as it may")]
    Exhausted,
    /// A packet with this number was sealed before: sealing another would break the key (RFC 7714 §8.1).
    #[error("the sequence number was sealed before, or is too old to tell")]
    Reused,
    /// The key or salt does not have the profile's length.
    #[error("the keying material has {found} bytes, the profile needs {needed}")]
    KeyLength {
        /// What there is.
        found: usize,
        /// What it takes.
        needed: usize,
    },
}

/// An SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SrtpProfile {
    /// AES-256 in Galois/counter mode.
    AeadAes256Gcm,
    /// AES-128 in Galois/counter mode.
    AeadAes128Gcm,
    /// AES-128 in counter mode with 80 bits of HMAC-SHA1.
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// The profile's registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    const fn key_bytes(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
        }
    }

    const fn salt_bytes(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }
}

/// The master keys and salts of both directions.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// What they are for.
    pub profile: SrtpProfile,
    /// Protects what the DTLS client sends.
    pub client_key: Vec<u8>,
    /// Goes with `client_key`.
    pub client_salt: Vec<u8>,
    /// Protects what the DTLS server sends.
    pub server_key: Vec<u8>,
    /// Goes with `server_key`.
    pub server_salt: Vec<u8>,
}

impl SrtpKeys {
    /// Splits what DTLS exported for `EXTRACTOR-dtls_srtp` (RFC 5764 §4.2): both keys, then both salts.
    pub fn from_exporter(profile: SrtpProfile, material: &[u8]) -> Result<Self, CipherError> {
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        let needed = 2 * (key + salt);
        if material.len() != needed {
            return Err(CipherError::KeyLength { found: material.len(), needed });
        }
        let (keys, salts) = material.split_at(2 * key);
        Ok(Self {
            profile,
            client_key: keys[..key].to_vec(),
            server_key: keys[key..].to_vec(),
            client_salt: salts[..salt].to_vec(),
            server_salt: salts[salt..].to_vec(),
        })
    }
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_bytes_are_client_key_server_key_client_salt_server_salt() {
        for (profile, key, salt) in [
            (SrtpProfile::AeadAes256Gcm, 32, 12),
            (SrtpProfile::AeadAes128Gcm, 16, 12),
            (SrtpProfile::Aes128CmSha1_80, 16, 14),
        ] {
            let material = [vec![1; key], vec![2; key], vec![3; salt], vec![4; salt]].concat();
            let keys = SrtpKeys::from_exporter(profile, &material).expect("the right length");
            assert_eq!(keys.client_key, vec![1; key], "{}", profile.name());
            assert_eq!(keys.server_key, vec![2; key], "{}", profile.name());
            assert_eq!(keys.client_salt, vec![3; salt], "{}", profile.name());
            assert_eq!(keys.server_salt, vec![4; salt], "{}", profile.name());
            let found = material.len() - 1;
            let short = SrtpKeys::from_exporter(profile, &material[1..]);
            assert_eq!(short, Err(CipherError::KeyLength { found, needed: found + 1 }), "{}", profile.name());
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let keys = SrtpKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56]).expect("the right length");
        assert_eq!(format!("{keys:?}"), "SrtpKeys { profile: AeadAes128Gcm, .. }");
    }
}
