//! Tests of the guards, in all profiles, with rtc-srtp as the oracle of what is on the wire.

use ::srtp::context::Context;
use ::srtp::protection_profile::ProtectionProfile;
use proptest::prelude::*;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;

use super::super::sources::SSRCS_MAX;
use super::super::{OVERHEAD_MAX, authenticate};
use super::*;

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

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
    let profile = match profile {
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    Context::new(&keys.client_key, &keys.client_salt, profile, None, None, PROVIDER.crypto())
        .expect("the lengths are right and the provider has these algorithms")
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

/// A replay from half the sequence numbers ago seems to be of the next round (RFC 3711 §3.3.1), where it does not authenticate.
#[test]
fn a_replay_too_old_to_tell_its_round_is_refused() {
    let (mut client, mut server) = pair(SrtpProfile::AeadAes128Gcm);
    let mut seal = |seq| client.protect_rtp(&rtp(1, seq, b"payload")).expect("sealed");
    let sealed: Vec<_> = [100, 16_000, 32_500, 33_000].map(&mut seal).into();
    for order in [0, 1, 3, 2] {
        assert!(server.unprotect_rtp(&sealed[order]).is_ok(), "{order}");
    }
    assert_eq!(server.unprotect_rtp(&sealed[0]), Err(CipherError::Authentication));
    assert_eq!(server.unprotect_rtp(&sealed[1]), Err(CipherError::Replayed));
}

#[test]
fn out_of_room_nothing_is_sealed_and_no_number_is_used_up() {
    for profile in PROFILES {
        let (mut client, mut server) = pair(profile);
        let packet = rtp(1, 1, b"payload");
        let report = receiver_report(1);
        let (rtp_room, rtcp_room) = match profile {
            SrtpProfile::AeadAes256Gcm | SrtpProfile::AeadAes128Gcm => (packet.len() + 16, report.len() + 20),
            SrtpProfile::Aes128CmSha1_80 => (packet.len() + 10, report.len() + 14),
        };
        let mut out = [&packet[..], &[0; OVERHEAD_MAX]].concat();
        for room in 0..rtp_room {
            let result = client.seal_rtp(&mut out[..room], 12, b"payload");
            assert_eq!(result.err(), Some(CipherError::NoRoom), "{room}");
            let result = client.seal_rtp_in_place(&mut out[..room], 12, 7);
            assert_eq!(result.err(), Some(CipherError::NoRoom), "{room}");
        }
        assert_eq!(client.seal_rtp(&mut out, 12, &vec![0; 65_536]).err(), Some(CipherError::Malformed));
        assert_eq!(client.seal_rtp_in_place(&mut out, 12, usize::MAX).err(), Some(CipherError::Malformed));
        assert_eq!(
            client.seal_rtp(&mut out, 13, b"ayload").err(),
            Some(CipherError::Malformed),
            "not the header"
        );
        assert!(client.outbound.rtp.find(Ssrc(1)).is_none());
        let sealed = client.seal_rtp(&mut out[..rtp_room], 12, b"payload").expect("just enough");
        assert_eq!(sealed.length, rtp_room);
        if let Some(tag) = sealed.tag {
            authenticate(&mut out, &[(0..sealed.length, tag)]);
        }
        assert_eq!(server.unprotect_rtp(&out[..rtp_room]), Ok(packet));

        let mut out = [&report[..], &[0; OVERHEAD_MAX]].concat();
        for room in 0..rtcp_room {
            let result = client.seal_rtcp(&mut out[..room], report.len());
            assert_eq!(result, Err(CipherError::NoRoom), "{room}");
        }
        assert_eq!(client.seal_rtcp(&mut out, usize::MAX), Err(CipherError::NoRoom));
        assert_eq!(client.seal_rtcp(&mut out[..rtcp_room], report.len()), Ok(rtcp_room));
        assert_eq!(server.unprotect_rtcp(&out[..rtcp_room]), Ok(report));
    }
}

#[test]
fn the_wire_says_where_the_payload_begins() {
    // Extension blocks that rtc-srtp would measure as shorter or longer than they are on the wire.
    let stop = [0xbe, 0xde, 0, 2, 0x10, 0x55, 0xf0, 0x21, 0x22, 0x23, 0x24, 0x25];
    let overrun = [0xbe, 0xde, 0, 1, 0x1f, 0x55, 0x55, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let two_byte = [0x10, 0x05, 0, 1, 1, 2, 3, 4];
    for profile in PROFILES {
        for (name, extension, header_bytes) in
            [("ID 15", &stop[..], 24), ("an overrun", &overrun, 20), ("another two-byte form", &two_byte, 20)]
        {
            let mut packet = rtp(1, 1, &[extension, &[0xaa; 50]].concat());
            packet[0] |= 0x10;
            let (mut client, mut server) = pair(profile);
            let sealed = client.protect_rtp(&packet).expect("sealed");
            assert_eq!(sealed[..header_bytes], packet[..header_bytes], "{name}: the header stays readable");
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
        assert_eq!(server.unprotect_rtp(&rtp(1, 2, b"")), Err(CipherError::Authentication), "without a tag");
    }
}

#[test]
fn srtcp_that_is_not_encrypted_is_not_taken() {
    for profile in PROFILES {
        let (mut client, mut server) = pair(profile);
        let mut sealed = client.protect_rtcp(&receiver_report(1)).expect("sealed");
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
    let at = client.outbound.rtp.find(Ssrc(1)).expect("it sent");
    client.outbound.rtp[at].highest = Some((1 << 48) - 1);
    assert_eq!(client.protect_rtp(&rtp(1, 0, b"payload")).err(), Some(CipherError::Exhausted));
    client.outbound.rtcp.insert(Ssrc(1), SRTCP_PACKETS_MAX).expect("there is room");
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

    /// Contributors, extensions, any length, over wraps and a little out of order: what we seal rtc-srtp opens, and the
    /// reverse, byte for byte; apart and in place are the same.
    #[test]
    fn it_agrees_with_rtc_srtp(
        profile in prop::sample::select(&PROFILES[..]),
        start in 60_000_u16..,
        packets in prop::collection::vec(arbitrary_packet(), 1..40),
    ) {
        let (mut client, mut server) = pair(profile);
        let (mut again, _) = pair(profile);
        let (mut sender, mut receiver) = (oracle(profile), oracle(profile));
        let mut index = u32::from(start);
        for mut packet in packets {
            index += packet.step;
            packet.bytes[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            let (header, payload) = packet.bytes.split_at(packet.header);
            let mut apart = [header, &vec![0xee; payload.len() + OVERHEAD_MAX]].concat();
            let sealed = client.seal_rtp(&mut apart, packet.header, payload).expect("sealed");
            apart.truncate(sealed.length);
            if let Some(tag) = sealed.tag {
                authenticate(&mut apart, &[(0..sealed.length, tag)]);
            }
            prop_assert_eq!(again.protect_rtp(&packet.bytes), Ok(apart.clone()));

            let theirs = measured_header(&packet);
            let wire = sender.encrypt_rtp_with_header(&packet.bytes, &theirs).expect("sealed");
            prop_assert_eq!(&wire, &apart);
            let opened = receiver.decrypt_rtp_with_header(&apart, &theirs).expect("opened");
            prop_assert_eq!(&opened, &packet.bytes);
            prop_assert_eq!(server.unprotect_rtp(&wire), Ok(packet.bytes));
        }
    }

    #[test]
    fn it_agrees_with_rtc_srtp_about_rtcp(
        profile in prop::sample::select(&PROFILES[..]),
        packets in prop::collection::vec((0..3_u32, prop::collection::vec(any::<u8>(), 0..1_400)), 1..20),
    ) {
        let (mut client, mut server) = pair(profile);
        let (mut sender, mut receiver) = (oracle(profile), oracle(profile));
        for (ssrc, body) in packets {
            let packet = [&receiver_report(ssrc)[..], &body].concat();
            let sealed = client.protect_rtcp(&packet).expect("sealed");
            prop_assert_eq!(&sender.encrypt_rtcp(&packet).expect("sealed"), &sealed);
            prop_assert_eq!(&receiver.decrypt_rtcp(&sealed).expect("opened"), &packet);
            prop_assert_eq!(server.unprotect_rtcp(&sealed), Ok(packet));
        }
    }
}

#[derive(Debug, Clone)]
struct Sample {
    bytes: Vec<u8>,
    header: usize,
    step: u32, // sequence numbers since the last one
}

/// A packet with any contributors, an extension block of any bytes, which may be of one or two-byte form or neither.
fn arbitrary_packet() -> impl Strategy<Value = Sample> {
    let profiles = prop::sample::select(&[[0xbe, 0xde], [0x10, 0x00], [0x12, 0x34]][..]);
    let extension = prop::option::of((profiles, prop::collection::vec(any::<[u8; 4]>(), 0..8)));
    let payload = prop::collection::vec(any::<u8>(), 0..=1_400);
    (1..3_u32, 0..=15_u8, extension, payload, any::<u8>()).prop_map(
        |(ssrc, contributors, extension, payload, second)| {
            let mut bytes = rtp(ssrc, 0, &[7; 60][..4 * usize::from(contributors)]);
            bytes[0] |= contributors;
            bytes[1] = second;
            if let Some((profile, words)) = extension {
                bytes[0] |= 0x10;
                bytes.extend(profile);
                bytes.extend((words.len() as u16).to_be_bytes());
                bytes.extend(words.as_flattened());
            }
            let header = bytes.len();
            bytes.extend(payload);
            Sample { bytes, header, step: 1 + u32::from(second) }
        },
    )
}

/// A header that rtc-srtp measures as long as it is on the wire, whatever it makes of the extensions.
fn measured_header(packet: &Sample) -> rtp::header::Header {
    let view = RtpView::parse_protected(&packet.bytes).expect("a packet");
    rtp::header::Header {
        version: 2,
        extension: packet.header > 12,
        extensions_padding: packet.header.saturating_sub(16),
        sequence_number: view.seq().0,
        ssrc: view.ssrc().0,
        ..rtp::header::Header::default()
    }
}
