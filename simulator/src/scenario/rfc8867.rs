//! The test cases of RFC 8867, all of §5 and §6.1 to §6.3, by the numbers of their sections.
//!
//! Common to them (§4.2, §4.3): 50 ms one way, tail drop after 300 ms, video of 150 kbit/s to 1.5 Mbit/s that starts at
//! 150 kbit/s and follows within 100 ms, varying by 5 %, with 20 kbit/s of sound beside it. Where capacity varies there
//! are both of the RFC's variants: the link changes, or (`-cbr`) constant traffic leaves so much of 4 Mbit/s.

use std::time::Duration;

use cc::RateLimits;
use proto::units::Bitrate;

use super::draft::{BACKWARD, Draft, FORWARD, jitter, ms, secs, sound};
use super::{CrossPlan, FlowPlan, LinkIndex, Scenario, TcpControl, Way};
use crate::link::LinkPlan;
use crate::link::plan::{EcnMarking, Rate};

/// What §5.1 to §5.3 use for constant traffic.
const PHYSICAL: Bitrate = Bitrate::mbps(4);

/// Capacities from each second on, in kbit/s.
type Steps = &'static [(u64, u64)];

const SINGLE: Steps = &[(0, 1_000), (40, 2_500), (60, 600), (80, 1_000)];
const MULTIPLE: Steps = &[(0, 4_000), (25, 2_000), (50, 3_500), (75, 1_000), (100, 2_000)];
const CONGESTED_FORWARD: Steps = &[(0, 2_000), (20, 1_000), (40, 500), (60, 2_000)];
const CONGESTED_BACKWARD: Steps = &[(0, 2_000), (35, 800), (70, 2_000)];

/// All of them, in the order of the RFC.
pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (suffix, one_way) in [("", 50), ("-owd100", 100)] {
        let about = format!("variable capacity, one flow, {one_way} ms one way");
        let draft = |name: &str, vary: Vary| {
            let draft = base(&format!("rfc8867-5.1{suffix}{name}"), &about, 1_000).lasting(100);
            vary(draft.forward(|link| link.delay = ms(one_way)).flow(media), SINGLE, FORWARD).done()
        };
        all.extend([draft("", by_link), draft("-cbr", by_traffic)]);
    }
    for (suffix, vary) in VARIATIONS {
        let draft = base(&format!("rfc8867-5.2{suffix}"), "variable capacity, two flows", 4_000).lasting(125);
        all.push(vary(draft.flow(media).flow(media), MULTIPLE, FORWARD).done());
    }
    for (suffix, vary) in VARIATIONS {
        all.push(congested_feedback(suffix, vary));
    }
    all.push(three("rfc8867-5.4", "three flows join one after another").done());
    all.push(round_trips());
    all.extend([
        long_tcp("rfc8867-5.6", TcpControl::Cubic, 300),
        long_tcp("rfc8867-5.6-1s", TcpControl::Cubic, 1_000),
    ]);
    all.push(long_tcp("rfc8867-5.6-reno", TcpControl::Reno, 300));
    all.extend([
        short_tcp("rfc8867-5.7", TcpControl::Reno),
        short_tcp("rfc8867-5.7-cubic", TcpControl::Cubic),
    ]);
    all.push(pause());
    let marked: Vec<Scenario> = all.iter().filter(|scenario| is_basic(&scenario.name)).map(marking).collect();
    all.push(priority());
    all.extend(marked);
    all.push(two_bottlenecks());
    all
}

/// The cases of §5 themselves, without their variants.
fn is_basic(name: &str) -> bool {
    name.strip_prefix("rfc8867-5.").is_some_and(|case| case.len() == 1)
}

/// How a capacity is made to vary on a link.
type Vary = fn(Draft, Steps, LinkIndex) -> Draft;

const VARIATIONS: [(&str, Vary); 2] = [("", by_link), ("-cbr", by_traffic)];

fn base(name: &str, about: &str, kbps: u64) -> Draft {
    let title = format!("RFC 8867 §{}: {about}", name.trim_start_matches("rfc8867-"));
    Draft::new(name, &title, Bitrate::kbps(kbps)).one_way(ms(50))
}

fn media(flow: &mut FlowPlan) {
    flow.limits =
        RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(150), max: Bitrate::kbps(1_500) };
    flow.camera.lag = ms(100);
    flow.microphone = Some(sound());
}

fn by_link(draft: Draft, steps: Steps, link: LinkIndex) -> Draft {
    let rate = Rate::Steps(steps.iter().map(|(at, kbps)| (secs(*at), Bitrate::kbps(*kbps))).collect());
    if link == FORWARD {
        draft.forward(|plan| plan.rate = rate)
    } else {
        draft.backward(|plan| plan.rate = rate)
    }
}

fn by_traffic(draft: Draft, steps: Steps, link: LinkIndex) -> Draft {
    let physical = |plan: &mut LinkPlan| plan.rate = Rate::Constant(PHYSICAL);
    let draft = if link == FORWARD { draft.forward(physical) } else { draft.backward(physical) };
    let rates = steps.iter().map(|(at, kbps)| (secs(*at), PHYSICAL - Bitrate::kbps(*kbps))).collect();
    draft.cross(CrossPlan::Constant { links: vec![link], rates })
}

fn congested_feedback(suffix: &str, vary: Vary) -> Scenario {
    let name = format!("rfc8867-5.3{suffix}");
    let draft = base(&name, "flows both ways, capacities vary both ways", 2_000).lasting(100);
    let draft = draft.backward(|link| link.jitter = jitter(ms(5)));
    let draft = draft.bottlenecks(&[FORWARD, BACKWARD]).flow(media).flow(|flow| {
        media(flow);
        flow.way = Way { forward: vec![BACKWARD], backward: vec![FORWARD] };
    });
    vary(vary(draft, CONGESTED_FORWARD, FORWARD), CONGESTED_BACKWARD, BACKWARD).done()
}

/// Three flows on 3.5 Mbit/s that start 20 s apart (§5.4).
fn three(name: &str, about: &str) -> Draft {
    (0..3).fold(base(name, about, 3_500).lasting(120), |draft, number| {
        draft.flow(|flow| {
            media(flow);
            flow.start = secs(20 * number);
        })
    })
}

/// Five flows of unlike round trips (§5.5): the bottleneck has no delay and no jitter, each flow's own links have.
fn round_trips() -> Scenario {
    let draft = base("rfc8867-5.5", "five flows with 10 to 150 ms one way", 4_000)
        .one_way(Duration::ZERO)
        .lasting(300);
    let starts = (0..5).map(|number| secs(10 * number));
    let delays = [10, 25, 50, 100, 150].map(ms);
    starts
        .zip(delays)
        .fold(draft, |draft, (start, delay)| with_own_delay(draft, start, delay, &[FORWARD]))
        .done()
}

/// A flow over `shared` links and own ones of `delay` each way.
fn with_own_delay(draft: Draft, start: Duration, delay: Duration, shared: &[LinkIndex]) -> Draft {
    let own = LinkPlan { delay, ..LinkPlan::default() };
    let there = LinkPlan { jitter: jitter(ms(5).min(delay / 3)), ..own.clone() };
    let name = format!("{} ms", delay.as_millis());
    let (draft, access) = draft.link(&format!("access {name}"), there);
    let (draft, back) = draft.link(&format!("return {name}"), own);
    draft.flow(|flow| {
        media(flow);
        flow.start = start;
        flow.way = Way { forward: shared.iter().copied().chain([access]).collect(), backward: vec![back] };
    })
}

fn long_tcp(name: &str, control: TcpControl, queue_ms: u64) -> Scenario {
    let about = format!("one flow beside a long {control:?} transfer, queue of {queue_ms} ms");
    base(name, &about, 2_000)
        .queue(ms(queue_ms))
        .lasting(120)
        .flow(|flow| {
            media(flow);
            flow.start = secs(5);
        })
        .bulk(control, Duration::ZERO, None)
        .done()
}

fn short_tcp(name: &str, control: TcpControl) -> Scenario {
    let late = |flow: &mut FlowPlan| {
        media(flow);
        flow.start = secs(5);
    };
    base(name, &format!("two flows beside ten short transfers by {control:?}"), 2_000)
        .lasting(300)
        .flow(late)
        .flow(late)
        .cross(CrossPlan::Web {
            way: super::draft::way(),
            control,
            connections: 10,
            active: 2,
            idle: secs(10),
        })
        .done()
}

fn pause() -> Scenario {
    let draft = base("rfc8867-5.8", "three flows, the second pauses from 40 s to 60 s", 3_500).lasting(120);
    draft
        .flow(media)
        .flow(|flow| {
            media(flow);
            flow.pauses = vec![(secs(40), secs(60))];
        })
        .flow(media)
        .done()
}

fn priority() -> Scenario {
    let mut scenario = three("rfc8867-6.1", "three flows, the first with twice the others' priority").done();
    scenario.flows[0].weight = 2.0;
    scenario
}

/// §6.2: a basic case on links that mark, with packets that can be marked.
fn marking(basic: &Scenario) -> Scenario {
    let mut scenario = basic.clone();
    scenario.name = format!("rfc8867-6.2-{}", basic.name.trim_start_matches("rfc8867-"));
    scenario.about = format!("{}, with ECN (§6.2)", basic.about);
    for link in &scenario.bottlenecks {
        scenario.links[link.0].1.ecn = Some(EcnMarking { above: ms(10) });
    }
    for flow in &mut scenario.flows {
        flow.ecn = true;
        flow.feedback.format = super::FeedbackFormat::Ccfb; // transport-wide feedback cannot tell marks
    }
    scenario
}

/// §6.3: A to B has 2 Mbit/s, B to C 8 Mbit/s, C to D 1.5 Mbit/s; one flow crosses both bottlenecks.
fn two_bottlenecks() -> Scenario {
    let draft = base("rfc8867-6.3", "two bottlenecks, one flow over both and one over each", 2_000);
    let draft = draft.one_way(Duration::ZERO).forward(|link| link.jitter = None).lasting(300);
    let middle = |kbps| LinkPlan { rate: Rate::Constant(Bitrate::kbps(kbps)), ..LinkPlan::default() };
    let (draft, between) = draft.link("B to C", middle(8_000));
    let (draft, second) = draft.link("C to D", middle(1_500));
    let draft = draft.bottlenecks(&[FORWARD, second]);
    let draft = with_own_delay(draft, Duration::ZERO, ms(100), &[FORWARD, between, second]);
    let draft = with_own_delay(draft, Duration::ZERO, ms(40), &[FORWARD]);
    with_own_delay(draft, Duration::ZERO, ms(40), &[second]).done()
}
