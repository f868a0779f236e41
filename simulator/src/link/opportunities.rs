//! The slots of a trace of delivery opportunities, repeated for ever (mahimahi's model).
//!
//! In: ascending questions. Opportunities of the same moment are one slot with all their budgets.

use std::sync::Arc;

use proto::time::Instant;
use proto::units::Bitrate;

use super::plan::Opportunities;
use super::work::Work;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Schedule {
    plan: Arc<Opportunities>,
    mean: Bitrate,
    period: u64,
    /// When the current repetition began, in nanoseconds.
    begun: u64,
    /// The first opportunity of it that has not been told.
    index: usize,
}

impl Schedule {
    pub(super) fn new(plan: Arc<Opportunities>) -> Self {
        let period = u64::try_from(plan.period.as_nanos()).unwrap_or(u64::MAX);
        Self { mean: plan.mean(), plan, period, begun: 0, index: 0 }
    }

    /// The first slot later than `at`.
    pub(super) fn next_after(&mut self, at: Instant) -> Option<Instant> {
        if self.period == 0 || self.plan.times.is_empty() {
            return None;
        }
        if self.upcoming() <= at {
            self.begun = at.as_nanos() / self.period * self.period;
            let passed = at.since(Instant::from_nanos(self.begun));
            self.index = self.plan.times.partition_point(|time| *time <= passed);
            self.wrap();
        }
        Some(self.upcoming())
    }

    /// What can be carried at `at`, which is the slot told last.
    pub(super) fn budget_at(&mut self, at: Instant) -> Work {
        let mut opportunities = 0;
        while self.upcoming() <= at {
            opportunities += 1;
            self.index += 1;
            self.wrap();
        }
        Work::of(self.plan.size).times(opportunities)
    }

    /// The mean rate of the whole trace.
    pub(super) fn mean(&self) -> Bitrate {
        self.mean
    }

    fn wrap(&mut self) {
        if self.index >= self.plan.times.len() {
            self.index = 0;
            self.begun = self.begun.saturating_add(self.period);
        }
    }

    fn upcoming(&self) -> Instant {
        let time = self.plan.times.get(self.index).copied().unwrap_or_default();
        Instant::from_nanos(self.begun) + time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::units::DataSize;
    use std::time::Duration;

    #[test]
    fn slots_repeat_and_those_of_a_moment_are_one() {
        let times = [2, 2, 5, 10].map(Duration::from_millis).to_vec();
        let plan = Opportunities { size: DataSize::bytes(1_500), times, period: Duration::from_millis(10) };
        assert_eq!(plan.mean(), Bitrate::kbps(4_800));
        let mut schedule = Schedule::new(plan.into());
        let one = Work::of(DataSize::bytes(1_500));
        let mut at = Instant::ZERO;
        for (ms, opportunities) in [(2, 2), (5, 1), (10, 1), (12, 2), (15, 1), (20, 1), (22, 2)] {
            at = schedule.next_after(at).unwrap();
            assert_eq!(at, Instant::from_millis(ms));
            assert_eq!(schedule.budget_at(at), one.times(opportunities), "at {ms} ms");
        }
        assert_eq!(schedule.next_after(Instant::from_millis(10_010)), Some(Instant::from_millis(10_012)));
        assert_eq!(schedule.next_after(Instant::from_millis(10_018)), Some(Instant::from_millis(10_020)));
        assert_eq!(schedule.next_after(Instant::from_millis(10_020)), Some(Instant::from_millis(10_022)));
    }

    #[test]
    fn an_opportunity_at_the_end_of_the_period_meets_one_at_its_beginning() {
        let times = [0, 10].map(Duration::from_millis).to_vec();
        let plan = Opportunities { size: DataSize::bytes(100), times, period: Duration::from_millis(10) };
        let mut schedule = Schedule::new(plan.into());
        assert_eq!(schedule.next_after(Instant::ZERO), Some(Instant::from_millis(10)));
        assert_eq!(schedule.budget_at(Instant::from_millis(10)), Work::of(DataSize::bytes(200)));
        // Asked after a pause it is the same, though found by search.
        assert_eq!(schedule.next_after(Instant::from_millis(55)), Some(Instant::from_millis(60)));
        assert_eq!(schedule.budget_at(Instant::from_millis(60)), Work::of(DataSize::bytes(200)));
    }
}
