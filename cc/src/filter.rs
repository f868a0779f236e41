//! Windowed extremes: the greatest or the least value of a recent stretch of a stream.
//!
//! In: values with their times. Out: the extreme of those not older than the window. Time: whatever counts forward:
//! points in time, rounds, sample numbers. Limit: `SAMPLES_MAX` candidates.
//!
//! Exact, with one candidate for each value that may yet become the extreme; an update costs O(1) on average. An old
//! extreme is forgotten when a newer value comes, not by the passing of time: a stream that falls silent keeps its
//! last answer.

use core::cmp::Reverse;
use core::ops::Add;
use std::collections::VecDeque;

/// How many candidates are kept: a report every 50 ms for 10 s, each lower than the one before, and some to spare.
const SAMPLES_MAX: usize = 256;

/// The greatest value of a window.
#[derive(Debug, Clone)]
pub struct WindowedMax<V, T> {
    /// Later candidates are smaller.
    candidates: VecDeque<(V, T)>,
}

impl<V: Copy + Ord, T: Copy + PartialOrd> WindowedMax<V, T> {
    /// A filter that has seen nothing.
    pub const fn new() -> Self {
        Self { candidates: VecDeque::new() }
    }

    /// Takes in `value`, seen at `time`, forgets what is more than `window` older, and says what is greatest now.
    ///
    /// When there are too many candidates, the last one stands in for this value: the answer may then be too great
    /// by the difference between two neighbors.
    pub fn update<D: Copy>(&mut self, time: T, value: V, window: D) -> V
    where
        T: Add<D, Output = T>,
    {
        while self.candidates.back().is_some_and(|&(candidate, _)| candidate <= value) {
            self.candidates.pop_back();
        }
        while self.candidates.front().is_some_and(|&(_, seen)| time > seen + window) {
            self.candidates.pop_front();
        }
        if self.candidates.len() < SAMPLES_MAX {
            self.candidates.push_back((value, time));
        } else if let Some(last) = self.candidates.back_mut() {
            last.1 = time;
        }
        self.value().unwrap_or(value)
    }

    /// The greatest value; `None` if there was none.
    pub fn value(&self) -> Option<V> {
        self.candidates.front().map(|&(value, _)| value)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }
}

impl<V: Copy + Ord, T: Copy + PartialOrd> Default for WindowedMax<V, T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The least value of a window.
#[derive(Debug, Clone)]
pub struct WindowedMin<V, T>(WindowedMax<Reverse<V>, T>);

impl<V: Copy + Ord, T: Copy + PartialOrd> WindowedMin<V, T> {
    /// A filter that has seen nothing.
    pub const fn new() -> Self {
        Self(WindowedMax::new())
    }

    /// Takes in `value`, seen at `time`, forgets what is more than `window` older, and says what is least now.
    pub fn update<D: Copy>(&mut self, time: T, value: V, window: D) -> V
    where
        T: Add<D, Output = T>,
    {
        self.0.update(time, Reverse(value), window).0
    }

    /// The least value; `None` if there was none.
    pub fn value(&self) -> Option<V> {
        self.0.value().map(|Reverse(value)| value)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<V: Copy + Ord, T: Copy + PartialOrd> Default for WindowedMin<V, T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;
    use proto::time::Instant;

    use super::*;

    #[test]
    fn the_extreme_is_that_of_the_window() {
        for (name, values, greatest, least) in [
            ("one", &[3][..], 3, 3),
            ("rising", &[1, 2, 3], 3, 1),
            ("falling", &[3, 2, 1], 3, 1),
            ("the old one is forgotten", &[9, 1, 5, 4], 5, 1),
            ("equal values count as the newer", &[5, 5, 1, 1], 5, 1),
        ] {
            let (mut max, mut min) = (WindowedMax::new(), WindowedMin::new());
            for (time, &value) in (0u64..).zip(values) {
                max.update(time, value, 2u64);
                min.update(time, value, 2u64);
            }
            assert_eq!((max.value(), min.value()), (Some(greatest), Some(least)), "{name}");
        }
    }

    #[test]
    fn time_may_be_points_in_time_and_silence_keeps_the_last_answer() {
        let mut min = WindowedMin::<Duration, Instant>::new();
        assert_eq!(min.value(), None);
        let window = Duration::from_secs(10);
        min.update(Instant::from_millis(0), Duration::from_millis(20), window);
        assert_eq!(
            min.update(Instant::from_millis(10_000), Duration::from_millis(30), window).as_millis(),
            20
        );
        assert_eq!(
            min.update(Instant::from_millis(10_001), Duration::from_millis(40), window).as_millis(),
            30
        );
        assert_eq!(min.value(), Some(Duration::from_millis(30)));
        min.clear();
        assert_eq!(min.value(), None);
    }

    #[test]
    fn candidates_are_bounded_and_then_err_upward_only() {
        let mut max = WindowedMax::new();
        for time in 0..10_000u64 {
            max.update(time, 20_000 - time, 1_000u64);
        }
        assert!(max.candidates.len() <= SAMPLES_MAX);
        let truth = 20_000 - (9_999 - 1_000);
        assert!(max.value().is_some_and(|value| value >= truth), "{:?} < {truth}", max.value());
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_a_search(values in prop::collection::vec(0u32..50, 1..200), window in 0u64..30) {
            let (mut max, mut min) = (WindowedMax::new(), WindowedMin::new());
            for (index, &value) in values.iter().enumerate() {
                let recent = &values[index.saturating_sub(window as usize)..=index];
                prop_assert_eq!(Some(max.update(index as u64, value, window)), recent.iter().copied().max());
                prop_assert_eq!(Some(min.update(index as u64, value, window)), recent.iter().copied().min());
            }
        }
    }
}
