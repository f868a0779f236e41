//! A cell of LTE as one user sees it: subframes of a millisecond at a rate that wanders, and HARQ.
//!
//! Chance: the rate's path is a function of seed and time alone, so that two runs with other traffic meet the same
//! cell; HARQ draws one number for each transport block. A block leaves at the end of its subframe with what arrived
//! before that. One that was not decoded comes again 8 ms later (3GPP TS 36.321: synchronous, eight processes), up to
//! [`RETRIES_MAX`] times; blocks are handed up in order (RLC), so those behind wait for it.

use std::time::Duration;

use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::Bitrate;

use super::draw;
use super::plan::{Lte, LteRate};
use super::work::Work;

const SUBFRAME: Duration = Duration::from_millis(1);
const HARQ_ROUND_TRIP: Duration = Duration::from_millis(8);
const RETRIES_MAX: u32 = 3;

/// How many times the rate changes while it resembles itself.
const STEPS_PER_COHERENCE: u32 = 8;

/// After the last of a trace's steps it lasts so long until the trace repeats.
pub(super) const LAST_STEP: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Subframes {
    rate: Wander,
    /// Of 2²¹, how many blocks are not decoded.
    fails: u64,
    chance: Chance,
    /// When the blocks so far have been handed up.
    handed_up: Instant,
}

impl LteRate {
    /// This rate's path under a seed, drawn once: from each time on which rate, for `length`.
    pub(crate) fn drawn(&self, length: Duration, seed: &Seed) -> Self {
        match self {
            Self::Steps(_) => self.clone(),
            Self::Fading { mean, sigma, coherence } => {
                let mut path = Fading::new(*mean, *sigma, *coherence, seed);
                let times = (0..).map(|step| *coherence / STEPS_PER_COHERENCE * step);
                let times = times.take_while(|at| *at < length);
                Self::Steps(times.map(|at| (at, path.rate_at(Instant::ZERO + at))).collect())
            }
        }
    }
}

#[derive(Debug)]
enum Wander {
    Steps { steps: Vec<(Duration, Bitrate)>, reference: Bitrate },
    Fading(Box<Fading>),
}

impl Subframes {
    pub(super) fn new(plan: &Lte, seed: &Seed) -> Self {
        let rate = match &plan.rate {
            LteRate::Steps(steps) => Wander::Steps { steps: steps.clone(), reference: first_flowing(steps) },
            LteRate::Fading { mean, sigma, coherence } => {
                Wander::Fading(Fading::new(*mean, *sigma, *coherence, seed).into())
            }
        };
        Self {
            rate,
            fails: draw::threshold(plan.harq_retries) >> 11,
            chance: seed.fork("harq").generator(),
            handed_up: Instant::ZERO,
        }
    }

    /// The end of the first subframe that carries something and ends after `at`.
    pub(super) fn next_after(&mut self, at: Instant) -> Option<Instant> {
        let subframe = SUBFRAME.as_nanos() as u64;
        let end = Instant::from_nanos((at.as_nanos() / subframe + 1).saturating_mul(subframe));
        match &self.rate {
            Wander::Fading(_) => Some(end),
            Wander::Steps { steps, .. } => {
                let flows = steps.iter().any(|(_, rate)| *rate > Bitrate::ZERO);
                flows.then_some(end)
            }
        }
    }

    /// What the subframe that ends at `at` carries.
    pub(super) fn budget_at(&mut self, at: Instant) -> Work {
        let rate = match &mut self.rate {
            Wander::Steps { steps, .. } => rate_of(steps, at - SUBFRAME),
            Wander::Fading(fading) => fading.rate_at(at - SUBFRAME),
        };
        Work::done(rate, SUBFRAME)
    }

    /// How much later than at `at` the block of that moment is handed up.
    pub(super) fn held_back_at(&mut self, at: Instant) -> Duration {
        if self.fails > 0 {
            let number = self.chance.long_number();
            let failed = |attempt: &u32| (number >> (21 * attempt)) & 0x1f_ffff < self.fails;
            let retries = (0..RETRIES_MAX).take_while(failed).count() as u32;
            self.handed_up = self.handed_up.max(at + HARQ_ROUND_TRIP * retries);
        }
        self.handed_up.since(at)
    }

    /// What a depth in time counts with: the rate of the moment or the latest one that was not zero; the mean of one
    /// that fades.
    pub(super) fn reference_at(&mut self, now: Instant) -> Bitrate {
        match &mut self.rate {
            Wander::Steps { steps, reference } => {
                let rate = rate_of(steps, now);
                if rate > Bitrate::ZERO {
                    *reference = rate;
                }
            }
            Wander::Fading(_) => {}
        }
        self.reference()
    }

    pub(super) fn reference(&self) -> Bitrate {
        match &self.rate {
            Wander::Steps { reference, .. } => *reference,
            Wander::Fading(fading) => fading.mean,
        }
    }
}

fn first_flowing(steps: &[(Duration, Bitrate)]) -> Bitrate {
    steps.iter().map(|step| step.1).find(|rate| *rate > Bitrate::ZERO).unwrap_or_default()
}

/// The rate of a trace that repeats.
fn rate_of(steps: &[(Duration, Bitrate)], at: Instant) -> Bitrate {
    let Some((last, _)) = steps.last() else { return Bitrate::ZERO };
    let period = (*last + LAST_STEP).as_nanos() as u64;
    let time = Duration::from_nanos(at.as_nanos() % period);
    let next = steps.partition_point(|(from, _)| *from <= time);
    steps[next.saturating_sub(1)].1
}

/// A rate whose logarithm is an Ornstein-Uhlenbeck process: log-normal, with the mean asked for.
#[derive(Debug)]
struct Fading {
    mean: Bitrate,
    sigma: f64,
    step: u64,
    /// How much of the value remains after a step, and how much of a draw is added.
    keeps: f64,
    adds: f64,
    chance: Chance,
    /// The number of the step that `value` and `rate` are of.
    index: u64,
    value: f64,
    rate: Bitrate,
}

impl Fading {
    fn new(mean: Bitrate, sigma: f64, coherence: Duration, seed: &Seed) -> Self {
        let step = (coherence / STEPS_PER_COHERENCE).max(SUBFRAME);
        let keeps = (-step.as_secs_f64() / coherence.max(SUBFRAME).as_secs_f64()).exp();
        let mut chance = seed.fork("fading").generator();
        let value = draw::normal(&mut chance);
        let adds = (1.0 - keeps * keeps).sqrt();
        let (step, rate) = (step.as_nanos() as u64, Bitrate::ZERO);
        let mut fading = Self { mean, sigma, step, keeps, adds, chance, index: 0, value, rate };
        fading.rate = fading.current();
        fading
    }

    fn rate_at(&mut self, at: Instant) -> Bitrate {
        let index = at.as_nanos() / self.step;
        if index > self.index {
            for _ in self.index..index {
                self.value = self.keeps * self.value + self.adds * draw::normal(&mut self.chance);
            }
            self.index = index;
            self.rate = self.current();
        }
        self.rate
    }

    fn current(&self) -> Bitrate {
        self.mean.scaled((self.sigma * self.value - self.sigma * self.sigma / 2.0).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_fading_rate_has_its_mean_its_deviation_and_its_memory() {
        let (mean, sigma, coherence) = (Bitrate::mbps(5), 0.5, 100 * MS);
        let mut fading = Fading::new(mean, sigma, coherence, &Seed::from_number(2));
        let rates: Vec<f64> = (0..100_000_u64)
            .map(|tick| fading.rate_at(Instant::from_millis(tick * 100)).as_bps() as f64 / 5e6)
            .collect();
        let average = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!((average - 1.0).abs() < 0.02, "{average}");
        let logs: Vec<f64> = rates.iter().map(|rate| rate.ln() + sigma * sigma / 2.0).collect();
        let deviation = (logs.iter().map(|log| log * log).sum::<f64>() / logs.len() as f64).sqrt();
        assert!((deviation - sigma).abs() < 0.01, "{deviation}");
        let product = logs.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / (logs.len() - 1) as f64;
        let correlation = product / (deviation * deviation);
        // A coherence time of 8 steps of 12.5 ms, seen each 100 ms: e⁻¹.
        assert!((correlation - 0.368).abs() < 0.02, "{correlation}");
    }

    #[test]
    fn the_rate_depends_on_time_alone_and_not_on_how_often_it_is_asked() {
        let plan = |seed| Fading::new(Bitrate::mbps(5), 0.5, 40 * MS, &Seed::from_number(seed));
        let (mut often, mut once, mut other) = (plan(1), plan(1), plan(2));
        let end = Instant::from_millis(5_000);
        for ms in 0..5_000 {
            often.rate_at(Instant::from_millis(ms));
        }
        assert_eq!(often.rate_at(end), once.rate_at(end));
        assert_ne!(often.rate_at(end), other.rate_at(end));
    }

    #[test]
    fn blocks_that_fail_hold_those_behind_them_back() {
        let rate = LteRate::Steps(vec![(Duration::ZERO, Bitrate::mbps(10))]);
        let mut subframes = Subframes::new(&Lte { rate, harq_retries: 0.1 }, &Seed::from_number(1));
        let handed_up: Vec<u64> = (1..=200_000)
            .map(Instant::from_millis)
            .map(|at| (at + subframes.held_back_at(at)).as_nanos() / 1_000_000)
            .collect();
        assert!(handed_up.is_sorted());
        // A block is handed up at once if it and the 7 before it did not fail, the 8 before those failed at most once,
        // and the 8 before those at most twice.
        let at_once = handed_up.iter().zip(1..).filter(|(up, at)| *up == at).count() as f64 / 200_000.0;
        let wanted = 0.9_f64.powi(8) * 0.99_f64.powi(8) * 0.999_f64.powi(8);
        assert!((at_once / wanted - 1.0).abs() < 0.02, "{at_once}, wanted {wanted}");
        assert!(handed_up.iter().zip(1..).all(|(up, at)| up - at <= 24));
    }

    #[test]
    fn a_trace_repeats_after_its_last_second() {
        let second = Duration::from_secs(1);
        let steps =
            vec![(Duration::ZERO, Bitrate::mbps(1)), (second, Bitrate::ZERO), (3 * second, Bitrate::mbps(3))];
        let plan = Lte { rate: LteRate::Steps(steps), harq_retries: 0.0 };
        let mut subframes = Subframes::new(&plan, &Seed::from_number(1));
        for (ms, bits) in [
            (1, 1_000),
            (1_000, 1_000),
            (1_001, 0),
            (3_000, 0),
            (3_001, 3_000),
            (4_000, 3_000),
            (4_001, 1_000),
        ] {
            let wanted = Work::done(Bitrate::bps(bits * 1_000), SUBFRAME);
            assert_eq!(subframes.budget_at(Instant::from_millis(ms)), wanted, "{ms} ms");
        }
        assert_eq!(subframes.reference_at(Instant::from_millis(2_000)), Bitrate::mbps(1));
    }
}
