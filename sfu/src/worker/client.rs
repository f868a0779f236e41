//! A participant on a worker: its session with the application, its connection and its pipelines.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use proto::ids::{Mid, ParticipantId, SessionId, TrackId};
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

use super::api::{Grant, SocketId};
use super::connection::{Connection, IcePair};
use super::demands::{Demanded, Wish};
use super::relay::{Guest, PeerId, Spanned};
use crate::control::allocation::Allocator;
use crate::control::room::MemberKey;
use crate::network::ice_lite::Credentials;
use crate::network::path::Protocol;
use crate::transport::connection::ConnectionPipeline;
use crate::transport::packet::StreamId;

/// How long after its WebSocket broke a session can be taken up again.
pub(super) const RESUME_WITHIN: Duration = Duration::from_secs(15);

/// How often a client shall ping; a WebSocket that is silent for four intervals counts as broken.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a client whose WebSocket works may be without media, at the start and after its path broke.
const MEDIA_WITHIN: Duration = Duration::from_secs(30);

/// How long a client that is silent on its WebSocket and without media may take to come back: sooner than [`RESUME_WITHIN`], for nothing
/// of it is left, but not so soon that a tunnel or a lift ends its stay.
const GONE_AFTER: Duration = Duration::from_secs(13);

/// How long after a goodbye of its media a client may take to say goodbye itself, or to go.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// How often the layers of a publisher are looked at: one that stopped must not leave its viewers with a still picture.
const LAYERS_INTERVAL: Duration = Duration::from_millis(100);

/// A worker's number for a client; used again after the client has gone.
pub(super) type ClientKey = MemberKey;

/// Where a publisher's packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) subscriber: ClientKey,
    pub(super) slot: usize,
}

/// A track in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) publisher: ClientKey,
    pub(super) section: usize,
    pub(super) track: TrackId,
}

/// What must happen to a client because time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lapse {
    /// Its session was not taken up again in time, or nothing of it is left.
    ConnectionLost,
    /// Its WebSocket works but media did not come or come back.
    MediaLost,
    /// Its WebSocket has been silent for too long.
    SocketSilent,
}

/// See the module's description.
///
/// Its fields are in the order in which a packet for it needs them; see [`RtpSendPipeline`](crate::transport::rtp_send::RtpSendPipeline).
#[repr(C)]
pub(super) struct Client {
    /// When its pacer goes on.
    pub(super) pace: Option<Instant>,
    /// What it was told over its WebSocket that its pacer does not know of yet: it takes the same way as media.
    pub(super) told: DataSize,
    /// When its layers were chosen last, and for which rate.
    pub(super) allocated: Option<(Instant, Bitrate)>,
    /// While more than this is allowed, all that it wants fits by far; `None` if it does not.
    pub(super) ample: Option<Bitrate>,
    pub(super) connection: Connection,
    pub(super) pipeline: ConnectionPipeline,
    pub(super) wake: Option<Instant>,
    /// By media section of this client: who gets what it sends there.
    pub(super) routes: Vec<Vec<Route>>,
    /// By slot: its name and what it carries.
    pub(super) slots: Vec<(Mid, Option<Binding>)>,
    /// The layers that were fit to be watched when last looked at: for newcomers, then for those who watch them.
    pub(super) fit: Vec<StreamId>,
    pub(super) allocator: Allocator,
    /// By slot: what its path could take of the picture.
    pub(super) wishes: Vec<Option<Wish>>,
    /// By media section of this client: what is demanded of what it sends there.
    pub(super) demanded: BTreeMap<usize, Demanded>,
    /// When that was thought about last.
    pub(super) demands_at: Option<Instant>,
    /// What it is besides, if it is at home on another worker.
    pub(super) guest: Option<Box<Guest>>,
    /// What other workers have of it, if they have anything.
    pub(super) spanned: Option<Box<Spanned>>,
    layers_at: Option<Instant>,
    pub(super) identity: Identity,
    pub(super) sdp_version: u64,
    pub(super) socket: Option<SocketId>,
    /// Where its media last was sent to, and by what.
    pub(super) remote: Option<(Protocol, IpAddr)>,
    detached_at: Option<Instant>,
    heard_at: Instant,
    media_lost_at: Option<Instant>,
    goodbye_at: Option<Instant>,
}

/// Who a client is.
pub(super) struct Identity {
    /// The worker's number for its room.
    pub(super) room: usize,
    /// Its own number, never used again; its streams are numbered from it.
    pub(super) number: u64,
    pub(super) participant: ParticipantId,
    pub(super) session: SessionId,
    pub(super) grant: Grant,
    /// The number of its session descriptions' session.
    pub(super) sdp_session: u64,
    /// When it joined.
    pub(super) joined: Instant,
}

impl Client {
    pub(super) fn new(
        now: Instant,
        identity: Identity,
        socket: SocketId,
        connection: Connection,
        pipeline: ConnectionPipeline,
    ) -> Self {
        Self {
            identity,
            sdp_version: 1,
            socket: Some(socket),
            connection,
            pipeline,
            routes: Vec::new(),
            slots: Vec::new(),
            fit: Vec::new(),
            wake: None,
            remote: None,
            told: DataSize::ZERO,
            pace: None,
            allocator: Allocator::default(),
            allocated: None,
            ample: None,
            wishes: Vec::new(),
            demanded: BTreeMap::new(),
            demands_at: None,
            guest: None,
            spanned: None,
            layers_at: None,
            detached_at: None,
            heard_at: now,
            media_lost_at: Some(now),
            goodbye_at: None,
        }
    }

    /// Somebody who is at home on another worker: without WebSocket and connection.
    pub(super) fn guest(
        now: Instant,
        identity: Identity,
        guest: Guest,
        pipeline: ConnectionPipeline,
    ) -> Self {
        let nobody = || Credentials { ufrag: String::new(), pwd: String::new() };
        let connection = Connection::new(now, IcePair { ours: nobody(), theirs: nobody() }, None);
        let client = Self::new(now, identity, SocketId(0), connection, pipeline);
        Self { socket: None, media_lost_at: None, guest: Some(Box::new(guest)), ..client }
    }

    /// Whether it is at home there.
    pub(super) fn guest_of(&self, peer: PeerId) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.home == peer)
    }

    /// Its WebSocket said something.
    pub(super) fn note_heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Its WebSocket is this one from now on.
    pub(super) fn attach(&mut self, now: Instant, socket: SocketId) -> Option<SocketId> {
        self.detached_at = None;
        self.heard_at = now;
        self.socket.replace(socket)
    }

    /// Its WebSocket is gone.
    pub(super) fn detach(&mut self, now: Instant) {
        self.socket = None;
        self.detached_at = Some(now);
    }

    /// Its media path works.
    pub(super) fn note_media(&mut self) {
        self.media_lost_at = None;
    }

    /// Its media path does not work any more.
    pub(super) fn note_media_lost(&mut self, now: Instant) {
        self.media_lost_at.get_or_insert(now);
    }

    /// Its media is over for good: it said goodbye, or the handshake failed.
    pub(super) fn note_goodbye(&mut self, now: Instant) {
        self.goodbye_at.get_or_insert(now);
    }

    /// Looks at its layers from time to time, now that it sends.
    pub(super) fn watch_layers(&mut self, now: Instant) {
        self.layers_at.get_or_insert(now + LAYERS_INTERVAL);
    }

    /// Whether to look at its layers now.
    pub(super) fn layers_due(&mut self, now: Instant) -> bool {
        let due = self.layers_at.is_some_and(|at| at <= now);
        if due {
            self.layers_at = Some(now + LAYERS_INTERVAL);
        }
        due
    }

    /// What its session must suffer now.
    pub(super) fn lapse(&self, now: Instant) -> Option<Lapse> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.detached_at.map(|at| at + RESUME_WITHIN)) {
            return Some(Lapse::ConnectionLost);
        }
        if due(self.gone_at()) {
            return Some(Lapse::ConnectionLost);
        }
        if self.detached_at.is_some() && self.connection.is_over() {
            return Some(Lapse::ConnectionLost);
        }
        if due(self.goodbye_at.map(|at| at + GOODBYE_WITHIN))
            || due(self.media_lost_at.map(|at| at + MEDIA_WITHIN))
        {
            return Some(Lapse::MediaLost);
        }
        (self.socket.is_some() && due(Some(self.heard_at + PING_INTERVAL * 4))).then_some(Lapse::SocketSilent)
    }

    /// When a client that is silent on all ways counts as gone. A WebSocket may break without anybody being told.
    fn gone_at(&self) -> Option<Instant> {
        let silent_since = self.detached_at.unwrap_or(self.heard_at);
        self.connection.is_lost().then_some(silent_since + GONE_AFTER)
    }

    /// When to wake; `None` if there is nothing to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.guest.is_some() {
            return earliest(self.layers_at, self.pipeline.poll_timeout());
        }
        let silent = self.socket.map(|_| self.heard_at + PING_INTERVAL * 4);
        [
            self.detached_at.map(|at| at + RESUME_WITHIN),
            self.gone_at(),
            self.goodbye_at.map(|at| at + GOODBYE_WITHIN),
            self.media_lost_at.map(|at| at + MEDIA_WITHIN),
            silent,
            self.layers_at,
            self.connection.poll_timeout(),
            self.pipeline.poll_timeout(),
        ]
        .into_iter()
        .fold(None, earliest)
    }
}
