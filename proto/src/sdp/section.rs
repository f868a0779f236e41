//! One media section's lines into [`Section`]: codecs, header extensions, encodings and sources.

use sdp::description::media::MediaDescription;

use super::codec::known_codec;
use super::parse::{Attributes, malformed, values};
use super::{
    CODECS_MAX, Direction, Fmtp, Msid, RIDS_MAX, RidOffer, SSRCS_MAX, SdpError, Section, SectionCodec,
    SectionKind, SsrcOffer,
};
use crate::ids::{Mid, Rid};
use crate::rtp::extension::{Extension, ExtensionMap};
use crate::rtp::{ExtensionId, PayloadType, Ssrc};

/// The longest `a=mid` or `a=rid`, in bytes: packets carry them, browsers choose one to four characters.
const NAME_MAX: usize = 64;

/// Reads the section number `index`.
pub(super) fn parse_section(
    index: usize,
    description: &MediaDescription,
    attributes: Attributes<'_>,
) -> Result<Section, SdpError> {
    let line = &description.media_name;
    let lines = attributes.media;
    let rejected = line.port.value == 0 && values(lines, "bundle-only").next().is_none();
    let kind = match line.media.as_str() {
        "audio" => SectionKind::Audio,
        "video" => SectionKind::Video,
        other => SectionKind::Other(other.to_owned()),
    };
    let mid = parse_mid(index, values(lines, "mid").next(), rejected)?;
    check_count(&mid, "formats", line.formats.len(), CODECS_MAX)?;
    let mut section = Section {
        mid,
        kind,
        protocol: line.protos.join("/"),
        formats: line.formats.clone(),
        direction: parse_direction(attributes),
        rejected,
        codecs: Vec::new(),
        flexfec: None,
        extensions: ExtensionMap::default(),
        rids: Vec::new(),
        ssrcs: Vec::new(),
        msid: None,
        reduced_size_rtcp: values(lines, "rtcp-rsize").next().is_some(),
    };
    if !rejected && section.kind.track_kind().is_some() {
        (section.codecs, section.flexfec) = parse_codecs(&section, attributes)?;
        section.extensions = parse_extensions(&section.mid, attributes)?;
        section.rids = parse_rids(&section.mid, attributes)?;
        section.ssrcs = parse_ssrcs(&section.mid, attributes)?;
        section.msid = values(lines, "msid").next().map(parse_msid);
    }
    Ok(section)
}

fn parse_mid(index: usize, value: Option<&str>, rejected: bool) -> Result<Mid, SdpError> {
    match value {
        Some(value) if is_token(value) => Ok(Mid::from(value)),
        Some(value) => Err(malformed("mid", value)),
        None if rejected => Ok(Mid::from("")),
        None => Err(SdpError::MissingMid(index)),
    }
}

/// A token (RFC 8866 §9) of a length that fits into a header extension.
fn is_token(text: &str) -> bool {
    let valid = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte));
    valid && !text.is_empty() && text.len() <= NAME_MAX
}

fn check_count(mid: &Mid, what: &'static str, found: usize, max: usize) -> Result<(), SdpError> {
    if found > max { Err(SdpError::TooMany { mid: mid.clone(), what, found, max }) } else { Ok(()) }
}

/// The section's own direction, or the session's, or both ways (RFC 8866 §6.7).
fn parse_direction(attributes: Attributes<'_>) -> Direction {
    [attributes.media, attributes.session]
        .into_iter()
        .flatten()
        .find_map(|attribute| match attribute.key.as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
        .unwrap_or(Direction::SendRecv)
}

/// A payload type as the lines have told so far.
struct Draft<'a> {
    name: &'a str,
    codec: SectionCodec,
}

impl Draft<'_> {
    /// Its clock must be that of pictures, as libwebrtc's is.
    fn is_flexfec(&self) -> bool {
        self.name.eq_ignore_ascii_case("flexfec-03") && self.codec.clock_rate == 90_000
    }
}

/// The codecs, each with its retransmission, and what repairs packets of any of them.
fn parse_codecs(
    section: &Section,
    attributes: Attributes<'_>,
) -> Result<(Vec<SectionCodec>, Option<PayloadType>), SdpError> {
    let mut drafts: Vec<Draft<'_>> = Vec::with_capacity(section.formats.len());
    for format in &section.formats {
        let payload_type = parse_payload_type(format).ok_or_else(|| malformed("m", format))?;
        if drafts.iter().any(|draft| draft.codec.payload_type == payload_type) {
            return Err(malformed("m", format));
        }
        drafts.push(Draft { name: "", codec: SectionCodec::unknown(payload_type) });
    }
    for attribute in attributes.media {
        let value = attribute.value.as_deref().unwrap_or("");
        match attribute.key.as_str() {
            "rtpmap" => apply_rtpmap(&section.kind, &mut drafts, value)?,
            "fmtp" => apply_fmtp(&mut drafts, value)?,
            "rtcp-fb" => apply_feedback(&mut drafts, value)?,
            _ => {}
        }
    }
    let (repairs, mut codecs): (Vec<_>, Vec<_>) =
        drafts.into_iter().partition(|draft| draft.name.eq_ignore_ascii_case("rtx"));
    for rtx in repairs {
        let repaired = rtx.codec.fmtp.value("apt").and_then(parse_payload_type);
        let original = codecs.iter_mut().find(|draft| Some(draft.codec.payload_type) == repaired);
        if let Some(original) = original {
            original.codec.rtx.get_or_insert(rtx.codec.payload_type);
        }
    }
    let flexfec = codecs.iter().find(|draft| section.kind == SectionKind::Video && draft.is_flexfec());
    let flexfec = flexfec.map(|draft| draft.codec.payload_type);
    Ok((codecs.into_iter().map(|draft| draft.codec).collect(), flexfec))
}

/// 0 to 127, digits only.
fn parse_payload_type(text: &str) -> Option<PayloadType> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number: &u8| digits && number < 128).map(PayloadType)
}

/// The payload type that a line begins with, if the `m=` line lists it, and the rest.
fn split_format<'d, 'v, 'a>(
    attribute: &'static str,
    drafts: &'d mut [Draft<'a>],
    value: &'v str,
) -> Result<(Option<&'d mut Draft<'a>>, &'v str), SdpError> {
    let (number, rest) = value.split_once(' ').ok_or_else(|| malformed(attribute, value))?;
    let payload_type = parse_payload_type(number).ok_or_else(|| malformed(attribute, value))?;
    Ok((drafts.iter_mut().find(|draft| draft.codec.payload_type == payload_type), rest.trim()))
}

/// `rtpmap:111 opus/48000/2`
fn apply_rtpmap<'a>(kind: &SectionKind, drafts: &mut [Draft<'a>], value: &'a str) -> Result<(), SdpError> {
    let (Some(draft), rest) = split_format("rtpmap", drafts, value)? else { return Ok(()) };
    let mut parts = rest.splitn(3, '/');
    let (name, clock_rate, channels) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next());
    draft.name = name;
    draft.codec.clock_rate = clock_rate.parse().map_err(|_| malformed("rtpmap", value))?;
    draft.codec.channels = channels.unwrap_or("1").parse().map_err(|_| malformed("rtpmap", value))?;
    draft.codec.codec = known_codec(kind, name, draft.codec.clock_rate);
    Ok(())
}

/// `fmtp:111 minptime=10;useinbandfec=1`
fn apply_fmtp(drafts: &mut [Draft<'_>], value: &str) -> Result<(), SdpError> {
    if let (Some(draft), rest) = split_format("fmtp", drafts, value)? {
        draft.codec.fmtp = Fmtp::new(rest);
    }
    Ok(())
}

/// `rtcp-fb:96 nack pli`; the payload type may be `*`, which is all of them (RFC 4585 §4.2).
fn apply_feedback(drafts: &mut [Draft<'_>], value: &str) -> Result<(), SdpError> {
    if let Some(feedback) = value.strip_prefix("* ") {
        for draft in drafts {
            draft.codec.add_feedback(feedback.trim());
        }
    } else if let (Some(draft), feedback) = split_format("rtcp-fb", drafts, value)? {
        draft.codec.add_feedback(feedback);
    }
    Ok(())
}

/// `extmap:3/sendonly URI attributes`
fn parse_extensions(mid: &Mid, attributes: Attributes<'_>) -> Result<ExtensionMap, SdpError> {
    let mut extensions = ExtensionMap::default();
    for value in attributes.values("extmap") {
        let malformed = || malformed("extmap", value);
        let (number, rest) = value.split_once(' ').ok_or_else(malformed)?;
        let number = number.split_once('/').map_or(number, |(number, _direction)| number);
        let number: u16 = number.parse().map_err(|_| malformed())?;
        let uri = rest.split_whitespace().next().unwrap_or("");
        let (Some(extension), Ok(id)) = (Extension::from_uri(uri), u8::try_from(number)) else {
            continue; // not ours, or a number that the answerer would have to choose anew (RFC 8285 §7)
        };
        if id == 0 {
            return Err(malformed());
        }
        let id = ExtensionId(id);
        if extensions.extension(id).is_some() || extensions.id(extension).is_some() {
            return Err(SdpError::ExtensionConflict { mid: mid.clone(), id: id.0 });
        }
        extensions.set(extension, id);
    }
    Ok(extensions)
}

/// `simulcast:send h;~m,x;l`: encodings parted by `;`, alternatives of one by `,`, a paused one marked by `~`. Of
/// alternatives the first counts; one without an `a=rid` of its own is passed over (RFC 8853 §5.1).
fn parse_rids(mid: &Mid, attributes: Attributes<'_>) -> Result<Vec<RidOffer>, SdpError> {
    let mut declared = Vec::new();
    for value in values(attributes.media, "rid") {
        let mut words = value.split_whitespace();
        let (Some(rid), Some(direction)) = (words.next(), words.next()) else {
            return Err(malformed("rid", value));
        };
        let valid = rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !valid || rid.len() > NAME_MAX {
            return Err(malformed("rid", value));
        }
        if direction == "send" {
            declared.push(rid);
        }
        check_count(mid, "a=rid", declared.len(), RIDS_MAX)?;
    }
    let Some(value) = values(attributes.media, "simulcast").next() else { return Ok(Vec::new()) };
    let words: Vec<&str> = value.split_whitespace().take(4).collect();
    let Some(send) = words.chunks(2).find(|pair| pair[0] == "send") else { return Ok(Vec::new()) };
    let encodings = send.get(1).ok_or_else(|| malformed("simulcast", value))?;
    let mut rids: Vec<RidOffer> = Vec::new();
    for encoding in encodings.split(';') {
        let alternatives =
            encoding.split(',').map(|name| (name.trim_start_matches('~'), name.starts_with('~')));
        let Some((name, paused)) = alternatives.into_iter().find(|(name, _)| declared.contains(name)) else {
            continue;
        };
        if rids.iter().any(|other| other.rid.as_str() == name) {
            return Err(malformed("simulcast", value));
        }
        rids.push(RidOffer { rid: Rid::from(name), paused });
    }
    Ok(rids)
}

/// `ssrc:2343729487 cname:0B5HFcrs`, and `ssrc-group:FID 1 2`, the second of which retransmits the first (RFC 5576
/// §4.2).
fn parse_ssrcs(mid: &Mid, attributes: Attributes<'_>) -> Result<Vec<SsrcOffer>, SdpError> {
    let mut ssrcs: Vec<SsrcOffer> = Vec::new();
    for value in values(attributes.media, "ssrc") {
        let (number, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let source =
            source_mut(mid, &mut ssrcs, parse_ssrc(number).ok_or_else(|| malformed("ssrc", value))?)?;
        if let Some(cname) = attribute.strip_prefix("cname:") {
            source.cname = Some(cname.to_owned());
        }
    }
    for value in values(attributes.media, "ssrc-group") {
        let mut words = value.split_whitespace();
        if words.next() != Some("FID") {
            continue;
        }
        let pair = (words.next().and_then(parse_ssrc), words.next().and_then(parse_ssrc), words.next());
        let (Some(original), Some(rtx), None) = pair else { return Err(malformed("ssrc-group", value)) };
        if original == rtx {
            return Err(malformed("ssrc-group", value));
        }
        source_mut(mid, &mut ssrcs, original)?;
        source_mut(mid, &mut ssrcs, rtx)?.rtx_of = Some(original);
    }
    Ok(ssrcs)
}

fn parse_ssrc(text: &str) -> Option<Ssrc> {
    text.parse().ok().map(Ssrc)
}

fn source_mut<'a>(
    mid: &Mid,
    ssrcs: &'a mut Vec<SsrcOffer>,
    ssrc: Ssrc,
) -> Result<&'a mut SsrcOffer, SdpError> {
    let index = ssrcs.iter().position(|source| source.ssrc == ssrc).unwrap_or(ssrcs.len());
    if index == ssrcs.len() {
        check_count(mid, "a=ssrc", index + 1, SSRCS_MAX)?;
        ssrcs.push(SsrcOffer { ssrc, cname: None, rtx_of: None });
    }
    Ok(&mut ssrcs[index])
}

/// `msid:stream track` (RFC 8830 §2)
fn parse_msid(value: &str) -> Msid {
    let (stream, track) = value.split_once(' ').unwrap_or((value, ""));
    Msid { stream: stream.to_owned(), track: track.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::testdata::{RECEIVING, SENDING, SMALL};
    use super::*;
    use crate::codec::Codec;
    use crate::sdp::Offer;

    /// The video section of [`SMALL`] with further lines.
    fn video(lines: &str) -> Result<Section, SdpError> {
        Offer::parse(&format!("{SMALL}{lines}\r\n")).map(|mut offer| offer.sections.remove(1))
    }

    fn numbers(section: &Section) -> Vec<u8> {
        section.receivable_codecs().into_iter().map(|number| number.0).collect()
    }

    #[test]
    fn chromiums_codecs_are_known_with_their_retransmission_and_feedback() {
        let offer = Offer::parse(SENDING).unwrap();
        let [audio, video] = offer.sections.as_slice() else { panic!("{offer:?}") };
        assert_eq!(
            (audio.kind.track_kind(), numbers(audio)),
            (Some(crate::signal::Kind::Audio), vec![111, 63])
        );
        let opus = audio.codec(PayloadType(111)).unwrap();
        assert_eq!((opus.codec, opus.clock_rate, opus.channels), (Some(Codec::Opus), 48_000, 2));
        assert_eq!(
            (opus.fmtp.value("useinbandfec"), opus.rtx, opus.nack, opus.transport_cc),
            (Some("1"), None, false, true)
        );
        assert_eq!(audio.codec(PayloadType(9)).unwrap().codec, None, "G.722 is listed but not ours");

        assert_eq!(numbers(video), [96, 102, 104, 108, 114, 116, 39, 45, 98, 100]);
        assert_eq!(video.sendable_codecs(), video.receivable_codecs());
        let vp8 = video.codec(PayloadType(96)).unwrap();
        assert_eq!((vp8.codec, vp8.rtx), (Some(Codec::Vp8), Some(PayloadType(97))));
        assert!(vp8.nack && vp8.pli && vp8.fir && vp8.transport_cc);
        assert_eq!(video.codec(PayloadType(97)), None, "retransmission is no codec of its own");
        assert_eq!(video.repaired_codec(PayloadType(97)), Some(vp8));
        let red = video.codec(PayloadType(118)).unwrap();
        assert_eq!((red.codec, red.rtx), (None, Some(PayloadType(119))), "RED for video is not ours");

        let video = &Offer::parse(RECEIVING).unwrap().sections[1];
        assert_eq!(
            numbers(video),
            [96, 98, 100, 102, 104, 108, 114, 116, 39, 41, 43, 45],
            "VP9 1 and 3, AV1 1 left out"
        );
        assert_eq!(video.codecs.len(), 18);
    }

    #[test]
    fn chromiums_sources_encodings_and_extensions_are_known() {
        let offer = Offer::parse(SENDING).unwrap();
        let [audio, video] = offer.sections.as_slice() else { panic!("{offer:?}") };
        let source =
            SsrcOffer { ssrc: Ssrc(2_343_729_487), cname: Some("0B5HFcrs/x33TLzD".into()), rtx_of: None };
        assert_eq!(audio.ssrcs, [source]);
        let msid = video.msid.as_ref().unwrap();
        assert_eq!(msid.stream, audio.msid.as_ref().unwrap().stream);
        assert_eq!(msid.track, "c3d3cb9c-c356-4fbc-b258-109871ced0f5");
        let rids: Vec<_> = video.rids.iter().map(|offer| (offer.rid.as_str(), offer.paused)).collect();
        assert_eq!(rids, [("q", false), ("h", false), ("f", false)]);
        assert!(audio.reduced_size_rtcp && video.reduced_size_rtcp);
        for (extension, in_audio, in_video) in [
            (Extension::Mid, Some(4), Some(4)),
            (Extension::Rid, None, Some(10)),
            (Extension::RepairedRid, None, Some(11)),
            (Extension::TransportSequence, Some(3), Some(3)),
            (Extension::AbsSendTime, Some(2), Some(2)),
            (Extension::AudioLevel, Some(1), None),
            (Extension::VideoOrientation, None, Some(13)),
            (Extension::DependencyDescriptor, None, Some(12)),
        ] {
            assert_eq!(audio.extensions.id(extension).map(|id| id.0), in_audio, "{extension:?}");
            assert_eq!(video.extensions.id(extension).map(|id| id.0), in_video, "{extension:?}");
        }
    }

    #[test]
    fn simulcast_is_read_with_pauses_and_alternatives() {
        for (simulcast, expected) in [
            ("send h;~m;l", &[("h", false), ("m", true), ("l", false)][..]),
            ("recv x send ~h;m", &[("h", true), ("m", false)]),
            ("send h,m;~l", &[("h", false), ("l", true)]),
            ("send x,~m;l", &[("m", true), ("l", false)]),
            ("send x;h", &[("h", false)]),
            ("recv h;m", &[]),
            ("", &[]),
        ] {
            let section = video(&format!(
                "a=rid:h send\r\na=rid:m send\r\na=rid:l send max-width=320\r\na=rid:x recv\r\na=simulcast:{simulcast}"
            ));
            let rids = section.unwrap().rids;
            let rids: Vec<_> = rids.iter().map(|offer| (offer.rid.as_str(), offer.paused)).collect();
            assert_eq!(rids, expected, "{simulcast}");
        }
        assert!(video("a=rid:h send").unwrap().rids.is_empty(), "one encoding needs no name");
    }

    #[test]
    fn sources_are_joined_with_their_retransmission() {
        let section = video("a=ssrc-group:FID 1 2\r\na=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\na=ssrc:2 msid:s t\r\na=ssrc:3\r\na=ssrc-group:SIM 1 3").unwrap();
        let source = |ssrc, cname: Option<&str>, rtx_of: Option<u32>| SsrcOffer {
            ssrc: Ssrc(ssrc),
            cname: cname.map(str::to_owned),
            rtx_of: rtx_of.map(Ssrc),
        };
        assert_eq!(
            section.ssrcs,
            [source(1, Some("c"), None), source(2, Some("c"), Some(1)), source(3, None, None)]
        );
    }

    #[test]
    fn repair_packets_are_for_pictures_with_a_clock_of_pictures() {
        for (name, line, video, audio) in [
            ("as browsers write it", "flexfec-03/90000", Some(PayloadType(49)), None),
            ("in capitals", "FlexFEC-03/90000", Some(PayloadType(49)), None),
            ("another clock", "flexfec-03/48000", None, None),
            ("RFC 8627", "flexfec/90000", None, None),
        ] {
            let text = SMALL
                .replace("SAVPF 96 97", "SAVPF 96 97 49")
                .replace("SAVPF 111", "SAVPF 111 49")
                .replace("a=rtpmap:", &format!("a=rtpmap:49 {line}\r\na=rtpmap:"));
            let offer = Offer::parse(&text).unwrap();
            assert_eq!((offer.sections[1].flexfec, offer.sections[0].flexfec), (video, audio), "{name}");
            assert_eq!(numbers(&offer.sections[1]), [96], "{name}: it is no codec");
        }
    }

    #[test]
    fn feedback_for_all_formats_holds_for_each() {
        let section =
            video("a=rtcp-fb:* nack\r\na=rtcp-fb:* ccm  fir\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:99 nack")
                .unwrap();
        let vp8 = section.codec(PayloadType(96)).unwrap();
        assert_eq!((vp8.nack, vp8.pli, vp8.fir, vp8.transport_cc), (true, true, false, false));
    }

    #[test]
    fn red_is_taken_around_opus_only() {
        for (fmtp, taken) in
            [("a=fmtp:63 111/111", true), ("a=fmtp:63 111/0", false), ("a=x", false), ("a=fmtp:63 63", false)]
        {
            let text = SMALL
                .replace("SAVPF 111", "SAVPF 63 111 0")
                .replace("a=rtpmap:111", &format!("a=rtpmap:63 red/48000/2\r\n{fmtp}\r\na=rtpmap:111"));
            let expected: &[u8] = if taken { &[63, 111] } else { &[111] };
            assert_eq!(numbers(&Offer::parse(&text).unwrap().sections[0]), expected, "{fmtp}");
        }
    }

    #[test]
    fn lines_that_cannot_be_read_are_named() {
        for (line, attribute) in [
            ("a=rtpmap:96", "rtpmap"),
            ("a=rtpmap:x VP8/90000", "rtpmap"),
            ("a=rtpmap:+96 VP8/90000", "rtpmap"),
            ("a=rtpmap:128 VP8/90000", "rtpmap"),
            ("a=rtpmap:96 VP8", "rtpmap"),
            ("a=rtpmap:96 VP8/90000/many", "rtpmap"),
            ("a=fmtp:96", "fmtp"),
            ("a=rtcp-fb:96", "rtcp-fb"),
            ("a=extmap:4", "extmap"),
            ("a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid", "extmap"),
            ("a=extmap:x urn:ietf:params:rtp-hdrext:sdes:mid", "extmap"),
            ("a=rid:h", "rid"),
            ("a=rid:h;m send", "rid"),
            ("a=rid:h send\r\na=simulcast:send", "simulcast"),
            ("a=rid:h send\r\na=simulcast:send h;~h", "simulcast"),
            ("a=ssrc:x cname:c", "ssrc"),
            ("a=ssrc:4294967296 cname:c", "ssrc"),
            ("a=ssrc-group:FID 1", "ssrc-group"),
            ("a=ssrc-group:FID 1 1", "ssrc-group"),
            ("a=ssrc-group:FID 1 2 3", "ssrc-group"),
        ] {
            match video(line) {
                Err(SdpError::Malformed { attribute: found, .. }) => assert_eq!(found, attribute, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        for formats in ["96 x", "96 96", "96 128", "96 -1"] {
            let error = Offer::parse(&SMALL.replace("SAVPF 96 97", &format!("SAVPF {formats}"))).unwrap_err();
            assert!(matches!(error, SdpError::Malformed { attribute: "m", .. }), "{formats}: {error}");
        }
        assert!(
            video("a=extmap:4096 urn:ietf:params:rtp-hdrext:sdes:mid")
                .unwrap()
                .extensions
                .id(Extension::Mid)
                .is_none()
        );
    }

    #[test]
    fn what_a_section_lists_is_limited() {
        let lines = |count: usize, line: fn(usize) -> String| {
            video(&(0..count).map(line).collect::<Vec<_>>().join("\r\n"))
        };
        let ssrc = |number: usize| format!("a=ssrc:{number} cname:c");
        let rid = |number: usize| format!("a=rid:{number} send");
        assert_eq!(lines(SSRCS_MAX, ssrc).unwrap().ssrcs.len(), SSRCS_MAX);
        assert!(lines(RIDS_MAX, rid).is_ok());
        let formats: Vec<_> = (0..=CODECS_MAX).map(|number| number.to_string()).collect();
        let too_many_formats =
            Offer::parse(&SMALL.replace("SAVPF 96 97", &format!("SAVPF {}", formats.join(" "))));
        for (what, error) in [
            ("a=ssrc", lines(SSRCS_MAX + 1, ssrc).unwrap_err()),
            ("a=rid", lines(RIDS_MAX + 1, rid).unwrap_err()),
            ("formats", too_many_formats.unwrap_err()),
        ] {
            assert!(matches!(error, SdpError::TooMany { what: found, .. } if found == what), "{error}");
        }
    }
}
