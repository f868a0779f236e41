//! One line for people for each thing worth one.
//!
//! In: the core's events. Out: tracing. What a client chose is quoted, so that it cannot pass for a line of ours.

use proto::signal::{DemandedLayer, LeaveReason};
use sfu::worker::Event;

/// Logs `event` of worker `index`.
pub(super) fn log(index: usize, event: &Event) {
    let is_detail = matches!(event, Event::DownlinkChanged { .. } | Event::Demanded { .. });
    if is_detail && !tracing::enabled!(tracing::Level::DEBUG) {
        return; // several a second, and hardly anybody looks
    }
    let text = describe(event);
    match event {
        Event::RoomOpened { .. } => tracing::info!("{text} on media worker {index}"),
        Event::HandshakeFailed { .. } => tracing::warn!("{text}"),
        Event::DownlinkChanged { .. } | Event::Demanded { .. } => tracing::debug!("{text}"),
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
        Event::MediaConnected { room, participant, path, profile } => {
            let (room, protocol, remote) = (room.as_str(), path.protocol, path.remote);
            format!(
                "room {room:?}: media of {participant} flows to and from {remote} by {protocol}, {profile}"
            )
        }
        Event::PathChanged { room, participant, path } => {
            format!("room {:?}: {participant} moved to {} by {}", room.as_str(), path.remote, path.protocol)
        }
        Event::DownlinkChanged { room, participant, transition, allowed } => {
            let (room, from, to, reason) = (room.as_str(), transition.from, transition.to, transition.reason);
            format!("room {room:?}: downlink of {participant} {from} -> {to}, {reason}; {allowed} allowed")
        }
        Event::HandshakeFailed { room, participant, reason } => {
            format!("room {:?}: DTLS with {participant} failed: {reason}", room.as_str())
        }
        Event::Demanded { room, participant, demand } => {
            let layer = |layer: &DemandedLayer| {
                let name = layer.rid.as_ref().map_or("all", |rid| rid.as_str());
                let most = layer.max_kbps.map_or("freely".to_owned(), |most| format!("{most} kbit/s"));
                format!("{name:?} {most}")
            };
            let layers: Vec<String> = demand.layers.iter().map(layer).collect();
            let (room, track, epoch) = (room.as_str(), &demand.track, demand.epoch);
            format!("room {room:?}: {participant} shall send {track} {}, demand {epoch}", layers.join(", "))
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
