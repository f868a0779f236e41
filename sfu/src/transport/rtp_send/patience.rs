//! How long a player is asked to wait for repair: longer at once, shorter slowly.
//!
//! In: what the plan says. Out: a duration. Time: `now`, monotonic. Limit: [`MAX`].

use core::time::Duration;

use proto::time::Instant;

/// Nobody is asked to wait longer.
const MAX: Duration = Duration::from_millis(700);

/// The wait stays for so long, though the plan would do with less: losses come and go.
const HOLD: Duration = Duration::from_secs(5);

/// How fast it shrinks afterwards: a player that speeds up by 2 % is not noticed.
const SHRINK_PER_SECOND: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    wait: Duration,
    /// When the plan last wanted as much.
    wanted: Instant,
    at: Instant,
}

impl Patience {
    /// The plan wants so much by now.
    pub(super) fn set(&mut self, now: Instant, wait: Duration) {
        let elapsed = now.since(core::mem::replace(&mut self.at, now));
        let wait = wait.min(MAX);
        if wait >= self.wait {
            (self.wait, self.wanted) = (wait, now);
        } else if now.since(self.wanted) > HOLD {
            let shrunk = SHRINK_PER_SECOND.mul_f64(elapsed.as_secs_f64());
            self.wait = self.wait.saturating_sub(shrunk).max(wait);
        }
    }

    /// How long to wait.
    pub(super) fn get(&self) -> Duration {
        self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_at_once_and_shrinks_slowly_after_a_while() {
        let mut patience = Patience::default();
        for (millis, wanted, expected) in [
            (0, 100, 100),
            (50, 230, 230),
            (100, 0, 230),
            (5_000, 0, 230),
            (5_100, 0, 228),
            (6_100, 0, 208),
            (6_200, 220, 220),
            (6_300, 5_000, 700),
        ] {
            patience.set(Instant::from_millis(millis), Duration::from_millis(wanted));
            assert_eq!(patience.get().as_millis(), expected, "after {millis} ms");
        }
    }
}
