//! Metrics of rates over time: fairness, convergence, recovery, overshoot, oscillation.

use std::ops::Range;

use proto::time::Instant;

use super::Metrics;
use super::capacity::{Capacity, LinkCapacity};
use super::meter::{FlowMeter, SPAN, share, span_of};
use crate::checker::HEALING;
use crate::scenario::{CrossPlan, FlowPlan, Scenario};

/// Spans in a second.
const SECOND: usize = 10;

/// Which share of what is there counts as reached.
const REACHED: f64 = 0.8;

/// A rise of the capacity by less is none, and neither is a fall.
const CHANGE: f64 = 1.2;

/// A capacity that rises more often in a run is a trace, which has no steps to recover after.
const RISES_MAX: usize = 100;

/// Fills in what the rates tell.
pub(super) fn fill(metrics: &mut Metrics, scenario: &Scenario, flows: &[FlowMeter], capacity: &Capacity) {
    let from = span_of(Instant::ZERO + scenario.warm_up);
    metrics.jain_1s = jain(scenario, flows, capacity, SECOND);
    metrics.jain = jain(scenario, flows, capacity, 5 * SECOND);
    metrics.jain_20s = jain(scenario, flows, capacity, 20 * SECOND);
    metrics.converge_s = converge(scenario, flows, capacity);
    metrics.after_tcp_s = after_tcp(scenario, flows);
    let rises = capacity.links().iter().flat_map(|link| recoveries(scenario, flows, link));
    let recoveries: Vec<f64> = rises.chain(metrics.after_tcp_s).collect();
    metrics.recover_s = share(recoveries.iter().sum(), recoveries.len() as f64);
    metrics.overshoot =
        capacity.links().iter().filter_map(|link| overshoot(flows, link, from)).reduce(f64::max);
    metrics.oscillation = oscillation(flows, from);
}

/// Jain's index of the rates relative to their fair shares, mean over windows in which at least two flows send all the
/// time; `None` if there is no such window.
fn jain(scenario: &Scenario, flows: &[FlowMeter], capacity: &Capacity, window: usize) -> Option<f64> {
    let from = span_of(Instant::ZERO + scenario.warm_up);
    let mut indices = Vec::new();
    for start in (from..capacity.spans().saturating_sub(window - 1)).step_by(window) {
        let spans = start..start + window;
        let active = |flow: &usize| spans.clone().all(|span| capacity.share(*flow, span) > 0);
        let normalized: Vec<f64> = (0..flows.len())
            .filter(active)
            .map(|flow| {
                let fair: u64 = spans.clone().map(|span| capacity.share(flow, span)).sum();
                total(&flows[flow].received, spans.clone()) / fair as f64
            })
            .collect();
        if normalized.len() >= 2 {
            let sum: f64 = normalized.iter().sum();
            let squares: f64 = normalized.iter().map(|rate| rate * rate).sum();
            indices.push(share(sum * sum, normalized.len() as f64 * squares).unwrap_or(0.0));
        }
    }
    share(indices.iter().sum(), indices.len() as f64)
}

/// From each flow's start until its rate over a second reaches 80 % of its share, mean over flows, in seconds. A flow
/// that never does counts with the whole time it had.
fn converge(scenario: &Scenario, flows: &[FlowMeter], capacity: &Capacity) -> Option<f64> {
    let time = |(number, flow): (usize, &FlowMeter)| {
        let fair = |span: usize| capacity.share(number, span);
        let start = span_of(Instant::ZERO + scenario.flows[number].start);
        let end = (start..capacity.spans()).find(|span| fair(*span) == 0).unwrap_or(capacity.spans());
        until(start..end, |spans| {
            let fair: u64 = spans.clone().map(fair).sum();
            total(&flow.received, spans) >= REACHED * fair as f64
        })
    };
    let times: Vec<f64> = flows.iter().enumerate().map(time).collect();
    share(times.iter().sum(), times.len() as f64)
}

/// From each rise of what media may have of a bottleneck until 80 % of it arrives, in seconds. If it falls again before,
/// that is how long it took at least. When a flow starts is no rise: that is for [`converge`].
fn recoveries(scenario: &Scenario, flows: &[FlowMeter], link: &LinkCapacity) -> Vec<f64> {
    let level = |span: usize| link.media[span] as f64;
    let starts = |span: usize| {
        let begins = |flow: &FlowPlan| span_of(Instant::ZERO + flow.start) == span;
        scenario.flows.iter().any(begins)
    };
    let rises =
        |span: &usize| level(span - 1) > 0.0 && level(*span) > CHANGE * level(span - 1) && !starts(*span);
    let rises: Vec<usize> = (1..link.media.len()).filter(rises).collect();
    if rises.len() > RISES_MAX {
        return Vec::new();
    }
    let time = |rise: &usize| {
        let falls = |span: &usize| level(*span) * CHANGE < level(*rise);
        let end = (*rise..link.media.len()).find(falls).unwrap_or(link.media.len());
        until(*rise..end, |spans| {
            let wanted = spans.clone().map(|span| link.media[span] as f64).sum::<f64>();
            sum(flows, link, |flow| total(&flow.received, spans.clone())) >= REACHED * wanted
        })
    };
    rises.iter().map(time).collect()
}

/// From the end of the last long transfer until 80 % of what media may then have arrives, in seconds. One that lasts as
/// long as the scenario ends with it, and what arrives while the network heals tells.
fn after_tcp(scenario: &Scenario, flows: &[FlowMeter]) -> Option<f64> {
    let end_of = |cross: &CrossPlan| match cross {
        CrossPlan::Bulk { stop, .. } => Some(stop.map_or(scenario.duration, |at| at.min(scenario.duration))),
        CrossPlan::Constant { .. } | CrossPlan::Web { .. } => None,
    };
    let end = scenario.cross.iter().filter_map(end_of).max()?;
    let duration = scenario.duration + HEALING;
    let alone = Scenario { duration, cross: Vec::new(), ..scenario.clone() };
    let capacity = Capacity::of(&alone, SPAN);
    let first = span_of(Instant::ZERO + end);
    Some(until(first..capacity.spans(), |spans| {
        let wanted: u64 = capacity.links().iter().flat_map(|link| &link.media[spans.clone()]).sum();
        let arrived: f64 = (capacity.links().iter())
            .map(|link| sum(flows, link, |flow| total(&flow.received, spans.clone())))
            .sum();
        arrived >= REACHED * wanted as f64
    }))
}

/// Seconds from the start of `spans` to the end of the first second in them for which `reached` holds.
fn until(spans: Range<usize>, reached: impl Fn(Range<usize>) -> bool) -> f64 {
    let first =
        (spans.start..(spans.end + 1).saturating_sub(SECOND)).find(|from| reached(*from..from + SECOND));
    let taken = first.map_or(spans.len(), |from| from + SECOND - spans.start);
    taken as f64 * SPAN.as_secs_f64()
}

/// The greatest rate sent to a bottleneck over 200 ms relative to what it leaves to media, where that has not fallen
/// within the last second.
fn overshoot(flows: &[FlowMeter], link: &LinkCapacity, from: usize) -> Option<f64> {
    let level = |span: usize| link.media[span] as f64;
    let calm = |span: &usize| {
        let mut before = span.saturating_sub(SECOND)..*span;
        before.all(|earlier| level(earlier) <= CHANGE * level(*span)) && level(*span) > 0.0
    };
    (from.max(1)..link.media.len())
        .filter(calm)
        .map(|span| sum(flows, link, |flow| total(&flow.sent, span - 1..span + 1)) / (2.0 * level(span)))
        .reduce(f64::max)
}

/// Mean change of the target from one half second to the next, over its mean.
fn oscillation(flows: &[FlowMeter], from: usize) -> Option<f64> {
    let (mut changes, mut sum) = (0.0, 0.0);
    for flow in flows {
        let halves = flow.target.iter().skip(from).step_by(SECOND / 2);
        let halves: Vec<f64> = halves.map(|bits| *bits as f64).filter(|bits| *bits > 0.0).collect();
        changes += halves.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f64>();
        sum += halves.iter().sum::<f64>();
    }
    share(changes, sum)
}

/// Over the flows that cross a bottleneck.
fn sum(flows: &[FlowMeter], link: &LinkCapacity, of: impl Fn(&FlowMeter) -> f64) -> f64 {
    link.flows.iter().filter_map(|flow| flows.get(*flow)).map(of).sum()
}

fn total(spans: &[u64], range: Range<usize>) -> f64 {
    spans.get(range).map_or(0, |spans| spans.iter().sum::<u64>()) as f64
}
