//! Room signaling: what a client and the server say to each other over the WebSocket, as JSON.
//!
//! Each WebSocket text message is one [`Request`] (client to server) or one [`Notice`] (server to client). The client
//! offers (RFC 8829), the server answers as an ICE-lite agent; there is one `PeerConnection` for everything. The
//! client's `recvonly` media sections are *slots*: the server maps tracks into them and says which is where in
//! [`ServerMessage::Slots`], so that who is seen may change without a new offer.
//!
//! A client that knows a lower version ignores fields it does not know; a changed meaning raises [`VERSION`].

mod strategy;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Mid, ParticipantId, Rid, RoomName, SessionId, TrackId};

pub use strategy::{BadStrategy, DEADLINES_MS, Delay, RepairScheme, Strategy};

/// The version of this protocol. The server refuses a [`Join`] that states another one.
pub const VERSION: u32 = 1;

/// The longest text message the server accepts, in bytes; an offer of twenty media sections takes about 60 kB.
pub const MESSAGE_MAX: usize = 256 * 1024;

/// What a client sends: one message with a number that the reply names in [`Notice::re`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The client's number for this message, unique within its session; replies and errors repeat it as `re`.
    pub id: u64,
    /// The message itself.
    #[serde(flatten)]
    pub message: ClientMessage,
}

/// What the server sends: one message, in reply to a request where `re` says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// The request that this answers; absent if the server speaks of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<u64>,
    /// The message itself.
    #[serde(flatten)]
    pub message: ServerMessage,
}

/// A message from a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Enters the room that the token names. The first message of a session; answered by `joined`.
    Join(Join),
    /// Publishes, unpublishes, restarts ICE or adds slots: a new offer. Answered by `answer`.
    Offer(Offer),
    /// States which pictures the viewer sees and how large. Replaces the layout stated before.
    Layout(Layout),
    /// Mutes or unmutes an own track; everyone in the room is told.
    Mute {
        /// The track, as `joined` or `answer` named it.
        track: TrackId,
        /// Whether it is muted from now on.
        muted: bool,
    },
    /// Carries an own track in another way from now on: to everybody who has not said otherwise, and from here. Replaces
    /// what the last offer said of it.
    Carry {
        /// The track, as `joined` or `answer` named it.
        track: TrackId,
        /// How it is carried.
        strategy: Strategy,
    },
    /// A `demand` is carried out: the encodings take no more than it says. Not answered; the server says again what is not
    /// confirmed within a second.
    Applied(Applied),
    /// Leaves the room at once. The server closes the WebSocket.
    Leave,
    /// Asks for a `pong` that repeats `sent_ms`; keeps proxies from closing an idle WebSocket.
    Ping {
        /// The client's clock in milliseconds, for measuring the round trip.
        sent_ms: f64,
    },
}

/// Enters the room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// The protocol version that the client speaks: [`VERSION`].
    pub protocol: u32,
    /// The client's name and version, for the server's logs, such as `lianmai-web/0.1`.
    #[serde(default)]
    pub client: String,
    /// The offer and the tracks that it publishes.
    #[serde(flatten)]
    pub offer: Offer,
}

/// A client's offer with what its sending media sections mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// The session description (RFC 8866) from `createOffer`; candidates are not needed.
    pub sdp: String,
    /// Every track that the client publishes after this offer; one left out is unpublished.
    #[serde(default)]
    pub tracks: Vec<Publish>,
}

/// One track that a client publishes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// The media section of the offer that sends it.
    pub mid: Mid,
    /// Where the media comes from.
    pub source: Source,
    /// Whether it starts muted.
    #[serde(default)]
    pub muted: bool,
    /// The encodings by rid and size, if there are several (RFC 8853). The order does not matter.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// How it is carried to everybody, and from its publisher; what is left out is as the room has it.
    #[serde(default, skip_serializing_if = "Strategy::is_empty")]
    pub strategy: Strategy,
}

/// One simulcast encoding of a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Layer {
    /// Its `a=rid`.
    pub rid: Rid,
    /// Picture width in pixels.
    pub width: u32,
    /// Picture height in pixels.
    pub height: u32,
}

/// What became of a `demand`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The track, as the `demand` named it.
    pub track: TrackId,
    /// The newest demand that holds now.
    pub epoch: u64,
    /// What each encoding could take if nothing were demanded; one left out is not known.
    #[serde(default)]
    pub layers: Vec<AppliedLayer>,
}

/// An encoding after a `demand` was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedLayer {
    /// Its `a=rid`; absent if the track has one encoding only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<Rid>,
    /// The most that the application lets it take, in kbit/s without headers; null if it sets no limit.
    #[serde(default)]
    pub max_kbps: Option<u32>,
}

/// Where a track's media comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen or window.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
}

impl Source {
    /// Sound or picture.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Camera | Self::Screen => Kind::Video,
            Self::Microphone | Self::ScreenAudio => Kind::Audio,
        }
    }
}

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// The pictures that a viewer sees.
///
/// Video tracks that are not listed are not sent. Until the first layout the server sends every track at a medium
/// size, so that a picture is there at once. Audio is always sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Layout {
    /// One entry for each visible picture, at most [`TILES_MAX`].
    pub tiles: Vec<Tile>,
}

/// The most tiles one layout may state.
pub const TILES_MAX: usize = 64;

/// One visible picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tile {
    /// The track shown.
    pub track: TrackId,
    /// Width in device pixels; 0 if it is out of sight for now.
    pub width: u32,
    /// Height in device pixels; 0 if it is out of sight for now.
    pub height: u32,
    /// How the track is carried to this viewer; what is left out is as its publisher has it. It holds from now on, without
    /// a new offer. Sound is always sent, and may be listed for this alone, with a size of 0.
    #[serde(default, skip_serializing_if = "Strategy::is_empty")]
    pub strategy: Strategy,
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The client is in the room.
    Joined(Box<Joined>),
    /// The WebSocket took up its session again; media never stopped. Replaces all state the client holds.
    Resumed {
        /// The room as it is now, without the client itself.
        room: Room,
        /// The client's own tracks.
        tracks: Vec<Track>,
        /// What its slots carry now.
        slots: Vec<SlotBinding>,
    },
    /// The answer to an `offer`.
    Answer {
        /// The server's session description.
        sdp: String,
        /// The client's own tracks after this offer, in the order of `Offer::tracks`.
        tracks: Vec<Track>,
    },
    /// Somebody entered.
    ParticipantJoined {
        /// Who.
        participant: Participant,
    },
    /// Somebody left.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody publishes a track.
    TrackPublished {
        /// Who.
        participant: ParticipantId,
        /// What.
        track: Track,
    },
    /// A track ended.
    TrackUnpublished {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        track: TrackId,
    },
    /// A track was muted or unmuted.
    TrackMuted {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        track: TrackId,
        /// Its state from now on.
        muted: bool,
    },
    /// What the client's slots carry from now on; a slot not listed is empty.
    Slots {
        /// One entry for each slot in use.
        slots: Vec<SlotBinding>,
    },
    /// Which encoding a slot forwards from now on.
    SlotLayer {
        /// The slot.
        mid: Mid,
        /// The track in it.
        track: TrackId,
        /// The encoding; absent if the track has one only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rid: Option<Rid>,
    },
    /// How much each encoding of an own track shall take from now on, by what those who watch can take. Confirm it by
    /// `applied`. It is said again until it is confirmed; of several the one with the greatest epoch holds.
    Demand(Demand),
    /// There are more tracks than slots: the client may offer again with at least so many `recvonly` sections.
    SlotsNeeded {
        /// Audio sections wanted in all.
        audio: u32,
        /// Video sections wanted in all.
        video: u32,
    },
    /// No media path works any more: the client should restart ICE with a new offer (RFC 8445 §2.4).
    IceRestartNeeded,
    /// The answer to `ping`.
    Pong {
        /// As the client sent it.
        sent_ms: f64,
    },
    /// A request failed; everything is as before it.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people: what was wrong and what to do.
        reason: String,
    },
    /// The server ends the session and closes the WebSocket.
    Closed {
        /// For programs.
        code: CloseCode,
        /// For people.
        reason: String,
    },
}

/// What a client learns when it enters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Joined {
    /// The protocol version of the session.
    pub protocol: u32,
    /// The server's name and version.
    pub server: String,
    /// The secret for taking the session up again: the `session` parameter of the next WebSocket's address.
    pub session: SessionId,
    /// The client itself.
    pub participant: ParticipantId,
    /// The room, without the client itself.
    pub room: Room,
    /// The server's session description.
    pub sdp: String,
    /// The client's own tracks, in the order of `Offer::tracks`.
    pub tracks: Vec<Track>,
    /// What its slots carry.
    pub slots: Vec<SlotBinding>,
    /// How often to `ping`, in milliseconds.
    pub ping_interval_ms: u32,
    /// How long after its WebSocket broke a session can be taken up again, in milliseconds.
    pub resume_within_ms: u32,
}

/// A room and who is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// Everyone in it, in the order of their joining.
    pub participants: Vec<Participant>,
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// Unique in the room, new at each join.
    pub id: ParticipantId,
    /// The token's `sub`: who this is to the application. A second join of the same identity ends the first.
    pub identity: String,
    /// The token's `name`, or the identity.
    pub name: String,
    /// What they publish.
    pub tracks: Vec<Track>,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Track {
    /// Unique in the room.
    pub id: TrackId,
    /// Sound or picture.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
    /// Whether its publisher muted it.
    pub muted: bool,
    /// Its encodings, as its publisher stated them.
    pub layers: Vec<Layer>,
}

/// What a slot carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotBinding {
    /// The client's `recvonly` media section.
    pub mid: Mid,
    /// The track in it.
    pub track: TrackId,
    /// Who publishes it.
    pub participant: ParticipantId,
}

/// How much each encoding of a track shall take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Demand {
    /// Grows with each demand for this track.
    pub epoch: u64,
    /// The client's own track.
    pub track: TrackId,
    /// One entry for each encoding; one left out stays as it is.
    pub layers: Vec<DemandedLayer>,
}

/// How much one encoding shall take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DemandedLayer {
    /// Its `a=rid`; absent if the track has one encoding only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<Rid>,
    /// The most that its encoder shall make, in kbit/s without headers; null for as much as the application lets it make,
    /// which is never to be exceeded.
    #[serde(default)]
    pub max_kbps: Option<u32>,
    /// Whether it is to be sent at all. This server sends true only.
    pub active: bool,
}

/// Why somebody left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// They said so.
    Left,
    /// Neither their media path nor their WebSocket came back.
    ConnectionLost,
    /// The same identity joined again.
    Replaced,
    /// The server is shutting down.
    ServerClosing,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, or not a message of this protocol.
    BadMessage,
    /// The message does not fit the state of the session, such as a `layout` before `join`.
    BadState,
    /// The client speaks another protocol version.
    UnsupportedVersion,
    /// The session description could not be used.
    BadOffer,
    /// The track is not known, or not the client's own.
    UnknownTrack,
    /// The token does not allow it.
    NotAllowed,
    /// A limit of the server was reached.
    LimitReached,
}

/// Why the server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloseCode {
    /// The client left.
    Left,
    /// The same identity joined from elsewhere.
    Replaced,
    /// The session that the client wanted to take up again is over: it should join anew.
    SessionOver,
    /// Media stopped and did not come back: the client should join anew.
    MediaLost,
    /// The client broke the protocol, or a request cannot be met.
    Refused,
    /// The server is shutting down: the client should join again, and will meet another server or the next start.
    ServerClosing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_flat_json_with_a_type() {
        let request: Request =
            serde_json::from_str(r#"{"id":3,"type":"mute","track":"TR_a","muted":true,"later":1}"#).unwrap();
        assert_eq!(request.id, 3);
        assert_eq!(request.message, ClientMessage::Mute { track: "TR_a".into(), muted: true });

        let notice = Notice { re: Some(3), message: ServerMessage::Pong { sent_ms: 1.5 } };
        assert_eq!(serde_json::to_string(&notice).unwrap(), r#"{"re":3,"type":"pong","sent_ms":1.5}"#);
    }

    #[test]
    fn a_join_carries_its_offer_flat() {
        let text =
            r#"{"id":1,"type":"join","protocol":1,"sdp":"v=0","tracks":[{"mid":"0","source":"camera"}]}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        let ClientMessage::Join(join) = request.message else { panic!("{request:?}") };
        assert_eq!((join.offer.sdp.as_str(), join.offer.tracks[0].source), ("v=0", Source::Camera));
    }

    #[test]
    fn a_demand_without_limit_says_null_and_what_is_unknown_is_ignored() {
        let layer =
            |rid: Option<&str>, max_kbps| DemandedLayer { rid: rid.map(Into::into), max_kbps, active: true };
        let layers = vec![layer(Some("h"), Some(900)), layer(None, None)];
        let demand = ServerMessage::Demand(Demand { epoch: 4, track: "TR_a".into(), layers });
        let text = serde_json::to_string(&Notice { re: None, message: demand }).unwrap();
        let expected = concat!(
            r#"{"type":"demand","epoch":4,"track":"TR_a","layers":["#,
            r#"{"rid":"h","max_kbps":900,"active":true},{"max_kbps":null,"active":true}]}"#
        );
        assert_eq!(text, expected);
        let text =
            r#"{"id":2,"type":"applied","track":"TR_a","epoch":4,"at":1.5,"layers":[{"rid":"h","w":1280}]}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        let layers = vec![AppliedLayer { rid: Some("h".into()), max_kbps: None }];
        assert_eq!(
            request.message,
            ClientMessage::Applied(Applied { track: "TR_a".into(), epoch: 4, layers })
        );
        let bare: Request =
            serde_json::from_str(r#"{"id":2,"type":"applied","track":"TR_a","epoch":4}"#).unwrap();
        assert!(matches!(bare.message, ClientMessage::Applied(applied) if applied.layers.is_empty()));
    }

    #[test]
    fn an_unknown_type_is_refused_with_the_known_ones() {
        let error = serde_json::from_str::<Request>(r#"{"id":1,"type":"jion"}"#).unwrap_err().to_string();
        assert!(error.contains("jion") && error.contains("join"), "{error}");
    }
}
