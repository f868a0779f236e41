//! The parsers that see the wire, each as a function that must bear any input.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use proto::codec::{PictureIdRewriter, PictureIds, picture_size, starts_key_frame};
use proto::ids::Rid;
use proto::rtcp::twcc::TransportFeedback;
use proto::rtp::dependency::{Descriptor, REFERENCES_MAX, TARGETS_MAX, frame_number};
use proto::rtp::{RtpView, rtx};
use proto::sdp::{
    Answer, AnswerSection, Fingerprint, HashAlgorithm, IceCredentials, Offer, Section, write_answer,
};
use proto::signal::{ClientMessage, Notice, Request, Source};
use proto::time::Instant;
use proto::{rtcp, rtp::Ssrc};
use sfu::network::cipher::SrtpCipher;
use sfu::network::demux;
use sfu::network::dtls::DtlsServer;
use sfu::network::framing::{Deframer, FRAME_MAX};
use sfu::network::ice_lite::{Credentials, IceLite};
use sfu::network::path::Path;
use sfu::network::stun::BindingRequest;
use sfu::worker::{Grant, Input, Output, SocketId, Worker};

use super::{corpus, feedback, repair, uplink};

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, for `--only` and for the files of its findings.
    pub name: &'static str,
    /// Valid inputs.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Must return for every input, whatever the input is.
    pub run: fn(&[u8]),
}

/// Every target.
pub fn all() -> Vec<Target> {
    vec![
        Target { name: "rtp", corpus: corpus::rtp, run: rtp },
        Target { name: "dependency", corpus: corpus::dependency, run: dependency },
        Target { name: "rtcp", corpus: corpus::rtcp, run: rtcp },
        Target { name: "twcc", corpus: corpus::twcc, run: twcc },
        Target { name: "codec", corpus: corpus::codec, run: codec },
        Target { name: "sdp", corpus: corpus::sdp, run: sdp },
        Target { name: "signal", corpus: corpus::signal, run: signal },
        Target { name: "stun", corpus: corpus::stun, run: stun },
        Target { name: "srtp", corpus: corpus::srtp, run: srtp },
        Target { name: "dtls", corpus: corpus::dtls, run: dtls },
        Target { name: "messages", corpus: corpus::messages, run: messages },
        Target { name: "datagrams", corpus: corpus::datagrams, run: datagrams },
        Target { name: "framing", corpus: corpus::framing, run: framing },
        Target { name: "flexfec", corpus: repair::flexfec_corpus, run: repair::flexfec },
        Target { name: "red", corpus: repair::red_corpus, run: repair::red },
        Target { name: "red_uplink", corpus: repair::red_corpus, run: repair::red_uplink },
        Target { name: "rs", corpus: repair::symbols_corpus, run: repair::symbols },
        Target { name: "uplink", corpus: uplink::corpus, run: uplink::run },
        Target { name: "feedback", corpus: feedback::corpus, run: feedback::run },
    ]
}

/// A packet's parts make up the packet, and every extension lies in it.
fn rtp(input: &[u8]) {
    demux::classify(input);
    if let Ok(view) = RtpView::parse_protected(input) {
        assert!(view.header_len() <= input.len());
    }
    let Ok(view) = RtpView::parse(input) else { return };
    assert_eq!(view.header_len() + view.payload().len() + view.padding_len(), input.len());
    let extensions: usize = view.extensions().map(|(_, value)| value.len()).sum();
    assert!(extensions + view.csrcs().count() * 4 <= view.header_len());
    if let Some((_, rest)) = rtx::unwrap(view.payload()) {
        assert_eq!(rest.len() + 2, view.payload().len());
    }
}

/// Two descriptors of a stream: the first byte is the first one's length.
fn dependency(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else { return };
    let (first, second) = rest.split_at(usize::from(*length).min(rest.len()));
    let known = Descriptor::read(first, None).ok().and_then(|(_, structure)| structure);
    let Ok((own, brought)) = Descriptor::read(second, known.as_ref()) else { return };
    let structure = brought.or(known).expect("it was read by one");
    assert!(own.references().len() <= REFERENCES_MAX && structure.targets().len() <= TARGETS_MAX);
    assert_eq!(own.chains().len(), usize::from(structure.chains()));
    assert_eq!(frame_number(second), Some(own.frame));
}

/// What was read can be written, and reads as the same.
fn rtcp(input: &[u8]) {
    let Ok(packets) = rtcp::parse(input) else { return };
    let written = rtcp::write(&packets);
    if !written.is_empty() {
        rtcp::parse(&written).expect("our own packets can be read");
    }
}

fn twcc(input: &[u8]) {
    let Ok(feedback) = TransportFeedback::decode(input) else { return };
    let mut written = Vec::new();
    let count = feedback.encode(&mut written);
    let read = TransportFeedback::decode(&written).expect("our own feedback can be read");
    assert_eq!(read.arrivals[..], feedback.arrivals[..count]);
}

/// The first byte chooses the codec, the others are a payload.
fn codec(input: &[u8]) {
    let Some((choice, payload)) = input.split_first() else { return };
    let codec = corpus::CODECS[usize::from(*choice) % corpus::CODECS.len()];
    let (starts, size) = (starts_key_frame(codec, payload), picture_size(codec, payload));
    assert!(size.is_none() || starts, "a size without a key frame");
    let mut rewriter = PictureIdRewriter::default();
    let ids = PictureIds::read(codec, payload);
    let mut first = Vec::new();
    rewriter.follow(ids).rewrite(ids, payload, &mut first);
    rewriter.switch();
    let mut out = first.clone();
    let offsets = rewriter.follow(ids);
    offsets.rewrite(ids, payload, &mut out);
    assert_eq!(out[..first.len()], first, "what was there before is left alone");
    assert!(offsets.alter(ids) || out[first.len()..] == *payload, "what changes nothing says so");
}

/// An offer is read, and answered as generously as can be.
fn sdp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(offer) = Offer::parse(text) else { return };
    let answer = Answer {
        ice: IceCredentials { ufrag: "ours".into(), pwd: "a password of 22 letters".into() },
        fingerprint: Fingerprint { algorithm: HashAlgorithm::Sha256, digest: vec![7; 32] },
        candidates: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7882))],
        tcp_candidates: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7881))],
        session_id: 1,
        version: 1,
        sections: offer.sections.iter().map(answer_section).collect(),
    };
    let text = write_answer(&offer, &answer);
    assert!(text.lines().filter(|line| line.starts_with("m=")).count() == offer.sections.len());
    assert!(text.ends_with("\r\n"));
}

fn answer_section(section: &Section) -> AnswerSection {
    if section.direction.sends() {
        AnswerSection::Receive {
            codecs: section.receivable_codecs(),
            extensions: section.extensions.clone(),
            rids: ["h", "m", "l"].map(Rid::from).to_vec(),
        }
    } else if section.direction.receives() {
        AnswerSection::Send {
            codecs: section.sendable_codecs(),
            extensions: section.extensions.clone(),
            ssrc: Ssrc(1),
            rtx_ssrc: Some(Ssrc(2)),
            fec_ssrc: section.flexfec.map(|_| Ssrc(3)),
            cname: "name".into(),
            stream: "seat-0".into(),
            track: "track".into(),
        }
    } else {
        AnswerSection::Inactive
    }
}

/// A message that is understood is understood again after it was written.
fn signal(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(request) = serde_json::from_str::<Request>(text) {
        let written = serde_json::to_string(&request).expect("a request can be written");
        let read: Request = serde_json::from_str(&written).expect("our own messages can be read");
        if !matches!(request.message, ClientMessage::Ping { .. }) {
            assert_eq!(read, request); // a ping's time may lose its last digit in JSON
        }
    }
    let _ = serde_json::from_str::<Notice>(text);
}

fn stun(input: &[u8]) {
    let Ok(request) = BindingRequest::parse(input) else { return };
    let (now, remote) = (Instant::from_millis(1), SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)));
    let credentials = |ufrag: &str, pwd: &str| Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
    let theirs = credentials(request.remote_ufrag(), "another password of theirs");
    let mut ice = IceLite::new(now, credentials(corpus::UFRAG, corpus::PASSWORD), theirs);
    let path = Path::udp(None, remote);
    let answered = ice.handle_request(now, path, &request).is_ok();
    assert_eq!(ice.is_validated(path), answered && ice.selected().is_some() || ice.is_validated(path));
    while ice.poll_event().is_some() {}
    ice.handle_timeout(now);
}

/// Each profile's cipher takes a genuine packet, then the input as RTP and as RTCP, to open and to seal.
fn srtp(input: &[u8]) {
    for keys in corpus::srtp_keys() {
        let mut server = SrtpCipher::server(&keys).expect("keys of the right length");
        let genuine = SrtpCipher::client(&keys).expect("as before").protect_rtp(&corpus::rtp()[0]);
        server.unprotect_rtp(&genuine.expect("a packet of our own")).expect("what the client sealed");
        if let Ok(packet) = server.unprotect_rtp(input) {
            assert!(packet.len() < input.len());
        }
        let _ = server.unprotect_rtcp(input);
        if let Ok(packet) = server.protect_rtp(input) {
            assert!(packet.len() > input.len());
        }
        let _ = server.protect_rtcp(input);
    }
}

fn dtls(input: &[u8]) {
    let now = Instant::from_millis(1);
    let mut server = DtlsServer::new(corpus::certificate(), Vec::new(), corpus::epoch(), now);
    // Several datagrams in one input: two bytes of length before each.
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (datagram, after) = behind.split_at(usize::from(u16::from_be_bytes(*length)).min(behind.len()));
        server.handle_packet(now, datagram);
        while server.poll_transmit().is_some() {}
        rest = after;
    }
    while server.poll_event().is_some() {}
}

/// A whole worker hears the input's lines as the messages of one WebSocket.
fn messages(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut worker = Worker::new(corpus::worker_config());
    let mut now = Instant::from_millis(1);
    open_socket(&mut worker, now);
    for line in text.lines() {
        worker.handle_input(now, Input::SocketMessage { socket: SOCKET, text: line });
        drain(&mut worker);
        now += Duration::from_millis(10);
    }
    for _ in 0..20 {
        let Some(at) = worker.poll_timeout() else { break };
        now = now.max(at);
        worker.handle_input(now, Input::Timeout);
        drain(&mut worker);
        assert!(worker.poll_timeout().is_none_or(|next| next > now), "a wake-up in the past");
    }
    worker.handle_input(now, Input::SocketClosed { socket: SOCKET });
    drain(&mut worker);
}

/// A whole worker with somebody in a room gets a datagram from a stranger, who cannot know any password.
fn datagrams(input: &[u8]) {
    let mut worker = Worker::new(corpus::worker_config());
    let now = Instant::from_millis(1);
    open_socket(&mut worker, now);
    worker.handle_input(now, Input::SocketMessage { socket: SOCKET, text: corpus::join_text() });
    drain(&mut worker);
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
    let mut bytes = input.to_vec();
    worker.handle_input(now, Input::Datagram { path: Path::udp(None, remote), bytes: &mut bytes });
    assert_eq!(drain(&mut worker), 0, "a stranger was answered");
}

/// A stream comes in portions of a size that its first byte says, and as a whole: the same datagrams are in it.
fn framing(input: &[u8]) {
    let Some((portion, stream)) = input.split_first() else { return };
    let deframe = |portion: usize| {
        let (mut deframer, mut found) = (Deframer::default(), Vec::new());
        let mut stream = stream.to_vec();
        let ended = stream.chunks_mut(portion).try_for_each(|bytes| {
            deframer.handle_bytes(bytes, |datagram| {
                assert!((1..=FRAME_MAX).contains(&datagram.len()));
                found.push(datagram.to_vec());
            })
        });
        (found, ended)
    };
    assert_eq!(deframe(usize::from(*portion) + 1), deframe(stream.len().max(1)));
}

const SOCKET: SocketId = SocketId(1);

fn open_socket(worker: &mut Worker, now: Instant) {
    let grant = Grant {
        room: "fuzz".into(),
        identity: "fuzz".into(),
        name: "fuzz".into(),
        publish: vec![Source::Camera, Source::Microphone],
        subscribe: true,
    };
    worker
        .handle_input(now, Input::SocketOpened { socket: SOCKET, grant, session: None, others: Vec::new() });
    drain(worker);
}

/// Takes all that a worker has to say, which must be of the protocol; counts the datagrams among it.
fn drain(worker: &mut Worker) -> usize {
    let mut datagrams = 0;
    while let Some(transmits) = worker.poll_transmits() {
        datagrams += transmits.datagrams();
        transmits.clear();
    }
    while let Some(output) = worker.poll_output() {
        match output {
            Output::Message { text, .. } => {
                serde_json::from_str::<Notice>(&text).expect("a worker speaks the protocol");
            }
            Output::CloseSocket { .. } | Output::Event(_) => {}
        }
    }
    datagrams
}
