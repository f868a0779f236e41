//! Session descriptions: what a client offers and what the server answers (RFC 8866, RFC 8829, RFC 9429).
//!
//! In: an offer's text. Out: [`Offer`]; from it and an [`Answer`] the answer's text. The server answers as an ICE-lite
//! agent and as the DTLS server, everything in one bundle with RTP and RTCP on one port. Syntax is `rtc-sdp`'s.
//! Limit: `signal::MESSAGE_MAX` bytes, [`SECTIONS_MAX`], [`CODECS_MAX`], [`SSRCS_MAX`], [`RIDS_MAX`].

mod answer;
mod codec;
mod parse;
mod section;

pub use answer::{Answer, AnswerSection, write_answer};
pub use codec::{Fmtp, SectionCodec};

use crate::codec::Codec;
use crate::ids::{Mid, Rid};
use crate::rtp::extension::ExtensionMap;
use crate::rtp::{PayloadType, Ssrc};
use crate::signal::{Kind, MESSAGE_MAX};

/// The most media sections that one offer may have: eight of the client's own and 32 slots of each kind. A nine-grid
/// with sound takes twenty.
pub const SECTIONS_MAX: usize = 72;

/// The most payload types that one media section may list; Chromium lists 34.
pub const CODECS_MAX: usize = 64;

/// The most sources that one media section may declare; three encodings with retransmission take six.
pub const SSRCS_MAX: usize = 32;

/// The most simulcast encodings that one media section may offer; browsers send three.
pub const RIDS_MAX: usize = 16;

/// What a client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The client's half of the ICE credentials.
    pub ice: IceCredentials,
    /// The digests of certificates, one of which the client will show; at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// Which DTLS roles the client takes; only what leaves the server's role to us is accepted.
    pub setup: Setup,
    /// The bundled sections (`a=group:BUNDLE`, RFC 9143), in the order of the group.
    pub bundle: Vec<Mid>,
    /// All media sections, in the order of the offer.
    pub sections: Vec<Section>,
    /// Whether one- and two-byte header extensions may be mixed (RFC 8285 §6).
    pub extmap_allow_mixed: bool,
}

/// A user name fragment and a password for connectivity checks (RFC 8839 §5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// The user name fragment: 4 to 256 ice-chars.
    pub ufrag: String,
    /// The password: 22 to 256 ice-chars.
    pub pwd: String,
}

/// A certificate's digest (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// How the digest was made.
    pub algorithm: HashAlgorithm,
    /// The digest, as long as the algorithm makes it.
    pub digest: Vec<u8>,
}

/// A hash function that is good enough for a certificate's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name that `a=fingerprint` uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// The length of a digest in bytes.
    pub const fn digest_length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Who opens the DTLS connection (RFC 4145 §4, RFC 8842 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The offerer leaves the choice to the answerer.
    ActPass,
    /// The offerer opens it.
    Active,
    /// The offerer waits for it.
    Passive,
}

/// One media section of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name; empty if the section is rejected and has none.
    pub mid: Mid,
    /// What it is for.
    pub kind: SectionKind,
    /// The transport protocol of the `m=` line, which the answer repeats.
    pub protocol: String,
    /// The formats of the `m=` line as they stand there; all that is known of a section that is rejected or `Other`.
    pub formats: Vec<String>,
    /// Who sends, as the client sees it.
    pub direction: Direction,
    /// Whether the client itself gave it up: port 0 and not `a=bundle-only`.
    pub rejected: bool,
    /// The codecs in the order of the client's preference, retransmission folded into what it repairs.
    pub codecs: Vec<SectionCodec>,
    /// The payload type of repair packets by XOR over any codec's (`flexfec-03`, the draft of 2016 that browsers read);
    /// pictures only.
    pub flexfec: Option<PayloadType>,
    /// The header extensions that we know, by their numbers.
    pub extensions: ExtensionMap,
    /// The simulcast encodings that the client would send, largest preference first; empty without simulcast.
    pub rids: Vec<RidOffer>,
    /// The sources that the client declares to send from.
    pub ssrcs: Vec<SsrcOffer>,
    /// The stream and track that the client sends.
    pub msid: Option<Msid>,
    /// Whether the client understands reduced-size RTCP (RFC 5506).
    pub reduced_size_rtcp: bool,
}

impl Section {
    /// The payload types that the server can receive here, in the offered order; each one's retransmission comes
    /// with it in the answer. Those are the codecs of [`Codec`] in the forms that browsers can send: H.264 in
    /// packetization modes 0 and 1, VP9 in profiles 0 and 2, AV1 in profile 0, RED around Opus.
    pub fn receivable_codecs(&self) -> Vec<PayloadType> {
        let forwardable = self.codecs.iter().filter(|codec| codec.is_forwardable());
        let whole =
            forwardable.filter(|codec| codec.codec != Some(Codec::Red) || self.is_red_around_opus(codec));
        whole.map(|codec| codec.payload_type).collect()
    }

    /// The payload types that the server can send here, in the offered order: the same, for it forwards only.
    pub fn sendable_codecs(&self) -> Vec<PayloadType> {
        self.receivable_codecs()
    }

    /// Whether all that is in RED is Opus of this section.
    fn is_red_around_opus(&self, red: &SectionCodec) -> bool {
        let inside = red.red_inside().and_then(|inside| self.codec(inside));
        inside.is_some_and(|codec| codec.codec == Some(Codec::Opus))
    }

    /// What a payload type stands for; `None` if it is retransmission or not listed.
    pub fn codec(&self, payload_type: PayloadType) -> Option<&SectionCodec> {
        self.codecs.iter().find(|codec| codec.payload_type == payload_type)
    }

    /// The codec that a retransmission payload type repairs.
    pub fn repaired_codec(&self, rtx: PayloadType) -> Option<&SectionCodec> {
        self.codecs.iter().find(|codec| codec.rtx == Some(rtx))
    }
}

/// What a media section is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
    /// Something that we do not carry, by its name, such as `application`.
    Other(String),
}

impl SectionKind {
    /// The name that stands in the `m=` line.
    pub fn name(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Other(name) => name,
        }
    }

    /// The kind of track that fits in; `None` if we do not carry it.
    pub const fn track_kind(&self) -> Option<Kind> {
        match self {
            Self::Audio => Some(Kind::Audio),
            Self::Video => Some(Kind::Video),
            Self::Other(_) => None,
        }
    }
}

/// Who sends in a media section, as the one who describes it sees it (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// Only the one who describes it.
    SendOnly,
    /// Only the other one.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// Whether the one who describes it may send.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the one who describes it may receive.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// One simulcast encoding of an offer (RFC 8853 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RidOffer {
    /// Its name.
    pub rid: Rid,
    /// Whether it starts paused (`~`): negotiated, but nothing is sent for now.
    pub paused: bool,
}

/// One source that a client declares (RFC 5576).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcOffer {
    /// Its number.
    pub ssrc: Ssrc,
    /// The canonical name of its synchronization context.
    pub cname: Option<String>,
    /// The source that it retransmits, by `a=ssrc-group:FID`.
    pub rtx_of: Option<Ssrc>,
}

/// The names by which the other side's script sees a track (RFC 8830).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msid {
    /// The `MediaStream`'s; `-` if the track is in none.
    pub stream: String,
    /// The track's; empty if not stated.
    pub track: String,
}

/// Why an offer cannot be used, and what the client should do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than a message may be.
    #[error("the offer has {0} bytes; at most {max} are accepted", max = MESSAGE_MAX)]
    TooLong(usize),
    /// A control character inside a line.
    #[error("line {0} holds a control character")]
    ControlCharacter(usize),
    /// Not a session description.
    #[error("not a session description (RFC 8866): {0}")]
    Syntax(String),
    /// No media section at all.
    #[error("the offer has no media section: add transceivers before createOffer")]
    NoSections,
    /// Too many media sections.
    #[error("{0} media sections; at most {SECTIONS_MAX} are accepted: reuse stopped transceivers")]
    TooManySections(usize),
    /// Too much of something in one section.
    #[error("section {mid}: {found} {what}; at most {max} are accepted")]
    TooMany {
        /// The section.
        mid: Mid,
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A media section without a name.
    #[error("media section number {0} has no a=mid")]
    MissingMid(usize),
    /// Two media sections with one name.
    #[error("two media sections have a=mid:{0}")]
    DuplicateMid(Mid),
    /// A media section outside the bundle.
    #[error(
        "section {0} is not in a=group:BUNDLE: create the RTCPeerConnection with bundlePolicy 'max-bundle'"
    )]
    NotBundled(Mid),
    /// RTCP on a port of its own.
    #[error("section {0} has no a=rtcp-mux: create the RTCPeerConnection with rtcpMuxPolicy 'require'")]
    MissingRtcpMux(Mid),
    /// Media that is not secured by DTLS-SRTP.
    #[error("section {mid} is for {protocol}: only UDP/TLS/RTP/SAVPF (DTLS-SRTP) is accepted")]
    Protocol {
        /// The section.
        mid: Mid,
        /// Its transport protocol.
        protocol: String,
    },
    /// An attribute that is needed and nowhere.
    #[error("the offer has no a={0}")]
    Missing(&'static str),
    /// Two sections of one bundle that state different things.
    #[error(
        "section {mid} states another a={attribute} than the sections before it, though they are one bundle"
    )]
    Disagreement {
        /// The later section.
        mid: Mid,
        /// The attribute.
        attribute: &'static str,
    },
    /// No digest by a hash function that is good enough.
    #[error("no a=fingerprint by sha-256, sha-384 or sha-512")]
    NoUsableFingerprint,
    /// The client wants to be the DTLS server.
    #[error("the offer has a=setup:passive, but the server is passive: offer a=setup:actpass")]
    Passive,
    /// Nobody would check connectivity.
    #[error("the offer is a=ice-lite, as the server is: one side must be a full ICE agent")]
    IceLite,
    /// One number that stands for two header extensions.
    #[error("section {mid} gives header extension number {id} another meaning than before it")]
    ExtensionConflict {
        /// The section.
        mid: Mid,
        /// The number.
        id: u8,
    },
    /// An attribute's value that does not follow its grammar.
    #[error("a={attribute} cannot be read: {value:?}")]
    Malformed {
        /// The attribute.
        attribute: &'static str,
        /// The value's beginning.
        value: String,
    },
}

/// What Chromium 156 offers, and the smallest offer that is accepted.
#[cfg(test)]
mod testdata {
    use proptest::prelude::*;

    /// A microphone and a camera with three encodings, both `sendrecv`.
    pub(super) const SENDING: &str = include_str!("testdata/offer.sdp");
    /// One audio and one video section that only receive.
    pub(super) const RECEIVING: &str = include_str!("testdata/offer-recvonly.sdp");
    /// One of each kind, with the transport stated for the session.
    pub(super) const SMALL: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE a v\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
        00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff\r\na=setup:actpass\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";

    /// An offer in which lines were dropped, doubled or moved, or bytes replaced.
    pub(super) fn mutated() -> impl Strategy<Value = String> {
        let base = prop_oneof![Just(SMALL), Just(SENDING), Just(RECEIVING)];
        let change = (0..4_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<char>());
        (base, prop::collection::vec(change, 1..8)).prop_map(|(base, changes)| {
            let mut lines: Vec<String> = base.split_inclusive('\n').map(str::to_owned).collect();
            for (kind, line, place, letter) in changes {
                let line = line.index(lines.len());
                match kind {
                    0 if lines.len() > 1 => drop(lines.remove(line)),
                    1 => lines.insert(place.index(lines.len()), lines[line].clone()),
                    2 => {
                        let length = place.index(lines[line].chars().count() + 1);
                        lines[line] = lines[line].chars().take(length).collect();
                    }
                    _ => {
                        let count = lines[line].chars().count().max(1);
                        let replaced = lines[line].chars().enumerate();
                        let at = place.index(count);
                        lines[line] =
                            replaced.map(|(index, old)| if index == at { letter } else { old }).collect();
                    }
                }
            }
            lines.concat()
        })
    }
}
