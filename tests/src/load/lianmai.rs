//! Our signaling, from a client's side: a WebSocket around the simulator's [`RoomState`].
//!
//! In: what the WebSocket brings. Out: the answer. Time: pings. Limit: none; the server limits.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use proto::signal::{Applied, Offer};
use proto::time::Instant;
use simulator::node::client::room::{News, RoomState};
use tungstenite::{Error, Message, WebSocket};

/// How often a client lets the server hear of it.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long the server may take to open a WebSocket, or to answer a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module's description.
pub(super) struct Lianmai {
    socket: WebSocket<TcpStream>,
    room: RoomState,
}

impl Lianmai {
    /// Opens a WebSocket and says that it wants to join.
    pub(super) fn join(
        now: Instant,
        http: &str,
        (room, identity): (&str, &str),
        offer: Offer,
    ) -> Result<Self> {
        let token = fetch(http, &format!("/dev/token?room={room}&identity={identity}"))?;
        let token: serde_json::Value = serde_json::from_str(&token).context("the server's token")?;
        let token = token["token"].as_str().context("the server gives no token")?;
        let stream = connect(http)?;
        let address = format!("ws://{http}/v1/signal?access_token={token}");
        let (socket, _) = tungstenite::client(address, stream).context("opening a WebSocket")?;
        socket.get_ref().set_nonblocking(true)?;
        let mut room = RoomState::new(PING_INTERVAL);
        room.join(now, offer);
        let mut lianmai = Self { socket, room };
        lianmai.flush()?;
        Ok(lianmai)
    }

    pub(super) fn handle_readable(&mut self, now: Instant) -> Result<Option<String>> {
        let mut answer = None;
        loop {
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(frame)) => bail!("the server closed the WebSocket: {frame:?}"),
                Ok(_) => continue,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading a WebSocket"),
            };
            match self.room.handle_message(&text) {
                Some(News::Joined(sdp) | News::Answered(sdp)) => answer = Some(sdp),
                Some(News::Demanded(demand)) => {
                    let (track, epoch, layers) = (demand.track, demand.epoch, Vec::new());
                    self.room.applied(Applied { track, epoch, layers });
                }
                Some(News::Closed(reason) | News::Refused(reason)) => bail!("the server: {reason}"),
                Some(News::PathLost | News::Changed | News::Nothing) => {}
                None => bail!("the server said {text}"),
            }
        }
        self.handle_timeout(now)?;
        Ok(answer)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        self.room.handle_timeout(now);
        self.flush()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.room.poll_timeout()
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    fn flush(&mut self) -> Result<()> {
        while let Some(text) = self.room.poll_message() {
            match self.socket.send(Message::text(text)) {
                Ok(()) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {} // it goes with the next one
                Err(error) => return Err(error).context("writing to a WebSocket"),
            }
        }
        Ok(())
    }
}

/// Opens a connection to `address`.
pub(super) fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The body of `GET path`.
pub(super) fn fetch(http: &str, path: &str) -> Result<String> {
    let mut stream = connect(http)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {http}\r\nConnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").context("a reply without a body")?;
    ensure!(head.split_whitespace().nth(1) == Some("200"), "GET {path}: {head}");
    Ok(body.to_owned())
}

/// The sum of a metric over all workers, as it was last published at `address`; 0 if there is none.
pub(super) fn metric(address: &str, name: &str) -> Result<f64> {
    let text = fetch(address, "/metrics")?;
    let of_ours = text.lines().filter_map(|line| line.strip_prefix(name));
    let values = of_ours.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit_once(' '));
    Ok(values.filter_map(|(_, value)| value.parse::<f64>().ok()).sum())
}
