//! What a path loses of sound, packet by packet, and how much later than others packets arrive.
//!
//! In: nothing but time passing, a packet at a time. Out: whether it is lost, and its jitter. Chance: a seed.

use std::fmt;
use std::time::Duration;

use fec::plan::losses::Channel;
use proto::seed::{Chance, Seed};
use simulator::recovery::Burst;

use super::play::INTERVAL;

/// A path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The share of packets lost, 0 to 1.
    pub loss: f64,
    /// How losses hang together, from one packet of sound to the next.
    pub burst: Burst,
}

impl Point {
    /// Those that are measured: without losses, and with the figure's.
    pub fn all() -> Vec<Self> {
        let bursts = [Burst::Independent, Burst::Packets(3)];
        let lossy = bursts.map(|burst| [0.1, 0.2, 0.3].map(|loss| Self { loss, burst })).concat();
        [vec![Self { loss: 0.0, burst: Burst::Independent }], lossy].concat()
    }

    /// From one packet to the next.
    pub(super) fn channel(&self) -> Channel {
        self.burst.channel(self.loss, INTERVAL)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} % {}", self.loss * 100.0, self.burst)
    }
}

/// The greatest jitter.
const JITTER_MAX: Duration = Duration::from_millis(10);

/// See the module's description.
pub(super) struct Path {
    channel: Channel,
    is_bad: bool,
    chance: Chance,
}

impl Path {
    pub(super) fn new(point: Point, seed: &Seed) -> Self {
        let (channel, mut chance) = (point.channel(), seed.fork("path").generator());
        let is_bad = uniform(&mut chance) < channel.loss;
        Self { channel, is_bad, chance }
    }

    /// The next packet's jitter; `None` if it is lost.
    pub(super) fn pass(&mut self) -> Option<Duration> {
        let (fall, rise) = self.channel.steps();
        let step = uniform(&mut self.chance);
        self.is_bad = if self.is_bad { step >= rise } else { step < fall };
        let jitter = JITTER_MAX.mul_f64(uniform(&mut self.chance));
        (!self.is_bad).then_some(jitter)
    }
}

/// Evenly from 0 to 1, 1 excluded.
pub(super) fn uniform(chance: &mut Chance) -> f64 {
    f64::from(chance.number()) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_runs_are_what_was_asked_for() {
        for point in Point::all() {
            let mut path = Path::new(point, &Seed::from_number(3));
            let fates: Vec<bool> = (0..200_000).map(|_| path.pass().is_none()).collect();
            let lost = fates.iter().filter(|lost| **lost).count() as f64;
            let runs = fates.chunk_by(|a, b| a == b).filter(|run| run[0]).count() as f64;
            let run = match point.burst {
                Burst::Packets(run) => f64::from(run),
                Burst::Independent | Burst::Outage => 1.0 / (1.0 - point.loss),
            };
            assert!((lost / 200_000.0 - point.loss).abs() < 0.006, "{point}: {lost} lost");
            assert!(point.loss == 0.0 || (lost / runs / run - 1.0).abs() < 0.03, "{point}: {runs} runs");
        }
    }
}
