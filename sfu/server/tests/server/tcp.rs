//! Media by TCP: who is let in, and that a session answers on its connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proto::signal::VERSION;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use serde_json::{Value, json};
use sfu::network::framing::head;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message as Stun, Setter};
use stun::textattrs::Username;
use tokio_tungstenite::tungstenite::Message;

use super::{Client, Server};

static PROVIDER: AwsLcRsProvider = AwsLcRsProvider::new();

const OFFER: &str = include_str!("../../../../tests/corpus/offer-recvonly.sdp");
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The value of the first `a=` line with this name.
fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let prefix = format!("a={name}:");
    sdp.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name} in {sdp}"))
}

/// A check as browsers send it, and its frame.
fn check(user: &str, password: &str) -> Vec<u8> {
    let mut message = Stun::new();
    message.write_header();
    message.set_type(BINDING_REQUEST);
    message.transaction_id.0 = *b"transaction!";
    message.write_transaction_id();
    Username::new(ATTR_USERNAME, user.to_owned()).add_to(&mut message).unwrap();
    message.add(ATTR_PRIORITY, &1_u32.to_be_bytes());
    message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
    message.add(ATTR_USE_CANDIDATE, &[]);
    let integrity = MessageIntegrity::new_raw_integrity_with_provider(password, PROVIDER.crypto());
    integrity.add_to(&mut message).unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    framed(&message.raw)
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&head(datagram.len()).unwrap()[..], datagram].concat()
}

fn connect(server: &Server) -> TcpStream {
    let port = u16::try_from(server.ready["tcp"].as_u64().unwrap()).unwrap();
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    stream.set_read_timeout(Some(ENDS_WITHIN)).unwrap();
    stream
}

/// What a frame holds that arrives next.
fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut datagram = vec![0; usize::from(u16::from_be_bytes(head))];
    stream.read_exact(&mut datagram).unwrap();
    datagram
}

fn assert_answered(stream: &mut TcpStream, name: &str) {
    let mut message = Stun::default();
    message.unmarshal_binary(&read_frame(stream)).unwrap();
    assert_eq!((message.typ, message.transaction_id.0), (BINDING_SUCCESS, *b"transaction!"), "{name}");
}

/// That the server closes a connection, on which nothing comes.
fn assert_closed(mut stream: TcpStream, name: &str) {
    match stream.read(&mut [0; 100]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{name}: {other:?}"),
    }
}

/// Enters a room; the WebSocket and the answer.
async fn join(server: &Server, room: &str) -> (Client, String) {
    let (status, body) = server.json(&format!("/dev/token?room={room}&identity=ann&name=Ann"));
    assert_eq!(status, 200, "{body}");
    let token = body["token"].as_str().unwrap();
    let address = format!("ws://{}/v1/signal?access_token={token}", server.http);
    let (mut client, _) = tokio_tungstenite::connect_async(address).await.unwrap();
    let join = json!({"id": 1, "type": "join", "protocol": VERSION, "sdp": OFFER, "tracks": []});
    client.send(Message::text(join.to_string())).await.unwrap();
    loop {
        let Some(Ok(Message::Text(text))) = client.next().await else { panic!("no answer") };
        let notice: Value = serde_json::from_str(&text).unwrap();
        if notice["type"] == "joined" {
            return (client, notice["sdp"].as_str().unwrap().to_owned());
        }
        assert_ne!(notice["type"], "error", "{notice}");
    }
}

/// A check that belongs to the session with this answer.
fn check_for(answer: &str) -> Vec<u8> {
    let user = format!("{}:{}", attribute(answer, "ice-ufrag"), attribute(OFFER, "ice-ufrag"));
    check(&user, attribute(answer, "ice-pwd"))
}

#[test]
fn who_does_not_say_first_whom_it_is_for_is_closed() {
    let server = Server::start(&[]);
    let silent = connect(&server);
    for (name, said, counted) in [
        ("a web browser", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "refused_total{reason=\"no_request\"} 1"),
        ("too much", framed(&[0; 601]), "refused_total{reason=\"no_request\"} 2"),
        ("a frame of something else", framed(&[128; 100]), "refused_total{reason=\"no_request\"} 3"),
        (
            "a worker that is not there",
            check("/23456789:x", "p"),
            "refused_total{reason=\"unknown_worker\"} 1",
        ),
        ("a stranger", check("B23456789:x", "p"), "closed_total{worker=\"1\",reason=\"unproved\"} 1"),
    ] {
        let mut stream = connect(&server);
        stream.write_all(&said).unwrap();
        assert_closed(stream, name);
        server.metrics_with(&[&format!("lianmai_tcp_{counted}")]);
    }
    assert_closed(silent, "silence");
    let metrics = server.metrics_with(&["lianmai_tcp_refused_total{reason=\"silent\"} 1"]);
    assert!(metrics.contains("lianmai_tcp_connections{worker=\"0\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_connection_finds_its_session_on_whichever_worker_and_ends_with_it() {
    let server = Server::start(&[]);
    let mut sessions = Vec::new();
    for room in ["one", "two"] {
        let (client, answer) = join(&server, room).await;
        let mut stream = connect(&server);
        let check = check_for(&answer);
        for byte in &check {
            stream.write_all(&[*byte]).unwrap(); // each perhaps in a segment of its own
        }
        assert_answered(&mut stream, room);
        stream.write_all(&check.repeat(20)).unwrap();
        (0..20).for_each(|_| assert_answered(&mut stream, room));
        sessions.push((client, answer, stream));
    }
    let marks: Vec<_> = sessions.iter().map(|(_, answer, _)| &attribute(answer, "ice-ufrag")[..1]).collect();
    assert_eq!(marks, ["A", "B"], "each room is on a worker of its own");
    server.metrics_with(&[
        "lianmai_tcp_connections{worker=\"0\"} 1",
        "lianmai_tcp_connections{worker=\"1\"} 1",
        "lianmai_tcp_received_frames_total{worker=\"0\"} 21",
        "lianmai_tcp_sent_frames_total{worker=\"1\"} 21",
    ]);

    let (_, answer, mut stream) = sessions.remove(1);
    let mut stranger = connect(&server);
    let user = format!("{}:{}", attribute(&answer, "ice-ufrag"), attribute(OFFER, "ice-ufrag"));
    stranger.write_all(&check(&user, "another password")).unwrap();
    assert_closed(stranger, "a wrong password");
    server.metrics_with(&["lianmai_tcp_closed_total{worker=\"1\",reason=\"unproved\"} 1"]);
    stream.write_all(&framed(&[0; 1_501])).unwrap();
    while let Ok(1..) = stream.read(&mut [0; 2_000]) {} // the server's handshake may come, then the end
    server.metrics_with(&["lianmai_tcp_closed_total{worker=\"1\",reason=\"misframed\"} 1"]);

    let (mut client, _, stream) = sessions.remove(0);
    client.send(Message::text(json!({"id": 2, "type": "leave"}).to_string())).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = stream;
        while let Ok(1..) = stream.read(&mut [0; 2_000]) {} // the goodbye comes before the end
    });
    ended.await.unwrap();
    server.metrics_with(&["lianmai_tcp_closed_total{worker=\"0\",reason=\"unchecked\"} 1"]);
}

#[tokio::test]
async fn tcp_is_offered_unless_it_is_not_wanted() {
    for (flags, offered) in [(&[][..], true), (&["--use-tcp", "false"], false)] {
        let server = Server::start(flags);
        let (_client, answer) = join(&server, "r").await;
        assert_eq!(server.ready["tcp"].is_u64(), offered, "{flags:?}");
        let of = |kind: &str| answer.lines().filter(|line| line.contains(kind)).collect::<Vec<_>>();
        let (udp, tcp) = (of(" 1 udp "), of(" typ host tcptype passive"));
        assert_eq!((udp.is_empty(), tcp.is_empty()), (false, !offered), "{flags:?}: {answer}");
        let priority = |line: &&str| line.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
        assert!(udp.iter().map(priority).min() > tcp.iter().map(priority).max(), "{answer}");
    }
}
