//! Tracks and slots: too many of the former, pages of them, tracks that go and come.

use proto::ids::TrackId;
use proto::signal::{Kind, Source};

use super::net::Net;
use super::offer::Use;
use super::peer::Plan;
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

fn publishers(net: &mut Net, count: usize) -> Vec<usize> {
    let plan = Plan { slots: 0, ..Plan::TALKER };
    (0..count).map(|number| net.join("show", &format!("talker {number}"), plan)).collect()
}

fn camera(net: &Net, peer: usize) -> TrackId {
    net.peers[peer].track(Source::Camera).unwrap()
}

#[test]
fn more_tracks_than_slots_are_told_and_a_new_offer_gets_them() {
    let mut net = Net::new(80);
    let talkers = publishers(&mut net, 4);
    net.run(secs(1));
    let viewer = net.join("show", "viewer", Plan { slots: 2, ..Plan::VIEWER });
    net.run(secs(2));
    assert!(
        net.peers[viewer].knows.slots_needed.iter().all(|(_, video)| *video <= 2),
        "pictures may be paged"
    );
    assert_eq!(net.peers[viewer].knows.slots.len(), 4);
    let tiles: Vec<_> = talkers.iter().map(|talker| (camera(&net, *talker), 640, 360)).collect();
    net.with(viewer, |viewer| viewer.lay_out(&tiles));
    net.run(secs(1));
    assert_eq!(net.peers[viewer].knows.slots_needed.last(), Some(&(4, 4)));
    let asked = net.peers[viewer].knows.slots_needed.len();
    let from = net.now;
    net.with(viewer, |viewer| {
        viewer.sections.extend([Use::Slot(Kind::Audio), Use::Slot(Kind::Audio)]);
        viewer.sections.extend([Use::Slot(Kind::Video), Use::Slot(Kind::Video)]);
        viewer.offer_again();
    });
    net.run(secs(2));
    assert_eq!(net.peers[viewer].knows.slots.len(), 8);
    for talker in talkers {
        assert_sees(&net, viewer, talker, net.now - secs(1));
        assert_eq!(hears(&net, viewer, talker, net.now - secs(1)), 50);
    }
    assert_eq!(net.peers[viewer].knows.slots_needed.len(), asked, "and is not asked again");
    for slot in net.peers[viewer].receiver.slots.values().take(4) {
        assert!(slot.longest_still(from, net.now) <= ms(1_000));
    }
    assert_no_faults(&net);
}

#[test]
fn a_layout_that_shows_two_others_pages_without_more_slots() {
    let mut net = Net::new(81);
    let talkers = publishers(&mut net, 4);
    net.run(secs(1));
    let viewer = net.prepare("show", "viewer", Plan { slots: 2, ..Plan::VIEWER });
    // Sound is never paged: it has slots enough.
    net.peers[viewer].sections.extend([Use::Slot(Kind::Audio), Use::Slot(Kind::Audio)]);
    net.enter(viewer);
    net.run(secs(2));
    let asked = net.peers[viewer].knows.slots_needed.len();
    for page in [[2, 3], [0, 1], [3, 0], [1, 2]] {
        let tiles: Vec<_> = page.map(|talker| (camera(&net, talkers[talker]), 320, 180)).into();
        net.with(viewer, |viewer| viewer.lay_out(&tiles));
        let from = net.now;
        net.run(secs(2));
        for talker in page {
            let first = slot(&net, viewer, talkers[talker], Source::Camera)
                .shown_since(from + ms(45))
                .next()
                .unwrap();
            assert!(
                first.at.since(from) <= ms(400),
                "page {page:?}: {talker} came after {:?}",
                first.at.since(from)
            );
            assert_sees(&net, viewer, talkers[talker], net.now - secs(1));
        }
        for talker in &talkers {
            assert_eq!(hears(&net, viewer, *talker, net.now - secs(1)), 50);
        }
    }
    assert_eq!(net.peers[viewer].knows.slots_needed.len(), asked, "no page needs more slots");
    assert_no_faults(&net);
}

#[test]
fn listed_but_hidden_tracks_do_not_keep_slots_from_seen_ones() {
    let mut net = Net::new(82);
    let talkers = publishers(&mut net, 4);
    net.run(secs(1));
    let viewer = net.join("show", "viewer", Plan { slots: 2, ..Plan::VIEWER });
    net.run(secs(2));
    for page in [[2, 3], [0, 1], [1, 2]] {
        let tiles: Vec<_> = (0..4)
            .map(|talker| {
                let (width, height) = if page.contains(&talker) { (320, 180) } else { (0, 0) };
                (camera(&net, talkers[talker]), width, height)
            })
            .collect();
        net.with(viewer, |viewer| viewer.lay_out(&tiles));
        net.run(secs(2));
        for talker in page {
            assert_sees(&net, viewer, talkers[talker], net.now - secs(1));
        }
    }
    assert_no_faults(&net);
}

#[test]
fn a_track_is_unpublished_and_published_anew_by_new_offers() {
    let mut net = Net::new(83);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(2));
    let first = camera(&net, ana);
    for round in 0..3 {
        net.with(ana, |ana| {
            ana.sections[1] = Use::Nothing(Kind::Video);
            ana.sender.set_sections(ana.notices.last().unwrap().0, &ana.sections.clone());
            ana.offer_again();
        });
        net.run(secs(1));
        let known =
            |net: &Net| net.peers[bo].knows.others.values().map(|other| other.tracks.len()).sum::<usize>();
        assert_eq!(known(&net), 1, "round {round}");
        assert_eq!(net.peers[bo].knows.slots.len(), 1);
        assert_eq!(hears(&net, bo, ana, net.now - secs(1)), 50);
        net.with(ana, |ana| {
            ana.sections[1] = Use::Simulcast(Source::Camera);
            ana.offer_again();
        });
        net.run(secs(2));
        assert_eq!(known(&net), 2, "round {round}");
        assert_sees(&net, bo, ana, net.now - secs(1));
        assert_eq!(hears(&net, bo, ana, net.now - secs(1)), 50);
    }
    assert_ne!(camera(&net, ana), first, "another stay, another name");
    assert_eq!(net.worker.stats().tracks, 4);
    assert_no_faults(&net);
}

#[test]
fn a_screen_is_shared_beside_the_camera() {
    let mut net = Net::new(84);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(2));
    let from = net.now;
    net.with(ana, |ana| {
        ana.sections.push(Use::Send(Source::Screen));
        ana.offer_again();
    });
    net.run(secs(2));
    let shown = slot(&net, bo, ana, Source::Screen).shown_since(net.now - secs(1)).count();
    assert!((24..=26).contains(&shown), "{shown}");
    assert_sees(&net, bo, ana, from);
    assert_no_faults(&net);
}
