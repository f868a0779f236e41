//! The DTLS server that agrees on SRTP keys (RFC 6347, RFC 5764), on dimpl.
//!
//! In: datagrams, `now`. Out: `poll_transmit`, `poll_event`. Time: flights are sent again after `FLIGHT_TIMEOUT`,
//! doubling, until `HANDSHAKE_TIMEOUT`. Limit: datagrams above `DATAGRAM_BYTES_MAX` are dropped, dimpl keeps 30 of
//! them, and `TRANSMITS_MAX` wait to be sent, beyond which the oldest goes (DTLS repeats what is lost).
//!
//! DTLS 1.2 only: there the server chooses the SRTP profile, so the AEAD ones win although browsers offer AES-CM first.
//! No cookie: ICE has proved the address before any of this is reached. The certificate is judged by its fingerprint
//! alone (RFC 8122 §5), and before anything is said that depends on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use proto::time::Instant;

use super::cipher::{SrtpKeys, SrtpProfile};

const MTU: usize = 1200; // bytes: fits every path that WebRTC's media fits
const DATAGRAM_BYTES_MAX: usize = 2048; // above any path's MTU; caps what the peer's certificate can grow to
const QUEUED_DATAGRAMS_MAX: usize = 30; // dimpl's own default for what it keeps until messages are whole
const CERTIFICATE_BYTES_MAX: usize = QUEUED_DATAGRAMS_MAX * DATAGRAM_BYTES_MAX; // dimpl panics where it does not fit
const TRANSMITS_MAX: usize = 32; // three flights of a handshake
const FLIGHT_TIMEOUT: Duration = Duration::from_millis(250); // RFC 6347 §4.2.4.1 lets real-time media go below 1 s
const FLIGHT_RETRIES: usize = 7; // 0.25 s doubled seven times outlasts the handshake's own limit
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30); // as long as a browser tries before it says "failed"
const IDLE: Duration = Duration::from_secs(86_400); // dimpl names a time ten years away when it waits for nothing

/// A certificate with its private key; cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate {
    identity: DtlsCertificate,
    config: Arc<Config>,
    fingerprint: [u8; 32],
}

impl Certificate {
    /// A new self-signed one (ECDSA with P-256, valid for a year).
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    pub fn generate() -> Self {
        let identity = dimpl::certificate::generate_self_signed_certificate()
            .expect("making a key and a certificate fails only without randomness");
        let config = Config::builder()
            .mtu(MTU)
            .max_queue_rx(QUEUED_DATAGRAMS_MAX)
            .max_queue_tx(TRANSMITS_MAX)
            .use_server_cookie(false)
            .flight_start_rto(FLIGHT_TIMEOUT)
            .flight_retries(FLIGHT_RETRIES)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .build()
            .expect("the constants above are a valid configuration");
        let fingerprint = sha256(&identity.certificate);
        Self { identity, config: Arc::new(config), fingerprint }
    }

    /// The SHA-256 digest that a session description carries as `a=fingerprint`.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// The hash that a fingerprint was made with (RFC 8122 §5); weaker ones are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FingerprintAlgorithm {
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// A digest of the certificate that the peer said it would show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFingerprint {
    /// What made the digest.
    pub algorithm: FingerprintAlgorithm,
    /// The digest; one of the wrong length matches nothing.
    pub digest: Vec<u8>,
}

impl PeerFingerprint {
    fn matches(&self, certificate: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            FingerprintAlgorithm::Sha256 => &SHA256,
            FingerprintAlgorithm::Sha384 => &SHA384,
            FingerprintAlgorithm::Sha512 => &SHA512,
        };
        constant_time::verify_slices_are_equal(digest(algorithm, certificate).as_ref(), &self.digest).is_ok()
    }
}

/// Something that the owner of a [`DtlsServer`] should know.
#[derive(Debug, PartialEq, Eq)]
pub enum DtlsEvent {
    /// The handshake is done, the peer is who it said, and these are the keys.
    Keys(SrtpKeys),
    /// The peer said goodbye.
    Closed,
    /// There will be no keys, or the connection was broken off; the text says why, for people.
    Failed(String),
}

/// The server's end of one DTLS connection.
#[derive(Debug)]
pub struct DtlsServer {
    dtls: Dtls,
    epoch: std::time::Instant,
    peer: Vec<PeerFingerprint>,
    state: State,
    wake_at: Option<Instant>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>, // at most two: keys, then an end
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No certificate has been seen yet.
    Anonymous,
    /// The certificate is the one that was promised; its key is not proved before `Connected`.
    Recognized,
    /// Keys were handed out.
    Connected,
    /// Closed or failed: nothing happens any more.
    Over,
}

impl DtlsServer {
    /// Waits for the `ClientHello` of a peer whose certificate has one of the digests `peer`.
    ///
    /// `epoch` is the standard library's name for [`Instant::ZERO`].
    pub fn new(
        certificate: &Certificate,
        peer: Vec<PeerFingerprint>,
        epoch: std::time::Instant,
        now: Instant,
    ) -> Self {
        let at = epoch + Duration::from_nanos(now.as_nanos());
        Self {
            dtls: Dtls::new_12(Arc::clone(&certificate.config), certificate.identity.clone(), at),
            epoch,
            peer,
            state: State::Anonymous,
            wake_at: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a datagram from the peer. After the end they are ignored.
    pub fn handle_packet(&mut self, now: Instant, datagram: &[u8]) {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        self.advance(now, |dtls| dtls.handle_packet(datagram));
    }

    /// Sends again what was not answered in time; before [`Self::poll_timeout`] nothing happens.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake_at.is_some_and(|at| at <= now) {
            self.advance(now, |_| Ok(()));
        }
    }

    /// Says goodbye, if there is a connection; nothing happens any more after that but `poll_transmit`.
    pub fn close(&mut self) {
        if self.state != State::Over {
            // Without a connection there is nobody to say it to, which is no error.
            if self.dtls.close().is_ok() {
                self.drain(Instant::ZERO);
            }
            self.end();
        }
    }

    /// The next datagram to send by the selected path, until `None`.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The next thing that happened, until `None`.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Whether this connection has ended, well or badly.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Tells dimpl the time and whatever `step` says, and takes all it has to say in return.
    fn advance(&mut self, now: Instant, step: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>) {
        if self.state == State::Over {
            return;
        }
        let at = self.epoch + Duration::from_nanos(now.as_nanos());
        let result = self.dtls.handle_timeout(at).and_then(|()| step(&mut self.dtls));
        self.drain(now);
        if let Err(error) = result
            && self.state != State::Over
        {
            self.fail(error.to_string());
        }
    }

    fn drain(&mut self, now: Instant) {
        let is_certificate_due = self.state == State::Anonymous;
        let mut buffer = vec![0; if is_certificate_due { CERTIFICATE_BYTES_MAX } else { DATAGRAM_BYTES_MAX }];
        let mut is_connected = false;
        while self.state != State::Over {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => {
                    if self.transmits.len() >= TRANSMITS_MAX {
                        self.transmits.pop_front();
                    }
                    self.transmits.push_back(datagram.to_vec());
                }
                Output::PeerCert(certificate) => {
                    if self.peer.iter().any(|fingerprint| fingerprint.matches(certificate)) {
                        self.state = State::Recognized;
                    } else {
                        self.fail("the certificate is not the one whose fingerprint was offered".to_owned());
                    }
                }
                Output::Connected => is_connected = true,
                Output::KeyingMaterial(material, profile) => self.hand_out(&material, profile),
                Output::CloseNotify => {
                    self.events.push_back(DtlsEvent::Closed);
                    self.end();
                }
                Output::Timeout(at) => {
                    self.wake_at = self.wake_up(now, at);
                    break;
                }
                Output::ApplicationData(_) => {} // no data channels here
                other => {
                    debug_assert!(false, "dimpl said {other:?}");
                    break;
                }
            }
        }
        if is_connected && !matches!(self.state, State::Connected | State::Over) {
            self.fail("the peer offered no SRTP protection profile that is spoken here".to_owned());
        }
    }

    fn hand_out(&mut self, material: &[u8], profile: dimpl::SrtpProfile) {
        let profile = match profile {
            dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
            dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
            _ => None, // dimpl's enum may grow
        };
        let keys = profile.and_then(|profile| SrtpKeys::from_exporter(profile, material).ok());
        match (self.state, keys) {
            (State::Recognized, Some(keys)) => {
                self.state = State::Connected;
                self.events.push_back(DtlsEvent::Keys(keys));
            }
            (State::Recognized, None) => {
                self.fail("the keying material does not fit the SRTP profile".to_owned());
            }
            (State::Anonymous | State::Connected | State::Over, _) => {
                self.fail("keys came before a certificate".to_owned());
            }
        }
    }

    /// dimpl's deadline as ours; one that is not in the future would be a busy loop.
    fn wake_up(&self, now: Instant, at: std::time::Instant) -> Option<Instant> {
        let nanos = u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let at = Instant::from_nanos(nanos).max(now + Duration::from_millis(1));
        (at.since(now) < IDLE).then_some(at)
    }

    fn fail(&mut self, reason: String) {
        self.events.push_back(DtlsEvent::Failed(reason));
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.wake_at = None;
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proto::seed::{Chance, Seed};

    use super::super::cipher::SrtpCipher;
    use super::*;

    const ONE_WAY: Duration = Duration::from_millis(30);

    /// A handshake between a server of ours and a dimpl client, in virtual time.
    struct Handshake {
        now: Instant,
        epoch: std::time::Instant,
        server: DtlsServer,
        client: Dtls,
        client_wakes_at: Option<Instant>,
        client_certificate: Vec<u8>,
        client_keys: Option<Vec<u8>>,
        in_flight: BTreeMap<(Instant, u64), (End, Vec<u8>)>,
        sent: u64,
        events: Vec<DtlsEvent>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum End {
        Server,
        Client,
    }

    #[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
    fn epoch() -> std::time::Instant {
        std::time::Instant::now()
    }

    impl Handshake {
        fn new(client_mtu: usize, peer: impl FnOnce(&[u8]) -> Vec<PeerFingerprint>) -> Self {
            let (epoch, now) = (epoch(), Instant::from_millis(5_000));
            let at = epoch + Duration::from_nanos(now.as_nanos());
            let identity = dimpl::certificate::generate_self_signed_certificate().expect("a certificate");
            let config = Config::builder()
                .mtu(client_mtu)
                .flight_start_rto(Duration::from_millis(400))
                .flight_retries(7)
                .build();
            let mut client = Dtls::new_12(Arc::new(config.expect("valid")), identity.clone(), at);
            client.set_active(true);
            client.handle_timeout(at).expect("the first flight");
            let mut handshake = Self {
                now,
                epoch,
                server: DtlsServer::new(&Certificate::generate(), peer(&identity.certificate), epoch, now),
                client,
                client_wakes_at: Some(now),
                client_certificate: identity.certificate,
                client_keys: None,
                in_flight: BTreeMap::new(),
                sent: 0,
                events: Vec::new(),
            };
            assert_eq!(handshake.server.poll_timeout(), None, "a server waits");
            handshake.drain(&mut |_, _, _| true);
            handshake
        }

        /// Lets time pass until there is nothing to do, or `limit`; `passes` tells of the nth datagram to an end whether
        /// it arrives.
        fn run(&mut self, limit: Instant, mut passes: impl FnMut(u64, End, &mut Vec<u8>) -> bool) {
            loop {
                let arrival = self.in_flight.first_key_value().map(|(&(at, _), _)| at);
                let wakes = [arrival, self.server.poll_timeout(), self.client_wakes_at];
                let Some(next) = wakes.into_iter().flatten().min().filter(|&next| next <= limit) else {
                    return;
                };
                self.now = next.max(self.now);
                if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.server.handle_timeout(self.now);
                    assert!(self.server.poll_timeout().is_none_or(|at| at > self.now), "a busy loop");
                }
                let at = self.epoch + Duration::from_nanos(self.now.as_nanos());
                let _ = self.client.handle_timeout(at);
                while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now)
                {
                    match entry.remove() {
                        (End::Server, datagram) => self.server.handle_packet(self.now, &datagram),
                        (End::Client, datagram) => drop(self.client.handle_packet(&datagram)),
                    }
                    self.drain(&mut passes);
                }
                self.drain(&mut passes);
            }
        }

        fn drain(&mut self, passes: &mut dyn FnMut(u64, End, &mut Vec<u8>) -> bool) {
            let mut datagrams = Vec::new();
            while let Some(datagram) = self.server.poll_transmit() {
                assert!(datagram.len() <= MTU);
                datagrams.push((End::Client, datagram));
            }
            self.events.extend(std::iter::from_fn(|| self.server.poll_event()));
            let mut buffer = [0; 4096];
            loop {
                match self.client.poll_output(&mut buffer) {
                    Output::Packet(datagram) => datagrams.push((End::Server, datagram.to_vec())),
                    Output::KeyingMaterial(material, _) => self.client_keys = Some(material.to_vec()),
                    Output::Timeout(at) => {
                        let at =
                            Instant::from_nanos(at.saturating_duration_since(self.epoch).as_nanos() as u64);
                        self.client_wakes_at = (at > self.now && at.since(self.now) < IDLE).then_some(at);
                        break;
                    }
                    _ => {}
                }
            }
            for (end, mut datagram) in datagrams {
                self.sent += 1;
                if passes(self.sent, end, &mut datagram) {
                    self.in_flight.insert((self.now + ONE_WAY, self.sent), (end, datagram));
                }
            }
        }

        fn keys(&self) -> Option<&SrtpKeys> {
            match self.events.as_slice() {
                [DtlsEvent::Keys(keys), ..] => Some(keys),
                _ => None,
            }
        }

        fn assert_connected(&self, name: &str) {
            let keys = self.keys().unwrap_or_else(|| panic!("{name}: {:?}", self.events));
            let theirs = self.client_keys.as_ref().expect("the client is done too");
            let theirs = SrtpKeys::from_exporter(keys.profile, theirs).expect("the right length");
            assert_eq!(*keys, theirs, "{name}");
            assert_eq!(self.events.len(), 1, "{name}");
        }
    }

    fn sha256_of(certificate: &[u8]) -> Vec<PeerFingerprint> {
        let digest = sha256(certificate).to_vec();
        vec![PeerFingerprint { algorithm: FingerprintAlgorithm::Sha256, digest }]
    }

    fn after(handshake: &Handshake, seconds: u64) -> Instant {
        handshake.now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_handshake_ends_with_the_same_keys_and_the_strongest_profile() {
        let mut handshake = Handshake::new(1150, sha256_of);
        handshake.run(after(&handshake, 60), |_, _, _| true);
        handshake.assert_connected("without loss");
        let keys = handshake.keys().expect("connected").clone();
        assert_eq!(keys.profile, SrtpProfile::AeadAes256Gcm);
        assert_eq!(handshake.now, Instant::from_millis(5_000 + 4 * 30), "two round trips, no cookie");
        assert_eq!(handshake.server.poll_timeout(), None, "and then it rests");

        let mut client = SrtpCipher::client(&keys).expect("good keys");
        let mut server = SrtpCipher::server(&keys).expect("good keys");
        let packet = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 42];
        let sealed = client.protect_rtp(&packet).expect("sealed");
        assert_eq!(server.unprotect_rtp(&sealed).as_deref(), Ok(&packet[..]));
    }

    #[test]
    fn any_lost_datagram_is_sent_again() {
        let mut handshake = Handshake::new(1150, sha256_of);
        handshake.run(after(&handshake, 60), |_, _, _| true);
        let datagrams = handshake.sent;
        assert!((4..20).contains(&datagrams), "{datagrams}");
        for lost in 2..=datagrams {
            let mut handshake = Handshake::new(1150, sha256_of);
            handshake.run(after(&handshake, 60), |number, _, _| number != lost);
            handshake.assert_connected(&format!("without datagram {lost}"));
            assert!(
                handshake.now < Instant::from_millis(7_000),
                "without datagram {lost}: {:?}",
                handshake.now
            );
        }
    }

    #[test]
    fn whole_lost_flights_are_sent_again() {
        for (name, losing) in [("to the client", End::Client), ("to the server", End::Server)] {
            let mut handshake = Handshake::new(1150, sha256_of);
            let dark = handshake.now + Duration::from_secs(2);
            let mut at = handshake.now;
            while at < dark {
                at += Duration::from_millis(10);
                handshake.run(at, |_, end, _| end != losing);
            }
            assert_eq!(handshake.keys(), None, "{name}");
            handshake.run(after(&handshake, 60), |_, _, _| true);
            handshake.assert_connected(name);
        }
    }

    #[test]
    fn random_loss_and_duplicates_are_survived() {
        for seed in 0..30 {
            let mut chance = Seed::from_number(seed).generator();
            let mut handshake = Handshake::new(300, sha256_of);
            let mut copies = Vec::new();
            let bad_until = after(&handshake, 4);
            handshake.run(bad_until, |_, end, datagram| {
                copies.push((end, datagram.clone()));
                chance.number() % 100 >= 30
            });
            handshake.run(after(&handshake, 60), |_, _, _| true);
            handshake.assert_connected(&format!("seed {seed}"));
            for (end, datagram) in copies {
                if end == End::Server {
                    handshake.server.handle_packet(handshake.now, &datagram);
                }
            }
            handshake.drain(&mut |_, _, _| true);
            handshake.assert_connected(&format!("seed {seed}, all of it again"));
        }
    }

    #[test]
    fn a_client_hello_in_two_datagrams_is_put_together_in_either_order() {
        for swap in [false, true] {
            let mut handshake = Handshake::new(90, sha256_of);
            assert_eq!(handshake.in_flight.len(), 2, "the ClientHello takes two datagrams");
            assert!(handshake.in_flight.values().all(|(_, datagram)| datagram[0] == 22 && datagram[13] == 1));
            if swap {
                let mut datagrams = handshake.in_flight.values_mut();
                let (one, two) = (datagrams.next().expect("two"), datagrams.next().expect("two"));
                std::mem::swap(one, two);
            }
            handshake.run(after(&handshake, 60), |_, _, _| true);
            handshake.assert_connected(if swap { "swapped" } else { "in order" });
            assert_eq!(handshake.now, Instant::from_millis(5_000 + 4 * 30), "nothing had to be sent again");
        }
    }

    #[test]
    fn only_a_certificate_that_was_offered_gets_keys() {
        let sha = |algorithm, digest: &[u8]| PeerFingerprint { algorithm, digest: digest.to_vec() };
        for (name, offer, connects) in [
            ("sha-256", (|der| sha256_of(der)) as fn(&[u8]) -> Vec<PeerFingerprint>, true),
            ("nothing", |_| vec![], false),
            ("another's", |_| sha256_of(b"another certificate"), false),
            (
                "cut short",
                |der| {
                    vec![PeerFingerprint { digest: sha256(der)[..31].to_vec(), ..sha256_of(der).remove(0) }]
                },
                { false },
            ),
            ("empty", |der| vec![PeerFingerprint { digest: vec![], ..sha256_of(der).remove(0) }], false),
            ("another's and then its own", |der| [sha256_of(b"another"), sha256_of(der)].concat(), true),
        ] {
            let mut handshake = Handshake::new(1150, offer);
            handshake.run(after(&handshake, 10), |_, _, _| true);
            if connects {
                handshake.assert_connected(name);
            } else {
                let reason = "the certificate is not the one whose fingerprint was offered";
                assert_eq!(handshake.events, [DtlsEvent::Failed(reason.to_owned())], "{name}");
                assert_eq!(handshake.client_keys, None, "{name}: the client was told nothing either");
                assert!(handshake.server.is_over() && handshake.server.poll_timeout().is_none(), "{name}");
                handshake.server.handle_packet(handshake.now, b"\x16\xfe\xfd more of it");
                assert_eq!(handshake.server.poll_event(), None, "{name}: bytes after the end are ignored");
                assert_eq!(handshake.server.poll_transmit(), None, "{name}");
            }
        }
        for algorithm in [FingerprintAlgorithm::Sha384, FingerprintAlgorithm::Sha512] {
            let hash = if algorithm == FingerprintAlgorithm::Sha384 { &SHA384 } else { &SHA512 };
            let mut handshake = Handshake::new(1150, |der| vec![sha(algorithm, digest(hash, der).as_ref())]);
            handshake.run(after(&handshake, 10), |_, _, _| true);
            handshake.assert_connected(&format!("{algorithm:?}"));
            assert!(!handshake.client_certificate.is_empty());
        }
    }

    #[test]
    fn a_silent_peer_fails_the_handshake_in_time_and_only_once() {
        let mut handshake = Handshake::new(1150, sha256_of);
        let start = handshake.now;
        handshake.run(start + Duration::from_secs(100), |_, end, _| end == End::Server);
        assert!(matches!(handshake.events.as_slice(), [DtlsEvent::Failed(_)]), "{:?}", handshake.events);
        assert_eq!(handshake.server.poll_timeout(), None);
        assert!(handshake.sent < 60, "{} datagrams into the void", handshake.sent);
    }

    #[test]
    fn goodbyes_are_said_and_heard() {
        let mut handshake = Handshake::new(1150, sha256_of);
        handshake.run(after(&handshake, 10), |_, _, _| true);
        handshake.client.close().expect("connected");
        handshake.drain(&mut |_, _, _| true);
        handshake.run(after(&handshake, 10), |_, _, _| true);
        assert_eq!(handshake.events.last(), Some(&DtlsEvent::Closed));
        assert_eq!(handshake.events.len(), 2);
        assert!(handshake.server.is_over());

        let mut handshake = Handshake::new(1150, sha256_of);
        handshake.run(after(&handshake, 10), |_, _, _| true);
        handshake.server.close();
        handshake.server.close();
        let alert = handshake.server.poll_transmit().expect("a close_notify");
        assert_eq!(alert[0], 21);
        assert_eq!(handshake.server.poll_transmit(), None);
        assert_eq!(handshake.server.poll_event(), None, "our own goodbye is no news");
        handshake.client.handle_packet(&alert).expect("an alert");
        let mut buffer = [0; 2048];
        assert!(matches!(handshake.client.poll_output(&mut buffer), Output::CloseNotify | Output::Packet(_)));

        let mut early = Handshake::new(1150, sha256_of);
        early.server.close();
        assert_eq!((early.server.poll_transmit(), early.server.poll_event()), (None, None));
    }

    #[test]
    fn a_certificate_as_large_as_can_arrive_is_judged_without_panic() {
        for (name, length, size, pieces, reason) in [
            ("all that dimpl keeps", 60_000, 2_000, 30, Some("fingerprint")),
            ("in more pieces than it keeps", 60_000, 1_000, 60, Some("queue")),
            ("never whole", 16_000_000, 2_000, 20, None),
        ] {
            let mut handshake = Handshake::new(1150, sha256_of);
            handshake.run(Instant::from_millis(5_070), |_, _, _| true); // the server's flight is out
            for piece in 0..pieces {
                let datagram = certificate_fragment(length, piece * size, size);
                handshake.server.handle_packet(handshake.now, &datagram);
            }
            let event = handshake.server.poll_event();
            match (reason, &event) {
                (None, None) => {}
                (Some(reason), Some(DtlsEvent::Failed(text))) if text.contains(reason) => {}
                _ => panic!("{name}: {event:?}"),
            }
        }
        let oversized = certificate_fragment(60_000, 0, 2_100);
        let mut handshake = Handshake::new(1150, sha256_of);
        handshake.server.handle_packet(handshake.now, &oversized);
        handshake.run(after(&handshake, 10), |_, _, _| true);
        handshake.assert_connected("what no path carries is not even read");
    }

    /// A piece of a Certificate message whose list holds one certificate that fills it.
    fn certificate_fragment(length: u32, offset: u32, size: u32) -> Vec<u8> {
        let u24 = |number: u32| number.to_be_bytes()[1..].to_vec();
        let message = [u24(length - 3), u24(length - 6)].concat();
        let body: Vec<u8> =
            (offset..offset + size).map(|at| message.get(at as usize).copied().unwrap_or(0x30)).collect();
        let handshake = [vec![11], u24(length), vec![0, 1], u24(offset), u24(size), body].concat();
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0];
        datagram.extend((offset + 10).to_be_bytes()); // some record number of its own
        datagram.push(0);
        datagram.extend((handshake.len() as u16).to_be_bytes());
        datagram.extend(handshake);
        datagram
    }

    #[test]
    fn damaged_copies_of_a_handshake_never_panic() {
        for seed in 0..60 {
            let mut chance = Seed::from_number(seed).generator();
            let mut handshake = Handshake::new(400, sha256_of);
            let limit = after(&handshake, 12);
            handshake.run(limit, |_, _, datagram| {
                if chance.number().is_multiple_of(4) {
                    damage(&mut chance, datagram);
                }
                true
            });
            assert!(handshake.events.len() <= 2 && handshake.server.transmits.len() <= TRANSMITS_MAX);
        }
    }

    #[test]
    fn garbage_at_a_connected_server_never_panics_and_never_disturbs() {
        let mut chance = Seed::from_number(9).generator();
        let mut handshake = Handshake::new(400, sha256_of);
        let mut copies = Vec::new();
        handshake.run(after(&handshake, 12), |_, _, datagram| {
            copies.push(datagram.clone());
            true
        });
        for round in 0..20_000 {
            let mut datagram = copies[round % copies.len()].clone();
            damage(&mut chance, &mut datagram);
            handshake.server.handle_packet(handshake.now, &datagram);
        }
        handshake.drain(&mut |_, _, _| true);
        handshake.assert_connected("after garbage");
        handshake.client.close().expect("connected");
        handshake.drain(&mut |_, _, _| true);
        handshake.run(after(&handshake, 10), |_, _, _| true);
        assert_eq!(handshake.events.last(), Some(&DtlsEvent::Closed), "it still listens");
    }

    fn damage(chance: &mut Chance, datagram: &mut Vec<u8>) {
        let length = datagram.len() as u32;
        match chance.number() % 4 {
            0 => datagram.truncate((chance.number() % length) as usize),
            1 => datagram.extend_from_within(..),
            _ => {
                for _ in 0..=chance.number() % 4 {
                    // The headers of record and message are the interesting part.
                    let at = if chance.number().is_multiple_of(2) { length.min(25) } else { length };
                    datagram[(chance.number() % at) as usize] ^= 1 << (chance.number() % 8);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arbitrary_bytes_never_panic(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40), kind in 20_u8..=25
        ) {
            let epoch = epoch();
            let mut server = DtlsServer::new(&Certificate::generate(), vec![], epoch, Instant::ZERO);
            for (number, mut datagram) in datagrams.into_iter().enumerate() {
                if let Some(header) = datagram.first_chunk_mut::<13>() {
                    let [.., high, low] = *header;
                    *header = [kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, number as u8, high & 1, low];
                }
                let now = Instant::from_millis(number as u64);
                server.handle_packet(now, &datagram);
                prop_assert!(server.poll_timeout().is_none_or(|at| at > now));
            }
        }
    }
}
