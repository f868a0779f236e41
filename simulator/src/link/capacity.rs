//! What a link could carry over a span of time: the measure that utilization is taken by.

use std::time::Duration;

use proto::units::{Bitrate, DataSize};

use super::lte::LAST_STEP;
use super::plan::{LinkPlan, LteRate, Opportunities, Rate, Wifi};

impl LinkPlan {
    /// What the server can let go from one time to another, outages left out; `None` if there is no limit.
    ///
    /// Times count from the start of the run. Where chance decides (Wi-Fi, fading) it is the expectation. Stalls take
    /// nothing: what they hold up is made up for. A policer bounds it by its rate, its burst not counted.
    pub fn capacity(&self, from: Duration, to: Duration) -> Option<DataSize> {
        let up = self.spans_up(from, to);
        let server = (self.rate != Rate::Unlimited)
            .then(|| up.iter().map(|(from, to)| self.rate.served(*from, *to)).sum::<DataSize>());
        let policed = self.policer.map(|policer| policer.rate * to.saturating_sub(from));
        match (server, policed) {
            (Some(server), Some(policed)) => Some(server.min(policed)),
            (one, None) | (None, one) => one,
        }
    }

    /// The parts of a span that are not in an outage.
    fn spans_up(&self, from: Duration, to: Duration) -> Vec<(Duration, Duration)> {
        let mut outages = self.outages.clone();
        outages.sort_by_key(|outage| outage.start);
        let (mut up, mut from) = (Vec::new(), from);
        for outage in outages {
            if outage.start > from {
                up.push((from, outage.start.min(to)));
            }
            from = from.max(outage.start + outage.length);
            if from >= to {
                return up;
            }
        }
        up.push((from, to));
        up
    }
}

impl Rate {
    fn served(&self, from: Duration, to: Duration) -> DataSize {
        let span = to.saturating_sub(from);
        match self {
            Self::Unlimited => DataSize::ZERO,
            Self::Constant(rate) => *rate * span,
            Self::Steps(steps) => served_by_steps(steps, from, to),
            Self::Opportunities(trace) => trace.size * (trace.until(to).saturating_sub(trace.until(from))),
            Self::Wifi(wifi) => wifi.expected() * span,
            Self::Lte(lte) => match &lte.rate {
                LteRate::Fading { mean, .. } => *mean * span,
                LteRate::Steps(steps) => served_by_repeated_steps(steps, from, to),
            },
        }
    }
}

impl Opportunities {
    /// How many opportunities there are until `time`, those of that moment included.
    fn until(&self, time: Duration) -> u64 {
        let period = self.period.as_nanos().max(1);
        let (rounds, rest) = (time.as_nanos() / period, time.as_nanos() % period);
        let rest = Duration::from_nanos(rest as u64);
        rounds as u64 * self.times.len() as u64 + self.times.partition_point(|at| *at <= rest) as u64
    }
}

impl Wifi {
    fn expected(&self) -> Bitrate {
        let stalled = self.stall_every.map_or(0.0, |every| {
            let length = self.stall_length.as_secs_f64() * 0.625; // evenly from a quarter to the whole of it
            length / (every.as_secs_f64() + length).max(f64::MIN_POSITIVE)
        });
        self.share().scaled(1.0 - stalled)
    }
}

fn served_by_steps(steps: &[(Duration, Bitrate)], from: Duration, to: Duration) -> DataSize {
    let ends = steps.iter().skip(1).map(|step| step.0).chain([Duration::MAX]);
    let parts = steps.iter().zip(ends).enumerate().map(|(index, ((start, rate), end))| {
        let start = if index == 0 { Duration::ZERO } else { *start };
        *rate * to.min(end).saturating_sub(from.max(start))
    });
    parts.sum()
}

fn served_by_repeated_steps(steps: &[(Duration, Bitrate)], from: Duration, to: Duration) -> DataSize {
    let Some((last, _)) = steps.last() else { return DataSize::ZERO };
    let period = *last + LAST_STEP;
    let until = |time: Duration| {
        let rounds = time.as_nanos() / period.as_nanos();
        let rest = Duration::from_nanos((time.as_nanos() % period.as_nanos()) as u64);
        let round = served_by_steps(steps, Duration::ZERO, period);
        round * rounds as u64 + served_by_steps(steps, Duration::ZERO, rest)
    };
    until(to) - until(from)
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Lte, Outage, Policer};
    use super::*;

    #[test]
    fn capacity_is_what_the_plan_says_over_any_span() {
        let ms = Duration::from_millis;
        let steps =
            vec![(ms(0), Bitrate::mbps(8)), (ms(1_000), Bitrate::ZERO), (ms(2_000), Bitrate::mbps(16))];
        let times = vec![ms(1), ms(5), ms(10)];
        let trace = Opportunities { size: DataSize::bytes(100), times, period: ms(10) };
        let wifi = Wifi {
            rate: Bitrate::mbps(16),
            aggregate: ms(5),
            contention: ms(5),
            stall_every: None,
            stall_length: ms(0),
        };
        let lte = Lte { rate: LteRate::Steps(steps.clone()), harq_retries: 0.0 };
        for (name, rate, (from, to), bytes) in [
            ("constant", Rate::Constant(Bitrate::mbps(8)), (0, 1_000), 1_000_000),
            ("steps", Rate::Steps(steps.clone()), (500, 2_500), 500_000 + 1_000_000),
            ("the last step lasts", Rate::Steps(steps), (9_000, 10_000), 2_000_000),
            ("repeated steps", Rate::Lte(lte), (2_000, 4_000), 2_000_000 + 1_000_000),
            ("opportunities", Rate::Opportunities(trace.into()), (1, 25), 700),
            ("a shared channel", Rate::Wifi(wifi), (0, 1_000), 1_000_000),
        ] {
            let plan = LinkPlan { rate, ..LinkPlan::default() };
            assert_eq!(plan.capacity(ms(from), ms(to)), Some(DataSize::bytes(bytes)), "{name}");
        }
    }

    #[test]
    fn outages_and_policers_take_their_part_and_no_limit_is_none() {
        let ms = Duration::from_millis;
        let outage = |start, length| Outage { start: ms(start), length: ms(length) };
        let mut plan = LinkPlan { rate: Rate::Constant(Bitrate::mbps(8)), ..LinkPlan::default() };
        plan.outages = vec![outage(900, 200), outage(100, 100), outage(150, 100)];
        assert_eq!(plan.capacity(ms(0), ms(1_000)), Some(DataSize::bytes(750_000)));
        plan.policer = Some(Policer { rate: Bitrate::mbps(4), burst: DataSize::kilobytes(30) });
        assert_eq!(plan.capacity(ms(0), ms(1_000)), Some(DataSize::bytes(500_000)));
        assert_eq!(LinkPlan::default().capacity(ms(0), ms(1_000)), None);
    }
}
