//! What sealing and opening a packet costs, against the bare cipher and against rtc-srtp.
//!
//! In: nothing. Out: a table of ns a packet, of 1200 and of 160 bytes on the wire before sealing: medians of many rounds,
//! each of which measures everything, so that a busy machine is busy for all.

#![expect(clippy::print_stdout, reason = "it is a tool")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use core::ops::Range;
use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use sfu::network::cipher::{
    OVERHEAD_MAX, PendingTag, Sealed, SrtpCipher, SrtpKeys, SrtpProfile, authenticate,
};
use srtp::context::Context;
use srtp::protection_profile::ProtectionProfile;

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

const HEADER: usize = 28; // bytes: with the transport-wide number, the time sent and the section
const SIZES: [usize; 2] = [1_200, 160]; // bytes: a picture's packet, a sound's
const PACKETS: usize = 512; // a round: a multiple of all batches
const ROUNDS: usize = 101;
const BATCHES: [usize; 5] = [1, 4, 8, 16, 64];
const TAG: usize = 16; // bytes: AES-GCM's

fn main() {
    println!("{:46}{:>9}{:>9}", "ns a packet", "1200 B", "160 B");
    for (profile, name) in [
        (SrtpProfile::AeadAes128Gcm, "AES-128-GCM"),
        (SrtpProfile::AeadAes256Gcm, "AES-256-GCM"),
        (SrtpProfile::Aes128CmSha1_80, "AES-128-CM"),
    ] {
        let [large, small] = SIZES.map(|size| Bench::new(profile, size).medians());
        for ((what, large), (_, small)) in large.into_iter().zip(small) {
            println!("{:46}{large:>9.1}{small:>9.1}", format!("{name}, {what}"));
        }
    }
}

/// One profile with packets of one size, in a slab.
struct Bench {
    profile: SrtpProfile,
    keys: SrtpKeys,
    size: usize,
    payload: Vec<u8>,
    slab: Vec<u8>,
    pending: Vec<(Range<usize>, PendingTag)>,
}

impl Bench {
    fn new(profile: SrtpProfile, size: usize) -> Self {
        let material = match profile {
            SrtpProfile::AeadAes256Gcm => 88,
            SrtpProfile::AeadAes128Gcm => 56,
            SrtpProfile::Aes128CmSha1_80 => 60,
        };
        Self {
            profile,
            keys: SrtpKeys::from_exporter(profile, &vec![7; material]).expect("the right length"),
            size,
            payload: vec![5; size - HEADER],
            slab: vec![0; PACKETS * (size + OVERHEAD_MAX)],
            pending: Vec::with_capacity(PACKETS),
        }
    }

    /// What was measured, and the median of it in ns a packet.
    fn medians(mut self) -> Vec<(String, f64)> {
        let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
        for _ in 0..ROUNDS {
            let figures = self.round();
            rows.resize_with(figures.len(), Default::default);
            for (row, (what, figure)) in rows.iter_mut().zip(figures) {
                row.0 = what;
                row.1.push(figure);
            }
        }
        let median = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        rows.into_iter().map(|(what, all)| (what, median(all))).collect()
    }

    fn round(&mut self) -> Vec<(String, f64)> {
        let mut figures = Vec::new();
        match self.profile {
            SrtpProfile::AeadAes256Gcm | SrtpProfile::AeadAes128Gcm => {
                figures.push(("bare seal, header copied".into(), self.bare_seal()));
                figures.push(("bare open".into(), self.bare_open()));
                figures.push(("seal_rtp".into(), self.seal_rtp(1)));
            }
            SrtpProfile::Aes128CmSha1_80 => {
                for batch in BATCHES {
                    figures.push((format!("seal_rtp and tags, by {batch}"), self.seal_rtp(batch)));
                }
            }
        }
        figures.push(("seal_rtp_in_place".into(), self.seal_rtp_in_place()));
        figures.push(("open_rtp".into(), self.open_rtp()));
        let (protect, unprotect) = self.rtc_srtp();
        figures.push(("rtc-srtp protect".into(), protect));
        figures.push(("rtc-srtp unprotect".into(), unprotect));
        figures
    }

    fn bare_key(&self) -> LessSafeKey {
        let key = match self.profile {
            SrtpProfile::AeadAes256Gcm => UnboundKey::new(&AES_256_GCM, &[7; 32]),
            SrtpProfile::AeadAes128Gcm | SrtpProfile::Aes128CmSha1_80 => {
                UnboundKey::new(&AES_128_GCM, &[7; 16])
            }
        };
        LessSafeKey::new(key.expect("the right length"))
    }

    fn bare_seal(&mut self) -> f64 {
        let (key, payload) = (self.bare_key(), &self.payload);
        let mut number = 0;
        each(self.slab.chunks_mut(self.size + OVERHEAD_MAX), |out| {
            out[..HEADER].copy_from_slice(&header(number));
            number += 1;
            let (header, behind) = out.split_at_mut(HEADER);
            let (text, tag) = behind.split_at_mut(payload.len());
            let (nonce, header) = (nonce(number), Aad::from(&*header));
            let sealed =
                key.seal_out_of_place_scatter(nonce, header, black_box(payload), text, &[], &mut tag[..TAG]);
            sealed.expect("sealed");
        })
    }

    /// What `bare_seal` sealed.
    fn bare_open(&mut self) -> f64 {
        let (key, size) = (self.bare_key(), self.size);
        let mut number = 0;
        each(self.slab.chunks_mut(size + OVERHEAD_MAX), |packet| {
            number += 1;
            let (header, sealed) = packet[..size + TAG].split_at_mut(HEADER);
            let opened = key.open_in_place(nonce(number), Aad::from(&*header), sealed);
            black_box(opened.expect("opened"));
        })
    }

    /// With the header copied, as for the bare cipher, and the tags of `batch` packets at once where they are pending.
    fn seal_rtp(&mut self, batch: usize) -> f64 {
        let mut cipher = SrtpCipher::client(&self.keys).expect("good keys");
        let (room, payload, pending) = (self.size + OVERHEAD_MAX, &self.payload, &mut self.pending);
        let mut number = 0;
        let began = Instant::now();
        for slab in self.slab.chunks_mut(room * batch) {
            pending.clear();
            for (place, out) in slab.chunks_mut(room).enumerate() {
                out[..HEADER].copy_from_slice(&header(number));
                number += 1;
                let Sealed { length, tag } =
                    cipher.seal_rtp(out, HEADER, black_box(payload)).expect("sealed");
                pending.extend(tag.map(|tag| (place * room..place * room + length, tag)));
            }
            authenticate(slab, pending);
        }
        began.elapsed().as_secs_f64() * 1e9 / PACKETS as f64
    }

    fn seal_rtp_in_place(&mut self) -> f64 {
        let mut cipher = SrtpCipher::client(&self.keys).expect("good keys");
        let payload = self.size - HEADER;
        let mut number = 0;
        each(self.slab.chunks_mut(self.size + OVERHEAD_MAX), |out| {
            out[..HEADER].copy_from_slice(&header(number));
            number += 1;
            let Sealed { length, tag } = cipher.seal_rtp_in_place(out, HEADER, payload).expect("sealed");
            if let Some(tag) = tag {
                authenticate(out, &[(0..length, tag)]);
            }
        })
    }

    /// What `seal_rtp_in_place` sealed.
    fn open_rtp(&mut self) -> f64 {
        let mut cipher = SrtpCipher::server(&self.keys).expect("good keys");
        let tag = if self.profile == SrtpProfile::Aes128CmSha1_80 { 10 } else { TAG };
        let size = self.size + tag;
        each(self.slab.chunks_mut(self.size + OVERHEAD_MAX), |packet| {
            black_box(cipher.open_rtp(&mut packet[..size]).expect("opened"));
        })
    }

    fn rtc_srtp(&mut self) -> (f64, f64) {
        let profile = match self.profile {
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let context = || {
            let (key, salt) = (&self.keys.client_key, &self.keys.client_salt);
            Context::new(key, salt, profile, None, None, PROVIDER.crypto()).expect("good keys")
        };
        let (mut sender, mut receiver) = (context(), context());
        let mut packet = [&header(0)[..], &self.payload].concat();
        let mut sealed = Vec::with_capacity(PACKETS);
        let protect = each(0..PACKETS, |number| {
            packet[..HEADER].copy_from_slice(&header(number as u16));
            sealed.push(sender.encrypt_rtp(&packet).expect("sealed"));
        });
        let unprotect = each(&sealed, |packet| {
            black_box(receiver.decrypt_rtp(packet).expect("opened"));
        });
        (protect, unprotect)
    }
}

/// How long one took, in ns.
fn each<T>(all: impl IntoIterator<Item = T>, work: impl FnMut(T)) -> f64 {
    let began = Instant::now();
    all.into_iter().for_each(work);
    began.elapsed().as_secs_f64() * 1e9 / PACKETS as f64
}

/// A header with three extensions; all packets are of one SSRC.
fn header(number: u16) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&[0x90, 96]);
    header[2..4].copy_from_slice(&number.to_be_bytes());
    header[8..12].copy_from_slice(&[1, 2, 3, 4]);
    header[12..].copy_from_slice(&[0xbe, 0xde, 0, 3, 0x31, 1, 2, 0x22, 1, 2, 3, 0x10, b'0', 0, 0, 0]);
    header
}

fn nonce(number: u16) -> Nonce {
    let mut nonce = [9; 12];
    nonce[..2].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
