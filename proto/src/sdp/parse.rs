//! An offer's text into [`Offer`] (RFC 8866 §5, RFC 8829 §5.8).
//!
//! In: text of anybody's making. Out: an offer that can be answered, or the reason why not. What an attribute says
//! in a media section goes before what it says for the session; the sections must agree on the transport, for they
//! are one bundle (RFC 9143 §7). Attributes that we do not use are not looked at.

use std::io::Cursor;

use sdp::SessionDescription;
use sdp::description::common::Attribute;
use sdp::description::media::MediaDescription;

use super::section::parse_section;
use super::{
    Fingerprint, HashAlgorithm, IceCredentials, Offer, SECTIONS_MAX, SdpError, Section, SectionKind, Setup,
};
use crate::ids::Mid;
use crate::rtp::extension::{Extension, ExtensionMap};
use crate::signal::MESSAGE_MAX;

impl Offer {
    /// Reads an offer.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        check_text(text)?;
        let description = SessionDescription::unmarshal(&mut Cursor::new(text))
            .map_err(|error| SdpError::Syntax(beginning(&error.to_string())))?;
        let media = &description.media_descriptions;
        match media.len() {
            0 => return Err(SdpError::NoSections),
            1..=SECTIONS_MAX => {}
            found => return Err(SdpError::TooManySections(found)),
        }
        let session = &description.attributes;
        if has(session, "ice-lite") {
            return Err(SdpError::IceLite);
        }
        let bundle = parse_bundle(session);
        let mut sections = Vec::with_capacity(media.len());
        let mut transport = Transport::default();
        let mut extensions = Extensions::default();
        for (index, description) in media.iter().enumerate() {
            let attributes = Attributes { media: &description.attributes, session };
            let section = parse_section(index, description, attributes)?;
            if sections.iter().any(|other: &Section| !section.mid.0.is_empty() && other.mid == section.mid) {
                return Err(SdpError::DuplicateMid(section.mid));
            }
            if !section.rejected {
                check_section(&section, &bundle)?;
                transport.add(&section.mid, attributes)?;
                extensions.add(&section)?;
            }
            sections.push(section);
        }
        check_rtcp_mux(&bundle, &sections, media)?;
        let (ice, fingerprints, setup) = transport.finish()?;
        let extmap_allow_mixed = has(session, "extmap-allow-mixed")
            || media.iter().all(|section| has(&section.attributes, "extmap-allow-mixed"));
        Ok(Self { ice, fingerprints, setup, bundle, sections, extmap_allow_mixed })
    }
}

/// The attributes that hold for one media section.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    pub(super) media: &'a [Attribute],
    pub(super) session: &'a [Attribute],
}

impl<'a> Attributes<'a> {
    /// An attribute's values: the section's, or if it has none the session's. A flag's value is empty.
    pub(super) fn values(&self, key: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        let level = if has(self.media, key) { self.media } else { self.session };
        values(level, key)
    }

    /// The first of an attribute's values.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a str> {
        self.values(key).next()
    }
}

/// The values of an attribute on one level. A flag's value is empty.
pub(super) fn values<'a>(
    level: &'a [Attribute],
    key: &'static str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    level
        .iter()
        .filter(move |attribute| attribute.key == key)
        .map(|attribute| attribute.value.as_deref().unwrap_or(""))
}

fn has(level: &[Attribute], key: &str) -> bool {
    level.iter().any(|attribute| attribute.key == key)
}

/// The error for a value that does not follow its grammar.
pub(super) fn malformed(attribute: &'static str, value: &str) -> SdpError {
    SdpError::Malformed { attribute, value: beginning(value) }
}

/// As much of a hostile text as an error message should repeat.
fn beginning(text: &str) -> String {
    const LENGTH_MAX: usize = 80; // characters: about a line
    text.chars().take(LENGTH_MAX).collect()
}

/// Answers repeat parts of offers, so nothing may be in them that ends a line or hides one.
fn check_text(text: &str) -> Result<(), SdpError> {
    if text.len() > MESSAGE_MAX {
        return Err(SdpError::TooLong(text.len()));
    }
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.chars().any(char::is_control) {
            return Err(SdpError::ControlCharacter(index + 1));
        }
    }
    Ok(())
}

/// The first bundle group (RFC 9143 §7.2); further ones would be further transports.
fn parse_bundle(session: &[Attribute]) -> Vec<Mid> {
    values(session, "group")
        .find_map(|value| value.strip_prefix("BUNDLE"))
        .map(|mids| mids.split_whitespace().take(SECTIONS_MAX).map(Mid::from).collect())
        .unwrap_or_default()
}

fn check_section(section: &Section, bundle: &[Mid]) -> Result<(), SdpError> {
    /// What may stand before the profile; all mean DTLS-SRTP to a WebRTC agent (RFC 8829 §5.1.2).
    const PROTOCOLS: [&str; 4] =
        ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP"];
    match section.kind {
        SectionKind::Other(_) => return Ok(()), // will be rejected
        SectionKind::Audio | SectionKind::Video => {}
    }
    if !PROTOCOLS.contains(&section.protocol.as_str()) {
        return Err(SdpError::Protocol { mid: section.mid.clone(), protocol: beginning(&section.protocol) });
    }
    if !bundle.contains(&section.mid) {
        return Err(SdpError::NotBundled(section.mid.clone()));
    }
    Ok(())
}

/// What holds for the whole bundle is stated by its first section and may be left out elsewhere (RFC 9143 §7.1.3);
/// sections that are rejected or carry no media do not count.
fn check_rtcp_mux(bundle: &[Mid], sections: &[Section], media: &[MediaDescription]) -> Result<(), SdpError> {
    let carries = |section: &Section| !section.rejected && section.kind.track_kind().is_some();
    let first = bundle
        .iter()
        .find_map(|mid| sections.iter().position(|section| section.mid == *mid && carries(section)));
    match first {
        Some(index) if !has(&media[index].attributes, "rtcp-mux") => {
            Err(SdpError::MissingRtcpMux(sections[index].mid.clone()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The transport of the bundle as far as it is known: each value with which the later sections must agree.
#[derive(Default)]
struct Transport<'a> {
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    setup: Option<&'a str>,
    fingerprints: Option<Vec<&'a str>>,
}

impl<'a> Transport<'a> {
    fn add(&mut self, mid: &Mid, attributes: Attributes<'a>) -> Result<(), SdpError> {
        agree(mid, "ice-ufrag", &mut self.ufrag, attributes.value("ice-ufrag"))?;
        agree(mid, "ice-pwd", &mut self.pwd, attributes.value("ice-pwd"))?;
        agree(mid, "setup", &mut self.setup, attributes.value("setup"))?;
        let fingerprints =
            Some(attributes.values("fingerprint").collect()).filter(|all: &Vec<_>| !all.is_empty());
        agree(mid, "fingerprint", &mut self.fingerprints, fingerprints)
    }

    fn finish(self) -> Result<(IceCredentials, Vec<Fingerprint>, Setup), SdpError> {
        let ufrag = parse_ice_text("ice-ufrag", self.ufrag, 4)?;
        let pwd = parse_ice_text("ice-pwd", self.pwd, 22)?;
        let setup = match self.setup {
            Some("actpass") => Setup::ActPass,
            Some("active") | None => Setup::Active, // RFC 4145 §4: the default of an offer
            Some("passive") => return Err(SdpError::Passive),
            Some(value) => return Err(malformed("setup", value)),
        };
        let mut fingerprints = Vec::new();
        for value in self.fingerprints.ok_or(SdpError::Missing("fingerprint"))? {
            fingerprints.extend(parse_fingerprint(value)?);
        }
        if fingerprints.is_empty() {
            return Err(SdpError::NoUsableFingerprint);
        }
        Ok((IceCredentials { ufrag, pwd }, fingerprints, setup))
    }
}

fn agree<T: PartialEq>(
    mid: &Mid,
    attribute: &'static str,
    known: &mut Option<T>,
    stated: Option<T>,
) -> Result<(), SdpError> {
    if known.is_some() && stated.is_some() && *known != stated {
        return Err(SdpError::Disagreement { mid: mid.clone(), attribute });
    }
    if known.is_none() {
        *known = stated;
    }
    Ok(())
}

/// 256 ice-chars at most (RFC 8839 §5.4).
fn parse_ice_text(
    attribute: &'static str,
    value: Option<&str>,
    length_min: usize,
) -> Result<String, SdpError> {
    let value = value.ok_or(SdpError::Missing(attribute))?;
    let valid = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if valid && (length_min..=256).contains(&value.len()) {
        Ok(value.to_owned())
    } else {
        Err(malformed(attribute, value))
    }
}

/// `None` if the hash function is not one of ours (RFC 8122 §5 lets the offer list several).
fn parse_fingerprint(value: &str) -> Result<Option<Fingerprint>, SdpError> {
    let malformed = || malformed("fingerprint", value);
    let (name, digits) = value.split_once(' ').ok_or_else(malformed)?;
    let Some(algorithm) = HashAlgorithm::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))
    else {
        return Ok(None);
    };
    let mut digest = Vec::with_capacity(algorithm.digest_length());
    for pair in digits.trim().split(':').take(algorithm.digest_length() + 1) {
        let valid = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        digest.push(u8::from_str_radix(pair, 16).ok().filter(|_| valid).ok_or_else(malformed)?);
    }
    if digest.len() != algorithm.digest_length() {
        return Err(malformed());
    }
    Ok(Some(Fingerprint { algorithm, digest }))
}

/// The header extensions of the bundle: a number means one thing in all sections (RFC 9143 §12), else the section
/// of a packet could not be read from it.
#[derive(Default)]
struct Extensions(ExtensionMap);

impl Extensions {
    fn add(&mut self, section: &Section) -> Result<(), SdpError> {
        for extension in Extension::ALL {
            let Some(id) = section.extensions.id(extension) else { continue };
            let taken = self.0.extension(id).is_some_and(|other| other != extension);
            let moved = self.0.id(extension).is_some_and(|other| other != id);
            if taken || moved {
                return Err(SdpError::ExtensionConflict { mid: section.mid.clone(), id: id.0 });
            }
            self.0.set(extension, id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testdata::{RECEIVING, SENDING, SMALL, mutated};
    use super::*;
    use crate::sdp::Direction;

    #[test]
    fn what_chromium_offers_is_read() {
        let offer = Offer::parse(SENDING).unwrap();
        assert_eq!(
            offer.ice,
            IceCredentials { ufrag: "hdkf".into(), pwd: "JS8fL7NgMpcdhf0Wol/i3FL3".into() }
        );
        assert_eq!((offer.setup, offer.extmap_allow_mixed), (Setup::ActPass, true));
        assert_eq!(offer.bundle, [Mid::from("0"), Mid::from("1")]);
        let [fingerprint] = offer.fingerprints.as_slice() else { panic!("{:?}", offer.fingerprints) };
        assert_eq!(fingerprint.algorithm, HashAlgorithm::Sha256);
        assert_eq!(
            (fingerprint.digest.len(), fingerprint.digest[0], fingerprint.digest[31]),
            (32, 0x6B, 0x4D)
        );
        let directions: Vec<_> = offer.sections.iter().map(|section| section.direction).collect();
        assert_eq!(directions, [Direction::SendRecv; 2]);

        let offer = Offer::parse(RECEIVING).unwrap();
        assert!(offer.sections.iter().all(|section| section.direction == Direction::RecvOnly));
        assert!(offer.sections.iter().all(|section| section.ssrcs.is_empty() && section.msid.is_none()));
    }

    #[test]
    fn the_session_speaks_for_sections_that_say_nothing() {
        let offer = Offer::parse(SMALL).unwrap();
        assert_eq!((offer.ice.ufrag.as_str(), offer.setup), ("abcd", Setup::ActPass));
        assert!(!offer.extmap_allow_mixed);

        // As Firefox does it: the direction for all, and otherwise for each.
        let text = SMALL
            .replace("a=setup:actpass", "a=setup:actpass\r\na=recvonly")
            .replace("a=mid:v", "a=mid:v\r\na=sendonly");
        let offer = Offer::parse(&text).unwrap();
        assert_eq!(offer.sections[0].direction, Direction::RecvOnly);
        assert_eq!(offer.sections[1].direction, Direction::SendOnly);
    }

    #[test]
    fn offers_that_are_unusual_but_right_are_accepted() {
        for (name, from, to) in [
            ("only the client opens DTLS", "a=setup:actpass", "a=setup:active"),
            ("the default is to open it", "a=setup:actpass", "a=x:y"),
            ("a further fingerprint by an old hash", "a=setup", "a=fingerprint:sha-1 00:11\r\na=setup"),
            ("a hash in capitals", "sha-256", "SHA-256"),
            ("the bundle's first section speaks for the second", "a=mid:v\r\na=rtcp-mux", "a=mid:v"),
            ("a section on the bundle's port", "m=video 9", "a=x\r\nm=video 0"),
            (
                "a bundle-only section",
                "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
                "m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=bundle-only",
            ),
            ("a section outside any bundle that was given up", "BUNDLE a v", "BUNDLE a"),
            ("data", "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
        ] {
            let mut text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL, "{name}");
            if name.ends_with("given up") {
                text = text.replacen("m=video 9", "m=video 0", 1);
            }
            let offer = Offer::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(offer.sections.len(), 2, "{name}");
            assert_eq!(
                offer.sections[1].rejected,
                text.contains("video 0") && !text.contains("bundle-only"),
                "{name}"
            );
        }
    }

    #[test]
    fn offers_that_cannot_be_used_say_why() {
        for (name, from, to, error) in [
            ("no sections", "m=", "a=", "no media section"),
            ("not SDP", "v=0", "v=x", "not a session description"),
            ("empty", SMALL, "", "not a session description"),
            ("a lone return", "a=mid:v", "a=mid:v\ra=x", "control character"),
            ("a zero byte", "a=mid:v", "a=mid:v\0", "control character"),
            ("no mid", "a=mid:v\r\n", "", "number 1 has no a=mid"),
            ("an empty mid", "a=mid:v", "a=mid:", "a=mid cannot be read"),
            ("a mid with a space", "a=mid:v", "a=mid:v v", "a=mid cannot be read"),
            ("the same mid twice", "a=mid:v", "a=mid:a", "two media sections have a=mid:a"),
            ("not bundled", "BUNDLE a v", "BUNDLE a", "section v is not in a=group:BUNDLE"),
            ("no bundle", "BUNDLE", "LS", "section a is not in a=group:BUNDLE"),
            ("RTCP on its own port", "a=rtcp-mux", "a=x", "rtcpMuxPolicy"),
            ("no encryption", "UDP/TLS/RTP/SAVPF", "RTP/AVPF", "RTP/AVPF"),
            ("ICE-lite", "a=group", "a=ice-lite\r\na=group", "full ICE agent"),
            ("no ufrag", "a=ice-ufrag:abcd", "a=x", "no a=ice-ufrag"),
            ("no password", "a=ice-pwd", "a=x", "no a=ice-pwd"),
            ("a short password", "qrstuv", "", "a=ice-pwd cannot be read"),
            ("a strange ufrag", "ufrag:abcd", "ufrag:ab:d", "a=ice-ufrag cannot be read"),
            (
                "another ufrag in one section",
                "a=mid:v",
                "a=mid:v\r\na=ice-ufrag:efgh",
                "section v states another a=ice-ufrag",
            ),
            (
                "another role in one section",
                "a=mid:v",
                "a=mid:v\r\na=setup:active",
                "section v states another a=setup",
            ),
            ("DTLS server", "a=setup:actpass", "a=setup:passive", "offer a=setup:actpass"),
            ("an unknown role", "a=setup:actpass", "a=setup:holdconn", "a=setup cannot be read"),
            ("no fingerprint", "a=fingerprint", "a=x", "no a=fingerprint"),
            ("an old hash only", "sha-256", "md5", "sha-256, sha-384 or sha-512"),
            ("a digest too short", "00:11:22:33:44:55", "00", "a=fingerprint cannot be read"),
            (
                "a digest too long",
                "00:11:22:33:44:55",
                "00:00:11:22:33:44:55",
                "a=fingerprint cannot be read",
            ),
            ("a digest with a sign", "00:11", "+1:11", "a=fingerprint cannot be read"),
            ("a digest of another hash", "sha-256", "sha-512", "a=fingerprint cannot be read"),
        ] {
            let text = if from == "a=rtcp-mux" || from == "m=" {
                SMALL.replace(from, to)
            } else {
                SMALL.replacen(from, to, 1)
            };
            assert_ne!(text, SMALL, "{name}");
            let found = Offer::parse(&text).expect_err(name).to_string();
            assert!(found.contains(error), "{name}: {found}");
        }
    }

    #[test]
    fn extension_numbers_mean_one_thing_in_the_bundle() {
        let offer = |audio: &str, video: &str| {
            let text = SMALL.replacen("a=mid:a", &format!("a=mid:a\r\na=extmap:{audio}"), 1);
            Offer::parse(&text.replacen("a=mid:v", &format!("a=mid:v\r\na=extmap:{video}"), 1))
        };
        let (mid, rid) = (Extension::Mid.uri(), Extension::Rid.uri());
        assert!(offer(&format!("4 {mid}"), &format!("4/sendonly {mid}")).is_ok());
        assert!(offer(&format!("4 {mid}"), &format!("5 {rid}")).is_ok());
        assert!(
            offer("4 urn:x", &format!("4 {mid}")).is_ok(),
            "numbers of unknown extensions are not ours to check"
        );
        for (audio, video) in [(4, mid, 4, rid), (4, mid, 5, mid)]
            .map(|(a, audio, v, video)| (format!("{a} {audio}"), format!("{v} {video}")))
        {
            let error = offer(&audio, &video).unwrap_err();
            assert!(matches!(error, SdpError::ExtensionConflict { .. }), "{audio}, {video}: {error}");
        }
    }

    #[test]
    fn sizes_are_limited() {
        let section =
            |mid: usize| format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\na=rtcp-mux\r\n");
        let offer = |count: usize| {
            let mids: Vec<_> = (0..count).map(|mid| mid.to_string()).collect();
            let (head, _) = SMALL.split_once("m=").unwrap();
            let head = head.replace("BUNDLE a v", &format!("BUNDLE {}", mids.join(" ")));
            Offer::parse(&(head + &(0..count).map(section).collect::<String>()))
        };
        assert_eq!(offer(SECTIONS_MAX).unwrap().sections.len(), SECTIONS_MAX);
        assert_eq!(offer(SECTIONS_MAX + 1), Err(SdpError::TooManySections(SECTIONS_MAX + 1)));

        let filled = |length: usize| format!("{SMALL}a={}", "x".repeat(length - SMALL.len() - 2));
        assert!(Offer::parse(&filled(MESSAGE_MAX)).is_ok());
        assert_eq!(Offer::parse(&filled(MESSAGE_MAX + 1)), Err(SdpError::TooLong(MESSAGE_MAX + 1)));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), tail in "(?s).{0,200}") {
            let _ = Offer::parse(&text);
            let _ = Offer::parse(&format!("{SMALL}{tail}"));
        }

        #[test]
        fn a_mutated_offer_is_read_or_refused_with_a_reason(text in mutated()) {
            match Offer::parse(&text) {
                Ok(offer) => prop_assert!(!offer.sections.is_empty() && !offer.fingerprints.is_empty()),
                Err(error) => prop_assert!((10..400).contains(&error.to_string().len()), "{error}"),
            }
        }
    }
}
