//! Names of rooms, people and tracks, as signaling carries them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text of this name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A room's name, chosen by the application; what the token's `video.room` claim says.
    RoomName
}
text_id! {
    /// One participant's stay in a room: `PA_` and 12 letters or digits, given by the server.
    ParticipantId
}
text_id! {
    /// One published track: `TR_` and 12 letters or digits, given by the server.
    TrackId
}
text_id! {
    /// The secret by which a client takes up its session again after its WebSocket broke.
    SessionId
}
text_id! {
    /// The value of a media section's `a=mid` (RFC 8843 §15).
    Mid
}
text_id! {
    /// A simulcast encoding's name, `a=rid` (RFC 8851).
    Rid
}
