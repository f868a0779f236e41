//! The real binary: configuration errors, HTTP, signaling's limits, statistics, and its end by a signal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod spans;
mod tcp;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Client = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

const LONG: &str = "0123456789abcdef0123456789abcdef";

fn lianmai(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lianmai"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).env_clear();
    command
}

/// A running server on free ports of the loopback interface; killed when dropped.
struct Server {
    child: Child,
    stderr: Option<ChildStderr>,
    http: String,
    ready: Value,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let fixed = [
            "serve",
            "--bind",
            "127.0.0.1",
            "--port",
            "0",
            "--metrics-port",
            "0",
            "--udp-port",
            "0",
            "--tcp-port",
            "0",
            "--workers",
            "2",
            "--print-ready",
        ];
        let mut child =
            lianmai(&fixed).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stderr = child.stderr.take();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("ready line: {line:?}"));
        Self { child, stderr, http: ready["http"].as_str().unwrap().to_owned(), ready }
    }

    /// Status, header and body of a request.
    fn get(&self, path: &str, header: &str) -> (u16, String, String) {
        Self::get_from(&self.http, path, header)
    }

    /// The same of another port.
    fn get_from(host: &str, path: &str, header: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.get(path, "");
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}")))
    }

    fn metrics(&self) -> String {
        let (status, _, body) = Self::get_from(self.ready["metrics"].as_str().unwrap(), "/metrics", "");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Metrics that hold what is expected: each worker publishes once a second.
    #[expect(clippy::disallowed_methods, reason = "some tests have no runtime to wait on")]
    fn metrics_with(&self, expected: &[&str]) -> String {
        let mut metrics = String::new();
        for _ in 0..300 {
            metrics = self.metrics();
            if expected.iter().all(|line| metrics.contains(line)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for line in expected {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
        metrics
    }

    fn token(&self) -> String {
        self.token_for("r")
    }

    fn token_for(&self, room: &str) -> String {
        let (status, body) = self.json(&format!("/dev/token?room={room}&identity=ann&name=Ann"));
        assert_eq!(status, 200, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    /// What a room looks like, for whoever has this token; after a question mark, of whom.
    fn room_stats(&self, room: &str, token: &str) -> (u16, String, Value) {
        let header =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let (room, query) = room.split_once('?').unwrap_or((room, ""));
        let (status, head, body) = self.get(&format!("/v1/rooms/{room}/stats?{query}"), &header);
        (status, head, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{room}: {body}")))
    }

    async fn connect(&self) -> Client {
        let address = format!("ws://{}/v1/signal?access_token={}", self.http, self.token());
        connect_async(address).await.unwrap().0
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    async fn wait(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(tokio::time::Instant::now() < deadline, "the server does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end: the messages and the close frame's code.
async fn to_end(client: &mut Client) -> (Vec<String>, Option<u16>) {
    let mut texts = Vec::new();
    let end = async {
        loop {
            match client.next().await {
                Some(Ok(Message::Text(text))) => texts.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(10), end).await.expect("the server closes");
    (texts, code)
}

#[test]
fn a_broken_configuration_ends_with_code_2_and_says_why() {
    for (arguments, variable, complaint) in [
        (&["--port", "x"][..], ("A", "1"), "port = \"x\" (flag --port): expected a TCP port"),
        (
            &[],
            ("LIANMAI_PROT", "1"),
            "unknown key prot (environment variable LIANMAI_PROT); the nearest known key is port",
        ),
        (&["config", "--config", "/nowhere.toml"], ("A", "1"), "/nowhere.toml"),
        (&["--key", "a=short"], ("A", "1"), "keys.a (flag --key): the secret has 5 bytes"),
        (&["token", "--room", "r", "--identity", "i"], ("A", "1"), "has no keys"),
        (&["--prot", "1"], ("A", "1"), "--port"),
    ] {
        let output = lianmai(arguments).env(variable.0, variable.1).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), text.contains(complaint)),
            (Some(2), true),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn config_prints_what_is_in_effect() {
    let key = format!("a={LONG}");
    let print = |more: &[&str]| {
        let arguments = [&["config", "--key", &key, "--port", "1"], more].concat();
        String::from_utf8(lianmai(&arguments).output().unwrap().stdout).unwrap()
    };
    let (masked, shown) = (print(&[]), print(&["--show-secrets"]));
    assert!(
        masked.contains("port = 1\n") && masked.contains("udp_port = 7882") && !masked.contains(LONG),
        "{masked}"
    );
    assert!(shown.contains(LONG), "{shown}");
    assert!(print(&["--defaults"]).contains("# The public address of a server behind NAT"));
}

#[test]
fn a_token_from_the_command_line_is_accepted() {
    let key = format!("app={LONG}");
    let server = Server::start(&["--key", &key]);
    let arguments =
        ["token", "--room", "r", "--identity", "ann", "--ttl", "1m", "--key", "app", "--secret", LONG];
    let token = String::from_utf8(lianmai(&arguments).output().unwrap().stdout).unwrap();
    let (status, body) = server.json(&format!("/v1/signal/validate?access_token={}", token.trim()));
    assert_eq!((status, &body["code"]), (200, &json!("ok")), "{body}");
    assert_eq!((&server.ready["key"], &server.ready["secret"]), (&Value::Null, &Value::Null));
    assert_eq!(server.json("/dev/token?room=r&identity=i").0, 404, "no development tokens with own keys");
}

#[tokio::test]
async fn a_websocket_without_a_good_token_is_refused_with_the_reason() {
    let server = Server::start(&[]);
    let good = server.token();
    let signed_by_others = good[..good.len() - 4].to_owned() + "AAAA";
    for (name, query, code) in [
        ("none", String::new(), "token_missing"),
        ("nonsense", "?access_token=abc".to_owned(), "token_malformed"),
        ("forged", format!("?access_token={signed_by_others}"), "token_bad_signature"),
    ] {
        let Err(Error::Http(response)) =
            connect_async(format!("ws://{}/v1/signal{query}", server.http)).await
        else {
            panic!("{name}: not refused");
        };
        let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
        assert_eq!((response.status().as_u16(), &body["code"]), (401, &json!(code)), "{name}: {body}");
        assert!(body["reason"].as_str().unwrap().len() > 10, "{name}: {body}");
        assert_eq!(server.json(&format!("/v1/signal/validate{query}")), (401, body), "{name}");
    }
    let (status, _, body) = server.get("/v1/signal", &format!("Authorization: Bearer {good}\r\n"));
    assert!(status != 401 && body.contains("not_a_websocket"), "{status} {body}");
}

#[tokio::test]
async fn an_oversize_message_closes_with_1009_and_one_that_fits_does_not() {
    let server = Server::start(&[]);
    let mut client = server.connect().await;
    client.send(Message::text("x".repeat(proto::signal::MESSAGE_MAX))).await.unwrap();
    let answer = client.next().await.unwrap().unwrap();
    assert!(answer.is_text(), "{answer:?}");
    client.send(Message::text("x".repeat(proto::signal::MESSAGE_MAX + 1))).await.unwrap();
    assert_eq!(to_end(&mut client).await.1, Some(1009));
    let mut client = server.connect().await;
    client.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(to_end(&mut client).await.1, Some(1003));
}

#[tokio::test]
async fn a_flood_of_messages_is_stopped_and_a_burst_is_not() {
    let server = Server::start(&[]);
    let mut client = server.connect().await;
    for _ in 0..90 {
        client.send(Message::text("{}")).await.unwrap();
    }
    for _ in 0..90 {
        assert!(client.next().await.unwrap().unwrap().is_text());
    }
    for _ in 0..500 {
        let _ = client.feed(Message::text("{}")).await; // fails when the server has closed
    }
    let _ = client.flush().await;
    let (texts, code) = to_end(&mut client).await;
    assert!(
        texts.len() < 200 && texts.last().unwrap().contains("limit_reached"),
        "{} {:?}",
        texts.len(),
        texts.last()
    );
    assert_eq!(code, Some(1008));
    server.metrics_with(&["lianmai_signal_closed_total{reason=\"too_many\"} 1"]);
}

#[tokio::test]
async fn no_more_websockets_than_allowed() {
    let server = Server::start(&["--max-sockets", "1"]);
    let first = server.connect().await;
    let address = format!("ws://{}/v1/signal?access_token={}", server.http, server.token());
    let Err(Error::Http(response)) = connect_async(&address).await else {
        panic!("a second one was accepted")
    };
    assert_eq!(response.status().as_u16(), 503);
    drop(first);
    for _ in 0..100 {
        if connect_async(&address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a closed one is not given away again");
}

#[test]
fn the_page_is_served_with_types_and_tags() {
    let server = Server::start(&[]);
    let (status, head, body) = server.get("/", "");
    assert_eq!(status, 200);
    assert!(body.contains("<!doctype html>") || body.contains("<!DOCTYPE html>"), "{body}");
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-cache",
        "access-control-allow-origin: *",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    assert_eq!(server.get("/", &format!("If-None-Match: {tag}\r\n")).0, 304);
    assert_eq!(server.get("/", "If-None-Match: \"other\"\r\n").0, 200);
    for path in ["/nothing", "/../Cargo.toml", "/%2e%2e/server/Cargo.toml", "/app/"] {
        assert_eq!(server.get(path, "").0, 404, "{path}");
    }
}

#[test]
fn health_and_metrics_answer() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz", "").2, "ok\n");
    let names = [
        "process_resident_memory_bytes",
        "lianmai_signal_sockets 0",
        "lianmai_participants{worker=\"0\"} 0",
        "lianmai_udp_sent_datagrams_total{worker=\"1\"} 0",
    ];
    server.metrics_with(&names);
    assert_eq!(server.ready["udp"].as_array().unwrap().len(), 2);
}

#[test]
fn metrics_have_a_port_of_their_own_that_only_this_machine_reaches() {
    let server = Server::start(&[]);
    let metrics = server.ready["metrics"].as_str().unwrap();
    assert!(metrics.starts_with("127.0.0.1:") && metrics != server.http, "{metrics}");
    for (host, path, expected) in
        [(&*server.http, "/metrics", 404), (metrics, "/metrics", 200), (metrics, "/", 404)]
    {
        assert_eq!(Server::get_from(host, path, "").0, expected, "{host}{path}");
    }
    let printed = String::from_utf8(lianmai(&["config"]).output().unwrap().stdout).unwrap();
    assert!(printed.contains("[metrics]\nbind = \"127.0.0.1\"\nport = 6789"), "{printed}");
}

#[test]
fn each_datagram_stays_once_in_the_histogram_of_its_worker() {
    let server = Server::start(&[]);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.ready["udp"][1].as_u64().unwrap();
    for _ in 0..20 {
        socket.send_to(b"\x50neither STUN nor media", format!("127.0.0.1:{port}")).unwrap();
    }
    let counted = "lianmai_residence_seconds_count{worker=\"1\"} 20\n";
    let metrics =
        server.metrics_with(&[counted, "lianmai_dropped_total{worker=\"1\",reason=\"unknown_protocol\"} 20"]);
    for line in [
        "# TYPE lianmai_residence_seconds histogram\n",
        "lianmai_residence_seconds_bucket{worker=\"1\",le=\"+Inf\"} 20\n",
        "lianmai_residence_seconds_bucket{worker=\"1\",le=\"1.048576\"} 20\n",
        "lianmai_residence_seconds_count{worker=\"0\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_room_is_told_of_to_whoever_may_join_it_and_to_nobody_else() {
    let server = Server::start(&[]);
    let good = server.token();
    let forged = good[..good.len() - 4].to_owned() + "AAAA";
    let other = server.token_for("other");
    let refused = |status: u16, code: &str, room: &str, token: &str| {
        let (found, head, problem) = server.room_stats(room, token);
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{problem}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!(
            (&problem["status"], head.contains("www-authenticate: bearer")),
            (&json!(status), status == 401)
        );
        assert!(problem["detail"].as_str().unwrap().len() > 10 && problem["title"].is_string(), "{problem}");
    };
    refused(401, "token_missing", "r", "");
    refused(401, "token_malformed", "r", "abc");
    refused(401, "token_bad_signature", "r", &forged);
    refused(403, "token_other_room", "r", &other);
    refused(404, "room_unknown", "r", &good);

    let mut client = server.connect().await;
    refused(404, "room_unknown", "r", &good); // nobody has joined yet
    let offer = include_str!("../../../../proto/src/sdp/testdata/offer.sdp");
    let version = proto::signal::VERSION;
    let join =
        json!({"id": 1, "type": "join", "protocol": version, "client": "test", "sdp": offer, "tracks": []});
    client.send(Message::text(join.to_string())).await.unwrap();
    let joined = client.next().await.unwrap().unwrap();
    assert!(joined.to_text().unwrap().contains("\"joined\""), "{joined}");
    let (status, head, stats) = server.room_stats("r", &good);
    assert_eq!(
        (status, &stats["room"], &stats["participant_count"]),
        (200, &json!("r"), &json!(1)),
        "{stats}"
    );
    assert!(head.contains("cache-control: no-store"), "{head}");
    let ann = &stats["participants"][0];
    assert_eq!(
        (&ann["identity"], &ann["connection"]["connected"]),
        (&json!("ann"), &json!(false)),
        "{stats}"
    );
    assert!(stats["worker"]["residence"]["datagrams"].is_u64(), "{stats}");
    let own = ann["participant"].as_str().unwrap();
    for (query, count) in [(format!("participant={own}"), 1), ("participant=PA_nobody".to_owned(), 0)] {
        let (_, _, some) = server.room_stats(&format!("r?{query}"), &good);
        assert_eq!(some["participants"].as_array().map(Vec::len), Some(count), "{query}: {some}");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_so_and_later_answered() {
    let server = Server::start(&[]);
    let good = server.token();
    let _client = server.connect().await;
    let mut found = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..400 {
        *found.entry(server.room_stats("r", &good).0).or_default() += 1;
    }
    assert!(found.contains_key(&429) && found[&404] >= 100 && found.len() == 2, "{found:?}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.room_stats("r", &good).0, 404);
}

#[tokio::test]
async fn asked_to_end_it_says_goodbye_and_ends_cleanly() {
    for name in ["INT", "TERM"] {
        let server = Server::start(&[]);
        let mut client = server.connect().await;
        server.signal(name);
        let (_, code) = to_end(&mut client).await;
        assert_eq!(code, Some(1000), "{name}");
        drop(client);
        let (status, log) = server.wait().await;
        assert_eq!(status.code(), Some(0), "{name}: {log}");
        assert!(log.contains("shutting down") && !log.contains("did not say goodbye"), "{name}: {log}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let server = Server::start(&[]);
    let client = server.connect().await; // never answers the goodbye
    server.signal("INT");
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal("INT");
    let (status, _) = server.wait().await;
    assert_eq!(status.code(), Some(130));
    drop(client);
}
