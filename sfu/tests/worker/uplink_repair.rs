//! Publishers that send repair packets beside their pictures.

use proto::rtp::flexfec::{FlexFecHeader, HeaderXor, PacketMask};
use proto::rtp::{PayloadType, RtpHeader, SeqNo, Ssrc};
use proto::signal::Source;
use sfu::worker::{DropReason, Stats};

use super::net::{Filter, Net, is_of};
use super::peer::{Camera, Plan};
use super::{assert_no_faults, assert_sees, ms, secs, slot};

const REPAIRING: Plan = Plan { camera: Camera::Repaired, ..Plan::TALKER };

/// The publisher's section with the camera.
const PICTURES: u8 = 1;

fn media_of(net: &mut Net, who: usize) -> Ssrc {
    net.with(who, |peer| peer.sender.stream_mut(PICTURES, 0).ssrc)
}

/// Loses the packets of a stream whose place in their picture is one of these, in every `every`th picture.
///
/// Pictures have three packets each, once their key frame is over.
fn lose(ssrc: Ssrc, places: &'static [usize], every: usize) -> Filter {
    let mut count = 0;
    Box::new(move |_, bytes| {
        let is_it = is_of(bytes, ssrc);
        let (picture, place) = (count / 3, count % 3);
        count += usize::from(is_it);
        !(is_it && picture % every == 0 && places.contains(&place))
    })
}

/// That somebody saw all packets, in whatever order they came, and nobody had to ask for a key frame.
fn assert_whole(net: &Net, one: usize, other: usize, from: proto::time::Instant) {
    let slot = slot(net, one, other, Source::Camera);
    // What it asked for while the way up was repaired may come again.
    let first_time = slot.since(from).filter(|seen| !seen.by_rtx);
    let mut seqs: Vec<u64> = first_time.map(|seen| seen.seq).collect();
    seqs.sort_unstable();
    let torn: Vec<_> = seqs.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(torn.is_empty(), "a hole or a duplicate is left: {torn:?} of {}", seqs.len());
    assert_eq!(slot.plis, 0);
    assert_sees(net, one, other, from);
    assert_no_faults(net);
}

#[test]
fn one_loss_a_picture_is_restored_unasked_and_two_are_asked_for() {
    for (name, places, restored, came_again) in [
        ("the first", &[0][..], 25, 0),
        ("the one in the middle", &[1], 25, 0),
        ("the last, which only the repair packet shows", &[2], 25, 0),
        ("two", &[0, 1], 0, 50),
        ("none", &[], 0, 0),
    ] {
        let mut net = Net::generous(140);
        let (ana, bo) = (net.join("show", "ana", REPAIRING), net.join("show", "bo", Plan::VIEWER));
        net.run(secs(2));
        let media = media_of(&mut net, ana);
        let start = net.now;
        net.links[ana].up = Some(lose(media, places, 2));
        net.run(secs(3)); // until it is known what holes are worth waiting for
        let before = net.worker.stats();
        let asked = |net: &mut Net| net.with(ana, |ana| ana.sender.stream_mut(PICTURES, 0).nacked.len());
        let asked_before = asked(&mut net);
        net.run(secs(2)); // 50 pictures
        net.links[ana].up = None;
        net.run(secs(1));
        let after = net.worker.stats();
        let counted = |count: fn(&Stats) -> u64| count(&after) - count(&before);
        assert!(counted(|stats| stats.fec_received).abs_diff(75) <= 2, "{name}: one a picture");
        assert!(counted(|stats| stats.fec_recovered).abs_diff(restored) <= 1, "{name}: {after:?}");
        assert!(counted(|stats| stats.recovered).abs_diff(came_again) <= 2, "{name}: {after:?}");
        assert_eq!(after.drops(DropReason::FecRefused), 0, "{name}");
        let asked = asked(&mut net) - asked_before;
        assert_eq!(asked > 0, came_again > 0, "{name}: {asked} asked for");
        assert_whole(&net, bo, ana, start);
    }
}

#[test]
fn loss_and_disorder_together_leave_no_hole_and_no_duplicate() {
    let mut net = Net::generous(141);
    let (ana, bo) = (net.join("show", "ana", REPAIRING), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    (net.links[ana].up_loss, net.links[ana].jitter) = (50, ms(12));
    let (from, before) = (net.now, net.worker.stats());
    net.run(secs(20));
    (net.links[ana].up_loss, net.links[ana].jitter) = (0, ms(0));
    net.run(secs(1));
    let after = net.worker.stats();
    let (restored, again) = (after.fec_recovered - before.fec_recovered, after.recovered - before.recovered);
    // 75 of 1500 are lost, most of them alone in their picture.
    assert!(restored >= 50 && again <= restored / 2, "{restored} restored, {again} came again");
    let slot = slot(&net, bo, ana, Source::Camera);
    let mut seqs: Vec<u64> = slot.since(from).map(|seen| seen.seq).collect();
    let all = seqs.len();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), all, "nothing goes out twice");
    assert_sees(&net, bo, ana, net.now - secs(1));
    assert_no_faults(&net);
}

#[test]
fn every_packet_restored_was_told_lost_all_the_same() {
    let mut net = Net::generous(142);
    let ana = net.join("show", "ana", REPAIRING);
    net.run(secs(2));
    net.links[ana].up_loss = 60;
    net.run(secs(10));
    let told = &net.peers[ana].sender.told;
    let lost = told.values().filter(|arrived| !**arrived).count();
    assert!((lost * 1000 / told.len()).abs_diff(60) <= 20, "{lost} of {}", told.len());
    assert!(net.worker.stats().fec_recovered > 30);
    assert_no_faults(&net);
}

#[test]
fn repair_packets_that_nobody_negotiated_go_nowhere() {
    let mut net = Net::new(143);
    let plan = Plan { camera: Camera::Single, ..Plan::TALKER };
    let (ana, bo) = (net.join("show", "ana", plan), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let (mid, media, number) = (net.peers[ana].mid_extension(), media_of(&mut net, ana), 100);
    for seq in 0..number {
        let payload = honest(media, 1, 1);
        net.with(ana, |ana| {
            let payload_type = ana.dialect().flexfec;
            let header =
                RtpHeader { payload_type, marker: false, seq: SeqNo(seq), timestamp: 0, ssrc: Ssrc(9) };
            let mut packet = Vec::new();
            header.write(&[(mid, b"1")], &mut packet);
            packet.extend_from_slice(&payload);
            ana.transport.send_rtp(&packet);
        });
        net.run(ms(5));
    }
    net.run(ms(50)); // the last ones arrive
    let stats = net.worker.stats();
    assert_eq!(stats.drops(DropReason::UnknownPayloadType), u64::from(number));
    assert_eq!((stats.fec_received, stats.fec_recovered), (0, 0));
    assert_sees(&net, bo, ana, net.now - ms(400));
    assert_no_faults(&net);
}

/// A repair payload of 40 bytes over `count` packets from `base` on.
fn honest(protected: Ssrc, base: u16, count: u32) -> Vec<u8> {
    let mask = PacketMask::from_bits((1 << count) - 1).unwrap();
    let header = FlexFecHeader { fields: HeaderXor::default(), protected, base: SeqNo(base), mask };
    let mut payload = Vec::new();
    header.write(&mut payload);
    payload.resize(payload.len() + 20, 0xee);
    payload
}

/// A payload with other bytes in one place.
fn with(mut payload: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    payload[at..at + bytes.len()].copy_from_slice(bytes);
    payload
}

#[test]
fn hostile_repair_packets_are_refused_and_counted() {
    let mut net = Net::new(144);
    let ana = net.join("show", "ana", REPAIRING);
    let bo = net.join("show", "bo", REPAIRING);
    net.run(secs(2));
    let (media, bos) = (media_of(&mut net, ana), media_of(&mut net, bo));
    let own = net.with(ana, |ana| ana.sender.stream_mut(PICTURES, 0).repairer().ssrc);
    let rtx = net.with(ana, |ana| ana.sender.stream_mut(PICTURES, 0).rtx_ssrc());
    for (name, make, refused) in [
        ("nothing", (|_, _| Vec::new()) as fn(Ssrc, u16) -> Vec<u8>, true),
        ("cut off", |media, last| honest(media, last, 2)[..19].to_vec(), true),
        ("a retransmission", |media, last| with(honest(media, last, 2), 0, &[0x80]), true),
        ("a fixed mask", |media, last| with(honest(media, last, 2), 0, &[0x40]), true),
        ("no stream", |media, last| with(honest(media, last, 2), 8, &[0]), true),
        ("nine streams", |media, last| with(honest(media, last, 2), 8, &[9]), true),
        ("an empty mask", |media, last| with(honest(media, last, 2), 18, &[0x80, 0]), true),
        ("a mask without end", |media, last| [&honest(media, last, 2)[..18], &[0; 40]].concat(), true),
        ("longer than any packet", |media, last| [honest(media, last, 2), vec![0; 1_480]].concat(), true),
        ("far ahead", |media, last| honest(media, last.wrapping_add(2_000), 2), true),
        ("far behind", |media, last| honest(media, last.wrapping_sub(2_000), 2), true),
        ("what is there already", |media, last| honest(media, last.wrapping_sub(6), 4), false),
        ("the same again", |media, last| honest(media, last.wrapping_sub(6), 4), false),
        ("all of the mask, none of it sent", |media, last| honest(media, last.wrapping_add(1), 109), false),
        (
            "a sum that is no packet",
            |media, last| with(honest(media, last.wrapping_sub(3), 5), 2, &[0xff, 0xff]),
            false,
        ),
    ] {
        let before = net.worker.stats();
        let last = net.with(ana, |ana| ana.sender.stream_mut(PICTURES, 0).last_seq());
        net.with(ana, |ana| ana.send_repair(PICTURES, None, &make(media, last.0)));
        net.run(ms(20));
        let after = net.worker.stats();
        let counted = after.drops(DropReason::FecRefused) - before.drops(DropReason::FecRefused);
        assert_eq!(counted, u64::from(refused), "{name}");
    }
    for (name, protected) in
        [("itself", own), ("retransmissions", rtx), ("another's", bos), ("no one's", Ssrc(3))]
    {
        for source in [None, Some(Ssrc(3))] {
            let before = net.worker.stats().drops(DropReason::FecRefused);
            net.with(ana, |ana| ana.send_repair(PICTURES, source, &honest(protected, 1, 2)));
            net.run(ms(20));
            let counted = net.worker.stats().drops(DropReason::FecRefused) - before;
            assert_eq!(counted, 1, "{name} from {source:?}");
        }
    }
    assert_sees(&net, ana, bo, net.now - ms(500));
    net.run(secs(1));
    assert_sees(&net, bo, ana, net.now - ms(500));
    assert_no_faults(&net);
}

#[test]
fn hostile_retransmissions_are_refused_and_counted() {
    let mut net = Net::new(145);
    let (ana, bo) = (net.join("show", "ana", REPAIRING), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let media = media_of(&mut net, ana);
    net.links[ana].up = Some(lose(media, &[0, 1], 5));
    net.run(secs(1)); // the stream of retransmissions is known
    net.links[ana].up = None;
    let media_type = net.with(ana, |ana| ana.dialect().vp8);
    for (name, payload_type, payload, reason) in [
        ("a probe", None, &[][..], DropReason::Padding),
        ("half a number", None, &[1], DropReason::RtxRefused),
        ("of another payload type", Some(media_type), &[0, 0, 1], DropReason::RtxRefused),
        ("of what nobody negotiated", Some(PayloadType(45)), &[0, 0, 1], DropReason::RtxRefused),
        ("what came already", None, &[0, 0, 1], DropReason::Duplicate),
        ("what cannot have been sent", None, &[0x20, 0, 1], DropReason::RtxRefused),
    ] {
        let before = net.worker.stats().drops(reason);
        net.with(ana, |ana| ana.send_rtx(PICTURES, payload_type, payload));
        net.run(ms(20));
        assert_eq!(net.worker.stats().drops(reason) - before, 1, "{name}");
    }
    assert_sees(&net, bo, ana, net.now - ms(500));
    assert_no_faults(&net);
}
