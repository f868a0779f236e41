//! Datagrams from people who mean no good.

use std::net::SocketAddr;

use proto::rtp::{PayloadType, Ssrc};
use proto::seed::{Chance, Seed};
use proto::signal::Source;
use sfu::network::demux::{PacketKind, classify};
use sfu::worker::DropReason;

use super::net::Net;
use super::peer::Plan;
use super::sender::forged;
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

const HOSTILE: u32 = 20_000;

/// One hostile datagram, made of nothing or of a true one.
fn hostile(chance: &mut Chance, captured: &[(SocketAddr, Vec<u8>)], case: u32) -> (SocketAddr, Vec<u8>) {
    let (from, real) = &captured[chance.long_number() as usize % captured.len()];
    let stranger = SocketAddr::from(([192, 0, 2, chance.number() as u8], chance.number() as u16 | 1));
    match case % 6 {
        0 => {
            let length = chance.number() as usize % 200;
            let mut bytes: Vec<u8> = (0..length).map(|_| chance.number() as u8).collect();
            if let (Some(first), true) = (bytes.first_mut(), case.is_multiple_of(4)) {
                *first = [0, 1, 20, 22, 63, 128, 144, 191][chance.number() as usize % 8];
            }
            (if case.is_multiple_of(12) { stranger } else { *from }, bytes)
        }
        1 => (*from, real[..chance.number() as usize % real.len()].to_vec()),
        2 => (*from, real.clone()),
        3 => (stranger, real.clone()),
        4 => {
            let mut bytes = real.clone();
            let at = chance.number() as usize % bytes.len();
            bytes[at] ^= 1 << (chance.number() % 8);
            (*from, bytes)
        }
        _ => {
            let mut bytes = real.clone();
            if bytes.len() > 12 && classify(&bytes) == PacketKind::Rtp {
                bytes[8..12].copy_from_slice(&chance.number().to_be_bytes());
            }
            (*from, bytes)
        }
    }
}

#[test]
fn twenty_thousand_hostile_datagrams_change_nothing_and_are_counted_by_reason() {
    let mut net = Net::new(100);
    net.captured = Some(Vec::new());
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let captured = net.captured.take().unwrap();
    let mut chance = Seed::from_number(100).fork("hostile").generator();
    let (from, before) = (net.now, net.worker.stats());
    let mut injected = 0;
    let ufrag = net.peers[ana].answered.ufrag.clone();
    for case in 0..HOSTILE {
        let (remote, bytes) = hostile(&mut chance, &captured, case);
        net.inject(remote, &bytes);
        injected += 1;
        if case % 50 == 0 {
            // A check with a guessed password, and one for a user that nobody is.
            let guess = net.peers[ana].transport.binding_request(&ufrag, "JS8fL7NgMpcdhf0Wol/i3FL3");
            net.inject(remote, &guess);
            let nobody = net.peers[ana].transport.binding_request("nobody00", "JS8fL7NgMpcdhf0Wol/i3FL3");
            net.inject(remote, &nobody);
            injected += 2;
        }
        if case % 10 == 0 {
            net.run(ms(2));
        }
    }
    let during = net.now;
    assert_sees(&net, ana, bo, from);
    assert_sees(&net, bo, ana, from);
    assert_eq!(hears(&net, ana, bo, from).abs_diff(during.since(from).as_millis() as usize / 20), 0);
    net.run(secs(1));
    assert_no_faults(&net);
    let after = net.worker.stats();
    assert_eq!((after.rooms, after.participants, after.tracks), (1, 2, 4));
    let dropped = |reason| after.drops(reason) - before.drops(reason);
    for reason in [
        DropReason::UnknownProtocol,
        DropReason::StunMalformed,
        DropReason::UnknownAddress,
        DropReason::Unauthenticated,
        DropReason::Replayed,
        DropReason::StunUnauthenticated,
        DropReason::StunUnknownUser,
    ] {
        assert!(dropped(reason) > 20, "{}: {}", reason.name(), dropped(reason));
    }
    let all: u64 = DropReason::ALL.into_iter().map(dropped).sum();
    assert!(all <= injected && all >= injected * 8 / 10, "{all} of {injected} counted");
}

#[test]
fn streams_that_nobody_negotiated_go_nowhere() {
    let mut net = Net::new(101);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(2));
    let mid = (net.peers[ana].mid_extension(), "0");
    let (bos, before) = (net.with(bo, |bo| bo.sender.stream_mut(0, 0).ssrc), net.worker.stats());
    let servers = slot(&net, bo, ana, Source::Camera).ssrc;
    for seq in 0..100 {
        net.with(ana, |ana| {
            // A stream without mid, another's stream, the server's own stream, and a payload type of nobody.
            for (ssrc, payload_type, mid) in
                [(Ssrc(77), 96, None), (bos, 111, None), (servers, 96, None), (Ssrc(78), 45, Some(mid))]
            {
                ana.transport.send_rtp(&forged(ssrc, PayloadType(payload_type), seq, mid));
            }
        });
        net.run(ms(10));
    }
    net.run(secs(1));
    let after = net.worker.stats();
    let dropped = |reason| after.drops(reason) - before.drops(reason);
    assert_eq!(dropped(DropReason::UnknownStream), 300);
    assert_eq!(dropped(DropReason::UnknownPayloadType), 100);
    assert_sees(&net, bo, ana, net.now - secs(2));
    assert_sees(&net, ana, bo, net.now - secs(2));
    assert_no_faults(&net);
}

#[test]
fn a_member_cannot_take_anothers_address_by_checks_with_a_forged_source() {
    let mut net = Net::new(102);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let (from, anas) = (net.now, net.links[ana].address);
    let (ufrag, pwd) = (net.peers[bo].answered.ufrag.clone(), net.peers[bo].answered.pwd.clone());
    for _ in 0..100 {
        let check = net.peers[bo].transport.binding_request(&ufrag, &pwd);
        net.inject(anas, &check);
        net.run(ms(50));
    }
    assert_sees(&net, bo, ana, from);
    assert_sees(&net, ana, bo, from);
    assert_no_faults(&net);
}
