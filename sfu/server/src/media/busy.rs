//! How busy a worker is: the share of time in which it does something, over the last seconds.
//!
//! In: the beginning and the end of each turn. Out: [`Busy::share`] once a second. Time: the caller's.

use proto::time::Instant;

/// How much of the mean each second is: the last three count for most of it.
const GAIN: f32 = 0.4;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Busy {
    nanos: u64,
    since: Instant,
    mean: f32,
}

impl Busy {
    /// A turn of the worker is over.
    pub(super) fn note(&mut self, began: Instant, ended: Instant) {
        self.nanos += ended.since(began).as_nanos() as u64;
    }

    /// The share of time that was busy of late, 0 to 1.
    pub(super) fn share(&mut self, now: Instant) -> f32 {
        let passed = now.since(self.since).as_nanos() as u64;
        if passed > 0 {
            let share = (self.nanos as f32 / passed as f32).min(1.0);
            self.mean += (share - self.mean) * GAIN;
        }
        (self.nanos, self.since) = (0, now);
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_within_seconds_and_forgets() {
        let mut busy = Busy::default();
        let mut shares = Vec::new();
        for second in 0..20_u64 {
            let began = Instant::from_millis(second * 1_000);
            let length = if second < 10 { 800 } else { 0 };
            busy.note(began, Instant::from_millis(second * 1_000 + length));
            shares.push(busy.share(Instant::from_millis(second * 1_000 + 1_000)));
        }
        assert!(shares[0] < 0.5 && (0.75..=0.8).contains(&shares[9]), "{shares:?}");
        assert!(shares[12] < 0.3 && shares[19] < 0.01, "{shares:?}");
    }
}
