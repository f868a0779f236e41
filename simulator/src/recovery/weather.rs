//! What a path loses, asked for any time within a second or so: independent losses, or stretches of time in which all is lost.
//!
//! In: the time a packet passes. Out: whether it is lost. Chance: a seed; stretches are drawn ahead as far as is asked.
//! Limit: stretches older than [`MEMORY`] are forgotten.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fec::plan::losses::Channel;
use proto::seed::{Chance, Seed};
use proto::time::Instant;

/// Nobody asks for a time so long before the last one that was asked for.
const MEMORY: Duration = Duration::from_secs(4);

/// How losses hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Burst {
    /// Not at all.
    Independent,
    /// So many packets of a block in a row, on average.
    Packets(u32),
    /// For 50 ms on average, as Wi-Fi does.
    Outage,
}

impl Burst {
    /// Those of the grid.
    pub const GRID: [Self; 4] = [Self::Independent, Self::Packets(3), Self::Packets(8), Self::Outage];

    /// How long losses hang together (the time in which correlation falls to 1/e), where a share of `loss` is lost and
    /// packets leave `spacing` apart; `None` if they do not.
    pub fn memory(self, loss: f64, spacing: Duration) -> Option<Duration> {
        match self {
            Self::Independent => None,
            Self::Packets(burst) => {
                let correlation = Channel::with_burst(loss, f64::from(burst)).correlation;
                (correlation > 0.0).then(|| spacing.div_f64(-correlation.ln()))
            }
            Self::Outage => Some(OUTAGE.mul_f64(1.0 - loss)),
        }
    }

    /// The path as a chain from packet to packet, `spacing` apart.
    pub fn channel(self, loss: f64, spacing: Duration) -> Channel {
        let correlation = self
            .memory(loss, spacing)
            .map_or(0.0, |memory| (-spacing.as_secs_f64() / memory.as_secs_f64()).exp());
        Channel { loss, correlation }
    }
}

/// The mean length of an outage.
const OUTAGE: Duration = Duration::from_millis(50);

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Independent => write!(f, "iid"),
            Self::Packets(packets) => write!(f, "L{packets}"),
            Self::Outage => write!(f, "outage"),
        }
    }
}

/// There is no such burst.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no burst {0:?}; there are iid, outage, and L with a number of packets, such as L3")]
pub struct UnknownBurst(String);

impl FromStr for Burst {
    type Err = UnknownBurst;

    fn from_str(text: &str) -> Result<Self, UnknownBurst> {
        match text {
            "iid" => Ok(Self::Independent),
            "outage" => Ok(Self::Outage),
            _ => text
                .strip_prefix('L')
                .and_then(|packets| packets.parse().ok())
                .filter(|packets| (2..=100).contains(packets))
                .map(Self::Packets)
                .ok_or_else(|| UnknownBurst(text.to_owned())),
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Weather {
    chance: Chance,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Independent(f64),
    Stretches(Stretches),
}

/// Times in which all is lost, drawn as far as `until`.
#[derive(Debug)]
struct Stretches {
    good: Duration,
    bad: Duration,
    lost: VecDeque<(Instant, Instant)>,
    until: Instant,
}

impl Weather {
    /// A path that loses a share of packets, which leave `spacing` apart.
    pub(super) fn new(loss: f64, burst: Burst, spacing: Duration, seed: &Seed) -> Self {
        let chance = seed.fork("weather").generator();
        let Some(memory) = burst.memory(loss, spacing).filter(|_| loss > 0.0) else {
            return Self { chance, kind: Kind::Independent(loss) };
        };
        let stretches = Stretches {
            good: memory.div_f64(loss),
            bad: memory.div_f64(1.0 - loss),
            lost: VecDeque::new(),
            until: Instant::ZERO,
        };
        Self { chance, kind: Kind::Stretches(stretches) }
    }

    /// Whether a packet is lost that passes at this time.
    pub(super) fn takes(&mut self, at: Instant) -> bool {
        match &mut self.kind {
            Kind::Independent(loss) => uniform(&mut self.chance) < *loss,
            Kind::Stretches(stretches) => stretches.takes(at, &mut self.chance),
        }
    }
}

impl Stretches {
    fn takes(&mut self, at: Instant, chance: &mut Chance) -> bool {
        while self.until <= at {
            let begin = self.until + exponential(chance, self.good);
            self.until = begin + exponential(chance, self.bad);
            self.lost.push_back((begin, self.until));
        }
        while self.lost.front().is_some_and(|(_, end)| *end + MEMORY < at) {
            self.lost.pop_front();
        }
        let next = self.lost.partition_point(|(_, end)| *end <= at);
        self.lost.get(next).is_some_and(|(begin, _)| *begin <= at)
    }
}

/// Evenly from 0 to 1, 1 excluded.
fn uniform(chance: &mut Chance) -> f64 {
    f64::from(chance.number()) / 4_294_967_296.0
}

fn exponential(chance: &mut Chance, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - uniform(chance)).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_runs_are_what_was_asked_for() {
        let spacing = Duration::from_micros(200);
        for (loss, burst, run) in [
            (0.05, Burst::Independent, 1.0 / 0.95),
            (0.05, Burst::Packets(3), 3.0),
            (0.2, Burst::Packets(8), 8.0),
            (0.1, Burst::Outage, 250.0),
        ] {
            let mut weather = Weather::new(loss, burst, spacing, &Seed::from_number(5));
            let fates: Vec<bool> =
                (0..4_000_000_u32).map(|packet| weather.takes(Instant::ZERO + spacing * packet)).collect();
            let lost = fates.iter().filter(|lost| **lost).count() as f64;
            let runs = fates.chunk_by(|a, b| a == b).filter(|run| run[0]).count() as f64;
            let tolerance = if burst == Burst::Outage { 0.15 } else { 0.03 };
            assert!((lost / fates.len() as f64 / loss - 1.0).abs() < tolerance, "{burst}: share {lost}");
            assert!((lost / runs / run - 1.0).abs() < tolerance, "{burst}: runs of {}", lost / runs);
        }
    }

    #[test]
    fn any_order_of_questions_has_the_same_answers() {
        let spacing = Duration::from_micros(200);
        let weather = || Weather::new(0.2, Burst::Packets(8), spacing, &Seed::from_number(5));
        let ask = |weather: &mut Weather, packet: u32| weather.takes(Instant::ZERO + spacing * packet);
        let (mut forwards, mut backwards) = (weather(), weather());
        let there: Vec<bool> = (0..1_000).map(|packet| ask(&mut forwards, packet)).collect();
        let back: Vec<bool> = (0..1_000).rev().map(|packet| ask(&mut backwards, packet)).collect();
        assert!(there.iter().eq(back.iter().rev()));
    }

    #[test]
    fn names_lead_back_to_their_bursts_and_others_nowhere() {
        for burst in Burst::GRID {
            assert_eq!(burst.to_string().parse(), Ok(burst));
        }
        for text in ["", "L", "L1", "L101", "3", "l3"] {
            assert_eq!(text.parse::<Burst>(), Err(UnknownBurst(text.to_owned())));
        }
    }
}
