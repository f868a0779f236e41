//! Which parcels are lost behind the queue.
//!
//! In: a question for each parcel, in order. Chance: one 64-bit number for each where chance decides, none where not.
//! The state outlives a change of plan: a burst goes on, a count is not begun anew.

use proto::seed::{Chance, Seed};

use super::draw::threshold;
use super::plan;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Loss {
    model: Model,
    chance: Chance,
    bad: bool,
    count: u64,
}

/// The plan with its chances as thresholds for 32-bit numbers.
#[derive(Debug)]
enum Model {
    None,
    Independent(u64),
    GilbertElliott { good_to_bad: u64, bad_to_good: u64, loss_good: u64, loss_bad: u64 },
    EveryNth(u64),
    Trace(std::sync::Arc<[bool]>),
}

impl Loss {
    pub(super) fn new(plan: &plan::Loss, seed: &Seed) -> Self {
        Self { model: Model::new(plan), chance: seed.fork("loss").generator(), bad: false, count: 0 }
    }

    /// Works by another plan from now on.
    pub(super) fn replan(&mut self, plan: &plan::Loss) {
        self.model = Model::new(plan);
    }

    /// Whether the next parcel is lost.
    pub(super) fn takes(&mut self) -> bool {
        match &self.model {
            Model::None => false,
            Model::Independent(share) => self.chance.long_number() >> 32 < *share,
            Model::GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad } => {
                let number = self.chance.long_number();
                let (step, fate) = (number >> 32, number & 0xffff_ffff);
                self.bad = if self.bad { step >= *bad_to_good } else { step < *good_to_bad };
                fate < if self.bad { *loss_bad } else { *loss_good }
            }
            Model::EveryNth(nth) => {
                self.count += 1;
                *nth > 0 && self.count.is_multiple_of(*nth)
            }
            Model::Trace(fates) => {
                let fate = fates.get((self.count % fates.len().max(1) as u64) as usize);
                self.count += 1;
                fate.copied().unwrap_or(false)
            }
        }
    }
}

impl Model {
    fn new(plan: &plan::Loss) -> Self {
        match plan {
            plan::Loss::None => Self::None,
            plan::Loss::Independent(share) => Self::Independent(threshold(*share)),
            plan::Loss::GilbertElliott(chances) => Self::GilbertElliott {
                good_to_bad: threshold(chances.good_to_bad),
                bad_to_good: threshold(chances.bad_to_good),
                loss_good: threshold(chances.loss_good),
                loss_bad: threshold(chances.loss_bad),
            },
            plan::Loss::EveryNth(nth) => Self::EveryNth(*nth),
            plan::Loss::Trace(fates) => Self::Trace(fates.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::GilbertElliott;

    const PARCELS: usize = 1_000_000;

    fn fates(plan: &plan::Loss, parcels: usize) -> Vec<bool> {
        let mut loss = Loss::new(plan, &Seed::from_number(3));
        (0..parcels).map(|_| loss.takes()).collect()
    }

    /// The share of parcels lost, and how many are lost in a row on average.
    fn rate_and_burst(fates: &[bool]) -> (f64, f64) {
        let lost = fates.iter().filter(|lost| **lost).count() as f64;
        let bursts = fates.chunk_by(|a, b| a == b).filter(|run| run[0]).count() as f64;
        (lost / fates.len() as f64, lost / bursts)
    }

    fn within_2_percent(found: f64, wanted: f64) -> bool {
        (found / wanted - 1.0).abs() < 0.02
    }

    #[test]
    fn gilbert_elliott_has_the_loss_rate_and_burst_length_of_theory() {
        // Gilbert's model (all or nothing): rate = g/(g+b), bursts 1/b long. The second row also loses in the good
        // state: rate = (b·lg + g·lb)/(g+b); its bursts follow from the chain that the losses see.
        for (good_to_bad, bad_to_good, loss_good, loss_bad) in
            [(0.01, 0.2, 0.0, 1.0), (0.01, 0.2, 0.01, 0.7), (0.05, 0.5, 0.0, 1.0), (0.002, 0.1, 0.0, 0.5)]
        {
            let plan = GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad };
            let (rate, burst) = rate_and_burst(&fates(&plan::Loss::GilbertElliott(plan), 4 * PARCELS));
            let (good, bad) =
                (bad_to_good / (good_to_bad + bad_to_good), good_to_bad / (good_to_bad + bad_to_good));
            let wanted = good * loss_good + bad * loss_bad;
            // P(this lost and the next one too), from which bursts are 1/(1 − P(next lost | this lost)) long.
            let next = |to_bad: f64| to_bad * loss_bad + (1.0 - to_bad) * loss_good;
            let both = good * loss_good * next(good_to_bad) + bad * loss_bad * next(1.0 - bad_to_good);
            let wanted_burst = 1.0 / (1.0 - both / wanted);
            assert!(within_2_percent(rate, wanted), "{plan:?}: rate {rate}, wanted {wanted}");
            assert!(within_2_percent(burst, wanted_burst), "{plan:?}: burst {burst}, wanted {wanted_burst}");
        }
    }

    #[test]
    fn independent_losses_have_their_rate_and_no_memory() {
        for share in [0.01, 0.1, 0.2] {
            let (rate, burst) = rate_and_burst(&fates(&plan::Loss::Independent(share), PARCELS));
            assert!(within_2_percent(rate, share), "{share}: {rate}");
            assert!(within_2_percent(burst, 1.0 / (1.0 - share)), "{share}: bursts of {burst}");
        }
    }

    #[test]
    fn certain_and_listed_losses_are_exact() {
        let lost = |plan: &plan::Loss| -> Vec<usize> {
            fates(plan, 9).iter().enumerate().filter(|(_, lost)| **lost).map(|(index, _)| index).collect()
        };
        for (plan, wanted) in [
            (plan::Loss::None, &[][..]),
            (plan::Loss::Independent(0.0), &[]),
            (plan::Loss::Independent(1.0), &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
            (plan::Loss::EveryNth(3), &[2, 5, 8]),
            (plan::Loss::EveryNth(0), &[]),
            (plan::Loss::Trace([true, false, false, true].into()), &[0, 3, 4, 7, 8]),
            (plan::Loss::Trace([].into()), &[]),
        ] {
            assert_eq!(lost(&plan), wanted, "{plan:?}");
        }
    }
}
