//! A room on two workers: what is published on one is seen, repaired and steered on the other as if there were one.

use proto::rtcp::Rtcp;
use proto::signal::{
    ClientMessage, CloseCode, ErrorCode, LeaveReason, RepairScheme, ServerMessage, Source, Strategy,
};
use proto::time::Instant;
use proto::units::Bitrate;
use sfu::worker::relay::PeerId;
use sfu::worker::{DownlinkSettings, Event};

use super::downlink::{Scripted, layer, paced};
use super::net::{Net, is_of};
use super::peer::{Camera, Heeds, Plan};
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

fn net(seed: u64) -> Net {
    Net::with_workers(seed, 2, DownlinkSettings::default())
}

/// One camera in one layer, and sound.
const SINGLE: Plan = Plan { camera: Camera::Single, ..Plan::TALKER };

fn lay_out(net: &mut Net, viewer: usize, shown: usize, size: (u32, u32)) {
    let track = net.peers[shown].track(Source::Camera).unwrap();
    net.with(viewer, |viewer| viewer.lay_out(&[(track, size.0, size.1)]));
}

/// What a worker has handed over so far, in bytes.
fn relayed(net: &Net, worker: usize) -> u64 {
    net.worker_at(worker).stats().relay.bytes
}

fn names(net: &Net, peer: usize) -> Vec<&str> {
    let mut names: Vec<&str> = net.peers[peer].knows.others.values().map(|other| &*other.identity).collect();
    names.sort_unstable();
    names
}

#[test]
fn all_see_and_hear_all_without_a_gap_whichever_worker_they_are_on() {
    let mut net = net(800);
    let (ana, bo) = (net.join_at(0, "show", "ana", Plan::TALKER), net.join_at(1, "show", "bo", Plan::TALKER));
    let (cy, di) = (net.join_at(0, "show", "cy", Plan::VIEWER), net.join_at(1, "show", "di", Plan::VIEWER));
    net.run(secs(4));
    let from = net.now;
    net.run(secs(4));
    for one in [ana, bo, cy, di] {
        for other in [ana, bo].into_iter().filter(|other| *other != one) {
            assert_sees(&net, one, other, from);
            assert_eq!(hears(&net, one, other, from), 200, "50 packets a second");
            let seen: Vec<u64> =
                slot(&net, one, other, Source::Camera).since(from).map(|seen| seen.seq).collect();
            assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{one} of {other}");
        }
    }
    assert_no_faults(&net);
    for worker in 0..2 {
        let stats = net.worker_at(worker).stats();
        assert_eq!((stats.rooms, stats.rooms_spanning, stats.participants, stats.tracks), (1, 1, 2, 2));
        assert_eq!(stats.relay.dropped, 0);
        // One of three layers of a picture and the sound, once for the two who have it there: 50 + 50 packets a second.
        let packets = stats.relay.packets;
        assert!((600..1_400).contains(&packets), "{packets} packets");
    }
    let joined = net.events.iter().filter(|(_, event)| matches!(event, Event::ParticipantJoined { .. }));
    assert_eq!(joined.count(), 4, "guests are no news");
}

#[test]
fn acquaintance_is_made_whoever_opens_first() {
    for (name, pause) in
        [("at once", ms(0)), ("while the first hello is on its way", ms(20)), ("later", secs(2))]
    {
        let mut net = net(801);
        let first = net.join_at(1, "show", "ana", Plan::TALKER);
        net.run(pause);
        let second = net.join_at(0, "show", "bo", Plan::TALKER);
        net.run(pause);
        let third = net.join_at(1, "show", "cy", Plan::TALKER);
        net.run(secs(3));
        for (peer, others) in [(first, ["bo", "cy"]), (second, ["ana", "cy"]), (third, ["ana", "bo"])] {
            assert_eq!(names(&net, peer), others, "{name}");
        }
        let from = net.now - secs(1);
        assert_sees(&net, first, second, from);
        assert_sees(&net, second, third, from);
        assert_no_faults(&net);
    }
}

/// Whether two see each other and nobody else.
fn assert_met(net: &Net, one: usize, other: usize, claim: &str) {
    for (own, its) in [(one, other), (other, one)] {
        assert_eq!(names(net, own), [&*net.peers[its].identity], "{claim}");
        assert_sees(net, own, its, net.now - secs(1));
    }
}

#[test]
fn shards_that_ended_meet_again_whichever_ended_and_opens_first() {
    for (number, (out, back)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
        let claim = format!("{out} ended first, {back} opened first");
        let mut net = net(820 + number as u64);
        let peers = [0, 1].map(|worker| net.join_at(worker, "show", ["ana", "bo"][worker], SINGLE));
        net.run(secs(2));
        assert_eq!([0, 1].map(|worker| net.worker_at(worker).shards_elsewhere()), [1, 1], "{claim}");
        for worker in [out, 1 - out] {
            net.with(peers[worker], |peer| peer.request(ClientMessage::Leave));
            net.run(secs(1));
        }
        assert_eq!([0, 1].map(|worker| net.worker_at(worker).shards_elsewhere()), [0, 0], "{claim}");
        let again = [back, 1 - back].map(|worker| {
            let peer = net.join_at(worker, "show", ["ana", "bo"][worker], SINGLE);
            net.run(secs(1));
            peer
        });
        net.run(secs(2));
        assert_met(&net, again[0], again[1], &claim);
        assert_no_faults(&net);
    }
}

#[test]
fn a_shard_that_ends_before_it_is_answered_meets_the_other_when_it_opens_again() {
    for comes_back_unheard in [false, true] {
        let mut net = net(824);
        let ana = net.join_at(0, "show", "ana", SINGLE);
        net.run(secs(2));
        net.relays = false;
        let bo = net.join_at(1, "show", "bo", SINGLE);
        net.run(ms(200));
        net.with(bo, |bo| bo.request(ClientMessage::Leave));
        net.run(ms(200));
        if !comes_back_unheard {
            net.resume_relays();
            net.run(ms(200));
            assert!(names(&net, ana).is_empty());
        }
        let again = net.join_at(1, "show", "bo", SINGLE);
        net.run(ms(200));
        net.resume_relays();
        net.run(secs(3));
        assert_met(&net, ana, again, &format!("{comes_back_unheard}"));
        for peer in [ana, again] {
            net.with(peer, |peer| peer.request(ClientMessage::Leave));
            net.run(ms(100));
        }
        assert_eq!([0, 1].map(|worker| net.worker_at(worker).shards_elsewhere()), [0, 0]);
    }
}

#[test]
fn shards_that_opened_without_knowing_each_other_meet_with_the_next_who_joins() {
    let mut net = net(825);
    net.told = Some(Vec::new());
    let (ana, bo) = (net.join_at(0, "show", "ana", SINGLE), net.join_at(1, "show", "bo", SINGLE));
    net.run(secs(2));
    assert!(names(&net, ana).is_empty() && names(&net, bo).is_empty());
    net.told = Some(vec![PeerId(1)]);
    let cy = net.join_at(0, "show", "cy", SINGLE);
    net.run(secs(3));
    for (peer, others) in [(ana, ["bo", "cy"]), (bo, ["ana", "cy"]), (cy, ["ana", "bo"])] {
        assert_eq!(names(&net, peer), others);
    }
    assert_sees(&net, ana, bo, net.now - secs(1));
    assert_sees(&net, bo, cy, net.now - secs(1));
    assert_no_faults(&net);
}

#[test]
fn three_shards_are_acquainted_and_a_stay_on_the_third_is_replaced() {
    let mut net = Net::with_workers(826, 3, DownlinkSettings::default());
    let mut peers = Vec::new();
    for (worker, name) in ["ana", "bo", "cy"].into_iter().enumerate() {
        net.told = Some((0..worker as u32).map(PeerId).collect());
        peers.push(net.join_at(worker, "show", name, Plan::TALKER));
    }
    net.run(secs(3));
    for (peer, others) in peers.iter().zip([["bo", "cy"], ["ana", "cy"], ["ana", "bo"]]) {
        assert_eq!(names(&net, *peer), others);
    }
    let again = net.join_at(1, "show", "cy", Plan::TALKER);
    net.run(secs(3));
    assert_eq!(net.peers[peers[2]].knows.closed, Some(CloseCode::Replaced));
    for (peer, others) in [(peers[0], ["bo", "cy"]), (peers[1], ["ana", "cy"]), (again, ["ana", "bo"])] {
        assert_eq!(names(&net, peer), others);
    }
    assert_sees(&net, peers[0], again, net.now - secs(1));
    assert_sees(&net, again, peers[0], net.now - secs(1));
    let known = |net: &Net| [0, 1, 2].map(|worker| net.worker_at(worker).shards_elsewhere());
    assert_eq!(known(&net), [1, 1, 2], "nobody is at home on the third");
    for peer in [peers[0], peers[1], again] {
        net.with(peer, |peer| peer.request(ClientMessage::Leave));
    }
    net.run(secs(1));
    assert_eq!(known(&net), [0, 0, 0]);
    assert_no_faults(&net);
}

#[test]
fn layers_switch_without_a_gap_for_a_viewer_elsewhere_and_only_those_are_relayed() {
    let mut net = net(802);
    let (ana, bo) = (net.join_at(0, "show", "ana", Plan::TALKER), net.join_at(1, "show", "bo", Plan::VIEWER));
    net.run(secs(2));
    for (size, wanted) in [((160, 90), 2), ((1920, 1080), 0), ((320, 180), 2), ((640, 360), 1)] {
        let from = net.now;
        lay_out(&mut net, bo, ana, size);
        net.run(secs(4));
        assert_eq!(layer(&net, bo, ana), Some(wanted), "{size:?}");
        assert!(
            slot(&net, bo, ana, Source::Camera).since(from + ms(300)).all(|seen| seen.stamp.layer == wanted),
            "{size:?} came soon"
        );
        assert_sees(&net, bo, ana, from);
    }
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0, "no decoder ever stood still");
    let before = net.worker.stats().relay.packets;
    net.run(secs(2));
    let packets = net.worker.stats().relay.packets - before;
    assert!((195..=205).contains(&packets), "two packets a picture of one layer, and sound: {packets}");
    assert_no_faults(&net);
}

#[test]
fn who_comes_late_elsewhere_begins_with_the_last_key_frame() {
    let mut net = net(803);
    let ana = net.join_at(0, "show", "ana", SINGLE);
    net.run(secs(3));
    let mut asked = 0;
    for (number, name) in ["bo", "cy", "di", "ed"].into_iter().enumerate() {
        let late = net.join_at(1, "show", name, Plan::VIEWER);
        assert!(net.run_until(secs(2), |net| net.peers[late].transport.is_open()), "{name}");
        let open_at = net.peers[late].transport.open_at.unwrap();
        assert!(
            net.run_until(secs(2), |net| !slot(net, late, ana, Source::Camera).shown.is_empty()),
            "{name}"
        );
        let waited = slot(&net, late, ana, Source::Camera).shown[0].at.since(open_at);
        assert!(waited <= ms(300), "{name} waited {waited:?}");
        let plis = net.peers[ana].sender.plis(1).len();
        if number == 0 {
            asked = plis; // it is the first to be there at all: no key frame is recent
            assert!(asked <= 2, "{asked}");
        } else {
            assert_eq!(plis, asked, "{name} needs no other key frame");
        }
    }
    assert!(net.worker_at(1).stats().instant.starts >= 3);
    assert_no_faults(&net);
}

#[test]
fn the_first_one_elsewhere_has_its_key_frame_from_the_publishers_worker() {
    let mut net = net(804);
    let ana = net.join_at(0, "show", "ana", SINGLE);
    let near = net.join_at(0, "show", "near", Plan::VIEWER);
    assert!(net.run_until(secs(3), |net| net.peers[near].transport.is_open()));
    net.run(secs(1));
    net.with(near, |near| {
        let (sender, media) =
            (near.own_ssrc(), near.receiver.slots.values().find(|slot| !slot.shown.is_empty()));
        let media = media.unwrap().ssrc;
        near.send_rtcp(Rtcp::Pli { sender, media });
    });
    net.run(ms(200));
    let asked = net.peers[ana].sender.plis(1).len();
    let far = net.join_at(1, "show", "far", Plan::VIEWER);
    assert!(net.run_until(secs(2), |net| {
        net.peers[far].transport.is_open() && !slot(net, far, ana, Source::Camera).shown.is_empty()
    }));
    let opened = net.peers[far].transport.open_at.unwrap();
    let waited = slot(&net, far, ana, Source::Camera).shown[0].at.since(opened);
    assert!(waited <= ms(150), "{waited:?}");
    assert_eq!(net.peers[ana].sender.plis(1).len(), asked, "no other key frame was asked for");
    assert_eq!(net.worker_at(1).stats().instant.starts, 1);
    net.run(secs(2));
    assert_sees(&net, far, ana, net.now - secs(1));
    assert_no_faults(&net);
}

#[test]
fn what_a_viewer_elsewhere_loses_comes_again_from_its_own_worker() {
    let mut net = net(805);
    let (ana, bo) = (net.join_at(0, "show", "ana", Plan::TALKER), net.join_at(1, "show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let ssrc = slot(&net, bo, ana, Source::Camera).ssrc;
    let mut count = 0;
    net.links[bo].down = Some(Box::new(move |_, bytes| {
        count += usize::from(is_of(bytes, ssrc));
        !is_of(bytes, ssrc) || ![3, 4, 5, 40, 77, 78].contains(&count)
    }));
    let from = net.now;
    net.run(secs(3));
    let mut again: Vec<u64> = slot(&net, bo, ana, Source::Camera)
        .since(from)
        .filter(|seen| seen.by_rtx)
        .map(|seen| seen.seq)
        .collect();
    again.sort_unstable();
    again.dedup();
    assert_eq!(again.len(), 6);
    assert!(net.worker_at(1).stats().retransmitted >= 6);
    assert_eq!(net.worker.stats().retransmitted, 0, "the publisher's worker was not asked");
    assert_eq!(net.peers[ana].sender.stream_mut(1, 1).nacked.len(), 0);
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_no_faults(&net);
}

#[test]
fn what_a_publisher_loses_is_asked_for_once_and_reaches_all() {
    let mut net = net(806);
    let ana = net.join_at(0, "show", "ana", Plan::TALKER);
    let (bo, cy) = (net.join_at(1, "show", "bo", Plan::VIEWER), net.join_at(0, "show", "cy", Plan::VIEWER));
    net.run(secs(2));
    net.links[ana].up_loss = 30;
    let from = net.now;
    net.run(secs(5));
    net.links[ana].up_loss = 0;
    net.run(secs(2));
    for viewer in [bo, cy] {
        let frames = slot(&net, viewer, ana, Source::Camera).shown_since(from).count();
        assert!(frames >= 160, "{viewer} saw {frames} of 175");
        assert_sees(&net, viewer, ana, net.now - secs(1));
    }
    assert_eq!(net.worker_at(1).stats().recovered, 0, "recovered once, at home");
    assert!(net.worker.stats().recovered > 0);
    assert_no_faults(&net);
}

#[test]
fn wishes_for_key_frames_from_both_workers_become_one_request() {
    let mut net = net(807);
    let ana = net.join_at(0, "show", "ana", SINGLE);
    let viewers: Vec<usize> = (0..6)
        .map(|number| net.join_at(number % 2, "show", &format!("viewer {number}"), Plan::VIEWER))
        .collect();
    net.run(secs(4));
    let before = net.peers[ana].sender.plis(1).len();
    for viewer in &viewers {
        let media = slot(&net, *viewer, ana, Source::Camera).ssrc;
        net.with(*viewer, |viewer| {
            let sender = viewer.own_ssrc();
            viewer.send_rtcp(Rtcp::Pli { sender, media });
        });
    }
    net.run(secs(1));
    assert_eq!(net.peers[ana].sender.plis(1).len() - before, 1);
    for viewer in viewers {
        let shown: Vec<_> = slot(&net, viewer, ana, Source::Camera).shown_since(net.now - secs(1)).collect();
        assert!(shown.iter().any(|shown| shown.stamp.key), "{viewer} has it");
    }
    assert_no_faults(&net);
}

#[test]
fn coming_muting_and_going_is_told_on_all_workers_in_order() {
    let mut net = net(808);
    let ana = net.join_at(0, "show", "ana", Plan::TALKER);
    let bo = net.join_at(1, "show", "bo", Plan::TALKER);
    net.run(secs(2));
    let track = net.peers[ana].track(Source::Microphone).unwrap();
    for muted in [true, false, true] {
        net.with(ana, |ana| ana.request(ClientMessage::Mute { track: track.clone(), muted }));
        net.run(ms(100));
        let told = net.peers[bo].knows.others.values().flat_map(|other| &other.tracks);
        assert_eq!(
            told.filter(|known| known.id == track).map(|known| known.muted).collect::<Vec<_>>(),
            [muted]
        );
    }
    net.with(ana, |ana| ana.request(ClientMessage::Leave));
    net.run(ms(100));
    assert!(net.peers[bo].knows.others.is_empty() && net.peers[bo].knows.slots.is_empty());
    let reasons = net.peers[bo].notices.iter().filter_map(|(_, notice)| match notice.message {
        ServerMessage::ParticipantLeft { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [LeaveReason::Left]);
    assert_eq!((net.worker.stats().rooms, net.worker_at(1).stats().rooms_spanning), (0, 0));
    // Back, on either worker: the shard opens anew.
    for worker in [0, 1, 0] {
        let again = net.join_at(worker, "show", "ana", Plan::TALKER);
        net.run(secs(3));
        assert_eq!(names(&net, bo), ["ana"]);
        assert_sees(&net, bo, again, net.now - secs(1));
        assert_sees(&net, again, bo, net.now - secs(1));
    }
    net.run(secs(20));
    assert_eq!(names(&net, bo), ["ana"]);
    assert_no_faults(&net);
}

#[test]
fn the_same_identity_is_replaced_across_workers() {
    let mut net = net(809);
    let ana = net.join_at(0, "show", "ana", Plan::TALKER);
    let (bo, cy) = (net.join_at(0, "show", "bo", Plan::TALKER), net.join_at(1, "show", "cy", Plan::TALKER));
    net.run(secs(2));
    let again = net.join_at(1, "show", "bo", Plan::TALKER);
    net.run(secs(3));
    assert_eq!(net.peers[bo].knows.closed, Some(CloseCode::Replaced));
    for peer in [ana, cy] {
        let ids: Vec<_> =
            net.peers[peer].knows.others.values().filter(|other| other.identity == "bo").collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(Some(&ids[0].id), net.peers[again].knows.participant.as_ref());
        assert_sees(&net, peer, again, net.now - secs(1));
    }
    assert_eq!((net.worker.stats().participants, net.worker_at(1).stats().participants), (1, 2));
    assert_no_faults(&net);
}

#[test]
fn who_is_refused_by_an_overfull_room_takes_nobodys_place() {
    let mut net = Net::with_rooms_of(2, 827, 2, DownlinkSettings::default());
    net.relays = false; // so that both workers let in as many as may be
    let join = |net: &mut Net, worker, name| {
        let peer = net.join_at(worker, "show", name, SINGLE);
        net.run(ms(200));
        peer
    };
    let peers = [(0, "ana"), (0, "bo"), (1, "cy"), (1, "di")].map(|(at, name)| join(&mut net, at, name));
    let again = join(&mut net, 0, "ana");
    assert_eq!(
        net.peers[peers[0]].knows.closed,
        Some(CloseCode::Replaced),
        "there is room for who was there"
    );
    assert_eq!(names(&net, again), ["bo"]);
    net.resume_relays();
    net.run(secs(2));
    assert_eq!(names(&net, again), ["bo", "cy", "di"], "more than there may be");
    for worker in [0, 1] {
        let refused = join(&mut net, worker, "ana");
        let codes = net.peers[refused].knows.errors.iter().map(|(code, _)| *code);
        assert_eq!(codes.collect::<Vec<_>>(), [ErrorCode::LimitReached]);
        assert_eq!(net.peers[again].knows.closed, None);
        assert_eq!(names(&net, peers[1]), ["ana", "cy", "di"]);
        assert_eq!(names(&net, peers[2]), ["ana", "bo", "di"]);
    }
    assert_sees(&net, peers[2], again, net.now - ms(200));
}

#[test]
fn a_session_goes_on_and_knows_who_is_elsewhere() {
    let mut net = net(810);
    let (ana, bo) = (net.join_at(0, "show", "ana", Plan::TALKER), net.join_at(1, "show", "bo", Plan::TALKER));
    net.run(secs(2));
    net.break_socket(bo);
    net.run(secs(1));
    let cy = net.join_at(0, "show", "cy", Plan::TALKER);
    net.run(secs(1));
    net.resume(bo);
    net.run(secs(2));
    assert_eq!(names(&net, bo), ["ana", "cy"]);
    for other in [ana, cy] {
        assert_sees(&net, bo, other, net.now - secs(1));
        assert_sees(&net, other, bo, net.now - secs(1));
    }
    assert_no_faults(&net);
}

#[test]
fn how_a_publisher_has_its_track_carried_holds_elsewhere() {
    let mut net = net(811);
    let (ana, bo) = (net.join_at(0, "show", "ana", Plan::TALKER), net.join_at(1, "show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let track = net.peers[ana].track(Source::Camera).unwrap();
    for (repair, repaired) in [(vec![], false), (vec![RepairScheme::Retransmission], true)] {
        let strategy = Strategy { repair: Some(repair), ..Strategy::default() };
        net.with(ana, |ana| ana.request(ClientMessage::Carry { track: track.clone(), strategy }));
        net.run(ms(200));
        net.links[bo].down_loss = 50;
        let before = net.worker_at(1).stats().retransmitted;
        net.run(secs(2));
        net.links[bo].down_loss = 0;
        net.run(secs(1));
        assert_eq!(net.worker_at(1).stats().retransmitted > before, repaired);
    }
    assert_no_faults(&net);
}

#[test]
fn what_a_viewer_elsewhere_can_take_is_demanded_of_the_publisher() {
    let estimator = Scripted::new(Bitrate::kbps(1_300));
    let mut net = Net::with_workers(812, 2, estimator.settings());
    let ana = net.join_at(0, "show", "ana", Plan { heeds: Heeds::Demands, ..Plan::TALKER });
    let bo = net.join_at(1, "show", "bo", Plan::VIEWER);
    net.run(secs(1));
    net.with(ana, |ana| {
        let track = ana.sender.tracks.get_mut(&1).unwrap();
        (track.more, track.more_parts) = (1_000, 5);
    });
    lay_out(&mut net, bo, ana, (1280, 720));
    net.run(secs(8));
    let caps = |net: &Net| -> Vec<u32> {
        let largest = |(_, demand): &(Instant, proto::signal::Demand)| {
            let own =
                demand.layers.iter().find(|layer| layer.rid.as_ref().is_some_and(|rid| rid.as_str() == "h"));
            own.and_then(|layer| layer.max_kbps).unwrap_or(0)
        };
        net.peers[ana].knows.demands.iter().map(largest).collect()
    };
    let told = caps(&net);
    assert!(!told.is_empty() && told.iter().all(|most| (700..1_300).contains(most)), "{told:?}");
    assert_eq!(layer(&net, bo, ana), Some(0), "{told:?}");
    estimator.with(|script| script.target = paced(Bitrate::mbps(5)));
    net.run(secs(12));
    assert_eq!(caps(&net).last(), Some(&0), "whole again: {:?}", caps(&net));
    assert_sees(&net, bo, ana, net.now - secs(1));
    let stats = net.worker.stats();
    assert_eq!((stats.demands, stats.demands_applied), (caps(&net).len() as u64, stats.demands));
    assert_eq!(net.worker_at(1).stats().demands, 0, "its worker tells it, and nobody else");
    assert_no_faults(&net);
}

#[test]
fn nothing_is_relayed_that_nobody_is_sent() {
    let mut net = net(813);
    let silent = Plan { microphone: false, ..SINGLE };
    let (ana, bo) = (net.join_at(0, "show", "ana", silent), net.join_at(1, "show", "bo", silent));
    net.run(secs(3));
    assert!(relayed(&net, 0) > 0 && relayed(&net, 1) > 0);
    for one in [ana, bo] {
        net.with(one, |one| one.lay_out(&[]));
    }
    net.run(secs(5));
    let before = (relayed(&net, 0), relayed(&net, 1));
    net.run(secs(10));
    assert_eq!((relayed(&net, 0), relayed(&net, 1)), before, "not a byte");
    lay_out(&mut net, bo, ana, (640, 360));
    net.run(secs(2));
    assert!(relayed(&net, 0) > before.0);
    assert_eq!(relayed(&net, 1), before.1, "the other way still nothing");
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_no_faults(&net);
}

#[test]
fn a_worker_that_takes_nothing_for_a_while_holds_nobody_up_and_heals() {
    let mut net = net(814);
    let ana = net.join_at(0, "show", "ana", Plan::TALKER);
    let (bo, cy) = (net.join_at(1, "show", "bo", Plan::VIEWER), net.join_at(0, "show", "cy", Plan::VIEWER));
    net.run(secs(2));
    lay_out(&mut net, bo, ana, (1280, 720));
    net.run(secs(2));
    net.relays = false;
    let from = net.now;
    net.run(secs(60)); // 7,500 packets, of which 4,096 may wait
    assert_sees(&net, cy, ana, from);
    let dropped = net.worker.stats().relay.dropped;
    assert!(dropped > 1_000, "{dropped}");
    net.resume_relays();
    net.run(secs(3));
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_eq!(net.worker.stats().relay.dropped, dropped);
    let sounds = hears(&net, bo, ana, net.now - secs(1));
    assert!((49..=51).contains(&sounds), "{sounds}");
}

#[test]
fn the_same_seed_has_the_same_trace() {
    let trace = |seed: u64| {
        let mut net = net(seed);
        let peers = ["ana", "bo", "cy", "di"].into_iter().enumerate();
        let peers: Vec<usize> =
            peers.map(|(number, name)| net.join_at(number % 2, "show", name, Plan::TALKER)).collect();
        for peer in &peers {
            net.links[*peer].down_loss = 10;
        }
        net.run(secs(4));
        let told = peers.iter().map(|peer| format!("{:?}", net.peers[*peer].notices));
        let seen = peers.iter().flat_map(|peer| {
            let slots = net.peers[*peer].receiver.slots.values();
            slots.flat_map(|slot| slot.seen.iter().map(|seen| format!("{} {:?}", seen.seq, seen.at)))
        });
        told.chain(seen).collect::<Vec<String>>()
    };
    // The DTLS handshake has randomness of its own, but nothing depends on it.
    let strip = |trace: Vec<String>| trace.into_iter().filter(|line| line.len() < 100).collect::<Vec<_>>();
    let (one, two, other) = (strip(trace(815)), strip(trace(815)), strip(trace(816)));
    assert!(one.len() > 2_000);
    assert!(one == two, "the same");
    assert!(one != other, "and not that of another seed");
}

#[test]
fn a_room_tells_of_its_members_at_home_only_and_counts_all() {
    let mut net = net(817);
    for (worker, name) in [(0, "ana"), (1, "bo"), (1, "cy")] {
        net.join_at(worker, "show", name, Plan::TALKER);
    }
    net.run(secs(3));
    for (worker, at_home) in [(0, &["ana"][..]), (1, &["bo", "cy"])] {
        let selection = sfu::worker::report::Selection::default();
        let stats = net.worker_at(worker).room_stats(net.now, &"show".into(), &selection).unwrap();
        let told: Vec<&str> = stats.participants.iter().map(|one| &*one.identity).collect();
        assert_eq!((told, stats.participant_count), (at_home.to_vec(), 3));
        let legs = stats.participants.iter().map(|one| one.legs.iter().filter(|leg| leg.active).count());
        assert!(
            legs.clone().all(|legs| legs == 4),
            "sound and picture of two others: {legs:?}",
            legs = legs.collect::<Vec<_>>()
        );
    }
}
