//! Repair before anybody asks: for those that lose packets, by as much as the scene's deadline takes, and for no others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cc::Estimator;
use cc::estimator::fixed::Fixed;
use proto::scene::Scene;
use proto::signal::Source;
use proto::units::Bitrate;
use sfu::transport::downlink::{DownlinkSettings, EstimatorChoice};

use super::net::Net;
use super::offer::Tells;
use super::peer::Plan;
use super::{assert_no_faults, assert_sees, ms, secs, slot};

/// A room of such a scene, with a viewer that takes repair packets, and so long a way between.
fn room(number: u64, scene: Scene, one_way: Duration) -> (Net, usize, usize) {
    let make = |_: &_| Box::new(Fixed::new(Bitrate::mbps(20))) as Box<dyn Estimator>;
    let estimator = EstimatorChoice::Custom(Arc::new(make));
    let settings = DownlinkSettings { estimator, scene, ..DownlinkSettings::default() };
    let mut net = Net::with_downlink(number, settings);
    let ana = net.join("show", "ana", Plan::TALKER);
    let bo = net.join("show", "bo", Plan { tells: Tells::ArrivalsAndRepair, ..Plan::VIEWER });
    net.links[bo].delay = one_way;
    net.run(secs(6));
    (net, ana, bo)
}

#[test]
fn a_viewer_that_loses_nothing_gets_no_repair_packets() {
    let (mut net, ana, bo) = room(80, Scene::Game, ms(100));
    net.run(secs(10));
    let slot = slot(&net, bo, ana, Source::Camera);
    assert_eq!(slot.repairs, 0);
    assert_eq!(net.worker.stats().parities, 0);
    assert_no_faults(&net);
}

#[test]
fn where_asking_takes_too_long_repair_packets_restore_most_of_what_is_lost() {
    for (scene, least) in [(Scene::Game, 0.5), (Scene::Watch, 0.0)] {
        let (mut net, ana, bo) = room(81, scene, ms(100));
        net.links[bo].down_loss = 50;
        net.run(secs(5));
        let from = net.now;
        let before = slot(&net, bo, ana, Source::Camera).repairs;
        net.run(secs(10));
        let seen = slot(&net, bo, ana, Source::Camera);
        let media = seen.since(from).filter(|seen| !seen.by_rtx && !seen.by_repair).count();
        let restored = seen.since(from).filter(|seen| seen.by_repair).count();
        let lost = media as f64 * 0.05;
        let share = (seen.repairs - before) as f64 / media as f64;
        assert!(restored as f64 >= least * lost, "{scene}: {restored} restored of about {lost}");
        assert!(share <= 0.55, "{scene}: {share} of the media");
        assert_eq!(share > 0.2, scene == Scene::Game, "{scene}: {share} of the media");
        net.links[bo].down_loss = 0;
        net.run(secs(2));
        assert_sees(&net, bo, ana, net.now - secs(1));
        assert_no_faults(&net);
    }
}

#[test]
fn what_repair_packets_restore_is_seldom_sent_as_well() {
    let (mut net, ana, bo) = room(82, Scene::Game, ms(100));
    net.links[bo].down_loss = 30;
    net.run(secs(200));
    let slot = slot(&net, bo, ana, Source::Camera);
    // How each packet that was lost came first, and whether it came the other way as well.
    let (mut restored, mut lost, mut twice) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut known = BTreeSet::new();
    for seen in &slot.seen {
        let is_first = known.insert(seen.seq);
        if is_first && (seen.by_repair || seen.by_rtx) {
            lost.insert(seen.seq);
        }
        if is_first && seen.by_repair {
            restored.insert(seen.seq);
        }
        if seen.by_rtx && restored.contains(&seen.seq) {
            twice.insert(seen.seq);
        }
    }
    assert!(restored.len() * 2 > lost.len(), "{} of {} restored", restored.len(), lost.len());
    assert!(twice.len() * 20 <= lost.len(), "{} of {} were sent again as well", twice.len(), lost.len());
    assert!(net.worker.stats().answers_spared > 0);
    assert_no_faults(&net);
}
