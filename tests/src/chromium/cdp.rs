//! The Chrome `DevTools` Protocol over its WebSocket: commands with replies, and events.
//!
//! Messages are plain JSON values rather than generated types: the tests use a dozen commands out of a thousand, and
//! a Chromium that is newer than any generated crate cannot break the decoding.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const REPLY_WITHIN: Duration = Duration::from_secs(60); // a page under load on two cores may take its time

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection to a browser.
#[derive(Clone)]
pub(super) struct Cdp {
    shared: Arc<Shared>,
    out: mpsc::UnboundedSender<String>,
}

#[derive(Default)]
struct Shared {
    next_id: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Result<Value, String>>>>,
    sessions: Mutex<BTreeMap<String, mpsc::UnboundedSender<Event>>>,
}

/// Something that a target reported of itself.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// Such as `Runtime.consoleAPICalled`.
    pub(super) method: String,
    /// Its parameters.
    pub(super) params: Value,
}

impl Cdp {
    /// Connects to the address that Chromium prints as "`DevTools` listening on".
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None); // screenshots are large
        let (socket, _) = connect_async_with_config(address, Some(config), true).await?;
        let (sink, stream) = socket.split();
        let shared = Arc::<Shared>::default();
        let (out, messages) = mpsc::unbounded_channel();
        tokio::spawn(write(sink, messages));
        tokio::spawn(read(stream, Arc::clone(&shared)));
        Ok(Self { shared, out })
    }

    /// Sends a command to the browser (`session` absent) or to one of its targets, and waits for the reply.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (reply, replied) = oneshot::channel();
        lock(&self.shared.waiting).insert(id, reply);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        self.out.send(command.to_string()).ok().context("the browser is gone")?;
        let reply = tokio::time::timeout(REPLY_WITHIN, replied).await;
        lock(&self.shared.waiting).remove(&id);
        let reply = reply.with_context(|| format!("{method}: no reply within {REPLY_WITHIN:?}"))?;
        let reply = reply.ok().with_context(|| format!("{method}: the browser is gone"))?;
        reply.map_err(|message| anyhow!("{method}: {message}"))
    }

    /// Sends a command whose reply does not matter, such as one that crashes the target.
    pub(super) fn post(&self, session: &str, method: &str) {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let command = json!({ "id": id, "method": method, "params": {}, "sessionId": session });
        self.out.send(command.to_string()).ok();
    }

    /// The events of one session from now on.
    pub(super) fn events(&self, session: &str) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.shared.sessions).insert(session.to_owned(), sender);
        receiver
    }
}

async fn write(mut sink: SplitSink<Socket, Message>, mut messages: mpsc::UnboundedReceiver<String>) {
    while let Some(message) = messages.recv().await {
        if sink.send(Message::text(message)).await.is_err() {
            return;
        }
    }
    sink.close().await.ok();
}

async fn read(mut stream: SplitStream<Socket>, shared: Arc<Shared>) {
    while let Some(Ok(message)) = stream.next().await {
        let bytes: Bytes = message.into_data();
        if let Ok(message) = serde_json::from_slice::<Value>(&bytes) {
            dispatch(&shared, message);
        }
    }
    lock(&shared.waiting).clear(); // everyone who waits learns that the browser is gone
    lock(&shared.sessions).clear();
}

fn dispatch(shared: &Shared, mut message: Value) {
    if let Some(id) = message["id"].as_u64() {
        let Some(reply) = lock(&shared.waiting).remove(&id) else { return };
        let result = match message.get("error") {
            Some(error) => Err(error["message"].as_str().unwrap_or("unknown error").to_owned()),
            None => Ok(message["result"].take()),
        };
        reply.send(result).ok();
    } else if let (Some(method), Some(session)) = (message["method"].as_str(), message["sessionId"].as_str())
    {
        let event = Event { method: method.to_owned(), params: message["params"].clone() };
        if let Some(sender) = lock(&shared.sessions).get(session) {
            sender.send(event).ok();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
