//! Coming, being there, going.

use proto::rtcp::Rtcp;
use proto::rtp::SeqNo;
use proto::signal::{ClientMessage, CloseCode, LeaveReason, ServerMessage, Source};
use sfu::worker::{Event, Input};

use super::net::{Net, SERVER};
use super::peer::{Camera, Plan};
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

#[test]
fn two_join_and_each_hears_and_sees_the_other() {
    let mut net = Net::new(1);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(4));
    let from = net.now - secs(2);
    for (one, other) in [(ana, bo), (bo, ana)] {
        assert_sees(&net, one, other, from);
        assert_eq!(hears(&net, one, other, from), 100, "50 packets a second");
    }
    assert_no_faults(&net);
    let stats = net.worker.stats();
    assert_eq!((stats.rooms, stats.participants, stats.tracks), (1, 2, 4));
}

#[test]
fn who_comes_with_slots_enough_is_not_asked_for_more() {
    let mut net = Net::new(11);
    for name in ["ana", "bo", "cy"] {
        let peer = net.join("show", name, Plan::TALKER);
        net.run(secs(1));
        assert_eq!(net.peers[peer].knows.slots_needed, [], "{name}");
    }
}

#[test]
fn the_answer_gives_slots_and_a_persons_sound_and_picture_share_a_seat() {
    let mut net = Net::new(2);
    let ana = net.join("show", "ana", Plan::TALKER);
    let others: Vec<usize> = ["bo", "cy", "di"].map(|name| net.join("show", name, Plan::TALKER)).into();
    net.run(secs(2));
    let answered = &net.peers[ana].answered;
    assert!(answered.is_lite);
    assert_eq!(
        (answered.setup.as_str(), answered.candidates.as_slice()),
        ("passive", &[SERVER.parse().unwrap()][..])
    );
    let directions: Vec<&str> = (0..10)
        .map(|mid: usize| answered.sections[&proto::ids::Mid(mid.to_string())].direction.as_str())
        .collect();
    assert_eq!(directions[..2], ["recvonly"; 2], "what ana sends");
    assert_eq!(directions[2..], ["sendonly"; 8], "four slots of each kind");
    let seat = |other: usize, source| {
        let track = net.peers[other].track(source).unwrap();
        let (mid, _) = net.peers[ana].slot_of(&track).unwrap();
        net.peers[ana].answered.sections[mid].stream.clone().unwrap()
    };
    let mut seats: Vec<String> = others.iter().map(|other| seat(*other, Source::Camera)).collect();
    for (other, seat_of_picture) in others.iter().zip(&seats) {
        assert_eq!(seat(*other, Source::Microphone), *seat_of_picture);
    }
    seats.sort();
    assert_eq!(seats, ["seat-0", "seat-1", "seat-2"], "each has one of their own");
}

#[test]
fn before_any_layout_the_medium_layer_flows() {
    let mut net = Net::new(3);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(3));
    let from = net.now - secs(1);
    let slot = slot(&net, bo, ana, Source::Camera);
    assert!(slot.since(from).count() >= 50);
    assert!(slot.since(from).all(|seen| seen.stamp.layer == 1));
    assert_no_faults(&net);
}

#[test]
fn a_late_joiner_sees_a_picture_within_300_ms_of_the_handshake() {
    let mut net = Net::new(4);
    let ana = net.join("show", "ana", Plan::TALKER);
    for name in ["bo", "cy", "di", "ed"] {
        net.run(ms(3_210));
        let late = net.join("show", name, Plan { slots: 6, ..Plan::TALKER });
        assert!(net.run_until(secs(2), |net| net.peers[late].transport.is_open()), "{name}");
        let open_at = net.peers[late].transport.open_at.unwrap();
        assert!(
            net.run_until(secs(2), |net| !slot(net, late, ana, Source::Camera).shown.is_empty()),
            "{name}"
        );
        let first = slot(&net, late, ana, Source::Camera).shown[0];
        // A PLI's way to ana, up to one frame time there, and the way back: 20 + 40 + 40 ms.
        assert!(first.at.since(open_at) <= ms(300), "{name} waited {:?}", first.at.since(open_at));
    }
    assert_no_faults(&net);
}

#[test]
fn mute_is_told_to_those_present_and_to_those_who_come() {
    let mut net = Net::new(5);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(1));
    let track = net.peers[ana].track(Source::Microphone).unwrap();
    let is_muted = |net: &Net, viewer: usize| {
        let tracks = net.peers[viewer].knows.others.values().flat_map(|other| &other.tracks);
        tracks.filter(|known| known.id == track).map(|known| known.muted).collect::<Vec<_>>()
    };
    for muted in [true, false, true] {
        net.with(ana, |ana| ana.request(ClientMessage::Mute { track: track.clone(), muted }));
        net.run(ms(100));
        assert_eq!(is_muted(&net, bo), [muted]);
    }
    let cy = net.join("show", "cy", Plan::VIEWER);
    net.run(ms(100));
    assert_eq!(is_muted(&net, cy), [true]);
    net.with(bo, |bo| bo.request(ClientMessage::Mute { track: track.clone(), muted: false }));
    net.run(ms(100));
    assert_eq!(is_muted(&net, cy), [true], "another's track is not bo's to unmute");
    assert_eq!(net.peers[bo].knows.errors.len(), 1);
}

#[test]
fn leaving_is_immediate() {
    let mut net = Net::new(6);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(2));
    net.with(bo, |bo| bo.request(ClientMessage::Leave));
    let sent_at = net.now;
    assert!(net.run_until(secs(1), |net| net.peers[ana].knows.others.is_empty()));
    assert!(net.now.since(sent_at) <= ms(45), "one way there, one way back: {:?}", net.now.since(sent_at));
    net.run(ms(100));
    assert_eq!(net.peers[bo].knows.closed, Some(CloseCode::Left));
    assert_eq!(net.peers[ana].knows.slots.len(), 0);
    let told = net.peers[ana].notices.iter().rev().find_map(|(_, notice)| match notice.message {
        ServerMessage::ParticipantLeft { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(told, Some(LeaveReason::Left));
    let stats = net.worker.stats();
    assert_eq!((stats.participants, stats.tracks), (1, 2));
}

#[test]
fn a_second_join_of_the_same_identity_replaces_the_first() {
    let mut net = Net::new(7);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(2));
    let again = net.join("show", "bo", Plan::TALKER);
    net.run(secs(2));
    assert_eq!(net.peers[bo].knows.closed, Some(CloseCode::Replaced));
    let present: Vec<_> = net.peers[ana].knows.others.keys().cloned().collect();
    assert_eq!(present, [net.peers[again].knows.participant.clone().unwrap()]);
    assert_ne!(net.peers[again].knows.participant, net.peers[bo].knows.participant);
    assert_eq!(net.worker.stats().participants, 2);
    assert_sees(&net, ana, again, net.now - secs(1));
    assert_sees(&net, again, ana, net.now - secs(1));
    net.run(secs(30));
    assert_eq!(net.worker.stats().participants, 2, "the first one's end is not the second's");
    assert_no_faults(&net);
}

#[test]
fn rooms_are_separate() {
    let mut net = Net::new(8);
    let (ana, bo) = (net.join("one", "ana", Plan::TALKER), net.join("one", "bo", Plan::TALKER));
    let (cy, di) = (net.join("two", "cy", Plan::TALKER), net.join("two", "ana", Plan::TALKER));
    net.run(secs(3));
    assert_eq!(net.worker.stats().rooms, 2);
    for (peer, only) in [(ana, bo), (bo, ana), (cy, di), (di, cy)] {
        assert_eq!(net.peers[peer].knows.others.len(), 1);
        let slots = net.peers[peer].receiver.slots.values();
        let from: Vec<u16> =
            slots.flat_map(|slot| slot.seen.iter().map(|seen| seen.stamp.publisher)).collect();
        assert!(from.iter().all(|from| usize::from(*from) == only) && from.len() > 100);
    }
    // A NACK and a PLI of streams of the other room give nothing.
    let theirs = slot(&net, ana, bo, Source::Camera);
    let (media, lost) =
        (theirs.ssrc, theirs.seen.iter().rev().take(17).map(|seen| SeqNo(seen.seq as u16)).collect());
    let before = (net.worker.stats().retransmitted, net.peers[bo].sender.plis(1).len());
    net.with(cy, |cy| {
        let sender = cy.own_ssrc();
        cy.send_rtcp(Rtcp::Nack { sender, media, lost });
        cy.send_rtcp(Rtcp::Pli { sender, media });
        cy.send_rtcp(Rtcp::Fir { sender, requests: vec![(media, 1)] });
    });
    net.run(secs(1));
    assert_eq!((net.worker.stats().retransmitted, net.peers[bo].sender.plis(1).len()), before);
    assert_no_faults(&net);
}

#[test]
fn a_wrong_dtls_fingerprint_fails_and_is_told() {
    let mut net = Net::new(9);
    let ana = net.join("show", "ana", Plan::TALKER);
    let eve = net.prepare("show", "eve", Plan::TALKER);
    net.peers[eve].transport.lie_about_fingerprint();
    net.enter(eve);
    net.run(secs(5));
    assert!(!net.peers[eve].transport.is_open());
    let failed = net.events.iter().filter(|(_, event)| matches!(event, Event::HandshakeFailed { .. }));
    assert_eq!(failed.count(), 1);
    let eves = net.peers[ana].receiver.slots.values().map(|slot| slot.seen.len()).sum::<usize>();
    assert_eq!(eves, 0);
    net.run(secs(30));
    assert_eq!(net.peers[eve].knows.closed, Some(CloseCode::MediaLost));
    assert_eq!(net.peers[ana].knows.others.len(), 0);
}

#[test]
fn drain_says_closed_to_all() {
    let mut net = Net::new(10);
    let plan = Plan { camera: Camera::Single, ..Plan::TALKER };
    let peers: Vec<usize> =
        [("one", "ana"), ("one", "bo"), ("two", "cy")].map(|(room, name)| net.join(room, name, plan)).into();
    net.run(secs(2));
    net.input(Input::Drain);
    net.run(secs(1));
    for peer in peers {
        assert_eq!(net.peers[peer].knows.closed, Some(CloseCode::ServerClosing));
    }
    let stats = net.worker.stats();
    assert_eq!((stats.rooms, stats.participants, stats.tracks), (0, 0, 0));
    let quiet = stats.datagrams_out;
    net.run(secs(5));
    assert_eq!(net.worker.stats().datagrams_out, quiet, "and nothing more is sent");
    net.run(secs(15));
    assert_eq!(net.worker.poll_timeout(), None, "nor is there anything to wait for");
}
