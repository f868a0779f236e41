//! What a room looks like from inside, as JSON: what each participant sends, what it is sent and why, and what its path is like.
//!
//! In: nothing. Out: values that are made when somebody asks, from what pipelines count anyway. Time: `at_ms`; counters run
//! from the beginning of what they count, so that a rate is the difference of two answers. Limit: [`PARTICIPANTS_MAX`]
//! participants in one answer.
//!
//! Names are those of signaling; what has a unit says so in its name. Nobody's address is told: whoever may join a room may
//! read this.

mod build;

use proto::ids::{Mid, ParticipantId, Rid, RoomName, TrackId};
use proto::signal::{Kind, Source};
use serde::{Deserialize, Serialize};

pub use build::PathNow;

/// The most participants in one answer: a room of nine and some more. It bounds the time that an answer takes from the
/// packets, some tens of microseconds a participant.
pub const PARTICIPANTS_MAX: usize = 16;

/// Which of a room's participants to tell of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this one.
    pub participant: Option<ParticipantId>,
    /// Only those who joined after this one; for larger rooms, answer by answer.
    pub after: Option<ParticipantId>,
}

/// A room; of one that spans workers, what one of them knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomStats {
    /// The time since the server's start, in milliseconds.
    pub at_ms: f64,
    /// The room's name.
    pub room: RoomName,
    /// How many participants there are, told of or not, those on other workers included.
    pub participant_count: usize,
    /// Those that were asked for, at most [`PARTICIPANTS_MAX`], in the order of joining.
    pub participants: Vec<ParticipantStats>,
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantStats {
    /// Its name in signaling.
    pub participant: ParticipantId,
    /// Who it is to the application.
    pub identity: String,
    /// When it joined: the time since the server's start, in milliseconds.
    pub joined_ms: f64,
    /// Its connection.
    pub connection: ConnectionStats,
    /// What it sends: one for each encoding that has come, by media section and then by age.
    pub streams: Vec<StreamStats>,
    /// What it is sent: one for each of its slots that has a track.
    pub legs: Vec<LegStats>,
}

/// A participant's connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStats {
    /// Whether media can flow now.
    pub connected: bool,
    /// How its datagrams travel.
    pub protocol: Protocol,
    /// The SRTP protection profile (RFC 5764 §4.1.2), `none` in simulations; absent before media can flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp_profile: Option<String>,
    /// The smoothed round trip in milliseconds, from RTCP; absent before the first report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Datagrams of SRTP and SRTCP received from it.
    pub packets_received: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes_received: u64,
    /// Datagrams of SRTP and SRTCP sent to it.
    pub packets_sent: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes_sent: u64,
    /// Congestion control and repair towards it; absent if it does not tell what arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<SendingStats>,
}

/// How datagrams travel between a client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// One by one.
    Udp,
}

/// How a participant is sent to, and what that tells of its path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendingStats {
    /// What it may be sent, repair and headers included, in kbit/s: the estimate of what its path carries.
    pub target_kbps: u64,
    /// The phase that the estimator is in, as it names it.
    pub estimator_state: String,
    /// What weakens the path, such as `random` or `policed`; `unknown` before that is recognized.
    pub path_class: String,
    /// How long a packet takes to leave the pacer, in milliseconds.
    pub queue_ms: f64,
    /// Packets of which its feedback has told whether they arrived.
    pub packets_told: u64,
    /// Of them, those that the path lost by itself.
    pub packets_lost_path: u64,
    /// Of them, those that were lost because too much was sent.
    pub packets_lost_congestion: u64,
    /// The share of packets that the path loses by itself, 0 to 1.
    pub loss_path: f64,
    /// The share of packets that are lost because too much is sent, 0 to 1.
    pub loss_congestion: f64,
    /// How many packets in a row are lost on average, at least 1.
    pub loss_burst: f64,
    /// The share of forward repair that is planned, of what it repairs: 0.1 is one packet for ten.
    pub redundancy: f64,
}

/// One encoding of a track, as its publisher sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStats {
    /// The track; absent if it is not published any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackId>,
    /// The encoding's name; absent if the track has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<Rid>,
    /// Sound or picture; absent if the codec is not known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The codec's name in SDP, such as `VP8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Whether it is sent now.
    pub active: bool,
    /// The picture's width in pixels, as the last key frame says; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The picture's height in pixels, as the last key frame says; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// What a copy takes with all headers, in kbit/s, over the last one to eight seconds.
    pub kbps: u64,
    /// Pictures a second of late; zero for sound and while it is not sent.
    pub frames_per_second: f64,
    /// Pictures received whole or in part.
    pub frames_received: u64,
    /// Key frames received.
    pub key_frames_received: u64,
    /// Packets received, recovered ones included.
    pub packets_received: u64,
    /// Bytes of their payloads.
    pub bytes_received: u64,
    /// Packets lost on the way here, recovered or not (RFC 3550 §6.4.1); duplicates count against it.
    pub packets_lost: u64,
    /// Of them, those that came again.
    pub packets_retransmitted: u64,
    /// Of them, those that repair packets or redundancy restored.
    pub packets_restored: u64,
    /// Of them, those that were given up.
    pub packets_given_up: u64,
    /// Packets asked for again, each as often as it was (RFC 4585 §6.2.1).
    pub nacked_packets: u64,
    /// Times that a key frame was asked for (RFC 4585 §6.3.1).
    pub pli_count: u64,
    /// How unevenly packets arrive, in milliseconds (RFC 3550 §A.8).
    pub jitter_ms: f64,
    /// How long players are asked to wait for what must be recovered here, in milliseconds.
    pub recovery_ms: f64,
}

/// One slot of a participant: a track on its way to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegStats {
    /// The slot.
    pub mid: Mid,
    /// Who publishes what is in it.
    pub participant: ParticipantId,
    /// What is in it.
    pub track: TrackId,
    /// Sound or picture.
    pub kind: Kind,
    /// Whether anything of it is sent now.
    pub active: bool,
    /// The encoding that is sent; absent if none is, or if the track has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<Rid>,
    /// The encoding that shall be sent from its next key frame on; absent if none shall, or if the track has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_rid: Option<Rid>,
    /// The encoding that suits how large it is seen; absent if it is not seen, or if the track has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_rid: Option<Rid>,
    /// Why less is sent than suits.
    pub limited_by: LimitedBy,
    /// How fast media leaves, with RTP headers, without retransmissions and repair, in kbit/s over the last second.
    pub kbps: u64,
    /// RTP packets sent for the first time.
    pub packets_sent: u64,
    /// Their bytes, RTP headers included.
    pub bytes_sent: u64,
    /// RTP packets sent again because they were asked for.
    pub retransmitted_packets_sent: u64,
    /// Their bytes, RTP headers included.
    pub retransmitted_bytes_sent: u64,
    /// Repair packets sent before anybody asked (`FlexFEC`).
    pub fec_packets_sent: u64,
    /// Their bytes, RTP headers included.
    pub fec_bytes_sent: u64,
    /// Packets that it asked for again, each as often as it did.
    pub nacked_packets: u64,
    /// Times that it asked for a key frame.
    pub key_frames_asked: u64,
    /// How long its player is asked to wait for repair at least, in milliseconds.
    pub playout_delay_ms: f64,
}

/// Why less of a track is sent than suits how large it is seen: the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    /// It is not less.
    None,
    /// Media cannot flow now.
    Disconnected,
    /// Its publisher has muted it.
    Muted,
    /// It is not seen.
    Hidden,
    /// The viewer's path does not carry more.
    Bandwidth,
    /// What shall be sent waits for a key frame.
    KeyFrame,
    /// Its publisher does not send what would suit.
    Publisher,
}
