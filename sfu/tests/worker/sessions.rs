//! Sessions that break, come back, move and end.

use std::time::Duration;

use proto::signal::{CloseCode, Source};
use sfu::worker::Event;

use super::net::Net;
use super::peer::Plan;
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

/// Bo falls silent without a goodbye; how long until ana is told that bo is gone.
fn gone_after(seed: u64, breaks: bool) -> Duration {
    let mut net = Net::new(seed);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(5) + ms(seed * 700));
    if breaks {
        net.break_socket(bo);
    }
    net.links[bo].silent = true;
    let from = net.now;
    assert!(net.run_until(secs(60), |net| net.peers[ana].knows.others.is_empty()), "bo stays forever");
    assert_no_faults(&net);
    net.now.since(from)
}

#[test]
fn silence_of_ice_ends_the_stay_within_15_s_of_a_broken_websocket() {
    for seed in 60..64 {
        let after = gone_after(seed, true);
        assert!((secs(5)..=secs(15)).contains(&after), "seed {seed}: {after:?}");
    }
}

#[test]
fn silence_of_ice_and_websocket_ends_the_stay_within_15_s() {
    for seed in 60..64 {
        let after = gone_after(seed, false);
        assert!((secs(5)..=secs(15)).contains(&after), "seed {seed}: {after:?}");
    }
}

#[test]
fn a_session_resumed_within_15_s_keeps_its_name_and_media_never_stops() {
    let mut net = Net::new(62);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let name = net.peers[bo].knows.participant.clone().unwrap();
    let from = net.now;
    net.break_socket(bo);
    net.run(secs(7));
    // Meanwhile the room changes without bo hearing of it.
    let cy = net.join("show", "cy", Plan::TALKER);
    net.run(secs(7));
    net.resume(bo);
    net.run(secs(2));
    assert_eq!((net.peers[bo].knows.resumed, net.peers[bo].knows.closed), (1, None));
    assert!(net.peers[ana].knows.others.contains_key(&name), "nobody saw bo go");
    assert_eq!(net.peers[bo].knows.others.len(), 2, "bo knows of cy now");
    assert_sees(&net, ana, bo, from);
    assert_sees(&net, bo, ana, from);
    assert_eq!(hears(&net, bo, ana, from), 800);
    assert_sees(&net, bo, cy, net.now - secs(1));
    let joined = net.events.iter().filter(|(_, event)| matches!(event, Event::ParticipantJoined { .. }));
    assert_eq!(joined.count(), 3);
    net.run(secs(40));
    assert_eq!(net.worker.stats().participants, 3, "and stays");
    assert_no_faults(&net);
}

#[test]
fn a_session_is_over_15_s_after_its_websocket_broke() {
    let mut net = Net::new(63);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    net.break_socket(bo);
    net.run(ms(14_900));
    assert_eq!(net.peers[ana].knows.others.len(), 1, "media goes on, so bo is there");
    net.run(ms(300));
    assert_eq!(net.peers[ana].knows.others.len(), 0);
    net.resume(bo);
    net.run(secs(1));
    assert_eq!((net.peers[bo].knows.resumed, net.peers[bo].knows.closed), (0, Some(CloseCode::SessionOver)));
    assert_eq!(net.worker.stats().participants, 1);
}

#[test]
fn a_session_can_be_resumed_before_the_server_saw_its_websocket_break() {
    let mut net = Net::new(64);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let from = net.now;
    net.resume(bo);
    net.run(secs(30));
    assert_eq!((net.peers[bo].knows.resumed, net.peers[bo].knows.closed), (1, None));
    assert_sees(&net, ana, bo, from);
    assert_eq!(net.worker.stats().participants, 2);
}

#[test]
fn ice_restarts_by_a_new_offer_and_media_goes_on() {
    let mut net = Net::new(65);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let from = net.now;
    let former = net.peers[bo].answered.ufrag.clone();
    for _ in 0..3 {
        net.with(bo, |bo| {
            bo.transport.restart();
            bo.offer_again();
        });
        net.run(secs(3));
        assert!(
            net.peers[bo].transport.proved_at().is_some(),
            "checks with the new credentials are answered"
        );
    }
    assert_ne!(net.peers[bo].answered.ufrag, former);
    net.run(secs(20));
    assert_sees(&net, ana, bo, from);
    assert_sees(&net, bo, ana, from);
    assert_no_faults(&net);
}

#[test]
fn an_ice_restart_brings_back_media_after_the_path_was_dead() {
    let mut net = Net::new(66);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    net.links[bo].udp_silent = true;
    assert!(net.run_until(secs(20), |net| net.peers[bo].knows.restarts_asked > 0), "bo is asked to restart");
    net.run(secs(2));
    net.links[bo].udp_silent = false;
    net.links[bo].address = "198.51.100.9:1234".parse().unwrap();
    net.with(bo, |bo| {
        bo.transport.restart();
        bo.offer_again();
    });
    let from = net.now;
    let moves = |net: &Net| {
        let moved =
            |one, other| slot(net, one, other, Source::Camera).shown_since(from + ms(100)).count() > 5;
        moved(ana, bo) && moved(bo, ana)
    };
    assert!(net.run_until(secs(2), moves), "both see each other again within two seconds");
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0, "and bo did not have to ask");
    net.run(secs(15));
    assert_sees(&net, bo, ana, net.now - secs(2));
    assert_sees(&net, ana, bo, net.now - secs(2));
    assert_no_faults(&net);
}

#[test]
fn media_follows_a_client_to_another_address() {
    let mut net = Net::new(67);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    for (step, address) in ["198.51.100.7:4000", "[2001:db8::7]:9", "10.0.0.1:50000"].into_iter().enumerate()
    {
        net.move_peer(bo, address.parse().unwrap());
        let from = net.now;
        net.run(secs(4));
        let still = slot(&net, bo, ana, Source::Camera).longest_still(from, net.now);
        assert!(still <= secs(1), "step {step}: bo saw a still of {still:?}");
        let still = slot(&net, ana, bo, Source::Camera).longest_still(from, net.now);
        assert!(still <= secs(1), "step {step}: ana saw a still of {still:?}");
        assert_sees(&net, bo, ana, net.now - secs(1));
    }
    net.run(secs(20));
    assert_sees(&net, ana, bo, net.now - secs(2));
    assert_eq!(net.peers[bo].knows.restarts_asked, 0);
    // Lost while moving, and asked for again where it is now.
    assert!(net.peers[bo].receiver.slots.values().all(|slot| slot.nacked.len() < 100));
    assert_no_faults(&net);
}

#[test]
fn a_session_cannot_be_taken_by_another_identity_or_from_another_room() {
    let mut net = Net::new(70);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let session = net.peers[bo].knows.session.clone();
    for (room, identity) in [("show", "eve"), ("other", "bo")] {
        let thief = net.prepare(room, identity, Plan::TALKER);
        net.peers[thief].knows.session.clone_from(&session);
        net.resume(thief);
        net.run(secs(1));
        assert_eq!(
            (net.peers[thief].knows.resumed, net.peers[thief].knows.closed),
            (0, Some(CloseCode::SessionOver))
        );
    }
    assert_eq!(net.peers[bo].knows.closed, None);
    assert_sees(&net, ana, bo, net.now - secs(2));
}
