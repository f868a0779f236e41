//! A client's session description, as a browser would write it, and as much of the answer as a client needs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use proto::ids::{Mid, Rid};
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, PayloadType, Ssrc};
use proto::signal::{Kind, Layer, Publish, Source, Strategy};

use super::stamp::{RIDS, SIZES};

/// What a media section of the offer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Sends a track in one stream.
    Send(Source),
    /// Sends a track in one stream and repair packets in another.
    Repaired(Source),
    /// Sends a track in three.
    Simulcast(Source),
    /// Receives whatever the server maps into it.
    Slot(Kind),
    /// Sent once, does not now.
    Nothing(Kind),
}

impl Use {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Send(source) | Self::Repaired(source) | Self::Simulcast(source) => source.kind(),
            Self::Slot(kind) | Self::Nothing(kind) => kind,
        }
    }

    pub(crate) fn source(self) -> Option<Source> {
        match self {
            Self::Send(source) | Self::Repaired(source) | Self::Simulcast(source) => Some(source),
            Self::Slot(_) | Self::Nothing(_) => None,
        }
    }
}

/// What a client tells of what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// When packets arrive.
    Arrivals,
    /// The same, and takes repair packets.
    ArrivalsAndRepair,
    /// Losses and reports alone.
    Nothing,
}

/// What a client sends and takes as sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sound {
    /// Opus alone.
    Opus,
    /// Sends Opus, takes RED as well.
    TakesRed,
    /// Sends RED with two predecessors a packet, and takes it.
    SendsRed,
}

/// The payload types and header extension numbers of one client; they differ from client to client, as browsers' do.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) opus: PayloadType,
    /// Around that, for who negotiates it.
    pub(crate) red: PayloadType,
    pub(crate) sound: Sound,
    pub(crate) vp8: PayloadType,
    pub(crate) vp8_rtx: PayloadType,
    pub(crate) flexfec: PayloadType,
    pub(crate) extensions: ExtensionMap,
}

impl Dialect {
    /// One of two.
    pub(crate) fn new(number: usize, sound: Sound) -> Self {
        let (base, first): (u8, u8) = if number.is_multiple_of(2) { (96, 1) } else { (120, 4) };
        let mut extensions = ExtensionMap::default();
        let all = [
            Extension::AudioLevel,
            Extension::TransportSequence,
            Extension::Mid,
            Extension::Rid,
            Extension::RepairedRid,
            Extension::DependencyDescriptor,
        ];
        for (index, extension) in all.into_iter().enumerate() {
            extensions.set(extension, ExtensionId(first + index as u8));
        }
        let pt = |offset: u8| PayloadType(base + offset);
        let opus = PayloadType(111 - number as u8 % 2);
        let red = PayloadType(63 - number as u8 % 2);
        Self { opus, red, sound, vp8: pt(0), vp8_rtx: pt(1), flexfec: pt(4), extensions }
    }

    /// The payload types of sound, the preferred one first.
    fn sounds(&self) -> String {
        match self.sound {
            Sound::Opus => self.opus.0.to_string(),
            Sound::TakesRed => format!("{} {}", self.opus.0, self.red.0),
            Sound::SendsRed => format!("{} {}", self.red.0, self.opus.0),
        }
    }

    fn write(&self, text: &mut String, kind: Kind, tells: Tells) {
        let told = match tells {
            Tells::Arrivals | Tells::ArrivalsAndRepair => {
                |number: u8| format!("a=rtcp-fb:{number} transport-cc\r\n")
            }
            Tells::Nothing => |_| String::new(),
        };
        let extension = |extension: Extension| {
            let id = self.extensions.id(extension).expect("all are set");
            format!("a=extmap:{} {}\r\n", id.0, extension.uri())
        };
        if tells != Tells::Nothing {
            text.push_str(&extension(Extension::TransportSequence));
        }
        text.push_str(&extension(Extension::Mid));
        if kind == Kind::Audio {
            text.push_str(&extension(Extension::AudioLevel));
            let opus = self.opus.0;
            let _ = write!(
                text,
                "a=rtpmap:{opus} opus/48000/2\r\n{}a=fmtp:{opus} minptime=10;useinbandfec=1\r\n",
                told(opus)
            );
            if self.sound != Sound::Opus {
                let red = self.red.0;
                let _ = write!(text, "a=rtpmap:{red} red/48000/2\r\na=fmtp:{red} {opus}/{opus}\r\n");
            }
            return;
        }
        text.push_str(&extension(Extension::Rid));
        text.push_str(&extension(Extension::RepairedRid));
        text.push_str(&extension(Extension::DependencyDescriptor));
        let h264 = self.vp8.0 + 2;
        for (number, name) in [(self.vp8.0, "VP8"), (h264, "H264")] {
            let _ = write!(
                text,
                "a=rtpmap:{number} {name}/90000\r\n{}\
                 a=rtcp-fb:{number} ccm fir\r\na=rtcp-fb:{number} nack\r\na=rtcp-fb:{number} nack pli\r\n",
                told(number)
            );
            if name == "H264" {
                let _ = write!(
                    text,
                    "a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
                );
            }
            let _ = write!(text, "a=rtpmap:{0} rtx/90000\r\na=fmtp:{0} apt={number}\r\n", number + 1);
        }
        if tells == Tells::ArrivalsAndRepair {
            let number = self.flexfec.0;
            let _ = write!(
                text,
                "a=rtpmap:{number} flexfec-03/90000\r\n{}a=fmtp:{number} repair-window=10000000\r\n",
                told(number)
            );
        }
    }
}

/// What an offer says of the transport.
#[derive(Debug, Clone)]
pub(crate) struct TransportOffer {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) fingerprint: [u8; 32],
}

/// The offer's text.
pub(crate) fn write(sections: &[Use], dialect: &Dialect, transport: &TransportOffer, tells: Tells) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let mut text = format!(
        "v=0\r\no=- 4858056832738455750 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
        mids.join(" ")
    );
    let digest: Vec<String> = transport.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    for (section, mid) in sections.iter().zip(&mids) {
        let tells = match section {
            Use::Slot(_) => tells,
            Use::Repaired(_) => Tells::ArrivalsAndRepair,
            Use::Send(_) | Use::Simulcast(_) | Use::Nothing(_) => Tells::Arrivals,
        };
        let (kind, formats) = match section.kind() {
            Kind::Audio => ("audio", dialect.sounds()),
            Kind::Video => {
                let vp8 = dialect.vp8.0;
                let repair =
                    if tells == Tells::ArrivalsAndRepair { format!(" {}", vp8 + 4) } else { String::new() };
                ("video", format!("{vp8} {} {} {}{repair}", vp8 + 1, vp8 + 2, vp8 + 3))
            }
        };
        let _ = write!(
            text,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\n\
             a=setup:actpass\r\na=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            transport.ufrag,
            transport.pwd,
            digest.join(":")
        );
        dialect.write(&mut text, section.kind(), tells);
        text.push_str(match section {
            Use::Send(_) | Use::Repaired(_) | Use::Simulcast(_) => "a=sendonly\r\na=msid:- own\r\n",
            Use::Slot(_) => "a=recvonly\r\n",
            Use::Nothing(_) => "a=inactive\r\n",
        });
        if let Use::Simulcast(_) = section {
            for rid in RIDS {
                let _ = write!(text, "a=rid:{rid} send\r\n");
            }
            let _ = write!(text, "a=simulcast:send {}\r\n", RIDS.join(";"));
        }
    }
    text
}

/// What the client says of the sections in which it sends.
pub(crate) fn published(sections: &[Use]) -> Vec<Publish> {
    let publish = |(index, section): (usize, &Use)| {
        let layer = |(rid, (width, height)): (&str, (u16, u16))| Layer {
            rid: Rid::from(rid),
            width: width.into(),
            height: height.into(),
        };
        let layers = match section {
            Use::Simulcast(_) => RIDS.into_iter().zip(SIZES).map(layer).collect(),
            Use::Send(_) | Use::Repaired(_) | Use::Slot(_) | Use::Nothing(_) => Vec::new(),
        };
        Some(Publish {
            mid: Mid(index.to_string()),
            source: section.source()?,
            muted: false,
            layers,
            strategy: Strategy::default(),
        })
    };
    sections.iter().enumerate().filter_map(publish).collect()
}

/// A section of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AnsweredSection {
    pub(crate) direction: String,
    /// The `MediaStream`'s name in its `a=msid`.
    pub(crate) stream: Option<String>,
    pub(crate) ssrc: Option<Ssrc>,
    pub(crate) rtx: Option<Ssrc>,
    pub(crate) repair: Option<Ssrc>,
    pub(crate) port: u16,
}

/// An answer, as far as a client needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) fingerprint: String,
    pub(crate) setup: String,
    pub(crate) is_lite: bool,
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) tcp_candidates: Vec<SocketAddr>,
    pub(crate) sections: BTreeMap<Mid, AnsweredSection>,
}

/// Reads an answer by its lines.
pub(crate) fn read_answer(text: &str) -> Answered {
    let mut answered = Answered::default();
    let mut section = AnsweredSection::default();
    let mut mid = None;
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if let Some(mid) = mid.take() {
                answered.sections.insert(mid, std::mem::take(&mut section));
            }
            section.port = media.split(' ').nth(1).and_then(|port| port.parse().ok()).expect("a port");
        }
        let Some(line) = line.strip_prefix("a=") else { continue };
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let number = |text: &str| Ssrc(text.parse().expect("an SSRC"));
        match key {
            "ice-lite" => answered.is_lite = true,
            "ice-ufrag" => value.clone_into(&mut answered.ufrag),
            "ice-pwd" => value.clone_into(&mut answered.pwd),
            "fingerprint" => value.clone_into(&mut answered.fingerprint),
            "setup" => value.clone_into(&mut answered.setup),
            "candidate" => {
                let fields: Vec<&str> = value.split(' ').collect();
                let of = match fields[2] {
                    "udp" => &mut answered.candidates,
                    "tcp" => &mut answered.tcp_candidates,
                    other => panic!("a candidate by {other}"),
                };
                of.push(format!("{}:{}", fields[4], fields[5]).parse().expect("an address"));
            }
            "mid" => mid = Some(Mid::from(value)),
            "sendonly" | "recvonly" | "sendrecv" | "inactive" => key.clone_into(&mut section.direction),
            "msid" => section.stream = value.split(' ').next().map(str::to_owned),
            "ssrc-group" => {
                let of = if value.starts_with("FEC-FR ") { &mut section.repair } else { &mut section.rtx };
                *of = value.split(' ').nth(2).map(number);
            }
            "ssrc" => {
                let ssrc = value.split(' ').next().map(number);
                section.ssrc = section.ssrc.or(ssrc);
            }
            _ => {}
        }
    }
    if let Some(mid) = mid {
        answered.sections.insert(mid, section);
    }
    answered
}
