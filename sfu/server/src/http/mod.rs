//! Everything on TCP: the page, signaling, rooms' statistics, health and development tokens on one port, metrics on another.
//!
//! In: HTTP/1.1 requests. Out: responses; `WebSocket`s joined to media workers. Limit: `limit.sockets` `WebSocket`s, and
//! that many connections and [`accept::SPARE`] more in all.

pub(crate) mod accept;
mod dev;
mod metrics;
mod page;
mod problem;
mod rate;
pub(crate) mod room_stats;
mod signal;
mod socket;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::media::{Command, Published};
use crate::rooms::Rooms;
use crate::token::Keys;
use room_stats::Asking;

/// What the handlers share.
pub(crate) struct App {
    /// Who may sign tokens.
    pub(crate) keys: Keys,
    /// The name of the key that signs development tokens, if there is one.
    pub(crate) dev_key: Option<String>,
    /// Where rooms live.
    pub(crate) rooms: Arc<Rooms>,
    /// The workers' inboxes.
    pub(crate) workers: Vec<mpsc::Sender<Command>>,
    /// One permit a WebSocket.
    pub(crate) sockets: Arc<Semaphore>,
    /// How many permits there are.
    pub(crate) sockets_max: usize,
    /// The next WebSocket's number.
    pub(crate) next_socket: AtomicU64,
    /// True when the server is shutting down.
    pub(crate) closing: watch::Receiver<bool>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// Questions to the workers.
    pub(crate) asking: Vec<Asking>,
    /// What `/metrics` shows.
    pub(crate) metrics: PrometheusHandle,
    /// The workers' residence times, which it shows too.
    pub(crate) residence: Vec<Arc<Published>>,
}

/// The metrics' routes: apart from all others, for who scrapes is not who calls.
pub(crate) fn metrics_router(app: Arc<App>) -> Router {
    metrics::describe();
    Router::new().route("/metrics", get(metrics::show)).with_state(app)
}

/// All other routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/signal", get(signal::open))
        .route("/v1/signal/validate", get(signal::validate))
        .route("/healthz", get(health))
        .route("/v1/rooms/{room}/stats", get(room_stats::show))
        .route("/dev/token", get(dev::token))
        .fallback(page::show)
        .layer(middleware::from_fn(any_origin))
        .with_state(app)
}

/// A failure, as programs and people read it.
#[derive(Debug, Serialize)]
struct Failure {
    code: &'static str,
    reason: String,
}

fn failure(status: StatusCode, code: &'static str, reason: impl Into<String>) -> Response {
    (status, Json(Failure { code, reason: reason.into() })).into_response()
}

/// Whether a load balancer may send new clients here.
async fn health(app: axum::extract::State<Arc<App>>) -> Response {
    if *app.closing.borrow() {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "closing", "the server is shutting down");
    }
    "ok\n".into_response()
}

/// Lets pages of any origin read what is here (the Fetch standard's CORS protocol): access is by token, not by cookie.
async fn any_origin(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}
