//! Rounds towards browsers: missing packets again, as often as planned, and parity over them (references §4.4).
//!
//! A browser decodes XOR parity and takes retransmissions; fresh symbols of a better code it does not know. So a round sends
//! every missing packet once or more, the copies of one packet so far apart that their fates are independent; those of
//! different packets leave in waves, and what takes one of a wave may take its neighbors. Where two or more are missing, one
//! of the packets may be the parity of all that are missing, as far behind: it replaces whichever one is lost again.

use super::losses::{Channel, NEVER, RunLosses};
use super::solve::{Scheme, Send};

/// The most copies of a packet in a round: a fourth would be sent for one loss in a thousand at 10 %.
const COPIES_MAX: usize = 4;

/// The number of sizes of a round that are weighed up for each number of copies; all of them up to so many missing packets.
const SHADES: usize = 12;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Copies {
    /// For each number of missing packets.
    choices: Vec<Vec<(Send, Vec<f64>)>>,
}

/// Whether a receiver decodes parity over retransmitted packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parity {
    /// It does.
    Decoded,
    /// It takes copies alone.
    Unknown,
}

impl Copies {
    /// For up to `sizes` − 1 missing packets; `carry` as in [`RunLosses::new`].
    pub(super) fn new(channel: Channel, carry: f64, sizes: usize, parity: Parity) -> Self {
        let wave = RunLosses::new(channel, carry, sizes);
        let loss = channel.loss + (1.0 - channel.loss) * carry;
        Self { choices: (0..sizes).map(|missing| choices(missing, &wave, loss, parity)).collect() }
    }
}

impl Scheme for Copies {
    fn choices(&self, missing: usize) -> impl Iterator<Item = (Send, &[f64])> {
        let choices = self.choices.get(missing).map_or(&[][..], Vec::as_slice);
        choices.iter().map(|(send, chances)| (*send, chances.as_slice()))
    }
}

fn choices(missing: usize, wave: &RunLosses, loss: f64, parity: Parity) -> Vec<(Send, Vec<f64>)> {
    let mut choices = Vec::new();
    let step = missing.div_ceil(SHADES).max(1);
    for copies in (missing..=missing * COPIES_MAX).step_by(step) {
        let plain = missing_after(missing, copies, wave);
        let packets = |parities: usize| u8::try_from(copies + parities).ok();
        if let Some(packets) = packets(1).filter(|_| missing > 1 && parity == Parity::Decoded) {
            choices.push((Send { packets, parities: 1 }, with_parity(&plain, loss)));
        }
        if let Some(packets) = packets(0) {
            choices.push((Send { packets, parities: 0 }, plain));
        }
    }
    choices.sort_by_key(|(send, _)| send.packets);
    choices
        .into_iter()
        .map(|(send, mut chances)| {
            chances.remove(0); // that nothing is missing costs nothing
            trim(&mut chances);
            (send, chances)
        })
        .collect()
}

/// The chances that 0, 1, 2 … of some packets stay missing, `copies` spread over them as evenly as can be.
///
/// Those that stay missing after a wave are taken for neighbors, as they are where losses come in runs.
fn missing_after(missing: usize, copies: usize, wave: &RunLosses) -> Vec<f64> {
    let mut chances = vec![0.0; missing + 1];
    chances[missing] = 1.0;
    let waves = (0..copies.div_ceil(missing.max(1))).map(|wave| (copies - wave * missing).min(missing));
    for sent in waves {
        let mut after = vec![0.0; missing + 1];
        for (still, chance) in chances.iter().enumerate().filter(|(_, chance)| **chance > NEVER) {
            let covered = covered(missing, still, sent).into_iter().enumerate();
            for (again, share) in covered.filter(|(_, share)| *share > NEVER) {
                for (lost, likely) in wave.likely_of(again).iter().enumerate() {
                    after[still - again + lost] += chance * share * likely;
                }
            }
        }
        chances = after;
    }
    chances
}

/// The chances that, of `still` packets out of `all`, 0, 1, 2 … are among `sent` of them.
fn covered(all: usize, still: usize, sent: usize) -> Vec<f64> {
    let mut chances = vec![0.0; still + 1];
    chances[0] = 1.0;
    // Packet by packet: the next one is among those sent by the share of them that is left.
    for packet in 0..still {
        for hit in (0..=packet).rev() {
            let share = sent.saturating_sub(hit) as f64 / (all - packet) as f64;
            chances[hit + 1] += chances[hit] * share;
            chances[hit] *= 1.0 - share;
        }
    }
    chances
}

/// Leaves out what hardly ever happens at the end.
pub(super) fn trim(chances: &mut Vec<f64>) {
    let likely = chances.iter().rposition(|chance| *chance > NEVER);
    chances.truncate(likely.map_or(0, |likely| likely + 1));
}

/// The same with a parity of them all, which replaces a single one unless it is lost itself.
fn with_parity(chances: &[f64], loss: f64) -> Vec<f64> {
    let mut chances = chances.to_vec();
    let [none, one, ..] = chances.as_mut_slice() else { return chances };
    *none += *one * (1.0 - loss);
    *one *= loss;
    chances
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEPENDENT: Channel = Channel { loss: 0.1, correlation: 0.0 };

    #[test]
    fn in_runs_parity_is_of_less_use_and_copies_are_not() {
        let single = |channel, parity| {
            let wave = RunLosses::new(channel, 0.0, 6);
            let chances = missing_after(6, if parity { 6 } else { 12 }, &wave);
            if parity { 1.0 - with_parity(&chances, 0.1)[0] } else { 1.0 - chances[0] }
        };
        let runs = Channel::with_burst(0.1, 3.0);
        let (parity, copies) = (single(runs, true), single(runs, false));
        assert!(parity > copies * 2.0, "{parity} {copies}");
        assert!(single(INDEPENDENT, true) < single(INDEPENDENT, false) * 3.0);
    }

    #[test]
    fn copies_and_parity_leave_missing_what_arithmetic_says() {
        let (p, close) = (0.1, |a: f64, b: f64| (a - b).abs() < 1e-12);
        let wave = RunLosses::new(INDEPENDENT, 0.0, 4);
        for (name, found, expected) in [
            ("one packet, twice", missing_after(1, 2, &wave), vec![0.99, 0.01]),
            ("two packets, one of them twice", missing_after(2, 3, &wave), vec![0.9 * 0.99, 0.108, 0.001]),
            ("two and their parity", with_parity(&missing_after(2, 2, &wave), p), vec![0.972, 0.018, 0.01]),
        ] {
            assert_eq!(found.len(), expected.len(), "{name}");
            assert!(found.iter().zip(&expected).all(|(a, b)| close(*a, *b)), "{name}: {found:?}");
        }
    }

    #[test]
    fn choices_ascend_and_have_parity_only_where_it_is_decoded_and_of_use() {
        for (parity, missing, has_parity) in
            [(Parity::Decoded, 1, false), (Parity::Decoded, 3, true), (Parity::Unknown, 3, false)]
        {
            let copies = Copies::new(INDEPENDENT, 0.0, 49, parity);
            let all: Vec<Send> = copies.choices(missing).map(|(send, _)| send).collect();
            assert!(all.is_sorted_by_key(|send| send.packets) && usize::from(all[0].packets) == missing);
            assert_eq!(all.iter().any(|send| send.parities > 0), has_parity, "{parity:?} {missing}");
        }
    }

    #[test]
    fn the_largest_block_has_choices_that_fit_a_byte_and_are_few() {
        let copies = Copies::new(INDEPENDENT, 0.0, 49, Parity::Decoded);
        let choices = copies.choices(48).count();
        assert!((30..=100).contains(&choices), "{choices}");
    }
}
