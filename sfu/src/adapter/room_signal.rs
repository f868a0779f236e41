//! Room signaling's text form: one JSON object a message (see `proto::signal`).

use proto::signal::{ErrorCode, MESSAGE_MAX, Notice, Request, ServerMessage};

/// Reads a client's message; what is wrong with it becomes the notice to send back.
pub fn decode(text: &str) -> Result<Request, Notice> {
    if text.len() > MESSAGE_MAX {
        let reason = format!("a message may have {MESSAGE_MAX} bytes, this one has {}", text.len());
        return Err(error(None, ErrorCode::BadMessage, reason));
    }
    serde_json::from_str(text).map_err(|fault| {
        let id =
            serde_json::from_str::<serde_json::Value>(text).ok().and_then(|value| value.get("id")?.as_u64());
        error(id, ErrorCode::BadMessage, format!("not a message of this protocol: {fault}"))
    })
}

/// Writes a message to a client.
pub fn encode(notice: &Notice) -> String {
    serde_json::to_string(notice).expect("notices hold nothing that JSON cannot")
}

/// The notice that a request failed.
pub fn error(re: Option<u64>, code: ErrorCode, reason: impl Into<String>) -> Notice {
    Notice { re, message: ServerMessage::Error { code, reason: reason.into() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_message_is_answered_with_its_number_and_what_is_wrong() {
        for (text, re, part) in [
            ("nonsense", None, "expected"),
            (r#"{"id":7,"type":"jion"}"#, Some(7), "jion"),
            (r#"{"id":8,"type":"mute","track":"TR_a"}"#, Some(8), "muted"),
        ] {
            let notice = decode(text).unwrap_err();
            let ServerMessage::Error { code, reason } = notice.message else { panic!("{text}") };
            assert_eq!((notice.re, code), (re, ErrorCode::BadMessage), "{text}");
            assert!(reason.contains(part), "{reason}");
        }
    }
}
