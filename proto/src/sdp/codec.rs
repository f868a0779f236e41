//! What a payload type of an offer stands for, and which media may be sent as it (RFC 8866 §6.6, RFC 8829 §5.3.1).

use super::SectionKind;
use crate::codec::Codec;
use crate::rtp::PayloadType;
use crate::signal::Kind;

/// One codec of a media section.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one rtcp-fb line, and any subset may be offered")]
pub struct SectionCodec {
    /// The number that packets carry.
    pub payload_type: PayloadType,
    /// What it stands for; `None` if we do not forward it.
    pub codec: Option<Codec>,
    /// RTP timestamp ticks in a second; 0 if the offer does not say (a static payload type).
    pub clock_rate: u32,
    /// Audio channels; 1 if not stated.
    pub channels: u8,
    /// The codec's own parameters.
    pub fmtp: Fmtp,
    /// The payload type of its retransmissions (RFC 4588).
    pub rtx: Option<PayloadType>,
    /// Whether lost packets may be asked for (`nack`, RFC 4585).
    pub nack: bool,
    /// Whether a key frame may be asked for by PLI (`nack pli`, RFC 4585).
    pub pli: bool,
    /// Whether a key frame may be asked for by FIR (`ccm fir`, RFC 5104).
    pub fir: bool,
    /// Whether arrivals of transport sequence numbers may be reported (`transport-cc`).
    pub transport_cc: bool,
}

impl SectionCodec {
    /// Whether media that was negotiated as `other` may be sent as this: the same codec, in a form that whoever
    /// decodes this understands, without touching the payload.
    ///
    /// H.264 must have the same packetization mode and the same family of profiles; all forms of baseline are one
    /// family, for browsers offer and send just its constrained form. RED is never sent as RED: its packets name payload
    /// types, so what is in them goes on alone.
    pub fn matches(&self, other: &Self) -> bool {
        let (Some(codec), Some(other_codec)) = (self.codec, other.codec) else { return false };
        if codec != other_codec {
            return false;
        }
        match codec {
            Codec::Opus | Codec::Vp8 => true,
            Codec::Red => false,
            Codec::Vp9 => self.profile("profile-id") == other.profile("profile-id"),
            Codec::Av1 => self.profile("profile") == other.profile("profile"),
            Codec::H264 => {
                self.packetization_mode() == other.packetization_mode()
                    && self.h264_family() == other.h264_family()
            }
        }
    }

    /// Whether this is one of our codecs in a form that browsers can send as well as decode.
    pub fn is_forwardable(&self) -> bool {
        match self.codec {
            Some(Codec::Opus | Codec::Red | Codec::Vp8) => true,
            Some(Codec::Vp9) => matches!(self.profile("profile-id"), "0" | "2"),
            Some(Codec::Av1) => self.profile("profile") == "0",
            Some(Codec::H264) => {
                matches!(self.packetization_mode(), "0" | "1") && self.h264_family().is_some()
            }
            None => false,
        }
    }

    /// The payload type of all that is in packets of this RED, as in `111/111` (RFC 2198 §5); `None` if it is not RED,
    /// or around several.
    pub fn red_inside(&self) -> Option<PayloadType> {
        let mut numbers =
            self.fmtp.text().split('/').map(|number| number.trim().parse().map(PayloadType).ok());
        let first = numbers.next()??;
        (self.codec == Some(Codec::Red) && numbers.all(|number| number == Some(first))).then_some(first)
    }

    /// A payload type of which nothing is known yet.
    pub(super) fn unknown(payload_type: PayloadType) -> Self {
        Self {
            payload_type,
            codec: None,
            clock_rate: 0,
            channels: 1,
            fmtp: Fmtp::default(),
            rtx: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: false,
        }
    }

    /// Notes that the client offers this feedback (RFC 4585 §4.2).
    pub(super) fn add_feedback(&mut self, feedback: &str) {
        match feedback {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.transport_cc = true,
            _ => {} // something that we do not send
        }
    }

    /// A profile's number; absent is 0 (RFC 9628 §6, AV1 RTP §7.2).
    fn profile(&self, key: &str) -> &str {
        self.fmtp.value(key).unwrap_or("0")
    }

    /// Absent is 0 (RFC 6184 §8.1).
    fn packetization_mode(&self) -> &str {
        self.fmtp.value("packetization-mode").unwrap_or("0")
    }

    /// The family of H.264 profiles; `None` if the parameter cannot be read.
    fn h264_family(&self) -> Option<H264Family> {
        /// Absent is baseline, level 1 (RFC 6184 §8.1).
        const DEFAULT: &str = "420010";
        let text = self.fmtp.value("profile-level-id").unwrap_or(DEFAULT);
        let valid = text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = u32::from_str_radix(text, 16).ok().filter(|_| valid)?;
        let [_, profile, constraints, _level] = value.to_be_bytes();
        Some(match profile {
            66 => H264Family::Baseline,
            77 | 88 if constraints & 0b1000_0000 != 0 => H264Family::Baseline, // constraint_set0: RFC 6184 table 5
            other => H264Family::Profile(other),
        })
    }
}

#[derive(PartialEq, Eq)]
enum H264Family {
    Baseline,
    Profile(u8),
}

/// A codec's parameters (`a=fmtp`): the text, and the `key=value` pairs in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fmtp {
    text: String,
}

impl Fmtp {
    /// Parameters from what follows the payload type in `a=fmtp`.
    pub fn new(text: &str) -> Self {
        Self { text: text.trim().to_owned() }
    }

    /// The text as offered; empty if there are no parameters.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The pairs, in the order of the text; what has no `=` is left out.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
    }

    /// The value of a key, whose case does not matter; the first one if there are several.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }
}

/// The codec of ours that a name and clock rate in a section of this kind stand for (RFC 8866 §6.6: case does not
/// matter).
pub(super) fn known_codec(kind: &SectionKind, name: &str, clock_rate: u32) -> Option<Codec> {
    let all = match kind.track_kind()? {
        Kind::Audio => &[Codec::Opus, Codec::Red][..],
        Kind::Video => &[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1][..],
    };
    all.iter()
        .copied()
        .find(|codec| codec.name().eq_ignore_ascii_case(name) && codec.clock_rate() == clock_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(codec: Codec, fmtp: &str) -> SectionCodec {
        SectionCodec { codec: Some(codec), fmtp: Fmtp::new(fmtp), ..SectionCodec::unknown(PayloadType(96)) }
    }

    #[test]
    fn media_may_be_sent_as_the_same_codec_in_the_same_form() {
        let h264 = |mode: u8, profile: &str| format!("packetization-mode={mode};profile-level-id={profile}");
        let rows = [
            (
                "opus, whatever its parameters",
                Codec::Opus,
                "minptime=10".to_owned(),
                "stereo=1".to_owned(),
                true,
            ),
            ("VP8", Codec::Vp8, String::new(), String::new(), true),
            ("VP9 without a profile is profile 0", Codec::Vp9, String::new(), "profile-id=0".into(), true),
            ("VP9 of another profile", Codec::Vp9, "profile-id=0".into(), "profile-id=2".into(), false),
            ("AV1 of another level", Codec::Av1, "level-idx=5;profile=0".into(), "level-idx=8".into(), true),
            ("AV1 of another profile", Codec::Av1, "profile=1".into(), "profile=0".into(), false),
            ("RED, of which the inside is sent", Codec::Red, "111/111".into(), "111/111".into(), false),
            ("both baselines", Codec::H264, h264(1, "42001f"), h264(1, "42e01f"), true),
            ("another level", Codec::H264, h264(1, "42e01f"), h264(1, "42E034"), true),
            ("another packetization", Codec::H264, h264(1, "42e01f"), h264(0, "42e01f"), false),
            ("no packetization is 0", Codec::H264, "profile-level-id=42e01f".into(), h264(0, "42e01f"), true),
            ("no profile is baseline", Codec::H264, h264(0, "42e01f"), String::new(), true),
            ("main is not baseline", Codec::H264, h264(1, "4d001f"), h264(1, "42e01f"), false),
            ("constrained main is", Codec::H264, h264(1, "4d801f"), h264(1, "42e01f"), true),
            ("high 4:4:4 is itself", Codec::H264, h264(1, "f4001f"), h264(1, "f4001f"), true),
            ("high 4:4:4 is not high", Codec::H264, h264(1, "f4001f"), h264(1, "64001f"), false),
        ];
        for (name, kind, one, other, expected) in rows {
            let (one, other) = (codec(kind, &one), codec(kind, &other));
            assert_eq!(one.matches(&other), expected, "{name}");
            assert_eq!(other.matches(&one), expected, "{name}, the other way round");
        }
        assert!(!codec(Codec::Vp8, "").matches(&codec(Codec::Vp9, "")));
        let unknown = SectionCodec::unknown(PayloadType(96));
        assert!(!unknown.matches(&unknown), "what we do not know we do not forward");
    }

    #[test]
    fn red_is_around_one_payload_type_or_none() {
        for (kind, fmtp, inside) in [
            (Codec::Red, "111/111", Some(111)),
            (Codec::Red, "111", Some(111)),
            (Codec::Red, "96/96/96", Some(96)),
            (Codec::Red, "111/112", None),
            (Codec::Red, "111/", None),
            (Codec::Red, "", None),
            (Codec::Red, "300/300", None),
            (Codec::Opus, "111/111", None),
        ] {
            assert_eq!(codec(kind, fmtp).red_inside(), inside.map(PayloadType), "{kind:?} {fmtp}");
        }
    }

    #[test]
    fn only_forms_that_browsers_send_are_forwardable() {
        for (kind, fmtp, expected) in [
            (Codec::Vp9, "profile-id=2", true),
            (Codec::Vp9, "profile-id=1", false),
            (Codec::Av1, "profile=0", true),
            (Codec::Av1, "profile=1", false),
            (Codec::H264, "packetization-mode=0;profile-level-id=42001f", true),
            (Codec::H264, "packetization-mode=1;profile-level-id=640c1f", true),
            (Codec::H264, "packetization-mode=2", false),
            (Codec::H264, "profile-level-id=+2001f", false),
            (Codec::H264, "profile-level-id=42", false),
        ] {
            assert_eq!(codec(kind, fmtp).is_forwardable(), expected, "{kind:?} {fmtp}");
        }
    }

    #[test]
    fn parameters_are_found_by_key_and_kept_as_text() {
        let fmtp = Fmtp::new(" minptime=10; UseInbandFec = 1;bare;x=a=b ");
        assert_eq!(fmtp.value("useinbandfec"), Some("1"));
        assert_eq!(fmtp.value("x"), Some("a=b"));
        assert_eq!((fmtp.value("bare"), fmtp.value("y")), (None, None));
        assert_eq!(fmtp.text(), "minptime=10; UseInbandFec = 1;bare;x=a=b");
    }
}
