//! Which repair packets protect which media packets: sets found offline, for receivers that peel (as browsers do).
//!
//! In: a block's size, the kind of loss. Out: [`Mask`], and from [`quality`] what is left missing. Time: none.
//! Limit: `SOURCES_MAX` media and `ROWS_MAX` repair packets a block.
//!
//! Where two packets have the same repair packets, losing both is beyond repair: distinct sets of two or three repair
//! packets each leave a tenth to a fiftieth of what interleaving leaves (every n-th packet with the same one, as
//! libwebrtc has it above 12 packets). `cargo run --release --example masks` finds the sets, from a seed, by climbing.

pub mod evaluate;

use super::flexfec::{Column, ROWS_MAX};

/// Media packets a block at most (libwebrtc, kMaxMediaPackets).
pub const SOURCES_MAX: usize = 48;

/// Counts of missing packets that are told apart; the last one stands for itself and more.
pub const MISSING_MAX: usize = 6;

/// The shares of packets lost for which [`quality`] was measured.
pub const LOSS_STEPS: [f64; 15] =
    [0.002_5, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3];

/// How packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Each for itself.
    Independent,
    /// Three in a row on average.
    Bursts,
}

impl Loss {
    /// Both kinds, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::Independent, Self::Bursts];
}

/// The sets of a block, one column for each media packet in order of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask(&'static [u8]);

impl Mask {
    /// The best sets known for so many media packets (1 to 48) and repair packets (1 to 12); `None` beyond.
    pub fn of(loss: Loss, sources: usize, rows: usize) -> Option<Self> {
        if !(1..=SOURCES_MAX).contains(&sources) || !(1..=ROWS_MAX).contains(&rows) {
            return None;
        }
        let before = (loss as usize * ROWS_MAX + rows - 1) * TRIANGLE + sources * (sources - 1) / 2;
        MASKS.get(2 * before..2 * (before + sources)).map(Self)
    }

    /// The repair packets for the media packet at `place`; none beyond the block.
    pub fn column(self, place: usize) -> Column {
        let bytes = self.0.get(2 * place..).and_then(<[u8]>::first_chunk);
        Column(bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes)))
    }

    /// The columns in order.
    pub fn columns(self) -> impl Iterator<Item = Column> {
        (0..self.0.len() / 2).map(move |place| self.column(place))
    }
}

/// How many media packets of a block are missing after peeling: element n is the probability of n, the last one that of
/// [`MISSING_MAX`] or more.
///
/// `lost` is the share of packets lost, media and repair alike; between [`LOSS_STEPS`] straight lines are drawn, which lie
/// above the truth, and beyond the ends the ends count. Good to 5 %, and not below 3e-10. `None` for blocks of more
/// than [`SOURCES_MAX`] or `ROWS_MAX`; without repair packets (`rows` = 0) it is what was lost.
pub fn quality(loss: Loss, sources: usize, rows: usize, lost: f64) -> Option<[f64; MISSING_MAX + 1]> {
    if !(1..=SOURCES_MAX).contains(&sources) || rows > ROWS_MAX {
        return None;
    }
    let above = LOSS_STEPS.partition_point(|&step| step < lost).min(LOSS_STEPS.len() - 1);
    let below = above.saturating_sub(1);
    let width = LOSS_STEPS[above] - LOSS_STEPS[below];
    let part = if width > 0.0 { ((lost - LOSS_STEPS[below]) / width).clamp(0.0, 1.0) } else { 1.0 };
    let block = (loss as usize * (ROWS_MAX + 1) + rows) * SOURCES_MAX + sources - 1;
    let at = |step: usize, missing: usize| {
        let index = (block * LOSS_STEPS.len() + step) * MISSING_MAX + missing;
        QUALITY.get(index).map_or(1.0, |&code| decode(code))
    };
    let mut found = [0.0; MISSING_MAX + 1];
    for missing in 0..MISSING_MAX {
        found[missing + 1] = at(below, missing) * (1.0 - part) + at(above, missing) * part;
    }
    found[0] = (1.0 - found[1..].iter().sum::<f64>()).max(0.0);
    Some(found)
}

/// The code of a probability in the table: eighths of a halving, 255 for none.
pub fn encode(probability: f64) -> u8 {
    (0..255).find(|&code| decode(code) <= probability * HALF_AN_EIGHTH).unwrap_or(255)
}

/// What a code in the table stands for.
fn decode(code: u8) -> f64 {
    if code == 255 {
        return 0.0;
    }
    EIGHTHS[usize::from(code % 8)] * 0.5_f64.powi(i32::from(code / 8))
}

/// 2^(-n/8).
const EIGHTHS: [f64; 8] = [
    1.0,
    0.917_004_043_204_671_2,
    0.840_896_415_253_714_5,
    0.771_105_412_703_970_4,
    core::f64::consts::FRAC_1_SQRT_2,
    0.648_419_777_325_504_8,
    0.594_603_557_501_360_5,
    0.545_253_866_332_628_8,
];

/// 2^(1/16): codes are rounded to the nearest.
const HALF_AN_EIGHTH: f64 = 1.044_273_782_427_413_8;

/// Columns of the blocks with one number of rows.
const TRIANGLE: usize = SOURCES_MAX * (SOURCES_MAX + 1) / 2;

/// For each kind of loss, number of rows and number of sources the columns, 16 bits each, the lower byte first.
static MASKS: &[u8; 2 * 2 * ROWS_MAX * TRIANGLE] = include_bytes!("masks/table.bin");

/// For each kind of loss, number of rows (from 0), number of sources, and step of loss: the codes of 1, 2, … missing.
static QUALITY: &[u8; 2 * (ROWS_MAX + 1) * SOURCES_MAX * LOSS_STEPS.len() * MISSING_MAX] =
    include_bytes!("masks/quality.bin");

#[cfg(test)]
mod tests;
