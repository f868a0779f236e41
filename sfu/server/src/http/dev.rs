//! Tokens for trying things out, minted for whoever asks. Only with the development key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{App, failure};
use crate::clock::UnixSeconds;
use crate::token::{Claims, VideoGrant, mint};

/// How long a development token is valid, in seconds: a working day.
const VALID: u64 = 8 * 3600;

/// Who wants a token for what.
#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    room: String,
    #[serde(default)]
    identity: String,
    #[serde(default)]
    name: String,
}

/// Mints a token: `{"token":"…"}`; 404 where keys are configured.
pub(super) async fn token(State(app): State<Arc<App>>, Query(wish): Query<Wish>) -> Response {
    let Some((key, secret)) = app.dev_key.as_ref().and_then(|key| app.keys.get_key_value(key)) else {
        let reason = "this server has keys of its own; ask the application that holds them for a token";
        return failure(StatusCode::NOT_FOUND, "not_found", reason);
    };
    for (what, text) in [("room", &wish.room), ("identity", &wish.identity)] {
        if text.is_empty() {
            return failure(StatusCode::BAD_REQUEST, "bad_request", format!("say which {what}: ?{what}=…"));
        }
    }
    let claims = Claims {
        iss: key.clone(),
        sub: wish.identity,
        exp: Some((UnixSeconds::now().0 + VALID) as f64),
        nbf: None,
        name: wish.name,
        video: VideoGrant { room: wish.room, room_join: true, ..VideoGrant::default() },
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "token": mint(&claims, secret) }))).into_response()
}
