//! Lost sound: RED towards who loses some, and from who sends it.

use std::collections::BTreeSet;

use proto::signal::Source;
use sfu::worker::DropReason;

use super::net::Net;
use super::offer::{Sound, Tells};
use super::peer::Plan;
use super::receiver::Seen;
use super::{assert_no_faults, hears, secs, slot};

const TAKES_RED: Plan = Plan { sound: Sound::TakesRed, ..Plan::VIEWER };

/// The share of `other`'s packets of sound that `one` never had, of those sent from `from` on; none was there twice.
fn missing(net: &Net, one: usize, other: usize, from: proto::time::Instant) -> f64 {
    let seen: Vec<&Seen> = slot(net, one, other, Source::Microphone).since(from).collect();
    let frames: BTreeSet<u32> = seen.iter().map(|seen| seen.stamp.frame).collect();
    assert_eq!(frames.len(), seen.len(), "a packet came twice");
    let numbers: BTreeSet<(u64, u32)> = seen.iter().map(|seen| (seen.seq, seen.timestamp)).collect();
    let is_even = |pair: (&(u64, u32), &(u64, u32))| {
        pair.1.1.wrapping_sub(pair.0.1) as u64 == (pair.1.0 - pair.0.0) * 960
    };
    assert!(numbers.iter().zip(numbers.iter().skip(1)).all(is_even), "numbers and timestamps go together");
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return 1.0 };
    1.0 - frames.len() as f64 / f64::from(last - first + 1)
}

#[test]
fn sound_is_repeated_towards_who_loses_it_as_long_as_it_does_and_towards_nobody_else() {
    let mut net = Net::generous(60);
    let ana = net.join("show", "ana", Plan::TALKER);
    let red = net.join("show", "red", TAKES_RED);
    let plain = net.join("show", "plain", Plan::VIEWER);
    let mute = net.join("show", "mute", Plan { tells: Tells::Nothing, ..TAKES_RED });
    let whole = net.join("show", "whole", TAKES_RED);
    net.run(secs(5));
    assert_eq!(net.worker.stats().repeated_audio.packets, 0, "nothing is lost");
    for lossy in [red, plain, mute] {
        net.links[lossy].down_loss = 100;
    }
    net.run(secs(5));
    let from = net.now;
    net.run(secs(20));
    for (name, one, share) in [
        ("RED", red, 0.0..0.01),
        ("no RED", plain, 0.06..0.14),
        ("no word of losses", mute, 0.06..0.14),
        ("no losses", whole, 0.0..1e-9),
    ] {
        let missing = missing(&net, one, ana, from);
        assert!(share.contains(&missing), "{name}: {missing} is missing");
        assert_eq!(net.peers[one].receiver.reds > 500, name == "RED", "{name}");
        assert!(name == "RED" || net.peers[one].receiver.reds == 0, "{name}");
    }
    let sent = net.worker.stats().repeated_audio;
    assert!(sent.bytes > sent.packets * 2 * 80, "two predecessors each: {sent:?}");

    net.links[red].down_loss = 0;
    net.run(secs(40));
    let reds = net.peers[red].receiver.reds;
    let from = net.now;
    net.run(secs(5));
    assert_eq!(net.peers[red].receiver.reds, reds, "nothing is lost any more");
    assert!(missing(&net, red, ana, from) <= 0.0);
    assert_no_faults(&net);
}

#[test]
fn a_publishers_red_becomes_plain_opus_and_what_its_uplink_lost_is_there() {
    let mut net = Net::generous(61);
    let ana = net.join("show", "ana", Plan { sound: Sound::SendsRed, ..Plan::TALKER });
    let bo = net.join("show", "bo", Plan::VIEWER);
    net.run(secs(3));
    assert!(hears(&net, bo, ana, net.now - secs(1)) >= 49);
    assert_eq!(net.worker.stats().fec_recovered, 0);
    net.links[ana].up_loss = 100;
    let from = net.now;
    net.run(secs(20));
    let missing = missing(&net, bo, ana, from);
    assert!(missing < 0.01, "{missing} of 0.1 is missing");
    assert!(net.worker.stats().fec_recovered > 60, "about a hundred were lost");
    assert_eq!(net.peers[bo].receiver.reds, 0);
    assert_eq!(net.worker.stats().drops(DropReason::MalformedRedundancy), 0);
    assert_no_faults(&net);
}

#[test]
fn red_goes_through_from_who_sends_it_to_who_loses_it_made_anew() {
    let mut net = Net::generous(62);
    let ana = net.join("show", "ana", Plan { sound: Sound::SendsRed, ..Plan::TALKER });
    let bo = net.join("show", "bo", TAKES_RED);
    net.run(secs(3));
    assert_eq!(net.peers[bo].receiver.reds, 0, "bo loses nothing");
    (net.links[ana].up_loss, net.links[bo].down_loss) = (100, 100);
    net.run(secs(5));
    let from = net.now;
    net.run(secs(20));
    let missing = missing(&net, bo, ana, from);
    assert!(missing < 0.02, "{missing} of 0.19 is missing");
    assert!(net.peers[bo].receiver.reds > 500);
    assert_no_faults(&net);
}
