//! Lost packets, lost pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::rtcp::Rtcp;
use proto::rtp::{SeqNo, Ssrc};
use proto::signal::Source;
use sfu::network::demux::{PacketKind, classify};

use super::net::{Filter, Net, is_of};
use super::peer::Plan;
use super::{assert_no_faults, assert_sees, ms, secs, slot};

/// Loses the packets of a stream whose count is in `lost`.
fn lose(ssrc: Ssrc, lost: &'static [usize]) -> Filter {
    let mut count = 0;
    Box::new(move |_, bytes| {
        let is_it = is_of(bytes, ssrc);
        count += usize::from(is_it);
        !is_it || !lost.contains(&count)
    })
}

#[test]
fn a_packet_lost_on_the_way_down_comes_again_with_the_identical_payload() {
    let mut net = Net::new(40);
    let ana = net.join("show", "ana", Plan::TALKER);
    let (bo, cy) = (net.join("show", "bo", Plan::VIEWER), net.join("show", "cy", Plan::VIEWER));
    net.run(secs(2));
    let ssrc = slot(&net, bo, ana, Source::Camera).ssrc;
    net.links[bo].down = Some(lose(ssrc, &[3, 4, 5, 40, 77, 78]));
    let from = net.now;
    net.run(secs(3));
    let again: Vec<_> =
        slot(&net, bo, ana, Source::Camera).since(from).filter(|seen| seen.by_rtx).cloned().collect();
    assert_eq!(again.iter().map(|seen| seen.seq).collect::<BTreeSet<_>>().len(), 6);
    // Cy had them at once: the same media behind cy's own numbers, which are shifted by a constant.
    let whole = slot(&net, cy, ana, Source::Camera);
    for seen in &again {
        let twin = whole.seen.iter().find(|twin| twin.stamp == seen.stamp).unwrap();
        let tail = seen.payload.len() - 100;
        assert_eq!(seen.payload[tail..], twin.payload[tail..]);
    }
    assert_eq!(net.worker.stats().retransmitted, again.len() as u64);
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0);
    assert_no_faults(&net);
}

#[test]
fn towards_a_viewer_that_loses_packets_some_answers_go_twice_five_milliseconds_apart() {
    for (name, lost, twice) in [
        ("one is lost", &[100][..], 0..=0),
        ("one in fifteen", &[15, 30, 45, 60, 75, 90], 2..=6), // as many as the plan takes
    ] {
        let mut net = Net::generous(50); // so that nothing waits for the pacer's turn
        let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
        net.run(secs(6));
        net.links[bo].down = Some(lose(slot(&net, bo, ana, Source::Camera).ssrc, lost));
        let from = net.now;
        net.run(secs(6));
        let mut again: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for seen in slot(&net, bo, ana, Source::Camera).since(from).filter(|seen| seen.by_rtx) {
            again.entry(seen.seq).or_default().push(seen);
        }
        let times: Vec<usize> = again.values().map(Vec::len).collect();
        assert_eq!(times.len(), lost.len(), "{name}: each is answered");
        let pairs = || again.values().filter(|answers| answers.len() == 2);
        assert!(
            twice.contains(&pairs().count()) && times.iter().all(|times| *times <= 2),
            "{name}: {times:?}"
        );
        for pair in pairs() {
            assert_eq!(pair[0].payload, pair[1].payload, "{name}");
            assert_ne!(pair[0].own_seq, pair[1].own_seq, "{name}: the second would be a replay");
            let apart = pair[1].at.since(pair[0].at);
            assert!((ms(5)..ms(8)).contains(&apart), "{name}: {apart:?} apart");
        }
        assert_no_faults(&net);
    }
}

#[test]
fn what_was_sent_before_a_switch_comes_again_as_it_was_also_right_after_the_switch() {
    let mut net = Net::new(41);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let track = net.peers[ana].track(Source::Camera).unwrap();
    net.with(bo, |bo| bo.receiver.asks = false);
    net.with(bo, |bo| bo.lay_out(&[(track, 1280, 720)]));
    assert!(net.run_until(secs(2), |net| slot(net, bo, ana, Source::Camera).layer() == Some(0)));
    net.run(ms(40));
    // Bo claims to have lost the last of the old layer and the first of the new one.
    let before = slot(&net, bo, ana, Source::Camera);
    let switch = before.seen.iter().rposition(|seen| seen.stamp.layer != 0).unwrap() + 1;
    let originals: BTreeMap<u64, _> =
        before.seen[switch - 4..switch + 4].iter().map(|seen| (seen.seq, seen.clone())).collect();
    let (media, count) = (before.ssrc, before.seen.len());
    let lost = originals.keys().map(|seq| SeqNo(*seq as u16)).collect();
    net.with(bo, |bo| bo.send_rtcp(Rtcp::Nack { sender: bo.own_ssrc(), media, lost }));
    net.run(ms(100));
    let slot = slot(&net, bo, ana, Source::Camera);
    let again: Vec<_> = slot.seen[count..].iter().filter(|seen| seen.by_rtx).collect();
    let found: BTreeSet<u64> = again.iter().map(|seen| seen.seq).collect();
    assert!(found.iter().eq(originals.keys()));
    for seen in again {
        let original = &originals[&seen.seq];
        assert_eq!(seen.payload, original.payload, "{:?}", original.stamp);
        assert_eq!((seen.timestamp, seen.marker), (original.timestamp, original.marker));
    }
    assert_no_faults(&net);
}

#[test]
fn packets_lost_on_the_way_up_are_asked_for_recovered_and_forwarded_in_place() {
    let mut net = Net::new(42);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let ssrc = net.with(ana, |ana| ana.sender.stream_mut(1, 1).ssrc);
    net.links[ana].up = Some(lose(ssrc, &[5, 6, 30, 61, 62, 63, 64]));
    let from = net.now;
    net.run(secs(3));
    assert_eq!(net.with(ana, |ana| ana.sender.stream_mut(1, 1).retransmitted), 7);
    assert_eq!(net.worker.stats().recovered, 7);
    let slot = slot(&net, bo, ana, Source::Camera);
    let mut seen: Vec<_> = slot.since(from).collect();
    assert!(!seen.iter().any(|seen| seen.by_rtx), "bo lost nothing, so nothing came again");
    assert!(seen.windows(2).any(|pair| pair[1].seq < pair[0].seq), "the late ones came late");
    seen.sort_by_key(|seen| seen.seq);
    assert!(seen.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "no hole is left");
    assert!(seen.windows(2).all(|pair| {
        let place = |stamp: super::stamp::Stamp| (stamp.frame, stamp.part);
        place(pair[1].stamp) > place(pair[0].stamp)
    }));
    assert_eq!(slot.plis, 0);
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_no_faults(&net);
}

#[test]
fn heavy_loss_both_ways_is_lived_through_and_healed() {
    let mut net = Net::new(43);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(2));
    for peer in [ana, bo] {
        (net.links[peer].up_loss, net.links[peer].down_loss) = (80, 80);
    }
    let from = net.now;
    net.run(secs(20));
    for (one, other) in [(ana, bo), (bo, ana)] {
        let still = slot(&net, one, other, Source::Camera).longest_still(from, net.now);
        assert!(still <= ms(1_500), "{one} saw a still of {still:?}");
    }
    for peer in [ana, bo] {
        (net.links[peer].up_loss, net.links[peer].down_loss) = (0, 0);
    }
    net.run(secs(3));
    assert_sees(&net, ana, bo, net.now - secs(1));
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_no_faults(&net);
}

/// Three viewers ask for a key frame, 33 ms apart; tells how many requests the publisher, so far away, got.
fn three_wishes(seed: u64, away: Duration) -> usize {
    let mut net = Net::new(seed);
    let ana = net.join("show", "ana", Plan::TALKER);
    let viewers = ["bo", "cy", "di"].map(|name| net.join("show", name, Plan::VIEWER));
    net.links[ana].delay = away;
    net.run(secs(4));
    let before = net.peers[ana].sender.plis(1).len();
    let from = net.now;
    for viewer in viewers {
        let media = slot(&net, viewer, ana, Source::Camera).ssrc;
        net.with(viewer, |peer| peer.send_rtcp(Rtcp::Pli { sender: peer.own_ssrc(), media }));
        net.run(ms(33));
    }
    net.run(secs(2));
    let asked = net.peers[ana].sender.plis(1).len() - before;
    for viewer in viewers {
        let keys = slot(&net, viewer, ana, Source::Camera).shown_since(from).filter(|shown| shown.stamp.key);
        assert_eq!(keys.count(), asked, "and all three have the key frame");
    }
    assert_no_faults(&net);
    asked
}

#[test]
fn three_wishes_for_a_key_frame_within_100_ms_become_one() {
    assert_eq!(three_wishes(44, ms(60)), 1);
}

#[test]
fn a_wish_that_crosses_the_key_frame_is_served_by_it() {
    assert_eq!(three_wishes(45, ms(15)), 1);
}

#[test]
fn an_outage_of_four_seconds_is_over_a_second_after_the_network_is_back() {
    for (seed, outage) in [(46, "publisher"), (47, "viewer")] {
        let mut net = Net::new(seed);
        let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
        net.run(secs(3));
        let cut = if outage == "publisher" { ana } else { bo };
        net.links[cut].udp_silent = true;
        net.run(secs(4));
        net.links[cut].udp_silent = false;
        let from = net.now;
        let moves = |net: &Net| slot(net, bo, ana, Source::Camera).shown_since(from + ms(50)).count() > 2;
        assert!(net.run_until(secs(1), moves), "{outage}");
        net.run(secs(3));
        assert_sees(&net, bo, ana, net.now - secs(2));
        assert_no_faults(&net);
    }
}

#[test]
fn a_flood_of_requests_neither_amplifies_nor_reaches_the_publisher() {
    let mut net = Net::new(48);
    let ana = net.join("show", "ana", Plan::TALKER);
    let (bo, cy) = (net.join("show", "bo", Plan::VIEWER), net.join("show", "cy", Plan::VIEWER));
    net.run(secs(3));
    let (from, before) = (net.now, net.worker.stats());
    let plis = net.peers[ana].sender.plis(1).len();
    while net.now.since(from) < secs(2) {
        let slot = slot(&net, bo, ana, Source::Camera);
        let (media, last) = (slot.ssrc, slot.seen.last().unwrap().seq as u16);
        let lost: Vec<SeqNo> = (0..200).map(|back| SeqNo(last.wrapping_sub(back))).collect();
        net.with(bo, |bo| {
            let sender = bo.own_ssrc();
            bo.send_rtcp(Rtcp::Nack { sender, media, lost });
            bo.send_rtcp(Rtcp::Pli { sender, media });
            bo.send_rtcp(Rtcp::Fir { sender, requests: vec![(media, 1); 20] });
        });
        net.run(ms(5));
    }
    let after = net.worker.stats();
    let seen = slot(&net, bo, ana, Source::Camera).since(from).collect::<Vec<_>>();
    let (again, once) =
        (seen.iter().filter(|seen| seen.by_rtx).count(), seen.iter().filter(|seen| !seen.by_rtx).count());
    // Half the media with its headers, and one burst of 32 kB of these small packets.
    assert!((50..=once * 6 / 10 + 32_000 / 160).contains(&again), "{again} again for {once}");
    assert!(after.retransmissions_refused > before.retransmissions_refused + 1_000);
    let plis = net.peers[ana].sender.plis(1).len() - plis;
    assert!((1..=8).contains(&plis), "{plis} key frames asked for in two seconds");
    assert_sees(&net, cy, ana, from);
    assert_no_faults(&net);
}

#[test]
fn every_packet_sent_is_told_to_have_arrived_or_not() {
    let mut net = Net::new(49);
    let ana = net.join("show", "ana", Plan::TALKER);
    net.run(secs(2));
    net.links[ana].up_loss = 100;
    net.run(secs(5));
    let told = &net.peers[ana].sender.told;
    let (arrived, lost) = (
        told.values().filter(|arrived| **arrived).count(),
        told.values().filter(|arrived| !**arrived).count(),
    );
    let sent = net.peers[ana].sender.transport_packets();
    let flying = sent - told.len();
    assert!(flying < 60, "{flying} of {sent} were not told of: more than a quarter of a second");
    assert!((lost * 100 / (arrived + lost)).abs_diff(7) <= 3, "{lost} lost, {arrived} arrived");
    assert_no_faults(&net);
}

#[test]
fn who_waits_for_a_key_frame_is_not_forgotten_while_requests_are_lost() {
    let mut net = Net::new(50);
    let ana = net.join("show", "ana", Plan::TALKER);
    net.run(secs(3));
    net.links[ana].down = Some(Box::new(|_, bytes| classify(bytes) != PacketKind::Rtcp));
    let bo = net.join("show", "bo", Plan::VIEWER);
    net.run(secs(12));
    assert_eq!(slot(&net, bo, ana, Source::Camera).seen.len(), 0, "nothing that a decoder could begin with");
    net.links[ana].down = None;
    net.run(secs(3));
    assert_sees(&net, bo, ana, net.now - ms(500));
    assert_no_faults(&net);
}
