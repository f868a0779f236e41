use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use cc::estimator::fixed::Fixed;
use cc::{PacketResult, ProbeId, RateLimits, SentPacket};
use proto::rtcp::{Rtcp, TransportFeedback, write};
use proto::rtp::{SeqNo, Ssrc};

use super::*;
use crate::link::LinkPlan;
use crate::link::plan::{Depth, Queue, Rate};
use crate::scenario::{CameraPlan, FeedbackFormat, FeedbackPlan, MicrophonePlan, Way};
use crate::world::{Event, Observer, World};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn plan() -> FlowPlan {
    FlowPlan {
        name: "flow".to_owned(),
        way: Way::default(),
        start: Duration::ZERO,
        stop: None,
        pauses: Vec::new(),
        limits: RateLimits { min: Bitrate::kbps(50), start: Bitrate::kbps(300), max: Bitrate::mbps(10) },
        weight: 1.0,
        camera: CameraPlan {
            fps: 30,
            variation: 0.05,
            lag: Duration::ZERO,
            key_every: None,
            key_factor: 1.0,
            caps: Vec::new(),
        },
        microphone: None,
        feedback: FeedbackPlan { format: FeedbackFormat::Twcc, interval: Duration::from_millis(50) },
        ecn: false,
        repair: false,
    }
}

/// A receiver that reports each 50 ms, and asks once for each of the pictures' packets that it misses.
struct Stub {
    sender: NodeId,
    arrived: Vec<Option<Instant>>,
    reported: usize,
    pictures: BTreeSet<u64>,
    asked: u64,
    outgoing: VecDeque<Vec<u8>>,
    next: Instant,
}

impl Stub {
    fn new(sender: NodeId) -> Self {
        Self {
            sender,
            arrived: Vec::new(),
            reported: 0,
            pictures: BTreeSet::new(),
            asked: 0,
            outgoing: VecDeque::new(),
            next: at(50),
        }
    }
}

impl Node for Stub {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        let Payload::Media(media) = packet.payload else { panic!("only media comes") };
        let number = media.transport_seq as usize;
        self.arrived.resize(self.arrived.len().max(number + 1), None);
        self.arrived[number] = Some(now);
        if matches!(media.class, PacketClass::Video | PacketClass::Repair) {
            assert!(self.pictures.insert(media.seq), "{} came twice", media.seq);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(50);
        let base = SeqNo(self.reported as u16);
        let parts = TransportFeedback::reports(Ssrc(1), Ssrc(2), 0, base, &self.arrived[self.reported..]);
        self.reported = self.arrived.len();
        let mut packets: Vec<Rtcp> = parts.into_iter().map(Rtcp::TransportFeedback).collect();
        let end = self.pictures.last().map_or(0, |last| last + 1);
        let lost = (self.asked..end).filter(|seq| !self.pictures.contains(seq)).map(|seq| SeqNo(seq as u16));
        packets.push(Rtcp::Nack { sender: Ssrc(1), media: Ssrc(2), lost: lost.collect() });
        self.asked = end;
        let datagram = write(&packets);
        self.outgoing.extend((!datagram.is_empty()).then_some(datagram));
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        let datagram = self.outgoing.pop_front()?;
        let size = DataSize::bytes(datagram.len() as u64 + 28);
        let (flow, from, to, ecn) = (FlowId(0), NodeId(0), self.sender, Ecn::NotCapable);
        Some(Packet { number: 0, flow, from, to, size, ecn, sent: now, payload: Payload::Datagram(datagram) })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next)
    }
}

/// What happened on the way.
#[derive(Default, Clone)]
struct Record {
    sent: Vec<Packet>,
    dropped: Vec<u64>,
    facts: Vec<(Instant, Fact)>,
    spinning: bool,
}

impl Observer for Record {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Sent(packet) if matches!(packet.payload, Payload::Media(_)) => {
                self.sent.push((*packet).clone());
            }
            Event::Dropped { packet, .. } => self.dropped.push(packet.number),
            Event::Fact { fact, .. } => self.facts.push((now, (*fact).clone())),
            Event::Spinning(_) | Event::WokenLate(_) | Event::Flooding(_) => self.spinning = true,
            Event::Sent(_)
            | Event::Passed { .. }
            | Event::Delivered(_)
            | Event::Replanned { .. }
            | Event::Unroutable(_) => {}
        }
    }
}

impl Record {
    fn of(&self, class: PacketClass) -> Vec<&Packet> {
        self.sent.iter().filter(|packet| media(packet).class == class).collect()
    }

    /// What was sent of a class from one second to another, in bits a second.
    fn rate(&self, class: PacketClass, from: u64, to: u64) -> f64 {
        let span = at(from * 1_000)..at(to * 1_000);
        let sent = self.of(class).into_iter().filter(|packet| span.contains(&packet.sent));
        sent.map(|packet| packet.size.as_bits()).sum::<u64>() as f64 / (to - from) as f64
    }

    fn frames(&self) -> usize {
        self.facts.iter().filter(|(_, fact)| matches!(fact, Fact::FrameSent { .. })).count()
    }
}

fn media(packet: &Packet) -> MediaPacket {
    match &packet.payload {
        Payload::Media(media) => media.clone(),
        Payload::Filler | Payload::Datagram(_) | Payload::Message(_) => panic!("not media"),
    }
}

/// A link of 25 ms.
fn link(rate: Bitrate) -> LinkPlan {
    LinkPlan {
        rate: Rate::Constant(rate),
        queue: Queue::DropTail(Depth::Time(Duration::from_millis(100))),
        delay: Duration::from_millis(25),
        ..LinkPlan::default()
    }
}

fn play(plan: FlowPlan, estimator: impl Estimator + 'static, capacity: Bitrate, end: Duration) -> Record {
    let mut world = World::new(Seed::from_number(1), Record::default());
    let setup = SenderSetup { flow: FlowId(0), receiver: NodeId(1), plan, stopwatch: None };
    let sender = world.add_node(Box::new(Sender::new(setup, Box::new(estimator), &Seed::from_number(2))));
    let receiver = world.add_node(Box::new(Stub::new(sender)));
    let (forward, backward) = (world.add_link(link(capacity)), world.add_link(link(Bitrate::mbps(100))));
    world.add_route(sender, receiver, &[forward]);
    world.add_route(receiver, sender, &[backward]);
    world.run_until(Instant::ZERO + end);
    let record = world.observer().clone();
    assert!(!record.spinning);
    record
}

/// An estimator that keeps what it is told and says what it is told to say.
#[derive(Clone)]
struct Script {
    told: Rc<RefCell<Told>>,
    target: Target,
    probe: Option<ProbeCluster>,
    /// Whether it calls its probe off when it hears of it.
    aborts: bool,
    bounds_frames: bool,
    /// What it allows from a time on.
    later: Option<(Instant, Target)>,
    timer: Option<Instant>,
}

#[derive(Default)]
struct Told {
    sent: Vec<SentPacket>,
    results: Vec<(Instant, PacketResult)>,
    timeouts: Vec<Instant>,
}

impl Script {
    fn new(target: Target) -> Self {
        Self {
            told: Rc::default(),
            target,
            probe: None,
            aborts: false,
            bounds_frames: false,
            later: None,
            timer: None,
        }
    }
}

impl Estimator for Script {
    fn handle_sent(&mut self, _now: Instant, packet: &SentPacket) {
        self.told.borrow_mut().sent.push(*packet);
    }

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        if let Some((_, target)) = self.later.filter(|(at, _)| *at <= now) {
            self.target = target;
        }
        self.told.borrow_mut().results.extend(results.iter().map(|result| (now, *result)));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.told.borrow_mut().timeouts.push(now);
        self.timer = Some(now + Duration::from_millis(25));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    fn poll_probe(&mut self) -> Option<ProbeCluster> {
        self.probe.take()
    }

    fn poll_probe_abort(&mut self) -> bool {
        self.aborts && !self.told.borrow().results.is_empty()
    }

    fn bounds_frames(&self) -> bool {
        self.bounds_frames
    }

    fn target(&self) -> Target {
        self.target
    }

    fn state(&self) -> &'static str {
        "script"
    }
}

fn target(rate: Bitrate) -> Target {
    Fixed::new(rate).target()
}

#[test]
fn media_with_headers_takes_the_estimators_rate_and_sound_its_own() {
    let microphone = MicrophonePlan { rate: Bitrate::kbps(32), dtx: false };
    for (name, kbps, microphone) in
        [("slow", 300, None), ("fast", 4_000, None), ("with sound", 1_000, Some(microphone))]
    {
        let rate = Bitrate::kbps(kbps);
        let plan = FlowPlan { microphone: microphone.clone(), ..plan() };
        let record = play(plan, Fixed::new(rate), Bitrate::mbps(10), secs(30));
        let (sound, video) = (record.rate(PacketClass::Audio, 0, 30), record.rate(PacketClass::Video, 0, 30));
        let share = (sound + video) / (kbps as f64 * 1e3);
        assert!((0.99..1.01).contains(&share), "{name}: {share}");
        assert!((sound - if microphone.is_some() { 51_200.0 } else { 0.0 }).abs() < 100.0, "{name}: {sound}");
        assert_eq!(record.frames(), 900, "{name}");
        assert!(record.sent.iter().all(|packet| packet.size <= DataSize::bytes(1_248)), "{name}");
        let numbers = record.sent.iter().map(|packet| media(packet).transport_seq);
        assert!(numbers.eq(0..record.sent.len() as u64), "{name}: without a hole");
        assert!(record.of(PacketClass::Padding).is_empty() && record.of(PacketClass::Repair).is_empty());
    }
}

#[test]
fn every_packet_gets_one_result_with_the_receivers_time() {
    let script = Script::new(target(Bitrate::mbps(2)));
    let record = play(plan(), script.clone(), Bitrate::mbps(10), secs(40));
    let told = script.told.borrow();
    assert_eq!(told.sent.len(), record.sent.len());
    let numbers = told.results.iter().map(|(_, result)| result.sent.number);
    assert!(numbers.eq(0..told.results.len() as u64), "in order, each once");
    assert!(told.sent.len() - told.results.len() < 40, "what the last reports do not tell");
    let trips: Vec<Duration> = told
        .results
        .iter()
        .map(|(_, result)| result.received.expect("nothing is lost").since(result.sent.sent))
        .collect();
    let (least, most) = (trips.iter().min().expect("some"), trips.iter().max().expect("some"));
    assert!(
        most.saturating_sub(*least) < Duration::from_millis(3),
        "the pacer leaves the link no queue: {least:?} to {most:?}"
    );
    assert!(told.results.iter().all(|(now, result)| {
        let rtt = now.since(result.sent.sent);
        (Duration::from_millis(50)..Duration::from_millis(105)).contains(&rtt)
    }));
    assert!(told.sent.iter().all(|sent| sent.in_flight < DataSize::kilobytes(40)), "flight does not pile up");
    assert!(!told.sent.iter().any(|sent| sent.app_limited), "the encoder uses what is allowed");
}

#[test]
fn loss_is_told_and_repair_sends_it_again() {
    for repair in [false, true] {
        let script = Script::new(target(Bitrate::kbps(1_150)));
        let plan = FlowPlan { repair, ..plan() };
        let record = play(plan, script.clone(), Bitrate::mbps(1), secs(20));
        let told = script.told.borrow();
        let lost: Vec<u64> = told
            .results
            .iter()
            .filter(|(_, result)| result.received.is_none())
            .map(|(_, result)| result.sent.number)
            .collect();
        let dropped: Vec<u64> = record
            .sent
            .iter()
            .filter(|packet| record.dropped.contains(&packet.number))
            .map(|packet| media(packet).transport_seq)
            .collect();
        assert!(lost.len() > 100, "{} lost", lost.len());
        assert_eq!(lost, dropped[..lost.len()], "what is dropped is lost, and nothing else");
        let again = record.of(PacketClass::Repair);
        if !repair {
            assert!(again.is_empty());
            continue;
        }
        let pictures = record.of(PacketClass::Video);
        let missed = pictures.into_iter().filter(|packet| record.dropped.contains(&packet.number)).count();
        assert!((missed - 10..=missed).contains(&again.len()), "{} of {missed}", again.len());
        for packet in again.iter().map(|packet| media(packet)) {
            let first =
                record.of(PacketClass::Video).into_iter().map(media).find(|media| media.seq == packet.seq);
            let first = first.expect("it was sent before");
            assert!(first.transport_seq < packet.transport_seq && first.part == packet.part);
        }
        let all = record.rate(PacketClass::Repair, 1, 20) + record.rate(PacketClass::Video, 1, 20);
        assert!((1.1e6..1.17e6).contains(&all), "repair is taken from the encoder's share: {all}");
    }
}

#[test]
fn start_pauses_and_stop_are_kept() {
    let script = Script { timer: Some(Instant::ZERO), ..Script::new(target(Bitrate::mbps(1))) };
    let plan = FlowPlan {
        start: secs(5),
        pauses: vec![(secs(10), secs(15))],
        stop: Some(secs(20)),
        microphone: Some(MicrophonePlan { rate: Bitrate::kbps(32), dtx: false }),
        ..plan()
    };
    let record = play(plan, script.clone(), Bitrate::mbps(10), secs(25));
    let spans = [(5_000, 10_050), (15_000, 20_000)]; // the pacer finishes what it has
    assert!(
        record
            .sent
            .iter()
            .all(|packet| { spans.iter().any(|(from, to)| (at(*from)..=at(*to)).contains(&packet.sent)) })
    );
    assert!(record.frames().abs_diff(300) <= 1 && record.of(PacketClass::Audio).len().abs_diff(500) <= 2);
    let told = script.told.borrow();
    assert_eq!(
        (told.timeouts[0], told.timeouts.len()),
        (at(5_000), 600),
        "each 25 ms, not before and not after"
    );
}

#[test]
fn facts_tell_targets_when_they_change_and_costs_each_second() {
    let record = play(plan(), Fixed::new(Bitrate::mbps(1)), Bitrate::mbps(10), secs(5));
    let targets: Vec<&(Instant, Fact)> =
        record.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Target { .. })).collect();
    let fact = Fact::Target { flow: FlowId(0), rate: Bitrate::mbps(1), state: "fixed" };
    assert_eq!(targets, [&(Instant::ZERO, fact)]);
    assert!(
        !record.facts.iter().any(|(_, fact)| matches!(fact, Fact::Computed { .. })),
        "without a stopwatch"
    );

    let setup = SenderSetup { flow: FlowId(0), receiver: NodeId(1), plan: plan(), stopwatch: Some(|| 7) };
    let mut sender = Sender::new(setup, Box::new(Fixed::new(Bitrate::mbps(1))), &Seed::from_number(2));
    let (mut packets, mut costs, mut now) = (0, Vec::new(), Instant::ZERO);
    while now < at(5_000) {
        sender.handle_timeout(now);
        while sender.poll_packet(now).is_some() {
            packets += 1;
        }
        while let Some(fact) = sender.poll_fact() {
            if let Fact::Computed { packets, nanos, .. } = fact {
                costs.push((packets, nanos));
            }
        }
        now = sender.poll_timeout().expect("a camera never sleeps");
    }
    assert_eq!(costs.len(), 4, "each second");
    let told: u64 = costs.iter().map(|(packets, _)| packets).sum();
    assert!(told <= packets && packets - told < 200, "{told} of {packets}");
}

#[test]
fn a_probe_is_sent_with_what_there_is_and_reported() {
    let rate = Bitrate::mbps(3);
    let cluster = ProbeCluster { id: ProbeId(1), rate, duration: Duration::from_millis(15), packets: 5 };
    let script = Script { probe: Some(cluster), ..Script::new(target(Bitrate::kbps(300))) };
    let record = play(plan(), script.clone(), Bitrate::mbps(10), secs(2));
    let told = script.told.borrow();
    let marked = told.results.iter().filter(|(_, result)| result.sent.probe == Some(ProbeId(1)));
    let marked: Vec<&PacketResult> = marked.map(|(_, result)| result).collect();
    let size: DataSize = marked[1..].iter().map(|result| result.sent.size).sum();
    let last = marked.last().expect("some");
    let time = last.sent.sent.since(marked[0].sent.sent);
    let measured = Bitrate::of(size - last.sent.size + marked[0].sent.size, time).expect("time passed");
    assert!((0.95..1.05).contains(&measured.ratio(rate)), "{measured}");
    assert!(marked.iter().any(|result| result.sent.class == PacketClass::Video));
    assert!(record.of(PacketClass::Padding).len() >= 4);
}

#[test]
fn a_probe_that_is_called_off_ends_with_the_first_report() {
    let cluster = ProbeCluster { id: ProbeId(1), rate: Bitrate::mbps(2), duration: secs(1), packets: 5 };
    for (aborts, span) in [(false, 950..1_100), (true, 50..150)] {
        let script = Script { probe: Some(cluster), aborts, ..Script::new(target(Bitrate::kbps(300))) };
        let record = play(plan(), script.clone(), Bitrate::mbps(10), secs(3));
        let told = script.told.borrow();
        let marked = told.sent.iter().filter(|sent| sent.probe.is_some()).map(|sent| sent.sent);
        let (first, last) = (marked.clone().min().expect("some"), marked.max().expect("some"));
        let lasted = last.since(first).as_millis();
        assert!(span.contains(&lasted), "{aborts}: {lasted} ms");
        assert!(record.rate(PacketClass::Video, 1, 3) > 280e3, "and the media goes on");
    }
}

#[test]
fn a_source_that_makes_little_is_the_limit_and_says_so() {
    let mut little = plan();
    little.camera.caps = vec![(secs(2), Bitrate::kbps(500)), (secs(8), Bitrate::MAX)];
    let script = Script::new(target(Bitrate::mbps(2)));
    play(little, script.clone(), Bitrate::mbps(10), secs(12));
    let told = script.told.borrow();
    for (from, to, limited) in [(0, 2_000, false), (2_500, 8_000, true), (8_500, 12_000, false)] {
        let packets = told.sent.iter().filter(|sent| (at(from)..at(to)).contains(&sent.sent));
        let (all, said) =
            packets.fold((0, 0), |(all, said), sent| (all + 1, said + u32::from(sent.app_limited)));
        assert_eq!(said, if limited { all } else { 0 }, "from {from} to {to} ms");
    }
}

#[test]
fn a_full_window_stops_the_encoder_before_it_makes_what_comes_too_late() {
    let window = Some(DataSize::kilobytes(6)); // 6 kB a round trip of 75 ms: about 600 kbit/s
    let script = Script::new(Target { window, ..target(Bitrate::mbps(2)) });
    let record = play(plan(), script.clone(), Bitrate::mbps(10), secs(20));
    assert!((100..400).contains(&record.frames()), "{} of 600 pictures", record.frames());
    let told = script.told.borrow();
    assert!(told.sent.iter().all(|sent| sent.in_flight <= DataSize::kilobytes(6)));
    let waits = record
        .of(PacketClass::Video)
        .into_iter()
        .map(|packet| packet.sent.since(media(packet).part.expect("of a picture").captured));
    let longest = waits.max().expect("some");
    assert!((Duration::from_millis(300)..Duration::from_millis(700)).contains(&longest), "{longest:?}");
    let frames: BTreeSet<u64> = record
        .of(PacketClass::Video)
        .iter()
        .filter_map(|packet| media(packet).part)
        .map(|part| part.frame)
        .collect();
    assert!(frames.iter().copied().eq(0..frames.len() as u64), "no picture is missing in between");
}

/// How long pictures waited for their last packet to leave, from a time on: the mean and the most.
fn waits(record: &Record, from: Instant) -> (Duration, Duration) {
    let mut ends = std::collections::BTreeMap::new();
    for packet in record.of(PacketClass::Video) {
        let part = media(packet).part.expect("of a picture");
        ends.insert(part.frame, packet.sent.since(part.captured));
    }
    let count = ends.len() as u64 - first_after(record, from);
    let waits: Vec<Duration> = ends.into_iter().rev().take(count as usize).map(|(_, wait)| wait).collect();
    (waits.iter().sum::<Duration>() / waits.len() as u32, waits.into_iter().max().expect("some"))
}

/// The number of the first picture made from a time on.
fn first_after(record: &Record, from: Instant) -> u64 {
    let made = record.facts.iter().filter(|(at, fact)| *at < from && matches!(fact, Fact::FrameSent { .. }));
    made.count() as u64
}

#[test]
fn bounded_pictures_leave_within_their_interval_and_use_the_rate() {
    let interval = Duration::from_micros(33_333);
    for (name, factor, key_factor, longest, least) in [
        ("fast pacing", 1.25, 1.0, 1.0, 0.99),
        ("single packets", 1.04, 1.0, 1.15, 0.98),
        ("as fast as the rate", 1.0, 1.0, 1.15, 0.97),
        ("key pictures each two seconds", 1.25, 6.0, 4.1, 0.96),
    ] {
        let mut bounded = plan();
        bounded.camera.key_factor = key_factor;
        bounded.camera.key_every = (key_factor > 1.0).then_some(secs(2));
        let pacing = Bitrate::mbps(2).scaled(factor);
        let target = Target { pacing, burst: Duration::ZERO, ..target(Bitrate::mbps(2)) };
        let script = Script { bounds_frames: true, ..Script::new(target) };
        let record = play(bounded, script, Bitrate::mbps(10), secs(20));
        let (_, most) = waits(&record, at(0));
        assert!(most <= interval.mul_f64(longest), "{name}: {most:?}");
        let share = record.rate(PacketClass::Video, 1, 20) / 2e6;
        assert!((least..1.01).contains(&share), "{name}: {share}");
    }
}

#[test]
fn bounded_pictures_survive_a_fall_of_the_rate_and_a_window_that_is_too_small() {
    let slow = target(Bitrate::kbps(500));
    let window = Some(DataSize::kilobytes(6)); // 6 kB a round trip of 75 ms: about 600 kbit/s
    for (name, later, longest, frames) in [
        ("a fall of the rate", Target { pacing: Bitrate::kbps(600), ..slow }, 160, 560..600),
        ("a window", Target { window, ..target(Bitrate::mbps(1)) }, 200, 550..600),
    ] {
        let script = Script {
            bounds_frames: true,
            later: Some((at(1_000), later)),
            ..Script::new(target(Bitrate::mbps(4)))
        };
        let mut lagging = plan();
        lagging.camera.lag = Duration::from_millis(100);
        let record = play(lagging, script, Bitrate::mbps(10), secs(20));
        let (_, most) = waits(&record, at(900));
        assert!(most <= Duration::from_millis(longest), "{name}: {most:?}");
        assert!(frames.contains(&record.frames()), "{name}: {} of 600 pictures", record.frames());
        let rate = record.rate(PacketClass::Video, 2, 20);
        assert!((450e3..650e3).contains(&rate), "{name}: {rate}");
    }
}

#[test]
fn padding_fills_up_to_its_rate() {
    let mut little = plan();
    little.camera.caps = vec![(Duration::ZERO, Bitrate::kbps(300))];
    let padding = Bitrate::mbps(1);
    let record = play(
        little,
        Script::new(Target { padding, ..target(Bitrate::mbps(2)) }),
        Bitrate::mbps(10),
        secs(20),
    );
    let (video, padding) = (record.rate(PacketClass::Video, 1, 20), record.rate(PacketClass::Padding, 1, 20));
    assert!((0.97e6..1.03e6).contains(&(video + padding)), "{video} and {padding}");
}

#[test]
fn packets_are_marked_capable_of_ecn_if_the_plan_says_so() {
    for (ecn, mark) in [(false, Ecn::NotCapable), (true, Ecn::Capable1)] {
        let record =
            play(FlowPlan { ecn, ..plan() }, Fixed::new(Bitrate::mbps(1)), Bitrate::mbps(10), secs(1));
        assert!(record.sent.iter().all(|packet| packet.ecn == mark));
    }
}

#[test]
fn a_receiver_that_cannot_decode_gets_a_key_picture() {
    let mut keyed = plan();
    keyed.camera.key_factor = 6.0;
    let setup = SenderSetup { flow: FlowId(0), receiver: NodeId(1), plan: keyed, stopwatch: None };
    let mut sender = Sender::new(setup, Box::new(Fixed::new(Bitrate::mbps(1))), &Seed::from_number(2));
    let (mut now, mut asked, mut keys) = (Instant::ZERO, false, Vec::new());
    while now < at(5_000) {
        sender.handle_timeout(now);
        if now > at(3_000) && !std::mem::replace(&mut asked, true) {
            let datagram = write(&[Rtcp::Pli { sender: Ssrc(1), media: Ssrc(2) }]);
            sender.handle_feedback(now, &datagram);
        }
        while sender.poll_packet(now).is_some() {}
        while let Some(fact) = sender.poll_fact() {
            if let Fact::FrameSent { key: true, frame, .. } = fact {
                keys.push(frame);
            }
        }
        now = sender.poll_timeout().expect("a camera never sleeps");
    }
    assert!(keys.len() == 2 && keys[0] == 0 && (89..93).contains(&keys[1]), "{keys:?}");
}
