//! One line for people for each thing worth one.
//!
//! In: the core's events. Out: tracing. What a client chose is quoted, so that it cannot pass for a line of ours.

use proto::signal::LeaveReason;
use sfu::worker::Event;

/// Logs `event` of worker `index`.
pub(super) fn log(index: usize, event: &Event) {
    if matches!(event, Event::DownlinkChanged { .. }) && !tracing::enabled!(tracing::Level::DEBUG) {
        return; // several a second, and hardly anybody looks
    }
    let text = describe(event);
    match event {
        Event::RoomOpened { .. } => tracing::info!("{text} on media worker {index}"),
        Event::HandshakeFailed { .. } => tracing::warn!("{text}"),
        Event::DownlinkChanged { .. } => tracing::debug!("{text}"),
        Event::RoomClosed { .. }
        | Event::ParticipantJoined { .. }
        | Event::MediaConnected { .. }
        | Event::PathChanged { .. }
        | Event::ParticipantLeft { .. } => tracing::info!("{text}"),
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::RoomOpened { room } => format!("room {:?} opened", room.as_str()),
        Event::RoomClosed { room } => format!("room {:?} closed", room.as_str()),
        Event::ParticipantJoined { room, participant, identity, client } => {
            format!("room {:?}: {identity:?} joined as {participant} with {client:?}", room.as_str())
        }
        Event::MediaConnected { room, participant, remote, profile } => {
            format!("room {:?}: media of {participant} flows to and from {remote}, {profile}", room.as_str())
        }
        Event::PathChanged { room, participant, remote } => {
            format!("room {:?}: {participant} moved to {remote}", room.as_str())
        }
        Event::DownlinkChanged { room, participant, transition, allowed } => {
            let (room, from, to, reason) = (room.as_str(), transition.from, transition.to, transition.reason);
            format!("room {room:?}: downlink of {participant} {from} -> {to}, {reason}; {allowed} allowed")
        }
        Event::HandshakeFailed { room, participant, reason } => {
            format!("room {:?}: DTLS with {participant} failed: {reason}", room.as_str())
        }
        Event::ParticipantLeft { room, participant, reason } => {
            let reason = match reason {
                LeaveReason::Left => "left",
                LeaveReason::ConnectionLost => "is gone, its connection did not come back",
                LeaveReason::Replaced => "was replaced, the same identity joined again",
                LeaveReason::ServerClosing => "was let go, the server is shutting down",
            };
            format!("room {:?}: {participant} {reason}", room.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_the_client_calls_itself() {
        let event = Event::ParticipantJoined {
            room: "lobby".into(),
            participant: "PA_1".into(),
            identity: "ann".into(),
            client: "web\nroom \"lobby\" closed".into(),
        };
        let text = describe(&event);
        assert_eq!(text, r#"room "lobby": "ann" joined as PA_1 with "web\nroom \"lobby\" closed""#);
    }
}
