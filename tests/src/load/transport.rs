//! A client's end of the transport: the simulator's ICE, DTLS as the client, SRTP by the SFU's own cipher.
//!
//! In: datagrams, the answer's credentials. Out: `poll_transmit`, decrypted packets. Time: `poll_timeout`. The server's
//! fingerprint is not compared: nobody is between on a machine of one's own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use sfu::network::cipher::{SrtpCipher, SrtpKeys, SrtpProfile};
use sfu::network::demux::{PacketKind, classify};
use sfu::network::stun::BindingRequest;
use simulator::node::client::ice::{Credentials, Ice};

/// The first wait for an answer to a flight: a path on one machine is short.
const FLIGHT_TIMEOUT: Duration = Duration::from_millis(400);

/// A wake-up later than this means none.
const FAR: Duration = Duration::from_secs(3_600);

/// What all clients of a generator show and use in DTLS: making a certificate takes longer than a handshake.
#[derive(Clone)]
pub(super) struct Identity {
    certificate: DtlsCertificate,
    config: Arc<Config>,
}

impl Identity {
    /// A new one.
    pub(super) fn new() -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .expect("making a certificate fails only without randomness");
        let config = Config::builder().mtu(1_150).flight_start_rto(FLIGHT_TIMEOUT).build();
        Self { certificate, config: Arc::new(config.expect("the constants are a valid configuration")) }
    }

    /// The SHA-256 digest of the certificate.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let digest = digest(&SHA256, &self.certificate.certificate);
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// What a datagram turned out to be.
pub(super) enum Opened {
    /// RTP, decrypted: so many of the first bytes.
    Rtp(usize),
    /// RTCP, decrypted, as well.
    Rtcp(usize),
    /// The transport's own, or nothing that can be read.
    Nothing,
}

/// See the module's description.
pub(super) struct Transport {
    ice: Ice,
    dtls: Dtls,
    epoch: std::time::Instant,
    dtls_at: Option<Instant>,
    has_begun: bool,
    cipher: Option<SrtpCipher>,
    remote: Option<SocketAddr>,
    out: VecDeque<Vec<u8>>,
}

impl Transport {
    /// An end that waits for the answer.
    pub(super) fn new(now: Instant, epoch: std::time::Instant, identity: &Identity, seed: &Seed) -> Self {
        let at = epoch + now.since(Instant::ZERO);
        let mut dtls = Dtls::new_12(Arc::clone(&identity.config), identity.certificate.clone(), at);
        dtls.set_active(true);
        Self {
            ice: Ice::new(seed.fork("ice").generator()),
            dtls,
            epoch,
            dtls_at: None,
            has_begun: false,
            cipher: None,
            remote: None,
            out: VecDeque::new(),
        }
    }

    /// What the offer says.
    pub(super) fn credentials(&self) -> &Credentials {
        self.ice.ours()
    }

    /// The answer is there.
    pub(super) fn handle_answer(&mut self, now: Instant, theirs: Credentials) {
        self.ice.handle_answer(now, theirs);
    }

    /// Where the server is reached, which its own checks are answered from then on.
    pub(super) fn set_remote(&mut self, remote: SocketAddr) {
        self.remote = Some(remote);
    }

    /// A datagram came; it is decrypted where it lies.
    pub(super) fn handle_datagram(&mut self, now: Instant, bytes: &mut [u8]) -> Opened {
        let opened = match classify(bytes) {
            PacketKind::Rtp => self.cipher.as_mut().map(|cipher| cipher.open_rtp(bytes).map(Opened::Rtp)),
            PacketKind::Rtcp => self.cipher.as_mut().map(|cipher| cipher.open_rtcp(bytes).map(Opened::Rtcp)),
            PacketKind::Stun => {
                self.ice.handle_stun(now, bytes);
                self.answer_check(bytes);
                if self.ice.is_open() && !std::mem::replace(&mut self.has_begun, true) {
                    self.step(now, |_| ());
                }
                None
            }
            PacketKind::Dtls => {
                self.step(now, |dtls| drop(dtls.handle_packet(bytes)));
                None
            }
            PacketKind::Unknown => None,
        };
        opened.and_then(Result::ok).unwrap_or(Opened::Nothing)
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        if self.dtls_at.is_some_and(|at| at <= now) {
            self.step(now, |_| ());
        }
    }

    /// Seals RTP and puts it out.
    pub(super) fn send_rtp(&mut self, packet: &[u8]) {
        if let Some(cipher) = &mut self.cipher {
            self.out.extend(cipher.protect_rtp(packet));
        }
    }

    /// Seals RTCP and puts it out.
    pub(super) fn send_rtcp(&mut self, packet: &[u8]) {
        if let Some(cipher) = &mut self.cipher {
            self.out.extend(cipher.protect_rtcp(packet));
        }
    }

    /// The next datagram to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.ice.poll_transmit().or_else(|| self.out.pop_front())
    }

    /// When to call [`Transport::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.ice.poll_timeout(), self.dtls_at)
    }

    /// Whether the keys are there.
    pub(super) fn is_open(&self) -> bool {
        self.cipher.is_some()
    }

    /// What protects packets, once the keys are there.
    pub(super) fn profile(&self) -> Option<SrtpProfile> {
        self.cipher.as_ref().map(SrtpCipher::profile)
    }

    /// The round trip that the last check took.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.ice.rtt()
    }

    /// Answers a check. Ours makes none; Janus, by libnice, does as a lite agent too, and takes no packet before one is answered.
    fn answer_check(&mut self, bytes: &[u8]) {
        let (Some(remote), Ok(request)) = (self.remote, BindingRequest::parse(bytes)) else { return };
        let password = &self.ice.ours().pwd;
        if request.authenticate(password).is_ok() {
            self.out.push_back(request.success(remote, password));
        }
    }

    fn step(&mut self, now: Instant, step: impl FnOnce(&mut Dtls)) {
        let _ = self.dtls.handle_timeout(self.epoch + now.since(Instant::ZERO)); // a failed handshake shows as no keys
        step(&mut self.dtls);
        let mut buffer = [0; 4_096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => self.out.push_back(datagram.to_vec()),
                Output::KeyingMaterial(material, profile) => {
                    let keys = SrtpKeys::from_exporter(profile_of(profile), &material);
                    self.cipher = keys.and_then(|keys| SrtpCipher::client(&keys)).ok();
                }
                Output::Timeout(at) => {
                    let at = Instant::ZERO + at.saturating_duration_since(self.epoch);
                    let at = at.max(now + Duration::from_millis(1));
                    self.dtls_at = (at.since(now) < FAR).then_some(at);
                    return;
                }
                _ => {}
            }
        }
    }
}

fn profile_of(agreed: dimpl::SrtpProfile) -> SrtpProfile {
    match agreed {
        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmSha1_80,
        other => unreachable!("dimpl agrees on one of three profiles, not on {other:?}"),
    }
}
