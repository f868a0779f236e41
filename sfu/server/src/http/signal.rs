//! `/v1/signal`: who may open a signaling WebSocket.
//!
//! In: a request with a token. Out: 101 and a running [`socket`](super::socket), or a refusal as JSON with code and
//! reason. The token is checked before the upgrade; browsers hide a refused WebSocket's body from scripts, so
//! `/v1/signal/validate` tells the same over plain HTTP.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::counter;
use proto::ids::SessionId;
use proto::signal::MESSAGE_MAX;
use serde::Deserialize;
use sfu::worker::{Grant, SocketId};

use super::socket::{self, Opening};
use super::{App, failure};
use crate::clock::UnixSeconds;
use crate::token::{self, Refusal};

/// What a WebSocket reads at a time, in bytes. It is kept for as long as the WebSocket is open and written to its end by each
/// read, so it is as large as most messages and not as large as an offer, for which it grows.
const READ_BUFFER: usize = 2 * 1024;

/// What the address may carry.
#[derive(Deserialize)]
pub(super) struct Parameters {
    access_token: Option<String>,
    session: Option<String>,
}

/// Opens a WebSocket.
pub(super) async fn open(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let grant = match verify(&app, &parameters, &headers) {
        Ok(grant) => grant,
        Err(refusal) => return refuse(&refusal),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return failure(rejection.status(), "not_a_websocket", rejection.body_text()),
    };
    if *app.closing.borrow() {
        return unavailable("closing", "the server is shutting down");
    }
    let Ok(permit) = Arc::clone(&app.sockets).try_acquire_owned() else {
        return unavailable("full", "the server has as many WebSockets as limit.sockets allows");
    };
    let opening = Opening {
        socket: SocketId(app.next_socket.fetch_add(1, Relaxed)),
        grant,
        session: parameters.session.filter(|text| !text.is_empty()).map(SessionId),
        permit,
    };
    upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(move |websocket| socket::run(app, websocket, opening))
}

/// Says whether a WebSocket with this token would be opened.
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    match verify(&app, &parameters, &headers) {
        Ok(_) => failure(StatusCode::OK, "ok", "the token is valid"),
        Err(refusal) => failure(StatusCode::UNAUTHORIZED, refusal.code(), refusal.to_string()),
    }
}

fn verify(app: &App, parameters: &Parameters, headers: &HeaderMap) -> Result<Grant, Refusal> {
    let token = parameters.access_token.as_deref().or(bearer_of(headers));
    token::verify(token, &app.keys, UnixSeconds::now())
}

/// The token in a request's header, if there is one.
pub(super) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().and_then(bearer)
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1); the scheme's case does not matter.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(refusal: &Refusal) -> Response {
    counter!("lianmai_signal_refused_total", "code" => refusal.code()).increment(1);
    tracing::debug!("a WebSocket was refused: {refusal}");
    let mut response = failure(StatusCode::UNAUTHORIZED, refusal.code(), refusal.to_string());
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn unavailable(code: &'static str, reason: &str) -> Response {
    counter!("lianmai_signal_refused_total", "code" => code).increment(1);
    ([(header::RETRY_AFTER, "2")], failure(StatusCode::SERVICE_UNAVAILABLE, code, reason)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_authorization_is_a_token() {
        for (header, token) in
            [("Bearer a.b.c", Some("a.b.c")), ("bearer  a", Some("a")), ("Basic abc", None), ("a.b.c", None)]
        {
            assert_eq!(bearer(header), token, "{header}");
        }
    }
}
