//! Plays blocks through a cell by a policy, and counts.
//!
//! A sender of 30 blocks a second; feedback arrives a round trip after what it tells of, in the order in which packets left.
//! A policy that learns has been told of the path's media for some minutes before counting begins ([`Experience`]).

use std::time::Duration;

use fec::loss_model::PacketFate;
use proto::seed::Seed;

use super::air::Air;
use super::cell::{Cell, TURNAROUND};
use super::experience::Experience;
use super::policy::{Player, Policy};
use super::weather::Weather;

/// From one block to the next.
pub(super) const INTERVAL: Duration = Duration::from_micros(33_333);

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Blocks sent.
    pub blocks: u64,
    /// Packets of media sent.
    pub media: u64,
    /// Packets sent beyond the media.
    pub repair: u64,
    /// The sum of the squares of a block's packets beyond the media.
    pub repair_squares: f64,
    /// Blocks that were not whole by their deadline.
    pub failed: u64,
    /// Packets of media lost at first.
    pub lost: u64,
    /// Those sent again though parity alone repaired them.
    pub paid_twice: u64,
    /// For blocks that lost packets and became whole, by ascending time: how long after their first packet's arrival.
    pub delays: Vec<Duration>,
}

impl Tally {
    /// Plays so many blocks with one seed.
    pub fn play(policy: Policy, cell: &Cell, blocks: u64, seed: u64, experience: &mut Experience) -> Self {
        let mut weather = Weather::new(cell.loss, cell.burst, cell.spacing(), &Seed::from_number(seed));
        let (mut player, begin) = Player::new(policy, cell, seed, experience);
        let delay = cell.round_trip + TURNAROUND;
        let (mut fates, mut tally) = (Vec::new(), Self::default());
        for block in 0..blocks {
            let now = begin + INTERVAL * block as u32;
            // Feedback comes in the order in which packets left.
            fates.sort_by_key(|fate: &PacketFate| fate.sent);
            let known = fates.partition_point(|fate| fate.sent + delay <= now);
            player.handle_fates(now, cell, &fates[..known], experience);
            fates.drain(..known);
            let mut air = Air::new(cell, now, &mut weather, &mut fates);
            player.send(&mut air);
            tally.add(&air);
        }
        tally.delays.sort_unstable();
        tally
    }

    /// Adds another tally of the same.
    pub fn merge(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.media += other.media;
        self.repair += other.repair;
        self.repair_squares += other.repair_squares;
        self.failed += other.failed;
        self.lost += other.lost;
        self.paid_twice += other.paid_twice;
        self.delays.extend(other.delays);
        self.delays.sort_unstable();
    }

    /// Packets beyond the media, over the media.
    pub fn redundancy(&self) -> f64 {
        self.repair as f64 / self.media.max(1) as f64
    }

    /// How far that may be off, by chance: one deviation.
    pub fn redundancy_deviation(&self) -> f64 {
        let blocks = self.blocks.max(1) as f64;
        let mean = self.repair as f64 / blocks;
        let variance = (self.repair_squares / blocks - mean * mean).max(0.0);
        (variance / blocks).sqrt() * blocks / self.media.max(1) as f64
    }

    /// The share of blocks that were not whole by their deadline.
    pub fn residual(&self) -> f64 {
        self.failed as f64 / self.blocks.max(1) as f64
    }

    /// What 99 % of the repaired blocks did not exceed; `None` if none was.
    pub fn p99(&self) -> Option<Duration> {
        let place = (self.delays.len() * 99).div_ceil(100).checked_sub(1)?;
        self.delays.get(place).copied()
    }

    /// The share of the repaired blocks that took longer; `None` if none was repaired.
    pub fn late(&self, than: Duration) -> Option<f64> {
        let late = self.delays.len() - self.delays.partition_point(|delay| *delay <= than);
        (!self.delays.is_empty()).then(|| late as f64 / self.delays.len() as f64)
    }

    /// The share of lost packets that were paid for twice; `None` if none was lost.
    pub fn paid_twice(&self) -> Option<f64> {
        (self.lost > 0).then(|| self.paid_twice as f64 / self.lost as f64)
    }

    fn add(&mut self, air: &Air<'_>) {
        self.blocks += 1;
        self.media += air.cell.media as u64;
        self.repair += air.repair as u64;
        self.repair_squares += (air.repair * air.repair) as f64;
        self.lost += air.lost as u64;
        self.paid_twice += air.paid_twice as u64;
        match air.whole {
            None => self.failed += 1,
            Some(whole) if air.lost > 0 => {
                self.delays.push(whole.saturating_sub(air.cell.timing().one_way));
            }
            Some(_) => {}
        }
    }
}
