//! How many times a block can be sent before its deadline (references §4.1).

use core::time::Duration;

use super::node::ROUNDS_MAX;

/// How long things take on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// What nine round trips in ten do not exceed: a round that fails in one case of ten is not one.
    pub round_trip: Duration,
    /// From us to the receiver; half of `round_trip` unless more is known.
    pub one_way: Duration,
    /// What detecting a loss, reporting and answering it takes beyond the round trip: about 20 ms for browsers, 10 for ours.
    pub turnaround: Duration,
    /// From the first packet of a block to its last, as paced.
    pub pacing: Duration,
    /// From one packet of a block to the next.
    pub spacing: Duration,
}

impl Timing {
    /// Half of the round trip each way, and some ten packets a block.
    pub fn symmetric(round_trip: Duration, turnaround: Duration, pacing: Duration) -> Self {
        Self { round_trip, one_way: round_trip / 2, turnaround, pacing, spacing: pacing / 10 }
    }

    /// From one round of a block to the next.
    pub fn round(&self) -> Duration {
        self.round_trip + self.turnaround
    }

    /// How many rounds end before a deadline, counted from when the block's first packet leaves: 1 to [`ROUNDS_MAX`].
    pub fn rounds(&self, deadline: Duration) -> usize {
        let more = self.beyond_first(deadline).as_nanos() / self.round().as_nanos().max(1);
        1 + usize::try_from(more).unwrap_or(ROUNDS_MAX).min(ROUNDS_MAX - 1)
    }

    /// What is left of the time to a deadline after so many rounds.
    pub fn slack(&self, deadline: Duration, rounds: usize) -> Duration {
        let again = rounds.saturating_sub(1) as u32;
        self.beyond_first(deadline).saturating_sub(self.round().saturating_mul(again))
    }

    /// Whether even the first round ends too late.
    pub fn is_hopeless(&self, deadline: Duration) -> bool {
        deadline < self.one_way + self.pacing
    }

    fn beyond_first(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.one_way + self.pacing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_what_fits_before_the_deadline() {
        let ms = Duration::from_millis;
        for (round_trip, deadline, rounds, slack) in [
            (30, 100, 3, 0),
            (60, 150, 2, 45),
            (100, 150, 1, 95),
            (10, 100, 5, 10),
            (400, 800, 2, 185),
            (10, 800, 8, 650),
            (400, 150, 1, 0),
        ] {
            let timing = Timing::symmetric(ms(round_trip), ms(10), ms(5));
            let found = timing.rounds(ms(deadline));
            let left = timing.slack(ms(deadline), found);
            assert_eq!((found, left), (rounds, ms(slack)), "round trip {round_trip}, deadline {deadline}");
            assert_eq!(timing.is_hopeless(ms(deadline)), deadline < round_trip / 2 + 5);
        }
    }
}
