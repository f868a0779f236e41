//! How many of some packets in a row are lost: exactly, for independent losses and for losses in runs (references §4.2).
//!
//! In: the share lost, and how the fates hang together. Out: [`RunLosses`], the distribution for every length up to a
//! limit. Two states (Gilbert 1960): in the bad one every packet is lost, in the good one none.

/// How a path loses the packets of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Channel {
    /// The share of packets lost, 0 to 1.
    pub loss: f64,
    /// The correlation of the fates of two packets in a row, 0 to 1; 0 if losses are independent.
    pub correlation: f64,
}

impl Channel {
    /// The path with this share of losses in runs of so many packets on average; `burst` of less than what chance alone
    /// makes counts as that.
    pub fn with_burst(loss: f64, burst: f64) -> Self {
        let correlation = 1.0 - 1.0 / (burst * (1.0 - loss)).max(1.0);
        Self { loss, correlation }
    }

    /// The chances to fall from the good state into the bad one and to rise again, from one packet to the next.
    pub fn steps(self) -> (f64, f64) {
        (self.loss * (1.0 - self.correlation), (1.0 - self.loss) * (1.0 - self.correlation))
    }
}

/// What is less likely than that makes no difference to any plan.
pub(super) const NEVER: f64 = 1e-13;

/// For every number of packets in a row: the chance that so many of them are lost.
#[derive(Debug, Clone)]
pub struct RunLosses {
    /// `[sent·(sent+1)/2 + lost]`.
    chances: Vec<f64>,
    /// For each length: one more than the most losses that are likely enough to count.
    likely: Vec<usize>,
}

impl RunLosses {
    /// For all runs up to `longest` packets of a channel.
    ///
    /// `carry` is how much of the correlation with a lost packet before the run is left at its beginning: 0 for a run that
    /// knows of nothing before it, 1 for one that follows right after a loss.
    pub fn new(channel: Channel, carry: f64, longest: usize) -> Self {
        let Channel { loss, .. } = channel;
        let (fall, rise) = channel.steps();
        let bad_first = loss + (1.0 - loss) * carry;
        // Chances of the state after the packets so far, by how many of them were lost.
        let (mut good, mut bad) = (vec![0.0; longest + 1], vec![0.0; longest + 1]);
        (good[0], bad[0]) = (1.0 - bad_first, bad_first);
        let (mut chances, mut likely) = (vec![1.0], vec![1]);
        for sent in 1..=longest {
            for lost in (0..=sent).rev() {
                let stays_good = good[lost] * (1.0 - fall) + bad[lost] * rise;
                let now_bad =
                    if lost == 0 { 0.0 } else { good[lost - 1] * fall + bad[lost - 1] * (1.0 - rise) };
                (good[lost], bad[lost]) = (stays_good, now_bad);
            }
            chances.extend((0..=sent).map(|lost| good[lost] + bad[lost]));
            let most = (0..=sent).rev().find(|lost| good[*lost] + bad[*lost] > NEVER);
            likely.push(most.map_or(0, |most| most + 1));
        }
        Self { chances, likely }
    }

    /// The chances that none, one, two … of `sent` packets are lost.
    pub fn of(&self, sent: usize) -> &[f64] {
        let first = sent * (sent + 1) / 2;
        self.chances.get(first..=first + sent).unwrap_or(&[])
    }

    /// The same without what hardly ever happens at the end.
    pub(super) fn likely_of(&self, sent: usize) -> &[f64] {
        let chances = self.of(sent);
        &chances[..self.likely.get(sent).map_or(0, |likely| (*likely).min(chances.len()))]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binomial(sent: u32, lost: u32, loss: f64) -> f64 {
        let ways = (0..lost).fold(1.0, |ways, at| ways * f64::from(sent - at) / f64::from(at + 1));
        ways * loss.powi(lost as i32) * (1.0 - loss).powi((sent - lost) as i32)
    }

    #[test]
    fn independent_losses_are_binomial() {
        let channel = Channel { loss: 0.07, correlation: 0.0 };
        let losses = RunLosses::new(channel, 0.0, 60);
        for sent in [0, 1, 12, 60] {
            for (lost, chance) in losses.of(sent as usize).iter().enumerate() {
                let expected = binomial(sent, lost as u32, 0.07);
                assert!((chance - expected).abs() < 1e-12, "{lost} of {sent}: {chance}, {expected}");
            }
        }
        assert_eq!(losses.of(61), &[0.0; 0], "beyond the limit nothing is known");
    }

    #[test]
    fn bursts_have_the_length_that_was_asked_for() {
        for (loss, burst) in [(0.05, 3.0), (0.2, 8.0), (0.01, 1.5)] {
            let (fall, rise) = Channel::with_burst(loss, burst).steps();
            assert!((1.0 / rise - burst).abs() < 1e-9, "{loss} {burst}: {rise}");
            assert!((fall / (fall + rise) - loss).abs() < 1e-9);
        }
        let by_chance = Channel::with_burst(0.3, 1.0);
        assert!(by_chance.correlation.abs() < 1e-12, "shorter than chance makes them");
    }

    #[test]
    fn a_run_after_a_loss_begins_where_that_left_off() {
        let channel = Channel::with_burst(0.05, 3.0);
        for (carry, expected) in [(0.0, 0.05), (1.0, 1.0 - channel.steps().1)] {
            let first = RunLosses::new(channel, carry, 1).of(1)[1];
            assert!((first - expected).abs() < 1e-12, "{carry}: {first}");
        }
    }

    proptest! {
        #[test]
        fn chances_sum_to_one_and_the_mean_is_the_share(
            loss in 0.0..0.9_f64, correlation in 0.0..0.99_f64, sent in 1..80_usize
        ) {
            let losses = RunLosses::new(Channel { loss, correlation }, 0.0, 80);
            let chances = losses.of(sent);
            prop_assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let mean: f64 = chances.iter().enumerate().map(|(lost, chance)| lost as f64 * chance).sum();
            prop_assert!((mean - loss * sent as f64).abs() < 1e-6);
        }
    }
}
