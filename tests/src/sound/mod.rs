//! Lossy sound, decoded by the real libopus: what is left of it by what repairs it.
//!
//! In: a [`Point`] (a path), a [`Policy`], seeds. Out: a [`Row`]: what was missing at playout, what the decoder made up, how
//! far that is from the sound without losses, and what it cost. Time: virtual; a packet every 20 ms. What leaves is written
//! by the product's own send pipeline, and what is repaired is planned by its feedback. Limit: only losses and a little
//! jitter are simulated: no queue, no rate, no loss of feedback.

mod path;
mod play;
mod receiver;
mod row;
mod sender;
mod voice;

pub use path::Point;
pub use row::{Row, cells, lines, verdicts};

use std::fmt;

use anyhow::Result;
use libopus::Opus;
use proto::seed::Seed;
use simulator::sweep::Seeds;

use play::Play;

/// What repairs lost sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing: the decoder makes up what is lost.
    Plain,
    /// Opus' own redundancy in the next packet, as much of it as the encoder finds fit for the losses it is told.
    InBand,
    /// Ours: RED, as deep as the leg's losses want it.
    Red,
}

impl Policy {
    /// All, from the worst on.
    pub const ALL: [Self; 3] = [Self::Plain, Self::InBand, Self::Red];

    /// Its name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::InBand => "in-band",
            Self::Red => "red",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Plays every policy at a point with all seeds, so many seconds each. All of them lose the same packets.
pub fn measure(opus: &Opus, point: Point, seeds: Seeds, seconds: u32) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for policy in Policy::ALL {
        let mut total = Play::default();
        for seed in seeds.iter() {
            let seed = Seed::from_number(seed).fork("sound");
            total += play::play(opus, policy, point, &seed, seconds * play::PACKETS_A_SECOND)?;
        }
        let plain = rows.first().map_or(total.bytes, |plain| plain.bytes);
        rows.push(Row::new(point, policy, seeds, &total, plain));
    }
    Ok(rows)
}
