//! Session keys from a master key (RFC 3711 §4.3, RFC 7714 §11): AES in counter mode over the master salt and a label.
//!
//! In: a master key and salt. Out: as many bytes as wanted, by their label. Time: none. Limit: the key derivation rate is
//! zero, as with all keys that DTLS agreed on (RFC 5764 §4.1.2), so there is one set of session keys.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

/// Which of the two protocols a session key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Srtp,
    Srtcp,
}

/// What a session key does (RFC 3711 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Encryption,
    Authentication,
    Salt,
}

/// The pseudo-random function of one master key.
pub(super) struct KeyDerivation {
    key: EncryptingKey,
    salt: u128, // shifted left by the 16 bits of the block counter
}

impl KeyDerivation {
    /// `master_key` has 16 or 32 bytes, `master_salt` 14, or 12 that two zeros are appended to (RFC 7714 §11).
    pub(super) fn new(master_key: &[u8], master_salt: &[u8]) -> Self {
        let mut salt = [0; 16];
        salt[..master_salt.len()].copy_from_slice(master_salt);
        Self { key: counter_mode(master_key), salt: u128::from_be_bytes(salt) }
    }

    /// The first `N` bytes of a session key.
    pub(super) fn derive<const N: usize>(&self, protocol: Protocol, purpose: Purpose) -> [u8; N] {
        let label = match (protocol, purpose) {
            (Protocol::Srtp, Purpose::Encryption) => 0,
            (Protocol::Srtp, Purpose::Authentication) => 1,
            (Protocol::Srtp, Purpose::Salt) => 2,
            (Protocol::Srtcp, Purpose::Encryption) => 3,
            (Protocol::Srtcp, Purpose::Authentication) => 4,
            (Protocol::Srtcp, Purpose::Salt) => 5,
        };
        let mut derived = [0; N];
        // The label stands before 48 bits of packet index, which are zero, and 16 of block counter.
        apply_keystream(&self.key, self.salt ^ (label << 64), &mut derived);
        derived
    }
}

/// A key for AES in counter mode, of 16 or 32 bytes.
pub(super) fn counter_mode(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).expect("its length was checked against the profile's");
    EncryptingKey::ctr(key).expect("AES has a counter mode")
}

/// Encrypts, or decrypts, which is the same, with the key stream that begins at a counter block.
pub(super) fn apply_keystream(key: &EncryptingKey, first_block: u128, text: &mut [u8]) {
    let context = EncryptionContext::Iv128(first_block.to_be_bytes().into());
    key.less_safe_encrypt(text, context).expect("counter mode takes any length, and a block is its context");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        assert_eq!(hex.len(), 2 * N);
        core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("two digits"))
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711() {
        let key = bytes::<16>("e1f97a0d3e018be0d64fa32c06de4139");
        let salt = bytes::<14>("0ec675ad498afeebb6960b3aabe6");
        let derivation = KeyDerivation::new(&key, &salt);
        let derive = |purpose| derivation.derive::<94>(Protocol::Srtp, purpose);
        assert_eq!(derive(Purpose::Encryption)[..16], bytes::<16>("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derive(Purpose::Salt)[..14], bytes::<14>("30cbbc08863d8c85d49db34a9ae1"));
        let authentication = concat!(
            "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef7227098",
            "6371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2"
        );
        assert_eq!(derive(Purpose::Authentication), bytes::<94>(authentication));
    }

    #[test]
    fn session_keys_of_aes_256_are_those_of_rfc_6188() {
        let key = bytes::<32>("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let salt = bytes::<14>("3b04803de51ee7c96423ab5b78d2");
        let derivation = KeyDerivation::new(&key, &salt);
        assert_eq!(
            derivation.derive(Protocol::Srtp, Purpose::Encryption),
            bytes::<32>("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(
            derivation.derive(Protocol::Srtp, Purpose::Salt),
            bytes::<14>("fa31791685ca444a9e07c6c64e93")
        );
        assert_eq!(
            derivation.derive(Protocol::Srtp, Purpose::Authentication),
            bytes::<20>("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
    }

    #[test]
    fn each_label_has_a_key_of_its_own_and_a_short_salt_ends_in_zeros() {
        let derivation = KeyDerivation::new(&[1; 16], &[2; 12]);
        let longer = KeyDerivation::new(&[1; 16], &[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0]);
        let mut all = Vec::new();
        for protocol in [Protocol::Srtp, Protocol::Srtcp] {
            for purpose in [Purpose::Encryption, Purpose::Authentication, Purpose::Salt] {
                let key: [u8; 16] = derivation.derive(protocol, purpose);
                assert_eq!(key, longer.derive(protocol, purpose));
                assert!(!all.contains(&key), "{protocol:?}, {purpose:?}");
                all.push(key);
            }
        }
    }
}
