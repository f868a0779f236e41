//! What the worker tells of a room when it is asked.

use proto::ids::RoomName;
use proto::signal::{ClientMessage, Kind, Source};
use proto::units::Bitrate;
use sfu::worker::DownlinkSettings;
use sfu::worker::report::{
    LegStats, LimitedBy, PARTICIPANTS_MAX, ParticipantStats, RoomStats, Selection, StreamStats,
};

use super::net::Net;
use super::peer::{Camera, Plan};
use super::{assert_no_faults, ms, secs, slot};

fn look(net: &Net) -> RoomStats {
    net.worker.room_stats(net.now, &RoomName::from("show"), &Selection::default()).expect("the room is there")
}

fn of<'a>(stats: &'a RoomStats, identity: &str) -> &'a ParticipantStats {
    stats.participants.iter().find(|one| one.identity == identity).expect("is in the room")
}

fn camera(stats: &ParticipantStats, rid: Option<&str>) -> StreamStats {
    let is_it = |stream: &&StreamStats| {
        stream.kind == Some(Kind::Video) && stream.rid.as_ref().map(proto::ids::Rid::as_str) == rid
    };
    stats.streams.iter().find(is_it).expect("is sent").clone()
}

fn picture(stats: &ParticipantStats) -> LegStats {
    stats.legs.iter().find(|leg| leg.kind == Kind::Video).expect("has a picture").clone()
}

#[test]
fn a_room_tells_what_everybody_sends_and_is_sent() {
    let mut net = Net::new(700);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(4));
    let track = net.peers[ana].track(Source::Camera).unwrap();
    net.with(bo, |bo| bo.lay_out(&[(track.clone(), 1280, 720)]));
    net.run(secs(6));
    let stats = look(&net);
    assert_eq!((stats.room.as_str(), stats.participant_count, stats.participants.len()), ("show", 2, 2));
    let (ana_stats, bo_stats) = (of(&stats, "ana"), of(&stats, "bo"));
    assert_eq!(
        (ana_stats.streams.len(), ana_stats.legs.len()),
        (4, 0),
        "three layers and sound, and bo is silent"
    );
    assert_eq!((bo_stats.streams.len(), bo_stats.legs.len()), (0, 2));

    let large = camera(ana_stats, Some("h"));
    assert_eq!(
        (large.track.as_ref(), large.source, large.active),
        (Some(&track), Some(Source::Camera), true)
    );
    assert_eq!((large.codec.as_deref(), large.packets_lost, large.nacked_packets), (Some("VP8"), 0, 0));
    assert!((24.0..=26.0).contains(&large.frames_per_second), "{} a second", large.frames_per_second);
    assert!((225..=255).contains(&large.frames_received), "{} frames in ten seconds", large.frames_received);
    assert!(large.key_frames_received >= 1 && large.kbps > camera(ana_stats, Some("l")).kbps);

    let leg = picture(bo_stats);
    let seen = slot(&net, bo, ana, Source::Camera);
    assert_eq!((&leg.track, leg.limited_by, leg.active), (&track, LimitedBy::None, true));
    assert_eq!(leg.rid.as_ref().map(proto::ids::Rid::as_str), Some("h"));
    assert_eq!((&leg.rid, &leg.rid), (&leg.target_rid, &leg.wanted_rid));
    let flying = leg.packets_sent - seen.seen.len() as u64;
    assert!(flying <= 8, "{flying} packets are on their way");
    assert!(leg.kbps.abs_diff(large.kbps) * 4 < large.kbps, "{} of {} kbit/s", leg.kbps, large.kbps);
    assert_eq!((leg.retransmitted_packets_sent, leg.nacked_packets, leg.fec_packets_sent), (0, 0, 0));

    let connection = &bo_stats.connection;
    assert!(connection.connected && connection.srtp_profile.as_deref().is_some_and(|name| name != "none"));
    assert!(connection.rtt_ms.is_some_and(|rtt| (39.0..60.0).contains(&rtt)), "{:?}", connection.rtt_ms);
    assert!(connection.bytes_sent > leg.bytes_sent && connection.packets_received > 0);
    let sending = connection.sending.as_ref().expect("bo tells what arrives");
    assert_eq!((sending.packets_lost_path, sending.packets_lost_congestion), (0, 0));
    assert!(sending.packets_told > 100 && sending.target_kbps > leg.kbps && sending.redundancy == 0.0);
    assert_no_faults(&net);
}

#[test]
fn losses_are_told_where_they_happen_and_by_their_cause() {
    for (claim, seed, up, down) in [("on the way up", 701, 50, 0), ("on the way down", 702, 0, 50)] {
        let mut net = Net::generous(seed);
        let ana = net.join("show", "ana", Plan { camera: Camera::Single, ..Plan::TALKER });
        let bo = net.join("show", "bo", Plan::VIEWER);
        net.run(secs(3));
        (net.links[ana].up_loss, net.links[bo].down_loss) = (up, down);
        net.run(secs(15));
        let stats = look(&net);
        let (stream, leg) = (camera(of(&stats, "ana"), None), picture(of(&stats, "bo")));
        let sending = of(&stats, "bo").connection.sending.clone().expect("bo tells what arrives");
        let lost_down = sending.packets_lost_path + sending.packets_lost_congestion;
        assert_eq!((stream.packets_lost > 0, lost_down > 0), (up > 0, down > 0), "{claim}: {stream:?}");
        if up > 0 {
            let share = stream.packets_lost as f64 / stream.packets_received as f64;
            assert!((0.02..=0.08).contains(&share), "{claim}: {share}");
            let recovered = stream.packets_retransmitted + stream.packets_restored;
            assert!(
                recovered + 8 >= stream.packets_lost && recovered <= stream.packets_lost + 8,
                "{stream:?}"
            );
            assert!(stream.nacked_packets >= stream.packets_retransmitted && stream.recovery_ms > 0.0);
            assert_eq!(leg.retransmitted_packets_sent, 0, "{claim}");
        } else {
            assert!((0.02..=0.08).contains(&sending.loss_path), "{claim}: {sending:?}");
            assert!(sending.packets_lost_path > sending.packets_lost_congestion, "{claim}: {sending:?}");
            assert!(leg.retransmitted_packets_sent > 20 && leg.nacked_packets >= 20, "{claim}: {leg:?}");
            assert_eq!(leg.retransmitted_packets_sent, net.worker.stats().retransmitted, "{claim}");
            assert_eq!(stream.nacked_packets, 0, "{claim}");
        }
    }
}

/// Why the picture that bo sees of ana is less than suits, after something was done.
fn reason(seed: u64, most: Bitrate, act: impl FnOnce(&mut Net, usize, usize)) -> (LimitedBy, LegStats) {
    let defaults = DownlinkSettings::default();
    let mut limits = defaults.limits;
    (limits.max, limits.start) = (most, most.min(limits.start));
    let mut net = Net::with_downlink(seed, DownlinkSettings { limits, ..defaults });
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(1));
    net.with(ana, |ana| ana.sender.tracks.get_mut(&1).unwrap().more = 1_000); // the large layer takes 730 kbit/s
    let track = net.peers[ana].track(Source::Camera).unwrap();
    net.with(bo, |bo| bo.lay_out(&[(track, 1280, 720)]));
    net.run(secs(7));
    act(&mut net, ana, bo);
    let leg = picture(of(&look(&net), "bo"));
    (leg.limited_by, leg)
}

#[test]
fn a_leg_that_gets_less_than_suits_says_why() {
    let track = |net: &Net, ana: usize| net.peers[ana].track(Source::Camera).unwrap();
    for (seed, most, expected, act) in [
        (710, 25_000, LimitedBy::None, (|_, _, _| {}) as fn(&mut Net, usize, usize)),
        (711, 400, LimitedBy::Bandwidth, |_, _, _| {}),
        (714, 25_000, LimitedBy::Muted, |net, ana, _| {
            let track = net.peers[ana].track(Source::Camera).unwrap();
            net.with(ana, |ana| ana.request(ClientMessage::Mute { track, muted: true }));
            net.run(ms(500));
        }),
        (715, 25_000, LimitedBy::Publisher, |net, ana, _| {
            net.with(ana, |ana| ana.sender.stream_mut(1, 0).active = false);
            net.run(secs(3));
        }),
        (712, 25_000, LimitedBy::Disconnected, |net, _, bo| {
            net.links[bo].udp_silent = true;
            net.run(secs(11));
        }),
    ] {
        let (limited_by, leg) = reason(seed, Bitrate::kbps(most), act);
        assert_eq!(limited_by, expected, "{leg:?}");
    }
    let (hidden, leg) = reason(713, Bitrate::mbps(25), |net, ana, bo| {
        let track = track(net, ana);
        net.with(bo, |bo| bo.lay_out(&[(track, 0, 0)]));
        net.run(ms(500));
    });
    assert_eq!((hidden, leg.active, leg.wanted_rid), (LimitedBy::Hidden, false, None));
}

#[test]
fn an_answer_is_bounded_and_larger_rooms_are_told_answer_by_answer() {
    let mut net = Net::new(720);
    let count = PARTICIPANTS_MAX + 3;
    for number in 0..count {
        net.join("show", &format!("p{number}"), Plan { slots: 0, microphone: true, ..Plan::VIEWER });
    }
    net.run(secs(2));
    let first = look(&net);
    assert_eq!((first.participant_count, first.participants.len()), (count, PARTICIPANTS_MAX));
    let ask = |selection: Selection| {
        net.worker.room_stats(net.now, &RoomName::from("show"), &selection).unwrap().participants
    };
    let after = first.participants.last().map(|last| last.participant.clone());
    let rest: Vec<String> =
        ask(Selection { after, ..Selection::default() }).into_iter().map(|one| one.identity).collect();
    assert_eq!(rest, ["p16", "p17", "p18"]);
    let one = Some(first.participants[3].participant.clone());
    let only = ask(Selection { participant: one, ..Selection::default() });
    assert_eq!(only.iter().map(|one| one.identity.as_str()).collect::<Vec<_>>(), ["p3"]);
    let nobody = Selection { participant: Some("PA_nobody".into()), ..Selection::default() };
    assert!(ask(nobody).is_empty());
    assert!(net.worker.room_stats(net.now, &RoomName::from("other"), &Selection::default()).is_none());
}

#[test]
fn what_is_told_reads_back_from_json_and_names_no_address() {
    let mut net = Net::new(730);
    net.join("show", "ana", Plan::TALKER);
    net.join("show", "bo", Plan::TALKER);
    net.run(secs(3));
    let stats = look(&net);
    let text = serde_json::to_string(&stats).unwrap();
    assert_eq!(serde_json::from_str::<RoomStats>(&text).unwrap(), stats);
    for link in &net.links {
        assert!(!text.contains(&link.address.ip().to_string()), "{text}");
    }
}
