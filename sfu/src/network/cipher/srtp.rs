//! SRTP and SRTCP (RFC 3711, RFC 7714) on rtc-srtp, guarded where it trusts the wire too much.
//!
//! In: packets. Out: packets. Time: none. Limit: `SSRCS_MAX` authenticated SSRCs each for RTP and RTCP in each direction,
//! and `STRANGERS_MAX` unauthenticated ones; beyond these new ones are refused and the latter forgotten.
//!
//! What rtc-srtp 0.21.1 leaves to its user:
//! - It remembers every SSRC before it authenticates. Here an unknown SSRC is tried in a context of its own, which is
//!   thrown away now and then; it enters the real one after it authenticated.
//! - Its replay check is on 16 bits. Here the window is on the whole index, which [`Rollover`] finds as it does.
//! - It takes the payload to begin where it would itself have put it. Here it is told where the wire says.
//! - With AES-CM it returns SRTCP without the E bit unauthenticated, and after 2^31 SRTCP packets it starts over with
//!   the same key. Here both are refused.

use core::fmt;
use std::collections::BTreeMap;

use ::srtp::context::Context;
use ::srtp::protection_profile::ProtectionProfile;
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtp::header::Header;

use super::replay::ReplayWindow;
use super::{CipherError, SrtpKeys, SrtpProfile};

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

const SSRCS_MAX: usize = 256; // a browser with three cameras in three layers each, RTX and FEC has about 30
const STRANGERS_MAX: u32 = 256; // unknown SSRCs tried before they are forgotten: about 15 kB, a key schedule each time
const SRTCP_PACKETS_MAX: u32 = 0x7fff_ffff; // RFC 3711 §9.2
const HALF: u16 = 1 << 15; // half the sequence numbers: the farther half is the other way round

/// Both directions of SRTP and SRTCP with one peer.
pub struct SrtpCipher {
    inbound: Inbound,
    outbound: Outbound,
}

impl SrtpCipher {
    /// The cipher of the end that was the DTLS server.
    pub fn server(keys: &SrtpKeys) -> Result<Self, CipherError> {
        let theirs = DirectionKeys::new(keys.profile, &keys.client_key, &keys.client_salt)?;
        let ours = DirectionKeys::new(keys.profile, &keys.server_key, &keys.server_salt)?;
        Ok(Self { inbound: Inbound::new(theirs), outbound: Outbound::new(&ours) })
    }

    /// The cipher of the end that was the DTLS client.
    pub fn client(keys: &SrtpKeys) -> Result<Self, CipherError> {
        let theirs = DirectionKeys::new(keys.profile, &keys.server_key, &keys.server_salt)?;
        let ours = DirectionKeys::new(keys.profile, &keys.client_key, &keys.client_salt)?;
        Ok(Self { inbound: Inbound::new(theirs), outbound: Outbound::new(&ours) })
    }

    /// The profile that was agreed on.
    pub fn profile(&self) -> SrtpProfile {
        self.inbound.keys.profile
    }

    /// Opens an SRTP packet.
    pub fn unprotect_rtp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        self.inbound.unprotect_rtp(packet)
    }

    /// Opens an SRTCP packet.
    pub fn unprotect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        self.inbound.unprotect_rtcp(packet)
    }

    /// Seals an RTP packet.
    ///
    /// A sequence number of one SSRC is sealed once and not much later than its neighbors: two different packets with
    /// one index would give the key away.
    pub fn protect_rtp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        self.outbound.protect_rtp(packet)
    }

    /// Seals an RTCP packet.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        self.outbound.protect_rtcp(packet)
    }
}

impl fmt::Debug for SrtpCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpCipher").field("profile", &self.profile()).finish_non_exhaustive()
    }
}

struct DirectionKeys {
    profile: SrtpProfile,
    key: Vec<u8>,
    salt: Vec<u8>,
}

impl DirectionKeys {
    fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, CipherError> {
        for (found, needed) in [(key.len(), profile.key_bytes()), (salt.len(), profile.salt_bytes())] {
            if found != needed {
                return Err(CipherError::KeyLength { found, needed });
            }
        }
        Ok(Self { profile, key: key.to_vec(), salt: salt.to_vec() })
    }

    fn context(&self) -> Context {
        let profile = match self.profile {
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        Context::new(&self.key, &self.salt, profile, None, None, PROVIDER.crypto())
            .expect("the lengths were checked and the provider has these algorithms")
    }
}

/// What is received.
struct Inbound {
    keys: DirectionKeys,
    context: Context,   // knows the SSRCs in the maps below and no others
    strangers: Context, // knows the rest, for a while
    strangers_tried: u32,
    rtp: BTreeMap<u32, RtpSource>,
    rtcp: BTreeMap<u32, ReplayWindow>,
}

impl Inbound {
    fn new(keys: DirectionKeys) -> Self {
        Self {
            context: keys.context(),
            strangers: keys.context(),
            strangers_tried: 0,
            rtp: BTreeMap::new(),
            rtcp: BTreeMap::new(),
            keys,
        }
    }

    fn unprotect_rtp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        let header = wire_header(packet)?;
        if let Some(source) = self.rtp.get_mut(&header.ssrc) {
            let index = source.rollover.extend(header.sequence_number).ok_or(CipherError::Exhausted)?;
            if !source.window.admits(index) {
                return Err(CipherError::Replayed);
            }
            let opened = self.context.decrypt_rtp_with_header(packet, &header);
            let opened = opened.map_err(|_| CipherError::Authentication)?;
            source.record(index);
            return Ok(opened);
        }
        if self.rtp.len() >= SSRCS_MAX {
            return Err(CipherError::TooManySources);
        }
        self.admit_stranger();
        let opened = self.strangers.decrypt_rtp_with_header(packet, &header);
        let opened = opened.map_err(|_| CipherError::Authentication)?;
        // Once more, so that the real context has the rollover counter of the new SSRC.
        self.context.decrypt_rtp_with_header(packet, &header).map_err(|_| CipherError::Authentication)?;
        let mut source = RtpSource::default();
        source.record(u64::from(header.sequence_number));
        self.rtp.insert(header.ssrc, source);
        Ok(opened)
    }

    fn unprotect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = u64::from(self.srtcp_index(packet)?);
        if let Some(window) = self.rtcp.get_mut(&ssrc) {
            if !window.admits(index) {
                return Err(CipherError::Replayed);
            }
            let opened = self.context.decrypt_rtcp(packet).map_err(|_| CipherError::Authentication)?;
            window.record(index);
            return Ok(opened);
        }
        if self.rtcp.len() >= SSRCS_MAX {
            return Err(CipherError::TooManySources);
        }
        self.admit_stranger();
        let opened = self.strangers.decrypt_rtcp(packet).map_err(|_| CipherError::Authentication)?;
        let mut window = ReplayWindow::default();
        window.record(index);
        self.rtcp.insert(ssrc, window);
        Ok(opened)
    }

    /// Makes room for one more unknown SSRC, by forgetting all of them when there were enough.
    fn admit_stranger(&mut self) {
        if self.strangers_tried >= STRANGERS_MAX {
            self.strangers = self.keys.context();
            self.strangers_tried = 0;
        }
        self.strangers_tried += 1;
    }

    /// The SRTCP index, which stands before the tag (RFC 3711 §3.4) or after it (RFC 7714 §9.1).
    fn srtcp_index(&self, packet: &[u8]) -> Result<u32, CipherError> {
        let behind = match self.keys.profile {
            SrtpProfile::AeadAes256Gcm | SrtpProfile::AeadAes128Gcm => 0,
            SrtpProfile::Aes128CmSha1_80 => 10,
        };
        let end = packet.len().checked_sub(behind).ok_or(CipherError::Malformed)?;
        let word = packet[..end].last_chunk().ok_or(CipherError::Malformed)?;
        let word = u32::from_be_bytes(*word);
        if word >> 31 == 0 {
            return Err(CipherError::Malformed); // not encrypted: no WebRTC endpoint sends that
        }
        Ok(word & SRTCP_PACKETS_MAX)
    }
}

/// What is sent.
struct Outbound {
    context: Context,
    rtp: BTreeMap<u32, RtpSource>,
    rtcp: BTreeMap<u32, u32>, // packets sealed
}

impl Outbound {
    fn new(keys: &DirectionKeys) -> Self {
        Self { context: keys.context(), rtp: BTreeMap::new(), rtcp: BTreeMap::new() }
    }

    fn protect_rtp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        let header = wire_header(packet)?;
        if self.rtp.len() >= SSRCS_MAX && !self.rtp.contains_key(&header.ssrc) {
            return Err(CipherError::TooManySources);
        }
        let source = self.rtp.entry(header.ssrc).or_default();
        let index = source.rollover.extend(header.sequence_number).ok_or(CipherError::Exhausted)?;
        if !source.window.admits(index) {
            return Err(CipherError::Reused);
        }
        let sealed =
            self.context.encrypt_rtp_with_header(packet, &header).map_err(|_| CipherError::Exhausted)?;
        source.record(index);
        Ok(sealed)
    }

    fn protect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, CipherError> {
        let ssrc = rtcp_ssrc(packet)?;
        if self.rtcp.len() >= SSRCS_MAX && !self.rtcp.contains_key(&ssrc) {
            return Err(CipherError::TooManySources);
        }
        let sealed = self.rtcp.entry(ssrc).or_default();
        if *sealed >= SRTCP_PACKETS_MAX {
            return Err(CipherError::Exhausted);
        }
        *sealed += 1;
        self.context.encrypt_rtcp(packet).map_err(|_| CipherError::Malformed)
    }
}

/// One SSRC's place in its sequence.
#[derive(Default)]
struct RtpSource {
    rollover: Rollover,
    window: ReplayWindow,
}

impl RtpSource {
    fn record(&mut self, index: u64) {
        self.rollover.last = Some(index);
        self.window.record(index);
    }
}

/// The guess of the rollover counter (RFC 3711 §3.3.1).
///
/// It must be the guess that rtc-srtp makes, or the replay window would watch another index than the one that
/// authenticates. So, as there, it starts from the last packet, which the window keeps near the highest one, and the
/// counter is not taken below zero.
#[derive(Default)]
struct Rollover {
    last: Option<u64>,
}

impl Rollover {
    /// The 48-bit index of a sequence number; `None` when there are no more.
    fn extend(&self, seq: u16) -> Option<u64> {
        let Some(last) = self.last else {
            return Some(u64::from(seq));
        };
        let (roc, last_seq) = (last >> 16, last as u16);
        let roc = if last > u64::from(HALF)
            && last_seq < HALF
            && i32::from(seq) - i32::from(last_seq) > i32::from(HALF)
        {
            roc - 1
        } else if last_seq >= HALF && last_seq - HALF > seq {
            roc + 1
        } else {
            roc
        };
        u32::try_from(roc).is_ok().then_some(roc << 16 | u64::from(seq))
    }
}

/// As much of an RTP header as rtc-srtp uses, of the length that the packet has on the wire.
///
/// rtc-srtp computes the length of a header from what it understood of the extensions, which falls short where RFC 8285
/// lets a receiver stop reading. So it gets all of the header but the first 16 bytes as extension padding.
fn wire_header(packet: &[u8]) -> Result<Header, CipherError> {
    let fixed: &[u8; 12] = packet.first_chunk().ok_or(CipherError::Malformed)?;
    if fixed[0] >> 6 != 2 {
        return Err(CipherError::Malformed);
    }
    let mut length = 12 + 4 * usize::from(fixed[0] & 0x0f);
    if fixed[0] & 0x10 != 0 {
        let extension: &[u8; 4] =
            packet.get(length..).and_then(<[u8]>::first_chunk).ok_or(CipherError::Malformed)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
    }
    if packet.len() < length {
        return Err(CipherError::Malformed);
    }
    Ok(Header {
        version: 2,
        extension: length > 12,
        extensions_padding: length.saturating_sub(16),
        sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
        ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        ..Header::default()
    })
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, CipherError> {
    let fixed: &[u8; 8] = packet.first_chunk().ok_or(CipherError::Malformed)?;
    if fixed[0] >> 6 != 2 {
        return Err(CipherError::Malformed);
    }
    Ok(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROFILES: [SrtpProfile; 3] =
        [SrtpProfile::AeadAes256Gcm, SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80];

    fn keys(profile: SrtpProfile) -> SrtpKeys {
        let material: Vec<u8> =
            (0..2 * (profile.key_bytes() + profile.salt_bytes())).map(|byte| byte as u8).collect();
        SrtpKeys::from_exporter(profile, &material).expect("the right length")
    }

    fn pair(profile: SrtpProfile) -> (SrtpCipher, SrtpCipher) {
        let keys = keys(profile);
        (SrtpCipher::client(&keys).expect("good keys"), SrtpCipher::server(&keys).expect("good keys"))
    }

    /// rtc-srtp's own context for what the DTLS client sends.
    fn oracle(profile: SrtpProfile) -> Context {
        let keys = keys(profile);
        DirectionKeys::new(profile, &keys.client_key, &keys.client_salt).expect("good keys").context()
    }

    fn rtp(ssrc: u32, seq: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(seq.to_be_bytes());
        packet.extend([0, 0, 0, 7]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn receiver_report(ssrc: u32) -> Vec<u8> {
        [&[0x80, 201, 0, 1], &ssrc.to_be_bytes()[..]].concat()
    }

    #[test]
    fn it_speaks_with_rtc_srtp_in_all_profiles() {
        for profile in PROFILES {
            let name = profile.name();
            let (mut client, mut server) = pair(profile);
            for seq in 0..300_u16 {
                let packet = rtp(1, seq.wrapping_mul(7), &vec![seq as u8; usize::from(seq)]);
                let theirs = oracle(profile).encrypt_rtp(&packet).expect("sealed");
                let ours = client.protect_rtp(&packet).expect("sealed");
                assert_eq!(ours, theirs, "{name}, {seq}");
                assert_eq!(server.unprotect_rtp(&theirs).as_deref(), Ok(&packet[..]), "{name}, {seq}");
                assert_eq!(oracle(profile).decrypt_rtp(&ours).expect("opened"), packet, "{name}, {seq}");
            }
            let mut peer = oracle(profile);
            for _ in 0..20 {
                let packet = receiver_report(1);
                let theirs = peer.encrypt_rtcp(&packet).expect("sealed");
                let ours = client.protect_rtcp(&packet).expect("sealed");
                assert_eq!(ours, theirs, "{name}");
                assert_eq!(server.unprotect_rtcp(&theirs).as_deref(), Ok(&packet[..]), "{name}");
                assert_eq!(server.unprotect_rtcp(&ours), Err(CipherError::Replayed), "{name}");
            }
        }
    }

    #[test]
    fn the_directions_have_keys_of_their_own() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let sealed = client.protect_rtp(&rtp(1, 1, b"up")).expect("sealed");
            assert_eq!(client.unprotect_rtp(&sealed), Err(CipherError::Authentication));
            assert!(server.unprotect_rtp(&sealed).is_ok());
            let sealed = server.protect_rtp(&rtp(2, 1, b"down")).expect("sealed");
            assert_eq!(server.unprotect_rtp(&sealed), Err(CipherError::Authentication));
            assert!(client.unprotect_rtp(&sealed).is_ok());
        }
    }

    #[test]
    fn a_packet_is_opened_once_in_any_order() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let sealed: Vec<_> =
                (0..2000).map(|seq| client.protect_rtp(&rtp(1, seq, b"payload")).expect("sealed")).collect();
            for (name, seq, result) in [
                ("first", 500, None),
                ("again", 500, Some(CipherError::Replayed)),
                ("earlier", 498, None),
                ("in between", 499, None),
                ("in between again", 499, Some(CipherError::Replayed)),
                ("a window further", 1522, None),
                ("the last of the window, seen", 499, Some(CipherError::Replayed)),
                ("the last of the window, new", 501, None),
                ("outside", 497, Some(CipherError::Replayed)),
            ] {
                assert_eq!(server.unprotect_rtp(&sealed[seq]).err(), result, "{name}, {}", profile.name());
            }
        }
    }

    #[test]
    fn a_forged_packet_does_not_move_the_window() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let first = client.protect_rtp(&rtp(1, 10, b"payload")).expect("sealed");
            assert!(server.unprotect_rtp(&first).is_ok());
            for seq in [11, 5_000, 30_000, 65_535, 0] {
                let forged = rtp(1, seq, &[0; 40]);
                assert_eq!(server.unprotect_rtp(&forged), Err(CipherError::Authentication), "{seq}");
            }
            let second = client.protect_rtp(&rtp(1, 11, b"payload")).expect("sealed");
            assert!(server.unprotect_rtp(&second).is_ok());
        }
    }

    #[test]
    fn sequence_numbers_may_wrap_and_old_ones_stay_old() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let mut seal =
                |index: u32| client.protect_rtp(&rtp(1, index as u16, &index.to_be_bytes())).expect("sealed");
            let sealed: Vec<_> = (0..140_000_u32).step_by(5).map(|index| (index, seal(index))).collect();
            for pair in sealed.chunks(2) {
                for (index, packet) in pair.iter().rev() {
                    let opened = server.unprotect_rtp(packet);
                    assert_eq!(
                        opened.as_deref(),
                        Ok(&rtp(1, *index as u16, &index.to_be_bytes())[..]),
                        "{index}"
                    );
                }
            }
            for (index, packet) in &sealed {
                let error = server.unprotect_rtp(packet).expect_err("it was here before");
                let is_near = *index + 32_768 > 139_995; // farther away another rollover counter is nearer
                assert!(error == CipherError::Replayed || !is_near, "{index}: {error}");
            }
        }
    }

    /// rtc-srtp starts its guess from the last packet and does not go below zero, so just there a window that went by
    /// the RFC's guess would admit the replay of a packet 32 thousand places old.
    #[test]
    fn the_window_watches_the_index_that_rtc_srtp_authenticates() {
        let (mut client, mut server) = pair(SrtpProfile::AeadAes128Gcm);
        let mut seal = |seq| client.protect_rtp(&rtp(1, seq, b"payload")).expect("sealed");
        let sealed: Vec<_> = [100, 16_000, 32_500, 33_000].map(&mut seal).into();
        for order in [0, 1, 3, 2] {
            assert!(server.unprotect_rtp(&sealed[order]).is_ok(), "{order}");
        }
        assert_eq!(server.unprotect_rtp(&sealed[0]), Err(CipherError::Replayed));
    }

    #[test]
    fn the_wire_says_where_the_payload_begins() {
        // Extension blocks that rtc-srtp would measure as shorter or longer than they are on the wire.
        let stop = [0xbe, 0xde, 0, 2, 0x10, 0x55, 0xf0, 0x21, 0x22, 0x23, 0x24, 0x25];
        let overrun =
            [0xbe, 0xde, 0, 1, 0x1f, 0x55, 0x55, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let two_byte = [0x10, 0x05, 0, 1, 1, 2, 3, 4];
        for profile in PROFILES {
            for (name, extension, header_bytes) in [
                ("ID 15", &stop[..], 24),
                ("an overrun", &overrun, 20),
                ("another two-byte form", &two_byte, 20),
            ] {
                let mut packet = rtp(1, 1, &[extension, &[0xaa; 50]].concat());
                packet[0] |= 0x10;
                let (mut client, mut server) = pair(profile);
                let sealed = client.protect_rtp(&packet).expect("sealed");
                assert_eq!(
                    sealed[..header_bytes],
                    packet[..header_bytes],
                    "{name}: the header stays readable"
                );
                assert_eq!(server.unprotect_rtp(&sealed).as_deref(), Ok(&packet[..]), "{name}");

                // The key stream begins with the payload, so the same payload behind a plain block of the same length,
                // which rtc-srtp measures rightly, has the same ciphertext.
                let mut plain = packet.clone();
                let words = (header_bytes - 16) / 4;
                plain[12..16].copy_from_slice(&[0x99, 0x99, 0, words as u8]);
                let theirs = oracle(profile).encrypt_rtp(&plain).expect("sealed");
                assert_eq!(sealed[header_bytes..packet.len()], theirs[header_bytes..packet.len()], "{name}");
            }
            let mut packet = rtp(1, 1, &[&stop[..], &[0xaa; 50]].concat());
            packet[0] |= 0x10;
            let sealed = pair(profile).0.protect_rtp(&packet).expect("sealed");
            let theirs = oracle(profile).decrypt_rtp(&sealed);
            assert!(theirs.is_err() || theirs.is_ok_and(|opened| opened != packet), "then the guard may go");
        }
    }

    #[test]
    fn a_header_that_lies_about_its_length_is_malformed() {
        for (name, packet) in [
            ("nothing", vec![]),
            ("eleven bytes", rtp(1, 1, b"")[..11].to_vec()),
            ("another version", [&[0x40], &rtp(1, 1, b"payload")[1..]].concat()),
            ("contributors beyond the end", [&[0x8f], &rtp(1, 1, &[0; 59])[1..]].concat()),
            ("an extension cut short", [&[0x90], &rtp(1, 1, &[0xbe, 0xde, 0])[1..]].concat()),
            // 20 bytes that made the line of rtp before this one panic.
            ("a lying extension", [&[0x90], &rtp(1, 1, &[0xbe, 0xde, 0, 1, 0x1f, 0, 0])[1..]].concat()),
            (
                "a long lying extension",
                [&[0x90], &rtp(1, 1, &[0xbe, 0xde, 0xff, 0xff, 0, 0, 0, 0])[1..]].concat(),
            ),
        ] {
            for profile in PROFILES {
                let (mut client, mut server) = pair(profile);
                assert_eq!(server.unprotect_rtp(&packet), Err(CipherError::Malformed), "{name}");
                assert_eq!(client.protect_rtp(&packet), Err(CipherError::Malformed), "{name}");
            }
        }
    }

    #[test]
    fn a_header_without_payload_is_fine() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let sealed = client.protect_rtp(&rtp(1, 1, b"")).expect("sealed");
            assert_eq!(server.unprotect_rtp(&sealed).as_deref(), Ok(&rtp(1, 1, b"")[..]));
            assert_eq!(
                server.unprotect_rtp(&rtp(1, 2, b"")),
                Err(CipherError::Authentication),
                "without a tag"
            );
        }
    }

    #[test]
    fn srtcp_that_is_not_encrypted_is_not_taken() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let mut sealed = client.protect_rtcp(&receiver_report(1)).expect("sealed").to_vec();
            let word = sealed.len() - if profile == SrtpProfile::Aes128CmSha1_80 { 14 } else { 4 };
            assert_eq!(sealed[word], 0x80, "here is the E bit");
            sealed[word] = 0;
            if profile == SrtpProfile::Aes128CmSha1_80 {
                assert!(oracle(profile).decrypt_rtcp(&sealed).is_ok(), "rtc-srtp takes it unauthenticated");
            }
            assert_eq!(server.unprotect_rtcp(&sealed), Err(CipherError::Malformed));
        }
    }

    #[test]
    fn spoofed_ssrcs_take_no_memory_and_disturb_nobody() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            for number in 0..100_000_u32 {
                let ssrc = 1_000 + number;
                assert_eq!(server.unprotect_rtp(&rtp(ssrc, 1, &[0; 40])), Err(CipherError::Authentication));
                let spoofed = [&receiver_report(ssrc)[..], &[0x80; 20]].concat();
                assert_eq!(server.unprotect_rtcp(&spoofed), Err(CipherError::Authentication));
                if number % 100 == 0 {
                    let seq = (number / 100) as u16;
                    let sealed = client.protect_rtp(&rtp(1, seq, b"payload")).expect("sealed");
                    assert!(server.unprotect_rtp(&sealed).is_ok(), "{number}");
                    let sealed = client.protect_rtcp(&receiver_report(1)).expect("sealed");
                    assert!(server.unprotect_rtcp(&sealed).is_ok(), "{number}");
                }
                if number % 1_000 == 0 {
                    let newcomer = 2 + number / 1_000;
                    let sealed = client.protect_rtp(&rtp(newcomer, 65_535, b"payload")).expect("sealed");
                    assert!(server.unprotect_rtp(&sealed).is_ok(), "a newcomer in the crowd, {number}");
                    let sealed = client.protect_rtp(&rtp(newcomer, 0, b"payload")).expect("sealed");
                    assert!(server.unprotect_rtp(&sealed).is_ok(), "and over the wrap, {number}");
                }
                assert!(server.inbound.strangers_tried <= STRANGERS_MAX);
            }
            assert_eq!(server.inbound.rtp.len(), 1 + 100);
            assert_eq!(server.inbound.rtcp.len(), 1);
        }
    }

    #[test]
    fn more_ssrcs_than_a_peer_may_have_are_refused() {
        let (mut client, mut server) = pair(SrtpProfile::AeadAes128Gcm);
        let (_, mut other) = pair(SrtpProfile::AeadAes128Gcm);
        for ssrc in 0..SSRCS_MAX as u32 {
            let sealed = client.protect_rtp(&rtp(ssrc, 1, b"")).expect("sealed");
            assert!(server.unprotect_rtp(&sealed).is_ok());
            let sealed = client.protect_rtcp(&receiver_report(ssrc)).expect("sealed");
            assert!(server.unprotect_rtcp(&sealed).is_ok());
        }
        assert_eq!(client.protect_rtp(&rtp(999, 1, b"")), Err(CipherError::TooManySources));
        assert_eq!(client.protect_rtcp(&receiver_report(999)), Err(CipherError::TooManySources));
        let (mut another, _) = pair(SrtpProfile::AeadAes128Gcm);
        let sealed = another.protect_rtp(&rtp(999, 1, b"")).expect("sealed");
        assert_eq!(server.unprotect_rtp(&sealed), Err(CipherError::TooManySources));
        assert!(other.unprotect_rtp(&sealed).is_ok(), "it was authentic");
        let sealed = client.protect_rtp(&rtp(7, 2, b"")).expect("sealed");
        assert!(server.unprotect_rtp(&sealed).is_ok(), "the known ones go on");
    }

    #[test]
    fn a_key_seals_an_index_once_and_not_for_ever() {
        let (mut client, _) = pair(SrtpProfile::AeadAes256Gcm);
        for (seq, result) in [
            (2_000, None),
            (2_000, Some(CipherError::Reused)),
            (1_999, None),
            (1_999, Some(CipherError::Reused)),
            (900, Some(CipherError::Reused)),
        ] {
            assert_eq!(client.protect_rtp(&rtp(1, seq, b"payload")).err(), result, "{seq}");
        }
        client.outbound.rtp.get_mut(&1).expect("it sent").rollover.last = Some((1 << 48) - 1);
        assert_eq!(client.protect_rtp(&rtp(1, 0, b"payload")).err(), Some(CipherError::Exhausted));
        client.outbound.rtcp.insert(1, SRTCP_PACKETS_MAX);
        assert_eq!(client.protect_rtcp(&receiver_report(1)).err(), Some(CipherError::Exhausted));
        assert!(client.protect_rtcp(&receiver_report(2)).is_ok());
    }

    #[test]
    fn keys_of_the_wrong_length_are_refused() {
        let mut keys = keys(SrtpProfile::AeadAes256Gcm);
        keys.server_salt.pop();
        let error = CipherError::KeyLength { found: 11, needed: 12 };
        assert_eq!(SrtpCipher::server(&keys).err(), Some(error));
        assert_eq!(SrtpCipher::client(&keys).err(), Some(error));
    }

    #[test]
    fn a_worker_may_be_moved_to_its_thread() {
        fn assert_send<T: Send>() {}
        assert_send::<SrtpCipher>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arbitrary_bytes_never_panic_and_never_authenticate(
            profile in prop::sample::select(&PROFILES[..]),
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..40),
            first in prop::option::of(0x80_u8..=0x9f),
        ) {
            let (mut client, mut server) = pair(profile);
            for mut packet in packets {
                if let (Some(first), Some(byte)) = (first, packet.first_mut()) {
                    *byte = first;
                }
                prop_assert!(server.unprotect_rtp(&packet).is_err());
                prop_assert!(server.unprotect_rtcp(&packet).is_err());
                let _ = client.protect_rtp(&packet);
                let _ = client.protect_rtcp(&packet);
            }
        }

        #[test]
        fn altered_packets_never_panic_and_never_authenticate(
            profile in prop::sample::select(&PROFILES[..]), at in any::<prop::sample::Index>(), xor in 1_u8.., cut in 0_usize..70
        ) {
            let (mut client, mut server) = pair(profile);
            for mut sealed in [
                client.protect_rtp(&rtp(1, 1, &[7; 30])).expect("sealed"),
                client.protect_rtcp(&receiver_report(1)).expect("sealed"),
            ] {
                let at = at.index(sealed.len());
                sealed[at] ^= xor;
                prop_assert!(server.unprotect_rtp(&sealed).is_err());
                prop_assert!(server.unprotect_rtcp(&sealed).is_err());
                sealed.truncate(cut);
                prop_assert!(server.unprotect_rtp(&sealed).is_err());
                prop_assert!(server.unprotect_rtcp(&sealed).is_err());
            }
        }

        /// Whatever the gaps and the order, each packet is opened exactly once.
        #[test]
        fn it_follows_rtc_srtp_through_gaps_and_reordering(
            start in any::<u16>(), gaps in prop::collection::vec(1_u64..9_000, 1..120), swaps in prop::collection::vec(any::<bool>(), 120)
        ) {
            let profile = SrtpProfile::AeadAes128Gcm;
            let mut index = u64::from(start);
            let (mut sender, mut server) = (oracle(profile), pair(profile).1);
            let mut packets = Vec::new();
            for gap in gaps {
                let burst = index..index + 3;
                packets.extend(burst.map(|index| sender.encrypt_rtp(&rtp(1, index as u16, b"payload")).expect("sealed")));
                index += 3 + gap;
            }
            for (burst, swap) in packets.chunks_mut(3).skip(1).zip(swaps) {
                if swap {
                    burst.reverse();
                }
            }
            for packet in &packets {
                prop_assert!(server.unprotect_rtp(packet).is_ok());
                prop_assert_eq!(server.unprotect_rtp(packet), Err(CipherError::Replayed));
            }
        }
    }
}
