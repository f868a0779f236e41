//! Once an SSRC is known its packets ask for no memory: an allocator that counts says so.
//!
//! Both sides: the first packet of an SSRC may allocate, and the count sees what allocates.

use sfu::network::cipher::{OVERHEAD_MAX, SrtpCipher, SrtpKeys, SrtpProfile, authenticate};

/// How often this thread asks for memory while something is done.
fn asked(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

const HEADER: usize = 12; // bytes
const PAYLOAD: usize = 1_100; // bytes
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];
const ROOM: usize = HEADER + PAYLOAD + OVERHEAD_MAX; // bytes a packet
const BATCH: usize = 20; // packets
const BATCHES: u16 = 100;

#[test]
fn a_packet_of_a_known_ssrc_asks_for_no_memory() {
    for (profile, material) in [
        (SrtpProfile::AeadAes256Gcm, 88),
        (SrtpProfile::AeadAes128Gcm, 56),
        (SrtpProfile::Aes128CmSha1_80, 60),
    ] {
        let keys = SrtpKeys::from_exporter(profile, &vec![7; material]).expect("the right length");
        let mut client = SrtpCipher::client(&keys).expect("good keys");
        let mut server = SrtpCipher::server(&keys).expect("good keys");
        let (mut slab, mut pending) = (vec![0; BATCH * ROOM], Vec::with_capacity(BATCH));
        let mut batch = |number: u16| {
            pending.clear();
            for (place, out) in slab.chunks_mut(ROOM).enumerate() {
                let seq = number * BATCH as u16 + place as u16;
                out[..HEADER].copy_from_slice(&[0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                out[2..4].copy_from_slice(&seq.to_be_bytes());
                let sealed = client.seal_rtp(out, HEADER, &[5; PAYLOAD]).expect("sealed");
                pending.extend(sealed.tag.map(|tag| (place * ROOM..place * ROOM + sealed.length, tag)));
            }
            authenticate(&mut slab, &pending);
            let tag = if profile == SrtpProfile::Aes128CmSha1_80 { 10 } else { 16 };
            for packet in slab.chunks_mut(ROOM) {
                let opened = server.open_rtp(&mut packet[..HEADER + PAYLOAD + tag]);
                assert_eq!(opened, Ok(HEADER + PAYLOAD));
            }
            slab[..REPORT.len()].copy_from_slice(&REPORT);
            let length = client.seal_rtcp(&mut slab, REPORT.len()).expect("sealed");
            assert_eq!(server.open_rtcp(&mut slab[..length]), Ok(REPORT.len()));
        };
        assert!(asked(|| batch(0)) > 0, "the first packet makes room for its SSRC");
        let later = asked(|| (1..BATCHES).for_each(&mut batch));
        assert_eq!(later, 0, "{}", profile.name());
    }
}
