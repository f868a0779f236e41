//! The networks of the comparison: what lies between whoever sends to the viewer and the viewer.
//!
//! Links are those of the simulator's scenarios of the same names, without their jitter: a browser's own timing has
//! enough of it. Times in a link count from the start of its relay.

use std::time::Duration;

use proto::units::{Bitrate, DataSize};
use simulator::link::LinkPlan;
use simulator::link::plan::{Depth, Loss, Policer, Queue, Rate, Stalls};

/// Propagation, each way.
const ONE_WAY: Duration = Duration::from_millis(25);

/// A network.
#[derive(Debug, Clone)]
pub(in crate::xtask::bench) struct Plan {
    /// What rows and options call it.
    pub(in crate::xtask::bench) name: &'static str,
    /// What it is like.
    pub(in crate::xtask::bench) about: &'static str,
    link: LinkPlan,
    /// The rates of the three thirds of what is measured, if they differ.
    thirds: Option<[Bitrate; 3]>,
}

/// All of them, in the order of tables.
pub(in crate::xtask::bench) fn all() -> Vec<Plan> {
    let plan = |name, about, link| Plan { name, about, link, thirds: None };
    vec![
        plan("fixed-2m", "2 Mbit/s, queue of 300 ms", of(Bitrate::mbps(2))),
        plan(
            "shallow-20",
            "2 Mbit/s, queue of 20 ms",
            LinkPlan { queue: Queue::DropTail(Depth::Time(ms(20))), ..of(Bitrate::mbps(2)) },
        ),
        plan(
            "policer",
            "a policer of 2 Mbit/s and 30 kB before a fast link",
            LinkPlan {
                policer: Some(Policer { rate: Bitrate::mbps(2), burst: DataSize::kilobytes(30) }),
                ..of(Bitrate::mbps(100))
            },
        ),
        plan(
            "random-2",
            "4 Mbit/s, 2 % of the packets are lost by chance",
            LinkPlan { loss: Loss::Independent(0.02), ..of(Bitrate::mbps(4)) },
        ),
        plan(
            "random-5-rtt-200",
            "4 Mbit/s, 100 ms each way, 5 % of the packets are lost by chance",
            LinkPlan { loss: Loss::Independent(0.05), delay: ms(100), ..of(Bitrate::mbps(4)) },
        ),
        plan(
            "stalls-80",
            "4 Mbit/s, the link stands still for 80 ms each 2.5 s",
            LinkPlan { stalls: Some(Stalls { every: ms(2_500), length: ms(80) }), ..of(Bitrate::mbps(4)) },
        ),
        Plan {
            thirds: Some([3, 1, 3].map(Bitrate::mbps)),
            ..plan("step-3-1-3", "3 Mbit/s, 1 Mbit/s, 3 Mbit/s, a third each", of(Bitrate::mbps(3)))
        },
    ]
}

/// The plan with this name, for options.
pub(in crate::xtask::bench) fn named(name: &str) -> Result<Plan, String> {
    let names: Vec<&str> = all().iter().map(|plan| plan.name).collect();
    let plan = all().into_iter().find(|plan| plan.name == name);
    plan.ok_or_else(|| format!("there are {}", names.join(", ")))
}

impl Plan {
    /// The link towards the viewer until measuring begins.
    pub(in crate::xtask::bench) fn settling(&self) -> LinkPlan {
        self.link.clone()
    }

    /// The link towards the viewer while it is measured from `start` on for `length`.
    pub(in crate::xtask::bench) fn measured(&self, start: Duration, length: Duration) -> LinkPlan {
        let Some([first, second, third]) = self.thirds else { return self.settling() };
        let steps =
            vec![(Duration::ZERO, first), (start + length / 3, second), (start + length * 2 / 3, third)];
        LinkPlan { rate: Rate::Steps(steps), ..self.settling() }
    }

    /// What gets through in kbit/s over a part of what is measured; `length` is the whole of it.
    pub(in crate::xtask::bench) fn capacity_kbps(
        &self,
        from: Duration,
        to: Duration,
        length: Duration,
    ) -> f64 {
        let link = self.measured(Duration::ZERO, length);
        let size = link.capacity(from, to).unwrap_or_default();
        Bitrate::of(size, to.saturating_sub(from)).unwrap_or_default().as_bps() as f64 / 1e3
    }
}

fn of(rate: Bitrate) -> LinkPlan {
    LinkPlan { rate: Rate::Constant(rate), delay: ONE_WAY, ..LinkPlan::default() }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_its_capacity_in_each_third() {
        let length = Duration::from_secs(45);
        let thirds = |plan: &Plan| {
            [0, 1, 2].map(|third| {
                plan.capacity_kbps(length * third / 3, length * (third + 1) / 3, length).round() as u64
            })
        };
        for (name, kbps) in [
            ("fixed-2m", [2_000; 3]),
            ("shallow-20", [2_000; 3]),
            ("policer", [2_000; 3]),
            ("random-2", [4_000; 3]),
            ("random-5-rtt-200", [4_000; 3]),
            ("stalls-80", [4_000; 3]),
            ("step-3-1-3", [3_000, 1_000, 3_000]),
        ] {
            assert_eq!(thirds(&named(name).unwrap()), kbps, "{name}");
        }
        assert_eq!(all().len(), 7);
    }

    #[test]
    fn steps_wait_for_the_measuring_to_begin() {
        let plan = named("step-3-1-3").unwrap();
        let link = plan.measured(Duration::from_secs(10), Duration::from_secs(45));
        let mbps = |from, to| {
            let size = link.capacity(Duration::from_secs(from), Duration::from_secs(to)).unwrap();
            Bitrate::of(size, Duration::from_secs(to - from)).unwrap()
        };
        assert_eq!([mbps(0, 25), mbps(25, 40), mbps(40, 99)], [3, 1, 3].map(Bitrate::mbps));
        assert!(named("fixed-4m").unwrap_err().contains("fixed-2m, shallow-20"), "the names are told");
    }
}
