//! What could have been carried: the measure that utilization and fairness are taken against.
//!
//! A bottleneck's capacity is what its plan says, less the constant traffic of others, and no more than the flows on it
//! may send: a link that has more than all flows together may want is not badly used. Fair shares are max-min over all
//! bottlenecks (RFC 8868 §3), where a long TCP transfer counts as one flow that wants everything.

use std::time::Duration;

use proto::units::{Bitrate, DataSize};

use crate::link::LinkPlan;
use crate::scenario::{CrossPlan, FlowPlan, LinkIndex, Scenario};

/// A source's rate counts payloads; headers of IP, UDP, RTP and extensions come on top, by about this factor.
const HEADERS: f64 = 1.04;

/// Bytes that nobody can send in a span: the capacity of a link without a limit.
const UNLIMITED: DataSize = DataSize::bytes(u32::MAX as u64);

/// Capacities by spans of equal length from the start of a run.
#[derive(Debug)]
pub(crate) struct Capacity {
    span: Duration,
    links: Vec<LinkCapacity>,
    /// For each flow: bytes a span that are its fair share; 0 while it does not send.
    shares: Vec<Vec<u64>>,
}

/// One bottleneck's bytes by spans.
#[derive(Debug)]
pub(crate) struct LinkCapacity {
    /// Which link.
    pub(crate) link: LinkIndex,
    /// The flows that cross it.
    pub(crate) flows: Vec<usize>,
    /// What its plan carries.
    pub(crate) raw: Vec<u64>,
    /// What constant traffic leaves of that.
    pub(crate) free: Vec<u64>,
    /// What of that the media flows may want.
    pub(crate) media: Vec<u64>,
}

/// Somebody who wants to send in a span.
struct Party {
    /// Its number among the flows; transfers have numbers behind them.
    number: usize,
    want: f64,
    weight: f64,
    share: Option<f64>,
}

impl Capacity {
    /// The capacities of a scenario in spans of `span`.
    pub(crate) fn of(scenario: &Scenario, span: Duration) -> Self {
        let spans = (scenario.duration.as_nanos() / span.as_nanos()) as usize;
        let links = scenario.bottlenecks.iter().map(|link| LinkCapacity::of(scenario, *link, span, spans));
        let links: Vec<LinkCapacity> = links.collect();
        let mut shares = vec![vec![0; spans]; scenario.flows.len()];
        let found = (0..spans).map(|index| fair_shares(scenario, &links, span, index));
        for (index, found) in found.enumerate() {
            for (number, share) in found {
                shares[number][index] = share;
            }
        }
        Self { span, links, shares }
    }

    /// How many spans there are.
    pub(crate) fn spans(&self) -> usize {
        self.links.first().map_or(0, |link| link.raw.len())
    }

    /// How long each span is.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    /// The bottlenecks.
    pub(crate) fn links(&self) -> &[LinkCapacity] {
        &self.links
    }

    /// What all bottlenecks could carry in a span.
    pub(crate) fn raw(&self, span: usize) -> u64 {
        self.links.iter().map(|link| link.raw.get(span).copied().unwrap_or(0)).sum()
    }

    /// A flow's fair share in a span; 0 while it does not send.
    pub(crate) fn share(&self, flow: usize, span: usize) -> u64 {
        self.shares.get(flow).and_then(|shares| shares.get(span)).copied().unwrap_or(0)
    }
}

impl LinkCapacity {
    fn of(scenario: &Scenario, link: LinkIndex, span: Duration, spans: usize) -> Self {
        let crosses = |flow: &FlowPlan| flow.way.forward.contains(&link);
        let flows: Vec<usize> =
            (0..scenario.flows.len()).filter(|flow| crosses(&scenario.flows[*flow])).collect();
        let mut capacity = Self { link, flows, raw: Vec::new(), free: Vec::new(), media: Vec::new() };
        for from in (0..spans).map(|index| span * index as u32) {
            let raw =
                plan_at(scenario, link, from).capacity(from, from + span).unwrap_or(UNLIMITED).min(UNLIMITED);
            let free = raw - constant_cross(scenario, link, from, span);
            let wants: DataSize =
                capacity.flows.iter().map(|flow| most(&scenario.flows[*flow], from, span)).sum();
            capacity.raw.push(raw.as_bytes());
            capacity.free.push(free.as_bytes());
            capacity.media.push(free.min(wants).as_bytes());
        }
        capacity
    }
}

/// The flows' max-min fair shares in a span, by weight, where nobody gets more than is wanted (progressive filling).
fn fair_shares(
    scenario: &Scenario,
    links: &[LinkCapacity],
    span: Duration,
    index: usize,
) -> Vec<(usize, u64)> {
    let from = span * index as u32;
    let mut parties = parties(scenario, from, span);
    let mut free: Vec<f64> = links.iter().map(|link| link.free[index] as f64).collect();
    // Each round satisfies a party or fills a link, so there are no more rounds than both together.
    for _ in 0..parties.len() + links.len() {
        let level = |party: &Party, at: usize| {
            let open = parties.iter().filter(|other| other.share.is_none() && on(scenario, links, other, at));
            free[at] / open.map(|other| other.weight).sum::<f64>() * party.weight
        };
        let offer = |party: &Party| {
            let crossed = (0..links.len()).filter(|at| on(scenario, links, party, *at));
            crossed.map(|at| level(party, at)).fold(party.want, f64::min)
        };
        let open = parties.iter().enumerate().filter(|(_, party)| party.share.is_none());
        let least = open
            .map(|(at, party)| (at, offer(party)))
            .min_by(|a, b| (a.1 / parties[a.0].weight).total_cmp(&(b.1 / parties[b.0].weight)));
        let Some((at, share)) = least else { break };
        for (number, left) in free.iter_mut().enumerate() {
            if on(scenario, links, &parties[at], number) {
                *left = (*left - share).max(0.0);
            }
        }
        parties[at].share = Some(share);
    }
    let flows = parties.iter().filter(|party| party.number < scenario.flows.len());
    flows.map(|party| (party.number, party.share.unwrap_or(0.0) as u64)).collect()
}

/// Who wants to send in a span.
fn parties(scenario: &Scenario, from: Duration, span: Duration) -> Vec<Party> {
    let flow = |(number, plan): (usize, &FlowPlan)| {
        let want = most(plan, from, span).as_bytes() as f64;
        Party { number, want, weight: plan.weight, share: None }
    };
    let transfer = |(number, cross): (usize, &CrossPlan)| match cross {
        CrossPlan::Bulk { start, stop, .. } if *start <= from && stop.is_none_or(|stop| from < stop) => {
            let number = scenario.flows.len() + number;
            Some(Party { number, want: f64::MAX, weight: 1.0, share: None })
        }
        CrossPlan::Bulk { .. } | CrossPlan::Constant { .. } | CrossPlan::Web { .. } => None,
    };
    let flows = scenario.flows.iter().enumerate().map(flow).filter(|party| party.want > 0.0);
    flows.chain(scenario.cross.iter().enumerate().filter_map(transfer)).collect()
}

/// Whether a party crosses the bottleneck with this index.
fn on(scenario: &Scenario, links: &[LinkCapacity], party: &Party, at: usize) -> bool {
    match party.number.checked_sub(scenario.flows.len()) {
        None => links[at].flows.contains(&party.number),
        Some(number) => {
            matches!(&scenario.cross[number], CrossPlan::Bulk { way, .. } if way.forward.contains(&links[at].link))
        }
    }
}

/// The plan that a link works by at a time.
fn plan_at(scenario: &Scenario, link: LinkIndex, at: Duration) -> &LinkPlan {
    let changed = scenario.changes.iter().rfind(|(when, which, _)| *when <= at && *which == link);
    changed.map_or(&scenario.links[link.0].1, |(_, _, plan)| plan)
}

/// What a flow may send in a span at most.
fn most(flow: &FlowPlan, from: Duration, span: Duration) -> DataSize {
    let stopped = flow.stop.is_some_and(|stop| from >= stop);
    let paused = flow.pauses.iter().any(|(start, end)| (*start..*end).contains(&from));
    if from < flow.start || stopped || paused {
        return DataSize::ZERO;
    }
    let cap = step_at(&flow.camera.caps, from).map_or(Bitrate::MAX, |cap| {
        let sound = flow.microphone.as_ref().map_or(Bitrate::ZERO, |microphone| microphone.rate);
        (cap + sound).scaled(HEADERS)
    });
    flow.limits.max.min(cap) * span
}

fn constant_cross(scenario: &Scenario, link: LinkIndex, from: Duration, span: Duration) -> DataSize {
    let on_link = |cross: &CrossPlan| match cross {
        CrossPlan::Constant { links, rates } if links.contains(&link) => {
            step_at(rates, from).unwrap_or(Bitrate::ZERO)
        }
        CrossPlan::Constant { .. } | CrossPlan::Bulk { .. } | CrossPlan::Web { .. } => Bitrate::ZERO,
    };
    scenario.cross.iter().map(on_link).sum::<Bitrate>() * span
}

/// The value of steps at a time; `None` before the first.
fn step_at(steps: &[(Duration, Bitrate)], at: Duration) -> Option<Bitrate> {
    steps.iter().rfind(|(from, _)| *from <= at).map(|(_, rate)| *rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::find;

    /// Shares in kbit/s at a time.
    fn shares(name: &str, seconds: u64) -> Vec<u64> {
        let span = Duration::from_secs(1);
        let capacity = Capacity::of(&find(name).unwrap(), span);
        let flows = 0..capacity.shares.len();
        flows.map(|flow| (capacity.share(flow, seconds as usize) as f64 * 8.0 / 1e3).round() as u64).collect()
    }

    #[test]
    fn shares_are_max_min_fair_over_all_bottlenecks() {
        for (name, seconds, expected) in [
            ("rfc8867-5.4", 10, &[1_500, 0, 0][..]),
            ("rfc8867-5.4", 30, &[1_500, 1_500, 0]),
            ("rfc8867-5.4", 50, &[1_167, 1_167, 1_167]),
            ("rfc8867-6.1", 50, &[1_500, 1_000, 1_000]),
            ("rfc8867-6.3", 50, &[750, 1_250, 750]),
            ("rfc8867-5.6", 50, &[1_000]),
            ("rfc8867-5.8", 50, &[1_500, 0, 1_500]),
            ("app-limited", 50, &[1_040]),
        ] {
            assert_eq!(shares(name, seconds), expected, "{name} at {seconds} s");
        }
    }

    #[test]
    fn constant_traffic_leaves_the_same_as_a_changing_link() {
        for name in ["rfc8867-5.1", "rfc8867-5.2", "rfc8867-5.3"] {
            for seconds in [10, 30, 45, 65, 85] {
                assert_eq!(
                    shares(name, seconds),
                    shares(&format!("{name}-cbr"), seconds),
                    "{name} at {seconds} s"
                );
            }
        }
    }
}
