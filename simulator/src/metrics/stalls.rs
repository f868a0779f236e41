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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::find;

    /// Seconds a minute in stalls of a flow of `fixed-4m` that pauses from 30 s to 40 s and whose pictures, 25 a second,
    /// are missing from each of these times to the other, in milliseconds.
    fn stalled(missing: &[(u64, u64)]) -> f64 {
        let mut scenario = find("fixed-4m").unwrap();
        let (from, to) = (Duration::from_secs(30), Duration::from_secs(40));
        scenario.flows[0].pauses = vec![(from, to)];
        let mut meter = FlowMeter::default();
        let made = (0..60_000_u64).step_by(40).filter(|at| !(30_000..40_000).contains(at));
        let arrived = made.filter(|at| !missing.iter().any(|(from, to)| (*from..*to).contains(at)));
        meter.complete = arrived.map(|at| (Instant::from_millis(at), false)).collect();
        let warm_up = Instant::ZERO + scenario.warm_up;
        let seconds = seconds_per_minute(&scenario, &[meter], warm_up, |_| true).unwrap();
        (seconds * 55.0 / 60.0 * 1e3).round() / 1e3 // of the 55 s that are watched
    }

    #[test]
    fn gaps_count_whole_and_pauses_do_not() {
        for (name, missing, seconds) in [
            ("none", &[][..], 0.0),
            ("a gap of 200 ms", &[(10_000, 10_160)], 0.0),
            ("a gap of 240 ms", &[(10_000, 10_200)], 0.24),
            ("two gaps", &[(10_000, 10_480), (20_000, 20_480)], 1.04),
            ("before the warm-up is over", &[(1_000, 3_000)], 0.0),
            ("five seconds after the pause", &[(40_000, 45_000)], 5.04),
            ("to the end", &[(59_000, 60_000)], 1.04),
        ] {
            assert!((stalled(missing) - seconds).abs() < 1e-9, "{name}: {}", stalled(missing));
        }
    }
}
