//! Streams of one connection, each carried in its own way: as the room, its publisher or its viewer has it.

use std::sync::Arc;
use std::time::Duration;

use cc::Estimator;
use cc::estimator::fixed::Fixed;
use proto::scene::{Priority, Scene};
use proto::signal::{ClientMessage, ErrorCode, RepairScheme, ServerMessage, Source, Strategy, Tile};
use proto::time::Instant;
use proto::units::Bitrate;
use sfu::transport::connection::queue::Step;
use sfu::transport::downlink::{DownlinkSettings, EstimatorChoice};

use super::downlink::{Scripted, paced};
use super::net::Net;
use super::offer::Tells;
use super::peer::{Camera, Plan};
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

fn of(scene: Scene) -> Strategy {
    Strategy { scene: Some(scene), ..Strategy::default() }
}

/// Shows the cameras of some, each carried in a way of its own.
fn show(net: &mut Net, viewer: usize, shown: &[(usize, &Strategy)]) {
    let tiles = shown.iter().map(|(publisher, strategy)| Tile {
        track: net.peers[*publisher].track(Source::Camera).unwrap(),
        width: 1280,
        height: 720,
        strategy: (*strategy).clone(),
    });
    let tiles = tiles.collect();
    net.with(viewer, |viewer| viewer.lay_out_tiles(tiles));
}

/// Ana and cy send, bo watches.
fn room(number: u64, settings: DownlinkSettings, camera: Camera) -> (Net, [usize; 3]) {
    let mut net = Net::with_downlink(number, settings);
    let ana = net.join("show", "ana", Plan { camera, ..Plan::TALKER });
    let cy = net.join("show", "cy", Plan { camera, ..Plan::TALKER });
    let bo = net.join("show", "bo", Plan { tells: Tells::ArrivalsAndRepair, ..Plan::VIEWER });
    net.run(secs(1));
    (net, [ana, cy, bo])
}

fn generous() -> DownlinkSettings {
    let make = |_: &_| Box::new(Fixed::new(Bitrate::mbps(20))) as Box<dyn Estimator>;
    DownlinkSettings { estimator: EstimatorChoice::Custom(Arc::new(make)), ..DownlinkSettings::default() }
}

/// Repair packets for each packet of a picture, in so long from now on.
fn redundancy(net: &mut Net, bo: usize, publishers: [usize; 2], time: Duration) -> [f64; 2] {
    let repairs = |net: &Net| publishers.map(|other| slot(net, bo, other, Source::Camera).repairs);
    let (before, from) = (repairs(net), net.now);
    net.run(time);
    let after = repairs(net);
    [0, 1].map(|at| {
        let seen = slot(net, bo, publishers[at], Source::Camera).since(from);
        (after[at] - before[at]) as f64 / seen.filter(|seen| !seen.by_rtx && !seen.by_repair).count() as f64
    })
}

#[test]
fn two_streams_of_one_connection_keep_their_own_repair_and_take_another_at_once() {
    let (mut net, [ana, cy, bo]) = room(300, generous(), Camera::Simulcast);
    net.links[bo].delay = ms(100);
    show(&mut net, bo, &[(ana, &of(Scene::Game)), (cy, &of(Scene::Watch))]);
    net.run(secs(5));
    net.links[bo].down_loss = 50;
    net.run(secs(5));
    // A retransmission comes after 200 ms and more: in time for who watches, and not for who plays.
    let [game, watch] = redundancy(&mut net, bo, [ana, cy], secs(10));
    assert!(game > 0.2 && watch < 0.15, "game {game}, watch {watch}");
    let told = net.peers[bo].notices.len();
    let shown = |net: &Net| [ana, cy].map(|other| slot(net, bo, other, Source::Camera).shown.len());
    let plis = |net: &Net| [ana, cy].map(|other| slot(net, bo, other, Source::Camera).plis);
    let asked = net.worker.stats().key_frame_requests;
    let (before, stood) = (shown(&net), plis(&net));
    show(&mut net, bo, &[(ana, &of(Scene::Watch)), (cy, &of(Scene::Game))]);
    net.run(secs(1));
    assert_eq!((plis(&net), net.worker.stats().key_frame_requests), (stood, asked), "no picture was lost");
    let [watch, game] = redundancy(&mut net, bo, [ana, cy], secs(10));
    assert!(game > 0.2 && watch < 0.15, "the other way round: game {game}, watch {watch}");
    let notices = &net.peers[bo].notices[told..];
    assert!(notices.iter().all(|(_, notice)| !matches!(notice.message, ServerMessage::Answer { .. })));
    net.links[bo].down_loss = 0;
    net.run(secs(2));
    let moved = [0, 1].map(|at| shown(&net)[at] - before[at]);
    assert!(moved.iter().all(|frames| *frames >= 315), "{moved:?} of 325 frames");
    for other in [ana, cy] {
        assert_sees(&net, bo, other, net.now - secs(1));
    }
    assert_no_faults(&net);
}

#[test]
fn a_publisher_says_what_its_track_is_for_and_viewers_may_say_otherwise() {
    let (mut net, [ana, cy, bo]) = room(301, generous(), Camera::Simulcast);
    net.links[bo].delay = ms(100);
    net.links[bo].down_loss = 50;
    let plain = Strategy::default();
    show(&mut net, bo, &[(ana, &plain), (cy, &of(Scene::Watch))]);
    for publisher in [ana, cy] {
        let track = net.peers[publisher].track(Source::Camera).unwrap();
        net.with(publisher, |own| own.request(ClientMessage::Carry { track, strategy: of(Scene::Game) }));
    }
    net.run(secs(8));
    let [game, watch] = redundancy(&mut net, bo, [ana, cy], secs(10));
    assert!(game > 0.2 && watch < 0.15, "as its publisher has it {game}, as its viewer has it {watch}");
    // What is not allowed is not done, whatever the scene asks for.
    let asks = Strategy { repair: Some(vec![RepairScheme::Retransmission]), ..of(Scene::Game) };
    show(&mut net, bo, &[(ana, &asks), (cy, &of(Scene::Watch))]);
    net.run(ms(200));
    let again = |net: &Net, from: Instant| {
        slot(net, bo, ana, Source::Camera).since(from).filter(|seen| seen.by_rtx).count()
    };
    let from = net.now;
    assert!(redundancy(&mut net, bo, [ana, cy], secs(5))[0] < 0.01, "nothing before it is asked for");
    assert!(again(&net, from) > 5, "{}", again(&net, from));
    let nothing = Strategy { repair: Some(Vec::new()), ..of(Scene::Game) };
    show(&mut net, bo, &[(ana, &nothing), (cy, &of(Scene::Watch))]);
    net.run(ms(500));
    let from = net.now;
    assert!(redundancy(&mut net, bo, [ana, cy], secs(5))[0] < 0.01);
    assert_eq!(again(&net, from), 0, "nor when it is");
    net.links[bo].down_loss = 0;
    net.run(secs(3));
    assert_no_faults(&net);
}

#[test]
fn a_strategy_that_cannot_be_is_refused_and_changes_nothing() {
    let (mut net, [ana, _, bo]) = room(302, generous(), Camera::Simulcast);
    let soon = Strategy { deadline_ms: Some(5), ..of(Scene::Game) };
    show(&mut net, bo, &[(ana, &soon)]);
    let (own, others) = {
        let track = |peer: usize| net.peers[peer].track(Source::Camera).unwrap();
        (track(ana), track(1))
    };
    net.with(ana, |ana| ana.request(ClientMessage::Carry { track: own, strategy: soon.clone() }));
    net.with(ana, |ana| ana.request(ClientMessage::Carry { track: others, strategy: of(Scene::Game) }));
    net.run(secs(1));
    let reason = "a strategy's deadline_ms must be 20 to 2000, this one is 5".to_owned();
    assert_eq!(net.peers[bo].knows.errors, [(ErrorCode::BadMessage, reason.clone())]);
    let errors = &net.peers[ana].knows.errors;
    assert_eq!(errors[0], (ErrorCode::BadMessage, reason));
    assert_eq!((errors.len(), errors[1].0), (2, ErrorCode::UnknownTrack), "{errors:?}");
    assert!(net.peers[bo].tiles.is_some());
    net.run(secs(1));
    assert_sees(&net, bo, 1, net.now - secs(1));
    assert_no_faults(&net);
}

/// How long pictures took that were received from `from` on, from camera to viewer, and how many there were.
fn ages(net: &Net, bo: usize, other: usize, from: Instant) -> (Duration, usize) {
    let seen = slot(net, bo, other, Source::Camera).since(from).filter(|seen| !seen.by_rtx);
    let ages: Vec<Duration> = seen.map(|seen| seen.at.since(seen.stamp.captured)).collect();
    (ages.iter().copied().max().unwrap_or_default(), ages.len())
}

#[test]
fn where_not_everything_fits_each_stream_waits_as_long_as_it_may_and_the_higher_priority_goes_first() {
    let estimator = Scripted::new(Bitrate::mbps(20));
    let own = estimator.clone();
    let make = move |_: &_| Box::new(own.clone()) as Box<dyn Estimator>;
    let settings = DownlinkSettings {
        estimator: EstimatorChoice::Custom(Arc::new(make)),
        ..DownlinkSettings::default()
    };
    let (mut net, [ana, cy, bo]) = room(303, settings, Camera::Single);
    for other in [ana, cy] {
        net.with(other, |other| other.sender.tracks.get_mut(&1).unwrap().more = 1_000);
    }
    show(&mut net, bo, &[(ana, &of(Scene::Game)), (cy, &of(Scene::Watch))]);
    net.run(secs(3));
    // Each takes about 730 kbit/s: both do not fit, and the allocation knows of no smaller layer.
    let rate = Bitrate::kbps(1_150);
    estimator.with(|script| script.target = cc::Target { pacing: rate, ..paced(Bitrate::mbps(20)) });
    let from = net.now;
    net.run(secs(6));
    let ((game, games), (watch, watched)) = (ages(&net, bo, ana, from), ages(&net, bo, cy, from));
    assert!(game <= ms(40 + 80 + 60), "a game's picture is {game:?} old");
    // Of a lane that others pass an estimate may be short; at twice the limit what waits is given up.
    assert!(watch >= ms(400) && watch <= ms(40 + 800 * 2), "one of those watched is {watch:?} old");
    assert!(games > 440, "{games} of 450 packets");
    assert!(watched > 40 && watched < games, "{watched} packets of the other move all the same");
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0);
    assert_eq!(hears(&net, bo, cy, from), 300);
    let dropped = net.worker.stats().queue_dropped;
    assert!(dropped.of_step(Step::Tail) > 0, "{dropped:?}");
    // And the other way round, from now on.
    let first = Strategy { priority: Some(Priority::High), ..of(Scene::Watch) };
    let last = Strategy { priority: Some(Priority::Low), ..of(Scene::Game) };
    show(&mut net, bo, &[(ana, &last), (cy, &first)]);
    net.run(secs(2));
    let from = net.now;
    net.run(secs(4));
    let ((game, games), (_, watched)) = (ages(&net, bo, ana, from), ages(&net, bo, cy, from));
    // Twice the limit, and what its key frames are excused: those dropped are followed by one.
    assert!(game <= ms(40 + 80 * 2 + 600), "a game's picture is {game:?} old, though it goes last");
    assert!(watched > 290 && games < watched, "{watched} and {games} packets");
    assert_no_faults(&net);
}

#[test]
fn after_an_outage_of_three_seconds_delay_is_as_before_within_one() {
    for (scene, usual) in [(Scene::Game, 110), (Scene::Pk, 110), (Scene::Watch, 110)] {
        let settings = DownlinkSettings { scene, ..DownlinkSettings::default() };
        let mut net = Net::with_downlink(304, settings);
        let ana = net.join("show", "ana", Plan { camera: Camera::Single, ..Plan::TALKER });
        let bo = net.join("show", "bo", Plan::VIEWER);
        net.run(secs(1));
        net.with(ana, |ana| ana.sender.tracks.get_mut(&1).unwrap().more = 1_000);
        net.links[bo].narrow = Some((Bitrate::kbps(1_500), ms(150)));
        show(&mut net, bo, &[(ana, &Strategy::default())]);
        net.run(secs(20));
        assert_sees(&net, bo, ana, net.now - secs(2));
        let (before, _) = ages(&net, bo, ana, net.now - secs(2));
        assert!(before <= ms(usual), "{scene}: {before:?} before");
        let (began, ended) = (net.now, net.now + secs(3));
        net.links[bo].down = Some(Box::new(move |now, _| now < began || now >= ended));
        let asked = |net: &Net| net.peers[ana].sender.plis(1).iter().filter(|at| **at >= began).count();
        net.run(secs(3));
        assert!(
            net.run_until(secs(1), |net| {
                slot(net, bo, ana, Source::Camera)
                    .shown_since(ended)
                    .any(|shown| shown.stamp.captured >= ended)
            }),
            "{scene}: the picture is not back"
        );
        let requests = asked(&net);
        assert!(requests <= 1, "{scene}: {requests} key frames were asked for");
        net.run((ended + secs(1)).since(net.now));
        let from = net.now;
        net.run(secs(5));
        let (after, _) = ages(&net, bo, ana, from);
        assert!(after <= ms(usual + 30), "{scene}: {after:?} a second after, {before:?} before");
        assert_sees(&net, bo, ana, from);
        assert!(asked(&net) <= 1, "{scene}: {} key frames were asked for", asked(&net));
        // Sound: what the outage took, and nothing else; each packet as soon as ever.
        let slot = slot(&net, bo, ana, Source::Microphone);
        let heard = |from: Instant, to: Instant| {
            let own = slot.seen.iter().filter(|seen| (from..to).contains(&seen.stamp.captured));
            own.count() as u128
        };
        let one_way = ms(20);
        let wanted = |from: Instant, to: Instant| to.since(from).as_millis() / 20;
        let (gone, back) = (began - one_way, ended - one_way);
        assert!(heard(gone - secs(2), gone).abs_diff(wanted(gone - secs(2), gone)) <= 1, "{scene}");
        assert!(heard(gone, back) <= 1, "{scene}: {}", heard(gone, back));
        assert!(heard(back, back + secs(4)).abs_diff(wanted(back, back + secs(4))) <= 1, "{scene}");
        let late = slot.since(ended).map(|seen| seen.at.since(seen.stamp.captured)).max().unwrap();
        assert!(late <= ms(40 + 150), "{scene}: sound waits at the narrow place alone, not {late:?}");
        assert_no_faults(&net);
    }
}
