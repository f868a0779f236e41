//! Stalls: gaps of more than 200 ms between complete pictures, while the source makes some.

use std::time::Duration;

use proto::time::Instant;

use super::meter::FlowMeter;
use crate::scenario::{FlowPlan, Scenario};

/// The longest gap that nobody calls a stall.
const GAP_MAX: Duration = Duration::from_millis(200);

/// Seconds a minute in stalls, mean over flows, of the pictures whose being repaired or not `counts`; `None` without
/// flows or time.
pub(super) fn seconds_per_minute(
    scenario: &Scenario,
    flows: &[FlowMeter],
    warm_up: Instant,
    counts: impl Fn(bool) -> bool,
) -> Option<f64> {
    let (mut stalled, mut watched) = (Duration::ZERO, Duration::ZERO);
    for (plan, meter) in scenario.flows.iter().zip(flows) {
        let begin = warm_up.max(Instant::ZERO + plan.start);
        let end = Instant::ZERO + plan.stop.unwrap_or(scenario.duration).min(scenario.duration);
        watched += end.since(begin);
        let complete = meter.complete.iter().filter(|(at, repaired)| *at >= begin && counts(*repaired));
        let mut last = begin;
        for at in complete.map(|(at, _)| *at).chain([end]) {
            let gap = at.since(last).saturating_sub(paused(plan, last, at));
            stalled += if gap > GAP_MAX { gap } else { Duration::ZERO };
            last = at;
        }
    }
    (!watched.is_zero()).then(|| stalled.as_secs_f64() * 60.0 / watched.as_secs_f64())
}

/// How much of a gap the source paused.
fn paused(plan: &FlowPlan, from: Instant, to: Instant) -> Duration {
    let overlap = |(start, end): &(Duration, Duration)| {
        (Instant::ZERO + *end).min(to).since((Instant::ZERO + *start).max(from))
    };
    plan.pauses.iter().map(overlap).sum()
}
