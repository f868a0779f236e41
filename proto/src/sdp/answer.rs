//! The server's answer (RFC 8829 §5.3): ICE-lite, DTLS server, one bundle.
//!
//! In: the offer and, for each of its sections, what the server does there. Out: text. The answer repeats the
//! client's numbers (payload types, extensions), so that nothing needs mapping but what differs between clients.

use core::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use super::{Fingerprint, IceCredentials, Offer, Section, SectionCodec};
use crate::codec::Codec;
use crate::ids::Rid;
use crate::rtp::extension::{Extension, ExtensionMap};
use crate::rtp::{PayloadType, Ssrc};

/// What the server answers to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server's half of the ICE credentials.
    pub ice: IceCredentials,
    /// The digest of the certificate that the server shows.
    pub fingerprint: Fingerprint,
    /// Where the server can be reached by UDP, the preferred address first.
    pub candidates: Vec<SocketAddr>,
    /// Where it waits for TCP connections, the preferred address first: the choice after all those by UDP.
    pub tcp_candidates: Vec<SocketAddr>,
    /// The number of this session in `o=`; below 2^63 and the same in each answer of a connection.
    pub session_id: u64,
    /// The number of this answer in its session; one more each time.
    pub version: u64,
    /// What the server does in each section of the offer, in its order; sections left out are rejected.
    pub sections: Vec<AnswerSection>,
}

/// What the server does in one media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerSection {
    /// Nothing, for good: the client's transceiver stops.
    Rejected,
    /// Nothing for now.
    Inactive,
    /// It receives: also repair packets by XOR (`flexfec-03`), if the client offered to send them. Each of those says
    /// which stream it repairs, so that the offer's `a=ssrc-group:FEC-FR` need not.
    Receive {
        /// The payload types that it takes, without retransmission, which is added; written in the offered order.
        codecs: Vec<PayloadType>,
        /// The header extensions that it takes; each is written with the number that the client offered.
        extensions: ExtensionMap,
        /// The simulcast encodings that it takes; those that were not offered are left out.
        rids: Vec<Rid>,
    },
    /// It sends.
    Send {
        /// The payload types that it sends, without retransmission, which is added; written in the offered order.
        codecs: Vec<PayloadType>,
        /// The header extensions that it sends; each is written with the number that the client offered.
        extensions: ExtensionMap,
        /// The source that it sends from.
        ssrc: Ssrc,
        /// The source that it sends retransmissions from.
        rtx_ssrc: Option<Ssrc>,
        /// The source that it sends repair packets by XOR from, if the client offered to take them.
        fec_ssrc: Option<Ssrc>,
        /// The canonical name of the source; sources that play in step have the same one.
        cname: String,
        /// The `MediaStream`'s identifier in the client's script.
        stream: String,
        /// The track's identifier in the client's script.
        track: String,
    },
}

/// For how long packets may be repaired, in microseconds: what libwebrtc itself offers.
const REPAIR_WINDOW: u32 = 10_000_000;

/// The text of an answer. A section in which no codec is left is rejected. The first section of the bundle cannot be
/// rejected where the client did not do so itself, for browsers hang the transport on it: it becomes inactive.
pub fn write_answer(offer: &Offer, answer: &Answer) -> String {
    let choices = answer.sections.iter().chain(core::iter::repeat(&AnswerSection::Rejected));
    let sections = offer.sections.iter().zip(choices);
    let plans: Vec<Plan<'_>> = sections.map(|(section, choice)| Plan::new(offer, section, choice)).collect();
    let mut bundle: Vec<&str> = Vec::with_capacity(plans.len());
    for mid in &offer.bundle {
        let accepted = plans.iter().any(|plan| !plan.codecs.is_empty() && plan.section.mid == *mid);
        if accepted && !bundle.contains(&mid.as_str()) {
            bundle.push(mid.as_str());
        }
    }
    let mut text = String::with_capacity(512 + 1024 * plans.len());
    write_all(&mut text, offer, answer, &plans, &bundle).expect("writing to a String cannot fail");
    text
}

/// What becomes of one section: rejected if `codecs` is empty.
struct Plan<'a> {
    section: &'a Section,
    choice: &'a AnswerSection,
    codecs: Vec<&'a SectionCodec>,
}

impl<'a> Plan<'a> {
    /// The payload type of repair packets by XOR, if there are to be any.
    fn fec(&self) -> Option<PayloadType> {
        let is_wanted = match self.choice {
            AnswerSection::Send { fec_ssrc, .. } => fec_ssrc.is_some(),
            AnswerSection::Receive { .. } => true,
            AnswerSection::Rejected | AnswerSection::Inactive => false,
        };
        self.section.flexfec.filter(|_| is_wanted)
    }

    fn new(offer: &Offer, section: &'a Section, choice: &'a AnswerSection) -> Self {
        let wanted = match choice {
            AnswerSection::Rejected if offer.bundle.first() == Some(&section.mid) => {
                section.receivable_codecs()
            }
            AnswerSection::Rejected => Vec::new(),
            AnswerSection::Inactive => section.receivable_codecs(),
            AnswerSection::Receive { codecs, .. } | AnswerSection::Send { codecs, .. } => codecs.clone(),
        };
        let known = section.codecs.iter().filter(|codec| codec.codec.is_some());
        let codecs = known.filter(|codec| wanted.contains(&codec.payload_type)).collect();
        Self { section, choice, codecs }
    }
}

fn write_all(
    text: &mut String,
    offer: &Offer,
    answer: &Answer,
    plans: &[Plan<'_>],
    bundle: &[&str],
) -> fmt::Result {
    write!(text, "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", answer.session_id, answer.version)?;
    text.write_str("a=ice-lite\r\n")?;
    if !bundle.is_empty() {
        write!(text, "a=group:BUNDLE {}\r\n", bundle.join(" "))?;
    }
    if offer.extmap_allow_mixed {
        text.write_str("a=extmap-allow-mixed\r\n")?;
    }
    text.write_str("a=msid-semantic: WMS *\r\n")?;
    for plan in plans {
        if plan.codecs.is_empty() {
            write_rejected(text, plan.section)?;
        } else {
            write_media_line(text, plan)?;
            write_transport(text, answer)?;
            if bundle.first() == Some(&plan.section.mid.as_str()) {
                write_candidates(text, answer)?; // the bundle's first section speaks for all
            }
            write_media(text, plan)?;
        }
    }
    Ok(())
}

/// Port 0, and the formats as offered, for there must be some (RFC 3264 §6).
fn write_rejected(text: &mut String, section: &Section) -> fmt::Result {
    let (kind, protocol, formats) = (section.kind.name(), &section.protocol, section.formats.join(" "));
    write!(text, "m={kind} 0 {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\n")?;
    if !section.mid.0.is_empty() {
        write!(text, "a=mid:{}\r\n", section.mid)?;
    }
    text.write_str("a=inactive\r\n")
}

fn write_media_line(text: &mut String, plan: &Plan<'_>) -> fmt::Result {
    write!(text, "m={} 9 {}", plan.section.kind.name(), plan.section.protocol)?;
    for codec in &plan.codecs {
        write!(text, " {}", codec.payload_type.0)?;
        if let Some(rtx) = codec.rtx {
            write!(text, " {}", rtx.0)?;
        }
    }
    if let Some(PayloadType(fec)) = plan.fec() {
        write!(text, " {fec}")?;
    }
    write!(text, "\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\n", plan.section.mid)
}

fn write_transport(text: &mut String, answer: &Answer) -> fmt::Result {
    write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", answer.ice.ufrag, answer.ice.pwd)?;
    write!(text, "a=fingerprint:{}", answer.fingerprint.algorithm.name())?;
    for (index, byte) in answer.fingerprint.digest.iter().enumerate() {
        write!(text, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
    }
    text.write_str("\r\na=setup:passive\r\n")
}

/// Host candidates for component 1 (RFC 8839 §5.1, RFC 6544 §4.5). Preferences fall in the order of the lists (RFC 8445
/// §5.1.2.1); addresses have their own foundation each for each protocol, for an agent checks one of a foundation before it
/// unfreezes the others.
fn write_candidates(text: &mut String, answer: &Answer) -> fmt::Result {
    const HOST: u32 = 126; // type preference: RFC 8445 §5.1.2.2
    const TCP_HOST: u32 = 90; // what libwebrtc gives its own, below all that is UDP but relays, as RFC 6544 §4.2 asks
    const PASSIVE: u32 = 4 << 13; // direction preference of a host that waits for connections: RFC 6544 §4.2
    let mut foundations: Vec<(IpAddr, u32)> = Vec::new();
    let mut number = |ip: IpAddr, kind: u32| {
        let place = foundations.iter().position(|known| *known == (ip, kind)).unwrap_or(foundations.len());
        if place == foundations.len() {
            foundations.push((ip, kind));
        }
        place + 1
    };
    let priority = |kind: u32, local_preference: u32| (kind << 24) | (local_preference << 8) | 255; // 256 less component 1
    for (index, candidate) in answer.candidates.iter().enumerate() {
        let (ip, port) = (candidate.ip().to_canonical(), candidate.port());
        let priority = priority(HOST, u32::from(u16::MAX).saturating_sub(index as u32));
        write!(text, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", number(ip, HOST))?;
    }
    for (index, candidate) in answer.tcp_candidates.iter().enumerate() {
        let (ip, port) = (candidate.ip().to_canonical(), candidate.port());
        let priority = priority(TCP_HOST, PASSIVE + 0x1fff_u32.saturating_sub(index as u32));
        let foundation = number(ip, TCP_HOST);
        write!(text, "a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive\r\n")?;
    }
    text.write_str("a=end-of-candidates\r\n")
}

fn write_media(text: &mut String, plan: &Plan<'_>) -> fmt::Result {
    let section = plan.section;
    match plan.choice {
        AnswerSection::Rejected | AnswerSection::Inactive => {
            text.write_str("a=inactive\r\n")?;
            write_common(text, plan, Feedback::None)
        }
        AnswerSection::Receive { extensions, rids, .. } => {
            text.write_str("a=recvonly\r\n")?;
            write_extensions(text, section, extensions)?;
            write_common(text, plan, Feedback::with(extensions))?;
            write_rids(text, section, rids)
        }
        AnswerSection::Send { extensions, ssrc, rtx_ssrc, fec_ssrc, cname, stream, track, .. } => {
            write!(text, "a=sendonly\r\na=msid:{stream} {track}\r\n")?;
            write_extensions(text, section, extensions)?;
            write_common(text, plan, Feedback::with(extensions))?;
            let fec_ssrc = plan.fec().and(*fec_ssrc);
            if let Some(rtx) = rtx_ssrc {
                write!(text, "a=ssrc-group:FID {} {}\r\n", ssrc.0, rtx.0)?;
            }
            if let Some(fec) = fec_ssrc {
                write!(text, "a=ssrc-group:FEC-FR {} {}\r\n", ssrc.0, fec.0)?;
            }
            for Ssrc(number) in [Some(*ssrc), *rtx_ssrc, fec_ssrc].into_iter().flatten() {
                write!(text, "a=ssrc:{number} cname:{cname}\r\na=ssrc:{number} msid:{stream} {track}\r\n")?;
            }
            Ok(())
        }
    }
}

fn write_extensions(text: &mut String, section: &Section, extensions: &ExtensionMap) -> fmt::Result {
    for extension in Extension::ALL {
        if let (Some(id), Some(_)) = (section.extensions.id(extension), extensions.id(extension)) {
            write!(text, "a=extmap:{} {}\r\n", id.0, extension.uri())?;
        }
    }
    Ok(())
}

/// Which of the offered feedback is accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feedback {
    None,
    /// Retransmission and key frames.
    Repair,
    /// Those, and arrival times.
    Transport,
}

impl Feedback {
    /// Arrival times are told of packets that carry transport-wide numbers.
    fn with(extensions: &ExtensionMap) -> Self {
        let has_numbers = extensions.id(Extension::TransportSequence).is_some();
        if has_numbers { Self::Transport } else { Self::Repair }
    }
}

/// RTCP and the codecs, each followed by its retransmission.
fn write_common(text: &mut String, plan: &Plan<'_>, feedback: Feedback) -> fmt::Result {
    text.write_str("a=rtcp-mux\r\n")?;
    if plan.section.reduced_size_rtcp {
        text.write_str("a=rtcp-rsize\r\n")?;
    }
    for codec in &plan.codecs {
        let Some(name) = codec.codec.map(Codec::name) else { continue };
        write_codec(text, codec, name, feedback)?;
    }
    if let Some(PayloadType(fec)) = plan.fec() {
        write!(text, "a=rtpmap:{fec} flexfec-03/90000\r\na=fmtp:{fec} repair-window={REPAIR_WINDOW}\r\n")?;
        if feedback == Feedback::Transport {
            write!(text, "a=rtcp-fb:{fec} transport-cc\r\n")?;
        }
    }
    Ok(())
}

fn write_codec(text: &mut String, codec: &SectionCodec, name: &str, feedback: Feedback) -> fmt::Result {
    let PayloadType(number) = codec.payload_type;
    write!(text, "a=rtpmap:{number} {name}/{}", codec.clock_rate)?;
    if codec.channels > 1 {
        write!(text, "/{}", codec.channels)?;
    }
    text.write_str("\r\n")?;
    let repair = feedback != Feedback::None;
    for (accepted, kind) in [
        (codec.transport_cc && feedback == Feedback::Transport, "transport-cc"),
        (codec.fir && repair, "ccm fir"),
        (codec.nack && repair, "nack"),
        (codec.pli && repair, "nack pli"),
    ] {
        if accepted {
            write!(text, "a=rtcp-fb:{number} {kind}\r\n")?;
        }
    }
    if !codec.fmtp.text().is_empty() {
        write!(text, "a=fmtp:{number} {}\r\n", codec.fmtp.text())?;
    }
    if let Some(PayloadType(rtx)) = codec.rtx {
        write!(text, "a=rtpmap:{rtx} rtx/{}\r\na=fmtp:{rtx} apt={number}\r\n", codec.clock_rate)?;
    }
    Ok(())
}

/// The accepted encodings in the offered order. A paused one stays paused: to Chromium, an answer without the `~`
/// means that it shall send.
fn write_rids(text: &mut String, section: &Section, rids: &[Rid]) -> fmt::Result {
    let accepted = || section.rids.iter().filter(|offer| rids.contains(&offer.rid));
    for offer in accepted() {
        write!(text, "a=rid:{} recv\r\n", offer.rid)?;
    }
    for (index, offer) in accepted().enumerate() {
        let before = if index == 0 { "a=simulcast:recv " } else { ";" };
        write!(text, "{before}{}{}", if offer.paused { "~" } else { "" }, offer.rid)?;
    }
    text.write_str(if accepted().next().is_some() { "\r\n" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use sdp::SessionDescription;

    use super::super::testdata::{RECEIVING, SENDING, SMALL, mutated};
    use super::super::{HashAlgorithm, RidOffer};
    use super::*;

    fn answer(sections: Vec<AnswerSection>) -> Answer {
        Answer {
            ice: IceCredentials { ufrag: "ufrag".into(), pwd: "abcdefghijklmnopqrstuvwx".into() },
            fingerprint: Fingerprint {
                algorithm: HashAlgorithm::Sha256,
                digest: (240..=255).chain(0..16).collect(),
            },
            candidates: vec!["192.0.2.1:7882".parse().unwrap(), "[2001:db8::1]:7882".parse().unwrap()],
            tcp_candidates: Vec::new(),
            session_id: i64::MAX as u64,
            version: 3,
            sections,
        }
    }

    fn receive(section: &Section) -> AnswerSection {
        AnswerSection::Receive {
            codecs: section.receivable_codecs(),
            extensions: section.extensions.clone(),
            rids: section.rids.iter().map(|offer| offer.rid.clone()).collect(),
        }
    }

    fn send(section: &Section) -> AnswerSection {
        AnswerSection::Send {
            codecs: section.sendable_codecs(),
            extensions: section.extensions.clone(),
            ssrc: Ssrc(7),
            rtx_ssrc: section
                .kind
                .track_kind()
                .filter(|&kind| kind == crate::signal::Kind::Video)
                .map(|_| Ssrc(8)),
            fec_ssrc: section.flexfec.map(|_| Ssrc(9)),
            cname: "cname".into(),
            stream: "seat-1".into(),
            track: format!("track-{}", section.mid),
        }
    }

    /// The lines of each section, with the session's first; read back by the oracle, which must agree.
    fn sections(text: &str) -> Vec<Vec<String>> {
        assert!(text.ends_with("\r\n"));
        let parsed =
            SessionDescription::unmarshal(&mut Cursor::new(text)).expect("the oracle reads the answer");
        assert_eq!(parsed.marshal(), text, "the oracle writes what it read");
        let mut sections = vec![Vec::new()];
        for line in text.split_terminator("\r\n") {
            if line.starts_with("m=") {
                sections.push(Vec::new());
            }
            sections.last_mut().unwrap().push(line.to_owned());
        }
        sections
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|other| other == line)
    }

    #[test]
    fn the_session_is_ice_lite_and_one_bundle() {
        let offer = Offer::parse(SENDING).unwrap();
        let text = write_answer(&offer, &answer(offer.sections.iter().map(receive).collect()));
        let [session, audio, video] = sections(&text).try_into().unwrap();
        assert_eq!(
            session,
            [
                "v=0",
                "o=- 9223372036854775807 3 IN IP4 127.0.0.1",
                "s=-",
                "t=0 0",
                "a=ice-lite",
                "a=group:BUNDLE 0 1",
                "a=extmap-allow-mixed",
                "a=msid-semantic: WMS *",
            ]
        );
        let fingerprint = "a=fingerprint:sha-256 F0:F1:F2:F3:F4:F5:F6:F7:F8:F9:FA:FB:FC:FD:FE:FF:00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F";
        for lines in [&audio, &video] {
            for line in [
                "a=ice-ufrag:ufrag",
                "a=ice-pwd:abcdefghijklmnopqrstuvwx",
                fingerprint,
                "a=setup:passive",
                "a=rtcp-mux",
                "a=rtcp-rsize",
                "a=recvonly",
            ] {
                assert!(has(lines, line), "{line}");
            }
        }
        for line in [
            "a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 7882 typ host",
            "a=end-of-candidates",
        ] {
            assert!(has(&audio, line) && !has(&video, line), "{line}: in the bundle's first section only");
        }
    }

    #[test]
    fn a_receiving_section_repeats_what_was_offered_and_is_ours() {
        let offer = Offer::parse(SENDING).unwrap();
        let text = write_answer(&offer, &answer(offer.sections.iter().map(receive).collect()));
        let [_, audio, video] = sections(&text).try_into().unwrap();
        assert_eq!(audio[0], "m=audio 9 UDP/TLS/RTP/SAVPF 111 63");
        for line in [
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=rtcp-fb:111 transport-cc",
            "a=fmtp:63 111/111",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        ] {
            assert!(has(&audio, line), "{line}");
        }
        assert_eq!(
            video[0],
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 107 108 109 114 115 116 117 39 40 45 46 98 99 100 101"
        );
        for line in [
            "a=rtcp-fb:96 transport-cc",
            "a=rtcp-fb:96 ccm fir",
            "a=rtcp-fb:96 nack",
            "a=rtcp-fb:96 nack pli",
            "a=rtpmap:97 rtx/90000",
            "a=fmtp:97 apt=96",
            "a=fmtp:100 profile-id=2",
            "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            "a=rid:q recv",
            "a=simulcast:recv q;h;f",
        ] {
            assert!(has(&video, line), "{line}");
        }
        for absent in ["goog-remb", "toffset", "a=ssrc", "a=msid:", "ulpfec", "red/90000", "G722"] {
            assert!(!text.contains(absent), "{absent}");
        }
    }

    #[test]
    fn a_sending_section_names_its_sources_and_wants_arrival_times_of_numbered_packets() {
        let offer = Offer::parse(RECEIVING).unwrap();
        let text = write_answer(&offer, &answer(offer.sections.iter().map(send).collect()));
        let [_, audio, video] = sections(&text).try_into().unwrap();
        let sources = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| line.starts_with("a=ssrc")).cloned().collect()
        };
        assert_eq!(sources(&audio), ["a=ssrc:7 cname:cname", "a=ssrc:7 msid:seat-1 track-0"]);
        assert_eq!(
            sources(&video),
            [
                "a=ssrc-group:FID 7 8",
                "a=ssrc-group:FEC-FR 7 9",
                "a=ssrc:7 cname:cname",
                "a=ssrc:7 msid:seat-1 track-1",
                "a=ssrc:8 cname:cname",
                "a=ssrc:8 msid:seat-1 track-1",
                "a=ssrc:9 cname:cname",
                "a=ssrc:9 msid:seat-1 track-1",
            ]
        );
        assert!(video[0].ends_with(" 49"), "{}", video[0]);
        for line in [
            "a=rtpmap:49 flexfec-03/90000",
            "a=fmtp:49 repair-window=10000000",
            "a=rtcp-fb:49 transport-cc",
            "a=sendonly",
            "a=msid:seat-1 track-1",
            "a=rtcp-fb:96 nack",
            "a=rtcp-fb:96 nack pli",
            "a=rtcp-fb:96 ccm fir",
        ] {
            assert!(has(&video, line), "{line}");
        }
        assert!(has(&video, "a=rtcp-fb:96 transport-cc") && !text.contains("simulcast"));

        let without = offer.sections.iter().map(|section| match send(section) {
            AnswerSection::Send { codecs, ssrc, rtx_ssrc, fec_ssrc, cname, stream, track, .. } => {
                let extensions = ExtensionMap::default();
                AnswerSection::Send { codecs, extensions, ssrc, rtx_ssrc, fec_ssrc, cname, stream, track }
            }
            other => other,
        });
        let text = write_answer(&offer, &answer(without.collect()));
        assert!(text.contains("a=sendonly") && !text.contains("transport-cc"));
    }

    #[test]
    fn only_what_the_server_chose_is_accepted() {
        let offer = Offer::parse(SENDING).unwrap();
        let mut extensions = ExtensionMap::default();
        extensions.set(Extension::Mid, crate::rtp::ExtensionId(9)); // the offered number counts
        let codecs = vec![PayloadType(98), PayloadType(96), PayloadType(118), PayloadType(7)];
        let rids = vec!["f".into(), "q".into(), "x".into()];
        let video = AnswerSection::Receive { codecs, extensions, rids };
        let text = write_answer(&offer, &answer(vec![AnswerSection::Inactive, video]));
        let [_, audio, video] = sections(&text).try_into().unwrap();
        assert!(has(&audio, "a=inactive") && has(&audio, "a=end-of-candidates"));
        assert_eq!(video[0], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99");
        assert!(
            has(&video, "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid")
                && has(&video, "a=simulcast:recv q;f")
        );
        assert_eq!(video.iter().filter(|line| line.starts_with("a=extmap")).count(), 1);
        assert!(!text.contains("transport-cc"), "no transport sequence numbers, no reports of them");
    }

    #[test]
    fn repair_packets_are_taken_if_they_are_offered_and_wanted() {
        // As Chromium offers them with its field trials WebRTC-FlexFEC-03 and WebRTC-FlexFEC-03-Advertised.
        let repairing = format!(
            "{}a=rtpmap:49 flexfec-03/90000\r\na=fmtp:49 repair-window=10000000\r\na=rtcp-fb:49 transport-cc\r\n\
             a=ssrc-group:FEC-FR 1 3\r\na=ssrc:1 cname:c\r\na=ssrc:3 cname:c\r\n\
             a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n",
            SMALL.replace("SAVPF 96 97", "SAVPF 96 97 49")
        );
        let lines =
            ["a=rtpmap:49 flexfec-03/90000", "a=fmtp:49 repair-window=10000000", "a=rtcp-fb:49 transport-cc"];
        for (name, text, choose, takes) in [
            ("offered and wanted", &repairing[..], receive as fn(&Section) -> AnswerSection, true),
            ("offered", &repairing, |_| AnswerSection::Inactive, false),
            ("wanted", SMALL, receive, false),
        ] {
            let offer = Offer::parse(text).unwrap();
            let text = write_answer(&offer, &answer(offer.sections.iter().map(choose).collect()));
            let [_, _, video] = sections(&text).try_into().unwrap();
            assert_eq!(video[0].ends_with(" 49"), takes, "{name}: {}", video[0]);
            for line in lines {
                assert_eq!(has(&video, line), takes, "{name}: {line}");
            }
            assert!(!text.contains("a=ssrc"), "{name}: the sources are the client's");
        }
    }

    #[test]
    fn paused_encodings_stay_paused() {
        let mut offer = Offer::parse(SENDING).unwrap();
        offer.sections[1].rids =
            [("h", false), ("m", true)].map(|(rid, paused)| RidOffer { rid: rid.into(), paused }).to_vec();
        let text = write_answer(&offer, &answer(offer.sections.iter().map(receive).collect()));
        assert!(text.contains("a=rid:h recv\r\na=rid:m recv\r\na=simulcast:recv h;~m\r\n"));
    }

    #[test]
    fn rejected_sections_leave_the_bundle_but_its_first_is_only_silenced() {
        for (name, text, choices, bundle, media) in [
            (
                "by choice",
                SENDING.to_owned(),
                vec![AnswerSection::Inactive, AnswerSection::Rejected],
                Some("0"),
                ["m=audio 9", "m=video 0"],
            ),
            (
                "left out",
                SENDING.to_owned(),
                vec![AnswerSection::Inactive],
                Some("0"),
                ["m=audio 9", "m=video 0"],
            ),
            (
                "no codec",
                SMALL.replace("VP8", "VP7"),
                vec![AnswerSection::Inactive, AnswerSection::Inactive],
                Some("a"),
                ["m=audio 9", "m=video 0"],
            ),
            (
                "the first",
                SENDING.to_owned(),
                vec![AnswerSection::Rejected, AnswerSection::Inactive],
                Some("0 1"),
                ["m=audio 9", "m=video 9"],
            ),
            (
                "by the client",
                SENDING.replace("m=audio 9", "m=audio 0"),
                vec![AnswerSection::Inactive, AnswerSection::Inactive],
                Some("1"),
                ["m=audio 0", "m=video 9"],
            ),
            (
                "all",
                SMALL.replace("VP8", "VP7").replace("opus", "lyra"),
                vec![],
                None,
                ["m=audio 0", "m=video 0"],
            ),
        ] {
            let offer = Offer::parse(&text).unwrap();
            let written = sections(&write_answer(&offer, &answer(choices)));
            let group = written[0].iter().find_map(|line| line.strip_prefix("a=group:BUNDLE "));
            assert_eq!(group, bundle, "{name}");
            for (lines, start) in written[1..].iter().zip(media) {
                assert!(lines[0].starts_with(start), "{name}: {}", lines[0]);
                assert!(lines.iter().any(|line| line.starts_with("a=mid:")), "{name}");
            }
        }
    }

    #[test]
    fn a_data_section_is_rejected_in_its_own_words() {
        let text = SMALL
            .replace("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel");
        let offer = Offer::parse(&text).unwrap();
        let written = write_answer(&offer, &answer(vec![AnswerSection::Inactive; 2]));
        assert!(written.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    }

    #[test]
    fn candidates_fall_in_preference_and_share_a_foundation_by_address() {
        let offer = Offer::parse(SMALL).unwrap();
        let mut answer = answer(vec![AnswerSection::Inactive]);
        answer.candidates = ["192.0.2.1:1", "[::ffff:192.0.2.1]:2", "198.51.100.1:3"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        answer.tcp_candidates = ["192.0.2.1:4", "[2001:db8::1]:4"].map(|text| text.parse().unwrap()).to_vec();
        let text = write_answer(&offer, &answer);
        let candidates: Vec<_> = text.lines().filter(|line| line.starts_with("a=candidate")).collect();
        assert_eq!(
            candidates,
            [
                "a=candidate:1 1 udp 2130706431 192.0.2.1 1 typ host",
                "a=candidate:1 1 udp 2130706175 192.0.2.1 2 typ host",
                "a=candidate:2 1 udp 2130705919 198.51.100.1 3 typ host",
                "a=candidate:3 1 tcp 1520435199 192.0.2.1 4 typ host tcptype passive",
                "a=candidate:4 1 tcp 1520434943 2001:db8::1 4 typ host tcptype passive",
            ]
        );
    }

    proptest! {
        #[test]
        fn the_answer_to_whatever_is_accepted_can_be_read(text in mutated(), choices in prop::collection::vec(0..4, 0..4)) {
            let Ok(offer) = Offer::parse(&text) else { return Ok(()) };
            let chosen = |(section, choice): (&Section, i32)| match choice {
                0 => AnswerSection::Rejected,
                1 => AnswerSection::Inactive,
                2 => receive(section),
                _ => send(section),
            };
            let text = write_answer(&offer, &answer(offer.sections.iter().zip(choices).map(chosen).collect()));
            let written = sections(&text);
            prop_assert_eq!(written.len(), offer.sections.len() + 1);
            for (section, lines) in offer.sections.iter().zip(&written[1..]) {
                let start = format!("m={} ", section.kind.name());
                prop_assert!(lines[0].starts_with(&start), "{} for {}", lines[0], start);
                let mid = format!("a=mid:{}", section.mid);
                prop_assert!(section.mid.as_str().is_empty() || has(lines, &mid), "no {}", mid);
            }
        }
    }
}
