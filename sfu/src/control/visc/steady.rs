//! Steadiness: what a path is taken to carry while its estimate wavers.
//!
//! In: estimates. Out: a rate that stays while they waver around it. Time: `now`, monotonic; no timer. Limit: the paths of
//! the last problem.
//!
//! Estimates are averaged over [`MEMORY`], less while a path is new. The rate taken moves when the average has left it by
//! [`DOWN`] or [`UP`], and at once when an estimate is less than [`FAR_BELOW`] of it: that is no wavering.

use core::time::Duration;

use proto::time::Instant;
use proto::units::Bitrate;

/// Over how long estimates are averaged.
const MEMORY: Duration = Duration::from_secs(6);

/// At least over so long, while a path is new; until then a share of its age.
const MEMORY_MIN: Duration = Duration::from_millis(500);
const OF_AGE: u32 = 2;

/// The average is so much below what was taken, or above it, before that moves.
const DOWN: f64 = 0.93;
const UP: f64 = 1.1;

/// Estimates waver by a fifth.
const FAR_BELOW: f64 = 0.7;

/// What a path is taken to carry.
#[derive(Debug, Clone, Copy)]
struct Path {
    key: u64,
    since: Instant,
    at: Instant,
    average: f64,
    taken: Bitrate,
}

/// The paths of one kind, by number.
#[derive(Debug, Default)]
pub(super) struct Paths {
    paths: Vec<Path>,
    next: Vec<Path>,
}

impl Paths {
    /// What each path is taken to carry, into `taken`, in the order of `estimates`; forgets those that are not among them.
    pub(super) fn handle_estimates(
        &mut self,
        now: Instant,
        estimates: impl Iterator<Item = (u64, Bitrate)>,
        taken: &mut Vec<Bitrate>,
    ) {
        self.next.clear();
        taken.clear();
        for (key, estimate) in estimates {
            let known = self.paths.binary_search_by_key(&key, |path| path.key);
            let path = match known {
                Ok(at) => self.paths[at].after(now, estimate),
                Err(_) => {
                    Path { key, since: now, at: now, average: estimate.as_bps() as f64, taken: estimate }
                }
            };
            taken.push(path.taken);
            self.next.push(path);
        }
        self.next.sort_unstable_by_key(|path| path.key);
        core::mem::swap(&mut self.paths, &mut self.next);
    }
}

impl Path {
    fn after(mut self, now: Instant, estimate: Bitrate) -> Self {
        let bps = estimate.as_bps() as f64;
        let memory = (now.since(self.since) / OF_AGE).clamp(MEMORY_MIN, MEMORY).as_secs_f64();
        let passed = now.since(self.at).as_secs_f64();
        self.average += (bps - self.average) * passed / (passed + memory);
        self.at = now;
        if estimate < self.taken.scaled(FAR_BELOW) {
            self.average = bps;
            self.since = now;
            self.taken = estimate;
        }
        let average = Bitrate::bps(self.average.round() as u64);
        if average < self.taken.scaled(DOWN) || average > self.taken.scaled(UP) {
            self.taken = average;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken after estimates a second apart.
    fn taken(estimates: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let (mut paths, mut taken) = (Paths::default(), Vec::new());
        let step = |(second, kbps): (usize, u64)| {
            let now = Instant::from_millis(second as u64 * 1_000);
            paths.handle_estimates(now, [(7, Bitrate::kbps(kbps))].into_iter(), &mut taken);
            taken[0].as_bps() / 1_000
        };
        estimates.into_iter().enumerate().map(step).collect()
    }

    #[test]
    fn wavering_moves_nothing_and_changes_do() {
        let wavering = (0..80).map(|second| [1_000, 1_190, 860, 1_080, 810, 1_060][second % 6]);
        assert_eq!(taken(wavering)[20..].iter().collect::<std::collections::BTreeSet<_>>().len(), 1);
        let fallen = taken([2_000, 2_000, 2_000, 900, 900]);
        assert_eq!(fallen[3..], [900, 900], "at once");
        let risen = taken(core::iter::repeat_n(1_000, 20).chain(core::iter::repeat_n(2_000, 20)));
        assert!(risen[21] < 1_400, "not at once: {risen:?}");
        assert!(risen[39] > 1_800, "but soon: {risen:?}");
        let sunk = taken(core::iter::repeat_n(1_000, 20).chain(core::iter::repeat_n(850, 20)));
        assert!(sunk[39] < 920, "{sunk:?}");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let (mut paths, mut taken) = (Paths::default(), Vec::new());
        let mut step = |second: u64, estimates: &[(u64, u64)]| {
            let estimates = estimates.iter().map(|(key, kbps)| (*key, Bitrate::kbps(*kbps)));
            paths.handle_estimates(Instant::from_millis(second * 1_000), estimates, &mut taken);
            taken.iter().map(|rate| rate.as_bps() / 1_000).collect::<Vec<_>>()
        };
        assert_eq!(step(0, &[(9, 1_000), (3, 2_000)]), [1_000, 2_000]);
        assert_eq!(step(1, &[(3, 2_100), (9, 1_050)]), [2_000, 1_000], "by number, in the order asked");
        assert_eq!(step(2, &[(3, 2_000)]), [2_000]);
        assert_eq!(step(3, &[(3, 2_000), (9, 1_050)]), [2_000, 1_050]);
    }
}
