//! How much publishers are told to make of their layers, by what those who watch can take.

use std::time::Duration;

use proto::ids::Rid;
use proto::signal::{Applied, ClientMessage, Demand, Source};
use proto::time::Instant;
use proto::units::Bitrate;

use super::downlink::{Scripted, layer, paced};
use super::net::Net;
use super::peer::{Heeds, Plan};
use super::{assert_no_faults, assert_sees, ms, secs, slot};

/// Ana sends three layers of about 2.0 Mbit/s, 490 and 240 kbit/s; bo looks at the largest.
fn watched(net: &mut Net, heeds: Heeds) -> (usize, usize) {
    let ana = net.join("show", "ana", Plan { heeds, ..Plan::TALKER });
    let bo = net.join("show", "bo", Plan::VIEWER);
    net.run(secs(1));
    net.with(ana, |ana| {
        let track = ana.sender.tracks.get_mut(&1).unwrap();
        (track.more, track.more_parts) = (1_000, 5);
    });
    let track = net.peers[ana].track(Source::Camera).unwrap();
    net.with(bo, |bo| bo.lay_out(&[(track, 1280, 720)]));
    (ana, bo)
}

/// What was demanded of a layer, in the order of the demands; 0 for no limit.
fn demanded(net: &Net, peer: usize, rid: &str) -> Vec<u32> {
    let of = |demand: &Demand| {
        let layer = demand.layers.iter().find(|layer| layer.rid.as_ref().map(Rid::as_str) == Some(rid));
        layer.and_then(|layer| layer.max_kbps).unwrap_or(0)
    };
    net.peers[peer].knows.demands.iter().map(|(_, demand)| of(demand)).collect()
}

/// The payload that one received of another's camera, in kbit/s.
fn kbps(net: &Net, one: usize, other: usize, from: Instant) -> u64 {
    let bytes: usize = slot(net, one, other, Source::Camera).since(from).map(|seen| seen.payload.len()).sum();
    (bytes as u128 * 8 / net.now.since(from).as_millis()) as u64
}

#[test]
fn a_publisher_makes_as_much_of_a_layer_as_its_viewer_can_take_and_all_when_it_can() {
    let estimator = Scripted::new(Bitrate::kbps(1_300));
    let mut net = estimator.net(300);
    let (ana, bo) = watched(&mut net, Heeds::Demands);
    net.run(secs(4));
    let from = net.now;
    net.run(secs(4));
    assert_eq!(layer(&net, bo, ana), Some(0), "{:?}", demanded(&net, ana, "h"));
    let received = kbps(&net, bo, ana, from);
    assert!((1_000..=1_250).contains(&received), "{received} kbit/s of 1300");
    let demands = demanded(&net, ana, "h");
    assert!(demands.iter().all(|most| (700..1_300).contains(most)), "{demands:?}");
    assert!(demanded(&net, ana, "m").iter().chain(&demanded(&net, ana, "l")).all(|most| *most == 0));
    // Less, by a third: the same layer goes on.
    estimator.with(|script| script.target = paced(Bitrate::kbps(1_000)));
    net.run(secs(3));
    let from = net.now;
    net.run(secs(4));
    assert_eq!(layer(&net, bo, ana), Some(0), "{:?}", demanded(&net, ana, "h"));
    let received = kbps(&net, bo, ana, from);
    assert!((750..=960).contains(&received), "{received} kbit/s of 1000");
    // Plenty: whole again, in steps of half as much more.
    let before = demanded(&net, ana, "h").len();
    estimator.with(|script| script.target = paced(Bitrate::mbps(5)));
    net.run(secs(9));
    let rises = demanded(&net, ana, "h").split_off(before - 1);
    assert_eq!(rises.last(), Some(&0), "{rises:?}");
    assert!(rises.windows(2).all(|pair| pair[1] <= pair[0] * 155 / 100), "{rises:?}");
    let from = net.now;
    net.run(secs(2));
    let received = kbps(&net, bo, ana, from);
    assert!(received > 1_600, "{received} kbit/s of all that there is");
    assert_sees(&net, bo, ana, from);
    let stats = net.worker.stats();
    assert_eq!(stats.demands, demanded(&net, ana, "h").len() as u64, "none was said twice");
    assert_eq!(stats.demands_applied, stats.demands);
    assert_no_faults(&net);
}

#[test]
fn who_does_not_know_demands_is_told_for_three_seconds_and_seen_in_what_fits() {
    let estimator = Scripted::new(Bitrate::kbps(1_300));
    let mut net = estimator.net(301);
    let (ana, bo) = watched(&mut net, Heeds::Nothing);
    net.run(secs(10));
    let demands = net.peers[ana].knows.demands.clone();
    let (first, last) = (demands[0].0, demands[demands.len() - 1].0);
    assert!((secs(3)..secs(4)).contains(&last.since(first)), "{demands:?}");
    assert!(demands.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= ms(490)), "{demands:?}");
    assert!(demands.windows(2).all(|pair| {
        let is_same = pair[0].1 == pair[1].1;
        is_same || pair[0].1.epoch < pair[1].1.epoch
    }));
    assert_eq!(layer(&net, bo, ana), Some(1), "the largest never became smaller");
    assert_sees(&net, bo, ana, net.now - secs(2));
    assert_eq!(net.worker.stats().demands_applied, 0);
    assert_no_faults(&net);
}

#[test]
fn whoever_takes_up_a_session_again_is_told_what_is_demanded() {
    let estimator = Scripted::new(Bitrate::kbps(1_300));
    let mut net = estimator.net(302);
    let (ana, _) = watched(&mut net, Heeds::Demands);
    net.run(secs(6));
    let before = net.peers[ana].knows.demands.clone();
    net.break_socket(ana);
    net.run(secs(2));
    net.resume(ana);
    net.run(secs(3));
    let after = &net.peers[ana].knows.demands;
    assert_eq!(after.len(), before.len() + 1, "once");
    assert_eq!(after.last().map(|(_, demand)| demand), before.last().map(|(_, demand)| demand));
    assert_no_faults(&net);
}

#[test]
fn confirmations_of_what_was_never_demanded_change_nothing() {
    let estimator = Scripted::new(Bitrate::kbps(1_300));
    let mut net = estimator.net(303);
    let (ana, bo) = watched(&mut net, Heeds::Nothing);
    let own = net.peers[ana].track(Source::Camera).unwrap();
    for (track, epoch) in [(own.clone(), 99), ("TR_nobody".into(), 1), (own, 0)] {
        let applied = Applied { track, epoch, layers: Vec::new() };
        net.with(ana, |ana| ana.request(ClientMessage::Applied(applied.clone())));
        net.with(bo, |bo| bo.request(ClientMessage::Applied(applied)));
    }
    net.run(Duration::from_secs(6));
    assert_eq!(net.worker.stats().demands_applied, 0);
    let first = net.peers[ana].knows.demands[0].0;
    assert!(net.peers[ana].knows.demands.iter().all(|(at, _)| at.since(first) < secs(4)), "given up");
    assert!(net.peers.iter().all(|peer| peer.knows.errors.is_empty()), "they are not answered");
    assert_no_faults(&net);
}
