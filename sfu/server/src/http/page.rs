//! The page and the SDK, embedded in the binary.
//!
//! In: a path. Out: the file with its type and an `ETag`, or 304. A build for development reads the files anew at each
//! request, so a change shows at the next reload.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::failure;

#[derive(RustEmbed)]
#[folder = "../web"]
#[allow_missing = true]
struct Files;

/// Serves a file of `sfu/web`; `/` is `index.html`.
pub(super) async fn show(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return failure(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET is served here");
    }
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    match Files::get(path) {
        Some(file) => respond(file, headers.get(header::IF_NONE_MATCH)),
        None => failure(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at /{path}")),
    }
}

/// `no-cache` and the `ETag` together: a browser asks each time, and is told in one round trip that nothing changed.
fn respond(file: EmbeddedFile, known: Option<&HeaderValue>) -> Response {
    let tag = entity_tag(&file.metadata.sha256_hash());
    let fresh = known.and_then(|known| known.to_str().ok()).is_some_and(|known| known.contains(&tag));
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits are a header value"));
    if fresh {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = content_type(file.metadata.mimetype());
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_str(&kind).expect("a media type is a header value"));
    (headers, file.data).into_response()
}

fn content_type(kind: &str) -> String {
    if kind.starts_with("text/") { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}

fn entity_tag(hash: &[u8; 32]) -> String {
    let head = hash.first_chunk().expect("a hash has 32 bytes");
    format!("\"{:032x}\"", u128::from_be_bytes(*head))
}
