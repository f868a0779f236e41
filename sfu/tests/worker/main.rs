//! The whole worker in virtual time, with synthetic clients that speak everything for real: signaling, ICE, DTLS, SRTP,
//! RTP and RTCP. One claim a test.
#![expect(
    clippy::unwrap_used,
    reason = "the whole crate is tests; clippy sees only #[test] functions as such"
)]

mod allocations;
mod demands;
mod downlink;
mod forward_repair;
mod gop;
mod hostility;
mod joining;
mod layers;
mod memory;
mod net;
mod offer;
mod peer;
mod random;
mod receiver;
mod repair;
mod repairer;
mod sender;
mod sessions;
mod slots;
mod sound;
mod spans;
mod stamp;
mod stats;
mod strategies;
mod tcp;
mod transport;
mod uplink_repair;

use std::time::Duration;

use net::Net;
use proto::signal::Source;
use proto::time::Instant;
use receiver::Slot;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The slot in which `one` has what `other` publishes from `source`.
fn slot(net: &Net, one: usize, other: usize, source: Source) -> &Slot {
    let track = net.peers[other].track(source).expect("published");
    net.peers[one].slot_of(&track).unwrap_or_else(|| panic!("{one} has no slot with {source:?} of {other}")).1
}

/// How many packets of sound `one` has had from `other`.
fn hears(net: &Net, one: usize, other: usize, from: Instant) -> usize {
    let slot = slot(net, one, other, Source::Microphone);
    slot.since(from).filter(|seen| usize::from(seen.stamp.publisher) == other).count()
}

/// `other`'s picture has moved for `one` all the time: 25 frames a second, none of anybody else.
fn assert_sees(net: &Net, one: usize, other: usize, from: Instant) {
    let slot = slot(net, one, other, Source::Camera);
    let frames = slot.shown_since(from).count() as u128;
    let wanted = net.now.since(from).as_millis() / 40;
    assert!(frames.abs_diff(wanted) <= 1, "{one} saw {frames} frames of {other}, not {wanted}");
    assert!(slot.shown_since(from).all(|shown| usize::from(shown.stamp.publisher) == other));
}

/// Nobody got anything that a decoder could not stand.
fn assert_no_faults(net: &Net) {
    let faults: Vec<String> = net.peers.iter().flat_map(peer::Peer::faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
