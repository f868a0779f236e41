//! Which layer of a picture a viewer gets, and how it changes.

use std::time::Duration;

use proto::seed::Seed;
use proto::signal::Source;
use proto::time::Instant;

use super::net::Net;
use super::peer::{Camera, Plan};
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

fn lay_out(net: &mut Net, viewer: usize, shown: usize, size: (u32, u32)) {
    let track = net.peers[shown].track(Source::Camera).unwrap();
    net.with(viewer, |viewer| viewer.lay_out(&[(track, size.0, size.1)]));
}

fn layers_since(net: &Net, viewer: usize, shown: usize, from: Instant) -> Vec<u8> {
    let mut layers: Vec<u8> =
        slot(net, viewer, shown, Source::Camera).since(from).map(|seen| seen.stamp.layer).collect();
    layers.dedup();
    layers
}

#[test]
fn a_small_tile_gets_the_small_layer_and_a_large_one_the_large_without_a_gap() {
    let mut net = Net::new(20);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    for (size, wanted, rid) in [
        ((160, 90), 2, "l"),
        ((1920, 1080), 0, "h"),
        ((320, 180), 2, "l"),
        ((640, 360), 1, "m"),
        ((1280, 720), 0, "h"),
    ] {
        let before = layers_since(&net, bo, ana, net.now - ms(100));
        let from = net.now;
        lay_out(&mut net, bo, ana, size);
        net.run(secs(2));
        assert_eq!(layers_since(&net, bo, ana, from), [before[0], wanted], "one switch for {size:?}");
        assert_eq!(layers_since(&net, bo, ana, from + ms(300)), [wanted], "{size:?} came soon");
        assert_eq!(net.peers[bo].knows.layers.last().unwrap().2.as_deref(), Some(rid));
        assert_sees(&net, bo, ana, from);
    }
    let seqs: Vec<u64> = slot(&net, bo, ana, Source::Camera).seen.iter().map(|seen| seen.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "the outgoing numbers have no hole");
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0, "and no decoder ever stood still");
    assert_no_faults(&net);
}

/// By the server's reports, how long after `captured` each packet of a slot seems to have been captured, in nanoseconds.
fn skews(net: &Net, viewer: usize, shown: usize, source: Source, from: Instant) -> Vec<i64> {
    let slot = slot(net, viewer, shown, source);
    let skew = |seen: &super::receiver::Seen| Some(seen.heard_of? - seen.stamp.captured.as_nanos() as i64);
    slot.since(from).filter_map(skew).collect()
}

/// Switches layers back and forth, the large one arriving `late`, and tells how far sound and picture are apart at most;
/// what comes sooner than `settled` after a switch is not looked at.
fn lips(seed: u64, jitter: Duration, late: Duration, settled: Duration) -> Duration {
    let mut net = Net::new(seed);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.links[ana].jitter = jitter;
    net.run(secs(1));
    let large = net.with(ana, |ana| ana.sender.stream_mut(1, 0).ssrc);
    net.links[ana].slow = Some((large, late));
    net.run(secs(2));
    let mut all = Vec::new();
    for size in [(160, 90), (1920, 1080), (640, 360), (160, 90), (1280, 720), (640, 360)] {
        let (from, before) = (net.now, net.peers[bo].knows.layers.len());
        lay_out(&mut net, bo, ana, size);
        net.run(secs(2));
        let switched = net.peers[bo].knows.layers[before..].iter().map(|(at, ..)| *at).next_back();
        let from = if settled.is_zero() { from } else { switched.unwrap() + settled };
        let sound = skews(&net, bo, ana, Source::Microphone, from);
        let picture = skews(&net, bo, ana, Source::Camera, from);
        assert!(sound.len() > 70 && picture.len() > 35, "{} and {}", sound.len(), picture.len());
        all.extend(sound.into_iter().chain(picture));
    }
    assert_no_faults(&net);
    Duration::from_nanos((all.iter().max().unwrap() - all.iter().min().unwrap()) as u64)
}

#[test]
fn lips_and_voice_stay_together_across_switches() {
    for (seed, jitter) in [(21, 0), (22, 6)] {
        let apart = lips(seed, ms(jitter), ms(0), ms(0));
        assert!(apart <= ms(10), "seed {seed}: {apart:?}");
    }
}

#[test]
fn lips_and_voice_are_together_again_300_ms_after_a_switch_to_a_layer_that_comes_late() {
    // Until then the picture's time must not go back, and the report that says so is on its way.
    let apart = lips(30, ms(0), ms(80), ms(300));
    assert!(apart <= ms(10), "{apart:?}");
}

#[test]
fn a_hidden_tile_stops_the_picture_and_the_sound_goes_on() {
    let mut net = Net::new(23);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    let (_, picture) = net.peers[bo].slot_of(&net.peers[ana].track(Source::Camera).unwrap()).unwrap();
    let ssrc = picture.ssrc;
    let packets = |net: &Net, from| {
        let slots = net.peers[bo].receiver.slots.values();
        slots.filter(|slot| slot.ssrc == ssrc).flat_map(|slot| slot.since(from)).count()
    };
    for hidden in [(0, 0), (640, 0)] {
        lay_out(&mut net, bo, ana, hidden);
        net.run(ms(100));
        let from = net.now;
        net.run(secs(2));
        assert_eq!(packets(&net, from), 0);
        assert_eq!(hears(&net, bo, ana, from), 100);
        lay_out(&mut net, bo, ana, (640, 360));
        let from = net.now;
        assert!(net.run_until(secs(2), |net| packets(net, from) > 0), "it comes back");
        assert!(net.now.since(from) <= ms(300), "soon: {:?}", net.now.since(from));
        net.run(secs(1));
        assert_sees(&net, bo, ana, net.now - ms(500));
    }
    // A layout without the track at all.
    net.with(bo, |bo| bo.lay_out(&[]));
    net.run(ms(100));
    let from = net.now;
    net.run(secs(2));
    assert_eq!(packets(&net, from), 0);
    assert_eq!(hears(&net, bo, ana, from), 100);
    assert_no_faults(&net);
}

#[test]
fn a_stopped_top_layer_falls_back_without_a_still_of_more_than_a_second() {
    for seed in 24..28 {
        let mut net = Net::new(seed);
        let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
        net.run(secs(2));
        lay_out(&mut net, bo, ana, (1280, 720));
        let mut chance = Seed::from_number(seed).generator();
        net.run(secs(2) + ms(u64::from(chance.number() % 500)));
        assert_eq!(slot(&net, bo, ana, Source::Camera).layer(), Some(0));
        let from = net.now;
        net.with(ana, |ana| ana.sender.stream_mut(1, 0).active = false);
        net.run(secs(4));
        let still = slot(&net, bo, ana, Source::Camera).longest_still(from, net.now);
        assert!(still <= secs(1), "seed {seed}: still for {still:?}");
        assert_eq!(slot(&net, bo, ana, Source::Camera).layer(), Some(1), "the next best");
        net.with(ana, |ana| ana.sender.stream_mut(1, 0).active = true);
        let from = net.now;
        net.run(secs(4));
        assert_eq!(slot(&net, bo, ana, Source::Camera).layer(), Some(0), "and back when it returns");
        let still = slot(&net, bo, ana, Source::Camera).longest_still(from, net.now);
        assert!(still <= ms(200), "seed {seed}: still for {still:?} on the way back");
        assert_no_faults(&net);
    }
}

#[test]
fn a_top_layer_that_was_only_tolerated_before_it_stopped_falls_back_too() {
    let mut net = Net::new(31);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(2));
    lay_out(&mut net, bo, ana, (1280, 720));
    net.run(secs(2));
    // One picture in three: too rare for a newcomer, not rare enough to be left.
    for _ in 0..25 {
        net.with(ana, |ana| ana.sender.stream_mut(1, 0).active = true);
        net.run(ms(40));
        net.with(ana, |ana| ana.sender.stream_mut(1, 0).active = false);
        net.run(ms(80));
    }
    assert_eq!(slot(&net, bo, ana, Source::Camera).layer(), Some(0), "still tolerated");
    let from = net.now;
    net.run(secs(3));
    let still = slot(&net, bo, ana, Source::Camera).longest_still(from, net.now);
    assert!(still <= secs(1) + ms(200), "still for {still:?}");
    assert_eq!(slot(&net, bo, ana, Source::Camera).layer(), Some(1), "the next best");
}

#[test]
fn a_single_stream_is_seen_at_any_size() {
    let mut net = Net::new(28);
    let ana = net.join("show", "ana", Plan { camera: Camera::Single, ..Plan::TALKER });
    let bo = net.join("show", "bo", Plan::VIEWER);
    net.run(secs(2));
    for size in [(160, 90), (1920, 1080)] {
        lay_out(&mut net, bo, ana, size);
        net.run(secs(1));
        assert_sees(&net, bo, ana, net.now - secs(1));
    }
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0);
    assert_no_faults(&net);
}

#[test]
fn a_publisher_that_begins_its_streams_anew_is_followed() {
    let mut net = Net::new(29);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::VIEWER));
    net.run(secs(3));
    for _ in 0..3 {
        let from = net.now;
        // As a browser does after it replaced an encoder: other SSRCs in the same section, with the same rids.
        net.with(ana, |ana| {
            ana.sender.tracks.remove(&1);
            let sections = ana.sections.clone();
            ana.sender.set_sections(from, &sections);
        });
        net.run(secs(3));
        let still = slot(&net, bo, ana, Source::Camera).longest_still(from, net.now);
        assert!(still <= secs(1), "still for {still:?}");
        assert_sees(&net, bo, ana, net.now - secs(1));
        assert_eq!(slot(&net, bo, ana, Source::Camera).layer(), Some(1));
    }
    assert_no_faults(&net);
}
