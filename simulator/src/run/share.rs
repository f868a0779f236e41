//! What each flow's network gives it over time: what the oracle knows and nobody else.

use std::time::Duration;

use proto::units::{Bitrate, DataSize};

use crate::link::LinkPlan;
use crate::link::plan::Rate;
use crate::metrics::capacity::Capacity;
use crate::scenario::Scenario;

/// How finely the oracle knows the future.
const SPAN: Duration = Duration::from_millis(100);

/// Over how many spans it looks ahead on links whose rate never rests (cells, traces).
const AHEAD: usize = 4;

/// Each flow's fair share, from each time on.
pub(super) fn shares(scenario: &Scenario) -> Vec<Vec<(Duration, Bitrate)>> {
    let capacity = Capacity::of(scenario, SPAN);
    let rests = |plan: &LinkPlan| match plan.rate {
        Rate::Unlimited | Rate::Constant(_) | Rate::Steps(_) | Rate::Wifi(_) => true,
        Rate::Opportunities(_) | Rate::Lte(_) => false,
    };
    let ahead = if scenario.links.iter().all(|(_, plan)| rests(plan)) { 1 } else { AHEAD };
    (0..scenario.flows.len()).map(|flow| steps(&capacity, flow, ahead)).collect()
}

fn steps(capacity: &Capacity, flow: usize, ahead: usize) -> Vec<(Duration, Bitrate)> {
    let mut steps: Vec<(Duration, Bitrate)> = Vec::new();
    for span in 0..capacity.spans() {
        let ahead = span..(span + ahead).min(capacity.spans());
        let shares = ahead.map(|span| capacity.share(flow, span));
        let least = shares.min().unwrap_or(0);
        let rate = Bitrate::of(DataSize::bytes(least), capacity.span()).unwrap_or_default();
        if steps.last().is_none_or(|(_, last)| *last != rate) {
            steps.push((SPAN * span as u32, rate));
        }
    }
    steps
}
