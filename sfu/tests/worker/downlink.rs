//! What a subscriber's path carries: pacing, layers, padding, and what feedback may do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cc::{Demand, Estimator, PacketClass, PacketResult, SentPacket, Target};
use proto::rtcp::Rtcp;
use proto::rtcp::twcc::TransportFeedback;
use proto::rtp::SeqNo;
use proto::seed::{Chance, Seed};
use proto::signal::Source;
use proto::time::Instant;
use proto::units::Bitrate;
use sfu::worker::{DownlinkSettings, EstimatorChoice};

use super::net::Net;
use super::offer::Tells;
use super::peer::{Camera, Plan};
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

/// What a scripted estimator says and hears.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) target: Target,
    pub(crate) demand: Demand,
    sent: Vec<SentPacket>,
    arrived: usize,
    lost: usize,
}

/// An estimator that says what a test wants, on every downlink of a worker; but it wants no filling on one that carries
/// nothing else.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Arc<Mutex<Script>>,
    carries_media: bool,
}

impl Scripted {
    pub(crate) fn new(rate: Bitrate) -> Self {
        let target = paced(rate);
        let script = Script { target, demand: Demand::Elastic, sent: Vec::new(), arrived: 0, lost: 0 };
        Self { script: Arc::new(Mutex::new(script)), carries_media: false }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.script.lock().unwrap())
    }

    pub(crate) fn net(&self, seed: u64) -> Net {
        Net::with_downlink(seed, self.settings())
    }

    pub(crate) fn settings(&self) -> DownlinkSettings {
        let own = self.clone();
        let make = move |_: &Seed| Box::new(own.clone()) as Box<dyn Estimator>;
        let estimator = EstimatorChoice::Custom(Arc::new(make));
        DownlinkSettings { estimator, ..DownlinkSettings::default() }
    }
}

impl Estimator for Scripted {
    fn handle_sent(&mut self, _now: Instant, packet: &SentPacket) {
        self.carries_media |= packet.class != PacketClass::Padding;
        self.with(|script| script.sent.push(*packet));
    }

    fn handle_feedback(&mut self, _now: Instant, results: &[PacketResult]) {
        let arrived = results.iter().filter(|result| result.received.is_some()).count();
        self.with(|script| {
            script.arrived += arrived;
            script.lost += results.len() - arrived;
        });
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn set_demand(&mut self, _now: Instant, demand: Demand) {
        self.with(|script| script.demand = demand);
    }

    fn target(&self) -> Target {
        let target = self.with(|script| script.target);
        if self.carries_media { target } else { Target { padding: Bitrate::ZERO, ..target } }
    }

    fn state(&self) -> &'static str {
        "scripted"
    }
}

pub(crate) fn paced(rate: Bitrate) -> Target {
    let (burst, padding) = (Duration::ZERO, Bitrate::ZERO);
    Target { rate, pacing: rate.scaled(1.2), burst, window: None, padding }
}

/// Ana sends pictures of some size, bo looks at them in 1280 × 720; the layers take about 730, 490 and 240 kbit/s.
fn watched(net: &mut Net, camera: Camera, tells: Tells) -> (usize, usize) {
    let ana = net.join("show", "ana", Plan { camera, ..Plan::TALKER });
    let bo = net.join("show", "bo", Plan { tells, ..Plan::VIEWER });
    net.run(secs(1));
    net.with(ana, |ana| ana.sender.tracks.get_mut(&1).unwrap().more = 1_000);
    let track = net.peers[ana].track(Source::Camera).unwrap();
    net.with(bo, |bo| bo.lay_out(&[(track, 1280, 720)]));
    net.run(secs(2));
    (ana, bo)
}

pub(crate) fn layer(net: &Net, one: usize, other: usize) -> Option<u8> {
    slot(net, one, other, Source::Camera).layer()
}

/// How long packets took from camera or microphone to the viewer at most.
fn age(net: &Net, one: usize, other: usize, source: Source, from: Instant) -> Duration {
    let seen = slot(net, one, other, source).since(from).filter(|seen| !seen.by_rtx);
    seen.map(|seen| seen.at.since(seen.stamp.captured)).max().unwrap()
}

#[test]
fn on_a_free_path_everything_leaves_at_once_and_carries_a_number() {
    let estimator = Scripted::new(Bitrate::mbps(20));
    let mut net = estimator.net(200);
    let (ana, bo) = watched(&mut net, Camera::Simulcast, Tells::Arrivals);
    let from = net.now;
    net.run(secs(5));
    assert_eq!(layer(&net, bo, ana), Some(0));
    assert_sees(&net, bo, ana, from);
    // 20 ms to the worker and 20 ms from it; a picture of three packets is paced over two of them, a key frame over three.
    assert!(
        age(&net, bo, ana, Source::Camera, from) <= ms(42),
        "{:?}",
        age(&net, bo, ana, Source::Camera, from)
    );
    assert!(age(&net, bo, ana, Source::Microphone, from) <= ms(40));
    let received: usize = net.peers[bo].receiver.slots.values().map(|slot| slot.seen.len()).sum();
    assert_eq!((net.peers[bo].receiver.numbered, net.peers[bo].receiver.padded.len()), (received, 0));
    let (sent, arrived, lost) = estimator.with(|script| (script.sent.len(), script.arrived, script.lost));
    assert!(sent - arrived < 40 && lost == 0, "{sent} sent, {arrived} arrived, {lost} lost");
    assert_eq!(net.worker.stats().downlinks.count, 2);
    assert_no_faults(&net);
}

#[test]
fn who_does_not_tell_what_arrives_is_sent_everything_as_it_comes() {
    let estimator = Scripted::new(Bitrate::kbps(100));
    let mut net = estimator.net(201);
    let (ana, bo) = watched(&mut net, Camera::Simulcast, Tells::Nothing);
    let from = net.now;
    net.run(secs(5));
    assert_eq!(layer(&net, bo, ana), Some(0), "however little is allowed to others");
    assert_sees(&net, bo, ana, from);
    assert!(age(&net, bo, ana, Source::Camera, from) <= ms(40));
    assert_eq!(net.peers[bo].receiver.numbered, 0);
    let numbered = estimator.with(|script| script.sent.len());
    assert_eq!((numbered, net.worker.stats().downlinks.count), (0, 1), "ana's own, who has nobody to see");
    assert_no_faults(&net);
}

#[test]
fn less_rate_brings_a_smaller_layer_within_a_second_and_more_brings_the_larger_back() {
    let estimator = Scripted::new(Bitrate::mbps(2));
    let mut net = estimator.net(202);
    let (ana, bo) = watched(&mut net, Camera::Simulcast, Tells::Arrivals);
    assert_eq!(layer(&net, bo, ana), Some(0));
    for (rate, wanted, better) in
        [(700, 1, true), (400, 2, true), (2_000, 0, false), (100, 3, true), (2_000, 0, false)]
    {
        estimator.with(|script| script.target = paced(Bitrate::kbps(rate)));
        let from = net.now;
        net.run(secs(4));
        let late: Vec<u8> =
            slot(&net, bo, ana, Source::Camera).since(from + secs(1)).map(|seen| seen.stamp.layer).collect();
        assert!(late.iter().all(|layer| *layer == wanted), "{rate}: {late:?}");
        assert_eq!(late.is_empty(), wanted == 3, "{rate}: nothing fits, or something does");
        assert_eq!(hears(&net, bo, ana, from), 200, "{rate}: sound goes on");
        assert!(age(&net, bo, ana, Source::Microphone, from) <= ms(41), "{rate}: and waits for nothing");
        let age = age_or_zero(&net, bo, ana, from);
        assert!(age <= ms(400), "{rate}: pictures are {age:?} old");
        let Demand::Steps { current, next } = estimator.with(|script| script.demand) else {
            panic!("layers are steps")
        };
        assert_eq!(next.is_some(), better, "{rate}: {current} and {next:?}");
        assert!(next.is_none_or(|next| next > Bitrate::kbps(rate)), "{rate}: {next:?}");
    }
    assert_eq!(slot(&net, bo, ana, Source::Camera).plis, 0, "no decoder stood still in vain");
    assert_no_faults(&net);
}

fn age_or_zero(net: &Net, one: usize, other: usize, from: Instant) -> Duration {
    let seen = slot(net, one, other, Source::Camera).since(from).filter(|seen| !seen.by_rtx);
    seen.map(|seen| seen.at.since(seen.stamp.captured)).max().unwrap_or_default()
}

#[test]
fn a_single_stream_that_is_too_much_is_given_up_whole_and_comes_back() {
    let estimator = Scripted::new(Bitrate::mbps(2));
    let mut net = estimator.net(203);
    let (ana, bo) = watched(&mut net, Camera::Single, Tells::Arrivals);
    estimator.with(|script| script.target = paced(Bitrate::kbps(300)));
    let from = net.now;
    net.run(secs(3));
    assert!(age(&net, bo, ana, Source::Camera, from) <= ms(700), "what waited for longer was given up");
    assert_eq!(slot(&net, bo, ana, Source::Camera).since(from + secs(1)).count(), 0);
    assert_eq!(hears(&net, bo, ana, from), 150);
    estimator.with(|script| script.target = paced(Bitrate::mbps(2)));
    net.run(secs(2));
    assert_sees(&net, bo, ana, net.now - secs(1));
    let seqs: Vec<u64> = slot(&net, bo, ana, Source::Camera).seen.iter().map(|seen| seen.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "what was given up leaves no hole");
    assert_no_faults(&net);
}

#[test]
fn loss_before_the_server_is_not_charged_to_who_watches_and_loss_behind_it_is() {
    for (up, down) in [(100, 0), (0, 100)] {
        let estimator = Scripted::new(Bitrate::mbps(20));
        let mut net = estimator.net(204);
        let (ana, bo) = watched(&mut net, Camera::Simulcast, Tells::Arrivals);
        (net.links[ana].up_loss, net.links[bo].down_loss) = (up, down);
        net.run(secs(5));
        let (arrived, lost) = estimator.with(|script| (script.arrived, script.lost));
        assert!(arrived > 800, "{arrived} arrived");
        assert_eq!(lost > 0, down > 0, "{lost} lost with {up} up and {down} down");
        assert!(lost * 100 / (lost + arrived) < 14, "{lost} of {arrived}");
        net.run(ms(500));
        assert_no_faults(&net);
    }
}

#[test]
fn padding_is_what_is_asked_for_and_first_what_may_be_of_use() {
    let estimator = Scripted::new(Bitrate::mbps(2));
    let mut net = estimator.net(205);
    let (ana, bo) = watched(&mut net, Camera::Simulcast, Tells::Arrivals);
    assert_eq!(net.worker.stats().padding_bytes, 0, "none while none is asked for");
    let from = net.now;
    estimator.with(|script| {
        script.sent.clear();
        script.target.padding = Bitrate::kbps(1_500);
    });
    net.run(secs(4));
    let (all, padding) = estimator.with(|script| {
        let sum = |class: Option<PacketClass>| {
            let sent = script.sent.iter().filter(|sent| class.is_none_or(|class| sent.class == class));
            sent.map(|sent| sent.size.as_bytes()).sum::<u64>()
        };
        (sum(None), sum(Some(PacketClass::Padding)))
    });
    let rate = all * 8 / 4_000;
    assert!((1_400..=1_600).contains(&rate), "{rate} kbit/s with padding");
    assert_eq!(net.worker.stats().padding_bytes, padding);
    let padded = net.peers[bo].receiver.padded.iter().filter(|(at, _)| *at > from + ms(100));
    let large = padded.clone().filter(|(_, bytes)| *bytes > 300).count();
    assert!(large * 10 > padded.count() * 9, "packets that were sent before, not filling");
    // What was lost and not asked for yet comes as padding.
    net.with(bo, |bo| bo.receiver.asks = false);
    net.links[bo].down_loss = 50;
    let from = net.now;
    net.run(secs(4));
    let healed = slot(&net, bo, ana, Source::Camera).since(from).filter(|seen| seen.by_rtx).count();
    assert!(healed > 3, "{healed} packets came unasked");
    assert_no_faults(&net);
}

#[test]
fn padding_goes_on_without_any_picture() {
    let estimator = Scripted::new(Bitrate::kbps(90));
    let mut net = estimator.net(206);
    let (ana, bo) = watched(&mut net, Camera::Simulcast, Tells::Arrivals);
    net.run(secs(3));
    estimator.with(|script| script.target.padding = Bitrate::kbps(400));
    let before = net.worker.stats().padding_bytes;
    let from = net.now;
    net.run(secs(4));
    assert_eq!(slot(&net, bo, ana, Source::Camera).since(from).count(), 0, "nothing fits");
    let rate = (net.worker.stats().padding_bytes - before) * 8 / 4_000;
    assert!((30..=110).contains(&rate), "{rate} kbit/s of filling, as far as pacing lets it");
    assert_no_faults(&net);
}

/// Feedback that lies: about anything, in any order.
fn lie(chance: &mut Chance, bo: u32) -> Rtcp {
    let mut number = || chance.number();
    let count = number() % 400;
    let arrivals = (0..count).map(|_| (number() % 3 > 0).then(|| i64::from(number() as i32) * 250)).collect();
    Rtcp::TransportFeedback(TransportFeedback {
        sender: proto::rtp::Ssrc(bo),
        media: proto::rtp::Ssrc(number()),
        feedback_count: number() as u8,
        base: SeqNo(number() as u16),
        reference_time: number() & 0xff_ffff,
        arrivals,
    })
}

#[test]
fn whoever_lies_in_feedback_harms_nobody_else() {
    let mut net = Net::new(207);
    let ana = net.join("show", "ana", Plan::TALKER);
    let (bo, cy) = (net.join("show", "bo", Plan::VIEWER), net.join("show", "cy", Plan::VIEWER));
    net.run(secs(3));
    let mut chance = Seed::from_number(207).fork("lies").generator();
    let from = net.now;
    for _ in 0..400 {
        for _ in 0..5 {
            let lie = lie(&mut chance, 7);
            net.with(bo, |bo| bo.send_rtcp(lie));
        }
        net.run(ms(10));
    }
    assert_sees(&net, cy, ana, from);
    assert_eq!(hears(&net, cy, ana, from), 200);
    assert_eq!(hears(&net, bo, ana, from).abs_diff(200), 0, "sound waits for nothing");
    let most = DownlinkSettings::default().limits.max * 3;
    assert!(net.worker.stats().downlinks.allowed <= most);
    assert_no_faults(&net);
}
