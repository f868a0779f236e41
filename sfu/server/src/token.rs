//! Tokens: JWT (RFC 7519) signed with HS256, with the claims that LiveKit's token servers mint.
//!
//! In: a token, the keys, the wall clock. Out: a [`Grant`], or a [`Refusal`] that says exactly what was wrong.
//! Time: [`UnixSeconds`], with [`LEEWAY`]. Limit: [`TOKEN_MAX`].

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use proto::ids::RoomName;
use proto::signal::Source;
use serde::{Deserialize, Serialize, Serializer};
use sfu::worker::Grant;

use crate::clock::UnixSeconds;
use crate::config::Secret;

/// How far the clocks of a token server and ours may differ, in seconds.
const LEEWAY: f64 = 10.0;
/// The longest token, in bytes; `LiveKit`'s with a room configuration take about 2 kB.
const TOKEN_MAX: usize = 16 * 1024;
/// The longest room name, identity and display name, in bytes: everyone in a room is sent them.
const NAME_MAX: usize = 256;

/// The keys that may sign, by name.
pub(crate) type Keys = BTreeMap<String, Secret>;

/// What a token says; claims that are not listed are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The name of the key that signs.
    #[serde(default)]
    pub(crate) iss: String,
    /// The identity.
    #[serde(default)]
    pub(crate) sub: String,
    /// Valid from, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    pub(crate) nbf: Option<f64>,
    /// Valid until, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    pub(crate) exp: Option<f64>,
    /// The name to show; the identity if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// What it allows.
    #[serde(default)]
    pub(crate) video: VideoGrant,
}

/// The `video` claim. What is absent is allowed, but for `room_join`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VideoGrant {
    /// The room.
    #[serde(default)]
    pub(crate) room: String,
    /// Whether it may be joined.
    #[serde(default)]
    pub(crate) room_join: bool,
    /// Whether tracks may be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) can_publish: Option<bool>,
    /// Whether others' tracks may be received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) can_subscribe: Option<bool>,
    /// Which sources may be published; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) can_publish_sources: Vec<String>,
}

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// None was given.
    #[error("no token: give one as ?access_token=… or as `Authorization: Bearer …`")]
    Missing,
    /// It cannot be read.
    #[error("the token is malformed: {0}")]
    Malformed(String),
    /// It is signed by another algorithm.
    #[error("the token is signed with {0:?}; only HS256 is accepted")]
    Algorithm(Algorithm),
    /// Its issuer is not one of our keys.
    #[error("the token's issuer (iss) {0:?} is none of this server's keys")]
    UnknownKey(String),
    /// Its signature is not that key's.
    #[error("the token's signature does not match the secret of key {0:?}")]
    BadSignature(String),
    /// It never expires.
    #[error("the token has no expiry (exp)")]
    NoExpiry,
    /// It is over.
    #[error("the token expired at {exp} (Unix time), {ago} s ago")]
    Expired {
        /// When.
        exp: f64,
        /// How long ago.
        ago: f64,
    },
    /// It is not valid yet.
    #[error("the token is not valid before {nbf} (Unix time), in {ahead} s; are the clocks right?")]
    NotYetValid {
        /// From when on it is.
        nbf: f64,
        /// How far that is.
        ahead: f64,
    },
    /// It does not allow joining.
    #[error("the token does not grant video.roomJoin")]
    NoRoomJoin,
    /// It names no room.
    #[error("the token names no room (video.room)")]
    NoRoom,
    /// It does not say who this is.
    #[error("the token names no identity (sub)")]
    NoIdentity,
    /// A name in it is too long.
    #[error("the token's {0} is longer than 256 bytes")]
    TooLong(&'static str),
}

impl Refusal {
    /// For programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Malformed(_) => "token_malformed",
            Self::Algorithm(_) => "token_algorithm",
            Self::UnknownKey(_) => "token_unknown_key",
            Self::BadSignature(_) => "token_bad_signature",
            Self::NoExpiry => "token_no_expiry",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::NoRoomJoin => "token_no_room_join",
            Self::NoRoom => "token_no_room",
            Self::NoIdentity => "token_no_identity",
            Self::TooLong(_) => "token_too_long",
        }
    }
}

/// What `token` allows, if it is genuine and valid at `now`.
pub(crate) fn verify(token: Option<&str>, keys: &Keys, now: UnixSeconds) -> Result<Grant, Refusal> {
    let token = token.filter(|token| !token.is_empty()).ok_or(Refusal::Missing)?;
    let claims = authenticated(token, keys)?;
    check_time(&claims, now)?;
    grant(claims)
}

/// Signs `claims` with `secret`.
pub(crate) fn mint(claims: &Claims, secret: &Secret) -> String {
    let key = EncodingKey::from_secret(secret.reveal().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
        .expect("claims are JSON, HS256 takes any key")
}

/// The claims of a token whose signature is right. Who signed is read first, unverified, to find the key.
fn authenticated(token: &str, keys: &Keys) -> Result<Claims, Refusal> {
    let malformed = |error: jsonwebtoken::errors::Error| Refusal::Malformed(error.to_string());
    if token.len() > TOKEN_MAX {
        return Err(Refusal::Malformed(format!("{} bytes long, at most {TOKEN_MAX} are read", token.len())));
    }
    let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
    if header.alg != Algorithm::HS256 {
        return Err(Refusal::Algorithm(header.alg));
    }
    let unverified: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(malformed)?;
    let Some(secret) = keys.get(&unverified.iss) else { return Err(Refusal::UnknownKey(unverified.iss)) };
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear(); // times are checked below, by our own clock
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(secret.reveal().as_bytes());
    jsonwebtoken::decode(token, &key, &validation)
        .map(|data| data.claims)
        .map_err(|_| Refusal::BadSignature(unverified.iss))
}

fn check_time(claims: &Claims, UnixSeconds(now): UnixSeconds) -> Result<(), Refusal> {
    let now = now as f64;
    let exp = claims.exp.ok_or(Refusal::NoExpiry)?;
    if exp + LEEWAY <= now {
        return Err(Refusal::Expired { exp, ago: now - exp });
    }
    match claims.nbf {
        Some(nbf) if nbf - LEEWAY > now => Err(Refusal::NotYetValid { nbf, ahead: nbf - now }),
        Some(_) | None => Ok(()),
    }
}

fn grant(claims: Claims) -> Result<Grant, Refusal> {
    let Claims { sub, name, video, .. } = claims;
    if !video.room_join {
        return Err(Refusal::NoRoomJoin);
    }
    if video.room.is_empty() {
        return Err(Refusal::NoRoom);
    }
    if sub.is_empty() {
        return Err(Refusal::NoIdentity);
    }
    for (what, text) in [("room (video.room)", &video.room), ("identity (sub)", &sub), ("name", &name)] {
        if text.len() > NAME_MAX {
            return Err(Refusal::TooLong(what));
        }
    }
    let name = if name.is_empty() { sub.clone() } else { name };
    Ok(Grant {
        publish: sources(&video),
        subscribe: video.can_subscribe.unwrap_or(true),
        room: RoomName(video.room),
        identity: sub,
        name,
    })
}

/// Seconds as every library reads them; RFC 7519 §2 allows fractions, some do not.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn whole<S: Serializer>(seconds: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    seconds.map(|seconds| seconds as u64).serialize(serializer)
}

/// The sources that may be published; a name that is not known allows nothing.
fn sources(video: &VideoGrant) -> Vec<Source> {
    const ALL: [(&str, Source); 4] = [
        ("camera", Source::Camera),
        ("microphone", Source::Microphone),
        ("screen_share", Source::Screen),
        ("screen_share_audio", Source::ScreenAudio),
    ];
    let listed = |name: &str| {
        let list = &video.can_publish_sources;
        list.is_empty() || list.iter().any(|listed| listed.eq_ignore_ascii_case(name))
    };
    let allowed = video.can_publish.unwrap_or(true);
    ALL.into_iter().filter(|(name, _)| allowed && listed(name)).map(|(_, source)| source).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn keys() -> Keys {
        Keys::from([("app".to_owned(), Secret::new(SECRET.to_owned()))])
    }

    /// A good token's claims with `changes` made; `null` removes one.
    fn claims(changes: &Value) -> Value {
        let mut claims = json!({"iss": "app", "sub": "ann", "exp": NOW.0 + 60, "jti": "x",
            "video": {"room": "r", "roomJoin": true, "hidden": true}});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn code(token: Option<&str>) -> &'static str {
        match verify(token, &keys(), NOW) {
            Ok(_) => "ok",
            Err(refusal) => refusal.code(),
        }
    }

    #[test]
    fn each_fault_of_the_claims_has_its_code() {
        let now = NOW.0;
        let long = "x".repeat(257);
        for (name, changes, expected) in [
            ("as minted by a token server", json!({}), "ok"),
            ("a fractional expiry", json!({"exp": now as f64 + 0.5}), "ok"),
            ("expired within the leeway", json!({"exp": now - 9}), "ok"),
            ("expired", json!({"exp": now - 10}), "token_expired"),
            ("without expiry", json!({"exp": null}), "token_no_expiry"),
            ("valid soon, within the leeway", json!({"nbf": now + 10}), "ok"),
            ("not yet valid", json!({"nbf": now + 11}), "token_not_yet_valid"),
            ("foreign", json!({"iss": "other"}), "token_unknown_key"),
            ("without issuer", json!({"iss": null}), "token_unknown_key"),
            ("without identity", json!({"sub": null}), "token_no_identity"),
            ("without grant", json!({"video": null}), "token_no_room_join"),
            ("may not join", json!({"video": {"room": "r", "roomJoin": false}}), "token_no_room_join"),
            ("without room", json!({"video": {"roomJoin": true}}), "token_no_room"),
            ("long identity", json!({"sub": long}), "token_too_long"),
            ("exp is a text", json!({"exp": "soon"}), "token_malformed"),
            ("for another audience", json!({"aud": "elsewhere"}), "ok"),
        ] {
            assert_eq!(code(Some(&sign(Algorithm::HS256, SECRET, &claims(&changes)))), expected, "{name}");
        }
    }

    #[test]
    fn each_fault_of_the_envelope_has_its_code() {
        let good = sign(Algorithm::HS256, SECRET, &claims(&json!({})));
        let (body, _) = good.rsplit_once('.').unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
        for (name, token, expected) in [
            ("absent", None, "token_missing"),
            ("empty", Some(String::new()), "token_missing"),
            ("no JWT", Some("abc".to_owned()), "token_malformed"),
            ("three parts of nothing", Some("..".to_owned()), "token_malformed"),
            ("too long", Some("a".repeat(TOKEN_MAX + 1)), "token_malformed"),
            ("alg none", Some(unsigned), "token_malformed"),
            ("HS512", Some(sign(Algorithm::HS512, SECRET, &claims(&json!({})))), "token_algorithm"),
            (
                "wrong secret",
                Some(sign(Algorithm::HS256, &SECRET.to_uppercase(), &claims(&json!({})))),
                "token_bad_signature",
            ),
            ("signature cut off", Some(format!("{body}.")), "token_bad_signature"),
            ("good", Some(good.clone()), "ok"),
        ] {
            assert_eq!(code(token.as_deref()), expected, "{name}");
        }
    }

    #[test]
    fn the_reason_says_when_a_token_expired() {
        let token = sign(Algorithm::HS256, SECRET, &claims(&json!({"exp": NOW.0 - 35})));
        let reason = verify(Some(&token), &keys(), NOW).unwrap_err().to_string();
        assert_eq!(reason, "the token expired at 1799999965 (Unix time), 35 s ago");
    }

    #[test]
    fn what_is_absent_is_allowed() {
        use Source::{Camera, Microphone, Screen, ScreenAudio};
        let all = vec![Camera, Microphone, Screen, ScreenAudio];
        for (name, video, publish, subscribe) in [
            ("nothing said", json!({}), all.clone(), true),
            ("viewer", json!({"canPublish": false, "canPublishSources": ["camera"]}), vec![], true),
            ("speaker", json!({"canPublishSources": ["MICROPHONE", "telepathy"]}), vec![Microphone], true),
            ("empty list", json!({"canPublishSources": []}), all.clone(), true),
            (
                "screen",
                json!({"canPublishSources": ["screen_share", "screen_share_audio"]}),
                vec![Screen, ScreenAudio],
                true,
            ),
            ("deaf", json!({"canSubscribe": false}), all, false),
        ] {
            let mut video = video;
            video["room"] = json!("r");
            video["roomJoin"] = json!(true);
            let token = sign(Algorithm::HS256, SECRET, &claims(&json!({"video": video})));
            let grant = verify(Some(&token), &keys(), NOW).unwrap();
            assert_eq!((grant.publish, grant.subscribe), (publish, subscribe), "{name}");
            assert_eq!((grant.name.as_str(), grant.room.as_str()), ("ann", "r"));
        }
    }

    #[test]
    fn a_minted_token_is_accepted_and_reads_like_any_other() {
        let video = VideoGrant {
            room: "r".into(),
            room_join: true,
            can_publish: Some(false),
            ..VideoGrant::default()
        };
        let claims = Claims {
            iss: "app".into(),
            sub: "ann".into(),
            exp: Some(NOW.0 as f64 + 1.0),
            name: "Ann".into(),
            video,
            nbf: None,
        };
        let token = mint(&claims, &Secret::new(SECRET.into()));
        let grant = verify(Some(&token), &keys(), NOW).unwrap();
        assert_eq!((grant.name.as_str(), grant.publish.len()), ("Ann", 0));
        let read: Value = jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
        assert_eq!(read["exp"], json!(NOW.0 + 1));
        assert_eq!(read["video"], json!({"room": "r", "roomJoin": true, "canPublish": false}));
    }
}
