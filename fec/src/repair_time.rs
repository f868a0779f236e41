//! How late a repaired packet comes: what a receiver's playout must wait for if repair shall be of use to it.
//!
//! In: repairs. Out: a duration that most repairs keep. Time: `now`, monotonic. Limit: `FLOOR_MAX`.

use core::time::Duration;

use proto::time::Instant;

/// More delay than this costs a conversation more than a frozen picture does (ITU-T G.114: 400 ms mouth to ear).
const FLOOR_MAX: Duration = Duration::from_millis(250);

/// A few seconds without a repair prove nothing, at 1 % loss of a small picture; so long a time does.
const HOLD: Duration = Duration::from_secs(10);

/// How fast the duration shrinks afterwards: a playout that speeds up by 2 % is not noticed.
const SHRINK_PER_SECOND: Duration = Duration::from_millis(20);

/// The asymmetric mean of how long repairs take; see the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairTime {
    mean: Duration,
    last: Option<Instant>,
}

impl RepairTime {
    /// A packet came by repair, `took` after it was found missing.
    ///
    /// Slow repairs weigh 27 times as much as quick ones (an expectile, Newey and Powell 1987): of repairs of which one in
    /// ten needs a second try and one in a hundred a third, the mean lies between the first and the second try, near
    /// enough to the third for a player's own patience to bridge.
    pub fn handle_repair(&mut self, now: Instant, took: Duration) {
        let mean = self.floor(now);
        let (above, below) = (took.saturating_sub(mean), mean.saturating_sub(took));
        self.mean = (mean + above * 9 / 20).saturating_sub(below / 60);
        self.last = Some(now);
    }

    /// How long playout should wait at `now`; zero if nothing has been repaired of late.
    pub fn floor(&self, now: Instant) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        let idle = now.since(last).saturating_sub(HOLD);
        let shrunk = SHRINK_PER_SECOND.mul_f64(idle.as_secs_f64());
        self.mean.saturating_sub(shrunk).min(FLOOR_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_floor_leans_to_the_slow_repairs_and_fades() {
        let mut time = RepairTime::default();
        assert_eq!(time.floor(Instant::ZERO), Duration::ZERO);
        let mut now = Instant::ZERO;
        for round in 0..200 {
            now += ms(100);
            time.handle_repair(now, if round % 8 == 0 { ms(180) } else { ms(75) });
        }
        let floor = time.floor(now);
        assert!((ms(100)..ms(180)).contains(&floor), "{floor:?}");
        assert_eq!(time.floor(now + HOLD), floor, "kept for a while");
        assert_eq!(time.floor(now + HOLD + Duration::from_secs(1)) + ms(20), floor);
        assert_eq!(time.floor(now + Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn the_floor_has_a_ceiling() {
        let mut time = RepairTime::default();
        for _ in 0..100 {
            time.handle_repair(Instant::ZERO, Duration::from_secs(2));
        }
        assert_eq!(time.floor(Instant::ZERO), FLOOR_MAX);
    }
}
