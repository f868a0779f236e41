//! A client's session description as a browser writes it, and as much of the answer as a client needs.
//!
//! In: what each media section is for. Out: SDP (RFC 8829). Limit: VP8 and Opus only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proto::ids::{Mid, Rid};
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, PayloadType, Ssrc};
use proto::signal::{Kind, Layer, Publish, Source, Strategy};

use super::ice::Credentials;
use super::plan::{ClientPlan, Encoding, LayerPlan};

/// What a media section of the offer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// Sends the microphone.
    Microphone,
    /// Sends the camera in these layers, of which there is one stream each if it is more than one.
    Camera(Vec<LayerPlan>),
    /// Receives whatever the server maps into it.
    Slot(Kind),
}

impl Section {
    /// The media sections of a client: what it sends, then its slots for sound, then those for pictures.
    pub fn all(plan: &ClientPlan) -> Vec<Self> {
        let microphone = plan.microphone.as_ref().map(|_| Self::Microphone);
        let camera = plan.camera.as_ref().map(|video| match video.encoding {
            Encoding::Simulcast => Self::Camera(video.layers.clone()),
            Encoding::Single => Self::Camera(Vec::new()),
        });
        let slots = |kind| std::iter::repeat_n(Self::Slot(kind), plan.slots);
        let own = microphone.into_iter().chain(camera);
        own.chain(slots(Kind::Audio)).chain(slots(Kind::Video)).collect()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Microphone => Kind::Audio,
            Self::Camera(_) => Kind::Video,
            Self::Slot(kind) => *kind,
        }
    }
}

/// The payload types and header extension numbers of one client; they differ from client to client, as browsers' do.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// Opus.
    pub opus: PayloadType,
    /// VP8.
    pub vp8: PayloadType,
    /// Retransmissions of VP8.
    pub vp8_rtx: PayloadType,
    /// Repair packets of pictures, if it takes any.
    pub flexfec: Option<PayloadType>,
    /// The header extensions; transport-wide numbers are offered only with feedback of arrivals, and only if they are in here.
    pub extensions: ExtensionMap,
}

impl Dialect {
    /// One of two: it tells arrivals and takes no repair packets.
    pub fn new(number: usize) -> Self {
        let (base, first): (u8, u8) = if number.is_multiple_of(2) { (96, 1) } else { (120, 4) };
        let mut extensions = ExtensionMap::default();
        let all = [
            Extension::AudioLevel,
            Extension::TransportSequence,
            Extension::Mid,
            Extension::Rid,
            Extension::RepairedRid,
        ];
        for (index, extension) in all.into_iter().enumerate() {
            extensions.set(extension, ExtensionId(first + index as u8));
        }
        let pt = |offset: u8| PayloadType(base + offset);
        Self {
            opus: PayloadType(111 - number as u8 % 2),
            vp8: pt(0),
            vp8_rtx: pt(1),
            flexfec: None,
            extensions,
        }
    }

    /// The same without transport-wide numbers and feedback of arrivals, as plain clients are.
    #[must_use]
    pub fn without_arrivals(mut self) -> Self {
        let all = std::mem::take(&mut self.extensions);
        for extension in Extension::ALL.into_iter().filter(|one| *one != Extension::TransportSequence) {
            if let Some(id) = all.id(extension) {
                self.extensions.set(extension, id);
            }
        }
        self
    }

    /// The number of a header extension.
    pub fn id(&self, extension: Extension) -> ExtensionId {
        self.extensions.id(extension).expect("all that a client uses are set")
    }

    fn write(&self, text: &mut String, kind: Kind) {
        let extension =
            |extension: Extension| format!("a=extmap:{} {}\r\n", self.id(extension).0, extension.uri());
        let tells = self.extensions.id(Extension::TransportSequence).is_some();
        let feedback =
            |number: u8| if tells { format!("a=rtcp-fb:{number} transport-cc\r\n") } else { String::new() };
        if tells {
            text.push_str(&extension(Extension::TransportSequence));
        }
        text.push_str(&extension(Extension::Mid));
        if kind == Kind::Audio {
            text.push_str(&extension(Extension::AudioLevel));
            let opus = self.opus.0;
            let _ = write!(
                text,
                "a=rtpmap:{opus} opus/48000/2\r\n{}a=fmtp:{opus} minptime=10;useinbandfec=1\r\n",
                feedback(opus)
            );
            return;
        }
        text.push_str(&extension(Extension::Rid));
        text.push_str(&extension(Extension::RepairedRid));
        let (vp8, rtx) = (self.vp8.0, self.vp8_rtx.0);
        let _ = write!(
            text,
            "a=rtpmap:{vp8} VP8/90000\r\n{}a=rtcp-fb:{vp8} ccm fir\r\n\
             a=rtcp-fb:{vp8} nack\r\na=rtcp-fb:{vp8} nack pli\r\n\
             a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={vp8}\r\n",
            feedback(vp8)
        );
        if let Some(PayloadType(flexfec)) = self.flexfec {
            let _ = write!(
                text,
                "a=rtpmap:{flexfec} flexfec-03/90000\r\n{}a=fmtp:{flexfec} repair-window=10000000\r\n",
                feedback(flexfec)
            );
        }
    }
}

/// The offer's text; `certificate` is the SHA-256 digest of the one that DTLS shows, zeros where there is no DTLS.
pub fn write(sections: &[Section], dialect: &Dialect, ours: &Credentials, certificate: &[u8; 32]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let mut text = format!(
        "v=0\r\no=- 4858056832738455750 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
        mids.join(" ")
    );
    let digest = certificate.map(|byte| format!("{byte:02X}")).join(":");
    for (section, mid) in sections.iter().zip(&mids) {
        let (kind, formats) = match section.kind() {
            Kind::Audio => ("audio", dialect.opus.0.to_string()),
            Kind::Video => {
                let repair = dialect.flexfec.map_or(String::new(), |number| format!(" {}", number.0));
                ("video", format!("{} {}{repair}", dialect.vp8.0, dialect.vp8_rtx.0))
            }
        };
        let _ = write!(
            text,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {digest}\r\n\
             a=setup:actpass\r\na=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            ours.ufrag, ours.pwd
        );
        dialect.write(&mut text, section.kind());
        text.push_str(match section {
            Section::Microphone | Section::Camera(_) => "a=sendonly\r\na=msid:- own\r\n",
            Section::Slot(_) => "a=recvonly\r\n",
        });
        if let Section::Camera(layers) = section
            && !layers.is_empty()
        {
            let rids: Vec<&str> = layers.iter().map(|layer| layer.rid).collect();
            for rid in &rids {
                let _ = write!(text, "a=rid:{rid} send\r\n");
            }
            let _ = write!(text, "a=simulcast:send {}\r\n", rids.join(";"));
        }
    }
    text
}

/// What the client says of the sections in which it sends.
pub fn published(sections: &[Section]) -> Vec<Publish> {
    let layer = |layer: &LayerPlan| Layer {
        rid: Rid::from(layer.rid),
        width: layer.width.into(),
        height: layer.height.into(),
    };
    let publish = |(index, section): (usize, &Section)| {
        let (source, layers) = match section {
            Section::Microphone => (Source::Microphone, Vec::new()),
            Section::Camera(layers) => (Source::Camera, layers.iter().map(layer).collect()),
            Section::Slot(_) => return None,
        };
        Some(Publish {
            mid: Mid(index.to_string()),
            source,
            muted: false,
            layers,
            strategy: Strategy::default(),
        })
    };
    sections.iter().enumerate().filter_map(publish).collect()
}

/// An answer, as far as a client needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The server's.
    pub theirs: Credentials,
    /// The streams in which the server sends, with those of their retransmissions.
    pub streams: BTreeMap<Mid, (Ssrc, Option<Ssrc>)>,
}

/// Reads an answer by its lines; `None` if something in it cannot be read.
pub fn read_answer(text: &str) -> Option<Answered> {
    let mut theirs = Credentials { ufrag: String::new(), pwd: String::new() };
    let mut streams = BTreeMap::new();
    let mut mid = Mid(String::new());
    for line in text.lines().filter_map(|line| line.strip_prefix("a=")) {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let mut words = value.split(' ');
        match key {
            "ice-ufrag" => value.clone_into(&mut theirs.ufrag),
            "ice-pwd" => value.clone_into(&mut theirs.pwd),
            "mid" => mid = Mid::from(value),
            "ssrc-group" => {
                if words.next() != Some("FID") {
                    continue; // repair packets need none of it
                }
                let mut numbers = words.map(|number| number.parse().map(Ssrc));
                let (media, rtx) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
                streams.insert(mid.clone(), (media, Some(rtx)));
            }
            "ssrc" => {
                let ssrc = Ssrc(words.next()?.parse().ok()?);
                streams.entry(mid.clone()).or_insert((ssrc, None));
            }
            _ => {}
        }
    }
    Some(Answered { theirs, streams })
}

#[cfg(test)]
mod tests {
    use proto::sdp::{Direction, Offer};

    use super::*;
    use crate::node::client::plan::LAYERS;

    #[test]
    fn an_offer_is_what_the_server_reads() {
        let sections = [
            Section::Microphone,
            Section::Camera(LAYERS.to_vec()),
            Section::Slot(Kind::Audio),
            Section::Slot(Kind::Video),
        ];
        let ours = Credentials { ufrag: "abcd".to_owned(), pwd: "0123456789abcdefghijkl".to_owned() };
        for number in [0, 1] {
            let offer =
                Offer::parse(&write(&sections, &Dialect::new(number), &ours, &[0; 32])).expect("good SDP");
            let directions: Vec<Direction> = offer.sections.iter().map(|section| section.direction).collect();
            let (send, receive) = (Direction::SendOnly, Direction::RecvOnly);
            assert_eq!(directions, [send, send, receive, receive]);
            let rids: Vec<&str> = offer.sections[1].rids.iter().map(|offer| offer.rid.as_str()).collect();
            assert_eq!(rids, ["h", "m", "l"]);
            assert!(offer.sections.iter().all(|section| !section.receivable_codecs().is_empty()));
        }
    }

    #[test]
    fn an_answer_is_read_as_far_as_it_matters() {
        let text = "v=0\r\na=ice-lite\r\nm=audio 9\r\na=mid:2\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=ssrc:7 cname:x\r\n\
                    m=video 9\r\na=mid:3\r\na=ssrc-group:FID 8 9\r\na=ssrc:8 cname:x\r\na=ssrc:9 cname:x\r\n";
        let answered = read_answer(text).expect("well-formed");
        assert_eq!(answered.theirs, Credentials { ufrag: "u".to_owned(), pwd: "p".to_owned() });
        let streams: Vec<_> = answered.streams.into_iter().collect();
        assert_eq!(streams, [(Mid::from("2"), (Ssrc(7), None)), (Mid::from("3"), (Ssrc(8), Some(Ssrc(9))))]);
        assert_eq!(read_answer("a=ssrc:seven"), None);
    }
}
