//! The masks that repair towards browsers goes by, as the plan sees them: those found offline ([`crate::scheme::masks`]).
//!
//! In: a block and a channel. Out: what stays missing. Time: none. Limit: the tables' blocks.

use super::losses::{Channel, RunLosses};
use super::masks::MaskQuality;
use crate::scheme::masks::{Loss, MISSING_MAX, quality};

/// The correlation of the losses in runs that the tables are for: three in a row on average.
const TABLED: f64 = 2.0 / 3.0;

/// See the module's description.
///
/// Between independent losses and runs of three straight lines are drawn. Of longer runs parity repairs a share as much
/// smaller as they are longer; what it does not repair is missing as it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OfflineMasks;

impl MaskQuality for OfflineMasks {
    fn missing(&self, media: usize, parities: usize, channel: Channel) -> Vec<f64> {
        let table = |loss| quality(loss, media, parities, channel.loss);
        let tables = table(Loss::Independent).zip(table(Loss::Bursts)).filter(|_| parities > 0);
        let Some((independent, runs)) = tables else {
            return RunLosses::new(channel, 0.0, media).of(media).to_vec();
        };
        if channel.correlation > TABLED {
            return beyond(media, channel, runs[0]);
        }
        let share = (channel.correlation / TABLED).clamp(0.0, 1.0);
        let mut chances = vec![0.0; media + 1];
        for missing in 0..=MISSING_MAX {
            let chance = independent[missing] * (1.0 - share) + runs[missing] * share;
            chances[missing.min(media)] += chance;
        }
        chances
    }
}

/// What is missing where runs are longer than those of the tables, after which a block is whole with a chance of `whole`.
fn beyond(media: usize, channel: Channel, whole: f64) -> Vec<f64> {
    let lossy = |channel| 1.0 - RunLosses::new(channel, 0.0, media).of(media)[0];
    let tabled = Channel { correlation: TABLED, ..channel };
    let repaired = 1.0 - ((1.0 - whole) / lossy(tabled).max(1e-9)).clamp(0.0, 1.0);
    let repaired = repaired * (1.0 - channel.correlation) / (1.0 - TABLED);
    let mut chances = RunLosses::new(channel, 0.0, media).of(media).to_vec();
    chances.iter_mut().skip(1).for_each(|chance| *chance *= 1.0 - repaired);
    chances[0] = 1.0 - chances[1..].iter().sum::<f64>();
    chances
}

#[cfg(test)]
mod tests {
    use super::super::masks::Interleaved;
    use super::*;

    #[test]
    fn chances_sum_to_one_and_more_parity_leaves_less() {
        for media in [1, 3, 12, 48] {
            for correlation in [0.0, 0.3, 0.9] {
                let channel = Channel { loss: 0.05, correlation };
                let whole: Vec<f64> = (0..=6)
                    .map(|parities| {
                        let chances = OfflineMasks.missing(media, parities, channel);
                        assert_eq!(chances.len(), media + 1);
                        assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{media} {parities}");
                        chances[0]
                    })
                    .collect();
                let grows = whole.windows(2).all(|pair| pair[1] >= pair[0] - 1e-3);
                assert!(grows, "{media} {correlation}: {whole:?}");
            }
        }
    }

    #[test]
    fn they_are_better_than_masks_that_need_no_search() {
        let channel = Channel { loss: 0.02, correlation: 0.0 };
        for (media, parities) in [(12, 4), (24, 8), (48, 8)] {
            let [own, other] = [
                OfflineMasks.missing(media, parities, channel)[0],
                Interleaved.missing(media, parities, channel)[0],
            ];
            assert!(1.0 - own < (1.0 - other) / 2.0, "{media} {parities}: {own} {other}");
        }
    }
}
