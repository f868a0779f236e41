//! Controlled delay: which parcel at the head of a queue is to signal congestion (RFC 8289 §4 and §5).
//!
//! In: each parcel's sojourn as it leaves the queue. Time: that moment. Chance: none. Square roots are IEEE's, which
//! round alike everywhere.

use std::time::Duration;

use proto::time::Instant;
use proto::units::DataSize;

/// A queue this small is never taken for a standing one: the interface's MTU (RFC 8289 §5.4).
const PACKET: DataSize = DataSize::bytes(1_500);

/// Leaving the dropping state for less than this many intervals resumes its frequency (RFC 8289 §5.5).
const RESUME_INTERVALS: u32 = 16;

/// See the module's description.
#[derive(Debug)]
pub(super) struct CoDel {
    target: Duration,
    interval: Duration,
    /// When the sojourn will have been above the target for an interval.
    above_since: Option<Instant>,
    dropping: bool,
    drop_next: Instant,
    count: u32,
    last_count: u32,
}

impl CoDel {
    pub(super) fn new(target: Duration, interval: Duration) -> Self {
        Self {
            target,
            interval,
            above_since: None,
            dropping: false,
            drop_next: Instant::ZERO,
            count: 0,
            last_count: 0,
        }
    }

    /// Works by other parameters from now on.
    pub(super) fn replan(&mut self, target: Duration, interval: Duration) {
        (self.target, self.interval) = (target, interval);
    }

    /// Whether the parcel that leaves the queue now is to be dropped or marked; `behind` is what waits after it.
    pub(super) fn signals(&mut self, now: Instant, sojourn: Duration, behind: DataSize) -> bool {
        let standing = self.stands(now, sojourn, behind);
        if !standing {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            self.enter(now);
            return true;
        }
        if now < self.drop_next {
            return false;
        }
        self.count += 1;
        self.drop_next = self.control_law(self.drop_next);
        true
    }

    /// The queue was found empty.
    pub(super) fn handle_empty(&mut self) {
        self.above_since = None;
        self.dropping = false;
    }

    fn stands(&mut self, now: Instant, sojourn: Duration, behind: DataSize) -> bool {
        if sojourn < self.target || behind <= PACKET {
            self.above_since = None;
            return false;
        }
        now >= *self.above_since.get_or_insert(now + self.interval)
    }

    fn enter(&mut self, now: Instant) {
        self.dropping = true;
        let delta = self.count.saturating_sub(self.last_count);
        let recent = now.since(self.drop_next) < self.interval * RESUME_INTERVALS;
        self.count = if delta > 1 && recent { delta } else { 1 };
        self.last_count = self.count;
        self.drop_next = self.control_law(now);
    }

    fn control_law(&self, from: Instant) -> Instant {
        let nanos = self.interval.as_nanos() as f64 / f64::from(self.count.max(1)).sqrt();
        from + Duration::from_nanos(nanos as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When parcels that leave each millisecond with this sojourn are signaled.
    fn signaled(sojourn_ms: impl Fn(u64) -> u64, behind: DataSize) -> Vec<u64> {
        let mut codel = CoDel::new(5 * MS, 100 * MS);
        (0..400)
            .filter(|&ms| codel.signals(Instant::from_millis(ms), sojourn_ms(ms) as u32 * MS, behind))
            .collect()
    }

    #[test]
    fn a_standing_queue_is_signaled_after_an_interval_and_then_ever_more_often() {
        let deep = DataSize::kilobytes(30);
        // The law: 100, then 100 ms, 100/√2 = 70.7, 100/√3 = 57.7, 100/√4 = 50 later.
        assert_eq!(signaled(|_| 20, deep), [100, 200, 271, 329, 379]);
    }

    #[test]
    fn what_does_not_stand_is_left_alone() {
        let deep = DataSize::kilobytes(30);
        assert!(signaled(|_| 4, deep).is_empty(), "below the target");
        assert!(signaled(|_| 20, DataSize::bytes(1_500)).is_empty(), "one packet behind");
        assert!(signaled(|ms| if ms % 90 == 0 { 1 } else { 20 }, deep).is_empty(), "a dip in each interval");
    }

    #[test]
    fn dropping_resumes_where_it_left_off_if_it_comes_back_soon() {
        let dip = |ms| if (330..335).contains(&ms) { 0 } else { 20 };
        let mut codel = CoDel::new(5 * MS, 100 * MS);
        let mut times = Vec::new();
        for ms in 0..600 {
            if codel.signals(Instant::from_millis(ms), dip(ms) * MS, DataSize::kilobytes(30)) {
                times.push(ms);
            }
        }
        // Back after an interval above the target, at a count of 4 − 1 = 3 instead of 1: next 100/√3, 100/√4 later.
        assert_eq!(times, [100, 200, 271, 329, 435, 493, 543, 588]);
    }
}
