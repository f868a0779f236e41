//! What is found once and used for all cells alike: a path as it is known before counting begins, the plan's tables, what
//! the best policies do.
//!
//! In: cells. Out: what they have in common with cells asked for before. None of it depends on what was asked before, so a
//! row is the same beside any others. Limit: [`KEPT`] of each, the oldest goes; the tables have their own.

use std::collections::VecDeque;
use std::time::Duration;

use fec::loss_model::{Cause, Fate, LossModel, PacketFate};
use fec::plan::Tables;
use fec::plan::offline::OfflineMasks;
use proto::seed::Seed;
use proto::time::Instant;

use super::cell::Cell;
use super::oracle::{Oracle, Question};
use super::play::INTERVAL;
use super::rivals::{Parity, Rival};
use super::weather::{Burst, Weather};

/// How long a leg has been up before counting begins: the loss model's longest memory.
const WARM_UP: Duration = Duration::from_secs(1_280);
/// A leg carries more than a stream of a packet now and then: so many leave together at the least.
const TOGETHER: usize = 12;
/// How many paths and how many policies are kept: those of the cells that differ by their times alone.
const KEPT: usize = 64;

/// See the module's description.
#[derive(Debug)]
pub struct Experience {
    pub(super) tables: Tables<OfflineMasks>,
    paths: VecDeque<(Path, Known)>,
    oracles: VecDeque<(Question, Oracle)>,
}

/// What the loss model is told of before counting begins.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Path {
    loss: f64,
    burst: Burst,
    media: usize,
    seed: u64,
}

/// What who sends over a path has learned of it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) model: LossModel,
    pub(super) libwebrtc: Rival,
    /// When it has learned that.
    pub(super) at: Instant,
}

impl Default for Experience {
    fn default() -> Self {
        let tables = Tables::new(OfflineMasks).unhurried();
        Self { tables, paths: VecDeque::new(), oracles: VecDeque::new() }
    }
}

impl Experience {
    /// What is known of a cell's path.
    pub(super) fn path(&mut self, cell: &Cell, seed: u64) -> Known {
        let path = Path { loss: cell.loss, burst: cell.burst, media: cell.media, seed };
        if let Some((_, known)) = self.paths.iter().find(|(known, _)| *known == path) {
            return known.clone();
        }
        let known = warm_up(cell, &Seed::from_number(seed).fork("before"));
        keep(&mut self.paths, (path, known.clone()));
        known
    }

    /// The best policy for a question.
    pub(super) fn oracle(&mut self, question: &Question) -> Oracle {
        if let Some((_, known)) = self.oracles.iter().find(|(known, _)| known == question) {
            return known.clone();
        }
        let oracle = Oracle::new(question);
        keep(&mut self.oracles, (question.clone(), oracle.clone()));
        oracle
    }
}

fn keep<T>(all: &mut VecDeque<T>, new: T) {
    if all.len() == KEPT {
        all.pop_front();
    }
    all.push_back(new);
}

/// Tells of what left for so long.
fn warm_up(cell: &Cell, seed: &Seed) -> Known {
    let mut weather = Weather::new(cell.loss, cell.burst, cell.spacing(), seed);
    let (mut model, mut libwebrtc) = (LossModel::default(), Rival::new(Parity::Libwebrtc));
    let leg = cell.media.max(TOGETHER);
    let mut now = Instant::ZERO;
    let mut fates = Vec::new();
    while now < Instant::ZERO + WARM_UP {
        for packet in 0..leg {
            let sent = now + cell.spacing() * packet as u32;
            let fate = if weather.takes(sent) { Fate::Lost(Cause::Path) } else { Fate::Received };
            fates.push(PacketFate { sent, fate });
        }
        libwebrtc.handle_fates(now, &fates);
        model.handle_fates(fates.drain(..));
        now += INTERVAL;
    }
    Known { model, libwebrtc, at: now + Duration::from_secs(1) }
}
