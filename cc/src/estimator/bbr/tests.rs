//! Claims about `bbr` on a path: 25 ms each way, a report each 50 ms, a queue of 300 ms where nothing else is said.

use proptest::prelude::*;

use super::*;
use crate::estimator::model::{Model, Path, Source};
use crate::packet::PacketClass;

const LIMITS: RateLimits =
    RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };

const FRAMES: Source = Source::Frames(Bitrate::MAX);

fn on(path: Path, source: Source) -> Model<Bbr> {
    Model::new(Bbr::new(LIMITS, &Seed::from_number(1)), path, source)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// When each visit of a phase began.
fn visits(model: &Model<Bbr>, state: &str) -> Vec<Duration> {
    let pairs = model.rows.windows(2).filter(|pair| pair[0].state != state && pair[1].state == state);
    pairs.map(|pair| pair[1].at).collect()
}

#[test]
fn the_rate_of_the_path_is_found_within_two_seconds_and_kept() {
    for (name, source) in [("endless", Source::Endless), ("frames", FRAMES)] {
        let mut model = on(Path::new(Bitrate::mbps(4)), source);
        model.run(secs(60));
        let found = model.rows.iter().find(|row| row.state == "cruise").map(|row| row.at);
        assert!(found.is_some_and(|at| at < secs(2)), "{name}: {found:?}");
        for from in (2..57).step_by(5) {
            let used = model.utilization(secs(from), secs(from + 5));
            assert!((0.85..1.05).contains(&used), "{name}: {used} at {from} s");
        }
        for row in model.between(secs(2), secs(60)).filter(|row| row.state == "cruise") {
            let ratio = row.target.ratio(Bitrate::mbps(4));
            assert!((0.85..1.05).contains(&ratio), "{name}: {ratio} at {:?}", row.at);
        }
        // UP lasts three rounds at 1.25 ×, which grow with the queue.
        let (median, worst) = (model.wait(0.5, secs(2), secs(60)), model.wait(1.0, secs(2), secs(60)));
        assert!(median < millis(5), "{name}: {median:?}");
        assert!((millis(30)..millis(130)).contains(&worst), "{name}: {worst:?}");
        assert_eq!(model.loss(secs(2), secs(60)).to_bits(), 0, "{name}");
    }
}

#[test]
fn phases_follow_each_other_as_the_draft_draws_them() {
    let mut model = on(Path::new(Bitrate::mbps(4)), Source::Endless);
    model.run(secs(30));
    let follows = |from: &str, to: &str| match from {
        "startup" => matches!(to, "drain" | "probe-rtt"),
        "drain" => matches!(to, "down" | "cruise"), // DOWN may last no longer than a row
        "down" | "cruise" => matches!(to, "cruise" | "refill" | "probe-rtt"),
        "refill" => matches!(to, "up" | "probe-rtt"),
        "up" => matches!(to, "down" | "cruise" | "probe-rtt"),
        _ => matches!(to, "cruise" | "startup"),
    };
    for pair in model.rows.windows(2).filter(|pair| pair[0].state != pair[1].state) {
        assert!(follows(pair[0].state, pair[1].state), "{} → {}", pair[0].state, pair[1].state);
    }
    for state in ["startup", "drain", "down", "cruise", "refill", "up", "probe-rtt"] {
        assert!(model.rows.iter().any(|row| row.state == state), "never in {state}");
    }
}

#[test]
fn capacity_is_followed_down_and_up() {
    // Down takes two cycles, until the max filter has forgotten; meanwhile the window holds the queue.
    for (from, to, within) in [(4, 1, 8), (4, 2, 8), (1, 4, 4), (2, 4, 4)] {
        let mut model = on(Path::new(Bitrate::mbps(from)), FRAMES);
        model.run(secs(20));
        model.path.rate = Bitrate::mbps(to);
        model.run(secs(within + 12));
        let (from_then, end) = (secs(20 + within), secs(32 + within));
        let used = model.utilization(from_then, end);
        assert!((0.8..1.05).contains(&used), "{from} to {to}: {used}");
        for row in model.between(from_then, end).filter(|row| row.state == "cruise") {
            let ratio = row.target.ratio(Bitrate::mbps(to));
            assert!((0.5..1.3).contains(&ratio), "{from} to {to}: {ratio} at {:?}", row.at);
        }
        let wait = model.wait(0.5, from_then, end);
        assert!(wait < millis(60), "{from} to {to}: {wait:?}");
    }
}

#[test]
fn losses_at_random_slow_it_and_do_not_stop_it() {
    // At this product of rate and delay one loss in a round is more than the 2 % that the draft allows a probe.
    for (loss, least, most) in [(0.0, 0.9, 1.0), (0.005, 0.55, 0.95), (0.01, 0.45, 0.9), (0.05, 0.1, 0.5)] {
        let mut model = on(Path { loss, ..Path::new(Bitrate::mbps(4)) }, FRAMES);
        model.run(secs(60));
        let used = model.utilization(secs(5), secs(60));
        assert!((least..most).contains(&used), "{loss}: {used}");
    }
}

#[test]
fn a_shallow_buffer_sets_the_long_term_limit_and_a_deep_one_does_not() {
    for (queue, limited, least) in [(10, true, 0.8), (20, true, 0.85), (40, true, 0.9), (300, false, 0.9)] {
        let mut model = on(Path { queue: millis(queue), ..Path::new(Bitrate::mbps(4)) }, FRAMES);
        model.run(secs(60));
        let limit = model.estimator.longterm_inflight;
        assert_eq!(limit.is_some(), limited, "{queue} ms: {limit:?}");
        // At most what the path and the queue hold and what waits for a report.
        let holds = Bitrate::mbps(4) * millis(50 + queue + 50) + SMSS * 4;
        assert!(limit.is_none_or(|limit| limit <= holds), "{queue} ms: {limit:?} > {holds}");
        let (used, lost) = (model.utilization(secs(5), secs(60)), model.loss(secs(5), secs(60)));
        assert!(used > least && lost < 0.01, "{queue} ms: {used}, {lost} lost");
    }
}

#[test]
fn marks_limit_as_losses_do() {
    let mut model = on(Path { mark: Some(millis(20)), ..Path::new(Bitrate::mbps(4)) }, FRAMES);
    model.run(secs(30));
    assert!(model.estimator.longterm_inflight.is_some());
    assert_eq!(model.loss(secs(2), secs(30)).to_bits(), 0);
    assert!(model.utilization(secs(5), secs(30)) > 0.8);
    let wait = model.wait(0.95, secs(5), secs(30));
    assert!(wait < millis(40), "{wait:?}");
}

#[test]
fn what_the_application_leaves_out_lowers_no_estimate() {
    let mut model = on(Path::new(Bitrate::mbps(4)), FRAMES);
    model.run(secs(10));
    model.source = Source::Frames(Bitrate::mbps(1));
    model.run(secs(40));
    let (rate, target) = (model.estimator.max_bandwidth.rate(), model.rows.last().expect("rows").target);
    assert!(rate > Bitrate::kbps(3_800) && rate < Bitrate::kbps(4_300), "{rate}");
    assert!(target > Bitrate::kbps(900), "{target}");
    model.source = FRAMES;
    model.run(secs(5));
    let used = model.utilization(secs(51), secs(55));
    assert!(used > 0.8, "{used}");
}

#[test]
fn the_queue_is_emptied_each_five_seconds_unless_the_delay_is_seen_anyway() {
    let mut model = on(Path::new(Bitrate::mbps(4)), Source::Endless);
    model.run(secs(60));
    let times = visits(&model, "probe-rtt");
    for pair in times.windows(2) {
        let apart = pair[1].saturating_sub(pair[0]);
        assert!((millis(5_000)..millis(6_200)).contains(&apart), "{apart:?} apart");
    }
    assert!((9..=12).contains(&times.len()), "{times:?}");
    let rows = model.rows.iter().filter(|row| row.state == "probe-rtt").count();
    let each = millis(50) * rows as u32 / times.len() as u32;
    assert!((millis(200)..millis(500)).contains(&each), "{each:?} each");

    // A delay that falls again and again is always new.
    let mut model = on(Path { delay: millis(60), ..Path::new(Bitrate::mbps(4)) }, Source::Endless);
    for _ in 0..40 {
        model.run(millis(500));
        model.path.delay -= millis(1);
    }
    assert_eq!(visits(&model, "probe-rtt"), []);
}

#[test]
fn probes_come_each_two_to_three_seconds_at_random_times() {
    let run = |seed| {
        let bbr = Bbr::new(LIMITS, &Seed::from_number(seed));
        let mut model = Model::new(bbr, Path::new(Bitrate::mbps(4)), Source::Endless);
        model.run(secs(40));
        visits(&model, "refill")
    };
    let (one, again, other) = (run(1), run(1), run(2));
    assert_eq!(one, again);
    assert_ne!(one, other);
    for pair in one.windows(2) {
        // From DOWN to REFILL, and the probe before it; ProbeRTT between starts the wait again.
        let apart = pair[1].saturating_sub(pair[0]);
        assert!((millis(2_000)..millis(8_000)).contains(&apart), "{apart:?}");
    }
}

#[test]
fn undone_losses_lead_back_to_where_they_led_from() {
    for (left, now, reached, back, still_reached) in [
        (Some(Phase::Startup), Phase::Drain, true, Phase::Startup, false),
        (Some(Phase::Startup), Phase::ProbeRtt, true, Phase::ProbeRtt, false),
        (Some(Phase::Up), Phase::Down, true, Phase::Refill, true),
        (Some(Phase::Up), Phase::ProbeRtt, true, Phase::ProbeRtt, true),
        (None, Phase::Cruise, true, Phase::Cruise, true),
    ] {
        let mut bbr = Bbr::new(LIMITS, &Seed::from_number(1));
        (bbr.phase, bbr.full_pipe.reached) = (now, reached);
        bbr.save_state();
        if let Some(left) = left {
            bbr.signals.set_undo_phase(left);
        }
        bbr.undo();
        assert_eq!((bbr.phase, bbr.full_pipe.reached), (back, still_reached), "{left:?} in {now:?}");
    }
}

fn packet(number: u64, at: Instant, in_flight: DataSize, app_limited: bool) -> SentPacket {
    SentPacket {
        number,
        size: SMSS,
        sent: at,
        class: PacketClass::Video,
        probe: None,
        in_flight,
        app_limited,
    }
}

#[test]
fn when_reports_cease_media_falls_to_the_least_rate_until_they_come_again() {
    let mut model = on(Path::new(Bitrate::mbps(4)), Source::Endless);
    model.run(secs(10));
    let mut bbr = model.estimator;
    let mut due = bbr.poll_timeout().expect("packets are in flight");
    let mut fired = 0;
    loop {
        let before = bbr.poll_timeout();
        bbr.handle_timeout(due - millis(1));
        assert_eq!(bbr.poll_timeout(), before, "too early changes nothing");
        bbr.handle_timeout(due);
        fired += 1;
        assert_eq!(bbr.target().rate, LIMITS.min);
        let Some(next) = bbr.poll_timeout() else { break };
        assert!(next > due);
        due = next;
    }
    assert_eq!(fired, SILENCES_MAX, "then nothing is in flight, and there is nothing to wait for");
    let sent = packet(1_000_000, due, DataSize::ZERO, false);
    bbr.handle_sent(due, &sent);
    let now = due + millis(60);
    bbr.handle_feedback(now, &[PacketResult { sent, received: Some(now), ecn: Ecn::NotCapable }]);
    assert!(bbr.target().rate > LIMITS.min, "{}", bbr.target().rate);
}

#[test]
fn losses_that_were_none_are_undone() {
    let mut model = on(Path::new(Bitrate::mbps(4)), Source::Endless);
    model.run(secs(10));
    let mut bbr = model.estimator;
    let (window, limit) = (bbr.window, bbr.longterm_inflight);
    let now = bbr.now + millis(10);
    let packets: Vec<_> =
        (0..8).map(|n| packet(2_000_000 + n, now, DataSize::kilobytes(40) + SMSS * n, false)).collect();
    for sent in &packets {
        bbr.handle_sent(now, sent);
    }
    bbr.cycle.probe_sample = true; // as if a probe were judged
    let lost = packets.iter().map(|&sent| PacketResult { sent, received: None, ecn: Ecn::NotCapable });
    bbr.handle_feedback(now + millis(50), &lost.collect::<Vec<_>>());
    assert!(bbr.longterm_inflight.is_some() && limit.is_none());
    for (index, &sent) in packets.iter().enumerate() {
        assert!(bbr.longterm_inflight.is_some(), "undone after {index} of 8");
        let received = Some(now + millis(40));
        bbr.handle_feedback(now + millis(100), &[PacketResult { sent, received, ecn: Ecn::NotCapable }]);
    }
    assert_eq!(bbr.longterm_inflight, limit);
    assert!(bbr.window >= window, "{} < {window}", bbr.window);
}

#[test]
fn a_return_from_idleness_does_not_empty_the_queue_again() {
    for (name, app_limited, state) in [("idle", true, "refill"), ("only slow", false, "probe-rtt")] {
        let mut model = on(Path::new(Bitrate::mbps(4)), Source::Endless);
        model.run(secs(9));
        let mut bbr = model.estimator;
        bbr.phase = Phase::Cruise;
        bbr.rounds.since_probe = 0;
        bbr.sampler.give_up();
        let now = bbr.now + secs(6);
        let sent = packet(2_000_000, now, DataSize::ZERO, app_limited);
        bbr.handle_sent(now, &sent);
        let later = now + millis(60);
        let received = Some(later + millis(10));
        bbr.handle_feedback(later, &[PacketResult { sent, received, ecn: Ecn::NotCapable }]);
        assert_eq!(bbr.state(), state, "{name}");
    }
}

/// Something that happens to an estimator.
#[derive(Debug, Clone)]
enum Event {
    /// So many packets leave, so many microseconds apart.
    Send { packets: u8, apart: u16, app_limited: bool },
    /// A report of so many packets comes: which of them arrived, and which of those are marked.
    Report { packets: u8, arrived: u64, marked: u64, arrivals_apart: u16 },
    /// The oldest unreported packets are given up.
    GiveUp { packets: u8 },
    /// Time passes.
    Wait { millis: u16 },
    /// The last report comes again, all arrived.
    Again,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u8..60, 0u16..20_000, any::<bool>())
            .prop_map(|(packets, apart, app_limited)| Event::Send { packets, apart, app_limited }),
        4 => (1u8..64, any::<u64>(), any::<u64>(), 0u16..20_000).prop_map(
            |(packets, arrived, marked, arrivals_apart)| Event::Report {
                packets, arrived, marked: marked & (marked >> 7), arrivals_apart
            }
        ),
        1 => (1u8..100).prop_map(|packets| Event::GiveUp { packets }),
        2 => (0u16..9_000).prop_map(|millis| Event::Wait { millis }),
        1 => Just(Event::Again),
    ]
}

/// Lets events happen to an estimator and checks it after each.
fn play(limits: RateLimits, events: &[Event]) {
    let mut bbr = Bbr::new(limits, &Seed::from_number(7));
    let mut now = Instant::from_millis(10);
    let (mut flights, mut last) = (std::collections::VecDeque::<SentPacket>::new(), Vec::new());
    let (mut number, mut arrival) = (0, Instant::from_millis(77_777));
    for event in events {
        match *event {
            Event::Send { packets, apart, app_limited } => {
                for _ in 0..packets {
                    let in_flight = flights.iter().map(|flight| flight.size).sum();
                    let sent = packet(number, now, in_flight, app_limited);
                    bbr.handle_sent(now, &sent);
                    flights.push_back(sent);
                    number += 1 + u64::from(apart == 7) * 3;
                    now += Duration::from_micros(apart.into());
                }
            }
            Event::Report { packets, arrived, marked, arrivals_apart } => {
                last.clear();
                for (bit, sent) in flights.drain(..usize::from(packets).min(flights.len())).enumerate() {
                    arrival += Duration::from_micros(arrivals_apart.into());
                    let ecn = if marked >> bit & 1 == 1 { Ecn::Congested } else { Ecn::Capable1 };
                    let received = (arrived >> bit & 1 == 1).then_some(arrival);
                    last.push(PacketResult { sent, received, ecn });
                }
                bbr.handle_feedback(now, &last);
            }
            Event::GiveUp { packets } => {
                flights.drain(..usize::from(packets).min(flights.len()));
            }
            Event::Wait { millis } => now += Duration::from_millis(millis.into()),
            Event::Again => {
                for result in &mut last {
                    result.received = Some(arrival);
                }
                bbr.handle_feedback(now, &last);
            }
        }
        if bbr.poll_timeout().is_some_and(|due| due <= now) {
            bbr.handle_timeout(now);
        }
        assert!(bbr.poll_timeout().is_none_or(|due| due > now), "a wake-up in the past");
        let target = bbr.target();
        assert!((limits.min..=limits.max.max(limits.min)).contains(&target.rate), "{target:?}");
        assert!(
            target.pacing >= target.rate && target.pacing <= limits.max.max(limits.min) * 3,
            "{target:?}"
        );
        assert!(target.window.is_some_and(|window| window >= MIN_WINDOW.min(SMSS)), "{target:?}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_target_stays_within_its_limits(
        events in prop::collection::vec(event(), 1..120),
        min in 1u64..2_000,
        start in 1u64..5_000,
        max in 1u64..20_000,
    ) {
        let limits =
            RateLimits { min: Bitrate::kbps(min), start: Bitrate::kbps(start), max: Bitrate::kbps(max) };
        play(limits, &events);
    }
}
