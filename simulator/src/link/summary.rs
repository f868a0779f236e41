//! A plan in a line, for reports: `4.00 Mbit/s, drop-tail 300 ms, delay 25 ms, loss 1%`.

use std::fmt;
use std::time::Duration;

use super::plan::{Depth, EcnMarking, LinkPlan, Loss, LteRate, Outage, Queue, Rate};

impl fmt::Display for LinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.rate, self.queue)?;
        if let Some(policer) = &self.policer {
            write!(f, ", policer {} burst {}", policer.rate, policer.burst)?;
        }
        if let Some(EcnMarking { above }) = self.ecn {
            match above {
                Duration::MAX => write!(f, ", ecn")?,
                above => write!(f, ", ecn above {above:?}")?,
            }
        }
        if let Some(stalls) = &self.stalls {
            write!(f, ", stalls {:?} every {:?}", stalls.length, stalls.every)?;
        }
        for Outage { start, length } in &self.outages {
            write!(f, ", outage {length:?} at {start:?}")?;
        }
        write!(f, "{}", self.loss)?;
        if !self.delay.is_zero() {
            write!(f, ", delay {:?}", self.delay)?;
        }
        if let Some(jitter) = &self.jitter {
            let order = if jitter.reorder { " reordering" } else { "" };
            write!(f, ", jitter σ {:?}{order}", jitter.sigma)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => write!(f, "unlimited"),
            Self::Constant(rate) => write!(f, "{rate}"),
            Self::Steps(steps) => {
                for (index, (from, rate)) in steps.iter().enumerate() {
                    let gap = if index == 0 { "" } else { " → " };
                    write!(f, "{gap}{rate} @{}s", from.as_secs_f64())?;
                }
                Ok(())
            }
            Self::Opportunities(trace) => write!(f, "trace of {} over {:?}", trace.mean(), trace.period),
            Self::Wifi(wifi) => write!(
                f,
                "Wi-Fi {} (aggregates {:?}, contention {:?})",
                wifi.rate, wifi.aggregate, wifi.contention
            ),
            Self::Lte(lte) => match &lte.rate {
                LteRate::Steps(steps) => write!(f, "LTE of {} steps", steps.len()),
                LteRate::Fading { mean, sigma, .. } => write!(f, "LTE {mean} (fading σ {sigma})"),
            },
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropTail(depth) => write!(f, "drop-tail {depth}"),
            Self::CoDel { target, interval, depth } => write!(f, "CoDel {target:?}/{interval:?} of {depth}"),
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => write!(f, "{size}"),
            Self::Packets(packets) => write!(f, "{packets} packets"),
            Self::Time(time) => write!(f, "{time:?}"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Independent(share) => write!(f, ", loss {}%", percent(*share)),
            Self::GilbertElliott(chances) => {
                let burst = 1.0 / chances.bad_to_good;
                let enters = percent(chances.good_to_bad);
                write!(f, ", loss Gilbert-Elliott {enters}% into bursts of {burst:.1}")
            }
            Self::EveryNth(nth) => write!(f, ", loss of every {nth}th"),
            Self::Trace(fates) => write!(f, ", loss by a list of {}", fates.len()),
        }
    }
}

/// A share as a percentage, to four decimals at most.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Jitter, Policer};
    use super::*;
    use proto::units::{Bitrate, DataSize};

    #[test]
    fn a_plan_is_one_line_with_all_that_it_says() {
        let ms = Duration::from_millis;
        let mut plan = LinkPlan { rate: Rate::Constant(Bitrate::mbps(4)), ..LinkPlan::default() };
        assert_eq!(plan.to_string(), "4.00 Mbit/s, drop-tail 300ms");
        plan.policer = Some(Policer { rate: Bitrate::mbps(3), burst: DataSize::kilobytes(30) });
        plan.outages = vec![Outage { start: ms(5_000), length: ms(300) }];
        plan.loss = Loss::Independent(0.01);
        plan.delay = ms(25);
        plan.jitter = Some(Jitter::nr_bpdv(ms(5)));
        assert_eq!(
            plan.to_string(),
            "4.00 Mbit/s, drop-tail 300ms, policer 3.00 Mbit/s burst 30.0 kB, outage 300ms at 5s, \
             loss 1%, delay 25ms, jitter σ 5ms"
        );
        plan = LinkPlan { queue: Queue::DropTail(Depth::Packets(50)), ..LinkPlan::default() };
        plan.rate = Rate::Steps(vec![(ms(0), Bitrate::mbps(4)), (ms(20_000), Bitrate::mbps(1))]);
        assert_eq!(plan.to_string(), "4.00 Mbit/s @0s → 1.00 Mbit/s @20s, drop-tail 50 packets");
    }
}
