//! Spans of time in which a link does not work: the server's regular stalls, and outages.
//!
//! Pure arithmetic over the plan: nothing is kept but a place in a sorted list, so it does not matter how often or how
//! late anybody asks.

use std::time::Duration;

use proto::time::Instant;

use super::plan::{self, Outage};

/// When the server stalls: from each multiple of the period on, the zeroth excepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stalls {
    every: u64,
    length: u64,
}

impl Stalls {
    /// `None` if it never stalls.
    pub(super) fn new(plan: plan::Stalls) -> Option<Self> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let every = nanos(plan.every);
        // A stall as long as its period would be an outage; so there is always a moment between two of them.
        let stalls = Self { every, length: nanos(plan.length).min(every.saturating_sub(1)) };
        (stalls.length > 0).then_some(stalls)
    }

    /// When the stall around `at` ends; `None` if there is none. Its end does not belong to it.
    pub(super) fn end_at(self, at: Instant) -> Option<Instant> {
        let begun = at.as_nanos() / self.every * self.every;
        let end = begun.saturating_add(self.length);
        (begun > 0 && at.as_nanos() < end).then_some(Instant::from_nanos(end))
    }

    /// When the next stall after `at` begins.
    pub(super) fn next_after(self, at: Instant) -> Instant {
        Instant::from_nanos((at.as_nanos() / self.every + 1).saturating_mul(self.every))
    }
}

/// When nothing gets through.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// From, to; by beginning.
    spans: Vec<(Instant, Instant)>,
    /// Those before this one are over.
    over: usize,
}

impl Outages {
    pub(super) fn new(plan: &[Outage]) -> Self {
        let span =
            |outage: &Outage| (Instant::ZERO + outage.start, Instant::ZERO + outage.start + outage.length);
        let mut spans: Vec<_> = plan.iter().map(span).collect();
        spans.sort_unstable();
        spans.dedup_by(|later, earlier| {
            let joined = later.0 <= earlier.1;
            if joined {
                earlier.1 = earlier.1.max(later.1);
            }
            joined
        });
        Self { spans, over: 0 }
    }

    /// Whether the link is down at `at`, which must not go back.
    pub(super) fn is_down(&mut self, at: Instant) -> bool {
        while self.spans.get(self.over).is_some_and(|(_, end)| *end <= at) {
            self.over += 1;
        }
        self.spans.get(self.over).is_some_and(|(start, _)| *start <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn stalls_come_after_each_period_and_end_on_time() {
        let stalls = Stalls::new(plan::Stalls { every: 100 * MS, length: 30 * MS }).unwrap();
        for (at, end, next) in [
            (0, None, 100),
            (20, None, 100),
            (99, None, 100),
            (100, Some(130), 200),
            (129, Some(130), 200),
            (130, None, 200),
            (200, Some(230), 300),
        ] {
            let at = Instant::from_millis(at);
            assert_eq!(stalls.end_at(at), end.map(Instant::from_millis), "{at:?}");
            assert_eq!(stalls.next_after(at), Instant::from_millis(next), "{at:?}");
        }
        assert_eq!(Stalls::new(plan::Stalls { every: Duration::ZERO, length: MS }), None);
        let always = Stalls::new(plan::Stalls { every: MS, length: MS }).unwrap();
        assert!(always.end_at(always.end_at(Instant::from_millis(1)).unwrap()).is_none());
    }

    #[test]
    fn outages_are_down_from_their_start_to_before_their_end_in_whatever_order_they_are_stated() {
        let outage = |start, length| Outage { start: start * MS, length: length * MS };
        let mut outages = Outages::new(&[outage(50, 10), outage(10, 5), outage(12, 10)]);
        let down: Vec<u64> = (0..80).filter(|ms| outages.is_down(Instant::from_millis(*ms))).collect();
        assert_eq!(down, (10..22).chain(50..60).collect::<Vec<u64>>());
    }
}
