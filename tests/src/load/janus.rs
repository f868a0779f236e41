//! Signaling with the `VideoRoom` of Janus 1.x, from a client's side, by its own WebSocket API.
//!
//! In: an offer to publish, or nothing to receive. Out: the server's description. Each client has its own session. The server must
//! be configured with `session_timeout = 0`: nobody keeps sessions alive.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use super::lianmai::connect;
use super::peer::Peer;

/// The room of Debian's example configuration.
const ROOM: u64 = 1234;

/// See the module's description.
pub(super) struct Janus {
    socket: WebSocket<TcpStream>,
    session: u64,
    handle: u64,
    requests: u64,
}

impl Janus {
    /// A publisher: its number in the room and the server's answer.
    pub(super) fn publish(address: &str, peer: &Peer, local: SocketAddr) -> Result<(Self, u64, String)> {
        let mut janus = Self::attach(address)?;
        let joined = janus.ask(&json!({"request": "join", "room": ROOM, "ptype": "publisher"}), None)?;
        let feed = joined["plugindata"]["data"]["id"].as_u64().context("Janus names no publisher")?;
        // Left the choice, Janus begins the DTLS handshake, and so do clients here.
        let offer = peer.offer().sdp.replace("a=setup:actpass", "a=setup:active");
        let offer = json!({"type": "offer", "sdp": offer + &candidate(local)});
        let answered = janus.ask(&json!({"request": "publish", "videocodec": "vp8"}), Some(&offer))?;
        let answer = answered["jsep"]["sdp"].as_str().context("Janus does not answer")?.to_owned();
        janus.socket.get_ref().set_nonblocking(true)?;
        Ok((janus, feed, answer))
    }

    /// A subscriber of one publisher: the server's offer, which it has answered.
    pub(super) fn subscribe(
        address: &str,
        feed: u64,
        peer: &Peer,
        local: SocketAddr,
    ) -> Result<(Self, String)> {
        let mut janus = Self::attach(address)?;
        let join =
            json!({"request": "join", "room": ROOM, "ptype": "subscriber", "streams": [{"feed": feed}]});
        let offered = janus.ask(&join, None)?;
        let offer = offered["jsep"]["sdp"].as_str().context("Janus does not offer")?.to_owned();
        let answer = json!({"type": "answer", "sdp": answer(&offer, peer) + &candidate(local)});
        janus.ask(&json!({"request": "start"}), Some(&answer))?;
        janus.socket.get_ref().set_nonblocking(true)?;
        Ok((janus, offer))
    }

    pub(super) fn handle_readable(&mut self) -> Result<()> {
        loop {
            match self.socket.read() {
                Ok(_) => {} // news of others
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("reading Janus's WebSocket"),
            }
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    fn attach(address: &str) -> Result<Self> {
        let mut request = format!("ws://{address}/").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("janus-protocol"));
        let (socket, _) =
            tungstenite::client(request, connect(address)?).context("opening Janus's WebSocket")?;
        let mut janus = Self { socket, session: 0, handle: 0, requests: 0 };
        let created = janus.request(json!({"janus": "create"}), "success")?;
        janus.session = created["data"]["id"].as_u64().context("Janus makes no session")?;
        let plugin = json!({"janus": "attach", "plugin": "janus.plugin.videoroom"});
        janus.handle = janus.request(plugin, "success")?["data"]["id"].as_u64().context("no handle")?;
        Ok(janus)
    }

    /// Asks the plugin, and waits for the event that answers.
    fn ask(&mut self, body: &Value, jsep: Option<&Value>) -> Result<Value> {
        let mut message = json!({"janus": "message", "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep.clone();
        }
        let event = self.request(message, "event")?;
        if let Some(error) = event["plugindata"]["data"]["error"].as_str() {
            bail!("Janus: {error}");
        }
        Ok(event)
    }

    /// Sends a request and waits for the reply of this kind.
    fn request(&mut self, mut request: Value, kind: &str) -> Result<Value> {
        self.requests += 1;
        let transaction = self.requests.to_string();
        request["transaction"] = json!(transaction);
        if self.session != 0 {
            request["session_id"] = json!(self.session);
        }
        if self.handle != 0 {
            request["handle_id"] = json!(self.handle);
        }
        self.socket.send(Message::text(request.to_string()))?;
        loop {
            let Message::Text(text) = self.socket.read().context("waiting for Janus")? else { continue };
            let reply: Value = serde_json::from_str(&text)?;
            if reply["transaction"].as_str() != Some(&transaction) {
                continue;
            }
            match reply["janus"].as_str() {
                Some("ack") => {}
                Some(is) if is == kind => return Ok(reply),
                _ => bail!("Janus answered {text}"),
            }
        }
    }
}

/// The end of a description: the one address of the client.
fn candidate(local: SocketAddr) -> String {
    let (address, port) = (local.ip(), local.port());
    format!("a=candidate:1 1 udp 2130706431 {address} {port} typ host\r\na=end-of-candidates\r\n")
}

/// The answer to an offer, line by line: what is offered is received, on a transport of ours.
fn answer(offer: &str, peer: &Peer) -> String {
    let (ours, fingerprint) = peer.identity();
    let digest = fingerprint.map(|byte| format!("{byte:02X}")).join(":");
    let line = |line: &str| match line.split_once(':').map_or(line, |(key, _)| key) {
        "a=ice-ufrag" => Some(format!("a=ice-ufrag:{}", ours.ufrag)),
        "a=ice-pwd" => Some(format!("a=ice-pwd:{}", ours.pwd)),
        "a=fingerprint" => Some(format!("a=fingerprint:sha-256 {digest}")),
        "a=setup" => Some("a=setup:active".to_owned()),
        "a=sendonly" | "a=sendrecv" => Some("a=recvonly".to_owned()),
        "a=candidate" | "a=end-of-candidates" | "a=ssrc" | "a=ssrc-group" | "a=msid" | "a=ice-lite" => None,
        _ => Some(line.to_owned()),
    };
    offer.lines().filter_map(line).map(|line| line + "\r\n").collect()
}
