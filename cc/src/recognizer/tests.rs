//! Synthetic paths: a packet each 3 ms, a report each 51 ms, and a rule for what becomes of a packet.

use core::time::Duration;

use proto::feedback::Ecn;
use proto::path_class::PathClass;
use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::DataSize;

use super::verdict::{Signs, classify};
use super::{Observation, Recognizer};
use crate::packet::{PacketClass, PacketResult, SentPacket};

/// How far apart packets are, and how many a report speaks of.
const SPACING_MS: f64 = 3.0;
const REPORT: u64 = 17;

/// What becomes of a packet sent at a time in milliseconds: `None` for lost, or what it takes, in milliseconds.
type Rule = fn(&mut Chance, f64) -> Option<f64>;

struct Path {
    recognizer: Recognizer,
    chance: Chance,
    number: u64,
    arrived: Instant,
    /// How many reports of a hundred are lost.
    reports_lost: u64,
    observation: Observation,
}

impl Path {
    fn new(observation: Observation) -> Self {
        Self {
            recognizer: Recognizer::default(),
            chance: Seed::from_number(4).fork("path").generator(),
            number: 0,
            arrived: Instant::ZERO,
            reports_lost: 0,
            observation,
        }
    }

    fn now(&self) -> Instant {
        time(self.number as f64 * SPACING_MS + 60.0)
    }

    fn report(&mut self, rule: Rule) {
        let results: Vec<PacketResult> = (0..REPORT).map(|_| self.result(rule)).collect();
        if percent(&mut self.chance) >= self.reports_lost {
            let now = self.now();
            self.recognizer.handle_report(now, &results, &self.observation);
        }
    }

    fn result(&mut self, rule: Rule) -> PacketResult {
        let number = self.number;
        self.number += 1;
        let at_ms = number as f64 * SPACING_MS;
        let sent = SentPacket {
            number,
            size: DataSize::bytes(1_200),
            sent: time(at_ms),
            class: PacketClass::Video,
            probe: None,
            in_flight: DataSize::ZERO,
            app_limited: false,
        };
        let received = rule(&mut self.chance, at_ms).map(|delay_ms| time(at_ms + delay_ms).max(self.arrived));
        self.arrived = received.unwrap_or(self.arrived);
        PacketResult { sent, received, ecn: Ecn::NotCapable }
    }

    fn run(&mut self, seconds: u64, rule: Rule) -> PathClass {
        for _ in 0..seconds * 1_000 / (REPORT * 3) {
            self.report(rule);
        }
        self.recognizer.class()
    }
}

fn time(ms: f64) -> Instant {
    Instant::from_nanos((ms * 1e6) as u64)
}

fn percent(chance: &mut Chance) -> u64 {
    chance.long_number() % 100
}

/// 25 ms, and jitter up to 10 ms.
const CALM: Rule = |chance, _| Some(25.0 + percent(chance) as f64 / 10.0);

fn one_in_hundred(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    CALM(chance, at_ms).filter(|_| percent(chance) >= 1)
}

/// Four packets each 600 ms.
fn in_runs(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    CALM(chance, at_ms).filter(|_| at_ms % 600.0 >= 12.0)
}

/// Each 4 s a queue of 20 ms is filled within 300 ms, and then drops one packet in five for 100 ms.
fn fills_and_drops(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    let phase = at_ms % 4_000.0;
    let queue = if phase < 400.0 { (phase / 15.0).min(20.0) } else { 0.0 };
    let drops = (300.0..400.0).contains(&phase) && percent(chance) < 20;
    CALM(chance, at_ms).filter(|_| !drops).map(|delay| delay + queue)
}

/// The same drops without a queue.
fn drops(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    let drops = (300.0..400.0).contains(&(at_ms % 4_000.0)) && percent(chance) < 20;
    CALM(chance, at_ms).filter(|_| !drops)
}

/// Stands still for 80 ms each 2.5 s.
fn stands_still(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    let phase = at_ms % 2_500.0;
    CALM(chance, at_ms).map(|delay| delay + (80.0 - phase).max(0.0))
}

/// For 1 s of 3 a queue, that grows and shrinks by 40 ms each 100 ms.
fn wanders(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    let phase = at_ms % 3_000.0;
    let saw = if phase % 200.0 < 100.0 { phase % 100.0 } else { 100.0 - phase % 100.0 };
    let queue = if phase < 1_000.0 { 60.0 + 0.6 * saw } else { 0.0 };
    CALM(chance, at_ms).map(|delay| delay + queue)
}

/// Each 3 s a queue grows to 60 ms within 300 ms, and stands for a second.
fn is_queued(chance: &mut Chance, at_ms: f64) -> Option<f64> {
    let queue = (at_ms % 3_000.0 / 5.0).min(60.0);
    let queue = if at_ms % 3_000.0 < 1_300.0 { queue } else { 0.0 };
    CALM(chance, at_ms).map(|delay| delay + queue)
}

const NOTHING: Observation = Observation {
    queue: Duration::ZERO,
    round_trip: Duration::from_millis(60),
    loses_by_itself: false,
    has_ceiling: false,
    is_competing: false,
};

#[test]
fn each_kind_of_path_is_told_by_its_packets() {
    let limited = Observation { has_ceiling: true, ..NOTHING };
    let lossy = Observation { loses_by_itself: true, ..NOTHING };
    let competing = Observation { is_competing: true, ..NOTHING };
    let long = Observation { round_trip: Duration::from_millis(300), ..NOTHING };
    let bloated = Observation { queue: Duration::from_millis(500), ..NOTHING };
    let rows: [(&str, Rule, Observation, PathClass); 14] = [
        ("nothing special", CALM, NOTHING, PathClass::Clean),
        ("a steady queue now and then", is_queued, NOTHING, PathClass::Clean),
        ("a ceiling that nothing was lost at", CALM, limited, PathClass::Clean),
        ("a queue before losses", fills_and_drops, limited, PathClass::Shallow),
        ("no queue before losses", drops, limited, PathClass::Policed),
        ("losses by chance, tested", one_in_hundred, lossy, PathClass::Random),
        ("losses by chance, not tested yet", one_in_hundred, NOTHING, PathClass::Random),
        ("losses by chance, misjudged", one_in_hundred, limited, PathClass::Random),
        ("losses in runs", in_runs, lossy, PathClass::Bursty),
        ("short times without arrivals", stands_still, NOTHING, PathClass::WifiStalls),
        ("a queue that jumps", wanders, NOTHING, PathClass::Cellular),
        ("others fill the queue", is_queued, competing, PathClass::Competed),
        ("a long queue", CALM, bloated, PathClass::Bloated),
        ("a long way", CALM, long, PathClass::LongRtt),
    ];
    for (name, rule, observation, class) in rows {
        let mut path = Path::new(observation);
        assert_eq!(path.run(20, rule), class, "{name}");
        // A minute more of the same does not change it.
        assert_eq!(path.run(60, rule), class, "{name}, later");
    }
}

#[test]
fn lost_reports_are_told_from_lost_packets() {
    let mut path = Path::new(NOTHING);
    path.reports_lost = 30;
    assert_eq!(path.run(20, CALM), PathClass::LossyFeedback);
    let facts = path.recognizer.facts();
    assert!((0.2..0.4).contains(&facts.feedback_loss), "{}", facts.feedback_loss);
    assert!(facts.loss < 1e-9);
    path.reports_lost = 0;
    assert_eq!(path.run(15, CALM), PathClass::Clean);
    assert!(path.recognizer.facts().feedback_loss < 1e-9);
}

#[test]
fn facts_tell_what_repair_needs() {
    let lossy = Observation { loses_by_itself: true, ..NOTHING };
    let facts = |observation, rule| {
        let mut path = Path::new(observation);
        path.run(60, rule);
        path.recognizer.facts()
    };
    let random = facts(lossy, one_in_hundred);
    assert!((0.005..0.02).contains(&random.inherent_loss), "{}", random.inherent_loss);
    assert!((1.0..1.2).contains(&random.mean_burst), "{}", random.mean_burst);
    let bursty = facts(lossy, in_runs);
    assert!((3.8..4.2).contains(&bursty.mean_burst), "{}", bursty.mean_burst);
    let shallow = facts(Observation { has_ceiling: true, ..NOTHING }, fills_and_drops);
    assert!(shallow.inherent_loss < 1e-9);
    assert!(shallow.loss > 0.0);
    let buffer = shallow.buffer.expect("losses have told of it");
    assert!(buffer > Duration::from_millis(12) && buffer < Duration::from_millis(22), "{buffer:?}");
    let stalls = facts(NOTHING, stands_still);
    assert!((3..=5).contains(&stalls.stalls), "{}", stalls.stalls);
    assert!(stalls.stall_p95 > Duration::from_millis(65) && stalls.stall_p95 < Duration::from_millis(95));
    let cellular = facts(NOTHING, wanders).capacity_variation.expect("there were queues");
    assert!(cellular > 0.2, "{cellular}");
    let calm = facts(NOTHING, CALM);
    assert_eq!((calm.buffer, calm.capacity_variation, calm.stalls), (None, None, 0));
    assert!(calm.loss < 1e-9 && calm.stall_p95 == Duration::ZERO);
}

#[test]
fn the_first_verdict_comes_within_five_seconds_and_not_at_once() {
    let mut path = Path::new(NOTHING);
    assert_eq!(path.run(3, CALM), PathClass::Unknown);
    assert_eq!(path.run(2, CALM), PathClass::Clean);
}

#[test]
fn a_class_must_hold_for_a_second_and_changes_once_in_three() {
    let mut path = Path::new(NOTHING);
    path.run(10, CALM);
    let mut changes = Vec::new();
    let mut class = path.recognizer.class();
    // Others come and go so that each report contradicts the one before.
    for report in 0..600 {
        let far = Duration::from_millis(if report % 2 == 0 { 300 } else { 60 });
        path.observation = Observation { round_trip: far, ..NOTHING };
        path.report(CALM);
        assert_eq!(path.recognizer.class(), class);
    }
    // Each holds for 1.5 s: long enough to become the class, but for the pause.
    for turn in 0..10 {
        let far = Duration::from_millis(if turn % 2 == 0 { 300 } else { 60 });
        path.observation = Observation { round_trip: far, ..NOTHING };
        for _ in 0..29 {
            path.report(CALM);
            if path.recognizer.class() != class {
                class = path.recognizer.class();
                changes.push(path.now());
            }
        }
    }
    assert!(!changes.is_empty());
    assert!(changes.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_secs(3)), "{changes:?}");
}

#[test]
fn a_path_that_recovers_is_clean_again_once_the_window_is_over() {
    let lossy = Observation { loses_by_itself: true, ..NOTHING };
    let mut path = Path::new(lossy);
    assert_eq!(path.run(20, one_in_hundred), PathClass::Random);
    assert_eq!(path.run(3, CALM), PathClass::Random);
    assert_eq!(path.run(11, CALM), PathClass::Clean);
}

#[test]
fn of_several_classes_the_most_important_is_the_verdict() {
    let long = Signs { round_trip_ms: 300.0, ..Signs::default() };
    let bloated = Signs { is_bloated: true, ..long };
    let unheard = Signs { silence: 0.1, ..bloated };
    let stalled = Signs { stalls: 3.0, ..unheard };
    let cell = Signs { jumpiness: 0.4, pairs: 20.0, ..stalled };
    let random = Signs {
        loss: 0.02,
        losses: 60.0,
        loss_after_loss: 0.02,
        evenness: 0.9,
        told_by: 40.0,
        depth_ms: 20.0,
        is_tested: true,
        ..cell
    };
    let bursty = Signs { loss_after_loss: 0.4, ..random };
    let competed = Signs { competed: 0.9, jumpiness: 0.1, ..bursty };
    let limited = Signs { has_ceiling: true, evenness: 0.1, ..bursty };
    for (signs, class) in [
        (Signs::default(), PathClass::Clean),
        (long, PathClass::LongRtt),
        (bloated, PathClass::Bloated),
        (unheard, PathClass::LossyFeedback),
        (stalled, PathClass::WifiStalls),
        (cell, PathClass::Cellular),
        (random, PathClass::Random),
        (bursty, PathClass::Bursty),
        (competed, PathClass::Competed),
        (Signs { jumpiness: 0.4, ..competed }, PathClass::Bursty),
        (limited, PathClass::Policed),
        (Signs { rise_ms: 15.0, ..limited }, PathClass::Shallow),
        (Signs { stalls: 2.0, busy: 1.0, ..unheard }, PathClass::LossyFeedback),
        (Signs { rise_ms: 200.0, depth_ms: 250.0, ..limited }, PathClass::Cellular),
        (Signs { competed: 0.9, jumpiness: 0.1, ..limited }, PathClass::Competed),
    ] {
        assert_eq!(classify(&signs, PathClass::Unknown), class, "{signs:?}");
    }
}

#[test]
fn thresholds_hold_at_both_edges_and_are_easier_to_stay_beyond() {
    let base = Signs { told_by: 40.0, evenness: 0.9, pairs: 20.0, round_trip_ms: 60.0, ..Signs::default() };
    let random = Signs { losses: 40.0, is_tested: true, ..base };
    let limited = Signs { has_ceiling: true, ..base };
    let runs = Signs { loss: 0.02, ..random };
    for (below, beyond, class) in [
        (Signs { round_trip_ms: 200.0, ..base }, Signs { round_trip_ms: 201.0, ..base }, PathClass::LongRtt),
        (Signs { silence: 0.049, ..base }, Signs { silence: 0.05, ..base }, PathClass::LossyFeedback),
        (Signs { stalls: 1.0, ..base }, Signs { stalls: 2.0, ..base }, PathClass::WifiStalls),
        (Signs { jumpiness: 0.19, ..base }, Signs { jumpiness: 0.2, ..base }, PathClass::Cellular),
        (
            Signs { jumpiness: 0.49, busy: 1.0, ..base },
            Signs { jumpiness: 0.51, busy: 1.0, ..base },
            PathClass::Cellular,
        ),
        (Signs { competed: 0.19, ..base }, Signs { competed: 0.2, ..base }, PathClass::Competed),
        (Signs { loss: 0.001, ..random }, Signs { loss: 0.002, ..random }, PathClass::Random),
        (Signs { loss_after_loss: 0.21, ..runs }, Signs { loss_after_loss: 0.23, ..runs }, PathClass::Bursty),
        (Signs { rise_ms: 5.9, ..limited }, Signs { rise_ms: 6.0, ..limited }, PathClass::Shallow),
        (
            Signs { rise_ms: 20.0, depth_ms: 75.0, ..limited },
            Signs { rise_ms: 20.0, depth_ms: 74.0, ..limited },
            PathClass::Shallow,
        ),
    ] {
        assert_ne!(classify(&below, PathClass::Clean), class, "{below:?}");
        assert_eq!(classify(&beyond, PathClass::Clean), class, "{beyond:?}");
        assert_eq!(classify(&beyond, class), class, "stays, {beyond:?}");
    }
    // A ceiling that is gone for a moment, or for good.
    for (limited, class) in [(0.5, PathClass::Policed), (0.1, PathClass::Clean)] {
        assert_eq!(classify(&Signs { limited, ..base }, PathClass::Policed), class);
        assert_eq!(classify(&Signs { limited, ..base }, PathClass::Clean), PathClass::Clean);
    }
    let fading = Signs { silence: 0.03, ..base };
    assert_eq!(classify(&fading, PathClass::Clean), PathClass::Clean);
    assert_eq!(classify(&fading, PathClass::LossyFeedback), PathClass::LossyFeedback);
}

#[test]
fn hostile_results_do_not_break_it() {
    let mut path = Path::new(NOTHING);
    path.run(6, CALM);
    for (number, sent, received) in
        [(u64::MAX, u64::MAX, Some(0)), (0, 0, Some(u64::MAX)), (u64::MAX, 0, None), (7, u64::MAX, Some(7))]
    {
        let mut result = path.result(CALM);
        result.sent.number = number;
        result.sent.sent = Instant::from_nanos(sent);
        result.received = received.map(Instant::from_nanos);
        let now = path.now();
        path.recognizer.handle_report(now, &[result; 3], &NOTHING);
    }
    let facts = path.recognizer.facts();
    assert!((0.0..=1.0).contains(&facts.loss) && (0.0..=1.0).contains(&facts.feedback_loss), "{facts:?}");
}
