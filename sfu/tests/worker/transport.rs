//! A client's end of the transport: ICE as the controlling agent, DTLS as the client, SRTP.
//!
//! In: datagrams, `now`. Out: `poll_transmit`, decrypted packets. Time: `poll_timeout`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use dimpl::{Dtls, Output};
use proto::seed::Chance;
use proto::time::{Instant, earliest};
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use sfu::network::cipher::{SrtpCipher, SrtpKeys, SrtpProfile};
use sfu::network::demux::{PacketKind, classify};
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use stun::textattrs::Username;

use super::offer::{Answered, TransportOffer};

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

const CHECK_FIRST: Duration = Duration::from_millis(50); // Chromium's interval while nothing is proved
const CHECK_LATER: Duration = Duration::from_millis(2_500); // Chromium's interval on the path that it uses

/// A packet that came, decrypted.
#[derive(Debug)]
pub(crate) enum Packet {
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
}

/// See the module's description.
pub(crate) struct Transport {
    offer: TransportOffer,
    theirs: Option<(String, String)>,
    transaction: [u8; 12],
    check_at: Option<Instant>,
    proved_at: Option<Instant>,
    dtls: Dtls,
    epoch: std::time::Instant,
    begun: bool,
    dtls_at: Option<Instant>,
    peer_fingerprint: Option<[u8; 32]>,
    pub(crate) answer_fingerprint: String,
    cipher: Option<SrtpCipher>,
    /// When the keys were there.
    pub(crate) open_at: Option<Instant>,
    out: VecDeque<Vec<u8>>,
    chance: Chance,
}

impl Transport {
    pub(crate) fn new(now: Instant, epoch: std::time::Instant, mut chance: Chance) -> Self {
        let identity = dimpl::certificate::generate_self_signed_certificate().expect("a certificate");
        let fingerprint = sha256(&identity.certificate);
        let config = dimpl::Config::builder().mtu(1150).flight_start_rto(Duration::from_millis(400));
        let config = config.dangerously_set_rng_seed(chance.long_number()).build().expect("valid");
        let at = epoch + Duration::from_nanos(now.as_nanos());
        let mut dtls = Dtls::new_12(Arc::new(config), identity, at);
        dtls.set_active(true);
        let offer = TransportOffer { ufrag: chance.text(4), pwd: chance.text(24), fingerprint };
        Self {
            offer,
            theirs: None,
            transaction: [0; 12],
            check_at: None,
            proved_at: None,
            dtls,
            epoch,
            begun: false,
            dtls_at: None,
            peer_fingerprint: None,
            answer_fingerprint: String::new(),
            cipher: None,
            open_at: None,
            out: VecDeque::new(),
            chance,
        }
    }

    /// What an offer shall say; a browser keeps its credentials until ICE restarts.
    pub(crate) fn offer(&self) -> &TransportOffer {
        &self.offer
    }

    /// Offers another certificate's digest than the one that DTLS will show.
    pub(crate) fn lie_about_fingerprint(&mut self) {
        self.offer.fingerprint[0] ^= 1;
    }

    /// New credentials for the next offer.
    pub(crate) fn restart(&mut self) {
        self.offer.ufrag = self.chance.text(4);
        self.offer.pwd = self.chance.text(24);
    }

    /// The answer is there: checks begin, or go on with new credentials.
    pub(crate) fn handle_answer(&mut self, now: Instant, answered: &Answered) {
        let theirs = Some((answered.ufrag.clone(), answered.pwd.clone()));
        answered.fingerprint.clone_into(&mut self.answer_fingerprint);
        if self.theirs != theirs {
            self.theirs = theirs;
            self.check_soon(now);
        }
    }

    /// Another network: what was proved is not any more.
    pub(crate) fn check_soon(&mut self, now: Instant) {
        self.proved_at = None;
        self.check_at = Some(now);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) -> Option<Packet> {
        match classify(bytes) {
            PacketKind::Stun => {
                self.handle_stun(now, bytes);
                None
            }
            PacketKind::Dtls => {
                self.step(now, |dtls| drop(dtls.handle_packet(bytes)));
                None
            }
            PacketKind::Rtp => {
                let packet = self.cipher.as_mut()?.unprotect_rtp(bytes);
                Some(Packet::Rtp(packet.expect("the server's packets are authentic and come once")))
            }
            PacketKind::Rtcp => {
                let packet = self.cipher.as_mut()?.unprotect_rtcp(bytes);
                Some(Packet::Rtcp(packet.expect("the server's packets are authentic and come once")))
            }
            PacketKind::Unknown => panic!("the server sent nonsense: {bytes:02x?}"),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.check_at.is_some_and(|at| at <= now) {
            self.check(now);
        }
        if self.dtls_at.is_some_and(|at| at <= now) {
            self.step(now, |_| ());
        }
    }

    /// Encrypts and sends.
    pub(crate) fn send_rtp(&mut self, packet: &[u8]) {
        if let Some(cipher) = &mut self.cipher {
            self.out.push_back(cipher.protect_rtp(packet).expect("well-formed"));
        }
    }

    /// Encrypts and sends.
    pub(crate) fn send_rtcp(&mut self, packet: &[u8]) {
        if let Some(cipher) = &mut self.cipher {
            self.out.push_back(cipher.protect_rtcp(packet).expect("well-formed"));
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.check_at, self.dtls_at)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.cipher.is_some()
    }

    /// When the server last answered a check by this network and with these credentials.
    pub(crate) fn proved_at(&self) -> Option<Instant> {
        self.proved_at
    }

    /// A binding request with `pwd` for its integrity, as checks carry it.
    pub(crate) fn binding_request(&mut self, ufrag: &str, pwd: &str) -> Vec<u8> {
        let mut message = Message::new();
        message.write_header();
        message.set_type(BINDING_REQUEST);
        message.transaction_id.0 = self.transaction;
        message.write_transaction_id();
        let user = Username::new(ATTR_USERNAME, format!("{ufrag}:{}", self.offer.ufrag));
        user.add_to(&mut message).expect("short");
        message.add(ATTR_PRIORITY, &1_853_824_767_u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
        message.add(ATTR_USE_CANDIDATE, &[]);
        let integrity = MessageIntegrity::new_raw_integrity_with_provider(pwd, PROVIDER.crypto());
        integrity.add_to(&mut message).expect("before the fingerprint");
        FINGERPRINT.add_to(&mut message).expect("last");
        message.raw
    }

    fn check(&mut self, now: Instant) {
        let Some((ufrag, pwd)) = self.theirs.clone() else { return };
        self.transaction[..8].copy_from_slice(&self.chance.long_number().to_be_bytes());
        let request = self.binding_request(&ufrag, &pwd);
        self.out.push_back(request);
        self.check_at = Some(now + if self.proved_at.is_some() { CHECK_LATER } else { CHECK_FIRST });
    }

    fn handle_stun(&mut self, now: Instant, bytes: &[u8]) {
        let mut message = Message::default();
        message.unmarshal_binary(bytes).expect("the server's STUN can be read");
        let (_, pwd) = self.theirs.as_ref().expect("only checks are answered");
        let integrity = MessageIntegrity::check(&mut message, pwd.as_bytes(), PROVIDER.crypto());
        // An answer from before a restart or a move comes late and counts for nothing.
        if integrity.is_err() || message.typ != BINDING_SUCCESS {
            return;
        }
        if message.transaction_id.0 != self.transaction && self.proved_at.is_none() && self.begun {
            return;
        }
        if self.proved_at.replace(now).is_none() {
            self.check_at = Some(now + CHECK_LATER);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.step(now, |_| ());
        }
    }

    fn step(&mut self, now: Instant, step: impl FnOnce(&mut Dtls)) {
        let _ = self.dtls.handle_timeout(self.epoch + Duration::from_nanos(now.as_nanos()));
        step(&mut self.dtls);
        let mut buffer = [0; 4096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => self.out.push_back(datagram.to_vec()),
                Output::PeerCert(certificate) => self.peer_fingerprint = Some(sha256(certificate)),
                Output::KeyingMaterial(material, profile) => {
                    assert_eq!(profile, dimpl::SrtpProfile::AEAD_AES_256_GCM, "the strongest is chosen");
                    let keys = SrtpKeys::from_exporter(SrtpProfile::AeadAes256Gcm, &material);
                    let cipher = SrtpCipher::client(&keys.expect("the right length"));
                    let digest = self.peer_fingerprint.expect("a certificate came before");
                    let digest: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
                    assert_eq!(self.answer_fingerprint, format!("sha-256 {}", digest.join(":")));
                    self.cipher = Some(cipher.expect("good keys"));
                    self.open_at = Some(now);
                }
                Output::Timeout(at) => {
                    let at = Instant::from_nanos(at.saturating_duration_since(self.epoch).as_nanos() as u64);
                    let soon = at.since(now) < Duration::from_secs(3600);
                    self.dtls_at = soon.then_some(at.max(now + Duration::from_millis(1)));
                    return;
                }
                _ => {}
            }
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
