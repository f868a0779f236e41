//! A datagram's first steps: which protocol, whose, and is that address allowed to say so (RFC 7983, RFC 8445).

use proto::signal::ServerMessage;
use proto::time::Instant;

use super::client::ClientKey;
use super::connection::{ConnectionEvent, Outage};
use super::{DropReason, Event, Worker};
use crate::network::cipher::CipherError;
use crate::network::demux::{PacketKind, classify};
use crate::network::path::Path;
use crate::network::stun::BindingRequest;
use crate::transport::rtp_send::RtpSendPipeline;
use crate::transport::stats::count;

/// Addresses of one client in the table of paths before those that ICE has forgotten are swept out.
const PATHS_SWEEP: usize = 32;

impl Worker {
    pub(super) fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &mut [u8]) {
        count(&mut self.stats.datagrams_in, 1);
        count(&mut self.stats.bytes_in, bytes.len() as u64);
        let handled = match classify(bytes) {
            PacketKind::Stun => self.handle_stun(now, path, bytes),
            PacketKind::Dtls => self.handle_dtls(now, path, bytes),
            PacketKind::Rtp => self.handle_srtp(now, path, bytes),
            PacketKind::Rtcp => self.handle_srtcp(now, path, bytes),
            PacketKind::Unknown => Err(DropReason::UnknownProtocol),
        };
        if let Err(reason) = handled {
            self.stats.count_drop(reason);
        }
    }

    fn handle_stun(&mut self, now: Instant, path: Path, bytes: &[u8]) -> Result<(), DropReason> {
        let request = BindingRequest::parse(bytes).map_err(|_| DropReason::StunMalformed)?;
        let key = self.by_ufrag.get(request.local_ufrag()).copied().ok_or(DropReason::StunUnknownUser)?;
        let client = self.clients.get_mut(key.0).ok_or(DropReason::StunUnknownUser)?;
        let response = client.connection.ice.handle_request(now, path, &request);
        let response = response.map_err(|_| DropReason::StunUnauthenticated)?;
        if client.connection.ice.is_validated(path) {
            self.note_path(path, key);
        }
        self.transmit(path, &response);
        self.settle_connection(now, key);
        Ok(())
    }

    /// Remembers whose path it is. The table forgets what ICE forgot, so a wandering client cannot make it grow.
    ///
    /// ICE-lite sends no checks of its own, so a client with valid credentials could claim another one's address by a
    /// forged source. It may not while that one is there: its own checks keep it so.
    fn note_path(&mut self, path: Path, key: ClientKey) {
        let owner = self.by_path.get(&path).copied();
        if owner == Some(key) || owner.is_some_and(|owner| self.holds(owner, path)) {
            return;
        }
        self.by_path.insert(path, key);
        let ice = &self.clients[key.0].connection.ice;
        let own = self.by_path.values().filter(|owner| **owner == key).count();
        if own > PATHS_SWEEP {
            self.by_path.retain(|path, owner| *owner != key || ice.is_validated(*path));
        }
    }

    /// Whether a client's media goes by a path and it still answers there.
    fn holds(&self, key: ClientKey, path: Path) -> bool {
        let connection = self.clients.get(key.0).map(|client| &client.connection);
        connection.is_some_and(|connection| connection.is_open() && connection.ice.selected() == Some(path))
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, bytes: &[u8]) -> Result<(), DropReason> {
        let key = self.owner(path)?;
        self.clients[key.0].connection.handle_dtls(now, path, bytes);
        self.settle_connection(now, key);
        Ok(())
    }

    fn handle_srtp(&mut self, now: Instant, path: Path, bytes: &mut [u8]) -> Result<(), DropReason> {
        let key = self.owner(path)?;
        let length = self.clients[key.0].connection.open_rtp(now, path, bytes);
        let length = length.ok_or(DropReason::NoKeys)?.map_err(cipher_drop)?;
        self.handle_rtp(now, key, &bytes[..length])
    }

    fn handle_srtcp(&mut self, now: Instant, path: Path, bytes: &mut [u8]) -> Result<(), DropReason> {
        let key = self.owner(path)?;
        let length = self.clients[key.0].connection.open_rtcp(now, path, bytes);
        let length = length.ok_or(DropReason::NoKeys)?.map_err(cipher_drop)?;
        self.handle_rtcp(now, key, &bytes[..length])
    }

    /// The client to whom an address belongs, if it has proved itself by ICE.
    fn owner(&self, path: Path) -> Result<ClientKey, DropReason> {
        let key = self.by_path.get(&path).copied().ok_or(DropReason::UnknownAddress)?;
        let validated =
            self.clients.get(key.0).is_some_and(|client| client.connection.ice.is_validated(path));
        if validated { Ok(key) } else { Err(DropReason::UnknownAddress) }
    }

    /// Carries out what a connection wants after it was touched.
    pub(super) fn settle_connection(&mut self, now: Instant, key: ClientKey) {
        while let Some((path, bytes)) = self.clients[key.0].connection.poll_transmit() {
            self.transmit(path, &bytes);
        }
        while let Some(event) = self.clients[key.0].connection.poll_event(now) {
            self.handle_connection_event(now, key, event);
        }
        let at = self.clients[key.0].connection.poll_timeout();
        self.wake_at(now, key, at);
    }

    fn handle_connection_event(&mut self, now: Instant, key: ClientKey, event: ConnectionEvent) {
        let client = &mut self.clients[key.0];
        let room = self.rooms[client.identity.room].name().clone();
        let participant = client.identity.participant.clone();
        match event {
            ConnectionEvent::Connected(profile) => {
                client.note_media();
                if let Some(path) = client.connection.ice.selected() {
                    client.remote = Some((path.protocol, path.remote.ip()));
                    self.emit(Event::MediaConnected { room, participant, path, profile });
                }
                self.handle_media_open(now, key);
            }
            ConnectionEvent::PathSelected { path, outage } => {
                if client.connection.is_open() {
                    client.note_media();
                    let to = Some((path.protocol, path.remote.ip()));
                    let moved = std::mem::replace(&mut client.remote, to) != to;
                    if outage == Outage::Past {
                        client.pipeline.slots_mut().iter_mut().for_each(RtpSendPipeline::restart);
                    }
                    if moved || outage == Outage::Past {
                        self.renew_downlink(now, key);
                    }
                    self.emit(Event::PathChanged { room, participant, path });
                    self.handle_media_open(now, key);
                }
            }
            ConnectionEvent::Lost => {
                client.note_media_lost(now);
                client.pipeline.drop_waiting(now);
                self.notify(key, None, ServerMessage::IceRestartNeeded);
            }
            ConnectionEvent::Closed => client.note_goodbye(now),
            ConnectionEvent::Failed(reason) => {
                client.note_goodbye(now);
                self.emit(Event::HandshakeFailed { room, participant, reason });
            }
        }
    }

    pub(super) fn transmit(&mut self, path: Path, bytes: &[u8]) {
        self.transmits.push(path, bytes);
        self.count_sent(bytes.len());
    }

    pub(super) fn count_sent(&mut self, length: usize) {
        count(&mut self.stats.datagrams_out, 1);
        count(&mut self.stats.bytes_out, length as u64);
    }
}

fn cipher_drop(error: CipherError) -> DropReason {
    match error {
        CipherError::Replayed | CipherError::Reused => DropReason::Replayed,
        CipherError::Malformed | CipherError::NoRoom => DropReason::Malformed,
        CipherError::TooManySources => DropReason::TooManyStreams,
        CipherError::Authentication | CipherError::Exhausted | CipherError::KeyLength { .. } => {
            DropReason::Unauthenticated
        }
    }
}
