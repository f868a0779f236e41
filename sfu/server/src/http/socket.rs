//! One signaling WebSocket, from the upgrade to its end: moves messages between a client and its room's worker.
//!
//! In: text messages, at most [`MESSAGE_MAX`](proto::signal::MESSAGE_MAX) bytes each and as many as [`Bucket`] allows. Out: the worker's messages
//! in order. Time: [`PING_INTERVAL`], [`SILENCE_MAX`], [`SEND_MAX`]. Limit: one message in each direction here, and
//! [`MESSAGES_MAX`](media::MESSAGES_MAX) that wait to be sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use metrics::counter;
use proto::ids::SessionId;
use proto::signal::{ErrorCode, Notice, ServerMessage};
use sfu::worker::{Grant, SocketId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::App;
use super::rate::Bucket;
use crate::media::{self, Command, Cut, Line, Opened};

/// How often the server pings (RFC 6455 §5.5.2); every client answers by itself.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a client may be silent: three pings. TCP alone would notice a vanished one after a quarter of an hour.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long a client may take to let one message into its window.
const SEND_MAX: Duration = Duration::from_secs(10);
/// How long a close frame may take to be answered, and how long it is left to arrive.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A WebSocket that was just accepted.
pub(super) struct Opening {
    /// Its number.
    pub(super) socket: SocketId,
    /// What its token allows.
    pub(super) grant: Grant,
    /// The session it wants to take up again.
    pub(super) session: Option<SessionId>,
    /// One of `limit.sockets`.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Why a WebSocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client closed it, or its connection broke.
    ByClient,
    /// The worker closed it.
    ByServer,
    /// The client does not read.
    Overflow,
    /// Nothing came for [`SILENCE_MAX`].
    Silent,
    /// A message was longer than [`MESSAGE_MAX`](proto::signal::MESSAGE_MAX).
    TooLarge,
    /// A message was not text.
    NotText,
    /// More messages than the bucket holds.
    TooMany,
    /// It broke RFC 6455.
    Malformed,
    /// The worker is gone.
    WorkerGone,
}

impl End {
    /// The close frame's code (RFC 6455 §7.4.1) and reason, and the metric's label.
    fn close(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::ByClient => (close_code::NORMAL, "", "client"),
            Self::ByServer => (close_code::NORMAL, "", "server"),
            Self::Overflow => (close_code::AGAIN, "too many messages wait to be read", "overflow"),
            Self::Silent => (close_code::AWAY, "nothing was heard for 45 s", "silent"),
            Self::TooLarge => (close_code::SIZE, "a message is longer than 262144 bytes", "too_large"),
            Self::NotText => (close_code::UNSUPPORTED, "messages are JSON text", "not_text"),
            Self::TooMany => (close_code::POLICY, "more than 50 messages a second", "too_many"),
            Self::Malformed => (close_code::PROTOCOL, "not a WebSocket frame", "malformed"),
            Self::WorkerGone => (close_code::ERROR, "the server is ending", "worker_gone"),
        }
    }
}

/// Serves the WebSocket to its end.
pub(super) async fn run(app: Arc<App>, mut websocket: WebSocket, opening: Opening) {
    let Opening { socket, grant, session, permit } = opening;
    let seat = app.rooms.seat(&grant.room, session.as_ref());
    let worker = app.workers[seat.worker()].clone();
    let (messages, outbox) = mpsc::channel(media::MESSAGES_MAX);
    let (cut, was_cut) = oneshot::channel();
    counter!("lianmai_signal_opened_total").increment(1);
    tracing::debug!("WebSocket {} of {:?} opened", socket.0, grant.identity);

    let line = Line { seat, messages, cut };
    let opened = Command::Opened(Opened { socket, grant, session, line });
    let end = if worker.send(opened).await.is_ok() {
        let mut pump =
            Pump { app: &app, websocket: &mut websocket, socket, worker: &worker, outbox, was_cut };
        let end = pump.run().await;
        let _ = worker.send(Command::Closed(socket)).await; // fails if the worker is gone: then it knows no sockets
        end
    } else {
        End::WorkerGone
    };
    let (_, _, label) = end.close();
    counter!("lianmai_signal_closed_total", "reason" => label).increment(1);
    tracing::debug!("WebSocket {} closed: {end:?}", socket.0);
    close(&mut websocket, end).await;
    drop(permit);
}

/// What moves messages while the WebSocket is open.
struct Pump<'a> {
    app: &'a App,
    websocket: &'a mut WebSocket,
    socket: SocketId,
    worker: &'a mpsc::Sender<Command>,
    outbox: mpsc::Receiver<String>,
    was_cut: oneshot::Receiver<Cut>,
}

impl Pump<'_> {
    async fn run(&mut self) -> End {
        let clock = self.app.clock;
        let mut bucket = Bucket::new(clock.now());
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset(); // the first one not at once
        let mut silent_at = clock.now() + SILENCE_MAX;
        loop {
            let step = tokio::select! {
                biased;
                Ok(Cut) = &mut self.was_cut, if !self.was_cut.is_terminated() => Err(End::Overflow),
                message = self.outbox.recv() => match message {
                    Some(text) => self.send_text(text).await,
                    None => Err(End::ByServer),
                },
                message = self.websocket.recv() => {
                    silent_at = clock.now() + SILENCE_MAX;
                    self.handle(message, &mut bucket).await
                }
                _ = ping.tick() => self.send(Message::Ping(Bytes::new())).await,
                () = sleep_until(clock.deadline(silent_at)) => Err(End::Silent),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn handle(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
        bucket: &mut Bucket,
    ) -> Result<(), End> {
        let message = match message {
            None => return Err(End::ByClient),
            Some(Err(error)) => return Err(end_of(&error)),
            Some(Ok(message)) => message,
        };
        if !bucket.take(self.app.clock.now()) {
            let reason = "more than 50 messages a second, and 100 at once, are not accepted".to_owned();
            let message = ServerMessage::Error { code: ErrorCode::LimitReached, reason };
            let notice = serde_json::to_string(&Notice { re: None, message }).expect("a notice is JSON");
            self.send_text(notice).await?;
            return Err(End::TooMany);
        }
        match message {
            Message::Text(text) => {
                counter!("lianmai_signal_messages_total", "direction" => "in").increment(1);
                let command = Command::Message(self.socket, text);
                self.worker.send(command).await.map_err(|_| End::WorkerGone)
            }
            Message::Binary(_) => Err(End::NotText),
            Message::Close(_) => Err(End::ByClient),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn send_text(&mut self, text: String) -> Result<(), End> {
        counter!("lianmai_signal_messages_total", "direction" => "out").increment(1);
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_MAX, self.websocket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::ByClient),
            Err(_) => Err(End::Overflow),
        }
    }
}

/// What a failed read means.
fn end_of(error: &axum::Error) -> End {
    use tungstenite::Error;
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    match cause {
        Some(Error::Capacity(_)) => End::TooLarge,
        Some(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
            End::ByClient
        }
        Some(Error::Protocol(_) | Error::Utf8(_)) => End::Malformed,
        Some(_) | None => End::ByClient,
    }
}

/// Says goodbye and waits for the answer (RFC 6455 §7.1.2).
async fn close(websocket: &mut WebSocket, end: End) {
    let (code, reason, _) = end.close();
    let goodbye = async {
        if end != End::ByClient {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            if websocket.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = websocket.recv().await {} // the answer to a close frame of the client is sent here
        if matches!(end, End::TooLarge | End::Malformed) {
            // Reading has ended for good, and dropping a connection with unread bytes resets it: the close frame
            // would be lost.
            sleep(CLOSE_MAX).await;
        }
    };
    let _ = timeout(CLOSE_MAX, goodbye).await;
}
