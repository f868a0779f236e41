//! Runs that never were, for tests of what is written about runs.

use std::ops::RangeInclusive;
use std::time::Duration;

use cc::RateLimits;
use proto::units::Bitrate;

use super::{Case, Group, SeedRun};
use crate::link::LinkPlan;
use crate::link::plan::Rate;
use crate::metrics::Metrics;
use crate::scenario::{CameraPlan, FeedbackFormat, FeedbackPlan, FlowPlan, LinkIndex, Scenario, Way};
use crate::sweep::Seeds;
use crate::timeline::{FlowTimeline, SPAN_MS, Timeline, Transition};

/// 4 Mbit/s that become 1 Mbit/s, and one flow.
pub(crate) fn scenario() -> Scenario {
    let plan = |rate| LinkPlan {
        rate: Rate::Constant(rate),
        delay: Duration::from_millis(25),
        ..LinkPlan::default()
    };
    let back = LinkPlan { delay: Duration::from_millis(25), ..LinkPlan::default() };
    let (forward, backward) = (LinkIndex(0), LinkIndex(1));
    let flow = FlowPlan {
        name: "camera".to_owned(),
        way: Way { forward: vec![forward], backward: vec![backward] },
        start: Duration::ZERO,
        stop: None,
        pauses: Vec::new(),
        limits: RateLimits { min: Bitrate::kbps(50), start: Bitrate::kbps(300), max: Bitrate::mbps(10) },
        weight: 1.0,
        camera: CameraPlan {
            fps: 30,
            variation: 0.05,
            lag: Duration::from_millis(100),
            key_every: None,
            key_factor: 6.0,
            caps: Vec::new(),
        },
        microphone: None,
        feedback: FeedbackPlan { format: FeedbackFormat::Twcc, interval: Duration::from_millis(50) },
        ecn: false,
        repair: false,
    };
    Scenario {
        name: "made-up".to_owned(),
        kind: crate::scenario::Kind::Flows,
        about: "a capacity that falls to a quarter".to_owned(),
        duration: Duration::from_secs(60),
        warm_up: Duration::from_secs(5),
        links: vec![("forward".to_owned(), plan(Bitrate::mbps(4))), ("backward".to_owned(), back)],
        changes: vec![(Duration::from_secs(20), forward, plan(Bitrate::mbps(1)))],
        bottlenecks: vec![forward],
        flows: vec![flow],
        cross: Vec::new(),
        deadline: None,
    }
}

/// A number between 0 and 1 that looks arbitrary.
fn noise(seed: u64, place: usize) -> f64 {
    let mixed = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ place as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    ((mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 40) as f64 / f64::from(1 << 24)
}

fn change(at: f64, from: &'static str, to: &'static str, reason: &'static str) -> Transition {
    Transition { at, from, to, reason }
}

/// A minute of some flows that share 4, 1 and 4 Mbit/s.
pub(crate) fn timeline(flows: usize, seed: u64) -> Timeline {
    let spans = 60_000 / SPAN_MS as usize;
    let capacity: Vec<f64> =
        (0..spans).map(|span| if (200..400).contains(&span) { 1.0 } else { 4.0 }).collect();
    let flow = |number: usize| {
        let own = |span: usize| capacity[span] / flows as f64 * (1.0 - (-(span as f64 + 3.0) / 30.0).exp());
        let lag = |span: usize| own(span.saturating_sub(4));
        let rate = |salt: u64, share: f64| -> Vec<f64> {
            let wobble = |span| 1.0 + 0.12 * (noise(seed + salt + number as u64, span) - 0.5);
            (0..spans).map(|span| lag(span) * share * wobble(span)).collect()
        };
        let lost = |from: usize, to: usize, most: f64| -> Vec<u32> {
            let some = |span: usize| if (from..to).contains(&span) { noise(seed, span) * most } else { 0.0 };
            (0..spans).map(|span| some(span) as u32).collect()
        };
        let frame = |frame: usize| {
            let second = frame as f64 / 30.0;
            let late = if (20.0..21.5).contains(&second) { 300.0 - (second - 20.0) * 180.0 } else { 0.0 };
            (second, 42.0 + 12.0 * noise(seed, frame + 7) + late)
        };
        FlowTimeline {
            name: if flows == 1 { "camera".to_owned() } else { format!("camera {}", number + 1) },
            target: rate(1, 1.0),
            sent: rate(2, 0.97),
            received: rate(3, 0.95),
            lost_random: lost(0, spans, 1.3),
            lost_overflow: lost(200, 212, 14.0),
            lost_policer: lost(450, 460, 5.0),
            states: vec![
                (0.0, "startup"),
                (3.0, "increase"),
                (20.0, "decrease"),
                (21.5, "hold"),
                (24.0, "increase"),
            ],
            transitions: vec![
                change(3.0, "startup", "increase", "queue grows"),
                change(20.0, "increase", "decrease", "overuse"),
                change(21.5, "decrease", "hold", "drained"),
                change(24.0, "hold", "increase", "normal"),
            ],
            classes: vec![(2.0, "clean"), (45.0, "policed")],
            frames: (0..1800).filter(|number| !(606..618).contains(number)).map(frame).collect(),
            freezes: vec![(20.2, 20.6), (45.0, 45.3)],
        }
    };
    let queue = |span: usize| match span {
        200..=215 => 300.0 - (span - 200) as f64 * 18.0,
        _ => 6.0 + 9.0 * noise(seed, span),
    };
    let queue_ms = (0..spans).map(queue).collect();
    let others = vec![0.0; spans];
    Timeline { queue_ms, others, flows: (0..flows).map(flow).collect(), capacity }
}

/// Some seeds of an estimator.
pub(crate) fn group(estimator: &str, seeds: RangeInclusive<u64>) -> Group {
    let quality = estimator.bytes().map(u64::from).sum::<u64>() % 10;
    let run = |seed: u64| {
        let chance = |place: usize| noise(seed * 31 + quality, place);
        let metrics = Metrics {
            util: Some(0.90 + 0.008 * quality as f64 + 0.02 * chance(1)),
            q50_ms: Some(6.0 + chance(2)),
            q95_ms: Some(12.0 + 3.0 * quality as f64 + 8.0 * chance(2)),
            q99_ms: Some(40.0 + 8.0 * chance(2)),
            loss: Some(0.001 * quality as f64 * chance(3)),
            frames_hit: Some(0.004 * quality as f64 * chance(4)),
            frame_p95_ms: Some(60.0 + 20.0 * chance(5)),
            stall_s_per_min: Some(0.4 * chance(6)),
            jain: Some(1.0),
            converge_s: Some(1.0 + 3.0 * chance(7)),
            overshoot: Some(1.05 + 0.2 * chance(8)),
            padding_share: Some(0.004 * chance(9)),
            cpu_ns_per_packet: Some(300.0 + 100.0 * chance(10)),
            ..Metrics::default()
        };
        SeedRun {
            seed,
            metrics,
            trace_hash: seed,
            packets: 25_000,
            violations: 0,
            timeline: Some(timeline(1, seed)),
        }
    };
    let case = Case {
        scenario: "made-up".to_owned(),
        estimator: estimator.to_owned(),
        scene: proto::scene::Scene::default(),
        set: String::new(),
    };
    let range = Seeds::new(*seeds.start(), *seeds.end()).expect("a good range");
    Group { case, seeds: range, runs: seeds.map(run).collect() }
}
