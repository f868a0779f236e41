//! What a shell says to a worker and what it hears back: the only types of this crate that a shell needs.

use std::net::SocketAddr;

use cc::Transition;
use proto::ids::{ParticipantId, RoomName, SessionId};
use proto::seed::Seed;
use proto::signal::{Demand, LeaveReason, Source};
use proto::time::NtpTime;
use proto::units::Bitrate;

use super::relay::{Batch, PeerId};
use crate::network::dtls::Certificate;
pub use crate::network::ice_lite::WorkerMark;
pub use crate::network::path::{Path, Protocol};
pub use crate::transport::downlink::{DownlinkSettings, EstimatorChoice, MakeEstimator};
pub use cc::RateLimits;

/// What a worker is made of.
#[derive(Clone)]
pub struct Config {
    /// The addresses at which clients reach this worker's UDP socket; they become its ICE candidates.
    pub candidates: Vec<SocketAddr>,
    /// The addresses at which clients reach the server's TCP listener, from where their connections come to this worker: the
    /// last choice of a client. Empty if there is none.
    pub tcp_candidates: Vec<SocketAddr>,
    /// Which worker of its server this is.
    pub mark: WorkerMark,
    /// How packets are protected on their way.
    pub protection: Protection,
    /// Where chance comes from: identifiers, ICE credentials, SSRCs.
    pub seed: Seed,
    /// The wall clock at `Instant::ZERO`, for sender reports.
    pub wall_clock: NtpTime,
    /// The most participants in one room. Of one that spans workers each counts those that it has heard of: who joins on several
    /// at the same moment may make them a few more.
    pub room_participants_max: usize,
    /// How much subscribers may be sent, and who decides.
    pub downlink: DownlinkSettings,
}

/// How packets are protected on their way to and from clients.
///
/// Whoever constructs a worker chooses; nothing that arrives from outside, neither configuration nor a message, can.
#[derive(Clone)]
pub enum Protection {
    /// By SRTP, with keys that DTLS agrees on: always, outside of simulations.
    Srtp {
        /// The certificate that DTLS shows and whose fingerprint answers carry.
        certificate: Certificate,
        /// The standard library's name for `Instant::ZERO`, which the DTLS library wants.
        epoch: std::time::Instant,
    },
    /// Not at all: in simulations, where nobody listens and ciphers would take most of the time. A connection is ready
    /// as soon as ICE has a path.
    Plain,
}

/// A WebSocket, numbered by the shell; a number is not used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// What a verified token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The room that may be joined.
    pub room: RoomName,
    /// Who this is to the application (`sub`).
    pub identity: String,
    /// The name to show.
    pub name: String,
    /// The sources that may be published; empty if none.
    pub publish: Vec<Source>,
    /// Whether others' tracks may be received.
    pub subscribe: bool,
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram arrived. It may be altered: decryption happens in place where it can.
    Datagram {
        /// The way it came; replies go back by it.
        path: Path,
        /// Its bytes.
        bytes: &'a mut [u8],
    },
    /// A WebSocket with a valid token opened; `session` if it wants to take up that session again.
    SocketOpened {
        /// The shell's number for it.
        socket: SocketId,
        /// What its token allows.
        grant: Grant,
        /// The session to take up again.
        session: Option<SessionId>,
        /// The other workers that have a shard of its room, or may soon have one; empty if the room lives here alone.
        others: Vec<PeerId>,
    },
    /// A text message arrived on a WebSocket.
    SocketMessage {
        /// Which.
        socket: SocketId,
        /// The text.
        text: &'a str,
    },
    /// A WebSocket closed or broke.
    SocketClosed {
        /// Which.
        socket: SocketId,
    },
    /// Another worker hands over what it has for this one; see [`Worker::take_relay`](super::Worker::take_relay).
    Relayed {
        /// Which.
        from: PeerId,
        /// What.
        batch: Batch,
    },
    /// The server is shutting down: everyone is told and let go.
    Drain,
    /// The time that `poll_timeout` named has come.
    Timeout,
}

/// Something the shell shall do.
#[derive(Debug)]
pub enum Output {
    /// Send a text message on a WebSocket.
    Message {
        /// Which.
        socket: SocketId,
        /// The text.
        text: String,
    },
    /// Close a WebSocket after what was sent on it.
    CloseSocket {
        /// Which.
        socket: SocketId,
    },
    /// Something worth a log line.
    Event(Event),
}

/// Something worth a log line; the shell decides how to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A room came to be with its first participant.
    RoomOpened {
        /// Its name.
        room: RoomName,
    },
    /// A room ended with its last participant.
    RoomClosed {
        /// Its name.
        room: RoomName,
    },
    /// Somebody entered.
    ParticipantJoined {
        /// Where.
        room: RoomName,
        /// Who, to the server.
        participant: ParticipantId,
        /// Who, to the application.
        identity: String,
        /// The client's name and version.
        client: String,
    },
    /// A participant's first media path works: ICE is done and, where packets are protected, the keys are there.
    MediaConnected {
        /// Where.
        room: RoomName,
        /// Who.
        participant: ParticipantId,
        /// The way of its media.
        path: Path,
        /// The SRTP protection profile; `none` in simulations.
        profile: &'static str,
    },
    /// A participant's media now goes another way.
    PathChanged {
        /// Where.
        room: RoomName,
        /// Who.
        participant: ParticipantId,
        /// The new way.
        path: Path,
    },
    /// Congestion control towards a subscriber takes another phase.
    DownlinkChanged {
        /// Where.
        room: RoomName,
        /// Who.
        participant: ParticipantId,
        /// From which phase to which, and why.
        transition: Transition,
        /// What may be sent now.
        allowed: Bitrate,
    },
    /// A participant's DTLS handshake failed.
    HandshakeFailed {
        /// Where.
        room: RoomName,
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: String,
    },
    /// A publisher was told how much the layers of a track shall take.
    Demanded {
        /// Where.
        room: RoomName,
        /// Whom.
        participant: ParticipantId,
        /// What exactly.
        demand: Demand,
    },
    /// Somebody left.
    ParticipantLeft {
        /// Where.
        room: RoomName,
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
}
