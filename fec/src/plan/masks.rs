//! What XOR parity leaves missing: how good masks are (references §3.1).
//!
//! The plan asks [`MaskQuality`] and knows no mask. [`Interleaved`] answers for the masks that need no search: packet `j`
//! is in row `j` mod `m`, as libwebrtc has it above 12 packets, pion and LiveKit always.

use super::losses::Channel;

/// The most parity packets of a block towards browsers (references §4.4).
pub const PARITIES_MAX: usize = 12;

/// How many media packets stay missing when a receiver that decodes by peeling has got what arrived of a block.
pub trait MaskQuality {
    /// The chances that 0, 1, 2 … `media` packets of a block are missing after its first round: `media` packets and then
    /// `parities` (at most [`PARITIES_MAX`]) leave one after the other over `channel`, and are decoded by peeling.
    fn missing(&self, media: usize, parities: usize, channel: Channel) -> Vec<f64>;
}

/// Rows that take packets in turns.
///
/// Exact for independent losses. For losses in runs each row is: its packets leave `m` apart, their fates hang together
/// less by as much; that the rows then hang together is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interleaved;

impl MaskQuality for Interleaved {
    fn missing(&self, media: usize, parities: usize, channel: Channel) -> Vec<f64> {
        if parities == 0 {
            return super::losses::RunLosses::new(channel, 0.0, media).of(media).to_vec();
        }
        let correlation = (0..parities).fold(1.0, |power, _| power * channel.correlation);
        let apart = Channel { correlation, ..channel };
        let mut chances = vec![1.0];
        for row in 0..parities.min(media) {
            chances = sum(&chances, &row_missing((media - row).div_ceil(parities), apart));
        }
        chances.resize(media + 1, 0.0);
        chances
    }
}

/// The same for a row of so many packets and its parity.
fn row_missing(media: usize, channel: Channel) -> Vec<f64> {
    let (fall, rise) = channel.steps();
    let (mut good, mut bad) = (vec![0.0; media + 1], vec![0.0; media + 1]);
    (good[0], bad[0]) = (1.0 - channel.loss, channel.loss);
    for _ in 0..media {
        for lost in (0..=media).rev() {
            let up = good[lost] * (1.0 - fall) + bad[lost] * rise;
            let down = if lost == 0 { 0.0 } else { good[lost - 1] * fall + bad[lost - 1] * (1.0 - rise) };
            (good[lost], bad[lost]) = (up, down);
        }
    }
    let mut chances: Vec<f64> = good.iter().zip(&bad).map(|(good, bad)| good + bad).collect();
    if media > 0 {
        let repaired = good[1] * (1.0 - fall) + bad[1] * rise; // one is missing, the parity is not
        chances[0] += repaired;
        chances[1] -= repaired;
    }
    chances
}

/// The distribution of the sum of two independent numbers.
fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; a.len() + b.len() - 1];
    for (at, chance) in a.iter().enumerate() {
        for (more, other) in b.iter().enumerate() {
            sum[at + more] += chance * other;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEPENDENT: fn(f64) -> Channel = |loss| Channel { loss, correlation: 0.0 };

    #[test]
    fn interleaved_masks_are_as_good_as_measured_elsewhere() {
        // Chances that a block stays incomplete, from references §3.1.
        for (media, parities, loss, expected) in [
            (4, 2, 0.02, 2.3e-3),
            (8, 3, 0.02, 5.8e-3),
            (12, 4, 0.02, 9.3e-3),
            (12, 6, 0.05, 4.3e-2),
            (24, 8, 0.05, 1.1e-1),
            (48, 12, 0.05, 2.4e-1),
        ] {
            let incomplete = 1.0 - Interleaved.missing(media, parities, INDEPENDENT(loss))[0];
            assert!((incomplete / expected - 1.0).abs() < 0.06, "{media},{parities} at {loss}: {incomplete}");
        }
    }

    #[test]
    fn chances_sum_to_one_whatever_the_block() {
        for (media, parities) in [(1, 0), (1, 1), (3, 12), (48, 0), (48, 7), (0, 2)] {
            for channel in [INDEPENDENT(0.1), Channel::with_burst(0.1, 4.0)] {
                let chances = Interleaved.missing(media, parities, channel);
                assert_eq!(chances.len(), media + 1);
                assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{media} {parities}");
            }
        }
    }

    #[test]
    fn rows_whose_packets_are_far_apart_feel_runs_less() {
        let bursty = Channel::with_burst(0.02, 4.0);
        let incomplete = |parities| 1.0 - Interleaved.missing(12, parities, bursty)[0];
        assert!(incomplete(12) < incomplete(1) / 2.0, "{} {}", incomplete(12), incomplete(1));
    }
}
