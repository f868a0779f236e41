//! What a mask is worth: how much peeling leaves missing, over all the ways in which packets of the block may be lost.
//!
//! In: columns, seeds. Out: probabilities. Time: none. Limit: 64 media packets, 16 rows.
//!
//! A block's packets are its media and its repair packets; with few losses every pattern is tried, with more a sample.

use proto::seed::{Chance, Seed};

use super::MISSING_MAX;
use crate::scheme::flexfec::Column;

/// Patterns tried for each number of losses above [`EXACT_MAX`].
const SAMPLES: u32 = 3000;

/// Up to so many losses every pattern is tried.
const EXACT_MAX: usize = 3;

/// The media packets still missing after peeling, of those `lost`, with the rows `arrived`.
pub fn missing(columns: &[Column], mut lost: u64, arrived: u16) -> u64 {
    loop {
        let (mut once, mut twice) = (0, 0);
        for place in bits(lost) {
            let rows = columns[place].0 & arrived;
            twice |= once & rows;
            once |= rows;
        }
        let solved = once & !twice;
        if solved == 0 {
            return lost;
        }
        lost = bits(lost)
            .filter(|&place| columns[place].0 & solved == 0)
            .fold(0, |rest, place| rest | 1 << place);
    }
}

/// The interleaved mask: every packet in one row, `place` modulo `rows`.
pub fn interleaved(sources: usize, rows: usize) -> Vec<Column> {
    (0..sources).map(|place| Column(1 << (place % rows))).collect()
}

/// Packets lost of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The media packets lost, bit n for the one at place n.
    pub lost: u64,
    /// The repair packets that arrived, bit n for row n.
    pub arrived: u16,
}

impl Pattern {
    /// From bits for the media packets, then the repair packets, set where lost.
    pub const fn of(lost: u128, sources: usize, rows: usize) -> Self {
        let media = lost & ((1 << sources) - 1);
        Self { lost: media as u64, arrived: !((lost >> sources) as u16) & ((1_u32 << rows) - 1) as u16 }
    }
}

/// The number of packets missing after peeling, by the number of packets lost.
#[derive(Debug, Clone)]
pub struct Outcome {
    shares: Vec<[f64; MISSING_MAX + 1]>, // by losses
}

impl Outcome {
    /// Tries the mask of `rows` rows; the same seed makes the same sample.
    pub fn of(columns: &[Column], rows: usize, seed: &Seed) -> Self {
        Self::up_to(columns.len() + rows, columns, rows, seed)
    }

    /// As [`of`](Self::of), but takes more than so many losses to be beyond repair without trying.
    pub fn up_to(losses_max: usize, columns: &[Column], rows: usize, seed: &Seed) -> Self {
        let packets = columns.len() + rows;
        let mut chance = seed.generator();
        let shares = (0..=packets).map(|losses| {
            let mut counts = [0_u32; MISSING_MAX + 1];
            if losses > losses_max {
                counts[MISSING_MAX] = 1;
                return counts.map(f64::from);
            }
            let mut try_one = |lost| {
                let pattern = Pattern::of(lost, columns.len(), rows);
                let left = missing(columns, pattern.lost, pattern.arrived).count_ones() as usize;
                counts[left.min(MISSING_MAX)] += 1;
            };
            if losses <= EXACT_MAX {
                every_pattern(packets, losses, &mut try_one);
            } else {
                (0..SAMPLES).for_each(|_| try_one(draw(&mut chance, packets, losses)));
            }
            let total: u32 = counts.iter().sum();
            counts.map(|count| f64::from(count) / f64::from(total))
        });
        Self { shares: shares.collect() }
    }

    /// How many packets are missing if each is lost with probability `lost`; see [`super::quality`].
    pub fn at(&self, lost: f64) -> [f64; MISSING_MAX + 1] {
        let mut sum = [0.0; MISSING_MAX + 1];
        for (losses, shares) in self.shares.iter().enumerate() {
            let weight = binomial(self.shares.len() - 1, losses, lost);
            for (sum, share) in sum.iter_mut().zip(shares) {
                *sum += weight * share;
            }
        }
        sum
    }

    /// The probability that something is missing.
    pub fn failure(&self, lost: f64) -> f64 {
        self.at(lost)[1..].iter().sum()
    }
}

/// The probability of so many losses among so many packets.
pub fn binomial(packets: usize, losses: usize, lost: f64) -> f64 {
    let ways = (0..losses).fold(1.0, |ways, n| ways * (packets - n) as f64 / (n + 1) as f64);
    ways * lost.powi(losses as i32) * (1.0 - lost).powi((packets - losses) as i32)
}

/// So many of the packets, each as likely as any other.
pub fn draw(chance: &mut Chance, packets: usize, losses: usize) -> u128 {
    let mut lost = 0_u128;
    while (lost.count_ones() as usize) < losses {
        lost |= 1 << ((u64::from(chance.number()) * packets as u64) >> 32);
    }
    lost
}

/// Calls `then` with every way to lose so many packets.
fn every_pattern(packets: usize, losses: usize, then: &mut impl FnMut(u128)) {
    fn rest(from: usize, packets: usize, losses: usize, lost: u128, then: &mut impl FnMut(u128)) {
        if losses == 0 {
            return then(lost);
        }
        for packet in from..packets {
            rest(packet + 1, packets, losses - 1, lost | 1 << packet, then);
        }
    }
    rest(0, packets, losses, 0, then);
}

/// The places of the bits set, rising.
fn bits(mut rest: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = rest.trailing_zeros() as usize;
        rest &= rest.wrapping_sub(1);
        (place < 64).then_some(place)
    })
}
