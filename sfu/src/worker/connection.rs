//! One client's network connection: ICE finds the path, DTLS gives the keys, the cipher guards what goes over it.

use core::time::Duration;

use proto::time::{Instant, earliest};

use crate::fetch;
use crate::network::cipher::{Cipher, CipherError, SrtpCipher};
use crate::network::dtls::{DtlsEvent, DtlsServer};
use crate::network::ice_lite::{Credentials, IceEvent, IceLite};
use crate::network::path::Path;
use crate::network::transmits::Transmits;
use crate::transport::rtp_send::Plaintext;
use crate::transport::stats::Traffic;

/// What a connection tells the worker.
#[derive(Debug)]
pub(super) enum ConnectionEvent {
    /// Media can flow; the protection profile's name.
    Connected(&'static str),
    /// Media goes by this path from now on.
    PathSelected {
        path: Path,
        /// What was sent before has been lost for a while.
        outage: Outage,
    },
    /// The peer has not been heard for too long.
    Lost,
    /// The handshake failed.
    Failed(String),
    /// The peer closed the connection.
    Closed,
}

/// What the two sides of a connection know each other by in ICE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IcePair {
    pub(super) ours: Credentials,
    pub(super) theirs: Credentials,
}

/// Whether the peer was out of reach before a path was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outage {
    None,
    Past,
}

/// A peer that has not sent for so long has not received either: its reports come every second.
const SILENCE: Duration = Duration::from_secs(2);

/// See the module's description.
///
/// First comes what each packet needs.
#[repr(C)]
pub(super) struct Connection {
    cipher: Option<Cipher>,
    lost: bool,
    over: bool,
    traffic: Traffic,
    heard_at: Instant,
    pub(super) ice: IceLite,
    /// The protection profile's name, once media can flow.
    profile: Option<&'static str>,
    credentials: IcePair,
    /// What agrees on keys; `None` in simulations, where packets go as they are.
    dtls: Option<Box<DtlsServer>>,
    handshake_path: Option<Path>,
}

impl Connection {
    /// Without `dtls`, packets are not protected.
    pub(super) fn new(now: Instant, credentials: IcePair, dtls: Option<DtlsServer>) -> Self {
        let ice = IceLite::new(now, credentials.ours.clone(), credentials.theirs.clone());
        Self {
            ice,
            credentials,
            dtls: dtls.map(Box::new),
            cipher: None,
            handshake_path: None,
            heard_at: now,
            lost: false,
            over: false,
            traffic: Traffic::default(),
            profile: None,
        }
    }

    /// The credentials that hold since the last offer.
    pub(super) fn credentials(&self) -> &IcePair {
        &self.credentials
    }

    /// Takes the credentials of an offer that restarts ICE (RFC 8445 §2.4); media goes on by the old path meanwhile.
    pub(super) fn restart(&mut self, credentials: IcePair) {
        self.ice.restart(credentials.ours.clone(), credentials.theirs.clone());
        self.credentials = credentials;
    }

    /// A DTLS datagram that came by a validated path.
    pub(super) fn handle_dtls(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        if let Some(dtls) = &mut self.dtls {
            self.handshake_path = Some(path);
            dtls.handle_packet(now, bytes);
        }
    }

    /// Decrypts an SRTP packet that came by a validated path, where it lies, and follows the peer to that path. Tells how
    /// long it is in the clear; `None` without a key.
    pub(super) fn open_rtp(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &mut [u8],
    ) -> Option<Result<usize, CipherError>> {
        let size = bytes.len();
        let length = self.cipher.as_mut()?.open_rtp(bytes);
        Some(self.follow(now, path, length, size))
    }

    /// Decrypts an SRTCP packet that came by a validated path; see [`Self::open_rtp`].
    pub(super) fn open_rtcp(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &mut [u8],
    ) -> Option<Result<usize, CipherError>> {
        let size = bytes.len();
        let length = self.cipher.as_mut()?.open_rtcp(bytes);
        Some(self.follow(now, path, length, size))
    }

    /// Encrypts an RTP packet that is to leave; tells how long it is, or `None` if there is no path or no key, and nothing
    /// can be sent.
    pub(super) fn seal_rtp(&mut self, packet: &Plaintext, transmits: &mut Transmits) -> Option<usize> {
        let path = self.open_path()?;
        let cipher = self.cipher.as_mut()?;
        let length = transmits.push_rtp(path, (packet.header(), packet.payload()), cipher).ok()?;
        self.traffic.sent.add(length);
        Some(length)
    }

    /// Encrypts an RTCP packet that is to leave; see [`Self::seal_rtp`].
    pub(super) fn seal_rtcp(&mut self, packet: &[u8], transmits: &mut Transmits) -> Option<usize> {
        let path = self.open_path()?;
        let cipher = self.cipher.as_mut()?;
        let length = transmits.push_rtcp(path, packet, cipher).ok()?;
        self.traffic.sent.add(length);
        Some(length)
    }

    /// Asks for what the next packet needs of this.
    pub(super) fn fetch_ahead(&self) {
        fetch::ahead(self, 256);
    }

    /// Asks for what it needs beyond.
    pub(super) fn fetch_behind(&self) {
        if let Some(cipher) = &self.cipher {
            cipher.fetch_ahead();
        }
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(now);
        }
    }

    /// Says goodbye to the peer.
    pub(super) fn close(&mut self) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close();
        }
    }

    /// The next handshake datagram and the path it goes by.
    pub(super) fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        let path = self.open_path().or(self.handshake_path.filter(|_| !self.lost))?;
        Some((path, self.dtls.as_mut()?.poll_transmit()?))
    }

    /// What happened.
    pub(super) fn poll_event(&mut self, now: Instant) -> Option<ConnectionEvent> {
        if let Some(event) = self.ice.poll_event() {
            let silent = self.lost || now.since(self.heard_at) > SILENCE;
            self.lost = matches!(event, IceEvent::ConsentExpired);
            return Some(match event {
                IceEvent::Selected(_) if self.dtls.is_none() && self.cipher.is_none() => {
                    self.cipher = Some(Cipher::Plain);
                    self.connected("none")
                }
                IceEvent::Selected(path) => {
                    let outage = if silent { Outage::Past } else { Outage::None };
                    ConnectionEvent::PathSelected { path, outage }
                }
                IceEvent::ConsentExpired => ConnectionEvent::Lost,
            });
        }
        let event = self.dtls.as_mut()?.poll_event()?;
        self.over |= matches!(event, DtlsEvent::Failed(_) | DtlsEvent::Closed);
        Some(match event {
            DtlsEvent::Keys(keys) => match SrtpCipher::server(&keys) {
                Ok(cipher) => {
                    self.cipher = Some(Cipher::Srtp(Box::new(cipher)));
                    self.connected(keys.profile.name())
                }
                Err(fault) => ConnectionEvent::Failed(fault.to_string()),
            },
            DtlsEvent::Failed(reason) => ConnectionEvent::Failed(reason),
            DtlsEvent::Closed => ConnectionEvent::Closed,
        })
    }

    /// When to wake; `None` if there is nothing to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.ice.poll_timeout(), self.dtls.as_ref().and_then(|dtls| dtls.poll_timeout()))
    }

    /// Whether media can flow.
    pub(super) fn is_open(&self) -> bool {
        self.cipher.is_some() && self.open_path().is_some()
    }

    /// Whether the peer has fallen silent.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether the peer's part is over for good: it said goodbye, or the handshake failed.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// What it has carried so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How packets are protected; `None` before media can flow.
    pub(super) fn profile(&self) -> Option<&'static str> {
        self.profile
    }

    /// The path to the peer while it consents to be sent to (RFC 7675).
    fn open_path(&self) -> Option<Path> {
        self.ice.selected().filter(|_| !self.lost)
    }

    fn connected(&mut self, profile: &'static str) -> ConnectionEvent {
        self.profile = Some(profile);
        ConnectionEvent::Connected(profile)
    }

    /// The peer is where a packet that authenticated came from.
    fn follow<P, E>(&mut self, now: Instant, path: Path, packet: Result<P, E>, size: usize) -> Result<P, E> {
        if packet.is_ok() {
            self.traffic.received.add(size);
            self.heard_at = now;
            self.ice.note_media(now, path);
        }
        packet
    }
}
