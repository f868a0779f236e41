//! Valid inputs for each target, made by our own writers and by Chromium.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant as StdInstant};

use aws_lc_rs::hmac;
use dimpl::{Config, Dtls, Output};
use proto::codec::Codec;
use proto::feedback::Ecn;
use proto::ids::{Mid, ParticipantId, TrackId};
use proto::rtcp::twcc::TransportFeedback;
use proto::rtcp::{self, CongestionFeedback, ReceiverReport, ReportBlock, Rtcp, SenderReport};
use proto::rtp::{ExtensionId, PayloadType, RtpHeader, SeqNo, Ssrc};
use proto::seed::Seed;
use proto::signal::{
    ClientMessage, Join, Layer, Layout, Notice, Offer, Publish, Request, ServerMessage, SlotBinding, Source,
    Strategy, Tile, VERSION,
};
use proto::time::{Instant, NtpTime};
use sfu::network::cipher::{SrtpCipher, SrtpKeys, SrtpProfile};
use sfu::network::dtls::{Certificate, DtlsServer};

use crate::clock;

/// What the first byte of a `codec` input chooses from.
pub(super) const CODECS: [Codec; 6] =
    [Codec::Opus, Codec::Red, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// Who the `stun` inputs are for.
pub(super) const UFRAG: &str = "oursours";
/// What proves them.
pub(super) const PASSWORD: &str = "our password of 32 ice characters";

/// What Chromium 156 offers: everything, and receiving only.
const OFFERS: [&str; 2] =
    [include_str!("../../corpus/offer.sdp"), include_str!("../../corpus/offer-recvonly.sdp")];

pub(super) fn rtp() -> Vec<Vec<u8>> {
    let header = RtpHeader {
        payload_type: PayloadType(96),
        marker: true,
        seq: SeqNo(65_535),
        timestamp: 90_000,
        ssrc: Ssrc(0x1234_5678),
    };
    let packet = |extensions: &[(ExtensionId, &[u8])], payload: &[u8]| {
        let mut packet = Vec::new();
        header.write(extensions, &mut packet);
        packet.extend_from_slice(payload);
        packet
    };
    let small: [(ExtensionId, &[u8]); 3] =
        [(ExtensionId(4), b"0"), (ExtensionId(10), b"h"), (ExtensionId(3), &[0, 7])];
    let large: [(ExtensionId, &[u8]); 2] = [(ExtensionId(15), &[]), (ExtensionId(16), &[9; 17])];
    let mut padded = packet(&small, &[0; 40]);
    padded[0] |= 0x20;
    padded.extend_from_slice(&[0, 0, 0, 4]);
    vec![
        packet(&[], &[]),
        packet(&small, &[1, 2, 3, 4]),
        packet(&large, &[0x12; 100]),
        padded,
        // An extension block longer than the packet: an older rtp crate panicked here.
        vec![0x90, 0x60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x1f, 0, 0, 0],
        // An identifier of 15 ends the extensions before their block ends.
        [packet(&[], &[]).as_slice(), &[0xbe, 0xde, 0, 2, 0xf0, 1, 2, 3, 4, 5, 6, 7, 42]].concat(),
    ]
}

pub(super) fn dependency() -> Vec<Vec<u8>> {
    // A key frame in three temporal layers, as Chromium sends it with VP8, and frames after it.
    let key = [
        0x80, 0x23, 0xc5, 0x80, 0x02, 0x04, 0x4e, 0xaa, 0xaf, 0x28, 0x60, 0x41, 0x4d, 0x34, 0x53, 0x8a, 0x09,
        0x40, 0x40, 0xb3, 0xc1, 0x3f, 0xc0,
    ];
    let after = |next: &[u8]| [&[key.len() as u8], &key[..], next].concat();
    vec![
        after(&key),
        after(&[0xc3, 0x23, 0xc6]),
        after(&[0x80, 0x23, 0xc7, 0x50, 0x40]), // fewer decode targets, and references of its own
        [&[0], &key[..]].concat(),
    ]
}

pub(super) fn rtcp() -> Vec<Vec<u8>> {
    let block = ReportBlock {
        ssrc: Ssrc(2),
        fraction_lost: 12,
        lost: -3,
        highest_seq: 70_000,
        jitter: 99,
        last_sr: 0x0102_0304,
        delay_since_last_sr: 65_536,
    };
    let sender = SenderReport {
        ssrc: Ssrc(1),
        ntp: NtpTime::from_bits(0xe000_0000_8000_0000),
        rtp_timestamp: 90_000,
        packets: 10,
        octets: 1_000,
        reports: vec![block; 3],
    };
    let receiver = ReceiverReport { ssrc: Ssrc(1), reports: vec![block] };
    let description = Rtcp::SourceDescription { ssrc: Ssrc(1), cname: "a canonical name".into() };
    let lost = vec![SeqNo(65_530), SeqNo(2), SeqNo(3), SeqNo(40)];
    let packets = [
        Rtcp::SenderReport(sender),
        description,
        Rtcp::ReceiverReport(receiver),
        Rtcp::Nack { sender: Ssrc(1), media: Ssrc(2), lost },
        Rtcp::Pli { sender: Ssrc(1), media: Ssrc(2) },
        Rtcp::Fir { sender: Ssrc(1), requests: vec![(Ssrc(2), 3)] },
        Rtcp::Bye { ssrcs: vec![Ssrc(1), Ssrc(2)] },
    ];
    let mut inputs: Vec<Vec<u8>> =
        packets.iter().map(|packet| rtcp::write(std::slice::from_ref(packet))).collect();
    inputs.push(rtcp::write(&packets));
    inputs.extend(twcc());
    inputs.extend(ccfb());
    inputs
}

fn ccfb() -> Vec<Vec<u8>> {
    let marks = [Ecn::NotCapable, Ecn::Capable0, Ecn::Capable1, Ecn::Congested];
    let arrivals: Vec<_> = (0..200_u64)
        .map(|number| {
            (number % 7 != 0)
                .then(|| (Instant::from_millis(number * 60), marks[number as usize % marks.len()]))
        })
        .collect();
    let now = Instant::from_millis(11_900);
    let reports = [&arrivals[..1], &arrivals[..2], &arrivals]
        .map(|arrivals| CongestionFeedback::reports(Ssrc(1), Ssrc(2), now, SeqNo(65_500), arrivals))
        .concat();
    let streams = reports.iter().flat_map(|report| report.streams.clone()).collect();
    let of_three = CongestionFeedback { streams, ..reports[0].clone() };
    reports
        .into_iter()
        .chain([of_three])
        .map(|report| rtcp::write(&[Rtcp::CongestionFeedback(report)]))
        .collect()
}

pub(super) fn twcc() -> Vec<Vec<u8>> {
    let patterns: [Vec<Option<u64>>; 4] = [
        vec![Some(100)],
        (0..200).map(|number| (number % 7 != 0).then_some(1_000 + number * 5)).collect(),
        (0..30).map(|number| (number % 2 == 0).then_some(1_000 + number * 300)).collect(),
        vec![Some(2_000), None, None, Some(1_000), Some(8_000)],
    ];
    let mut inputs = Vec::new();
    for pattern in patterns {
        let arrivals: Vec<Option<Instant>> = pattern.iter().map(|at| at.map(Instant::from_millis)).collect();
        for report in TransportFeedback::reports(Ssrc(1), Ssrc(2), 255, SeqNo(65_500), &arrivals) {
            let mut packet = Vec::new();
            report.encode(&mut packet);
            inputs.push(packet);
        }
    }
    inputs
}

/// Each begins with the place of its codec in [`CODECS`].
pub(super) fn codec() -> Vec<Vec<u8>> {
    let h264_parameters =
        [0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04];
    let stap = [&[0x78, 0, 14][..], &h264_parameters, &[0, 4, 0x68, 0xce, 0x3c, 0x80]].concat();
    let payloads: [(u8, &[u8]); 16] = [
        (0, &[0x78, 0x01, 0x02]),
        (1, &[0xef, 0x03, 0xc0, 0x03, 0x6f, 1, 2, 3, 4, 5]),
        (
            2,
            &[
                0x90, 0xe0, 0x81, 0x02, 0x05, 0x60, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68,
                0x01, 0x39,
            ],
        ),
        (2, &[0x80, 0x80, 0x15, 0x31, 0x00, 0x00]),
        (2, &[0x10, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]),
        (3, &[0x8b, 0x80, 0x21, 0x18, 0x02, 0x80, 0x01, 0x68, 0x01, 0x00, 0x82, 0x49, 0x83, 0x42, 0x00]),
        (3, &[0xec, 0x81, 0x02, 0x20, 0x05, 0x02, 0x86]),
        (3, &[0x8a, 0x05, 0x3a, 0x02, 0x80, 0x01, 0x68, 0x01, 0x40, 0x00, 0xb4, 0x01, 0x04]),
        (4, &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04]),
        (4, &stap),
        (4, &[0x7c, 0x85, 0x88, 0x84, 0x00, 0x10]),
        (4, &[0x7c, 0x45, 0x88, 0x84]),
        (4, &[0x41, 0x9a, 0x02]),
        (
            5,
            &[
                0x18, 0x0a, 0x0a, 0x00, 0x00, 0x00, 0x24, 0xcf, 0x7f, 0x0d, 0xbf, 0xff, 0x30, 0x08, 0x32,
                0x01, 0x10,
            ],
        ),
        (5, &[0x20, 0x02, 0x12, 0x00, 0x32, 0x02, 0x11, 0x22]),
        (5, &[0xd0, 0x30, 0x01]),
    ];
    payloads.iter().map(|(codec, payload)| [&[*codec], *payload].concat()).collect()
}

pub(super) fn sdp() -> Vec<Vec<u8>> {
    let simulcast = OFFERS[0].replacen(
        "a=mid:1\r\n",
        "a=mid:1\r\na=rid:h send\r\na=rid:m send\r\na=rid:l send\r\na=simulcast:send h;~m;l\r\n",
        1,
    );
    OFFERS.into_iter().chain([simulcast.as_str()]).map(|offer| offer.as_bytes().to_vec()).collect()
}

pub(super) fn signal() -> Vec<Vec<u8>> {
    let layers = vec![Layer { rid: "h".into(), width: 1280, height: 720 }];
    let tracks = vec![Publish {
        mid: "0".into(),
        source: Source::Camera,
        muted: false,
        layers,
        strategy: Strategy::default(),
    }];
    let offer = Offer { sdp: OFFERS[1].to_owned(), tracks };
    let tile = Tile { track: "TR_abc".into(), width: 640, height: 360, strategy: Strategy::default() };
    let requests = [
        ClientMessage::Join(Join { protocol: VERSION, client: "fuzz/1".into(), offer: offer.clone() }),
        ClientMessage::Offer(offer),
        ClientMessage::Layout(Layout { tiles: vec![tile; 9] }),
        ClientMessage::Mute { track: "TR_abc".into(), muted: true },
        ClientMessage::Leave,
        ClientMessage::Ping { sent_ms: 1234.5 },
    ];
    let slot = SlotBinding {
        mid: Mid::from("3"),
        track: TrackId::from("TR_a"),
        participant: ParticipantId::from("PA_a"),
    };
    let notice = Notice { re: Some(1), message: ServerMessage::Slots { slots: vec![slot] } };
    let requests = requests.into_iter().enumerate().map(|(id, message)| Request { id: id as u64, message });
    let texts = requests.map(|request| serde_json::to_vec(&request));
    texts.chain([serde_json::to_vec(&notice)]).map(|text| text.expect("messages can be written")).collect()
}

/// Binding requests as a browser sends them, with and without a fingerprint: a damaged one with it is refused early.
pub(super) fn stun() -> Vec<Vec<u8>> {
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let username = attribute(0x0006, format!("{UFRAG}:theirs").as_bytes());
    let head = [username, attribute(0x0024, &[0x6e, 0, 0x1e, 0xff])].concat();
    let controlling = attribute(0x802a, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let nominating = [controlling.clone(), attribute(0x0025, &[])].concat();
    let controlled = attribute(0x8029, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let surprising = attribute(0x7ffe, &[1]);
    let mut inputs = Vec::new();
    for tail in [&controlling, &nominating, &controlled, &surprising] {
        let body = [head.as_slice(), tail].concat();
        let request = signed(&body);
        inputs.push(request.clone());
        inputs.push(fingerprinted(request));
    }
    inputs
}

fn stun_header(length: usize) -> Vec<u8> {
    let mut header = vec![0, 1];
    header.extend_from_slice(&(length as u16).to_be_bytes());
    header.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    header.extend_from_slice(b"transaction!");
    header
}

/// Adds MESSAGE-INTEGRITY (RFC 8489 §14.5).
fn signed(body: &[u8]) -> Vec<u8> {
    let mut message = stun_header(body.len() + 24);
    message.extend_from_slice(body);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PASSWORD.as_bytes());
    let tag = hmac::sign(&key, &message);
    message.extend_from_slice(&[0, 8, 0, 20]);
    message.extend_from_slice(tag.as_ref());
    message
}

/// Adds FINGERPRINT (RFC 8489 §14.7).
fn fingerprinted(mut message: Vec<u8>) -> Vec<u8> {
    let length = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let crc = !message.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    message.extend_from_slice(&[0x80, 0x28, 0, 4]);
    message.extend_from_slice(&(crc ^ 0x5354_554e).to_be_bytes());
    message
}

/// One set of keys for each profile.
pub(super) fn srtp_keys() -> Vec<SrtpKeys> {
    [
        (SrtpProfile::AeadAes256Gcm, 2 * (32 + 12)),
        (SrtpProfile::AeadAes128Gcm, 2 * (16 + 12)),
        (SrtpProfile::Aes128CmSha1_80, 2 * (16 + 14)),
    ]
    .into_iter()
    .map(|(profile, length)| {
        let material: Vec<u8> = (0..length as u8).collect();
        SrtpKeys::from_exporter(profile, &material).expect("the length that the profile takes")
    })
    .collect()
}

pub(super) fn srtp() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for keys in srtp_keys() {
        let mut client = SrtpCipher::client(&keys).expect("keys of the right length");
        inputs.extend(rtp().iter().filter_map(|packet| client.protect_rtp(packet).ok()));
        inputs.extend(rtcp().iter().filter_map(|packet| client.protect_rtcp(packet).ok()));
    }
    inputs
}

/// The server's certificate in every `dtls` input.
pub(super) fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(Certificate::generate)
}

/// The standard library's name for the beginning of time.
pub(super) fn epoch() -> StdInstant {
    static EPOCH: OnceLock<StdInstant> = OnceLock::new();
    *EPOCH.get_or_init(clock::now)
}

/// What a client sends in a whole handshake: each datagram behind two bytes of length. The handshake draws randomness
/// of its own, so these differ from run to run; a finding holds the bytes that mattered.
pub(super) fn dtls() -> Vec<Vec<u8>> {
    let config = Config::builder().use_server_cookie(false).build().expect("nothing unusual");
    let identity = dimpl::certificate::generate_self_signed_certificate().expect("there is randomness");
    let mut at = epoch();
    let mut client = Dtls::new_12(Arc::new(config), identity, at);
    client.set_active(true);
    let mut server = DtlsServer::new(certificate(), Vec::new(), epoch(), Instant::from_millis(0));
    let mut inputs = Vec::new();
    let mut all = Vec::new();
    for round in 0..6_u64 {
        client.handle_timeout(at).expect("nothing is late");
        let mut buffer = vec![0; 64 * 1024];
        while let Output::Packet(packet) = client.poll_output(&mut buffer) {
            let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
            framed.extend_from_slice(packet);
            server.handle_packet(Instant::from_millis(round), packet);
            all.extend_from_slice(&framed);
            inputs.push(framed);
        }
        while let Some(packet) = server.poll_transmit() {
            client.handle_packet(&packet).expect("our own server");
        }
        at += Duration::from_millis(1);
    }
    inputs.push(all);
    inputs
}

/// Streams of frames, behind a byte that says in which portions they come.
pub(super) fn framing() -> Vec<Vec<u8>> {
    let frame = |datagram: &[u8]| {
        let head = sfu::network::framing::head(datagram.len()).expect("datagrams are short");
        [&head[..], datagram].concat()
    };
    let whole: Vec<u8> = datagrams().iter().flat_map(|datagram| frame(datagram)).collect();
    let nothing = [frame(&[]), frame(&[7]), frame(&[])].concat();
    [0, 1, 99, 255]
        .iter()
        .flat_map(|portion| [&whole, &nothing].map(|stream| [&[*portion], &stream[..]].concat()))
        .collect()
}

/// A worker of its own for each input; the certificate, which takes longest to make, is shared.
pub(super) fn worker_config() -> sfu::worker::Config {
    sfu::worker::Config {
        candidates: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7882))],
        tcp_candidates: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7881))],
        mark: sfu::worker::WorkerMark::FIRST,
        protection: sfu::worker::Protection::Srtp { certificate: certificate().clone(), epoch: epoch() },
        seed: Seed::from_number(1),
        wall_clock: NtpTime::from_bits(0xe000_0000_0000_0000),
        room_participants_max: 10,
        downlink: sfu::worker::DownlinkSettings::default(),
    }
}

/// A message that enters the room with a camera and a microphone.
pub(super) fn join_text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let publish = |mid: &str, source| Publish {
            mid: mid.into(),
            source,
            muted: false,
            layers: Vec::new(),
            strategy: Strategy::default(),
        };
        let tracks = vec![publish("0", Source::Microphone), publish("1", Source::Camera)];
        let offer = Offer { sdp: OFFERS[0].replace("a=sendrecv", "a=sendonly"), tracks };
        let join = Join { protocol: VERSION, client: "fuzz/1".into(), offer };
        let request = Request { id: 1, message: ClientMessage::Join(join) };
        serde_json::to_string(&request).expect("a request can be written")
    })
}

/// A join, then each other message; and all of them.
pub(super) fn messages() -> Vec<Vec<u8>> {
    let others = signal();
    let join = join_text().as_bytes();
    let mut inputs: Vec<Vec<u8>> = others.iter().map(|other| [join, b"\n", other].concat()).collect();
    inputs.push(join.to_vec());
    inputs.push([&[join.to_vec()], others.as_slice()].concat().join(&b'\n'));
    inputs
}

pub(super) fn datagrams() -> Vec<Vec<u8>> {
    let handshake = dtls().into_iter().map(|framed| framed[2..].to_vec());
    [rtp(), rtcp(), stun(), srtp()].concat().into_iter().chain(handshake).collect()
}

#[cfg(test)]
mod tests {
    use proto::sdp::Offer;
    use sfu::network::stun::BindingRequest;

    use super::*;

    #[test]
    fn valid_inputs_are_valid() {
        for request in stun() {
            BindingRequest::parse(&request).expect("a binding request");
        }
        for offer in sdp() {
            Offer::parse(std::str::from_utf8(&offer).unwrap()).expect("an offer");
        }
        for packet in rtcp() {
            rtcp::parse(&packet).expect("RTCP");
        }
        for text in signal() {
            assert!(
                serde_json::from_slice::<Request>(&text).is_ok()
                    || serde_json::from_slice::<Notice>(&text).is_ok()
            );
        }
        assert!(srtp().len() >= 30, "sealed packets of three profiles");
        assert!(dtls().len() >= 3, "a client sends at least two flights");
    }
}
